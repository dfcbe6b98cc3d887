// Package cluster keeps the life cycle of member clusters: their execution namespace, their
// conditions and the taints that follow from them, and their removal.
package cluster

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	clusterv1alpha1 "windlass.dev/windlass/api/cluster/v1alpha1"
	workv1alpha1 "windlass.dev/windlass/api/work/v1alpha1"
	"windlass.dev/windlass/hub/roster"
	"windlass.dev/windlass/hub/store"
)

// Events records what a person should hear of; record.EventRecorder does.
type Events interface {
	Event(about runtime.Object, kind, reason, message string)
}

// Reconciler keeps member clusters. Its key is a cluster's name.
type Reconciler struct {
	Clusters store.Kind[*clusterv1alpha1.MemberCluster]
	Works    store.Works
	Kube     kubernetes.Interface
	// Namespaces shows the hub's namespaces.
	Namespaces cache.SharedIndexInformer
	Roster     *roster.Roster
	// Accepting is told when works may be written for a cluster, and when no longer.
	Accepting *Accepting
	// Confirm lets the deletions happen that a cluster's hold names by this id.
	Confirm func(ctx context.Context, cluster, id string) error
	// Removed ends the session of a cluster that is on the hub no more, and has the link forget it. The id is its spec.id,
	// empty if that is not known. Nothing is done to another cluster that has the name by now.
	Removed func(ctx context.Context, cluster, id string) error
	// Process names this hub process.
	Process string
	// Grace is how long a cluster may be without a session before it is called unreachable, and
	// before its removal no longer waits for its agent.
	Grace time.Duration
	// Lost is after how long that is said of a cluster that is still called ready.
	Lost    time.Duration
	Workers int
	Now     func() time.Time
	Log     *slog.Logger
	// Events is told on the cluster what waits there for a person.
	Events Events
	// typed has by cluster the confirmation that counted, or was there before what waits now: it is not worth a word.
	typed sync.Map
	// seen has by name the sighting of the cluster that had it when it was last looked at.
	seen sync.Map
}

// A sighting tells a cluster from another one of its name.
type sighting struct {
	uid types.UID
	id  string
}

// Setup adds the controller to the manager.
func (r *Reconciler) Setup(mgr manager.Manager) error {
	c, err := controller.NewTyped("cluster", mgr, controller.TypedOptions[string]{
		Reconciler:              r,
		MaxConcurrentReconciles: r.Workers,
	})
	if err != nil {
		return err
	}
	// From now on, and not from the controller's start: see Stand.
	if _, err := r.Namespaces.AddEventHandler(cache.ResourceEventHandlerFuncs{DeleteFunc: func(obj any) {
		if unknown, ok := obj.(cache.DeletedFinalStateUnknown); ok {
			obj = unknown.Obj
		}
		r.namespaceGone(obj.(*corev1.Namespace), nil)
	}, UpdateFunc: func(old, new any) { r.namespaceGone(old.(*corev1.Namespace), new.(*corev1.Namespace)) }}); err != nil {
		return err
	}
	sessions := &store.Mailbox[string]{}
	r.Roster.Listen(func(cluster string) { sessions.Add(cluster, false) })
	if err := c.Watch(sessions); err != nil {
		return err
	}
	if err := c.Watch(store.Source(r.Clusters.Informer, func(old, new *clusterv1alpha1.MemberCluster) []string {
		return []string{cmp.Or(new, old).Name}
	})); err != nil {
		return err
	}
	if err := c.Watch(store.Source(r.Namespaces, r.namespaceGone)); err != nil {
		return err
	}
	return c.Watch(store.Source(r.Works.Informer, r.workLeaves))
}

// Stand accepts works for all clusters that had their namespace before this process began. Call it when the caches are
// filled and before the controllers start. Found out about one by one, each would wake all bindings that go there, and a
// thousand clusters would have every binding rendered again and again for a thousand clusters.
func (r *Reconciler) Stand() {
	for _, cluster := range r.Clusters.List() {
		namespace, there, _ := r.Namespaces.GetIndexer().GetByKey(workv1alpha1.ExecutionNamespace(cluster.Name))
		if there && namespace.(*corev1.Namespace).DeletionTimestamp == nil && cluster.DeletionTimestamp == nil {
			r.Accepting.stand(cluster.Name)
		}
	}
}

