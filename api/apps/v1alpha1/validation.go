package v1alpha1

import (
	"fmt"

	"k8s.io/apimachinery/pkg/api/equality"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	pathvalidation "k8s.io/apimachinery/pkg/api/validation/path"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// ValidateWorkloadRebalancer checks a new rebalancer and reports everything that is wrong with it.
func ValidateWorkloadRebalancer(rebalancer *WorkloadRebalancer) field.ErrorList {
	errs := apivalidation.ValidateObjectMeta(&rebalancer.ObjectMeta, false, apivalidation.NameIsDNSSubdomain, field.NewPath("metadata"))
	return append(errs, validateSpec(&rebalancer.Spec)...)
}

// ValidateWorkloadRebalancerUpdate checks a changed rebalancer. The registry checks metadata itself.
func ValidateWorkloadRebalancerUpdate(rebalancer, old *WorkloadRebalancer) field.ErrorList {
	if equality.Semantic.DeepEqual(&rebalancer.Spec, &old.Spec) {
		return nil
	}
	return validateSpec(&rebalancer.Spec)
}

func validateSpec(spec *WorkloadRebalancerSpec) field.ErrorList {
	path := field.NewPath("spec")
	errs := validateWorkloads(spec.Workloads, path.Child("workloads"))
	if ttl := spec.TTLSecondsAfterFinished; ttl != nil && *ttl < 0 {
		errs = append(errs, field.Invalid(path.Child("ttlSecondsAfterFinished"), *ttl, "must be 0 or more; without it the object stays"))
	}
	return errs
}

func validateWorkloads(workloads []ObjectReference, path *field.Path) field.ErrorList {
	if len(workloads) == 0 {
		return field.ErrorList{field.Required(path, "name at least one template that is to be placed anew")}
	}
	if len(workloads) > MaxWorkloads {
		return field.ErrorList{field.TooMany(path, len(workloads), MaxWorkloads)}
	}
	var errs field.ErrorList
	seen := sets.New[ObjectReference]()
	for i, workload := range workloads {
		at := path.Index(i)
		errs = append(errs, validateWorkload(workload, at)...)
		if seen.Has(workload) {
			errs = append(errs, field.Duplicate(at, fmt.Sprintf("%s %s/%s", workload.Kind, workload.Namespace, workload.Name)))
		}
		seen.Insert(workload)
	}
	return errs
}

func validateWorkload(workload ObjectReference, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if _, err := schema.ParseGroupVersion(workload.APIVersion); err != nil || workload.APIVersion == "" {
		errs = append(errs, field.Invalid(path.Child("apiVersion"), workload.APIVersion, "must be GROUP/VERSION, such as apps/v1, or v1 for the core group"))
	}
	if workload.Kind == "" {
		errs = append(errs, field.Required(path.Child("kind"), "name the kind of the template, such as Deployment"))
	}
	if workload.Name == "" {
		errs = append(errs, field.Required(path.Child("name"), "name the template"))
	}
	for name, value := range map[string]string{"name": workload.Name, "namespace": workload.Namespace} {
		for _, message := range pathvalidation.IsValidPathSegmentName(value) {
			errs = append(errs, field.Invalid(path.Child(name), value, message))
		}
	}
	return errs
}
