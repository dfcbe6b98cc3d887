package interpret

import (
	"fmt"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

func foldDeployment(template *unstructured.Unstructured, present appsv1.DeploymentStatus, parts []part[appsv1.DeploymentStatus]) appsv1.DeploymentStatus {
	status := present
	status.Replicas, status.UpdatedReplicas, status.ReadyReplicas = 0, 0, 0
	status.AvailableReplicas, status.UnavailableReplicas = 0, 0
	for _, part := range parts {
		add(&status.Replicas, part.status.Replicas)
		add(&status.UpdatedReplicas, part.status.UpdatedReplicas)
		add(&status.ReadyReplicas, part.status.ReadyReplicas)
		add(&status.AvailableReplicas, part.status.AvailableReplicas)
		add(&status.UnavailableReplicas, part.status.UnavailableReplicas)
	}
	atMost(status.Replicas, &status.UpdatedReplicas, &status.ReadyReplicas)
	atMost(status.ReadyReplicas, &status.AvailableReplicas)
	status.Conditions = deploymentConditions(present.Conditions, parts)
	if everywhereHealthy(parts) || !deploymentSeemsDone(template, &status) {
		status.ObservedGeneration = observedGeneration(template, present.ObservedGeneration, parts)
	}
	return status
}

// deploymentSeemsDone is how kubectl judges that a rollout is complete. Where every cluster has as
// many replicas as the template, those of the first suffice for that while others have none yet. So
// as long as it seems so, and clusters say otherwise, the generation does not count as observed.
func deploymentSeemsDone(template *unstructured.Unstructured, status *appsv1.DeploymentStatus) bool {
	progressing := findDeploymentCondition(status.Conditions, appsv1.DeploymentProgressing)
	if progressing != nil && progressing.Status == corev1.ConditionFalse {
		return false // and kubectl says that it has failed
	}
	return int64(status.UpdatedReplicas) >= numberOr(1, template.Object, "spec", "replicas") &&
		status.Replicas == status.UpdatedReplicas &&
		status.AvailableReplicas >= status.UpdatedReplicas
}

// deploymentConditions derives Available and Progressing, and ReplicaFailure where a cluster has it.
// Conditions of other types are nobody's on the hub and go.
func deploymentConditions(present []appsv1.DeploymentCondition, parts []part[appsv1.DeploymentStatus]) []appsv1.DeploymentCondition {
	var conditions []appsv1.DeploymentCondition
	for _, rule := range []deploymentRule{
		{appsv1.DeploymentAvailable, corev1.ConditionFalse, "MinimumReplicasUnavailable", "MinimumReplicasAvailable", "Deployment has minimum availability in every cluster."},
		{appsv1.DeploymentProgressing, corev1.ConditionFalse, "ProgressDeadlineExceeded", "ReplicaSetUpdated", "Deployment is progressing in every cluster."},
		{appsv1.DeploymentReplicaFailure, corev1.ConditionTrue, "FailedCreate", "", ""},
	} {
		if condition := rule.derive(present, parts); condition != nil {
			conditions = append(conditions, *condition)
		}
	}
	return conditions
}

// deploymentRule says how the condition of one type follows from those of the clusters: it is bad
// when one of them is, and good when all of them are.
type deploymentRule struct {
	conditionType appsv1.DeploymentConditionType
	bad           corev1.ConditionStatus
	badReason     string
	goodReason    string // none when the condition is only there when it is bad
	goodMessage   string
}

func (r deploymentRule) derive(present []appsv1.DeploymentCondition, parts []part[appsv1.DeploymentStatus]) *appsv1.DeploymentCondition {
	var bad, good []string
	var badTime, goodTime metav1.Time
	reasons := map[string]bool{}
	for _, part := range parts {
		condition := findDeploymentCondition(part.status.Conditions, r.conditionType)
		switch {
		case condition == nil:
		case condition.Status == r.bad:
			bad = append(bad, part.Cluster+": "+condition.Message)
			badTime = later(badTime, condition.LastTransitionTime)
		case condition.Status == corev1.ConditionTrue:
			good = append(good, part.Cluster)
			goodTime = later(goodTime, condition.LastTransitionTime)
			reasons[condition.Reason] = true
		}
	}
	derived := &appsv1.DeploymentCondition{Type: r.conditionType}
	switch {
	case len(bad) > 0:
		derived.Status, derived.Reason, derived.Message = r.bad, r.badReason, firstOf(bad)
		derived.LastTransitionTime = badTime
	case r.goodReason != "" && len(good) > 0 && len(good) == len(parts):
		derived.Status, derived.Reason, derived.Message = corev1.ConditionTrue, r.goodReason, r.goodMessage
		derived.LastTransitionTime = goodTime
		if len(reasons) == 1 && reasons["NewReplicaSetAvailable"] {
			derived.Reason, derived.Message = "NewReplicaSetAvailable", "Deployment is rolled out in every cluster."
		}
	default:
		return nil
	}
	if old := findDeploymentCondition(present, r.conditionType); old != nil && old.Status == derived.Status {
		derived.LastTransitionTime = old.LastTransitionTime
	}
	derived.LastUpdateTime = derived.LastTransitionTime
	return derived
}

func findDeploymentCondition(conditions []appsv1.DeploymentCondition, conditionType appsv1.DeploymentConditionType) *appsv1.DeploymentCondition {
	i := slices.IndexFunc(conditions, func(c appsv1.DeploymentCondition) bool { return c.Type == conditionType })
	if i < 0 {
		return nil
	}
	return &conditions[i]
}

func later(a, b metav1.Time) metav1.Time {
	if a.Before(&b) {
		return b
	}
	return a
}

// firstOf joins the first few messages and counts the rest.
func firstOf(messages []string) string {
	const shown = 3
	if len(messages) <= shown {
		return strings.Join(messages, "; ")
	}
	return fmt.Sprintf("%s; and %d more", strings.Join(messages[:shown], "; "), len(messages)-shown)
}

func foldReplicaSet(template *unstructured.Unstructured, present appsv1.ReplicaSetStatus, parts []part[appsv1.ReplicaSetStatus]) appsv1.ReplicaSetStatus {
	status := present
	status.Replicas, status.FullyLabeledReplicas, status.ReadyReplicas, status.AvailableReplicas = 0, 0, 0, 0
	for _, part := range parts {
		add(&status.Replicas, part.status.Replicas)
		add(&status.FullyLabeledReplicas, part.status.FullyLabeledReplicas)
		add(&status.ReadyReplicas, part.status.ReadyReplicas)
		add(&status.AvailableReplicas, part.status.AvailableReplicas)
	}
	atMost(status.Replicas, &status.FullyLabeledReplicas, &status.ReadyReplicas)
	atMost(status.ReadyReplicas, &status.AvailableReplicas)
	status.ObservedGeneration = observedGeneration(template, present.ObservedGeneration, parts)
	return status
}

func foldStatefulSet(template *unstructured.Unstructured, present appsv1.StatefulSetStatus, parts []part[appsv1.StatefulSetStatus]) appsv1.StatefulSetStatus {
	status := present
	status.Replicas, status.ReadyReplicas, status.CurrentReplicas = 0, 0, 0
	status.UpdatedReplicas, status.AvailableReplicas = 0, 0
	for _, part := range parts {
		add(&status.Replicas, part.status.Replicas)
		add(&status.ReadyReplicas, part.status.ReadyReplicas)
		add(&status.CurrentReplicas, part.status.CurrentReplicas)
		add(&status.UpdatedReplicas, part.status.UpdatedReplicas)
		add(&status.AvailableReplicas, part.status.AvailableReplicas)
	}
	atMost(status.Replicas, &status.ReadyReplicas, &status.CurrentReplicas, &status.UpdatedReplicas)
	atMost(status.ReadyReplicas, &status.AvailableReplicas)
	status.CurrentRevision, status.UpdateRevision = revisions(parts)
	if everywhereHealthy(parts) || !statefulSetSeemsDone(template, &status) {
		status.ObservedGeneration = observedGeneration(template, present.ObservedGeneration, parts)
	}
	return status
}

// statefulSetSeemsDone is to a StatefulSet what deploymentSeemsDone is to a Deployment.
func statefulSetSeemsDone(template *unstructured.Unstructured, status *appsv1.StatefulSetStatus) bool {
	return int64(status.ReadyReplicas) >= numberOr(1, template.Object, "spec", "replicas") &&
		status.CurrentRevision == status.UpdateRevision
}

// revisions are those of the first cluster that is still between two. kubectl takes a rollout for
// complete when the two are equal.
func revisions(parts []part[appsv1.StatefulSetStatus]) (current, update string) {
	for _, part := range parts {
		if part.status.CurrentRevision != part.status.UpdateRevision {
			return part.status.CurrentRevision, part.status.UpdateRevision
		}
		if update == "" {
			current, update = part.status.CurrentRevision, part.status.UpdateRevision
		}
	}
	return current, update
}

func foldDaemonSet(template *unstructured.Unstructured, present appsv1.DaemonSetStatus, parts []part[appsv1.DaemonSetStatus]) appsv1.DaemonSetStatus {
	status := appsv1.DaemonSetStatus{CollisionCount: present.CollisionCount, Conditions: present.Conditions}
	for _, part := range parts {
		add(&status.CurrentNumberScheduled, part.status.CurrentNumberScheduled)
		add(&status.DesiredNumberScheduled, part.status.DesiredNumberScheduled)
		add(&status.NumberAvailable, part.status.NumberAvailable)
		add(&status.NumberMisscheduled, part.status.NumberMisscheduled)
		add(&status.NumberReady, part.status.NumberReady)
		add(&status.NumberUnavailable, part.status.NumberUnavailable)
		add(&status.UpdatedNumberScheduled, part.status.UpdatedNumberScheduled)
	}
	status.ObservedGeneration = observedGeneration(template, present.ObservedGeneration, parts)
	return status
}
