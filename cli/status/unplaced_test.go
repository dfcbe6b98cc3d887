package status

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	policyv1alpha1 "windlass.dev/windlass/api/policy/v1alpha1"
	workv1alpha1 "windlass.dev/windlass/api/work/v1alpha1"
	"windlass.dev/windlass/pkg/aggregate"
)

func TestWhyAnObjectHasNoPlacement(t *testing.T) {
	deployment := schema.GroupVersionKind{Group: "apps", Version: "v1", Kind: "Deployment"}
	named := func(namespace, name string) *metav1.ObjectMeta {
		return &metav1.ObjectMeta{Namespace: namespace, Name: name}
	}
	claimed := func(object *metav1.ObjectMeta) *metav1.ObjectMeta {
		object.Labels = map[string]string{workv1alpha1.PropagationPolicyPermanentIDLabel: "id"}
		object.Annotations = map[string]string{workv1alpha1.PropagationPolicyNamespaceAnnotation: "shop", workv1alpha1.PropagationPolicyNameAnnotation: "p"}
		return object
	}
	deleted := claimed(named("shop", "web"))
	deleted.DeletionTimestamp = &metav1.Time{Time: now}
	spec := policyv1alpha1.PropagationSpec{ResourceSelectors: []policyv1alpha1.ResourceSelector{{APIVersion: "apps/v1", Kind: "Deployment", Name: "web"}, {APIVersion: "autoscaling/v1", Kind: "HorizontalPodAutoscaler"}}}
	status := func(reason, message string) policyv1alpha1.PropagationStatus {
		if reason == "" {
			return policyv1alpha1.PropagationStatus{}
		}
		return policyv1alpha1.PropagationStatus{ObservedGeneration: 2, Conditions: []metav1.Condition{{Type: "Ready", Status: metav1.ConditionFalse, Reason: reason, Message: message}}}
	}
	pp := func(reason, message string) policyv1alpha1.Policy {
		return &policyv1alpha1.PropagationPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "p", Generation: 2,
			Labels: map[string]string{workv1alpha1.PropagationPolicyPermanentIDLabel: "id"}}, Spec: spec, Status: status(reason, message)}
	}
	cpp := func(reason, message string) policyv1alpha1.Policy {
		return &policyv1alpha1.ClusterPropagationPolicy{ObjectMeta: metav1.ObjectMeta{Name: "all", Generation: 2}, Spec: spec, Status: status(reason, message)}
	}
	outdated := pp(aggregate.ReasonClassNotFound, "The hub has no PriorityClass urgent.")
	outdated.GetStatus().ObservedGeneration = 1
	const making = ", and its binding is not there: it was just claimed or is being made anew; ask again in a moment"
	for _, test := range []struct {
		reason string
		in     Unplaced
		want   string
	}{
		{"no policy selects it", Unplaced{Object: named("shop", "wbe"), Kind: deployment, Policies: []policyv1alpha1.Policy{pp("", ""), cpp("", "")}},
			"Deployment shop/wbe is in no cluster: none of the PropagationPolicies in namespace shop (1) and the ClusterPropagationPolicies of the hub (1) selects it; their resourceSelectors say what they select"},
		{"nor can one of a namespace", Unplaced{Object: named("", "reader"), Kind: schema.GroupVersionKind{Group: "rbac.authorization.k8s.io", Version: "v1", Kind: "ClusterRole"}, Policies: []policyv1alpha1.Policy{cpp("", "")}},
			"ClusterRole reader is in no cluster: none of the ClusterPropagationPolicies of the hub (1) selects it; their resourceSelectors say what they select"},
		{"the user may not read the policies", Unplaced{Object: named("shop", "web"), Kind: deployment, Unread: []string{"clusterpropagationpolicies.policy.karmada.io"}},
			"Deployment shop/web is in no cluster: no policy claims it; to be told why it takes the right to list clusterpropagationpolicies.policy.karmada.io"},
		{"nor the one that has claimed it", Unplaced{Object: claimed(named("shop", "web")), Kind: deployment, Unread: []string{"propagationpolicies.policy.karmada.io"}},
			"Deployment shop/web is claimed by a policy, and its binding is not there: either it was just claimed or is being made anew, or the policy says why in its status; to be told it takes the right to list propagationpolicies.policy.karmada.io"},
		{"it was just claimed", Unplaced{Object: claimed(named("shop", "web")), Kind: deployment, Policies: []policyv1alpha1.Policy{pp("", "")}},
			"Deployment shop/web is selected by PropagationPolicy shop/p" + making},
		{"the policy is new", Unplaced{Object: named("shop", "web"), Kind: deployment, Policies: []policyv1alpha1.Policy{cpp(aggregate.ReasonNothingSelected, "No object is claimed")}},
			"Deployment shop/web is selected by ClusterPropagationPolicy all" + making},
		{"others of the policy are not applied", Unplaced{Object: claimed(named("shop", "web")), Kind: deployment, Policies: []policyv1alpha1.Policy{pp(aggregate.ReasonNotApplied, "1 of 2")}},
			"Deployment shop/web is selected by PropagationPolicy shop/p" + making},
		{"the policy names a PriorityClass that is not there", Unplaced{Object: claimed(named("shop", "web")), Kind: deployment, Policies: []policyv1alpha1.Policy{pp(aggregate.ReasonClassNotFound, "The hub has no PriorityClass urgent.")}},
			"Deployment shop/web is in no cluster yet: PropagationPolicy shop/p selects it, and is not Ready: PriorityClassNotFound: The hub has no PriorityClass urgent."},
		{"it was mended since", Unplaced{Object: claimed(named("shop", "web")), Kind: deployment, Policies: []policyv1alpha1.Policy{outdated}},
			"Deployment shop/web is selected by PropagationPolicy shop/p" + making},
		{"the policy waits for override policies", Unplaced{Object: named("shop", "web"), Kind: deployment, Policies: []policyv1alpha1.Policy{cpp(aggregate.ReasonOverrideMissing, "New objects wait for ClusterOverridePolicy sizes.")}},
			"Deployment shop/web is in no cluster yet: ClusterPropagationPolicy all selects it, and is not Ready: OverrideMissing: New objects wait for ClusterOverridePolicy sizes."},
		{"the policy selects another version of the kind", Unplaced{Object: named("shop", "web"), Kind: schema.GroupVersionKind{Group: "autoscaling", Version: "v2", Kind: "HorizontalPodAutoscaler"}, Policies: []policyv1alpha1.Policy{pp("", "")}},
			"HorizontalPodAutoscaler shop/web is selected by PropagationPolicy shop/p" + making},
		{"it is being deleted", Unplaced{Object: deleted, Kind: deployment, Policies: []policyv1alpha1.Policy{pp("", "")}},
			"Deployment shop/web is being deleted, and nothing is placed any more that is"},
		{"a policy bears the mark that its templates have", Unplaced{Object: claimed(named("shop", "p")), Kind: policyv1alpha1.SchemeGroupVersion.WithKind("PropagationPolicy")},
			"PropagationPolicy shop/p goes to no cluster: objects of kind PropagationPolicy are never propagated: it says what this hub does"},
		{"it is in a namespace that is reserved", Unplaced{Object: named("kube-system", "web"), Kind: deployment},
			"Deployment kube-system/web goes to no cluster: namespace kube-system is reserved for control planes, nothing in it is propagated"},
		{"a namespace goes with what is in it", Unplaced{Object: named("", "shop"), Kind: schema.GroupVersionKind{Version: "v1", Kind: "Namespace"}, Unread: []string{"clusterpropagationpolicies.policy.karmada.io"}},
			"Namespace shop has no placement of its own, for no policy claims it: it is made in a cluster when something in it arrives there, and stays there; " +
				"`controllers.propagateNamespaces` of the hub's configuration sends every namespace to every cluster"},
	} {
		if got := test.in.Why(); got != test.want {
			t.Errorf("%s:\ngot  %s\nwant %s", test.reason, got, test.want)
		}
	}
}
