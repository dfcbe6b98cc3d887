package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"

	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/rest"

	"windlass.dev/windlass/e2e/fleet"
)

// profileFleet takes profiles of the processors beside what is measured, and the metrics before and after: of the hub, of the
// first member's agent, and of that member's API server. It returns what waits for their end.
func (e *environment) profileFleet(ctx context.Context, f *fleet.Fleet, what string) (ended func() error) {
	if e.profiles == "" {
		return func() error { return nil }
	}
	before := e.takeOfFleet(ctx, f, what, "/metrics", "before")()
	taken := e.takeOfFleet(ctx, f, what, fmt.Sprintf("/debug/pprof/profile?seconds=%.0f", profileFor.Seconds()), "pprof")
	return func() error {
		return errors.Join(before, taken(), e.takeOfFleet(ctx, f, what, "/metrics", "after")())
	}
}

// heapsOfFleet takes profiles of what the same hold in memory.
func (e *environment) heapsOfFleet(ctx context.Context, f *fleet.Fleet, what string) error {
	if e.profiles == "" {
		return nil
	}
	return e.takeOfFleet(ctx, f, what, "/debug/pprof/heap?gc=1", "heap.pprof")()
}

func (e *environment) takeOfFleet(ctx context.Context, f *fleet.Fleet, what, path, sort string) (ended func() error) {
	member := f.Members()[0]
	var group errgroup.Group
	for who, read := range map[string]func(ctx context.Context, path string) ([]byte, error){
		"hub":    func(ctx context.Context, path string) ([]byte, error) { return readPath(ctx, f.Hub().Config, path) },
		"member": func(ctx context.Context, path string) ([]byte, error) { return readPath(ctx, member.Config, path) },
		"agent":  func(ctx context.Context, path string) ([]byte, error) { return member.Agent.Read(ctx, path) },
	} {
		group.Go(func() error {
			raw, err := read(ctx, path)
			if err == nil {
				err = os.WriteFile(filepath.Join(e.profiles, fmt.Sprintf("%s-%s.%s", what, who, sort)), raw, 0o600)
			}
			if err != nil {
				return fmt.Errorf("reading %s of the %s: %w", path, who, err)
			}
			return nil
		})
	}
	return group.Wait
}

// readPath reads a path of an API server, as its administrator.
func readPath(ctx context.Context, config *rest.Config, path string) ([]byte, error) {
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, config.Host+path, nil)
	if err != nil {
		return nil, err
	}
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	raw, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s answers %s: %s", path, response.Status, raw)
	}
	return raw, err
}
