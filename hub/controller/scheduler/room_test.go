package scheduler

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	clusterv1alpha1 "windlass.dev/windlass/api/cluster/v1alpha1"
	policyv1alpha1 "windlass.dev/windlass/api/policy/v1alpha1"
	workv1alpha1 "windlass.dev/windlass/api/work/v1alpha1"
	"windlass.dev/windlass/hub/capacity"
	"windlass.dev/windlass/hub/store/storetest"
	"windlass.dev/windlass/pkg/schedule"
)

// roomy is a cluster with so many processors that nobody uses, and room for 100 pods.
func roomy(name, cpus string) *clusterv1alpha1.MemberCluster {
	c := cluster(name)
	c.Status.ResourceSummary = &clusterv1alpha1.ResourceSummary{Allocatable: corev1.ResourceList{
		corev1.ResourcePods: resource.MustParse("100"), corev1.ResourceCPU: resource.MustParse(cpus)}}
	return c
}

// byRoom is a binding that is divided by room and whose replicas need a processor each.
func byRoom(replicas int32) *workv1alpha1.PropagationBinding {
	return binding(func(b *workv1alpha1.PropagationBinding) {
		b.Spec.Replicas = ptr.To(replicas)
		b.Spec.ReplicaRequirements = &workv1alpha1.ReplicaRequirements{ResourceRequest: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("1")}}
		b.Spec.Placement = &policyv1alpha1.Placement{ReplicaScheduling: &policyv1alpha1.ReplicaSchedulingStrategy{
			ReplicaSchedulingType: policyv1alpha1.ReplicaSchedulingDivided, ReplicaDivisionPreference: policyv1alpha1.ReplicaDivisionWeighted,
			WeightPreference: &policyv1alpha1.ClusterPreferences{DynamicWeight: policyv1alpha1.DynamicWeightByAvailableReplicas}}}
	})
}

func (w *world) expect(t *testing.T, step string, want ...workv1alpha1.TargetCluster) *workv1alpha1.PropagationBinding {
	t.Helper()
	got, _ := w.PropagationBindings.Get("shop", web.Name)
	if diff := cmp.Diff(want, got.Spec.Clusters, cmpopts.EquateEmpty()); diff != "" {
		t.Fatalf("%s (-want +got):\n%s", step, diff)
	}
	return got
}

func TestReplicasAreDividedByWhatClustersReportAsSpare(t *testing.T) {
	w := newWorld()
	w.attach(roomy("a", "4"))
	w.attach(roomy("b", "2"))
	w.attach(cluster("silent"))
	w.PropagationBindings.Put(byRoom(3))
	w.reconcile(t, web)
	w.expect(t, "3 over 4:2", workv1alpha1.TargetCluster{Name: "a", Replicas: 2}, workv1alpha1.TargetCluster{Name: "b", Replicas: 1})

	if diff := cmp.Diff([]string{"a=2 b=1"}, w.assumed); diff != "" {
		t.Errorf("what is taken off the clusters' room until it shows there (-want +got):\n%s", diff)
	}
}

func TestWhatIsKeptFromClustersTakesNoRoomThere(t *testing.T) {
	w := newWorld()
	w.attach(roomy("a", "4"))
	w.attach(roomy("b", "2"))
	suspend := func(suspension policyv1alpha1.Suspension) {
		w.PropagationBindings.Change("shop", web.Name, func(b *workv1alpha1.PropagationBinding) {
			b.Spec.Suspension = &workv1alpha1.BindingSuspension{Suspension: suspension}
			b.Generation++
		})
		w.reconcile(t, web)
	}
	b := byRoom(3)
	b.Spec.Suspension = &workv1alpha1.BindingSuspension{Suspension: policyv1alpha1.Suspension{Dispatching: ptr.To(true)}}
	w.PropagationBindings.Put(b)
	w.reconcile(t, web)
	suspend(policyv1alpha1.Suspension{DispatchingOnClusters: &policyv1alpha1.SuspendClusters{ClusterNames: []string{"a"}}})
	suspend(policyv1alpha1.Suspension{Dispatching: ptr.To(false)})
	if diff := cmp.Diff([]string{"", "b=1", "a=2 b=1"}, w.assumed); diff != "" {
		t.Errorf("what is taken off the clusters' room while all is suspended, a is, and nothing is (-want +got):\n%s", diff)
	}
}

