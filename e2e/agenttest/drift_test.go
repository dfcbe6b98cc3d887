package agenttest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/clientcmd"

	linkv1 "windlass.dev/windlass/api/link/v1"
	workv1alpha1 "windlass.dev/windlass/api/work/v1alpha1"

	"windlass.dev/windlass/agent/apply"
	"windlass.dev/windlass/agent/member"
)

var horizontalPodAutoscalers = schema.GroupVersionResource{Group: "autoscaling", Version: "v2", Resource: "horizontalpodautoscalers"}

func TestSomebodyWhoFightsBackIsNamedAndDoesNotMakeTheAgentSpin(t *testing.T) {
	r := newRig(t)
	r.end()
	r.settings = apply.Settings{FightCorrections: 3, FightWindow: 3 * time.Second}
	r.start()
	r.put(work("c", 1, r.configMap("c", map[string]any{"a": "ours"})))
	r.applied("c", 1)
	changes := 0
	fight := func(report *linkv1.Report) bool {
		live := r.get(configMaps, "c")
		if text(live, "data") == "map[a:ours]" {
			changes++
			_, err := r.client(configMaps).Patch(t.Context(), "c", types.MergePatchType, []byte(fmt.Sprintf(`{"data":{"a":"theirs-%d"}}`, changes)),
				metav1.PatchOptions{FieldManager: "their-controller"})
			if err != nil {
				t.Fatal(err)
			}
		}
		return len(report.Conditions) == 1 && report.Conditions[0].Type == "DriftFight"
	}
	r.reported("c", "the fight to be named", fight)
	if changes < 3 {
		t.Errorf("it was named after %d changes", changes)
	}
	r.reported("c", "the end of the fight", func(report *linkv1.Report) bool { return report.Applied && len(report.Conditions) == 0 })
	if data := text(r.get(configMaps, "c"), "data"); data != "map[a:ours]" {
		t.Errorf("after the fight data is %s", data)
	}
}

func TestReplicasAreLeftToAnAutoscalerInTheMember(t *testing.T) {
	r := newRig(t)
	r.put(work("web", 1, r.deployment("web", 2)))
	r.applied("web", 1)
	r.autoscale("web")
	r.until("the agent to know of the autoscaler", func() error {
		if !r.observer.Autoscaled(r.get(deployments, "web")) {
			return errors.New("not yet")
		}
		return nil
	})
	r.scaleAsAutoscaler("web", 5)
	changed := r.deployment("web", 2)
	changed["metadata"].(map[string]any)["annotations"] = map[string]any{"version": "2"}
	r.put(work("web", 2, changed))
	r.applied("web", 2)
	live := r.get(deployments, "web")
	if text(live, "spec", "replicas") != "5" || live.GetAnnotations()["version"] != "2" {
		t.Errorf("after a new generation it has %s replicas and annotations %v, want the autoscaler's 5 and the new annotation",
			text(live, "spec", "replicas"), live.GetAnnotations())
	}
	r.byHand(deployments, "web", `{"spec":{"paused":true}}`)
	r.until("the change by hand to be taken back", func() error {
		if _, paused, _ := unstructured.NestedBool(r.get(deployments, "web").Object, "spec", "paused"); paused {
			return errors.New("it is still paused")
		}
		return nil
	})
	if replicas := text(r.get(deployments, "web"), "spec", "replicas"); replicas != "5" {
		t.Errorf("after that it has %s replicas, want 5", replicas)
	}
	// Without the autoscaler the hub's word counts again.
	if err := r.client(horizontalPodAutoscalers).Delete(t.Context(), "web", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	r.until("the hub's number of replicas", func() error {
		if replicas := text(r.get(deployments, "web"), "spec", "replicas"); replicas != "2" {
			return errors.New(replicas)
		}
		return nil
	})
}

// holdBack starts the agent again, with requests for a resource that are not sent before it is told to.
func (r *rig) holdBack(resource string) (letGo func()) {
	r.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", theMember.Kubeconfig())
	if err != nil {
		r.Fatal(err)
	}
	may := make(chan struct{})
	config.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return roundTripper(func(request *http.Request) (*http.Response, error) {
			if strings.HasSuffix(request.URL.Path, "/"+resource) {
				select {
				case <-may:
				case <-request.Context().Done():
					return nil, request.Context().Err()
				}
			}
			return next.RoundTrip(request)
		})
	})
	if r.limited, err = member.Connect(config); err != nil {
		r.Fatal(err)
	}
	r.end()
	r.start()
	return func() { close(may) }
}

