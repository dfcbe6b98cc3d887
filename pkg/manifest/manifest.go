// Package manifest knows what can be said about an object from its JSON alone: who it is, whether
// two states of it are the same, in which order objects are applied, whose it is, which fields a
// member does not know. It is the only place that reads and writes ownership marks.
package manifest

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utiljson "k8s.io/apimachinery/pkg/util/json"
)

// ID names an object of a cluster. The version is no part of it: an object applied as v1 is the
// one that was applied as v1beta1 before.
type ID struct {
	Group     string `json:"group,omitempty"`
	Kind      string `json:"kind"`
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name"`
}

// Object is an ID and the version by which it can be reached.
type Object struct {
	ID
	Version string `json:"version"`
}

// String writes an ID as people do: Deployment.apps shop/web.
func (i ID) String() string {
	kind := i.Kind
	if i.Group != "" {
		kind += "." + i.Group
	}
	if i.Namespace == "" {
		return kind + " " + i.Name
	}
	return kind + " " + i.Namespace + "/" + i.Name
}

// GroupKind returns the kind of the object.
func (i ID) GroupKind() schema.GroupKind { return schema.GroupKind{Group: i.Group, Kind: i.Kind} }

// GroupVersionKind returns the kind by which the object can be reached.
func (o Object) GroupVersionKind() schema.GroupVersionKind {
	return schema.GroupVersionKind{Group: o.Group, Version: o.Version, Kind: o.Kind}
}

// IDOf returns the identity of an object.
func IDOf(object *unstructured.Unstructured) ID { return ObjectOf(object).ID }

// ObjectOf returns the identity and version of an object.
func ObjectOf(object *unstructured.Unstructured) Object {
	gvk := object.GroupVersionKind()
	return Object{
		ID:      ID{Group: gvk.Group, Kind: gvk.Kind, Namespace: object.GetNamespace(), Name: object.GetName()},
		Version: gvk.Version,
	}
}

// Parse reads one manifest. The error names the field that is missing or wrong.
func Parse(raw []byte) (*unstructured.Unstructured, error) {
	object := &unstructured.Unstructured{}
	if err := object.UnmarshalJSON(raw); err != nil {
		return nil, fmt.Errorf("the manifest is not an object in JSON: %w", err)
	}
	if object.IsList() {
		return nil, errors.New("the manifest is a list: every manifest must hold one object")
	}
	group, version, found := strings.Cut(object.GetAPIVersion(), "/")
	if !found {
		group, version = "", group
	}
	switch {
	case version == "" || strings.Contains(version, "/"):
		return nil, fmt.Errorf("apiVersion: %q is not VERSION or GROUP/VERSION", object.GetAPIVersion())
	case found && group == "":
		return nil, fmt.Errorf("apiVersion: %q has an empty group", object.GetAPIVersion())
	case object.GetKind() == "":
		return nil, errors.New("kind: is missing")
	case object.GetName() == "":
		return nil, errors.New("metadata.name: is missing; generateName is not supported in a manifest")
	}
	return object, nil
}

// Objects returns the identities of manifests, in their order, without those that cannot be parsed.
func Objects(manifests [][]byte) []Object {
	objects := make([]Object, 0, len(manifests))
	for _, raw := range manifests {
		object, ok := headOf(raw)
		if !ok {
			parsed, err := Parse(raw)
			if err != nil {
				continue
			}
			object = ObjectOf(parsed)
		}
		objects = append(objects, object)
	}
	return objects
}

// headOf reads who an object is, and skips the rest of it: to decode that costs ten times as much. Whatever is not as usual it
// leaves to Parse. Names of fields are taken letter by letter, as the API server does.
func headOf(raw []byte) (object Object, ok bool) {
	var head struct {
		APIVersion string `json:"apiVersion"`
		Kind       string `json:"kind"`
		Metadata   struct {
			Namespace string `json:"namespace"`
			Name      string `json:"name"`
		} `json:"metadata"`
		Items json.RawMessage `json:"items"`
	}
	if err := utiljson.Unmarshal(raw, &head); err != nil {
		return Object{}, false
	}
	version, err := schema.ParseGroupVersion(head.APIVersion)
	if err != nil || version.Empty() || version.String() != head.APIVersion || head.Kind == "" || head.Metadata.Name == "" || head.Items != nil {
		return Object{}, false
	}
	return Object{
		ID:      ID{Group: version.Group, Kind: head.Kind, Namespace: head.Metadata.Namespace, Name: head.Metadata.Name},
		Version: version.Version,
	}, true
}

// Missing returns what is in before and not in after: what there is to prune.
func Missing(before, after []Object) []Object {
	present := make(map[ID]bool, len(after))
	for _, o := range after {
		present[o.ID] = true
	}
	var missing []Object
	for _, o := range before {
		if !present[o.ID] {
			present[o.ID] = true
			missing = append(missing, o)
		}
	}
	return missing
}

// Union returns everything that is in one of the lists, each object once, with the version of the
// first that names it.
func Union(lists ...[]Object) []Object {
	seen := map[ID]bool{}
	var union []Object
	for _, list := range lists {
		for _, o := range list {
			if !seen[o.ID] {
				seen[o.ID] = true
				union = append(union, o)
			}
		}
	}
	return union
}

// Hash returns the hash of an object's content. It does not depend on the order of keys.
func Hash(object map[string]any) (string, error) {
	// encoding/json writes the keys of a map in order.
	raw, err := json.Marshal(object)
	if err != nil {
		return "", fmt.Errorf("hashing the manifest: %w", err)
	}
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:]), nil
}

// serverFields are the fields of metadata that only an API server fills in.
var serverFields = []string{
	"uid", "resourceVersion", "generation", "creationTimestamp", "deletionTimestamp",
	"deletionGracePeriodSeconds", "managedFields", "selfLink",
}

// Clean takes away what no manifest can ask for: the fields of metadata that an API server fills in.
func Clean(object *unstructured.Unstructured) {
	for _, field := range serverFields {
		unstructured.RemoveNestedField(object.Object, "metadata", field)
	}
}
