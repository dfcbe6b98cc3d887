package apiserver

import (
	"context"
	"path"
	"sync/atomic"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/registry/generic"
	apistorage "k8s.io/apiserver/pkg/storage"
	"k8s.io/apiserver/pkg/storage/cacher"
	"k8s.io/apiserver/pkg/storage/storagebackend"
	"k8s.io/apiserver/pkg/storage/storagebackend/factory"
	"k8s.io/client-go/tools/cache"
)

// uncachedSizes are the API server's words for kinds without a watch cache: works and bindings, which are the bulk of all objects. One
// informer in this process watches them, which has all that such a cache would have, and the cache would have it twice: as objects, and as the
// events of the last minute and more. Others who watch them are told by the store. The flag watch-cache-sizes can bring the caches back.
func uncachedSizes() []string {
	var sizes []string
	for _, resource := range []schema.GroupResource{works.resource(), bindings.resource(), clusterBindings.resource()} {
		sizes = append(sizes, resource.String()+"#0")
	}
	return sizes
}

// A lookup finds an object in a cache. What it returns is shared.
type lookup[T Object] func(namespace, name string) (T, bool)

// known is what this process knows of the objects of a store that has no watch cache.
type known[T Object] struct {
	cached bool // there is a watch cache after all, and none of this is asked for
	lookup atomic.Pointer[lookup[T]]
}

// object is a copy of an object as it was a moment ago; nil when nothing is known of it. The key is a store's: it ends with the
// name, before that comes the namespace if there is one.
func (k *known[T]) object(key string, namespaced bool) runtime.Object {
	find := k.lookup.Load()
	if find == nil {
		return nil
	}
	parent, name := path.Split(key)
	namespace := ""
	if namespaced {
		namespace = path.Base(parent)
	}
	object, ok := (*find)(namespace, name)
	if !ok {
		return nil
	}
	return object.DeepCopyObject()
}

// knowing are the options of a store whose updates begin with what this process knows.
type knowing[T Object] struct {
	generic.RESTOptionsGetter
	known      *known[T]
	namespaced bool
}

// GetRESTOptions gives the options that the store would have without.
func (k knowing[T]) GetRESTOptions(resource schema.GroupResource, example runtime.Object) (generic.RESTOptions, error) {
	options, err := k.RESTOptionsGetter.GetRESTOptions(resource, example)
	if err != nil {
		return options, err
	}
	decorated := options.Decorator
	options.Decorator = func(config *storagebackend.ConfigForResource, prefix string, key func(runtime.Object) (string, error),
		newObject, newList func() runtime.Object, attributes apistorage.AttrFunc, triggers apistorage.IndexerFuncs, indexers *cache.Indexers,
	) (apistorage.Interface, factory.DestroyFunc, error) {
		store, destroy, err := decorated(config, prefix, key, newObject, newList, attributes, triggers, indexers)
		if err != nil {
			return nil, nil, err
		}
		if _, k.known.cached = store.(*cacher.CacheDelegator); k.known.cached {
			return store, destroy, nil
		}
		return knowingStorage[T]{Interface: store, known: k.known, namespaced: k.namespaced}, destroy, nil
	}
	return options, nil
}

// knowingStorage has updates and deletions begin with what this process knows of the object, as a watch cache does: a read is saved, and one
// that has changed since is read then.
type knowingStorage[T Object] struct {
	apistorage.Interface
	known      *known[T]
	namespaced bool
}

// Watch implements storage.Interface. A watch cache ends the watch of somebody who does not take what he is told, or too slowly; a store keeps it
// all for him. The hub's own informers always take it.
func (s knowingStorage[T]) Watch(ctx context.Context, key string, options apistorage.ListOptions) (watch.Interface, error) {
	events, err := s.Interface.Watch(ctx, key, options)
	if who, _ := request.UserFrom(ctx); err != nil || who == self {
		return events, err
	}
	return endWhenNotTaken(events, key, options), nil
}

// GuaranteedUpdate implements storage.Interface.
func (s knowingStorage[T]) GuaranteedUpdate(ctx context.Context, key string, destination runtime.Object, ignoreNotFound bool, preconditions *apistorage.Preconditions,
	tryUpdate apistorage.UpdateFunc, existing runtime.Object) error {
	if existing == nil {
		existing = s.known.object(key, s.namespaced)
	}
	return s.Interface.GuaranteedUpdate(ctx, key, destination, ignoreNotFound, preconditions, tryUpdate, existing)
}

// Delete implements storage.Interface.
func (s knowingStorage[T]) Delete(ctx context.Context, key string, out runtime.Object, preconditions *apistorage.Preconditions,
	validate apistorage.ValidateObjectFunc, existing runtime.Object, options apistorage.DeleteOptions) error {
	if existing == nil {
		existing = s.known.object(key, s.namespaced)
	}
	return s.Interface.Delete(ctx, key, out, preconditions, validate, existing, options)
}
