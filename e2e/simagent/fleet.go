package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"windlass.dev/windlass/agent/dial"
	"windlass.dev/windlass/agent/enroll"
	"windlass.dev/windlass/agent/link"
	"windlass.dev/windlass/e2e/simagent/control"
	"windlass.dev/windlass/pkg/session"
	"windlass.dev/windlass/pkg/version"
)

// A fleet is all agents of this process.
type fleet struct {
	options *options
	log     *slog.Logger
	dialer  *dial.Dialer
	facts   facts
	agents  []*agent

	puts, removals, joined atomic.Int64
	received, sent         atomic.Int64

	mu     sync.Mutex
	events []control.Event
}

// An agent is one of them.
type agent struct {
	name   string
	number int
	member *member

	mu           sync.Mutex
	who          *enroll.Identity
	status       link.Status
	synchronised time.Time
}

func newFleet(o *options, log *slog.Logger) (*fleet, error) {
	dialer, err := dial.New(dial.Config{})
	if err != nil {
		return nil, err
	}
	f := &fleet{options: o, log: log, dialer: dialer, facts: newFacts()}
	for i := range o.agents {
		a := &agent{number: o.first + i}
		a.name = fmt.Sprintf("sim-%05d", a.number)
		a.member = newMember(&f.options.script, func(key string, gone bool, manifests [][]byte) { f.came(a, key, gone, manifests) })
		f.agents = append(f.agents, a)
	}
	return f, nil
}

// joinsAtOnce is how many agents enrol at the same time.
const joinsAtOnce = 8

// run joins all agents and keeps them connected until ctx ends, or one fails for good.
func (f *fleet) run(ctx context.Context) error {
	tokens, err := newTokenMaker(ctx, f.options.kubeconfig)
	if err != nil {
		return err
	}
	way, err := newRoad(f.options.hub)
	if err != nil {
		return err
	}
	all, ctx := errgroup.WithContext(ctx)
	all.Go(func() error { way.run(ctx); return nil })
	joins := make(chan struct{}, joinsAtOnce)
	for _, a := range f.agents {
		all.Go(func() error {
			joins <- struct{}{}
			enroller, err := f.join(ctx, a, tokens, way)
			<-joins
			if err != nil {
				return fmt.Errorf("joining %s: %w", a.name, err)
			}
			f.joined.Add(1)
			return f.connect(ctx, a, enroller)
		})
	}
	if err := all.Wait(); err != nil && ctx.Err() == nil {
		return err
	}
	return nil
}

func (f *fleet) join(ctx context.Context, a *agent, tokens *tokenMaker, way *road) (*enroll.Enroller, error) {
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	token, err := tokens.make(ctx, a.name)
	if err != nil {
		return nil, err
	}
	enroller, err := enroll.New(enroll.Config{
		Hub: way.address(), ClusterName: a.name, KubeSystemUID: a.uid(), Labels: f.labels(a),
		Provider: "simulated", Region: fmt.Sprintf("region-%d", a.number%4), Zones: []string{fmt.Sprintf("zone-%d-%d", a.number%4, a.number/4%3)},
		AgentVersion: version.Version, Token: enroll.TokenSource{Getenv: func(name string) string {
			if name == enroll.TokenVariable {
				return token
			}
			return ""
		}},
		Store: &identityStore{}, Dialer: f.dialer, Log: f.log, Waiting: a.trouble,
	})
	if err != nil {
		return nil, err
	}
	a.who, err = enroller.Identity(ctx)
	return enroller, err
}

// uid is that of the namespace kube-system, by which clusters are told apart.
func (a *agent) uid() string { return fmt.Sprintf("00000000-0000-4000-8000-%012x", a.number+1) }

// labels say of a cluster whether it is among the first 1, 10, 100 … of the fleet, so that policies can choose so many.
func (f *fleet) labels(a *agent) map[string]string {
	labels := map[string]string{"simulated": "yes"}
	for size := 1; size < f.options.fleet; size *= 10 {
		if a.number < size {
			labels[fmt.Sprintf("first-%d", size)] = "yes"
		}
	}
	return labels
}

func (f *fleet) connect(ctx context.Context, a *agent, enroller *enroll.Enroller) error {
	host, _, err := net.SplitHostPort(f.options.hub)
	if err != nil {
		return fmt.Errorf("--hub: %w", err)
	}
	papers := &papers{enroller: enroller, agent: a}
	connection, err := link.New(link.Config{
		Address: f.options.hub, Dial: f.dial, TLS: dial.LinkTLS(host, a.who.HubCA, papers.certificate, time.Now), Explain: dial.Explain,
		Desired: a.member, Reports: a.member, Memory: a.member, Facts: f.facts, Renewal: papers, Answer: answer,
		ReportRecorded: a.member.recorded, Changed: a.changed,
		Version: version.Version, KubeSystemUID: a.uid(), Brake: session.NewBrake(session.BrakeSettings{}), Logger: f.log,
	})
	if err != nil {
		return err
	}
	return connection.Run(ctx)
}

// dial counts what goes over the connection.
func (f *fleet) dial(ctx context.Context, network, address string) (net.Conn, error) {
	connection, err := f.dialer.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return &countingConn{connection, f}, nil
}

// A countingConn counts bytes as they go over the wire.
type countingConn struct {
	net.Conn
	fleet *fleet
}

func (c *countingConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.fleet.received.Add(int64(n))
	return n, err
}

func (c *countingConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.fleet.sent.Add(int64(n))
	return n, err
}

// changed is told how the agent stands with its hub.
func (a *agent) changed(s link.Status) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if s.Synchronised && !a.status.Synchronised {
		a.synchronised = time.Now()
	}
	a.status = s
}

func (a *agent) trouble(problem error) { a.changed(link.Status{Problem: problem.Error()}) }

// came notes what came to an agent.
func (f *fleet) came(a *agent, key string, gone bool, manifests [][]byte) {
	e := control.Event{Cluster: a.name, Key: key, Gone: gone, At: time.Now().UnixNano()}
	if gone {
		f.removals.Add(1)
	} else {
		f.puts.Add(1)
	}
	if len(manifests) > 0 {
		e.Sent = control.SentAt(manifests[0])
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.events = append(f.events, e)
}

// State is of control.Agents.
func (f *fleet) State() control.State {
	s := control.State{
		Agents: len(f.agents), Joined: int(f.joined.Load()), Puts: int(f.puts.Load()), Removals: int(f.removals.Load()),
		Received: f.received.Load(), Sent: f.sent.Load(),
	}
	for _, a := range f.agents {
		s.Works += a.member.count()
		a.mu.Lock()
		if !a.status.Connected.IsZero() {
			s.Connected++
		}
		if a.status.Synchronised {
			s.Synchronised++
		}
		if a.status.Problem != "" {
			s.Problem = a.name + ": " + a.status.Problem
		}
		a.mu.Unlock()
	}
	return s
}

// Events is of control.Agents.
func (f *fleet) Events() []control.Event {
	f.mu.Lock()
	defer f.mu.Unlock()
	events := f.events
	f.events = nil
	return events
}

// Synchronised is of control.Agents.
func (f *fleet) Synchronised() []int64 {
	var at []int64
	for _, a := range f.agents {
		a.mu.Lock()
		if a.status.Synchronised {
			at = append(at, a.synchronised.UnixNano())
		}
		a.mu.Unlock()
	}
	return at
}

// SetReady is of control.Agents.
func (f *fleet) SetReady(replicas int) {
	f.options.script.ready.Store(int64(max(-1, replicas)) + 1)
	for _, a := range f.agents {
		a.member.touch()
	}
}
