// Package interpret alone knows what a kind means: how many replicas an object asks for and what one
// of them needs, what of a template travels, when a copy in a member is healthy, which part of its
// status the hub keeps, how the statuses of many members become one, and what is left to a member.
//
// Every concern is one file with one table from a kind to a small function; a kind that the table
// lacks gets what is sensible for any object. Nothing here does I/O or asks for the time, and no
// input is changed unless the function says so.
package interpret

import (
	"encoding/json"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// The kinds that mean something special.
var (
	deployment  = schema.GroupKind{Group: "apps", Kind: "Deployment"}
	replicaSet  = schema.GroupKind{Group: "apps", Kind: "ReplicaSet"}
	statefulSet = schema.GroupKind{Group: "apps", Kind: "StatefulSet"}
	daemonSet   = schema.GroupKind{Group: "apps", Kind: "DaemonSet"}

	job     = schema.GroupKind{Group: "batch", Kind: "Job"}
	cronJob = schema.GroupKind{Group: "batch", Kind: "CronJob"}

	namespace             = schema.GroupKind{Kind: "Namespace"}
	persistentVolume      = schema.GroupKind{Kind: "PersistentVolume"}
	persistentVolumeClaim = schema.GroupKind{Kind: "PersistentVolumeClaim"}
	pod                   = schema.GroupKind{Kind: "Pod"}
	secret                = schema.GroupKind{Kind: "Secret"}
	service               = schema.GroupKind{Kind: "Service"}
	serviceAccount        = schema.GroupKind{Kind: "ServiceAccount"}

	clusterRole              = schema.GroupKind{Group: "rbac.authorization.k8s.io", Kind: "ClusterRole"}
	customResourceDefinition = schema.GroupKind{Group: "apiextensions.k8s.io", Kind: "CustomResourceDefinition"}
	horizontalPodAutoscaler  = schema.GroupKind{Group: "autoscaling", Kind: "HorizontalPodAutoscaler"}
	ingress                  = schema.GroupKind{Group: "networking.k8s.io", Kind: "Ingress"}
	podDisruptionBudget      = schema.GroupKind{Group: "policy", Kind: "PodDisruptionBudget"}
)

// HoldsOthers tells whether objects of a kind take others with them when they are deleted, whoever made those: a Namespace
// what is in it, a CustomResourceDefinition all objects of its kind.
func HoldsOthers(kind schema.GroupKind) bool {
	return kind == namespace || kind == customResourceDefinition
}

func kindOf(obj *unstructured.Unstructured) schema.GroupKind {
	return obj.GroupVersionKind().GroupKind()
}

// at returns what lies under a path of map keys, not a copy; nil when there is nothing.
func at(object map[string]any, path ...string) any {
	value, found, err := unstructured.NestedFieldNoCopy(object, path...)
	if !found || err != nil {
		return nil
	}
	return value
}

func mapAt(object map[string]any, path ...string) map[string]any {
	value, _ := at(object, path...).(map[string]any)
	return value
}

func listAt(object map[string]any, path ...string) []any {
	value, _ := at(object, path...).([]any)
	return value
}

func textAt(object map[string]any, path ...string) string {
	value, _ := at(object, path...).(string)
	return value
}

// numberAt returns a whole number and whether there is one. Objects that did not come from an API
// server may hold numbers as other types than int64.
func numberAt(object map[string]any, path ...string) (int64, bool) {
	switch value := at(object, path...).(type) {
	case int64:
		return value, true
	case int:
		return int64(value), true
	case int32:
		return int64(value), true
	case float64:
		return int64(value), value == float64(int64(value))
	case json.Number:
		number, err := value.Int64()
		return number, err == nil
	}
	return 0, false
}

// numberOr is numberAt with a value for where there is none.
func numberOr(otherwise int64, object map[string]any, path ...string) int64 {
	if value, found := numberAt(object, path...); found {
		return value
	}
	return otherwise
}

// remove deletes what lies under a path, and the maps above it that are left empty.
func remove(object map[string]any, path ...string) {
	if len(path) == 1 {
		delete(object, path[0])
		return
	}
	inner, ok := object[path[0]].(map[string]any)
	if !ok {
		return
	}
	remove(inner, path[1:]...)
	if len(inner) == 0 {
		delete(object, path[0])
	}
}
