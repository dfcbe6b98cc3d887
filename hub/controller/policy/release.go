package policy

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/source"

	policyv1alpha1 "windlass.dev/windlass/api/policy/v1alpha1"
	workv1alpha1 "windlass.dev/windlass/api/work/v1alpha1"
	"windlass.dev/windlass/hub/store"
	"windlass.dev/windlass/hub/templates"
	"windlass.dev/windlass/pkg/policy"
)

// releaser lets a policy go that is being deleted, once the bindings of what it claimed are released.
// Its key is a policy.
type releaser struct {
	policies  store.Scoped[policyv1alpha1.Policy]
	bindings  store.Bindings
	templates Templates
}

func (r *releaser) setup(mgr manager.Manager) error {
	c, err := controller.NewTyped("policy-release", mgr, controller.TypedOptions[types.NamespacedName]{Reconciler: r})
	if err != nil {
		return err
	}
	wake := &store.Mailbox[types.NamespacedName]{}
	r.templates.Handle(templates.Handler{
		Changed: func(templates.Key, bool) {},
		Kind: func(schema.GroupVersionKind) {
			for _, p := range r.policies.List() {
				if p.GetDeletionTimestamp() != nil {
					wake.Add(store.Key(p), false)
				}
			}
		},
	})
	sources := append(store.Sources(r.policies, beingDeleted), store.Sources(r.bindings.Scoped, claimGone)...)
	for _, source := range append(sources, source.TypedSource[types.NamespacedName](wake)) {
		if err := c.Watch(source); err != nil {
			return err
		}
	}
	return nil
}

func beingDeleted(_, new policyv1alpha1.Policy) []types.NamespacedName {
	if new == nil || new.GetDeletionTimestamp() == nil {
		return nil
	}
	return []types.NamespacedName{store.Key(new)}
}

// claimGone names the policies that no longer claim a binding, or claim one that is being deleted.
func claimGone(old, new workv1alpha1.Binding) []types.NamespacedName {
	if old == nil {
		return nil
	}
	claim := policy.ClaimOf(old.GetLabels(), old.GetAnnotations())
	if new != nil && new.GetDeletionTimestamp() == nil && claim == policy.ClaimOf(new.GetLabels(), new.GetAnnotations()) {
		return nil
	}
	keys := []types.NamespacedName{}
	for _, mark := range []policy.Mark{claim.Policy, claim.ClusterPolicy} {
		if mark.Name != "" {
			keys = append(keys, types.NamespacedName{Namespace: mark.Namespace, Name: mark.Name})
		}
	}
	return keys
}

// Reconcile takes the finalizer off a policy that claims nothing any more.
func (r *releaser) Reconcile(ctx context.Context, key types.NamespacedName) (ctrl.Result, error) {
	p, ok := r.policies.Get(key)
	if !ok || p.GetDeletionTimestamp() == nil || r.claims(p) {
		return ctrl.Result{}, nil // the release of its last binding wakes it
	}
	finalizer := workv1alpha1.PropagationPolicyFinalizer
	if key.Namespace == "" {
		finalizer = workv1alpha1.ClusterPropagationPolicyFinalizer
	}
	released := p.DeepCopyObject().(policyv1alpha1.Policy)
	if !controllerutil.RemoveFinalizer(released, finalizer) {
		return ctrl.Result{}, nil
	}
	if _, err := r.policies.For(key.Namespace).Update(ctx, released); err != nil && !apierrors.IsNotFound(err) {
		return store.Outcome(fmt.Errorf("releasing policy %s: %w", key, err))
	}
	return ctrl.Result{}, nil
}

// claims leaves out bindings that go themselves, and those of kinds that can't be watched at present:
// they are released when their kind comes back, and may never.
func (r *releaser) claims(p policyv1alpha1.Policy) bool {
	for _, binding := range r.bindings.ByIndex(store.ByPolicy, permanentID(p)) {
		if binding.GetDeletionTimestamp() == nil && policy.ClaimOf(binding.GetLabels(), binding.GetAnnotations()).By(p) &&
			r.templates.Problem(store.TemplateKey(binding).GroupVersionKind) == nil {
			return true
		}
	}
	return false
}

func permanentID(p policyv1alpha1.Policy) string {
	labels, _ := policy.Marks(p)
	for _, id := range labels {
		return id
	}
	return ""
}
