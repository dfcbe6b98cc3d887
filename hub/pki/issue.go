package pki

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

const (
	servingLifetime = 365 * 24 * time.Hour
	clientLifetime  = 365 * 24 * time.Hour
	// renewBefore is how long before its end a certificate that the hub holds is replaced.
	renewBefore = 90 * 24 * time.Hour
	adminUser   = "windlass-admin"
	adminGroup  = "system:masters"
)

// ServingCertificate issues a certificate of the hub authority for the hosts (DNS names and IP
// addresses; empty and doubled ones are skipped), with a new key that stays in memory. It is valid
// for a year from now; NeedsRenewal says when to ask for the next.
func (s *Set) ServingCertificate(hosts []string, now time.Time) (*tls.Certificate, error) {
	template := clientOrServer(pkix.Name{CommonName: "windlass-hub"}, x509.ExtKeyUsageServerAuth, now, servingLifetime)
	for _, host := range hosts {
		switch ip := net.ParseIP(host); {
		case ip != nil && !slices.ContainsFunc(template.IPAddresses, ip.Equal):
			template.IPAddresses = append(template.IPAddresses, ip)
		case ip == nil && host != "" && !slices.Contains(template.DNSNames, host):
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	return s.Hub.issuePair(template)
}

// NeedsRenewal says whether a certificate is so near to its end that the next one is due.
func NeedsRenewal(certificate *x509.Certificate, now time.Time) bool {
	return now.After(certificate.NotAfter.Add(-renewBefore))
}

// EncodePair is a certificate with its authority's chain and its key, as PEM.
func EncodePair(pair *tls.Certificate) (certificate, key []byte, err error) {
	for _, der := range pair.Certificate {
		certificate = append(certificate, certificatePEM(der)...)
	}
	ec, ok := pair.PrivateKey.(*ecdsa.PrivateKey)
	if !ok {
		return nil, nil, fmt.Errorf("encoding a key: a %T is not one of the hub's", pair.PrivateKey)
	}
	key, err = keyPEM(ec)
	return certificate, key, err
}

// FrontProxyClient makes sure that the certificate which the aggregator shows to extension API
// servers lies in the directory and is not near its end. It gives the paths of both files.
func (s *Set) FrontProxyClient(commonName string, now time.Time) (certificateFile, keyFile string, err error) {
	certificateFile = filepath.Join(s.Derived, "front-proxy-client.crt")
	keyFile = filepath.Join(s.Derived, "front-proxy-client.key")
	fresh := func() bool {
		pair, err := tls.LoadX509KeyPair(certificateFile, keyFile)
		return err == nil && !NeedsRenewal(pair.Leaf, now) && pair.Leaf.Subject.CommonName == commonName &&
			pair.Leaf.CheckSignatureFrom(s.FrontProxy.Certificate) == nil
	}
	if fresh() {
		return certificateFile, keyFile, nil
	}
	unlock, err := lock(s.Derived)
	if err != nil {
		return "", "", err
	}
	defer unlock()
	if fresh() {
		return certificateFile, keyFile, nil
	}
	pair, err := s.FrontProxy.issuePair(clientOrServer(pkix.Name{CommonName: commonName}, x509.ExtKeyUsageClientAuth, now, clientLifetime))
	if err != nil {
		return "", "", err
	}
	certificate, key, err := EncodePair(pair)
	if err != nil {
		return "", "", err
	}
	if err := replace(keyFile, key); err != nil {
		return "", "", err
	}
	return certificateFile, keyFile, replace(certificateFile, certificate)
}

// AdminKubeconfig makes sure that path holds a kubeconfig of the hub's administrator (group
// system:masters) for server, a URL, and is readable by its owner only. A present file is kept as
// long as it names the same server and authority and its certificate is not near its end.
func (s *Set) AdminKubeconfig(path, server string, now time.Time) error {
	fresh, err := s.adminKubeconfigIsFresh(path, server, now)
	if err != nil || fresh {
		return err
	}
	subject := pkix.Name{CommonName: adminUser, Organization: []string{adminGroup}}
	pair, err := s.Users.issuePair(clientOrServer(subject, x509.ExtKeyUsageClientAuth, now, clientLifetime))
	if err != nil {
		return err
	}
	// Without its authority, which the API server has: it verifies the certificate for every request, and each certificate that comes
	// along as one more way to an authority, the front proxy's too.
	pair.Certificate = pair.Certificate[:1]
	certificate, key, err := EncodePair(pair)
	if err != nil {
		return err
	}
	const name = "windlass"
	content, err := clientcmd.Write(clientcmdapi.Config{
		Clusters:       map[string]*clientcmdapi.Cluster{name: {Server: server, CertificateAuthorityData: s.Hub.PEM()}},
		AuthInfos:      map[string]*clientcmdapi.AuthInfo{adminUser: {ClientCertificateData: certificate, ClientKeyData: key}},
		Contexts:       map[string]*clientcmdapi.Context{name: {Cluster: name, AuthInfo: adminUser}},
		CurrentContext: name,
	})
	if err != nil {
		return fmt.Errorf("writing the kubeconfig %s: %w", path, err)
	}
	return replace(path, content)
}

// KeepAdminKubeconfig does what AdminKubeconfig does, and from then on once a day until ctx ends: a hub may run for longer
// than its administrator's certificate lives. What fails then is told in the log and tried again the next day, of which there
// are renewBefore.
func (s *Set) KeepAdminKubeconfig(ctx context.Context, path, server string, log *slog.Logger) error {
	if err := s.AdminKubeconfig(path, server, time.Now()); err != nil {
		return err
	}
	go s.renewAdminKubeconfig(ctx, path, server, log)
	return nil
}

func (s *Set) renewAdminKubeconfig(ctx context.Context, path, server string, log *slog.Logger) {
	daily := time.NewTicker(24 * time.Hour)
	defer daily.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-daily.C:
			if err := s.AdminKubeconfig(path, server, time.Now()); err != nil {
				log.Error("renewing the admin kubeconfig", "error", err)
			}
		}
	}
}

