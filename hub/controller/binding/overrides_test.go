package binding

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"

	clusterv1alpha1 "windlass.dev/windlass/api/cluster/v1alpha1"
	policyv1alpha1 "windlass.dev/windlass/api/policy/v1alpha1"
	workv1alpha1 "windlass.dev/windlass/api/work/v1alpha1"
)

// override puts an OverridePolicy into the store, of the namespace shop unless the name has another.
func (w *world) override(t *testing.T, name, spec string) *policyv1alpha1.OverridePolicy {
	t.Helper()
	p := &policyv1alpha1.OverridePolicy{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name}}
	if namespace, rest, found := strings.Cut(name, "/"); found {
		p.Namespace, p.Name = namespace, rest
	}
	if err := yaml.UnmarshalStrict([]byte(spec), &p.Spec); err != nil {
		t.Fatal(err)
	}
	return w.OverridePolicies.Put(p)
}

// colours are what the members of the clusters shall have, by cluster.
func (w *world) colours(clusters ...string) string {
	var all []string
	for _, cluster := range clusters {
		got, found := w.PropagationWorks.Get(workv1alpha1.ExecutionNamespace(cluster), work)
		if !found {
			all = append(all, cluster+" has none")
			continue
		}
		_, rest, _ := strings.Cut(string(got.Spec.Workload.Manifests[0].Raw), `"colour":"`)
		colour, _, _ := strings.Cut(rest, `"`)
		all = append(all, cluster+" "+colour)
	}
	return strings.Join(all, ", ")
}

const (
	redInA      = "overrideRules: [{targetCluster: {clusterNames: [a]}, overriders: {plaintext: [{path: /data/colour, operator: replace, value: red}]}}]"
	failingInA  = "overrideRules: [{targetCluster: {clusterNames: [a]}, overriders: {plaintext: [{path: /data/nothing, operator: remove}]}}]"
	ofTheRegion = `overriders: {plaintext: [{path: /data/colour, operator: replace, value: "${cluster.region}"}]}`
)

func TestWorksHaveTheirOverridesFromTheFirstMoment(t *testing.T) {
	w := newWorld(t)
	w.override(t, "red", redInA)
	w.override(t, "bank/red", strings.ReplaceAll(redInA, "[a]", "[b]"))
	w.place("a", "b")
	w.reconcile(t)
	if got := w.colours("a", "b"); got != "a red, b blue" {
		t.Error(got)
	}
	got, _ := w.PropagationWorks.Get("karmada-es-a", work)
	if !strings.Contains(got.Annotations[workv1alpha1.AppliedOverridesAnnotation], `"policyName":"red"`) {
		t.Errorf("the record is %v", got.Annotations)
	}
	w.wrote(t, "create karmada-es-a", "create karmada-es-b")

	t.Run("and again when the policy is another", func(t *testing.T) {
		w.OverridePolicies.Change("shop", "red", func(p *policyv1alpha1.OverridePolicy) {
			p.Generation++
			p.Spec.OverrideRules[0].TargetCluster.ClusterNames = []string{"b"}
		})
		w.reconcile(t)
		if got := w.colours("a", "b"); got != "a blue, b red" {
			t.Error(got)
		}
		if got, _ := w.PropagationWorks.Get("karmada-es-a", work); len(got.Annotations) > 0 {
			t.Errorf("a keeps the record %v", got.Annotations)
		}
		w.wrote(t, "update karmada-es-a", "update karmada-es-b")
	})
	t.Run("and are as the template without it", func(t *testing.T) {
		w.OverridePolicies.Drop("shop", "red")
		w.reconcile(t)
		if got := w.colours("a", "b"); got != "a blue, b blue" {
			t.Error(got)
		}
	})
}

