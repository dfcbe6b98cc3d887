package policy

import (
	stdcmp "cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	policyv1alpha1 "windlass.dev/windlass/api/policy/v1alpha1"
	workv1alpha1 "windlass.dev/windlass/api/work/v1alpha1"
)

var (
	deployment  = schema.GroupVersionKind{Group: "apps", Version: "v1", Kind: "Deployment"}
	clusterRole = schema.GroupVersionKind{Group: "rbac.authorization.k8s.io", Version: "v1", Kind: "ClusterRole"}
	namespace   = schema.GroupVersionKind{Version: "v1", Kind: "Namespace"}
	service     = schema.GroupVersionKind{Version: "v1", Kind: "Service"}
	flowSchema  = schema.GroupVersionKind{Group: "flowcontrol.apiserver.k8s.io", Version: "v1", Kind: "FlowSchema"}
)

// pp makes a PropagationPolicy whose permanent id is id-<namespace>-<name>.
func pp(namespace, name string, priority int32, selectors ...policyv1alpha1.ResourceSelector) *policyv1alpha1.PropagationPolicy {
	return &policyv1alpha1.PropagationPolicy{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: map[string]string{
			workv1alpha1.PropagationPolicyPermanentIDLabel: "id-" + namespace + "-" + name}},
		Spec: policyv1alpha1.PropagationSpec{ResourceSelectors: selectors, Priority: ptr.To(priority)},
	}
}

// cpp makes a ClusterPropagationPolicy whose permanent id is id-<name>.
func cpp(name string, priority int32, selectors ...policyv1alpha1.ResourceSelector) *policyv1alpha1.ClusterPropagationPolicy {
	return &policyv1alpha1.ClusterPropagationPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{
			workv1alpha1.ClusterPropagationPolicyPermanentIDLabel: "id-" + name}},
		Spec: policyv1alpha1.PropagationSpec{ResourceSelectors: selectors, Priority: ptr.To(priority)},
	}
}

func all(kind schema.GroupVersionKind) policyv1alpha1.ResourceSelector {
	return policyv1alpha1.ResourceSelector{APIVersion: kind.GroupVersion().String(), Kind: kind.Kind}
}

func byName(kind schema.GroupVersionKind, name string) policyv1alpha1.ResourceSelector {
	selector := all(kind)
	selector.Name = name
	return selector
}

func byLabel(kind schema.GroupVersionKind, key, value string) policyv1alpha1.ResourceSelector {
	selector := all(kind)
	selector.LabelSelector = &metav1.LabelSelector{MatchLabels: map[string]string{key: value}}
	return selector
}

// preempting makes a policy take what it names from others.
func preempting[P policyv1alpha1.Policy](policy P) P {
	policy.GetSpec().Preemption = policyv1alpha1.PreemptAlways
	return policy
}

func in(namespace string, selector policyv1alpha1.ResourceSelector) policyv1alpha1.ResourceSelector {
	selector.Namespace = namespace
	return selector
}

func leaving(policy *policyv1alpha1.PropagationPolicy) *policyv1alpha1.PropagationPolicy {
	policy.DeletionTimestamp = &metav1.Time{Time: time.Unix(1, 0)}
	return policy
}

// claimOf makes the marks of a policy and reads them again.
func claimOf(policy policyv1alpha1.Policy) Claim { return ClaimOf(Marks(policy)) }

