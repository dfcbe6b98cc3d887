// Package enroll alone decides who becomes an agent of this hub: it redeems join tokens, issues and
// renews the certificates of agents, and recognises them when they come back. It is the writer of
// JoinToken.status, MemberCluster.spec.id, the condition Joined and the certificate's part of
// MemberCluster.status.agent.
package enroll

import (
	"context"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"
	"k8s.io/apimachinery/pkg/runtime"

	clusterv1alpha1 "windlass.dev/windlass/api/cluster/v1alpha1"
	windlassv1alpha1 "windlass.dev/windlass/api/windlass/v1alpha1"
	"windlass.dev/windlass/pkg/identity"
)

// JoinTokens is what enrolment needs of the store of tokens. Get reads the store and no cache,
// UpdateStatus fails with a conflict when the token has changed since its resourceVersion; both
// fail with the API's own errors.
type JoinTokens interface {
	Get(ctx context.Context, name string) (*windlassv1alpha1.JoinToken, error)
	UpdateStatus(ctx context.Context, token *windlassv1alpha1.JoinToken) (*windlassv1alpha1.JoinToken, error)
}

// Clusters is what enrolment needs of the store of clusters. Get and List read the store and no
// cache, writes fail with a conflict when the cluster has changed since its resourceVersion; all
// fail with the API's own errors. What Get and List return is not changed here.
//
// WithID and WithKubeSystem name the clusters that have an id, and those whose agent runs in the cluster
// with this UID of kube-system. They come from a cache that may be a little behind: whoever uses a name
// reads the cluster, and what this process has just enrolled it has to remember itself.
type Clusters interface {
	WithID(id string) (names []string)
	WithKubeSystem(uid string) (names []string)
	Get(ctx context.Context, name string) (*clusterv1alpha1.MemberCluster, error)
	List(ctx context.Context) ([]*clusterv1alpha1.MemberCluster, error)
	Create(ctx context.Context, cluster *clusterv1alpha1.MemberCluster) (*clusterv1alpha1.MemberCluster, error)
	Update(ctx context.Context, cluster *clusterv1alpha1.MemberCluster) (*clusterv1alpha1.MemberCluster, error)
	UpdateStatus(ctx context.Context, cluster *clusterv1alpha1.MemberCluster) (*clusterv1alpha1.MemberCluster, error)
}

// Recorder takes the events about refusals; client-go's record.EventRecorder is one.
type Recorder interface {
	Event(about runtime.Object, eventType, reason, message string)
}

// Issuer signs certificates as the agents' authority; *pki.Authority is one.
type Issuer interface {
	Issue(template *x509.Certificate, public crypto.PublicKey) (der []byte, err error)
}

// Config is what a Server needs.
type Config struct {
	Tokens   JoinTokens
	Clusters Clusters
	Recorder Recorder
	// IsHub says whether the UID of a kube-system namespace is that of the hub's own API.
	IsHub func(ctx context.Context, kubeSystemUID string) (bool, error)
	// AgentsIssuer signs for AgentsCA.
	AgentsIssuer Issuer
	AgentsCA     *x509.Certificate
	// HubCA signs the hub's serving certificates; its public key is the hub's id.
	HubCA *x509.Certificate
	// Joined is told that an agent was enrolled. It must not block. nil means that nobody wants to know.
	Joined func()
	// Rejoined is told that of a cluster nothing is accepted any more that was issued before, and is waited for: the agent
	// that has rejoined gets its answer after it. nil means that nobody wants to know.
	Rejoined func(cluster string)
	// Log gets one line for every enrolment, renewal and refusal. nil means slog.Default().
	Log *slog.Logger
	// Registerer gets the metrics. nil means that nobody does.
	Registerer prometheus.Registerer
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// RequestsPerSecond and Burst bound what one address (IPv6: one /64) may ask; 0 means 5 and 50.
	RequestsPerSecond float64
	Burst             int
}

func (c Config) validate() error {
	switch {
	case c.Tokens == nil, c.Clusters == nil:
		return errors.New("enrolment needs the stores of tokens and clusters")
	case c.IsHub == nil:
		return errors.New("enrolment needs to know the hub's own API")
	case c.Recorder == nil:
		return errors.New("enrolment needs a recorder of events")
	case c.AgentsIssuer == nil, c.AgentsCA == nil, c.HubCA == nil:
		return errors.New("enrolment needs the hub's and the agents' authority")
	}
	return nil
}

// Server enrols agents. It is an http.Handler and safe for concurrent use; several hub processes on
// one store may each have one.
type Server struct {
	Config
	hubID      string
	agentRoots *x509.CertPool
	metrics    metrics

	requests *limiters // by client address
	all      *rate.Limiter
	renewals *limiters // by cluster id
	// strangers bounds the events that somebody without a secret can cause.
	strangers *rate.Limiter

	// names remembers the name of a cluster by its id. An entry is a hint: whoever uses it checks
	// the id in the object.
	names sync.Map
	// attached remembers in the same way, by the UID of its kube-system namespace, the cluster that was enrolled last.
	attached sync.Map
}

// New makes a Server. It starts nothing.
func New(c Config) (*Server, error) {
	if err := c.validate(); err != nil {
		return nil, err
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	if c.Joined == nil {
		c.Joined = func() {}
	}
	if c.Rejoined == nil {
		c.Rejoined = func(string) {}
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.RequestsPerSecond == 0 {
		c.RequestsPerSecond = 5
	}
	if c.Burst == 0 {
		c.Burst = 50
	}
	const renewalBurst = 5
	s := &Server{
		Config:     c,
		hubID:      identity.Pin(c.HubCA),
		agentRoots: x509.NewCertPool(),
		requests:   newLimiters(rate.Limit(c.RequestsPerSecond), c.Burst),
		all:        rate.NewLimiter(rate.Limit(20*c.RequestsPerSecond), 20*c.Burst),
		renewals:   newLimiters(rate.Every(time.Minute), renewalBurst),
		strangers:  rate.NewLimiter(1, 10),
	}
	s.agentRoots.AddCert(c.AgentsCA)
	var err error
	s.metrics, err = newMetrics(c.Registerer)
	return s, err
}

func certificatePEM(der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}
