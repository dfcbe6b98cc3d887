package v1alpha1

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// +k8s:deepcopy-gen:interfaces=k8s.io/apimachinery/pkg/runtime.Object

// PropagationPolicy says to which member clusters the selected templates of its own namespace go,
// and how their replicas are divided among them.
type PropagationPolicy struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty" protobuf:"bytes,1,opt,name=metadata"`

	// spec is what the user wants.
	Spec PropagationSpec `json:"spec" protobuf:"bytes,2,opt,name=spec"`

	// status says what became of it.
	// +optional
	Status PropagationStatus `json:"status,omitempty" protobuf:"bytes,3,opt,name=status"`
}

// +k8s:deepcopy-gen:interfaces=k8s.io/apimachinery/pkg/runtime.Object

// PropagationPolicyList is a list of PropagationPolicies.
type PropagationPolicyList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty" protobuf:"bytes,1,opt,name=metadata"`
	// items are the policies.
	Items []PropagationPolicy `json:"items" protobuf:"bytes,2,rep,name=items"`
}

// +k8s:deepcopy-gen:interfaces=k8s.io/apimachinery/pkg/runtime.Object

// ClusterPropagationPolicy says to which member clusters the selected templates go: those of any
// namespace, and those that have none.
type ClusterPropagationPolicy struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty" protobuf:"bytes,1,opt,name=metadata"`

	// spec is what the user wants.
	Spec PropagationSpec `json:"spec" protobuf:"bytes,2,opt,name=spec"`

	// status says what became of it.
	// +optional
	Status PropagationStatus `json:"status,omitempty" protobuf:"bytes,3,opt,name=status"`
}

// +k8s:deepcopy-gen:interfaces=k8s.io/apimachinery/pkg/runtime.Object

// ClusterPropagationPolicyList is a list of ClusterPropagationPolicies.
type ClusterPropagationPolicyList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty" protobuf:"bytes,1,opt,name=metadata"`
	// items are the policies.
	Items []ClusterPropagationPolicy `json:"items" protobuf:"bytes,2,rep,name=items"`
}

