package render

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	policyv1alpha1 "windlass.dev/windlass/api/policy/v1alpha1"
	workv1alpha1 "windlass.dev/windlass/api/work/v1alpha1"
)

func TestWhatAWorkHasOtherThanThePlacementIsExplained(t *testing.T) {
	const nine = "overriders: {plaintext: [{path: /spec/replicas, operator: replace, value: 9}]}"
	now := metav1.Now()
	work := func(replicas int32) *workv1alpha1.PropagationWork {
		works, errs := overridden(t, "{overrideRules: []}", replicas)
		if errs[0] != nil {
			t.Fatal(errs[0])
		}
		return works[0]
	}
	written := func(replicas int32, spec string) *workv1alpha1.PropagationWork {
		works, errs := overridden(t, spec, replicas)
		if errs[0] != nil {
			t.Fatal(errs[0])
		}
		return works[0]
	}
	removed := work(2)
	removed.DeletionTimestamp = &now
	byTwo := written(2, nine)
	metav1.SetMetaDataAnnotation(&byTwo.ObjectMeta, workv1alpha1.AppliedClusterOverridesAnnotation, `[{"policyName":"x"},{"policyName":"x"}]`)
	spoiled := written(2, nine)
	spoiled.Spec.Workload.Manifests[0].Raw = []byte("{")
	refused := func(generation int64, status metav1.ConditionStatus) *workv1alpha1.PropagationWork {
		refused := work(2)
		refused.Generation = 3
		refused.Status.Conditions = []metav1.Condition{{Type: workv1alpha1.WorkApplied, Status: status, ObservedGeneration: generation, Reason: "Conflict", Message: "it is there already"}}
		return refused
	}
	keeping := func(replicas int32) func(*Placed) {
		return func(placed *Placed) {
			placed.Keeping = func(target workv1alpha1.TargetCluster) workv1alpha1.TargetCluster {
				target.Replicas = replicas
				return target
			}
		}
	}
	leaving := func(why string) func(*Placed) {
		return func(placed *Placed) { placed.Leaving = map[string]string{"a": why} }
	}
	held := func(cluster string, _ *workv1alpha1.PropagationWork) bool { return cluster == "a" }
	finalizer := func(string, *workv1alpha1.PropagationWork) string { return "it has the finalizer x" }
	silent := func(placed *Placed) { placed.Silent = func(string) bool { return true } }
	tests := []struct {
		reason string
		goes   bool // to a, with 2 replicas
		given  func(*Placed)
		work   *workv1alpha1.PropagationWork
		in     int32 // 0: nothing to say of it
		want   string
	}{
		{"what is as it should be is not worth a word", true, nil, work(2), 0, ""},
		{"an override sets another number", true, nil, written(2, nine), 9, "gets the replicas that OverridePolicy p says"},
		{"one of several does", true, nil, byTwo, 9, "gets the replicas that one of its override policies (ClusterOverridePolicy x, OverridePolicy p) says"},
		{"other overrides say nothing of the number", true, nil, written(2, "overriders: {labelsOverrider: [{operator: add, value: {a: b}}]}"), 0, ""},
		{"nothing can be said of what somebody wrote into", true, nil, spoiled, 0, ""},
		{"replicas were moved away from it", true, keeping(5), work(5), 5, "keeps the replicas that were moved away until they are healthy elsewhere"},
		{"the work is about to be written", true, nil, work(3), 3, "has not got its new number of replicas yet"},
		{"it is about to be made", true, nil, nil, 0, "has no work yet"},
		{"it was just removed", true, nil, removed, 0, "gets it again as soon as its removal is over"},
		{"and that waits", true, func(placed *Placed) { placed.WaitsFor = finalizer }, removed, 0, "gets it again as soon as its removal is over: it has the finalizer x"},
		{"its agent is not connected", true, silent, work(2), 0, "is not connected, and gets no changes until it is"},
		{"it has not heard of its new number of replicas", true, silent, work(3), 3, "has not got its new number of replicas yet; is not connected, and gets no changes until it is"},
		{"it is paused", true, func(placed *Placed) {
			placed.Spec.Suspension = &workv1alpha1.BindingSuspension{Suspension: policyv1alpha1.Suspension{DispatchingOnClusters: &policyv1alpha1.SuspendClusters{ClusterNames: []string{"a"}}}}
		}, work(2), 0, "gets no changes while its policy's suspension pauses it"},
		{"that all are is said once", true, func(placed *Placed) {
			placed.Spec.Suspension = &workv1alpha1.BindingSuspension{Suspension: policyv1alpha1.Suspension{Dispatching: ptr.To(true)}}
		}, work(2), 0, ""},
		{"it has to be left, and there is nowhere else", true, leaving("has to be left"), work(2), 0, "has to be left"},
		{"and an override sets another number", true, leaving("has to be left"), written(2, nine), 9, "gets the replicas that OverridePolicy p says; has to be left"},
		{"the cluster has one that is not the hub's", true, nil, refused(3, metav1.ConditionFalse), 0, "has not applied it: Conflict: it is there already"},
		{"and it has to be left", true, leaving("has to be left"), refused(3, metav1.ConditionFalse), 0, "has to be left; has not applied it: Conflict: it is there already"},
		{"it has not spoken of what it was sent since", true, nil, refused(2, metav1.ConditionFalse), 0, ""},
		{"it is about to apply it", true, nil, refused(3, metav1.ConditionUnknown), 0, ""},
		{"it is being left", false, leaving("is being left"), work(4), 4, "is being left"},
		{"it is deselected", false, nil, work(4), 4, "is left in a moment"},
		{"its removal is under way", false, nil, removed, 2, "is left, and the removal there is not over yet"},
		{"a person is waited for", false, func(placed *Placed) { placed.Held = held }, removed, 2,
			"is left, and the removal there is not over yet: deletions in that cluster wait for a person, and `windlass status` says how to let them go"},
		{"what it waits for is known", false, func(placed *Placed) { placed.WaitsFor = finalizer }, removed, 2, "is left, and the removal there is not over yet: it has the finalizer x"},
		{"the binding is being deleted", false, func(placed *Placed) { placed.Removed, placed.WaitsFor = true, finalizer }, removed, 2,
			"has it still, for the removal there is not over yet: it has the finalizer x"},
		{"it is being deleted, and a person is waited for", false, func(placed *Placed) { placed.Removed, placed.Held, placed.WaitsFor = true, held, finalizer }, removed, 2,
			"has it still, for the removal there is not over yet: deletions in that cluster wait for a person, and `windlass status` says how to let them go"},
		{"it was deleted just now", false, func(placed *Placed) { placed.Removed = true }, work(4), 4, "is about to lose it"},
		{"it has nothing, and is meant to have nothing", false, nil, nil, 0, ""},
	}
	for _, test := range tests {
		t.Run(test.reason, func(t *testing.T) {
			spec := &workv1alpha1.BindingSpec{Replicas: ptr.To[int32](6), Placement: &policyv1alpha1.Placement{
				ReplicaScheduling: &policyv1alpha1.ReplicaSchedulingStrategy{ReplicaSchedulingType: policyv1alpha1.ReplicaSchedulingDivided}}}
			placed := Placed{
				Spec: spec, Works: map[string]*workv1alpha1.PropagationWork{},
				Keeping:  func(target workv1alpha1.TargetCluster) workv1alpha1.TargetCluster { return target },
				Held:     func(string, *workv1alpha1.PropagationWork) bool { return false },
				WaitsFor: func(string, *workv1alpha1.PropagationWork) string { return "" },
				Silent:   func(string) bool { return false },
			}
			if test.given != nil {
				test.given(&placed)
			}
			if test.goes {
				placed.Targets = []workv1alpha1.TargetCluster{{Name: "a", Replicas: 2}}
			}
			if test.work != nil {
				placed.Works["a"] = test.work
			}
			var want []workv1alpha1.PlacementDetail
			if test.want != "" {
				want = []workv1alpha1.PlacementDetail{{Cluster: "a", Message: test.want}}
				if test.in > 0 {
					want[0].WorkReplicas = &test.in
				}
			}
			if diff := cmp.Diff(want, Explain(placed)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestClustersAreExplainedInTheOrderOfTheirNamesAndKindsWithoutReplicasWithout(t *testing.T) {
	works := map[string]*workv1alpha1.PropagationWork{}
	var want []workv1alpha1.PlacementDetail
	for i := range 20 {
		name := fmt.Sprintf("c%02d", i)
		works[name] = &workv1alpha1.PropagationWork{}
		want = append(want, workv1alpha1.PlacementDetail{Cluster: name, Message: "is left in a moment"})
	}
	if diff := cmp.Diff(want, Explain(Placed{Spec: &workv1alpha1.BindingSpec{}, Works: works})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
