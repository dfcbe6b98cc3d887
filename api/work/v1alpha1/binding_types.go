package v1alpha1

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	policyv1alpha1 "windlass.dev/windlass/api/policy/v1alpha1"
)

// +k8s:deepcopy-gen:interfaces=k8s.io/apimachinery/pkg/runtime.Object

// PropagationBinding is one namespaced template and the clusters that it goes to.
type PropagationBinding struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty" protobuf:"bytes,1,opt,name=metadata"`

	// spec is what is wanted.
	Spec BindingSpec `json:"spec" protobuf:"bytes,2,opt,name=spec"`

	// status is what is the case.
	// +optional
	Status BindingStatus `json:"status,omitempty" protobuf:"bytes,3,opt,name=status"`
}

// +k8s:deepcopy-gen:interfaces=k8s.io/apimachinery/pkg/runtime.Object

// PropagationBindingList is a list of PropagationBindings.
type PropagationBindingList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty" protobuf:"bytes,1,opt,name=metadata"`
	// items are the bindings.
	Items []PropagationBinding `json:"items" protobuf:"bytes,2,rep,name=items"`
}

// +k8s:deepcopy-gen:interfaces=k8s.io/apimachinery/pkg/runtime.Object

// ClusterPropagationBinding is one cluster-scoped template and the clusters that it goes to.
type ClusterPropagationBinding struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty" protobuf:"bytes,1,opt,name=metadata"`

	// spec is what is wanted.
	Spec BindingSpec `json:"spec" protobuf:"bytes,2,opt,name=spec"`

	// status is what is the case.
	// +optional
	Status BindingStatus `json:"status,omitempty" protobuf:"bytes,3,opt,name=status"`
}

// +k8s:deepcopy-gen:interfaces=k8s.io/apimachinery/pkg/runtime.Object

// ClusterPropagationBindingList is a list of ClusterPropagationBindings.
type ClusterPropagationBindingList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty" protobuf:"bytes,1,opt,name=metadata"`
	// items are the bindings.
	Items []ClusterPropagationBinding `json:"items" protobuf:"bytes,2,rep,name=items"`
}