// PropagationSpec is the desired behaviour of a PropagationPolicy or ClusterPropagationPolicy.
type PropagationSpec struct {
	// resourceSelectors name the templates. A template is selected when one of them matches it.
	// At least one is required.
	ResourceSelectors []ResourceSelector `json:"resourceSelectors" protobuf:"bytes,1,rep,name=resourceSelectors"`

	// association is the former name of propagateDeps. Not supported yet: true is refused.
	// +optional
	Association bool `json:"association,omitempty" protobuf:"varint,2,opt,name=association"`

	// propagateDeps sends what a workload refers to (ConfigMaps, Secrets, ServiceAccounts,
	// PersistentVolumeClaims) to the same clusters. Not supported yet: true is refused.
	// +optional
	PropagateDeps bool `json:"propagateDeps,omitempty" protobuf:"varint,3,opt,name=propagateDeps"`

	// placement chooses the clusters. Without it every cluster gets the template.
	// +optional
	Placement Placement `json:"placement,omitempty" protobuf:"bytes,4,opt,name=placement"`

	// priority decides between policies that select the same template: the higher wins. Among
	// equals a selector by name beats one by label, which beats one that selects all of a kind;
	// then the policy whose name sorts first.
	// +optional
	Priority *int32 `json:"priority,omitempty" protobuf:"varint,5,opt,name=priority"`

	// preemption says whether this policy may take over templates that another policy has claimed:
	// Always or Never (the default). With Always every selector names its template. The other policy's
	// priority must be lower; only a ClusterPropagationPolicy gives way to a PropagationPolicy of any.
	// +optional
	Preemption PreemptionBehavior `json:"preemption,omitempty" protobuf:"bytes,6,opt,name=preemption,casttype=PreemptionBehavior"`

	// dependentOverrides names override policies that must exist before this policy takes effect on new
	// and changed templates: of a PropagationPolicy OverridePolicies of its namespace, of a
	// ClusterPropagationPolicy ClusterOverridePolicies.
	// +optional
	DependentOverrides []string `json:"dependentOverrides,omitempty" protobuf:"bytes,7,rep,name=dependentOverrides"`

	// schedulerName is the scheduler that places the selected templates; "default-scheduler" is
	// the hub's own, which leaves the bindings of any other alone. It can't be changed.
	// +optional
	SchedulerName string `json:"schedulerName,omitempty" protobuf:"bytes,8,opt,name=schedulerName"`

	// failover says what happens to a workload whose cluster, or which itself, has failed.
	// +optional
	Failover *FailoverBehavior `json:"failover,omitempty" protobuf:"bytes,9,opt,name=failover"`

	// conflictResolution says what to do where a member already has an object of that name which
	// is not managed from this hub: Abort (the default) leaves it alone and reports it, Overwrite
	// takes it over.
	// +optional
	ConflictResolution ConflictResolution `json:"conflictResolution,omitempty" protobuf:"bytes,10,opt,name=conflictResolution,casttype=ConflictResolution"`

	// activationPreference Lazy makes changes of this policy wait, for each template that is
	// propagated already, until somebody changes the template itself; by default they take effect at once.
	// +optional
	ActivationPreference ActivationPreference `json:"activationPreference,omitempty" protobuf:"bytes,11,opt,name=activationPreference,casttype=ActivationPreference"`

	// suspension pauses the sending of changes to all or to named clusters: what they have stays as it
	// is and is not put right any more, and they go on reporting. Removals are carried out all the same.
	// +optional
	Suspension *Suspension `json:"suspension,omitempty" protobuf:"bytes,12,opt,name=suspension"`

	// preserveResourcesOnDeletion keeps the objects in the members when the template is deleted
	// from the hub.
	// +optional
	PreserveResourcesOnDeletion *bool `json:"preserveResourcesOnDeletion,omitempty" protobuf:"varint,13,opt,name=preserveResourcesOnDeletion"`

	// schedulePriority is the rank of the selected templates in the scheduler's queue, which counts when
	// many are placed anew at once. Templates that have no binding yet wait until the class exists.
	// +optional
	SchedulePriority *SchedulePriority `json:"schedulePriority,omitempty" protobuf:"bytes,14,opt,name=schedulePriority"`
}

// ResourceSelector names templates by kind, and by name or label.
type ResourceSelector struct {
	// apiVersion of the templates, such as apps/v1.
	APIVersion string `json:"apiVersion" protobuf:"bytes,1,opt,name=apiVersion"`

	// kind of the templates, such as Deployment.
	Kind string `json:"kind" protobuf:"bytes,2,opt,name=kind"`

	// namespace of the templates. In a PropagationPolicy it is the policy's own; in a
	// ClusterPropagationPolicy empty means every namespace.
	// +optional
	Namespace string `json:"namespace,omitempty" protobuf:"bytes,3,opt,name=namespace"`

	// name of one template. When it is set, labelSelector is ignored.
	// +optional
	Name string `json:"name,omitempty" protobuf:"bytes,4,opt,name=name"`

	// labelSelector selects templates by label. Neither a name nor a labelSelector means all of
	// that kind.
	// +optional
	LabelSelector *metav1.LabelSelector `json:"labelSelector,omitempty" protobuf:"bytes,5,opt,name=labelSelector"`
}

// PreemptionBehavior says whether a policy may take templates from another.
type PreemptionBehavior string

// The behaviours of preemption.
const (
	PreemptAlways PreemptionBehavior = "Always"
	PreemptNever  PreemptionBehavior = "Never"
)

// ConflictResolution says what to do about an object in a member that is not ours.
type ConflictResolution string

// The ways to resolve a conflict.
const (
	ConflictOverwrite ConflictResolution = "Overwrite"
	ConflictAbort     ConflictResolution = "Abort"
)

// ActivationPreference says when changes of a policy take effect.
type ActivationPreference string

// LazyActivation lets changes of a policy wait for the next change of the template.
const LazyActivation ActivationPreference = "Lazy"

