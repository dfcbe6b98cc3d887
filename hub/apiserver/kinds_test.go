package apiserver_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/component-base/metrics/legacyregistry"
	"k8s.io/utils/ptr"

	clusterv1alpha1 "windlass.dev/windlass/api/cluster/v1alpha1"
	policyv1alpha1 "windlass.dev/windlass/api/policy/v1alpha1"
	windlassv1alpha1 "windlass.dev/windlass/api/windlass/v1alpha1"
	workv1alpha1 "windlass.dev/windlass/api/work/v1alpha1"
	"windlass.dev/windlass/hub/apiserver"
)

var policyResource = policyv1alpha1.SchemeGroupVersion.WithResource("propagationpolicies")

const configMapManifest = `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a","namespace":"default"},"data":{"k":"v"}}`

func newWork(cluster, name, manifest string) *workv1alpha1.PropagationWork {
	return &workv1alpha1.PropagationWork{
		ObjectMeta: metav1.ObjectMeta{Namespace: workv1alpha1.ExecutionNamespace(cluster), Name: name},
		Spec: workv1alpha1.WorkSpec{Workload: workv1alpha1.WorkloadTemplate{
			Manifests: []runtime.RawExtension{{Raw: []byte(manifest)}},
		}},
	}
}

func newCluster(name string) *clusterv1alpha1.MemberCluster {
	return &clusterv1alpha1.MemberCluster{ObjectMeta: metav1.ObjectMeta{Name: name}}
}

func newJoinToken(name string) *windlassv1alpha1.JoinToken {
	return &windlassv1alpha1.JoinToken{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       windlassv1alpha1.JoinTokenSpec{SecretHash: strings.Repeat("0123456789abcdef", 4)},
	}
}

func newBinding(namespace, name string) *workv1alpha1.PropagationBinding {
	return &workv1alpha1.PropagationBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec: workv1alpha1.BindingSpec{
			Resource:           workv1alpha1.ObjectReference{APIVersion: "v1", Kind: "ConfigMap", Namespace: namespace, Name: name},
			ConflictResolution: policyv1alpha1.ConflictAbort,
		},
	}
}

func newPolicy(namespace, name string) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "policy.karmada.io/v1alpha1", "kind": "PropagationPolicy",
		"metadata": map[string]any{"name": name, "namespace": namespace},
		"spec":     map[string]any{"resourceSelectors": []any{map[string]any{"apiVersion": "v1", "kind": "ConfigMap"}}},
	}}
}

func TestTheHubsKindsAreFoundByTheirShortNames(t *testing.T) {
	_, lists, err := hub.client.Discovery().ServerGroupsAndResources()
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for _, list := range lists {
		if !strings.Contains(list.GroupVersion, "karmada.io") && !strings.Contains(list.GroupVersion, "windlass.dev") {
			continue
		}
		for _, resource := range list.APIResources {
			if resource.Name != "" && !strings.Contains(resource.Name, "/") {
				found[resource.Name] = fmt.Sprintf("%s %s %v %s", resource.Kind, strings.Join(resource.ShortNames, ","), resource.Namespaced, strings.Join(resource.Categories, ","))
			}
		}
	}
	want := map[string]string{
		"propagationpolicies":        "PropagationPolicy pp true karmada-io",
		"clusterpropagationpolicies": "ClusterPropagationPolicy cpp false karmada-io",
		"overridepolicies":           "OverridePolicy op true karmada-io",
		"clusteroverridepolicies":    "ClusterOverridePolicy cop false karmada-io",
		"propagationbindings":        "PropagationBinding pb,rb true karmada-io",
		"clusterpropagationbindings": "ClusterPropagationBinding cpb,crb false karmada-io",
		"propagationworks":           "PropagationWork wk true karmada-io",
		"memberclusters":             "MemberCluster mc,cluster,clusters false karmada-io",
		"jointokens":                 "JoinToken jt false karmada-io",
		"workloadrebalancers":        "WorkloadRebalancer  false karmada-io",
	}
	if diff := cmp.Diff(want, found); diff != "" {
		t.Error(diff)
	}
}