func TestAnOverrideThatFailsHoldsUpItsClusterOnly(t *testing.T) {
	w := newWorld(t)
	w.place("a", "b")
	w.reconcile(t)
	w.PropagationWorks.Writes()
	w.override(t, "failing", failingInA)
	w.place("a", "b", "c")
	w.templates.Put(configMap("u1", "green"))
	w.reconcile(t)
	if got := w.colours("a", "b", "c"); got != "a blue, b green, c green" {
		t.Error(got)
	}
	w.wrote(t, "create karmada-es-c", "update karmada-es-b")
	condition := w.rendered()
	want := "1 of 3 clusters stay as they are, because overrides can't be made: a: OverridePolicy shop/failing: spec.overrideRules[0].overriders.plaintext[0]: can't remove /data/nothing: there is nothing at this path"
	if condition == nil || condition.Status != metav1.ConditionFalse || condition.Reason != "OverrideFailed" || condition.Message != want {
		t.Fatalf("the condition is %+v", condition)
	}

	t.Run("also one that has nothing yet", func(t *testing.T) {
		w.PropagationWorks.Drop("karmada-es-a", work)
		w.reconcile(t)
		w.wrote(t)
	})
	t.Run("until it is mended", func(t *testing.T) {
		w.OverridePolicies.Drop("shop", "failing")
		w.reconcile(t)
		w.wrote(t, "create karmada-es-a")
		if condition := w.rendered(); condition.Status != metav1.ConditionTrue {
			t.Errorf("the condition is %+v", condition)
		}
	})
}

func TestAClusterThatIsDeselectedLosesItsWorkThoughItsOverridesFail(t *testing.T) {
	w := newWorld(t)
	w.place("a", "b")
	w.reconcile(t)
	w.PropagationWorks.Writes()
	w.override(t, "failing", failingInA)
	w.change(func(b *workv1alpha1.PropagationBinding) { b.Spec.Clusters = targets("b") })
	w.reconcile(t)
	w.wrote(t, "remove NotSelected karmada-es-a")
}

func TestWhichBindingsAnOverridePolicyWakes(t *testing.T) {
	spec := func(text string) policyv1alpha1.OverrideSpec { return newWorld(t).override(t, "p", text).Spec }
	op := func(generation int64, namespace, text string) policyv1alpha1.Override {
		return &policyv1alpha1.OverridePolicy{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "p", UID: "p", Generation: generation}, Spec: spec(text)}
	}
	cop := func(text string) policyv1alpha1.Override {
		return &policyv1alpha1.ClusterOverridePolicy{ObjectMeta: metav1.ObjectMeta{Name: "p", UID: "p", Generation: 1}, Spec: spec(text)}
	}
	const (
		byName  = "resourceSelectors: [{apiVersion: v1, kind: ConfigMap, name: settings}]"
		another = "resourceSelectors: [{apiVersion: v1, kind: ConfigMap, name: other}]"
		byLabel = "resourceSelectors: [{apiVersion: v1, kind: ConfigMap, labelSelector: {matchLabels: {tier: front}}}]"
	)
	for _, test := range []struct {
		reason   string
		old, new policyv1alpha1.Override
		wakes    bool
	}{
		{"it comes", nil, op(1, "shop", byName), true},
		{"it goes", op(1, "shop", byName), nil, true},
		{"it no longer selects the template", op(1, "shop", byName), op(2, "shop", another), true},
		{"it selects the template now", op(1, "shop", another), op(2, "shop", byLabel), true},
		{"it selects something else", nil, op(1, "shop", another), false},
		{"it is of another namespace", nil, op(1, "bank", "{}"), false},
		{"only its status is another", op(1, "shop", byName), op(1, "shop", byName), false},
		{"it is for all namespaces", nil, cop("{}"), true},
	} {
		w := newWorld(t)
		labelled := configMap("u1", "blue")
		labelled.SetLabels(map[string]string{"tier": "front"})
		w.templates.Put(labelled)
		w.place("a")
		want := []types.NamespacedName{}
		if test.wakes {
			want = append(want, key)
		}
		if diff := cmp.Diff(want, w.controller.overrideChanged(test.old, test.new), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.reason, diff)
		}
	}
}

