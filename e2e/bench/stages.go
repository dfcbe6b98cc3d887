package main

import (
	"context"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
)

var works = schema.GroupVersionResource{Group: "work.karmada.io", Version: "v1alpha1", Resource: "propagationworks"}

// stageRows say when a Deployment reached each stage of its way, by what its works say of themselves. A stage ends when the
// last of the members has reached it.
func stageRows(ctx context.Context, hub dynamic.Interface, s *sightings) ([]row, error) {
	list, err := hub.Resource(works).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("reading the works: %w", err)
	}
	s.answered.mutex.Lock()
	defer s.answered.mutex.Unlock()
	answered := row{at: ofStages, what: "the API server has answered", unit: duration, samples: true}
	for name := range s.created.began {
		if !warmsUp(name) {
			answered.values = append(answered.values, float64(s.answered.at[0][name].Sub(s.answered.began[name])))
		}
	}
	rows := []row{answered}
	for _, stage := range []string{"sent", "received", "applied"} {
		last := map[string]time.Time{}
		for _, work := range list.Items {
			name, _, _ := unstructured.NestedString(work.Object, "spec", "template", "name")
			text, _, _ := unstructured.NestedString(work.Object, "status", "delivery", stage, "time")
			if at, err := time.Parse(time.RFC3339Nano, text); err == nil && at.After(last[name]) {
				last[name] = at
			}
		}
		reached := row{at: ofStages, what: "the last work is " + stage, unit: duration, samples: true}
		for name, at := range last {
			if began, measured := s.answered.began[name]; measured && !warmsUp(name) {
				reached.values = append(reached.values, float64(at.Sub(began)))
			}
		}
		rows = append(rows, reached)
	}
	return rows, nil
}
