package override_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	clusterv1alpha1 "windlass.dev/windlass/api/cluster/v1alpha1"
	policyv1alpha1 "windlass.dev/windlass/api/policy/v1alpha1"
	workv1alpha1 "windlass.dev/windlass/api/work/v1alpha1"
	"windlass.dev/windlass/pkg/override"
	"windlass.dev/windlass/pkg/policy"
)

const web = `
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
  namespace: shop
  labels: {app: web, tier: front}
spec:
  replicas: 3
  template:
    spec:
      initContainers:
      - {name: migrate, image: library/migrate}
      containers:
      - {name: web, image: "nginx:1.27", command: [nginx], args: [-g, daemon off;, -v]}
      - {name: proxy, image: "registry.example.com:5000/mesh/proxy:v2"}
`

const settings = `
apiVersion: v1
kind: ConfigMap
metadata: {name: settings, namespace: shop}
data:
  plain.yaml: "verbose: no\nmode: 0644\nversion: 1.10\nid: 12345678901234567890123\nratio: 0.12345678901234567890123\nlarge: 1234567890123456789\nwhole: 1e3\nquoted: {verbose: 'no', mode: \"0644\", version: '1.10'}\n"
  config.yaml: |
    # lost
    server: {port: 8080, hosts: [a, b]}
    level: info
  config.json: '{"z": 1, "a": {"b": "<x>"}}'
  empty: ""
  two: "a: 1\n---\nb: 2\n"
  late: "---\n---\nb: 2\n"
  broken: "a: [1"
  scalar: just words
  list: "\n[1,2]\n"
`

var eu1 = &clusterv1alpha1.MemberCluster{
	ObjectMeta: metav1.ObjectMeta{Name: "eu-1", Labels: map[string]string{"tier": "gold", "bare": "", "topology.example.com/site": "fra"}},
	Spec:       clusterv1alpha1.ClusterSpec{Region: "eu-central", Provider: "acme", Zones: []string{"a", "b"}},
}

