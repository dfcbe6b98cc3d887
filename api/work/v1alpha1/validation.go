package v1alpha1

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/equality"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	pathvalidation "k8s.io/apimachinery/pkg/api/validation/path"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation/field"

	clusterv1alpha1 "windlass.dev/windlass/api/cluster/v1alpha1"
	policyv1alpha1 "windlass.dev/windlass/api/policy/v1alpha1"
)

// notYetInBinding are the parts of a binding that do nothing yet. Whoever gives one its meaning
// deletes its row.
var notYetInBinding = []struct {
	field string
	set   func(*BindingSpec) bool
}{
	{"propagateDeps", func(s *BindingSpec) bool { return s.PropagateDeps }},
	{"components", func(s *BindingSpec) bool { return len(s.Components) > 0 }},
	{"requiredBy", func(s *BindingSpec) bool { return len(s.RequiredBy) > 0 }},
	{"failover", func(s *BindingSpec) bool {
		return s.Failover != nil && (s.Failover.Application != nil || s.Failover.Cluster != nil)
	}},
	{"suspension.scheduling", func(s *BindingSpec) bool {
		return s.Suspension != nil && s.Suspension.Scheduling != nil && *s.Suspension.Scheduling
	}},
}

// ValidatePropagationBinding checks a new binding and reports everything that is wrong with it.
func ValidatePropagationBinding(binding *PropagationBinding) field.ErrorList {
	return validateBinding(binding)
}

// ValidatePropagationBindingUpdate checks a changed binding.
func ValidatePropagationBindingUpdate(binding, old *PropagationBinding) field.ErrorList {
	return validateBindingUpdate(binding, old)
}

// ValidatePropagationBindingStatusUpdate checks a binding whose status was changed.
func ValidatePropagationBindingStatusUpdate(binding, _ *PropagationBinding) field.ErrorList {
	return validateBindingStatus(binding.GetStatus())
}

// ValidateClusterPropagationBinding checks a new binding and reports everything that is wrong with it.
func ValidateClusterPropagationBinding(binding *ClusterPropagationBinding) field.ErrorList {
	return validateBinding(binding)
}

// ValidateClusterPropagationBindingUpdate checks a changed binding.
func ValidateClusterPropagationBindingUpdate(binding, old *ClusterPropagationBinding) field.ErrorList {
	return validateBindingUpdate(binding, old)
}

// ValidateClusterPropagationBindingStatusUpdate checks a binding whose status was changed.
func ValidateClusterPropagationBindingStatusUpdate(binding, _ *ClusterPropagationBinding) field.ErrorList {
	return validateBindingStatus(binding.GetStatus())
}

func validateBinding(binding Binding) field.ErrorList {
	return append(validateName(binding), validateBindingSpec(binding)...)
}

// validateName checks what of the metadata the registry leaves to the kinds. The rest it checks itself, for new objects and changed ones.
func validateName(object metav1.Object) field.ErrorList {
	var errs field.ErrorList
	for _, message := range apivalidation.NameIsDNSSubdomain(object.GetName(), false) {
		errs = append(errs, field.Invalid(field.NewPath("metadata", "name"), object.GetName(), message))
	}
	return errs
}

// validateBindingUpdate leaves a spec alone that was not changed, so that an object stored under
// older rules can still lose its finalizer. The registry checks metadata itself.
func validateBindingUpdate(binding, old Binding) field.ErrorList {
	if equality.Semantic.DeepEqual(binding.GetSpec(), old.GetSpec()) {
		return nil
	}
	errs := validateBindingSpec(binding)
	is, was := binding.GetSpec().Resource, old.GetSpec().Resource
	if is.Kind != was.Kind || is.Namespace != was.Namespace || is.Name != was.Name {
		errs = append(errs, field.Invalid(field.NewPath("spec", "resource"), describe(is),
			fmt.Sprintf("can't be changed from %s: a binding belongs to one template; make another binding", describe(was))))
	}
	return errs
}

func describe(reference ObjectReference) string {
	if reference.Namespace == "" {
		return reference.Kind + " " + reference.Name
	}
	return reference.Kind + " " + reference.Namespace + "/" + reference.Name
}

