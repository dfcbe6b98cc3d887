package agenttest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	linkv1 "windlass.dev/windlass/api/link/v1"
	workv1alpha1 "windlass.dev/windlass/api/work/v1alpha1"

	"windlass.dev/windlass/agent/state"
	"windlass.dev/windlass/pkg/session"
)

func TestADeploymentIsAppliedMarkedAndReportedHealthy(t *testing.T) {
	r := newRig(t)
	r.put(work("web", 1, r.deployment("web", 2)))
	report := r.reported("web", "a healthy report", func(report *linkv1.Report) bool {
		return report.Applied && report.Observed && report.Health == linkv1.Health_HEALTH_HEALTHY
	})
	if !strings.Contains(string(report.Status), `"readyReplicas":2`) {
		t.Errorf("the report's status is %s, want 2 ready replicas in it", report.Status)
	}
	for stage, m := range map[string]*linkv1.Milestone{
		"received": report.Generations.Received, "applied": report.Generations.Applied, "healthy": report.Generations.Healthy,
	} {
		if m.GetGeneration() != 1 || !m.GetAt().IsValid() {
			t.Errorf("the milestone %s is %v, want generation 1", stage, m)
		}
	}
	live := r.get(deployments, "web")
	if live.GetLabels()[workv1alpha1.ManagedLabel] != "true" || live.GetAnnotations()[workv1alpha1.HubIDAnnotation] != hubID ||
		live.GetAnnotations()[workv1alpha1.WorkNameAnnotation] != "web" {
		t.Errorf("the marks are %v and %v", live.GetLabels(), live.GetAnnotations())
	}
	namespace, err := r.clients.Dynamic.Resource(namespaces).Get(t.Context(), r.namespace, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if namespace.GetLabels()[workv1alpha1.ManagedLabel] != "true" {
		t.Errorf("the namespace that was made for it has the labels %v, want the mark among them", namespace.GetLabels())
	}
	before := live.GetResourceVersion()
	r.put(work("web", 2, r.deployment("web", 2)))
	r.applied("web", 2)
	if after := r.get(deployments, "web"); after.GetGeneration() != live.GetGeneration() {
		t.Errorf("an apply that changes nothing took the object from %s to %s", before, after.GetResourceVersion())
	}
}

func TestAnUpdateTakesAwayWhatTheNewGenerationDoesNotName(t *testing.T) {
	r := newRig(t)
	r.put(work("c", 1, r.configMap("c", map[string]any{"a": "1", "b": "1"})))
	r.applied("c", 1)
	r.put(work("c", 2, r.configMap("c", map[string]any{"a": "2"})))
	r.applied("c", 2)
	if data := text(r.get(configMaps, "c"), "data"); data != "map[a:2]" {
		t.Errorf("data is %s", data)
	}
}

func TestWhatIsChangedByHandIsPutRight(t *testing.T) {
	r := newRig(t)
	r.put(work("c", 1, r.configMap("c", map[string]any{"a": "1"})))
	r.put(work("web", 1, r.deployment("web", 1)))
	r.applied("c", 1)
	r.applied("web", 1)

	for _, c := range []struct{ reason, patch string }{
		{"a changed value", `{"data":{"a":"by hand"}}`},
		{"a value added with kubectl", `{"data":{"b":"by hand"}}`},
		{"a mark taken away", `{"metadata":{"annotations":{"windlass.dev/hub-id":null}}}`},
		{"the label taken away, by which objects are watched", `{"metadata":{"labels":{"karmada.io/managed":null}}}`},
		{"all marks taken away", `{"metadata":{"labels":{"karmada.io/managed":null},"annotations":null}}`},
	} {
		r.byHand(configMaps, "c", c.patch)
		r.until(c.reason+" to be put right", func() error {
			live := r.get(configMaps, "c")
			if text(live, "data") != "map[a:1]" || live.GetAnnotations()[workv1alpha1.HubIDAnnotation] != hubID ||
				live.GetLabels()[workv1alpha1.ManagedLabel] != "true" {
				return fmt.Errorf("it is %v", live.Object)
			}
			return nil
		})
	}

	uid := r.get(configMaps, "c").GetUID()
	if err := r.client(configMaps).Delete(t.Context(), "c", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	r.until("a deleted object to be made again", func() error {
		live, err := r.client(configMaps).Get(t.Context(), "c", metav1.GetOptions{})
		if err != nil {
			return err
		}
		if live.GetUID() == uid {
			return errors.New("it is still the old one")
		}
		return nil
	})

	r.byHand(deployments, "web", `{"spec":{"replicas":3,"template":{"spec":{"containers":[{"name":"web","image":"hacked"}]}}}}`)
	r.until("replicas and image to be put right", func() error {
		live := r.get(deployments, "web")
		containers, _, _ := unstructured.NestedSlice(live.Object, "spec", "template", "spec", "containers")
		if text(live, "spec", "replicas") != "1" || fmt.Sprint(containers[0].(map[string]any)["image"]) != "web:1" {
			return fmt.Errorf("the spec is %v", live.Object["spec"])
		}
		return nil
	})
}

func TestWhatOtherControllersAddStays(t *testing.T) {
	r := newRig(t)
	r.put(work("web", 1, r.deployment("web", 1)))
	r.applied("web", 1)
	_, err := r.client(deployments).Patch(t.Context(), "web", types.MergePatchType, []byte(
		`{"metadata":{"annotations":{"injector/done":"yes"}},"spec":{"template":{"metadata":{"annotations":{"injector/done":"yes"}}}}}`),
		metav1.PatchOptions{FieldManager: "injector"})
	if err != nil {
		t.Fatal(err)
	}
	r.byHand(deployments, "web", `{"spec":{"replicas":5}}`)
	r.until("the change by hand to be put right", func() error {
		if replicas := text(r.get(deployments, "web"), "spec", "replicas"); replicas != "1" {
			return errors.New(replicas)
		}
		return nil
	})
	live := r.get(deployments, "web")
	if live.GetAnnotations()["injector/done"] != "yes" || text(live, "spec", "template", "metadata", "annotations") != "map[injector/done:yes]" {
		t.Errorf("what the injector added is gone: %v", live.Object)
	}
}

func TestAnObjectThatIsNotOursIsRefusedOrAdopted(t *testing.T) {
	r := newRig(t)
	r.makeNamespace()
	r.create(configMaps, r.configMap("c", map[string]any{"a": "theirs", "b": "theirs"}))

	w := work("c", 1, r.configMap("c", map[string]any{"a": "ours"}))
	r.put(w)
	report := r.refused("c", "Conflict")
	if !strings.Contains(report.Message, "ConfigMap "+r.namespace+"/c exists in the member") || !strings.Contains(report.Message, "Overwrite") {
		t.Errorf("the message is %q", report.Message)
	}
	if data := text(r.get(configMaps, "c"), "data"); data != "map[a:theirs b:theirs]" {
		t.Errorf("it was touched: %s", data)
	}

	w = work("c", 2, r.configMap("c", map[string]any{"a": "ours"}))
	w.ConflictResolution = linkv1.ConflictResolution_CONFLICT_RESOLUTION_OVERWRITE
	r.put(w)
	report = r.applied("c", 2)
	if len(report.Conditions) != 1 || report.Conditions[0].Type != "Adopted" {
		t.Errorf("the conditions are %v, want Adopted", report.Conditions)
	}
	if data := text(r.get(configMaps, "c"), "data"); data != "map[a:ours]" {
		t.Errorf("after it was taken over data is %s", data)
	}
}

func TestAnObjectOfAnotherHubIsRefusedEvenWithOverwrite(t *testing.T) {
	r := newRig(t)
	r.makeNamespace()
	other := r.configMap("c", map[string]any{"a": "theirs"})
	other["metadata"].(map[string]any)["annotations"] = map[string]any{workv1alpha1.HubIDAnnotation: "another-hub-with-a-long-id"}
	r.create(configMaps, other)
	w := work("c", 1, r.configMap("c", map[string]any{"a": "ours"}))
	w.ConflictResolution = linkv1.ConflictResolution_CONFLICT_RESOLUTION_OVERWRITE
	r.put(w)
	if report := r.refused("c", "ManagedByOtherHub"); !strings.Contains(report.Message, "another-hub-") {
		t.Errorf("the message is %q, want the other hub's id in it", report.Message)
	}
	r.remove("c", false)
	r.removed("c")
	if data := text(r.get(configMaps, "c"), "data"); data != "map[a:theirs]" {
		t.Errorf("the removal touched it: %s", data)
	}
}

func TestAnObjectOfAnotherClusterOfTheHubIsRefusedAndNeverRemoved(t *testing.T) {
	r := newRig(t)
	r.makeNamespace()
	other := r.configMap("c", map[string]any{"a": "theirs"})
	other["metadata"].(map[string]any)["annotations"] = map[string]any{
		workv1alpha1.HubIDAnnotation: hubID, workv1alpha1.WorkNamespaceAnnotation: "karmada-es-elsewhere", workv1alpha1.WorkNameAnnotation: "c",
	}
	r.create(configMaps, other)
	r.put(work("c", 1, r.configMap("c", map[string]any{"a": "ours"})))
	if report := r.refused("c", "Conflict"); !strings.Contains(report.Message, "in cluster elsewhere") || !strings.Contains(report.Message, "under two names") {
		t.Errorf("the message is %q, want the other cluster in it", report.Message)
	}
	r.remove("c", false)
	r.removed("c")
	if live := r.get(configMaps, "c"); text(live, "data") != "map[a:theirs]" {
		t.Errorf("the removal touched it: %v", live.Object)
	}

	takeOver := work("taken", 1, r.configMap("c", map[string]any{"a": "ours"}))
	takeOver.ConflictResolution = linkv1.ConflictResolution_CONFLICT_RESOLUTION_OVERWRITE
	r.put(takeOver)
	r.applied("taken", 1)
	if namespace := r.get(configMaps, "c").GetAnnotations()[workv1alpha1.WorkNamespaceAnnotation]; namespace != workNamespace {
		t.Errorf("after it was taken over it belongs to %s", namespace)
	}
}

func TestANewGenerationPrunesWhatItDoesNotHold(t *testing.T) {
	r := newRig(t)
	r.put(work("w", 1, r.configMap("one", nil), r.configMap("two", nil)))
	r.applied("w", 1)
	r.put(work("w", 2, r.configMap("two", nil), r.configMap("three", nil)))
	r.applied("w", 2)
	r.absent(configMaps, "one")
	r.get(configMaps, "two")
	r.get(configMaps, "three")
}

func TestARemovalDeletesOrKeeps(t *testing.T) {
	r := newRig(t)
	r.put(work("deleted", 1, r.configMap("deleted", nil), r.deployment("deleted", 1)))
	r.put(work("kept", 1, r.configMap("kept", map[string]any{"a": "1"})))
	r.applied("deleted", 1)
	r.applied("kept", 1)

	r.remove("deleted", false)
	r.remove("kept", true)
	r.removed("deleted")
	r.removed("kept")

	r.absent(configMaps, "deleted")
	r.absent(deployments, "deleted")
	live := r.get(configMaps, "kept")
	if len(live.GetLabels()) != 0 || text(live, "metadata", "annotations") != "map[windlass.dev/preserved:true]" || text(live, "data") != "map[a:1]" {
		t.Errorf("what was kept is %v", live.Object)
	}
	if known := r.engine.Known(); len(known) != 0 {
		t.Errorf("after the removals there is still %v", known)
	}

	err := r.engine.Remove(t.Context(), &linkv1.Removal{Key: "never held", Uid: "any"})
	if !errors.Is(err, session.ErrNotHeld) {
		t.Errorf("the removal of what was never held: got %v, want ErrNotHeld", err)
	}
}

func TestWhatAnAgentLeftBehindIsRemovedByItsMark(t *testing.T) {
	r := newRig(t)
	r.put(work("left", 1, r.configMap("left", nil)))
	r.put(work("other", 1, r.configMap("other", nil)))
	r.applied("left", 1)
	r.applied("other", 1)
	r.create(configMaps, r.configMap("theirs", nil))

	// The agent ends, and nothing of its state is left: as after a crash before the first write of it.
	r.end()
	secrets := r.clients.Core.Secrets(r.ownState)
	kept, err := secrets.List(t.Context(), metav1.ListOptions{LabelSelector: state.StateLabel})
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range kept.Items {
		if err := secrets.Delete(t.Context(), secret.Name, metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	r.start()

	removal := func(names ...string) *linkv1.Removal {
		removal := &linkv1.Removal{Key: "left", Uid: "uid-of-left", Cause: linkv1.RemovalCause_REMOVAL_CAUSE_TEMPLATE_DELETED}
		for _, name := range names {
			removal.Objects = append(removal.Objects, &linkv1.ObjectRef{Version: "v1", Kind: "ConfigMap", Namespace: r.namespace, Name: name})
		}
		return removal
	}
	if err := r.engine.Remove(t.Context(), removal("other", "theirs", "nothing")); !errors.Is(err, session.ErrNotHeld) {
		t.Errorf("the removal of objects that are not this work's: got %v, want ErrNotHeld", err)
	}
	if err := r.engine.Remove(t.Context(), removal("left", "other", "theirs")); err != nil {
		t.Fatal(err)
	}
	r.removed("left")
	r.absent(configMaps, "left")
	r.get(configMaps, "other")
	r.get(configMaps, "theirs")
}

func TestARemovalWaitsWhileWhatServesTheKindIsDown(t *testing.T) {
	r := newRig(t)
	// An aggregated API whose server does not answer.
	services := r.clients.Dynamic.Resource(schema.GroupVersionResource{Group: "apiregistration.k8s.io", Version: "v1", Resource: "apiservices"})
	_, err := services.Create(t.Context(), &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService",
		"metadata": map[string]any{"name": "v1.down.example"},
		"spec": map[string]any{
			"group": "down.example", "version": "v1", "groupPriorityMinimum": 10, "versionPriority": 10, "insecureSkipTLSVerify": true,
			"service": map[string]any{"namespace": "default", "name": "there-is-none"},
		},
	}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	ended := false
	end := func() {
		if !ended {
			ended = true
			if err := services.Delete(context.Background(), "v1.down.example", metav1.DeleteOptions{}); err != nil {
				t.Error(err)
			}
		}
	}
	t.Cleanup(end)
	widget := map[string]any{
		"apiVersion": "down.example/v1", "kind": "Widget", "metadata": map[string]any{"name": "w", "namespace": r.namespace},
	}
	r.put(work("w", 1, r.configMap("beside", nil), widget))
	report := r.reported("w", "the kind that is not heard of", func(report *linkv1.Report) bool {
		return report.Reason == "KindNotServed" && strings.Contains(report.Message, "does not answer")
	})
	if report.Applied {
		t.Error("the work counts as applied")
	}
	r.remove("w", false)
	r.reported("w", "the removal to wait", func(report *linkv1.Report) bool {
		return report.Phase == linkv1.Phase_PHASE_REMOVING && report.Reason == "Removing" && strings.Contains(report.Message, "Widget") && strings.Contains(report.Message, "does not answer")
	})
	r.absent(configMaps, "beside")
	end()
	r.removed("w")
}

func TestARemovalWithAnotherUIDTouchesNothing(t *testing.T) {
	r := newRig(t)
	r.put(work("c", 1, r.configMap("c", nil)))
	r.applied("c", 1)
	err := r.engine.Remove(t.Context(), &linkv1.Removal{Key: "c", Uid: "another"})
	if !errors.Is(err, session.ErrNotHeld) {
		t.Errorf("got %v, want ErrNotHeld", err)
	}
	r.applied("c", 1)
	r.get(configMaps, "c")
}

func TestARemovalWaitsForFinalizersAndSaysSo(t *testing.T) {
	r := newRig(t)
	r.put(work("c", 1, r.configMap("c", nil)))
	r.applied("c", 1)
	patch := func(finalizers string) {
		_, err := r.client(configMaps).Patch(t.Context(), "c", types.MergePatchType, []byte(`{"metadata":{"finalizers":`+finalizers+`}}`),
			metav1.PatchOptions{FieldManager: "their-controller"})
		if err != nil {
			t.Fatal(err)
		}
	}
	patch(`["example.com/held"]`)
	r.remove("c", false)
	report := r.reported("c", "the removal to wait", func(report *linkv1.Report) bool {
		return report.Phase == linkv1.Phase_PHASE_REMOVING && report.Reason == "Removing"
	})
	if !strings.Contains(report.Message, "example.com/held") {
		t.Errorf("the message is %q, want the finalizer in it", report.Message)
	}
	patch(`null`)
	r.removed("c")
	r.absent(configMaps, "c")
}

func TestAKindThatIsNotServedIsAppliedWhenItsDefinitionArrives(t *testing.T) {
	r := newRig(t)
	gadget := map[string]any{
		"apiVersion": "example.com/v1", "kind": "Gadget",
		"metadata": map[string]any{"name": "g", "namespace": r.namespace},
		"spec":     map[string]any{"size": 3, "colour": "red"},
	}
	r.put(work("g", 1, gadget))
	r.put(work("c", 1, r.configMap("c", nil)))
	r.applied("c", 1)
	if report := r.refused("g", "KindNotServed"); !strings.Contains(report.Message, "example.com/v1, Kind=Gadget") {
		t.Errorf("the message is %q", report.Message)
	}
	definition := map[string]any{
		"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
		"metadata": map[string]any{"name": "gadgets.example.com"},
		"spec": map[string]any{
			"group": "example.com", "scope": "Namespaced",
			"names": map[string]any{"plural": "gadgets", "singular": "gadget", "kind": "Gadget", "listKind": "GadgetList"},
			"versions": []any{map[string]any{
				"name": "v1", "served": true, "storage": true,
				"schema": map[string]any{"openAPIV3Schema": map[string]any{
					"type": "object",
					"properties": map[string]any{"spec": map[string]any{
						"type": "object", "properties": map[string]any{"size": map[string]any{"type": "integer"}},
					}},
				}},
			}},
		},
	}
	r.put(work("crd", 1, definition))
	report := r.applied("g", 1)
	if len(report.Conditions) != 1 || report.Conditions[0].Type != "FieldsDropped" || !strings.Contains(report.Conditions[0].Message, "spec.colour") {
		t.Errorf("the conditions are %v, want that spec.colour was dropped", report.Conditions)
	}
	// A definition that knows the field arrives, and nothing else is said of the object.
	properties, _, err := unstructured.NestedFieldNoCopy(definition["spec"].(map[string]any)["versions"].([]any)[0].(map[string]any),
		"schema", "openAPIV3Schema", "properties", "spec", "properties")
	if err != nil {
		t.Fatal(err)
	}
	properties.(map[string]any)["colour"] = map[string]any{"type": "string"}
	r.put(work("crd", 2, definition))
	r.reported("g", "the field to be applied", func(report *linkv1.Report) bool { return report.Applied && len(report.Conditions) == 0 })
	if spec := text(r.get(gadgets, "g"), "spec"); spec != "map[colour:red size:3]" {
		t.Errorf("then its spec is %s", spec)
	}
	r.remove("g", false)
	r.removed("g")
	r.remove("crd", false)
	r.removed("crd")
}

func TestWhatTheMemberRefusesIsReportedAndHoldsUpNothing(t *testing.T) {
	r := newRig(t)
	bad := r.deployment("bad", 1)
	bad["spec"].(map[string]any)["selector"] = map[string]any{"matchLabels": map[string]any{"app": "other"}}
	wrongType := r.deployment("wrong", 1)
	wrongType["spec"].(map[string]any)["replicas"] = "many"
	unknownField := r.deployment("unknown", 1)
	unknownField["spec"].(map[string]any)["colour"] = "red"
	duplicate := r.deployment("duplicate", 1)
	container := duplicate["spec"].(map[string]any)["template"].(map[string]any)["spec"].(map[string]any)["containers"].([]any)[0].(map[string]any)
	container["env"] = []any{map[string]any{"name": "A", "value": "1"}, map[string]any{"name": "A", "value": "2"}}

	r.put(work("bad", 1, bad, r.configMap("beside", nil)))
	r.put(work("wrong", 1, wrongType))
	r.put(work("unknown", 1, unknownField))
	r.put(work("duplicate", 1, duplicate))
	r.put(work("none", 1, map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{}}))
	r.put(work("own", 1, map[string]any{"apiVersion": "v1", "kind": "Secret", "metadata": map[string]any{"name": "s", "namespace": r.ownState}}))
	r.put(work("nowhere", 1, map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": "c"}}))

	if report := r.refused("bad", "Rejected"); !strings.Contains(report.Message, "selector") {
		t.Errorf("the message is %q, want what the API server says", report.Message)
	}
	r.get(configMaps, "beside")
	if report := r.refused("wrong", "Rejected"); !strings.Contains(report.Message, "replicas") {
		t.Errorf("the message is %q, want the field in it", report.Message)
	}
	if report := r.applied("unknown", 1); len(report.Conditions) != 1 || !strings.Contains(report.Conditions[0].Message, "spec.colour") {
		t.Errorf("the conditions are %v, want that spec.colour was dropped", report.Conditions)
	}
	if report := r.applied("duplicate", 1); len(report.Conditions) != 1 || report.Conditions[0].Type != "DuplicatesMerged" {
		t.Errorf("the conditions are %v, want DuplicatesMerged", report.Conditions)
	}
	if report := r.refused("none", "InvalidManifest"); !strings.Contains(report.Message, "metadata.name") {
		t.Errorf("the message is %q", report.Message)
	}
	r.refused("own", "Guarded")
	if report := r.refused("nowhere", "InvalidManifest"); !strings.Contains(report.Message, "metadata.namespace") {
		t.Errorf("the message is %q", report.Message)
	}
}

func TestATerminatingNamespaceIsNamedAndWaitedFor(t *testing.T) {
	r := newRig(t)
	r.makeNamespace()
	held := r.configMap("held", nil)
	held["metadata"].(map[string]any)["finalizers"] = []any{"example.com/held"}
	r.create(configMaps, held)
	if err := r.clients.Dynamic.Resource(namespaces).Delete(t.Context(), r.namespace, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	r.put(work("c", 1, r.configMap("c", nil)))
	r.refused("c", "NamespaceTerminating")
	r.byHand(configMaps, "held", `{"metadata":{"finalizers":null}}`)
	r.applied("c", 1)
}

func TestAfterARestartWithoutAHubItGoesOn(t *testing.T) {
	r := newRig(t)
	r.put(work("c", 1, r.configMap("c", map[string]any{"a": "1"})))
	r.put(work("gone", 1, r.configMap("gone", nil)))
	r.applied("c", 1)
	r.applied("gone", 1)
	r.remove("gone", false)
	r.removed("gone")
	r.end()

	r.byHand(configMaps, "c", `{"data":{"a":"while the agent was away"}}`)
	r.start()
	r.applied("c", 1)
	if data := text(r.get(configMaps, "c"), "data"); data != "map[a:1]" {
		t.Errorf("after the restart data is %s", data)
	}
	known := r.engine.Known()
	if len(known) != 1 || known[0].Key != "c" || string(known[0].Hash) != "c-1" {
		t.Errorf("after the restart the agent knows %v", known)
	}
	r.byHand(configMaps, "c", `{"data":{"a":"again"}}`)
	r.until("drift to be put right", func() error {
		if data := text(r.get(configMaps, "c"), "data"); data != "map[a:1]" {
			return errors.New(data)
		}
		return nil
	})
}

func TestEveryObjectOfAWorkIsReportedByItself(t *testing.T) {
	r := newRig(t)
	refused := r.deployment("refused", 1)
	delete(refused["spec"].(map[string]any), "selector")
	r.put(work("w", 1, refused, r.deployment("web", 1), r.configMap("c", nil)))
	standing := func(object *linkv1.ObjectReport) string {
		ready := strings.Contains(string(object.Status), `"readyReplicas":1`)
		return fmt.Sprintf("%s/%s %s %s %s ready=%t observed=%t", object.Group, object.Version, object.Resource, object.Name, object.Health, ready, object.Observed)
	}
	report := r.reported("w", "the two that can be applied to be healthy", func(report *linkv1.Report) bool {
		return len(report.Objects) == 2 && report.Objects[0].Health == linkv1.Health_HEALTH_HEALTHY && report.Objects[0].Observed
	})
	want := []string{
		"apps/v1 deployments web HEALTH_HEALTHY ready=true observed=true",
		"/v1 configmaps c HEALTH_HEALTHY ready=false observed=true",
	}
	for i, object := range report.Objects {
		if got := standing(object); got != want[i] {
			t.Errorf("object %d is %s, want %s", i, got, want[i])
		}
	}
	if report.Applied || report.Health != linkv1.Health_HEALTH_UNKNOWN || len(report.Status) > 0 {
		t.Errorf("the whole work is reported as applied %t, %s, with the status %q of its first object, which is not there",
			report.Applied, report.Health, report.Status)
	}

	r.put(work("w", 2, r.deployment("refused", 1), r.deployment("web", 1), r.configMap("c", nil)))
	report = r.reported("w", "all of them to be healthy", func(report *linkv1.Report) bool {
		return report.Applied && report.Health == linkv1.Health_HEALTH_HEALTHY && len(report.Objects) == 3
	})
	if report.Objects[0].Name != "refused" || string(report.Status) != string(report.Objects[0].Status) {
		t.Errorf("the first object is %v, and the work's status %s", report.Objects[0], report.Status)
	}
	r.put(work("one", 1, r.configMap("one", nil)))
	if report := r.applied("one", 1); len(report.Objects) > 0 {
		t.Errorf("a work with one object tells of it twice: %v", report)
	}
}

func TestANamespaceIsWeighedAndWaitsForWhatOtherWorksHaveInIt(t *testing.T) {
	r := newRig(t)
	r.put(work("space", 1, map[string]any{"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": r.namespace}}))
	r.applied("space", 1)
	r.put(work("settings", 1, r.configMap("settings", map[string]any{"a": "b"})))
	r.put(work("kept", 1, r.configMap("kept", map[string]any{"a": "b"})))
	r.applied("settings", 1)
	r.applied("kept", 1)
	for _, name := range []string{"by-hand", "also-by-hand"} {
		r.create(configMaps, r.configMap(name, map[string]any{"a": "b"}))
	}
	removal := &linkv1.Removal{Key: "space", Uid: "uid-of-space", Cause: linkv1.RemovalCause_REMOVAL_CAUSE_NOT_SELECTED}
	if !r.engine.TakesAlong(removal) || r.engine.TakesAlong(&linkv1.Removal{Key: "settings", Uid: "uid-of-settings"}) {
		t.Error("a Namespace takes others along, and a ConfigMap none")
	}
	if r.engine.TakesAlong(&linkv1.Removal{Key: "space", Uid: "uid-of-space", Keep: true}) {
		t.Error("what is kept takes nothing along")
	}
	for most, want := range map[int]session.Burden{
		10: {Others: 2, Text: "2 objects in Namespace " + r.namespace + " that no work has put there"},
		1:  {Others: 2, Text: "more than 1 objects in Namespace " + r.namespace + " that no work has put there"},
	} {
		if diff := cmp.Diff(want, r.engine.Burden(t.Context(), removal, most)); diff != "" {
			t.Errorf("counted up to %d (-want +got):\n%s", most, diff)
		}
	}

	r.remove("space", false)
	r.reported("space", "the removal to wait", func(report *linkv1.Report) bool {
		return strings.Contains(report.Message, "2 objects of other works")
	})
	r.remove("settings", false)
	r.removed("settings")
	r.reported("space", "the removal to wait for the last one", func(report *linkv1.Report) bool {
		return strings.Contains(report.Message, "ConfigMap "+r.namespace+"/kept")
	})
	r.get(configMaps, "by-hand")
	r.remove("kept", false)
	r.removed("kept")
	r.removed("space")
}

func TestANamespaceIsLetGoForWhatAPolicyPreservesInIt(t *testing.T) {
	r := newRig(t)
	r.put(work("space", 1, map[string]any{"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": r.namespace}}))
	r.applied("space", 1)
	r.put(work("kept", 1, r.configMap("kept", map[string]any{"a": "b"})))
	r.applied("kept", 1)
	removal := &linkv1.Removal{Key: "space", Uid: "uid-of-space", Cause: linkv1.RemovalCause_REMOVAL_CAUSE_NOT_SELECTED}
	weighs := func(reason string, want session.Burden) {
		t.Helper()
		if diff := cmp.Diff(want, r.engine.Burden(t.Context(), removal, 10)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", reason, diff)
		}
	}
	weighs("nothing is preserved", session.Burden{})
	preserving := work("more", 1, r.configMap("more", map[string]any{"a": "b"}))
	preserving.PreserveResourcesOnDeletion = true
	r.put(preserving)
	r.applied("more", 1)
	r.create(configMaps, r.configMap("by-hand", map[string]any{"a": "b"}))
	weighs("a work in it preserves what it has", session.Burden{Keep: true})
	r.remove("more", true)
	r.removed("more")
	weighs("something in it was let go of", session.Burden{Keep: true})

	r.remove("space", false)
	r.remove("kept", true)
	r.removed("kept")
	r.removed("space")

	space, err := r.clients.Dynamic.Resource(namespaces).Get(t.Context(), r.namespace, metav1.GetOptions{})
	if err != nil || space.GetDeletionTimestamp() != nil || space.GetLabels()[workv1alpha1.ManagedLabel] != "" {
		t.Errorf("the Namespace is %v (%v), want it there and nobody's", space, err)
	}
	for _, name := range []string{"kept", "more", "by-hand"} {
		r.get(configMaps, name)
	}
}

func TestWhatCannotBeListedInANamespaceIsTooMuch(t *testing.T) {
	r := newRig(t)
	r.put(work("space", 1, map[string]any{"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": r.namespace}}))
	r.applied("space", 1)
	ctx, end := context.WithCancel(t.Context())
	end()
	got := r.engine.Burden(ctx, &linkv1.Removal{Key: "space", Uid: "uid-of-space"}, 10)
	if got.Others != 11 || !strings.HasPrefix(got.Text, "what is in Namespace "+r.namespace+", which can't be counted (") {
		t.Errorf("it takes along %+v", got)
	}
}

func TestADefinitionIsWeighedByTheObjectsOfItsKind(t *testing.T) {
	r := newRig(t)
	group := r.namespace + ".example.com"
	gadgets := schema.GroupVersionResource{Group: group, Version: "v1", Resource: "gadgets"}
	r.put(work("crd", 1, map[string]any{
		"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": map[string]any{"name": "gadgets." + group},
		"spec": map[string]any{
			"group": group, "scope": "Namespaced", "names": map[string]any{"plural": "gadgets", "singular": "gadget", "kind": "Gadget", "listKind": "GadgetList"},
			"versions": []any{map[string]any{"name": "v1", "served": true, "storage": true, "schema": map[string]any{"openAPIV3Schema": map[string]any{
				"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}},
		},
	}))
	r.applied("crd", 1)
	r.makeNamespace()
	gadget := func(name string) map[string]any {
		return map[string]any{"apiVersion": group + "/v1", "kind": "Gadget", "metadata": map[string]any{"name": name, "namespace": r.namespace}}
	}
	r.put(work("ours", 1, gadget("ours")))
	r.applied("ours", 1)
	r.create(gadgets, gadget("local"))
	removal := &linkv1.Removal{Key: "crd", Uid: "uid-of-crd", Cause: linkv1.RemovalCause_REMOVAL_CAUSE_NOT_SELECTED}
	want := session.Burden{Others: 1, Text: "1 object of the kind of CustomResourceDefinition.apiextensions.k8s.io gadgets." + group + " that no work has put there"}
	if diff := cmp.Diff(want, r.engine.Burden(t.Context(), removal, 10)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	r.remove("crd", false)
	r.reported("crd", "the removal to wait", func(report *linkv1.Report) bool {
		return strings.Contains(report.Message, "another work's Gadget."+group+" "+r.namespace+"/ours")
	})
	r.remove("ours", false)
	r.removed("ours")
	r.removed("crd")
}
