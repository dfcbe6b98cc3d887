// Package policy is responsible for one question: which policy claims a template, and why.
//
// A template is claimed by one policy. The one that has claimed it keeps it for as long as it
// selects it. Otherwise the best PropagationPolicy of the template's namespace gets it, and if there
// is none the best ClusterPropagationPolicy. The best has the highest priority; among equals a
// selector by name beats one by label, which beats one for all of a kind; then the first name wins.
//
// A policy with preemption Always that names the template takes it from one of a lower priority; a
// PropagationPolicy takes it from a ClusterPropagationPolicy of any, and never the other way round.
package policy

import (
	"fmt"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	policyv1alpha1 "windlass.dev/windlass/api/policy/v1alpha1"
	workv1alpha1 "windlass.dev/windlass/api/work/v1alpha1"
)

// Template is what selection looks at in a template.
type Template struct {
	Kind      schema.GroupVersionKind
	Namespace string // empty for cluster scope
	Name      string
	Labels    map[string]string // only read
	// Annotations are only read.
	Annotations map[string]string
}

// TemplateOf describes an object of the given kind.
func TemplateOf(object metav1.Object, kind schema.GroupVersionKind) Template {
	return Template{Kind: kind, Namespace: object.GetNamespace(), Name: object.GetName(), Labels: object.GetLabels(), Annotations: object.GetAnnotations()}
}

// outOfReach says why no policy can ever claim the template, or nothing.
func (t *Template) outOfReach() (reason, message string) {
	if why, never := policyv1alpha1.NeverPropagated(t.Kind.GroupKind()); never {
		return ReasonNeverPropagated, fmt.Sprintf("objects of kind %s are never propagated: %s", t.Kind.Kind, why)
	}
	if t.ofTheHub() {
		return ReasonOfTheHub, fmt.Sprintf("%s %s is what every API server makes for itself: the hub's own is no template, and a member has its own", t.Kind.Kind, t.Name)
	}
	namespace := t.Namespace
	if t.Kind.Group == "" && t.Kind.Kind == "Namespace" {
		namespace = t.Name
	}
	if policyv1alpha1.ReservedNamespace(namespace) {
		return ReasonReservedNamespace, fmt.Sprintf("namespace %s is reserved for control planes, nothing in it is propagated", namespace)
	}
	return "", ""
}

// madeByAPIServers are labels and annotations that an API server puts on what it makes for itself and
// keeps as it is: the roles and bindings of RBAC, the groups that it serves, the levels and schemas of
// its priority and fairness, the addresses of Services.
var madeByAPIServers = []string{
	"kubernetes.io/bootstrapping",
	"kube-aggregator.kubernetes.io/automanaged",
	"apf.kubernetes.io/autoupdate-spec",
	"ipaddress.kubernetes.io/managed-by",
}

// ofAnAPIServer are those of them that bear no such mark. A namespace is written before the name.
var ofAnAPIServer = map[schema.GroupKind][]string{
	{Kind: "Service"}: {"default/kubernetes"},
	{Group: "networking.k8s.io", Kind: "ServiceCIDR"}:   {"kubernetes"},
	{Group: "scheduling.k8s.io", Kind: "PriorityClass"}: {"system-cluster-critical", "system-node-critical"},
}

// ofTheHub says whether the hub's API server made the object for itself. Claiming it would put marks on
// what grants rights on the hub, and would send to every member what it has of its own.
func (t *Template) ofTheHub() bool {
	for _, mark := range madeByAPIServers {
		if t.Labels[mark] != "" || t.Annotations[mark] != "" {
			return true
		}
	}
	name := t.Name
	if t.Namespace != "" {
		name = t.Namespace + "/" + name
	}
	return slices.Contains(ofAnAPIServer[t.Kind.GroupKind()], name)
}

// Mark is what a claimed template says about a policy that claims it. The zero Mark is none.
type Mark struct {
	ID        string // the policy's permanent id
	Namespace string // empty for a ClusterPropagationPolicy
	Name      string
}

// Claim is everything a template's labels and annotations say about who claims it.
type Claim struct {
	Policy        Mark // of a PropagationPolicy
	ClusterPolicy Mark // of a ClusterPropagationPolicy
}

