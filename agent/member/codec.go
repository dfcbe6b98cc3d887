package member

import (
	"fmt"
	"net/http"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/json"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
)

// newDynamic makes client-go's dynamic client with decoders that read an object once. Its own look for the kind, for the
// items of a list and for the value, each time from the beginning: of an event of a watch they read every byte fourteen
// times. Events are most of what an agent reads, and of all of them it keeps a few fields.
func newDynamic(config *rest.Config, client *http.Client) (dynamic.Interface, error) {
	config = dynamic.ConfigFor(config)
	config.GroupVersion = nil
	config.APIPath = "/unused" // every request has its own
	config.NegotiatedSerializer = readsOnce{config.NegotiatedSerializer}
	unversioned, err := rest.UnversionedRESTClientForConfigAndClient(config, client)
	if err != nil {
		return nil, fmt.Errorf("making a client for objects of the member's API server: %w", err)
	}
	return dynamic.New(unversioned), nil
}

// readsOnce are the dynamic client's own serializers, but for how JSON is decoded.
type readsOnce struct{ runtime.NegotiatedSerializer }

// SupportedMediaTypes are those of the dynamic client.
func (s readsOnce) SupportedMediaTypes() []runtime.SerializerInfo {
	// The dynamic client gives everybody the same list.
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