func TestTheBestPolicyClaimsATemplate(t *testing.T) {
	web := Template{Kind: deployment, Namespace: "shop", Name: "web", Labels: map[string]string{"app": "web"}}
	base := pp("shop", "base", 0, all(deployment))
	everything := cpp("everything", 0, all(deployment))
	tests := []struct {
		reason   string
		template Template
		claim    Claim
		policies []policyv1alpha1.Policy
		policy   string // namespace/name of the one that claims
		why      string
		message  string
	}{
		{
			reason: "a template without a policy is left alone", template: web,
			policies: []policyv1alpha1.Policy{pp("shop", "other", 0, byName(deployment, "api")), pp("shop", "kind", 0, all(clusterRole))},
			why:      ReasonNoPolicy, message: "no policy selects it",
		},
		{
			reason: "a policy that selects it claims it", template: web,
			policies: []policyv1alpha1.Policy{base},
			policy:   "shop/base", why: ReasonSelected, message: "PropagationPolicy shop/base selects it as one of its kind",
		},
		{
			reason: "one selector of several is enough", template: web,
			policies: []policyv1alpha1.Policy{pp("shop", "many", 0, byName(deployment, "api"), byLabel(deployment, "app", "api"), byLabel(deployment, "app", "web"))},
			policy:   "shop/many", why: ReasonSelected, message: "PropagationPolicy shop/many selects it by label",
		},
		{
			reason: "apiVersion is compared exactly", template: web,
			policies: []policyv1alpha1.Policy{pp("shop", "beta", 0, all(schema.GroupVersionKind{Group: "apps", Version: "v1beta1", Kind: "Deployment"}))},
			why:      ReasonNoPolicy, message: "no policy selects it",
		},
		{
			reason: "a PropagationPolicy is for its own namespace", template: web,
			policies: []policyv1alpha1.Policy{pp("other", "base", 0, all(deployment))},
			why:      ReasonNoPolicy, message: "no policy selects it",
		},
		{
			reason: "the higher priority wins over the narrower selector", template: web,
			policies: []policyv1alpha1.Policy{pp("shop", "named", 1, byName(deployment, "web")), pp("shop", "wide", 2, all(deployment))},
			policy:   "shop/wide", why: ReasonSelected,
			message: "PropagationPolicy shop/wide selects it as one of its kind and comes before PropagationPolicy shop/named: its priority is 2, the other's 1",
		},
		{
			reason: "among equal priorities a name beats a label", template: web,
			policies: []policyv1alpha1.Policy{pp("shop", "a", 0, byLabel(deployment, "app", "web")), pp("shop", "z", 0, byName(deployment, "web"))},
			policy:   "shop/z", why: ReasonSelected,
			message: "PropagationPolicy shop/z selects it by name and comes before PropagationPolicy shop/a: the other selects it by label",
		},
		{
			reason: "and a label beats the whole kind", template: web,
			policies: []policyv1alpha1.Policy{pp("shop", "a", 0, all(deployment)), pp("shop", "z", 0, byLabel(deployment, "app", "web"))},
			policy:   "shop/z", why: ReasonSelected,
			message: "PropagationPolicy shop/z selects it by label and comes before PropagationPolicy shop/a: the other selects it as one of its kind",
		},
		{
			reason: "of a policy's selectors the narrowest one counts", template: web,
			policies: []policyv1alpha1.Policy{pp("shop", "a", 0, byLabel(deployment, "app", "web")), pp("shop", "z", 0, all(deployment), byName(deployment, "web"))},
			policy:   "shop/z", why: ReasonSelected,
			message: "PropagationPolicy shop/z selects it by name and comes before PropagationPolicy shop/a: the other selects it by label",
		},
		{
			reason: "a label selector beside a name is ignored", template: web,
			policies: []policyv1alpha1.Policy{pp("shop", "a", 0, policyv1alpha1.ResourceSelector{APIVersion: "apps/v1", Kind: "Deployment", Name: "web",
				LabelSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "other"}}})},
			policy: "shop/a", why: ReasonSelected, message: "PropagationPolicy shop/a selects it by name",
		},
		{
			reason: "when all else is equal the first name wins", template: web,
			policies: []policyv1alpha1.Policy{pp("shop", "b", 0, all(deployment)), pp("shop", "a", 0, all(deployment)), pp("shop", "c", 0, all(deployment))},
			policy:   "shop/a", why: ReasonSelected,
			message: "PropagationPolicy shop/a selects it as one of its kind and comes before PropagationPolicy shop/b: all else is equal and its name sorts first",
		},
		{
			reason: "a PropagationPolicy comes before a ClusterPropagationPolicy of any priority", template: web,
			policies: []policyv1alpha1.Policy{cpp("urgent", 100, byName(deployment, "web")), base},
			policy:   "shop/base", why: ReasonSelected, message: "PropagationPolicy shop/base selects it as one of its kind",
		},
		{
			reason: "a ClusterPropagationPolicy takes what none of the namespace selects", template: web,
			policies: []policyv1alpha1.Policy{everything, pp("shop", "other", 0, byName(deployment, "api"))},
			policy:   "/everything", why: ReasonSelected, message: "ClusterPropagationPolicy everything selects it as one of its kind",
		},
		{
			reason: "in the namespace that it names", template: web,
			policies: []policyv1alpha1.Policy{cpp("a", 0, in("other", all(deployment))), cpp("b", 0, in("shop", all(deployment)))},
			policy:   "/b", why: ReasonSelected, message: "ClusterPropagationPolicy b selects it as one of its kind",
		},
		{
			reason: "an object of cluster scope is for ClusterPropagationPolicies", template: Template{Kind: clusterRole, Name: "admin"},
			policies: []policyv1alpha1.Policy{cpp("roles", 0, byName(clusterRole, "admin"))},
			policy:   "/roles", why: ReasonSelected, message: "ClusterPropagationPolicy roles selects it by name",
		},
		{
			reason: "the policy that has claimed it keeps it while it selects it", template: web, claim: claimOf(base),
			policies: []policyv1alpha1.Policy{base, pp("shop", "urgent", 100, byName(deployment, "web"))},
			policy:   "shop/base", why: ReasonKept, message: "PropagationPolicy shop/base claims it and still selects it as one of its kind",
		},
		{
			reason: "a ClusterPropagationPolicy keeps it against a PropagationPolicy", template: web, claim: claimOf(everything),
			policies: []policyv1alpha1.Policy{everything, base},
			policy:   "/everything", why: ReasonKept, message: "ClusterPropagationPolicy everything claims it and still selects it as one of its kind",
		},
		{
			reason: "of two claims the PropagationPolicy's counts", template: web,
			claim:    Claim{Policy: claimOf(base).Policy, ClusterPolicy: claimOf(everything).ClusterPolicy},
			policies: []policyv1alpha1.Policy{everything, base},
			policy:   "shop/base", why: ReasonKept, message: "PropagationPolicy shop/base claims it and still selects it as one of its kind",
		},
		{
			reason: "a policy that no longer selects it loses it to another", template: web, claim: claimOf(pp("shop", "old", 0)),
			policies: []policyv1alpha1.Policy{pp("shop", "old", 0, byName(deployment, "api")), base},
			policy:   "shop/base", why: ReasonSelected, message: "PropagationPolicy shop/base selects it as one of its kind",
		},
		{
			reason: "or to none", template: web, claim: claimOf(pp("shop", "old", 0)),
			policies: []policyv1alpha1.Policy{pp("shop", "old", 0, byName(deployment, "api"))},
			why:      ReasonNoPolicy, message: "no policy selects it",
		},
		{
			reason: "a policy that is being deleted holds nothing", template: web, claim: claimOf(pp("shop", "old", 0)),
			policies: []policyv1alpha1.Policy{leaving(pp("shop", "old", 9, all(deployment))), base},
			policy:   "shop/base", why: ReasonSelected, message: "PropagationPolicy shop/base selects it as one of its kind",
		},
		{
			reason: "the claim of a policy that was deleted and made again is another's", template: web,
			claim:    Claim{Policy: Mark{ID: "of the former", Namespace: "shop", Name: "base"}},
			policies: []policyv1alpha1.Policy{base, pp("shop", "urgent", 100, byName(deployment, "web"))},
			policy:   "shop/urgent", why: ReasonSelected,
			message: "PropagationPolicy shop/urgent selects it by name and comes before PropagationPolicy shop/base: its priority is 100, the other's 0",
		},
		{
			reason: "a policy of a higher priority that may takes it", template: web,
			claim:    claimOf(base),
			policies: []policyv1alpha1.Policy{base, preempting(pp("shop", "urgent", 1, byName(deployment, "web"))), preempting(pp("shop", "most-urgent", 2, byName(deployment, "web")))},
			policy:   "shop/most-urgent", why: ReasonPreempted,
			message: "PropagationPolicy shop/most-urgent takes it from PropagationPolicy shop/base: its priority is 2, the other's 0",
		},
		{
			reason: "one of the same priority does not, or two would take it from each other", template: web,
			claim:    claimOf(base),
			policies: []policyv1alpha1.Policy{base, preempting(pp("shop", "equal", 0, byName(deployment, "web")))},
			policy:   "shop/base", why: ReasonKept, message: "PropagationPolicy shop/base claims it and still selects it as one of its kind",
		},
		{
			reason: "nor one that does not name it, even if such a policy slipped in", template: web,
			claim:    claimOf(base),
			policies: []policyv1alpha1.Policy{base, preempting(pp("shop", "wide", 9, all(deployment)))},
			policy:   "shop/base", why: ReasonKept, message: "PropagationPolicy shop/base claims it and still selects it as one of its kind",
		},
		{
			reason: "a PropagationPolicy takes it from a ClusterPropagationPolicy whatever their priorities", template: web,
			claim:    claimOf(everything),
			policies: []policyv1alpha1.Policy{cpp("everything", 9, all(deployment)), preempting(pp("shop", "own", -5, byName(deployment, "web")))},
			policy:   "shop/own", why: ReasonPreempted,
			message: "PropagationPolicy shop/own takes it from ClusterPropagationPolicy everything: a PropagationPolicy comes before every ClusterPropagationPolicy",
		},
		{
			reason: "a ClusterPropagationPolicy never takes it from a PropagationPolicy", template: web,
			claim:    claimOf(base),
			policies: []policyv1alpha1.Policy{base, preempting(cpp("urgent", 100, byName(deployment, "web")))},
			policy:   "shop/base", why: ReasonKept, message: "PropagationPolicy shop/base claims it and still selects it as one of its kind",
		},
		{
			reason: "from another ClusterPropagationPolicy it does, by a higher priority", template: web,
			claim:    claimOf(everything),
			policies: []policyv1alpha1.Policy{everything, preempting(cpp("urgent", 1, byName(deployment, "web")))},
			policy:   "/urgent", why: ReasonPreempted,
			message: "ClusterPropagationPolicy urgent takes it from ClusterPropagationPolicy everything: its priority is 1, the other's 0",
		},
		{
			reason: "nothing in a reserved namespace is claimed", template: Template{Kind: deployment, Namespace: "kube-system", Name: "coredns"},
			policies: []policyv1alpha1.Policy{everything},
			why:      ReasonReservedNamespace, message: "namespace kube-system is reserved for control planes, nothing in it is propagated",
		},
		{
			reason: "nor such a namespace itself", template: Template{Kind: namespace, Name: "karmada-es-member1"},
			policies: []policyv1alpha1.Policy{cpp("namespaces", 0, all(namespace))},
			why:      ReasonReservedNamespace, message: "namespace karmada-es-member1 is reserved for control planes, nothing in it is propagated",
		},
		{
			reason: "a role that the hub's API server made for itself is none of anybody's", template: Template{Kind: clusterRole, Name: "cluster-admin", Labels: map[string]string{"kubernetes.io/bootstrapping": "rbac-defaults"}},
			policies: []policyv1alpha1.Policy{cpp("roles", 0, all(clusterRole), byName(clusterRole, "cluster-admin"))},
			why:      ReasonOfTheHub, message: "ClusterRole cluster-admin is what every API server makes for itself: the hub's own is no template, and a member has its own",
		},
		{
			reason: "also when a policy has claimed it before", template: Template{Kind: clusterRole, Name: "view", Labels: map[string]string{"kubernetes.io/bootstrapping": "rbac-defaults"}},
			claim:    claimOf(cpp("roles", 0, all(clusterRole))),
			policies: []policyv1alpha1.Policy{cpp("roles", 0, all(clusterRole))},
			why:      ReasonOfTheHub, message: "ClusterRole view is what every API server makes for itself: the hub's own is no template, and a member has its own",
		},
		{
			reason: "a role of a user's is a template", template: Template{Kind: clusterRole, Name: "reader"},
			policies: []policyv1alpha1.Policy{cpp("roles", 0, all(clusterRole))},
			policy:   "/roles", why: ReasonSelected, message: "ClusterPropagationPolicy roles selects it as one of its kind",
		},
		{
			reason: "what an API server makes may bear an annotation instead of a label", template: Template{Kind: flowSchema, Name: "probes", Annotations: map[string]string{"apf.kubernetes.io/autoupdate-spec": "true"}},
			policies: []policyv1alpha1.Policy{cpp("schemas", 0, all(flowSchema))},
			why:      ReasonOfTheHub, message: "FlowSchema probes is what every API server makes for itself: the hub's own is no template, and a member has its own",
		},
		{
			reason: "or nothing but its name", template: Template{Kind: service, Namespace: "default", Name: "kubernetes"},
			policies: []policyv1alpha1.Policy{pp("default", "services", 0, all(service))},
			why:      ReasonOfTheHub, message: "Service kubernetes is what every API server makes for itself: the hub's own is no template, and a member has its own",
		},
		{
			reason: "of that name elsewhere it is a user's", template: Template{Kind: service, Namespace: "shop", Name: "kubernetes"},
			policies: []policyv1alpha1.Policy{pp("shop", "services", 0, all(service))},
			policy:   "shop/services", why: ReasonSelected, message: "PropagationPolicy shop/services selects it as one of its kind",
		},
		{
			reason: "another namespace can be", template: Template{Kind: namespace, Name: "shop"},
			policies: []policyv1alpha1.Policy{cpp("namespaces", 0, all(namespace))},
			policy:   "/namespaces", why: ReasonSelected, message: "ClusterPropagationPolicy namespaces selects it as one of its kind",
		},
		{
			reason: "the hub's own kinds are never claimed, even if a policy slipped in", template: Template{Kind: schema.GroupVersionKind{Group: "cluster.karmada.io", Version: "v1alpha1", Kind: "MemberCluster"}, Name: "member1"},
			policies: []policyv1alpha1.Policy{cpp("own", 0, all(schema.GroupVersionKind{Group: "cluster.karmada.io", Version: "v1alpha1", Kind: "MemberCluster"}))},
			why:      ReasonNeverPropagated, message: "objects of kind MemberCluster are never propagated: it says what this hub does",
		},
	}
	for _, test := range tests {
		t.Run(test.reason, func(t *testing.T) {
			decision := NewIndex(test.policies...).Select(test.template, test.claim, nil)
			policy := ""
			if decision.Policy != nil {
				policy = decision.Policy.GetNamespace() + "/" + decision.Policy.GetName()
			}
			want := []string{test.policy, test.why, test.message}
			if diff := cmp.Diff(want, []string{policy, decision.Reason, decision.Message}); diff != "" {
				t.Errorf("decision (-want +got):\n%s", diff)
			}
		})
	}
}

