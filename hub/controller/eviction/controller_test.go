package eviction

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"

	clusterv1alpha1 "windlass.dev/windlass/api/cluster/v1alpha1"
	policyv1alpha1 "windlass.dev/windlass/api/policy/v1alpha1"
	workv1alpha1 "windlass.dev/windlass/api/work/v1alpha1"
	"windlass.dev/windlass/hub/store"
	"windlass.dev/windlass/hub/store/storetest"
	"windlass.dev/windlass/hub/templates"
	"windlass.dev/windlass/pkg/evict"
)

var web = types.NamespacedName{Namespace: "shop", Name: "web-deployment"}

// world is a hub with the eviction controller, two clusters, and a binding that goes to both.
type world struct {
	*storetest.Store
	templates  *storetest.Templates
	controller *Reconciler
	now        time.Time
}

func newWorld() *world {
	w := &world{Store: storetest.New(), templates: storetest.NewTemplates(), now: storetest.Began}
	w.controller = &Reconciler{Bindings: w.Bindings(), Works: w.Works(), Clusters: w.MemberClusters.Kind(), Templates: w.templates, Grace: time.Minute, Now: func() time.Time { return w.now }}
	w.MemberClusters.Put(cluster("a"))
	w.MemberClusters.Put(cluster("b"))
	w.PropagationBindings.Put(&workv1alpha1.PropagationBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: web.Namespace, Name: web.Name, Labels: map[string]string{workv1alpha1.PropagationPolicyPermanentIDLabel: "id"}},
		Spec: workv1alpha1.BindingSpec{
			Placement: &policyv1alpha1.Placement{ClusterTolerations: []corev1.Toleration{
				{Key: "fire", Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoExecute, TolerationSeconds: ptr.To[int64](30)}}},
			Clusters: []workv1alpha1.TargetCluster{{Name: "a"}, {Name: "b"}},
		},
	})
	return w
}

func cluster(name string, taints ...string) *clusterv1alpha1.MemberCluster {
	c := &clusterv1alpha1.MemberCluster{ObjectMeta: metav1.ObjectMeta{Name: name}}
	for _, key := range taints {
		c.Spec.Taints = append(c.Spec.Taints, corev1.Taint{Key: key, Effect: corev1.TaintEffectNoExecute, TimeAdded: &metav1.Time{Time: storetest.Began}})
	}
	return c
}

func (w *world) reconcile(t *testing.T) (leaving []string, result ctrl.Result) {
	t.Helper()
	result, err := w.controller.Reconcile(t.Context(), web)
	if err != nil {
		t.Fatal(err)
	}
	binding, _ := w.PropagationBindings.Get(web.Namespace, web.Name)
	return evict.Leaving(&binding.Spec), result
}

func TestATaintBeginsAnEvictionAndItsEndEndsIt(t *testing.T) {
	w := newWorld()
	if leaving, _ := w.reconcile(t); leaving != nil || len(w.PropagationBindings.Writes()) > 0 {
		t.Fatalf("without a taint: leaving %v, written %v", leaving, w.PropagationBindings.Writes())
	}
	w.MemberClusters.Put(cluster("b", "drain"))
	leaving, _ := w.reconcile(t)
	if diff := cmp.Diff([]string{"b"}, leaving); diff != "" {
		t.Errorf("with the taint (-want +got):\n%s", diff)
	}
	w.reconcile(t)
	if diff := cmp.Diff([]string{"update shop/web-deployment"}, w.PropagationBindings.Writes()); diff != "" {
		t.Errorf("writes (-want +got):\n%s", diff)
	}
	w.MemberClusters.Put(cluster("b"))
	if leaving, _ := w.reconcile(t); leaving != nil {
		t.Errorf("without the taint it is still leaving %v", leaving)
	}
}

