package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// standing is where the agent stands, in one line for people; "" when all is well.
type standing struct {
	mu    sync.Mutex
	line  string
	waits bool
	// cannot is why nothing is written to the member; nil while it is. Nothing else matters beside it.
	cannot error
}

func (s *standing) set(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.line, s.waits = fmt.Sprintf(format, args...), false
}

// wait says for what an agent waits that is as it should be. It counts as ready: a rollout that ends the old agent only
// when the new one is ready would never end otherwise.
func (s *standing) wait(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.line, s.waits = fmt.Sprintf(format, args...), true
}

// trouble says why nothing can be written to the member; nil when it can be.
func (s *standing) trouble(problem error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cannot = problem
}

// troubled returns what trouble was told.
func (s *standing) troubled() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cannot
}

func (s *standing) get() (line string, ready bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cannot != nil {
		return "nothing is written to the member: " + oneLine(s.cannot.Error()), false
	}
	return s.line, s.line == "" || s.waits
}

// healthServer serves /healthz (the process runs), /readyz (it is connected and knows what the hub
// wants, or waits for another agent; if not, why not) and /metrics.
type healthServer struct {
	listener net.Listener
	mux      *http.ServeMux
	server   *http.Server
}

// errHealth begins what is wrong with the address for health.
var errHealth = errors.New("--health-listen")

// serveProfiles serves Go's profiles beside health.
func (h *healthServer) serveProfiles() {
	h.mux.HandleFunc("/debug/pprof/", pprof.Index) // and those that it names: heap, allocs, goroutine, …
	h.mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	h.mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
}

// newHealthServer listens at once, so that a port in use is noticed before anything is done.
func newHealthServer(address string, registry *prometheus.Registry, ready func() (line string, ready bool)) (*healthServer, error) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errHealth, err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("/readyz", func(w http.ResponseWriter, _ *http.Request) {
		line, ready := ready()
		if !ready {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		fmt.Fprintln(w, cmp.Or(line, "ok"))
	})
	mux.Handle("/metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	return &healthServer{listener: listener, mux: mux, server: &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}}, nil
}

// stay tells for a while why the agent can't go on, in its log and to whoever asks whether it is ready. A pod that
// ended instead would be started again and again, and its reason would be gone with it.
func stay(ctx context.Context, config Config, logger *slog.Logger, problem error) error {
	wait := config.RetryRefused.Duration
	logger.Error("The agent can't go on until somebody acts.", "error", problem, "again in", wait)
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	if config.HealthListen == "" {
		<-ctx.Done()
		return nil
	}
	health, err := newHealthServer(config.HealthListen, prometheus.NewRegistry(), func() (string, bool) { return problem.Error(), false })
	if err != nil {
		return err
	}
	return health.run(ctx)
}

// run serves until ctx ends.
func (h *healthServer) run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { _ = h.server.Close() })
	defer stop()
	if err := h.server.Serve(h.listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving health and metrics: %w", err)
	}
	return nil
}
