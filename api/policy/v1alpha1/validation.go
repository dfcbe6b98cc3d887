package v1alpha1

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	pathvalidation "k8s.io/apimachinery/pkg/api/validation/path"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/uuid"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// The labels that carry the permanent id of a policy. api/work/v1alpha1 exports them; it imports
// this package, so they can't come from there.
const (
	permanentIDLabel        = "propagationpolicy.karmada.io/permanent-id"
	clusterPermanentIDLabel = "clusterpropagationpolicy.karmada.io/permanent-id"
)

// maxClusterNameLength is the bound that api/cluster/v1alpha1 sets on the names of clusters.
const maxClusterNameLength = 48

// EnsurePermanentID gives a policy its permanent id unless it has one: a backup that is restored
// keeps its own. The store calls it before it validates a new policy.
func EnsurePermanentID(policy Policy) {
	key := permanentIDLabelOf(policy)
	labels := policy.GetLabels()
	if labels[key] != "" {
		return
	}
	if labels == nil {
		labels = map[string]string{}
	}
	labels[key] = string(uuid.NewUUID())
	policy.SetLabels(labels)
}

// DefaultSelectorNamespaces makes the selectors of a PropagationPolicy name its own namespace. The
// store calls it before it validates: when defaults are set, a body that leaves its namespace to
// the request's path has none yet.
func DefaultSelectorNamespaces(policy Policy) {
	selectors := policy.GetSpec().ResourceSelectors
	for i := range selectors {
		if selectors[i].Namespace == "" {
			selectors[i].Namespace = policy.GetNamespace()
		}
	}
}

// ReservedNamespace says whether a namespace belongs to a control plane. Nothing in it is ever
// propagated.
func ReservedNamespace(name string) bool {
	return strings.HasPrefix(name, "kube-") || strings.HasPrefix(name, "karmada-") || strings.HasPrefix(name, "windlass-")
}

// neverPropagatedGroups are API groups none of whose kinds can be a template.
var neverPropagatedGroups = map[string]string{
	GroupName:               "it says what this hub does",
	"work.karmada.io":       "it says what this hub does",
	"cluster.karmada.io":    "it says what this hub does",
	"apps.karmada.io":       "it says what this hub does",
	"windlass.dev":          "it says what this hub does",
	"authentication.k8s.io": "it is a question to the API server, which stores no such object",
	"authorization.k8s.io":  "it is a question to the API server, which stores no such object",
	"events.k8s.io":         "it records what happened on this hub",
}

// neverPropagatedKinds are single kinds that can't be a template.
var neverPropagatedKinds = map[schema.GroupKind]string{
	{Kind: "Event"}:                                                     "it records what happened on this hub",
	{Kind: "Binding"}:                                                   "it is a request to the API server, which stores no such object",
	{Kind: "ComponentStatus"}:                                           "it is computed by the API server, which stores no such object",
	{Kind: "Node"}:                                                      "it describes a machine, which each cluster does for itself",
	{Group: "storage.k8s.io", Kind: "CSINode"}:                          "it describes a machine, which each cluster does for itself",
	{Group: "storage.k8s.io", Kind: "VolumeAttachment"}:                 "it describes a machine, which each cluster does for itself",
	{Group: "coordination.k8s.io", Kind: "Lease"}:                       "it is held by a process of this hub",
	{Group: "coordination.k8s.io", Kind: "LeaseCandidate"}:              "it is held by a process of this hub",
	{Group: "certificates.k8s.io", Kind: "CertificateSigningRequest"}:   "it is a request to this hub's own signers",
	{Group: "internal.apiserver.k8s.io", Kind: "StorageVersion"}:        "it is the bookkeeping of this hub's API servers",
	{Group: "storagemigration.k8s.io", Kind: "StorageVersionMigration"}: "it is the bookkeeping of this hub's API servers",
}

// NeverPropagated says whether objects of a kind can't be templates, and why.
func NeverPropagated(kind schema.GroupKind) (why string, never bool) {
	if why, never = neverPropagatedGroups[kind.Group]; never {
		return why, true
	}
	why, never = neverPropagatedKinds[kind]
	return why, never
}