func TestMarksNameThePolicyAndCanBeTakenOffAgain(t *testing.T) {
	for _, policy := range []policyv1alpha1.Policy{pp("shop", "web", 0), cpp("web", 0)} {
		labels, annotations := Marks(policy)
		claim := ClaimOf(labels, annotations)
		if !claim.By(policy) || claim.Empty() {
			t.Errorf("the marks of %T %s are not its own: %+v", policy, policy.GetName(), claim)
		}
		copied := policy.DeepCopyObject().(policyv1alpha1.Policy)
		copied.SetName("copied-with-labels")
		if claim.By(copied) {
			t.Errorf("a copy of %T has the claim of the original", policy)
		}
		labelKeys, annotationKeys := MarkKeys()
		for _, key := range labelKeys {
			delete(labels, key)
		}
		for _, key := range annotationKeys {
			delete(annotations, key)
		}
		if len(labels) > 0 || len(annotations) > 0 {
			t.Errorf("marks stay behind: %v %v", labels, annotations)
		}
	}
	if ClaimOf(nil, nil).By(&policyv1alpha1.PropagationPolicy{}) {
		t.Error("a policy without an id claims what has no marks")
	}
}

func TestAnIndexFollowsItsPolicies(t *testing.T) {
	web := Template{Kind: deployment, Namespace: "shop", Name: "web"}
	index := NewIndex()
	expect := func(step, policy string, kinds ...schema.GroupVersionKind) {
		t.Helper()
		got := ""
		if decision := index.Select(web, Claim{}, nil); decision.Policy != nil {
			got = decision.Policy.GetName()
		}
		if got != policy {
			t.Errorf("%s: claimed by %q, want %q", step, got, policy)
		}
		if !slices.Equal(index.Kinds(), kinds) {
			t.Errorf("%s: kinds %v, want %v", step, index.Kinds(), kinds)
		}
	}
	put := func(policy policyv1alpha1.Policy) {
		t.Helper()
		if err := index.Put(policy); err != nil {
			t.Error(err)
		}
	}
	expect("an empty index", "")
	put(cpp("all", 0, all(deployment), all(namespace)))
	expect("one policy", "all", namespace, deployment)
	put(pp("shop", "web", 0, byName(deployment, "web"), byName(deployment, "api")))
	expect("one that comes before it", "web", namespace, deployment)
	put(pp("shop", "web", 0, byName(deployment, "api")))
	expect("it was changed to another name", "all", namespace, deployment)
	index.Delete(types.NamespacedName{Name: "all"})
	expect("the other was deleted", "", deployment)
	put(leaving(pp("shop", "web", 0, byName(deployment, "web"))))
	expect("a policy that is leaving selects nothing", "")
	if index.Get(types.NamespacedName{Namespace: "shop", Name: "web"}) == nil {
		t.Error("a policy that is leaving can't be found")
	}
	index.Delete(types.NamespacedName{Namespace: "shop", Name: "web"})
	index.Delete(types.NamespacedName{Namespace: "shop", Name: "web"})
	if index.Get(types.NamespacedName{Namespace: "shop", Name: "web"}) != nil {
		t.Error("a deleted policy is still found")
	}
}

