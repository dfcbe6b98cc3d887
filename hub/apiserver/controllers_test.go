package apiserver

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/metadata/fake"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/klog/v2"
)

func TestAnErrorOfTheCollectorsWatchesNamesTheResource(t *testing.T) {
	client := fake.NewSimpleMetadataClient(runtime.NewScheme())
	gone := apierrors.NewGenericServerResponse(404, "list", schema.GroupResource{}, "", "", 0, true)
	client.PrependReactor("*", "*", func(clienttesting.Action) (bool, runtime.Object, error) { return true, nil, gone })
	client.PrependWatchReactor("*", clienttesting.DefaultWatchReactor(nil, gone))
	widgets := namingMetadata{client}.Resource(schema.GroupVersionResource{Group: "example.com", Version: "v1", Resource: "widgets"})
	_, everywhere := widgets.List(t.Context(), metav1.ListOptions{})
	_, inOne := widgets.Namespace("shop").List(t.Context(), metav1.ListOptions{})
	_, watching := widgets.Namespace("shop").Watch(t.Context(), metav1.ListOptions{})
	for what, err := range map[string]error{"listing": everywhere, "listing a namespace": inOne, "watching": watching} {
		if !apierrors.IsNotFound(err) || !strings.HasPrefix(err.Error(), "widgets of example.com/v1: ") {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// listing tells reflectors to list, for the fake can't do it by a watch.
type listing struct{ metadata.Interface }

func (listing) IsWatchListSemanticsUnSupported() bool { return true }

func TestTheCollectorStopsWatchingAKindThatIsServedNoLonger(t *testing.T) {
	widgets := schema.GroupVersionResource{Group: "example.com", Version: "v1", Resource: "widgets"}
	scheme := runtime.NewScheme()
	metav1.AddMetaToScheme(scheme)
	var served atomic.Bool
	var asked atomic.Int64
	client := fake.NewSimpleMetadataClient(scheme, &metav1.PartialObjectMetadata{
		TypeMeta: metav1.TypeMeta{APIVersion: "example.com/v1", Kind: "Widget"}, ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "w"},
	})
	gone := apierrors.NewGenericServerResponse(404, "list", schema.GroupResource{}, "", "", 0, true)
	client.PrependReactor("list", "*", func(clienttesting.Action) (bool, runtime.Object, error) {
		asked.Add(1)
		if !served.Load() {
			return true, nil, gone
		}
		return false, nil, nil
	})
	var log bytes.Buffer // read only when nothing writes
	logged := klog.NewContext(context.Background(), logr.FromSlogHandler(slog.NewTextHandler(&log, nil)))

	synctest.Test(t, func(t *testing.T) {
		// monitor is what the collector has of a resource.
		monitor := func() (informers.GenericInformer, chan struct{}, chan struct{}) {
			informer, err := metadataInformers{listing{namingMetadata{client}}}.ForResource(widgets)
			if err != nil {
				t.Fatal(err)
			}
			stop, ended := make(chan struct{}), make(chan struct{})
			go func() {
				ctx, cancel := context.WithCancel(logged)
				defer cancel()
				go func() { <-stop; cancel() }()
				informer.Informer().GetController().RunWithContext(ctx)
				close(ended)
			}()
			return informer, stop, ended
		}
		_, stop, ended := monitor()
		time.Sleep(time.Hour)
		close(stop)
		<-ended
		if asked.Load() == 0 || strings.Contains(log.String(), "level=ERROR") {
			t.Errorf("a kind that is not served: asked for it %d times, and logged:\n%s", asked.Load(), log.String())
		}
		before := asked.Load()
		time.Sleep(time.Hour)
		if after := asked.Load(); after > before {
			t.Errorf("asked %d times after the end", after-before)
		}

		served.Store(true)
		again, stop, ended := monitor()
		time.Sleep(time.Minute)
		if !again.Informer().GetController().HasSynced() || len(again.Informer().GetStore().ListKeys()) != 1 {
			t.Errorf("when it comes back, %v are known", again.Informer().GetStore().ListKeys())
		}
		close(stop)
		<-ended
	})
}
