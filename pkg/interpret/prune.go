package interpret

import (
	"cmp"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	workv1alpha1 "windlass.dev/windlass/api/work/v1alpha1"
)

// hubLabels and hubAnnotations are what the hub and the agents write on objects, what tells the hub
// what to do, and what API servers and controllers keep for themselves. None of it is content.
var (
	hubLabels = setOf(
		workv1alpha1.PropagationPolicyPermanentIDLabel,
		workv1alpha1.ClusterPropagationPolicyPermanentIDLabel,
		workv1alpha1.ManagedLabel,
	)
	hubAnnotations = setOf(
		workv1alpha1.PropagationPolicyNamespaceAnnotation,
		workv1alpha1.PropagationPolicyNameAnnotation,
		workv1alpha1.ClusterPropagationPolicyNameAnnotation,
		workv1alpha1.ConflictResolutionAnnotation,
		workv1alpha1.HubIDAnnotation,
		workv1alpha1.WorkNameAnnotation,
		workv1alpha1.WorkNamespaceAnnotation,
		workv1alpha1.TemplateUIDAnnotation,
		workv1alpha1.PreservedAnnotation,
		"kubectl.kubernetes.io/last-applied-configuration",
	)
)

func setOf(names ...string) map[string]struct{} {
	set := make(map[string]struct{}, len(names))
	for _, name := range names {
		set[name] = struct{}{}
	}
	return set
}

var pruners = map[schema.GroupKind]func(object map[string]any){
	clusterRole:           pruneClusterRole,
	daemonSet:             pruneDaemonSet,
	deployment:            pruneDeployment,
	job:                   pruneJob,
	namespace:             pruneNamespace,
	persistentVolume:      prunePersistentVolume,
	persistentVolumeClaim: prunePersistentVolumeClaim,
	pod:                   prunePod,
	replicaSet:            pruneReplicaSet,
	secret:                pruneSecret,
	service:               pruneService,
	serviceAccount:        pruneServiceAccount,
}

// Prune returns what of a template travels to members, as a new object: no status, of the metadata
// only name, namespace, and the labels and annotations that are content, and no value that the
// hub's API server or its controllers have filled in for the hub alone. Plain defaults travel.
func Prune(obj *unstructured.Unstructured) *unstructured.Unstructured {
	pruned := Overridable(obj)
	PruneOverridden(pruned)
	return pruned
}

// Overridable returns what overrides change of a template, as a new object: what travels, and what a user sees on the hub beside it
// and so may name in a path, which PruneOverridden takes out afterwards. There always are labels and annotations, since on the hub a template
// has its marks among them. What a hub's API server has allocated is no part of it, or an override could not say another value.
func Overridable(obj *unstructured.Unstructured) *unstructured.Unstructured {
	object := make(map[string]any, len(obj.Object))
	for key, value := range obj.Object {
		if key != "status" && key != "metadata" {
			object[key] = runtime.DeepCopyJSONValue(value)
		}
	}
	metadata := map[string]any{"name": obj.GetName()}
	if namespace := obj.GetNamespace(); namespace != "" {
		metadata["namespace"] = namespace
	}
	for _, which := range []string{"labels", "annotations"} {
		if entries := maps.Clone(mapAt(obj.Object, "metadata", which)); len(entries) > 0 {
			metadata[which] = entries
		}
	}
	object["metadata"] = metadata
	if kindOf(obj) == service {
		pruneAllocated(object, obj.GetManagedFields())
	}
	if prune := pruners[kindOf(obj)]; prune != nil {
		prune(object)
	}
	for _, which := range []string{"labels", "annotations"} {
		if metadata[which] == nil {
			metadata[which] = map[string]any{}
		}
	}
	return &unstructured.Unstructured{Object: object}
}

