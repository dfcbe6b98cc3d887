package scheduler

import (
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"

	workv1alpha1 "windlass.dev/windlass/api/work/v1alpha1"
	"windlass.dev/windlass/hub/store"
	"windlass.dev/windlass/pkg/schedule"
)

// company makes decisions about bindings of a group one after the other, each with what the ones before decided, which
// the cache may not show yet.
type company struct {
	mu     sync.Mutex
	recent map[types.NamespacedName]placed
}

// placed is a binding as it was just decided.
type placed struct {
	groups   workv1alpha1.WorkloadAffinityGroups
	clusters []workv1alpha1.TargetCluster
	at       time.Time
}

// recentFor is how long a decision counts that the cache does not show: it was not written, or is on its way.
const recentFor = 10 * time.Second

// inCompany decides about a binding that has groups.
func (r *Reconciler) inCompany(binding workv1alpha1.Binding, facts schedule.Facts) schedule.Decision {
	r.company.mu.Lock()
	defer r.company.mu.Unlock()
	now := r.Now()
	for key, other := range r.company.recent {
		if now.Sub(other.at) > recentFor {
			delete(r.company.recent, key)
		}
	}
	groups := *binding.GetSpec().WorkloadAffinityGroups
	facts.Near = schedule.Company{Group: groups.AffinityGroup, Clusters: sets.New[string]()}
	facts.Far = schedule.Company{Group: groups.AntiAffinityGroup, Clusters: sets.New[string]()}
	for _, other := range r.others(binding) {
		if groups.AffinityGroup != "" && other.groups.AffinityGroup == groups.AffinityGroup {
			insert(facts.Near.Clusters, other.clusters)
		}
		if groups.AntiAffinityGroup != "" && other.groups.AntiAffinityGroup == groups.AntiAffinityGroup {
			insert(facts.Far.Clusters, other.clusters)
		}
	}
	decision := schedule.Decide(facts)
	if r.company.recent == nil {
		r.company.recent = map[types.NamespacedName]placed{}
	}
	r.company.recent[store.Key(binding)] = placed{groups, decision.Clusters, now}
	return decision
}

// forget a binding that is going.
func (c *company) forget(key types.NamespacedName) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.recent, key)
}

func insert(set sets.Set[string], clusters []workv1alpha1.TargetCluster) {
	for _, target := range clusters {
		set.Insert(target.Name)
	}
}

// others are the other bindings of the same namespace that have groups. A recent decision counts more than the cache.
func (r *Reconciler) others(binding workv1alpha1.Binding) map[types.NamespacedName]placed {
	found := map[types.NamespacedName]placed{}
	for _, other := range r.Bindings.For(binding.GetNamespace()).List() {
		if spec := other.GetSpec(); spec.WorkloadAffinityGroups != nil && other.GetNamespace() == binding.GetNamespace() && other.GetDeletionTimestamp() == nil {
			found[store.Key(other)] = placed{groups: *spec.WorkloadAffinityGroups, clusters: spec.Clusters}
		}
	}
	for key, other := range r.company.recent {
		if key.Namespace == binding.GetNamespace() {
			found[key] = other
		}
	}
	delete(found, store.Key(binding))
	return found
}

// waitingFor wakes the bindings that have found no place, when one of the same group has moved or is gone.
func (r *Reconciler) waitingFor(old, new workv1alpha1.Binding) []types.NamespacedName {
	if old == nil || old.GetSpec().WorkloadAffinityGroups == nil {
		return nil
	}
	if new == nil || new.GetDeletionTimestamp() != nil {
		r.company.forget(store.Key(old))
	}
	if new != nil && new.GetDeletionTimestamp() == nil && slices.EqualFunc(old.GetSpec().Clusters, new.GetSpec().Clusters, func(a, b workv1alpha1.TargetCluster) bool { return a.Name == b.Name }) {
		return nil
	}
	var keys []types.NamespacedName
	for _, other := range r.Bindings.For(old.GetNamespace()).List() {
		if other.GetSpec().WorkloadAffinityGroups != nil && other.GetNamespace() == old.GetNamespace() && waits(scheduledCondition(other)) {
			keys = append(keys, store.Key(other))
		}
	}
	return keys
}
