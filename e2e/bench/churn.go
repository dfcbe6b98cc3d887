package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"sync"
	"time"

	"windlass.dev/windlass/e2e/simagent/control"
)

// churn measures a steady stream of changes.
type churn struct {
	agents, each int
	rate         float64
	long         time.Duration
}

func (c *churn) scenario() scenario {
	return scenario{
		name: "churn", what: "a steady stream of updates of ConfigMaps over simulated agents", takes: "7 minutes",
		flags: func(flags *flag.FlagSet) {
			countFlag(flags, &c.agents, "churn.agents", goalAgents, "how many agents, and how many objects; the goals are for a thousand")
			countFlag(flags, &c.each, "churn.each", 1, "to how many agents each object goes")
			rateFlag(flags, &c.rate, "churn.rate", churnRate, "how many updates a second; the goals are for a hundred")
			periodFlag(flags, &c.long, "churn.for", churnLong, "how long; the goals are for five minutes")
		},
		check:  c.check,
		run:    again(c.run),
		limits: "what a member takes to apply an object, for these agents keep it in memory",
		shares: true,
	}
}

// The goals are for such a stream.
const (
	churnRate = 100
	churnLong = 5 * time.Minute
)

func (c *churn) asks() bool {
	return c.agents >= goalAgents && c.rate >= churnRate && c.long >= churnLong
}

func (c *churn) updates() int { return int(c.rate * c.long.Seconds()) }

func (c *churn) check() error {
	switch {
	case c.each > c.agents:
		return fmt.Errorf("-churn.each: an object cannot go to %d of %d agents", c.each, c.agents)
	case c.updates() == 0:
		return fmt.Errorf("-churn.for: there is no update in %v at %v a second", c.long, c.rate)
	}
	return nil
}

func (c *churn) run(ctx context.Context, env *environment) (rows []row, err error) {
	h, err := env.herdOf(ctx, c.agents, 0)
	defer func() { env.leave(h, err) }()
	if err != nil {
		return nil, err
	}
	env.progress("making %d objects, each for %d agents", c.agents, c.each)
	if err := c.prepare(ctx, h); err != nil {
		return nil, err
	}
	env.progress("%v updates a second for %v", c.rate, c.long)
	before, err := h.state(ctx)
	if err != nil {
		return nil, err
	}
	cpuBefore, err := h.agentsCPU()
	if err != nil {
		return nil, err
	}
	updates := c.updates()
	var answers []float64
	spent, err := h.measured(ctx, func() (err error) {
		if answers, err = c.stream(ctx, h, updates); err != nil {
			return err
		}
		// Whatever was overtaken on its way comes no more: all have the newest when nothing comes.
		return h.quiet(ctx)
	})
	if err != nil {
		return nil, err
	}
	cpuAfter, err := h.agentsCPU()
	if err != nil {
		return nil, err
	}
	after, err := h.state(ctx)
	if err != nil {
		return nil, err
	}
	events, err := h.events(ctx)
	if err != nil {
		return nil, err
	}
	var delays []float64
	slow := map[int64]bool{} // the seconds in which something was sent that came late: one pause, or always
	for _, e := range events {
		if e.Gone || e.Sent == 0 {
			continue
		}
		delays = append(delays, float64(e.At-e.Sent))
		if e.At-e.Sent > int64(late) {
			slow[e.Sent/int64(time.Second)] = true
		}
	}
	came := float64(after.Puts - before.Puts)
	at := fmt.Sprintf("%v/s over %s agents", c.rate, grouped(int64(c.agents)))
	one := func(v float64) []float64 { return []float64{v} }
	rows = []row{
		{at: at, what: "updates", unit: count, values: one(float64(updates))},
		{at: at, what: "updates that failed", unit: count, values: one(float64(updates - len(answers))), goals: when(c.asks(), atMost(0))},
		{at: at, what: "deliveries; what is overtaken on its way is left out", unit: count, values: one(came)},
		{at: at, what: "changes of etcd for an update, without leases", unit: count, values: one(spent.unleased() / float64(updates))},
		{at: at, what: "messages for a delivery, both ways", unit: count, values: one((spent.messages("in", "works", "reports") + spent.messages("out", "works", "reports")) / came)},
		{at: at, what: "bytes for a delivery, both ways, before TLS", unit: bytes, values: one((spent.linkBytes("in", "works", "reports") + spent.linkBytes("out", "works", "reports")) / came)},
		{at: at, what: "allocations of the hub for an update", unit: allocations, values: one(spent.allocations() / float64(updates))},
		{at: at, what: "hub CPU for an update, over an idle hub", unit: cpu, values: one(float64(h.over(spent)) / float64(updates))},
		{at: at, what: "the simulated agents' own CPU for a delivery", unit: cpu, values: one(float64(cpuAfter-cpuBefore) / came)},
		{at: at, what: "the API server's answer, from the moment an update was due", unit: duration, values: answers, samples: true},
		{at: at, what: "an agent has it, from the moment an update was due", unit: duration, values: delays, samples: true, goals: when(c.asks(), []goal{{99, float64(late)}})},
		{at: at, what: fmt.Sprintf("seconds, of %.0f, with an update that took longer than %d ms", c.long.Seconds(), late.Milliseconds()), unit: count, values: one(float64(len(slow)))},
	}
	return rows, c.clear(ctx, h)
}

