package policy

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	stdruntime "runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"

	policyv1alpha1 "windlass.dev/windlass/api/policy/v1alpha1"
	workv1alpha1 "windlass.dev/windlass/api/work/v1alpha1"
	"windlass.dev/windlass/hub/store"
	"windlass.dev/windlass/hub/store/storetest"
	"windlass.dev/windlass/hub/templates"
	"windlass.dev/windlass/pkg/policy"
	"windlass.dev/windlass/pkg/render"
)

var (
	deployments  = schema.GroupVersionKind{Group: "apps", Version: "v1", Kind: "Deployment"}
	otherApps    = schema.GroupVersionKind{Group: "example.com", Version: "v1", Kind: "Deployment"}
	clusterRoles = schema.GroupVersionKind{Group: "rbac.authorization.k8s.io", Version: "v1", Kind: "ClusterRole"}
	scalersV1    = schema.GroupVersionKind{Group: "autoscaling", Version: "v1", Kind: "HorizontalPodAutoscaler"}
	scalersV2    = schema.GroupVersionKind{Group: "autoscaling", Version: "v2", Kind: "HorizontalPodAutoscaler"}
)

// world is a hub with the policy controller and nothing else.
type world struct {
	*storetest.Store
	templates  *storetest.Templates
	classes    *storetest.Classes
	controller *Reconciler
	releaser   *releaser
	woken      *store.Mailbox[templates.Key]
	told       []string // events
}

// Event implements Events.
func (w *world) Event(about runtime.Object, kind, reason, message string) {
	w.told = append(w.told, strings.Join([]string{kind, reason, about.(metav1.Object).GetName(), message}, " "))
}

func newWorld(policies ...policyv1alpha1.Policy) *world {
	w := &world{Store: storetest.New(), templates: storetest.NewTemplates(), classes: &storetest.Classes{}, woken: &store.Mailbox[templates.Key]{}}
	w.controller = &Reconciler{Templates: w.templates, Classes: w.classes, Policies: w.Policies(), Stored: w.stored, Overrides: w.Overrides(), Bindings: w.Bindings(), Log: slog.New(slog.DiscardHandler), Events: w, index: policy.NewIndex()}
	w.releaser = &releaser{policies: w.Policies(), bindings: w.Bindings(), templates: w.templates}
	for _, p := range policies {
		w.put(p)
	}
	return w
}

func (w *world) put(p policyv1alpha1.Policy) {
	if namespaced, ok := p.(*policyv1alpha1.PropagationPolicy); ok {
		p = w.PropagationPolicies.Put(namespaced)
	} else {
		p = w.ClusterPropagationPolicies.Put(p.(*policyv1alpha1.ClusterPropagationPolicy))
	}
	w.controller.policyChanged(w.woken, w.controller.index.Get(store.Key(p)), p)
}

// stored is what the store has, whatever the controller has seen.
func (w *world) stored(_ context.Context, namespace, name string) (policyv1alpha1.Policy, error) {
	p, ok := w.Policies().Get(types.NamespacedName{Namespace: namespace, Name: name})
	if !ok {
		return nil, apierrors.NewNotFound(schema.GroupResource{Resource: "policies"}, name)
	}
	return p, nil
}

// remove is the end of a policy, from its finalizer on.
func (w *world) remove(p policyv1alpha1.Policy) {
	w.controller.policyChanged(w.woken, w.controller.index.Get(store.Key(p)), nil)
}

func (w *world) reconcile(t *testing.T, key templates.Key) ctrl.Result {
	t.Helper()
	result, err := w.controller.Reconcile(t.Context(), key)
	if err != nil {
		t.Fatalf("reconciling %s: %v", key, err)
	}
	return result
}

func (w *world) binding(t *testing.T, name string) *workv1alpha1.PropagationBinding {
	t.Helper()
	binding, ok := w.PropagationBindings.Get("shop", name)
	if !ok {
		t.Fatalf("there is no binding %s", name)
	}
	return binding
}

// keys are the templates that were woken since it was last called.
func (w *world) keys(t *testing.T) map[string]bool {
	t.Helper()
	woken := map[string]bool{}
	w.drain(t, func(key templates.Key) { woken[key.Kind+" "+key.NamespacedName.String()] = true })
	return woken
}

// versions are the kinds of the templates that were woken since it was last called.
func (w *world) versions(t *testing.T) map[schema.GroupVersionKind]bool {
	t.Helper()
	woken := map[schema.GroupVersionKind]bool{}
	w.drain(t, func(key templates.Key) { woken[key.GroupVersionKind] = true })
	return woken
}

func (w *world) drain(t *testing.T, each func(templates.Key)) {
	t.Helper()
	queue := workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[templates.Key]())
	defer queue.ShutDown()
	if err := w.woken.Start(t.Context(), queue); err != nil {
		t.Fatal(err)
	}
	*w.woken = store.Mailbox[templates.Key]{}
	for queue.Len() > 0 {
		key, _ := queue.Get()
		each(key)
		queue.Done(key)
	}
}

func template(kind schema.GroupVersionKind, namespace, name, uid string) *unstructured.Unstructured {
	obj := &unstructured.Unstructured{Object: map[string]any{}}
	obj.SetGroupVersionKind(kind)
	obj.SetNamespace(namespace)
	obj.SetName(name)
	obj.SetUID(types.UID(uid))
	if kind == deployments {
		obj.Object["spec"] = map[string]any{"replicas": int64(3)}
	}
	return obj
}

func pp(name string, change func(*policyv1alpha1.PropagationSpec), selectors ...policyv1alpha1.ResourceSelector) *policyv1alpha1.PropagationPolicy {
	p := &policyv1alpha1.PropagationPolicy{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, Finalizers: []string{workv1alpha1.PropagationPolicyFinalizer},
			Labels: map[string]string{workv1alpha1.PropagationPolicyPermanentIDLabel: "id-" + name}},
		Spec: policyv1alpha1.PropagationSpec{ResourceSelectors: selectors},
	}
	if change != nil {
		change(&p.Spec)
	}
	return p
}

func cpp(name string, selectors ...policyv1alpha1.ResourceSelector) *policyv1alpha1.ClusterPropagationPolicy {
	return &policyv1alpha1.ClusterPropagationPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{workv1alpha1.ClusterPropagationPolicyPermanentIDLabel: "id-" + name}},
		Spec:       policyv1alpha1.PropagationSpec{ResourceSelectors: selectors},
	}
}

func all(kind schema.GroupVersionKind) policyv1alpha1.ResourceSelector {
	return policyv1alpha1.ResourceSelector{APIVersion: kind.GroupVersion().String(), Kind: kind.Kind}
}

func without(labels map[string]string, key string) map[string]string {
	rest := maps.Clone(labels)
	delete(rest, key)
	return rest
}

func TestATemplateThatAPolicySelectsGetsABinding(t *testing.T) {
	placement := policyv1alpha1.Placement{ClusterAffinity: &policyv1alpha1.ClusterAffinity{ClusterNames: []string{"a"}}}
	w := newWorld(pp("base", func(spec *policyv1alpha1.PropagationSpec) {
		spec.Placement = placement
		spec.ConflictResolution = policyv1alpha1.ConflictOverwrite
		spec.PreserveResourcesOnDeletion = ptr.To(true)
		spec.SchedulerName = "default-scheduler"
		spec.Suspension = &policyv1alpha1.Suspension{DispatchingOnClusters: &policyv1alpha1.SuspendClusters{ClusterNames: []string{"a"}}}
	}, all(deployments)))
	web := template(deployments, "shop", "web", "u1")
	w.templates.Put(web)
	w.reconcile(t, templates.KeyOf(web))

	got := w.binding(t, "web-deployment")
	id := got.Labels[workv1alpha1.BindingPermanentIDLabel]
	if len(id) != 36 {
		t.Errorf("the binding's permanent id is %q, want a UUID", id)
	}
	marks := map[string]string{workv1alpha1.PropagationPolicyPermanentIDLabel: "id-base"}
	if diff := cmp.Diff(marks, without(got.Labels, workv1alpha1.BindingPermanentIDLabel)); diff != "" {
		t.Errorf("the binding's labels (-want +got):\n%s", diff)
	}
	names := map[string]string{workv1alpha1.PropagationPolicyNamespaceAnnotation: "shop", workv1alpha1.PropagationPolicyNameAnnotation: "base"}
	if diff := cmp.Diff(names, got.Annotations); diff != "" {
		t.Errorf("the binding's annotations (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{workv1alpha1.BindingFinalizer}, got.Finalizers); diff != "" {
		t.Errorf("the binding's finalizers (-want +got):\n%s", diff)
	}
	want := workv1alpha1.BindingSpec{
		Resource:  workv1alpha1.ObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Namespace: "shop", Name: "web", UID: "u1", ResourceVersion: "1"},
		Replicas:  ptr.To[int32](3),
		Placement: &placement, ConflictResolution: policyv1alpha1.ConflictOverwrite,
		PreserveResourcesOnDeletion: ptr.To(true), SchedulerName: "default-scheduler",
		Suspension: &workv1alpha1.BindingSuspension{Suspension: policyv1alpha1.Suspension{
			DispatchingOnClusters: &policyv1alpha1.SuspendClusters{ClusterNames: []string{"a"}}}},
	}
	if diff := cmp.Diff(want, got.Spec, cmpopts.IgnoreFields(workv1alpha1.BindingSpec{}, "ReplicaRequirements")); diff != "" {
		t.Errorf("the binding's spec (-want +got):\n%s", diff)
	}

	claimed, _ := w.templates.Get(templates.KeyOf(web))
	if diff := cmp.Diff([]map[string]string{marks, names}, []map[string]string{claimed.GetLabels(), claimed.GetAnnotations()}); diff != "" {
		t.Errorf("the marks on the template (-want +got):\n%s", diff)
	}
	if patches := w.templates.Writes(); len(patches) != 1 {
		t.Errorf("the template was written %d times, want once: %v", len(patches), patches)
	}
	if diff := cmp.Diff([]string{"create shop/web-deployment"}, w.PropagationBindings.Writes()); diff != "" {
		t.Errorf("writes (-want +got):\n%s", diff)
	}
}

