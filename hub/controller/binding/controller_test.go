package binding

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"

	clusterv1alpha1 "windlass.dev/windlass/api/cluster/v1alpha1"
	policyv1alpha1 "windlass.dev/windlass/api/policy/v1alpha1"
	workv1alpha1 "windlass.dev/windlass/api/work/v1alpha1"
	"windlass.dev/windlass/hub/store"
	"windlass.dev/windlass/hub/store/storetest"
	"windlass.dev/windlass/hub/templates"
	"windlass.dev/windlass/pkg/evict"
	"windlass.dev/windlass/pkg/render"
	"windlass.dev/windlass/pkg/schedule"
)

var (
	configMaps   = schema.GroupVersionKind{Version: "v1", Kind: "ConfigMap"}
	clusterRoles = schema.GroupVersionKind{Group: "rbac.authorization.k8s.io", Version: "v1", Kind: "ClusterRole"}
	key          = types.NamespacedName{Namespace: "shop", Name: "settings-configmap"}
	settings     = templates.Key{GroupVersionKind: configMaps, NamespacedName: types.NamespacedName{Namespace: "shop", Name: "settings"}}
	work         = render.WorkName("settings-configmap", "", "ConfigMap", "shop", "settings")
)

// world is a hub with the binding controller and nothing else, and the template settings in its store.
type world struct {
	*storetest.Store
	templates  *storetest.Templates
	controller *Reconciler
	closed     map[string]bool // clusters for which nothing may be written
	ending     map[string]bool // namespaces that are being deleted
	now        time.Time
	woken      int // times that works have woken a binding
}

func newWorld(t *testing.T) *world {
	w := &world{Store: storetest.New(), templates: storetest.NewTemplates(), closed: map[string]bool{}, ending: map[string]bool{}, now: storetest.Began}
	w.controller = &Reconciler{
		Bindings: w.Bindings(), Works: w.Works(), Templates: w.templates, Policies: w.Policies(), Overrides: w.Overrides(), Clusters: w.MemberClusters.Kind(),
		Log:         slog.New(slog.DiscardHandler),
		Rush:        &store.Rush{},
		Accepts:     func(cluster string) bool { return !w.closed[cluster] },
		Terminating: func(_ context.Context, namespace string) (bool, error) { return w.ending[namespace], nil },
		Now:         func() time.Time { return w.now },
	}
	works := func(old, new any) {
		before, _ := old.(*workv1alpha1.PropagationWork)
		after, _ := new.(*workv1alpha1.PropagationWork)
		w.woken += len(w.controller.workChanged(before, after))
	}
	_, err := w.controller.Works.Informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: func(obj any) { works(nil, obj) }, UpdateFunc: works, DeleteFunc: func(obj any) { works(obj, nil) },
	})
	if err != nil {
		t.Fatal(err)
	}
	w.join("a", "b", "c")
	w.templates.Put(configMap("u1", "blue"))
	return w
}

func configMap(uid, colour string) *unstructured.Unstructured {
	obj := &unstructured.Unstructured{Object: map[string]any{"data": map[string]any{"colour": colour}}}
	obj.SetGroupVersionKind(configMaps)
	obj.SetNamespace("shop")
	obj.SetName("settings")
	obj.SetUID(types.UID(uid))
	return obj
}

// join puts clusters into the store that are not there.
func (w *world) join(clusters ...string) {
	for _, cluster := range clusters {
		if _, there := w.MemberClusters.Get("", cluster); !there {
			w.MemberClusters.Put(&clusterv1alpha1.MemberCluster{ObjectMeta: metav1.ObjectMeta{Name: cluster}})
		}
	}
}

// place puts the binding into the store, placed on clusters.
func (w *world) place(clusters ...string) {
	w.join(clusters...)
	w.PropagationBindings.Put(&workv1alpha1.PropagationBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name, Finalizers: []string{workv1alpha1.BindingFinalizer},
			Labels: map[string]string{workv1alpha1.PropagationPolicyPermanentIDLabel: "policy", workv1alpha1.BindingPermanentIDLabel: "binding"}},
		Spec: workv1alpha1.BindingSpec{
			Resource: workv1alpha1.ObjectReference{APIVersion: "v1", Kind: "ConfigMap", Namespace: "shop", Name: "settings", UID: "u1"},
			Clusters: targets(clusters...),
		},
		Status: workv1alpha1.BindingStatus{SchedulerObservedGeneration: 1},
	})
}

func targets(names ...string) []workv1alpha1.TargetCluster {
	list := []workv1alpha1.TargetCluster{}
	for _, name := range names {
		list = append(list, workv1alpha1.TargetCluster{Name: name})
	}
	return list
}

func (w *world) change(change func(*workv1alpha1.PropagationBinding)) {
	w.PropagationBindings.Change(key.Namespace, key.Name, change)
}

func (w *world) delete() {
	w.change(func(b *workv1alpha1.PropagationBinding) {
		b.DeletionTimestamp = &metav1.Time{Time: storetest.Began}
		b.Generation++
	})
}

func (w *world) reconcile(t *testing.T) ctrl.Result {
	t.Helper()
	result, err := w.controller.Reconcile(t.Context(), key)
	if err != nil {
		t.Fatalf("reconciling: %v", err)
	}
	return result
}

// acknowledge is what the link does when an agent has carried out the removal of a work.
func (w *world) acknowledge(t *testing.T, clusters ...string) {
	t.Helper()
	for _, cluster := range clusters {
		w.PropagationWorks.Drop(workv1alpha1.ExecutionNamespace(cluster), work)
	}
}

// wrote compares the writes to works since the last time, without the name of the work.
func (w *world) wrote(t *testing.T, want ...string) {
	t.Helper()
	got := w.PropagationWorks.Writes()
	for i := range got {
		got[i] = strings.TrimSuffix(got[i], "/"+work)
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("writes of works (-want +got):\n%s", diff)
	}
}

func (w *world) rendered() *metav1.Condition {
	binding, _ := w.PropagationBindings.Get(key.Namespace, key.Name)
	return meta.FindStatusCondition(binding.Status.Conditions, workv1alpha1.BindingRendered)
}

