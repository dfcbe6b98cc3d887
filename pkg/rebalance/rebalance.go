// Package rebalance is responsible for one decision: what is left to do of a WorkloadRebalancer, and what its status says.
package rebalance

import (
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	appsv1alpha1 "windlass.dev/windlass/api/apps/v1alpha1"
	workv1alpha1 "windlass.dev/windlass/api/work/v1alpha1"
)

// Outcome is what became of a workload. The zero Outcome is none yet.
type Outcome struct {
	Result appsv1alpha1.RebalanceResult
	Reason appsv1alpha1.RebalanceFailedReason
}

// Judge says of a workload's binding, nil when there is none, whether the scheduler can be asked: Successful is what becomes
// of it when it was. claimed says whether a policy claims the template.
func Judge(binding workv1alpha1.Binding, claimed bool) Outcome {
	switch {
	case binding == nil || binding.GetDeletionTimestamp() != nil:
		return Outcome{appsv1alpha1.RebalanceFailed, appsv1alpha1.RebalanceBindingNotFound}
	case !claimed:
		return Outcome{appsv1alpha1.RebalanceFailed, appsv1alpha1.RebalanceBindingReleased}
	}
	return Outcome{Result: appsv1alpha1.RebalanceSuccessful}
}

// TriggerTime is when a binding is to be placed anew: now, but later than its last decision, which is what the scheduler
// compares it with, in whole seconds.
func TriggerTime(binding workv1alpha1.Binding, now time.Time) metav1.Time {
	at := now.Truncate(time.Second)
	if last := binding.GetStatus().LastScheduledTime; last != nil && !at.After(last.Time) {
		at = last.Time.Truncate(time.Second).Add(time.Second)
	}
	return metav1.NewTime(at)
}

// Outstanding are the workloads that have no result yet, in the order of the spec. What has one keeps it: a rebalancer acts
// once.
func Outstanding(rebalancer *appsv1alpha1.WorkloadRebalancer) []appsv1alpha1.ObjectReference {
	known := results(rebalancer)
	return slices.DeleteFunc(slices.Clone(rebalancer.Spec.Workloads), func(workload appsv1alpha1.ObjectReference) bool {
		_, has := known[workload]
		return has
	})
}

func results(rebalancer *appsv1alpha1.WorkloadRebalancer) map[appsv1alpha1.ObjectReference]Outcome {
	known := make(map[appsv1alpha1.ObjectReference]Outcome, len(rebalancer.Status.ObservedWorkloads))
	for _, observed := range rebalancer.Status.ObservedWorkloads {
		known[observed.Workload] = Outcome{observed.Result, observed.Reason}
	}
	return known
}

// Status is the status of a rebalancer when outstanding workloads got the given outcomes. Results of workloads that the spec
// does not name any more are left out.
func Status(rebalancer *appsv1alpha1.WorkloadRebalancer, got map[appsv1alpha1.ObjectReference]Outcome, now time.Time) appsv1alpha1.WorkloadRebalancerStatus {
	known := results(rebalancer)
	status := appsv1alpha1.WorkloadRebalancerStatus{ObservedGeneration: rebalancer.Generation}
	for _, workload := range rebalancer.Spec.Workloads {
		outcome, has := known[workload]
		if !has {
			outcome, has = got[workload]
		}
		if has {
			status.ObservedWorkloads = append(status.ObservedWorkloads, appsv1alpha1.ObservedWorkload{Workload: workload, Result: outcome.Result, Reason: outcome.Reason})
		}
	}
	if len(status.ObservedWorkloads) < len(rebalancer.Spec.Workloads) {
		return status
	}
	status.FinishTime = rebalancer.Status.FinishTime
	if status.FinishTime == nil || len(got) > 0 {
		finished := metav1.NewTime(now).Rfc3339Copy()
		status.FinishTime = &finished
	}
	return status
}

// End says when a rebalancer is to be deleted, if it is.
func End(rebalancer *appsv1alpha1.WorkloadRebalancer) (at time.Time, ends bool) {
	ttl, finished := rebalancer.Spec.TTLSecondsAfterFinished, rebalancer.Status.FinishTime
	if ttl == nil || finished == nil || rebalancer.Status.ObservedGeneration != rebalancer.Generation {
		return time.Time{}, false
	}
	return finished.Add(time.Duration(*ttl) * time.Second), true
}
