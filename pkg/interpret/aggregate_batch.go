package interpret

import (
	"slices"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Ends tells whether objects of a kind come to an end by themselves: Jobs do.
func Ends(kind schema.GroupKind) bool { return kind == job }

// Ended tells whether a Job is complete or has failed, as its status says.
func Ended(obj *unstructured.Unstructured) bool {
	return textAt(condition(obj.Object, string(batchv1.JobComplete)), "status") == string(corev1.ConditionTrue) ||
		textAt(condition(obj.Object, string(batchv1.JobFailed)), "status") == string(corev1.ConditionTrue)
}

// foldJob makes a Job's status so that the API server takes it: what has ended stays ended, counts
// of ended pods don't go down, and a time that was set stays.
func foldJob(template *unstructured.Unstructured, present batchv1.JobStatus, parts []part[batchv1.JobStatus]) batchv1.JobStatus {
	if jobHas(&present, batchv1.JobComplete) || jobHas(&present, batchv1.JobFailed) {
		return present
	}
	status := present
	status.Active, status.Ready, status.Terminating = 0, nil, nil
	var succeeded, failed, ready int32
	for _, part := range parts {
		add(&status.Active, part.status.Active)
		add(&succeeded, part.status.Succeeded)
		add(&failed, part.status.Failed)
		if part.status.Ready != nil {
			add(&ready, *part.status.Ready)
		}
		if present.StartTime == nil {
			status.StartTime = earliest(status.StartTime, part.status.StartTime)
		}
	}
	atMost(status.Active, &ready)
	if ready > 0 {
		status.Ready = &ready
	}
	status.Succeeded = max(present.Succeeded, succeeded)
	status.Failed = max(present.Failed, failed)
	suspendJob(&status, parts)
	endJob(&status, parts, !isWhole(template, succeeded))
	return status
}

// suspendJob says that a Job is suspended when it is in every cluster, with the time and the words of the last one; and that it
// is not any more, when it was.
func suspendJob(status *batchv1.JobStatus, parts []part[batchv1.JobStatus]) {
	everywhere := len(parts) > 0
	var last batchv1.JobCondition
	for _, part := range parts {
		condition := jobCondition(&part.status, batchv1.JobSuspended)
		if condition == nil || condition.Status != corev1.ConditionTrue || !part.Applied {
			everywhere = false
		}
		if condition != nil && !condition.LastTransitionTime.Before(&last.LastTransitionTime) {
			last = *condition
		}
	}
	was := jobHas(status, batchv1.JobSuspended)
	if everywhere == was {
		return
	}
	status.Conditions = slices.DeleteFunc(slices.Clone(status.Conditions), func(c batchv1.JobCondition) bool { return c.Type == batchv1.JobSuspended })
	last.Type, last.Status = batchv1.JobSuspended, corev1.ConditionTrue
	if !everywhere {
		last.Status, last.Reason, last.Message = corev1.ConditionFalse, "JobResumed", "Job runs in a cluster at least, or is about to."
	}
	status.Conditions = append(status.Conditions, last)
}

// isWhole tells whether the pods that have succeeded in all parts are as many as the template asks for. They are fewer when
// a part is lost with its cluster: the others may be complete, the Job is not. A part that is complete has as many as its
// completions, unless a success policy ended it before.
func isWhole(template *unstructured.Unstructured, succeeded int32) bool {
	_, early := at(template.Object, "spec", "successPolicy").(map[string]any)
	completions, found := Completions(template)
	return early || !found || succeeded >= completions
}

// endJob says that a Job has ended when it has in every cluster: it has failed when it has in one of them, and is
// complete otherwise, unless a part is lost: then it has no end.
func endJob(status *batchv1.JobStatus, parts []part[batchv1.JobStatus], lost bool) {
	var failures []string
	complete := &batchv1.JobCondition{Status: corev1.ConditionTrue, Message: "Job is complete in every cluster."}
	failed := &batchv1.JobCondition{Status: corev1.ConditionTrue}
	start, completion := status.StartTime, status.CompletionTime
	for _, part := range parts {
		if !part.Applied {
			return
		}
		done := findJobCondition(&part.status, batchv1.JobComplete)
		broken := findJobCondition(&part.status, batchv1.JobFailed)
		switch {
		case broken != nil:
			failures = append(failures, part.Cluster+": "+broken.Message)
			failed.Reason = broken.Reason
			failed.LastTransitionTime = later(failed.LastTransitionTime, broken.LastTransitionTime)
		case done != nil:
			complete.Reason = done.Reason
			complete.LastTransitionTime = later(complete.LastTransitionTime, done.LastTransitionTime)
			completion = latest(completion, part.status.CompletionTime)
		default:
			return
		}
	}
	if start == nil {
		start = completion // a Job that is complete without having begun
	}
	if len(parts) == 0 || start == nil {
		return
	}
	if len(failures) > 0 {
		failed.Message = firstOf(failures)
		status.StartTime = start
		endWith(status, failed, batchv1.JobFailureTarget, batchv1.JobFailed)
		return
	}
	if lost || completion == nil || completion.Before(start) {
		return // the API server would refuse it
	}
	status.StartTime, status.CompletionTime = start, completion
	endWith(status, complete, batchv1.JobSuccessCriteriaMet, batchv1.JobComplete)
}

// endWith adds the two conditions that end a Job: the API server wants the first before the second.
func endWith(status *batchv1.JobStatus, condition *batchv1.JobCondition, conditionTypes ...batchv1.JobConditionType) {
	status.Active, status.Ready, status.Terminating = 0, nil, nil
	status.Conditions = slices.Clone(status.Conditions)
	for _, conditionType := range conditionTypes {
		added := *condition
		added.Type = conditionType
		added.LastProbeTime = added.LastTransitionTime
		status.Conditions = append(status.Conditions, added)
	}
}

// findJobCondition finds a condition that is True.
func findJobCondition(status *batchv1.JobStatus, conditionType batchv1.JobConditionType) *batchv1.JobCondition {
	if c := jobCondition(status, conditionType); c != nil && c.Status == corev1.ConditionTrue {
		return c
	}
	return nil
}

func jobCondition(status *batchv1.JobStatus, conditionType batchv1.JobConditionType) *batchv1.JobCondition {
	for i := range status.Conditions {
		if c := &status.Conditions[i]; c.Type == conditionType {
			return c
		}
	}
	return nil
}

func jobHas(status *batchv1.JobStatus, conditionType batchv1.JobConditionType) bool {
	return findJobCondition(status, conditionType) != nil
}

// maxActiveJobs bounds the list of running Jobs of a CronJob.
const maxActiveJobs = 100

func foldCronJob(_ *unstructured.Unstructured, _ batchv1.CronJobStatus, parts []part[batchv1.CronJobStatus]) batchv1.CronJobStatus {
	var status batchv1.CronJobStatus
	for _, part := range parts {
		status.Active = append(status.Active, part.status.Active...)
		status.LastScheduleTime = latest(status.LastScheduleTime, part.status.LastScheduleTime)
		status.LastSuccessfulTime = latest(status.LastSuccessfulTime, part.status.LastSuccessfulTime)
	}
	status.Active = status.Active[:min(len(status.Active), maxActiveJobs)]
	return status
}
