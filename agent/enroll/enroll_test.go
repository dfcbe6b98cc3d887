package enroll

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"windlass.dev/windlass/agent/dial"
	"windlass.dev/windlass/pkg/identity"
)

// memory is a Store that enforces versions.
type memory struct {
	mu    sync.Mutex
	state Stored
	count int
}

var _ Store = (*memory)(nil)

func (m *memory) Name() string { return "the test's store" }

func (m *memory) Load(context.Context) (Stored, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.state, nil
}

func (m *memory) Save(_ context.Context, s Stored) (Stored, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if s.Version != m.state.Version {
		return Stored{}, ErrChanged
	}
	m.count++
	s.Version = strconv.Itoa(m.count)
	m.state = s
	return s, nil
}

// ca is an authority of a test.
type ca struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

func newCA(t testing.TB, name string) *ca {
	t.Helper()
	key, err := identity.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
		NotBefore: start.AddDate(-1, 0, 0), NotAfter: start.AddDate(10, 0, 0),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &ca{certificate, key}
}

func (a *ca) issue(t testing.TB, template *x509.Certificate, public any) []byte {
	t.Helper()
	template.SerialNumber = big.NewInt(time.Now().UnixNano())
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, public, a.key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func encode(der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// hub is a server that plays the hub's part as each test wants it.
type hub struct {
	*ca
	agents *ca
	addr   string

	mu       sync.Mutex
	requests []identity.EnrollRequest
}

// newHub serves answer for every request; what the request held is kept.
func newHub(t testing.TB, answer func(h *hub, w http.ResponseWriter, r *http.Request, asked identity.EnrollRequest)) *hub {
	t.Helper()
	h := &hub{ca: newCA(t, identity.HubAuthorityName), agents: newCA(t, "windlass agents")}
	key, err := identity.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	serving := h.issue(t, &x509.Certificate{
		NotBefore: start.Add(-time.Hour), NotAfter: start.AddDate(1, 0, 0), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, IPAddresses: []net.IP{{127, 0, 0, 1}},
	}, key.Public())
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var asked identity.EnrollRequest
		_ = json.NewDecoder(r.Body).Decode(&asked)
		h.mu.Lock()
		h.requests = append(h.requests, asked)
		h.mu.Unlock()
		answer(h, w, r, asked)
	}))
	server.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{serving, h.certificate.Raw}, PrivateKey: key}}, MinVersion: tls.VersionTLS13, Time: func() time.Time { return start }}
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	h.addr = server.Listener.Addr().String()
	return h
}

func (h *hub) asked() []identity.EnrollRequest {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]identity.EnrollRequest(nil), h.requests...)
}

// response is what an honest hub answers.
func (h *hub) response(t testing.TB, asked identity.EnrollRequest) identity.EnrollResponse {
	t.Helper()
	public, err := identity.PublicKeyFromRequest(asked.CSR)
	if err != nil {
		t.Error(err)
		return identity.EnrollResponse{}
	}
	name := asked.ClusterName
	if name == "" {
		name = "edge-1" // as the token is bound
	}
	return identity.EnrollResponse{
		Certificate: encode(h.agents.issue(t, identity.AgentCertificate("abc", name, start), public)) + encode(h.agents.certificate.Raw),
		HubCA:       encode(h.certificate.Raw), HubID: identity.Pin(h.certificate), ClusterName: name, ClusterID: "abc", ServerTime: start,
	}
}

func honest(t testing.TB) func(h *hub, w http.ResponseWriter, r *http.Request, asked identity.EnrollRequest) {
	return func(h *hub, w http.ResponseWriter, _ *http.Request, asked identity.EnrollRequest) {
		_ = json.NewEncoder(w).Encode(h.response(t, asked))
	}
}

func (h *hub) token(t testing.TB) identity.Token {
	t.Helper()
	token, err := identity.NewToken(identity.Pin(h.certificate))
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// lockedBuffer is a log that a test reads while it is written.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func tokenInEnvironment(token identity.Token) TokenSource {
	return TokenSource{Getenv: func(name string) string {
		if name == TokenVariable {
			return token.String() + "\n"
		}
		return ""
	}}
}