// PruneOverridden takes out of what Overridable has returned, which it changes, all that does not travel, also where an override wrote it.
func PruneOverridden(obj *unstructured.Unstructured) {
	for which, names := range map[string]map[string]struct{}{"labels": hubLabels, "annotations": hubAnnotations} {
		metadata := mapAt(obj.Object, "metadata")
		if entries := without(mapAt(metadata, which), names); len(entries) > 0 {
			metadata[which] = entries
		} else {
			delete(metadata, which)
		}
	}
	if kindOf(obj) == job {
		pruneOverriddenJob(obj.Object)
	}
}

func without(entries map[string]any, names map[string]struct{}) map[string]any {
	kept := maps.Clone(entries)
	maps.DeleteFunc(kept, func(name string, _ any) bool {
		_, unwanted := names[name]
		return unwanted
	})
	return kept
}

func removeLabels(object map[string]any, names ...string) {
	for _, name := range names {
		remove(mapAt(object, "metadata"), "labels", name)
	}
}

func removeAnnotations(object map[string]any, names ...string) {
	for _, name := range names {
		remove(mapAt(object, "metadata"), "annotations", name)
	}
}

// pruneClusterRole drops rules that the hub has collected from other ClusterRoles: a member
// collects its own.
func pruneClusterRole(object map[string]any) {
	if mapAt(object, "aggregationRule") != nil {
		delete(object, "rules")
	}
}

func pruneDeployment(object map[string]any) {
	removeAnnotations(object, "deployment.kubernetes.io/revision", "deprecated.deployment.rollback.to")
}

func pruneReplicaSet(object map[string]any) {
	removeAnnotations(object,
		"deployment.kubernetes.io/revision",
		"deployment.kubernetes.io/revision-history",
		"deployment.kubernetes.io/desired-replicas",
		"deployment.kubernetes.io/max-replicas")
}

func pruneDaemonSet(object map[string]any) {
	removeAnnotations(object, "deprecated.daemonset.template.generation")
}

// pruneJob drops the selector and the labels that the API server has made from the Job's UID,
// unless the user made them. Labels of its pods are there on the hub, and stay so for overrides.
func pruneJob(object map[string]any) {
	if manual, _ := at(object, "spec", "manualSelector").(bool); manual {
		return
	}
	remove(object, "spec", "selector")
	generated := []string{
		"batch.kubernetes.io/controller-uid", "controller-uid",
		"batch.kubernetes.io/job-name", "job-name",
	}
	removeLabels(object, generated...)
	labels := mapAt(object, "spec", "template", "metadata", "labels")
	for _, label := range generated {
		delete(labels, label)
	}
}

// pruneOverriddenJob drops the time to live: a member that deletes a finished Job would be given it again, and run it again, for ever.
func pruneOverriddenJob(object map[string]any) {
	remove(object, "spec", timeToLive)
	if labels := mapAt(object, "spec", "template", "metadata", "labels"); labels != nil && len(labels) == 0 {
		remove(object, "spec", "template", "metadata", "labels")
	}
}

const timeToLive = "ttlSecondsAfterFinished"

// TimeToLive is how long a Job says that it stays when it has finished, in whatever form; nil where nothing is said.
func TimeToLive(obj *unstructured.Unstructured) any {
	if kindOf(obj) != job {
		return nil
	}
	return at(obj.Object, "spec", timeToLive)
}

func pruneNamespace(object map[string]any) {
	remove(object, "spec", "finalizers")
	removeLabels(object, "kubernetes.io/metadata.name")
}

// prunePersistentVolume drops a binding that a controller has made, and of one that the user made
// what names the claim's incarnation.
func prunePersistentVolume(object map[string]any) {
	if textAt(object, "metadata", "annotations", boundByController) != "" {
		remove(object, "spec", "claimRef")
	}
	remove(object, "spec", "claimRef", "uid")
	remove(object, "spec", "claimRef", "resourceVersion")
	removeAnnotations(object, boundByController)
}

const boundByController = "pv.kubernetes.io/bound-by-controller"

