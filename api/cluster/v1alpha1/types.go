package v1alpha1

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// +k8s:deepcopy-gen:interfaces=k8s.io/apimachinery/pkg/runtime.Object

// MemberCluster is a Kubernetes cluster that is, or shall be, attached to this hub by an agent that
// dials out of it.
type MemberCluster struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty" protobuf:"bytes,1,opt,name=metadata"`

	// spec is what is said about the cluster.
	// +optional
	Spec ClusterSpec `json:"spec,omitempty" protobuf:"bytes,2,opt,name=spec"`

	// status is what is known about it.
	// +optional
	Status ClusterStatus `json:"status,omitempty" protobuf:"bytes,3,opt,name=status"`
}

// +k8s:deepcopy-gen:interfaces=k8s.io/apimachinery/pkg/runtime.Object

// MemberClusterList is a list of MemberClusters.
type MemberClusterList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty" protobuf:"bytes,1,opt,name=metadata"`
	// items are the clusters.
	Items []MemberCluster `json:"items" protobuf:"bytes,2,rep,name=items"`
}

// ClusterSpec is what is said about a cluster.
type ClusterSpec struct {
	// id is the cluster's identity: it is made when the cluster first joins, stands in the
	// certificate of its agent, and never changes.
	// +optional
	ID string `json:"id,omitempty" protobuf:"bytes,1,opt,name=id"`

	// syncMode is Pull: agents dial out. No other mode exists here.
	// +optional
	SyncMode ClusterSyncMode `json:"syncMode,omitempty" protobuf:"bytes,2,opt,name=syncMode,casttype=ClusterSyncMode"`

	// provider of the cluster, for placement.
	// +optional
	Provider string `json:"provider,omitempty" protobuf:"bytes,3,opt,name=provider"`

	// region of the cluster, for placement.
	// +optional
	Region string `json:"region,omitempty" protobuf:"bytes,4,opt,name=region"`

	// zone is the former form of zones, with a single one.
	// +optional
	Zone string `json:"zone,omitempty" protobuf:"bytes,5,opt,name=zone"`

	// zones of the cluster, for placement.
	// +optional
	Zones []string `json:"zones,omitempty" protobuf:"bytes,6,rep,name=zones"`

	// taints keep templates away that do not tolerate them. With the effect NoSchedule what is there already
	// stays; with NoExecute it moves to other clusters, where others fit. Not supported yet: the effect
	// PreferNoSchedule is refused.
	// +optional
	Taints []corev1.Taint `json:"taints,omitempty" protobuf:"bytes,7,rep,name=taints"`

	// resourceModels describe nodes by grades of size. Not supported yet: refused.
	// +optional
	ResourceModels []ResourceModel `json:"resourceModels,omitempty" protobuf:"bytes,8,rep,name=resourceModels"`

	// apiEndpoint is for clusters that a hub dials into; this one never does.
	// +optional
	APIEndpoint string `json:"apiEndpoint,omitempty" protobuf:"bytes,9,opt,name=apiEndpoint"`

	// secretRef is for clusters that a hub dials into; this one never does.
	// +optional
	SecretRef *LocalSecretReference `json:"secretRef,omitempty" protobuf:"bytes,10,opt,name=secretRef"`

	// impersonatorSecretRef is for clusters that a hub dials into; this one never does.
	// +optional
	ImpersonatorSecretRef *LocalSecretReference `json:"impersonatorSecretRef,omitempty" protobuf:"bytes,11,opt,name=impersonatorSecretRef"`

	// insecureSkipTLSVerification is for clusters that a hub dials into; this one never does.
	// +optional
	InsecureSkipTLSVerification bool `json:"insecureSkipTLSVerification,omitempty" protobuf:"varint,12,opt,name=insecureSkipTLSVerification"`

	// proxyURL is for clusters that a hub dials into; this one never does.
	// +optional
	ProxyURL string `json:"proxyURL,omitempty" protobuf:"bytes,13,opt,name=proxyURL"`

	// proxyHeader is for clusters that a hub dials into; this one never does.
	// +optional
	ProxyHeader map[string]string `json:"proxyHeader,omitempty" protobuf:"bytes,14,rep,name=proxyHeader"`
}

// ClusterSyncMode is how works get to a cluster.
type ClusterSyncMode string

// The modes of synchronisation. Push is refused.
const (
	Pull ClusterSyncMode = "Pull"
	Push ClusterSyncMode = "Push"
)

// LocalSecretReference names a Secret.
type LocalSecretReference struct {
	// namespace of the Secret.
	Namespace string `json:"namespace" protobuf:"bytes,1,opt,name=namespace"`

	// name of the Secret.
	Name string `json:"name" protobuf:"bytes,2,opt,name=name"`
}

