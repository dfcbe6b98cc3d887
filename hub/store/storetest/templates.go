package storetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/resourceversion"

	"windlass.dev/windlass/hub/templates"
)

// Templates stands in for the watches on users' objects. The server's word and the cache's are told
// apart, so that a test can make them differ. It is safe for concurrent use.
type Templates struct {
	// Unproven are the kinds of which the server says nothing.
	Unproven map[schema.GroupVersionKind]bool
	// Problems are the kinds that can't be watched; of them the cache knows nothing.
	Problems map[schema.GroupVersionKind]error
	// ClusterScoped are the kinds whose objects are in no namespace.
	ClusterScoped map[schema.GroupVersionKind]bool
	// Unwatched are the kinds that nobody wants to be watched; of them the cache knows nothing.
	Unwatched map[schema.GroupVersionKind]bool
	// Unlisted are the kinds whose first list is not complete.
	Unlisted map[schema.GroupVersionKind]bool
	// RefuseStatus, when set, is the error of the next write of a status.
	RefuseStatus error
	// Compacted makes the server know nothing of the past.
	Compacted bool

	mu       sync.Mutex
	past     map[templates.Key][]*unstructured.Unstructured
	cached   map[templates.Key]*unstructured.Unstructured
	live     map[templates.Key]*unstructured.Unstructured
	wanted   map[string][]schema.GroupVersionKind
	handlers []templates.Handler
	writes   []string
	versions int
	held     bool
	reads    int
	told     map[types.UID]bool // of deletions
}

// NewTemplates makes watches that have seen nothing yet.
func NewTemplates() *Templates {
	return &Templates{
		Unproven:      map[schema.GroupVersionKind]bool{},
		Problems:      map[schema.GroupVersionKind]error{},
		ClusterScoped: map[schema.GroupVersionKind]bool{},
		Unwatched:     map[schema.GroupVersionKind]bool{},
		Unlisted:      map[schema.GroupVersionKind]bool{},
		past:          map[templates.Key][]*unstructured.Unstructured{},
		cached:        map[templates.Key]*unstructured.Unstructured{},
		live:          map[templates.Key]*unstructured.Unstructured{},
		wanted:        map[string][]schema.GroupVersionKind{},
		told:          map[types.UID]bool{},
	}
}

// Put makes the server and the cache have a template.
func (t *Templates) Put(obj *unstructured.Unstructured) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.put(obj)
}

// PutLive gives the server a template, or a new state of it, of which the cache does not know yet.
func (t *Templates) PutLive(obj *unstructured.Unstructured) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.store(obj)
}

func (t *Templates) store(obj *unstructured.Unstructured) *unstructured.Unstructured {
	stored := obj.DeepCopy()
	t.versions++
	stored.SetResourceVersion(strconv.Itoa(t.versions))
	key := templates.KeyOf(stored)
	t.live[key] = stored
	t.past[key] = append(t.past[key], stored)
	return stored
}

// Hold keeps the cache from seeing what is written, until Sync.
func (t *Templates) Hold() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.held = true
}

// Sync makes the cache have what the server has.
func (t *Templates) Sync() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.cached, t.held = maps.Clone(t.live), false
}

func (t *Templates) put(obj *unstructured.Unstructured) (resourceVersion string) {
	stored := t.store(obj)
	if !t.held {
		t.cached[templates.KeyOf(stored)] = stored
	}
	return stored.GetResourceVersion()
}

// Delete takes a template away from both.
func (t *Templates) Delete(key templates.Key) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.cached, key)
	delete(t.live, key)
}

// TellDeleted takes a template away from both, and has the watch tell it.
func (t *Templates) TellDeleted(key templates.Key) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if obj := t.live[key]; obj != nil {
		t.told[obj.GetUID()] = true
	}
	delete(t.cached, key)
	delete(t.live, key)
}

// Forget takes a template out of the cache; the server still has it.
func (t *Templates) Forget(key templates.Key) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.cached, key)
}

// Reads returns how often the server was asked for a template since it was last called.
func (t *Templates) Reads() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	reads := t.reads
	t.reads = 0
	return reads
}

// Writes returns what was written since it was last called: patches as they are, statuses as
// "status <kind> <name>".
func (t *Templates) Writes() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	writes := t.writes
	t.writes = nil
	return writes
}

// Name remembers the kinds by "named".
func (t *Templates) Name(kinds []schema.GroupVersionKind) { t.Want("named", kinds) }

// Wanted are the kinds that one caller wants to be watched.
func (t *Templates) Wanted(who string) []schema.GroupVersionKind {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.wanted[who]
}

// Handlers are those that were added.
func (t *Templates) Handlers() []templates.Handler { return t.handlers }

// Handle adds a handler.
func (t *Templates) Handle(handler templates.Handler) { t.handlers = append(t.handlers, handler) }

// Want replaces the kinds that one caller wants to be watched.
func (t *Templates) Want(who string, kinds []schema.GroupVersionKind) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.wanted[who] = kinds
}

