// Package eviction has templates leave clusters whose NoExecute taints they do not tolerate. It writes
// a binding's eviction tasks, but for those of moves, which are the scheduler's and end here as well, and for what their replicas become
// when the template is scaled; where the template goes instead is the scheduler's word.
package eviction

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/source"

	clusterv1alpha1 "windlass.dev/windlass/api/cluster/v1alpha1"
	workv1alpha1 "windlass.dev/windlass/api/work/v1alpha1"
	"windlass.dev/windlass/hub/store"
	"windlass.dev/windlass/hub/templates"
	"windlass.dev/windlass/pkg/evict"
	"windlass.dev/windlass/pkg/interpret"
)

// Templates is what the controller needs of the watches on users' objects.
type Templates interface {
	Handle(templates.Handler)
	Get(templates.Key) (obj *unstructured.Unstructured, known bool)
}

// Reconciler writes eviction tasks. Its key is a binding.
type Reconciler struct {
	Bindings store.Bindings
	Clusters store.Kind[*clusterv1alpha1.MemberCluster]
	// Works tell when a move has ended that no policy claims.
	Works store.Works
	// Templates tell of a Job whether it has ended.
	Templates Templates
	// Grace is how long the health of a new copy may stay unknown before the old one goes all the same: see evict.Facts.
	Grace   time.Duration
	Workers int
	Now     func() time.Time
}

// Setup adds the controller to the manager. Before the manager starts, the caller waits until all clusters are
// known: one that is not is taken for gone.
func (r *Reconciler) Setup(mgr manager.Manager) error {
	c, err := controller.NewTyped("eviction", mgr, controller.TypedOptions[types.NamespacedName]{
		Reconciler:              r,
		MaxConcurrentReconciles: r.Workers,
	})
	if err != nil {
		return err
	}
	wake := &store.Mailbox[types.NamespacedName]{}
	_, err = r.Clusters.Informer.AddEventHandler(cache.ResourceEventHandlerDetailedFuncs{
		AddFunc: func(obj any, initial bool) {
			if !initial { // at the start every binding is looked at anyway, and all clusters are known by then
				r.clusterChanged(wake, nil, obj.(*clusterv1alpha1.MemberCluster))
			}
		},
		UpdateFunc: func(old, new any) {
			r.clusterChanged(wake, old.(*clusterv1alpha1.MemberCluster), new.(*clusterv1alpha1.MemberCluster))
		},
		DeleteFunc: func(obj any) {
			if unknown, ok := obj.(cache.DeletedFinalStateUnknown); ok {
				obj = unknown.Obj
			}
			r.clusterChanged(wake, obj.(*clusterv1alpha1.MemberCluster), nil)
		},
	})
	if err != nil {
		return err
	}
	r.Templates.Handle(r.handler(wake))
	for _, source := range append(store.Sources(r.Bindings.Scoped, bindingChanged), source.TypedSource[types.NamespacedName](wake), store.Source(r.Works.Informer, r.workChanged)) {
		if err := c.Watch(source); err != nil {
			return err
		}
	}
	return nil
}

// bindingChanged wakes a binding that goes to other clusters or tolerates something else, and one that is leaving
// clusters whenever anything is said of it: the end of an eviction follows from the status.
func bindingChanged(old, new workv1alpha1.Binding) []types.NamespacedName {
	if new == nil || new.GetDeletionTimestamp() != nil {
		return nil
	}
	if old != nil && old.GetGeneration() == new.GetGeneration() && store.Claimed(old) == store.Claimed(new) &&
		len(new.GetSpec().GracefulEvictionTasks) == 0 {
		return nil
	}
	return []types.NamespacedName{store.Key(new)}
}