// ValidatePropagationPolicy checks a new policy and reports everything that is wrong with it.
func ValidatePropagationPolicy(policy *PropagationPolicy) field.ErrorList {
	return validatePolicy(policy)
}

// ValidatePropagationPolicyUpdate checks a changed policy.
func ValidatePropagationPolicyUpdate(policy, old *PropagationPolicy) field.ErrorList {
	return validatePolicyUpdate(policy, old)
}

// ValidateClusterPropagationPolicy checks a new policy and reports everything that is wrong with it.
func ValidateClusterPropagationPolicy(policy *ClusterPropagationPolicy) field.ErrorList {
	return validatePolicy(policy)
}

// ValidateClusterPropagationPolicyUpdate checks a changed policy.
func ValidateClusterPropagationPolicyUpdate(policy, old *ClusterPropagationPolicy) field.ErrorList {
	return validatePolicyUpdate(policy, old)
}

func permanentIDLabelOf(policy Policy) string {
	if _, namespaced := policy.(*PropagationPolicy); namespaced {
		return permanentIDLabel
	}
	return clusterPermanentIDLabel
}

func validatePolicy(policy Policy) field.ErrorList {
	_, namespaced := policy.(*PropagationPolicy)
	metadata := field.NewPath("metadata")
	errs := apivalidation.ValidateObjectMetaAccessor(policy, namespaced, apivalidation.NameIsDNSSubdomain, metadata)
	if namespaced && ReservedNamespace(policy.GetNamespace()) {
		errs = append(errs, field.Invalid(metadata.Child("namespace"), policy.GetNamespace(), reservedNamespaceMessage))
	}
	return append(errs, validatePolicySpec(policy)...)
}

const reservedNamespaceMessage = "is reserved for control planes, and nothing in it is propagated: use a namespace that does not begin with kube-, karmada- or windlass-"

// validatePolicyUpdate leaves a spec alone that was not changed, so that an object stored under
// older rules can still lose its finalizer. The registry checks metadata itself.
func validatePolicyUpdate(policy, old Policy) field.ErrorList {
	errs := validatePermanentIDUpdate(policy, old)
	if equality.Semantic.DeepEqual(policy.GetSpec(), old.GetSpec()) {
		return errs
	}
	var changes field.ErrorList
	if was, is := old.GetSpec().SchedulerName, policy.GetSpec().SchedulerName; was != is {
		changes = append(changes, field.Invalid(field.NewPath("spec", "schedulerName"), is,
			fmt.Sprintf("can't be changed from %q: delete the policy and create it again with the other scheduler", was)))
	}
	return append(errs, validatePolicySpec(policy, changes...)...)
}

func validatePermanentIDUpdate(policy, old Policy) field.ErrorList {
	key := permanentIDLabelOf(policy)
	was, is := old.GetLabels()[key], policy.GetLabels()[key]
	if was == "" || was == is {
		return nil
	}
	return field.ErrorList{field.Invalid(field.NewPath("metadata", "labels").Key(key), is,
		fmt.Sprintf("can't be changed or removed: templates are claimed under it; set it back to %q", was))}
}

// validatePolicySpec checks a spec; changes are errors about how it differs from the one before.
func validatePolicySpec(policy Policy, changes ...*field.Error) field.ErrorList {
	spec, path := policy.GetSpec(), field.NewPath("spec")
	errs := append(changes, policyValues(policy, path)...)
	return refuseNotYet(notYetInPolicy, spec, path, errs)
}

