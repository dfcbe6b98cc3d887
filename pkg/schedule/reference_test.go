package schedule

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/utils/ptr"

	clusterv1alpha1 "windlass.dev/windlass/api/cluster/v1alpha1"
	policyv1alpha1 "windlass.dev/windlass/api/policy/v1alpha1"
	workv1alpha1 "windlass.dev/windlass/api/work/v1alpha1"
)

// referenceElect is the rule as it is written down: it lists all sets that the walk finds.
func referenceElect(groups []electable, within bounds, clusters int) []int {
	type set struct {
		groups   []electable
		weight   int64
		clusters int
	}
	walk := slices.Clone(groups)
	slices.SortFunc(walk, func(a, b electable) int {
		return cmp.Or(cmp.Compare(a.clusters, b.clusters), cmp.Compare(b.weight, a.weight), cmp.Compare(a.id, b.id))
	})
	var found []set
	var visit func(now set, from int)
	visit = func(now set, from int) {
		if len(now.groups) >= within.least && now.clusters >= clusters {
			now.groups = slices.Clone(now.groups)
			slices.SortFunc(now.groups, func(a, b electable) int { return cmp.Or(cmp.Compare(b.weight, a.weight), cmp.Compare(a.id, b.id)) })
			found = append(found, now)
			return
		}
		if len(now.groups) >= within.most {
			return
		}
		for i := from; i < len(walk); i++ {
			visit(set{append(slices.Clone(now.groups), walk[i]), now.weight + walk[i].weight, now.clusters + walk[i].clusters}, i+1)
		}
	}
	visit(set{}, 0)
	if len(found) == 0 {
		return nil
	}
	slices.SortStableFunc(found, func(a, b set) int {
		return cmp.Or(cmp.Compare(b.weight, a.weight), cmp.Compare(b.clusters, a.clusters))
	})
	best := found[0].groups
	for _, other := range found[1:] {
		if len(other.groups) < len(best) && slices.Equal(other.groups, best[:len(other.groups)]) {
			best = other.groups
		}
	}
	var ids []int
	for _, g := range best {
		ids = append(ids, g.id)
	}
	return ids
}

func TestElectingGroupsAgreesWithListingAllSets(t *testing.T) {
	random := rand.New(rand.NewPCG(11, 12))
	none := 0
	for round := range 20_000 {
		groups := make([]electable, 1+random.IntN(9))
		for i := range groups {
			groups[i] = electable{id: i, clusters: 1 + random.IntN(5), weight: random.Int64N(4) * int64(1+random.IntN(3))}
		}
		within := bounds{1 + random.IntN(4), math.MaxInt}
		if random.IntN(3) > 0 {
			within.most = within.least + random.IntN(4)
		}
		clusters := random.IntN(14)
		want, got := referenceElect(groups, within, clusters), elect(groups, within, clusters)
		if !slices.Equal(want, got) {
			t.Fatalf("round %d: of %v, %s and %d clusters: got %v, want %v", round, groups, within, clusters, got, want)
		}
		if want == nil {
			none++
		}
	}
	if none == 0 || none > 10_000 {
		t.Errorf("in %d of 20,000 rounds there was nothing to elect: the test does not see both", none)
	}
}

func TestElectingManyGroupsEnds(t *testing.T) {
	groups := make([]electable, 60)
	for i := range groups {
		groups[i] = electable{id: i, clusters: 1 + i%20, weight: int64(1000 + 37*i%101)}
	}
	// There are more than 2^59 sets.
	got := elect(groups, bounds{1, math.MaxInt}, 300)
	clusters := 0
	for _, id := range got {
		clusters += groups[id].clusters
	}
	if clusters < 300 {
		t.Errorf("elected %v with %d clusters", got, clusters)
	}
}

func TestElectingAmongHundredsOfGroupsIsBounded(t *testing.T) {
	groups := make([]electable, 1000)
	for i := range groups {
		groups[i] = electable{id: i, clusters: 1 + i%2, weight: int64(i % 7)}
	}
	for _, test := range []struct {
		reason   string
		within   bounds
		clusters int
		want     int // groups; 0: none can be elected
	}{
		{"the heaviest are enough: 142 of weight 6 with 213, 143 of weight 5 with 215, and 36 of weight 4 with 72", bounds{1, math.MaxInt}, 500, 321},
		{"the largest are, the heaviest would be too many", bounds{1, 300}, 500, 250},
		{"even the largest are too few", bounds{1, 300}, 700, 0},
	} {
		t.Run(test.reason, func(t *testing.T) {
			elected := elect(groups, test.within, test.clusters)
			clusters := 0
			for _, id := range elected {
				clusters += groups[id].clusters
			}
			if len(elected) != test.want || test.want > 0 && clusters < test.clusters {
				t.Errorf("%d groups with %d clusters", len(elected), clusters)
			}
		})
	}
}

