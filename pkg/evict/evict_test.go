package evict

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/utils/ptr"

	clusterv1alpha1 "windlass.dev/windlass/api/cluster/v1alpha1"
	policyv1alpha1 "windlass.dev/windlass/api/policy/v1alpha1"
	workv1alpha1 "windlass.dev/windlass/api/work/v1alpha1"
)

var began = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

// after is a time so many seconds after began.
func after(seconds int) time.Time { return began.Add(time.Duration(seconds) * time.Second) }

func stamp(seconds int) *metav1.Time { return ptr.To(metav1.NewTime(after(seconds))) }

// tainted is a cluster with a taint NoExecute for each key, added when everything began.
func tainted(name string, keys ...string) *clusterv1alpha1.MemberCluster {
	cluster := &clusterv1alpha1.MemberCluster{ObjectMeta: metav1.ObjectMeta{Name: name}}
	for _, key := range keys {
		cluster.Spec.Taints = append(cluster.Spec.Taints, corev1.Taint{Key: key, Effect: corev1.TaintEffectNoExecute, TimeAdded: stamp(0)})
	}
	return cluster
}

// settled is a binding whose template is applied and healthy in the named clusters, decided on when everything began.
func settled(clusters ...string) *workv1alpha1.PropagationBinding {
	n := int32(len(clusters))
	binding := &workv1alpha1.PropagationBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web-deployment", Generation: 7},
		Spec:       workv1alpha1.BindingSpec{Replicas: ptr.To[int32](2), Placement: &policyv1alpha1.Placement{}},
		Status: workv1alpha1.BindingStatus{
			SchedulerObservedGeneration: 7, LastScheduledTime: stamp(0),
			Conditions: []metav1.Condition{
				{Type: workv1alpha1.BindingScheduled, Status: metav1.ConditionTrue, ObservedGeneration: 7},
				{Type: workv1alpha1.BindingFullyApplied, Status: metav1.ConditionTrue, ObservedGeneration: 7},
			},
			Summary: workv1alpha1.ClusterSummary{Clusters: n, Applied: n, Healthy: n},
		},
	}
	for _, cluster := range clusters {
		binding.Spec.Clusters = append(binding.Spec.Clusters, workv1alpha1.TargetCluster{Name: cluster, Replicas: 2})
	}
	return binding
}

func leaving(binding *workv1alpha1.PropagationBinding, clusters ...string) *workv1alpha1.PropagationBinding {
	for _, cluster := range clusters {
		binding.Spec.GracefulEvictionTasks = append(binding.Spec.GracefulEvictionTasks,
			workv1alpha1.GracefulEvictionTask{FromCluster: cluster, Reason: ReasonTaintUntolerated, CreationTimestamp: stamp(0)})
	}
	return binding
}

// comingBack is a binding that was leaving a cluster and need not any more.
func comingBack(binding *workv1alpha1.PropagationBinding, cluster string) *workv1alpha1.PropagationBinding {
	leaving(binding, cluster).Spec.GracefulEvictionTasks[0].Reason = ReasonTaintRemoved
	return binding
}

// moved is a binding of which the hub has moved replicas away from a cluster.
func moved(binding *workv1alpha1.PropagationBinding, cluster string, replicas int32) *workv1alpha1.PropagationBinding {
	leaving(binding, cluster)
	task := &binding.Spec.GracefulEvictionTasks[len(binding.Spec.GracefulEvictionTasks)-1]
	task.Reason, task.Replicas = ReasonRescheduled, &replicas
	return binding
}

// dividedBetween is settled with two of its replicas in each cluster.
func dividedBetween(clusters ...string) *workv1alpha1.PropagationBinding {
	binding := settled(clusters...)
	binding.Spec.Replicas = ptr.To(2 * int32(len(clusters)))
	binding.Spec.Placement.ReplicaScheduling = &policyv1alpha1.ReplicaSchedulingStrategy{ReplicaSchedulingType: policyv1alpha1.ReplicaSchedulingDivided}
	return binding
}

func changed(binding *workv1alpha1.PropagationBinding, changes ...func(*workv1alpha1.PropagationBinding)) *workv1alpha1.PropagationBinding {
	for _, change := range changes {
		change(binding)
	}
	return binding
}

// unhealthy is a binding one of whose copies is said to be unhealthy.
func unhealthy(binding *workv1alpha1.PropagationBinding) {
	binding.Status.Summary.Healthy--
	binding.Status.Summary.Unhealthy++
}

// lacking is a binding one of whose clusters is said to be unhealthy with so many replicas available.
func lacking(cluster string, available int) func(*workv1alpha1.PropagationBinding) {
	return func(binding *workv1alpha1.PropagationBinding) {
		unhealthy(binding)
		binding.Status.AggregatedStatus = append(binding.Status.AggregatedStatus, workv1alpha1.AggregatedStatusItem{
			ClusterName: cluster, Applied: true, Health: workv1alpha1.ResourceUnhealthy,
			Status: &runtime.RawExtension{Raw: fmt.Appendf(nil, `{"availableReplicas": %d, "conditions": []}`, available)},
		})
	}
}

