package cli

import (
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	clusterv1alpha1 "windlass.dev/windlass/api/cluster/v1alpha1"
	"windlass.dev/windlass/pkg/identity"
)

// fakeLink is what agents dial: a certificate for 127.0.0.1, its authority beside it, and an answer to whoever enrols by
// something else than POST.
type fakeLink struct {
	address, pin string
}

func startFakeLink(t *testing.T, host string, status int) fakeLink {
	t.Helper()
	authority, authorityKey := issue(t, &x509.Certificate{Subject: pkix.Name{CommonName: identity.HubAuthorityName}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}, nil, nil)
	template := &x509.Certificate{DNSNames: []string{host}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	if ip := net.ParseIP(host); ip != nil {
		template.DNSNames, template.IPAddresses = nil, []net.IP{ip}
	}
	leaf, key := issue(t, template, authority, authorityKey)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != identity.EnrollPath || r.Method != http.MethodGet {
			t.Errorf("it is asked %s %s", r.Method, r.URL.Path)
		}
		w.WriteHeader(status)
	}))
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // of clients that refuse its certificate, as they shall
	server.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{leaf.Raw, authority.Raw}, PrivateKey: key}}}
	server.StartTLS()
	t.Cleanup(server.Close)
	return fakeLink{address: server.Listener.Addr().String(), pin: identity.Pin(authority)}
}

// issue makes a certificate, by itself when there is no authority.
func issue(t *testing.T, template, authority *x509.Certificate, signer *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := identity.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	if authority == nil {
		authority, signer = template, key
	}
	template.SerialNumber, template.NotBefore, template.NotAfter = big.NewInt(1), time.Now().Add(-time.Minute), time.Now().Add(time.Hour)
	der, err := x509.CreateCertificate(rand.Reader, template, authority, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return certificate, key
}

func TestCheckProvesTheAPIAndTheLink(t *testing.T) {
	link := startFakeLink(t, "127.0.0.1", http.StatusMethodNotAllowed)
	elsewhere := startFakeLink(t, "127.0.0.1", http.StatusMethodNotAllowed)
	named := startFakeLink(t, "hub.example.com", http.StatusMethodNotAllowed)
	api := startFakeLink(t, "127.0.0.1", http.StatusUnauthorized)
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	for _, test := range []struct {
		reason    string
		published fakeLink
		args      []string
		notAHub   bool
		code      int
		says      string
	}{
		{reason: "all is well where the hub says its link is", published: link, code: CodeFine},
		{reason: "all is well at another address", published: fakeLink{"hub.invalid:8443", link.pin}, args: []string{"--link", link.address}, code: CodeFine},
		{reason: "the API is not that of a hub", published: link, notAHub: true, code: CodeUnreachable, says: "is not a Windlass hub"},
		{reason: "nobody listens at the link", published: link, args: []string{"--link", gone.Listener.Addr().String()}, code: CodeUnreachable, says: "is the hub running?"},
		{reason: "the link of another hub", published: link, args: []string{"--link", elsewhere.address}, code: CodeUnreachable, says: "not from the hub whose API answers"},
		{reason: "a certificate for another name", published: named, code: CodeUnreachable, says: "--tls-san"},
		{reason: "the port of the API, which has the same certificate", published: api, code: CodeFailed, says: "is that the port of its API?"},
		{reason: "an address that nobody says", published: fakeLink{"", link.pin}, code: CodeFailed, says: "--link HOST:PORT"},
		{reason: "an address without a port", published: link, args: []string{"--link", "hub.example.com"}, code: CodeUsage, says: "--link: expected HOST:PORT"},
	} {
		t.Run(test.reason, func(t *testing.T) {
			hub := startFakeHub(t)
			hub.info = map[string]string{hubInfoLink: test.published.address, hubInfoID: test.published.pin}
			if !test.notAHub {
				hub.lists = map[string]any{"memberclusters": clusterv1alpha1.MemberClusterList{TypeMeta: metav1.TypeMeta{APIVersion: "cluster.karmada.io/v1alpha1", Kind: "MemberClusterList"}}}
			}
			r := windlass(t, append([]string{"check", "--kubeconfig", hub.kubeconfig(t)}, test.args...)...)
			r.want(t, test.code, test.says)
			if fine := strings.HasPrefix(r.Out, "the hub is well: its API answers at "+hub.server.URL); fine != (test.code == CodeFine) {
				t.Errorf("standard output is %q", r.Out)
			}
		})
	}
}

func TestCheckWaitsUntilAllIsWellAndNoLongerThanItWasTold(t *testing.T) {
	refused, missing := errors.New("refused"), errors.New("no such name")
	for _, test := range []struct {
		reason string
		wait   time.Duration
		comes  []error // the last of them stays
		tries  int
		told   []string
		err    error
	}{
		{"well at once", time.Minute, []error{nil}, 1, nil, nil},
		{"no wait is one try", 0, []error{refused, nil}, 1, nil, refused},
		{"each new reason is told once", time.Minute, []error{missing, refused, refused, nil}, 4, []string{"no such name", "refused"}, nil},
		{"the last reason counts in the end", 3 * time.Second, []error{missing, refused}, 3, []string{"no such name", "refused"}, refused},
		{"a slip does not get better", time.Minute, []error{usage(refused)}, 1, nil, refused},
	} {
		t.Run(test.reason, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var told []string
				tries := 0
				err := until(t.Context(), test.wait, func(err error) { told = append(told, err.Error()) }, func(context.Context) error {
					tries++
					return test.comes[min(tries, len(test.comes))-1]
				})
				if !errors.Is(err, test.err) || tries != test.tries || !slices.Equal(told, test.told) {
					t.Errorf("%d tries, told %q, error %v; want %d, %q, %v", tries, told, err, test.tries, test.told, test.err)
				}
			})
		})
	}
}
