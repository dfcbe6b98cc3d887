// Package storetest stands in for the hub's store in the tests of those who read and write it: it keeps
// the rules of the real one that their correctness rests on (resource versions, generations, finalizers,
// UIDs), and lets a test decide when a cache learns of a write and which write fails.
package storetest

import (
	"context"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"

	appsv1alpha1 "windlass.dev/windlass/api/apps/v1alpha1"
	clusterv1alpha1 "windlass.dev/windlass/api/cluster/v1alpha1"
	policyv1alpha1 "windlass.dev/windlass/api/policy/v1alpha1"
	workv1alpha1 "windlass.dev/windlass/api/work/v1alpha1"
	"windlass.dev/windlass/hub/store"
)

// Began is the creation time of every object that does not say another.
var Began = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

// A Store holds all of the hub's own kinds.
type Store struct {
	PropagationPolicies        *Kind[*policyv1alpha1.PropagationPolicy]
	ClusterPropagationPolicies *Kind[*policyv1alpha1.ClusterPropagationPolicy]
	OverridePolicies           *Kind[*policyv1alpha1.OverridePolicy]
	ClusterOverridePolicies    *Kind[*policyv1alpha1.ClusterOverridePolicy]
	PropagationBindings        *Kind[*workv1alpha1.PropagationBinding]
	ClusterPropagationBindings *Kind[*workv1alpha1.ClusterPropagationBinding]
	PropagationWorks           *Kind[*workv1alpha1.PropagationWork]
	MemberClusters             *Kind[*clusterv1alpha1.MemberCluster]
	WorkloadRebalancers        *Kind[*appsv1alpha1.WorkloadRebalancer]
}

// New makes an empty store.
func New() *Store {
	r := &revisions{}
	return &Store{
		PropagationPolicies:        newKind(r, "propagationpolicies", &policyv1alpha1.PropagationPolicy{}, nil),
		ClusterPropagationPolicies: newKind(r, "clusterpropagationpolicies", &policyv1alpha1.ClusterPropagationPolicy{}, nil),
		OverridePolicies:           newKind(r, "overridepolicies", &policyv1alpha1.OverridePolicy{}, cache.Indexers{cache.NamespaceIndex: cache.MetaNamespaceIndexFunc}),
		ClusterOverridePolicies:    newKind(r, "clusteroverridepolicies", &policyv1alpha1.ClusterOverridePolicy{}, nil),
		PropagationBindings:        newKind(r, "propagationbindings", &workv1alpha1.PropagationBinding{}, store.BindingIndexers()),
		ClusterPropagationBindings: newKind(r, "clusterpropagationbindings", &workv1alpha1.ClusterPropagationBinding{}, store.BindingIndexers()),
		PropagationWorks:           newKind(r, "propagationworks", &workv1alpha1.PropagationWork{}, store.WorkIndexers()),
		MemberClusters:             newKind(r, "memberclusters", &clusterv1alpha1.MemberCluster{}, nil),
		WorkloadRebalancers:        newKind(r, "workloadrebalancers", &appsv1alpha1.WorkloadRebalancer{}, nil),
	}
}

// Policies are the propagation policies of both scopes.
func (s *Store) Policies() store.Scoped[policyv1alpha1.Policy] {
	return store.Scoped[policyv1alpha1.Policy]{
		Namespaced: store.As[policyv1alpha1.Policy](s.PropagationPolicies.Kind()),
		Cluster:    store.As[policyv1alpha1.Policy](s.ClusterPropagationPolicies.Kind()),
	}
}

// Overrides are the override policies of both scopes.
func (s *Store) Overrides() store.Scoped[policyv1alpha1.Override] {
	return store.Scoped[policyv1alpha1.Override]{
		Namespaced: store.As[policyv1alpha1.Override](s.OverridePolicies.Kind()),
		Cluster:    store.As[policyv1alpha1.Override](s.ClusterOverridePolicies.Kind()),
	}
}