func TestEveryClusterThatAcceptsWorksGetsOne(t *testing.T) {
	w := newWorld(t)
	w.place("a", "b", "c")
	w.closed["c"] = true
	w.reconcile(t)
	w.wrote(t, "create karmada-es-a", "create karmada-es-b")

	binding, _ := w.PropagationBindings.Get(key.Namespace, key.Name)
	template, _ := w.templates.Get(settings)
	rendered, err := render.Works(template, binding, schedule.Apportion)
	if err != nil {
		t.Fatal(err)
	}
	for i, cluster := range []string{"a", "b"} {
		got, _ := w.PropagationWorks.Get(workv1alpha1.ExecutionNamespace(cluster), work)
		if diff := cmp.Diff(rendered[i].Spec, got.Spec); diff != "" {
			t.Errorf("the work of %s (-want +got):\n%s", cluster, diff)
		}
		if diff := cmp.Diff([]string{workv1alpha1.WorkFinalizer}, got.Finalizers); diff != "" {
			t.Errorf("finalizers of the work of %s (-want +got):\n%s", cluster, diff)
		}
	}
	if condition := w.rendered(); condition != nil {
		t.Errorf("a binding that never failed is written for it: %+v", condition)
	}

	t.Run("and the last one when its cluster begins to accept", func(t *testing.T) {
		delete(w.closed, "c")
		w.reconcile(t)
		w.wrote(t, "create karmada-es-c")
	})
	t.Run("and then nothing is written", func(t *testing.T) {
		w.reconcile(t)
		w.wrote(t)
	})
}

func TestOnlyWorksThatDifferAreUpdated(t *testing.T) {
	in := func(cluster string, change func(*workv1alpha1.PropagationWork)) func(w *world) {
		return func(w *world) {
			w.PropagationWorks.Change(workv1alpha1.ExecutionNamespace(cluster), work, change)
		}
	}
	tests := []struct {
		reason string
		change func(w *world)
		want   []string
	}{
		{"the template's content has changed", func(w *world) { w.templates.Put(configMap("u1", "green")) }, []string{"update karmada-es-a", "update karmada-es-b"}},
		{"only its metadata has", func(w *world) {
			marked := configMap("u1", "blue")
			marked.SetLabels(map[string]string{workv1alpha1.PropagationPolicyPermanentIDLabel: "policy"})
			w.templates.Put(marked)
		}, nil},
		{"somebody wrote into one of them", in("b", func(work *workv1alpha1.PropagationWork) { work.Spec.Workload.Manifests[0].Raw = []byte(`{}`) }), []string{"update karmada-es-b"}},
		{"somebody took the finalizer off one", in("a", func(work *workv1alpha1.PropagationWork) { work.Finalizers = nil }), []string{"update karmada-es-a"}},
		{"a member has reported", in("a", func(work *workv1alpha1.PropagationWork) {
			work.Status.Conditions = []metav1.Condition{{Type: workv1alpha1.WorkApplied, Status: metav1.ConditionTrue}}
		}), nil},
		{"one is being removed by hand: it has to be gone first", in("a", func(work *workv1alpha1.PropagationWork) {
			work.DeletionTimestamp = &metav1.Time{Time: storetest.Began}
			work.Spec.TemplateHash = "old"
		}), nil},
		{"one is being removed because its cluster was deselected, and it is selected again", in("a", func(work *workv1alpha1.PropagationWork) {
			work.DeletionTimestamp, work.Spec.RemovalCause = &metav1.Time{Time: storetest.Began}, workv1alpha1.RemovalNotSelected
		}), []string{"replace karmada-es-a"}},
		{"one is being removed because its template was deleted: the next one's work comes after it", in("a", func(work *workv1alpha1.PropagationWork) {
			work.DeletionTimestamp, work.Spec.RemovalCause = &metav1.Time{Time: storetest.Began}, workv1alpha1.RemovalTemplateDeleted
		}), nil},
		{"the binding goes to one more", func(w *world) {
			w.change(func(b *workv1alpha1.PropagationBinding) { b.Spec.Clusters = targets("a", "b", "c") })
		}, []string{"create karmada-es-c"}},
		{"the binding goes elsewhere", func(w *world) {
			w.change(func(b *workv1alpha1.PropagationBinding) { b.Spec.Clusters = targets("b", "c") })
		}, []string{"create karmada-es-c", "remove NotSelected karmada-es-a"}},
		{"the binding goes elsewhere and is still leaving where it was", func(w *world) {
			w.change(func(b *workv1alpha1.PropagationBinding) {
				b.Spec.Clusters = targets("b", "c")
				b.Spec.GracefulEvictionTasks = []workv1alpha1.GracefulEvictionTask{{FromCluster: "a"}}
			})
			w.templates.Put(configMap("u1", "green"))
		}, []string{"create karmada-es-c", "update karmada-es-b"}},
		{"the binding goes nowhere", func(w *world) {
			w.change(func(b *workv1alpha1.PropagationBinding) { b.Spec.Clusters = nil })
		}, []string{"remove NotSelected karmada-es-a", "remove NotSelected karmada-es-b"}},
		{"the binding is not placed: what stands in the members stays", func(w *world) {
			w.change(func(b *workv1alpha1.PropagationBinding) {
				b.Spec.Clusters, b.Status.SchedulerObservedGeneration = nil, 0
			})
		}, nil},
		{"a cluster that no longer accepts works is left to its own controller", func(w *world) {
			w.closed["a"] = true
			w.templates.Put(configMap("u1", "green"))
		}, []string{"update karmada-es-b"}},
		{"no policy claims it any more: the members stay as they are", func(w *world) {
			w.change(func(b *workv1alpha1.PropagationBinding) {
				delete(b.Labels, workv1alpha1.PropagationPolicyPermanentIDLabel)
			})
			w.templates.Put(configMap("u1", "green"))
		}, nil},
		{"no policy claims it and a cluster is being removed", func(w *world) {
			w.change(func(b *workv1alpha1.PropagationBinding) {
				delete(b.Labels, workv1alpha1.PropagationPolicyPermanentIDLabel)
				b.Spec.Clusters = targets("b")
			})
		}, []string{"remove NotSelected karmada-es-a"}},
		{"the template is not known at present", func(w *world) {
			w.templates.Problems[configMaps] = errors.New("not served")
			in("a", func(work *workv1alpha1.PropagationWork) { work.Spec.TemplateHash = "old" })(w)
		}, nil},
		{"the cache lacks the template", func(w *world) { w.templates.Forget(settings) }, nil},
		{"another object has the template's name", func(w *world) { w.templates.Put(configMap("u2", "green")) }, nil},
	}
	for _, test := range tests {
		t.Run(test.reason, func(t *testing.T) {
			w := newWorld(t)
			w.place("a", "b")
			w.reconcile(t)
			w.PropagationWorks.Writes()
			test.change(w)
			w.reconcile(t)
			w.wrote(t, test.want...)
		})
	}
}

// placeReplicas puts a Deployment and its binding into the store, which divides four replicas between clusters a and b.
func (w *world) placeReplicas() {
	w.scale(4)
	w.place("a", "b")
	w.change(func(b *workv1alpha1.PropagationBinding) {
		b.Spec.Resource.APIVersion, b.Spec.Resource.Kind, b.Spec.Replicas = "apps/v1", "Deployment", ptr.To[int32](4)
		b.Spec.Placement = &policyv1alpha1.Placement{ReplicaScheduling: &policyv1alpha1.ReplicaSchedulingStrategy{ReplicaSchedulingType: policyv1alpha1.ReplicaSchedulingDivided}}
		b.Spec.Clusters = []workv1alpha1.TargetCluster{{Name: "a", Replicas: 2}, {Name: "b", Replicas: 2}}
	})
}

