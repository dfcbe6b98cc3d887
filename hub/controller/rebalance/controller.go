// Package rebalance carries WorkloadRebalancers out: it asks the scheduler to place the named templates anew. It is the
// only writer of a binding's rescheduleTriggeredAt and of the status of WorkloadRebalancers.
package rebalance

import (
	"context"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	appsv1alpha1 "windlass.dev/windlass/api/apps/v1alpha1"
	workv1alpha1 "windlass.dev/windlass/api/work/v1alpha1"
	"windlass.dev/windlass/hub/store"
	"windlass.dev/windlass/hub/templates"
	"windlass.dev/windlass/pkg/rebalance"
)

// Reconciler carries rebalancers out. Its key is the name of one.
type Reconciler struct {
	Rebalancers store.Kind[*appsv1alpha1.WorkloadRebalancer]
	Bindings    store.Bindings
	Now         func() time.Time
}

// Setup adds the controller to the manager. Before the manager starts, the caller waits until the cache of bindings has
// synced: a binding that is not seen counts as one that is not there.
func (r *Reconciler) Setup(mgr manager.Manager) error {
	c, err := controller.NewTyped("rebalance", mgr, controller.TypedOptions[string]{Reconciler: r})
	if err != nil {
		return err
	}
	return c.Watch(store.Source(r.Rebalancers.Informer, func(_, new *appsv1alpha1.WorkloadRebalancer) []string {
		if new == nil {
			return nil
		}
		return []string{new.Name}
	}))
}

// Reconcile asks for what is left of one rebalancer, records what became of it, and deletes it when its time is over.
func (r *Reconciler) Reconcile(ctx context.Context, name string) (ctrl.Result, error) {
	rebalancer, ok := r.Rebalancers.Get("", name)
	if !ok || rebalancer.DeletionTimestamp != nil {
		return ctrl.Result{}, nil
	}
	got, failure := r.carryOut(ctx, rebalancer)
	status := rebalance.Status(rebalancer, got, r.Now())
	if !equality.Semantic.DeepEqual(status, rebalancer.Status) {
		updated := rebalancer.DeepCopy()
		updated.Status = status
		if _, err := r.Rebalancers.UpdateStatus(ctx, updated); err != nil && !apierrors.IsNotFound(err) {
			return store.Outcome(fmt.Errorf("writing the status of WorkloadRebalancer %s: %w", name, err))
		}
		return store.Outcome(failure) // and the new status wakes it
	}
	if failure != nil {
		return store.Outcome(failure)
	}
	return r.end(ctx, rebalancer)
}

// carryOut asks for the workloads that have no result yet. One that can't be asked for at present holds up no other; the error
// is one of those, and it is asked for again.
func (r *Reconciler) carryOut(ctx context.Context, rebalancer *appsv1alpha1.WorkloadRebalancer) (got map[appsv1alpha1.ObjectReference]rebalance.Outcome, failure error) {
	got = map[appsv1alpha1.ObjectReference]rebalance.Outcome{}
	for _, workload := range rebalance.Outstanding(rebalancer) {
		binding := r.binding(workload)
		outcome := rebalance.Judge(binding, binding != nil && store.Claimed(binding))
		if outcome.Result == appsv1alpha1.RebalanceSuccessful {
			if err := r.trigger(ctx, binding); err != nil {
				failure = fmt.Errorf("asking for a new place of %s %s/%s: %w", workload.Kind, workload.Namespace, workload.Name, err)
				continue
			}
		}
		got[workload] = outcome
	}
	return got, failure
}

func (r *Reconciler) trigger(ctx context.Context, binding workv1alpha1.Binding) error {
	triggered := binding.DeepCopyObject().(workv1alpha1.Binding)
	at := rebalance.TriggerTime(binding, r.Now())
	triggered.GetSpec().RescheduleTriggeredAt = &at
	_, err := r.Bindings.For(binding.GetNamespace()).Update(ctx, triggered)
	return err
}

// binding is that of a workload, or nil.
func (r *Reconciler) binding(workload appsv1alpha1.ObjectReference) workv1alpha1.Binding {
	bindings := r.Bindings.ByIndex(store.ByTemplate, store.TemplateIndex(templates.Key{
		GroupVersionKind: schema.FromAPIVersionAndKind(workload.APIVersion, workload.Kind),
		NamespacedName:   types.NamespacedName{Namespace: workload.Namespace, Name: workload.Name},
	}))
	if len(bindings) == 0 {
		return nil
	}
	return bindings[0]
}

func (r *Reconciler) end(ctx context.Context, rebalancer *appsv1alpha1.WorkloadRebalancer) (ctrl.Result, error) {
	at, ends := rebalance.End(rebalancer)
	if !ends {
		return ctrl.Result{}, nil
	}
	if wait := at.Sub(r.Now()); wait > 0 {
		return ctrl.Result{RequeueAfter: wait}, nil
	}
	if err := r.Rebalancers.Delete(ctx, rebalancer); err != nil && !apierrors.IsNotFound(err) {
		return store.Outcome(fmt.Errorf("deleting WorkloadRebalancer %s, whose time is over: %w", rebalancer.Name, err))
	}
	return ctrl.Result{}, nil
}
