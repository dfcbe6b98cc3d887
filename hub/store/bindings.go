package store

import (
	"context"
	"slices"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"

	workv1alpha1 "windlass.dev/windlass/api/work/v1alpha1"
	"windlass.dev/windlass/hub/templates"
	"windlass.dev/windlass/pkg/interpret"
)

// Bindings are the bindings of both scopes.
type Bindings struct {
	Scoped[workv1alpha1.Binding]
	// UpdateSchedule writes spec.clusters and what the status says of scheduling in one step.
	UpdateSchedule func(ctx context.Context, binding workv1alpha1.Binding) (workv1alpha1.Binding, error)
}

// HandleJobs wakes the bindings of Jobs for whoever can't decide before it knows whether one has ended: all when their kind is known, and
// one when the Job changes and that concerns it.
func (b Bindings) HandleJobs(wake *Mailbox[types.NamespacedName], concerns func(workv1alpha1.Binding) bool) templates.Handler {
	return templates.Handler{
		Changed: func(key templates.Key, initial bool) {
			if initial || !interpret.Ends(key.GroupKind()) {
				return // what was there at the start is known when its kind is
			}
			for _, binding := range b.ByIndex(ByTemplate, TemplateIndex(key)) {
				if concerns(binding) {
					wake.Add(Key(binding), false)
				}
			}
		},
		Kind: func(kind schema.GroupVersionKind) {
			if !interpret.Ends(kind.GroupKind()) {
				return
			}
			for _, binding := range b.List() {
				if TemplateKey(binding).GroupVersionKind == kind {
					wake.Add(Key(binding), false)
				}
			}
		},
	}
}

// Works are the works of all clusters.
type Works struct {
	Kind[*workv1alpha1.PropagationWork]
	// Remove marks a work as being deleted and records why, in one step.
	Remove func(ctx context.Context, work *workv1alpha1.PropagationWork, cause workv1alpha1.RemovalCause) error
	// Replace puts a new work in the place of one that is being deleted, in one step: a member that compares
	// what it holds with the store finds the one or the other, and never that it shall have none.
	Replace func(ctx context.Context, leaving, work *workv1alpha1.PropagationWork) (*workv1alpha1.PropagationWork, error)
}

// The indexes of bindings and works.
const (
	ByTemplate = "template" // of bindings, by TemplateIndex
	ByPolicy   = "policy"   // of bindings, by the permanent id of the policy that claims them
	ByCompany  = "company"  // of the bindings that are in workload affinity groups, by their namespace
	ByBinding  = "binding"  // of works, by BindingIndex
)

// TemplateKey is the key of the template of a binding.
func TemplateKey(binding workv1alpha1.Binding) templates.Key {
	resource := binding.GetSpec().Resource
	return templates.Key{
		GroupVersionKind: schema.FromAPIVersionAndKind(resource.APIVersion, resource.Kind),
		NamespacedName:   types.NamespacedName{Namespace: resource.Namespace, Name: resource.Name},
	}
}

// TemplateIndex is the value of ByTemplate for a template.
func TemplateIndex(key templates.Key) string {
	return key.GroupVersionKind.String() + " " + key.NamespacedName.String()
}

// BindingIndex is the value of ByBinding for a binding.
func BindingIndex(key types.NamespacedName) string { return key.String() }

// BindingIndexers are the indexes that an informer of bindings needs.
func BindingIndexers() cache.Indexers {
	return cache.Indexers{
		ByTemplate: func(obj any) ([]string, error) {
			return []string{TemplateIndex(TemplateKey(obj.(workv1alpha1.Binding)))}, nil
		},
		ByPolicy: func(obj any) ([]string, error) {
			labels := obj.(workv1alpha1.Binding).GetLabels()
			ids := []string{labels[workv1alpha1.PropagationPolicyPermanentIDLabel], labels[workv1alpha1.ClusterPropagationPolicyPermanentIDLabel]}
			return slices.DeleteFunc(ids, func(id string) bool { return id == "" }), nil
		},
		ByCompany: func(obj any) ([]string, error) {
			binding := obj.(workv1alpha1.Binding)
			if binding.GetSpec().WorkloadAffinityGroups == nil {
				return nil, nil
			}
			return []string{binding.GetNamespace()}, nil
		},
	}
}

// WorkIndexers are the indexes that an informer of works needs.
func WorkIndexers() cache.Indexers {
	return cache.Indexers{
		cache.NamespaceIndex: cache.MetaNamespaceIndexFunc,
		ByBinding: func(obj any) ([]string, error) {
			binding := obj.(*workv1alpha1.PropagationWork).Spec.Binding
			if binding == nil {
				return nil, nil
			}
			return []string{BindingIndex(types.NamespacedName{Namespace: binding.Namespace, Name: binding.Name})}, nil
		},
	}
}

// Claimed says whether a policy claims the template of a binding. Without one the members stay as
// they are.
func Claimed(binding workv1alpha1.Binding) bool {
	labels := binding.GetLabels()
	return labels[workv1alpha1.PropagationPolicyPermanentIDLabel] != "" || labels[workv1alpha1.ClusterPropagationPolicyPermanentIDLabel] != ""
}