func TestAnIndexKnowsInWhichVersionsAKindIsSelected(t *testing.T) {
	beta, other := deployment, deployment
	beta.Version, other.Group = "v1beta1", "example.com"
	index := NewIndex(cpp("all", 0, all(deployment), all(namespace)), pp("shop", "web", 0, byName(beta, "web"), all(other)))
	if diff := cmp.Diff([]schema.GroupVersionKind{deployment, beta}, index.Versions(deployment.GroupKind())); diff != "" {
		t.Errorf("versions (-want +got):\n%s", diff)
	}
	index.Delete(types.NamespacedName{Namespace: "shop", Name: "web"})
	if diff := cmp.Diff([]schema.GroupVersionKind{deployment}, index.Versions(deployment.GroupKind())); diff != "" {
		t.Errorf("versions when one policy is gone (-want +got):\n%s", diff)
	}
}

func TestAPolicyKeepsWhatItClaimsInEveryVersionInWhichItSelectsIt(t *testing.T) {
	beta, other := deployment, deployment
	beta.Version, other.Group = "v1beta1", "example.com"
	web := pp("shop", "web", 0, byName(beta, "web"), all(beta), byName(other, "web"), byName(deployment, "api"))
	everything := cpp("all", 0, all(deployment), all(beta))
	index := NewIndex(web, everything, leaving(pp("shop", "old", 0, all(deployment))))
	both := claimOf(everything)
	both.Policy = claimOf(web).Policy
	copied := claimOf(web)
	copied.Policy.Name = "copy"
	tests := []struct {
		reason string
		name   string
		claim  Claim
		want   []schema.GroupVersionKind
	}{
		{"it selects it in another version than the one that is looked at", "web", claimOf(web), []schema.GroupVersionKind{beta}},
		{"it selects it in both", "api", claimOf(web), []schema.GroupVersionKind{deployment, beta}},
		{"a PropagationPolicy's claim counts first", "web", both, []schema.GroupVersionKind{beta}},
		{"a ClusterPropagationPolicy's is one, too", "web", claimOf(everything), []schema.GroupVersionKind{deployment, beta}},
		{"nobody claims it", "web", Claim{}, nil},
		{"the policy has the id of the mark, and another name", "web", copied, nil},
		{"the policy is being deleted", "web", claimOf(pp("shop", "old", 0)), nil},
		{"the policy is gone", "web", claimOf(pp("shop", "gone", 0)), nil},
	}
	for _, test := range tests {
		t.Run(test.reason, func(t *testing.T) {
			got := index.Keeps(Template{Kind: deployment, Namespace: "shop", Name: test.name}, test.claim)
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("versions (-want +got):\n%s", diff)
			}
		})
	}
	if kept := index.Keeps(Template{Kind: deployment, Namespace: "kube-system", Name: "web"}, claimOf(everything)); len(kept) > 0 {
		t.Errorf("in a reserved namespace it is kept in %v", kept)
	}
}

