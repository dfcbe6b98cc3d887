package status

import (
	"errors"
	"fmt"
	stdruntime "runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
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
	"windlass.dev/windlass/pkg/aggregate"
	"windlass.dev/windlass/pkg/policy"
	"windlass.dev/windlass/pkg/render"
	"windlass.dev/windlass/pkg/schedule"
)

const settle = 300 * time.Millisecond

var (
	deployments = schema.GroupVersionKind{Group: "apps", Version: "v1", Kind: "Deployment"}
	key         = types.NamespacedName{Namespace: "shop", Name: "web-deployment"}
	web         = templates.Key{GroupVersionKind: deployments, NamespacedName: types.NamespacedName{Namespace: "shop", Name: "web"}}
)

// world is a hub with the status controllers, a Deployment, and its works in the clusters a and b.
type world struct {
	*storetest.Store
	templates *storetest.Templates
	bindings  *BindingReconciler
	policies  *PolicyReconciler
	now       time.Time
	events    []string
}

// Event implements Events.
func (w *world) Event(about runtime.Object, kind, reason, message string) {
	w.events = append(w.events, fmt.Sprintf("%s %s: %s", kind, reason, message))
}

func newWorld(t *testing.T) *world {
	w := &world{Store: storetest.New(), templates: storetest.NewTemplates(), now: storetest.Began}
	now := func() time.Time { return w.now }
	w.bindings = &BindingReconciler{Bindings: w.Bindings(), Works: w.Works(), Clusters: w.MemberClusters.Kind(), Templates: w.templates, Settle: settle, Now: now, Events: w}
	w.policies = &PolicyReconciler{Policies: w.Policies(), Overrides: w.Overrides(), Bindings: w.Bindings(), Kinds: w.templates, Classes: &storetest.Classes{}, Every: time.Second, Now: now}
	w.templates.Put(deployment("u1"))
	binding := w.PropagationBindings.Put(&workv1alpha1.PropagationBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name,
			Labels: map[string]string{workv1alpha1.BindingPermanentIDLabel: "binding", workv1alpha1.PropagationPolicyPermanentIDLabel: "id-base"}},
		Spec: workv1alpha1.BindingSpec{
			Resource: workv1alpha1.ObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Namespace: "shop", Name: "web", UID: "u1"},
			Replicas: ptr.To[int32](2),
			Clusters: []workv1alpha1.TargetCluster{{Name: "a", Replicas: 2}, {Name: "b", Replicas: 2}},
		},
		Status: workv1alpha1.BindingStatus{SchedulerObservedGeneration: 1,
			Conditions: []metav1.Condition{{Type: workv1alpha1.BindingScheduled, Status: metav1.ConditionTrue, Reason: "Success"}}},
	})
	rendered, err := render.Works(deployment("u1"), binding, schedule.Apportion)
	if err != nil {
		t.Fatal(err)
	}
	for _, work := range rendered {
		w.PropagationWorks.Put(work)
	}
	return w
}

func deployment(uid string) *unstructured.Unstructured {
	obj := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{"replicas": int64(2)}}}
	obj.SetGroupVersionKind(deployments)
	obj.SetNamespace("shop")
	obj.SetName("web")
	obj.SetUID(types.UID(uid))
	obj.SetGeneration(1)
	return obj
}

// report is what the link writes down of a member's report.
func (w *world) report(cluster string, applied metav1.ConditionStatus, health workv1alpha1.ResourceHealth, ready string) {
	for _, work := range w.PropagationWorks.List() {
		if work.Namespace != workv1alpha1.ExecutionNamespace(cluster) {
			continue
		}
		w.PropagationWorks.Change(work.Namespace, work.Name, func(work *workv1alpha1.PropagationWork) {
			work.Status = workv1alpha1.WorkStatus{
				Conditions: []metav1.Condition{{Type: workv1alpha1.WorkApplied, Status: applied, Reason: "Said", ObservedGeneration: work.Generation}},
				ManifestStatuses: []workv1alpha1.ManifestStatus{{
					Identifier: workv1alpha1.ResourceIdentifier{Version: "v1", Kind: "Deployment", Name: "web"}, Observed: true, Health: health,
					Status: &runtime.RawExtension{Raw: []byte(`{"observedGeneration":1,"readyReplicas":` + ready + `,"replicas":2}`)},
				}},
			}
		})
	}
}

func (w *world) reconcile(t *testing.T) ctrl.Result {
	t.Helper()
	result, err := w.bindings.Reconcile(t.Context(), key)
	if err != nil {
		t.Fatalf("reconciling: %v", err)
	}
	return result
}

func (w *world) status() *workv1alpha1.BindingStatus {
	binding, _ := w.PropagationBindings.Get(key.Namespace, key.Name)
	return &binding.Status
}

// readyOnHub is what the template on the hub says of its ready replicas.
func (w *world) readyOnHub(t *testing.T) int64 {
	template, _ := w.templates.Live(t.Context(), web)
	ready, _, _ := unstructured.NestedInt64(template.Object, "status", "readyReplicas")
	return ready
}

func TestAStatusThatHasSettledIsWrittenAtOnce(t *testing.T) {
	tests := []struct {
		reason string
		report func(w *world)
		fully  metav1.ConditionStatus
		ready  int64
	}{
		{"all clusters have it and are healthy", func(w *world) {
			w.report("a", metav1.ConditionTrue, workv1alpha1.ResourceHealthy, "2")
			w.report("b", metav1.ConditionTrue, workv1alpha1.ResourceHealthy, "2")
		}, metav1.ConditionTrue, 4},
		{"a cluster has failed", func(w *world) {
			w.report("a", metav1.ConditionFalse, workv1alpha1.ResourceUnknown, "0")
		}, metav1.ConditionFalse, 0},
	}
	for _, test := range tests {
		t.Run(test.reason, func(t *testing.T) {
			w := newWorld(t)
			test.report(w)
			if result := w.reconcile(t); result.RequeueAfter > 0 {
				t.Errorf("it waits %s", result.RequeueAfter)
			}
			if got := meta.FindStatusCondition(w.status().Conditions, workv1alpha1.BindingFullyApplied); got == nil || got.Status != test.fully {
				t.Errorf("FullyApplied is %+v", got)
			}
			if meta.FindStatusCondition(w.status().Conditions, workv1alpha1.BindingScheduled) == nil {
				t.Error("the scheduler's condition is lost")
			}
			if len(w.status().AggregatedStatus) != 2 {
				t.Errorf("the aggregated status is %+v", w.status().AggregatedStatus)
			}
			if got := w.readyOnHub(t); got != test.ready {
				t.Errorf("the template on the hub has %d ready replicas, want %d", got, test.ready)
			}

			t.Run("and then no more", func(t *testing.T) {
				w.PropagationBindings.Writes()
				w.templates.Writes()
				w.now = w.now.Add(time.Hour)
				if result := w.reconcile(t); result.RequeueAfter > 0 {
					t.Errorf("it is looked at again after %s", result.RequeueAfter)
				}
				if writes := append(w.PropagationBindings.Writes(), w.templates.Writes()...); len(writes) > 0 {
					t.Errorf("written: %v", writes)
				}
			})
		})
	}
}

func TestAStatusThatStillMovesWaitsForMoreReports(t *testing.T) {
	w := newWorld(t)
	w.report("a", metav1.ConditionTrue, workv1alpha1.ResourceUnhealthy, "1")
	if result := w.reconcile(t); result.RequeueAfter != settle {
		t.Fatalf("it is looked at again after %s, want %s", result.RequeueAfter, settle)
	}
	w.now = w.now.Add(settle / 3)
	w.report("b", metav1.ConditionTrue, workv1alpha1.ResourceUnhealthy, "1")
	if result := w.reconcile(t); result.RequeueAfter != settle-settle/3 {
		t.Errorf("another report puts it off: %s", result.RequeueAfter)
	}
	if writes := append(w.PropagationBindings.Writes(), w.templates.Writes()...); len(writes) > 0 {
		t.Fatalf("written while it moves: %v", writes)
	}
	w.now = w.now.Add(settle - settle/3)
	w.reconcile(t)
	if diff := cmp.Diff([]string{"status shop/web-deployment"}, w.PropagationBindings.Writes()); diff != "" {
		t.Errorf("writes of the binding (-want +got):\n%s", diff)
	}
	if got := w.status().Summary; got.Applied != 2 || got.Unhealthy != 2 {
		t.Errorf("the summary is %+v", got)
	}

	t.Run("and the next one waits anew", func(t *testing.T) {
		w.report("a", metav1.ConditionTrue, workv1alpha1.ResourceHealthy, "2")
		if result := w.reconcile(t); result.RequeueAfter != settle {
			t.Errorf("it is looked at again after %s, want %s", result.RequeueAfter, settle)
		}
	})
	t.Run("unless it settles meanwhile", func(t *testing.T) {
		w.report("b", metav1.ConditionTrue, workv1alpha1.ResourceHealthy, "2")
		if result := w.reconcile(t); result.RequeueAfter > 0 || w.status().Summary.Healthy != 2 {
			t.Errorf("it waits %s with %+v", result.RequeueAfter, w.status().Summary)
		}
	})
}

// counted counts how often a template is looked up, with which each sum of a binding begins.
type counted struct {
	Templates
	sums int
}

func (c *counted) Get(key templates.Key) (*unstructured.Unstructured, bool) {
	c.sums++
	return c.Templates.Get(key)
}

