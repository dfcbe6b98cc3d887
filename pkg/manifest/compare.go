package manifest

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Fingerprint stands for what a live object holds at every place that a manifest names.
type Fingerprint [sha256.Size]byte

// FingerprintOf computes the fingerprint of live as desired sees it. Taken of the object that an
// API server answered an apply with, it stays the same as long as nobody changes a field that the
// manifest names, whatever the server made of the manifest by defaults, normalisation or webhooks.
func FingerprintOf(desired, live *unstructured.Unstructured) Fingerprint {
	p := comparison{kindOf: newKindOf(desired)}
	raw, err := json.Marshal(p.project("", desired.Object, live.Object))
	if err != nil {
		panic(fmt.Sprintf("a parsed object cannot be written as JSON: %v", err))
	}
	return sha256.Sum256(raw)
}

// Difference is one place at which a live object is not as its manifest wants it.
type Difference struct {
	Path string
	Want string
	Have string
}

// String writes the difference as people read it.
func (d Difference) String() string { return fmt.Sprintf("%s is %s, want %s", d.Path, d.Have, d.Want) }

// Differences compares a live object with what its manifest names; what only the live object has
// is no difference. Quantities are equal when they mean the same, and an empty value equals a
// missing one. Where it errs it reports a difference too many, so that an apply decides: one that
// changes nothing costs nothing.
func Differences(desired, live *unstructured.Unstructured) []Difference {
	c := comparison{kindOf: newKindOf(desired)}
	c.compareMaps("", desired.Object, live.Object)
	return c.found
}

// isBuiltIn says whether a group is Kubernetes' own: only there lists have keys that are known. Custom resources may be in groups below
// k8s.io, too, and have a dot in theirs.
func isBuiltIn(group string) bool {
	switch group {
	case "admissionregistration.k8s.io", "apiextensions.k8s.io", "apiregistration.k8s.io", "authentication.k8s.io", "authorization.k8s.io",
		"certificates.k8s.io", "coordination.k8s.io", "discovery.k8s.io", "events.k8s.io", "flowcontrol.apiserver.k8s.io",
		"internal.apiserver.k8s.io", "networking.k8s.io", "node.k8s.io", "rbac.authorization.k8s.io", "resource.k8s.io",
		"scheduling.k8s.io", "storage.k8s.io", "storagemigration.k8s.io":
		return true
	}
	return !strings.Contains(group, ".")
}

type comparison struct {
	kindOf
	found []Difference
}

// project returns the part of live that desired names.
func (c *comparison) project(field string, desired, live any) any {
	switch want := desired.(type) {
	case map[string]any:
		have, ok := live.(map[string]any)
		if !ok {
			return live
		}
		part := make(map[string]any, len(want))
		for key, value := range want {
			if other, exists := have[key]; exists {
				part[key] = c.project(key, value, other)
			}
		}
		return part
	case []any:
		have, ok := live.([]any)
		if !ok {
			return live
		}
		return c.projectList(field, want, have)
	}
	return live
}

func (c *comparison) projectList(field string, want, have []any) any {
	if field == "finalizers" {
		return common(want, have)
	}
	if keys := c.keysOf(field, want); keys != nil {
		index := indexByKeys(have, keys)
		part := make([]any, len(want))
		for i, element := range want {
			if other, exists := index[keyOf(element, keys)]; exists {
				part[i] = c.project("", element, other)
			}
		}
		return part
	}
	if len(want) != len(have) {
		return have
	}
	part := make([]any, len(want))
	for i := range want {
		part[i] = c.project("", want[i], have[i])
	}
	return part
}

func common(want, have []any) []any {
	part := []any{}
	for _, w := range want {
		if slices.ContainsFunc(have, func(h any) bool { return reflect.DeepEqual(w, h) }) {
			part = append(part, w)
		}
	}
	return part
}

func (c *comparison) differ(path string, want, have any) {
	c.found = append(c.found, Difference{Path: path, Want: brief(want), Have: brief(have)})
}

func brief(value any) string {
	if value == nil {
		return "missing"
	}
	raw, err := json.Marshal(value)
	if err != nil {
		return fmt.Sprint(value)
	}
	const limit = 80
	if len(raw) > limit {
		return string(raw[:limit]) + "…"
	}
	return string(raw)
}

func (c *comparison) compareMaps(path string, want, have map[string]any) {
	for _, key := range sortedKeys(want) {
		c.compare(join(path, key), key, want[key], have[key])
	}
}

func (c *comparison) compare(path, field string, want, have any) {
	if isEmpty(want) && isEmpty(have) {
		return
	}
	switch w := want.(type) {
	case map[string]any:
		if h, ok := have.(map[string]any); ok {
			c.compareMaps(path, w, h)
			return
		}
		if have == nil && allEmpty(w) {
			return
		}
	case []any:
		if h, ok := have.([]any); ok {
			c.compareLists(path, field, w, h)
			return
		}
	default:
		if sameScalar(path, want, have) {
			return
		}
	}
	c.differ(path, want, have)
}

func (c *comparison) compareLists(path, field string, want, have []any) {
	if field == "finalizers" {
		if len(common(want, have)) != len(want) {
			c.differ(path, want, have)
		}
		return
	}
	if keys := c.keysOf(field, want); keys != nil {
		index := indexByKeys(have, keys)
		for _, element := range want {
			key := keyOf(element, keys)
			c.compare(path+"["+key+"]", "", element, index[key])
		}
		return
	}
	if len(want) != len(have) {
		c.differ(path, want, have)
		return
	}
	for i := range want {
		c.compare(fmt.Sprintf("%s[%d]", path, i), "", want[i], have[i])
	}
}

func sortedKeys(m map[string]any) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// isEmpty says whether a value is one that an API server leaves out or that means nothing.
func isEmpty(value any) bool {
	switch v := value.(type) {
	case nil:
		return true
	case map[string]any:
		return len(v) == 0
	case []any:
		return len(v) == 0
	case string:
		return v == ""
	case bool:
		return !v
	case int64:
		return v == 0
	case float64:
		return v == 0
	}
	return false
}

func allEmpty(m map[string]any) bool {
	for _, value := range m {
		if inner, ok := value.(map[string]any); ok && allEmpty(inner) {
			continue
		}
		if !isEmpty(value) {
			return false
		}
	}
	return true
}

func sameScalar(path string, want, have any) bool {
	if want == have {
		return true
	}
	if w, ok := number(want); ok {
		if h, ok := number(have); ok {
			return w == h
		}
	}
	return isQuantity(path) && sameQuantity(want, have)
}

func number(value any) (float64, bool) {
	switch v := value.(type) {
	case int64:
		return float64(v), true
	case float64:
		return v, true
	}
	return 0, false
}

// quantityFields are the fields below or at which values are quantities. An environment variable
// must not be among them: there "1" and "1.0" are not the same.
var quantityFields = []string{
	"requests", "limits", "hard", "capacity", "allocatable", "podFixed", "sizeLimit", "divisor",
	"averageValue", "min", "max", "default", "defaultRequest", "maxLimitRequestRatio",
}

func isQuantity(path string) bool {
	parts := strings.Split(path, ".")
	for i := max(0, len(parts)-2); i < len(parts); i++ {
		if slices.Contains(quantityFields, parts[i]) {
			return true
		}
	}
	return false
}

func sameQuantity(want, have any) bool {
	w, errWant := resource.ParseQuantity(fmt.Sprint(want))
	h, errHave := resource.ParseQuantity(fmt.Sprint(have))
	return errWant == nil && errHave == nil && w.Cmp(h) == 0
}
