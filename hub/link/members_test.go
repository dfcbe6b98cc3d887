package link

import (
	"cmp"
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
			m := newMembers(session.BrakeSettings{}, func(string, string) bool { return false })
			told := 0
			for i, e := range c.entries {
				_, rivals, entered := m.enter(&stream{cluster: "eu", clusterID: "id-1", epoch: int64(i + 1), entry: m.entry("eu", "id-1")}, e.before, start.Add(e.at))
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
	m := newMembers(session.BrakeSettings{}, func(cluster, id string) bool { return cluster == "eu" && id == "id-1" })
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	if m.entry("eu", "id-1").brake.Pass(session.RemovalID{Key: "a", UID: "u"}, 1, 100, now) {
		t.Error("a member in which deletions waited lost something before it was compared")
	}
	for _, other := range [][2]string{{"us", "id-1"}, {"eu", "id-2"}} {
		if !m.entry(other[0], other[1]).brake.Pass(session.RemovalID{Key: "a", UID: "u"}, 1, 100, now) {
			t.Errorf("%v, in which nothing waited, is held", other)
		}
	}
}

func TestTheRemovalOfAClusterIsNoneOfAnotherThatHasItsName(t *testing.T) {
	for _, c := range []struct {
		reason, connected, removed string
		ends, forgotten            bool
	}{
		{"its own agent is connected", "id-1", "id-1", true, true},
		{"nobody knows which one was removed, and no cluster has the name", "id-1", "", true, true},
		{"the agent of the next cluster of the name is connected", "id-2", "id-1", false, false},
		{"nobody is connected", "", "id-1", false, true},
	} {
		m := newMembers(session.BrakeSettings{}, func(string, string) bool { return false })
		whose := cmp.Or(c.connected, "id-1")
		brake := m.entry("eu", whose).brake
		if c.connected != "" {
			m.enter(&stream{cluster: "eu", clusterID: c.connected, epoch: 1, entry: m.entry("eu", c.connected)}, 0, time.Time{})
		}
		removed := m.forget("eu", c.removed)
		stays := c.connected != "" && !c.ends
		if (removed != nil) != c.ends || (m.current("eu") != nil) != stays || (m.entry("eu", whose).brake != brake) != c.forgotten {
			t.Errorf("%s: a session is ended %t, one stays %t; want %t and %t, and that the brake is forgotten: %t",
				c.reason, removed != nil, m.current("eu") != nil, c.ends, stays, c.forgotten)
		}
	}
}

func TestAClusterThatHasTheNameOfOneThatWasReplacedBeginsWithNothingOfIt(t *testing.T) {
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		reason string
		first  bool // the former is forgotten before the agent of the next one comes in
	}{
		{"its agent is faster than the removal of the former", false},
		{"it is not", true},
	} {
		t.Run(c.reason, func(t *testing.T) {
			m := newMembers(session.BrakeSettings{}, func(_, id string) bool { return id == "id-1" })
			opened := func(id string, epoch int64) *stream {
				return &stream{cluster: "eu", clusterID: id, epoch: epoch, entry: m.entry("eu", id)}
			}
			former, late := opened("id-1", 1), opened("id-1", 4)
			m.enter(former, 0, now)
			next := opened("id-2", 2)
			if next.entry.brake.Holds() || !former.entry.brake.Holds() {
				t.Error("what waits for a person in the former waits in the next one")
			}
			if c.first && m.forget("eu", "id-1") != former {
				t.Error("the former's session is not ended")
			}
			replaced, _, entered := m.enter(next, 0, now)
			if !entered || (replaced == former) == c.first {
				t.Fatalf("the next one came in: %t, and a session was replaced: %t", entered, replaced != nil)
			}
			if next.entry.rivals != (rivalry{}) {
				t.Error("the former and the next one are taken for rivals with one identity")
			}
			if _, _, entered := m.enter(late, 0, now); entered {
				t.Error("the former has come in again")
			}
			if !c.first && m.forget("eu", "id-1") != nil || m.current("eu") != next || m.entry("eu", "id-2") != next.entry {
				t.Error("the next one was forgotten with the former")
			}
		})
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
		"it was revoked":      {"somebody else is the member's agent by now", func(m *members) *stream { return m.replaceEntries("eu") }, true},
		"the cluster is gone": {"whatever comes under its name is another", func(m *members) *stream { return m.forget("eu", "") }, false},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMembers(session.BrakeSettings{}, func(string, string) bool { return false })
			first, late := &stream{cluster: "eu", clusterID: "id-1", epoch: 1, entry: m.entry("eu", "id-1")}, &stream{cluster: "eu", clusterID: "id-1", epoch: 3, entry: m.entry("eu", "id-1")}
			if _, _, entered := m.enter(first, 0, now); !entered {
				t.Fatal("the first session was not let in")
			}
			brake := m.entry("eu", "id-1").brake
			if c.ends(m) != first {
				t.Error("the session that is there is not named")
			}
			if _, _, entered := m.enter(late, 0, now); entered {
				t.Errorf("a stream came in that was authenticated before: %s", c.reason)
			}
			next := &stream{cluster: "eu", clusterID: "id-1", epoch: 2, entry: m.entry("eu", "id-1")}
			replaced, _, entered := m.enter(next, 0, now)
			if !entered || m.current("eu") != next {
				t.Error("a stream that was opened since was not let in")
			}
			if kept := replaced == first && m.entry("eu", "id-1").brake == brake; kept != c.keeps {
				t.Errorf("what was known of the member is known: %t, want %t", kept, c.keeps)
			}
		})
	}
}
