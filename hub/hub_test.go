package hub

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
)

func TestAProcessThatLosesTheStoreLooksWhyBeforeItEnds(t *testing.T) {
	lost, restored := errors.New("another process may use the store"), errors.New("the store was restored from a backup")
	for _, c := range []struct {
		reason string
		look   func(ctx context.Context, fail func(error)) error
		want   error
	}{
		{"the history shows nothing else", func(context.Context, func(error)) error { return nil }, lost},
		{"the store was restored, which the history writes down and tells", func(_ context.Context, fail func(error)) error {
			fail(restored)
			return restored
		}, restored},
		{"the store does not answer, which is not waited for long", func(ctx context.Context, _ func(error)) error {
			<-ctx.Done()
			return ctx.Err()
		}, lost},
	} {
		t.Run(c.reason, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				running, fail := context.WithCancelCause(t.Context())
				looked := 0
				told := make(chan error, 1)
				told <- lost
				endWithStore(running, told, func(ctx context.Context) error {
					looked++
					if running.Err() != nil {
						t.Error("it ends before it has looked")
					}
					return c.look(ctx, fail)
				}, fail)
				if got := context.Cause(running); looked != 1 || got != c.want {
					t.Errorf("it looked %d times and ended with %v, want %v", looked, got, c.want)
				}
			})
		})
	}
}

func TestAProcessThatEndsHasNoLookAtTheStore(t *testing.T) {
	running, cancel := context.WithCancel(t.Context())
	cancel()
	endWithStore(running, nil, func(context.Context) error { t.Error("it looks"); return nil }, func(error) { t.Error("it has failed") })
}
