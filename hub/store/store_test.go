package store_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"

	workv1alpha1 "windlass.dev/windlass/api/work/v1alpha1"
	"windlass.dev/windlass/hub/store"
	"windlass.dev/windlass/hub/store/storetest"
)

func binding(namespace, name, policy string) *workv1alpha1.PropagationBinding {
	return &workv1alpha1.PropagationBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Finalizers: []string{workv1alpha1.BindingFinalizer},
			Labels: map[string]string{workv1alpha1.PropagationPolicyPermanentIDLabel: policy}},
		Spec: workv1alpha1.BindingSpec{Resource: workv1alpha1.ObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Namespace: namespace, Name: name}},
	}
}

func clusterBinding(name, policy string) *workv1alpha1.ClusterPropagationBinding {
	return &workv1alpha1.ClusterPropagationBinding{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{workv1alpha1.ClusterPropagationPolicyPermanentIDLabel: policy}},
		Spec:       workv1alpha1.BindingSpec{Resource: workv1alpha1.ObjectReference{APIVersion: "rbac.authorization.k8s.io/v1", Kind: "ClusterRole", Name: name}},
	}
}

func names[T store.Object](objects []T) []string {
	out := []string{}
	for _, object := range objects {
		out = append(out, store.Key(object).String())
	}
	slices.Sort(out)
	return out
}

func TestBothScopesAreSeenAsOne(t *testing.T) {
	s := storetest.New()
	s.PropagationBindings.Put(binding("shop", "web", "p"))
	s.PropagationBindings.Put(binding("shop", "api", "q"))
	s.ClusterPropagationBindings.Put(clusterBinding("view", "p"))
	bindings := s.Bindings()

	if diff := cmp.Diff([]string{"/view", "shop/api", "shop/web"}, names(bindings.List())); diff != "" {
		t.Errorf("all (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"/view", "shop/web"}, names(bindings.ByIndex(store.ByPolicy, "p"))); diff != "" {
		t.Errorf("of the policy p (-want +got):\n%s", diff)
	}
	view, ok := bindings.Get(types.NamespacedName{Name: "view"})
	if _, is := view.(*workv1alpha1.ClusterPropagationBinding); !ok || !is {
		t.Errorf("a key without a namespace gives a %T", view)
	}
	index := store.TemplateIndex(store.TemplateKey(view))
	if diff := cmp.Diff([]string{"/view"}, names(bindings.ByIndex(store.ByTemplate, index))); diff != "" {
		t.Errorf("of the template (-want +got):\n%s", diff)
	}
	if missing, ok := bindings.Get(types.NamespacedName{Namespace: "shop", Name: "view"}); ok || missing != nil {
		t.Errorf("a binding that is not there is %v", missing)
	}
}

func TestWorksAreFoundByBindingAndByCluster(t *testing.T) {
	s := storetest.New()
	put := func(cluster, name string, binding *workv1alpha1.BindingReference) {
		s.PropagationWorks.Put(&workv1alpha1.PropagationWork{
			ObjectMeta: metav1.ObjectMeta{Namespace: workv1alpha1.ExecutionNamespace(cluster), Name: name}, Spec: workv1alpha1.WorkSpec{Binding: binding}})
	}
	put("a", "web", &workv1alpha1.BindingReference{Namespace: "shop", Name: "web"})
	put("b", "web", &workv1alpha1.BindingReference{Namespace: "shop", Name: "web"})
	put("b", "view", &workv1alpha1.BindingReference{Name: "view"})
	put("b", "by-hand", nil)
	works := s.Works()
	for key, want := range map[types.NamespacedName][]string{
		{Namespace: "shop", Name: "web"}: {"karmada-es-a/web", "karmada-es-b/web"},
		{Name: "view"}:                   {"karmada-es-b/view"},
		{Name: "web"}:                    {},
	} {
		if diff := cmp.Diff(want, names(works.ByIndex(store.ByBinding, store.BindingIndex(key)))); diff != "" {
			t.Errorf("of %s (-want +got):\n%s", key, diff)
		}
	}
}

func TestAConflictIsTriedAgainQuietlyAndAllElseIsAnError(t *testing.T) {
	conflict := apierrors.NewConflict(schema.GroupResource{}, "x", errors.New("changed"))
	other := errors.New("disk full")
	tests := []struct {
		reason string
		given  error
		again  bool
		want   error
	}{
		{"it went well", nil, false, nil},
		{"a conflict", conflict, true, nil},
		{"a wrapped conflict", fmt.Errorf("writing: %w", conflict), true, nil},
		{"anything else", other, false, other},
	}
	for _, test := range tests {
		t.Run(test.reason, func(t *testing.T) {
			result, err := store.Outcome(test.given)
			if !errors.Is(err, test.want) || (result.RequeueAfter > 0) != test.again {
				t.Errorf("%+v, %v", result, err)
			}
		})
	}
}

func TestAMailboxKeepsWhatComesBeforeItsControllerStarts(t *testing.T) {
	queue := workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[string]())
	defer queue.ShutDown()
	var mailbox store.Mailbox[string]
	mailbox.Add("a", false)
	mailbox.Add("a", true)
	mailbox.Add("b", true)
	if err := mailbox.Start(t.Context(), queue); err != nil {
		t.Fatal(err)
	}
	mailbox.Add("c", false)
	got := []string{}
	for queue.Len() > 0 {
		key, _ := queue.Get()
		got = append(got, key)
	}
	slices.Sort(got)
	if diff := cmp.Diff([]string{"a", "b", "c"}, got); diff != "" {
		t.Errorf("woken (-want +got):\n%s", diff)
	}
}

