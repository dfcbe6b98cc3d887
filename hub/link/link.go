// Package link is the hub's end of the stream to the agents. It alone listens on the link port, knows which members are
// connected, and carries words between pkg/session and the store; it decides nothing about works itself.
//
// One TLS 1.3 listener serves two protocols. ALPN h2 is gRPC and needs a certificate of the agent authority; ALPN
// http/1.1 goes to the handler for enrolment and needs none. Who an agent is stands in its certificate only.
package link

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"
	linkv1 "windlass.dev/windlass/api/link/v1"
	"windlass.dev/windlass/pkg/session"
)

// Works is what the hub wants of its members, read from memory. Safe for concurrent use.
type Works interface {
	// Sync returns when Keys and Get are not older than the store was when Sync was called.
	Sync(ctx context.Context, cluster string) error
	// Keys lists every work of the member in a new slice, and the store's revision that the list is not older than.
	Keys(cluster string) ([]session.Listed, int64)
	// Get returns one work; what it points to is only read.
	Get(cluster, key string) (session.Item, bool)
	// Subscribe calls dirty with every key that may have changed, until cancel. Dirty does not block.
	Subscribe(cluster string, dirty func(keys ...string)) (cancel func())
}

// Store tells how old the hub's store is. Safe for concurrent use.
type Store interface {
	// View is read linearizably: its revision is not older than the call. The id is that of the cluster whose agent asks:
	// another one may have had the name before.
	View(ctx context.Context, cluster, id string) (session.StoreView, error)
	// EnterRestore durably does what session.RestoreDetected says.
	EnterRestore(ctx context.Context, cluster, id string, e session.RestoreDetected) (session.StoreView, error)
	// LeaveRestore durably takes the member out of restore mode, if it is in it.
	LeaveRestore(ctx context.Context, cluster, id string) error
}

// Recorder writes down what agents say. Calls about one key of one member come one after another. An error has the
// call repeated with what is then the newest; what the store has no use for is no error. Safe for concurrent use.
type Recorder interface {
	// ClaimEpoch gives the session a number above every earlier one of the member, LastEpoch included, and records who
	// holds it. An error that is a *Refusal is told to the agent.
	ClaimEpoch(ctx context.Context, cluster string, c Claim) (int64, error)
	// Connected and Disconnected are called when a member's presence has changed; never for a session that another has
	// replaced meanwhile.
	Connected(ctx context.Context, cluster string, s SessionInfo) error
	Disconnected(ctx context.Context, cluster string, s SessionInfo) error
	// RecordReport returns a revision at which the store has the report; 0 when it has no use for it.
	RecordReport(ctx context.Context, cluster string, r *linkv1.Report) (revision int64, err error)
	// RemovalDone says that the member has carried out the removal of the work with this UID.
	RemovalDone(ctx context.Context, cluster, key, uid string) error
	RecordFacts(ctx context.Context, s SessionInfo, f *linkv1.ClusterFacts) error
	// RecordHold tells what waits for a person's confirmation; nothing any more when Held and Unknown are 0.
	RecordHold(ctx context.Context, s SessionInfo, h session.Hold) error
}

// Renewer signs a new certificate for an agent. Safe for concurrent use.
type Renewer interface {
	// Renew takes the certificate that the agent presented and a PKCS #10 request in DER, and returns the certificate
	// chain in DER, the agent's own first.
	Renew(ctx context.Context, presented *x509.Certificate, request []byte) ([][]byte, error)
}

// A Claim is what an agent that says hello tells of itself.
type Claim struct {
	ClusterID, AgentVersion, KubeSystemUID string
	// LastEpoch is the epoch of the last session that the agent knows of.
	LastEpoch int64
}

// A SessionInfo describes one session.
type SessionInfo struct {
	Cluster, ClusterID, AgentVersion, KubeSystemUID, Address string
	Epoch                                                    int64
	State                                                    session.State
	Since                                                    time.Time
	// Ended says why, when the session is over.
	Ended string
}

// A Refusal is an answer that is passed on to the agent.
type Refusal struct {
	Reason     linkv1.GoodbyeReason
	Message    string
	RetryAfter time.Duration
}

func (r *Refusal) Error() string { return r.Message }

