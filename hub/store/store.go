// Package store is the controllers' view of the hub's own kinds: caches that the store itself
// feeds, and writes that carry the resourceVersion which their decision has read.
package store

import (
	"context"
	"sync/atomic"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
	"sigs.k8s.io/controller-runtime/pkg/handler"
)

// An Object is what a store holds.
type Object interface {
	metav1.Object
	runtime.Object
}

// A Writer writes one kind. Update and UpdateStatus fail with a conflict when the object has
// changed since its resourceVersion; Delete fails with one when the UID is another. All are safe
// for concurrent use.
type Writer[T Object] interface {
	Create(ctx context.Context, obj T) (T, error)
	Update(ctx context.Context, obj T) (T, error)
	UpdateStatus(ctx context.Context, obj T) (T, error)
	Delete(ctx context.Context, obj T) error
}

// A Kind is one kind with its cache and its writer. What it returns from the cache is shared and
// must not be changed.
type Kind[T Object] struct {
	Writer[T]
	Informer cache.SharedIndexInformer
}

// Get returns a cached object.
func (k Kind[T]) Get(namespace, name string) (T, bool) {
	obj, ok, _ := k.Informer.GetIndexer().GetByKey(cacheKey(namespace, name))
	if !ok {
		var none T
		return none, false
	}
	return obj.(T), true
}

// List returns all cached objects, in no order.
func (k Kind[T]) List() []T { return typed[T](k.Informer.GetIndexer().List()) }

// ByIndex returns the cached objects for which the index has the value, in no order. An index that
// does not exist is a mistake of the program and panics.
func (k Kind[T]) ByIndex(index, value string) []T {
	objs, err := k.Informer.GetIndexer().ByIndex(index, value)
	if err != nil {
		panic(err)
	}
	return typed[T](objs)
}

func cacheKey(namespace, name string) string {
	if namespace == "" {
		return name
	}
	return namespace + "/" + name
}

func typed[T any](objs []any) []T {
	out := make([]T, len(objs))
	for i, obj := range objs {
		out[i] = obj.(T)
	}
	return out
}

// A Face is a kind seen through the interface I that it shares with its twin of the other scope.
type Face[I Object] interface {
	Writer[I]
	Get(namespace, name string) (I, bool)
	List() []I
	ByIndex(index, value string) []I
	informer() cache.SharedIndexInformer
}

// As shows a kind through the interface I, which T must implement.
func As[I, T Object](kind Kind[T]) Face[I] { return face[I, T]{kind} }

type face[I, T Object] struct{ kind Kind[T] }

func (f face[I, T]) Create(ctx context.Context, obj I) (I, error) {
	return through[I](f.kind.Create(ctx, any(obj).(T)))
}

func (f face[I, T]) Update(ctx context.Context, obj I) (I, error) {
	return through[I](f.kind.Update(ctx, any(obj).(T)))
}

func (f face[I, T]) UpdateStatus(ctx context.Context, obj I) (I, error) {
	return through[I](f.kind.UpdateStatus(ctx, any(obj).(T)))
}

func (f face[I, T]) Delete(ctx context.Context, obj I) error {
	return f.kind.Delete(ctx, any(obj).(T))
}

func (f face[I, T]) Get(namespace, name string) (I, bool) {
	obj, ok := f.kind.Get(namespace, name)
	if !ok {
		var none I
		return none, false
	}
	return any(obj).(I), true
}

func (f face[I, T]) List() []I { return all[I](f.kind.List()) }

func (f face[I, T]) ByIndex(index, value string) []I { return all[I](f.kind.ByIndex(index, value)) }

func (f face[I, T]) informer() cache.SharedIndexInformer { return f.kind.Informer }

func through[I, T Object](obj T, err error) (I, error) {
	if err != nil {
		var none I
		return none, err
	}
	return any(obj).(I), nil
}

func all[I, T any](objs []T) []I {
	out := make([]I, len(objs))
	for i, obj := range objs {
		out[i] = any(obj).(I)
	}
	return out
}

// Scoped joins a namespaced kind and its cluster-scoped twin: a key without a namespace is the
// twin's.
type Scoped[I Object] struct{ Namespaced, Cluster Face[I] }

// For returns the kind that a namespace belongs to.
func (s Scoped[I]) For(namespace string) Face[I] {
	if namespace == "" {
		return s.Cluster
	}
	return s.Namespaced
}

// Get returns a cached object of either kind.
func (s Scoped[I]) Get(key types.NamespacedName) (I, bool) {
	return s.For(key.Namespace).Get(key.Namespace, key.Name)
}

// List returns the cached objects of both kinds, in no order.
func (s Scoped[I]) List() []I { return append(s.Namespaced.List(), s.Cluster.List()...) }

// ByIndex returns the cached objects of both kinds for which the index has the value.
func (s Scoped[I]) ByIndex(index, value string) []I {
	return append(s.Namespaced.ByIndex(index, value), s.Cluster.ByIndex(index, value)...)
}

// Sources wakes a controller for events of both kinds.
func Sources[I Object, K comparable](s Scoped[I], keys func(old, new I) []K) []source.TypedSource[K] {
	return []source.TypedSource[K]{
		Source(s.Namespaced.informer(), keys),
		Source(s.Cluster.informer(), keys),
	}
}

// Source wakes a controller for the keys that an event of the informer concerns. Old is nil for an
// object that is new, new is nil for one that is gone. What stood in the cache at the start has
// low priority, so that what changes now overtakes it.
func Source[T any, K comparable](informer cache.SharedIndexInformer, keys func(old, new T) []K) source.TypedSource[K] {
	return source.TypedFunc[K](func(_ context.Context, queue workqueue.TypedRateLimitingInterface[K]) error {
		var none T
		_, err := informer.AddEventHandler(cache.ResourceEventHandlerDetailedFuncs{
			AddFunc:    func(obj any, initial bool) { Enqueue(queue, initial, keys(none, obj.(T))...) },
			UpdateFunc: func(old, new any) { Enqueue(queue, false, keys(old.(T), new.(T))...) },
			DeleteFunc: func(obj any) {
				if unknown, ok := obj.(cache.DeletedFinalStateUnknown); ok {
					obj = unknown.Obj
				}
				Enqueue(queue, false, keys(obj.(T), none)...)
			},
		})
		return err
	})
}

// standing is until when what was there at the start waits, in nanoseconds since 1970.
var standing atomic.Int64

// LetStandingWait has what was there at the start of this process wait until a time; what changes does not wait. Call it
// before the controllers start.
func LetStandingWait(until time.Time) { standing.Store(until.UnixNano()) }

// Enqueue adds keys to a controller's queue, with low priority for what was there at the start.
func Enqueue[K comparable](queue workqueue.TypedRateLimitingInterface[K], initial bool, keys ...K) {
	ranked, ok := queue.(priorityqueue.PriorityQueue[K])
	if !ok || !initial {
		for _, key := range keys {
			queue.Add(key)
		}
		return
	}
	low := handler.LowPriority
	wait := max(0, time.Until(time.Unix(0, standing.Load())))
	ranked.AddWithOpts(priorityqueue.AddOpts{Priority: &low, After: wait}, keys...)
}

// Key is the namespaced name of an object.
func Key(obj metav1.Object) types.NamespacedName {
	return types.NamespacedName{Namespace: obj.GetNamespace(), Name: obj.GetName()}
}
