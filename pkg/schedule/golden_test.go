package schedule

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/utils/ptr"

	clusterv1alpha1 "windlass.dev/windlass/api/cluster/v1alpha1"
	policyv1alpha1 "windlass.dev/windlass/api/policy/v1alpha1"
	workv1alpha1 "windlass.dev/windlass/api/work/v1alpha1"
)

// drawn makes a fleet and its room out of words like a:10@aws/eu/z1+z2[tier=gold], of which all but the name may be
// missing. Room ? is not known, and * has no bound.
func drawn(t testing.TB, words string) (*Fleet, []int32) {
	t.Helper()
	var members []*clusterv1alpha1.MemberCluster
	room := map[string]int32{}
	for _, word := range strings.Fields(words) {
		word, label, _ := strings.Cut(strings.TrimSuffix(word, "]"), "[")
		word, place, _ := strings.Cut(word, "@")
		name, free, _ := strings.Cut(word, ":")
		leaving := strings.HasPrefix(name, "-")
		m := member(strings.TrimPrefix(name, "-"))
		if leaving {
			deleting(m)
		}
		if key, value, ok := strings.Cut(label, "="); ok {
			labelled(key, value)(m)
		}
		parts := append(strings.Split(place, "/"), "", "", "")
		m.Spec.Provider, m.Spec.Region = parts[0], parts[1]
		if parts[2] != "" {
			m.Spec.Zones = strings.Split(parts[2], "+")
		}
		members = append(members, m)
		room[m.Name] = roomIn(t, free)
	}
	f := fleet(members...)
	available := make([]int32, f.Len())
	for i, c := range f.Clusters() {
		available[i] = room[c.Name()]
	}
	return f, available
}

func roomIn(t testing.TB, word string) int32 {
	t.Helper()
	switch word {
	case "?", "":
		return CapacityUnknown
	case "*":
		return math.MaxInt32
	}
	n, err := strconv.Atoi(word)
	if err != nil {
		t.Fatal(err)
	}
	return int32(n)
}

// parts reads what is written like a=3 b=2.
func parts(t testing.TB, words string) []workv1alpha1.TargetCluster {
	t.Helper()
	var list []workv1alpha1.TargetCluster
	for _, word := range strings.Fields(words) {
		name, replicas, _ := strings.Cut(word, "=")
		n, err := strconv.Atoi(replicas)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, workv1alpha1.TargetCluster{Name: name, Replicas: int32(n)})
	}
	return list
}

func written(targets []workv1alpha1.TargetCluster) string {
	var words []string
	for _, target := range targets {
		words = append(words, fmt.Sprintf("%s=%d", target.Name, target.Replicas))
	}
	return strings.Join(words, " ")
}

// What placements are made of.
type part func(*policyv1alpha1.Placement)

func placement(parts ...part) *policyv1alpha1.Placement {
	p := &policyv1alpha1.Placement{}
	for _, set := range parts {
		set(p)
	}
	return p
}

func dynamically(p *policyv1alpha1.Placement) {
	p.ReplicaScheduling = divided()
	p.ReplicaScheduling.WeightPreference = &policyv1alpha1.ClusterPreferences{DynamicWeight: policyv1alpha1.DynamicWeightByAvailableReplicas}
}

func aggregating(p *policyv1alpha1.Placement) {
	p.ReplicaScheduling = divided()
	p.ReplicaScheduling.ReplicaDivisionPreference = policyv1alpha1.ReplicaDivisionAggregated
}

func weighing(rules ...policyv1alpha1.StaticClusterWeight) part {
	return func(p *policyv1alpha1.Placement) { p.ReplicaScheduling = divided(rules...) }
}

func equally(p *policyv1alpha1.Placement) {
	p.ReplicaScheduling = divided()
	p.ReplicaScheduling.WeightPreference = &policyv1alpha1.ClusterPreferences{}
}

// over spreads by a field, or by a label that is none of the fields.
func over(by string, least, most int32) part {
	return func(p *policyv1alpha1.Placement) {
		constraint := policyv1alpha1.SpreadConstraint{SpreadByField: policyv1alpha1.SpreadFieldValue(by), MinGroups: least, MaxGroups: most}
		if !slices.Contains(topologyOrder, constraint.SpreadByField) {
			constraint.SpreadByField, constraint.SpreadByLabel = "", by
		}
		p.SpreadConstraints = append(p.SpreadConstraints, constraint)
	}
}

// group adds an affinity group; after each / of its names comes what overflows.
func group(name, clusters string) part {
	return func(p *policyv1alpha1.Placement) {
		tiers := strings.Split(clusters, "/")
		term := policyv1alpha1.ClusterAffinityTerm{AffinityName: name, ClusterAffinity: *named(strings.Fields(tiers[0])...)}
		for i, tier := range tiers[1:] {
			term.OverflowAffinities = append(term.OverflowAffinities, policyv1alpha1.OverflowAffinityTerm{
				AffinityName: fmt.Sprintf("%s-%d", name, i+1), ClusterAffinity: *named(strings.Fields(tier)...)})
		}
		p.ClusterAffinities = append(p.ClusterAffinities, term)
	}
}