func TestABindingOfManyClustersIsNotSummedUpForEveryReport(t *testing.T) {
	const clusters = 200
	w := newWorld(t)
	sums := &counted{Templates: w.templates}
	w.bindings.Templates = sums
	names := w.spread(t, clusters)

	for i, name := range names { // one report each millisecond
		w.report(name, metav1.ConditionTrue, workv1alpha1.ResourceHealthy, "2")
		result := w.reconcile(t)
		if last := i == len(names)-1; last {
			for range 10 { // what it asks for
				if result.RequeueAfter == 0 {
					break
				}
				w.now = w.now.Add(result.RequeueAfter)
				result = w.reconcile(t)
			}
		}
		w.now = w.now.Add(time.Millisecond)
	}
	if sums.sums > 30 {
		t.Errorf("it was summed up %d times while %d clusters reported within 200 ms", sums.sums, clusters)
	}
	if got := w.status().Summary; got.Healthy != clusters {
		t.Errorf("the summary is %+v", got)
	}
	if got := w.readyOnHub(t); got != 2*clusters {
		t.Errorf("the template on the hub has %d ready replicas", got)
	}
}

func TestAStatusThatMovedForLongEnoughBeforeItsTurnCameIsWrittenInIt(t *testing.T) {
	w := newWorld(t)
	names := w.spread(t, 100)
	w.report(names[0], metav1.ConditionTrue, workv1alpha1.ResourceUnhealthy, "1")
	w.bindings.passes.line, w.bindings.passes.at = int64(settle/w.bindings.passes.each()), w.now // others are before it
	result := w.reconcile(t)
	if result.RequeueAfter < settle {
		t.Fatalf("its turn comes after %s", result.RequeueAfter)
	}
	w.now = w.now.Add(result.RequeueAfter)
	if result = w.reconcile(t); result.RequeueAfter > 0 {
		t.Errorf("it waits once more: %s", result.RequeueAfter)
	}
	if got := w.status().Summary; got.Unhealthy != 1 {
		t.Errorf("the summary is %+v", got)
	}
}

func TestAStatusThatWaitsForMoreReportsDecodesNone(t *testing.T) {
	const clusters = 100
	w := newWorld(t)
	names := w.spread(t, clusters)
	for _, name := range names[1:] {
		w.report(name, metav1.ConditionTrue, workv1alpha1.ResourceHealthy, "2")
	}
	waiting := func() {
		w.now = w.now.Add(clusters * passPause)
		if result := w.reconcile(t); result.RequeueAfter <= 0 {
			t.Fatal("it does not wait for the last cluster")
		}
	}
	waiting()
	perPass := testing.AllocsPerRun(10, waiting)
	if perPass > 3*clusters { // to decode one status takes four
		t.Errorf("a pass that waits allocates %v times for %d clusters", perPass, clusters)
	}
}

// spread places the binding on clusters c0, c1 and so on, and makes their works.
func (w *world) spread(t *testing.T, clusters int) []string {
	t.Helper()
	var names []string
	binding := w.PropagationBindings.Change(key.Namespace, key.Name, func(b *workv1alpha1.PropagationBinding) {
		b.Spec.Clusters = nil
		for i := range clusters {
			names = append(names, fmt.Sprintf("c%d", i))
			b.Spec.Clusters = append(b.Spec.Clusters, workv1alpha1.TargetCluster{Name: names[i], Replicas: 2})
		}
	})
	rendered, err := render.Works(deployment("u1"), binding, schedule.Apportion)
	if err != nil {
		t.Fatal(err)
	}
	for _, work := range rendered {
		w.PropagationWorks.Put(work)
	}
	return names
}

func TestAStatusThatComesTooLateIsTriedAgain(t *testing.T) {
	conflictOn := map[string]func(w *world){
		"the binding": func(w *world) {
			w.PropagationBindings.Hold()
			w.PropagationBindings.Change(key.Namespace, key.Name, func(b *workv1alpha1.PropagationBinding) { b.Labels["team"] = "blue" })
		},
		"the template": func(w *world) {
			marked := deployment("u1")
			marked.SetLabels(map[string]string{workv1alpha1.PropagationPolicyPermanentIDLabel: "id-base"})
			w.templates.PutLive(marked)
		},
	}
	for what, happen := range conflictOn {
		t.Run("somebody has changed "+what, func(t *testing.T) {
			w := newWorld(t)
			w.report("a", metav1.ConditionTrue, workv1alpha1.ResourceHealthy, "2")
			w.report("b", metav1.ConditionTrue, workv1alpha1.ResourceHealthy, "2")
			w.bindings.passes.gather = time.Millisecond
			w.now = w.now.Add(w.reconcile(t).RequeueAfter)
			happen(w)
			if result := w.reconcile(t); result.RequeueAfter <= w.bindings.passes.gather {
				t.Errorf("it is looked at again after %s", result.RequeueAfter)
			}
			w.PropagationBindings.Release()
			w.templates.Sync()
			w.reconcile(t) // it waited before, and does not wait again: a wait would make each attempt the first
			if w.status().Summary.Healthy != 2 || w.readyOnHub(t) != 4 {
				t.Errorf("the summary is %+v, the template has %d ready replicas", w.status().Summary, w.readyOnHub(t))
			}
		})
	}
}

func TestATemplatesStatusIsWrittenOnceThoughTheCacheIsLate(t *testing.T) {
	w := newWorld(t)
	w.report("a", metav1.ConditionTrue, workv1alpha1.ResourceHealthy, "2")
	w.report("b", metav1.ConditionTrue, workv1alpha1.ResourceHealthy, "2")
	w.templates.Hold()
	for range 2 { // the write of the binding's status wakes it again
		if result := w.reconcile(t); result.RequeueAfter > 0 {
			t.Errorf("it is looked at again after %s", result.RequeueAfter)
		}
	}
	if diff := cmp.Diff([]string{"status Deployment web"}, w.templates.Writes()); diff != "" {
		t.Errorf("writes of the template (-want +got):\n%s", diff)
	}

	t.Run("and what is reported meanwhile is written when the cache shows it", func(t *testing.T) {
		w.report("b", metav1.ConditionTrue, workv1alpha1.ResourceHealthy, "1")
		w.reconcile(t)
		if writes := w.templates.Writes(); len(writes) > 0 {
			t.Errorf("written on what is out of date: %v", writes)
		}
		w.templates.Sync()
		w.reconcile(t)
		if w.readyOnHub(t) != 3 {
			t.Errorf("the template has %d ready replicas", w.readyOnHub(t))
		}
	})
}

func TestAStatusThatTheTemplateCannotTakeIsInItsBinding(t *testing.T) {
	w := newWorld(t)
	w.report("a", metav1.ConditionTrue, workv1alpha1.ResourceHealthy, "2")
	w.report("b", metav1.ConditionTrue, workv1alpha1.ResourceHealthy, "2")
	w.templates.RefuseStatus = errors.New("it is not valid")
	if _, err := w.bindings.Reconcile(t.Context(), key); err == nil {
		t.Error("nobody hears of it")
	}
	if w.status().Summary.Healthy != 2 {
		t.Errorf("the summary is %+v", w.status().Summary)
	}
}

func TestNothingIsSaidOfABindingThatIsNotUnderWay(t *testing.T) {
	tests := []struct {
		reason string
		change func(w *world)
	}{
		{"it is not placed yet", func(w *world) {
			w.PropagationBindings.Change(key.Namespace, key.Name, func(b *workv1alpha1.PropagationBinding) { b.Status.SchedulerObservedGeneration = 0 })
		}},
		{"it is being deleted", func(w *world) {
			w.PropagationBindings.Change(key.Namespace, key.Name, func(b *workv1alpha1.PropagationBinding) {
				b.DeletionTimestamp = &metav1.Time{Time: storetest.Began}
			})
		}},
		{"it is gone", func(w *world) { w.PropagationBindings.Drop(key.Namespace, key.Name) }},
		{"its template is not known", func(w *world) { w.templates.Problems[deployments] = errors.New("not served") }},
		{"its template is gone", func(w *world) { w.templates.Delete(web) }},
		{"its template is another object", func(w *world) { w.templates.Put(deployment("u2")) }},
	}
	for _, test := range tests {
		t.Run(test.reason, func(t *testing.T) {
			w := newWorld(t)
			w.report("a", metav1.ConditionTrue, workv1alpha1.ResourceHealthy, "2")
			w.report("b", metav1.ConditionTrue, workv1alpha1.ResourceHealthy, "2")
			test.change(w)
			w.reconcile(t)
			if writes := append(w.PropagationBindings.Writes(), w.templates.Writes()...); len(writes) > 0 {
				t.Errorf("written: %v", writes)
			}
		})
	}
}

func TestAWorkThatIsBeingRemovedIsNoWordOfItsCluster(t *testing.T) {
	w := newWorld(t)
	w.report("a", metav1.ConditionTrue, workv1alpha1.ResourceHealthy, "2")
	w.report("b", metav1.ConditionTrue, workv1alpha1.ResourceHealthy, "2")
	w.reconcile(t)
	for _, work := range w.PropagationWorks.List() {
		if work.Namespace == "karmada-es-b" {
			w.PropagationWorks.Change(work.Namespace, work.Name, func(work *workv1alpha1.PropagationWork) {
				work.DeletionTimestamp = &metav1.Time{Time: storetest.Began}
			})
		}
	}
	w.reconcile(t)
	w.now = w.now.Add(settle)
	w.reconcile(t)
	if got := w.status().Summary; got.Applied != 1 || got.Clusters != 2 {
		t.Errorf("the summary is %+v", got)
	}
}

