// Package render alone makes works: it turns a template and the clusters that its binding names into
// one PropagationWork for each of them, says how bindings and works are called, and names the content
// of a template by a hash.
//
//	template ──Prune──► manifest ──┬─ cluster a: 4 replicas, overrides ──► work in karmada-es-a
//	                               ├─ cluster b: 2 replicas ─────────────► work in karmada-es-b
//	                               └─ ...
//
// What all clusters share is made once; clusters with the same number of replicas and the same overrides
// share the bytes of their manifest as well, so that 1,000 clusters cost little more than one.
package render

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/utils/ptr"

	clusterv1alpha1 "windlass.dev/windlass/api/cluster/v1alpha1"
	policyv1alpha1 "windlass.dev/windlass/api/policy/v1alpha1"
	workv1alpha1 "windlass.dev/windlass/api/work/v1alpha1"
	"windlass.dev/windlass/pkg/interpret"
	"windlass.dev/windlass/pkg/override"
)

// TooLargeError says that a template does not fit into a work.
type TooLargeError struct {
	Resource     workv1alpha1.ObjectReference
	Bytes, Limit int
}

// Error is fit for the eyes of whoever wrote the template.
func (e *TooLargeError) Error() string {
	return fmt.Sprintf("%s is too large to be propagated: its manifest has %d bytes, and a work holds at most %d; make it smaller or split it",
		describe(e.Resource), e.Bytes, e.Limit)
}

func describe(resource workv1alpha1.ObjectReference) string {
	if resource.Namespace == "" {
		return resource.Kind + " " + resource.Name
	}
	return resource.Kind + " " + resource.Namespace + "/" + resource.Name
}

// TemplateHash names the content of a template that travels: it stays the same when status,
// metadata that the API server sets, or claim marks change, and never otherwise.
func TemplateHash(template *unstructured.Unstructured) (string, error) {
	content, err := encode(interpret.Prune(template))
	if err != nil {
		return "", err
	}
	return contentHash(content), nil
}

func contentHash(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:16])
}

// encode writes an object as JSON with sorted keys: the same object is always the same bytes.
func encode(obj *unstructured.Unstructured) ([]byte, error) {
	encoded, err := workv1alpha1.EncodeManifest(obj.Object)
	if err != nil {
		return nil, fmt.Errorf("encoding %s %s: %w", obj.GetKind(), obj.GetName(), err)
	}
	return encoded, nil
}

// Renderer makes the works of one binding. It is not safe for concurrent use.
type Renderer struct {
	binding      workv1alpha1.Binding
	reference    workv1alpha1.BindingReference
	template     workv1alpha1.ObjectReference
	templateHash string
	overrides    *override.Set
	apportion    Apportion
	labels       map[string]string
	name         string

	divided     bool             // clusters have the replicas that the binding says
	completions map[string]int32 // of a divided Job, by cluster
	elastic     bool             // it is an indexed Job with as many replicas as completions

	source      *unstructured.Unstructured // the template, which is not changed
	manifest    *unstructured.Unstructured // its replicas are whatever was rendered last
	overridable *unstructured.Unstructured // as the manifest; nil: nothing was overridden yet
	whole       content                    // with the template's own replicas, and not overridden
	rendered    map[differences]content
}

// differences are all that the manifests of two clusters may differ in.
type differences struct {
	replicas, completions int32
	overrides             string // the key of an override.Choice
}

// undivided stands for a number that is the template's own.
const undivided = -1

// content is what clusters without differences share.
type content struct {
	manifest  []byte
	conflicts policyv1alpha1.ConflictResolution
	// What was overridden, in the form of the work's annotations; empty for nothing.
	clusterOverrides, overrides string
	// unknown is what the annotation for conflicts says, where that means nothing.
	unknown string
	mortal  bool     // an override gave a Job a time to live, which was taken away
	idle    []string // overriders that found nothing to change
	err     error
}

// Apportion divides a number in proportion to weights, as the scheduler divides replicas.
type Apportion func(total int32, weights []int64, uid types.UID) []int32

