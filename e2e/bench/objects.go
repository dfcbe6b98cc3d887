package main

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"windlass.dev/windlass/e2e/simagent/control"
)

// groupLabel tells which policy is meant for an object.
const groupLabel = "group"

// policy makes a policy for the objects of a kind with the group's label.
func (h *herd) policy(ctx context.Context, group, apiVersion, kind string, placement map[string]any) error {
	object := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "policy.karmada.io/v1alpha1", "kind": "PropagationPolicy",
		"metadata": map[string]any{"name": group, "namespace": namespace},
		"spec": map[string]any{
			"resourceSelectors": []any{map[string]any{
				"apiVersion": apiVersion, "kind": kind, "labelSelector": map[string]any{"matchLabels": map[string]any{groupLabel: group}},
			}},
			"placement": placement,
		},
	}}
	if _, err := h.api.Resource(policies).Namespace(namespace).Create(ctx, object, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("making policy %s: %w", group, err)
	}
	return nil
}

// toFirst places everything in the first so many clusters: 1, 10, 100 and so on, or all of them.
func (h *herd) toFirst(clusters int) map[string]any {
	label := "simulated"
	if clusters < h.agents {
		label = fmt.Sprintf("first-%d", clusters)
	}
	return map[string]any{"clusterAffinity": map[string]any{"labelSelector": map[string]any{"matchLabels": map[string]any{label: "yes"}}}}
}

// isPowerOfTen says for how many clusters there is a label.
func isPowerOfTen(n int) bool {
	for ; n > 1; n /= 10 {
		if n%10 != 0 {
			return false
		}
	}
	return n == 1
}

// web is a Deployment of about 2 KB that says when it was sent.
func web(name, group string, replicas int64) *unstructured.Unstructured {
	labels := map[string]any{"app": name}
	var env []any
	for i := range 20 {
		env = append(env, map[string]any{"name": fmt.Sprintf("SETTING_%02d", i), "value": fmt.Sprintf("value-of-setting-%02d-in-the-environment", i)})
	}
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "apps/v1", "kind": "Deployment",
		"metadata": map[string]any{"name": name, "namespace": namespace, "labels": map[string]any{groupLabel: group}},
		"spec": map[string]any{
			"replicas": replicas, "selector": map[string]any{"matchLabels": labels},
			"template": map[string]any{
				"metadata": map[string]any{"labels": labels},
				"spec": map[string]any{"containers": []any{map[string]any{
					"name": "web", "image": "example.test/web:" + control.Stamp(time.Now()), "env": env,
					"resources": map[string]any{"requests": map[string]any{"cpu": "100m", "memory": "64Mi"}},
				}}},
			},
		},
	}}
}

// settings is a ConfigMap of about 1 KB that says when it was sent.
func settings(name, group string) *unstructured.Unstructured {
	data := map[string]any{"sent": control.Stamp(time.Now())}
	for i := range 20 {
		data[fmt.Sprintf("setting-%02d", i)] = fmt.Sprintf("value-of-setting-%02d", i)
	}
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "ConfigMap",
		"metadata": map[string]any{"name": name, "namespace": namespace, "labels": map[string]any{groupLabel: group}},
		"data":     data,
	}}
}

func (h *herd) create(ctx context.Context, resource schema.GroupVersionResource, object *unstructured.Unstructured) error {
	if _, err := h.api.Resource(resource).Namespace(namespace).Create(ctx, object, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("creating %s %s: %w", object.GetKind(), object.GetName(), err)
	}
	return nil
}

// setImage gives a Deployment of web's a new image that says when it was sent, as kubectl set image does.
func (h *herd) setImage(ctx context.Context, name string) error {
	patch := fmt.Sprintf(`[{"op":"replace","path":"/spec/template/spec/containers/0/image","value":"example.test/web:%s"}]`, control.Stamp(time.Now()))
	if _, err := h.api.Resource(deployments).Namespace(namespace).Patch(ctx, name, types.JSONPatchType, []byte(patch), metav1.PatchOptions{}); err != nil {
		return fmt.Errorf("updating Deployment %s: %w", name, err)
	}
	return nil
}

// setSetting changes a ConfigMap of settings' and has it say when it was sent.
func (h *herd) setSetting(ctx context.Context, name string, sent time.Time) error {
	patch := fmt.Sprintf(`{"data":{"sent":%q}}`, control.Stamp(sent))
	if _, err := h.api.Resource(configMaps).Namespace(namespace).Patch(ctx, name, types.MergePatchType, []byte(patch), metav1.PatchOptions{}); err != nil {
		return fmt.Errorf("updating ConfigMap %s: %w", name, err)
	}
	return nil
}

func (h *herd) delete(ctx context.Context, resource schema.GroupVersionResource, name string) error {
	if err := h.api.Resource(resource).Namespace(namespace).Delete(ctx, name, metav1.DeleteOptions{}); err != nil {
		return fmt.Errorf("deleting %s %s: %w", resource.Resource, name, err)
	}
	return nil
}

// remove takes objects away, which have a binding each, and returns when nothing of them is left on the hub.
func (h *herd) remove(ctx context.Context, resource schema.GroupVersionResource, n int, name func(int) string) error {
	following, stop := context.WithCancel(ctx)
	defer stop()
	empty, err := h.countBindings(following, n, gone)
	if err != nil {
		return err
	}
	if err := many(ctx, n, func(ctx context.Context, i int) error { return h.delete(ctx, resource, name(i)) }); err != nil {
		return err
	}
	_, err = await(ctx, empty, 5*time.Minute, fmt.Sprintf("the bindings of %d %s did not go", n, resource.Resource))
	return err
}

// createAtOnce is how many requests of a burst are under way at the same time, as `kubectl apply` of a few people.
const createAtOnce = 16

// many does something for 0 … n-1, some of them at the same time.
func many(ctx context.Context, n int, do func(ctx context.Context, i int) error) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(createAtOnce)
	for i := range n {
		group.Go(func() error { return do(ctx, i) })
	}
	return group.Wait()
}

// versions are the resource versions of all objects of a kind, by their names.
func (h *herd) versions(ctx context.Context, resource schema.GroupVersionResource) (map[string]string, error) {
	list, err := h.heads.Resource(resource).Namespace(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("listing %s: %w", resource.Resource, err)
	}
	versions := make(map[string]string, len(list.Items))
	for i := range list.Items {
		versions[list.Items[i].GetName()] = list.Items[i].GetResourceVersion()
	}
	return versions, nil
}

// list names the objects with a label.
func (h *herd) list(ctx context.Context, resource schema.GroupVersionResource, selector string) ([]string, error) {
	list, err := h.api.Resource(resource).Namespace(namespace).List(ctx, metav1.ListOptions{LabelSelector: selector})
	if err != nil {
		return nil, fmt.Errorf("listing %s: %w", resource.Resource, err)
	}
	var names []string
	for i := range list.Items {
		names = append(names, list.Items[i].GetName())
	}
	return names, nil
}