// BindingSpec is what is wanted of one template. The policy controller writes all of it but
// clusters, which the scheduler writes.
type BindingSpec struct {
	// resource is the template.
	Resource ObjectReference `json:"resource" protobuf:"bytes,1,opt,name=resource"`

	// propagateDeps sends what the template refers to along with it. Not supported yet: true is
	// refused.
	// +optional
	PropagateDeps bool `json:"propagateDeps,omitempty" protobuf:"varint,2,opt,name=propagateDeps"`

	// replicas is the number of replicas that the template asks for; absent for kinds that have
	// none.
	// +optional
	Replicas *int32 `json:"replicas,omitempty" protobuf:"varint,3,opt,name=replicas"`

	// replicaRequirements is what one replica needs.
	// +optional
	ReplicaRequirements *ReplicaRequirements `json:"replicaRequirements,omitempty" protobuf:"bytes,4,opt,name=replicaRequirements"`

	// components are the parts of a workload that has several kinds of pods. Not supported yet:
	// refused.
	// +optional
	Components []Component `json:"components,omitempty" protobuf:"bytes,5,rep,name=components"`

	// clusters are where the template goes, and with how many replicas. The scheduler writes it.
	// +optional
	Clusters []TargetCluster `json:"clusters,omitempty" protobuf:"bytes,6,rep,name=clusters"`

	// placement is the policy's.
	// +optional
	Placement *policyv1alpha1.Placement `json:"placement,omitempty" protobuf:"bytes,7,opt,name=placement"`

	// gracefulEvictionTasks are the clusters that the template is leaving, because of a taint NoExecute or because the
	// hub has moved it. What is there stays until the template runs elsewhere. The scheduler writes the latter, the
	// eviction controller all others, and the end of all.
	// +optional
	GracefulEvictionTasks []GracefulEvictionTask `json:"gracefulEvictionTasks,omitempty" protobuf:"bytes,8,rep,name=gracefulEvictionTasks"`

	// requiredBy are the bindings whose templates refer to this one. Not supported yet: refused.
	// +optional
	RequiredBy []BindingSnapshot `json:"requiredBy,omitempty" protobuf:"bytes,9,rep,name=requiredBy"`

	// schedulerName is the scheduler that writes clusters, the condition Scheduled and
	// status.schedulerObservedGeneration; default-scheduler is the hub's own.
	// +optional
	SchedulerName string `json:"schedulerName,omitempty" protobuf:"bytes,10,opt,name=schedulerName"`

	// failover is the policy's. Not supported yet: refused.
	// +optional
	Failover *policyv1alpha1.FailoverBehavior `json:"failover,omitempty" protobuf:"bytes,11,opt,name=failover"`

	// conflictResolution is the policy's.
	// +optional
	ConflictResolution policyv1alpha1.ConflictResolution `json:"conflictResolution,omitempty" protobuf:"bytes,12,opt,name=conflictResolution,casttype=windlass.dev/windlass/api/policy/v1alpha1.ConflictResolution"`

	// rescheduleTriggeredAt asks the scheduler to place the template as if it was new, when it is later
	// than status.lastScheduledTime: from the first affinity group, with all replicas divided once
	// more. A WorkloadRebalancer writes it.
	// +optional
	RescheduleTriggeredAt *metav1.Time `json:"rescheduleTriggeredAt,omitempty" protobuf:"bytes,13,opt,name=rescheduleTriggeredAt"`

	// suspension is the policy's. It pauses the sending of changes to all or to named clusters.
	// +optional
	Suspension *BindingSuspension `json:"suspension,omitempty" protobuf:"bytes,14,opt,name=suspension"`

	// preserveResourcesOnDeletion keeps the objects in the members when the template is deleted.
	// +optional
	PreserveResourcesOnDeletion *bool `json:"preserveResourcesOnDeletion,omitempty" protobuf:"varint,15,opt,name=preserveResourcesOnDeletion"`

	// schedulePriority is the rank in the scheduler's queue.
	// +optional
	SchedulePriority *BindingSchedulePriority `json:"schedulePriority,omitempty" protobuf:"bytes,16,opt,name=schedulePriority"`

	// workloadAffinityGroups are the groups of workloads that the template is in, as label=value.
	// +optional
	WorkloadAffinityGroups *WorkloadAffinityGroups `json:"workloadAffinityGroups,omitempty" protobuf:"bytes,17,opt,name=workloadAffinityGroups"`
}

// ObjectReference names a template.
type ObjectReference struct {
	// apiVersion of the template.
	APIVersion string `json:"apiVersion" protobuf:"bytes,1,opt,name=apiVersion"`

	// kind of the template.
	Kind string `json:"kind" protobuf:"bytes,2,opt,name=kind"`

	// namespace of the template.
	// +optional
	Namespace string `json:"namespace,omitempty" protobuf:"bytes,3,opt,name=namespace"`

	// name of the template.
	Name string `json:"name" protobuf:"bytes,4,opt,name=name"`

	// uid of the template.
	// +optional
	UID types.UID `json:"uid,omitempty" protobuf:"bytes,5,opt,name=uid,casttype=k8s.io/apimachinery/pkg/types.UID"`

	// resourceVersion of the template when the binding was last written.
	// +optional
	ResourceVersion string `json:"resourceVersion,omitempty" protobuf:"bytes,6,opt,name=resourceVersion"`
}

// ReplicaRequirements is what one replica needs of a cluster.
type ReplicaRequirements struct {
	// nodeClaim is what it needs of a node.
	// +optional
	NodeClaim *NodeClaim `json:"nodeClaim,omitempty" protobuf:"bytes,1,opt,name=nodeClaim"`

	// resourceRequest are the resources of one replica.
	// +optional
	ResourceRequest corev1.ResourceList `json:"resourceRequest,omitempty" protobuf:"bytes,2,rep,name=resourceRequest,casttype=k8s.io/api/core/v1.ResourceList,castkey=k8s.io/api/core/v1.ResourceName"`

	// namespace of the template.
	// +optional
	Namespace string `json:"namespace,omitempty" protobuf:"bytes,3,opt,name=namespace"`

	// priorityClassName of the replica's pods.
	// +optional
	PriorityClassName string `json:"priorityClassName,omitempty" protobuf:"bytes,4,opt,name=priorityClassName"`
}

