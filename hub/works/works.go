// Package works shows the link what each member shall have, and writes down what the members report
// of it. It is the only writer of a work's status.
package works

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	linkv1 "windlass.dev/windlass/api/link/v1"
	policyv1alpha1 "windlass.dev/windlass/api/policy/v1alpha1"
	workv1alpha1 "windlass.dev/windlass/api/work/v1alpha1"
	"windlass.dev/windlass/hub/store"
	"windlass.dev/windlass/pkg/manifest"
	"windlass.dev/windlass/pkg/session"
)

// Config is what a View needs.
type Config struct {
	Works store.Works
	// Revisions reads from the store as it is at the call, past the cache, in which revision each work of a namespace was written last, by
	// name, and the revision in which that is so.
	Revisions func(ctx context.Context, namespace string) (works map[string]int64, at int64, err error)
	// Live reads a work from the store, past the cache.
	Live func(ctx context.Context, namespace, name string) (*workv1alpha1.PropagationWork, error)
	// FirstListed is the revision of the first list that filled the cache; 0 before it.
	FirstListed func() int64
	Now         func() time.Time
}

// A View is the link's view of all works. All methods are safe for concurrent use.
type View struct {
	config Config

	mu          sync.RWMutex
	subscribers map[string]map[int]func(keys ...string) // by cluster
	next        int

	// messages are the works in the form in which they travel, made when they are first asked for.
	messages sync.Map // of "namespace/name" to *message

	// written are the resourceVersions of writes that the cache does not show yet.
	written sync.Map // of "namespace/name" to int64

	synced func() bool
	// seen is the revision of the newest event that the cache shows.
	seen atomic.Int64
}

// message is a work as it travels.
type message struct {
	resourceVersion string
	work            *linkv1.Work
}

// New makes a View and begins to listen to the works.
func New(config Config) (*View, error) {
	v := &View{config: config, subscribers: map[string]map[int]func(...string){}}
	registration, err := config.Works.Informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: func(obj any) { v.changed(nil, obj.(*workv1alpha1.PropagationWork)) },
		UpdateFunc: func(old, new any) {
			v.changed(old.(*workv1alpha1.PropagationWork), new.(*workv1alpha1.PropagationWork))
		},
		DeleteFunc: func(obj any) {
			if unknown, ok := obj.(cache.DeletedFinalStateUnknown); ok {
				obj = unknown.Obj
			}
			work := obj.(*workv1alpha1.PropagationWork)
			v.messages.Delete(store.Key(work).String())
			v.changed(work, nil)
		},
	})
	if err != nil {
		return nil, err
	}
	v.synced = registration.HasSynced
	return v, nil
}

// Synced says whether the view shows everything that was in the store when the process began.
func (v *View) Synced() bool { return v.synced() }

// Subscribe calls dirty with the key of every work of the cluster that the member has to hear of.
// Dirty must not block. The returned function ends it.
func (v *View) Subscribe(cluster string, dirty func(keys ...string)) (cancel func()) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.next++
	id := v.next
	if v.subscribers[cluster] == nil {
		v.subscribers[cluster] = map[int]func(...string){}
	}
	v.subscribers[cluster][id] = dirty
	return func() {
		v.mu.Lock()
		defer v.mu.Unlock()
		delete(v.subscribers[cluster], id)
		if len(v.subscribers[cluster]) == 0 {
			delete(v.subscribers, cluster)
		}
	}
}

// changed tells of what a member has to hear: not of a status, which it said itself.
func (v *View) changed(old, new *workv1alpha1.PropagationWork) {
	work := new
	if new == nil {
		work = old
	}
	v.seen.Store(max(v.seen.Load(), Revision(work.ResourceVersion))) // one goroutine tells of events
	if last, ok := v.written.Load(store.Key(work).String()); ok && (new == nil || last.(int64) <= Revision(work.ResourceVersion)) {
		v.written.CompareAndDelete(store.Key(work).String(), last)
	}
	switch {
	case new == nil:
	case old != nil && old.UID == new.UID && old.Generation == new.Generation && (old.DeletionTimestamp == nil) == (new.DeletionTimestamp == nil) &&
		old.Spec.RemovalCause == new.Spec.RemovalCause: // a hold that no longer has a reason ends with the cause
		return
	}
	v.mu.RLock()
	defer v.mu.RUnlock()
	for _, dirty := range v.subscribers[clusterOf(work)] {
		dirty(work.Name)
	}
}

func clusterOf(work *workv1alpha1.PropagationWork) string {
	return strings.TrimPrefix(work.Namespace, workv1alpha1.ExecutionNamespacePrefix)
}

// Revision is a revision of the store that the view is not older than. It is the cache's own, not
// the reflector's, which runs ahead of it.
func (v *View) Revision() int64 { return max(v.seen.Load(), v.config.FirstListed()) }

// Revision reads a resourceVersion as a revision of the store.
func Revision(resourceVersion string) int64 {
	number, _ := strconv.ParseInt(resourceVersion, 10, 64) // the store writes nothing else
	return number
}

