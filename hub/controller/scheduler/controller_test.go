package scheduler

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
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
	"windlass.dev/windlass/pkg/schedule"
)

// world is a hub with the scheduler and nothing else.
type world struct {
	*storetest.Store
	templates  *storetest.Templates
	controller *Reconciler
	woken      *store.Mailbox[types.NamespacedName]
	now        time.Time

	gathered int      // how often room was asked about
	awaited  []string // clusters whose agents are on their way back
	assumed  []string // what was decided, as it was told to whoever knows of room
}

func newWorld(clusters ...string) *world {
	w := &world{Store: storetest.New(), templates: storetest.NewTemplates(), woken: &store.Mailbox[types.NamespacedName]{}, now: storetest.Began}
	w.controller = &Reconciler{Bindings: w.Bindings(), Clusters: w.MemberClusters.Kind(), Works: w.Works(), Templates: w.templates, Room: w, Now: func() time.Time { return w.now }}
	for _, name := range clusters {
		w.attach(cluster(name))
	}
	return w
}

// attach makes the store and the scheduler know a cluster, or a new state of it.
func (w *world) attach(c *clusterv1alpha1.MemberCluster) {
	old, _ := w.MemberClusters.Get("", c.Name)
	w.controller.clusterChanged(w.woken, old, w.MemberClusters.Put(c))
}

func (w *world) detach(name string) {
	old, _ := w.MemberClusters.Get("", name)
	w.MemberClusters.Drop("", name)
	w.controller.clusterChanged(w.woken, old, nil)
}

func (w *world) reconcile(t *testing.T, key types.NamespacedName) ctrl.Result {
	t.Helper()
	result, err := w.controller.Reconcile(t.Context(), key)
	if err != nil {
		t.Fatalf("placing %s: %v", key, err)
	}
	return result
}

// keys are the bindings that were woken since it was last called.
func (w *world) keys(t *testing.T) []string {
	t.Helper()
	queue := workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[types.NamespacedName]())
	defer queue.ShutDown()
	if err := w.woken.Start(t.Context(), queue); err != nil {
		t.Fatal(err)
	}
	*w.woken = store.Mailbox[types.NamespacedName]{}
	keys := []string{}
	for queue.Len() > 0 {
		key, _ := queue.Get()
		keys = append(keys, key.String())
		queue.Done(key)
	}
	return keys
}

func cluster(name string) *clusterv1alpha1.MemberCluster {
	return &clusterv1alpha1.MemberCluster{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Status: clusterv1alpha1.ClusterStatus{
			Conditions: []metav1.Condition{
				{Type: clusterv1alpha1.ClusterJoined, Status: metav1.ConditionTrue},
				{Type: clusterv1alpha1.ClusterCompleteAPIEnablements, Status: metav1.ConditionTrue},
			},
			APIEnablements: []clusterv1alpha1.APIEnablement{{GroupVersion: "apps/v1", Resources: []clusterv1alpha1.APIResource{{Name: "deployments", Kind: "Deployment"}}},
				{GroupVersion: "batch/v1", Resources: []clusterv1alpha1.APIResource{{Name: "jobs", Kind: "Job"}}},
				{GroupVersion: "rbac.authorization.k8s.io/v1", Resources: []clusterv1alpha1.APIResource{{Name: "clusterroles", Kind: "ClusterRole"}}}},
		},
	}
}

var web = types.NamespacedName{Namespace: "shop", Name: "web-deployment"}

func binding(change func(*workv1alpha1.PropagationBinding)) *workv1alpha1.PropagationBinding {
	b := &workv1alpha1.PropagationBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: web.Namespace, Name: web.Name,
			Labels: map[string]string{workv1alpha1.PropagationPolicyPermanentIDLabel: "id"}, Finalizers: []string{workv1alpha1.BindingFinalizer}},
		Spec: workv1alpha1.BindingSpec{
			Resource:  workv1alpha1.ObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Namespace: "shop", Name: "web", UID: "u1"},
			Replicas:  ptr.To[int32](2),
			Placement: &policyv1alpha1.Placement{},
		},
	}
	if change != nil {
		change(b)
	}
	return b
}

func targets(names ...string) []workv1alpha1.TargetCluster {
	list := []workv1alpha1.TargetCluster{}
	for _, name := range names {
		list = append(list, workv1alpha1.TargetCluster{Name: name, Replicas: 2})
	}
	return list
}

