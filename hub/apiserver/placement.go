package apiserver

import (
	"context"
	"sync/atomic"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/registry/generic/registry"
	"k8s.io/apiserver/pkg/registry/rest"

	workv1alpha1 "windlass.dev/windlass/api/work/v1alpha1"
)

// placement is the subresource that explains where a binding goes.
const placement = "placement"

// An Explainer says where a binding goes and why, as the scheduler would decide now. What it is given is read-only. It
// may wait as long as the context allows.
type Explainer func(ctx context.Context, binding workv1alpha1.Binding) *workv1alpha1.BindingPlacement

// placementREST serves the subresource placement.
type placementREST struct {
	store     *registry.Store
	explainer *atomic.Pointer[Explainer]
}

var _ rest.Getter = (*placementREST)(nil)

// New gives an empty object.
func (r *placementREST) New() runtime.Object { return &workv1alpha1.BindingPlacement{} }

// Destroy does nothing: the store is the resource's.
func (r *placementREST) Destroy() {}

// Get asks the scheduler about a binding.
func (r *placementREST) Get(ctx context.Context, name string, options *metav1.GetOptions) (runtime.Object, error) {
	explain := r.explainer.Load()
	if explain == nil {
		return nil, apierrors.NewServiceUnavailable("the hub's scheduler has not started yet; ask again in a moment")
	}
	object, err := r.store.Get(ctx, name, options)
	if err != nil {
		return nil, err
	}
	return (*explain)(ctx, object.(workv1alpha1.Binding)), nil
}
