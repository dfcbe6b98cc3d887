// Package garbage alone decides how much garbage a hub lets gather before Go's collector runs.
//
// By default as much gathers as there is memory in use, and each time all that is in use has to be looked through. A hub with
// little to hold is collected every few moments of a burst then, which takes a quarter of what it does. And with one that holds
// much for its agents, and has nothing to do, each agent counts twice.
package garbage

import (
	"context"
	"math"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
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
	// byUser is the variable of the environment by which users set the share.
	byUser = "GOGC"
)

// share is how much may gather over what is in use, in percent, when so many bytes are allocated in a second.
func share(used uint64, perSecond float64) int {
	if perSecond < busy {
		return int(min(usual, max(least, math.Ceil(perSecond*100/looks))))
	}
	return int(min(most, max(usual, math.Ceil(room*100/float64(max(used, 1))))))
}

// Gather lets garbage gather, until the context ends. Whoever sets GOGC has decided. A limit of memory holds all the same:
// near it the runtime collects whatever the share is.
func Gather(ctx context.Context, getenv func(string) string) {
	if getenv(byUser) != "" {
		return
	}
	g := &gatherer{ctx: ctx, present: usual, at: time.Now()}
	g.look()
}

// gatherer sets the share anew after each collection.
type gatherer struct {
	ctx       context.Context
	present   int
	at        time.Time // of the last look
	allocated uint64    // until then, since the start
}

// A mark is garbage from the beginning: that it is collected tells of a collection.
type mark struct{ of *gatherer }

func (g *gatherer) look() {
	if g.ctx.Err() != nil {
		debug.SetGCPercent(usual)
		return
	}
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	now, used, allocated := time.Now(), sample[0].Value.Uint64(), sample[1].Value.Uint64()
	perSecond := float64(allocated-g.allocated) / max(now.Sub(g.at), time.Millisecond).Seconds()
	g.at, g.allocated = now, allocated
	if wanted := share(used, perSecond); wanted != g.present { // setting it stops everything for a moment
		debug.SetGCPercent(wanted)
		g.present = wanted
	}
	runtime.SetFinalizer(&mark{g}, func(m *mark) { m.of.look() })
}
