package link

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	linkv1 "windlass.dev/windlass/api/link/v1"
	"windlass.dev/windlass/pkg/session"
)

// A conversation is the loop around one session. One goroutine, run, owns the machine and everything that is not said
// to be shared; a second one only receives, a third one only sends, and the member's slow answers come from others.
type conversation struct {
	link *Link
	rpc  linkv1.Link_SessionClient
	conn *observedConn

	// Shared.
	done  chan struct{} // closed when the loop has ended: no event is taken in any more
	gone  chan struct{} // closed when the stream is given up: nothing is sent any more
	inbox chan event
	out   chan *linkv1.FromAgent
	// working counts what was begun in the member and must end before the next session asks what is held.
	working sync.WaitGroup
	hands   chan struct{} // bounds how much is asked of the member at once

	// Owned by run.
	ctx      context.Context
	machine  *session.Agent
	welcomed time.Time
	ended    *session.End
	failed   error
	renewing bool
	renewAt  time.Time
}

// An event is something that happened elsewhere and concerns the machine.
type event func(m *session.Agent, now time.Time)

const (
	// eventsAtOnce is how many events are taken in before their effects are carried out, so that many small answers
	// become one message.
	eventsAtOnce = 64
	// mostHands is how many works and removals are made durable at once.
	mostHands = 256
	// farewell is how long a goodbye may take to be sent.
	farewell = 2 * time.Second
	// renewalRetry is the wait after a renewal that failed, if the hub names none.
	renewalRetry = 10 * time.Minute
)

func (l *Link) newConversation(rpc linkv1.Link_SessionClient, conn *observedConn) *conversation {
	known := l.config.Desired.Known()
	return &conversation{
		link: l, rpc: rpc, conn: conn,
		done: make(chan struct{}), gone: make(chan struct{}), inbox: make(chan event),
		out:   make(chan *linkv1.FromAgent, l.config.Settings.ReportWindow+2*l.config.Settings.Window+64),
		hands: make(chan struct{}, mostHands),
		machine: session.NewAgent(session.AgentConfig{
			Settings: l.config.Settings, Version: l.config.Version, KubeSystemUID: l.config.KubeSystemUID,
			Mark: l.mark.Raise(known), Holds: known, Report: l.config.Reports.Report, Unreported: l.unreported, Reported: l.reported,
			Brake: l.config.Brake, TakesAlong: l.config.Desired.TakesAlong, Jitter: rand.Float64,
		}, time.Now()),
		renewAt: l.config.Renewal.RenewAt(),
	}
}

// run converses until the session is over, and returns when nothing of it is left in the member.
func (c *conversation) run(ctx context.Context) outcome {
	ctx, cancel := context.WithCancel(ctx)
	c.ctx = ctx
	received := make(chan *linkv1.FromHub, 8)
	broken := make(chan error, 1)
	sent := make(chan struct{})
	go c.receive(received, broken)
	go c.send(sent)
	failure := c.converse(ctx, received, broken)
	close(c.done)
	if c.ended != nil {
		close(c.out)
		select {
		case <-sent:
			c.waitForPeer(broken)
		case <-time.After(farewell):
		}
	}
	close(c.gone)
	_ = c.conn.Close()
	cancel()
	c.working.Wait()
	c.link.reported = c.machine.Reported()
	var lasted time.Duration
	if !c.welcomed.IsZero() {
		lasted = time.Since(c.welcomed)
	}
	if c.ended != nil && c.failed == nil {
		return verdictOf(*c.ended, lasted)
	}
	return outcome{err: failure, lasted: lasted}
}

// waitForPeer gives the hub a moment to read our goodbye before the connection is closed under it.
func (c *conversation) waitForPeer(broken <-chan error) {
	_ = c.rpc.CloseSend()
	select {
	case <-broken:
	case <-time.After(farewell):
	}
}

// converse is the loop.
func (c *conversation) converse(ctx context.Context, received <-chan *linkv1.FromHub, broken chan error) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	c.machine.SetFacts(c.link.config.Facts.Facts())
	stopping := ctx.Done()
	for c.ended == nil {
		if c.settle(); c.ended != nil {
			break
		}
		timer.Reset(time.Until(c.deadline(time.Now())))
		var reports <-chan struct{}
		room := c.machine.ReportRoom()
		if room > 0 {
			reports = c.link.config.Reports.Dirty()
		}
		var grown <-chan struct{}
		if !c.welcomed.IsZero() {
			grown = c.link.config.Grown // what is signalled before the hub has let us in waits
		}
		select {
		case m := <-received:
			c.take(m)
			c.takeMore(received)
		case e := <-c.inbox:
			e(c.machine, time.Now())
			c.takeMore(received)
		case <-grown:
			c.machine.Tell(&linkv1.FromAgent{Message: &linkv1.FromAgent_Capacity{Capacity: &linkv1.CapacityGrown{}}})
		case <-reports:
			c.takeReports(room)
		case <-c.link.config.Facts.Dirty():
			c.machine.SetFacts(c.link.config.Facts.Facts())
		case <-timer.C:
			c.tick(time.Now())
		case err := <-broken:
			if c.drain(received); c.ended == nil {
				return fmt.Errorf("the stream to %s broke: %w", c.link.config.Address, err)
			}
			broken <- err // for waitForPeer; there is room, since nothing more is received
		case <-stopping:
			stopping = nil
			c.machine.Close(linkv1.GoodbyeReason_GOODBYE_REASON_SHUTTING_DOWN, "the agent is shutting down")
		}
	}
	return c.failed
}