func TestASelectorThatDoesNotCompileHoldsUpNothingElse(t *testing.T) {
	broken := all(deployment)
	broken.LabelSelector = &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "app", Operator: "Like"}}}
	index := NewIndex()
	err := index.Put(pp("shop", "web", 0, broken, in("other", all(deployment)), byName(deployment, "web")))
	for _, want := range []string{"PropagationPolicy shop/web", "spec.resourceSelectors[0]: labelSelector", "spec.resourceSelectors[1]: namespace"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v does not contain %q", err, want)
		}
	}
	if index.Select(Template{Kind: deployment, Namespace: "shop", Name: "web"}, Claim{}, nil).Policy == nil {
		t.Error("the good selector is not in force")
	}
	if index.Select(Template{Kind: deployment, Namespace: "shop", Name: "api"}, Claim{}, nil).Policy != nil {
		t.Error("a broken selector selects")
	}
}

func TestAMatcherFindsWhatItsPolicySelects(t *testing.T) {
	matcher, err := NewMatcher(pp("shop", "web", 0, byLabel(deployment, "app", "web"), byName(deployment, "api"), all(namespace)))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]schema.GroupVersionKind{namespace, deployment}, matcher.Kinds()); diff != "" {
		t.Errorf("kinds (-want +got):\n%s", diff)
	}
	tests := []struct {
		template Template
		want     bool
	}{
		{Template{Kind: deployment, Namespace: "shop", Name: "api"}, true},
		{Template{Kind: deployment, Namespace: "shop", Name: "x", Labels: map[string]string{"app": "web"}}, true},
		{Template{Kind: deployment, Namespace: "shop", Name: "x"}, false},
		{Template{Kind: deployment, Namespace: "other", Name: "api"}, false},
		{Template{Kind: namespace, Name: "shop"}, false},
	}
	for _, test := range tests {
		if got := matcher.Matches(test.template); got != test.want {
			t.Errorf("selects %+v: %t, want %t", test.template, got, test.want)
		}
	}
	reserved, err := NewMatcher(cpp("all", 0, all(deployment)))
	if err != nil {
		t.Fatal(err)
	}
	if reserved.Matches(Template{Kind: deployment, Namespace: "windlass-system", Name: "x"}) {
		t.Error("a reserved namespace is selected")
	}
}