func TestTheFirstDecisionIsOneWriteOfClustersAndCondition(t *testing.T) {
	tests := []struct {
		reason    string
		clusters  []string
		placement *policyv1alpha1.Placement
		want      []workv1alpha1.TargetCluster
		status    metav1.ConditionStatus
		why       string
		// generation is that of the binding afterwards; it began with 1.
		generation int64
	}{
		{"clusters are found", []string{"a", "b"}, &policyv1alpha1.Placement{}, targets("a", "b"), metav1.ConditionTrue, schedule.ReasonSuccess, 2},
		{"no cluster fits", []string{"a"}, &policyv1alpha1.Placement{ClusterAffinity: &policyv1alpha1.ClusterAffinity{ClusterNames: []string{"x"}}},
			nil, metav1.ConditionFalse, schedule.ReasonNoClusterFit, 1},
		{"no cluster is attached", nil, &policyv1alpha1.Placement{}, nil, metav1.ConditionFalse, schedule.ReasonNoClusterFit, 1},
		{"the placement can't be used", []string{"a"}, &policyv1alpha1.Placement{ClusterAffinity: &policyv1alpha1.ClusterAffinity{
			LabelSelector: &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "x", Operator: "Near"}}}}},
			nil, metav1.ConditionFalse, schedule.ReasonSchedulerError, 1},
	}
	for _, test := range tests {
		t.Run(test.reason, func(t *testing.T) {
			w := newWorld(test.clusters...)
			w.PropagationBindings.Put(binding(func(b *workv1alpha1.PropagationBinding) { b.Spec.Placement = test.placement }))
			before, _ := w.PropagationBindings.Get("shop", web.Name)
			w.reconcile(t, web)
			if diff := cmp.Diff([]string{"schedule shop/web-deployment"}, w.PropagationBindings.Writes()); diff != "" {
				t.Errorf("writes (-want +got):\n%s", diff)
			}
			got, _ := w.PropagationBindings.Get("shop", web.Name)
			if diff := cmp.Diff(test.want, got.Spec.Clusters, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("clusters (-want +got):\n%s", diff)
			}
			condition := meta.FindStatusCondition(got.Status.Conditions, workv1alpha1.BindingScheduled)
			if condition == nil || condition.Status != test.status || condition.Reason != test.why || condition.Message == "" {
				t.Errorf("the condition is %+v", condition)
			}
			if got.Generation != test.generation || got.Status.SchedulerObservedGeneration != test.generation || condition.ObservedGeneration != test.generation {
				t.Errorf("generation %d, observed %d, in the condition %d; want all %d", got.Generation, got.Status.SchedulerObservedGeneration, condition.ObservedGeneration, test.generation)
			}
			if got.Status.LastScheduledTime == nil || !got.Status.LastScheduledTime.Time.Equal(w.now) {
				t.Errorf("decided at %v, want %s", got.Status.LastScheduledTime, w.now)
			}

			t.Run("and nothing more while nothing changes", func(t *testing.T) {
				if keys := bindingChanged(before, got); len(keys) != 1 {
					t.Errorf("its own write wakes %v: a decision that a cache behind it had led to would never be taken again", keys)
				}
				if keys := bindingChanged(got, got); len(keys) > 0 {
					t.Errorf("an event without a change wakes %v", keys)
				}
				w.now = w.now.Add(time.Hour)
				w.reconcile(t, web)
				if writes := w.PropagationBindings.Writes(); len(writes) > 0 {
					t.Errorf("written: %v", writes)
				}
			})
		})
	}
}

func TestAChangedBindingIsDecidedOnAnew(t *testing.T) {
	tests := []struct {
		reason string
		change func(*workv1alpha1.PropagationBinding)
		wakes  bool
		want   []workv1alpha1.TargetCluster
	}{
		{"its placement names fewer clusters", func(b *workv1alpha1.PropagationBinding) {
			b.Spec.Placement = &policyv1alpha1.Placement{ClusterAffinity: &policyv1alpha1.ClusterAffinity{ClusterNames: []string{"b"}}}
			b.Generation++
		}, true, targets("b")},
		{"it has the same clusters, and that was decided for its new spec", func(b *workv1alpha1.PropagationBinding) {
			b.Spec.ConflictResolution = policyv1alpha1.ConflictOverwrite
			b.Generation++
		}, true, targets("a", "b")},
		{"somebody else wrote into its clusters", func(b *workv1alpha1.PropagationBinding) {
			b.Spec.Clusters = targets("x")
			b.Generation++
		}, true, targets("a", "b")},
		{"only its aggregated status has changed", func(b *workv1alpha1.PropagationBinding) { b.Status.Summary.Applied = 1 }, false, targets("a", "b")},
	}
	for _, test := range tests {
		t.Run(test.reason, func(t *testing.T) {
			w := newWorld("a", "b")
			w.PropagationBindings.Put(binding(nil))
			w.reconcile(t, web)
			old, _ := w.PropagationBindings.Get("shop", web.Name)
			changed := w.PropagationBindings.Change("shop", web.Name, test.change)
			if woken := len(bindingChanged(old, changed)) > 0; woken != test.wakes {
				t.Errorf("woken: %t, want %t", woken, test.wakes)
			}
			w.reconcile(t, web)
			got, _ := w.PropagationBindings.Get("shop", web.Name)
			if diff := cmp.Diff(test.want, got.Spec.Clusters); diff != "" {
				t.Errorf("clusters (-want +got):\n%s", diff)
			}
			if got.Status.SchedulerObservedGeneration != got.Generation {
				t.Errorf("decided on generation %d, the binding has %d", got.Status.SchedulerObservedGeneration, got.Generation)
			}
			if got.Status.Summary.Applied != changed.Status.Summary.Applied {
				t.Error("the aggregated status was overwritten")
			}
		})
	}
}

