package interpret

import (
	"cmp"
	"slices"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// maxAddresses bounds the list of addresses of a template: names and addresses of 1,000 clusters
// would make every reader of the template pay for them. The works have the rest.
const maxAddresses = 100

// foldService lists the addresses of the load balancers in all clusters. A Service of another type
// has none, and the API server takes none for it.
func foldService(template *unstructured.Unstructured, present corev1.ServiceStatus, parts []part[corev1.ServiceStatus]) corev1.ServiceStatus {
	status := present
	status.LoadBalancer = corev1.LoadBalancerStatus{}
	if textAt(template.Object, "spec", "type") != string(corev1.ServiceTypeLoadBalancer) {
		return status
	}
	seen := map[[2]string]bool{}
	for _, part := range parts {
		for _, address := range part.status.LoadBalancer.Ingress {
			key := [2]string{address.IP, address.Hostname}
			if seen[key] || !isAddress(address.IP, address.Hostname) || len(seen) == maxAddresses {
				continue
			}
			seen[key] = true
			status.LoadBalancer.Ingress = append(status.LoadBalancer.Ingress, corev1.LoadBalancerIngress{
				IP: address.IP, Hostname: address.Hostname, IPMode: ipMode(address),
			})
		}
	}
	return status
}

// ipMode goes with an address and with nothing else. An older member does not have it.
func ipMode(address corev1.LoadBalancerIngress) *corev1.LoadBalancerIPMode {
	if address.IP == "" {
		return nil
	}
	mode := corev1.LoadBalancerIPModeVIP
	if address.IPMode != nil && *address.IPMode == corev1.LoadBalancerIPModeProxy {
		mode = corev1.LoadBalancerIPModeProxy
	}
	return &mode
}

func foldIngress(_ *unstructured.Unstructured, _ networkingv1.IngressStatus, parts []part[networkingv1.IngressStatus]) networkingv1.IngressStatus {
	var status networkingv1.IngressStatus
	seen := map[[2]string]bool{}
	for _, part := range parts {
		for _, address := range part.status.LoadBalancer.Ingress {
			key := [2]string{address.IP, address.Hostname}
			if seen[key] || !isAddress(address.IP, address.Hostname) || len(seen) == maxAddresses {
				continue
			}
			seen[key] = true
			status.LoadBalancer.Ingress = append(status.LoadBalancer.Ingress, networkingv1.IngressLoadBalancerIngress{
				IP: address.IP, Hostname: address.Hostname,
			})
		}
	}
	return status
}

// foldPod makes one pod of many: its phase is the worst, a condition holds when it holds
// everywhere, and of every container the state is that of the first copy that is not ready.
func foldPod(template *unstructured.Unstructured, present corev1.PodStatus, parts []part[corev1.PodStatus]) corev1.PodStatus {
	status := present
	reported := slices.DeleteFunc(slices.Clone(parts), func(p part[corev1.PodStatus]) bool { return len(p.Report.Status) == 0 })
	if len(reported) == 0 {
		return status
	}
	phases := make([]corev1.PodPhase, 0, len(parts))
	for _, part := range reported {
		phases = append(phases, part.status.Phase)
		status.StartTime = earliest(status.StartTime, part.status.StartTime)
	}
	if len(reported) < len(parts) {
		phases = append(phases, corev1.PodPending)
	}
	status.Phase = worst(phases, corev1.PodFailed, corev1.PodUnknown, corev1.PodPending, corev1.PodRunning, corev1.PodSucceeded)
	status.Conditions = podConditions(present.Conditions, reported, len(parts))
	if len(parts) == 1 {
		status.Reason, status.Message = reported[0].status.Reason, reported[0].status.Message
	} else {
		status.Reason, status.Message = "", ""
	}
	status.ContainerStatuses = containerStatuses(template, present.ContainerStatuses, reported)
	return status
}

// worst returns the first of the ranked values that occurs, and the last of them when none does.
func worst[P comparable](values []P, ranked ...P) P {
	for _, candidate := range ranked {
		if slices.Contains(values, candidate) {
			return candidate
		}
	}
	return ranked[len(ranked)-1]
}

func podConditions(present []corev1.PodCondition, reported []part[corev1.PodStatus], wanted int) []corev1.PodCondition {
	var conditions []corev1.PodCondition
	for _, conditionType := range []corev1.PodConditionType{corev1.PodScheduled, corev1.PodInitialized, corev1.ContainersReady, corev1.PodReady} {
		derived := corev1.PodCondition{Type: conditionType, Status: corev1.ConditionTrue}
		found := 0
		for _, part := range reported {
			i := slices.IndexFunc(part.status.Conditions, func(c corev1.PodCondition) bool { return c.Type == conditionType })
			if i < 0 {
				continue
			}
			found++
			condition := part.status.Conditions[i]
			if condition.Status != corev1.ConditionTrue && derived.Status == corev1.ConditionTrue {
				derived.Status = corev1.ConditionFalse
				derived.Reason = condition.Reason
				derived.Message = part.Cluster + ": " + condition.Message
			}
			derived.LastTransitionTime = later(derived.LastTransitionTime, condition.LastTransitionTime)
		}
		if found == 0 {
			continue
		}
		if found < wanted {
			derived.Status = corev1.ConditionFalse
		}
		if i := slices.IndexFunc(present, func(c corev1.PodCondition) bool { return c.Type == conditionType }); i >= 0 && present[i].Status == derived.Status {
			derived.LastTransitionTime = present[i].LastTransitionTime
		}
		conditions = append(conditions, derived)
	}
	return conditions
}

func containerStatuses(template *unstructured.Unstructured, present []corev1.ContainerStatus, reported []part[corev1.PodStatus]) []corev1.ContainerStatus {
	var merged []corev1.ContainerStatus
	for _, container := range listAt(template.Object, "spec", "containers") {
		fields, _ := container.(map[string]any)
		name := textAt(fields, "name")
		restarts := cmp.Or(textAt(fields, "restartPolicy"), textAt(template.Object, "spec", "restartPolicy"), string(corev1.RestartPolicyAlways))
		mayRestart := restarts == string(corev1.RestartPolicyAlways) && len(listAt(fields, "restartPolicyRules")) == 0
		named := func(c corev1.ContainerStatus) bool { return c.Name == name }
		// The API server refuses that a container which must not start again is anything but ended.
		if i := slices.IndexFunc(present, named); i >= 0 && !mayRestart && present[i].State.Terminated != nil {
			merged = append(merged, present[i])
			continue
		}
		var status *corev1.ContainerStatus
		for _, part := range reported {
			i := slices.IndexFunc(part.status.ContainerStatuses, named)
			if i < 0 {
				continue
			}
			copied := part.status.ContainerStatuses[i]
			if status == nil {
				status = essentials(copied)
				continue
			}
			add(&status.RestartCount, copied.RestartCount)
			if status.Ready && !copied.Ready {
				restarts := status.RestartCount
				status = essentials(copied)
				status.RestartCount = restarts
			}
		}
		if status != nil {
			merged = append(merged, *status)
		}
	}
	return merged
}

// essentials leaves out what only has meaning on the node that runs the container.
func essentials(c corev1.ContainerStatus) *corev1.ContainerStatus {
	kept := &corev1.ContainerStatus{
		Name: c.Name, State: c.State, LastTerminationState: c.LastTerminationState, Ready: c.Ready,
		Image: c.Image, ImageID: c.ImageID, Started: c.Started,
	}
	add(&kept.RestartCount, c.RestartCount)
	return kept
}

func foldPersistentVolume(_ *unstructured.Unstructured, present corev1.PersistentVolumeStatus, parts []part[corev1.PersistentVolumeStatus]) corev1.PersistentVolumeStatus {
	status := present
	var phases []corev1.PersistentVolumePhase
	for _, part := range parts {
		if part.status.Phase != "" {
			phases = append(phases, part.status.Phase)
		}
	}
	if len(phases) > 0 {
		status.Phase = worst(phases, corev1.VolumeFailed, corev1.VolumePending, corev1.VolumeReleased, corev1.VolumeAvailable, corev1.VolumeBound)
	}
	return status
}

func foldPersistentVolumeClaim(_ *unstructured.Unstructured, present corev1.PersistentVolumeClaimStatus, parts []part[corev1.PersistentVolumeClaimStatus]) corev1.PersistentVolumeClaimStatus {
	status := present
	phases := make([]corev1.PersistentVolumeClaimPhase, 0, len(parts))
	for _, part := range parts {
		if part.status.Phase == "" {
			part.status.Phase = corev1.ClaimPending
		}
		phases = append(phases, part.status.Phase)
	}
	if len(phases) > 0 {
		status.Phase = worst(phases, corev1.ClaimLost, corev1.ClaimPending, corev1.ClaimBound)
	}
	return status
}
