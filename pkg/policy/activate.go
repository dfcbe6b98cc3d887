package policy

import (
	"k8s.io/apimachinery/pkg/api/equality"

	policyv1alpha1 "windlass.dev/windlass/api/policy/v1alpha1"
	workv1alpha1 "windlass.dev/windlass/api/work/v1alpha1"
)

// Activate writes into a binding what a policy says of it, and leaves alone what its template and others say.
// They share no memory afterwards.
func Activate(policy policyv1alpha1.Policy, spec *workv1alpha1.BindingSpec) {
	wanted := policy.GetSpec().DeepCopy()
	spec.Placement = &wanted.Placement
	spec.PropagateDeps = wanted.PropagateDeps
	spec.SchedulerName = wanted.SchedulerName
	spec.Failover = wanted.Failover
	spec.ConflictResolution = wanted.ConflictResolution
	spec.PreserveResourcesOnDeletion = wanted.PreserveResourcesOnDeletion
	spec.Suspension = nil
	if wanted.Suspension != nil {
		spec.Suspension = &workv1alpha1.BindingSuspension{Suspension: *wanted.Suspension}
	}
}

// Lazy says whether changes of a policy wait for a change of each template.
func Lazy(policy policyv1alpha1.Policy) bool {
	return policy.GetSpec().ActivationPreference == policyv1alpha1.LazyActivation
}

// Waits says whether what a policy says now is not to take effect yet for a template that has a binding. A Lazy
// policy waits until the template is another than the one with which the binding got what it has of its policy;
// which one that was, a binding says only when a Lazy policy claimed it already. The hash names the content of
// the template as it is now. A binding without a placement, as somebody may have left or made it, has nothing of any
// policy: what it would wait with is to go everywhere.
func Waits(policy policyv1alpha1.Policy, binding workv1alpha1.Binding, hash string) bool {
	if !Lazy(policy) || binding.GetSpec().Placement == nil {
		return false
	}
	activated, known := binding.GetAnnotations()[workv1alpha1.ActivatedTemplateAnnotation]
	return !known || activated == hash || !ClaimOf(binding.GetLabels(), binding.GetAnnotations()).By(policy)
}

// Ahead says whether a policy that claims a binding says something that is to be written there before the template goes out, or may have to
// be: that it pauses other clusters, that it lets go of all, or, if it is Lazy, what takes effect with another content of the template.
func Ahead(policy policyv1alpha1.Policy, binding workv1alpha1.Binding) bool {
	if policy.GetDeletionTimestamp() != nil {
		return true
	}
	if Lazy(policy) {
		return Lags(policy, binding)
	}
	said, known := policy.GetSpec().Suspension, binding.GetSpec().Suspension
	return said != nil && (known == nil || !equality.Semantic.DeepEqual(*said, known.Suspension))
}

// Lags says whether a binding does not follow what its policy says now, which is so of a Lazy one.
func Lags(policy policyv1alpha1.Policy, binding workv1alpha1.Binding) bool {
	if !Lazy(policy) {
		return false
	}
	now := *binding.GetSpec()
	Activate(policy, &now)
	return !equality.Semantic.DeepEqual(&now, binding.GetSpec())
}