func TestAChangeOfAClusterWakesAllBindingsOnlyWhenItMatters(t *testing.T) {
	tests := []struct {
		reason string
		change func(w *world)
		wakes  bool
	}{
		{"a heartbeat", func(w *world) {
			c := cluster("a")
			c.Status.NodeSummary = &clusterv1alpha1.NodeSummary{TotalNum: 5}
			c.Status.Conditions = append(c.Status.Conditions, metav1.Condition{Type: clusterv1alpha1.ClusterReady, Status: metav1.ConditionTrue})
			w.attach(c)
		}, false},
		{"a taint", func(w *world) {
			c := cluster("a")
			c.Spec.Taints = []corev1.Taint{{Key: "gpu", Effect: corev1.TaintEffectNoSchedule}}
			w.attach(c)
		}, true},
		{"a label", func(w *world) {
			c := cluster("a")
			c.Labels = map[string]string{"stage": "test"}
			w.attach(c)
		}, true},
		{"its removal is asked for", func(w *world) {
			c := cluster("a")
			c.DeletionTimestamp = &metav1.Time{Time: storetest.Began}
			w.attach(c)
		}, true},
		{"it is gone", func(w *world) { w.detach("a") }, true},
		{"a new cluster", func(w *world) { w.attach(cluster("c")) }, true},
	}
	for _, test := range tests {
		t.Run(test.reason, func(t *testing.T) {
			w := newWorld("a", "b")
			w.PropagationBindings.Put(binding(nil))
			w.ClusterPropagationBindings.Put(&workv1alpha1.ClusterPropagationBinding{ObjectMeta: metav1.ObjectMeta{Name: "view-clusterrole"}})
			w.keys(t)
			test.change(w)
			want := 0
			if test.wakes {
				want = 2
			}
			if keys := w.keys(t); len(keys) != want {
				t.Errorf("woken: %v, want %d bindings", keys, want)
			}
		})
	}
}

func TestABindingFollowsTheFleet(t *testing.T) {
	w := newWorld("a")
	w.PropagationBindings.Put(binding(nil))
	steps := []struct {
		reason string
		change func()
		want   []workv1alpha1.TargetCluster
	}{
		{"it begins with the clusters that are there", func() {}, targets("a")},
		{"a new cluster gets it", func() { w.attach(cluster("b")) }, targets("a", "b")},
		{"a taint does not take it away from where it is", func() {
			c := cluster("a")
			c.Spec.Taints = []corev1.Taint{{Key: "x", Effect: corev1.TaintEffectNoSchedule}}
			w.attach(c)
		}, targets("a", "b")},
		{"a cluster that is being removed loses it", func() {
			c := cluster("a")
			c.DeletionTimestamp = &metav1.Time{Time: storetest.Began}
			w.attach(c)
		}, targets("b")},
		{"one that is gone, too", func() { w.detach("b") }, nil},
	}
	for _, step := range steps {
		step.change()
		w.reconcile(t, web)
		got, _ := w.PropagationBindings.Get("shop", web.Name)
		if diff := cmp.Diff(step.want, got.Spec.Clusters, cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("%s (-want +got):\n%s", step.reason, diff)
		}
	}
}

