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
var namespaceLine = regexp.MustCompile(`(?m)^ +namespace: "?([a-z0-9-]+)"?$`)

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
	kubectl := func(t *testing.T, input string, arguments ...string) (string, error) {
		t.Helper()
		command := exec.CommandContext(t.Context(), f.Binary("windlass"), append([]string{"kubectl", "--kubeconfig", member.Cluster.Kubeconfig()}, arguments...)...)
		command.Stdin = strings.NewReader(input)
		output, err := command.CombinedOutput()
		return string(output), err
	}
	values, err := filepath.Glob("../charts/*/ci/*-values.yaml")
	if err != nil || len(values) < 15 {
		t.Fatalf("there are %d sets of values: %v", len(values), err)
	}
	for _, file := range values {
		chart := filepath.Dir(filepath.Dir(file))
		t.Run(filepath.Base(chart)+"/"+strings.TrimSuffix(filepath.Base(file), "-values.yaml"), func(t *testing.T) {
			namespace := unique("chart")
			render := exec.CommandContext(t.Context(), helm, "template", "windlass", chart, "--namespace", namespace, "--values", file)
			render.Env = []string{"HOME=" + t.TempDir(), "PATH=" + os.Getenv("PATH")}
			rendered, err := render.Output()
			if err != nil {
				t.Fatalf("rendering: %v", err)
			}
			made := map[string]bool{}
			for _, match := range namespaceLine.FindAllSubmatch(rendered, -1) {
				name := string(match[1])
				if made[name] || name != namespace && !member.Lacks(t, fleet.Object{APIVersion: "v1", Kind: "Namespace", Name: name}) {
					continue
				}
				made[name] = true
				labelled := "{apiVersion: v1, kind: Namespace, metadata: {name: " + name + ", labels: {pod-security.kubernetes.io/warn: restricted}}}"
				if output, err := kubectl(t, labelled, "create", "-f", "-"); err != nil {
					t.Fatalf("making namespace %s: %v\n%s", name, err, output)
				}
				t.Cleanup(func() {
					member.Delete(t, fleet.Object{APIVersion: "v1", Kind: "Namespace", Name: name})
				})
			}
			output, err := kubectl(t, string(rendered), "apply", "--dry-run=server", "--validate=strict", "-f", "-")
			if err != nil {
				t.Fatalf("the API server refuses it: %v\n%s", err, output)
			}
			onNetwork := strings.Contains(string(rendered), "hostNetwork: true")
			if strings.Contains(output, "would violate PodSecurity") != onNetwork {
				t.Errorf("pod security (on the node's network: %t):\n%s", onNetwork, output)
			}
		})
	}
}
