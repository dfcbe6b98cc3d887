package works

import (
	"cmp"
	"encoding/json"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	linkv1 "windlass.dev/windlass/api/link/v1"
	workv1alpha1 "windlass.dev/windlass/api/work/v1alpha1"
	"windlass.dev/windlass/pkg/interpret"
)

// statusOf is the status of a work after a report.
func statusOf(work *workv1alpha1.PropagationWork, report *linkv1.Report, now time.Time) *workv1alpha1.WorkStatus {
	status := work.Status.DeepCopy()
	setCondition(status, appliedCondition(report), now)
	setCondition(status, availableCondition(report), now)
	for _, said := range report.GetConditions() {
		setCondition(status, metav1.Condition{
			Type: said.GetType(), Status: metav1.ConditionStatus(said.GetStatus()), Reason: said.GetReason(), Message: said.GetMessage(),
			ObservedGeneration: report.GetGeneration(),
		}, now)
	}
	if dispatching := dispatchingCondition(work); dispatching.Status != metav1.ConditionTrue || meta.FindStatusCondition(status.Conditions, workv1alpha1.WorkDispatching) != nil {
		setCondition(status, dispatching, now) // a work that was never suspended does not say so
	}
	dropUnsaid(status, report)
	status.ManifestStatuses = manifestStatuses(work, report)
	status.Delivery = delivery(work.Status.Delivery, report)
	return status
}

func setCondition(status *workv1alpha1.WorkStatus, condition metav1.Condition, now time.Time) {
	condition.LastTransitionTime = metav1.NewTime(now)
	meta.SetStatusCondition(&status.Conditions, condition)
}

// appliedCondition is False only when the member said why it has not the present content; while it
// is at work, it is Unknown.
func appliedCondition(report *linkv1.Report) metav1.Condition {
	condition := metav1.Condition{
		Type: workv1alpha1.WorkApplied, Status: metav1.ConditionUnknown, ObservedGeneration: report.GetGeneration(),
		Reason: cmp.Or(report.GetReason(), "Applying"), Message: report.GetMessage(),
	}
	switch {
	case report.GetApplied():
		condition.Status, condition.Reason = metav1.ConditionTrue, cmp.Or(report.GetReason(), "Applied")
	case report.GetReason() != "":
		condition.Status, condition.ObservedGeneration = metav1.ConditionFalse, report.GetGenerations().GetReceived().GetGeneration()
	}
	return condition
}

// dispatchingCondition says whether changes of the work are sent.
func dispatchingCondition(work *workv1alpha1.PropagationWork) metav1.Condition {
	condition := metav1.Condition{
		Type: workv1alpha1.WorkDispatching, Status: metav1.ConditionTrue, Reason: "Dispatching", Message: "changes are sent to the cluster",
		ObservedGeneration: work.Generation,
	}
	if work.Spec.SuspendDispatching != nil && *work.Spec.SuspendDispatching {
		condition.Status, condition.Reason = metav1.ConditionFalse, "Suspended"
		condition.Message = "the policy suspends it: what is in the cluster stays as it is"
	}
	return condition
}

func availableCondition(report *linkv1.Report) metav1.Condition {
	condition := metav1.Condition{Type: workv1alpha1.WorkAvailable, ObservedGeneration: report.GetGeneration(), Message: report.GetHealthMessage()}
	switch report.GetHealth() {
	case linkv1.Health_HEALTH_HEALTHY:
		condition.Status, condition.Reason = metav1.ConditionTrue, "Healthy"
	case linkv1.Health_HEALTH_UNHEALTHY:
		condition.Status, condition.Reason = metav1.ConditionFalse, "Unhealthy"
	default:
		condition.Status, condition.Reason = metav1.ConditionUnknown, "Unknown"
	}
	return condition
}

// dropUnsaid takes away conditions that the agent no longer reports. Applied and Available are in
// every report; Dispatching is the hub's.
func dropUnsaid(status *workv1alpha1.WorkStatus, report *linkv1.Report) {
	said := map[string]bool{workv1alpha1.WorkApplied: true, workv1alpha1.WorkAvailable: true, workv1alpha1.WorkDispatching: true}
	for _, condition := range report.GetConditions() {
		said[condition.GetType()] = true
	}
	kept := status.Conditions[:0]
	for _, condition := range status.Conditions {
		if said[condition.Type] {
			kept = append(kept, condition)
		}
	}
	status.Conditions = kept
}

