package evict

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/utils/ptr"

	clusterv1alpha1 "windlass.dev/windlass/api/cluster/v1alpha1"
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

func TestWhatIsKeptFollowsWhatItsUserMakesOfTheWhole(t *testing.T) {
	now := func(replicas int32) func(*workv1alpha1.PropagationBinding) {
		return func(b *workv1alpha1.PropagationBinding) { b.Spec.Replicas = &replicas }
	}
	stays := func(b *workv1alpha1.PropagationBinding) { b.Spec.GracefulEvictionTasks[0].Replicas = ptr.To[int32](1) }
	tests := []struct {
		reason  string
		binding *workv1alpha1.PropagationBinding
		next    []workv1alpha1.TargetCluster
		want    []string // cluster and replicas of the tasks
	}{
		{reason: "nothing is kept", binding: changed(dividedBetween("a", "b"), now(2)), next: targets("a", 1, "b", 1)},
		{reason: "the whole is half of what it was", binding: changed(moved(dividedBetween("a", "b"), "c", 2), now(2)), next: targets("a", 1, "b", 1), want: []string{"c 1"}},
		{reason: "it is less than half, and a part of a replica is one", binding: changed(moved(dividedBetween("a", "b"), "c", 3), now(1)), next: targets("a", 1), want: []string{"c 1"}},
		{reason: "a cluster that it goes to keeps more than it shall have", binding: changed(moved(dividedBetween("a", "b"), "b", 4), now(2)), next: targets("a", 1, "b", 1), want: []string{"b 2"}},
		{reason: "and is left altogether", binding: changed(moved(dividedBetween("a", "b"), "b", 4), now(2)), next: targets("a", 2), want: []string{"b 2"}},
		{reason: "the whole is more", binding: changed(moved(dividedBetween("a", "b"), "c", 2), now(8)), next: targets("a", 4, "b", 4), want: []string{"c 2"}},
		{reason: "the whole is nothing, which what it may become again does not depend on", binding: changed(moved(dividedBetween("a", "b"), "c", 2), now(0)), next: targets("a", 0, "b", 0), want: []string{"c 2"}},
		{reason: "a cluster leaves the hub, and there is no other place for what it had", binding: moved(dividedBetween("a", "b"), "c", 2), next: targets("a", 2), want: []string{"c 2"}},
		{reason: "each cluster has all replicas", binding: changed(moved(settled("a", "b"), "c", 2), now(1)), next: targets("a", 1, "b", 1), want: []string{"c 2"}},
		{reason: "a drained cluster is left that went on with more while nothing else fitted", binding: changed(leaving(dividedBetween("a", "b"), "b"), stays), next: targets("a", 4), want: []string{"b 2"}},
		{reason: "a drained cluster stays while nothing else fits", binding: changed(leaving(dividedBetween("a", "b"), "b"), stays), next: targets("a", 1, "b", 3), want: []string{"b 1"}},
		{reason: "one has no replicas", binding: changed(moved(settled("a"), "b", 2), withoutReplicas), next: targets("c", 0), want: []string{"b 2"}},
	}
	for _, test := range tests {
		t.Run(test.reason, func(t *testing.T) {
			spec := &test.binding.Spec
			before := test.binding.DeepCopy()
			var got []string
			for _, task := range Follow(spec, spec.GracefulEvictionTasks, test.next) {
				got = append(got, fmt.Sprint(task.FromCluster, " ", ptr.Deref(task.Replicas, 0)))
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("tasks (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(before, test.binding); diff != "" {
				t.Errorf("the binding was changed (-before +after):\n%s", diff)
			}
		})
	}
}

func TestACopyThatIsLeftHasNoMoreReplicasThanItHadAndThanAreAskedFor(t *testing.T) {
	written := func(string) *int32 { return ptr.To[int32](3) }
	unsaid := func(b *workv1alpha1.PropagationBinding) { b.Spec.GracefulEvictionTasks[0].Replicas = nil }
	asked := func(replicas int32) func(*workv1alpha1.PropagationBinding) {
		return func(b *workv1alpha1.PropagationBinding) { b.Spec.Replicas = &replicas }
	}
	for _, test := range []struct {
		reason  string
		binding *workv1alpha1.PropagationBinding
		want    int32
	}{
		{"it has what it had", moved(dividedBetween("a", "c"), "b", 3), 3},
		{"what it had stands for less by now", moved(dividedBetween("a", "c"), "b", 1), 1},
		{"it comes back from less", moved(dividedBetween("a", "c"), "b", 4), 4},
		{"the template asks for less", changed(moved(settled("a"), "b", 3), asked(2)), 2},
		{"for nothing", changed(moved(settled("a"), "b", 3), asked(0)), 0},
		{"nobody knows what it had", changed(moved(settled("a"), "b", 3), unsaid, asked(9)), 3},
		{"nobody does, and the template asks for less", changed(moved(settled("a"), "b", 3), unsaid, asked(2)), 2},
		{"the binding goes there", changed(moved(dividedBetween("a", "b"), "b", 1), asked(1)), -1},
		{"the binding does not leave it", changed(settled("a"), asked(1)), -1},
		{"it has no replicas", changed(moved(settled("a"), "b", 1), withoutReplicas), -1},
	} {
		var want []workv1alpha1.TargetCluster
		if test.want >= 0 {
			want = targets("b", int(test.want))
		}
		if diff := cmp.Diff(want, Left(&test.binding.Spec, written)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.reason, diff)
		}
	}
	if got := Left(&moved(settled("a"), "b", 1).Spec, func(string) *int32 { return nil }); got != nil {
		t.Errorf("a copy that is not there, or of which nothing is known, is to have %v", got)
	}
}

