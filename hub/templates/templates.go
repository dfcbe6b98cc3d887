// Package templates watches the kinds of the users' own objects that policies and bindings name: it
// starts a watch when the first of them wants a kind and stops it when the last one is gone.
package templates

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/restmapper"
	"k8s.io/client-go/tools/cache"
)

// A Key names a template.
type Key struct {
	schema.GroupVersionKind
	types.NamespacedName
}

func (k Key) String() string { return k.Kind + " " + k.NamespacedName.String() }

// KeyOf is the key of a template.
func KeyOf(obj *unstructured.Unstructured) Key {
	return Key{obj.GroupVersionKind(), types.NamespacedName{Namespace: obj.GetNamespace(), Name: obj.GetName()}}
}

// Config is what a Watcher needs.
type Config struct {
	Dynamic   dynamic.Interface
	Discovery kubernetes.Interface
	Log       *slog.Logger
	// RetryFirst is after how long a kind that is not served is looked for again; the time doubles
	// with every look, up to RetryMost. 1 s and 1 minute when zero. LookAgain need not wait for it.
	RetryFirst, RetryMost time.Duration
}

// retrySoon is after how long a kind is looked for again when the API server has changed what it
// serves: what tells of the change may be ahead of what lists the kinds, and one change seldom comes
// alone.
const retrySoon = 50 * time.Millisecond

// A Watcher holds one informer for each wanted kind. All methods are safe for concurrent use. What
// it returns from its caches is shared and must not be changed.
type Watcher struct {
	config Config
	mapper meta.ResettableRESTMapper
	// wake asks Run to look at the wanted kinds again, served to look soon for those that are not
	// served, and lost, some time, for one that is served no longer.
	wake, served, lost chan struct{}

	deletions deletions

	mu       sync.RWMutex
	wanted   map[string][]schema.GroupVersionKind // by who wants them
	named    []schema.GroupVersionKind            // of which it is asked whether they are served
	kinds    map[schema.GroupVersionKind]*kind
	handlers []Handler
}

// A Handler is told what happens to templates. It must not block.
type Handler struct {
	// Changed is called for every event of a template; initial is true for what was there when
	// its watch began.
	Changed func(key Key, initial bool)
	// ContentOnly says of which kinds Changed is not called when nothing but a template's status has changed, which the hub
	// itself writes again and again; nil for none.
	ContentOnly func(schema.GroupKind) bool
	// Kind is called when the state of a kind changes: it is served and its cache is complete,
	// or it no longer is.
	Kind func(schema.GroupVersionKind)
}

// kind is one wanted or named kind. All fields are written once, before it is put into the map.
type kind struct {
	clusterScoped bool
	informer      cache.SharedIndexInformer // nil while the kind is not served, or nobody wants to watch it
	stop          context.CancelFunc
	problem       error
}

func (k *kind) synced() bool { return k.informer != nil && k.informer.HasSynced() }

// New makes a Watcher; Run starts it.
func New(config Config) *Watcher {
	config.RetryFirst = cmp.Or(config.RetryFirst, time.Second)
	config.RetryMost = max(cmp.Or(config.RetryMost, time.Minute), config.RetryFirst)
	return &Watcher{
		config: config,
		mapper: restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(config.Discovery.Discovery())),
		wake:   make(chan struct{}, 1),
		served: make(chan struct{}, 1),
		lost:   make(chan struct{}, 1),
		wanted: map[string][]schema.GroupVersionKind{},
		kinds:  map[schema.GroupVersionKind]*kind{},
	}
}

// Handle adds a handler. It must be called before Run.
func (w *Watcher) Handle(handler Handler) { w.handlers = append(w.handlers, handler) }

// Want replaces the set of kinds that one caller wants to be watched.
func (w *Watcher) Want(who string, kinds []schema.GroupVersionKind) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if slices.Equal(w.wanted[who], kinds) {
		return
	}
	w.wanted[who] = kinds
	ring(w.wake)
}

