package apiserver_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/tools/cache"

	clusterv1alpha1 "windlass.dev/windlass/api/cluster/v1alpha1"
	workv1alpha1 "windlass.dev/windlass/api/work/v1alpha1"
	"windlass.dev/windlass/hub/apiserver"
)

// sharedWith are the namesakes of this file's objects: what each of them is written with, the others share.
var sharedWith = []string{"a", "b", "c"}

// stored is an object as the store has it, byte for byte.
type stored interface {
	apiserver.Object
	Marshal() ([]byte, error)
}

// sharer is a kind whose objects share what they have alike.
type sharer[T stored] struct {
	store    *apiserver.Store[T]
	resource schema.GroupVersionResource
	example  T
	// make creates an object that shares all that it can with those of other names.
	make func(t *testing.T, namespace, name string) error
	// shared are where the parts lie that an object shares.
	shared func(T) []any
	fields []sharedField
}

// sharedField is a list of which objects share parts.
type sharedField struct {
	path []string
	// text leads to a text in the first item: one of the letter a, of this length.
	text   []string
	length int
	// keyed lists are merged by an apply: what somebody else put there stays.
	keyed bool
}

func TestWritingAWorkChangesNoOther(t *testing.T) {
	works := hub.server.Stores.Works
	leavesOthersAlone(t, sharer[*workv1alpha1.PropagationWork]{
		store: works, example: &workv1alpha1.PropagationWork{},
		resource: workv1alpha1.SchemeGroupVersion.WithResource("propagationworks"),
		make: func(t *testing.T, namespace, name string) error {
			work := newWork("", name, shareable("a"))
			work.Namespace = namespace
			work.Spec.Workload.Manifests = append(work.Spec.Workload.Manifests, runtime.RawExtension{Raw: []byte(shareable("b"))})
			created, err := works.Create(t.Context(), work)
			if err != nil {
				return err
			}
			reported := created.DeepCopy()
			for _, name := range []string{"a", "b"} {
				reported.Status.ManifestStatuses = append(reported.Status.ManifestStatuses, workv1alpha1.ManifestStatus{
					Identifier: workv1alpha1.ResourceIdentifier{Version: "v1", Kind: "ConfigMap", Namespace: "default", Name: name},
					Status:     shareableStatus(),
				})
			}
			_, err = works.UpdateStatus(t.Context(), reported)
			return err
		},
		shared: func(work *workv1alpha1.PropagationWork) (parts []any) {
			for _, manifest := range work.Spec.Workload.Manifests {
				parts = append(parts, &manifest.Raw[0])
			}
			for _, status := range work.Status.ManifestStatuses {
				parts = append(parts, &status.Status.Raw[0])
			}
			return parts
		},
		fields: []sharedField{
			{path: []string{"spec", "workload", "manifests"}, text: []string{"data", "text"}, length: 200},
			{path: []string{"status", "manifestStatuses"}, text: []string{"status", "text"}, length: 200},
		},
	})
}

func TestWritingABindingChangesNoOther(t *testing.T) {
	bindings := hub.server.Stores.Bindings
	leavesOthersAlone(t, sharer[*workv1alpha1.PropagationBinding]{
		store: bindings.Store, example: &workv1alpha1.PropagationBinding{},
		resource: workv1alpha1.SchemeGroupVersion.WithResource("propagationbindings"),
		make: func(t *testing.T, namespace, name string) error {
			binding := newBinding(namespace, name)
			for i, cluster := range []string{strings.Repeat("a", 20), "y", "z"} {
				binding.Spec.Clusters = append(binding.Spec.Clusters, workv1alpha1.TargetCluster{Name: cluster, Replicas: int32(i)})
			}
			created, err := bindings.Create(t.Context(), binding)
			if err != nil {
				return err
			}
			reported := created.DeepCopy()
			for _, cluster := range binding.Spec.Clusters {
				reported.Status.AggregatedStatus = append(reported.Status.AggregatedStatus, workv1alpha1.AggregatedStatusItem{
					ClusterName: cluster.Name, Status: shareableStatus(),
				})
			}
			_, err = bindings.UpdateStatus(t.Context(), reported)
			return err
		},
		shared: func(binding *workv1alpha1.PropagationBinding) (parts []any) {
			parts = append(parts, &binding.Spec.Clusters[0])
			for _, item := range binding.Status.AggregatedStatus {
				parts = append(parts, &item.Status.Raw[0])
			}
			return parts
		},
		fields: []sharedField{
			{path: []string{"spec", "clusters"}, text: []string{"name"}, length: 20},
			{path: []string{"status", "aggregatedStatus"}, text: []string{"status", "text"}, length: 200, keyed: true},
		},
	})
}

