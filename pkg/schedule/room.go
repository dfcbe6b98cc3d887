package schedule

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
)

// dividesByRoom says whether replicas of this template are divided by the room that clusters have.
func (p *problem) dividesByRoom() bool {
	return p.Replicas != nil && *p.Replicas > 0 && p.Placement.strategy.byRoom()
}

// available is what the cluster at a position has reported.
func (p *problem) available(at int) int32 {
	if at >= len(p.Available) || p.Available[at] < 0 {
		return CapacityUnknown
	}
	return p.Available[at]
}

// room is for how many replicas more the cluster at a position has room. What is not known is no room, and
// what has no bound is room for all that is asked for.
func (p *problem) room(at int) int64 {
	switch room := p.available(at); room {
	case CapacityUnknown:
		return 0
	case math.MaxInt32:
		return int64(*p.Replicas)
	default:
		return int64(room)
	}
}

// awaits notes that the decision depends on the room of clusters, as far as these are awaited.
func (p *problem) awaits(clusters []int) {
	for _, at := range clusters {
		if at < len(p.Awaited) && p.Awaited[at] {
			p.asked[at] = true
		}
	}
}

// A share is a chosen cluster in a division by room.
type share struct {
	tier  uint16
	prior bool  // is filled before others of the tier, where replicas are aggregated
	keeps bool  // what the cluster has stays, and what it gets is added
	room  int64 // the most that the cluster can get
	got   int32

	// Among shares with the same room, where replicas are aggregated: those that have the template come first, and of these and the
	// others the larger ones, what they have included.
	has   bool
	whole int64
}

// divideByRoom divides replicas among the chosen clusters by the room that they have.
//
// A template that has its replicas keeps them where they are. More of them are divided by themselves, by the room
// that is left, and fewer in proportion to what the clusters have. With fresh all are divided, and what a cluster has
// counts as room.
func (p *problem) divideByRoom(chosen []int, fresh bool) ([]int32, *cause) {
	shares, wanted, stays := p.toGive(chosen, fresh)
	has := make([]int32, len(chosen))
	for i, at := range chosen {
		has[i] = p.assigned(at)
	}
	if stays {
		return has, nil
	}
	if !p.fill(shares, wanted) {
		return nil, p.tooLittleRoom(chosen, shares, wanted)
	}
	for i := range has {
		if shares[i].keeps {
			has[i] += shares[i].got
		} else {
			has[i] = shares[i].got
		}
	}
	return has, nil
}

// toGive is how many replicas are to be given out, and for how many of them each of the chosen clusters has room. None are when
// the template stays: it has all that it asks for, and keeps them where they are.
func (p *problem) toGive(chosen []int, fresh bool) (shares []share, replicas int64, stays bool) {
	var assigned int64
	for _, at := range chosen {
		assigned += int64(p.assigned(at))
	}
	wanted := int64(*p.Replicas)
	more := !fresh && assigned < wanted
	if fresh || more {
		p.awaits(chosen)
	}
	shares = make([]share, len(chosen))
	for i, at := range chosen {
		has := p.assigned(at)
		if p.group.tiers != nil {
			shares[i].tier = p.group.tiers[at]
		}
		switch {
		case fresh:
			shares[i].room = p.room(at) + int64(has)
			shares[i].has, shares[i].whole = p.isCurrent(at), shares[i].room
		case more:
			shares[i].room, shares[i].prior, shares[i].keeps = p.room(at), has > 0, true
			shares[i].has, shares[i].whole = p.isCurrent(at), shares[i].room+int64(has)
		default:
			shares[i].room = int64(has)
		}
	}
	if more {
		wanted -= assigned
	}
	return shares, wanted, !fresh && !more && assigned == wanted
}

