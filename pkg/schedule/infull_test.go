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
			rule: RuleReplicaDivision, want: "fits, but all replicas fit into a",
		},
		{
			reason: "a Job is not divided anew", kind: job, replicas: 2, placement: weighted(), current: "a",
			rule: RuleReplicaDivision, want: "fits, but the Job stays divided among the clusters that have it",
		},
		{
			reason: "unless none of them is left", kind: job, replicas: 1, placement: weighted(weight(9, "a"), weight(1, "b")), current: "gone",
			rule: RuleReplicaDivision, want: "fits, but its share is less than a replica",
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

func TestInFullItIsSaidWhyClustersThatFitByRoomGetNothing(t *testing.T) {
	dynamic, few := placement(dynamically), placement(aggregating)
	overflowing := placement(dynamically, group("own", "a b/c"))
	const (
		placed   = "fits, but all replicas are placed, and stay where they are until a WorkloadRebalancer places them anew"
		fewer    = "fits, but fewer replicas are wanted than are placed, so none comes to a cluster that has none"
		noRoom   = "fits, but has no room for a replica"
		small    = "fits, but its share is less than a replica"
		fitInto  = "fits, but all replicas fit into a"
		overflow = "fits, but nothing overflows to the group own-1: those before it have the room"
	)
	tests := []struct {
		golden
		refused map[string]string
	}{
		{golden{reason: "a cluster that comes back when all replicas are placed gets none", fleet: "a:9 b:9", place: dynamic, replicas: 3, has: "a=3"}, map[string]string{"b": placed}},
		{golden{reason: "a cluster without room would get none anew, either", fleet: "a:9 b:0", place: dynamic, replicas: 3, has: "a=3"}, map[string]string{"b": noRoom}},
		{golden{reason: "nor one whose share would be none", fleet: "a:9 b:1", place: dynamic, replicas: 3, has: "a=3"}, map[string]string{"b": small}},
		{golden{reason: "nor one that aggregation does not need", fleet: "a:9 b:9", place: few, replicas: 3, has: "a=3"}, map[string]string{"b": fitInto}},
		{golden{reason: "also where it is placed for the first time", fleet: "a:9 b:8", place: few, replicas: 3}, map[string]string{"b": fitInto}},
		{golden{reason: "and where some are added", fleet: "a:9 b:20", place: few, replicas: 4, has: "a=3"}, map[string]string{"b": fitInto}},
		{golden{reason: "one with more room would get all anew", fleet: "a:1 b:9", place: few, replicas: 3, has: "a=3"}, map[string]string{"b": placed}},
		{golden{reason: "of one whose room is not known it can't be told", fleet: "a:9 b:?", place: dynamic, replicas: 3, has: "a=3 b=0"}, map[string]string{"b": placed}},
		{golden{reason: "to a group that nothing overflows to nothing would overflow anew", fleet: "a:9 b:9 c:9", place: overflowing, replicas: 4, has: "a=2 b=2", last: "own"}, map[string]string{"c": overflow}},
		{golden{reason: "those before the group that it overflowed to would get all anew", fleet: "a:9 b:9 c:9", place: overflowing, replicas: 3, has: "c=3", last: "own"}, map[string]string{"a": placed, "b": placed}},
		{golden{reason: "fewer replicas are taken from those that there are", fleet: "a:9 b:9", place: dynamic, replicas: 2, has: "a=3"}, map[string]string{"b": fewer}},
		{golden{reason: "a small part of fewer may be none", fleet: "a:9 b:9", place: dynamic, replicas: 2, has: "a=9 b=1"}, map[string]string{"b": small}},
		{golden{reason: "one replica more goes to one cluster", fleet: "a:9 b:9", place: dynamic, replicas: 4, has: "a=3"}, map[string]string{"b": small}},
		{golden{reason: "and to none without room", fleet: "a:9 b:0", place: dynamic, replicas: 9, has: "a=3"}, map[string]string{"b": noRoom}},
		{golden{reason: "afresh all are divided", fleet: "a:9 b:0", place: dynamic, replicas: 3, has: "a=3", fresh: true}, map[string]string{"b": noRoom}},
		{golden{reason: "nothing overflows before there is need", fleet: "a:9 b:9 c:9", place: overflowing, replicas: 4}, map[string]string{"c": overflow}},
		{golden{reason: "nor does what is added", fleet: "a:9 b:9 c:9", place: overflowing, replicas: 4, has: "a=1 b=1", last: "own"}, map[string]string{"c": overflow}},
		{golden{reason: "where too little overflows, a share may be too small", fleet: "a:1 c:9 d:9", place: placement(dynamically, group("own", "a/c d")), replicas: 2}, map[string]string{"d": small}},
	}
	for _, test := range tests {
		t.Run(test.reason, func(t *testing.T) {
			facts := test.facts(t)
			facts.InFull = true
			refused := map[string]string{}
			for _, r := range Decide(facts).Refused {
				refused[r.Cluster] = r.Message
			}
			if diff := cmp.Diff(test.refused, refused); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestInFullItIsSaidWhichGroupsOverflowAndWhichAreNotTried(t *testing.T) {
	groups := placement(dynamically, group("own", "a/b c/d"), group("rented", "e"), group("last", "f"))
	tests := []struct {
		golden
		overflow map[string]string
		untried  []string
	}{
		{golden{reason: "what overflows names its group", fleet: "a:1 b:1 c:1 d:9 e:9 f:9", place: groups, replicas: 4,
			message: "4 replicas divided among 4 clusters, in the affinity group own with overflow to own-1, own-2"},
			map[string]string{"b": "own-1", "c": "own-1", "d": "own-2"}, nil},
		{golden{reason: "what does not, does not", fleet: "a:9 b:1 c:1 d:9 e:9 f:9", place: groups, replicas: 4,
			message: "4 replicas in 1 cluster, in the affinity group own"}, nil, nil},
		{golden{reason: "a template that stays in its group is not looked for in those before", fleet: "a:9 b:9 c:9 d:9 e:9 f:9", place: groups, replicas: 4, has: "f=4", last: "last"}, nil, []string{"own", "rented"}},
		{golden{reason: "those that were tried and don't fit are refused", fleet: "a:0 b:0 c:0 d:0 e:9 f:9", place: groups, replicas: 4}, nil, nil},
		{golden{reason: "after the last the first are tried", fleet: "a:9 b:9 c:9 d:9 e:0 -f:9", place: groups, replicas: 4, has: "f=4", last: "last"}, nil, nil},
	}
	for _, test := range tests {
		t.Run(test.reason, func(t *testing.T) {
			facts := test.facts(t)
			facts.InFull = true
			decision := Decide(facts)
			if diff := cmp.Diff(test.overflow, decision.Overflow); diff != "" {
				t.Errorf("overflow (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(test.untried, decision.Untried); diff != "" {
				t.Errorf("untried (-want +got):\n%s", diff)
			}
			if test.message != "" && decision.Message != test.message {
				t.Errorf("message %q\n   want %q", decision.Message, test.message)
			}
			facts.InFull = false
			if brief := Decide(facts); brief.Overflow != nil || brief.Untried != nil || brief.Message != decision.Message {
				t.Errorf("said without being asked for: %+v", brief)
			}
		})
	}
}

func TestAWorkloadOfNoReplicasThatIsPlacedAnewLosesThem(t *testing.T) {
	for _, fresh := range []bool{false, true} {
		runGolden(t, []golden{{reason: "it is kept, and asks for 0", fleet: "a:9 b:9", place: placement(dynamically), replicas: 0, has: "a=3", empty: true, fresh: fresh, want: "a=0 b=0"}})
	}
}

func TestWhySpreadConstraintsPassAClusterOverIsSaid(t *testing.T) {
	two, byRegion := placement(over("cluster", 1, 2)), placement(over("region", 1, 1), over("cluster", 1, 0))
	const chosen, stays = "fits, but spreadConstraints chose others", "fits, but those that have it meet spreadConstraints, and it stays in them"
	tests := []struct {
		golden
		refused map[string]string
	}{
		{golden{reason: "others are better", fleet: "a b c", place: two, replicas: 1}, map[string]string{"c": chosen}},
		{golden{reason: "one is added to where it is", fleet: "a b c", place: two, replicas: 1, has: "c=1"}, map[string]string{"b": chosen}},
		{golden{reason: "it stays where it is", fleet: "a b c", place: two, replicas: 1, has: "b=1 c=1"}, map[string]string{"a": stays}},
		{golden{reason: "also in its region", fleet: "a@/eu b@/us", place: byRegion, replicas: 1, has: "b=1"}, map[string]string{"a": stays}},
		{golden{reason: "afresh it does not stay", fleet: "a b c", place: two, replicas: 1, has: "b=1 c=1", fresh: true}, map[string]string{"a": chosen}},
	}
	for _, test := range tests {
		t.Run(test.reason, func(t *testing.T) {
			refused := map[string]string{}
			for _, r := range Decide(test.facts(t)).Refused {
				refused[r.Cluster] = r.Message
			}
			if diff := cmp.Diff(test.refused, refused); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
