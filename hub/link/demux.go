package link

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc/credentials"
)

const (
	alpnHTTP2 = "h2"
	alpnHTTP1 = "http/1.1"
)

// A demux accepts connections, shakes hands, and hands each to the listener of its protocol.
type demux struct {
	listener   net.Listener
	tls        *tls.Config
	limits     Limits
	log        *slog.Logger
	grpc, http *queueListener
}

func newDemux(l net.Listener, c *tls.Config, limits Limits, log *slog.Logger) *demux {
	return &demux{listener: l, tls: c, limits: limits, log: log, grpc: newQueueListener(l.Addr()), http: newQueueListener(l.Addr())}
}

// tlsConfig asks agents for a certificate and people who enrol for none. Whoever offers HTTP/1.1 gets it, so that a
// plain HTTPS client, which offers both, reaches enrolment.
func (s *Server) tlsConfig() *tls.Config {
	base := &tls.Config{
		MinVersion: tls.VersionTLS13, GetCertificate: s.config.Certificate,
		// A resumed session would skip the look at the certificate.
		SessionTicketsDisabled: true,
	}
	enrol := base.Clone()
	enrol.NextProtos = []string{alpnHTTP1}
	agents := base.Clone()
	agents.NextProtos = []string{alpnHTTP2}
	agents.ClientAuth = tls.RequireAndVerifyClientCert
	agents.ClientCAs = s.config.AgentCAs
	base.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		if slices.Contains(hello.SupportedProtos, alpnHTTP2) && !slices.Contains(hello.SupportedProtos, alpnHTTP1) {
			return agents, nil
		}
		return enrol, nil
	}
	return base
}

// run accepts until the context is done.
func (d *demux) run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { _ = d.listener.Close() })
	defer stop()
	defer d.grpc.Close()
	defer d.http.Close()
	busy := make(chan struct{}, d.limits.Handshakes)
	var wait time.Duration
	for {
		conn, err := d.listener.Accept()
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("accepting connections: %w", err)
		case err != nil:
			// Out of file descriptors, for instance: that passes.
			wait = min(time.Second, max(5*time.Millisecond, 2*wait))
			d.log.Warn("A connection could not be accepted.", "error", err, "retryAfter", wait)
			time.Sleep(wait)
			continue
		}
		wait = 0
		select {
		case busy <- struct{}{}:
			go func() {
				defer func() { <-busy }()
				d.handshake(ctx, conn)
			}()
		default:
			_ = conn.Close()
		}
	}
}

func (d *demux) handshake(ctx context.Context, raw net.Conn) {
	ctx, cancel := context.WithTimeout(ctx, d.limits.HandshakeTimeout)
	defer cancel()
	conn := tls.Server(raw, d.tls)
	if err := conn.HandshakeContext(ctx); err != nil {
		d.log.Debug("A TLS handshake failed.", "address", raw.RemoteAddr(), "error", err)
		closeAfterAlert(raw)
		return
	}
	to := d.http
	if conn.ConnectionState().NegotiatedProtocol == alpnHTTP2 {
		to = d.grpc
	}
	if !to.offer(conn) {
		_ = conn.Close()
	}
}

// closeAfterAlert closes a connection on which TLS has sent an alert. In TLS 1.3 the client has already begun to speak
// by then; closing over what it has sent would reset the connection, and the client might never read why.
func closeAfterAlert(raw net.Conn) {
	defer raw.Close()
	half, ok := raw.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		return
	}
	_ = raw.SetReadDeadline(time.Now().Add(time.Second))
	_, _ = io.CopyN(io.Discard, raw, 64<<10)
}

// A queueListener is a net.Listener of connections that were accepted elsewhere.
type queueListener struct {
	address net.Addr
	conns   chan net.Conn
	closed  chan struct{}
	once    sync.Once
}

func newQueueListener(a net.Addr) *queueListener {
	return &queueListener{address: a, conns: make(chan net.Conn), closed: make(chan struct{})}
}

func (l *queueListener) offer(c net.Conn) bool {
	select {
	case l.conns <- c:
		return true
	case <-l.closed:
		return false
	}
}

func (l *queueListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *queueListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *queueListener) Addr() net.Addr { return l.address }

// alreadyTLS are gRPC credentials for connections whose handshake is done.
type alreadyTLS struct{}

// peerInfo is what a session needs to know of its connection.
type peerInfo struct {
	credentials.TLSInfo
	conn net.Conn
}

func (alreadyTLS) ServerHandshake(conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	t, ok := conn.(*tls.Conn)
	if !ok {
		return nil, nil, fmt.Errorf("a connection of type %T reached gRPC without TLS", conn)
	}
	info := credentials.TLSInfo{State: t.ConnectionState(), CommonAuthInfo: credentials.CommonAuthInfo{SecurityLevel: credentials.PrivacyAndIntegrity}}
	return conn, peerInfo{TLSInfo: info, conn: conn}, nil
}

func (alreadyTLS) ClientHandshake(context.Context, string, net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return nil, nil, errors.New("the hub dials nobody")
}

func (alreadyTLS) Info() credentials.ProtocolInfo {
	return credentials.ProtocolInfo{SecurityProtocol: "tls"}
}

func (a alreadyTLS) Clone() credentials.TransportCredentials { return a }

func (alreadyTLS) OverrideServerName(string) error { return nil }