// DefaultSchedulerName is the hub's own scheduler.
const DefaultSchedulerName = "default-scheduler"

// Suspension pauses the dispatching of works.
type Suspension struct {
	// dispatching true pauses it to every cluster.
	// +optional
	Dispatching *bool `json:"dispatching,omitempty" protobuf:"varint,1,opt,name=dispatching"`

	// dispatchingOnClusters pauses it to the named clusters; it can't stand beside
	// dispatching: true.
	// +optional
	DispatchingOnClusters *SuspendClusters `json:"dispatchingOnClusters,omitempty" protobuf:"bytes,2,opt,name=dispatchingOnClusters"`
}

// SuspendClusters names the clusters to which dispatching is paused.
type SuspendClusters struct {
	// clusterNames are the names of member clusters.
	// +optional
	ClusterNames []string `json:"clusterNames,omitempty" protobuf:"bytes,1,rep,name=clusterNames"`
}

// SchedulePriority names the source of a scheduling priority.
type SchedulePriority struct {
	// priorityClassSource is the kind of priority class: KubePriorityClass.
	PriorityClassSource PriorityClassSource `json:"priorityClassSource" protobuf:"bytes,1,opt,name=priorityClassSource,casttype=PriorityClassSource"`

	// priorityClassName is the name of a PriorityClass on the hub.
	PriorityClassName string `json:"priorityClassName" protobuf:"bytes,2,opt,name=priorityClassName"`
}

// PriorityClassSource is a kind of priority class.
type PriorityClassSource string

// KubePriorityClass is scheduling.k8s.io/v1 PriorityClass.
const KubePriorityClass PriorityClassSource = "KubePriorityClass"

// FailoverBehavior says what happens when an application or a cluster fails.
type FailoverBehavior struct {
	// application moves a workload that stays unhealthy in a cluster. It requires propagateDeps.
	// Not supported yet: refused.
	// +optional
	Application *ApplicationFailoverBehavior `json:"application,omitempty" protobuf:"bytes,1,opt,name=application"`

	// cluster says how a workload leaves a cluster that failed. Not supported yet: refused.
	// +optional
	Cluster *ClusterFailoverBehavior `json:"cluster,omitempty" protobuf:"bytes,2,opt,name=cluster"`
}

// ApplicationFailoverBehavior says when an unhealthy workload moves, and how.
type ApplicationFailoverBehavior struct {
	// decisionConditions must be met before the workload moves.
	DecisionConditions DecisionConditions `json:"decisionConditions" protobuf:"bytes,1,opt,name=decisionConditions"`

	// purgeMode says how the old copy is removed: Directly, Gracefully (the default) or Never.
	// +optional
	PurgeMode PurgeMode `json:"purgeMode,omitempty" protobuf:"bytes,2,opt,name=purgeMode,casttype=PurgeMode"`

	// gracePeriodSeconds bounds the wait for the new copy when purgeMode is Gracefully; 600 by
	// default.
	// +optional
	GracePeriodSeconds *int32 `json:"gracePeriodSeconds,omitempty" protobuf:"varint,3,opt,name=gracePeriodSeconds"`

	// statePreservation carries values from the old copy's status to the new one.
	// +optional
	StatePreservation *StatePreservation `json:"statePreservation,omitempty" protobuf:"bytes,4,opt,name=statePreservation"`
}

// DecisionConditions say how long a failure is borne.
type DecisionConditions struct {
	// tolerationSeconds is how long a workload may be unhealthy before it moves; 300 by default.
	// +optional
	TolerationSeconds *int32 `json:"tolerationSeconds,omitempty" protobuf:"varint,1,opt,name=tolerationSeconds"`
}

// ClusterFailoverBehavior says how a workload leaves a failed cluster.
type ClusterFailoverBehavior struct {
	// purgeMode says how the old copy is removed: Directly or Gracefully (the default).
	// +optional
	PurgeMode PurgeMode `json:"purgeMode,omitempty" protobuf:"bytes,1,opt,name=purgeMode,casttype=PurgeMode"`

	// statePreservation carries values from the old copy's status to the new one.
	// +optional
	StatePreservation *StatePreservation `json:"statePreservation,omitempty" protobuf:"bytes,2,opt,name=statePreservation"`
}

