package schedule

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/sets"

	policyv1alpha1 "windlass.dev/windlass/api/policy/v1alpha1"
	workv1alpha1 "windlass.dev/windlass/api/work/v1alpha1"
)

// spread bounds how many clusters are used, and from how many groups of clusters.
type spread struct {
	clusters   bounds
	topologies []topology // the first is the one by whose groups is chosen first
}

// bounds are the smallest and the largest number of something.
type bounds struct{ least, most int }

func (b bounds) String() string {
	switch b.most {
	case math.MaxInt:
		return fmt.Sprintf("at least %d", b.least)
	case b.least:
		return fmt.Sprintf("exactly %d", b.least)
	}
	return fmt.Sprintf("%d to %d", b.least, b.most)
}

// topology puts clusters into groups.
type topology struct {
	bounds
	noun   string // of a group: "region"
	groups func(c *Cluster) []string
	lacks  *cause // refuses clusters that are in no group
	label  bool   // the groups are values of a label
}

func compileSpread(constraints []policyv1alpha1.SpreadConstraint) spread {
	s := spread{clusters: bounds{0, math.MaxInt}}
	ordered := slices.Clone(constraints)
	slices.SortStableFunc(ordered, func(a, b policyv1alpha1.SpreadConstraint) int {
		return cmp.Compare(slices.Index(topologyOrder, a.SpreadByField), slices.Index(topologyOrder, b.SpreadByField))
	})
	for i := range ordered {
		constraint := &ordered[i]
		within := bounds{max(1, int(constraint.MinGroups)), int(constraint.MaxGroups)}
		if within.most == 0 {
			within.most = math.MaxInt
		}
		if constraint.SpreadByLabel == "" && (constraint.SpreadByField == policyv1alpha1.SpreadByFieldCluster || constraint.SpreadByField == "") {
			s.clusters = within
			continue
		}
		s.topologies = append(s.topologies, compileTopology(constraint, within))
	}
	return s
}

// topologyOrder begins with region, by which Karmada chooses first; labels, which have no field, come last.
var topologyOrder = []policyv1alpha1.SpreadFieldValue{
	policyv1alpha1.SpreadByFieldRegion, policyv1alpha1.SpreadByFieldProvider, policyv1alpha1.SpreadByFieldZone, policyv1alpha1.SpreadByFieldCluster, "",
}

func compileTopology(constraint *policyv1alpha1.SpreadConstraint, within bounds) topology {
	t := topology{bounds: within, noun: string(constraint.SpreadByField)}
	lacks := "no " + t.noun
	switch constraint.SpreadByField {
	case policyv1alpha1.SpreadByFieldRegion:
		t.groups = func(c *Cluster) []string { return single(c.region) }
	case policyv1alpha1.SpreadByFieldProvider:
		t.groups = func(c *Cluster) []string { return single(c.provider) }
	case policyv1alpha1.SpreadByFieldZone:
		t.groups = func(c *Cluster) []string { return c.zones }
	default:
		key := constraint.SpreadByLabel
		t.label = true
		t.noun, lacks = "value of the label "+key, "no label "+key
		t.groups = func(c *Cluster) []string { return single(c.labels[key]) }
	}
	text := lacks + ", by which spreadConstraints spread"
	t.lacks = newCause(RuleSpreadConstraint, "has "+text, "have "+text)
	return t
}

func single(group string) []string {
	if group == "" {
		return nil
	}
	return []string{group}
}

// lacking returns why a cluster is in no group, or nil.
func (s *spread) lacking(c *Cluster) *cause {
	for i := range s.topologies {
		if len(s.topologies[i].groups(c)) == 0 {
			return s.topologies[i].lacks
		}
	}
	return nil
}

// lostItsLabel says whether a cluster that has the template is refused because it lacks a label by which spread constraints spread.
func (p *problem) lostItsLabel(out []refused) bool {
	return slices.ContainsFunc(out, func(r refused) bool {
		return p.isCurrent(r.at) && slices.ContainsFunc(p.Placement.spread.topologies, func(t topology) bool { return t.label && t.lacks == r.cause })
	})
}

