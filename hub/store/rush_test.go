package store_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"windlass.dev/windlass/hub/store"
)

// waited is how long a report waits that comes now.
func waited(ctx context.Context, r *store.Rush) time.Duration {
	began := time.Now()
	r.Wait(ctx)
	return time.Since(began)
}

func TestReportsWaitWhileWorksOfManyClustersAreWritten(t *testing.T) {
	for _, c := range []struct {
		reason   string
		clusters int
		takes    time.Duration
		want     time.Duration
	}{
		{"until they are written", 1000, 200 * time.Millisecond, 200 * time.Millisecond},
		{"no longer than that should take", 1000, time.Minute, 500 * time.Millisecond},
		{"nor longer than a report may be late", 50_000, time.Minute, 2 * time.Second},
		{"for few clusters nothing waits", 99, time.Second, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			var r store.Rush
			written := r.Begin(c.clusters)
			time.AfterFunc(c.takes, written)
			if got := waited(t.Context(), &r); got != c.want {
				t.Errorf("%s: %s, want %s", c.reason, got, c.want)
			}
			time.Sleep(2 * time.Minute)
			synctest.Wait()
			if got := waited(t.Context(), &r); got != 0 {
				t.Errorf("%s: %s long after", c.reason, got)
			}
		})
	}
}

func TestHoweverMuchIsWrittenHalfOfTheTimeIsForReports(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r store.Rush
		ctx, stop := context.WithCancel(t.Context())
		for range 3 { // three bindings at any time
			go func() {
				for ctx.Err() == nil {
					written := r.Begin(1000)
					time.Sleep(300 * time.Millisecond)
					written()
				}
			}()
		}
		waits, moments := 0, 0
		for began := time.Now(); time.Since(began) < time.Minute; moments++ {
			time.Sleep(time.Millisecond)
			now := make(chan bool)
			go func() {
				r.Wait(ctx)
				close(now)
			}()
			synctest.Wait()
			select {
			case <-now:
			default:
				waits++
			}
		}
		stop()
		if waits > moments*55/100 || waits < moments*30/100 {
			t.Errorf("in %d of %d moments reports waited", waits, moments)
		}
		time.Sleep(time.Minute)
	})
}

func TestAReportThatIsGivenUpDoesNotWait(t *testing.T) {
	var r store.Rush
	defer r.Begin(1000)()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r.Wait(ctx)
}