func TestABindingSaysInWhichGroupsOfWorkloadsItsTemplateIs(t *testing.T) {
	term := func(key string) *policyv1alpha1.WorkloadAffinityTerm {
		return &policyv1alpha1.WorkloadAffinityTerm{GroupByLabelKey: key}
	}
	for _, test := range []struct {
		reason   string
		affinity *policyv1alpha1.WorkloadAffinity
		labels   map[string]string
		want     *workv1alpha1.WorkloadAffinityGroups
	}{
		{reason: "no affinity", labels: map[string]string{"app": "web"}},
		{reason: "no label", affinity: &policyv1alpha1.WorkloadAffinity{Affinity: term("app")}},
		{"one of each", &policyv1alpha1.WorkloadAffinity{Affinity: term("app"), AntiAffinity: term("rack")}, map[string]string{"app": "web", "rack": "1"},
			&workv1alpha1.WorkloadAffinityGroups{AffinityGroup: "app=web", AntiAffinityGroup: "rack=1"}},
		{"one that it has the label for", &policyv1alpha1.WorkloadAffinity{Affinity: term("app"), AntiAffinity: term("rack")}, map[string]string{"rack": "1"},
			&workv1alpha1.WorkloadAffinityGroups{AntiAffinityGroup: "rack=1"}},
	} {
		t.Run(test.reason, func(t *testing.T) {
			w := newWorld(pp("base", func(spec *policyv1alpha1.PropagationSpec) { spec.Placement.WorkloadAffinity = test.affinity }, all(deployments)))
			web := template(deployments, "shop", "web", "u1")
			web.SetLabels(test.labels)
			w.templates.Put(web)
			w.reconcile(t, templates.KeyOf(web))
			if diff := cmp.Diff(test.want, w.binding(t, "web-deployment").Spec.WorkloadAffinityGroups); diff != "" {
				t.Errorf("groups (-want +got):\n%s", diff)
			}
		})
	}
}

func TestWhatIsAlreadyTrueIsNotWrittenAgain(t *testing.T) {
	tests := []struct {
		reason string
		change func(w *world, web *unstructured.Unstructured)
		want   []string
	}{
		{reason: "nothing has happened", change: func(*world, *unstructured.Unstructured) {}},
		{
			reason: "the template's status is nothing that a binding says",
			change: func(w *world, web *unstructured.Unstructured) {
				web.Object["status"] = map[string]any{"replicas": int64(3)}
			},
		},
		{
			reason: "somebody else's labels on the binding stay",
			change: func(w *world, _ *unstructured.Unstructured) {
				w.PropagationBindings.Change("shop", "web-deployment", func(b *workv1alpha1.PropagationBinding) { b.Labels["team"] = "blue" })
			},
		},
		{
			reason: "what the scheduler wrote is none of this controller's business",
			change: func(w *world, _ *unstructured.Unstructured) {
				w.PropagationBindings.Change("shop", "web-deployment", func(b *workv1alpha1.PropagationBinding) {
					b.Spec.Clusters = []workv1alpha1.TargetCluster{{Name: "a"}}
				})
			},
		},
		{
			reason: "a new number of replicas is news",
			change: func(w *world, web *unstructured.Unstructured) {
				web.Object["spec"] = map[string]any{"replicas": int64(5)}
			},
			want: []string{"update shop/web-deployment"},
		},
		{
			reason: "what somebody else wrote into the policy's part is taken back",
			change: func(w *world, _ *unstructured.Unstructured) {
				w.PropagationBindings.Change("shop", "web-deployment", func(b *workv1alpha1.PropagationBinding) { b.Spec.Placement = nil })
			},
			want: []string{"update shop/web-deployment"},
		},
	}
	for _, test := range tests {
		t.Run(test.reason, func(t *testing.T) {
			w := newWorld(pp("base", nil, all(deployments)))
			web := template(deployments, "shop", "web", "u1")
			key := templates.KeyOf(web)
			w.templates.Put(web)
			w.reconcile(t, key)
			w.PropagationBindings.Writes()
			w.templates.Writes()

			marked, _ := w.templates.Get(key)
			changed := marked.DeepCopy()
			test.change(w, changed)
			w.templates.Put(changed)
			w.reconcile(t, key)
			if diff := cmp.Diff(test.want, w.PropagationBindings.Writes(), cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("writes of bindings (-want +got):\n%s", diff)
			}
			if patches := w.templates.Writes(); len(patches) != 0 {
				t.Errorf("the template was written: %v", patches)
			}
		})
	}
}

func TestATemplateThatNoPolicySelectsAnyMoreIsReleasedAndStaysWhereItIs(t *testing.T) {
	tests := []struct {
		reason string
		change func(w *world)
		// policy is who claims the template afterwards.
		policy string
	}{
		{reason: "the policy is gone", change: func(w *world) { w.remove(pp("base", nil)) }},
		{reason: "the policy is being deleted", change: func(w *world) {
			leaving := pp("base", nil, all(deployments))
			leaving.DeletionTimestamp = &metav1.Time{Time: storetest.Began}
			w.put(leaving)
		}},
		{reason: "its selector no longer names the template", change: func(w *world) {
			other := all(deployments)
			other.Name = "api"
			w.put(pp("base", nil, other))
		}},
		{reason: "it selects as before and is kept, whatever better policy comes", change: func(w *world) {
			w.put(pp("a-better-one", func(spec *policyv1alpha1.PropagationSpec) { spec.Priority = ptr.To[int32](9) }, all(deployments)))
		}, policy: "base"},
		{reason: "another policy takes it over when the first is gone", change: func(w *world) {
			w.put(pp("next", nil, all(deployments)))
			w.remove(pp("base", nil))
		}, policy: "next"},
	}
	for _, test := range tests {
		t.Run(test.reason, func(t *testing.T) {
			w := newWorld(pp("base", nil, all(deployments)))
			web := template(deployments, "shop", "web", "u1")
			key := templates.KeyOf(web)
			w.templates.Put(web)
			w.reconcile(t, key)
			before := w.binding(t, "web-deployment")
			w.keys(t)

			test.change(w)
			if test.policy != "base" && !w.keys(t)["Deployment shop/web"] {
				t.Error("the template was not woken")
			}
			w.reconcile(t, key)
			after := w.binding(t, "web-deployment")
			if after.DeletionTimestamp != nil {
				t.Error("the binding is deleted")
			}
			if diff := cmp.Diff(before.Spec, after.Spec, cmpopts.IgnoreFields(workv1alpha1.ObjectReference{}, "ResourceVersion")); diff != "" {
				t.Errorf("the binding's spec has changed:\n%s", diff)
			}
			marked, _ := w.templates.Get(key)
			for what, object := range map[string]metav1.Object{"template": marked, "binding": after} {
				if got := object.GetAnnotations()[workv1alpha1.PropagationPolicyNameAnnotation]; got != test.policy {
					t.Errorf("the %s is marked as claimed by %q, want %q", what, got, test.policy)
				}
				if got := object.GetLabels()[workv1alpha1.PropagationPolicyPermanentIDLabel]; (got != "") != (test.policy != "") {
					t.Errorf("the %s has the permanent id %q", what, got)
				}
			}
			if store.Claimed(after) != (test.policy != "") {
				t.Error("the binding says the opposite of who claims it")
			}
			if after.Labels[workv1alpha1.BindingPermanentIDLabel] != before.Labels[workv1alpha1.BindingPermanentIDLabel] {
				t.Error("the binding has lost its own permanent id")
			}
		})
	}
}

