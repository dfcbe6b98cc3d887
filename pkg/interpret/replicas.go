package interpret

import (
	"math"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/component-helpers/resource"

	workv1alpha1 "windlass.dev/windlass/api/work/v1alpha1"
)

// scaled says where a kind keeps its number of replicas and its pod.
type scaled struct {
	replicas []string
	podSpec  []string
}

var scaledKinds = map[schema.GroupKind]scaled{
	deployment:  {replicas: []string{"spec", "replicas"}, podSpec: []string{"spec", "template", "spec"}},
	replicaSet:  {replicas: []string{"spec", "replicas"}, podSpec: []string{"spec", "template", "spec"}},
	statefulSet: {replicas: []string{"spec", "replicas"}, podSpec: []string{"spec", "template", "spec"}},
	job:         {replicas: []string{"spec", "parallelism"}, podSpec: []string{"spec", "template", "spec"}},
	pod:         {podSpec: []string{"spec"}}, // one pod is one replica, and can't be made more
}

// Replicas returns how many replicas an object asks for and what one of them needs. The first is
// nil for kinds that have no replicas, the second when a replica needs nothing in particular.
func Replicas(obj *unstructured.Unstructured) (*int32, *workv1alpha1.ReplicaRequirements) {
	kind, known := scaledKinds[kindOf(obj)]
	if !known {
		return nil, nil
	}
	replicas := int32(1) // what the API server fills in
	if kind.replicas != nil {
		replicas = bounded(numberOr(1, obj.Object, kind.replicas...))
	}
	return &replicas, requirements(obj.GetNamespace(), mapAt(obj.Object, kind.podSpec...))
}

// ReplicasAreNumber says whether an object asks for a number of replicas, or leaves it to its API server. What an API server has
// stored always does; what an override makes of it may not, and no API server takes it then.
func ReplicasAreNumber(obj *unstructured.Unstructured) bool {
	path := scaledKinds[kindOf(obj)].replicas
	if path == nil || at(obj.Object, path...) == nil {
		return true
	}
	_, is := numberAt(obj.Object, path...)
	return is
}

func bounded(n int64) int32 { return int32(min(max(n, 0), math.MaxInt32)) }

func requirements(namespace string, podSpec map[string]any) *workv1alpha1.ReplicaRequirements {
	var pod corev1.Pod
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(podSpec, &pod.Spec); err != nil {
		// The API server that stored the template would not have taken such a pod.
		return nil
	}
	requestLimits(&pod)
	needs := &workv1alpha1.ReplicaRequirements{
		NodeClaim:         nodeClaim(&pod.Spec),
		ResourceRequest:   requests(&pod),
		Namespace:         namespace,
		PriorityClassName: pod.Spec.PriorityClassName,
	}
	if needs.NodeClaim == nil && needs.ResourceRequest == nil && needs.PriorityClassName == "" {
		return nil
	}
	return needs
}

// requestLimits has a pod request what it only sets a limit for, as an API server does when it stores a pod, and not when it stores
// the template of one. This is how most workloads ask for GPUs.
func requestLimits(pod *corev1.Pod) {
	for _, containers := range [][]corev1.Container{pod.Spec.Containers, pod.Spec.InitContainers} {
		for i := range containers {
			requestLimitsOf(&containers[i].Resources, nil)
		}
	}
	if whole := pod.Spec.Resources; whole != nil {
		requestLimitsOf(whole, resource.AggregateContainerRequests(pod, resource.PodResourcesOptions{}))
	}
}

// requestLimitsOf leaves aside what is requested in another place.
func requestLimitsOf(resources *corev1.ResourceRequirements, elsewhere corev1.ResourceList) {
	for name, limit := range resources.Limits {
		_, requested := resources.Requests[name]
		if _, there := elsewhere[name]; requested || there {
			continue
		}
		if resources.Requests == nil {
			resources.Requests = corev1.ResourceList{}
		}
		resources.Requests[name] = limit
	}
}

// requests is what the scheduler of a member reserves for one pod: the sum of its containers and
// sidecars or the largest step of its initialisation, whichever is more, and the overhead.
func requests(pod *corev1.Pod) corev1.ResourceList {
	list := resource.PodRequests(pod, resource.PodResourcesOptions{})
	for name, quantity := range list {
		if quantity.IsZero() {
			delete(list, name)
		}
	}
	if len(list) == 0 {
		return nil
	}
	return list
}

func nodeClaim(spec *corev1.PodSpec) *workv1alpha1.NodeClaim {
	claim := &workv1alpha1.NodeClaim{NodeSelector: spec.NodeSelector, Tolerations: spec.Tolerations}
	if spec.Affinity != nil && spec.Affinity.NodeAffinity != nil {
		claim.HardNodeAffinity = spec.Affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution
	}
	if claim.HardNodeAffinity == nil && len(claim.NodeSelector) == 0 && len(claim.Tolerations) == 0 {
		return nil
	}
	return claim
}

// ReviseReplicas changes obj: it sets the number of replicas. It returns false, and has done
// nothing, for kinds whose number can't be set.
func ReviseReplicas(obj *unstructured.Unstructured, n int32) bool {
	kind := scaledKinds[kindOf(obj)]
	if kind.replicas == nil {
		return false
	}
	return unstructured.SetNestedField(obj.Object, int64(n), kind.replicas...) == nil
}

// Completions returns how often a Job's pod must succeed, and whether the object is a Job that says
// so. One that doesn't is a work queue and ends by itself.
func Completions(obj *unstructured.Unstructured) (int32, bool) {
	if kindOf(obj) != job {
		return 0, false
	}
	n, found := numberAt(obj.Object, "spec", "completions")
	return bounded(n), found
}

// ReviseCompletions changes obj, a Job: it sets how often its pod must succeed. No more of its indexes may fail than there are: a
// member refuses it else.
func ReviseCompletions(obj *unstructured.Unstructured, n int32) bool {
	if kindOf(obj) != job {
		return false
	}
	if failed, said := numberAt(obj.Object, "spec", "maxFailedIndexes"); said && failed > int64(n) {
		if unstructured.SetNestedField(obj.Object, int64(n), "spec", "maxFailedIndexes") != nil {
			return false
		}
	}
	return unstructured.SetNestedField(obj.Object, int64(n), "spec", "completions") == nil
}
