package roster_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	linkv1 "windlass.dev/windlass/api/link/v1"
	"windlass.dev/windlass/hub/roster"
	"windlass.dev/windlass/pkg/session"
)

var began = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

// with is a session of a cluster.
func with(cluster string, epoch int64) roster.Session {
	return roster.Session{Cluster: cluster, ClusterID: "id-of-" + cluster, Epoch: epoch}
}

func TestWhatTheRosterSaysOfAMember(t *testing.T) {
	facts := &linkv1.ClusterFacts{ApiReady: true}
	at := func(seconds int) time.Time { return began.Add(time.Duration(seconds) * time.Second) }
	connected := func(epoch int64) func(*roster.Roster) {
		return func(r *roster.Roster) { r.Connected(with("a", epoch), "v1", "uid") }
	}
	disconnected := func(epoch int64) func(*roster.Roster) {
		return func(r *roster.Roster) { r.Disconnected(with("a", epoch)) }
	}
	says := func(r *roster.Roster) { r.Facts(with("a", 1), facts) }
	waits := func(r *roster.Roster) { r.Hold(with("a", 1), session.Hold{Held: 3}) }
	connectedSince := func(epoch int64, since int, facts *linkv1.ClusterFacts) roster.Member {
		return roster.Member{ClusterID: "id-of-a", Connected: true, Since: at(since), Epoch: epoch, AgentVersion: "v1", KubeSystemUID: "uid", Facts: facts}
	}
	// Another cluster has the name since then.
	another := roster.Session{Cluster: "a", ClusterID: "id-of-another", Epoch: 2}
	anotherConnects := func(r *roster.Roster) { r.Connected(another, "v2", "other") }
	anotherSince := func(since int) roster.Member {
		return roster.Member{ClusterID: "id-of-another", Connected: true, Since: at(since), Epoch: 2, AgentVersion: "v2", KubeSystemUID: "other"}
	}
	never := roster.Member{ClusterID: "id-of-a", Since: began}
	tests := []struct {
		reason string
		// events happen a second apart, the first of them a second after the beginning.
		events []func(*roster.Roster)
		want   roster.Member
		told   int
	}{
		{"it was never seen: it is away since the process began", nil, never, 0},
		{"it has connected", []func(*roster.Roster){connected(1)}, connectedSince(1, 1, nil), 1},
		{"it has said something of itself", []func(*roster.Roster){connected(1), says}, connectedSince(1, 1, facts), 2},
		{"it has gone, and what it said last is kept", []func(*roster.Roster){connected(1), says, disconnected(1)},
			roster.Member{ClusterID: "id-of-a", Since: at(3), Epoch: 1, AgentVersion: "v1", KubeSystemUID: "uid", Facts: facts}, 3},
		{"it is back", []func(*roster.Roster){connected(1), says, disconnected(1), connected(2)}, connectedSince(2, 4, facts), 4},
		{"the end of a session that a newer one has replaced is no news", []func(*roster.Roster){connected(1), connected(2), disconnected(1)}, connectedSince(2, 2, nil), 2},
		{"nor is the beginning of a session that was overtaken", []func(*roster.Roster){connected(2), connected(1)}, connectedSince(2, 1, nil), 1},
		{"nor a second end", []func(*roster.Roster){connected(1), disconnected(1), disconnected(1)},
			roster.Member{ClusterID: "id-of-a", Since: at(2), Epoch: 1, AgentVersion: "v1", KubeSystemUID: "uid"}, 2},
		{"the end of a session that was never recorded", []func(*roster.Roster){disconnected(5)}, never, 0},
		{"it was removed from the hub", []func(*roster.Roster){connected(1), func(r *roster.Roster) { r.Forget("a", "id-of-a") }}, never, 1},
		{"whoever has the name was removed", []func(*roster.Roster){connected(1), func(r *roster.Roster) { r.Forget("a", "") }}, never, 1},
		{"another that has its name was removed before it", []func(*roster.Roster){connected(3), func(r *roster.Roster) { r.Forget("a", "id-of-another") }}, connectedSince(3, 1, nil), 1},
		{"another one with its name begins with nothing of it", []func(*roster.Roster){connected(1), says, waits, anotherConnects}, anotherSince(4), 4},
		{"what it says late is nothing of the other's", []func(*roster.Roster){connected(1), anotherConnects, says, waits, disconnected(1), connected(1)}, anotherSince(2), 2},
		{"the other may say something before its session is recorded", []func(*roster.Roster){connected(1), waits, func(r *roster.Roster) { r.Facts(another, facts) }, says},
			roster.Member{ClusterID: "id-of-another", Since: began, Epoch: 2, Facts: facts}, 3},
		{"it is not there as long as the former of its name is", []func(*roster.Roster){anotherConnects}, never, 1},
	}
	if diff := cmp.Diff(roster.Member{Since: began}, roster.New(func() time.Time { return began }).Get("a", "")); diff != "" {
		t.Errorf("a cluster that has not joined (-want +got):\n%s", diff)
	}
	for _, test := range tests {
		t.Run(test.reason, func(t *testing.T) {
			now := began
			r := roster.New(func() time.Time { return now })
			told := 0
			r.Listen(func(cluster string) {
				told++
				_ = r.Latest(cluster) // no lock is held
			})
			for _, event := range test.events {
				now = now.Add(time.Second)
				event(r)
			}
			if diff := cmp.Diff(test.want, r.Get("a", test.want.ClusterID), protocmp.Transform()); diff != "" {
				t.Errorf("member (-want +got):\n%s", diff)
			}
			if told != test.told {
				t.Errorf("the listener was told %d times, want %d", told, test.told)
			}
			count := 0
			if r.Latest("a").Connected {
				count = 1
			}
			if got := r.ConnectedCount(); got != count {
				t.Errorf("%d are connected, want %d", got, count)
			}
		})
	}
}

