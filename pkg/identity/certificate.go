package identity

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"
)

const (
	// CertificateLifetime is how long an agent's certificate is valid.
	CertificateLifetime = 90 * 24 * time.Hour
	// Backdate is how far before its issue a certificate begins, for clocks that are behind.
	Backdate = 5 * time.Minute
	// HubAuthorityName is the common name of the hub authority. It proves nothing; it only tells
	// the certificate of another hub from that of a middlebox when a person is told what is wrong.
	HubAuthorityName = "windlass hub"
	// maxRequestBytes bounds a certificate request; one for a P-256 key has about 200 bytes.
	maxRequestBytes = 4096
)

// AgentCertificate is the template of an agent's certificate, which begins Backdate before now. The
// URI alone is the identity; the common name is for people who read the certificate.
func AgentCertificate(clusterID, clusterName string, now time.Time) *x509.Certificate {
	return &x509.Certificate{
		Subject:               pkix.Name{Organization: []string{"windlass agents"}, CommonName: agentNamePrefix + clusterName},
		URIs:                  []*url.URL{ClusterURI(clusterID)},
		NotBefore:             now.Add(-Backdate),
		NotAfter:              now.Add(CertificateLifetime),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		BasicConstraintsValid: true,
	}
}

const agentNamePrefix = "windlass-agent "

// ClusterNameIn is the name that a cluster had when an agent's certificate was issued. It is for people, and proves nothing.
func ClusterNameIn(certificate *x509.Certificate) string {
	return strings.TrimPrefix(certificate.Subject.CommonName, agentNamePrefix)
}

// RenewAt is when an agent asks for its next certificate: when two thirds of the present one's life
// have passed, which is day 60 of 90. A life that its authority has cut short is divided in the same way.
func RenewAt(certificate *x509.Certificate) time.Time {
	issued := certificate.NotBefore.Add(Backdate)
	return issued.Add(certificate.NotAfter.Sub(issued) / 3 * 2)
}

// SerialText is a certificate's serial number as it is recorded in MemberCluster.status.agent:
// lower-case hex.
func SerialText(certificate *x509.Certificate) string { return certificate.SerialNumber.Text(16) }

// NewKey makes the key of an agent.
func NewKey() (*ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making a key: %w", err)
	}
	return key, nil
}

// NewCertificateRequest is a PKCS #10 request, DER. It names nobody: the hub fills the name in.
func NewCertificateRequest(key crypto.Signer) ([]byte, error) {
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		return nil, fmt.Errorf("making a certificate request: %w", err)
	}
	return der, nil
}

// PublicKeyFromRequest takes the public key, and nothing else, from a PKCS #10 request in DER. It
// must be on the curve P-256, and its owner must have signed the request.
func PublicKeyFromRequest(der []byte) (*ecdsa.PublicKey, error) {
	if len(der) > maxRequestBytes {
		return nil, fmt.Errorf("the certificate request has %d bytes; at most %d are allowed", len(der), maxRequestBytes)
	}
	request, err := x509.ParseCertificateRequest(der)
	if err != nil {
		return nil, errors.New("the certificate request is not PKCS #10 in DER")
	}
	public, ok := request.PublicKey.(*ecdsa.PublicKey)
	if !ok || public.Curve != elliptic.P256() {
		return nil, errors.New("the certificate request is not for a key on the curve P-256")
	}
	if err := request.CheckSignature(); err != nil {
		return nil, errors.New("the certificate request is not signed by the key it is for")
	}
	return public, nil
}

// PublicKeyHash is the SHA-256 of a public key's SubjectPublicKeyInfo, in hex.
func PublicKeyHash(public crypto.PublicKey) (string, error) {
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return "", fmt.Errorf("hashing a public key: %w", err)
	}
	sum := sha256.Sum256(der)
	return hex.EncodeToString(sum[:]), nil
}
