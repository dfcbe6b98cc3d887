package agenttest

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	linkv1 "windlass.dev/windlass/api/link/v1"

	"windlass.dev/windlass/agent/facts"
	"windlass.dev/windlass/agent/member"
)

func TestFactsOfTheClusterFollowIt(t *testing.T) {
	r := newRig(t)
	logger := slog.New(slog.DiscardHandler)
	kinds := member.NewKinds(r.clients, logger)
	f, err := facts.New(facts.Config{Clients: r.clients, Kinds: kinds, Logger: logger, Now: time.Now, Interval: 20 * time.Millisecond, Threshold: 1e-6})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{}, 2)
	for _, run := range []func(context.Context) error{kinds.Run, f.Run} {
		go func() {
			_ = run(ctx)
			ended <- struct{}{}
		}()
	}
	t.Cleanup(func() {
		cancel()
		<-ended
		<-ended
	})

	known := func(what string, fits func(*linkv1.ClusterFacts) bool) *linkv1.ClusterFacts {
		t.Helper()
		var got *linkv1.ClusterFacts
		r.until(what, func() error {
			if got = f.Facts(); got == nil || !fits(got) {
				return fmt.Errorf("the facts are %v", got)
			}
			return nil
		})
		return got
	}
	select {
	case <-f.Dirty():
	case <-time.After(patience):
		t.Fatal("no facts were announced")
	}
	first := known("the first facts", func(*linkv1.ClusterFacts) bool { return true })
	if first.NodesTotal != 2 || first.NodesReady != 2 || !first.ApiReady || !first.ApisComplete || first.KubernetesVersion == "" {
		t.Errorf("the first facts are %v", first)
	}
	if first.Allocatable["cpu"] != "16" || first.Allocatable["memory"] != "64Gi" {
		t.Errorf("allocatable is %v, want two nodes of 8 CPUs and 32Gi", first.Allocatable)
	}
	served := false
	for _, api := range first.Apis {
		served = served || api.Group == "apps" && api.Version == "v1" && api.Kind == "Deployment" && api.Resource == "deployments" && api.Namespaced
	}
	if !served {
		t.Errorf("Deployments are not among the %d kinds", len(first.Apis))
	}

	large := r.deployment("large", 2)
	container := large["spec"].(map[string]any)["template"].(map[string]any)["spec"].(map[string]any)["containers"].([]any)[0].(map[string]any)
	container["resources"] = map[string]any{"requests": map[string]any{"cpu": "500m", "memory": "1Gi"}}
	r.put(work("large", 1, large))
	r.reported("large", "the pods to run", func(report *linkv1.Report) bool { return report.Health == linkv1.Health_HEALTH_HEALTHY })
	known("what the pods request", func(facts *linkv1.ClusterFacts) bool {
		return cpu(facts) == r.requestedCPU() && cpu(facts) >= 1000
	})
}

// requestedCPU adds up what the member's pods request, those of other tests included.
func (r *rig) requestedCPU() int64 {
	r.Helper()
	pods, err := r.clients.Core.Pods("").List(r.Context(), metav1.ListOptions{})
	if err != nil {
		r.Fatal(err)
	}
	var sum int64
	for _, pod := range pods.Items {
		for _, container := range pod.Spec.Containers {
			if pod.Spec.NodeName != "" {
				sum += container.Resources.Requests.Cpu().MilliValue()
			}
		}
	}
	return sum
}

// cpu returns the milli-CPUs that pods with a node request.
func cpu(facts *linkv1.ClusterFacts) int64 {
	quantity, err := resource.ParseQuantity(facts.Allocated["cpu"])
	if err != nil {
		return 0 // nothing is requested
	}
	return quantity.MilliValue()
}