// Bindings are the bindings of both scopes.
func (s *Store) Bindings() store.Bindings {
	return store.Bindings{
		Scoped: store.Scoped[workv1alpha1.Binding]{
			Namespaced: store.As[workv1alpha1.Binding](s.PropagationBindings.Kind()),
			Cluster:    store.As[workv1alpha1.Binding](s.ClusterPropagationBindings.Kind()),
		},
		UpdateSchedule: func(_ context.Context, binding workv1alpha1.Binding) (workv1alpha1.Binding, error) {
			if namespaced, ok := binding.(*workv1alpha1.PropagationBinding); ok {
				return s.PropagationBindings.replace("schedule", namespaced, schedule)
			}
			return s.ClusterPropagationBindings.replace("schedule", binding.(*workv1alpha1.ClusterPropagationBinding), schedule)
		},
	}
}

// Works are the works of all clusters.
func (s *Store) Works() store.Works {
	return store.Works{
		Kind: s.PropagationWorks.Kind(),
		Remove: func(_ context.Context, work *workv1alpha1.PropagationWork, cause workv1alpha1.RemovalCause) error {
			return s.PropagationWorks.remove("remove "+string(cause), work, func(work *workv1alpha1.PropagationWork) { work.Spec.RemovalCause = cause })
		},
		Replace: s.PropagationWorks.supersede,
	}
}

// schedule is the store's rule for what the scheduler writes: the clusters, the placement that it notes, and its part of the status.
func schedule[T workv1alpha1.Binding](next, said T) {
	if !equality.Semantic.DeepEqual(next.GetSpec().Clusters, said.GetSpec().Clusters) {
		next.SetGeneration(next.GetGeneration() + 1)
	}
	next.GetSpec().Clusters, next.GetSpec().GracefulEvictionTasks = said.GetSpec().Clusters, said.GetSpec().GracefulEvictionTasks
	if placement, ok := said.GetAnnotations()[workv1alpha1.AppliedPlacementAnnotation]; ok {
		annotations := maps.Clone(next.GetAnnotations())
		if annotations == nil {
			annotations = map[string]string{}
		}
		annotations[workv1alpha1.AppliedPlacementAnnotation] = placement
		next.SetAnnotations(annotations)
	}
	status := next.GetStatus()
	status.SchedulerObservedGeneration = next.GetGeneration()
	status.SchedulerObservingAffinityName = said.GetStatus().SchedulerObservingAffinityName
	status.LastScheduledTime = said.GetStatus().LastScheduledTime
	if condition := meta.FindStatusCondition(said.GetStatus().Conditions, workv1alpha1.BindingScheduled); condition != nil {
		scheduled := *condition
		scheduled.ObservedGeneration = next.GetGeneration()
		meta.SetStatusCondition(&status.Conditions, scheduled)
	}
}

// revisions counts the writes to all kinds, as a store does.
type revisions struct {
	mu   sync.Mutex
	last int64
}

func (r *revisions) next() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last++
	return strconv.FormatInt(r.last, 10)
}

// A Kind holds the objects of one kind. It is safe for concurrent use.
type Kind[T store.Object] struct {
	// Refuse, when set, is asked before every write, and its error is the write's. The verb is one of
	// create, replace, update, status, schedule, delete, or "remove <cause>".
	Refuse func(verb string, obj T) error

	resource  schema.GroupResource
	revisions *revisions
	informer  *informer

	// publishing keeps an older state of the store from being told after a newer one.
	publishing sync.Mutex

	mu      sync.Mutex
	objects map[types.NamespacedName]T
	writes  []string
	held    bool
}

func newKind[T store.Object](r *revisions, resource string, example T, indexers cache.Indexers) *Kind[T] {
	if indexers == nil {
		indexers = cache.Indexers{}
	}
	return &Kind[T]{
		resource:  schema.GroupResource{Group: "test", Resource: resource},
		revisions: r,
		informer:  &informer{SharedIndexInformer: cache.NewSharedIndexInformer(&cache.ListWatch{}, example, 0, indexers)},
		objects:   map[types.NamespacedName]T{},
	}
}

// Kind is what the code under test gets.
func (k *Kind[T]) Kind() store.Kind[T] { return store.Kind[T]{Writer: k, Informer: k.informer} }

// Put stores an object as it is, by nobody's rules but that it gets a resource version, and a UID, a
// generation and a creation time if it has none. The cache learns of it. It counts as nobody's write.
func (k *Kind[T]) Put(obj T) T {
	stored := obj.DeepCopyObject().(T)
	if stored.GetUID() == "" {
		stored.SetUID(types.UID("uid-" + k.revisions.next()))
	}
	if stored.GetGeneration() == 0 {
		stored.SetGeneration(1)
	}
	if created := stored.GetCreationTimestamp(); created.IsZero() {
		stored.SetCreationTimestamp(metav1.NewTime(Began))
	}
	stored.SetResourceVersion(k.revisions.next())
	k.mu.Lock()
	k.objects[store.Key(stored)] = stored
	k.mu.Unlock()
	k.publish()
	return stored.DeepCopyObject().(T)
}

