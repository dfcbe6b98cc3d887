package apiserver

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metainternalversion "k8s.io/apimachinery/pkg/apis/meta/internalversion"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/registry/generic/registry"
	"k8s.io/apiserver/pkg/registry/rest"
	apistorage "k8s.io/apiserver/pkg/storage"
	storeerr "k8s.io/apiserver/pkg/storage/errors"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"
	kubeoptions "k8s.io/kubernetes/pkg/kubeapiserver/options"

	workv1alpha1 "windlass.dev/windlass/api/work/v1alpha1"
)

// Store reads and writes one of the hub's kinds in this process, past the network, authorization,
// admission and audit, but through the same defaults, validation, encryption and, where the kind has one, watch cache as
// everybody else's writes. Errors are those of the API (k8s.io/apimachinery/pkg/api/errors). All
// methods may be called concurrently, from New on; they wait for the store as long as ctx allows.
//
// What Get, List and Watch return may be shared with a watch cache, and its parts with other objects: it is read-only, and copied
// by whoever wants to change it. What is passed in is not changed and not kept.
type Store[T Object] struct {
	kind         *kind[T]
	main, status *registry.Store
	known        *known[T]
	guards       []func(context.Context, T) error
}

// BindingStore is the store of a kind of bindings.
type BindingStore[T workv1alpha1.Binding] struct {
	*Store[T]
	schedule *registry.Store
}

// ListOptions narrow a List or a Watch.
type ListOptions struct {
	// Namespace to read; empty means all.
	Namespace string
	// Selector of labels; nil means everything.
	Selector labels.Selector
	// Cached true reads what the watch cache has, if there is one, which may be a little behind the store. Without
	// it a List shows every write that was acknowledged before it began.
	Cached bool
}

// DeleteOptions are the conditions of a Delete, and how it is carried out.
type DeleteOptions struct {
	// UID and ResourceVersion must be the object's, unless empty.
	UID             types.UID
	ResourceVersion string
	// Propagation is for the garbage collector; empty means background.
	Propagation metav1.DeletionPropagation
}

// Get reads one object from the store, not from a cache. Namespace is empty for kinds without.
func (s *Store[T]) Get(ctx context.Context, namespace, name string) (T, error) {
	return s.result(s.main.Get(in(ctx, namespace), name, &metav1.GetOptions{}))
}

// Keys is what the keys of the objects of a namespace begin with in etcd, before their names.
func (s *Store[T]) Keys(namespace string) string {
	return kubeoptions.DefaultEtcdPathPrefix + s.main.KeyRootFunc(in(context.Background(), namespace)) + "/"
}

// List reads the objects that the options select, and the version of the store that they show.
func (s *Store[T]) List(ctx context.Context, options ListOptions) (objects []T, resourceVersion string, err error) {
	list, err := s.list(ctx, options.Namespace, &metainternalversion.ListOptions{
		LabelSelector: options.Selector, ResourceVersion: cachedVersion(options.Cached),
	})
	if err != nil {
		return nil, "", err
	}
	accessor, err := meta.ListAccessor(list)
	if err != nil {
		return nil, "", fmt.Errorf("listing %s: %w", s.kind.resource(), err)
	}
	err = meta.EachListItem(list, func(item runtime.Object) error {
		objects = append(objects, item.(T))
		return nil
	})
	return objects, accessor.GetResourceVersion(), err
}

// Watch tells of every change after resourceVersion; "" begins with what there is. Events of type
// Error carry a *metav1.Status. The watch ends with ctx, when it is stopped, or, if the kind has a watch cache, when it falls too
// far behind: of the others everything that is told waits until it is taken.
func (s *Store[T]) Watch(ctx context.Context, resourceVersion string, options ListOptions) (watch.Interface, error) {
	return s.watch(ctx, options.Namespace, &metainternalversion.ListOptions{
		LabelSelector: options.Selector, ResourceVersion: resourceVersion,
	})
}

// Create stores a new object and returns it as stored. A status in it is dropped.
func (s *Store[T]) Create(ctx context.Context, object T) (T, error) {
	if err := s.guard(ctx, object); err != nil {
		var none T
		return none, err
	}
	own := object.DeepCopyObject()
	return s.result(s.main.Create(in(ctx, object.GetNamespace()), own, nil, &metav1.CreateOptions{}))
}

