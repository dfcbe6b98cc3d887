package fleet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
	"k8s.io/client-go/tools/clientcmd"

	"windlass.dev/windlass/hack/cluster"
)

// limit is how long a test waits for what must happen: long enough for a machine that is busy with
// other things, for a test that fails when it is slow proves nothing about correctness.
const limit = 90 * time.Second

// Object is the identity of one object.
type Object struct {
	APIVersion, Kind, Namespace, Name string
}

func (o Object) String() string {
	if o.Namespace == "" {
		return o.Kind + " " + o.Name
	}
	return o.Kind + " " + o.Namespace + "/" + o.Name
}

// Cluster is the hub's MemberCluster of that name.
func Cluster(name string) Object {
	return Object{"cluster.karmada.io/v1alpha1", "MemberCluster", "", name}
}

// Binding is the PropagationBinding of a namespaced template.
func Binding(template Object) Object {
	return Object{"work.karmada.io/v1alpha1", "PropagationBinding", template.Namespace, template.Name + "-" + strings.ToLower(template.Kind)}
}

// API reads and writes one API server, the hub's or a member's, with all rights.
type API struct {
	name    string
	Config  *rest.Config
	Dynamic dynamic.Interface
	mapper  *restmapper.DeferredDiscoveryRESTMapper
}

func newAPI(name, kubeconfig string, dial cluster.Dial) (*API, error) {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("reading the kubeconfig of %s: %w", name, err)
	}
	config.Dial, config.QPS = dial, -1
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	discoverer, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return nil, err
	}
	return &API{
		name: name, Config: config, Dynamic: client,
		mapper: restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(discoverer)),
	}, nil
}

func (a *API) resource(o Object) (dynamic.ResourceInterface, error) {
	resource, _, err := a.Find(o)
	return resource, err
}

// Find is Resource for goroutines beside the test's own, which can't end it; it says too whether objects of the
// kind lie in namespaces.
func (a *API) Find(o Object) (resource dynamic.ResourceInterface, namespaced bool, err error) {
	group, err := schema.ParseGroupVersion(o.APIVersion)
	if err != nil {
		return nil, false, err
	}
	kind := group.WithKind(o.Kind)
	mapping, err := a.mapper.RESTMapping(kind.GroupKind(), kind.Version)
	if meta.IsNoMatchError(err) {
		a.mapper.Reset() // a custom resource definition may have come since
		mapping, err = a.mapper.RESTMapping(kind.GroupKind(), kind.Version)
	}
	if err != nil {
		return nil, false, err
	}
	if mapping.Scope.Name() == meta.RESTScopeNameRoot {
		return a.Dynamic.Resource(mapping.Resource), false, nil
	}
	return a.Dynamic.Resource(mapping.Resource).Namespace(o.Namespace), true, nil
}

func (a *API) read(ctx context.Context, o Object) (*unstructured.Unstructured, error) {
	resource, err := a.resource(o)
	if err != nil {
		return nil, err
	}
	return resource.Get(ctx, o.Name, metav1.GetOptions{})
}

// Namespace makes a namespace with a name of its own, which is deleted when the test ends.
func (a *API) Namespace(t *testing.T) string {
	t.Helper()
	name := fmt.Sprintf("e2e-%06x", rand.IntN(1<<24))
	a.Apply(t, "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: "+name)
	return name
}

// Apply applies every object of a YAML text, as `kubectl apply --server-side` does, and deletes them when the test ends.
func (a *API) Apply(t *testing.T, manifests string) {
	t.Helper()
	var err error
	// A kind is listed a moment after its definition is established.
	_ = await(t.Context(), func() error {
		var unlisted *meta.NoKindMatchError
		if err = a.TryApply(t, manifests); errors.As(err, &unlisted) {
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatalf("applying to %s: %v", a.name, err)
	}
}

// TryApply is Apply for manifests that may be refused; it stops at the first that is, with the server's error.
func (a *API) TryApply(t *testing.T, manifests string) error {
	t.Helper()
	objects, err := decode(manifests)
	if err != nil {
		t.Fatal(err)
	}
	for _, object := range objects {
		if err := a.applyOne(t, object); err != nil {
			return fmt.Errorf("%s: %w", identity(object), err)
		}
	}
	return nil
}

func (a *API) applyOne(t *testing.T, object *unstructured.Unstructured) error {
	resource, err := a.resource(identity(object))
	if err != nil {
		return err
	}
	_, existed := resource.Get(t.Context(), object.GetName(), metav1.GetOptions{})
	_, err = resource.Apply(t.Context(), object.GetName(), object, metav1.ApplyOptions{FieldManager: "e2e", Force: true})
	if err != nil {
		return err
	}
	if apierrors.IsNotFound(existed) {
		a.DeleteAfter(t, identity(object))
	}
	return nil
}

// DeleteAfter deletes an object when the test is over, if it is there then.
func (a *API) DeleteAfter(t *testing.T, o Object) {
	t.Helper()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), limit)
		defer cancel()
		resource, err := a.resource(o)
		if err == nil {
			err = resource.Delete(ctx, o.Name, metav1.DeleteOptions{})
		}
		if err != nil && !apierrors.IsNotFound(err) {
			t.Errorf("deleting %s on %s after the test: %v", o, a.name, err)
		}
	})
}