func TestAnAgentThatStartsAgainTakesNoReplicasFromAnAutoscalerThatItDoesNotKnowYet(t *testing.T) {
	r := newRig(t)
	for _, name := range []string{"scaled", "by-hand"} {
		r.put(work(name, 1, r.deployment(name, 2)))
		r.applied(name, 1)
	}
	r.autoscale("scaled")
	r.end()
	r.scaleAsAutoscaler("scaled", 5)
	r.byHand(deployments, "by-hand", `{"spec":{"replicas":5}}`)

	letGo := r.holdBack("horizontalpodautoscalers")
	r.applied("scaled", 1)
	r.put(work("new", 1, r.deployment("new", 3)))
	r.applied("new", 1)
	r.replicas("scaled", "5")
	r.replicas("new", "3")

	letGo()
	r.until("the replicas that no autoscaler has set to be put right", func() error {
		if replicas := text(r.get(deployments, "by-hand"), "spec", "replicas"); replicas != "2" {
			return errors.New(replicas)
		}
		return nil
	})
	changed := r.deployment("scaled", 2)
	changed["metadata"].(map[string]any)["annotations"] = map[string]any{"version": "2"}
	r.put(work("scaled", 2, changed))
	r.applied("scaled", 2)
	r.replicas("scaled", "5")
}

func (r *rig) replicas(name, want string) {
	r.Helper()
	if replicas := text(r.get(deployments, name), "spec", "replicas"); replicas != want {
		r.Errorf("%s has %s replicas, want %s", name, replicas, want)
	}
}

