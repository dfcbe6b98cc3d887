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
		Refusals: []workv1alpha1.PlacementRefusal{{Rule: "Capacity", Message: "fits, but there is room for 2 of 9 replicas to be placed", Clusters: []string{"a"}}},
		Room:     []workv1alpha1.ClusterRoom{{Cluster: "a", Replicas: new(int32(2)), Source: "Agent"}},
	}
	everywhere := &workv1alpha1.BindingPlacement{
		ObjectMeta: metav1.ObjectMeta{Name: "reader-clusterrole"}, Resource: workv1alpha1.ObjectReference{APIVersion: "rbac.authorization.k8s.io/v1", Kind: "ClusterRole", Name: "reader"},
		Scheduled: true, Reason: "Success", Message: "goes to 2 clusters", Clusters: []workv1alpha1.TargetCluster{{Name: "a"}, {Name: "b"}},
	}
	moving := &workv1alpha1.BindingPlacement{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web-deployment"}, Resource: template("Deployment", "web"), Replicas: new(int32(9)),
		Scheduled: true, Reason: "Success", Message: "9 replicas divided among 3 clusters, in the affinity group own with overflow to rented", AffinityGroup: "own",
		Clusters: []workv1alpha1.TargetCluster{{Name: "a", Replicas: 2}, {Name: "b", Replicas: 4}, {Name: "c", Replicas: 3}},
		Details: []workv1alpha1.PlacementDetail{
			{Cluster: "a", WorkReplicas: new(int32(5)), Message: "keeps the replicas that were moved away until they are healthy elsewhere"},
			{Cluster: "c", OverflowGroup: "rented"},
			{Cluster: "old", WorkReplicas: new(int32(4)), Message: "is being left because of a taint NoExecute, and keeps its copy until the others are healthy"},
		},
		Remarks: []string{"the policy default/web is Lazy: its placement as it is by now holds for the template when that is changed next"},
	}
	removing := &workv1alpha1.BindingPlacement{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "settings-configmap"}, Resource: template("ConfigMap", "settings"),
		Reason: "Removing", Message: "It is being removed, and not gone yet from 1 cluster: a",
		Details: []workv1alpha1.PlacementDetail{{Cluster: "a", Message: "has it still, for the removal there is not over yet: the cluster's agent is not connected"}},
	}
	tests := []struct {
		file, reason string
		answer       *workv1alpha1.BindingPlacement
		wide         bool
	}{
		{file: "placement-room.txt", reason: "a thousand clusters are a handful of lines", answer: byRoom()},
		{file: "placement-nowhere.txt", reason: "what is nowhere says why for each cluster", answer: nowhere},
		{file: "placement-nowhere-wide.txt", reason: "wide has a row for each cluster, to be searched by name", answer: nowhere, wide: true},
		{file: "placement-stays-wide.txt", reason: "wide has the room in a column of its own", answer: stays, wide: true},
		{file: "placement-moving.txt", reason: "what works have other than the placement is told beside it", answer: moving},
		{file: "placement-fleet.txt", reason: "clusters of which the same is true have one row, the odd ones first", answer: inFleet()},
		{file: "placement-stays.txt", reason: "what stays for want of room is in the list of clusters, too", answer: stays},
		{file: "placement-removing.txt", reason: "what is being removed goes nowhere, and is somewhere still", answer: removing},
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

// inFleet is the placement of a workload in 800 clusters, of which a few are special, and with the room of some.
func inFleet() *workv1alpha1.BindingPlacement {
	fleet := &workv1alpha1.BindingPlacement{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web-deployment"}, Resource: template("Deployment", "web"), Replicas: new(int32(2400)),
		Scheduled: true, Reason: "Success", Message: "2400 replicas divided among 800 clusters",
		Details: []workv1alpha1.PlacementDetail{
			{Cluster: "far-003", WorkReplicas: new(int32(9)), Message: "gets the replicas that OverridePolicy big says"},
			{Cluster: "far-007", WorkReplicas: new(int32(9)), Message: "gets the replicas that OverridePolicy big says"},
			{Cluster: "left-1", WorkReplicas: new(int32(1)), Message: "is being left, and keeps its copy until the others are healthy"},
		},
	}
	for i, name := range elsewhere(800) {
		fleet.Clusters = append(fleet.Clusters, workv1alpha1.TargetCluster{Name: name, Replicas: 3})
		room := workv1alpha1.ClusterRoom{Cluster: name, Replicas: new(int32(i)), Source: []string{"Agent", "Summary"}[i%2]}
		if i == 500 {
			room = workv1alpha1.ClusterRoom{Cluster: name, Source: "Unknown"}
		}
		fleet.Room = append(fleet.Room, room)
	}
	return fleet
}

func TestATableOfManyDifferentClustersShowsTheFirstRowsAndSaysHowManyMore(t *testing.T) {
	answer := inFleet()
	for i := range answer.Clusters {
		answer.Clusters[i].Replicas = int32(i)
	}
	lines := func(wide bool) int {
		var out bytes.Buffer
		if err := Explain(answer).Text(&out, wide); err != nil {
			t.Fatal(err)
		}
		if told := bytes.Contains(out.Bytes(), []byte("601 rows not shown; -o wide shows them.")); told == wide {
			t.Errorf("wide %t, and it is said that rows are not shown: %t", wide, told)
		}
		return bytes.Count(out.Bytes(), []byte("\n"))
	}
	if short, full := lines(false), lines(true); short > 210 || full < 801 {
		t.Errorf("there are %d lines, and %d in full", short, full)
	}
}

func TestWhatIsSaidOfOneClusterIsFound(t *testing.T) {
	for _, test := range []struct {
		reason, cluster string
		of              *workv1alpha1.BindingPlacement
		file            string // empty: nothing is said
	}{
		{"one that has it", "far-003", inFleet(), "placement-only-chosen.txt"},
		{"one that it is leaving", "left-1", inFleet(), "placement-only-left.txt"},
		{"one among many that are refused, in each group that was tried", "far-002", byRoom(), "placement-only-refused.txt"},
		{"a slip in the name", "fra-002", byRoom(), ""},
	} {
		all := Explain(test.of)
		only, found := all.Only(test.cluster)
		if found != (test.file != "") {
			t.Errorf("%s: found %t", test.reason, found)
		}
		if !found {
			continue
		}
		var out bytes.Buffer
		if err := only.Text(&out, false); err != nil {
			t.Fatal(err)
		}
		compareGolden(t, test.file, out.Bytes(), test.reason)
		if again, _ := json.Marshal(all); !bytes.Equal(again, must(json.Marshal(Explain(test.of)))) {
			t.Errorf("%s: the whole explanation was changed", test.reason)
		}
	}
}

func must(out []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return out
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
	answer.Remarks = []string{"works can't be written: too large"}
	answer.Details = []workv1alpha1.PlacementDetail{
		{Cluster: "eu-2", OverflowGroup: "rented", WorkReplicas: new(int32(4)), Message: "keeps the replicas that were moved away until they are healthy elsewhere"},
		{Cluster: "eu-9", WorkReplicas: new(int32(1)), Message: "is being left"},
	}
	out, err := json.MarshalIndent(Explain(answer), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	compareGolden(t, "placement.json", append(out, '\n'), "scripts read this")
}
