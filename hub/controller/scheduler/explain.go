package scheduler

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	workv1alpha1 "windlass.dev/windlass/api/work/v1alpha1"
	"windlass.dev/windlass/hub/capacity"
	"windlass.dev/windlass/hub/store"
	"windlass.dev/windlass/pkg/aggregate"
	"windlass.dev/windlass/pkg/schedule"
)

// Explain decides about a binding as it would be decided now, and says in full why. Nothing comes of the decision. It may
// wait for agents. The fleet must be known.
func (r *Reconciler) Explain(ctx context.Context, binding workv1alpha1.Binding) *workv1alpha1.BindingPlacement {
	if binding.GetDeletionTimestamp() != nil {
		return removing(binding)
	}
	spec, fleet := binding.GetSpec(), r.fleet.snapshot()
	var room []capacity.Answer
	if r.byRoom(binding) {
		room = r.Room.Gather(ctx, spec.ReplicaRequirements, names(fleet))()
	}
	decision := r.decideForNobody(binding, fleet, room, func(facts *schedule.Facts) { facts.InFull = true })
	if awaited := r.hinges(binding, fleet, room); len(awaited) > 0 {
		decision = waiting(binding, awaited)
	}
	return &workv1alpha1.BindingPlacement{
		ObjectMeta:    metav1.ObjectMeta{Namespace: binding.GetNamespace(), Name: binding.GetName()},
		Resource:      spec.Resource,
		Replicas:      spec.Replicas,
		Scheduled:     decision.Scheduled,
		Reason:        decision.Reason,
		Message:       decision.Message,
		AffinityGroup: decision.Group,
		Pending:       !equality.Semantic.DeepEqual(spec.Clusters, decision.Clusters),
		Clusters:      decision.Clusters,
		Refusals:      alike(decision.Refused),
		Room:          roomIn(fleet, room),
		Details:       overflowing(decision),
		Remarks:       append(untried(decision), r.notAsked(binding)...),
	}
}

// removing says of a binding that is being deleted what its FullyApplied does, once that is written. It goes nowhere.
func removing(binding workv1alpha1.Binding) *workv1alpha1.BindingPlacement {
	spec := binding.GetSpec()
	said := &workv1alpha1.BindingPlacement{
		ObjectMeta: metav1.ObjectMeta{Namespace: binding.GetNamespace(), Name: binding.GetName()},
		Resource:   spec.Resource, Replicas: spec.Replicas,
		Reason: aggregate.ReasonRemoving, Message: "It is being removed from all clusters",
	}
	whole := meta.FindStatusCondition(binding.GetStatus().Conditions, workv1alpha1.BindingFullyApplied)
	if whole != nil && whole.ObservedGeneration == binding.GetGeneration() && (whole.Reason == aggregate.ReasonRemoving || whole.Reason == aggregate.ReasonRemovalHeld) {
		said.Message = whole.Message
	}
	return said
}

// overflowing names the groups from which clusters take what overflows.
func overflowing(decision schedule.Decision) []workv1alpha1.PlacementDetail {
	var details []workv1alpha1.PlacementDetail
	for _, target := range decision.Clusters {
		if group := decision.Overflow[target.Name]; group != "" {
			details = append(details, workv1alpha1.PlacementDetail{Cluster: target.Name, OverflowGroup: group})
		}
	}
	return details
}

// mostUntried bounds the affinity groups that a remark names.
const mostUntried = 5

func untried(decision schedule.Decision) []string {
	groups := decision.Untried
	if len(groups) == 0 {
		return nil
	}
	named := strings.Join(groups[:min(len(groups), mostUntried)], ", ")
	if more := len(groups) - mostUntried; more > 0 {
		named += fmt.Sprintf(" and %d more", more)
	}
	return []string{fmt.Sprintf("it stays in the affinity group %s as long as that fits, whatever is with those before it (%s): a WorkloadRebalancer begins with the first again",
		decision.Group, named)}
}