// Problem says why a kind is not watched.
func (t *Templates) Problem(kind schema.GroupVersionKind) error { return t.Problems[kind] }

// Scope says whether objects of a kind are in no namespace.
func (t *Templates) Scope(kind schema.GroupVersionKind) (cluster, known bool) {
	return t.ClusterScoped[kind], !t.unknown(kind)
}

// unknown says whether the cache can't tell what there is of a kind.
func (t *Templates) unknown(kind schema.GroupVersionKind) bool {
	return t.Problems[kind] != nil || t.Unwatched[kind] || t.Unlisted[kind]
}

// Watches says whether anybody wants a kind to be watched.
func (t *Templates) Watches(kind schema.GroupVersionKind) bool { return !t.Unwatched[kind] }

// Get returns a template from the cache.
func (t *Templates) Get(key templates.Key) (*unstructured.Unstructured, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.unknown(key.GroupVersionKind) {
		return nil, false
	}
	return t.cached[key], true
}

// List returns the cached templates of a kind.
func (t *Templates) List(kind schema.GroupVersionKind, namespace string) []*unstructured.Unstructured {
	t.mu.Lock()
	defer t.mu.Unlock()
	list := []*unstructured.Unstructured{}
	for key, obj := range t.cached {
		if key.GroupVersionKind == kind && (namespace == "" || key.Namespace == namespace) {
			list = append(list, obj)
		}
	}
	slices.SortFunc(list, func(a, b *unstructured.Unstructured) int {
		return slices.Compare([]string{a.GetNamespace(), a.GetName()}, []string{b.GetNamespace(), b.GetName()})
	})
	return list
}

// Deleted says whether a watch has told of a deletion.
func (t *Templates) Deleted(uid types.UID) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.told[uid]
}

// Live asks the server.
func (t *Templates) Live(_ context.Context, key templates.Key) (*unstructured.Unstructured, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.reads++
	if t.Unproven[key.GroupVersionKind] {
		return nil, fmt.Errorf("looking for %s: %w", key, templates.ErrUnproven)
	}
	return t.live[key], nil
}

// At asks the server for what there was. It does not know of deletions.
func (t *Templates) At(_ context.Context, key templates.Key, resourceVersion string) (*unstructured.Unstructured, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.Compacted {
		return nil, apierrors.NewResourceExpired("the resource version is too old")
	}
	var found *unstructured.Unstructured
	for _, obj := range t.past[key] {
		if order, err := resourceversion.CompareResourceVersion(obj.GetResourceVersion(), resourceVersion); err != nil {
			return nil, err
		} else if order <= 0 {
			found = obj
		}
	}
	return found, nil
}

// Patch merges a patch into the metadata of a template. A UID in it must be the template's.
func (t *Templates) Patch(_ context.Context, key templates.Key, patch []byte) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.writes = append(t.writes, string(patch))
	said := struct {
		Metadata struct {
			UID                 types.UID
			Labels, Annotations map[string]*string
		}
	}{}
	if err := json.Unmarshal(patch, &said); err != nil {
		return err
	}
	live := t.live[key]
	if live == nil {
		return apierrors.NewNotFound(schema.GroupResource{Resource: key.Kind}, key.Name)
	}
	if said.Metadata.UID != "" && said.Metadata.UID != live.GetUID() {
		return apierrors.NewConflict(schema.GroupResource{Resource: key.Kind}, key.Name, errors.New("the UID is another one"))
	}
	next := live.DeepCopy()
	next.SetLabels(merged(live.GetLabels(), said.Metadata.Labels))
	next.SetAnnotations(merged(live.GetAnnotations(), said.Metadata.Annotations))
	t.put(next)
	return nil
}

func merged(has map[string]string, patch map[string]*string) map[string]string {
	out := map[string]string{}
	for key, value := range has {
		out[key] = value
	}
	for key, value := range patch {
		if value == nil {
			delete(out, key)
		} else {
			out[key] = *value
		}
	}
	if len(out) == 0 {
		return nil
	}
	return out
}

// UpdateStatus writes a template's status.
func (t *Templates) UpdateStatus(_ context.Context, obj *unstructured.Unstructured) (resourceVersion string, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.writes = append(t.writes, "status "+obj.GetKind()+" "+obj.GetName())
	if err := t.RefuseStatus; err != nil {
		t.RefuseStatus = nil
		return "", err
	}
	live := t.live[templates.KeyOf(obj)]
	if live == nil {
		return "", apierrors.NewNotFound(schema.GroupResource{Resource: obj.GetKind()}, obj.GetName())
	}
	if live.GetResourceVersion() != obj.GetResourceVersion() {
		return "", apierrors.NewConflict(schema.GroupResource{Resource: obj.GetKind()}, obj.GetName(), errors.New("the object has changed"))
	}
	next := live.DeepCopy()
	next.Object["status"] = obj.Object["status"]
	return t.put(next), nil
}
