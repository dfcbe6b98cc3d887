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

func TestWhatTheRosterSaysOfAMember(t *testing.T) {
	facts := &linkv1.ClusterFacts{ApiReady: true}
	at := func(seconds int) time.Time { return began.Add(time.Duration(seconds) * time.Second) }
	connected := func(epoch int64) func(*roster.Roster) {
		return func(r *roster.Roster) { r.Connected("a", epoch, "v1", "uid") }
	}
	disconnected := func(epoch int64) func(*roster.Roster) {
		return func(r *roster.Roster) { r.Disconnected("a", epoch) }
	}
	says := func(r *roster.Roster) { r.Facts("a", facts) }
	connectedSince := func(epoch int64, since int, facts *linkv1.ClusterFacts) roster.Member {
		return roster.Member{Connected: true, Since: at(since), Epoch: epoch, AgentVersion: "v1", KubeSystemUID: "uid", Facts: facts}
	}
	tests := []struct {
		reason string
		// events happen a second apart, the first of them a second after the beginning.
		events []func(*roster.Roster)
		want   roster.Member
		told   int
	}{
		{"it was never seen: it is away since the process began", nil, roster.Member{Since: began}, 0},
		{"it has connected", []func(*roster.Roster){connected(1)}, connectedSince(1, 1, nil), 1},
		{"it has said something of itself", []func(*roster.Roster){connected(1), says}, connectedSince(1, 1, facts), 2},
		{"it has gone, and what it said last is kept", []func(*roster.Roster){connected(1), says, disconnected(1)},
			roster.Member{Since: at(3), Epoch: 1, AgentVersion: "v1", KubeSystemUID: "uid", Facts: facts}, 3},
		{"it is back", []func(*roster.Roster){connected(1), says, disconnected(1), connected(2)}, connectedSince(2, 4, facts), 4},
		{"the end of a session that a newer one has replaced is no news", []func(*roster.Roster){connected(1), connected(2), disconnected(1)}, connectedSince(2, 2, nil), 2},
		{"nor is the beginning of a session that was overtaken", []func(*roster.Roster){connected(2), connected(1)}, connectedSince(2, 1, nil), 1},
		{"nor a second end", []func(*roster.Roster){connected(1), disconnected(1), disconnected(1)},
			roster.Member{Since: at(2), Epoch: 1, AgentVersion: "v1", KubeSystemUID: "uid"}, 2},
		{"the end of a session that was never recorded", []func(*roster.Roster){disconnected(5)}, roster.Member{Since: began}, 0},
		{"it was removed from the hub", []func(*roster.Roster){connected(1), func(r *roster.Roster) { r.Forget("a") }}, roster.Member{Since: began}, 1},
	}
	for _, test := range tests {
		t.Run(test.reason, func(t *testing.T) {
			now := began
			r := roster.New(func() time.Time { return now })
			told := 0
			r.Listen(func(cluster string) {
				told++
				_ = r.Get(cluster) // no lock is held
			})
			for _, event := range test.events {
				now = now.Add(time.Second)
				event(r)
			}
			if diff := cmp.Diff(test.want, r.Get("a"), protocmp.Transform()); diff != "" {
				t.Errorf("member (-want +got):\n%s", diff)
			}
			if told != test.told {
				t.Errorf("the listener was told %d times, want %d", told, test.told)
			}
			count := 0
			if test.want.Connected {
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
	if r.Get("a").HoldKnown {
		t.Error("a member that has said nothing holds nothing")
	}
	r.Connected("a", 1, "v1", "uid")
	r.Hold("a", session.Hold{Held: 3})
	r.Hold("b", session.Hold{Held: 4})
	r.Hold("c", session.Hold{})
	if got := r.HeldCount(); got != 7 {
		t.Errorf("%d are held, want 7", got)
	}
	r.Disconnected("a", 1)
	r.Connected("a", 2, "v1", "uid")
	if got := r.Get("a"); !got.HoldKnown || got.Hold.Held != 3 {
		t.Errorf("a new session begins with the hold %+v, known: %t", got.Hold, got.HoldKnown)
	}
	r.Forget("b")
	if got := r.HeldCount(); got != 3 {
		t.Errorf("%d are held after a member was removed, want 3", got)
	}
}

func TestMembersAreKeptApart(t *testing.T) {
	r := roster.New(func() time.Time { return began })
	r.Connected("a", 1, "v1", "uid")
	r.Disconnected("b", 1)
	if !r.Get("a").Connected || r.Get("b").Connected {
		t.Error("one member's end is another's")
	}
}

func TestMembersThatServeTheSameShareTheListOfIt(t *testing.T) {
	r := roster.New(func() time.Time { return began })
	for _, cluster := range []string{"a", "b"} {
		r.Facts(cluster, &linkv1.ClusterFacts{Apis: []*linkv1.ServedAPI{{Group: "apps", Version: "v1", Kind: "Deployment", Resource: "deployments", Namespaced: true}}})
	}
	r.Facts("c", &linkv1.ClusterFacts{Apis: []*linkv1.ServedAPI{{Group: "apps", Version: "v1", Kind: "Deployment", Resource: "deployments"}}})
	a, b, c := r.Get("a").Facts.Apis, r.Get("b").Facts.Apis, r.Get("c").Facts.Apis
	if a[0] != b[0] {
		t.Error("what two members serve alike is held twice")
	}
	if c[0].Namespaced {
		t.Error("a member is said to serve what another one does")
	}
}
