// Package garbage alone decides how much garbage a hub lets gather before Go's collector runs.
//
// By default as much gathers as there is memory in use, and each time all that is in use has to be looked through. A hub with
// little to hold is collected every few moments of a burst then, which takes a quarter of what it does. And with one that holds
// much for its agents, and has nothing to do, each agent counts twice. What it holds for them lies scattered among the garbage of the
// time at which they joined.
package garbage

import (
	"context"
	"math"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// room is what may gather. It is an amount and no share, so that a hub pays for it once, and not for each agent.
	room = 256 << 20
	// busy is how many bytes a hub allocates in a second that has much to do.
	busy = 16 << 20
	// usual is Go's own share, in percent; a hub that holds more than room has it, and one that is not busy.
	usual = 100
	// looks is how many bytes of what is in use may be looked through in a second, some thousandths of a processor, to have less than the
	// usual share gather. What a hub looks through is what it allocates, divided by the share, however much it holds.
	looks = 4 << 20
	// least is the share of a hub with next to nothing to do.
	least = 20
	// most bounds the share: it holds until the first look after a collection, and what is in use then may be many times more.
	most = 400
	// packed is the most that may gather while agents join. What stays then stays where it is, for Go moves nothing, and the memory of the
	// garbage between is not given back.
	packed = 50
	// join is how many bytes may be allocated for each agent that joins, ten times what that takes, if agents are what the hub has to do with.
	join = 16 << 20
	// growing is the least share of a hub that starts. What it reads stays in use: by Go's share it would be looked through each time that it has
	// doubled, and once more while the agents come back. At the end as much has gathered as will then by Go's share.
	growing = 200
	// moment is how long a hub may allocate much before it is noticed.
	moment = 50 * time.Millisecond
	// calm is for how long it has to allocate little to have come to rest.
	calm = 300 * time.Millisecond
	// byUser is the variable of the environment by which users set the share.
	byUser = "GOGC"
)

// share is how much may gather over what is in use, in percent, when so many bytes are allocated in a second.
func share(used uint64, perSecond float64, joining bool) int {
	highest := float64(most)
	if joining {
		highest = packed
	}
	if perSecond < busy {
		return int(min(highest, usual, max(least, math.Ceil(perSecond*100/looks))))
	}
	return int(min(highest, max(usual, math.Ceil(room*100/float64(max(used, 1))))))
}

// A reading is what is known at a moment, in bytes and agents.
type reading struct {
	at                      time.Time
	used, allocated, joined uint64 // used: after the last collection; the others since the start
}

// A state is what is known of the past. Its functions only decide.
type state struct {
	since reading // since when it is as now: a burst or none, after the last collection
	clean uint64  // allocated until the last collection
	burst bool
	busy  time.Time // when much was allocated last
	// started: what stood in the store is in use, and the agents are back.
	started bool
}

// moment is told each moment. It answers with a share that holds from now on, or 0 when it stays.
func (s *state) moment(before, now reading) int {
	switch {
	case rate(before, now) >= busy:
		if !s.burst {
			s.burst, s.since = true, before
		}
		s.busy = now.at
		return s.share(now)
	case s.burst && now.at.Sub(s.busy) >= calm:
		s.burst = false
		if now.allocated-s.clean < room/2 {
			return 0
		}
		s.since = now
		return s.share(now)
	}
	return 0
}

// collection is told after each collection, and answers with the share that holds from now on.
func (s *state) collection(now reading) int {
	wanted := s.share(now)
	s.since, s.clean = now, now.allocated
	return wanted
}

func (s *state) share(now reading) int {
	perSecond := rate(s.since, now)
	if s.burst {
		perSecond = busy
	} else {
		perSecond = min(perSecond, busy-1) // of a burst that is over
	}
	joined := now.joined - s.since.joined
	wanted := share(now.used, perSecond, joined > 0 && (now.allocated-s.since.allocated)/joined <= join)
	if !s.started {
		wanted = max(wanted, growing)
	}
	return wanted
}

func rate(from, to reading) float64 {
	return float64(to.allocated-from.allocated) / max(to.at.Sub(from.at), time.Millisecond).Seconds()
}

// Gather lets garbage gather, until the context ends. Whoever sets GOGC has decided. A limit of memory holds all the same:
// near it the runtime collects whatever the share is.
func Gather(ctx context.Context, getenv func(string) string) *Gatherer {
	g := &Gatherer{ctx: ctx, present: usual}
	g.state.since = reading{at: time.Now()}
	if getenv(byUser) == "" {
		g.collected()
		go g.watch()
	}
	return g
}

// A Gatherer sets the share anew after each collection, and when a burst begins or ends. By the share of a hub at rest it would be
// collected soon after a burst begins, in the middle of what somebody waits for. At its end nobody does, so what has gathered then is
// collected before the next.
type Gatherer struct {
	ctx    context.Context
	joined atomic.Uint64 // agents, since the start

	lock    sync.Mutex
	state   state
	present int
}

// Joined tells that an agent has joined. It does not block and is safe for concurrent use.
func (g *Gatherer) Joined() { g.joined.Add(1) }

// Started tells that the start is over. It does not block and is safe for concurrent use.
func (g *Gatherer) Started() {
	g.lock.Lock()
	defer g.lock.Unlock()
	g.state.started = true
}

// watch looks for the beginnings and ends of bursts.
func (g *Gatherer) watch() {
	tick := time.NewTicker(moment)
	defer tick.Stop()
	before := g.read()
	for {
		select {
		case <-g.ctx.Done():
			return
		case <-tick.C:
		}
		g.lock.Lock() // before it is read: a collection that comes between would be of the future
		now := g.read()
		g.set(g.state.moment(before, now))
		g.lock.Unlock()
		before = now
	}
}

// A mark is garbage from the beginning: that it is collected tells of a collection.
type mark struct{ of *Gatherer }

func (g *Gatherer) collected() {
	g.lock.Lock()
	defer g.lock.Unlock()
	if g.ctx.Err() != nil {
		g.set(usual)
		return
	}
	g.set(g.state.collection(g.read()))
	runtime.SetFinalizer(&mark{g}, func(m *mark) { m.of.collected() })
}

func (g *Gatherer) read() reading {
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	return reading{time.Now(), sample[0].Value.Uint64(), sample[1].Value.Uint64(), g.joined.Load()}
}

// set leaves what is so already, for setting it stops everything for a moment.
func (g *Gatherer) set(wanted int) {
	if wanted != 0 && wanted != g.present {
		debug.SetGCPercent(wanted)
		g.present = wanted
	}
}
