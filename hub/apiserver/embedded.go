package apiserver

import (
	"fmt"
	"sync"

	"go.etcd.io/etcd/client/v3/kubernetes"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	genericfeatures "k8s.io/apiserver/pkg/features"
	"k8s.io/apiserver/pkg/registry/generic"
	genericoptions "k8s.io/apiserver/pkg/server/options"
	apistorage "k8s.io/apiserver/pkg/storage"
	"k8s.io/apiserver/pkg/storage/cacher"
	"k8s.io/apiserver/pkg/storage/etcd3"
	"k8s.io/apiserver/pkg/storage/feature"
	"k8s.io/apiserver/pkg/storage/storagebackend"
	"k8s.io/apiserver/pkg/storage/storagebackend/factory"
	"k8s.io/apiserver/pkg/storage/value/encrypt/identity"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	"k8s.io/client-go/tools/cache"
	"k8s.io/utils/clock"

	"windlass.dev/windlass/hub/etcd"
)

// inProcess makes all stores of the chain call the embedded etcd as functions of this process: through
// its socket every request and every event is encoded, written, read and decoded once more, which is a
// quarter of what a hub does. An external etcd is reached as kube-apiserver reaches it.
func (c *configs) inProcess(store *etcd.Etcd, options genericoptions.EtcdOptions) error {
	if !store.Embedded() {
		return nil
	}
	sizes, err := genericoptions.ParseWatchCacheSizes(options.WatchCacheSizes)
	if err != nil {
		return err
	}
	stores := &embeddedStores{etcd: store}
	cached := func(resource schema.GroupResource) bool {
		size, set := sizes[resource]
		return options.EnableWatchCache && (!set || size > 0)
	}
	for _, getter := range []*generic.RESTOptionsGetter{
		&c.kube.ControlPlane.Generic.RESTOptionsGetter, &c.extensions.GenericConfig.RESTOptionsGetter, &c.aggregator.GenericConfig.RESTOptionsGetter,
	} {
		*getter = &embeddedOptions{RESTOptionsGetter: *getter, stores: stores, cached: cached}
	}
	custom := &c.extensions.ExtraConfig.CRDRESTOptionsGetter // for custom resources no sizes can be given
	*custom = &embeddedOptions{RESTOptionsGetter: *custom, stores: stores, cached: func(schema.GroupResource) bool { return options.EnableWatchCache }}
	return nil
}

// embeddedOptions are the options of stores as they were, encryption included; but what makes a store out
// of them is another.
type embeddedOptions struct {
	generic.RESTOptionsGetter
	stores *embeddedStores
	cached func(schema.GroupResource) bool
}

// GetRESTOptions gives the options of a resource.
func (o *embeddedOptions) GetRESTOptions(resource schema.GroupResource, example runtime.Object) (generic.RESTOptions, error) {
	options, err := o.RESTOptionsGetter.GetRESTOptions(resource, example)
	if err != nil {
		return options, err
	}
	options.Decorator = o.stores.raw
	if o.cached(resource) {
		options.Decorator = o.stores.withCache
	}
	return options, nil
}

// embeddedStores makes stores on the embedded etcd. While there is one, old revisions are compacted.
type embeddedStores struct {
	etcd *etcd.Etcd

	mu    sync.Mutex
	users int
	// compactor is nil when there are no users, or none is asked for; endCompaction is not when there are users.
	compactor     etcd3.Compactor
	endCompaction func()
}

