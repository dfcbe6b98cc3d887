package cluster

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	clusterv1alpha1 "windlass.dev/windlass/api/cluster/v1alpha1"
)

// tellReady says, in the log and on the cluster, that it has become ready or is not ready any more: whoever looks
// afterwards sees when it was away. Before is what the status was, now what was written.
func (r *Reconciler) tellReady(before, now *clusterv1alpha1.MemberCluster) {
	was := meta.IsStatusConditionTrue(before.Status.Conditions, clusterv1alpha1.ClusterReady)
	ready := meta.FindStatusCondition(now.Status.Conditions, clusterv1alpha1.ClusterReady)
	switch {
	case ready == nil || was == (ready.Status == metav1.ConditionTrue):
	case was:
		r.Log.Warn("a cluster is not ready any more", "cluster", now.Name, "why", ready.Reason, "message", ready.Message)
		r.Events.Event(now, corev1.EventTypeWarning, ready.Reason, "not ready any more: "+ready.Message)
	default:
		r.Log.Info("a cluster is ready", "cluster", now.Name)
		r.Events.Event(now, corev1.EventTypeNormal, clusterv1alpha1.ClusterReady, "the cluster is ready")
	}
}
