package interpret

import (
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

func foldPodDisruptionBudget(template *unstructured.Unstructured, present policyv1.PodDisruptionBudgetStatus, parts []part[policyv1.PodDisruptionBudgetStatus]) policyv1.PodDisruptionBudgetStatus {
	status := present
	status.CurrentHealthy, status.DesiredHealthy, status.ExpectedPods, status.DisruptionsAllowed = 0, 0, 0, 0
	for _, part := range parts {
		add(&status.CurrentHealthy, part.status.CurrentHealthy)
		add(&status.DesiredHealthy, part.status.DesiredHealthy)
		add(&status.ExpectedPods, part.status.ExpectedPods)
		add(&status.DisruptionsAllowed, part.status.DisruptionsAllowed)
	}
	status.ObservedGeneration = observedGeneration(template, present.ObservedGeneration, parts)
	return status
}

// An autoscaler's status has another form in each version of its API.
var (
	foldAutoscalerV1 = folding(func(_ *unstructured.Unstructured, present autoscalingv1.HorizontalPodAutoscalerStatus, parts []part[autoscalingv1.HorizontalPodAutoscalerStatus]) autoscalingv1.HorizontalPodAutoscalerStatus {
		status := present
		status.CurrentReplicas, status.DesiredReplicas = 0, 0
		for _, part := range parts {
			add(&status.CurrentReplicas, part.status.CurrentReplicas)
			add(&status.DesiredReplicas, part.status.DesiredReplicas)
			status.LastScaleTime = latest(status.LastScaleTime, part.status.LastScaleTime)
		}
		return status
	})
	foldAutoscalerV2 = folding(func(_ *unstructured.Unstructured, present autoscalingv2.HorizontalPodAutoscalerStatus, parts []part[autoscalingv2.HorizontalPodAutoscalerStatus]) autoscalingv2.HorizontalPodAutoscalerStatus {
		status := present
		status.CurrentReplicas, status.DesiredReplicas = 0, 0
		for _, part := range parts {
			add(&status.CurrentReplicas, part.status.CurrentReplicas)
			add(&status.DesiredReplicas, part.status.DesiredReplicas)
			status.LastScaleTime = latest(status.LastScaleTime, part.status.LastScaleTime)
		}
		return status
	})
)

func foldAnyAutoscaler(template *unstructured.Unstructured, reports []Report) (map[string]any, bool, bool) {
	if template.GroupVersionKind().Version == "v1" {
		return foldAutoscalerV1(template, reports)
	}
	return foldAutoscalerV2(template, reports)
}
