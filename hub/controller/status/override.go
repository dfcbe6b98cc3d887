package status

import (
	"context"
	"fmt"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	clusterv1alpha1 "windlass.dev/windlass/api/cluster/v1alpha1"
	policyv1alpha1 "windlass.dev/windlass/api/policy/v1alpha1"
	"windlass.dev/windlass/hub/store"
	"windlass.dev/windlass/pkg/override"
)

// OverrideReconciler writes the status of override policies: whether their rules are for any cluster. Its
// key is a policy.
type OverrideReconciler struct {
	Overrides store.Scoped[policyv1alpha1.Override]
	Clusters  store.Kind[*clusterv1alpha1.MemberCluster]
	Now       func() time.Time
}

// Setup adds the controller to the manager.
func (r *OverrideReconciler) Setup(mgr manager.Manager) error {
	c, err := controller.NewTyped("override-status", mgr, controller.TypedOptions[types.NamespacedName]{Reconciler: r})
	if err != nil {
		return err
	}
	for _, source := range append(store.Sources(r.Overrides, overrideChanged), store.Source(r.Clusters.Informer, r.clusterChanged)) {
		if err := c.Watch(source); err != nil {
			return err
		}
	}
	return nil
}

// overrideChanged wakes a policy for its status, too: what was decided while the cache did not show the last
// write yet is decided again.
func overrideChanged(old, new policyv1alpha1.Override) []types.NamespacedName {
	if new == nil || old != nil && old.GetGeneration() == new.GetGeneration() && equality.Semantic.DeepEqual(old.GetStatus(), new.GetStatus()) {
		return nil
	}
	return []types.NamespacedName{store.Key(new)}
}

// clusterChanged wakes all policies when rules may choose the cluster otherwise than before.
func (r *OverrideReconciler) clusterChanged(old, new *clusterv1alpha1.MemberCluster) []types.NamespacedName {
	if old != nil && new != nil && override.SameCluster(old, new) {
		return nil
	}
	var keys []types.NamespacedName
	for _, p := range r.Overrides.List() {
		keys = append(keys, store.Key(p))
	}
	return keys
}

// Reconcile says of a policy which of its rules are for no cluster.
func (r *OverrideReconciler) Reconcile(ctx context.Context, key types.NamespacedName) (ctrl.Result, error) {
	p, ok := r.Overrides.Get(key)
	if !ok || p.GetDeletionTimestamp() != nil {
		return ctrl.Result{}, nil
	}
	compiled, err := override.Compile(p)
	condition := metav1.Condition{
		Type: policyv1alpha1.OverrideEffective, Status: metav1.ConditionTrue, Reason: "ClustersSelected",
		Message: "every rule is for some cluster", ObservedGeneration: p.GetGeneration(), LastTransitionTime: metav1.NewTime(r.Now()),
	}
	if err != nil {
		condition.Status, condition.Reason, condition.Message = metav1.ConditionFalse, "Invalid", err.Error()
	} else if idle := compiled.WithoutCluster(r.Clusters.List()); len(idle) > 0 {
		condition.Status, condition.Reason = metav1.ConditionFalse, "NoClusterSelected"
		condition.Message = fmt.Sprintf("no cluster is selected by the targetCluster of %s", strings.Join(idle[:min(len(idle), mostRules)], ", "))
		if more := len(idle) - mostRules; more > 0 {
			condition.Message += fmt.Sprintf(" and %d more", more)
		}
	}
	updated := p.DeepCopyObject().(policyv1alpha1.Override)
	status := updated.GetStatus()
	if changed := meta.SetStatusCondition(&status.Conditions, condition); !changed && status.ObservedGeneration == p.GetGeneration() {
		return ctrl.Result{}, nil
	}
	status.ObservedGeneration = p.GetGeneration()
	if _, err := r.Overrides.For(key.Namespace).UpdateStatus(ctx, updated); err != nil && !apierrors.IsNotFound(err) {
		return store.Outcome(fmt.Errorf("writing the status of override policy %s: %w", key, err))
	}
	return ctrl.Result{}, nil
}

// mostRules bounds the rules that a message names.
const mostRules = 5