// scale puts a Deployment into the store that asks for so many replicas.
func (w *world) scale(replicas int64) {
	template := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "apps/v1", "kind": "Deployment", "spec": map[string]any{"replicas": replicas}}}
	template.SetNamespace("shop")
	template.SetName("settings")
	template.SetUID("u1")
	template.SetAnnotations(map[string]string{"scaled-to": fmt.Sprint(replicas)})
	w.templates.Put(template)
}

// replicas are those in the manifests of the works.
func (w *world) replicas(t *testing.T) map[string]int64 {
	t.Helper()
	got := map[string]int64{}
	for cluster, work := range w.controller.works(key) {
		manifest := &unstructured.Unstructured{}
		if err := manifest.UnmarshalJSON(work.Spec.Workload.Manifests[0].Raw); err != nil {
			t.Fatal(err)
		}
		got[cluster], _, _ = unstructured.NestedInt64(manifest.Object, "spec", "replicas")
	}
	return got
}

func keeps(cluster string, replicas int32) []workv1alpha1.GracefulEvictionTask {
	return []workv1alpha1.GracefulEvictionTask{{FromCluster: cluster, Reason: evict.ReasonRescheduled, Replicas: &replicas}}
}

func TestAClusterKeepsReplicasThatWereMovedAwayUntilThatIsOver(t *testing.T) {
	w := newWorld(t)
	w.placeReplicas()
	w.change(func(b *workv1alpha1.PropagationBinding) { b.Spec.GracefulEvictionTasks = keeps("b", 4) })
	w.reconcile(t)
	if diff := cmp.Diff(map[string]int64{"a": 2, "b": 4}, w.replicas(t)); diff != "" {
		t.Errorf("while the others are not healthy (-want +got):\n%s", diff)
	}
	w.change(func(b *workv1alpha1.PropagationBinding) { b.Spec.GracefulEvictionTasks = nil })
	w.reconcile(t)
	if diff := cmp.Diff(map[string]int64{"a": 2, "b": 2}, w.replicas(t)); diff != "" {
		t.Errorf("when they are (-want +got):\n%s", diff)
	}
}

func TestOfWhatChangesOnlyASmallerNumberReachesAClusterThatIsBeingLeft(t *testing.T) {
	w := newWorld(t)
	w.placeReplicas()
	w.reconcile(t)
	w.change(func(b *workv1alpha1.PropagationBinding) {
		b.Spec.Clusters = []workv1alpha1.TargetCluster{{Name: "c", Replicas: 4}}
		b.Spec.GracefulEvictionTasks = append(keeps("a", 2), keeps("b", 2)...)
	})
	w.reconcile(t)
	scale := func(replicas int32, change func(*workv1alpha1.PropagationBinding)) {
		w.scale(int64(replicas))
		w.change(func(b *workv1alpha1.PropagationBinding) {
			b.Spec.Replicas, b.Spec.Clusters[0].Replicas = &replicas, replicas
			if change != nil {
				change(b)
			}
		})
		w.reconcile(t)
	}
	scale(8, nil)
	if diff := cmp.Diff(map[string]int64{"a": 2, "b": 2, "c": 8}, w.replicas(t)); diff != "" {
		t.Errorf("scaled up (-want +got):\n%s", diff)
	}
	scale(1, nil)
	if diff := cmp.Diff(map[string]int64{"a": 1, "b": 1, "c": 1}, w.replicas(t)); diff != "" {
		t.Errorf("scaled down (-want +got):\n%s", diff)
	}
	left := w.controller.works(key)["a"]
	if raw := string(left.Spec.Workload.Manifests[0].Raw); !strings.Contains(raw, `"scaled-to":"4"`) || ptr.Deref(left.Spec.Replicas, 0) != 1 {
		t.Errorf("what else has changed has come, too: %s, with %v replicas", raw, left.Spec.Replicas)
	}
	w.PropagationWorks.Writes()
	w.reconcile(t)
	w.wrote(t)
	scale(0, func(b *workv1alpha1.PropagationBinding) {
		b.Spec.Suspension = &workv1alpha1.BindingSuspension{Suspension: policyv1alpha1.Suspension{DispatchingOnClusters: &policyv1alpha1.SuspendClusters{ClusterNames: []string{"a"}}}}
	})
	if diff := cmp.Diff(map[string]int64{"a": 1, "b": 0, "c": 0}, w.replicas(t)); diff != "" {
		t.Errorf("scaled to nothing, with one cluster paused (-want +got):\n%s", diff)
	}
}

func TestACopyThatCantBeScaledDownHoldsUpNoOther(t *testing.T) {
	w := newWorld(t)
	w.placeReplicas()
	w.reconcile(t)
	w.scale(1)
	w.change(func(b *workv1alpha1.PropagationBinding) {
		b.Spec.Replicas = ptr.To[int32](1)
		b.Spec.Clusters = []workv1alpha1.TargetCluster{{Name: "c", Replicas: 1}}
		b.Spec.GracefulEvictionTasks = append(keeps("a", 1), keeps("b", 1)...)
	})
	w.PropagationWorks.Refuse = func(_ string, work *workv1alpha1.PropagationWork) error {
		if work.Namespace == workv1alpha1.ExecutionNamespace("a") {
			return errors.New("refused")
		}
		return nil
	}
	if _, err := w.controller.Reconcile(t.Context(), key); err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("the error is %v", err)
	}
	if diff := cmp.Diff(map[string]int64{"a": 2, "b": 1, "c": 1}, w.replicas(t)); diff != "" {
		t.Errorf("replicas (-want +got):\n%s", diff)
	}
}

func TestAMoveEndsThoughNoPolicyClaimsItsTemplateAnyMore(t *testing.T) {
	w := newWorld(t)
	w.placeReplicas()
	w.change(func(b *workv1alpha1.PropagationBinding) {
		b.Spec.GracefulEvictionTasks = append(keeps("b", 4), keeps("c", 2)...)
	})
	w.reconcile(t)
	c := w.controller.works(key)["a"].DeepCopy()
	c.Namespace = workv1alpha1.ExecutionNamespace("c")
	w.PropagationWorks.Put(c)
	w.PropagationWorks.Writes()
	release := func(b *workv1alpha1.PropagationBinding) {
		delete(b.Labels, workv1alpha1.PropagationPolicyPermanentIDLabel)
	}
	w.change(release)
	w.scale(8)
	w.reconcile(t)
	w.wrote(t)

	w.change(func(b *workv1alpha1.PropagationBinding) { b.Spec.GracefulEvictionTasks = keeps("b", 2) })
	w.reconcile(t)
	if writes := w.PropagationWorks.Writes(); len(writes) != 2 {
		t.Errorf("the writes are %v, want c's removal and an update of b", writes)
	}
	if diff := cmp.Diff(map[string]int64{"a": 2, "b": 2, "c": 2}, w.replicas(t)); diff != "" {
		t.Errorf("replicas (-want +got):\n%s", diff)
	}
	if raw := string(w.controller.works(key)["b"].Spec.Workload.Manifests[0].Raw); !strings.Contains(raw, `"scaled-to":"4"`) {
		t.Errorf("a change of a released template has come: %s", raw)
	}
	w.reconcile(t)
	w.wrote(t)
}

