package templates_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/discovery"
	discoveryfake "k8s.io/client-go/discovery/fake"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	"k8s.io/client-go/kubernetes"
	clienttesting "k8s.io/client-go/testing"

	"windlass.dev/windlass/hub/templates"
)

const patience = 20 * time.Second

var (
	deployments = schema.GroupVersionKind{Group: "apps", Version: "v1", Kind: "Deployment"}
	configMaps  = schema.GroupVersionKind{Version: "v1", Kind: "ConfigMap"}
	widgets     = schema.GroupVersionKind{Group: "example.com", Version: "v1", Kind: "Widget"}
	web         = templates.Key{GroupVersionKind: deployments, NamespacedName: types.NamespacedName{Namespace: "shop", Name: "web"}}
	widget      = templates.Key{GroupVersionKind: widgets, NamespacedName: types.NamespacedName{Namespace: "shop", Name: "w"}}
)

var resources = map[schema.GroupVersionResource]string{
	{Group: "apps", Version: "v1", Resource: "deployments"}:                               "DeploymentList",
	{Version: "v1", Resource: "configmaps"}:                                               "ConfigMapList",
	{Version: "v1", Resource: "namespaces"}:                                               "NamespaceList",
	{Group: "example.com", Version: "v1", Resource: "widgets"}:                            "WidgetList",
	{Group: "example.com", Version: "v2", Resource: "widgets"}:                            "WidgetList",
	{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}: "CustomResourceDefinitionList",
	{Group: "apiregistration.k8s.io", Version: "v1", Resource: "apiservices"}:             "APIServiceList",
}

// world is an API server and the watches on it.
type world struct {
	server  *dynamicfake.FakeDynamicClient
	watcher *templates.Watcher

	mu       sync.Mutex
	served   []*metav1.APIResourceList
	looks    int            // at what is served
	events   map[string]int // by "changed <kind> <name>" and "kind <kind>"
	happened chan struct{}
}

func newWorld(objects ...runtime.Object) *world {
	return newWorldWith(10*time.Millisecond, time.Second, objects...)
}

func newWorldWith(retryFirst, retryMost time.Duration, objects ...runtime.Object) *world {
	w := &world{
		server:   dynamicfake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(), resources, objects...),
		events:   map[string]int{},
		happened: make(chan struct{}, 1),
	}
	w.serve(
		list("apps/v1", metav1.APIResource{Name: "deployments", Kind: "Deployment", Namespaced: true}),
		list("v1", metav1.APIResource{Name: "configmaps", Kind: "ConfigMap", Namespaced: true}, metav1.APIResource{Name: "namespaces", Kind: "Namespace"}),
	)
	w.watcher = templates.New(templates.Config{
		Dynamic: w.server, Discovery: kube{world: w}, Log: slog.New(slog.DiscardHandler), RetryFirst: retryFirst, RetryMost: retryMost,
	})
	w.watcher.Handle(templates.Handler{
		Changed: func(key templates.Key, initial bool) {
			if initial {
				w.note("initial " + key.Kind + " " + key.Name)
			} else {
				w.note("changed " + key.Kind + " " + key.Name)
			}
		},
		Kind: func(kind schema.GroupVersionKind) { w.note("kind " + kind.Kind) },
	})
	return w
}

func list(groupVersion string, resources ...metav1.APIResource) *metav1.APIResourceList {
	return &metav1.APIResourceList{GroupVersion: groupVersion, APIResources: resources}
}

func (w *world) serve(lists ...*metav1.APIResourceList) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.served = append(w.served, lists...)
}

func (w *world) serveWidgets() {
	w.serve(list("example.com/v1", metav1.APIResource{Name: "widgets", Kind: "Widget", Namespaced: true}))
}

func (w *world) note(event string) {
	w.mu.Lock()
	w.events[event]++
	w.mu.Unlock()
	select {
	case w.happened <- struct{}{}:
	default:
	}
}

func (w *world) count(event string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.events[event]
}

