// Package v1alpha1 is the API group policy.karmada.io: the policies with which users say which templates go to which clusters, and how they differ there.
//
// +k8s:deepcopy-gen=package
// +k8s:openapi-gen=true
// +k8s:protobuf-gen=package
// +k8s:openapi-model-package=dev.windlass.policy.v1alpha1
// +groupName=policy.karmada.io
package v1alpha1