// newAgent joins at the hub; change sets what a test wants otherwise.
func newAgent(t testing.TB, hubAddr string, token identity.Token, change ...func(*Config)) (*Enroller, *memory, *lockedBuffer) {
	t.Helper()
	dialer, err := dial.New(dial.Config{Getenv: func(string) string { return "" }})
	if err != nil {
		t.Fatal(err)
	}
	store, output := &memory{}, &lockedBuffer{}
	c := Config{
		Hub: hubAddr, ClusterName: "edge-1", KubeSystemUID: "here", AgentVersion: "v1", Token: tokenInEnvironment(token), Store: store, Dialer: dialer,
		Log: slog.New(slog.NewTextHandler(output, nil)), Now: func() time.Time { return start }, MinWait: time.Millisecond, MaxWait: 5 * time.Millisecond,
	}
	for _, f := range change {
		f(&c)
	}
	e, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return e, store, output
}

func TestTheFirstJoinIsStoredAndUsedFromThenOn(t *testing.T) {
	h := newHub(t, honest(t))
	registry := prometheus.NewRegistry()
	token := h.token(t)
	e, store, output := newAgent(t, h.addr, token, func(c *Config) {
		c.Labels, c.Provider, c.Region, c.Zones, c.Registerer = map[string]string{"a": "b"}, "metal", "eu", []string{"z"}, registry
	})
	first, err := e.Identity(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	second, err := e.Identity(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !first.Certificate.Equal(second.Certificate) || !first.Key.Equal(second.Key) || first.ClusterName != "edge-1" || first.ClusterID != "abc" {
		t.Error("the identity that was stored is another one")
	}
	asked := h.asked()
	if len(asked) != 1 {
		t.Fatalf("the hub was asked %d times", len(asked))
	}
	got := asked[0]
	got.CSR = nil
	want := identity.EnrollRequest{
		Token: token.String(), ClusterName: "edge-1", KubeSystemUID: "here", Labels: map[string]string{"a": "b"},
		Provider: "metal", Region: "eu", Zones: []string{"z"}, AgentVersion: "v1", Time: start,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if strings.Contains(output.String(), token.Secret) || strings.Contains(output.String(), "PRIVATE") {
		t.Errorf("a secret is in the log: %s", output)
	}
	if len(store.state.PendingKey) != 0 || store.state.TokenID != token.ID || store.state.KubeSystemUID != "here" || store.state.Hub != h.addr {
		t.Errorf("stored: %+v", store.state)
	}
	if got := testutil.ToFloat64(e.expiry); got != float64(start.Add(90*24*time.Hour).Unix()) {
		t.Errorf("the metric says %v", got)
	}
	if !first.RenewAt().Equal(start.Add(60 * 24 * time.Hour)) {
		t.Errorf("renewed at %s", first.RenewAt())
	}
	pair := first.TLSCertificate()
	if len(pair.Certificate) != 2 || pair.PrivateKey != first.Key {
		t.Error("what the agent shows is not its chain and key")
	}
}

func TestWhatMayPassIsTriedAgainWithTheSameKey(t *testing.T) {
	var attempts atomic.Int32
	h := newHub(t, func(h *hub, w http.ResponseWriter, r *http.Request, asked identity.EnrollRequest) {
		switch attempts.Add(1) {
		case 1:
			panic(http.ErrAbortHandler) // the answer is lost
		case 2:
			http.Error(w, "<html>no backend", http.StatusBadGateway)
		case 3:
			w.WriteHeader(http.StatusServiceUnavailable)
			_ = json.NewEncoder(w).Encode(identity.Refusal{Code: identity.CodeUnavailable, Message: "later"})
		case 4:
			w.WriteHeader(http.StatusTooManyRequests)
		default:
			honest(t)(h, w, r, asked)
		}
	})
	e, _, _ := newAgent(t, h.addr, h.token(t))
	var problems []string
	e.Waiting = func(problem error) { problems = append(problems, problem.Error()) }
	if _, err := e.Identity(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(problems) != 4 || !strings.Contains(problems[0], "closed the connection") || !strings.Contains(problems[1], "HTTP 502") {
		t.Errorf("what keeps the agent waiting is said as %q", problems)
	}
	keys := map[string]bool{}
	for _, asked := range h.asked() {
		public, err := identity.PublicKeyFromRequest(asked.CSR)
		if err != nil {
			t.Fatal(err)
		}
		hash, err := identity.PublicKeyHash(public)
		if err != nil {
			t.Fatal(err)
		}
		keys[hash] = true
	}
	if attempts.Load() != 5 || len(keys) != 1 {
		t.Errorf("%d attempts with %d keys, want 5 with 1", attempts.Load(), len(keys))
	}
}

func TestAnAgentThatRestartsBeforeTheAnswerUsesTheSameKey(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var answered atomic.Bool
	h := newHub(t, func(h *hub, w http.ResponseWriter, r *http.Request, asked identity.EnrollRequest) {
		if answered.CompareAndSwap(false, true) {
			cancel()
			panic(http.ErrAbortHandler)
		}
		honest(t)(h, w, r, asked)
	})
	token := h.token(t)
	e, store, _ := newAgent(t, h.addr, token)
	if _, err := e.Identity(ctx); !errors.Is(err, context.Canceled) {
		t.Fatalf("error %v", err)
	}
	pending := store.state.PendingKey
	again, _, _ := newAgent(t, h.addr, token, func(c *Config) { c.Store = store })
	joined, err := again.Identity(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	key, err := decodeKey(pending)
	if err != nil || !joined.Key.Equal(key) {
		t.Errorf("the key from before the restart was not used: %v", err)
	}
}

func TestAnotherTokenGetsAnotherKey(t *testing.T) {
	h := newHub(t, func(_ *hub, w http.ResponseWriter, _ *http.Request, _ identity.EnrollRequest) {
		w.WriteHeader(http.StatusForbidden)
		_ = json.NewEncoder(w).Encode(identity.Refusal{Code: identity.CodeTokenExpired, Message: "over"})
	})
	e, store, _ := newAgent(t, h.addr, h.token(t))
	if _, err := e.Identity(t.Context()); err == nil {
		t.Fatal("enrolled")
	}
	first := store.state.PendingKey
	again, _, _ := newAgent(t, h.addr, h.token(t), func(c *Config) { c.Store = store })
	if _, err := again.Identity(t.Context()); err == nil {
		t.Fatal("enrolled")
	}
	if bytes.Equal(first, store.state.PendingKey) {
		t.Error("two tokens share a key")
	}
}

func TestAnswersThatEndTheAgent(t *testing.T) {
	for _, c := range []struct {
		reason string
		answer func(h *hub, w http.ResponseWriter, asked identity.EnrollRequest)
		says   string
		code   identity.Code
	}{
		{
			reason: "the hub's refusal, in the hub's words",
			answer: func(_ *hub, w http.ResponseWriter, _ identity.EnrollRequest) {
				w.WriteHeader(http.StatusForbidden)
				_ = json.NewEncoder(w).Encode(identity.Refusal{Code: identity.CodeTokenUsed, Message: "the join token x was used\n\x1b[31m"})
			},
			says: "the hub refused to enrol this cluster: the join token x was used", code: identity.CodeTokenUsed,
		},
		{
			reason: "a Kubernetes API server",
			answer: func(_ *hub, w http.ResponseWriter, _ identity.EnrollRequest) {
				w.WriteHeader(http.StatusForbidden)
				_, _ = io.WriteString(w, `{"kind":"Status","status":"Failure","message":"forbidden","reason":"Forbidden","code":403}`)
			},
			says: "answered with HTTP 403, which no hub does: check that --hub names the hub's link port",
		},
		{
			reason: "a web server",
			answer: func(_ *hub, w http.ResponseWriter, _ identity.EnrollRequest) { http.NotFound(w, nil) },
			says:   "answered with HTTP 404, which no hub does",
		},
		{
			reason: "a redirect: the token is for nobody else",
			answer: func(_ *hub, w http.ResponseWriter, _ identity.EnrollRequest) {
				w.Header().Set("Location", "https://elsewhere.invalid/")
				w.WriteHeader(http.StatusTemporaryRedirect)
			},
			says: "answered with HTTP 307, which no hub does",
		},
		{
			reason: "no JSON",
			answer: func(_ *hub, w http.ResponseWriter, _ identity.EnrollRequest) { _, _ = io.WriteString(w, "hello") },
			says:   "an answer that no hub gives",
		},
		{
			reason: "an answer without an end",
			answer: func(_ *hub, w http.ResponseWriter, _ identity.EnrollRequest) {
				_, _ = io.WriteString(w, `{"certificate":"`+strings.Repeat("a", 1<<20))
			},
			says: "an answer that no hub gives",
		},
		{
			reason: "a certificate for another key",
			answer: func(h *hub, w http.ResponseWriter, asked identity.EnrollRequest) {
				r := h.response(t, asked)
				key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
				r.Certificate = encode(h.agents.issue(t, identity.AgentCertificate("abc", "edge-1", start), key.Public()))
				_ = json.NewEncoder(w).Encode(r)
			},
			says: "cannot be used: the certificate is for another key",
		},
		{
			reason: "a certificate of another cluster",
			answer: func(h *hub, w http.ResponseWriter, asked identity.EnrollRequest) {
				r := h.response(t, asked)
				r.ClusterID = "other"
				_ = json.NewEncoder(w).Encode(r)
			},
			says: "cannot be used: the certificate is of the cluster with id abc",
		},
		{
			reason: "another name than was asked for",
			answer: func(h *hub, w http.ResponseWriter, asked identity.EnrollRequest) {
				r := h.response(t, asked)
				r.ClusterName = "edge-2"
				_ = json.NewEncoder(w).Encode(r)
			},
			says: `cannot be used: it is for cluster "edge-2"`,
		},
		{
			reason: "the authority of another hub",
			answer: func(h *hub, w http.ResponseWriter, asked identity.EnrollRequest) {
				r := h.response(t, asked)
				r.HubCA, r.HubID = encode(h.agents.certificate.Raw), identity.Pin(h.agents.certificate)
				_ = json.NewEncoder(w).Encode(r)
			},
			says: "cannot be used: it names another hub than the token",
		},
		{
			reason: "a hub whose clock is a hundred days behind",
			answer: func(h *hub, w http.ResponseWriter, asked identity.EnrollRequest) {
				then := start.Add(-100 * 24 * time.Hour)
				public, _ := identity.PublicKeyFromRequest(asked.CSR)
				r := h.response(t, asked)
				r.Certificate, r.ServerTime = encode(h.agents.issue(t, identity.AgentCertificate("abc", "edge-1", then), public)), then
				_ = json.NewEncoder(w).Encode(r)
			},
			says: "this machine's clock is 2400h0m0s ahead of the hub's",
		},
	} {
		t.Run(c.reason, func(t *testing.T) {
			h := newHub(t, func(h *hub, w http.ResponseWriter, _ *http.Request, asked identity.EnrollRequest) {
				c.answer(h, w, asked)
			})
			e, store, _ := newAgent(t, h.addr, h.token(t))
			_, err := e.Identity(t.Context())
			var stopped *StopError
			if !errors.As(err, &stopped) || !strings.Contains(err.Error(), c.says) || strings.ContainsAny(err.Error(), "\n\x1b") || stopped.Code != c.code {
				t.Errorf("error %v\nwant …%s…", err, c.says)
			}
			if len(h.asked()) != 1 {
				t.Errorf("it asked %d times", len(h.asked()))
			}
			if len(store.state.Certificate) != 0 {
				t.Error("something was stored as an identity")
			}
		})
	}
}

func TestAClockThatIsOffIsNamedWithItsAmount(t *testing.T) {
	h := newHub(t, func(h *hub, w http.ResponseWriter, _ *http.Request, asked identity.EnrollRequest) {
		r := h.response(t, asked)
		r.ServerTime = time.Time{}
		w.Header().Set("Date", start.Add(3*time.Hour).Format(http.TimeFormat))
		_ = json.NewEncoder(w).Encode(r)
	})
	e, _, output := newAgent(t, h.addr, h.token(t))
	if _, err := e.Identity(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(output.String(), "this machine's clock is 3h0m0s behind the hub's; set it right") {
		t.Errorf("log: %s", output)
	}
}

func TestAnIdentityThatTheHubRefusesIsUsedNoMore(t *testing.T) {
	h := newHub(t, honest(t))
	used := h.token(t)
	e, store, _ := newAgent(t, h.addr, used)
	held, err := e.Identity(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Refused(t.Context(), held, "it was replaced"); err != nil {
		t.Fatal(err)
	}
	var stopped *StopError
	if _, err := e.Identity(t.Context()); !errors.As(err, &stopped) || !strings.Contains(err.Error(), "it was replaced") {
		t.Errorf("error %v", err)
	}
	again, _, _ := newAgent(t, h.addr, h.token(t), func(c *Config) { c.Store = store })
	next, err := again.Identity(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if next.Key.Equal(held.Key) {
		t.Error("the key of an identity that was refused is used again")
	}
	if err := again.Refused(t.Context(), held, "late news"); err != nil {
		t.Fatal(err)
	}
	if _, err := again.Identity(t.Context()); err != nil {
		t.Errorf("news about an identity that was replaced hit the new one: %v", err)
	}
}

func TestAnIdentityThatWasDeletedUnderTheAgentIsWrittenAgain(t *testing.T) {
	h := newHub(t, honest(t))
	e, store, _ := newAgent(t, h.addr, h.token(t))
	if _, err := e.Identity(t.Context()); err != nil {
		t.Fatal(err)
	}
	joined := store.state
	if restored, err := e.Restore(t.Context()); err != nil || restored {
		t.Errorf("an identity that is there is written again: %t, %v", restored, err)
	}
	again, err := New(e.Config) // as an agent that was started again, which has only read it
	if err != nil {
		t.Fatal(err)
	}
	if _, err := again.Identity(t.Context()); err != nil {
		t.Fatal(err)
	}
	for name, e := range map[string]*Enroller{"the one that has joined": e, "one that was started again": again} {
		store.state = Stored{}
		if restored, err := e.Restore(t.Context()); err != nil || !restored {
			t.Errorf("%s: it is not written again: %t, %v", name, restored, err)
		}
		if diff := cmp.Diff(joined, store.state, cmp.FilterPath(func(p cmp.Path) bool { return p.String() == "Version" }, cmp.Ignore())); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestAClusterThatWasRemovedComesBackWithANewToken(t *testing.T) {
	h := newHub(t, honest(t))
	e, store, _ := newAgent(t, h.addr, h.token(t))
	held, err := e.Identity(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Removed(t.Context(), held, "the hub has ended the session"); err != nil {
		t.Fatal(err)
	}
	var stopped *StopError
	for range 2 {
		if _, err := e.Identity(t.Context()); !errors.As(err, &stopped) || !strings.Contains(err.Error(), "was removed from the hub") || strings.Contains(err.Error(), "--rejoin") {
			t.Errorf("with the token that was used: %v", err)
		}
	}
	forgotten := 0
	again, _, _ := newAgent(t, h.addr, h.token(t), func(c *Config) {
		c.Store = store
		c.Forget = func(context.Context) error {
			if forgotten++; forgotten == 1 {
				return errors.New("the member does not answer")
			}
			return nil
		}
	})
	if _, err := again.Identity(t.Context()); err == nil || !strings.Contains(err.Error(), "does not answer") {
		t.Errorf("it joins though the former membership is not forgotten: %v", err)
	}
	next, err := again.Identity(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if next.Key.Equal(held.Key) {
		t.Error("the key of the former membership is used again")
	}
	if restarted, err := again.Identity(t.Context()); err != nil || !restarted.Certificate.Equal(next.Certificate) {
		t.Errorf("after the next start: %v", err)
	}
	if forgotten != 2 {
		t.Errorf("what was held was forgotten %d times", forgotten)
	}
}

func TestAClusterThatWasRemovedMayJoinUnderAnotherName(t *testing.T) {
	h := newHub(t, honest(t))
	e, store, _ := newAgent(t, h.addr, h.token(t))
	held, err := e.Identity(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	forgotten := 0
	renamed, _, _ := newAgent(t, h.addr, h.token(t), func(c *Config) {
		c.Store, c.ClusterName = store, "edge-one"
		c.Forget = func(context.Context) error { forgotten++; return nil }
	})
	var stopped *StopError
	if err := renamed.Fits(t.Context()); !errors.As(err, &stopped) {
		t.Errorf("while the hub has the cluster, another name fits: %v", err)
	}
	if err := e.Removed(t.Context(), held, "the hub has ended the session"); err != nil {
		t.Fatal(err)
	}
	if err := renamed.Fits(t.Context()); err != nil {
		t.Errorf("the dead identity is insisted on: %v", err)
	}
	next, err := renamed.Identity(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if next.ClusterName != "edge-one" || forgotten != 1 {
		t.Errorf("it has joined as %q, and forgot what it held %d times", next.ClusterName, forgotten)
	}
}

func TestARenewalReplacesKeyAndCertificate(t *testing.T) {
	h := newHub(t, honest(t))
	e, store, _ := newAgent(t, h.addr, h.token(t))
	held, err := e.Identity(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.Renewed(t.Context(), [][]byte{held.Certificate.Raw}); err == nil {
		t.Error("a certificate that nobody asked for was taken")
	}
	request, err := e.RenewalRequest()
	if err != nil {
		t.Fatal(err)
	}
	public, err := identity.PublicKeyFromRequest(request)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		reason string
		chain  [][]byte
	}{
		{"nothing", nil},
		{"garbage", [][]byte{{1}}},
		{"the old key's", [][]byte{held.Certificate.Raw}},
		{"another cluster's", [][]byte{h.agents.issue(t, identity.AgentCertificate("other", "edge-1", start), public)}},
	} {
		if _, err := e.Renewed(t.Context(), c.chain); err == nil {
			t.Errorf("%s was taken", c.reason)
		}
	}
	later := start.Add(60 * 24 * time.Hour)
	renewed, err := e.Renewed(t.Context(), [][]byte{h.agents.issue(t, identity.AgentCertificate("abc", "edge-1", later), public), h.agents.certificate.Raw})
	if err != nil {
		t.Fatal(err)
	}
	stored, err := store.state.Identity()
	if err != nil {
		t.Fatal(err)
	}
	if !stored.Certificate.Equal(renewed.Certificate) || !stored.Key.PublicKey.Equal(public) || stored.Key.Equal(held.Key) {
		t.Error("the store does not hold the renewed identity")
	}
}

func TestAnAgentOfAnotherClusterOrHubDoesNotFitAndChangesNothing(t *testing.T) {
	h := newHub(t, honest(t))
	token := h.token(t)
	e, store, _ := newAgent(t, h.addr, token)
	if err := e.Fits(t.Context()); err != nil {
		t.Fatalf("nobody has joined yet, and it does not fit: %v", err)
	}
	if _, err := e.Identity(t.Context()); err != nil {
		t.Fatal(err)
	}
	elsewhere := token
	elsewhere.ID, elsewhere.Pin = "another", strings.Repeat("0", len(token.Pin))
	for _, c := range []struct {
		reason string
		token  identity.Token
		name   string
		says   string
	}{
		{"the same once more", token, "edge-1", ""},
		{"the name is not said", token, "", ""},
		{"another name", token, "edge-2", `--cluster-name says "edge-2"`},
		{"a token of another hub", elsewhere, "edge-1", "is of another hub"},
	} {
		t.Run(c.reason, func(t *testing.T) {
			before := store.state
			other, _, _ := newAgent(t, h.addr, c.token, func(config *Config) { config.Store, config.ClusterName = store, c.name })
			err := other.Fits(t.Context())
			var stop *StopError
			if c.says == "" && err != nil || c.says != "" && (!errors.As(err, &stop) || !strings.Contains(err.Error(), c.says)) {
				t.Errorf("it says %v, want %q", err, c.says)
			}
			if diff := cmp.Diff(before, store.state); diff != "" {
				t.Errorf("what is stored has changed:\n%s", diff)
			}
		})
	}
}

func TestTwoAgentsWithOneStoreEndUpWithOneIdentity(t *testing.T) {
	h := newHub(t, honest(t))
	token := h.token(t)
	store := &memory{}
	found := make([]*Identity, 4)
	var wg sync.WaitGroup
	for i := range found {
		e, _, _ := newAgent(t, h.addr, token, func(c *Config) { c.Store = store })
		wg.Go(func() {
			var err error
			if found[i], err = e.Identity(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for _, i := range found[1:] {
		if i == nil || found[0] == nil || !i.Key.Equal(found[0].Key) {
			t.Fatal("two agents have different keys")
		}
	}
}

func TestSettingsAreChecked(t *testing.T) {
	h := newHub(t, honest(t))
	e, _, _ := newAgent(t, h.addr, h.token(t))
	for _, c := range []struct {
		reason string
		change func(*Config)
		want   string
	}{
		{"no hub", func(c *Config) { c.Hub = "" }, "--hub is not set"},
		{"a bad name", func(c *Config) { c.ClusterName = "Edge" }, "--cluster-name: "},
		{"no store", func(c *Config) { c.Store = nil }, "store"},
		{"no UID", func(c *Config) { c.KubeSystemUID = "" }, "kube-system"},
	} {
		config := e.Config
		c.change(&config)
		if _, err := New(config); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.reason, err)
		}
	}
}

func TestWhereTheTokenComesFrom(t *testing.T) {
	token, err := identity.NewToken(hubPin)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write := func(name, content string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good := write("good", token.String()+"\n")
	bad := write("bad", "canary")
	env := func(text string) func(string) string { return func(string) string { return text } }
	for _, c := range []struct {
		reason string
		source TokenSource
		found  bool
		says   string
	}{
		{"a file", TokenSource{File: good, Getenv: env("")}, true, ""},
		{"the environment", TokenSource{Getenv: env(token.String())}, true, ""},
		{"neither", TokenSource{Getenv: env("")}, false, ""},
		{"a file that is not there", TokenSource{File: good + "x", Getenv: env("")}, false, "does not exist"},
		{"a Secret that is not there", TokenSource{File: good + "x", Getenv: func(name string) string {
			return map[string]string{TokenSecretVariable: "join"}[name]
		}}, false, "Secret join of the agent's namespace (hub.existingSecret of the chart) does not exist, or has no key " + filepath.Base(good) + "x"},
		{"a file with something else", TokenSource{File: bad, Getenv: env("")}, false, "--token-file"},
		{"the token in the file's place", TokenSource{File: token.String(), Getenv: env("")}, false, "--token-file was given a join token"},
		{"a directory", TokenSource{File: dir, Getenv: env("")}, false, "--token-file"},
		{"an environment with something else", TokenSource{Getenv: env("canary")}, false, "WINDLASS_TOKEN: "},
	} {
		t.Run(c.reason, func(t *testing.T) {
			got, err := c.source.Read()
			if (got != nil) != c.found || (c.says == "") != (err == nil) {
				t.Fatalf("got %v, %v", got, err)
			}
			if err != nil && (!strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "canary") || strings.Contains(err.Error(), token.Secret)) {
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestPausesGrowWithJitterAndObeyTheHub(t *testing.T) {
	for attempt, most := range map[int]time.Duration{0: time.Second, 1: 2 * time.Second, 4: 16 * time.Second, 10: 30 * time.Second, 100000: 30 * time.Second} {
		for range 100 {
			if got := backoff(time.Second, 30*time.Second, attempt, nil); got < most/2 || got > most {
				t.Fatalf("attempt %d: %s, want between %s and %s", attempt, got, most/2, most)
			}
		}
	}
	response := &http.Response{Header: http.Header{"Retry-After": {"20"}}}
	if got := backoff(time.Second, 30*time.Second, 0, response); got < 20*time.Second || got > 30*time.Second {
		t.Errorf("told 20 s it waits %s", got)
	}
	response.Header.Set("Retry-After", "999999999")
	if got := backoff(time.Second, 30*time.Second, 0, response); got > 8*time.Minute {
		t.Errorf("it can be sent away for %s", got)
	}
}

func storeOf(client *fake.Clientset, namespace string) *SecretStore {
	return NewSecretStore(client.CoreV1().Secrets(namespace), client.CoreV1().Namespaces(), namespace)
}

// apiServer makes the fake client keep resourceVersions and miss namespaces, as a real server does.
func apiServer(namespaces ...string) *fake.Clientset {
	client := fake.NewClientset()
	var mu sync.Mutex
	exists, secrets, version := map[string]bool{}, map[string]*corev1.Secret{}, 0
	for _, name := range namespaces {
		exists[name] = true
	}
	gr := corev1.Resource("secrets")
	client.PrependReactor("create", "namespaces", func(a clienttesting.Action) (bool, runtime.Object, error) {
		mu.Lock()
		defer mu.Unlock()
		o := a.(clienttesting.CreateAction).GetObject()
		exists[o.(*corev1.Namespace).Name] = true
		return true, o, nil
	})
	client.PrependReactor("*", "secrets", func(a clienttesting.Action) (bool, runtime.Object, error) {
		mu.Lock()
		defer mu.Unlock()
		switch a := a.(type) {
		case clienttesting.GetAction:
			if s := secrets[a.GetName()]; s != nil {
				return true, s.DeepCopy(), nil
			}
			return true, nil, apierrors.NewNotFound(gr, a.GetName())
		case clienttesting.UpdateAction: // also fits a create
			s := a.GetObject().(*corev1.Secret).DeepCopy()
			present := secrets[s.Name]
			switch {
			case a.GetVerb() == "create" && !exists[a.GetNamespace()]:
				return true, nil, apierrors.NewNotFound(corev1.Resource("namespaces"), a.GetNamespace())
			case a.GetVerb() == "create" && present != nil:
				return true, nil, apierrors.NewAlreadyExists(gr, s.Name)
			case a.GetVerb() == "update" && present == nil:
				return true, nil, apierrors.NewNotFound(gr, s.Name)
			case a.GetVerb() == "update" && present.ResourceVersion != s.ResourceVersion:
				return true, nil, apierrors.NewConflict(gr, s.Name, errors.New("changed"))
			}
			version++
			s.ResourceVersion = strconv.Itoa(version)
			secrets[s.Name] = s
			return true, s.DeepCopy(), nil
		}
		return true, nil, fmt.Errorf("%s of secrets is not expected", a.GetVerb())
	})
	return client
}

func TestTheSecretKeepsEverything(t *testing.T) {
	for _, namespaces := range [][]string{nil, {"windlass-system"}} {
		store := storeOf(apiServer(namespaces...), "windlass-system")
		if loaded, err := store.Load(t.Context()); err != nil || !cmp.Equal(loaded, Stored{}) {
			t.Fatalf("an empty store holds %+v, %v", loaded, err)
		}
		want := Stored{
			Key: []byte("k"), Certificate: []byte("c"), HubCA: []byte("ca"), HubID: "h", ClusterName: "n", ClusterID: "i", Hub: "a", KubeSystemUID: "u",
			TokenID: "t", Refused: "r", Removed: true, PendingKey: []byte("p"), PendingToken: "pt",
		}
		saved, err := store.Save(t.Context(), want)
		if err != nil {
			t.Fatal(err)
		}
		loaded, err := store.Load(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		want.Version = loaded.Version
		if diff := cmp.Diff(want, loaded); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff(saved, loaded); diff != "" {
			t.Error(diff)
		}
		loaded.PendingKey, loaded.Refused, loaded.Removed = nil, "", false
		if _, err := store.Save(t.Context(), loaded); err != nil {
			t.Fatal(err)
		}
		if again, err := store.Load(t.Context()); err != nil || again.PendingKey != nil || again.Refused != "" || again.Removed {
			t.Errorf("what was taken away is still there: %+v, %v", again, err)
		}
		for _, stale := range []Stored{loaded, {}} {
			if _, err := store.Save(t.Context(), stale); !errors.Is(err, ErrChanged) {
				t.Errorf("a stale write: %v", err)
			}
		}
	}
}

func TestTheSecretsMetadataIsLeftAlone(t *testing.T) {
	client := apiServer("windlass-system")
	store := storeOf(client, "windlass-system")
	saved, err := store.Save(t.Context(), Stored{HubID: "h"})
	if err != nil {
		t.Fatal(err)
	}
	secret, err := client.CoreV1().Secrets("windlass-system").Get(t.Context(), SecretName, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	secret.Labels["mine"] = "yes"
	if _, err := client.CoreV1().Secrets("windlass-system").Update(t.Context(), secret, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Save(t.Context(), saved); !errors.Is(err, ErrChanged) {
		t.Errorf("somebody else's write was not noticed: %v", err)
	}
	loaded, err := store.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := store.Save(t.Context(), loaded); err != nil {
		t.Fatal(err)
	}
	secret, err = client.CoreV1().Secrets("windlass-system").Get(t.Context(), SecretName, metav1.GetOptions{})
	if err != nil || secret.Labels["mine"] != "yes" {
		t.Errorf("labels %v, %v", secret.Labels, err)
	}
}

func TestTheMembersAnswerAboutItselfIsNeeded(t *testing.T) {
	client := fake.NewClientset(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "kube-system", UID: "here"}})
	if uid, err := KubeSystemUID(t.Context(), client.CoreV1().Namespaces()); err != nil || uid != "here" {
		t.Errorf("%q, %v", uid, err)
	}
	if _, err := KubeSystemUID(t.Context(), fake.NewClientset().CoreV1().Namespaces()); err == nil || !strings.Contains(err.Error(), "kube-system") {
		t.Errorf("error %v", err)
	}
	client.PrependReactor("get", "secrets", func(clienttesting.Action) (bool, runtime.Object, error) {
		return true, nil, apierrors.NewForbidden(corev1.Resource("secrets"), SecretName, errors.New("no"))
	})
	store := storeOf(client, "ns")
	if _, err := store.Load(t.Context()); err == nil || !strings.Contains(err.Error(), "Secret ns/"+SecretName) {
		t.Errorf("error %v", err)
	}
}