func TestABindingIsNotFullyAppliedWhileItsRemovalFromAClusterIsHeld(t *testing.T) {
	const nobodyAsked, somebodyAsked = workv1alpha1.RemovalNotSelected, workv1alpha1.RemovalTemplateDeleted
	holds := func(reason string) *clusterv1alpha1.MemberCluster {
		status := metav1.ConditionTrue
		if reason == "" {
			status, reason = metav1.ConditionFalse, "NothingHeld"
		}
		return &clusterv1alpha1.MemberCluster{ObjectMeta: metav1.ObjectMeta{Name: "b"}, Status: clusterv1alpha1.ClusterStatus{
			Conditions: []metav1.Condition{{Type: clusterv1alpha1.ClusterDeletionsHeld, Status: status, Reason: reason}}}}
	}
	tests := []struct {
		reason  string
		cause   workv1alpha1.RemovalCause
		cluster *clusterv1alpha1.MemberCluster
		keep    bool
		held    bool
	}{
		{"its member's brake holds removals", nobodyAsked, holds(clusterv1alpha1.DeletionsHeldTooMany), false, true},
		{"the brake holds others, and the end of this one was asked for", somebodyAsked, holds(clusterv1alpha1.DeletionsHeldTooMany), false, false},
		{"the brake holds others, and this one is only let go of", nobodyAsked, holds(clusterv1alpha1.DeletionsHeldTooMany), true, false},
		{"after a restore everything is held", somebodyAsked, holds(clusterv1alpha1.DeletionsHeldStoreRestored), true, true},
		{"it is only on its way", nobodyAsked, holds(""), false, false},
		{"nothing was ever held", nobodyAsked, &clusterv1alpha1.MemberCluster{ObjectMeta: metav1.ObjectMeta{Name: "b"}}, false, false},
		{"its cluster is gone", nobodyAsked, nil, false, false},
	}
	for _, test := range tests {
		t.Run(test.reason, func(t *testing.T) {
			w := newWorld(t)
			w.report("a", metav1.ConditionTrue, workv1alpha1.ResourceHealthy, "2")
			if test.cluster != nil {
				w.MemberClusters.Put(test.cluster)
			}
			w.PropagationBindings.Change(key.Namespace, key.Name, func(b *workv1alpha1.PropagationBinding) { b.Spec.Clusters = b.Spec.Clusters[:1] })
			for _, work := range w.PropagationWorks.List() {
				if work.Namespace == "karmada-es-b" {
					w.PropagationWorks.Change(work.Namespace, work.Name, func(work *workv1alpha1.PropagationWork) {
						work.DeletionTimestamp, work.Spec.RemovalCause = &metav1.Time{Time: storetest.Began}, test.cause
						work.Spec.PreserveResourcesOnDeletion = &test.keep
					})
				}
			}
			if result := w.reconcile(t); (result.RequeueAfter > 0) != test.held {
				t.Errorf("it waits %s: one that has passed already is done in a moment", result.RequeueAfter)
			}
			w.now = w.now.Add(settle)
			w.reconcile(t)
			got := fullyApplied(w.status())
			if isHeld := got.Reason == aggregate.ReasonRemovalHeld; isHeld != test.held || (got.Status == metav1.ConditionTrue) == test.held {
				t.Errorf("FullyApplied is %+v", got)
			}
			if told := len(w.events) == 1 && strings.Contains(w.events[0], "Warning RemovalHeld"); told != test.held {
				t.Errorf("the events are %v", w.events)
			}
			if !test.held {
				return
			}
			t.Run("until it is confirmed", func(t *testing.T) {
				after := holds("")
				w.MemberClusters.Put(after)
				if diff := cmp.Diff([]types.NamespacedName{key}, w.bindings.clusterChanged(test.cluster, after)); diff != "" {
					t.Errorf("the end of the hold wakes (-want +got):\n%s", diff)
				}
				w.reconcile(t)
				if got := fullyApplied(w.status()); got.Status != metav1.ConditionTrue {
					t.Errorf("FullyApplied is %+v", got)
				}
			})
		})
	}
	t.Run("a heartbeat wakes nothing", func(t *testing.T) {
		w := newWorld(t)
		if keys := w.bindings.clusterChanged(holds("TooManyDeletions"), holds("TooManyDeletions")); len(keys) > 0 {
			t.Errorf("woken: %v", keys)
		}
	})
}

func TestARemovalThatItsClusterIsAtIsNotHeldAndSaysWhatItWaitsFor(t *testing.T) {
	w := newWorld(t)
	w.report("a", metav1.ConditionTrue, workv1alpha1.ResourceHealthy, "2")
	w.MemberClusters.Put(&clusterv1alpha1.MemberCluster{ObjectMeta: metav1.ObjectMeta{Name: "b"}, Status: clusterv1alpha1.ClusterStatus{Conditions: []metav1.Condition{
		{Type: clusterv1alpha1.ClusterDeletionsHeld, Status: metav1.ConditionTrue, Reason: clusterv1alpha1.DeletionsHeldTooMany},
	}}})
	w.PropagationBindings.Change(key.Namespace, key.Name, func(b *workv1alpha1.PropagationBinding) { b.Spec.Clusters = b.Spec.Clusters[:1] })
	for _, work := range w.PropagationWorks.List() {
		if work.Namespace == "karmada-es-b" {
			w.PropagationWorks.Change(work.Namespace, work.Name, func(work *workv1alpha1.PropagationWork) {
				work.DeletionTimestamp, work.Spec.RemovalCause = &metav1.Time{Time: storetest.Began}, workv1alpha1.RemovalNotSelected
				meta.SetStatusCondition(&work.Status.Conditions, metav1.Condition{Type: workv1alpha1.WorkApplied, Status: metav1.ConditionTrue,
					Reason: "Removing", Message: "not gone yet: Namespace shop is deleted when 2 objects of other works are gone"})
			})
		}
	}
	w.reconcile(t)
	w.now = w.now.Add(settle)
	w.reconcile(t)
	const why = "It is not gone yet from b: Namespace shop is deleted when 2 objects of other works are gone"
	if got := fullyApplied(w.status()); got.Status != metav1.ConditionTrue || !strings.HasSuffix(got.Message, why) {
		t.Errorf("FullyApplied is %+v", got)
	}
	if len(w.events) > 0 {
		t.Errorf("the events are %v", w.events)
	}

	w.PropagationBindings.Change(key.Namespace, key.Name, func(b *workv1alpha1.PropagationBinding) {
		b.DeletionTimestamp, b.Finalizers = &metav1.Time{Time: storetest.Began}, []string{workv1alpha1.BindingFinalizer}
	})
	w.now = storetest.Began.Add(quickRemoval)
	w.reconcile(t)
	if got := fullyApplied(w.status()); got.Reason != aggregate.ReasonRemoving || !strings.HasSuffix(got.Message, "b: Namespace shop is deleted when 2 objects of other works are gone") {
		t.Errorf("while the binding is deleted FullyApplied is %+v", got)
	}
}

func basePolicy() *policyv1alpha1.PropagationPolicy {
	return &policyv1alpha1.PropagationPolicy{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "base", Labels: map[string]string{workv1alpha1.PropagationPolicyPermanentIDLabel: "id-base"}},
		Spec:       policyv1alpha1.PropagationSpec{ResourceSelectors: []policyv1alpha1.ResourceSelector{{APIVersion: "apps/v1", Kind: "Deployment"}}},
	}
}

func (w *world) reconcilePolicy(t *testing.T) ctrl.Result {
	t.Helper()
	result, err := w.policies.Reconcile(t.Context(), types.NamespacedName{Namespace: "shop", Name: "base"})
	if err != nil {
		t.Fatalf("reconciling: %v", err)
	}
	return result
}

func TestAPolicysStatusIsWrittenAtMostOnceInAnInterval(t *testing.T) {
	w := newWorld(t)
	w.PropagationPolicies.Put(basePolicy())
	count := func(summary workv1alpha1.ClusterSummary) {
		w.PropagationBindings.Change(key.Namespace, key.Name, func(b *workv1alpha1.PropagationBinding) { b.Status.Summary = summary })
	}
	healthy := func() int32 { p, _ := w.PropagationPolicies.Get("shop", "base"); return p.Status.Healthy }

	if result := w.reconcilePolicy(t); result.RequeueAfter > 0 {
		t.Fatalf("the first word is kept back for %s", result.RequeueAfter)
	}
	p, _ := w.PropagationPolicies.Get("shop", "base")
	if p.Status.Templates != 1 || p.Status.Scheduled != 1 || p.Status.ObservedGeneration != 1 {
		t.Errorf("the first status is %+v", p.Status)
	}
	w.PropagationPolicies.Writes()

	w.now = w.now.Add(400 * time.Millisecond)
	count(workv1alpha1.ClusterSummary{Clusters: 2, Healthy: 2})
	if result := w.reconcilePolicy(t); result.RequeueAfter != 600*time.Millisecond {
		t.Errorf("it is looked at again after %s, want 600ms", result.RequeueAfter)
	}
	if writes := w.PropagationPolicies.Writes(); len(writes) > 0 {
		t.Errorf("written within the interval: %v", writes)
	}
	w.now = w.now.Add(600 * time.Millisecond)
	if result := w.reconcilePolicy(t); result.RequeueAfter > 0 || healthy() != 1 {
		t.Errorf("after the interval it waits %s and has %d healthy", result.RequeueAfter, healthy())
	}
	w.PropagationPolicies.Writes()
	w.now = w.now.Add(time.Hour)
	w.reconcilePolicy(t)
	if writes := w.PropagationPolicies.Writes(); len(writes) > 0 {
		t.Errorf("written although nothing has changed: %v", writes)
	}
}