// PurgeMode says how the copy in a failed cluster is removed.
type PurgeMode string

// The modes of purging. Immediately and Graciously are the former names of Directly and Gracefully
// and mean the same.
const (
	PurgeDirectly    PurgeMode = "Directly"
	PurgeGracefully  PurgeMode = "Gracefully"
	PurgeNever       PurgeMode = "Never"
	PurgeImmediately PurgeMode = "Immediately"
	PurgeGraciously  PurgeMode = "Graciously"
)

// StatePreservation lists what a new copy inherits.
type StatePreservation struct {
	// rules are carried out in order.
	Rules []StatePreservationRule `json:"rules" protobuf:"bytes,1,rep,name=rules"`
}

// StatePreservationRule turns one value of the old copy's status into a label of the new copy.
type StatePreservationRule struct {
	// aliasLabelName is the label's key.
	AliasLabelName string `json:"aliasLabelName" protobuf:"bytes,1,opt,name=aliasLabelName"`

	// jsonPath is evaluated against the status.
	JSONPath string `json:"jsonPath" protobuf:"bytes,2,opt,name=jsonPath"`
}

// Placement chooses clusters and divides replicas among them.
type Placement struct {
	// clusterAffinity limits the clusters. Without it all are candidates.
	// +optional
	ClusterAffinity *ClusterAffinity `json:"clusterAffinity,omitempty" protobuf:"bytes,1,opt,name=clusterAffinity"`

	// clusterAffinities are groups of clusters, tried in order until one fits. A template that is
	// placed stays in its group while that fits, also when an earlier one fits again. It can't stand
	// beside clusterAffinity.
	// +optional
	ClusterAffinities []ClusterAffinityTerm `json:"clusterAffinities,omitempty" protobuf:"bytes,2,rep,name=clusterAffinities"`

	// clusterTolerations let the templates go to clusters with matching taints.
	// +optional
	ClusterTolerations []corev1.Toleration `json:"clusterTolerations,omitempty" protobuf:"bytes,3,rep,name=clusterTolerations"`

	// spreadConstraints bound how many clusters, and clusters of how many regions, zones, providers
	// or values of a label, are used. They choose nothing where replicas are divided by static
	// weights, which is when the weights choose.
	// +optional
	SpreadConstraints []SpreadConstraint `json:"spreadConstraints,omitempty" protobuf:"bytes,4,rep,name=spreadConstraints"`

	// replicaScheduling says how replicas are divided. Without it every cluster gets all of them.
	// +optional
	ReplicaScheduling *ReplicaSchedulingStrategy `json:"replicaScheduling,omitempty" protobuf:"bytes,5,opt,name=replicaScheduling"`

	// workloadAffinity puts workloads near to or far from one another.
	// +optional
	WorkloadAffinity *WorkloadAffinity `json:"workloadAffinity,omitempty" protobuf:"bytes,6,opt,name=workloadAffinity"`
}

// ClusterAffinity limits clusters. All of its parts must hold.
type ClusterAffinity struct {
	// labelSelector is matched with the labels of the MemberCluster.
	// +optional
	LabelSelector *metav1.LabelSelector `json:"labelSelector,omitempty" protobuf:"bytes,1,opt,name=labelSelector"`

	// fieldSelector is matched with provider, region and zone of the MemberCluster.
	// +optional
	FieldSelector *FieldSelector `json:"fieldSelector,omitempty" protobuf:"bytes,2,opt,name=fieldSelector"`

	// clusterNames are the only clusters allowed. Empty allows all.
	// +optional
	ClusterNames []string `json:"clusterNames,omitempty" protobuf:"bytes,3,rep,name=clusterNames"`

	// exclude are clusters that are not allowed, whatever the rest says.
	// +optional
	ExcludeClusters []string `json:"exclude,omitempty" protobuf:"bytes,4,rep,name=exclude"`
}

