package e2e

import (
	"fmt"
	"strings"
	"testing"

	"windlass.dev/windlass/e2e/fleet"
)

func TestAnAgentWithAHundredObjectsStaysUnder45MB(t *testing.T) {
	const (
		objects = 100
		most    = 45 << 20
	)
	f := fleet.Shared(t)
	member := f.Member("member1")
	f.RestartAgentWith(t, member, "") // what other tests have made it hold is not counted
	namespace := f.Hub().Namespace(t)
	var all strings.Builder
	for i := range objects / 2 {
		fmt.Fprintf(&all, "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: memory-%d, namespace: %s, labels: {memory: \"yes\"}}\ndata: {text: %q}\n",
			i, namespace, strings.Repeat("x", 1000))
		fmt.Fprintf(&all, "---\napiVersion: v1\nkind: Service\nmetadata: {name: memory-%d, namespace: %s, labels: {memory: \"yes\"}}\nspec: {selector: {app: memory}, ports: [{port: 80}]}\n",
			i, namespace)
	}
	f.Hub().Apply(t, all.String()+fill(namespace, `
---
apiVersion: policy.karmada.io/v1alpha1
kind: PropagationPolicy
metadata: {name: memory, namespace: NAMESPACE}
spec:
  resourceSelectors:
  - {apiVersion: v1, kind: ConfigMap, labelSelector: {matchLabels: {memory: "yes"}}}
  - {apiVersion: v1, kind: Service, labelSelector: {matchLabels: {memory: "yes"}}}
  placement: {clusterAffinity: {clusterNames: [member1]}}
`))
	f.Hub().Eventually(t, policy(namespace, "memory"), fleet.Field("status.applied", objects), fleet.ConditionIs("Ready", "True"))
	total, shared, err := member.Agent.Process().ResidentBytes()
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("the agent holds %d MB, of which %d MB are its program", total>>20, shared>>20)
	if total >= most {
		t.Errorf("the agent holds %d MB with %d objects, want less than %d MB", total>>20, objects, most>>20)
	}
}

func TestAnAgentTakesOneProcessorAtATime(t *testing.T) {
	f := fleet.Shared(t)
	metrics, err := f.Member("member1").Agent.Health(t.Context(), "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	const processors = "\ngo_sched_gomaxprocs_threads "
	if !strings.Contains(metrics, processors+"1\n") {
		_, rest, _ := strings.Cut(metrics, processors)
		said, _, _ := strings.Cut(rest, "\n")
		t.Errorf("the agent takes %q processors at a time, want 1", said)
	}
}