// Replace puts a new object in the place of one that is being deleted, whatever finalizers that has, and
// returns it as stored. It is one write: whoever looks finds the one or the other, and never neither; a
// watch shows it as a change, of the UID too. It fails with a conflict when leaving is not what the store
// has, and is refused for an object that nobody deletes.
func (s *Store[T]) Replace(ctx context.Context, leaving, object T) (T, error) {
	var none T
	if leaving.GetDeletionTimestamp() == nil {
		return none, apierrors.NewConflict(s.kind.resource(), leaving.GetName(), errors.New("only an object that is being deleted can be replaced"))
	}
	if err := s.guard(ctx, object); err != nil {
		return none, err
	}
	ctx = in(ctx, object.GetNamespace())
	key, err := s.main.KeyFunc(ctx, object.GetName())
	if err != nil {
		return none, err
	}
	own := object.DeepCopyObject().(T)
	rest.FillObjectMetaSystemFields(own)
	if err := rest.BeforeCreate(s.main.CreateStrategy, ctx, own); err != nil {
		return none, err
	}
	uid, version := leaving.GetUID(), leaving.GetResourceVersion()
	stored := s.main.NewFunc()
	err = s.main.Storage.GuaranteedUpdate(ctx, key, stored, false, &apistorage.Preconditions{UID: &uid, ResourceVersion: &version},
		func(runtime.Object, apistorage.ResponseMeta) (runtime.Object, *uint64, error) { return own, nil, nil }, false, nil)
	if apistorage.IsNotFound(err) {
		return none, apierrors.NewConflict(s.kind.resource(), object.GetName(), errors.New("the object is gone by now"))
	}
	if err != nil {
		return none, storeerr.InterpretUpdateError(err, s.kind.resource(), object.GetName())
	}
	return s.result(stored, nil)
}

// Update writes everything but the status. The object must carry the resource version that the
// decision to change it was made on. Removing the last finalizer of an object that is being deleted
// deletes it.
func (s *Store[T]) Update(ctx context.Context, object T) (T, error) {
	if object.GetDeletionTimestamp() != nil && len(object.GetFinalizers()) == 0 && object.GetResourceVersion() != "" {
		return object, s.end(ctx, object)
	}
	return s.update(ctx, s.main, object)
}

// end deletes an object that is being deleted and that nothing keeps any more. The registry's update would do the same, after
// it has prepared a state that is never written and read the object anew.
func (s *Store[T]) end(ctx context.Context, object T) error {
	ctx = in(ctx, object.GetNamespace())
	key, err := s.main.KeyFunc(ctx, object.GetName())
	if err != nil {
		return err
	}
	uid, version := object.GetUID(), object.GetResourceVersion()
	deleted := func(_ context.Context, existing runtime.Object) error {
		if existing.(T).GetDeletionTimestamp() == nil {
			return apierrors.NewConflict(s.kind.resource(), object.GetName(), errors.New("nobody deletes the object"))
		}
		return nil
	}
	err = s.main.Storage.Delete(ctx, key, s.main.NewFunc(), &apistorage.Preconditions{UID: &uid, ResourceVersion: &version}, deleted, false, nil, apistorage.DeleteOptions{})
	return storeerr.InterpretDeleteError(err, s.kind.resource(), object.GetName())
}

// UpdateStatus writes the status and nothing else. One that is the same as before costs no write.
func (s *Store[T]) UpdateStatus(ctx context.Context, object T) (T, error) {
	return s.update(ctx, s.status, object)
}

// UpdateSchedule writes what the scheduler decided, and nothing else, in one write: spec.clusters, what stays for a
// while in spec.gracefulEvictionTasks, the Scheduled condition, status.schedulerObservingAffinityName,
// status.lastScheduledTime and the annotation of the applied placement. status.schedulerObservedGeneration becomes the generation
// that results.
func (s *BindingStore[T]) UpdateSchedule(ctx context.Context, object T) (T, error) {
	return s.update(ctx, s.schedule, object)
}

// Delete marks the object as being deleted, or removes it when no finalizer keeps it.
func (s *Store[T]) Delete(ctx context.Context, namespace, name string, options DeleteOptions) error {
	if options.Propagation != "" { // the registry writes down what the garbage collector shall do
		return s.delete(ctx, namespace, name, options)
	}
	return s.DeleteMarked(ctx, namespace, name, options, func(T) {})
}

func (s *Store[T]) delete(ctx context.Context, namespace, name string, options DeleteOptions) error {
	_, _, err := s.main.Delete(in(ctx, namespace), name, rest.ValidateAllObjectFunc, options.meta())
	return err
}

