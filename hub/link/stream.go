package link

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"runtime/debug"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
	linkv1 "windlass.dev/windlass/api/link/v1"
	"windlass.dev/windlass/pkg/session"
)

// A stream is one session with one agent. One goroutine, run, owns the machine and everything that is not said to be
// shared; a second one only receives, and while there is something to send a third one sends.
type stream struct {
	server *Server
	rpc    linkv1.Link_SessionServer
	conn   net.Conn

	// Not written after construction.
	cluster, clusterID, address string
	presented                   *x509.Certificate
	entry                       *entry

	// Shared.
	done  chan struct{} // closed when the loop has ended: no event is taken in any more
	inbox chan event
	dirty dirtyKeys
	out   *outbox
	mu    sync.Mutex // guards info
	info  SessionInfo

	// Owned by run.
	machine     *session.Hub
	epoch       int64 // written once, before the stream is entered into members
	unsubscribe func()
	ended       *session.End
	questions   map[uint64]chan<- *linkv1.Answer
	lastAsked   uint64
	renewing    bool
}

// An event is something that happened elsewhere and concerns the machine.
type event func(m *session.Hub, now time.Time)

// eventsAtOnce is how many events are taken in before their effects are carried out, so that many small answers
// become one message.
const eventsAtOnce = 64

// Session serves one agent until the stream ends.
func (s *Server) Session(rpc linkv1.Link_SessionServer) error {
	select {
	case <-s.stopping:
		return status.Error(codes.Unavailable, "the hub is shutting down")
	default:
	}
	s.members.all.Add(1)
	defer s.members.all.Done()
	st, err := s.newStream(rpc)
	if err != nil {
		return s.refuse(rpc, err)
	}
	defer func() {
		if problem := recover(); problem != nil {
			// One member's session must not take the hub down.
			s.log.Error("A session broke down.", "cluster", st.cluster, "problem", fmt.Sprint(problem), "stack", string(debug.Stack()))
			_ = st.conn.Close()
		}
	}()
	return st.run(rpc.Context())
}

// refuse tells an agent in words it understands why it may not come in.
func (s *Server) refuse(rpc linkv1.Link_SessionServer, err error) error {
	refusal := refusalOf(err)
	s.log.Info("An agent was refused.", "error", err)
	s.metrics.ended.WithLabelValues(reasonLabel(refusal.Reason)).Inc()
	// The goodbye says everything. The status must not: an agent that reads only that one comes back later.
	_ = rpc.Send(&linkv1.FromHub{Message: &linkv1.FromHub_Goodbye{Goodbye: &linkv1.Goodbye{
		Reason: refusal.Reason, Message: refusal.Message, RetryAfter: durationpb.New(refusal.RetryAfter),
	}}})
	return status.Error(codes.Unavailable, refusal.Message)
}

// refusalOf is what an agent is told that was not recognised.
func refusalOf(err error) *Refusal {
	refusal := &Refusal{Reason: linkv1.GoodbyeReason_GOODBYE_REASON_REVOKED, Message: err.Error()}
	errors.As(err, &refusal)
	return refusal
}

// newStream finds out who is calling. Nothing that the agent says is used for that.
func (s *Server) newStream(rpc linkv1.Link_SessionServer) (*stream, error) {
	caller, ok := peer.FromContext(rpc.Context())
	if !ok {
		return nil, errors.New("the connection has no peer")
	}
	info, ok := caller.AuthInfo.(peerInfo)
	if !ok || len(info.State.VerifiedChains) == 0 {
		return nil, errors.New("the connection has no verified client certificate")
	}
	leaf := info.State.VerifiedChains[0][0]
	cluster, id, err := s.config.Authenticate(leaf)
	if err != nil {
		return nil, fmt.Errorf("authenticating %s: %w", caller.Addr, s.hearOut(rpc, leaf, err))
	}
	return s.streamOf(rpc, info.conn, leaf, cluster, id, caller.Addr.String()), nil
}

