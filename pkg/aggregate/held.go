package aggregate

import (
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	clusterv1alpha1 "windlass.dev/windlass/api/cluster/v1alpha1"
	workv1alpha1 "windlass.dev/windlass/api/work/v1alpha1"
)

// Holding says why deletions in a cluster wait for a person: the reason of its condition DeletionsHeld. It is empty when none
// does.
func Holding(cluster *clusterv1alpha1.MemberCluster) string {
	if cluster == nil {
		return ""
	}
	held := meta.FindStatusCondition(cluster.Status.Conditions, clusterv1alpha1.ClusterDeletionsHeld)
	if held == nil || held.Status != metav1.ConditionTrue {
		return ""
	}
	return held.Reason
}

// IsHeld says whether the removal of a work waits for a person, in a cluster whose deletions wait for the reason that Holding
// gives. While a brake holds anything, it holds everything that deletes something and that nobody asked for; after a restore
// everything is held.
func IsHeld(work *workv1alpha1.PropagationWork, holding string) bool {
	switch {
	case work.DeletionTimestamp == nil, holding == "":
		return false
	case holding == clusterv1alpha1.DeletionsHeldStoreRestored:
		return true
	}
	return work.Spec.RemovalCause != workv1alpha1.RemovalTemplateDeleted && !ptr.Deref(work.Spec.PreserveResourcesOnDeletion, false)
}
