package link

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestWaitsBetweenAttempts plays the ends of attempts and looks at when the next ones begin. The draw is always the
// highest, so that a wait is its ceiling.
func TestWaitsBetweenAttempts(t *testing.T) {
	failure := outcome{err: errors.New("no answer to the hello")}
	nobody := outcome{err: errors.New("connection refused"), nobody: true}
	whole := outcome{err: errors.New("broke"), lasted: 2 * time.Minute}
	cases := map[string]struct {
		reason string
		ends   []outcome
		draw   float64
		want   []time.Duration
	}{
		"the ceiling doubles up to a minute and stays there": {
			reason: "1 s .. 60 s",
			ends:   []outcome{failure, failure, failure, failure, failure, failure, failure, failure},
			draw:   1,
			want:   []time.Duration{1 * time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second, 16 * time.Second, 32 * time.Second, time.Minute, time.Minute},
		},
		"jitter comes after the cap": {
			reason: "at the top a wait is still drawn from the whole range",
			ends:   []outcome{failure, failure, failure, failure, failure, failure, failure, failure},
			draw:   0.5,
			want:   []time.Duration{500 * time.Millisecond, time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second, 16 * time.Second, 30 * time.Second, 30 * time.Second},
		},
		"a session that did not last does not count as success": {
			reason: "a hub that lets agents in and breaks is still broken",
			ends:   []outcome{failure, failure, {err: errors.New("broke"), lasted: 119 * time.Second}, failure},
			draw:   1,
			want:   []time.Duration{1 * time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second},
		},
		"a stable session starts anew": {
			reason: "two minutes",
			ends:   []outcome{failure, failure, failure, {err: errors.New("broke"), lasted: 2 * time.Minute}, failure},
			draw:   1,
			want:   []time.Duration{1 * time.Second, 2 * time.Second, 4 * time.Second, 1 * time.Second, 2 * time.Second},
		},
		"while nobody is there attempts stay close together": {
			reason: "a hub that restarts has its agents back at once",
			ends:   []outcome{whole, nobody, nobody, nobody, nobody, nobody, nobody},
			draw:   1,
			want:   []time.Duration{1 * time.Second, 2 * time.Second, 2 * time.Second, 2 * time.Second, 2 * time.Second, 2 * time.Second, 2 * time.Second},
		},
		"but not for ever": {
			reason: "after two minutes nobody may come back for long",
			ends:   append(append([]outcome{whole}, slices.Repeat([]outcome{nobody}, 60)...), nobody, nobody, nobody, nobody, nobody),
			draw:   1,
			want: append(append([]time.Duration{1 * time.Second}, slices.Repeat([]time.Duration{2 * time.Second}, 61)...),
				4*time.Second, 8*time.Second, 16*time.Second, 32*time.Second),
		},
		"a hub that is there and can't take them in is spared": {
			reason: "a handshake that fails costs it something",
			ends:   []outcome{whole, nobody, nobody, failure, failure, nobody},
			draw:   1,
			want:   []time.Duration{1 * time.Second, 2 * time.Second, 2 * time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second},
		},
		"the hub's wish is a lower bound": {
			reason: "20 s and up to a quarter more, although the ceiling is 1 s",
			ends:   []outcome{{err: errors.New("superseded"), retryAfter: 20 * time.Second}},
			draw:   1,
			want:   []time.Duration{25 * time.Second},
		},
		"beginning anew at the hub's request is no failure": {
			reason: "the ceiling stays where it is, unless the hub asks for it twice running",
			ends:   []outcome{{err: errors.New("begin anew"), atOnce: true}, failure, {err: errors.New("begin anew"), atOnce: true}, {err: errors.New("begin anew"), atOnce: true}, failure},
			draw:   0.2,
			want:   []time.Duration{200 * time.Millisecond, 200 * time.Millisecond, 200 * time.Millisecond, 400 * time.Millisecond, 800 * time.Millisecond},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				var waits []time.Duration
				var ended time.Time
				attempts := 0
				s := supervisor{
					settings: BackoffSettings{}.withDefaults(), draw: func() float64 { return c.draw }, waiting: func(error, time.Time) {},
					attempt: func(context.Context) outcome {
						if attempts > 0 {
							waits = append(waits, time.Since(ended))
						}
						if attempts == len(c.ends) {
							cancel()
							return outcome{}
						}
						attempts++
						ended = time.Now()
						return c.ends[attempts-1]
					},
				}
				if err := s.run(ctx); err != nil {
					t.Fatalf("run returned %v after its context was done", err)
				}
				if diff := cmp.Diff(c.want, waits); diff != "" {
					t.Errorf("%s: waits differ (-want +got):\n%s", c.reason, diff)
				}
			})
		})
	}
}

func TestTheSupervisorEndsWhenTryingAgainIsOfNoUse(t *testing.T) {
	for _, verdict := range []Verdict{Reenrol, Removed} {
		s := supervisor{
			settings: BackoffSettings{}.withDefaults(), draw: func() float64 { return 0 },
			attempt: func(context.Context) outcome { return outcome{verdict: verdict, err: errors.New("revoked")} },
		}
		stopped := &Stopped{}
		if err := s.run(t.Context()); !errors.As(err, &stopped) || stopped.Verdict != verdict {
			t.Errorf("run returned %v, want a Stopped with verdict %d", err, verdict)
		}
	}
}

func TestTheSupervisorStopsWaitingWhenItsContextIsDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		began := time.Now()
		s := supervisor{
			settings: BackoffSettings{}.withDefaults(), draw: func() float64 { return 0 }, waiting: func(error, time.Time) {},
			attempt: func(context.Context) outcome { return outcome{err: errors.New("full"), retryAfter: time.Hour} },
		}
		if err := s.run(ctx); err != nil {
			t.Fatal(err)
		}
		if waited := time.Since(began); waited != 10*time.Second {
			t.Errorf("run returned after %s", waited)
		}
	})
}
