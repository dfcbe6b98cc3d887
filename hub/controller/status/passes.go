package status

import (
	"cmp"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

const (
	// passPause is for how long, for each of its clusters, a binding is not summed up again. A pass that writes takes a quarter of it on a
	// machine with nothing else to do, and three quarters on a busy one.
	passPause = 50 * time.Microsecond
	// passShare is how many times as long as a pass takes all others of many clusters wait for their next one. On a busy machine a pass
	// takes longer, so that what clusters report has the machine before its sums do.
	passShare = 2
	// firstGuess is what a pass takes for each cluster before any has been seen. It is one that writes a status, on a machine with
	// nothing else to do.
	firstGuess = 12 * time.Microsecond
	// longestPass bounds what is believed of a pass, for each cluster: a machine can stand still for seconds.
	longestPass = 100 * time.Microsecond
	// tellingPass is from how many clusters on a pass tells what one takes: with fewer most of it is the wait for the store.
	tellingPass = 200
	// longestWait is after which time who waits for a turn asks again, for turns may have got cheaper.
	longestWait = time.Second
	// quickPass is up to how many clusters a pass takes no turns: it costs next to nothing.
	quickPass = 20
)

// passes keeps the passes over a binding apart: each costs as much as the binding has clusters, and every report of a cluster
// wakes one. Without a pause a thousand reports were summed up hundreds of times, in the way of what is still being sent. And it
// keeps all passes together to a share of the hub: they take turns, in the order in which they asked. A turn is a place in a line that is
// measured in clusters, and the line moves as fast as they are summed up now.
type passes struct {
	// gather is how long a pass over a binding of few clusters is put off.
	gather time.Duration

	mu    sync.Mutex
	turns map[types.NamespacedName]turn
	line  int64         // clusters for which turns have been asked for, ever
	moved int64         // how many of them have had their time
	at    time.Time     // when that was reckoned
	takes time.Duration // what a pass takes for each cluster, of late; 0 before the first
}

// A turn of a binding waits until its time has come, or has begun at one.
type turn struct {
	at    time.Time // of few clusters: the time
	place int64     // of many clusters: how much of the line is before it
	waits bool
}

// next says how long to wait before asking again; when there is nothing to wait for, the next pass begins now.
func (p *passes) next(key types.NamespacedName, clusters int, now time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	t, known := p.turns[key]
	if clusters <= quickPass {
		return p.gathered(key, t, now)
	}
	p.move(now)
	if !t.waits {
		if wait := t.at.Add(price(passPause, clusters)).Sub(now); known && wait > 0 {
			return wait
		}
		t = turn{place: p.line, waits: true}
		p.line += int64(clusters)
	}
	wait := time.Duration(t.place-p.moved) * p.each()
	if wait <= 0 {
		t = turn{at: now}
	}
	p.set(key, t)
	return min(max(wait, 0), longestWait)
}

// each is how long the line takes to move by one cluster.
func (p *passes) each() time.Duration { return passShare * cmp.Or(p.takes, firstGuess) }

// move has the line move on by the time that has passed.
func (p *passes) move(now time.Time) {
	moved := int64(max(now.Sub(p.at), 0) / p.each())
	if p.moved+moved >= p.line {
		p.moved, p.at = p.line, now
		return
	}
	p.moved += moved
	p.at = p.at.Add(time.Duration(moved) * p.each()) // what is left of the time counts the next time
}

// gathered is next for a binding of few clusters: it waits for what else is said of it in the same moment.
func (p *passes) gathered(key types.NamespacedName, t turn, now time.Time) time.Duration {
	if !t.waits || t.at.Sub(now) > p.gather { // a binding that had many clusters waits for no turn any more
		t = turn{at: now.Add(p.gather), waits: true}
	}
	wait := t.at.Sub(now)
	if wait <= 0 {
		delete(p.turns, key)
		return 0
	}
	p.set(key, t)
	return wait
}

// again has a binding keep its turn, whose pass has failed. That it does not wait for another lets the waits between attempts grow.
func (p *passes) again(key types.NamespacedName) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.set(key, turn{waits: true})
}

func (p *passes) set(key types.NamespacedName, t turn) {
	if p.turns == nil {
		p.turns = map[types.NamespacedName]turn{}
	}
	p.turns[key] = t
}

// took tells how long a pass has taken. One in which nothing was to be done counts as well: turns are paid for before it is known.
func (p *passes) took(clusters int, long time.Duration) {
	if clusters < tellingPass {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	each := min(long/time.Duration(clusters), longestPass)
	before := cmp.Or(p.takes, firstGuess)
	p.takes = max(before+(each-before)/8, time.Microsecond)
}

func (p *passes) forget(key types.NamespacedName) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.turns, key)
}

func price(each time.Duration, clusters int) time.Duration {
	return time.Duration(clusters) * each
}
