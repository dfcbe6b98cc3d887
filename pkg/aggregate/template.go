package aggregate

import (
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	workv1alpha1 "windlass.dev/windlass/api/work/v1alpha1"
	"windlass.dev/windlass/pkg/interpret"
)

// Template makes the template's own status out of what its clusters report. write is false when the
// template has that status already, and for kinds whose status is not the hub's to write.
func Template(template *unstructured.Unstructured, in Input) (status map[string]any, write bool) {
	states := in.states()
	if interpret.Ends(template.GroupVersionKind().GroupKind()) {
		states = append(states, in.leaving()...)
	}
	reports := make([]interpret.Report, len(states))
	for i, state := range states {
		reports[i] = interpret.Report{
			Cluster:  state.cluster,
			Applied:  state.standing == applied,
			Observed: state.observed,
			Healthy:  state.health == workv1alpha1.ResourceHealthy,
			Status:   state.status,
		}
	}
	status, changed, ok := interpret.AggregateStatus(template, reports)
	return status, changed && ok
}