func TestWhatTheHubMovesByItselfIsKeptUntilItIsHealthyElsewhereAndWhatAUserMovesIsNot(t *testing.T) {
	dividing := func(b *workv1alpha1.PropagationBinding) {
		b.Spec.Replicas = ptr.To[int32](6)
		b.Spec.Placement.ReplicaScheduling = &policyv1alpha1.ReplicaSchedulingStrategy{ReplicaSchedulingType: policyv1alpha1.ReplicaSchedulingDivided}
	}
	edit := func(change func(*workv1alpha1.PropagationBinding)) func(*world) {
		return func(w *world) {
			w.PropagationBindings.Change("shop", web.Name, func(b *workv1alpha1.PropagationBinding) { change(b); b.Generation++ })
		}
	}
	tests := []struct {
		reason string
		first  func(*workv1alpha1.PropagationBinding)
		change func(*world)
		want   []string // which keep what was there
	}{
		{"another cluster comes, or comes back: those that are there lose replicas to it", dividing,
			func(w *world) { w.attach(cluster("c")) }, []string{"a", "b"}},
		{"a cluster leaves the hub, and keeps nothing", dividing, func(w *world) {
			c := cluster("a")
			c.DeletionTimestamp = &metav1.Time{Time: storetest.Began}
			w.attach(c)
		}, nil},
		{"a user takes a cluster out and another in", nil, edit(func(b *workv1alpha1.PropagationBinding) {
			b.Spec.Placement.ClusterAffinity = &policyv1alpha1.ClusterAffinity{ClusterNames: []string{"b", "c"}}
		}), nil},
		{"a user scales down", dividing, edit(func(b *workv1alpha1.PropagationBinding) { b.Spec.Replicas = ptr.To[int32](2) }), nil},
		{"a request to place it anew, in its first affinity group", func(b *workv1alpha1.PropagationBinding) {
			b.Spec.Placement.ClusterAffinities = []policyv1alpha1.ClusterAffinityTerm{
				{AffinityName: "first", ClusterAffinity: policyv1alpha1.ClusterAffinity{ClusterNames: []string{"c"}}},
				{AffinityName: "second", ClusterAffinity: policyv1alpha1.ClusterAffinity{ClusterNames: []string{"a"}}}}
		}, func(w *world) {
			w.attach(cluster("c"))
			edit(func(b *workv1alpha1.PropagationBinding) {
				b.Spec.RescheduleTriggeredAt = &metav1.Time{Time: storetest.Began.Add(time.Hour)}
			})(w)
		}, []string{"a"}},
		{"a taint is taken back from a cluster of an earlier affinity group", func(b *workv1alpha1.PropagationBinding) {
			b.Spec.Placement.ClusterAffinities = []policyv1alpha1.ClusterAffinityTerm{
				{AffinityName: "first", ClusterAffinity: policyv1alpha1.ClusterAffinity{ClusterNames: []string{"a"}}},
				{AffinityName: "second", ClusterAffinity: policyv1alpha1.ClusterAffinity{ClusterNames: []string{"b"}}}}
		}, edit(func(b *workv1alpha1.PropagationBinding) {
			b.Spec.Clusters, b.Status.SchedulerObservingAffinityName = targets("b"), "second"
			b.Spec.GracefulEvictionTasks = []workv1alpha1.GracefulEvictionTask{{FromCluster: "a", Reason: evict.ReasonTaintRemoved, Replicas: ptr.To[int32](2)}}
		}), []string{"b"}},
	}
	for _, test := range tests {
		t.Run(test.reason, func(t *testing.T) {
			w := newWorld("a", "b")
			w.PropagationBindings.Put(binding(test.first))
			w.reconcile(t, web)
			test.change(w)
			w.reconcile(t, web)
			got, _ := w.PropagationBindings.Get("shop", web.Name)
			var kept []string
			for _, task := range got.Spec.GracefulEvictionTasks {
				if task.Reason == evict.ReasonRescheduled {
					kept = append(kept, task.FromCluster)
				}
			}
			if diff := cmp.Diff(test.want, kept); diff != "" {
				t.Errorf("which keep what was there, of %v and %v (-want +got):\n%s", got.Spec.Clusters, got.Spec.GracefulEvictionTasks, diff)
			}
			message := scheduledCondition(got).Message
			if said := strings.Contains(message, " until it is healthy elsewhere"); said != (len(test.want) > 0) {
				t.Errorf("the condition says %q", message)
			}
		})
	}
}

func TestWhatNoClusterMayHaveSaysFromWhereItIsRemovedAsLongAsThatIsSo(t *testing.T) {
	w := newWorld("a", "b", "c", "d")
	w.PropagationBindings.Put(binding(nil))
	w.reconcile(t, web)
	named := func(clusters ...string) {
		w.PropagationBindings.Change("shop", web.Name, func(b *workv1alpha1.PropagationBinding) {
			b.Spec.Placement.ClusterAffinity, b.Generation = &policyv1alpha1.ClusterAffinity{ClusterNames: clusters}, b.Generation+1
		})
		w.reconcile(t, web)
	}
	message := func() string {
		got, _ := w.PropagationBindings.Get("shop", web.Name)
		return scheduledCondition(got).Message
	}
	named("memebr9")
	const want = "; it is removed from a, b, c and 1 more"
	if got := message(); !strings.HasSuffix(got, want) {
		t.Errorf("it says %q, want %q at the end", got, want)
	}
	w.attach(cluster("e"))
	w.reconcile(t, web)
	named("memebr8")
	if got := message(); !strings.HasSuffix(got, want) || strings.Count(got, want) != 1 {
		t.Errorf("later it says %q, want %q at the end", got, want)
	}
	named("a")
	if got := message(); strings.Contains(got, "removed") {
		t.Errorf("when it is placed again it says %q", got)
	}
}

func TestWhatNoPolicyClaimsIsSaidToEndItsMove(t *testing.T) {
	w := newWorld("a", "b")
	b := binding(nil)
	b.Labels = nil
	b.Spec.Clusters = targets("a")
	b.Spec.GracefulEvictionTasks = []workv1alpha1.GracefulEvictionTask{{FromCluster: "b", Reason: evict.ReasonRescheduled}}
	w.PropagationBindings.Put(b)
	w.reconcile(t, web)
	got, _ := w.PropagationBindings.Get("shop", web.Name)
	const want = "no policy claims the template any more; it goes on to leave b, and stays in the other clusters; b keeps what was there until it is healthy elsewhere"
	if said := scheduledCondition(got); said == nil || said.Message != want {
		t.Errorf("the condition is %v, want the message %q", said, want)
	}
}

// jobBinding is the binding of a Job that is divided over the clusters with the label runs.
func jobBinding(b *workv1alpha1.PropagationBinding) {
	b.Spec.Resource = workv1alpha1.ObjectReference{APIVersion: "batch/v1", Kind: "Job", Namespace: "shop", Name: "web", UID: "u1"}
	b.Spec.Placement = &policyv1alpha1.Placement{ClusterAffinity: &policyv1alpha1.ClusterAffinity{LabelSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"runs": "jobs"}}},
		ReplicaScheduling: inParts}
}

