package main

import (
	"context"
	"crypto/tls"
	"time"

	"windlass.dev/windlass/agent/enroll"
)

// papers are an agent's present certificate and the way to the next, as package agent has them.
type papers struct {
	enroller *enroll.Enroller
	agent    *agent
}

func (p *papers) present() *enroll.Identity {
	p.agent.mu.Lock()
	defer p.agent.mu.Unlock()
	return p.agent.who
}

func (p *papers) certificate() (*tls.Certificate, error) { return p.present().TLSCertificate(), nil }

// RenewAt is of link.Renewal.
func (p *papers) RenewAt() time.Time { return p.present().RenewAt() }

// Request is of link.Renewal.
func (p *papers) Request() ([]byte, error) { return p.enroller.RenewalRequest() }

// Renewed is of link.Renewal.
func (p *papers) Renewed(ctx context.Context, chain [][]byte) error {
	next, err := p.enroller.Renewed(ctx, chain)
	if err != nil {
		return err
	}
	p.agent.mu.Lock()
	defer p.agent.mu.Unlock()
	p.agent.who = next
	return nil
}
