package agenttest

import (
	"errors"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	linkv1 "windlass.dev/windlass/api/link/v1"

	"windlass.dev/windlass/pkg/manifest"
)

var definitions = schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}

// guardWith starts the agent anew with a guard list, as the cluster's owner would.
func (r *rig) guardWith(namespaces, kinds []string) {
	r.Helper()
	r.end()
	var err error
	if r.guard, err = manifest.NewGuard(namespaces, kinds); err != nil {
		r.Fatal(err)
	}
	r.start()
}

func (r *rig) service(name string) map[string]any {
	return map[string]any{
		"apiVersion": "v1", "kind": "Service",
		"metadata": map[string]any{"name": name, "namespace": r.namespace},
		"spec":     map[string]any{"ports": []any{map[string]any{"port": 80}}},
	}
}

func TestNoWorkWritesWhatTheClustersOwnerGuards(t *testing.T) {
	r := newRig(t)
	r.guardWith([]string{r.namespace + "-*"}, []string{"core/Service", "widgets.example/Widget"})
	elsewhere := func(object map[string]any) map[string]any {
		object["metadata"].(map[string]any)["namespace"] = r.namespace + "-guarded"
		return object
	}
	definition := map[string]any{
		"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
		"metadata": map[string]any{"name": "widgets.widgets.example"},
		"spec": map[string]any{
			"group": "widgets.example", "scope": "Namespaced",
			"names": map[string]any{"plural": "widgets", "singular": "widget", "kind": "Widget", "listKind": "WidgetList"},
			"versions": []any{map[string]any{"name": "v1", "served": true, "storage": true, "schema": map[string]any{
				"openAPIV3Schema": map[string]any{"type": "object"},
			}}},
		},
	}
	theirs := map[string]any{"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": r.namespace + "-theirs"}}
	if _, err := r.clients.Dynamic.Resource(namespaces).Create(t.Context(), &unstructured.Unstructured{Object: theirs}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = r.clients.Dynamic.Resource(namespaces).Delete(t.Context(), r.namespace+"-theirs", metav1.DeleteOptions{})
	})
	takeOver := work("namespace", 1, theirs)
	takeOver.ConflictResolution = linkv1.ConflictResolution_CONFLICT_RESOLUTION_OVERWRITE

	r.put(work("both", 1, r.service("web"), r.configMap("beside", nil)))
	r.put(work("inside", 1, elsewhere(r.configMap("c", nil))))
	r.put(takeOver)
	r.put(work("definition", 1, definition))

	for key, rule := range map[string]string{
		"both": `guard.kinds "core/Service"`, "definition": `guard.kinds "widgets.example/Widget"`,
		"inside":    `guard.namespaces "` + r.namespace + `-*"`,
		"namespace": `guard.namespaces "` + r.namespace + `-*"`,
	} {
		report := r.refused(key, "Guarded")
		if !strings.Contains(report.Message, rule) || !strings.Contains(report.Message, "configuration of the cluster's agent") {
			t.Errorf("the message is %q, want %s in it, and where to change it", report.Message, rule)
		}
	}
	r.get(configMaps, "beside")
	r.absent(services, "web")
	if _, err := r.clients.Dynamic.Resource(namespaces).Get(t.Context(), r.namespace+"-guarded", metav1.GetOptions{}); err == nil {
		t.Error("the guarded namespace was made")
	}
	live, err := r.clients.Dynamic.Resource(namespaces).Get(t.Context(), r.namespace+"-theirs", metav1.GetOptions{})
	if err != nil || len(live.GetAnnotations()) > 0 {
		t.Errorf("the guarded namespace was taken over: %v %v", live, err)
	}
	if _, err := r.clients.Dynamic.Resource(definitions).Get(t.Context(), "widgets.widgets.example", metav1.GetOptions{}); err == nil {
		t.Error("the definition of a guarded kind was applied")
	}

	// What is left of the work is as ever: it is pruned, and put right.
	r.put(work("both", 2, r.service("web"), r.configMap("another", map[string]any{"a": "1"})))
	r.until("what the work does not hold any more to be pruned", func() error {
		if _, err := r.client(configMaps).Get(t.Context(), "beside", metav1.GetOptions{}); err == nil {
			return errors.New("it is still there")
		}
		return nil
	})
	r.byHand(configMaps, "another", `{"data":{"a":"by hand"}}`)
	r.until("what is changed by hand to be put right", func() error {
		if data := text(r.get(configMaps, "another"), "data"); data != "map[a:1]" {
			return errors.New(data)
		}
		return nil
	})
}

func TestAGuardOnNamespacesAsAKindLetsNoneBeMadeOnTheWay(t *testing.T) {
	r := newRig(t)
	r.guardWith(nil, []string{"Namespace"})
	r.put(work("c", 1, r.configMap("c", nil)))
	if report := r.refused("c", "Guarded"); !strings.Contains(report.Message, "namespace "+r.namespace+" does not exist in the member") ||
		!strings.Contains(report.Message, `guard.kinds "Namespace"`) {
		t.Errorf("the message is %q", report.Message)
	}
	if _, err := r.clients.Dynamic.Resource(namespaces).Get(t.Context(), r.namespace, metav1.GetOptions{}); err == nil {
		t.Error("the namespace was made")
	}
	// The owner makes it.
	r.end()
	r.makeNamespace()
	r.start()
	r.applied("c", 1)
}

func TestWhatTheHubAppliedBeforeItWasGuardedStaysAsItIs(t *testing.T) {
	r := newRig(t)
	r.put(work("changed", 1, r.service("changed")))
	r.put(work("pruned", 1, r.service("pruned"), r.configMap("pruned", nil)))
	r.put(work("removed", 1, r.service("removed"), r.configMap("removed", nil)))
	r.put(work("kept", 1, r.service("kept")))
	for _, key := range []string{"changed", "pruned", "removed", "kept"} {
		r.applied(key, 1)
	}
	before := map[string]string{}
	for _, name := range []string{"changed", "pruned", "removed", "kept"} {
		before[name] = r.get(services, name).GetResourceVersion()
	}

	r.guardWith(nil, []string{"Service"})
	if report := r.refused("changed", "Guarded"); !strings.Contains(report.Message, `guard.kinds "Service"`) {
		t.Errorf("the message is %q", report.Message)
	}
	changed := r.service("changed")
	changed["metadata"].(map[string]any)["labels"] = map[string]any{"new": "label"}
	r.put(work("changed", 2, changed))
	r.put(work("pruned", 2, r.configMap("pruned", nil)))
	r.remove("removed", false)
	r.remove("kept", true)

	r.reported("changed", "the change to be refused", func(report *linkv1.Report) bool {
		return report.Reason == "Guarded" && report.Generations.Received.Generation == 2
	})
	r.applied("pruned", 2)
	r.removed("removed")
	r.removed("kept")
	r.absent(configMaps, "removed")
	for name, version := range before {
		if live := r.get(services, name); live.GetResourceVersion() != version || live.GetDeletionTimestamp() != nil {
			t.Errorf("Service %s was touched: %v", name, live.Object)
		}
	}
}
