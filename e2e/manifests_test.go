package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/discovery"

	"windlass.dev/windlass/e2e/fleet"
)

// manifests returns the files of a folder beside the API types, by name.
func manifests(t *testing.T, folder string) map[string]string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("..", "api", "policy", "v1alpha1", "testdata", folder, "*.yaml"))
	if err != nil || len(files) < 25 {
		t.Fatalf("found %d manifests: %v", len(files), err)
	}
	contents := map[string]string{}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		contents[strings.TrimSuffix(filepath.Base(file), ".yaml")] = string(content)
	}
	return contents
}

// located is what a manifest's object is for a user whose kubeconfig says the namespace.
func located(object *unstructured.Unstructured, namespace string) fleet.Object {
	if object.GetNamespace() == "" && !strings.HasPrefix(object.GetKind(), "Cluster") {
		object.SetNamespace(namespace)
	}
	return fleet.Object{APIVersion: object.GetAPIVersion(), Kind: object.GetKind(), Namespace: object.GetNamespace(), Name: object.GetName()}
}

// harmless takes the place of a policy: it selects one object, which does not exist. What can't be changed it has as well.
func harmless(policy *unstructured.Unstructured) *unstructured.Unstructured {
	object := policy.DeepCopy()
	spec := map[string]any{"resourceSelectors": []any{
		map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "name": "there-is-none"},
	}}
	if scheduler, named, _ := unstructured.NestedString(policy.Object, "spec", "schedulerName"); named {
		spec["schedulerName"] = scheduler
	}
	object.Object["spec"] = spec
	return object
}

var dryRun = []string{metav1.DryRunAll}

func TestManifestsAsKarmadaUsersWriteThemAreAccepted(t *testing.T) {
	f := fleet.Shared(t)
	namespace := f.Hub().Namespace(t)
	files := manifests(t, "accepted")
	for _, name := range slices.Sorted(maps.Keys(files)) {
		t.Run(name, func(t *testing.T) {
			for _, policy := range fleet.Decode(t, strings.ReplaceAll(files[name], "namespace: default", "namespace: "+namespace)) {
				object := located(policy, namespace)
				api := f.Hub().Resource(t, object)
				if _, err := api.Create(t.Context(), policy, metav1.CreateOptions{DryRun: dryRun, FieldValidation: metav1.FieldValidationStrict}); err != nil {
					t.Fatalf("creating it: %v", err)
				}
				// Over an existing policy. In earnest it would claim what it selects, on a hub that others test on.
				if _, err := api.Create(t.Context(), harmless(policy), metav1.CreateOptions{}); err != nil {
					t.Fatalf("creating a harmless one of its name: %v", err)
				}
				f.Hub().DeleteAfter(t, object)
				if _, err := api.Apply(t.Context(), object.Name, policy, metav1.ApplyOptions{DryRun: dryRun, FieldManager: "e2e", Force: true}); err != nil {
					t.Fatalf("applying it to one that exists: %v", err)
				}
				if object.Namespace != "" {
					appliedTwice(t, f, object, policy)
				}
			}
		})
	}
}

// appliedTwice applies a policy in earnest, in a namespace where there is nothing for it, and again,
// which must change nothing.
func appliedTwice(t *testing.T, f *fleet.Fleet, object fleet.Object, policy *unstructured.Unstructured) {
	t.Helper()
	api := f.Hub().Resource(t, object)
	options := metav1.ApplyOptions{FieldManager: "e2e", Force: true}
	first, err := api.Apply(t.Context(), object.Name, policy, options)
	if err != nil {
		t.Fatalf("applying it: %v", err)
	}
	second, err := api.Apply(t.Context(), object.Name, policy, options)
	if err != nil {
		t.Fatalf("applying it again: %v", err)
	}
	if first.GetGeneration() != second.GetGeneration() {
		t.Errorf("applying it again has changed it: generation %d, then %d", first.GetGeneration(), second.GetGeneration())
	}
}

