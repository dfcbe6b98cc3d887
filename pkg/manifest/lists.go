package manifest

import (
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// listKeys are the fields that tell the elements of a list apart, for the lists of Kubernetes' own
// kinds, by the name of the list's field. The first whose fields the elements have is taken.
var listKeys = map[string][][]string{
	"containers":                {{"name"}},
	"initContainers":            {{"name"}},
	"ephemeralContainers":       {{"name"}},
	"volumes":                   {{"name"}},
	"env":                       {{"name"}},
	"imagePullSecrets":          {{"name"}},
	"secrets":                   {{"name"}},
	"webhooks":                  {{"name"}},
	"volumeMounts":              {{"mountPath"}},
	"volumeDevices":             {{"devicePath"}},
	"ports":                     {{"containerPort", "protocol"}},
	"hostAliases":               {{"ip"}},
	"topologySpreadConstraints": {{"topologyKey", "whenUnsatisfiable"}},
	"ownerReferences":           {{"uid"}},
	"schedulingGates":           {{"name"}},
	"resourceClaims":            {{"name"}},
	"claims":                    {{"name"}},
	"matchConditions":           {{"name"}},
}

// defaults of key fields: an element that lacks such a field has the default.
var keyDefaults = map[string]string{"protocol": "TCP"}

// A Service's ports are told apart by other fields than a container's; those of other kinds, such
// as a NetworkPolicy's, by none.
var servicePortKeys = [][]string{{"port", "protocol"}}

// kindOf is what has to be known of an object's kind to find the keys of its lists.
type kindOf struct{ builtIn, service bool }

func newKindOf(object *unstructured.Unstructured) kindOf {
	kind := object.GroupVersionKind()
	return kindOf{builtIn: isBuiltIn(kind.Group), service: kind.Group == "" && kind.Kind == "Service"}
}

// keysOf returns the fields that tell the elements of a list apart; nil when the list is one value
// as a whole, or an element lacks them.
func (k kindOf) keysOf(field string, list []any) []string {
	switch {
	case !k.builtIn:
		return nil
	case k.service && field == "ports":
		return keysFor(servicePortKeys, list)
	}
	return keysFor(listKeys[field], list)
}

func keysFor(candidates [][]string, list []any) []string {
	for _, keys := range candidates {
		if allHave(list, keys) {
			return keys
		}
	}
	return nil
}

func allHave(list []any, keys []string) bool {
	for _, element := range list {
		object, ok := element.(map[string]any)
		if !ok {
			return false
		}
		for _, key := range keys {
			if _, exists := object[key]; !exists && keyDefaults[key] == "" {
				return false
			}
		}
	}
	return true
}

// keyOf writes an element's key as name=web or containerPort=80,protocol=TCP.
func keyOf(element any, keys []string) string {
	object, _ := element.(map[string]any)
	parts := make([]string, len(keys))
	for i, key := range keys {
		value, exists := object[key]
		if !exists {
			value = keyDefaults[key]
		}
		parts[i] = fmt.Sprintf("%s=%v", key, value)
	}
	return strings.Join(parts, ",")
}

// indexByKeys maps keys to elements; of elements with one key the last counts.
func indexByKeys(list []any, keys []string) map[string]any {
	index := make(map[string]any, len(list))
	for _, element := range list {
		index[keyOf(element, keys)] = element
	}
	return index
}

// MergeDuplicates removes, in place, list elements whose key another element after them has too,
// which a server-side apply refuses, and returns their paths. The last one wins, as it does when
// such an object is created. The keys of lists are known for Kubernetes' own kinds, and for others
// when a schema is given; schema may be nil.
func MergeDuplicates(object *unstructured.Unstructured, schema *Schema) []string {
	m := merger{kindOf: newKindOf(object)}
	m.walk("", "", object.Object, schema)
	return m.merged
}

type merger struct {
	kindOf
	merged []string
}

// walk returns the value without duplicates.
func (m *merger) walk(path, field string, value any, schema *Schema) any {
	switch v := value.(type) {
	case map[string]any:
		for _, key := range sortedKeys(v) {
			v[key] = m.walk(join(path, key), key, v[key], schema.field(key))
		}
	case []any:
		v = m.mergeList(path, v, m.keys(field, schema, v))
		for i := range v {
			v[i] = m.walk(fmt.Sprintf("%s[%d]", path, i), "", v[i], schema.items())
		}
		return v
	}
	return value
}

func (m *merger) keys(field string, schema *Schema, list []any) []string {
	if schema != nil && len(schema.ListKeys) > 0 {
		return keysFor([][]string{schema.ListKeys}, list)
	}
	return m.keysOf(field, list)
}

func (m *merger) mergeList(path string, list []any, keys []string) []any {
	if keys == nil || len(list) < 2 {
		return list
	}
	last := make(map[string]int, len(list))
	for i, element := range list {
		last[keyOf(element, keys)] = i
	}
	if len(last) == len(list) {
		return list
	}
	kept := make([]any, 0, len(last))
	for i, element := range list {
		key := keyOf(element, keys)
		if last[key] != i {
			m.merged = append(m.merged, path+"["+key+"]")
			continue
		}
		kept = append(kept, element)
	}
	return kept
}
