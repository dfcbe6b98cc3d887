package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	policyv1alpha1 "windlass.dev/windlass/api/policy/v1alpha1"
)

// +k8s:deepcopy-gen:interfaces=k8s.io/apimachinery/pkg/runtime.Object

// PropagationWork is one template rendered for one cluster. It lies in the cluster's execution
// namespace, karmada-es-<cluster>.
type PropagationWork struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty" protobuf:"bytes,1,opt,name=metadata"`

	// spec is what the cluster shall apply.
	Spec WorkSpec `json:"spec" protobuf:"bytes,2,opt,name=spec"`

	// status is what the cluster reported.
	// +optional
	Status WorkStatus `json:"status,omitempty" protobuf:"bytes,3,opt,name=status"`
}

// +k8s:deepcopy-gen:interfaces=k8s.io/apimachinery/pkg/runtime.Object

// PropagationWorkList is a list of PropagationWorks.
type PropagationWorkList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty" protobuf:"bytes,1,opt,name=metadata"`
	// items are the works.
	Items []PropagationWork `json:"items" protobuf:"bytes,2,rep,name=items"`
}

// WorkSpec is what a cluster shall apply. The binding controller writes it.
type WorkSpec struct {
	// workload holds the manifests.
	Workload WorkloadTemplate `json:"workload" protobuf:"bytes,1,opt,name=workload"`

	// suspendDispatching true keeps changes from the cluster; its reports still count.
	// +optional
	SuspendDispatching *bool `json:"suspendDispatching,omitempty" protobuf:"varint,2,opt,name=suspendDispatching"`

	// preserveResourcesOnDeletion true keeps the objects in the member when the work is deleted.
	// +optional
	PreserveResourcesOnDeletion *bool `json:"preserveResourcesOnDeletion,omitempty" protobuf:"varint,3,opt,name=preserveResourcesOnDeletion"`

	// conflictResolution says what to do about an object that exists in the member and is not
	// managed from this hub.
	// +optional
	ConflictResolution policyv1alpha1.ConflictResolution `json:"conflictResolution,omitempty" protobuf:"bytes,4,opt,name=conflictResolution,casttype=windlass.dev/windlass/api/policy/v1alpha1.ConflictResolution"`

	// binding is the binding that the work was made for.
	// +optional
	Binding *BindingReference `json:"binding,omitempty" protobuf:"bytes,5,opt,name=binding"`

	// template is the object on the hub that the manifests were rendered from.
	// +optional
	Template *ObjectReference `json:"template,omitempty" protobuf:"bytes,6,opt,name=template"`

	// templateHash names the content of the template that the manifests were rendered from.
	// +optional
	TemplateHash string `json:"templateHash,omitempty" protobuf:"bytes,7,opt,name=templateHash"`

	// replicas is how many replicas the binding wanted in the cluster when the manifests were rendered; absent for kinds that
	// have none.
	// +optional
	Replicas *int32 `json:"replicas,omitempty" protobuf:"varint,9,opt,name=replicas"`

	// removalCause says why the work is being deleted. The hub's controllers write it with the
	// deletion; a work that somebody else deletes without one is taken for Forced.
	// +optional
	RemovalCause RemovalCause `json:"removalCause,omitempty" protobuf:"bytes,8,opt,name=removalCause,casttype=RemovalCause"`
}

// RemovalCause says why a work is deleted.
type RemovalCause string

// The causes of a removal.
const (
	// RemovalTemplateDeleted: somebody deleted the template or its namespace.
	RemovalTemplateDeleted RemovalCause = "TemplateDeleted"
	// RemovalNotSelected: the cluster is no longer in the placement.
	RemovalNotSelected RemovalCause = "NotSelected"
	// RemovalClusterRemoved: the cluster leaves the hub.
	RemovalClusterRemoved RemovalCause = "ClusterRemoved"
	// RemovalForced: an administrator deleted the work or its binding.
	RemovalForced RemovalCause = "Forced"
)

// GrowsInto says whether a work that is being deleted for this cause may get the other one: a cause
// that somebody asked for takes the place of one that followed from something else, and never the
// other way round. No cause at all is that of a work that somebody deleted by hand.
func (c RemovalCause) GrowsInto(other RemovalCause) bool {
	askedFor := other == RemovalTemplateDeleted || other == RemovalClusterRemoved
	return other != c && (c == "" && other != RemovalNotSelected || askedFor && c != RemovalTemplateDeleted)
}

// BindingReference names the binding of a work.
type BindingReference struct {
	// kind is PropagationBinding or ClusterPropagationBinding.
	Kind string `json:"kind" protobuf:"bytes,1,opt,name=kind"`

	// namespace of the binding.
	// +optional
	Namespace string `json:"namespace,omitempty" protobuf:"bytes,2,opt,name=namespace"`

	// name of the binding.
	Name string `json:"name" protobuf:"bytes,3,opt,name=name"`
}

