package session

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	linkv1 "windlass.dev/windlass/api/link/v1"
)

var seeds = flag.Int("seeds", 2000, "how many random histories TestBothEndsAgreeAfterAnyHistory plays")

// TestBothEndsAgreeAfterAnyHistory lets users, the network, both processes and the store do what they like, in a random
// order, and then lets everything become quiet. What has to hold is checked on the way and at the end.
func TestBothEndsAgreeAfterAnyHistory(t *testing.T) {
	for seed := range *seeds {
		w := newWorld()
		history := playHistory(w, rand.New(rand.NewPCG(uint64(seed), 7)))
		w.becomeQuiet()
		w.checkAgreement()
		w.checkQuiet()
		if len(w.faults) > 0 {
			t.Fatalf("seed %d: %v\nhistory:\n%s", seed, w.faults, history.String())
		}
	}
}

// TestTheWindowIsUsed makes sure that the property above is not true because nothing was ever sent at once.
func TestTheWindowIsUsed(t *testing.T) {
	w := newWorld()
	w.connect() // from here on the member remembers the era
	w.deliverAll()
	w.cut()
	w.slowMember = true
	for i := range 20 {
		w.put(fmt.Sprint("k", i))
	}
	w.connect()
	w.deliverAll()
	if w.maxUnacknowledged != w.settings.Window {
		t.Errorf("%d of %d messages were under way at once", w.maxUnacknowledged, w.settings.Window)
	}
}

// playHistory does some hundred random things and returns what it did and, later too,
// what happened.
func playHistory(w *world, random *rand.Rand) *strings.Builder {
	history := &strings.Builder{}
	w.settings = Settings{Window: 1 + random.IntN(6), ReportWindow: 1 + random.IntN(6), RefsUpTo: 1 + random.IntN(12), Buckets: 1 + random.IntN(8)}
	// Short windows, so that many holds outlast them.
	w.brakes = BrakeSettings{Least: 1 + random.IntN(8), Window: time.Minute}
	w.reportsFirst, w.reportsAreWrites = random.IntN(2) == 0, true
	w.agentBrakes = &BrakeSettings{Least: 1 + random.IntN(4), Window: 10 * time.Second}
	w.burdens = map[string]int{"k00": 1, "k01": 2, "k02": 9, "k03": kept} // they are weighed
	w.hubBrake, w.agentBrake = NewBrake(w.brakes), w.newAgentBrake()
	w.backup = w.store.copy()
	w.log = func(format string, args ...any) { fmt.Fprintf(history, "    "+format+"\n", args...) }
	key := func() string { return fmt.Sprintf("k%02d", random.IntN(15)) }
	side := func() bool { return random.IntN(2) == 0 }
	// Not all: what restores over a slow member is compared again and again until that is done.
	deliverMany := func() {
		for range 100 {
			w.deliver(side())
		}
	}
	causes := []linkv1.RemovalCause{
		linkv1.RemovalCause_REMOVAL_CAUSE_TEMPLATE_DELETED, linkv1.RemovalCause_REMOVAL_CAUSE_NOT_SELECTED, linkv1.RemovalCause_REMOVAL_CAUSE_FORCED,
	}
	actions := []struct {
		weight int
		name   string
		do     func()
	}{
		{30, "put", func() { w.put(key()) }},
		{8, "preserve", func() { w.preserve(key(), side()) }},
		{10, "remove", func() { w.remove(key(), causes[random.IntN(len(causes))]) }},
		{2, "move away", func() {
			for range 8 {
				w.remove(key(), linkv1.RemovalCause_REMOVAL_CAUSE_NOT_SELECTED)
			}
			deliverMany()
		}},
		{3, "take back", func() { w.takeBack(key()) }},
		{2, "vanish", func() { w.vanish(key()) }},
		{10, "something happens in the member", func() { w.happen(key()) }},
		{60, "deliver", func() { w.deliver(side()) }},
		{4, "deliver many", deliverMany},
		{5, "drop", func() { w.disturb("drop", side(), 1) }},
		{5, "duplicate", func() { w.disturb("duplicate", side(), 1+random.IntN(3)) }},
		{5, "reverse", func() { w.disturb("reverse", side(), 2+random.IntN(3)) }},
		{4, "connect", func() { w.connect() }},
		{2, "cut", func() { w.cut() }},
		{2, "restart hub", func() { w.restartHub() }},
		{2, "restart agent", func() { w.restartAgent() }},
		// Each side holds on by itself what both know to wait.
		{2, "restart both, the hub before it wrote what the agent holds", func() {
			if w.toldHold() && w.hub.Hold().HeldByAgent == w.hub.Hold().Held {
				w.store.held = false
				w.restartAgent()
				w.restartHub()
			}
		}},
		{2, "lose the agent's brake", func() {
			if w.toldHold() {
				w.member.counted, w.member.braked = nil, false
				w.restartAgent()
			}
		}},
		{6, "tick", func() { w.tick(time.Duration(random.IntN(40)) * time.Second) }},
		{2, "slow", func() { w.slowMember, w.slowStore = side(), side() }},
		{6, "work", func() { w.work() }},
		{2, "fail", func() { w.failing = side() }},
		{1, "backup", func() { w.backup = w.store.copy() }},
		{1, "restore", func() {
			if random.IntN(3) > 0 {
				return
			}
			// The agent may come back at once, or after the restored store has grown past all that it has seen, and
			// after more starts of the hub and another restore of the same backup.
			w.restore()
		}},
		{1, "lose nothing but reports", func() {
			w.backup = w.store.copy()
			for range 3 {
				w.happen(key())
			}
			deliverMany()
			w.restore()
		}},
		{1, "restore under the hub", func() {
			if random.IntN(4) == 0 && w.backup.revision <= w.highest {
				// Here the store is not past what the hub has seen when the agent comes back; that is the premise of
				// recognising it.
				w.restoreUnderTheHub()
				w.connect()
				deliverMany()
			}
		}},
		{1, "replace the store", func() {
			if random.IntN(8) == 0 {
				w.replaceStore()
			}
		}},
		{1, "another member shows that the store was cut back", func() {
			if random.IntN(4) == 0 {
				w.showCut("another")
			}
		}},
		{1, "confirm what that one has", w.endDoubt},
		{1, "confirm", func() {
			if w.hub != nil {
				_, _ = w.confirm()
			}
		}},
	}
	total := 0
	for _, a := range actions {
		total += a.weight
	}
	for range 100 + random.IntN(500) {
		at := random.IntN(total)
		for _, a := range actions {
			if at -= a.weight; at < 0 {
				history.WriteString(a.name + "\n")
				a.do()
				w.settle()
				break
			}
		}
	}
	return history
}

