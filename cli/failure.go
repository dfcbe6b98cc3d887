package cli

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"syscall"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// The exit codes. They are documented in docs/reference/command-line.md and don't change.
const (
	CodeFine        = 0
	CodeFailed      = 1
	CodeUsage       = 2
	CodeNotFine     = 3
	CodeNotFound    = 4
	CodeNotAllowed  = 5
	CodeUnreachable = 6
)

// Failure is an error with the exit code that it ends the process with. Err is nil when everything
// has been said already.
type Failure struct {
	Code int
	Err  error
}

func (f *Failure) Error() string {
	if f.Err == nil {
		return fmt.Sprintf("exit code %d", f.Code)
	}
	return f.Err.Error()
}

func (f *Failure) Unwrap() error { return f.Err }

func usage(err error) error { return &Failure{Code: CodeUsage, Err: err} }

// explain finds the exit code of an error, and better words where the error's own would not help.
func explain(err error) *Failure {
	var failure *Failure
	switch {
	case errors.As(err, &failure):
		return failure
	case errors.Is(err, context.Canceled):
		return &Failure{Code: CodeFailed, Err: errors.New("interrupted")}
	case apierrors.IsNotFound(err):
		return &Failure{Code: CodeNotFound, Err: err}
	case apierrors.IsUnauthorized(err):
		return &Failure{Code: CodeNotAllowed, Err: fmt.Errorf("the hub does not accept the credentials in this kubeconfig (expired, or from another hub?): %w", err)}
	case apierrors.IsForbidden(err):
		return &Failure{Code: CodeNotAllowed, Err: err}
	case unreachable(err):
		return &Failure{Code: CodeUnreachable, Err: err}
	}
	return &Failure{Code: CodeFailed, Err: err}
}

// unreachable is true when nobody, or somebody else, answered at the hub's address.
func unreachable(err error) bool {
	var request *url.Error
	var network net.Error
	return errors.As(err, &request) || errors.As(err, &network) || errors.Is(err, context.DeadlineExceeded)
}

// hint says what to look at when a server can't be reached; empty when there is nothing to add.
func hint(err error) string {
	var unknown x509.UnknownAuthorityError
	var name x509.HostnameError
	var invalid x509.CertificateInvalidError
	var lookup *net.DNSError
	switch {
	case errors.As(err, &unknown):
		return "another server, or something that intercepts TLS, answers at this address, or the kubeconfig is from before the hub was set up anew"
	case errors.As(err, &name):
		return "start the hub with --tls-san for this name (tlsSANs or adminKubeconfig.server of its chart), or use the address that it was given by --advertise-address (advertiseAddress)"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "compare the clocks of this machine and of the hub"
	case errors.As(err, &lookup):
		return "the host name in the kubeconfig is not known here"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "is the hub running?"
	case errors.Is(err, context.DeadlineExceeded), timedOut(err):
		return "is the hub running, and is there a way to it from here?"
	}
	return ""
}

func timedOut(err error) bool {
	var network net.Error
	return errors.As(err, &network) && network.Timeout()
}