func TestWhatIsUnderWayIsCountedOnceForAPolicy(t *testing.T) {
	w := newWorld(t)
	w.PropagationPolicies.Put(basePolicy())
	count := func(healthy int32) ctrl.Result {
		w.PropagationBindings.Change(key.Namespace, key.Name, func(b *workv1alpha1.PropagationBinding) {
			b.Status.Summary = workv1alpha1.ClusterSummary{Clusters: 2, Healthy: healthy}
		})
		return w.reconcilePolicy(t)
	}
	count(2)
	w.PropagationPolicies.Writes()
	w.now = w.now.Add(time.Hour)

	if result := count(1); result.RequeueAfter != time.Second {
		t.Errorf("it is looked at again after %s, want 1s", result.RequeueAfter)
	}
	if writes := w.PropagationPolicies.Writes(); len(writes) > 0 {
		t.Errorf("written while more is about to come: %v", writes)
	}
	t.Run("and nobody counts meanwhile, whatever happens", func(t *testing.T) {
		w.now = w.now.Add(300 * time.Millisecond)
		if result := count(2); result.RequeueAfter != 700*time.Millisecond {
			t.Errorf("that it is as before was found out, and it is looked at again after %s", result.RequeueAfter)
		}
	})
	t.Run("but it is never kept back for longer than the interval", func(t *testing.T) {
		w.now = w.now.Add(300 * time.Millisecond)
		if result := count(0); result.RequeueAfter != 400*time.Millisecond {
			t.Errorf("it is looked at again after %s, want 400ms", result.RequeueAfter)
		}
		w.now = w.now.Add(400 * time.Millisecond)
		w.reconcilePolicy(t)
		if writes := w.PropagationPolicies.Writes(); len(writes) != 1 {
			t.Errorf("written %d times: %v", len(writes), writes)
		}
	})
}

func TestAPolicyTellsOfKindsThatTheHubDoesNotServe(t *testing.T) {
	w := newWorld(t)
	w.PropagationPolicies.Put(basePolicy())
	w.templates.Problems[deployments] = errors.New("not served")
	w.reconcilePolicy(t)
	p, _ := w.PropagationPolicies.Get("shop", "base")
	ready := meta.FindStatusCondition(p.Status.Conditions, aggregate.PolicyReady)
	if ready == nil || ready.Reason != aggregate.ReasonKindNotFound || ready.Status != metav1.ConditionFalse {
		t.Errorf("the condition is %+v", ready)
	}

	t.Run("and which is probably meant", func(t *testing.T) {
		w.templates.Problems[deployments] = &templates.Misnamed{Asked: deployments, Meant: schema.GroupVersionKind{Group: "example.com", Version: "v2", Kind: "Other"}}
		w.now = w.now.Add(time.Second)
		w.reconcilePolicy(t)
		p, _ := w.PropagationPolicies.Get("shop", "base")
		if ready := meta.FindStatusCondition(p.Status.Conditions, aggregate.PolicyReady); !strings.Contains(ready.Message, "apps/v1 Deployment (example.com/v2 Other is probably meant)") {
			t.Errorf("the condition is %+v", ready)
		}
	})

	t.Run("until it does", func(t *testing.T) {
		delete(w.templates.Problems, deployments)
		if !selects(p, deployments) || selects(p, schema.GroupVersionKind{Group: "apps", Version: "v1", Kind: "StatefulSet"}) {
			t.Error("the kind does not wake the policies that select it, and only them")
		}
		w.now = w.now.Add(time.Second)
		w.reconcilePolicy(t)
		p, _ := w.PropagationPolicies.Get("shop", "base")
		if ready := meta.FindStatusCondition(p.Status.Conditions, aggregate.PolicyReady); ready.Reason == aggregate.ReasonKindNotFound {
			t.Errorf("the condition is %+v", ready)
		}
	})
}

func TestAReadyPolicyNamesTheSelectorsByWhichItClaimsNothing(t *testing.T) {
	w := newWorld(t)
	labelled := deployment("u1")
	labelled.SetLabels(map[string]string{"app": "web"})
	base := basePolicy()
	byLabel := func(app string) policyv1alpha1.ResourceSelector {
		return policyv1alpha1.ResourceSelector{APIVersion: "apps/v1", Kind: "Deployment", LabelSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": app}}}
	}
	base.Spec.ResourceSelectors = []policyv1alpha1.ResourceSelector{byLabel("web"), byLabel("wbe"), {APIVersion: "v1", Kind: "ConfigMap", Name: "crat"}}
	w.PropagationPolicies.Put(base)
	w.PropagationBindings.Change(key.Namespace, key.Name, func(b *workv1alpha1.PropagationBinding) {
		b.Status.Conditions = append(b.Status.Conditions, metav1.Condition{Type: workv1alpha1.BindingFullyApplied, Status: metav1.ConditionTrue})
		b.Status.Summary = workv1alpha1.ClusterSummary{Clusters: 2, Healthy: 2}
	})
	for _, step := range []struct {
		reason  string
		given   func()
		because string
		want    string
	}{
		{"labels are not known yet", func() { w.templates.Delete(web) }, aggregate.ReasonSelectorsUnused, "Nothing is claimed by 1 of the resource selectors: ConfigMap crat."},
		{"they are", func() { w.templates.Put(labelled) }, aggregate.ReasonSelectorsUnused, "Nothing is claimed by 2 of the resource selectors: every Deployment with app=wbe, ConfigMap crat."},
		{"the slips are mended", func() {
			w.PropagationPolicies.Change("shop", "base", func(p *policyv1alpha1.PropagationPolicy) {
				p.Generation++
				p.Spec.ResourceSelectors = p.Spec.ResourceSelectors[:1]
			})
		}, aggregate.ReasonReady, "All templates are scheduled and applied: 1."},
	} {
		step.given()
		w.now = w.now.Add(time.Second)
		w.reconcilePolicy(t)
		p, _ := w.PropagationPolicies.Get("shop", "base")
		ready := meta.FindStatusCondition(p.Status.Conditions, aggregate.PolicyReady)
		if ready == nil || ready.Status != metav1.ConditionTrue || ready.Reason != step.because || !strings.HasSuffix(ready.Message, step.want) {
			t.Errorf("%s: Ready is %+v", step.reason, ready)
		}
	}
}

func TestAPolicyTellsOfTheOverridesThatItWaitsFor(t *testing.T) {
	w := newWorld(t)
	w.PropagationBindings.Drop(key.Namespace, key.Name)
	base := basePolicy()
	base.Spec.DependentOverrides = []string{"registry"}
	w.PropagationPolicies.Put(base)
	ready := func() *metav1.Condition {
		w.now = w.now.Add(time.Second)
		w.reconcilePolicy(t)
		p, _ := w.PropagationPolicies.Get("shop", "base")
		return meta.FindStatusCondition(p.Status.Conditions, aggregate.PolicyReady)
	}
	ready() // a moment later it may be there
	if got := ready(); got == nil || got.Reason != aggregate.ReasonOverrideMissing || !strings.Contains(got.Message, "OverridePolicy shop/registry") {
		t.Errorf("Ready is %+v", got)
	}
	registry := w.OverridePolicies.Put(&policyv1alpha1.OverridePolicy{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "registry"}})
	want := []types.NamespacedName{{Namespace: "shop", Name: "base"}}
	if diff := cmp.Diff([][]types.NamespacedName{want, nil, want}, [][]types.NamespacedName{
		w.policies.waitingFor(nil, registry), w.policies.waitingFor(registry, registry), w.policies.waitingFor(registry, nil)}); diff != "" {
		t.Errorf("its coming, changing and going wakes (-want +got):\n%s", diff)
	}
	ready()
	if got := ready(); got.Reason == aggregate.ReasonOverrideMissing {
		t.Errorf("Ready stays %+v", got)
	}
}

func TestABindingWakesThePolicyThatClaimsItAndTheOneThatDid(t *testing.T) {
	w := newWorld(t)
	claimedBy := func(annotations map[string]string) *workv1alpha1.PropagationBinding {
		return &workv1alpha1.PropagationBinding{ObjectMeta: metav1.ObjectMeta{Annotations: annotations}}
	}
	old := claimedBy(map[string]string{workv1alpha1.PropagationPolicyNamespaceAnnotation: "shop", workv1alpha1.PropagationPolicyNameAnnotation: "base"})
	new := claimedBy(map[string]string{workv1alpha1.ClusterPropagationPolicyNameAnnotation: "everything"})
	want := []types.NamespacedName{{Namespace: "shop", Name: "base"}, {Name: "everything"}}
	if diff := cmp.Diff(want, w.policies.policiesOf(old, new)); diff != "" {
		t.Errorf("woken (-want +got):\n%s", diff)
	}
}