// golden is a decision that was worked out by hand.
type golden struct {
	reason   string
	fleet    string
	place    *policyv1alpha1.Placement
	replicas int32 // -1: a kind without
	has      string
	last     string // the affinity group of has
	uid      types.UID
	fresh    bool
	empty    bool
	want     string
	group    string
	message  string // looked at where it is given
}

func (g golden) facts(t testing.TB) Facts {
	t.Helper()
	facts := Facts{
		Template: Template{Kind: deployment, UID: g.uid}, Replicas: ptr.To(g.replicas), Placement: compiled(t, g.place),
		Current: parts(t, g.has), Group: g.last, Fresh: g.fresh, KeepEmpty: g.empty,
	}
	if g.replicas < 0 {
		facts.Template.Kind, facts.Replicas = configMap, nil
	}
	facts.Fleet, facts.Available = drawn(t, g.fleet)
	return facts
}

func runGolden(t *testing.T, cases []golden) {
	t.Helper()
	for _, test := range cases {
		t.Run(test.reason, func(t *testing.T) {
			decision := Decide(test.facts(t))
			if got := written(decision.Clusters); got != test.want {
				t.Errorf("clusters %q, want %q (%s)", got, test.want, decision.Message)
			}
			if test.message != "" && decision.Message != test.message {
				t.Errorf("message %q\n   want %q", decision.Message, test.message)
			}
			if test.group != "" && decision.Group != test.group {
				t.Errorf("group %q, want %q", decision.Group, test.group)
			}
		})
	}
}

func TestReplicasGoWhereTheRoomIs(t *testing.T) {
	dynamic := placement(dynamically)
	runGolden(t, []golden{
		{reason: "all the room there is is filled", fleet: "a:6 b:4 c:2", place: dynamic, replicas: 12, want: "a=6 b=4 c=2"},
		{reason: "6 over 10:5 goes without a remainder", fleet: "a:10 b:5", place: dynamic, replicas: 6, want: "a=4 b=2"},
		{reason: "the remainder of equal room goes to the first names", fleet: "a:10 b:10 c:10", place: dynamic, replicas: 5, want: "a=2 b=2 c=1"},
		{reason: "or to the last, by the template's UID", fleet: "a:10 b:10 c:10", place: dynamic, replicas: 5, uid: "b", want: "a=1 b=2 c=2"},
		{reason: "7 over 1:100: the seventh quotient of 100 is 100/13, which is above 1", fleet: "a:1 b:100", place: dynamic, replicas: 7, want: "b=7"},
		{reason: "where there is no room goes nothing", fleet: "a:0 b:8", place: dynamic, replicas: 4, want: "b=4"},
		{reason: "unless empty workloads are kept", fleet: "a:0 b:8", place: dynamic, replicas: 4, empty: true, want: "a=0 b=4"},
		{reason: "a cluster that has not reported is left out", fleet: "a:? b:8", place: dynamic, replicas: 4, want: "b=4"},
		{reason: "room without bound counts as room for what is asked: 6 over 6:3", fleet: "a:* b:3", place: dynamic, replicas: 6, want: "a=4 b=2"},
		{reason: "without enough room nothing is placed", fleet: "a:4 b:3 c:0", place: dynamic, replicas: 10, want: "",
			message: "10 replicas wanted, and the 3 clusters that fit have room for 7: a has 4, b has 3"},
		{reason: "when no capacity is known, that is why", fleet: "a:? b:?", place: dynamic, replicas: 1, want: "",
			message: "0 of 2 clusters fit: 2 have not reported their capacity yet"},
		{reason: "a kind without replicas needs no room", fleet: "a:0 b:?", place: dynamic, replicas: -1, want: "a=0 b=0"},
	})
}

