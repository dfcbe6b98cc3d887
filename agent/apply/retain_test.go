package apply

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"windlass.dev/windlass/agent/state"
	"windlass.dev/windlass/pkg/manifest"
)

// scaledByHand is the Deployment web, of which somebody's kubectl has set the replicas.
func scaledByHand() *unstructured.Unstructured {
	live := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "apps/v1", "kind": "Deployment", "metadata": map[string]any{"namespace": "shop", "name": "web", "resourceVersion": "7"},
		"spec": map[string]any{"replicas": int64(8)},
	}}
	live.SetManagedFields([]metav1.ManagedFieldsEntry{
		{Manager: FieldManager, Operation: metav1.ManagedFieldsOperationApply, FieldsType: "FieldsV1", FieldsV1: metav1.NewFieldsV1(`{"f:spec":{"f:paused":{}}}`)},
		{Manager: "kubectl-edit", Operation: metav1.ManagedFieldsOperationUpdate, FieldsType: "FieldsV1", FieldsV1: metav1.NewFieldsV1(`{"f:spec":{"f:replicas":{}}}`)},
	})
	return live
}

// TestReplicasThatAreNotAppliedAreNotTakenBackEither: what is taken back and not applied is deleted, and replicas that are
// deleted are one.
func TestReplicasThatAreNotAppliedAreNotTakenBackEither(t *testing.T) {
	live := scaledByHand()
	var patched string
	client := memberThat{patch: func(_ string, _ types.PatchType, data []byte) (*unstructured.Unstructured, error) {
		patched = string(data)
		return live, nil
	}}
	e, observer := engineFor(t, &everyKind{}, client, &emptyState{})
	asked := 0
	observer.autoscaled = func() bool {
		asked++
		return asked == 1 // it becomes known meanwhile that no autoscaler targets it
	}
	raw := []byte(`{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"namespace":"shop","name":"web"},"spec":{"replicas":2}}`)
	a := &attempt{engine: e, entry: &state.Entry{Key: "web"}, object: &object{Object: manifest.ObjectOf(live), raw: raw}, client: client, live: live}
	if err := a.prepare(); err != nil {
		t.Fatal(err)
	}
	if err := a.takeBack(t.Context()); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(a.sent), "replicas") || !strings.Contains(patched, FieldManager+"-member") {
		t.Errorf("applied is %s after the fields were handed over by %s: the replicas are left to the member, and not the member's", a.sent, patched)
	}
}