// settle carries out effects until there are none: carrying one out may cause another.
func (c *conversation) settle() {
	for effects := c.machine.Ready(time.Now()); len(effects) > 0 && c.ended == nil; effects = c.machine.Ready(time.Now()) {
		c.carryOut(effects)
	}
}

// takeReports takes what the hub has room for.
func (c *conversation) takeReports(room int) {
	for room > 0 {
		keys := c.link.config.Reports.TakeDirty(room)
		if len(keys) == 0 {
			return
		}
		c.machine.ReportsDirty(keys...)
		room = c.machine.ReportRoom()
	}
}

func (c *conversation) deadline(now time.Time) time.Time {
	due := c.machine.Deadline(now)
	if !c.welcomed.IsZero() && !c.renewing && c.renewAt.Before(due) {
		due = c.renewAt
	}
	return due
}

func (c *conversation) tick(now time.Time) {
	c.machine.Tick(now)
	if c.welcomed.IsZero() || c.renewing || now.Before(c.renewAt) {
		return
	}
	request, err := c.link.config.Renewal.Request()
	if err != nil {
		c.link.log.Warn("A request for a new certificate could not be made; trying again later.", "error", err)
		c.renewAt = now.Add(renewalRetry)
		return
	}
	c.renewing = true
	c.machine.Tell(&linkv1.FromAgent{Message: &linkv1.FromAgent_Renewal{Renewal: &linkv1.RenewalRequest{CertificateRequest: request}}})
}

func (c *conversation) take(m *linkv1.FromHub) { c.machine.Receive(m, time.Now()) }

// takeMore takes in what else has arrived, so that its answers go into one message.
func (c *conversation) takeMore(received <-chan *linkv1.FromHub) {
	for range eventsAtOnce {
		select {
		case m := <-received:
			c.take(m)
		case e := <-c.inbox:
			e(c.machine, time.Now())
		default:
			return
		}
	}
}

// drain takes in what the hub said before the stream broke, above all why.
func (c *conversation) drain(received <-chan *linkv1.FromHub) {
	for {
		select {
		case m := <-received:
			c.take(m)
			c.settle()
		default:
			return
		}
	}
}

func (c *conversation) receive(received chan<- *linkv1.FromHub, broken chan<- error) {
	for {
		m, err := c.rpc.Recv()
		if err != nil {
			broken <- err
			return
		}
		c.link.metrics.received.WithLabelValues(familyFromHub(m)).Inc()
		select {
		case received <- m:
		case <-c.done:
			// The loop is over; go on reading so that the end of the stream is seen.
		}
	}
}

// send writes what the loop has queued. A hub that does not read is given up.
func (c *conversation) send(sent chan<- struct{}) {
	defer close(sent)
	for {
		var m *linkv1.FromAgent
		var more bool
		select {
		case m, more = <-c.out:
		case <-c.gone:
		}
		if !more {
			return
		}
		cut := time.AfterFunc(c.link.config.WriteTimeout, func() { _ = c.conn.Close() })
		err := c.rpc.Send(m)
		cut.Stop()
		if err != nil {
			return // Recv fails, too, and ends the session
		}
		c.link.metrics.sent.WithLabelValues(familyFromAgent(m)).Inc()
	}
}

// post has an event taken in by the loop, if there still is one.
func (c *conversation) post(e event) {
	select {
	case c.inbox <- e:
	case <-c.done:
	}
}

// carryOut does what the machine asks for. Nothing here waits.
func (c *conversation) carryOut(effects []session.AgentEffect) {
	for _, e := range effects {
		switch e := e.(type) {
		case session.SendToHub:
			select {
			case c.out <- e.Message:
			default:
				c.link.log.Warn("The connection is given up: the hub does not read.")
				_ = c.conn.Close()
			}
		case session.PutWork:
			c.work(e.Work.GetKey(), e.Sequence, func(ctx context.Context) error { return c.link.config.Desired.Put(ctx, e.Work) })
		case session.RemoveWork:
			c.work(e.Removal.GetKey(), e.Sequence, func(ctx context.Context) error { return c.link.config.Desired.Remove(ctx, e.Removal) })
		case session.WeighRemoval:
			c.weigh(e)
		case session.Remember:
			c.remember(e)
		case session.Welcomed:
			c.welcome(e.Welcome)
		case session.Synchronised:
			c.link.log.Info("The hub has told everything that it wants.", "works", e.Works)
			c.link.change(func(s *Status) { s.Synchronised = true })
		case session.ReportRecorded:
			if c.link.config.ReportRecorded != nil {
				c.link.config.ReportRecorded(e.Key, e.UID, e.Phase)
			}
		case session.Asked:
			c.answer(e.Question)
		case session.Renewed:
			c.renewed(e.Answer)
		case session.Remarked:
			c.link.log.Info(e.Message)
		case session.UnknownMessage:
			c.link.metrics.unknown.Inc()
		case session.Ended:
			c.ended = &e.End
		}
	}
}