// fill gives out replicas, as many as there is room for in the first tier, and what is left in the next ones. It
// says whether there was room for all; if not, nothing of it counts.
func (p *problem) fill(shares []share, wanted int64) bool {
	tiers := uint16(0)
	for i := range shares {
		tiers = max(tiers, shares[i].tier)
	}
	for tier := range int(tiers) + 1 {
		var members []int
		var room int64
		for i := range shares {
			if int(shares[i].tier) == tier && shares[i].room > 0 {
				members = append(members, i)
				room += shares[i].room
			}
		}
		now := min(wanted, room)
		p.fillTier(shares, members, now)
		wanted -= now
	}
	return wanted == 0
}

// fillTier divides replicas, for which there is room, in proportion to the room of its members. As apportion rounds to
// the nearest, and there is no more to give than room, no member gets more than it has room for.
func (p *problem) fillTier(shares []share, members []int, replicas int64) {
	if replicas == 0 {
		return
	}
	if p.Placement.strategy == aggregated {
		members = fewest(shares, members, replicas)
	}
	weights := make([]int64, len(members))
	for i, at := range members {
		weights[i] = shares[at].room
	}
	for i, got := range Apportion(int32(replicas), weights, p.Template.UID) {
		shares[members[i]].got = got
	}
}

// fewest returns, in their order, as few members as have room for the replicas: first those that are prior, and of
// these and the others those with the most room first. Those with the same room keep the order in which clusters are chosen, as in
// Karmada, so that nothing moves to a cluster that is no better.
func fewest(shares []share, members []int, replicas int64) []int {
	slices.SortFunc(members, func(at, than int) int {
		a, b := &shares[at], &shares[than]
		return cmp.Or(first(a.prior, b.prior), cmp.Compare(b.room, a.room), first(a.has, b.has), cmp.Compare(b.whole, a.whole), cmp.Compare(at, than))
	})
	for i, at := range members {
		if replicas -= shares[at].room; replicas <= 0 {
			members = members[:i+1]
			break
		}
	}
	slices.Sort(members)
	return members
}

// first compares what comes first if it is true.
func first(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return -1
	}
	return 1
}

// mostRooms bounds the clusters whose room a message tells, those with the most.
const mostRooms = 5

// tooLittleRoom says how much room is wanted, how much there is, and where.
func (p *problem) tooLittleRoom(chosen []int, shares []share, wanted int64) *cause {
	order := make([]int, len(shares))
	var room int64
	for i := range shares {
		order[i] = i
		room += shares[i].room
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(shares[b].room, shares[a].room) })
	var where []string
	for _, i := range order {
		if shares[i].room > 0 && len(where) < mostRooms {
			where = append(where, fmt.Sprintf("%s has %d", p.Fleet.clusters[chosen[i]].name, shares[i].room))
		}
	}
	what := plural(int(wanted), "replica")
	if wanted < int64(*p.Replicas) {
		what = fmt.Sprintf("%s more, which makes %d", what, *p.Replicas)
	}
	text := fmt.Sprintf("%s wanted, and %s for %d", what, thereIsRoom(len(chosen)), room)
	if len(where) > 0 {
		text += ": " + strings.Join(where, ", ")
	}
	if assumed := p.assumed(chosen); assumed > 0 {
		text += fmt.Sprintf("; room for %d more is kept for what was placed a moment ago and can't be seen there yet", assumed)
	}
	message := fmt.Sprintf("fits, but there is room for %d of %s to be placed", room, plural(int(wanted), "replica")) // the rest is said once, of all
	return &cause{rule: RuleCapacity, message: message, one: text, many: text}
}

// assumed is for how many of the replicas there would be room in clusters, but for what is assumed taken.
func (p *problem) assumed(chosen []int) int64 {
	var sum int64
	for _, at := range chosen {
		if at < len(p.Assumed) {
			sum += int64(min(p.Assumed[at], *p.Replicas))
		}
	}
	return sum
}

func thereIsRoom(clusters int) string {
	if clusters == 1 {
		return "the cluster that fits has room"
	}
	return fmt.Sprintf("the %d clusters that fit have room", clusters)
}
