package aggregate

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	policyv1alpha1 "windlass.dev/windlass/api/policy/v1alpha1"
	workv1alpha1 "windlass.dev/windlass/api/work/v1alpha1"
)

// PolicyReady is the type of a policy's condition: it is True when everything that the policy claims
// is scheduled and applied, and nothing of it has to leave a cluster and has nowhere else to go.
const PolicyReady = "Ready"

// Reasons of a policy's Ready condition, beside ReasonNotScheduled; the first that applies is given.
const (
	ReasonKindNotFound    = "KindNotFound"
	ReasonOverrideMissing = "OverrideMissing"
	ReasonClassNotFound   = "PriorityClassNotFound"
	ReasonNothingSelected = "NothingSelected"
	ReasonNotApplied      = "NotApplied"
	ReasonNowhereElse     = workv1alpha1.ScheduledNowhereElse
	ReasonReady           = "Ready"
	ReasonSelectorsUnused = "SelectorsUnused" // it is True all the same
)

// PolicyInput is what a policy has brought about.
type PolicyInput struct {
	// Generation of the policy.
	Generation int64
	// Bindings are those of the templates that the policy claims, in any order.
	Bindings []workv1alpha1.Binding
	// MissingKinds are selected kinds that the hub does not serve, such as "example.com/v1 Widget".
	MissingKinds []string
	// MissingOverrides are the override policies that the policy waits for: policy.MissingOverrides.
	MissingOverrides []string
	// MissingClass is the PriorityClass that the policy names and the hub does not have.
	MissingClass string
	// Lagging is how many of the bindings do not follow yet what the policy says now, because it is Lazy.
	Lagging int
	// Unused are the resource selectors by which nothing is claimed: policy.Unused.
	Unused []string
	// WhyIdle says why there are no bindings: policy.WhyIdle.
	WhyIdle string
}

// Policy makes a policy's status; now is the time of a transition, if there is one. changed is false,
// and the status old itself, when there is nothing to write.
func Policy(in PolicyInput, old *policyv1alpha1.PropagationStatus, now metav1.Time) (status *policyv1alpha1.PropagationStatus, changed bool) {
	status = &policyv1alpha1.PropagationStatus{
		ObservedGeneration: in.Generation,
		Conditions:         slices.Clone(old.Conditions),
		Templates:          int32(len(in.Bindings)),
	}
	var unscheduled, unapplied, stranded, remarked troubles
	for _, binding := range in.Bindings {
		state := binding.GetStatus()
		switch scheduled := meta.FindStatusCondition(state.Conditions, workv1alpha1.BindingScheduled); {
		case scheduled == nil || scheduled.Status != metav1.ConditionTrue:
			unscheduled.add(binding, workv1alpha1.BindingScheduled)
		case scheduled.Reason == workv1alpha1.ScheduledNowhereElse:
			stranded.add(binding, workv1alpha1.BindingScheduled)
			status.Scheduled++
		case scheduled.Reason == workv1alpha1.ScheduledClustersLeftOut || scheduled.Reason == workv1alpha1.ScheduledSpreadNotMet:
			remarked.add(binding, workv1alpha1.BindingScheduled)
			status.Scheduled++
		default:
			status.Scheduled++
		}
		if meta.IsStatusConditionTrue(state.Conditions, workv1alpha1.BindingFullyApplied) {
			status.Applied++
		} else {
			unapplied.add(binding, workv1alpha1.BindingFullyApplied)
		}
		if sum := state.Summary; sum.Clusters > 0 && sum.Healthy == sum.Clusters {
			status.Healthy++
		}
	}
	ready := metav1.Condition{Type: PolicyReady, Status: metav1.ConditionFalse, ObservedGeneration: in.Generation}
	switch total := len(in.Bindings); {
	case len(in.MissingKinds) > 0:
		ready.Reason = ReasonKindNotFound
		ready.Message = fmt.Sprintf("The hub does not serve %s: check apiVersion and kind of the resource selectors, or apply the CRD.",
			strings.Join(slices.Sorted(slices.Values(in.MissingKinds)), ", "))
	case len(in.MissingOverrides) > 0:
		ready.Reason = ReasonOverrideMissing
		ready.Message = fmt.Sprintf("New and changed objects wait for what dependentOverrides names: %s. Create what is missing, or take its name out.",
			enumerate(", ", in.MissingOverrides[:min(len(in.MissingOverrides), namedFirst)], len(in.MissingOverrides)))
	case in.MissingClass != "":
		ready.Reason = ReasonClassNotFound
		ready.Message = fmt.Sprintf("The hub has no PriorityClass %s, which schedulePriority names: apply it; templates without a binding wait for it.", in.MissingClass)
	case total == 0:
		ready.Reason = ReasonNothingSelected
		ready.Message = joinNonEmpty(": ", "No object is claimed", truncate(in.WhyIdle, maxMessage))
	case len(unscheduled) > 0:
		ready.Reason = ReasonNotScheduled
		ready.Message = someOf(len(unscheduled), total) + numbered(len(unscheduled), " is", " are") + " not scheduled: " + unscheduled.String()
	case len(unapplied) > 0:
		ready.Reason = ReasonNotApplied
		ready.Message = someOf(len(unapplied), total) + numbered(len(unapplied), " is", " are") + " not applied everywhere: " + unapplied.String()
		if len(stranded) > 0 {
			ready.Message += "; and " + strandedThere(fmt.Sprint(len(stranded)), len(stranded))
		}
	case len(stranded) > 0:
		ready.Reason = ReasonNowhereElse
		ready.Message = strandedThere(someOf(len(stranded), total), len(stranded)) + ": " + stranded.String()
	default:
		ready.Status, ready.Reason = metav1.ConditionTrue, ReasonReady
		ready.Message = fmt.Sprintf("All templates are scheduled and applied: %d.", total)
		if in.Lagging > 0 {
			ready.Message += fmt.Sprintf(" %d of them will follow this policy as it is now when they are changed next, for it is Lazy.", in.Lagging)
		}
		if len(in.Unused) > 0 {
			ready.Reason = ReasonSelectorsUnused
			ready.Message += " " + unused(in.Unused)
		}
		if len(remarked) > 0 {
			ready.Message += fmt.Sprintf(" Not all of the placement has an effect for %d of them: %s", len(remarked), remarked)
		}
	}
	setCondition(&status.Conditions, ready, now)
	if equality.Semantic.DeepEqual(old, status) {
		return old, false
	}
	return status, true
}

