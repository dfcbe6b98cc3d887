package v1alpha1

import (
	"iter"

	"k8s.io/apimachinery/pkg/util/validation/field"
)

// Rules are a policy's rules in their order, each with its place in the policy. The spec's own
// targetCluster and overriders, which is how rules were written before there was a list of them, are one
// rule.
func (s *OverrideSpec) Rules() iter.Seq2[*field.Path, *RuleWithCluster] {
	path := field.NewPath("spec")
	return func(yield func(*field.Path, *RuleWithCluster) bool) {
		if len(s.OverrideRules) == 0 {
			yield(path, &RuleWithCluster{TargetCluster: s.TargetCluster, Overriders: s.Overriders})
			return
		}
		for i := range s.OverrideRules {
			if !yield(path.Child("overrideRules").Index(i), &s.OverrideRules[i]) {
				return
			}
		}
	}
}

// HasRules says whether there is anything in a policy that may change something.
func (s *OverrideSpec) HasRules() bool {
	for _, rule := range s.Rules() {
		if rule.Overriders.operations() > 0 {
			return true
		}
	}
	return false
}

// OverrideEffective is the type of an override policy's condition: it is True when the policy has rules with overriders, selects something that is
// propagated, every selector is for a kind that the hub serves, and every rule for some cluster.
const OverrideEffective = "Effective"

// reservedMarks are labels and annotations by which hub and agents know whose an object is.
// api/work/v1alpha1 exports their names; it imports this package, so they can't come from there.
var reservedMarks = map[string]bool{
	permanentIDLabel:                           true,
	clusterPermanentIDLabel:                    true,
	"propagationpolicy.karmada.io/namespace":   true,
	"propagationpolicy.karmada.io/name":        true,
	"clusterpropagationpolicy.karmada.io/name": true,
	"karmada.io/managed":                       true,
	"windlass.dev/hub-id":                      true,
	"work.karmada.io/name":                     true,
	"work.karmada.io/namespace":                true,
	"resourcetemplate.karmada.io/uid":          true,
}

// ReservedMark says whether a label or annotation is the hub's own, which no override may set or take
// away.
func ReservedMark(key string) bool { return reservedMarks[key] }

// OverridableMetadata says whether an override may change a field of metadata. All others identify the
// object, or belong to the API server that keeps it.
func OverridableMetadata(field string) bool { return field == "labels" || field == "annotations" }
