package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"windlass.dev/windlass/e2e/fleet"
)

// namespaceLine finds the namespaces that a rendered chart writes into.
var namespaceLine = regexp.MustCompile(`(?m)^( +namespace: )"?[a-z0-9-]+"?$`)

// TestTheChartsAreTakenByARealAPIServer renders the charts with the values that users set most and has a cluster's own API
// server validate what comes of it, pod security level restricted included. Nothing is written.
func TestTheChartsAreTakenByARealAPIServer(t *testing.T) {
	t.Parallel()
	f := fleet.Shared(t)
	helm, err := filepath.Abs("../bin/tools/helm")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(helm); err != nil {
		t.Skipf("NOT CHECKED: there is no helm (make tools): %v", err)
	}
	member := f.Member("member1")
	values, err := filepath.Glob("../charts/*/ci/*-values.yaml")
	if err != nil || len(values) < 15 {
		t.Fatalf("there are %d sets of values: %v", len(values), err)
	}
	home, namespace := t.TempDir(), fleet.Object{APIVersion: "v1", Kind: "Namespace", Name: unique("charts")}
	member.Apply(t, "{apiVersion: v1, kind: Namespace, metadata: {name: "+namespace.Name+", labels: {pod-security.kubernetes.io/warn: restricted}}}")
	defer member.Delete(t, namespace)
	// On the node's network a pod is not of level restricted, whatever else it is.
	rendered := map[bool]string{}
	for _, file := range values {
		render := exec.CommandContext(t.Context(), helm, "template", "windlass", filepath.Dir(filepath.Dir(file)), "--namespace", namespace.Name, "--values", file)
		render.Env = []string{"HOME=" + home, "PATH=" + os.Getenv("PATH")}
		output, err := render.Output()
		if err != nil {
			t.Fatalf("rendering with %s: %v", file, err)
		}
		// Roles in namespaces of users are tried in that of the charts: no other has to be there for it.
		output = namespaceLine.ReplaceAll(output, []byte("${1}"+namespace.Name))
		onNetwork := strings.Contains(string(output), "hostNetwork: true")
		rendered[onNetwork] += "---\n# " + file + "\n" + string(output)
	}
	for onNetwork, objects := range rendered {
		command := exec.CommandContext(t.Context(), f.Binary("windlass"), "kubectl", "--kubeconfig", member.Cluster.Kubeconfig(),
			"apply", "--dry-run=server", "--validate=strict", "-f", "-")
		command.Stdin = strings.NewReader(objects)
		output, err := command.CombinedOutput()
		if err != nil {
			t.Errorf("the API server refuses something: %v\n%s", err, output)
		}
		if strings.Contains(string(output), "would violate PodSecurity") != onNetwork {
			t.Errorf("pod security (on the node's network: %t):\n%s", onNetwork, output)
		}
	}
}
