package schedule

import (
	"cmp"
	"slices"
)

// mostSeen bounds a search: so many clusters are looked at in each of two passes. Constraints that contradict each other in part can make it long; what is
// not found by then is told to be not found. Some dozen clusters are searched to the end.
const mostSeen = 100_000

// search chooses clusters for constraints by several topologies, or by one in which clusters are in several groups.
//
// A cluster counts for every group that it is in, towards the smallest and towards the largest number. First come clusters that reach
// all smallest numbers, from the heaviest groups; then, as when there is one topology, the best of the clusters whose groups
// are all used, up to the largest number of clusters. Only where that is too few clusters, or too little room, more
// groups are used, as far as their largest numbers allow. The first choice that meets everything is taken.
func (p *problem) search(ranked []candidate) ([]candidate, *cause) {
	s := p.newSearch(ranked, nil)
	if found := s.run(); found != nil {
		return found, nil
	}
	if s.tight != nil {
		return s.tight, nil // the division tells how much room there is
	}
	return nil, p.unreachable()
}

// newSearch begins with clusters that are used in any case.
func (p *problem) newSearch(ranked, used []candidate) *search {
	s := &search{problem: p, spread: &p.Placement.spread, ranked: ranked, touched: newTouched(p.view.grouping), anchors: used}
	for _, c := range used {
		s.touched.add(c.at)
	}
	return s
}

// run returns the first choice that meets everything, or nil.
func (s *search) run() []candidate {
	if len(s.anchors) > s.spread.clusters.most || !s.touched.allows(s.spread.topologies) {
		return nil
	}
	if s.touched.within(s.spread.topologies) && s.isEnough(s.fillUp(s.anchors, s.ranked, s.touched)) {
		return s.found
	}
	s.inVain = !s.mayHaveRoom()
	s.classes = s.intoClasses(s.ranked)
	for _, s.more = range []bool{false, true} {
		if s.seen = 0; s.reach(0) {
			return s.found
		}
	}
	return nil
}

// class are the clusters that are in the same groups, the best first.
type class struct {
	members []candidate
	weights []int64 // by topology: of the heaviest of its groups
}

// intoClasses puts the clusters together, those in the heaviest groups first.
func (p *problem) intoClasses(ranked []candidate) []class {
	weights := make([][]int64, len(p.view.grouping))
	for t := range p.view.grouping {
		members := p.view.grouping[t].members(ranked)
		weights[t] = make([]int64, len(members))
		for g := range members {
			if len(members[g]) > 0 {
				weights[t][g] = p.groupScore(members[g], p.Placement.spread.topologies[t].least)
			}
		}
	}
	var classes []class
	known := map[string]int{}
	for _, c := range ranked {
		key := p.groupsKey(c.at)
		at, isKnown := known[key]
		if !isKnown {
			at = len(classes)
			known[key] = at
			classes = append(classes, class{weights: make([]int64, len(weights))})
			for t := range weights {
				for _, g := range p.view.grouping[t].of[c.at] {
					classes[at].weights[t] = max(classes[at].weights[t], weights[t][g])
				}
			}
		}
		classes[at].members = append(classes[at].members, c)
	}
	slices.SortStableFunc(classes, func(a, b class) int {
		return cmp.Or(slices.Compare(b.weights, a.weights), better(a.members[0], b.members[0]))
	})
	return classes
}

func (p *problem) groupsKey(at int) string {
	var key []byte
	for t := range p.view.grouping {
		for _, g := range p.view.grouping[t].of[at] {
			key = append(key, byte(g), byte(g>>8), byte(g>>16))
		}
		key = append(key, 255, 255, 255)
	}
	return string(key)
}

type search struct {
	*problem
	spread  *spread
	ranked  []candidate
	touched *touched
	classes []class
	anchors []candidate // of one class each
	more    bool        // use more groups than the smallest numbers ask for
	seen    int
	found   []candidate
	tight   []candidate // the first choice that meets everything but the room
	inVain  bool        // no choice has the room: it ends with the first that meets the rest
}

// mayHaveRoom says whether so many clusters, and groups of each topology, as may be used have the room at all.
func (s *search) mayHaveRoom() bool {
	if !s.dividesByRoom() {
		return true
	}
	each := make([]int64, len(s.ranked))
	for i, c := range s.ranked {
		each[i] = c.room
	}
	if sumOfLargest(each, s.spread.clusters.most) < s.wanted() {
		return false
	}
	for t := range s.spread.topologies {
		groups := make([]int64, len(s.touched.grouping[t].names))
		for _, c := range s.ranked {
			for _, g := range s.touched.grouping[t].of[c.at] {
				groups[g] += c.room
			}
		}
		if sumOfLargest(groups, s.spread.topologies[t].most) < s.wanted() {
			return false
		}
	}
	return true
}