func TestWhatNoPolicyClaimsLosesOnlyWhatAllOthersHaveTakenOver(t *testing.T) {
	has := func(of ...any) Written {
		return func(cluster string) *int32 {
			if target := targetOf(targets(of...), cluster); target != nil {
				return &target.Replicas
			}
			return nil
		}
	}
	for _, test := range []struct {
		reason  string
		binding *workv1alpha1.PropagationBinding
		written Written
		want    []workv1alpha1.TargetCluster
	}{
		{"nothing has moved", dividedBetween("a", "b"), has("a", 2, "b", 2), nil},
		{"the move goes on", moved(dividedBetween("a", "b"), "b", 4), has("a", 2, "b", 4), nil},
		{"the move has come to its end", moved(dividedBetween("a", "b"), "b", 2), has("a", 2, "b", 4), targets("b", 2)},
		{"it has more, and nothing was moved: an override can't be made", dividedBetween("a", "b"), has("a", 2, "b", 4), nil},
		{"it has more, and something was moved elsewhere", moved(dividedBetween("a", "b"), "a", 2), has("a", 2, "b", 4), nil},
		{"it has more, and has to be left because of a taint", leaving(dividedBetween("a", "b"), "b"), has("a", 2, "b", 4), nil},
		{"each cluster has all replicas, and one has more", settled("a", "b"), has("a", 1, "b", 5), nil},
		{"another cluster was not written for before its policy went", moved(dividedBetween("a", "b"), "b", 2), has("b", 4), nil},
		{"another cluster was not given what it is to have", moved(dividedBetween("a", "b"), "b", 2), has("a", 1, "b", 4), nil},
		{"another cluster has left the hub", changed(moved(dividedBetween("b"), "b", 2), func(b *workv1alpha1.PropagationBinding) { b.Spec.Replicas = ptr.To[int32](4) }), has("b", 4), nil},
		{"it has no replicas", changed(settled("a"), withoutReplicas), has("a", 4), nil},
		{"it is nowhere", settled(), has("a", 4), nil},
	} {
		if diff := cmp.Diff(test.want, Surplus(&test.binding.Spec, test.written)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.reason, diff)
		}
	}
}

func TestADrainOfAClusterThatKeepsWhatWasMovedKnowsHowMuchThatIs(t *testing.T) {
	for _, test := range []struct {
		reason  string
		binding *workv1alpha1.PropagationBinding
		want    int32
	}{
		{"it goes there with less", moved(dividedBetween("a", "b"), "b", 4), 4},
		{"it does not go there any more", moved(settled("a"), "b", 2), 2},
	} {
		decision := Decide(Facts{Binding: changed(test.binding, unhealthy), Claimed: true, Now: after(0),
			Cluster: func(name string) *clusterv1alpha1.MemberCluster {
				if name == "b" {
					return tainted("b", "drain")
				}
				return tainted(name)
			}})
		if len(decision.Tasks) != 1 || decision.Tasks[0].Reason != ReasonTaintUntolerated || ptr.Deref(decision.Tasks[0].Replicas, 0) != test.want {
			t.Errorf("%s: the tasks are %+v, want one for %d replicas", test.reason, decision.Tasks, test.want)
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

func TestOnlyWhereATemplateDoesNotGoAnyMoreItIsSaidToBeLeft(t *testing.T) {
	for want, binding := range map[string]*workv1alpha1.PropagationBinding{
		"":  moved(dividedBetween("a", "b"), "b", 4),
		"b": leaving(settled("a"), "b"),
		"c": moved(settled("a"), "c", 1),
	} {
		if got := BeingLeft(&binding.Spec); got != want {
			t.Errorf("said %q, want %q", got, want)
		}
	}
}
