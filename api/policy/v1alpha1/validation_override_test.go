package v1alpha1_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	policyv1alpha1 "windlass.dev/windlass/api/policy/v1alpha1"
	workv1alpha1 "windlass.dev/windlass/api/work/v1alpha1"
)

func overrideOf(overriders policyv1alpha1.Overriders) *policyv1alpha1.OverridePolicy {
	return &policyv1alpha1.OverridePolicy{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "p"},
		Spec:       policyv1alpha1.OverrideSpec{OverrideRules: []policyv1alpha1.RuleWithCluster{{Overriders: overriders}}},
	}
}

func TestAnOverridePolicyHasABoundedNumberOfChanges(t *testing.T) {
	operations := make([]policyv1alpha1.PlaintextOverrider, policyv1alpha1.MaxOverrideOperations)
	for i := range operations {
		operations[i] = policyv1alpha1.PlaintextOverrider{Path: "/spec/replicas", Operator: "replace", Value: apiextensionsv1.JSON{Raw: []byte("1")}}
	}
	most := operations[1:] // the rule itself counts as well
	for _, test := range []struct {
		reason     string
		overriders policyv1alpha1.Overriders
		want       []string
	}{
		{"as many as there may be", policyv1alpha1.Overriders{Plaintext: most}, nil},
		{"one more", policyv1alpha1.Overriders{Plaintext: operations}, []string{"spec.overrideRules: Invalid value: 1001: rules and their changes are too many: at most 1000"}},
		{"a label more", policyv1alpha1.Overriders{Plaintext: most[1:], LabelsOverrider: []policyv1alpha1.LabelAnnotationOverrider{{Operator: "add", Value: map[string]string{"a": "b"}}}},
			[]string{"spec.overrideRules: Invalid value: 1001"}},
		{"a document's change more", policyv1alpha1.Overriders{Plaintext: most[1:], FieldOverrider: []policyv1alpha1.FieldOverrider{{FieldPath: "/data/a",
			YAML: []policyv1alpha1.YAMLPatchOperation{{SubPath: "/a", Operator: "remove"}}}}},
			[]string{"spec.overrideRules: Invalid value: 1001"}},
	} {
		t.Run(test.reason, func(t *testing.T) {
			expectErrors(t, policyv1alpha1.ValidateOverridePolicy(overrideOf(test.overriders)), test.want)
		})
	}
}

func TestThePathOfAnImageIsOneThatMayBeChanged(t *testing.T) {
	for path, want := range map[string]string{
		"/spec/template/spec/containers/0/image": "",
		"/metadata/annotations/image":            "",
		"":                                       "Required value: give the path of the image",
		"spec/image":                             `Invalid value: "spec/image": must begin with /`,
		"/":                                      `Invalid value: "/": has a / without a name after it`,
		"/data//image":                           `Invalid value: "/data//image": has a / without a name after it`,
		"/data/image/":                           `Invalid value: "/data/image/": has a / without a name after it`,
		"/apiVersion":                            "Forbidden: /apiVersion can't be overridden",
		"/metadata/name":                         "Forbidden: /metadata/name can't be overridden",
		"/status/image":                          "Forbidden: /status/image can't be overridden",
	} {
		var wants []string
		if want != "" {
			wants = []string{"spec.overrideRules[0].overriders.imageOverrider[0].predicate.path: " + want}
		}
		expectErrors(t, policyv1alpha1.ValidateOverridePolicy(overrideOf(policyv1alpha1.Overriders{ImageOverrider: []policyv1alpha1.ImageOverrider{{
			Predicate: &policyv1alpha1.ImagePredicate{Path: path}, Component: policyv1alpha1.ImageTag, Operator: policyv1alpha1.OverriderOpReplace, Value: "v1"}}})), wants)
	}
}

func TestASpecThatWasStoredUnderOtherRulesMayStay(t *testing.T) {
	invalid := overrideOf(policyv1alpha1.Overriders{Plaintext: []policyv1alpha1.PlaintextOverrider{{Path: "spec"}}})
	unchanged := invalid.DeepCopy()
	unchanged.Labels = map[string]string{"a": "b"}
	expectErrors(t, policyv1alpha1.ValidateOverridePolicyUpdate(unchanged, invalid), nil)
	changed := invalid.DeepCopy()
	changed.Spec.OverrideRules[0].Overriders.Plaintext[0].Operator = "remove"
	expectErrors(t, policyv1alpha1.ValidateOverridePolicyUpdate(changed, invalid), []string{`spec.overrideRules[0].overriders.plaintext[0].path: Invalid value: "spec"`})
}

func TestAnOverridePolicyOfAReservedNamespaceIsRefused(t *testing.T) {
	p := overrideOf(policyv1alpha1.Overriders{})
	p.Namespace = "kube-system"
	expectErrors(t, policyv1alpha1.ValidateOverridePolicy(p), []string{`metadata.namespace: Invalid value: "kube-system": is reserved`})
}

func TestTheMarksThatNoOverrideMaySetAreThoseOfHubAndAgents(t *testing.T) {
	for key, want := range map[string]bool{
		workv1alpha1.PropagationPolicyPermanentIDLabel:        true,
		workv1alpha1.ClusterPropagationPolicyPermanentIDLabel: true,
		workv1alpha1.PropagationPolicyNamespaceAnnotation:     true,
		workv1alpha1.PropagationPolicyNameAnnotation:          true,
		workv1alpha1.ClusterPropagationPolicyNameAnnotation:   true,
		workv1alpha1.ManagedLabel:                             true,
		workv1alpha1.HubIDAnnotation:                          true,
		workv1alpha1.WorkNameAnnotation:                       true,
		workv1alpha1.WorkNamespaceAnnotation:                  true,
		workv1alpha1.TemplateUIDAnnotation:                    true,
		workv1alpha1.ConflictResolutionAnnotation:             false,
		workv1alpha1.RetainReplicasLabel:                      false,
		"app":                                                 false,
	} {
		if got := policyv1alpha1.ReservedMark(key); got != want {
			t.Errorf("%s: %v", key, got)
		}
	}
}

