package v1alpha1

// Labels, annotations, finalizers and namespaces that users and scripts read. The names are
// Karmada's.
const (
	// PropagationPolicyPermanentIDLabel carries the permanent id of the PropagationPolicy: on the
	// policy, on the templates it claims, and on their bindings.
	PropagationPolicyPermanentIDLabel = "propagationpolicy.karmada.io/permanent-id"
	// ClusterPropagationPolicyPermanentIDLabel is the same for a ClusterPropagationPolicy.
	ClusterPropagationPolicyPermanentIDLabel = "clusterpropagationpolicy.karmada.io/permanent-id"

	// PropagationPolicyNamespaceAnnotation and PropagationPolicyNameAnnotation name the policy
	// that claims a template, on the template and its binding.
	PropagationPolicyNamespaceAnnotation = "propagationpolicy.karmada.io/namespace"
	PropagationPolicyNameAnnotation      = "propagationpolicy.karmada.io/name"
	// ClusterPropagationPolicyNameAnnotation is the same for a ClusterPropagationPolicy.
	ClusterPropagationPolicyNameAnnotation = "clusterpropagationpolicy.karmada.io/name"

	// BindingPermanentIDLabel carries the permanent id of a PropagationBinding, on it and its works.
	BindingPermanentIDLabel = "resourcebinding.karmada.io/permanent-id"
	// ClusterBindingPermanentIDLabel is the same for a ClusterPropagationBinding.
	ClusterBindingPermanentIDLabel = "clusterresourcebinding.karmada.io/permanent-id"

	// ManagedLabel marks every object in a member that a hub manages.
	ManagedLabel = "karmada.io/managed"
	// HubIDAnnotation names the hub that manages an object in a member.
	HubIDAnnotation = "windlass.dev/hub-id"
	// WorkNameAnnotation and WorkNamespaceAnnotation name the work of an object in a member.
	WorkNameAnnotation      = "work.karmada.io/name"
	WorkNamespaceAnnotation = "work.karmada.io/namespace"
	// ConflictResolutionAnnotation on a template (overwrite or abort) wins over the policy's
	// conflictResolution.
	ConflictResolutionAnnotation = "work.karmada.io/conflict-resolution"
	// TemplateUIDAnnotation carries the template's UID on an object in a member.
	TemplateUIDAnnotation = "resourcetemplate.karmada.io/uid"
	// PreservedAnnotation "true" is on an object in a member that a hub managed and has let go, because a policy preserves it.
	// What holds it is not deleted, either.
	PreservedAnnotation = "windlass.dev/preserved"
	// RetainReplicasLabel "true" on a template leaves replicas to the member.
	RetainReplicasLabel = "resourcetemplate.karmada.io/retain-replicas"
	// AppliedPlacementAnnotation is the placement with which a Job runs, or ran when it had its end. Other bindings don't have it.
	AppliedPlacementAnnotation = "policy.karmada.io/applied-placement"
	// AppliedOverridesAnnotation and AppliedClusterOverridesAnnotation on a work are what OverridePolicies
	// and ClusterOverridePolicies have changed in its manifest: a JSON list of policyName and overriders.
	AppliedOverridesAnnotation        = "policy.karmada.io/applied-overrides"
	AppliedClusterOverridesAnnotation = "policy.karmada.io/applied-cluster-overrides"
	// ActivatedTemplateAnnotation on a binding whose policy is Lazy names the content of the template with which
	// what the binding has of its policy took effect. With another content it is taken from the policy anew.
	ActivatedTemplateAnnotation = "windlass.dev/activated-template"
	// ConfirmDeletionsAnnotation on a MemberCluster lets the deletions happen that its condition
	// DeletionsHeld names by the same id.
	ConfirmDeletionsAnnotation = "windlass.dev/confirm-deletions"
	// SkipAutoPropagationLabel "true" on a namespace keeps it out of the propagation of all
	// namespaces.
	SkipAutoPropagationLabel = "namespace.karmada.io/skip-auto-propagation"

	// WorkFinalizer keeps a work until its removal is acknowledged by the agent.
	WorkFinalizer = "karmada.io/execution-controller"
	// BindingFinalizer keeps a PropagationBinding until its works are gone.
	BindingFinalizer = "karmada.io/binding-controller"
	// ClusterBindingFinalizer is the same for a ClusterPropagationBinding.
	ClusterBindingFinalizer = "karmada.io/cluster-resource-binding-controller"
	// ClusterFinalizer keeps a MemberCluster until its works are gone.
	ClusterFinalizer = "karmada.io/cluster-controller"
	// PropagationPolicyFinalizer keeps a policy until the templates it claimed are released.
	PropagationPolicyFinalizer = "karmada.io/propagation-policy-controller"
	// ClusterPropagationPolicyFinalizer is the same for a ClusterPropagationPolicy.
	ClusterPropagationPolicyFinalizer = "karmada.io/cluster-propagation-policy-controller"

	// ExecutionNamespacePrefix begins the name of the namespace that holds a cluster's works.
	ExecutionNamespacePrefix = "karmada-es-"
	// SystemNamespace is for the hub's own objects.
	SystemNamespace = "karmada-system"
)

// ExecutionNamespace is the namespace that holds the works of a cluster.
func ExecutionNamespace(cluster string) string { return ExecutionNamespacePrefix + cluster }