// referenceSelect is the rule as it is written down, over plain objects and in one pass for each
// sentence of it.
func referenceSelect(t Template, claim Claim, policies []policyv1alpha1.Policy) policyv1alpha1.Policy {
	if policyv1alpha1.ReservedNamespace(t.Namespace) {
		return nil
	}
	for _, policy := range policies {
		if _, is := policy.(*policyv1alpha1.PropagationPolicy); is && claim.By(policy) && referenceMatch(policy, t) > 0 {
			return referenceTaker(policy, t, policies)
		}
	}
	for _, policy := range policies {
		if _, is := policy.(*policyv1alpha1.ClusterPropagationPolicy); is && claim.By(policy) && referenceMatch(policy, t) > 0 {
			return referenceTaker(policy, t, policies)
		}
	}
	for _, wantNamespaced := range []bool{true, false} {
		var best policyv1alpha1.Policy
		for _, policy := range policies {
			_, is := policy.(*policyv1alpha1.PropagationPolicy)
			if is != wantNamespaced || referenceMatch(policy, t) == 0 {
				continue
			}
			if best == nil || referenceBetter(policy, best, t) {
				best = policy
			}
		}
		if best != nil {
			return best
		}
	}
	return nil
}

// referenceTaker is the policy that takes the template from the one that claims it, or that one.
func referenceTaker(holder policyv1alpha1.Policy, t Template, policies []policyv1alpha1.Policy) policyv1alpha1.Policy {
	isNamespaced := func(p policyv1alpha1.Policy) bool { return p.GetNamespace() != "" }
	best := holder
	for _, policy := range policies {
		named := slices.ContainsFunc(policy.GetSpec().ResourceSelectors, func(s policyv1alpha1.ResourceSelector) bool { return s.Name == t.Name })
		switch {
		case policy.GetSpec().Preemption != policyv1alpha1.PreemptAlways || !named || referenceMatch(policy, t) < 3:
		case isNamespaced(holder) && !isNamespaced(policy):
		case isNamespaced(holder) == isNamespaced(policy) && *policy.GetSpec().Priority <= *holder.GetSpec().Priority:
		case best == holder || isNamespaced(policy) && !isNamespaced(best),
			isNamespaced(policy) == isNamespaced(best) && referenceBetter(policy, best, t):
			best = policy
		}
	}
	return best
}

