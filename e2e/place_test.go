package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"windlass.dev/windlass/e2e/fleet"
)

// placedBy is a policy for all Deployments of a namespace with a placement.
func placedBy(namespace, placement string) string {
	return fill(namespace, fmt.Sprintf(`
---
apiVersion: policy.karmada.io/v1alpha1
kind: PropagationPolicy
metadata:
  name: all
  namespace: NAMESPACE
spec:
  resourceSelectors:
  - apiVersion: apps/v1
    kind: Deployment
  placement: %s
`, placement))
}

// heavy is webDeployment with so much memory for each replica that one fits on a node, and so two into a cluster of two; by their sums it would be three.
func heavy(namespace string, replicas int) string {
	return webDeployment(namespace, replicas) + "        resources: {requests: {memory: 20Gi}}\n"
}

// labelCluster gives a cluster a label until the test ends.
func labelCluster(t *testing.T, f *fleet.Fleet, cluster, key, value string) {
	t.Helper()
	label := func(ctx context.Context, word string) {
		if _, err := f.Hub().CLI(ctx, "kubectl", "label", "membercluster", cluster, word, "--overwrite"); err != nil {
			t.Errorf("labelling cluster %s: %v", cluster, err)
		}
	}
	label(t.Context(), key+"="+value)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		label(ctx, key+"-")
	})
}

// replicasIn checks in how many clusters a binding is, and how many replicas it has in all of them.
func replicasIn(clusters, replicas int) fleet.Check {
	return func(binding *unstructured.Unstructured) error {
		targets, _, _ := unstructured.NestedSlice(binding.Object, "spec", "clusters")
		var sum int64
		for _, target := range targets {
			n, _, _ := unstructured.NestedInt64(target.(map[string]any), "replicas")
			sum += n
		}
		if len(targets) != clusters || sum != int64(replicas) {
			return fmt.Errorf("it is in %v, want %d clusters with %d replicas", targets, clusters, replicas)
		}
		return nil
	}
}

// Aggregated replicas stay in one cluster as long as it has room for them; more go to the next. What there is no room for
// is placed nowhere and says so, and what is placed stays.
func TestAggregatedReplicasFillOneClusterAfterTheOther(t *testing.T) {
	f := fleet.Shared(t)
	namespace := f.Hub().Namespace(t)
	web := deployment(namespace, "web")
	f.Hub().Apply(t, heavy(namespace, 1)+placedBy(namespace, "{replicaScheduling: {replicaSchedulingType: Divided, replicaDivisionPreference: Aggregated}}"))
	binding := fleet.Binding(web)
	f.Hub().Eventually(t, binding, fleet.ConditionIs("Scheduled", "True"), replicasIn(1, 1))
	f.Hub().Eventually(t, web, fleet.Field("status.readyReplicas", 1))

	f.Hub().Patch(t, web, "spec: {replicas: 4}")
	f.Hub().Eventually(t, binding, fleet.ConditionIs("Scheduled", "True"), replicasIn(2, 4))

	f.Hub().Patch(t, web, "spec: {replicas: 100}")
	f.Hub().Eventually(t, binding, fleet.ConditionIs("Scheduled", "False"), fleet.ConditionSays("Scheduled", "Unschedulable: 96 replicas more, which makes 100 wanted"), replicasIn(2, 4))
	f.Hub().EventuallyWarned(t, web, "Unschedulable", "It stays as it is: 96 replicas more")

	f.Hub().Patch(t, web, "spec: {replicas: 1}")
	f.Hub().Eventually(t, binding, fleet.ConditionIs("Scheduled", "True"), replicasIn(1, 1))
	f.Hub().Eventually(t, web, fleet.Field("status.readyReplicas", 1))
}