func TestKubectlShowsTheColumnsOfEachKind(t *testing.T) {
	ctx := t.Context()
	makeNamespace(t, "karmada-es-tables")
	makeNamespace(t, "tables")
	burning := newCluster("tables")
	burning.Spec.Taints = []corev1.Taint{{Key: "burning", Effect: corev1.TaintEffectNoSchedule}}
	if _, err := hub.dynamic.Resource(policyResource).Namespace("tables").Create(ctx, newPolicy("tables", "p"), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{
		second(hub.server.Stores.Bindings.Create(ctx, newBinding("tables", "b"))),
		second(hub.server.Stores.Works.Create(ctx, newWork("tables", "w", configMapManifest))),
		second(hub.server.Stores.MemberClusters.Create(ctx, burning)),
		second(hub.server.Stores.JoinTokens.Create(ctx, newJoinToken("tables"))),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		path    string
		columns []string
		first   []any
	}{
		{
			path:    "/apis/policy.karmada.io/v1alpha1/namespaces/tables/propagationpolicies",
			columns: []string{"Name", "Conflict-Resolution", "Priority", "Ready", "Reason", "Templates", "Applied", "Healthy", "Age"},
			first:   []any{"p", "Abort", 0.0, "", "", 0.0, 0.0, 0.0},
		},
		{
			path:    "/apis/work.karmada.io/v1alpha1/namespaces/tables/propagationbindings",
			columns: []string{"Name", "Scheduled", "FullyApplied", "Clusters", "Applied", "Healthy", "Leaving", "Age"},
			first:   []any{"b", "", "", 0.0, 0.0, 0.0, 0.0},
		},
		{
			path:    "/apis/work.karmada.io/v1alpha1/namespaces/karmada-es-tables/propagationworks",
			columns: []string{"Name", "Kind", "Applied", "Available", "Template", "Age"},
			first:   []any{"w", "", "", "", ""},
		},
		{
			path:    "/apis/cluster.karmada.io/v1alpha1/memberclusters/tables",
			columns: []string{"Name", "Version", "Mode", "Ready", "Joined", "Agent", "Provider", "Region", "Taints", "Age"},
			first:   []any{"tables", "", "Pull", "", "", "", "", "", "burning:NoSchedule"},
		},
		{
			path:    "/apis/windlass.dev/v1alpha1/jointokens/tables",
			columns: []string{"Name", "Cluster", "Used", "Expires", "Age"},
			first:   []any{"tables", "", ""},
		},
		{
			path:    "/apis/policy.karmada.io/v1alpha1/clusteroverridepolicies",
			columns: []string{"Name", "Rules", "Effective", "Reason", "Age"},
		},
	} {
		t.Run(c.path, func(t *testing.T) {
			body, err := hub.client.CoreV1().RESTClient().Get().AbsPath(c.path).
				SetHeader("Accept", "application/json;as=Table;v=v1;g=meta.k8s.io").DoRaw(ctx)
			if err != nil {
				t.Fatal(err)
			}
			table := &metav1.Table{}
			if err := json.Unmarshal(body, table); err != nil {
				t.Fatal(err)
			}
			var columns []string
			for _, definition := range table.ColumnDefinitions {
				columns = append(columns, definition.Name)
			}
			if diff := cmp.Diff(c.columns, columns); diff != "" {
				t.Error(diff)
			}
			if c.first == nil {
				return
			}
			if len(table.Rows) != 1 {
				t.Fatalf("%d rows, want one", len(table.Rows))
			}
			if diff := cmp.Diff(c.first, table.Rows[0].Cells[:len(c.first)]); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func with(labels map[string]string, key, value string) map[string]string {
	labels[key] = value
	return labels
}

func second[T any](_ T, err error) error { return err }

func TestWhatIsValidAndHasNoEffectIsAWarning(t *testing.T) {
	makeNamespace(t, "warned")
	if _, err := hub.server.Stores.MemberClusters.Create(t.Context(), newCluster("warned")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the cluster is known", func(ctx context.Context) (bool, error) {
		known, _, err := hub.server.Stores.MemberClusters.List(ctx, apiserver.ListOptions{Cached: true})
		return slices.ContainsFunc(known, func(c *clusterv1alpha1.MemberCluster) bool { return c.Name == "warned" }), err
	})
	const policies = "/apis/policy.karmada.io/v1alpha1/namespaces/warned/"
	selectors := `"resourceSelectors":[{"apiVersion":"v1","kind":"ConfigMap"}]`
	for _, test := range []struct {
		reason, path, body string
		want               []string
	}{
		{"a field beside another", policies + "propagationpolicies", `{"metadata":{"name":"a"},"spec":{` + selectors + `,
			"placement":{"replicaScheduling":{"replicaSchedulingType":"Duplicated","replicaDivisionPreference":"Aggregated"}}}}`,
			[]string{"spec.placement.replicaScheduling.replicaDivisionPreference has no effect: with replicaSchedulingType Duplicated every cluster gets all replicas"}},
		{"a cluster that is not there", policies + "propagationpolicies", `{"metadata":{"name":"b"},"spec":{` + selectors + `,
			"suspension":{"dispatchingOnClusters":{"clusterNames":["warned","wraned"]}}}}`,
			[]string{"spec.suspension.dispatchingOnClusters.clusterNames[1] pauses nothing yet: no cluster is called wraned"}},
		{"the same for all namespaces", "/apis/policy.karmada.io/v1alpha1/clusterpropagationpolicies", `{"metadata":{"name":"warned"},"spec":{` + selectors + `,
			"placement":{"clusterAffinity":{"exclude":["wraned"]}}}}`,
			[]string{"spec.placement.clusterAffinity.exclude[0] excludes nothing yet: no cluster is called wraned"}},
		{"an overrider", policies + "overridepolicies", `{"metadata":{"name":"a"},"spec":{"overrideRules":[{"overriders":{"argsOverrider":[{"containerName":"c","operator":"remove"}]}}]}}`,
			[]string{"spec.overrideRules[0].overriders.argsOverrider[0] changes nothing: its value names nothing to remove"}},
		{"one for all namespaces", "/apis/policy.karmada.io/v1alpha1/clusteroverridepolicies", `{"metadata":{"name":"warned"},"spec":{}}`,
			[]string{"spec.overrideRules is empty: the policy changes nothing"}},
		{"a mark of a template", "/api/v1/namespaces/warned/configmaps", `{"metadata":{"name":"a","annotations":{"work.karmada.io/conflict-resolution":"overwirte"}}}`,
			[]string{`metadata.annotations[work.karmada.io/conflict-resolution] has no effect, for it says "overwirte": it may say overwrite or abort`}},
	} {
		t.Run(test.reason, func(t *testing.T) {
			client := hub.client.CoreV1().RESTClient()
			name := &metav1.PartialObjectMetadata{}
			if err := json.Unmarshal([]byte(test.body), name); err != nil {
				t.Fatal(err)
			}
			writes := map[string]*rest.Request{
				"created": client.Post().AbsPath(test.path).SetHeader("Content-Type", "application/json").Body([]byte(test.body)),
				"changed": client.Patch(types.MergePatchType).AbsPath(test.path, name.Name).Body([]byte(`{"metadata":{"labels":{"changed":"true"}}}`)),
			}
			for _, when := range []string{"created", "changed"} {
				result := writes[when].Do(t.Context())
				if err := result.Error(); err != nil {
					t.Fatal(err)
				}
				var said []string
				for _, warning := range result.Warnings() {
					said = append(said, warning.Text)
				}
				if diff := cmp.Diff(test.want, said); diff != "" {
					t.Errorf("warnings when it is %s (-want +got):\n%s", when, diff)
				}
			}
		})
	}
}

func TestAPolicyIsIdentifiedForAsLongAsItLives(t *testing.T) {
	ctx := t.Context()
	makeNamespace(t, "identified")
	policies := hub.dynamic.Resource(policyResource).Namespace("identified")
	created, err := policies.Create(ctx, newPolicy("identified", "p"), metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	id := created.GetLabels()[workv1alpha1.PropagationPolicyPermanentIDLabel]
	if id == "" {
		t.Fatal("it has no permanent id")
	}
	if diff := cmp.Diff([]string{workv1alpha1.PropagationPolicyFinalizer}, created.GetFinalizers()); diff != "" {
		t.Error(diff)
	}
	if selector, _, _ := unstructured.NestedSlice(created.Object, "spec", "resourceSelectors"); selector[0].(map[string]any)["namespace"] != "identified" {
		t.Errorf("the selector %v does not name the policy's namespace", selector[0])
	}

	t.Run("a file without id and version replaces it as people are used to", func(t *testing.T) {
		plain := newPolicy("identified", "p")
		if err := unstructured.SetNestedField(plain.Object, int64(7), "spec", "priority"); err != nil {
			t.Fatal(err)
		}
		replaced, err := policies.Update(ctx, plain, metav1.UpdateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if got := replaced.GetLabels()[workv1alpha1.PropagationPolicyPermanentIDLabel]; got != id {
			t.Errorf("the id is %q, was %q", got, id)
		}
		if diff := cmp.Diff([]string{workv1alpha1.PropagationPolicyFinalizer}, replaced.GetFinalizers()); diff != "" {
			t.Error(diff)
		}
		if replaced.GetGeneration() != created.GetGeneration()+1 {
			t.Errorf("generation %d after a change of generation %d", replaced.GetGeneration(), created.GetGeneration())
		}
	})
	t.Run("another id is refused", func(t *testing.T) {
		other := newPolicy("identified", "p")
		other.SetLabels(map[string]string{workv1alpha1.PropagationPolicyPermanentIDLabel: "other"})
		if _, err := policies.Update(ctx, other, metav1.UpdateOptions{}); !apierrors.IsInvalid(err) {
			t.Errorf("error %v, want one of validation", err)
		}
	})
	t.Run("server-side apply creates and changes", func(t *testing.T) {
		applied, err := policies.Apply(ctx, "applied", newPolicy("identified", "applied"), metav1.ApplyOptions{FieldManager: "test"})
		if err != nil {
			t.Fatal(err)
		}
		// As if that was an hour ago: times have seconds, and within one of them nothing could differ.
		fields := applied.GetManagedFields()
		for i := range fields {
			fields[i].Time = &metav1.Time{Time: fields[i].Time.Add(-time.Hour)}
		}
		applied.SetManagedFields(fields)
		applied.SetLabels(with(applied.GetLabels(), "aged", "true")) // times alone would not be written
		aged, err := policies.Update(ctx, applied, metav1.UpdateOptions{FieldManager: "test"})
		if err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(aged.GetManagedFields(), func(f metav1.ManagedFieldsEntry) bool { return f.Time.Equal(fields[0].Time) }) {
			t.Fatalf("nothing is of an hour ago: %v", aged.GetManagedFields())
		}
		again, err := policies.Apply(ctx, "applied", newPolicy("identified", "applied"), metav1.ApplyOptions{FieldManager: "test"})
		if err != nil {
			t.Fatal(err)
		}
		if aged.GetResourceVersion() != again.GetResourceVersion() {
			t.Errorf("applying the same again changed the object (-before +after):\n%s", cmp.Diff(aged.Object, again.Object))
		}
	})
	t.Run("the finalizer keeps it until its controller is done, and is not put back then", func(t *testing.T) {
		if err := policies.Delete(ctx, "p", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		deleting, err := hub.server.Stores.PropagationPolicies.Get(ctx, "identified", "p")
		if err != nil {
			t.Fatal(err)
		}
		deleting = deleting.DeepCopy()
		deleting.Finalizers = nil
		if _, err := hub.server.Stores.PropagationPolicies.Update(ctx, deleting); err != nil {
			t.Fatal(err)
		}
		if _, err := policies.Get(ctx, "p", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
			t.Errorf("it is still there: %v", err)
		}
	})
}

func TestSpecAndStatusAreWrittenApart(t *testing.T) {
	ctx := t.Context()
	clusters := hub.server.Stores.MemberClusters
	created, err := clusters.Create(ctx, newCluster("apart"))
	if err != nil {
		t.Fatal(err)
	}
	both := created.DeepCopy()
	both.Labels = map[string]string{"a": "b"}
	both.Spec.Region = "north"
	both.Status.KubernetesVersion = "v1.37.2"

	written, err := clusters.UpdateStatus(ctx, both)
	if err != nil {
		t.Fatal(err)
	}
	if written.Spec.Region != "" || written.Labels["a"] != "" || written.Status.KubernetesVersion != "v1.37.2" || written.Generation != 1 {
		t.Errorf("after a write of the status: labels %v, spec %+v, status %+v, generation %d", written.Labels, written.Spec, written.Status, written.Generation)
	}
	both.ResourceVersion = written.ResourceVersion
	both.Status.KubernetesVersion = "v0"
	written, err = clusters.Update(ctx, both)
	if err != nil {
		t.Fatal(err)
	}
	if written.Spec.Region != "north" || written.Labels["a"] != "b" || written.Status.KubernetesVersion != "v1.37.2" || written.Generation != 2 {
		t.Errorf("after a write of the object: labels %v, spec %+v, status %+v, generation %d", written.Labels, written.Spec, written.Status, written.Generation)
	}
	resource := clusterv1alpha1.SchemeGroupVersion.WithResource("memberclusters")
	patched, err := hub.dynamic.Resource(resource).Patch(ctx, "apart", types.MergePatchType,
		[]byte(`{"spec":{"region":"south"},"status":{"kubernetesVersion":"v1.36.0"}}`), metav1.PatchOptions{}, "status")
	if err != nil {
		t.Fatal(err)
	}
	region, _, _ := unstructured.NestedString(patched.Object, "spec", "region")
	version, _, _ := unstructured.NestedString(patched.Object, "status", "kubernetesVersion")
	if region != "north" || version != "v1.36.0" {
		t.Errorf("after a patch of the status by a user: region %q, version %q", region, version)
	}
}

func TestOnlyTheHubSaysWhichTokenAttachedACluster(t *testing.T) {
	ctx := t.Context()
	users := hub.dynamic.Resource(clusterv1alpha1.SchemeGroupVersion.WithResource("memberclusters"))
	own := hub.server.Stores.MemberClusters
	says := func(token string) []byte {
		return fmt.Appendf(nil, `{"metadata":{"annotations":{%q:%q}}}`, clusterv1alpha1.JoinTokenAnnotation, token)
	}
	file := func(name string, annotations map[string]string) *unstructured.Unstructured {
		object := &unstructured.Unstructured{Object: map[string]any{"apiVersion": clusterv1alpha1.SchemeGroupVersion.String(), "kind": "MemberCluster"}}
		object.SetName(name)
		object.SetAnnotations(annotations)
		return object
	}

	made, err := users.Create(ctx, file("attached", map[string]string{clusterv1alpha1.JoinTokenAnnotation: "copied", "team": "a"}), metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"team": "a"}, made.GetAnnotations()); diff != "" {
		t.Errorf("what a user says of a new cluster: %s", diff)
	}
	_, err = users.Patch(ctx, "attached", types.MergePatchType, says("stolen"), metav1.PatchOptions{})
	if !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), "metadata.annotations[windlass.dev/join-token]: Forbidden: the hub alone writes it: remove it") {
		t.Errorf("a user says it of a cluster that waits: %v", err)
	}

	waiting, err := own.Get(ctx, "", "attached")
	if err != nil {
		t.Fatal(err)
	}
	attached := waiting.DeepCopy()
	attached.Annotations = with(attached.Annotations, clusterv1alpha1.JoinTokenAnnotation, "first")
	if _, err := own.Update(ctx, attached); err != nil {
		t.Fatalf("the hub says it: %v", err)
	}
	for _, write := range []struct {
		reason string
		do     func() (*unstructured.Unstructured, error)
	}{
		{"by a patch", func() (*unstructured.Unstructured, error) {
			return users.Patch(ctx, "attached", types.MergePatchType, says("stolen"), metav1.PatchOptions{})
		}},
		{"by a file", func() (*unstructured.Unstructured, error) {
			return users.Update(ctx, file("attached", map[string]string{clusterv1alpha1.JoinTokenAnnotation: "stolen"}), metav1.UpdateOptions{})
		}},
		{"by server-side apply", func() (*unstructured.Unstructured, error) {
			return users.Apply(ctx, "attached", file("attached", map[string]string{clusterv1alpha1.JoinTokenAnnotation: "stolen"}), metav1.ApplyOptions{FieldManager: "test", Force: true})
		}},
	} {
		if _, err := write.do(); !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), `the hub alone writes it: set it back to "first", or leave it out`) {
			t.Errorf("a user changes it %s: %v", write.reason, err)
		}
	}
	if _, err := users.Patch(ctx, "attached", types.MergePatchType, says("stolen"), metav1.PatchOptions{}, "status"); err != nil {
		t.Fatal(err)
	}
	replaced, err := users.Update(ctx, file("attached", map[string]string{"team": "b"}), metav1.UpdateOptions{})
	if err != nil {
		t.Fatalf("a user's file leaves it out: %v", err)
	}
	if diff := cmp.Diff(map[string]string{"team": "b", clusterv1alpha1.JoinTokenAnnotation: "first"}, replaced.GetAnnotations()); diff != "" {
		t.Error(diff)
	}
}

func TestAWriteIsFencedByTheVersionThatItsDecisionRead(t *testing.T) {
	ctx := t.Context()
	makeNamespace(t, "fenced")
	created, err := hub.server.Stores.Bindings.Create(ctx, newBinding("fenced", "b"))
	if err != nil {
		t.Fatal(err)
	}
	current := created.DeepCopy()
	current.Labels = map[string]string{"n": "1"}
	if current, err = hub.server.Stores.Bindings.Update(ctx, current); err != nil {
		t.Fatal(err)
	}
	cluster, err := hub.server.Stores.MemberClusters.Create(ctx, newCluster("fenced"))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		reason  string
		write   func() error
		refused func(error) bool
	}{
		{
			reason: "a write of an old version",
			write: func() error {
				old := created.DeepCopy()
				old.Labels = map[string]string{"n": "2"}
				return second(hub.server.Stores.Bindings.Update(ctx, old))
			},
			refused: apierrors.IsConflict,
		},
		{
			reason:  "a schedule of an old version",
			write:   func() error { return second(hub.server.Stores.Bindings.UpdateSchedule(ctx, scheduled(created, "a"))) },
			refused: apierrors.IsConflict,
		},
		{
			reason: "a status without a version",
			write: func() error {
				unfenced := current.DeepCopy()
				unfenced.ResourceVersion = ""
				unfenced.Status.Summary.Clusters = 1
				return second(hub.server.Stores.Bindings.UpdateStatus(ctx, unfenced))
			},
			refused: apierrors.IsInvalid,
		},
		{
			reason: "a cluster without a version, which a person might overwrite",
			write: func() error {
				unfenced := cluster.DeepCopy()
				unfenced.ResourceVersion = ""
				unfenced.Spec.Region = "north"
				return second(hub.server.Stores.MemberClusters.Update(ctx, unfenced))
			},
			refused: apierrors.IsInvalid,
		},
		{
			reason: "a binding without a version from a user",
			write: func() error {
				content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(current)
				if err != nil {
					return err
				}
				unfenced := &unstructured.Unstructured{Object: content}
				unfenced.SetAPIVersion("work.karmada.io/v1alpha1")
				unfenced.SetKind("PropagationBinding")
				unfenced.SetResourceVersion("")
				unfenced.SetLabels(map[string]string{"n": "3"})
				resource := workv1alpha1.SchemeGroupVersion.WithResource("propagationbindings")
				return second(hub.dynamic.Resource(resource).Namespace("fenced").Update(ctx, unfenced, metav1.UpdateOptions{}))
			},
			refused: apierrors.IsInvalid,
		},
		{
			reason: "a deletion of another incarnation",
			write: func() error {
				return hub.server.Stores.Bindings.Delete(ctx, "fenced", "b", apiserver.DeleteOptions{UID: "another"})
			},
			refused: apierrors.IsConflict,
		},
		{
			reason: "a deletion of an old version",
			write: func() error {
				return hub.server.Stores.Bindings.Delete(ctx, "fenced", "b", apiserver.DeleteOptions{ResourceVersion: created.ResourceVersion})
			},
			refused: apierrors.IsConflict,
		},
	} {
		t.Run(c.reason, func(t *testing.T) {
			if err := c.write(); !c.refused(err) {
				t.Errorf("error %v", err)
			}
		})
	}
	if err := hub.server.Stores.Bindings.Delete(ctx, "fenced", "b", apiserver.DeleteOptions{UID: created.UID, ResourceVersion: current.ResourceVersion}); err != nil {
		t.Errorf("a deletion of what is there: %v", err)
	}
}

func scheduled(binding *workv1alpha1.PropagationBinding, clusters ...string) *workv1alpha1.PropagationBinding {
	decided := binding.DeepCopy()
	decided.Spec.Clusters = nil
	for _, cluster := range clusters {
		decided.Spec.Clusters = append(decided.Spec.Clusters, workv1alpha1.TargetCluster{Name: cluster, Replicas: 1})
	}
	decided.Annotations = map[string]string{workv1alpha1.AppliedPlacementAnnotation: "{}", "mine": "too"}
	decided.Status.LastScheduledTime = &metav1.Time{Time: time.Unix(1900000000, 0)}
	meta.SetStatusCondition(&decided.Status.Conditions, metav1.Condition{
		Type: workv1alpha1.BindingScheduled, Status: metav1.ConditionTrue, Reason: "Success", Message: "found",
	})
	return decided
}

func TestAScheduleIsOneWriteOfTheSchedulersFieldsAlone(t *testing.T) {
	ctx := t.Context()
	makeNamespace(t, "scheduled")
	created, err := hub.server.Stores.Bindings.Create(ctx, newBinding("scheduled", "b"))
	if err != nil {
		t.Fatal(err)
	}
	reported := created.DeepCopy()
	reported.Status.Summary.Applied = 3
	meta.SetStatusCondition(&reported.Status.Conditions, metav1.Condition{Type: workv1alpha1.BindingFullyApplied, Status: metav1.ConditionFalse, Reason: "Waiting"})
	if reported, err = hub.server.Stores.Bindings.UpdateStatus(ctx, reported); err != nil {
		t.Fatal(err)
	}

	decided := scheduled(reported, "a", "b")
	decided.Spec.PropagateDeps = true
	decided.Spec.ConflictResolution = policyv1alpha1.ConflictOverwrite
	decided.Labels = map[string]string{"a": "b"}
	decided.Status.Summary.Applied = 9
	meta.SetStatusCondition(&decided.Status.Conditions, metav1.Condition{Type: workv1alpha1.BindingFullyApplied, Status: metav1.ConditionTrue, Reason: "Wrong"})
	before := decided.DeepCopy()
	written, err := hub.server.Stores.Bindings.UpdateSchedule(ctx, decided)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, decided); diff != "" {
		t.Errorf("what was passed in was changed: %s", diff)
	}
	if len(written.Spec.Clusters) != 2 || written.Status.LastScheduledTime == nil || !meta.IsStatusConditionTrue(written.Status.Conditions, workv1alpha1.BindingScheduled) {
		t.Errorf("the decision is not there: %+v %+v", written.Spec.Clusters, written.Status)
	}
	if written.Annotations[workv1alpha1.AppliedPlacementAnnotation] != "{}" || written.Annotations["mine"] != "" {
		t.Errorf("annotations %v, want the applied placement alone", written.Annotations)
	}
	if written.Spec.ConflictResolution != policyv1alpha1.ConflictAbort || written.Spec.PropagateDeps || len(written.Labels) != 0 ||
		written.Status.Summary.Applied != 3 || meta.IsStatusConditionTrue(written.Status.Conditions, workv1alpha1.BindingFullyApplied) {
		t.Errorf("fields of other writers were changed: labels %v, spec %+v, status %+v", written.Labels, written.Spec, written.Status)
	}
	condition := meta.FindStatusCondition(written.Status.Conditions, workv1alpha1.BindingScheduled)
	if written.Generation != 2 || written.Status.SchedulerObservedGeneration != 2 || condition.ObservedGeneration != 2 {
		t.Errorf("generation %d, observed %d, by the condition %d; all should be 2", written.Generation, written.Status.SchedulerObservedGeneration, condition.ObservedGeneration)
	}

	again, err := hub.server.Stores.Bindings.UpdateSchedule(ctx, written)
	if err != nil {
		t.Fatal(err)
	}
	if again.ResourceVersion != written.ResourceVersion {
		t.Error("the same decision was written twice")
	}
}