// inParts divides, so that one cluster can take another's place.
var inParts = &policyv1alpha1.ReplicaSchedulingStrategy{ReplicaSchedulingType: policyv1alpha1.ReplicaSchedulingDivided, ReplicaDivisionPreference: policyv1alpha1.ReplicaDivisionWeighted}

func aJob(uid string, conditions ...any) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{"apiVersion": "batch/v1", "kind": "Job",
		"metadata": map[string]any{"namespace": "shop", "name": "web", "uid": uid}, "status": map[string]any{"conditions": conditions}}}
}

func thatRunsJobs(name string) *clusterv1alpha1.MemberCluster {
	c := cluster(name)
	c.Labels = map[string]string{"runs": "jobs"}
	return c
}

func TestAJobThatHasEndedDoesNotRunAnewWhenItsClusterIsDeselected(t *testing.T) {
	for _, test := range []struct {
		reason    string
		condition any
		want      []workv1alpha1.TargetCluster
	}{
		{"it runs", map[string]any{"type": "Complete", "status": "False"}, targets("b")},
		{"it is complete", map[string]any{"type": "Complete", "status": "True"}, nil},
		{"it has failed", map[string]any{"type": "Failed", "status": "True"}, nil},
	} {
		for _, by := range []struct {
			reason string
			step   func(*testing.T, *world)
		}{
			{"by a label of the cluster", func(t *testing.T, w *world) {
				w.attach(cluster("a"))
				w.reconcile(t, web)
			}},
			{"by another placement", func(t *testing.T, w *world) {
				stored, _ := w.PropagationBindings.Get("shop", web.Name)
				changed := stored.DeepCopy()
				changed.Spec.Placement = &policyv1alpha1.Placement{ClusterAffinity: &policyv1alpha1.ClusterAffinity{ClusterNames: []string{"b"}}, ReplicaScheduling: inParts}
				if !w.controller.Place(changed) {
					t.Fatal("nothing was decided")
				}
				w.PropagationBindings.Put(changed)
			}},
		} {
			t.Run(test.reason+", "+by.reason, func(t *testing.T) {
				w := newWorld()
				w.attach(thatRunsJobs("a"))
				w.templates.Put(aJob("u1"))
				w.PropagationBindings.Put(binding(jobBinding))
				w.reconcile(t, web)
				w.attach(thatRunsJobs("b"))
				stored, _ := w.PropagationBindings.Get("shop", web.Name)
				narrowed := stored.DeepCopy()
				narrowed.Spec.Clusters = targets("a")
				w.PropagationBindings.Put(narrowed)

				w.templates.Put(aJob("u1", test.condition))
				by.step(t, w)
				got, _ := w.PropagationBindings.Get("shop", web.Name)
				if diff := cmp.Diff(test.want, got.Spec.Clusters, cmpopts.EquateEmpty()); diff != "" {
					t.Errorf("clusters (-want +got):\n%s", diff)
				}
			})
		}
	}
}