// FieldSelector is matched with fields of a MemberCluster.
type FieldSelector struct {
	// matchExpressions must all hold. Keys: provider, region, zone. Operators: In, NotIn.
	// +optional
	MatchExpressions []corev1.NodeSelectorRequirement `json:"matchExpressions,omitempty" protobuf:"bytes,1,rep,name=matchExpressions"`
}

// The keys of a field selector.
const (
	ProviderField = "provider"
	RegionField   = "region"
	ZoneField     = "zone"
)

// ClusterAffinityTerm is one named group of clusters.
type ClusterAffinityTerm struct {
	// affinityName is the group's name, unique in the policy.
	AffinityName string `json:"affinityName" protobuf:"bytes,1,opt,name=affinityName"`

	ClusterAffinity `json:",inline" protobuf:"bytes,2,opt,name=clusterAffinity"`

	// overflowAffinities take, in order, what the group has no room for.
	// +optional
	OverflowAffinities []OverflowAffinityTerm `json:"overflowAffinities,omitempty" protobuf:"bytes,3,rep,name=overflowAffinities"`
}

// OverflowAffinityTerm is a group of clusters for what another group has no room for.
type OverflowAffinityTerm struct {
	// affinityName is the group's name, unique in the policy.
	AffinityName string `json:"affinityName" protobuf:"bytes,1,opt,name=affinityName"`

	ClusterAffinity `json:",inline" protobuf:"bytes,2,opt,name=clusterAffinity"`
}

// SpreadConstraint bounds the number of groups that clusters are chosen from.
type SpreadConstraint struct {
	// spreadByField groups clusters by cluster, region, zone or provider.
	// +optional
	SpreadByField SpreadFieldValue `json:"spreadByField,omitempty" protobuf:"bytes,1,opt,name=spreadByField,casttype=SpreadFieldValue"`

	// spreadByLabel groups clusters by the value of this label. It can't stand beside
	// spreadByField.
	// +optional
	SpreadByLabel string `json:"spreadByLabel,omitempty" protobuf:"bytes,2,opt,name=spreadByLabel"`

	// maxGroups is the largest number of groups; 0 is no bound.
	// +optional
	MaxGroups int32 `json:"maxGroups,omitempty" protobuf:"varint,3,opt,name=maxGroups"`

	// minGroups is the smallest number of groups; 1 by default. A cluster in several zones counts
	// for each of them.
	// +optional
	MinGroups int32 `json:"minGroups,omitempty" protobuf:"varint,4,opt,name=minGroups"`
}

// SpreadFieldValue is a field of MemberCluster to spread by.
type SpreadFieldValue string

// The fields to spread by.
const (
	SpreadByFieldCluster  SpreadFieldValue = "cluster"
	SpreadByFieldRegion   SpreadFieldValue = "region"
	SpreadByFieldZone     SpreadFieldValue = "zone"
	SpreadByFieldProvider SpreadFieldValue = "provider"
)

// ReplicaSchedulingStrategy says how replicas are divided among the chosen clusters.
type ReplicaSchedulingStrategy struct {
	// replicaSchedulingType is Duplicated (every cluster gets all replicas) or Divided (the
	// default).
	// +optional
	ReplicaSchedulingType ReplicaSchedulingType `json:"replicaSchedulingType,omitempty" protobuf:"bytes,1,opt,name=replicaSchedulingType,casttype=ReplicaSchedulingType"`

	// replicaDivisionPreference is how Divided divides: Weighted (the default) or Aggregated into
	// as few clusters as have the room.
	// +optional
	ReplicaDivisionPreference ReplicaDivisionPreference `json:"replicaDivisionPreference,omitempty" protobuf:"bytes,2,opt,name=replicaDivisionPreference,casttype=ReplicaDivisionPreference"`

	// weightPreference gives the weights. Without it all clusters weigh the same.
	// +optional
	WeightPreference *ClusterPreferences `json:"weightPreference,omitempty" protobuf:"bytes,3,opt,name=weightPreference"`
}

