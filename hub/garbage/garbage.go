// Package garbage alone decides how much garbage a hub lets gather before Go's collector runs.
//
// By default as much gathers as there is memory in use, and each time all that is in use has to be looked through. A hub with
// little to hold is collected every few moments of a burst then, which takes a quarter of what it does.
package garbage

import (
	"context"
	"math"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

const (
	// room is what may gather. It is an amount and no share, so that a hub pays for it once, and not for each agent.
	room = 256 << 20
	// usual is Go's own share, in percent; a hub that holds more than room has it.
	usual = 100
	// most bounds the share: it holds until the first look after a collection, and what is in use then may be many times more.
	most = 400
	// byUser is the variable of the environment by which users set the share.
	byUser = "GOGC"
)

// share is how much may gather over what is in use, in percent.
func share(used uint64) int {
	return int(min(most, max(usual, math.Ceil(room*100/float64(max(used, 1))))))
}

// Gather lets garbage gather, until the context ends. Whoever sets GOGC has decided. A limit of memory holds all the same:
// near it the runtime collects whatever the share is.
func Gather(ctx context.Context, getenv func(string) string) {
	if getenv(byUser) != "" {
		return
	}
	g := &gatherer{ctx: ctx, present: usual}
	g.look()
}

// gatherer sets the share anew after each collection.
type gatherer struct {
	ctx     context.Context
	present int
}

// A mark is garbage from the beginning: that it is collected tells of a collection.
type mark struct{ of *gatherer }

func (g *gatherer) look() {
	if g.ctx.Err() != nil {
		debug.SetGCPercent(usual)
		return
	}
	if wanted := share(used()); wanted != g.present { // setting it stops everything for a moment
		debug.SetGCPercent(wanted)
		g.present = wanted
	}
	runtime.SetFinalizer(&mark{g}, func(m *mark) { m.of.look() })
}

// used is what the last collection has found to be in use.
func used() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}
