package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// profileFor is how long a profile takes. Of a fleet only the beginning of what is measured is in it.
const profileFor = 10 * time.Second

// profile has the hub take profiles of its processor time, one after the other, if that is wanted. What it returns ends that with the
// one that is being taken.
func (h *herd) profile(ctx context.Context) (end func() error) {
	if h.env.profiles == "" {
		return func() error { return nil }
	}
	h.env.profiled++
	name := filepath.Join(h.env.profiles, fmt.Sprintf("%s-%03d", h.env.name, h.env.profiled))
	over, done := make(chan struct{}), make(chan error, 1)
	go func() { done <- h.profileUntil(ctx, over, name) }()
	return func() error {
		close(over)
		return <-done
	}
}

func (h *herd) profileUntil(ctx context.Context, over <-chan struct{}, name string) error {
	for part := 1; ; part++ {
		raw, err := h.meter.raw.Get().AbsPath("/debug/pprof/profile").Param("seconds", fmt.Sprint(profileFor.Seconds())).DoRaw(ctx)
		if err == nil {
			err = os.WriteFile(fmt.Sprintf("%s-%02d.pprof", name, part), raw, 0o600)
		}
		if err != nil {
			return fmt.Errorf("profiling the hub: %w", err)
		}
		select {
		case <-over:
			return nil
		default:
		}
	}
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
