package v1alpha1

import "k8s.io/apimachinery/pkg/util/validation/field"

// PolicyValues are the errors about the values of a policy, those of fields that are not supported yet included.
func PolicyValues(policy Policy) field.ErrorList { return policyValues(policy, field.NewPath("spec")) }
