// Package link is the agent's end of the stream to the hub. It alone dials the hub, tries again when that fails, and
// carries words between pkg/session and the parts that hold works, report on them and know the cluster.
//
// An attempt (attempt.go) is one connection and its conversation; the supervisor (supervisor.go) decides when the next
// one is due, and when none is.
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
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	linkv1 "windlass.dev/windlass/api/link/v1"
	"windlass.dev/windlass/pkg/session"
)

// Desired holds what the hub wants of this member. Safe for concurrent use: Put and Remove are called for many keys at
// once, never twice at once for one key. Both give up when the context is done.
type Desired interface {
	// Known are the works whose state is durable. Works that are being removed are left out.
	Known() []*linkv1.WorkRef
	// Put returns when the intent is durable in the member; the work is applied after that.
	Put(ctx context.Context, w *linkv1.Work) error
	// Remove returns when the removal is durable; when it has been carried out the report of the key says REMOVED with
	// the removal's UID. What is neither held nor being removed under this UID is answered with session.ErrNotHeld.
	Remove(ctx context.Context, r *linkv1.Removal) error
	// TakesAlong says whether a removal may delete more than its work's own objects. It does not wait for the member.
	TakesAlong(r *linkv1.Removal) bool
	// Burden counts what a removal takes along, no further than one more than most.
	Burden(ctx context.Context, r *linkv1.Removal, most int) session.Burden
}

// Reports knows the present state of every work. Safe for concurrent use.
type Reports interface {
	// Dirty is signalled when TakeDirty has something, and again when it has left something.
	Dirty() <-chan struct{}
	// TakeDirty returns at most so many keys whose report has changed since they were last taken.
	TakeDirty(most int) []string
	// Report returns the present report, nil when nothing is known of the key. It is not changed.
	Report(key string) *linkv1.Report
}

// Facts knows the member as a whole. Safe for concurrent use.
type Facts interface {
	// Dirty is signalled when Facts returns something else than before.
	Dirty() <-chan struct{}
	// Facts returns nil while nothing is known. What it returns is not changed.
	Facts() *linkv1.ClusterFacts
}

// Memory keeps what is remembered of the hub, and of the brake with it, durably in the member.
type Memory interface {
	Mark() session.Mark
	SetMark(ctx context.Context, m session.Mark) error
}

// Renewal keeps the agent's certificate young. Safe for concurrent use.
type Renewal interface {
	// RenewAt is when the present certificate is to be replaced.
	RenewAt() time.Time
	// Request makes a PKCS #10 request in DER for a new key, which stays in the member.
	Request() ([]byte, error)
	// Renewed stores the new key with its certificate chain in DER. The next connection uses them.
	Renewed(ctx context.Context, chain [][]byte) error
}

// A Status says how the agent stands with its hub.
type Status struct {
	// Connected since this time; zero when there is no session.
	Connected time.Time
	// Synchronised is true when the hub has told everything that it wants in this session.
	Synchronised bool
	// Problem of the last attempt, and when the next one is due.
	Problem string
	Next    time.Time
}