func TestWhatIsPlacedByRoomMovesAsLittleAsCanBe(t *testing.T) {
	dynamic := placement(dynamically)
	runGolden(t, []golden{
		{reason: "the same number stays, wherever there is room", fleet: "a:0 b:50", place: dynamic, replicas: 6, has: "a=5 b=1", want: "a=5 b=1"},
		{reason: "also when nothing is known any more", fleet: "a:? b:?", place: dynamic, replicas: 6, has: "a=5 b=1", want: "a=5 b=1"},
		{reason: "3 more go by the room that is left", fleet: "a:0 b:50", place: dynamic, replicas: 9, has: "a=5 b=1", want: "a=5 b=4"},
		{reason: "6 more over 2:4", fleet: "a:2 b:4", place: dynamic, replicas: 10, has: "a=2 b=2", want: "a=4 b=6"},
		{reason: "without room for more it keeps what it has", fleet: "a:3", place: dynamic, replicas: 10, has: "a=2", want: "a=2",
			message: "8 replicas more, which makes 10 wanted, and the cluster that fits has room for 3: a has 3"},
		{reason: "fewer are divided by what there is: 6 over 6:3", fleet: "a:0 b:9", place: dynamic, replicas: 6, has: "a=6 b=3", want: "a=4 b=2"},
		{reason: "5 over 4:4:2", fleet: "a:0 b:0 c:0", place: dynamic, replicas: 5, has: "a=4 b=4 c=2", want: "a=2 b=2 c=1"},
		{reason: "the 3 of a cluster that leaves are divided over 1:5; at 1/1 and 5/5 the one with fewer is first", fleet: "a:1 -b:9 c:5", place: dynamic,
			replicas: 6, has: "a=3 b=3", want: "a=4 c=2"},
		{reason: "a cluster that leaves takes its part with it even when there is no room for it elsewhere", fleet: "a:0 -b:9", place: dynamic, replicas: 6, has: "a=3 b=3", want: "a=3"},
		{reason: "afresh, 6 over 5:6 is 3:3, for 5/5 is above 6/7", fleet: "a:0 b:5", place: dynamic, replicas: 6, has: "a=5 b=1", fresh: true, want: "a=3 b=3"},
		{reason: "what was duplicated is scaled down to the number that is divided", fleet: "a:0 b:0", place: dynamic, replicas: 4, has: "a=4 b=4", want: "a=2 b=2"},
		{reason: "scaled to 0 it stays where it is", fleet: "a:0 b:9", place: dynamic, replicas: 0, has: "a=4", want: "a=0"},
		{reason: "and comes back by the room there is", fleet: "a:1 b:3", place: dynamic, replicas: 4, has: "a=0", want: "a=1 b=3"},
	})
}

func TestAggregatedReplicasGoToAsFewClustersAsHaveTheRoom(t *testing.T) {
	few := placement(aggregating)
	runGolden(t, []golden{
		{reason: "the cluster with the most room takes all", fleet: "a:4 b:6 c:2", place: few, replicas: 5, want: "b=5"},
		{reason: "8 need the two largest, and are divided over 4:6", fleet: "a:4 b:6 c:2", place: few, replicas: 8, want: "a=3 b=5"},
		{reason: "among equals the first name", fleet: "a:5 b:5", place: few, replicas: 3, want: "a=3"},
		{reason: "more go where it is, if there is room", fleet: "a:9 c:4", place: few, replicas: 5, has: "c=2", want: "c=5"},
		{reason: "if not, there and to the largest: 4 over 9:1 is 4:0", fleet: "a:9 b:9 c:1", place: few, replicas: 6, has: "c=2", want: "a=4 c=2"},
		{reason: "fewer stay in the largest parts", fleet: "a:0 b:0 c:0", place: few, replicas: 4, has: "a=5 b=3 c=1", want: "a=4"},
		{reason: "5 need two parts of 3", fleet: "a:0 b:0 c:0", place: few, replicas: 5, has: "a=3 b=3 c=2", want: "a=3 b=2"},
		{reason: "afresh, 12 in one cluster is enough for 6", fleet: "a:10 b:0 c:0", place: few, replicas: 6, has: "a=2 b=2 c=2", fresh: true, want: "a=6"},
		{reason: "afresh it does not move to a cluster that is no better", fleet: "a:6 b:0", place: few, replicas: 6, has: "b=6", fresh: true, want: "b=6"},
		{reason: "of those that have it and the same room, more go to the larger part", fleet: "a:5 b:5", place: few, replicas: 15, has: "a=2 b=10", want: "a=2 b=13"},
		{reason: "with equal parts, to the first name", fleet: "a:5 b:5", place: few, replicas: 7, has: "a=2 b=2", want: "a=5 b=2"},
		{reason: "scaled up from 0 it comes back where it is, if no other has more room", fleet: "a:9 b:9", place: few, replicas: 3, has: "b=0", want: "b=3"},
		{reason: "the same number stays, though one cluster would be enough", fleet: "a:10 b:0 c:0", place: few, replicas: 6, has: "a=2 b=2 c=2", want: "a=2 b=2 c=2"},
	})
}

