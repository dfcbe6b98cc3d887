package apply

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/client-go/dynamic"

	linkv1 "windlass.dev/windlass/api/link/v1"
)

// notedState writes down in which order a work is held and becomes durable.
type notedState struct {
	emptyState
	steps []string
}

func (s *notedState) Hold(*linkv1.Work) bool {
	s.steps = append(s.steps, "held")
	return true
}

func (s *notedState) Put(context.Context, *linkv1.Work) error {
	s.steps = append(s.steps, "durable")
	return nil
}

func TestTheIntentOfANewWorkLetsItsObjectsSettle(t *testing.T) {
	for _, c := range []struct {
		reason       string
		handledAfter time.Duration
		want         time.Duration
	}{
		{"its objects were applied at once", 3 * time.Millisecond, 3*time.Millisecond + intentRest},
		{"that takes long", time.Hour, firstLimit},
	} {
		synctest.Test(t, func(t *testing.T) {
			e, err := New(Config{
				Client: struct{ dynamic.Interface }{}, State: &emptyState{}, Contents: struct{ Contents }{}, HubID: "h", Now: time.Now,
				Logger: slog.New(slog.DiscardHandler), Kinds: kindsThat{},
			})
			if err != nil {
				t.Fatal(err)
			}
			defer e.queue.ShutDown()
			handled := time.AfterFunc(c.handledAfter, func() { e.handledOnce("web") })
			defer handled.Stop()
			began := time.Now()
			e.applyFirst(t.Context(), "web")
			if waited := time.Since(began); waited != c.want {
				t.Errorf("%s: it waited for %v, want %v", c.reason, waited, c.want)
			}
		})
	}
}

func TestANewWorkWaitsForTheJournalOnlyBehindOthers(t *testing.T) {
	const workers = 3
	for _, c := range []struct {
		reason  string
		waiting int
		want    []string
	}{
		{"nothing waits", 0, []string{"held", "durable"}},
		{"a worker is free before the journal may be", workers - 1, []string{"held", "durable"}},
		{"all workers have enough to do meanwhile", workers, []string{"durable"}},
	} {
		t.Run(c.reason, func(t *testing.T) {
			noted := &notedState{}
			e, err := New(Config{
				Client: struct{ dynamic.Interface }{}, State: noted, Contents: struct{ Contents }{}, HubID: "h", Now: time.Now,
				Logger: slog.New(slog.DiscardHandler), Kinds: kindsThat{}, Settings: Settings{Workers: workers},
			})
			if err != nil {
				t.Fatal(err)
			}
			for i := range c.waiting {
				e.enqueue(fmt.Sprint("other-", i), newWork)
			}
			ended, end := context.WithCancel(t.Context())
			end() // nobody applies here, and nobody waits for it
			if err := e.Put(ended, &linkv1.Work{Key: "web"}); err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(noted.steps, c.want) {
				t.Errorf("the work was %v, want %v", noted.steps, c.want)
			}
		})
	}
}
