package link

import (
	"testing"
	"time"

	"windlass.dev/windlass/pkg/session"
)

func TestAgentsThatThrowEachOtherOutAreToldOnceInAnEpisode(t *testing.T) {
	start := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	// An entry is one session: when it begins, and the epoch of the agent's session before.
	type entry struct {
		at     time.Duration
		before int64
	}
	cases := map[string]struct {
		reason  string
		entries []entry
		told    int
	}{
		"a new agent takes an old one's place": {"that happens once", []entry{{0, 0}, {time.Second, 0}}, 0},
		"an agent comes back over and over": {
			"the session that it replaces is its own, whose end nobody has noticed", []entry{{0, 0}, {time.Second, 1}, {2 * time.Second, 2}, {3 * time.Second, 3}}, 0,
		},
		"two alternate": {
			"each comes back with the epoch of its own last session", []entry{{0, 0}, {time.Second, 0}, {20 * time.Second, 1}, {40 * time.Second, 2}, {60 * time.Second, 3}}, 1,
		},
		"two alternate again, much later": {
			"that is another episode", []entry{{0, 0}, {time.Second, 0}, {20 * time.Second, 1}, {time.Hour, 2}, {time.Hour + time.Second, 3}}, 2,
		},
		"two rollouts on one day": {"each took the place of an agent once", []entry{{0, 0}, {time.Second, 0}, {time.Hour, 0}}, 0},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			m := newMembers(session.BrakeSettings{}, func(string) bool { return false })
			told := 0
			for i, e := range c.entries {
				_, rivals, entered := m.enter(&stream{cluster: "eu", epoch: int64(i + 1), entry: m.entry("eu")}, e.before, start.Add(e.at))
				if !entered {
					t.Fatal("a newer session was not let in")
				}
				if rivals {
					told++
				}
			}
			if told != c.told {
				t.Errorf("it was told %d times, want %d: %s", told, c.told, c.reason)
			}
		})
	}
}

func TestWhatWaitedForAPersonWaitsInTheNextProcess(t *testing.T) {
	m := newMembers(session.BrakeSettings{}, func(cluster string) bool { return cluster == "eu" })
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	if m.entry("eu").brake.Pass(session.RemovalID{Key: "a", UID: "u"}, 1, 100, now) {
		t.Error("a member in which deletions waited lost something before it was compared")
	}
	if !m.entry("us").brake.Pass(session.RemovalID{Key: "a", UID: "u"}, 1, 100, now) {
		t.Error("a member in which nothing waited is held")
	}
}

func TestTheRemovalOfAClusterIsNoneOfAnotherThatHasItsName(t *testing.T) {
	for _, c := range []struct {
		reason, connected, removed string
		ends, another              bool
	}{
		{"its own agent is connected", "id-1", "id-1", true, false},
		{"nobody knows which one was removed, and no cluster has the name", "id-1", "", true, false},
		{"the agent of the next cluster of the name is connected", "id-2", "id-1", false, true},
		{"nobody is connected", "", "id-1", false, false},
	} {
		m := newMembers(session.BrakeSettings{}, func(string) bool { return false })
		brake := m.entry("eu").brake
		if c.connected != "" {
			m.enter(&stream{cluster: "eu", clusterID: c.connected, epoch: 1, entry: m.entry("eu")}, 0, time.Time{})
		}
		removed, another := m.forget("eu", c.removed)
		if (removed != nil) != c.ends || another != c.another || (m.current("eu") != nil) != c.another || (m.entry("eu").brake == brake) != c.another {
			t.Errorf("%s: a session is ended %t, another one stays %t; want %t and %t", c.reason, removed != nil, another, c.ends, c.another)
		}
	}
}

func TestWhatWasAuthenticatedBeforeAnIdentityEndedDoesNotComeIn(t *testing.T) {
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		reason string
		ends   func(m *members) (session *stream)
		// keeps: what is known of the member is known afterwards.
		keeps bool
	}{
		"it was revoked":      {"somebody else is the member's agent by now", func(m *members) *stream { return m.replaceEntry("eu") }, true},
		"the cluster is gone": {"whatever comes under its name is another", func(m *members) *stream { session, _ := m.forget("eu", ""); return session }, false},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMembers(session.BrakeSettings{}, func(string) bool { return false })
			first, late := &stream{cluster: "eu", epoch: 1, entry: m.entry("eu")}, &stream{cluster: "eu", epoch: 3, entry: m.entry("eu")}
			if _, _, entered := m.enter(first, 0, now); !entered {
				t.Fatal("the first session was not let in")
			}
			brake := m.entry("eu").brake
			if c.ends(m) != first {
				t.Error("the session that is there is not named")
			}
			if _, _, entered := m.enter(late, 0, now); entered {
				t.Errorf("a stream came in that was authenticated before: %s", c.reason)
			}
			next := &stream{cluster: "eu", epoch: 2, entry: m.entry("eu")}
			replaced, _, entered := m.enter(next, 0, now)
			if !entered || m.current("eu") != next {
				t.Error("a stream that was opened since was not let in")
			}
			if kept := replaced == first && m.entry("eu").brake == brake; kept != c.keeps {
				t.Errorf("what was known of the member is known: %t, want %t", kept, c.keeps)
			}
		})
	}
}
