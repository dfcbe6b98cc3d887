package v1alpha1

import (
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// +k8s:deepcopy-gen:interfaces=k8s.io/apimachinery/pkg/runtime.Object

// OverridePolicy says how selected templates of its namespace differ from cluster to cluster.
type OverridePolicy struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty" protobuf:"bytes,1,opt,name=metadata"`

	// spec is what the user wants.
	Spec OverrideSpec `json:"spec" protobuf:"bytes,2,opt,name=spec"`

	// status says what became of it.
	// +optional
	Status OverrideStatus `json:"status,omitempty" protobuf:"bytes,3,opt,name=status"`
}

// +k8s:deepcopy-gen:interfaces=k8s.io/apimachinery/pkg/runtime.Object

// OverridePolicyList is a list of OverridePolicies.
type OverridePolicyList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty" protobuf:"bytes,1,opt,name=metadata"`
	// items are the policies.
	Items []OverridePolicy `json:"items" protobuf:"bytes,2,rep,name=items"`
}

// +k8s:deepcopy-gen:interfaces=k8s.io/apimachinery/pkg/runtime.Object

// ClusterOverridePolicy says how selected templates of any namespace, or of none, differ from
// cluster to cluster.
type ClusterOverridePolicy struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty" protobuf:"bytes,1,opt,name=metadata"`

	// spec is what the user wants.
	Spec OverrideSpec `json:"spec" protobuf:"bytes,2,opt,name=spec"`

	// status says what became of it.
	// +optional
	Status OverrideStatus `json:"status,omitempty" protobuf:"bytes,3,opt,name=status"`
}

// +k8s:deepcopy-gen:interfaces=k8s.io/apimachinery/pkg/runtime.Object

// ClusterOverridePolicyList is a list of ClusterOverridePolicies.
type ClusterOverridePolicyList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty" protobuf:"bytes,1,opt,name=metadata"`
	// items are the policies.
	Items []ClusterOverridePolicy `json:"items" protobuf:"bytes,2,rep,name=items"`
}

// OverrideSpec is the desired behaviour of an OverridePolicy or ClusterOverridePolicy. Of a template's
// policies the ClusterOverridePolicies come first; in each kind one that selects it by name comes after one
// that does by label, which comes after one for all of a kind, and then the name decides. What comes later
// wins.
type OverrideSpec struct {
	// resourceSelectors name the templates. Empty selects all (of the namespace).
	// +optional
	ResourceSelectors []ResourceSelector `json:"resourceSelectors,omitempty" protobuf:"bytes,1,rep,name=resourceSelectors"`

	// overrideRules say what changes in which clusters, in order.
	// +optional
	OverrideRules []RuleWithCluster `json:"overrideRules,omitempty" protobuf:"bytes,2,rep,name=overrideRules"`

	// targetCluster is the former place of overrideRules[].targetCluster. It can't stand beside
	// overrideRules.
	// +optional
	TargetCluster *ClusterAffinity `json:"targetCluster,omitempty" protobuf:"bytes,3,opt,name=targetCluster"`

	// overriders is the former place of overrideRules[].overriders. It can't stand beside overrideRules.
	// +optional
	Overriders Overriders `json:"overriders,omitempty" protobuf:"bytes,4,opt,name=overriders"`
}

// OverrideStatus says what became of an override policy.
type OverrideStatus struct {
	// observedGeneration is the generation of the spec that this status is about.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty" protobuf:"varint,1,opt,name=observedGeneration"`

	// conditions of the policy.
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty" protobuf:"bytes,2,rep,name=conditions"`
}

// RuleWithCluster is a set of changes for some clusters.
type RuleWithCluster struct {
	// targetCluster selects the clusters. Without it the changes are for all.
	// +optional
	TargetCluster *ClusterAffinity `json:"targetCluster,omitempty" protobuf:"bytes,1,opt,name=targetCluster"`

	// overriders are the changes.
	Overriders Overriders `json:"overriders" protobuf:"bytes,2,opt,name=overriders"`
}

// Overriders are changes to a manifest. They are made in the order image, command, args, labels,
// annotations, field, plaintext. Their values may say ${cluster.name}, ${cluster.region},
// ${cluster.provider} and ${cluster.labels.KEY}; $${cluster. is a ${cluster. that means itself, and
// everything else that has a $ means itself as it is.
type Overriders struct {
	// plaintext are JSON patch operations.
	// +optional
	Plaintext []PlaintextOverrider `json:"plaintext,omitempty" protobuf:"bytes,1,rep,name=plaintext"`

	// imageOverrider changes parts of image names.
	// +optional
	ImageOverrider []ImageOverrider `json:"imageOverrider,omitempty" protobuf:"bytes,2,rep,name=imageOverrider"`

	// commandOverrider changes the commands of containers.
	// +optional
	CommandOverrider []CommandArgsOverrider `json:"commandOverrider,omitempty" protobuf:"bytes,3,rep,name=commandOverrider"`

	// argsOverrider changes the arguments of containers.
	// +optional
	ArgsOverrider []CommandArgsOverrider `json:"argsOverrider,omitempty" protobuf:"bytes,4,rep,name=argsOverrider"`

	// labelsOverrider changes labels.
	// +optional
	LabelsOverrider []LabelAnnotationOverrider `json:"labelsOverrider,omitempty" protobuf:"bytes,5,rep,name=labelsOverrider"`

	// annotationsOverrider changes annotations.
	// +optional
	AnnotationsOverrider []LabelAnnotationOverrider `json:"annotationsOverrider,omitempty" protobuf:"bytes,6,rep,name=annotationsOverrider"`

	// fieldOverrider changes JSON or YAML documents that are inside a string field.
	// +optional
	FieldOverrider []FieldOverrider `json:"fieldOverrider,omitempty" protobuf:"bytes,7,rep,name=fieldOverrider"`
}

