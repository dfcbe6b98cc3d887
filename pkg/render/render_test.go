package render

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/quick"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/yaml"

	policyv1alpha1 "windlass.dev/windlass/api/policy/v1alpha1"
	workv1alpha1 "windlass.dev/windlass/api/work/v1alpha1"
	"windlass.dev/windlass/pkg/schedule"
)

var update = flag.Bool("update", false, "write the golden files anew")

func TestTemplatesAreRenderedAsTheirGoldenFilesSay(t *testing.T) {
	inputs, err := filepath.Glob("testdata/*/in.yaml")
	if err != nil || len(inputs) == 0 {
		t.Fatalf("no golden files found: %v", err)
	}
	for _, input := range inputs {
		folder := filepath.Dir(input)
		t.Run(filepath.Base(folder), func(t *testing.T) {
			template, binding := readInput(t, input)
			templateBefore, bindingBefore := template.DeepCopy(), binding.DeepCopyObject()
			works, err := Works(template, binding, schedule.Apportion)
			if err != nil {
				t.Fatal(err)
			}
			var got strings.Builder
			for _, work := range works {
				got.WriteString("---\n" + asYAML(t, work))
			}
			if diff := cmp.Diff(templateBefore, template); diff != "" {
				t.Errorf("the template was changed:\n%s", diff)
			}
			if diff := cmp.Diff(bindingBefore, binding.(runtime.Object)); diff != "" {
				t.Errorf("the binding was changed:\n%s", diff)
			}
			golden := filepath.Join(folder, "out.yaml")
			if *update {
				if err := os.WriteFile(golden, []byte(got.String()), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatalf("%v (write it with -update, and read it)", err)
			}
			if diff := cmp.Diff(string(want), got.String()); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func asYAML(t *testing.T, value any) string {
	t.Helper()
	text, err := yaml.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func readInput(t *testing.T, path string) (*unstructured.Unstructured, workv1alpha1.Binding) {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	first, second, found := strings.Cut(string(content), "---\n")
	if !found {
		t.Fatalf("%s does not hold a template and a binding", path)
	}
	var binding workv1alpha1.Binding = &workv1alpha1.PropagationBinding{}
	if strings.Contains(second, "kind: ClusterPropagationBinding") {
		binding = &workv1alpha1.ClusterPropagationBinding{}
	}
	if err := yaml.UnmarshalStrict([]byte(second), binding); err != nil {
		t.Fatal(err)
	}
	return parseObject(t, first), binding
}

func parseObject(t testing.TB, text string) *unstructured.Unstructured {
	t.Helper()
	encoded, err := yaml.YAMLToJSON([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	obj := &unstructured.Unstructured{}
	if err := obj.UnmarshalJSON(encoded); err != nil {
		t.Fatal(err)
	}
	return obj
}

const web = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop, uid: aaaa, labels: {app: web}}
spec:
  replicas: 6
  selector: {matchLabels: {app: web}}
  template: {metadata: {labels: {app: web}}, spec: {containers: [{name: web, image: "example.com/web:1"}]}}
`

// divided is a binding that divides so many replicas among clusters.
func divided(replicas ...int32) *workv1alpha1.PropagationBinding {
	binding := &workv1alpha1.PropagationBinding{}
	binding.Namespace, binding.Name = "shop", "web-deployment"
	binding.Labels = map[string]string{workv1alpha1.BindingPermanentIDLabel: "id"}
	binding.Spec.Placement = &policyv1alpha1.Placement{ReplicaScheduling: &policyv1alpha1.ReplicaSchedulingStrategy{
		ReplicaSchedulingType: policyv1alpha1.ReplicaSchedulingDivided,
	}}
	var total int32
	for i, n := range replicas {
		total += n
		binding.Spec.Clusters = append(binding.Spec.Clusters, workv1alpha1.TargetCluster{
			Name: fmt.Sprintf("cluster-%04d", i), Replicas: n,
		})
	}
	binding.Spec.Replicas = &total
	return binding
}

func TestTheTemplateHashNamesTheContentAndNothingElse(t *testing.T) {
	base := parseObject(t, web)
	hash := hashOf(t, base)
	set := func(value any, path ...string) func(*unstructured.Unstructured) {
		return func(obj *unstructured.Unstructured) {
			if err := unstructured.SetNestedField(obj.Object, value, path...); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, test := range []struct {
		reason string
		change func(*unstructured.Unstructured)
		same   bool
	}{
		{"status", set(int64(3), "status", "replicas"), true},
		{"resourceVersion", set("12", "metadata", "resourceVersion"), true},
		{"generation", set(int64(12), "metadata", "generation"), true},
		{"uid", set("bbbb", "metadata", "uid"), true},
		{"managedFields", set([]any{map[string]any{"manager": "kubectl"}}, "metadata", "managedFields"), true},
		{"finalizers", set([]any{"example.com/keep"}, "metadata", "finalizers"), true},
		{"deletion", set("2026-01-02T03:04:05Z", "metadata", "deletionTimestamp"), true},
		{"claim label", set("x", "metadata", "labels", workv1alpha1.PropagationPolicyPermanentIDLabel), true},
		{"claim label of a cluster policy", set("x", "metadata", "labels", workv1alpha1.ClusterPropagationPolicyPermanentIDLabel), true},
		{"claim annotation", set("x", "metadata", "annotations", workv1alpha1.PropagationPolicyNameAnnotation), true},
		{"last applied configuration", set("{}", "metadata", "annotations", "kubectl.kubernetes.io/last-applied-configuration"), true},
		{"replicas", set(int64(7), "spec", "replicas"), false},
		{"a label", set("x", "metadata", "labels", "tier"), false},
		{"an annotation", set("x", "metadata", "annotations", "tier"), false},
		{"the label that leaves replicas to members", set("true", "metadata", "labels", workv1alpha1.RetainReplicasLabel), false},
		{"a new field", set("x", "spec", "template", "spec", "nodeName"), false},
	} {
		obj := base.DeepCopy()
		test.change(obj)
		if same := hashOf(t, obj) == hash; same != test.same {
			t.Errorf("after a change of %s the hash is the same: %v, want %v", test.reason, same, test.same)
		}
	}
}

func hashOf(t *testing.T, obj *unstructured.Unstructured) string {
	t.Helper()
	hash, err := TemplateHash(obj)
	if err != nil {
		t.Fatal(err)
	}
	return hash
}

func TestWorksBearTheHashOfTheTemplate(t *testing.T) {
	template := parseObject(t, web)
	works, err := Works(template, divided(4, 2), schedule.Apportion)
	if err != nil {
		t.Fatal(err)
	}
	for _, work := range works {
		if got, want := work.Spec.TemplateHash, hashOf(t, template); got != want {
			t.Errorf("%s: hash %s, want %s", work.Namespace, got, want)
		}
	}
}

func TestEveryClusterGetsItsShareAndTheSharesSumUp(t *testing.T) {
	template := parseObject(t, `{apiVersion: batch/v1, kind: Job, metadata: {name: report, namespace: shop, uid: aaaa}, spec: {parallelism: 1, completions: 1, template: {}}}`)
	sums := func(completions uint8, parallelism []uint8) bool {
		shares := make([]int32, len(parallelism)+1)
		for i, n := range parallelism {
			shares[i] = int32(n)
		}
		binding := divided(shares...)
		job := template.DeepCopy()
		unstructured.SetNestedField(job.Object, int64(completions), "spec", "completions")
		works, err := Works(job, binding, schedule.Apportion)
		if err != nil {
			t.Fatal(err)
		}
		var pods, done int32
		for i, work := range works {
			var manifest struct {
				Spec struct{ Parallelism, Completions int32 }
			}
			if err := json.Unmarshal(work.Spec.Workload.Manifests[0].Raw, &manifest); err != nil {
				t.Fatal(err)
			}
			if manifest.Spec.Parallelism != shares[i] {
				return false
			}
			pods += manifest.Spec.Parallelism
			done += manifest.Spec.Completions
		}
		return pods == *binding.Spec.Replicas && done == int32(completions)
	}
	if err := quick.Check(sums, nil); err != nil {
		t.Error(err)
	}
}

func TestCompletionsAreDividedAsReplicasAre(t *testing.T) {
	for _, test := range []struct {
		reason      string
		uid         string
		completions int64
		parallelism []int32
		want        []int64
	}{
		{"in proportion", "aaaa", 12, []int32{2, 1}, []int64{8, 4}},
		{"7.5 and 2.5: at 3/15 and 1/5 the part that has less is first", "aaaa", 10, []int32{3, 1}, []int64{7, 3}},
		{"8 over 1:1:3: at 3/9, 1/3 and 1/3 the largest is last", "aaaa", 8, []int32{1, 1, 3}, []int64{2, 2, 4}},
		{"the remainder of equal parts goes to the first name", "aaab", 5, []int32{1, 1}, []int64{3, 2}},
		{"or to the last, by the template's UID", "aaaa", 5, []int32{1, 1}, []int64{2, 3}},
		{"a part without pods completes nothing", "aaaa", 6, []int32{0, 3}, []int64{0, 6}},
		{"where no part has pods they are as even as can be", "aaaa", 6, []int32{0, 0}, []int64{3, 3}},
	} {
		job := parseObject(t, fmt.Sprintf(`{apiVersion: batch/v1, kind: Job, metadata: {name: report, namespace: shop, uid: %s}, spec: {parallelism: 1, completions: %d, template: {}}}`, test.uid, test.completions))
		works, err := Works(job, divided(test.parallelism...), schedule.Apportion)
		if err != nil {
			t.Fatal(err)
		}
		var got []int64
		for _, work := range works {
			completions, _, _ := unstructured.NestedInt64(parseObject(t, string(work.Spec.Workload.Manifests[0].Raw)).Object, "spec", "completions")
			got = append(got, completions)
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.reason, diff)
		}
	}
}

func TestAPartOfAJobThatStandsInAClusterKeepsItsCompletions(t *testing.T) {
	job := func(completions int32, more string) *unstructured.Unstructured {
		return parseObject(t, fmt.Sprintf(`{apiVersion: batch/v1, kind: Job, metadata: {name: report, namespace: shop, uid: aaaa}, spec: {parallelism: 4, completions: %d, %s template: {}}}`, completions, more))
	}
	tests := []struct {
		reason        string
		before, after *unstructured.Unstructured
		replicas      []int32 // afterwards; before it is 2 and 2
		want          []int64
		anew          bool // the works are gone
	}{
		{"nothing has changed", job(10, ""), job(10, ""), []int32{2, 2}, []int64{5, 5}, false},
		{"its replicas move from one cluster to the other", job(10, ""), job(10, ""), []int32{3, 1}, []int64{5, 5}, false},
		{"a cluster is gone", job(10, ""), job(10, ""), []int32{4}, []int64{5}, false},
		{"it is a work queue and has none", parseObject(t, `{apiVersion: batch/v1, kind: Job, metadata: {name: report, namespace: shop, uid: aaaa}, spec: {parallelism: 4, template: {}}}`), nil, []int32{3, 1}, []int64{0, 0}, false},
		{"they go together with the replicas", job(4, "completionMode: Indexed,"), job(4, "completionMode: Indexed,"), []int32{3, 1}, []int64{3, 1}, false},
		{"one that has ended does not take over what is gone", job(4, "completionMode: Indexed,"), job(4, "completionMode: Indexed,"), []int32{2}, []int64{2}, false},
		{"one that has ended does not give up what is not asked for any more", job(4, "completionMode: Indexed,"), job(4, "completionMode: Indexed,"), []int32{3, 2}, []int64{3, 2}, false},
		{"what is made anew is the part that it was", job(10, ""), job(10, ""), []int32{2}, []int64{5}, true},
	}
	for _, test := range tests {
		t.Run(test.reason, func(t *testing.T) {
			if test.after == nil {
				test.after = test.before
			}
			binding := divided(2, 2)
			existing, err := Works(test.before, binding, schedule.Apportion)
			if err != nil {
				t.Fatal(err)
			}
			binding.Spec.Clusters = binding.Spec.Clusters[:len(test.replicas)]
			for i, n := range test.replicas {
				binding.Spec.Clusters[i].Replicas = n
			}
			r, err := New(test.after, binding, nil, schedule.Apportion)
			if err != nil {
				t.Fatal(err)
			}
			for i, target := range binding.Spec.Clusters {
				if !test.anew {
					r.Keep(target.Name, existing[i])
				}
				work, err := r.Work(target, nil)
				if err != nil {
					t.Fatal(err)
				}
				manifest := parseObject(t, string(work.Spec.Workload.Manifests[0].Raw))
				completions, _, _ := unstructured.NestedInt64(manifest.Object, "spec", "completions")
				parallelism, _, _ := unstructured.NestedInt64(manifest.Object, "spec", "parallelism")
				if completions != test.want[i] || parallelism != int64(test.replicas[i]) {
					t.Errorf("%s has %d completions by %d, want %d by %d", target.Name, completions, parallelism, test.want[i], test.replicas[i])
				}
			}
		})
	}
}

func TestAJobThatHasEndedInPartsKeepsThemWhereItsPlacementDividesNoMore(t *testing.T) {
	const job = `{apiVersion: batch/v1, kind: Job, metadata: {name: report, namespace: shop, uid: aaaa}, spec: {parallelism: 4, completions: 10, template: {}}, status: {conditions: [{type: %s, status: "True"}]}}`
	for _, test := range []struct {
		condition                string
		parallelism, completions int64
	}{
		{"Complete", 2, 5},
		{"Failed", 2, 5},
		{"Suspended", 4, 10},
	} {
		binding := divided(2, 2)
		binding.Spec.Placement = nil
		works, err := Works(parseObject(t, fmt.Sprintf(job, test.condition)), binding, schedule.Apportion)
		if err != nil {
			t.Fatal(err)
		}
		for _, work := range works {
			manifest := parseObject(t, string(work.Spec.Workload.Manifests[0].Raw))
			completions, _, _ := unstructured.NestedInt64(manifest.Object, "spec", "completions")
			parallelism, _, _ := unstructured.NestedInt64(manifest.Object, "spec", "parallelism")
			if completions != test.completions || parallelism != test.parallelism {
				t.Errorf("%s: %s has %d completions by %d, want %d by %d", test.condition, work.Namespace, completions, parallelism, test.completions, test.parallelism)
			}
		}
	}
}

func TestTheReplicasThatAnotherSchedulerSaysHoldWhateverThePlacementSays(t *testing.T) {
	duplicated := &policyv1alpha1.Placement{ReplicaScheduling: &policyv1alpha1.ReplicaSchedulingStrategy{ReplicaSchedulingType: policyv1alpha1.ReplicaSchedulingDuplicated}}
	job := parseObject(t, report)
	if err := unstructured.SetNestedField(job.Object, int64(8), "spec", "completions"); err != nil {
		t.Fatal(err)
	}
	web := parseObject(t, web)
	for _, test := range []struct {
		reason      string
		scheduler   string
		placement   *policyv1alpha1.Placement
		template    *unstructured.Unstructured
		replicas    int32 // of the binding
		says        []int32
		want        []int64
		completions int64
	}{
		{"without replicaScheduling", "mine", &policyv1alpha1.Placement{}, web, 6, []int32{3, 1}, []int64{3, 1}, 0},
		{"Duplicated", "mine", duplicated, web, 6, []int32{3, 0}, []int64{3, 0}, 0},
		{"a Job keeps its completions", "mine", duplicated, job, 4, []int32{3, 1}, []int64{3, 1}, 8},
		{"it says no number", "mine", duplicated, web, 6, []int32{0, 0}, []int64{6, 6}, 0},
		{"the hub's own is behind the template", policyv1alpha1.DefaultSchedulerName, duplicated, web, 6, []int32{5, 5}, []int64{6, 6}, 0},
		{"the hub's own, of a binding that names none", "", nil, web, 6, []int32{5, 5}, []int64{6, 6}, 0},
	} {
		binding := divided(test.says...)
		binding.Spec.SchedulerName, binding.Spec.Placement, binding.Spec.Replicas = test.scheduler, test.placement, &test.replicas
		works, err := Works(test.template, binding, schedule.Apportion)
		if err != nil {
			t.Fatalf("%s: %v", test.reason, err)
		}
		var got []int64
		for _, work := range works {
			manifest := parseObject(t, string(work.Spec.Workload.Manifests[0].Raw))
			field := "replicas"
			if manifest.GetKind() == "Job" {
				field = "parallelism"
			}
			replicas, _, _ := unstructured.NestedInt64(manifest.Object, "spec", field)
			got = append(got, replicas)
			if completions, _, _ := unstructured.NestedInt64(manifest.Object, "spec", "completions"); completions != test.completions {
				t.Errorf("%s: %d completions, want %d", test.reason, completions, test.completions)
			}
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.reason, diff)
		}
	}
}

func TestClustersWithTheSameNumbersShareTheirManifest(t *testing.T) {
	works, err := Works(parseObject(t, web), divided(2, 4, 2), schedule.Apportion)
	if err != nil {
		t.Fatal(err)
	}
	raw := func(i int) *byte { return &works[i].Spec.Workload.Manifests[0].Raw[0] }
	if raw(0) != raw(2) || raw(0) == raw(1) {
		t.Error("equal manifests are not shared, or different ones are")
	}
}

func TestATemplateThatDoesNotFitIsRefusedWithItsSize(t *testing.T) {
	template := parseObject(t, `{apiVersion: v1, kind: ConfigMap, metadata: {name: big, namespace: shop}}`)
	unstructured.SetNestedField(template.Object, strings.Repeat("x", workv1alpha1.MaxWorkBytes), "data", "big")
	_, err := Works(template, divided(0), schedule.Apportion)
	var tooLarge *TooLargeError
	if !errors.As(err, &tooLarge) {
		t.Fatalf("got %v, want a TooLargeError", err)
	}
	if tooLarge.Bytes <= workv1alpha1.MaxWorkBytes || tooLarge.Limit != workv1alpha1.MaxWorkBytes {
		t.Errorf("%d bytes of %d", tooLarge.Bytes, tooLarge.Limit)
	}
	want := fmt.Sprintf("ConfigMap shop/big is too large to be propagated: its manifest has %d bytes, and a work holds at most 1048576; make it smaller or split it", tooLarge.Bytes)
	if err.Error() != want {
		t.Errorf("got  %s\nwant %s", err, want)
	}
}

func TestWhatHTMLWouldEscapeIsNotLargerInAWork(t *testing.T) {
	template := parseObject(t, `{apiVersion: v1, kind: ConfigMap, metadata: {name: page, namespace: shop}}`)
	unstructured.SetNestedField(template.Object, strings.Repeat("<&>", 300_000), "data", "page")
	works, err := Works(template, divided(0), schedule.Apportion)
	if err != nil {
		t.Fatal(err)
	}
	if raw := works[0].Spec.Workload.Manifests[0].Raw; len(raw) > 901_000 || !strings.Contains(string(raw), "<&><&>") {
		t.Errorf("900000 bytes became %d", len(raw))
	}
}

func TestABindingWithoutPermanentIDIsNotRendered(t *testing.T) {
	binding := divided(1)
	binding.Labels = nil
	if _, err := Works(parseObject(t, web), binding, schedule.Apportion); err == nil || !strings.Contains(err.Error(), workv1alpha1.BindingPermanentIDLabel) {
		t.Errorf("got %v, want an error that names the label", err)
	}
}

func TestDiffSeesWhatWasRenderedAndNothingElse(t *testing.T) {
	rendered := func() *workv1alpha1.PropagationWork {
		works, err := Works(parseObject(t, web), divided(6), schedule.Apportion)
		if err != nil {
			t.Fatal(err)
		}
		return works[0].DeepCopy()
	}
	yes := true
	for _, test := range []struct {
		reason string
		change func(*workv1alpha1.PropagationWork)
		want   bool
	}{
		{"nothing", func(*workv1alpha1.PropagationWork) {}, false},
		{"what the store sets", func(w *workv1alpha1.PropagationWork) { w.UID, w.ResourceVersion, w.Generation = "u", "1", 3 }, false},
		{"a status", func(w *workv1alpha1.PropagationWork) { w.Status.Delivery.Epoch = 3 }, false},
		{"labels of others", func(w *workv1alpha1.PropagationWork) { w.Labels["example.com/x"] = "y" }, false},
		{"finalizers of others", func(w *workv1alpha1.PropagationWork) { w.Finalizers = append(w.Finalizers, "example.com/x") }, false},
		{"the cause of a removal", func(w *workv1alpha1.PropagationWork) { w.Spec.RemovalCause = workv1alpha1.RemovalForced }, false},
		{"another permanent id", func(w *workv1alpha1.PropagationWork) { w.Labels[workv1alpha1.BindingPermanentIDLabel] = "other" }, true},
		{"no finalizer", func(w *workv1alpha1.PropagationWork) { w.Finalizers = nil }, true},
		{"another manifest", func(w *workv1alpha1.PropagationWork) { w.Spec.Workload.Manifests[0].Raw = []byte("{}") }, true},
		{"no manifest", func(w *workv1alpha1.PropagationWork) { w.Spec.Workload.Manifests = nil }, true},
		{"another template hash", func(w *workv1alpha1.PropagationWork) { w.Spec.TemplateHash = "other" }, true},
		{"another UID of the template", func(w *workv1alpha1.PropagationWork) { w.Spec.Template.UID = "other" }, true},
		{"suspended", func(w *workv1alpha1.PropagationWork) { w.Spec.SuspendDispatching = &yes }, true},
		{"preserved", func(w *workv1alpha1.PropagationWork) { w.Spec.PreserveResourcesOnDeletion = &yes }, true},
		{"another conflict resolution", func(w *workv1alpha1.PropagationWork) { w.Spec.ConflictResolution = policyv1alpha1.ConflictOverwrite }, true},
	} {
		existing := rendered()
		test.change(existing)
		if got := Diff(existing, rendered()); got != test.want {
			t.Errorf("%s: Diff is %v, want %v", test.reason, got, test.want)
		}
	}
}

func TestNamesAreReadableAndAlwaysValid(t *testing.T) {
	named := func(apiVersion, kind, name string) *unstructured.Unstructured {
		obj := &unstructured.Unstructured{}
		obj.SetAPIVersion(apiVersion)
		obj.SetKind(kind)
		obj.SetName(name)
		return obj
	}
	for _, test := range []struct {
		reason string
		obj    *unstructured.Unstructured
		want   string // of which a hash is cut off
	}{
		{"name and kind", named("apps/v1", "Deployment", "web"), "web-deployment"},
		{"a name with dots", named("apiextensions.k8s.io/v1", "CustomResourceDefinition", "widgets.example.com"), "widgets.example.com-customresourcedefinition"},
		{"a name with colons", named("rbac.authorization.k8s.io/v1", "ClusterRole", "system:Node"), "system-node-clusterrole-#"},
		{"a name that ends badly", named("rbac.authorization.k8s.io/v1", "Role", "a.:"), "a---role-#"},
		{"a name with empty parts", named("rbac.authorization.k8s.io/v1", "Role", "a..b"), "a--b-role-#"},
		{"a name that is too long", named("v1", "ConfigMap", strings.Repeat("x", 253)), strings.Repeat("x", 240) + "-#"},
	} {
		got := BindingName(test.obj)
		if errs := validation.IsDNS1123Subdomain(got); len(errs) > 0 {
			t.Errorf("%s: %q is no DNS subdomain: %v", test.reason, got, errs)
		}
		if want, hashed := strings.CutSuffix(test.want, "#"); hashed {
			got = got[:len(got)-hashLength]
			if got != want {
				t.Errorf("%s: got %q and a hash, want %q", test.reason, got, want)
			}
		} else if got != want {
			t.Errorf("%s: got %q, want %q", test.reason, got, want)
		}
	}
}

func TestNamesOfAllObjectsAreValidAndTellThemApart(t *testing.T) {
	valid := func(group, kind, namespace, name string) bool {
		obj := &unstructured.Unstructured{Object: map[string]any{}}
		obj.SetAPIVersion("v1")
		obj.SetKind("K")
		obj.SetName(name)
		obj.SetNamespace(namespace)
		binding := BindingNameHashed(obj)
		work := WorkName(binding, group, kind, namespace, name)
		return len(validation.IsDNS1123Subdomain(BindingName(obj))) == 0 &&
			len(validation.IsDNS1123Subdomain(binding)) == 0 &&
			len(validation.IsDNS1123Subdomain(work)) == 0 &&
			work != WorkName(binding, group, kind, namespace+"x", name) &&
			work != WorkName(binding, group+"x", kind, namespace, name)
	}
	if err := quick.Check(valid, nil); err != nil {
		t.Error(err)
	}
	if WorkName("b", "g", "k", "ab", "c") == WorkName("b", "g", "k", "a", "bc") {
		t.Error("parts of an identity run into one another")
	}
}

func BenchmarkWorks(b *testing.B) {
	template := parseObject(b, web)
	for _, clusters := range []int{1, 100, 1000} {
		shares := make([]int32, clusters)
		for i := range shares {
			shares[i] = int32(i%3) + 1
		}
		binding := divided(shares...)
		b.Run(fmt.Sprintf("%d clusters", clusters), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Works(template, binding, schedule.Apportion); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func TestAnExistingWorkGetsAnotherNumberOfReplicasAndNothingElse(t *testing.T) {
	work := func(kind, spec string, replicas *int32) *workv1alpha1.PropagationWork {
		return &workv1alpha1.PropagationWork{Spec: workv1alpha1.WorkSpec{Replicas: replicas, TemplateHash: "as it was",
			Workload: workv1alpha1.WorkloadTemplate{Manifests: []runtime.RawExtension{{Raw: []byte(`{"apiVersion":"apps/v1","kind":"` + kind + `","metadata":{"name":"web"},"spec":{` + spec + `}}`)}}}}}
	}
	for _, test := range []struct {
		reason   string
		existing *workv1alpha1.PropagationWork
		want     *workv1alpha1.PropagationWork
	}{
		{"it has another number", work("Deployment", `"replicas":4`, ptr.To[int32](4)), work("Deployment", `"replicas":2`, ptr.To[int32](2))},
		{"and a number that no floating point has", work("Deployment", `"replicas":4,"wait":9223372036854775807`, ptr.To[int32](4)),
			work("Deployment", `"replicas":2,"wait":9223372036854775807`, ptr.To[int32](2))},
		{"it has that number", work("Deployment", `"replicas":2`, ptr.To[int32](2)), nil},
		{"an override has written a number of its own", work("Deployment", `"replicas":7`, ptr.To[int32](4)), nil},
		{"nobody knows what it was written with", work("Deployment", `"replicas":4`, nil), nil},
		{"somebody has written nonsense into it", &workv1alpha1.PropagationWork{Spec: workv1alpha1.WorkSpec{Replicas: ptr.To[int32](4),
			Workload: workv1alpha1.WorkloadTemplate{Manifests: []runtime.RawExtension{{Raw: []byte("{")}}}}}, nil},
		{"its kind has no number", work("DaemonSet", ``, ptr.To[int32](1)), nil},
	} {
		before := test.existing.DeepCopy()
		got := Rescale(test.existing, 2)
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.reason, diff)
		}
		if diff := cmp.Diff(before, test.existing); diff != "" {
			t.Errorf("%s: the existing work was changed (-before +after):\n%s", test.reason, diff)
		}
	}
}