func TestOnlyAProvenDeletionOfTheTemplateDeletesItsBinding(t *testing.T) {
	tests := []struct {
		reason  string
		change  func(w *world, key templates.Key)
		deleted bool
		failure error
		again   bool
	}{
		{reason: "the server says that it is gone", change: func(w *world, key templates.Key) { w.templates.Delete(key) }, deleted: true},
		{reason: "only the cache lacks it", change: func(w *world, key templates.Key) { w.templates.Forget(key) }},
		{
			reason: "the server does not say",
			change: func(w *world, key templates.Key) {
				w.templates.Delete(key)
				w.templates.Unproven[deployments] = true
			},
			failure: templates.ErrUnproven,
		},
		{
			reason: "its kind is not served any more and the server can't prove that it is gone",
			change: func(w *world, key templates.Key) {
				w.templates.Delete(key)
				w.templates.Unproven[deployments] = true
				w.templates.Problems[deployments] = errors.New("not served")
			},
			again: true,
		},
		{
			reason: "its kind is gone and it went along",
			change: func(w *world, key templates.Key) {
				w.templates.Delete(key)
				w.templates.Problems[deployments] = errors.New("not served")
			},
			deleted: true,
		},
		{
			reason: "its kind is not served in this version, but it is there",
			change: func(w *world, key templates.Key) { w.templates.Problems[deployments] = errors.New("not served") },
			again:  true,
		},
		{
			reason: "another object has its name by now, and the cache has not seen it",
			change: func(w *world, key templates.Key) {
				w.templates.Put(template(deployments, "shop", "web", "u2"))
				w.templates.Forget(key)
			},
			deleted: true,
		},
		{
			reason: "it is being deleted and not gone",
			change: func(w *world, key templates.Key) {
				leaving := template(deployments, "shop", "web", "u1")
				leaving.SetDeletionTimestamp(&metav1.Time{Time: storetest.Began})
				w.templates.Put(leaving)
			},
		},
	}
	for _, test := range tests {
		t.Run(test.reason, func(t *testing.T) {
			w := newWorld(pp("base", nil, all(deployments)))
			web := template(deployments, "shop", "web", "u1")
			key := templates.KeyOf(web)
			w.templates.Put(web)
			w.reconcile(t, key)

			test.change(w, key)
			result, err := w.controller.Reconcile(t.Context(), key)
			if !errors.Is(err, test.failure) {
				t.Fatalf("the error is %v, want %v", err, test.failure)
			}
			if (result.RequeueAfter > 0) != test.again {
				t.Errorf("it is looked at again after %s", result.RequeueAfter)
			}
			if deleted := w.binding(t, "web-deployment").DeletionTimestamp != nil; deleted != test.deleted {
				t.Errorf("the binding is being deleted: %t, want %t", deleted, test.deleted)
			}
			if !test.deleted {
				return
			}
			w.templates.Reads()
			if _, err := w.controller.Reconcile(t.Context(), key); err != nil { // the mark of its deletion wakes it
				t.Fatal(err)
			}
			if reads := w.templates.Reads(); reads > 0 {
				t.Errorf("the server was asked %d times about a binding that is being deleted already", reads)
			}
		})
	}
}

func TestATemplateOfAVersionThatIsServedNoLongerIsLookedAtUntilItIsGone(t *testing.T) {
	w := newWorld(pp("base", nil, all(deployments)))
	web := template(deployments, "shop", "web", "u1")
	key := templates.KeyOf(web)
	w.templates.Put(web)
	w.reconcile(t, key)
	w.templates.Problems[deployments] = errors.New("not served")
	for _, look := range []string{"first", "second"} {
		if again := w.reconcile(t, key).RequeueAfter; again <= 0 {
			t.Errorf("after the %s look nobody looks again, and no watch tells of its deletion", look)
		}
	}
	w.templates.Delete(key)
	w.reconcile(t, key)
	if w.binding(t, "web-deployment").DeletionTimestamp == nil {
		t.Error("its binding outlives it")
	}
	if again := w.reconcile(t, key).RequeueAfter; again > 0 {
		t.Errorf("with its binding on the way it is looked at again after %s", again)
	}
}

func TestNobodyIsAskedAboutADeletionThatTheWatchHasTold(t *testing.T) {
	tests := []struct {
		reason  string
		told    string // the UID of the object of which it was told
		deleted bool
	}{
		{"it was the template", "u1", true},
		{"it was another object of that name, and the template is only missing in the cache", "u0", false},
	}
	for _, test := range tests {
		t.Run(test.reason, func(t *testing.T) {
			w := newWorld(pp("base", nil, all(deployments)))
			web := template(deployments, "shop", "web", test.told)
			key := templates.KeyOf(web)
			w.templates.Put(web)
			w.templates.TellDeleted(key)
			web.SetUID("u1")
			w.templates.Put(web)
			w.reconcile(t, key)
			if test.deleted {
				w.templates.Delete(key)
				w.templates.Unproven[deployments] = true // who asks is told nothing
			} else {
				w.templates.Forget(key)
			}

			w.reconcile(t, key)
			if deleted := w.binding(t, "web-deployment").DeletionTimestamp != nil; deleted != test.deleted {
				t.Errorf("the binding is being deleted: %t, want %t", deleted, test.deleted)
			}
		})
	}
}

func TestAPolicyTakesATemplateOverWhenItMayAndSaysSo(t *testing.T) {
	to := func(cluster string, priority int32, preemption policyv1alpha1.PreemptionBehavior) func(*policyv1alpha1.PropagationSpec) {
		return func(spec *policyv1alpha1.PropagationSpec) {
			spec.Priority, spec.Preemption = &priority, preemption
			spec.Placement.ClusterAffinity = &policyv1alpha1.ClusterAffinity{ClusterNames: []string{cluster}}
		}
	}
	w := newWorld(pp("base", to("a", 5, policyv1alpha1.PreemptNever), all(deployments)))
	web := template(deployments, "shop", "web", "u1")
	w.templates.Put(web)
	w.reconcile(t, templates.KeyOf(web))
	w.keys(t)

	named := all(deployments)
	named.Name = "web"
	w.put(pp("urgent", to("b", 5, policyv1alpha1.PreemptAlways), named))
	if !w.keys(t)["Deployment shop/web"] {
		t.Error("the policy that may take the template does not wake it")
	}
	w.reconcile(t, templates.KeyOf(web))
	if got := w.binding(t, "web-deployment"); got.Annotations[workv1alpha1.PropagationPolicyNameAnnotation] != "base" || len(w.told) > 0 {
		t.Fatalf("a policy of the same priority has taken it over: %v, %v", got.Annotations, w.told)
	}

	// The one that claims it gets a lower priority.
	w.put(pp("base", to("a", 4, policyv1alpha1.PreemptNever), all(deployments)))
	if !w.keys(t)["Deployment shop/web"] {
		t.Error("a lower priority does not wake the template")
	}
	w.reconcile(t, templates.KeyOf(web))
	got := w.binding(t, "web-deployment")
	if got.Annotations[workv1alpha1.PropagationPolicyNameAnnotation] != "urgent" || got.Spec.Placement.ClusterAffinity.ClusterNames[0] != "b" {
		t.Errorf("the binding is that of %v", got.Annotations)
	}
	claimed, _ := w.templates.Get(templates.KeyOf(web))
	if claimed.GetLabels()[workv1alpha1.PropagationPolicyPermanentIDLabel] != "id-urgent" {
		t.Errorf("the template's labels are %v", claimed.GetLabels())
	}
	want := []string{"Normal PreemptPolicySucceed web PropagationPolicy shop/urgent takes it from PropagationPolicy shop/base: its priority is 5, the other's 4"}
	if diff := cmp.Diff(want, w.told); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	w.reconcile(t, templates.KeyOf(web))
	if len(w.told) > 1 {
		t.Errorf("it is told again: %v", w.told)
	}
}

func TestALazyPolicyIsFollowedWhenItsTemplateIsChangedNext(t *testing.T) {
	lazyTo := func(cluster string) *policyv1alpha1.PropagationPolicy {
		return pp("base", func(spec *policyv1alpha1.PropagationSpec) {
			spec.ActivationPreference = policyv1alpha1.LazyActivation
			spec.Placement.ClusterAffinity = &policyv1alpha1.ClusterAffinity{ClusterNames: []string{cluster}}
		}, all(deployments))
	}
	w := newWorld(lazyTo("a"))
	web := template(deployments, "shop", "web", "u1")
	key := templates.KeyOf(web)
	w.templates.Put(web)
	w.reconcile(t, key)
	goesTo := func(cluster, when string) {
		t.Helper()
		w.reconcile(t, key)
		if got := w.binding(t, "web-deployment").Spec.Placement.ClusterAffinity.ClusterNames[0]; got != cluster {
			t.Errorf("%s it goes to %s, want %s", when, got, cluster)
		}
	}
	goesTo("a", "when it is new")
	w.put(lazyTo("b"))
	goesTo("a", "when the policy is changed")
	live, _ := w.templates.Get(key)
	live = live.DeepCopy()
	live.Object["status"] = map[string]any{"replicas": int64(3)}
	w.templates.Put(live)
	goesTo("a", "when its status is written")
	live.SetAnnotations(map[string]string{"team": "blue"})
	w.templates.Put(live)
	goesTo("b", "when somebody annotates it")

	next := w.PropagationPolicies.Put(lazyTo("z"))
	live.SetAnnotations(map[string]string{"team": "green"})
	w.templates.Put(live)
	goesTo("b", "when it is changed a moment after the policy, of which the controller has not heard")
	w.controller.policyChanged(w.woken, w.controller.index.Get(store.Key(next)), next)
	goesTo("z", "when it has")

	next = w.PropagationPolicies.Put(lazyTo("y"))
	w.templates.Put(template(deployments, "shop", "late", "u2"))
	late := templates.KeyOf(template(deployments, "shop", "late", "u2"))
	w.reconcile(t, late)
	if _, made := w.PropagationBindings.Get("shop", "late-deployment"); made {
		t.Error("a template that is made a moment after the policy was changed is bound by what the policy was")
	}
	w.keys(t)
	w.controller.policyChanged(w.woken, w.controller.index.Get(store.Key(next)), next)
	if !w.keys(t)["Deployment shop/late"] {
		t.Error("a new template is not woken by the policy that it waits for")
	}
	w.reconcile(t, late)
	if got := w.binding(t, "late-deployment").Spec.Placement.ClusterAffinity.ClusterNames[0]; got != "y" {
		t.Errorf("a new template goes to %s, want y", got)
	}

	again := next.DeepCopy()
	again.Generation += 2
	w.keys(t)
	w.put(again)
	if !w.keys(t)["Deployment shop/late"] {
		t.Error("a policy that was changed and changed back wakes nobody, whom the change between may have made wait")
	}

	w.put(lazyTo("b"))
	live.SetAnnotations(map[string]string{"team": "red"})
	w.templates.Put(live)
	w.PropagationPolicies.Drop("shop", "base")
	goesTo("z", "when the policy is gone, of which the controller has not heard")
	w.put(lazyTo("b"))
	goesTo("b", "when it is there again")

	w.put(lazyTo("c"))
	goesTo("b", "when the policy is changed again")
	eager := lazyTo("d")
	eager.Spec.ActivationPreference = ""
	w.put(eager)
	goesTo("d", "when the policy is no longer Lazy")
	if _, left := w.binding(t, "web-deployment").Annotations[workv1alpha1.ActivatedTemplateAnnotation]; left {
		t.Error("the binding of an ordinary policy says with which template it was activated")
	}
}