// referenceDivision is the rule of division by room as it is written down, with one replica given out after the other.
// It returns nil when there is too little room.
func referenceDivision(f Facts, names []string, room, has map[string]int64, tier map[string]int, aggregates bool) map[string]int64 {
	wanted := int64(*f.Replicas)
	var assigned int64
	for _, name := range names {
		assigned += has[name]
	}
	result := map[string]int64{}
	capacity := map[string]int64{}
	prior := map[string]bool{}
	switch {
	case f.Fresh:
		for _, name := range names {
			capacity[name] = room[name] + has[name]
		}
	case assigned == wanted:
		for _, name := range names {
			result[name] = has[name]
		}
		return result
	case assigned > wanted:
		for _, name := range names {
			capacity[name] = has[name]
		}
	default:
		wanted -= assigned
		for _, name := range names {
			capacity[name] = room[name]
			prior[name] = has[name] > 0
			result[name] = has[name]
		}
	}
	for level := range 4 {
		var members []string
		var sum int64
		for _, name := range names {
			if tier[name] == level {
				members = append(members, name)
				sum += capacity[name]
			}
		}
		now := min(sum, wanted)
		if aggregates {
			// Karmada sorts its candidates, which are in the order in which clusters are chosen: those that have the template first, then
			// those with more, then by name. Fewer replicas are taken from the clusters in the order of their names.
			if f.Fresh || assigned < int64(*f.Replicas) {
				slices.SortStableFunc(members, func(a, b string) int { return cmp.Compare(room[b]+has[b], room[a]+has[a]) })
				isThere := func(name string) bool {
					return slices.ContainsFunc(f.Current, func(target workv1alpha1.TargetCluster) bool { return target.Name == name })
				}
				slices.SortStableFunc(members, func(a, b string) int {
					return cmp.Compare(map[bool]int{true: 0, false: 1}[isThere(a)], map[bool]int{true: 0, false: 1}[isThere(b)])
				})
			}
			slices.SortStableFunc(members, func(a, b string) int {
				if prior[a] != prior[b] {
					return map[bool]int{true: -1, false: 1}[prior[a]]
				}
				return cmp.Compare(capacity[b], capacity[a])
			})
			var enough int64
			for i, name := range members {
				if enough += capacity[name]; enough >= now {
					members = members[:i+1]
					break
				}
			}
			slices.Sort(members)
		}
		weights := make([]int64, len(members))
		for i, name := range members {
			weights[i] = capacity[name]
		}
		for i, share := range referenceApportion(int32(now), weights, descending(f.Template.UID)) {
			result[members[i]] += int64(share)
		}
		wanted -= now
	}
	if wanted > 0 {
		return nil
	}
	return result
}

