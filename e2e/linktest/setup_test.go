package linktest

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	agentlink "windlass.dev/windlass/agent/link"
	linkv1 "windlass.dev/windlass/api/link/v1"
	hublink "windlass.dev/windlass/hub/link"
	"windlass.dev/windlass/pkg/session"
)

// generous is how long a condition may take on a busy machine.
const generous = 30 * time.Second

// eventually waits for a condition.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	deadline := time.Now().Add(generous)
	for !condition() {
		if time.Now().After(deadline) {
			stacks := make([]byte, 4<<20)
			t.Fatalf("it did not come about that %s\n%s", what, stacks[:runtime.Stack(stacks, true)])
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// An authority signs certificates, and renews those of agents.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	lifetime    time.Duration
}

func newAuthority(t testing.TB, name string) *authority {
	t.Helper()
	a := &authority{key: newKey(), lifetime: time.Hour}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, a.key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	if a.certificate, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return a
}

func newKey() *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	return key
}

func (a *authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.certificate)
	return pool
}

func (a *authority) issue(name string, notAfter time.Time, public any) ([]byte, error) {
	return a.issueFrom(name, time.Now().Add(-time.Hour), notAfter, public)
}

func (a *authority) issueFrom(name string, notBefore, notAfter time.Time, public any) ([]byte, error) {
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, NotBefore: notBefore, NotAfter: notAfter,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}, DNSNames: []string{"hub.test"},
	}
	return x509.CreateCertificate(rand.Reader, template, a.certificate, public, a.key)
}

func (a *authority) Renew(_ context.Context, presented *x509.Certificate, request []byte) ([][]byte, error) {
	csr, err := x509.ParseCertificateRequest(request)
	if err != nil {
		return nil, err
	}
	if err := csr.CheckSignature(); err != nil {
		return nil, err
	}
	der, err := a.issue(presented.Subject.CommonName, time.Now().Add(a.lifetime), csr.PublicKey)
	return [][]byte{der}, err
}

// An identity is an agent's key and certificate.
type identity struct {
	key   *ecdsa.PrivateKey
	chain [][]byte
}

func newIdentity() *identity { return &identity{key: newKey()} }

func (i *identity) request() ([]byte, error) {
	return x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, i.key)
}

func (i *identity) certificate() *tls.Certificate {
	return &tls.Certificate{Certificate: i.chain, PrivateKey: i.key}
}

// A hub is the hub's end of the link with a fake store. It can be stopped and started again at the same address.
type hub struct {
	t           testing.TB
	store       *fakeStore
	own, agents *authority
	address     string
	registry    *prometheus.Registry
	configure   func(*hublink.Config)
	server      *hublink.Server
	stop        func()
	revoked     sync.Map // clusters, and serials of certificates
}

func newHub(t testing.TB, configure func(*hublink.Config)) *hub {
	h := &hub{t: t, store: newFakeStore(), own: newAuthority(t, "hub"), agents: newAuthority(t, "agents"), configure: configure}
	h.start()
	t.Cleanup(func() { h.stop() })
	return h
}

func (h *hub) start() {
	h.t.Helper()
	address := h.address
	if address == "" {
		address = "127.0.0.1:0"
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		h.t.Fatal(err)
	}
	h.address = listener.Addr().String()
	serving := h.serving()
	h.registry = prometheus.NewRegistry()
	config := hublink.Config{
		Listener: listener, Certificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return serving, nil },
		AgentCAs: h.agents.pool(), Authenticate: h.authenticate,
		Enroll: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "enrolment") }),
		Works:  h.store, Store: h.store, Recorder: h.store, Renewer: h.agents, Registerer: h.registry, Version: "test",
		Logger: logger(h.t, "hub"),
	}
	if h.configure != nil {
		h.configure(&config)
	}
	if h.server, err = hublink.New(config); err != nil {
		h.t.Fatal(err)
	}
	h.stop = run(h.t, h.server.Run)
}

