package scheduler

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"

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

// hinges names the clusters whose agents are on their way back and on whose room it depends where a binding goes, or may.
func (r *Reconciler) hinges(binding workv1alpha1.Binding, fleet *schedule.Fleet, room []capacity.Answer) []string {
	if !slices.ContainsFunc(room, func(answer capacity.Answer) bool { return answer.Awaited }) {
		return nil
	}
	awaited := make([]bool, len(room))
	room = slices.Clone(room)
	for i := range room {
		if awaited[i] = room[i].Awaited; awaited[i] {
			room[i] = capacity.Answer{Source: capacity.FromSummary} // one of which nothing is known yet is no different
		}
	}
	return r.decideForNobody(binding, fleet, room, func(facts *schedule.Facts) { facts.Awaited = awaited }).Awaits
}

// mostAwaited bounds the clusters that a message names because their agents are awaited.
const mostAwaited = 3

// waiting is what there is to say of a binding while the agents of clusters are awaited.
func waiting(binding workv1alpha1.Binding, awaited []string) schedule.Decision {
	agents := "the agent of " + awaited[0] + ", which is"
	if len(awaited) > 1 {
		agents = "the agents of " + strings.Join(awaited[:min(len(awaited), mostAwaited)], ", ")
		if more := len(awaited) - mostAwaited; more > 0 {
			agents += fmt.Sprintf(" and %d more", more)
		}
		agents += ", which are"
	}
	return schedule.Decision{
		Clusters: binding.GetSpec().Clusters, Group: group(binding), Reason: workv1alpha1.ScheduledWaitingForAgent,
		Message: "waits for " + agents + " on the way back since the hub began: where it goes depends on the room there",
	}
}

// tellOfAwaited has a binding that is nowhere say, once, what it waits for. One that has a place would be said to be decided on by that, and
// is not; and what one waits for that waits for room already was said.
func (r *Reconciler) tellOfAwaited(ctx context.Context, binding workv1alpha1.Binding, awaited []string) (ctrl.Result, error) {
	if len(binding.GetSpec().Clusters) > 0 || scheduledCondition(binding) != nil {
		return ctrl.Result{}, nil
	}
	next := step{decision: waiting(binding, awaited), scheduled: binding.DeepCopyObject().(workv1alpha1.Binding), undo: func() {}}
	next.changed = record(next.scheduled, next.decision, false, r.Now())
	return r.write(ctx, binding, next)
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