// kube is a client of which only the discovery is used: it finds what the world serves at the moment.
type kube struct {
	kubernetes.Interface
	world *world
}

func (k kube) Discovery() discovery.DiscoveryInterfaces { return discovered{world: k.world} }

type discovered struct {
	*discoveryfake.FakeDiscovery
	world *world
}

func (d discovered) now() *discoveryfake.FakeDiscovery {
	d.world.mu.Lock()
	defer d.world.mu.Unlock()
	return &discoveryfake.FakeDiscovery{Fake: &clienttesting.Fake{Resources: slices.Clone(d.world.served)}}
}

func (d discovered) ServerGroupsWithContext(ctx context.Context) (*metav1.APIGroupList, error) {
	d.world.mu.Lock()
	d.world.looks++
	d.world.mu.Unlock()
	return d.now().ServerGroupsWithContext(ctx)
}

func (d discovered) ServerResourcesForGroupVersionWithContext(ctx context.Context, groupVersion string) (*metav1.APIResourceList, error) {
	return d.now().ServerResourcesForGroupVersionWithContext(ctx, groupVersion)
}

// run runs the watcher until the test ends.
func (w *world) run(t *testing.T) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- w.watcher.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Errorf("running: %v", err)
		}
	})
}

// until waits for a condition, which is looked at whenever something happens, and every now and then.
func (w *world) until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline, again := time.After(patience), time.NewTicker(5*time.Millisecond)
	defer again.Stop()
	for !holds() {
		select {
		case <-w.happened:
		case <-again.C:
		case <-deadline:
			t.Fatalf("%s: not within %s", what, patience)
		}
	}
}

func (w *world) has(key templates.Key) func() bool {
	return func() bool { obj, _ := w.watcher.Get(key); return obj != nil }
}

func (w *world) known(key templates.Key) bool { _, known := w.watcher.Get(key); return known }

func object(key templates.Key) *unstructured.Unstructured {
	obj := &unstructured.Unstructured{Object: map[string]any{}}
	obj.SetGroupVersionKind(key.GroupVersionKind)
	obj.SetNamespace(key.Namespace)
	obj.SetName(key.Name)
	obj.SetUID("u1")
	return obj
}

