package scheduler

import (
	"context"

	"k8s.io/apimachinery/pkg/types"

	workv1alpha1 "windlass.dev/windlass/api/work/v1alpha1"
	"windlass.dev/windlass/hub/capacity"
	"windlass.dev/windlass/hub/store"
	"windlass.dev/windlass/pkg/schedule"
)

// Room is found out before a decision, and told what was decided.
type Room interface {
	// Gather says for how many replicas more with such needs each of the clusters has room. It may wait for their agents.
	Gather(ctx context.Context, needs *workv1alpha1.ReplicaRequirements, clusters []string) []capacity.Answer
	// Listen has a function called when a cluster may have more room than was said.
	Listen(listener func(cluster string))
	// Assume takes what was placed off the clusters' room until it shows there. Saying it again changes nothing.
	Assume(binding types.NamespacedName, needs *workv1alpha1.ReplicaRequirements, before, after []workv1alpha1.TargetCluster)
}

// available asks about all clusters of a fleet.
func (r *Reconciler) available(ctx context.Context, fleet *schedule.Fleet, needs *workv1alpha1.ReplicaRequirements) []int32 {
	names := make([]string, fleet.Len())
	for i, cluster := range fleet.Clusters() {
		names[i] = cluster.Name()
	}
	available := make([]int32, len(names))
	for i, answer := range r.Room.Gather(ctx, needs, names) {
		available[i] = schedule.CapacityUnknown
		if answer.Source != capacity.Unknown {
			available[i] = answer.Replicas
		}
	}
	return available
}

// placed tells what was decided about a workload.
func (r *Reconciler) placed(binding workv1alpha1.Binding, before []workv1alpha1.TargetCluster) {
	if spec := binding.GetSpec(); spec.Replicas != nil {
		r.Room.Assume(store.Key(binding), spec.ReplicaRequirements, before, spec.Clusters)
	}
}