func TestThatNothingIsSelectedIsNotSaidRightAway(t *testing.T) {
	w := newWorld(t)
	w.PropagationBindings.Drop(key.Namespace, key.Name)
	w.PropagationPolicies.Put(basePolicy())
	if result := w.reconcilePolicy(t); result.RequeueAfter != time.Second {
		t.Errorf("it is looked at again after %s, want 1s", result.RequeueAfter)
	}
	if writes := w.PropagationPolicies.Writes(); len(writes) > 0 {
		t.Errorf("written before the policy could select anything: %v", writes)
	}
	w.now = w.now.Add(time.Second)
	w.reconcilePolicy(t)
	p, _ := w.PropagationPolicies.Get("shop", "base")
	if ready := meta.FindStatusCondition(p.Status.Conditions, aggregate.PolicyReady); ready == nil || ready.Reason != aggregate.ReasonNothingSelected {
		t.Errorf("the condition is %+v", ready)
	}
}

func TestAPolicyThatClaimsNothingSaysWhyAndIsWokenByWhatMayChangeIt(t *testing.T) {
	w := newWorld(t)
	w.PropagationBindings.Drop(key.Namespace, key.Name)
	w.templates.Delete(web)
	says := func() string {
		p, _ := w.PropagationPolicies.Get("shop", "base")
		if ready := meta.FindStatusCondition(p.Status.Conditions, aggregate.PolicyReady); ready != nil {
			return ready.Message
		}
		return ""
	}
	other := basePolicy()
	other.Name, other.Labels = "other", map[string]string{workv1alpha1.PropagationPolicyPermanentIDLabel: "id-other"}
	other.Spec.Priority = ptr.To[int32](5)
	other = w.PropagationPolicies.Put(other)
	w.PropagationPolicies.Put(basePolicy())
	w.reconcilePolicy(t)
	for _, step := range []struct{ reason, want string }{
		{"there is nothing", "No object is claimed: there is no Deployment in namespace shop"},
		{"another policy has it", "No object is claimed: Deployment shop/web is claimed by PropagationPolicy shop/other, which comes before this policy: its priority is 5, this one's 0"},
	} {
		w.now = w.now.Add(time.Second)
		w.reconcilePolicy(t)
		if says() != step.want {
			t.Errorf("%s: it says %q", step.reason, says())
		}
		claimed := deployment("u1")
		labels, annotations := policy.Marks(other)
		claimed.SetLabels(labels)
		claimed.SetAnnotations(annotations)
		w.templates.Put(claimed)
	}

	base := []types.NamespacedName{{Namespace: "shop", Name: "base"}}
	elsewhere, statefulSets := web, web
	elsewhere.Namespace, statefulSets.Kind = "else", "StatefulSet"
	changed := other.DeepCopy()
	changed.Generation++
	for _, test := range []struct {
		reason string
		woken  []types.NamespacedName
		want   []types.NamespacedName
	}{
		{"a template in its namespace", w.policies.idle.lookingFor(web), base},
		{"one in another", w.policies.idle.lookingFor(elsewhere), []types.NamespacedName{}},
		{"one of another kind", w.policies.idle.lookingFor(statefulSets), []types.NamespacedName{}},
		{"a policy for the kind that changes", w.policies.idle.beside(other, changed), base},
		{"one that does not", w.policies.idle.beside(other, other), nil},
	} {
		if diff := cmp.Diff(test.want, test.woken); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.reason, diff)
		}
	}

	t.Run("but is looked at once in an interval", func(t *testing.T) {
		w.templates.Delete(web)
		if result := w.reconcilePolicy(t); result.RequeueAfter != time.Second {
			t.Errorf("it is looked at again after %s", result.RequeueAfter)
		}
	})
	t.Run("and by nothing any more once it claims something", func(t *testing.T) {
		w.PropagationBindings.Put(&workv1alpha1.PropagationBinding{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "b",
			Labels: map[string]string{workv1alpha1.PropagationPolicyPermanentIDLabel: "id-base"}}})
		w.reconcilePolicy(t)
		if keys := w.policies.idle.lookingFor(web); len(keys) > 0 {
			t.Errorf("woken: %v", keys)
		}
	})
}

func TestTheSameTroubleInOneMoreClusterIsNoNews(t *testing.T) {
	w := newWorld(t)
	refuse := func(cluster, message string) {
		for _, work := range w.PropagationWorks.List() {
			if work.Namespace != workv1alpha1.ExecutionNamespace(cluster) {
				continue
			}
			w.PropagationWorks.Change(work.Namespace, work.Name, func(work *workv1alpha1.PropagationWork) {
				meta.SetStatusCondition(&work.Status.Conditions, metav1.Condition{
					Type: workv1alpha1.WorkApplied, Status: metav1.ConditionFalse, ObservedGeneration: work.Generation, Reason: "Rejected", Message: message,
				})
			})
		}
		w.now = w.now.Add(settle)
		w.reconcile(t)
		w.now = w.now.Add(settle)
		w.reconcile(t)
	}
	for _, step := range []struct {
		reason, cluster, message string
		events                   int
	}{
		{"the first that fails is told", "a", "no such account", 1},
		{"the second fails for the same", "b", "no such account", 1},
		{"another cause is told", "b", "the quota is exceeded", 2},
	} {
		if refuse(step.cluster, step.message); len(w.events) != step.events {
			t.Errorf("%s: %d events, want %d: %q", step.reason, len(w.events), step.events, w.events)
		}
	}
}

func TestThatWhatIsWantedCantBePlacedIsToldOnATemplateThatStays(t *testing.T) {
	w := newWorld(t)
	placed, _ := w.PropagationBindings.Get(key.Namespace, key.Name)
	decided := func(generation int64, reason, message string) *workv1alpha1.PropagationBinding {
		binding := placed.DeepCopy()
		binding.Generation = generation
		binding.Status.Conditions[0] = metav1.Condition{Type: workv1alpha1.BindingScheduled, Status: metav1.ConditionFalse, Reason: reason, Message: message, ObservedGeneration: generation}
		return binding
	}
	nowhere := decided(2, "NoClusterFit", "0 of 2 clusters fit")
	nowhere.Spec.Clusters = nil
	stranded := func(generation int64, message string) *workv1alpha1.PropagationBinding {
		binding := decided(generation, workv1alpha1.ScheduledNowhereElse, message)
		binding.Status.Conditions[0].Status = metav1.ConditionTrue
		return binding
	}
	for _, test := range []struct {
		reason   string
		old, new *workv1alpha1.PropagationBinding
		want     []string
	}{
		{"it was scaled up, and there is no room", placed, decided(2, "Unschedulable", "98 replicas more wanted"), []string{"Warning Unschedulable: It stays as it is: 98 replicas more wanted"}},
		{"the room is another number now", decided(2, "Unschedulable", "room for 1"), decided(2, "Unschedulable", "room for 2"), nil},
		{"even more are wanted", decided(2, "Unschedulable", "98"), decided(3, "Unschedulable", "198"), []string{"Warning Unschedulable: It stays as it is: 198"}},
		{"the first that is seen after a start of the hub", nil, decided(2, "Unschedulable", "98"), nil},
		{"of one that is taken out FullyApplied tells", placed, nowhere, nil},
		{"it has to leave, and no other cluster fits", placed, stranded(2, "nothing else fits"), []string{"Warning NowhereElse: It stays as it is: nothing else fits"}},
		{"that does not fit for another reason", stranded(2, "it is tainted"), stranded(3, "it has not joined"), nil},
		{"nor has it a place by now for all that is wanted", stranded(2, "nothing else fits"), decided(3, "Unschedulable", "98"), []string{"Warning Unschedulable: It stays as it is: 98"}},
		{"that another scheduler is to place it is no trouble", placed, decided(2, workv1alpha1.ScheduledByAnother, "theirs"), nil},
	} {
		w.events = nil
		var old workv1alpha1.Binding
		if test.old != nil {
			old = test.old
		}
		w.bindings.bindingChanged(old, test.new)
		if diff := cmp.Diff(test.want, w.events); diff != "" {
			t.Errorf("%s: events (-want +got):\n%s", test.reason, diff)
		}
	}
}

func TestABindingThatItsPolicyLetsGoOfIsSummedUpAsThat(t *testing.T) {
	w := newWorld(t)
	w.report("a", metav1.ConditionTrue, workv1alpha1.ResourceHealthy, "2")
	w.report("b", metav1.ConditionTrue, workv1alpha1.ResourceHealthy, "2")
	says := func(status metav1.ConditionStatus, text string) {
		t.Helper()
		for range 2 {
			w.now = w.now.Add(settle)
			w.reconcile(t)
		}
		if got := meta.FindStatusCondition(w.status().Conditions, workv1alpha1.BindingFullyApplied); got.Status != status || !strings.Contains(got.Message, text) {
			t.Errorf("it is %s: %s", got.Status, got.Message)
		}
	}
	w.PropagationBindings.Change(key.Namespace, key.Name, func(b *workv1alpha1.PropagationBinding) {
		b.Spec.SchedulerName = "mine"
		b.Generation++
	})
	says(metav1.ConditionFalse, `is carried out when the scheduler "mine"`)
	claimed, _ := w.PropagationBindings.Get(key.Namespace, key.Name)
	released := w.PropagationBindings.Change(key.Namespace, key.Name, func(b *workv1alpha1.PropagationBinding) {
		delete(b.Labels, workv1alpha1.PropagationPolicyPermanentIDLabel)
	})
	if len(w.bindings.bindingChanged(claimed, released)) == 0 {
		t.Error("nobody wakes it")
	}
	says(metav1.ConditionTrue, "no policy claims the template any more")
}

