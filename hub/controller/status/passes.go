package status

import (
	"cmp"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

const (
	// passPause is for how long, for each of its clusters, a binding is not summed up again. A pass costs some hundredths of it.
	passPause = 50 * time.Microsecond
	// passShare is how many times as long as a pass takes all others of many clusters wait for their next one. On a busy machine a pass
	// takes longer, so passes leave it to what is said of clusters.
	passShare = 2
	// firstGuess is what a pass takes for each cluster before any has been seen. It is one that writes a status, on a machine with
	// nothing else to do.
	firstGuess = 12 * time.Microsecond
	// longestPass bounds what is believed of a pass, for each cluster: a machine can stand still for seconds.
	longestPass = 100 * time.Microsecond
	// quickPass is up to how many clusters a pass takes no turns: it costs next to nothing.
	quickPass = 20
)

// passes keeps the passes over a binding apart: each costs as much as the binding has clusters, and every report of a cluster
// wakes one. Without a pause a thousand reports were summed up hundreds of times, in the way of what is still being sent. And it
// keeps all passes together to a share of the hub: they take turns, in the order in which they asked.
type passes struct {
	// gather is how long a pass over a binding of few clusters is put off.
	gather time.Duration

	mu    sync.Mutex
	turns map[types.NamespacedName]turn
	free  time.Time     // when the next turn may begin
	takes time.Duration // what a pass takes for each cluster, of late; 0 before the first
}

// A turn of a binding waits until its time has come, or has begun then.
type turn struct {
	at    time.Time
	waits bool
}

// next says how long the next pass has to wait; when it need not, it begins now.
func (p *passes) next(key types.NamespacedName, clusters int, now time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	t, known := p.turns[key]
	if clusters <= quickPass {
		return p.gathered(key, t, now)
	}
	if !t.waits {
		if wait := t.at.Add(price(passPause, clusters)).Sub(now); known && wait > 0 {
			return wait
		}
		t = turn{at: later(now, p.free), waits: true}
		p.free = t.at.Add(price(passShare*cmp.Or(p.takes, firstGuess), clusters))
	}
	wait := t.at.Sub(now)
	if wait <= 0 {
		t = turn{at: now}
	}
	p.set(key, t)
	return max(wait, 0)
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

func (p *passes) set(key types.NamespacedName, t turn) {
	if p.turns == nil {
		p.turns = map[types.NamespacedName]turn{}
	}
	p.turns[key] = t
}

// took tells how long a pass has taken. One in which nothing was to be done counts as well: turns are paid for before it is known.
func (p *passes) took(clusters int, long time.Duration) {
	if clusters <= quickPass {
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

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