// Config is what the link needs. Everything without a stated default is required.
type Config struct {
	// Address of the hub's link, HOST:PORT.
	Address string
	// Dial opens a TCP connection, directly or through a proxy.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// TLS trusts the hub's authority only, shows the agent's certificate and speaks ALPN h2. It must ask for the
	// certificate at every handshake, so that a renewed one is used.
	TLS *tls.Config
	// Explain puts the failure of a connection into words; nil leaves it as it is.
	Explain func(err error, address string, presented []*x509.Certificate) error

	Desired Desired
	Reports Reports
	Facts   Facts
	Memory  Memory
	Renewal Renewal
	// Answer answers the hub's questions; nil when this agent knows none.
	Answer func(ctx context.Context, q *linkv1.Question) *linkv1.Answer
	// Grown is signalled when the hub is to be told that the member has more room than it was told; nil for never.
	Grown <-chan struct{}
	// ReportRecorded is told what the hub has in its store, so that the report of something removed may be forgotten.
	// It must not block. May be nil.
	ReportRecorded func(key, uid string, phase linkv1.Phase)
	// Changed is told when the status has changed. It must not block. May be nil.
	Changed func(Status)

	Version       string
	KubeSystemUID string
	Settings      session.Settings
	// Brake of this member. What it counts is kept with what is durable in the member.
	Brake   *session.Brake
	Backoff BackoffSettings
	// WriteTimeout ends a connection on which the hub has not read for so long. Default 30 s.
	WriteTimeout time.Duration
	// MaxMessageBytes is the largest message that is accepted. Default 4 MiB.
	MaxMessageBytes int
	// Registerer takes the metrics; nil means none.
	Registerer prometheus.Registerer
	// Logger; nil means slog.Default().
	Logger *slog.Logger
}

func (c *Config) validate() error {
	missing := func(name string) error { return fmt.Errorf("link: %s is not set", name) }
	switch {
	case c.Address == "":
		return missing("Address")
	case c.Dial == nil:
		return missing("Dial")
	case c.TLS == nil:
		return missing("TLS")
	case c.Desired == nil || c.Reports == nil || c.Facts == nil || c.Memory == nil || c.Renewal == nil || c.Brake == nil:
		return missing("one of Desired, Reports, Facts, Memory, Renewal and Brake")
	}
	if _, _, err := net.SplitHostPort(c.Address); err != nil {
		return fmt.Errorf("link: the hub's address %q is not HOST:PORT: %w", c.Address, err)
	}
	c.Settings, c.Backoff = c.Settings.WithDefaults(), c.Backoff.withDefaults()
	if err := errors.Join(c.Settings.Validate(), c.Backoff.validate()); err != nil {
		return fmt.Errorf("link: %w", err)
	}
	if c.WriteTimeout <= 0 {
		c.WriteTimeout = 30 * time.Second
	}
	if c.MaxMessageBytes <= 0 {
		c.MaxMessageBytes = 4 << 20
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return nil
}

// A Link keeps the agent connected. Run it once.
type Link struct {
	config  Config
	log     *slog.Logger
	metrics *metrics

	mu     sync.Mutex // guards status
	status Status

	// What outlives attempts; only one attempt runs at a time.
	mark       session.Mark
	unreported []string
	reported   session.Mark
}

// New checks the configuration and starts nothing.
func New(c Config) (*Link, error) {
	if err := c.validate(); err != nil {
		return nil, err
	}
	m, err := newMetrics(c.Registerer)
	if err != nil {
		return nil, fmt.Errorf("link: registering metrics: %w", err)
	}
	return &Link{config: c, log: c.Logger, metrics: m, mark: c.Memory.Mark()}, nil
}

// Run keeps the agent connected until the context is done, and then returns nil; or until trying again is of no use,
// and then returns a *Stopped.
func (l *Link) Run(ctx context.Context) error {
	s := supervisor{
		settings: l.config.Backoff, attempt: l.attempt, draw: rand.Float64,
		waiting: func(problem error, next time.Time) {
			l.log.Warn("Not connected to the hub; the member stays as it was last told.", "problem", problem, "nextAttempt", time.Until(next).Round(100*time.Millisecond))
			l.change(func(s *Status) { *s = Status{Problem: problem.Error(), Next: next} })
		},
	}
	return s.run(ctx)
}

// Status may be called from anywhere.
func (l *Link) Status() Status {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.status
}

func (l *Link) change(f func(*Status)) {
	l.mu.Lock()
	f(&l.status)
	status := l.status
	l.mu.Unlock()
	if status.Connected.IsZero() {
		l.metrics.connected.Set(0)
	} else {
		l.metrics.connected.Set(1)
	}
	if l.config.Changed != nil {
		l.config.Changed(status)
	}
}
