package hub

import (
	"context"
	"fmt"
	"math"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	policyv1alpha1 "windlass.dev/windlass/api/policy/v1alpha1"
	workv1alpha1 "windlass.dev/windlass/api/work/v1alpha1"
	"windlass.dev/windlass/hub/store"
)

// namespacesPolicy sends every user namespace to every cluster. It is an ordinary policy, so that
// people see it, and find out by the ordinary means what it does; any other policy wins over it.
const namespacesPolicy = "windlass-all-namespaces"

// keepNamespacesPolicy has the policy put back when somebody deletes or changes it, if the setting asks for it.
func (h *hub) keepNamespacesPolicy(mgr manager.Manager) error {
	if !h.config.Controllers.PropagateNamespaces {
		return nil
	}
	c, err := controller.NewTyped("namespaces-policy", mgr, controller.TypedOptions[string]{
		Reconciler: reconcile.TypedFunc[string](func(ctx context.Context, _ string) (reconcile.Result, error) {
			return store.Outcome(h.putNamespacesPolicy(ctx))
		}),
	})
	if err != nil {
		return fmt.Errorf("making the controller of policy %s: %w", namespacesPolicy, err)
	}
	for _, source := range store.Sources(h.kinds.policies, func(old, new policyv1alpha1.Policy) []string {
		changed := new
		if changed == nil {
			changed = old
		}
		if changed.GetNamespace() != "" || changed.GetName() != namespacesPolicy {
			return nil
		}
		return []string{namespacesPolicy}
	}) {
		if err := c.Watch(source); err != nil {
			return fmt.Errorf("watching policy %s: %w", namespacesPolicy, err)
		}
	}
	return nil
}

// putNamespacesPolicy makes the policy exist if the setting asks for it, and not otherwise. Its end
// leaves the namespaces in the members.
func (h *hub) putNamespacesPolicy(ctx context.Context) error {
	policies := h.api.Stores.ClusterPropagationPolicies
	existing, err := policies.Get(ctx, "", namespacesPolicy)
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("reading policy %s: %w", namespacesPolicy, err)
	}
	exists := err == nil
	switch wanted := h.config.Controllers.PropagateNamespaces; {
	case wanted && !exists:
		_, err = policies.Create(ctx, &policyv1alpha1.ClusterPropagationPolicy{ObjectMeta: metav1.ObjectMeta{Name: namespacesPolicy}, Spec: namespacesSpec()})
	case wanted && !equality.Semantic.DeepDerivative(namespacesSpec(), existing.Spec):
		updated := existing.DeepCopy()
		updated.Spec = namespacesSpec()
		_, err = policies.Update(ctx, updated)
	case !wanted && exists:
		err = h.kinds.policies.Cluster.Delete(ctx, existing)
	default:
		return nil
	}
	if err != nil {
		return fmt.Errorf("keeping policy %s: %w", namespacesPolicy, err)
	}
	return nil
}

func namespacesSpec() policyv1alpha1.PropagationSpec {
	return policyv1alpha1.PropagationSpec{
		ResourceSelectors: []policyv1alpha1.ResourceSelector{{
			APIVersion: "v1", Kind: "Namespace",
			LabelSelector: &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{
				{Key: workv1alpha1.SkipAutoPropagationLabel, Operator: metav1.LabelSelectorOpNotIn, Values: []string{"true"}},
				{Key: "kubernetes.io/metadata.name", Operator: metav1.LabelSelectorOpNotIn, Values: []string{metav1.NamespaceDefault}},
			}},
		}},
		Priority: ptr.To[int32](math.MinInt32),
		// Whoever takes over a namespace takes over all that is in it: it would be deleted with the namespace on the hub.
		ConflictResolution: policyv1alpha1.ConflictAbort,
		Preemption:         policyv1alpha1.PreemptNever,
		SchedulerName:      policyv1alpha1.DefaultSchedulerName,
	}
}

// terminating asks the API server whether a namespace is being deleted, or gone.
func (h *hub) terminating(ctx context.Context, name string) (bool, error) {
	namespace, err := h.kube.CoreV1().Namespaces().Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("asking whether namespace %s is being deleted: %w", name, err)
	}
	return namespace.DeletionTimestamp != nil, nil
}