func TestABindingWithoutAPlacementGetsThatOfALazyPolicy(t *testing.T) {
	w := newWorld(pp("base", func(spec *policyv1alpha1.PropagationSpec) {
		spec.ActivationPreference = policyv1alpha1.LazyActivation
		spec.Placement.ClusterAffinity = &policyv1alpha1.ClusterAffinity{ClusterNames: []string{"a"}}
	}, all(deployments)))
	web := template(deployments, "shop", "web", "u1")
	w.templates.Put(web)
	w.reconcile(t, templates.KeyOf(web))
	w.PropagationBindings.Change("shop", "web-deployment", func(b *workv1alpha1.PropagationBinding) { b.Spec.Placement = nil })
	w.reconcile(t, templates.KeyOf(web))
	placement := w.binding(t, "web-deployment").Spec.Placement
	if placement == nil || placement.ClusterAffinity == nil || !slices.Equal(placement.ClusterAffinity.ClusterNames, []string{"a"}) {
		t.Errorf("its placement is %+v", placement)
	}
}

func TestAChangeThatMakesAPolicyLazyHoldsForWhatIsMadeOrChangedAfterIt(t *testing.T) {
	placing := func(cluster string, activation policyv1alpha1.ActivationPreference) *policyv1alpha1.PropagationPolicy {
		p := pp("base", func(spec *policyv1alpha1.PropagationSpec) {
			spec.ActivationPreference = activation
			spec.Placement.ClusterAffinity = &policyv1alpha1.ClusterAffinity{ClusterNames: []string{cluster}}
		}, all(deployments))
		p.UID = "uid-of-base"
		return p
	}
	key := templates.KeyOf(template(deployments, "shop", "web", "u1"))
	change := func(w *world, annotation string) {
		live, _ := w.templates.Get(key)
		live = live.DeepCopy()
		live.SetAnnotations(map[string]string{"team": annotation})
		w.templates.Put(live)
	}
	status := func(w *world) {
		live, _ := w.templates.Get(key)
		live = live.DeepCopy()
		live.Object["status"] = map[string]any{"replicas": int64(3)}
		w.templates.Put(live)
	}
	for _, test := range []struct {
		reason string
		isNew  bool // the template is made after the policy was changed
		after  func(*world)
		heard  bool // the controller hears of the policy before it looks at what came after
		want   string
	}{
		{reason: "nothing is changed", after: func(*world) {}, want: "a"},
		{reason: "a status is written", after: status, want: "a"},
		{reason: "the template is changed before the controller gets round to it", after: func(w *world) { change(w, "blue") }, heard: true, want: "b"},
		{reason: "the template is changed before the controller hears of the policy", after: func(w *world) { change(w, "blue") }, want: "b"},
		{reason: "the template is changed and a status is written", after: func(w *world) { change(w, "blue"); status(w) }, want: "b"},
		{reason: "the template is changed and changed back", after: func(w *world) { change(w, "blue"); change(w, "red") }, want: "a"},
		{reason: "the template is made before the controller hears of the policy", isNew: true, after: func(*world) {}, want: "b"},
		{reason: "the store has forgotten what was", after: func(w *world) { w.templates.Compacted = true; change(w, "blue") }, want: "a"},
	} {
		t.Run(test.reason, func(t *testing.T) {
			before := placing("a", "")
			w := newWorld(before)
			web := template(deployments, "shop", "web", "u1")
			web.SetAnnotations(map[string]string{"team": "red"})
			create := func() { w.templates.Put(web); w.reconcile(t, key) }
			if !test.isNew {
				create()
			}
			w.templates.Put(template(deployments, "shop", "other", "u2"))
			other, _ := w.templates.Get(templates.KeyOf(template(deployments, "shop", "other", "u2")))
			next := w.PropagationPolicies.Put(placing("b", policyv1alpha1.LazyActivation))
			next.ResourceVersion = other.GetResourceVersion() // policies and templates are of one store
			if test.isNew {
				create()
			}
			test.after(w)
			if !test.heard {
				w.reconcile(t, key)
			}
			w.controller.policyChanged(w.woken, before, next)
			w.reconcile(t, key)
			w.reconcile(t, key)
			if got := w.binding(t, "web-deployment").Spec.Placement.ClusterAffinity.ClusterNames[0]; got != test.want {
				t.Errorf("it goes to %s, want %s", got, test.want)
			}
			change(w, "green")
			w.reconcile(t, key)
			if got := w.binding(t, "web-deployment").Spec.Placement.ClusterAffinity.ClusterNames[0]; got != "b" {
				t.Errorf("when it is changed next it goes to %s", got)
			}
		})
	}
}

func TestAPriorityClassGivesABindingItsRankAndIsWaitedFor(t *testing.T) {
	w := newWorld(pp("base", func(spec *policyv1alpha1.PropagationSpec) {
		spec.SchedulePriority = &policyv1alpha1.SchedulePriority{PriorityClassSource: policyv1alpha1.KubePriorityClass, PriorityClassName: "urgent"}
	}, all(deployments)))
	if err := w.classes.OnChanged(func(class string) { w.controller.classChanged(w.woken, class) }); err != nil {
		t.Fatal(err)
	}
	web := template(deployments, "shop", "web", "u1")
	key := templates.KeyOf(web)
	w.templates.Put(web)
	w.reconcile(t, key)
	if _, ok := w.PropagationBindings.Get("shop", "web-deployment"); ok {
		t.Fatal("there is a binding without its class")
	}

	w.keys(t)
	w.classes.Put("another", 1)
	if woken := w.keys(t); len(woken) > 0 {
		t.Errorf("another class wakes %v", woken)
	}
	w.classes.Put("urgent", 1000)
	if !w.keys(t)["Deployment shop/web"] {
		t.Fatal("the class does not wake the template")
	}
	rank := func() int32 {
		w.reconcile(t, key)
		return w.binding(t, "web-deployment").Spec.SchedulePriority.Priority
	}
	if got := rank(); got != 1000 {
		t.Errorf("its rank is %d", got)
	}
	w.classes.Drop("urgent")
	if got := rank(); got != 1000 {
		t.Errorf("without the class its rank is %d, want the one that it had", got)
	}
	w.classes.Put("urgent", 2000)
	if got := rank(); got != 2000 {
		t.Errorf("with another class of the name its rank is %d", got)
	}
	w.put(pp("base", nil, all(deployments)))
	w.reconcile(t, key)
	if left := w.binding(t, "web-deployment").Spec.SchedulePriority; left != nil {
		t.Errorf("its policy gives none any more, and it has %v", left)
	}
}

func TestATemplateOfAKindThatIsNotKnownYetIsLeftAlone(t *testing.T) {
	w := newWorld(pp("base", nil, all(deployments)))
	key := templates.KeyOf(template(deployments, "shop", "web", "u1"))
	w.templates.Problems[deployments] = errors.New("not served")
	w.reconcile(t, key)
	if writes := w.PropagationBindings.Writes(); len(writes) > 0 {
		t.Errorf("written: %v", writes)
	}
}

func TestATemplateThatIsMadeAgainWaitsForTheEndOfItsOldBinding(t *testing.T) {
	w := newWorld(pp("base", nil, all(deployments)))
	key := templates.KeyOf(template(deployments, "shop", "web", "u1"))
	w.templates.Put(template(deployments, "shop", "web", "u1"))
	w.reconcile(t, key)
	first := w.binding(t, "web-deployment")

	w.templates.Put(template(deployments, "shop", "web", "u2"))
	w.reconcile(t, key)
	if old := w.binding(t, "web-deployment"); old.DeletionTimestamp == nil || old.Spec.Resource.UID != "u1" {
		t.Fatalf("the old binding is not being deleted as it was: %+v", old.ObjectMeta)
	}
	w.PropagationBindings.Writes()
	w.reconcile(t, key)
	if writes := w.PropagationBindings.Writes(); len(writes) > 0 {
		t.Errorf("while the old binding is going: %v", writes)
	}

	w.PropagationBindings.Drop("shop", "web-deployment")
	if diff := cmp.Diff([]templates.Key{key}, w.controller.bindingChanged(first, nil)); diff != "" {
		t.Errorf("what the end of the old binding wakes (-want +got):\n%s", diff)
	}
	w.reconcile(t, key)
	second := w.binding(t, "web-deployment")
	if second.Spec.Resource.UID != "u2" {
		t.Errorf("the new binding is for %s", second.Spec.Resource.UID)
	}
	if second.Labels[workv1alpha1.BindingPermanentIDLabel] == first.Labels[workv1alpha1.BindingPermanentIDLabel] {
		t.Error("the new binding has the permanent id of the old one")
	}
}