// isSet says whether there are any constraints.
func (s *spread) isSet() bool {
	return len(s.topologies) > 0 || s.clusters != bounds{0, math.MaxInt}
}

// chooses says whether clusters are chosen by the constraints. Where weights are static, the weights choose; as in Karmada, also those
// that a policy leaves out, but not those of a weightPreference that it writes and leaves empty.
func (s *spread) chooses(strategy strategy) bool { return s.isSet() && strategy != staticWeight }

// grouping is a topology of a fleet: for every cluster, by position, the groups that it is in, as numbers in the
// order of their names.
type grouping struct {
	names []string
	of    [][]int
}

func (t *topology) over(fleet *Fleet) grouping {
	all := sets.New[string]()
	for _, c := range fleet.clusters {
		all.Insert(t.groups(c)...)
	}
	g := grouping{names: sets.List(all), of: make([][]int, len(fleet.clusters))}
	for i, c := range fleet.clusters {
		for name := range sets.New(t.groups(c)...) {
			at, _ := slices.BinarySearch(g.names, name)
			g.of[i] = append(g.of[i], at)
		}
		slices.Sort(g.of[i])
	}
	return g
}

// withoutEffect tells of constraints that choose nothing.
func (p *problem) withoutEffect() string {
	if !p.Placement.spread.isSet() || p.Placement.strategy != staticWeight {
		return ""
	}
	return "; spreadConstraints choose no clusters where weights are static"
}

// unmet says which constraints the clusters that got replicas don't meet, though those that were chosen do: a chosen cluster whose
// share is no replica does not get the template. Karmada does the same, and says nothing.
func (p *problem) unmet(targets []workv1alpha1.TargetCluster) string {
	spread := &p.Placement.spread
	if p.wanted() == 0 || p.Placement.strategy == duplicated || !spread.chooses(p.Placement.strategy) {
		return ""
	}
	used, touched := 0, newTouched(p.view.grouping)
	for i := range targets {
		if at, found := p.Fleet.position(targets[i].Name); found && targets[i].Replicas > 0 {
			touched.add(at)
			used++
		}
	}
	var parts []string
	if used < spread.clusters.least {
		parts = append(parts, fmt.Sprintf("%d by cluster, of at least %d", used, spread.clusters.least))
	}
	for i, t := range spread.topologies {
		if touched.groups[i] < t.least {
			parts = append(parts, fmt.Sprintf("%d by %s, of at least %d", touched.groups[i], t.noun, t.least))
		}
	}
	if len(parts) == 0 {
		return ""
	}
	return "; the clusters that got replicas don't meet spreadConstraints: " + strings.Join(parts, "; ")
}

// candidate is a cluster that fits, as choosing sees it.
type candidate struct {
	at    int // position in the fleet
	tier  uint16
	score int64 // currentScore for a cluster that has the template, otherwise 0
	room  int64 // for how many replicas it has room, those that it has included
}

// currentScore is what it is worth that a cluster has the template already.
const currentScore = 100

// better orders candidates by how willingly they are chosen.
func better(a, b candidate) int {
	return cmp.Or(cmp.Compare(a.tier, b.tier), cmp.Compare(b.score, a.score), cmp.Compare(b.room, a.room), cmp.Compare(a.at, b.at))
}

// rank makes candidates of clusters, the best first.
func (p *problem) rank(clusters []int) []candidate {
	ranked := make([]candidate, len(clusters))
	for i, at := range clusters {
		c := candidate{at: at, room: math.MaxInt32}
		if p.group.tiers != nil && p.Replicas != nil {
			c.tier = p.group.tiers[at]
		}
		if p.isCurrent(at) {
			c.score = currentScore
		}
		if p.wanted() > 0 {
			c.room = p.room(at) + int64(p.assigned(at))
		}
		ranked[i] = c
	}
	slices.SortFunc(ranked, better)
	return ranked
}

// wanted is how many replicas are asked for; 0 for a kind without.
func (p *problem) wanted() int64 {
	if p.Replicas == nil {
		return 0
	}
	return int64(*p.Replicas)
}

