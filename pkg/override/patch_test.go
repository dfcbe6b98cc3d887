package override

import (
	"errors"
	"fmt"
	"math/bits"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	clusterv1alpha1 "windlass.dev/windlass/api/cluster/v1alpha1"
	policyv1alpha1 "windlass.dev/windlass/api/policy/v1alpha1"
)

// operationsWithout are some that can be applied, but for the one at a position.
func operationsWithout(n, failing int) []operation {
	operations := make([]operation, n)
	for i := range operations {
		operations[i] = operation{policyv1alpha1.OverriderOpAdd, fmt.Sprintf("/a/k%d", i), []byte("1")}
	}
	operations[failing] = operation{policyv1alpha1.OverriderOpRemove, "/a/absent", nil}
	return operations
}

func TestTheOperationThatFailsIsFoundInFewApplicationsThatAreCounted(t *testing.T) {
	document := []byte(`{"a": {"text": "` + strings.Repeat("x", 100_000) + `"}}`)
	for _, n := range []int{1, 2, 3, 7, 991} {
		for _, failing := range []int{0, n / 3, n / 2, n - 1} {
			a := applicationOn(nil)
			_, failed, err := a.patch(document, operationsWithout(n, failing))
			if err == nil || failed != failing || err.Error() != "can't remove /a/absent: there is nothing at this path" {
				t.Errorf("of %d operations number %d was to fail: %d: %v", n, failing, failed, err)
			}
			applications := a.cost / (2 * len(document))
			// It is read once more to see what is in the way.
			if applications < min(n, 2) || applications > 2+bits.Len(uint(n)) {
				t.Errorf("of %d operations number %d fails, for which the document is patched %d times", n, failing, applications)
			}
		}
	}
}

func TestANameThatLooksLikeAPlaceInAListIsOneInAnObject(t *testing.T) {
	operations := []operation{
		{policyv1alpha1.OverriderOpAdd, "/00", []byte(`{"01": []}`)},
		{policyv1alpha1.OverriderOpAdd, "/00/01/-", []byte("1")},
		{policyv1alpha1.OverriderOpReplace, "/00/01/0", []byte("2")},
	}
	got, _, err := applicationOn(nil).patch([]byte("{}"), operations)
	if want := `{"00":{"01":[2]}}`; err != nil || string(got) != want {
		t.Errorf("it is %s (%v), want %s", got, err, want)
	}
}

func TestTheSearchForTheOperationThatFailsEndsAtTheBound(t *testing.T) {
	document := []byte(`{"a": {"text": "` + strings.Repeat("x", 100_000) + `"}}`)
	a := &application{cost: maxCost - 5*len(document), shared: newShared()}
	if _, _, err := a.patch(document, operationsWithout(100, 99)); err == nil || err.Error() != errTooMuch.Error() {
		t.Error(err)
	}
	if a.cost > maxCost+2*len(document) {
		t.Errorf("it went on to %d", a.cost)
	}
}

func applicationOn(object map[string]any) *application {
	return &application{object: object, shared: newShared()}
}

func configMap(document string) map[string]any {
	return map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": "c", "namespace": "shop"}, "data": map[string]any{"d": document}}
}

// change is an overrider for the document.
func change(asYAML bool, operator policyv1alpha1.OverriderOperator, pointer, value string) policyv1alpha1.FieldOverrider {
	o := policyv1alpha1.FieldOverrider{FieldPath: "/data/d"}
	if asYAML {
		o.YAML = []policyv1alpha1.YAMLPatchOperation{{SubPath: pointer, Operator: operator}}
		o.YAML[0].Value.Raw = []byte(value)
	} else {
		o.JSON = []policyv1alpha1.JSONPatchOperation{{SubPath: pointer, Operator: operator}}
		o.JSON[0].Value.Raw = []byte(value)
	}
	return o
}

// firstFailure applies overriders as those of a rule.
func (a *application) firstFailure(o *policyv1alpha1.Overriders) *Error {
	a.rule, a.failed = &rule{policy: &Policy{}}, nil
	if a.apply(o); len(a.failed) > 0 {
		return a.failed[0]
	}
	return nil
}

func TestADocumentIsReadOnceForTheChangesOfARule(t *testing.T) {
	for _, asYAML := range []bool{true, false} {
		cost := func(changes int) int {
			a := applicationOn(configMap(`{"a": "` + strings.Repeat("x", 100_000) + `"}`))
			var o policyv1alpha1.Overriders
			for i := range changes {
				o.FieldOverrider = append(o.FieldOverrider, change(asYAML, policyv1alpha1.OverriderOpAdd, fmt.Sprintf("/k%d", i), "1"))
			}
			if err := a.firstFailure(&o); err != nil {
				t.Fatal(err)
			}
			return a.cost
		}
		if one, ten := cost(1), cost(10); ten > one+one/100 {
			t.Errorf("YAML %v: ten changes cost %d, and one %d", asYAML, ten, one)
		}
	}
}

