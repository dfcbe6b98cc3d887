package link

import (
	"sync"
	"time"

	"windlass.dev/windlass/pkg/session"
)

// members knows which session each member has, and what outlives sessions. Safe for concurrent use.
type members struct {
	brakes session.BrakeSettings
	// held says whether deletions in a member waited for a person when the process before ended.
	held func(cluster, id string) bool

	mu     sync.Mutex
	byName map[string]*member
	// all are the streams that are served, admitted or not.
	all sync.WaitGroup
}

// A member is whoever has the name.
type member struct {
	// entries are by the ids of the clusters that come in by them. There is more than one only while the agent of a cluster that
	// has the name of a removed one has not come in yet.
	entries map[string]*entry
	current *stream
	// last describes the session that ended last.
	last SessionInfo
}

// An entry is what is known of one cluster. It is another after its identity was revoked, and gone with its cluster. A
// stream comes in only by the entry that it was opened with, so that none does that was authenticated before.
type entry struct {
	brake *session.Brake
	// rivals tells when two agents with one identity throw each other out.
	rivals rivalry
}

// A rivalry counts how often a session was ended by an agent that had not had it itself. Once is a new agent in place of
// an old one; more often, two run.
type rivalry struct {
	times int
	last  time.Time
	told  bool
}

const (
	// rivalsAfter so many times within episode, agents are called rivals.
	rivalsAfter = 2
	episode     = 5 * time.Minute
)

// displaced counts, and says whether to tell now: once in an episode, which ends when nothing has happened for a while.
func (r *rivalry) displaced(now time.Time) bool {
	if now.Sub(r.last) >= episode {
		*r = rivalry{}
	}
	r.times, r.last = r.times+1, now
	tell := r.times >= rivalsAfter && !r.told
	r.told = r.told || tell
	return tell
}

func newMembers(s session.BrakeSettings, held func(cluster, id string) bool) *members {
	return &members{brakes: s, held: held, byName: map[string]*member{}}
}

// entry is the cluster's present one. Its brake is the same one for every session.
func (m *members) entry(cluster, id string) *entry {
	m.mu.Lock()
	defer m.mu.Unlock()
	known := m.byName[cluster]
	if known == nil {
		known = &member{entries: map[string]*entry{}}
		m.byName[cluster] = known
	}
	if known.entries[id] == nil {
		known.entries[id] = &entry{brake: session.NewBrake(m.brakes)}
		if m.held(cluster, id) {
			known.entries[id].brake.Resume()
		}
	}
	return known.entries[id]
}

// replaceEntries gives the member other entries, with all that is known, and returns the session that is there.
func (m *members) replaceEntries(cluster string) *stream {
	m.mu.Lock()
	defer m.mu.Unlock()
	known := m.byName[cluster]
	if known == nil {
		return nil
	}
	for id, old := range known.entries {
		another := *old
		known.entries[id] = &another
	}
	return known.current
}

// enter makes a session the member's, unless one with a higher epoch is. Whoever has had the name before was removed, and
// does not come in any more. It returns the session that it replaces, and whether it is time to tell that two agents replace
// each other. The agent of before is the one whose session was the replaced one: an agent that comes back over a connection
// whose end was not noticed here is no rival of itself.
func (m *members) enter(s *stream, before int64, now time.Time) (replaced *stream, rivals, entered bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	known := m.byName[s.cluster]
	if known == nil || known.entries[s.clusterID] != s.entry || known.current != nil && known.current.epoch > s.epoch {
		return nil, false, false
	}
	known.entries = map[string]*entry{s.clusterID: s.entry}
	replaced, known.current = known.current, s
	rivals = replaced != nil && replaced.clusterID == s.clusterID && replaced.epoch != before && s.entry.rivals.displaced(now)
	return replaced, rivals, true
}

// leave takes a session out; false when another one has taken its place already, so that the member is still there.
func (m *members) leave(s *stream, last SessionInfo) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	known := m.byName[s.cluster]
	if known == nil || known.current != s {
		return false
	}
	known.current, known.last = nil, last
	return true
}

// presence is the member's session, or how the last one ended.
func (m *members) presence(cluster string) (info SessionInfo, connected bool) {
	m.mu.Lock()
	var known member
	if there := m.byName[cluster]; there != nil {
		known = *there
	}
	m.mu.Unlock()
	if known.current != nil {
		return known.current.describe(), true
	}
	return known.last, false
}

// forget drops what is known of a cluster that was removed, its brake too: whatever comes under its name from now on is
// another. An empty id is that of whoever has the name. It returns the session of that cluster that is still there.
func (m *members) forget(cluster, id string) (removed *stream) {
	m.mu.Lock()
	defer m.mu.Unlock()
	known := m.byName[cluster]
	if known == nil {
		return nil
	}
	if known.current != nil && (id == "" || known.current.clusterID == id) {
		removed, known.current = known.current, nil
	}
	delete(known.entries, id)
	if id == "" || len(known.entries) == 0 {
		delete(m.byName, cluster)
	}
	return removed
}

func (m *members) current(cluster string) *stream {
	m.mu.Lock()
	defer m.mu.Unlock()
	if known := m.byName[cluster]; known != nil {
		return known.current
	}
	return nil
}

// wait returns when every stream has ended, or after the grace.
func (m *members) wait(grace time.Duration) {
	ended := make(chan struct{})
	go func() { m.all.Wait(); close(ended) }()
	select {
	case <-ended:
	case <-time.After(grace):
	}
}
