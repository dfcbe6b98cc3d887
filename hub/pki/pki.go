// Package pki alone is responsible for the files of the hub's own authorities: making them once,
// finding them again, refusing broken ones, and issuing what the hub's processes need from them.
package pki

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Names of the files in the directory. Of every authority there are two: <name>.crt and <name>.key.
const (
	hubCA             = "hub-ca"
	usersCA           = "users-ca"
	agentsCA          = "agents-ca"
	frontProxyCA      = "front-proxy-ca"
	serviceAccountKey = "service-account.key"
	encryptionKey     = "encryption.key"
	lockFile          = ".lock"
)

const (
	authorityLifetime = 10 * 365 * 24 * time.Hour
	encryptionKeySize = 32
	// backdate is how far before "now" a certificate begins, for peers whose clocks are behind.
	backdate = 5 * time.Minute
)

// Authority is a certificate authority: its own certificate and the key that signs for it.
type Authority struct {
	Certificate *x509.Certificate
	Key         crypto.Signer
}

// Set is everything secret that the hub made for itself on its first start. It is read-only after
// loading and safe for concurrent use.
type Set struct {
	// Dir is the directory that the set was loaded from. It may be one that can only be read.
	Dir string
	// Derived is the directory of what follows from the keys and is made anew when it is missing: by
	// default Dir.
	Derived string
	// Hub signs the serving certificates of the API server and of the agent link; its public key
	// is what agents pin and what the hub's id is made of.
	Hub *Authority
	// Users signs client certificates of the hub's API, such as the one in admin.kubeconfig.
	Users *Authority
	// Agents signs the client certificates of agents. The API server does not trust it.
	Agents *Authority
	// FrontProxy signs the certificate that the aggregator shows to extension API servers.
	FrontProxy *Authority
	// ServiceAccountKey signs the tokens of service accounts.
	ServiceAccountKey crypto.Signer
	// EncryptionKey encrypts secrets, works and join tokens in the store (32 bytes).
	EncryptionKey []byte
}

// LoadOrCreate reads the set in dir and makes it first if there is none. Several processes may do
// so with one directory at the same time: they all get the same set. A directory in which the hub
// authority exists is complete; anything that is missing from it then is an error and never made
// anew, because a new encryption key or authority beside old ones destroys access to what the old
// ones protect.
func LoadOrCreate(dir string, now time.Time) (*Set, error) {
	complete, err := exists(filepath.Join(dir, hubCA+".crt"))
	if err != nil {
		return nil, err
	}
	if !complete {
		if err := create(dir, now); err != nil {
			return nil, err
		}
	}
	return load(dir, now)
}

// HubID is the identity of this hub: the SHA-256 of the hub authority's SubjectPublicKeyInfo, in hex.
func (s *Set) HubID() string {
	sum := sha256.Sum256(s.Hub.Certificate.RawSubjectPublicKeyInfo)
	return hex.EncodeToString(sum[:])
}

// Issue signs a certificate for public with the authority. The template decides everything but the
// serial number, which is filled in when it is nil. The lifetime is cut to the authority's own end.
func (a *Authority) Issue(template *x509.Certificate, public crypto.PublicKey) ([]byte, error) {
	t := *template
	if t.SerialNumber == nil {
		serial, err := newSerial()
		if err != nil {
			return nil, err
		}
		t.SerialNumber = serial
	}
	if t.NotAfter.After(a.Certificate.NotAfter) {
		t.NotAfter = a.Certificate.NotAfter
	}
	der, err := x509.CreateCertificate(rand.Reader, &t, a.Certificate, public, a.Key)
	if err != nil {
		return nil, fmt.Errorf("signing a certificate for %q by %q: %w", t.Subject.CommonName, a.Certificate.Subject.CommonName, err)
	}
	return der, nil
}

// PEM is the authority's certificate as others are given it.
func (a *Authority) PEM() []byte { return certificatePEM(a.Certificate.Raw) }

// CertificateFile is the path of the certificate of one of the set's authorities.
func (s *Set) CertificateFile(a *Authority) string {
	for name, authority := range map[string]*Authority{hubCA: s.Hub, usersCA: s.Users, agentsCA: s.Agents, frontProxyCA: s.FrontProxy} {
		if authority == a {
			return filepath.Join(s.Dir, name+".crt")
		}
	}
	return ""
}

// ServiceAccountKeyFile is the path of the key that signs service account tokens.
func (s *Set) ServiceAccountKeyFile() string { return filepath.Join(s.Dir, serviceAccountKey) }