// NodeClaim is what a replica needs of a node.
type NodeClaim struct {
	// hardNodeAffinity is the required part of the pods' node affinity.
	// +optional
	HardNodeAffinity *corev1.NodeSelector `json:"hardNodeAffinity,omitempty" protobuf:"bytes,1,opt,name=hardNodeAffinity"`

	// nodeSelector of the pods.
	// +optional
	NodeSelector map[string]string `json:"nodeSelector,omitempty" protobuf:"bytes,2,rep,name=nodeSelector"`

	// tolerations of the pods.
	// +optional
	Tolerations []corev1.Toleration `json:"tolerations,omitempty" protobuf:"bytes,3,rep,name=tolerations"`
}

// Component is a part of a workload that has several kinds of pods.
type Component struct {
	// name of the component.
	Name string `json:"name" protobuf:"bytes,1,opt,name=name"`

	// replicas of the component.
	Replicas int32 `json:"replicas" protobuf:"varint,2,opt,name=replicas"`

	// replicaRequirements is what one replica of it needs.
	// +optional
	ReplicaRequirements *ReplicaRequirements `json:"replicaRequirements,omitempty" protobuf:"bytes,3,opt,name=replicaRequirements"`
}

// TargetCluster is a cluster that the template goes to.
type TargetCluster struct {
	// name of the cluster.
	Name string `json:"name" protobuf:"bytes,1,opt,name=name"`

	// replicas in that cluster; absent for kinds that have none.
	// +optional
	Replicas int32 `json:"replicas,omitempty" protobuf:"varint,2,opt,name=replicas"`

	// components with their replicas in that cluster. Not supported yet: refused.
	// +optional
	Components []TargetComponent `json:"components,omitempty" protobuf:"bytes,3,rep,name=components"`
}

// TargetComponent is a component in a cluster.
type TargetComponent struct {
	// name of the component.
	Name string `json:"name" protobuf:"bytes,1,opt,name=name"`

	// replicas of the component in the cluster.
	Replicas int32 `json:"replicas" protobuf:"varint,2,opt,name=replicas"`
}

// GracefulEvictionTask is a cluster that the template is leaving.
type GracefulEvictionTask struct {
	// fromCluster is the cluster.
	FromCluster string `json:"fromCluster" protobuf:"bytes,1,opt,name=fromCluster"`

	// purgeMode says how the copy there is removed.
	// +optional
	PurgeMode policyv1alpha1.PurgeMode `json:"purgeMode,omitempty" protobuf:"bytes,2,opt,name=purgeMode,casttype=windlass.dev/windlass/api/policy/v1alpha1.PurgeMode"`

	// replicas that were there; fewer when the template was scaled down since.
	// +optional
	Replicas *int32 `json:"replicas,omitempty" protobuf:"varint,3,opt,name=replicas"`

	// reason is a word for machines.
	Reason string `json:"reason" protobuf:"bytes,4,opt,name=reason"`

	// message is a sentence for people.
	// +optional
	Message string `json:"message,omitempty" protobuf:"bytes,5,opt,name=message"`

	// producer is the controller that made the task.
	Producer string `json:"producer" protobuf:"bytes,6,opt,name=producer"`

	// gracePeriodSeconds bounds the wait for the new copies. Not supported yet: refused.
	// +optional
	GracePeriodSeconds *int32 `json:"gracePeriodSeconds,omitempty" protobuf:"varint,7,opt,name=gracePeriodSeconds"`

	// suppressDeletion holds the task until somebody decides. Not supported yet: refused.
	// +optional
	SuppressDeletion *bool `json:"suppressDeletion,omitempty" protobuf:"varint,8,opt,name=suppressDeletion"`

	// preservedLabelState are labels for the new copies. Not supported yet: refused.
	// +optional
	PreservedLabelState map[string]string `json:"preservedLabelState,omitempty" protobuf:"bytes,9,rep,name=preservedLabelState"`

	// creationTimestamp is when the task was made.
	// +optional
	CreationTimestamp *metav1.Time `json:"creationTimestamp,omitempty" protobuf:"bytes,10,opt,name=creationTimestamp"`

	// clustersBeforeFailover are the clusters before the task was made. Not supported yet: refused.
	// +optional
	ClustersBeforeFailover []string `json:"clustersBeforeFailover,omitempty" protobuf:"bytes,11,rep,name=clustersBeforeFailover"`
}

