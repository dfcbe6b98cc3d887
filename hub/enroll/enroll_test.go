package enroll

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	clusterv1alpha1 "windlass.dev/windlass/api/cluster/v1alpha1"
	windlassv1alpha1 "windlass.dev/windlass/api/windlass/v1alpha1"
	"windlass.dev/windlass/hub/enroll/fake"
	"windlass.dev/windlass/hub/pki"
	"windlass.dev/windlass/pkg/identity"
)

var start = time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)

const kubeSystem = "6b0ffd4e-0000-4000-8000-000000000001"

// hub is a Server on stores in memory with a clock that stands still until it is moved.
type hub struct {
	*Server
	tokens   *fake.Store[*windlassv1alpha1.JoinToken]
	clusters *fake.Clusters
	events   *fake.Recorder
	log      *bytes.Buffer
	uid      string // of its own kube-system namespace
	joined   atomic.Int64

	mu       sync.Mutex
	clock    time.Time
	rejoined []string
}

// authorities are made once: they are read-only.
var authorities = sync.OnceValues(func() (*pki.Set, error) {
	set := &pki.Set{}
	for _, a := range []struct {
		name string
		at   **pki.Authority
	}{{"windlass hub", &set.Hub}, {"windlass agents", &set.Agents}, {"somebody else", &set.Users}} {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return nil, err
		}
		template := &x509.Certificate{
			SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: a.name}, IsCA: true, BasicConstraintsValid: true,
			NotBefore: start.Add(-time.Hour), NotAfter: start.Add(10 * 365 * 24 * time.Hour), KeyUsage: x509.KeyUsageCertSign,
		}
		der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
		if err != nil {
			return nil, err
		}
		certificate, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, err
		}
		*a.at = &pki.Authority{Certificate: certificate, Key: key}
	}
	return set, nil
})

func newHub(t testing.TB) *hub {
	t.Helper()
	set, err := authorities()
	if err != nil {
		t.Fatal(err)
	}
	h := &hub{tokens: fake.NewJoinTokens(), clusters: fake.NewClusters(), events: &fake.Recorder{}, log: &bytes.Buffer{}, clock: start}
	h.Server, err = New(Config{
		Tokens: h.tokens, Clusters: h.clusters, Recorder: h.events,
		IsHub:        func(_ context.Context, uid string) (bool, error) { return uid == h.uid, nil },
		AgentsIssuer: set.Agents, AgentsCA: set.Agents.Certificate, HubCA: set.Hub.Certificate, Joined: func() { h.joined.Add(1) },
		Rejoined: func(cluster string) {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.rejoined = append(h.rejoined, cluster)
		},
		Log: slog.New(slog.NewTextHandler(h.log, nil)), Registerer: prometheus.NewRegistry(), Now: h.now,
		RequestsPerSecond: 1, Burst: 10000,
	})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func (h *hub) now() time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.clock
}

func (h *hub) advance(d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.clock = h.clock.Add(d)
}

// token stores a new token, changed by the functions.
func (h *hub) token(t testing.TB, change ...func(*windlassv1alpha1.JoinTokenSpec)) identity.Token {
	t.Helper()
	token, err := identity.NewToken(h.hubID)
	if err != nil {
		t.Fatal(err)
	}
	end := metav1.NewTime(h.now().Add(15 * time.Minute))
	object := &windlassv1alpha1.JoinToken{
		ObjectMeta: metav1.ObjectMeta{Name: token.ID},
		Spec:       windlassv1alpha1.JoinTokenSpec{SecretHash: token.SecretHash(), ExpirationTime: &end},
	}
	for _, c := range change {
		c(&object.Spec)
	}
	if _, err := h.tokens.Create(t.Context(), object); err != nil {
		t.Fatal(err)
	}
	return token
}

func bound(name string) func(*windlassv1alpha1.JoinTokenSpec) {
	return func(s *windlassv1alpha1.JoinTokenSpec) { s.ClusterName = name }
}

func rejoin(s *windlassv1alpha1.JoinTokenSpec) { s.Rejoin = true }

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := identity.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// request is an honest one for the cluster "edge-1", changed by the functions.
func request(t testing.TB, token identity.Token, key *ecdsa.PrivateKey, change ...func(*identity.EnrollRequest)) identity.EnrollRequest {
	t.Helper()
	csr, err := identity.NewCertificateRequest(key)
	if err != nil {
		t.Fatal(err)
	}
	r := identity.EnrollRequest{Token: token.String(), CSR: csr, ClusterName: "edge-1", KubeSystemUID: kubeSystem, AgentVersion: "v1", Time: start}
	for _, c := range change {
		c(&r)
	}
	return r
}

func named(name string) func(*identity.EnrollRequest) {
	return func(r *identity.EnrollRequest) { r.ClusterName = name }
}

func ofCluster(uid string) func(*identity.EnrollRequest) {
	return func(r *identity.EnrollRequest) { r.KubeSystemUID = uid }
}

// post sends a body and reads either answer.
func (h *hub) post(t testing.TB, body []byte) (int, *identity.EnrollResponse, *identity.Refusal) {
	t.Helper()
	r := httptest.NewRequest(http.MethodPost, identity.EnrollPath, bytes.NewReader(body))
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if w.Code == http.StatusOK {
		var response identity.EnrollResponse
		if err := json.Unmarshal(w.Body.Bytes(), &response); err != nil {
			t.Fatal(err)
		}
		return w.Code, &response, nil
	}
	var refusal identity.Refusal
	if err := json.Unmarshal(w.Body.Bytes(), &refusal); err != nil {
		t.Fatalf("status %d with a body that is no refusal: %s", w.Code, w.Body)
	}
	return w.Code, nil, &refusal
}

func (h *hub) ask(t testing.TB, r identity.EnrollRequest) (*identity.EnrollResponse, *identity.Refusal) {
	t.Helper()
	body, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	_, response, refusal := h.post(t, body)
	return response, refusal
}

// enrolled asks and expects a certificate.
func (h *hub) enrolled(t testing.TB, r identity.EnrollRequest) (*identity.EnrollResponse, *x509.Certificate) {
	t.Helper()
	response, refusal := h.ask(t, r)
	if refusal != nil {
		t.Fatalf("refused: %s: %s", refusal.Code, refusal.Message)
	}
	return response, leaf(t, response)
}

func leaf(t testing.TB, response *identity.EnrollResponse) *x509.Certificate {
	t.Helper()
	block, _ := pem.Decode([]byte(response.Certificate))
	if block == nil {
		t.Fatal("the answer holds no certificate")
	}
	certificate, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return certificate
}

// ascribe writes into a cluster that a token has attached it, as whoever may edit it could.
func (h *hub) ascribe(t testing.TB, name string, token identity.Token) {
	t.Helper()
	cluster := h.cluster(t, name)
	metav1.SetMetaDataAnnotation(&cluster.ObjectMeta, JoinTokenAnnotation, token.ID)
	if _, err := h.clusters.Update(t.Context(), cluster); err != nil {
		t.Fatal(err)
	}
}