// RemoveAfter deletes an object when the test is over, if it is there then, and waits until it is gone.
func (a *API) RemoveAfter(t *testing.T, o Object) {
	t.Helper()
	t.Cleanup(func() {
		err := await(context.Background(), func() error { return a.gone(context.Background(), o) })
		if err != nil {
			t.Errorf("waiting for %s to be gone from %s after the test: %v", o, a.name, err)
		}
	})
	a.DeleteAfter(t, o)
}

// Resource gives what the other verbs do not: the requests that an object's resource takes.
func (a *API) Resource(t *testing.T, o Object) dynamic.ResourceInterface {
	t.Helper()
	resource, err := a.resource(o)
	if err != nil {
		t.Fatalf("finding the resource of %s on %s: %v", o, a.name, err)
	}
	return resource
}

// Decode returns the objects of a YAML text.
func Decode(t *testing.T, manifests string) []*unstructured.Unstructured {
	t.Helper()
	objects, err := decode(manifests)
	if err != nil {
		t.Fatal(err)
	}
	return objects
}

// EventuallyWarned waits until there is an Event of type Warning about an object, with that reason
// and a message that contains the text.
func (a *API) EventuallyWarned(t *testing.T, about Object, reason, text string) {
	t.Helper()
	namespace := about.Namespace
	if namespace == "" {
		namespace = metav1.NamespaceDefault
	}
	events := a.Resource(t, Object{APIVersion: "v1", Kind: "Event", Namespace: namespace})
	WaitFor(t, fmt.Sprintf("an Event about %s on %s", about, a.name), func() error {
		list, err := events.List(t.Context(), metav1.ListOptions{FieldSelector: "type=Warning,involvedObject.kind=" + about.Kind + ",involvedObject.name=" + about.Name})
		if err != nil {
			return err
		}
		var said []string
		for _, event := range list.Items {
			found := fmt.Sprintf("%v: %v", event.Object["reason"], event.Object["message"])
			if event.Object["reason"] == reason && strings.Contains(found, text) {
				return nil
			}
			said = append(said, found)
		}
		return fmt.Errorf("no Event has the reason %s and says %q; there are %q", reason, text, said)
	})
}

func identity(object *unstructured.Unstructured) Object {
	return Object{object.GetAPIVersion(), object.GetKind(), object.GetNamespace(), object.GetName()}
}

func decode(manifests string) ([]*unstructured.Unstructured, error) {
	decoder := yaml.NewYAMLOrJSONDecoder(strings.NewReader(manifests), 4096)
	var objects []*unstructured.Unstructured
	for {
		object := &unstructured.Unstructured{}
		err := decoder.Decode(object)
		if err == io.EOF {
			return objects, nil
		}
		if err != nil {
			return nil, fmt.Errorf("reading a manifest of the test: %w", err)
		}
		if len(object.Object) > 0 {
			objects = append(objects, object)
		}
	}
}

// Patch merges a JSON merge patch, which may be written as YAML, into an object.
func (a *API) Patch(t *testing.T, o Object, patch string) {
	t.Helper()
	if err := a.TryPatch(t, o, patch); err != nil {
		t.Fatalf("changing %s on %s: %v", o, a.name, err)
	}
}

// TryPatch is Patch for changes that may be refused.
func (a *API) TryPatch(t *testing.T, o Object, patch string) error {
	t.Helper()
	raw, err := yaml.ToJSON([]byte(patch))
	if err != nil {
		t.Fatal(err)
	}
	resource, err := a.resource(o)
	if err == nil {
		_, err = resource.Patch(t.Context(), o.Name, types.MergePatchType, raw, metav1.PatchOptions{FieldManager: "kubectl-edit"})
	}
	return err
}

// Delete deletes an object, its dependents in the background.
func (a *API) Delete(t *testing.T, o Object) {
	t.Helper()
	background := metav1.DeletePropagationBackground
	resource, err := a.resource(o)
	if err == nil {
		err = resource.Delete(t.Context(), o.Name, metav1.DeleteOptions{PropagationPolicy: &background})
	}
	if err != nil {
		t.Fatalf("deleting %s on %s: %v", o, a.name, err)
	}
}

// Get returns an object that must exist.
func (a *API) Get(t *testing.T, o Object) *unstructured.Unstructured {
	t.Helper()
	object, err := a.read(t.Context(), o)
	if err != nil {
		t.Fatalf("reading %s on %s: %v", o, a.name, err)
	}
	return object
}

// Lacks tells whether an object does not exist now. It proves something only after an event that
// would have come later than the object: wait for that first.
func (a *API) Lacks(t *testing.T, o Object) bool {
	t.Helper()
	_, err := a.read(t.Context(), o)
	if err != nil && !apierrors.IsNotFound(err) && !meta.IsNoMatchError(err) {
		t.Fatalf("reading %s on %s: %v", o, a.name, err)
	}
	return err != nil
}

