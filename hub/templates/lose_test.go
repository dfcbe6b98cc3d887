package templates

import (
	"log/slog"
	"testing"

	"k8s.io/apimachinery/pkg/runtime/schema"
)

func TestLateNewsThatAKindIsGoneHitsOnlyTheWatchThatHasIt(t *testing.T) {
	widgets := schema.GroupVersionKind{Group: "example.com", Version: "v1", Kind: "Widget"}
	stopped := map[string]bool{}
	watch := func(name string) *kind { return &kind{stop: func() { stopped[name] = true }} }
	old, next := watch("old"), watch("next")
	for _, c := range []struct {
		reason  string
		present *kind
		told    bool
	}{
		{"another watch runs by now", next, false},
		{"nobody wants the kind any more", nil, false},
		{"it is the kind's watch", old, true},
	} {
		t.Run(c.reason, func(t *testing.T) {
			clear(stopped)
			told := false
			w := &Watcher{config: Config{Log: slog.New(slog.DiscardHandler)}, lost: make(chan struct{}, 1), kinds: map[schema.GroupVersionKind]*kind{}}
			w.Handle(Handler{Kind: func(schema.GroupVersionKind) { told = true }})
			if c.present != nil {
				w.kinds[widgets] = c.present
			}
			w.lose(widgets, old)
			if told != c.told || !stopped["old"] || stopped["next"] {
				t.Errorf("told %t, stopped %v", told, stopped)
			}
			if after, there := w.kinds[widgets]; !c.told && (after != c.present || there != (c.present != nil)) {
				t.Errorf("the kind's watch is %+v", after)
			}
			if problem := w.Problem(widgets); (problem != nil) != c.told {
				t.Errorf("the problem is %v", problem)
			}
		})
	}
}