func TestABindingIsPlacedInTheWriteOfItsSpec(t *testing.T) {
	ctx := t.Context()
	makeNamespace(t, "placed")
	bindings := hub.server.Stores.Bindings
	var clusters []string // to which the scheduler sends every binding of this test
	hub.server.Stores.PlaceBy(func(b workv1alpha1.Binding) bool {
		if b.GetNamespace() != "placed" || b.GetName() == "foreign" {
			return false
		}
		decided := scheduled(b.(*workv1alpha1.PropagationBinding), clusters...)
		decided.DeepCopyInto(b.(*workv1alpha1.PropagationBinding))
		return true
	})
	check := func(what string, got *workv1alpha1.PropagationBinding, err error, generation int64, want ...string) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		names := []string{}
		for _, target := range got.Spec.Clusters {
			names = append(names, target.Name)
		}
		if diff := cmp.Diff(want, names); diff != "" {
			t.Errorf("%s: clusters (-want +got):\n%s", what, diff)
		}
		condition := meta.FindStatusCondition(got.Status.Conditions, workv1alpha1.BindingScheduled)
		if condition == nil || got.Generation != generation || got.Status.SchedulerObservedGeneration != generation || condition.ObservedGeneration != generation {
			t.Errorf("%s: generation %d, observed %d, condition %+v; want all of generation %d", what, got.Generation, got.Status.SchedulerObservedGeneration, condition, generation)
		}
	}

	clusters = []string{"a"}
	reporting := newBinding("placed", "b")
	reporting.Status.Summary.Applied = 5
	created, err := bindings.Create(ctx, reporting)
	check("a new binding", created, err, 1, "a")
	if created.Status.Summary.Applied != 0 {
		t.Error("a new binding brought along more of a status than the scheduler's decision")
	}

	clusters = []string{"a", "b"}
	scaled := created.DeepCopy()
	scaled.Spec.Replicas = ptr.To[int32](3)
	updated, err := bindings.Update(ctx, scaled)
	check("another spec", updated, err, 2, "a", "b")

	clusters = []string{"c"}
	labelled := updated.DeepCopy()
	labelled.Labels = map[string]string{"a": "b"}
	same, err := bindings.Update(ctx, labelled)
	check("the same spec", same, err, 2, "a", "b")

	foreign, err := bindings.Create(ctx, newBinding("placed", "foreign"))
	if err != nil {
		t.Fatal(err)
	}
	if len(foreign.Spec.Clusters) > 0 || foreign.Status.SchedulerObservedGeneration != 0 || len(foreign.Status.Conditions) > 0 {
		t.Errorf("a binding of another scheduler was placed: %+v %+v", foreign.Spec, foreign.Status)
	}
}