// Change lets a test write what somebody else would. It fails when there is no such object.
func (k *Kind[T]) Change(namespace, name string, change func(T)) T {
	obj, ok := k.Get(namespace, name)
	if !ok {
		panic(fmt.Sprintf("there is no %s %s/%s", k.resource.Resource, namespace, name))
	}
	change(obj)
	return k.Put(obj)
}

// Drop takes an object out of the store, whatever finalizers it has.
func (k *Kind[T]) Drop(namespace, name string) {
	k.mu.Lock()
	delete(k.objects, types.NamespacedName{Namespace: namespace, Name: name})
	k.mu.Unlock()
	k.publish()
}

// Get returns what the store has, whatever the cache shows.
func (k *Kind[T]) Get(namespace, name string) (T, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	obj, ok := k.objects[types.NamespacedName{Namespace: namespace, Name: name}]
	if !ok {
		return obj, false
	}
	return obj.DeepCopyObject().(T), true
}

// List returns what the store has, in the order of keys.
func (k *Kind[T]) List() []T {
	k.mu.Lock()
	defer k.mu.Unlock()
	list := []T{}
	for _, obj := range k.objects {
		list = append(list, obj.DeepCopyObject().(T))
	}
	slices.SortFunc(list, func(a, b T) int {
		return slices.Compare([]string{a.GetNamespace(), a.GetName()}, []string{b.GetNamespace(), b.GetName()})
	})
	return list
}

// Writes returns what was written since it was last called, such as "create ns/name", sorted: several
// are often written at once.
func (k *Kind[T]) Writes() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	writes := k.writes
	k.writes = nil
	slices.Sort(writes)
	return writes
}

// Hold keeps the cache as it is until Release, as if the watch were slow.
func (k *Kind[T]) Hold() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.held = true
}

// Release lets the cache learn of everything that was written since Hold.
func (k *Kind[T]) Release() {
	k.mu.Lock()
	k.held = false
	k.mu.Unlock()
	k.publish()
}

// Create implements store.Writer.
func (k *Kind[T]) Create(_ context.Context, obj T) (T, error) {
	var none T
	if err := k.begin("create", obj); err != nil {
		return none, err
	}
	created := k.fresh(obj)
	k.mu.Lock()
	if _, ok := k.objects[store.Key(obj)]; ok {
		k.mu.Unlock()
		return none, apierrors.NewAlreadyExists(k.resource, obj.GetName())
	}
	k.objects[store.Key(obj)] = created
	k.mu.Unlock()
	k.publish()
	return created.DeepCopyObject().(T), nil
}

// fresh is an object as it is stored when it is new.
func (k *Kind[T]) fresh(obj T) T {
	created := obj.DeepCopyObject().(T)
	field(created, "Status").SetZero()
	created.SetUID(types.UID("uid-" + k.revisions.next()))
	created.SetGeneration(1)
	created.SetCreationTimestamp(metav1.NewTime(Began))
	created.SetDeletionTimestamp(nil)
	created.SetResourceVersion(k.revisions.next())
	return created
}

// supersede puts a new object in the place of one that is being deleted.
func (k *Kind[T]) supersede(_ context.Context, leaving, obj T) (T, error) {
	var none T
	if err := k.begin("replace", obj); err != nil {
		return none, err
	}
	k.mu.Lock()
	present, ok := k.objects[store.Key(leaving)]
	if !ok || present.GetDeletionTimestamp() == nil || present.GetResourceVersion() != leaving.GetResourceVersion() {
		k.mu.Unlock()
		return none, apierrors.NewConflict(k.resource, obj.GetName(), fmt.Errorf("the object has changed"))
	}
	created := k.fresh(obj)
	k.objects[store.Key(obj)] = created
	k.mu.Unlock()
	k.publish()
	return created.DeepCopyObject().(T), nil
}