func TestDivisionByRoomAgreesWithTheRule(t *testing.T) {
	random := rand.New(rand.NewPCG(21, 22))
	short := 0
	for round := range 6000 {
		var words, names []string
		room, has, tier := map[string]int64{}, map[string]int64{}, map[string]int{}
		tiers := make([][]string, 1+random.IntN(3))
		for i := range 1 + random.IntN(7) {
			name := string(rune('a' + i))
			names = append(names, name)
			room[name] = int64(random.IntN(9))
			words = append(words, fmt.Sprintf("%s:%d", name, room[name]))
			tier[name] = random.IntN(len(tiers))
			tiers[tier[name]] = append(tiers[tier[name]], name)
		}
		var current []workv1alpha1.TargetCluster
		for _, name := range names {
			if random.IntN(2) == 0 {
				has[name] = int64(random.IntN(6))
				current = append(current, workv1alpha1.TargetCluster{Name: name, Replicas: int32(has[name])})
			}
		}
		aggregates := random.IntN(2) == 0
		strategy := dynamically
		if aggregates {
			strategy = aggregating
		}
		var groups []string
		for _, members := range tiers {
			groups = append(groups, strings.Join(append(members, "nobody"), " ")) // an affinity without names would be all clusters
		}
		facts := Facts{Template: Template{Kind: deployment, UID: types.UID([]string{"", "b"}[random.IntN(2)])}, Replicas: ptr.To(int32(1 + random.IntN(30))),
			Placement: compiled(t, placement(strategy, group("g", strings.Join(groups, "/")))), Current: current, Fresh: random.IntN(3) == 0}
		facts.Fleet, facts.Available = drawn(t, strings.Join(words, " "))

		want := referenceDivision(facts, names, room, has, tier, aggregates)
		decision := Decide(facts)
		if want == nil {
			short++
			if decision.Scheduled || !slices.EqualFunc(decision.Clusters, current, samePart) {
				t.Fatalf("round %d: placed %v without room, has %v", round, decision.Clusters, current)
			}
			continue
		}
		got := map[string]int64{}
		var sum int64
		for _, target := range decision.Clusters {
			got[target.Name] = int64(target.Replicas)
			sum += int64(target.Replicas)
			if more := int64(target.Replicas) - has[target.Name]; more > room[target.Name] {
				t.Fatalf("round %d: %s gets %d more and has room for %d", round, target.Name, more, room[target.Name])
			}
		}
		for name := range want {
			if want[name] == 0 {
				delete(want, name)
			}
		}
		if diff := gocmp.Diff(want, got); diff != "" || sum != int64(*facts.Replicas) {
			t.Fatalf("round %d: %s, has %v, fresh %t, wants %d (-want +got):\n%s%s", round, words, has, facts.Fresh, *facts.Replicas, diff, decision.Message)
		}
		facts.Current, facts.Fresh = decision.Clusters, false
		if again := Decide(facts); !slices.EqualFunc(again.Clusters, decision.Clusters, samePart) {
			t.Fatalf("round %d: what was placed moves from %v to %v", round, decision.Clusters, again.Clusters)
		}
	}
	if short < 300 {
		t.Errorf("only %d rounds had too little room", short)
	}
}

// spreadWorld is a random fleet with its constraints.
type spreadWorld struct {
	facts       Facts
	constraints []policyv1alpha1.SpreadConstraint
	byRoom      bool
}

func randomSpread(t *testing.T, random *rand.Rand, zones int) spreadWorld {
	var words []string
	for i := range 1 + random.IntN(8) {
		var in []string
		for range 1 + random.IntN(zones) {
			in = append(in, fmt.Sprintf("z%d", random.IntN(4)))
		}
		words = append(words, fmt.Sprintf("%c:%d@p%d/r%d/%s[rack=%d]", 'a'+i, random.IntN(9), random.IntN(2), random.IntN(3), strings.Join(in, "+"), random.IntN(3)))
	}
	parts := []part{}
	bound := func() (int32, int32) {
		least := int32(1 + random.IntN(3))
		return least, []int32{0, least, least + 1}[random.IntN(3)]
	}
	least, most := bound()
	parts = append(parts, over("cluster", least, most))
	for _, by := range []string{"region", "zone", "provider", "rack"} {
		if random.IntN(2) == 0 {
			least, most := bound()
			parts = append(parts, over(by, least, most))
		}
	}
	w := spreadWorld{byRoom: random.IntN(2) == 0}
	if w.byRoom {
		parts = append(parts, dynamically)
	}
	place := placement(parts...)
	w.constraints = place.SpreadConstraints
	w.facts = Facts{Template: Template{Kind: deployment}, Replicas: ptr.To(int32(1 + random.IntN(20))), Placement: compiled(t, place)}
	w.facts.Fleet, w.facts.Available = drawn(t, strings.Join(words, " "))
	return w
}

// meets says whether a set of clusters, by position, meets the constraints, as they are written in the API.
func (w *spreadWorld) meets(set []int) bool {
	var room int64
	for _, at := range set {
		room += int64(w.facts.Available[at])
	}
	if w.byRoom && room < int64(*w.facts.Replicas) {
		return false
	}
	for _, c := range w.constraints {
		groups := sets.New[string]()
		for _, at := range set {
			cluster := w.facts.Fleet.Clusters()[at]
			switch c.SpreadByField {
			case policyv1alpha1.SpreadByFieldCluster:
				groups.Insert(cluster.name)
			case policyv1alpha1.SpreadByFieldRegion:
				groups.Insert(cluster.region)
			case policyv1alpha1.SpreadByFieldProvider:
				groups.Insert(cluster.provider)
			case policyv1alpha1.SpreadByFieldZone:
				groups.Insert(cluster.zones...)
			default:
				groups.Insert(cluster.labels[c.SpreadByLabel])
			}
		}
		if groups.Len() < int(c.MinGroups) || c.MaxGroups > 0 && groups.Len() > int(c.MaxGroups) {
			return false
		}
	}
	return true
}