func TestTwoKindsOfOneNameHaveABindingEach(t *testing.T) {
	w := newWorld(pp("base", nil, all(deployments), all(otherApps)))
	native, custom := template(deployments, "shop", "web", "u1"), template(otherApps, "shop", "web", "u2")
	w.templates.Put(native)
	w.templates.Put(custom)
	w.reconcile(t, templates.KeyOf(native))
	w.reconcile(t, templates.KeyOf(custom))

	hashed := render.BindingNameHashed(custom)
	if got := w.binding(t, "web-deployment").Spec.Resource.UID; got != "u1" {
		t.Errorf("the plain name is for %s, want u1", got)
	}
	if got := w.binding(t, hashed).Spec.Resource.UID; got != "u2" {
		t.Errorf("the other name is for %s, want u2", got)
	}

	t.Run("and keep it when the plain name is free", func(t *testing.T) {
		w.PropagationBindings.Drop("shop", "web-deployment")
		w.templates.Delete(templates.KeyOf(native))
		w.reconcile(t, templates.KeyOf(custom))
		if bindings := w.PropagationBindings.List(); len(bindings) != 1 || bindings[0].Name != hashed {
			t.Errorf("there are %d bindings for one template", len(bindings))
		}
	})
}

func TestATemplateWhoseNameIsTakenInTheSameMomentGetsTheOtherOne(t *testing.T) {
	w := newWorld(pp("base", nil, all(deployments), all(otherApps)))
	native, custom := template(deployments, "shop", "web", "u1"), template(otherApps, "shop", "web", "u2")
	for _, made := range []*unstructured.Unstructured{native, custom} {
		labels, annotations := w.controller.Claim(made, made.GroupVersionKind())
		made.SetLabels(labels)
		made.SetAnnotations(annotations)
		w.templates.Put(made)
	}
	w.PropagationBindings.Hold() // both find the name free
	w.reconcile(t, templates.KeyOf(native))
	if again := w.reconcile(t, templates.KeyOf(custom)).RequeueAfter; again <= 0 {
		t.Error("the one that came too late is not looked at again, and nothing else wakes it")
	}
	w.PropagationBindings.Release()
	w.reconcile(t, templates.KeyOf(custom))
	for name, uid := range map[string]types.UID{"web-deployment": "u1", render.BindingNameHashed(custom): "u2"} {
		if got := w.binding(t, name).Spec.Resource.UID; got != uid {
			t.Errorf("binding %s is for %s, want %s", name, got, uid)
		}
	}
}

func TestAnObjectThatTwoPoliciesSelectInTwoVersionsIsNotFoughtOver(t *testing.T) {
	first, second := pp("first", nil, all(scalersV1)), pp("second", nil, all(scalersV2))
	w := newWorld(first, second)
	show := func() {
		// One object, seen in two versions: marks that are put on it in one show in the other.
		binding, ok := w.PropagationBindings.Get("shop", "web-horizontalpodautoscaler")
		for _, kind := range []schema.GroupVersionKind{scalersV1, scalersV2} {
			obj := template(kind, "shop", "web", "u1")
			if ok && store.Claimed(binding) {
				labels, annotations := policy.Marks(w.controller.index.Get(types.NamespacedName{Namespace: "shop", Name: binding.Annotations[workv1alpha1.PropagationPolicyNameAnnotation]}))
				obj.SetLabels(labels)
				obj.SetAnnotations(annotations)
			}
			w.templates.Put(obj)
		}
	}
	v1, v2 := templates.KeyOf(template(scalersV1, "shop", "web", "u1")), templates.KeyOf(template(scalersV2, "shop", "web", "u1"))
	show()
	w.reconcile(t, v1)
	show()
	w.PropagationBindings.Writes()
	w.templates.Writes()
	for range 3 {
		w.reconcile(t, v2)
		w.reconcile(t, v1)
	}
	if writes := append(w.PropagationBindings.Writes(), w.templates.Writes()...); len(writes) > 0 {
		t.Fatalf("the two versions write in turn: %v", writes)
	}

	t.Run("and goes over to the other when the first lets go", func(t *testing.T) {
		w.remove(first)
		w.reconcile(t, v1)
		show()
		w.reconcile(t, v2)
		binding := w.binding(t, "web-horizontalpodautoscaler")
		if binding.Spec.Resource.APIVersion != "autoscaling/v2" || binding.Annotations[workv1alpha1.PropagationPolicyNameAnnotation] != "second" {
			t.Errorf("the binding is for %s and claimed by %v", binding.Spec.Resource.APIVersion, binding.Annotations)
		}
	})
}

// putScaler puts one object as it is seen in the two versions of its kind.
func (w *world) putScaler(uid string, labels, annotations map[string]string) {
	for _, kind := range []schema.GroupVersionKind{scalersV1, scalersV2} {
		obj := template(kind, "shop", "web", uid)
		obj.SetLabels(labels)
		obj.SetAnnotations(annotations)
		w.templates.Put(obj)
	}
}

// look reconciles an object in one version of its kind, and lets the other show what that wrote into it.
func (w *world) look(t *testing.T, kind schema.GroupVersionKind) {
	t.Helper()
	key := templates.KeyOf(template(kind, "shop", "web", ""))
	w.reconcile(t, key)
	if seen, known := w.templates.Get(key); known {
		w.putScaler(string(seen.GetUID()), seen.GetLabels(), seen.GetAnnotations())
	}
}

func TestMarksThatAnObjectHasByOneVersionAreLeftAloneInTheOther(t *testing.T) {
	other := all(scalersV1)
	other.Name = "other"
	v2only := pp("second", nil, all(scalersV2))
	classless := pp("second", func(spec *policyv1alpha1.PropagationSpec) {
		spec.SchedulePriority = &policyv1alpha1.SchedulePriority{PriorityClassSource: policyv1alpha1.KubePriorityClass, PriorityClassName: "missing"}
	}, all(scalersV2))
	oldBindingStays := func(t *testing.T, w *world) {
		w.putScaler("u1", nil, nil)
		w.look(t, scalersV2)
		w.PropagationBindings.Change("shop", "web-horizontalpodautoscaler", func(b *workv1alpha1.PropagationBinding) {
			b.DeletionTimestamp = &metav1.Time{Time: storetest.Began}
		})
	}
	tests := []struct {
		reason        string
		first, second *policyv1alpha1.PropagationPolicy
		before        func(*testing.T, *world)
	}{
		{"nobody selects it there, and its old binding waits for an agent", pp("first", nil, other), v2only, oldBindingStays},
		{"nobody selects it there, and the class of its policy is not there", pp("first", nil, other), classless, func(*testing.T, *world) {}},
		{"somebody selects it there, and its old binding waits for an agent", pp("first", nil, all(scalersV1)), v2only, oldBindingStays},
		{"somebody selects it there, and the class of its policy is not there", pp("first", nil, all(scalersV1)), classless, func(*testing.T, *world) {}},
	}
	for _, test := range tests {
		t.Run(test.reason, func(t *testing.T) {
			w := newWorld(test.second)
			test.before(t, w)
			w.put(test.first)
			labels, annotations := policy.Marks(test.second)
			w.putScaler("u2", labels, annotations)
			w.PropagationBindings.Writes()
			w.templates.Writes()
			for range 3 {
				w.look(t, scalersV1)
				w.look(t, scalersV2)
			}
			if writes := append(w.PropagationBindings.Writes(), w.templates.Writes()...); len(writes) > 0 {
				t.Errorf("the two versions write in turn: %v", writes)
			}

			w.PropagationBindings.Drop("shop", "web-horizontalpodautoscaler")
			w.classes.Put("missing", 1)
			w.look(t, scalersV1)
			w.look(t, scalersV2)
			binding := w.binding(t, "web-horizontalpodautoscaler")
			if binding.Spec.Resource.UID != "u2" || binding.Annotations[workv1alpha1.PropagationPolicyNameAnnotation] != "second" {
				t.Errorf("the binding is for %s and claimed by %v", binding.Spec.Resource.UID, binding.Annotations)
			}
		})
	}
}