func TestWhatAnOverrideKeptFromScalingDownStaysWhenNoPolicyClaimsItAnyMore(t *testing.T) {
	w := newWorld(t)
	w.placeReplicas()
	w.reconcile(t)
	w.change(func(b *workv1alpha1.PropagationBinding) { // the work of b could not be made since
		b.Spec.Replicas, b.Spec.Clusters[1].Replicas = ptr.To[int32](3), 1
		delete(b.Labels, workv1alpha1.PropagationPolicyPermanentIDLabel)
	})
	before := w.replicas(t)
	w.reconcile(t)
	if diff := cmp.Diff(before, w.replicas(t)); diff != "" {
		t.Errorf("replicas (-before +after):\n%s", diff)
	}
}

func TestAWorkThatWasDeletedByHandIsNotTakenBackByDeselectingAndSelectingItsCluster(t *testing.T) {
	w := newWorld(t)
	w.place("a", "b")
	w.reconcile(t)
	w.PropagationWorks.Change("karmada-es-a", work, func(work *workv1alpha1.PropagationWork) {
		work.DeletionTimestamp = &metav1.Time{Time: storetest.Began}
	})
	w.PropagationWorks.Writes()
	for _, clusters := range [][]string{{"b"}, {"a", "b"}} {
		w.change(func(b *workv1alpha1.PropagationBinding) { b.Spec.Clusters = targets(clusters...) })
		w.reconcile(t)
	}
	w.wrote(t)
}

func TestAnUpdateKeepsWhatTheMemberSaid(t *testing.T) {
	w := newWorld(t)
	w.place("a")
	w.reconcile(t)
	said := workv1alpha1.WorkStatus{Conditions: []metav1.Condition{{Type: workv1alpha1.WorkApplied, Status: metav1.ConditionTrue, ObservedGeneration: 1}}}
	w.PropagationWorks.Change("karmada-es-a", work, func(work *workv1alpha1.PropagationWork) { work.Status = said })
	w.templates.Put(configMap("u1", "green"))
	w.reconcile(t)
	got, _ := w.PropagationWorks.Get("karmada-es-a", work)
	if diff := cmp.Diff(said, got.Status); diff != "" {
		t.Errorf("status (-want +got):\n%s", diff)
	}
	if got.Generation != 2 {
		t.Errorf("the generation is %d, want 2", got.Generation)
	}
}

func TestAnUpdateThatTheCacheDoesNotShowYetIsNotTriedAgain(t *testing.T) {
	w := newWorld(t)
	w.place("a", "b")
	w.reconcile(t)
	w.PropagationWorks.Writes()
	w.templates.Put(configMap("u1", "green"))
	w.PropagationWorks.Hold()
	w.reconcile(t)
	if result := w.reconcile(t); result.RequeueAfter <= 0 { // an attempt would be a conflict, and an error
		t.Error("nobody looks at it again")
	}
	w.wrote(t, "update karmada-es-a", "update karmada-es-b")
	w.PropagationWorks.Release()
	if result := w.reconcile(t); result.RequeueAfter > 0 {
		t.Errorf("it still waits: %s", result.RequeueAfter)
	}
	w.wrote(t)
}