func TestATroubleIsToldOnceOnTheTemplate(t *testing.T) {
	w := newWorld(t)
	refused := func(work *workv1alpha1.PropagationWork) {
		meta.SetStatusCondition(&work.Status.Conditions, metav1.Condition{
			Type: workv1alpha1.WorkApplied, Status: metav1.ConditionFalse, ObservedGeneration: work.Generation, Reason: "Conflict", Message: "it is there already",
		})
	}
	for _, work := range w.PropagationWorks.List() {
		w.PropagationWorks.Change(work.Namespace, work.Name, refused)
	}
	for range 2 {
		w.now = w.now.Add(settle)
		w.reconcile(t)
		w.now = w.now.Add(settle)
		w.reconcile(t)
	}
	if len(w.events) != 1 || !strings.Contains(w.events[0], "Warning Conflict") || !strings.Contains(w.events[0], "it is there already") {
		t.Errorf("events: %q, want one that says what is wrong", w.events)
	}
}

func (w *world) overrideReconciler() *OverrideReconciler {
	return &OverrideReconciler{Overrides: w.Overrides(), Clusters: w.MemberClusters.Kind(), Kinds: w.templates, Every: time.Second, Now: func() time.Time { return w.now }}
}

// labelled are overriders that change something.
var labelled = policyv1alpha1.Overriders{LabelsOverrider: []policyv1alpha1.LabelAnnotationOverrider{{Operator: policyv1alpha1.OverriderOpAdd, Value: map[string]string{"a": "b"}}}}

func TestAnOverridePolicyNamesTheSelectorsThatSelectNothingBesideOthersThatDo(t *testing.T) {
	w := newWorld(t)
	overrides := w.overrideReconciler()
	sizes := types.NamespacedName{Namespace: "shop", Name: "sizes"}
	selects := func(names ...string) (selectors []policyv1alpha1.ResourceSelector) {
		for _, name := range names {
			selectors = append(selectors, policyv1alpha1.ResourceSelector{APIVersion: "apps/v1", Kind: "Deployment", Name: name})
		}
		return selectors
	}
	w.OverridePolicies.Put(&policyv1alpha1.OverridePolicy{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "sizes"},
		Spec: policyv1alpha1.OverrideSpec{OverrideRules: []policyv1alpha1.RuleWithCluster{{Overriders: labelled}}, ResourceSelectors: selects("wbe", "web", "dp")}})
	claimed := func(name string) *unstructured.Unstructured {
		object := deployment("u1")
		labels, annotations := policy.Marks(basePolicy())
		object.SetName(name)
		object.SetLabels(labels)
		object.SetAnnotations(annotations)
		return object
	}
	w.templates.Put(claimed("web"))
	later := func() { w.now = w.now.Add(time.Second) }
	const (
		unused = "True SelectorsUnused: every rule is for some cluster; not every resource selector selects something that is propagated: "
		fine   = "True ClustersSelected: every rule is for some cluster"
		lacks  = "no Deployment in namespace shop has the name "
	)
	key := func(name string) templates.Key {
		return templates.Key{GroupVersionKind: deployments, NamespacedName: types.NamespacedName{Namespace: "shop", Name: name}}
	}
	for _, step := range []struct {
		reason string
		change func()
		of     string // the template that has changed
		wakes  bool
		want   string
	}{
		{"the others may be about to come", func() {}, "web", false, ""},
		{"they do not", later, "web", true, unused + lacks + "wbe (1 is there); " + lacks + "dp (1 is there)"},
		{"one comes", func() { w.templates.Put(claimed("dp")); later() }, "dp", true, unused + lacks + "wbe (2 are there)"},
		{"the slip is mended", func() {
			later()
			w.OverridePolicies.Change("shop", "sizes", func(p *policyv1alpha1.OverridePolicy) { p.Spec.ResourceSelectors = selects("web", "dp") })
		}, "web", true, fine},
		{"nothing is looked for any more", func() { w.templates.Put(claimed("web")) }, "web", false, fine},
		{"one goes", func() { w.templates.Delete(key("dp")) }, "dp", true, fine},
		{"for good", later, "dp", true, unused + lacks + "dp (1 is there)"},
		{"and the other", func() { w.templates.Delete(key("web")); later() }, "web", true,
			"False NothingSelected: the resource selectors select nothing that is propagated: there is no Deployment in namespace shop"},
	} {
		step.change()
		if woken := slices.Contains(overrides.affected(key(step.of)), sizes); woken != step.wakes {
			t.Errorf("%s: woken by it: %t", step.reason, woken)
		}
		if _, err := overrides.Reconcile(t.Context(), sizes); err != nil {
			t.Fatal(err)
		}
		got := ""
		p, _ := w.OverridePolicies.Get("shop", "sizes")
		if effective := meta.FindStatusCondition(p.Status.Conditions, policyv1alpha1.OverrideEffective); effective != nil {
			got = fmt.Sprintf("%s %s: %s", effective.Status, effective.Reason, effective.Message)
		}
		if got != step.want {
			t.Errorf("%s: it says\n%s\nwant\n%s", step.reason, got, step.want)
		}
	}
}

func TestAnOverridePolicyThatSelectsNothingSaysWhyAndIsWokenByWhatMayChangeIt(t *testing.T) {
	w := newWorld(t)
	overrides := w.overrideReconciler()
	sizes := types.NamespacedName{Namespace: "shop", Name: "sizes"}
	w.OverridePolicies.Put(&policyv1alpha1.OverridePolicy{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "sizes"},
		Spec: policyv1alpha1.OverrideSpec{OverrideRules: []policyv1alpha1.RuleWithCluster{{Overriders: labelled}}, ResourceSelectors: []policyv1alpha1.ResourceSelector{{APIVersion: "apps/v1", Kind: "Deployment", Name: "web"}}}})
	says := func() string {
		t.Helper()
		if _, err := overrides.Reconcile(t.Context(), sizes); err != nil {
			t.Fatal(err)
		}
		p, _ := w.OverridePolicies.Get("shop", "sizes")
		if effective := meta.FindStatusCondition(p.Status.Conditions, policyv1alpha1.OverrideEffective); effective != nil {
			return fmt.Sprintf("%s %s: %s", effective.Status, effective.Reason, effective.Message)
		}
		return ""
	}
	claimed := deployment("u1")
	labels, annotations := policy.Marks(basePolicy())
	claimed.SetLabels(labels)
	claimed.SetAnnotations(annotations)
	const (
		fine    = "True ClustersSelected: every rule is for some cluster"
		nothing = "False NothingSelected: the resource selectors select nothing that is propagated: "
	)
	for _, step := range []struct {
		reason string
		change func()
		wakes  bool
		want   string
	}{
		{"nobody propagates it yet", func() {}, false, ""},
		{"nor a moment later", func() { w.now = w.now.Add(time.Second) }, true, nothing + "no policy propagates Deployment shop/web"},
		{"it is claimed", func() { w.templates.Put(claimed); w.now = w.now.Add(time.Second) }, true, fine},
		{"its status changes", func() { w.templates.Put(claimed) }, false, fine},
		{"another of its kind comes", func() { other := claimed.DeepCopy(); other.SetName("db"); w.templates.Put(other) }, false, fine},
		{"it goes", func() { w.templates.Delete(web) }, true, fine},
		{"and does not come back in a moment", func() { w.now = w.now.Add(time.Second) }, true, nothing + "no Deployment in namespace shop has the name web (1 is there)"},
		{"it comes back, and is not looked for all the time", func() { w.templates.Put(claimed) }, true, nothing + "no Deployment in namespace shop has the name web (1 is there)"},
		{"but once in an interval", func() { w.now = w.now.Add(time.Second) }, true, fine},
		{"it is released", func() { w.templates.Put(deployment("u1")) }, true, fine},
		{"for good", func() { w.now = w.now.Add(time.Second) }, true, nothing + "no policy propagates Deployment shop/web"},
		{"nobody propagates the kind any more", func() { w.templates.Unwatched[deployments] = true; w.now = w.now.Add(time.Second) }, true,
			nothing + "no policy propagates kind Deployment of apps/v1"},
		{"the kind is not listed yet, as after a start", func() {
			w.templates.Unwatched[deployments], w.templates.Unlisted[deployments] = false, true
			w.now = w.now.Add(time.Second)
		}, true, nothing + "no policy propagates kind Deployment of apps/v1"},
	} {
		step.change()
		if woken := slices.Contains(overrides.affected(web), sizes); woken != step.wakes {
			t.Errorf("%s: woken by it: %t", step.reason, woken)
		}
		if got := says(); got != step.want {
			t.Errorf("%s: it says %q, want %q", step.reason, got, step.want)
		}
	}
	w.OverridePolicies.Drop("shop", "sizes")
	result, err := overrides.Reconcile(t.Context(), sizes)
	if err != nil || result.RequeueAfter > 0 || len(overrides.affected(web)) > 0 {
		t.Errorf("of one that is gone, something is left: %v, %v", result, err)
	}
}