// namespaceGone wakes a cluster whose execution namespace somebody deletes, and has no works written
// for it until it is there again.
func (r *Reconciler) namespaceGone(old, new *corev1.Namespace) []string {
	namespace := cmp.Or(new, old)
	name, ours := strings.CutPrefix(namespace.Name, workv1alpha1.ExecutionNamespacePrefix)
	if !ours || new != nil && new.DeletionTimestamp == nil {
		return nil
	}
	r.Accepting.set(name, false)
	return []string{name}
}

// workLeaves wakes a cluster that is being removed when one of its works is gone, and the name of one that is on the hub no
// more when a work of that one is being deleted: see releaseLeft. It is asked of what stood in the store, too, when all
// clusters are known.
func (r *Reconciler) workLeaves(old, new *workv1alpha1.PropagationWork) []string {
	name, ours := strings.CutPrefix(cmp.Or(new, old).Namespace, workv1alpha1.ExecutionNamespacePrefix)
	if !ours || new != nil && new.DeletionTimestamp == nil {
		return nil
	}
	cluster, there := r.Clusters.Get("", name)
	switch gone := new == nil; {
	case gone && there && cluster.DeletionTimestamp != nil,
		!gone && !there,
		!gone && there && cluster.DeletionTimestamp == nil && !r.Accepting.Accepts(name) && isOfFormer(new, cluster):
		return []string{name}
	}
	return nil
}

// Reconcile brings one cluster's object, and what belongs to it, up to date.
func (r *Reconciler) Reconcile(ctx context.Context, name string) (ctrl.Result, error) {
	cluster, ok := r.Clusters.Get("", name)
	if err := r.notice(ctx, name, cluster); err != nil {
		return store.Outcome(err)
	}
	if !ok {
		return ctrl.Result{}, nil
	}
	member := r.Roster.Get(name, cluster.Spec.ID)
	unconfirmed := r.confirm(ctx, cluster, member)
	result, err := r.bringUpToDate(ctx, cluster, member)
	if err == nil && unconfirmed != nil {
		return ctrl.Result{}, unconfirmed
	}
	return result, err
}

// notice notices that the cluster which had a name when it was last looked at is on the hub no more. Present is nil when no
// cluster has the name now; or another has it, for a cluster can be replaced so fast that nobody sees the name without one.
func (r *Reconciler) notice(ctx context.Context, name string, present *clusterv1alpha1.MemberCluster) error {
	last, known := r.seen.Load(name)
	former, _ := last.(sighting)
	if present == nil || known && former.uid != present.UID {
		if err := r.forget(ctx, name, former.id, present == nil); err != nil {
			return err
		}
		r.seen.Delete(name)
	}
	if present != nil && (former != sighting{present.UID, present.Spec.ID}) {
		r.seen.Store(name, sighting{present.UID, present.Spec.ID})
	}
	return nil
}

// forget drops what is remembered of a cluster that was removed, and what was left for it.
func (r *Reconciler) forget(ctx context.Context, name, id string, nobody bool) error {
	r.Accepting.set(name, false)
	r.typed.Delete(name)
	if err := r.endSession(ctx, name, id, nobody); err != nil {
		return fmt.Errorf("ending the session of cluster %s, which was removed: %w", name, err)
	}
	return r.releaseLeft(ctx, name, func(*workv1alpha1.PropagationWork) bool { return true })
}

// endSession ends the session of a cluster that was removed. Without an id it had no agent, or, when nobody has its name, was
// never looked at: then whoever is connected under the name is its.
func (r *Reconciler) endSession(ctx context.Context, name, id string, nobody bool) error {
	if id == "" && !nobody {
		return nil
	}
	err := r.Removed(ctx, name, id)
	if err == nil {
		r.Roster.Forget(name, id)
	}
	return err
}

// confirm lets the deletions happen that a person has confirmed. Only a member that is connected can
// be told; the beginning of its next session wakes the cluster.
func (r *Reconciler) confirm(ctx context.Context, cluster *clusterv1alpha1.MemberCluster, member roster.Member) error {
	id := cluster.Annotations[workv1alpha1.ConfirmDeletionsAnnotation]
	if !member.Connected || id == "" || id != member.Hold.ID {
		return nil
	}
	if err := r.Confirm(ctx, cluster.Name, id); err != nil {
		return fmt.Errorf("confirming the deletions in cluster %s: %w", cluster.Name, err)
	}
	r.typed.Store(cluster.Name, id)
	return nil
}

