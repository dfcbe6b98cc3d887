package apply

import (
	"context"
	"log/slog"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	"windlass.dev/windlass/agent/member"
	"windlass.dev/windlass/agent/observe"
	"windlass.dev/windlass/pkg/manifest"
)

// memberThat answers as its functions do, whatever the resource and the namespace.
type memberThat struct {
	dynamic.NamespaceableResourceInterface
	get    func(name string) (*unstructured.Unstructured, error)
	delete func(name string) error
	patch  func(name string, patch types.PatchType, data []byte) (*unstructured.Unstructured, error)
}

func (m memberThat) Resource(schema.GroupVersionResource) dynamic.NamespaceableResourceInterface {
	return m
}
func (m memberThat) Namespace(string) dynamic.ResourceInterface { return m }
func (m memberThat) Get(_ context.Context, name string, _ metav1.GetOptions, _ ...string) (*unstructured.Unstructured, error) {
	return m.get(name)
}
func (m memberThat) Delete(_ context.Context, name string, _ metav1.DeleteOptions, _ ...string) error {
	return m.delete(name)
}
func (m memberThat) Patch(_ context.Context, name string, patch types.PatchType, data []byte, _ metav1.PatchOptions, _ ...string) (*unstructured.Unstructured, error) {
	return m.patch(name, patch, data)
}

// everyKind is served, as a resource with objects in namespaces.
type everyKind struct {
	lookup     func(schema.GroupVersionKind) error // nil for none that fails
	schema     *manifest.Schema
	changed    func()
	distrusted []schema.GroupVersionKind
}

func (k *everyKind) Lookup(_ context.Context, kind schema.GroupVersionKind) (member.Resource, error) {
	if k.lookup != nil {
		if err := k.lookup(kind); err != nil {
			return member.Resource{}, err
		}
	}
	return member.Resource{GroupVersionResource: kind.GroupVersion().WithResource("things"), Namespaced: true}, nil
}
func (k *everyKind) Distrust(kind schema.GroupVersionKind) { k.distrusted = append(k.distrusted, kind) }
func (k *everyKind) Schema(context.Context, schema.GroupVersionKind) (*manifest.Schema, error) {
	return k.schema, nil
}
func (k *everyKind) OnChange(f func()) { k.changed = f }

// notedObserver writes down what it is told.
type notedObserver struct {
	Observer
	tracked    []string
	said       observe.WorkState
	autoscaled func() bool
}

func (o *notedObserver) Track(key string, _ observe.Tracked)               { o.tracked = append(o.tracked, key) }
func (o *notedObserver) SetWork(s observe.WorkState)                       { o.said = s }
func (o *notedObserver) Seen(manifest.ID, *unstructured.Unstructured)      {}
func (o *notedObserver) Leaving(string)                                    {}
func (o *notedObserver) Removed(string, string)                            {}
func (o *notedObserver) Autoscaled(object *unstructured.Unstructured) bool { return o.autoscaled() }

// engineFor is an engine that nobody runs.
func engineFor(t *testing.T, kinds Kinds, client dynamic.Interface, held State) (*Engine, *notedObserver) {
	t.Helper()
	e, err := New(Config{
		Client: client, State: held, Contents: struct{ Contents }{}, HubID: "h", WorkNamespace: "karmada-es-m1",
		Now: time.Now, Logger: slog.New(slog.DiscardHandler), Kinds: kinds,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.queue.ShutDown)
	observer := &notedObserver{autoscaled: func() bool { return false }}
	e.Observe(observer)
	return e, observer
}