func validateBindingSpec(binding Binding) field.ErrorList {
	spec, path := binding.GetSpec(), field.NewPath("spec")
	errs := validateObjectReference(&spec.Resource, path.Child("resource"))
	if spec.Resource.Namespace != binding.GetNamespace() {
		errs = append(errs, field.Invalid(path.Child("resource", "namespace"), spec.Resource.Namespace,
			fmt.Sprintf("must be the binding's own namespace, which is %q", binding.GetNamespace())))
	}
	if spec.Replicas != nil && *spec.Replicas < 0 {
		errs = append(errs, field.Invalid(path.Child("replicas"), *spec.Replicas, "must be 0 or more"))
	}
	errs = append(errs, validateTargets(spec.Clusters, path.Child("clusters"))...)
	if spec.Placement != nil {
		errs = append(errs, policyv1alpha1.ValidatePlacement(spec.Placement, path.Child("placement"))...)
	}
	errs = append(errs, policyv1alpha1.ValidateConflictResolution(spec.ConflictResolution, path.Child("conflictResolution"))...)
	if spec.Suspension != nil {
		errs = append(errs, policyv1alpha1.ValidateSuspension(&spec.Suspension.Suspension, path.Child("suspension"))...)
	}
	errs = append(errs, validateEvictions(spec.GracefulEvictionTasks, path.Child("gracefulEvictionTasks"))...)
	for _, row := range notYetInBinding {
		if row.set(spec) {
			names := strings.Split(row.field, ".")
			errs = append(errs, field.Forbidden(path.Child(names[0], names[1:]...), "is not supported yet: remove it"))
		}
	}
	return errs
}

func validateObjectReference(reference *ObjectReference, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if _, err := schema.ParseGroupVersion(reference.APIVersion); err != nil || reference.APIVersion == "" {
		errs = append(errs, field.Invalid(path.Child("apiVersion"), reference.APIVersion, "must be GROUP/VERSION, such as apps/v1, or v1 for the core group"))
	}
	if reference.Kind == "" {
		errs = append(errs, field.Required(path.Child("kind"), "name the kind of the template"))
	}
	if reference.Name == "" {
		errs = append(errs, field.Required(path.Child("name"), "name the template"))
	} else {
		for _, message := range pathvalidation.IsValidPathSegmentName(reference.Name) {
			errs = append(errs, field.Invalid(path.Child("name"), reference.Name, message))
		}
	}
	return errs
}

func validateTargets(targets []TargetCluster, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	names := sets.New[string]()
	for i := range targets {
		target, at := &targets[i], path.Index(i)
		errs = append(errs, clusterv1alpha1.ValidateClusterName(target.Name, at.Child("name"))...)
		if names.Has(target.Name) {
			errs = append(errs, field.Duplicate(at.Child("name"), target.Name))
		}
		names.Insert(target.Name)
		if target.Replicas < 0 {
			errs = append(errs, field.Invalid(at.Child("replicas"), target.Replicas, "must be 0 or more"))
		}
		if len(target.Components) > 0 {
			errs = append(errs, field.Forbidden(at.Child("components"), "is not supported yet: remove it"))
		}
	}
	return errs
}

// notYetInEviction are the parts of an eviction task that do nothing yet. Whoever gives one its meaning deletes its row.
var notYetInEviction = []struct {
	field string
	set   func(*GracefulEvictionTask) bool
}{
	{"gracePeriodSeconds", func(t *GracefulEvictionTask) bool { return t.GracePeriodSeconds != nil }},
	{"suppressDeletion", func(t *GracefulEvictionTask) bool { return t.SuppressDeletion != nil && *t.SuppressDeletion }},
	{"preservedLabelState", func(t *GracefulEvictionTask) bool { return len(t.PreservedLabelState) > 0 }},
	{"clustersBeforeFailover", func(t *GracefulEvictionTask) bool { return len(t.ClustersBeforeFailover) > 0 }},
}

func validateEvictions(tasks []GracefulEvictionTask, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	names := sets.New[string]()
	for i := range tasks {
		task, at := &tasks[i], path.Index(i)
		errs = append(errs, clusterv1alpha1.ValidateClusterName(task.FromCluster, at.Child("fromCluster"))...)
		if names.Has(task.FromCluster) {
			errs = append(errs, field.Duplicate(at.Child("fromCluster"), task.FromCluster))
		}
		names.Insert(task.FromCluster)
		if task.PurgeMode != policyv1alpha1.PurgeGracefully {
			errs = append(errs, field.NotSupported(at.Child("purgeMode"), task.PurgeMode, []policyv1alpha1.PurgeMode{policyv1alpha1.PurgeGracefully}))
		}
		for _, row := range notYetInEviction {
			if row.set(task) {
				errs = append(errs, field.Forbidden(at.Child(row.field), "is not supported yet: remove it"))
			}
		}
	}
	return errs
}