func TestAnOverridePolicySaysWhichOfItsRulesAreForNoCluster(t *testing.T) {
	w := newWorld(t)
	overrides := w.overrideReconciler()
	only := func(cluster string) *policyv1alpha1.ClusterAffinity {
		return &policyv1alpha1.ClusterAffinity{ClusterNames: []string{cluster}}
	}
	w.MemberClusters.Put(&clusterv1alpha1.MemberCluster{ObjectMeta: metav1.ObjectMeta{Name: "member1"}})
	p := w.OverridePolicies.Put(&policyv1alpha1.OverridePolicy{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "p"}, Spec: policyv1alpha1.OverrideSpec{
		OverrideRules: []policyv1alpha1.RuleWithCluster{{TargetCluster: only("member1"), Overriders: labelled}, {TargetCluster: only("member11")}, {}},
	}})
	effective := func() *metav1.Condition {
		t.Helper()
		if _, err := overrides.Reconcile(t.Context(), store.Key(p)); err != nil {
			t.Fatal(err)
		}
		got, _ := w.OverridePolicies.Get("shop", "p")
		if got.Status.ObservedGeneration != got.Generation {
			t.Errorf("the status is about generation %d, of %d", got.Status.ObservedGeneration, got.Generation)
		}
		return meta.FindStatusCondition(got.Status.Conditions, policyv1alpha1.OverrideEffective)
	}
	if got := effective(); got.Status != metav1.ConditionFalse || got.Message != "no cluster is selected by the targetCluster of spec.overrideRules[1]" {
		t.Errorf("Effective is %+v", got)
	}
	w.OverridePolicies.Writes()
	if effective(); len(w.OverridePolicies.Writes()) > 0 {
		t.Error("the same is written again")
	}

	joined := w.MemberClusters.Put(&clusterv1alpha1.MemberCluster{ObjectMeta: metav1.ObjectMeta{Name: "member11"}})
	if diff := cmp.Diff([]types.NamespacedName{{Namespace: "shop", Name: "p"}}, overrides.clusterChanged(nil, joined)); diff != "" {
		t.Errorf("a cluster that joins wakes (-want +got):\n%s", diff)
	}
	if keys := overrides.clusterChanged(joined, joined); len(keys) > 0 {
		t.Errorf("a heartbeat wakes %v", keys)
	}
	if got := effective(); got.Status != metav1.ConditionTrue {
		t.Errorf("Effective is %+v", got)
	}

	p = w.OverridePolicies.Change("shop", "p", func(p *policyv1alpha1.OverridePolicy) {
		p.Spec.OverrideRules[0].TargetCluster.ClusterNames = []string{"member1", "membr2"}
	})
	if got := effective(); got.Status != metav1.ConditionTrue || got.Reason != "ClustersLeftOut" || got.Message != "every rule is for some cluster; no cluster is called membr2" {
		t.Errorf("with a slip in one of the names Effective is %+v", got)
	}

	for _, without := range [][]policyv1alpha1.RuleWithCluster{nil, {{}, {TargetCluster: only("member1")}}} {
		p = w.OverridePolicies.Change("shop", "p", func(p *policyv1alpha1.OverridePolicy) { p.Spec.OverrideRules = without })
		if got := effective(); got.Status != metav1.ConditionFalse || got.Reason != "NoRules" {
			t.Errorf("with the rules %v Effective is %+v", without, got)
		}
	}
	p = w.OverridePolicies.Change("shop", "p", func(p *policyv1alpha1.OverridePolicy) {
		p.Spec.OverrideRules = []policyv1alpha1.RuleWithCluster{{Overriders: labelled}}
	})

	w.templates.Problems[deployments] = errors.New("not served")
	selects := w.OverridePolicies.Change("shop", "p", func(p *policyv1alpha1.OverridePolicy) {
		p.Spec.ResourceSelectors = []policyv1alpha1.ResourceSelector{{APIVersion: "apps/v1", Kind: "Deployment"}, {APIVersion: "v1", Kind: "ConfigMap"}}
		p.Generation++
	})
	overrides.overrideChanged(p, selects)
	if diff := cmp.Diff([]schema.GroupVersionKind{{Version: "v1", Kind: "ConfigMap"}, deployments}, w.templates.Wanted("named")); diff != "" {
		t.Errorf("kinds that are looked for (-want +got):\n%s", diff)
	}
	if got := effective(); got.Status != metav1.ConditionFalse || got.Reason != "KindNotFound" ||
		got.Message != "the hub does not serve apps/v1 Deployment: check apiVersion and kind of the resource selectors, or apply the CRD" {
		t.Errorf("of a kind that is not served Effective is %+v", got)
	}
	wake := &store.Mailbox[types.NamespacedName]{}
	overrides.kindChanged(wake, deployments)
	queue := workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[types.NamespacedName]())
	defer queue.ShutDown()
	if err := wake.Start(t.Context(), queue); err != nil || queue.Len() != 1 {
		t.Errorf("a kind that comes wakes %d policies: %v", queue.Len(), err)
	}
}

// interrupted are kinds that, while they are told for the first time which ones are named, have something else happen.
type interrupted struct {
	*storetest.Templates
	meanwhile func()
	over      chan struct{}
}

func (i *interrupted) Name(kinds []schema.GroupVersionKind) {
	if meanwhile := i.meanwhile; meanwhile != nil {
		i.meanwhile = nil
		go func() {
			defer close(i.over)
			meanwhile()
		}()
		for range 10_000 { // nobody can wait for it: it may have to wait until this is told
			stdruntime.Gosched()
		}
	}
	i.Templates.Name(kinds)
}

func TestNoOlderSetOfKindsIsNamedAfterANewerOne(t *testing.T) {
	w := newWorld(t)
	configMaps := schema.GroupVersionKind{Version: "v1", Kind: "ConfigMap"}
	kinds := &interrupted{Templates: w.templates, over: make(chan struct{})}
	overrides := w.overrideReconciler()
	overrides.Kinds = kinds
	selecting := func(kind schema.GroupVersionKind) policyv1alpha1.OverrideSpec {
		return policyv1alpha1.OverrideSpec{ResourceSelectors: []policyv1alpha1.ResourceSelector{{APIVersion: kind.GroupVersion().String(), Kind: kind.Kind}}}
	}
	kinds.meanwhile = func() {
		overrides.overrideChanged(nil, w.ClusterOverridePolicies.Put(&policyv1alpha1.ClusterOverridePolicy{
			ObjectMeta: metav1.ObjectMeta{Name: "p"}, Spec: selecting(configMaps)}))
	}
	overrides.overrideChanged(nil, w.OverridePolicies.Put(&policyv1alpha1.OverridePolicy{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "p"}, Spec: selecting(deployments)}))
	<-kinds.over
	if diff := cmp.Diff([]schema.GroupVersionKind{configMaps, deployments}, w.templates.Wanted("named")); diff != "" {
		t.Errorf("named after two policies at a time (-want +got):\n%s", diff)
	}
}

func TestATemplateIsHashedOnceForAllReportsOfIt(t *testing.T) {
	w := newWorld(t)
	large := deployment("u1")
	labels := map[string]string{}
	for i := range 300 {
		labels[fmt.Sprint("label-", i)] = "value"
	}
	large.SetLabels(labels)
	w.templates.Put(large)
	pass := func() { w.reconcile(t) }
	pass()
	if allocations := testing.AllocsPerRun(10, pass); allocations > 300 {
		t.Errorf("a pass over a template that has not changed allocates %v times", allocations)
	}
	changed := large.DeepCopy()
	changed.SetLabels(nil)
	before, err := w.bindings.hashes.of(key, large)
	if err != nil {
		t.Fatal(err)
	}
	if after, err := w.bindings.hashes.of(key, changed); err != nil || after == before {
		t.Errorf("the hash stays when the template changes: %v", err)
	}
}

func TestTheWorksOfARemovalAreNotLookedAtForTheEndOfEach(t *testing.T) {
	const clusters = 100
	w := newWorld(t)
	w.spread(t, clusters)
	w.PropagationBindings.Change(key.Namespace, key.Name, func(b *workv1alpha1.PropagationBinding) {
		b.DeletionTimestamp, b.Finalizers = &metav1.Time{Time: storetest.Began}, []string{workv1alpha1.BindingFinalizer}
	})
	perPass := func() float64 {
		return testing.AllocsPerRun(10, func() {
			if result := w.reconcile(t); result.RequeueAfter <= 0 {
				t.Fatal("it does not come back")
			}
		})
	}
	if allocations := perPass(); allocations > clusters {
		t.Errorf("while it may be done in a moment, a pass allocates %v times for %d clusters", allocations, clusters)
	}
	w.now = storetest.Began.Add(quickRemoval)
	if result := w.reconcile(t); result.RequeueAfter > 0 {
		t.Fatal("it does not say from where it is not gone")
	}
	other := types.NamespacedName{Namespace: "other", Name: "other"}
	if wait := w.bindings.passes.next(other, clusters, w.now); wait < price(passShare*firstGuess, clusters) {
		t.Errorf("after it was looked through, others wait only for %s", wait)
	}
	w.bindings.passes.forget(other)
	if allocations := perPass(); allocations > clusters {
		t.Errorf("right after one, a pass allocates %v times for %d clusters", allocations, clusters)
	}
	for _, work := range w.PropagationWorks.List() {
		w.PropagationWorks.Drop(work.Namespace, work.Name)
	}
	w.now = w.now.Add(quickRemoval)
	if result := w.reconcile(t); result.RequeueAfter > 0 || len(w.bindings.passes.turns)+len(w.bindings.said.at) > 0 {
		t.Errorf("when all are gone, it comes back after %s and remembers %v and %v", result.RequeueAfter, w.bindings.passes.turns, w.bindings.said.at)
	}
}

