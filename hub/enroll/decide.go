package enroll

import (
	"crypto/subtle"
	"fmt"
	"time"

	clusterv1alpha1 "windlass.dev/windlass/api/cluster/v1alpha1"
	windlassv1alpha1 "windlass.dev/windlass/api/windlass/v1alpha1"
	"windlass.dev/windlass/pkg/identity"
)

// JoinTokenAnnotation is the API's: there nobody but the hub can write it.
const JoinTokenAnnotation = clusterv1alpha1.JoinTokenAnnotation

// defaultLifetime is that of a token without an expiration time.
const defaultLifetime = 15 * time.Minute

// timeText is how times stand in messages.
const timeText = time.RFC3339

// ask is what an agent wants, checked for its form.
type ask struct {
	keyHash       string
	clusterName   string
	kubeSystemUID string
	// twin is another cluster with the id of the one that is asked for; nil for none.
	twin *clusterv1alpha1.MemberCluster
	// isHub is true when the cluster that asks is the hub's own API.
	isHub bool
	now   time.Time
}

// A ruling is the answer to an ask. Without a refusal the agent gets its certificate.
type ruling struct {
	refusal *identity.Refusal
	// about is the cluster that the refusal concerns more than the token; nil for none.
	about *clusterv1alpha1.MemberCluster
	// rejoin says that the cluster has joined before: what was issued to it then is revoked.
	rejoin bool
}

// secretMatches compares in constant time. Without a token it compares with nothing, so that the
// answer about a token that does not exist takes as long as that about a wrong secret.
func secretMatches(token *windlassv1alpha1.JoinToken, given identity.Token) bool {
	stored := make([]byte, len(given.SecretHash()))
	if token != nil {
		stored = []byte(token.Spec.SecretHash)
	}
	return subtle.ConstantTimeCompare(stored, []byte(given.SecretHash())) == 1
}

func expiresAt(token *windlassv1alpha1.JoinToken) time.Time {
	if token.Spec.ExpirationTime != nil {
		return token.Spec.ExpirationTime.Time
	}
	return token.CreationTimestamp.Add(defaultLifetime)
}

// joined says whether an agent has ever been given a certificate for the cluster.
func joined(cluster *clusterv1alpha1.MemberCluster) bool {
	return cluster.Status.Agent != nil && cluster.Status.Agent.CertificateSerial != ""
}

// decide says what becomes of an ask with a token whose secret was right. cluster is nil when there
// is none of that name; known are those, of whatever name, whose agent runs in the cluster that asks. It is
// asked anew whenever token or cluster have changed.
//
// A cluster is attached under one name. Two agents for two names in one cluster would each put right
// what the other has applied, replicas would be counted twice, and taking one name off the hub would
// delete what the other has. The hub itself is no member for the same reason: what it would apply there
// are the templates, and what it would delete there, too.
func decide(token *windlassv1alpha1.JoinToken, cluster *clusterv1alpha1.MemberCluster, known []*clusterv1alpha1.MemberCluster, a ask) ruling {
	r := decideName(token, cluster, a)
	if r.refusal == nil && a.isHub {
		return ruling{refusal: refuse(identity.CodeClusterIsTheHub,
			"the kubeconfig of this agent is that of the hub itself, which can't be a member of its own: give the agent the kubeconfig (or the context of it) of the cluster that is to join as %q", a.clusterName)}
	}
	if r.refusal == nil && a.twin != nil {
		// A certificate for an id that two have would be worth something for either.
		return ruling{about: cluster, refusal: refuse(identity.CodeClusterIDCopied, "%s", copied(cluster, a.twin))}
	}
	if r.refusal != nil || cluster != nil && joined(cluster) {
		return r
	}
	if other := namesake(known, a); other != nil {
		return ruling{about: other, refusal: refuse(identity.CodeClusterHasAnotherName,
			"this cluster has joined the hub already, as %q (the UID of its kube-system namespace is the same); a cluster has one name and one agent: stop this agent, or, to attach the cluster as %q instead, delete the MemberCluster %s on the hub first",
			other.Name, a.clusterName, other.Name)}
	}
	return r
}

// namesake finds the other name under which the cluster that asks is on the hub. One that is being
// removed is none any more.
func namesake(known []*clusterv1alpha1.MemberCluster, a ask) *clusterv1alpha1.MemberCluster {
	for _, other := range known {
		if other.Name != a.clusterName && other.DeletionTimestamp == nil && joined(other) && other.Status.Agent.KubeSystemUID == a.kubeSystemUID {
			return other
		}
	}
	return nil
}

// decideName is the decision about token and name alone.
//
// A token is consumed in two steps: first publicKeyHash and clusterName bind it to one key and one
// name, and when everything else is recorded usedTime completes it. A key that comes again in
// between goes on where it was cut off; one that comes after it gets a new certificate for the same
// cluster, unless that was removed or joined by another token since.
func decideName(token *windlassv1alpha1.JoinToken, cluster *clusterv1alpha1.MemberCluster, a ask) ruling {
	if refusal := decideToken(token, a, newToken(cluster, a)); refusal != nil {
		return ruling{refusal: refusal}
	}
	completed := token.Status.UsedTime != nil
	switch {
	case cluster == nil && completed:
		return ruling{refusal: refuse(identity.CodeClusterRemoved,
			"the cluster %q was removed from the hub after this token had enrolled it; to attach it anew run `windlass token create --cluster %s` on the hub", a.clusterName, a.clusterName)}
	case cluster == nil:
		return ruling{}
	case cluster.DeletionTimestamp != nil:
		return ruling{about: cluster, refusal: refuse(identity.CodeClusterRemoved,
			"the MemberCluster %q is being removed from the hub; wait until it is gone, then start the agent again", a.clusterName)}
	}
	return decideAttached(token, cluster, a)
}

