package agent

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"windlass.dev/windlass/agent/apply"
	"windlass.dev/windlass/agent/dial"
	"windlass.dev/windlass/agent/enroll"
	"windlass.dev/windlass/agent/facts"
	"windlass.dev/windlass/agent/link"
	"windlass.dev/windlass/agent/observe"
	"windlass.dev/windlass/agent/state"
	"windlass.dev/windlass/pkg/session"
	"windlass.dev/windlass/pkg/version"
)

// parts are what the link carries words between.
type parts struct {
	store    *state.Store
	engine   *apply.Engine
	observer *observe.Observer
	facts    *facts.Facts
	enroller *enroll.Enroller
	who      *enroll.Identity
	uid      string // of the member's kube-system namespace
	brake    *session.Brake
}

// connect keeps the agent connected until ctx ends. When the hub does not accept the agent's
// identity any more it enrols anew if there is a token to do so, and stops otherwise. When the hub has
// no such cluster any more the same follows from a new start, before anything is enforced: an agent
// that is started again and again, as pods are, must not act for a hub that has let it go.
func (a *Agent) connect(ctx context.Context, p parts) error {
	a.standing.set("not yet connected to the hub at %s", a.config.Hub)
	connection, err := a.newLink(p)
	if err != nil {
		return err
	}
	err = connection.Run(ctx)
	var stopped *link.Stopped
	if !errors.As(err, &stopped) {
		return err
	}
	a.logger.Warn("The hub does not take this agent as it is.", "problem", stopped)
	if stopped.Verdict == link.Removed {
		if err := p.enroller.Removed(ctx, p.who, oneLine(stopped.Error())); err != nil {
			return fmt.Errorf("recording that the cluster was removed from the hub (%w): %w", stopped, err)
		}
		return errStartAgain
	}
	// The link's metrics and state belong to the identity it was made with, so the process begins
	// anew with what enrolment has left behind.
	if err := p.enroller.Refused(ctx, p.who, oneLine(stopped.Error())); err != nil {
		return fmt.Errorf("recording that the hub refused the agent (%w): %w", stopped, err)
	}
	if _, err := p.enroller.Identity(ctx); err != nil {
		return err
	}
	return errStartAgain
}

// errStartAgain is returned when the agent has a new identity, or none any more.
var errStartAgain = errors.New("the agent's identity has changed")

func (a *Agent) newLink(p parts) (*link.Link, error) {
	host, _, err := net.SplitHostPort(a.config.Hub)
	if err != nil {
		return nil, fmt.Errorf("--hub: %w", err)
	}
	papers := &papers{enroller: p.enroller, who: p.who}
	return link.New(link.Config{
		Address: a.config.Hub,
		Dial:    a.dialer.DialContext,
		TLS:     dial.LinkTLS(host, p.who.HubCA, papers.certificate, time.Now),
		Explain: dial.Explain,

		Desired: p.engine, Reports: p.observer, Facts: p.facts, Memory: p.store, Renewal: papers,
		Answer: p.facts.Answer, Grown: p.facts.Grown(),
		ReportRecorded: p.observer.Recorded,
		Changed:        a.linkChanged,

		Version: version.Version, KubeSystemUID: p.uid,
		Brake: p.brake,
		Backoff: link.BackoffSettings{
			Least: a.config.Link.MinBackoff.Duration, Most: a.config.Link.MaxBackoff.Duration, Stable: a.config.Link.StableAfter.Duration,
		},
		Registerer: a.registry, Logger: a.logger,
	})
}

// linkChanged keeps the line that /readyz shows.
func (a *Agent) linkChanged(status link.Status) {
	switch {
	case status.Connected.IsZero() && status.Problem != "":
		a.standing.set("not connected to the hub at %s: %s", a.config.Hub, oneLine(status.Problem))
	case status.Connected.IsZero():
		a.standing.set("not connected to the hub at %s", a.config.Hub)
	case !status.Synchronised:
		a.standing.set("connected to the hub, which has not yet told everything that it wants")
	default:
		a.standing.set("")
	}
}

// papers are the agent's present certificate and the way to the next.
type papers struct {
	enroller *enroll.Enroller

	mu  sync.Mutex
	who *enroll.Identity
}

func (p *papers) present() *enroll.Identity {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.who
}

func (p *papers) certificate() (*tls.Certificate, error) { return p.present().TLSCertificate(), nil }

// RenewAt is when the present certificate is to be replaced.
func (p *papers) RenewAt() time.Time { return p.present().RenewAt() }

// Request makes a request for a certificate for a new key.
func (p *papers) Request() ([]byte, error) { return p.enroller.RenewalRequest() }

// Renewed keeps the new certificate; the next connection shows it.
func (p *papers) Renewed(ctx context.Context, chain [][]byte) error {
	next, err := p.enroller.Renewed(ctx, chain)
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.who = next
	return nil
}
