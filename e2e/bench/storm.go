package main

import (
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"net"
	"slices"
	"time"

	"windlass.dev/windlass/e2e/simagent/control"
)

// storm measures a hub that is killed and comes back, under all its agents.
type storm struct{ agents, works, meanwhile int }

func (s *storm) scenario() scenario {
	return scenario{
		name: "storm", what: "the hub is killed and restarted under simulated agents that hold works", takes: "12 minutes",
		flags: func(flags *flag.FlagSet) {
			countFlag(flags, &s.agents, "storm.agents", goalAgents, "how many agents; the goals are for a thousand")
			countFlag(flags, &s.works, "storm.works", stormWorks, "how many works each of them has; the goals are for a hundred")
			countFlag(flags, &s.meanwhile, "storm.meanwhile", stormMeanwhile, "to how many agents the new objects go that are made meanwhile; a power of ten")
		},
		check:  s.check,
		run:    s.run,
		limits: "a network between hub and agents, and that agents of many clusters have processors of their own for their handshakes",
		shares: true,
	}
}

// The goals are for such a storm.
const stormWorks, stormMeanwhile = 100, 10

func (s *storm) asks() bool {
	return s.agents >= goalAgents && s.works >= stormWorks && s.meanwhile >= stormMeanwhile
}

func (s *storm) check() error {
	if s.meanwhile < s.agents && !isPowerOfTen(s.meanwhile) {
		return fmt.Errorf("-storm.meanwhile is %d: want a power of ten, or as many as there are agents", s.meanwhile)
	}
	return nil
}

func (s *storm) run(ctx context.Context, env *environment) (rows []row, err error) {
	h, err := env.herdOf(ctx, s.agents, s.works)
	defer func() { env.leave(h, err) }()
	if err != nil {
		return nil, err
	}
	if err := h.policy(ctx, meanwhile, "v1", "ConfigMap", h.toFirst(min(s.meanwhile, s.agents))); err != nil {
		return nil, err
	}
	var t stormTable
	for run := range env.runs {
		// An agent whose session was short comes back more slowly: the storm is one after a quiet time, as most are.
		quiet := time.Until(h.since.Add(stableAfter))
		env.progress("a quiet time of %.0f s before run %d of %d", max(0, quiet.Seconds()), run+1, env.runs)
		if err := pause(ctx, quiet); err != nil {
			return nil, err
		}
		if err := s.once(ctx, h, run, &t); err != nil {
			return t.rows(s), fmt.Errorf("run %d: %w", run+1, err)
		}
	}
	return t.rows(s), h.delete(ctx, policies, meanwhile)
}

// meanwhile is the group of the objects that are made while the agents come back.
const meanwhile = "meanwhile"

// stableAfter is how long a session of an agent lasts until its next end counts as the first: the agent's own default.
const stableAfter = 2*time.Minute + time.Second

// stormTable has one value for each run; but delays, of new objects, one for each delivery.
type stormTable struct {
	works, bindings, clusters, leases, rest, received, sent, cpu, agentCPU, apiReady, linkReady, half, most, last, delays []float64
	// again are the bindings that stood before and were written.
	again []float64
	// others are what the rest is made up of.
	others breakdowns
}

// count takes in what was written while so many works were made anew.
func (t *stormTable) count(all spending, newWorks float64) {
	written := all.byResource("create", "update", "delete")
	take := func(resource string) float64 {
		defer delete(written, resource)
		return written[resource]
	}
	t.works = append(t.works, take(works.Resource)-2*newWorks) // a create and a status for each
	t.bindings = append(t.bindings, take(bindings.Resource))
	t.clusters = append(t.clusters, take(memberClusters.Resource))
	t.leases = append(t.leases, take("leases"))
	rest := 0.0
	for _, writes := range written {
		rest += writes
	}
	t.rest, t.others = append(t.rest, rest), append(t.others, written)
}

func (s *storm) once(ctx context.Context, h *herd, run int, t *stormTable) error {
	stood, err := h.versions(ctx, bindings)
	if err != nil {
		return err
	}
	before, err := h.state(ctx)
	if err != nil {
		return err
	}
	agentsBefore, err := h.agentsCPU()
	if err != nil {
		return err
	}
	if _, err := h.events(ctx); err != nil {
		return err
	}
	if err := h.hub.Kill(); err != nil {
		return err
	}
	began := time.Now()
	if err := h.hub.Launch(); err != nil {
		return err
	}
	link := make(chan time.Time, 1)
	go func() { link <- linkServes(ctx, h.hub.LinkAddress()) }()
	if err := h.hub.WaitReady(ctx); err != nil {
		return err
	}
	// Both answers wait for their turn among those to the agents: the link was ready when the first of them came.
	ready := time.Now()
	profiled := h.profile(ctx)
	t.apiReady = append(t.apiReady, float64(ready.Sub(began)))
	linkReady := <-link
	if ready.Before(linkReady) {
		linkReady = ready
	}
	t.linkReady = append(t.linkReady, float64(linkReady.Sub(began)))
	made, err := s.comeBack(ctx, h, run, linkReady, t)
	if err != nil {
		return errors.Join(err, profiled())
	}
	if err := errors.Join(h.quiet(ctx), profiled()); err != nil {
		return err
	}
	after, err := h.state(ctx)
	if err != nil {
		return err
	}
	agentsAfter, err := h.agentsCPU()
	if err != nil {
		return err
	}
	// The counters of the hub began with its process: all that it has spent since is of the storm, and of its start.
	spent, err := h.meter.end(ctx)
	if err != nil {
		return err
	}
	now, err := h.versions(ctx, bindings)
	if err != nil {
		return err
	}
	again := 0
	for name, version := range stood {
		if now[name] != version {
			again++
		}
	}
	t.again = append(t.again, float64(again))
	all := spending{cpu: spent.cpu, counters: spent.counters}
	each := float64(min(s.meanwhile, s.agents))
	t.count(all, float64(made)*each)
	t.received = append(t.received, float64(after.Received-before.Received)/float64(s.agents))
	t.sent = append(t.sent, float64(after.Sent-before.Sent)/float64(s.agents))
	t.cpu = append(t.cpu, float64(spent.cpu))
	t.agentCPU = append(t.agentCPU, float64(agentsAfter-agentsBefore)/float64(s.agents))
	return s.delays(ctx, h, t)
}