func TestWhatIsHeldIsCountedOverAllMembers(t *testing.T) {
	r := roster.New(func() time.Time { return began })
	if r.Latest("a").HoldKnown {
		t.Error("a member that has said nothing holds nothing")
	}
	r.Connected(with("a", 1), "v1", "uid")
	r.Hold(with("a", 1), session.Hold{Held: 3})
	r.Hold(with("b", 1), session.Hold{Held: 4})
	r.Hold(with("c", 1), session.Hold{})
	if got := r.HeldCount(); got != 7 {
		t.Errorf("%d are held, want 7", got)
	}
	r.Disconnected(with("a", 1))
	r.Connected(with("a", 2), "v1", "uid")
	if got := r.Latest("a"); !got.HoldKnown || got.Hold.Held != 3 {
		t.Errorf("a new session begins with the hold %+v, known: %t", got.Hold, got.HoldKnown)
	}
	r.Forget("b", "")
	if got := r.HeldCount(); got != 3 {
		t.Errorf("%d are held after a member was removed, want 3", got)
	}
}

func TestMembersAreKeptApart(t *testing.T) {
	r := roster.New(func() time.Time { return began })
	r.Connected(with("a", 1), "v1", "uid")
	r.Disconnected(with("b", 1))
	if !r.Latest("a").Connected || r.Latest("b").Connected {
		t.Error("one member's end is another's")
	}
}

func TestMembersThatServeTheSameShareTheListOfIt(t *testing.T) {
	r := roster.New(func() time.Time { return began })
	for _, cluster := range []string{"a", "b"} {
		r.Facts(with(cluster, 1), &linkv1.ClusterFacts{Apis: []*linkv1.ServedAPI{{Group: "apps", Version: "v1", Kind: "Deployment", Resource: "deployments", Namespaced: true}}})
	}
	r.Facts(with("c", 1), &linkv1.ClusterFacts{Apis: []*linkv1.ServedAPI{{Group: "apps", Version: "v1", Kind: "Deployment", Resource: "deployments"}}})
	a, b, c := r.Latest("a").Facts.Apis, r.Latest("b").Facts.Apis, r.Latest("c").Facts.Apis
	if a[0] != b[0] {
		t.Error("what two members serve alike is held twice")
	}
	if c[0].Namespaced {
		t.Error("a member is said to serve what another one does")
	}
}