// Limits bound what agents can cost the hub. The zero value of a field means its default.
type Limits struct {
	// HandshakeTimeout ends a connection that has not finished TLS, or HTTP/2's opening. Default 10 s.
	HandshakeTimeout time.Duration
	// Handshakes is how many may be under way at once; what comes on top is closed at once. Default 4096.
	Handshakes int
	// MaxMessageBytes is the largest message that is accepted. Default 4 MiB.
	MaxMessageBytes int
	// WriteTimeout cuts an agent that has not read for so long. Default 30 s.
	WriteTimeout time.Duration
	// Recorders is how many reports of works are being written to the store at once. Default 16.
	Recorders int
	// RecordTimeout bounds one write. Default 30 s.
	RecordTimeout time.Duration
}

func (l Limits) withDefaults() Limits {
	orDefault(&l.HandshakeTimeout, 10*time.Second)
	orDefault(&l.Handshakes, 4096)
	orDefault(&l.MaxMessageBytes, 4<<20)
	orDefault(&l.WriteTimeout, 30*time.Second)
	orDefault(&l.Recorders, 16)
	orDefault(&l.RecordTimeout, 30*time.Second)
	return l
}

func orDefault[T int | time.Duration](field *T, value T) {
	if *field <= 0 {
		*field = value
	}
}

// Config is what the link needs. Everything without a stated default is required.
type Config struct {
	// Listener accepts TCP connections; the link closes it.
	Listener net.Listener
	// Certificate gives the hub's serving certificate, for each handshake anew.
	Certificate func(*tls.ClientHelloInfo) (*tls.Certificate, error)
	// AgentCAs are the authorities of agents' certificates.
	AgentCAs *x509.CertPool
	// Enroll serves ALPN http/1.1.
	Enroll http.Handler
	// Authenticate tells whose certificate this is. An error that is a *Refusal is told to the agent; any other error
	// is told as a revoked identity. That the cluster was removed means no more than that the store does not have it: it is
	// told only to an agent that has seen nothing which the store lacks.
	Authenticate func(*x509.Certificate) (clusterName, clusterID string, err error)

	Works    Works
	Store    Store
	Recorder Recorder
	Renewer  Renewer

	// Version of the hub, for agents' logs.
	Version  string
	Settings session.Settings
	Brake    session.BrakeSettings
	// HeldBefore says of a cluster that this process has not seen yet whether deletions in it waited for a person. The id
	// tells it from others of its name. It must not block. nil means that none did.
	HeldBefore func(cluster, id string) bool
	// Rivals is told, once in an episode, that agents with the identity of one member throw each other out. It must not
	// block. nil means that nobody is.
	Rivals func(cluster, message string)
	// Grown is told that a member has more room than its agent's answers about capacity said. It must not block. nil
	// means that nobody wants to know.
	Grown  func(cluster string)
	Limits Limits
	// Registerer takes the metrics; nil means none.
	Registerer prometheus.Registerer
	// Logger; nil means slog.Default().
	Logger *slog.Logger
}

