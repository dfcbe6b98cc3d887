package v1alpha1

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"k8s.io/apimachinery/pkg/util/validation/field"
)

// Warnings are sentences for whoever writes a policy, each about a field that is valid and has no effect, or not the one that
// somebody may expect. Such fields are accepted, for manifests that were written for Karmada have them and mean the same here.
// Exists says whether a cluster has a name: one that has none may come later, so no policy is refused for it. There are no more
// than fit into an answer.
func Warnings(policy Policy, exists func(cluster string) bool) []string {
	spec, path := policy.GetSpec(), field.NewPath("spec")
	placement, at := &spec.Placement, path.Child("placement")
	w := &warnings{exists: exists}
	w.ofSelectors(spec.ResourceSelectors, path.Child("resourceSelectors"))
	w.said = append(w.said, withoutEffectInDivision(placement.ReplicaScheduling, at.Child("replicaScheduling"))...)
	w.said = append(w.said, idleConstraints(placement, at)...)
	w.ofAffinity(placement.ClusterAffinity, at.Child("clusterAffinity"))
	for i := range placement.ClusterAffinities {
		group, at := &placement.ClusterAffinities[i], at.Child("clusterAffinities").Index(i)
		w.ofAffinity(&group.ClusterAffinity, at)
		for j := range group.OverflowAffinities {
			w.ofAffinity(&group.OverflowAffinities[j].ClusterAffinity, at.Child("overflowAffinities").Index(j))
		}
	}
	if strategy := placement.ReplicaScheduling; strategy != nil && strategy.WeightPreference != nil {
		for i := range strategy.WeightPreference.StaticWeightList {
			w.ofAffinity(&strategy.WeightPreference.StaticWeightList[i].TargetCluster,
				at.Child("replicaScheduling", "weightPreference", "staticWeightList").Index(i).Child("targetCluster"))
		}
	}
	if spec.Suspension != nil && spec.Suspension.DispatchingOnClusters != nil {
		names, at := spec.Suspension.DispatchingOnClusters.ClusterNames, path.Child("suspension", "dispatchingOnClusters")
		if len(names) == 0 {
			w.say(at, "pauses nothing: it names no cluster")
		}
		w.ofNames(names, at.Child("clusterNames"), "pauses")
	}
	return mostTold(w.said)
}

// OverrideWarnings are the same for an override policy.
func OverrideWarnings(policy Override, exists func(cluster string) bool) []string {
	w := &warnings{exists: exists}
	spec, path := policy.GetSpec(), field.NewPath("spec")
	w.ofSelectors(spec.ResourceSelectors, path.Child("resourceSelectors"))
	if len(spec.OverrideRules) == 0 && !spec.HasRules() {
		w.say(path.Child("overrideRules"), "is empty: the policy changes nothing")
		return mostTold(w.said)
	}
	for at, rule := range spec.Rules() {
		w.ofAffinity(rule.TargetCluster, at.Child("targetCluster"))
		w.ofOverriders(&rule.Overriders, at.Child("overriders"))
	}
	return mostTold(w.said)
}

// warnings are gathered one by one.
//
// +k8s:openapi-gen=false
type warnings struct {
	said   []string
	exists func(cluster string) bool
}

func (w *warnings) say(at *field.Path, format string, args ...any) {
	w.said = append(w.said, at.String()+" "+fmt.Sprintf(format, args...))
}

func (w *warnings) ofSelectors(selectors []ResourceSelector, path *field.Path) {
	for i := range selectors {
		if selectors[i].Name != "" && selectors[i].LabelSelector != nil {
			w.say(path.Index(i).Child("labelSelector"), "has no effect: the name alone selects")
		}
	}
}

func (w *warnings) ofAffinity(affinity *ClusterAffinity, path *field.Path) {
	if affinity == nil {
		return
	}
	w.ofNames(affinity.ClusterNames, path.Child("clusterNames"), "selects")
	w.ofNames(affinity.ExcludeClusters, path.Child("exclude"), "excludes")
	w.ofThose(affinity.ClusterNames, path.Child("clusterNames"), func(name string) bool { return slices.Contains(affinity.ExcludeClusters, name) },
		"has no effect", "exclude names %s, too")
}