func (c *conversation) welcome(w *linkv1.Welcome) {
	c.welcomed = time.Now()
	c.link.log.Info("The hub has let this agent in.", "hub", w.GetHubVersion(), "epoch", w.GetSessionEpoch(), "restore", w.GetRestore())
	c.link.change(func(s *Status) { *s = Status{Connected: c.welcomed} })
}

// work makes something durable in the member and tells the machine how that went.
func (c *conversation) work(key string, sequence uint64, do func(context.Context) error) {
	c.working.Add(1)
	go func() {
		defer c.working.Done()
		c.hands <- struct{}{}
		err := do(c.ctx)
		<-c.hands
		if err != nil && c.ctx.Err() == nil && !isNotHeld(err) {
			c.link.log.Warn("What the hub wants could not be made durable in the member; trying again.", "work", key, "error", err)
		}
		c.post(func(m *session.Agent, now time.Time) { m.Done(key, sequence, err, now) })
	}()
}

// weigh finds out what a removal takes along.
func (c *conversation) weigh(e session.WeighRemoval) {
	c.working.Add(1)
	go func() {
		defer c.working.Done()
		burden := c.link.config.Desired.Burden(c.ctx, e.Removal, e.Most)
		c.post(func(m *session.Agent, now time.Time) { m.Weighed(e.Removal.GetKey(), e.Sequence, burden, now) })
	}()
}

// remember keeps the mark and the brake. While the member's API is away that takes as long as it takes, and the hub has
// to hear meanwhile that it is; only when it can't be done at all does the session end.
func (c *conversation) remember(e session.Remember) {
	c.working.Add(1)
	go func() {
		defer c.working.Done()
		err := c.link.config.Memory.SetMark(c.ctx, e.Mark)
		switch {
		case err == nil && e.First:
			c.post(func(m *session.Agent, _ time.Time) { m.Remembered(e.Mark) })
		case err == nil || c.ctx.Err() != nil:
		case e.First:
			c.post(func(*session.Agent, time.Time) {
				c.failed = fmt.Errorf("remembering the hub's store, and what waits for a person, in the member: %w", err)
				c.ended = &session.End{Reason: linkv1.GoodbyeReason_GOODBYE_REASON_INTERNAL, Message: c.failed.Error()}
			})
		default:
			c.link.log.Warn("The hub's revision could not be remembered in the member.", "error", err)
		}
	}()
}

func (c *conversation) answer(q *linkv1.Question) {
	if c.link.config.Answer == nil {
		c.machine.Tell(&linkv1.FromAgent{Message: &linkv1.FromAgent_Answer{Answer: &linkv1.Answer{Id: q.GetId(), UnknownKind: true}}})
		return
	}
	c.working.Add(1)
	go func() {
		defer c.working.Done()
		a := c.link.config.Answer(c.ctx, q)
		if a == nil {
			a = &linkv1.Answer{UnknownKind: true}
		}
		a.Id = q.GetId()
		c.post(func(m *session.Agent, _ time.Time) {
			m.Tell(&linkv1.FromAgent{Message: &linkv1.FromAgent_Answer{Answer: a}})
		})
	}()
}

func (c *conversation) renewed(a *linkv1.RenewalAnswer) {
	if a.GetError() != "" || len(a.GetCertificates()) == 0 {
		wait := max(renewalRetry, a.GetRetryAfter().AsDuration())
		c.link.log.Warn("The hub has not renewed the certificate; trying again later.", "error", a.GetError(), "retryAfter", wait)
		c.renewing, c.renewAt = false, time.Now().Add(wait)
		return
	}
	c.working.Add(1)
	go func() {
		defer c.working.Done()
		err := c.link.config.Renewal.Renewed(c.ctx, a.GetCertificates())
		c.post(func(_ *session.Agent, now time.Time) {
			c.renewing, c.renewAt = false, c.link.config.Renewal.RenewAt()
			if err != nil {
				c.link.log.Warn("The renewed certificate could not be stored; trying again later.", "error", err)
				c.renewAt = now.Add(renewalRetry)
				return
			}
			c.link.log.Info("The agent's certificate was renewed.", "next", c.renewAt)
		})
	}()
}

// result names how the attempt went, for the metrics.
func (c *conversation) result() string {
	switch {
	case c.welcomed.IsZero():
		return "refused"
	case c.ended == nil:
		return "broken"
	default:
		return "ended"
	}
}
