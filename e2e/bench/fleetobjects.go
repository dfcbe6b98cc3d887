package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"windlass.dev/windlass/e2e/fleet"
)

// typed is a client that speaks protobuf: what it costs is taken from the same two cores.
func typed(api *fleet.API) (kubernetes.Interface, error) {
	config := rest.CopyConfig(api.Config)
	config.ContentType, config.AcceptContentTypes = "application/vnd.kubernetes.protobuf", "application/vnd.kubernetes.protobuf,application/json"
	return kubernetes.NewForConfig(config)
}

// withEach does one thing with each of the names, some of them at the same time.
func withEach(ctx context.Context, names []string, one func(ctx context.Context, name string) error) error {
	return many(ctx, len(names), func(ctx context.Context, i int) error { return one(ctx, names[i]) })
}

// numbered are count names that begin alike.
func numbered(prefix string, count int) []string {
	names := make([]string, count)
	for i := range names {
		names[i] = fmt.Sprintf("%s-%05d", prefix, i)
	}
	return names
}

// configMapOf has a kilobyte in it, as most have.
func configMapOf(name string) *corev1.ConfigMap {
	return &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Data:       map[string]string{"settings": strings.Repeat("key: value # as it is\n", 45)},
	}
}

func serviceOf(name string) *corev1.Service {
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: corev1.ServiceSpec{
			Selector: map[string]string{"app": name},
			Ports:    []corev1.ServicePort{{Port: 80, TargetPort: intstr.FromInt32(8080)}},
		},
	}
}

func deploymentOf(name string, replicas int32) *appsv1.Deployment {
	labels := map[string]string{"app": name}
	return &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: appsv1.DeploymentSpec{
			Replicas: &replicas,
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "web", Image: "example.test/web:1"}}},
			},
		},
	}
}

func prepareNamespace(ctx context.Context, cluster dynamic.Interface) error {
	ns := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": namespace},
	}}
	if _, err := cluster.Resource(namespaces).Create(ctx, ns, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("making the namespace: %w", err)
	}
	return nil
}

func readyReplicas(object *unstructured.Unstructured) int {
	ready, _, _ := unstructured.NestedInt64(object.Object, "status", "readyReplicas")
	return int(ready)
}

// openNamespace makes a namespace on the hub whose ConfigMaps, Services and Deployments go to these members, and
// returns when the members have it: the first object of a namespace costs what no other does.
func openNamespace(ctx context.Context, f *fleet.Fleet, hub kubernetes.Interface, namespace string, members []string) error {
	made := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}
	if _, err := hub.CoreV1().Namespaces().Create(ctx, made, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("making the namespace %s: %w", namespace, err)
	}
	names := make([]any, len(members))
	for i, name := range members {
		names[i] = name
	}
	policy := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "policy.karmada.io/v1alpha1", "kind": "PropagationPolicy",
		"metadata": map[string]any{"name": policyName, "namespace": namespace},
		"spec": map[string]any{
			"resourceSelectors": []any{
				map[string]any{"apiVersion": "v1", "kind": "ConfigMap"},
				map[string]any{"apiVersion": "v1", "kind": "Service"},
				map[string]any{"apiVersion": "apps/v1", "kind": "Deployment"},
			},
			"placement": map[string]any{"clusterAffinity": map[string]any{"clusterNames": names}},
		},
	}}
	if _, err := f.Hub().Dynamic.Resource(policies).Namespace(namespace).Create(ctx, policy, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("making the policy of %s: %w", namespace, err)
	}
	if _, err := hub.CoreV1().ConfigMaps(namespace).Create(ctx, configMapOf(firstName), metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("making the first ConfigMap of %s: %w", namespace, err)
	}
	if _, err := hub.AppsV1().Deployments(namespace).Create(ctx, deploymentOf(firstName, 1), metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("making the first Deployment of %s: %w", namespace, err)
	}
	return untilSummed(ctx, f, namespace, summed{templates: firsts, healthy: firsts})
}

const (
	policyName = "all"
	// firsts are what openNamespace leaves there, all of this name.
	firsts    = 2
	firstName = "first"
)

// summed is what the hub says of a namespace's policy: over how many templates, and how many of them are healthy
// in all their clusters.
type summed struct{ templates, healthy int64 }

// untilSummed waits until the hub says so. It asks for the one policy, and rarely: that costs the hub next to nothing,
// and the answer is the last thing that comes of anything.
func untilSummed(ctx context.Context, f *fleet.Fleet, namespace string, want summed) error {
	return poll(ctx, patience, 100*time.Millisecond, func() error {
		policy, err := f.Hub().Dynamic.Resource(policies).Namespace(namespace).Get(ctx, policyName, metav1.GetOptions{})
		if err != nil {
			return fmt.Errorf("reading the policy of %s: %w", namespace, err)
		}
		var got summed
		got.templates, _, _ = unstructured.NestedInt64(policy.Object, "status", "templates")
		got.healthy, _, _ = unstructured.NestedInt64(policy.Object, "status", "healthy")
		if got != want {
			return fmt.Errorf("the policy of %s says %+v, and not yet %+v", namespace, got, want)
		}
		return nil
	})
}