// ofNames tells of names that no cluster has; does is what such a name would do.
func (w *warnings) ofNames(names []string, path *field.Path, does string) {
	w.ofThose(names, path, func(name string) bool { return !w.exists(name) }, does+" nothing yet", "no cluster is called %s")
}

// ofThose tells of the names in a list that are without effect, of all at once: a policy may name many clusters before they come.
func (w *warnings) ofThose(names []string, path *field.Path, idle func(name string) bool, what, because string) {
	var those []string
	at := path
	for i, name := range names {
		if idle(name) {
			those, at = append(those, name), path.Index(i)
		}
	}
	switch count := len(those); {
	case count == 1:
		w.say(at, what+": "+because, those[0])
	case count > mostNames:
		w.say(path, "%s by %d of its %d names: "+because, what, count, len(names), fmt.Sprintf("%s and %d more", strings.Join(those[:mostNames], ", "), count-mostNames))
	case count > 1:
		w.say(path, "%s by %d of its %d names: "+because, what, count, len(names), strings.Join(those, ", "))
	}
}

func (w *warnings) ofOverriders(o *Overriders, path *field.Path) {
	if o.operations() == 0 {
		w.say(path, "is empty: it changes nothing")
		return
	}
	for i := range o.ImageOverrider {
		if image := &o.ImageOverrider[i]; image.Operator == OverriderOpRemove && image.Value != "" {
			w.say(path.Child("imageOverrider").Index(i).Child("value"), "has no effect: remove takes away the whole %s", image.Component)
		}
	}
	w.ofWords(o.CommandOverrider, path.Child("commandOverrider"))
	w.ofWords(o.ArgsOverrider, path.Child("argsOverrider"))
	w.ofMaps(o.LabelsOverrider, path.Child("labelsOverrider"))
	w.ofMaps(o.AnnotationsOverrider, path.Child("annotationsOverrider"))
	for i := range o.AnnotationsOverrider {
		said, there := o.AnnotationsOverrider[i].Value[conflictResolutionAnnotation]
		if there && o.AnnotationsOverrider[i].Operator != OverriderOpRemove && !strings.Contains(said, referenceBegin) {
			w.said = append(w.said, conflictResolutionWarning(said, path.Child("annotationsOverrider").Index(i).Child("value"))...)
		}
	}
	for i := range o.Plaintext {
		at := path.Child("plaintext").Index(i)
		switch plain := &o.Plaintext[i]; {
		case plain.Operator == OverriderOpRemove && len(plain.Value.Raw) > 0:
			w.say(at.Child("value"), "has no effect: remove takes away all that is at path")
		case plain.Operator != OverriderOpRemove && len(plain.Value.Raw) == 0:
			w.say(at, "has no value and writes null: say remove to take away what is at path")
		}
	}
}

func (w *warnings) ofWords(overriders []CommandArgsOverrider, path *field.Path) {
	for i := range overriders {
		if len(overriders[i].Value) == 0 {
			w.say(path.Index(i), "changes nothing: its value names nothing to %s", overriders[i].Operator)
		}
	}
}

func (w *warnings) ofMaps(overriders []LabelAnnotationOverrider, path *field.Path) {
	for i := range overriders {
		if len(overriders[i].Value) == 0 {
			w.say(path.Index(i), "changes nothing: its value names nothing to %s", overriders[i].Operator)
		}
	}
}

// api/work/v1alpha1 exports these names; it imports this package, so they can't come from there.
const (
	conflictResolutionAnnotation = "work.karmada.io/conflict-resolution"
	retainReplicasLabel          = "resourcetemplate.karmada.io/retain-replicas"
)

