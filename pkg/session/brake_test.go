package session

import (
	"fmt"
	"testing"
	"time"

	linkv1 "windlass.dev/windlass/api/link/v1"
)

func TestBrake(t *testing.T) {
	start := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	id := func(i int) RemovalID { return RemovalID{Key: fmt.Sprint("k", i), UID: "u"} }
	// passes lets n removals, from the first on, ask at a time, and counts those that pass.
	passes := func(b *Brake, first, n, works int, at time.Duration) int {
		passed := 0
		for i := range n {
			if b.Pass(id(first+i), 1, works, start.Add(at)) {
				passed++
			}
		}
		return passed
	}
	cases := map[string]struct {
		reason string
		got    func(b *Brake) int
		want   int
	}{
		"a small member loses at most the least": {
			reason: "5 % of 40 is less than 10",
			got:    func(b *Brake) int { return passes(b, 0, 40, 40, 0) },
			want:   10,
		},
		"a large member loses at most the percentage": {
			reason: "5 % of 1000",
			got:    func(b *Brake) int { return passes(b, 0, 200, 1000, 0) },
			want:   50,
		},
		"the percentage does not shrink with what is removed": {
			reason: "the base is the highest number seen in the window",
			got:    func(b *Brake) int { return passes(b, 0, 25, 1000, 0) + passes(b, 25, 100, 300, time.Minute) },
			want:   50,
		},
		"the window forgets": {
			reason: "ten and, when the five minutes are over, another ten, if none was ever held",
			got:    func(b *Brake) int { return passes(b, 0, 10, 40, 0) + passes(b, 10, 10, 40, 5*time.Minute) },
			want:   20,
		},
		"nothing trickles through once something is held": {
			reason: "the eleventh was held, so the window does not matter any more",
			got:    func(b *Brake) int { return passes(b, 0, 11, 40, 0) + passes(b, 20, 10, 40, time.Hour) },
			want:   10,
		},
		"what was counted is not counted again": {
			reason: "a session that broke asks for the same removals again",
			got:    func(b *Brake) int { passes(b, 0, 10, 40, 0); return passes(b, 0, 10, 40, time.Minute) },
			want:   10,
		},
		"what takes others along counts for all of them": {
			reason: "one and nine others, and then nothing more",
			got: func(b *Brake) int {
				b.Pass(id(0), 10, 40, start)
				return passes(b, 1, 5, 40, time.Minute)
			},
			want: 0,
		},
		"and also in the next process": {
			reason: "one and six others were counted, so three are left",
			got: func(b *Brake) int {
				b.Pass(id(0), 7, 40, start)
				next := NewBrake(BrakeSettings{})
				next.Recall(b.Counted(start), start)
				return passes(next, 1, 10, 40, time.Minute)
			},
			want: 3,
		},
		"what takes along more than the limit waits, though nothing was counted before": {
			reason: "one and ten others",
			got: func(b *Brake) int {
				if b.Pass(id(0), 11, 40, start) {
					return 1
				}
				return 0
			},
			want: 0,
		},
		"what is confirmed passes and frees nothing else": {
			reason: "two of the four held are confirmed",
			got: func(b *Brake) int {
				passes(b, 0, 14, 40, 0)
				b.Confirm(id(10))
				b.Confirm(id(11))
				return passes(b, 10, 4, 40, 0)
			},
			want: 2,
		},
		"a new process goes on counting": {
			reason: "seven were counted before it began, and three more pass",
			got: func(b *Brake) int {
				passes(b, 0, 7, 40, 0)
				next := NewBrake(BrakeSettings{})
				next.Recall(b.Counted(start.Add(time.Minute)), start.Add(time.Minute))
				return passes(next, 10, 10, 40, time.Minute)
			},
			want: 3,
		},
		"a new process does not count what the one before has counted": {
			reason: "the seven whose removal was interrupted, and three more",
			got: func(b *Brake) int {
				passes(b, 0, 7, 40, 0)
				next := NewBrake(BrakeSettings{})
				next.Recall(b.Counted(start.Add(time.Minute)), start.Add(time.Minute))
				return passes(next, 0, 7, 40, time.Minute) + passes(next, 10, 10, 40, time.Minute)
			},
			want: 10,
		},
		"the window goes on over the end of a process": {
			reason: "what was counted five minutes ago is neither kept nor counted",
			got: func(b *Brake) int {
				passes(b, 0, 7, 40, 0)
				kept := b.Counted(start)
				next := NewBrake(BrakeSettings{})
				next.Recall(kept, start.Add(5*time.Minute))
				return passes(next, 10, 20, 40, 5*time.Minute) + len(b.Counted(start.Add(5*time.Minute)))
			},
			want: 10,
		},
		"a clock that has gone back prolongs nothing": {
			reason: "what was counted in an hour from now counts for five minutes",
			got: func(b *Brake) int {
				b.Recall([]Counted{{Removal: 1, At: start.Add(time.Hour)}}, start)
				return passes(b, 0, 10, 40, 5*time.Minute)
			},
			want: 10,
		},
		"nothing passes until it is known again what was held": {
			reason: "the process before held something; what the comparison has found is held on",
			got: func(b *Brake) int {
				b.Resume()
				passed := passes(b, 0, 3, 40, 0)
				b.compared()
				return passed + passes(b, 10, 3, 40, time.Hour)
			},
			want: 0,
		},
		"what was held and is not wanted any more holds nothing back": {
			reason: "the comparison has found nothing to remove",
			got: func(b *Brake) int {
				b.Resume()
				b.compared()
				return passes(b, 0, 3, 40, 0)
			},
			want: 3,
		},
		"what is not wanted any more holds nothing back": {
			reason: "the held ones are gone and the window is over",
			got: func(b *Brake) int {
				passes(b, 0, 14, 40, 0)
				b.Retain(func(RemovalID) bool { return false })
				return passes(b, 20, 10, 40, time.Hour)
			},
			want: 10,
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if got := c.got(NewBrake(BrakeSettings{})); got != c.want {
				t.Errorf("%d removals passed, want %d: %s", got, c.want, c.reason)
			}
		})
	}
}

