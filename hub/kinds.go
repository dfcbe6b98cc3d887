package hub

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync/atomic"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/cache"

	appsv1alpha1 "windlass.dev/windlass/api/apps/v1alpha1"
	clusterv1alpha1 "windlass.dev/windlass/api/cluster/v1alpha1"
	policyv1alpha1 "windlass.dev/windlass/api/policy/v1alpha1"
	windlassv1alpha1 "windlass.dev/windlass/api/windlass/v1alpha1"
	workv1alpha1 "windlass.dev/windlass/api/work/v1alpha1"
	"windlass.dev/windlass/hub/apiserver"
	"windlass.dev/windlass/hub/store"
)

// kinds are the hub's own kinds as its controllers see them.
type kinds struct {
	policies    store.Scoped[policyv1alpha1.Policy]
	overrides   store.Scoped[policyv1alpha1.Override]
	bindings    store.Bindings
	works       store.Works
	clusters    store.Kind[*clusterv1alpha1.MemberCluster]
	rebalancers store.Kind[*appsv1alpha1.WorkloadRebalancer]
	informers   []cache.SharedIndexInformer
	// policyInformers are those of the two kinds of propagation policies.
	policyInformers []cache.SharedIndexInformer
	// worksListed is the revision of the first list of works.
	worksListed atomic.Int64
}

func newKinds(stores *apiserver.Stores) *kinds {
	k := &kinds{}
	policies := newKind(k, stores.PropagationPolicies, &policyv1alpha1.PropagationPolicy{}, nil)
	clusterPolicies := newKind(k, stores.ClusterPropagationPolicies, &policyv1alpha1.ClusterPropagationPolicy{}, nil)
	k.policies = store.Scoped[policyv1alpha1.Policy]{
		Namespaced: store.As[policyv1alpha1.Policy](policies),
		Cluster:    store.As[policyv1alpha1.Policy](clusterPolicies),
	}
	k.policyInformers = []cache.SharedIndexInformer{policies.Informer, clusterPolicies.Informer}
	k.overrides = store.Scoped[policyv1alpha1.Override]{
		Namespaced: store.As[policyv1alpha1.Override](newKind(k, stores.OverridePolicies, &policyv1alpha1.OverridePolicy{},
			cache.Indexers{cache.NamespaceIndex: cache.MetaNamespaceIndexFunc})),
		Cluster: store.As[policyv1alpha1.Override](newKind(k, stores.ClusterOverridePolicies, &policyv1alpha1.ClusterOverridePolicy{}, nil)),
	}
	bindings := newKind(k, stores.Bindings.Store, &workv1alpha1.PropagationBinding{}, store.BindingIndexers())
	clusterBindings := newKind(k, stores.ClusterBindings.Store, &workv1alpha1.ClusterPropagationBinding{}, store.BindingIndexers())
	k.bindings = store.Bindings{
		Scoped: store.Scoped[workv1alpha1.Binding]{
			Namespaced: store.As[workv1alpha1.Binding](bindings),
			Cluster:    store.As[workv1alpha1.Binding](clusterBindings),
		},
		UpdateSchedule: func(ctx context.Context, binding workv1alpha1.Binding) (workv1alpha1.Binding, error) {
			if namespaced, ok := binding.(*workv1alpha1.PropagationBinding); ok {
				return stores.Bindings.UpdateSchedule(ctx, namespaced)
			}
			return stores.ClusterBindings.UpdateSchedule(ctx, binding.(*workv1alpha1.ClusterPropagationBinding))
		},
	}
	works := &firstListRecorder{ListerWatcher: stores.Works.ListerWatcher(), revision: &k.worksListed}
	k.works = store.Works{
		Kind: kindOf(k, stores.Works, works, &workv1alpha1.PropagationWork{}, store.WorkIndexers()),
		Remove: func(ctx context.Context, work *workv1alpha1.PropagationWork, cause workv1alpha1.RemovalCause) error {
			return stores.Works.DeleteMarked(ctx, work.Namespace, work.Name, apiserver.DeleteOptions{UID: work.UID},
				func(work *workv1alpha1.PropagationWork) { work.Spec.RemovalCause = cause })
		},
		Replace: stores.Works.Replace,
	}
	k.clusters = newKind(k, stores.MemberClusters, &clusterv1alpha1.MemberCluster{}, clusterIndexers())
	k.rebalancers = newKind(k, stores.WorkloadRebalancers, &appsv1alpha1.WorkloadRebalancer{}, nil)
	return k
}