// unused names the first few selectors by which nothing is claimed.
func unused(selectors []string) string {
	first := make([]string, min(len(selectors), namedFirst))
	for i := range first {
		first[i] = truncate(selectors[i], maxNamed)
	}
	return fmt.Sprintf("Nothing is claimed by %d of the resource selectors: %s.", len(selectors), enumerate(", ", first, len(selectors)))
}

// someOf counts some of all templates.
func someOf(some, all int) string {
	return fmt.Sprintf("%d of %d %s", some, all, numbered(all, "template", "templates"))
}

// numbered is a word for one or for several.
func numbered(n int, one, several string) string {
	if n == 1 {
		return one
	}
	return several
}

// strandedThere goes on about so many templates.
func strandedThere(who string, n int) string {
	return who + numbered(n, " has to leave a cluster and stays", " have to leave a cluster and stay") + " there, for no other fits"
}

// troubles are bindings that lack a condition.
type troubles []trouble

type trouble struct {
	binding       workv1alpha1.Binding
	conditionType string
}

func (t *troubles) add(binding workv1alpha1.Binding, conditionType string) {
	*t = append(*t, trouble{binding, conditionType})
}

// String names the first few templates by name and says what their conditions say.
func (t troubles) String() string {
	slices.SortFunc(t, func(a, b trouble) int { return strings.Compare(a.template(), b.template()) })
	first := make([]string, 0, namedFirst)
	for _, trouble := range t[:min(len(t), namedFirst)] {
		first = append(first, trouble.String())
	}
	return enumerate("; ", first, len(t))
}

func (t trouble) template() string {
	resource := t.binding.GetSpec().Resource
	return resource.Kind + " " + joinNonEmpty("/", resource.Namespace, resource.Name)
}

func (t trouble) String() string {
	condition := meta.FindStatusCondition(t.binding.GetStatus().Conditions, t.conditionType)
	if condition == nil {
		return t.template()
	}
	said := condition.Message
	if said == "" {
		said = condition.Reason
	}
	return joinNonEmpty(": ", t.template(), truncate(said, 2*maxNamed))
}
