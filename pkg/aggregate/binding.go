package aggregate

import (
	"bytes"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/utils/ptr"

	workv1alpha1 "windlass.dev/windlass/api/work/v1alpha1"
	"windlass.dev/windlass/pkg/interpret"
)

// Reasons of a binding's FullyApplied condition. When all clusters that failed give one reason, it
// is that reason instead of ReasonFailed.
const (
	ReasonApplied      = "FullyAppliedSuccess"
	ReasonFailed       = "FullyAppliedFailed"
	ReasonWaiting      = "Waiting"
	ReasonSuspended    = "Suspended"
	ReasonNotScheduled = "NotScheduled"
	ReasonNotRendered  = "NotRendered"
	ReasonRemovalHeld  = "RemovalHeld"
	ReasonRemoving     = "Removing"
)

// BindingResult is the part of a binding's status that is aggregated.
type BindingResult struct {
	Summary          workv1alpha1.ClusterSummary
	AggregatedStatus []workv1alpha1.AggregatedStatusItem
	// FullyApplied has no time of transition.
	FullyApplied metav1.Condition
}

// Binding sums up what the works of a binding say.
func Binding(in Input) BindingResult {
	limit := in.MaxListed
	if limit <= 0 {
		limit = workv1alpha1.MaxAggregatedStatus
	}
	states := in.states()
	return BindingResult{
		Summary:          summary(states),
		AggregatedStatus: list(states, limit),
		FullyApplied:     fullyApplied(in, states),
	}
}

func summary(states []clusterState) workv1alpha1.ClusterSummary {
	sum := workv1alpha1.ClusterSummary{Clusters: int32(len(states))}
	for i := range states {
		switch states[i].standing {
		case applied:
			sum.Applied++
		case failed:
			sum.Failed++
		}
		switch states[i].health {
		case workv1alpha1.ResourceHealthy:
			sum.Healthy++
		case workv1alpha1.ResourceUnhealthy:
			sum.Unhealthy++
		}
	}
	return sum
}

func fullyApplied(in Input, states []clusterState) metav1.Condition {
	condition := metav1.Condition{
		Type:               workv1alpha1.BindingFullyApplied,
		ObservedGeneration: in.Binding.GetGeneration(),
	}
	condition.Status, condition.Reason, condition.Message = judge(in, states)
	if left := stillLeaving(in, states); left != "" && len(states) > 0 {
		condition.Message = strings.TrimSuffix(condition.Message, ".") + ". " + left
	}
	if len(in.NotGone) > 0 {
		condition.Message = strings.TrimSuffix(condition.Message, ".") + ". " + notGoneFrom + " " + whyNotGone(in.NotGone)
	}
	if missing := Unobserved(in.Binding, in.Released); missing != "" {
		condition.Message = strings.TrimSuffix(condition.Message, ".") + ". " + missing
		if condition.Status == metav1.ConditionTrue && !in.Released { // they have what they were to have before
			condition.Status, condition.Reason, condition.Message = metav1.ConditionFalse, ReasonWaiting, missing
		}
	}
	return condition
}

// unobserved begins what is said of a binding whose scheduler has not finished its word.
const unobserved = "status.schedulerObservedGeneration of the binding is"

// Unobserved says what a scheduler that is not the hub's has still to write, after the clusters of a binding, before they are
// heeded, and that this is not so of a template that no policy claims; empty when nothing is missing.
func Unobserved(binding workv1alpha1.Binding, released bool) string {
	spec, observed, generation := binding.GetSpec(), binding.GetStatus().SchedulerObservedGeneration, binding.GetGeneration()
	if spec.PlacedByHub() || len(spec.Clusters) == 0 || observed == generation {
		return ""
	}
	if released {
		return fmt.Sprintf("%s %d, and its generation is %d: no policy claims the template any more, and no cluster gets anything new of it until one does",
			unobserved, observed, generation)
	}
	return fmt.Sprintf("%s %d: what spec.clusters says is carried out when the scheduler %q has set it to %d, the binding's generation",
		unobserved, observed, spec.SchedulerName, generation)
}