func TestWhatChangesNowOvertakesWhatWasThereAtTheStart(t *testing.T) {
	s := storetest.New()
	s.PropagationBindings.Put(binding("shop", "old", "p"))
	queue := priorityqueue.New[string]("test")
	defer queue.ShutDown()
	var events []string
	source := store.Source(s.PropagationBindings.Kind().Informer, func(old, new *workv1alpha1.PropagationBinding) []string {
		switch {
		case old == nil:
			events = append(events, "new "+new.Name)
			return []string{new.Name}
		case new == nil:
			events = append(events, "gone "+old.Name)
			return []string{old.Name}
		}
		events = append(events, "changed "+new.Name)
		return nil
	})
	if err := source.Start(t.Context(), queue); err != nil {
		t.Fatal(err)
	}
	s.PropagationBindings.Put(binding("shop", "fresh", "p"))
	s.PropagationBindings.Change("shop", "fresh", func(b *workv1alpha1.PropagationBinding) { b.Generation++ })
	got := []string{}
	for range 2 {
		key, _ := queue.Get()
		got = append(got, key)
	}
	if diff := cmp.Diff([]string{"fresh", "old"}, got); diff != "" {
		t.Errorf("order (-want +got):\n%s", diff)
	}
	s.PropagationBindings.Drop("shop", "old")
	if diff := cmp.Diff([]string{"new old", "new fresh", "changed fresh", "gone old"}, events); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}

func TestWhatWasThereAtTheStartWaitsForItsTimeUnlessItChanges(t *testing.T) {
	store.LetStandingWait(time.Now().Add(time.Hour))
	t.Cleanup(func() { store.LetStandingWait(time.Time{}) })
	s := storetest.New()
	for _, name := range []string{"old", "older"} {
		s.PropagationBindings.Put(binding("shop", name, "p"))
	}
	queue := priorityqueue.New[string]("test")
	defer queue.ShutDown()
	source := store.Source(s.PropagationBindings.Kind().Informer, func(_, new *workv1alpha1.PropagationBinding) []string { return []string{new.Name} })
	var mailbox store.Mailbox[string]
	mailbox.Add("letter", false) // before the controller starts
	if err := errors.Join(source.Start(t.Context(), queue), mailbox.Start(t.Context(), queue)); err != nil {
		t.Fatal(err)
	}
	s.PropagationBindings.Put(binding("shop", "fresh", "p"))
	s.PropagationBindings.Change("shop", "old", func(b *workv1alpha1.PropagationBinding) { b.Generation++ })
	mailbox.Add("news", false)
	got := []string{}
	for range 3 {
		key, _ := queue.Get()
		got = append(got, key)
	}
	slices.Sort(got)
	if diff := cmp.Diff([]string{"fresh", "news", "old"}, got); diff != "" {
		t.Errorf("taken (-want +got):\n%s", diff)
	}
	if queue.Len() != 0 {
		t.Errorf("%d of those that were there do not wait", queue.Len())
	}
}

