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

// Gather lets garbage gather, until the context ends. Whoever sets GOGC has decided. A limit of memory holds all the same:
// near it the runtime collects whatever the share is.
func Gather(ctx context.Context, getenv func(string) string) *Gatherer {
	g := &Gatherer{ctx: ctx, present: usual, at: time.Now()}
	if getenv(byUser) == "" {
		g.look()
	}
	return g
}

// A Gatherer sets the share anew after each collection.
type Gatherer struct {
	ctx       context.Context
	joined    atomic.Uint64 // agents, since the last look
	present   int
	at        time.Time // of the last look
	allocated uint64    // until then, since the start
}

// Joined tells that an agent has joined. It does not block and is safe for concurrent use.
func (g *Gatherer) Joined() { g.joined.Add(1) }

// A mark is garbage from the beginning: that it is collected tells of a collection.
type mark struct{ of *Gatherer }

func (g *Gatherer) look() {
	if g.ctx.Err() != nil {
		debug.SetGCPercent(usual)
		return
	}
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	now, used, allocated := time.Now(), sample[0].Value.Uint64(), sample[1].Value.Uint64()
	since := allocated - g.allocated
	perSecond := float64(since) / max(now.Sub(g.at), time.Millisecond).Seconds()
	joined := g.joined.Swap(0)
	joining := joined > 0 && since/joined <= join
	g.at, g.allocated = now, allocated
	if wanted := share(used, perSecond, joining); wanted != g.present { // setting it stops everything for a moment
		debug.SetGCPercent(wanted)
		g.present = wanted
	}
	runtime.SetFinalizer(&mark{g}, func(m *mark) { m.of.look() })
}
