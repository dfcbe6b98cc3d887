package alike

import (
	"fmt"
	"hash/maphash"
	"runtime"
	"slices"
	"testing"
)

func ofStrings(write func(*maphash.Hash, string)) *Lists[string] {
	return New(write, func(a, b string) bool { return a == b })
}

func writeString(h *maphash.Hash, s string) { maphash.WriteComparable(h, s) }

func TestEqualListsAreOne(t *testing.T) {
	lists := ofStrings(writeString)
	first, second := lists.Of([]string{"a", "b"}), lists.Of([]string{"a", "b"})
	if &first[0] != &second[0] {
		t.Error("two equal lists are two copies")
	}
	other := lists.Of([]string{"ab"})
	if !slices.Equal(other, []string{"ab"}) || !slices.Equal(first, []string{"a", "b"}) {
		t.Errorf("lists became %q and %q", first, other)
	}
	if lists.Of(nil) != nil {
		t.Error("no list became one")
	}
}

func TestWhoAppendsToASharedListHasACopy(t *testing.T) {
	lists := ofStrings(writeString)
	roomy := append(make([]string, 0, 8), "a")
	first, second := lists.Of(roomy), lists.Of([]string{"a"})
	_ = append(first, "mine")
	if longer := append(second, "b"); longer[1] != "b" || &longer[0] == &first[0] {
		t.Error("an append has written into the shared list")
	}
}

func TestListsOfOneHashStayDifferent(t *testing.T) {
	lists := ofStrings(func(*maphash.Hash, string) {})
	if a, b := lists.Of([]string{"a"}), lists.Of([]string{"b"}); a[0] != "a" || b[0] != "b" {
		t.Errorf("lists became %q and %q", a, b)
	}
}

func TestListsThatNobodyHoldsAreForgotten(t *testing.T) {
	lists := ofStrings(writeString)
	kept := lists.Of([]string{"kept"})
	for round := range 8 {
		for i := range leastForgotten {
			if got := lists.Of([]string{fmt.Sprint(round, i)}); got[0] != fmt.Sprint(round, i) {
				t.Fatalf("list %d of round %d became %q", i, round, got)
			}
		}
		runtime.GC()
	}
	if remembered := len(lists.known); remembered > 4*leastForgotten {
		t.Errorf("%d lists are remembered", remembered)
	}
	if again := lists.Of([]string{"kept"}); &again[0] != &kept[0] {
		t.Error("a list that somebody holds was forgotten")
	}
}

func TestHoweverManyListsAreHeldEachIsOne(t *testing.T) {
	lists := ofStrings(writeString)
	held := make([][]string, 3*leastForgotten)
	for i := range held {
		held[i] = lists.Of([]string{fmt.Sprint(i)})
	}
	for i := range held {
		if again := lists.Of([]string{fmt.Sprint(i)}); &again[0] != &held[i][0] {
			t.Fatalf("list %d of %d is two copies", i, len(held))
		}
	}
}
