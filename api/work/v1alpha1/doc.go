// Package v1alpha1 is the API group work.karmada.io: what came of a policy: bindings (one template and where it goes) and works (one template in one cluster).
//
// +k8s:deepcopy-gen=package
// +k8s:openapi-gen=true
// +k8s:protobuf-gen=package
// +k8s:openapi-model-package=dev.windlass.work.v1alpha1
// +groupName=work.karmada.io
package v1alpha1
