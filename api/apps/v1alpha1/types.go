package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// +k8s:deepcopy-gen:interfaces=k8s.io/apimachinery/pkg/runtime.Object

// WorkloadRebalancer asks once to place templates anew, as if they had no place yet. It is carried out when it is
// created, and for workloads that are added later when they are.
type WorkloadRebalancer struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty" protobuf:"bytes,1,opt,name=metadata"`

	// spec names the templates.
	Spec WorkloadRebalancerSpec `json:"spec" protobuf:"bytes,2,opt,name=spec"`

	// status says what became of it.
	// +optional
	Status WorkloadRebalancerStatus `json:"status,omitempty" protobuf:"bytes,3,opt,name=status"`
}

// +k8s:deepcopy-gen:interfaces=k8s.io/apimachinery/pkg/runtime.Object

// WorkloadRebalancerList is a list of WorkloadRebalancers.
type WorkloadRebalancerList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty" protobuf:"bytes,1,opt,name=metadata"`
	// items are the rebalancers.
	Items []WorkloadRebalancer `json:"items" protobuf:"bytes,2,rep,name=items"`
}

// WorkloadRebalancerSpec names templates to place anew.
type WorkloadRebalancerSpec struct {
	// workloads are the templates. At least one is required, and no more than 1,000 are taken.
	// +listType=atomic
	Workloads []ObjectReference `json:"workloads" protobuf:"bytes,1,rep,name=workloads"`

	// ttlSecondsAfterFinished is after how many seconds this object is deleted once it is finished; without it, never.
	// +optional
	TTLSecondsAfterFinished *int32 `json:"ttlSecondsAfterFinished,omitempty" protobuf:"varint,2,opt,name=ttlSecondsAfterFinished"`
}

// ObjectReference names a template.
type ObjectReference struct {
	// apiVersion of the template.
	APIVersion string `json:"apiVersion" protobuf:"bytes,1,opt,name=apiVersion"`

	// kind of the template.
	Kind string `json:"kind" protobuf:"bytes,2,opt,name=kind"`

	// name of the template.
	Name string `json:"name" protobuf:"bytes,3,opt,name=name"`

	// namespace of the template; empty for kinds without.
	// +optional
	Namespace string `json:"namespace,omitempty" protobuf:"bytes,4,opt,name=namespace"`
}

// WorkloadRebalancerStatus says what became of a rebalancer.
type WorkloadRebalancerStatus struct {
	// observedWorkloads has an entry for each workload that was looked at, in the order of the spec.
	// +optional
	// +listType=atomic
	ObservedWorkloads []ObservedWorkload `json:"observedWorkloads,omitempty" protobuf:"bytes,1,rep,name=observedWorkloads"`

	// observedGeneration is the generation of the spec that this status is about.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty" protobuf:"varint,2,opt,name=observedGeneration"`

	// finishTime is when every workload had a result.
	// +optional
	FinishTime *metav1.Time `json:"finishTime,omitempty" protobuf:"bytes,3,opt,name=finishTime"`
}

// ObservedWorkload is what became of one workload.
type ObservedWorkload struct {
	// workload is the template.
	Workload ObjectReference `json:"workload" protobuf:"bytes,1,opt,name=workload"`

	// result is Successful when the scheduler was asked, or Failed.
	// +optional
	Result RebalanceResult `json:"result,omitempty" protobuf:"bytes,2,opt,name=result,casttype=RebalanceResult"`

	// reason is why it failed.
	// +optional
	Reason RebalanceFailedReason `json:"reason,omitempty" protobuf:"bytes,3,opt,name=reason,casttype=RebalanceFailedReason"`
}

// RebalanceResult says whether the scheduler was asked to place a workload anew.
type RebalanceResult string

// The results.
const (
	RebalanceSuccessful RebalanceResult = "Successful"
	RebalanceFailed     RebalanceResult = "Failed"
)

// RebalanceFailedReason says why the scheduler was not asked.
type RebalanceFailedReason string

// The reasons.
const (
	// RebalanceBindingNotFound: no policy has propagated the template, or it is not there.
	RebalanceBindingNotFound RebalanceFailedReason = "ReferencedBindingNotFound"
	// RebalanceBindingReleased: no policy claims the template any more, so it stays where it is.
	RebalanceBindingReleased RebalanceFailedReason = "ReferencedBindingReleased"
)

// MaxWorkloads bounds the workloads of a rebalancer, so that its status fits into the store.
const MaxWorkloads = 1000
