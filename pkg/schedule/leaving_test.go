package schedule

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"

	policyv1alpha1 "windlass.dev/windlass/api/policy/v1alpha1"
	workv1alpha1 "windlass.dev/windlass/api/work/v1alpha1"
)

func TestATemplateThatHasToLeaveAClusterGoesWhereItFitsAndOtherwiseStays(t *testing.T) {
	drained := member("b", tainted("drain", "", corev1.TaintEffectNoExecute))
	cordoned := member("c", tainted("cordon", "", corev1.TaintEffectNoSchedule))
	byRoom := placement(aggregating)
	byRoom.ClusterTolerations = []corev1.Toleration{{Key: "old", Operator: corev1.TolerationOpExists}}
	shares := func(a, b int32) []workv1alpha1.TargetCluster {
		return []workv1alpha1.TargetCluster{{Name: "a", Replicas: a}, {Name: "b", Replicas: b}}
	}
	tests := []struct {
		reason string
		place  *policyv1alpha1.Placement
		facts  Facts
		want   Decision
	}{
		{
			reason: "the others get its share",
			place:  &policyv1alpha1.Placement{ReplicaScheduling: divided()},
			facts:  Facts{Fleet: fleet(member("a"), drained), Replicas: ptr.To[int32](4), Current: shares(2, 2), Leaving: []string{"b"}},
			want: Decision{Clusters: shares(4, 0)[:1], Scheduled: true, Reason: ReasonSuccess,
				Message: "4 replicas in 1 cluster; leaves b"},
		},
		{
			reason: "where everything goes everywhere, it goes to one less",
			facts:  Facts{Fleet: fleet(member("a"), drained), Replicas: ptr.To[int32](2), Current: shares(2, 2), Leaving: []string{"b"}},
			want: Decision{Clusters: shares(2, 0)[:1], Scheduled: true, Reason: ReasonSuccess,
				Message: "2 replicas in 1 cluster; leaves b"},
		},
		{
			reason: "nothing else fits: it goes on, follows its template, and says so",
			facts:  Facts{Fleet: fleet(drained, cordoned), Replicas: ptr.To[int32](3), Current: shares(0, 2)[1:], Leaving: []string{"b"}},
			want: Decision{Clusters: shares(0, 3)[1:], Scheduled: true, Reason: ReasonNowhereElse,
				Message: "must leave b because of the taint drain:NoExecute, but no other cluster fits: 1 has the untolerated taint cordon:NoSchedule; " +
					"its 3 replicas stay in b until one does"},
		},
		{
			reason: "there is no other cluster, and the taint is gone by now",
			facts:  Facts{Fleet: fleet(member("b")), Current: shares(0, 0)[1:], Leaving: []string{"b"}},
			want: Decision{Clusters: shares(0, 0)[1:], Scheduled: true, Reason: ReasonNowhereElse,
				Message: "must leave b because of a taint NoExecute, but no other cluster fits, for there is none; it stays in b until one does"},
		},
		{
			reason: "the others have too little room, and what is tolerated is no reason",
			place:  byRoom,
			facts: Facts{Fleet: fleet(member("a"), member("b", tainted("old", "", corev1.TaintEffectNoExecute), tainted("drain", "now", corev1.TaintEffectNoExecute), tainted("fire", "", corev1.TaintEffectNoExecute))),
				Replicas: ptr.To[int32](4), Current: shares(2, 2), Leaving: []string{"b"}, Available: []int32{1, 9}},
			want: Decision{Clusters: shares(2, 2), Scheduled: true, Reason: ReasonNowhereElse,
				Message: "must leave b because of the taints drain=now:NoExecute, fire:NoExecute, but can't be placed elsewhere: " +
					"2 replicas more, which makes 4 wanted, and the cluster that fits has room for 1: a has 1; its 4 replicas stay divided among a, b until that changes"},
		},
		{
			reason: "of several groups each says why it has none",
			place: &policyv1alpha1.Placement{ClusterAffinities: []policyv1alpha1.ClusterAffinityTerm{
				{AffinityName: "first", ClusterAffinity: *named("b")}, {AffinityName: "second", ClusterAffinity: *named("c")}}},
			facts: Facts{Fleet: fleet(drained, cordoned), Replicas: ptr.To[int32](1), Current: shares(0, 1)[1:], Leaving: []string{"b"}, Group: "first"},
			want: Decision{Clusters: shares(0, 1)[1:], Group: "first", Scheduled: true, Reason: ReasonNowhereElse,
				Message: "must leave b because of the taint drain:NoExecute, but no affinity group fits: first: no other cluster fits: 1 is not named by clusterNames; " +
					"second: no other cluster fits: 1 has the untolerated taint cordon:NoSchedule; its 1 replica stays in b until one does"},
		},
		{
			reason: "it was not there, and can't come",
			facts:  Facts{Fleet: fleet(drained), Replicas: ptr.To[int32](3), Leaving: []string{"b"}},
			want:   Decision{Reason: ReasonNoClusterFit, Message: "0 of 1 cluster fits: 1 has the untolerated taint drain:NoExecute"},
		},
		{
			reason: "what tolerates a taint for a while does not come",
			place: &policyv1alpha1.Placement{ClusterTolerations: []corev1.Toleration{
				{Key: "drain", Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoExecute, TolerationSeconds: ptr.To[int64](300)}}},
			facts: Facts{Fleet: fleet(drained), Replicas: ptr.To[int32](3)},
			want:  Decision{Reason: ReasonNoClusterFit, Message: "0 of 1 cluster fits: 1 has the untolerated taint drain:NoExecute"},
		},
	}
	for _, test := range tests {
		t.Run(test.reason, func(t *testing.T) {
			test.facts.Template, test.facts.Placement = Template{Kind: deployment}, compiled(t, test.place)
			got := Decide(test.facts)
			if diff := cmp.Diff(test.want, got, cmpopts.IgnoreFields(Decision{}, "Refused"), cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("decision (-want +got):\n%s", diff)
			}
		})
	}
}

