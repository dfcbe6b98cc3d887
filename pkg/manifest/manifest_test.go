package manifest

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"
)

func parse(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	raw, err := yaml.YAMLToJSON([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	object := &unstructured.Unstructured{}
	if err := object.UnmarshalJSON(raw); err != nil {
		t.Fatal(err)
	}
	return object
}

func TestParseNamesWhatIsWrong(t *testing.T) {
	for _, c := range []struct{ reason, raw, want string }{
		{"no JSON", `{`, "is not an object in JSON"},
		{"a list", `{"apiVersion":"v1","kind":"ConfigMapList","items":[]}`, "is a list"},
		{"no kind", `{"apiVersion":"v1","metadata":{"name":"a"}}`, "ind"},
		{"no version", `{"kind":"ConfigMap","metadata":{"name":"a"}}`, "apiVersion"},
		{"an empty group", `{"apiVersion":"/v1","kind":"ConfigMap","metadata":{"name":"a"}}`, "empty group"},
		{"two slashes", `{"apiVersion":"a/b/c","kind":"ConfigMap","metadata":{"name":"a"}}`, "apiVersion"},
		{"no name", `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"generateName":"a-"}}`, "metadata.name"},
	} {
		if _, err := Parse([]byte(c.raw)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got error %v, want one with %q in it", c.reason, err, c.want)
		}
	}
	object, err := Parse([]byte(`{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"web","namespace":"shop"}}`))
	if err != nil {
		t.Fatal(err)
	}
	if got := IDOf(object).String(); got != "Deployment.apps shop/web" {
		t.Errorf("the ID is written %q", got)
	}
}

func TestOrder(t *testing.T) {
	kinds := []string{
		"admissionregistration.k8s.io/v1 ValidatingWebhookConfiguration", "example.com/v1 Gadget", "apps/v1 Deployment", "v1 Service",
		"v1 ConfigMap", "rbac.authorization.k8s.io/v1 RoleBinding", "rbac.authorization.k8s.io/v1 Role", "v1 ResourceQuota",
		"apiextensions.k8s.io/v1 CustomResourceDefinition", "v1 Namespace",
	}
	var objects []*unstructured.Unstructured
	var removal []Object
	for _, kind := range kinds {
		version, kind, _ := strings.Cut(kind, " ")
		o := &unstructured.Unstructured{Object: map[string]any{"apiVersion": version, "kind": kind}}
		objects = append(objects, o)
		removal = append(removal, ObjectOf(o))
	}
	Sort(objects)
	var got []string
	for _, o := range objects {
		got = append(got, o.GetKind())
	}
	want := []string{
		"Namespace", "CustomResourceDefinition", "ResourceQuota", "Role", "RoleBinding", "ConfigMap", "Service", "Deployment", "Gadget",
		"ValidatingWebhookConfiguration",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("order of applying (-want +got):\n%s", diff)
	}
	SortForRemoval(removal)
	for i, o := range removal {
		if o.Kind != want[len(want)-1-i] {
			t.Errorf("the removal's place %d is %s, want %s", i, o.Kind, want[len(want)-1-i])
		}
	}
}

func TestMissingAndUnion(t *testing.T) {
	a, b, c := Object{ID: ID{Kind: "A", Name: "a"}, Version: "v1"}, Object{ID: ID{Kind: "B", Name: "b"}}, Object{ID: ID{Kind: "C", Name: "c"}}
	newA := a
	newA.Version = "v2"
	if got := Missing([]Object{a, b, b, c}, []Object{newA, c}); !cmp.Equal(got, []Object{b}) {
		t.Errorf("Missing: got %v, want b once: another version is the same object", got)
	}
	if got := Union([]Object{newA, b}, []Object{a, c}); !cmp.Equal(got, []Object{newA, b, c}) {
		t.Errorf("Union: got %v", got)
	}
}

func TestHashDoesNotDependOnTheOrderOfKeys(t *testing.T) {
	a := parse(t, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {x: '1', y: '2'}")
	b := parse(t, "data: {y: '2', x: '1'}\nkind: ConfigMap\nmetadata: {name: a}\napiVersion: v1")
	c := parse(t, "data: {y: '2', x: '2'}\nkind: ConfigMap\nmetadata: {name: a}\napiVersion: v1")
	hashes := map[string]bool{}
	for _, o := range []*unstructured.Unstructured{a, b, c} {
		hash, err := Hash(o.Object)
		if err != nil {
			t.Fatal(err)
		}
		hashes[hash] = true
	}
	if len(hashes) != 2 {
		t.Errorf("three objects, two of them equal, have %d hashes", len(hashes))
	}
}

const deployment = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop, labels: {app: web}}
spec:
  replicas: 3
  paused: false
  template:
    metadata: {annotations: {}}
    spec:
      finalizers: [a]
      containers:
      - name: web
        image: web:1
        command: [run, it]
        resources: {requests: {cpu: "0.5", memory: 1024Mi}}
        env: [{name: A, value: "1"}]
        ports: [{containerPort: 80}]
`

const liveDeployment = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop, uid: u, labels: {app: web, added: by-controller}}
spec:
  replicas: 3
  progressDeadlineSeconds: 600
  template:
    spec:
      finalizers: [b, a]
      restartPolicy: Always
      containers:
      - name: injected
        image: proxy
      - name: web
        image: web:1
        imagePullPolicy: IfNotPresent
        command: [run, it]
        resources: {requests: {cpu: 500m, memory: 1Gi}}
        env: [{name: B, value: x}, {name: A, value: "1"}]
        ports: [{containerPort: 80, protocol: TCP}]
status: {replicas: 3}
`

func TestDriftIsADifferenceInWhatTheManifestNames(t *testing.T) {
	desired, live := parse(t, deployment), parse(t, liveDeployment)
	if found := Differences(desired, live); len(found) != 0 {
		t.Errorf("defaults, other notations and additions of controllers are taken for drift: %v", found)
	}
	mark := FingerprintOf(desired, live)
	for _, c := range []struct {
		reason, old, new, path string
		same                   bool
	}{
		{"replicas changed", "replicas: 3\n  progress", "replicas: 4\n  progress", "spec.replicas", false},
		{"an image changed", "image: web:1", "image: web:2", "spec.template.spec.containers[name=web].image", false},
		{"a command's word changed", "[run, it]", "[run, that]", "spec.template.spec.containers[name=web].command[1]", false},
		{"a command's word added", "[run, it]", "[run, it, now]", "spec.template.spec.containers[name=web].command", false},
		{"a container taken away", "- name: web\n", "- name: other\n", "spec.template.spec.containers[name=web]", false},
		{"a label changed", "app: web, added", "app: other, added", "metadata.labels.app", false},
		{"a variable changed", `{name: A, value: "1"}`, `{name: A, value: "1.0"}`, "spec.template.spec.containers[name=web].env[name=A].value", false},
		{"a request changed", "cpu: 500m", "cpu: 501m", "spec.template.spec.containers[name=web].resources.requests.cpu", false},
		{"a finalizer taken away", "[b, a]", "[b]", "spec.template.spec.finalizers", false},
		{"a status changed", "status: {replicas: 3}", "status: {replicas: 2}", "", true},
		{"a default changed", "IfNotPresent", "Always", "", true},
		{"what a controller added changed", "image: proxy", "image: proxy2", "", true},
	} {
		text := strings.Replace(liveDeployment, c.old, c.new, 1)
		if text == liveDeployment {
			t.Fatalf("%s: nothing was changed", c.reason)
		}
		changed := parse(t, text)
		if same := FingerprintOf(desired, changed) == mark; same != c.same {
			t.Errorf("%s: the fingerprint being the same is %v", c.reason, same)
		}
		found := Differences(desired, changed)
		switch {
		case c.same && len(found) != 0:
			t.Errorf("%s: found %v", c.reason, found)
		case !c.same && (len(found) != 1 || found[0].Path != c.path):
			t.Errorf("%s: found %v, want %s", c.reason, found, c.path)
		}
	}
}

func TestAListOfAKindThatIsNotBuiltInIsOneValue(t *testing.T) {
	desired := parse(t, "apiVersion: example.com/v1\nkind: Gadget\nmetadata: {name: g}\nspec: {env: [{name: a}]}")
	live := parse(t, "apiVersion: example.com/v1\nkind: Gadget\nmetadata: {name: g}\nspec: {env: [{name: a}, {name: b}]}")
	if found := Differences(desired, live); len(found) != 1 {
		t.Errorf("an added element is not drift: %v", found)
	}
}

// randomValue makes JSON as objects have it.
func randomValue(random *rand.Rand, depth int) any {
	switch kind := random.IntN(7); {
	case kind < 2 && depth > 0:
		m := map[string]any{}
		for range random.IntN(4) {
			m[[]string{"env", "ports", "name", "a", "finalizers", "requests"}[random.IntN(6)]] = randomValue(random, depth-1)
		}
		return m
	case kind < 4 && depth > 0:
		list := []any{}
		for range random.IntN(3) {
			list = append(list, randomValue(random, depth-1))
		}
		return list
	case kind == 4:
		return int64(random.IntN(3))
	case kind == 5:
		return random.IntN(2) == 0
	}
	return []string{"", "x", "1", "500m"}[random.IntN(4)]
}

func TestComparingRandomObjects(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	object := func() *unstructured.Unstructured {
		return &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "X", "spec": randomValue(random, 4)}}
	}
	for range 5000 {
		a, b := object(), object()
		raw, _ := json.Marshal(a.Object)
		if found := Differences(a, a); len(found) != 0 && len(MergeDuplicates(a.DeepCopy(), nil)) == 0 {
			t.Fatalf("%s differs from itself: %v", raw, found)
		}
		if FingerprintOf(a, a) != FingerprintOf(a, a.DeepCopy()) {
			t.Fatalf("%s: the fingerprint is not the same twice", raw)
		}
		Differences(a, b)
		FingerprintOf(a, b)
		once := a.DeepCopy()
		MergeDuplicates(once, nil)
		if again := MergeDuplicates(once.DeepCopy(), nil); len(again) != 0 {
			t.Fatalf("%s: merging twice finds more: %v", raw, again)
		}
	}
}