func TestAKindIsWatchedWhileSomebodyWantsIt(t *testing.T) {
	managed := object(web)
	managed.SetManagedFields([]metav1.ManagedFieldsEntry{{Manager: "kubectl"}})
	w := newWorld(managed, object(templates.Key{GroupVersionKind: deployments, NamespacedName: types.NamespacedName{Namespace: "other", Name: "api"}}))
	w.run(t)
	if w.known(web) {
		t.Fatal("it is known although nobody wants it")
	}

	w.watcher.Want("policies", []schema.GroupVersionKind{deployments})
	w.watcher.Want("bindings", []schema.GroupVersionKind{deployments})
	w.until(t, "the cache has what was there", w.has(web))
	w.until(t, "the handlers hear that the kind is known", func() bool { return w.count("kind Deployment") == 1 })
	w.until(t, "the handlers hear of what was there", func() bool { return w.count("initial Deployment web") == 1 })
	if obj, _ := w.watcher.Get(web); len(obj.GetManagedFields()) > 0 {
		t.Error("the cache keeps managed fields, which nobody reads")
	}
	if all, shop := len(w.watcher.List(deployments, "")), len(w.watcher.List(deployments, "shop")); all != 2 || shop != 1 {
		t.Errorf("it lists %d in all and %d in one namespace", all, shop)
	}
	if err := w.watcher.Problem(deployments); err != nil {
		t.Errorf("it has a problem: %v", err)
	}

	t.Run("its events are told", func(t *testing.T) {
		client := w.server.Resource(schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}).Namespace("shop")
		changed := object(web)
		changed.SetLabels(map[string]string{"team": "blue"})
		if _, err := client.Update(t.Context(), changed, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
		w.until(t, "a change", func() bool { return w.count("changed Deployment web") == 1 })
		if err := client.Delete(t.Context(), "web", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		w.until(t, "a deletion", func() bool { return w.count("changed Deployment web") == 2 })
		if obj, known := w.watcher.Get(web); obj != nil || !known {
			t.Errorf("after the deletion: %v, known %t", obj, known)
		}
		if !w.watcher.Deleted("u1") || w.watcher.Deleted("u2") || w.watcher.Deleted("") {
			t.Error("it is not known of the object alone that it was deleted")
		}
	})
	t.Run("what was deleted and is there again was restored", func(t *testing.T) {
		client := w.server.Resource(schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}).Namespace("shop")
		if _, err := client.Create(t.Context(), object(web), metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		w.until(t, "it is seen", func() bool { return w.count("changed Deployment web") == 3 })
		if w.watcher.Deleted("u1") {
			t.Error("it is still said to be deleted")
		}
	})
	t.Run("and still while the last one wants it", func(t *testing.T) {
		w.watcher.Want("policies", nil)
		w.watcher.Want("marker", []schema.GroupVersionKind{configMaps})
		w.until(t, "the other kind is known", func() bool { return w.count("kind ConfigMap") == 1 })
		if !w.known(web) || !w.watcher.Watches(deployments) {
			t.Error("the watch was stopped")
		}
	})
	t.Run("and then no more", func(t *testing.T) {
		told := w.count("kind Deployment")
		w.watcher.Want("bindings", nil)
		w.until(t, "the watch stops", func() bool { return !w.known(web) })
		w.until(t, "the handlers hear that it is not known any more", func() bool { return w.count("kind Deployment") == told+1 })
		if w.watcher.Watches(deployments) || !w.watcher.Watches(configMaps) {
			t.Error("it is said to be watched, or the other one is not")
		}
	})
}

func TestWhoCaresForContentIsNotToldOfStatuses(t *testing.T) {
	w := newWorld(object(web))
	w.watcher.Handle(templates.Handler{
		Changed:     func(key templates.Key, initial bool) { w.note("content " + key.Name) },
		ContentOnly: func(kind schema.GroupKind) bool { return kind == deployments.GroupKind() },
	})
	w.watcher.Handle(templates.Handler{
		Changed:     func(key templates.Key, initial bool) { w.note("job " + key.Name) },
		ContentOnly: func(kind schema.GroupKind) bool { return kind.Kind == "Job" },
	})
	w.run(t)
	w.watcher.Want("policies", []schema.GroupVersionKind{deployments})
	w.until(t, "what was there is told", func() bool { return w.count("content web") == 1 })

	client := w.server.Resource(schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}).Namespace("shop")
	live, told, all := object(web), 1, 1
	for _, edit := range []struct {
		what string
		news bool
		do   func(obj *unstructured.Unstructured)
	}{
		{"a status comes", false, func(obj *unstructured.Unstructured) { obj.Object["status"] = map[string]any{"replicas": int64(1)} }},
		{"the status changes", false, func(obj *unstructured.Unstructured) { obj.Object["status"] = map[string]any{"replicas": int64(2)} }},
		{"a version and nothing else", false, func(obj *unstructured.Unstructured) { obj.SetResourceVersion("77") }},
		{"a field comes", true, func(obj *unstructured.Unstructured) { obj.Object["spec"] = map[string]any{"replicas": int64(2)} }},
		{"a field changes, and the status as well", true, func(obj *unstructured.Unstructured) {
			obj.Object["spec"] = map[string]any{"replicas": int64(3)}
			delete(obj.Object, "status")
		}},
		{"a field goes", true, func(obj *unstructured.Unstructured) { delete(obj.Object, "spec") }},
		{"a field that says nothing comes", true, func(obj *unstructured.Unstructured) { obj.Object["data"] = nil }},
		{"a field that says nothing goes, and another comes", true, func(obj *unstructured.Unstructured) {
			delete(obj.Object, "data")
			obj.Object["binaryData"] = nil
		}},
		{"a label", true, func(obj *unstructured.Unstructured) { obj.SetLabels(map[string]string{"team": "blue"}) }},
		{"its generation", true, func(obj *unstructured.Unstructured) { obj.SetGeneration(7) }},
		{"it is being deleted", true, func(obj *unstructured.Unstructured) {
			now := metav1.Now()
			obj.SetFinalizers([]string{"example.com/wait"})
			obj.SetDeletionTimestamp(&now)
		}},
		{"another object of that name", true, func(obj *unstructured.Unstructured) { obj.SetUID("u2") }},
	} {
		edit.do(live)
		if _, err := client.Update(t.Context(), live, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
		all++
		if edit.news {
			told++
		}
		w.until(t, edit.what+" is told to who cares for all of it", func() bool { return w.count("job web") == all })
		if got := w.count("content web"); got != told {
			t.Errorf("%s: who cares for content has heard %d times: want %d", edit.what, got, told)
			told = got
		}
	}
}

func TestWhatANewListLacksWasNotToldToBeDeleted(t *testing.T) {
	w := newWorld(object(web))
	watches := make(chan *watch.RaceFreeFakeWatcher, 8)
	w.server.PrependWatchReactor("deployments", func(clienttesting.Action) (bool, watch.Interface, error) {
		begun := watch.NewRaceFreeFake()
		watches <- begun
		return true, begun, nil
	})
	w.run(t)
	w.watcher.Want("policies", []schema.GroupVersionKind{deployments})
	w.until(t, "the cache has it", w.has(web))
	if err := w.server.Tracker().Delete(schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}, "shop", "web"); err != nil {
		t.Fatal(err)
	}
	expired := apierrors.NewResourceExpired("the watch was away for too long").Status()
	(<-watches).Error(&expired)

	w.until(t, "the handlers hear that it is missing", func() bool { return w.count("changed Deployment web") == 1 })
	if obj, known := w.watcher.Get(web); obj != nil || !known {
		t.Fatalf("the cache has %v, known %t", obj, known)
	}
	if w.watcher.Deleted("u1") {
		t.Error("what is only missing is said to be deleted")
	}
}