// adminKubeconfigIsFresh treats a file that it cannot parse as one to replace, and one that it
// cannot read as an error.
func (s *Set) adminKubeconfigIsFresh(path, server string, now time.Time) (bool, error) {
	content, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("reading the kubeconfig: %w", err)
	}
	config, err := clientcmd.Load(content)
	if err != nil {
		return false, nil
	}
	context := config.Contexts[config.CurrentContext]
	if context == nil || config.Clusters[context.Cluster] == nil || config.AuthInfos[context.AuthInfo] == nil {
		return false, nil
	}
	cluster, user := config.Clusters[context.Cluster], config.AuthInfos[context.AuthInfo]
	if cluster.Server != server || string(cluster.CertificateAuthorityData) != string(s.Hub.PEM()) {
		return false, nil
	}
	pair, err := tls.X509KeyPair(user.ClientCertificateData, user.ClientKeyData)
	if err != nil {
		return false, nil
	}
	return !NeedsRenewal(pair.Leaf, now) && pair.Leaf.CheckSignatureFrom(s.Users.Certificate) == nil, nil
}

// issuePair makes a key and its certificate; the chain that is sent includes the authority.
func (a *Authority) issuePair(template *x509.Certificate) (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making a key for %q: %w", template.Subject.CommonName, err)
	}
	der, err := a.Issue(template, key.Public())
	if err != nil {
		return nil, err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("reading back the certificate for %q: %w", template.Subject.CommonName, err)
	}
	return &tls.Certificate{Certificate: [][]byte{der, a.Certificate.Raw}, PrivateKey: key, Leaf: leaf}, nil
}

func clientOrServer(subject pkix.Name, usage x509.ExtKeyUsage, now time.Time, lifetime time.Duration) *x509.Certificate {
	return &x509.Certificate{
		Subject:               subject,
		NotBefore:             now.Add(-backdate),
		NotAfter:              now.Add(lifetime),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{usage},
		BasicConstraintsValid: true,
	}
}

// newSerial draws 128 random bits; a serial number must be positive.
func newSerial() (*big.Int, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, fmt.Errorf("drawing a serial number: %w", err)
	}
	return serial.Add(serial, big.NewInt(1)), nil
}