func TestAWorkThatWasDeletedByHandIsMadeAgainOnceItIsGone(t *testing.T) {
	w := newWorld(t)
	w.place("a")
	w.reconcile(t)
	first, _ := w.PropagationWorks.Get("karmada-es-a", work)
	if err := w.PropagationWorks.Delete(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	w.reconcile(t)
	w.PropagationWorks.Writes()

	removing, _ := w.PropagationWorks.Get("karmada-es-a", work)
	w.acknowledge(t, "a")
	if diff := cmp.Diff([]types.NamespacedName{key}, w.controller.workChanged(removing, nil)); diff != "" {
		t.Errorf("what the end of a work wakes (-want +got):\n%s", diff)
	}
	w.reconcile(t)
	w.wrote(t, "create karmada-es-a")
	if second, _ := w.PropagationWorks.Get("karmada-es-a", work); second.UID == first.UID || second.DeletionTimestamp != nil {
		t.Error("it is not a new work")
	}
}

func TestABindingThatIsDeletedGoesAfterItsLastWork(t *testing.T) {
	tests := []struct {
		reason string
		change func(w *world)
		cause  workv1alpha1.RemovalCause
	}{
		{"the template was deleted", func(w *world) { w.templates.Delete(settings) }, workv1alpha1.RemovalTemplateDeleted},
		{"the watch has told that the template was deleted, and who asks is told nothing", func(w *world) {
			w.templates.TellDeleted(settings)
			w.templates.Unproven[settings.GroupVersionKind] = true
		}, workv1alpha1.RemovalTemplateDeleted},
		{"the template is being deleted", func(w *world) {
			leaving := configMap("u1", "blue")
			leaving.SetDeletionTimestamp(&metav1.Time{Time: storetest.Began})
			w.templates.Put(leaving)
		}, workv1alpha1.RemovalTemplateDeleted},
		{"the template was deleted and made again", func(w *world) { w.templates.Put(configMap("u2", "blue")) }, workv1alpha1.RemovalTemplateDeleted},
		{"the namespace is being deleted, and the binding's turn is before the template's", func(w *world) { w.ending["shop"] = true }, workv1alpha1.RemovalTemplateDeleted},
		{"another namespace is being deleted", func(w *world) { w.ending["other"] = true }, workv1alpha1.RemovalForced},
		{"somebody deleted the binding only", func(*world) {}, workv1alpha1.RemovalForced},
		{"somebody deleted the binding, and the cache lacks the template", func(w *world) { w.templates.Forget(settings) }, workv1alpha1.RemovalForced},
	}
	for _, test := range tests {
		t.Run(test.reason, func(t *testing.T) {
			w := newWorld(t)
			w.place("a", "b")
			w.reconcile(t)
			w.PropagationWorks.Writes()
			test.change(w)
			w.delete()

			w.reconcile(t)
			w.wrote(t, fmt.Sprintf("remove %s karmada-es-a", test.cause), fmt.Sprintf("remove %s karmada-es-b", test.cause))
			for _, got := range w.PropagationWorks.List() {
				if got.Spec.RemovalCause != test.cause {
					t.Errorf("the work says %q", got.Spec.RemovalCause)
				}
			}
			w.acknowledge(t, "a")
			w.templates.Reads()
			w.reconcile(t)
			w.wrote(t)
			if reads := w.templates.Reads(); test.cause == workv1alpha1.RemovalTemplateDeleted && reads > 0 {
				t.Errorf("the server was asked %d times for a cause that can't change any more", reads)
			}
			if _, ok := w.PropagationBindings.Get(key.Namespace, key.Name); !ok {
				t.Fatal("the binding went before its last work")
			}
			w.acknowledge(t, "b")
			w.reconcile(t)
			if _, ok := w.PropagationBindings.Get(key.Namespace, key.Name); ok {
				t.Error("the binding stays without a work")
			}
		})
	}
}

// Else a thousand works that end are looked through a thousand times.
func TestOfTheWorksOfABindingThatIsDeletedTheLastEndWakesIt(t *testing.T) {
	leaving := func(t *testing.T) *world {
		w := newWorld(t)
		w.place("a", "b", "c")
		w.reconcile(t)
		w.templates.Delete(settings)
		w.delete()
		w.reconcile(t) // marks them
		if wait := w.reconcile(t).RequeueAfter; wait != endsLimit {
			t.Fatalf("it comes back after %s", wait)
		}
		w.woken = 0
		return w
	}
	gone := func(t *testing.T, w *world) {
		t.Helper()
		w.reconcile(t)
		if _, ok := w.PropagationBindings.Get(key.Namespace, key.Name); ok {
			t.Error("the binding stays without a work")
		}
		if n := len(w.controller.ends.awaited); n > 0 {
			t.Errorf("it counts the ends of %d bindings", n)
		}
	}

	t.Run("one after the other", func(t *testing.T) {
		w := leaving(t)
		w.acknowledge(t, "a", "b")
		if w.woken > 0 {
			t.Errorf("it is woken by %d of 2 ends, with one more to come", w.woken)
		}
		w.now = w.now.Add(endsLimit / 3)
		if wait := w.reconcile(t).RequeueAfter; wait != endsLimit-endsLimit/3 {
			t.Errorf("whoever else wakes it has it come back after %s", wait)
		}
		w.acknowledge(t, "c")
		if w.woken != 1 {
			t.Errorf("the last end wakes %d", w.woken)
		}
		gone(t, w)
	})
	t.Run("one that was not told of does not keep it for ever", func(t *testing.T) {
		w := leaving(t)
		w.controller.ends.await(key, 1, w.now)
		w.acknowledge(t, "a", "b", "c")
		w.now = w.now.Add(endsLimit)
		gone(t, w)
	})
	t.Run("one that is told of late wakes it too early, and it looks again", func(t *testing.T) {
		w := leaving(t)
		w.controller.ends.ended(key)
		w.acknowledge(t, "a", "b")
		if w.woken != 1 {
			t.Errorf("it is woken %d times", w.woken)
		}
		if wait := w.reconcile(t).RequeueAfter; wait != endsLimit {
			t.Errorf("it comes back after %s", wait)
		}
		w.acknowledge(t, "c")
		gone(t, w)
	})
	t.Run("each wakes one that comes again under its name before the works of the first are gone", func(t *testing.T) {
		w := leaving(t)
		w.change(func(b *workv1alpha1.PropagationBinding) { b.Finalizers = nil }) // by somebody who has no patience
		w.PropagationBindings.Drop(key.Namespace, key.Name)
		w.templates.Put(configMap("u1", "blue"))
		w.place("a", "b", "c")
		w.reconcile(t)
		w.woken = 0
		w.acknowledge(t, "a")
		if w.woken != 1 {
			t.Errorf("it is woken %d times", w.woken)
		}
	})
	t.Run("one while they are looked through wakes it", func(t *testing.T) {
		w := leaving(t)
		w.controller.ends.begin(key)
		w.acknowledge(t, "a")
		w.controller.ends.await(key, 3, w.now)
		if w.woken != 1 {
			t.Errorf("it is woken %d times", w.woken)
		}
		w.acknowledge(t, "b", "c")
		if w.woken != 2 {
			t.Errorf("after the last it was woken %d times", w.woken)
		}
		gone(t, w)
	})
}

func TestARemovalThatWaitsInAMemberTakesUpACauseThatSomebodyAskedFor(t *testing.T) {
	leaveB := func(w *world) {
		w.change(func(b *workv1alpha1.PropagationBinding) { b.Spec.Clusters = targets("a") })
	}
	tests := []struct {
		reason string
		before func(w *world)
		then   func(w *world)
		want   []string
	}{
		{"the cluster was deselected, and then the template was deleted", leaveB,
			func(w *world) { w.templates.Delete(settings) }, []string{"remove TemplateDeleted karmada-es-a", "remove TemplateDeleted karmada-es-b"}},
		{"the cluster was deselected, and then the namespace was deleted", leaveB,
			func(w *world) { w.ending["shop"] = true }, []string{"remove TemplateDeleted karmada-es-a", "remove TemplateDeleted karmada-es-b"}},
		{"the cluster was deselected, and then somebody deleted the binding: nobody asked for more", leaveB,
			func(*world) {}, []string{"remove Forced karmada-es-a"}},
		{"somebody deleted the binding, and then the template", func(w *world) { w.delete() },
			func(w *world) { w.templates.Delete(settings) }, []string{"remove TemplateDeleted karmada-es-a", "remove TemplateDeleted karmada-es-b"}},
	}
	for _, test := range tests {
		t.Run(test.reason, func(t *testing.T) {
			w := newWorld(t)
			w.place("a", "b")
			w.reconcile(t)
			test.before(w)
			w.reconcile(t)
			w.PropagationWorks.Writes()
			test.then(w)
			w.delete()
			w.reconcile(t)
			w.wrote(t, test.want...)
			w.reconcile(t)
			w.wrote(t)
		})
	}
}

func TestNoWorkIsRemovedWhileTheServerDoesNotSayWhy(t *testing.T) {
	w := newWorld(t)
	w.place("a")
	w.reconcile(t)
	w.PropagationWorks.Writes()
	w.templates.Unproven[configMaps] = true
	w.delete()
	if _, err := w.controller.Reconcile(t.Context(), key); !errors.Is(err, templates.ErrUnproven) {
		t.Errorf("the error is %v", err)
	}
	w.wrote(t)

	t.Run("of the namespace", func(t *testing.T) {
		w := newWorld(t)
		w.place("a")
		w.reconcile(t)
		w.PropagationWorks.Writes()
		away := errors.New("no answer")
		w.controller.Terminating = func(context.Context, string) (bool, error) { return false, away }
		w.delete()
		if _, err := w.controller.Reconcile(t.Context(), key); !errors.Is(err, away) {
			t.Errorf("the error is %v", err)
		}
		w.wrote(t)
	})
}

func TestABindingWithoutWorksGoesAtOnce(t *testing.T) {
	w := newWorld(t)
	w.place()
	w.templates.Unproven[configMaps] = true // nobody needs to know the cause
	w.delete()
	w.reconcile(t)
	if _, ok := w.PropagationBindings.Get(key.Namespace, key.Name); ok {
		t.Error("it stays")
	}
	t.Run("but keeps the finalizers of others", func(t *testing.T) {
		w.place()
		w.change(func(b *workv1alpha1.PropagationBinding) { b.Finalizers = append(b.Finalizers, "example.com/mine") })
		w.delete()
		w.reconcile(t)
		w.PropagationBindings.Writes()
		w.reconcile(t)
		if writes := w.PropagationBindings.Writes(); len(writes) > 0 {
			t.Errorf("written: %v", writes)
		}
	})
}

func TestWorksThatTheCacheDoesNotShowYetAreNotForgotten(t *testing.T) {
	tests := []struct {
		reason string
		change func(w *world)
		then   []string
	}{
		{"the binding is deleted right after they were written", func(w *world) {
			w.templates.Delete(settings)
			w.delete()
		}, []string{"remove TemplateDeleted karmada-es-a"}},
		{"the binding leaves the cluster right after they were written", func(w *world) {
			w.change(func(b *workv1alpha1.PropagationBinding) { b.Spec.Clusters = nil })
		}, []string{"remove NotSelected karmada-es-a"}},
	}
	for _, test := range tests {
		t.Run(test.reason, func(t *testing.T) {
			w := newWorld(t)
			w.place("a")
			w.PropagationWorks.Hold()
			w.reconcile(t)
			w.PropagationWorks.Writes()
			test.change(w)
			if result := w.reconcile(t); result.RequeueAfter <= 0 {
				t.Error("nobody looks at it again")
			}
			if _, ok := w.PropagationBindings.Get(key.Namespace, key.Name); !ok {
				t.Fatal("the binding went and left its work behind")
			}
			w.PropagationWorks.Release()
			w.reconcile(t)
			w.wrote(t, test.then...)
		})
	}
	t.Run("but not waited for without end", func(t *testing.T) {
		w := newWorld(t)
		w.place("a")
		w.PropagationWorks.Hold()
		w.reconcile(t)
		w.acknowledge(t, "a") // gone before the cache could show it
		w.templates.Delete(settings)
		w.delete()
		w.now = w.now.Add(unseenLimit + time.Second)
		w.reconcile(t)
		if _, ok := w.PropagationBindings.Get(key.Namespace, key.Name); ok {
			t.Error("the binding waits for ever")
		}
	})
}

func TestAClusterThatRefusesItsWorkHoldsUpNoOther(t *testing.T) {
	w := newWorld(t)
	names := []string{"a"}
	for i := range 3 * writesAtOnce {
		names = append(names, fmt.Sprintf("b-%03d", i))
	}
	w.place(names...)
	var refused atomic.Int32
	w.PropagationWorks.Refuse = func(_ string, obj *workv1alpha1.PropagationWork) error {
		if obj.Namespace != "karmada-es-a" {
			return nil
		}
		refused.Add(1)
		return errors.New("the namespace is being deleted")
	}
	refuseCancelled(w)
	if _, err := w.controller.Reconcile(t.Context(), key); err == nil {
		t.Error("the failure is not told")
	}
	if got := len(w.PropagationWorks.List()); got != len(names)-1 || refused.Load() != 1 {
		t.Errorf("%d of %d works are written after %d refusals", got, len(names)-1, refused.Load())
	}
	condition := w.rendered()
	if condition == nil || condition.Status != metav1.ConditionFalse || !strings.Contains(condition.Message, "karmada-es-a") {
		t.Errorf("the condition does not name the work: %+v", condition)
	}

	t.Run("and the condition ends with the failure", func(t *testing.T) {
		w.PropagationWorks.Refuse = nil
		w.reconcile(t)
		if condition := w.rendered(); condition.Status != metav1.ConditionTrue {
			t.Errorf("the condition is %+v", condition)
		}
	})
}

// refuseCancelled makes writes fail whose context has ended, as those of a store do.
func refuseCancelled(w *world) {
	works := w.controller.Works
	w.controller.Works.Writer = cancellable{works.Kind.Writer}
}

type cancellable struct {
	writer
}

type writer interface {
	Create(context.Context, *workv1alpha1.PropagationWork) (*workv1alpha1.PropagationWork, error)
	Update(context.Context, *workv1alpha1.PropagationWork) (*workv1alpha1.PropagationWork, error)
	UpdateStatus(context.Context, *workv1alpha1.PropagationWork) (*workv1alpha1.PropagationWork, error)
	Delete(context.Context, *workv1alpha1.PropagationWork) error
}

func (c cancellable) Create(ctx context.Context, work *workv1alpha1.PropagationWork) (*workv1alpha1.PropagationWork, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return c.writer.Create(ctx, work)
}

func TestATemplateThatIsTooLargeIsSaidAndRecovers(t *testing.T) {
	w := newWorld(t)
	w.place("a")
	w.templates.Put(configMap("u1", strings.Repeat("x", workv1alpha1.MaxWorkBytes)))
	if result := w.reconcile(t); result.RequeueAfter > 0 {
		t.Error("only a change of the template helps, but it is looked at again")
	}
	w.wrote(t)
	condition := w.rendered()
	if condition == nil || condition.Status != metav1.ConditionFalse || condition.Reason != "TooLarge" || !strings.Contains(condition.Message, "ConfigMap shop/settings") {
		t.Fatalf("the condition is %+v", condition)
	}
	w.PropagationBindings.Writes()
	w.reconcile(t)
	if writes := w.PropagationBindings.Writes(); len(writes) > 0 {
		t.Errorf("the same failure is written again: %v", writes)
	}

	w.templates.Put(configMap("u1", "blue"))
	w.reconcile(t)
	w.wrote(t, "create karmada-es-a")
	if condition := w.rendered(); condition.Status != metav1.ConditionTrue || condition.Reason != "Success" {
		t.Errorf("after the template has become smaller: %+v", condition)
	}
}

func TestAWriteThatComesTooLateIsTriedAgainAndIsNoFailure(t *testing.T) {
	w := newWorld(t)
	w.place("a")
	w.reconcile(t)
	w.PropagationWorks.Hold()
	w.PropagationWorks.Change("karmada-es-a", work, func(work *workv1alpha1.PropagationWork) { work.Status.Delivery.Epoch = 7 })
	w.templates.Put(configMap("u1", "green"))
	if result := w.reconcile(t); result.RequeueAfter <= 0 {
		t.Error("nobody looks at it again")
	}
	if condition := w.rendered(); condition != nil {
		t.Errorf("a conflict is recorded as a failure: %+v", condition)
	}
	w.PropagationWorks.Release()
	w.reconcile(t)
	if got, _ := w.PropagationWorks.Get("karmada-es-a", work); got.Generation != 2 || got.Status.Delivery.Epoch != 7 {
		t.Errorf("generation %d, epoch %d", got.Generation, got.Status.Delivery.Epoch)
	}
}

func TestATemplateOfClusterScopeGoesTheSameWay(t *testing.T) {
	w := newWorld(t)
	role := &unstructured.Unstructured{Object: map[string]any{"rules": []any{}}}
	role.SetGroupVersionKind(clusterRoles)
	role.SetName("view")
	role.SetUID("u9")
	w.templates.Put(role)
	w.ClusterPropagationBindings.Put(&workv1alpha1.ClusterPropagationBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "view-clusterrole", Finalizers: []string{workv1alpha1.ClusterBindingFinalizer},
			Labels: map[string]string{workv1alpha1.ClusterPropagationPolicyPermanentIDLabel: "policy", workv1alpha1.ClusterBindingPermanentIDLabel: "binding"}},
		Spec: workv1alpha1.BindingSpec{
			Resource: workv1alpha1.ObjectReference{APIVersion: "rbac.authorization.k8s.io/v1", Kind: "ClusterRole", Name: "view", UID: "u9"},
			Clusters: targets("a"),
		},
		Status: workv1alpha1.BindingStatus{SchedulerObservedGeneration: 1},
	})
	role9 := types.NamespacedName{Name: "view-clusterrole"}
	step := func() {
		t.Helper()
		if _, err := w.controller.Reconcile(t.Context(), role9); err != nil {
			t.Fatal(err)
		}
	}
	step()
	works := w.PropagationWorks.List()
	if len(works) != 1 || works[0].Namespace != "karmada-es-a" || works[0].Labels[workv1alpha1.ClusterBindingPermanentIDLabel] != "binding" ||
		works[0].Spec.Binding.Kind != "ClusterPropagationBinding" {
		t.Fatalf("the works are %+v", works)
	}
	w.templates.Delete(templates.KeyOf(role))
	w.ClusterPropagationBindings.Change("", "view-clusterrole", func(b *workv1alpha1.ClusterPropagationBinding) {
		b.DeletionTimestamp = &metav1.Time{Time: storetest.Began}
	})
	step()
	if got := w.PropagationWorks.List()[0].Spec.RemovalCause; got != workv1alpha1.RemovalTemplateDeleted {
		t.Errorf("the work is removed with the cause %q", got)
	}
	w.PropagationWorks.Drop("karmada-es-a", works[0].Name)
	step()
	if left := w.ClusterPropagationBindings.List(); len(left) > 0 {
		t.Error("the binding stays without a work")
	}
}

