package identity

import (
	"bytes"
	"crypto/rand"
	"crypto/x509"
	"encoding/asn1"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"

	clusterv1alpha1 "windlass.dev/windlass/api/cluster/v1alpha1"
)

// TrustDomain is the authority part of every identity.
const TrustDomain = "windlass.dev"

const clusterPathPrefix = "/cluster/"

// clusterIDPattern is narrow, so that an id is written in one way only: no case, no escapes.
var clusterIDPattern = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

// NewClusterID makes the identity of a cluster that joins for the first time: 128 random bits in hex.
func NewClusterID() string {
	random := make([]byte, 16)
	// Read never fails on the platforms Go supports: it ends the program instead.
	_, _ = rand.Read(random)
	return hex.EncodeToString(random)
}

// ValidateClusterName says why name cannot be a MemberCluster's name.
func ValidateClusterName(name string) error {
	if name == "" {
		return errors.New("the cluster name is empty")
	}
	if len(name) > clusterv1alpha1.MaxClusterNameLength {
		return fmt.Errorf("the cluster name %q has %d characters; at most %d are allowed", shorten(name), len(name), clusterv1alpha1.MaxClusterNameLength)
	}
	if problems := validation.IsDNS1123Label(name); len(problems) > 0 {
		return fmt.Errorf("the cluster name %q is not valid: %s", name, problems[0])
	}
	return nil
}

// ValidateClusterLabel says why an agent cannot give its cluster a label. Those of the hub's own are the
// hub's to set.
func ValidateClusterLabel(key, value string) error {
	if problems := validation.IsQualifiedName(key); len(problems) > 0 {
		return fmt.Errorf("the key %.63q: %s", key, problems[0])
	}
	if problems := validation.IsValidLabelValue(value); len(problems) > 0 {
		return fmt.Errorf("the value of %q: %s", key, problems[0])
	}
	if prefix, _, ok := strings.Cut(key, "/"); ok {
		for _, reserved := range []string{"karmada.io", "windlass.dev"} {
			if prefix == reserved || strings.HasSuffix(prefix, "."+reserved) {
				return fmt.Errorf("%q is reserved: only the hub sets labels under %s", key, reserved)
			}
		}
	}
	return nil
}

// ClusterURI is the name of a cluster's agent in its certificate: spiffe://windlass.dev/cluster/<id>.
func ClusterURI(id string) *url.URL {
	return &url.URL{Scheme: "spiffe", Host: TrustDomain, Path: clusterPathPrefix + id}
}

// ClusterIDFromCertificate reads the cluster's id from an agent's certificate. The certificate must
// have exactly one subject alternative name, and that must be a ClusterURI byte for byte as it was
// issued: no other spelling, prefix, port, query or second name is taken for the same. The subject
// is not looked at.
func ClusterIDFromCertificate(certificate *x509.Certificate) (string, error) {
	uri, err := onlyURI(certificate)
	if err != nil {
		return "", err
	}
	id, ok := strings.CutPrefix(uri, "spiffe://"+TrustDomain+clusterPathPrefix)
	if !ok || !clusterIDPattern.MatchString(id) {
		return "", fmt.Errorf("the certificate's name %q is not that of a cluster", shorten(uri))
	}
	return id, nil
}

var (
	subjectAltName = asn1.ObjectIdentifier{2, 5, 29, 17}
	errNoURI       = errors.New("the certificate does not have exactly one URI as its subject alternative name")
)

// uriTag is the context-specific tag of a URI among general names (RFC 5280, 4.2.1.6).
const uriTag = 6

// onlyURI reads the extension itself: the parsed url.URL no longer shows how the name was spelled.
func onlyURI(certificate *x509.Certificate) (string, error) {
	var extension []byte
	for _, e := range certificate.Extensions {
		if e.Id.Equal(subjectAltName) {
			if extension != nil {
				return "", errNoURI
			}
			extension = e.Value
		}
	}
	var names []asn1.RawValue
	if rest, err := asn1.Unmarshal(extension, &names); err != nil || len(rest) != 0 || len(names) != 1 {
		return "", errNoURI
	}
	name := names[0]
	if name.Class != asn1.ClassContextSpecific || name.Tag != uriTag || name.IsCompound || bytes.IndexByte(name.Bytes, 0) >= 0 {
		return "", errNoURI
	}
	return string(name.Bytes), nil
}

// shorten keeps what a stranger sent from filling a message.
func shorten(s string) string {
	const limit = 100
	if len(s) > limit {
		return s[:limit] + "…"
	}
	return s
}
