package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// +k8s:deepcopy-gen:interfaces=k8s.io/apimachinery/pkg/runtime.Object

// JoinToken lets one agent enrol one cluster. Its name is the token's id; the secret itself is
// never stored.
type JoinToken struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty" protobuf:"bytes,1,opt,name=metadata"`

	// spec is what the token is worth. It can't be changed.
	Spec JoinTokenSpec `json:"spec" protobuf:"bytes,2,opt,name=spec"`

	// status says whether it was used.
	// +optional
	Status JoinTokenStatus `json:"status,omitempty" protobuf:"bytes,3,opt,name=status"`
}

// +k8s:deepcopy-gen:interfaces=k8s.io/apimachinery/pkg/runtime.Object

// JoinTokenList is a list of JoinTokens.
type JoinTokenList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty" protobuf:"bytes,1,opt,name=metadata"`
	// items are the tokens.
	Items []JoinToken `json:"items" protobuf:"bytes,2,rep,name=items"`
}

// JoinTokenSpec is what a token is worth.
type JoinTokenSpec struct {
	// secretHash is the SHA-256 of the secret, in hex.
	SecretHash string `json:"secretHash" protobuf:"bytes,1,opt,name=secretHash"`

	// clusterName binds the token to one cluster. Without it the agent chooses the name.
	// +optional
	ClusterName string `json:"clusterName,omitempty" protobuf:"bytes,2,opt,name=clusterName"`

	// expirationTime is when the token ends; 15 minutes after its creation by default.
	// +optional
	ExpirationTime *metav1.Time `json:"expirationTime,omitempty" protobuf:"bytes,3,opt,name=expirationTime"`

	// rejoin true lets the token renew the identity of a cluster that has joined before. The
	// agent must run in that same cluster.
	// +optional
	Rejoin bool `json:"rejoin,omitempty" protobuf:"varint,4,opt,name=rejoin"`
}

// JoinTokenStatus says whether a token was used.
type JoinTokenStatus struct {
	// publicKeyHash is the SHA-256 of the agent's public key, in hex. Only that key can use the
	// token again.
	// +optional
	PublicKeyHash string `json:"publicKeyHash,omitempty" protobuf:"bytes,1,opt,name=publicKeyHash"`

	// usedTime is when the token was first used.
	// +optional
	UsedTime *metav1.Time `json:"usedTime,omitempty" protobuf:"bytes,2,opt,name=usedTime"`

	// clusterName is the cluster that was enrolled.
	// +optional
	ClusterName string `json:"clusterName,omitempty" protobuf:"bytes,3,opt,name=clusterName"`
}