func TestWhatIsToleratedForAWhileIsLookedAtWhenThatIsOver(t *testing.T) {
	w := newWorld()
	w.MemberClusters.Put(cluster("b", "fire"))
	w.now = storetest.Began.Add(10 * time.Second) // as after a restart of the hub
	leaving, result := w.reconcile(t)
	if leaving != nil || result.RequeueAfter != 20*time.Second {
		t.Errorf("it is leaving %v and looked at again after %s, want 20s", leaving, result.RequeueAfter)
	}
	w.now = storetest.Began.Add(30 * time.Second)
	if leaving, _ := w.reconcile(t); len(leaving) != 1 {
		t.Errorf("after the while it is leaving %v", leaving)
	}
}

func TestAWriteThatComesTooLateIsTriedAgainQuietly(t *testing.T) {
	w := newWorld()
	w.MemberClusters.Put(cluster("b", "drain"))
	conflict := apierrors.NewConflict(schema.GroupResource{}, "", errors.New("changed"))
	w.PropagationBindings.Refuse = func(string, *workv1alpha1.PropagationBinding) error { return conflict }
	if _, result := w.reconcile(t); result.RequeueAfter <= 0 {
		t.Error("nobody looks at it again")
	}
}

func TestAClusterWakesTheBindingsThatAreThereOrAreLeavingIt(t *testing.T) {
	w := newWorld()
	left := types.NamespacedName{Namespace: "shop", Name: "left"}
	w.PropagationBindings.Put(&workv1alpha1.PropagationBinding{ObjectMeta: metav1.ObjectMeta{Namespace: left.Namespace, Name: left.Name},
		Spec: workv1alpha1.BindingSpec{GracefulEvictionTasks: []workv1alpha1.GracefulEvictionTask{{FromCluster: "b"}}}})
	w.PropagationBindings.Put(&workv1alpha1.PropagationBinding{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "elsewhere"},
		Spec: workv1alpha1.BindingSpec{Clusters: []workv1alpha1.TargetCluster{{Name: "a"}}}})
	wake := &store.Mailbox[types.NamespacedName]{}
	w.controller.clusterChanged(wake, cluster("b"), cluster("b", "drain"))
	w.controller.clusterChanged(wake, cluster("a", "drain"), cluster("a", "drain"))
	woken := wokenBy(t, wake)
	if diff := cmp.Diff(map[types.NamespacedName]bool{web: true, left: true}, woken); diff != "" {
		t.Errorf("woken (-want +got):\n%s", diff)
	}
}

func wokenBy(t *testing.T, wake *store.Mailbox[types.NamespacedName]) map[types.NamespacedName]bool {
	t.Helper()
	queue := workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[types.NamespacedName]())
	defer queue.ShutDown()
	if err := wake.Start(t.Context(), queue); err != nil {
		t.Fatal(err)
	}
	woken := map[types.NamespacedName]bool{}
	for queue.Len() > 0 {
		key, _ := queue.Get()
		woken[key] = true
		queue.Done(key)
	}
	return woken
}

// jobWorld is a world whose binding is that of a Job.
func jobWorld() *world {
	w := newWorld()
	binding, _ := w.PropagationBindings.Get(web.Namespace, web.Name)
	binding = binding.DeepCopy()
	binding.Spec.Resource = workv1alpha1.ObjectReference{APIVersion: "batch/v1", Kind: "Job", Namespace: "shop", Name: "web"}
	w.PropagationBindings.Put(binding)
	return w
}

func aJob(conditions ...any) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{"apiVersion": "batch/v1", "kind": "Job",
		"metadata": map[string]any{"namespace": "shop", "name": "web"}, "status": map[string]any{"conditions": conditions}}}
}

var complete = map[string]any{"type": "Complete", "status": "True"}