// becomeQuiet lets every fault end, and a person confirm what waits for him.
func (w *world) becomeQuiet() {
	w.log("from here on everything is sound")
	w.slowMember, w.slowStore, w.failing = false, false, false
	w.work()
	for range 12 {
		if !w.connected() {
			w.connect()
		}
		w.deliverAll()
		if w.hub != nil {
			if w.hub.Hold().ID != "" {
				if _, err := w.confirm(); err != nil {
					w.fault("what is held could not be confirmed: %v", err)
				}
				w.settle()
				w.deliverAll()
			}
		}
		// In steps shorter than the heartbeat timeout, so that sound sessions stay.
		for range 4 {
			w.tick(16 * time.Second)
			w.deliverAll()
		}
	}
}

// checkAgreement: the member has exactly what the hub wants. What only the member had, because the store was restored or
// replaced, is gone by a person's word.
func (w *world) checkAgreement() {
	if !w.connected() || w.hub.State() != Replicate {
		w.fault("after quiet the session does not stand in Replicate")
		return
	}
	for key, s := range w.store.works {
		switch held := w.member.holds[key]; {
		case s.removing != nil:
			w.fault("work %s is still being removed; it is held: %+v", key, w.hub.Hold())
		case held != s.ref:
			w.fault("the hub wants %+v and the member holds %+v", s.ref, held)
		}
		if got, want := w.store.reports[key], describeReport(w.report(key))+w.report(key).GetMessage(); got != want {
			w.fault("the store's report of %s is %q, the member's is %q", key, got, want)
		}
	}
	for key, held := range w.member.holds {
		if _, wanted := w.store.works[key]; !wanted {
			w.fault("the member holds %+v, which nobody wants", held)
		}
	}
}

// checkQuiet: a session in which nothing happens says nothing but heartbeats.
func (w *world) checkQuiet() {
	if !w.connected() {
		return
	}
	for range 30 {
		w.now = w.now.Add(20 * time.Second)
		w.hub.Tick(w.now)
		w.agent.Tick(w.now)
		w.settle()
		for _, m := range w.toHub {
			if unmarshal(m, &linkv1.FromAgent{}).GetHeartbeat() == nil {
				w.fault("a quiet agent said %s", describeFromAgent(unmarshal(m, &linkv1.FromAgent{})))
			}
		}
		w.deliverAll()
		if !w.connected() {
			w.fault("a quiet session ended")
			return
		}
	}
}
