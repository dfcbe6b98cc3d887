package policy

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	policyv1alpha1 "windlass.dev/windlass/api/policy/v1alpha1"
)

// object makes one that the given policies claim.
func object(namespace, name string, labels map[string]string, claimedBy ...policyv1alpha1.Policy) *metav1.ObjectMeta {
	made := &metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: map[string]string{}, Annotations: map[string]string{}}
	for key, value := range labels {
		made.Labels[key] = value
	}
	for _, policy := range claimedBy {
		labels, annotations := Marks(policy)
		for key, value := range labels {
			made.Labels[key] = value
		}
		for key, value := range annotations {
			made.Annotations[key] = value
		}
	}
	return made
}

func seen(objects ...metav1.Object) Seen { return Seen{Objects: objects} }

func TestAPolicyThatClaimsNothingIsToldTheCauseThatHolds(t *testing.T) {
	shop := func(app string) map[string]string { return map[string]string{"app": app} }
	both := func(app, tier string) policyv1alpha1.ResourceSelector {
		selector := byLabel(deployment, "app", app)
		selector.LabelSelector.MatchLabels["tier"] = tier
		return selector
	}
	bootstrap := map[string]string{"kubernetes.io/bootstrapping": "rbac-defaults"}
	leaving := object("shop", "web", nil)
	leaving.DeletionTimestamp = &metav1.Time{Time: time.Unix(1, 0)}
	strong, early := pp("shop", "strong", 5, all(deployment)), pp("shop", "early", 0, all(deployment))
	exact, aaa := pp("shop", "exact", 0, byName(deployment, "web")), pp("shop", "aaa", 0, all(deployment))
	everything, gone := cpp("everything", 0, all(deployment)), pp("shop", "gone", 0, all(deployment))
	mine, equal := pp("shop", "mine", 0, all(deployment)), pp("shop", "equal", 5, byName(deployment, "web"))

	for _, test := range []struct {
		reason string
		policy policyv1alpha1.Policy
		kind   schema.GroupVersionKind
		seen   Seen
		want   string
	}{
		{"no object of the kind in the namespace", pp("shop", "mine", 0, all(deployment)), deployment, seen(object("other", "web", nil)),
			"there is no Deployment in namespace shop"},
		{"none in any namespace", cpp("mine", 0, all(deployment)), deployment, seen(),
			"there is no Deployment in any namespace"},
		{"none, of a kind without namespaces", cpp("mine", 0, all(clusterRole)), clusterRole, Seen{ClusterScoped: true},
			"there is no ClusterRole"},
		{"none of that name", pp("shop", "mine", 0, byName(deployment, "wbe")), deployment, seen(object("shop", "web", nil)),
			"no Deployment in namespace shop has the name wbe (1 is there)"},
		{"a label that none has", pp("shop", "mine", 0, both("web", "front")), deployment, seen(object("shop", "web", shop("web")), object("shop", "db", shop("db"))),
			"no Deployment in namespace shop meets tier=front of the labelSelector (2 are there)"},
		{"labels that each has another", pp("shop", "mine", 0, both("web", "front")), deployment,
			seen(object("shop", "web", shop("web")), object("shop", "db", map[string]string{"tier": "front"})),
			"no Deployment in namespace shop meets app=web,tier=front of the labelSelector (2 are there)"},
		{"labels that none has", pp("shop", "mine", 0, both("web", "front")), deployment, seen(object("shop", "web", nil)),
			"no Deployment in namespace shop meets app=web,tier=front of the labelSelector (1 is there)"},
		{"a kind without namespaces and a policy that has one", pp("shop", "mine", 0, all(clusterRole)), clusterRole, Seen{ClusterScoped: true},
			"a ClusterRole is in no namespace, and a PropagationPolicy selects in its own only: use a ClusterPropagationPolicy"},
		{"a kind without namespaces and a selector that has one", cpp("mine", 0, in("shop", all(clusterRole))), clusterRole, Seen{ClusterScoped: true},
			"a ClusterRole is in no namespace: take the namespace shop out of its selector"},
		{"what the hub made for itself", cpp("mine", 0, all(clusterRole)), clusterRole,
			Seen{ClusterScoped: true, Objects: []metav1.Object{object("", "view", bootstrap), object("", "admin", bootstrap)}},
			"2 objects match, one of them: ClusterRole admin is what every API server makes for itself: the hub's own is no template, and a member has its own"},
		{"what is in a namespace of control planes", cpp("mine", 0, all(deployment)), deployment, seen(object("kube-system", "dns", nil)),
			"namespace kube-system is reserved for control planes, nothing in it is propagated"},
		{"another policy has a higher priority", mine, deployment, seen(object("shop", "web", nil, strong)),
			"Deployment shop/web is claimed by PropagationPolicy shop/strong, which comes before this policy: its priority is 5, this one's 0"},
		{"another policy is more specific", mine, deployment, seen(object("shop", "web", nil, exact), object("shop", "x", nil, exact)),
			"2 objects match, one of them: Deployment shop/web is claimed by PropagationPolicy shop/exact, which comes before this policy: this one selects it as one of its kind"},
		{"another policy's name comes first", mine, deployment, seen(object("shop", "web", nil, aaa)),
			"Deployment shop/web is claimed by PropagationPolicy shop/aaa, which comes before this policy: all else is equal and its name sorts first"},
		{"another policy was earlier", pp("shop", "mine", 9, all(deployment)), deployment, seen(object("shop", "web", nil, early)),
			"Deployment shop/web is claimed by PropagationPolicy shop/early, which had it first and keeps it while it selects it; " +
				"to take it, this policy needs preemption: Always, and a selector with its name"},
		{"and as high a priority", pp("shop", "aab", 5, byName(deployment, "web")), deployment, seen(object("shop", "web", nil, equal)),
			"Deployment shop/web is claimed by PropagationPolicy shop/equal, which had it first and keeps it while it selects it; " +
				"to take it, this policy needs preemption: Always, and a priority above 5"},
		{"a namespace's own policy comes first", cpp("mine", 9, all(deployment)), deployment, seen(object("shop", "web", nil, early)),
			"Deployment shop/web is claimed by PropagationPolicy shop/early, and a PropagationPolicy comes before every ClusterPropagationPolicy"},
		{"a policy for the whole hub was earlier", mine, deployment, seen(object("shop", "web", nil, everything)),
			"Deployment shop/web is claimed by ClusterPropagationPolicy everything, which had it first and keeps it while it selects it; " +
				"to take it, this policy needs preemption: Always, and a selector with its name"},
		{"a policy that is not there has left its mark", mine, deployment, seen(object("shop", "web", nil, gone)),
			"Deployment shop/web is claimed by PropagationPolicy shop/gone"},
		{"it is being deleted", mine, deployment, seen(leaving),
			"Deployment shop/web is being deleted"},
		{"it is about to be claimed", mine, deployment, seen(object("shop", "web", nil, mine)),
			"Deployment shop/web matches and has no binding yet"},
		{"the kind is not listed yet", mine, service, seen(),
			"nothing that the resource selectors match is known yet"},
		{"each selector has its own cause", pp("shop", "mine", 0, byName(deployment, "a"), byName(deployment, "b"), byName(deployment, "b"), byName(deployment, "c"), byName(deployment, "d")),
			deployment, seen(object("shop", "web", nil)),
			"no Deployment in namespace shop has the name a (1 is there); no Deployment in namespace shop has the name b (1 is there); " +
				"no Deployment in namespace shop has the name c (1 is there); and so on, of 1 more"},
	} {
		t.Run(test.reason, func(t *testing.T) {
			claimants := map[Mark]policyv1alpha1.Policy{}
			for _, policy := range []policyv1alpha1.Policy{strong, early, exact, aaa, everything, equal} {
				claimants[markOf(policy)] = policy
			}
			got := WhyIdle(test.policy, map[schema.GroupVersionKind]Seen{test.kind: test.seen}, func(mark Mark) policyv1alpha1.Policy { return claimants[mark] })
			if got != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
		})
	}
}