func TestAnObjectStaysWithThePolicyWhoseMarksItBearsWhileThatCanHaveIt(t *testing.T) {
	marked, other := pp("marked", nil, all(scalersV1)), pp("other", nil, all(scalersV2))
	unserved := func(w *world) { w.templates.Problems[scalersV1] = errors.New("not served") }
	tests := []struct {
		reason string
		change func(*testing.T, *world)
		// policy is who claims it after a look in the other version, and version what its binding is for.
		policy, version string
	}{
		{"its policy selects it, and another one does in the other version", func(_ *testing.T, w *world) { w.put(other) }, "marked", "autoscaling/v1"},
		{"the version in which its policy selects it is not served, and another policy takes it", func(_ *testing.T, w *world) {
			unserved(w)
			w.put(other)
		}, "other", "autoscaling/v2"},
		{"the version in which its policy selects it is not served, and nobody else wants it", func(_ *testing.T, w *world) { unserved(w) },
			"marked", "autoscaling/v1"},
		{"its policy selects it in the other version now, where it goes without being let go", func(t *testing.T, w *world) {
			w.put(pp("marked", nil, all(scalersV2)))
			w.look(t, scalersV1)
			if !store.Claimed(w.binding(t, "web-horizontalpodautoscaler")) {
				t.Error("its binding is released on the way")
			}
		}, "marked", "autoscaling/v2"},
		{"its policy is gone", func(t *testing.T, w *world) {
			w.remove(marked)
			w.look(t, scalersV1)
		}, "", "autoscaling/v1"},
	}
	for _, test := range tests {
		t.Run(test.reason, func(t *testing.T) {
			w := newWorld(marked)
			w.putScaler("u1", nil, nil)
			w.look(t, scalersV1)
			test.change(t, w)
			w.look(t, scalersV2)
			seen, _ := w.templates.Get(templates.KeyOf(template(scalersV2, "shop", "web", "")))
			binding := w.binding(t, "web-horizontalpodautoscaler")
			for what, object := range map[string]metav1.Object{"object": seen, "binding": binding} {
				if got := object.GetAnnotations()[workv1alpha1.PropagationPolicyNameAnnotation]; got != test.policy {
					t.Errorf("the %s is claimed by %q, want %q", what, got, test.policy)
				}
			}
			if got := binding.Spec.Resource.APIVersion; got != test.version {
				t.Errorf("its binding is for %s, want %s", got, test.version)
			}
		})
	}
}

func TestABindingGoesOnInAnotherVersionWhenItsOwnIsServedNoLonger(t *testing.T) {
	v1, v2 := templates.KeyOf(template(scalersV1, "shop", "web", "u1")), templates.KeyOf(template(scalersV2, "shop", "web", "u1"))
	both := pp("base", nil, all(scalersV1), all(scalersV2))
	labels, annotations := policy.Marks(both)
	bound := func(t *testing.T) *world {
		t.Helper()
		w := newWorld(both)
		w.putScaler("u1", labels, annotations)
		w.reconcile(t, v1)
		w.reconcile(t, v2)
		if got := w.binding(t, "web-horizontalpodautoscaler").Spec.Resource.APIVersion; got != "autoscaling/v1" {
			t.Fatalf("the binding is for %s", got)
		}
		w.keys(t)
		w.templates.Problems[scalersV1] = errors.New("not served")
		return w
	}

	t.Run("as the same binding, which keeps its works", func(t *testing.T) {
		w := bound(t)
		before := w.binding(t, "web-horizontalpodautoscaler")
		w.controller.kindChanged(w.woken, scalersV1)
		if !w.versions(t)[scalersV2] {
			t.Error("the other version is not woken, and what was edited meanwhile is told to nobody again")
		}
		w.reconcile(t, v2)
		after := w.binding(t, "web-horizontalpodautoscaler")
		if after.Spec.Resource.APIVersion != "autoscaling/v2" || after.DeletionTimestamp != nil {
			t.Errorf("the binding is for %s", after.Spec.Resource.APIVersion)
		}
		if after.UID != before.UID || after.Labels[workv1alpha1.BindingPermanentIDLabel] != before.Labels[workv1alpha1.BindingPermanentIDLabel] {
			t.Error("it is another binding")
		}
		if again := w.reconcile(t, v1).RequeueAfter; again > 0 {
			t.Errorf("the version that is not served is looked at after %s", again)
		}
	})

	t.Run("and an object that is made again gets its binding when the old one is gone", func(t *testing.T) {
		w := bound(t)
		w.putScaler("u2", labels, annotations)
		w.reconcile(t, v2)
		old := w.binding(t, "web-horizontalpodautoscaler")
		if old.DeletionTimestamp == nil {
			t.Fatal("the old binding is not being deleted")
		}
		w.PropagationBindings.Drop("shop", old.Name)
		if woken := w.controller.bindingChanged(old, nil); !slices.Contains(woken, v2) {
			t.Error("the end of the old binding does not wake the version that waits for it")
		}
	})
}

func TestNothingInAReservedNamespaceIsClaimed(t *testing.T) {
	w := newWorld(cpp("everything", all(deployments)))
	for _, namespace := range []string{"kube-system", "karmada-es-a", "windlass-system"} {
		obj := template(deployments, namespace, "web", "u1")
		w.templates.Put(obj)
		w.reconcile(t, templates.KeyOf(obj))
	}
	if writes := append(w.PropagationBindings.Writes(), w.templates.Writes()...); len(writes) > 0 {
		t.Errorf("written: %v", writes)
	}
}

func TestWhatTheHubMadeForItselfIsNeitherMarkedNorBound(t *testing.T) {
	roles := cpp("roles", all(clusterRoles))
	w := newWorld(roles)
	own := template(clusterRoles, "", "cluster-admin", "u1")
	own.SetLabels(map[string]string{"kubernetes.io/bootstrapping": "rbac-defaults"})
	w.templates.Put(own)
	w.reconcile(t, templates.KeyOf(own))
	if writes := append(w.ClusterPropagationBindings.Writes(), w.templates.Writes()...); len(writes) > 0 {
		t.Errorf("written: %v", writes)
	}

	// One that a former version of the hub has claimed is let go.
	marks, annotations := policy.Marks(roles)
	marks["kubernetes.io/bootstrapping"] = "rbac-defaults"
	own.SetLabels(marks)
	own.SetAnnotations(annotations)
	w.templates.Put(own)
	w.reconcile(t, templates.KeyOf(own))
	if writes := w.templates.Writes(); len(writes) != 1 {
		t.Errorf("written: %v, want one write that takes the marks off", writes)
	}
}

func TestAClusterPropagationPolicyClaimsATemplateOfClusterScope(t *testing.T) {
	w := newWorld(cpp("roles", all(clusterRoles)))
	role := template(clusterRoles, "", "view", "u1")
	w.templates.Put(role)
	w.reconcile(t, templates.KeyOf(role))
	binding, ok := w.ClusterPropagationBindings.Get("", "view-clusterrole")
	if !ok {
		t.Fatal("there is no binding")
	}
	if binding.Labels[workv1alpha1.ClusterBindingPermanentIDLabel] == "" || binding.Labels[workv1alpha1.BindingPermanentIDLabel] != "" {
		t.Errorf("its labels are %v", binding.Labels)
	}
	if diff := cmp.Diff([]string{workv1alpha1.ClusterBindingFinalizer}, binding.Finalizers); diff != "" {
		t.Errorf("its finalizers (-want +got):\n%s", diff)
	}
	if got := binding.Annotations[workv1alpha1.ClusterPropagationPolicyNameAnnotation]; got != "roles" {
		t.Errorf("it is claimed by %q", got)
	}
	if binding.Spec.Replicas != nil {
		t.Errorf("a role has %d replicas", *binding.Spec.Replicas)
	}

	w.templates.Delete(templates.KeyOf(role))
	w.reconcile(t, templates.KeyOf(role))
	if binding, _ := w.ClusterPropagationBindings.Get("", "view-clusterrole"); binding.DeletionTimestamp == nil {
		t.Error("the binding outlives its template")
	}
}

func TestAWriteThatComesTooLateIsTriedAgainQuietly(t *testing.T) {
	tests := []struct {
		reason  string
		prepare func(w *world)
	}{
		{"the cache was behind", func(w *world) {
			w.PropagationBindings.Hold()
			w.PropagationBindings.Change("shop", "web-deployment", func(b *workv1alpha1.PropagationBinding) { b.Spec.Clusters = []workv1alpha1.TargetCluster{{Name: "a"}} })
		}},
		{"the store says that it is too late", func(w *world) {
			w.PropagationBindings.Refuse = func(string, *workv1alpha1.PropagationBinding) error {
				return apierrors.NewConflict(schema.GroupResource{}, "web-deployment", errors.New("changed"))
			}
		}},
	}
	for _, test := range tests {
		t.Run(test.reason, func(t *testing.T) {
			w := newWorld(pp("base", nil, all(deployments)))
			web := template(deployments, "shop", "web", "u1")
			w.templates.Put(web)
			w.reconcile(t, templates.KeyOf(web))
			test.prepare(w)
			web.Object["spec"] = map[string]any{"replicas": int64(7)}
			w.templates.Put(web)
			if result := w.reconcile(t, templates.KeyOf(web)); result.RequeueAfter <= 0 {
				t.Error("nobody looks at it again")
			}
			w.PropagationBindings.Refuse = nil
			w.PropagationBindings.Release()
			w.reconcile(t, templates.KeyOf(web))
			if got := w.binding(t, "web-deployment").Spec.Replicas; got == nil || *got != 7 {
				t.Errorf("the binding has %v replicas, want 7", got)
			}
		})
	}
}

func TestABindingThatTheCacheDoesNotShowYetIsNoError(t *testing.T) {
	w := newWorld(pp("base", nil, all(deployments)))
	web := template(deployments, "shop", "web", "u1")
	w.templates.Put(web)
	w.PropagationBindings.Hold()
	w.reconcile(t, templates.KeyOf(web))
	w.reconcile(t, templates.KeyOf(web))
	if bindings := w.PropagationBindings.List(); len(bindings) != 1 {
		t.Errorf("there are %d bindings", len(bindings))
	}
}

