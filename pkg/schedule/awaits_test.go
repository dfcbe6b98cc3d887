package schedule

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"k8s.io/utils/ptr"

	clusterv1alpha1 "windlass.dev/windlass/api/cluster/v1alpha1"
	policyv1alpha1 "windlass.dev/windlass/api/policy/v1alpha1"
	workv1alpha1 "windlass.dev/windlass/api/work/v1alpha1"
)

// randomAwaiting is a decision by the room of clusters, of which some are awaited and have none.
func randomAwaiting(t *testing.T, random *rand.Rand) Facts {
	var members []*clusterv1alpha1.MemberCluster
	var names []string
	for i := range 1 + random.IntN(6) {
		names = append(names, string(rune('a'+i)))
		zones := []string{fmt.Sprintf("z%d", random.IntN(3)), fmt.Sprintf("z%d", random.IntN(3))}
		members = append(members, member(names[i], servesJobs, located("p", fmt.Sprintf("r%d", random.IntN(3)), zones[:1+random.IntN(2)]...)))
	}
	strategy := random.IntN(3)
	parts := []part{[]part{dynamically, aggregating, func(*policyv1alpha1.Placement) {}}[strategy]}
	spreads := random.IntN(4)
	for i, by := range []string{"cluster", "region", "zone"} {
		if i == 0 && spreads > 0 || spreads > 1 && random.IntN(2) == 0 {
			least := int32(1 + random.IntN(2))
			parts = append(parts, over(by, least, []int32{0, least, least + 1}[random.IntN(3)]))
		}
	}
	for i := range []int{0, 0, 1, 2}[random.IntN(4)] {
		tiers := make([]string, 1)
		if strategy < 2 { // else nothing can overflow
			tiers = make([]string, 1+random.IntN(2))
		}
		for at := range tiers {
			tiers[at] = "nobody"
		}
		for _, name := range names {
			if in := random.IntN(3); in < len(tiers) {
				tiers[in] += " " + name
			}
		}
		parts = append(parts, group(fmt.Sprint(i), strings.Join(tiers, "/")))
	}
	facts := Facts{
		Template: Template{Kind: deployment}, Replicas: ptr.To(int32(random.IntN(12))), Placement: compiled(t, placement(parts...)),
		Fleet: fleet(members...), Fresh: random.IntN(4) == 0, KeepEmpty: random.IntN(4) == 0, Group: []string{"", "0", "1"}[random.IntN(3)],
		Available: make([]int32, len(names)), Awaited: make([]bool, len(names)),
	}
	if random.IntN(4) == 0 {
		facts.Template.Kind = jobs.WithVersion("v1")
	}
	for i, name := range names {
		if random.IntN(3) == 0 {
			facts.Current = append(facts.Current, workv1alpha1.TargetCluster{Name: name, Replicas: int32(random.IntN(6))})
			if random.IntN(5) == 0 {
				facts.Leaving = append(facts.Leaving, name)
			}
		}
		if facts.Awaited[i] = random.IntN(2) == 0; !facts.Awaited[i] {
			facts.Available[i] = []int32{CapacityUnknown, 0, 2, 5, 20, math.MaxInt32}[random.IntN(6)]
		}
	}
	return facts
}

// withRooms are facts with other rooms in the awaited clusters.
func withRooms(random *rand.Rand, facts Facts) Facts {
	facts.Available = slices.Clone(facts.Available)
	for i, awaited := range facts.Awaited {
		if awaited {
			facts.Available[i] = []int32{0, 1, 3, 7, 30, math.MaxInt32}[random.IntN(6)]
		}
	}
	return facts
}

func sameDecision(a, b Decision) bool {
	return a.Scheduled == b.Scheduled && a.Group == b.Group && slices.EqualFunc(a.Clusters, b.Clusters, samePart)
}

func TestADecisionThatAwaitsNoClusterIsTheSameWhateverRoomTheyHave(t *testing.T) {
	random := rand.New(rand.NewPCG(61, 62))
	waits, without, differ := 0, 0, 0
	for round := range 20000 {
		facts := randomAwaiting(t, random)
		decision, differs := Decide(facts), false
		for range 8 {
			other := withRooms(random, facts)
			got := Decide(other)
			if same := sameDecision(decision, got); !same && len(decision.Awaits) == 0 {
				t.Fatalf("round %d: %s with room %v, %s with %v: has %s of %d, leaves %v, fresh %t, awaited %v, by %+v", round, written(decision.Clusters), facts.Available,
					written(got.Clusters), other.Available, written(facts.Current), *facts.Replicas, facts.Leaving, facts.Fresh, facts.Awaited, facts.Placement)
			} else if !same {
				differs = true
			}
		}
		switch {
		case differs:
			differ++
		case len(decision.Awaits) > 0:
			waits++
		case slices.Contains(facts.Awaited, true):
			without++
		}
	}
	t.Logf("%d of 20000 wait with reason, %d without one that was found, %d don't", differ, waits, without)
	if differ < 4000 || without < 4000 || waits > differ {
		t.Errorf("%d of 20000 wait with reason, %d without one that was found, %d don't", differ, waits, without)
	}
}

func TestWhatHasAllThatItAsksForAwaitsNoCluster(t *testing.T) {
	random := rand.New(rand.NewPCG(71, 72))
	steady := 0
	for round := range 20000 {
		facts := withRooms(random, randomAwaiting(t, random))
		facts.Leaving, facts.Fresh = nil, false
		if facts.Template.Kind.Kind == jobs.Kind {
			facts.KeepEmpty = false // which is for other kinds: a Job comes to no cluster besides those that have it
		}
		first := Decide(facts)
		overflows := slices.ContainsFunc(facts.Placement.groups, func(g affinityGroup) bool { return len(g.tiers) > 1 })
		if !first.Scheduled || first.Reason == ReasonSpreadNotMet || overflows {
			continue
		}
		steady++
		facts.Current, facts.Group = first.Clusters, first.Group
		if second := Decide(facts); !sameDecision(first, second) || len(second.Awaits) > 0 {
			t.Fatalf("round %d: stays in %s of %d, goes to %s, and awaits %v of %v, by %+v", round, written(first.Clusters), *facts.Replicas, written(second.Clusters),
				second.Awaits, facts.Awaited, facts.Placement)
		}
	}
	if steady < 5000 {
		t.Errorf("only %d rounds had a place", steady)
	}
}
