package hub

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	clusterv1alpha1 "windlass.dev/windlass/api/cluster/v1alpha1"
	linkv1 "windlass.dev/windlass/api/link/v1"
	"windlass.dev/windlass/hub/enroll"
	"windlass.dev/windlass/hub/incarnation"
	"windlass.dev/windlass/hub/link"
	"windlass.dev/windlass/hub/pki"
	"windlass.dev/windlass/hub/roster"
	"windlass.dev/windlass/hub/store"
	"windlass.dev/windlass/hub/works"
	"windlass.dev/windlass/pkg/identity"
	"windlass.dev/windlass/pkg/session"
	"windlass.dev/windlass/pkg/version"
)

// openLink takes the link's port, so that a port in use is known before anything else is done.
func (h *hub) openLink() (net.Listener, error) {
	listener, err := net.Listen("tcp", h.config.LinkListen)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("the link cannot listen on %s: another process uses the port", h.config.LinkListen)
	case err != nil:
		return nil, fmt.Errorf("the link cannot listen on %s: %w", h.config.LinkListen, listenCause(err))
	}
	return listener, nil
}

// listenCause is what the system said, without the words of the packages in between.
func listenCause(err error) error {
	var call *os.SyscallError
	if errors.As(err, &call) {
		return call.Err
	}
	return err
}

// advertisedLinkPort is the port that agents dial.
func (h *hub) advertisedLinkPort() int {
	return cmp.Or(h.config.AdvertiseLinkPort, h.linkListener.Addr().(*net.TCPAddr).Port)
}

// makeLink makes the link and enrolment. The store must be serving.
func (h *hub) makeLink(ctx context.Context) (*link.Server, error) {
	certificate := &servingCertificate{pki: h.pki, hosts: append([]string{h.config.AdvertiseAddress, "localhost", "127.0.0.1", "::1"}, h.config.TLSSANs...)}
	if _, err := certificate.get(nil); err != nil {
		return nil, err
	}
	enrolment, err := enroll.New(enroll.Config{
		Tokens:   tokenStore{h.api.Stores.JoinTokens},
		Clusters: clusterStore{h.api.Stores.MemberClusters, h.kinds.clusters},
		Recorder: h.events,
		IsHub: func(ctx context.Context, kubeSystemUID string) (bool, error) {
			own, err := h.kube.CoreV1().Namespaces().Get(ctx, metav1.NamespaceSystem, metav1.GetOptions{})
			if err != nil {
				return false, err // of a new hub it may not be there yet: the agent comes again
			}
			return string(own.UID) == kubeSystemUID, nil
		},
		AgentsIssuer: h.pki.Agents,
		AgentsCA:     h.pki.Agents.Certificate,
		HubCA:        h.pki.Hub.Certificate,
		Joined:       h.garbage.Joined,
		Log:          h.log.With("part", "enrol"),
		Registerer:   h.metrics,
		Rejoined: func(cluster string) { // who rejoins comes over the link, which so is there
			if err := h.agents.link.Recognise(ctx, cluster); err != nil { // the hub ends, and every session with it
				h.log.Warn("a session of a cluster that has rejoined was not ended", "cluster", cluster, "error", err)
			}
		},
	})
	if err != nil {
		return nil, err
	}
	agents := x509.NewCertPool()
	agents.AddCert(h.pki.Agents.Certificate)
	clusters := h.kinds.clusters
	return link.New(link.Config{
		Listener:    h.linkListener,
		Certificate: certificate.get,
		AgentCAs:    agents,
		Enroll:      enrolment,
		Authenticate: func(certificate *x509.Certificate) (string, string, error) {
			ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
			defer cancel()
			name, id, err := enrolment.Authenticate(ctx, certificate)
			return name, id, goodbyeFor(err)
		},
		Works:      h.view,
		Store:      &linkStore{hubID: h.pki.HubID(), history: h.history, works: h.view},
		Recorder:   &linkRecorder{view: h.view, roster: h.roster, clusters: clusters, connected: h.capacity.Grown, rush: &h.rush},
		Renewer:    enrolment,
		Version:    version.Version,
		Settings:   h.config.Link.Session(),
		Brake:      h.config.Link.Brake(),
		HeldBefore: heldBefore(clusters),
		Rivals: func(cluster, message string) {
			if known, ok := clusters.Get("", cluster); ok {
				h.events.Event(known, corev1.EventTypeWarning, "AgentsDisplaceEachOther", message)
			}
		},
		Grown:      h.capacity.Grown,
		Registerer: h.metrics,
		Logger:     h.log.With("part", "link"),
	})
}

