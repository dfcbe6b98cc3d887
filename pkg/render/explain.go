package render

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/utils/ptr"

	workv1alpha1 "windlass.dev/windlass/api/work/v1alpha1"
	"windlass.dev/windlass/pkg/interpret"
	"windlass.dev/windlass/pkg/override"
)

// Placed is what an explanation of the works of a binding is made from. Nothing in it is changed.
type Placed struct {
	Spec *workv1alpha1.BindingSpec
	// Targets are where it goes as it is decided now, which may be more than the binding says.
	Targets []workv1alpha1.TargetCluster
	// Works are those of the binding by cluster.
	Works map[string]*workv1alpha1.PropagationWork
	// Keeping is a target with as many replicas as it has for now: evict.Keeping.
	Keeping func(workv1alpha1.TargetCluster) workv1alpha1.TargetCluster
	// Leaving says of clusters that are being left why they have it still, and of others when they will be: evict.Explain.
	Leaving map[string]string
	// Removed is true of a binding that is being deleted, which goes nowhere any more.
	Removed bool
	// Held says of a work that is being removed whether that waits for a person, and WaitsFor what else it waits for, as far as that
	// is known.
	Held     func(cluster string, work *workv1alpha1.PropagationWork) bool
	WaitsFor func(cluster string, work *workv1alpha1.PropagationWork) string
	// Silent is true of a cluster whose agent is not connected.
	Silent func(cluster string) bool
}

// Explain says of clusters what their works have other than the placement says, and why, in the order of their names: of those that
// the binding goes to, and of those that still have something of it. Clusters of which there is nothing to say are left out.
func Explain(placed Placed) []workv1alpha1.PlacementDetail {
	var details []workv1alpha1.PlacementDetail
	goes := map[string]bool{}
	for _, target := range placed.Targets {
		goes[target.Name] = true
		if detail := placed.target(target); detail.WorkReplicas != nil || detail.Message != "" {
			details = append(details, detail)
		}
	}
	for cluster, work := range placed.Works {
		if goes[cluster] {
			continue
		}
		detail := workv1alpha1.PlacementDetail{Cluster: cluster, Message: placed.whyStillThere(cluster, work)}
		if placed.Spec.Replicas != nil {
			detail.WorkReplicas = replicasIn(work)
		}
		details = append(details, detail)
	}
	slices.SortFunc(details, func(a, b workv1alpha1.PlacementDetail) int { return strings.Compare(a.Cluster, b.Cluster) })
	return details
}

// target is about a cluster that the binding goes to.
func (p *Placed) target(target workv1alpha1.TargetCluster) workv1alpha1.PlacementDetail {
	detail, work := workv1alpha1.PlacementDetail{Cluster: target.Name}, p.Works[target.Name]
	switch {
	case work == nil:
		detail.Message = "has no work yet"
		return detail
	case work.DeletionTimestamp != nil:
		detail.Message = "gets it again as soon as its removal is over"
		if why := p.WaitsFor(target.Name, work); why != "" {
			detail.Message += ": " + why
		}
		return detail
	}
	var reasons []string
	if in := replicasIn(work); p.Spec.Replicas != nil && in != nil && *in != target.Replicas {
		detail.WorkReplicas = in
		reasons = append(reasons, p.whyOtherReplicas(target, work, *in))
	}
	if suspension := p.Spec.Suspension; suspension.Suspends(target.Name) && !ptr.Deref(suspension.Dispatching, false) { // else all are, which is said of the whole
		reasons = append(reasons, "gets no changes while its policy's suspension pauses it")
	}
	if leaving := p.Leaving[target.Name]; leaving != "" {
		reasons = append(reasons, leaving)
	}
	if refused := whyNotApplied(work); refused != "" {
		reasons = append(reasons, refused)
	}
	if p.Silent(target.Name) {
		reasons = append(reasons, "is not connected, and gets no changes until it is")
	}
	detail.Message = strings.Join(reasons, "; ")
	return detail
}

// whyNotApplied is what a cluster says of the present content of its work when that is not applied there. One that has not said
// anything of it yet is about to.
func whyNotApplied(work *workv1alpha1.PropagationWork) string {
	applied := meta.FindStatusCondition(work.Status.Conditions, workv1alpha1.WorkApplied)
	if applied == nil || applied.Status != metav1.ConditionFalse || applied.ObservedGeneration != 0 && applied.ObservedGeneration != work.Generation {
		return ""
	}
	why := applied.Reason
	if applied.Message != "" {
		why += ": " + applied.Message
	}
	return "has not applied it: " + why
}

// whyOtherReplicas says why a work has another number of replicas than the placement says.
func (p *Placed) whyOtherReplicas(target workv1alpha1.TargetCluster, work *workv1alpha1.PropagationWork, in int32) string {
	switch kept := p.Keeping(target).Replicas; {
	case work.Spec.Replicas != nil && *work.Spec.Replicas != in:
		return "gets the replicas that " + overriddenBy(work) + " says"
	case kept > target.Replicas && kept == in:
		return "keeps the replicas that were moved away until they are healthy elsewhere"
	}
	return "has not got its new number of replicas yet"
}

// whyStillThere says why a cluster has the template, which goes elsewhere, or is being removed.
func (p *Placed) whyStillThere(cluster string, work *workv1alpha1.PropagationWork) string {
	if work.DeletionTimestamp == nil {
		if p.Removed {
			return "is about to lose it"
		}
		return cmp.Or(p.Leaving[cluster], "is left in a moment")
	}
	said := "is left, and the removal there is not over yet"
	if p.Removed {
		said = "has it still, for the removal there is not over yet"
	}
	if p.Held(cluster, work) {
		return said + ": deletions in that cluster wait for a person, and `windlass status` says how to let them go"
	}
	if why := p.WaitsFor(cluster, work); why != "" {
		said += ": " + why
	}
	return said
}

// replicasIn are the replicas that the manifest of a work asks for; nil where nothing can be said. Only overrides make them others
// than those that the work was written with.
func replicasIn(work *workv1alpha1.PropagationWork) *int32 {
	if len(overridesIn(work)) == 0 {
		return work.Spec.Replicas
	}
	if len(work.Spec.Workload.Manifests) == 0 {
		return nil
	}
	manifest := &unstructured.Unstructured{}
	if err := json.Unmarshal(work.Spec.Workload.Manifests[0].Raw, &manifest.Object); err != nil {
		return nil // somebody wrote into the work, and it is made anew
	}
	replicas, _ := interpret.Replicas(manifest)
	return replicas
}

// overridesIn are the override policies that have changed what is in a work, with their kind.
func overridesIn(work *workv1alpha1.PropagationWork) []string {
	var names []string
	for _, record := range []struct{ annotation, kind string }{
		{workv1alpha1.AppliedClusterOverridesAnnotation, "ClusterOverridePolicy "},
		{workv1alpha1.AppliedOverridesAnnotation, "OverridePolicy "},
	} {
		var applied []override.Applied
		if json.Unmarshal([]byte(work.Annotations[record.annotation]), &applied) != nil {
			continue // there is none
		}
		for _, one := range applied {
			if name := record.kind + one.PolicyName; !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	return names
}

// mostOverrides bounds the override policies that a message names.
const mostOverrides = 3

func overriddenBy(work *workv1alpha1.PropagationWork) string {
	names := overridesIn(work)
	if len(names) == 1 {
		return names[0]
	}
	said := "one of its override policies (" + strings.Join(names[:min(len(names), mostOverrides)], ", ")
	if more := len(names) - mostOverrides; more > 0 {
		said += fmt.Sprintf(" and %d more", more)
	}
	return said + ")"
}