// linkServes returns when a handshake on the link succeeds.
func linkServes(ctx context.Context, address string) time.Time {
	d := tls.Dialer{
		NetDialer: &net.Dialer{Timeout: time.Second},
		// Nothing is said over this connection: what is asked is whether anybody answers.
		Config: &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}},
	}
	for ctx.Err() == nil {
		attempt, cancel := context.WithTimeout(ctx, time.Second)
		connection, err := d.DialContext(attempt, "tcp", address)
		cancel()
		if err == nil {
			_ = connection.Close()
			break
		}
		_ = pause(ctx, 10*time.Millisecond)
	}
	return time.Now()
}

// comeBack waits until all agents are in sync with the new hub, and makes new objects meanwhile: it says how many.
func (s *storm) comeBack(ctx context.Context, h *herd, run int, linkReady time.Time, t *stormTable) (made int, err error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	for {
		if err := h.create(ctx, configMaps, settings(fmt.Sprintf("new-%d-%d", run, made), meanwhile)); err != nil {
			return made, err
		}
		made++
		var at []int64
		for _, client := range h.clients {
			some, err := client.Synchronised(ctx)
			if err != nil {
				return made, err
			}
			at = append(at, some...)
		}
		at = slices.DeleteFunc(at, func(one int64) bool { return one < linkReady.UnixNano()-int64(time.Second) })
		if len(at) == s.agents {
			slices.Sort(at)
			after := func(part float64) float64 {
				return max(0, float64(at[int(part*float64(len(at)-1))]-linkReady.UnixNano()))
			}
			t.half, t.most, t.last = append(t.half, after(0.5)), append(t.most, after(0.99)), append(t.last, after(1))
			h.since = time.Now()
			break
		}
		if err := pause(ctx, 250*time.Millisecond); err != nil {
			return made, errors.Join(fmt.Errorf("%d of %d agents are in sync again", len(at), s.agents), err)
		}
	}
	return made, h.until(ctx, time.Minute, func(now control.State) bool { return now.Works >= s.agents*s.works+made*min(s.meanwhile, s.agents) })
}

// delays takes how long the new objects took, and takes the objects away again.
func (s *storm) delays(ctx context.Context, h *herd, t *stormTable) error {
	events, err := h.events(ctx)
	if err != nil {
		return err
	}
	names := map[string]bool{}
	for _, e := range events {
		if !e.Gone && e.Sent > 0 {
			t.delays = append(t.delays, float64(e.At-e.Sent))
		}
	}
	list, err := h.list(ctx, configMaps, groupLabel+"="+meanwhile)
	if err != nil {
		return err
	}
	for _, name := range list {
		names[name] = true
	}
	for name := range names {
		if err := h.delete(ctx, configMaps, name); err != nil {
			return err
		}
	}
	return h.until(ctx, time.Minute, func(now control.State) bool { return now.Works <= s.agents*s.works })
}

func (t *stormTable) rows(s *storm) []row {
	at := fmt.Sprintf("%s agents, %s works each", grouped(int64(s.agents)), grouped(int64(s.works)))
	rows := []row{
		{at: at, what: "etcd writes of works, without new ones", unit: count, values: t.works, goals: when(s.asks(), atMost(0))},
		{at: at, what: "etcd writes of bindings, those of the new objects", unit: count, values: t.bindings},
		{at: at, what: "bindings that stood before and were written", unit: count, values: t.again, goals: when(s.asks(), atMost(0))},
		{at: at, what: "etcd writes of clusters", unit: count, values: t.clusters, goals: when(s.asks(), atMost(0))},
		{at: at, what: "etcd writes of leases", unit: count, values: t.leases},
		{at: at, what: "etcd writes of all else, the new objects' own included", unit: count, values: t.rest},
	}
	rows = append(rows, t.others.rows(at)...)
	return append(rows, []row{
		{at: at, what: "bytes to an agent, on the wire", unit: bytes, values: t.received},
		{at: at, what: "bytes from an agent, on the wire", unit: bytes, values: t.sent},
		{at: at, what: "hub CPU, its start included", unit: cpu, values: t.cpu},
		{at: at, what: "a simulated agent's own CPU", unit: cpu, values: t.agentCPU},
		{at: at, what: "start of the hub until its API is ready", unit: duration, values: t.apiReady},
		{at: at, what: "start of the hub until its link is ready", unit: duration, values: t.linkReady},
		{at: at, what: "half of the agents are in sync, from then on", unit: duration, values: t.half},
		{at: at, what: "99 % of the agents are in sync", unit: duration, values: t.most},
		{at: at, what: "all agents are in sync", unit: duration, values: t.last, goals: when(s.asks(), atMost(float64(3*time.Second)))},
		{at: at, what: "a new object that is made meanwhile is in an agent", unit: duration, values: t.delays, samples: true},
	}...)
}
