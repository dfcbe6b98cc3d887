// Package v1alpha1 is the API group apps.karmada.io: what is asked for once of applications.
//
// +k8s:deepcopy-gen=package
// +k8s:openapi-gen=true
// +k8s:protobuf-gen=package
// +k8s:openapi-model-package=dev.windlass.apps.v1alpha1
// +groupName=apps.karmada.io
package v1alpha1
