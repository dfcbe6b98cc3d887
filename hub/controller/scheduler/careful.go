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

// wrote has a decision known before the handler hears of it: by then the cache may show a drain on top of it.
func (r *Reconciler) wrote(binding workv1alpha1.Binding) {
	r.drains.saw(binding)
	if _, there := r.Bindings.Get(store.Key(binding)); !there {
		r.drains.forget(store.Key(binding)) // its end may have been told before this, and nobody else would
	}
}

// drains remembers of every binding in which state it was seen last, and whether by then nobody but the hub had written it since the last
// decision, and only which clusters it leaves. It is safe for concurrent use. A hub that begins knows of none.
type drains struct {
	mu   sync.Mutex
	seen map[types.NamespacedName]sighting
}

// A sighting is a state of a binding, and whether there was a decision about what its users say in it.
type sighting struct {
	binding workv1alpha1.Binding
	settled bool
}

// settled says whether there was a decision about what a binding's users say. The binding may be ahead of what was seen of it: a cache
// shows a state before its handlers hear of it.
func (d *drains) settled(binding workv1alpha1.Binding) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.seen[store.Key(binding)].settles(binding)
}

// saw takes in a state of a binding: each of which the handler hears, and each that a worker has written.
func (d *drains) saw(binding workv1alpha1.Binding) {
	d.mu.Lock()
	defer d.mu.Unlock()
	key := store.Key(binding)
	last := d.seen[key]
	if last.after(binding) {
		return // what a worker has written since, the handler hears of later
	}
	if d.seen == nil {
		d.seen = map[types.NamespacedName]sighting{}
	}
	d.seen[key] = sighting{binding: binding, settled: last.settles(binding)}
}

func (d *drains) forget(key types.NamespacedName) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.seen, key)
}

// settles says whether there was a decision about what users say in a state that came afterwards.
func (s sighting) settles(next workv1alpha1.Binding) bool {
	return decidedOn(next) || s.settled && sameButDrains(s.binding, next)
}

// after says whether another state of the same binding was there before.
func (s sighting) after(other workv1alpha1.Binding) bool {
	return s.binding != nil && s.binding.GetUID() == other.GetUID() && s.binding.GetGeneration() > other.GetGeneration()
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