// policyValues checks the values of all fields, as if everything was supported.
func policyValues(policy Policy, path *field.Path) field.ErrorList {
	spec := policy.GetSpec()
	errs := validateResourceSelectors(policy, path.Child("resourceSelectors"))
	errs = append(errs, ValidatePlacement(&spec.Placement, path.Child("placement"))...)
	errs = append(errs, validatePreemption(spec, path)...)
	for i, name := range spec.DependentOverrides {
		switch at := path.Child("dependentOverrides").Index(i); {
		case name == "":
			errs = append(errs, field.Required(at, "name an override policy, or remove the entry"))
		case len(validation.IsDNS1123Subdomain(name)) > 0:
			errs = append(errs, field.Invalid(at, name, "no override policy can bear this name: give the name alone, without a namespace; it is one of the policy's own"))
		}
	}
	errs = append(errs, validateFailover(spec, path.Child("failover"))...)
	errs = append(errs, ValidateConflictResolution(spec.ConflictResolution, path.Child("conflictResolution"))...)
	errs = append(errs, oneOf(spec.ActivationPreference, path.Child("activationPreference"), LazyActivation)...)
	errs = append(errs, ValidateSuspension(spec.Suspension, path.Child("suspension"))...)
	return append(errs, validateSchedulePriority(spec.SchedulePriority, path.Child("schedulePriority"))...)
}

func validateResourceSelectors(policy Policy, path *field.Path) field.ErrorList {
	selectors := policy.GetSpec().ResourceSelectors
	if len(selectors) == 0 {
		return field.ErrorList{field.Required(path, "say which templates this policy is for: at least one entry with apiVersion and kind")}
	}
	_, namespaced := policy.(*PropagationPolicy)
	selecting := selecting{namespaced: namespaced, namespace: policy.GetNamespace(), twin: "ClusterPropagationPolicy"}
	var errs field.ErrorList
	for i := range selectors {
		errs = append(errs, validateResourceSelector(selecting, &selectors[i], path.Index(i))...)
	}
	return errs
}

// selecting is the policy that a resource selector stands in.
type selecting struct {
	namespaced bool
	namespace  string
	twin       string // the kind of the cluster-scoped policy
}

func validateResourceSelector(policy selecting, selector *ResourceSelector, path *field.Path) field.ErrorList {
	errs := validateKind(selector.APIVersion, selector.Kind, path)
	errs = append(errs, validateSelectorNamespace(policy, selector.Namespace, path.Child("namespace"))...)
	if selector.Name != "" {
		for _, message := range pathvalidation.IsValidPathSegmentName(selector.Name) {
			errs = append(errs, field.Invalid(path.Child("name"), selector.Name, message))
		}
	}
	return append(errs, validateLabelSelector(selector.LabelSelector, path.Child("labelSelector"))...)
}

func validateKind(apiVersion, kind string, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	groupVersion, err := schema.ParseGroupVersion(apiVersion)
	switch {
	case apiVersion == "":
		errs = append(errs, field.Required(path.Child("apiVersion"), "name group and version of the templates, such as apps/v1, or v1 for the core group"))
	case err != nil || !validGroupVersion(groupVersion):
		errs = append(errs, field.Invalid(path.Child("apiVersion"), apiVersion, "must be GROUP/VERSION, such as apps/v1, or v1 for the core group"))
	}
	if kind == "" {
		errs = append(errs, field.Required(path.Child("kind"), "name the kind of the templates, such as Deployment"))
	} else if messages := validation.IsDNS1035Label(strings.ToLower(kind)); len(messages) > 0 {
		errs = append(errs, field.Invalid(path.Child("kind"), kind, "must be the name of one kind, such as Deployment: letters and digits, no wildcard"))
	}
	if why, never := NeverPropagated(groupVersion.WithKind(kind).GroupKind()); never && err == nil {
		errs = append(errs, field.Invalid(path.Child("kind"), kind, "can't be propagated: "+why))
	}
	return errs
}

func validGroupVersion(groupVersion schema.GroupVersion) bool {
	if groupVersion.Group == "" {
		return groupVersion.Version == "v1"
	}
	return len(validation.IsDNS1123Subdomain(groupVersion.Group)) == 0 && len(validation.IsDNS1035Label(groupVersion.Version)) == 0
}