// BindingSnapshot is another binding and its clusters.
type BindingSnapshot struct {
	// namespace of the binding.
	// +optional
	Namespace string `json:"namespace,omitempty" protobuf:"bytes,1,opt,name=namespace"`

	// name of the binding.
	Name string `json:"name" protobuf:"bytes,2,opt,name=name"`

	// clusters of the binding.
	// +optional
	Clusters []TargetCluster `json:"clusters,omitempty" protobuf:"bytes,3,rep,name=clusters"`
}

// BindingSuspension pauses a binding.
type BindingSuspension struct {
	policyv1alpha1.Suspension `json:",inline" protobuf:"bytes,1,opt,name=suspension"`

	// scheduling true keeps the scheduler from placing the binding. Not supported yet: true is refused.
	// +optional
	Scheduling *bool `json:"scheduling,omitempty" protobuf:"varint,2,opt,name=scheduling"`
}

// BindingSchedulePriority is a rank in the scheduler's queue.
type BindingSchedulePriority struct {
	// priority is higher for what is scheduled first.
	Priority int32 `json:"priority" protobuf:"varint,1,opt,name=priority"`
}

// WorkloadAffinityGroups are the groups of a workload.
type WorkloadAffinityGroups struct {
	// affinityGroup is the group to be near to.
	// +optional
	AffinityGroup string `json:"affinityGroup,omitempty" protobuf:"bytes,1,opt,name=affinityGroup"`

	// antiAffinityGroup is the group to be far from.
	// +optional
	AntiAffinityGroup string `json:"antiAffinityGroup,omitempty" protobuf:"bytes,2,opt,name=antiAffinityGroup"`
}

// BindingStatus is what is the case with one template. The scheduler writes the fields that bear
// its name and the Scheduled condition; the status controller writes the rest.
type BindingStatus struct {
	// schedulerObservedGeneration is the generation that the scheduler last decided on.
	// +optional
	SchedulerObservedGeneration int64 `json:"schedulerObservedGeneration,omitempty" protobuf:"varint,1,opt,name=schedulerObservedGeneration"`

	// schedulerObservingAffinityName is the affinity group in use.
	// +optional
	SchedulerObservingAffinityName string `json:"schedulerObservingAffinityName,omitempty" protobuf:"bytes,2,opt,name=schedulerObservingAffinityName"`

	// lastScheduledTime is when the scheduler last decided. While it finds no place for what
	// rescheduleTriggeredAt asks for, it stays before that.
	// +optional
	LastScheduledTime *metav1.Time `json:"lastScheduledTime,omitempty" protobuf:"bytes,3,opt,name=lastScheduledTime"`

	// conditions: Scheduled (clusters were found), Rendered (works are written for all of them),
	// FullyApplied (all of them have applied the present content).
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty" protobuf:"bytes,4,rep,name=conditions"`

	// summary counts clusters. It is always complete.
	// +optional
	Summary ClusterSummary `json:"summary,omitempty" protobuf:"bytes,5,opt,name=summary"`

	// aggregatedStatus is what each cluster reports. Up to 100 clusters it lists all of them;
	// above, those that are not fine. The works have the rest.
	// +optional
	// +listType=map
	// +listMapKey=clusterName
	AggregatedStatus []AggregatedStatusItem `json:"aggregatedStatus,omitempty" protobuf:"bytes,6,rep,name=aggregatedStatus"`
}