// withCache makes a store with a watch cache before it, as the generic registry's own does.
func (e *embeddedStores) withCache(config *storagebackend.ConfigForResource, prefix string, key func(runtime.Object) (string, error),
	newObject, newList func() runtime.Object, attributes apistorage.AttrFunc, triggers apistorage.IndexerFuncs, indexers *cache.Indexers,
) (apistorage.Interface, factory.DestroyFunc, error) {
	store, destroy, err := e.raw(config, prefix, key, newObject, newList, attributes, triggers, indexers)
	if err != nil {
		return nil, nil, err
	}
	cached, err := cacher.NewCacherFromConfig(cacher.Config{
		Storage: store, Versioner: apistorage.APIObjectVersioner{}, GroupResource: config.GroupResource,
		EventsHistoryWindow: config.EventsHistoryWindow, ResourcePrefix: prefix, KeyFunc: key,
		NewFunc: newObject, NewListFunc: newList, GetAttrsFunc: attributes, IndexerFuncs: triggers, Indexers: indexers, Codec: config.Codec,
	})
	if err != nil {
		destroy()
		return nil, nil, err
	}
	delegator := cacher.NewCacheDelegator(cached, store)
	return delegator, sync.OnceFunc(func() {
		delegator.Stop()
		cached.Stop()
		destroy()
	}), nil
}

// raw makes a store without a cache. Each has a client of its own, as over a socket: what one of them asks
// of its watches is not answered to all.
func (e *embeddedStores) raw(config *storagebackend.ConfigForResource, prefix string, _ func(runtime.Object) (string, error),
	newObject, newList func() runtime.Object, _ apistorage.AttrFunc, _ apistorage.IndexerFuncs, _ *cache.Indexers,
) (apistorage.Interface, factory.DestroyFunc, error) {
	compactor, release, err := e.use(config)
	if err != nil {
		return nil, nil, err
	}
	client := &kubernetes.Client{Client: e.etcd.InProcess()}
	client.Kubernetes = client
	client.KV = etcd3.NewETCDLatencyTracker(client.KV)
	transformer := config.Transformer
	if transformer == nil {
		transformer = identity.NewEncryptCheckTransformer()
	}
	versioner := apistorage.APIObjectVersioner{}
	decoder := etcd3.NewDefaultDecoder(config.Codec, versioner)
	corruptGo := utilfeature.DefaultFeatureGate.Enabled(genericfeatures.AllowUnsafeMalformedObjectDeletion)
	if corruptGo {
		transformer, decoder = etcd3.WithCorruptObjErrorHandlingTransformer(transformer), etcd3.WithCorruptObjErrorHandlingDecoder(decoder)
	}
	store, err := etcd3.New(client, compactor, config.Codec, newObject, newList, config.Prefix, prefix, config.GroupResource,
		transformer, config.LeaseManagerConfig, decoder, versioner)
	if err != nil {
		release()
		_ = client.Close()
		return nil, nil, fmt.Errorf("making the store of %s: %w", config.GroupResource, err)
	}
	destroy := sync.OnceFunc(func() {
		release()
		store.Close()
		_ = client.Close()
	})
	if corruptGo {
		return etcd3.NewStoreWithUnsafeCorruptObjectDeletion(store, config.GroupResource), destroy, nil
	}
	return store, destroy, nil
}

// use gives the compactor, which ends when the last one has released it.
func (e *embeddedStores) use(config *storagebackend.ConfigForResource) (compactor etcd3.Compactor, release func(), err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.users == 0 {
		if err := e.beginCompaction(config); err != nil {
			return nil, nil, err
		}
	}
	e.users++
	return e.compactor, e.release, nil
}

// beginCompaction also has it found out what this etcd can do. That is asked of an endpoint, so the client is one of
// the socket.
func (e *embeddedStores) beginCompaction(config *storagebackend.ConfigForResource) error {
	client, err := e.etcd.Client()
	if err != nil {
		return err
	}
	feature.DefaultFeatureSupportChecker.CheckClient(client.Ctx(), client, apistorage.RequestWatchProgress)
	if config.CompactionInterval == 0 {
		e.endCompaction = func() { _ = client.Close() }
		return nil
	}
	compactor := etcd3.NewCompactor(client, config.CompactionInterval, clock.RealClock{}, nil)
	e.compactor = compactor
	e.endCompaction = func() {
		compactor.Stop()
		_ = client.Close()
	}
	return nil
}

func (e *embeddedStores) release() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.users--; e.users == 0 {
		e.endCompaction()
		e.compactor = nil
	}
}
