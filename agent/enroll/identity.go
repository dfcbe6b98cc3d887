package enroll

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"time"

	"windlass.dev/windlass/pkg/identity"
)

// Identity is who the agent is. It is not changed after it was made.
type Identity struct {
	Key *ecdsa.PrivateKey
	// Certificate is the agent's own, Chain that and its authority's in DER.
	Certificate *x509.Certificate
	Chain       [][]byte
	// HubCA signs the hub's serving certificates; HubID is its pin.
	HubCA *x509.Certificate
	HubID string
	// ClusterName and ClusterID are what the hub calls this cluster.
	ClusterName string
	ClusterID   string
}

// TLSCertificate is what the agent shows to the hub.
func (i *Identity) TLSCertificate() *tls.Certificate {
	return &tls.Certificate{Certificate: i.Chain, PrivateKey: i.Key, Leaf: i.Certificate}
}

// RenewAt is when the agent asks for its next certificate.
func (i *Identity) RenewAt() time.Time { return identity.RenewAt(i.Certificate) }

// Stored is what lies in the store. The zero value is that of an agent which has never enrolled.
type Stored struct {
	// Key, Certificate and HubCA are PEM.
	Key, Certificate, HubCA       []byte
	HubID, ClusterName, ClusterID string
	// Hub is the address that was enrolled at; it is for people, the agent dials --hub.
	Hub string
	// KubeSystemUID is that of the cluster the identity was made in.
	KubeSystemUID string
	// TokenID is the token that was used for it.
	TokenID string
	// Refused is why the hub does not accept the identity any more; empty while it does. Removed says
	// that the reason is that the hub has no such cluster any more.
	Refused string
	Removed bool
	// PendingKey is the key of an enrolment with PendingToken that was begun.
	PendingKey   []byte
	PendingToken string
	// Version is the store's mark of the state that was read.
	Version string
}

// Store keeps the agent's identity in the member.
type Store interface {
	// Load returns the zero value when nothing is stored yet.
	Load(ctx context.Context) (Stored, error)
	// Save replaces what Load has returned; ErrChanged when somebody else has done so since.
	Save(ctx context.Context, s Stored) (Stored, error)
	// Name is what a person has to delete to make the agent forget who it is.
	Name() string
}

// ErrChanged means that what is stored has changed since it was read.
var ErrChanged = errors.New("the agent's identity was changed by another agent")

// Identity reads the stored identity: nil when there is none, an error when it is damaged.
func (s Stored) Identity() (*Identity, error) {
	if len(s.Key) == 0 && len(s.Certificate) == 0 {
		return nil, nil
	}
	key, err := decodeKey(s.Key)
	if err != nil {
		return nil, fmt.Errorf("the key: %w", err)
	}
	chain, err := decodeCertificates(s.Certificate)
	if err != nil {
		return nil, fmt.Errorf("the certificate: %w", err)
	}
	authority, err := decodeCertificates(s.HubCA)
	if err != nil {
		return nil, fmt.Errorf("the hub's authority: %w", err)
	}
	i := &Identity{Key: key, Certificate: chain[0], HubCA: authority[0], HubID: s.HubID, ClusterName: s.ClusterName, ClusterID: s.ClusterID}
	for _, certificate := range chain {
		i.Chain = append(i.Chain, certificate.Raw)
	}
	return i, i.check()
}

// check says whether the parts belong together.
func (i *Identity) check() error {
	if !i.Key.PublicKey.Equal(i.Certificate.PublicKey) {
		return errors.New("the certificate is for another key")
	}
	id, err := identity.ClusterIDFromCertificate(i.Certificate)
	if err != nil {
		return err
	}
	if id != i.ClusterID {
		return fmt.Errorf("the certificate is of the cluster with id %s, not %s", id, i.ClusterID)
	}
	if identity.Pin(i.HubCA) != i.HubID {
		return errors.New("the hub's authority is not that of the hub with the recorded id")
	}
	return nil
}

// renew is the same identity with the next key and certificate.
func (i *Identity) renew(key *ecdsa.PrivateKey, chain [][]byte) (*Identity, error) {
	if len(chain) == 0 {
		return nil, errors.New("the hub's answer holds no certificate")
	}
	leaf, err := x509.ParseCertificate(chain[0])
	if err != nil {
		return nil, fmt.Errorf("reading the hub's answer: %w", err)
	}
	next := *i
	next.Key, next.Certificate, next.Chain = key, leaf, chain
	return &next, next.check()
}

// store puts the identity into s and leaves everything else in it.
func (i *Identity) store(s Stored) (Stored, error) {
	key, err := encodeKey(i.Key)
	if err != nil {
		return s, err
	}
	var chain bytes.Buffer
	for _, der := range i.Chain {
		_ = pem.Encode(&chain, &pem.Block{Type: "CERTIFICATE", Bytes: der})
	}
	s.Key, s.Certificate = key, chain.Bytes()
	s.HubCA = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: i.HubCA.Raw})
	s.HubID, s.ClusterName, s.ClusterID = i.HubID, i.ClusterName, i.ClusterID
	return s, nil
}

func encodeKey(key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encoding the agent's key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// decodeKey never repeats what it has read.
func decodeKey(data []byte) (*ecdsa.PrivateKey, error) {
	block, _ := pem.Decode(data)
	if block == nil || block.Type != "PRIVATE KEY" {
		return nil, errors.New("it is not a private key in PEM")
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, errors.New("it is not a private key in PKCS #8")
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("it is a %T and not one of the agent's", parsed)
	}
	return key, nil
}

// decodeCertificates reads one certificate or more.
func decodeCertificates(data []byte) ([]*x509.Certificate, error) {
	var all []*x509.Certificate
	for {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			break
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		all = append(all, certificate)
	}
	if len(all) == 0 {
		return nil, errors.New("it is not a certificate in PEM")
	}
	return all, nil
}