// ResourceModel is a grade of node size.
type ResourceModel struct {
	// grade is the index of the model.
	Grade int64 `json:"grade" protobuf:"varint,1,opt,name=grade"`

	// ranges of the resources in this grade.
	Ranges []ResourceModelRange `json:"ranges" protobuf:"bytes,2,rep,name=ranges"`
}

// ResourceModelRange is the range of one resource in a grade.
type ResourceModelRange struct {
	// name of the resource.
	Name corev1.ResourceName `json:"name" protobuf:"bytes,1,opt,name=name,casttype=k8s.io/api/core/v1.ResourceName"`

	// min is the smallest amount, included.
	Min resource.Quantity `json:"min" protobuf:"bytes,2,opt,name=min"`

	// max is the largest amount, not included.
	Max resource.Quantity `json:"max" protobuf:"bytes,3,opt,name=max"`
}

// ClusterStatus is what is known about a cluster.
type ClusterStatus struct {
	// kubernetesVersion of the cluster's API server.
	// +optional
	KubernetesVersion string `json:"kubernetesVersion,omitempty" protobuf:"bytes,1,opt,name=kubernetesVersion"`

	// apiEnablements are the APIs that the cluster serves.
	// +optional
	APIEnablements []APIEnablement `json:"apiEnablements,omitempty" protobuf:"bytes,2,rep,name=apiEnablements"`

	// conditions: Joined (an agent has enrolled), Ready (its agent is connected and its API server
	// answers), CompleteAPIEnablements (apiEnablements is complete), DeletionsHeld (deletions wait
	// for a person).
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty" protobuf:"bytes,3,rep,name=conditions"`

	// nodeSummary counts the cluster's nodes.
	// +optional
	NodeSummary *NodeSummary `json:"nodeSummary,omitempty" protobuf:"bytes,4,opt,name=nodeSummary"`

	// resourceSummary adds up the cluster's resources.
	// +optional
	ResourceSummary *ResourceSummary `json:"resourceSummary,omitempty" protobuf:"bytes,5,opt,name=resourceSummary"`

	// remedyActions are for external controllers.
	// +optional
	RemedyActions []string `json:"remedyActions,omitempty" protobuf:"bytes,6,rep,name=remedyActions"`

	// agent is what the agent says of itself.
	// +optional
	Agent *AgentStatus `json:"agent,omitempty" protobuf:"bytes,7,opt,name=agent"`

	// session is the agent's session that the rest of this status was last written in. That the agent
	// has another one by now, also after a restart of the hub, is not written by itself.
	// +optional
	Session *SessionStatus `json:"session,omitempty" protobuf:"bytes,8,opt,name=session"`
}

// AgentStatus is what an agent says of itself.
type AgentStatus struct {
	// version of the agent.
	// +optional
	Version string `json:"version,omitempty" protobuf:"bytes,1,opt,name=version"`

	// kubeSystemUID is the UID of the cluster's kube-system namespace.
	// +optional
	KubeSystemUID string `json:"kubeSystemUID,omitempty" protobuf:"bytes,2,opt,name=kubeSystemUID"`

	// certificateExpiresAt is the end of the agent's certificate.
	// +optional
	CertificateExpiresAt *metav1.Time `json:"certificateExpiresAt,omitempty" protobuf:"bytes,3,opt,name=certificateExpiresAt"`

	// certificateSerial is the serial number of the agent's certificate, in hex. Of all
	// certificates that were issued to the cluster, only this one, the one named by
	// previousCertificateSerial, and one that ends later than certificateExpiresAt (this object was
	// restored from a backup) are accepted.
	// +optional
	CertificateSerial string `json:"certificateSerial,omitempty" protobuf:"bytes,4,opt,name=certificateSerial"`

	// previousCertificateSerial is the serial number of the certificate that was renewed, in hex.
	// It is accepted until its own end, so that a lost answer to a renewal does no harm. It is empty
	// after a rejoin: what was issued before a rejoin is not accepted any more.
	// +optional
	PreviousCertificateSerial string `json:"previousCertificateSerial,omitempty" protobuf:"bytes,5,opt,name=previousCertificateSerial"`
}

// SessionStatus is a session of an agent.
type SessionStatus struct {
	// process is the hub process that holds the session.
	// +optional
	Process string `json:"process,omitempty" protobuf:"bytes,1,opt,name=process"`

	// epoch rises with every session.
	// +optional
	Epoch int64 `json:"epoch,omitempty" protobuf:"varint,2,opt,name=epoch"`
}

