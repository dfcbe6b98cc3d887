package garbage

import (
	"context"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"testing"
	"time"
)

func TestAnAmountMayGatherUntilThatIsLessThanWhatIsInUse(t *testing.T) {
	for _, c := range []struct {
		reason  string
		used    uint64
		rate    float64
		joining bool
		want    int
	}{
		{"nothing is known yet", 0, busy, false, most},
		{"a program that has just begun", 10 << 20, busy, false, most},
		{"a small hub", 128 << 20, busy, false, 200},
		{"one that holds as much", room, busy, false, usual},
		{"one that holds more", 4 * room, busy, false, usual},
		{"a small hub that has little to do", 128 << 20, busy / 2, false, usual},
		{"one that looks through what it holds as often as it may", 128 << 20, looks, false, usual},
		{"one with less to do", 128 << 20, looks / 2, false, usual / 2},
		{"one that holds more and has as little to do", 4 * room, looks / 2, false, usual / 2},
		{"one with nothing to do", 128 << 20, 0, false, least},
		{"a small hub that many join", 128 << 20, busy, true, packed},
		{"one that holds more", 4 * room, busy, true, packed},
		{"one that some join, with little else to do", 128 << 20, looks, true, packed},
		{"one that an agent joins, with nothing else to do", 128 << 20, 0, true, least},
	} {
		if got := share(c.used, c.rate, c.joining); got != c.want {
			t.Errorf("%s: %d %%, want %d", c.reason, got, c.want)
		}
	}
}

func TestABurstHasItsRoomFromItsBeginningAndIsCollectedAfter(t *testing.T) {
	const mb = 1 << 20
	held := uint64(512 * mb)
	began := time.Now()
	s := state{since: reading{at: began, used: held}, started: true}
	now := s.since
	step := func(reason string, megabytes, joined uint64, want int) {
		t.Helper()
		before := now
		now.at, now.allocated, now.joined = now.at.Add(moment), now.allocated+megabytes*mb, now.joined+joined
		if got := s.moment(before, now); got != want {
			t.Errorf("%s: %d %%, want %d", reason, got, want)
		}
	}
	collected := func(reason string, want int) {
		t.Helper()
		if got := s.collection(now); got != want {
			t.Errorf("%s: %d %%, want %d", reason, got, want)
		}
	}
	rest := func() {
		for range int(calm/moment) - 1 {
			step("a pause in it", 0, 0, 0)
		}
	}
	step("a hub at rest", 0, 0, 0)
	collected("collected at rest", least)
	step("a burst", 20, 0, usual)
	step("that goes on", 20, 0, usual)
	rest()
	step("and goes on", 20, 0, usual)
	rest()
	step("its end, with little gathered", 0, 0, 0)
	step("a burst after it", 80, 0, usual)
	rest()
	step("its end, with much gathered", 0, 0, least)
	collected("collected at rest again", least)
	step("agents that join", 20, 10, packed)
	collected("collected meanwhile", packed)
	step("more of them", 20, 10, packed)
	step("one of them in a burst", 40, 1, packed)
	step("that goes on without", 200, 0, usual)
	collected("collected in the burst", usual)
	rest()
	step("its end", 0, 0, 0)
	collected("collected long after", least)
}

func TestAHubThatStartsIsLookedThroughLessOften(t *testing.T) {
	began := time.Now()
	s := state{since: reading{at: began}}
	for _, used := range []uint64{100 << 20, 1 << 30} {
		if got := s.collection(reading{at: began.Add(time.Second), used: used}); got < growing {
			t.Errorf("with %d MB in use: %d %%", used>>20, got)
		}
	}
	s.started = true
	if got := s.collection(reading{at: began.Add(time.Minute), used: 1 << 30}); got != least {
		t.Errorf("after the start: %d %%", got)
	}
}

func present() int {
	sample := []metrics.Sample{{Name: "/gc/gogc:percent"}}
	metrics.Read(sample)
	return int(sample[0].Value.Uint64())
}

var garbage []byte

// until makes so much garbage and collects it, again and again, until the share is what is wanted.
func until(t *testing.T, what string, made int, wanted func(int) bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !wanted(present()); runtime.GC() {
		garbage = make([]byte, made)
		garbage = nil
		if time.Now().After(deadline) {
			t.Fatalf("%s: the share stays %d %%", what, present())
		}
	}
}

func TestTheShareFollowsWhatIsInUse(t *testing.T) {
	before := present()
	t.Cleanup(func() { debug.SetGCPercent(before) })
	ctx, stop := context.WithCancel(t.Context())
	g := Gather(ctx, func(string) string { return "" })
	until(t, "a program that starts", 0, func(share int) bool { return share >= growing })
	g.Started()
	until(t, "a program that uses little and makes much garbage", 4*busy, func(share int) bool { return share == most })
	held := make([]byte, room/2)
	until(t, "one that uses half of the room", 4*busy, func(share int) bool { return share > usual && share <= 200 })
	runtime.KeepAlive(held)
	joining, joined := context.WithCancel(ctx)
	go func() {
		for joining.Err() == nil { // each look begins to count anew
			g.Joined()
			runtime.Gosched()
		}
	}()
	until(t, "while agents join", 4*busy, func(share int) bool { return share == packed })
	joined()
	until(t, "and little again", 4*busy, func(share int) bool { return share == most })
	until(t, "when it has nothing to do", 0, func(share int) bool { return share < usual })
	until(t, "and again much", 4*busy, func(share int) bool { return share == most })
	stop()
	until(t, "at the end", 4*busy, func(share int) bool { return share == usual })
}

func TestWhoSetsTheShareHasDecided(t *testing.T) {
	before := present()
	t.Cleanup(func() { debug.SetGCPercent(before) })
	Gather(t.Context(), func(name string) string { return map[string]string{"GOGC": "50"}[name] })
	if got := present(); got != before {
		t.Errorf("it became %d %%", got)
	}
}
