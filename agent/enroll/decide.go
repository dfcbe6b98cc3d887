package enroll

import (
	"cmp"
	"fmt"
	"time"

	"windlass.dev/windlass/pkg/identity"
)

// situation is everything that the start of an agent depends on.
type situation struct {
	stored Stored
	// held is nil when there is no identity or damaged says why it cannot be read.
	held    *Identity
	damaged error
	// token is nil when none was given or tokenErr says why it cannot be read.
	token    *identity.Token
	tokenErr error

	clusterName   string
	kubeSystemUID string
	now           time.Time
	// where names the store.
	where string
}

// action is what to do.
type action int

const (
	useIdentity action = iota + 1
	enrol
)

// standing is the state of the stored identity.
type standing int

const (
	absent standing = iota
	valid
	expired
	refused
	removed
	damaged
)

func (s situation) standing() standing {
	switch {
	case s.damaged != nil:
		return damaged
	case s.held == nil:
		return absent
	case s.stored.Removed:
		return removed
	case s.stored.Refused != "":
		return refused
	case s.now.After(s.held.Certificate.NotAfter):
		return expired
	}
	// A certificate that has not begun is one for a clock that is behind; the hub judges by its own.
	return valid
}

// decide is the table of every start:
//
//	identity \ token  | none or unreadable | the one that was used | another one
//	absent            | stop               | enrol                 | enrol
//	valid             | use                | use                   | use
//	expired, refused, | stop: rejoin       | stop: rejoin          | enrol
//	damaged           |                    |                       |
//	removed           | stop: join         | stop: join            | enrol
//
// A token that was used is offered again only while there is no identity: then its answer was lost.
// Before the table, whatever there is of an identity must fit this cluster, its name and the token's
// hub: an agent changes none of them by itself. A cluster that was removed has no name any more; it takes the next.
func decide(s situation) (action, error) {
	if err := misplaced(s); err != nil {
		return 0, err
	}
	another := s.token != nil && s.token.ID != s.stored.TokenID
	switch state := s.standing(); {
	case state == valid:
		return useIdentity, nil
	case state == absent && s.token != nil, another:
		return enrol, nil
	case state == absent && s.tokenErr != nil:
		return 0, stop("%v", s.tokenErr)
	case state == absent:
		return 0, stop("this cluster has not joined a hub yet, or its identity was deleted, and there is no join token: run `windlass token create` on the hub (with `--cluster NAME --rejoin` if it had joined) and give the token to the agent by --token-file or %s (hub.token or hub.existingSecret of the chart; `windlass token create -o helm` prints the whole command)", TokenVariable)
	case state == expired:
		return 0, stop("the agent's certificate for cluster %q ended at %s (this machine's clock says %s); %s",
			s.held.ClusterName, s.held.Certificate.NotAfter.UTC().Format(time.RFC3339), s.now.UTC().Format(time.RFC3339), s.rejoinHint())
	case state == removed:
		return 0, stop("cluster %s was removed from the hub; to attach it anew %s; until then what it was given stays as it is in the cluster and is not looked after",
			s.stored.ClusterName, s.hint(""))
	case state == refused:
		return 0, stop("the hub does not accept the agent's identity any more (%s); %s", s.stored.Refused, s.rejoinHint())
	default:
		return 0, stop("the agent's identity in %s is damaged (%v); %s", s.where, s.damaged, s.rejoinHint())
	}
}

// misplaced refuses an identity that is not this cluster's, or not for what the flags say.
func misplaced(s situation) error {
	if len(s.stored.Certificate) == 0 && len(s.stored.Key) == 0 {
		return nil
	}
	switch {
	case s.stored.KubeSystemUID != "" && s.stored.KubeSystemUID != s.kubeSystemUID:
		return stop("the identity in %s was made in another cluster (its kube-system namespace has another UID): two clusters cannot share one; delete %s and join this cluster with a token of its own", s.where, s.where)
	case !s.stored.Removed && s.clusterName != "" && s.stored.ClusterName != "" && s.clusterName != s.stored.ClusterName:
		return stop("the agent's identity in %s is that of cluster %q and --cluster-name says %q (cluster.name of the chart): if this cluster is to be renamed, see \"Rename a cluster\" in docs/guide/join.md; otherwise correct the name, or end this agent if another one of the cluster works already", s.where, s.stored.ClusterName, s.clusterName)
	case s.token != nil && s.token.ID != s.stored.TokenID && s.stored.HubID != "" && s.token.Pin != s.stored.HubID:
		return stop("the join token %s is of another hub than the one this cluster has joined (at %s): give the agent a token of that hub, or delete %s to move the cluster to the token's hub", s.token.ID, s.stored.Hub, s.where)
	}
	return nil
}

func (s situation) rejoinHint() string { return s.hint(" --rejoin") }

// hint says how to come by a token that helps.
func (s situation) hint(flags string) string {
	name := cmp.Or(s.clusterName, s.stored.ClusterName, "NAME")
	hint := fmt.Sprintf("run `windlass token create --cluster %s%s` on the hub and give the token to the agent", name, flags)
	switch {
	case s.tokenErr != nil:
		hint += fmt.Sprintf(" (now: %v)", s.tokenErr)
	case s.token != nil:
		hint += fmt.Sprintf(" (the token that it has now, %s, is the one that was used)", s.token.ID)
	}
	return hint
}
