package session

import (
	"math"
	"testing"
	"time"
)

func TestEpochsRiseAndNobodyUsesThemUp(t *testing.T) {
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	at := func(d time.Duration) int64 { return now.Add(d).UnixMilli() }
	const year = 365 * 24 * time.Hour
	cases := map[string]struct {
		reason string
		now    time.Time
		last   int64
		known  []int64
		want   int64 // 0: refused
	}{
		"the first session":           {"nobody knows of any other", now, 0, nil, at(0)},
		"a session after others":      {"the clock is above them", now, at(-time.Hour), []int64{at(-time.Minute), at(-year)}, at(0)},
		"two in one millisecond":      {"the second is above the first", now, at(-time.Hour), []int64{at(0)}, at(0) + 1},
		"the hub's clock went back":   {"the agent's last session counts", now, at(time.Hour), []int64{at(time.Minute)}, at(time.Hour) + 1},
		"the hub's clock begins anew": {"it is 1970 there, and no reason to lock agents out", time.UnixMilli(5), at(0), []int64{at(time.Minute)}, at(time.Minute) + 1},
		"an agent that wants the last number": {
			"after it there is none, and whoever has it could never be replaced", now, math.MaxInt64 - 1, nil, 0,
		},
		"an agent that wants one that no clock has come to": {"nor has a hub given it", now, at(101 * year), []int64{at(0)}, 0},
		"an agent of long ago that knows no epoch":          {"what is below the clock never matters", now, math.MinInt64, nil, at(0)},
		"the store has a number that an agent made up": {
			"an earlier version believed it, and what follows it would be refused when the agent says it", now, at(-time.Hour), []int64{math.MaxInt64 - 1, at(1)}, at(1) + 1,
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got, ok := NextEpoch(c.now, c.last, c.known...)
			if got != c.want || ok != (c.want != 0) {
				t.Errorf("epoch %d, accepted %t, want %d: %s", got, ok, c.want, c.reason)
			}
		})
	}
}

func TestAnAgentThatWantsTheHighestEpochIsReplacedByTheNext(t *testing.T) {
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	highest := now.Add(epochsAhead).UnixMilli()
	first, ok := NextEpoch(now, highest)
	if !ok {
		t.Fatal("the highest that is accepted is refused")
	}
	for range 100 { // sessions of another agent follow, whose own are of today, and of the first one again
		now = now.Add(time.Second)
		next, ok := NextEpoch(now, now.UnixMilli(), first)
		if !ok || next <= first {
			t.Fatalf("after epoch %d comes %d, accepted %t", first, next, ok)
		}
		if first, ok = NextEpoch(now, next, next); !ok || first <= next {
			t.Fatalf("after epoch %d comes %d, accepted %t", next, first, ok)
		}
	}
}