func TestOverflowTakesWhatAGroupHasNoRoomFor(t *testing.T) {
	two := placement(dynamically, group("own", "a b/c"))
	runGolden(t, []golden{
		{reason: "as long as there is room in the group, nothing overflows", fleet: "a:4 b:2 c:50", place: two, replicas: 6, want: "a=4 b=2"},
		{reason: "2 of 8 do", fleet: "a:4 b:2 c:50", place: two, replicas: 8, want: "a=4 b=2 c=2"},
		{reason: "one tier after the other is filled", fleet: "a:4 b:3 c:9", place: placement(dynamically, group("own", "a/b/c")), replicas: 10, want: "a=4 b=3 c=3"},
		{reason: "a cluster of two tiers counts for the first", fleet: "a:4 b:4", place: placement(dynamically, group("own", "a/b a")), replicas: 5, want: "a=4 b=1"},
		{reason: "aggregated within each tier", fleet: "a:3 b:2 c:4 d:9", place: placement(aggregating, group("own", "a b/c d")), replicas: 6, want: "a=3 b=2 d=1"},
		{reason: "what overflowed goes first", fleet: "a:0 b:0 c:0", place: two, replicas: 6, has: "a=4 b=2 c=2", last: "own", want: "a=4 b=2"},
		{reason: "then 5 over 4:2", fleet: "a:0 b:0 c:0", place: two, replicas: 5, has: "a=4 b=2 c=2", last: "own", want: "a=3 b=2"},
		{reason: "more go to the group, if it has room again", fleet: "a:3 b:0 c:9", place: two, replicas: 10, has: "a=4 b=2 c=2", last: "own", want: "a=6 b=2 c=2"},
		{reason: "a kind without replicas does not overflow", fleet: "a:0 b:0 c:9", place: two, replicas: -1, want: "a=0 b=0"},
		{reason: "in the end there may be too little room", fleet: "a:1 b:2 c:2", place: two, replicas: 6, want: "",
			message: "6 replicas wanted, and the 3 clusters that fit have room for 5: b has 2, c has 2, a has 1"},
	})
}

func TestAffinityGroupsAreTriedInOrder(t *testing.T) {
	three := placement(group("near", "a"), group("far", "b"), group("last", "c"))
	dynamic := placement(dynamically, group("near", "a"), group("far", "b"))
	runGolden(t, []golden{
		{reason: "the first that fits is used", fleet: "a b c", place: three, replicas: 2, want: "a=2", group: "near",
			message: "2 replicas in 1 cluster, in the affinity group near"},
		{reason: "a group without a cluster that fits is passed over", fleet: "-a b c", place: three, replicas: 2, want: "b=2", group: "far"},
		{reason: "it is stayed in when an earlier one fits again", fleet: "a b c", place: three, replicas: 2, has: "b=2", last: "far", want: "b=2", group: "far"},
		{reason: "and gone on from", fleet: "a -b c", place: three, replicas: 2, has: "b=2", last: "far", want: "c=2", group: "last"},
		{reason: "afresh the first is tried again", fleet: "a b c", place: three, replicas: 2, has: "b=2", last: "far", fresh: true, want: "a=2", group: "near"},
		{reason: "a group that the policy has no more is no place to go on from", fleet: "a b c", place: three, replicas: 2, has: "b=2", last: "gone", want: "a=2", group: "near"},
		{reason: "after the last the earlier ones are better than nothing", fleet: "a b -c", place: three, replicas: 2, has: "c=2", last: "last", want: "a=2", group: "near"},
		{reason: "too little room passes a group over as well", fleet: "a:1 b:5", place: dynamic, replicas: 3, want: "b=3", group: "far"},
		{reason: "when no group fits, every one says why", fleet: "-a b c", place: placement(group("near", "a"), group("far", "x")), replicas: 2, has: "a=2", last: "near", want: "", group: "near",
			message: "no affinity group fits: near: 0 of 3 clusters fit: 2 are not named by clusterNames, 1 is being removed; " +
				"far: 0 of 3 clusters fit: 2 are not named by clusterNames, 1 is being removed; no cluster is called x"},
		{reason: "when one has clusters without room, it stays where it is", fleet: "-a b:1 c", place: dynamic, replicas: 3, has: "b=1", last: "far", want: "b=1", group: "far"},
	})
}

func TestSpreadByClusterBoundsTheirNumber(t *testing.T) {
	two := over("cluster", 1, 2)
	runGolden(t, []golden{
		{reason: "those with the most room are used", fleet: "a:1 b:5 c:9 d:3", place: placement(two), replicas: 2, want: "b=2 c=2"},
		{reason: "those that have it come first", fleet: "a:0 b:5 c:9 d:3", place: placement(two), replicas: 2, has: "a=2", want: "a=2 c=2"},
		{reason: "no largest number is no bound", fleet: "a:1 b:5 c:9", place: placement(over("cluster", 2, 0)), replicas: 2, want: "a=2 b=2 c=2"},
		{reason: "too few clusters", fleet: "a:1 b:5", place: placement(over("cluster", 3, 5)), replicas: 2, has: "a=2", want: "a=2",
			message: "spreadConstraints ask for at least 3 clusters, and there are 2 that fit"},
		{reason: "a kind without replicas goes to the first names", fleet: "a b c", place: placement(two), replicas: -1, want: "a=0 b=0"},
		{reason: "by room, then divided by it: 6 over 9:5", fleet: "a:1 b:5 c:9", place: placement(dynamically, two), replicas: 6, want: "b=2 c=4"},
		{reason: "one cluster that takes all", fleet: "a:1 b:5 c:9", place: placement(aggregating, over("cluster", 1, 1)), replicas: 6, want: "c=6"},
		{reason: "40 and 30 are too little for 80: the last gives way to the one with 60", fleet: "a:0 b:0 c:60", place: placement(dynamically, two), replicas: 80, has: "a=40 b=30",
			want: "a=40 c=40"},
		{reason: "no two have room for 100", fleet: "a:40 b:30 c:50", place: placement(dynamically, two), replicas: 100, want: "",
			message: "100 replicas wanted, and the 2 clusters that fit have room for 90: c has 50, a has 40"},
	})
}