func TestTheCauseOfARemovalIsWrittenWithTheDeletion(t *testing.T) {
	ctx := t.Context()
	makeNamespace(t, "karmada-es-caused")
	kept := newWork("caused", "kept", configMapManifest)
	kept.Finalizers = []string{workv1alpha1.WorkFinalizer}
	for _, work := range []*workv1alpha1.PropagationWork{kept, newWork("caused", "free", configMapManifest)} {
		if _, err := hub.server.Stores.Works.Create(ctx, work); err != nil {
			t.Fatal(err)
		}
	}
	mark := func(work *workv1alpha1.PropagationWork) { work.Spec.RemovalCause = workv1alpha1.RemovalNotSelected }
	created, err := hub.server.Stores.Works.Get(ctx, "karmada-es-caused", "kept")
	if err != nil {
		t.Fatal(err)
	}
	events, err := hub.server.Stores.Works.Watch(ctx, created.ResourceVersion, apiserver.ListOptions{Namespace: "karmada-es-caused"})
	if err != nil {
		t.Fatal(err)
	}
	defer events.Stop()
	for _, name := range []string{"kept", "free"} {
		if err := hub.server.Stores.Works.DeleteMarked(ctx, "karmada-es-caused", name, apiserver.DeleteOptions{}, mark); err != nil {
			t.Fatal(err)
		}
	}
	for event := range events.ResultChan() {
		work := event.Object.(*workv1alpha1.PropagationWork)
		if work.Name != "kept" {
			continue
		}
		if event.Type != watch.Modified || work.DeletionTimestamp == nil || work.Spec.RemovalCause != workv1alpha1.RemovalNotSelected {
			t.Errorf("the first change is %s with deletion timestamp %v and cause %q", event.Type, work.DeletionTimestamp, work.Spec.RemovalCause)
		}
		// As what the registry itself deletes.
		if work.Generation != created.Generation+1 || work.DeletionGracePeriodSeconds == nil || *work.DeletionGracePeriodSeconds != 0 {
			t.Errorf("generation %d (before %d), grace %v", work.Generation, created.Generation, work.DeletionGracePeriodSeconds)
		}
		break
	}
	if _, err := hub.server.Stores.Works.Get(ctx, "karmada-es-caused", "free"); !apierrors.IsNotFound(err) {
		t.Errorf("the work that nothing keeps is still there: %v", err)
	}
}

