package member

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/tools/cache"

	linkv1 "windlass.dev/windlass/api/link/v1"
	"windlass.dev/windlass/pkg/manifest"
)

// Resource is where objects of a kind are read and written.
type Resource struct {
	schema.GroupVersionResource
	Namespaced bool
	// Own says that its objects can be listed and deleted; others are views of something else.
	Own bool
}

// NotServedError says that the member does not serve a kind.
type NotServedError struct {
	Kind schema.GroupVersionKind
	// Unsure is why that proves nothing: the member did not tell all that it serves of the kind's group.
	Unsure error
	// Elsewhere is where the kind is served in another version.
	Elsewhere *Resource
}

func (e *NotServedError) Error() string {
	if e.Unsure != nil {
		return fmt.Sprintf("the member does not say whether it serves %s, Kind=%s: %v", e.Kind.GroupVersion(), e.Kind.Kind, e.Unsure)
	}
	return fmt.Sprintf("the member does not serve %s, Kind=%s: install what defines it there, or propagate its CustomResourceDefinition too",
		e.Kind.GroupVersion(), e.Kind.Kind)
}

const (
	// refreshInterval is how often an unknown kind may make us ask the API server again.
	refreshInterval = time.Second
	// pollInterval bounds how long a change that no watch shows stays unnoticed.
	pollInterval = 10 * time.Minute
)

// settleDelays are when discovery is asked again after a definition has changed: the API server
// publishes a change only some time after it has accepted it.
var settleDelays = []time.Duration{50 * time.Millisecond, 500 * time.Millisecond, 2 * time.Second, 5 * time.Second}

// Kinds knows which kinds the member serves. Methods may be called concurrently.
type Kinds struct {
	discovery *Discovery
	metadata  metadata.Interface
	logger    *slog.Logger

	refreshing sync.Mutex // held while discovery is asked

	mu        sync.Mutex
	kinds     map[schema.GroupVersionKind]Resource
	partial   bool
	failed    map[schema.GroupVersion]error // what discovery did not tell, when it was asked last
	asked     time.Time
	schemas   map[schema.GroupVersionKind]*manifest.Schema
	listeners []func()
}

// NewKinds returns a catalogue that knows no kind until it is asked for one or Run.
func NewKinds(clients *Clients, logger *slog.Logger) *Kinds {
	return &Kinds{
		discovery: clients.Discovery, metadata: clients.Metadata, logger: logger,
		kinds: map[schema.GroupVersionKind]Resource{}, schemas: map[schema.GroupVersionKind]*manifest.Schema{},
		partial: true,
	}
}

// OnChange has f called whenever the kinds that are served have changed, or the fields of some may have. Call it before Run.
func (k *Kinds) OnChange(f func()) { k.listeners = append(k.listeners, f) }

// Lookup returns the resource of a kind. It asks the API server when the kind is not known, and
// returns a NotServedError when it is not served.
func (k *Kinds) Lookup(ctx context.Context, kind schema.GroupVersionKind) (Resource, error) {
	if resource, known := k.known(kind); known {
		return resource, nil
	}
	if err := k.refreshUnlessRecent(ctx); err != nil {
		return Resource{}, err
	}
	if resource, known := k.known(kind); known {
		return resource, nil
	}
	return Resource{}, k.notServed(kind)
}

// notServed says what is known of a kind that is not.
func (k *Kinds) notServed(kind schema.GroupVersionKind) *NotServedError {
	k.mu.Lock()
	defer k.mu.Unlock()
	e := &NotServedError{Kind: kind}
	for version, err := range k.failed {
		if version.Group == kind.Group {
			e.Unsure = fmt.Errorf("what serves %s there does not answer: %w", version, err)
		}
	}
	for known, resource := range k.kinds {
		if known.GroupKind() == kind.GroupKind() {
			e.Elsewhere = &resource
		}
	}
	return e
}

func (k *Kinds) known(kind schema.GroupVersionKind) (Resource, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	resource, known := k.kinds[kind]
	return resource, known
}

// Distrust makes the next Lookup of an unknown kind ask again, and forgets a kind that the API
// server turned out not to serve any more.
func (k *Kinds) Distrust(kind schema.GroupVersionKind) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.kinds, kind)
}

