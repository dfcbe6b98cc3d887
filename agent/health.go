package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// standing is where the agent stands, in one line for people; "" when all is well.
type standing struct {
	mu   sync.Mutex
	line string
}

func (s *standing) set(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.line = fmt.Sprintf(format, args...)
}

func (s *standing) get() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.line
}

// healthServer serves /healthz (the process runs), /readyz (it is connected and knows what the hub
// wants; if not, why not) and /metrics.
type healthServer struct {
	listener net.Listener
	server   *http.Server
}

// newHealthServer listens at once, so that a port in use is noticed before anything is done.
func newHealthServer(address string, registry *prometheus.Registry, ready func() string) (*healthServer, error) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("--health-listen: %w", err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("/readyz", func(w http.ResponseWriter, _ *http.Request) {
		if why := ready(); why != "" {
			w.WriteHeader(http.StatusServiceUnavailable)
			fmt.Fprintln(w, why)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	mux.Handle("/metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	return &healthServer{listener: listener, server: &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}}, nil
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
