// Package roster remembers, in memory only, which members are connected to this process and what
// they last said of themselves. What of it is worth keeping, the cluster controller writes.
package roster

import (
	"hash/maphash"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"
	linkv1 "windlass.dev/windlass/api/link/v1"
	"windlass.dev/windlass/hub/alike"
	"windlass.dev/windlass/pkg/session"
)

// A Session is one with the agent of a cluster. Its id tells a cluster from another one of its name, and epochs grow under a
// name.
type Session struct {
	Cluster, ClusterID string
	Epoch              int64
}

// A Member is what the roster knows of one member cluster.
type Member struct {
	ClusterID string
	// Connected is true while a session is open.
	Connected bool
	// Since is when Connected last changed, or when the process began.
	Since time.Time
	// Epoch numbers the member's present or last session.
	Epoch int64
	// AgentVersion and KubeSystemUID are what the agent said in its hello.
	AgentVersion  string
	KubeSystemUID string
	// Facts are the last that arrived; nil before the first. They are shared: don't change them.
	Facts *linkv1.ClusterFacts
	// Hold is what waits for a person's confirmation; HoldKnown is true since the member was compared
	// with the store for the first time, before which nobody knows.
	Hold      session.Hold
	HoldKnown bool
}

// A Roster is safe for concurrent use.
type Roster struct {
	began time.Time
	now   func() time.Time
	// apis are what members serve: the same in nearly all of them.
	apis *alike.Lists[*linkv1.ServedAPI]

	mu        sync.Mutex
	members   map[string]Member
	listeners []func(cluster string)
}

// New makes a roster on which nobody has been seen since the process began.
func New(now func() time.Time) *Roster {
	return &Roster{began: now(), now: now, members: map[string]Member{}, apis: alike.New(writeAPI, func(a, b *linkv1.ServedAPI) bool { return proto.Equal(a, b) })}
}

func writeAPI(hash *maphash.Hash, api *linkv1.ServedAPI) {
	for _, part := range []string{api.GetGroup(), api.GetVersion(), api.GetResource(), api.GetKind()} {
		maphash.WriteComparable(hash, part)
	}
}

// Listen adds a function that is called after every change, without a lock held. It must not block
// and must be added before the first change.
func (r *Roster) Listen(listener func(cluster string)) { r.listeners = append(r.listeners, listener) }

// Get returns what is known of a cluster: of one that was never seen, that it is not connected
// since the process began.
func (r *Roster) Get(cluster, id string) Member {
	r.mu.Lock()
	defer r.mu.Unlock()
	if member, ok := r.members[cluster]; ok && member.ClusterID == id {
		return member
	}
	return Member{ClusterID: id, Since: r.began}
}

// Latest returns what is known of the cluster of a name that was seen last, the zero Member when none was.
func (r *Roster) Latest(cluster string) Member {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.members[cluster]
}

// ConnectedCount is the number of open sessions.
func (r *Roster) ConnectedCount() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	count := 0
	for _, member := range r.members {
		if member.Connected {
			count++
		}
	}
	return count
}

// HeldCount is the number of deletions that wait for a person's confirmation, in all members.
func (r *Roster) HeldCount() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	count := 0
	for _, member := range r.members {
		count += member.Hold.Held
	}
	return count
}

// Connected records the beginning of a session.
func (r *Roster) Connected(s Session, agentVersion, kubeSystemUID string) {
	r.change(s, func(member *Member) bool {
		if s.Epoch < member.Epoch {
			return false // a session that was overtaken before it was recorded
		}
		*member = Member{ClusterID: s.ClusterID, Connected: true, Since: r.now(), Epoch: s.Epoch, AgentVersion: agentVersion, KubeSystemUID: kubeSystemUID,
			Facts: member.Facts, Hold: member.Hold, HoldKnown: member.HoldKnown}
		return true
	})
}

// Disconnected records the end of a session. The end of one that a newer has replaced changes
// nothing.
func (r *Roster) Disconnected(s Session) {
	r.change(s, func(member *Member) bool {
		if member.Epoch != s.Epoch || !member.Connected {
			return false
		}
		member.Connected, member.Since = false, r.now()
		return true
	})
}

// Facts records what a member says of itself. The message is the roster's from then on.
func (r *Roster) Facts(s Session, facts *linkv1.ClusterFacts) {
	facts.Apis = r.apis.Of(facts.Apis)
	r.change(s, func(member *Member) bool {
		member.Facts = facts
		return true
	})
}

// Hold records what waits for a person's confirmation in a member.
func (r *Roster) Hold(s Session, hold session.Hold) {
	r.change(s, func(member *Member) bool {
		member.Hold, member.HoldKnown = hold, true
		return true
	})
}

// Forget drops a cluster that was removed, an empty id whichever has the name.
func (r *Roster) Forget(cluster, id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if id == "" || r.members[cluster].ClusterID == id {
		delete(r.members, cluster)
	}
}

// change changes what is known of the cluster that a session is with. Nothing of one that had the name before is kept, nor
// is what is said late of that one news.
func (r *Roster) change(s Session, change func(*Member) bool) {
	r.mu.Lock()
	member, ok := r.members[s.Cluster]
	another := ok && member.ClusterID != s.ClusterID
	former := another && s.Epoch < member.Epoch
	if another || !ok {
		member = Member{ClusterID: s.ClusterID, Since: r.began, Epoch: s.Epoch}
	}
	changed := !former && change(&member)
	if changed {
		r.members[s.Cluster] = member
	}
	r.mu.Unlock()
	if !changed {
		return
	}
	for _, listener := range r.listeners {
		listener(s.Cluster)
	}
}
