package dial

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"windlass.dev/windlass/pkg/identity"
)

// handshake connects as an agent would and returns what it is told.
func handshake(t testing.TB, addr string, config *tls.Config) error {
	t.Helper()
	conn, err := newDialer(t, Config{}).Dial(t.Context(), addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	return tls.Client(conn, config).HandshakeContext(ctx)
}

func hubServer(t testing.TB, certificate tls.Certificate) string {
	t.Helper()
	return serve(t, func(conn net.Conn) {
		secured := tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS13, NextProtos: []string{"h2", "http/1.1"}, Time: clock})
		_ = secured.Handshake()
		_, _ = io.Copy(io.Discard, secured)
	})
}

func TestWhomAnAgentTrusts(t *testing.T) {
	hub, other, middlebox := newAuthority(t, identity.HubAuthorityName), newAuthority(t, identity.HubAuthorityName), newAuthority(t, "Corporate Inspection")
	client := func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }
	withHubCA := middlebox.issue(t, []string{"127.0.0.1"})
	withHubCA.Certificate = append(withHubCA.Certificate, hub.certificate.Raw)
	withoutCA := hub.issue(t, []string{"127.0.0.1"})
	withoutCA.Certificate = withoutCA.Certificate[:1]
	hostile := newAuthority(t, "evil\x1b[31m\nINFO all is well")

	for _, c := range []struct {
		reason      string
		certificate tls.Certificate
		// enroll and link are parts of what is said in the two situations; empty: it is trusted.
		enroll, link string
	}{
		{"the hub", hub.issue(t, []string{"127.0.0.1"}), "", ""},
		{"the hub, which left its authority out of the chain", withoutCA, "not the hub that the agent's token or identity is from", ""},
		{"a middlebox", middlebox.issue(t, []string{"127.0.0.1"}),
			"is from CN=Corporate Inspection, not from this hub: the link needs TLS passthrough",
			"is from CN=Corporate Inspection, not from this hub: the link needs TLS passthrough"},
		{"a middlebox that sends the hub's authority along", withHubCA, "not from this hub: the link needs TLS passthrough", "not from this hub: the link needs TLS passthrough"},
		{"another hub", other.issue(t, []string{"127.0.0.1"}), "take a token from the hub that answers", "take a token from the hub that answers"},
		{"a certificate that may not serve", hub.issue(t, []string{"127.0.0.1"}, client), "not the hub", "not the hub"},
		{"other names", hub.issue(t, []string{"hub.example", "10.0.0.1"}),
			"the hub's certificate is for hub.example, 10.0.0.1 and not for 127.0.0.1: start the hub with --advertise-address or --tls-san 127.0.0.1",
			"is for hub.example, 10.0.0.1 and not for 127.0.0.1"},
		{"not valid yet", hub.issue(t, []string{"127.0.0.1"}, func(c *x509.Certificate) { c.NotBefore = start.Add(3 * time.Hour) }),
			"which is 3h0m0s too early: set the clock right", "3h0m0s too early"},
		{"ended", hub.issue(t, []string{"127.0.0.1"}, func(c *x509.Certificate) { c.NotAfter = start.Add(-10 * time.Minute) }),
			"which is 10m0s too late: set the clock right, or restart the hub", "10m0s too late"},
		{"an issuer that wants to write into the log", hostile.issue(t, []string{"127.0.0.1"}), "the link needs TLS passthrough", "the link needs TLS passthrough"},
	} {
		t.Run(c.reason, func(t *testing.T) {
			addr := hubServer(t, c.certificate)
			noClient := func() (*tls.Certificate, error) { return &tls.Certificate{}, nil }
			for situation, attempt := range map[string]struct {
				config *tls.Config
				want   string
			}{
				"enrolment": {EnrollTLS(addr, identity.Pin(hub.certificate), clock), c.enroll},
				"link":      {LinkTLS(addr, hub.certificate, noClient, clock), c.link},
			} {
				err := handshake(t, addr, attempt.config)
				if attempt.want == "" {
					if err != nil {
						t.Errorf("%s: %v", situation, err)
					}
					continue
				}
				var trust *TrustError
				if err == nil || !errors.As(err, &trust) || !strings.Contains(err.Error(), attempt.want) || !Terminal(err) {
					t.Errorf("%s: %v\nwant %s", situation, err, attempt.want)
				}
				if err != nil && strings.ContainsAny(err.Error(), "\n\x1b") {
					t.Errorf("%s: control characters are shown: %q", situation, err)
				}
			}
		})
	}
}

