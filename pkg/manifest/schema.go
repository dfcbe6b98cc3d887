package manifest

import (
	"encoding/json"
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Schema is what a member knows of a kind: the names of its fields. A nil Schema knows nothing and
// allows everything.
type Schema struct {
	// Fields of an object; nil when the value is none, or when its fields are not known.
	Fields map[string]*Schema
	// Items of a list.
	Items *Schema
	// Values of a map with free keys.
	Values *Schema
	// Open is true when fields that are not named are kept.
	Open bool
	// ListKeys tell the elements of a list apart.
	ListKeys []string
}

func (s *Schema) field(name string) *Schema {
	if s == nil {
		return nil
	}
	if s.Fields != nil {
		if known, exists := s.Fields[name]; exists {
			return known
		}
	}
	return s.Values
}

func (s *Schema) items() *Schema {
	if s == nil {
		return nil
	}
	return s.Items
}

// DropUnknown removes, in place, the fields that the schema does not know, and returns their paths.
func DropUnknown(object *unstructured.Unstructured, schema *Schema) []string {
	d := dropper{}
	for _, key := range sortedKeys(object.Object) {
		switch key {
		case "apiVersion", "kind", "metadata":
			continue // every kind has them, and the API server is the judge of what they hold
		}
		d.field("", object.Object, key, schema)
	}
	return d.dropped
}

type dropper struct{ dropped []string }

func (d *dropper) field(path string, object map[string]any, key string, schema *Schema) {
	if schema == nil {
		return
	}
	path = join(path, key)
	if schema.Fields != nil && schema.Values == nil && !schema.Open {
		if _, known := schema.Fields[key]; !known {
			delete(object, key)
			d.dropped = append(d.dropped, path)
			return
		}
	}
	d.value(path, object[key], schema.field(key))
}

func (d *dropper) value(path string, value any, schema *Schema) {
	if schema == nil {
		return
	}
	switch v := value.(type) {
	case map[string]any:
		for _, key := range sortedKeys(v) {
			d.field(path, v, key, schema)
		}
	case []any:
		for i, element := range v {
			d.value(fmt.Sprintf("%s[%d]", path, i), element, schema.Items)
		}
	}
}

// ParseSchema reads the schema of a kind from an OpenAPI v3 document, as an API server serves one
// for each group and version. It returns nil, and no error, when the document does not hold the kind.
func ParseSchema(document []byte, kind schema.GroupVersionKind) (*Schema, error) {
	var parsed struct {
		Components struct {
			Schemas map[string]*openAPISchema `json:"schemas"`
		} `json:"components"`
	}
	if err := json.Unmarshal(document, &parsed); err != nil {
		return nil, fmt.Errorf("reading the OpenAPI document of %s: %w", kind.GroupVersion(), err)
	}
	reader := schemaReader{definitions: parsed.Components.Schemas, known: map[string]*Schema{}}
	for name, definition := range parsed.Components.Schemas {
		for _, described := range definition.Kinds {
			if described == openAPIKind(kind) {
				return reader.definition(name), nil
			}
		}
	}
	return nil, nil
}

type openAPIKind struct {
	Group   string `json:"group"`
	Version string `json:"version"`
	Kind    string `json:"kind"`
}

type openAPISchema struct {
	Ref                   string                    `json:"$ref"`
	AllOf                 []*openAPISchema          `json:"allOf"`
	Properties            map[string]*openAPISchema `json:"properties"`
	Items                 *openAPISchema            `json:"items"`
	AdditionalProperties  json.RawMessage           `json:"additionalProperties"`
	PreserveUnknownFields bool                      `json:"x-kubernetes-preserve-unknown-fields"`
	EmbeddedResource      bool                      `json:"x-kubernetes-embedded-resource"`
	ListKeys              []string                  `json:"x-kubernetes-list-map-keys"`
	Kinds                 []openAPIKind             `json:"x-kubernetes-group-version-kind"`
}

type schemaReader struct {
	definitions map[string]*openAPISchema
	// known holds what is read or being read: definitions may contain themselves.
	known map[string]*Schema
}

func (r *schemaReader) definition(name string) *Schema {
	if read, exists := r.known[name]; exists {
		return read
	}
	definition, exists := r.definitions[name]
	if !exists {
		return nil
	}
	s := &Schema{}
	r.known[name] = s
	r.fill(s, definition)
	return s
}

func (r *schemaReader) read(from *openAPISchema) *Schema {
	if from == nil {
		return nil
	}
	// A reference stands alone or, with a description or default beside it, in an allOf of one.
	ref := from.Ref
	if ref == "" && len(from.AllOf) == 1 {
		ref = from.AllOf[0].Ref
	}
	if ref != "" {
		return r.definition(strings.TrimPrefix(ref, "#/components/schemas/"))
	}
	s := &Schema{}
	r.fill(s, from)
	return s
}

func (r *schemaReader) fill(s *Schema, from *openAPISchema) {
	s.ListKeys = from.ListKeys
	s.Open = from.PreserveUnknownFields || from.EmbeddedResource
	s.Items = r.read(from.Items)
	if len(from.Properties) > 0 {
		s.Fields = make(map[string]*Schema, len(from.Properties))
		for name, property := range from.Properties {
			s.Fields[name] = r.read(property)
		}
	}
	if len(from.AdditionalProperties) > 0 {
		var values openAPISchema
		if json.Unmarshal(from.AdditionalProperties, &values) == nil {
			s.Values = r.read(&values)
		} else {
			s.Open = true // additionalProperties: true
		}
	}
}