// A division by dynamic weight gives equal clusters equal shares, and leaves them where they are.
func TestReplicasAreDividedByTheRoomOfClusters(t *testing.T) {
	f := fleet.Shared(t)
	namespace := f.Hub().Namespace(t)
	web := deployment(namespace, "web")
	f.Hub().Apply(t, webDeployment(namespace, 2)+"        resources: {requests: {cpu: 3}}\n"+placedBy(namespace,
		"{replicaScheduling: {replicaSchedulingType: Divided, replicaDivisionPreference: Weighted, weightPreference: {dynamicWeight: AvailableReplicas}}}"))
	for _, member := range f.Members() {
		member.Eventually(t, web, fleet.Field("spec.replicas", 1), fleet.Field("status.readyReplicas", 1))
	}
	f.Hub().Eventually(t, web, fleet.Field("status.readyReplicas", 2))
}

// The first affinity group that fits is used and stayed in; who asks for a fresh start gets the first again.
func TestAffinityGroupsAreTriedInOrderAndStayedIn(t *testing.T) {
	f := fleet.Shared(t)
	namespace := f.Hub().Namespace(t)
	web := deployment(namespace, "web")
	f.Hub().Apply(t, webDeployment(namespace, 1)+placedBy(namespace, fill(namespace, `
    clusterAffinities:
    - affinityName: near
      labelSelector: {matchLabels: {near: NAMESPACE}}
    - affinityName: far
      clusterNames: [member2]`)))
	binding := fleet.Binding(web)
	f.Member("member2").Eventually(t, web, fleet.Field("spec.replicas", 1))
	f.Hub().Eventually(t, binding, fleet.Field("status.schedulerObservingAffinityName", "far"), fleet.ConditionSays("Scheduled", "in the affinity group far"))

	labelCluster(t, f, "member1", "near", namespace)
	// The scheduler knows the label as soon as it places by it.
	probe := configMap(namespace, "settings")
	f.Hub().Apply(t, fill(namespace, settings+`
---
apiVersion: policy.karmada.io/v1alpha1
kind: PropagationPolicy
metadata:
  name: probe
  namespace: NAMESPACE
spec:
  resourceSelectors:
  - apiVersion: v1
    kind: ConfigMap
    name: settings
  placement: {clusterAffinity: {labelSelector: {matchLabels: {near: NAMESPACE}}}}
`))
	f.Member("member1").Eventually(t, probe)
	f.Hub().Patch(t, web, "spec: {replicas: 2}")
	f.Member("member2").Eventually(t, web, fleet.Field("spec.replicas", 2))

	last := f.Hub().Get(t, binding)
	at, _, _ := unstructured.NestedString(last.Object, "status", "lastScheduledTime")
	scheduled, err := time.Parse(time.RFC3339, at)
	if err != nil {
		t.Fatal(err)
	}
	f.Hub().Patch(t, binding, fmt.Sprintf("spec: {rescheduleTriggeredAt: %q}", scheduled.Add(time.Second).Format(time.RFC3339)))
	f.Member("member1").Eventually(t, web, fleet.Field("spec.replicas", 2))
	f.Member("member2").EventuallyGone(t, web)
	f.Hub().Eventually(t, binding, fleet.Field("status.schedulerObservingAffinityName", "near"))
}

// Clusters are chosen from as many different groups as spread constraints ask for; when there are too few, a binding says which.
func TestClustersAreChosenByTheValueOfALabel(t *testing.T) {
	f := fleet.Shared(t)
	namespace := f.Hub().Namespace(t)
	web := deployment(namespace, "web")
	labelCluster(t, f, "member1", "rack", namespace+"-1")
	labelCluster(t, f, "member2", "rack", namespace+"-1")
	f.Hub().Apply(t, webDeployment(namespace, 1)+placedBy(namespace, "{spreadConstraints: [{spreadByLabel: rack, minGroups: 2}]}"))
	f.Hub().Eventually(t, fleet.Binding(web), fleet.ConditionIs("Scheduled", "False"),
		fleet.ConditionSays("Scheduled", "at least 2 different groups by value of the label rack, and the clusters that fit are in 1: "+namespace+"-1"))

	labelCluster(t, f, "member2", "rack", namespace+"-2")
	for _, member := range f.Members() {
		member.Eventually(t, web, fleet.Field("spec.replicas", 1))
	}
}