func validateBindingStatus(status *BindingStatus) field.ErrorList {
	path := field.NewPath("status")
	errs := validateConditions(status.Conditions, path.Child("conditions"))
	names := sets.New[string]()
	for i := range status.AggregatedStatus {
		item, at := &status.AggregatedStatus[i], path.Child("aggregatedStatus").Index(i)
		errs = append(errs, clusterv1alpha1.ValidateClusterName(item.ClusterName, at.Child("clusterName"))...)
		if names.Has(item.ClusterName) {
			errs = append(errs, field.Duplicate(at.Child("clusterName"), item.ClusterName))
		}
		names.Insert(item.ClusterName)
		errs = append(errs, validateHealth(item.Health, at.Child("health"))...)
	}
	return errs
}

// validateConditions checks what the list type map says: no type twice.
func validateConditions(conditions []metav1.Condition, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	types := sets.New[string]()
	for i, condition := range conditions {
		if condition.Type == "" {
			errs = append(errs, field.Required(path.Index(i).Child("type"), "name the condition"))
		}
		if types.Has(condition.Type) {
			errs = append(errs, field.Duplicate(path.Index(i).Child("type"), condition.Type))
		}
		types.Insert(condition.Type)
	}
	return errs
}

func validateHealth(health ResourceHealth, path *field.Path) field.ErrorList {
	switch health {
	case "", ResourceHealthy, ResourceUnhealthy, ResourceUnknown:
		return nil
	}
	return field.ErrorList{field.NotSupported(path, health, []ResourceHealth{ResourceHealthy, ResourceUnhealthy, ResourceUnknown})}
}

// ValidatePropagationWork checks a new work and reports everything that is wrong with it.
func ValidatePropagationWork(work *PropagationWork) field.ErrorList {
	errs := validateName(work)
	cluster, found := strings.CutPrefix(work.Namespace, ExecutionNamespacePrefix)
	if !found || len(clusterv1alpha1.ValidateClusterName(cluster, nil)) > 0 {
		errs = append(errs, field.Invalid(field.NewPath("metadata", "namespace"), work.Namespace,
			"works lie in the namespaces of their clusters, which are named "+ExecutionNamespace("<cluster>")))
	}
	return append(errs, validateWorkSpec(&work.Spec)...)
}

// ValidatePropagationWorkUpdate checks a changed work. A spec that was not changed is left alone, so
// that an object stored under older rules can still lose its finalizer. The registry checks metadata
// itself.
func ValidatePropagationWorkUpdate(work, old *PropagationWork) field.ErrorList {
	if sameWorkSpec(work.Spec, old.Spec) {
		return nil
	}
	errs := validateWorkSpec(&work.Spec)
	if old.DeletionTimestamp != nil {
		errs = append(errs, validateRemovalCauseUpdate(work.Spec.RemovalCause, old.Spec.RemovalCause)...)
	}
	return errs
}

// sameWorkSpec compares manifests as the bytes that they are: by reflection each byte of them costs allocations.
func sameWorkSpec(a, b WorkSpec) bool {
	if !slices.EqualFunc(a.Workload.Manifests, b.Workload.Manifests, func(a, b runtime.RawExtension) bool { return bytes.Equal(a.Raw, b.Raw) }) {
		return false
	}
	a.Workload, b.Workload = WorkloadTemplate{}, WorkloadTemplate{}
	return equality.Semantic.DeepEqual(a, b)
}

// validateRemovalCauseUpdate holds for a work that is being deleted: the agent may have been told
// the cause already. It may grow into one that somebody asked for, but never disappears.
func validateRemovalCauseUpdate(is, was RemovalCause) field.ErrorList {
	if is == was || was.GrowsInto(is) {
		return nil
	}
	return field.ErrorList{field.Invalid(field.NewPath("spec", "removalCause"), is,
		fmt.Sprintf("can't be changed from %s: the work is being deleted and its cluster may have been told that cause", was))}
}

func validateWorkSpec(spec *WorkSpec) field.ErrorList {
	path := field.NewPath("spec")
	errs := validateManifests(spec.Workload.Manifests, path.Child("workload", "manifests"))
	errs = append(errs, policyv1alpha1.ValidateConflictResolution(spec.ConflictResolution, path.Child("conflictResolution"))...)
	if spec.Binding != nil {
		errs = append(errs, validateBindingReference(spec.Binding, path.Child("binding"))...)
	}
	if spec.Template != nil {
		errs = append(errs, validateObjectReference(spec.Template, path.Child("template"))...)
	}
	switch spec.RemovalCause {
	case "", RemovalTemplateDeleted, RemovalNotSelected, RemovalClusterRemoved, RemovalForced:
	default:
		errs = append(errs, field.NotSupported(path.Child("removalCause"), spec.RemovalCause,
			[]RemovalCause{RemovalClusterRemoved, RemovalForced, RemovalNotSelected, RemovalTemplateDeleted}))
	}
	return errs
}

