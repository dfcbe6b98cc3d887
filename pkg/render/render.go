// Package render alone makes works: it turns a template and the clusters that its binding names into
// one PropagationWork for each of them, says how bindings and works are called, and names the content
// of a template by a hash.
//
//	template ──Prune──► manifest ──┬─ cluster a: 4 replicas ──► work in karmada-es-a
//	                               ├─ cluster b: 2 replicas ──► work in karmada-es-b
//	                               └─ ...
//
// What all clusters share is made once; clusters with the same number of replicas share the bytes of
// their manifest as well, so that 1,000 clusters cost little more than one.
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

	policyv1alpha1 "windlass.dev/windlass/api/policy/v1alpha1"
	workv1alpha1 "windlass.dev/windlass/api/work/v1alpha1"
	"windlass.dev/windlass/pkg/interpret"
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
	conflicts    policyv1alpha1.ConflictResolution
	labels       map[string]string
	name         string

	divided     bool
	completions map[string]int32 // of a divided Job, by cluster
	elastic     bool             // it is an indexed Job with as many replicas as completions

	manifest *unstructured.Unstructured // its replicas are whatever was rendered last
	whole    []byte                     // the manifest with the template's own replicas
	rendered map[numbers][]byte
}

// numbers are all that the manifests of two clusters may differ in.
type numbers struct{ replicas, completions int32 }

// noCompletions is for what has none.
const noCompletions = -1

// New prepares the rendering of a template to the clusters of its binding. It fails with a
// *TooLargeError when the template does not fit into a work.
func New(template *unstructured.Unstructured, binding workv1alpha1.Binding) (*Renderer, error) {
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
		conflicts:    conflictResolution(template, binding.GetSpec()),
		name:         WorkName(binding.GetName(), kind.Group, kind.Kind, template.GetNamespace(), template.GetName()),
		manifest:     manifest,
		whole:        whole,
		rendered:     map[numbers][]byte{},
	}
	if r.labels, err = permanentID(binding); err != nil {
		return nil, err
	}
	if err := r.checkSize(whole); err != nil {
		return nil, err
	}
	r.divide()
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

// conflictResolution is the policy's, unless the template's annotation says otherwise.
func conflictResolution(template *unstructured.Unstructured, spec *workv1alpha1.BindingSpec) policyv1alpha1.ConflictResolution {
	switch strings.ToLower(template.GetAnnotations()[workv1alpha1.ConflictResolutionAnnotation]) {
	case "overwrite":
		return policyv1alpha1.ConflictOverwrite
	case "abort":
		return policyv1alpha1.ConflictAbort
	}
	return cmp.Or(spec.ConflictResolution, policyv1alpha1.ConflictAbort)
}

// divide finds out whether the clusters share the template's replicas, and then, of a Job, also its
// completions. Where they don't share, each gets the template as it is.
func (r *Renderer) divide() {
	spec := r.binding.GetSpec()
	if spec.Replicas == nil || spec.Placement == nil || spec.Placement.ReplicaScheduling == nil ||
		spec.Placement.ReplicaScheduling.ReplicaSchedulingType == policyv1alpha1.ReplicaSchedulingDuplicated {
		return
	}
	r.divided = true
	total, found := interpret.Completions(r.manifest)
	if !found {
		return
	}
	mode, _, _ := unstructured.NestedString(r.manifest.Object, "spec", "completionMode")
	r.elastic = mode == "Indexed" && total == *spec.Replicas
	clusters := byName(spec.Clusters)
	parallelism := make([]int32, len(clusters))
	for i, cluster := range clusters {
		parallelism[i] = cluster.Replicas
	}
	r.completions = make(map[string]int32, len(clusters))
	for i, part := range interpret.DivideCompletions(total, parallelism) {
		r.completions[clusters[i].Name] = part
	}
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

// manifestFor returns the manifest for a cluster. Clusters with the same numbers share its bytes.
func (r *Renderer) manifestFor(cluster workv1alpha1.TargetCluster) ([]byte, error) {
	if !r.divided {
		return r.whole, nil
	}
	wanted := numbers{replicas: cluster.Replicas, completions: noCompletions}
	if completions, found := r.completions[cluster.Name]; found {
		wanted.completions = completions
	}
	if manifest, found := r.rendered[wanted]; found {
		return manifest, nil
	}
	interpret.ReviseReplicas(r.manifest, wanted.replicas)
	if wanted.completions != noCompletions {
		interpret.ReviseCompletions(r.manifest, wanted.completions)
	}
	manifest, err := encode(r.manifest)
	if err != nil {
		return nil, err
	}
	if err := r.checkSize(manifest); err != nil {
		return nil, err
	}
	r.rendered[wanted] = manifest
	return manifest, nil
}

// Work renders the work of one of the binding's clusters, whole but for what the store sets. The
// specs of one Renderer's works share memory: they are to be stored, not changed.
func (r *Renderer) Work(cluster workv1alpha1.TargetCluster) (*workv1alpha1.PropagationWork, error) {
	manifest, err := r.manifestFor(cluster)
	if err != nil {
		return nil, err
	}
	spec := r.binding.GetSpec()
	return &workv1alpha1.PropagationWork{
		ObjectMeta: metav1.ObjectMeta{
			Namespace:  workv1alpha1.ExecutionNamespace(cluster.Name),
			Name:       r.name,
			Labels:     maps.Clone(r.labels),
			Finalizers: []string{workv1alpha1.WorkFinalizer},
		},
		Spec: workv1alpha1.WorkSpec{
			Workload:                    workv1alpha1.WorkloadTemplate{Manifests: []runtime.RawExtension{{Raw: manifest}}},
			SuspendDispatching:          suspended(spec.Suspension, cluster.Name),
			PreserveResourcesOnDeletion: spec.PreserveResourcesOnDeletion,
			ConflictResolution:          r.conflicts,
			Binding:                     &r.reference,
			Template:                    &r.template,
			TemplateHash:                r.templateHash,
		},
	}, nil
}

// suspended returns true or nothing: what is not suspended does not say so.
func suspended(suspension *workv1alpha1.BindingSuspension, cluster string) *bool {
	if suspension == nil {
		return nil
	}
	yes := true
	if suspension.Dispatching != nil && *suspension.Dispatching {
		return &yes
	}
	if clusters := suspension.DispatchingOnClusters; clusters != nil && slices.Contains(clusters.ClusterNames, cluster) {
		return &yes
	}
	return nil
}

// Works renders the works of all clusters that the binding names, in the order of their names.
func Works(template *unstructured.Unstructured, binding workv1alpha1.Binding) ([]*workv1alpha1.PropagationWork, error) {
	r, err := New(template, binding)
	if err != nil {
		return nil, err
	}
	clusters := byName(binding.GetSpec().Clusters)
	works := make([]*workv1alpha1.PropagationWork, 0, len(clusters))
	for _, cluster := range clusters {
		work, err := r.Work(cluster)
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
	have, want := existing.Spec, desired.Spec
	if have.TemplateHash != want.TemplateHash || !sameManifests(have.Workload.Manifests, want.Workload.Manifests) {
		return true
	}
	have.Workload, want.Workload = workv1alpha1.WorkloadTemplate{}, workv1alpha1.WorkloadTemplate{}
	have.RemovalCause, want.RemovalCause = "", ""
	return !equality.Semantic.DeepEqual(have, want)
}

func sameManifests(a, b []runtime.RawExtension) bool {
	return slices.EqualFunc(a, b, func(a, b runtime.RawExtension) bool { return bytes.Equal(a.Raw, b.Raw) })
}