func TestWritingAClusterChangesNoOther(t *testing.T) {
	clusters := hub.server.Stores.MemberClusters
	leavesOthersAlone(t, sharer[*clusterv1alpha1.MemberCluster]{
		store: clusters, example: &clusterv1alpha1.MemberCluster{},
		resource: clusterv1alpha1.SchemeGroupVersion.WithResource("memberclusters"),
		make: func(t *testing.T, _, name string) error {
			created, err := clusters.Create(t.Context(), newCluster(name))
			if err != nil {
				return err
			}
			reported := created.DeepCopy()
			for _, group := range []string{strings.Repeat("a", 20), "apps/v1"} {
				reported.Status.APIEnablements = append(reported.Status.APIEnablements, clusterv1alpha1.APIEnablement{
					GroupVersion: group, Resources: []clusterv1alpha1.APIResource{{Name: "things", Kind: "Thing"}},
				})
			}
			_, err = clusters.UpdateStatus(t.Context(), reported)
			return err
		},
		shared: func(cluster *clusterv1alpha1.MemberCluster) []any { return []any{&cluster.Status.APIEnablements[0]} },
		fields: []sharedField{{path: []string{"status", "apiEnablements"}, text: []string{"groupVersion"}, length: 20}},
	})
}

func shareable(name string) string {
	return fmt.Sprintf(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":%q,"namespace":"default"},"data":{"text":%q}}`, name, strings.Repeat("a", 200))
}

func shareableStatus() *runtime.RawExtension {
	return &runtime.RawExtension{Raw: fmt.Appendf(nil, `{"text":%q}`, strings.Repeat("a", 200))}
}

// leavesOthersAlone writes one of three objects in every way there is. Whoever decodes into an object that was decoded before would
// write into what it shares with the others, which nobody writes: the caches would show what the store does not have.
func leavesOthersAlone[T stored](t *testing.T, kind sharer[T]) {
	informer := synced(t, kind.store.ListerWatcher(), kind.example)
	known := func(namespace, name string) (object T, found bool) {
		stored, found, _ := informer.GetStore().GetByKey(cache.NewObjectName(namespace, name).String())
		if found {
			object = stored.(T)
		}
		return object, found
	}
	kind.store.Know(known) // as in a hub
	defer kind.store.Know(func(string, string) (none T, found bool) { return none, false })
	for number, c := range []struct {
		reason string
		write  func(context.Context, target[T]) error
	}{
		{"a merge patch is encoded, merged and decoded", patched[T](types.MergePatchType)},
		{"a strategic merge patch goes by way of maps", patched[T](types.StrategicMergePatchType)},
		{"a JSON patch is encoded, patched and decoded", func(ctx context.Context, to target[T]) error {
			return to.patch(ctx, types.JSONPatchType, []any{map[string]any{"op": "replace", "path": "/" + strings.Join(to.path, "/"), "value": to.value}})
		}},
		{"a JSON patch of one text is followed by decoding the rest of it, too", func(ctx context.Context, to target[T]) error {
			list := "/" + strings.Join(to.path, "/")
			patch := []any{map[string]any{"op": "replace", "path": list + "/0/" + strings.Join(to.text, "/"), "value": to.first()}}
			if to.fewer > 0 {
				patch = append(patch, map[string]any{"op": "remove", "path": fmt.Sprint(list, "/", len(to.value))})
			}
			return to.patch(ctx, types.JSONPatchType, patch)
		}},
		{"an apply is merged by the schema", func(ctx context.Context, to target[T]) error {
			if to.keyed && to.fewer > 0 {
				return patched[T](types.MergePatchType)(ctx, to)
			}
			applied := to.alone()
			applied.SetGroupVersionKind(to.object.GroupVersionKind())
			applied.SetName(to.object.GetName())
			applied.SetNamespace(to.object.GetNamespace())
			return to.patch(ctx, types.ApplyPatchType, applied.Object)
		}},
		{"an update is decoded", func(ctx context.Context, to target[T]) error {
			present, err := to.client.Get(ctx, to.object.GetName(), metav1.GetOptions{})
			if err != nil {
				return err
			}
			if err := unstructured.SetNestedSlice(present.Object, to.value, to.path...); err != nil {
				return err
			}
			if len(to.subresource) > 0 {
				_, err = to.client.UpdateStatus(ctx, present, metav1.UpdateOptions{})
			} else {
				_, err = to.client.Update(ctx, present, metav1.UpdateOptions{})
			}
			return err
		}},
		{"the hub's own update is of what it read", func(ctx context.Context, to target[T]) error {
			present, err := kind.store.Get(ctx, to.object.GetNamespace(), to.object.GetName())
			if err != nil {
				return err
			}
			own := present.DeepCopyObject().(T)
			content, err := json.Marshal(to.alone().Object)
			if err != nil {
				return err
			}
			if err := json.Unmarshal(content, own); err != nil { // a copy's own bytes
				return err
			}
			if len(to.subresource) > 0 {
				_, err = kind.store.UpdateStatus(ctx, own)
			} else {
				_, err = kind.store.Update(ctx, own)
			}
			return err
		}},
	} {
		t.Run(c.reason, func(t *testing.T) {
			for at, field := range kind.fields {
				name := fmt.Sprintf("overwritten-%d-%d", number, at)
				f := &family[T]{sharer: kind, informer: informer, namespace: "karmada-es-" + name}
				if f.clusterScoped() {
					f.namespace = ""
				} else {
					makeNamespace(t, f.namespace)
				}
				for _, member := range sharedWith {
					f.names = append(f.names, name+"-"+member)
				}
				f.bornIn(t)
				before := f.look(t)
				// Twice without a look at the caches: the second begins with what the store has, while those are behind.
				f.change(t, c.write, field, before, change{"b", field.length, 0}, change{"c", field.length, 0})
				f.change(t, c.write, field, before, change{"d", field.length * 3 / 4, 0})
				f.change(t, c.write, field, before, change{"e", field.length + 1, 0})
				f.change(t, c.write, field, before, change{"f", field.length / 2, 1})
			}
		})
	}
}

// target is what to write where.
type target[T stored] struct {
	sharedField
	client      dynamic.ResourceInterface
	object      *unstructured.Unstructured
	subresource []string
	value       []any
	fewer       int
}

// alone is an object of nothing but the field.
func (to target[T]) alone() *unstructured.Unstructured {
	alone := &unstructured.Unstructured{Object: map[string]any{}}
	if err := unstructured.SetNestedSlice(alone.Object, to.value, to.path...); err != nil {
		panic(err)
	}
	return alone
}

// first is the text in the first item.
func (to target[T]) first() string {
	text, _, _ := unstructured.NestedString(to.value[0].(map[string]any), to.text...)
	return text
}

func (to target[T]) patch(ctx context.Context, how types.PatchType, content any) error {
	body, err := json.Marshal(content)
	if err != nil {
		return err
	}
	options := metav1.PatchOptions{FieldManager: "overwriting"}
	if how == types.ApplyPatchType {
		force := true
		options.Force = &force
	}
	_, err = to.client.Patch(ctx, to.object.GetName(), how, body, options, to.subresource...)
	return err
}

func patched[T stored](how types.PatchType) func(context.Context, target[T]) error {
	return func(ctx context.Context, to target[T]) error { return to.patch(ctx, how, to.alone().Object) }
}

// change is what becomes of a field.
type change struct {
	letter string
	length int // of the text in the first item
	fewer  int // items than there were
}

// family are objects of a kind that share what they can.
type family[T stored] struct {
	sharer[T]
	informer  cache.SharedIndexInformer
	namespace string
	names     []string
	// seen are all objects that any cache has shown, with what they were then: a watch may still be told of the old ones.
	seen map[any]string
}

func (f *family[T]) clusterScoped() bool {
	_, is := any(f.example).(*clusterv1alpha1.MemberCluster)
	return is
}

func (f *family[T]) client() dynamic.ResourceInterface {
	if f.namespace == "" {
		return hub.dynamic.Resource(f.resource)
	}
	return hub.dynamic.Resource(f.resource).Namespace(f.namespace)
}

// bornIn makes the objects, and sees to it that there is something to spoil.
func (f *family[T]) bornIn(t *testing.T) {
	t.Helper()
	f.seen = map[any]string{}
	for _, name := range f.names {
		if err := f.make(t, f.namespace, name); err != nil {
			t.Fatal(err)
		}
		f.caughtUp(t, name)
	}
	var first []any
	for _, object := range f.cached(t) {
		if parts := f.shared(object); first == nil {
			first = parts
		} else if !slices.Equal(first, parts) {
			t.Fatal("the objects share nothing")
		}
	}
}

// caughtUp waits until both caches have of an object what the store has.
func (f *family[T]) caughtUp(t *testing.T, name string) {
	t.Helper()
	present, err := f.store.Get(t.Context(), f.namespace, name)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the caches have "+name+" as it is", func(context.Context) (bool, error) {
		cached, found := f.cached(t)[name]
		informed := f.informed(name)
		return found && informed != nil && cached.GetResourceVersion() == present.GetResourceVersion() &&
			(*informed).GetResourceVersion() == present.GetResourceVersion(), nil
	})
}

