// Command simagent is many simulated agents in one process: each joins a hub with a token of its own, holds a connection of
// its own over TLS, and speaks the real protocol by the agent's own code (agent/enroll, agent/dial, agent/link). Only the
// member is missing: what the hub wants is kept in memory, and its status is made up by a script. The bench starts it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"windlass.dev/windlass/e2e/simagent/control"
)

type options struct {
	hub, kubeconfig, socket string
	first, agents, fleet    int
	script                  script
}

func main() {
	o := &options{}
	flag.StringVar(&o.hub, "hub", "", "HOST:PORT of the hub's link")
	flag.StringVar(&o.kubeconfig, "kubeconfig", "", "of the hub's administrator, who makes the join tokens")
	flag.StringVar(&o.socket, "control", "", "path of the unix socket to be asked at")
	flag.IntVar(&o.first, "first", 0, "number of the first agent of this process")
	flag.IntVar(&o.agents, "agents", 1, "how many agents this process has")
	flag.IntVar(&o.fleet, "fleet", 0, "how many agents there are in all processes; as many as in this one when 0")
	flag.DurationVar(&o.script.delay, "delay", 0, "how long a work takes from its arrival until it is applied")
	flag.IntVar(&o.script.steps, "steps", 1, "in how many reports a workload becomes ready")
	flag.DurationVar(&o.script.stepDelay, "step-delay", 0, "time between two of them")
	flag.Parse()
	o.fleet = max(o.fleet, o.agents)
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "simagent:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o *options) error {
	// A log line for each of thousands is a load of its own: only what goes wrong is told, and State tells the last of it.
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))
	f, err := newFleet(o, log)
	if err != nil {
		return err
	}
	listener, err := net.Listen("unix", o.socket)
	if err != nil {
		return fmt.Errorf("--control: %w", err)
	}
	server := &http.Server{Handler: control.Handler(f), ReadHeaderTimeout: 10 * time.Second}
	defer context.AfterFunc(ctx, func() { _ = server.Close() })()
	failed := make(chan error, 1)
	go func() { failed <- f.run(ctx) }()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return <-failed
}