func validateSelectorNamespace(policy selecting, namespace string, path *field.Path) field.ErrorList {
	if namespace == "" {
		return nil // the policy's own, or every namespace
	}
	if policy.namespaced {
		if namespace != policy.namespace {
			return field.ErrorList{field.Invalid(path, namespace, fmt.Sprintf(
				"must be the policy's own namespace %q or be left out: a %s selects in other namespaces", policy.namespace, policy.twin))}
		}
		return nil
	}
	if ReservedNamespace(namespace) {
		return field.ErrorList{field.Invalid(path, namespace, reservedNamespaceMessage)}
	}
	var errs field.ErrorList
	for _, message := range validation.IsDNS1123Label(namespace) {
		errs = append(errs, field.Invalid(path, namespace, message))
	}
	return errs
}

// maxExpressions bounds the expressions of one selector, which are looked at for every template or cluster.
const maxExpressions = 100

func validateLabelSelector(selector *metav1.LabelSelector, path *field.Path) field.ErrorList {
	if selector != nil && len(selector.MatchLabels) > maxExpressions {
		return field.ErrorList{field.TooMany(path.Child("matchLabels"), len(selector.MatchLabels), maxExpressions)}
	}
	if selector != nil && len(selector.MatchExpressions) > maxExpressions {
		return field.ErrorList{field.TooMany(path.Child("matchExpressions"), len(selector.MatchExpressions), maxExpressions)}
	}
	return metav1validation.ValidateLabelSelector(selector, metav1validation.LabelSelectorValidationOptions{}, path)
}

func validatePreemption(spec *PropagationSpec, path *field.Path) field.ErrorList {
	errs := oneOf(spec.Preemption, path.Child("preemption"), PreemptAlways, PreemptNever)
	if spec.Preemption != PreemptAlways {
		return errs
	}
	for i := range spec.ResourceSelectors {
		if spec.ResourceSelectors[i].Name == "" {
			errs = append(errs, field.Invalid(path.Child("preemption"), spec.Preemption,
				fmt.Sprintf("Always takes templates from other policies, so every selector must name its template: resourceSelectors[%d] has no name", i)))
		}
	}
	return errs
}

func validateFailover(spec *PropagationSpec, path *field.Path) field.ErrorList {
	if spec.Failover == nil {
		return nil
	}
	var errs field.ErrorList
	if application := spec.Failover.Application; application != nil {
		if !spec.PropagateDeps {
			errs = append(errs, field.Forbidden(path.Child("application"),
				"needs propagateDeps: true, for a workload that moves needs its ConfigMaps and Secrets at its new place"))
		}
		errs = append(errs, validateApplicationFailover(application, path.Child("application"))...)
	}
	if cluster := spec.Failover.Cluster; cluster != nil {
		errs = append(errs, oneOf(cluster.PurgeMode, path.Child("cluster", "purgeMode"), PurgeDirectly, PurgeGracefully)...)
		errs = append(errs, validateStatePreservation(cluster.StatePreservation, path.Child("cluster", "statePreservation"))...)
	}
	return errs
}

func validateApplicationFailover(application *ApplicationFailoverBehavior, path *field.Path) field.ErrorList {
	errs := oneOf(application.PurgeMode, path.Child("purgeMode"), PurgeDirectly, PurgeGracefully, PurgeNever)
	if seconds := application.DecisionConditions.TolerationSeconds; seconds != nil && *seconds < 0 {
		errs = append(errs, field.Invalid(path.Child("decisionConditions", "tolerationSeconds"), *seconds, "must be 0 or more"))
	}
	if seconds := application.GracePeriodSeconds; seconds != nil {
		at := path.Child("gracePeriodSeconds")
		if application.PurgeMode != PurgeGracefully {
			errs = append(errs, field.Invalid(at, *seconds, "only has a meaning with purgeMode Gracefully: remove it"))
		} else if *seconds <= 0 {
			errs = append(errs, field.Invalid(at, *seconds, "must be more than 0"))
		}
	}
	return append(errs, validateStatePreservation(application.StatePreservation, path.Child("statePreservation"))...)
}

