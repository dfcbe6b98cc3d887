package apply

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"windlass.dev/windlass/agent/member"
	"windlass.dev/windlass/agent/state"
	"windlass.dev/windlass/pkg/manifest"
)

// kindsThat fail.
type kindsThat struct{ fail func(context.Context) error }

func (k kindsThat) Lookup(ctx context.Context, _ schema.GroupVersionKind) (member.Resource, error) {
	return member.Resource{}, k.fail(ctx)
}
func (kindsThat) Distrust(schema.GroupVersionKind) {}
func (kindsThat) Schema(context.Context, schema.GroupVersionKind) (*manifest.Schema, error) {
	return nil, nil
}
func (kindsThat) OnChange(func()) {}

// emptyState holds nothing.
type emptyState struct {
	State
	late func(key string)
}

func (s *emptyState) OnLate(f func(key string))     { s.late = f }
func (*emptyState) Get(string) (*state.Entry, bool) { return nil, false }

func TestWhatIsHeldAfterItsSessionHasEndedIsHandled(t *testing.T) {
	held := &emptyState{}
	e, err := New(Config{Client: struct{ dynamic.Interface }{}, State: held, Contents: struct{ Contents }{}, HubID: "h", Now: time.Now, Logger: slog.New(slog.DiscardHandler), Kinds: kindsThat{}})
	if err != nil {
		t.Fatal(err)
	}
	held.late("web")
	if e.queue.Len() != 1 {
		t.Fatal("nothing is in the queue")
	}
	if key, _ := e.queue.Get(); key != "web" {
		t.Errorf("%q is handled", key)
	}
}

func TestAnAgentThatEndsDoesNotSayThatItCouldNotApply(t *testing.T) {
	for _, c := range []struct {
		reason string
		end    bool
		warned bool
	}{
		{"the agent ends while it applies the object", true, false},
		{"the member does not answer", false, true},
	} {
		var log strings.Builder
		ctx, end := context.WithCancel(t.Context())
		e, err := New(Config{
			Client: struct{ dynamic.Interface }{}, State: &emptyState{}, Contents: struct{ Contents }{}, HubID: "h", Now: time.Now, Logger: slog.New(slog.NewTextHandler(&log, nil)),
			Kinds: kindsThat{fail: func(ctx context.Context) error {
				if c.end {
					end()
					return ctx.Err()
				}
				return errors.New("no answer")
			}},
		})
		if err != nil {
			t.Fatal(err)
		}
		o := &object{due: true}
		e.applyObject(ctx, &state.Entry{}, &progress{}, o)
		end()
		if warned := strings.Contains(log.String(), "could not be applied"); warned != c.warned || (o.failure != nil) != c.warned || !o.due || o.applying {
			t.Errorf("%s: it is %+v and the log says %q", c.reason, o, log.String())
		}
	}
}