func TestManifestsThatAreWrongAreRefusedWithTheFieldAndTheReason(t *testing.T) {
	f := fleet.Shared(t)
	files := manifests(t, "refused")
	for _, name := range slices.Sorted(maps.Keys(files)) {
		t.Run(name, func(t *testing.T) {
			policy := fleet.Decode(t, files[name])[0]
			object := located(policy, "default")
			_, err := f.Hub().Resource(t, object).Create(t.Context(), policy, metav1.CreateOptions{DryRun: dryRun, FieldValidation: metav1.FieldValidationStrict})
			refusedFor(t, err, files[name])
		})
	}
	t.Run("a good policy is not changed into a wrong one", func(t *testing.T) {
		namespace := f.Hub().Namespace(t)
		good := policyFor(configMap(namespace, "settings"))
		f.Hub().Apply(t, good)
		err := f.Hub().TryApply(t, good+"  conflictResolution: Merge\n")
		if !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), `spec.conflictResolution: Unsupported value: "Merge"`) {
			t.Errorf("the hub says %v", err)
		}
	})
	t.Run("a field that does not exist is named", func(t *testing.T) {
		policy := fleet.Decode(t, policyFor(configMap("default", "settings"))+"  placment: {}\n")[0]
		_, err := f.Hub().Resource(t, located(policy, "default")).Create(t.Context(), policy, metav1.CreateOptions{DryRun: dryRun, FieldValidation: metav1.FieldValidationStrict})
		if err == nil || !strings.Contains(err.Error(), `unknown field "spec.placment"`) {
			t.Errorf("the hub says %v", err)
		}
	})
}

// refusedFor checks that an error has the causes that a manifest's comments state, and no others.
func refusedFor(t *testing.T, err error, manifest string) {
	t.Helper()
	var status apierrors.APIStatus
	if !apierrors.IsInvalid(err) || !errors.As(err, &status) {
		t.Fatalf("the hub says %v, want a refusal as invalid", err)
	}
	var unexpected []string
	for _, cause := range status.Status().Details.Causes {
		unexpected = append(unexpected, cause.Field+": "+cause.Message)
	}
	for line := range strings.Lines(manifest) {
		want, stated := strings.CutPrefix(strings.TrimSpace(line), "# refused: ")
		if !stated {
			continue
		}
		at := slices.IndexFunc(unexpected, func(said string) bool { return strings.HasPrefix(said, want) })
		if at < 0 {
			t.Errorf("no cause begins with %q: %v", want, err)
			continue
		}
		if field, _, _ := strings.Cut(want, ": "); !strings.Contains(err.Error(), field) {
			t.Errorf("the message that a user reads does not name %s: %v", field, err)
		}
		unexpected = slices.Delete(unexpected, at, at+1)
	}
	if len(unexpected) > 0 {
		t.Errorf("causes that the manifest does not state: %q", unexpected)
	}
}

// ownGroups are the groups whose kinds are the hub's own.
var ownGroups = []string{"policy.karmada.io/v1alpha1", "work.karmada.io/v1alpha1", "cluster.karmada.io/v1alpha1", "apps.karmada.io/v1alpha1", "windlass.dev/v1alpha1"}