func TestConfirmingWhatHasChangedIsRefused(t *testing.T) {
	w := newWorld()
	for i := range 8 {
		w.put(fmt.Sprint("k", i))
	}
	w.connect()
	w.deliverAll()
	for i := range 5 {
		w.remove(fmt.Sprint("k", i), linkv1.RemovalCause_REMOVAL_CAUSE_NOT_SELECTED)
	}
	w.settle()
	seen := w.hub.Hold().ID
	w.remove("k6", linkv1.RemovalCause_REMOVAL_CAUSE_NOT_SELECTED)
	w.settle()
	if _, err := w.hub.Confirm(seen); err == nil {
		t.Error("a confirmation of two held removals released three")
	}
	if n, err := w.hub.Confirm(w.hub.Hold().ID); n != 3 || err != nil {
		t.Errorf("confirmed %d removals with error %v, want 3", n, err)
	}
}

// listedWithoutGeneration is a Source that does not know the generation of what is being removed.
type listedWithoutGeneration struct{ *world }

func (s listedWithoutGeneration) List() ([]Listed, int64) {
	listed, revision := s.world.List()
	for i := range listed {
		if listed[i].Removing {
			listed[i].Ref = Ref{Key: listed[i].Key, UID: listed[i].UID}
		}
	}
	return listed, revision
}

func TestAnUnknownGenerationIsNoProofOfARestoredStore(t *testing.T) {
	w := newWorld()
	w.put("a")
	w.connect()
	w.deliverAll()
	w.cut()
	w.remove("a", linkv1.RemovalCause_REMOVAL_CAUSE_TEMPLATE_DELETED)
	w.connect()
	w.hub.source = listedWithoutGeneration{w}
	w.deliverAll()
	if w.store.restoring || len(w.member.holds) != 0 {
		t.Errorf("restore mode is %v and the member holds %v, want the work removed", w.store.restoring, w.member.holds)
	}
}

func TestRefsOfDifferentFieldsHaveDifferentDigests(t *testing.T) {
	refs := []Ref{
		{Key: "a", UID: "b", Generation: 1, Hash: "c"},
		{Key: "a", UID: "bc", Generation: 1, Hash: ""},
		{Key: "ab", UID: "", Generation: 1, Hash: "c"},
		{Key: "a", UID: "b", Generation: -1, Hash: "c"},
	}
	seen := map[string]Ref{}
	for _, r := range refs {
		digest := string(bucketDigests([]Ref{r}, 1)[0])
		if other, twice := seen[digest]; twice {
			t.Errorf("%+v and %+v have one digest", r, other)
		}
		seen[digest] = r
	}
}

func TestAHoldSaysHowManyPassedBeforeAndTheLimitOfTheSideThatWasExceeded(t *testing.T) {
	for reason, c := range map[string]struct{ hubs, agents int }{
		"the hub's is the lower one":   {2, 9},
		"the agent's is the lower one": {9, 2},
	} {
		t.Run(reason, func(t *testing.T) {
			w := newWorld()
			w.brakes, w.agentBrakes = BrakeSettings{Least: c.hubs}, &BrakeSettings{Least: c.agents}
			w.hubBrake, w.agentBrake = NewBrake(w.brakes), w.newAgentBrake()
			for i := range 6 {
				w.put(fmt.Sprint("k", i))
			}
			w.connect()
			w.deliverAll()
			for i := range 5 {
				w.remove(fmt.Sprint("k", i), linkv1.RemovalCause_REMOVAL_CAUSE_NOT_SELECTED)
			}
			for range 2 {
				w.settle()
				w.deliverAll()
				if hold := w.hub.Hold(); hold.Held != 3 || hold.Excess != (Excess{Passed: 2, Limit: 2, Window: 5 * time.Minute}) {
					t.Errorf("the hold is %+v, want 3 after 2 of 2 within 5 minutes", hold)
				}
				w.restartAgent()
				w.connect()
				w.deliverAll()
			}
		})
	}
}