func TestMergeDuplicatesKeepsTheLast(t *testing.T) {
	for _, c := range []struct{ reason, in, out, merged string }{
		{
			"an environment variable", "spec: {containers: [{name: c, env: [{name: A, value: '1'}, {name: B}, {name: A, value: '2'}]}]}",
			"spec: {containers: [{name: c, env: [{name: B}, {name: A, value: '2'}]}]}", "spec.containers[0].env[name=A]",
		},
		{
			"ports with and without protocol", "spec: {containers: [{name: c, ports: [{containerPort: 1}, {containerPort: 1, protocol: UDP}, {containerPort: 1, protocol: TCP}]}]}",
			"spec: {containers: [{name: c, ports: [{containerPort: 1, protocol: UDP}, {containerPort: 1, protocol: TCP}]}]}", "spec.containers[0].ports[containerPort=1,protocol=TCP]",
		},
		{"a list without keys", "spec: {tolerations: [{key: a}, {key: a}]}", "spec: {tolerations: [{key: a}, {key: a}]}", ""},
		{"elements without the key", "spec: {volumes: [{x: a}, {x: a}]}", "spec: {volumes: [{x: a}, {x: a}]}", ""},
	} {
		head := "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\n"
		object := parse(t, head+c.in)
		merged := strings.Join(MergeDuplicates(object, nil), " ")
		if merged != c.merged {
			t.Errorf("%s: merged %q, want %q", c.reason, merged, c.merged)
		}
		if diff := cmp.Diff(parse(t, head+c.out).Object, object.Object); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.reason, diff)
		}
	}
	policy := parse(t, "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: p}\nspec: {egress: [{ports: [{port: 1, endPort: 3}, {port: 1, endPort: 5}]}]}")
	if merged := MergeDuplicates(policy, nil); len(merged) != 0 {
		t.Errorf("ports of a NetworkPolicy have no keys, but %v was merged", merged)
	}
}