// create makes what is missing, under the directory's lock. The hub authority comes last: its
// presence says that the set is complete.
func create(dir string, now time.Time) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("making the PKI directory: %w", err)
	}
	unlock, err := lock(dir)
	if err != nil {
		return err
	}
	defer unlock()
	if complete, err := exists(filepath.Join(dir, hubCA+".crt")); err != nil || complete {
		return err
	}
	if err := createSecret(filepath.Join(dir, encryptionKey)); err != nil {
		return err
	}
	if _, err := loadOrCreateKey(filepath.Join(dir, serviceAccountKey)); err != nil {
		return err
	}
	for _, authority := range []struct{ file, commonName string }{
		{usersCA, "windlass users"},
		{agentsCA, "windlass agents"},
		{frontProxyCA, "windlass front proxy"},
		{hubCA, "windlass hub"},
	} {
		if err := createAuthority(dir, authority.file, authority.commonName, now); err != nil {
			return err
		}
	}
	return nil
}

// createAuthority makes the key first and the certificate second, so that a start which was cut off
// in between goes on with the same key.
func createAuthority(dir, name, commonName string, now time.Time) error {
	certificateFile := filepath.Join(dir, name+".crt")
	if done, err := exists(certificateFile); err != nil || done {
		return err
	}
	key, err := loadOrCreateKey(filepath.Join(dir, name+".key"))
	if err != nil {
		return err
	}
	serial, err := newSerial()
	if err != nil {
		return err
	}
	template := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: commonName},
		NotBefore:             now.Add(-backdate),
		NotAfter:              now.Add(authorityLifetime),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign | x509.KeyUsageDigitalSignature,
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return fmt.Errorf("making the authority %q: %w", commonName, err)
	}
	return writeNew(certificateFile, certificatePEM(der))
}

func createSecret(path string) error {
	if done, err := exists(path); err != nil || done {
		return err
	}
	secret := make([]byte, encryptionKeySize)
	if _, err := rand.Read(secret); err != nil {
		return fmt.Errorf("making the encryption key: %w", err)
	}
	return writeNew(path, []byte(base64.StdEncoding.EncodeToString(secret)+"\n"))
}

func loadOrCreateKey(path string) (crypto.Signer, error) {
	if done, err := exists(path); err != nil {
		return nil, err
	} else if done {
		return loadKey(path)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making the key %s: %w", path, err)
	}
	encoded, err := keyPEM(key)
	if err != nil {
		return nil, err
	}
	return key, writeNew(path, encoded)
}

func load(dir string, now time.Time) (*Set, error) {
	s := &Set{Dir: dir, Derived: dir}
	for name, target := range map[string]**Authority{hubCA: &s.Hub, usersCA: &s.Users, agentsCA: &s.Agents, frontProxyCA: &s.FrontProxy} {
		authority, err := loadAuthority(dir, name, now)
		if err != nil {
			return nil, err
		}
		*target = authority
	}
	var err error
	if s.ServiceAccountKey, err = loadKey(filepath.Join(dir, serviceAccountKey)); err != nil {
		return nil, err
	}
	if s.EncryptionKey, err = loadSecret(filepath.Join(dir, encryptionKey)); err != nil {
		return nil, err
	}
	return s, nil
}

func loadAuthority(dir, name string, now time.Time) (*Authority, error) {
	certificateFile, keyFile := filepath.Join(dir, name+".crt"), filepath.Join(dir, name+".key")
	certificate, err := loadCertificate(certificateFile)
	if err != nil {
		return nil, err
	}
	key, err := loadKey(keyFile)
	if err != nil {
		return nil, err
	}
	if !samePublicKey(certificate.PublicKey, key.Public()) {
		return nil, fmt.Errorf("%s does not belong to %s: the public keys differ; restore both from the same backup", keyFile, certificateFile)
	}
	if !certificate.IsCA {
		return nil, fmt.Errorf("%s is not the certificate of an authority", certificateFile)
	}
	if now.After(certificate.NotAfter) {
		return nil, fmt.Errorf("%s expired on %s", certificateFile, certificate.NotAfter.UTC().Format(time.DateOnly))
	}
	if now.Before(certificate.NotBefore) {
		return nil, fmt.Errorf("%s is valid only from %s: is this machine's clock right?", certificateFile, certificate.NotBefore.UTC().Format(time.RFC3339))
	}
	return &Authority{Certificate: certificate, Key: key}, nil
}