func TestWhatWakesABinding(t *testing.T) {
	base := func(change func(*workv1alpha1.PropagationBinding)) *workv1alpha1.PropagationBinding {
		b := &workv1alpha1.PropagationBinding{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name, Generation: 1,
			Labels: map[string]string{workv1alpha1.PropagationPolicyPermanentIDLabel: "policy"}}}
		change(b)
		return b
	}
	same := base(func(*workv1alpha1.PropagationBinding) {})
	tests := []struct {
		reason string
		old    workv1alpha1.Binding
		new    workv1alpha1.Binding
		wakes  bool
	}{
		{"it is new", nil, same, true},
		{"its spec has changed", same, base(func(b *workv1alpha1.PropagationBinding) { b.Generation = 2 }), true},
		{"its deletion was asked for", same, base(func(b *workv1alpha1.PropagationBinding) { b.DeletionTimestamp = &metav1.Time{Time: storetest.Began} }), true},
		{"a policy has let go of it", same, base(func(b *workv1alpha1.PropagationBinding) { b.Labels = nil }), true},
		{"only its status has changed", same, base(func(b *workv1alpha1.PropagationBinding) { b.Status.Summary.Applied = 1 }), false},
		{"it is gone", same, nil, false},
	}
	for _, test := range tests {
		t.Run(test.reason, func(t *testing.T) {
			if woken := len(bindingChanged(test.old, test.new)) > 0; woken != test.wakes {
				t.Errorf("woken: %t, want %t", woken, test.wakes)
			}
		})
	}
}

