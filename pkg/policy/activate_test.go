package policy

import (
	"reflect"
	"testing"

	"k8s.io/utils/ptr"

	policyv1alpha1 "windlass.dev/windlass/api/policy/v1alpha1"
	workv1alpha1 "windlass.dev/windlass/api/work/v1alpha1"
)

func lazy(policy *policyv1alpha1.PropagationPolicy) *policyv1alpha1.PropagationPolicy {
	policy.Spec.ActivationPreference = policyv1alpha1.LazyActivation
	return policy
}

// bindingOf is the binding of a template that the policy claims, activated with a content of the template.
func bindingOf(policy policyv1alpha1.Policy, activated string) *workv1alpha1.PropagationBinding {
	binding := &workv1alpha1.PropagationBinding{Spec: workv1alpha1.BindingSpec{Placement: &policyv1alpha1.Placement{}}}
	binding.Labels, binding.Annotations = Marks(policy)
	if activated != "" {
		binding.Annotations[workv1alpha1.ActivatedTemplateAnnotation] = activated
	}
	return binding
}

func TestAChangeOfALazyPolicyWaitsForTheNextChangeOfATemplate(t *testing.T) {
	eager, sluggish := pp("shop", "web", 0, all(deployment)), lazy(pp("shop", "web", 0, all(deployment)))
	other := lazy(pp("shop", "other", 0, all(deployment)))
	unclaimed, mutilated := bindingOf(eager, ""), bindingOf(sluggish, "now")
	unclaimed.Labels, unclaimed.Annotations = nil, nil
	mutilated.Spec.Placement = nil
	for _, test := range []struct {
		reason  string
		policy  policyv1alpha1.Policy
		binding workv1alpha1.Binding
		want    bool
	}{
		{"an ordinary policy waits for nothing", eager, bindingOf(eager, "now"), false},
		{"the template is the one that it was", sluggish, bindingOf(sluggish, "now"), true},
		{"somebody has changed the template", sluggish, bindingOf(sluggish, "before"), false},
		{"the policy became Lazy by this change", sluggish, bindingOf(eager, ""), true},
		{"it takes over what another policy had, which is no change of the template", other, bindingOf(sluggish, "before"), true},
		{"it takes up what no policy had", sluggish, unclaimed, true},
		{"somebody has taken out the placement, and without one it would go everywhere", sluggish, mutilated, false},
	} {
		if got := Waits(test.policy, test.binding, "now"); got != test.want {
			t.Errorf("%s: waits %t, want %t", test.reason, got, test.want)
		}
	}
}

func TestOnlyTheBindingOfALazyPolicyLags(t *testing.T) {
	sluggish := lazy(pp("shop", "web", 0, all(deployment)))
	binding := bindingOf(sluggish, "now")
	Activate(sluggish, &binding.Spec)
	if Lags(sluggish, binding) {
		t.Error("a binding that has just followed its policy lags behind it")
	}
	sluggish.Spec.PreserveResourcesOnDeletion = ptr.To(true)
	if !Lags(sluggish, binding) {
		t.Error("a binding that did not follow a change does not lag")
	}
	sluggish.Spec.ActivationPreference = ""
	if Lags(sluggish, binding) {
		t.Error("the binding of an ordinary policy follows in a moment, which is not worth a word")
	}
}

func TestEverythingThatAPolicySaysOfABindingIsTakenFromIt(t *testing.T) {
	full := pp("shop", "web", 0, all(deployment))
	full.Spec.PropagateDeps, full.Spec.SchedulerName = true, "mine"
	full.Spec.Failover, full.Spec.ConflictResolution = &policyv1alpha1.FailoverBehavior{}, policyv1alpha1.ConflictOverwrite
	full.Spec.Suspension, full.Spec.PreserveResourcesOnDeletion = &policyv1alpha1.Suspension{Dispatching: ptr.To(true)}, ptr.To(true)
	taken, empty := &workv1alpha1.BindingSpec{}, &workv1alpha1.BindingSpec{Placement: &policyv1alpha1.Placement{}}
	Activate(full, taken)
	if !*taken.Suspension.Dispatching || taken.SchedulerName != "mine" || !taken.PropagateDeps || taken.Failover == nil ||
		taken.ConflictResolution != policyv1alpha1.ConflictOverwrite || !*taken.PreserveResourcesOnDeletion {
		t.Errorf("the binding has %+v", taken)
	}
	Activate(pp("shop", "web", 0, all(deployment)), taken)
	if !reflect.DeepEqual(taken, empty) {
		t.Errorf("what the policy no longer says is left: %+v", taken)
	}
}
