// Package apiserver alone is responsible for the hub's API: it runs the real kube-apiserver in this
// process, serves the hub's own kinds from the same chain, and gives controllers typed access to
// them without a network in between.
package apiserver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apiserver/pkg/server/healthz"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/component-base/metrics/legacyregistry"
	aggregatorapiserver "k8s.io/kube-aggregator/pkg/apiserver"

	"windlass.dev/windlass/hub/etcd"
	"windlass.dev/windlass/hub/pki"
)

const (
	// shutdownTimeout bounds how long a stopping server waits for connections to end.
	shutdownTimeout = 3 * time.Second
	// watchesEnd bounds how long it waits for watches, which are told to end at once.
	watchesEnd = time.Second
	// claimTimeout bounds the wait for a store that does not answer at the start, and claimAttempt is how
	// often it is said meanwhile what is waited for.
	claimAttempt = 3 * time.Second
	claimTimeout = 15 * time.Second
)

// Config is what the API server needs. Store, PKI and Listen are required.
type Config struct {
	// Store is where everything is kept; it must be serving.
	Store *etcd.Etcd
	// PKI are the hub's own authorities and keys.
	PKI *pki.Set
	// Listen is the address for users, host:port. An empty host means every interface; port 0
	// means any free one (see Server.Address).
	Listen string
	// AdvertiseAddress is the host name or IP address that users dial; empty means the host of Listen.
	AdvertiseAddress string
	// ServingNames are further host names and IP addresses for the serving certificate.
	ServingNames []string
	// ServiceClusterIPRange is where the API server takes addresses for Services from. They never
	// leave the hub; the range only bounds how many Services it can hold. Empty means the default.
	ServiceClusterIPRange string
	// Flags are further settings under the names of kube-apiserver's flags, such as
	// audit-policy-file or oidc-issuer-url. Those that the hub sets itself are refused. Whoever
	// gives an authentication-config of his own also decides there about anonymous callers, who
	// otherwise may ask for health and nothing else.
	Flags map[string]string
	// Log gets the messages of the API server and all its libraries; nil means slog.Default().
	Log *slog.Logger
	// LogLevel is the lowest level that the API server's own messages are shown at. The zero value
	// (slog.LevelInfo) is chatty: slog.LevelWarn suits production.
	LogLevel slog.Level
}

// Server is one API server. Between New and Run hooks may be added; the exported fields may be used
// at any time, but whatever they do waits for, or fails without, a running server.
type Server struct {
	// Loopback reaches this server with all rights, without limits of rate, and in protobuf; not over its
	// port, but in this process.
	Loopback *rest.Config
	// Stores gives access to the hub's own kinds in this process.
	Stores *Stores
	// Informers are the API server's own informers of native kinds. They run while the server runs.
	// managedFields are not in them.
	Informers informers.SharedInformerFactory

	client     kubernetes.Interface
	aggregator *aggregatorapiserver.APIAggregator
	claims     *claims
	// serving is closed when requests are answered.
	serving chan struct{}
	// kinds are informers of what says which kinds are served: CRDs and APIServices.
	kinds    []cache.SharedIndexInformer
	listener net.Listener
	pki      *pki.Set
	log      *slog.Logger
	life     *lifetime
}

// New takes the store for this hub, takes the port, and builds the server; it serves nothing until
// Run. Every error is one line. A server that is built must be run, or its process must end: only
// Run gives back what New took.
// The context bounds the wait for a store that does not answer.
func New(ctx context.Context, c Config) (*Server, error) {
	if c.Log == nil {
		c.Log = slog.Default()
	}
	life := routeLogs(c.Log, c.LogLevel)
	if err := claim(ctx, c); err != nil {
		return nil, err
	}
	listener, err := listen(c.Listen)
	if err != nil {
		return nil, err
	}
	s, err := build(c, listener)
	if err != nil {
		_ = listener.Close()
		return nil, fmt.Errorf("building the API server: %w", oneLine(err))
	}
	s.life = life
	return s, nil
}

// claim makes sure that the store is this hub's before anything is written to it. While the store does
// not answer it says so, and why.
func claim(ctx context.Context, c Config) error {
	ctx, cancel := context.WithTimeout(ctx, claimTimeout)
	defer cancel()
	for {
		attempt, endAttempt := context.WithTimeout(ctx, claimAttempt)
		err := c.Store.Claim(attempt, c.PKI.HubID())
		late := attempt.Err() != nil && ctx.Err() == nil
		endAttempt()
		if err == nil || !late {
			return err
		}
		c.Log.Warn("waiting for the store", "error", err, "for", claimTimeout)
	}
}

func listen(address string) (net.Listener, error) {
	listener, err := net.Listen("tcp", address)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("the API cannot listen on %s: another process uses the port", address)
	case err != nil:
		return nil, fmt.Errorf("the API cannot listen on %s: %w", address, listenCause(err))
	}
	return listener, nil
}

func listenCause(err error) error {
	var call *os.SyscallError
	if errors.As(err, &call) {
		return call.Err
	}
	return err
}

// Address is the address that the server listens on, with the port that was really taken.
func (s *Server) Address() net.Addr { return s.listener.Addr() }

