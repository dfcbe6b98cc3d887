// Package decode reads objects without a type, and events of watches, out of JSON.
package decode

import (
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/json"
)

// Once has what is decoded by a dynamic client's serializers read once. Their own look for the kind, for the
// items of a list and for the value, each time from the beginning: of an event of a watch they read every byte fourteen
// times. All but JSON is theirs. They are not changed, and may be used concurrently as before.
func Once(serializers runtime.NegotiatedSerializer) runtime.NegotiatedSerializer {
	return once{serializers}
}

type once struct{ runtime.NegotiatedSerializer }

// SupportedMediaTypes are those of the serializers.
func (s once) SupportedMediaTypes() []runtime.SerializerInfo {
	// They may give everybody the same list, as those of client-go do.
	infos := slices.Clone(s.NegotiatedSerializer.SupportedMediaTypes())
	for i, info := range infos {
		if info.MediaType != runtime.ContentTypeJSON {
			continue
		}
		infos[i].Serializer = objectDecoder{info.Serializer}
		if stream := info.StreamSerializer; stream != nil {
			events := *stream
			events.Serializer = eventDecoder{stream.Serializer}
			infos[i].StreamSerializer = &events
		}
	}
	return infos
}

// objectDecoder decodes an object that is not of a type, and leaves all else to the serializer that it has.
type objectDecoder struct{ runtime.Serializer }

// Decode reads an object into into, which may be nil.
func (d objectDecoder) Decode(data []byte, defaults *schema.GroupVersionKind, into runtime.Object) (runtime.Object, *schema.GroupVersionKind, error) {
	object, ok := into.(*unstructured.Unstructured)
	if into != nil && !ok {
		return d.Serializer.Decode(data, defaults, into)
	}
	content := map[string]any{}
	if err := json.Unmarshal(data, &content); err != nil {
		return nil, nil, err
	}
	read := unstructured.Unstructured{Object: content}
	kind := read.GroupVersionKind()
	_, list := content["items"]
	// What is not simply an object: an answer that says what failed has a type of its own.
	if into == nil && (list || kind.Kind == "Status") || kind.Kind == "" || kind.Version == "" {
		return d.Serializer.Decode(data, defaults, into)
	}
	if object == nil {
		object = &unstructured.Unstructured{}
	}
	object.Object = content
	return object, &kind, nil
}

// eventDecoder decodes what a watch sends: an event, with its object as it came.
type eventDecoder struct{ runtime.Serializer }

// Decode reads an event into into.
func (d eventDecoder) Decode(data []byte, defaults *schema.GroupVersionKind, into runtime.Object) (runtime.Object, *schema.GroupVersionKind, error) {
	event, ok := into.(*metav1.WatchEvent)
	if !ok {
		return d.Serializer.Decode(data, defaults, into)
	}
	if err := json.Unmarshal(data, event); err != nil {
		return nil, nil, err
	}
	kind := metav1.Unversioned.WithKind("WatchEvent")
	return event, &kind, nil
}