func (w *spreadWorld) possible() bool {
	for bits := 1; bits < 1<<w.facts.Fleet.Len(); bits++ {
		var set []int
		for at := range w.facts.Fleet.Len() {
			if bits&(1<<at) != 0 {
				set = append(set, at)
			}
		}
		if w.meets(set) {
			return true
		}
	}
	return false
}

func TestWhatIsChosenMeetsAllConstraintsAndIsFoundWhereItIs(t *testing.T) {
	random := rand.New(rand.NewPCG(31, 32))
	impossible := 0
	for round := range 6000 {
		w := randomSpread(t, random, 1+round%3)
		possible := w.possible()
		if !possible {
			impossible++
		}
		decision := Decide(w.facts)
		if decision.Scheduled != possible {
			t.Fatalf("round %d: placed %t (%s), possible %t, by %+v", round, decision.Scheduled, decision.Message, possible, w.constraints)
		}
		if !possible {
			continue
		}
		if chosen := chosenFor(&w.facts); !w.meets(chosen) {
			t.Fatalf("round %d: chose %v, which does not meet %+v", round, chosen, w.constraints)
		}
	}
	if impossible < 1000 || impossible > 5000 {
		t.Errorf("%d of 6000 rounds were impossible", impossible)
	}
}

// chosenFor are the clusters that are chosen, those included that get no replicas.
func chosenFor(facts *Facts) []int {
	p := newProblem(facts)
	p.group, p.outside = &p.view.groups[0], p.view.groups[0].outside
	fit, _ := p.filter(filters)
	chosen, _ := p.choose(fit)
	return chosen
}

func TestWhatTheGroupsThatMayBeUsedDoNotHaveIsNotSearchedFor(t *testing.T) {
	var members []*clusterv1alpha1.MemberCluster
	for _, region := range []string{"ap", "eu", "us"} {
		for _, zone := range []string{"1", "2"} {
			members = append(members, member(region+zone, located("p", region, region+"-"+zone)))
		}
	}
	for _, test := range []struct {
		reason string
		place  *policyv1alpha1.Placement
		want   bool
	}{
		{"two regions have four zones", placement(over("region", 1, 2), over("zone", 4, 0), over("cluster", 1, 0)), false},
		{"and not five", placement(over("region", 1, 2), over("zone", 5, 0), over("cluster", 1, 0)), true},
		{"three zones are in more than one region", placement(over("region", 1, 1), over("zone", 3, 0), over("cluster", 1, 0)), true},
		{"two regions have four clusters", placement(over("region", 1, 2), over("zone", 1, 0), over("cluster", 4, 0)), false},
		{"and not five of these, either", placement(over("region", 1, 2), over("zone", 1, 0), over("cluster", 5, 0)), true},
		{"all regions may be used", placement(over("region", 1, 0), over("zone", 6, 0), over("cluster", 1, 0)), false},
	} {
		p := newProblem(&Facts{Template: Template{Kind: deployment}, Replicas: ptr.To[int32](6), Fleet: fleet(members...), Placement: compiled(t, test.place)})
		p.enter(&p.view.groups[0])
		fit, _ := p.filter(filters)
		if got := p.outOfReach(p.rank(fit)); got != test.want {
			t.Errorf("%s: out of reach %t, want %t", test.reason, got, test.want)
		}
		if chosen, _ := p.choose(fit); (chosen == nil) != test.want {
			t.Errorf("%s: chose %v", test.reason, chosen)
		}
	}
}

