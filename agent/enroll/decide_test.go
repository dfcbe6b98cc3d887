package enroll

import (
	"crypto/x509"
	"errors"
	"strings"
	"testing"
	"time"

	"windlass.dev/windlass/pkg/identity"
)

var start = time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)

var (
	hubPin   = strings.Repeat("a", 64)
	otherPin = strings.Repeat("b", 64)
)

func TestEveryStartHasItsAnswer(t *testing.T) {
	used, fresh, foreign := &identity.Token{ID: "used", Pin: hubPin}, &identity.Token{ID: "fresh", Pin: hubPin}, &identity.Token{ID: "foreign", Pin: otherPin}
	unreadable := errors.New("--token-file /t does not exist")
	until := func(end time.Time) situation {
		return situation{
			held: &Identity{ClusterName: "edge-1", Certificate: &x509.Certificate{NotAfter: end}},
			stored: Stored{
				Key: []byte("x"), Certificate: []byte("x"), HubID: hubPin, Hub: "hub.example:8443",
				ClusterName: "edge-1", KubeSystemUID: "here", TokenID: "used",
			},
		}
	}
	absent := situation{}
	valid, expired := until(start.Add(time.Hour)), until(start.Add(-time.Hour))
	refused := until(start.Add(time.Hour))
	refused.stored.Refused = "it was replaced"
	removed := until(start.Add(time.Hour))
	removed.stored.Refused, removed.stored.Removed = "cluster edge-1 was removed", true
	removedLongAgo := until(start.Add(-time.Hour))
	removedLongAgo.stored.Removed = true
	damaged := until(start.Add(time.Hour))
	damaged.held, damaged.damaged = nil, errors.New("the key: it is not a private key in PEM")
	bare := situation{damaged: errors.New("x"), stored: Stored{Key: []byte("x")}}

	const hint = "run `windlass token create --cluster edge-1 --rejoin` on the hub and give the token to the agent"
	for _, c := range []struct {
		reason   string
		identity situation
		token    *identity.Token
		tokenErr error
		name     string
		uid      string
		want     action
		says     string
	}{
		{reason: "nothing at all", identity: absent, says: "there is no join token: run `windlass token create` on the hub (with `--cluster NAME --rejoin` if it had joined) and give the token to the agent by --token-file or WINDLASS_TOKEN (hub.token or hub.existingSecret of the chart; `windlass token create -o helm` prints the whole command)"},
		{reason: "no identity and a token that cannot be read", identity: absent, tokenErr: unreadable, says: "/t does not exist"},
		{reason: "the first start", identity: absent, token: fresh, want: enrol},
		{reason: "a start after a lost answer", identity: situation{stored: Stored{PendingToken: "fresh", PendingKey: []byte("x")}}, token: fresh, want: enrol},

		{reason: "an ordinary restart", identity: valid, want: useIdentity},
		{reason: "an ordinary restart, the token is still mounted", identity: valid, token: used, want: useIdentity},
		{reason: "an ordinary restart, the token was taken away", identity: valid, tokenErr: unreadable, want: useIdentity},
		{reason: "a restart with another token of the hub", identity: valid, token: fresh, want: useIdentity},

		{reason: "expired, no token", identity: expired, says: `certificate for cluster "edge-1" ended at 2030-01-02T02:04:05Z (this machine's clock says 2030-01-02T03:04:05Z); ` + hint},
		{reason: "expired, only the token that was used", identity: expired, token: used, says: "used, is the one that was used"},
		{reason: "expired, the token cannot be read", identity: expired, tokenErr: unreadable, says: hint + " (now: --token-file /t does not exist)"},
		{reason: "expired, a new token", identity: expired, token: fresh, want: enrol},

		{reason: "refused by the hub, no token", identity: refused, says: "any more (it was replaced); " + hint},
		{reason: "refused by the hub, only the token that was used", identity: refused, token: used, says: hint},
		{reason: "refused by the hub, a new token", identity: refused, token: fresh, want: enrol},

		{reason: "removed from the hub, no token", identity: removed, says: "cluster edge-1 was removed from the hub; to attach it anew run `windlass token create --cluster edge-1` on the hub and give the token to the agent"},
		{reason: "removed from the hub, only the token that was used", identity: removed, token: used, says: "(the token that it has now, used, is the one that was used)"},
		{reason: "removed from the hub, the token cannot be read", identity: removed, tokenErr: unreadable, says: "(now: --token-file /t does not exist)"},
		{reason: "removed from the hub, a new token", identity: removed, token: fresh, want: enrol},
		{reason: "removed from the hub long ago: that its certificate has ended as well does not matter", identity: removedLongAgo, says: "was removed from the hub"},

		{reason: "damaged, no token", identity: damaged, says: "in Secret x/y is damaged (the key: it is not a private key in PEM); " + hint},
		{reason: "damaged, only the token that was used", identity: damaged, token: used, says: hint},
		{reason: "damaged, a new token", identity: damaged, token: fresh, want: enrol},
		{reason: "damaged beyond the cluster's name", identity: bare, says: "--cluster NAME --rejoin"},

		{reason: "valid, and a token of another hub: the agent does not move by itself", identity: valid, token: foreign, says: "is of another hub than the one this cluster has joined (at hub.example:8443)"},
		{reason: "expired, and a token of another hub", identity: expired, token: foreign, says: "delete Secret x/y to move"},
		{reason: "an identity that was copied from another cluster", identity: valid, uid: "elsewhere", says: "was made in another cluster"},
		{reason: "copied and expired, with a new token: still not this cluster's", identity: expired, uid: "elsewhere", token: fresh, says: "was made in another cluster"},
		{reason: "--cluster-name says another name", identity: valid, name: "edge-2", says: `is that of cluster "edge-1" and --cluster-name says "edge-2" (cluster.name of the chart): if this cluster is to be renamed, see "Rename a cluster" in docs/guide/join.md`},
		{reason: "another name with a token for it, while the identity is good", identity: valid, name: "edge-2", token: fresh, says: "if this cluster is to be renamed"},
		{reason: "removed from the hub, and a token for another name", identity: removed, name: "edge-2", token: fresh, want: enrol},
		{reason: "removed from the hub, and another name without a token", identity: removed, name: "edge-2", says: "run `windlass token create --cluster edge-2` on the hub"},
		{reason: "removed from the hub, copied, and a token for another name", identity: removed, uid: "elsewhere", name: "edge-2", token: fresh, says: "was made in another cluster"},
		{reason: "--cluster-name says the same name", identity: valid, name: "edge-1", want: useIdentity},
	} {
		t.Run(c.reason, func(t *testing.T) {
			s := c.identity
			s.token, s.tokenErr, s.clusterName, s.now, s.where = c.token, c.tokenErr, c.name, start, "Secret x/y"
			s.kubeSystemUID = c.uid
			if s.kubeSystemUID == "" {
				s.kubeSystemUID = "here"
			}
			got, err := decide(s)
			if c.says == "" {
				if err != nil || got != c.want {
					t.Errorf("got %d, %v; want %d", got, err, c.want)
				}
				return
			}
			var stopped *StopError
			if !errors.As(err, &stopped) || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "\n") {
				t.Errorf("got %d, %v\nwant …%s…", got, err, c.says)
			}
		})
	}
}