// DeleteMarked deletes like Delete, and in the same write lets mark change the object: what it
// leaves there is seen together with the deletion timestamp. An object that no finalizer keeps is
// removed without the mark being seen, and one that is being deleted already is marked again.
func (s *Store[T]) DeleteMarked(ctx context.Context, namespace, name string, options DeleteOptions, mark func(T)) error {
	ctx = in(ctx, namespace)
	key, err := s.main.KeyFunc(ctx, name)
	if err != nil {
		return err
	}
	preconditions := options.meta().Preconditions
	if preconditions == nil {
		preconditions = &metav1.Preconditions{}
	}
	// The registry's deletion ends in the same write, after it has read the object from the store.
	err = s.main.Storage.GuaranteedUpdate(ctx, key, s.main.NewFunc(), false, &apistorage.Preconditions{UID: preconditions.UID, ResourceVersion: preconditions.ResourceVersion},
		apistorage.SimpleUpdate(func(existing runtime.Object) (runtime.Object, error) {
			object := existing.(T)
			if len(object.GetFinalizers()) == 0 {
				return nil, errNothingKeepsIt
			}
			mark(object)
			markDeleted(object)
			return object, nil
		}), false, nil)
	if errors.Is(err, errNothingKeepsIt) {
		return s.delete(ctx, namespace, name, options)
	}
	return storeerr.InterpretUpdateError(err, s.kind.resource(), name)
}

var errNothingKeepsIt = errors.New("no finalizer keeps the object")

// markDeleted marks an object as being deleted, as the registry does.
func markDeleted(object metav1.Object) {
	if object.GetDeletionTimestamp() == nil {
		now := metav1.Now()
		object.SetDeletionTimestamp(&now)
		object.SetGeneration(object.GetGeneration() + 1)
	}
	object.SetDeletionGracePeriodSeconds(new(int64))
}

// Know has updates and deletions of a kind without a watch cache begin with what a cache of this process has, which saves a
// read. It may be behind; what it returns is not changed.
func (s *Store[T]) Know(find func(namespace, name string) (T, bool)) {
	l := lookup[T](find)
	s.known.lookup.Store(&l)
}

// Guard makes every Create and Replace in this process ask check first. It must be called before the store is used.
func (s *Store[T]) Guard(check func(context.Context, T) error) { s.guards = append(s.guards, check) }

func (s *Store[T]) guard(ctx context.Context, object T) error {
	for _, check := range s.guards {
		if err := check(ctx, object); err != nil {
			return err
		}
	}
	return nil
}

// ListerWatcher feeds a client-go informer with all objects of the kind, past the API's own serialisation.
// What the informer then holds is shared and read-only.
func (s *Store[T]) ListerWatcher() cache.ListerWatcher { return &listerWatcher[T]{store: s} }

// update names no validation of admission, and nor does Create: even for one that allows everything the registry copies the objects.
func (s *Store[T]) update(ctx context.Context, through *registry.Store, object T) (T, error) {
	updated, _, err := through.Update(in(ctx, object.GetNamespace()), object.GetName(), rest.DefaultUpdatedObjectInfo(object),
		nil, nil, false, &metav1.UpdateOptions{})
	return s.result(updated, err)
}

func (s *Store[T]) list(ctx context.Context, namespace string, options *metainternalversion.ListOptions) (runtime.Object, error) {
	return s.main.List(in(ctx, namespace), options)
}

func (s *Store[T]) watch(ctx context.Context, namespace string, options *metainternalversion.ListOptions) (watch.Interface, error) {
	events, err := s.main.Watch(in(ctx, namespace), options)
	if err != nil || !s.known.cached {
		return events, err
	}
	return watch.Filter(events, s.own), nil
}

func (s *Store[T]) result(object runtime.Object, err error) (T, error) {
	var none T
	if err != nil {
		return none, err
	}
	typed, ok := object.(T)
	if !ok {
		return none, fmt.Errorf("the store of %s returned a %T", s.kind.resource(), object)
	}
	return typed, nil
}

// own gives the object of an event that the watch cache wrapped to encode it only once. Wrapped or not, it is a copy for this watch.
func (s *Store[T]) own(event watch.Event) (watch.Event, bool) {
	if wrapped, ok := event.Object.(runtime.CacheableObject); ok {
		event.Object = wrapped.GetObject()
	}
	if object, ok := event.Object.(T); ok && s.kind.share != nil {
		s.kind.share(object)
	}
	return event, true
}

