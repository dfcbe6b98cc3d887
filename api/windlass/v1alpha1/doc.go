// Package v1alpha1 is the API group windlass.dev: what Karmada has no word for: join tokens.
//
// +k8s:deepcopy-gen=package
// +k8s:openapi-gen=true
// +k8s:protobuf-gen=package
// +k8s:openapi-model-package=dev.windlass.windlass.v1alpha1
// +groupName=windlass.dev
package v1alpha1