func TestARemovalThatTakesLongSaysFromWhereItIsNotDone(t *testing.T) {
	w := newWorld(t)
	w.report("a", metav1.ConditionTrue, workv1alpha1.ResourceHealthy, "2")
	w.report("b", metav1.ConditionTrue, workv1alpha1.ResourceHealthy, "2")
	w.PropagationBindings.Change(key.Namespace, key.Name, func(b *workv1alpha1.PropagationBinding) {
		b.DeletionTimestamp, b.Finalizers = &metav1.Time{Time: storetest.Began}, []string{workv1alpha1.BindingFinalizer}
	})
	w.now = storetest.Began.Add(quickRemoval)
	said := func() string {
		w.reconcile(t)
		binding, _ := w.PropagationBindings.Get(key.Namespace, key.Name)
		applied := meta.FindStatusCondition(binding.Status.Conditions, workv1alpha1.BindingFullyApplied)
		if applied == nil || applied.Status != metav1.ConditionFalse || applied.Reason != aggregate.ReasonRemoving {
			t.Fatalf("the condition is %+v", applied)
		}
		return applied.Message
	}
	if got := said(); got != "It is being removed, and not gone yet from 2 clusters: a, b" {
		t.Errorf("it says %q", got)
	}
	for _, work := range w.PropagationWorks.List() {
		if work.Namespace == "karmada-es-a" {
			w.PropagationWorks.Drop(work.Namespace, work.Name)
		}
	}
	if got := said(); got != "It is being removed, and not gone yet from 1 cluster: b" {
		t.Errorf("when one is done it says %q", got)
	}
	if rows := w.status().AggregatedStatus; len(rows) != 1 || rows[0].ClusterName != "b" || rows[0].Applied || rows[0].AppliedMessage != "it is being removed" {
		t.Errorf("it tells of these clusters: %+v", rows)
	}
	w.PropagationBindings.Writes()
	w.reconcile(t)
	if again := w.PropagationBindings.Writes(); len(again) > 0 {
		t.Errorf("it says the same once more: %v", again)
	}
}

// A removal from many clusters is news with each of them: each said at once, a thousand removals wait for what is said of them.
func TestARemovalIsToldOfTheLessOftenTheLongerItTakes(t *testing.T) {
	w := newWorld(t)
	w.spread(t, 200)
	w.PropagationBindings.Change(key.Namespace, key.Name, func(b *workv1alpha1.PropagationBinding) {
		b.DeletionTimestamp, b.Finalizers = &metav1.Time{Time: storetest.Began}, []string{workv1alpha1.BindingFinalizer}
	})
	w.PropagationBindings.Writes()

	var told []int
	works := w.PropagationWorks.List()
	for second, work := range works[:len(works)-1] { // one goes in each second
		w.now = storetest.Began.Add(time.Duration(second) * time.Second)
		w.reconcile(t)
		if len(w.PropagationBindings.Writes()) > 0 {
			told = append(told, second)
		}
		w.PropagationWorks.Drop(work.Namespace, work.Name)
	}
	if want := []int{5, 10, 20, 40, 70, 100, 130, 160, 190}; !slices.Equal(told, want) {
		t.Errorf("it was told of after %v seconds, want %v", told, want)
	}
	wait := w.reconcile(t).RequeueAfter
	if end := w.now.Add(wait); end != storetest.Began.Add(220*time.Second) {
		t.Errorf("after the last of all but one it comes back at %s", end.Sub(storetest.Began))
	}
	w.now = w.now.Add(wait)
	w.reconcile(t)
	if got := fullyApplied(w.status()).Message; !strings.HasPrefix(got, "It is being removed, and not gone yet from 1 cluster: ") {
		t.Errorf("when it comes back it says %q", got)
	}
}

func TestWhatAPersonDecidesOfARemovalIsSaidAtOnce(t *testing.T) {
	holding := func(status metav1.ConditionStatus) *clusterv1alpha1.MemberCluster {
		return &clusterv1alpha1.MemberCluster{ObjectMeta: metav1.ObjectMeta{Name: "c0"}, Status: clusterv1alpha1.ClusterStatus{Conditions: []metav1.Condition{
			{Type: clusterv1alpha1.ClusterDeletionsHeld, Status: status, Reason: clusterv1alpha1.DeletionsHeldTooMany},
		}}}
	}
	w := newWorld(t)
	w.spread(t, 100)
	w.report("c0", metav1.ConditionTrue, workv1alpha1.ResourceHealthy, "2")
	w.MemberClusters.Put(holding(metav1.ConditionTrue))
	w.PropagationBindings.Change(key.Namespace, key.Name, func(b *workv1alpha1.PropagationBinding) {
		b.DeletionTimestamp, b.Finalizers = &metav1.Time{Time: storetest.Began}, []string{workv1alpha1.BindingFinalizer}
	})
	for _, work := range w.PropagationWorks.List() {
		w.PropagationWorks.Change(work.Namespace, work.Name, func(work *workv1alpha1.PropagationWork) {
			work.DeletionTimestamp = &metav1.Time{Time: storetest.Began}
		})
	}
	w.now = storetest.Began.Add(time.Hour)
	w.reconcile(t)
	if got := fullyApplied(w.status()); got.Reason != aggregate.ReasonRemovalHeld {
		t.Fatalf("FullyApplied is %+v", got)
	}

	w.MemberClusters.Put(holding(metav1.ConditionFalse))
	if woken := w.bindings.clusterChanged(holding(metav1.ConditionTrue), holding(metav1.ConditionFalse)); len(woken) == 0 {
		t.Fatal("nobody is woken")
	}
	turn := w.reconcile(t).RequeueAfter
	if turn > price(passPause, 100) {
		t.Errorf("it waits for more than its turn: %s", turn)
	}
	w.now = w.now.Add(turn)
	w.reconcile(t)
	if got := fullyApplied(w.status()); got.Reason != aggregate.ReasonRemoving {
		t.Errorf("in the moment of the confirmation FullyApplied is %+v", got)
	}
}

// What a turn costs is what passes take, of either kind.
func TestThePassesOverABindingOfManyClustersAreTimed(t *testing.T) {
	slow := func(t *testing.T) *world {
		w := newWorld(t)
		w.spread(t, tellingPass)
		w.bindings.Now = func() time.Time { // of a machine on which everything takes longer than it should
			w.now = w.now.Add(tellingPass * firstGuess)
			return w.now
		}
		return w
	}
	timed := func(t *testing.T, w *world) {
		t.Helper()
		for range 100 {
			w.reconcile(t)
		}
		if took := w.bindings.passes.takes; took <= firstGuess {
			t.Errorf("a pass is said to take %s for each cluster", took)
		}
	}
	t.Run("that stands", func(t *testing.T) { timed(t, slow(t)) })
	t.Run("that is being deleted", func(t *testing.T) {
		w := slow(t)
		w.PropagationBindings.Change(key.Namespace, key.Name, func(b *workv1alpha1.PropagationBinding) {
			b.DeletionTimestamp, b.Finalizers = &metav1.Time{Time: storetest.Began.Add(-time.Hour)}, []string{workv1alpha1.BindingFinalizer}
		})
		timed(t, w)
	})
}

func TestABindingThatComesAgainUnderItsNameIsToldOfAsTheFirst(t *testing.T) {
	w := newWorld(t)
	w.spread(t, 100)
	leave := func(at time.Time) {
		w.PropagationBindings.Change(key.Namespace, key.Name, func(b *workv1alpha1.PropagationBinding) {
			b.DeletionTimestamp, b.Finalizers = &metav1.Time{Time: at}, []string{workv1alpha1.BindingFinalizer}
		})
	}
	leave(storetest.Began)
	w.now = storetest.Began.Add(quickRemoval)
	w.reconcile(t)
	w.PropagationBindings.Change(key.Namespace, key.Name, func(b *workv1alpha1.PropagationBinding) {
		b.DeletionTimestamp, b.UID = nil, "another"
	})
	w.reconcile(t)
	w.now = w.now.Add(time.Hour)
	leave(w.now)
	if wait := w.reconcile(t).RequeueAfter; wait != quickRemoval {
		t.Errorf("its removal is told of after %s", wait)
	}
}

func TestAClusterThatIsNotOnTheHubAnyMoreIsNotSaidToGetItsWork(t *testing.T) {
	w := newWorld(t)
	w.report("a", metav1.ConditionTrue, workv1alpha1.ResourceHealthy, "2")
	for _, name := range []string{"b", "c"} {
		cluster := &clusterv1alpha1.MemberCluster{ObjectMeta: metav1.ObjectMeta{Name: name}}
		if name == "b" {
			cluster.DeletionTimestamp, cluster.Finalizers = &metav1.Time{Time: storetest.Began}, []string{workv1alpha1.ClusterFinalizer}
		}
		w.MemberClusters.Put(cluster)
	}
	// As a scheduler of somebody else's names them.
	w.PropagationBindings.Change(key.Namespace, key.Name, func(b *workv1alpha1.PropagationBinding) {
		b.Spec.Clusters = nil
		for _, name := range []string{"a", "b", "c", "d"} {
			b.Spec.Clusters = append(b.Spec.Clusters, workv1alpha1.TargetCluster{Name: name, Replicas: 2})
		}
	})
	for _, work := range w.PropagationWorks.List() {
		if work.Namespace == "karmada-es-b" {
			w.PropagationWorks.Drop(work.Namespace, work.Name)
		}
	}
	w.reconcile(t)
	w.now = w.now.Add(settle)
	w.reconcile(t)
	const gone = "the cluster is not on the hub, or is being removed from it"
	want := map[string]string{"a": "", "b": gone, "c": "the work for the cluster is not written yet", "d": gone}
	got := map[string]string{}
	for _, row := range w.status().AggregatedStatus {
		got[row.ClusterName] = row.AppliedMessage
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("what is said of the clusters (-want +got):\n%s", diff)
	}
}
