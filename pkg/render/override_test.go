package render

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	clusterv1alpha1 "windlass.dev/windlass/api/cluster/v1alpha1"
	policyv1alpha1 "windlass.dev/windlass/api/policy/v1alpha1"
	workv1alpha1 "windlass.dev/windlass/api/work/v1alpha1"
	"windlass.dev/windlass/pkg/override"
	"windlass.dev/windlass/pkg/policy"
	"windlass.dev/windlass/pkg/schedule"
)

// overridden renders web, divided into so many replicas, with an OverridePolicy, for clusters of the
// regions eu and us in turn.
func overridden(t testing.TB, spec string, replicas ...int32) (works []*workv1alpha1.PropagationWork, errs []error) {
	t.Helper()
	_, works, errs = rendered(t, parseObject(t, web), spec, replicas...)
	return works, errs
}

func rendered(t testing.TB, template *unstructured.Unstructured, spec string, replicas ...int32) (r *Renderer, works []*workv1alpha1.PropagationWork, errs []error) {
	t.Helper()
	p := &policyv1alpha1.OverridePolicy{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "p"}}
	if err := yaml.UnmarshalStrict([]byte(spec), &p.Spec); err != nil {
		t.Fatal(err)
	}
	compiled, err := override.Compile(p)
	if err != nil {
		t.Fatal(err)
	}
	binding := divided(replicas...)
	r, err = New(template, binding, override.Select([]*override.Policy{compiled}, policy.TemplateOf(template, template.GroupVersionKind())), schedule.Apportion)
	if err != nil {
		t.Fatal(err)
	}
	for i, target := range binding.Spec.Clusters {
		cluster := &clusterv1alpha1.MemberCluster{ObjectMeta: metav1.ObjectMeta{Name: target.Name}, Spec: clusterv1alpha1.ClusterSpec{Region: []string{"eu", "us"}[i%2]}}
		work, err := r.Work(target, cluster)
		works, errs = append(works, work), append(errs, err)
	}
	return r, works, errs
}

const inEurope = "targetCluster: {fieldSelector: {matchExpressions: [{key: region, operator: In, values: [eu]}]}}, "

func TestOverridesComeAfterTheReplicas(t *testing.T) {
	works, errs := overridden(t, "overriders: {plaintext: [{path: /spec/replicas, operator: replace, value: 9}]}", 4, 2)
	for i, work := range works {
		if errs[i] != nil {
			t.Fatal(errs[i])
		}
		if raw := string(work.Spec.Workload.Manifests[0].Raw); !strings.Contains(raw, `"replicas":9`) {
			t.Errorf("work %d has the manifest %s", i, raw)
		}
	}
}

func TestClustersWithTheSameOverridesAndNumbersShareTheirManifest(t *testing.T) {
	works, _ := overridden(t, `overrideRules: [{`+inEurope+`overriders: {labelsOverrider: [{operator: add, value: {region: "${cluster.region}"}}]}}]`, 2, 2, 2, 2, 3)
	raw := func(i int) *byte { return &works[i].Spec.Workload.Manifests[0].Raw[0] }
	if raw(0) != raw(2) || raw(1) != raw(3) || raw(0) == raw(1) || raw(0) == raw(4) {
		t.Error("equal manifests are not shared, or different ones are")
	}
}

func TestAWorkSaysWhatWasOverridden(t *testing.T) {
	works, _ := overridden(t, `overrideRules: [{`+inEurope+`overriders: {labelsOverrider: [{operator: add, value: {a: b}}]}}]`, 2, 2)
	want := map[string]string{workv1alpha1.AppliedOverridesAnnotation: `[{"policyName":"p","overriders":{"labelsOverrider":[{"operator":"add","value":{"a":"b"}}]}}]`}
	if diff := cmp.Diff(want, works[0].Annotations); diff != "" {
		t.Errorf("in Europe (-want +got):\n%s", diff)
	}
	if len(works[1].Annotations) > 0 {
		t.Errorf("elsewhere: %v", works[1].Annotations)
	}
	unchanged := works[1].DeepCopy()
	unchanged.Spec = works[0].Spec
	if !Diff(unchanged, works[0]) {
		t.Error("a work without its record is not written")
	}
	unchanged.Annotations = map[string]string{"of": "others"}
	put := Put(unchanged, works[0])
	if Diff(put, works[0]) || put.Annotations["of"] != "others" {
		t.Errorf("the work becomes %v", put.Annotations)
	}
	if back := Put(put, works[1]); Diff(back, works[1]) || len(back.Annotations) != 1 {
		t.Errorf("the record stays: %v", back.Annotations)
	}
}