// New prepares the rendering of a template to the clusters of its binding. It fails with a
// *TooLargeError when the template does not fit into a work. The overrides are those of the template, and
// apportion divides the completions of a Job.
func New(template *unstructured.Unstructured, binding workv1alpha1.Binding, overrides *override.Set, apportion Apportion) (*Renderer, error) {
	manifest := interpret.Prune(template)
	whole, err := encode(manifest)
	if err != nil {
		return nil, err
	}
	kind := template.GroupVersionKind()
	r := &Renderer{
		binding:   binding,
		reference: bindingReference(binding),
		template: workv1alpha1.ObjectReference{
			APIVersion: template.GetAPIVersion(),
			Kind:       kind.Kind,
			Namespace:  template.GetNamespace(),
			Name:       template.GetName(),
			UID:        template.GetUID(),
		},
		templateHash: contentHash(whole),
		overrides:    overrides,
		apportion:    apportion,
		name:         WorkName(binding.GetName(), kind.Group, kind.Kind, template.GetNamespace(), template.GetName()),
		source:       template,
		manifest:     manifest,
		whole:        content{manifest: whole},
		rendered:     map[differences]content{},
	}
	r.whole.conflicts, r.whole.unknown = conflictResolution(template, binding.GetSpec().ConflictResolution)
	if r.labels, err = permanentID(binding); err != nil {
		return nil, err
	}
	if err := r.checkSize(whole); err != nil {
		return nil, err
	}
	r.divide(endedInParts(template, binding.GetSpec()))
	return r, nil
}

// TemplateHash is the hash that the works bear.
func (r *Renderer) TemplateHash() string { return r.templateHash }

func (r *Renderer) checkSize(manifest []byte) error {
	if len(manifest) > workv1alpha1.MaxWorkBytes {
		return &TooLargeError{Resource: r.template, Bytes: len(manifest), Limit: workv1alpha1.MaxWorkBytes}
	}
	return nil
}

func bindingReference(binding workv1alpha1.Binding) workv1alpha1.BindingReference {
	kind := "PropagationBinding"
	if isClusterScoped(binding) {
		kind = "ClusterPropagationBinding"
	}
	return workv1alpha1.BindingReference{Kind: kind, Namespace: binding.GetNamespace(), Name: binding.GetName()}
}

// isClusterScoped goes by the namespace: an object read from a store may not say its kind.
func isClusterScoped(binding workv1alpha1.Binding) bool { return binding.GetNamespace() == "" }

// permanentID is the label by which the works of a binding are found.
func permanentID(binding workv1alpha1.Binding) (map[string]string, error) {
	label := workv1alpha1.BindingPermanentIDLabel
	if isClusterScoped(binding) {
		label = workv1alpha1.ClusterBindingPermanentIDLabel
	}
	id := binding.GetLabels()[label]
	if id == "" {
		return nil, fmt.Errorf("binding %s has no label %s, by which its works are found", binding.GetName(), label)
	}
	return map[string]string{label: id}, nil
}

// conflictResolution is what the template's annotation says, or the policy. Unknown is what the annotation says, if it means
// nothing.
func conflictResolution(template *unstructured.Unstructured, otherwise policyv1alpha1.ConflictResolution) (resolution policyv1alpha1.ConflictResolution, unknown string) {
	said := template.GetAnnotations()[workv1alpha1.ConflictResolutionAnnotation]
	if resolution, known := policyv1alpha1.AnnotatedConflictResolution(said); known {
		return resolution, ""
	}
	return cmp.Or(otherwise, policyv1alpha1.ConflictAbort), said
}

// mostOfValue bounds what is told of a value that means nothing, mostIdle the overriders that are named because they change
// nothing.
const (
	mostOfValue = 40
	mostIdle    = 3
)

// Doubt says what in the template, or in what overrides have written for some cluster, has no effect, and is probably a slip of
// the pen; empty for nothing. It knows of the works that were rendered so far.
func (r *Renderer) Doubt() string {
	var doubts []string
	if annotation := r.unknownResolution(); annotation != "" {
		doubts = append(doubts, annotation)
	}
	if r.mortal() {
		doubts = append(doubts, "spec.ttlSecondsAfterFinished, which an override writes, has no effect: a Job travels without it, or a member that deletes the finished Job would be given it again, and run it again")
	}
	return strings.Join(append(doubts, r.idle()...), "; ")
}

// mortal says whether an override has given a Job a time to live.
func (r *Renderer) mortal() bool {
	for _, made := range r.rendered {
		if made.mortal {
			return true
		}
	}
	return false
}

// idle are the first few of the overriders that found nothing to change in a manifest that they are meant for.
func (r *Renderer) idle() []string {
	all := sets.New[string]()
	for _, made := range r.rendered {
		all.Insert(made.idle...)
	}
	told := sets.List(all)
	if more := len(told) - mostIdle; more > 0 {
		told = append(told[:mostIdle], fmt.Sprintf("and %d more overriders change nothing", more))
	}
	return told
}