func TestAnObjectThatIsBeingDeletedGoesWithItsLastFinalizer(t *testing.T) {
	ctx := t.Context()
	works := hub.server.Stores.Works
	makeNamespace(t, "karmada-es-ended")
	for _, c := range []struct {
		reason string
		change func(said *workv1alpha1.PropagationWork)
		refuse func(error) bool // nil for one that goes
	}{
		{"the last one is removed", func(said *workv1alpha1.PropagationWork) { said.Finalizers = nil }, nil},
		{"the decision was made on an older state", func(said *workv1alpha1.PropagationWork) {
			said.Finalizers, said.ResourceVersion = nil, "1"
		}, apierrors.IsConflict},
		{"it is another object of the name", func(said *workv1alpha1.PropagationWork) {
			said.Finalizers, said.UID = nil, "another"
		}, apierrors.IsConflict},
		{"it is gone", func(said *workv1alpha1.PropagationWork) {
			said.Finalizers, said.Name = nil, "gone"
		}, apierrors.IsNotFound},
	} {
		work := newWork("ended", fmt.Sprintf("w-%d", time.Now().UnixNano()), configMapManifest)
		work.Finalizers = []string{workv1alpha1.WorkFinalizer}
		if _, err := works.Create(ctx, work); err != nil {
			t.Fatal(err)
		}
		if err := works.DeleteMarked(ctx, work.Namespace, work.Name, apiserver.DeleteOptions{}, func(*workv1alpha1.PropagationWork) {}); err != nil {
			t.Fatal(err)
		}
		stored, err := works.Get(ctx, work.Namespace, work.Name)
		if err != nil {
			t.Fatal(err)
		}
		said := stored.DeepCopy()
		c.change(said)
		_, err = works.Update(ctx, said)
		_, there := works.Get(ctx, work.Namespace, work.Name)
		switch {
		case c.refuse == nil && (err != nil || !apierrors.IsNotFound(there)):
			t.Errorf("%s: error %v, and it is there: %v", c.reason, err, there)
		case c.refuse != nil && (!c.refuse(err) || there != nil):
			t.Errorf("%s: error %v, and it is there: %v", c.reason, err, there)
		}
	}
	kept := newWork("ended", "kept", configMapManifest)
	kept.Finalizers = []string{workv1alpha1.WorkFinalizer}
	stored, err := works.Create(ctx, kept)
	if err != nil {
		t.Fatal(err)
	}
	stored = stored.DeepCopy()
	stored.Finalizers, stored.DeletionTimestamp = nil, &metav1.Time{Time: time.Now()}
	if _, err := works.Update(ctx, stored); !apierrors.IsConflict(err) {
		t.Errorf("one that nobody deletes: error %v", err)
	}
}

