package enroll

import (
	"context"
	"crypto/ecdsa"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	clusterv1alpha1 "windlass.dev/windlass/api/cluster/v1alpha1"
	windlassv1alpha1 "windlass.dev/windlass/api/windlass/v1alpha1"
	"windlass.dev/windlass/pkg/identity"
)

// maxAttempts is how often a request that lost a race reads everything anew.
const maxAttempts = 10

// reasonJoined is the reason of the condition Joined.
const reasonJoined = "AgentEnrolled"

// application is a request whose form was checked.
type application struct {
	identity.EnrollRequest
	token  identity.Token
	public *ecdsa.PublicKey
	// keyHash names public in the token's status.
	keyHash string
}

// grant is what an agent gets.
type grant struct {
	certificate *x509.Certificate
	cluster     *clusterv1alpha1.MemberCluster
	warnings    []string
	rejoined    bool
}

// refused is a refusal on its way to the agent, the events, the metrics and the log.
type refused struct {
	*identity.Refusal
	// about is what the event concerns; nil: nothing that is on the hub.
	about runtime.Object
	// reason is the event's and the metric's; it may know more than the agent is told.
	reason string
	// stranger says that the caller has shown no secret.
	stranger bool
}

func (r *refused) Unwrap() error { return r.Refusal }

// redeem carries one application out. Every write carries the resourceVersion of what the decision
// was made from: of many requests at the same time one wins, and the others decide anew on what it
// has left behind.
func (s *Server) redeem(ctx context.Context, a application) (*grant, error) {
	var lost error
	for range maxAttempts {
		g, err := s.redeemOnce(ctx, a)
		if err == nil {
			return g, nil
		}
		if !lostRace(err) {
			return nil, err
		}
		lost = err
	}
	return nil, fmt.Errorf("enrolling cluster %q: gave up after %d lost races: %w", a.ClusterName, maxAttempts, lost)
}

// errTokenMoved says that a decision was made of a token that has changed since.
var errTokenMoved = errors.New("the join token has changed meanwhile")

// lostRace is true of the errors that say that somebody else was faster.
func lostRace(err error) bool {
	return apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) || apierrors.IsNotFound(err) || errors.Is(err, errTokenMoved)
}

// unchanged fails when the token is no longer as it was read. A refusal writes nothing that could fail with a
// conflict, and the clusters are read after the token: without this, whoever redeems the token in between makes
// the others' refusals say what is only half true.
func (s *Server) unchanged(ctx context.Context, token *windlassv1alpha1.JoinToken) error {
	now, err := s.Tokens.Get(ctx, token.Name)
	if err != nil {
		return fmt.Errorf("reading the join token %s again: %w", token.Name, err)
	}
	if now.ResourceVersion != token.ResourceVersion {
		return errTokenMoved
	}
	return nil
}

func (s *Server) redeemOnce(ctx context.Context, a application) (*grant, error) {
	token, err := s.authenticToken(ctx, a.token)
	if err != nil {
		return nil, err
	}
	if a.ClusterName == "" {
		a.ClusterName = token.Spec.ClusterName
	}
	cluster, err := s.findCluster(ctx, a.ClusterName)
	if err != nil {
		return nil, err
	}
	known, err := s.attachedIn(ctx, a.KubeSystemUID)
	if err != nil {
		return nil, err
	}
	twin, err := s.twinOf(ctx, cluster)
	if err != nil {
		return nil, err
	}
	isHub, err := s.IsHub(ctx, a.KubeSystemUID)
	if err != nil {
		return nil, fmt.Errorf("reading whether the agent's cluster is the hub itself: %w", err)
	}
	now := s.Now()
	r := decide(token, cluster, known, ask{keyHash: a.keyHash, clusterName: a.ClusterName, kubeSystemUID: a.KubeSystemUID, twin: twin, isHub: isHub, now: now})
	if r.refusal != nil {
		if err := s.unchanged(ctx, token); err != nil {
			return nil, err
		}
		answer := &refused{Refusal: r.refusal, about: token, reason: string(r.refusal.Code)}
		if r.about != nil {
			answer.about = r.about
		}
		return nil, answer
	}

	if token, err = s.bindToken(ctx, token, a); err != nil {
		return nil, err
	}
	existed := cluster != nil
	if cluster, err = s.claimCluster(ctx, cluster, token, a); err != nil {
		return nil, err
	}
	certificate, err := s.issue(cluster, a.public, now)
	if err != nil {
		return nil, err
	}
	if cluster, err = s.recordJoin(ctx, cluster, certificate, a, r.rejoin, now); err != nil {
		return nil, err
	}
	if r.rejoin { // whatever becomes of the token: the certificate is recorded
		s.Rejoined(cluster.Name)
	}
	if err := s.completeToken(ctx, token, now); err != nil {
		return nil, err
	}
	s.names.Store(cluster.Spec.ID, cluster.Name)
	g := &grant{certificate: certificate, cluster: cluster, rejoined: r.rejoin}
	if existed {
		g.warnings = ignoredFlags(cluster, a)
	}
	return g, nil
}

