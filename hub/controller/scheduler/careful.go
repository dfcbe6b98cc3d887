package scheduler

import (
	"sync"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/types"

	workv1alpha1 "windlass.dev/windlass/api/work/v1alpha1"
	"windlass.dev/windlass/hub/store"
	"windlass.dev/windlass/pkg/evict"
)

// carefully says whether what moves now is moved by the hub, and not by a user who has written something else: the fleet has changed, or the
// whole is placed anew, or a taint came or was taken back. Users' words are followed at once.
func (r *Reconciler) carefully(binding workv1alpha1.Binding) bool {
	return store.Claimed(binding) &&
		(r.drains.settled(binding) || r.drainedNow(binding) || afresh(binding) || len(evict.Returning(binding.GetSpec())) > 0)
}

// drainedNow says whether a binding that is being written differs from the stored one in nothing but what it leaves. The cache may show
// the fleet of a moment ago, on which nothing was decided yet, and that is decided on with this write, too.
func (r *Reconciler) drainedNow(binding workv1alpha1.Binding) bool {
	before, ok := r.Bindings.Get(store.Key(binding))
	return ok && before.GetResourceVersion() == binding.GetResourceVersion() && r.drains.settled(before) && sameButDrains(before, binding)
}

// drains remembers of bindings that are not placed as they are written that since the last decision nobody but the hub has
// written them, and only which clusters they leave. It is safe for concurrent use. A hub that begins knows of none.
type drains struct {
	mu          sync.Mutex
	generations map[types.NamespacedName]int64
}

// settled says whether there was a decision about what a binding's users say.
func (d *drains) settled(binding workv1alpha1.Binding) bool {
	if decidedOn(binding) {
		return true
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	generation, drained := d.generations[store.Key(binding)]
	return drained && generation == binding.GetGeneration()
}

// saw takes in an event of a binding.
func (d *drains) saw(old, new workv1alpha1.Binding) {
	if new == nil {
		d.forget(store.Key(old))
		return
	}
	if old != nil && old.GetGeneration() == new.GetGeneration() && !decidedOn(new) {
		return // only its status, or its marks
	}
	if old == nil || decidedOn(new) || !d.settled(old) || !sameButDrains(old, new) {
		d.forget(store.Key(new))
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.generations == nil {
		d.generations = map[types.NamespacedName]int64{}
	}
	d.generations[store.Key(new)] = new.GetGeneration()
}

func (d *drains) forget(key types.NamespacedName) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.generations, key)
}

// decidedOn says whether there was a decision about the present spec of a binding.
func decidedOn(binding workv1alpha1.Binding) bool {
	return binding.GetStatus().SchedulerObservedGeneration == binding.GetGeneration()
}

// sameButDrains says whether two states of a binding's spec differ in nothing but which clusters it leaves.
func sameButDrains(a, b workv1alpha1.Binding) bool {
	specA, specB := *a.GetSpec(), *b.GetSpec()
	specA.GracefulEvictionTasks, specB.GracefulEvictionTasks = nil, nil
	return a.GetUID() == b.GetUID() && equality.Semantic.DeepEqual(specA, specB)
}
