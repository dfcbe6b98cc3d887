package interpret

import (
	"bytes"
	"strings"
	"testing"

	workv1alpha1 "windlass.dev/windlass/api/work/v1alpha1"
)

func TestHealthTellsWhetherAnObjectDoesWhatItIsFor(t *testing.T) {
	for _, test := range []struct {
		reason  string
		object  string
		want    workv1alpha1.ResourceHealth
		because string
	}{
		{"a Deployment whose controller has said nothing", `{apiVersion: apps/v1, kind: Deployment, metadata: {generation: 1}}`,
			workv1alpha1.ResourceUnknown, "not seen the present content"},
		{"a Deployment whose controller is behind", `{apiVersion: apps/v1, kind: Deployment, metadata: {generation: 2}, status: {observedGeneration: 1, replicas: 1, updatedReplicas: 1, availableReplicas: 1}}`,
			workv1alpha1.ResourceUnknown, "not seen the present content"},
		{"a Deployment that exceeded its deadline", `{apiVersion: apps/v1, kind: Deployment, status: {observedGeneration: 1, conditions: [{type: Progressing, status: "False", reason: ProgressDeadlineExceeded, message: too slow}]}}`,
			workv1alpha1.ResourceUnhealthy, "ProgressDeadlineExceeded: too slow"},
		{"a Deployment whose pods are refused", `{apiVersion: apps/v1, kind: Deployment, status: {observedGeneration: 1, conditions: [{type: ReplicaFailure, status: "True", reason: FailedCreate, message: exceeded quota}]}}`,
			workv1alpha1.ResourceUnhealthy, "exceeded quota"},
		{"a Deployment that exceeded its deadline because its pods are refused", `{apiVersion: apps/v1, kind: Deployment, status: {observedGeneration: 1, conditions: [{type: Progressing, status: "False", reason: ProgressDeadlineExceeded, message: too slow}, {type: ReplicaFailure, status: "True", reason: FailedCreate, message: exceeded quota}]}}`,
			workv1alpha1.ResourceUnhealthy, "FailedCreate: exceeded quota"},
		{"a Deployment with old replicas", `{apiVersion: apps/v1, kind: Deployment, spec: {replicas: 2}, status: {observedGeneration: 1, replicas: 3, updatedReplicas: 2, availableReplicas: 3}}`,
			workv1alpha1.ResourceUnhealthy, "1 old replicas are left"},
		{"a Deployment with too few", `{apiVersion: apps/v1, kind: Deployment, spec: {replicas: 2}, status: {observedGeneration: 1, replicas: 2, updatedReplicas: 2, availableReplicas: 1}}`,
			workv1alpha1.ResourceUnhealthy, "1 of 2 replicas are available"},
		{"a Deployment without replicas", `{apiVersion: apps/v1, kind: Deployment, spec: {replicas: 0}, status: {observedGeneration: 1}}`,
			workv1alpha1.ResourceHealthy, ""},
		{"a StatefulSet in its rollout", `{apiVersion: apps/v1, kind: StatefulSet, spec: {replicas: 2}, status: {observedGeneration: 1, replicas: 2, updatedReplicas: 1, availableReplicas: 2}}`,
			workv1alpha1.ResourceUnhealthy, "1 of 2 replicas are updated"},
		{"a StatefulSet whose rollout has just begun", `{apiVersion: apps/v1, kind: StatefulSet, spec: {replicas: 2}, status: {observedGeneration: 1, replicas: 2, availableReplicas: 2}}`,
			workv1alpha1.ResourceUnhealthy, "0 of 2 replicas are updated"},
		{"a StatefulSet whose first pod waits for a volume", `{apiVersion: apps/v1, kind: StatefulSet, spec: {replicas: 2}, status: {observedGeneration: 1, replicas: 1, updatedReplicas: 1}}`,
			workv1alpha1.ResourceUnhealthy, "0 of 2 replicas are ready, and the next is not made before"},
		{"a StatefulSet that is not waiting for its first pod", `{apiVersion: apps/v1, kind: StatefulSet, spec: {replicas: 2, podManagementPolicy: Parallel}, status: {observedGeneration: 1, replicas: 1, updatedReplicas: 1}}`,
			workv1alpha1.ResourceUnhealthy, "1 of 2 replicas are made"},
		{"a StatefulSet that is updated by hand", `{apiVersion: apps/v1, kind: StatefulSet, spec: {replicas: 2, updateStrategy: {type: OnDelete}}, status: {observedGeneration: 1, updatedReplicas: 1, availableReplicas: 2}}`,
			workv1alpha1.ResourceHealthy, ""},
		{"a DaemonSet in its rollout", `{apiVersion: apps/v1, kind: DaemonSet, status: {observedGeneration: 1, desiredNumberScheduled: 2, updatedNumberScheduled: 1, numberAvailable: 2}}`,
			workv1alpha1.ResourceUnhealthy, "1 of 2 pods are updated"},
		{"a DaemonSet without nodes", `{apiVersion: apps/v1, kind: DaemonSet, status: {observedGeneration: 1}}`, workv1alpha1.ResourceHealthy, ""},
		{"a Job that failed", `{apiVersion: batch/v1, kind: Job, status: {conditions: [{type: Failed, status: "True", reason: BackoffLimitExceeded}]}}`,
			workv1alpha1.ResourceUnhealthy, "failed: BackoffLimitExceeded"},
		{"a Job that is suspended", `{apiVersion: batch/v1, kind: Job, spec: {suspend: true}}`, workv1alpha1.ResourceUnknown, "is suspended"},
		{"a load balancer without address", `{apiVersion: v1, kind: Service, spec: {type: LoadBalancer}, status: {loadBalancer: {}}}`,
			workv1alpha1.ResourceUnhealthy, "waits for the address"},
		{"a claim that lost its volume", `{apiVersion: v1, kind: PersistentVolumeClaim, spec: {volumeName: v}, status: {phase: Lost}}`,
			workv1alpha1.ResourceUnhealthy, `has lost its volume "v"`},
		{"a Pod that is done", `{apiVersion: v1, kind: Pod, status: {phase: Succeeded}}`, workv1alpha1.ResourceHealthy, ""},
		{"a Pod that failed", `{apiVersion: v1, kind: Pod, status: {phase: Failed, reason: Evicted, message: disk}}`,
			workv1alpha1.ResourceUnhealthy, "failed: Evicted: disk"},
		{"a Pod that fits nowhere", `{apiVersion: v1, kind: Pod, status: {phase: Pending, conditions: [{type: PodScheduled, status: "False", reason: Unschedulable, message: no nodes}]}}`,
			workv1alpha1.ResourceUnhealthy, "is not scheduled: Unschedulable: no nodes"},
		{"a CRD that is not served yet", `{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition}`, workv1alpha1.ResourceUnknown, "is not served yet"},
		{"a CRD whose names are taken", `{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, status: {conditions: [{type: NamesAccepted, status: "False", reason: PluralConflict}]}}`,
			workv1alpha1.ResourceUnhealthy, "PluralConflict"},
		{"any object that exists", `{apiVersion: example.com/v1, kind: Widget, metadata: {generation: 5}}`, workv1alpha1.ResourceHealthy, ""},
		{"a custom resource whose controller is behind", `{apiVersion: example.com/v1, kind: Widget, metadata: {generation: 5}, status: {observedGeneration: 4}}`,
			workv1alpha1.ResourceUnknown, "not seen the present content"},
		{"a custom resource that stalls", `{apiVersion: example.com/v1, kind: Widget, status: {conditions: [{type: Ready, status: "True"}, {type: Stalled, status: "True", message: stuck}]}}`,
			workv1alpha1.ResourceUnhealthy, "Stalled: stuck"},
		{"a custom resource that can't tell", `{apiVersion: example.com/v1, kind: Widget, status: {conditions: [{type: Ready, status: Unknown, message: wait}]}}`,
			workv1alpha1.ResourceUnknown, "Ready is Unknown: wait"},
		{"an API service that is down", `{apiVersion: apiregistration.k8s.io/v1, kind: APIService, status: {conditions: [{type: Available, status: "False", reason: MissingEndpoints}]}}`,
			workv1alpha1.ResourceUnhealthy, "Available is False: MissingEndpoints"},
		{"a namespace on its way out", `{apiVersion: v1, kind: Namespace, status: {phase: Terminating}}`, workv1alpha1.ResourceUnhealthy, "is terminating"},
		{"an object that a finalizer holds", `{apiVersion: v1, kind: ConfigMap, metadata: {deletionTimestamp: "2026-01-02T03:04:05Z", finalizers: [a/b]}}`,
			workv1alpha1.ResourceUnhealthy, "is being deleted, held by the finalizers [a/b]"},
	} {
		got, because := Health(parseObject(t, test.object))
		if got != test.want || !strings.Contains(because, test.because) || (test.because == "") != (because == "") {
			t.Errorf("%s: got %s, %q; want %s, %q", test.reason, got, because, test.want, test.because)
		}
	}
}