// sumOfLargest sorts its numbers.
func sumOfLargest(numbers []int64, most int) int64 {
	slices.SortFunc(numbers, func(a, b int64) int { return cmp.Compare(b, a) })
	var sum int64
	for _, n := range numbers[:min(len(numbers), most)] {
		sum += n
	}
	return sum
}

// outOfReach says whether the largest number of groups by one topology can't have as many clusters, or groups by another topology, as are
// asked for, whichever they are: then every choice would be tried in vain.
func (p *problem) outOfReach(ranked []candidate) bool {
	spread := &p.Placement.spread
	for t := range spread.topologies {
		most := spread.topologies[t].most
		if most >= len(p.view.grouping[t].names) {
			continue // all of them are enough: see tooFew
		}
		members := p.view.grouping[t].members(ranked)
		has := make([]int64, len(members))
		for g := range members {
			has[g] = int64(len(members[g]))
		}
		if sumOfLargest(has, most) < int64(spread.clusters.least) {
			return true
		}
		for u := range spread.topologies {
			if u == t {
				continue
			}
			counted := make([]int, len(p.view.grouping[u].names)) // for which group by t, from 1 on
			for g := range members {
				has[g] = 0
				for _, c := range members[g] {
					for _, other := range p.view.grouping[u].of[c.at] {
						if counted[other] != g+1 {
							counted[other] = g + 1
							has[g]++
						}
					}
				}
			}
			if sumOfLargest(has, most) < int64(spread.topologies[u].least) {
				return true
			}
		}
	}
	return false
}

// reach adds classes from one on until all smallest numbers are reached, and says whether that ended well.
func (s *search) reach(from int) bool {
	reached := s.touched.within(s.spread.topologies)
	if reached && s.complete() {
		return true
	}
	if len(s.anchors) >= s.spread.clusters.most || reached && !s.more {
		return false
	}
	for at := from; at < len(s.classes) && s.seen < mostSeen; at++ {
		s.seen++
		first := s.classes[at].members[0]
		if !s.helps(first.at) || !s.allowed(first.at) {
			continue
		}
		s.anchors = append(s.anchors, first)
		s.touched.add(first.at)
		if s.reach(at + 1) {
			return true
		}
		s.touched.remove(first.at)
		s.anchors = s.anchors[:len(s.anchors)-1]
	}
	return false
}

// helps says whether a cluster brings a group that is wanting, or any where more may be used.
func (s *search) helps(at int) bool {
	if s.more {
		return s.touched.adds(at)
	}
	for t := range s.spread.topologies {
		if s.touched.groups[t] < s.spread.topologies[t].least && s.touched.new(t, at) > 0 {
			return true
		}
	}
	return false
}

// allowed says whether a cluster brings no more groups than there may be.
func (s *search) allowed(at int) bool {
	for t := range s.spread.topologies {
		if s.touched.groups[t]+s.touched.new(t, at) > s.spread.topologies[t].most {
			return false
		}
	}
	return true
}

// complete fills up with the clusters of the groups that are used, and says whether that is enough. If it is not, it uses one more
// group after the other, as far as that is allowed.
func (s *search) complete() bool {
	anchors := slices.Clone(s.anchors)
	defer func() {
		for _, c := range anchors[len(s.anchors):] {
			s.touched.remove(c.at)
		}
	}()
	for s.seen < mostSeen {
		s.seen += len(s.ranked)
		if s.isEnough(s.fillUp(anchors, s.ranked, s.touched)) {
			return true
		}
		next := slices.IndexFunc(s.classes, func(c class) bool { return s.touched.adds(c.members[0].at) && s.allowed(c.members[0].at) })
		if next < 0 || len(anchors) >= s.spread.clusters.most {
			return false
		}
		anchors = append(anchors, s.classes[next].members[0])
		s.touched.add(s.classes[next].members[0].at)
	}
	return false
}

func (s *search) isEnough(choice []candidate) bool {
	if len(choice) < s.spread.clusters.least {
		return false
	}
	if s.isRoomIn(choice) {
		s.found = choice
		return true
	}
	if s.tight == nil {
		s.tight = choice
	}
	return s.inVain
}
