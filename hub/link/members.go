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
	held func(cluster string) bool

	mu     sync.Mutex
	byName map[string]*member
	// all are the streams that are served, admitted or not.
	all sync.WaitGroup
}

// A member is another entry after its identity was revoked or its cluster removed. A stream comes in only by the entry
// that it was opened with, so that none does that was authenticated before.
type member struct {
	brake   *session.Brake
	current *stream
	// last describes the session that ended last.
	last SessionInfo
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

func newMembers(s session.BrakeSettings, held func(cluster string) bool) *members {
	return &members{brakes: s, held: held, byName: map[string]*member{}}
}

func (m *members) of(cluster string) *member {
	known := m.byName[cluster]
	if known == nil {
		known = &member{brake: session.NewBrake(m.brakes)}
		if m.held(cluster) {
			known.brake.Resume()
		}
		m.byName[cluster] = known
	}
	return known
}

// entry is the member's present one. Its brake is the same one for every session.
func (m *members) entry(cluster string) *member {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.of(cluster)
}

// replaceEntry gives the member another entry, with all that is known of it, and returns the session that is there.
func (m *members) replaceEntry(cluster string) *stream {
	m.mu.Lock()
	defer m.mu.Unlock()
	known := m.byName[cluster]
	if known == nil {
		return nil
	}
	another := *known
	m.byName[cluster] = &another
	return another.current
}

// enter makes a session the member's, unless one with a higher epoch is. It returns the session that it replaces, and
// whether it is time to tell that two agents replace each other. The agent of before is the one whose session was the
// replaced one: an agent that comes back over a connection whose end was not noticed here is no rival of itself.
func (m *members) enter(s *stream, before int64, now time.Time) (replaced *stream, rivals, entered bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	known := m.byName[s.cluster]
	if known != s.entry || known.current != nil && known.current.epoch > s.epoch {
		return nil, false, false
	}
	replaced, known.current = known.current, s
	rivals = replaced != nil && replaced.epoch != before && known.rivals.displaced(now)
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

// forget drops what is known of a member that was removed, its brake too: whatever comes under its name from now on is
// another. It returns the session that is still there. When another with another id has come already, all stays.
func (m *members) forget(cluster, id string) (removed *stream, another bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	known := m.byName[cluster]
	if known == nil {
		return nil, false
	}
	if known.current != nil && id != "" && known.current.clusterID != id {
		return nil, true
	}
	delete(m.byName, cluster)
	return known.current, false
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