// unknown is a binding without replicas, of one of whose copies nobody says how it is.
func unknown(binding *workv1alpha1.PropagationBinding) {
	withoutReplicas(binding)
	binding.Status.Summary.Healthy--
}

// noReplica is a binding whose template was scaled to 0.
func noReplica(binding *workv1alpha1.PropagationBinding) { binding.Spec.Replicas = ptr.To[int32](0) }

func withoutReplicas(binding *workv1alpha1.PropagationBinding) { binding.Spec.Replicas = nil }

func tolerating(binding *workv1alpha1.PropagationBinding, tolerations ...corev1.Toleration) *workv1alpha1.PropagationBinding {
	binding.Spec.Placement.ClusterTolerations = tolerations
	return binding
}

func forAWhile(key string, seconds int64) corev1.Toleration {
	return corev1.Toleration{Key: key, Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoExecute, TolerationSeconds: &seconds}
}

func forEver(key string) corev1.Toleration {
	return corev1.Toleration{Key: key, Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoExecute}
}

func TestWhichClustersATemplateIsLeaving(t *testing.T) {
	const grace = 600
	fleet := func(clusters ...*clusterv1alpha1.MemberCluster) []*clusterv1alpha1.MemberCluster { return clusters }
	tests := []struct {
		reason    string
		binding   *workv1alpha1.PropagationBinding
		clusters  []*clusterv1alpha1.MemberCluster
		now       int
		unclaimed bool
		job       string   // runs, or has ended
		holds     bool     // others, as a Namespace does
		want      []string // what it is leaving; one that it need not leave any more has a + before its name
		again     int      // seconds
	}{
		{reason: "nothing is tainted", binding: settled("a", "b"), clusters: fleet(tainted("a"), tainted("b"))},
		{reason: "a taint that is not tolerated", binding: settled("a", "b"), clusters: fleet(tainted("a"), tainted("b", "drain")), want: []string{"b"}},
		{reason: "NoSchedule moves nothing", binding: settled("a"), clusters: fleet(func() *clusterv1alpha1.MemberCluster {
			cordoned := tainted("a", "cordon")
			cordoned.Spec.Taints[0].Effect = corev1.TaintEffectNoSchedule
			return cordoned
		}())},
		{reason: "another cluster's taint is nobody's business", binding: settled("a"), clusters: fleet(tainted("a"), tainted("b", "drain"))},
		{reason: "a taint that is tolerated", binding: tolerating(settled("b"), forEver("drain")), clusters: fleet(tainted("b", "drain"))},
		{reason: "one of two taints is not", binding: tolerating(settled("b"), forEver("drain")), clusters: fleet(tainted("b", "drain", "fire")), want: []string{"b"}},
		{reason: "tolerated for a while, which has not passed", binding: tolerating(settled("b"), forAWhile("drain", 60)), clusters: fleet(tainted("b", "drain")), now: 20, again: 40},
		{reason: "the while has passed", binding: tolerating(settled("b"), forAWhile("drain", 60)), clusters: fleet(tainted("b", "drain")), now: 60, want: []string{"b"}},
		{reason: "the shortest while counts", binding: tolerating(settled("b"), forAWhile("drain", 60), forAWhile("fire", 30)), clusters: fleet(tainted("b", "drain", "fire")), now: 20, again: 10},
		{reason: "a while below nothing is none", binding: tolerating(settled("b"), forAWhile("drain", -5)), clusters: fleet(tainted("b", "drain")), want: []string{"b"}},
		{reason: "a while of centuries does not wrap round", binding: tolerating(settled("b"), forAWhile("drain", 10_000_000_000)), clusters: fleet(tainted("b", "drain")), again: int(longest)},
		{reason: "nor does the longest that can be said", binding: tolerating(settled("b"), forAWhile("drain", math.MaxInt64)), clusters: fleet(tainted("b", "drain")), again: int(longest)},
		{reason: "of two tolerations the first counts, as in Kubernetes", binding: tolerating(settled("b"), forEver("drain"), forAWhile("drain", 1)), clusters: fleet(tainted("b", "drain")), now: 60},
		{reason: "what no policy claims stays, and is said to have to leave", binding: settled("b"), clusters: fleet(tainted("b", "drain")), unclaimed: true, want: []string{"b"}},
		{reason: "nobody claims it, and its last policy tolerated the taint", binding: tolerating(settled("b"), forEver("drain")), clusters: fleet(tainted("b", "drain")), unclaimed: true},
		{reason: "nobody claims it, and the while of its last policy has not passed", binding: tolerating(settled("b"), forAWhile("drain", 60)), clusters: fleet(tainted("b", "drain")), unclaimed: true, now: 20, again: 40},
		{reason: "nobody claims a Job that has ended", binding: settled("b"), clusters: fleet(tainted("b", "drain")), unclaimed: true, job: "ended"},
		{reason: "and goes on leaving what it was leaving, until that is replaced", binding: changed(leaving(settled("a"), "b"), unhealthy), clusters: fleet(tainted("a"), tainted("b")), unclaimed: true, want: []string{"b"}},
		{reason: "and now it is", binding: leaving(settled("a"), "b"), clusters: fleet(tainted("a"), tainted("b", "drain")), unclaimed: true},
		{reason: "nobody is to find another place for it any more", binding: leaving(settled("b"), "b"), clusters: fleet(tainted("b", "drain")), unclaimed: true, want: []string{"b"}},
		{reason: "and the taint is gone", binding: leaving(settled("b"), "b"), clusters: fleet(tainted("b")), unclaimed: true},
		{reason: "nobody claims it, and a part that is being moved is in a cluster that is tainted", binding: changed(moved(dividedBetween("a", "b"), "b", 4), unhealthy), clusters: fleet(tainted("a"), tainted("b", "drain")), unclaimed: true, want: []string{"b"}},
		{reason: "nobody claims it, and its only new place has left the hub", binding: leaving(settled(), "b"), clusters: fleet(tainted("b")), unclaimed: true, want: []string{"b"}},
		{reason: "nobody claims it, and one of its new places has left the hub", binding: changed(moved(dividedBetween("a"), "b", 2), func(b *workv1alpha1.PropagationBinding) {
			b.Spec.Replicas = ptr.To[int32](4)
		}), clusters: fleet(tainted("a"), tainted("b")), unclaimed: true, want: []string{"b"}},
		{reason: "nobody claims it, and a part was moved that is not healthy yet", binding: changed(moved(dividedBetween("a", "b"), "b", 4), unhealthy), clusters: fleet(tainted("a"), tainted("b")), unclaimed: true, want: []string{"b"}},
		{reason: "and now it is healthy", binding: moved(dividedBetween("a", "b"), "b", 4), clusters: fleet(tainted("a"), tainted("b")), unclaimed: true},
		{reason: "nobody claims a Job, a part of which runs", binding: leaving(settled("a"), "b"), clusters: fleet(tainted("a"), tainted("b")), unclaimed: true, job: "runs", want: []string{"b"}},
		{reason: "nobody claims it, and nobody says yet how the new copy is, which has no replicas", binding: changed(leaving(settled("a"), "b"), unknown), clusters: fleet(tainted("a"), tainted("b")), unclaimed: true, now: 100, want: []string{"b"}, again: 500},

		{reason: "the taint is gone, and it never left", binding: leaving(settled("a", "b"), "b"), clusters: fleet(tainted("a"), tainted("b"))},
		{reason: "the taint is gone, and it has another place by now: the scheduler is asked", binding: leaving(settled("a"), "b"), clusters: fleet(tainted("a"), tainted("b")), want: []string{"+b"}},
		{reason: "the scheduler has taken it back", binding: comingBack(settled("a", "b"), "b"), clusters: fleet(tainted("a"), tainted("b"))},
		{reason: "the scheduler has not, and nobody says how the new copies are", binding: changed(comingBack(settled("a"), "b"), unknown), clusters: fleet(tainted("a"), tainted("b")), now: 100, want: []string{"+b"}, again: 500},
		{reason: "the scheduler has not, and they are", binding: comingBack(settled("a"), "b"), clusters: fleet(tainted("a"), tainted("b"))},
		{reason: "the taint is there again", binding: comingBack(settled("a"), "b"), clusters: fleet(tainted("a"), tainted("b", "drain")), want: []string{"b"}},
		{reason: "the taint is another, which is tolerated for a while", binding: tolerating(leaving(settled("a"), "b"), forAWhile("fire", 60)), clusters: fleet(tainted("a"), tainted("b", "fire")), want: []string{"+b"}, again: 60},
		{reason: "the cluster is gone", binding: leaving(settled("a"), "b"), clusters: fleet(tainted("a"))},
		{reason: "the cluster leaves the hub", binding: leaving(settled("a"), "b"), clusters: fleet(tainted("a"), func() *clusterv1alpha1.MemberCluster {
			removed := tainted("b", "drain")
			removed.DeletionTimestamp = stamp(0)
			return removed
		}())},
		{reason: "the policy tolerates it by now", binding: tolerating(leaving(settled("a", "b"), "b"), forEver("drain")), clusters: fleet(tainted("a"), tainted("b", "drain"))},

		{reason: "a person has taken the task away, and nothing is waited for", binding: changed(settled("a"), unhealthy), clusters: fleet(tainted("a"), tainted("b", "drain"))},
		{reason: "the new copies are healthy", binding: leaving(settled("a"), "b"), clusters: fleet(tainted("a"), tainted("b", "drain"))},
		{reason: "it has no other place yet", binding: leaving(settled("b"), "b"), clusters: fleet(tainted("b", "drain")), now: 9999, want: []string{"b"}},
		{reason: "no other cluster was found at all", binding: changed(leaving(settled(), "b"), func(b *workv1alpha1.PropagationBinding) {
			b.Status.Conditions[0].Status = metav1.ConditionFalse
		}), clusters: fleet(tainted("b", "drain")), now: 9999, want: []string{"b"}},
		{reason: "nothing is wanted anywhere", binding: leaving(settled(), "b"), clusters: fleet(tainted("b", "drain"))},
		{reason: "no replica is wanted, though the cluster that has the template now is silent", binding: changed(moved(settled("a"), "b", 2), unknown, noReplica), clusters: fleet(tainted("a"), tainted("b"))},
		{reason: "and none is wanted in a drain, either", binding: changed(leaving(settled("a"), "b"), unknown, noReplica), clusters: fleet(tainted("a"), tainted("b", "drain"))},
		{reason: "the scheduler has not looked at it yet", binding: changed(leaving(settled("a"), "b"), func(b *workv1alpha1.PropagationBinding) { b.Generation++ }),
			clusters: fleet(tainted("a"), tainted("b", "drain")), now: 9999, want: []string{"b"}},
		{reason: "what is said is about what was wanted before", binding: changed(leaving(settled("a"), "b"), func(b *workv1alpha1.PropagationBinding) {
			b.Status.Conditions[1].ObservedGeneration--
		}), clusters: fleet(tainted("a"), tainted("b", "drain")), now: 9999, want: []string{"b"}},
		{reason: "one of the new copies is not applied, however long it takes", binding: changed(leaving(settled("a", "c"), "b"), func(b *workv1alpha1.PropagationBinding) {
			b.Status.Summary.Applied--
		}), clusters: fleet(tainted("a"), tainted("b", "drain"), tainted("c")), now: 9999, want: []string{"b"}},
		{reason: "one is applied and unhealthy, however long it takes: there may be no room for its pods", binding: changed(leaving(settled("a", "c"), "b"), unhealthy),
			clusters: fleet(tainted("a"), tainted("b", "drain"), tainted("c")), now: 9999, want: []string{"b"}},
		{reason: "nor does it go for one without replicas", binding: changed(leaving(settled("a"), "b"), unhealthy, withoutReplicas),
			clusters: fleet(tainted("a"), tainted("b", "drain")), now: 9999, want: []string{"b"}},
		{reason: "nobody says how pods are: their member has gone silent, and the old ones serve", binding: changed(leaving(settled("a"), "b"), unknown, func(b *workv1alpha1.PropagationBinding) {
			b.Spec.Replicas = ptr.To[int32](2)
		}), clusters: fleet(tainted("a"), tainted("b", "drain")), now: 9999, want: []string{"b"}},
		{reason: "nobody says yet how one without replicas is", binding: changed(leaving(settled("a"), "b"), unknown),
			clusters: fleet(tainted("a"), tainted("b", "drain")), now: 100, want: []string{"b"}, again: 500},
		{reason: "nor for longer than the grace", binding: changed(leaving(settled("a"), "b"), unknown), clusters: fleet(tainted("a"), tainted("b", "drain")), now: 600},
		{reason: "one is unknown and another unhealthy", binding: changed(leaving(settled("a", "c"), "b"), unknown, unhealthy),
			clusters: fleet(tainted("a"), tainted("b", "drain"), tainted("c")), now: 600, want: []string{"b"}},
		{reason: "a part of a Job runs, and the others are complete", binding: leaving(settled("a"), "b"), clusters: fleet(tainted("a"), tainted("b", "drain")), job: "runs", want: []string{"b"}},
		{reason: "a part of a Job runs, and of the others nobody says anything", binding: changed(leaving(settled("a"), "b"), unknown), clusters: fleet(tainted("a"), tainted("b", "drain")), job: "runs", now: 9999, want: []string{"b"}},
		{reason: "a Job that no other cluster is to have runs on", binding: leaving(settled(), "b"), clusters: fleet(tainted("b", "drain")), job: "runs", want: []string{"b"}},
		{reason: "a Job has ended everywhere", binding: leaving(settled("a"), "b"), clusters: fleet(tainted("a"), tainted("b", "drain")), job: "ended"},
		{reason: "and has failed in another cluster", binding: changed(leaving(settled("a"), "b"), unhealthy), clusters: fleet(tainted("a"), tainted("b", "drain")), job: "ended"},
		{reason: "a Job that has ended does not run anew elsewhere", binding: settled("b"), clusters: fleet(tainted("b", "drain")), job: "ended"},
		{reason: "nor does it go on leaving the only cluster that was found for it", binding: leaving(settled("b"), "b"), clusters: fleet(tainted("b", "drain")), job: "ended"},
		{reason: "a Job that runs leaves as all do", binding: settled("b"), clusters: fleet(tainted("b", "drain")), job: "runs", want: []string{"b"}},
		{reason: "what holds others stays, for they would go with it", binding: changed(settled("a", "b"), withoutReplicas), clusters: fleet(tainted("a"), tainted("b", "drain")), holds: true},
		{reason: "also where an earlier version had it leave", binding: changed(leaving(settled("a", "b"), "b"), withoutReplicas), clusters: fleet(tainted("a"), tainted("b", "drain")), holds: true},
		{reason: "or had moved it", binding: changed(leaving(settled("a"), "b"), withoutReplicas), clusters: fleet(tainted("a"), tainted("b", "drain")), holds: true, want: []string{"+b"}},
		{reason: "the hub has moved it, and the new copies are not healthy yet", binding: changed(moved(settled("a"), "b", 2), unhealthy), clusters: fleet(tainted("a"), tainted("b")), now: 9999, want: []string{"b"}},
		{reason: "and now they are", binding: moved(settled("a"), "b", 2), clusters: fleet(tainted("a"), tainted("b"))},
		{reason: "a part of its replicas was moved, and they are not healthy yet", binding: changed(moved(dividedBetween("a", "b"), "b", 4), unhealthy), clusters: fleet(tainted("a"), tainted("b")), now: 9999, want: []string{"b"}},
		{reason: "and now they are, too", binding: moved(dividedBetween("a", "b"), "b", 4), clusters: fleet(tainted("a"), tainted("b"))},
		{reason: "of those that are given back some never found room", binding: changed(moved(dividedBetween("a", "b"), "b", 4), lacking("b", 2)), clusters: fleet(tainted("a"), tainted("b"))},
		{reason: "nothing else runs there, either, and what is given back does not", binding: changed(moved(dividedBetween("a", "b"), "b", 4), lacking("b", 0)), clusters: fleet(tainted("a"), tainted("b"))},
		{reason: "some of them never found room, and another cluster does not have all that it shall have", binding: changed(moved(dividedBetween("a", "b"), "b", 4), lacking("b", 2), lacking("a", 1)),
			clusters: fleet(tainted("a"), tainted("b")), now: 9999, want: []string{"b"}},
		{reason: "two clusters give back what never found room", binding: changed(moved(moved(dividedBetween("a", "b", "c"), "a", 3), "b", 4), lacking("a", 2), lacking("b", 2)),
			clusters: fleet(tainted("a"), tainted("b"), tainted("c"))},
		{reason: "one that gives something back does not have what it shall keep, and others wait for that", binding: changed(moved(moved(dividedBetween("a", "b", "c"), "a", 3), "b", 4), lacking("a", 1), lacking("b", 2)),
			clusters: fleet(tainted("a"), tainted("b"), tainted("c")), now: 9999, want: []string{"b"}},
		{reason: "of one that gives something back nobody says how it is, and what it said before does not count", binding: changed(moved(moved(dividedBetween("a", "b", "c"), "a", 3), "b", 4), lacking("a", 2), func(b *workv1alpha1.PropagationBinding) {
			b.Status.AggregatedStatus[0].Health = workv1alpha1.ResourceUnknown
		}), clusters: fleet(tainted("a"), tainted("b"), tainted("c")), now: 9999, want: []string{"b"}},
		{reason: "a drain waits for no replica that a new place gives back", binding: changed(leaving(moved(dividedBetween("a", "c"), "a", 4), "b"), lacking("a", 2)),
			clusters: fleet(tainted("a"), tainted("b", "drain"), tainted("c"))},
		{reason: "a drain waits for all replicas of a new place that gives none back", binding: changed(leaving(dividedBetween("a", "c"), "b"), lacking("a", 1)),
			clusters: fleet(tainted("a"), tainted("b", "drain"), tainted("c")), now: 9999, want: []string{"b"}},
		{reason: "its user has scaled it down, and the scheduler has not said yet to where", binding: changed(moved(dividedBetween("a", "b"), "b", 4), unhealthy, func(b *workv1alpha1.PropagationBinding) {
			b.Spec.Replicas = ptr.To[int32](1)
			b.Generation++
		}), clusters: fleet(tainted("a"), tainted("b")), want: []string{"b"}},
		{reason: "a cluster that has got its replicas back keeps no others", binding: changed(moved(dividedBetween("a", "b"), "b", 2), unhealthy), clusters: fleet(tainted("a"), tainted("b"))},
		{reason: "what was moved away from a cluster has to leave it as well", binding: moved(settled("a"), "b", 2), clusters: fleet(tainted("a"), tainted("b", "drain")), want: []string{"b"}},
		{reason: "the grace begins anew when the scheduler chooses others", binding: changed(leaving(settled("a"), "b"), unknown, func(b *workv1alpha1.PropagationBinding) {
			b.Status.LastScheduledTime = stamp(550)
		}), clusters: fleet(tainted("a"), tainted("b", "drain")), now: 600, want: []string{"b"}, again: 550},
	}
	for _, test := range tests {
		t.Run(test.reason, func(t *testing.T) {
			decision := Decide(Facts{
				Ends: test.job != "", Ended: test.job == "ended", HoldsOthers: test.holds,
				Binding: test.binding, Claimed: !test.unclaimed, Written: func(string) *int32 { return nil },
				Cluster: func(name string) *clusterv1alpha1.MemberCluster {
					for _, cluster := range test.clusters {
						if cluster.Name == name {
							return cluster
						}
					}
					return nil
				},
				Grace: grace * time.Second, Now: after(test.now),
			})
			var got []string
			for _, task := range decision.Tasks {
				if task.Reason == ReasonTaintRemoved {
					got = append(got, "+"+task.FromCluster)
				} else {
					got = append(got, task.FromCluster)
				}
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("leaving (-want +got):\n%s", diff)
			}
			if want := time.Duration(test.again) * time.Second; decision.Again != want {
				t.Errorf("it is looked at again after %s, want %s", decision.Again, want)
			}
		})
	}
}