func TestADeletionInTheProcessDoesNotReadWhatTheCacheShows(t *testing.T) {
	ctx := t.Context()
	bindings := hub.server.Stores.Bindings
	binding := newBinding("default", "deleted-unread")
	binding.Finalizers = []string{workv1alpha1.BindingFinalizer}
	created, err := bindings.Create(ctx, binding)
	if err != nil {
		t.Fatal(err)
	}
	informer := synced(t, bindings.ListerWatcher(), &workv1alpha1.PropagationBinding{}).GetStore()
	bindings.Know(func(namespace, name string) (*workv1alpha1.PropagationBinding, bool) {
		found, ok, _ := informer.GetByKey(namespace + "/" + name)
		if !ok {
			return nil, false
		}
		return found.(*workv1alpha1.PropagationBinding), true
	})
	defer bindings.Know(func(string, string) (*workv1alpha1.PropagationBinding, bool) { return nil, false })
	shown := func(what string, holds func(*workv1alpha1.PropagationBinding) bool) {
		t.Helper()
		eventually(t, "the informer shows "+what, func(context.Context) (bool, error) {
			return slices.ContainsFunc(informer.List(), func(found any) bool { return holds(found.(*workv1alpha1.PropagationBinding)) }), nil
		})
	}
	shown("the binding", func(b *workv1alpha1.PropagationBinding) bool { return b.UID == created.UID })
	before := storeReads(t, "propagationbindings")

	if err := bindings.Delete(ctx, "default", binding.Name, apiserver.DeleteOptions{UID: created.UID}); err != nil {
		t.Fatal(err)
	}
	shown("its deletion", func(b *workv1alpha1.PropagationBinding) bool {
		return b.UID == created.UID && b.DeletionTimestamp != nil
	})
	if read := storeReads(t, "propagationbindings") - before; read != 0 {
		t.Errorf("the store was read %d times", read)
	}
	marked, err := bindings.Get(ctx, "default", binding.Name)
	if err != nil {
		t.Fatal(err)
	}
	if marked.Generation != created.Generation+1 || marked.DeletionGracePeriodSeconds == nil || *marked.DeletionGracePeriodSeconds != 0 {
		t.Errorf("generation %d after %d, grace period %v", marked.Generation, created.Generation, marked.DeletionGracePeriodSeconds)
	}
	released := marked.DeepCopy()
	released.Finalizers = nil
	if _, err := bindings.Update(ctx, released); err != nil {
		t.Fatal(err)
	}
	unkept := newBinding("default", "deleted-at-once")
	if _, err := bindings.Create(ctx, unkept); err != nil {
		t.Fatal(err)
	}
	if err := bindings.Delete(ctx, "default", unkept.Name, apiserver.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := bindings.Get(ctx, "default", unkept.Name); !apierrors.IsNotFound(err) {
		t.Errorf("what nothing keeps is there after its deletion: %v", err)
	}
}

// storeReads is how often objects of a resource were read from etcd, one by one.
func storeReads(t *testing.T, resource string) uint64 {
	t.Helper()
	_, reads := measured(t, "etcd_request_duration_seconds", map[string]string{"operation": "get", "resource": resource})
	return reads
}

// measured counts the metrics of a name that have some labels, and their samples. It takes long when servers of this process have ended
// before, of whose stores nobody answers for their sizes.
func measured(t *testing.T, name string, having map[string]string) (metrics int, samples uint64) {
	t.Helper()
	families, err := legacyregistry.DefaultGatherer.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() != name {
			continue
		}
		for _, metric := range family.GetMetric() {
			has := map[string]string{}
			for _, label := range metric.GetLabel() {
				if _, asked := having[label.GetName()]; asked {
					has[label.GetName()] = label.GetValue()
				}
			}
			if maps.Equal(has, having) {
				metrics++
				samples += metric.GetHistogram().GetSampleCount()
			}
		}
	}
	return metrics, samples
}