func TestTheScopeOfAKindIsKnownWithItsObjects(t *testing.T) {
	w := newWorld()
	w.run(t)
	namespaces := schema.GroupVersionKind{Version: "v1", Kind: "Namespace"}
	if cluster, known := w.watcher.Scope(namespaces); cluster || known {
		t.Errorf("before anybody wants it: %t, known %t", cluster, known)
	}
	w.watcher.Want("policies", []schema.GroupVersionKind{deployments, namespaces})
	for kind, want := range map[schema.GroupVersionKind]bool{deployments: false, namespaces: true} {
		w.until(t, kind.Kind+" is known", func() bool { _, known := w.watcher.Scope(kind); return known })
		if cluster, _ := w.watcher.Scope(kind); cluster != want {
			t.Errorf("%s is in no namespace: %t", kind.Kind, cluster)
		}
	}
}

func TestAKindThatIsNotServedIsAProblemUntilItIs(t *testing.T) {
	w := newWorld(object(widget))
	w.run(t)
	w.watcher.Want("policies", []schema.GroupVersionKind{widgets})
	w.until(t, "the handlers hear that it is not served", func() bool { return w.count("kind Widget") == 1 })
	if err := w.watcher.Problem(widgets); err == nil || !strings.Contains(err.Error(), "Widget") || !strings.Contains(err.Error(), "CustomResourceDefinition") {
		t.Errorf("the problem does not say what to do: %v", err)
	}
	if w.known(widget) {
		t.Error("something is concluded about its objects")
	}
	w.serveWidgets()
	w.until(t, "it is found without being asked for again", w.has(widget))
	w.until(t, "the handlers hear of it", func() bool { return w.count("kind Widget") == 2 })
	if err := w.watcher.Problem(widgets); err != nil {
		t.Errorf("the problem stays: %v", err)
	}
}