func TestAJobThatRanAsAWholeInOneClusterRunsInOthersByAPlacementThatChoosesNoneOnlyWhenItHasNotEnded(t *testing.T) {
	for _, test := range []struct {
		reason    string
		condition any
		want      []workv1alpha1.TargetCluster
	}{
		{"it runs", map[string]any{"type": "Complete", "status": "False"}, targets("a", "b", "c")},
		{"it is complete", map[string]any{"type": "Complete", "status": "True"}, targets("a")},
	} {
		t.Run(test.reason, func(t *testing.T) {
			w := newWorld()
			w.attach(thatRunsJobs("a"))
			w.templates.Put(aJob("u1"))
			w.PropagationBindings.Put(binding(jobBinding))
			w.reconcile(t, web)
			w.attach(thatRunsJobs("b"))
			w.templates.Put(aJob("u1", test.condition))
			stored, _ := w.PropagationBindings.Get("shop", web.Name)
			stored.Spec.Placement = &policyv1alpha1.Placement{}
			if !w.controller.Place(stored) {
				t.Fatal("nothing was decided")
			}
			w.PropagationBindings.Put(stored)
			w.attach(cluster("c"))
			w.reconcile(t, web)
			got, _ := w.PropagationBindings.Get("shop", web.Name)
			if diff := cmp.Diff(test.want, got.Spec.Clusters); diff != "" {
				t.Errorf("clusters (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAJobThatHasEndedStaysInAClusterThatIsSelectedAgainWhileItsRemovalIsHeld(t *testing.T) {
	holding := func(c *clusterv1alpha1.MemberCluster) *clusterv1alpha1.MemberCluster {
		c.Status.Conditions = append(c.Status.Conditions, metav1.Condition{Type: clusterv1alpha1.ClusterDeletionsHeld, Status: metav1.ConditionTrue, Reason: clusterv1alpha1.DeletionsHeldTooMany})
		return c
	}
	both := []workv1alpha1.TargetCluster{{Name: "a", Replicas: 2}, {Name: "b", Replicas: 2}}
	for _, test := range []struct {
		reason string
		change func(*workv1alpha1.PropagationWork)
		want   []workv1alpha1.TargetCluster
	}{
		{"it is held", func(*workv1alpha1.PropagationWork) {}, both},
		{"its member is at it", func(work *workv1alpha1.PropagationWork) {
			work.Status.Conditions = []metav1.Condition{{Type: workv1alpha1.WorkApplied, Status: metav1.ConditionTrue, Reason: "Removing"}}
		}, both[:1]},
		{"somebody has deleted the work", func(work *workv1alpha1.PropagationWork) { work.Spec.RemovalCause = workv1alpha1.RemovalForced }, both[:1]},
		{"it is another Job's of that name", func(work *workv1alpha1.PropagationWork) { work.Spec.Template.UID = "u0" }, both[:1]},
	} {
		t.Run(test.reason, func(t *testing.T) {
			w := newWorld()
			w.attach(thatRunsJobs("a"))
			w.attach(cluster("b"))
			w.templates.Put(aJob("u1", map[string]any{"type": "Complete", "status": "True"}))
			w.PropagationBindings.Put(binding(func(b *workv1alpha1.PropagationBinding) {
				jobBinding(b)
				b.Spec.Replicas = ptr.To[int32](4)
				b.Spec.Clusters = both[:1]
			}))
			work := &workv1alpha1.PropagationWork{
				ObjectMeta: metav1.ObjectMeta{Namespace: workv1alpha1.ExecutionNamespace("b"), Name: "web", DeletionTimestamp: &metav1.Time{Time: storetest.Began}, Finalizers: []string{workv1alpha1.WorkFinalizer}},
				Spec: workv1alpha1.WorkSpec{RemovalCause: workv1alpha1.RemovalNotSelected, Replicas: ptr.To[int32](2), Template: &workv1alpha1.ObjectReference{UID: "u1"},
					Binding: &workv1alpha1.BindingReference{Kind: "PropagationBinding", Namespace: web.Namespace, Name: web.Name}},
			}
			test.change(work)
			w.PropagationWorks.Put(work)
			goesTo := func(reason string, want []workv1alpha1.TargetCluster) {
				t.Helper()
				w.reconcile(t, web)
				if got, _ := w.PropagationBindings.Get("shop", web.Name); !cmp.Equal(got.Spec.Clusters, want) {
					t.Errorf("%s it goes to %v, want %v", reason, got.Spec.Clusters, want)
				}
			}
			w.attach(thatRunsJobs("b"))
			goesTo("selected again before its removal is known to be held,", both[:1])
			w.keys(t)
			w.attach(holding(thatRunsJobs("b")))
			if diff := cmp.Diff([]string{web.String()}, w.keys(t)); diff != "" {
				t.Errorf("woken when its removal is held (-want +got):\n%s", diff)
			}
			goesTo("selected again", test.want)
		})
	}
}

func TestOfAJobNothingIsDecidedBeforeItIsKnownWhetherItHasEnded(t *testing.T) {
	w := newWorld()
	w.attach(thatRunsJobs("b"))
	job := templates.KeyOf(aJob("u1"))
	w.PropagationBindings.Put(binding(func(b *workv1alpha1.PropagationBinding) {
		jobBinding(b)
		b.Spec.Clusters = targets("a")
	}))
	undecided := func(reason string) {
		t.Helper()
		stored, _ := w.PropagationBindings.Get("shop", web.Name)
		if placed := stored.DeepCopy(); w.controller.Place(placed) {
			t.Errorf("%s: it was placed in %v", reason, placed.Spec.Clusters)
		}
		if w.reconcile(t, web); len(w.PropagationBindings.Writes()) > 0 {
			t.Errorf("%s: something was written", reason)
		}
	}
	w.templates.Problems[job.GroupVersionKind] = errors.New("the first list is on its way")
	undecided("Jobs are not known yet")
	delete(w.templates.Problems, job.GroupVersionKind)
	undecided("the Job is not there")
	w.templates.Put(aJob("u2"))
	undecided("another Job has taken its name")

	w.keys(t)
	handler := w.controller.handler(w.woken)
	handler.Kind(job.GroupVersionKind)
	if diff := cmp.Diff([]string{"shop/web-deployment"}, w.keys(t)); diff != "" {
		t.Errorf("woken when Jobs are known (-want +got):\n%s", diff)
	}
	w.templates.Put(aJob("u1"))
	handler.Changed(job, false)
	if diff := cmp.Diff([]string{"shop/web-deployment"}, w.keys(t)); diff != "" {
		t.Errorf("woken when the Job is known (-want +got):\n%s", diff)
	}
	w.reconcile(t, web)
	if got, _ := w.PropagationBindings.Get("shop", web.Name); !cmp.Equal(got.Spec.Clusters, targets("b")) {
		t.Errorf("a Job that runs is in %v", got.Spec.Clusters)
	}
	handler.Changed(job, false)
	if keys := w.keys(t); len(keys) > 0 {
		t.Errorf("what happens to a Job that was decided on wakes %v", keys)
	}
}

func TestWhatIsKeptBecomesLessWhenItsUserScalesDown(t *testing.T) {
	w := newWorld("a", "b")
	w.PropagationBindings.Put(binding(func(b *workv1alpha1.PropagationBinding) {
		b.Spec.Replicas = ptr.To[int32](4)
		b.Spec.Placement = &policyv1alpha1.Placement{ReplicaScheduling: &policyv1alpha1.ReplicaSchedulingStrategy{ReplicaSchedulingType: policyv1alpha1.ReplicaSchedulingDivided}}
	}))
	w.reconcile(t, web)
	stored, _ := w.PropagationBindings.Get("shop", web.Name)
	scaled := stored.DeepCopy()
	scaled.Spec.GracefulEvictionTasks = []workv1alpha1.GracefulEvictionTask{{FromCluster: "b", Reason: evict.ReasonRescheduled, Replicas: ptr.To[int32](4)}}
	scaled.Spec.Replicas = ptr.To[int32](2)
	scaled.Generation++
	w.controller.Place(scaled)
	if got := scaled.Spec.GracefulEvictionTasks; len(got) != 1 || *got[0].Replicas != 2 {
		t.Errorf("it keeps %+v, want 2 replicas in b", got)
	}
}

func TestABindingThatNoPolicyClaimsStaysButLeavesClustersBeingRemoved(t *testing.T) {
	w := newWorld("a", "b", "c")
	w.PropagationBindings.Put(binding(nil))
	w.reconcile(t, web)
	claimed, _ := w.PropagationBindings.Get("shop", web.Name)
	released := w.PropagationBindings.Change("shop", web.Name, func(b *workv1alpha1.PropagationBinding) {
		b.Labels = nil
		b.Spec.Placement = &policyv1alpha1.Placement{ClusterAffinity: &policyv1alpha1.ClusterAffinity{ClusterNames: []string{"x"}}}
	})

	w.attach(cluster("d"))
	leaving := cluster("a")
	leaving.DeletionTimestamp = &metav1.Time{Time: storetest.Began}
	w.attach(leaving)
	w.detach("b")
	w.reconcile(t, web)
	got, _ := w.PropagationBindings.Get("shop", web.Name)
	if diff := cmp.Diff(targets("c"), got.Spec.Clusters); diff != "" {
		t.Errorf("clusters (-want +got):\n%s", diff)
	}

	t.Run("and is placed again when one claims it", func(t *testing.T) {
		again := w.PropagationBindings.Change("shop", web.Name, func(b *workv1alpha1.PropagationBinding) { b.Labels = claimed.Labels })
		if again.Status.SchedulerObservedGeneration != again.Generation {
			t.Fatal("the test needs a binding whose generation was decided on")
		}
		if len(bindingChanged(got, again)) == 0 {
			t.Error("the new claim does not wake it")
		}
		if len(bindingChanged(claimed, released)) == 0 {
			t.Error("the release does not wake it")
		}
	})
}

func TestWhatIsNotTheSchedulersToPlaceIsLeftAlone(t *testing.T) {
	tests := []struct {
		reason string
		change func(*workv1alpha1.PropagationBinding)
	}{
		{"it is being deleted", func(b *workv1alpha1.PropagationBinding) { b.DeletionTimestamp = &metav1.Time{Time: storetest.Began} }},
		{"another scheduler has placed it", func(b *workv1alpha1.PropagationBinding) {
			b.Spec.SchedulerName, b.Spec.Clusters = "mine", targets("z")
			b.Status.Conditions = []metav1.Condition{{Type: workv1alpha1.BindingScheduled, Status: metav1.ConditionTrue, Reason: "Success"}}
		}},
	}
	for _, test := range tests {
		t.Run(test.reason, func(t *testing.T) {
			w := newWorld("a")
			w.PropagationBindings.Put(binding(test.change))
			w.reconcile(t, web)
			if writes := w.PropagationBindings.Writes(); len(writes) > 0 {
				t.Errorf("written: %v", writes)
			}
		})
	}
	t.Run("it is gone", func(t *testing.T) { newWorld("a").reconcile(t, web) })
}

func TestABindingIsPlacedBeforeItIsWritten(t *testing.T) {
	w := newWorld("a", "b")
	placed := binding(nil)
	if !w.controller.Place(placed) {
		t.Fatal("the scheduler had nothing to say of a binding that is its own")
	}
	if diff := cmp.Diff(targets("a", "b"), placed.Spec.Clusters); diff != "" {
		t.Errorf("clusters (-want +got):\n%s", diff)
	}
	if !meta.IsStatusConditionTrue(placed.Status.Conditions, workv1alpha1.BindingScheduled) {
		t.Errorf("conditions are %v, want Scheduled", placed.Status.Conditions)
	}
	if len(w.PropagationBindings.Writes()) > 0 {
		t.Error("placing a binding that is about to be written must not write")
	}
}

func TestThatAnotherSchedulerIsToPlaceABindingIsSaidUntilItHas(t *testing.T) {
	w := newWorld("a")
	foreign := binding(func(b *workv1alpha1.PropagationBinding) { b.Spec.SchedulerName = "mine" })
	if !w.controller.Place(foreign) || len(foreign.Spec.Clusters) > 0 {
		t.Fatalf("it goes to %v, want nowhere, and a word about it", foreign.Spec.Clusters)
	}
	said := scheduledCondition(foreign)
	want := metav1.Condition{Type: workv1alpha1.BindingScheduled, Status: metav1.ConditionFalse, Reason: workv1alpha1.ScheduledByAnother,
		Message: `the scheduler "mine" is to place it, as spec.schedulerName says; the hub's own leaves it alone`}
	if diff := cmp.Diff(want, *said, cmpopts.IgnoreFields(metav1.Condition{}, "ObservedGeneration", "LastTransitionTime")); diff != "" {
		t.Errorf("Scheduled (-want +got):\n%s", diff)
	}

	foreign.Spec.Clusters = targets("z")
	said.Status, said.Reason = metav1.ConditionTrue, "ItsOwnReason"
	if w.controller.Place(foreign) || scheduledCondition(foreign).Reason != "ItsOwnReason" {
		t.Error("the other scheduler's word was written over")
	}
}

func TestTheRankOfABindingIsItsPriority(t *testing.T) {
	w := newWorld("a")
	w.PropagationBindings.Put(binding(func(b *workv1alpha1.PropagationBinding) {
		b.Spec.SchedulePriority = &workv1alpha1.BindingSchedulePriority{Priority: -7}
	}))
	if got := w.controller.rank(web); got != -7 {
		t.Errorf("its rank is %d", got)
	}
	if got := w.controller.rank(types.NamespacedName{Namespace: "shop", Name: "gone"}); got != 0 {
		t.Errorf("the rank of a binding that is gone is %d", got)
	}
}

func TestABindingOfClusterScopeIsPlacedTheSameWay(t *testing.T) {
	w := newWorld("a", "b")
	w.ClusterPropagationBindings.Put(&workv1alpha1.ClusterPropagationBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "view-clusterrole", Labels: map[string]string{workv1alpha1.ClusterPropagationPolicyPermanentIDLabel: "id"}},
		Spec:       workv1alpha1.BindingSpec{Resource: workv1alpha1.ObjectReference{APIVersion: "rbac.authorization.k8s.io/v1", Kind: "ClusterRole", Name: "view"}},
	})
	w.reconcile(t, types.NamespacedName{Name: "view-clusterrole"})
	got, _ := w.ClusterPropagationBindings.Get("", "view-clusterrole")
	if diff := cmp.Diff([]workv1alpha1.TargetCluster{{Name: "a"}, {Name: "b"}}, got.Spec.Clusters); diff != "" {
		t.Errorf("clusters (-want +got):\n%s", diff)
	}
}

func TestADecisionOnAnOldStateIsNotWritten(t *testing.T) {
	w := newWorld("a")
	w.PropagationBindings.Put(binding(nil))
	w.PropagationBindings.Hold()
	w.PropagationBindings.Change("shop", web.Name, func(b *workv1alpha1.PropagationBinding) {
		b.Spec.Placement = &policyv1alpha1.Placement{ClusterAffinity: &policyv1alpha1.ClusterAffinity{ClusterNames: []string{"x"}}}
	})
	if result := w.reconcile(t, web); result.RequeueAfter <= 0 {
		t.Error("nobody looks at it again")
	}
	if got, _ := w.PropagationBindings.Get("shop", web.Name); len(got.Spec.Clusters) > 0 {
		t.Errorf("it went to %v by a placement that was replaced", got.Spec.Clusters)
	}
}

func TestAMisspeltClusterThatIsPausedIsTold(t *testing.T) {
	w := newWorld("a", "b")
	b := binding(func(b *workv1alpha1.PropagationBinding) {
		b.Spec.Suspension = &workv1alpha1.BindingSuspension{Suspension: policyv1alpha1.Suspension{
			DispatchingOnClusters: &policyv1alpha1.SuspendClusters{ClusterNames: []string{"bb"}}}}
	})
	if !w.controller.Place(b) {
		t.Fatal("it is not placed")
	}
	if got := scheduledCondition(b); got.Status != metav1.ConditionTrue || got.Reason != workv1alpha1.ScheduledClustersLeftOut ||
		got.Message != "2 replicas in each of 2 clusters; no cluster is called bb, which suspension names" {
		t.Errorf("Scheduled is %+v", got)
	}
}

func TestATaintThatOnlyWhoEvictsHasHeardOfIsNamedAtOnce(t *testing.T) {
	w := newWorld("a")
	w.PropagationBindings.Put(binding(func(b *workv1alpha1.PropagationBinding) {
		b.Spec.Clusters = targets("a")
		b.Spec.GracefulEvictionTasks = []workv1alpha1.GracefulEvictionTask{{FromCluster: "a", Reason: evict.ReasonTaintUntolerated}}
	}))
	drained := cluster("a")
	drained.Spec.Taints = []corev1.Taint{{Key: "drain", Effect: corev1.TaintEffectNoExecute}}
	w.MemberClusters.Put(drained) // the watch has not told the scheduler yet
	w.reconcile(t, web)
	got, _ := w.PropagationBindings.Get("shop", web.Name)
	condition := meta.FindStatusCondition(got.Status.Conditions, workv1alpha1.BindingScheduled)
	if condition == nil || !strings.Contains(condition.Message, "must leave a because of the taint drain:NoExecute") {
		t.Errorf("it says %+v", condition)
	}
}