// Name replaces the set of kinds of which Problem tells whether they are served, though nobody wants to watch them.
func (w *Watcher) Name(kinds []schema.GroupVersionKind) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if slices.Equal(w.named, kinds) {
		return
	}
	w.named = kinds
	ring(w.wake)
}

// Watches says whether anybody wants a kind to be watched. Of a kind that nobody wants, nothing is a template.
func (w *Watcher) Watches(gvk schema.GroupVersionKind) bool {
	w.mu.RLock()
	defer w.mu.RUnlock()
	for _, kinds := range w.wanted {
		if slices.Contains(kinds, gvk) {
			return true
		}
	}
	return false
}

// LookAgain tells that the API server may serve other kinds than before. It does not block.
func (w *Watcher) LookAgain() { ring(w.served) }

func ring(bell chan<- struct{}) {
	select {
	case bell <- struct{}{}:
	default:
	}
}

// Get returns a template from the cache. Known is false while the cache can't tell, because the
// kind is not served or its first list is not complete: then nothing may be concluded.
func (w *Watcher) Get(key Key) (obj *unstructured.Unstructured, known bool) {
	kind, ok := w.kind(key.GroupVersionKind)
	if !ok || !kind.synced() {
		return nil, false
	}
	found, ok, _ := kind.informer.GetIndexer().GetByKey(indexKey(key.NamespacedName))
	if !ok {
		return nil, true
	}
	return found.(*unstructured.Unstructured), true
}

// List returns the cached templates of a kind, in one namespace or in all.
func (w *Watcher) List(gvk schema.GroupVersionKind, namespace string) []*unstructured.Unstructured {
	kind, ok := w.kind(gvk)
	if !ok || kind.informer == nil {
		return nil
	}
	indexer := kind.informer.GetIndexer()
	objs := indexer.List()
	if namespace != "" {
		objs, _ = indexer.ByIndex(cache.NamespaceIndex, namespace)
	}
	out := make([]*unstructured.Unstructured, len(objs))
	for i, obj := range objs {
		out[i] = obj.(*unstructured.Unstructured)
	}
	return out
}

// Scope says whether objects of a kind are in no namespace. Known is false while List can't tell all of them, because the
// kind is not served or its first list is not complete.
func (w *Watcher) Scope(gvk schema.GroupVersionKind) (cluster, known bool) {
	kind, ok := w.kind(gvk)
	if !ok || !kind.synced() {
		return false, false
	}
	return kind.clusterScoped, true
}

// Problem says why a wanted kind is not watched, or a named one not served; nil when it is, or when nobody has looked yet.
func (w *Watcher) Problem(gvk schema.GroupVersionKind) error {
	w.mu.RLock()
	defer w.mu.RUnlock()
	if kind := w.kinds[gvk]; kind != nil {
		return kind.problem
	}
	return nil
}

// Patch merges a patch into a template.
func (w *Watcher) Patch(ctx context.Context, key Key, patch []byte) error {
	client, err := w.client(key)
	if err != nil {
		return err
	}
	_, err = client.Patch(ctx, key.Name, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: "windlass-hub"})
	return err
}

// UpdateStatus writes a template's status and returns the version that it then has. It fails with a conflict when
// the template has changed.
func (w *Watcher) UpdateStatus(ctx context.Context, obj *unstructured.Unstructured) (resourceVersion string, err error) {
	client, err := w.client(KeyOf(obj))
	if err != nil {
		return "", err
	}
	updated, err := client.UpdateStatus(ctx, obj, metav1.UpdateOptions{FieldManager: "windlass-hub"})
	if err != nil {
		return "", err
	}
	return updated.GetResourceVersion(), nil
}

// client reaches an object in the version that its key names.
func (w *Watcher) client(key Key) (dynamic.ResourceInterface, error) {
	return w.clientOf(key, key.Version)
}

func (w *Watcher) clientOf(key Key, versions ...string) (dynamic.ResourceInterface, error) {
	mapping, err := w.mapper.RESTMapping(key.GroupKind(), versions...)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", key.GroupVersion(), key.Kind, ErrUnproven)
	}
	resource := w.config.Dynamic.Resource(mapping.Resource)
	if mapping.Scope.Name() == meta.RESTScopeNameRoot {
		return resource, nil
	}
	return resource.Namespace(key.Namespace), nil
}