func TestAKindThatIsSpelledInAnotherWayIsNotWatchedUnderTwoNames(t *testing.T) {
	w := newWorld()
	w.run(t)
	for _, c := range []struct {
		reason string
		asked  schema.GroupVersionKind
		meant  schema.GroupVersionKind
	}{
		{"as kubectl takes it", schema.GroupVersionKind{Version: "v1", Kind: "configmap"}, configMaps},
		{"a slip", schema.GroupVersionKind{Version: "v1", Kind: "Configmap"}, configMaps},
		{"the group is another", schema.GroupVersionKind{Version: "v1", Kind: "Deployment"}, deployments},
	} {
		w.watcher.Want("policies", []schema.GroupVersionKind{c.asked})
		w.until(t, c.reason, func() bool { return w.watcher.Problem(c.asked) != nil })
		var misnamed *templates.Misnamed
		if err := w.watcher.Problem(c.asked); !errors.As(err, &misnamed) || misnamed.Meant != c.meant {
			t.Errorf("%s: %v", c.reason, err)
		}
	}
}

func TestAKindThatNobodyServesIsLookedForMoreAndMoreSeldom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorldWith(time.Second, time.Minute)
		w.run(t)
		w.watcher.Want("policies", []schema.GroupVersionKind{widgets})
		looksIn := func(period time.Duration) int {
			w.mu.Lock()
			before := w.looks
			w.mu.Unlock()
			time.Sleep(period) // no real time
			w.mu.Lock()
			defer w.mu.Unlock()
			return w.looks - before
		}
		if looks := looksIn(10 * time.Second); looks < 3 || looks > 5 {
			t.Errorf("%d looks in the first ten seconds, want one at once, and after 1, 3 and 7", looks)
		}
		time.Sleep(time.Minute)
		if looks := looksIn(time.Hour); looks < 54 || looks > 60 {
			t.Errorf("%d looks in an hour, want one a minute", looks)
		}
		w.watcher.Want("policies", nil)
		time.Sleep(2 * time.Minute)
		if looks := looksIn(time.Hour); looks != 0 {
			t.Errorf("%d looks in an hour in which nobody wants it", looks)
		}
	})
}

func TestANamedKindIsNotWatchedAndItsProblemIsKnownWhileItIsNotServed(t *testing.T) {
	w := newWorldWith(time.Hour, time.Hour)
	w.run(t)
	served := func() bool { return w.watcher.Problem(widgets) == nil }
	missing := func() bool { return !served() }
	watched := func() bool { _, known := w.watcher.Scope(deployments); return known }
	w.watcher.Name([]schema.GroupVersionKind{deployments, widgets})
	w.until(t, "a kind that is not served is a problem", missing)
	if err := w.watcher.Problem(deployments); err != nil || watched() {
		t.Errorf("a kind that is served, and only named: watched %t, problem %v", watched(), err)
	}

	told := w.count("kind Widget")
	w.serveWidgets()
	w.watcher.LookAgain()
	w.until(t, "it is none when it is served", served)
	w.until(t, "it is told that it is served", func() bool { return w.count("kind Widget") == told+1 })
	w.mu.Lock()
	w.served = w.served[:2]
	w.mu.Unlock()
	w.watcher.LookAgain()
	w.until(t, "it is one again when it is served no longer", missing)

	w.watcher.Want("policies", []schema.GroupVersionKind{deployments})
	w.until(t, "what was only named is watched when somebody wants it", watched)
	w.watcher.Want("policies", nil)
	w.until(t, "and not any more when nobody does", func() bool { return !watched() })
}

func TestAKindIsFoundAtOnceWhenTheServerTellsOfIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorldWith(time.Hour, time.Hour)
		w.run(t)
		w.watcher.Want("policies", []schema.GroupVersionKind{widgets})
		w.until(t, "it is not served", func() bool { return w.watcher.Problem(widgets) != nil })
		// What tells of it may be ahead of what lists it.
		began := time.Now()
		w.watcher.LookAgain()
		time.Sleep(300 * time.Millisecond)
		w.serveWidgets()
		w.until(t, "it is served", func() bool { return w.known(widget) })
		if took := time.Since(began); took > time.Second {
			t.Errorf("it took %s", took)
		}
	})
}