// ReplicaSchedulingType is whether replicas are divided at all.
type ReplicaSchedulingType string

// The types of replica scheduling.
const (
	ReplicaSchedulingDuplicated ReplicaSchedulingType = "Duplicated"
	ReplicaSchedulingDivided    ReplicaSchedulingType = "Divided"
)

// ReplicaDivisionPreference is how replicas are divided.
type ReplicaDivisionPreference string

// The preferences of division.
const (
	ReplicaDivisionAggregated ReplicaDivisionPreference = "Aggregated"
	ReplicaDivisionWeighted   ReplicaDivisionPreference = "Weighted"
)

// ClusterPreferences are the weights of clusters.
type ClusterPreferences struct {
	// staticWeightList gives fixed weights. A cluster that several rules match has the largest of
	// their weights; one that none matches gets nothing.
	// +optional
	StaticWeightList []StaticClusterWeight `json:"staticWeightList,omitempty" protobuf:"bytes,1,rep,name=staticWeightList"`

	// dynamicWeight takes the weights from the clusters' state (AvailableReplicas: for how many
	// replicas more they have room) and wins over staticWeightList.
	// +optional
	DynamicWeight DynamicWeightFactor `json:"dynamicWeight,omitempty" protobuf:"bytes,2,opt,name=dynamicWeight,casttype=DynamicWeightFactor"`
}

// StaticClusterWeight is the weight of the clusters that targetCluster selects.
type StaticClusterWeight struct {
	// targetCluster selects the clusters.
	TargetCluster ClusterAffinity `json:"targetCluster" protobuf:"bytes,1,opt,name=targetCluster"`

	// weight is 1 or more.
	Weight int64 `json:"weight" protobuf:"varint,2,opt,name=weight"`
}

// DynamicWeightFactor is what a dynamic weight is taken from.
type DynamicWeightFactor string

// DynamicWeightByAvailableReplicas weighs a cluster by how many replicas it has room for.
const DynamicWeightByAvailableReplicas DynamicWeightFactor = "AvailableReplicas"

// WorkloadAffinity puts workloads near to or far from one another, by the value of a label of
// their templates, within one namespace.
type WorkloadAffinity struct {
	// affinity puts a workload only where others with the same value are; the first goes anywhere.
	// +optional
	Affinity *WorkloadAffinityTerm `json:"affinity,omitempty" protobuf:"bytes,1,opt,name=affinity"`

	// antiAffinity puts a workload only where no other with the same value is.
	// +optional
	AntiAffinity *WorkloadAffinityTerm `json:"antiAffinity,omitempty" protobuf:"bytes,2,opt,name=antiAffinity"`
}

// WorkloadAffinityTerm names the label that groups workloads.
type WorkloadAffinityTerm struct {
	// groupByLabelKey is the label's key.
	GroupByLabelKey string `json:"groupByLabelKey" protobuf:"bytes,1,opt,name=groupByLabelKey"`
}

// PropagationStatus says what became of a policy. It counts; the bindings have the details.
type PropagationStatus struct {
	// observedGeneration is the generation of the spec that this status is about.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty" protobuf:"varint,1,opt,name=observedGeneration"`

	// conditions: Ready is True when everything that the policy claims is scheduled and applied;
	// its reason and message say what is in the way otherwise.
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty" protobuf:"bytes,2,rep,name=conditions"`

	// templates is the number of templates that the policy claims.
	// +optional
	Templates int32 `json:"templates,omitempty" protobuf:"varint,3,opt,name=templates"`

	// scheduled is the number of its bindings for which clusters were found.
	// +optional
	Scheduled int32 `json:"scheduled,omitempty" protobuf:"varint,4,opt,name=scheduled"`

	// applied is the number of its bindings that all their clusters have applied.
	// +optional
	Applied int32 `json:"applied,omitempty" protobuf:"varint,5,opt,name=applied"`

	// healthy is the number of its bindings that are healthy in all their clusters.
	// +optional
	Healthy int32 `json:"healthy,omitempty" protobuf:"varint,6,opt,name=healthy"`
}