// Port is the port that the server listens on.
func (s *Server) Port() int { return s.listener.Addr().(*net.TCPAddr).Port }

// AddReadyCheck adds a condition to /readyz. It must be called before Run; check is called
// concurrently and must be quick.
func (s *Server) AddReadyCheck(name string, check func() error) error {
	return s.aggregator.GenericAPIServer.AddReadyzChecks(healthz.NamedCheck(name, func(*http.Request) error { return check() }))
}

// AddCollectors adds metrics to /metrics. A collector of names that are there already panics, as
// prometheus' own MustRegister does.
func (s *Server) AddCollectors(collectors ...prometheus.Collector) {
	legacyregistry.RawMustRegister(collectors...)
}

// OnKindsChanged calls f, which must not block, whenever the server may serve other kinds than before:
// a CustomResourceDefinition or an APIService came, changed or went. What lists the kinds may follow a
// moment later. It must be called before Run.
func (s *Server) OnKindsChanged(f func()) error {
	for _, informer := range s.kinds {
		_, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
			AddFunc: func(any) { f() },
			UpdateFunc: func(old, new any) {
				if resourceVersion(old) != resourceVersion(new) {
					f()
				}
			},
			DeleteFunc: func(any) { f() },
		})
		if err != nil {
			return fmt.Errorf("watching the served kinds: %w", err)
		}
	}
	return nil
}

// resourceVersion tells states of an object apart; informers tell of a state again from time to time.
func resourceVersion(obj any) string {
	object, err := meta.Accessor(obj)
	if err != nil {
		return "" // informers hold objects only
	}
	return object.GetResourceVersion()
}

// ClaimBy asks the claimer about every object that is created from now on.
func (s *Server) ClaimBy(claimer Claimer) { s.claims.claimer.Store(&claimer) }

// Handle serves an HTTP path outside the API's own, such as /debug/windlass. Authentication and
// authorization are the API server's. It must be called before Run.
func (s *Server) Handle(path string, handler http.Handler) {
	s.aggregator.GenericAPIServer.Handler.NonGoRestfulMux.Handle(path, handler)
}

// Run serves until ctx is cancelled, then finishes the requests that are under way and returns nil. Nearly all of them take
// less than a few seconds; one that waits for somebody who does not answer may take as long as requests may take, which is a
// minute. The store must outlive it. It may be called once.
func (s *Server) Run(ctx context.Context) error {
	prepared, err := s.aggregator.PrepareRun()
	if err != nil {
		return fmt.Errorf("preparing the API server: %w", oneLine(err))
	}
	s.life.until(ctx)
	close(s.serving)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go s.keepFrontProxyCertificate(ctx)
	if err := prepared.Run(ctx); err != nil {
		return fmt.Errorf("running the API server: %w", oneLine(err))
	}
	return nil
}

// keepFrontProxyCertificate renews the certificate on disk; the aggregator reads it again by itself.
func (s *Server) keepFrontProxyCertificate(ctx context.Context) {
	wait.UntilWithContext(ctx, func(context.Context) {
		if _, _, err := s.pki.FrontProxyClient(frontProxyName, time.Now()); err != nil {
			s.log.Error("renewing the front proxy's certificate", "error", err)
		}
	}, 24*time.Hour)
}

// OwnReadyCheck is the name of the condition of /readyz that stands for what the hub builds on the API.
const OwnReadyCheck = "windlass"

// WaitReady returns when the server says on /readyz that it is ready, OwnReadyCheck left aside, or
// with ctx's error and what was in the way.
func (s *Server) WaitReady(ctx context.Context) error {
	var last error
	err := wait.PollUntilContextCancel(ctx, 20*time.Millisecond, true, func(ctx context.Context) (bool, error) {
		reply, err := s.client.CoreV1().RESTClient().Get().AbsPath("/readyz").Param("exclude", OwnReadyCheck).DoRaw(ctx)
		if detail := failedChecks(reply); err != nil && detail != "" {
			err = errors.New(detail)
		}
		// What the end of the wait itself does to a request says nothing.
		if err == nil || ctx.Err() == nil {
			last = err
		}
		return err == nil, nil
	})
	if err == nil {
		return nil
	}
	if last != nil {
		err = last
	}
	return fmt.Errorf("waiting for the API server to be ready: %w", err)
}

// failedChecks names the lines of a /readyz reply that are not ok.
func failedChecks(reply []byte) string {
	var failed []string
	for line := range strings.Lines(string(reply)) {
		if strings.HasPrefix(line, "[-]") {
			failed = append(failed, strings.TrimSpace(strings.TrimPrefix(line, "[-]")))
		}
	}
	return strings.Join(failed, ", ")
}

// oneLine keeps errors of many lines, as aggregates of the API server's are, readable in a log.
func oneLine(err error) error {
	text := err.Error()
	if !strings.Contains(text, "\n") {
		return err
	}
	return errors.New(strings.Join(strings.Fields(text), " "))
}

// splitListen gives the host and the port of a listener's address.
func splitListen(listener net.Listener) (net.IP, int) {
	address := listener.Addr().(*net.TCPAddr)
	return address.IP, address.Port
}