func TestNothingIsKnownOfAKindWhoseListFails(t *testing.T) {
	w := newWorld(object(web))
	var once sync.Once
	broken, failed := make(chan struct{}), make(chan struct{})
	w.server.PrependReactor("list", "deployments", func(clienttesting.Action) (bool, runtime.Object, error) {
		select {
		case <-broken:
			return false, nil, nil
		default:
			once.Do(func() { close(failed) })
			return true, nil, apierrors.NewInternalError(errors.New("etcd is away"))
		}
	})
	w.run(t)
	w.watcher.Want("bindings", []schema.GroupVersionKind{deployments})
	select {
	case <-failed:
	case <-time.After(patience):
		t.Fatal("nothing was listed")
	}
	if w.known(web) {
		t.Error("its absence from the cache is taken for knowledge")
	}
	close(broken)
	w.until(t, "the list succeeds", w.has(web))
}

func TestAKindWhoseDefinitionIsDeletedIsNoLongerKnown(t *testing.T) {
	w := newWorld(object(web))
	w.server.PrependReactor("list", "deployments", func(clienttesting.Action) (bool, runtime.Object, error) { return true, nil, notServed() })
	w.run(t)
	w.watcher.Want("bindings", []schema.GroupVersionKind{deployments})
	w.until(t, "the handlers hear of it", func() bool { return w.count("kind Deployment") >= 1 })
	w.until(t, "it is a problem", func() bool { return w.watcher.Problem(deployments) != nil })
	if w.known(web) {
		t.Error("something is concluded about its objects")
	}
}

// notServed is what a server says that does not know a path.
func notServed() error {
	return apierrors.NewGenericServerResponse(404, "get", schema.GroupResource{}, "", "404 page not found", 0, true)
}

func crd(group, kind string, versions ...string) *unstructured.Unstructured {
	served := []any{}
	for _, version := range versions {
		served = append(served, map[string]any{"name": version})
	}
	obj := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{
		"group": group, "names": map[string]any{"kind": kind}, "versions": served,
	}}}
	obj.SetAPIVersion("apiextensions.k8s.io/v1")
	obj.SetKind("CustomResourceDefinition")
	obj.SetName(strings.ToLower(kind) + "s." + group)
	return obj
}

func apiService(group, version string, remote bool) *unstructured.Unstructured {
	spec := map[string]any{"group": group, "version": version}
	if remote {
		spec["service"] = map[string]any{"namespace": "default", "name": "extension"}
	}
	obj := &unstructured.Unstructured{Object: map[string]any{"spec": spec}}
	obj.SetAPIVersion("apiregistration.k8s.io/v1")
	obj.SetKind("APIService")
	obj.SetName(version + "." + group)
	return obj
}