func TestSpreadByRegionChoosesRegionsFirst(t *testing.T) {
	world := "a:10@/eu b:12@/eu c:10@/us d:3@/ap"
	regions := func(least, most int32) part { return over("region", least, most) }
	all := over("cluster", 1, 0)
	runGolden(t, []golden{
		{reason: "5 have room in 2 clusters of eu, 1 of us, none of ap", fleet: world, place: placement(regions(2, 2), all), replicas: 5, want: "a=5 b=5 c=5"},
		{reason: "2 clusters are the best of each region", fleet: world, place: placement(regions(2, 2), over("cluster", 2, 2)), replicas: 5, want: "b=5 c=5"},
		{reason: "divided, each of 2 regions should take 5: us and ap can, eu can take 4; then 10 over 9:6", fleet: "a:3@/eu b:1@/eu c:9@/us d:6@/ap",
			place: placement(dynamically, regions(2, 2), all), replicas: 10, want: "c=6 d=4"},
		{reason: "3 clusters: eu and us are worth 4000, ap and one of them 3000", fleet: "a:9@/eu b:9@/eu c:9@/us d:9@/us e:9@/ap",
			place: placement(regions(1, 2), over("cluster", 3, 0)), replicas: 5, want: "a=5 b=5 c=5 d=5"},
		{reason: "3 clusters: us and eu are worth most, but eu alone is enough, and comes first", fleet: "a:9@/eu b:9@/eu c:9@/eu d:9@/us",
			place: placement(regions(1, 2), over("cluster", 3, 0)), replicas: 5, want: "a=5 b=5 c=5"},
		{reason: "too few regions", fleet: world, place: placement(regions(4, 0), all), replicas: 5, want: "",
			message: "spreadConstraints ask for at least 4 different groups by region, and the clusters that fit are in 3: ap, eu, us"},
		{reason: "more regions than clusters", fleet: world, place: placement(regions(3, 0), over("cluster", 1, 2)), replicas: 5, want: "",
			message: "spreadConstraints ask for at least 3 different groups by region, and for at most 2 clusters"},
		{reason: "a cluster without region is not used", fleet: "a:10 b:10@/eu", place: placement(regions(1, 0), all), replicas: 5, want: "b=5"},
		{reason: "it stays in its region while others get better", fleet: "a:0@/eu b:90@/us c:90@/us", place: placement(regions(1, 1), all), replicas: 5, has: "a=5", want: "a=5"},
		{reason: "afresh it goes to the better one", fleet: "a:0@/eu b:90@/us c:90@/us", place: placement(regions(1, 1), all), replicas: 5, has: "a=5", fresh: true, want: "b=5 c=5"},
		{reason: "when its region has no room for more, it goes to one that has room for all", fleet: "a:0@/eu b:90@/us c:90@/us",
			place: placement(dynamically, regions(1, 1), all), replicas: 8, has: "a=5", want: "b=4 c=4"},
		{reason: "two that have it are too small for 8: the last gives way", fleet: "a:0@/eu b:0@/eu c:9@/eu",
			place: placement(dynamically, regions(1, 1), over("cluster", 1, 2)), replicas: 8, has: "a=1 b=1", want: "a=1 c=7"},
		{reason: "the only one of its region gives way to one of that region", fleet: "a:0@/eu b:0@/us c:9@/us d:9@/ap",
			place: placement(dynamically, regions(2, 2), over("cluster", 2, 2)), replicas: 8, has: "a=1 b=1", want: "a=1 c=7"},
	})
}

