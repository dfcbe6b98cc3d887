// Package enroll alone is responsible for who the agent is: its first join with a token, its key and
// certificate and where they are kept, their renewal, and what has to be done when they are worth
// nothing any more. The key is made here and never leaves the member.
package enroll

import (
	"context"
	"crypto/ecdsa"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"windlass.dev/windlass/agent/dial"
	"windlass.dev/windlass/pkg/identity"
)

// Config is what an Enroller needs.
type Config struct {
	// Hub is HOST:PORT of the hub's link.
	Hub string
	// ClusterName is the name that the cluster shall have. Empty: the one that the token is bound to,
	// or that the identity already has.
	ClusterName string
	// KubeSystemUID tells this cluster from others; see KubeSystemUID.
	KubeSystemUID string
	// Labels, Provider, Region and Zones describe the cluster when the join makes it known to the hub.
	Labels           map[string]string
	Provider, Region string
	Zones            []string
	AgentVersion     string

	// Forget is called before a cluster that was removed from the hub joins anew: what it holds of its
	// former membership is not to be compared with what the hub wants of the new one, which is nothing
	// at first, or all of it would be removed. nil means that nothing is held.
	Forget func(ctx context.Context) error
	// Waiting is told why an attempt to enrol has failed that is made again. nil means that nobody is.
	Waiting func(problem error)

	Token  TokenSource
	Store  Store
	Dialer *dial.Dialer
	// Log is told about attempts and warnings; nil means slog.Default().
	Log *slog.Logger
	// Registerer gets the metrics; nil means that nobody does.
	Registerer prometheus.Registerer
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// MinWait and MaxWait bound the pause between two attempts to enrol; 0 means 1 s and 30 s.
	MinWait, MaxWait time.Duration
}

// Enroller keeps the agent's identity. It is safe for concurrent use.
type Enroller struct {
	Config
	expiry prometheus.Gauge

	mu sync.Mutex
	// renewal is the key of the last RenewalRequest; guarded by mu. It is not stored: when the
	// agent restarts before the answer, it asks again with another key.
	renewal *ecdsa.PrivateKey
	// kept is what the store held when the identity was last read or written; guarded by mu.
	kept Stored
}

// New makes an Enroller. It starts nothing.
func New(c Config) (*Enroller, error) {
	switch {
	case c.Hub == "":
		return nil, errors.New("--hub is not set: it is HOST:PORT of the hub's link")
	case c.Store == nil, c.Dialer == nil:
		return nil, errors.New("enrolment needs a store and a dialer")
	case c.KubeSystemUID == "":
		return nil, errors.New("enrolment needs the UID of the namespace kube-system")
	}
	if c.ClusterName != "" {
		if err := identity.ValidateClusterName(c.ClusterName); err != nil {
			return nil, fmt.Errorf("--cluster-name: %w", err)
		}
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Forget == nil {
		c.Forget = func(context.Context) error { return nil }
	}
	if c.Waiting == nil {
		c.Waiting = func(error) {}
	}
	if c.MinWait == 0 {
		c.MinWait = time.Second
	}
	if c.MaxWait == 0 {
		c.MaxWait = 30 * time.Second
	}
	e := &Enroller{Config: c, expiry: prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "windlass_agent_certificate_expiration_timestamp_seconds",
		Help: "When the agent's certificate ends, in seconds since 1970.",
	})}
	if c.Registerer != nil {
		if err := c.Registerer.Register(e.expiry); err != nil {
			return nil, fmt.Errorf("registering the metrics of the agent's identity: %w", err)
		}
	}
	return e, nil
}

// StopError says that the agent cannot go on until a person has done something. Its message is one
// line and says what.
type StopError struct {
	// Code is the hub's, when it was the hub that refused.
	Code    identity.Code
	message string
}

// Error says what has to be done.
func (e *StopError) Error() string { return e.message }

func stop(format string, values ...any) *StopError {
	return &StopError{message: fmt.Sprintf(format, values...)}
}