func TestWhatOfAWorkWakesItsBinding(t *testing.T) {
	base := func(generation int64) *workv1alpha1.PropagationWork {
		return &workv1alpha1.PropagationWork{
			ObjectMeta: metav1.ObjectMeta{Namespace: "karmada-es-a", Name: work, Generation: generation, ResourceVersion: "1"},
			Spec:       workv1alpha1.WorkSpec{Binding: &workv1alpha1.BindingReference{Namespace: key.Namespace, Name: key.Name}},
		}
	}
	byHand := base(1)
	byHand.Spec.Binding = nil
	tests := []struct {
		reason   string
		old, new *workv1alpha1.PropagationWork
		wakes    bool
	}{
		{"the binding made it", nil, base(1), false},
		{"its member has reported", base(1), base(1), false},
		{"somebody wrote into it", base(1), base(2), true},
		{"it is gone", base(1), nil, true},
		{"it is gone and no binding had made it", byHand, nil, false},
	}
	for _, test := range tests {
		t.Run(test.reason, func(t *testing.T) {
			w := newWorld(t)
			if woken := len(w.controller.workChanged(test.old, test.new)) > 0; woken != test.wakes {
				t.Errorf("woken: %t, want %t", woken, test.wakes)
			}
		})
	}
}

func TestAnAnnotationThatMeansNothingIsToldUntilItIsMended(t *testing.T) {
	w := newWorld(t)
	w.place("a")
	said := func(value string) {
		template, _ := w.templates.Get(settings)
		template = template.DeepCopy()
		template.SetAnnotations(map[string]string{workv1alpha1.ConflictResolutionAnnotation: value})
		w.templates.Put(template)
		w.reconcile(t)
	}
	said("overwrite")
	if condition := w.rendered(); condition != nil {
		t.Errorf("a binding is written for an annotation that is known: %+v", condition)
	}
	said("overwirte")
	condition := w.rendered()
	if condition == nil || condition.Status != metav1.ConditionTrue || condition.Reason != workv1alpha1.RenderedWithoutEffect ||
		!strings.Contains(condition.Message, `of the template says "overwirte" and has no effect`) {
		t.Errorf("Rendered is %+v", condition)
	}
	if got, _ := w.PropagationWorks.Get(workv1alpha1.ExecutionNamespace("a"), work); got.Spec.ConflictResolution != "Abort" {
		t.Errorf("the policy says nothing, and the work says %s", got.Spec.ConflictResolution)
	}
	said("abort")
	if condition := w.rendered(); condition.Reason != "Success" {
		t.Errorf("it is mended, and Rendered is %+v", condition)
	}
}