// autoscale makes an autoscaler for a Deployment.
func (r *rig) autoscale(name string) {
	r.Helper()
	r.create(horizontalPodAutoscalers, map[string]any{
		"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
		"metadata": map[string]any{"name": name, "namespace": r.namespace},
		"spec": map[string]any{
			"maxReplicas": 9, "minReplicas": 1,
			"scaleTargetRef": map[string]any{"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
			"metrics": []any{map[string]any{"type": "Resource", "resource": map[string]any{
				"name": "cpu", "target": map[string]any{"type": "Utilization", "averageUtilization": 50},
			}}},
		},
	})
}

// scaleAsAutoscaler scales through the subresource, as an Update.
func (r *rig) scaleAsAutoscaler(name string, replicas int) {
	r.Helper()
	_, err := r.client(deployments).Patch(r.Context(), name, types.MergePatchType, fmt.Appendf(nil, `{"spec":{"replicas":%d}}`, replicas),
		metav1.PatchOptions{FieldManager: "kube-controller-manager"}, "scale")
	if err != nil {
		r.Fatal(err)
	}
}

func TestReplicasWithTheRetainLabelAreLeftToTheMember(t *testing.T) {
	r := newRig(t)
	retained := r.deployment("web", 2)
	retained["metadata"].(map[string]any)["labels"] = map[string]any{workv1alpha1.RetainReplicasLabel: "true"}
	r.put(work("web", 1, retained))
	r.applied("web", 1)
	r.byHand(deployments, "web", `{"spec":{"replicas":4},"metadata":{"annotations":{"by":"hand"}}}`)
	r.until("the annotation to be taken back", func() error {
		live := r.get(deployments, "web")
		if live.GetAnnotations()["by"] != "" {
			return errors.New("it is still there")
		}
		return nil
	})
	if replicas := text(r.get(deployments, "web"), "spec", "replicas"); replicas != "4" {
		t.Errorf("it has %s replicas, want the 4 that the member's people set", replicas)
	}

	// Nor does the next change from the hub take them.
	changed := r.deployment("web", 3)
	changed["metadata"].(map[string]any)["labels"] = map[string]any{workv1alpha1.RetainReplicasLabel: "true", "changed": "yes"}
	r.put(work("web", 2, changed))
	r.applied("web", 2)
	live := r.get(deployments, "web")
	if replicas := text(live, "spec", "replicas"); replicas != "4" || live.GetLabels()["changed"] != "yes" {
		t.Errorf("after a change from the hub it has %s replicas and the labels %v, want still 4", replicas, live.GetLabels())
	}
}

func TestAnEditedObjectThatBreaksARuleOfTheMemberIsCuredByAManifestThatKeepsIt(t *testing.T) {
	r := newRig(t)
	r.put(work("c", 1, r.configMap("c", map[string]any{"a": "1"})))
	r.applied("c", 1)
	r.end()
	r.byHand(configMaps, "c", `{"data":{"b":"by hand"}}`)
	r.rule("object.metadata.?labels.team.hasValue()", "every ConfigMap has a team")
	r.start()
	if report := r.refused("c", "Rejected"); !strings.Contains(report.Message, "every ConfigMap has a team") {
		t.Errorf("the message is %q", report.Message)
	}

	cured := r.configMap("c", map[string]any{"a": "2"})
	cured["metadata"].(map[string]any)["labels"] = map[string]any{"team": "web"}
	r.put(work("c", 2, cured))
	r.applied("c", 2)
	live := r.get(configMaps, "c")
	if data := text(live, "data"); data != "map[a:2]" || live.GetLabels()["team"] != "web" {
		t.Errorf("data is %s and the labels are %v", data, live.GetLabels())
	}
}

// rule forbids in the test's namespace to write ConfigMaps that do not keep it, and returns when that has effect.
func (r *rig) rule(expression, message string) {
	r.Helper()
	admission := schema.GroupVersion{Group: "admissionregistration.k8s.io", Version: "v1"}
	for resource, object := range map[string]map[string]any{
		"validatingadmissionpolicies": {
			"kind": "ValidatingAdmissionPolicy", "spec": map[string]any{
				"matchConstraints": map[string]any{"resourceRules": []any{map[string]any{
					"apiGroups": []any{""}, "apiVersions": []any{"v1"}, "operations": []any{"CREATE", "UPDATE"}, "resources": []any{"configmaps"},
				}}},
				"validations": []any{map[string]any{"expression": expression, "message": message}},
			},
		},
		"validatingadmissionpolicybindings": {
			"kind": "ValidatingAdmissionPolicyBinding", "spec": map[string]any{
				"policyName": r.namespace, "validationActions": []any{"Deny"},
				"matchResources": map[string]any{"namespaceSelector": map[string]any{"matchLabels": map[string]any{"kubernetes.io/metadata.name": r.namespace}}},
			},
		},
	} {
		object["apiVersion"], object["metadata"] = admission.String(), map[string]any{"name": r.namespace}
		client := r.clients.Dynamic.Resource(admission.WithResource(resource))
		if _, err := client.Create(r.Context(), &unstructured.Unstructured{Object: object}, metav1.CreateOptions{}); err != nil {
			r.Fatal(err)
		}
		r.Cleanup(func() {
			if err := client.Delete(context.Background(), r.namespace, metav1.DeleteOptions{}); err != nil {
				r.Error(err)
			}
		})
	}
	r.until("the rule to have effect", func() error {
		_, err := r.client(configMaps).Patch(r.Context(), "c", types.MergePatchType, []byte(`{"metadata":{"annotations":{"tried":"yes"}}}`), metav1.PatchOptions{DryRun: []string{metav1.DryRunAll}})
		if err == nil {
			return errors.New("a ConfigMap that breaks it can be written")
		}
		return nil
	})
}

func TestASuspendedWorkIsLeftAsItIs(t *testing.T) {
	r := newRig(t)
	r.put(work("c", 1, r.configMap("c", map[string]any{"a": "1"})))
	r.applied("c", 1)
	suspended := work("c", 2, r.configMap("c", map[string]any{"a": "2"}))
	suspended.SuspendDispatching = true
	r.put(suspended)
	if report := r.refused("c", "Suspended"); report.Generation != 1 || report.Generations.Received.GetGeneration() != 2 {
		t.Errorf("the report is %v, want generation 1 applied and 2 received", report)
	}
	if data := text(r.get(configMaps, "c"), "data"); data != "map[a:1]" {
		t.Errorf("data is %s", data)
	}
	r.put(work("c", 3, r.configMap("c", map[string]any{"a": "3"})))
	r.applied("c", 3)
}

func TestOneReportForWhatChangesAtOnceAndNoneForNoChange(t *testing.T) {
	r := newRig(t)
	var taken []string
	next := func(what string) {
		r.until(what, func() error {
			taken = append(taken, r.observer.TakeDirty(10)...)
			if len(taken) == 0 {
				return errors.New("nothing is dirty")
			}
			return nil
		})
	}
	r.put(work("c", 1, r.configMap("c", map[string]any{"a": "1"})))
	next("the first report")
	// Events of the object may still come in; none of them is news.
	if report := r.observer.Report("c"); len(taken) != 1 || !report.Applied {
		t.Fatalf("dirty is %v, and the report is %v, want c, and that it is applied", taken, report)
	}
	_, err := r.client(configMaps).Patch(t.Context(), "c", types.MergePatchType, []byte(`{"metadata":{"annotations":{"x":"y"}}}`),
		metav1.PatchOptions{FieldManager: "their-controller"})
	if err != nil {
		t.Fatal(err)
	}
	r.put(work("d", 1, r.configMap("d", nil)))
	taken = nil
	next("the second report")
	if got := strings.Join(taken, " "); got != "d" {
		t.Errorf("dirty is %q, want d alone: nothing changed in c's report", got)
	}
}