func TestAWorkThatIsBeingDeletedIsReplacedInOneWrite(t *testing.T) {
	ctx := t.Context()
	works := hub.server.Stores.Works
	makeNamespace(t, "karmada-es-replaced")
	kept := newWork("replaced", "kept", configMapManifest)
	kept.Finalizers = []string{workv1alpha1.WorkFinalizer}
	created, err := works.Create(ctx, kept)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := works.Replace(ctx, created, kept); !apierrors.IsConflict(err) {
		t.Errorf("one that nobody deletes: error %v", err)
	}
	if err := works.Delete(ctx, created.Namespace, created.Name, apiserver.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	leaving, err := works.Get(ctx, created.Namespace, created.Name)
	if err != nil {
		t.Fatal(err)
	}
	stale := leaving.DeepCopy()
	stale.ResourceVersion = created.ResourceVersion
	if _, err := works.Replace(ctx, stale, kept); !apierrors.IsConflict(err) {
		t.Errorf("with a version of which nothing is known any more: error %v", err)
	}
	invalid := newWork("replaced", "kept", "")
	if _, err := works.Replace(ctx, leaving, invalid); !apierrors.IsInvalid(err) {
		t.Errorf("by an invalid one: error %v", err)
	}
	events, err := works.Watch(ctx, leaving.ResourceVersion, apiserver.ListOptions{Namespace: created.Namespace})
	if err != nil {
		t.Fatal(err)
	}
	defer events.Stop()
	replaced, err := works.Replace(ctx, leaving, kept)
	if err != nil {
		t.Fatal(err)
	}
	if replaced.UID == created.UID || replaced.DeletionTimestamp != nil || replaced.Generation != 1 {
		t.Errorf("it is UID %s (before %s), generation %d, deleted %v", replaced.UID, created.UID, replaced.Generation, replaced.DeletionTimestamp)
	}
	gone := leaving.DeepCopy()
	gone.Name = "gone"
	if _, err := works.Replace(ctx, gone, newWork("replaced", "gone", configMapManifest)); !apierrors.IsConflict(err) {
		t.Errorf("one that is gone by now: error %v", err)
	}
	event := <-events.ResultChan()
	if work := event.Object.(*workv1alpha1.PropagationWork); event.Type != watch.Modified || work.UID != replaced.UID {
		t.Errorf("a watch shows %s of UID %s, want one change to %s", event.Type, work.UID, replaced.UID)
	}
}

// refuseGuarded stands for what a hub knows of clusters that are being removed.
func refuseGuarded(_ context.Context, work *workv1alpha1.PropagationWork) error {
	if work.Name == "refused" {
		return apierrors.NewForbidden(workv1alpha1.Resource("propagationworks"), work.Name, errors.New("the cluster is being removed"))
	}
	return nil
}

func TestAWorkNeedsAnActiveNamespaceAndTheConsentOfTheGuards(t *testing.T) {
	ctx := t.Context()
	if _, err := hub.server.Stores.Works.Create(ctx, newWork("nowhere", "w", configMapManifest)); !apierrors.IsNotFound(err) {
		t.Errorf("without a namespace: error %v", err)
	}
	makeNamespace(t, "karmada-es-guarded")
	if _, err := hub.server.Stores.Works.Create(ctx, newWork("guarded", "refused", configMapManifest)); !apierrors.IsForbidden(err) {
		t.Errorf("against the guard: error %v", err)
	}
	if _, err := hub.server.Stores.Works.Create(ctx, newWork("guarded", "allowed", configMapManifest)); err != nil {
		t.Error(err)
	}
	leaving := newWork("guarded", "refused", configMapManifest)
	leaving.DeletionTimestamp = &metav1.Time{Time: time.Now()}
	if _, err := hub.server.Stores.Works.Replace(ctx, leaving, newWork("guarded", "refused", configMapManifest)); !apierrors.IsForbidden(err) {
		t.Errorf("replaced against the guard: error %v", err)
	}
}

func TestInvalidObjectsAreRefusedOnEveryWay(t *testing.T) {
	ctx := t.Context()
	makeNamespace(t, "karmada-es-invalid")
	empty := newWork("invalid", "w", "")
	if _, err := hub.server.Stores.Works.Create(ctx, empty); !apierrors.IsInvalid(err) {
		t.Errorf("in process: error %v", err)
	}
	mislabelled := newWork("invalid", "mislabelled", configMapManifest)
	mislabelled.Labels = map[string]string{"a label": "it is not"}
	_, err := hub.server.Stores.Works.Create(ctx, mislabelled)
	if status := apierrors.APIStatus(nil); !errors.As(err, &status) || len(status.Status().Details.Causes) != 2 { // its key, and its value
		t.Errorf("metadata is refused with %v, want each fault once", err)
	}
	policy := newPolicy("default", "invalid")
	unstructured.RemoveNestedField(policy.Object, "spec", "resourceSelectors")
	if _, err := hub.dynamic.Resource(policyResource).Namespace("default").Create(ctx, policy, metav1.CreateOptions{}); !apierrors.IsInvalid(err) {
		t.Errorf("over HTTP: error %v", err)
	}
}

func TestListsAndWatchesShowWhatWasWritten(t *testing.T) {
	ctx := t.Context()
	makeNamespace(t, "karmada-es-listed")
	works := hub.server.Stores.Works
	for i := range 5 {
		work := newWork("listed", fmt.Sprintf("w%d", i), configMapManifest)
		work.Labels = map[string]string{"even": fmt.Sprint(i%2 == 0)}
		if _, err := works.Create(ctx, work); err != nil {
			t.Fatal(err)
		}
	}
	all, version, err := works.List(ctx, apiserver.ListOptions{Namespace: "karmada-es-listed"})
	if err != nil {
		t.Fatal(err)
	}
	even, _, err := works.List(ctx, apiserver.ListOptions{Selector: labels.SelectorFromSet(labels.Set{"even": "true"})})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) != 5 || len(even) != 3 {
		t.Errorf("listed %d and %d, want 5 and 3", len(all), len(even))
	}

	events, err := works.Watch(ctx, version, apiserver.ListOptions{Namespace: "karmada-es-listed"})
	if err != nil {
		t.Fatal(err)
	}
	defer events.Stop()
	informer := cache.NewSharedIndexInformer(works.ListerWatcher(), &workv1alpha1.PropagationWork{}, 0, cache.Indexers{cache.NamespaceIndex: cache.MetaNamespaceIndexFunc})
	go informer.RunWithContext(ctx)
	if !cache.WaitForCacheSync(ctx.Done(), informer.HasSynced) {
		t.Fatal("the informer did not sync")
	}
	if err := works.Delete(ctx, "karmada-es-listed", "w0", apiserver.DeleteOptions{UID: all[0].UID}); err != nil {
		t.Fatal(err)
	}
	event := <-events.ResultChan()
	if work, ok := event.Object.(*workv1alpha1.PropagationWork); !ok || event.Type != watch.Deleted || work.Name != "w0" {
		t.Errorf("watched %s of a %T", event.Type, event.Object)
	}
	eventually(t, "the informer has seen the deletion", func(ctx context.Context) (bool, error) {
		indexed, err := informer.GetIndexer().ByIndex(cache.NamespaceIndex, "karmada-es-listed")
		return len(indexed) == 4, err
	})
}

