package cluster

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/utils/ptr"

	clusterv1alpha1 "windlass.dev/windlass/api/cluster/v1alpha1"
	workv1alpha1 "windlass.dev/windlass/api/work/v1alpha1"
	"windlass.dev/windlass/pkg/interpret"
	"windlass.dev/windlass/pkg/session"
)

// namedHeld is how many of the objects that wait are named.
const namedHeld = 3

// heldObjects names the first few of the objects that a hold keeps in a cluster. A work that the store does not have
// has no object here.
func (r *Reconciler) heldObjects(cluster string, hold session.Hold) []string {
	var names []string
	for _, id := range hold.Examples {
		work, ok := r.Works.Get(workv1alpha1.ExecutionNamespace(cluster), id.Key)
		if !ok || string(work.UID) != id.UID {
			continue
		}
		if names = append(names, objectOf(work)); len(names) == namedHeld {
			break
		}
	}
	return names
}

// objectOf writes what a work is for as people do: Deployment shop/web. One that somebody wrote by hand may be for many.
func objectOf(work *workv1alpha1.PropagationWork) string {
	template := work.Spec.Template
	switch {
	case template == nil:
		return "the work " + work.Name
	case interpret.HoldsOthers(schema.FromAPIVersionAndKind(template.APIVersion, template.Kind).GroupKind()) && !ptr.Deref(work.Spec.PreserveResourcesOnDeletion, false):
		return template.Kind + " " + template.Name + " with everything in it"
	case template.Namespace == "":
		return template.Kind + " " + template.Name
	}
	return template.Kind + " " + template.Namespace + "/" + template.Name
}

// typedBefore returns the confirmation that counted, or that was there before what waits now. A process that begins while
// something waits takes it for one that was there before, unless the one before it has said something else.
func (r *Reconciler) typedBefore(cluster *clusterv1alpha1.MemberCluster) string {
	id := cluster.Annotations[workv1alpha1.ConfirmDeletionsAnnotation]
	held := meta.FindStatusCondition(cluster.Status.Conditions, clusterv1alpha1.ClusterDeletionsHeld)
	switch typed, known := r.typed.Load(cluster.Name); {
	case !waits(held):
	case known:
		return typed.(string)
	case strings.Contains(held.Message, ignored(id)):
		id = ""
	}
	r.typed.Store(cluster.Name, id)
	return id
}

// tellHold says once that deletions begin to wait, that they end to, and that somebody confirms something else. Known is
// what was decided on, said what was written.
func (r *Reconciler) tellHold(known facts, said *clusterv1alpha1.MemberCluster) {
	before := meta.FindStatusCondition(known.Cluster.Status.Conditions, clusterv1alpha1.ClusterDeletionsHeld)
	now := meta.FindStatusCondition(said.Status.Conditions, clusterv1alpha1.ClusterDeletionsHeld)
	began, other := waits(now) && !waits(before), unheeded(known)
	hold := known.Member.Hold
	switch {
	case began:
		r.Log.Warn("deletions in a cluster wait for a person", "cluster", said.Name, "why", now.Reason,
			"look", "kubectl describe membercluster "+said.Name)
		// How many they are, and so their id, changes at once: only the condition has both.
		r.Events.Event(said, corev1.EventTypeWarning, clusterv1alpha1.ClusterDeletionsHeld, fmt.Sprintf(
			"deletions in this cluster wait for a person: `windlass status` or `kubectl describe membercluster %s` says which, and how to confirm them", said.Name))
	case waits(before) && !waits(now):
		r.Log.Info("no deletion in a cluster waits for a person any more", "cluster", said.Name)
	case waits(now) && other != "" && !strings.Contains(before.Message, other):
		r.Log.Warn("a confirmation of deletions is ignored: what waits has another id", "cluster", said.Name,
			"confirmed", known.Cluster.Annotations[workv1alpha1.ConfirmDeletionsAnnotation], "id", hold.ID)
		r.Events.Event(said, corev1.EventTypeWarning, "ConfirmationIgnored", confirmation(known))
	}
}

func waits(held *metav1.Condition) bool { return held != nil && held.Status == metav1.ConditionTrue }