func TestTheSchedulerIsToldWhereATemplateIsAndWhatItIsLeaving(t *testing.T) {
	binding := settled("a", "d")
	binding.Spec.GracefulEvictionTasks = []workv1alpha1.GracefulEvictionTask{
		{FromCluster: "c", Reason: ReasonTaintUntolerated, Replicas: ptr.To[int32](1)},
		{FromCluster: "b", Reason: ReasonTaintRemoved, Replicas: ptr.To[int32](3)},
		{FromCluster: "a", Reason: ReasonTaintUntolerated},
		{FromCluster: "d", Reason: ReasonTaintRemoved},
	}
	if diff := cmp.Diff([]string{"a", "c"}, Leaving(&binding.Spec)); diff != "" {
		t.Errorf("leaving (-want +got):\n%s", diff)
	}
	want := []workv1alpha1.TargetCluster{{Name: "a", Replicas: 2}, {Name: "d", Replicas: 2}, {Name: "b", Replicas: 3}}
	if diff := cmp.Diff(want, Has(&binding.Spec)); diff != "" {
		t.Errorf("has (-want +got):\n%s", diff)
	}
	if len(binding.Spec.Clusters) != 2 {
		t.Errorf("the binding itself was changed: %v", binding.Spec.Clusters)
	}
}

