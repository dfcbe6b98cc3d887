package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"time"
)

// idle measures what agents cost to which nothing happens, over the same hub before they came.
type idle struct {
	agents int
	long   time.Duration
}

func (i *idle) scenario() scenario {
	return scenario{
		name: "idle", what: "simulated agents to which nothing happens, over the same hub before they came", takes: "15 minutes",
		flags: func(flags *flag.FlagSet) {
			countFlag(flags, &i.agents, "idle.agents", goalAgents, "how many agents; the goals are for a thousand")
			periodFlag(flags, &i.long, "idle.for", idleLong, "how long nothing happens, without agents and with them; the goals are for five minutes")
		},
		run:    again(i.run),
		limits: "TCP and IP, which are not in the bytes; agents that hold works, and nodes that come and go; ways to the hub that take now longer and now shorter, by which the heartbeats of a moment come apart",
	}
}

// idleLong is how long the goals look: longer than anything that is done by time.
const idleLong = 5 * time.Minute

func (i *idle) asks() bool { return i.agents >= goalAgents && i.long >= idleLong }

func (i *idle) run(ctx context.Context, env *environment) (rows []row, err error) {
	env.drop() // those of the run before
	h, err := newHerd(ctx, env)
	defer func() { env.leave(h, err) }()
	if err != nil {
		return nil, err
	}
	env.progress("the hub without agents, %v", i.long)
	without, before, err := i.stretch(ctx, h)
	if err != nil {
		return nil, err
	}
	if err := h.heapProfile(ctx, "without"); err != nil {
		return nil, err
	}
	aliveBefore, err := h.meter.collected(ctx)
	if err != nil {
		return nil, err
	}
	joining, err := i.join(ctx, h)
	if err != nil {
		return nil, err
	}
	env.progress("%d agents, %v", i.agents, i.long)
	wireBefore, err := h.state(ctx)
	if err != nil {
		return nil, err
	}
	began := time.Now()
	with, after, err := i.stretch(ctx, h)
	if err != nil {
		return nil, err
	}
	wire, err := h.state(ctx)
	if err != nil {
		return nil, err
	}
	hours := time.Since(began).Hours()
	if err := h.heapProfile(ctx, "with"); err != nil {
		return nil, err
	}
	aliveAfter, err := h.meter.collected(ctx)
	if err != nil {
		return nil, err
	}
	agents, at := float64(i.agents), grouped(int64(i.agents))+" agents"
	perHour := func(n int64) float64 { return float64(n) / hours / agents }
	allocated := func(s spending) float64 { return s.counters.sum("go_memstats_alloc_bytes_total") / s.took.Seconds() }
	inUse := func(r reading) float64 {
		return r.counters.sum("go_memstats_heap_inuse_bytes") + r.counters.sum("go_memstats_stack_inuse_bytes")
	}
	perAgent := func(metric string) float64 {
		return (aliveAfter.counters.sum(metric) - aliveBefore.counters.sum(metric)) / agents
	}
	goroutines := after.counters.sum("go_goroutines") - before.counters.sum("go_goroutines")
	one := func(v float64) []float64 { return []float64{v} }
	// The hub renews its own leases once more or less often in a stretch. Both stretches are equally long, but for milliseconds.
	return []row{
		{at: "no agents", what: "changes of etcd in an hour", unit: count, values: one(without.changes / without.took.Hours())},
		{at: "no agents", what: "hub resident, without its program", unit: memory, values: one(float64(before.resident))},
		{at: "no agents", what: "hub CPU, of one processor", unit: share, values: one(float64(without.cpu) / float64(without.took))},
		{at: "no agents", what: "allocated by the hub in a second", unit: memory, values: one(allocated(without))},
		{at: at, what: "all have joined, and the hub calls them ready, after", unit: duration, values: one(float64(joining.took))},
		{at: at, what: "hub CPU for an agent that joins", unit: cpu, values: one(float64(joining.cpu) / agents)},
		{at: at, what: "allocated by the hub for an agent that joins", unit: memory, values: one(joining.counters.sum("go_memstats_alloc_bytes_total") / agents)},
		{at: at, what: fmt.Sprintf("changes of etcd in %.0f s, without leases, over the hub without agents", i.long.Seconds()), unit: count, values: one(max(0, with.unleased()-without.unleased())), goals: when(i.asks(), atMost(0))},
		{at: at, what: "messages of an agent in an hour, both ways", unit: count, values: one((with.messages("in") + with.messages("out")) / with.took.Hours() / agents)},
		{at: at, what: "bytes of an agent in an hour, both ways", unit: bytes, values: one(perHour(wire.Received + wire.Sent - wireBefore.Received - wireBefore.Sent)), goals: when(i.asks(), atMost(200e3))},
		{at: at, what: "  of them messages, before TLS", unit: bytes, values: one((with.linkBytes("in") + with.linkBytes("out")) / with.took.Hours() / agents)},
		{at: at, what: "goroutines of the hub for an agent", unit: allocations, values: one(goroutines / agents)},
		{at: at, what: "hub resident, without its program", unit: memory, values: one(float64(after.resident))},
		{at: at, what: "hub resident for an agent, over the hub without", unit: memory, values: one((float64(after.resident) - float64(before.resident)) / agents), goals: when(i.asks(), atMost(100e3))},
		{at: at, what: "heap and stacks in use for an agent, resident or not", unit: memory, values: one((inUse(after) - inUse(before)) / agents)},
		{at: at, what: "  after a collection: spans of heap in use", unit: memory, values: one(perAgent("go_memstats_heap_inuse_bytes"))},
		{at: at, what: "  after a collection: stacks", unit: memory, values: one(perAgent("go_memstats_stack_inuse_bytes"))},
		{at: at, what: "allocated by the hub in a second, over the hub without", unit: memory, values: one(allocated(with) - allocated(without))},
		{at: at, what: "hub CPU over the hub without, of one processor", unit: share, values: one(float64(with.cpu)/float64(with.took) - float64(without.cpu)/float64(without.took)), goals: when(i.asks(), atMost(0.01))},
	}, nil
}

// join has all agents join and says what that took.
func (i *idle) join(ctx context.Context, h *herd) (spending, error) {
	before, err := h.meter.begin(ctx)
	if err != nil {
		return spending{}, err
	}
	if err := h.join(ctx, i.agents); err != nil {
		return spending{}, err
	}
	after, err := h.meter.end(ctx)
	return after.since(before), err
}

// stretch lets everything come to its end and then measures a stretch in which nothing happens. Its end has absolute values.
func (i *idle) stretch(ctx context.Context, h *herd) (spending, reading, error) {
	// What joining has left behind is no part of idling: Go gives memory back over a few minutes, and collects within two.
	if err := pause(ctx, min(i.long, 2*time.Minute)); err != nil {
		return spending{}, reading{}, err
	}
	before, err := h.meter.begin(ctx)
	if err != nil {
		return spending{}, reading{}, err
	}
	profiled := h.profile(ctx)
	if err := errors.Join(pause(ctx, i.long), profiled()); err != nil {
		return spending{}, reading{}, err
	}
	after, err := h.meter.end(ctx)
	return after.since(before), after, err
}
