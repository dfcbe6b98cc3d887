package schedule

import (
	"cmp"
	"slices"
)

// electable is a group of clusters that may be chosen.
type electable struct {
	id       int // groups are in the order of their names
	clusters int // how many it has, at least 1
	weight   int64
}

// elect chooses groups as Karmada does. It returns their ids, the heaviest group first; nil if no groups, as many as
// within allows, have the clusters that are asked for together.
//
// What is chosen from are all sets that meet both bounds and that a walk finds which adds groups in the order of growing
// number of clusters, falling weight and name, and stops as soon as both are met. The best of them has the largest sum of
// weights, then the most clusters, then is the first of the walk. If the heaviest groups of the best are such a set by
// themselves, the smallest of these is taken.
//
// Karmada lists all those sets, which may be as many as there are sets at all. Here the best is found by dynamic programming over
// (next group, groups taken, clusters taken), in time that is the product of these three. Where that is above mostStates, as for
// hundreds of groups of which hundreds of clusters are asked for, the heaviest groups are taken until it is enough.
func elect(groups []electable, within bounds, clusters int) []int {
	if len(groups) < within.least {
		return nil
	}
	// No set has more groups than least, nor more than the clusters that are asked for: it would have been met before.
	e := &election{groups: slices.Clone(groups), least: within.least, most: min(within.most, len(groups), max(within.least, clusters)), clusters: clusters}
	slices.SortFunc(e.groups, func(a, b electable) int {
		return cmp.Or(cmp.Compare(a.clusters, b.clusters), cmp.Compare(b.weight, a.weight), cmp.Compare(a.id, b.id))
	})
	var best []int
	switch {
	case clusters <= within.least:
		best = e.heaviest()
	case len(e.groups)*e.most*e.limit() > mostStates:
		best = e.enough()
	default:
		best = e.walk()
	}
	if best == nil {
		return nil
	}
	best = e.shortest(best)
	ids := make([]int, len(best))
	for i, g := range best {
		ids[i] = e.groups[g].id
	}
	return ids
}

type election struct {
	groups      []electable // in the order of the walk
	least, most int         // groups
	clusters    int         // at least
}

// byWeight orders the groups of a set.
func (e *election) byWeight(a, b int) int {
	return cmp.Or(cmp.Compare(e.groups[b].weight, e.groups[a].weight), cmp.Compare(e.groups[a].id, e.groups[b].id))
}

// mostStates bounds the time and the memory of an election: some tenths of a second, and a byte each.
const mostStates = 20_000_000

// heaviest is the best set where any groups have clusters enough.
func (e *election) heaviest() []int { return e.inOrder(e.heavier)[:e.least] }

// heavier puts the groups of more weight first, among equals those of more clusters.
func (e *election) heavier(a, b int) int {
	return cmp.Or(cmp.Compare(e.groups[b].weight, e.groups[a].weight), cmp.Compare(e.groups[b].clusters, e.groups[a].clusters), cmp.Compare(a, b))
}

// larger puts the groups of more clusters first.
func (e *election) larger(a, b int) int {
	return cmp.Or(cmp.Compare(e.groups[b].clusters, e.groups[a].clusters), cmp.Compare(a, b))
}

func (e *election) inOrder(compare func(a, b int) int) []int {
	order := make([]int, len(e.groups))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, compare)
	return order
}

// enough takes the heaviest groups until both bounds are met, or if that takes too many, the largest; nil if these are too many, too.
func (e *election) enough() []int {
	for _, order := range [][]int{e.inOrder(e.heavier), e.inOrder(e.larger)} {
		clusters := 0
		for i, at := range order[:e.most] {
			if clusters += e.groups[at].clusters; e.met(i+1, clusters) {
				return order[:i+1]
			}
		}
	}
	return nil
}

// met says whether a set is found by the walk, when it was not met before its last group.
func (e *election) met(groups, clusters int) bool { return groups >= e.least && clusters >= e.clusters }

// limit is above every number of clusters that a set has before it is met: it has fewer clusters than are asked for, or fewer
// groups.
func (e *election) limit() int {
	few := 1
	for _, g := range e.groups[len(e.groups)-(e.least-1):] {
		few += g.clusters
	}
	return max(e.clusters, few)
}

// walk returns the best set, or nil if there is none.
func (e *election) walk() []int {
	limit := e.limit()
	type worth struct {
		weight   int64
		clusters int // 0: there is no way
	}
	more := func(a, b worth) bool { return a.weight > b.weight || a.weight == b.weight && a.clusters > b.clusters }
	state := func(taken, clusters int) int { return taken*limit + clusters }
	size := e.most * limit
	best := make([]worth, size) // what groups from here on can add to a state
	take := make([]bool, len(e.groups)*size)
	for at := len(e.groups) - 1; at >= 0; at-- {
		g := e.groups[at]
		for taken := 0; taken < min(e.most, at+1); taken++ {
			for clusters := range limit {
				with := worth{g.weight, g.clusters}
				if !e.met(taken+1, clusters+g.clusters) {
					if taken+1 >= e.most || clusters+g.clusters >= limit {
						continue
					}
					rest := best[state(taken+1, clusters+g.clusters)]
					if rest.clusters == 0 {
						continue
					}
					with = worth{g.weight + rest.weight, g.clusters + rest.clusters}
				}
				if here := &best[state(taken, clusters)]; here.clusters == 0 || !more(*here, with) {
					*here = with
					take[at*size+state(taken, clusters)] = true
				}
			}
		}
	}
	if best[0].clusters == 0 {
		return nil
	}
	var set []int
	clusters := 0
	for at := 0; !e.met(len(set), clusters); at++ {
		if take[at*size+state(len(set), clusters)] {
			clusters += e.groups[at].clusters
			set = append(set, at)
		}
	}
	return set
}

// shortest sorts a set by weight and returns the smallest beginning of it that the walk finds as well.
func (e *election) shortest(set []int) []int {
	slices.SortFunc(set, e.byWeight)
	clusters, last := 0, 0
	for i, at := range set {
		clusters += e.groups[at].clusters
		last = max(last, at)
		if e.met(i+1, clusters) && !e.met(i, clusters-e.groups[last].clusters) {
			return set[:i+1]
		}
	}
	return set
}