func TestAnOverrideThatFailsIsAboutItsClusterAlone(t *testing.T) {
	works, errs := overridden(t, `overrideRules: [{`+inEurope+`overriders: {plaintext: [{path: /spec/nothing, operator: remove}]}}]`, 2, 2, 2)
	var failed *OverrideError
	for _, i := range []int{0, 2} {
		if !errors.As(errs[i], &failed) || !strings.HasPrefix(errs[i].Error(), "OverridePolicy shop/p: spec.overrideRules[0].overriders.plaintext[0]: can't remove /spec/nothing") {
			t.Errorf("the error of cluster %d is %v", i, errs[i])
		}
	}
	if errs[1] != nil || works[1] == nil {
		t.Errorf("the other cluster gets %v", errs[1])
	}
}

func TestWhatOverridesMakeTooLargeIsTheFaultOfOverrides(t *testing.T) {
	var values strings.Builder
	for i := range 900 {
		fmt.Fprintf(&values, "a%d: %s,", i, strings.Repeat("x", 1300))
	}
	_, errs := overridden(t, "overriders: {annotationsOverrider: [{operator: add, value: {"+values.String()+"}}]}", 2)
	var failed *OverrideError
	if !errors.As(errs[0], &failed) || !strings.Contains(errs[0].Error(), "is too large to be propagated") {
		t.Errorf("the error is %v", errs[0])
	}
}

func TestAnOverrideMaySayForSomeClustersThatTheyTakeObjectsOver(t *testing.T) {
	works, _ := overridden(t, `overrideRules: [{`+inEurope+`overriders: {annotationsOverrider: [{operator: add, value: {work.karmada.io/conflict-resolution: overwrite}}]}}]`, 2, 2)
	for i, want := range []policyv1alpha1.ConflictResolution{policyv1alpha1.ConflictOverwrite, policyv1alpha1.ConflictAbort} {
		if works[i].Spec.ConflictResolution != want {
			t.Errorf("cluster %d: %s", i, works[i].Spec.ConflictResolution)
		}
		if raw := string(works[i].Spec.Workload.Manifests[0].Raw); strings.Contains(raw, "conflict-resolution") {
			t.Errorf("cluster %d gets what is meant for its work: %s", i, raw)
		}
	}
}

func TestFailedOverridesAreToldInFewWords(t *testing.T) {
	failures := map[string]error{}
	for i := range 9 {
		failures[fmt.Sprintf("c%d", i)] = fmt.Errorf("reason %d", max(0, i-4))
	}
	got := (&FailedOverrides{Clusters: 12, Failures: failures}).Error()
	want := "9 of 12 clusters stay as they are, because overrides can't be made: c0, c1, c2 and 2 more: reason 0; c5: reason 1; c6: reason 2; and 2 more reasons"
	if got != want {
		t.Errorf("it says\n%s, want\n%s", got, want)
	}
	long := (&FailedOverrides{Clusters: 1, Failures: map[string]error{"c": errors.New(strings.Repeat("ä", 2000))}}).Error()
	if len(long) > longReason+100 {
		t.Errorf("a long reason is told with %d bytes", len(long))
	}
}

// BenchmarkOverrides renders 1,000 clusters of two regions: with equal overrides by region it costs little more than
// without, and with a value that names the cluster every one is rendered.
func BenchmarkOverrides(b *testing.B) {
	for name, spec := range map[string]string{
		"by region":  `overrideRules: [{` + inEurope + `overriders: {plaintext: [{path: /spec/paused, operator: add, value: true}]}}]`,
		"by cluster": `overriders: {labelsOverrider: [{operator: add, value: {cluster: "${cluster.name}"}}], imageOverrider: [{component: Registry, operator: replace, value: r.example}]}`,
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				overridden(b, spec, make([]int32, 1000)...)
			}
		})
	}
}

