package status

import (
	"bytes"
	"encoding/json"
	"fmt"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	workv1alpha1 "windlass.dev/windlass/api/work/v1alpha1"
)

// elsewhere are the names of so many clusters.
func elsewhere(n int) []string {
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("far-%03d", i)
	}
	return names
}

// byRoom is the placement of a workload that room decides about, in the second of its affinity groups.
func byRoom() *workv1alpha1.BindingPlacement {
	return &workv1alpha1.BindingPlacement{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web-deployment"},
		Resource:   template("Deployment", "web"), Replicas: new(int32(5)), Scheduled: true, Reason: "Success", Pending: true,
		Message: "5 replicas divided among 2 clusters, in the affinity group near", AffinityGroup: "near",
		Clusters: []workv1alpha1.TargetCluster{{Name: "eu-1", Replicas: 3}, {Name: "eu-2", Replicas: 2}},
		Refusals: []workv1alpha1.PlacementRefusal{
			{AffinityGroup: "home", Rule: "ClusterAffinity", Message: "is not named by clusterNames", Clusters: elsewhere(997)},
			{AffinityGroup: "home", Rule: "TaintToleration", Message: "has the untolerated taint gpu:NoSchedule", Clusters: []string{"home-1"}},
			{AffinityGroup: "near", Rule: "ClusterAffinity", Message: "is not named by clusterNames", Clusters: elsewhere(5)},
			{AffinityGroup: "near", Rule: "Capacity", Message: "fits, but has no room for a replica", Clusters: []string{"eu-3", "eu-4"}},
		},
		Room: []workv1alpha1.ClusterRoom{
			{Cluster: "eu-1", Replicas: new(int32(12)), Source: "Agent"}, {Cluster: "eu-2", Replicas: new(int32(4)), Source: "Summary", Message: "it did not answer in time"},
			{Cluster: "eu-3", Replicas: new(int32(0)), Source: "Agent"}, {Cluster: "eu-4", Source: "Unknown"},
		},
	}
}

func TestAPlacementIsExplainedAsInTheGoldenFiles(t *testing.T) {
	nowhere := &workv1alpha1.BindingPlacement{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "settings-configmap"}, Resource: template("ConfigMap", "settings"),
		Reason: "NoClusterFit", Message: "0 of 2 clusters fit: 2 do not have the labels tier=gold",
		Refusals: []workv1alpha1.PlacementRefusal{{Rule: "ClusterAffinity", Message: "does not have the labels tier=gold", Clusters: []string{"a", "b"}}},
	}
	stays := &workv1alpha1.BindingPlacement{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web-deployment"}, Resource: template("Deployment", "web"), Replicas: new(int32(9)),
		Reason: "Unschedulable", Message: "9 replicas wanted, and the cluster that fits has room for 2: a has 2",
		Clusters: []workv1alpha1.TargetCluster{{Name: "a", Replicas: 1}},
		Refusals: []workv1alpha1.PlacementRefusal{{Rule: "Capacity", Message: "fits, but 9 replicas wanted, and the cluster that fits has room for 2: a has 2", Clusters: []string{"a"}}},
		Room:     []workv1alpha1.ClusterRoom{{Cluster: "a", Replicas: new(int32(2)), Source: "Agent"}},
	}
	everywhere := &workv1alpha1.BindingPlacement{
		ObjectMeta: metav1.ObjectMeta{Name: "reader-clusterrole"}, Resource: workv1alpha1.ObjectReference{APIVersion: "rbac.authorization.k8s.io/v1", Kind: "ClusterRole", Name: "reader"},
		Scheduled: true, Reason: "Success", Message: "goes to 2 clusters", Clusters: []workv1alpha1.TargetCluster{{Name: "a"}, {Name: "b"}},
	}
	tests := []struct {
		file, reason string
		answer       *workv1alpha1.BindingPlacement
		wide         bool
	}{
		{file: "placement-room.txt", reason: "a thousand clusters are a handful of lines", answer: byRoom()},
		{file: "placement-nowhere.txt", reason: "what is nowhere says why for each cluster", answer: nowhere},
		{file: "placement-nowhere.txt", reason: "a few clusters are named anyway", answer: nowhere, wide: true},
		{file: "placement-stays.txt", reason: "what stays for want of room is in the list of clusters, too", answer: stays},
		{file: "placement-everywhere.txt", reason: "what has no replicas and is everywhere has nothing to explain", answer: everywhere},
	}
	for _, test := range tests {
		var out bytes.Buffer
		if err := Explain(test.answer).Text(&out, test.wide); err != nil {
			t.Fatal(err)
		}
		compareGolden(t, test.file, out.Bytes(), test.reason)
	}
}

func TestWideNamesAllClustersThatAreRefused(t *testing.T) {
	var out bytes.Buffer
	if err := Explain(byRoom()).Text(&out, true); err != nil {
		t.Fatal(err)
	}
	for _, name := range elsewhere(997) {
		if !bytes.Contains(out.Bytes(), []byte(name)) {
			t.Fatalf("%s is not named", name)
		}
	}
}

func TestAPlacementAsJSONIsAsInTheGoldenFile(t *testing.T) {
	answer := byRoom()
	answer.Refusals = answer.Refusals[1:]
	out, err := json.MarshalIndent(Explain(answer), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	compareGolden(t, "placement.json", append(out, '\n'), "scripts read this")
}
