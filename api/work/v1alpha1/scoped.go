package v1alpha1

import (
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	policyv1alpha1 "windlass.dev/windlass/api/policy/v1alpha1"
)

// Binding is a PropagationBinding or a ClusterPropagationBinding: they share spec and status, and
// all code but the scheme and the stores sees them through this.
type Binding interface {
	metav1.Object
	runtime.Object
	GetSpec() *BindingSpec
	GetStatus() *BindingStatus
}

var (
	_ Binding = (*PropagationBinding)(nil)
	_ Binding = (*ClusterPropagationBinding)(nil)
)

// PlacedByHub says whether the hub's own scheduler decides where the template goes.
func (s *BindingSpec) PlacedByHub() bool {
	return s.SchedulerName == "" || s.SchedulerName == policyv1alpha1.DefaultSchedulerName
}

// Suspends says whether nothing is sent to a cluster.
func (s *BindingSuspension) Suspends(cluster string) bool {
	return s != nil && (s.Dispatching != nil && *s.Dispatching ||
		s.DispatchingOnClusters != nil && slices.Contains(s.DispatchingOnClusters.ClusterNames, cluster))
}

// Sent are the clusters that a template is sent to, of those that it goes to.
func (s *BindingSpec) Sent() []TargetCluster {
	if s.Suspension == nil {
		return s.Clusters
	}
	return slices.DeleteFunc(slices.Clone(s.Clusters), func(target TargetCluster) bool { return s.Suspension.Suspends(target.Name) })
}

// GetSpec returns the binding's spec, not a copy.
func (b *PropagationBinding) GetSpec() *BindingSpec { return &b.Spec }

// GetStatus returns the binding's status, not a copy.
func (b *PropagationBinding) GetStatus() *BindingStatus { return &b.Status }

// GetSpec returns the binding's spec, not a copy.
func (b *ClusterPropagationBinding) GetSpec() *BindingSpec { return &b.Spec }

// GetStatus returns the binding's status, not a copy.
func (b *ClusterPropagationBinding) GetStatus() *BindingStatus { return &b.Status }