func (c *Config) validate() error {
	missing := func(name string) error { return fmt.Errorf("link: %s is not set", name) }
	switch {
	case c.Listener == nil:
		return missing("Listener")
	case c.Certificate == nil:
		return missing("Certificate")
	case c.AgentCAs == nil:
		return missing("AgentCAs")
	case c.Enroll == nil:
		return missing("Enroll")
	case c.Authenticate == nil:
		return missing("Authenticate")
	case c.Works == nil || c.Store == nil || c.Recorder == nil || c.Renewer == nil:
		return missing("one of Works, Store, Recorder and Renewer")
	}
	c.Settings, c.Brake, c.Limits = c.Settings.WithDefaults(), c.Brake.WithDefaults(), c.Limits.withDefaults()
	if err := c.Settings.Validate(); err != nil {
		return fmt.Errorf("link: %w", err)
	}
	if err := c.Brake.Validate(); err != nil {
		return fmt.Errorf("link: %w", err)
	}
	if c.HeldBefore == nil {
		c.HeldBefore = func(string, string) bool { return false }
	}
	if c.Rivals == nil {
		c.Rivals = func(string, string) {}
	}
	if c.Grown == nil {
		c.Grown = func(string) {}
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return nil
}

// A Server is the hub's end of every session. Its methods are safe for concurrent use.
type Server struct {
	linkv1.UnimplementedLinkServer

	config  Config
	log     *slog.Logger
	metrics *metrics
	// works are what goes to the store, and standings what is said of the members themselves: who is
	// connected must be known also while the store takes its time, or nothing at all.
	works, standings *recordQueue
	members          *members
	stopping         chan struct{} // closed when the hub shuts down
}

// New checks the configuration and starts nothing.
func New(c Config) (*Server, error) {
	if err := c.validate(); err != nil {
		return nil, err
	}
	m, err := newMetrics(c.Registerer)
	if err != nil {
		return nil, fmt.Errorf("link: registering metrics: %w", err)
	}
	s := &Server{config: c, log: c.Logger, metrics: m, stopping: make(chan struct{})}
	s.works = newRecordQueue(c.Limits.RecordTimeout, c.Logger)
	s.standings = newRecordQueue(c.Limits.RecordTimeout, c.Logger)
	s.members = newMembers(c.Brake, c.HeldBefore)
	return s, nil
}

// Run serves until the context is done. Then every agent is told to come back in a moment, and Run returns nil.
func (s *Server) Run(ctx context.Context) error {
	demux := newDemux(s.config.Listener, s.tlsConfig(), s.config.Limits, s.log)
	rpc := grpc.NewServer(s.grpcOptions()...)
	linkv1.RegisterLinkServer(rpc, s)
	enrol := &http.Server{
		Handler: s.config.Enroll, ReadHeaderTimeout: s.config.Limits.HandshakeTimeout, ReadTimeout: 30 * time.Second,
		WriteTimeout: 30 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10,
		ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
		Protocols: func() *http.Protocols {
			var only http.Protocols
			only.SetHTTP1(true)
			return &only
		}(),
	}

	// Writes to the store outlive the sessions by as long as it takes to stop.
	recording, stopRecording := context.WithCancel(context.WithoutCancel(ctx))
	defer stopRecording()
	tasks, ctx := errgroup.WithContext(ctx)
	tasks.Go(func() error { return demux.run(ctx) })
	tasks.Go(func() error { return ignore(enrol.Serve(demux.http), http.ErrServerClosed, net.ErrClosed) })
	tasks.Go(func() error { return ignore(rpc.Serve(demux.grpc), grpc.ErrServerStopped, net.ErrClosed) })
	tasks.Go(func() error { s.works.run(recording, s.config.Limits.Recorders); return nil })
	tasks.Go(func() error { s.standings.run(recording, standingRecorders); return nil })
	tasks.Go(func() error {
		<-ctx.Done()
		close(s.stopping)
		s.members.wait(stopGrace)
		stopGracefully(rpc)
		_ = enrol.Close()
		stopRecording()
		return nil
	})
	if err := tasks.Wait(); err != nil {
		return fmt.Errorf("serving the link: %w", err)
	}
	return nil
}

// standingRecorders is how many recordings of members' standing are under way at once. They are short.
const standingRecorders = 4

// stopGracefully lets gRPC write out the goodbyes that it has taken: Stop alone would close connections over them.
func stopGracefully(rpc *grpc.Server) {
	late := time.AfterFunc(stopGrace, rpc.Stop)
	defer late.Stop()
	rpc.GracefulStop()
}

// stopGrace is how long sessions have to say goodbye when the hub shuts down.
const stopGrace = 3 * time.Second

func ignore(err error, expected ...error) error {
	for _, e := range expected {
		if errors.Is(err, e) {
			return nil
		}
	}
	return err
}

// grpcOptions sets every limit by hand: gRPC's own defaults trust the peer.
func (s *Server) grpcOptions() []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.Creds(alreadyTLS{}),
		grpc.MaxConcurrentStreams(16),
		grpc.MaxHeaderListSize(16 << 10),
		grpc.ConnectionTimeout(s.config.Limits.HandshakeTimeout),
		grpc.MaxRecvMsgSize(s.config.Limits.MaxMessageBytes),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 10 * time.Second, PermitWithoutStream: true}),
		// The agent pings; the hub does so only to find connections on which nobody does.
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: 2 * time.Minute, Timeout: 20 * time.Second}),
		// A thousand idle agents must not cost a thousand buffers. TLS has one of its own to read from, a record at a time.
		grpc.ReadBufferSize(0),
		grpc.WriteBufferSize(4 << 10),
		grpc.SharedWriteBuffer(true),
		// With windows that it sizes itself, gRPC answers every message with a ping of its own to measure the path.
		grpc.StaticStreamWindowSize(receiveWindow),
		grpc.StaticConnWindowSize(receiveWindow),
	}
}