// ClaimOf reads the marks of a template or a binding.
func ClaimOf(labels, annotations map[string]string) Claim {
	var claim Claim
	if id := labels[workv1alpha1.PropagationPolicyPermanentIDLabel]; id != "" {
		claim.Policy = Mark{
			ID:        id,
			Namespace: annotations[workv1alpha1.PropagationPolicyNamespaceAnnotation],
			Name:      annotations[workv1alpha1.PropagationPolicyNameAnnotation],
		}
	}
	if id := labels[workv1alpha1.ClusterPropagationPolicyPermanentIDLabel]; id != "" {
		claim.ClusterPolicy = Mark{ID: id, Name: annotations[workv1alpha1.ClusterPropagationPolicyNameAnnotation]}
	}
	return claim
}

// Empty says whether no policy claims the template.
func (c Claim) Empty() bool { return c == Claim{} }

// By says whether the marks are those of the given policy. Id and name must both agree: a policy
// that was copied with its labels bears the id of another.
func (c Claim) By(policy policyv1alpha1.Policy) bool {
	mark := markOf(policy)
	return mark.ID != "" && (mark == c.Policy || mark == c.ClusterPolicy)
}

func markOf(policy policyv1alpha1.Policy) Mark {
	return Mark{ID: policy.GetLabels()[idLabel(policy)], Namespace: policy.GetNamespace(), Name: policy.GetName()}
}

// namespaced says whether it is a PropagationPolicy.
func namespaced(policy policyv1alpha1.Policy) bool {
	_, is := policy.(*policyv1alpha1.PropagationPolicy)
	return is
}

func idLabel(policy policyv1alpha1.Policy) string {
	if namespaced(policy) {
		return workv1alpha1.PropagationPolicyPermanentIDLabel
	}
	return workv1alpha1.ClusterPropagationPolicyPermanentIDLabel
}

// Marks are the labels and annotations that a template, and its binding, carries when the policy
// claims it.
func Marks(policy policyv1alpha1.Policy) (labels, annotations map[string]string) {
	mark := markOf(policy)
	labels = map[string]string{idLabel(policy): mark.ID}
	if namespaced(policy) {
		return labels, map[string]string{
			workv1alpha1.PropagationPolicyNamespaceAnnotation: mark.Namespace,
			workv1alpha1.PropagationPolicyNameAnnotation:      mark.Name,
		}
	}
	return labels, map[string]string{workv1alpha1.ClusterPropagationPolicyNameAnnotation: mark.Name}
}

// MarkKeys are the keys of the labels and annotations that any claim uses. A template without them
// is not claimed.
func MarkKeys() (labels, annotations []string) {
	return []string{
			workv1alpha1.PropagationPolicyPermanentIDLabel,
			workv1alpha1.ClusterPropagationPolicyPermanentIDLabel,
		}, []string{
			workv1alpha1.PropagationPolicyNamespaceAnnotation,
			workv1alpha1.PropagationPolicyNameAnnotation,
			workv1alpha1.ClusterPropagationPolicyNameAnnotation,
		}
}

// Reasons of a Decision.
const (
	ReasonKept              = "Kept"              // the policy that claims the template still selects it
	ReasonSelected          = "Selected"          // a policy claims the template anew
	ReasonPreempted         = "Preempted"         // a policy takes the template from the one that claims it
	ReasonNoPolicy          = "NoPolicy"          // no policy selects the template
	ReasonReservedNamespace = "ReservedNamespace" // nothing in this namespace is propagated
	ReasonNeverPropagated   = "NeverPropagated"   // nothing of this kind is propagated
	ReasonOfTheHub          = "OfTheHub"          // the hub's API server made it for itself
)

// Decision is who claims a template.
type Decision struct {
	Policy  policyv1alpha1.Policy // nil when nobody does; only to be read
	Reason  string
	Message string // a sentence for a condition or an event
}

// MissingOverrides are the override policies that a policy waits for, with their kinds, in the order in
// which it names them: OverridePolicies of its namespace, or ClusterOverridePolicies. Until all are there
// the policy has no effect on templates that are new or have changed.
func MissingOverrides(policy policyv1alpha1.Policy, exists func(namespace, name string) bool) []string {
	var missing []string
	for _, name := range policy.GetSpec().DependentOverrides {
		switch namespace := policy.GetNamespace(); {
		case exists(namespace, name):
		case namespaced(policy):
			missing = append(missing, "OverridePolicy "+namespace+"/"+name)
		default:
			missing = append(missing, "ClusterOverridePolicy "+name)
		}
	}
	return missing
}

// WaitsFor says whether a policy names an override policy among its dependentOverrides.
func WaitsFor(policy policyv1alpha1.Policy, override policyv1alpha1.Override) bool {
	return policy.GetNamespace() == override.GetNamespace() && slices.Contains(policy.GetSpec().DependentOverrides, override.GetName())
}
