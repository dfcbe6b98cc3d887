package v1alpha1

import "k8s.io/apimachinery/pkg/util/validation/field"

// A PlacedRule is a rule of an override policy, and where in the policy it stands.
//
// +k8s:deepcopy-gen=false
// +k8s:openapi-gen=false
// +protobuf=false
type PlacedRule struct {
	*RuleWithCluster
	Path *field.Path
}

// Rules are a policy's rules in their order. The spec's own targetCluster and overriders, which is how
// rules were written before there was a list of them, are one rule.
func (s *OverrideSpec) Rules() []PlacedRule {
	path := field.NewPath("spec")
	if len(s.OverrideRules) == 0 {
		return []PlacedRule{{&RuleWithCluster{TargetCluster: s.TargetCluster, Overriders: s.Overriders}, path}}
	}
	rules := make([]PlacedRule, len(s.OverrideRules))
	for i := range s.OverrideRules {
		rules[i] = PlacedRule{&s.OverrideRules[i], path.Child("overrideRules").Index(i)}
	}
	return rules
}

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
