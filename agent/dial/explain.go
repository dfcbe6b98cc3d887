package dial

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"syscall"
	"time"
)

// explained is an error that was put into words already.
type explained struct {
	message string
	cause   error
}

func (e *explained) Error() string { return e.message }
func (e *explained) Unwrap() error { return e.cause }

// Explain puts the failure of a connection to addr (HOST:PORT) into one line that says what to
// check. presented is the chain that the server showed, as far as it is known and not in err. What
// was explained before, and what it has no words for, it returns as it is.
func Explain(err error, addr string, presented []*x509.Certificate) error {
	if err == nil {
		return nil
	}
	if said, ok := alreadySaid(err); ok {
		return said
	}
	if message := explain(err, addr, presented); message != nil {
		return message
	}
	// The URL of a request adds nothing to what is known.
	var request *url.Error
	if errors.As(err, &request) {
		return fmt.Errorf("connecting to %s: %w", addr, request.Err)
	}
	return err
}

// alreadySaid finds the explained error below the wrappings of TLS and HTTP libraries.
func alreadySaid(err error) (error, bool) {
	var trust *TrustError
	var refusal *ProxyRefusal
	var e *explained
	switch {
	case errors.As(err, &trust):
		return trust, true
	case errors.As(err, &refusal):
		return refusal, true
	case errors.As(err, &e):
		return e, true
	}
	return nil, false
}

func explain(err error, addr string, presented []*x509.Certificate) error {
	say := func(format string, values ...any) error {
		return &explained{message: fmt.Sprintf(format, values...), cause: err}
	}
	if e := explainCertificate(err, addr, presented); e != nil {
		return e
	}
	var dns *net.DNSError
	var record tls.RecordHeaderError
	var alert tls.AlertError
	switch {
	case errors.Is(err, context.Canceled):
		return nil
	case errors.As(err, &dns) && dns.IsNotFound:
		return say("%s: the name %s does not exist for this machine's DNS; check --hub (hub.address of the chart)", addr, printable(dns.Name))
	case errors.As(err, &dns):
		return say("%s: DNS does not answer (%s); check this machine's or cluster's name server", addr, printable(dns.Err))
	case errors.Is(err, syscall.ECONNREFUSED):
		return say("%s refused the connection; check that the hub is running and that --hub names its link port (8443 by default; in the chart it is hub.address)", addr)
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return say("%s: there is no route to it from here; check the network, or set HTTPS_PROXY if the way out is a proxy", addr)
	case isTimeout(err):
		return say("%s did not answer in time; check that a firewall lets this machine connect out to it, or set HTTPS_PROXY if the way out is a proxy", addr)
	case errors.As(err, &record):
		return say("%s does not speak TLS; check that --hub names the hub's link port (8443 by default; in the chart it is hub.address)", addr)
	case errors.As(err, &alert):
		return say("%s ended the TLS handshake (%s); check that --hub names the hub's link port (8443 by default; in the chart it is hub.address) and that nothing in between ends TLS", addr, printable(alert.Error()))
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return say("%s closed the connection before it answered; check that nothing in between (firewall, load balancer without a hub behind it) cuts TLS connections", addr)
	}
	return nil
}

// explainCertificate is for errors of the library's own verification, and for a chain that the
// caller has seen.
func explainCertificate(err error, addr string, presented []*x509.Certificate) error {
	var failed *tls.CertificateVerificationError
	if errors.As(err, &failed) {
		presented = failed.UnverifiedCertificates
	}
	if len(presented) == 0 {
		return nil
	}
	var name x509.HostnameError
	var invalid x509.CertificateInvalidError
	var authority x509.UnknownAuthorityError
	switch {
	case errors.As(err, &name):
		return wrongName(addr, presented[0])
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return wrongTime(addr, presented[0], time.Now())
	case errors.As(err, &invalid), errors.As(err, &authority):
		return notThisHub(addr, presented)
	}
	return nil
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, syscall.ETIMEDOUT) ||
		(errors.As(err, &timeout) && timeout.Timeout())
}

// Terminal says whether trying again is pointless until somebody has changed something: the server
// is not this hub, or the proxy wants other credentials. A proxy that refuses for another reason, or
// a hub that does not answer, may do so for a while only.
func Terminal(err error) bool {
	var trust *TrustError
	if errors.As(err, &trust) {
		return true
	}
	var refusal *ProxyRefusal
	return errors.As(err, &refusal) && refusal.StatusCode == http.StatusProxyAuthRequired
}