func (h *hub) cluster(t testing.TB, name string) *clusterv1alpha1.MemberCluster {
	t.Helper()
	cluster, err := h.clusters.Get(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	return cluster
}

// copyCluster does what applying the YAML of a cluster under another name does: the spec comes along, and the status does not.
func (h *hub) copyCluster(t testing.TB, name, to string) {
	t.Helper()
	original := h.cluster(t, name)
	if _, err := h.clusters.Create(t.Context(), &clusterv1alpha1.MemberCluster{ObjectMeta: metav1.ObjectMeta{Name: to}, Spec: original.Spec}); err != nil {
		t.Fatal(err)
	}
}

func TestATokenAloneMakesTheCluster(t *testing.T) {
	h := newHub(t)
	key := newKey(t)
	token := h.token(t)
	response, certificate := h.enrolled(t, request(t, token, key, func(r *identity.EnrollRequest) {
		r.Labels = map[string]string{"site": "harbour"}
		r.Provider, r.Region, r.Zones = "metal", "eu", []string{"a", "b"}
	}))

	cluster := h.cluster(t, "edge-1")
	if response.ClusterName != "edge-1" || response.ClusterID != cluster.Spec.ID || response.HubID != h.hubID || !response.ServerTime.Equal(start) {
		t.Errorf("the answer is %+v", response)
	}
	if !key.PublicKey.Equal(certificate.PublicKey) {
		t.Error("the certificate is for another key")
	}
	if id, err := identity.ClusterIDFromCertificate(certificate); err != nil || id != cluster.Spec.ID {
		t.Errorf("the certificate names %q, %v", id, err)
	}
	want := clusterv1alpha1.ClusterSpec{ID: cluster.Spec.ID, SyncMode: clusterv1alpha1.Pull, Provider: "metal", Region: "eu", Zones: []string{"a", "b"}}
	if diff := cmp.Diff(want, cluster.Spec); diff != "" {
		t.Error(diff)
	}
	if cluster.Labels["site"] != "harbour" {
		t.Errorf("labels %v", cluster.Labels)
	}
	end := metav1.NewTime(certificate.NotAfter)
	wantAgent := &clusterv1alpha1.AgentStatus{Version: "v1", KubeSystemUID: kubeSystem, CertificateSerial: identity.SerialText(certificate), CertificateExpiresAt: &end}
	if diff := cmp.Diff(wantAgent, cluster.Status.Agent); diff != "" {
		t.Error(diff)
	}
	if !meta.IsStatusConditionTrue(cluster.Status.Conditions, clusterv1alpha1.ClusterJoined) {
		t.Errorf("conditions %v", cluster.Status.Conditions)
	}
	stored, err := h.tokens.Get(t.Context(), token.ID)
	if err != nil {
		t.Fatal(err)
	}
	if stored.Status.ClusterName != "edge-1" || stored.Status.UsedTime == nil || len(stored.Status.PublicKeyHash) != 64 {
		t.Errorf("the token's status is %+v", stored.Status)
	}
	if got := testutil.ToFloat64(h.metrics.enrolments.WithLabelValues("Enrolled")); got != 1 || h.joined.Load() != 1 {
		t.Errorf("%v enrolments are counted, and %d told", got, h.joined.Load())
	}
	if len(h.events.Events()) != 0 {
		t.Errorf("a success has events: %v", h.events.Events())
	}
}

func TestAWaitingClusterIsAttachedByATokenBoundToItsName(t *testing.T) {
	h := newHub(t)
	if _, err := h.clusters.Create(t.Context(), &clusterv1alpha1.MemberCluster{
		ObjectMeta: metav1.ObjectMeta{Name: "edge-1", Labels: map[string]string{"site": "harbour"}},
		Spec:       clusterv1alpha1.ClusterSpec{SyncMode: clusterv1alpha1.Pull, Region: "eu"},
	}); err != nil {
		t.Fatal(err)
	}
	token := h.token(t, bound("edge-1"))
	response, _ := h.enrolled(t, request(t, token, newKey(t), named(""), func(r *identity.EnrollRequest) {
		r.Labels, r.Region = map[string]string{"site": "elsewhere"}, "us"
	}))
	cluster := h.cluster(t, "edge-1")
	if response.ClusterName != "edge-1" || cluster.Spec.ID == "" || response.ClusterID != cluster.Spec.ID {
		t.Errorf("the answer is %+v and the id %q", response, cluster.Spec.ID)
	}
	if cluster.Labels["site"] != "harbour" || cluster.Spec.Region != "eu" {
		t.Error("the agent has changed what somebody wrote about the cluster")
	}
	if len(response.Warnings) != 2 || !strings.Contains(response.Warnings[0], "--labels was not used (cluster.labels of the chart): ") {
		t.Errorf("warnings %q", response.Warnings)
	}
}

func TestALostReplyIsAskedForAgain(t *testing.T) {
	h := newHub(t)
	key, token := newKey(t), h.token(t)
	first, firstCertificate := h.enrolled(t, request(t, token, key))
	h.advance(14 * time.Minute)
	second, secondCertificate := h.enrolled(t, request(t, token, key))
	if first.ClusterID != second.ClusterID {
		t.Errorf("the identity changed from %s to %s", first.ClusterID, second.ClusterID)
	}
	for _, certificate := range []*x509.Certificate{firstCertificate, secondCertificate} {
		if _, _, err := h.Authenticate(t.Context(), certificate); err != nil {
			t.Errorf("whichever answer arrived must work: %v", err)
		}
	}
	h.advance(time.Minute)
	if _, refusal := h.ask(t, request(t, token, key)); refusal == nil || refusal.Code != identity.CodeTokenExpired {
		t.Errorf("after the token's end: %v", refusal)
	}
}

// TestARequestThatWasCutOffGoesOn fails each write in turn.
func TestARequestThatWasCutOffGoesOn(t *testing.T) {
	for _, again := range []bool{false, true} {
		for cut := range 4 {
			t.Run(fmt.Sprintf("rejoin %t, write %d is lost", again, cut), func(t *testing.T) {
				h := newHub(t)
				var old *x509.Certificate
				token := h.token(t)
				if again {
					_, old = h.enrolled(t, request(t, token, newKey(t)))
					token = h.token(t, bound("edge-1"), rejoin)
				}
				writes := 0
				fail := func(verb, _ string) error {
					if verb == "get" || verb == "list" {
						return nil
					}
					writes++
					if writes-1 == cut {
						return apierrors.NewServiceUnavailable("etcd is away")
					}
					return nil
				}
				h.tokens.Fail, h.clusters.Fail = fail, fail
				key := newKey(t)
				_, refusal := h.ask(t, request(t, token, key))
				if refusal == nil || refusal.Code != identity.CodeUnavailable || strings.Contains(refusal.Message, "etcd") {
					t.Fatalf("the cut gave %v", refusal)
				}
				if cut > 0 {
					if _, refusal := h.ask(t, request(t, token, newKey(t))); refusal == nil || refusal.Code != identity.CodeTokenUsed {
						t.Errorf("another key got the token of a request that was cut off: %v", refusal)
					}
				}
				response, certificate := h.enrolled(t, request(t, token, key))
				if response.ClusterID != h.cluster(t, "edge-1").Spec.ID {
					t.Error("another id")
				}
				if _, _, err := h.Authenticate(t.Context(), certificate); err != nil {
					t.Error(err)
				}
				if old != nil {
					if _, _, err := h.Authenticate(t.Context(), old); err == nil {
						t.Error("the certificate from before the rejoin still works")
					}
				}
			})
		}
	}
}

func TestRefusals(t *testing.T) {
	waiting := &clusterv1alpha1.MemberCluster{ObjectMeta: metav1.ObjectMeta{Name: "edge-1"}}
	for _, c := range []struct {
		reason string
		// prepare returns the request that is refused.
		prepare func(t *testing.T, h *hub) identity.EnrollRequest
		code    identity.Code
		says    string
		// event is what the hub records; empty: nothing, because nothing on the hub is concerned.
		event string
	}{
		{
			reason: "a token that the hub has never seen",
			prepare: func(t *testing.T, h *hub) identity.EnrollRequest {
				token, err := identity.NewToken(h.hubID)
				if err != nil {
					t.Fatal(err)
				}
				token.ID = "neverseen"
				return request(t, token, newKey(t))
			},
			code: identity.CodeTokenUnknown, says: "no join token neverseen with that secret", event: "JoinToken/neverseen TokenUnknown",
		},
		{
			reason: "the right id with a wrong secret",
			prepare: func(t *testing.T, h *hub) identity.EnrollRequest {
				token := h.token(t)
				token.Secret = strings.Repeat("a", len(token.Secret))
				return request(t, token, newKey(t))
			},
			code: identity.CodeTokenUnknown, says: "with that secret", event: "JoinToken/* TokenSecretWrong",
		},
		{
			reason: "a token that is over",
			prepare: func(t *testing.T, h *hub) identity.EnrollRequest {
				token := h.token(t)
				h.advance(15 * time.Minute)
				return request(t, token, newKey(t))
			},
			code: identity.CodeTokenExpired, says: "ended at 2030-01-02T03:19:05Z, and it is 2030-01-02T03:19:05Z on the hub; make a new one", event: "JoinToken/* TokenExpired",
		},
		{
			reason: "a token without an end ends after 15 minutes",
			prepare: func(t *testing.T, h *hub) identity.EnrollRequest {
				token := h.token(t, func(s *windlassv1alpha1.JoinTokenSpec) { s.ExpirationTime = nil })
				return request(t, token, newKey(t)) // its creation time is the year 1
			},
			code: identity.CodeTokenExpired, event: "JoinToken/* TokenExpired",
		},
		{
			reason: "a token that another key has used",
			prepare: func(t *testing.T, h *hub) identity.EnrollRequest {
				token := h.token(t)
				h.enrolled(t, request(t, token, newKey(t)))
				return request(t, token, newKey(t), named("edge-2"))
			},
			code: identity.CodeTokenUsed, says: `was used already, for cluster "edge-1"; a token is worth one use: make a new one with ` + "`windlass token create`", event: "JoinToken/* TokenUsed",
		},
		{
			reason: "a token that the cluster has used before its agent forgot who it is",
			prepare: func(t *testing.T, h *hub) identity.EnrollRequest {
				token := h.token(t)
				h.enrolled(t, request(t, token, newKey(t)))
				return request(t, token, newKey(t))
			},
			code: identity.CodeTokenUsed, says: "make a new one with `windlass token create --cluster edge-1 --rejoin`", event: "JoinToken/* TokenUsed",
		},
		{
			reason: "a token that is bound to another name",
			prepare: func(t *testing.T, h *hub) identity.EnrollRequest {
				return request(t, h.token(t, bound("edge-2")), newKey(t))
			},
			code: identity.CodeTokenForAnotherCluster, says: `is for cluster "edge-2" and the agent asked for "edge-1"; set --cluster-name=edge-2 (cluster.name of the chart)`, event: "JoinToken/* TokenForAnotherCluster",
		},
		{
			reason: "the same key asks for a second cluster with one token",
			prepare: func(t *testing.T, h *hub) identity.EnrollRequest {
				token, key := h.token(t), newKey(t)
				h.enrolled(t, request(t, token, key))
				return request(t, token, key, named("edge-2"))
			},
			code: identity.CodeTokenForAnotherCluster, says: `has enrolled cluster "edge-1"`, event: "JoinToken/* TokenForAnotherCluster",
		},
		{
			reason: "nobody has chosen a name",
			prepare: func(t *testing.T, h *hub) identity.EnrollRequest {
				return request(t, h.token(t), newKey(t), named(""))
			},
			code: identity.CodeInvalidRequest, says: "set --cluster-name (cluster.name of the chart)", event: "JoinToken/* InvalidRequest",
		},
		{
			reason: "a waiting cluster is not for a token that can be anybody's",
			prepare: func(t *testing.T, h *hub) identity.EnrollRequest {
				if _, err := h.clusters.Create(t.Context(), waiting); err != nil {
					t.Fatal(err)
				}
				return request(t, h.token(t), newKey(t))
			},
			code: identity.CodeClusterWaitsForToken, says: "waits for a token that is bound to its name", event: "MemberCluster/edge-1 ClusterWaitsForToken",
		},
		{
			reason: "somebody has written an unused token into a waiting cluster, as if that had claimed it",
			prepare: func(t *testing.T, h *hub) identity.EnrollRequest {
				if _, err := h.clusters.Create(t.Context(), waiting); err != nil {
					t.Fatal(err)
				}
				token := h.token(t)
				h.ascribe(t, "edge-1", token)
				return request(t, token, newKey(t))
			},
			code: identity.CodeClusterWaitsForToken, says: "waits for a token that is bound to its name", event: "MemberCluster/edge-1 ClusterWaitsForToken",
		},
		{
			reason: "somebody has written an unused token into a cluster that has joined, whose UID is no secret",
			prepare: func(t *testing.T, h *hub) identity.EnrollRequest {
				h.enrolled(t, request(t, h.token(t), newKey(t)))
				token := h.token(t)
				h.ascribe(t, "edge-1", token)
				return request(t, token, newKey(t))
			},
			code: identity.CodeClusterAlreadyJoined, says: "token create --cluster edge-1 --rejoin", event: "MemberCluster/edge-1 ClusterAlreadyJoined",
		},
		{
			reason: "a token that may rejoin and is bound to nothing is like any other",
			prepare: func(t *testing.T, h *hub) identity.EnrollRequest {
				h.enrolled(t, request(t, h.token(t), newKey(t)))
				return request(t, h.token(t, rejoin), newKey(t))
			},
			code: identity.CodeClusterAlreadyJoined, says: "token create --cluster edge-1 --rejoin", event: "MemberCluster/edge-1 ClusterAlreadyJoined",
		},
		{
			reason: "the same cluster again without --rejoin",
			prepare: func(t *testing.T, h *hub) identity.EnrollRequest {
				h.enrolled(t, request(t, h.token(t), newKey(t)))
				return request(t, h.token(t, bound("edge-1")), newKey(t))
			},
			code: identity.CodeClusterAlreadyJoined, says: "token create --cluster edge-1 --rejoin", event: "MemberCluster/edge-1 ClusterAlreadyJoined",
		},
		{
			reason: "another cluster claims the name",
			prepare: func(t *testing.T, h *hub) identity.EnrollRequest {
				h.enrolled(t, request(t, h.token(t), newKey(t)))
				return request(t, h.token(t), newKey(t), ofCluster("other"))
			},
			code: identity.CodeClusterNameTaken, says: `the name "edge-1" is taken`, event: "MemberCluster/edge-1 ClusterNameTaken",
		},
		{
			reason: "another cluster claims the name with a token to rejoin",
			prepare: func(t *testing.T, h *hub) identity.EnrollRequest {
				h.enrolled(t, request(t, h.token(t), newKey(t)))
				return request(t, h.token(t, bound("edge-1"), rejoin), newKey(t), ofCluster("other"))
			},
			code: identity.CodeClusterNameTaken, says: "another kube-system namespace", event: "MemberCluster/edge-1 ClusterNameTaken",
		},
		{
			reason: "the cluster was removed after the token had enrolled it",
			prepare: func(t *testing.T, h *hub) identity.EnrollRequest {
				token, key := h.token(t), newKey(t)
				h.enrolled(t, request(t, token, key))
				h.clusters.Delete("edge-1")
				return request(t, token, key)
			},
			code: identity.CodeClusterRemoved, says: "was removed from the hub after this token had enrolled it", event: "JoinToken/* ClusterRemoved",
		},
		{
			reason: "the cluster is being removed",
			prepare: func(t *testing.T, h *hub) identity.EnrollRequest {
				now := metav1.NewTime(start)
				if _, err := h.clusters.Create(t.Context(), &clusterv1alpha1.MemberCluster{ObjectMeta: metav1.ObjectMeta{Name: "edge-1", DeletionTimestamp: &now, Finalizers: []string{"x"}}}); err != nil {
					t.Fatal(err)
				}
				return request(t, h.token(t, bound("edge-1")), newKey(t))
			},
			code: identity.CodeClusterRemoved, says: "is being removed", event: "MemberCluster/edge-1 ClusterRemoved",
		},
		{
			reason: "a cluster that is on the hub under another name",
			prepare: func(t *testing.T, h *hub) identity.EnrollRequest {
				h.enrolled(t, request(t, h.token(t), newKey(t)))
				return request(t, h.token(t), newKey(t), named("edge-2"))
			},
			code: identity.CodeClusterHasAnotherName, says: `has joined the hub already, as "edge-1" (the UID of its kube-system namespace is the same)`, event: "MemberCluster/edge-1 ClusterHasAnotherName",
		},
		{
			reason: "the other name was made on the hub for it, with a token of its own",
			prepare: func(t *testing.T, h *hub) identity.EnrollRequest {
				h.enrolled(t, request(t, h.token(t), newKey(t)))
				if _, err := h.clusters.Create(t.Context(), &clusterv1alpha1.MemberCluster{ObjectMeta: metav1.ObjectMeta{Name: "edge-2"}}); err != nil {
					t.Fatal(err)
				}
				return request(t, h.token(t, bound("edge-2")), newKey(t), named("edge-2"))
			},
			code: identity.CodeClusterHasAnotherName, says: `to attach the cluster as "edge-2" instead, delete the MemberCluster edge-1 on the hub first`, event: "MemberCluster/edge-1 ClusterHasAnotherName",
		},
		{
			reason: "a cluster that was made from the YAML of another",
			prepare: func(t *testing.T, h *hub) identity.EnrollRequest {
				h.enrolled(t, request(t, h.token(t), newKey(t)))
				h.copyCluster(t, "edge-1", "edge-2")
				return request(t, h.token(t, bound("edge-2")), newKey(t), named("edge-2"), ofCluster("other"))
			},
			code: identity.CodeClusterIDCopied, says: `"edge-2" and "edge-1" have the same spec.id`, event: "MemberCluster/edge-2 ClusterIDCopied",
		},
		{
			reason: "the hub itself",
			prepare: func(t *testing.T, h *hub) identity.EnrollRequest {
				ask := request(t, h.token(t), newKey(t))
				h.uid = ask.KubeSystemUID
				return ask
			},
			code: identity.CodeClusterIsTheHub, says: "is that of the hub itself", event: "JoinToken/* ClusterIsTheHub",
		},
		{
			reason: "a token whose cluster has joined with a later token",
			prepare: func(t *testing.T, h *hub) identity.EnrollRequest {
				first, key := h.token(t), newKey(t)
				h.enrolled(t, request(t, first, key))
				h.enrolled(t, request(t, h.token(t, bound("edge-1"), rejoin), newKey(t)))
				return request(t, first, key)
			},
			code: identity.CodeTokenUsed, says: "has joined with another token since", event: "JoinToken/* TokenUsed",
		},
		{
			reason: "a name that is no name",
			prepare: func(t *testing.T, h *hub) identity.EnrollRequest {
				return request(t, h.token(t), newKey(t), named("Edge_1"))
			},
			code: identity.CodeInvalidRequest, says: `--cluster-name (cluster.name of the chart): the cluster name "Edge_1" is not valid`,
		},
		{
			reason: "a label of the hub's",
			prepare: func(t *testing.T, h *hub) identity.EnrollRequest {
				return request(t, h.token(t), newKey(t), func(r *identity.EnrollRequest) {
					r.Labels = map[string]string{"work.karmada.io/x": "y"}
				})
			},
			code: identity.CodeInvalidRequest, says: `"work.karmada.io/x" is reserved`,
		},
		{
			reason: "a label that is none",
			prepare: func(t *testing.T, h *hub) identity.EnrollRequest {
				return request(t, h.token(t), newKey(t), func(r *identity.EnrollRequest) { r.Labels = map[string]string{"a": "b c"} })
			},
			code: identity.CodeInvalidRequest, says: `--labels (cluster.labels of the chart): the value of "a"`,
		},
		{
			reason: "control characters in a text that people will read",
			prepare: func(t *testing.T, h *hub) identity.EnrollRequest {
				return request(t, h.token(t), newKey(t), func(r *identity.EnrollRequest) { r.Region = "eu\x1b[31m" })
			},
			code: identity.CodeInvalidRequest, says: "printable",
		},
		{
			reason: "no kube-system UID",
			prepare: func(t *testing.T, h *hub) identity.EnrollRequest {
				return request(t, h.token(t), newKey(t), ofCluster(""))
			},
			code: identity.CodeInvalidRequest, says: "kube-system",
		},
		{
			reason: "a request without a key",
			prepare: func(t *testing.T, h *hub) identity.EnrollRequest {
				return request(t, h.token(t), newKey(t), func(r *identity.EnrollRequest) { r.CSR = []byte("x") })
			},
			code: identity.CodeInvalidRequest, says: "PKCS #10",
		},
		{
			reason: "something that is no token",
			prepare: func(t *testing.T, h *hub) identity.EnrollRequest {
				return request(t, h.token(t), newKey(t), func(r *identity.EnrollRequest) { r.Token = "wl1.x" })
			},
			code: identity.CodeInvalidRequest, says: "2 parts",
		},
	} {
		t.Run(c.reason, func(t *testing.T) {
			h := newHub(t)
			r := c.prepare(t, h)
			before, err := h.clusters.List(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			joined := h.joined.Load()
			_, refusal := h.ask(t, r)
			if refusal == nil {
				t.Fatal("it was enrolled")
			}
			if refusal.Code != c.code || !strings.Contains(refusal.Message, c.says) || strings.Contains(refusal.Message, "\n") {
				t.Errorf("got %s: %s\nwant %s: …%s…", refusal.Code, refusal.Message, c.code, c.says)
			}
			after, err := h.clusters.List(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(before, after); diff != "" {
				t.Errorf("a refusal has changed the clusters: %s", diff)
			}
			if told := h.joined.Load() - joined; told != 0 {
				t.Errorf("%d agents are said to have joined", told)
			}
			checkEvents(t, h, c.event, refusal.Message)
			if token, err := identity.ParseToken(r.Token); err == nil && strings.Contains(h.log.String()+fmt.Sprint(h.events.Events()), token.Secret) {
				t.Error("the secret is in the log or in an event")
			}
		})
	}
}

func checkEvents(t *testing.T, h *hub, want, message string) {
	t.Helper()
	var got []string
	for _, e := range h.events.Events() {
		about, name, _ := strings.Cut(e.About, "/")
		if strings.HasPrefix(want, about+"/*") {
			name = "*"
		}
		got = append(got, about+"/"+name+" "+e.Reason)
		if e.Type != "Warning" || !strings.Contains(e.Message, message) {
			t.Errorf("the event is %+v", e)
		}
	}
	if strings.Join(got, ",") != want {
		t.Errorf("events %q, want %q", got, want)
	}
	if want != "" {
		reason := want[strings.Index(want, " ")+1:]
		if n := testutil.ToFloat64(h.metrics.enrolments.WithLabelValues(reason)); n != 1 {
			t.Errorf("the metric counts %v of %s", n, reason)
		}
	}
}

func TestAClusterWhoseFormerNameIsLeavingTheHubJoinsUnderAnother(t *testing.T) {
	h := newHub(t)
	h.enrolled(t, request(t, h.token(t), newKey(t)))
	former, err := h.clusters.Get(t.Context(), "edge-1")
	if err != nil {
		t.Fatal(err)
	}
	h.clusters.Delete("edge-1")
	leaving := former.DeepCopy()
	now := metav1.NewTime(start)
	leaving.ResourceVersion, leaving.DeletionTimestamp, leaving.Finalizers = "", &now, []string{"x"}
	if _, err := h.clusters.Create(t.Context(), leaving); err != nil {
		t.Fatal(err)
	}
	h.enrolled(t, request(t, h.token(t), newKey(t), named("edge-2")))

	// And a cluster that does not share its UID with anybody is not concerned.
	h.enrolled(t, request(t, h.token(t), newKey(t), named("edge-3"), ofCluster("6b0ffd4e-0000-4000-8000-000000000003")))
}

func TestAReinstalledAgentComesBackUnderItsName(t *testing.T) {
	h := newHub(t)
	first, old := h.enrolled(t, request(t, h.token(t), newKey(t)))
	second, fresh := h.enrolled(t, request(t, h.token(t, bound("edge-1"), rejoin), newKey(t)))
	if first.ClusterID != second.ClusterID {
		t.Error("the id of a cluster never changes")
	}
	if name, id, err := h.Authenticate(t.Context(), fresh); err != nil || name != "edge-1" || id != first.ClusterID {
		t.Errorf("%q %q %v", name, id, err)
	}
	wantRefused(t, h, old, identity.CodeCertificateRevoked)
	if got := testutil.ToFloat64(h.metrics.enrolments.WithLabelValues("Rejoined")); got != 1 {
		t.Errorf("%v rejoins are counted", got)
	}
}

func TestTheLinkIsToldOfWhatIsNotAcceptedAnyMore(t *testing.T) {
	h := newHub(t)
	first := request(t, h.token(t), newKey(t))
	_, certificate := h.enrolled(t, first)
	h.enrolled(t, first) // the answer was lost
	csr, err := identity.NewCertificateRequest(newKey(t))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.Renew(t.Context(), certificate, csr); err != nil {
		t.Fatal(err)
	}
	if len(h.rejoined) > 0 {
		t.Errorf("a session of %v ends, whose certificate is still accepted", h.rejoined)
	}
	h.tokens.Fail = func(verb, _ string) error { // the store fails when all that matters is recorded
		if verb == "updatestatus" && len(h.rejoined) > 0 {
			return errors.New("no quorum")
		}
		return nil
	}
	if _, refusal := h.ask(t, request(t, h.token(t, bound("edge-1"), rejoin), newKey(t))); refusal == nil || refusal.Code != identity.CodeUnavailable {
		t.Errorf("the store fails and the agent is answered %v", refusal)
	}
	wantRefused(t, h, certificate, identity.CodeCertificateRevoked)
	if diff := cmp.Diff([]string{"edge-1"}, h.rejoined); diff != "" {
		t.Errorf("told of (-want +got):\n%s", diff)
	}
}

func TestAnExpiredIdentityRejoinsToo(t *testing.T) {
	h := newHub(t)
	_, old := h.enrolled(t, request(t, h.token(t), newKey(t)))
	h.advance(91 * 24 * time.Hour)
	wantRefused(t, h, old, identity.CodeCertificateExpired)
	if _, refusal := h.ask(t, request(t, h.token(t, bound("edge-1")), newKey(t))); refusal == nil || refusal.Code != identity.CodeClusterAlreadyJoined {
		t.Errorf("a plain token: %v", refusal)
	}
	h.enrolled(t, request(t, h.token(t, bound("edge-1"), rejoin), newKey(t)))
}

func TestOfManyKeysOneRedeemsTheToken(t *testing.T) {
	const parallel = 1000
	h := newHub(t)
	token := h.token(t)
	csr := make([][]byte, 8)
	for i := range csr {
		var err error
		if csr[i], err = identity.NewCertificateRequest(newKey(t)); err != nil {
			t.Fatal(err)
		}
	}
	bodies := make([][]byte, parallel)
	for i := range bodies {
		body, err := json.Marshal(identity.EnrollRequest{Token: token.String(), CSR: csr[i%len(csr)], ClusterName: fmt.Sprintf("edge-%d", i%len(csr)), KubeSystemUID: kubeSystem})
		if err != nil {
			t.Fatal(err)
		}
		bodies[i] = body
	}
	winners := make([]string, parallel)
	var wg sync.WaitGroup
	begin := make(chan struct{})
	for i := range parallel {
		wg.Go(func() {
			<-begin
			for {
				_, response, refusal := h.post(t, bodies[i])
				switch {
				case response != nil:
					winners[i] = response.ClusterName
				case refusal.Code == identity.CodeUnavailable:
					continue // it lost ten races in a row, and the agent tries again
				case refusal.Code != identity.CodeTokenUsed:
					t.Errorf("refused with %s: %s", refusal.Code, refusal.Message)
				}
				return
			}
		})
	}
	close(begin)
	wg.Wait()
	distinct := map[string]bool{}
	for _, name := range winners {
		if name != "" {
			distinct[name] = true
		}
	}
	clusters, err := h.clusters.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(distinct) != 1 || len(clusters) != 1 {
		t.Errorf("%d keys have won and %d clusters exist, want 1 and 1", len(distinct), len(clusters))
	}
}

func TestAKeyThatIsOvertakenWhileItIsJudgedIsToldWhatBecameOfTheToken(t *testing.T) {
	h := newHub(t)
	token := h.token(t)
	overtaken := false
	h.clusters.Fail = func(verb, name string) error {
		if verb == "get" && name == "edge-2" && !overtaken {
			overtaken = true
			h.enrolled(t, request(t, token, newKey(t), named("edge-1")))
		}
		return nil
	}
	_, refusal := h.ask(t, request(t, token, newKey(t), named("edge-2")))
	if refusal == nil || refusal.Code != identity.CodeTokenUsed {
		t.Errorf("got %v", refusal)
	}
}

func TestTwoTokensRaceForOneName(t *testing.T) {
	h := newHub(t)
	slow, fast := h.token(t), h.token(t)
	overtaken := false
	h.clusters.Fail = func(verb, _ string) error {
		if verb == "create" && !overtaken {
			overtaken = true
			h.enrolled(t, request(t, fast, newKey(t), ofCluster("other")))
		}
		return nil
	}
	key := newKey(t)
	_, refusal := h.ask(t, request(t, slow, key))
	if refusal == nil || refusal.Code != identity.CodeClusterNameTaken {
		t.Fatalf("got %v", refusal)
	}
	// Even with the other cluster's UID, which is no secret, the token that lost gets nothing.
	if response, refusal := h.ask(t, request(t, slow, key, ofCluster("other"))); refusal == nil {
		t.Errorf("it took over %+v", response)
	}
}

func TestRenewalKeepsTheOldCertificateUntilTheNextOne(t *testing.T) {
	h := newHub(t)
	_, first := h.enrolled(t, request(t, h.token(t), newKey(t)))
	h.advance(60 * 24 * time.Hour)
	renew := func(presented *x509.Certificate) *x509.Certificate {
		t.Helper()
		key := newKey(t)
		csr, err := identity.NewCertificateRequest(key)
		if err != nil {
			t.Fatal(err)
		}
		chain, err := h.Renew(t.Context(), presented, csr)
		if err != nil {
			t.Fatal(err)
		}
		certificate, err := x509.ParseCertificate(chain[0])
		if err != nil {
			t.Fatal(err)
		}
		if len(chain) != 2 || !key.PublicKey.Equal(certificate.PublicKey) {
			t.Error("the chain is not the new key's")
		}
		return certificate
	}
	lost := renew(first)
	second := renew(first)
	wantRefused(t, h, lost, identity.CodeCertificateRevoked)
	for _, certificate := range []*x509.Certificate{first, second} {
		if _, _, err := h.Authenticate(t.Context(), certificate); err != nil {
			t.Error(err)
		}
	}
	third := renew(second)
	wantRefused(t, h, first, identity.CodeCertificateRevoked)
	h.advance(31 * 24 * time.Hour)
	wantRefused(t, h, first, identity.CodeCertificateExpired)
	if _, _, err := h.Authenticate(t.Context(), third); err != nil {
		t.Error(err)
	}
}

func TestRenewalTakesNothingButTheKeyFromTheRequest(t *testing.T) {
	h := newHub(t)
	_, certificate := h.enrolled(t, request(t, h.token(t), newKey(t)))
	victim, _ := h.enrolled(t, request(t, h.token(t), newKey(t), named("victim"), ofCluster("other")))
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		Subject: pkix.Name{CommonName: "victim", Organization: []string{"system:masters"}},
		URIs:    []*url.URL{identity.ClusterURI(victim.ClusterID)}, DNSNames: []string{"hub.example"},
	}, newKey(t))
	if err != nil {
		t.Fatal(err)
	}
	chain, err := h.Renew(t.Context(), certificate, csr)
	if err != nil {
		t.Fatal(err)
	}
	renewed, err := x509.ParseCertificate(chain[0])
	if err != nil {
		t.Fatal(err)
	}
	if name, _, err := h.Authenticate(t.Context(), renewed); err != nil || name != "edge-1" {
		t.Errorf("it is the certificate of %q, %v", name, err)
	}
	if len(renewed.DNSNames) != 0 || strings.Contains(renewed.Subject.String(), "masters") || renewed.IsCA {
		t.Errorf("the request's names were taken: %s %v", renewed.Subject, renewed.DNSNames)
	}
}

func TestRenewalIsBoundedPerCluster(t *testing.T) {
	h := newHub(t)
	_, certificate := h.enrolled(t, request(t, h.token(t), newKey(t)))
	csr, err := identity.NewCertificateRequest(newKey(t))
	if err != nil {
		t.Fatal(err)
	}
	for range 5 {
		if _, err := h.Renew(t.Context(), certificate, csr); err != nil {
			t.Fatal(err)
		}
	}
	var refusal *identity.Refusal
	if _, err := h.Renew(t.Context(), certificate, csr); !errors.As(err, &refusal) || refusal.Code != identity.CodeTooManyRequests {
		t.Errorf("the sixth at once: %v", err)
	}
	if _, err := h.Renew(t.Context(), certificate, []byte("x")); !errors.As(err, &refusal) || refusal.Code != identity.CodeInvalidRequest {
		t.Errorf("no request: %v", err)
	}
}

func TestARenewalThatLosesARaceIsRecordedAllTheSame(t *testing.T) {
	h := newHub(t)
	_, certificate := h.enrolled(t, request(t, h.token(t), newKey(t)))
	disturbed := false
	h.clusters.Fail = func(verb, name string) error {
		if verb == "updatestatus" && !disturbed {
			disturbed = true
			cluster := h.cluster(t, name)
			cluster.Status.KubernetesVersion = "v1.37.2"
			_, err := h.clusters.UpdateStatus(t.Context(), cluster)
			return err
		}
		return nil
	}
	csr, err := identity.NewCertificateRequest(newKey(t))
	if err != nil {
		t.Fatal(err)
	}
	chain, err := h.Renew(t.Context(), certificate, csr)
	if err != nil {
		t.Fatal(err)
	}
	renewed, err := x509.ParseCertificate(chain[0])
	if err != nil {
		t.Fatal(err)
	}
	cluster := h.cluster(t, "edge-1")
	if cluster.Status.KubernetesVersion != "v1.37.2" || cluster.Status.Agent.CertificateSerial != identity.SerialText(renewed) {
		t.Errorf("one of the two writes was lost: %+v", cluster.Status)
	}
}

func TestAHubThatWasRestoredStillKnowsNewerCertificates(t *testing.T) {
	h := newHub(t)
	_, first := h.enrolled(t, request(t, h.token(t), newKey(t)))
	backup := h.cluster(t, "edge-1")
	h.advance(60 * 24 * time.Hour)
	_, rejoined := h.enrolled(t, request(t, h.token(t, bound("edge-1"), rejoin), newKey(t)))
	wantRefused(t, h, first, identity.CodeCertificateRevoked)
	h.clusters.Delete("edge-1")
	if _, err := h.clusters.Create(t.Context(), backup); err != nil {
		t.Fatal(err)
	}
	if _, _, err := h.Authenticate(t.Context(), rejoined); err != nil {
		t.Errorf("an agent that enrolled after the backup is locked out: %v", err)
	}
}

func TestStrangersAreNotRecognised(t *testing.T) {
	h := newHub(t)
	set, err := authorities()
	if err != nil {
		t.Fatal(err)
	}
	response, good := h.enrolled(t, request(t, h.token(t), newKey(t)))
	issue := func(a *pki.Authority, template *x509.Certificate) *x509.Certificate {
		t.Helper()
		der, err := a.Issue(template, newKey(t).Public())
		if err != nil {
			t.Fatal(err)
		}
		certificate, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		return certificate
	}
	template := identity.AgentCertificate(response.ClusterID, "edge-1", start)
	template.SerialNumber = good.SerialNumber
	server := identity.AgentCertificate(response.ClusterID, "edge-1", start)
	server.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	twoNames := identity.AgentCertificate(response.ClusterID, "edge-1", start)
	twoNames.DNSNames = []string{"edge-1"}
	early := identity.AgentCertificate(response.ClusterID, "edge-1", start.Add(time.Hour))
	for _, c := range []struct {
		reason      string
		certificate *x509.Certificate
		code        identity.Code
	}{
		{"no certificate", nil, identity.CodeCertificateInvalid},
		{"the same names and serial from the users' authority", issue(set.Users, template), identity.CodeCertificateInvalid},
		{"a certificate of the hub's serving authority", issue(set.Hub, template), identity.CodeCertificateInvalid},
		{"a certificate that may not be a client's", issue(set.Agents, server), identity.CodeCertificateInvalid},
		{"a second name", issue(set.Agents, twoNames), identity.CodeCertificateInvalid},
		{"not valid yet", issue(set.Agents, early), identity.CodeCertificateExpired},
		{"a serial that is not recorded", issue(set.Agents, identity.AgentCertificate(response.ClusterID, "edge-1", start)), identity.CodeCertificateRevoked},
		{"a cluster that does not exist", issue(set.Agents, identity.AgentCertificate("none", "edge-1", start)), identity.CodeClusterRemoved},
	} {
		t.Run(c.reason, func(t *testing.T) { wantRefused(t, h, c.certificate, c.code) })
	}
	h.clusters.Delete("edge-1")
	wantRefused(t, h, good, identity.CodeClusterRemoved)
}

func TestAClusterWithoutAnAgentIsNobodys(t *testing.T) {
	h := newHub(t)
	_, certificate := h.enrolled(t, request(t, h.token(t), newKey(t)))
	cluster := h.cluster(t, "edge-1")
	cluster.Status = clusterv1alpha1.ClusterStatus{}
	if _, err := h.clusters.UpdateStatus(t.Context(), cluster); err != nil {
		t.Fatal(err)
	}
	wantRefused(t, h, certificate, identity.CodeCertificateRevoked)
}

func TestNoneIsLookedForAmongAllClusters(t *testing.T) {
	for _, test := range []struct {
		reason string
		ask    func(t *testing.T, h *hub, certificate *x509.Certificate) error
	}{
		{"an agent that has just enrolled, of which the cache does not know", func(t *testing.T, h *hub, certificate *x509.Certificate) error {
			h.clusters.Behind = true
			_, _, err := h.Authenticate(t.Context(), certificate)
			return err
		}},
		{"an agent that comes back to another process", func(t *testing.T, h *hub, certificate *x509.Certificate) error {
			h.names.Clear()
			_, _, err := h.Authenticate(t.Context(), certificate)
			return err
		}},
		{"the other name of a cluster that enrols", func(t *testing.T, h *hub, _ *x509.Certificate) error {
			_, refusal := h.ask(t, request(t, h.token(t), newKey(t), named("edge-2"), ofCluster("of-another")))
			if refusal != nil {
				return refusal
			}
			return nil
		}},
	} {
		t.Run(test.reason, func(t *testing.T) {
			h := newHub(t)
			_, certificate := h.enrolled(t, request(t, h.token(t), newKey(t)))
			h.clusters.Fail = func(verb, name string) error {
				if verb == "list" {
					return errors.New("all clusters are read")
				}
				return nil
			}
			if err := test.ask(t, h, certificate); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestTheOtherNameOfAClusterIsKnownToThisProcessOrToTheCache(t *testing.T) {
	for _, test := range []struct {
		reason  string
		prepare func(h *hub)
	}{
		{"it enrolled a moment ago, and the cache does not show it", func(h *hub) { h.clusters.Behind = true }},
		{"another process has enrolled it", func(h *hub) { h.attached.Clear() }},
	} {
		t.Run(test.reason, func(t *testing.T) {
			h := newHub(t)
			h.enrolled(t, request(t, h.token(t), newKey(t)))
			test.prepare(h)
			_, refusal := h.ask(t, request(t, h.token(t), newKey(t), named("edge-2")))
			if refusal == nil || refusal.Code != identity.CodeClusterHasAnotherName {
				t.Errorf("the answer to the second name is %+v", refusal)
			}
		})
	}
}

func TestAnAgentIsFoundThatTheCacheDoesNotKnow(t *testing.T) {
	h := newHub(t)
	_, certificate := h.enrolled(t, request(t, h.token(t), newKey(t)))
	h.names.Clear()
	h.clusters.Behind = true
	if name, _, err := h.Authenticate(t.Context(), certificate); err != nil || name != "edge-1" {
		t.Errorf("it is %q: %v", name, err)
	}
}

func TestTheAgentOfAClusterThatWasCopiedIsThatOfTheOriginal(t *testing.T) {
	for _, test := range []struct {
		reason string
		knows  func(h *hub, id string)
	}{
		{"this process has seen the agent before", func(*hub, string) {}},
		{"it comes to another process", func(h *hub, _ string) { h.names.Clear() }},
		{"what is remembered is the name of the copy", func(h *hub, id string) { h.names.Store(id, "copy") }},
	} {
		t.Run(test.reason, func(t *testing.T) {
			h := newHub(t)
			_, certificate := h.enrolled(t, request(t, h.token(t), newKey(t)))
			h.copyCluster(t, "edge-1", "copy")
			test.knows(h, h.cluster(t, "edge-1").Spec.ID)
			if name, _, err := h.Authenticate(t.Context(), certificate); err != nil || name != "edge-1" {
				t.Errorf("it is taken for that of %q: %v", name, err)
			}
		})
	}
}

func TestAnAgentOfTwoClustersWithOneIdIsTurnedAwayUntilOneOfThemIsGone(t *testing.T) {
	h := newHub(t)
	_, certificate := h.enrolled(t, request(t, h.token(t), newKey(t)))
	copied := h.cluster(t, "edge-1") // with its status, so that nobody can know which is the original
	copied.Name = "copy"
	if _, err := h.clusters.Create(t.Context(), copied); err != nil {
		t.Fatal(err)
	}
	h.names.Clear()
	_, _, err := h.Authenticate(t.Context(), certificate)
	var refusal *identity.Refusal
	if err == nil || errors.As(err, &refusal) || !strings.Contains(err.Error(), `"copy" and "edge-1" have the same spec.id`) {
		t.Errorf("error %v: a refusal would have the agent give its identity up", err)
	}
	var about []string
	for _, event := range h.events.Events() {
		about = append(about, event.About+" "+event.Reason)
	}
	if diff := cmp.Diff([]string{"MemberCluster/copy ClusterIDCopied", "MemberCluster/edge-1 ClusterIDCopied"}, about); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	h.clusters.Delete("copy")
	if name, _, err := h.Authenticate(t.Context(), certificate); err != nil || name != "edge-1" {
		t.Errorf("when the copy is gone it is that of %q: %v", name, err)
	}
}

func TestACertificateThatWasReplacedIsToldOnItsCluster(t *testing.T) {
	h := newHub(t)
	_, old := h.enrolled(t, request(t, h.token(t), newKey(t)))
	h.enrolled(t, request(t, h.token(t, bound("edge-1"), rejoin), newKey(t)))
	err := wantRefused(t, h, old, identity.CodeCertificateRevoked)
	events := h.events.Events()
	if last := events[len(events)-1]; last.About != "MemberCluster/edge-1" || last.Type != "Warning" || last.Reason != "CertificateRevoked" || !strings.Contains(last.Message, err.Error()) {
		t.Errorf("the last event is %+v", last)
	}
}

func TestAStoreThatIsAwayIsNotARefusal(t *testing.T) {
	h := newHub(t)
	_, certificate := h.enrolled(t, request(t, h.token(t), newKey(t)))
	h.clusters.Fail = func(string, string) error { return apierrors.NewServiceUnavailable("etcd is away") }
	_, _, err := h.Authenticate(t.Context(), certificate)
	var refusal *identity.Refusal
	if err == nil || errors.As(err, &refusal) {
		t.Errorf("error %v: an agent must not be told that it is revoked", err)
	}
}

func wantRefused(t *testing.T, h *hub, certificate *x509.Certificate, code identity.Code) error {
	t.Helper()
	_, _, err := h.Authenticate(t.Context(), certificate)
	var refusal *identity.Refusal
	if !errors.As(err, &refusal) || refusal.Code != code {
		t.Errorf("got %v, want %s", err, code)
	}
	return err
}

func TestWhatIsNoEnrolmentIsTurnedAway(t *testing.T) {
	h := newHub(t)
	for _, c := range []struct {
		reason, method, path, body string
		status                     int
	}{
		{"another path", http.MethodPost, "/api/v1/secrets", "", http.StatusNotFound},
		{"a path that only looks alike", http.MethodPost, "/v1/enroll/", "", http.StatusNotFound},
		{"another method", http.MethodGet, identity.EnrollPath, "", http.StatusMethodNotAllowed},
		{"no JSON", http.MethodPost, identity.EnrollPath, "token=x", http.StatusBadRequest},
		{"two JSON values", http.MethodPost, identity.EnrollPath, "{}{}", http.StatusBadRequest},
		{"an empty object", http.MethodPost, identity.EnrollPath, "{}", http.StatusBadRequest},
		{"a deep nest", http.MethodPost, identity.EnrollPath, strings.Repeat("[", 60000), http.StatusBadRequest},
		{"ten megabytes", http.MethodPost, identity.EnrollPath, `{"token":"` + strings.Repeat("a", 10<<20) + `"}`, http.StatusRequestEntityTooLarge},
	} {
		t.Run(c.reason, func(t *testing.T) {
			w := httptest.NewRecorder()
			h.ServeHTTP(w, httptest.NewRequest(c.method, c.path, strings.NewReader(c.body)))
			if w.Code != c.status {
				t.Errorf("status %d, want %d: %s", w.Code, c.status, w.Body)
			}
		})
	}
	if len(h.events.Events()) != 0 {
		t.Errorf("events %v", h.events.Events())
	}
}

func TestOneAddressCannotAskForEver(t *testing.T) {
	h := newHub(t)
	h.Server.requests = newLimiters(1, 3)
	post := func(from string) int {
		r := httptest.NewRequest(http.MethodPost, identity.EnrollPath, strings.NewReader("{}"))
		r.RemoteAddr = from
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code == http.StatusTooManyRequests && w.Header().Get("Retry-After") == "" {
			t.Error("the agent is not told when to come again")
		}
		return w.Code
	}
	for range 3 {
		if got := post("192.0.2.1:1000"); got != http.StatusBadRequest {
			t.Errorf("status %d", got)
		}
	}
	if got := post("192.0.2.1:2000"); got != http.StatusTooManyRequests {
		t.Errorf("the fourth: status %d", got)
	}
	if got := post("192.0.2.2:1000"); got != http.StatusBadRequest {
		t.Errorf("another address: status %d", got)
	}
	h.advance(time.Second)
	if got := post("192.0.2.1:1000"); got != http.StatusBadRequest {
		t.Errorf("a second later: status %d", got)
	}
	for i := range 4 {
		want := http.StatusBadRequest
		if i == 3 {
			want = http.StatusTooManyRequests
		}
		if got := post(fmt.Sprintf("[2001:db8::%d]:1000", i)); got != want {
			t.Errorf("address %d of one /64: status %d, want %d", i, got, want)
		}
	}
}

func TestGuessesCannotFloodTheEvents(t *testing.T) {
	h := newHub(t)
	token := h.token(t)
	token.Secret = strings.Repeat("a", len(token.Secret))
	r := request(t, token, newKey(t))
	for range 100 {
		h.ask(t, r)
	}
	if n := len(h.events.Events()); n != 10 {
		t.Errorf("%d events for 100 guesses at once, want 10", n)
	}
}

func TestAServerNeedsItsParts(t *testing.T) {
	if _, err := New(Config{}); err == nil {
		t.Error("accepted")
	}
	h := newHub(t)
	registry := prometheus.NewRegistry()
	c := h.Config
	c.Registerer = registry
	if _, err := New(c); err != nil {
		t.Fatal(err)
	}
	if _, err := New(c); err == nil {
		t.Error("two servers share one registry and nobody noticed")
	}
}

func TestACancelledRequestIsNoRefusal(t *testing.T) {
	h := newHub(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	body, err := json.Marshal(request(t, h.token(t), newKey(t)))
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequestWithContext(ctx, http.MethodPost, identity.EnrollPath, bytes.NewReader(body)))
	if w.Code != http.StatusServiceUnavailable {
		t.Errorf("status %d", w.Code)
	}
}

var (
	_ JoinTokens = fake.NewJoinTokens()
	_ Clusters   = fake.NewClusters()
	_ Recorder   = &fake.Recorder{}
	_ Issuer     = &pki.Authority{}
)
