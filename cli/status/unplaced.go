package status

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	policyv1alpha1 "windlass.dev/windlass/api/policy/v1alpha1"
	"windlass.dev/windlass/pkg/aggregate"
	"windlass.dev/windlass/pkg/policy"
)

// Unplaced is an object on the hub that has no binding, and what may be the reason.
type Unplaced struct {
	Object metav1.Object
	Kind   schema.GroupVersionKind
	// Policies are those that could claim it: the PropagationPolicies of its namespace, and the ClusterPropagationPolicies.
	Policies []policyv1alpha1.Policy
	// Unread are their resources that the user may not list.
	Unread []string
}

// Why says why no cluster has the object from the hub.
func (u Unplaced) Why() string {
	called := templateNamed(u.Object, u.Kind).String()
	claim := policy.ClaimOf(u.Object.GetLabels(), u.Object.GetAnnotations())
	decision, unclaimed := u.decide(claim), claim.Empty()
	switch {
	case slices.Contains([]string{policy.ReasonNeverPropagated, policy.ReasonReservedNamespace, policy.ReasonOfTheHub}, decision.Reason):
		return fmt.Sprintf("%s goes to no cluster: %s", called, decision.Message)
	case u.Object.GetDeletionTimestamp() != nil:
		return called + " is being deleted, and nothing is placed any more that is"
	case decision.Policy != nil:
		return u.waitsFor(called, decision.Policy)
	case unclaimed && u.Kind.GroupKind() == schema.GroupKind{Kind: "Namespace"}:
		return called + " has no placement of its own, for no policy claims it: it is made in a cluster when something in it arrives there, and stays there; " +
			"`controllers.propagateNamespaces` of the hub's configuration sends every namespace to every cluster"
	case len(u.Unread) > 0 && !unclaimed:
		return called + " is claimed by a policy, and its binding is not there: either it was just claimed or is being made anew, or the policy says why in its status; to be told it takes the right to list " + strings.Join(u.Unread, " and ")
	case len(u.Unread) > 0:
		return called + " is in no cluster: no policy claims it; to be told why it takes the right to list " + strings.Join(u.Unread, " and ")
	}
	return fmt.Sprintf("%s is in no cluster: none of %s selects it; their resourceSelectors say what they select", called, u.looked())
}

// decide asks which policy is to claim the object. Selectors may name its kind in another version than the user did.
func (u Unplaced) decide(claim policy.Claim) policy.Decision {
	index := policy.NewIndex(u.Policies...)
	kinds := []schema.GroupVersionKind{u.Kind}
	for _, kind := range index.Kinds() {
		if kind.GroupKind() == u.Kind.GroupKind() && kind != u.Kind {
			kinds = append(kinds, kind)
		}
	}
	var decision policy.Decision
	waits := func(p policyv1alpha1.Policy) bool {
		ready := notReady(p)
		return ready != nil && ready.Reason == aggregate.ReasonOverrideMissing
	}
	for _, kind := range kinds {
		if decision = index.Select(policy.TemplateOf(u.Object, kind), claim, waits); decision.Reason != policy.ReasonNoPolicy {
			break
		}
	}
	return decision
}

// waitsFor says what keeps a policy from making the binding of what it selects.
func (u Unplaced) waitsFor(called string, p policyv1alpha1.Policy) string {
	by, _ := policy.NewMatcher(p)
	if ready := notReady(p); ready != nil && ready.Reason != aggregate.ReasonNothingSelected && !slices.Contains(toldOnBindings, ready.Reason) {
		return fmt.Sprintf("%s is in no cluster yet: %s selects it, and is not Ready: %s", called, by, because(ready.Reason, ready.Message))
	}
	return fmt.Sprintf("%s is selected by %s, and its binding is not there: it was just claimed or is being made anew; ask again in a moment", called, by)
}

// looked names the policies that were looked at.
func (u Unplaced) looked() string {
	var namespaced int
	for _, p := range u.Policies {
		if p.GetNamespace() != "" {
			namespaced++
		}
	}
	clusterPolicies := "the ClusterPropagationPolicies of the hub (" + fmt.Sprint(len(u.Policies)-namespaced) + ")"
	if u.Object.GetNamespace() == "" {
		return clusterPolicies
	}
	return fmt.Sprintf("the PropagationPolicies in namespace %s (%d) and %s", u.Object.GetNamespace(), namespaced, clusterPolicies)
}

// notReady is the condition of a policy that says of its present spec why it has not its effect, or nil.
func notReady(p policyv1alpha1.Policy) *metav1.Condition {
	status := p.GetStatus()
	ready := meta.FindStatusCondition(status.Conditions, aggregate.PolicyReady)
	if ready == nil || ready.Status != metav1.ConditionFalse || status.ObservedGeneration != p.GetGeneration() {
		return nil
	}
	return ready
}

func templateNamed(object metav1.Object, kind schema.GroupVersionKind) Template {
	return Template{APIVersion: kind.GroupVersion().String(), Kind: kind.Kind, Namespace: object.GetNamespace(), Name: object.GetName()}
}