func loadCertificate(path string) (*x509.Certificate, error) {
	block, err := loadPEM(path, "CERTIFICATE")
	if err != nil {
		return nil, err
	}
	certificate, err := x509.ParseCertificate(block)
	if err != nil {
		return nil, fmt.Errorf("reading the certificate %s: %w", path, err)
	}
	return certificate, nil
}

func loadKey(path string) (crypto.Signer, error) {
	data, err := readFile(path)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(data)
	if block == nil {
		return nil, fmt.Errorf("%s holds no PEM block", path)
	}
	var parsed any
	switch block.Type {
	case "EC PRIVATE KEY":
		parsed, err = x509.ParseECPrivateKey(block.Bytes)
	case "RSA PRIVATE KEY":
		parsed, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	case "PRIVATE KEY":
		parsed, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	default:
		err = fmt.Errorf("its PEM block is %q and not a private key", block.Type)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the key %s: %w", path, err)
	}
	key, ok := parsed.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("reading the key %s: a %T cannot sign", path, parsed)
	}
	return key, nil
}

func loadSecret(path string) ([]byte, error) {
	data, err := readFile(path)
	if err != nil {
		return nil, err
	}
	secret, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(data)))
	if err != nil {
		return nil, fmt.Errorf("reading the encryption key %s: %w", path, err)
	}
	if len(secret) != encryptionKeySize {
		return nil, fmt.Errorf("the encryption key %s has %d bytes, not %d", path, len(secret), encryptionKeySize)
	}
	return secret, nil
}

func loadPEM(path, kind string) ([]byte, error) {
	data, err := readFile(path)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(data)
	if block == nil || block.Type != kind {
		return nil, fmt.Errorf("%s holds no PEM block %q", path, kind)
	}
	return block.Bytes, nil
}

func readFile(path string) ([]byte, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s is missing from the PKI directory although the directory is in use; restore it from a backup", path)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the PKI directory: %w", err)
	}
	return data, nil
}

// writeNew creates path with content, complete or not at all, and never replaces a file that is
// there already.
func writeNew(path string, content []byte) error {
	temporary, err := writeTemporary(path, content)
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(temporary) }()
	if err := os.Link(temporary, path); err != nil {
		return fmt.Errorf("creating %s: %w", path, err)
	}
	return syncDir(filepath.Dir(path))
}

// replace puts content at path, complete or not at all.
func replace(path string, content []byte) error {
	temporary, err := writeTemporary(path, content)
	if err != nil {
		return err
	}
	if err := os.Rename(temporary, path); err != nil {
		_ = os.Remove(temporary)
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return syncDir(filepath.Dir(path))
}

// WriteFile puts content at path with mode 0600 in one step: a reader sees the old content or the
// new, never a part. A file that already has this content is left as it is.
func WriteFile(path string, content []byte) error {
	if present, err := os.ReadFile(path); err == nil && bytes.Equal(present, content) {
		return nil
	}
	return replace(path, content)
}

// writeTemporary leaves a synced file of mode 0600 beside path.
func writeTemporary(path string, content []byte) (string, error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return "", fmt.Errorf("creating %s: %w", path, err)
	}
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		_ = os.Remove(f.Name())
		return "", fmt.Errorf("writing %s: %w", path, err)
	}
	return f.Name(), nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("syncing %s: %w", dir, err)
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("syncing %s: %w", dir, err)
	}
	return nil
}

// lock waits until this process alone may write to the directory.
func lock(dir string) (unlock func(), err error) {
	path := filepath.Join(dir, lockFile)
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("writing to the PKI directory: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("locking %s: %w", path, err)
	}
	return func() { _ = f.Close() }, nil
}

func exists(path string) (bool, error) {
	_, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("reading the PKI directory: %w", err)
	}
	return true, nil
}

func samePublicKey(a, b crypto.PublicKey) bool {
	comparable, ok := a.(interface{ Equal(crypto.PublicKey) bool })
	return ok && comparable.Equal(b)
}

func certificatePEM(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// keyPEM writes keys in the SEC 1 form when it can: the API server's loader of service account
// keys and every TLS stack read it.
func keyPEM(key crypto.Signer) ([]byte, error) {
	if ec, ok := key.(*ecdsa.PrivateKey); ok {
		der, err := x509.MarshalECPrivateKey(ec)
		if err != nil {
			return nil, fmt.Errorf("encoding a key: %w", err)
		}
		return pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), nil
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encoding a key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}
