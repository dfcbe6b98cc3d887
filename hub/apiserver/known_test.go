package apiserver_test

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"

	workv1alpha1 "windlass.dev/windlass/api/work/v1alpha1"
	"windlass.dev/windlass/hub/apiserver"
)

func TestWorksAndBindingsHaveNoWatchCacheAndOthersHave(t *testing.T) {
	makeNamespace(t, "karmada-es-uncached")
	if _, err := hub.server.Stores.Works.Create(t.Context(), newWork("uncached", "w", configMapManifest)); err != nil {
		t.Fatal(err)
	}
	for resource, cached := range map[string]bool{
		"propagationworks": false, "propagationbindings": false, "clusterpropagationbindings": false, "memberclusters": true, "configmaps": true,
	} {
		if caches, _ := measured(t, "apiserver_watch_cache_resource_version", map[string]string{"resource": resource}); caches > 0 != cached {
			t.Errorf("%s: %d watch caches", resource, caches)
		}
	}
}

func TestAWorkThatThisProcessKnowsIsNotReadBeforeItIsWritten(t *testing.T) {
	ctx := t.Context()
	works := hub.server.Stores.Works
	makeNamespace(t, "karmada-es-known")
	var known atomic.Pointer[workv1alpha1.PropagationWork]
	works.Know(func(namespace, name string) (*workv1alpha1.PropagationWork, bool) {
		work := known.Load()
		return work, work != nil && namespace == work.Namespace && name == work.Name
	})
	defer works.Know(func(string, string) (*workv1alpha1.PropagationWork, bool) { return nil, false })

	work := newWork("known", "w", configMapManifest)
	work.Finalizers = []string{workv1alpha1.WorkFinalizer}
	created, err := works.Create(ctx, work)
	if err != nil {
		t.Fatal(err)
	}
	report := func(of *workv1alpha1.PropagationWork, message string) *workv1alpha1.PropagationWork {
		reported := of.DeepCopy()
		reported.Status.Conditions = []metav1.Condition{{
			Type: workv1alpha1.WorkApplied, Status: metav1.ConditionTrue, Reason: "Applied", Message: message, LastTransitionTime: metav1.Now(),
		}}
		written, err := works.UpdateStatus(ctx, reported)
		if err != nil {
			t.Fatal(err)
		}
		if written.Status.Conditions[0].Message != message {
			t.Errorf("written is %q and not %q", written.Status.Conditions[0].Message, message)
		}
		return written
	}

	mark := func(cause workv1alpha1.RemovalCause) func(*workv1alpha1.PropagationWork) {
		return func(work *workv1alpha1.PropagationWork) { work.Spec.RemovalCause = cause }
	}
	before := storeReads(t, "propagationworks")
	known.Store(created)
	first := report(created, "first")
	known.Store(first)
	second := report(first, "second")
	known.Store(second)
	asItWas := second.DeepCopy()
	if err := works.DeleteMarked(ctx, "karmada-es-known", "w", apiserver.DeleteOptions{UID: created.UID}, mark(workv1alpha1.RemovalNotSelected)); err != nil {
		t.Fatal(err)
	}
	if reads := storeReads(t, "propagationworks") - before; reads != 0 {
		t.Errorf("what is known was read %d times", reads)
	}
	if diff := cmp.Diff(asItWas, second); diff != "" {
		t.Errorf("a write has changed what this process knows:\n%s", diff)
	}

	for _, c := range []struct {
		reason string
		known  *workv1alpha1.PropagationWork
	}{
		{"it is behind", created},
		{"nothing is known", nil},
		{"it is of another object of that name", another(created)},
	} {
		known.Store(c.known)
		if err := works.DeleteMarked(ctx, "karmada-es-known", "w", apiserver.DeleteOptions{UID: created.UID}, mark(workv1alpha1.RemovalTemplateDeleted)); err != nil {
			t.Errorf("marking it where %s: %v", c.reason, err)
		}
		stored, err := works.Get(ctx, "karmada-es-known", "w")
		if err != nil {
			t.Fatal(err)
		}
		if stored.Spec.RemovalCause != workv1alpha1.RemovalTemplateDeleted || stored.Status.Conditions[0].Message != "second" {
			t.Errorf("where %s, stored is the cause %q and the report %q", c.reason, stored.Spec.RemovalCause, stored.Status.Conditions[0].Message)
		}
		if _, err := works.UpdateStatus(ctx, stored); err != nil {
			t.Errorf("reporting where %s: %v", c.reason, err)
		}
	}
	known.Store(created) // long ago
	last, err := works.Get(ctx, "karmada-es-known", "w")
	if err != nil {
		t.Fatal(err)
	}
	released := last.DeepCopy()
	released.Finalizers = nil
	if _, err := works.Update(ctx, released); err != nil {
		t.Error(err)
	}
	if _, err := works.Get(ctx, "karmada-es-known", "w"); !apierrors.IsNotFound(err) {
		t.Errorf("it is there still: %v", err)
	}
}

func another(work *workv1alpha1.PropagationWork) *workv1alpha1.PropagationWork {
	another := work.DeepCopy()
	another.UID = "another"
	return another
}

// Without a watch cache the store itself tells those who watch.
func TestWhoWatchesWorksIsToldOfWhatIsThereAndThenOfChanges(t *testing.T) {
	ctx := t.Context()
	makeNamespace(t, "karmada-es-told")
	works := hub.dynamic.Resource(workv1alpha1.SchemeGroupVersion.WithResource("propagationworks")).Namespace("karmada-es-told")
	if _, err := hub.server.Stores.Works.Create(ctx, newWork("told", "first", configMapManifest)); err != nil {
		t.Fatal(err)
	}
	all := true
	events, err := works.Watch(ctx, metav1.ListOptions{
		SendInitialEvents: &all, ResourceVersionMatch: metav1.ResourceVersionMatchNotOlderThan, AllowWatchBookmarks: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer events.Stop()
	next := func() string {
		var event watch.Event
		select {
		case event = <-events.ResultChan():
		case <-time.After(patience):
			t.Fatal("nobody tells anything")
		}
		object, ok := event.Object.(metav1.Object)
		if !ok {
			return fmt.Sprintf("%s %v", event.Type, event.Object)
		}
		return fmt.Sprintf("%s %s", event.Type, object.GetName())
	}
	if got := next(); got != string(watch.Added)+" first" {
		t.Error(got)
	}
	if got := next(); got != string(watch.Bookmark)+" " {
		t.Error(got)
	}
	second, err := hub.server.Stores.Works.Create(ctx, newWork("told", "second", configMapManifest))
	if err != nil {
		t.Fatal(err)
	}
	if got := next(); got != string(watch.Added)+" second" {
		t.Error(got)
	}
	if err := hub.server.Stores.Works.Delete(ctx, second.Namespace, second.Name, apiserver.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if got := next(); got != string(watch.Deleted)+" second" {
		t.Error(got)
	}
}