// Workloads with the same value of a label are kept apart, and one for which no cluster is left says so.
func TestWorkloadsAreKeptApartByALabel(t *testing.T) {
	f := fleet.Shared(t)
	namespace := f.Hub().Namespace(t)
	manifests := placedBy(namespace, "{spreadConstraints: [{spreadByField: cluster, maxGroups: 1}], workloadAffinity: {antiAffinity: {groupByLabelKey: apart}}}")
	f.Hub().Apply(t, manifests)
	var last fleet.Object
	for i := range len(f.Members()) + 1 {
		name := fmt.Sprintf("web%d", i)
		last = deployment(namespace, name)
		f.Hub().Apply(t, fmt.Sprintf(`
apiVersion: apps/v1
kind: Deployment
metadata: {name: %s, namespace: %s, labels: {apart: "yes"}}
spec:
  replicas: 1
  selector: {matchLabels: {app: %s}}
  template:
    metadata: {labels: {app: %s}}
    spec: {containers: [{name: web, image: "example.test/web:1"}]}
`, name, namespace, name, name))
		if i < len(f.Members()) {
			f.Hub().Eventually(t, fleet.Binding(last), fleet.ConditionIs("Scheduled", "True"), replicasIn(1, 1))
		}
	}
	f.Hub().Eventually(t, fleet.Binding(last), fleet.ConditionIs("Scheduled", "False"), fleet.ConditionSays("Scheduled", "have a workload of the anti-affinity group apart=yes"))

	f.Hub().Delete(t, deployment(namespace, "web0"))
	f.Hub().Eventually(t, fleet.Binding(last), fleet.ConditionIs("Scheduled", "True"), replicasIn(1, 1))
}

// Of every cluster that an object does not go to, the hub says on request which rule refuses it, with the room that was counted.
func TestTheHubExplainsForEveryClusterWhyAnObjectIsNotThere(t *testing.T) {
	f := fleet.Shared(t)
	namespace := f.Hub().Namespace(t)
	web := deployment(namespace, "web")
	explain := func(args ...string) string {
		t.Helper()
		out, err := f.Hub().CLI(t.Context(), append([]string{"placement", "deployment/web", "-n", namespace}, args...)...)
		if err != nil {
			t.Fatalf("windlass placement: %v", err)
		}
		return out
	}
	f.Hub().Apply(t, heavy(namespace, 1)+placedBy(namespace, `
    clusterAffinity: {exclude: [member1]}
    replicaScheduling: {replicaSchedulingType: Divided, replicaDivisionPreference: Aggregated}`))
	f.Hub().Eventually(t, web, fleet.Field("status.readyReplicas", 1))
	var explained struct {
		Scheduled bool
		Clusters  []struct {
			Cluster  string
			Replicas int
		}
		Refusals []struct {
			Rule, Message string
			Clusters      []string
		}
		Room []struct{ Cluster, Source string }
	}
	if err := json.Unmarshal([]byte(explain("-o", "json")), &explained); err != nil {
		t.Fatal(err)
	}
	said := map[string]string{}
	for _, chosen := range explained.Clusters {
		said[chosen.Cluster] = fmt.Sprint(chosen.Replicas)
	}
	for _, refusal := range explained.Refusals {
		for _, cluster := range refusal.Clusters {
			said[cluster] = refusal.Rule + " " + refusal.Message
		}
	}
	if !explained.Scheduled || said["member1"] != "ClusterAffinity is excluded by exclude" || said["member2"] != "1" {
		t.Errorf("explained are %v, scheduled %t", said, explained.Scheduled)
	}
	for _, room := range explained.Room {
		if said[room.Cluster] == "" {
			t.Errorf("cluster %s has room, and nothing is said of it", room.Cluster)
		}
	}
	if len(explained.Room) == 0 {
		t.Error("room decides, and is not told")
	}

	f.Hub().Patch(t, web, "spec: {replicas: 100}")
	f.Hub().Eventually(t, fleet.Binding(web), fleet.ConditionIs("Scheduled", "False"))
	text := explain()
	for _, part := range []string{"Deployment " + namespace + "/web: stays where it is, not scheduled: 99 replicas more, which makes 100 wanted", "Capacity", "ClusterAffinity", "member1 (room "} {
		if !strings.Contains(text, part) {
			t.Errorf("the explanation does not say %q:\n%s", part, text)
		}
	}
}