// Identity returns the agent's identity: the stored one, or a new one for which it enrols, trying as
// long as that may help. A *StopError means that a person has to act; any other error is one of the
// store or of ctx, and the call may be repeated. With a valid identity no connection is made, so a
// hub that is away does not keep an agent from its work.
func (e *Enroller) Identity(ctx context.Context) (*Identity, error) {
	for {
		stored, err := e.Store.Load(ctx)
		if err != nil {
			return nil, err
		}
		found, err := e.settle(ctx, stored)
		if errors.Is(err, ErrChanged) {
			// Another agent with the same store was faster: go on with what it has left there.
			continue
		}
		if err == nil {
			e.expiry.Set(float64(found.Certificate.NotAfter.Unix()))
		}
		return found, err
	}
}

// Fits refuses settings and a token that are for another cluster or hub than the identity that is kept. It changes
// nothing, so that also an agent may ask that does not act.
func (e *Enroller) Fits(ctx context.Context) error {
	stored, err := e.Store.Load(ctx)
	if err != nil {
		return err
	}
	token, _ := e.Token.Read() // that there is none is another question
	return misplaced(situation{
		stored: stored, token: token, clusterName: e.ClusterName, kubeSystemUID: e.KubeSystemUID, where: e.Store.Name(),
	})
}

// settle does what the stored state and the token ask for.
func (e *Enroller) settle(ctx context.Context, stored Stored) (*Identity, error) {
	held, damaged := stored.Identity()
	token, tokenErr := e.Token.Read()
	s := situation{
		stored: stored, held: held, damaged: damaged, token: token, tokenErr: tokenErr,
		clusterName: e.ClusterName, kubeSystemUID: e.KubeSystemUID, now: e.Now(), where: e.Store.Name(),
	}
	what, err := decide(s)
	if err != nil {
		return nil, err
	}
	if what == useIdentity {
		if token != nil && token.ID != stored.TokenID {
			e.Log.Warn("the join token is not used: the agent has a valid identity", "token", token.ID, "cluster", held.ClusterName, "until", held.Certificate.NotAfter)
		}
		e.keep(stored)
		return held, nil
	}
	if stored.Removed {
		if err := e.Forget(ctx); err != nil {
			return nil, err
		}
		e.Log.Info("the cluster was removed from the hub and joins anew; what it was given before stays as it is until the hub wants it again", "cluster", stored.ClusterName)
	}
	return e.join(ctx, stored, *token)
}

// join enrols with the token. The key is stored before the hub hears of it: if the answer is lost,
// the same key redeems the same token again.
func (e *Enroller) join(ctx context.Context, stored Stored, token identity.Token) (*Identity, error) {
	key, stored, err := e.pendingKey(ctx, stored, token)
	if err != nil {
		return nil, err
	}
	response, err := e.request(ctx, key, token)
	if err != nil {
		return nil, err
	}
	joined, err := e.accept(response, key, token)
	if err != nil {
		return nil, err
	}
	for _, warning := range response.Warnings {
		e.Log.Warn("the hub says about the enrolment: " + warning)
	}
	next, err := joined.store(stored)
	if err != nil {
		return nil, err
	}
	next.TokenID, next.KubeSystemUID, next.Hub = token.ID, e.KubeSystemUID, e.Hub
	next.Refused, next.Removed = "", false
	next.PendingKey, next.PendingToken = nil, ""
	if next, err = e.Store.Save(ctx, next); err != nil {
		return nil, err
	}
	e.keep(next)
	e.Log.Info("enrolled with the hub", "cluster", joined.ClusterName, "clusterID", joined.ClusterID, "hub", e.Hub, "hubID", joined.HubID, "certificateUntil", joined.Certificate.NotAfter)
	return joined, nil
}

// pendingKey returns the stored key of an enrolment with this token that was begun, or stores a new one.
func (e *Enroller) pendingKey(ctx context.Context, stored Stored, token identity.Token) (*ecdsa.PrivateKey, Stored, error) {
	if stored.PendingToken == token.ID {
		if key, err := decodeKey(stored.PendingKey); err == nil {
			return key, stored, nil
		}
	}
	key, err := identity.NewKey()
	if err != nil {
		return nil, stored, err
	}
	if stored.PendingKey, err = encodeKey(key); err != nil {
		return nil, stored, err
	}
	stored.PendingToken = token.ID
	stored, err = e.Store.Save(ctx, stored)
	return key, stored, err
}

