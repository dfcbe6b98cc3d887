package state

import (
	"fmt"
	"testing"

	"windlass.dev/windlass/pkg/session"
)

func TestWhatIsForgottenIsHeldNoMore(t *testing.T) {
	secrets := newFakeSecrets()
	store, stop := open(t, secrets)
	for i := range 20 {
		put(t, store, makeWork(fmt.Sprint("work-", i), 1, 100))
	}
	if err := store.SetMark(t.Context(), session.Mark{HubID: "h", Incarnation: "i", Revision: 12, Epoch: 3}); err != nil {
		t.Fatal(err)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := Forget(t.Context(), secrets); err != nil {
			t.Fatal(err)
		}
	}
	again, _ := open(t, secrets)
	if works, mark := held(again), again.Mark(); len(works) != 0 || mark != (session.Mark{}) {
		t.Errorf("after it was forgotten there are %v and %v", works, mark)
	}
}
