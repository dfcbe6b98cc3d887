package scheduler

import (
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"

	workv1alpha1 "windlass.dev/windlass/api/work/v1alpha1"
	"windlass.dev/windlass/hub/store"
	"windlass.dev/windlass/pkg/evict"
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
	leaving  []string // the clusters that it has to leave
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
	facts.Near, facts.Far = r.companyOf(binding, groups, facts.Leaving)
	decision := schedule.Decide(facts)
	if r.company.recent == nil {
		r.company.recent = map[types.NamespacedName]placed{}
	}
	r.company.recent[store.Key(binding)] = placed{groups: groups, clusters: decision.Clusters, leaving: facts.Leaving, at: now}
	return decision
}

// companyOf is where the others of a binding's groups are. The company's lock is held.
func (r *Reconciler) companyOf(binding workv1alpha1.Binding, groups workv1alpha1.WorkloadAffinityGroups, leaving []string) (near, far schedule.Company) {
	near = schedule.Company{Group: groups.AffinityGroup, Clusters: sets.New[string]()}
	far = schedule.Company{Group: groups.AntiAffinityGroup, Clusters: sets.New[string]()}
	for _, other := range r.others(binding) {
		// Where one of them has to leave, nobody is held: else all hold each other in the cluster that all of them leave.
		if groups.AffinityGroup != "" && other.groups.AffinityGroup == groups.AffinityGroup {
			insert(near.Clusters, other.clusters, slices.Concat(other.leaving, leaving)...)
		}
		if groups.AntiAffinityGroup != "" && other.groups.AntiAffinityGroup == groups.AntiAffinityGroup {
			insert(far.Clusters, other.clusters)
		}
	}
	return near, far
}

// regroup says of which groups a binding is now; nil for none, or for one that is going. What was just decided of it would else go on
// to count for those that it was of.
func (c *company) regroup(key types.NamespacedName, groups *workv1alpha1.WorkloadAffinityGroups) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if groups == nil {
		delete(c.recent, key)
	} else if recent, there := c.recent[key]; there {
		recent.groups = *groups
		c.recent[key] = recent
	}
}

func insert(set sets.Set[string], clusters []workv1alpha1.TargetCluster, but ...string) {
	for _, target := range clusters {
		if !slices.Contains(but, target.Name) {
			set.Insert(target.Name)
		}
	}
}

// others are the other bindings of the same namespace that have groups. A recent decision counts more than the cache, but
// for what they have to leave, which others decide.
func (r *Reconciler) others(binding workv1alpha1.Binding) map[types.NamespacedName]placed {
	found := map[types.NamespacedName]placed{}
	for _, other := range r.grouped(binding.GetNamespace()) {
		if spec := other.GetSpec(); other.GetDeletionTimestamp() == nil {
			found[store.Key(other)] = placed{groups: *spec.WorkloadAffinityGroups, clusters: spec.Clusters, leaving: evict.Leaving(spec)}
		}
	}
	for key, other := range r.company.recent {
		if key.Namespace == binding.GetNamespace() {
			if stored, ok := found[key]; ok {
				other.leaving = stored.leaving
			}
			found[key] = other
		}
	}
	delete(found, store.Key(binding))
	return found
}

// grouped are the bindings of a namespace that have groups.
func (r *Reconciler) grouped(namespace string) []workv1alpha1.Binding {
	return r.Bindings.For(namespace).ByIndex(store.ByCompany, namespace)
}

// waitingFor wakes the bindings that have found no place, when one of the same group has moved, has to leave other clusters
// than before, is of another group, or is gone.
func (r *Reconciler) waitingFor(old, new workv1alpha1.Binding) []types.NamespacedName {
	if old == nil || old.GetSpec().WorkloadAffinityGroups == nil {
		return nil
	}
	switch {
	case new == nil || new.GetDeletionTimestamp() != nil:
		r.company.regroup(store.Key(old), nil)
	case !equality.Semantic.DeepEqual(old.GetSpec().WorkloadAffinityGroups, new.GetSpec().WorkloadAffinityGroups):
		r.company.regroup(store.Key(new), new.GetSpec().WorkloadAffinityGroups)
	case sameClusters(old.GetSpec(), new.GetSpec()):
		return nil
	}
	var keys []types.NamespacedName
	for _, other := range r.grouped(old.GetNamespace()) {
		if waits(scheduledCondition(other)) {
			keys = append(keys, store.Key(other))
		}
	}
	return keys
}

func sameClusters(old, new *workv1alpha1.BindingSpec) bool {
	return slices.EqualFunc(old.Clusters, new.Clusters, func(a, b workv1alpha1.TargetCluster) bool { return a.Name == b.Name }) &&
		slices.Equal(evict.Leaving(old), evict.Leaving(new))
}
