package aggregate

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	clusterv1alpha1 "windlass.dev/windlass/api/cluster/v1alpha1"
	workv1alpha1 "windlass.dev/windlass/api/work/v1alpha1"
)

func TestARemovalWaitsForAPersonOnlyWhereABrakeHoldsIt(t *testing.T) {
	const tooMany, restored = clusterv1alpha1.DeletionsHeldTooMany, clusterv1alpha1.DeletionsHeldStoreRestored
	removed := func(w *workv1alpha1.PropagationWork) {
		w.DeletionTimestamp, w.Spec.RemovalCause = &monday, workv1alpha1.RemovalNotSelected
	}
	asked := func(w *workv1alpha1.PropagationWork) { w.Spec.RemovalCause = workv1alpha1.RemovalTemplateDeleted }
	kept := func(w *workv1alpha1.PropagationWork) { w.Spec.PreserveResourcesOnDeletion = ptr.To(true) }
	says := func(message string) change {
		return func(w *workv1alpha1.PropagationWork) {
			w.Status.Conditions[0].Reason, w.Status.Conditions[0].Message = "Removing", message
		}
	}
	for _, test := range []struct {
		reason  string
		work    *workv1alpha1.PropagationWork
		holding string
		held    bool
		notGone string
	}{
		{"it is not removed", aWork(), tooMany, false, ""},
		{"nothing is held there", aWork(removed), "", false, ""},
		{"deletions are held there", aWork(removed), tooMany, true, ""},
		{"somebody has asked for it", aWork(removed, asked), tooMany, false, ""},
		{"it deletes nothing", aWork(removed, kept), tooMany, false, ""},
		{"after a restore everything waits", aWork(removed, asked, kept), restored, true, ""},
		{"the agent is at it, and waits for what other works have in it", aWork(removed, says("not gone yet: Namespace shop is deleted when 2 objects are gone")),
			tooMany, false, "Namespace shop is deleted when 2 objects are gone"},
		{"so it is after a restore", aWork(removed, says("not gone yet: ConfigMap a is being deleted")), restored, false, "ConfigMap a is being deleted"},
		{"what it said of an earlier removal is no word on a work that lives", aWork(says("not gone yet: x")), tooMany, false, ""},
	} {
		if got := IsHeld(test.work, test.holding); got != test.held {
			t.Errorf("%s: held is %t", test.reason, got)
		}
		if got := NotGone(test.work); got != test.notGone {
			t.Errorf("%s: it is not gone because %q, want %q", test.reason, got, test.notGone)
		}
	}
}

func TestARemovalSaysWhatItWaitsForInTheClustersThatSay(t *testing.T) {
	whys := map[string]string{"b": "ConfigMap x is being deleted", "a": "Namespace shop is deleted when 2 objects are gone"}
	got := Removal(3, []string{"c", "b", "a"}, nil, whys)
	want := "It is being removed, and not gone yet from 3 clusters: a, b, c. What they wait for: " +
		"a: Namespace shop is deleted when 2 objects are gone; b: ConfigMap x is being deleted"
	if got.Message != want || got.Reason != ReasonRemoving || got.Status != metav1.ConditionFalse {
		t.Errorf("it is %+v, want the message %q", got, want)
	}
}