func validateStatePreservation(preservation *StatePreservation, path *field.Path) field.ErrorList {
	if preservation == nil {
		return nil
	}
	if len(preservation.Rules) == 0 {
		return field.ErrorList{field.Required(path.Child("rules"), "give at least one rule, or remove statePreservation")}
	}
	var errs field.ErrorList
	for i, rule := range preservation.Rules {
		at := path.Child("rules").Index(i)
		errs = append(errs, validateLabelKey(rule.AliasLabelName, at.Child("aliasLabelName"))...)
		if rule.JSONPath == "" {
			errs = append(errs, field.Required(at.Child("jsonPath"), "say which value of the status to keep"))
		}
	}
	return errs
}

// ValidateSuspension checks what is paused, in a policy or as it was copied into a binding. Nil pauses nothing.
func ValidateSuspension(suspension *Suspension, path *field.Path) field.ErrorList {
	if suspension == nil {
		return nil
	}
	var errs field.ErrorList
	if suspension.Dispatching != nil && *suspension.Dispatching && suspension.DispatchingOnClusters != nil && len(suspension.DispatchingOnClusters.ClusterNames) > 0 {
		errs = append(errs, field.Invalid(path.Child("dispatchingOnClusters"), suspension.DispatchingOnClusters.ClusterNames,
			"can't stand beside dispatching: true, which is for every cluster: remove one of them"))
	}
	if suspension.DispatchingOnClusters != nil {
		errs = append(errs, validateClusterNames(suspension.DispatchingOnClusters.ClusterNames, path.Child("dispatchingOnClusters", "clusterNames"))...)
	}
	return errs
}

func validateSchedulePriority(priority *SchedulePriority, path *field.Path) field.ErrorList {
	if priority == nil {
		return nil
	}
	var errs field.ErrorList
	if priority.PriorityClassSource == "" {
		errs = append(errs, field.Required(path.Child("priorityClassSource"), "use "+string(KubePriorityClass)))
	} else {
		errs = append(errs, oneOf(priority.PriorityClassSource, path.Child("priorityClassSource"), KubePriorityClass)...)
	}
	if priority.PriorityClassName == "" {
		errs = append(errs, field.Required(path.Child("priorityClassName"), "name a PriorityClass"))
	}
	return errs
}

// ValidateConflictResolution checks what is to be done about objects that are not ours. Empty is
// Abort.
func ValidateConflictResolution(resolution ConflictResolution, path *field.Path) field.ErrorList {
	return oneOf(resolution, path, ConflictAbort, ConflictOverwrite)
}

// ValidatePlacement checks a placement, of a policy or as it was copied into a binding.
func ValidatePlacement(placement *Placement, path *field.Path) field.ErrorList {
	errs := validateClusterAffinity(placement.ClusterAffinity, path.Child("clusterAffinity"))
	errs = append(errs, validateClusterAffinities(placement, path)...)
	for i := range placement.ClusterTolerations {
		errs = append(errs, validateToleration(&placement.ClusterTolerations[i], path.Child("clusterTolerations").Index(i))...)
	}
	errs = append(errs, validateSpreadConstraints(placement.SpreadConstraints, path.Child("spreadConstraints"))...)
	errs = append(errs, validateReplicaScheduling(placement.ReplicaScheduling, path.Child("replicaScheduling"))...)
	return append(errs, validateWorkloadAffinity(placement.WorkloadAffinity, path.Child("workloadAffinity"))...)
}

func validateClusterAffinity(affinity *ClusterAffinity, path *field.Path) field.ErrorList {
	if affinity == nil {
		return nil
	}
	errs := validateLabelSelector(affinity.LabelSelector, path.Child("labelSelector"))
	if affinity.FieldSelector != nil && len(affinity.FieldSelector.MatchExpressions) > maxExpressions {
		errs = append(errs, field.TooMany(path.Child("fieldSelector", "matchExpressions"), len(affinity.FieldSelector.MatchExpressions), maxExpressions))
	} else if affinity.FieldSelector != nil {
		for i, requirement := range affinity.FieldSelector.MatchExpressions {
			errs = append(errs, validateFieldRequirement(requirement, path.Child("fieldSelector", "matchExpressions").Index(i))...)
		}
	}
	errs = append(errs, validateClusterNames(affinity.ClusterNames, path.Child("clusterNames"))...)
	return append(errs, validateClusterNames(affinity.ExcludeClusters, path.Child("exclude"))...)
}