func (s *Server) streamOf(rpc linkv1.Link_SessionServer, conn net.Conn, leaf *x509.Certificate, cluster, id, address string) *stream {
	now := time.Now()
	st := &stream{
		server: s, rpc: rpc, conn: conn, cluster: cluster, clusterID: id, address: address, presented: leaf,
		done: make(chan struct{}), inbox: make(chan event), dirty: dirtyKeys{signal: make(chan struct{}, 1)},
		questions: map[uint64]chan<- *linkv1.Answer{},
		entry:     s.members.entry(cluster, id),
		info:      SessionInfo{Cluster: cluster, ClusterID: id, Address: address, State: session.Admit, Since: now},
	}
	// The window bounds works, the other families are a few messages each; an agent that does not read fills it.
	st.out = newOutbox(2*s.config.Settings.Window+64, st.send)
	st.machine = session.NewHub(session.HubConfig{
		Settings: s.config.Settings, Version: s.config.Version,
		Source: sourceOf{works: s.config.Works, cluster: cluster}, Brake: st.entry.brake,
	}, now)
	s.metrics.sessions.WithLabelValues(string(session.Admit)).Inc()
	return st
}

// recognise authenticates the agent once more. Since the stream was opened its identity may have been revoked or its
// cluster removed, and what it presented would not open one now.
func (st *stream) recognise() error {
	cluster, id, err := st.server.config.Authenticate(st.presented)
	switch {
	case err != nil:
		return refusalOf(fmt.Errorf("authenticating %s again: %w", st.address, err))
	case cluster != st.cluster || id != st.clusterID:
		return &Refusal{Reason: linkv1.GoodbyeReason_GOODBYE_REASON_BEGIN_ANEW, Message: fmt.Sprintf("this agent's cluster is called %s by now", cluster)}
	}
	return nil
}

// sourceOf is what the hub wants of one member.
type sourceOf struct {
	works   Works
	cluster string
}

func (s sourceOf) List() ([]session.Listed, int64) { return s.works.Keys(s.cluster) }

func (s sourceOf) Look(key string) (session.Item, bool) { return s.works.Get(s.cluster, key) }

// run serves the session until it is over.
func (st *stream) run(ctx context.Context) error {
	received := make(chan *linkv1.FromAgent, 8)
	broken := make(chan error, 1)
	go st.receive(received, broken)
	defer st.out.drop()
	st.talk(ctx, received, broken)
	if st.ended == nil {
		return nil
	}
	select {
	case <-st.out.finish(): // the goodbye is on its way
	case <-time.After(stopGrace):
	case <-ctx.Done():
	}
	return nil
}

// talk is converse and the session's end, however that comes about: were a session that has broken down to stay, its
// member would seem to be there, and whoever asks something of it would wait for ever.
func (st *stream) talk(ctx context.Context, received <-chan *linkv1.FromAgent, broken <-chan error) {
	why := "the session broke down in the hub"
	defer func() { st.close(why) }()
	why = st.converse(ctx, received, broken)
}

// converse is the loop. It returns why the session is over.
func (st *stream) converse(ctx context.Context, received <-chan *linkv1.FromAgent, broken <-chan error) string {
	timer := time.NewTimer(0)
	defer timer.Stop()
	var due time.Time
	stopping, certificateEnds := st.server.stopping, time.NewTimer(time.Until(st.presented.NotAfter))
	defer certificateEnds.Stop()
	for st.ended == nil {
		now := time.Now()
		// The timer is not moved for every message: it fires early, finds nothing to do and is set anew.
		if next := st.machine.Deadline(now); due.IsZero() || next.Before(due) {
			due = next
			timer.Reset(time.Until(due))
		}
		select {
		case m := <-received:
			st.take(m)
			st.takeMore(received)
		case e := <-st.inbox:
			e(st.machine, time.Now())
		case <-st.dirty.signal:
			st.machine.Dirty(st.dirty.take()...)
		case <-timer.C:
			due = time.Time{}
			st.machine.Tick(time.Now())
		case <-certificateEnds.C:
			st.machine.Close(linkv1.GoodbyeReason_GOODBYE_REASON_CERTIFICATE_EXPIRED, "the certificate of this connection has expired", 0)
		case <-stopping:
			stopping = nil
			st.machine.Close(linkv1.GoodbyeReason_GOODBYE_REASON_SHUTTING_DOWN, "the hub is shutting down", comeBack())
		case err := <-broken:
			st.drain(received)
			if st.ended == nil {
				return "the stream broke: " + err.Error()
			}
		case <-ctx.Done():
			return "the connection broke"
		}
		st.carryOut(st.machine.Ready(time.Now()))
	}
	return describeEnd(*st.ended)
}