func (r *Reconciler) bringUpToDate(ctx context.Context, cluster *clusterv1alpha1.MemberCluster, member roster.Member) (ctrl.Result, error) {
	name := cluster.Name
	if cluster.DeletionTimestamp != nil {
		r.Accepting.set(name, false)
		wait, err := r.remove(ctx, cluster)
		if err != nil {
			return store.Outcome(err)
		}
		return ctrl.Result{RequeueAfter: wait}, nil
	}
	// What is known of the cluster is said also while its namespace is being deleted, which what waits for a person holds up.
	known := r.gather(cluster, member)
	said := assess(known)
	if err := r.record(ctx, known, said); err != nil {
		return store.Outcome(err)
	}
	there, err := r.ensureNamespace(ctx, name)
	if err != nil {
		return store.Outcome(err)
	}
	if there {
		r.Accepting.set(name, true)
	} else if err := r.releaseLeft(ctx, name, func(work *workv1alpha1.PropagationWork) bool { return isOfFormer(work, cluster) }); err != nil {
		return store.Outcome(err)
	}
	return ctrl.Result{RequeueAfter: said.RecheckAfter}, nil
}

func (r *Reconciler) gather(cluster *clusterv1alpha1.MemberCluster, member roster.Member) facts {
	return facts{Cluster: cluster, Member: member, Held: r.heldObjects(cluster.Name, member.Hold), Typed: r.typedBefore(cluster), Grace: r.Grace, Lost: r.Lost, Process: r.Process, Now: r.Now()}
}

// record writes the taints and the finalizer, then the status; each only when it changes.
func (r *Reconciler) record(ctx context.Context, known facts, said assessment) error {
	cluster := known.Cluster
	updated := cluster.DeepCopy()
	updated.Spec.Taints = said.Taints
	added := controllerutil.AddFinalizer(updated, workv1alpha1.ClusterFinalizer)
	if added || !equality.Semantic.DeepEqual(cluster.Spec.Taints, said.Taints) {
		written, err := r.Clusters.Update(ctx, updated)
		if err != nil {
			return fmt.Errorf("writing cluster %s: %w", cluster.Name, err)
		}
		updated = written.DeepCopy()
	}
	updated.Status = said.Status
	return r.recordStatus(ctx, known, updated)
}

// recordStatus writes the status of a cluster if it is not what it was, and tells what is new about deletions that wait.
func (r *Reconciler) recordStatus(ctx context.Context, known facts, updated *clusterv1alpha1.MemberCluster) error {
	if equality.Semantic.DeepEqual(known.Cluster.Status, updated.Status) {
		return nil
	}
	if _, err := r.Clusters.UpdateStatus(ctx, updated); err != nil {
		return fmt.Errorf("writing the status of cluster %s: %w", updated.Name, err)
	}
	r.tellHold(known, updated)
	r.tellReady(known.Cluster, updated)
	return nil
}

// ensureNamespace makes the execution namespace. It is not there while it is being deleted: its end
// wakes the cluster.
func (r *Reconciler) ensureNamespace(ctx context.Context, cluster string) (there bool, err error) {
	if r.Accepting.Accepts(cluster) {
		return true, nil
	}
	name := workv1alpha1.ExecutionNamespace(cluster)
	namespace, err := r.Kube.CoreV1().Namespaces().Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		namespace, err = r.Kube.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
			Name:   name,
			Labels: map[string]string{"karmada.io/system": "true"},
		}}, metav1.CreateOptions{})
	}
	if err != nil {
		return false, fmt.Errorf("making namespace %s for the works of cluster %s: %w", name, cluster, err)
	}
	return namespace.DeletionTimestamp == nil, nil
}