// Run starts and stops watches until the context ends.
func (w *Watcher) Run(ctx context.Context) error {
	defer w.stopAll()
	delay := w.config.RetryFirst
	again := time.NewTimer(delay)
	defer again.Stop()
	var next time.Time // when again fires
	changed := false   // other kinds may be served than those of the last look
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-w.wake:
			delay = w.config.RetryFirst
			w.look(ctx)
		case <-again.C:
			delay = min(2*delay, w.config.RetryMost)
			if w.anyProblem() || changed {
				changed = false
				w.look(ctx)
			}
		case <-w.served:
			changed = changed || w.anyNamed()
			delay = retrySoon
		case <-w.lost:
			// Not at once: the list of kinds may still have it.
		}
		now, wait := time.Now(), delay+rand.N(delay/10+1)
		if (w.anyProblem() || changed) && (!next.After(now) || now.Add(wait).Before(next)) {
			next = now.Add(wait)
			again.Reset(wait)
		}
	}
}

// look makes the running watches those that are wanted, by what the API server serves now.
func (w *Watcher) look(ctx context.Context) {
	w.mapper.Reset()
	w.converge(ctx)
}

// converge makes the running watches those that are wanted.
func (w *Watcher) converge(ctx context.Context) {
	w.mu.RLock()
	wanted := map[schema.GroupVersionKind]bool{}
	for _, kinds := range w.wanted {
		for _, gvk := range kinds {
			wanted[gvk] = true
		}
	}
	named := slices.Clone(w.named)
	running := maps.Clone(w.kinds)
	w.mu.RUnlock()

	for gvk, kind := range running {
		if !wanted[gvk] && (kind.informer != nil || !slices.Contains(named, gvk)) {
			w.drop(gvk, kind)
			if kind.informer != nil {
				w.tellKind(gvk)
			}
		}
	}
	for gvk := range wanted {
		if kind := running[gvk]; kind == nil || kind.informer == nil {
			w.start(ctx, gvk)
		}
	}
	for _, gvk := range named {
		if !wanted[gvk] {
			w.find(gvk)
		}
	}
}

// find finds out whether a kind is served that nobody wants to watch.
func (w *Watcher) find(gvk schema.GroupVersionKind) {
	_, err := w.resolve(gvk)
	known, _ := w.kind(gvk)
	w.set(gvk, &kind{problem: err})
	if err == nil && known != nil && known.problem != nil {
		w.tellKind(gvk)
	}
}

func (w *Watcher) start(ctx context.Context, gvk schema.GroupVersionKind) {
	mapping, err := w.resolve(gvk)
	if err != nil {
		w.set(gvk, &kind{problem: err})
		return
	}
	running, stop := context.WithCancel(ctx)
	entry := &kind{clusterScoped: mapping.Scope.Name() == meta.RESTScopeNameRoot, stop: stop}
	entry.informer = w.informer(gvk, mapping.Resource, entry)
	w.set(gvk, entry)
	go entry.informer.RunWithContext(running)
	go func() {
		if cache.WaitForCacheSync(running.Done(), entry.informer.HasSynced) {
			w.config.Log.Info("watching templates", "kind", gvk.Kind, "apiVersion", gvk.GroupVersion())
			w.tellKind(gvk)
		}
	}()
}

// A Misnamed error says that the API server serves no kind of that name and version, and which one is probably meant.
type Misnamed struct{ Asked, Meant schema.GroupVersionKind }

func (m *Misnamed) Error() string {
	return fmt.Sprintf("the hub serves no kind %s in %s: kind %s in %s is probably meant", m.Asked.Kind, m.Asked.GroupVersion(), m.Meant.Kind, m.Meant.GroupVersion())
}

