package link

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"regexp"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"
	linkv1 "windlass.dev/windlass/api/link/v1"
	"windlass.dev/windlass/pkg/session"
)

// connectTimeout bounds everything up to the open stream.
const connectTimeout = 30 * time.Second

// attempt is one connection and one conversation.
func (l *Link) attempt(ctx context.Context) outcome {
	conn, err := l.connect(ctx)
	if err != nil {
		l.metrics.attempts.WithLabelValues("unreachable").Inc()
		end := l.classify(err, conn)
		end.nobody = conn == nil
		return end
	}
	defer conn.Close()
	client, err := grpc.NewClient("passthrough:///hub", l.grpcOptions(conn)...)
	if err != nil {
		return outcome{err: fmt.Errorf("preparing gRPC: %w", err)}
	}
	defer client.Close()
	// The stream outlives the context by as long as a goodbye takes.
	streaming, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	opened := context.AfterFunc(ctx, cancel)
	rpc, err := linkv1.NewLinkClient(client).Session(streaming)
	opened()
	if err != nil {
		l.metrics.attempts.WithLabelValues("unreachable").Inc()
		return l.classify(fmt.Errorf("opening the stream to %s: %w", l.config.Address, err), conn)
	}
	c := l.newConversation(rpc, conn)
	end := c.run(ctx)
	l.mark, l.unreported = c.machine.Mark(), c.machine.Unreported()
	l.change(func(s *Status) { *s = Status{} })
	l.metrics.attempts.WithLabelValues(c.result()).Inc()
	if end.err != nil && c.ended == nil && c.welcomed.IsZero() {
		// In TLS 1.3 a server refuses a certificate only after the client's handshake is done.
		return l.classify(end.err, conn)
	}
	if end.verdict == Reenrol && c.ended.Reason == linkv1.GoodbyeReason_GOODBYE_REASON_CERTIFICATE_EXPIRED {
		return l.judgeExpiry(end, end.err, conn)
	}
	return end
}

// connect dials and shakes hands itself, rather than leaving that to gRPC, so that a failure can be told apart.
func (l *Link) connect(ctx context.Context) (*observedConn, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	raw, err := l.config.Dial(ctx, "tcp", l.config.Address)
	if err != nil {
		return nil, fmt.Errorf("dialling the hub at %s: %w", l.config.Address, err)
	}
	conn := observe(raw, l.config.TLS)
	if err := conn.HandshakeContext(ctx); err != nil {
		_ = raw.Close()
		return conn, fmt.Errorf("TLS with the hub at %s: %w", l.config.Address, err)
	}
	if p := conn.ConnectionState().NegotiatedProtocol; p != "h2" {
		_ = raw.Close()
		return conn, fmt.Errorf("%s answers TLS but does not speak the link's protocol (ALPN h2): it may be another port, or a proxy that ends TLS", l.config.Address)
	}
	return conn, nil
}

// receiveWindow bounds what the hub may have sent and this agent not read: half a second away from its hub it gets 2 MB/s.
const receiveWindow = 1 << 20

func (l *Link) grpcOptions(conn *observedConn) []grpc.DialOption {
	var used sync.Once
	return []grpc.DialOption{
		grpc.WithTransportCredentials(alreadyTLS{}),
		grpc.WithContextDialer(func(context.Context, string) (net.Conn, error) {
			err := errors.New("the connection has been used: gRPC must not dial again by itself")
			var first net.Conn
			used.Do(func() { first, err = conn, nil })
			return first, err
		}),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: backoff.Config{BaseDelay: time.Hour, MaxDelay: time.Hour}, MinConnectTimeout: connectTimeout}),
		grpc.WithDisableServiceConfig(),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(l.config.MaxMessageBytes)),
		// Pings find a connection that a firewall has forgotten; heartbeats find a hub behind something that answers
		// for it.
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 30 * time.Second, Timeout: 20 * time.Second, PermitWithoutStream: true}),
		grpc.WithReadBufferSize(8 << 10),
		grpc.WithWriteBufferSize(8 << 10),
		grpc.WithSharedWriteBuffer(true),
		// As the hub does: with windows that it sizes itself, gRPC sends a ping of its own for every message.
		grpc.WithStaticStreamWindowSize(receiveWindow),
		grpc.WithStaticConnWindowSize(receiveWindow),
	}
}

