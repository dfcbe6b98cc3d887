package link

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	linkv1 "windlass.dev/windlass/api/link/v1"
	"windlass.dev/windlass/pkg/identity"
	"windlass.dev/windlass/pkg/session"
)

// hearOut listens to an agent that was not recognised, when it matters what it has seen: see judgeRemoval.
func (s *Server) hearOut(rpc linkv1.Link_SessionServer, presented *x509.Certificate, err error) error {
	if !saysRemoved(err) {
		return err
	}
	ctx, cancel := context.WithTimeout(rpc.Context(), admitTimeout)
	defer cancel()
	hello, problem := s.firstHello(ctx, rpc)
	if problem != nil {
		return problem
	}
	return s.judgeRemoval(ctx, presented, hello, err)
}

func saysRemoved(err error) bool {
	refusal := &Refusal{}
	return errors.As(err, &refusal) && refusal.Reason == linkv1.GoodbyeReason_GOODBYE_REASON_CLUSTER_REMOVED
}

// judgeRemoval keeps an agent from giving its identity up because a store does not have its cluster: a hub with the same
// keys may have been started on another store, or on an old backup. Any other refusal stays as it is.
func (s *Server) judgeRemoval(ctx context.Context, presented *x509.Certificate, hello *linkv1.Hello, err error) error {
	if !saysRemoved(err) {
		return err
	}
	// Read after the cluster was looked for, so that a store that is cut back meanwhile is noticed.
	view, problem := s.config.Store.View(ctx, "", "")
	if problem != nil {
		return forNow(fmt.Errorf("finding out whether a cluster that the store does not have was removed from it: %w", problem))
	}
	doubt := view.DoubtsRemoval(session.MarkOf(hello))
	if doubt == "" {
		return err
	}
	name := identity.ClusterNameIn(presented)
	return forNow(fmt.Errorf("this hub's store does not have cluster %s, and nothing shows that it was removed from it: %s. "+
		"Nothing is given up: the agent keeps its identity and what it runs, and comes back by itself. "+
		"Start the hub with the store that it had (--data-dir, --etcd-servers) or with a newer backup; or, to attach the cluster to this store anew, "+
		"run `windlass token create --cluster %s` on the hub (with --rejoin if it has another cluster of that name), delete the Secret windlass-agent-identity in the agent's namespace, and start the agent again with that token", name, doubt, name))
}

// forNow refuses an agent that comes back, as it is, by its own backoff.
func forNow(err error) *Refusal {
	return &Refusal{Reason: linkv1.GoodbyeReason_GOODBYE_REASON_INTERNAL, Message: err.Error()}
}

// firstHello waits for the first message of a stream that is not served. Whoever receives ends with the stream.
func (s *Server) firstHello(ctx context.Context, rpc linkv1.Link_SessionServer) (*linkv1.Hello, error) {
	first := make(chan *linkv1.FromAgent, 1)
	go func() {
		m, _ := rpc.Recv() // nil when the stream has broken
		first <- m
	}()
	select {
	case m := <-first:
		if m.GetHello() != nil {
			return m.GetHello(), nil
		}
	case <-time.After(s.config.Settings.HelloTimeout):
	case <-ctx.Done():
	case <-s.stopping:
	}
	return nil, forNow(errors.New("the agent's cluster is not in this hub's store, and it has said no hello from which to see whether it was removed"))
}