// Refused records that the hub does not accept an identity any more, for the reason that it gave:
// from the next start on a token other than the used one is redeemed, and without one the agent
// stops and says why. An identity that was replaced in the meantime stays as it is.
func (e *Enroller) Refused(ctx context.Context, refused *Identity, reason string) error {
	return e.give(ctx, refused, reason, false)
}

// Removed is Refused for an identity whose cluster the hub does not have any more: a token that lets
// it come back need not be one to rejoin.
func (e *Enroller) Removed(ctx context.Context, removed *Identity, reason string) error {
	return e.give(ctx, removed, reason, true)
}

// give gives an identity up.
func (e *Enroller) give(ctx context.Context, up *Identity, reason string, removed bool) error {
	return e.change(ctx, func(stored *Stored) error {
		held, err := stored.Identity()
		if err == nil && held != nil && held.Certificate.Equal(up.Certificate) {
			stored.Refused, stored.Removed = reason, removed
		}
		return nil
	})
}

// RenewalRequest makes a new key and returns a PKCS #10 request for it, DER, which the link sends to
// the hub. The answer goes to Renewed; a second request makes the first one's answer worthless.
func (e *Enroller) RenewalRequest() ([]byte, error) {
	key, err := identity.NewKey()
	if err != nil {
		return nil, err
	}
	request, err := identity.NewCertificateRequest(key)
	if err != nil {
		return nil, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.renewal = key
	return request, nil
}

// Renewed stores the certificate (DER, the agent's own first) that the hub has issued for the last
// RenewalRequest and returns the identity to use from the next connection on.
func (e *Enroller) Renewed(ctx context.Context, chain [][]byte) (*Identity, error) {
	e.mu.Lock()
	key := e.renewal
	e.mu.Unlock()
	if key == nil {
		return nil, errors.New("renewing the agent's certificate: none was asked for")
	}
	var renewed *Identity
	err := e.change(ctx, func(stored *Stored) error {
		held, err := stored.Identity()
		if err != nil || held == nil {
			return fmt.Errorf("renewing the agent's certificate: the present identity in %s is gone or damaged: %w", e.Store.Name(), err)
		}
		if renewed, err = held.renew(key, chain); err != nil {
			return fmt.Errorf("renewing the agent's certificate: %w", err)
		}
		*stored, err = renewed.store(*stored)
		return err
	})
	if err != nil {
		return nil, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.renewal == key {
		e.renewal = nil
	}
	e.expiry.Set(float64(renewed.Certificate.NotAfter.Unix()))
	e.Log.Info("renewed the agent's certificate", "cluster", renewed.ClusterName, "certificateUntil", renewed.Certificate.NotAfter)
	return renewed, nil
}

func (e *Enroller) keep(stored Stored) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.kept = stored
}

// Restore writes the identity again when nothing of one is stored any more: it was deleted with its namespace under the
// agent, which goes on being who it is. It says whether it did.
func (e *Enroller) Restore(ctx context.Context) (bool, error) {
	stored, err := e.Store.Load(ctx)
	if err != nil || len(stored.Key)+len(stored.Certificate) > 0 {
		return false, err
	}
	e.mu.Lock()
	again := e.kept
	e.mu.Unlock()
	again.Version = stored.Version
	_, err = e.Store.Save(ctx, again)
	return err == nil, err
}

// change loads, changes and saves until nobody came in between.
func (e *Enroller) change(ctx context.Context, edit func(*Stored) error) error {
	for {
		stored, err := e.Store.Load(ctx)
		if err != nil {
			return err
		}
		if err := edit(&stored); err != nil {
			return err
		}
		saved, err := e.Store.Save(ctx, stored)
		if err == nil {
			e.keep(saved)
		}
		if !errors.Is(err, ErrChanged) {
			return err
		}
	}
}