// remove takes a cluster off the hub: its works first, then their namespace, then its object, with
// which its identity ends. An agent that is connected removes the objects from the member; without
// one, after the grace period, they stay there. It returns when to look again.
func (r *Reconciler) remove(ctx context.Context, cluster *clusterv1alpha1.MemberCluster) (time.Duration, error) {
	namespace := workv1alpha1.ExecutionNamespace(cluster.Name)
	works := r.Works.ByIndex(cache.NamespaceIndex, namespace)
	for _, work := range works {
		if work.DeletionTimestamp == nil {
			if err := r.Works.Remove(ctx, work, workv1alpha1.RemovalClusterRemoved); err != nil && !apierrors.IsNotFound(err) {
				return 0, fmt.Errorf("removing work %s: %w", store.Key(work), err)
			}
		}
	}
	if len(works) > 0 {
		member := r.Roster.Get(cluster.Name, cluster.Spec.ID)
		if wait := r.Grace - r.Now().Sub(member.Since); member.Connected || wait > 0 {
			return max(wait, time.Second), r.recordHeld(ctx, cluster, member) // the end of each work wakes the cluster
		}
		return 0, r.abandon(ctx, cluster, works)
	}
	if err := r.Kube.CoreV1().Namespaces().Delete(ctx, namespace, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
		return 0, fmt.Errorf("deleting namespace %s: %w", namespace, err)
	}
	released := cluster.DeepCopy()
	if !controllerutil.RemoveFinalizer(released, workv1alpha1.ClusterFinalizer) {
		return 0, nil
	}
	if _, err := r.Clusters.Update(ctx, released); err != nil && !apierrors.IsNotFound(err) {
		return 0, fmt.Errorf("releasing cluster %s: %w", cluster.Name, err)
	}
	return 0, nil
}

// recordHeld says of a cluster that is being removed which of its works wait for a person.
func (r *Reconciler) recordHeld(ctx context.Context, cluster *clusterv1alpha1.MemberCluster, member roster.Member) error {
	known, updated := r.gather(cluster, member), cluster.DeepCopy()
	recordHold(&updated.Status, known)
	return r.recordStatus(ctx, known, updated)
}

// abandon lets the works of a cluster go whose agent does not come back for their removal.
func (r *Reconciler) abandon(ctx context.Context, cluster *clusterv1alpha1.MemberCluster, works []*workv1alpha1.PropagationWork) error {
	r.Log.Warn("the agent of a cluster that is being removed is not connected: what it applied stays in the cluster",
		"cluster", cluster.Name, "works", len(works))
	return r.release(ctx, works)
}

// releaseLeft lets the works go that are being deleted for a cluster that is on the hub no more. Of one that was on its way
// to the store while its cluster was removed, remove knows nothing; without an agent to confirm its end its namespace would
// never go, nor its binding. Of those that nobody deletes none is touched: that a cluster is not there deletes nothing.
func (r *Reconciler) releaseLeft(ctx context.Context, name string, isIts func(*workv1alpha1.PropagationWork) bool) error {
	left := slices.DeleteFunc(r.Works.ByIndex(cache.NamespaceIndex, workv1alpha1.ExecutionNamespace(name)), func(work *workv1alpha1.PropagationWork) bool {
		return work.DeletionTimestamp == nil || !isIts(work)
	})
	if len(left) == 0 {
		return nil
	}
	r.Log.Warn("works for a cluster that is on the hub no more were left, and are let go", "cluster", name, "works", len(left))
	return r.release(ctx, left)
}

// isOfFormer says whether a work in a namespace that has yet to end was written for the cluster that had the name before: it is
// older than the one that has it now. Where the namespace stays that is no sign, for a cluster that is made anew, as out of a
// backup, takes over the works that stand there, and its agent is to say when they are removed. The store's times are whole
// seconds: of a work of the same one nobody knows, and its end waits for the agent.
func isOfFormer(work *workv1alpha1.PropagationWork, present *clusterv1alpha1.MemberCluster) bool {
	return work.CreationTimestamp.Unix() < present.CreationTimestamp.Unix()
}

// release takes off works what keeps them until their agent has removed what they are made of.
func (r *Reconciler) release(ctx context.Context, works []*workv1alpha1.PropagationWork) error {
	for _, work := range works {
		work = work.DeepCopy()
		if !controllerutil.RemoveFinalizer(work, workv1alpha1.WorkFinalizer) {
			continue
		}
		if _, err := r.Works.Update(ctx, work); err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("releasing work %s: %w", store.Key(work), err)
		}
	}
	return nil
}