// authenticToken finds the token whose secret was given. Whoever does not have the secret is told
// the same whether the token exists or not; the hub's own records tell the two apart.
func (s *Server) authenticToken(ctx context.Context, given identity.Token) (*windlassv1alpha1.JoinToken, error) {
	token, err := s.Tokens.Get(ctx, given.ID)
	if apierrors.IsNotFound(err) {
		token, err = nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the join token %s: %w", given.ID, err)
	}
	if token != nil && token.DeletionTimestamp != nil {
		token = nil
	}
	if secretMatches(token, given) && token != nil {
		return token, nil
	}
	answer := &refused{
		Refusal: refuse(identity.CodeTokenUnknown,
			"this hub has no join token %s with that secret; it may have ended and been deleted, or it was not copied whole: make a new one with `windlass token create`", given.ID),
		stranger: true,
	}
	if token == nil {
		answer.reason = string(identity.CodeTokenUnknown)
		answer.about = &windlassv1alpha1.JoinToken{ObjectMeta: metav1.ObjectMeta{Name: given.ID}}
	} else {
		answer.reason, answer.about = "TokenSecretWrong", token
	}
	return nil, answer
}

// findCluster returns nil when there is none.
func (s *Server) findCluster(ctx context.Context, name string) (*clusterv1alpha1.MemberCluster, error) {
	if name == "" {
		return nil, nil
	}
	cluster, err := s.Clusters.Get(ctx, name)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the MemberCluster %s: %w", name, err)
	}
	return cluster, nil
}

// attachedIn reads the clusters whose agent runs in the cluster with this UID of kube-system: those that the cache
// knows, and the one that this process has enrolled last, which the cache may not show yet.
func (s *Server) attachedIn(ctx context.Context, kubeSystemUID string) ([]*clusterv1alpha1.MemberCluster, error) {
	names := s.Clusters.WithKubeSystem(kubeSystemUID)
	if last, ok := s.attached.Load(kubeSystemUID); ok && !slices.Contains(names, last.(string)) {
		names = append(names, last.(string))
	}
	return s.read(ctx, names)
}

// twinOf finds another cluster with the same id, which whoever applies the YAML of a cluster under another name has made.
func (s *Server) twinOf(ctx context.Context, cluster *clusterv1alpha1.MemberCluster) (*clusterv1alpha1.MemberCluster, error) {
	if cluster == nil || cluster.Spec.ID == "" {
		return nil, nil
	}
	alike, err := s.read(ctx, s.Clusters.WithID(cluster.Spec.ID))
	if err != nil {
		return nil, err
	}
	for _, other := range alike {
		if other.Name != cluster.Name && other.Spec.ID == cluster.Spec.ID {
			return other, nil
		}
	}
	return nil, nil
}

// bindToken makes the token this key's, for this cluster. It comes before anything is written about
// the cluster: of many keys, the one whose write succeeds goes on alone.
func (s *Server) bindToken(ctx context.Context, token *windlassv1alpha1.JoinToken, a application) (*windlassv1alpha1.JoinToken, error) {
	if token.Status.PublicKeyHash == a.keyHash {
		return token, nil
	}
	token = token.DeepCopy()
	token.Status.PublicKeyHash, token.Status.ClusterName = a.keyHash, a.ClusterName
	token, err := s.Tokens.UpdateStatus(ctx, token)
	if err != nil {
		return nil, fmt.Errorf("binding the join token to the agent's key: %w", err)
	}
	return token, nil
}

// claimCluster makes the MemberCluster, or takes the one that waits, and gives it its id.
func (s *Server) claimCluster(ctx context.Context, cluster *clusterv1alpha1.MemberCluster, token *windlassv1alpha1.JoinToken, a application) (*clusterv1alpha1.MemberCluster, error) {
	if cluster == nil {
		cluster, err := s.Clusters.Create(ctx, &clusterv1alpha1.MemberCluster{
			ObjectMeta: metav1.ObjectMeta{
				Name:        a.ClusterName,
				Labels:      maps.Clone(a.Labels),
				Annotations: map[string]string{JoinTokenAnnotation: token.Name},
			},
			Spec: clusterv1alpha1.ClusterSpec{
				ID: identity.NewClusterID(), SyncMode: clusterv1alpha1.Pull,
				Provider: a.Provider, Region: a.Region, Zones: slices.Clone(a.Zones),
			},
		})
		if apierrors.IsInvalid(err) {
			return nil, &refused{Refusal: refuse(identity.CodeInvalidRequest, "the hub cannot make the MemberCluster: %v", err), about: token, reason: string(identity.CodeInvalidRequest)}
		}
		if err != nil {
			return nil, fmt.Errorf("making the MemberCluster %s: %w", a.ClusterName, err)
		}
		return cluster, nil
	}
	if cluster.Spec.ID != "" && cluster.Annotations[JoinTokenAnnotation] == token.Name {
		return cluster, nil
	}
	cluster = cluster.DeepCopy()
	metav1.SetMetaDataAnnotation(&cluster.ObjectMeta, JoinTokenAnnotation, token.Name)
	if cluster.Spec.ID == "" {
		cluster.Spec.ID = identity.NewClusterID()
	}
	cluster, err := s.Clusters.Update(ctx, cluster)
	if err != nil {
		return nil, fmt.Errorf("giving the MemberCluster its id: %w", err)
	}
	return cluster, nil
}