func TestReferencesAreExpanded(t *testing.T) {
	for _, test := range []struct{ reason, value, want, wrong string }{
		{"no reference", "a $ b $(C) {d}", "a $ b $(C) {d}", ""},
		{"all that are known", "${cluster.name} ${cluster.region} ${cluster.provider} ${cluster.labels.a.b/c_d}", "<cluster.name> <cluster.region> <cluster.provider> <cluster.labels.a.b/c_d>", ""},
		{"next to each other", "x${cluster.name}${cluster.name}y", "x<cluster.name><cluster.name>y", ""},
		{"escaped", "$${cluster.name}", "${cluster.name}", ""},
		{"escaped though it is unknown", "$${cluster.nmae} $${cluster.", "${cluster.nmae} ${cluster.", ""},
		{"escaped beside one that is not", "$${cluster.name} ${cluster.name}", "${cluster.name} <cluster.name>", ""},
		{"a dollar before an escaped one", "$$${cluster.name}", "$${cluster.name}", ""},
		{"what a shell refers to", "${HOME:-/root} ${FILES} ${#a[@]}", "${HOME:-/root} ${FILES} ${#a[@]}", ""},
		{"what another program escapes", "$${f} $$${f}", "$${f} $$${f}", ""},
		{"one in that of a shell", "${HOME:-/${cluster.name}}", "${HOME:-/<cluster.name>}", ""},
		{"of a shell, with an escaped one in it", "$${HOME:-$${cluster.name}}", "$${HOME:-${cluster.name}}", ""},
		{"another that begins alike", "${cluster} ${clusters.name} ${cluster_name} ${Cluster.name}", "${cluster} ${clusters.name} ${cluster_name} ${Cluster.name}", ""},
		{"with spaces", "${ cluster.name }", "${ cluster.name }", ""},
		{"empty or without an end", "${} ${", "${} ${", ""},
		{"without an end", "a ${cluster.name", "", `"${cluster.name" has no closing }`},
		{"unknown", "${cluster.nmae}", "", "${cluster.nmae} is unknown: ${cluster.name}, "},
		{"without a name", "${cluster.}", "", "${cluster.} is unknown"},
		{"a label without a key", "${cluster.labels.}", "", "${cluster.labels.} is unknown"},
		{"one in another", "${cluster.labels.${cluster.name}}", "", "${cluster.labels.${cluster.name} is unknown"},
	} {
		got, err := policyv1alpha1.ExpandReferences(test.value, func(reference string) (string, error) { return "<" + reference + ">", nil })
		if test.wrong == "" && (err != nil || got != test.want) {
			t.Errorf("%s: %q, %v", test.reason, got, err)
		}
		if test.wrong != "" && (err == nil || !strings.HasPrefix(err.Error(), test.wrong)) {
			t.Errorf("%s: %q, %v", test.reason, got, err)
		}
	}
}

func FuzzReferences(f *testing.F) {
	for _, value := range []string{"", "${cluster.name}", "$${cluster.", "$$${cluster.a}", "$${a} ${b", "${cluster.labels.a/b}x"} {
		f.Add(value)
	}
	f.Fuzz(func(t *testing.T, value string) {
		// What was escaped is itself again, and has no references.
		escaped := strings.ReplaceAll(value, "${cluster.", "$${cluster.")
		got, err := policyv1alpha1.ExpandReferences(escaped, func(string) (string, error) { return "", nil })
		if err != nil || got != value {
			t.Errorf("%q becomes %q: %v", escaped, got, err)
		}
		var found []string
		if policyv1alpha1.FindReferences(value, func(reference string) { found = append(found, reference) }) != nil {
			return
		}
		var asked []string
		_, _ = policyv1alpha1.ExpandReferences(value, func(reference string) (string, error) { asked = append(asked, reference); return "", nil })
		if diff := cmp.Diff(found, asked); diff != "" {
			t.Error(diff)
		}
	})
}

func TestOnlyValuesReferToTheCluster(t *testing.T) {
	plaintext := func(value string) policyv1alpha1.Overriders {
		return policyv1alpha1.Overriders{Plaintext: []policyv1alpha1.PlaintextOverrider{{Path: "/data", Operator: "add", Value: apiextensionsv1.JSON{Raw: []byte(value)}}}}
	}
	const at = "spec.overrideRules[0].overriders."
	for _, test := range []struct {
		reason     string
		overriders policyv1alpha1.Overriders
		want       []string
	}{
		{"a value", plaintext(`{"a": ["${cluster.name}"]}`), nil},
		{"a key, which would be written as it is", plaintext(`{"a": [{"${cluster.name}": "b"}]}`),
			[]string{at + `plaintext[0].value: Invalid value: "${cluster.name}": the key of an object refers to the cluster, which only values can`}},
		{"a container, which none is called", policyv1alpha1.Overriders{ArgsOverrider: []policyv1alpha1.CommandArgsOverrider{{ContainerName: "${cluster.name}", Operator: "add", Value: []string{"x"}}}},
			[]string{at + `argsOverrider[0].containerName: Invalid value: "${cluster.name}": refers to the cluster, which only values can`}},
	} {
		t.Run(test.reason, func(t *testing.T) {
			expectErrors(t, policyv1alpha1.ValidateOverridePolicy(overrideOf(test.overriders)), test.want)
		})
	}
}