func TestOfAJobNothingIsDecidedBeforeItIsKnownWhetherItHasEnded(t *testing.T) {
	w := jobWorld()
	w.MemberClusters.Put(cluster("b", "drain"))
	if leaving, _ := w.reconcile(t); leaving != nil {
		t.Errorf("a Job that is not known is leaving %v", leaving)
	}
	w.templates.Put(aJob(complete))
	if leaving, _ := w.reconcile(t); leaving != nil {
		t.Errorf("a Job that has ended is leaving %v", leaving)
	}
	w.templates.Put(aJob())
	if leaving, _ := w.reconcile(t); len(leaving) != 1 {
		t.Errorf("a Job that runs is leaving %v, want b", leaving)
	}
}

func TestTheEndOfAJobEndsItsEviction(t *testing.T) {
	w := jobWorld()
	w.templates.Put(aJob())
	w.MemberClusters.Put(cluster("b", "drain"))
	w.reconcile(t)
	stored, _ := w.PropagationBindings.Get(web.Namespace, web.Name)
	moved := stored.DeepCopy()
	moved.Spec.Clusters = moved.Spec.Clusters[:1] // to a, where its part is complete
	moved.Status.SchedulerObservedGeneration = moved.Generation
	moved.Status.Conditions = []metav1.Condition{{Type: workv1alpha1.BindingScheduled, Status: metav1.ConditionTrue},
		{Type: workv1alpha1.BindingFullyApplied, Status: metav1.ConditionTrue, ObservedGeneration: moved.Generation}}
	moved.Status.Summary = workv1alpha1.ClusterSummary{Clusters: 1, Applied: 1, Healthy: 1}
	w.PropagationBindings.Put(moved)
	if leaving, _ := w.reconcile(t); len(leaving) != 1 {
		t.Errorf("a Job whose part runs is leaving %v, want b", leaving)
	}
	w.templates.Put(aJob(complete))
	if leaving, _ := w.reconcile(t); leaving != nil {
		t.Errorf("a Job that has ended goes on leaving %v", leaving)
	}
}

func TestAJobWakesItsBindingAndOtherTemplatesDoNot(t *testing.T) {
	w := jobWorld()
	job, deployment := templates.KeyOf(aJob()), templates.KeyOf(aJob())
	deployment.GroupVersionKind = schema.GroupVersionKind{Group: "apps", Version: "v1", Kind: "Deployment"}
	for _, test := range []struct {
		reason string
		happen func(templates.Handler)
		woken  bool
	}{
		{"the Job changes", func(h templates.Handler) { h.Changed(job, false) }, true},
		{"the Job was there at the start, when others of its kind may be missing", func(h templates.Handler) { h.Changed(job, true) }, false},
		{"all Jobs are known", func(h templates.Handler) { h.Kind(job.GroupVersionKind) }, true},
		{"a Deployment changes", func(h templates.Handler) { h.Changed(deployment, false) }, false},
		{"all Deployments are known", func(h templates.Handler) { h.Kind(deployment.GroupVersionKind) }, false},
	} {
		wake := &store.Mailbox[types.NamespacedName]{}
		test.happen(w.controller.handler(wake))
		if woken := wokenBy(t, wake); woken[web] != test.woken {
			t.Errorf("%s: woken %v, want %t", test.reason, woken, test.woken)
		}
	}
}