func TestReflectedStatusIsBounded(t *testing.T) {
	large := strings.Repeat("x", MaxStatusBytes)
	obj := parseObject(t, `{apiVersion: example.com/v1, kind: Widget, status: {phase: Ready, replicas: 2, log: `+large+`}}`)
	if got, want := string(ReflectStatus(obj)), `{"phase":"Ready","replicas":2}`; got != want {
		t.Errorf("got %.100s, want what is essential: %s", got, want)
	}
	obj = parseObject(t, `{apiVersion: example.com/v1, kind: Widget, status: {phase: `+large+`}}`)
	if got := ReflectStatus(obj); got != nil {
		t.Errorf("got %d bytes, want none", len(got))
	}
	obj = parseObject(t, `{apiVersion: apps/v1, kind: Deployment, status: {conditions: [{type: Available, message: `+large+`}]}}`)
	if got := ReflectStatus(obj); got != nil {
		t.Errorf("got %d bytes of a known kind, want none", len(got))
	}
}

func TestTimesOfTheLastUpdateDoNotChangeTheReflectedStatus(t *testing.T) {
	with := func(time string) []byte {
		return ReflectStatus(parseObject(t, `{apiVersion: apps/v1, kind: Deployment, status: {replicas: 1, conditions: [{type: Progressing, status: "True", lastUpdateTime: "`+time+`"}]}}`))
	}
	if a, b := with("2026-01-02T03:04:05Z"), with("2026-01-02T03:04:06Z"); !bytes.Equal(a, b) {
		t.Errorf("%s and %s differ", a, b)
	}
}
