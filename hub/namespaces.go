package hub

import (
	"context"
	"fmt"
	"math"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	policyv1alpha1 "windlass.dev/windlass/api/policy/v1alpha1"
	workv1alpha1 "windlass.dev/windlass/api/work/v1alpha1"
)

// namespacesPolicy sends every user namespace to every cluster. It is an ordinary policy, so that
// people see it, and find out by the ordinary means what it does; any other policy wins over it.
const namespacesPolicy = "windlass-all-namespaces"

// keepNamespacesPolicy makes the policy exist if the setting asks for it, and not otherwise. Its end
// leaves the namespaces in the members.
func (h *hub) keepNamespacesPolicy(ctx context.Context) error {
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
		Priority:           ptr.To[int32](math.MinInt32),
		ConflictResolution: policyv1alpha1.ConflictOverwrite, // a namespace of that name is what is asked for
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