// serving is a certificate by which agents know the hub.
func (h *hub) serving() *tls.Certificate {
	h.t.Helper()
	key := newKey()
	der, err := h.own.issue("hub.test", time.Now().Add(time.Hour), key.Public())
	if err != nil {
		h.t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func (h *hub) authenticate(c *x509.Certificate) (string, string, error) {
	for _, what := range []string{c.Subject.CommonName, c.SerialNumber.String()} {
		if _, revoked := h.revoked.Load(what); revoked {
			return "", "", errors.New("this identity was revoked")
		}
	}
	return c.Subject.CommonName, "id-of-" + c.Subject.CommonName, nil
}

func (h *hub) issue(cluster string, lifetime time.Duration) *identity {
	h.t.Helper()
	return h.issueFrom(cluster, -time.Hour, lifetime)
}

// issueFrom issues a certificate that begins and ends so long after now.
func (h *hub) issueFrom(cluster string, begins, ends time.Duration) *identity {
	h.t.Helper()
	i := newIdentity()
	der, err := h.agents.issueFrom(cluster, time.Now().Add(begins), time.Now().Add(ends), i.key.Public())
	if err != nil {
		h.t.Fatal(err)
	}
	i.chain = [][]byte{der}
	return i
}

// serial is that of an identity's certificate.
func serial(t testing.TB, i *identity) string {
	t.Helper()
	certificate, err := x509.ParseCertificate(i.chain[0])
	if err != nil {
		t.Fatal(err)
	}
	return certificate.SerialNumber.String()
}

// open opens a stream to the hub as an agent does, on which nothing is said yet.
func (h *hub) open(i *identity) linkv1.Link_SessionClient {
	h.t.Helper()
	client, err := grpc.NewClient("passthrough:///"+h.address, grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{
		MinVersion: tls.VersionTLS13, RootCAs: h.own.pool(), ServerName: "hub.test", Certificates: []tls.Certificate{*i.certificate()},
	})))
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { _ = client.Close() })
	stream, err := linkv1.NewLinkClient(client).Session(h.t.Context())
	if err != nil {
		h.t.Fatal(err)
	}
	return stream
}

// run runs something in the background; the function it returns stops it and waits.
func run(t testing.TB, f func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := f(ctx); err != nil {
			t.Errorf("it ended with %v", err)
		}
	}()
	return func() { cancel(); <-ended }
}

// An agent is the agent's end of the link with a fake member.
type agent struct {
	member  *fakeMember
	renewal *fakeRenewal
	link    *agentlink.Link
	facts   *fakeFacts
	// ended has what Run returned.
	ended chan error
	stop  func()

	mu    sync.Mutex
	conns []net.Conn
}

func (h *hub) newAgent(i *identity, configure func(*agentlink.Config)) *agent {
	return h.newAgentWith(newFakeMember(), i, configure)
}

func (h *hub) newAgentWith(m *fakeMember, i *identity, configure func(*agentlink.Config)) *agent {
	h.t.Helper()
	a := &agent{
		member: m, renewal: &fakeRenewal{agent: i, renewAt: time.Now().Add(time.Hour)},
		facts: &fakeFacts{dirty: make(chan struct{}, 1)}, ended: make(chan error, 1),
	}
	config := agentlink.Config{
		Address: h.address, Dial: a.dial,
		TLS: &tls.Config{
			MinVersion: tls.VersionTLS13, RootCAs: h.own.pool(), ServerName: "hub.test", NextProtos: []string{"h2"},
			GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
				a.renewal.mu.Lock()
				defer a.renewal.mu.Unlock()
				return a.renewal.agent.certificate(), nil
			},
		},
		Desired: m, Reports: m, Memory: m, Facts: a.facts, Renewal: a.renewal, Version: "test",
		Brake:   session.NewBrake(session.BrakeSettings{}),
		Backoff: agentlink.BackoffSettings{Least: 5 * time.Millisecond, Most: 50 * time.Millisecond}, Logger: logger(h.t, "agent"),
	}
	if configure != nil {
		configure(&config)
	}
	var err error
	if a.link, err = agentlink.New(config); err != nil {
		h.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); a.ended <- a.link.Run(ctx) }()
	a.stop = func() { cancel(); <-done }
	h.t.Cleanup(a.stop)
	return a
}

func (a *agent) dial(ctx context.Context, network, address string) (net.Conn, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, network, address)
	if err == nil {
		a.mu.Lock()
		a.conns = append(a.conns, conn)
		a.mu.Unlock()
	}
	return conn, err
}

// cut breaks every connection under the agent.
func (a *agent) cut() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, c := range a.conns {
		_ = c.Close()
	}
	a.conns = nil
}

func (a *agent) synchronised() bool { return a.link.Status().Synchronised }

// quickly is for tests that wait for what takes long in earnest.
func quickly(c *hublink.Config) {
	c.Settings = session.Settings{HeartbeatInterval: 50 * time.Millisecond, HeartbeatTimeout: 10 * time.Second}
}

func logger(t testing.TB, who string) *slog.Logger {
	return slog.New(slog.NewTextHandler(testOutput{t}, &slog.HandlerOptions{Level: slog.LevelDebug})).With("side", who)
}

// testOutput writes to the test's log, and nothing after the test has ended.
type testOutput struct{ t testing.TB }

func (o testOutput) Write(p []byte) (int, error) {
	if o.t.Context().Err() == nil {
		o.t.Log(string(p))
	}
	return len(p), nil
}