// WorkloadTemplate holds manifests.
type WorkloadTemplate struct {
	// manifests are whole objects, as JSON.
	// +optional
	// +listType=atomic
	Manifests []runtime.RawExtension `json:"manifests,omitempty" protobuf:"bytes,1,rep,name=manifests"`
}

// WorkStatus is what a cluster reported of a work. The link writes it.
type WorkStatus struct {
	// conditions: Applied (the member has the present content), Available (it is healthy),
	// Dispatching (changes are sent).
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty" protobuf:"bytes,1,rep,name=conditions"`

	// manifestStatuses are the states of the objects, in the order of the manifests.
	// +optional
	// +listType=atomic
	ManifestStatuses []ManifestStatus `json:"manifestStatuses,omitempty" protobuf:"bytes,2,rep,name=manifestStatuses"`

	// delivery says how far which generation of the work has come.
	// +optional
	Delivery Delivery `json:"delivery,omitempty" protobuf:"bytes,3,opt,name=delivery"`
}

// Delivery are the milestones of a work on its way into the cluster.
type Delivery struct {
	// sent is the last generation that the hub sent.
	// +optional
	Sent *Milestone `json:"sent,omitempty" protobuf:"bytes,1,opt,name=sent"`

	// received is the last generation that the agent took in.
	// +optional
	Received *Milestone `json:"received,omitempty" protobuf:"bytes,2,opt,name=received"`

	// applied is the last generation that the member's API server accepted.
	// +optional
	Applied *Milestone `json:"applied,omitempty" protobuf:"bytes,3,opt,name=applied"`

	// healthy is the last generation that was healthy in the member.
	// +optional
	Healthy *Milestone `json:"healthy,omitempty" protobuf:"bytes,4,opt,name=healthy"`

	// epoch is the session in which the last report came.
	// +optional
	Epoch int64 `json:"epoch,omitempty" protobuf:"varint,5,opt,name=epoch"`
}

// Milestone is a generation and when it was reached.
type Milestone struct {
	// generation of the work.
	Generation int64 `json:"generation" protobuf:"varint,1,opt,name=generation"`

	// time at which it was reached, by the clock of the side that reached it.
	Time metav1.MicroTime `json:"time" protobuf:"bytes,2,opt,name=time"`
}

// ManifestStatus is the state of one object in the member.
type ManifestStatus struct {
	// identifier names the object.
	Identifier ResourceIdentifier `json:"identifier" protobuf:"bytes,1,opt,name=identifier"`

	// status is the part of the object's status that the hub keeps.
	// +optional
	// +kubebuilder:pruning:PreserveUnknownFields
	Status *runtime.RawExtension `json:"status,omitempty" protobuf:"bytes,2,opt,name=status"`

	// observed is true when the member's controllers have seen the applied content.
	// +optional
	Observed bool `json:"observed,omitempty" protobuf:"varint,3,opt,name=observed"`

	// health is Healthy, Unhealthy or Unknown.
	// +optional
	Health ResourceHealth `json:"health,omitempty" protobuf:"bytes,4,opt,name=health,casttype=ResourceHealth"`
}

// ResourceIdentifier names an object in the member.
type ResourceIdentifier struct {
	// ordinal is the place of its manifest in the work.
	Ordinal int32 `json:"ordinal" protobuf:"varint,1,opt,name=ordinal"`

	// group of the object.
	// +optional
	Group string `json:"group,omitempty" protobuf:"bytes,2,opt,name=group"`

	// version of the object.
	Version string `json:"version" protobuf:"bytes,3,opt,name=version"`

	// kind of the object.
	Kind string `json:"kind" protobuf:"bytes,4,opt,name=kind"`

	// resource is the plural name of the kind.
	// +optional
	Resource string `json:"resource,omitempty" protobuf:"bytes,5,opt,name=resource"`

	// namespace of the object.
	// +optional
	Namespace string `json:"namespace,omitempty" protobuf:"bytes,6,opt,name=namespace"`

	// name of the object.
	Name string `json:"name" protobuf:"bytes,7,opt,name=name"`
}

// Condition types of a work.
const (
	// WorkApplied is True when the member has the present content.
	WorkApplied = "Applied"
	// WorkAvailable is True when the objects are healthy in the member.
	WorkAvailable = "Available"
	// WorkDispatching is False when sending is suspended.
	WorkDispatching = "Dispatching"
)

// MaxWorkBytes bounds the manifests of a work, so that it fits into the store and a message.
const MaxWorkBytes = 1 << 20

// MaxWorkManifests bounds how many manifests a work has, so that its status, which names each of
// them, fits into the store beside them.
const MaxWorkManifests = 500