func TestABindingThatIsLeavingIsWokenByItsStatus(t *testing.T) {
	old := &workv1alpha1.PropagationBinding{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web", Generation: 3}}
	healthy := old.DeepCopy()
	healthy.Status.Summary.Healthy = 1
	if len(bindingChanged(old, healthy)) > 0 {
		t.Error("a binding that leaves nothing is woken by its status")
	}
	old.Spec.GracefulEvictionTasks = []workv1alpha1.GracefulEvictionTask{{FromCluster: "b"}}
	healthy.Spec = old.Spec
	if len(bindingChanged(old, healthy)) == 0 {
		t.Error("a binding that leaves a cluster is not woken by its status")
	}
	moved := healthy.DeepCopy()
	moved.Generation++
	moved.Spec.GracefulEvictionTasks = nil
	if len(bindingChanged(healthy, moved)) == 0 {
		t.Error("a binding that goes elsewhere is not woken")
	}
}

func TestANamespaceStaysInATaintedClusterWithWhatIsInIt(t *testing.T) {
	w := newWorld()
	key := types.NamespacedName{Name: "shop-namespace"}
	w.ClusterPropagationBindings.Put(&workv1alpha1.ClusterPropagationBinding{
		ObjectMeta: metav1.ObjectMeta{Name: key.Name, Labels: map[string]string{workv1alpha1.ClusterPropagationPolicyPermanentIDLabel: "id"}},
		Spec: workv1alpha1.BindingSpec{
			Resource:  workv1alpha1.ObjectReference{APIVersion: "v1", Kind: "Namespace", Name: "shop"},
			Placement: &policyv1alpha1.Placement{},
			Clusters:  []workv1alpha1.TargetCluster{{Name: "a"}, {Name: "b"}},
		},
	})
	w.MemberClusters.Put(cluster("b", "drain"))
	if _, err := w.controller.Reconcile(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	if binding, _ := w.ClusterPropagationBindings.Get("", key.Name); len(binding.Spec.GracefulEvictionTasks) > 0 {
		t.Errorf("it is leaving: %v", binding.Spec.GracefulEvictionTasks)
	}
}

func TestAMoveThatNoPolicyClaimsIsOverWhenItsWorkIsWritten(t *testing.T) {
	w := newWorld()
	w.PropagationBindings.Change(web.Namespace, web.Name, func(b *workv1alpha1.PropagationBinding) {
		b.Labels, b.Spec.Replicas = nil, ptr.To[int32](4)
		b.Spec.Placement = &policyv1alpha1.Placement{ReplicaScheduling: &policyv1alpha1.ReplicaSchedulingStrategy{ReplicaSchedulingType: policyv1alpha1.ReplicaSchedulingDivided}}
		b.Spec.Clusters = []workv1alpha1.TargetCluster{{Name: "a", Replicas: 2}, {Name: "b", Replicas: 2}}
		b.Spec.GracefulEvictionTasks = []workv1alpha1.GracefulEvictionTask{{FromCluster: "b", Reason: evict.ReasonRescheduled, Replicas: ptr.To[int32](2)}}
		b.Status.SchedulerObservedGeneration = b.Generation
	})
	work := func(replicas int32, generation int64) *workv1alpha1.PropagationWork {
		return &workv1alpha1.PropagationWork{
			ObjectMeta: metav1.ObjectMeta{Namespace: workv1alpha1.ExecutionNamespace("b"), Name: "web", Generation: generation},
			Spec:       workv1alpha1.WorkSpec{Replicas: &replicas, Binding: &workv1alpha1.BindingReference{Namespace: web.Namespace, Name: web.Name}},
		}
	}
	tasks := func() int {
		w.reconcile(t)
		binding, _ := w.PropagationBindings.Get(web.Namespace, web.Name)
		return len(binding.Spec.GracefulEvictionTasks)
	}
	w.PropagationWorks.Put(work(4, 1))
	if got := tasks(); got != 1 {
		t.Errorf("the work has more than it is to have, and there are %d tasks", got)
	}
	for reason, test := range map[string]struct {
		old, new *workv1alpha1.PropagationWork
		wakes    bool
	}{
		"it is written":      {work(4, 1), work(2, 2), true},
		"it is gone":         {work(4, 1), nil, true},
		"its status changes": {work(4, 1), work(4, 1), false},
		"it is made":         {nil, work(4, 1), false},
	} {
		if got := len(w.controller.workChanged(test.old, test.new)) > 0; got != test.wakes {
			t.Errorf("%s: it wakes the binding: %t", reason, got)
		}
	}
	w.PropagationWorks.Put(work(2, 2))
	if got := tasks(); got != 0 {
		t.Errorf("the work has what it is to have, and there are %d tasks", got)
	}
	if woken := w.controller.workChanged(work(2, 2), work(1, 3)); len(woken) > 0 {
		t.Errorf("nothing is moving, and %v is woken", woken)
	}
}
