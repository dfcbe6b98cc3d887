package apiserver_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/tools/cache"

	workv1alpha1 "windlass.dev/windlass/api/work/v1alpha1"
	"windlass.dev/windlass/hub/apiserver"
)

// BenchmarkWrites tells what each write costs of which a work's life consists, the store's own part and an informer that sees
// it included; and beside it a bare put, and a user's create of the same size, which comes over the network. That is the
// floor of whatever a hub does. The figure to look at is the processor time.
func BenchmarkWrites(b *testing.B) {
	manifest := fmt.Sprintf(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a","namespace":"default"},"data":{"k":%q}}`, strings.Repeat("v", 2000))
	ctx := b.Context()
	_, err := hub.client.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "karmada-es-written"}}, metav1.CreateOptions{})
	if err != nil {
		b.Fatal(err)
	}
	soon := func(condition func() bool) error {
		return wait.PollUntilContextTimeout(ctx, time.Millisecond, patience, true, func(context.Context) (bool, error) { return condition(), nil })
	}
	if err := soon(func() bool {
		_, err := hub.server.Informers.Core().V1().Namespaces().Lister().Get("karmada-es-written")
		return err == nil
	}); err != nil {
		b.Fatal(err)
	}
	works := hub.server.Stores.Works
	informer := cache.NewSharedIndexInformer(works.ListerWatcher(), &workv1alpha1.PropagationWork{}, 0, cache.Indexers{})
	go informer.RunWithContext(ctx)
	if !cache.WaitForCacheSync(ctx.Done(), informer.HasSynced) {
		b.Fatal("the informer has not synced")
	}
	bare := hub.store.InProcess()
	defer func() { _ = bare.Close() }()

	cached := func(name string) *workv1alpha1.PropagationWork {
		obj, ok, _ := informer.GetIndexer().GetByKey("karmada-es-written/" + name)
		if !ok {
			return nil
		}
		return obj.(*workv1alpha1.PropagationWork)
	}
	works.Know(func(_, name string) (*workv1alpha1.PropagationWork, bool) { // as in a hub
		work := cached(name)
		return work, work != nil
	})
	create := func(name string) error {
		work := newWork("written", name, manifest)
		work.Finalizers = []string{workv1alpha1.WorkFinalizer}
		_, err := works.Create(ctx, work)
		return err
	}
	created := func(name string) error {
		return errors.Join(create(name), soon(func() bool { return cached(name) != nil }))
	}
	mark := func(name string) error {
		return works.DeleteMarked(ctx, "karmada-es-written", name, apiserver.DeleteOptions{UID: cached(name).UID},
			func(work *workv1alpha1.PropagationWork) { work.Spec.RemovalCause = workv1alpha1.RemovalTemplateDeleted })
	}
	marked := func(name string) error {
		return errors.Join(created(name), mark(name), soon(func() bool { return cached(name).DeletionTimestamp != nil }))
	}
	for _, c := range []struct {
		what          string
		before, write func(name string) error
	}{
		{"a bare put of 2 KB", nil, func(name string) error {
			_, err := bare.Put(ctx, "/bench/"+name, manifest)
			return err
		}},
		{"a user's create over the network", nil, func(name string) error {
			_, err := hub.client.CoreV1().ConfigMaps("karmada-es-written").Create(ctx, &corev1.ConfigMap{
				ObjectMeta: metav1.ObjectMeta{Name: name}, Data: map[string]string{"k": strings.Repeat("v", 2000)},
			}, metav1.CreateOptions{})
			return err
		}},
		{"a work", nil, create},
		{"its status", created, func(name string) error {
			reported := *cached(name)
			reported.Status.Conditions = []metav1.Condition{{Type: workv1alpha1.WorkApplied, Status: metav1.ConditionTrue, Reason: "Applied", LastTransitionTime: metav1.Now()}}
			_, err := works.UpdateStatus(ctx, &reported)
			return err
		}},
		{"its mark of deletion", created, mark},
		{"its end", marked, func(name string) error {
			released := *cached(name)
			released.Finalizers = nil
			_, err := works.Update(ctx, &released)
			return err
		}},
	} {
		b.Run(c.what, func(b *testing.B) {
			run := time.Now().UnixNano()
			all := func(do func(string) error) {
				group := errgroup.Group{}
				group.SetLimit(16)
				for i := range b.N {
					group.Go(func() error { return do(fmt.Sprintf("w-%d-%d", run, i)) })
				}
				if err := group.Wait(); err != nil {
					b.Fatal(err)
				}
			}
			if c.before != nil {
				all(c.before)
			}
			b.ReportAllocs()
			b.ResetTimer()
			before := processorTime(b)
			all(c.write)
			b.ReportMetric(float64(processorTime(b)-before)/float64(b.N), "cpu-ns/op")
		})
	}
}

// processorTime is what this process has used.
func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