func validateFieldRequirement(requirement corev1.NodeSelectorRequirement, path *field.Path) field.ErrorList {
	errs := required(requirement.Key, path.Child("key"), ProviderField, RegionField, ZoneField)
	errs = append(errs, required(requirement.Operator, path.Child("operator"), corev1.NodeSelectorOpIn, corev1.NodeSelectorOpNotIn)...)
	if len(requirement.Values) == 0 {
		errs = append(errs, field.Required(path.Child("values"), "give at least one value to compare with"))
	}
	return errs
}

// validateClusterNames refuses names that no cluster can bear. Names of clusters that do not exist
// are fine: they may join later.
func validateClusterNames(names []string, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i, name := range names {
		if len(name) > maxClusterNameLength || len(validation.IsDNS1123Label(name)) > 0 {
			errs = append(errs, field.Invalid(path.Index(i), name, fmt.Sprintf(
				"no cluster can bear this name: it must be at most %d lower case letters, digits and dashes", maxClusterNameLength)))
		}
	}
	return errs
}

// Each group is tried, and each weight looked at, for every cluster, while the write of a template waits.
const (
	maxAffinityGroups = 100
	maxStaticWeights  = 2000
)

func validateClusterAffinities(placement *Placement, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	at := path.Child("clusterAffinities")
	if placement.ClusterAffinity != nil && len(placement.ClusterAffinities) > 0 {
		errs = append(errs, field.Forbidden(at, "can't stand beside clusterAffinity: move that into a group of its own"))
	}
	groups := len(placement.ClusterAffinities)
	for i := range placement.ClusterAffinities {
		groups += len(placement.ClusterAffinities[i].OverflowAffinities)
	}
	if groups > maxAffinityGroups {
		return append(errs, field.Invalid(at, groups, fmt.Sprintf(
			"are too many groups, those of overflowAffinities included: at most %d; select clusters by labels rather than one by one", maxAffinityGroups)))
	}
	names := sets.New[string]()
	for i := range placement.ClusterAffinities {
		term, at := &placement.ClusterAffinities[i], at.Index(i)
		errs = append(errs, validateAffinityName(term.AffinityName, names, at.Child("affinityName"))...)
		errs = append(errs, validateClusterAffinity(&term.ClusterAffinity, at)...)
		errs = append(errs, validateOverflow(placement, term, names, at.Child("overflowAffinities"))...)
	}
	return errs
}

func validateOverflow(placement *Placement, term *ClusterAffinityTerm, names sets.Set[string], path *field.Path) field.ErrorList {
	if len(term.OverflowAffinities) == 0 {
		return nil
	}
	var errs field.ErrorList
	if equality.Semantic.DeepEqual(term.ClusterAffinity, ClusterAffinity{}) {
		errs = append(errs, field.Forbidden(path, "needs a group that has an end: give the group itself clusterNames, a selector or exclude"))
	}
	if !dividesByCapacity(placement.ReplicaScheduling) {
		errs = append(errs, field.Forbidden(path, "only has a meaning where replicas are divided by capacity: use Divided with dynamicWeight or Aggregated"))
	}
	for i := range term.OverflowAffinities {
		errs = append(errs, validateAffinityName(term.OverflowAffinities[i].AffinityName, names, path.Index(i).Child("affinityName"))...)
		errs = append(errs, validateClusterAffinity(&term.OverflowAffinities[i].ClusterAffinity, path.Index(i))...)
	}
	return errs
}

func dividesByCapacity(strategy *ReplicaSchedulingStrategy) bool {
	if strategy == nil || strategy.ReplicaSchedulingType != ReplicaSchedulingDivided {
		return false
	}
	return strategy.ReplicaDivisionPreference == ReplicaDivisionAggregated ||
		strategy.WeightPreference != nil && strategy.WeightPreference.DynamicWeight != ""
}

