package apply

import (
	"errors"
	"testing"

	"windlass.dev/windlass/agent/state"

	linkv1 "windlass.dev/windlass/api/link/v1"
)

func TestWhatTwoWorksNameIsWatchedForTheOneThatHoldsIt(t *testing.T) {
	for _, c := range []struct {
		reason  string
		holder  string
		watched bool
	}{
		{"another work holds it", "first", false},
		{"nobody holds it any more", "", true},
		{"it holds it itself", "settings", true},
	} {
		t.Run(c.reason, func(t *testing.T) {
			e, observer := engineFor(t, &everyKind{}, memberThat{}, &emptyState{})
			p, o := progressWith(func(*progress, *object) {})
			if c.holder != "" {
				e.holders[o.ID] = c.holder
			}
			entry := &state.Entry{Key: "settings", Work: &linkv1.Work{}}

			err := (&attempt{engine: e, entry: entry, object: o}).locate(t.Context())
			var refused *failure
			if errors.As(err, &refused) == c.watched || !c.watched && refused.reason != reasonConflict {
				t.Errorf("that it is applied ends with %v", err)
			}
			if e.report(entry, p); (len(observer.tracked) == 1) != c.watched || (len(observer.said.Objects) == 1) != c.watched {
				t.Errorf("it is watched for the works %v, and is said to be one of %v", observer.tracked, observer.said.Objects)
			}
			again := e.suspend(t.Context(), entry, p)
			if (again == 0) != c.watched || (len(observer.said.Objects) == 1) != c.watched {
				t.Errorf("while the work is suspended it is one of %v, and looked at again after %v", observer.said.Objects, again)
			}
			if holder := e.holderOf(o.ID); c.watched && holder != "settings" {
				t.Errorf("then the work %q holds it", holder)
			}
		})
	}
}