func TestOnlyAProofIsTakenForTheAbsenceOfATemplate(t *testing.T) {
	refused := errors.New("etcd is away")
	fail := func(verb, resource string, err error) func(*world) {
		return func(w *world) {
			w.server.PrependReactor(verb, resource, func(clienttesting.Action) (bool, runtime.Object, error) { return true, nil, err })
		}
	}
	tests := []struct {
		reason  string
		key     templates.Key
		server  []runtime.Object
		prepare func(*world)
		found   bool
		failure error // nil without an object: the absence is proven
	}{
		{reason: "it is there", key: web, server: []runtime.Object{object(web)}, found: true},
		{reason: "the server says that it is not", key: web},
		{reason: "the server fails", key: web, prepare: fail("get", "deployments", refused), failure: refused},
		{reason: "the server does not know the path, and has not deleted the kind", key: web, prepare: fail("get", "deployments", notServed()),
			server: []runtime.Object{apiService("apps", "v1", false)}, failure: templates.ErrUnproven},
		{reason: "its kind is defined and not served yet", key: widget, server: []runtime.Object{crd("example.com", "Widget", "v1")}, failure: templates.ErrUnproven},
		{reason: "its kind is defined in another version only, which is not served", key: widget, server: []runtime.Object{crd("example.com", "Widget", "v2")}, failure: templates.ErrUnproven},
		{reason: "a server that is not there at present may have its kind", key: widget, server: []runtime.Object{apiService("example.com", "v1", true)}, failure: templates.ErrUnproven},
		{reason: "this server itself has the group, and does not list it yet", key: widget, server: []runtime.Object{apiService("example.com", "v1", false)}, failure: templates.ErrUnproven},
		{reason: "nothing defines its kind", key: widget, server: []runtime.Object{
			crd("other.com", "Widget", "v1"), apiService("apps", "v1", false), apiService("other.com", "v1", true)}},
		{reason: "other kinds of its group are defined", key: widget, server: []runtime.Object{crd("example.com", "Gadget", "v1"), apiService("example.com", "v1", false)}},
		{reason: "a server that is not there may have its kind beside other kinds of the group", key: widget,
			server: []runtime.Object{crd("example.com", "Gadget", "v1"), apiService("example.com", "v1", true)}, failure: templates.ErrUnproven},
		{reason: "other kinds of its group are defined in another version", key: widget,
			server: []runtime.Object{crd("example.com", "Gadget", "v1"), apiService("example.com", "v2", false)}, failure: templates.ErrUnproven},
		{reason: "the definitions can't be listed", key: widget, prepare: fail("list", "customresourcedefinitions", refused), failure: refused},
		{reason: "the servers can't be listed", key: widget, prepare: fail("list", "apiservices", refused), failure: refused},
		{reason: "what was served before is out of date, and its kind is gone", key: widget, prepare: func(w *world) {
			w.serveWidgets()
			fail("get", "widgets", notServed())(w)
		}},
		{
			reason: "it is served in another version, and there", key: templates.Key{GroupVersionKind: schema.GroupVersionKind{Group: "example.com", Version: "v2", Kind: "Widget"}, NamespacedName: widget.NamespacedName},
			server: []runtime.Object{object(widget)}, prepare: func(w *world) { w.serveWidgets() }, found: true,
		},
		{
			reason: "it is served in another version, and not there", key: templates.Key{GroupVersionKind: schema.GroupVersionKind{Group: "example.com", Version: "v2", Kind: "Widget"}, NamespacedName: widget.NamespacedName},
			prepare: func(w *world) { w.serveWidgets() },
		},
	}
	for _, test := range tests {
		t.Run(test.reason, func(t *testing.T) {
			w := newWorld(test.server...)
			if test.prepare != nil {
				test.prepare(w)
			}
			got, err := w.watcher.Live(t.Context(), test.key)
			if !errors.Is(err, test.failure) {
				t.Errorf("the error is %v, want %v", err, test.failure)
			}
			if (got != nil) != test.found {
				t.Errorf("found %v", got)
			}
		})
	}
}

func TestWritesReachTheServer(t *testing.T) {
	w := newWorld(object(web))
	if err := w.watcher.Patch(t.Context(), web, []byte(`{"metadata":{"labels":{"team":"blue"}}}`)); err != nil {
		t.Fatal(err)
	}
	live, err := w.watcher.Live(t.Context(), web)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"team": "blue"}, live.GetLabels()); diff != "" {
		t.Errorf("labels (-want +got):\n%s", diff)
	}
	live.Object["status"] = map[string]any{"readyReplicas": int64(2)}
	if _, err := w.watcher.UpdateStatus(t.Context(), live); err != nil {
		t.Fatal(err)
	}
	live, _ = w.watcher.Live(t.Context(), web)
	if ready, _, _ := unstructured.NestedInt64(live.Object, "status", "readyReplicas"); ready != 2 {
		t.Errorf("the status is %v", live.Object["status"])
	}
	if err := w.watcher.Patch(t.Context(), widget, []byte(`{}`)); !errors.Is(err, templates.ErrUnproven) {
		t.Errorf("writing an object of an unknown kind: %v", err)
	}
}