// choose takes those of the fitting clusters that spread constraints allow, sorted by position, or says why
// these can't be met. Without constraints it takes all.
func (p *problem) choose(fit []int) ([]int, *cause) {
	spread := &p.Placement.spread
	if !spread.chooses(p.Placement.strategy) {
		return fit, nil
	}
	ranked := p.rank(fit)
	if why := p.tooFew(ranked); why != nil {
		return nil, why
	}
	picked, why := p.pick(ranked)
	if why != nil {
		return nil, why
	}
	if len(p.Awaited) > 0 && !p.choiceStands(ranked, picked) {
		p.awaits(fit)
	}
	chosen := make([]int, len(picked))
	for i, c := range picked {
		chosen[i] = c.at
	}
	slices.Sort(chosen)
	return chosen, nil
}

// choiceStands says whether the same clusters would be chosen from the ranked ones whatever room these have, or such that make no
// difference: all are taken; or the template keeps all that it has, which come first, and others get nothing, or there is no place for them. Where
// replicas overflow, those before the ones that it has come first, if they have the room.
func (p *problem) choiceStands(ranked, picked []candidate) bool {
	if p.wanted() == 0 || len(p.view.grouping) == 0 && len(picked) == len(ranked) {
		return true
	}
	if p.Fresh || p.group.tiers != nil {
		return false
	}
	has, keeps, assigned := 0, 0, int64(0)
	for _, c := range ranked {
		if p.isCurrent(c.at) {
			has++
		}
	}
	for _, c := range picked {
		if p.isCurrent(c.at) {
			keeps++
			assigned += int64(p.assigned(c.at))
		}
	}
	if keeps < has || p.dividesByRoom() && assigned < p.wanted() {
		return false
	}
	return keeps == len(picked) || p.dividesByRoom() && !p.KeepEmpty
}

func (p *problem) pick(ranked []candidate) ([]candidate, *cause) {
	groupings := p.view.grouping
	if len(groupings) == 0 {
		return p.chooseClusters(ranked), nil
	}
	if len(groupings) > 1 && p.outOfReach(ranked) {
		return nil, p.unreachable()
	}
	if picked := p.stay(ranked); picked != nil {
		return picked, nil
	}
	if len(groupings) == 1 && groupings[0].parts(ranked) {
		// Karmada ends here, also when other groups have the room.
		if picked, why := p.chooseByGroup(ranked); why != nil || p.isRoomIn(picked) {
			return picked, why
		}
	}
	return p.search(ranked)
}

// stay leaves the template in the clusters that it is in, and looks only for what these lack: it does not move because others
// have become better. It returns nil when that is not possible.
func (p *problem) stay(ranked []candidate) []candidate {
	if p.Fresh {
		return nil
	}
	var current []candidate
	for _, c := range ranked {
		if p.isCurrent(c.at) {
			current = append(current, c)
		}
	}
	if len(current) == 0 {
		return nil
	}
	return p.newSearch(ranked, current).run()
}

// isRoomIn says whether clusters have room for all replicas, where that matters.
func (p *problem) isRoomIn(picked []candidate) bool {
	if !p.dividesByRoom() {
		return true
	}
	var room int64
	for _, c := range picked {
		room += c.room
	}
	return room >= p.wanted()
}

// members are the clusters in each group, in their order. One may be in several.
func (g *grouping) members(ranked []candidate) [][]candidate {
	members := make([][]candidate, len(g.names))
	for _, c := range ranked {
		for _, group := range g.of[c.at] {
			members[group] = append(members[group], c)
		}
	}
	return members
}

// parts says whether each of the clusters is in one group only.
func (g *grouping) parts(ranked []candidate) bool {
	return !slices.ContainsFunc(ranked, func(c candidate) bool { return len(g.of[c.at]) != 1 })
}