func TestAnAnnotationForConflictsThatMeansNothingIsADoubt(t *testing.T) {
	annotated := func(value string) *unstructured.Unstructured {
		template := parseObject(t, web)
		template.SetAnnotations(map[string]string{workv1alpha1.ConflictResolutionAnnotation: value})
		return template
	}
	writes := func(value string) string {
		return `overrideRules: [{` + inEurope + `overriders: {annotationsOverrider: [{operator: add, value: {work.karmada.io/conflict-resolution: ` + value + `}}]}}]`
	}
	nothing := "overriders: {}"
	const rest = " and has no effect: it may say overwrite or abort; without it the conflictResolution of the policy holds"
	for _, test := range []struct {
		reason, template, overrides, want string
	}{
		{"nothing is said", "", nothing, ""},
		{"it is known", "Overwrite", writes("abort"), ""},
		{"the template has a slip", "overwirte", nothing, `the annotation work.karmada.io/conflict-resolution of the template says "overwirte"` + rest},
		{"an override has a slip", "abort", writes("replace"), `the annotation work.karmada.io/conflict-resolution which an override writes says "replace"` + rest},
		{"both have, and the template is everywhere", "overwirte", writes("replace"), `the annotation work.karmada.io/conflict-resolution of the template says "overwirte"` + rest},
		{"what is told has a bound", strings.Repeat("x", 50), nothing, `the annotation work.karmada.io/conflict-resolution of the template says "` + strings.Repeat("x", 40) + `…"` + rest},
	} {
		r, _, errs := rendered(t, annotated(test.template), test.overrides, 2, 2)
		if err := errors.Join(errs...); err != nil {
			t.Fatal(err)
		}
		if got := r.Doubt(); got != test.want {
			t.Errorf("%s: the doubt is %q, want %q", test.reason, got, test.want)
		}
	}
}

func TestAnOverriderThatFindsNothingToChangeInSomeClusterIsADoubt(t *testing.T) {
	misspelt := func(names ...string) string {
		var words []string
		for _, name := range names {
			words = append(words, "{containerName: "+name+", operator: add, value: [-x]}")
		}
		return `resourceSelectors: [{apiVersion: apps/v1, kind: Deployment, name: web}]
overrideRules: [{` + inEurope + `overriders: {argsOverrider: [` + strings.Join(words, ", ") + `]}}]`
	}
	idle := func(i int, name string) string {
		return fmt.Sprintf("OverridePolicy shop/p: spec.overrideRules[0].overriders.argsOverrider[%d] changes nothing: no container is called %s", i, name)
	}
	for _, test := range []struct{ reason, overrides, want string }{
		{"it is told once, though two clusters have it", misspelt("a"), idle(0, "a")},
		{"of many the first few are told", misspelt("a", "b", "c", "d", "e"), idle(0, "a") + "; " + idle(1, "b") + "; " + idle(2, "c") + "; and 2 more overriders change nothing"},
	} {
		r, _, errs := rendered(t, parseObject(t, web), test.overrides, 2, 2, 2)
		if err := errors.Join(errs...); err != nil {
			t.Fatal(err)
		}
		if got := r.Doubt(); got != test.want {
			t.Errorf("%s: the doubt is %q, want %q", test.reason, got, test.want)
		}
	}
}

const report = `
apiVersion: batch/v1
kind: Job
metadata: {name: report, namespace: shop, uid: bbbb}
spec:
  parallelism: 4
  ttlSecondsAfterFinished: 60
  template: {spec: {restartPolicy: Never, containers: [{name: report, image: "example.com/report:1"}]}}
`

func TestNoOverrideGivesAJobATimeToLive(t *testing.T) {
	told := "spec.ttlSecondsAfterFinished, which an override writes, has no effect: a Job travels without it, or a member that deletes the finished Job would be given it again, and run it again"
	for _, test := range []struct{ reason, overrides, want string }{
		{"it is added", `overriders: {plaintext: [{path: /spec/ttlSecondsAfterFinished, operator: add, value: 5}]}`, told},
		{"it is replaced", `overriders: {plaintext: [{path: /spec/ttlSecondsAfterFinished, operator: replace, value: 5}]}`, told},
		{"it is removed", `overriders: {plaintext: [{path: /spec/ttlSecondsAfterFinished, operator: remove}]}`, ""},
		{"it is added for some", `overrideRules: [{` + inEurope + `overriders: {plaintext: [{path: /spec/ttlSecondsAfterFinished, operator: add, value: 5}]}}]`, told},
		{"something else is", `overriders: {plaintext: [{path: /spec/backoffLimit, operator: add, value: 5}]}`, ""},
	} {
		r, works, errs := rendered(t, parseObject(t, report), test.overrides, 2, 2)
		if err := errors.Join(errs...); err != nil {
			t.Fatalf("%s: %v", test.reason, err)
		}
		for i, work := range works {
			if raw := string(work.Spec.Workload.Manifests[0].Raw); strings.Contains(raw, "ttlSecondsAfterFinished") {
				t.Errorf("%s: cluster %d gets %s", test.reason, i, raw)
			}
		}
		if got := r.Doubt(); got != test.want {
			t.Errorf("%s: the doubt is %q, want %q", test.reason, got, test.want)
		}
	}
}