// Check looks at an object and says what is not yet as it shall be.
type Check func(*unstructured.Unstructured) error

// Eventually waits until the object exists and passes every check, and returns it.
func (a *API) Eventually(t *testing.T, o Object, checks ...Check) *unstructured.Unstructured {
	t.Helper()
	var found *unstructured.Unstructured
	WaitFor(t, fmt.Sprintf("%s on %s", o, a.name), func() error {
		object, err := a.read(t.Context(), o)
		if err != nil {
			return err
		}
		for _, check := range checks {
			if err := check(object); err != nil {
				return err
			}
		}
		found = object
		return nil
	})
	return found
}

// EventuallyGone waits until the object does not exist.
func (a *API) EventuallyGone(t *testing.T, o Object) {
	t.Helper()
	WaitFor(t, fmt.Sprintf("%s to be gone from %s", o, a.name), func() error { return a.gone(t.Context(), o) })
}

// NothingLeaves waits until no object of a core kind is being deleted.
func (a *API) NothingLeaves(t *testing.T, kind string) {
	t.Helper()
	WaitFor(t, fmt.Sprintf("every %s that is being deleted to be gone from %s", kind, a.name), func() error {
		list, err := a.Resource(t, Object{APIVersion: "v1", Kind: kind}).List(t.Context(), metav1.ListOptions{})
		if err != nil {
			return err
		}
		for _, object := range list.Items {
			if object.GetDeletionTimestamp() != nil {
				return fmt.Errorf("%s is being deleted since %v", object.GetName(), object.GetDeletionTimestamp())
			}
		}
		return nil
	})
}

func (a *API) gone(ctx context.Context, o Object) error {
	object, err := a.read(ctx, o)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	return fmt.Errorf("it exists, deletionTimestamp %v, finalizers %v", object.GetDeletionTimestamp(), object.GetFinalizers())
}

// WaitFor waits until cond returns no error; when it does not in time, the test ends with cond's last word.
func WaitFor(t *testing.T, what string, cond func() error) {
	t.Helper()
	if err := await(t.Context(), cond); err != nil {
		t.Fatalf("waited %v for %s: %v", limit, what, err)
	}
}

func await(ctx context.Context, cond func() error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	ticker := time.NewTicker(25 * time.Millisecond)
	defer ticker.Stop()
	for {
		err := cond()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-ticker.C:
		}
	}
}

// As converts an object to its Go type.
func As[T any](t *testing.T, object *unstructured.Unstructured) *T {
	t.Helper()
	typed := new(T)
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, typed); err != nil {
		t.Fatalf("converting %s: %v", identity(object), err)
	}
	return typed
}

// Field checks that the value at a path, such as "spec.replicas", is the wanted one. Items of a list
// have numbers: "spec.containers.0.image". A key with a dot in it cannot be named.
func Field(path string, want any) Check {
	return func(object *unstructured.Unstructured) error {
		got := lookup(object.Object, strings.Split(path, "."))
		if asJSON(got) != asJSON(want) {
			return fmt.Errorf("%s is %s, want %s", path, asJSON(got), asJSON(want))
		}
		return nil
	}
}

func lookup(value any, path []string) any {
	for _, step := range path {
		switch container := value.(type) {
		case map[string]any:
			value = container[step]
		case []any:
			var index int
			if _, err := fmt.Sscanf(step, "%d", &index); err != nil || index >= len(container) {
				return nil
			}
			value = container[index]
		default:
			return nil
		}
	}
	return value
}

func asJSON(value any) string {
	raw, err := json.Marshal(value)
	if err != nil {
		return fmt.Sprintf("%v", value)
	}
	return string(raw)
}

// ConditionIs checks the status of one of status.conditions.
func ConditionIs(kind, status string) Check {
	return func(object *unstructured.Unstructured) error {
		condition := conditionOf(object, kind)
		if condition == nil {
			return fmt.Errorf("it has no condition %s", kind)
		}
		if condition["status"] != status {
			return fmt.Errorf("condition %s is %v (%v: %v), want %s", kind, condition["status"], condition["reason"], condition["message"], status)
		}
		return nil
	}
}

// ConditionSays checks that the message of a condition, or its reason, contains a text.
func ConditionSays(kind, text string) Check {
	return func(object *unstructured.Unstructured) error {
		condition := conditionOf(object, kind)
		said := fmt.Sprintf("%v: %v", condition["reason"], condition["message"])
		if !strings.Contains(said, text) {
			return fmt.Errorf("condition %s says %q, which lacks %q", kind, said, text)
		}
		return nil
	}
}

func conditionOf(object *unstructured.Unstructured, kind string) map[string]any {
	conditions, _, _ := unstructured.NestedSlice(object.Object, "status", "conditions")
	for _, item := range conditions {
		if condition, ok := item.(map[string]any); ok && condition["type"] == kind {
			return condition
		}
	}
	return nil
}