// Sync returns when the view of a cluster is not older than the store was at the call.
func (v *View) Sync(ctx context.Context, cluster string) error {
	stored, at, err := v.config.Revisions(ctx, workv1alpha1.ExecutionNamespace(cluster))
	if err != nil {
		return fmt.Errorf("reading the works of cluster %s: %w", cluster, err)
	}
	err = wait.PollUntilContextCancel(ctx, 5*time.Millisecond, true, func(context.Context) (bool, error) {
		return v.Synced() && v.shows(cluster, stored, at), nil
	})
	if err != nil {
		return fmt.Errorf("waiting for the works of cluster %s: %w", cluster, err)
	}
	return nil
}

// shows says whether the cache of a cluster's works is at least as new as what the store had at a
// revision.
func (v *View) shows(cluster string, stored map[string]int64, at int64) bool {
	for name, revision := range stored {
		cached, ok := v.config.Works.Get(workv1alpha1.ExecutionNamespace(cluster), name)
		if v.seen.Load() < revision && (!ok || Revision(cached.ResourceVersion) < revision) {
			return false
		}
	}
	return !slices.ContainsFunc(v.of(cluster), func(work *workv1alpha1.PropagationWork) bool {
		_, there := stored[work.Name]
		return !there && Revision(work.ResourceVersion) <= at // gone from the store, and about to go here
	})
}

func (v *View) of(cluster string) []*workv1alpha1.PropagationWork {
	objs, err := v.config.Works.Informer.GetIndexer().ByIndex(cache.NamespaceIndex, workv1alpha1.ExecutionNamespace(cluster))
	if err != nil {
		panic(err) // the index is made with the informer
	}
	works := make([]*workv1alpha1.PropagationWork, len(objs))
	for i, obj := range objs {
		works[i] = obj.(*workv1alpha1.PropagationWork)
	}
	return works
}

// Keys lists the works of a cluster, and a revision of the store that the list is not older than.
func (v *View) Keys(cluster string) ([]session.Listed, int64) {
	seen := v.Revision() // before the list: it may be newer than this, not older
	works := v.of(cluster)
	listed := make([]session.Listed, len(works))
	for i, work := range works {
		received := work.Status.Delivery.Received
		listed[i] = session.Listed{
			Ref:        session.RefOfWork(v.message(work)),
			Removing:   work.DeletionTimestamp != nil,
			Unreported: received == nil || received.Generation < work.Generation,
		}
	}
	return listed, seen
}

// Get returns one work of a cluster.
func (v *View) Get(cluster, key string) (session.Item, bool) {
	work, ok := v.config.Works.Get(workv1alpha1.ExecutionNamespace(cluster), key)
	if !ok {
		return session.Item{}, false
	}
	item := session.Item{Revision: Revision(work.ResourceVersion), Work: v.message(work)}
	if work.DeletionTimestamp == nil {
		return item, true
	}
	item.Removing = &session.Removing{
		UID:   string(work.UID),
		Cause: removalCause(work.Spec.RemovalCause),
		Keep:  work.Spec.PreserveResourcesOnDeletion != nil && *work.Spec.PreserveResourcesOnDeletion,
	}
	for _, object := range manifest.Objects(manifestsOf(work)) {
		item.Removing.Objects = append(item.Removing.Objects, &linkv1.ObjectRef{
			Group: object.Group, Version: object.Version, Kind: object.Kind, Namespace: object.Namespace, Name: object.Name,
		})
	}
	return item, true
}

func manifestsOf(work *workv1alpha1.PropagationWork) [][]byte {
	manifests := make([][]byte, len(work.Spec.Workload.Manifests))
	for i := range work.Spec.Workload.Manifests {
		manifests[i] = work.Spec.Workload.Manifests[i].Raw
	}
	return manifests
}

func removalCause(cause workv1alpha1.RemovalCause) linkv1.RemovalCause {
	switch cause {
	case workv1alpha1.RemovalTemplateDeleted:
		return linkv1.RemovalCause_REMOVAL_CAUSE_TEMPLATE_DELETED
	case workv1alpha1.RemovalNotSelected:
		return linkv1.RemovalCause_REMOVAL_CAUSE_NOT_SELECTED
	case workv1alpha1.RemovalClusterRemoved:
		return linkv1.RemovalCause_REMOVAL_CAUSE_CLUSTER_REMOVED
	}
	return linkv1.RemovalCause_REMOVAL_CAUSE_FORCED
}

// message is a work as it travels. It is made once for each state of a work.
func (v *View) message(work *workv1alpha1.PropagationWork) *linkv1.Work {
	key := store.Key(work).String()
	if known, ok := v.messages.Load(key); ok && known.(*message).resourceVersion == work.ResourceVersion {
		return known.(*message).work
	}
	made := &message{resourceVersion: work.ResourceVersion, work: messageOf(work)}
	v.messages.Store(key, made)
	if _, there := v.config.Works.Get(work.Namespace, work.Name); !there {
		// Its end may have been told before this, and nobody would forget it.
		v.messages.CompareAndDelete(key, made)
	}
	return made.work
}