func TestAChangeThatComesPastThePauseOfItsPolicyStaysOnTheHub(t *testing.T) {
	w := newWorld(t)
	w.place("a")
	w.change(func(b *workv1alpha1.PropagationBinding) {
		b.Annotations = map[string]string{workv1alpha1.PropagationPolicyNamespaceAnnotation: "shop", workv1alpha1.PropagationPolicyNameAnnotation: "p"}
	})
	claims := func(change func(*policyv1alpha1.PropagationSpec)) {
		p := &policyv1alpha1.PropagationPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "p",
			Labels: map[string]string{workv1alpha1.PropagationPolicyPermanentIDLabel: "policy"}}}
		change(&p.Spec)
		w.PropagationPolicies.Put(p)
	}
	edit := func(value string) {
		template, _ := w.templates.Get(settings)
		template = template.DeepCopy()
		template.Object["data"] = map[string]any{"greeting": value}
		w.templates.Put(template)
	}
	paused := policyv1alpha1.Suspension{DispatchingOnClusters: &policyv1alpha1.SuspendClusters{ClusterNames: []string{"a"}}}
	claims(func(*policyv1alpha1.PropagationSpec) {})
	w.reconcile(t)
	w.wrote(t, "create karmada-es-a")

	claims(func(spec *policyv1alpha1.PropagationSpec) {
		spec.Suspension, spec.ActivationPreference = &paused, policyv1alpha1.LazyActivation
	})
	edit("before anybody says whether the Lazy policy holds for it")
	w.reconcile(t)
	w.wrote(t)
	w.knows(t) // and it does not
	w.reconcile(t)
	w.wrote(t, "update karmada-es-a")
	edit("with which the Lazy policy takes effect")
	w.reconcile(t)
	w.wrote(t)

	claims(func(spec *policyv1alpha1.PropagationSpec) { spec.Suspension = &paused })
	edit("too early")
	w.reconcile(t)
	w.wrote(t)
	w.change(func(b *workv1alpha1.PropagationBinding) {
		b.Spec.Suspension = &workv1alpha1.BindingSuspension{Suspension: paused}
	})
	w.reconcile(t)
	w.wrote(t, "update karmada-es-a")
	if got, _ := w.PropagationWorks.Get(workv1alpha1.ExecutionNamespace("a"), work); got.Spec.SuspendDispatching == nil || !*got.Spec.SuspendDispatching {
		t.Error("the binding knows of the pause, and the work is not paused")
	}
	claims(func(*policyv1alpha1.PropagationSpec) {})
	edit("on")
	w.reconcile(t)
	w.wrote(t, "update karmada-es-a")
}

func TestWhatStandsWaitsAlsoWhenItsKindIsWatched(t *testing.T) {
	store.LetStandingWait(time.Now().Add(time.Hour))
	t.Cleanup(func() { store.LetStandingWait(time.Time{}) })
	w := newWorld(t)
	w.place("a")
	queue := priorityqueue.New[types.NamespacedName]("test")
	defer queue.ShutDown()
	wake := &store.Mailbox[types.NamespacedName]{}
	if err := wake.Start(t.Context(), queue); err != nil {
		t.Fatal(err)
	}
	handler := w.controller.templatesHandler(wake)
	handler.Changed(settings, true)
	handler.Kind(configMaps)
	wake.Add(types.NamespacedName{Name: "news"}, false)
	if got, _ := queue.Get(); got.Name != "news" || queue.Len() != 0 {
		t.Errorf("%s does not wait, %d others neither", got, queue.Len())
	}
	handler.Changed(settings, false)
	if got, _ := queue.Get(); got != key {
		t.Errorf("after a change of its template %s is looked at", got)
	}
}

func TestOnlyOfAJobIsAStatusNewsForItsBinding(t *testing.T) {
	news := newWorld(t).controller.templatesHandler(&store.Mailbox[types.NamespacedName]{})
	for kind, want := range map[schema.GroupKind]bool{
		{Group: "apps", Kind: "Deployment"}:    true,
		{Group: "example.com", Kind: "Widget"}: true,
		{Group: "batch", Kind: "Job"}:          false, // what has ended in parts stays in parts
	} {
		if got := news.ContentOnly(kind); got != want {
			t.Errorf("%s: it is %t that only content is news", kind, got)
		}
	}
}

func TestReportsWaitUntilTheWorksOfABindingAreWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // whose clock stands still meanwhile
		w := newWorld(t)
		var clusters []string
		for i := range 200 {
			clusters = append(clusters, fmt.Sprint("c", i))
		}
		w.place(clusters...)
		asked, reported := 0, atomic.Int64{}
		report := func() { // one after each work that is written
			w.controller.Rush.Wait(t.Context())
			if written := len(w.controller.Works.List()); written < len(clusters) {
				t.Errorf("a report is recorded after %d of %d works", written, len(clusters))
			}
			reported.Add(1)
		}
		w.controller.Accepts = func(string) bool { // asked before each is written
			if asked++; asked > 1 {
				go report()
			}
			return true
		}
		w.reconcile(t)
		synctest.Wait()
		if got, want := reported.Load(), int64(len(clusters)-1); got != want {
			t.Errorf("%d of %d reports are recorded when all is written", got, want)
		}

		time.Sleep(time.Minute)
		asked = 0
		reported.Store(0)
		w.controller.Accepts = func(string) bool {
			go report()
			if asked++; asked == len(clusters) {
				synctest.Wait()
			}
			return true
		}
		w.reconcile(t)
		if got, want := reported.Load(), int64(len(clusters)); got != want {
			t.Errorf("during a look that found nothing to write %d of %d reports were recorded", got, want)
		}
	})
}

func TestAReleasedBindingDoesNotWaitForThePolicysOverrides(t *testing.T) {
	w := newWorld(t)
	w.place("a")
	w.PropagationBindings.Change(key.Namespace, key.Name, func(b *workv1alpha1.PropagationBinding) {
		b.Labels = nil
		meta.SetStatusCondition(&b.Status.Conditions, metav1.Condition{Type: workv1alpha1.BindingRendered, Status: metav1.ConditionFalse, Reason: overrideMissing})
	})
	w.reconcile(t)
	binding, _ := w.controller.Bindings.Get(key)
	if rendered := renderedCondition(binding); rendered.Status != metav1.ConditionTrue {
		t.Errorf("it says %s: %s", rendered.Reason, rendered.Message)
	}
}