// APIEnablement is a group version and what it serves.
type APIEnablement struct {
	// groupVersion, such as apps/v1.
	GroupVersion string `json:"groupVersion" protobuf:"bytes,1,opt,name=groupVersion"`

	// resources of the group version.
	// +optional
	Resources []APIResource `json:"resources,omitempty" protobuf:"bytes,2,rep,name=resources"`
}

// APIResource is a kind that a cluster serves.
type APIResource struct {
	// name is the plural name.
	Name string `json:"name" protobuf:"bytes,1,opt,name=name"`

	// kind of the objects.
	Kind string `json:"kind" protobuf:"bytes,2,opt,name=kind"`
}

// NodeSummary counts nodes.
type NodeSummary struct {
	// totalNum is the number of nodes.
	// +optional
	TotalNum int32 `json:"totalNum,omitempty" protobuf:"varint,1,opt,name=totalNum"`

	// readyNum is the number of ready nodes.
	// +optional
	ReadyNum int32 `json:"readyNum,omitempty" protobuf:"varint,2,opt,name=readyNum"`
}

// ResourceSummary adds up resources over all nodes.
type ResourceSummary struct {
	// allocatable on ready nodes.
	// +optional
	Allocatable corev1.ResourceList `json:"allocatable,omitempty" protobuf:"bytes,1,rep,name=allocatable,casttype=k8s.io/api/core/v1.ResourceList,castkey=k8s.io/api/core/v1.ResourceName"`

	// allocating is requested by pods that have no node yet.
	// +optional
	Allocating corev1.ResourceList `json:"allocating,omitempty" protobuf:"bytes,2,rep,name=allocating,casttype=k8s.io/api/core/v1.ResourceList,castkey=k8s.io/api/core/v1.ResourceName"`

	// allocated is requested by pods that have a node.
	// +optional
	Allocated corev1.ResourceList `json:"allocated,omitempty" protobuf:"bytes,3,rep,name=allocated,casttype=k8s.io/api/core/v1.ResourceList,castkey=k8s.io/api/core/v1.ResourceName"`

	// allocatableModelings counts nodes by grade.
	// +optional
	AllocatableModelings []AllocatableModeling `json:"allocatableModelings,omitempty" protobuf:"bytes,4,rep,name=allocatableModelings"`
}

// AllocatableModeling counts the nodes of a grade.
type AllocatableModeling struct {
	// grade is the index of the model.
	Grade int64 `json:"grade" protobuf:"varint,1,opt,name=grade"`

	// count of nodes.
	Count int64 `json:"count" protobuf:"varint,2,opt,name=count"`
}

// Condition types of a cluster, and the taints that follow from them.
const (
	// ClusterJoined is True when an agent has enrolled for the cluster.
	ClusterJoined = "Joined"
	// ClusterReady is True when the agent is connected and the cluster's API server answers it.
	ClusterReady = "Ready"
	// ReadyConnectionLost is its reason while it is True still, because the connection may come back in time.
	ReadyConnectionLost = "ConnectionLost"
	// ClusterDeletionsHeld is True while deletions in the cluster wait for a person to confirm them.
	ClusterDeletionsHeld = "DeletionsHeld"
	// DeletionsHeldTooMany is its reason when they are more than is usual, or of works that the hub's store lacks and
	// may have lost.
	DeletionsHeldTooMany = "TooManyDeletions"
	// DeletionsHeldStoreRestored is its reason when the hub's store is older than what the cluster has.
	DeletionsHeldStoreRestored = "StoreRestored"
	// ClusterCompleteAPIEnablements is True when all APIs of the cluster are known.
	ClusterCompleteAPIEnablements = "CompleteAPIEnablements"

	// TaintUnschedulable is the taint of a cordoned cluster.
	TaintUnschedulable = "cluster.karmada.io/unschedulable"
	// TaintNotReady is the taint of a cluster whose API server does not answer its agent.
	TaintNotReady = "cluster.karmada.io/not-ready"
	// TaintUnreachable is the taint of a cluster whose agent is not connected.
	TaintUnreachable = "cluster.karmada.io/unreachable"
	// TaintTerminating is the taint of a cluster that is being removed.
	TaintTerminating = "cluster.karmada.io/terminating"
)

// JoinTokenAnnotation names the token that attached a cluster last. The hub alone writes it, together with the claim to the
// name, so that a request which was cut off in the middle is known again, and a token that was overtaken by a later one is too.
const JoinTokenAnnotation = "windlass.dev/join-token"

// MaxClusterNameLength bounds the name of a cluster, so that its execution namespace has a valid
// name too.
const MaxClusterNameLength = 48