// issue signs a certificate. It is worth nothing before its serial number is recorded.
func (s *Server) issue(cluster *clusterv1alpha1.MemberCluster, public *ecdsa.PublicKey, now time.Time) (*x509.Certificate, error) {
	der, err := s.AgentsIssuer.Issue(identity.AgentCertificate(cluster.Spec.ID, cluster.Name, now), public)
	if err != nil {
		return nil, fmt.Errorf("issuing the certificate of cluster %q: %w", cluster.Name, err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("reading back the certificate of cluster %q: %w", cluster.Name, err)
	}
	return certificate, nil
}

// recordJoin makes the certificate the cluster's. After a rejoin nothing older is accepted; when the
// same key has come again the certificate of its first time is, because nobody knows which of the
// two answers reached the agent.
func (s *Server) recordJoin(ctx context.Context, cluster *clusterv1alpha1.MemberCluster, certificate *x509.Certificate, a application, rejoin bool, now time.Time) (*clusterv1alpha1.MemberCluster, error) {
	cluster = cluster.DeepCopy()
	previous := ""
	if cluster.Status.Agent == nil {
		cluster.Status.Agent = &clusterv1alpha1.AgentStatus{}
	} else if !rejoin {
		previous = cluster.Status.Agent.CertificateSerial
	}
	agent := cluster.Status.Agent
	agent.Version, agent.KubeSystemUID = a.AgentVersion, a.KubeSystemUID
	recordCertificate(agent, certificate, previous)
	meta.SetStatusCondition(&cluster.Status.Conditions, metav1.Condition{
		Type: clusterv1alpha1.ClusterJoined, Status: metav1.ConditionTrue, Reason: reasonJoined,
		Message:            fmt.Sprintf("an agent has enrolled with the join token %s", a.token.ID),
		ObservedGeneration: cluster.Generation, LastTransitionTime: metav1.NewTime(now),
	})
	cluster, err := s.Clusters.UpdateStatus(ctx, cluster)
	if err != nil {
		return nil, fmt.Errorf("recording that the cluster has joined: %w", err)
	}
	s.attached.Store(a.KubeSystemUID, cluster.Name)
	s.names.Store(cluster.Spec.ID, cluster.Name) // the agent comes with its certificate next, and nobody has to look for it
	return cluster, nil
}

func recordCertificate(agent *clusterv1alpha1.AgentStatus, certificate *x509.Certificate, previous string) {
	agent.CertificateSerial, agent.PreviousCertificateSerial = identity.SerialText(certificate), previous
	end := metav1.NewTime(certificate.NotAfter)
	agent.CertificateExpiresAt = &end
}

// completeToken says that everything which the token is worth was given.
func (s *Server) completeToken(ctx context.Context, token *windlassv1alpha1.JoinToken, now time.Time) error {
	if token.Status.UsedTime != nil {
		return nil
	}
	token = token.DeepCopy()
	at := metav1.NewTime(now)
	token.Status.UsedTime = &at
	if _, err := s.Tokens.UpdateStatus(ctx, token); err != nil {
		return fmt.Errorf("recording that the join token was used: %w", err)
	}
	return nil
}

// ignoredFlags names what the agent said of a cluster that the hub already describes in another way.
func ignoredFlags(cluster *clusterv1alpha1.MemberCluster, a application) []string {
	var flags []string
	for key, value := range a.Labels {
		if cluster.Labels[key] != value {
			flags = append(flags, "--labels")
			break
		}
	}
	if a.Provider != "" && a.Provider != cluster.Spec.Provider {
		flags = append(flags, "--provider")
	}
	if a.Region != "" && a.Region != cluster.Spec.Region {
		flags = append(flags, "--region")
	}
	if len(a.Zones) > 0 && !slices.Equal(a.Zones, cluster.Spec.Zones) {
		flags = append(flags, "--zones")
	}
	var warnings []string
	for _, flag := range flags {
		warnings = append(warnings, fmt.Sprintf("%s was not used (cluster.%s of the chart): the MemberCluster %s is on the hub already and is changed there", flag, strings.TrimPrefix(flag, "--"), cluster.Name))
	}
	return warnings
}

// report tells everybody but the agent of a refusal.
func (s *Server) report(r *refused) {
	s.metrics.enrolments.WithLabelValues(r.reason).Inc()
	if r.about == nil || (r.stranger && !s.strangers.AllowN(s.Now(), 1)) {
		return
	}
	s.Recorder.Event(r.about, corev1.EventTypeWarning, r.reason, "refused to enrol an agent: "+r.Message)
}

// asRefused finds a refusal in an error.
func asRefused(err error) (*refused, bool) {
	var r *refused
	ok := errors.As(err, &r)
	return r, ok
}
