package observe

import (
	"context"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
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
	// known is true once they were listed, or it has turned out that they can't be.
	known bool
	// asked is what was asked about before that.
	asked map[interpret.Target]struct{}
}

func newAutoscalers(changed func(interpret.Target)) *autoscalers {
	return &autoscalers{
		changed: changed, byScale: map[manifest.ID]interpret.Target{}, counts: map[interpret.Target]int{}, asked: map[interpret.Target]struct{}{},
	}
}

func (a *autoscalers) watch(ctx context.Context, client dynamic.Interface) {
	reflect(ctx, client.Resource(horizontalPodAutoscalers), "", horizontalPodAutoscalers.String(), a, a.tried, func(error) {})
}

// tried is told how a list has begun. Where autoscalers may not be listed, or are not served, nothing is waited for.
func (a *autoscalers) tried(err error) {
	if apierrors.IsForbidden(err) || apierrors.IsNotFound(err) {
		a.nowKnown()
	}
}

// targets says whether an autoscaler targets something. As long as that is not known one does: replicas that another manager
// has set meanwhile can be taken back later, and what an autoscaler has made of them can't be given back.
func (a *autoscalers) targets(target interpret.Target) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.known {
		a.asked[target] = struct{}{}
		return true
	}
	return a.counts[target] > 0
}

// nowKnown has everything looked at again that was taken for a target and is none.
func (a *autoscalers) nowKnown() {
	a.mu.Lock()
	var untargeted []interpret.Target
	for target := range a.asked {
		if a.counts[target] == 0 {
			untargeted = append(untargeted, target)
		}
	}
	a.known, a.asked = true, nil
	a.mu.Unlock()
	for _, target := range untargeted {
		a.changed(target)
	}
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
	a.nowKnown()
	return nil
}
