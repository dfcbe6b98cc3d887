package scheduler

import (
	"context"
	"math"
	"slices"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/types"

	workv1alpha1 "windlass.dev/windlass/api/work/v1alpha1"
	"windlass.dev/windlass/hub/capacity"
	"windlass.dev/windlass/hub/store"
	"windlass.dev/windlass/pkg/schedule"
)

// Room is found out before a decision, and told what was decided.
type Room interface {
	// Gather finds out for how many replicas more with such needs clusters have room. It may wait for their agents; what
	// it returns does not, and says what is known less what is assumed by then, and whose agent is awaited.
	Gather(ctx context.Context, needs *workv1alpha1.ReplicaRequirements, clusters []string) (known func() []capacity.Answer)
	// Listen has a function called when clusters may have more room than was said, or are awaited no longer, once for all that
	// do at about the same time.
	Listen(listener func())
	// Assume takes what was placed off the clusters' room until it shows there. Saying it again changes nothing.
	// What it returns takes the word back.
	Assume(binding types.NamespacedName, needs *workv1alpha1.ReplicaRequirements, before, after []workv1alpha1.TargetCluster) (undo func())
}

// gather asks about all clusters of a fleet. What it returns reads the room in them, in their order.
func (r *Reconciler) gather(ctx context.Context, fleet *schedule.Fleet, needs *workv1alpha1.ReplicaRequirements) (room func() []capacity.Answer) {
	return r.Room.Gather(ctx, needs, names(fleet))
}

// names are those of the clusters of a fleet.
func names(fleet *schedule.Fleet) []string {
	names := make([]string, fleet.Len())
	for i, cluster := range fleet.Clusters() {
		names[i] = cluster.Name()
	}
	return names
}

// available is what a decision takes from answers: the room that there is, and what is assumed taken of it.
func available(answers []capacity.Answer) (available, assumed []int32) {
	if answers == nil {
		return nil, nil
	}
	available, assumed = make([]int32, len(answers)), make([]int32, len(answers))
	for i, answer := range answers {
		available[i], assumed[i] = answer.Replicas, answer.Assumed
		if answer.Source == capacity.Unknown {
			available[i] = schedule.CapacityUnknown
		}
	}
	return available, assumed
}

// hinges says whether it depends on the room of clusters whose agents are on their way back where a binding goes: whether it
// goes elsewhere when they have none than when they have plenty.
func (r *Reconciler) hinges(binding workv1alpha1.Binding, fleet *schedule.Fleet, room []capacity.Answer) bool {
	if !slices.ContainsFunc(room, func(answer capacity.Answer) bool { return answer.Awaited }) {
		return false
	}
	where := func(replicas int32) schedule.Decision {
		assumed := slices.Clone(room)
		for i := range assumed {
			if assumed[i].Awaited {
				assumed[i] = capacity.Answer{Replicas: replicas, Source: capacity.FromSummary}
			}
		}
		return r.decideForNobody(binding, fleet, assumed, false)
	}
	none, plenty := where(0), where(math.MaxInt32)
	return none.Scheduled != plenty.Scheduled || !equality.Semantic.DeepEqual(none.Clusters, plenty.Clusters)
}

// placed tells what was decided about a workload. What is kept from a cluster takes no room there. What it returns takes
// that back.
func (r *Reconciler) placed(binding workv1alpha1.Binding, before []workv1alpha1.TargetCluster) (undo func()) {
	spec := binding.GetSpec()
	if spec.Replicas == nil {
		return func() {}
	}
	return r.Room.Assume(store.Key(binding), spec.ReplicaRequirements, before, spec.Sent())
}