// Schema returns what the member knows of a kind's fields; nil when it does not say.
func (k *Kinds) Schema(ctx context.Context, kind schema.GroupVersionKind) (*manifest.Schema, error) {
	k.mu.Lock()
	schemas := k.schemas
	known, exists := schemas[kind]
	k.mu.Unlock()
	if exists {
		return known, nil
	}
	document, err := k.discovery.Document(ctx, kind.GroupVersion())
	if err != nil {
		return nil, fmt.Errorf("asking the member for the OpenAPI document of %s: %w", kind.GroupVersion(), err)
	}
	if document == nil {
		return nil, nil
	}
	parsed, err := manifest.ParseSchema(document, kind)
	if err != nil {
		return nil, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	schemas[kind] = parsed // and not k.schemas: what was asked for before schemas were forgotten may be an old one
	return parsed, nil
}

// Served lists every kind that is served; complete is false when a part of discovery failed or
// nothing was asked yet, so that a kind that lacks proves nothing.
func (k *Kinds) Served() (apis []*linkv1.ServedAPI, complete bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for kind, resource := range k.kinds {
		apis = append(apis, &linkv1.ServedAPI{
			Group: kind.Group, Version: kind.Version, Kind: kind.Kind,
			Resource: resource.Resource, Namespaced: resource.Namespaced,
		})
	}
	slices.SortFunc(apis, func(a, b *linkv1.ServedAPI) int {
		return strings.Compare(a.Group+"/"+a.Version+"/"+a.Kind, b.Group+"/"+b.Version+"/"+b.Kind)
	})
	return apis, !k.partial
}

func (k *Kinds) refreshUnlessRecent(ctx context.Context) error {
	k.refreshing.Lock()
	defer k.refreshing.Unlock()
	k.mu.Lock()
	recent := time.Since(k.asked) < refreshInterval
	k.mu.Unlock()
	if recent {
		return nil
	}
	changed, err := k.ask(ctx)
	if changed {
		k.tell()
	}
	return err
}

// Refresh asks the API server which kinds it serves, and has their fields read anew. That is told in any case: no list of
// kinds shows that the fields of one have changed.
func (k *Kinds) Refresh(ctx context.Context) error {
	k.refreshing.Lock()
	defer k.refreshing.Unlock()
	k.forgetSchemas()
	if _, err := k.ask(ctx); err != nil {
		return err
	}
	k.tell()
	return nil
}

// ask says whether other kinds are served than before. It is called with refreshing held.
func (k *Kinds) ask(ctx context.Context) (changed bool, err error) {
	kinds, failed, err := k.discovery.Served(ctx)
	if err != nil {
		return false, fmt.Errorf("asking the member which kinds it serves: %w", err)
	}
	partial := len(failed) > 0
	k.mu.Lock()
	defer k.mu.Unlock()
	for kind, resource := range k.kinds {
		if _, unknown := failed[kind.GroupVersion()]; unknown {
			kinds[kind] = resource // an aggregated API that does not answer just now is still served
		}
	}
	changed = !maps.Equal(k.kinds, kinds) || k.partial != partial
	k.kinds, k.partial, k.failed, k.asked = kinds, partial, failed, time.Now()
	return changed, nil
}

func (k *Kinds) tell() {
	for _, f := range k.listeners {
		f()
	}
}

// forgetSchemas makes schemas be read anew.
func (k *Kinds) forgetSchemas() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.schemas = map[schema.GroupVersionKind]*manifest.Schema{}
}

// Run keeps the catalogue up to date until ctx ends: it asks again whenever a definition changes.
func (k *Kinds) Run(ctx context.Context) error {
	changed := make(chan struct{}, 1)
	var watches sync.WaitGroup
	defer watches.Wait()
	for _, definitions := range []schema.GroupVersionResource{
		{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"},
		{Group: "apiregistration.k8s.io", Version: "v1", Resource: "apiservices"},
	} {
		watches.Go(func() { k.watch(ctx, definitions, changed) })
	}
	changed <- struct{}{}
	pending := len(settleDelays) - 1 // at the start one question is enough
	poll := time.NewTimer(0)
	defer poll.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
			pending = 0
			poll.Reset(settleDelays[0])
			continue
		case <-poll.C:
		}
		if err := k.Refresh(ctx); err != nil && ctx.Err() == nil {
			k.logger.Warn("The kinds that the member serves could not be read; trying again.", "error", err)
			poll.Reset(10 * time.Second)
			continue
		}
		pending++
		if pending < len(settleDelays) {
			poll.Reset(settleDelays[pending])
		} else {
			poll.Reset(pollInterval)
		}
	}
}

func (k *Kinds) watch(ctx context.Context, resource schema.GroupVersionResource, changed chan<- struct{}) {
	client := k.metadata.Resource(resource)
	source := &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
			return client.List(ctx, options)
		},
		WatchFuncWithContext: func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
			return client.Watch(ctx, options)
		},
	}
	cache.NewReflectorWithOptions(source, &metav1.PartialObjectMetadata{}, bell(changed), cache.ReflectorOptions{
		Name: resource.Resource, TypeDescription: resource.String(),
	}).RunWithContext(ctx)
}

// bell is a store that keeps nothing and rings whenever something has changed.
type bell chan<- struct{}

func (b bell) ring() error {
	select {
	case b <- struct{}{}:
	default:
	}
	return nil
}

func (b bell) Add(any) error               { return b.ring() }
func (b bell) Update(any) error            { return b.ring() }
func (b bell) Delete(any) error            { return b.ring() }
func (b bell) Replace([]any, string) error { return b.ring() }
func (b bell) Resync() error               { return nil }