// tooFew says which constraint asks for more than there is.
func (p *problem) tooFew(ranked []candidate) *cause {
	spread := &p.Placement.spread
	if len(ranked) < spread.clusters.least {
		return unspread(fmt.Sprintf("spreadConstraints ask for at least %s, and there %s that %s", plural(spread.clusters.least, "cluster"), isOrAre(len(ranked)), fits(len(ranked))))
	}
	for t := range spread.topologies {
		topology, grouping := &spread.topologies[t], &p.view.grouping[t]
		there := sets.New[int]()
		for _, c := range ranked {
			there.Insert(grouping.of[c.at]...)
		}
		if there.Len() < topology.least {
			var names []string
			for _, g := range sets.List(there) {
				names = append(names, grouping.names[g])
			}
			return unspread(fmt.Sprintf("spreadConstraints ask for at least %d different groups by %s, and the clusters that fit are in %d: %s",
				topology.least, topology.noun, len(names), few(names, maxCauses)))
		}
		if topology.least > spread.clusters.most && grouping.parts(ranked) {
			return unspread(fmt.Sprintf("spreadConstraints ask for at least %d different groups by %s, and for at most %s",
				topology.least, topology.noun, plural(spread.clusters.most, "cluster")))
		}
	}
	return nil
}

func isOrAre(clusters int) string {
	if clusters == 1 {
		return "is 1"
	}
	return fmt.Sprintf("are %d", clusters)
}

// unspread is a cause for all clusters that fit: the constraints can't be met.
func unspread(text string) *cause {
	return &cause{rule: RuleSpreadConstraint, message: "fits, but " + text, one: text, many: text}
}

// chooseClusters takes the best. Where these have too little room, the last of them give way to clusters with more,
// as in Karmada.
func (p *problem) chooseClusters(ranked []candidate) []candidate {
	count := min(len(ranked), p.Placement.spread.clusters.most)
	p.makeRoom(ranked, count)
	return ranked[:count]
}

// makeRoom exchanges clusters until the first count of them have the room that is asked for, if that can be: from the last
// to the first, each against the one behind them with the most room that leaves the constraints met.
func (p *problem) makeRoom(ranked []candidate, count int) {
	if p.isRoomIn(ranked[:count]) {
		return
	}
	touched := newTouched(p.view.grouping)
	var room int64
	for _, c := range ranked[:count] {
		room += c.room
		touched.add(c.at)
	}
	for out := count - 1; out >= 0 && room < p.wanted(); out-- {
		touched.remove(ranked[out].at)
		best := out
		for in := count; in < len(ranked); in++ {
			if ranked[in].room > ranked[best].room && touched.withinWith(p.Placement.spread.topologies, ranked[in].at) {
				best = in
			}
		}
		room += ranked[best].room - ranked[out].room
		ranked[out], ranked[best] = ranked[best], ranked[out]
		touched.add(ranked[out].at)
	}
}

// chooseByGroup chooses groups of a topology in which every cluster is in one group, then the best cluster of each of
// them, and then the best of the rest of them.
func (p *problem) chooseByGroup(ranked []candidate) ([]candidate, *cause) {
	spread, grouping := &p.Placement.spread, &p.view.grouping[0]
	members := grouping.members(ranked)
	var groups []electable
	for g := range members {
		if len(members[g]) > 0 {
			groups = append(groups, electable{id: g, clusters: len(members[g]), weight: p.groupScore(members[g], spread.topologies[0].least)})
		}
	}
	elected := elect(groups, spread.topologies[0].bounds, spread.clusters.least)
	if elected == nil {
		return nil, p.unreachable()
	}
	var anchors []candidate
	touched := newTouched(p.view.grouping)
	for _, g := range elected {
		anchors = append(anchors, members[g][0])
		touched.add(members[g][0].at)
	}
	return p.fillUp(anchors, ranked, touched), nil
}

// fillUp adds to the anchors, which stand for the groups that are used, the best of the other clusters of these groups, up to the
// largest number of clusters. Where the room is too little, clusters give way to others.
func (p *problem) fillUp(anchors, ranked []candidate, touched *touched) []candidate {
	isAnchor := make(map[int]bool, len(anchors))
	for _, c := range anchors {
		isAnchor[c.at] = true
	}
	all := slices.Grow(slices.Clone(anchors), len(ranked)-len(anchors))
	for _, c := range ranked {
		if !isAnchor[c.at] && !touched.adds(c.at) {
			all = append(all, c)
		}
	}
	count := min(len(all), p.Placement.spread.clusters.most)
	p.makeRoom(all, count)
	return all[:count]
}

