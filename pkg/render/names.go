package render

import (
	"crypto/sha256"
	"encoding/base32"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/validation"
)

// hashLength is long enough that nobody finds a second object whose name gets the same hash: 60 bits.
const hashLength = 12

// base32 in lower case has only characters that a DNS name may hold.
var nameEncoding = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// BindingName is the name of a template's binding: `<name>-<kind in lower case>`. Where that is not
// a DNS subdomain, as the names of RBAC objects often aren't, or is too long, it is made one and
// gets a hash.
func BindingName(template *unstructured.Unstructured) string {
	name := template.GetName() + "-" + strings.ToLower(template.GetKind())
	if len(validation.IsDNS1123Subdomain(name)) == 0 {
		return name
	}
	return BindingNameHashed(template)
}

// BindingNameHashed is the name to take when BindingName is held by the binding of another object,
// one of another group, kind, namespace or name. Two objects of two kinds that are spelled the same
// get there. An earlier incarnation of the same object is no reason to take it: wait until that
// binding is gone, or its removal could hit the new copies.
func BindingNameHashed(template *unstructured.Unstructured) string {
	kind := template.GroupVersionKind().GroupKind()
	hash := identityHash(kind.Group, kind.Kind, template.GetNamespace(), template.GetName())
	return withHash(template.GetName()+"-"+strings.ToLower(kind.Kind), hash)
}

// WorkName is the name of a work in its cluster's namespace: `<binding>-<hash of the identity of the
// template>`. Bindings of several namespaces have their works in one.
func WorkName(binding, group, kind, namespace, name string) string {
	return withHash(binding, identityHash(group, kind, namespace, name))
}

// withHash joins a name and a hash to a DNS subdomain, whatever the name is.
func withHash(name, hash string) string {
	name = strings.Map(func(r rune) rune {
		if r == '.' || r == '-' || (r >= 'a' && r <= 'z') || (r >= '0' && r <= '9') {
			return r
		}
		return '-'
	}, strings.ToLower(name))
	longest := validation.DNS1123SubdomainMaxLength - len(hash) - 1
	name = strings.Trim(name[:min(len(name), longest)], "-.")
	joined := name + "-" + hash
	if len(validation.IsDNS1123Subdomain(joined)) > 0 { // such as a..b
		joined = strings.Trim(strings.ReplaceAll(joined, ".", "-"), "-")
	}
	return joined
}

// identityHash separates its parts by a character that none of them can hold.
func identityHash(group, kind, namespace, name string) string {
	sum := sha256.Sum256([]byte(strings.Join([]string{group, kind, namespace, name}, "\x00")))
	return nameEncoding.EncodeToString(sum[:])[:hashLength]
}