// AnnotatedConflictResolution is what the annotation of a template for conflicts means, if it means anything.
func AnnotatedConflictResolution(said string) (resolution ConflictResolution, known bool) {
	switch strings.ToLower(said) {
	case "overwrite":
		return ConflictOverwrite, true
	case "abort":
		return ConflictAbort, true
	}
	return "", false
}

// TemplateWarnings are the same for what may be a template: about the marks by which its owner speaks to the hub.
func TemplateWarnings(labels, annotations map[string]string) []string {
	var said []string
	if value, there := annotations[conflictResolutionAnnotation]; there {
		said = conflictResolutionWarning(value, field.NewPath("metadata", "annotations"))
	}
	if value, there := labels[retainReplicasLabel]; there && value != "true" && value != "false" {
		said = append(said, fmt.Sprintf("%s has no effect, for it says %q: true leaves the replicas to the members", field.NewPath("metadata", "labels").Key(retainReplicasLabel), value))
	}
	return said
}

func conflictResolutionWarning(said string, annotations *field.Path) []string {
	if _, known := AnnotatedConflictResolution(said); known {
		return nil
	}
	if letters := []rune(said); len(letters) > mostOfValue {
		said = string(letters[:mostOfValue]) + "…"
	}
	return []string{fmt.Sprintf("%s has no effect, for it says %q: it may say overwrite or abort", annotations.Key(conflictResolutionAnnotation), said)}
}

const (
	mostOfValue = 40 // is told of a value that means nothing, in letters
	mostNames   = 5  // are told of a list
	// mostOfWarnings bounds all that is told, in letters. The API server sends 4096, its own warnings among them; beyond
	// that it cuts every single one and logs an error.
	mostOfWarnings = 3000
)

// mostTold are the first of the warnings, as many as fit, and how many more there are.
func mostTold(said []string) []string {
	letters := 0
	for i, warning := range said {
		if letters += utf8.RuneCountInString(warning); letters > mostOfWarnings {
			return append(slices.Clone(said[:i]), fmt.Sprintf("and %d more warnings like these: they don't fit into one answer", len(said)-i))
		}
	}
	return said
}

func withoutEffectInDivision(strategy *ReplicaSchedulingStrategy, path *field.Path) []string {
	if strategy == nil {
		return nil
	}
	var warnings []string
	idle := func(at *field.Path, because string) {
		warnings = append(warnings, fmt.Sprintf("%s has no effect: %s", at, because))
	}
	weights, at := strategy.WeightPreference, path.Child("weightPreference")
	switch {
	case strategy.ReplicaSchedulingType == ReplicaSchedulingDuplicated:
		const because = "with replicaSchedulingType Duplicated every cluster gets all replicas"
		if strategy.ReplicaDivisionPreference != "" {
			idle(path.Child("replicaDivisionPreference"), because)
		}
		if weights != nil {
			idle(at, because)
		}
	case weights == nil:
	case strategy.ReplicaDivisionPreference == ReplicaDivisionAggregated:
		idle(at, "with replicaDivisionPreference Aggregated the room of the clusters decides")
	case weights.DynamicWeight != "" && len(weights.StaticWeightList) > 0:
		idle(at.Child("staticWeightList"), "dynamicWeight wins over it")
	}
	return warnings
}

// idleConstraints tells of spread constraints beside static weights, or none at all. Beside an empty weightPreference they choose.
func idleConstraints(placement *Placement, path *field.Path) []string {
	strategy := placement.ReplicaScheduling
	if len(placement.SpreadConstraints) == 0 || strategy == nil || strategy.ReplicaSchedulingType == ReplicaSchedulingDuplicated ||
		strategy.ReplicaDivisionPreference == ReplicaDivisionAggregated ||
		strategy.WeightPreference != nil && (strategy.WeightPreference.DynamicWeight != "" || len(strategy.WeightPreference.StaticWeightList) == 0) {
		return nil
	}
	return []string{fmt.Sprintf("%s choose no clusters: where replicas are divided by static or equal weights, the weights do", path.Child("spreadConstraints"))}
}