// resolve finds the resource of a kind, if the API server serves it and it can be watched. The mapper knows every kind
// in lower case as well, but objects have but one: of a kind with two names there would be two of each binding.
func (w *Watcher) resolve(gvk schema.GroupVersionKind) (*meta.RESTMapping, error) {
	mapping, err := w.mapper.RESTMapping(gvk.GroupKind(), gvk.Version)
	if meta.IsNoMatchError(err) || err == nil && w.called(mapping.Resource) != gvk {
		if meant := w.meant(gvk); meant != nil {
			return nil, &Misnamed{Asked: gvk, Meant: *meant}
		}
	}
	if meta.IsNoMatchError(err) {
		return nil, fmt.Errorf("the hub serves no kind %s in %s; apply its CustomResourceDefinition to the hub, or mend the policy", gvk.Kind, gvk.GroupVersion())
	}
	if err != nil {
		return nil, fmt.Errorf("looking for kind %s in %s: %w", gvk.Kind, gvk.GroupVersion(), err)
	}
	return mapping, nil
}

// called is the kind of a resource as its objects have it.
func (w *Watcher) called(resource schema.GroupVersionResource) schema.GroupVersionKind {
	kind, _ := w.mapper.KindFor(resource)
	return kind
}

// meant finds the kind that somebody has written in other letters, or looked for in another group; nil for none.
func (w *Watcher) meant(gvk schema.GroupVersionKind) *schema.GroupVersionKind {
	if mapping, err := w.mapper.RESTMapping(schema.GroupKind{Group: gvk.Group, Kind: strings.ToLower(gvk.Kind)}, gvk.Version); err == nil {
		kind := w.called(mapping.Resource)
		return &kind
	}
	kind, err := w.mapper.KindFor(schema.GroupVersionResource{Resource: strings.ToLower(gvk.Kind)})
	if err != nil {
		return nil
	}
	return &kind
}

func (w *Watcher) informer(gvk schema.GroupVersionKind, resource schema.GroupVersionResource, entry *kind) cache.SharedIndexInformer {
	client := w.config.Dynamic.Resource(resource)
	lister := cache.ToListWatcherWithWatchListSemantics(&cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
			return client.List(ctx, options)
		},
		WatchFuncWithContext: func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
			return client.Watch(ctx, options)
		},
	}, w.config.Dynamic)
	informer := cache.NewSharedIndexInformer(lister, &unstructured.Unstructured{}, 0, cache.Indexers{cache.NamespaceIndex: cache.MetaNamespaceIndexFunc})
	_ = informer.SetTransform(func(obj any) (any, error) {
		template, ok := obj.(*unstructured.Unstructured)
		if ok && gvk.GroupKind() != (schema.GroupKind{Kind: "Service"}) { // whose node ports they tell from allocated ones
			template.SetManagedFields(nil)
		}
		return obj, nil
	})
	_ = informer.SetWatchErrorHandlerWithContext(func(ctx context.Context, _ *cache.Reflector, err error) {
		if apierrors.IsNotFound(err) { // the CustomResourceDefinition is gone
			w.lose(gvk, entry)
			return
		}
		w.config.Log.Warn("watching templates is interrupted", "kind", gvk.Kind, "err", err)
	})
	_, _ = informer.AddEventHandler(cache.ResourceEventHandlerDetailedFuncs{
		AddFunc: func(obj any, initial bool) {
			w.deletions.forget(obj.(*unstructured.Unstructured).GetUID())
			w.tell(gvk, obj, initial, true)
		},
		UpdateFunc: func(old, obj any) {
			w.tell(gvk, obj, false, !sameContent(old.(*unstructured.Unstructured), obj.(*unstructured.Unstructured)))
		},
		DeleteFunc: func(obj any) {
			if template, told := obj.(*unstructured.Unstructured); told { // else it is what a new list lacks
				w.deletions.tell(template.GetUID())
			}
			w.tell(gvk, obj, false, true)
		},
	})
	return informer
}