func TestListsOfCustomResourcesHaveNoKeysThatAreKnownWhateverTheirGroupIsCalled(t *testing.T) {
	application := parse(t, "apiVersion: sparkoperator.k8s.io/v1beta2\nkind: SparkApplication\nmetadata: {name: p}\nspec: {driver: {secrets: [{name: creds, path: /a}, {name: creds, path: /b}]}}")
	if merged := MergeDuplicates(application, nil); len(merged) != 0 {
		t.Errorf("%v was merged", merged)
	}
}

const openAPI = `{"components":{"schemas":{
  "io.k8s.Gadget":{"properties":{
     "apiVersion":{"type":"string"},"kind":{"type":"string"},"metadata":{"allOf":[{"$ref":"#/components/schemas/Meta"}]},
     "spec":{"description":"x","allOf":[{"$ref":"#/components/schemas/Spec"}]}},
   "x-kubernetes-group-version-kind":[{"group":"example.com","version":"v1","kind":"Gadget"}]},
  "Meta":{"properties":{"name":{"type":"string"}}},
  "Spec":{"properties":{
     "size":{"type":"integer"},
     "labels":{"additionalProperties":{"type":"string"}},
     "open":{"x-kubernetes-preserve-unknown-fields":true,"properties":{"a":{"type":"string"}}},
     "any":{"type":"object"},
     "free":{"additionalProperties":true,"properties":{"a":{"type":"string"}}},
     "children":{"items":{"$ref":"#/components/schemas/Spec"},"x-kubernetes-list-map-keys":["size"]}}}
}}}`