// unknownResolution tells of an annotation for conflicts that says nothing that is known.
func (r *Renderer) unknownResolution() string {
	where, said := "", ""
	for _, made := range r.rendered {
		if made.unknown != "" && (said == "" || made.unknown < said) {
			where, said = "which an override writes", made.unknown
		}
	}
	if r.whole.unknown != "" {
		where, said = "of the template", r.whole.unknown
	}
	if said == "" {
		return ""
	}
	if letters := []rune(said); len(letters) > mostOfValue {
		said = string(letters[:mostOfValue]) + "…"
	}
	return fmt.Sprintf("the annotation %s %s says %q and has no effect: it may say overwrite or abort; without it the conflictResolution of the policy holds",
		workv1alpha1.ConflictResolutionAnnotation, where, said)
}

// divide finds out whether the clusters share the template's replicas, and then, of a Job, also its
// completions. Where they don't share, each gets the template as it is.
func (r *Renderer) divide(inParts bool) {
	spec := r.binding.GetSpec()
	inParts = inParts || divides(spec.Placement)
	r.divided = spec.Replicas != nil && (inParts || numberedByAnother(spec))
	if !r.divided || !inParts {
		return // a Job whose parallelism another scheduler says keeps its completions, as in Karmada
	}
	total, found := interpret.Completions(r.manifest)
	if !found {
		return
	}
	mode, _, _ := unstructured.NestedString(r.manifest.Object, "spec", "completionMode")
	r.elastic = mode == "Indexed" && total == *spec.Replicas
	clusters := byName(spec.Clusters)
	parallelism := make([]int64, len(clusters), len(clusters)+1)
	gone := int64(*spec.Replicas)
	for i, cluster := range clusters {
		parallelism[i] = int64(cluster.Replicas)
		gone -= parallelism[i]
	}
	if gone > 0 {
		parallelism = append(parallelism, gone) // of a Job that has ended, a part may be in no cluster any more; the others stay what they are
	}
	if !slices.ContainsFunc(parallelism, func(n int64) bool { return n > 0 }) {
		parallelism = slices.Repeat([]int64{1}, len(parallelism)) // it stands still, and its parts are as even as can be
	}
	parts := r.apportion(total, parallelism, r.template.UID)
	r.completions = make(map[string]int32, len(clusters))
	for i, cluster := range clusters {
		r.completions[cluster.Name] = parts[i]
		if r.elastic {
			r.completions[cluster.Name] = cluster.Replicas // a member refuses any other number
		}
	}
}

func divides(placement *policyv1alpha1.Placement) bool {
	return placement != nil && placement.ReplicaScheduling != nil && placement.ReplicaScheduling.ReplicaSchedulingType != policyv1alpha1.ReplicaSchedulingDuplicated
}

// numberedByAnother says whether a scheduler other than the hub's has said how many replicas clusters get, which then holds whatever
// the placement says. The hub's own says the template's number where it does not divide, and may be a moment behind the template.
func numberedByAnother(spec *workv1alpha1.BindingSpec) bool {
	return !spec.PlacedByHub() && ptr.Deref(spec.Replicas, 0) > 0 && slices.ContainsFunc(spec.Clusters, func(target workv1alpha1.TargetCluster) bool {
		return target.Replicas > 0
	})
}

// endedInParts says whether a Job has ended and ran in parts, which it stays in whatever its placement says by now.
func endedInParts(template *unstructured.Unstructured, spec *workv1alpha1.BindingSpec) bool {
	return interpret.Ends(template.GroupVersionKind().GroupKind()) && interpret.Ended(template) && slices.ContainsFunc(spec.Clusters, func(target workv1alpha1.TargetCluster) bool {
		return spec.Replicas != nil && target.Replicas != *spec.Replicas
	})
}

func byName(clusters []workv1alpha1.TargetCluster) []workv1alpha1.TargetCluster {
	return slices.SortedFunc(slices.Values(clusters), func(a, b workv1alpha1.TargetCluster) int {
		return strings.Compare(a.Name, b.Name)
	})
}