func TestChangesOfADocumentDoTogetherWhatTheyDoOneByOne(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	pick := func(from ...string) string { return from[random.IntN(len(from))] }
	failures := 0
	for range 2000 {
		start := pick("", " ", "null", "a: 1", `{"z": 1, "a": {"b": [1, 2.5, 1e3]}}`, `{"a": ["yes", "1", null, true]}`)
		var o policyv1alpha1.Overriders
		for range 1 + random.IntN(5) {
			operator := policyv1alpha1.OverriderOperator(pick("add", "add", "replace", "remove"))
			o.FieldOverrider = append(o.FieldOverrider, change(random.IntN(3) > 0, operator, pick("/a", "/a/b", "/a/b/-", "/a/0", "/z", "/n"),
				pick("1", `"yes"`, "null", "[]", `{"b": [3]}`, "1e3", "12345678901234567890", "1.50", `"2026-01-01"`)))
		}
		together, apart := applicationOn(configMap(start)), applicationOn(configMap(start))
		err := together.firstFailure(&o)
		var want *Error
		for i := range o.FieldOverrider {
			if want = apart.firstFailure(&policyv1alpha1.Overriders{FieldOverrider: o.FieldOverrider[i : i+1]}); want != nil {
				want.Path = strings.Replace(want.Path, "[0]", fmt.Sprintf("[%d]", i), 1)
				break
			}
		}
		if (err == nil) != (want == nil) || err != nil && err.Error() != want.Error() {
			t.Fatalf("%q with %+v: the error is %v, and one by one %v", start, o.FieldOverrider, err, want)
		}
		if err != nil {
			failures++
			continue
		}
		if diff := cmp.Diff(apart.object, together.object); diff != "" {
			t.Fatalf("%q with %+v (-one by one +together):\n%s", start, o.FieldOverrider, diff)
		}
	}
	if failures < 100 || failures > 1900 {
		t.Errorf("of 2000 attempts %d fail, which proves little", failures)
	}
}

func TestWhatIsDoneManyTimesIsCounted(t *testing.T) {
	// A sixteenth of the bound is left, and everything is done a sixteenth as often as would reach all of it: with the race
	// detector that takes seconds, and not a minute.
	const part = 16
	containers := make([]any, 5000)
	for i := range containers {
		containers[i] = map[string]any{"name": "web", "image": "registry.example.com/library/nginx:1", "args": []any{"a"}}
	}
	labels := map[string]any{}
	for i := range 5000 {
		labels[fmt.Sprintf("k%d", i)] = "v"
	}
	numbers := `{"a": [` + strings.Repeat("1,", 100_000) + `1]}`
	var image, words, insert policyv1alpha1.Overriders
	for i := range 1000 / part {
		image.ImageOverrider = append(image.ImageOverrider, policyv1alpha1.ImageOverrider{Component: policyv1alpha1.ImageTag, Operator: policyv1alpha1.OverriderOpReplace, Value: fmt.Sprintf("v%d", i)})
		insert.FieldOverrider = append(insert.FieldOverrider, change(false, policyv1alpha1.OverriderOpAdd, "/a/0", "1"))
	}
	insert.FieldOverrider = slices.Repeat(insert.FieldOverrider, 4)
	words.ArgsOverrider = []policyv1alpha1.CommandArgsOverrider{{ContainerName: "web", Operator: policyv1alpha1.OverriderOpAdd, Value: make([]string, 5000/part)}}
	long := policyv1alpha1.Overriders{AnnotationsOverrider: []policyv1alpha1.LabelAnnotationOverrider{{Operator: policyv1alpha1.OverriderOpAdd, Value: map[string]string{"a": strings.Repeat("${cluster.name}", 10_000)}}}}
	for _, test := range []struct {
		reason     string
		overriders policyv1alpha1.Overriders
		rules      int
	}{
		{"the images of many containers", image, 1},
		{"what references become", long, 100 / part},
		{"words for many containers of one name", words, 1},
		{"what is put in front of a long list", insert, 1},
		{"the labels that are looked through after every rule", policyv1alpha1.Overriders{}, 5000 / part},
		{"the object that is read and written for every rule", policyv1alpha1.Overriders{Plaintext: []policyv1alpha1.PlaintextOverrider{{Path: "/spec/x", Operator: policyv1alpha1.OverriderOpAdd}}}, 64 / part},
	} {
		object := configMap(numbers)
		object["kind"], object["spec"] = "Pod", map[string]any{"containers": containers}
		object["metadata"].(map[string]any)["labels"] = labels
		choice := Choice{values: map[string]string{policyv1alpha1.ClusterNameReference: strings.Repeat("n", 250)}}
		for range test.rules {
			choice.rules = append(choice.rules, &rule{policy: &Policy{}, overriders: &test.overriders})
		}
		a := choice.application(&unstructured.Unstructured{Object: object})
		a.cost = maxCost - maxCost/part
		_, _, err := a.follow(choice.rules)
		if _, once := err.(*Error); !once || !errors.Is(err, errTooMuch) {
			t.Errorf("%s: %v", test.reason, err)
		}
	}
}