// ClusterSummary counts the clusters of a binding.
type ClusterSummary struct {
	// clusters that the template goes to.
	// +optional
	Clusters int32 `json:"clusters,omitempty" protobuf:"varint,1,opt,name=clusters"`

	// applied is how many have applied the present content.
	// +optional
	Applied int32 `json:"applied,omitempty" protobuf:"varint,2,opt,name=applied"`

	// healthy is how many report it healthy.
	// +optional
	Healthy int32 `json:"healthy,omitempty" protobuf:"varint,3,opt,name=healthy"`

	// unhealthy is how many report it unhealthy.
	// +optional
	Unhealthy int32 `json:"unhealthy,omitempty" protobuf:"varint,4,opt,name=unhealthy"`

	// failed is how many could not apply it.
	// +optional
	Failed int32 `json:"failed,omitempty" protobuf:"varint,5,opt,name=failed"`
}

// AggregatedStatusItem is what one cluster reports.
type AggregatedStatusItem struct {
	// clusterName is the cluster.
	ClusterName string `json:"clusterName" protobuf:"bytes,1,opt,name=clusterName"`

	// status is the part of the object's status that the hub keeps.
	// +optional
	// +kubebuilder:pruning:PreserveUnknownFields
	Status *runtime.RawExtension `json:"status,omitempty" protobuf:"bytes,2,opt,name=status"`

	// applied is true when the cluster has applied the present content.
	// +optional
	Applied bool `json:"applied,omitempty" protobuf:"varint,3,opt,name=applied"`

	// appliedMessage says why it is not applied.
	// +optional
	AppliedMessage string `json:"appliedMessage,omitempty" protobuf:"bytes,4,opt,name=appliedMessage"`

	// health is Healthy, Unhealthy or Unknown.
	// +optional
	Health ResourceHealth `json:"health,omitempty" protobuf:"bytes,5,opt,name=health,casttype=ResourceHealth"`
}

// ResourceHealth is the health of an object in a member.
type ResourceHealth string

// The healths of an object.
const (
	ResourceHealthy   ResourceHealth = "Healthy"
	ResourceUnhealthy ResourceHealth = "Unhealthy"
	ResourceUnknown   ResourceHealth = "Unknown"
)

// Condition types of a binding.
const (
	// BindingScheduled is True when clusters were found for the binding.
	BindingScheduled = "Scheduled"
	// BindingRendered is True when works are written for all clusters of the binding. It is not there while nothing
	// else was ever to be said.
	BindingRendered = "Rendered"
	// BindingFullyApplied is True when all clusters have applied the present content.
	BindingFullyApplied = "FullyApplied"
)

// ScheduledByAnother is the reason of a binding's condition Scheduled when it is False because spec.schedulerName is
// not the hub's own scheduler, and the other one has not said anything yet.
const ScheduledByAnother = "OtherScheduler"

// RenderedWithoutEffect is the reason of a binding's condition Rendered when it is True, but something that is written for
// the works means nothing and has no effect: most likely it is misspelt. The message says what.
const RenderedWithoutEffect = "WithoutEffect"

// ScheduledClustersLeftOut is the reason of a binding's condition Scheduled when it is True, but a part of
// the placement has no effect: it names a cluster that does not exist, which mostly is a slip of the pen, or one that
// can't have the template at present, or selects one that gets nothing because no static weight does. The message names
// them. When nothing is left out the reason is Success.
const ScheduledClustersLeftOut = "ClustersLeftOut"

// ScheduledSpreadNotMet is the reason of a binding's condition Scheduled when it is True, but the clusters that got replicas are
// fewer, or in fewer groups, than the placement's spreadConstraints ask for: others were chosen as well, and their share was
// no replica. The message says which constraints.
const ScheduledSpreadNotMet = "SpreadNotMet"

// ScheduledNowhereElse is the reason of a binding's condition Scheduled when it is True, but only because the template
// goes on in clusters that it has to leave: their taints NoExecute are not tolerated, and no other cluster fits.
const ScheduledNowhereElse = "NowhereElse"

// ScheduledWaitingForAgent is the reason of a binding's condition Scheduled when it is False because where the template goes depends on
// the room of clusters whose agents are on their way back to a hub that has just begun: it is decided when they are there, and after
// a few seconds without them. What has a place stays there meanwhile, and keeps the condition that it had.
const ScheduledWaitingForAgent = "WaitingForAgent"

// MaxAggregatedStatus bounds the full per-cluster list in a binding's status.
const MaxAggregatedStatus = 100
