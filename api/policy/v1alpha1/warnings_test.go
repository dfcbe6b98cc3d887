package v1alpha1_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"sigs.k8s.io/yaml"

	policyv1alpha1 "windlass.dev/windlass/api/policy/v1alpha1"
)

func TestAFieldWithoutEffectBesideTheOthersIsWarnedOf(t *testing.T) {
	const (
		scheduling = "spec.placement.replicaScheduling."
		duplicated = " has no effect: with replicaSchedulingType Duplicated every cluster gets all replicas"
		weights    = "weightPreference: {staticWeightList: [{targetCluster: {clusterNames: [a]}, weight: 1}]}"
		dynamic    = "weightPreference: {dynamicWeight: AvailableReplicas}"
		spread     = "spreadConstraints: [{spreadByField: cluster, minGroups: 2}]"
	)
	for _, test := range []struct {
		reason, placement string
		want              []string
	}{
		{"nothing is said", "{}", nil},
		{"static weights divide", "{replicaScheduling: {replicaSchedulingType: Divided, replicaDivisionPreference: Weighted, " + weights + "}}", nil},
		{"so does room", "{replicaScheduling: {replicaSchedulingType: Divided, " + dynamic + "}, " + spread + "}", nil},
		{"as few as have the room", "{replicaScheduling: {replicaDivisionPreference: Aggregated}, " + spread + "}", nil},
		{"all replicas everywhere", "{replicaScheduling: {replicaSchedulingType: Duplicated}, " + spread + "}", nil},
		{"static weights beside Aggregated", "{replicaScheduling: {replicaDivisionPreference: Aggregated, " + weights + "}}",
			[]string{scheduling + "weightPreference has no effect: with replicaDivisionPreference Aggregated the room of the clusters decides"}},
		{"room beside Duplicated", "{replicaScheduling: {replicaSchedulingType: Duplicated, " + dynamic + "}}", []string{scheduling + "weightPreference" + duplicated}},
		{"Aggregated beside Duplicated", "{replicaScheduling: {replicaSchedulingType: Duplicated, replicaDivisionPreference: Aggregated}}",
			[]string{scheduling + "replicaDivisionPreference" + duplicated}},
		{"both weights", "{replicaScheduling: {weightPreference: {dynamicWeight: AvailableReplicas, staticWeightList: [{targetCluster: {clusterNames: [a]}, weight: 1}]}}}",
			[]string{scheduling + "weightPreference.staticWeightList has no effect: dynamicWeight wins over it"}},
		{"constraints beside static weights", "{replicaScheduling: {" + weights + "}, " + spread + "}",
			[]string{"spec.placement.spreadConstraints choose no clusters: where replicas are divided by static or equal weights, the weights do"}},
	} {
		policy := &policyv1alpha1.PropagationPolicy{}
		if err := yaml.UnmarshalStrict([]byte(test.placement), &policy.Spec.Placement); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(test.want, policyv1alpha1.Warnings(policy), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.reason, diff)
		}
	}
}