func TestWhyNothingThatSelectorsSelectIsPropagated(t *testing.T) {
	claimer := pp("shop", "base", 0, all(deployment))
	web, wild := object("shop", "web", nil, claimer), object("shop", "wild", nil)
	for _, test := range []struct {
		reason    string
		namespace string
		selectors []policyv1alpha1.ResourceSelector
		seen      map[schema.GroupVersionKind]Seen
		found     string
		why       string
	}{
		{"one is there", "shop", []policyv1alpha1.ResourceSelector{byName(deployment, "web")}, map[schema.GroupVersionKind]Seen{deployment: seen(wild, web)},
			"Deployment shop/web", ""},
		{"the second selector selects one", "", []policyv1alpha1.ResourceSelector{byName(service, "web"), all(deployment)},
			map[schema.GroupVersionKind]Seen{deployment: seen(wild, web), service: {}}, "Deployment shop/web", ""},
		{"one is there though another kind is not known", "", []policyv1alpha1.ResourceSelector{byName(service, "web"), all(deployment)},
			map[schema.GroupVersionKind]Seen{deployment: seen(web)}, "Deployment shop/web", ""},
		{"a kind is not known yet", "", []policyv1alpha1.ResourceSelector{byName(service, "web"), byName(deployment, "wbe")},
			map[schema.GroupVersionKind]Seen{deployment: seen(web)}, "", ""},
		{"a name is misspelt", "shop", []policyv1alpha1.ResourceSelector{byName(deployment, "wbe")}, map[schema.GroupVersionKind]Seen{deployment: seen(wild, web)},
			"", "no Deployment in namespace shop has the name wbe (2 are there)"},
		{"a namespace is misspelt", "", []policyv1alpha1.ResourceSelector{in("shpo", all(deployment))}, map[schema.GroupVersionKind]Seen{deployment: seen(web)},
			"", "there is no Deployment in namespace shpo"},
		{"a label is misspelt", "shop", []policyv1alpha1.ResourceSelector{byLabel(deployment, "app", "wbe")}, map[schema.GroupVersionKind]Seen{deployment: seen(web)},
			"", "no Deployment in namespace shop meets app=wbe of the labelSelector (1 is there)"},
		{"what it selects goes nowhere", "shop", []policyv1alpha1.ResourceSelector{all(deployment)}, map[schema.GroupVersionKind]Seen{deployment: seen(wild)},
			"", "no policy propagates Deployment shop/wild"},
		{"nor do all of the kind", "shop", []policyv1alpha1.ResourceSelector{all(deployment)}, map[schema.GroupVersionKind]Seen{deployment: {Unwatched: true}},
			"", "no policy propagates kind Deployment of apps/v1"},
		{"the kind is in no namespace", "shop", []policyv1alpha1.ResourceSelector{all(clusterRole)}, map[schema.GroupVersionKind]Seen{clusterRole: {ClusterScoped: true}},
			"", "a ClusterRole is in no namespace, and an OverridePolicy selects in its own only: use a ClusterOverridePolicy"},
	} {
		t.Run(test.reason, func(t *testing.T) {
			selectors, err := CompileSelectors(test.namespace, test.selectors)
			if err != nil {
				t.Fatal(err)
			}
			found, why := selectors.Propagated(test.seen)
			if (found != nil) != (test.found != "") || found != nil && found.String() != test.found {
				t.Errorf("found %v, want %q", found, test.found)
			}
			if why != test.why {
				t.Errorf("got  %s\nwant %s", why, test.why)
			}
		})
	}
}