// classify decides what follows from a failure before the hub has let the agent in.
func (l *Link) classify(err error, conn *observedConn) outcome {
	cause := err
	var presented []*x509.Certificate
	if conn != nil {
		if conn.problem() != nil {
			cause = conn.problem()
		}
		presented = conn.Conn.ConnectionState().PeerCertificates
	}
	if refusal := refusedCertificate(cause); refusal != "" && conn.authenticated() {
		refused := fmt.Errorf("the hub at %s does not accept this agent's certificate (%s)", l.config.Address, refusal)
		end := outcome{verdict: Reenrol, err: fmt.Errorf("%w: give the agent a new join token, made with windlass token create --rejoin", refused)}
		if refusal == expiredCertificate {
			return l.judgeExpiry(end, refused, conn)
		}
		return end
	}
	// A status of gRPC decides nothing: gRPC makes one of the answer of any HTTP server. What a hub refuses it says in a
	// goodbye.
	if answer := answeredHTTP.FindStringSubmatch(err.Error()); answer != nil {
		return outcome{err: fmt.Errorf("%s answered with HTTP %s, which no hub does: check that --hub names the hub's link port (8443 by default; in the chart it is hub.address) and not its API or something in between", l.config.Address, answer[1])}
	}
	if l.config.Explain != nil {
		err = l.config.Explain(err, l.config.Address, presented)
	}
	return outcome{err: err}
}

// answeredHTTP finds the status of a server that speaks HTTP and not the link: gRPC has it in its text alone, in front of
// whatever that server has sent.
var answeredHTTP = regexp.MustCompile(`unexpected HTTP status code received from server: ([0-9]+)`)

// authenticated says whether it was the hub that this connection led to. Only a complete handshake shows that: until the
// server's Finished anybody on the way can answer in the hub's place, an alert before it in seven bytes of plain text. A
// hub that refuses a certificate, which in TLS 1.3 it has not seen before, says so after it.
func (c *observedConn) authenticated() bool {
	return c != nil && c.Conn.ConnectionState().HandshakeComplete
}

// expiredCertificate is the alert for a certificate that has ended, and for one that has not begun.
const expiredCertificate = "expired certificate"

// refusedCertificate recognises the alert with which a TLS peer refuses our certificate; empty for everything else. The
// standard library gives alerts no type, but their texts are those of the standard.
func refusedCertificate(err error) string {
	remote := &net.OpError{}
	if !errors.As(err, &remote) || remote.Op != "remote error" {
		return ""
	}
	for _, alert := range []string{expiredCertificate, "bad certificate", "unknown certificate authority", "revoked certificate", "certificate required", "unknown certificate"} {
		if strings.Contains(remote.Err.Error(), alert) {
			return alert
		}
	}
	return ""
}

// judgeExpiry decides what follows when the hub says that this agent's certificate has ended, or has not begun. Whether that
// is so depends on the hub's clock, and a hub whose clock is wrong for a while, as a machine's is before it has asked for the
// time, says it to all agents at once. An identity is given up for good, so it counts only if this machine's clock agrees.
func (l *Link) judgeExpiry(end outcome, said error, conn *observedConn) outcome {
	now := l.now()
	if conn.shown == nil || now.After(conn.shown.NotAfter) {
		return end
	}
	end.verdict = Retry
	end.err = fmt.Errorf("%w; but this machine's clock says %s, and the certificate is valid from %s until %s: the clock of the hub or of this machine is wrong. "+
		"Compare what date -u says on both and set the wrong one right; the agent keeps its identity and tries again by itself",
		said, now.UTC().Format(time.RFC3339), conn.shown.NotBefore.UTC().Format(time.RFC3339), conn.shown.NotAfter.UTC().Format(time.RFC3339))
	return end
}