// workChanged wakes the binding of a work that was written anew, or is gone, where the end of a move may follow from it.
func (r *Reconciler) workChanged(old, new *workv1alpha1.PropagationWork) []types.NamespacedName {
	if old == nil || new != nil && old.Generation == new.Generation || old.Spec.Binding == nil {
		return nil
	}
	key := types.NamespacedName{Namespace: old.Spec.Binding.Namespace, Name: old.Spec.Binding.Name}
	binding, ok := r.Bindings.Get(key)
	if !ok || store.Claimed(binding) || len(binding.GetSpec().GracefulEvictionTasks) == 0 {
		return nil
	}
	return []types.NamespacedName{key}
}

// written says with how many replicas the works of a binding were written.
func (r *Reconciler) written(binding types.NamespacedName) evict.Written {
	return func(cluster string) *int32 {
		for _, work := range r.Works.ByIndex(store.ByBinding, store.BindingIndex(binding)) {
			if work.Namespace == workv1alpha1.ExecutionNamespace(cluster) && work.DeletionTimestamp == nil {
				return work.Spec.Replicas
			}
		}
		return nil
	}
}

// clusterChanged wakes the bindings that go to a cluster or are leaving it.
func (r *Reconciler) clusterChanged(wake *store.Mailbox[types.NamespacedName], old, new *clusterv1alpha1.MemberCluster) {
	if !evict.Matters(old, new) {
		return
	}
	cluster := cmp.Or(new, old)
	for _, binding := range r.Bindings.List() {
		if concerns(binding.GetSpec(), cluster.Name) {
			wake.Add(store.Key(binding), false)
		}
	}
}

// handler wakes the bindings of Jobs: the end of one is the end of its evictions, and while it is not known whether it has
// ended nothing is decided.
func (r *Reconciler) handler(wake *store.Mailbox[types.NamespacedName]) templates.Handler {
	return r.Bindings.HandleJobs(wake, func(workv1alpha1.Binding) bool { return true })
}

// ended says whether a template that comes to an end by itself has ended. It is not known before the hub has seen the
// template.
func (r *Reconciler) ended(key templates.Key) (ended, known bool) {
	template, known := r.Templates.Get(key)
	if !known || template == nil {
		return false, false
	}
	return interpret.Ended(template), true
}

func concerns(spec *workv1alpha1.BindingSpec, cluster string) bool {
	for i := range spec.Clusters {
		if spec.Clusters[i].Name == cluster {
			return true
		}
	}
	for i := range spec.GracefulEvictionTasks {
		if spec.GracefulEvictionTasks[i].FromCluster == cluster {
			return true
		}
	}
	return false
}

// Reconcile makes the tasks of one binding those that its clusters' taints ask for.
func (r *Reconciler) Reconcile(ctx context.Context, key types.NamespacedName) (ctrl.Result, error) {
	binding, ok := r.Bindings.Get(key)
	if !ok || binding.GetDeletionTimestamp() != nil {
		return ctrl.Result{}, nil
	}
	template := store.TemplateKey(binding)
	ends, ended := interpret.Ends(template.GroupKind()), false
	if ends {
		var known bool
		if ended, known = r.ended(template); !known {
			return ctrl.Result{}, nil // a Job that has ended would run once more elsewhere
		}
	}
	decision := evict.Decide(evict.Facts{
		Binding: binding,
		Claimed: store.Claimed(binding),
		Ends:    ends,
		Ended:   ended,

		HoldsOthers: interpret.HoldsOthers(template.GroupKind()),
		Cluster: func(name string) *clusterv1alpha1.MemberCluster {
			cluster, _ := r.Clusters.Get("", name)
			return cluster
		},
		Written: r.written(key),
		Grace:   r.Grace,
		Now:     r.Now(),
	})
	if !equality.Semantic.DeepEqual(binding.GetSpec().GracefulEvictionTasks, decision.Tasks) {
		updated := binding.DeepCopyObject().(workv1alpha1.Binding)
		updated.GetSpec().GracefulEvictionTasks = decision.Tasks
		if _, err := r.Bindings.For(key.Namespace).Update(ctx, updated); err != nil {
			return store.Outcome(fmt.Errorf("recording which clusters binding %s is leaving: %w", key, err))
		}
	}
	return ctrl.Result{RequeueAfter: decision.Again}, nil
}