// referenceByRegion chooses as Karmada does for constraints by region and cluster, where clusters have no template yet. The
// clusters are sorted by name.
func referenceByRegion(clusters []*Cluster, room []int32, replicas int, byRoom bool, regions, count bounds) []string {
	order := make([]int, len(clusters))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(room[b], room[a]) })
	members := map[string][]int{}
	for _, at := range order {
		members[clusters[at].region] = append(members[clusters[at].region], at)
	}
	names := slices.Sorted(maps.Keys(members))
	var groups []electable
	for id, name := range names {
		score := 0
		part := int(math.Ceil(float64(replicas) / float64(regions.least)))
		for i, at := range members[name] {
			if !byRoom && int(room[at]) >= replicas {
				score += 1000
			}
			if byRoom && (score < part*1000 || i < max(regions.least, count.least)) {
				score = min(score+int(room[at])*1000, part*1000)
			}
		}
		groups = append(groups, electable{id, len(members[name]), int64(score)})
	}
	var chosen, rest []int
	for _, id := range referenceElect(groups, regions, count.least) {
		chosen = append(chosen, members[names[id]][0])
		rest = append(rest, members[names[id]][1:]...)
	}
	slices.SortFunc(rest, func(a, b int) int { return cmp.Compare(slices.Index(order, a), slices.Index(order, b)) })
	for _, at := range rest {
		if len(chosen) < count.most {
			chosen = append(chosen, at)
		}
	}
	slices.Sort(chosen)
	var result []string
	sum := 0
	for _, at := range chosen {
		result = append(result, clusters[at].name)
		sum += int(room[at])
	}
	if byRoom && sum < replicas {
		return nil // then it fails
	}
	return result
}

func TestChoosingByRegionAndClusterAgreesWithKarmadasRule(t *testing.T) {
	random := rand.New(rand.NewPCG(41, 42))
	placed := 0
	for round := range 6000 {
		var words []string
		for i := range 1 + random.IntN(10) {
			words = append(words, fmt.Sprintf("%c:%d@/r%d", 'a'+i, random.IntN(12), random.IntN(4)))
		}
		least, most := 1+random.IntN(3), []int{0, 1, 2}[random.IntN(3)]
		clustersLeast, clustersMost := 1+random.IntN(5), []int{0, 0, 1}[random.IntN(3)]
		regions, count := bounds{least, math.MaxInt}, bounds{clustersLeast, math.MaxInt}
		if most > 0 {
			regions.most, most = least+most, least+most
		}
		if clustersMost > 0 {
			count.most, clustersMost = max(least, clustersLeast)+1, max(least, clustersLeast)+1
		}
		byRoom := random.IntN(2) == 0
		parts := []part{over("cluster", int32(clustersLeast), int32(clustersMost)), over("region", int32(least), int32(most))}
		if byRoom {
			parts = append(parts, dynamically)
		}
		facts := Facts{Template: Template{Kind: deployment}, Replicas: ptr.To(int32(1 + random.IntN(20))), Placement: compiled(t, placement(parts...))}
		facts.Fleet, facts.Available = drawn(t, strings.Join(words, " "))
		want := referenceByRegion(facts.Fleet.Clusters(), facts.Available, int(*facts.Replicas), byRoom, regions, count)
		if want == nil {
			continue
		}
		placed++
		var got []string
		for _, at := range chosenFor(&facts) {
			got = append(got, facts.Fleet.Clusters()[at].name)
		}
		if !slices.Equal(want, got) {
			t.Fatalf("round %d: of %v, regions %s, clusters %s, by room %t: chose %v, want %v", round, words, regions, count, byRoom, got, want)
		}
	}
	if placed < 2000 {
		t.Errorf("only %d of 6000 rounds could be placed", placed)
	}
}

func TestNothingThatFitsIsMovedWithoutNeed(t *testing.T) {
	random := rand.New(rand.NewPCG(51, 52))
	for round := range 4000 {
		w := randomSpread(t, random, 1+round%2)
		first := Decide(w.facts)
		w.facts.Current = first.Clusters
		for i := range w.facts.Available { // what was placed takes its room, and others take and give some
			w.facts.Available[i] = int32(random.IntN(9))
		}
		second := Decide(w.facts)
		if !first.Scheduled {
			continue
		}
		has := sets.New[string]()
		for _, target := range second.Clusters {
			has.Insert(target.Name)
		}
		for _, target := range first.Clusters {
			if !has.Has(target.Name) {
				t.Fatalf("round %d: %s moved to %s when only room had changed (%+v)", round, written(first.Clusters), written(second.Clusters), w.constraints)
			}
		}
	}
}
