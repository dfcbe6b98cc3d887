package observe

import (
	"context"
	"sync"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"windlass.dev/windlass/pkg/interpret"
	"windlass.dev/windlass/pkg/manifest"
)

var horizontalPodAutoscalers = schema.GroupVersionResource{Group: "autoscaling", Version: "v2", Resource: "horizontalpodautoscalers"}

// autoscalers knows what the member's HorizontalPodAutoscalers target, those of the member's own
// people included. It is the reflector's store.
type autoscalers struct {
	changed func(interpret.Target)

	mu      sync.Mutex
	byScale map[manifest.ID]interpret.Target
	counts  map[interpret.Target]int
}

func newAutoscalers(changed func(interpret.Target)) *autoscalers {
	return &autoscalers{changed: changed, byScale: map[manifest.ID]interpret.Target{}, counts: map[interpret.Target]int{}}
}

func (a *autoscalers) watch(ctx context.Context, client dynamic.Interface) {
	reflect(ctx, client.Resource(horizontalPodAutoscalers), "", horizontalPodAutoscalers.String(), a, func(error) {})
}

func (a *autoscalers) targets(target interpret.Target) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.counts[target] > 0
}

func (a *autoscalers) Add(object any) error    { return a.set(object) }
func (a *autoscalers) Update(object any) error { return a.set(object) }
func (a *autoscalers) Resync() error           { return nil }

func (a *autoscalers) Delete(object any) error {
	if hpa, ok := object.(*unstructured.Unstructured); ok {
		a.replace(manifest.IDOf(hpa), interpret.Target{})
	}
	return nil
}

func (a *autoscalers) set(object any) error {
	hpa, ok := object.(*unstructured.Unstructured)
	if !ok {
		return nil
	}
	target, _ := interpret.AutoscaleTarget(hpa)
	a.replace(manifest.IDOf(hpa), target)
	return nil
}

// replace records what an autoscaler targets, nothing when it is gone.
func (a *autoscalers) replace(id manifest.ID, target interpret.Target) {
	a.mu.Lock()
	before := a.byScale[id]
	if before == target {
		a.mu.Unlock()
		return
	}
	delete(a.byScale, id)
	if a.counts[before]--; a.counts[before] <= 0 {
		delete(a.counts, before)
	}
	if target != (interpret.Target{}) {
		a.byScale[id] = target
		a.counts[target]++
	}
	a.mu.Unlock()
	for _, affected := range []interpret.Target{before, target} {
		if affected != (interpret.Target{}) {
			a.changed(affected)
		}
	}
}

func (a *autoscalers) Replace(list []any, _ string) error {
	listed := map[manifest.ID]bool{}
	for _, element := range list {
		if hpa, ok := element.(*unstructured.Unstructured); ok {
			listed[manifest.IDOf(hpa)] = true
			_ = a.set(hpa)
		}
	}
	a.mu.Lock()
	var gone []manifest.ID
	for id := range a.byScale {
		if !listed[id] {
			gone = append(gone, id)
		}
	}
	a.mu.Unlock()
	for _, id := range gone {
		a.replace(id, interpret.Target{})
	}
	return nil
}
