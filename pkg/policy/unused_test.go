package policy

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	policyv1alpha1 "windlass.dev/windlass/api/policy/v1alpha1"
	workv1alpha1 "windlass.dev/windlass/api/work/v1alpha1"
)

func TestSelectorsByWhichAPolicyClaimsNothingAreNamed(t *testing.T) {
	bound := func(apiVersion, kind, namespace, name string, labels map[string]string) workv1alpha1.Binding {
		return &workv1alpha1.PropagationBinding{ObjectMeta: metav1.ObjectMeta{Labels: labels}, // in this test a binding has its template's labels
			Spec: workv1alpha1.BindingSpec{Resource: workv1alpha1.ObjectReference{APIVersion: apiVersion, Kind: kind, Namespace: namespace, Name: name}}}
	}
	web := bound("apps/v1", "Deployment", "shop", "web", map[string]string{"app": "web"})
	unlisted := bound("apps/v1", "Deployment", "shop", "unlisted", nil)
	for _, test := range []struct {
		reason   string
		policy   policyv1alpha1.Policy
		bindings []workv1alpha1.Binding
		want     []string
	}{
		{"each selects something", pp("shop", "p", 0, byName(deployment, "web"), byLabel(deployment, "app", "web"), all(deployment)), []workv1alpha1.Binding{web}, nil},
		{"a slip in a name", pp("shop", "p", 0, byName(deployment, "web"), byName(deployment, "wbe")), []workv1alpha1.Binding{web}, []string{"Deployment wbe"}},
		{"of another kind", pp("shop", "p", 0, byName(deployment, "web"), byName(service, "web")), []workv1alpha1.Binding{web}, []string{"Service web"}},
		{"in another version", pp("shop", "p", 0, byName(deployment.GroupKind().WithVersion("v2"), "web")), []workv1alpha1.Binding{web}, nil},
		{"a label that nobody has", pp("shop", "p", 0, byLabel(deployment, "app", "wbe"), all(deployment)), []workv1alpha1.Binding{web}, []string{"every Deployment with app=wbe"}},
		{"labels that are not known yet", pp("shop", "p", 0, byLabel(deployment, "app", "wbe"), all(deployment)), []workv1alpha1.Binding{web, unlisted}, nil},
		{"a kind of which nothing is there", pp("shop", "p", 0, all(deployment), all(service)), []workv1alpha1.Binding{web}, []string{"every Service"}},
		{"a slip in a namespace", cpp("p", 0, in("shpo", all(deployment)), in("shpo", byName(deployment, "web")), in("shop", byName(deployment, "web"))), []workv1alpha1.Binding{web},
			[]string{"every Deployment in namespace shpo", "Deployment shpo/web"}},
		{"a policy for all namespaces", cpp("p", 0, byName(deployment, "web"), all(service)), []workv1alpha1.Binding{web}, []string{"every Service"}},
		{"the same twice", pp("shop", "p", 0, byName(deployment, "web"), byName(deployment, "web")), []workv1alpha1.Binding{web}, nil},
	} {
		got := Unused(test.policy, test.bindings, func(b workv1alpha1.Binding) (map[string]string, bool) { return b.GetLabels(), b != unlisted })
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.reason, diff)
		}
	}
}
