package v1alpha1

import (
	"strings"

	"k8s.io/apimachinery/pkg/util/validation/field"
)

// A field that is accepted has its meaning. The tables below are the only place that says which
// fields have none yet: whoever gives a field its meaning deletes its row, and nothing else here.
// The rules for those fields' values are checked all the same, so deleting a row is enough.

// notYet is a field that Karmada has and that does nothing here yet.
//
// +k8s:openapi-gen=false
type notYet[T any] struct {
	field   string        // path below T, with dots
	set     func(*T) bool // whether the object asks for it
	instead string        // what the user can do
}

var notYetInPolicy = []notYet[PropagationSpec]{
	{"propagateDeps", func(s *PropagationSpec) bool { return s.PropagateDeps }, "set it to false, and select the ConfigMaps, Secrets and other objects that the workload needs in resourceSelectors"},
	{"preemption", func(s *PropagationSpec) bool { return s.Preemption == PreemptAlways }, "use Never; a policy takes a template over once the one that claims it no longer selects it"},
	{"dependentOverrides", func(s *PropagationSpec) bool { return len(s.DependentOverrides) > 0 }, "remove it"},
	{"schedulerName", func(s *PropagationSpec) bool { return s.SchedulerName != "" && s.SchedulerName != DefaultSchedulerName }, "remove it, or use " + DefaultSchedulerName},
	{"failover.application", func(s *PropagationSpec) bool { return s.Failover != nil && s.Failover.Application != nil }, "remove it"},
	{"failover.cluster", func(s *PropagationSpec) bool { return s.Failover != nil && s.Failover.Cluster != nil }, "remove it"},
	{"activationPreference", func(s *PropagationSpec) bool { return s.ActivationPreference != "" }, "remove it; changes of the policy take effect at once"},
	{"suspension.dispatching", func(s *PropagationSpec) bool {
		return s.Suspension != nil && s.Suspension.Dispatching != nil && *s.Suspension.Dispatching
	}, "remove it"},
	{"suspension.dispatchingOnClusters", func(s *PropagationSpec) bool {
		return s.Suspension != nil && s.Suspension.DispatchingOnClusters != nil && len(s.Suspension.DispatchingOnClusters.ClusterNames) > 0
	}, "remove it"},
	{"schedulePriority", func(s *PropagationSpec) bool { return s.SchedulePriority != nil }, "remove it"},
}

var notYetInPlacement = []notYet[Placement]{
	{"clusterAffinities", func(p *Placement) bool { return len(p.ClusterAffinities) > 0 }, "use clusterAffinity, which is one group"},
	{"spreadConstraints", func(p *Placement) bool { return len(p.SpreadConstraints) > 0 }, "remove it; every cluster that clusterAffinity selects is used"},
	{"workloadAffinity", func(p *Placement) bool { return p.WorkloadAffinity != nil }, "remove it"},
	{"replicaScheduling.replicaDivisionPreference", func(p *Placement) bool {
		return p.ReplicaScheduling != nil && p.ReplicaScheduling.ReplicaDivisionPreference == ReplicaDivisionAggregated
	}, "use Weighted, with a staticWeightList or with equal weights"},
	{"replicaScheduling.weightPreference.dynamicWeight", func(p *Placement) bool {
		return p.ReplicaScheduling != nil && p.ReplicaScheduling.WeightPreference != nil && p.ReplicaScheduling.WeightPreference.DynamicWeight != ""
	}, "use a staticWeightList, or remove weightPreference for equal weights"},
}

// refuseNotYet returns an error for every row whose field is set.
func refuseNotYet[T any](rows []notYet[T], object *T, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for _, row := range rows {
		if row.set(object) {
			names := strings.Split(row.field, ".")
			errs = append(errs, field.Forbidden(path.Child(names[0], names[1:]...), "is not supported yet: "+row.instead))
		}
	}
	return errs
}