func TestATemplateStaysInAClusterThatLostALabelUntilThereIsAnotherPlace(t *testing.T) {
	racks := placement(over("rack", 1, 0))
	runGolden(t, []golden{
		{reason: "nowhere else", fleet: "a:9 b:9", place: racks, replicas: 3, has: "b=3", want: "b=3",
			message: "0 of 2 clusters fit: 2 have no label rack, by which spreadConstraints spread; it stays where it is"},
		{reason: "a kind without replicas, where the other is being removed", fleet: "-a[rack=1] b", place: racks, replicas: -1, has: "b=0", want: "b=0"},
		{reason: "in no cluster that is being removed", fleet: "-a b", place: racks, replicas: 3, has: "a=3 b=3", want: "b=3"},
		{reason: "another has the label", fleet: "a:9[rack=1] b:9", place: racks, replicas: 3, has: "b=3", want: "a=3"},
		{reason: "the next affinity group has a place", fleet: "a:9[rack=1] b:9", place: placement(over("rack", 1, 0), group("near", "b"), group("far", "a")), replicas: 3, has: "b=3", last: "near", want: "a=3", group: "far"},
		{reason: "no group has", fleet: "a:9 b:9", place: placement(over("rack", 1, 0), group("near", "a"), group("far", "b")), replicas: 3, has: "b=3", last: "far", want: "b=3", group: "far"},
		{reason: "of a region Karmada's rule holds", fleet: "a:9 b:9", place: placement(over("region", 1, 0), over("cluster", 1, 0)), replicas: 3, has: "b=3", want: ""},
		{reason: "a cluster that had the label and not the template gets nothing", fleet: "a:9 b:9", place: racks, replicas: 3, want: ""},
	})
	lost := golden{fleet: "a:9 b:9", place: racks, replicas: 3, has: "b=3"}
	if decision := Decide(lost.facts(t)); decision.Scheduled || decision.Reason != ReasonUnschedulable {
		t.Errorf("scheduled %t with the reason %s, want %s", decision.Scheduled, decision.Reason, ReasonUnschedulable)
	}
}

func TestAConstraintThatTheSharesDoNotMeetIsTold(t *testing.T) {
	const not = "; the clusters that got replicas don't meet spreadConstraints: "
	regions, both := over("region", 2, 0), over("cluster", 2, 2)
	runGolden(t, []golden{
		{reason: "the larger of two regions takes all", fleet: "a:9@/eu b:9@/us", place: placement(aggregating, regions, both), replicas: 3, want: "a=3",
			message: "3 replicas in 1 cluster" + not + "1 by cluster, of at least 2; 1 by region, of at least 2"},
		{reason: "by room the share of the smaller is no replica", fleet: "a:99@/eu b:9@/us", place: placement(dynamically, regions, over("cluster", 1, 0)), replicas: 3, want: "a=3",
			message: "3 replicas in 1 cluster" + not + "1 by region, of at least 2"},
		{reason: "so it is when it was scaled down", fleet: "a:0@/eu b:0@/us", place: placement(dynamically, regions, both), replicas: 3, has: "a=12 b=1", want: "a=3",
			message: "3 replicas in 1 cluster" + not + "1 by cluster, of at least 2; 1 by region, of at least 2"},
		{reason: "a cluster that is kept empty runs none of them", fleet: "a:9[rack=1] b:9[rack=2]", place: placement(aggregating, over("rack", 2, 0)), replicas: 3, empty: true, want: "a=3 b=0",
			message: "3 replicas divided among 2 clusters" + not + "1 by value of the label rack, of at least 2"},
		{reason: "afresh each region gets some, and all is well", fleet: "a:0@/eu b:9@/us", place: placement(dynamically, regions, both), replicas: 6, has: "a=6", fresh: true, want: "a=2 b=4",
			message: "6 replicas divided among 2 clusters"},
		{reason: "every cluster has all", fleet: "a:9@/eu b:9@/us", place: placement(regions, both), replicas: 3, want: "a=3 b=3", message: "3 replicas in each of 2 clusters"},
	})
	for reason, want := range map[string]golden{
		ReasonSpreadNotMet: {fleet: "a:9 b:9", place: placement(aggregating, over("cluster", 2, 0)), replicas: 3},
		ReasonSuccess:      {fleet: "a:9 b:9", place: placement(aggregating, over("cluster", 1, 0)), replicas: 3},
	} {
		if decision := Decide(want.facts(t)); decision.Reason != reason || !decision.Scheduled {
			t.Errorf("scheduled %t with the reason %s, want %s", decision.Scheduled, decision.Reason, reason)
		}
	}
}

func TestWhatIsTooFewSaysWhatIsWithTheOthers(t *testing.T) {
	runGolden(t, []golden{
		{reason: "one has no zone", fleet: "a:9@//z1 b:9@//z2 c:9", place: placement(over("zone", 3, 0), over("cluster", 3, 0)), replicas: 6, want: "",
			message: "spreadConstraints ask for at least 3 clusters, and there are 2 that fit; of the others 1 has no zone, by which spreadConstraints spread"},
		{reason: "those that were not meant are not told", fleet: "a:9 b:9 c:9 -d:9", place: placement(group("own", "a d"), over("cluster", 2, 0)), replicas: 6, want: "",
			message: "spreadConstraints ask for at least 2 clusters, and there is 1 that fits; of the others 1 is being removed"},
		{reason: "too little room, where one has not reported", fleet: "a:2 b:?", place: placement(dynamically), replicas: 6, want: "",
			message: "6 replicas wanted, and the cluster that fits has room for 2: a has 2; of the others 1 has not reported its capacity yet"},
	})
}

