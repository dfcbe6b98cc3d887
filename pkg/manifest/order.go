package manifest

import (
	"cmp"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// The ranks of kinds. What others need to exist has a lower rank.
const (
	rankNamespace = iota
	rankDefinition
	rankClass
	rankAccount
	rankRole
	rankGrant
	rankConfig
	rankStorage
	rankService
	rankWorkload
	rankOther
	rankAPIService
	rankWebhook
)

var ranks = map[schema.GroupKind]int{
	{Kind: "Namespace"}: rankNamespace,
	{Group: "apiextensions.k8s.io", Kind: "CustomResourceDefinition"}: rankDefinition,

	{Group: "scheduling.k8s.io", Kind: "PriorityClass"}: rankClass,
	{Group: "storage.k8s.io", Kind: "StorageClass"}:     rankClass,
	{Group: "node.k8s.io", Kind: "RuntimeClass"}:        rankClass,
	{Group: "networking.k8s.io", Kind: "IngressClass"}:  rankClass,

	{Kind: "ResourceQuota"}:  rankAccount,
	{Kind: "LimitRange"}:     rankAccount,
	{Kind: "ServiceAccount"}: rankAccount,

	{Group: "rbac.authorization.k8s.io", Kind: "ClusterRole"}:        rankRole,
	{Group: "rbac.authorization.k8s.io", Kind: "Role"}:               rankRole,
	{Group: "rbac.authorization.k8s.io", Kind: "ClusterRoleBinding"}: rankGrant,
	{Group: "rbac.authorization.k8s.io", Kind: "RoleBinding"}:        rankGrant,

	{Kind: "ConfigMap"}: rankConfig,
	{Kind: "Secret"}:    rankConfig,
	{Group: "networking.k8s.io", Kind: "NetworkPolicy"}: rankConfig,

	{Kind: "PersistentVolume"}:      rankStorage,
	{Kind: "PersistentVolumeClaim"}: rankStorage,

	{Kind: "Service"}:   rankService,
	{Kind: "Endpoints"}: rankService,
	{Group: "discovery.k8s.io", Kind: "EndpointSlice"}: rankService,

	{Kind: "Pod"}:                        rankWorkload,
	{Kind: "ReplicationController"}:      rankWorkload,
	{Group: "apps", Kind: "Deployment"}:  rankWorkload,
	{Group: "apps", Kind: "StatefulSet"}: rankWorkload,
	{Group: "apps", Kind: "DaemonSet"}:   rankWorkload,
	{Group: "apps", Kind: "ReplicaSet"}:  rankWorkload,
	{Group: "batch", Kind: "Job"}:        rankWorkload,
	{Group: "batch", Kind: "CronJob"}:    rankWorkload,

	{Group: "apiregistration.k8s.io", Kind: "APIService"}: rankAPIService,

	// Webhooks come last, so that none answers for what is applied with it before its server runs.
	{Group: "admissionregistration.k8s.io", Kind: "ValidatingWebhookConfiguration"}: rankWebhook,
	{Group: "admissionregistration.k8s.io", Kind: "MutatingWebhookConfiguration"}:   rankWebhook,
}

// Rank orders kinds for applying: the lowest first. Kinds that are not known come after workloads.
func Rank(kind schema.GroupKind) int {
	if rank, known := ranks[kind]; known {
		return rank
	}
	return rankOther
}

// Sort brings objects into the order in which they are applied; objects of one rank keep theirs.
func Sort(objects []*unstructured.Unstructured) {
	slices.SortStableFunc(objects, func(a, b *unstructured.Unstructured) int {
		return cmp.Compare(Rank(a.GroupVersionKind().GroupKind()), Rank(b.GroupVersionKind().GroupKind()))
	})
}

// SortForRemoval brings objects into the order in which they are removed.
func SortForRemoval(objects []Object) {
	slices.SortStableFunc(objects, func(a, b Object) int {
		return cmp.Compare(Rank(b.GroupKind()), Rank(a.GroupKind()))
	})
}
