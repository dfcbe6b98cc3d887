package interpret

import (
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	workv1alpha1 "windlass.dev/windlass/api/work/v1alpha1"
)

// verdict is a health and, unless it is Healthy, the reason in words.
type verdict struct {
	health  workv1alpha1.ResourceHealth
	message string
}

var fine = verdict{health: workv1alpha1.ResourceHealthy}

func unhealthy(format string, args ...any) verdict {
	return verdict{workv1alpha1.ResourceUnhealthy, fmt.Sprintf(format, args...)}
}

func unknown(format string, args ...any) verdict {
	return verdict{workv1alpha1.ResourceUnknown, fmt.Sprintf(format, args...)}
}

var healthOf = map[schema.GroupKind]func(object map[string]any) verdict{
	customResourceDefinition: customResourceDefinitionHealth,
	daemonSet:                daemonSetHealth,
	deployment:               deploymentHealth,
	ingress:                  ingressHealth,
	job:                      jobHealth,
	persistentVolumeClaim:    persistentVolumeClaimHealth,
	pod:                      podHealth,
	podDisruptionBudget:      podDisruptionBudgetHealth,
	replicaSet:               replicaSetHealth,
	service:                  serviceHealth,
	statefulSet:              statefulSetHealth,
}

// Health tells whether an object in a member does what it is for, and why not otherwise. Unknown
// means that it can't be told yet: the controller has not seen the present content, or a Job is
// still running. A kind without a rule of its own is healthy when it exists, unless one of its
// conditions says that it is not ready.
func Health(obj *unstructured.Unstructured) (workv1alpha1.ResourceHealth, string) {
	v := health(obj)
	return v.health, v.message
}

func health(obj *unstructured.Unstructured) verdict {
	if obj.GetDeletionTimestamp() != nil {
		if finalizers := obj.GetFinalizers(); len(finalizers) > 0 {
			return unhealthy("is being deleted, held by the finalizers %v", finalizers)
		}
		return unhealthy("is being deleted")
	}
	if !Observed(obj) {
		return unknown("the controller in the member has not seen the present content yet")
	}
	if rule := healthOf[kindOf(obj)]; rule != nil {
		return rule(obj.Object)
	}
	return conditionsHealth(obj.Object)
}

// generational are the kinds whose controllers always say which generation they have seen, so that
// silence means none.
var generational = map[schema.GroupKind]bool{
	daemonSet:           true,
	deployment:          true,
	podDisruptionBudget: true,
	replicaSet:          true,
	statefulSet:         true,
}

// Observed tells whether the member's controller has seen the object's present content. It is true
// for kinds that don't say.
func Observed(obj *unstructured.Unstructured) bool {
	observed, says := numberAt(obj.Object, "status", "observedGeneration")
	if !says {
		return !generational[kindOf(obj)]
	}
	return observed >= obj.GetGeneration()
}

// condition returns the condition of a type, nil when there is none.
func condition(object map[string]any, conditionType string) map[string]any {
	for _, entry := range listAt(object, "status", "conditions") {
		if entry, ok := entry.(map[string]any); ok && textAt(entry, "type") == conditionType {
			return entry
		}
	}
	return nil
}

// because describes a condition in words.
func because(condition map[string]any) string {
	reason, message := textAt(condition, "reason"), textAt(condition, "message")
	switch {
	case reason == "":
		return message
	case message == "":
		return reason
	}
	return reason + ": " + message
}

func conditionsHealth(object map[string]any) verdict {
	if stalled := condition(object, "Stalled"); textAt(stalled, "status") == "True" {
		return unhealthy("Stalled: %s", because(stalled))
	}
	for _, conditionType := range []string{"Ready", "Available"} {
		c := condition(object, conditionType)
		switch textAt(c, "status") {
		case "False":
			return unhealthy("%s is False: %s", conditionType, because(c))
		case "Unknown":
			return unknown("%s is Unknown: %s", conditionType, because(c))
		}
	}
	if textAt(object, "status", "phase") == "Terminating" {
		return unhealthy("is terminating")
	}
	return fine
}

func deploymentHealth(object map[string]any) verdict {
	wanted := numberOr(1, object, "spec", "replicas")
	replicas := numberOr(0, object, "status", "replicas")
	updated := numberOr(0, object, "status", "updatedReplicas")
	available := numberOr(0, object, "status", "availableReplicas")
	// First, for it is the cause: that the deadline is over follows from it after a while, and says nothing of why.
	if failure := condition(object, "ReplicaFailure"); textAt(failure, "status") == "True" {
		return unhealthy("%s", because(failure))
	}
	if progressing := condition(object, "Progressing"); textAt(progressing, "status") == "False" {
		return unhealthy("%s", because(progressing))
	}
	switch {
	case updated < wanted:
		return unhealthy("%d of %d replicas are updated", updated, wanted)
	case replicas > updated:
		return unhealthy("%d old replicas are left", replicas-updated)
	case available < wanted:
		return unhealthy("%d of %d replicas are available", available, wanted)
	}
	return fine
}

func replicaSetHealth(object map[string]any) verdict {
	return availability(object, numberOr(1, object, "spec", "replicas"))
}