// decideForNobody decides without consequence: what others decide afterwards does not depend on it. Ask says what else it is asked.
func (r *Reconciler) decideForNobody(binding workv1alpha1.Binding, fleet *schedule.Fleet, room []capacity.Answer, ask func(*schedule.Facts)) schedule.Decision {
	if othersTurn(binding) || r.unknown(binding) {
		return asSaid(binding)
	}
	facts, settled := r.question(binding, fleet, room)
	if settled != nil {
		return *settled
	}
	if groups := binding.GetSpec().WorkloadAffinityGroups; groups != nil {
		r.company.mu.Lock()
		facts.Near, facts.Far = r.companyOf(binding, *groups, facts.Leaving)
		r.company.mu.Unlock()
	}
	ask(&facts)
	return schedule.Decide(facts)
}

// asSaid is what was decided about a binding when somebody last did, as far as that can be known.
func asSaid(binding workv1alpha1.Binding) schedule.Decision {
	decision := schedule.Decision{Clusters: binding.GetSpec().Clusters, Group: group(binding), Message: "nothing is decided yet"}
	if said := scheduledCondition(binding); said != nil {
		decision.Scheduled, decision.Reason, decision.Message = said.Status == metav1.ConditionTrue, said.Reason, said.Message
	}
	return decision
}

// notAsked says why the hub's scheduler was not asked.
func (r *Reconciler) notAsked(binding workv1alpha1.Binding) []string {
	switch {
	case othersTurn(binding):
		var remarks []string
		if scheduledCondition(binding).Reason != workv1alpha1.ScheduledByAnother { // that says so itself
			remarks = append(remarks, fmt.Sprintf("the scheduler %q places it, as spec.schedulerName says: this is its word, and why it chooses no other clusters only it knows", binding.GetSpec().SchedulerName))
		}
		if missing := aggregate.Unobserved(binding, !store.Claimed(binding)); missing != "" {
			remarks = append(remarks, missing)
		}
		return remarks
	case r.unknown(binding):
		return []string{"this is what was decided before: the hub has not seen yet whether the Job has ended, and decides nothing until then"}
	}
	return nil
}

// alike gathers the clusters that are refused for the same reason. The affinity groups stay in their order.
func alike(refused []schedule.Refusal) []workv1alpha1.PlacementRefusal {
	type reason struct {
		group string
		rule  schedule.Rule
		text  string
	}
	var list []workv1alpha1.PlacementRefusal
	at, tried := map[reason]int{}, map[string]int{}
	for _, r := range refused {
		key := reason{r.Group, r.Rule, r.Message}
		i, known := at[key]
		if !known {
			i = len(list)
			at[key] = i
			list = append(list, workv1alpha1.PlacementRefusal{AffinityGroup: r.Group, Rule: string(r.Rule), Message: r.Message})
		}
		if _, known := tried[r.Group]; !known {
			tried[r.Group] = len(tried)
		}
		list[i].Clusters = append(list[i].Clusters, r.Cluster)
	}
	slices.SortFunc(list, func(a, b workv1alpha1.PlacementRefusal) int {
		return cmp.Or(cmp.Compare(tried[a.AffinityGroup], tried[b.AffinityGroup]), cmp.Compare(len(b.Clusters), len(a.Clusters)),
			cmp.Compare(a.Rule, b.Rule), cmp.Compare(a.Message, b.Message))
	})
	return list
}

// roomIn is what is known of the room in the clusters of a fleet; nothing when it was not asked for.
func roomIn(fleet *schedule.Fleet, answers []capacity.Answer) []workv1alpha1.ClusterRoom {
	var list []workv1alpha1.ClusterRoom
	for i, answer := range answers {
		room := workv1alpha1.ClusterRoom{Cluster: fleet.Clusters()[i].Name(), Source: string(answer.Source), Message: answer.Why}
		if answer.Source != capacity.Unknown {
			room.Replicas = &answer.Replicas
		}
		list = append(list, room)
	}
	return list
}
