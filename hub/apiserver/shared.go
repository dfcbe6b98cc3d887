package apiserver

import (
	"bytes"
	"hash/maphash"
	"slices"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/registry/generic"

	clusterv1alpha1 "windlass.dev/windlass/api/cluster/v1alpha1"
	workv1alpha1 "windlass.dev/windlass/api/work/v1alpha1"
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

// contents are manifests and statuses. Works for many clusters have them alike, and so have the clusters of a binding.
var contents = alike.NewBytes()

// shareContents gives manifests and statuses that works have alike one copy.
func shareContents(work *workv1alpha1.PropagationWork) {
	for i := range work.Spec.Workload.Manifests {
		manifest := &work.Spec.Workload.Manifests[i]
		manifest.Raw = contents.Of(manifest.Raw)
	}
	for i := range work.Status.ManifestStatuses {
		if status := work.Status.ManifestStatuses[i].Status; status != nil {
			status.Raw = contents.Of(status.Raw)
		}
	}
}

// targets are the clusters of bindings. A binding has the same ones for hundreds of its statuses.
var targets = alike.New(
	func(hash *maphash.Hash, target workv1alpha1.TargetCluster) {
		hash.WriteString(target.Name)
		maphash.WriteComparable(hash, target.Replicas)
	},
	func(a, b workv1alpha1.TargetCluster) bool {
		return a.Name == b.Name && a.Replicas == b.Replicas && len(a.Components)+len(b.Components) == 0
	})

// shareTargets gives what bindings, or versions of one, have alike one copy: a binding of a thousand clusters is a megabyte.
func shareTargets[T workv1alpha1.Binding](binding T) {
	spec, status := binding.GetSpec(), binding.GetStatus()
	spec.Clusters = targets.Of(spec.Clusters)
	places := min(len(spec.Clusters), len(status.AggregatedStatus))
	var before *runtime.RawExtension
	for i := range status.AggregatedStatus {
		item := &status.AggregatedStatus[i]
		if i < places && spec.Clusters[i].Name == item.ClusterName {
			item.ClusterName = spec.Clusters[i].Name
		}
		if item.Status == nil {
			continue
		}
		item.Status.Raw = contents.Of(item.Status.Raw)
		if before != nil && bytes.Equal(before.Raw, item.Status.Raw) {
			item.Status = before
		}
		before = item.Status
	}
}

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