// storedPolicy reads a policy from the store; one without namespace is a ClusterPropagationPolicy.
func (h *hub) storedPolicy(ctx context.Context, namespace, name string) (policyv1alpha1.Policy, error) {
	if namespace == "" {
		return h.api.Stores.ClusterPropagationPolicies.Get(ctx, "", name)
	}
	return h.api.Stores.PropagationPolicies.Get(ctx, namespace, name)
}

func newKind[T apiserver.Object](k *kinds, s *apiserver.Store[T], example T, indexers cache.Indexers) store.Kind[T] {
	return kindOf(k, s, s.ListerWatcher(), example, indexers)
}

func kindOf[T apiserver.Object](k *kinds, s *apiserver.Store[T], lister cache.ListerWatcher, example T, indexers cache.Indexers) store.Kind[T] {
	if indexers == nil {
		indexers = cache.Indexers{}
	}
	informer := cache.NewSharedIndexInformer(lister, example, 0, indexers)
	k.informers = append(k.informers, informer)
	made := store.Kind[T]{Writer: writer[T]{s}, Informer: informer}
	s.Know(made.Get)
	return made
}

// firstListRecorder keeps the revision of the first list.
type firstListRecorder struct {
	cache.ListerWatcher
	revision *atomic.Int64
}

// IsWatchListSemanticsUnSupported tells reflectors to list first: a list costs no more here.
func (*firstListRecorder) IsWatchListSemanticsUnSupported() bool { return true }

func (r *firstListRecorder) List(options metav1.ListOptions) (runtime.Object, error) {
	list, err := r.ListerWatcher.List(options)
	if err != nil {
		return nil, err
	}
	accessor, err := meta.ListAccessor(list)
	if err != nil {
		return nil, err
	}
	number, err := strconv.ParseInt(accessor.GetResourceVersion(), 10, 64)
	if err != nil {
		return nil, fmt.Errorf("reading the revision of a list: %w", err)
	}
	r.revision.CompareAndSwap(0, number)
	return list, nil
}

// writer writes through the registry, in this process.
type writer[T apiserver.Object] struct{ store *apiserver.Store[T] }

func (w writer[T]) Create(ctx context.Context, obj T) (T, error) { return w.store.Create(ctx, obj) }

func (w writer[T]) Update(ctx context.Context, obj T) (T, error) { return w.store.Update(ctx, obj) }

func (w writer[T]) UpdateStatus(ctx context.Context, obj T) (T, error) {
	return w.store.UpdateStatus(ctx, obj)
}

func (w writer[T]) Delete(ctx context.Context, obj T) error {
	return w.store.Delete(ctx, obj.GetNamespace(), obj.GetName(), apiserver.DeleteOptions{UID: obj.GetUID()})
}

// By what enrolment finds clusters.
const (
	byClusterID  = "id"
	byKubeSystem = "kubeSystem"
)

func clusterIndexers() cache.Indexers {
	return cache.Indexers{
		byClusterID: func(obj any) ([]string, error) { return known(obj.(*clusterv1alpha1.MemberCluster).Spec.ID), nil },
		byKubeSystem: func(obj any) ([]string, error) {
			agent := obj.(*clusterv1alpha1.MemberCluster).Status.Agent
			if agent == nil {
				return nil, nil
			}
			return known(agent.KubeSystemUID), nil
		},
	}
}

func known(value string) []string {
	if value == "" {
		return nil
	}
	return []string{value}
}

// clusterStore is what enrolment needs: reads that see every write, and names out of the cache.
type clusterStore struct {
	*apiserver.Store[*clusterv1alpha1.MemberCluster]
	cached store.Kind[*clusterv1alpha1.MemberCluster]
}

// WithID implements enroll.Clusters.
func (s clusterStore) WithID(id string) []string { return s.names(byClusterID, id) }

// WithKubeSystem implements enroll.Clusters.
func (s clusterStore) WithKubeSystem(uid string) []string { return s.names(byKubeSystem, uid) }

func (s clusterStore) names(index, value string) (names []string) {
	for _, cluster := range s.cached.ByIndex(index, value) {
		names = append(names, cluster.Name)
	}
	slices.Sort(names)
	return names
}

func (s clusterStore) Get(ctx context.Context, name string) (*clusterv1alpha1.MemberCluster, error) {
	return s.Store.Get(ctx, "", name)
}

func (s clusterStore) List(ctx context.Context) ([]*clusterv1alpha1.MemberCluster, error) {
	clusters, _, err := s.Store.List(ctx, apiserver.ListOptions{})
	return clusters, err
}

// tokenStore is what enrolment needs of the join tokens.
type tokenStore struct {
	*apiserver.Store[*windlassv1alpha1.JoinToken]
}

func (s tokenStore) Get(ctx context.Context, name string) (*windlassv1alpha1.JoinToken, error) {
	return s.Store.Get(ctx, "", name)
}
