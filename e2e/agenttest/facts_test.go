package agenttest

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
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

	// 3 CPUs fit into a node of 8 twice, and the sums of two nodes would say five times.
	r.until("the room on each node", func() error {
		if got, want := r.room(f, "3"), r.roomOnNodes(3000); got != want || got > 4 {
			return fmt.Errorf("there is room for %d, by the pods on the nodes for %d", got, want)
		}
		return nil
	})
	before := r.room(f, "100m")
	r.remove("large", false)
	r.removed("large")
	// What is told may be about other pods of the member: as the hub does, it is asked again.
	limit := time.After(patience)
	for after := before; after <= before; {
		select {
		case <-f.Grown():
			after = r.room(f, "100m")
		case <-limit:
			t.Fatalf("it was not told that there is more room than for %d", before)
		}
	}
}

// room asks, as the hub does, for how many replicas there is room.
func (r *rig) room(f *facts.Facts, cpus string) int64 {
	r.Helper()
	body, err := proto.Marshal(&linkv1.CapacityQuestion{Requirements: []*linkv1.Requirements{{Requests: map[string]string{"cpu": cpus}}}})
	if err != nil {
		r.Fatal(err)
	}
	said := f.Answer(r.Context(), &linkv1.Question{Kind: linkv1.QuestionCapacity, Body: body})
	var answer linkv1.CapacityAnswer
	if err := proto.Unmarshal(said.GetBody(), &answer); err != nil || len(answer.GetRooms()) != 1 {
		r.Fatalf("the answer is %v", said)
	}
	return answer.GetRooms()[0].GetReplicas()
}

// roomOnNodes is the same by what the API server says of pods and of nodes with 8 CPUs.
func (r *rig) roomOnNodes(millis int64) int64 {
	r.Helper()
	pods, err := r.clients.Core.Pods("").List(r.Context(), metav1.ListOptions{})
	if err != nil {
		r.Fatal(err)
	}
	free := map[string]int64{}
	for _, pod := range pods.Items {
		for _, container := range pod.Spec.Containers {
			free[pod.Spec.NodeName] -= container.Resources.Requests.Cpu().MilliValue()
		}
	}
	nodes, err := r.clients.Core.Nodes().List(r.Context(), metav1.ListOptions{})
	if err != nil {
		r.Fatal(err)
	}
	var room int64
	for _, node := range nodes.Items {
		room += (8000 + free[node.Name]) / millis
	}
	return room
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
