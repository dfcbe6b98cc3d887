package policy

import (
	"slices"
	"sync"

	"k8s.io/apimachinery/pkg/runtime/schema"

	workv1alpha1 "windlass.dev/windlass/api/work/v1alpha1"
	"windlass.dev/windlass/hub/store"
)

// boundKinds counts the bindings of each kind of template: to look through all bindings whenever one comes or goes costs as
// much as there are. The zero value is ready; it is safe for concurrent use.
type boundKinds struct {
	mu       sync.Mutex
	bindings map[schema.GroupVersionKind]int
}

// changed counts what an event of a binding says. When that makes another set of kinds it tells it, in order, and before the
// next event is counted.
func (b *boundKinds) changed(old, new workv1alpha1.Binding, tell func([]schema.GroupVersionKind)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.bindings == nil {
		b.bindings = map[schema.GroupVersionKind]int{}
	}
	before, another := len(b.bindings), false
	if new != nil {
		kind := store.TemplateKey(new).GroupVersionKind
		b.bindings[kind]++
		another = len(b.bindings) != before
	}
	if old != nil {
		kind := store.TemplateKey(old).GroupVersionKind
		if b.bindings[kind]--; b.bindings[kind] <= 0 {
			delete(b.bindings, kind)
			another = true
		}
	}
	if another {
		tell(b.sorted())
	}
}

func (b *boundKinds) sorted() []schema.GroupVersionKind {
	kinds := make([]schema.GroupVersionKind, 0, len(b.bindings))
	for kind := range b.bindings {
		kinds = append(kinds, kind)
	}
	slices.SortFunc(kinds, func(a, b schema.GroupVersionKind) int {
		return slices.Compare([]string{a.Group, a.Kind, a.Version}, []string{b.Group, b.Kind, b.Version})
	})
	return kinds
}
