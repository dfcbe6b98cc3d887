package agenttest

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"

	linkv1 "windlass.dev/windlass/api/link/v1"

	"windlass.dev/windlass/agent/facts"
	"windlass.dev/windlass/agent/member"
)

func TestFactsOfTheClusterFollowIt(t *testing.T) {
	r := newRig(t)
	logger := slog.New(slog.DiscardHandler)
	kinds := member.NewKinds(r.clients, logger)
	f, err := facts.New(facts.Config{Clients: r.clients, Kinds: kinds, Logger: logger, Now: time.Now, Interval: 20 * time.Millisecond})
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

	before := cpu(first)
	large := r.deployment("large", 2)
	container := large["spec"].(map[string]any)["template"].(map[string]any)["spec"].(map[string]any)["containers"].([]any)[0].(map[string]any)
	container["resources"] = map[string]any{"requests": map[string]any{"cpu": "2", "memory": "1Gi"}}
	r.put(work("large", 1, large))
	known("what the pods request", func(facts *linkv1.ClusterFacts) bool {
		return cpu(facts) >= before+4000
	})
}

// cpu returns the milli-CPUs that pods with a node request.
func cpu(facts *linkv1.ClusterFacts) int64 {
	quantity, err := resource.ParseQuantity(facts.Allocated["cpu"])
	if err != nil {
		return 0 // nothing is requested
	}
	return quantity.MilliValue()
}