func TestFieldsThatTheMemberDoesNotKnowAreDropped(t *testing.T) {
	kind := schema.GroupVersionKind{Group: "example.com", Version: "v1", Kind: "Gadget"}
	known, err := ParseSchema([]byte(openAPI), kind)
	if err != nil || known == nil {
		t.Fatal(known, err)
	}
	object := parse(t, `
apiVersion: example.com/v1
kind: Gadget
metadata: {name: g, labels: {a: b}}
top: 1
spec:
  size: 1
  colour: red
  labels: {anything: goes}
  open: {a: x, b: y}
  any: {a: x}
  free: {b: y}
  children: [{size: 2, shape: round, children: [{weight: 3}]}]
`)
	want := []string{"spec.children[0].children[0].weight", "spec.children[0].shape", "spec.colour", "top"}
	if diff := cmp.Diff(want, DropUnknown(object, known)); diff != "" {
		t.Errorf("dropped (-want +got):\n%s", diff)
	}
	if again := DropUnknown(object, known); len(again) != 0 {
		t.Errorf("a second time drops %v", again)
	}
	if text := string(must(json.Marshal(object.Object["spec"]))); strings.Contains(text, "colour") || !strings.Contains(text, "anything") {
		t.Errorf("the spec is %s", text)
	}
	double := parse(t, "apiVersion: example.com/v1\nkind: Gadget\nmetadata: {name: g}\nspec: {children: [{size: 1}, {size: 1, any: {}}]}")
	if merged := MergeDuplicates(double, known); len(merged) != 1 {
		t.Errorf("by the schema's keys %v was merged, want one", merged)
	}
	if other, err := ParseSchema([]byte(openAPI), schema.GroupVersionKind{Kind: "Other"}); other != nil || err != nil {
		t.Errorf("of a kind that is not there: got %v and %v", other, err)
	}
	if _, err := ParseSchema([]byte("no JSON"), kind); err == nil {
		t.Error("a broken document is read without an error")
	}
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

func TestOwnership(t *testing.T) {
	object := parse(t, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, labels: {mine: x}}")
	if owner := OwnerOf(object, "hub", "karmada-es-m1"); owner.Ownership != Unmanaged {
		t.Errorf("without marks it is %v", owner)
	}
	Mark(object, "hub", WorkRef{Namespace: "karmada-es-m1", Name: "w"})
	if owner := OwnerOf(object, "hub", "karmada-es-m1"); owner.Ownership != Ours || owner.Work.Name != "w" || object.GetLabels()["mine"] != "x" {
		t.Errorf("with our marks it is %v", owner)
	}
	if owner := OwnerOf(object, "hub", "karmada-es-m2"); owner.Ownership != OtherCluster || owner.Work.Namespace != "karmada-es-m1" {
		t.Errorf("to the same hub's agent of another cluster it is %v", owner)
	}
	if owner := OwnerOf(object, "other", "karmada-es-m1"); owner.Ownership != OtherHub || owner.HubID != "hub" {
		t.Errorf("to another hub it is %v", owner)
	}
	shared := parse(t, "apiVersion: v1\nkind: Namespace\nmetadata: {name: a}")
	Mark(shared, "hub", WorkRef{})
	if owner := OwnerOf(shared, "hub", "karmada-es-m1"); owner.Ownership != Ours {
		t.Errorf("what was made for several works is %v", owner)
	}
}

func entry(manager, operation, subresource, fields string) metav1.ManagedFieldsEntry {
	return metav1.ManagedFieldsEntry{
		Manager: manager, Operation: metav1.ManagedFieldsOperationType(operation), Subresource: subresource,
		APIVersion: "v1", FieldsType: "FieldsV1", FieldsV1: metav1.NewFieldsV1(fields),
	}
}

func TestWhatPeopleAddedIsTakenBack(t *testing.T) {
	const ours, theirs = `{"f:data":{"f:a":{}}}`, `{"f:data":{"f:b":{}},"f:spec":{"f:replicas":{}}}`
	for _, c := range []struct {
		reason  string
		entries []metav1.ManagedFieldsEntry
		except  [][]string
		want    string // the fields of our entry afterwards; "" when nothing is to be done
		left    string // those that are the member's
	}{
		{"nothing by hand", []metav1.ManagedFieldsEntry{entry("windlass", "Apply", "", ours), entry("controller", "Update", "", theirs)}, nil, "", ""},
		{"a scale by hand", []metav1.ManagedFieldsEntry{entry("windlass", "Apply", "", ours), entry("kubectl", "Update", "scale", theirs)}, nil, "", ""},
		{"an edit", []metav1.ManagedFieldsEntry{entry("windlass", "Apply", "", ours), entry("kubectl-edit", "Update", "", theirs)}, nil,
			`{"f:data":{"f:a":{},"f:b":{}},"f:spec":{"f:replicas":{}}}`, ""},
		{"an apply by hand", []metav1.ManagedFieldsEntry{entry("kubectl", "Apply", "", theirs), entry("windlass", "Apply", "", ours)}, nil,
			`{"f:data":{"f:a":{},"f:b":{}},"f:spec":{"f:replicas":{}}}`, ""},
		{"an edit of what is left to the member", []metav1.ManagedFieldsEntry{entry("windlass", "Apply", "", ours), entry("kubectl-edit", "Update", "", theirs)},
			[][]string{{"spec", "replicas"}}, `{"f:data":{"f:a":{},"f:b":{}}}`, `{"f:spec":{"f:replicas":{}}}`},
		{"an edit of something else later", []metav1.ManagedFieldsEntry{
			entry("windlass", "Apply", "", ours), entry(leftTo("windlass"), "Update", "", `{"f:spec":{"f:replicas":{}}}`), entry("kubectl-edit", "Update", "", `{"f:data":{"f:b":{}}}`)},
			[][]string{{"spec", "replicas"}}, `{"f:data":{"f:a":{},"f:b":{}}}`, `{"f:spec":{"f:replicas":{}}}`},
		{"an object that we have not applied yet", []metav1.ManagedFieldsEntry{entry("kubectl-create", "Update", "", theirs)}, nil, theirs, ""},
	} {
		live := &unstructured.Unstructured{Object: map[string]any{}}
		live.SetManagedFields(c.entries)
		if edited := EditedByHand(live); edited != (c.want != "") {
			t.Errorf("%s: that it was edited by hand is %v", c.reason, edited)
		}
		got, needed, err := TakeBack(c.entries, "windlass", c.except)
		if err != nil {
			t.Fatal(c.reason, err)
		}
		if needed != (c.want != "") {
			t.Errorf("%s: needed is %v", c.reason, needed)
			continue
		}
		if !needed {
			continue
		}
		if slices.ContainsFunc(got, isHand) {
			t.Errorf("%s: a hand's entry is left: %v", c.reason, got)
		}
		left := ""
		for _, e := range got {
			if e.Manager == "windlass" && e.Operation == "Apply" && string(e.FieldsV1.GetRawBytes()) != c.want {
				t.Errorf("%s: our fields are %s, want %s", c.reason, e.FieldsV1.GetRawBytes(), c.want)
			}
			if isLeft(e, "windlass") {
				left += string(e.FieldsV1.GetRawBytes())
			}
		}
		if left != c.left {
			t.Errorf("%s: left to the member is %q, want %q", c.reason, left, c.left)
		}
	}
	if _, _, err := TakeBack([]metav1.ManagedFieldsEntry{entry("kubectl", "Update", "", "{")}, "windlass", nil); err == nil {
		t.Error("broken fields are taken back without an error")
	}
}

func TestTheIdentityOfAManifestIsWhatParsingItGives(t *testing.T) {
	for _, c := range []struct{ reason, raw string }{
		{"of a group", `{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"web","namespace":"shop"},"spec":{"replicas":2}}`},
		{"of no group", `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"settings"},"data":{"kind":"other"}}`},
		{"in other letters", `{"APIVersion":"v1","Kind":"ConfigMap","Metadata":{"Name":"settings"}}`},
		{"in other letters, too", `{"apiVersion":"v1","kind":"ConfigMap","Kind":"Secret","metadata":{"name":"settings","Name":"other"}}`},
		{"a list", `{"apiVersion":"v1","kind":"List","metadata":{"name":"all"},"items":[]}`},
		{"an object with a field called items", `{"apiVersion":"v1","kind":"Menu","metadata":{"name":"lunch"},"items":"soup"}`},
		{"no group before the slash", `{"apiVersion":"/v1","kind":"ConfigMap","metadata":{"name":"settings"}}`},
		{"too many slashes", `{"apiVersion":"a/b/v1","kind":"ConfigMap","metadata":{"name":"settings"}}`},
		{"no version", `{"kind":"ConfigMap","metadata":{"name":"settings"}}`},
		{"no kind", `{"apiVersion":"v1","metadata":{"name":"settings"}}`},
		{"no name", `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"generateName":"settings-"}}`},
		{"a name that is a number", `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":7}}`},
		{"a namespace that is a number", `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"settings","namespace":7}}`},
		{"metadata of another form", `{"apiVersion":"v1","kind":"ConfigMap","metadata":[]}`},
		{"cut off", `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"settings"},"data":{`},
		{"no object", `[]`},
		{"nothing", ``},
	} {
		want := []Object{}
		if parsed, err := Parse([]byte(c.raw)); err == nil {
			want = append(want, ObjectOf(parsed))
		}
		if diff := cmp.Diff(want, Objects([][]byte{[]byte(c.raw)})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.reason, diff)
		}
	}
}

func TestTheRestOfAManifestIsNotDecodedForItsIdentity(t *testing.T) {
	data := map[string]string{}
	for i := range 100 {
		data[fmt.Sprint("key-", i)] = "value"
	}
	raw, err := json.Marshal(map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": "settings", "labels": data}, "data": data})
	if err != nil {
		t.Fatal(err)
	}
	if allocations := testing.AllocsPerRun(10, func() { Objects([][]byte{raw}) }); allocations > 50 {
		t.Errorf("%v allocations", allocations)
	}
}
