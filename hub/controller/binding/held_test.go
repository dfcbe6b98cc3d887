package binding

import (
	"maps"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/ptr"

	policyv1alpha1 "windlass.dev/windlass/api/policy/v1alpha1"
	workv1alpha1 "windlass.dev/windlass/api/work/v1alpha1"
	"windlass.dev/windlass/hub/store"
	"windlass.dev/windlass/hub/store/storetest"
	"windlass.dev/windlass/pkg/policy"
	"windlass.dev/windlass/pkg/render"
)

// says makes the policy of a name say something else, or makes it, with a generation as the store gives it.
func (w *world) says(name string, change func(*policyv1alpha1.PropagationPolicy)) *policyv1alpha1.PropagationPolicy {
	p, there := w.PropagationPolicies.Get("shop", name)
	if !there {
		p = &policyv1alpha1.PropagationPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name,
			Labels: map[string]string{workv1alpha1.PropagationPolicyPermanentIDLabel: "id of " + name}}}
	}
	p.Generation++
	change(p)
	return w.PropagationPolicies.Put(p)
}

// claims has a policy claim the binding, or none.
func (w *world) claims(p *policyv1alpha1.PropagationPolicy) {
	w.change(func(b *workv1alpha1.PropagationBinding) {
		labels, annotations := policy.MarkKeys()
		for _, key := range labels {
			delete(b.Labels, key)
		}
		for _, key := range annotations {
			delete(b.Annotations, key)
		}
		if p == nil {
			return
		}
		marks, names := policy.Marks(p)
		maps.Copy(b.Labels, marks)
		if b.Annotations == nil {
			b.Annotations = map[string]string{}
		}
		maps.Copy(b.Annotations, names)
	})
}

// knows writes into the binding that the policy controller has looked at a Lazy policy for the template as it is, and nothing else.
func (w *world) knows(t *testing.T) {
	t.Helper()
	template, _ := w.templates.Get(settings)
	content, err := render.TemplateHash(template)
	if err != nil {
		t.Fatal(err)
	}
	w.change(func(b *workv1alpha1.PropagationBinding) {
		b.Annotations[workv1alpha1.ActivatedTemplateAnnotation] = content
	})
}

// watch has a queue of the keys that events wake from now on.
func (w *world) watch(t *testing.T) workqueue.TypedRateLimitingInterface[types.NamespacedName] {
	t.Helper()
	queue := workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[types.NamespacedName]())
	t.Cleanup(queue.ShutDown)
	for _, source := range append(store.Sources(w.controller.Bindings.Scoped, bindingChanged), append(store.Sources(w.controller.Policies, w.controller.policyChanged),
		store.Sources(w.controller.Overrides, w.controller.overrideChanged)...)...) {
		if err := source.Start(t.Context(), queue); err != nil {
			t.Fatal(err)
		}
	}
	return queue
}