func TestSpreadByAnythingElseMeansTheSame(t *testing.T) {
	all := over("cluster", 1, 0)
	grid := "a:9@aws/eu/z1 b:8@gcp/eu/z2 c:7@aws/us/z3 d:6@gcp/us/z4"
	runGolden(t, []golden{
		{reason: "zones, one cluster of each of the two best", fleet: "a:9@//z1 b:8@//z1 c:7@//z2 d:1@//z3", place: placement(over("zone", 2, 2), over("cluster", 2, 2)), replicas: 5, want: "a=5 c=5"},
		{reason: "providers", fleet: "a:9@aws b:8@aws c:7@gcp", place: placement(over("provider", 1, 1), all), replicas: 5, want: "a=5 b=5"},
		{reason: "a label", fleet: "a:9[rack=1] b:8[rack=1] c:7[rack=2] d:9", place: placement(over("rack", 2, 2), over("cluster", 2, 2)), replicas: 5, want: "a=5 c=5"},
		{reason: "a label alone needs no bound of clusters", fleet: "a:9[rack=1] b:8[rack=1] c:7[rack=2]", place: placement(over("rack", 1, 1)), replicas: 5, want: "a=5 b=5"},
		{reason: "two regions and two providers with two clusters: a, then what is neither eu nor aws", fleet: grid,
			place: placement(over("region", 2, 2), over("provider", 2, 2), over("cluster", 2, 2)), replicas: 5, want: "a=5 d=5"},
		{reason: "two regions of one provider", fleet: grid, place: placement(over("region", 2, 2), over("provider", 1, 1), all), replicas: 5, want: "a=5 c=5"},
		{reason: "four zones of one region are not there", fleet: grid, place: placement(over("region", 1, 1), over("zone", 3, 0), all), replicas: 5, want: "",
			message: "no choice among the clusters that fit was found that meets all spreadConstraints: at least 1 by cluster, exactly 1 by region, at least 3 by zone"},
		{reason: "a cluster in two zones counts for both", fleet: "a:9@//z1+z2 b:8@//z3", place: placement(over("zone", 2, 2), all), replicas: 5, want: "a=5"},
		{reason: "and is one too many where one zone may be used", fleet: "a:9@//z1+z2 b:8@//z3", place: placement(over("zone", 1, 1), all), replicas: 5, want: "b=5"},
		{reason: "more clusters than the zones have open another zone", fleet: "a:9@//z1+z2 b:8@//z2 c:7@//z3 d:6@//z4", place: placement(over("zone", 1, 3), over("cluster", 3, 3)), replicas: 5,
			want: "a=5 b=5 c=5"},
		{reason: "so does too little room", fleet: "a:3@aws/eu b:3@gcp/us c:9@aws/ap", place: placement(dynamically, over("region", 1, 2), over("provider", 1, 2), all), replicas: 10,
			want: "a=3 c=7"},
		{reason: "static weights choose by themselves, as they do in Karmada", fleet: "a@/eu b@/us", place: placement(weighing(weighs(1, "a"), weighs(1, "b")), over("region", 1, 1), all), replicas: 4,
			want: "a=2 b=2", message: "4 replicas divided among 2 clusters; spreadConstraints choose no clusters where weights are static"},
		{reason: "so do weights that are left out", fleet: "a@/eu b@/us", place: placement(weighing(), over("region", 1, 1), all), replicas: 4,
			want: "a=2 b=2", message: "4 replicas divided among 2 clusters; spreadConstraints choose no clusters where weights are static"},
		{reason: "a weightPreference that is empty does not, and what was chosen by room gets equal parts", fleet: "a:9 b:1 c:5", place: placement(equally, over("cluster", 1, 2)), replicas: 6,
			want: "a=3 c=3", message: "6 replicas divided among 2 clusters"},
		{reason: "by region it is the same", fleet: "a:1@/eu b:9@/us", place: placement(equally, over("region", 1, 1), all), replicas: 4, want: "b=4"},
		{reason: "and the constraint may be one that can't be met", fleet: "a:9@/eu b:9@/eu", place: placement(equally, over("region", 2, 0), all), replicas: 4, has: "a=4", want: "a=4",
			message: "spreadConstraints ask for at least 2 different groups by region, and the clusters that fit are in 1: eu"},
		{reason: "equal parts need no room, as by any weights", fleet: "a:1 b:? c:0", place: placement(equally, over("cluster", 1, 2)), replicas: 6, want: "a=3 b=3"},
		{reason: "without constraints all get equal parts", fleet: "a:1 b:? c:0", place: placement(equally), replicas: 6, want: "a=2 b=2 c=2"},
	})
}