func judge(in Input, states []clusterState) (status metav1.ConditionStatus, reason, message string) {
	conditions := in.Binding.GetStatus().Conditions
	if len(states) == 0 {
		status, reason, message = judgeNowhere(meta.FindStatusCondition(conditions, workv1alpha1.BindingScheduled))
		if status == metav1.ConditionTrue && len(in.Held) > 0 {
			return metav1.ConditionFalse, ReasonRemovalHeld, stillThere(in.Held)
		}
		return status, reason, message
	}
	if failures := pick(states, failed); failures.total > 0 {
		return metav1.ConditionFalse, failures.reason(), fmt.Sprintf("%d of %d clusters could not apply it: %s",
			failures.total, len(states), failures.explained())
	}
	if rendered := meta.FindStatusCondition(conditions, workv1alpha1.BindingRendered); rendered != nil && rendered.Status == metav1.ConditionFalse {
		return metav1.ConditionFalse, ReasonNotRendered, joinNonEmpty(": ", rendered.Reason, rendered.Message)
	}
	if len(in.Held) > 0 {
		return metav1.ConditionFalse, ReasonRemovalHeld, stillThere(in.Held)
	}
	if late := pick(states, waiting); late.total > 0 {
		return metav1.ConditionFalse, ReasonWaiting, fmt.Sprintf("%d of %d clusters have not applied it yet: %s",
			late.total, len(states), late.named())
	}
	if held := pick(states, suspended); held.total > 0 {
		return metav1.ConditionFalse, ReasonSuspended, fmt.Sprintf("Dispatching is suspended to %d of %d clusters: %s",
			held.total, len(states), held.named())
	}
	return metav1.ConditionTrue, ReasonApplied, fmt.Sprintf("All clusters have applied it: %d.", len(states))
}

// Removal sums up a binding that is being deleted and that these clusters, by the works, still have. What it said of clusters
// from which it is gone is dropped, and the others say what they wait for. Held are those in which a person has to confirm it.
func Removal(generation int64, works map[string]*workv1alpha1.PropagationWork, held []string) BindingResult {
	names := slices.Sorted(maps.Keys(works))
	states, waitFor := make([]clusterState, len(names)), map[string]string{}
	for i, name := range names {
		states[i] = clusterState{cluster: name, message: "it is being removed"}
		states[i].health, states[i].observed, _ = manifestsState(works[name].Status.ManifestStatuses)
		switch why := NotGone(works[name]); {
		case slices.Contains(held, name):
			states[i].message = "its removal is held back until a person confirms it"
		case why != "":
			waitFor[name] = why
			states[i].message += ": " + why
		}
	}
	condition := metav1.Condition{Type: workv1alpha1.BindingFullyApplied, Status: metav1.ConditionFalse, ObservedGeneration: generation, Reason: ReasonRemoving}
	condition.Message = fmt.Sprintf("It is being removed, and not gone yet from %s: %s",
		countClusters(len(names)), enumerate(", ", names[:min(len(names), namedFirst)], len(names)))
	switch {
	case len(held) > 0:
		condition.Reason, condition.Message = ReasonRemovalHeld, stillThere(held)
	case len(waitFor) > 0:
		condition.Message += ". What they wait for: " + whyNotGone(waitFor)
	}
	return BindingResult{Summary: summary(states), AggregatedStatus: list(states, workv1alpha1.MaxAggregatedStatus), FullyApplied: condition}
}

// notGoneFrom begins what is said of clusters that a removal is under way in.
const notGoneFrom = "It is not gone yet from"

// whyNotGone says what the removal from the first few clusters waits for.
func whyNotGone(whys map[string]string) string {
	names := slices.Sorted(maps.Keys(whys))
	sentences := make([]string, min(len(names), namedFirst))
	for i := range sentences {
		sentences[i] = names[i] + ": " + shorten(whys[names[i]], maxNamed)
	}
	return enumerate("; ", sentences, len(names))
}

// stillLeaving says of clusters that have to be left what they are not left without, and how far that is.
func stillLeaving(in Input, states []clusterState) string {
	var names []string
	for _, left := range in.leaving() {
		names = append(names, left.cluster)
	}
	if len(names) == 0 {
		return ""
	}
	slices.Sort(names)
	clusters := enumerate(", ", names[:min(len(names), namedFirst)], len(names))
	said := fmt.Sprintf("It is leaving %s, and stays there until it is healthy in all others: it is in %d of %d.",
		clusters, fine(states), len(states))
	if resource := in.Binding.GetSpec().Resource; interpret.Ends(schema.FromAPIVersionAndKind(resource.APIVersion, resource.Kind).GroupKind()) {
		said = fmt.Sprintf("It is leaving %s, and stays there until it has ended everywhere.", clusters)
	}
	if ptr.Deref(in.Binding.GetSpec().PreserveResourcesOnDeletion, false) {
		said += " Even then its copy there is not deleted, only let go, and what runs runs twice: its policy says preserveResourcesOnDeletion."
	}
	return said
}

// fine counts the clusters that have the present content and are healthy with it.
func fine(states []clusterState) int {
	count := 0
	for i := range states {
		if states[i].isFine() {
			count++
		}
	}
	return count
}

// stillThere names the first few of the clusters in which a removal is held.
func stillThere(clusters []string) string {
	names := slices.Sorted(slices.Values(clusters))
	return fmt.Sprintf("Its removal from %s is held back until a person confirms it; `windlass status` says how: %s",
		countClusters(len(names)), enumerate(", ", names[:min(len(names), namedFirst)], len(names)))
}