func TestWhatNeedNotLeaveHasItsReplicasAgainAndOthersFewer(t *testing.T) {
	binding := dividedBetween("a", "c", "d") // 2, 2, 2
	binding.Spec.Clusters[0].Replicas = 3
	binding.Spec.Clusters[1].Replicas = 3
	binding.Spec.Clusters[2].Replicas = 0
	comingBack(binding, "b").Spec.GracefulEvictionTasks[0].Replicas = ptr.To[int32](5)
	want := []workv1alpha1.TargetCluster{{Name: "a", Replicas: 0}, {Name: "c", Replicas: 1}, {Name: "d", Replicas: 0}, {Name: "b", Replicas: 5}}
	if diff := cmp.Diff(want, Has(&binding.Spec)); diff != "" {
		t.Errorf("has (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"b"}, Returning(&binding.Spec)); diff != "" {
		t.Errorf("returning (-want +got):\n%s", diff)
	}
	binding.Spec.GracefulEvictionTasks[0].Replicas = ptr.To[int32](9)
	if has := Has(&binding.Spec); has[3].Replicas != 6 {
		t.Errorf("it had more than the template asks for by now, and gets %d again, want 6", has[3].Replicas)
	}
}

// slowlyTakenOff takes one replica after the other.
func slowlyTakenOff(targets []workv1alpha1.TargetCluster, replicas int32) int32 {
	for taken := range replicas {
		most := -1
		for i := range targets {
			if targets[i].Replicas > 0 && (most < 0 || targets[i].Replicas > targets[most].Replicas) {
				most = i
			}
		}
		if most < 0 {
			return taken
		}
		targets[most].Replicas--
	}
	return replicas
}

func TestReplicasAreTakenOffAsIfOneAfterTheOther(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 5000 {
		var targets []workv1alpha1.TargetCluster
		for i := range random.IntN(6) {
			targets = append(targets, workv1alpha1.TargetCluster{Name: fmt.Sprint("c", i), Replicas: random.Int32N(9)})
		}
		replicas, want, got := random.Int32N(40), slices.Clone(targets), slices.Clone(targets)
		takenWant, taken := slowlyTakenOff(want, replicas), takeOff(got, replicas)
		if diff := cmp.Diff(want, got); diff != "" || taken != takenWant {
			t.Fatalf("%d off %v: %d were taken, want %d (-want +got):\n%s", replicas, targets, taken, takenWant, diff)
		}
	}
	most := []workv1alpha1.TargetCluster{{Name: "a", Replicas: math.MaxInt32}, {Name: "b", Replicas: math.MaxInt32 - 1}}
	if taken := takeOff(most, math.MaxInt32); taken != math.MaxInt32 || most[0].Replicas != 1<<30-1 || most[1].Replicas != 1<<30-1 {
		t.Errorf("of as many as there can be %d were taken, and there are left %v", taken, most)
	}
}

func TestATaskSaysWhatItIsAboutAndStaysAsItIs(t *testing.T) {
	binding := settled("a", "b")
	facts := Facts{Binding: binding, Claimed: true, Grace: time.Minute, Now: after(5).Add(300 * time.Millisecond),
		Cluster: func(name string) *clusterv1alpha1.MemberCluster {
			if name == "b" {
				return tainted("b", "drain")
			}
			return tainted(name)
		}}
	first := Decide(facts)
	want := []workv1alpha1.GracefulEvictionTask{{
		FromCluster: "b", PurgeMode: policyv1alpha1.PurgeGracefully, Replicas: ptr.To[int32](2), Reason: "TaintUntolerated", Producer: "TaintManager",
		Message: "the cluster has the taint drain:NoExecute, which the placement does not tolerate, or not any longer", CreationTimestamp: stamp(5),
	}}
	if diff := cmp.Diff(want, first.Tasks); diff != "" {
		t.Errorf("tasks (-want +got):\n%s", diff)
	}
	binding.Spec.GracefulEvictionTasks = first.Tasks
	facts.Now = after(1000)
	if diff := cmp.Diff(want, Decide(facts).Tasks); diff != "" {
		t.Errorf("later (-want +got):\n%s", diff)
	}
}

func TestWhatOfAClusterMatters(t *testing.T) {
	removed := tainted("a")
	removed.DeletionTimestamp = stamp(0)
	later := tainted("a", "drain")
	later.Spec.Taints[0].TimeAdded = stamp(9)
	cordoned := tainted("a", "cordon")
	cordoned.Spec.Taints[0].Effect = corev1.TaintEffectNoSchedule
	for _, test := range []struct {
		reason   string
		old, new *clusterv1alpha1.MemberCluster
		want     bool
	}{
		{"nothing", tainted("a", "drain"), tainted("a", "drain"), false},
		{"a cluster comes", nil, tainted("a"), true},
		{"it goes", tainted("a"), nil, true},
		{"it begins to go", tainted("a"), removed, true},
		{"a taint comes", tainted("a"), tainted("a", "drain"), true},
		{"its time is another", tainted("a", "drain"), later, true},
		{"NoSchedule is for the scheduler", tainted("a"), cordoned, false},
	} {
		if got := Matters(test.old, test.new); got != test.want {
			t.Errorf("%s: matters %t, want %t", test.reason, got, test.want)
		}
	}
}

func TestWhyATemplateIsStillInAClusterThatItLeavesIsExplained(t *testing.T) {
	var spec workv1alpha1.BindingSpec
	for cluster, reason := range map[string]string{
		"drained": ReasonTaintUntolerated, "nowhere": ReasonTaintUntolerated, "back": ReasonTaintRemoved, "deselected": ReasonTaintRemoved, "moved": ReasonRescheduled, "fewer": ReasonRescheduled,
	} {
		spec.GracefulEvictionTasks = append(spec.GracefulEvictionTasks, workv1alpha1.GracefulEvictionTask{FromCluster: cluster, Reason: reason})
	}
	spec.GracefulEvictionTasks = append(spec.GracefulEvictionTasks, workv1alpha1.GracefulEvictionTask{
		FromCluster: "known", Reason: ReasonTaintUntolerated, Message: "the cluster has the taint drain:NoExecute"})
	want := map[string]string{
		"known":      "has to be left because of a taint NoExecute, and goes on, for it has no other place: the cluster has the taint drain:NoExecute",
		"drained":    "is being left because of a taint NoExecute, and keeps its copy until the others are healthy",
		"nowhere":    "has to be left because of a taint NoExecute, and goes on, for it has no other place",
		"deselected": "need not be left any more, but the placement does not choose it; it keeps its copy until the others are healthy",
		"moved":      "is being left, and keeps its copy until the others are healthy",
	}
	facts := Facts{Binding: &workv1alpha1.PropagationBinding{Spec: spec}, Claimed: true, Now: after(0), Cluster: func(name string) *clusterv1alpha1.MemberCluster { return tainted(name) }}
	targets := []workv1alpha1.TargetCluster{{Name: "nowhere"}, {Name: "known"}, {Name: "back"}, {Name: "fewer"}}
	if diff := cmp.Diff(want, Explain(facts, targets)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}

	facts.Claimed = false
	const goesOn = "is being left because of a taint NoExecute that it has no longer, for without a policy nothing takes that back, and keeps its copy until the others are healthy"
	if got := Explain(facts, targets)["drained"]; got != goesOn {
		t.Errorf("without policy and taint it says %q", got)
	}
	facts.Cluster = func(name string) *clusterv1alpha1.MemberCluster { return tainted(name, "drain") }
	if got := Explain(facts, targets)["drained"]; got != want["drained"] {
		t.Errorf("without policy, and with the taint, it says %q", got)
	}
}

func TestUntilWhenATaintIsToleratedIsExplained(t *testing.T) {
	const until = "has the taint drain:NoExecute, which is tolerated until 2026-01-01T12:05:00Z, and has to be left then"
	for _, test := range []struct {
		reason string
		change func(*Facts, *clusterv1alpha1.MemberCluster)
		want   string
	}{
		{"it is for a while", nil, until},
		{"that is over", func(f *Facts, _ *clusterv1alpha1.MemberCluster) { f.Now = after(300) }, ""},
		{"the cluster has no taint", func(_ *Facts, c *clusterv1alpha1.MemberCluster) { c.Spec.Taints = nil }, ""},
		{"the cluster leaves the hub", func(_ *Facts, c *clusterv1alpha1.MemberCluster) { c.DeletionTimestamp = stamp(0) }, ""},
		{"without a policy nothing begins to move", func(f *Facts, _ *clusterv1alpha1.MemberCluster) { f.Claimed = false }, ""},
		{"a Job that has ended stays", func(f *Facts, _ *clusterv1alpha1.MemberCluster) { f.Ended = true }, ""},
		{"a Namespace stays", func(f *Facts, _ *clusterv1alpha1.MemberCluster) { f.HoldsOthers = true }, ""},
		{"it is for ever", func(f *Facts, _ *clusterv1alpha1.MemberCluster) {
			f.Binding.GetSpec().Placement.ClusterTolerations[0].TolerationSeconds = nil
		}, ""},
	} {
		binding, cluster := settled("a"), tainted("a", "drain")
		binding.Spec.Placement.ClusterTolerations = []corev1.Toleration{{Key: "drain", Operator: corev1.TolerationOpExists, TolerationSeconds: ptr.To[int64](300)}}
		facts := Facts{Binding: binding, Claimed: true, Now: after(10), Cluster: func(string) *clusterv1alpha1.MemberCluster { return cluster }}
		if test.change != nil {
			test.change(&facts, cluster)
		}
		if got := Explain(facts, binding.Spec.Clusters)["a"]; got != test.want {
			t.Errorf("%s: it says %q, want %q", test.reason, got, test.want)
		}
	}
}

func TestTheEndOfAMoveThatNoPolicyClaimsIsToldUntilItsClusterHasNoMoreThanItIsToHave(t *testing.T) {
	for _, test := range []struct {
		reason  string
		binding *workv1alpha1.PropagationBinding
		written *int32
		want    *int32 // replicas of the task of b
	}{
		{"it is not healthy elsewhere", changed(moved(dividedBetween("a", "b"), "b", 4), unhealthy), ptr.To[int32](4), ptr.To[int32](4)},
		{"it is", moved(dividedBetween("a", "b"), "b", 4), ptr.To[int32](4), ptr.To[int32](2)},
		{"the work is not written yet", moved(dividedBetween("a", "b"), "b", 2), ptr.To[int32](4), ptr.To[int32](2)},
		{"the work is written", moved(dividedBetween("a", "b"), "b", 2), ptr.To[int32](2), nil},
		{"nobody knows what it has", moved(dividedBetween("a", "b"), "b", 2), nil, nil},
		{"it has to be left because of a taint, and is not", leaving(dividedBetween("a", "b"), "b"), ptr.To[int32](4), nil},
		{"it was left", moved(settled("a"), "b", 4), ptr.To[int32](4), nil},
	} {
		decision := Decide(Facts{
			Binding: test.binding, Now: after(0), Written: func(string) *int32 { return test.written },
			Cluster: func(name string) *clusterv1alpha1.MemberCluster { return tainted(name) },
		})
		var got *int32
		for _, task := range decision.Tasks {
			got = task.Replicas
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s: replicas of the task (-want +got):\n%s", test.reason, diff)
		}
	}
}
