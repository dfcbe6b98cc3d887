package apply

import (
	"errors"
	"testing"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"windlass.dev/windlass/agent/state"

	linkv1 "windlass.dev/windlass/api/link/v1"
)

func TestASuspendedWorkIsLookedAtUntilItsKindsAreKnown(t *testing.T) {
	known := false
	kinds := &everyKind{lookup: func(kind schema.GroupVersionKind) error {
		if kind.Kind == "Gadget" && !known {
			return errors.New("the member does not answer")
		}
		return nil
	}}
	e, observer := engineFor(t, kinds, memberThat{}, &emptyState{})
	entry := &state.Entry{Key: "both", Work: &linkv1.Work{SuspendDispatching: true}}
	p, settings := progressWith(func(*progress, *object) {})
	lacking := gadget(t)
	p.manifests = append(p.manifests, lacking)

	first, second := e.suspend(t.Context(), entry, p), e.suspend(t.Context(), entry, p)
	if first <= 0 || second <= first {
		t.Errorf("it is looked at again after %v and %v, want growing delays", first, second)
	}
	if watched := observer.said.Objects; len(watched) != 1 || watched[0].ID != settings.ID {
		t.Errorf("watched is %v, want what could be found", watched)
	}
	known = true
	if again := e.suspend(t.Context(), entry, p); again != 0 {
		t.Errorf("all is found, and it is looked at again after %v", again)
	}
	if watched := observer.said.Objects; len(watched) != 2 || watched[1].ID != lacking.ID {
		t.Errorf("watched is %v, want both", watched)
	}
}

func TestASuspendedWorkWaitsForNoKindOfAnObjectThatIsGuarded(t *testing.T) {
	kinds := &everyKind{lookup: func(schema.GroupVersionKind) error { return errors.New("the member does not answer") }}
	e, _ := engineFor(t, kinds, memberThat{}, &emptyState{})
	p, _ := progressWith(func(_ *progress, o *object) { o.guarded = guardedAsOwn(o.Namespace) })
	if again := e.suspend(t.Context(), &state.Entry{Key: "settings", Work: &linkv1.Work{}}, p); again != 0 {
		t.Errorf("it is looked at again after %v", again)
	}
}
