package aggregate

import (
	"strings"

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
// everything is held. What the agent says it is removing has passed the brakes, and waits for something else: see NotGone.
func IsHeld(work *workv1alpha1.PropagationWork, holding string) bool {
	switch {
	case work.DeletionTimestamp == nil, holding == "", removing(work) != nil:
		return false
	case holding == clusterv1alpha1.DeletionsHeldStoreRestored:
		return true
	}
	return work.Spec.RemovalCause != workv1alpha1.RemovalTemplateDeleted && !ptr.Deref(work.Spec.PreserveResourcesOnDeletion, false)
}

// removing is what the agent says of a removal that it carries out and that does not come to its end; nil when it says nothing.
func removing(work *workv1alpha1.PropagationWork) *metav1.Condition {
	applied := meta.FindStatusCondition(work.Status.Conditions, workv1alpha1.WorkApplied)
	if work.DeletionTimestamp == nil || applied == nil || applied.Reason != "Removing" {
		return nil
	}
	return applied
}

// NotGone says why the objects of a work that is being removed are not gone, as its agent does: one has a finalizer, may not
// be deleted by the agent, or holds objects of other works. It is empty when the agent says nothing of it.
func NotGone(work *workv1alpha1.PropagationWork) string {
	condition := removing(work)
	if condition == nil {
		return ""
	}
	return strings.TrimPrefix(condition.Message, "not gone yet: ")
}