func TestEveryFieldOfTheHubsKindsIsDocumented(t *testing.T) {
	f := fleet.Shared(t)
	client := discovery.NewDiscoveryClientForConfigOrDie(f.Hub().Config).RESTClient()
	for _, group := range ownGroups {
		t.Run(group, func(t *testing.T) {
			raw, err := client.Get().AbsPath("/openapi/v3/apis/" + group).DoRaw(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			var document struct {
				Components struct {
					Schemas map[string]struct {
						Description string
						Properties  map[string]struct{ Description string }
					}
				}
			}
			if err := json.Unmarshal(raw, &document); err != nil {
				t.Fatal(err)
			}
			fields := 0
			for name, schema := range document.Components.Schemas {
				if strings.HasPrefix(name, "io.k8s.") {
					continue
				}
				if schema.Description == "" {
					t.Errorf("%s has no description", name)
				}
				for field, property := range schema.Properties {
					fields++
					// What a list or an object of Kubernetes consists of is not ours to explain.
					if property.Description == "" && !slices.Contains([]string{"metadata", "items", "spec", "status"}, field) {
						t.Errorf("%s.%s has no description", name, field)
					}
				}
			}
			if fields < 5 {
				t.Errorf("only %d fields were looked at", fields)
			}
		})
	}
	out, err := f.Hub().CLI(t.Context(), "kubectl", "explain", "pp.spec.conflictResolution")
	if err != nil || !strings.Contains(out, "FIELD: conflictResolution") || !strings.Contains(out, "Abort") {
		t.Errorf("kubectl explain: %v: %s", err, out)
	}
}

func TestTheHubsKindsHaveShortNamesAndOneCategory(t *testing.T) {
	f := fleet.Shared(t)
	client := discovery.NewDiscoveryClientForConfigOrDie(f.Hub().Config)
	found := map[string]string{}
	for _, group := range ownGroups {
		list, err := client.ServerResourcesForGroupVersion(group)
		if err != nil {
			t.Fatal(err)
		}
		for _, resource := range list.APIResources {
			if strings.Contains(resource.Name, "/") {
				continue
			}
			for _, name := range resource.ShortNames {
				found[name] = resource.Kind
			}
			if !slices.Equal(resource.Categories, []string{"karmada-io"}) {
				t.Errorf("%s is in the categories %q", resource.Name, resource.Categories)
			}
		}
	}
	for name, kind := range map[string]string{
		"pp": "PropagationPolicy", "cpp": "ClusterPropagationPolicy", "op": "OverridePolicy", "cop": "ClusterOverridePolicy",
		"rb": "PropagationBinding", "crb": "ClusterPropagationBinding", "wk": "PropagationWork", "cluster": "MemberCluster",
	} {
		if found[name] != kind {
			t.Errorf("%s is short for %q, want %s", name, found[name], kind)
		}
	}
}

func TestKubectlGetShowsWhatMattersOfEachKind(t *testing.T) {
	f := fleet.Shared(t)
	namespace := f.Hub().Namespace(t)
	object := configMap(namespace, "settings")
	f.Hub().Apply(t, fill(namespace, settings)+"---"+policyFor(object))
	f.Hub().Eventually(t, policy(namespace, "configmap-settings"), fleet.ConditionIs("Ready", "True"), fleet.Field("status.healthy", 1))
	cases := []struct {
		kind    string
		args    []string
		columns string
		row     []string // the beginning of a row that must be there
	}{
		{"cluster", nil, "NAME VERSION MODE READY JOINED AGE", []string{"member1", "v1.37.2", "Pull", "True", "True"}},
		{"clusters", []string{"--output=wide"}, "NAME VERSION MODE READY JOINED AGENT PROVIDER REGION TAINTS AGE", []string{"member1", "v1.37.2", "Pull", "True", "True"}},
		{"pp", []string{"--namespace=" + namespace}, "NAME CONFLICT-RESOLUTION PRIORITY READY REASON TEMPLATES APPLIED HEALTHY AGE",
			[]string{"configmap-settings", "Abort", "0", "True", "Ready", "1", "1", "1"}},
		{"rb", []string{"--namespace=" + namespace}, "NAME SCHEDULED FULLYAPPLIED CLUSTERS APPLIED HEALTHY AGE",
			[]string{"settings-configmap", "True", "True", "2", "2", "2"}},
		{"wk", []string{"--namespace=karmada-es-member1", "--output=wide"}, "NAME KIND APPLIED AVAILABLE TEMPLATE AGE", nil},
		{"karmada-io", []string{"--namespace=" + namespace}, "NAME CONFLICT-RESOLUTION PRIORITY READY REASON TEMPLATES APPLIED HEALTHY AGE",
			[]string{"propagationpolicy.policy.karmada.io/configmap-settings"}},
	}
	for _, c := range cases {
		t.Run(c.kind, func(t *testing.T) {
			out, err := f.Hub().CLI(t.Context(), append([]string{"kubectl", "get", c.kind}, c.args...)...)
			if err != nil {
				t.Fatal(err)
			}
			var rows [][]string
			for line := range strings.Lines(out) {
				rows = append(rows, strings.Fields(line))
			}
			isColumns := func(row []string) bool { return strings.Join(row, " ") == c.columns }
			if !slices.ContainsFunc(rows, isColumns) {
				t.Errorf("no line has the columns %s:\n%s", c.columns, out)
			}
			isRow := func(row []string) bool { return len(row) >= len(c.row) && slices.Equal(row[:len(c.row)], c.row) }
			if !slices.ContainsFunc(rows, isRow) {
				t.Errorf("no line begins with %v:\n%s", c.row, out)
			}
		})
	}
	t.Run("a join token", func(t *testing.T) {
		token := f.Token(t, "shown")
		id := strings.Split(token, ".")[1]
		f.Hub().DeleteAfter(t, joinToken(token))
		out, err := f.Hub().CLI(t.Context(), "kubectl", "get", "jointokens", id)
		if err != nil || !strings.Contains(strings.Join(strings.Fields(out), " "), fmt.Sprintf("NAME CLUSTER USED EXPIRES AGE %s shown", id)) {
			t.Errorf("%v: %s", err, out)
		}
	})
}

// joinToken is the hub's object for a token.
func joinToken(token string) fleet.Object {
	return fleet.Object{APIVersion: "windlass.dev/v1alpha1", Kind: "JoinToken", Name: strings.Split(token, ".")[1]}
}