func TestWorkloadsOfAGroupAreKeptTogetherOrApart(t *testing.T) {
	at := func(group string, clusters ...string) Company { return Company{group, sets.New(clusters...)} }
	for _, test := range []struct {
		reason    string
		near, far Company
		has       string
		want      string
		message   string
	}{
		{reason: "without a wish all clusters are used", want: "a=2 b=2 c=2"},
		{reason: "it goes where the others of its group are", near: at("shop", "a", "c"), want: "a=2 c=2"},
		{reason: "the first of a group goes anywhere", near: at("shop"), want: "a=2 b=2 c=2"},
		{reason: "it goes where the others are not", far: at("db", "a", "c"), want: "b=2"},
		{reason: "both wishes hold", near: at("shop", "a", "b"), far: at("db", "a"), want: "b=2"},
		{reason: "what is there stays there", near: at("shop", "a"), far: at("db", "a", "b", "c"), has: "b=2", want: "b=2"},
		{reason: "when no cluster is left, every one says why", near: at("shop", "a"), far: at("db", "a"), want: "",
			message: "0 of 3 clusters fit: 2 have no workload of the affinity group shop, 1 has a workload of the anti-affinity group db"},
	} {
		t.Run(test.reason, func(t *testing.T) {
			facts := golden{fleet: "a b c", place: placement(), replicas: 2, has: test.has}.facts(t)
			facts.Near, facts.Far = test.near, test.far
			decision := Decide(facts)
			if got := written(decision.Clusters); got != test.want || test.message != "" && decision.Message != test.message {
				t.Errorf("clusters %q, want %q; %s", got, test.want, decision.Message)
			}
		})
	}
}

func TestEveryClusterThatIsNotUsedSaysWhy(t *testing.T) {
	dynamic := placement(dynamically, group("own", "a"), group("all", "a b c d"), over("cluster", 1, 1), over("region", 1, 1))
	for _, test := range []struct {
		reason string
		golden
		want []Refusal
	}{
		{"in a group that is passed over, too", golden{fleet: "a:1@/eu b:9@/eu c:?@/eu d:9", place: dynamic, replicas: 5}, []Refusal{
			{"own", "a", RuleCapacity, "fits, but there is room for 1 of 5 replicas to be placed"},
			{"own", "b", RuleClusterAffinity, "is not named by clusterNames"},
			{"own", "c", RuleClusterAffinity, "is not named by clusterNames"},
			{"own", "d", RuleClusterAffinity, "is not named by clusterNames"},
			{"all", "a", RuleSpreadConstraint, "fits, but spreadConstraints chose others"},
			{"all", "c", RuleCapacity, "has not reported its capacity yet"},
			{"all", "d", RuleSpreadConstraint, "has no region, by which spreadConstraints spread"},
		}},
		{"when constraints can't be met", golden{fleet: "a b", place: placement(over("cluster", 3, 0)), replicas: 5}, []Refusal{
			{"", "a", RuleSpreadConstraint, "fits, but spreadConstraints ask for at least 3 clusters, and there are 2 that fit"},
			{"", "b", RuleSpreadConstraint, "fits, but spreadConstraints ask for at least 3 clusters, and there are 2 that fit"},
		}},
	} {
		t.Run(test.reason, func(t *testing.T) {
			if diff := cmp.Diff(test.want, Decide(test.facts(t)).Refused); diff != "" {
				t.Errorf("refusals (-want +got):\n%s", diff)
			}
		})
	}
}

func TestADividedJobIsDividedByRoomOnlyAmongTheClustersThatHaveIt(t *testing.T) {
	for _, test := range []struct {
		reason string
		golden
	}{
		{"placed for the first time it goes where the room is", golden{fleet: "a:2 b:4", replicas: 6, want: "a=2 b=4"}},
		{"its parts stay, wherever there is room now", golden{fleet: "a:0 b:9", replicas: 6, has: "a=6", want: "a=6"}},
		{"more go to its parts only", golden{fleet: "a:9 b:90", replicas: 8, has: "a=6", want: "a=8"}},
		{"also afresh", golden{fleet: "a:9 b:90", replicas: 6, has: "a=6", fresh: true, want: "a=6"}},
		{"fewer may leave a part waiting", golden{fleet: "a:9 b:9", replicas: 1, has: "a=6 b=1", want: "a=1 b=0"}},
		{"without room in its parts it stays as it is", golden{fleet: "a:1 b:90", replicas: 8, has: "a=6", want: "a=6"}},
	} {
		t.Run(test.reason, func(t *testing.T) {
			test.place = placement(dynamically)
			facts := test.facts(t)
			facts.Template.Kind = schema.GroupVersionKind{Group: "batch", Version: "v1", Kind: "Job"}
			for _, c := range facts.Fleet.Clusters() {
				c.apis[facts.Template.Kind] = struct{}{}
			}
			if got := written(Decide(facts).Clusters); got != test.golden.want {
				t.Errorf("clusters %q, want %q", got, test.golden.want)
			}
		})
	}
}