func referenceBetter(a, b policyv1alpha1.Policy, t Template) bool {
	if pa, pb := *a.GetSpec().Priority, *b.GetSpec().Priority; pa != pb {
		return pa > pb
	}
	if ma, mb := referenceMatch(a, t), referenceMatch(b, t); ma != mb {
		return ma > mb
	}
	return a.GetName() < b.GetName()
}

func referenceMatch(policy policyv1alpha1.Policy, t Template) int {
	best := 0
	for _, selector := range policy.GetSpec().ResourceSelectors {
		_, namespaced := policy.(*policyv1alpha1.PropagationPolicy)
		apiVersion, kind := t.Kind.ToAPIVersionAndKind()
		switch {
		case policy.GetDeletionTimestamp() != nil,
			selector.APIVersion != apiVersion, selector.Kind != kind,
			namespaced && policy.GetNamespace() != t.Namespace,
			selector.Namespace != "" && selector.Namespace != t.Namespace,
			selector.Name != "" && selector.Name != t.Name:
		case selector.Name != "":
			best = max(best, 3)
		case selector.LabelSelector == nil:
			best = max(best, 1)
		default:
			compiled, err := metav1.LabelSelectorAsSelector(selector.LabelSelector)
			if err == nil && compiled.Matches(labels.Set(t.Labels)) {
				best = max(best, 2)
			}
		}
	}
	return best
}