// heldBefore reads from a cluster's condition what the process before has written: too many deletions wait. (That the
// store was restored is remembered in the store itself.)
func heldBefore(clusters store.Kind[*clusterv1alpha1.MemberCluster]) func(cluster, id string) bool {
	return func(cluster, id string) bool {
		known, ok := clusters.Get("", cluster)
		if !ok || known.Spec.ID != id {
			return false
		}
		held := meta.FindStatusCondition(known.Status.Conditions, clusterv1alpha1.ClusterDeletionsHeld)
		return held != nil && held.Status == metav1.ConditionTrue && held.Reason == clusterv1alpha1.DeletionsHeldTooMany
	}
}

// goodbyeFor turns a refused certificate into what the agent is told: other errors are the hub's
// own, and the agent comes back.
func goodbyeFor(err error) error {
	if err == nil {
		return nil
	}
	var refusal *identity.Refusal
	if !errors.As(err, &refusal) {
		return &link.Refusal{Reason: linkv1.GoodbyeReason_GOODBYE_REASON_OVERLOADED, Message: "the hub could not look up this cluster: " + err.Error(), RetryAfter: 5 * time.Second}
	}
	reason := linkv1.GoodbyeReason_GOODBYE_REASON_REVOKED
	switch refusal.Code {
	case identity.CodeCertificateExpired:
		reason = linkv1.GoodbyeReason_GOODBYE_REASON_CERTIFICATE_EXPIRED
	case identity.CodeClusterRemoved:
		reason = linkv1.GoodbyeReason_GOODBYE_REASON_CLUSTER_REMOVED
	}
	return &link.Refusal{Reason: reason, Message: refusal.Message}
}

// servingCertificate is the link's certificate, renewed when its end is near.
type servingCertificate struct {
	pki   *pki.Set
	hosts []string

	mu      sync.Mutex
	current *tls.Certificate
}

func (c *servingCertificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if c.current != nil && !pki.NeedsRenewal(c.current.Leaf, now) {
		return c.current, nil
	}
	renewed, err := c.pki.ServingCertificate(c.hosts, now)
	if err != nil {
		return nil, fmt.Errorf("issuing the link's certificate: %w", err)
	}
	c.current = renewed
	return renewed, nil
}

// linkStore tells the link how old the store is.
type linkStore struct {
	hubID   string
	history *incarnation.Keeper
	works   *works.View
}

// View implements link.Store.
func (s *linkStore) View(ctx context.Context, cluster, id string) (session.StoreView, error) {
	view, err := s.history.View(ctx, cluster, id, s.works.Revision())
	view.HubID = s.hubID
	return view, err
}

// EnterRestore implements link.Store.
func (s *linkStore) EnterRestore(ctx context.Context, cluster, id string, e session.RestoreDetected) (session.StoreView, error) {
	if err := s.history.EnterRestore(ctx, cluster, id, e.Unnoticed); err != nil {
		return session.StoreView{}, err
	}
	return s.View(ctx, cluster, id)
}

// LeaveRestore implements link.Store.
func (s *linkStore) LeaveRestore(ctx context.Context, cluster, id string) error {
	return s.history.LeaveRestore(ctx, cluster, id)
}

// linkRecorder writes down what agents say: of works into the store, of themselves into the roster.
type linkRecorder struct {
	view     *works.View
	roster   *roster.Roster
	clusters store.Kind[*clusterv1alpha1.MemberCluster]
	// connected is told who has connected.
	connected func(cluster string)
	// rush is what reports of works wait for.
	rush *store.Rush
}

