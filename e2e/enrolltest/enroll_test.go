package enrolltest

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"windlass.dev/windlass/agent/dial"
	agentenroll "windlass.dev/windlass/agent/enroll"
	clusterv1alpha1 "windlass.dev/windlass/api/cluster/v1alpha1"
	windlassv1alpha1 "windlass.dev/windlass/api/windlass/v1alpha1"
	hubenroll "windlass.dev/windlass/hub/enroll"
	"windlass.dev/windlass/hub/enroll/fake"
	"windlass.dev/windlass/hub/pki"
	"windlass.dev/windlass/pkg/identity"
)

// hub is a real enrolment server behind real TLS on loopback, with stores in memory.
type hub struct {
	*hubenroll.Server
	pki      *pki.Set
	tokens   *fake.Store[*windlassv1alpha1.JoinToken]
	clusters *fake.Clusters
	events   *fake.Recorder
	log      *lockedBuffer
	addr     string
	// ahead is how far the hub's clock is from this machine's, in nanoseconds.
	ahead atomic.Int64
	// middleware stands before the server; set before the first request.
	middleware func(http.Handler) http.Handler
}

func newHub(t testing.TB) *hub {
	t.Helper()
	set, err := pki.LoadOrCreate(t.TempDir(), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	h := &hub{pki: set, tokens: fake.NewJoinTokens(), clusters: fake.NewClusters(), events: &fake.Recorder{}, log: &lockedBuffer{}}
	h.Server, err = hubenroll.New(hubenroll.Config{
		Tokens: h.tokens, Clusters: h.clusters, Recorder: h.events, AgentsIssuer: set.Agents, AgentsCA: set.Agents.Certificate, HubCA: set.Hub.Certificate,
		IsHub: func(context.Context, string) (bool, error) { return false, nil },
		Log:   slog.New(slog.NewTextHandler(h.log, nil)), Now: h.now, RequestsPerSecond: 1000, Burst: 1000,
	})
	if err != nil {
		t.Fatal(err)
	}
	serving, err := set.ServingCertificate([]string{"hub.test", "127.0.0.1"}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if h.middleware != nil {
			h.middleware(h.Server).ServeHTTP(w, r)
			return
		}
		h.Server.ServeHTTP(w, r)
	}))
	server.TLS = &tls.Config{Certificates: []tls.Certificate{*serving}, MinVersion: tls.VersionTLS13, SessionTicketsDisabled: true}
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	h.addr = server.Listener.Addr().String()
	return h
}

func (h *hub) now() time.Time { return time.Now().Add(time.Duration(h.ahead.Load())) }

