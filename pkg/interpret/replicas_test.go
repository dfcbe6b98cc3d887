package interpret

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

func TestReviseReplicasSetsTheNumberThatReplicasReads(t *testing.T) {
	for _, kind := range []string{
		"{apiVersion: apps/v1, kind: Deployment}",
		"{apiVersion: apps/v1, kind: ReplicaSet, spec: {replicas: 7}}",
		"{apiVersion: apps/v1, kind: StatefulSet}",
		"{apiVersion: batch/v1, kind: Job, spec: {parallelism: 7, completions: 9}}",
	} {
		obj := parseObject(t, kind)
		if !ReviseReplicas(obj, 4) {
			t.Errorf("%s: could not be revised", kind)
		}
		if n, _ := Replicas(obj); n == nil || *n != 4 {
			t.Errorf("%s: replicas are %v after they were set to 4", kind, n)
		}
	}
}

func TestOfAPartOfAJobNoMoreIndexesMayFailThanItHas(t *testing.T) {
	for failed, want := range map[int64]int64{3: 2, 1: 1} {
		part := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "batch/v1", "kind": "Job", "spec": map[string]any{"completions": int64(4), "maxFailedIndexes": failed}}}
		if !ReviseCompletions(part, 2) {
			t.Fatal("it is not revised")
		}
		if got, _ := numberAt(part.Object, "spec", "maxFailedIndexes"); got != want {
			t.Errorf("of 2 completions %d may fail, want %d", got, want)
		}
	}
}

func TestWhatHasNoSettableReplicasIsNotRevised(t *testing.T) {
	for _, kind := range []string{
		"{apiVersion: v1, kind: Pod}",
		"{apiVersion: v1, kind: ConfigMap}",
		"{apiVersion: example.com/v1, kind: Deployment, spec: {replicas: 3}}",
	} {
		obj := parseObject(t, kind)
		before := obj.DeepCopy()
		if ReviseReplicas(obj, 4) {
			t.Errorf("%s: was revised", kind)
		}
		if diff := cmp.Diff(before, obj); diff != "" {
			t.Errorf("%s: was changed:\n%s", kind, diff)
		}
	}
}

func TestReplicasThatNeedNothingHaveNoRequirements(t *testing.T) {
	obj := parseObject(t, `{apiVersion: apps/v1, kind: Deployment, spec: {template: {spec: {containers: [{name: a, resources: {requests: {cpu: "0"}}}]}}}}`)
	if n, needs := Replicas(obj); n == nil || *n != 1 || needs != nil {
		t.Errorf("replicas %v, requirements %v; want 1 and none", n, needs)
	}
}

func TestWhatAPodLimitsAndDoesNotRequestIsRequested(t *testing.T) {
	for _, c := range []struct{ reason, spec, want string }{
		{"a limit alone", `{containers: [{name: a, resources: {limits: {cpu: "2", example.com/gpu: "1"}}}]}`, "cpu=2 example.com/gpu=1"},
		{"a request is what it says", `{containers: [{name: a, resources: {requests: {cpu: 500m}, limits: {cpu: "2", memory: 1Gi}}}]}`, "cpu=500m memory=1Gi"},
		{"also a request of none", `{containers: [{name: a, resources: {requests: {cpu: "0"}, limits: {cpu: "2"}}}]}`, ""},
		{"each container by itself", `{containers: [{name: a, resources: {limits: {cpu: "2"}}}, {name: b, resources: {requests: {cpu: "1"}}}]}`, "cpu=3"},
		{"a step of the initialisation", `{initContainers: [{name: a, resources: {limits: {cpu: "2"}}}], containers: [{name: b}]}`, "cpu=2"},
		{"the pod as a whole", `{resources: {limits: {cpu: "2"}}, containers: [{name: a}]}`, "cpu=2"},
		{"the pod as a whole, whose containers request less", `{resources: {limits: {cpu: "2"}}, containers: [{name: a, resources: {requests: {cpu: "1"}}}]}`, "cpu=1"},
	} {
		_, needs := Replicas(parseObject(t, "{apiVersion: apps/v1, kind: Deployment, spec: {template: {spec: "+c.spec+"}}}"))
		var got []string
		if needs != nil {
			for name, quantity := range needs.ResourceRequest {
				got = append(got, fmt.Sprintf("%s=%s", name, quantity.String()))
			}
		}
		slices.Sort(got)
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s: requested is %v, want %s", c.reason, got, c.want)
		}
	}
}