// validateAffinityName also adds the name to those that are taken.
func validateAffinityName(name string, taken sets.Set[string], path *field.Path) field.ErrorList {
	if name == "" {
		return field.ErrorList{field.Required(path, "give the group a name that is unique in the policy")}
	}
	if taken.Has(name) {
		return field.ErrorList{field.Duplicate(path, name)}
	}
	taken.Insert(name)
	if len(name) > 32 {
		return field.ErrorList{field.TooLong(path, name, 32)}
	}
	return validateLabelKey(name, path)
}

func validateLabelKey(key string, path *field.Path) field.ErrorList {
	if key == "" {
		return field.ErrorList{field.Required(path, "give the key of a label")}
	}
	return metav1validation.ValidateLabelName(key, path)
}

func validateToleration(toleration *corev1.Toleration, path *field.Path) field.ErrorList {
	errs := oneOf(toleration.Operator, path.Child("operator"), corev1.TolerationOpEqual, corev1.TolerationOpExists)
	if toleration.Key != "" {
		errs = append(errs, metav1validation.ValidateLabelName(toleration.Key, path.Child("key"))...)
	} else if toleration.Operator != corev1.TolerationOpExists {
		errs = append(errs, field.Required(path.Child("key"), "name the taint; only operator Exists can do without, and then tolerates every taint"))
	}
	if toleration.Operator == corev1.TolerationOpExists && toleration.Value != "" {
		errs = append(errs, field.Invalid(path.Child("value"), toleration.Value, "must be empty with operator Exists: remove it, or use Equal"))
	}
	for _, message := range validation.IsValidLabelValue(toleration.Value) {
		errs = append(errs, field.Invalid(path.Child("value"), toleration.Value, message))
	}
	errs = append(errs, oneOf(toleration.Effect, path.Child("effect"), corev1.TaintEffectNoSchedule, corev1.TaintEffectPreferNoSchedule, corev1.TaintEffectNoExecute)...)
	if toleration.TolerationSeconds != nil && toleration.Effect != corev1.TaintEffectNoExecute {
		errs = append(errs, field.Invalid(path.Child("effect"), toleration.Effect, "must be NoExecute beside tolerationSeconds: no other effect has an end"))
	}
	return errs
}

func validateSpreadConstraints(constraints []SpreadConstraint, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	fields, labels := sets.New[SpreadFieldValue](), sets.New[string]()
	for i := range constraints {
		constraint, at := &constraints[i], path.Index(i)
		errs = append(errs, oneOf(constraint.SpreadByField, at.Child("spreadByField"),
			SpreadByFieldCluster, SpreadByFieldProvider, SpreadByFieldRegion, SpreadByFieldZone)...)
		if constraint.SpreadByLabel != "" {
			errs = append(errs, validateLabelKey(constraint.SpreadByLabel, at.Child("spreadByLabel"))...)
			if constraint.SpreadByField != "" {
				errs = append(errs, field.Invalid(at.Child("spreadByLabel"), constraint.SpreadByLabel, "can't stand beside spreadByField: use an entry for each"))
			}
			if labels.Has(constraint.SpreadByLabel) {
				errs = append(errs, field.Duplicate(at.Child("spreadByLabel"), constraint.SpreadByLabel))
			}
			labels.Insert(constraint.SpreadByLabel)
		}
		if constraint.SpreadByField != "" {
			if fields.Has(constraint.SpreadByField) {
				errs = append(errs, field.Duplicate(at.Child("spreadByField"), constraint.SpreadByField))
			}
			fields.Insert(constraint.SpreadByField)
		}
		errs = append(errs, validateGroupBounds(constraint, at)...)
	}
	if len(fields) > 0 && !fields.Has(SpreadByFieldCluster) {
		errs = append(errs, field.Required(path, "one entry must have spreadByField: cluster, to say how many clusters of the groups are used"))
	}
	return errs
}

