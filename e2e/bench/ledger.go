package main

import (
	"context"
	"time"

	"windlass.dev/windlass/e2e/fleet"
)

// cost is what a part of a scenario took.
type cost struct {
	used          consumption        // processor time by who used it
	puts, deletes float64            // of keys in the hub's store
	written       map[string]float64 // requests for such puts by resource, those that lost a race included
	messages      float64            // of the link, both ways
	bytes         float64
	allocations   float64 // of the hub
	took          time.Duration
}

// byTime are the puts of policies' statuses, which are written by time and not for an object.
func (c cost) byTime() float64 { return c.written[policies.Resource] }

func (c cost) plus(other cost) cost {
	return cost{
		used: added(c.used, other.used, 1), puts: c.puts + other.puts, deletes: c.deletes + other.deletes, written: added(c.written, other.written, 1),
		messages: c.messages + other.messages, bytes: c.bytes + other.bytes, allocations: c.allocations + other.allocations, took: c.took + other.took,
	}
}

// over is what is left of it without what an idle fleet takes in the same time, but for processor time.
func (c cost) over(idle cost) cost {
	part := -float64(c.took) / float64(idle.took)
	return cost{
		used: c.used, puts: c.puts + part*idle.puts, deletes: c.deletes + part*idle.deletes, written: added(c.written, idle.written, part),
		messages: c.messages + part*idle.messages, bytes: c.bytes + part*idle.bytes, allocations: c.allocations + part*idle.allocations, took: c.took,
	}
}

// added adds so many times the other values to those of the same names.
func added[M ~map[string]V, V ~int64 | ~float64](to, other M, times float64) M {
	sum := M{}
	for name, value := range to {
		sum[name] = value
	}
	for name, value := range other {
		sum[name] += V(times * float64(value))
	}
	return sum
}

// A ledger says what was spent since it was opened.
type ledger struct {
	fleet *fleet.Fleet
	meter *meter
	store storeCounts
	hub   reading
	used  consumption
}

func openLedger(ctx context.Context, f *fleet.Fleet) (l *ledger, err error) {
	l = &ledger{fleet: f}
	if l.meter, err = newMeter(f.Hub().Config, f.Hub().Process); err != nil {
		return nil, err
	}
	if l.store, err = countStore(ctx, f); err != nil {
		return nil, err
	}
	if l.hub, err = l.meter.begin(ctx); err != nil {
		return nil, err
	}
	l.used, err = usage(f)
	return l, err
}

// usedSoFar is the processor time since the ledger was opened.
func (l *ledger) usedSoFar() (consumption, error) {
	now, err := usage(l.fleet)
	return added(now, l.used, -1), err
}

func (l *ledger) close(ctx context.Context) (cost, error) {
	used, err := l.usedSoFar()
	if err != nil {
		return cost{}, err
	}
	hub, err := l.meter.end(ctx)
	if err != nil {
		return cost{}, err
	}
	store, err := countStore(ctx, l.fleet)
	if err != nil {
		return cost{}, err
	}
	spent := hub.since(l.hub)
	return cost{
		used: used, puts: float64(store.puts - l.store.puts), deletes: float64(store.deletes - l.store.deletes), took: spent.took,
		written:  spent.byResource("create", "update"),
		messages: spent.messages("in") + spent.messages("out"), bytes: spent.linkBytes("in") + spent.linkBytes("out"),
		allocations: spent.allocations(),
	}, nil
}