// cached are the objects of the watch cache, by name.
func (f *family[T]) cached(t *testing.T) map[string]T {
	t.Helper()
	list, _, err := f.store.List(t.Context(), apiserver.ListOptions{Namespace: f.namespace, Cached: true})
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]T{}
	for _, object := range list {
		if slices.Contains(f.names, object.GetName()) {
			found[object.GetName()] = object
		}
	}
	return found
}

func (f *family[T]) informed(name string) *T {
	object, found, _ := f.informer.GetStore().GetByKey(cache.NewObjectName(f.namespace, name).String())
	if !found {
		return nil
	}
	typed := object.(T)
	return &typed
}

// look tells what everybody who is asked for the objects has of them, by where that is and by name.
func (f *family[T]) look(t *testing.T) map[string]map[string]string {
	t.Helper()
	found := map[string]map[string]string{}
	note := func(where, name, content string) {
		if found[name] == nil {
			found[name] = map[string]string{}
		}
		found[name][where] = content
	}
	for name, object := range f.cached(t) {
		note("watch cache", name, f.remember(t, object))
	}
	for _, name := range f.names {
		note("informer", name, f.remember(t, *f.informed(name)))
		object, err := f.store.Get(t.Context(), f.namespace, name)
		if err != nil {
			t.Fatal(err)
		}
		note("store", name, f.remember(t, object))
		for where, version := range map[string]string{"API, from the store": "", "API, from the watch cache": "0"} {
			object, err := f.client().Get(t.Context(), name, metav1.GetOptions{ResourceVersion: version})
			if err != nil {
				t.Fatal(err)
			}
			note(where, name, encoded(t, object))
		}
	}
	list, err := f.client().List(t.Context(), metav1.ListOptions{ResourceVersion: "0"})
	if err != nil {
		t.Fatal(err)
	}
	for i := range list.Items {
		if item := &list.Items[i]; slices.Contains(f.names, item.GetName()) {
			note("API, listed from the watch cache", item.GetName(), encoded(t, item))
		}
	}
	return found
}

