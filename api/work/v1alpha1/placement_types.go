package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// +k8s:deepcopy-gen:interfaces=k8s.io/apimachinery/pkg/runtime.Object

// BindingPlacement says where a binding goes and why nowhere else. It is the subresource placement of both kinds of
// bindings, can only be read, and is stored nowhere: the scheduler decides anew when it is asked, and nothing comes of that.
type BindingPlacement struct {
	metav1.TypeMeta `json:",inline"`
	// metadata has the name and the namespace of the binding.
	metav1.ObjectMeta `json:"metadata,omitempty" protobuf:"bytes,1,opt,name=metadata"`

	// resource is the template.
	Resource ObjectReference `json:"resource" protobuf:"bytes,2,opt,name=resource"`

	// replicas is the number of replicas that the template asks for; absent for kinds that have none.
	// +optional
	Replicas *int32 `json:"replicas,omitempty" protobuf:"varint,3,opt,name=replicas"`

	// scheduled is whether the condition Scheduled would be True now.
	Scheduled bool `json:"scheduled" protobuf:"varint,4,opt,name=scheduled"`

	// reason is the one that the condition Scheduled would have now.
	Reason string `json:"reason" protobuf:"bytes,5,opt,name=reason"`

	// message is what the condition Scheduled would say now. Of a binding that is being deleted it is what FullyApplied says: from where it is not gone yet, and what that waits for.
	Message string `json:"message" protobuf:"bytes,6,opt,name=message"`

	// affinityGroup is the one of the policy's clusterAffinities that clusters were chosen from.
	// +optional
	AffinityGroup string `json:"affinityGroup,omitempty" protobuf:"bytes,7,opt,name=affinityGroup"`

	// pending is true when this is not what the binding says yet: something has changed a moment ago.
	// +optional
	Pending bool `json:"pending,omitempty" protobuf:"varint,8,opt,name=pending"`

	// clusters are where the template goes, sorted by name, or stays when no place is found.
	// +optional
	Clusters []TargetCluster `json:"clusters,omitempty" protobuf:"bytes,9,rep,name=clusters"`

	// refusals say of all other clusters why the template does not go there; with a template that stays for want of a place,
	// of its own clusters, too. The clusters of a refusal are refused for the same reason. They are sorted by affinity group, in the
	// order in which those were tried, and then by the number of clusters, the largest first.
	// +optional
	Refusals []PlacementRefusal `json:"refusals,omitempty" protobuf:"bytes,10,rep,name=refusals"`

	// room is for how many replicas more the clusters have room, sorted by name. It is there when it decides.
	// +optional
	Room []ClusterRoom `json:"room,omitempty" protobuf:"bytes,11,rep,name=room"`

	// details are what else is to be said of single clusters, sorted by name: of those that the template goes to, and of those that it is
	// leaving, which are not among clusters.
	// +optional
	Details []PlacementDetail `json:"details,omitempty" protobuf:"bytes,12,rep,name=details"`

	// remarks are sentences about the whole: a policy that waits for the next change of the template, works that can't be written,
	// affinity groups that are not looked at.
	// +optional
	Remarks []string `json:"remarks,omitempty" protobuf:"bytes,13,rep,name=remarks"`
}

// PlacementDetail is what else is to be said of a cluster that a template goes to or is leaving.
type PlacementDetail struct {
	// cluster is its name.
	Cluster string `json:"cluster" protobuf:"bytes,1,opt,name=cluster"`

	// overflowGroup is the one of the overflowAffinities that the cluster was chosen from; empty for one of the affinity group itself.
	// +optional
	OverflowGroup string `json:"overflowGroup,omitempty" protobuf:"bytes,2,opt,name=overflowGroup"`

	// workReplicas is the number of replicas in the work of the cluster, where it is another one than in clusters.
	// +optional
	WorkReplicas *int32 `json:"workReplicas,omitempty" protobuf:"varint,3,opt,name=workReplicas"`

	// message follows the name of the cluster and says why, such as: is being left because of a taint NoExecute.
	// +optional
	Message string `json:"message,omitempty" protobuf:"bytes,4,opt,name=message"`
}

// PlacementRefusal is a reason why clusters are not chosen.
type PlacementRefusal struct {
	// affinityGroup is the one that was tried; empty when the policy has none.
	// +optional
	AffinityGroup string `json:"affinityGroup,omitempty" protobuf:"bytes,1,opt,name=affinityGroup"`

	// rule is what refuses the clusters: ClusterDeleting, ClusterEviction, ClusterAffinity, ClusterNotJoined, APIEnablement,
	// TaintToleration, SpreadConstraint, WorkloadAffinity, Capacity, or ReplicaDivision for those that may have the template and get no
	// replica of it.
	Rule string `json:"rule" protobuf:"bytes,2,opt,name=rule"`

	// message follows the name of a cluster, such as: is not named by clusterNames.
	Message string `json:"message" protobuf:"bytes,3,opt,name=message"`

	// clusters are the names, sorted.
	Clusters []string `json:"clusters" protobuf:"bytes,4,rep,name=clusters"`
}

// ClusterRoom is for how many replicas more a cluster has room.
type ClusterRoom struct {
	// cluster is its name.
	Cluster string `json:"cluster" protobuf:"bytes,1,opt,name=cluster"`

	// replicas is absent when the cluster has not reported its capacity.
	// +optional
	Replicas *int32 `json:"replicas,omitempty" protobuf:"varint,2,opt,name=replicas"`

	// source is Agent for an answer that counts by node, Summary for one from the sums over all nodes, and Unknown for none.
	Source string `json:"source" protobuf:"bytes,3,opt,name=source"`

	// message says why the agent has not answered.
	// +optional
	Message string `json:"message,omitempty" protobuf:"bytes,4,opt,name=message"`
}
