package schedule

import (
	"math"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	clusterv1alpha1 "windlass.dev/windlass/api/cluster/v1alpha1"
)

// Spare are the resources of a cluster that no pod has asked for: the processor in thousandths, everything else in
// its unit. It is immutable; nil is not known.
type Spare map[corev1.ResourceName]int64

// CompileSpare takes what is spare from a cluster's summary. It returns nil when there is none.
func CompileSpare(summary *clusterv1alpha1.ResourceSummary) Spare {
	if summary == nil {
		return nil
	}
	spare := Spare{}
	for name, quantity := range summary.Allocatable {
		left := quantity.DeepCopy()
		left.Sub(summary.Allocated[name])
		left.Sub(summary.Allocating[name])
		spare[name] = max(0, amount(name, left))
	}
	return spare
}

// For says for how many replicas, each of which needs these resources and a pod, there is room: CapacityUnknown if
// that is not known. It looks at the cluster as a whole, so a replica may fit nowhere that is counted here, when what is spare lies
// in small pieces on many nodes. These are the numbers of Karmada's general estimator.
func (s Spare) For(needs corev1.ResourceList) int32 {
	if s == nil {
		return CapacityUnknown
	}
	room := s[corev1.ResourcePods]
	for name, quantity := range needs {
		if needed := amount(name, quantity); needed > 0 {
			room = min(room, s[name]/needed)
		}
	}
	return int32(min(room, math.MaxInt32-1))
}

func amount(name corev1.ResourceName, quantity resource.Quantity) int64 {
	if name == corev1.ResourceCPU {
		return quantity.MilliValue()
	}
	return quantity.Value()
}