func messageOf(work *workv1alpha1.PropagationWork) *linkv1.Work {
	message := &linkv1.Work{
		Key:        work.Name,
		Uid:        string(work.UID),
		Generation: work.Generation,
		Manifests:  manifestsOf(work),
	}
	message.ConflictResolution = linkv1.ConflictResolution_CONFLICT_RESOLUTION_ABORT
	if work.Spec.ConflictResolution == policyv1alpha1.ConflictOverwrite {
		message.ConflictResolution = linkv1.ConflictResolution_CONFLICT_RESOLUTION_OVERWRITE
	}
	message.PreserveResourcesOnDeletion = work.Spec.PreserveResourcesOnDeletion != nil && *work.Spec.PreserveResourcesOnDeletion
	message.SuspendDispatching = work.Spec.SuspendDispatching != nil && *work.Spec.SuspendDispatching
	if binding := work.Spec.Binding; binding != nil {
		message.Binding = &linkv1.BindingRef{Namespace: binding.Namespace, Name: binding.Name, Kind: binding.Kind}
	}
	if template := work.Spec.Template; template != nil {
		kind := schema.FromAPIVersionAndKind(template.APIVersion, template.Kind)
		message.Template = &linkv1.TemplateRef{
			Group: kind.Group, Version: kind.Version, Kind: kind.Kind,
			Namespace: template.Namespace, Name: template.Name, Uid: string(template.UID),
		}
	}
	message.Hash = hash(message)
	return message
}

// hash covers everything in a work that a member acts on. It is compared with hashes of other
// processes and versions of the hub, so its form must not change.
func hash(work *linkv1.Work) []byte {
	sum := sha256.New()
	write := func(field []byte) {
		var length [8]byte
		binary.BigEndian.PutUint64(length[:], uint64(len(field)))
		sum.Write(length[:])
		sum.Write(field)
	}
	for _, manifest := range work.Manifests {
		write(manifest)
	}
	write(fmt.Appendf(nil, "%d %t %t %s %s %s %s", work.ConflictResolution, work.PreserveResourcesOnDeletion, work.SuspendDispatching,
		work.GetBinding().GetKind(), work.GetBinding().GetNamespace(), work.GetBinding().GetName(), work.GetTemplate().GetUid()))
	return sum.Sum(nil)[:16]
}

// Record writes what a member reports of a work. A report of a work that is gone, or of another
// object of its name, is dropped. It returns the revision at which the store has the report, 0 if it was dropped.
func (v *View) Record(ctx context.Context, cluster string, report *linkv1.Report) (revision int64, err error) {
	err = v.write(ctx, cluster, report.GetKey(), report.GetUid(), func(work *workv1alpha1.PropagationWork) error {
		status := statusOf(work, report, v.config.Now())
		if equality.Semantic.DeepEqual(&work.Status, status) {
			revision = Revision(work.ResourceVersion)
			return nil
		}
		updated := *work // the store copies what it is given
		updated.Status = *status
		stored, err := v.config.Works.UpdateStatus(ctx, &updated)
		if err == nil {
			revision = Revision(stored.ResourceVersion)
			v.wrote(stored)
		}
		return err
	})
	return revision, err
}

// Removed lets a work go whose removal the member has carried out.
func (v *View) Removed(ctx context.Context, cluster, key, uid string) error {
	return v.write(ctx, cluster, key, uid, func(work *workv1alpha1.PropagationWork) error {
		released := *work // the store copies what it is given
		released.Finalizers = slices.Clone(work.Finalizers)
		if work.DeletionTimestamp == nil || !controllerutil.RemoveFinalizer(&released, workv1alpha1.WorkFinalizer) {
			return nil
		}
		_, err := v.config.Works.Update(ctx, &released)
		return err
	})
}

// wrote remembers a write until the cache shows it: a report that is like the cached status, but not
// like what was written since, has to be written too.
func (v *View) wrote(work *workv1alpha1.PropagationWork) {
	if cached, ok := v.config.Works.Get(work.Namespace, work.Name); ok && Revision(cached.ResourceVersion) >= Revision(work.ResourceVersion) {
		return
	}
	v.written.Store(store.Key(work).String(), Revision(work.ResourceVersion))
}

// behind says whether the cached work lacks what was written last.
func (v *View) behind(work *workv1alpha1.PropagationWork) bool {
	last, ok := v.written.Load(store.Key(work).String())
	return ok && Revision(work.ResourceVersion) < last.(int64)
}

// write tries with the cached work first, if it is the newest, and then with what the store has.
func (v *View) write(ctx context.Context, cluster, key, uid string, write func(*workv1alpha1.PropagationWork) error) error {
	namespace := workv1alpha1.ExecutionNamespace(cluster)
	work, ok := v.config.Works.Get(namespace, key)
	ok = ok && !v.behind(work)
	err := retry.RetryOnConflict(retry.DefaultRetry, func() (err error) {
		if !ok {
			if work, err = v.config.Live(ctx, namespace, key); err != nil {
				return err
			}
		}
		ok = false
		if string(work.UID) != uid {
			return nil
		}
		return write(work)
	})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("recording what cluster %s says of work %s: %w", cluster, key, err)
	}
	return nil
}
