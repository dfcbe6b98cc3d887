package dial

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"strings"
	"time"
	"unicode"

	"windlass.dev/windlass/pkg/identity"
)

// EnrollTLS is the client's side of the first contact, when only a token's pin is known: the server
// must present a chain whose authority has that pin and a certificate for host that comes from it.
// Nothing that the system trusts counts. host is what is dialled, with or without its port.
func EnrollTLS(host, pin string, now func() time.Time) *tls.Config {
	return config(host, now, "http/1.1", func(chain []*x509.Certificate) *x509.Certificate {
		for _, certificate := range chain[min(1, len(chain)):] {
			if identity.Pin(certificate) == pin {
				return certificate
			}
		}
		return nil
	})
}

// LinkTLS is the client's side of every later connection: the server's certificate must come from
// the hub's authority, and the agent shows its own. client is asked at every handshake, so that a
// renewed certificate is used from the next one on. It is made for HTTP/2.
func LinkTLS(host string, hubCA *x509.Certificate, client func() (*tls.Certificate, error), now func() time.Time) *tls.Config {
	c := config(host, now, "h2", func([]*x509.Certificate) *x509.Certificate { return hubCA })
	c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return client() }
	return c
}

// config has the one way in which an agent trusts a hub. There is no session cache, so every
// connection is a full handshake in which both certificates are looked at. authority finds the one
// certificate to trust; nil means that the chain does not lead to this hub.
func config(host string, now func() time.Time, protocol string, authority func(chain []*x509.Certificate) *x509.Certificate) *tls.Config {
	name := hostOf(host)
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		ServerName: name,
		NextProtos: []string{protocol},
		Time:       now,
		// The library's own verification can neither pin nor explain; VerifyConnection below takes
		// its place and runs in every handshake.
		InsecureSkipVerify: true,
		VerifyConnection: func(state tls.ConnectionState) error {
			return verify(name, host, state.PeerCertificates, authority(state.PeerCertificates), now())
		},
	}
}

// verify checks the chain first, then the name, then the time: the first thing that is wrong is the
// one that a person has to know.
func verify(name, addr string, chain []*x509.Certificate, authority *x509.Certificate, now time.Time) error {
	if len(chain) == 0 || authority == nil {
		return notThisHub(addr, chain)
	}
	leaf, roots, between := chain[0], x509.NewCertPool(), x509.NewCertPool()
	roots.AddCert(authority)
	for _, certificate := range chain[1:] {
		between.AddCert(certificate)
	}
	// Verified for an instant at which the leaf is valid: the local clock is looked at last.
	_, err := leaf.Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: between, CurrentTime: leaf.NotBefore.Add(leaf.NotAfter.Sub(leaf.NotBefore) / 2),
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
	if err != nil {
		return notThisHub(addr, chain)
	}
	if err := leaf.VerifyHostname(name); err != nil {
		return wrongName(addr, leaf)
	}
	if now.Before(leaf.NotBefore) || now.After(leaf.NotAfter) {
		return wrongTime(addr, leaf, now)
	}
	return nil
}

// TrustError says that a TLS server is not the hub it should be, or cannot be trusted at this time.
// Trying again does not help; somebody has to change something.
type TrustError struct {
	// Issuer of the certificate that was presented.
	Issuer  string
	message string
}

// Error is one line that says what to do.
func (e *TrustError) Error() string { return e.message }

func notThisHub(addr string, chain []*x509.Certificate) error {
	if len(chain) == 0 {
		return &TrustError{message: fmt.Sprintf("%s presented no certificate; is --hub (hub.address of the chart) the link port of a Windlass hub (8443 by default)?", addr)}
	}
	issuer := printable(chain[0].Issuer.String())
	if chain[0].Issuer.CommonName == identity.HubAuthorityName {
		return &TrustError{Issuer: issuer, message: fmt.Sprintf("the hub at %s is not the hub that the agent's token or identity is from (the pin of the hub's authority differs): take a token from the hub that answers at this address, or correct --hub (hub.address of the chart)", addr)}
	}
	return &TrustError{Issuer: issuer, message: fmt.Sprintf("the certificate at %s is from %s, not from this hub: the link needs TLS passthrough", addr, issuer)}
}

func wrongName(addr string, leaf *x509.Certificate) error {
	names := append([]string(nil), leaf.DNSNames...)
	for _, ip := range leaf.IPAddresses {
		names = append(names, ip.String())
	}
	listed := "no host"
	if len(names) > 0 {
		const most = 10
		more := ""
		if len(names) > most {
			names, more = names[:most], " and more"
		}
		listed = printable(strings.Join(names, ", ")) + more
	}
	return &TrustError{Issuer: printable(leaf.Issuer.String()), message: fmt.Sprintf("the hub's certificate is for %s and not for %s: start the hub with --advertise-address or --tls-san %s (advertiseAddress or tlsSANs of its chart), or let --hub (hub.address of the agent's chart) name one of these hosts", listed, hostOf(addr), hostOf(addr))}
}

func wrongTime(addr string, leaf *x509.Certificate, now time.Time) error {
	clock := now.UTC().Format(time.RFC3339)
	message := fmt.Sprintf("the certificate of the hub at %s is valid from %s, and this machine's clock says %s, which is %s too early: set the clock right",
		addr, leaf.NotBefore.UTC().Format(time.RFC3339), clock, leaf.NotBefore.Sub(now).Round(time.Second))
	if now.After(leaf.NotAfter) {
		message = fmt.Sprintf("the certificate of the hub at %s is valid until %s, and this machine's clock says %s, which is %s too late: set the clock right, or restart the hub if its certificate has really ended",
			addr, leaf.NotAfter.UTC().Format(time.RFC3339), clock, now.Sub(leaf.NotAfter).Round(time.Second))
	}
	return &TrustError{Issuer: printable(leaf.Issuer.String()), message: message}
}

// hostOf is addr without its port.
func hostOf(addr string) string {
	if host, _, err := net.SplitHostPort(addr); err == nil {
		return host
	}
	return strings.Trim(addr, "[]")
}

// printable makes what a stranger sent fit for a terminal and a log.
func printable(s string) string { return shorten(s, 200) }

func shorten(s string, limit int) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, s)
	if len(s) > limit {
		return strings.ToValidUTF8(s[:limit], "") + "…"
	}
	return s
}