func manifest(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	obj := &unstructured.Unstructured{}
	content, err := yaml.YAMLToJSON([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if err := obj.UnmarshalJSON(content); err != nil {
		t.Fatal(err)
	}
	return obj
}

// overridePolicy is the OverridePolicy shop/NAME with the given spec.
func overridePolicy(t *testing.T, name, spec string) *policyv1alpha1.OverridePolicy {
	t.Helper()
	p := &policyv1alpha1.OverridePolicy{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name}}
	if err := yaml.UnmarshalStrict([]byte(spec), &p.Spec); err != nil {
		t.Fatal(err)
	}
	return p
}

func clusterOverridePolicy(t *testing.T, name, spec string) *policyv1alpha1.ClusterOverridePolicy {
	t.Helper()
	return &policyv1alpha1.ClusterOverridePolicy{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: overridePolicy(t, name, spec).Spec}
}

func compile(t *testing.T, policies ...policyv1alpha1.Override) []*override.Policy {
	t.Helper()
	var compiled []*override.Policy
	for _, p := range policies {
		one, err := override.Compile(p)
		if err != nil {
			t.Fatal(err)
		}
		compiled = append(compiled, one)
	}
	return compiled
}

func templateOf(obj *unstructured.Unstructured) policy.Template {
	return policy.TemplateOf(obj, obj.GroupVersionKind())
}

// render overrides a manifest for a cluster.
func render(policies []*override.Policy, obj *unstructured.Unstructured, cluster *clusterv1alpha1.MemberCluster) (*unstructured.Unstructured, error) {
	choice, err := override.Select(policies, templateOf(obj)).For(cluster)
	if err != nil {
		return nil, err
	}
	overridden, _, err := choice.Apply(obj)
	return overridden, err
}

func TestAnOverriderThatIsMeantForAnObjectAndFindsNothingIsTold(t *testing.T) {
	const (
		named    = "resourceSelectors: [{apiVersion: apps/v1, kind: Deployment, name: web}]\n"
		labelled = "resourceSelectors: [{apiVersion: apps/v1, kind: Deployment, labelSelector: {matchLabels: {tier: front}}}]\n"
		ofAKind  = "resourceSelectors: [{apiVersion: apps/v1, kind: Deployment}]\n"
		args     = "overriders: {argsOverrider: [{containerName: web, operator: add, value: [-x]}, {containerName: wbe, operator: add, value: [-x]}]}"
		command  = "overrideRules: [{overriders: {commandOverrider: [{containerName: wbe, operator: remove, value: [nginx]}]}}]"
		image    = "overriders: {imageOverrider: [{component: Tag, operator: replace, value: v2}]}"
		data     = "resourceSelectors: [{apiVersion: v1, kind: ConfigMap, name: settings}]\n"
		both     = "resourceSelectors: [{apiVersion: v1, kind: ConfigMap, name: settings}, {apiVersion: apps/v1, kind: Deployment, name: web}]\n"
	)
	for _, test := range []struct{ reason, spec, object, want string }{
		{"a container's name is misspelt", named + args, web, "OverridePolicy shop/p: spec.overriders.argsOverrider[1] changes nothing: no container is called wbe"},
		{"so it is in a rule, and the template is selected by its label", labelled + command, web,
			"OverridePolicy shop/p: spec.overrideRules[0].overriders.commandOverrider[0] changes nothing: no container is called wbe"},
		{"what is for all Deployments need not find something in each", ofAKind + args, web, ""},
		{"nor does what is for everything", args, web, ""},
		{"images are found", named + image, web, ""},
		{"a label that is to be replaced is not there", named + "overriders: {labelsOverrider: [{operator: replace, value: {teir: a, b: c}}, {operator: replace, value: {tier: a}}, {operator: add, value: {new: a}}]}", web,
			"OverridePolicy shop/p: spec.overriders.labelsOverrider[0] changes nothing: the object has none of the labels to replace: b, teir"},
		{"nor are the annotations to remove", named + "overriders: {annotationsOverrider: [{operator: remove, value: {a: '', b: '', c: '', d: ''}}]}", web,
			"OverridePolicy shop/p: spec.overriders.annotationsOverrider[0] changes nothing: the object has none of the annotations to remove: a, b, c and 1 more"},
		{"one of several is there", named + "overriders: {labelsOverrider: [{operator: remove, value: {gone: '', tier: ''}}]}", web, ""},
		{"a word to remove is misspelt", named + "overriders: {argsOverrider: [{containerName: web, operator: remove, value: [--prot]}, {containerName: web, operator: add, value: [-x]}, {containerName: web, operator: remove, value: [-x, -y]}]}", web,
			"OverridePolicy shop/p: spec.overriders.argsOverrider[0] changes nothing: none of the words to remove is in the args of the container web"},
		{"a ConfigMap has no images", data + image, settings,
			"OverridePolicy shop/p: spec.overriders.imageOverrider[0] changes nothing: it has no containers that are known; predicate.path may name an image of any kind"},
		{"they are for the other kind of the policy", both + image, settings, ""},
	} {
		choice, err := override.Select(compile(t, overridePolicy(t, "p", test.spec)), templateOf(manifest(t, test.object))).For(eu1)
		if err != nil {
			t.Fatal(err)
		}
		_, idle, err := choice.Apply(manifest(t, test.object))
		if got := strings.Join(idle, "\n"); err != nil || got != test.want {
			t.Errorf("%s: %v, told %q, want %q", test.reason, err, got, test.want)
		}
	}
}

// lines are the values of a manifest, each with its path, which makes differences small.
func lines(obj *unstructured.Unstructured) []string {
	var all []string
	var walk func(path string, value any)
	walk = func(path string, value any) {
		switch value := value.(type) {
		case map[string]any:
			for key, item := range value {
				walk(path+"/"+strings.ReplaceAll(key, "/", "~1"), item)
			}
		case []any:
			for i, item := range value {
				walk(fmt.Sprintf("%s/%d", path, i), item)
			}
		default:
			text, _ := json.Marshal(value)
			all = append(all, path+" = "+string(text))
		}
	}
	walk("", obj.Object)
	slices.Sort(all)
	return all
}

// changes are the lines that one manifest has and another has not, with - and +.
func changes(before, after *unstructured.Unstructured) []string {
	var changes []string
	was, is := lines(before), lines(after)
	for _, line := range was {
		if !slices.Contains(is, line) {
			changes = append(changes, "- "+line)
		}
	}
	for _, line := range is {
		if !slices.Contains(was, line) {
			changes = append(changes, "+ "+line)
		}
	}
	return changes
}

const (
	initImage  = "/spec/template/spec/initContainers/0/image"
	webImage   = "/spec/template/spec/containers/0/image"
	proxyImage = "/spec/template/spec/containers/1/image"
)

func TestWhatEachOverriderDoes(t *testing.T) {
	for _, test := range []struct {
		reason, template, overriders string
		want                         []string
	}{
		{"a registry is put in front of images without one, and in the place of others", web,
			`imageOverrider: [{component: Registry, operator: replace, value: mirror.example.org}]`,
			[]string{
				"- " + webImage + ` = "nginx:1.27"`, "- " + proxyImage + ` = "registry.example.com:5000/mesh/proxy:v2"`, "- " + initImage + ` = "library/migrate"`,
				"+ " + webImage + ` = "mirror.example.org/nginx:1.27"`, "+ " + proxyImage + ` = "mirror.example.org/mesh/proxy:v2"`, "+ " + initImage + ` = "mirror.example.org/library/migrate"`,
			}},
		{"a registry may come with a path", web,
			`imageOverrider: [{predicate: {path: ` + webImage + `}, component: Registry, operator: add, value: mirror.example.org/hub}]`,
			[]string{"- " + webImage + ` = "nginx:1.27"`, "+ " + webImage + ` = "mirror.example.org/hub/nginx:1.27"`}},
		{"to remove a registry leaves images without one alone", web,
			`imageOverrider: [{component: Registry, operator: remove}]`,
			[]string{"- " + proxyImage + ` = "registry.example.com:5000/mesh/proxy:v2"`, "+ " + proxyImage + ` = "mesh/proxy:v2"`}},
		{"to add to a repository appends", web,
			`imageOverrider: [{predicate: {path: ` + webImage + `}, component: Repository, operator: add, value: -unprivileged}]`,
			[]string{"- " + webImage + ` = "nginx:1.27"`, "+ " + webImage + ` = "nginx-unprivileged:1.27"`}},
		{"a repository is replaced without its registry", web,
			`imageOverrider: [{predicate: {path: ` + proxyImage + `}, component: Repository, operator: replace, value: other/proxy}]`,
			[]string{"- " + proxyImage + ` = "registry.example.com:5000/mesh/proxy:v2"`, "+ " + proxyImage + ` = "registry.example.com:5000/other/proxy:v2"`}},
		{"a tag is replaced by a digest", web,
			`imageOverrider: [{predicate: {path: ` + webImage + `}, component: Tag, operator: replace, value: "sha256:` + strings.Repeat("ab", 32) + `"}]`,
			[]string{"- " + webImage + ` = "nginx:1.27"`, "+ " + webImage + ` = "nginx@sha256:` + strings.Repeat("ab", 32) + `"`}},
		{"what is added to a tag needs one to be added to", web,
			`imageOverrider: [{component: Tag, operator: add, value: -arm64}]`,
			[]string{
				"- " + webImage + ` = "nginx:1.27"`, "- " + proxyImage + ` = "registry.example.com:5000/mesh/proxy:v2"`,
				"+ " + webImage + ` = "nginx:1.27-arm64"`, "+ " + proxyImage + ` = "registry.example.com:5000/mesh/proxy:v2-arm64"`,
			}},
		{"a tag is removed", web, `imageOverrider: [{predicate: {path: ` + webImage + `}, component: Tag, operator: remove, value: ignored}]`,
			[]string{"- " + webImage + ` = "nginx:1.27"`, "+ " + webImage + ` = "nginx"`}},
		{"the pods of a CronJob lie deeper",
			"apiVersion: batch/v1\nkind: CronJob\nmetadata: {name: tidy, namespace: shop}\nspec: {jobTemplate: {spec: {template: {spec: {containers: [{name: c, image: busybox}], initContainers: [{name: i, image: busybox}]}}}}}",
			`imageOverrider: [{component: Registry, operator: replace, value: r.example}]`,
			[]string{
				`- /spec/jobTemplate/spec/template/spec/containers/0/image = "busybox"`, `- /spec/jobTemplate/spec/template/spec/initContainers/0/image = "busybox"`,
				`+ /spec/jobTemplate/spec/template/spec/containers/0/image = "r.example/busybox"`, `+ /spec/jobTemplate/spec/template/spec/initContainers/0/image = "r.example/busybox"`,
			}},
		{"a pod's own containers", "apiVersion: v1\nkind: Pod\nmetadata: {name: p, namespace: shop}\nspec: {containers: [{name: c, image: busybox}]}",
			`imageOverrider: [{component: Tag, operator: add, value: v1}]`,
			[]string{`- /spec/containers/0/image = "busybox"`, `+ /spec/containers/0/image = "busybox:v1"`}},
		{"an object without containers has no images", settings, `imageOverrider: [{component: Registry, operator: replace, value: r.example}]`, nil},
		{"words are appended to a command", web, `commandOverrider: [{containerName: web, operator: add, value: [-t]}]`,
			[]string{`+ /spec/template/spec/containers/0/command/1 = "-t"`}},
		{"a container without arguments gets them", web, `argsOverrider: [{containerName: proxy, operator: add, value: [--log, debug]}]`,
			[]string{`+ /spec/template/spec/containers/1/args/0 = "--log"`, `+ /spec/template/spec/containers/1/args/1 = "debug"`}},
		{"an initial container is a container", web, `argsOverrider: [{containerName: migrate, operator: add, value: [up]}]`,
			[]string{`+ /spec/template/spec/initContainers/0/args/0 = "up"`}},
		{"all equal words are removed", web, `argsOverrider: [{containerName: web, operator: remove, value: [-v, -x]}]`,
			[]string{`- /spec/template/spec/containers/0/args/2 = "-v"`}},
		{"a container of another name is left alone", web, `argsOverrider: [{containerName: db, operator: add, value: [x]}]`, nil},
		{"an object without containers has no arguments", settings, `argsOverrider: [{containerName: web, operator: add, value: [x]}]`, nil},
		{"labels are added, also in the place of others", web, `labelsOverrider: [{operator: add, value: {site: edge, tier: back}}]`,
			[]string{`- /metadata/labels/tier = "front"`, `+ /metadata/labels/site = "edge"`, `+ /metadata/labels/tier = "back"`}},
		{"labels are added where there were none", settings, `labelsOverrider: [{operator: add, value: {example.com/site: edge}}]`,
			[]string{`+ /metadata/labels/example.com~1site = "edge"`}},
		{"what is not there is not replaced", web, `labelsOverrider: [{operator: replace, value: {site: edge, tier: back}}]`,
			[]string{`- /metadata/labels/tier = "front"`, `+ /metadata/labels/tier = "back"`}},
		{"a label goes whatever its value is", web, `labelsOverrider: [{operator: remove, value: {tier: "", site: edge}}]`,
			[]string{`- /metadata/labels/tier = "front"`}},
		{"annotations", web, `annotationsOverrider: [{operator: add, value: {example.com/note: "any text, at all"}}]`,
			[]string{`+ /metadata/annotations/example.com~1note = "any text, at all"`}},
		{"a plaintext patch", web, `plaintext: [{path: /spec/replicas, operator: replace, value: 5}, {path: /spec/template/spec/containers/0/env, operator: add, value: [{name: A, value: b}]}, {path: /spec/template/spec/containers/0/command, operator: remove}]`,
			[]string{
				`- /spec/replicas = 3`, `- /spec/template/spec/containers/0/command/0 = "nginx"`,
				`+ /spec/replicas = 5`, `+ /spec/template/spec/containers/0/env/0/name = "A"`, `+ /spec/template/spec/containers/0/env/0/value = "b"`,
			}},
		{"each operation sees what the ones before it did", web, `plaintext: [{path: /spec/paused, operator: add, value: true}, {path: /spec/paused, operator: replace, value: false}]`,
			[]string{`+ /spec/paused = false`}},
		{"- is the end of a list, and -1 its last place", web, `plaintext: [{path: /spec/template/spec/containers/0/args/-, operator: add, value: end}, {path: /spec/template/spec/containers/0/args/-1, operator: replace, value: last}]`,
			[]string{`+ /spec/template/spec/containers/0/args/3 = "last"`}},
		{"a name with a slash", web, `plaintext: [{path: /metadata/annotations, operator: add, value: {}}, {path: /metadata/annotations/example.com~1a, operator: add, value: b}]`,
			[]string{`+ /metadata/annotations/example.com~1a = "b"`}},
		{"no value is null, as it is once it was stored", web, `plaintext: [{path: /spec/replicas, operator: replace}]`,
			[]string{`- /spec/replicas = 3`, `+ /spec/replicas = null`}},
		{"a value beside remove counts for nothing", web, `plaintext: [{path: /spec/replicas, operator: remove, value: 3}]`,
			[]string{`- /spec/replicas = 3`}},
		{"large whole numbers stay whole", web, `plaintext: [{path: /spec/n, operator: add, value: 9007199254740993}]`,
			[]string{`+ /spec/n = 9007199254740993`}},
		{"a YAML document in a string", settings, `fieldOverrider: [{fieldPath: /data/config.yaml, yaml: [{subPath: /server/port, operator: replace, value: 9090}, {subPath: /server/hosts/-, operator: add, value: c}, {subPath: /level, operator: remove}]}]`,
			[]string{
				`- /data/config.yaml = "# lost\nserver: {port: 8080, hosts: [a, b]}\nlevel: info\n"`,
				`+ /data/config.yaml = "server:\n  hosts:\n  - a\n  - b\n  - c\n  port: 9090\n"`,
			}},
		{"plain values of a YAML document become what YAML 1.1 reads in them, and quoted ones stay", settings, `fieldOverrider: [{fieldPath: /data/plain.yaml, yaml: [{subPath: /new, operator: add, value: 1}]}]`,
			[]string{
				`- /data/plain.yaml = "verbose: no\nmode: 0644\nversion: 1.10\nid: 12345678901234567890123\nratio: 0.12345678901234567890123\nlarge: 1234567890123456789\nwhole: 1e3\nquoted: {verbose: 'no', mode: \"0644\", version: '1.10'}\n"`,
				`+ /data/plain.yaml = "id: 1.2345678901234568e+22\nlarge: 1234567890123456789\nmode: 420\nnew: 1\nquoted:\n  mode: \"0644\"\n  verbose: \"no\"\n  version: \"1.10\"\nratio: 0.12345678901234568\nverbose: false\nversion: 1.1\nwhole: 1000\n"`,
			}},
		{"a JSON document in a string keeps the order of its keys", settings, `fieldOverrider: [{fieldPath: /data/config.json, json: [{subPath: /a/c, operator: add, value: true}]}]`,
			[]string{
				`- /data/config.json = "{\"z\": 1, \"a\": {\"b\": \"\u003cx\u003e\"}}"`,
				`+ /data/config.json = "{\"z\":1,\"a\":{\"b\":\"\\u003cx\\u003e\",\"c\":true}}"`,
			}},
		{"an empty string is an empty document", settings, `fieldOverrider: [{fieldPath: /data/empty, yaml: [{subPath: /a, operator: add, value: 1}]}]`,
			[]string{`- /data/empty = ""`, `+ /data/empty = "a: 1\n"`}},
		{"an empty string is an empty JSON document", settings, `fieldOverrider: [{fieldPath: /data/empty, json: [{subPath: /a, operator: add, value: 1}]}]`,
			[]string{`- /data/empty = ""`, `+ /data/empty = "{\"a\":1}"`}},
		{"space before a JSON list", settings, `fieldOverrider: [{fieldPath: /data/list, json: [{subPath: /0, operator: replace, value: 5}]}]`,
			[]string{`- /data/list = "\n[1,2]\n"`, `+ /data/list = "[5,2]"`}},
		{"a field overrider that says nothing changes nothing", settings, `fieldOverrider: [{fieldPath: /data/config.yaml}]`, nil},
		{"the conflict resolution is the user's to say", settings, `annotationsOverrider: [{operator: add, value: {work.karmada.io/conflict-resolution: overwrite}}]`,
			[]string{`+ /metadata/annotations/work.karmada.io~1conflict-resolution = "overwrite"`}},
	} {
		t.Run(test.reason, func(t *testing.T) {
			obj := manifest(t, test.template)
			untouched := obj.DeepCopy()
			got, err := render(compile(t, overridePolicy(t, "p", "overriders:\n  "+strings.ReplaceAll(test.overriders, "\n", "\n  "))), obj, eu1)
			if err != nil {
				t.Fatal(err)
			}
			slices.Sort(test.want)
			found := changes(obj, got)
			slices.Sort(found)
			if diff := cmp.Diff(test.want, found); diff != "" {
				t.Errorf("changes (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(untouched, obj); diff != "" {
				t.Errorf("the template itself was changed:\n%s", diff)
			}
		})
	}
}

func TestWhatCannotBeDoneIsSaidWithPolicyAndPath(t *testing.T) {
	for _, test := range []struct{ reason, template, overriders, want string }{
		{"remove of an absent path", web, `plaintext: [{path: /spec/replicas, operator: remove}, {path: /spec/nothing, operator: remove}]`,
			"plaintext[1]: can't remove /spec/nothing: there is nothing at this path"},
		{"replace of an absent path", web, `plaintext: [{path: /spec/nothing, operator: replace, value: 1}]`, "plaintext[0]: can't replace /spec/nothing: there is nothing at this path"},
		{"add below an absent path", web, `plaintext: [{path: /spec/a/b, operator: add, value: 1}]`, "plaintext[0]: can't add /spec/a/b: there is nothing at /spec/a to add to"},
		{"a place in a list that is far beyond its end", web, `plaintext: [{path: /spec/template/spec/containers/1000000000, operator: add, value: {}}]`,
			"plaintext[0]: can't add /spec/template/spec/containers/1000000000: the list has no such place"},
		{"a name in a list", web, `plaintext: [{path: /spec/template/spec/containers/web, operator: replace, value: {}}]`,
			`plaintext[0]: can't replace /spec/template/spec/containers/web: what is at /spec/template/spec/containers is a list, and "web" is not the number of an item: they are 0, 1, 2 and so on`},
		{"a number that no item of a list has, after another change", web, `plaintext: [{path: /spec/template/spec/x, operator: add, value: [a]}, {path: /spec/template/spec/x/00, operator: replace, value: b}]`,
			`plaintext[1]: can't replace /spec/template/spec/x/00: what is at /spec/template/spec/x is a list, and "00" is not the number of an item`},
		{"an image at a number that no item has", web, `imageOverrider: [{predicate: {path: /spec/template/spec/containers/00/image}, component: Tag, operator: replace, value: v1}]`,
			`imageOverrider[0]: what is at /spec/template/spec/containers is a list, and "00" is not the number of an item`},
		{"remove of the place after a list", web, `plaintext: [{path: /spec/template/spec/containers/-, operator: remove}]`,
			"plaintext[0]: can't remove /spec/template/spec/containers/-: what is at /spec/template/spec/containers is a list, and - is the place after its last item"},
		{"add below a number", web, `plaintext: [{path: /spec/replicas/x, operator: add, value: 1}]`, "plaintext[0]: can't add /spec/replicas/x: what is at /spec/replicas is a number, and only an object or a list has something below it"},
		{"a number in the place of all", web, `plaintext: [{path: "", operator: replace, value: 7}]`, "plaintext[0]: can't replace the whole document: it can only become an object or a list"},
		{"nothing in the place of all, and then an item of it", web, `plaintext: [{path: "", operator: replace}, {path: /-, operator: add, value: 1}]`,
			"plaintext[0]: can't replace the whole document: it can only become an object or a list"},
		{"nothing in the place of a document, and then an item of it", settings, `fieldOverrider: [{fieldPath: /data/config.json, json: [{subPath: "", operator: replace, value: null}, {subPath: /0, operator: remove}]}]`,
			"fieldOverrider[0].json[0]: can't replace the whole document: it can only become an object or a list"},
		{"an empty name on the way down", settings, `fieldOverrider: [{fieldPath: /data/config.json, json: [{subPath: //a/b, operator: replace, value: x}]}]`,
			"fieldOverrider[0].json[0]: can't replace //a/b: it has a / without a name after it"},
		{"a document that is a string", settings, `fieldOverrider: [{fieldPath: /data/scalar, yaml: [{subPath: /a, operator: add, value: 1}]}]`,
			"fieldOverrider[0].fieldPath: the document that /data/scalar holds is a string, and only an object or a list can be changed"},
		{"another name by a whole metadata", web, `plaintext: [{path: /metadata, operator: replace, value: {name: other, namespace: shop}}]`,
			`overriders: metadata.name would be "other" in the place of "web", and the object another one`},
		{"no metadata at all", web, `plaintext: [{path: /metadata, operator: remove}]`, `overriders: metadata.name would be ""`},
		{"another kind by a whole object", web, `plaintext: [{path: "", operator: replace, value: {apiVersion: apps/v1, kind: DaemonSet, metadata: {name: web, namespace: shop}}}]`, `overriders: kind would be "DaemonSet"`},
		{"no object", web, `plaintext: [{path: "", operator: replace, value: [7]}]`, "plaintext[0]: the result is no object"},
		{"a finalizer", web, `plaintext: [{path: /metadata/finalizers, operator: add, value: [x]}]`, "overriders: metadata.finalizers can't be overridden"},
		{"a status", web, `plaintext: [{path: /status, operator: add, value: {}}]`, "overriders: status can't be overridden"},
		{"a mark of the hub by plaintext", web, `plaintext: [{path: /metadata/labels/karmada.io~1managed, operator: add, value: "false"}]`, "overriders: metadata.labels[karmada.io/managed] is a mark of the hub's own"},
		{"a label that is a number", web, `plaintext: [{path: /metadata/labels/n, operator: add, value: 1}]`, "overriders: metadata.labels[n] would be no string"},
		{"labels that are a list", web, `plaintext: [{path: /metadata/labels, operator: add, value: [a]}]`, "overriders: metadata.labels would be no set of strings"},
		{"an image that is nowhere", web, `imageOverrider: [{predicate: {path: /spec/template/spec/containers/7/image}, component: Tag, operator: replace, value: v1}]`,
			"imageOverrider[0]: there is nothing at /spec/template/spec/containers/7"},
		{"an image that is no string", web, `imageOverrider: [{predicate: {path: /spec/replicas}, component: Tag, operator: replace, value: v1}]`, "imageOverrider[0]: what is at /spec/replicas is no string"},
		{"what is no image", settings, `imageOverrider: [{predicate: {path: /data/broken}, component: Tag, operator: replace, value: v1}]`, `imageOverrider[0]: "a: [1" is no image name`},
		{"an image without its repository", web, `imageOverrider: [{component: Repository, operator: remove}]`, `imageOverrider[0]: image "library/migrate" can't be changed`},
		{"a document that is no string", web, `fieldOverrider: [{fieldPath: /spec/replicas, yaml: [{subPath: /a, operator: remove}]}]`, "fieldOverrider[0].fieldPath: what is at /spec/replicas is no string"},
		{"no document", settings, `fieldOverrider: [{fieldPath: /data/none, yaml: [{subPath: /a, operator: remove}]}]`, "fieldOverrider[0].fieldPath: there is nothing at /data/none"},
		{"YAML that is none", settings, `fieldOverrider: [{fieldPath: /data/broken, yaml: [{subPath: /a, operator: remove}]}]`, "fieldOverrider[0].fieldPath: /data/broken holds no yaml document: yaml: line 1"},
		{"several documents, of which all but one would be lost", settings, `fieldOverrider: [{fieldPath: /data/two, yaml: [{subPath: /a, operator: remove}]}]`, "fieldOverrider[0].fieldPath: /data/two holds no yaml document: there is more than one"},
		{"a second document, of which the first is empty", settings, `fieldOverrider: [{fieldPath: /data/late, yaml: [{subPath: /a, operator: add, value: 1}]}]`, "fieldOverrider[0].fieldPath: /data/late holds no yaml document: there is more than one"},
		{"JSON that is none", settings, `fieldOverrider: [{fieldPath: /data/config.yaml, json: [{subPath: /a, operator: remove}]}]`, "fieldOverrider[0].fieldPath: /data/config.yaml holds no json document: invalid character"},
		{"a label after all labels were removed", web, `plaintext: [{path: /metadata/labels, operator: remove}, {path: /metadata/labels/x, operator: add, value: a}]`,
			"plaintext[1]: can't add /metadata/labels/x: there is nothing at /metadata/labels to add to"},
		{"an absent path of a document", settings, `fieldOverrider: [{fieldPath: /data/config.yaml, yaml: [{subPath: /server, operator: remove}, {subPath: /b/c, operator: add, value: 1}]}]`,
			"fieldOverrider[0].yaml[1]: can't add /b/c: there is nothing at /b to add to"},
		{"a label that the cluster's name makes too long", web, `labelsOverrider: [{operator: add, value: {site: "${cluster.name}-` + strings.Repeat("x", 60) + `"}}]`, "labelsOverrider[0]: label site would be"},
		{"a tag that the cluster makes none", web, `imageOverrider: [{component: Tag, operator: replace, value: "-${cluster.name}"}]`, `imageOverrider[0]: "-eu-1" is neither a tag nor a digest`},
		{"a label that the cluster does not have", web, `labelsOverrider: [{operator: add, value: {site: "${cluster.labels.site}"}}]`,
			"labelsOverrider[0]: ${cluster.labels.site} is empty: MemberCluster eu-1 has no label site"},
		{"a label that the cluster has without a value", web, `labelsOverrider: [{operator: add, value: {site: "${cluster.labels.bare}"}}]`,
			"labelsOverrider[0]: ${cluster.labels.bare} is empty: label bare of MemberCluster eu-1 has no value: give it one"},
	} {
		t.Run(test.reason, func(t *testing.T) {
			spec := "overrideRules:\n- overriders: {labelsOverrider: [{operator: add, value: {first: ok}}]}\n- overriders:\n    " + test.overriders
			_, err := render(compile(t, overridePolicy(t, "p", spec)), manifest(t, test.template), eu1)
			var failed *override.Error
			if !errors.As(err, &failed) {
				t.Fatalf("the error is %v", err)
			}
			want := test.want
			if !strings.HasPrefix(want, "overriders") {
				want = "overriders." + want
			}
			if want = "OverridePolicy shop/p: spec.overrideRules[1]." + want; !strings.HasPrefix(err.Error(), want) {
				t.Errorf("the error says\n%s\nand not\n%s", err, want)
			}
		})
	}
}

func TestAllThatAClusterCantGetIsToldAtOnce(t *testing.T) {
	const (
		rules = "overrideRules:\n"
		fails = "- overriders: {plaintext: [{path: /spec/none/%s, operator: remove}]}\n"
	)
	fail := func(names ...string) (spec string) {
		for _, name := range names {
			spec += fmt.Sprintf(fails, name)
		}
		return rules + spec
	}
	for _, test := range []struct {
		reason, spec string
		want         []string // after the policy
	}{
		{"one rule each", fail("a", "b"), []string{
			"spec.overrideRules[0].overriders.plaintext[0]: can't remove /spec/none/a: there is nothing at this path",
			"spec.overrideRules[1].overriders.plaintext[0]: can't remove /spec/none/b: there is nothing at this path"}},
		{"in one rule, where some can be followed, which others stand on", rules + `- overriders:
    imageOverrider: [{predicate: {path: /spec/none}, component: Tag, operator: replace, value: v2}]
    fieldOverrider: [{fieldPath: /spec/none, yaml: [{subPath: /a, operator: remove}]}]
    plaintext: [{path: /spec/new, operator: add, value: {}}, {path: /spec/none, operator: remove}, {path: /spec/new/a, operator: add, value: 1}, {path: /spec/old, operator: replace, value: 1}]
`, []string{
			"spec.overrideRules[0].overriders.imageOverrider[0]: there is nothing at /spec/none",
			"spec.overrideRules[0].overriders.fieldOverrider[0].fieldPath: there is nothing at /spec/none",
			"spec.overrideRules[0].overriders.plaintext[1]: can't remove /spec/none: there is nothing at this path",
			"spec.overrideRules[0].overriders.plaintext[3]: can't replace /spec/old: there is nothing at this path"}},
		{"what the cluster does not say", rules + `- overriders: {labelsOverrider: [{operator: add, value: {a: "${cluster.labels.one}"}}]}
- overriders: {annotationsOverrider: [{operator: add, value: {a: "${cluster.labels.two} ${cluster.labels.three}"}}]}
`, []string{
			"spec.overrideRules[0].overriders.labelsOverrider[0]: ${cluster.labels.one} is empty: MemberCluster eu-1 has no label one",
			"spec.overrideRules[1].overriders.annotationsOverrider[0]: ${cluster.labels.three} is empty: MemberCluster eu-1 has no label three",
			"spec.overrideRules[1].overriders.annotationsOverrider[0]: ${cluster.labels.two} is empty: MemberCluster eu-1 has no label two"}},
		{"the first five", fail("a", "b", "c", "d", "e", "f", "g"), []string{
			"spec.overrideRules[0].overriders.plaintext[0]: can't remove /spec/none/a: there is nothing at this path",
			"spec.overrideRules[1].overriders.plaintext[0]: can't remove /spec/none/b: there is nothing at this path",
			"spec.overrideRules[2].overriders.plaintext[0]: can't remove /spec/none/c: there is nothing at this path",
			"spec.overrideRules[3].overriders.plaintext[0]: can't remove /spec/none/d: there is nothing at this path",
			"spec.overrideRules[4].overriders.plaintext[0]: can't remove /spec/none/e: there is nothing at this path"}},
	} {
		t.Run(test.reason, func(t *testing.T) {
			_, err := render(compile(t, overridePolicy(t, "p", test.spec)), manifest(t, web), eu1)
			if err == nil {
				t.Fatal("it can be made")
			}
			var failed override.Errors
			if !errors.As(err, &failed) {
				t.Fatalf("the error is %v", err)
			}
			var got []string
			for _, one := range failed {
				got = append(got, strings.TrimPrefix(one.Error(), "OverridePolicy shop/p: "))
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestAClusterIsNamedByReferences(t *testing.T) {
	spec := `overriders:
  labelsOverrider: [{operator: add, value: {cluster: "${cluster.name}", site: "${cluster.labels.topology.example.com/site}-${cluster.labels.tier}"}}]
  annotationsOverrider: [{operator: add, value: {literal: "${HOME:-/root} and $${HOME} cost $5 or $$, not $${cluster.name}", all: "${cluster.provider}/${cluster.region}"}}]
  argsOverrider: [{containerName: web, operator: add, value: ["--name=${cluster.name}"]}]
  imageOverrider: [{component: Registry, operator: replace, value: "${cluster.region}.registry.example.com"}]
  plaintext: [{path: /spec/template/spec/containers/0/env, operator: add, value: [{name: "${cluster.name}", value: {deep: ["\u0024{cluster.name}"], "${key}": 1}}]}]`
	got, err := render(compile(t, overridePolicy(t, "p", spec)), manifest(t, web), eu1)
	if err != nil {
		t.Fatal(err)
	}
	found := changes(manifest(t, web), got)
	found = slices.DeleteFunc(found, func(line string) bool { return strings.HasPrefix(line, "-") })
	want := []string{
		`+ /metadata/annotations/all = "acme/eu-central"`,
		`+ /metadata/annotations/literal = "${HOME:-/root} and $${HOME} cost $5 or $$, not ${cluster.name}"`,
		`+ /metadata/labels/cluster = "eu-1"`,
		`+ /metadata/labels/site = "fra-gold"`,
		`+ /spec/template/spec/containers/0/args/3 = "--name=eu-1"`,
		`+ /spec/template/spec/containers/0/env/0/name = "eu-1"`,
		`+ /spec/template/spec/containers/0/env/0/value/${key} = 1`,
		`+ /spec/template/spec/containers/0/env/0/value/deep/0 = "eu-1"`,
		"+ " + webImage + ` = "eu-central.registry.example.com/nginx:1.27"`,
		"+ " + proxyImage + ` = "eu-central.registry.example.com/mesh/proxy:v2"`,
		"+ " + initImage + ` = "eu-central.registry.example.com/library/migrate"`,
	}
	if diff := cmp.Diff(want, found); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
}

func TestTheKindsOfOneRuleAreAppliedInKarmadasOrder(t *testing.T) {
	// Each kind changes what the one before it wrote; the order in the manifest is another.
	spec := `overriders:
  plaintext: [{path: /metadata/annotations/seen, operator: replace, value: plaintext}]
  fieldOverrider: [{fieldPath: /metadata/annotations/document, yaml: [{subPath: /by, operator: replace, value: field}]}]
  annotationsOverrider: [{operator: add, value: {seen: annotations, document: "by: annotations"}}, {operator: replace, value: {seen: second}}]
  imageOverrider: [{component: Tag, operator: replace, value: v1}, {component: Tag, operator: add, value: -b}]`
	got, err := render(compile(t, overridePolicy(t, "p", spec)), manifest(t, web), eu1)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"seen": "plaintext", "document": "by: field\n"}, got.GetAnnotations()); diff != "" {
		t.Error(diff)
	}
	if image := imageOf(got); image != "nginx:v1-b" {
		t.Errorf("the image is %s", image)
	}
}

func imageOf(obj *unstructured.Unstructured) string {
	containers, _, _ := unstructured.NestedSlice(obj.Object, "spec", "template", "spec", "containers")
	image, _ := containers[0].(map[string]any)["image"].(string)
	return image
}

// says is a policy that appends its name to the annotation order.
func says(t *testing.T, name, selectors string) string {
	t.Helper()
	return fmt.Sprintf("%s\noverriders: {imageOverrider: [{component: Tag, operator: add, value: .%s}]}", selectors, name)
}

func TestLaterPoliciesWin(t *testing.T) {
	const (
		byName  = "resourceSelectors: [{apiVersion: apps/v1, kind: Deployment, name: web}]"
		byLabel = "resourceSelectors: [{apiVersion: apps/v1, kind: Deployment, labelSelector: {matchLabels: {app: web}}}]"
		ofKind  = "resourceSelectors: [{apiVersion: apps/v1, kind: Deployment}]"
		all     = "resourceSelectors: []"
	)
	policies := compile(t,
		overridePolicy(t, "a", says(t, "a", byName)),
		overridePolicy(t, "b", says(t, "b", ofKind)),
		overridePolicy(t, "c", says(t, "c", byLabel)),
		overridePolicy(t, "d", says(t, "d", all)),
		clusterOverridePolicy(t, "e", says(t, "e", byName)),
		clusterOverridePolicy(t, "f", says(t, "f", byLabel)),
		clusterOverridePolicy(t, "g", says(t, "g", all)),
		overridePolicy(t, "other", says(t, "other", "resourceSelectors: [{apiVersion: apps/v1, kind: Deployment, name: db}]")),
		overridePolicy(t, "version", says(t, "version", "resourceSelectors: [{apiVersion: apps/v1beta1, kind: Deployment}]")),
	)
	for range 10 {
		rand.Shuffle(len(policies), func(i, j int) { policies[i], policies[j] = policies[j], policies[i] })
		got, err := render(policies, manifest(t, web), eu1)
		if err != nil {
			t.Fatal(err)
		}
		if image := imageOf(got); image != "nginx:1.27.g.f.e.b.d.c.a" {
			t.Fatalf("the order is %s", image)
		}
	}
}

func TestWhichTemplatesAPolicyIsFor(t *testing.T) {
	role := "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: reader}"
	elsewhere := strings.ReplaceAll(web, "namespace: shop", "namespace: bank")
	op, cop := overridePolicy(t, "p", "{}"), clusterOverridePolicy(t, "p", "{}")
	bank := clusterOverridePolicy(t, "p", "resourceSelectors: [{apiVersion: apps/v1, kind: Deployment, namespace: bank}]")
	for _, test := range []struct {
		reason   string
		policy   policyv1alpha1.Override
		template string
		want     bool
	}{
		{"no selectors select all of the namespace", op, web, true},
		{"and of no other", op, elsewhere, false},
		{"nor what is in none", op, role, false},
		{"those of a cluster-scoped policy select everything", cop, web, true},
		{"also what is in no namespace", cop, role, true},
		{"a namespace in a selector counts", bank, web, false},
		{"a namespace in a selector counts", bank, elsewhere, true},
	} {
		p := compile(t, test.policy)[0]
		obj := manifest(t, test.template)
		if got := p.Selects(templateOf(obj)); got != test.want {
			t.Errorf("%s: %v", test.reason, got)
		}
		if got := override.Select([]*override.Policy{p}, templateOf(obj)) != nil; got != test.want {
			t.Errorf("%s: the set is there: %v", test.reason, got)
		}
	}
}

func TestRulesAreForTheirClusters(t *testing.T) {
	spec := `overrideRules:
- {targetCluster: {clusterNames: [us-1]}, overriders: {imageOverrider: [{component: Tag, operator: add, value: .name}]}}
- {targetCluster: {labelSelector: {matchLabels: {tier: gold}}}, overriders: {imageOverrider: [{component: Tag, operator: add, value: .label}]}}
- {targetCluster: {fieldSelector: {matchExpressions: [{key: region, operator: In, values: [eu-central]}]}}, overriders: {imageOverrider: [{component: Tag, operator: add, value: .region}]}}
- {targetCluster: {fieldSelector: {matchExpressions: [{key: zone, operator: NotIn, values: [a]}]}}, overriders: {imageOverrider: [{component: Tag, operator: add, value: .notzone}]}}
- {targetCluster: {exclude: [eu-1]}, overriders: {imageOverrider: [{component: Tag, operator: add, value: .exclude}]}}
- {overriders: {imageOverrider: [{component: Tag, operator: add, value: .all}]}}`
	policies := compile(t, overridePolicy(t, "p", spec))
	us1 := &clusterv1alpha1.MemberCluster{ObjectMeta: metav1.ObjectMeta{Name: "us-1"}}
	for _, test := range []struct {
		cluster *clusterv1alpha1.MemberCluster
		want    string
	}{{eu1, "nginx:1.27.label.region.all"}, {us1, "nginx:1.27.name.notzone.exclude.all"}} {
		got, err := render(policies, manifest(t, web), test.cluster)
		if err != nil {
			t.Fatal(err)
		}
		if image := imageOf(got); image != test.want {
			t.Errorf("%s has %s, want %s", test.cluster.Name, image, test.want)
		}
	}
}

func TestTheRecordIsThatOfKarmada(t *testing.T) {
	set := override.Select(compile(t,
		overridePolicy(t, "b", "resourceSelectors: []\noverriders: {labelsOverrider: [{operator: add, value: {site: edge}}]}"),
		overridePolicy(t, "a", "resourceSelectors: [{apiVersion: apps/v1, kind: Deployment, name: web}]\noverrideRules: [{overriders: {plaintext: [{path: /spec/replicas, operator: replace, value: 1}]}}, {targetCluster: {clusterNames: [nobody]}, overriders: {}}]"),
		clusterOverridePolicy(t, "c", "overriders: {imageOverrider: [{component: Registry, operator: replace, value: r.example}]}"),
	), templateOf(manifest(t, web)))
	choice, err := set.For(eu1)
	if err != nil {
		t.Fatal(err)
	}
	clusterScoped, namespaced := choice.Record()
	if want := `[{"policyName":"c","overriders":{"imageOverrider":[{"component":"Registry","operator":"replace","value":"r.example"}]}}]`; clusterScoped != want {
		t.Errorf("the record of ClusterOverridePolicies is\n%s, want\n%s", clusterScoped, want)
	}
	want := `[{"policyName":"a","overriders":{"plaintext":[{"path":"/spec/replicas","operator":"replace","value":1}]}},` +
		`{"policyName":"b","overriders":{"labelsOverrider":[{"operator":"add","value":{"site":"edge"}}]}}]`
	if namespaced != want {
		t.Errorf("the record of OverridePolicies is\n%s, want\n%s", namespaced, want)
	}
}

func TestARecordThatIsTooLargeNamesThePolicies(t *testing.T) {
	large := fmt.Sprintf("overriders: {annotationsOverrider: [{operator: add, value: {large: %s}}]}", strings.Repeat("x", 40<<10))
	choice, err := override.Select(compile(t, overridePolicy(t, "p", large)), templateOf(manifest(t, web))).For(eu1)
	if err != nil {
		t.Fatal(err)
	}
	if clusterScoped, namespaced := choice.Record(); clusterScoped != "" || namespaced != `[{"policyName":"p","overriders":{}}]` {
		t.Errorf("the record is %q and %q", clusterScoped, namespaced)
	}
}

func TestWhatAnOverrideCostsIsBounded(t *testing.T) {
	bomb := manifest(t, settings)
	aliases := "a: &a [" + strings.Repeat("x,", 1000) + "x]\nb: &b [" + strings.Repeat("*a,", 1000) + "*a]\nc: [" + strings.Repeat("*b,", 1000) + "*b]\n"
	text := "a: &a " + strings.Repeat("x", 10_000) + "\nb: [" + strings.Repeat("*a,", 1000) + "*a]\n"
	large := "a: " + strings.Repeat("x", 900_000) + "\n"
	data := map[string]any{"aliases": aliases, "text": text, "large": large, "small": "a: 1"}
	bomb.Object["data"] = data
	// A document that is written as YAML takes as many spaces for each level as it is deep.
	deep := strings.Repeat("{a: ", 2000) + "1" + strings.Repeat("}", 2000)
	one := "{fieldPath: /data/large, yaml: [{subPath: /b, operator: add, value: 1}]}"
	apart := strings.Repeat(one+", {fieldPath: /data/small, yaml: [{subPath: /b, operator: add, value: 1}]},", 10)
	for _, test := range []struct{ reason, overriders, want string }{
		{"lists of aliases of lists", `fieldOverrider: [{fieldPath: /data/aliases, yaml: [{subPath: /a, operator: remove}]}]`, "alias"},
		{"aliases of a long text", `fieldOverrider: [{fieldPath: /data/text, yaml: [{subPath: /a, operator: remove}]}]`, "its aliases unfold to more than"},
		{"a result that is too large", `plaintext: [{path: /data/more, operator: add, value: ` + strings.Repeat("y", 300_000) + `}]`, "the result has"},
		{"a YAML result that is too large", `fieldOverrider: [{fieldPath: /data/small, yaml: [{subPath: /a, operator: replace, value: ` + deep + `}]}]`, "the result has"},
		{"a large document that is read again and again", `fieldOverrider: [` + apart + `]`, "the overrides of this object are too much work: "},
		{"the same change of a large document side by side", `fieldOverrider: [` + strings.Repeat(one+",", 100) + `]`, ""},
	} {
		_, err := render(compile(t, overridePolicy(t, "p", "overriders: {"+test.overriders+"}")), bomb, eu1)
		if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%s: the error is %.300v", test.reason, err)
		}
		data["aliases"], data["text"] = "a: 1", "a: 1"
		if test.reason == "lists of aliases of lists" {
			data["text"] = text
		}
	}
}

func TestClustersOfOneKeyGetTheSame(t *testing.T) {
	pools := struct{ targets, values []string }{
		[]string{"", "targetCluster: {clusterNames: [c0, c1, c2]}, ", "targetCluster: {exclude: [c3]}, ", "targetCluster: {labelSelector: {matchLabels: {tier: gold}}}, ",
			"targetCluster: {fieldSelector: {matchExpressions: [{key: region, operator: In, values: [eu]}]}}, "},
		[]string{"fixed", "${cluster.name}", "${cluster.region}", "${cluster.labels.tier}", "${cluster.region}-${cluster.labels.tier}"},
	}
	random := rand.New(rand.NewPCG(1, 2))
	pick := func(from []string) string { return from[random.IntN(len(from))] }
	for range 200 {
		var spec strings.Builder
		spec.WriteString("overrideRules:\n")
		for range 1 + random.IntN(3) {
			fmt.Fprintf(&spec, "- {%soverriders: {annotationsOverrider: [{operator: add, value: {k%d: \"%s\"}}]}}\n", pick(pools.targets), random.IntN(2), pick(pools.values))
		}
		set := override.Select(compile(t, overridePolicy(t, "p", spec.String())), templateOf(manifest(t, web)))
		seen := map[string]string{}
		for i := range 6 {
			cluster := &clusterv1alpha1.MemberCluster{
				ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("c%d", i), Labels: map[string]string{"tier": pick([]string{"gold", "tin"})}},
				Spec:       clusterv1alpha1.ClusterSpec{Region: pick([]string{"eu", "us"})},
			}
			choice, err := set.For(cluster)
			if err != nil {
				t.Fatal(err)
			}
			got, _, err := choice.Apply(manifest(t, web))
			if err != nil {
				t.Fatal(err)
			}
			result := fmt.Sprint(lines(got))
			if known, ok := seen[choice.Key]; ok && known != result {
				t.Fatalf("%s\nclusters of the key %q get\n%s\nand\n%s", &spec, choice.Key, known, result)
			}
			seen[choice.Key] = result
			if choice.Key == "" && result != fmt.Sprint(lines(manifest(t, web))) {
				t.Fatalf("%s\nwithout a key, %s is changed", &spec, cluster.Name)
			}
		}
	}
}

func TestWhatCannotBeCompiledHoldsUpOnlyWhatThePolicySelects(t *testing.T) {
	for _, invalid := range []string{
		"targetCluster: {labelSelector: {matchExpressions: [{key: a, operator: Near}]}}",
		"overriders: {labelsOverrider: [{operator: add, value: {a: '${cluster.colour}'}}]}",
	} {
		p, err := override.Compile(overridePolicy(t, "p", "resourceSelectors: [{apiVersion: apps/v1, kind: Deployment}]\n"+invalid))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := render([]*override.Policy{p}, manifest(t, web), eu1); err == nil || !strings.HasPrefix(err.Error(), "OverridePolicy shop/p: spec.") {
			t.Errorf("what the policy selects: %v", err)
		}
		if _, err := render([]*override.Policy{p}, manifest(t, settings), eu1); err != nil {
			t.Errorf("what it does not select: %v", err)
		}
	}
	p, err := override.Compile(overridePolicy(t, "p", "resourceSelectors: [{apiVersion: a/b/c, kind: Deployment}]"))
	if err == nil || p.Selects(templateOf(manifest(t, web))) {
		t.Errorf("a selector that does not compile selects, or is not told of: %v", err)
	}
}

func TestASetSaysWhetherClustersMatter(t *testing.T) {
	for _, test := range []struct {
		spec string
		want bool
	}{
		{"overriders: {labelsOverrider: [{operator: add, value: {a: b}}]}", false},
		{"overriders: {labelsOverrider: [{operator: add, value: {a: '${cluster.name}'}}]}", true},
		{"targetCluster: {clusterNames: [a]}\noverriders: {labelsOverrider: [{operator: add, value: {a: b}}]}", true},
	} {
		if got := override.Select(compile(t, overridePolicy(t, "p", test.spec)), templateOf(manifest(t, web))).DiffersByCluster(); got != test.want {
			t.Errorf("%s: %v", test.spec, got)
		}
	}
	if (*override.Set)(nil).DiffersByCluster() {
		t.Error("nothing differs where there are no overrides")
	}
}

func FuzzDocumentsInStrings(f *testing.F) {
	f.Add("a: 1", "/a", `"x"`, true)
	f.Add(`{"a": [1, null]}`, "/a/-1", `{"b": "${cluster.name}"}`, false)
	f.Add("a: &a [1]\nb: *a", "/b/0", "null", true)
	f.Add("- null\n", "/0/x", "1", true)
	f.Add("a: 1", "", "null", true)
	f.Fuzz(func(t *testing.T, text, pointer, value string, asYAML bool) {
		if !json.Valid([]byte(value)) {
			return
		}
		obj := manifest(t, settings)
		obj.Object["data"] = map[string]any{"d": text}
		p := overridePolicy(t, "p", "{}")
		for _, operator := range []policyv1alpha1.OverriderOperator{"add", "replace", "remove"} {
			o := policyv1alpha1.FieldOverrider{FieldPath: "/data/d"}
			if asYAML {
				o.YAML = []policyv1alpha1.YAMLPatchOperation{{SubPath: pointer, Operator: operator}}
				o.YAML[0].Value.Raw = []byte(value)
			} else {
				o.JSON = []policyv1alpha1.JSONPatchOperation{{SubPath: pointer, Operator: operator}}
				o.JSON[0].Value.Raw = []byte(value)
			}
			p.Spec.Overriders.FieldOverrider = []policyv1alpha1.FieldOverrider{o}
			// What the first makes of the document, the others find.
			p.Spec.Overriders.Plaintext = []policyv1alpha1.PlaintextOverrider{{Path: pointer, Operator: operator, Value: apiextensionsv1.JSON{Raw: []byte(value)}}}
			for _, next := range []policyv1alpha1.PlaintextOverrider{{Path: "/0", Operator: "remove"}, {Path: "/-", Operator: "add"}, {Path: "/a/b", Operator: "add"}} {
				q := p.DeepCopy()
				q.Spec.Overriders.Plaintext = append(q.Spec.Overriders.Plaintext, next)
				if compiled, err := override.Compile(q); err == nil {
					_, _ = render([]*override.Policy{compiled}, obj, eu1)
				}
			}
			compiled, err := override.Compile(p)
			if err != nil {
				continue
			}
			got, err := render([]*override.Policy{compiled}, obj, eu1)
			if err != nil {
				continue
			}
			if encoded, err := workv1alpha1.EncodeManifest(got.Object); err != nil || got.GetName() != "settings" {
				t.Errorf("%s: %v", encoded, err)
			}
		}
	})
}