// Keep has the part of a divided Job that a work holds keep its completions: the member's API server
// lets nobody change them. Only where they go together with the parallelism they may be changed.
func (r *Renderer) Keep(cluster string, existing *workv1alpha1.PropagationWork) {
	_, divided := r.completions[cluster]
	if !divided || r.elastic || existing.Spec.Template == nil || existing.Spec.Template.UID != r.template.UID || len(existing.Spec.Workload.Manifests) == 0 {
		return
	}
	part := &unstructured.Unstructured{}
	if err := json.Unmarshal(existing.Spec.Workload.Manifests[0].Raw, &part.Object); err != nil {
		return // somebody wrote into the work, and it is made anew
	}
	if completions, found := interpret.Completions(part); found {
		r.completions[cluster] = completions
	}
}

// contentFor returns what a cluster gets. Clusters without differences share its bytes.
func (r *Renderer) contentFor(target workv1alpha1.TargetCluster, cluster *clusterv1alpha1.MemberCluster) (content, error) {
	choice, err := r.overrides.For(cluster)
	if err != nil {
		return content{}, &OverrideError{err}
	}
	wanted := differences{replicas: undivided, completions: undivided, overrides: choice.Key}
	if r.divided {
		wanted.replicas = target.Replicas
		if completions, found := r.completions[target.Name]; found {
			wanted.completions = completions
		}
	}
	if wanted == (differences{replicas: undivided, completions: undivided}) {
		return r.whole, nil
	}
	made, found := r.rendered[wanted]
	if !found {
		made = r.make(wanted, choice)
		r.rendered[wanted] = made
	}
	return made, made.err
}

// make renders a manifest: first its numbers and then what is overridden, which may be the numbers. What does not travel is taken out
// after that, so that no override brings it to a member.
func (r *Renderer) make(wanted differences, choice override.Choice) content {
	manifest := r.manifest
	if wanted.overrides != "" {
		if r.overridable == nil {
			r.overridable = interpret.Overridable(r.source)
		}
		manifest = r.overridable
	}
	if wanted.replicas != undivided {
		interpret.ReviseReplicas(manifest, wanted.replicas)
	}
	if wanted.completions != undivided {
		interpret.ReviseCompletions(manifest, wanted.completions)
	}
	made := content{conflicts: r.whole.conflicts}
	if wanted.overrides != "" {
		overridden, idle, err := choice.Apply(manifest)
		if err != nil {
			return content{err: &OverrideError{err}}
		}
		made.idle = idle
		// For some clusters an override may say what the template's annotation says for all.
		made.conflicts, made.unknown = conflictResolution(overridden, r.binding.GetSpec().ConflictResolution)
		made.clusterOverrides, made.overrides = choice.Record()
		lifetime := interpret.TimeToLive(overridden)
		made.mortal = lifetime != nil && !equality.Semantic.DeepEqual(lifetime, interpret.TimeToLive(manifest))
		manifest = overridden
		interpret.PruneOverridden(manifest)
	}
	if made.manifest, made.err = encode(manifest); made.err == nil {
		made.err = r.checkSize(made.manifest)
	}
	if made.err != nil && wanted.overrides != "" {
		made.err = &OverrideError{made.err}
	}
	return made
}

// Work renders the work of one of the binding's clusters, whole but for what the store sets. The
// specs of one Renderer's works share memory: they are to be stored, not changed. An *OverrideError is
// about this cluster alone. Without overrides nothing is asked of the cluster, which may be nil then.
func (r *Renderer) Work(target workv1alpha1.TargetCluster, cluster *clusterv1alpha1.MemberCluster) (*workv1alpha1.PropagationWork, error) {
	content, err := r.contentFor(target, cluster)
	if err != nil {
		return nil, err
	}
	spec := r.binding.GetSpec()
	work := &workv1alpha1.PropagationWork{
		ObjectMeta: metav1.ObjectMeta{
			Namespace:  workv1alpha1.ExecutionNamespace(target.Name),
			Name:       r.name,
			Labels:     maps.Clone(r.labels),
			Finalizers: []string{workv1alpha1.WorkFinalizer},
		},
		Spec: workv1alpha1.WorkSpec{
			Workload:                    workv1alpha1.WorkloadTemplate{Manifests: []runtime.RawExtension{{Raw: content.manifest}}},
			SuspendDispatching:          suspended(spec.Suspension, target.Name),
			PreserveResourcesOnDeletion: spec.PreserveResourcesOnDeletion,
			ConflictResolution:          content.conflicts,
			Binding:                     &r.reference,
			Template:                    &r.template,
			TemplateHash:                r.templateHash,
		},
	}
	if spec.Replicas != nil {
		work.Spec.Replicas = &target.Replicas
	}
	if content.clusterOverrides != "" {
		metav1.SetMetaDataAnnotation(&work.ObjectMeta, workv1alpha1.AppliedClusterOverridesAnnotation, content.clusterOverrides)
	}
	if content.overrides != "" {
		metav1.SetMetaDataAnnotation(&work.ObjectMeta, workv1alpha1.AppliedOverridesAnnotation, content.overrides)
	}
	return work, nil
}