// token stores a token, changed by the functions.
func (h *hub) token(t testing.TB, change ...func(*windlassv1alpha1.JoinTokenSpec)) identity.Token {
	t.Helper()
	token, err := identity.NewToken(h.pki.HubID())
	if err != nil {
		t.Fatal(err)
	}
	end := metav1.NewTime(h.now().Add(15 * time.Minute))
	object := &windlassv1alpha1.JoinToken{ObjectMeta: metav1.ObjectMeta{Name: token.ID}, Spec: windlassv1alpha1.JoinTokenSpec{SecretHash: token.SecretHash(), ExpirationTime: &end}}
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

func ended(s *windlassv1alpha1.JoinTokenSpec) {
	end := metav1.NewTime(time.Now().Add(-time.Minute))
	s.ExpirationTime = &end
}

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

// memory is an agent's store.
type memory struct {
	mu    sync.Mutex
	state agentenroll.Stored
	count int
}

func (m *memory) Name() string { return "Secret windlass-system/windlass-agent-identity" }

func (m *memory) Load(context.Context) (agentenroll.Stored, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.state, nil
}

func (m *memory) Save(_ context.Context, s agentenroll.Stored) (agentenroll.Stored, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if s.Version != m.state.Version {
		return agentenroll.Stored{}, agentenroll.ErrChanged
	}
	m.count++
	s.Version = strconv.Itoa(m.count)
	m.state = s
	return s, nil
}

// agent is a real enroller as one start of an agent's process has it.
type agent struct {
	*agentenroll.Enroller
	store *memory
	log   *lockedBuffer
}

// settings of one start.
type settings struct {
	hub, name, uid string
	token          *identity.Token
	store          *memory
	environment    map[string]string
	proxyCA        string
	now            func() time.Time
}

func start(t testing.TB, s settings) *agent {
	t.Helper()
	dialer, err := dial.New(dial.Config{ProxyCAFile: s.proxyCA, Getenv: func(name string) string { return s.environment[name] }})
	if err != nil {
		t.Fatal(err)
	}
	if s.store == nil {
		s.store = &memory{}
	}
	if s.uid == "" {
		s.uid = "uid-of-kube-system"
	}
	a := &agent{store: s.store, log: &lockedBuffer{}}
	a.Enroller, err = agentenroll.New(agentenroll.Config{
		Hub: s.hub, ClusterName: s.name, KubeSystemUID: s.uid, AgentVersion: "v1", Store: s.store, Dialer: dialer, Now: s.now,
		Token: agentenroll.TokenSource{Getenv: func(string) string {
			if s.token == nil {
				return ""
			}
			return s.token.String()
		}},
		Log: slog.New(slog.NewTextHandler(a.log, nil)), MinWait: time.Millisecond, MaxWait: 10 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// joins expects an identity that the hub recognises.
func (h *hub) joins(t testing.TB, a *agent) *agentenroll.Identity {
	t.Helper()
	found, err := a.Identity(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	name, id, err := h.Authenticate(t.Context(), found.Certificate)
	if err != nil || name != found.ClusterName || id != found.ClusterID {
		t.Fatalf("the hub takes the agent of %q (%s) for %q (%s): %v", found.ClusterName, found.ClusterID, name, id, err)
	}
	return found
}

func TestAnAgentJoins(t *testing.T) {
	corporate, err := pki.LoadOrCreate(t.TempDir(), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	proxyCertificate, err := corporate.ServingCertificate([]string{"127.0.0.1"}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		reason string
		// arrange returns the settings and the proxy, if there is one, that has to be used.
		arrange func(t *testing.T, h *hub) (settings, *connectProxy)
	}{
		{"directly", func(t *testing.T, h *hub) (settings, *connectProxy) { return settings{hub: h.addr}, nil }},
		{"through a proxy", func(t *testing.T, h *hub) (settings, *connectProxy) {
			p := &connectProxy{hub: h.addr}
			return settings{hub: "hub.test:8443", environment: map[string]string{"HTTPS_PROXY": "http://" + serve(t, p.handle)}}, p
		}},
		{"through a proxy with credentials", func(t *testing.T, h *hub) (settings, *connectProxy) {
			p := &connectProxy{hub: h.addr, user: "agent", password: "p@ss/canary"}
			return settings{hub: "hub.test:8443", environment: map[string]string{"https_proxy": "http://agent:p%40ss%2Fcanary@" + serve(t, p.handle)}}, p
		}},
		{"through an encrypted proxy with credentials and an authority of the user's", func(t *testing.T, h *hub) (settings, *connectProxy) {
			p := &connectProxy{hub: h.addr, user: "agent", password: "canary"}
			at := serve(t, terminating(*proxyCertificate, p.handle))
			return settings{hub: "hub.test:8443", proxyCA: corporate.CertificateFile(corporate.Hub), environment: map[string]string{"HTTPS_PROXY": "https://agent:canary@" + at}}, p
		}},
		{"past a proxy that NO_PROXY exempts it from", func(t *testing.T, h *hub) (settings, *connectProxy) {
			return settings{hub: h.addr, environment: map[string]string{"HTTPS_PROXY": "http://192.0.2.1:3128", "NO_PROXY": "127.0.0.0/8"}}, nil
		}},
	} {
		t.Run(c.reason, func(t *testing.T) {
			h := newHub(t)
			s, proxy := c.arrange(t, h)
			token := h.token(t, bound("edge-1"))
			s.token = &token
			a := start(t, s)
			if found := h.joins(t, a); found.ClusterName != "edge-1" {
				t.Errorf("it has joined as %q", found.ClusterName)
			}
			if proxy != nil && proxy.count() != 1 {
				t.Errorf("the proxy was used %d times", proxy.count())
			}
			for _, output := range []string{a.log.String(), h.log.String()} {
				if strings.Contains(output, "canary") || strings.Contains(output, token.Secret) {
					t.Errorf("a secret is in the log: %s", output)
				}
			}
		})
	}
}

func TestARefusalIsReadOnTheAgentAndSeenOnTheHub(t *testing.T) {
	for _, c := range []struct {
		reason string
		// arrange returns the settings of the start that is refused.
		arrange func(t *testing.T, h *hub) settings
		code    identity.Code
		says    string
		event   string
	}{
		{
			reason: "a token that another agent has used",
			arrange: func(t *testing.T, h *hub) settings {
				token := h.token(t)
				h.joins(t, start(t, settings{hub: h.addr, name: "edge-1", token: &token}))
				return settings{name: "edge-2", token: &token}
			},
			code: identity.CodeTokenUsed, says: `was used already, for cluster "edge-1"`, event: "TokenUsed",
		},
		{
			reason: "a token that is over",
			arrange: func(t *testing.T, h *hub) settings {
				token := h.token(t, ended)
				return settings{name: "edge-1", token: &token}
			},
			code: identity.CodeTokenExpired, says: "make a new one with `windlass token create`", event: "TokenExpired",
		},
		{
			reason: "a token that is bound to another name",
			arrange: func(t *testing.T, h *hub) settings {
				token := h.token(t, bound("edge-2"))
				return settings{name: "edge-1", token: &token}
			},
			code: identity.CodeTokenForAnotherCluster, says: `is for cluster "edge-2" and the agent asked for "edge-1"`, event: "TokenForAnotherCluster",
		},
		{
			reason: "a token that the hub does not have",
			arrange: func(t *testing.T, h *hub) settings {
				token := h.token(t)
				h.tokens.Delete(token.ID)
				return settings{name: "edge-1", token: &token}
			},
			code: identity.CodeTokenUnknown, says: "this hub has no join token", event: "TokenUnknown",
		},
		{
			reason: "a token with a wrong secret",
			arrange: func(t *testing.T, h *hub) settings {
				token := h.token(t)
				token.Secret = strings.Repeat("a", len(token.Secret))
				return settings{name: "edge-1", token: &token}
			},
			code: identity.CodeTokenUnknown, says: "with that secret", event: "TokenSecretWrong",
		},
		{
			reason: "another cluster claims the name",
			arrange: func(t *testing.T, h *hub) settings {
				first, second := h.token(t), h.token(t)
				h.joins(t, start(t, settings{hub: h.addr, name: "edge-1", token: &first}))
				return settings{name: "edge-1", uid: "another", token: &second}
			},
			code: identity.CodeClusterNameTaken, says: `the name "edge-1" is taken`, event: "ClusterNameTaken",
		},
		{
			reason: "the same cluster comes back without --rejoin",
			arrange: func(t *testing.T, h *hub) settings {
				first, second := h.token(t), h.token(t, bound("edge-1"))
				h.joins(t, start(t, settings{hub: h.addr, name: "edge-1", token: &first}))
				return settings{name: "edge-1", token: &second}
			},
			code: identity.CodeClusterAlreadyJoined, says: "`windlass token create --cluster edge-1 --rejoin`", event: "ClusterAlreadyJoined",
		},
		{
			reason: "the same cluster under another name",
			arrange: func(t *testing.T, h *hub) settings {
				first, second := h.token(t), h.token(t, bound("edge-2"))
				h.joins(t, start(t, settings{hub: h.addr, name: "edge-1", token: &first}))
				return settings{name: "edge-2", token: &second}
			},
			code: identity.CodeClusterHasAnotherName, says: `has joined the hub already, as "edge-1"`, event: "ClusterHasAnotherName",
		},
		{
			reason: "a MemberCluster that waits for a token of its own",
			arrange: func(t *testing.T, h *hub) settings {
				if _, err := h.clusters.Create(t.Context(), &clusterv1alpha1.MemberCluster{ObjectMeta: metav1.ObjectMeta{Name: "edge-1"}}); err != nil {
					t.Fatal(err)
				}
				token := h.token(t)
				return settings{name: "edge-1", token: &token}
			},
			code: identity.CodeClusterWaitsForToken, says: "waits for a token that is bound to its name", event: "ClusterWaitsForToken",
		},
	} {
		t.Run(c.reason, func(t *testing.T) {
			h := newHub(t)
			s := c.arrange(t, h)
			s.hub = h.addr
			_, err := start(t, s).Identity(t.Context())
			var stopped *agentenroll.StopError
			if !errors.As(err, &stopped) || stopped.Code != c.code || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "\n") {
				t.Errorf("error %v\nwant %s …%s…", err, c.code, c.says)
			}
			events := h.events.Events()
			if len(events) != 1 || events[0].Reason != c.event || !strings.Contains(events[0].Message, c.says) {
				t.Errorf("events %+v, want one with the reason %s", events, c.event)
			}
		})
	}
}

func TestATokensPinIsWhatTheFirstContactTrusts(t *testing.T) {
	h, other := newHub(t), newHub(t)
	token := other.token(t)
	_, err := start(t, settings{hub: h.addr, name: "edge-1", token: &token}).Identity(t.Context())
	if err == nil || !strings.Contains(err.Error(), "is not the hub that the agent's token or identity is from") {
		t.Errorf("error %v", err)
	}
	if other.pki.Hub.Certificate.Subject.CommonName != identity.HubAuthorityName {
		t.Error("hubs are no longer told from middleboxes by the name of their authority")
	}
	if identity.Pin(h.pki.Hub.Certificate) != h.pki.HubID() {
		t.Error("the pin is not the hub's id")
	}
	if len(h.events.Events()) != 0 {
		t.Error("the wrong hub has heard of the token")
	}
}

func TestAMiddleboxThatEndsTLSIsNamedAndGetsNothing(t *testing.T) {
	h := newHub(t)
	corporate, err := pki.LoadOrCreate(t.TempDir(), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	// The authority named "windlass users" of another hub's files stands for one that is no hub's.
	inspection := &pki.Set{Dir: corporate.Dir, Hub: corporate.Users}
	certificate, err := inspection.ServingCertificate([]string{"127.0.0.1", "hub.test"}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	var inside lockedBuffer
	middlebox := serve(t, terminating(*certificate, func(conn net.Conn) {
		upstream, err := tls.Dial("tcp", h.addr, &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			return
		}
		pipe(conn, io.TeeReader(conn, &inside), upstream)
	}))
	for _, c := range []struct {
		reason string
		s      settings
	}{
		{"on the way", settings{hub: middlebox}},
		{"behind the proxy", settings{hub: "hub.test:8443", environment: map[string]string{"HTTPS_PROXY": "http://" + serve(t, (&connectProxy{hub: middlebox}).handle)}}},
	} {
		t.Run(c.reason, func(t *testing.T) {
			token := h.token(t)
			c.s.name, c.s.token = "edge-1", &token
			_, err := start(t, c.s).Identity(t.Context())
			want := fmt.Sprintf("the certificate at %s is from CN=windlass users, not from this hub: the link needs TLS passthrough", c.s.hub)
			var stopped *agentenroll.StopError
			if !errors.As(err, &stopped) || !strings.Contains(err.Error(), want) {
				t.Errorf("error %v\nwant %s", err, want)
			}
			if inside.String() != "" {
				t.Errorf("the middlebox has read %q", inside.String())
			}
		})
	}
}

func TestAProxyThatWantsCredentialsSaysSo(t *testing.T) {
	h := newHub(t)
	p := &connectProxy{hub: h.addr, user: "agent", password: "right"}
	at := serve(t, p.handle)
	token := h.token(t)
	for credentials, want := range map[string]string{
		"":              "refused CONNECT hub.test:8443: 407 Proxy Authentication Required; set credentials in HTTPS_PROXY",
		"agent:canary@": "407 Proxy Authentication Required; correct the credentials in HTTPS_PROXY",
	} {
		a := start(t, settings{hub: "hub.test:8443", name: "edge-1", token: &token, environment: map[string]string{"HTTPS_PROXY": "http://" + credentials + at}})
		_, err := a.Identity(t.Context())
		if err == nil || !strings.Contains(err.Error(), "proxy http://"+at+" ") || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v\nwant %s", err, want)
		}
		if err != nil && strings.Contains(err.Error()+a.log.String(), "canary") {
			t.Error("credentials are shown")
		}
	}
}

func TestALostReplyLocksNobodyOut(t *testing.T) {
	h := newHub(t)
	var lost atomic.Int32
	h.middleware = func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if lost.Add(1) > 2 {
				next.ServeHTTP(w, r)
				return
			}
			// The hub does everything, and its answer never arrives.
			next.ServeHTTP(httptest.NewRecorder(), r)
			panic(http.ErrAbortHandler)
		})
	}
	token := h.token(t)
	found := h.joins(t, start(t, settings{hub: h.addr, name: "edge-1", token: &token}))
	clusters, err := h.clusters.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(clusters) != 1 || clusters[0].Spec.ID != found.ClusterID || lost.Load() != 3 {
		t.Errorf("%d clusters after %d requests", len(clusters), lost.Load())
	}
}

func TestOfManyAgentsWithOneTokenOneJoins(t *testing.T) {
	h := newHub(t)
	token := h.token(t)
	const agents = 30
	names := make([]string, agents)
	var wg sync.WaitGroup
	for i := range agents {
		a := start(t, settings{hub: h.addr, name: fmt.Sprintf("edge-%d", i), uid: fmt.Sprintf("uid-%d", i), token: &token})
		wg.Go(func() {
			found, err := a.Identity(t.Context())
			var stopped *agentenroll.StopError
			switch {
			case err == nil:
				names[i] = found.ClusterName
			case !errors.As(err, &stopped) || stopped.Code != identity.CodeTokenUsed:
				t.Errorf("agent %d: %v", i, err)
			}
		})
	}
	wg.Wait()
	joined := strings.Fields(strings.Join(names, " "))
	clusters, err := h.clusters.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(joined) != 1 || len(clusters) != 1 || clusters[0].Name != joined[0] {
		t.Errorf("joined: %v, clusters: %d", joined, len(clusters))
	}
}

func TestAHubThatComesLaterIsWaitedFor(t *testing.T) {
	h := newHub(t)
	var tries atomic.Int32
	front := serve(t, func(conn net.Conn) {
		if tries.Add(1) <= 3 {
			return
		}
		upstream, err := net.Dial("tcp", h.addr)
		if err != nil {
			return
		}
		pipe(conn, conn, upstream)
	})
	token := h.token(t)
	a := start(t, settings{hub: front, name: "edge-1", token: &token})
	h.joins(t, a)
	if !strings.Contains(a.log.String(), "closed the connection before it answered") {
		t.Errorf("the log does not say why it had to wait: %s", a.log)
	}
}

func TestTheWholeLifeOfAnIdentity(t *testing.T) {
	h := newHub(t)
	store := &memory{}
	var ahead atomic.Int64
	now := func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	later := func(d time.Duration) { ahead.Add(int64(d)); h.ahead.Add(int64(d)) }
	first := h.token(t)
	with := func(token *identity.Token) *agent {
		return start(t, settings{hub: h.addr, name: "edge-1", token: token, store: store, now: now})
	}

	joined := h.joins(t, with(&first))
	if again := h.joins(t, with(nil)); !again.Certificate.Equal(joined.Certificate) {
		t.Error("a restart has made a new identity")
	}

	later(60 * 24 * time.Hour)
	if !now().After(joined.RenewAt()) {
		t.Errorf("on day 60 the next renewal is only due at %s", joined.RenewAt())
	}
	a := with(nil)
	request, err := a.RenewalRequest()
	if err != nil {
		t.Fatal(err)
	}
	chain, err := h.Renew(t.Context(), joined.Certificate, request)
	if err != nil {
		t.Fatal(err)
	}
	renewed, err := a.Renewed(t.Context(), chain)
	if err != nil {
		t.Fatal(err)
	}
	if restarted := h.joins(t, with(nil)); !restarted.Certificate.Equal(renewed.Certificate) || restarted.ClusterID != joined.ClusterID {
		t.Error("a restart does not use the renewed certificate")
	}

	later(100 * 24 * time.Hour)
	_, err = with(&first).Identity(t.Context())
	if err == nil || !strings.Contains(err.Error(), "run `windlass token create --cluster edge-1 --rejoin` on the hub") {
		t.Errorf("after the end of the certificate: %v", err)
	}
	second := h.token(t, bound("edge-1"), rejoin)
	if rejoined := h.joins(t, with(&second)); rejoined.ClusterID != joined.ClusterID {
		t.Error("the cluster's id has changed")
	}

	store = &memory{}
	third := h.token(t, bound("edge-1"), rejoin)
	if reinstalled := h.joins(t, with(&third)); reinstalled.ClusterID != joined.ClusterID {
		t.Error("a reinstalled agent has not come back under its name")
	}

	cluster, err := h.clusters.Get(t.Context(), "edge-1")
	if err != nil {
		t.Fatal(err)
	}
	if events := h.events.Events(); len(events) != 0 || cluster.Status.Agent.PreviousCertificateSerial != "" {
		t.Errorf("events %v, previous serial %q", events, cluster.Status.Agent.PreviousCertificateSerial)
	}
}

func TestTheIssuedCertificateOpensTheLink(t *testing.T) {
	h := newHub(t)
	serving, err := h.pki.ServingCertificate([]string{"127.0.0.1"}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(h.pki.Agents.Certificate)
	recognised := make(chan string, 1)
	link := serve(t, func(conn net.Conn) {
		secured := tls.Server(conn, &tls.Config{
			Certificates: []tls.Certificate{*serving}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: roots,
			MinVersion: tls.VersionTLS13, NextProtos: []string{"h2"}, SessionTicketsDisabled: true,
		})
		if err := secured.Handshake(); err != nil {
			recognised <- err.Error()
			return
		}
		name, _, err := h.Authenticate(context.Background(), secured.ConnectionState().PeerCertificates[0])
		recognised <- fmt.Sprint(name, " ", err)
	})
	token := h.token(t)
	found := h.joins(t, start(t, settings{hub: h.addr, name: "edge-1", token: &token}))
	conn, err := net.Dial("tcp", link)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	client := tls.Client(conn, dial.LinkTLS(link, found.HubCA, func() (*tls.Certificate, error) { return found.TLSCertificate(), nil }, time.Now))
	if err := client.HandshakeContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff("edge-1 <nil>", <-recognised); diff != "" {
		t.Error(diff)
	}
}

func TestAClockFarOffIsNamedWithItsAmount(t *testing.T) {
	for _, c := range []struct {
		reason string
		off    time.Duration
		says   string
		stops  bool
	}{
		{"a day behind: the hub's certificate has not begun", -24 * time.Hour, "too early: set the clock right", true},
		{"two years ahead: the hub's certificate has ended", 2 * 365 * 24 * time.Hour, "too late: set the clock right", true},
		{"a hundred days ahead: the agent's own would have ended", 100 * 24 * time.Hour, "ahead of the hub's", true},
		{"two hours ahead: it joins and warns", 2 * time.Hour, "this machine's clock is 2h0m", false},
	} {
		t.Run(c.reason, func(t *testing.T) {
			h := newHub(t)
			token := h.token(t)
			a := start(t, settings{hub: h.addr, name: strings.ToLower(token.ID), token: &token, now: func() time.Time { return time.Now().Add(c.off) }})
			_, err := a.Identity(t.Context())
			if (err != nil) != c.stops || !strings.Contains(fmt.Sprint(err)+a.log.String(), c.says) {
				t.Errorf("error %v\nlog %s\nwant …%s…", err, a.log, c.says)
			}
		})
	}
}
