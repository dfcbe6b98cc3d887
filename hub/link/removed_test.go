package link

import (
	"context"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"

	linkv1 "windlass.dev/windlass/api/link/v1"
	"windlass.dev/windlass/pkg/session"
)

// greeting is a stream on which one message is said, nil for none.
type greeting struct {
	silence
	said *linkv1.FromAgent
}

func (g greeting) Recv() (*linkv1.FromAgent, error) {
	if g.said != nil {
		return g.said, nil
	}
	<-g.ctx.Done()
	return nil, g.ctx.Err()
}

// aged is a store with a view, or with none.
type aged struct {
	Store
	view session.StoreView
	err  error
}

func (a aged) View(context.Context, string, string) (session.StoreView, error) { return a.view, a.err }

func TestAnAgentIsToldOfARemovalOnlyByAStoreThatKnowsOfIt(t *testing.T) {
	const removed, later = linkv1.GoodbyeReason_GOODBYE_REASON_CLUSTER_REMOVED, linkv1.GoodbyeReason_GOODBYE_REASON_INTERNAL
	hello := func(era string) *linkv1.FromAgent {
		return &linkv1.FromAgent{Message: &linkv1.FromAgent_Hello{Hello: &linkv1.Hello{Incarnation: era, HighWaterRevision: 90}}}
	}
	known := aged{view: session.StoreView{History: session.History{Eras: []session.Era{{ID: "one"}}, Told: true}, Revision: 100}}
	gone := fmt.Errorf("authenticating: %w", &Refusal{Reason: removed})
	for name, c := range map[string]struct {
		reason   string
		err      error
		said     *linkv1.FromAgent
		store    aged
		stopping bool
		want     linkv1.GoodbyeReason
	}{
		"the store has had it":              {reason: "it was removed", err: gone, said: hello("one"), store: known, want: removed},
		"another store":                     {reason: "it need not have had the cluster", err: gone, said: hello("two"), store: known, want: later},
		"a store that can't be asked":       {reason: "it knows nothing at the moment", err: gone, said: hello("one"), store: aged{err: errors.New("etcd is away")}, want: later},
		"an agent that says nothing":        {reason: "nobody knows what it has seen", err: gone, store: known, want: later},
		"an agent that says something else": {reason: "nobody knows what it has seen", err: gone, said: &linkv1.FromAgent{}, store: known, want: later},
		"a hub that stops":                  {reason: "it does not wait", err: gone, store: known, stopping: true, want: later},
		"an identity that was revoked":      {reason: "that is in the store", err: errors.New("revoked"), store: known, want: linkv1.GoodbyeReason_GOODBYE_REASON_REVOKED},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := serverOf(Config{Store: c.store, Settings: session.Settings{}.WithDefaults()})
				if s.stopping = make(chan struct{}); c.stopping {
					close(s.stopping)
				}
				ctx, end := context.WithCancel(t.Context())
				defer end()
				err := s.hearOut(greeting{silence{ctx: ctx}, c.said}, &x509.Certificate{Subject: pkix.Name{CommonName: "eu"}}, c.err)
				if got := refusalOf(err).Reason; got != c.want {
					t.Errorf("the agent is told %s, want %s: %s; %v", got, c.want, c.reason, err)
				}
			})
		})
	}
}
