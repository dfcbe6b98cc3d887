package evict

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/utils/ptr"

	workv1alpha1 "windlass.dev/windlass/api/work/v1alpha1"
)

func targets(of ...any) []workv1alpha1.TargetCluster {
	var list []workv1alpha1.TargetCluster
	for i := 0; i < len(of); i += 2 {
		list = append(list, workv1alpha1.TargetCluster{Name: of[i].(string), Replicas: int32(of[i+1].(int))})
	}
	return list
}

func TestWhatTheHubMovesStaysWhereItWasUntilItIsHealthyElsewhere(t *testing.T) {
	tests := []struct {
		reason  string
		binding *workv1alpha1.PropagationBinding
		next    []workv1alpha1.TargetCluster
		ends    bool
		gone    string
		want    []string // cluster, reason and replicas of the tasks
	}{
		{reason: "nothing moves", binding: dividedBetween("a", "b"), next: targets("a", 2, "b", 2)},
		{reason: "nothing is gained, so nothing can be waited for", binding: dividedBetween("a", "b"), next: targets("a", 2)},
		{reason: "all of it moves", binding: dividedBetween("a", "b"), next: targets("a", 2, "c", 2), want: []string{"b Rescheduled 2"}},
		{reason: "a part of it moves", binding: dividedBetween("a", "b"), next: targets("a", 3, "b", 1), want: []string{"b Rescheduled 2"}},
		{reason: "two clusters lose something", binding: dividedBetween("b", "a"), next: targets("a", 1, "b", 1, "c", 2), want: []string{"a Rescheduled 2", "b Rescheduled 2"}},
		{reason: "a Job's part is not cut", binding: dividedBetween("a", "b"), next: targets("a", 3, "b", 1), ends: true},
		{reason: "a cluster that leaves the hub keeps nothing", binding: dividedBetween("a", "b"), next: targets("a", 4), gone: "b"},
		{reason: "one without replicas moves", binding: changed(settled("a"), withoutReplicas), next: targets("b", 0), want: []string{"a Rescheduled 0"}},
		{reason: "each cluster has all replicas", binding: settled("a", "b"), next: targets("a", 1, "b", 1, "c", 1)},
		{reason: "a cluster that is left because of a taint is left for that", binding: leaving(dividedBetween("a", "b"), "b"), next: targets("a", 4), want: []string{"b TaintUntolerated 0"}},
		{reason: "a cluster has kept more since an earlier move", binding: moved(dividedBetween("a", "b"), "b", 4), next: targets("a", 3, "b", 1), want: []string{"b Rescheduled 4"}},
	}
	for _, test := range tests {
		t.Run(test.reason, func(t *testing.T) {
			var got []string
			for _, task := range Move(&test.binding.Spec, test.next, func(cluster string) bool { return cluster == test.gone }, test.ends, after(5)) {
				got = append(got, fmt.Sprint(task.FromCluster, " ", task.Reason, " ", ptr.Deref(task.Replicas, 0)))
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("tasks (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAClusterKeepsNoMoreReplicasThanAreAskedFor(t *testing.T) {
	spec := &moved(dividedBetween("a", "b"), "b", 4).Spec
	for _, test := range []struct {
		reason   string
		cluster  string
		replicas int32
		want     int32
	}{
		{"it keeps what was moved away", "b", 4, 4},
		{"another cluster keeps nothing", "a", 4, 2},
		{"the template was scaled down since", "b", 3, 3},
		{"the template was scaled to less than the cluster shall have", "b", 1, 2},
	} {
		spec.Replicas = &test.replicas
		if got := Keeping(spec, workv1alpha1.TargetCluster{Name: test.cluster, Replicas: 2}).Replicas; got != test.want {
			t.Errorf("%s: %d, want %d", test.reason, got, test.want)
		}
	}
}

func TestWhichClustersKeepWhatWasMovedIsSaidInShort(t *testing.T) {
	task := func(cluster string) workv1alpha1.GracefulEvictionTask {
		return workv1alpha1.GracefulEvictionTask{FromCluster: cluster, Reason: ReasonRescheduled}
	}
	for want, tasks := range map[string][]workv1alpha1.GracefulEvictionTask{
		"": {{FromCluster: "a", Reason: ReasonTaintUntolerated}},
		"a keeps what was there until it is healthy elsewhere":                 {task("a")},
		"a, b, c and 1 more keep what was there until it is healthy elsewhere": {task("a"), task("b"), task("c"), task("d")},
	} {
		if got := Kept(tasks); got != want {
			t.Errorf("said %q, want %q", got, want)
		}
	}
}