// Update implements store.Writer.
func (k *Kind[T]) Update(_ context.Context, obj T) (T, error) {
	return k.replace("update", obj, func(next, said T) {
		next.SetLabels(said.GetLabels())
		next.SetAnnotations(said.GetAnnotations())
		next.SetFinalizers(said.GetFinalizers())
		changed := !equality.Semantic.DeepEqual(field(next, "Spec").Interface(), field(said, "Spec").Interface())
		field(next, "Spec").Set(field(said, "Spec"))
		if changed {
			next.SetGeneration(next.GetGeneration() + 1)
		}
	})
}

// UpdateStatus implements store.Writer.
func (k *Kind[T]) UpdateStatus(_ context.Context, obj T) (T, error) {
	return k.replace("status", obj, func(next, said T) { field(next, "Status").Set(field(said, "Status")) })
}

// Delete implements store.Writer.
func (k *Kind[T]) Delete(_ context.Context, obj T) error {
	return k.remove("delete", obj, func(T) {})
}

// replace writes a new state of an object, which take makes out of the present one and what was said.
func (k *Kind[T]) replace(verb string, obj T, take func(next, said T)) (T, error) {
	var none T
	if err := k.begin(verb, obj); err != nil {
		return none, err
	}
	k.mu.Lock()
	present, ok := k.objects[store.Key(obj)]
	switch {
	case !ok:
		k.mu.Unlock()
		return none, apierrors.NewNotFound(k.resource, obj.GetName())
	case obj.GetUID() != present.GetUID() || obj.GetResourceVersion() != present.GetResourceVersion():
		k.mu.Unlock()
		return none, apierrors.NewConflict(k.resource, obj.GetName(), fmt.Errorf("the object has changed"))
	}
	next := present.DeepCopyObject().(T)
	take(next, obj.DeepCopyObject().(T))
	next.SetResourceVersion(k.revisions.next())
	if next.GetDeletionTimestamp() != nil && len(next.GetFinalizers()) == 0 {
		delete(k.objects, store.Key(obj))
	} else {
		k.objects[store.Key(obj)] = next
	}
	k.mu.Unlock()
	k.publish()
	return next.DeepCopyObject().(T), nil
}

func (k *Kind[T]) remove(verb string, obj T, mark func(T)) error {
	if err := k.begin(verb, obj); err != nil {
		return err
	}
	k.mu.Lock()
	present, ok := k.objects[store.Key(obj)]
	switch {
	case !ok:
		k.mu.Unlock()
		return apierrors.NewNotFound(k.resource, obj.GetName())
	case obj.GetUID() != present.GetUID():
		k.mu.Unlock()
		return apierrors.NewConflict(k.resource, obj.GetName(), fmt.Errorf("the UID is another one"))
	case len(present.GetFinalizers()) == 0:
		delete(k.objects, store.Key(obj))
	default:
		next := present.DeepCopyObject().(T)
		mark(next)
		if next.GetDeletionTimestamp() == nil {
			next.SetDeletionTimestamp(&metav1.Time{Time: Began.Add(time.Hour)})
			next.SetGeneration(next.GetGeneration() + 1)
		}
		next.SetResourceVersion(k.revisions.next())
		k.objects[store.Key(obj)] = next
	}
	k.mu.Unlock()
	k.publish()
	return nil
}

func (k *Kind[T]) begin(verb string, obj T) error {
	k.mu.Lock()
	name := obj.GetName()
	if obj.GetNamespace() != "" {
		name = obj.GetNamespace() + "/" + name
	}
	k.writes = append(k.writes, verb+" "+name)
	refuse := k.Refuse
	k.mu.Unlock()
	if refuse == nil {
		return nil
	}
	return refuse(verb, obj)
}

// publish makes the cache what the store is, and tells the handlers, unless the cache is held.
func (k *Kind[T]) publish() {
	k.publishing.Lock()
	defer k.publishing.Unlock()
	k.mu.Lock()
	if k.held {
		k.mu.Unlock()
		return
	}
	objects := map[string]any{}
	for key, obj := range k.objects {
		name := key.String()
		if key.Namespace == "" {
			name = key.Name
		}
		objects[name] = obj
	}
	k.mu.Unlock()
	k.informer.become(objects)
}

// field returns Spec or Status of an object.
func field(obj any, name string) reflect.Value {
	return reflect.ValueOf(obj).Elem().FieldByName(name)
}
