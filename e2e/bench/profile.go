package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// profileFor is how long a profile takes. Only the beginning of what is measured is in it.
const profileFor = 10 * time.Second

// profile has the hub take a profile of its processor time, if that is wanted, and returns what waits for it.
func (h *herd) profile(ctx context.Context) (wait func() error) {
	if h.env.profiles == "" {
		return func() error { return nil }
	}
	h.env.profiled++
	path := filepath.Join(h.env.profiles, fmt.Sprintf("%s-%03d.pprof", h.env.name, h.env.profiled))
	done := make(chan error, 1)
	go func() {
		raw, err := h.meter.raw.Get().AbsPath("/debug/pprof/profile").Param("seconds", fmt.Sprint(profileFor.Seconds())).DoRaw(ctx)
		if err == nil {
			err = os.WriteFile(path, raw, 0o600)
		}
		done <- err
	}()
	return func() error { return <-done }
}

// heapProfile writes what of the hub's memory is in use, if profiles are wanted.
func (h *herd) heapProfile(ctx context.Context, name string) error {
	if h.env.profiles == "" {
		return nil
	}
	raw, err := h.meter.raw.Get().AbsPath("/debug/pprof/heap").Param("gc", "1").DoRaw(ctx)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(h.env.profiles, h.env.name+"-"+name+"-heap.pprof"), raw, 0o600)
}