func (f *family[T]) remember(t *testing.T, object T) string {
	t.Helper()
	content, err := object.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if _, known := f.seen[object]; !known {
		f.seen[object] = string(content)
	}
	return string(content)
}

func encoded(t *testing.T, object *unstructured.Unstructured) string {
	t.Helper()
	content, err := object.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// change changes the first of the objects, and looks whether that is all that happens.
func (f *family[T]) change(t *testing.T, write func(context.Context, target[T]) error, field sharedField, before map[string]map[string]string, changes ...change) {
	t.Helper()
	changed := f.names[0]
	var to target[T]
	for _, c := range changes {
		original := &unstructured.Unstructured{} // as the others are
		if err := original.UnmarshalJSON([]byte(before[changed]["API, from the store"])); err != nil {
			t.Fatal(err)
		}
		to = target[T]{sharedField: field, client: f.client(), object: original, fewer: c.fewer}
		if field.path[0] == "status" {
			to.subresource = []string{"status"}
		}
		items, found, err := unstructured.NestedSlice(original.Object, field.path...)
		if err != nil || !found {
			t.Fatalf("%v: found %t, error %v", field.path, found, err)
		}
		if err := unstructured.SetNestedField(items[0].(map[string]any), strings.Repeat(c.letter, c.length), field.text...); err != nil {
			t.Fatal(err)
		}
		to.value = items[:len(items)-c.fewer]
		if err := write(t.Context(), to); err != nil {
			t.Fatalf("%v of %d %q: %v", field.path, c.length, c.letter, err)
		}
	}
	f.caughtUp(t, changed)
	what := fmt.Sprintf("after a change of %v to %d %q", field.path, len(to.first()), to.first()[:1])
	spoiled := 0
	for object, was := range f.seen {
		if is, err := object.(T).Marshal(); err != nil || string(is) != was {
			spoiled++
		}
	}
	if spoiled > 0 {
		t.Errorf("%s %d of %d objects that somebody may hold are others", what, spoiled, len(f.seen))
	}
	after := f.look(t)
	for _, other := range f.names[1:] {
		for where, was := range before[other] {
			if is := after[other][where]; is != was {
				t.Errorf("%s %s is another in the %s:\n%s", what, other, where, cmp.Diff(was, is))
			}
		}
	}
	for where, content := range after[changed] {
		if !strings.HasPrefix(where, "API") {
			continue
		}
		object := &unstructured.Unstructured{}
		if err := object.UnmarshalJSON([]byte(content)); err != nil {
			t.Fatal(err)
		}
		got, _, _ := unstructured.NestedSlice(object.Object, field.path...)
		if diff := cmp.Diff(to.value, got); diff != "" {
			t.Errorf("%s the %s has (-want +got):\n%s", what, where, diff)
		}
	}
	if t.Failed() { // what comes after would only say so again
		t.FailNow()
	}
}
