package identity

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var start = time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)

// selfSigned issues the template for its own key.
func selfSigned(t testing.TB, template *x509.Certificate) *x509.Certificate {
	t.Helper()
	key, err := NewKey()
	if err != nil {
		t.Fatal(err)
	}
	if template.SerialNumber == nil {
		template.SerialNumber = big.NewInt(7)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return certificate
}

// withNames makes a certificate whose subject alternative names are these general names, in raw form.
func withNames(t testing.TB, names ...asn1.RawValue) *x509.Certificate {
	t.Helper()
	value, err := asn1.Marshal(names)
	if err != nil {
		t.Fatal(err)
	}
	return selfSigned(t, &x509.Certificate{
		NotBefore: start, NotAfter: start.Add(time.Hour),
		ExtraExtensions: []pkix.Extension{{Id: subjectAltName, Value: value}},
	})
}

func uri(text string) asn1.RawValue {
	return asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: uriTag, Bytes: []byte(text)}
}

func TestAnAgentCertificateCarriesTheClusterAndNothingElse(t *testing.T) {
	id := NewClusterID()
	certificate := selfSigned(t, AgentCertificate(id, "edge-1", start))
	got, err := ClusterIDFromCertificate(certificate)
	if err != nil || got != id {
		t.Fatalf("id %q, %v; want %q", got, err, id)
	}
	if certificate.IsCA || certificate.KeyUsage != x509.KeyUsageDigitalSignature {
		t.Error("an agent's certificate must sign nothing but its own handshakes")
	}
	if diff := cmp.Diff([]x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, certificate.ExtKeyUsage); diff != "" {
		t.Errorf("a client's certificate must not serve: %s", diff)
	}
	if got := certificate.NotBefore; !got.Equal(start.Add(-5 * time.Minute)) {
		t.Errorf("it begins %s, not five minutes before %s", got, start)
	}
	if got := certificate.NotAfter; !got.Equal(start.Add(90 * 24 * time.Hour)) {
		t.Errorf("it ends %s, not 90 days after %s", got, start)
	}
	if got := RenewAt(certificate); !got.Equal(start.Add(60 * 24 * time.Hour)) {
		t.Errorf("it is renewed %s, not on day 60", got)
	}
	if SerialText(certificate) != "7" {
		t.Errorf("serial %q", SerialText(certificate))
	}
}

func TestALifeThatWasCutShortIsRenewedInItsLastThird(t *testing.T) {
	template := AgentCertificate("a", "edge-1", start)
	template.NotAfter = start.Add(30 * time.Hour)
	if got := RenewAt(selfSigned(t, template)); !got.Equal(start.Add(20 * time.Hour)) {
		t.Errorf("renewed at %s", got)
	}
}

func TestOnlyTheExactNameIsACluster(t *testing.T) {
	const good = "spiffe://windlass.dev/cluster/abc"
	if id, err := ClusterIDFromCertificate(withNames(t, uri(good))); err != nil || id != "abc" {
		t.Fatalf("the good name gave %q, %v", id, err)
	}
	for _, c := range []struct {
		reason      string
		certificate *x509.Certificate
	}{
		{"no name at all", selfSigned(t, &x509.Certificate{NotBefore: start, NotAfter: start.Add(time.Hour), Subject: pkix.Name{CommonName: good}})},
		{"two names, the first good", withNames(t, uri(good), uri("spiffe://windlass.dev/cluster/other"))},
		{"the same name twice", withNames(t, uri(good), uri(good))},
		{"a DNS name beside it", selfSigned(t, &x509.Certificate{NotBefore: start, NotAfter: start.Add(time.Hour), URIs: []*url.URL{ClusterURI("abc")}, DNSNames: []string{"abc"}})},
		{"an address beside it", selfSigned(t, &x509.Certificate{NotBefore: start, NotAfter: start.Add(time.Hour), URIs: []*url.URL{ClusterURI("abc")}, IPAddresses: []net.IP{{1, 2, 3, 4}}})},
		{"the name as a DNS name", withNames(t, asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 2, Bytes: []byte("windlass.dev")})},
		{"another trust domain", withNames(t, uri("spiffe://windlass.example/cluster/abc"))},
		{"a trust domain that ours is a prefix of", withNames(t, uri("spiffe://windlass.dev.example/cluster/abc"))},
		{"a port", withNames(t, uri("spiffe://windlass.dev:443/cluster/abc"))},
		{"a user", withNames(t, uri("spiffe://x@windlass.dev/cluster/abc"))},
		{"an upper-case scheme", withNames(t, uri("SPIFFE://windlass.dev/cluster/abc"))},
		{"an upper-case domain", withNames(t, uri("spiffe://WINDLASS.dev/cluster/abc"))},
		{"an upper-case id", withNames(t, uri("spiffe://windlass.dev/cluster/ABC"))},
		{"a percent-encoded id", withNames(t, uri("spiffe://windlass.dev/cluster/%61bc"))},
		{"a deeper path", withNames(t, uri(good+"/agent"))},
		{"a trailing slash", withNames(t, uri(good+"/"))},
		{"a trailing dot", withNames(t, uri(good+"."))},
		{"a doubled slash", withNames(t, uri("spiffe://windlass.dev//cluster/abc"))},
		{"a climbing path", withNames(t, uri("spiffe://windlass.dev/cluster/x/../abc"))},
		{"a query", withNames(t, uri(good+"?x"))},
		{"a fragment", withNames(t, uri(good+"#x"))},
		{"no id", withNames(t, uri("spiffe://windlass.dev/cluster/"))},
		{"another kind", withNames(t, uri("spiffe://windlass.dev/hub/abc"))},
		{"a very long id", withNames(t, uri("spiffe://windlass.dev/cluster/"+strings.Repeat("a", 64)))},
	} {
		t.Run(c.reason, func(t *testing.T) {
			if id, err := ClusterIDFromCertificate(c.certificate); err == nil {
				t.Errorf("it was taken for cluster %q", id)
			}
		})
	}
}