// clear takes the objects and their policies away again.
func (c *churn) clear(ctx context.Context, h *herd) error {
	h.env.progress("taking the objects away")
	if err := h.remove(ctx, configMaps, c.agents, churned); err != nil {
		return err
	}
	return many(ctx, c.agents, func(ctx context.Context, i int) error { return h.delete(ctx, policies, churned(i)) })
}

// late is how long an update may take, of 99 in 100.
const late = 100 * time.Millisecond

func churned(i int) string { return fmt.Sprintf("settings-%05d", i) }

// prepare makes one policy and one object for each agent, or each group of them.
func (c *churn) prepare(ctx context.Context, h *herd) error {
	err := many(ctx, c.agents, func(ctx context.Context, i int) error {
		var names []any
		for n := range c.each {
			names = append(names, fmt.Sprintf("sim-%05d", (i+n)%c.agents))
		}
		return h.policy(ctx, churned(i), "v1", "ConfigMap", map[string]any{"clusterAffinity": map[string]any{"clusterNames": names}})
	})
	if err != nil {
		return err
	}
	err = many(ctx, c.agents, func(ctx context.Context, i int) error {
		return h.create(ctx, configMaps, settings(churned(i), churned(i)))
	})
	if err != nil {
		return err
	}
	err = h.until(ctx, 10*time.Minute, func(s control.State) bool { return s.Works >= c.agents*c.each })
	if err != nil {
		return err
	}
	if err := h.rest(ctx, 10*time.Second); err != nil {
		return err
	}
	_, err = h.events(ctx)
	return err
}

// stream updates the objects in turn, each when it is due, whatever became of the ones before: nobody who waits for an
// answer slows the others down. It returns how long after that the answers came.
func (c *churn) stream(ctx context.Context, h *herd, updates int) ([]float64, error) {
	var (
		mutex    sync.Mutex
		answered []float64
		failures []error
		group    sync.WaitGroup
	)
	began := time.Now()
	for i := range updates {
		due := began.Add(time.Duration(float64(i) / c.rate * float64(time.Second)))
		if err := pause(ctx, time.Until(due)); err != nil {
			return nil, err
		}
		group.Go(func() {
			err := h.setSetting(ctx, churned(i%c.agents), due)
			mutex.Lock()
			defer mutex.Unlock()
			if err != nil {
				failures = append(failures, err)
				return
			}
			answered = append(answered, float64(time.Since(due)))
		})
	}
	group.Wait()
	if len(failures) > 0 {
		h.env.progress("%d of %d updates failed, such as: %v", len(failures), updates, failures[0])
	}
	return answered, nil
}

// quiet returns when nothing has come to any agent for two seconds.
func (h *herd) quiet(ctx context.Context) error {
	came, since := -1, time.Now()
	return poll(ctx, 2*time.Minute, 100*time.Millisecond, func() error {
		s, err := h.state(ctx)
		if err != nil {
			return err
		}
		if now := s.Puts + s.Removals; now != came {
			came, since = now, time.Now()
		}
		if time.Since(since) < 2*time.Second {
			return errors.New("something still comes to the agents")
		}
		return nil
	})
}