func availability(object map[string]any, wanted int64) verdict {
	if available := numberOr(0, object, "status", "availableReplicas"); available < wanted {
		return unhealthy("%d of %d replicas are available", available, wanted)
	}
	return fine
}

func statefulSetHealth(object map[string]any) verdict {
	wanted := numberOr(1, object, "spec", "replicas")
	if textAt(object, "spec", "updateStrategy", "type") != "OnDelete" {
		partition := numberOr(0, object, "spec", "updateStrategy", "rollingUpdate", "partition")
		updated := numberOr(0, object, "status", "updatedReplicas")
		if toUpdate := max(wanted-partition, 0); updated < toUpdate {
			return statefulSetBehind(object, updated, toUpdate)
		}
	}
	return availability(object, wanted)
}

// statefulSetBehind tells a rollout from pods that are not made yet: those are made one after the other, and one that
// does not become ready is the last.
func statefulSetBehind(object map[string]any, updated, toUpdate int64) verdict {
	made := numberOr(updated, object, "status", "replicas")
	if made > updated || updated == 0 {
		return unhealthy("%d of %d replicas are updated", updated, toUpdate)
	}
	ready := numberOr(0, object, "status", "readyReplicas")
	if ready < made && textAt(object, "spec", "podManagementPolicy") != "Parallel" {
		return unhealthy("%d of %d replicas are ready, and the next is not made before", ready, toUpdate)
	}
	return unhealthy("%d of %d replicas are made", made, toUpdate)
}

func daemonSetHealth(object map[string]any) verdict {
	wanted := numberOr(0, object, "status", "desiredNumberScheduled")
	updated := numberOr(0, object, "status", "updatedNumberScheduled")
	available := numberOr(0, object, "status", "numberAvailable")
	if textAt(object, "spec", "updateStrategy", "type") != "OnDelete" && updated < wanted {
		return unhealthy("%d of %d pods are updated", updated, wanted)
	}
	if available < wanted {
		return unhealthy("%d of %d pods are available", available, wanted)
	}
	return fine
}

func jobHealth(object map[string]any) verdict {
	for _, conditionType := range []string{"Failed", "FailureTarget"} {
		if failed := condition(object, conditionType); textAt(failed, "status") == "True" {
			return unhealthy("failed: %s", because(failed))
		}
	}
	if textAt(condition(object, "Complete"), "status") == "True" {
		return fine
	}
	if suspended, _ := at(object, "spec", "suspend").(bool); suspended {
		return unknown("is suspended")
	}
	return unknown("is running: %d pods active, %d succeeded, %d failed",
		numberOr(0, object, "status", "active"),
		numberOr(0, object, "status", "succeeded"),
		numberOr(0, object, "status", "failed"))
}

func serviceHealth(object map[string]any) verdict {
	if textAt(object, "spec", "type") != "LoadBalancer" || hasAddress(object) {
		return fine
	}
	return unhealthy("waits for the address of its load balancer")
}

func ingressHealth(object map[string]any) verdict {
	if hasAddress(object) {
		return fine
	}
	return unhealthy("waits for an ingress controller to report its address")
}

func hasAddress(object map[string]any) bool {
	for _, entry := range listAt(object, "status", "loadBalancer", "ingress") {
		if entry, ok := entry.(map[string]any); ok && (textAt(entry, "ip") != "" || textAt(entry, "hostname") != "") {
			return true
		}
	}
	return false
}

func persistentVolumeClaimHealth(object map[string]any) verdict {
	switch phase := textAt(object, "status", "phase"); phase {
	case "Bound":
		return fine
	case "Lost":
		return unhealthy("has lost its volume %q", textAt(object, "spec", "volumeName"))
	default:
		return unhealthy("is not bound to a volume yet")
	}
}

func podHealth(object map[string]any) verdict {
	switch phase := textAt(object, "status", "phase"); phase {
	case "Succeeded":
		return fine
	case "Running":
		if ready := condition(object, "Ready"); textAt(ready, "status") != "True" {
			return unhealthy("runs but is not ready: %s", because(ready))
		}
		return fine
	case "Failed":
		return unhealthy("failed: %s", because(mapAt(object, "status")))
	default:
		if scheduled := condition(object, "PodScheduled"); textAt(scheduled, "status") == "False" {
			return unhealthy("is not scheduled: %s", because(scheduled))
		}
		return unhealthy("does not run yet")
	}
}

func podDisruptionBudgetHealth(object map[string]any) verdict {
	current := numberOr(0, object, "status", "currentHealthy")
	desired := numberOr(0, object, "status", "desiredHealthy")
	if current < desired {
		return unhealthy("%d of %d pods that must be healthy are", current, desired)
	}
	return fine
}

func customResourceDefinitionHealth(object map[string]any) verdict {
	if names := condition(object, "NamesAccepted"); textAt(names, "status") == "False" {
		return unhealthy("its names are not accepted: %s", because(names))
	}
	if established := condition(object, "Established"); textAt(established, "status") != "True" {
		return unknown("is not served yet")
	}
	return fine
}
