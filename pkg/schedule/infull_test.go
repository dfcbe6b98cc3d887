package schedule

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/utils/ptr"

	clusterv1alpha1 "windlass.dev/windlass/api/cluster/v1alpha1"
	policyv1alpha1 "windlass.dev/windlass/api/policy/v1alpha1"
)

func TestInFullEveryClusterWithoutAReplicaSaysWhy(t *testing.T) {
	job := schema.GroupVersionKind{Group: "batch", Version: "v1", Kind: "Job"}
	weighted := func(rules ...policyv1alpha1.StaticClusterWeight) *policyv1alpha1.Placement {
		return &policyv1alpha1.Placement{ReplicaScheduling: divided(rules...)}
	}
	weight := func(weight int64, name string) policyv1alpha1.StaticClusterWeight {
		return policyv1alpha1.StaticClusterWeight{TargetCluster: *named(name), Weight: weight}
	}
	dynamic, aggregated := &policyv1alpha1.Placement{}, &policyv1alpha1.Placement{}
	dynamically(dynamic)
	aggregating(aggregated)
	servesJobs := func(c *clusterv1alpha1.MemberCluster) {
		c.Status.APIEnablements = append(c.Status.APIEnablements, clusterv1alpha1.APIEnablement{
			GroupVersion: "batch/v1", Resources: []clusterv1alpha1.APIResource{{Name: "jobs", Kind: "Job"}},
		})
	}
	tests := []struct {
		reason    string
		placement *policyv1alpha1.Placement
		kind      schema.GroupVersionKind
		replicas  int32
		current   string
		available []int32
		rule      Rule
		want      string
	}{
		{
			reason: "who is scaled to 0 goes nowhere else", kind: deployment,
			rule: RuleReplicaDivision, want: "fits, but 0 replicas are wanted",
		},
		{
			reason: "a weight for one of them is none for the other", kind: deployment, replicas: 2, placement: weighted(weight(1, "a")),
			rule: RuleReplicaDivision, want: "fits, but no weight names it",
		},
		{
			reason: "a small weight may be no replica", kind: deployment, replicas: 1, placement: weighted(weight(9, "a"), weight(1, "b")),
			rule: RuleReplicaDivision, want: "fits, but its share is less than a replica",
		},
		{
			reason: "a cluster without room gets nothing", kind: deployment, replicas: 1, placement: dynamic, available: []int32{3, 0},
			rule: RuleCapacity, want: "fits, but has no room for a replica",
		},
		{
			reason: "as few clusters as have the room", kind: deployment, replicas: 2, placement: aggregated, available: []int32{3, 2},
			rule: RuleReplicaDivision, want: "fits, but all replicas are in fewer clusters",
		},
		{
			reason: "a Job is not divided anew", kind: job, replicas: 2, placement: weighted(), current: "a",
			rule: RuleReplicaDivision, want: "fits, but the Job stays divided among the clusters that have it",
		},
	}
	for _, test := range tests {
		t.Run(test.reason, func(t *testing.T) {
			facts := Facts{
				Template: Template{Kind: test.kind}, Replicas: ptr.To(test.replicas), Placement: compiled(t, test.placement), Fleet: fleet(member("a", servesJobs), member("b", servesJobs)),
				Available: test.available,
			}
			if test.current != "" {
				facts.Current = goesTo(test.current)
				facts.Current[0].Replicas = test.replicas
			}
			brief := Decide(facts)
			facts.InFull = true
			full := Decide(facts)
			want := []Refusal{{Cluster: "b", Rule: test.rule, Message: test.want}}
			if test.replicas == 0 {
				want = append([]Refusal{{Cluster: "a", Rule: test.rule, Message: test.want}}, want...)
			}
			if diff := cmp.Diff(want, full.Refused); diff != "" {
				t.Errorf("refused in full (-want +got):\n%s", diff)
			}
			if full.Refused = nil; len(brief.Refused) > 0 {
				t.Errorf("refused without being asked for: %v", brief.Refused)
			}
			if diff := cmp.Diff(brief, full); diff != "" {
				t.Errorf("the rest of the decision differs (-brief +full):\n%s", diff)
			}
		})
	}
}