func validateBindingReference(reference *BindingReference, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	switch reference.Kind {
	case "PropagationBinding":
		if reference.Namespace == "" {
			errs = append(errs, field.Required(path.Child("namespace"), "a PropagationBinding has a namespace"))
		}
	case "ClusterPropagationBinding":
		if reference.Namespace != "" {
			errs = append(errs, field.Invalid(path.Child("namespace"), reference.Namespace, "a ClusterPropagationBinding has no namespace: remove it"))
		}
	default:
		errs = append(errs, field.NotSupported(path.Child("kind"), reference.Kind, []string{"ClusterPropagationBinding", "PropagationBinding"}))
	}
	if reference.Name == "" {
		errs = append(errs, field.Required(path.Child("name"), "name the binding"))
	}
	return errs
}

// manifestHeader is what every manifest must say.
//
// +k8s:openapi-gen=false
type manifestHeader struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Metadata   struct {
		Namespace string `json:"namespace"`
		Name      string `json:"name"`
	} `json:"metadata"`
}

func validateManifests(manifests []runtime.RawExtension, path *field.Path) field.ErrorList {
	if len(manifests) == 0 {
		return field.ErrorList{field.Required(path, "a work carries at least one object")}
	}
	if len(manifests) > MaxWorkManifests {
		return field.ErrorList{field.TooMany(path, len(manifests), MaxWorkManifests)}
	}
	var errs field.ErrorList
	size := 0
	seen := sets.New[manifestHeader]()
	for i := range manifests {
		raw, at := manifests[i].Raw, path.Index(i)
		size += len(raw)
		header, err := parseManifest(raw)
		if err != nil {
			errs = append(errs, field.Invalid(at, excerpt(raw), err.Error()))
			continue
		}
		errs = append(errs, validateManifestHeader(header, at)...)
		if seen.Has(header) {
			errs = append(errs, field.Duplicate(at, fmt.Sprintf("%s %s/%s", header.Kind, header.Metadata.Namespace, header.Metadata.Name)))
		}
		seen.Insert(header)
	}
	if size > MaxWorkBytes {
		errs = append(errs, field.Forbidden(path, fmt.Sprintf(
			"the manifests have %d bytes and a work takes at most %d: make the object smaller, or divide it", size, MaxWorkBytes)))
	}
	return errs
}

// parseManifest returns the header of a manifest. An empty one is an error: the store would lose it,
// because protobuf does not tell it from none.
func parseManifest(raw []byte) (manifestHeader, error) {
	var header manifestHeader
	if len(raw) == 0 {
		return header, fmt.Errorf("is empty: put a whole object there, as JSON")
	}
	if err := json.Unmarshal(raw, &header); err != nil {
		return header, fmt.Errorf("is not a JSON object: %w", err)
	}
	return header, nil
}

func validateManifestHeader(header manifestHeader, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if header.APIVersion == "" {
		errs = append(errs, field.Required(path.Child("apiVersion"), "every manifest names its group and version"))
	} else if _, err := schema.ParseGroupVersion(header.APIVersion); err != nil {
		errs = append(errs, field.Invalid(path.Child("apiVersion"), header.APIVersion, "must be GROUP/VERSION, such as apps/v1, or v1 for the core group"))
	}
	if header.Kind == "" {
		errs = append(errs, field.Required(path.Child("kind"), "every manifest names its kind"))
	}
	if header.Metadata.Name == "" {
		errs = append(errs, field.Required(path.Child("metadata", "name"), "every manifest names its object; generateName is not enough"))
	}
	return errs
}

// excerpt keeps an error message readable.
func excerpt(raw []byte) string {
	const most = 64
	if len(raw) <= most {
		return string(raw)
	}
	return string(raw[:most]) + "…"
}

// ValidatePropagationWorkStatusUpdate checks a work whose status was changed.
func ValidatePropagationWorkStatusUpdate(work, _ *PropagationWork) field.ErrorList {
	path := field.NewPath("status")
	errs := validateConditions(work.Status.Conditions, path.Child("conditions"))
	for i := range work.Status.ManifestStatuses {
		status, at := &work.Status.ManifestStatuses[i], path.Child("manifestStatuses").Index(i)
		errs = append(errs, validateHealth(status.Health, at.Child("health"))...)
		if status.Status != nil && !json.Valid(status.Status.Raw) {
			errs = append(errs, field.Invalid(at.Child("status"), excerpt(status.Status.Raw), "is not JSON"))
		}
	}
	return errs
}
