package interpret

import (
	"encoding/json"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// MaxStatusBytes bounds what the hub keeps of one object's status.
const MaxStatusBytes = 64 << 10

// MaxWorkStatusBytes bounds what the hub keeps of the statuses of all objects of one work.
const MaxWorkStatusBytes = 128 << 10

// LargestStatus is how large the status of an object may be to be kept, by the sizes of all statuses
// of a work: any size while all of them fit, an equal share otherwise.
func LargestStatus(sizes []int) int {
	total := 0
	for _, size := range sizes {
		total += size
	}
	if total <= MaxWorkStatusBytes {
		return MaxWorkStatusBytes
	}
	return MaxWorkStatusBytes / len(sizes)
}

// keptFields are, of kinds whose status is known, the fields that the hub keeps: what it adds up
// and what people look for. Values that change without meaning, such as the times of the last
// update and the metrics of an autoscaler, would make every member report all the time.
var keptFields = map[schema.GroupKind][]string{
	daemonSet: {"currentNumberScheduled", "desiredNumberScheduled", "numberAvailable", "numberMisscheduled",
		"numberReady", "numberUnavailable", "updatedNumberScheduled"},
	deployment: {"availableReplicas", "conditions", "readyReplicas", "replicas", "unavailableReplicas",
		"updatedReplicas"},
	horizontalPodAutoscaler: {"currentReplicas", "desiredReplicas", "lastScaleTime"},
	ingress:                 {"loadBalancer"},
	job:                     {"active", "completionTime", "conditions", "failed", "ready", "startTime", "succeeded"},
	pod: {"conditions", "containerStatuses", "hostIP", "message", "phase", "podIP", "reason",
		"startTime"},
	podDisruptionBudget: {"currentHealthy", "desiredHealthy", "disruptionsAllowed", "expectedPods"},
	replicaSet:          {"availableReplicas", "fullyLabeledReplicas", "readyReplicas", "replicas"},
	service:             {"loadBalancer"},
	statefulSet: {"availableReplicas", "currentReplicas", "currentRevision", "readyReplicas", "replicas",
		"updateRevision", "updatedReplicas"},
}

// essentialFields are what is kept of a status that is too large as a whole.
var essentialFields = []string{"conditions", "observedGeneration", "phase", "readyReplicas", "replicas"}

// ReflectStatus returns the part of an object's status that the hub keeps, as JSON with sorted
// keys: the same status always gives the same bytes. It is nil when there is nothing to keep, and
// never larger than MaxStatusBytes; of a status that is, only the most telling fields are kept.
func ReflectStatus(obj *unstructured.Unstructured) []byte {
	status := mapAt(obj.Object, "status")
	if fields, known := keptFields[kindOf(obj)]; known {
		return encodeBounded(withoutUpdateTimes(pick(status, fields)))
	}
	if whole := encodeBounded(status); whole != nil {
		return whole
	}
	return encodeBounded(pick(status, essentialFields))
}

// pick returns the named fields that hold something, as a new map with the same values.
func pick(status map[string]any, fields []string) map[string]any {
	picked := make(map[string]any, len(fields))
	for _, field := range fields {
		if value, found := status[field]; found && !isEmpty(value) {
			picked[field] = value
		}
	}
	return picked
}

func isEmpty(value any) bool {
	switch value := value.(type) {
	case nil:
		return true
	case map[string]any:
		return len(value) == 0
	case []any:
		return len(value) == 0
	}
	return false
}

// withoutUpdateTimes replaces the conditions by copies that don't say when they were last looked at.
func withoutUpdateTimes(status map[string]any) map[string]any {
	conditions := listAt(status, "conditions")
	if conditions == nil {
		return status
	}
	kept := make([]any, 0, len(conditions))
	for _, entry := range conditions {
		if entry, ok := entry.(map[string]any); ok {
			kept = append(kept, without(entry, updateTimes))
		}
	}
	status["conditions"] = kept
	return status
}

var updateTimes = setOf("lastHeartbeatTime", "lastProbeTime", "lastUpdateTime")

func encodeBounded(status map[string]any) []byte {
	if len(status) == 0 {
		return nil
	}
	encoded, err := json.Marshal(status)
	if err != nil || len(encoded) > MaxStatusBytes {
		return nil
	}
	return encoded
}