// OverriderOperator is what an overrider does with a value.
type OverriderOperator string

// The operators of overriders.
const (
	OverriderOpAdd     OverriderOperator = "add"
	OverriderOpRemove  OverriderOperator = "remove"
	OverriderOpReplace OverriderOperator = "replace"
)

// PlaintextOverrider is one JSON patch operation.
type PlaintextOverrider struct {
	// path is a JSON pointer.
	Path string `json:"path" protobuf:"bytes,1,opt,name=path"`

	// operator is add, remove or replace.
	Operator OverriderOperator `json:"operator" protobuf:"bytes,2,opt,name=operator,casttype=OverriderOperator"`

	// value is any JSON. Without one it is null; remove ignores it.
	// +optional
	Value apiextensionsv1.JSON `json:"value,omitempty" protobuf:"bytes,3,opt,name=value"`
}

// ImageComponent is a part of an image name.
type ImageComponent string

// The parts of an image name.
const (
	ImageRegistry   ImageComponent = "Registry"
	ImageRepository ImageComponent = "Repository"
	ImageTag        ImageComponent = "Tag"
)

// ImageOverrider changes a part of image names.
type ImageOverrider struct {
	// predicate says which image. Without it, those of all containers, initial ones included, of a Pod,
	// ReplicaSet, Deployment, DaemonSet, StatefulSet, Job or CronJob.
	// +optional
	Predicate *ImagePredicate `json:"predicate,omitempty" protobuf:"bytes,1,opt,name=predicate"`

	// component is the part to change: Registry, Repository or Tag.
	Component ImageComponent `json:"component" protobuf:"bytes,2,opt,name=component,casttype=ImageComponent"`

	// operator is add (append), remove or replace.
	Operator OverriderOperator `json:"operator" protobuf:"bytes,3,opt,name=operator,casttype=OverriderOperator"`

	// value is the new value, or what is appended; remove ignores it.
	// +optional
	Value string `json:"value,omitempty" protobuf:"bytes,4,opt,name=value"`
}

// ImagePredicate says where an image name stands.
type ImagePredicate struct {
	// path is a JSON pointer to the image field.
	Path string `json:"path" protobuf:"bytes,1,opt,name=path"`
}

// CommandArgsOverrider changes the command or arguments of a container of the workloads that
// imageOverrider knows.
type CommandArgsOverrider struct {
	// containerName is the container.
	ContainerName string `json:"containerName" protobuf:"bytes,1,opt,name=containerName"`

	// operator is add or remove.
	Operator OverriderOperator `json:"operator" protobuf:"bytes,2,opt,name=operator,casttype=OverriderOperator"`

	// value are the words to append or to remove.
	// +optional
	Value []string `json:"value,omitempty" protobuf:"bytes,3,rep,name=value"`
}

// LabelAnnotationOverrider changes labels or annotations. Replace and remove leave keys alone that the
// template does not have.
type LabelAnnotationOverrider struct {
	// operator is add, remove or replace.
	Operator OverriderOperator `json:"operator" protobuf:"bytes,1,opt,name=operator,casttype=OverriderOperator"`

	// value are the keys and values.
	// +optional
	Value map[string]string `json:"value,omitempty" protobuf:"bytes,2,rep,name=value"`
}

// FieldOverrider changes a document that is inside a string field.
type FieldOverrider struct {
	// fieldPath is a JSON pointer to the string.
	FieldPath string `json:"fieldPath" protobuf:"bytes,1,opt,name=fieldPath"`

	// json are operations on a JSON document. It can't stand beside yaml.
	// +optional
	JSON []JSONPatchOperation `json:"json,omitempty" protobuf:"bytes,2,rep,name=json"`

	// yaml are operations on a YAML document. It can't stand beside json.
	// +optional
	YAML []YAMLPatchOperation `json:"yaml,omitempty" protobuf:"bytes,3,rep,name=yaml"`
}

// JSONPatchOperation is one change of a JSON document.
type JSONPatchOperation struct {
	// subPath is a JSON pointer in the document.
	SubPath string `json:"subPath" protobuf:"bytes,1,opt,name=subPath"`

	// operator is add, remove or replace.
	Operator OverriderOperator `json:"operator" protobuf:"bytes,2,opt,name=operator,casttype=OverriderOperator"`

	// value is any JSON; it must be absent for remove.
	// +optional
	Value apiextensionsv1.JSON `json:"value,omitempty" protobuf:"bytes,3,opt,name=value"`
}

// YAMLPatchOperation is one change of a YAML document.
type YAMLPatchOperation struct {
	// subPath is a JSON pointer in the document.
	SubPath string `json:"subPath" protobuf:"bytes,1,opt,name=subPath"`

	// operator is add, remove or replace.
	Operator OverriderOperator `json:"operator" protobuf:"bytes,2,opt,name=operator,casttype=OverriderOperator"`

	// value is any JSON; it must be absent for remove.
	// +optional
	Value apiextensionsv1.JSON `json:"value,omitempty" protobuf:"bytes,3,opt,name=value"`
}