// unreachable is for constraints each of which can be met, and not all together.
func (p *problem) unreachable() *cause {
	parts := []string{fmt.Sprintf("%s by cluster", p.Placement.spread.clusters)}
	for _, t := range p.Placement.spread.topologies {
		parts = append(parts, fmt.Sprintf("%s by %s", t.bounds, t.noun))
	}
	return unspread("no choice among the clusters that fit was found that meets all spreadConstraints: " + strings.Join(parts, ", "))
}

// scoreUnit makes what a group can take count for more than that its clusters have the template already.
const scoreUnit = 1000

// groupScore is how willingly a group is chosen: where every cluster gets all replicas, by how many of its clusters have room
// for them; where they are divided, by how much of the group's part, were all groups to get the same, it has room for. The members
// are in the order of their rank. These are Karmada's numbers.
func (p *problem) groupScore(members []candidate, leastGroups int) int64 {
	var score, count, room int64
	if p.Placement.strategy == duplicated {
		for _, c := range members {
			if c.room >= p.wanted() {
				count++
				score += c.score
			}
		}
		return count*scoreUnit + score/max(count, 1)
	}
	part := (p.wanted() + int64(leastGroups) - 1) / int64(leastGroups)
	least := int64(max(leastGroups, p.Placement.spread.clusters.least))
	for _, c := range members {
		room += c.room
		score += c.score
		if count++; count >= least && room >= part {
			break
		}
	}
	return min(room, part)*scoreUnit + score/count
}

// touched counts, for each group of each topology, the clusters that are used in it.
type touched struct {
	grouping []grouping
	clusters [][]int // by topology and group
	groups   []int   // by topology: how many groups have clusters
}

func newTouched(groupings []grouping) *touched {
	t := &touched{grouping: groupings, clusters: make([][]int, len(groupings)), groups: make([]int, len(groupings))}
	for i := range groupings {
		t.clusters[i] = make([]int, len(groupings[i].names))
	}
	return t
}

func (t *touched) add(at int) {
	for i := range t.grouping {
		for _, g := range t.grouping[i].of[at] {
			if t.clusters[i][g]++; t.clusters[i][g] == 1 {
				t.groups[i]++
			}
		}
	}
}

func (t *touched) remove(at int) {
	for i := range t.grouping {
		for _, g := range t.grouping[i].of[at] {
			if t.clusters[i][g]--; t.clusters[i][g] == 0 {
				t.groups[i]--
			}
		}
	}
}

// adds says whether the cluster is in a group that has none yet.
func (t *touched) adds(at int) bool {
	for i := range t.grouping {
		if t.new(i, at) > 0 {
			return true
		}
	}
	return false
}

// new counts the groups of a topology that the cluster would be the first in.
func (t *touched) new(topology, at int) int {
	count := 0
	for _, g := range t.grouping[topology].of[at] {
		if t.clusters[topology][g] == 0 {
			count++
		}
	}
	return count
}

// within says whether the numbers of groups are within their bounds.
func (t *touched) within(topologies []topology) bool {
	for i := range topologies {
		if t.groups[i] < topologies[i].least || t.groups[i] > topologies[i].most {
			return false
		}
	}
	return true
}

// allows says whether the numbers of groups are not too large.
func (t *touched) allows(topologies []topology) bool {
	for i := range topologies {
		if t.groups[i] > topologies[i].most {
			return false
		}
	}
	return true
}

// withinWith says the same of one cluster more.
func (t *touched) withinWith(topologies []topology, at int) bool {
	for i := range topologies {
		if groups := t.groups[i] + t.new(i, at); groups < topologies[i].least || groups > topologies[i].most {
			return false
		}
	}
	return true
}