func validateGroupBounds(constraint *SpreadConstraint, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if constraint.MinGroups < 0 {
		errs = append(errs, field.Invalid(path.Child("minGroups"), constraint.MinGroups, "must be 0 or more"))
	}
	if constraint.MaxGroups < 0 {
		errs = append(errs, field.Invalid(path.Child("maxGroups"), constraint.MaxGroups, "must be 0 (no bound) or more"))
	}
	if constraint.MaxGroups > 0 && constraint.MaxGroups < constraint.MinGroups {
		errs = append(errs, field.Invalid(path.Child("maxGroups"), constraint.MaxGroups, fmt.Sprintf("must not be below minGroups, which is %d", constraint.MinGroups)))
	}
	return errs
}

func validateReplicaScheduling(strategy *ReplicaSchedulingStrategy, path *field.Path) field.ErrorList {
	if strategy == nil {
		return nil
	}
	errs := oneOf(strategy.ReplicaSchedulingType, path.Child("replicaSchedulingType"), ReplicaSchedulingDivided, ReplicaSchedulingDuplicated)
	errs = append(errs, oneOf(strategy.ReplicaDivisionPreference, path.Child("replicaDivisionPreference"), ReplicaDivisionAggregated, ReplicaDivisionWeighted)...)
	if strategy.WeightPreference == nil {
		return errs
	}
	path = path.Child("weightPreference")
	errs = append(errs, oneOf(strategy.WeightPreference.DynamicWeight, path.Child("dynamicWeight"), DynamicWeightByAvailableReplicas)...)
	if weights := len(strategy.WeightPreference.StaticWeightList); weights > maxStaticWeights {
		return append(errs, field.Invalid(path.Child("staticWeightList"), weights, fmt.Sprintf(
			"are too many weights: at most %d; one rule may name many clusters, or select them by labels", maxStaticWeights)))
	}
	for i := range strategy.WeightPreference.StaticWeightList {
		rule, at := &strategy.WeightPreference.StaticWeightList[i], path.Child("staticWeightList").Index(i)
		errs = append(errs, validateClusterAffinity(&rule.TargetCluster, at.Child("targetCluster"))...)
		if rule.Weight < 1 {
			errs = append(errs, field.Invalid(at.Child("weight"), rule.Weight, "must be 1 or more: a cluster that no rule selects gets nothing"))
		}
	}
	return errs
}

func validateWorkloadAffinity(affinity *WorkloadAffinity, path *field.Path) field.ErrorList {
	if affinity == nil {
		return nil
	}
	var errs field.ErrorList
	if affinity.Affinity != nil {
		errs = append(errs, validateLabelKey(affinity.Affinity.GroupByLabelKey, path.Child("affinity", "groupByLabelKey"))...)
	}
	if affinity.AntiAffinity != nil {
		errs = append(errs, validateLabelKey(affinity.AntiAffinity.GroupByLabelKey, path.Child("antiAffinity", "groupByLabelKey"))...)
	}
	if affinity.Affinity != nil && affinity.AntiAffinity != nil && affinity.Affinity.GroupByLabelKey == affinity.AntiAffinity.GroupByLabelKey {
		errs = append(errs, field.Invalid(path.Child("antiAffinity", "groupByLabelKey"), affinity.AntiAffinity.GroupByLabelKey,
			"must differ from affinity.groupByLabelKey: the same workloads can't be both near and far"))
	}
	return errs
}

// oneOf refuses a value that is neither empty nor one of the allowed.
func oneOf[T ~string](value T, path *field.Path, allowed ...T) field.ErrorList {
	if value == "" {
		return nil
	}
	for _, a := range allowed {
		if value == a {
			return nil
		}
	}
	return field.ErrorList{field.NotSupported(path, value, allowed)}
}

// required refuses a value that is not one of the allowed.
func required[T ~string](value T, path *field.Path, allowed ...T) field.ErrorList {
	if value == "" {
		return field.ErrorList{field.NotSupported(path, value, allowed)}
	}
	return oneOf(value, path, allowed...)
}
