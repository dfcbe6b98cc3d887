package cluster

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// authority signs the certificates of one member cluster.
type authority struct {
	certificate *x509.Certificate
	key         crypto.Signer
}

// writeMemberPKI makes the authorities, keys and certificates of a member in dir. Hosts are the names and addresses of its API server.
func writeMemberPKI(dir string, hosts []string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	ca, err := newAuthority(dir, "ca", "member-ca")
	if err != nil {
		return err
	}
	frontProxy, err := newAuthority(dir, "front-proxy-ca", "member-front-proxy-ca")
	if err != nil {
		return err
	}
	if err := ca.issue(dir, "apiserver", pkix.Name{CommonName: "kube-apiserver"}, hosts); err != nil {
		return err
	}
	if err := ca.issue(dir, "admin", pkix.Name{CommonName: "admin", Organization: []string{"system:masters"}}, nil); err != nil {
		return err
	}
	if err := frontProxy.issue(dir, "front-proxy-client", pkix.Name{CommonName: "front-proxy-client"}, nil); err != nil {
		return err
	}
	serviceAccounts, err := newKey()
	if err != nil {
		return err
	}
	return writeKey(dir, "service-account", serviceAccounts)
}

func newAuthority(dir, file, name string) (*authority, error) {
	key, err := newKey()
	if err != nil {
		return nil, err
	}
	template := certificateTemplate(pkix.Name{CommonName: name})
	template.IsCA, template.BasicConstraintsValid = true, true
	template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("making the authority %s: %w", name, err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	if err := writePEM(dir, file+".crt", "CERTIFICATE", der); err != nil {
		return nil, err
	}
	return &authority{certificate, key}, writeKey(dir, file, key)
}

func (a *authority) issue(dir, file string, subject pkix.Name, hosts []string) error {
	key, err := newKey()
	if err != nil {
		return err
	}
	template := certificateTemplate(subject)
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	if len(hosts) > 0 {
		template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	}
	for _, host := range hosts {
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, key.Public(), a.key)
	if err != nil {
		return fmt.Errorf("issuing the certificate %s: %w", file, err)
	}
	if err := writePEM(dir, file+".crt", "CERTIFICATE", der); err != nil {
		return err
	}
	return writeKey(dir, file, key)
}

func certificateTemplate(subject pkix.Name) *x509.Certificate {
	serial, _ := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120)) // crypto/rand never fails
	now := time.Now()
	return &x509.Certificate{
		SerialNumber: serial, Subject: subject,
		NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(1, 0, 0),
	}
}

func newKey() (*ecdsa.PrivateKey, error) { return ecdsa.GenerateKey(elliptic.P256(), rand.Reader) }

func writeKey(dir, file string, key *ecdsa.PrivateKey) error {
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return err
	}
	return writePEM(dir, file+".key", "EC PRIVATE KEY", der)
}

func writePEM(dir, file, kind string, der []byte) error {
	return os.WriteFile(filepath.Join(dir, file), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
}