// newToken is what to type for another token that this agent can use.
func newToken(cluster *clusterv1alpha1.MemberCluster, a ask) string {
	if cluster != nil && joined(cluster) && cluster.Status.Agent.KubeSystemUID == a.kubeSystemUID {
		return "windlass token create --cluster " + cluster.Name + " --rejoin"
	}
	return "windlass token create"
}

func decideToken(token *windlassv1alpha1.JoinToken, a ask, another string) *identity.Refusal {
	bound, used := token.Spec.ClusterName, token.Status.PublicKeyHash != ""
	switch end := expiresAt(token); {
	case !a.now.Before(end):
		return refuse(identity.CodeTokenExpired, "the join token %s ended at %s, and it is %s on the hub; make a new one with `%s`",
			token.Name, end.UTC().Format(timeText), a.now.UTC().Format(timeText), another)
	case used && token.Status.PublicKeyHash != a.keyHash:
		return refuse(identity.CodeTokenUsed, "the join token %s was used already, for cluster %q; a token is worth one use: make a new one with `%s`",
			token.Name, token.Status.ClusterName, another)
	case a.clusterName == "":
		return refuse(identity.CodeInvalidRequest, "the join token %s is not bound to a cluster, so the agent has to choose the name: set --cluster-name (cluster.name of the chart)", token.Name)
	case bound != "" && bound != a.clusterName:
		return refuse(identity.CodeTokenForAnotherCluster, "the join token %s is for cluster %q and the agent asked for %q; set --cluster-name=%s (cluster.name of the chart), or run `windlass token create --cluster %s` on the hub",
			token.Name, bound, a.clusterName, bound, a.clusterName)
	case used && token.Status.ClusterName != a.clusterName:
		return refuse(identity.CodeTokenForAnotherCluster, "the join token %s has enrolled cluster %q and the agent now asks for %q; set --cluster-name=%s (cluster.name of the chart), or make a new token",
			token.Name, token.Status.ClusterName, a.clusterName, token.Status.ClusterName)
	}
	return nil
}

// decideAttached says whether the token may attach an agent to a MemberCluster that is there.
//
// A MemberCluster that somebody made first waits for a token bound to its name: whoever has a token
// without a name must not get hold of the labels, taints and works that were meant for another.
// A token that may rejoin counts as such only when it is bound.
//
// The annotation alone proves nothing: a former hub let everybody write it who may edit MemberClusters. A token that has
// claimed a cluster was bound to a key and to the cluster's name before (see bindToken), and decideToken has found both to be
// those of the ask.
func decideAttached(token *windlassv1alpha1.JoinToken, cluster *clusterv1alpha1.MemberCluster, a ask) ruling {
	bound := token.Spec.ClusterName != ""
	ours := cluster.Annotations[JoinTokenAnnotation] == token.Name && token.Status.PublicKeyHash != ""
	switch {
	case joined(cluster) && cluster.Status.Agent.KubeSystemUID != a.kubeSystemUID:
		return ruling{about: cluster, refusal: refuse(identity.CodeClusterNameTaken,
			"the name %q is taken: a cluster with another kube-system namespace has joined under it; choose another --cluster-name (cluster.name of the chart), or delete the MemberCluster %s on the hub first if that cluster is no more", a.clusterName, a.clusterName)}
	case ours:
		// A rejoin that was cut off after the claim still has to revoke what was issued before it.
		unfinished := token.Status.UsedTime == nil
		return ruling{rejoin: unfinished && joined(cluster) && bound && token.Spec.Rejoin}
	case token.Status.UsedTime != nil:
		return ruling{refusal: refuse(identity.CodeTokenUsed,
			"the join token %s was used, and cluster %q has joined with another token since; make a new one with `windlass token create --cluster %s --rejoin`", token.Name, a.clusterName, a.clusterName)}
	case joined(cluster) && bound && token.Spec.Rejoin:
		return ruling{rejoin: true}
	case joined(cluster):
		return ruling{about: cluster, refusal: refuse(identity.CodeClusterAlreadyJoined,
			"the cluster %q has joined this hub before; to give it a new identity run `windlass token create --cluster %s --rejoin` on the hub and give that token to the agent", a.clusterName, a.clusterName)}
	case bound:
		return ruling{}
	default:
		return ruling{about: cluster, refusal: refuse(identity.CodeClusterWaitsForToken,
			"the MemberCluster %q was made on the hub beforehand and waits for a token that is bound to its name; run `windlass token create --cluster %s` on the hub, or choose another --cluster-name (cluster.name of the chart)", a.clusterName, a.clusterName)}
	}
}

func refuse(code identity.Code, format string, values ...any) *identity.Refusal {
	return &identity.Refusal{Code: code, Message: fmt.Sprintf(format, values...)}
}