// ClaimEpoch implements link.Recorder.
func (r *linkRecorder) ClaimEpoch(_ context.Context, name string, claim link.Claim) (int64, error) {
	cluster, ok := r.clusters.Get("", name)
	if !ok || cluster.Spec.ID != claim.ClusterID { // nor is one that has joined under the name of one that was removed
		return 0, fmt.Errorf("cluster %s is not known yet", name)
	}
	if agent := cluster.Status.Agent; agent != nil && agent.KubeSystemUID != "" && claim.KubeSystemUID != agent.KubeSystemUID {
		return 0, &link.Refusal{
			Reason: linkv1.GoodbyeReason_GOODBYE_REASON_WRONG_CLUSTER,
			Message: fmt.Sprintf("cluster %s joined this hub with the kube-system UID %s and this agent runs in one with %s: "+
				"give this agent a token of its own, for a cluster of another name", name, agent.KubeSystemUID, claim.KubeSystemUID),
		}
	}
	known := []int64{r.roster.Latest(name).Epoch}
	if written := cluster.Status.Session; written != nil {
		known = append(known, written.Epoch)
	}
	epoch, ok := session.NextEpoch(time.Now(), claim.LastEpoch, known...)
	if !ok {
		return 0, &link.Refusal{
			Reason: linkv1.GoodbyeReason_GOODBYE_REASON_PROTOCOL_ERROR, RetryAfter: time.Minute,
			Message: fmt.Sprintf("the agent of cluster %s names %d as the epoch of its last session, which no hub gives: if it is not one of yours, somebody has its key, "+
				"and `windlass token create --cluster %s --rejoin` takes the worth out of it", name, claim.LastEpoch, name),
		}
	}
	return epoch, nil
}

// Connected implements link.Recorder.
func (r *linkRecorder) Connected(_ context.Context, cluster string, s link.SessionInfo) error {
	r.roster.Connected(rostered(s), s.AgentVersion, s.KubeSystemUID)
	r.connected(cluster)
	return nil
}

// Disconnected implements link.Recorder.
func (r *linkRecorder) Disconnected(_ context.Context, _ string, s link.SessionInfo) error {
	r.roster.Disconnected(rostered(s))
	return nil
}

func rostered(s link.SessionInfo) roster.Session {
	return roster.Session{Cluster: s.Cluster, ClusterID: s.ClusterID, Epoch: s.Epoch}
}

// RecordReport implements link.Recorder.
func (r *linkRecorder) RecordReport(ctx context.Context, cluster string, report *linkv1.Report) (int64, error) {
	r.rush.Wait(ctx)
	return r.view.Record(ctx, cluster, report)
}

// RemovalDone implements link.Recorder.
func (r *linkRecorder) RemovalDone(ctx context.Context, cluster, key, uid string) error {
	r.rush.Wait(ctx)
	return r.view.Removed(ctx, cluster, key, uid)
}

// RecordFacts implements link.Recorder.
func (r *linkRecorder) RecordFacts(_ context.Context, s link.SessionInfo, facts *linkv1.ClusterFacts) error {
	r.roster.Facts(rostered(s), facts)
	return nil
}

// RecordHold implements link.Recorder.
func (r *linkRecorder) RecordHold(_ context.Context, s link.SessionInfo, hold session.Hold) error {
	r.roster.Hold(rostered(s), hold)
	return nil
}

// holds lets deletions happen that wait for a person, and ends sessions.
type holds struct {
	link    *link.Server
	history *incarnation.Keeper
}

func (h *holds) confirm(ctx context.Context, cluster, id string) error {
	_, err := h.link.Confirm(ctx, cluster, id)
	return err
}

// removed forgets a cluster, and tells its agent that its work here is done. A store that was cut back under this process
// may lack the cluster for that alone, and the agent would give its identity up: so the store is looked at first.
func (h *holds) removed(ctx context.Context, cluster, id string) error {
	err := h.history.Look(ctx)
	if err != nil {
		return err
	}
	err = h.link.Remove(ctx, cluster, id, fmt.Sprintf(
		"cluster %s was removed from the hub; to attach it anew run `windlass token create --cluster %s` on the hub and give the token to the agent", cluster, cluster))
	if err != nil {
		return err
	}
	return h.history.LeaveRestore(ctx, cluster, id)
}
