package rebalance

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"

	appsv1alpha1 "windlass.dev/windlass/api/apps/v1alpha1"
	workv1alpha1 "windlass.dev/windlass/api/work/v1alpha1"
	"windlass.dev/windlass/hub/store/storetest"
)

// world is a hub with this controller, the binding of Deployment shop/web, and a rebalancer that names it and another.
type world struct {
	*storetest.Store
	controller *Reconciler
	now        time.Time
}

func newWorld() *world {
	w := &world{Store: storetest.New(), now: storetest.Began}
	w.controller = &Reconciler{Rebalancers: w.WorkloadRebalancers.Kind(), Bindings: w.Bindings(), Now: func() time.Time { return w.now }}
	w.PropagationBindings.Put(&workv1alpha1.PropagationBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web-deployment", Labels: map[string]string{workv1alpha1.PropagationPolicyPermanentIDLabel: "id"}},
		Spec:       workv1alpha1.BindingSpec{Resource: workv1alpha1.ObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Namespace: "shop", Name: "web"}},
	})
	w.ClusterPropagationBindings.Put(&workv1alpha1.ClusterPropagationBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "view-clusterrole", Labels: map[string]string{workv1alpha1.ClusterPropagationPolicyPermanentIDLabel: "id"}},
		Spec:       workv1alpha1.BindingSpec{Resource: workv1alpha1.ObjectReference{APIVersion: "rbac.authorization.k8s.io/v1", Kind: "ClusterRole", Name: "view"}},
	})
	w.WorkloadRebalancers.Put(&appsv1alpha1.WorkloadRebalancer{ObjectMeta: metav1.ObjectMeta{Name: "now"}, Spec: appsv1alpha1.WorkloadRebalancerSpec{
		Workloads: []appsv1alpha1.ObjectReference{
			{APIVersion: "apps/v1", Kind: "Deployment", Namespace: "shop", Name: "web"},
			{APIVersion: "apps/v1", Kind: "Deployment", Namespace: "shop", Name: "gone"},
			{APIVersion: "rbac.authorization.k8s.io/v1", Kind: "ClusterRole", Name: "view"},
		},
		TTLSecondsAfterFinished: ptr.To[int32](30),
	}})
	return w
}

func (w *world) reconcile(t *testing.T) ctrl.Result {
	t.Helper()
	result, err := w.controller.Reconcile(t.Context(), "now")
	if err != nil {
		t.Fatal(err)
	}
	return result
}

func (w *world) results() []appsv1alpha1.RebalanceResult {
	rebalancer, _ := w.WorkloadRebalancers.Get("", "now")
	var results []appsv1alpha1.RebalanceResult
	for _, observed := range rebalancer.Status.ObservedWorkloads {
		results = append(results, observed.Result)
	}
	return results
}

func TestARebalancerIsCarriedOutOnceAndGoesWhenItsTimeIsOver(t *testing.T) {
	w := newWorld()
	w.reconcile(t)
	web, _ := w.PropagationBindings.Get("shop", "web-deployment")
	view, _ := w.ClusterPropagationBindings.Get("", "view-clusterrole")
	if web.Spec.RescheduleTriggeredAt == nil || view.Spec.RescheduleTriggeredAt == nil {
		t.Fatalf("not asked for: %v, %v", web.Spec.RescheduleTriggeredAt, view.Spec.RescheduleTriggeredAt)
	}
	if diff := cmp.Diff([]appsv1alpha1.RebalanceResult{"Successful", "Failed", "Successful"}, w.results()); diff != "" {
		t.Errorf("results (-want +got):\n%s", diff)
	}

	w.now = w.now.Add(20 * time.Second)
	if result := w.reconcile(t); result.RequeueAfter != 10*time.Second {
		t.Errorf("it is looked at again after %s, want 10s", result.RequeueAfter)
	}
	if diff := cmp.Diff([]string{"update shop/web-deployment"}, w.PropagationBindings.Writes()); diff != "" {
		t.Errorf("writes of the binding (-want +got):\n%s", diff)
	}
	w.now = w.now.Add(10 * time.Second)
	w.reconcile(t)
	if _, ok := w.WorkloadRebalancers.Get("", "now"); ok {
		t.Error("it is still there")
	}
	w.reconcile(t)
}

func TestAWorkloadThatCantBeAskedForHoldsUpNoOther(t *testing.T) {
	w := newWorld()
	w.PropagationBindings.Refuse = func(string, *workv1alpha1.PropagationBinding) error {
		return apierrors.NewConflict(schema.GroupResource{}, "", errors.New("changed"))
	}
	if result := w.reconcile(t); result.RequeueAfter <= 0 {
		t.Error("nobody looks at it again")
	}
	if diff := cmp.Diff([]appsv1alpha1.RebalanceResult{"Failed", "Successful"}, w.results()); diff != "" {
		t.Errorf("results (-want +got):\n%s", diff)
	}
	w.PropagationBindings.Refuse = nil
	w.reconcile(t)
	if rebalancer, _ := w.WorkloadRebalancers.Get("", "now"); rebalancer.Status.FinishTime == nil {
		t.Errorf("it is not finished: %v", rebalancer.Status)
	}
}