func TestRoomThatIsOnlyAssumedTakenIsTold(t *testing.T) {
	w := newRoom(t, "5")
	first := byRoom(3)
	w.PropagationBindings.Put(first)
	w.reconcile(t, web)
	second := byRoom(4)
	second.Name, second.Spec.Resource.Name = "second", "second"
	w.PropagationBindings.Put(second)
	w.reconcile(t, types.NamespacedName{Namespace: "shop", Name: "second"})
	got, _ := w.PropagationBindings.Get("shop", "second")
	want := "4 replicas wanted, and the cluster that fits has room for 2: a has 2; room for 3 more is kept for what was placed a moment ago and can't be seen there yet"
	if condition := scheduledCondition(got); condition.Message != want {
		t.Errorf("the message is %q, want %q", condition.Message, want)
	}
}

func TestAWriteOfABindingDoesNotWaitForAgents(t *testing.T) {
	w := newWorld("a")
	if w.controller.Place(byRoom(3)) {
		t.Error("it is placed by room within the write")
	}
	if w.gathered > 0 {
		t.Error("agents were asked within the write")
	}
}

func TestABindingThatWaitsForRoomIsLookedAtWhenThereIsMore(t *testing.T) {
	w := newWorld()
	w.attach(roomy("a", "1"))
	w.PropagationBindings.Put(byRoom(3))
	w.reconcile(t, web)
	w.PropagationBindings.Put(binding(func(b *workv1alpha1.PropagationBinding) { b.Name = "placed" }))
	w.reconcile(t, types.NamespacedName{Namespace: "shop", Name: "placed"})
	w.keys(t)
	w.controller.roomGrew(w.woken)
	if diff := cmp.Diff([]string{web.String()}, w.keys(t)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Gather has room for as many replicas as a cluster has processors.
func (w *world) Gather(_ context.Context, _ *workv1alpha1.ReplicaRequirements, clusters []string) func() []capacity.Answer {
	w.gathered++
	return func() []capacity.Answer { return w.known(clusters) }
}

func (w *world) known(clusters []string) []capacity.Answer {
	answers := make([]capacity.Answer, len(clusters))
	for i, name := range clusters {
		answers[i].Source = capacity.Unknown
		if cluster, ok := w.MemberClusters.Get("", name); ok && cluster.Status.ResourceSummary != nil {
			cpus := cluster.Status.ResourceSummary.Allocatable[corev1.ResourceCPU]
			answers[i] = capacity.Answer{Replicas: int32(cpus.Value()), Source: capacity.FromAgent}
		}
		if slices.Contains(w.awaited, name) {
			answers[i].Source, answers[i].Awaited = capacity.FromSummary, true
		}
	}
	return answers
}

func (w *world) Listen(func()) {}

func (w *world) Assume(_ types.NamespacedName, _ *workv1alpha1.ReplicaRequirements, _, after []workv1alpha1.TargetCluster) func() {
	var parts []string
	for _, target := range after {
		parts = append(parts, fmt.Sprintf("%s=%d", target.Name, target.Replicas))
	}
	w.assumed = append(w.assumed, strings.Join(parts, " "))
	return func() { w.assumed = append(w.assumed, "back") }
}

func TestABindingWithoutRoomStaysAndIsLookedAtAgainWithGrowingPatience(t *testing.T) {
	w := newWorld()
	w.attach(roomy("a", "4"))
	w.PropagationBindings.Put(byRoom(3))
	w.reconcile(t, web)
	three := workv1alpha1.TargetCluster{Name: "a", Replicas: 3}
	w.expect(t, "there is room for 3", three)

	w.attach(roomy("a", "1"))
	w.PropagationBindings.Change("shop", web.Name, func(b *workv1alpha1.PropagationBinding) { b.Spec.Replicas = ptr.To[int32](5) })
	first := w.reconcile(t, web)
	got := w.expect(t, "5 do not fit", three)
	condition := meta.FindStatusCondition(got.Status.Conditions, workv1alpha1.BindingScheduled)
	if condition.Status != metav1.ConditionFalse || condition.Reason != schedule.ReasonUnschedulable {
		t.Errorf("the condition is %+v", condition)
	}
	if first.RequeueAfter < leastPatience {
		t.Errorf("looked at again after %s, before anything new can be known", first.RequeueAfter)
	}
	w.now = w.now.Add(time.Hour)
	if later := w.reconcile(t, web); later.RequeueAfter < mostPatience || later.RequeueAfter > 2*mostPatience {
		t.Errorf("after an hour without room it is looked at again after %s", later.RequeueAfter)
	}

	w.attach(roomy("a", "2"))
	if done := w.reconcile(t, web); done.RequeueAfter != 0 {
		t.Errorf("with a place it is looked at again after %s", done.RequeueAfter)
	}
	w.expect(t, "now they do", workv1alpha1.TargetCluster{Name: "a", Replicas: 5})
}

func TestWhatDependsOnTheRoomOfAClusterWhoseAgentIsOnItsWayBackIsDecidedWhenItIsThere(t *testing.T) {
	to := func(cluster string, replicas int32) workv1alpha1.TargetCluster {
		return workv1alpha1.TargetCluster{Name: cluster, Replicas: replicas}
	}
	in := func(clusters ...workv1alpha1.TargetCluster) []workv1alpha1.TargetCluster { return clusters }
	aggregated := func(b *workv1alpha1.PropagationBinding) {
		b.Spec.Placement.ReplicaScheduling = &policyv1alpha1.ReplicaSchedulingStrategy{
			ReplicaSchedulingType: policyv1alpha1.ReplicaSchedulingDivided, ReplicaDivisionPreference: policyv1alpha1.ReplicaDivisionAggregated}
	}
	spread := func(most int32) func(*workv1alpha1.PropagationBinding) {
		return func(b *workv1alpha1.PropagationBinding) {
			b.Spec.Placement.SpreadConstraints = []policyv1alpha1.SpreadConstraint{{SpreadByField: policyv1alpha1.SpreadByFieldCluster, MinGroups: 1, MaxGroups: most}}
		}
	}
	anew := func(b *workv1alpha1.PropagationBinding) {
		b.Spec.RescheduleTriggeredAt = &metav1.Time{Time: storetest.Began}
	}
	undivided := func(b *workv1alpha1.PropagationBinding) { b.Spec.Placement.ReplicaScheduling = nil }
	replicas := func(n int32) func(*workv1alpha1.PropagationBinding) {
		return func(b *workv1alpha1.PropagationBinding) { b.Spec.Replicas = ptr.To(n) }
	}
	type changes []func(*workv1alpha1.PropagationBinding)
	for _, c := range []struct {
		reason  string
		changes changes
		// is is where it is, and goes where it goes when it has waited, or at once.
		is, goes []workv1alpha1.TargetCluster
		waits    bool
		// rooms are those by the sums of b and c, whose agents are on their way back, and that in a; back are those when they are there.
		rooms, back string
		alsoA       bool // is on its way back, too
	}{
		{reason: "it waits for room: the sums have enough, the agent has not", waits: true, changes: changes{func(b *workv1alpha1.PropagationBinding) {
			b.Status.Conditions = []metav1.Condition{{Type: workv1alpha1.BindingScheduled, Status: metav1.ConditionFalse, Reason: schedule.ReasonUnschedulable}}
		}}},
		{reason: "it is new", waits: true, changes: changes{replicas(3)}, goes: in(to("a", 2), to("b", 1))},
		{reason: "another cluster has room for all, and it is divided by room", waits: true, rooms: "a=500 b=5000", back: "a=500 b=500", goes: in(to("a", 3), to("b", 3))},
		{reason: "so it is when several are on their way back", waits: true, rooms: "a=100 b=100 c=1", back: "a=100 b=1 c=100", goes: in(to("a", 3), to("c", 3))},
		{reason: "another cluster has room for all, and as few as possible are used, those with the most room first", waits: true, changes: changes{aggregated},
			rooms: "a=10 b=500", back: "a=10 b=8", goes: in(to("a", 6))},
		{reason: "another cluster has room for all, and one is chosen, by room", waits: true, changes: changes{spread(1)}, rooms: "a=100 b=500", back: "a=100 b=50", goes: in(to("a", 6))},
		{reason: "one is chosen by room for all replicas, and both are on their way back", waits: true, changes: changes{undivided, spread(1)}, alsoA: true,
			rooms: "a=9 b=1", back: "a=1 b=9", goes: in(to("b", 6))},
		{reason: "somebody has asked to place it anew, and what it has is room for no more", waits: true, is: in(to("a", 5)), changes: changes{replicas(9), anew}, goes: in(to("a", 5))},
		{reason: "so it is when it has all that it asks for, and the sums know of no room in one of its clusters", waits: true, is: in(to("a", 3), to("b", 3)), changes: changes{anew}, alsoA: true,
			rooms: "a=10 b=0", back: "a=10 b=10", goes: in(to("a", 3), to("b", 3))},
		{reason: "it grows", waits: true, is: in(to("a", 3)), goes: in(to("a", 5), to("b", 1))},
		{reason: "it has to leave its cluster", waits: true, is: in(to("a", 6)), rooms: "a=9 b=9", back: "a=9 b=2", goes: in(to("a", 6)), changes: changes{func(b *workv1alpha1.PropagationBinding) {
			b.Spec.GracefulEvictionTasks = []workv1alpha1.GracefulEvictionTask{{FromCluster: "a", Reason: "TaintUntolerated", Producer: "test"}}
		}}},
		{reason: "it has all that it asks for", is: in(to("a", 6)), goes: in(to("a", 6))},
		{reason: "it has all that it asks for, in the cluster that was chosen", changes: changes{spread(1)}, is: in(to("a", 6)), goes: in(to("a", 6))},
		{reason: "so it has when it is not divided", changes: changes{undivided, spread(1)}, is: in(to("a", 6)), goes: in(to("a", 6))},
		{reason: "it shrinks", is: in(to("a", 7)), goes: in(to("a", 6))},
		{reason: "it may not go there", goes: in(to("a", 2)), changes: changes{replicas(2), func(b *workv1alpha1.PropagationBinding) {
			b.Spec.Placement.ClusterAffinity = &policyv1alpha1.ClusterAffinity{ClusterNames: []string{"a"}}
		}}},
		{reason: "it is not placed by room", changes: changes{undivided}, goes: in(to("a", 6), to("b", 6))},
		{reason: "so it is where as many clusters are used as fit", changes: changes{undivided, spread(2)}, goes: in(to("a", 6), to("b", 6))},
	} {
		t.Run(c.reason, func(t *testing.T) {
			w := newWorld()
			roomsAre := func(rooms string) {
				for _, room := range strings.Fields(rooms) {
					name, cpus, _ := strings.Cut(room, "=")
					w.attach(roomy(name, cpus))
				}
			}
			if c.rooms == "" {
				c.rooms, c.back = "a=2 b=9", "b=1"
			}
			roomsAre(c.rooms)
			w.awaited = []string{"b", "c"}
			if c.alsoA {
				w.awaited = append(w.awaited, "a")
			}
			b := byRoom(6)
			b.Spec.Clusters = c.is
			for _, change := range c.changes {
				change(b)
			}
			w.PropagationBindings.Put(b)
			w.PropagationBindings.Writes()
			w.keys(t)
			w.reconcile(t, web)
			w.controller.roomGrew(w.woken)
			if !c.waits {
				w.expect(t, "at once", c.goes...)
				if woken := w.keys(t); len(woken) > 0 {
					t.Errorf("woken when there is more room: %v, want nobody", woken)
				}
				return
			}
			said := scheduledCondition(w.expect(t, "before the agent is back", c.is...))
			switch writes := w.PropagationBindings.Writes(); {
			case len(c.is) == 0 && len(b.Status.Conditions) == 0:
				if len(writes) != 1 || said == nil || said.Status != metav1.ConditionFalse || said.Reason != workv1alpha1.ScheduledWaitingForAgent {
					t.Errorf("written %v, with the condition %+v, want that it waits for an agent", writes, said)
				}
			case len(writes) > 0:
				t.Errorf("written before the agent is back: %v", writes)
			}
			if diff := cmp.Diff([]string{web.String()}, w.keys(t)); diff != "" {
				t.Errorf("woken when the agent is back (-want +got):\n%s", diff)
			}
			w.reconcile(t, web)
			if writes := w.PropagationBindings.Writes(); len(writes) > 0 {
				t.Errorf("written again before the agent is back: %v", writes)
			}
			w.awaited = nil
			roomsAre(c.back)
			w.reconcile(t, web)
			got := w.expect(t, "when the agent is back", c.goes...)
			if len(c.goes) == 0 && (scheduledCondition(got).Status != metav1.ConditionFalse || scheduledCondition(got).Reason != schedule.ReasonUnschedulable) {
				t.Errorf("there is no room, and the condition is %+v", scheduledCondition(got))
			}
			if asked := got.Spec.RescheduleTriggeredAt != nil; asked && afresh(got) == (scheduledCondition(got).Status == metav1.ConditionTrue) {
				t.Errorf("what was asked for is open: %t, and the condition is %+v", afresh(got), scheduledCondition(got))
			}
		})
	}
}

func TestTheGroupThatWasChosenIsRememberedUntilABindingIsPlacedAfresh(t *testing.T) {
	w := newWorld("a", "b")
	w.PropagationBindings.Put(binding(func(b *workv1alpha1.PropagationBinding) {
		b.Spec.Placement = &policyv1alpha1.Placement{}
		for _, name := range []string{"a", "b"} {
			b.Spec.Placement.ClusterAffinities = append(b.Spec.Placement.ClusterAffinities,
				policyv1alpha1.ClusterAffinityTerm{AffinityName: "group-" + name, ClusterAffinity: policyv1alpha1.ClusterAffinity{ClusterNames: []string{name}}})
		}
	}))
	expect := func(step, cluster string) {
		t.Helper()
		w.reconcile(t, web)
		if got := w.expect(t, step, targets(cluster)...); got.Status.SchedulerObservingAffinityName != "group-"+cluster {
			t.Errorf("%s: the group that is in use is said to be %s", step, got.Status.SchedulerObservingAffinityName)
		}
	}
	expect("the first group fits", "a")
	gone := cluster("a")
	gone.DeletionTimestamp = &metav1.Time{Time: storetest.Began}
	w.attach(gone)
	expect("its cluster leaves", "b")
	w.attach(cluster("a"))
	expect("it is back", "b")
	w.now = w.now.Add(time.Minute)
	w.PropagationBindings.Change("shop", web.Name, func(b *workv1alpha1.PropagationBinding) {
		b.Spec.RescheduleTriggeredAt = &metav1.Time{Time: w.now.Add(-time.Second)}
	})
	expect("somebody asks", "a")
	w.PropagationBindings.Writes()
	w.reconcile(t, web)
	if writes := w.PropagationBindings.Writes(); len(writes) > 0 {
		t.Errorf("what was asked for is done, and done again: %v", writes)
	}
}

func TestAFreshDecisionThatChangesNothingIsDoneOnce(t *testing.T) {
	w := newWorld("a")
	w.PropagationBindings.Put(binding(nil))
	w.reconcile(t, web)
	for _, ahead := range []time.Duration{-time.Second, 0, time.Hour} { // the user's clock against ours
		w.now = w.now.Add(2 * time.Hour)
		w.PropagationBindings.Change("shop", web.Name, func(b *workv1alpha1.PropagationBinding) {
			b.Spec.RescheduleTriggeredAt = &metav1.Time{Time: w.now.Add(ahead)}
		})
		w.PropagationBindings.Writes()
		w.reconcile(t, web)
		w.reconcile(t, web)
		if writes := w.PropagationBindings.Writes(); len(writes) != 1 {
			t.Errorf("asked for at %s from now: written %v, want one write that says that it is done", ahead, writes)
		}
	}
}

func TestARequestToPlaceAnewIsOpenUntilThereIsAPlace(t *testing.T) {
	w := newWorld()
	w.attach(roomy("a", "4"))
	w.PropagationBindings.Put(byRoom(4))
	w.reconcile(t, web)
	four := workv1alpha1.TargetCluster{Name: "a", Replicas: 4}
	w.expect(t, "there is room for 4", four)

	w.now = w.now.Add(time.Minute)
	w.attach(roomy("a", "1"))
	w.PropagationBindings.Change("shop", web.Name, func(b *workv1alpha1.PropagationBinding) {
		b.Spec.Replicas, b.Spec.RescheduleTriggeredAt = ptr.To[int32](6), &metav1.Time{Time: w.now}
	})
	w.PropagationBindings.Writes()
	w.reconcile(t, web)
	w.reconcile(t, web)
	if writes := w.PropagationBindings.Writes(); len(writes) != 1 {
		t.Errorf("written %v, want one write that says that there is no room", writes)
	}
	got := w.expect(t, "6 do not fit", four)
	if condition := scheduledCondition(got); condition.Status != metav1.ConditionFalse || !afresh(got) {
		t.Errorf("the condition is %+v, decided at %v, asked for at %v: nothing is asked for any more", condition, got.Status.LastScheduledTime, got.Spec.RescheduleTriggeredAt)
	}

	w.now = w.now.Add(time.Minute)
	w.attach(roomy("b", "5"))
	w.reconcile(t, web)
	got = w.expect(t, "placed anew among 4+1 and 5, not the 2 that are missing among 1 and 5", workv1alpha1.TargetCluster{Name: "a", Replicas: 3}, workv1alpha1.TargetCluster{Name: "b", Replicas: 3})
	if afresh(got) {
		t.Errorf("decided at %v, asked for at %v: it would be done again", got.Status.LastScheduledTime, got.Spec.RescheduleTriggeredAt)
	}
}

func grouped(name, near, far string) *workv1alpha1.PropagationBinding {
	return binding(func(b *workv1alpha1.PropagationBinding) {
		b.Name, b.Spec.Resource.Name = name+"-deployment", name
		b.Spec.WorkloadAffinityGroups = &workv1alpha1.WorkloadAffinityGroups{AffinityGroup: near, AntiAffinityGroup: far}
		b.Spec.Placement = &policyv1alpha1.Placement{SpreadConstraints: []policyv1alpha1.SpreadConstraint{{SpreadByField: policyv1alpha1.SpreadByFieldCluster, MaxGroups: 1}}}
	})
}

func TestWorkloadsOfAGroupFindEachOther(t *testing.T) {
	w := newWorld("a", "b")
	place := func(step string, b *workv1alpha1.PropagationBinding, want ...string) {
		t.Helper()
		record(b, w.controller.decide(b, w.controller.fleet.snapshot(), nil), false, w.now)
		if diff := cmp.Diff(targets(want...), b.Spec.Clusters, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", step, diff)
		}
	}
	first, second, third := grouped("first", "", "app=db"), grouped("second", "", "app=db"), grouped("third", "", "app=db")
	place("the first goes anywhere", first, "a")
	place("the second knows of it before it is stored", second, "b")
	elsewhere := grouped("first", "", "app=db")
	elsewhere.Namespace, elsewhere.Spec.Resource.Namespace = "bank", "bank"
	place("groups are those of one namespace", elsewhere, "a")
	place("the third finds no cluster", third)
	place("near the first of another group", grouped("shop", "app=shop", "app=db2"), "a")
	place("near to it, though the other cluster has less", grouped("shop-too", "app=shop", ""), "a")

	stored := w.PropagationBindings.Put(first)
	w.PropagationBindings.Put(third)
	woken := w.controller.woken(stored, nil)
	if diff := cmp.Diff([]types.NamespacedName{{Namespace: "shop", Name: "third-deployment"}}, woken); diff != "" {
		t.Errorf("woken by the end of the first (-want +got):\n%s", diff)
	}
	w.PropagationBindings.Drop("shop", "first-deployment")
	place("the third takes its place", third, "a")
	w.now = w.now.Add(time.Minute)
	place("what was decided and never written counts no more", grouped("fourth", "", "app=db"), "a")
}

// leaves tells a stored binding to leave a cluster.
func (w *world) leaves(name, cluster string) *workv1alpha1.PropagationBinding {
	return w.PropagationBindings.Change("shop", name, func(b *workv1alpha1.PropagationBinding) {
		b.Spec.GracefulEvictionTasks = []workv1alpha1.GracefulEvictionTask{{FromCluster: cluster, Reason: "TaintUntolerated", Producer: "test"}}
		b.Generation++
	})
}

func TestABindingThatHasToLeaveAndFindsNoRoomElsewhereIsLookedAtAgain(t *testing.T) {
	w := newWorld()
	w.attach(roomy("a", "4"))
	w.PropagationBindings.Put(byRoom(3))
	w.reconcile(t, web)
	stays := workv1alpha1.TargetCluster{Name: "a", Replicas: 3}
	w.expect(t, "it begins with the only cluster", stays)

	w.attach(roomy("b", "0"))
	w.now = w.now.Add(24 * time.Hour)
	w.leaves(web.Name, "a")
	first := w.reconcile(t, web)
	got := w.expect(t, "the other one has no room", stays)
	if condition := scheduledCondition(got); condition.Status != metav1.ConditionTrue || condition.Reason != schedule.ReasonNowhereElse {
		t.Fatalf("the condition is %+v", condition)
	}
	if first.RequeueAfter < leastPatience {
		t.Errorf("looked at again after %s, before anything new can be known", first.RequeueAfter)
	}
	if again := w.reconcile(t, web); again.RequeueAfter < leastPatience || again.RequeueAfter > 2*leastPatience {
		t.Errorf("it has waited for a moment, though placed for a day, and is looked at again after %s", again.RequeueAfter)
	}
	w.keys(t)
	w.controller.roomGrew(w.woken)
	if diff := cmp.Diff([]string{web.String()}, w.keys(t)); diff != "" {
		t.Errorf("woken by more room (-want +got):\n%s", diff)
	}
	w.attach(roomy("b", "3"))
	if done := w.reconcile(t, web); done.RequeueAfter != 0 {
		t.Errorf("with a place it is looked at again after %s", done.RequeueAfter)
	}
	w.expect(t, "now it has", workv1alpha1.TargetCluster{Name: "b", Replicas: 3})
}

func TestABindingThatHasToLeaveIsWokenWhenOneOfItsGroupMakesPlace(t *testing.T) {
	w := newWorld("a", "b")
	first, second := grouped("first", "", "app=db"), grouped("second", "", "app=db")
	keys := []types.NamespacedName{{Namespace: "shop", Name: "first-deployment"}, {Namespace: "shop", Name: "second-deployment"}}
	w.PropagationBindings.Put(first)
	w.PropagationBindings.Put(second)
	w.reconcile(t, keys[0])
	w.reconcile(t, keys[1])
	w.leaves(keys[1].Name, "b")
	w.reconcile(t, keys[1])
	if got, _ := w.PropagationBindings.Get("shop", keys[1].Name); scheduledCondition(got).Reason != schedule.ReasonNowhereElse {
		t.Fatalf("the condition is %+v", scheduledCondition(got))
	}
	gone, _ := w.PropagationBindings.Get("shop", keys[0].Name)
	if diff := cmp.Diff(keys[1:], w.controller.waitingFor(gone, nil)); diff != "" {
		t.Errorf("woken by the end of the first (-want +got):\n%s", diff)
	}
}

func TestAWorkloadThatLeavesItsGroupMakesPlace(t *testing.T) {
	for _, test := range []struct {
		reason string
		now    *workv1alpha1.WorkloadAffinityGroups
		woken  bool
	}{
		{"it is of none any more", nil, true},
		{"it is of another", &workv1alpha1.WorkloadAffinityGroups{AntiAffinityGroup: "app=web"}, true},
		{"it stays", &workv1alpha1.WorkloadAffinityGroups{AntiAffinityGroup: "app=db"}, false},
	} {
		t.Run(test.reason, func(t *testing.T) {
			w := newWorld("a")
			w.PropagationBindings.Put(grouped("first", "", "app=db"))
			w.PropagationBindings.Put(grouped("second", "", "app=db"))
			first, second := types.NamespacedName{Namespace: "shop", Name: "first-deployment"}, types.NamespacedName{Namespace: "shop", Name: "second-deployment"}
			w.reconcile(t, first)
			w.reconcile(t, second)
			before, _ := w.PropagationBindings.Get("shop", first.Name)
			after := w.PropagationBindings.Change("shop", first.Name, func(b *workv1alpha1.PropagationBinding) { b.Spec.WorkloadAffinityGroups = test.now })
			var want []types.NamespacedName
			if test.woken {
				want = []types.NamespacedName{second}
			}
			if diff := cmp.Diff(want, w.controller.waitingFor(before, after)); diff != "" {
				t.Errorf("woken (-want +got):\n%s", diff)
			}
			w.reconcile(t, second) // within the seconds in which what was just decided of the first counts
			got, _ := w.PropagationBindings.Get("shop", second.Name)
			if placed := len(got.Spec.Clusters) == 1; placed != test.woken {
				t.Errorf("the second goes to %v", got.Spec.Clusters)
			}
		})
	}
}

func TestAGroupOfWorkloadsIsDrainedTogether(t *testing.T) {
	w := newWorld("a")
	first, second, third := grouped("first", "app=shop", ""), grouped("second", "app=shop", ""), grouped("third", "app=shop", "")
	where := func(b *workv1alpha1.PropagationBinding) string {
		stored, _ := w.PropagationBindings.Get("shop", b.Name)
		w.reconcile(t, types.NamespacedName{Namespace: "shop", Name: b.Name})
		moved, _ := w.PropagationBindings.Get("shop", b.Name)
		if len(moved.Spec.Clusters) != 1 {
			t.Fatalf("%s goes to %v (it was in %v)", b.Name, moved.Spec.Clusters, stored.Spec.Clusters)
		}
		return moved.Spec.Clusters[0].Name
	}
	expect := func(step string, b *workv1alpha1.PropagationBinding, want string) {
		t.Helper()
		if got := where(b); got != want {
			t.Errorf("%s: %s is in %s, want %s", step, b.Name, got, want)
		}
	}
	for _, b := range []*workv1alpha1.PropagationBinding{first, second} {
		w.PropagationBindings.Put(b)
		expect("they begin together", b, "a")
	}
	w.attach(cluster("b"))
	w.attach(cluster("c"))

	w.leaves(second.Name, "a")
	expect("the first has not to leave, and what it is near to does not make it", first, "a")
	before, _ := w.PropagationBindings.Get("shop", first.Name)
	after := w.leaves(first.Name, "a")
	if len(w.controller.waitingFor(before, before)) > 0 {
		t.Error("a binding that neither moves nor has to leave wakes others")
	}
	expect("the first leaves", first, "b")
	expect("the second follows it, and does not go to c", second, "b")
	w.PropagationBindings.Put(third)
	expect("a new one goes to where they are", third, "b")

	waits := grouped("waits", "app=shop", "")
	waits.Status.Conditions = []metav1.Condition{{Type: workv1alpha1.BindingScheduled, Status: metav1.ConditionFalse}}
	w.PropagationBindings.Put(waits)
	if diff := cmp.Diff([]types.NamespacedName{{Namespace: "shop", Name: waits.Name}}, w.controller.waitingFor(before, after)); diff != "" {
		t.Errorf("woken when the first is told to leave (-want +got):\n%s", diff)
	}
}
