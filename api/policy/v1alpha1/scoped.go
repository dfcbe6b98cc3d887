package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// Policy is a PropagationPolicy or a ClusterPropagationPolicy: they share spec and status, and all
// code but the scheme and the stores sees them through this. A policy without a namespace is
// cluster-scoped.
type Policy interface {
	metav1.Object
	runtime.Object
	GetSpec() *PropagationSpec
	GetStatus() *PropagationStatus
}

var (
	_ Policy = (*PropagationPolicy)(nil)
	_ Policy = (*ClusterPropagationPolicy)(nil)
)

// GetSpec returns the policy's spec, not a copy.
func (p *PropagationPolicy) GetSpec() *PropagationSpec { return &p.Spec }

// GetStatus returns the policy's status, not a copy.
func (p *PropagationPolicy) GetStatus() *PropagationStatus { return &p.Status }

// GetSpec returns the policy's spec, not a copy.
func (p *ClusterPropagationPolicy) GetSpec() *PropagationSpec { return &p.Spec }

// GetStatus returns the policy's status, not a copy.
func (p *ClusterPropagationPolicy) GetStatus() *PropagationStatus { return &p.Status }

// Override is an OverridePolicy or a ClusterOverridePolicy, as Policy is either kind of propagation
// policy.
type Override interface {
	metav1.Object
	runtime.Object
	GetSpec() *OverrideSpec
	GetStatus() *OverrideStatus
}

var (
	_ Override = (*OverridePolicy)(nil)
	_ Override = (*ClusterOverridePolicy)(nil)
)

// GetSpec returns the policy's spec, not a copy.
func (p *OverridePolicy) GetSpec() *OverrideSpec { return &p.Spec }

// GetStatus returns the policy's status, not a copy.
func (p *OverridePolicy) GetStatus() *OverrideStatus { return &p.Status }

// GetSpec returns the policy's spec, not a copy.
func (p *ClusterOverridePolicy) GetSpec() *OverrideSpec { return &p.Spec }

// GetStatus returns the policy's status, not a copy.
func (p *ClusterOverridePolicy) GetStatus() *OverrideStatus { return &p.Status }