// Rescale returns a copy of an existing work with another number of replicas, and otherwise as it is: what else has changed since is not for its
// cluster. It returns nil when there is nothing to write, or the number is not the binding's: an override, or somebody who wrote into the
// work, has made it another one.
func Rescale(existing *workv1alpha1.PropagationWork, replicas int32) *workv1alpha1.PropagationWork {
	written, manifests := existing.Spec.Replicas, existing.Spec.Workload.Manifests
	if written == nil || *written == replicas || len(manifests) == 0 {
		return nil
	}
	manifest := &unstructured.Unstructured{}
	if err := utiljson.Unmarshal(manifests[0].Raw, &manifest.Object); err != nil { // which keeps integers as they are
		return nil
	}
	if has, _ := interpret.Replicas(manifest); has == nil || *has != *written || !interpret.ReviseReplicas(manifest, replicas) {
		return nil
	}
	raw, err := encode(manifest)
	if err != nil {
		return nil
	}
	rescaled := existing.DeepCopy()
	rescaled.Spec.Replicas = &replicas
	rescaled.Spec.Workload.Manifests[0].Raw = raw
	return rescaled
}

// suspended returns true or nothing: what is not suspended does not say so.
func suspended(suspension *workv1alpha1.BindingSuspension, cluster string) *bool {
	if !suspension.Suspends(cluster) {
		return nil
	}
	yes := true
	return &yes
}

// Works renders the works of all clusters that the binding names, in the order of their names, without
// overrides.
func Works(template *unstructured.Unstructured, binding workv1alpha1.Binding, apportion Apportion) ([]*workv1alpha1.PropagationWork, error) {
	r, err := New(template, binding, nil, apportion)
	if err != nil {
		return nil, err
	}
	clusters := byName(binding.GetSpec().Clusters)
	works := make([]*workv1alpha1.PropagationWork, 0, len(clusters))
	for _, cluster := range clusters {
		work, err := r.Work(cluster, nil)
		if err != nil {
			return nil, fmt.Errorf("rendering for cluster %s: %w", cluster.Name, err)
		}
		works = append(works, work)
	}
	return works, nil
}

// Diff tells whether an existing work has to be updated to become the desired one. Labels and
// finalizers that others have added don't count, nor does the cause of a removal, which is no part
// of what is rendered.
func Diff(existing, desired *workv1alpha1.PropagationWork) bool {
	for label, value := range desired.Labels {
		if existing.Labels[label] != value {
			return true
		}
	}
	for _, finalizer := range desired.Finalizers {
		if !slices.Contains(existing.Finalizers, finalizer) {
			return true
		}
	}
	for _, annotation := range recordAnnotations {
		if existing.Annotations[annotation] != desired.Annotations[annotation] {
			return true
		}
	}
	have, want := existing.Spec, desired.Spec
	if have.TemplateHash != want.TemplateHash || !sameManifests(have.Workload.Manifests, want.Workload.Manifests) {
		return true
	}
	have.Workload, want.Workload = workv1alpha1.WorkloadTemplate{}, workv1alpha1.WorkloadTemplate{}
	have.RemovalCause, want.RemovalCause = "", ""
	return !equality.Semantic.DeepEqual(have, want)
}

// recordAnnotations are those that a work is rendered with.
var recordAnnotations = []string{workv1alpha1.AppliedClusterOverridesAnnotation, workv1alpha1.AppliedOverridesAnnotation}

// Put makes an existing work the desired one, and leaves what others have written on it.
func Put(existing, desired *workv1alpha1.PropagationWork) *workv1alpha1.PropagationWork {
	updated := existing.DeepCopy()
	updated.Labels, updated.Finalizers, updated.Spec = desired.Labels, desired.Finalizers, desired.Spec
	for _, annotation := range recordAnnotations {
		delete(updated.Annotations, annotation)
		if text := desired.Annotations[annotation]; text != "" {
			metav1.SetMetaDataAnnotation(&updated.ObjectMeta, annotation, text)
		}
	}
	return updated
}

func sameManifests(a, b []runtime.RawExtension) bool {
	return slices.EqualFunc(a, b, func(a, b runtime.RawExtension) bool { return bytes.Equal(a.Raw, b.Raw) })
}