func countClusters(n int) string {
	if n == 1 {
		return "1 cluster"
	}
	return fmt.Sprintf("%d clusters", n)
}

// judgeNowhere judges a binding without clusters: the scheduler may have meant it.
func judgeNowhere(scheduled *metav1.Condition) (status metav1.ConditionStatus, reason, message string) {
	switch {
	case scheduled == nil:
		return metav1.ConditionFalse, ReasonNotScheduled, "It is not scheduled yet."
	case scheduled.Status == metav1.ConditionTrue:
		return metav1.ConditionTrue, ReasonApplied, "There is no cluster that is to have it."
	}
	return metav1.ConditionFalse, ReasonNotScheduled, joinNonEmpty(": ", scheduled.Reason, truncate(scheduled.Message, maxMessage))
}

// picked are the clusters of one standing, the first few of them at hand.
type picked struct {
	total      int
	first      []*clusterState
	oneReason  string
	manyReason bool
}

func pick(states []clusterState, wanted standing) picked {
	var p picked
	for i := range states {
		state := &states[i]
		if state.standing != wanted {
			continue
		}
		if p.total == 0 {
			p.oneReason = state.reason
		}
		p.manyReason = p.manyReason || state.reason != p.oneReason
		p.total++
		if len(p.first) < namedFirst {
			p.first = append(p.first, state)
		}
	}
	return p
}

// wellFormedReason is what the API takes for a condition's reason. It comes from a member here.
var wellFormedReason = regexp.MustCompile(`^[A-Za-z]([A-Za-z0-9_,:]{0,126}[A-Za-z0-9_])?$`)

func (p picked) reason() string {
	if p.manyReason || !wellFormedReason.MatchString(p.oneReason) {
		return ReasonFailed
	}
	return p.oneReason
}

func (p picked) named() string {
	names := make([]string, len(p.first))
	for i, state := range p.first {
		names[i] = state.cluster
	}
	return enumerate(", ", names, p.total)
}

func (p picked) explained() string {
	sentences := make([]string, len(p.first))
	for i, state := range p.first {
		sentences[i] = state.cluster + ": " + shorten(state.message, maxNamed)
	}
	return enumerate("; ", sentences, p.total)
}

// Status puts the result into a copy of a binding's status; now is the time of a transition, if
// there is one. changed is false, and the status old itself, when there is nothing to write.
func (r BindingResult) Status(old *workv1alpha1.BindingStatus, now metav1.Time) (status *workv1alpha1.BindingStatus, changed bool) {
	if old.Summary == r.Summary &&
		says(old.Conditions, r.FullyApplied) &&
		slices.EqualFunc(old.AggregatedStatus, r.AggregatedStatus, sameItem) {
		return old, false
	}
	status = old.DeepCopy()
	status.Summary = r.Summary
	status.AggregatedStatus = r.AggregatedStatus
	setCondition(&status.Conditions, r.FullyApplied, now)
	return status, true
}

func sameItem(a, b workv1alpha1.AggregatedStatusItem) bool {
	return a.ClusterName == b.ClusterName && a.Applied == b.Applied && a.AppliedMessage == b.AppliedMessage &&
		a.Health == b.Health && bytes.Equal(raw(a.Status), raw(b.Status))
}

func raw(status *runtime.RawExtension) []byte {
	if status == nil {
		return nil
	}
	return status.Raw
}

// says tells whether the conditions hold one that says the same, whenever it began.
func says(conditions []metav1.Condition, condition metav1.Condition) bool {
	old := meta.FindStatusCondition(conditions, condition.Type)
	if old == nil {
		return false
	}
	condition.LastTransitionTime = old.LastTransitionTime
	return *old == condition
}

func setCondition(conditions *[]metav1.Condition, condition metav1.Condition, now metav1.Time) {
	condition.LastTransitionTime = now // kept from before unless the status changes
	meta.SetStatusCondition(conditions, condition)
}

// Settled tells whether a new aggregated status is worth writing at once: either everything is fine
// in every cluster, or a cluster has failed that had not. Any other is a step on the way, and the
// next report is likely to change it; whoever writes may wait a little and write the last of them.
func Settled(old, new *workv1alpha1.BindingStatus) bool {
	sum := new.Summary
	if sum.Failed > old.Summary.Failed {
		return true
	}
	if whole := meta.FindStatusCondition(new.Conditions, workv1alpha1.BindingFullyApplied); whole != nil && whole.Reason == ReasonRemovalHeld {
		return false // it may have passed before others were held, and be done in a moment
	} else if whole != nil && strings.Contains(whole.Message, notGoneFrom) {
		return false // what it waits for goes step by step
	} else if whole != nil && strings.Contains(whole.Message, unobserved) {
		return false // the scheduler's clusters and this are two writes
	}
	return sum.Applied == sum.Clusters && sum.Healthy == sum.Clusters
}