func (w *Watcher) tell(gvk schema.GroupVersionKind, obj any, initial, content bool) {
	if unknown, ok := obj.(cache.DeletedFinalStateUnknown); ok {
		obj = unknown.Obj
	}
	template := obj.(*unstructured.Unstructured)
	key := Key{gvk, types.NamespacedName{Namespace: template.GetNamespace(), Name: template.GetName()}}
	for _, handler := range w.handlers {
		if content || handler.ContentOnly == nil || !handler.ContentOnly(gvk.GroupKind()) {
			handler.Changed(key, initial)
		}
	}
}

// sameContent says whether two states of an object differ in nothing but their status, and the version that each has.
func sameContent(old, new *unstructured.Unstructured) bool {
	metadata := func(obj *unstructured.Unstructured) map[string]any {
		of, _ := obj.Object["metadata"].(map[string]any)
		return of
	}
	return old.GetGeneration() == new.GetGeneration() && sameBut(old.Object, new.Object, "status", "metadata") &&
		sameBut(metadata(old), metadata(new), "resourceVersion")
}

// sameBut says whether two objects have the same fields, without some.
func sameBut(a, b map[string]any, except ...string) bool {
	for key, value := range a {
		if other, there := b[key]; !slices.Contains(except, key) && !(there && reflect.DeepEqual(value, other)) {
			return false
		}
	}
	for key := range b {
		if _, there := a[key]; !there && !slices.Contains(except, key) {
			return false
		}
	}
	return true
}

func (w *Watcher) tellKind(gvk schema.GroupVersionKind) {
	for _, handler := range w.handlers {
		if handler.Kind != nil {
			handler.Kind(gvk)
		}
	}
}

func (w *Watcher) kind(gvk schema.GroupVersionKind) (*kind, bool) {
	w.mu.RLock()
	defer w.mu.RUnlock()
	kind, ok := w.kinds[gvk]
	return kind, ok
}

func (w *Watcher) set(gvk schema.GroupVersionKind, entry *kind) {
	w.mu.Lock()
	old := w.kinds[gvk]
	w.kinds[gvk] = entry
	w.mu.Unlock()
	if entry.problem != nil && (old == nil || old.problem == nil) {
		w.config.Log.Warn("templates can't be watched", "kind", gvk.Kind, "apiVersion", gvk.GroupVersion(), "err", entry.problem)
		w.tellKind(gvk)
	}
}

// lose stops a watch on a kind that is served no longer. One step from the watch to the problem, and
// only if the watch is still the kind's: the news may be late, and another watch runs by then, or
// nobody wants one.
func (w *Watcher) lose(gvk schema.GroupVersionKind, entry *kind) {
	problem := fmt.Errorf("the hub no longer serves kind %s in %s", gvk.Kind, gvk.GroupVersion())
	w.mu.Lock()
	current := w.kinds[gvk] == entry
	if current {
		w.kinds[gvk] = &kind{problem: problem}
	}
	w.mu.Unlock()
	entry.stop()
	if !current {
		return
	}
	w.config.Log.Warn("templates can't be watched", "kind", gvk.Kind, "apiVersion", gvk.GroupVersion(), "err", problem)
	w.tellKind(gvk)
	ring(w.lost)
}

func (w *Watcher) drop(gvk schema.GroupVersionKind, entry *kind) {
	w.mu.Lock()
	if w.kinds[gvk] == entry {
		delete(w.kinds, gvk)
	}
	w.mu.Unlock()
	if entry.stop != nil {
		entry.stop()
	}
}

func (w *Watcher) anyProblem() bool {
	w.mu.RLock()
	defer w.mu.RUnlock()
	for _, kind := range w.kinds {
		if kind.problem != nil {
			return true
		}
	}
	return false
}

// anyNamed says whether kinds are named: of one that is not watched, no watch tells that it is served no longer.
func (w *Watcher) anyNamed() bool {
	w.mu.RLock()
	defer w.mu.RUnlock()
	return len(w.named) > 0
}

func (w *Watcher) stopAll() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, kind := range w.kinds {
		if kind.stop != nil {
			kind.stop()
		}
	}
	w.kinds = map[schema.GroupVersionKind]*kind{}
}

func indexKey(name types.NamespacedName) string {
	if name.Namespace == "" {
		return name.Name
	}
	return name.String()
}
