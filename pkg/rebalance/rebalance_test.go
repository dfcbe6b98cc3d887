package rebalance

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	appsv1alpha1 "windlass.dev/windlass/api/apps/v1alpha1"
	workv1alpha1 "windlass.dev/windlass/api/work/v1alpha1"
)

var began = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

func stamp(seconds int) *metav1.Time {
	return ptr.To(metav1.NewTime(began.Add(time.Duration(seconds) * time.Second)))
}

func workload(name string) appsv1alpha1.ObjectReference {
	return appsv1alpha1.ObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Namespace: "shop", Name: name}
}

func observed(name string, outcome Outcome) appsv1alpha1.ObservedWorkload {
	return appsv1alpha1.ObservedWorkload{Workload: workload(name), Result: outcome.Result, Reason: outcome.Reason}
}

var (
	done    = Outcome{Result: appsv1alpha1.RebalanceSuccessful}
	missing = Outcome{appsv1alpha1.RebalanceFailed, appsv1alpha1.RebalanceBindingNotFound}
)

// of is a rebalancer of the named workloads in its second generation.
func of(names ...string) *appsv1alpha1.WorkloadRebalancer {
	r := &appsv1alpha1.WorkloadRebalancer{ObjectMeta: metav1.ObjectMeta{Generation: 2}}
	for _, name := range names {
		r.Spec.Workloads = append(r.Spec.Workloads, workload(name))
	}
	return r
}

func finished(r *appsv1alpha1.WorkloadRebalancer, seconds int, observed ...appsv1alpha1.ObservedWorkload) *appsv1alpha1.WorkloadRebalancer {
	r.Status = appsv1alpha1.WorkloadRebalancerStatus{ObservedWorkloads: observed, ObservedGeneration: 2, FinishTime: stamp(seconds)}
	return r
}

func TestWhatBecomesOfAWorkload(t *testing.T) {
	leaving := &workv1alpha1.PropagationBinding{ObjectMeta: metav1.ObjectMeta{DeletionTimestamp: stamp(0)}}
	for _, test := range []struct {
		reason  string
		binding workv1alpha1.Binding
		claimed bool
		want    Outcome
	}{
		{"its binding is there", &workv1alpha1.PropagationBinding{}, true, done},
		{"no policy propagates it", nil, false, missing},
		{"its binding is being deleted", leaving, true, missing},
		{"no policy claims it any more", &workv1alpha1.PropagationBinding{}, false, Outcome{appsv1alpha1.RebalanceFailed, appsv1alpha1.RebalanceBindingReleased}},
	} {
		if got := Judge(test.binding, test.claimed); got != test.want {
			t.Errorf("%s: %v, want %v", test.reason, got, test.want)
		}
	}
}

func TestATriggerIsLaterThanTheLastDecision(t *testing.T) {
	for _, test := range []struct {
		reason string
		last   *metav1.Time
		want   *metav1.Time
	}{
		{"it was never placed", nil, stamp(10)},
		{"it was placed before", stamp(9), stamp(10)},
		{"it was placed in this second", stamp(10), stamp(11)},
		{"the clock was set back since", stamp(30), stamp(31)},
	} {
		binding := &workv1alpha1.PropagationBinding{Status: workv1alpha1.BindingStatus{LastScheduledTime: test.last}}
		if got := TriggerTime(binding, began.Add(10*time.Second+700*time.Millisecond)); !got.Equal(test.want) {
			t.Errorf("%s: %s, want %s", test.reason, got, test.want)
		}
	}
}

func TestARebalancerActsOnceForEachWorkload(t *testing.T) {
	for _, test := range []struct {
		reason      string
		rebalancer  *appsv1alpha1.WorkloadRebalancer
		got         map[appsv1alpha1.ObjectReference]Outcome
		outstanding []appsv1alpha1.ObjectReference
		want        appsv1alpha1.WorkloadRebalancerStatus
	}{
		{
			reason: "it is new", rebalancer: of("web", "api"), outstanding: []appsv1alpha1.ObjectReference{workload("web"), workload("api")},
			got: map[appsv1alpha1.ObjectReference]Outcome{workload("api"): missing, workload("web"): done},
			want: appsv1alpha1.WorkloadRebalancerStatus{ObservedWorkloads: []appsv1alpha1.ObservedWorkload{observed("web", done), observed("api", missing)},
				ObservedGeneration: 2, FinishTime: stamp(60)},
		},
		{
			reason: "one could not be asked for yet", rebalancer: of("web", "api"), outstanding: []appsv1alpha1.ObjectReference{workload("web"), workload("api")},
			got:  map[appsv1alpha1.ObjectReference]Outcome{workload("api"): done},
			want: appsv1alpha1.WorkloadRebalancerStatus{ObservedWorkloads: []appsv1alpha1.ObservedWorkload{observed("api", done)}, ObservedGeneration: 2},
		},
		{
			reason: "it is finished", rebalancer: finished(of("web"), 5, observed("web", missing)),
			want: appsv1alpha1.WorkloadRebalancerStatus{ObservedWorkloads: []appsv1alpha1.ObservedWorkload{observed("web", missing)}, ObservedGeneration: 2, FinishTime: stamp(5)},
		},
		{
			reason: "a workload was added, and another taken out", rebalancer: finished(of("web", "new"), 5, observed("old", done), observed("web", done)),
			outstanding: []appsv1alpha1.ObjectReference{workload("new")},
			got:         map[appsv1alpha1.ObjectReference]Outcome{workload("new"): done},
			want: appsv1alpha1.WorkloadRebalancerStatus{ObservedWorkloads: []appsv1alpha1.ObservedWorkload{observed("web", done), observed("new", done)},
				ObservedGeneration: 2, FinishTime: stamp(60)},
		},
	} {
		t.Run(test.reason, func(t *testing.T) {
			if diff := cmp.Diff(test.outstanding, append([]appsv1alpha1.ObjectReference(nil), Outstanding(test.rebalancer)...)); diff != "" {
				t.Errorf("outstanding (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(test.want, Status(test.rebalancer, test.got, began.Add(time.Minute))); diff != "" {
				t.Errorf("status (-want +got):\n%s", diff)
			}
		})
	}
}

func TestARebalancerEndsWhenItSaysSo(t *testing.T) {
	ttl := func(r *appsv1alpha1.WorkloadRebalancer, seconds int32) *appsv1alpha1.WorkloadRebalancer {
		r.Spec.TTLSecondsAfterFinished = &seconds
		return r
	}
	changed := ttl(finished(of("web"), 5, observed("web", done)), 30)
	changed.Generation++
	for _, test := range []struct {
		reason     string
		rebalancer *appsv1alpha1.WorkloadRebalancer
		want       *metav1.Time
	}{
		{"it says nothing", finished(of("web"), 5, observed("web", done)), nil},
		{"it is not finished", ttl(of("web"), 30), nil},
		{"it was changed since", changed, nil},
		{"it is finished", ttl(finished(of("web"), 5, observed("web", done)), 30), stamp(35)},
		{"at once", ttl(finished(of("web"), 5, observed("web", done)), 0), stamp(5)},
	} {
		at, ends := End(test.rebalancer)
		if ends != (test.want != nil) || ends && !at.Equal(test.want.Time) {
			t.Errorf("%s: ends %t at %s, want %s", test.reason, ends, at, test.want)
		}
	}
}