func TestTheKindsOfPoliciesAndBindingsAreWatched(t *testing.T) {
	w := newWorld(pp("base", nil, all(deployments)))
	web := template(deployments, "shop", "web", "u1")
	w.templates.Put(web)
	w.reconcile(t, templates.KeyOf(web))
	w.controller.bindingChanged(nil, w.binding(t, "web-deployment"))
	if diff := cmp.Diff([]schema.GroupVersionKind{deployments}, w.templates.Wanted("policies")); diff != "" {
		t.Errorf("wanted by policies (-want +got):\n%s", diff)
	}
	w.remove(pp("base", nil))
	if kinds := w.templates.Wanted("policies"); len(kinds) > 0 {
		t.Errorf("without a policy, still wanted: %v", kinds)
	}
	if diff := cmp.Diff([]schema.GroupVersionKind{deployments}, w.templates.Wanted("bindings")); diff != "" {
		t.Errorf("a binding keeps its kind watched (-want +got):\n%s", diff)
	}
}

// interrupted are watches that, while they are told for the first time which kinds are wanted, have something else happen.
type interrupted struct {
	*storetest.Templates
	meanwhile func()
	over      chan struct{}
}

func (i *interrupted) Want(who string, kinds []schema.GroupVersionKind) {
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
	i.Templates.Want(who, kinds)
}

func TestNoOlderSetOfKindsIsToldAfterANewerOne(t *testing.T) {
	w := newWorld()
	watches := &interrupted{Templates: w.templates, over: make(chan struct{})}
	w.controller.Templates = watches
	watches.meanwhile = func() { w.put(cpp("roles", all(clusterRoles))) }
	w.put(pp("base", nil, all(deployments)))
	<-watches.over
	if diff := cmp.Diff([]schema.GroupVersionKind{deployments, clusterRoles}, w.templates.Wanted("policies")); diff != "" {
		t.Errorf("wanted after two policies at a time (-want +got):\n%s", diff)
	}
}

// counted counts how often all bindings are looked through.
type counted struct {
	store.Face[workv1alpha1.Binding]
	lists int
}

func (c *counted) List() []workv1alpha1.Binding {
	c.lists++
	return c.Face.List()
}

func TestAKindIsWatchedUntilItsLastBindingIsGoneAndNoBindingIsLookedForThen(t *testing.T) {
	w := newWorld(pp("base", nil, all(deployments), all(otherApps)))
	all := &counted{Face: w.controller.Bindings.Namespaced}
	w.controller.Bindings.Namespaced = all
	bindings := map[string]workv1alpha1.Binding{}
	for _, of := range []*unstructured.Unstructured{
		template(deployments, "shop", "web", "u1"), template(deployments, "shop", "api", "u2"), template(otherApps, "shop", "other", "u3"),
	} {
		w.templates.Put(of)
		w.reconcile(t, templates.KeyOf(of))
		bindings[of.GetName()] = w.binding(t, of.GetName()+"-deployment")
	}
	for _, step := range []struct {
		reason   string
		old, new workv1alpha1.Binding
		want     []schema.GroupVersionKind
	}{
		{"the first of a kind", nil, bindings["web"], []schema.GroupVersionKind{deployments}},
		{"another of it", nil, bindings["api"], []schema.GroupVersionKind{deployments}},
		{"one of another kind", nil, bindings["other"], []schema.GroupVersionKind{deployments, otherApps}},
		{"a change", bindings["web"], bindings["web"], []schema.GroupVersionKind{deployments, otherApps}},
		{"the end of one of two", bindings["web"], nil, []schema.GroupVersionKind{deployments, otherApps}},
		{"the template's kind is another", bindings["api"], bindings["other"], []schema.GroupVersionKind{otherApps}},
		{"one of two again", bindings["other"], nil, []schema.GroupVersionKind{otherApps}},
		{"the end of the last", bindings["other"], nil, nil},
	} {
		w.controller.bindingChanged(step.old, step.new)
		if diff := cmp.Diff(step.want, w.templates.Wanted("bindings"), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s: wanted (-want +got):\n%s", step.reason, diff)
		}
	}
	if all.lists > 0 {
		t.Errorf("all bindings were looked through %d times", all.lists)
	}
}