func TestATemplateReturnsToTheGroupOfTheClusterThatItNeedNotLeave(t *testing.T) {
	term := func(name string, clusters ...string) policyv1alpha1.ClusterAffinityTerm {
		return policyv1alpha1.ClusterAffinityTerm{AffinityName: name, ClusterAffinity: policyv1alpha1.ClusterAffinity{ClusterNames: clusters}}
	}
	groups := &policyv1alpha1.Placement{ClusterAffinities: []policyv1alpha1.ClusterAffinityTerm{term("first", "a"), term("second", "b"), term("third", "b", "c")}}
	full := member("a", tainted("full", "", corev1.TaintEffectNoSchedule))
	tests := []struct {
		reason  string
		place   *policyv1alpha1.Placement
		facts   Facts
		group   string
		cluster string
	}{
		{"without a way back it stays in its group", groups, Facts{Current: at("b"), Group: "second"}, "second", "b"},
		{"it was in a cluster of an earlier one", groups, Facts{Current: at("a", "b"), Group: "second", Returning: []string{"a"}}, "first", "a"},
		{"though that takes no new ones", groups, Facts{Fleet: fleet(full, member("b"), member("c")), Current: at("a", "b"), Group: "second", Returning: []string{"a"}}, "first", "a"},
		{"it was in a cluster of its present one", groups, Facts{Current: at("b", "c"), Group: "third", Returning: []string{"b"}}, "third", "c"},
		{"no group has that cluster any more", groups, Facts{Current: at("b", "d"), Group: "second", Returning: []string{"d"}}, "second", "b"},
	}
	for _, test := range tests {
		t.Run(test.reason, func(t *testing.T) {
			if test.facts.Fleet == nil {
				test.facts.Fleet = fleet(member("a"), member("b"), member("c"), member("d"))
			}
			test.facts.Template, test.facts.Placement, test.facts.Replicas = Template{Kind: deployment}, compiled(t, test.place), ptr.To[int32](2)
			got := Decide(test.facts)
			if got.Group != test.group || len(got.Clusters) == 0 || got.Clusters[len(got.Clusters)-1].Name != test.cluster {
				t.Errorf("it goes to %v of group %s, want %s last, of %s", got.Clusters, got.Group, test.cluster, test.group)
			}
		})
	}
}

// at are clusters with two replicas each.
func at(names ...string) []workv1alpha1.TargetCluster {
	var list []workv1alpha1.TargetCluster
	for _, name := range names {
		list = append(list, workv1alpha1.TargetCluster{Name: name, Replicas: 2})
	}
	return list
}

func TestAClusterThatCantBeLeftIsNotRefusedAsWell(t *testing.T) {
	drained := member("b", tainted("drain", "", corev1.TaintEffectNoExecute))
	cordoned := member("c", tainted("cordon", "", corev1.TaintEffectNoSchedule))
	got := Decide(Facts{
		Template: Template{Kind: deployment}, Placement: compiled(t, nil), Fleet: fleet(drained, cordoned), Replicas: ptr.To[int32](3),
		Current: []workv1alpha1.TargetCluster{{Name: "b", Replicas: 3}}, Leaving: []string{"b"}, InFull: true,
	})
	want := []Refusal{{Cluster: "c", Rule: RuleTaintToleration, Message: "has the untolerated taint cordon:NoSchedule"}}
	if diff := cmp.Diff(want, got.Refused); diff != "" || got.Reason != ReasonNowhereElse {
		t.Errorf("the reason is %s (-want +got):\n%s", got.Reason, diff)
	}
}
