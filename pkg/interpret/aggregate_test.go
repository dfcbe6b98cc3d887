package interpret

import (
	"encoding/json"
	"fmt"
	"math/rand"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

// said is a report of a cluster that has applied and observed the present content.
func said(cluster, status string) Report {
	return Report{Cluster: cluster, Applied: true, Observed: true, Healthy: true, Status: asJSON(status)}
}

func asJSON(text string) []byte {
	if text == "" {
		return nil
	}
	encoded, err := yaml.YAMLToJSON([]byte(text))
	if err != nil {
		panic(err)
	}
	return encoded
}

func with(r Report, change func(*Report)) Report {
	change(&r)
	return r
}

func TestTheStatusesOfClustersBecomeOne(t *testing.T) {
	const (
		available   = `{type: Available, status: "True", reason: MinimumReplicasAvailable, lastTransitionTime: "2026-01-02T03:00:00Z"}`
		rolledOut   = `{type: Progressing, status: "True", reason: NewReplicaSetAvailable, lastTransitionTime: "2026-01-02T03:00:00Z"}`
		unavailable = `{type: Available, status: "False", reason: MinimumReplicasUnavailable, message: too few, lastTransitionTime: "2026-01-02T04:00:00Z"}`
		tooSlow     = `{type: Progressing, status: "False", reason: ProgressDeadlineExceeded, message: too slow, lastTransitionTime: "2026-01-02T04:00:00Z"}`
		complete    = `{type: Complete, status: "True", lastTransitionTime: "2026-01-02T05:00:00Z"}`
		suspended   = `{type: Suspended, status: "True", reason: JobSuspended, message: Job suspended, lastProbeTime: "2026-01-02T03:00:00Z", lastTransitionTime: "2026-01-02T03:00:00Z"}`
		resumed     = `{type: Suspended, status: "False", reason: JobResumed, message: Job resumed, lastProbeTime: "2026-01-02T05:00:00Z", lastTransitionTime: "2026-01-02T05:00:00Z"}`

		suspendedLater = `{type: Suspended, status: "True", reason: JobSuspended, message: Job suspended, lastProbeTime: "2026-01-02T04:00:00Z", lastTransitionTime: "2026-01-02T04:00:00Z"}`

		failed = `{type: Failed, status: "True", reason: BackoffLimitExceeded, message: broken, lastTransitionTime: "2026-01-02T05:00:00Z"}`
	)
	for _, test := range []struct {
		reason   string
		template string
		reports  []Report
		want     string // "" for no change
	}{
		{
			"a Deployment that is up everywhere",
			`{apiVersion: apps/v1, kind: Deployment, metadata: {generation: 4}, spec: {replicas: 6}, status: {observedGeneration: 3}}`,
			[]Report{
				said("b", `{replicas: 2, updatedReplicas: 2, readyReplicas: 2, availableReplicas: 2, conditions: [`+available+`,`+rolledOut+`]}`),
				said("a", `{replicas: 4, updatedReplicas: 4, readyReplicas: 4, availableReplicas: 4, conditions: [`+available+`,`+rolledOut+`]}`),
			},
			`{observedGeneration: 4, replicas: 6, updatedReplicas: 6, readyReplicas: 6, availableReplicas: 6, conditions: [
				{type: Available, status: "True", reason: MinimumReplicasAvailable, message: Deployment has minimum availability in every cluster., lastUpdateTime: "2026-01-02T03:00:00Z", lastTransitionTime: "2026-01-02T03:00:00Z"},
				{type: Progressing, status: "True", reason: NewReplicaSetAvailable, message: Deployment is rolled out in every cluster., lastUpdateTime: "2026-01-02T03:00:00Z", lastTransitionTime: "2026-01-02T03:00:00Z"}]}`,
		},
		{
			"a Deployment that one cluster has not applied yet stays unobserved",
			`{apiVersion: apps/v1, kind: Deployment, metadata: {generation: 4}, spec: {replicas: 2}, status: {observedGeneration: 3}}`,
			[]Report{
				said("a", `{replicas: 1, updatedReplicas: 1, readyReplicas: 1, availableReplicas: 1}`),
				with(said("b", `{replicas: 1, updatedReplicas: 1, readyReplicas: 1, availableReplicas: 1}`), func(r *Report) { r.Applied = false }),
			},
			`{observedGeneration: 3, replicas: 2, updatedReplicas: 2, readyReplicas: 2, availableReplicas: 2}`,
		},
		{
			"a Deployment that one cluster's controller has not seen yet stays unobserved",
			`{apiVersion: apps/v1, kind: Deployment, metadata: {generation: 1}, spec: {replicas: 1}}`,
			[]Report{with(said("a", ``), func(r *Report) { r.Observed, r.Healthy = false, false })},
			``,
		},
		{
			"a Deployment in the midst of its rollout is observed, so that kubectl shows how far it is",
			`{apiVersion: apps/v1, kind: Deployment, metadata: {generation: 4}, spec: {replicas: 6}, status: {observedGeneration: 3}}`,
			[]Report{
				said("a", `{replicas: 4, updatedReplicas: 4, readyReplicas: 4, availableReplicas: 4}`),
				with(said("b", `{replicas: 3, updatedReplicas: 1, readyReplicas: 2, availableReplicas: 2, unavailableReplicas: 1}`), func(r *Report) { r.Healthy = false }),
			},
			`{observedGeneration: 4, replicas: 7, updatedReplicas: 5, readyReplicas: 6, availableReplicas: 6, unavailableReplicas: 1}`,
		},
		{
			"a Deployment of which every cluster gets all replicas does not count as rolled out when the first has them",
			`{apiVersion: apps/v1, kind: Deployment, metadata: {generation: 1}, spec: {replicas: 3}}`,
			[]Report{
				said("a", `{replicas: 3, updatedReplicas: 3, readyReplicas: 3, availableReplicas: 3}`),
				with(said("b", `{unavailableReplicas: 3}`), func(r *Report) { r.Healthy = false }),
			},
			`{replicas: 3, updatedReplicas: 3, readyReplicas: 3, availableReplicas: 3, unavailableReplicas: 3}`,
		},
		{
			"a Deployment that is too slow in one cluster",
			`{apiVersion: apps/v1, kind: Deployment, metadata: {generation: 4}, spec: {replicas: 1}, status: {observedGeneration: 4, conditions: [
				{type: Available, status: "False", reason: MinimumReplicasUnavailable, message: old, lastUpdateTime: "2026-01-01T00:00:00Z", lastTransitionTime: "2026-01-01T00:00:00Z"}]}}`,
			[]Report{
				said("a", `{conditions: [`+available+`,`+rolledOut+`]}`),
				said("b", `{conditions: [`+unavailable+`,`+tooSlow+`]}`),
			},
			`{observedGeneration: 4, conditions: [
				{type: Available, status: "False", reason: MinimumReplicasUnavailable, message: "b: too few", lastUpdateTime: "2026-01-01T00:00:00Z", lastTransitionTime: "2026-01-01T00:00:00Z"},
				{type: Progressing, status: "False", reason: ProgressDeadlineExceeded, message: "b: too slow", lastUpdateTime: "2026-01-02T04:00:00Z", lastTransitionTime: "2026-01-02T04:00:00Z"}]}`,
		},
		{
			"numbers that an API server would refuse are put within bounds",
			`{apiVersion: apps/v1, kind: Deployment, metadata: {generation: 1}, spec: {replicas: 1}}`,
			[]Report{
				said("a", `{replicas: 1, updatedReplicas: 9, readyReplicas: -3, availableReplicas: 5}`),
				said("b", `{replicas: 2147483647, readyReplicas: 1}`),
			},
			`{observedGeneration: 1, replicas: 2147483647, updatedReplicas: 9, readyReplicas: 1, availableReplicas: 1}`,
		},
		{
			"a status that can't be read counts as none",
			`{apiVersion: apps/v1, kind: Deployment, metadata: {generation: 1}, spec: {replicas: 1}}`,
			[]Report{said("a", `{replicas: 1}`), said("b", `{replicas: many}`)},
			`{replicas: 1}`,
		},
		{
			"a Deployment without replicas that goes nowhere is observed",
			`{apiVersion: apps/v1, kind: Deployment, metadata: {generation: 2}, spec: {replicas: 0}, status: {observedGeneration: 1, replicas: 2}}`,
			nil,
			`{observedGeneration: 2}`,
		},
		{
			"a StatefulSet in its rollout shows the revisions of the cluster that is not done",
			`{apiVersion: apps/v1, kind: StatefulSet, metadata: {generation: 2}, spec: {replicas: 4}, status: {replicas: 0, availableReplicas: 0}}`,
			[]Report{
				said("a", `{replicas: 2, readyReplicas: 2, availableReplicas: 2, currentReplicas: 2, updatedReplicas: 2, currentRevision: new, updateRevision: new}`),
				said("b", `{replicas: 2, readyReplicas: 2, availableReplicas: 1, currentReplicas: 1, updatedReplicas: 1, currentRevision: old, updateRevision: new}`),
			},
			`{observedGeneration: 2, replicas: 4, readyReplicas: 4, availableReplicas: 3, currentReplicas: 3, updatedReplicas: 3, currentRevision: old, updateRevision: new}`,
		},
		{
			"a StatefulSet of which every cluster gets all replicas",
			`{apiVersion: apps/v1, kind: StatefulSet, metadata: {generation: 1}, spec: {replicas: 2}, status: {replicas: 0, availableReplicas: 0}}`,
			[]Report{
				said("a", `{replicas: 2, readyReplicas: 2, availableReplicas: 2, currentRevision: new, updateRevision: new}`),
				with(said("b", `{currentRevision: new, updateRevision: new}`), func(r *Report) { r.Healthy = false }),
			},
			`{replicas: 2, readyReplicas: 2, availableReplicas: 2, currentRevision: new, updateRevision: new}`,
		},
		{
			"a ReplicaSet",
			`{apiVersion: apps/v1, kind: ReplicaSet, metadata: {generation: 1}}`,
			[]Report{said("a", `{replicas: 1, fullyLabeledReplicas: 1, readyReplicas: 1, availableReplicas: 1}`), said("b", `{replicas: 2}`)},
			`{observedGeneration: 1, replicas: 3, fullyLabeledReplicas: 1, readyReplicas: 1, availableReplicas: 1}`,
		},
		{
			"a DaemonSet",
			`{apiVersion: apps/v1, kind: DaemonSet, metadata: {generation: 1}}`,
			[]Report{
				said("a", `{currentNumberScheduled: 1, desiredNumberScheduled: 1, numberReady: 1, updatedNumberScheduled: 1, numberAvailable: 1}`),
				said("b", `{currentNumberScheduled: 2, desiredNumberScheduled: 2, numberReady: 1, numberMisscheduled: 1, updatedNumberScheduled: 2, numberAvailable: 1, numberUnavailable: 1}`),
			},
			`{observedGeneration: 1, currentNumberScheduled: 3, desiredNumberScheduled: 3, numberReady: 2, numberMisscheduled: 1, updatedNumberScheduled: 3, numberAvailable: 2, numberUnavailable: 1}`,
		},
		{
			"a Job that runs in one cluster is not complete",
			`{apiVersion: batch/v1, kind: Job}`,
			[]Report{
				said("a", `{succeeded: 2, startTime: "2026-01-02T03:00:00Z", completionTime: "2026-01-02T05:00:00Z", conditions: [`+complete+`]}`),
				said("b", `{active: 1, ready: 1, succeeded: 1, startTime: "2026-01-02T02:00:00Z"}`),
			},
			`{active: 1, ready: 1, succeeded: 3, startTime: "2026-01-02T02:00:00Z"}`,
		},
		{
			"a Job that is complete everywhere",
			`{apiVersion: batch/v1, kind: Job, spec: {completions: 3}, status: {active: 1, startTime: "2026-01-02T02:30:00Z"}}`,
			[]Report{
				said("a", `{succeeded: 2, startTime: "2026-01-02T03:00:00Z", completionTime: "2026-01-02T04:00:00Z", conditions: [`+complete+`]}`),
				said("b", `{succeeded: 1, startTime: "2026-01-02T02:00:00Z", completionTime: "2026-01-02T05:00:00Z", conditions: [`+complete+`]}`),
			},
			`{succeeded: 3, startTime: "2026-01-02T02:30:00Z", completionTime: "2026-01-02T05:00:00Z", conditions: [
				{type: SuccessCriteriaMet, status: "True", message: Job is complete in every cluster., lastProbeTime: "2026-01-02T05:00:00Z", lastTransitionTime: "2026-01-02T05:00:00Z"},
				{type: Complete, status: "True", message: Job is complete in every cluster., lastProbeTime: "2026-01-02T05:00:00Z", lastTransitionTime: "2026-01-02T05:00:00Z"}]}`,
		},
		{
			"a Job that is suspended everywhere",
			`{apiVersion: batch/v1, kind: Job, status: {active: 2, startTime: "2026-01-02T02:00:00Z"}}`,
			[]Report{said("a", `{conditions: [`+suspended+`]}`), said("b", `{conditions: [`+suspendedLater+`]}`)},
			`{startTime: "2026-01-02T02:00:00Z", conditions: [` + suspendedLater + `]}`,
		},
		{
			"a Job that is suspended in one cluster of two runs",
			`{apiVersion: batch/v1, kind: Job, status: {startTime: "2026-01-02T02:00:00Z"}}`,
			[]Report{said("a", `{conditions: [`+suspended+`]}`), said("b", `{active: 1}`)},
			`{active: 1, startTime: "2026-01-02T02:00:00Z"}`,
		},
		{
			"a Job that was suspended and runs again",
			`{apiVersion: batch/v1, kind: Job, status: {startTime: "2026-01-02T02:00:00Z", conditions: [` + suspended + `]}}`,
			[]Report{said("a", `{active: 1, conditions: [`+resumed+`]}`)},
			`{active: 1, startTime: "2026-01-02T02:00:00Z", conditions: [
				{type: Suspended, status: "False", reason: JobResumed, message: "Job runs in a cluster at least, or is about to.", lastProbeTime: "2026-01-02T05:00:00Z", lastTransitionTime: "2026-01-02T05:00:00Z"}]}`,
		},
		{
			"a Job is not complete when the parts that are left are: one of half the completions is lost",
			`{apiVersion: batch/v1, kind: Job, spec: {completions: 4}}`,
			[]Report{said("a", `{succeeded: 2, startTime: "2026-01-02T03:00:00Z", completionTime: "2026-01-02T05:00:00Z", conditions: [`+complete+`]}`)},
			`{succeeded: 2, startTime: "2026-01-02T03:00:00Z"}`,
		},
		{
			"what has succeeded in a part that is lost does not count for one that is left",
			`{apiVersion: batch/v1, kind: Job, spec: {completions: 4}, status: {active: 1, succeeded: 4, startTime: "2026-01-02T03:00:00Z"}}`,
			[]Report{said("a", `{succeeded: 2, completionTime: "2026-01-02T05:00:00Z", conditions: [`+complete+`]}`)},
			`{succeeded: 4, startTime: "2026-01-02T03:00:00Z"}`,
		},
		{
			"a Job that is complete before all of its completions, because its success policy says so",
			`{apiVersion: batch/v1, kind: Job, spec: {completions: 4, successPolicy: {rules: [{succeededCount: 1}]}}}`,
			[]Report{said("a", `{succeeded: 1, startTime: "2026-01-02T03:00:00Z", completionTime: "2026-01-02T05:00:00Z", conditions: [`+complete+`]}`)},
			`{succeeded: 1, startTime: "2026-01-02T03:00:00Z", completionTime: "2026-01-02T05:00:00Z", conditions: [
				{type: SuccessCriteriaMet, status: "True", message: Job is complete in every cluster., lastProbeTime: "2026-01-02T05:00:00Z", lastTransitionTime: "2026-01-02T05:00:00Z"},
				{type: Complete, status: "True", message: Job is complete in every cluster., lastProbeTime: "2026-01-02T05:00:00Z", lastTransitionTime: "2026-01-02T05:00:00Z"}]}`,
		},
		{
			"a Job that failed somewhere and has ended everywhere",
			`{apiVersion: batch/v1, kind: Job}`,
			[]Report{
				said("a", `{succeeded: 2, startTime: "2026-01-02T03:00:00Z", completionTime: "2026-01-02T04:00:00Z", conditions: [`+complete+`]}`),
				said("b", `{failed: 7, startTime: "2026-01-02T02:00:00Z", conditions: [`+failed+`]}`),
			},
			`{succeeded: 2, failed: 7, startTime: "2026-01-02T02:00:00Z", conditions: [
				{type: FailureTarget, status: "True", reason: BackoffLimitExceeded, message: "b: broken", lastProbeTime: "2026-01-02T05:00:00Z", lastTransitionTime: "2026-01-02T05:00:00Z"},
				{type: Failed, status: "True", reason: BackoffLimitExceeded, message: "b: broken", lastProbeTime: "2026-01-02T05:00:00Z", lastTransitionTime: "2026-01-02T05:00:00Z"}]}`,
		},
		{
			"a Job that has ended stays ended, whatever is said later",
			`{apiVersion: batch/v1, kind: Job, status: {succeeded: 3, conditions: [` + complete + `]}}`,
			[]Report{said("c", `{active: 1}`)},
			``,
		},
		{
			"the counts of a Job don't go down when a cluster goes",
			`{apiVersion: batch/v1, kind: Job, status: {active: 1, succeeded: 3, failed: 1, startTime: "2026-01-02T02:00:00Z"}}`,
			[]Report{said("a", `{active: 2, succeeded: 1, startTime: "2026-01-02T01:00:00Z"}`)},
			`{active: 2, succeeded: 3, failed: 1, startTime: "2026-01-02T02:00:00Z"}`,
		},
		{
			"a CronJob",
			`{apiVersion: batch/v1, kind: CronJob}`,
			[]Report{
				said("b", `{active: [{kind: Job, name: b-1}], lastScheduleTime: "2026-01-02T03:00:00Z"}`),
				said("a", `{active: [{kind: Job, name: a-1}], lastScheduleTime: "2026-01-02T04:00:00Z", lastSuccessfulTime: "2026-01-01T04:00:00Z"}`),
			},
			`{active: [{kind: Job, name: a-1}, {kind: Job, name: b-1}], lastScheduleTime: "2026-01-02T04:00:00Z", lastSuccessfulTime: "2026-01-01T04:00:00Z"}`,
		},
		{
			"the addresses of load balancers, each once, and only what is an address",
			`{apiVersion: v1, kind: Service, spec: {type: LoadBalancer}, status: {loadBalancer: {}}}`,
			[]Report{
				said("b", `{loadBalancer: {ingress: [{ip: 192.0.2.2}, {ip: 192.0.2.1}]}}`),
				said("a", `{loadBalancer: {ingress: [{ip: 192.0.2.1, ipMode: Proxy}, {hostname: lb.example.com}, {ip: nonsense}, {ip: "fe80::1%eth0"}, {hostname: 10.0.0.1}, {hostname: "no host"}, {}]}}`),
			},
			`{loadBalancer: {ingress: [{ip: 192.0.2.1, ipMode: Proxy}, {hostname: lb.example.com}, {ip: 192.0.2.2, ipMode: VIP}]}}`,
		},
		{
			"a Service of another type has no addresses",
			`{apiVersion: v1, kind: Service, spec: {type: ClusterIP}, status: {loadBalancer: {}}}`,
			[]Report{said("a", `{loadBalancer: {ingress: [{ip: 192.0.2.1}]}}`)},
			``,
		},
		{
			"an Ingress",
			`{apiVersion: networking.k8s.io/v1, kind: Ingress, status: {loadBalancer: {}}}`,
			[]Report{said("a", `{loadBalancer: {ingress: [{ip: 192.0.2.1}]}}`), said("b", `{loadBalancer: {ingress: [{ip: 192.0.2.1}, {hostname: b.example.com}]}}`)},
			`{loadBalancer: {ingress: [{ip: 192.0.2.1}, {hostname: b.example.com}]}}`,
		},
		{
			"a Pod is as bad as its worst copy",
			`{apiVersion: v1, kind: Pod, spec: {containers: [{name: one}]}, status: {phase: Pending, qosClass: BestEffort}}`,
			[]Report{
				said("a", `{phase: Running, startTime: "2026-01-02T03:00:00Z", conditions: [{type: Ready, status: "True", lastTransitionTime: "2026-01-02T03:00:00Z"}], containerStatuses: [{name: one, ready: true, restartCount: 1, image: i, imageID: "", state: {running: {startedAt: "2026-01-02T03:00:00Z"}}}]}`),
				said("b", `{phase: Running, startTime: "2026-01-02T04:00:00Z", conditions: [{type: Ready, status: "False", message: not yet, lastTransitionTime: "2026-01-02T04:00:00Z"}], containerStatuses: [{name: one, ready: false, restartCount: 2, image: i, imageID: "", state: {waiting: {reason: CrashLoopBackOff}}}]}`),
			},
			`{phase: Running, qosClass: BestEffort, startTime: "2026-01-02T03:00:00Z",
				conditions: [{type: Ready, status: "False", message: "b: not yet", lastProbeTime: null, lastTransitionTime: "2026-01-02T04:00:00Z"}],
				containerStatuses: [{name: one, ready: false, restartCount: 3, image: i, imageID: "", lastState: {}, state: {waiting: {reason: CrashLoopBackOff}}}]}`,
		},
		{
			"a container that must not start again stays ended",
			`{apiVersion: v1, kind: Pod, spec: {restartPolicy: Never, containers: [{name: one}]}, status: {phase: Succeeded, containerStatuses: [{name: one, ready: false, restartCount: 0, image: i, imageID: "", lastState: {}, state: {terminated: {exitCode: 0}}}]}}`,
			[]Report{said("a", `{phase: Succeeded, containerStatuses: [{name: one, ready: true, restartCount: 0, image: i, imageID: "", state: {running: {}}}]}`)},
			``,
		},
		{
			"nor one that must not, of a Pod whose others may",
			`{apiVersion: v1, kind: Pod, spec: {restartPolicy: Always, containers: [{name: one, restartPolicy: Never}]}, status: {phase: Running, containerStatuses: [{name: one, ready: false, restartCount: 0, image: i, imageID: "", lastState: {}, state: {terminated: {exitCode: 0}}}]}}`,
			[]Report{said("a", `{phase: Running, containerStatuses: [{name: one, ready: false, restartCount: 0, image: i, imageID: "", state: {waiting: {reason: ContainerCreating}}}]}`)},
			``,
		},
		{
			"nor one whose own rules say when it may",
			`{apiVersion: v1, kind: Pod, spec: {containers: [{name: one, restartPolicyRules: [{action: Restart}]}]}, status: {phase: Running, containerStatuses: [{name: one, ready: false, restartCount: 0, image: i, imageID: "", lastState: {}, state: {terminated: {exitCode: 0}}}]}}`,
			[]Report{said("a", `{phase: Running, containerStatuses: [{name: one, ready: false, restartCount: 0, image: i, imageID: "", state: {waiting: {reason: ContainerCreating}}}]}`)},
			``,
		},
		{
			"one that may start again, of a Pod whose others must not",
			`{apiVersion: v1, kind: Pod, spec: {restartPolicy: Never, containers: [{name: one, restartPolicy: Always}]}, status: {phase: Running, containerStatuses: [{name: one, ready: false, restartCount: 0, image: i, imageID: "", lastState: {}, state: {terminated: {exitCode: 0}}}]}}`,
			[]Report{said("a", `{phase: Running, containerStatuses: [{name: one, ready: true, restartCount: 1, image: i, imageID: "", state: {running: {}}}]}`)},
			`{phase: Running, containerStatuses: [{name: one, ready: true, restartCount: 1, image: i, imageID: "", lastState: {}, state: {running: {startedAt: null}}}]}`,
		},
		{
			"a claim is bound when it is everywhere",
			`{apiVersion: v1, kind: PersistentVolumeClaim, status: {phase: Pending}}`,
			[]Report{said("a", `{phase: Bound}`), said("b", `{phase: Bound, capacity: {storage: 1Gi}}`)},
			`{phase: Bound}`,
		},
		{
			"a claim is pending when a cluster has said nothing",
			`{apiVersion: v1, kind: PersistentVolumeClaim, status: {phase: Bound}}`,
			[]Report{said("a", `{phase: Bound}`), said("b", ``)},
			`{phase: Pending}`,
		},
		{
			"a volume is as bad as its worst copy",
			`{apiVersion: v1, kind: PersistentVolume, status: {phase: Pending}}`,
			[]Report{said("a", `{phase: Bound}`), said("b", `{phase: Failed}`)},
			`{phase: Failed}`,
		},
		{
			"a disruption budget",
			`{apiVersion: policy/v1, kind: PodDisruptionBudget, metadata: {generation: 1}}`,
			[]Report{said("a", `{currentHealthy: 1, desiredHealthy: 2, expectedPods: 3, disruptionsAllowed: 0}`), said("b", `{currentHealthy: 3, desiredHealthy: 2, expectedPods: 3, disruptionsAllowed: 1}`)},
			`{observedGeneration: 1, currentHealthy: 4, desiredHealthy: 4, expectedPods: 6, disruptionsAllowed: 1}`,
		},
		{
			"an autoscaler of version 2",
			`{apiVersion: autoscaling/v2, kind: HorizontalPodAutoscaler, status: {desiredReplicas: 0, currentMetrics: null}}`,
			[]Report{said("a", `{currentReplicas: 1, desiredReplicas: 2}`), said("b", `{currentReplicas: 3, desiredReplicas: 3, lastScaleTime: "2026-01-02T03:00:00Z"}`)},
			`{currentReplicas: 4, desiredReplicas: 5, lastScaleTime: "2026-01-02T03:00:00Z", currentMetrics: null}`,
		},
		{
			"an autoscaler of version 1",
			`{apiVersion: autoscaling/v1, kind: HorizontalPodAutoscaler, status: {currentReplicas: 0, desiredReplicas: 0}}`,
			[]Report{said("a", `{currentReplicas: 1, desiredReplicas: 2}`)},
			`{currentReplicas: 1, desiredReplicas: 2}`,
		},
	} {
		t.Run(test.reason, func(t *testing.T) {
			template := parseObject(t, test.template)
			before := template.DeepCopy()
			got, changed, ok := AggregateStatus(template, test.reports)
			if !ok {
				t.Fatal("the kind's status is not aggregated")
			}
			if changed != (test.want != "") {
				t.Errorf("changed is %v: %v", changed, got)
			}
			if test.want != "" {
				if diff := cmp.Diff(normalized(t, asJSON(test.want)), normalized(t, mustJSON(t, got))); diff != "" {
					t.Errorf("-want +got:\n%s", diff)
				}
				template.Object["status"] = got
				if _, changed, _ := AggregateStatus(template, test.reports); changed {
					t.Error("it changes again when nothing new is said")
				}
				delete(template.Object, "status")
				delete(before.Object, "status")
			}
			if diff := cmp.Diff(before, template); diff != "" {
				t.Errorf("the template was changed:\n%s", diff)
			}
		})
	}
}

func mustJSON(t *testing.T, value any) []byte {
	t.Helper()
	encoded, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return encoded
}

// normalized drops zeros and nothings at the top, which mean the same as no field.
func normalized(t *testing.T, encoded []byte) map[string]any {
	t.Helper()
	var fields map[string]any
	if err := json.Unmarshal(encoded, &fields); err != nil {
		t.Fatal(err)
	}
	for name, value := range fields {
		if value == nil || value == float64(0) {
			delete(fields, name)
		}
	}
	return fields
}

func TestTheStatusOfOtherKindsIsLeftAlone(t *testing.T) {
	for _, template := range []string{
		`{apiVersion: v1, kind: ConfigMap}`,
		`{apiVersion: example.com/v1, kind: Deployment}`,
		`{apiVersion: v1, kind: Namespace}`,
	} {
		if _, changed, ok := AggregateStatus(parseObject(t, template), []Report{said("a", `{phase: Ready}`)}); changed || ok {
			t.Errorf("%s: has an aggregated status", template)
		}
	}
}

func TestTheOrderOfReportsDoesNotMatter(t *testing.T) {
	template := parseObject(t, `{apiVersion: apps/v1, kind: StatefulSet, metadata: {generation: 1}}`)
	reports := []Report{
		said("a", `{replicas: 1, currentRevision: x, updateRevision: y}`),
		said("b", `{replicas: 2, currentRevision: v, updateRevision: w}`),
		said("c", `{replicas: 3, currentRevision: t, updateRevision: u}`),
	}
	want, _, _ := AggregateStatus(template, reports)
	for range 10 {
		rand.Shuffle(len(reports), func(i, j int) { reports[i], reports[j] = reports[j], reports[i] })
		if got, _, _ := AggregateStatus(template, reports); !cmp.Equal(want, got) {
			t.Fatalf("-want +got:\n%s", cmp.Diff(want, got))
		}
	}
}

func TestWhatClustersSayAlikeIsDecodedOnce(t *testing.T) {
	const clusters = 200
	var reports []Report
	for i := range clusters {
		reports = append(reports, said(fmt.Sprintf("c%03d", i), `{replicas: 2, readyReplicas: 2, availableReplicas: 2, updatedReplicas: 2, observedGeneration: 1}`))
	}
	reports[7].Status, reports[8].Status = []byte(`{"replicas": "two"}`), []byte(`{"replicas": "two"}`)
	template := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": map[string]any{"name": "web"}}}
	status, _, _ := AggregateStatus(template, reports)
	if status["replicas"] != int64(2*(clusters-2)) {
		t.Errorf("of %d clusters, two of which can't be read, the status is %v", clusters, status)
	}
	if allocations := testing.AllocsPerRun(5, func() { AggregateStatus(template, reports) }); allocations > clusters {
		t.Errorf("%v allocations for %d clusters", allocations, clusters)
	}
}

func TestAStatusOfAnUnexpectedFormIsNotAggregated(t *testing.T) {
	template := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "apps/v1", "kind": "Deployment", "status": map[string]any{"replicas": "many"},
	}}
	if _, changed, ok := AggregateStatus(template, []Report{said("a", `{replicas: 1}`)}); changed || ok {
		t.Error("a status that could not be read was replaced")
	}
}