// manifestStatuses has an entry for each manifest. Before the work was ever applied there is none, but
// for the objects of several that are there already.
func manifestStatuses(work *workv1alpha1.PropagationWork, report *linkv1.Report) []workv1alpha1.ManifestStatus {
	manifests := work.Spec.Workload.Manifests
	if len(manifests) > 1 && len(report.GetObjects()) > 0 {
		return statusesOf(manifests, report.GetObjects())
	}
	if len(manifests) == 0 || report.GetGeneration() == 0 {
		return nil
	}
	// An agent of an earlier version tells only of the first of several.
	return []workv1alpha1.ManifestStatus{{
		Identifier: identifierOf(work),
		Observed:   report.GetObserved(),
		Health:     health(report.GetHealth()),
		Status:     statusJSON(report.GetStatus(), interpret.MaxWorkStatusBytes),
	}}
}

// statusesOf finds for each manifest what was said of its object. The report may be of another
// generation than the manifests.
func statusesOf(manifests []runtime.RawExtension, said []*linkv1.ObjectReport) []workv1alpha1.ManifestStatus {
	type id struct{ group, kind, namespace, name string }
	byID, sizes := make(map[id]*linkv1.ObjectReport, len(said)), make([]int, len(said))
	for i, object := range said {
		byID[id{object.GetGroup(), object.GetKind(), object.GetNamespace(), object.GetName()}] = object
		sizes[i] = len(object.GetStatus())
	}
	most := interpret.LargestStatus(sizes)
	statuses := make([]workv1alpha1.ManifestStatus, len(manifests))
	for i := range manifests {
		of := identifier(manifests[i].Raw)
		object := byID[id{of.Group, of.Kind, of.Namespace, of.Name}]
		of.Ordinal, of.Resource = int32(i), object.GetResource()
		statuses[i] = workv1alpha1.ManifestStatus{
			Identifier: of, Observed: object.GetObserved(), Health: health(object.GetHealth()), Status: statusJSON(object.GetStatus(), most),
		}
	}
	return statuses
}

func statusJSON(raw []byte, most int) *runtime.RawExtension {
	if len(raw) == 0 || len(raw) > most || !json.Valid(raw) {
		return nil
	}
	return &runtime.RawExtension{Raw: raw}
}

// identifierOf names the first object of a work. What is rendered from a template is called as that is, so its manifest,
// which may be large, is not read for each report.
func identifierOf(work *workv1alpha1.PropagationWork) workv1alpha1.ResourceIdentifier {
	template, manifests := work.Spec.Template, work.Spec.Workload.Manifests
	if template == nil || len(manifests) > 1 {
		return identifier(manifests[0].Raw)
	}
	kind := schema.FromAPIVersionAndKind(template.APIVersion, template.Kind)
	return workv1alpha1.ResourceIdentifier{Group: kind.Group, Version: kind.Version, Kind: kind.Kind, Namespace: template.Namespace, Name: template.Name}
}

func identifier(manifest []byte) workv1alpha1.ResourceIdentifier {
	object := struct {
		metav1.TypeMeta `json:",inline"`
		Metadata        struct{ Namespace, Name string } `json:"metadata"`
	}{}
	_ = json.Unmarshal(manifest, &object) // validation has read it before
	kind := object.GroupVersionKind()
	return workv1alpha1.ResourceIdentifier{
		Group: kind.Group, Version: kind.Version, Kind: kind.Kind,
		Namespace: object.Metadata.Namespace, Name: object.Metadata.Name,
	}
}

func health(said linkv1.Health) workv1alpha1.ResourceHealth {
	switch said {
	case linkv1.Health_HEALTH_HEALTHY:
		return workv1alpha1.ResourceHealthy
	case linkv1.Health_HEALTH_UNHEALTHY:
		return workv1alpha1.ResourceUnhealthy
	}
	return workv1alpha1.ResourceUnknown
}

// delivery keeps the time at which a milestone was first reported: an agent that has restarted
// reaches the same generation again.
func delivery(old workv1alpha1.Delivery, report *linkv1.Report) workv1alpha1.Delivery {
	generations := report.GetGenerations()
	return workv1alpha1.Delivery{
		Sent:     milestone(old.Sent, generations.GetSent()),
		Received: milestone(old.Received, generations.GetReceived()),
		Applied:  milestone(old.Applied, generations.GetApplied()),
		Healthy:  milestone(old.Healthy, generations.GetHealthy()),
		Epoch:    report.GetSessionEpoch(),
	}
}

func milestone(old *workv1alpha1.Milestone, said *linkv1.Milestone) *workv1alpha1.Milestone {
	if said.GetGeneration() == 0 {
		return nil
	}
	if old != nil && old.Generation == said.GetGeneration() {
		return old
	}
	return &workv1alpha1.Milestone{Generation: said.GetGeneration(), Time: metav1.NewMicroTime(said.GetAt().AsTime())}
}