// self is who writes in this process.
var self user.Info = &user.DefaultInfo{Name: "system:windlass", Groups: []string{user.SystemPrivilegedGroup, user.AllAuthenticated}}

// in is the context that a request of the hub itself has.
func in(ctx context.Context, namespace string) context.Context {
	return request.WithUser(request.WithNamespace(ctx, namespace), self)
}

func cachedVersion(cached bool) string {
	if cached {
		return "0"
	}
	return ""
}

func (o DeleteOptions) meta() *metav1.DeleteOptions {
	result := &metav1.DeleteOptions{}
	if o.UID != "" || o.ResourceVersion != "" {
		result.Preconditions = &metav1.Preconditions{}
	}
	if o.UID != "" {
		result.Preconditions.UID = &o.UID
	}
	if o.ResourceVersion != "" {
		result.Preconditions.ResourceVersion = &o.ResourceVersion
	}
	if o.Propagation != "" {
		result.PropagationPolicy = &o.Propagation
	}
	return result
}

// listerWatcher is a store as reflectors want it.
type listerWatcher[T Object] struct{ store *Store[T] }

var _ cache.ListerWatcherWithContext = (*listerWatcher[Object])(nil)

// List lists by a reflector's options.
func (l *listerWatcher[T]) List(options metav1.ListOptions) (runtime.Object, error) {
	return l.ListWithContext(context.Background(), options)
}

// Watch watches by a reflector's options.
func (l *listerWatcher[T]) Watch(options metav1.ListOptions) (watch.Interface, error) {
	return l.WatchWithContext(context.Background(), options)
}

// pageOfList is how many objects are listed at a time out of the store itself: enough that it does not matter how it counts, for each page, what is left.
const pageOfList = 5000

// listOptions are a reflector's options for a list. Whole lists out of a watch cache cost nothing here, so of those there are no pages. Of a store
// without one every list is of what it has now: for a page it would take a version that the reflector has seen for the only one that may be
// listed, and for one not older than that.
func listOptions(options metav1.ListOptions, cached bool) metav1.ListOptions {
	if cached {
		options.Limit, options.Continue = 0, ""
		return options
	}
	if options.Limit > 0 {
		options.Limit = pageOfList
	}
	if options.Continue == "" {
		options.ResourceVersion, options.ResourceVersionMatch = "", ""
	}
	return options
}

// ListWithContext lists by a reflector's options.
func (l *listerWatcher[T]) ListWithContext(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
	converted, err := internalOptions(listOptions(options, l.store.known.cached))
	if err != nil {
		return nil, err
	}
	return l.store.list(ctx, metav1.NamespaceAll, converted)
}

// WatchWithContext watches by a reflector's options.
func (l *listerWatcher[T]) WatchWithContext(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
	converted, err := internalOptions(options)
	if err != nil {
		return nil, err
	}
	return l.store.watch(ctx, metav1.NamespaceAll, converted)
}

// IsWatchListSemanticsUnSupported tells reflectors to list first: a list costs no more here than a watch that begins with one.
func (l *listerWatcher[T]) IsWatchListSemanticsUnSupported() bool { return true }

func internalOptions(options metav1.ListOptions) (*metainternalversion.ListOptions, error) {
	converted := &metainternalversion.ListOptions{}
	if err := metainternalversion.Convert_v1_ListOptions_To_internalversion_ListOptions(&options, converted, nil); err != nil {
		return nil, fmt.Errorf("reading list options: %w", err)
	}
	return converted, nil
}

// activeNamespace refuses an object whose namespace is missing or being deleted, as the API does.
func activeNamespace(namespaces corelisters.NamespaceLister, object Object) error {
	namespace, err := namespaces.Get(object.GetNamespace())
	if err != nil {
		return err
	}
	if namespace.Status.Phase != corev1.NamespaceTerminating && namespace.DeletionTimestamp == nil {
		return nil
	}
	refused := apierrors.NewForbidden(workv1alpha1.Resource("propagationworks"), object.GetName(),
		fmt.Errorf("the namespace %s is being deleted", object.GetNamespace()))
	refused.ErrStatus.Details.Causes = append(refused.ErrStatus.Details.Causes, metav1.StatusCause{
		Type: corev1.NamespaceTerminatingCause, Message: "the namespace is being deleted", Field: "metadata.namespace",
	})
	return refused
}