func TestABindingThatIsHeldIsWokenWhenThatIsOver(t *testing.T) {
	paused := policyv1alpha1.Suspension{DispatchingOnClusters: &policyv1alpha1.SuspendClusters{ClusterNames: []string{"b"}}}
	pauses := func(p *policyv1alpha1.PropagationPolicy) { p.Spec.Suspension = &paused }
	silent := func(p *policyv1alpha1.PropagationPolicy) { p.Spec = policyv1alpha1.PropagationSpec{} }
	becomesLazy := func(p *policyv1alpha1.PropagationPolicy) {
		p.Spec.ActivationPreference, p.Spec.PreserveResourcesOnDeletion = policyv1alpha1.LazyActivation, ptr.To(true)
	}
	ends := func(p *policyv1alpha1.PropagationPolicy) { p.DeletionTimestamp = &metav1.Time{Time: storetest.Began} }
	nothing := func(*policyv1alpha1.PropagationPolicy) {}
	const keeps, goesOut = "a blue", "a red"
	for _, test := range []struct {
		reason string
		policy func(*policyv1alpha1.PropagationPolicy) // what it says next, that the binding does not know
		over   func(*testing.T, *world)
		want   string
	}{
		{"a policy that became Lazy does not take effect, which is an annotation and no more", becomesLazy, func(t *testing.T, w *world) { w.knows(t) }, goesOut},
		{"a policy that became Lazy takes back the rest", becomesLazy, func(_ *testing.T, w *world) {
			w.says("p", func(p *policyv1alpha1.PropagationPolicy) { p.Spec.PreserveResourcesOnDeletion = nil })
		}, goesOut},
		{"a policy that became Lazy takes back all", becomesLazy, func(_ *testing.T, w *world) { w.says("p", silent) }, goesOut},
		{"another policy claims what a Lazy one did", becomesLazy, func(_ *testing.T, w *world) { w.claims(w.says("other", nothing)) }, goesOut},
		{"a pause is taken back before the binding knows of it", pauses, func(_ *testing.T, w *world) { w.says("p", silent) }, goesOut},
		{"the binding knows of the pause", pauses, func(_ *testing.T, w *world) {
			w.change(func(b *workv1alpha1.PropagationBinding) {
				b.Spec.Suspension = &workv1alpha1.BindingSuspension{Suspension: paused}
				b.Generation++
				b.Status.SchedulerObservedGeneration = b.Generation
			})
		}, goesOut},
		{"another policy claims what a pausing one did", pauses, func(_ *testing.T, w *world) { w.claims(w.says("other", nothing)) }, goesOut},
		{"a policy that ends has let go of it", ends, func(_ *testing.T, w *world) { w.claims(nil) }, keeps},
		{"another policy claims what one that ends did", ends, func(_ *testing.T, w *world) { w.claims(w.says("other", nothing)) }, goesOut},
		{"a policy that ends was made to go before it let go of it", ends, func(_ *testing.T, w *world) { w.PropagationPolicies.Drop("shop", "p") }, goesOut},
	} {
		t.Run(test.reason, func(t *testing.T) {
			w := newWorld(t)
			w.place("a")
			w.change(func(b *workv1alpha1.PropagationBinding) { b.Spec.Placement = &policyv1alpha1.Placement{} })
			w.claims(w.says("p", nothing))
			w.reconcile(t)
			queue := w.watch(t)
			w.says("p", test.policy)
			w.override(t, "red", redInA)
			w.reconcile(t)
			if got := w.colours("a"); got != keeps {
				t.Fatalf("before anybody knows what the policy's word means for it: %s", got)
			}
			for queue.Len() > 0 { // what has come so far is done
				key, _ := queue.Get()
				queue.Done(key)
			}

			test.over(t, w)
			if queue.Len() == 0 {
				t.Fatal("nobody wakes it")
			}
			w.reconcile(t)
			if got := w.colours("a"); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}

func TestABindingIsWokenWhenItsPolicyPausesAndIsLazyAgainBeforeAnybodyLooks(t *testing.T) {
	w := newWorld(t)
	w.place("a")
	lazy := func(p *policyv1alpha1.PropagationPolicy) { p.Spec.ActivationPreference = policyv1alpha1.LazyActivation }
	w.claims(w.says("p", lazy))
	w.knows(t)
	w.reconcile(t)
	pausing := w.says("p", func(p *policyv1alpha1.PropagationPolicy) {
		p.Spec = policyv1alpha1.PropagationSpec{Suspension: &policyv1alpha1.Suspension{Dispatching: ptr.To(true)}}
	})
	w.override(t, "red", redInA)
	w.reconcile(t)
	if got := w.colours("a"); got != "a blue" {
		t.Fatalf("past the pause comes %s", got)
	}
	if len(w.controller.policyChanged(pausing, w.says("p", lazy))) == 0 {
		t.Error("nobody wakes it")
	}
	w.reconcile(t)
	if got := w.colours("a"); got != "a red" {
		t.Errorf("got %s", got)
	}
}

func TestAChangeOfItsPolicyWakesABindingOnlyWhenNobodyWritesTheBindingForIt(t *testing.T) {
	w := newWorld(t)
	w.place("a")
	p := w.says("p", func(*policyv1alpha1.PropagationPolicy) {})
	w.claims(p)
	for _, test := range []struct {
		reason string
		change func(*policyv1alpha1.PropagationPolicy)
	}{
		{"its status", func(p *policyv1alpha1.PropagationPolicy) { p.Generation-- }},
		{"a Lazy word", func(p *policyv1alpha1.PropagationPolicy) {
			p.Spec.ActivationPreference, p.Spec.PreserveResourcesOnDeletion = policyv1alpha1.LazyActivation, ptr.To(true)
		}},
		{"another Lazy word", func(p *policyv1alpha1.PropagationPolicy) {
			p.Spec.ConflictResolution = policyv1alpha1.ConflictOverwrite
		}},
		{"a pause", func(p *policyv1alpha1.PropagationPolicy) {
			p.Spec = policyv1alpha1.PropagationSpec{Suspension: &policyv1alpha1.Suspension{Dispatching: ptr.To(true)}}
		}},
		{"another pause", func(p *policyv1alpha1.PropagationPolicy) {
			p.Spec.Suspension = &policyv1alpha1.Suspension{DispatchingOnClusters: &policyv1alpha1.SuspendClusters{ClusterNames: []string{"a"}}}
		}},
		{"its end", func(p *policyv1alpha1.PropagationPolicy) { p.DeletionTimestamp = &metav1.Time{Time: storetest.Began} }},
	} {
		next := w.says("p", test.change)
		if woken := w.controller.policyChanged(p, next); len(woken) > 0 {
			t.Errorf("%s wakes it", test.reason)
		}
		p = next
	}
}

// What is missing is told, whatever else of the policy or of the template the binding does not know yet.
func TestABindingSaysThatAnOverrideIsMissingAlsoWhileOthersHaveNotWrittenIt(t *testing.T) {
	for _, test := range []struct {
		reason string
		change func(*world)
	}{
		{"the policy became Lazy with it, and something else", func(w *world) {
			w.says("p", func(p *policyv1alpha1.PropagationPolicy) {
				p.Spec.ActivationPreference, p.Spec.PreserveResourcesOnDeletion = policyv1alpha1.LazyActivation, ptr.To(true)
			})
		}},
		{"the policy pauses with it", func(w *world) {
			w.says("p", func(p *policyv1alpha1.PropagationPolicy) {
				p.Spec.Suspension = &policyv1alpha1.Suspension{Dispatching: ptr.To(true)}
			})
		}},
		{"the template was scaled", func(w *world) { w.scale(6) }},
	} {
		t.Run(test.reason, func(t *testing.T) {
			w := newWorld(t)
			w.placeReplicas()
			w.claims(w.says("p", func(p *policyv1alpha1.PropagationPolicy) {}))
			w.reconcile(t)
			w.PropagationWorks.Writes()
			w.says("p", func(p *policyv1alpha1.PropagationPolicy) { p.Spec.DependentOverrides = []string{"red"} })
			test.change(w)
			w.reconcile(t)
			w.wrote(t)
			if condition := w.rendered(); condition == nil || condition.Reason != "OverrideMissing" {
				t.Errorf("the condition is %+v", condition)
			}
		})
	}
}

// A template that is being deleted is left alone by those who write bindings.
func TestNothingIsHeldForALazyPolicyOfATemplateThatIsBeingDeleted(t *testing.T) {
	w := newWorld(t)
	w.place("a")
	w.claims(w.says("p", func(p *policyv1alpha1.PropagationPolicy) {
		p.Spec.ActivationPreference, p.Spec.PreserveResourcesOnDeletion = policyv1alpha1.LazyActivation, ptr.To(true)
	}))
	w.reconcile(t)
	w.wrote(t)
	leaving := configMap("u1", "blue")
	leaving.SetDeletionTimestamp(&metav1.Time{Time: storetest.Began})
	w.templates.Put(leaving)
	w.reconcile(t)
	w.wrote(t, "create karmada-es-a")
}
