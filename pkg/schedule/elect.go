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
// (next group, groups taken, clusters taken), in time that is the product of these three.
func elect(groups []electable, within bounds, clusters int) []int {
	if len(groups) < within.least {
		return nil
	}
	e := &election{groups: slices.Clone(groups), least: within.least, most: min(within.most, len(groups)), clusters: clusters}
	slices.SortFunc(e.groups, func(a, b electable) int {
		return cmp.Or(cmp.Compare(a.clusters, b.clusters), cmp.Compare(b.weight, a.weight), cmp.Compare(a.id, b.id))
	})
	var best []int
	if clusters <= within.least {
		best = e.heaviest()
	} else if best = e.walk(); best == nil {
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

// heaviest is the best set where any groups have clusters enough.
func (e *election) heaviest() []int {
	order := make([]int, len(e.groups))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int {
		return cmp.Or(cmp.Compare(e.groups[b].weight, e.groups[a].weight), cmp.Compare(e.groups[b].clusters, e.groups[a].clusters), cmp.Compare(a, b))
	})
	return order[:e.least]
}

// met says whether a set is found by the walk, when it was not met before its last group.
func (e *election) met(groups, clusters int) bool { return groups >= e.least && clusters >= e.clusters }

// walk returns the best set, or nil if there is none.
func (e *election) walk() []int {
	// While neither bound is met for good, a set has fewer clusters than are asked for, or fewer groups than are.
	limit := e.clusters
	few := 1
	for _, g := range e.groups[len(e.groups)-min(max(e.least-1, 0), len(e.groups)):] {
		few += g.clusters
	}
	limit = max(limit, few)

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