func TestNamesOfClusters(t *testing.T) {
	for _, c := range []struct {
		reason, name string
		valid        bool
	}{
		{"a plain one", "edge-1", true},
		{"the longest", strings.Repeat("a", 48), true},
		{"too long for its namespace", strings.Repeat("a", 49), false},
		{"empty", "", false},
		{"upper case", "Edge", false},
		{"a dot, which a namespace cannot have", "edge.eu", false},
		{"a look-alike letter", "еdge", false},
		{"a path", "../x", false},
	} {
		t.Run(c.reason, func(t *testing.T) {
			if err := ValidateClusterName(c.name); (err == nil) != c.valid {
				t.Errorf("%q: %v", c.name, err)
			}
		})
	}
}

func TestLabelsOfAClusterAreThoseThatTheHubDoesNotSetItself(t *testing.T) {
	for _, c := range []struct{ reason, key, value, says string }{
		{"a word", "tier", "edge", ""},
		{"a prefix of the user's", "example.com/tier", "edge", ""},
		{"one that only looks like the hub's", "notkarmada.io/tier", "edge", ""},
		{"the hub's", "karmada.io/x", "y", "reserved"},
		{"below the hub's", "cluster.windlass.dev/x", "y", "reserved"},
		{"no key", "a b", "c", "the key"},
		{"no value", "a", "b c", "the value of"},
	} {
		err := ValidateClusterLabel(c.key, c.value)
		if (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %q", c.reason, err, c.says)
		}
	}
}

func TestARequestGivesItsKeyOnly(t *testing.T) {
	key, err := NewKey()
	if err != nil {
		t.Fatal(err)
	}
	der, err := NewCertificateRequest(key)
	if err != nil {
		t.Fatal(err)
	}
	public, err := PublicKeyFromRequest(der)
	if err != nil {
		t.Fatal(err)
	}
	if !public.Equal(key.Public()) {
		t.Error("another key came out")
	}
	a, err := PublicKeyHash(public)
	if err != nil {
		t.Fatal(err)
	}
	b, err := PublicKeyHash(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	if a != b || len(a) != 64 {
		t.Errorf("hashes %q and %q", a, b)
	}
}

func TestAHostileRequestIsRefused(t *testing.T) {
	request := func(key crypto.Signer, template *x509.CertificateRequest) []byte {
		t.Helper()
		der, err := x509.CreateCertificateRequest(rand.Reader, template, key)
		if err != nil {
			t.Fatal(err)
		}
		return der
	}
	good, err := NewKey()
	if err != nil {
		t.Fatal(err)
	}
	p224, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	forged := request(good, &x509.CertificateRequest{})
	forged[len(forged)-1] ^= 1
	many := &x509.CertificateRequest{}
	for range 400 {
		many.DNSNames = append(many.DNSNames, strings.Repeat("a", 20)+".example")
	}
	for _, c := range []struct {
		reason string
		der    []byte
	}{
		{"nothing", nil},
		{"PEM instead of DER", []byte("-----BEGIN CERTIFICATE REQUEST-----")},
		{"an RSA key", request(rsaKey, &x509.CertificateRequest{})},
		{"an Ed25519 key", request(edKey, &x509.CertificateRequest{})},
		{"a weak curve", request(p224, &x509.CertificateRequest{})},
		{"a signature of somebody else", forged},
		{"bytes after the end", append(request(good, &x509.CertificateRequest{}), 0)},
		{"hundreds of names", request(good, many)},
	} {
		t.Run(c.reason, func(t *testing.T) {
			if _, err := PublicKeyFromRequest(c.der); err == nil {
				t.Error("accepted")
			}
		})
	}
}

func TestOnlyCongestionIsWorthARetry(t *testing.T) {
	for _, c := range []struct {
		code Code
		want bool
	}{
		{CodeTooManyRequests, true}, {CodeUnavailable, true},
		{CodeTokenUsed, false}, {CodeTokenExpired, false}, {CodeClusterRemoved, false}, {Code("FromALaterHub"), false},
	} {
		if got := c.code.Temporary(); got != c.want {
			t.Errorf("%s: %t", c.code, got)
		}
	}
}
