package apiserver

import (
	"crypto/x509"
	"log/slog"
	"sync"
	"time"

	"k8s.io/apiserver/pkg/server/dynamiccertificates"

	"windlass.dev/windlass/hub/pki"
)

// servingCertificate is the API's certificate. It is made in memory at the start and again when
// its end comes near; the API server asks for it once a minute.
type servingCertificate struct {
	set   *pki.Set
	hosts []string
	log   *slog.Logger

	mu               sync.Mutex
	leaf             *x509.Certificate
	certificate, key []byte
}

var _ dynamiccertificates.CertKeyContentProvider = (*servingCertificate)(nil)

func newServingCertificate(set *pki.Set, hosts []string, log *slog.Logger) *servingCertificate {
	return &servingCertificate{set: set, hosts: hosts, log: log}
}

// Name says what the certificate is for in the API server's messages.
func (c *servingCertificate) Name() string { return "hub-serving" }

// AddListener is for providers that know when they change; this one is asked.
func (c *servingCertificate) AddListener(dynamiccertificates.Listener) {}

// CurrentCertKeyContent gives the certificate that is valid now. When a new one cannot be made the
// old one stays for as long as it lasts.
func (c *servingCertificate) CurrentCertKeyContent() (certificate, key []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := time.Now(); c.leaf == nil || pki.NeedsRenewal(c.leaf, now) {
		if err := c.issue(now); err != nil {
			c.log.Error("making the API's serving certificate", "error", err)
		}
	}
	return c.certificate, c.key
}

func (c *servingCertificate) issue(now time.Time) error {
	pair, err := c.set.ServingCertificate(c.hosts, now)
	if err != nil {
		return err
	}
	certificate, key, err := pki.EncodePair(pair)
	if err != nil {
		return err
	}
	c.leaf, c.certificate, c.key = pair.Leaf, certificate, key
	return nil
}