func TestWhatAPolicyChangeWakes(t *testing.T) {
	api := all(deployments)
	api.Name = "api"
	tests := []struct {
		reason string
		change func(w *world)
		want   map[string]bool
	}{
		{"a new policy wakes what it selects", func(w *world) { w.put(pp("other", nil, api)) }, map[string]bool{"Deployment shop/api": true}},
		{"its status wakes nothing", func(w *world) {
			p, _ := w.PropagationPolicies.Get("shop", "base")
			p = p.DeepCopy()
			p.Status.ObservedGeneration = 7
			w.put(p)
		}, map[string]bool{}},
		{"a narrower selector wakes what it no longer selects, too", func(w *world) { w.put(pp("base", nil, api)) },
			map[string]bool{"Deployment shop/api": true, "Deployment shop/web": true}},
		{"its end wakes what it claimed", func(w *world) { w.remove(pp("base", nil)) },
			map[string]bool{"Deployment shop/api": true, "Deployment shop/web": true}},
	}
	for _, test := range tests {
		t.Run(test.reason, func(t *testing.T) {
			w := newWorld(pp("base", nil, all(deployments)))
			for _, name := range []string{"api", "web"} {
				w.templates.Put(template(deployments, "shop", name, "u-"+name))
			}
			w.templates.Put(template(deployments, "elsewhere", "web", "u3"))
			w.keys(t)
			test.change(w)
			if diff := cmp.Diff(test.want, w.keys(t)); diff != "" {
				t.Errorf("woken (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAPolicyHasNoEffectUntilTheOverridesThatItDependsOnExist(t *testing.T) {
	waits := func(spec *policyv1alpha1.PropagationSpec) { spec.DependentOverrides = []string{"registry"} }
	w := newWorld(pp("base", waits, all(deployments)))
	web := template(deployments, "shop", "web", "u1")
	w.templates.Put(web)
	w.ClusterOverridePolicies.Put(&policyv1alpha1.ClusterOverridePolicy{ObjectMeta: metav1.ObjectMeta{Name: "registry"}})
	w.OverridePolicies.Put(&policyv1alpha1.OverridePolicy{ObjectMeta: metav1.ObjectMeta{Namespace: "elsewhere", Name: "registry"}})
	w.reconcile(t, templates.KeyOf(web))
	if writes := append(w.PropagationBindings.Writes(), w.templates.Writes()...); len(writes) > 0 {
		t.Fatalf("with overrides of the name elsewhere it writes %v", writes)
	}

	registry := w.OverridePolicies.Put(&policyv1alpha1.OverridePolicy{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "registry"}})
	if diff := cmp.Diff([]templates.Key{templates.KeyOf(web)}, w.controller.overrideChanged(nil, registry)); diff != "" {
		t.Errorf("its override wakes (-want +got):\n%s", diff)
	}
	w.reconcile(t, templates.KeyOf(web))
	w.binding(t, "web-deployment")
	w.PropagationBindings.Writes()

	t.Run("and a binding that is there stays as it is when one goes", func(t *testing.T) {
		w.OverridePolicies.Drop("shop", "registry")
		w.put(pp("base", func(spec *policyv1alpha1.PropagationSpec) {
			waits(spec)
			spec.ConflictResolution = policyv1alpha1.ConflictOverwrite
		}, all(deployments)))
		w.reconcile(t, templates.KeyOf(web))
		if writes := w.PropagationBindings.Writes(); len(writes) > 0 {
			t.Errorf("it writes %v", writes)
		}
	})
	t.Run("and a policy that is gone is not waited for in its place", func(t *testing.T) {
		w.put(pp("next", waits, all(deployments)))
		w.remove(pp("base", nil, all(deployments)))
		w.reconcile(t, templates.KeyOf(web))
		if id := w.binding(t, "web-deployment").Labels[workv1alpha1.PropagationPolicyPermanentIDLabel]; id != "" {
			t.Errorf("the binding is claimed by %s", id)
		}
	})
}

func TestAPolicyThatWaitsForOverridesTakesNothingFromAnother(t *testing.T) {
	w := newWorld(pp("base", nil, all(deployments)))
	web := template(deployments, "shop", "web", "u1")
	w.templates.Put(web)
	w.reconcile(t, templates.KeyOf(web))
	named := all(deployments)
	named.Name = "web"
	w.put(pp("urgent", func(spec *policyv1alpha1.PropagationSpec) {
		spec.Priority, spec.Preemption, spec.DependentOverrides = ptr.To[int32](10), policyv1alpha1.PreemptAlways, []string{"registry"}
	}, named))
	w.reconcile(t, templates.KeyOf(web))
	if policy := w.binding(t, "web-deployment").Annotations[workv1alpha1.PropagationPolicyNameAnnotation]; policy != "base" {
		t.Errorf("while it waits, the binding is that of %q", policy)
	}
	w.OverridePolicies.Put(&policyv1alpha1.OverridePolicy{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "registry"}})
	w.reconcile(t, templates.KeyOf(web))
	if policy := w.binding(t, "web-deployment").Annotations[workv1alpha1.PropagationPolicyNameAnnotation]; policy != "urgent" {
		t.Errorf("when its override is there, the binding is that of %q", policy)
	}
}

func TestAClusterPropagationPolicyDependsOnClusterOverridePolicies(t *testing.T) {
	p := cpp("base", all(deployments))
	p.Spec.DependentOverrides = []string{"registry"}
	w := newWorld(p)
	web := template(deployments, "shop", "web", "u1")
	w.templates.Put(web)
	w.OverridePolicies.Put(&policyv1alpha1.OverridePolicy{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "registry"}})
	w.reconcile(t, templates.KeyOf(web))
	if writes := w.PropagationBindings.Writes(); len(writes) > 0 {
		t.Fatalf("it writes %v", writes)
	}
	registry := w.ClusterOverridePolicies.Put(&policyv1alpha1.ClusterOverridePolicy{ObjectMeta: metav1.ObjectMeta{Name: "registry"}})
	if keys := w.controller.overrideChanged(nil, registry); len(keys) != 1 {
		t.Errorf("its override wakes %v", keys)
	}
	w.reconcile(t, templates.KeyOf(web))
	w.binding(t, "web-deployment")
}

func TestAPolicyThatIsBeingDeletedGoesWhenItClaimsNothing(t *testing.T) {
	w := newWorld(pp("base", nil, all(deployments)))
	web := template(deployments, "shop", "web", "u1")
	w.templates.Put(web)
	w.reconcile(t, templates.KeyOf(web))
	release := func() {
		t.Helper()
		if _, err := w.releaser.Reconcile(t.Context(), types.NamespacedName{Namespace: "shop", Name: "base"}); err != nil {
			t.Fatal(err)
		}
	}
	there := func() bool { _, ok := w.PropagationPolicies.Get("shop", "base"); return ok }

	release()
	leaving := pp("base", nil, all(deployments))
	leaving.DeletionTimestamp = &metav1.Time{Time: storetest.Began}
	w.put(leaving)
	release()
	if !there() {
		t.Fatal("it went while it claimed a binding")
	}
	claimed := w.binding(t, "web-deployment")
	w.reconcile(t, templates.KeyOf(web))
	if diff := cmp.Diff([]types.NamespacedName{{Namespace: "shop", Name: "base"}}, claimGone(claimed, w.binding(t, "web-deployment"))); diff != "" {
		t.Errorf("what the release of its last binding wakes (-want +got):\n%s", diff)
	}
	release()
	if there() {
		t.Error("it stays although it claims nothing")
	}
}

func TestAPolicyDoesNotWaitForWhatMayNeverBeReleased(t *testing.T) {
	tests := []struct {
		reason string
		change func(w *world)
		stays  bool
	}{
		{"it claims a binding", func(*world) {}, true},
		{"its binding waits for an agent", func(w *world) {
			w.PropagationBindings.Change("shop", "web-deployment", func(b *workv1alpha1.PropagationBinding) {
				b.DeletionTimestamp = &metav1.Time{Time: storetest.Began}
			})
		}, false},
		{"the kind of its template is not served", func(w *world) { w.templates.Problems[deployments] = errors.New("not served") }, false},
		{"a policy that was copied with its labels has claimed the binding", func(w *world) {
			w.PropagationBindings.Change("shop", "web-deployment", func(b *workv1alpha1.PropagationBinding) {
				b.Annotations[workv1alpha1.PropagationPolicyNameAnnotation] = "copy"
			})
		}, false},
	}
	for _, test := range tests {
		t.Run(test.reason, func(t *testing.T) {
			w := newWorld(pp("base", nil, all(deployments)))
			web := template(deployments, "shop", "web", "u1")
			w.templates.Put(web)
			w.reconcile(t, templates.KeyOf(web))
			test.change(w)
			w.PropagationPolicies.Change("shop", "base", func(p *policyv1alpha1.PropagationPolicy) { p.DeletionTimestamp = &metav1.Time{Time: storetest.Began} })
			if _, err := w.releaser.Reconcile(t.Context(), types.NamespacedName{Namespace: "shop", Name: "base"}); err != nil {
				t.Fatal(err)
			}
			if _, ok := w.PropagationPolicies.Get("shop", "base"); ok != test.stays {
				t.Errorf("it is still there: %t, want %t", ok, test.stays)
			}
		})
	}
}

func TestATemplateWhoseDeletionDoesNotEndHoldsUpNoPolicy(t *testing.T) {
	next := pp("next", nil, all(deployments))
	tests := []struct {
		reason   string
		change   func(w *world, ending *policyv1alpha1.PropagationPolicy)
		released bool
	}{
		{"its policy stands", func(*world, *policyv1alpha1.PropagationPolicy) {}, false},
		{"its policy stands, and a better one comes", func(w *world, _ *policyv1alpha1.PropagationPolicy) { w.put(next) }, false},
		{"its policy is being deleted", func(w *world, ending *policyv1alpha1.PropagationPolicy) { w.put(ending) }, true},
		{"its policy is being deleted, and another selects it", func(w *world, ending *policyv1alpha1.PropagationPolicy) {
			w.put(next)
			w.put(ending)
		}, true},
		{"its policy is gone", func(w *world, ending *policyv1alpha1.PropagationPolicy) { w.remove(ending) }, true},
	}
	for _, test := range tests {
		t.Run(test.reason, func(t *testing.T) {
			w := newWorld(pp("base", nil, all(deployments)))
			web := template(deployments, "shop", "web", "u1")
			key := templates.KeyOf(web)
			w.templates.Put(web)
			w.reconcile(t, key)
			before := w.binding(t, "web-deployment")
			seen, _ := w.templates.Get(key)
			leaving := seen.DeepCopy()
			leaving.SetDeletionTimestamp(&metav1.Time{Time: storetest.Began})
			w.templates.Put(leaving)

			ending := pp("base", nil, all(deployments))
			ending.DeletionTimestamp = &metav1.Time{Time: storetest.Began}
			test.change(w, ending)
			w.reconcile(t, key)
			w.reconcile(t, key)
			after := w.binding(t, "web-deployment")
			if released := !store.Claimed(after); released != test.released {
				t.Errorf("its binding is released: %t, want %t", released, test.released)
			}
			left, _ := w.templates.Get(key)
			if claim := policy.ClaimOf(left.GetLabels(), left.GetAnnotations()); claim.Empty() != test.released {
				t.Errorf("it bears the marks %+v", claim)
			}
			if after.DeletionTimestamp != nil || cmp.Diff(before.Spec, after.Spec) != "" {
				t.Errorf("what the members have changes before it is gone:\n%s", cmp.Diff(before.Spec, after.Spec))
			}
			if _, err := w.releaser.Reconcile(t.Context(), store.Key(ending)); err != nil {
				t.Fatal(err)
			}
			if stored, ok := w.PropagationPolicies.Get("shop", "base"); ok && stored.DeletionTimestamp != nil {
				t.Error("the policy that is being deleted waits for it")
			}
		})
	}
}

func TestMarksAreNeverPutOnAnotherObjectOfTheName(t *testing.T) {
	w := newWorld(pp("base", nil, all(deployments)))
	web := template(deployments, "shop", "web", "u1")
	w.templates.Put(web)
	w.reconcile(t, templates.KeyOf(web))
	if patches := w.templates.Writes(); len(patches) != 1 || !strings.Contains(patches[0], `"uid":"u1"`) {
		t.Errorf("the patch does not name the UID: %v", patches)
	}
}

func TestAnObjectThatIsBeingCreatedGetsItsMarksAtOnce(t *testing.T) {
	all := policyv1alpha1.ResourceSelector{APIVersion: "apps/v1", Kind: "Deployment"}
	waiting := func(spec *policyv1alpha1.PropagationSpec) { spec.DependentOverrides = []string{"missing"} }
	plain := template(deployments, "shop", "web", "")
	copied := template(deployments, "shop", "web", "")
	copied.SetLabels(map[string]string{workv1alpha1.PropagationPolicyPermanentIDLabel: "id-of-another"})
	ofMine := map[string]string{workv1alpha1.PropagationPolicyPermanentIDLabel: "id-mine"}
	tests := []struct {
		reason string
		policy policyv1alpha1.Policy
		object *unstructured.Unstructured
		kind   schema.GroupVersionKind
		want   map[string]string
	}{
		{"a policy selects it", pp("mine", nil, all), plain, deployments, ofMine},
		{"a cluster policy selects it", cpp("mine", all), plain, deployments, map[string]string{workv1alpha1.ClusterPropagationPolicyPermanentIDLabel: "id-mine"}},
		{"another kind of the name", pp("mine", nil, all), plain, otherApps, nil},
		{"the policy waits for an override policy", pp("mine", waiting, all), plain, deployments, nil},
		{"it bears the marks of another policy", pp("mine", nil, all), copied, deployments, nil},
	}
	for _, test := range tests {
		t.Run(test.reason, func(t *testing.T) {
			w := newWorld(test.policy)
			labels, annotations := w.controller.Claim(test.object, test.kind)
			if diff := cmp.Diff(test.want, labels); diff != "" {
				t.Errorf("labels (-want +got):\n%s", diff)
			}
			if (len(annotations) > 0) != (len(test.want) > 0) {
				t.Errorf("annotations: %v", annotations)
			}
		})
	}

	t.Run("and Reconcile then writes the binding and nothing else", func(t *testing.T) {
		w := newWorld(pp("mine", nil, all))
		created := template(deployments, "shop", "web", "uid-web")
		labels, annotations := w.controller.Claim(created, deployments)
		created.SetLabels(labels)
		created.SetAnnotations(annotations)
		w.templates.Put(created)
		w.reconcile(t, templates.KeyOf(created))
		w.binding(t, "web-deployment")
		if writes := w.templates.Writes(); len(writes) != 0 {
			t.Errorf("the template was written: %v", writes)
		}
	})
}
