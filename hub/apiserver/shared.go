package apiserver

import (
	"hash/maphash"
	"slices"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/registry/generic"

	clusterv1alpha1 "windlass.dev/windlass/api/cluster/v1alpha1"
	"windlass.dev/windlass/hub/alike"
)

// enablements are what clusters serve. Each is held by the watch cache, more than once while it keeps old events, and by the
// controllers' informer.
var enablements = alike.New(
	func(hash *maphash.Hash, served clusterv1alpha1.APIEnablement) {
		maphash.WriteComparable(hash, served.GroupVersion)
		for _, resource := range served.Resources {
			maphash.WriteComparable(hash, resource)
		}
	},
	func(a, b clusterv1alpha1.APIEnablement) bool {
		return a.GroupVersion == b.GroupVersion && slices.Equal(a.Resources, b.Resources)
	})

// sharing are the options of a store that shares parts of what it decodes.
type sharing[T Object] struct {
	generic.RESTOptionsGetter
	share func(T)
}

// GetRESTOptions gives the options that the store would have without.
func (s sharing[T]) GetRESTOptions(resource schema.GroupResource, example runtime.Object) (generic.RESTOptions, error) {
	options, err := s.RESTOptionsGetter.GetRESTOptions(resource, example)
	if err != nil {
		return options, err
	}
	config := *options.StorageConfig
	config.Codec = sharingCodec[T]{Codec: config.Codec, share: s.share}
	options.StorageConfig = &config
	return options, nil
}

// sharingCodec shares parts of what it decodes.
type sharingCodec[T Object] struct {
	runtime.Codec
	share func(T)
}

// Decode decodes as the codec does.
func (c sharingCodec[T]) Decode(data []byte, defaults *schema.GroupVersionKind, into runtime.Object) (runtime.Object, *schema.GroupVersionKind, error) {
	object, kind, err := c.Codec.Decode(data, defaults, into)
	if typed, ok := object.(T); ok && err == nil {
		c.share(typed)
	}
	return object, kind, err
}
