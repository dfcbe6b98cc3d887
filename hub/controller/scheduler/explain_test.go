package scheduler

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	policyv1alpha1 "windlass.dev/windlass/api/policy/v1alpha1"
	workv1alpha1 "windlass.dev/windlass/api/work/v1alpha1"
	"windlass.dev/windlass/hub/store"
)

func (w *world) explained(t *testing.T, binding *workv1alpha1.PropagationBinding, want *workv1alpha1.BindingPlacement) {
	t.Helper()
	got := w.controller.Explain(t.Context(), binding)
	want.ObjectMeta = metav1.ObjectMeta{Namespace: binding.Namespace, Name: binding.Name}
	want.Resource, want.Replicas = binding.Spec.Resource, binding.Spec.Replicas
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestAnExplanationSaysOfEveryClusterWhyItIsRefusedAndGathersThoseOfTheSameReason(t *testing.T) {
	w := newWorld("a", "b", "c", "d")
	tainted := cluster("e")
	tainted.Spec.Taints = []corev1.Taint{{Key: "gpu", Effect: corev1.TaintEffectNoSchedule}}
	w.attach(tainted)
	pinned := binding(func(b *workv1alpha1.PropagationBinding) {
		b.Spec.Placement = &policyv1alpha1.Placement{ClusterAffinities: []policyv1alpha1.ClusterAffinityTerm{
			{AffinityName: "first", ClusterAffinity: policyv1alpha1.ClusterAffinity{ClusterNames: []string{"e"}}},
			{AffinityName: "second", ClusterAffinity: policyv1alpha1.ClusterAffinity{ClusterNames: []string{"b", "e"}}},
		}}
	})
	w.explained(t, pinned, &workv1alpha1.BindingPlacement{
		Scheduled: true, Reason: "ClustersLeftOut", AffinityGroup: "second", Pending: true,
		Message:  "2 replicas in 1 cluster, in the affinity group second; e, which is named, is left out: it has the untolerated taint gpu:NoSchedule",
		Clusters: targets("b"),
		Refusals: []workv1alpha1.PlacementRefusal{
			{AffinityGroup: "first", Rule: "ClusterAffinity", Message: "is not named by clusterNames", Clusters: []string{"a", "b", "c", "d"}},
			{AffinityGroup: "first", Rule: "TaintToleration", Message: "has the untolerated taint gpu:NoSchedule", Clusters: []string{"e"}},
			{AffinityGroup: "second", Rule: "ClusterAffinity", Message: "is not named by clusterNames", Clusters: []string{"a", "c", "d"}},
			{AffinityGroup: "second", Rule: "TaintToleration", Message: "has the untolerated taint gpu:NoSchedule", Clusters: []string{"e"}},
		},
	})
	if w.gathered > 0 {
		t.Error("agents were asked, and room decides nothing here")
	}
}

func TestAnExplanationHasTheRoomThatWasCounted(t *testing.T) {
	w := newWorld()
	w.attach(roomy("a", "2"))
	w.attach(cluster("silent"))
	text := "3 replicas wanted, and the cluster that fits has room for 2: a has 2"
	w.explained(t, byRoom(3), &workv1alpha1.BindingPlacement{
		Reason: "Unschedulable", Message: text + "; of the others 1 has not reported its capacity yet",
		Refusals: []workv1alpha1.PlacementRefusal{
			{Rule: "Capacity", Message: "fits, but there is room for 2 of 3 replicas to be placed", Clusters: []string{"a"}},
			{Rule: "Capacity", Message: "has not reported its capacity yet", Clusters: []string{"silent"}},
		},
		Room: []workv1alpha1.ClusterRoom{{Cluster: "a", Replicas: ptr.To[int32](2), Source: "Agent"}, {Cluster: "silent", Source: "Unknown"}},
	})
	if len(w.assumed) > 0 {
		t.Errorf("room was taken for an answer: %v", w.assumed)
	}
}

func TestAnExplanationSaysWhichAgentsAreWaitedForAndNotWhatIsDecidedWithoutThem(t *testing.T) {
	for _, c := range []struct {
		awaited []string
		is      []workv1alpha1.TargetCluster
		want    string
	}{
		{[]string{"b"}, nil, "waits for the agent of b, which is on the way back since the hub began: where it goes depends on the room there"},
		{[]string{"a", "b", "c", "d", "e"}, targets("a"),
			"waits for the agents of a, b, c and 2 more, which are on the way back since the hub began: where it goes depends on the room there"},
	} {
		w := newWorld()
		var rooms []workv1alpha1.ClusterRoom
		for _, name := range []string{"a", "b", "c", "d", "e"} {
			w.attach(roomy(name, "9"))
			room := workv1alpha1.ClusterRoom{Cluster: name, Replicas: ptr.To[int32](9), Source: "Agent"}
			if slices.Contains(c.awaited, name) {
				room.Source = "Summary"
			}
			rooms = append(rooms, room)
		}
		w.awaited = c.awaited
		b := byRoom(3)
		b.Spec.Clusters = c.is
		w.explained(t, b, &workv1alpha1.BindingPlacement{Reason: "WaitingForAgent", Message: c.want, Clusters: c.is, Room: rooms})
	}
}

func TestAnExplanationOfABindingInAGroupChangesNothingForTheOthers(t *testing.T) {
	w := newWorld("a", "b")
	first := grouped("first", "", "apart")
	if diff := cmp.Diff(w.controller.Explain(t.Context(), first), w.controller.Explain(t.Context(), grouped("second", "", "apart")),
		cmpopts.IgnoreFields(workv1alpha1.BindingPlacement{}, "ObjectMeta", "Resource")); diff != "" {
		t.Errorf("the first one was asked about, and not placed (-first +second):\n%s", diff)
	}
	placed := w.PropagationBindings.Put(grouped("placed", "", "apart"))
	w.reconcile(t, store.Key(placed))
	w.controller.company.recent = nil // by now the cache shows it
	got := w.controller.Explain(t.Context(), first)
	want := []workv1alpha1.PlacementRefusal{{Rule: "WorkloadAffinity", Message: "has a workload of the anti-affinity group apart", Clusters: []string{"a"}}}
	if diff := cmp.Diff(want, got.Refusals); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestWhatAnotherSchedulerOrNobodyPlacesIsExplainedByThat(t *testing.T) {
	w := newWorld("a")
	w.explained(t, binding(func(b *workv1alpha1.PropagationBinding) { b.Spec.SchedulerName = "mine" }), &workv1alpha1.BindingPlacement{
		Reason: "OtherScheduler", Message: `the scheduler "mine" is to place it, as spec.schedulerName says; the hub's own leaves it alone`,
	})
	w.explained(t, binding(func(b *workv1alpha1.PropagationBinding) {
		b.Spec.SchedulerName, b.Spec.Clusters = "mine", targets("a")
		b.Status.Conditions = []metav1.Condition{{Type: workv1alpha1.BindingScheduled, Status: metav1.ConditionTrue, Reason: "Mine", Message: "placed as I please"}}
	}), &workv1alpha1.BindingPlacement{
		Scheduled: true, Reason: "Mine", Message: "placed as I please", Clusters: targets("a"),
		Remarks: []string{`the scheduler "mine" places it, as spec.schedulerName says: this is its word, and why it chooses no other clusters only it knows`},
	})
	w.explained(t, binding(func(b *workv1alpha1.PropagationBinding) {
		b.Generation, b.Status.SchedulerObservedGeneration = 2, 1
		b.Spec.SchedulerName, b.Spec.Clusters = "mine", targets("a")
		b.Status.Conditions = []metav1.Condition{{Type: workv1alpha1.BindingScheduled, Status: metav1.ConditionFalse, Reason: "OtherScheduler", Message: "it is mine to place"}}
	}), &workv1alpha1.BindingPlacement{
		Reason: "OtherScheduler", Message: "it is mine to place", Clusters: targets("a"),
		Remarks: []string{`status.schedulerObservedGeneration of the binding is 1: what spec.clusters says is carried out when the scheduler "mine" has set it to 2, the binding's generation`},
	})
	w.explained(t, binding(func(b *workv1alpha1.PropagationBinding) {
		b.Generation, b.Status.SchedulerObservedGeneration, b.Labels = 2, 1, nil
		b.Spec.SchedulerName, b.Spec.Clusters = "mine", targets("a")
		b.Status.Conditions = []metav1.Condition{{Type: workv1alpha1.BindingScheduled, Status: metav1.ConditionFalse, Reason: "OtherScheduler", Message: "it is mine to place"}}
	}), &workv1alpha1.BindingPlacement{
		Reason: "OtherScheduler", Message: "it is mine to place", Clusters: targets("a"),
		Remarks: []string{"status.schedulerObservedGeneration of the binding is 1, and its generation is 2: no policy claims the template any more, and no cluster gets anything new of it until one does"},
	})
	w.explained(t, binding(func(b *workv1alpha1.PropagationBinding) { b.Labels, b.Spec.Clusters = nil, targets("a") }), &workv1alpha1.BindingPlacement{
		Scheduled: true, Reason: "Success", Message: "no policy claims the template any more; it stays where it is", Clusters: targets("a"),
	})
}

func TestAnExplanationNamesTheGroupsThatOverflowAndThoseThatAreNotTried(t *testing.T) {
	w := newWorld()
	for _, name := range []string{"a", "b", "c"} {
		w.attach(roomy(name, "2"))
	}
	named := func(names ...string) policyv1alpha1.ClusterAffinity {
		return policyv1alpha1.ClusterAffinity{ClusterNames: names}
	}
	explained := byRoom(3)
	explained.Spec.Placement.ClusterAffinities = []policyv1alpha1.ClusterAffinityTerm{
		{AffinityName: "first", ClusterAffinity: named("c")},
		{AffinityName: "second", ClusterAffinity: named("a"), OverflowAffinities: []policyv1alpha1.OverflowAffinityTerm{{AffinityName: "rented", ClusterAffinity: named("b")}}},
	}
	explained.Status.SchedulerObservingAffinityName = "second"
	got := w.controller.Explain(t.Context(), explained)
	if diff := cmp.Diff([]workv1alpha1.PlacementDetail{{Cluster: "b", OverflowGroup: "rented"}}, got.Details); diff != "" {
		t.Errorf("details (-want +got):\n%s", diff)
	}
	want := []string{"it stays in the affinity group second as long as that fits, whatever is with those before it (first): a WorkloadRebalancer begins with the first again"}
	if diff := cmp.Diff(want, got.Remarks); diff != "" {
		t.Errorf("remarks (-want +got):\n%s", diff)
	}
}

func TestAJobOfWhichItIsNotKnownWhetherItHasEndedIsExplainedByWhatWasDecidedBefore(t *testing.T) {
	w := newWorld()
	w.attach(thatRunsJobs("b"))
	remark := []string{"this is what was decided before: the hub has not seen yet whether the Job has ended, and decides nothing until then"}
	before := binding(func(b *workv1alpha1.PropagationBinding) {
		jobBinding(b)
		b.Spec.Clusters = targets("a")
	})
	w.explained(t, before, &workv1alpha1.BindingPlacement{Clusters: targets("a"), Message: "nothing is decided yet", Remarks: remark})
	before.Status.Conditions = []metav1.Condition{{Type: workv1alpha1.BindingScheduled, Status: metav1.ConditionTrue, Reason: "Success", Message: "goes to a"}}
	w.explained(t, before, &workv1alpha1.BindingPlacement{Scheduled: true, Reason: "Success", Message: "goes to a", Clusters: targets("a"), Remarks: remark})
	w.templates.Put(aJob("u1"))
	if got := w.controller.Explain(t.Context(), before); len(got.Remarks) > 0 || !cmp.Equal(got.Clusters, targets("b")) {
		t.Errorf("of a Job that runs it says %v", got)
	}
}

func TestWhatIsBeingDeletedGoesNowhere(t *testing.T) {
	w := newWorld("a")
	deleted := binding(func(b *workv1alpha1.PropagationBinding) {
		b.DeletionTimestamp, b.Spec.Clusters = ptr.To(metav1.Now()), targets("a")
		b.Status.Conditions = []metav1.Condition{{Type: workv1alpha1.BindingFullyApplied, Status: metav1.ConditionTrue, Reason: "FullyAppliedSuccess", Message: "all have it"}}
	})
	w.explained(t, deleted, &workv1alpha1.BindingPlacement{Reason: "Removing", Message: "It is being removed from all clusters"})
	deleted.Status.Conditions[0].Reason, deleted.Status.Conditions[0].Message = "Removing", "It is being removed, and not gone yet from 1 cluster: a"
	w.explained(t, deleted, &workv1alpha1.BindingPlacement{Reason: "Removing", Message: "It is being removed, and not gone yet from 1 cluster: a"})
	deleted.Status.Conditions[0].Reason, deleted.Status.Conditions[0].Message = "RemovalHeld", "it waits for a person"
	w.explained(t, deleted, &workv1alpha1.BindingPlacement{Reason: "Removing", Message: "it waits for a person"})
	deleted.Generation++ // since then it was deleted
	w.explained(t, deleted, &workv1alpha1.BindingPlacement{Reason: "Removing", Message: "It is being removed from all clusters"})
}
