// Package v1alpha1 is the API group cluster.karmada.io: the member clusters and what is known of them.
//
// +k8s:deepcopy-gen=package
// +k8s:openapi-gen=true
// +k8s:protobuf-gen=package
// +k8s:openapi-model-package=dev.windlass.cluster.v1alpha1
// +groupName=cluster.karmada.io
package v1alpha1
