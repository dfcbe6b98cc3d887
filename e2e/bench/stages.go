package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
)

var works = schema.GroupVersionResource{Group: "work.karmada.io", Version: "v1alpha1", Resource: "propagationworks"}

// reportStages says when a Deployment reached each stage of its way, by what its works say of
// themselves. A stage ends when the last of the members has reached it.
func reportStages(ctx context.Context, hub dynamic.Interface, s *sightings) error {
	list, err := hub.Resource(works).List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("reading the works: %w", err)
	}
	fmt.Printf("\n%-44s %9s %9s\n", "time since the create on the hub began", "p50", "p99")
	s.mutex.Lock()
	defer s.mutex.Unlock()
	var answered []time.Duration
	for name, one := range s.by {
		if byHub.measures(name) {
			answered = append(answered, one.answered.Sub(one.created))
		}
	}
	printStage("the API server has answered the create", answered)
	for _, stage := range []string{"sent", "received", "applied"} {
		last := map[string]time.Time{}
		for _, work := range list.Items {
			name, _, _ := unstructured.NestedString(work.Object, "spec", "template", "name")
			text, _, _ := unstructured.NestedString(work.Object, "status", "delivery", stage, "time")
			if at, err := time.Parse(time.RFC3339Nano, text); err == nil && at.After(last[name]) {
				last[name] = at
			}
		}
		var samples []time.Duration
		for name, at := range last {
			if one := s.by[name]; one != nil && byHub.measures(name) {
				samples = append(samples, at.Sub(one.created))
			}
		}
		printStage("the work is "+stage, samples)
	}
	return nil
}

func printStage(what string, samples []time.Duration) {
	if len(samples) == 0 {
		return
	}
	slices.Sort(samples)
	fmt.Printf("%-44s %9s %9s\n", what, inMilliseconds(percentile(samples, 50)), inMilliseconds(percentile(samples, 99)))
}