func TestEveryKindHasASchemaInOpenAPI(t *testing.T) {
	for _, version := range []schema.GroupVersion{
		policyv1alpha1.SchemeGroupVersion, workv1alpha1.SchemeGroupVersion, clusterv1alpha1.SchemeGroupVersion, windlassv1alpha1.SchemeGroupVersion,
	} {
		t.Run(version.String(), func(t *testing.T) {
			path := "/openapi/v3/apis/" + version.String()
			var body []byte
			eventually(t, path+" is published", func(ctx context.Context) (bool, error) {
				var err error
				body, err = hub.client.CoreV1().RESTClient().Get().AbsPath(path).DoRaw(ctx)
				return err == nil, nil
			})
			if !strings.Contains(string(body), `"x-kubernetes-group-version-kind"`) || !strings.Contains(string(body), "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta") {
				t.Error("the schemas have no kinds or no metadata")
			}
		})
	}
}

func TestThePlacementOfABindingIsExplainedByTheScheduler(t *testing.T) {
	ctx := t.Context()
	makeNamespace(t, "explained")
	namespaced := newBinding("explained", "settings")
	if _, err := hub.server.Stores.Bindings.Create(ctx, namespaced); err != nil {
		t.Fatal(err)
	}
	cluster := &workv1alpha1.ClusterPropagationBinding{ObjectMeta: metav1.ObjectMeta{Name: "explained-reader"}, Spec: newBinding("", "reader").Spec}
	if _, err := hub.server.Stores.ClusterBindings.Create(ctx, cluster); err != nil {
		t.Fatal(err)
	}
	ofNamespace := hub.dynamic.Resource(workv1alpha1.SchemeGroupVersion.WithResource("propagationbindings")).Namespace("explained")
	ofCluster := hub.dynamic.Resource(workv1alpha1.SchemeGroupVersion.WithResource("clusterpropagationbindings"))
	hub.server.Stores.ExplainBy(func(_ context.Context, b workv1alpha1.Binding) *workv1alpha1.BindingPlacement {
		return &workv1alpha1.BindingPlacement{ObjectMeta: metav1.ObjectMeta{Namespace: b.GetNamespace(), Name: b.GetName()}, Resource: b.GetSpec().Resource,
			Reason: "NoClusterFit", Refusals: []workv1alpha1.PlacementRefusal{{Rule: "ClusterDeleting", Message: "is being removed", Clusters: []string{"a", "b"}}}}
	})
	for _, test := range []struct {
		reason   string
		bindings interface {
			Get(context.Context, string, metav1.GetOptions, ...string) (*unstructured.Unstructured, error)
		}
		name, template string
	}{
		{"of a namespaced template", ofNamespace, "settings", "settings"},
		{"of one without a namespace", ofCluster, "explained-reader", "reader"},
	} {
		got, err := test.bindings.Get(ctx, test.name, metav1.GetOptions{}, "placement")
		if err != nil {
			t.Errorf("%s: %v", test.reason, err)
			continue
		}
		answer := &workv1alpha1.BindingPlacement{}
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(got.Object, answer); err != nil {
			t.Fatal(err)
		}
		if answer.Kind != "BindingPlacement" || answer.Name != test.name || answer.Resource.Name != test.template || len(answer.Refusals) != 1 || len(answer.Refusals[0].Clusters) != 2 {
			t.Errorf("%s it is %+v", test.reason, answer)
		}
		if _, err := test.bindings.Get(ctx, "absent", metav1.GetOptions{}, "placement"); !apierrors.IsNotFound(err) {
			t.Errorf("%s that is not there: %v", test.reason, err)
		}
	}
}

// Nobody would take the finalizers off that the API server else adds for the garbage collector.
func TestABindingGoesHoweverItsDependentsAreToBeDeletedForItHasNone(t *testing.T) {
	ctx := t.Context()
	makeNamespace(t, "uncollected")
	for _, how := range []metav1.DeletionPropagation{metav1.DeletePropagationForeground, metav1.DeletePropagationOrphan} {
		t.Run(string(how), func(t *testing.T) {
			stores := hub.server.Stores
			cluster := &workv1alpha1.ClusterPropagationBinding{ObjectMeta: metav1.ObjectMeta{Name: "b"}, Spec: newBinding("", "b").Spec}
			_, errNamespaced := stores.Bindings.Create(ctx, newBinding("uncollected", "b"))
			_, errCluster := stores.ClusterBindings.Create(ctx, cluster)
			if err := errors.Join(errNamespaced, errCluster); err != nil {
				t.Fatal(err)
			}
			options := apiserver.DeleteOptions{Propagation: how}
			if err := errors.Join(stores.Bindings.Delete(ctx, "uncollected", "b", options), stores.ClusterBindings.Delete(ctx, "", "b", options)); err != nil {
				t.Fatal(err)
			}
			if left, err := stores.Bindings.Get(ctx, "uncollected", "b"); !apierrors.IsNotFound(err) {
				t.Errorf("it stays with %v: %v", left.GetFinalizers(), err)
			}
			if left, err := stores.ClusterBindings.Get(ctx, "", "b"); !apierrors.IsNotFound(err) {
				t.Errorf("the one without a namespace stays with %v: %v", left.GetFinalizers(), err)
			}
		})
	}
}
