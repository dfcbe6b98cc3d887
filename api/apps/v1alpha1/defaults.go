package v1alpha1

import "k8s.io/apimachinery/pkg/runtime"

func addDefaultingFuncs(*runtime.Scheme) error { return nil }