// takeMore takes in what else has arrived, so that its answers go into one message.
func (st *stream) takeMore(received <-chan *linkv1.FromAgent) {
	for range eventsAtOnce {
		select {
		case m := <-received:
			st.take(m)
		case e := <-st.inbox:
			e(st.machine, time.Now())
		default:
			return
		}
	}
}

func (st *stream) take(m *linkv1.FromAgent) { st.machine.Receive(m, time.Now()) }

// drain takes in what the agent said before the stream broke: a goodbye, or the last reports.
func (st *stream) drain(received <-chan *linkv1.FromAgent) {
	for {
		select {
		case m := <-received:
			st.take(m)
			st.carryOut(st.machine.Ready(time.Now()))
		default:
			return
		}
	}
}

// receive turns Recv into a channel.
func (st *stream) receive(received chan<- *linkv1.FromAgent, broken chan<- error) {
	for {
		m, err := st.rpc.Recv()
		if err != nil {
			broken <- err
			return
		}
		st.server.metrics.count(familyFromAgent(m), directionIn, m)
		select {
		case received <- m:
		case <-st.done:
			return
		}
	}
}

// send writes a message that the loop has queued. An agent that does not read is cut: closing the connection ends everything.
func (st *stream) send(m *linkv1.FromHub) bool {
	limit := st.server.config.Limits.WriteTimeout
	cut := time.AfterFunc(limit, func() {
		st.server.log.Warn("A member was cut off: its agent does not read.", "cluster", st.cluster, "after", limit)
		st.server.metrics.ended.WithLabelValues(reasonLabel(linkv1.GoodbyeReason_GOODBYE_REASON_TOO_SLOW)).Inc()
		_ = st.conn.Close()
	})
	err := st.rpc.Send(m)
	cut.Stop()
	if err != nil {
		return false // Recv fails, too, and ends the session
	}
	st.server.metrics.count(familyFromHub(m), directionOut, m)
	return true
}

// post has an event taken in by the loop; false when the session is over.
func (st *stream) post(e event) bool {
	select {
	case st.inbox <- e:
		return true
	case <-st.done:
		return false
	}
}

// close forgets the session.
func (st *stream) close(why string) {
	close(st.done)
	if st.unsubscribe != nil {
		st.unsubscribe()
	}
	st.mu.Lock()
	st.info.Ended = why
	info := st.info
	st.mu.Unlock()
	st.server.metrics.sessions.WithLabelValues(string(info.State)).Dec()
	if st.epoch == 0 {
		return
	}
	if st.server.members.leave(st, info) && !st.server.isStopping() {
		st.server.recordPresence(st.cluster)
	}
	st.server.log.Info("A member's session has ended.", "cluster", st.cluster, "epoch", st.epoch, "why", info.Ended)
}

func (s *Server) isStopping() bool {
	select {
	case <-s.stopping:
		return true
	default:
		return false
	}
}

// describe may be called from anywhere.
func (st *stream) describe() SessionInfo {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.info
}

// expect prepares for the answer to a question that is about to be asked.
func (st *stream) expect(answer chan<- *linkv1.Answer) uint64 {
	st.lastAsked++
	st.questions[st.lastAsked] = answer
	return st.lastAsked
}

// dirtyKeys gathers keys from any goroutine, each once, for the loop. It never blocks.
type dirtyKeys struct {
	mu     sync.Mutex
	keys   map[string]struct{}
	order  []string
	signal chan struct{}
}

func (d *dirtyKeys) add(keys ...string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.keys == nil {
		d.keys = make(map[string]struct{}, len(keys))
	}
	for _, key := range keys {
		if _, there := d.keys[key]; !there {
			d.keys[key] = struct{}{}
			d.order = append(d.order, key)
		}
	}
	select {
	case d.signal <- struct{}{}:
	default:
	}
}

func (d *dirtyKeys) take() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	keys := d.order
	d.keys, d.order = nil, nil
	return keys
}