func TestTheIndexAgreesWithTheRuleReadSlowly(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	namespaces := []string{"shop", "bank", "kube-public"}
	kinds := []schema.GroupVersionKind{deployment, clusterRole}
	pick := func(from []string) string { return from[random.IntN(len(from))] }
	selector := func() policyv1alpha1.ResourceSelector {
		kind := kinds[random.IntN(2)]
		switch random.IntN(3) {
		case 0:
			return byName(kind, pick([]string{"a", "b", "c"}))
		case 1:
			return byLabel(kind, "app", pick([]string{"x", "y"}))
		}
		return all(kind)
	}
	for round := range 3000 {
		index, byKey := NewIndex(), map[types.NamespacedName]policyv1alpha1.Policy{}
		for range random.IntN(12) {
			var policy policyv1alpha1.Policy
			name, priority := fmt.Sprintf("p%d", random.IntN(5)), int32(random.IntN(3))
			selectors := []policyv1alpha1.ResourceSelector{selector(), selector()}
			if random.IntN(2) == 0 {
				policy = pp(pick(namespaces), name, priority, selectors...)
			} else {
				if random.IntN(3) == 0 {
					selectors[0].Namespace = pick(namespaces)
				}
				policy = cpp(name, priority, selectors...)
			}
			if random.IntN(3) == 0 {
				policy.GetSpec().Preemption = policyv1alpha1.PreemptAlways
			}
			if random.IntN(10) == 0 {
				policy.SetDeletionTimestamp(&metav1.Time{Time: time.Unix(1, 0)})
			}
			if err := index.Put(policy); err != nil {
				t.Fatal(err)
			}
			byKey[keyOf(policy)] = policy
		}
		var policies []policyv1alpha1.Policy
		for _, policy := range byKey {
			policies = append(policies, policy)
		}
		template := Template{Kind: kinds[random.IntN(2)], Name: pick([]string{"a", "b", "c"}), Labels: map[string]string{"app": pick([]string{"x", "y", "z"})}}
		if template.Kind == deployment {
			template.Namespace = pick(namespaces)
		}
		var claim Claim
		for _, policy := range policies {
			switch random.IntN(6) {
			case 0:
				claim.Policy = stdcmp.Or(claimOf(policy).Policy, claim.Policy)
			case 1:
				claim.ClusterPolicy = stdcmp.Or(claimOf(policy).ClusterPolicy, claim.ClusterPolicy)
			}
		}
		want, got := referenceSelect(template, claim, policies), index.Select(template, claim, nil).Policy
		if want != got {
			t.Fatalf("round %d: template %+v with claim %+v:\nwant %s\n got %s\nof %d policies", round, template, claim, describe(want), describe(got), len(policies))
		}
	}
}

func describe(policy policyv1alpha1.Policy) string {
	if policy == nil {
		return "nobody"
	}
	return fmt.Sprintf("%T %s/%s", policy, policy.GetNamespace(), policy.GetName())
}

// BenchmarkSelectAmong5000Policies is the usual hub: a policy for every application, and one for the
// rest.
func BenchmarkSelectAmong5000Policies(b *testing.B) {
	index := NewIndex(cpp("rest", 0, all(deployment)))
	for i := range 5000 {
		name := fmt.Sprintf("app-%04d", i)
		if err := index.Put(pp("shop", name, 0, byName(deployment, name))); err != nil {
			b.Fatal(err)
		}
	}
	template := Template{Kind: deployment, Namespace: "shop", Name: "app-2500"}
	b.ReportAllocs()
	for b.Loop() {
		if index.Select(template, Claim{}, nil).Policy == nil {
			b.Fatal("nobody claims it")
		}
	}
}
