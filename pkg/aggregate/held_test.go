package aggregate

import (
	"testing"

	"github.com/google/go-cmp/cmp"
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

func TestARemovalTellsOnlyOfTheClustersThatStillHaveItAndWhatTheyWaitFor(t *testing.T) {
	removed := func(w *workv1alpha1.PropagationWork) { w.DeletionTimestamp = &monday }
	says := func(message string) change {
		return func(w *workv1alpha1.PropagationWork) {
			w.Status.Conditions[0].Reason, w.Status.Conditions[0].Message = "Removing", message
		}
	}
	works := map[string]*workv1alpha1.PropagationWork{
		"c": aWork(removed), "b": aWork(removed, isUnhealthy, says("not gone yet: ConfigMap x is being deleted")), "a": aWork(removed, says("not gone yet: Namespace shop is full")),
	}
	before, _ := Binding(input(aWork(), aWork(), aWork(), aWork())).Status(&workv1alpha1.BindingStatus{}, monday)
	row := func(cluster, message string, health workv1alpha1.ResourceHealth) workv1alpha1.AggregatedStatusItem {
		return workv1alpha1.AggregatedStatusItem{ClusterName: cluster, AppliedMessage: message, Health: health}
	}
	for _, test := range []struct {
		reason          string
		held            []string
		because, wanted string
		third           string
	}{
		{"nobody has to confirm anything", nil, ReasonRemoving, "It is being removed, and not gone yet from 3 clusters: a, b, c. What they wait for: " +
			"a: Namespace shop is full; b: ConfigMap x is being deleted", "it is being removed"},
		{"a person has to in one", []string{"c"}, ReasonRemovalHeld, "Its removal from 1 cluster is held back until a person confirms it; `windlass status` says how: c",
			"its removal is held back until a person confirms it"},
	} {
		got, _ := Removal(3, works, test.held).Status(before, tuesday)
		if diff := cmp.Diff(workv1alpha1.ClusterSummary{Clusters: 3, Healthy: 2, Unhealthy: 1}, got.Summary); diff != "" {
			t.Errorf("%s: summary (-want +got):\n%s", test.reason, diff)
		}
		rows := []workv1alpha1.AggregatedStatusItem{
			row("a", "it is being removed: Namespace shop is full", workv1alpha1.ResourceHealthy),
			row("b", "it is being removed: ConfigMap x is being deleted", workv1alpha1.ResourceUnhealthy), row("c", test.third, workv1alpha1.ResourceHealthy),
		}
		if diff := cmp.Diff(rows, got.AggregatedStatus); diff != "" {
			t.Errorf("%s: rows (-want +got):\n%s", test.reason, diff)
		}
		if whole := got.Conditions[0]; whole.Status != metav1.ConditionFalse || whole.Reason != test.because || whole.Message != test.wanted {
			t.Errorf("%s: FullyApplied is %+v", test.reason, whole)
		}
	}
}