// TestOverridesFindWhatATemplateHasOnTheHub has overrides of what is there for whoever looks at the template, and of which only
// content travels.
func TestOverridesFindWhatATemplateHasOnTheHub(t *testing.T) {
	const (
		bare = `{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: shop}, data: {a: b}}`
		held = `{apiVersion: v1, kind: ConfigMap, data: {a: b}, metadata: {name: a, namespace: shop,
  labels: {propagationpolicy.karmada.io/permanent-id: id, karmada.io/managed: "true"},
  annotations: {propagationpolicy.karmada.io/name: p, work.karmada.io/conflict-resolution: overwrite, kubectl.kubernetes.io/last-applied-configuration: "{}"}}}`
		job = `{apiVersion: batch/v1, kind: Job, metadata: {name: a, namespace: shop}, spec: {parallelism: 2, selector: {matchLabels: {controller-uid: u}},
  template: {metadata: {labels: {controller-uid: u, job-name: a}}, spec: {restartPolicy: Never}}}}`
	)
	for _, test := range []struct{ reason, template, plaintext, want string }{
		{"an annotation where there is none", bare, `{path: /metadata/annotations/x, operator: add, value: "1"}`, `{"annotations":{"x":"1"},"name":"a","namespace":"shop"}`},
		{"a label where there is none", bare, `{path: /metadata/labels/x, operator: add, value: "1"}`, `{"labels":{"x":"1"},"name":"a","namespace":"shop"}`},
		{"an annotation beside marks", held, `{path: /metadata/annotations/x, operator: add, value: "1"}`, `{"annotations":{"x":"1"},"name":"a","namespace":"shop"}`},
		{"all labels", bare, `{path: /metadata/labels, operator: replace, value: {x: "1"}}`, `{"labels":{"x":"1"},"name":"a","namespace":"shop"}`},
		{"all labels, which are marks", held, `{path: /metadata/labels, operator: replace, value: {x: "1"}}`, `{"labels":{"x":"1"},"name":"a","namespace":"shop"}`},
		{"what kubectl notes is removed", held, `{path: /metadata/annotations/kubectl.kubernetes.io~1last-applied-configuration, operator: remove}`, `{"name":"a","namespace":"shop"}`},
		{"what kubectl notes is replaced", held, `{path: /metadata/annotations/kubectl.kubernetes.io~1last-applied-configuration, operator: replace, value: "x"}`, `{"name":"a","namespace":"shop"}`},
		{"all annotations are removed", held, `{path: /metadata/annotations, operator: remove}`, `{"name":"a","namespace":"shop"}`},
		{"something else", held, `{path: /data/a, operator: replace, value: c}`, `{"name":"a","namespace":"shop"}`},
		{"something else of what has neither", bare, `{path: /data/a, operator: replace, value: c}`, `{"name":"a","namespace":"shop"}`},
		{"a label of a Job's pods, which have generated ones alone", job, `{path: /spec/template/metadata/labels/x, operator: add, value: "1"}`, `"template":{"metadata":{"labels":{"x":"1"}},"spec"`},
		{"something else of a Job", job, `{path: /spec/parallelism, operator: replace, value: 1}`, `"spec":{"parallelism":1,"template":{"spec":{"restartPolicy":"Never"}}}`},
	} {
		_, works, errs := rendered(t, parseObject(t, test.template), `overriders: {plaintext: [`+test.plaintext+`]}`, 2)
		if errs[0] != nil {
			t.Errorf("%s: %v", test.reason, errs[0])
			continue
		}
		if raw := string(works[0].Spec.Workload.Manifests[0].Raw); !strings.Contains(raw, test.want) {
			t.Errorf("%s: the manifest is %s, want in it %s", test.reason, raw, test.want)
		}
	}

	_, _, errs := rendered(t, parseObject(t, held), `overriders: {plaintext: [{path: /metadata/labels, operator: replace, value: {karmada.io/managed: "false"}}]}`, 2)
	if errs[0] == nil || !strings.Contains(errs[0].Error(), "metadata.labels[karmada.io/managed] is a mark of the hub's own") {
		t.Errorf("another value of a mark: %v", errs[0])
	}
}

func TestAnOverrideMayTakeAwayWhatTheTemplateSaysOfConflicts(t *testing.T) {
	template := parseObject(t, web)
	template.SetAnnotations(map[string]string{workv1alpha1.ConflictResolutionAnnotation: "overwrite"})
	_, works, errs := rendered(t, template, `overrideRules: [{`+inEurope+`overriders: {annotationsOverrider: [{operator: remove, value: {work.karmada.io/conflict-resolution: overwrite}}]}}]`, 2, 2)
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	for i, want := range []policyv1alpha1.ConflictResolution{policyv1alpha1.ConflictAbort, policyv1alpha1.ConflictOverwrite} {
		if got := works[i].Spec.ConflictResolution; got != want {
			t.Errorf("cluster %d: %s, want %s", i, got, want)
		}
	}
}
