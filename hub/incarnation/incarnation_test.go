package incarnation

import (
	"slices"
	"testing"

	"k8s.io/client-go/kubernetes/fake"
)

func TestARestoredStoreGetsANewIncarnationOncePerBackup(t *testing.T) {
	ctx := t.Context()
	kube := fake.NewSimpleClientset()
	k, err := Open(ctx, kube)
	if err != nil {
		t.Fatal(err)
	}
	first := k.Incarnation()
	if first == "" || k.Restoring("a") {
		t.Fatalf("a new store has incarnation %q, member a restoring: %t", first, k.Restoring("a"))
	}

	// Member a has seen more of the first incarnation than the store has.
	if err := k.EnterRestore(ctx, "a", first); err != nil {
		t.Fatal(err)
	}
	second := k.Incarnation()
	if second == first || !k.Restoring("a") || k.Restoring("b") {
		t.Fatalf("incarnation %q after %q, restoring a: %t, b: %t", second, first, k.Restoring("a"), k.Restoring("b"))
	}

	// Member b was away: it still knows the first one, which is known to be cut off.
	if err := k.EnterRestore(ctx, "b", first); err != nil {
		t.Fatal(err)
	}
	if k.Incarnation() != second || !k.Restoring("b") {
		t.Fatal("the same restore was noticed as another one")
	}

	// The same history is found again by the next process.
	again, err := Open(ctx, kube)
	if err != nil {
		t.Fatal(err)
	}
	if again.Incarnation() != second || !again.Restoring("a") || !slices.Contains(again.present.Former, first) {
		t.Fatalf("after a restart: %+v", again.present)
	}
	if err := again.LeaveRestore(ctx, "a"); err != nil {
		t.Fatal(err)
	}
	if again.Restoring("a") || !again.Restoring("b") {
		t.Fatal("leaving restore mode is for one member")
	}
}
