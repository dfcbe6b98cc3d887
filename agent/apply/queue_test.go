package apply

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func drain(q *byRank) []string {
	var order []string
	for q.Len() > 0 {
		order = append(order, q.Pop())
	}
	return order
}

func TestNamespacesGoBeforeWorkloadsAndNewsBeforeWhatIsOld(t *testing.T) {
	q := newByRank()
	for _, w := range []struct {
		key   string
		class class
		rank  int
	}{
		{"restored namespace", restored, 0}, {"deployment", newWork, 9}, {"drifted", drifted, 9},
		{"namespace", newWork, 0}, {"deployment 2", newWork, 9},
	} {
		q.prioritise(w.key, w.class, w.rank)
		q.Push(w.key)
	}
	q.Push("after a delay") // nobody said where it belongs
	want := []string{"namespace", "deployment", "deployment 2", "after a delay", "drifted", "restored namespace"}
	if diff := cmp.Diff(want, drain(q)); diff != "" {
		t.Errorf("order (-want +got):\n%s", diff)
	}
}

func TestAWorkThatWaitsMovesUpWhenTheHubSendsIt(t *testing.T) {
	q := newByRank()
	for _, key := range []string{"a", "b", "c"} {
		q.prioritise(key, restored, 5)
		q.Push(key)
	}
	q.prioritise("c", newWork, 5)
	q.Touch("c")
	q.prioritise("c", drifted, 5) // a better place is kept
	q.Touch("c")
	q.Touch("not there")
	if got := strings.Join(drain(q), ""); got != "cab" {
		t.Errorf("the order is %s, want cab", got)
	}
}

func TestTheQueueGivesEveryKeyOnce(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	q, waiting := newByRank(), map[string]bool{}
	for range 5000 {
		key := fmt.Sprint(random.IntN(50))
		switch {
		case random.IntN(3) == 0 && len(waiting) > 0:
			got := q.Pop()
			if !waiting[got] {
				t.Fatalf("%s was taken and did not wait", got)
			}
			delete(waiting, got)
		default:
			q.prioritise(key, class(random.IntN(3)), random.IntN(4))
			if waiting[key] {
				q.Touch(key)
			} else {
				q.Push(key)
				waiting[key] = true
			}
		}
		if q.Len() != len(waiting) {
			t.Fatalf("%d wait, Len says %d", len(waiting), q.Len())
		}
	}
	rest := drain(q)
	if slices.Sort(rest); len(slices.Compact(rest)) != len(waiting) {
		t.Errorf("left are %v, want %v", rest, waiting)
	}
}