// prunePersistentVolumeClaim drops a volume that a controller has chosen; one that the user named
// travels.
func prunePersistentVolumeClaim(object map[string]any) {
	if textAt(object, "metadata", "annotations", boundByController) != "" {
		remove(object, "spec", "volumeName")
	}
	removeAnnotations(object, boundByController,
		"pv.kubernetes.io/bind-completed",
		"volume.beta.kubernetes.io/storage-provisioner",
		"volume.kubernetes.io/storage-provisioner",
		"volume.kubernetes.io/selected-node")
}

// prunePod drops what admission fills in. A member refuses a pod whose priority is not the one
// that its own PriorityClass gives.
func prunePod(object map[string]any) {
	remove(object, "spec", "priority")
	remove(object, "spec", "preemptionPolicy")

	spec := mapAt(object, "spec")
	dropNamed(spec, "volumes", isInjectedVolume)
	for _, containers := range []string{"containers", "initContainers", "ephemeralContainers"} {
		for _, container := range listAt(spec, containers) {
			if container, ok := container.(map[string]any); ok {
				dropNamed(container, "volumeMounts", isInjectedVolume)
			}
		}
	}
}

func isInjectedVolume(name string) bool { return strings.HasPrefix(name, "kube-api-access-") }

// dropNamed removes entries from a list of maps by their name, and the list when it is left empty.
func dropNamed(parent map[string]any, list string, unwanted func(name string) bool) {
	entries := listAt(parent, list)
	if entries == nil {
		return
	}
	kept := slices.DeleteFunc(entries, func(entry any) bool {
		fields, _ := entry.(map[string]any)
		return unwanted(textAt(fields, "name"))
	})
	if len(kept) == 0 {
		delete(parent, list)
		return
	}
	parent[list] = kept
}

// pruneSecret drops the token of a service account: it is a credential for the hub, and must never
// reach a member.
func pruneSecret(object map[string]any) {
	if textAt(object, "type") != "kubernetes.io/service-account-token" {
		return
	}
	for _, key := range []string{"token", "ca.crt", "namespace"} {
		remove(object, "data", key)
	}
	removeAnnotations(object, "kubernetes.io/service-account.uid")
	removeLabels(object, "kubernetes.io/legacy-token-last-used", "kubernetes.io/legacy-token-invalid-since")
}

// pruneService drops the addresses that the hub's API server has allocated, and also those that a user asked for, which are the
// hub's; but not None, by which the user asked for a headless Service.
func pruneService(object map[string]any) {
	if textAt(object, "spec", "clusterIP") != "None" {
		remove(object, "spec", "clusterIP")
		remove(object, "spec", "clusterIPs")
	}
}

// pruneAllocated drops what else the hub's API server has allocated. It allocates after the fields of a request were put down to its
// manager, so what some manager has is what a user asked for.
func pruneAllocated(object map[string]any, managers []metav1.ManagedFieldsEntry) {
	for _, field := range []string{"ipFamilies", "healthCheckNodePort"} {
		asked := slices.ContainsFunc(managers, func(manager metav1.ManagedFieldsEntry) bool { return ownsField(manager, "f:spec", "f:"+field) })
		if !asked {
			remove(object, "spec", field)
		}
	}
	pruneNodePorts(object, managers)
}

// pruneNodePorts drops the node ports that nobody asked for.
func pruneNodePorts(object map[string]any, managers []metav1.ManagedFieldsEntry) {
	for _, port := range listAt(object, "spec", "ports") {
		port, ok := port.(map[string]any)
		if !ok {
			continue
		}
		key, err := json.Marshal(map[string]any{"port": port["port"], "protocol": cmp.Or(textAt(port, "protocol"), "TCP")})
		asked := err == nil && slices.ContainsFunc(managers, func(manager metav1.ManagedFieldsEntry) bool {
			return ownsField(manager, "f:spec", "f:ports", "k:"+string(key), "f:nodePort")
		})
		if !asked {
			delete(port, "nodePort")
		}
	}
}

// pruneServiceAccount drops the names of token Secrets that were generated for it.
func pruneServiceAccount(object map[string]any) {
	generated := textAt(object, "metadata", "name") + "-token-"
	dropNamed(object, "secrets", func(name string) bool { return strings.HasPrefix(name, generated) })
}