func TestKeysAreTakenByRankAndThenByWhatChangesNow(t *testing.T) {
	s := storetest.New()
	for _, name := range []string{"old", "old-urgent"} {
		s.PropagationBindings.Put(binding("shop", name, "p"))
	}
	queue := priorityqueue.New[string]("test")
	defer queue.ShutDown()
	ranks := map[string]int{"old-urgent": 1000, "urgent": 1000, "whenever": -1000}
	source := store.Ranked(store.Source(s.PropagationBindings.Kind().Informer, func(_, new *workv1alpha1.PropagationBinding) []string { return []string{new.Name} }),
		func(name string) int { return ranks[name] })
	if err := source.Start(t.Context(), queue); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"whenever", "fresh", "urgent"} {
		s.PropagationBindings.Put(binding("shop", name, "p"))
	}
	got := []string{}
	for range 5 {
		key, _ := queue.Get()
		got = append(got, key)
	}
	if diff := cmp.Diff([]string{"urgent", "old-urgent", "fresh", "old", "whenever"}, got); diff != "" {
		t.Errorf("order (-want +got):\n%s", diff)
	}
}

func TestAWriteNeedsTheStateThatItsDecisionRead(t *testing.T) {
	s := storetest.New()
	kind := s.PropagationBindings.Kind()
	read := s.PropagationBindings.Put(binding("shop", "web", "p"))
	s.PropagationBindings.Change("shop", "web", func(b *workv1alpha1.PropagationBinding) { b.Status.Summary.Applied = 1 })
	if _, err := kind.Update(t.Context(), read); !apierrors.IsConflict(err) {
		t.Errorf("updating an old state: %v", err)
	}
	if _, err := kind.UpdateStatus(t.Context(), read); !apierrors.IsConflict(err) {
		t.Errorf("updating the status of an old state: %v", err)
	}
	other := read.DeepCopy()
	other.UID = "other"
	if err := kind.Delete(t.Context(), other); !apierrors.IsConflict(err) {
		t.Errorf("deleting another object of the name: %v", err)
	}

	t.Run("and an object with a finalizer goes when it is taken off", func(t *testing.T) {
		if err := kind.Delete(t.Context(), read); err != nil {
			t.Fatal(err)
		}
		leaving, ok := kind.Get("shop", "web")
		if !ok || leaving.DeletionTimestamp == nil || leaving.Generation != 2 {
			t.Fatalf("after the deletion: %+v", leaving)
		}
		released := leaving.DeepCopy()
		released.Finalizers = nil
		if _, err := kind.Update(t.Context(), released); err != nil {
			t.Fatal(err)
		}
		if _, ok := kind.Get("shop", "web"); ok {
			t.Error("it stays")
		}
	})
}

func TestBindingsInGroupsAreFoundByTheirNamespace(t *testing.T) {
	s := storetest.New()
	for _, key := range []types.NamespacedName{{Namespace: "shop", Name: "near"}, {Namespace: "shop", Name: "alone"}, {Namespace: "bank", Name: "near"}} {
		binding := &workv1alpha1.PropagationBinding{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name}}
		if key.Name == "near" {
			binding.Spec.WorkloadAffinityGroups = &workv1alpha1.WorkloadAffinityGroups{AffinityGroup: "app=shop"}
		}
		s.PropagationBindings.Put(binding)
	}
	if diff := cmp.Diff([]string{"shop/near"}, names(s.Bindings().For("shop").ByIndex(store.ByCompany, "shop"))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
