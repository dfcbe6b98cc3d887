package v1alpha1

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
)

func rebalancer(change func(*WorkloadRebalancerSpec)) *WorkloadRebalancer {
	r := &WorkloadRebalancer{ObjectMeta: metav1.ObjectMeta{Name: "after-the-outage"},
		Spec: WorkloadRebalancerSpec{Workloads: []ObjectReference{{APIVersion: "apps/v1", Kind: "Deployment", Namespace: "shop", Name: "web"}}}}
	if change != nil {
		change(&r.Spec)
	}
	return r
}

func TestRebalancers(t *testing.T) {
	for _, test := range []struct {
		reason string
		change func(*WorkloadRebalancerSpec)
		want   []string
	}{
		{reason: "one workload"},
		{reason: "one without a namespace, that goes at once", change: func(s *WorkloadRebalancerSpec) {
			s.Workloads = append(s.Workloads, ObjectReference{APIVersion: "rbac.authorization.k8s.io/v1", Kind: "ClusterRole", Name: "shop:viewer"})
			s.TTLSecondsAfterFinished = ptr.To[int32](0)
		}},
		{"nothing to do", func(s *WorkloadRebalancerSpec) { s.Workloads = nil }, []string{"spec.workloads: Required value: name at least one template"}},
		{"too much to do", func(s *WorkloadRebalancerSpec) { s.Workloads = make([]ObjectReference, MaxWorkloads+1) }, []string{"spec.workloads: Too many: 1001: must have at most 1000 items"}},
		{"a workload that can't be found", func(s *WorkloadRebalancerSpec) { s.Workloads[0] = ObjectReference{APIVersion: "a/b/c"} }, []string{
			`spec.workloads[0].apiVersion: Invalid value: "a/b/c"`, "spec.workloads[0].kind: Required value", "spec.workloads[0].name: Required value"}},
		{"names with a slash", func(s *WorkloadRebalancerSpec) { s.Workloads[0].Name, s.Workloads[0].Namespace = "a/b", "c/d" }, []string{
			`spec.workloads[0].name: Invalid value: "a/b"`, `spec.workloads[0].namespace: Invalid value: "c/d"`}},
		{"a workload twice", func(s *WorkloadRebalancerSpec) { s.Workloads = append(s.Workloads, s.Workloads[0]) }, []string{`spec.workloads[1]: Duplicate value: "Deployment shop/web"`}},
		{"an end before the beginning", func(s *WorkloadRebalancerSpec) { s.TTLSecondsAfterFinished = ptr.To[int32](-1) }, []string{"spec.ttlSecondsAfterFinished: Invalid value: -1"}},
	} {
		t.Run(test.reason, func(t *testing.T) {
			changed := rebalancer(test.change)
			for kind, errs := range map[string][]error{
				"new":     asErrors(ValidateWorkloadRebalancer(changed)),
				"changed": asErrors(ValidateWorkloadRebalancerUpdate(changed, rebalancer(func(s *WorkloadRebalancerSpec) { s.Workloads[0].Name = "former" }))),
			} {
				if len(errs) != len(test.want) {
					t.Errorf("%s: errors %v, want %d", kind, errs, len(test.want))
				}
				for _, text := range test.want {
					found := false
					for _, err := range errs {
						found = found || strings.HasPrefix(err.Error(), text)
					}
					if !found {
						t.Errorf("%s: no error begins with %s: %v", kind, text, errs)
					}
				}
			}
		})
	}
}

func asErrors[E error](list []E) []error {
	var errs []error
	for _, err := range list {
		errs = append(errs, err)
	}
	return errs
}