func TestNothingIsRenderedWhileTheBindingsPolicyWaitsForAnOverride(t *testing.T) {
	w := newWorld(t)
	w.place("a", "b")
	w.change(func(b *workv1alpha1.PropagationBinding) {
		b.Annotations = map[string]string{workv1alpha1.PropagationPolicyNamespaceAnnotation: "shop", workv1alpha1.PropagationPolicyNameAnnotation: "base"}
	})
	base := w.PropagationPolicies.Put(&policyv1alpha1.PropagationPolicy{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "base", Labels: map[string]string{workv1alpha1.PropagationPolicyPermanentIDLabel: "policy"}},
		Spec:       policyv1alpha1.PropagationSpec{DependentOverrides: []string{"red", "other"}},
	})
	w.override(t, "red", redInA)
	w.reconcile(t)
	w.wrote(t)
	condition := w.rendered()
	if condition == nil || condition.Reason != "OverrideMissing" || !strings.HasSuffix(condition.Message, "missing: OverridePolicy shop/other") {
		t.Errorf("the condition is %+v", condition)
	}

	// The one that comes selects something else.
	other := w.override(t, "other", "resourceSelectors: [{apiVersion: v1, kind: Secret}]")
	if diff := cmp.Diff([]types.NamespacedName{key}, w.controller.overrideChanged(nil, other)); diff != "" {
		t.Errorf("it wakes (-want +got):\n%s", diff)
	}
	w.reconcile(t)
	w.wrote(t, "create karmada-es-a", "create karmada-es-b")

	t.Run("and when one goes, the members stay as they are", func(t *testing.T) {
		red, _ := w.OverridePolicies.Get("shop", "red")
		w.OverridePolicies.Drop("shop", "red")
		w.templates.Put(configMap("u1", "green"))
		w.reconcile(t)
		w.wrote(t)
		if got := w.colours("a", "b"); got != "a red, b blue" {
			t.Error(got)
		}
		if diff := cmp.Diff([]types.NamespacedName{key, key}, w.controller.overrideChanged(red, nil)); diff != "" {
			t.Errorf("it wakes (-want +got):\n%s", diff)
		}
	})
	t.Run("until the policy does not name it any more", func(t *testing.T) {
		changed := w.PropagationPolicies.Change("shop", "base", func(p *policyv1alpha1.PropagationPolicy) {
			p.Generation++
			p.Spec.DependentOverrides = []string{"other"}
		})
		if diff := cmp.Diff([]types.NamespacedName{key}, w.controller.policyChanged(base, changed)); diff != "" {
			t.Errorf("it wakes (-want +got):\n%s", diff)
		}
		w.reconcile(t)
		if got := w.colours("a", "b"); got != "a green, b green" {
			t.Error(got)
		}
	})
}

func TestWhichBindingsAClusterWakes(t *testing.T) {
	moved := func(name string) (old, new *clusterv1alpha1.MemberCluster) {
		old = &clusterv1alpha1.MemberCluster{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: clusterv1alpha1.ClusterSpec{Region: "eu"}}
		new = old.DeepCopy()
		new.Spec.Region = "us"
		return old, new
	}
	for _, test := range []struct {
		reason, cluster, override string
		same                      bool
		wakes                     bool
	}{
		{"a value refers to its region", "a", ofTheRegion, false, true},
		{"a rule is for some clusters", "a", redInA, false, true},
		{"all clusters get the same", "a", "overriders: {labelsOverrider: [{operator: add, value: {a: b}}]}", false, false},
		{"the binding does not go there", "c", ofTheRegion, false, false},
		{"there are no overrides", "a", "", false, false},
		{"what has changed is nothing to overrides", "a", ofTheRegion, true, false},
	} {
		w := newWorld(t)
		w.place("a", "b")
		if test.override != "" {
			w.override(t, "p", test.override)
		}
		old, new := moved(test.cluster)
		if test.same {
			new.Spec.Region = old.Spec.Region
			new.Status.Conditions = []metav1.Condition{{Type: "Ready"}}
		}
		want := []types.NamespacedName{}
		if test.wakes {
			want = append(want, key)
		}
		if diff := cmp.Diff(want, w.controller.clusterChanged(old, new), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.reason, diff)
		}
	}
}

func TestAClusterThatMovesGetsItsOverridesAnew(t *testing.T) {
	w := newWorld(t)
	w.override(t, "p", ofTheRegion)
	for name, region := range map[string]string{"a": "eu", "b": "us"} {
		w.MemberClusters.Change("", name, func(c *clusterv1alpha1.MemberCluster) { c.Spec.Region = region })
	}
	w.place("a", "b", "c")
	w.reconcile(t)
	if got := w.colours("a", "b", "c"); got != "a eu, b us, c has none" {
		t.Error(got)
	}
	w.MemberClusters.Change("", "c", func(c *clusterv1alpha1.MemberCluster) { c.Spec.Region = "ap" })
	w.reconcile(t)
	if got := w.colours("a", "b", "c"); got != "a eu, b us, c ap" {
		t.Error(got)
	}
}
