package v1alpha1

import (
	"fmt"

	"k8s.io/apimachinery/pkg/util/validation/field"
)

// Warnings are sentences for whoever writes a policy, each about a field that is valid and has no effect beside the others. Such
// fields are accepted, for manifests that were written for Karmada have them and mean the same here.
func Warnings(policy Policy) []string {
	placement, path := &policy.GetSpec().Placement, field.NewPath("spec", "placement")
	return append(withoutEffectInDivision(placement.ReplicaScheduling, path.Child("replicaScheduling")), idleConstraints(placement, path)...)
}

func withoutEffectInDivision(strategy *ReplicaSchedulingStrategy, path *field.Path) []string {
	if strategy == nil {
		return nil
	}
	var warnings []string
	idle := func(at *field.Path, because string) {
		warnings = append(warnings, fmt.Sprintf("%s has no effect: %s", at, because))
	}
	weights, at := strategy.WeightPreference, path.Child("weightPreference")
	switch {
	case strategy.ReplicaSchedulingType == ReplicaSchedulingDuplicated:
		const because = "with replicaSchedulingType Duplicated every cluster gets all replicas"
		if strategy.ReplicaDivisionPreference != "" {
			idle(path.Child("replicaDivisionPreference"), because)
		}
		if weights != nil {
			idle(at, because)
		}
	case weights == nil:
	case strategy.ReplicaDivisionPreference == ReplicaDivisionAggregated:
		idle(at, "with replicaDivisionPreference Aggregated the room of the clusters decides")
	case weights.DynamicWeight != "" && len(weights.StaticWeightList) > 0:
		idle(at.Child("staticWeightList"), "dynamicWeight wins over it")
	}
	return warnings
}

// idleConstraints tells of spread constraints beside static weights, or equal ones.
func idleConstraints(placement *Placement, path *field.Path) []string {
	strategy := placement.ReplicaScheduling
	if len(placement.SpreadConstraints) == 0 || strategy == nil || strategy.ReplicaSchedulingType == ReplicaSchedulingDuplicated ||
		strategy.ReplicaDivisionPreference == ReplicaDivisionAggregated || strategy.WeightPreference != nil && strategy.WeightPreference.DynamicWeight != "" {
		return nil
	}
	return []string{fmt.Sprintf("%s choose no clusters: where replicas are divided by static or equal weights, the weights do", path.Child("spreadConstraints"))}
}
