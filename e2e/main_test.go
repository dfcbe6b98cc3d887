// Package e2e proves what users are promised, on real parts: a hub, two member clusters and their
// agents. Every test makes its own namespace, and says at its top in one sentence what is promised.
// Tests that wait for a hub or an agent of their own do so beside each other, after all others.
package e2e

import (
	"fmt"
	"strings"
	"testing"

	"windlass.dev/windlass/e2e/fleet"
)

func TestMain(m *testing.M) { fleet.Main(m) }

// fill replaces NAMESPACE in a manifest.
func fill(namespace, manifests string) string {
	return strings.ReplaceAll(manifests, "NAMESPACE", namespace)
}

func deployment(namespace, name string) fleet.Object {
	return fleet.Object{APIVersion: "apps/v1", Kind: "Deployment", Namespace: namespace, Name: name}
}

func configMap(namespace, name string) fleet.Object {
	return fleet.Object{APIVersion: "v1", Kind: "ConfigMap", Namespace: namespace, Name: name}
}

func policy(namespace, name string) fleet.Object {
	return fleet.Object{APIVersion: "policy.karmada.io/v1alpha1", Kind: "PropagationPolicy", Namespace: namespace, Name: name}
}

// policyFor selects one object and sends it to the named clusters, to all of them when none is named.
func policyFor(o fleet.Object, clusters ...string) string {
	placement := "  placement: {}"
	if len(clusters) > 0 {
		placement = fmt.Sprintf("  placement:\n    clusterAffinity:\n      clusterNames: [%s]", strings.Join(clusters, ", "))
	}
	return fmt.Sprintf(`
apiVersion: policy.karmada.io/v1alpha1
kind: PropagationPolicy
metadata:
  name: %s
  namespace: %s
spec:
  resourceSelectors:
  - apiVersion: %s
    kind: %s
    name: %s
%s
`, strings.ToLower(o.Kind)+"-"+o.Name, o.Namespace, o.APIVersion, o.Kind, o.Name, placement)
}

// clusterPolicyFor is policyFor with a ClusterPropagationPolicy, to all clusters.
func clusterPolicyFor(o fleet.Object, name string) string {
	return fmt.Sprintf(`
apiVersion: policy.karmada.io/v1alpha1
kind: ClusterPropagationPolicy
metadata:
  name: %s
spec:
  resourceSelectors:
  - apiVersion: %s
    kind: %s
    name: %s
  placement: {}
`, name, o.APIVersion, o.Kind, o.Name)
}

func webDeployment(namespace string, replicas int) string {
	return fmt.Sprintf(`
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
  namespace: %s
spec:
  replicas: %d
  selector:
    matchLabels: {app: web}
  template:
    metadata:
      labels: {app: web}
    spec:
      containers:
      - name: web
        image: example.test/web:1
`, namespace, replicas)
}

const settings = `
apiVersion: v1
kind: ConfigMap
metadata:
  name: settings
  namespace: NAMESPACE
data:
  greeting: hello
`