// receiveWindow bounds what an agent may have sent and the hub not read. An agent half a second away can send 512 KB/s.
const receiveWindow = 256 << 10

// ErrNotConnected is returned for a member that has no session with this process.
var ErrNotConnected = errors.New("the member is not connected to this hub process")

// Confirm releases the removals that a brake holds, if the hold still has this id, and returns how many they were.
func (s *Server) Confirm(ctx context.Context, cluster, id string) (int, error) {
	var released int
	err := s.within(ctx, cluster, func(m *session.Hub) (err error) { released, err = m.Confirm(id); return })
	return released, err
}

// Recognise looks at the member's identity again, because the store accepts another one by now: its session ends if it was
// begun with a certificate that is not accepted any more, and who has not said hello yet is authenticated again.
func (s *Server) Recognise(ctx context.Context, cluster string) error {
	st := s.members.replaceEntries(cluster)
	if st == nil {
		return nil
	}
	if err := st.recognise(); err != nil {
		s.log.Warn("A session ends: its certificate is not accepted any more.", "cluster", cluster, "address", st.address, "error", err)
		return end(ctx, st, refusalOf(err))
	}
	return nil
}

// Remove forgets a cluster that is on the hub no more, and tells its agent so if it is connected. The id is that of the
// cluster, empty for whichever has the name. Nothing is done to another one that has the name by now.
func (s *Server) Remove(ctx context.Context, cluster, id, message string) error {
	return end(ctx, s.members.forget(cluster, id), &Refusal{Reason: linkv1.GoodbyeReason_GOODBYE_REASON_CLUSTER_REMOVED, Message: message})
}

func end(ctx context.Context, st *stream, why *Refusal) error {
	return ignore(st.within(ctx, func(m *session.Hub) error { m.Close(why.Reason, why.Message, why.RetryAfter); return nil }), ErrNotConnected)
}

// within runs a function in the member's session loop.
func (s *Server) within(ctx context.Context, cluster string, f func(*session.Hub) error) error {
	return s.members.current(cluster).within(ctx, f)
}

// within runs a function in the loop of a session, nil for none.
func (st *stream) within(ctx context.Context, f func(*session.Hub) error) error {
	if st == nil {
		return ErrNotConnected
	}
	result := make(chan error, 1)
	if !st.post(func(m *session.Hub, _ time.Time) { result <- f(m) }) {
		return ErrNotConnected
	}
	select {
	case err := <-result:
		return err
	case <-st.done:
		return ErrNotConnected
	case <-ctx.Done():
		return ctx.Err()
	}
}

// ErrUnknownQuestion is returned when the agent is too old for a question.
var ErrUnknownQuestion = errors.New("its agent does not know this question; upgrade the agent")

// Ask puts a question to a member's agent and waits for the answer.
func (s *Server) Ask(ctx context.Context, cluster, kind string, body []byte) (*linkv1.Answer, error) {
	a, err := s.members.current(cluster).ask(ctx, kind, body)
	if err != nil && !errors.Is(err, ErrNotConnected) {
		return nil, fmt.Errorf("asking cluster %s for %s: %w", cluster, kind, err)
	}
	return a, err
}

// ask puts a question to the agent of one session, nil for none, and to no other: a session that takes its place meanwhile
// has a loop and questions of its own.
func (st *stream) ask(ctx context.Context, kind string, body []byte) (*linkv1.Answer, error) {
	answer := make(chan *linkv1.Answer, 1)
	var id uint64
	err := st.within(ctx, func(m *session.Hub) error {
		id = st.expect(answer)
		m.Tell(&linkv1.FromHub{Message: &linkv1.FromHub_Question{Question: &linkv1.Question{Id: id, Kind: kind, Body: body}}})
		return nil
	})
	if err != nil {
		return nil, err
	}
	defer st.post(func(*session.Hub, time.Time) { delete(st.questions, id) })
	select {
	case a := <-answer:
		if a.GetUnknownKind() {
			return nil, ErrUnknownQuestion
		}
		if a.GetError() != "" {
			return nil, errors.New(a.GetError())
		}
		return a, nil
	case <-st.done:
		return nil, ErrNotConnected
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// comeBack draws when an agent shall come back, so that not all of them come at once.
func comeBack() time.Duration {
	return time.Second + rand.N(4*time.Second)
}