// now is the time by the clock that the hub's certificate is judged by.
func (l *Link) now() time.Time {
	if l.config.TLS.Time != nil {
		return l.config.TLS.Time()
	}
	return time.Now()
}

// verdictOf decides what follows from a goodbye.
func verdictOf(e session.End, lasted time.Duration) outcome {
	who := "this agent has ended the session"
	if e.ByPeer {
		who = "the hub has ended the session"
	}
	out := outcome{err: fmt.Errorf("%s: %s", who, e.Message), retryAfter: e.RetryAfter, lasted: lasted}
	switch e.Reason {
	case linkv1.GoodbyeReason_GOODBYE_REASON_REVOKED, linkv1.GoodbyeReason_GOODBYE_REASON_WRONG_HUB, linkv1.GoodbyeReason_GOODBYE_REASON_WRONG_CLUSTER:
		out.verdict = Reenrol
	case linkv1.GoodbyeReason_GOODBYE_REASON_CLUSTER_REMOVED:
		out.verdict = Removed
	case linkv1.GoodbyeReason_GOODBYE_REASON_BEGIN_ANEW:
		out.atOnce = e.ByPeer
	case linkv1.GoodbyeReason_GOODBYE_REASON_CERTIFICATE_EXPIRED:
		// In the middle of a session there may be a renewed one by now. At its beginning there is none.
		if lasted > 0 {
			out.atOnce = e.ByPeer
		} else {
			out.verdict = Reenrol
		}
	}
	return out
}

// observedConn remembers why reading has failed: gRPC turns errors into text.
type observedConn struct {
	*tls.Conn
	// shown is this agent's certificate in the handshake: by now there may be a renewed one.
	shown *x509.Certificate

	mu  sync.Mutex
	err error
}

// observe makes the client's side of TLS over a connection.
func observe(raw net.Conn, settings *tls.Config) *observedConn {
	c := &observedConn{}
	observed := settings.Clone()
	if ask := settings.GetClientCertificate; ask != nil {
		observed.GetClientCertificate = func(request *tls.CertificateRequestInfo) (*tls.Certificate, error) {
			own, err := ask(request)
			if err == nil && len(own.Certificate) > 0 {
				c.shown, err = x509.ParseCertificate(own.Certificate[0])
			}
			return own, err
		}
	}
	c.Conn = tls.Client(raw, observed)
	return c
}

func (c *observedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if err != nil {
		c.mu.Lock()
		if c.err == nil {
			c.err = err
		}
		c.mu.Unlock()
	}
	return n, err
}

func (c *observedConn) problem() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// alreadyTLS are gRPC credentials for a connection whose handshake is done.
type alreadyTLS struct{}

func (alreadyTLS) ClientHandshake(_ context.Context, _ string, conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	observed, ok := conn.(*observedConn)
	if !ok {
		return nil, nil, fmt.Errorf("a connection of type %T reached gRPC without TLS", conn)
	}
	return conn, credentials.TLSInfo{
		State: observed.ConnectionState(), CommonAuthInfo: credentials.CommonAuthInfo{SecurityLevel: credentials.PrivacyAndIntegrity},
	}, nil
}

func (alreadyTLS) ServerHandshake(net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return nil, nil, errors.New("an agent serves nobody")
}

func (alreadyTLS) Info() credentials.ProtocolInfo {
	return credentials.ProtocolInfo{SecurityProtocol: "tls"}
}

func (a alreadyTLS) Clone() credentials.TransportCredentials { return a }

func (alreadyTLS) OverrideServerName(string) error { return nil }