func TestOnlyTLS13IsSpoken(t *testing.T) {
	hub := newAuthority(t, identity.HubAuthorityName)
	certificate := hub.issue(t, []string{"127.0.0.1"})
	addr := serve(t, func(conn net.Conn) {
		_ = tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{certificate}, MaxVersion: tls.VersionTLS12, Time: clock}).Handshake()
	})
	if err := handshake(t, addr, EnrollTLS(addr, identity.Pin(hub.certificate), clock)); err == nil {
		t.Error("TLS 1.2 was accepted")
	}
}

func TestTheAgentShowsItsCertificateOfToday(t *testing.T) {
	hub, agents := newAuthority(t, identity.HubAuthorityName), newAuthority(t, "agents")
	certificate := hub.issue(t, []string{"127.0.0.1"})
	shown := make(chan string, 2)
	roots := x509.NewCertPool()
	roots.AddCert(agents.certificate)
	addr := serve(t, func(conn net.Conn) {
		secured := tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{certificate}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: roots, NextProtos: []string{"h2"}, Time: clock})
		if err := secured.Handshake(); err != nil {
			shown <- err.Error()
			return
		}
		state := secured.ConnectionState()
		shown <- state.NegotiatedProtocol + " " + state.PeerCertificates[0].DNSNames[0]
	})
	client := func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }
	current := agents.issue(t, []string{"first"}, client)
	config := LinkTLS(addr, hub.certificate, func() (*tls.Certificate, error) { return &current, nil }, clock)
	for _, name := range []string{"first", "second"} {
		current = agents.issue(t, []string{name}, client)
		if err := handshake(t, addr, config); err != nil {
			t.Fatal(err)
		}
		if got := <-shown; got != "h2 "+name {
			t.Errorf("the hub saw %q", got)
		}
	}
}

func TestWhatIsNoHubIsNamed(t *testing.T) {
	for _, c := range []struct {
		reason string
		handle func(net.Conn)
		want   string
	}{
		{"a server of plain HTTP", answering("HTTP/1.1 400 Bad Request\r\n\r\n"), "does not speak TLS; check that --hub names the hub's link port"},
		{"a load balancer without a backend", func(conn net.Conn) { _, _ = conn.Read(make([]byte, 4096)) }, "closed the connection before it answered"},
	} {
		t.Run(c.reason, func(t *testing.T) {
			addr := serve(t, c.handle)
			err := Explain(handshake(t, addr, EnrollTLS(addr, strings.Repeat("0", 64), clock)), addr, nil)
			if err == nil || !strings.HasPrefix(err.Error(), addr) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %s", err, c.want)
			}
		})
	}
}

func TestErrorsOfTheLibrarysOwnVerificationAreExplainedToo(t *testing.T) {
	middlebox := newAuthority(t, "Corporate Inspection")
	addr := hubServer(t, middlebox.issue(t, []string{"127.0.0.1"}))
	err := Explain(handshake(t, addr, &tls.Config{ServerName: "127.0.0.1", RootCAs: x509.NewCertPool(), Time: clock}), addr, nil)
	if err == nil || !strings.Contains(err.Error(), "is from CN=Corporate Inspection, not from this hub") {
		t.Errorf("an unknown authority: %v", err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(middlebox.certificate)
	err = Explain(handshake(t, addr, &tls.Config{ServerName: "hub.example", RootCAs: roots, Time: clock}), addr, nil)
	if err == nil || !strings.Contains(err.Error(), "--tls-san") {
		t.Errorf("another name: %v", err)
	}
}