func TestAChangeDeepInALargeDocumentIsCountedByItsDepth(t *testing.T) {
	for _, test := range []struct {
		depth   int
		allowed bool
	}{{1, true}, {50, true}, {1000, false}} { // the last would take a quarter of a minute
		document := strings.Repeat(`{"a":`, test.depth) + `"` + strings.Repeat("x", 900_000) + `"` + strings.Repeat("}", test.depth)
		for _, asYAML := range []bool{true, false} {
			a := applicationOn(configMap(document))
			err := a.firstFailure(&policyv1alpha1.Overriders{FieldOverrider: []policyv1alpha1.FieldOverrider{
				change(asYAML, policyv1alpha1.OverriderOpAdd, strings.Repeat("/a", test.depth-1)+"/b", "1")}})
			if tooMuch := err != nil && errors.Is(err.Err, errTooMuch); tooMuch == test.allowed {
				t.Errorf("yaml %t, depth %d: %v", asYAML, test.depth, err)
			}
		}
	}
}

func TestADocumentIsReadOnceForAllClusters(t *testing.T) {
	text := "a: {b: 1}\nc: [" + strings.Repeat("1, ", 10_000) + "1]\n"
	o := &policyv1alpha1.Overriders{FieldOverrider: []policyv1alpha1.FieldOverrider{
		change(true, policyv1alpha1.OverriderOpAdd, "/name", `"${cluster.name}"`)}}
	common := newShared()
	costs := map[string]int{}
	for _, cluster := range []string{"east", "west"} {
		values := map[string]string{policyv1alpha1.ClusterNameReference: cluster}
		together := &application{object: configMap(text), values: values, shared: common}
		alone := applicationOn(configMap(text))
		alone.values = values
		if err := errors.Join(asError(together.firstFailure(o)), asError(alone.firstFailure(o))); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(alone.object, together.object); diff != "" {
			t.Errorf("%s (-alone +together):\n%s", cluster, diff)
		}
		costs[cluster] = together.cost
	}
	if saved := (costOfReadingYAML - 1) * len(text); costs["east"]-costs["west"] != saved {
		t.Errorf("the first costs %d and the second %d, want %d less", costs["east"], costs["west"], saved)
	}
	if common.cost != costs["east"]+costs["west"] {
		t.Errorf("together they cost %d", common.cost)
	}
}

func TestDocumentsThatAreSharedAreBounded(t *testing.T) {
	common := newShared()
	for i := range 10 {
		a := &application{shared: common}
		if _, err := a.document(yamlFormat, fmt.Sprintf("a%d: %q\n", i, strings.Repeat("x", maxDocument/2))); err != nil {
			t.Fatal(err)
		}
	}
	if common.size > maxShared || len(common.read) == 0 || len(common.read) == 10 {
		t.Errorf("%d documents of %d bytes are kept", len(common.read), common.size)
	}
}

func TestWhatIsTooMuchForAllClustersTogetherIsRefused(t *testing.T) {
	o := policyv1alpha1.Overriders{AnnotationsOverrider: []policyv1alpha1.LabelAnnotationOverrider{{
		Operator: policyv1alpha1.OverriderOpAdd, Value: map[string]string{"region": "${cluster.name}"}}}}
	set := &Set{shared: newShared(), rules: []*rule{{policy: &Policy{}, anywhere: true, overriders: &o, references: []referral{{name: policyv1alpha1.ClusterNameReference}}}}}
	apply := func(name string) error {
		choice, err := set.For(&clusterv1alpha1.MemberCluster{ObjectMeta: metav1.ObjectMeta{Name: name}})
		if err != nil {
			t.Fatal(err)
		}
		_, _, err = choice.Apply(&unstructured.Unstructured{Object: configMap("")})
		return err
	}
	if err := apply("c1"); err != nil {
		t.Fatal(err)
	}
	set.shared.cost = maxCostInAll
	if err := apply("c2"); !errors.Is(err, errTooMuchInAll) {
		t.Errorf("what is beyond the bound: %v", err)
	}
}

func asError(err *Error) error {
	if err == nil {
		return nil
	}
	return err
}

func TestADocumentWithNothingInItIsNotASecondOne(t *testing.T) {
	for _, test := range []struct{ reason, text, want string }{
		{"one document", "a: 1\n", `{"a":1}`},
		{"a line at the end", "a: 1\n---\n", `{"a":1}`},
		{"without a line break after it", "a: 1\n---", `{"a":1}`},
		{"lines around it, and a comment after them", "---\na: 1\n---\n---\n# the end\n", `{"a":1}`},
		{"nothing", "", `{}`},
		{"nothing but lines", "---\n---\n", `{}`},
	} {
		got, err := readYAML([]byte(test.text))
		if err != nil || string(got) != test.want {
			t.Errorf("%s: %q is read as %s, %v, want %s", test.reason, test.text, got, err, test.want)
		}
	}
}
