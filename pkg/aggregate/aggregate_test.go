package aggregate

import (
	"fmt"
	"math/rand"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/utils/ptr"

	policyv1alpha1 "windlass.dev/windlass/api/policy/v1alpha1"
	workv1alpha1 "windlass.dev/windlass/api/work/v1alpha1"
	"windlass.dev/windlass/pkg/interpret"
)

const presentHash = "present"

var (
	monday  = metav1.NewTime(time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC))
	tuesday = metav1.NewTime(time.Date(2026, 1, 6, 0, 0, 0, 0, time.UTC))
)

type change func(*workv1alpha1.PropagationWork)

// aWork is at generation 2, rendered from the template's present content, applied and healthy.
func aWork(changes ...change) *workv1alpha1.PropagationWork {
	work := &workv1alpha1.PropagationWork{}
	work.Generation = 2
	work.Spec.TemplateHash = presentHash
	work.Status.Conditions = []metav1.Condition{{
		Type: workv1alpha1.WorkApplied, Status: metav1.ConditionTrue, Reason: "Applied", ObservedGeneration: 2,
	}}
	work.Status.ManifestStatuses = []workv1alpha1.ManifestStatus{{
		Health: workv1alpha1.ResourceHealthy, Observed: true,
		Status: &runtime.RawExtension{Raw: []byte(`{"replicas":1}`)},
	}}
	for _, change := range changes {
		change(work)
	}
	return work
}

func unreported(w *workv1alpha1.PropagationWork) { w.Status = workv1alpha1.WorkStatus{} }

func reportedBefore(w *workv1alpha1.PropagationWork) { w.Status.Conditions[0].ObservedGeneration = 1 }

func ofOldTemplate(w *workv1alpha1.PropagationWork) { w.Spec.TemplateHash = "old" }

func isSuspended(w *workv1alpha1.PropagationWork) {
	yes := true
	w.Spec.SuspendDispatching = &yes
}

func refused(reason, message string) change {
	return func(w *workv1alpha1.PropagationWork) {
		w.Status.Conditions[0].Status = metav1.ConditionFalse
		w.Status.Conditions[0].Reason, w.Status.Conditions[0].Message = reason, message
		w.Status.ManifestStatuses = nil
	}
}

func isUnhealthy(w *workv1alpha1.PropagationWork) {
	w.Status.ManifestStatuses[0].Health = workv1alpha1.ResourceUnhealthy
}

func withStatus(raw string) change {
	return func(w *workv1alpha1.PropagationWork) {
		w.Status.ManifestStatuses[0].Status = &runtime.RawExtension{Raw: []byte(raw)}
	}
}

// input is a scheduled binding with one cluster for each work; the names sort as the works do.
func input(works ...*workv1alpha1.PropagationWork) Input {
	binding := &workv1alpha1.PropagationBinding{}
	binding.Name, binding.Generation = "web-deployment", 7
	binding.Status.Conditions = []metav1.Condition{{Type: workv1alpha1.BindingScheduled, Status: metav1.ConditionTrue}}
	in := Input{Binding: binding, TemplateHash: presentHash, Works: map[string]*workv1alpha1.PropagationWork{}}
	for i, work := range works {
		name := fmt.Sprintf("c%03d", i)
		binding.Spec.Clusters = append(binding.Spec.Clusters, workv1alpha1.TargetCluster{Name: name})
		if work != nil {
			in.Works[name] = work
		}
	}
	return in
}

// rendered is a work with so many replicas.
func rendered(replicas int32) change {
	return func(w *workv1alpha1.PropagationWork) { w.Spec.Replicas = &replicas }
}

// ofReplicas has each cluster of a binding get so many replicas.
func ofReplicas(replicas int32, in Input) Input {
	spec := in.Binding.GetSpec()
	spec.Replicas = ptr.To(replicas)
	for i := range spec.Clusters {
		spec.Clusters[i].Replicas = replicas
	}
	return in
}

func TestABindingIsFullyAppliedWhenEveryClusterHasThePresentContent(t *testing.T) {
	conflict := refused("Conflict", "exists and is not managed from this hub")
	held := func(in Input, clusters ...string) Input {
		in.Held = clusters
		return in
	}
	notGone := func(in Input, cluster string) Input {
		in.NotGone = map[string]string{cluster: "Namespace shop is deleted when 2 objects are gone"}
		return in
	}
	leaving := func(in Input, clusters ...string) Input {
		for _, cluster := range clusters {
			tasks := &in.Binding.GetSpec().GracefulEvictionTasks
			*tasks = append(*tasks, workv1alpha1.GracefulEvictionTask{FromCluster: cluster})
			if in.Works[cluster] == nil {
				in.Works[cluster] = aWork()
			}
		}
		return in
	}
	for _, test := range []struct {
		reason  string
		in      Input
		summary workv1alpha1.ClusterSummary
		status  metav1.ConditionStatus
		because string
		message string
	}{
		{"applied and healthy everywhere", input(aWork(), aWork()),
			workv1alpha1.ClusterSummary{Clusters: 2, Applied: 2, Healthy: 2},
			metav1.ConditionTrue, ReasonApplied, "All clusters have applied it: 2."},
		{"health is no part of being applied", input(aWork(), aWork(isUnhealthy)),
			workv1alpha1.ClusterSummary{Clusters: 2, Applied: 2, Healthy: 1, Unhealthy: 1},
			metav1.ConditionTrue, ReasonApplied, "All clusters have applied it: 2."},
		{"a drain that waits for a copy that is not healthy", leaving(input(aWork(), aWork(isUnhealthy)), "old"),
			workv1alpha1.ClusterSummary{Clusters: 2, Applied: 2, Healthy: 1, Unhealthy: 1},
			metav1.ConditionTrue, ReasonApplied, "All clusters have applied it: 2. It is leaving old, and stays there until it is healthy in all others: it is in 1 of 2."},
		{"a drain that waits for a copy that is not applied", leaving(input(aWork(), aWork(conflict)), "old"),
			workv1alpha1.ClusterSummary{Clusters: 2, Applied: 1, Healthy: 1, Failed: 1},
			metav1.ConditionFalse, "Conflict", "1 of 2 clusters could not apply it: c001: Conflict: exists and is not managed from this hub. It is leaving old, and stays there until it is healthy in all others: it is in 1 of 2."},
		{"a copy that was healthy with fewer replicas than it shall have now", ofReplicas(4, leaving(input(aWork(rendered(4)), aWork(rendered(2))), "old")),
			workv1alpha1.ClusterSummary{Clusters: 2, Applied: 1, Healthy: 2},
			metav1.ConditionFalse, ReasonWaiting, "1 of 2 clusters have not applied it yet: c001. It is leaving old, and stays there until it is healthy in all others: it is in 1 of 2."},
		{"a drain of a Job waits for its end", ofJob(leaving(input(aWork()), "old")),
			workv1alpha1.ClusterSummary{Clusters: 1, Applied: 1, Healthy: 1},
			metav1.ConditionTrue, ReasonApplied, "All clusters have applied it: 1. It is leaving old, and stays there until it has ended everywhere."},
		{"a drain of what is preserved", preserved(leaving(input(aWork()), "old")),
			workv1alpha1.ClusterSummary{Clusters: 1, Applied: 1, Healthy: 1},
			metav1.ConditionTrue, ReasonApplied, "All clusters have applied it: 1. It is leaving old, and stays there until it is healthy in all others: it is in 1 of 1. " +
				"Even then its copy there is not deleted, only let go, and what runs runs twice: its policy says preserveResourcesOnDeletion."},
		{"a drained cluster that it goes to for want of another", leaving(input(aWork()), "c000"),
			workv1alpha1.ClusterSummary{Clusters: 1, Applied: 1, Healthy: 1},
			metav1.ConditionTrue, ReasonApplied, "All clusters have applied it: 1."},
		{"a work that is not written", input(aWork(), nil),
			workv1alpha1.ClusterSummary{Clusters: 2, Applied: 1, Healthy: 1},
			metav1.ConditionFalse, ReasonWaiting, "1 of 2 clusters have not applied it yet: c001"},
		{"a work that nothing is reported of", input(aWork(unreported)),
			workv1alpha1.ClusterSummary{Clusters: 1},
			metav1.ConditionFalse, ReasonWaiting, "1 of 1 clusters have not applied it yet: c000"},
		{"a report on an earlier generation of the work", input(aWork(reportedBefore)),
			workv1alpha1.ClusterSummary{Clusters: 1, Healthy: 1},
			metav1.ConditionFalse, ReasonWaiting, "1 of 1 clusters have not applied it yet: c000"},
		{"a work of an earlier content of the template", input(aWork(ofOldTemplate)),
			workv1alpha1.ClusterSummary{Clusters: 1, Healthy: 1},
			metav1.ConditionFalse, ReasonWaiting, "1 of 1 clusters have not applied it yet: c000"},
		{"a failure of an earlier content is no failure", input(aWork(conflict, ofOldTemplate)),
			workv1alpha1.ClusterSummary{Clusters: 1},
			metav1.ConditionFalse, ReasonWaiting, "1 of 1 clusters have not applied it yet: c000"},
		{"all failures have one reason", input(aWork(), aWork(conflict), aWork(unreported)),
			workv1alpha1.ClusterSummary{Clusters: 3, Applied: 1, Healthy: 1, Failed: 1},
			metav1.ConditionFalse, "Conflict", "1 of 3 clusters could not apply it: c001: Conflict: exists and is not managed from this hub"},
		{"failures of several reasons, the first few named",
			input(aWork(conflict), aWork(refused("NamespaceTerminating", "shop")), aWork(conflict), aWork(conflict), aWork(conflict)),
			workv1alpha1.ClusterSummary{Clusters: 5, Failed: 5},
			metav1.ConditionFalse, ReasonFailed, "5 of 5 clusters could not apply it: " +
				"c000: Conflict: exists and is not managed from this hub; c001: NamespaceTerminating: shop; " +
				"c002: Conflict: exists and is not managed from this hub; and 2 more"},
		{"a reason that the API would not take", input(aWork(refused("no such reason!", ""))),
			workv1alpha1.ClusterSummary{Clusters: 1, Failed: 1},
			metav1.ConditionFalse, ReasonFailed, "1 of 1 clusters could not apply it: c000: no such reason!"},
		{"suspended", input(aWork(), aWork(isSuspended, reportedBefore)),
			workv1alpha1.ClusterSummary{Clusters: 2, Applied: 1, Healthy: 2},
			metav1.ConditionFalse, ReasonSuspended, "Dispatching is suspended to 1 of 2 clusters: c001"},
		{"suspended after it was applied: whether that is the present content is not asked of the cluster any more", input(aWork(isSuspended)),
			workv1alpha1.ClusterSummary{Clusters: 1, Healthy: 1},
			metav1.ConditionFalse, ReasonSuspended, "Dispatching is suspended to 1 of 1 clusters: c000"},
		{"what a suspended cluster has not applied is no failure of it", input(aWork(), aWork(isSuspended, refused("Suspended", "stays as it is"))),
			workv1alpha1.ClusterSummary{Clusters: 2, Applied: 1, Healthy: 1},
			metav1.ConditionFalse, ReasonSuspended, "Dispatching is suspended to 1 of 2 clusters: c001"},
		{"scheduled to nowhere", input(),
			workv1alpha1.ClusterSummary{},
			metav1.ConditionTrue, ReasonApplied, "There is no cluster that is to have it."},
		{"applied everywhere, and still in a cluster that it has left", held(input(aWork()), "old"),
			workv1alpha1.ClusterSummary{Clusters: 1, Applied: 1, Healthy: 1},
			metav1.ConditionFalse, ReasonRemovalHeld, "Its removal from 1 cluster is held back until a person confirms it; `windlass status` says how: old"},
		{"scheduled to nowhere, and still in many clusters", held(input(), "d", "b", "e", "a", "c"),
			workv1alpha1.ClusterSummary{},
			metav1.ConditionFalse, ReasonRemovalHeld, "Its removal from 5 clusters is held back until a person confirms it; `windlass status` says how: a, b, c, and 2 more"},
		{"back in a cluster where its removal is held: nothing comes there before that", held(input(nil), "c000"),
			workv1alpha1.ClusterSummary{Clusters: 1},
			metav1.ConditionFalse, ReasonRemovalHeld, "Its removal from 1 cluster is held back until a person confirms it; `windlass status` says how: c000"},
		{"applied everywhere, and the cluster that it has left says why it still has it", notGone(input(aWork()), "old"),
			workv1alpha1.ClusterSummary{Clusters: 1, Applied: 1, Healthy: 1},
			metav1.ConditionTrue, ReasonApplied, "All clusters have applied it: 1. It is not gone yet from old: Namespace shop is deleted when 2 objects are gone"},
		{"where it is held elsewhere", notGone(held(input(), "a"), "old"),
			workv1alpha1.ClusterSummary{},
			metav1.ConditionFalse, ReasonRemovalHeld, "Its removal from 1 cluster is held back until a person confirms it; `windlass status` says how: a. It is not gone yet from old: Namespace shop is deleted when 2 objects are gone"},
		{"a failure is told before a removal that is held", held(input(aWork(conflict)), "old"),
			workv1alpha1.ClusterSummary{Clusters: 1, Failed: 1},
			metav1.ConditionFalse, "Conflict", "1 of 1 clusters could not apply it: c000: Conflict: exists and is not managed from this hub"},
	} {
		t.Run(test.reason, func(t *testing.T) {
			got := Binding(test.in)
			if diff := cmp.Diff(test.summary, got.Summary); diff != "" {
				t.Errorf("summary, -want +got:\n%s", diff)
			}
			want := metav1.Condition{
				Type: workv1alpha1.BindingFullyApplied, Status: test.status, ObservedGeneration: 7,
				Reason: test.because, Message: test.message,
			}
			if diff := cmp.Diff(want, got.FullyApplied); diff != "" {
				t.Errorf("FullyApplied, -want +got:\n%s", diff)
			}
		})
	}
}

func TestABindingOfAnotherSchedulerSaysWhichWordOfItIsMissing(t *testing.T) {
	const missing = `status.schedulerObservedGeneration of the binding is 6: what spec.clusters says is carried out when the scheduler "mine" has set it to 7, the binding's generation`
	const stays = "status.schedulerObservedGeneration of the binding is 6, and its generation is 7: no policy claims the template any more, and no cluster gets anything new of it until one does"
	released := func(in Input) Input {
		in.Released = true
		return in
	}
	for _, test := range []struct {
		reason    string
		scheduler string
		observed  int64
		in        Input
		status    metav1.ConditionStatus
		because   string
		message   string
	}{
		{"it has written the clusters and not that this is about their generation", "mine", 6, input(nil), metav1.ConditionFalse, ReasonWaiting,
			"1 of 1 clusters have not applied it yet: c000. " + missing},
		{"what the clusters were to have before, they have", "mine", 6, input(aWork()), metav1.ConditionFalse, ReasonWaiting, missing},
		{"what failed before is not hidden", "mine", 6, input(aWork(refused("Conflict", "exists"))), metav1.ConditionFalse, "Conflict",
			"1 of 1 clusters could not apply it: c000: Conflict: exists. " + missing},
		{"it has said so", "mine", 7, input(nil), metav1.ConditionFalse, ReasonWaiting, "1 of 1 clusters have not applied it yet: c000"},
		{"it names no cluster", "mine", 6, input(), metav1.ConditionTrue, ReasonApplied, "There is no cluster that is to have it."},
		{"no policy claims it any more, and it has what it had", "mine", 6, released(input(aWork())), metav1.ConditionTrue, ReasonApplied, "All clusters have applied it: 1. " + stays},
		{"no policy claims it any more, and what the scheduler adds does not get it", "mine", 6, released(input(aWork(), nil)), metav1.ConditionFalse, ReasonWaiting,
			"1 of 2 clusters have not applied it yet: c001. " + stays},
		{"the hub's own will say so in a moment", "default-scheduler", 6, input(nil), metav1.ConditionFalse, ReasonWaiting, "1 of 1 clusters have not applied it yet: c000"},
	} {
		test.in.Binding.GetSpec().SchedulerName = test.scheduler
		test.in.Binding.GetStatus().SchedulerObservedGeneration = test.observed
		got := Binding(test.in).FullyApplied
		if got.Status != test.status || got.Reason != test.because || got.Message != test.message {
			t.Errorf("%s: got %+v", test.reason, got)
		}
	}
}

func TestABindingThatIsStuckBeforeItsWorksSaysWhere(t *testing.T) {
	in := input()
	in.Binding.GetStatus().Conditions = nil
	if got := Binding(in).FullyApplied; got.Status != metav1.ConditionFalse || got.Reason != ReasonNotScheduled {
		t.Errorf("not scheduled: got %v", got)
	}
	in.Binding.GetStatus().Conditions = []metav1.Condition{{
		Type: workv1alpha1.BindingScheduled, Status: metav1.ConditionFalse, Reason: "NoClusterFit", Message: "no cluster fits",
	}}
	if got := Binding(in).FullyApplied; got.Reason != ReasonNotScheduled || got.Message != "NoClusterFit: no cluster fits" {
		t.Errorf("no cluster fits: got %v", got)
	}
	in = input(nil)
	in.Binding.GetStatus().Conditions = append(in.Binding.GetStatus().Conditions, metav1.Condition{
		Type: workv1alpha1.BindingRendered, Status: metav1.ConditionFalse, Reason: "TooLarge", Message: "too large",
	})
	if got := Binding(in).FullyApplied; got.Reason != ReasonNotRendered || got.Message != "TooLarge: too large" {
		t.Errorf("not rendered: got %v", got)
	}
}

func TestTheListNamesAllClustersOrThoseThatAreNotFine(t *testing.T) {
	long := strings.Repeat("é", maxMessage)
	in := input(aWork(), aWork(isUnhealthy), aWork(unreported), aWork(refused("Conflict", long)))
	names := func(items []workv1alpha1.AggregatedStatusItem) string {
		var names []string
		for _, item := range items {
			names = append(names, item.ClusterName)
		}
		return strings.Join(names, " ")
	}
	for limit, want := range map[int]string{
		0: "c000 c001 c002 c003",
		4: "c000 c001 c002 c003",
		3: "c001 c002 c003",
		2: "c001 c003",
		1: "c003",
	} {
		in.MaxListed = limit
		if got := names(Binding(in).AggregatedStatus); got != want {
			t.Errorf("at most %d: got %s, want %s", limit, got, want)
		}
	}

	in.MaxListed = 0
	got := Binding(in).AggregatedStatus
	want := workv1alpha1.AggregatedStatusItem{
		ClusterName: "c000", Applied: true, Health: workv1alpha1.ResourceHealthy,
		Status: &runtime.RawExtension{Raw: []byte(`{"replicas":1}`)},
	}
	if diff := cmp.Diff(want, got[0]); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if message := got[3].AppliedMessage; len(message) > maxMessage || !strings.HasSuffix(message, "é...") {
		t.Errorf("a long message has %d bytes and ends in %q", len(message), message[len(message)-8:])
	}
}

func TestWhatIsCutOfALongMessageIsNotWhatItIsAboutNorWhatToDo(t *testing.T) {
	const todo = "take it over: annotate the template work.karmada.io/conflict-resolution=overwrite, or, for all, spec.conflictResolution: Overwrite in the policy"
	for _, name := range []string{strings.Repeat("n", 56) + "/settings", strings.Repeat("n", 63) + "/" + strings.Repeat("s", 253), strings.Repeat("é", 100)} {
		whole := "ConfigMap " + name + " exists in the member and is not this hub's: delete it there, or " + todo
		got := Binding(input(aWork(refused("Conflict", whole)))).FullyApplied.Message
		begins := "1 of 1 clusters could not apply it: c000: Conflict: ConfigMap " + name[:40]
		if !strings.HasPrefix(got, begins) || !strings.HasSuffix(got, "or "+todo) || !utf8.ValidString(got) || len(got) > len("1 of 1 clusters could not apply it: c000: ")+maxNamed {
			t.Errorf("%d bytes: %s", len(got), got)
		}
	}
}

func TestFineClustersAreNotListedWhenThereAreMany(t *testing.T) {
	in := input(aWork(), aWork(), aWork())
	in.MaxListed = 2
	if got := Binding(in); got.AggregatedStatus != nil || got.Summary.Healthy != 3 {
		t.Errorf("got %v", got)
	}
}

func TestLargeStatusesAreLeftToTheWorks(t *testing.T) {
	large := `{"x":"` + strings.Repeat("x", 60<<10) + `"}`
	works := make([]*workv1alpha1.PropagationWork, 10)
	for i := range works {
		works[i] = aWork(withStatus(large))
	}
	works[3] = aWork()
	total := 0
	for i, item := range Binding(input(works...)).AggregatedStatus {
		if item.Status != nil {
			total += len(item.Status.Raw)
		}
		if i == 3 && item.Status == nil {
			t.Error("a small status is left out")
		}
	}
	if total > maxStatuses {
		t.Errorf("the statuses have %d bytes in all", total)
	}
	if few := Binding(input(works[:3]...)).AggregatedStatus; few[0].Status == nil {
		t.Error("a large status is left out although there is room")
	}
}

func TestAStatusIsWrittenOnlyWhenItSaysSomethingNew(t *testing.T) {
	old := &workv1alpha1.BindingStatus{SchedulerObservedGeneration: 3}
	first, changed := Binding(input(aWork(unreported))).Status(old, monday)
	if !changed || first.SchedulerObservedGeneration != 3 || len(old.Conditions) != 0 {
		t.Fatalf("changed %v: %v from %v", changed, first, old)
	}
	if again, changed := Binding(input(aWork(unreported))).Status(first, tuesday); changed || again != first {
		t.Errorf("the same works changed it to %v", again)
	}
	second, changed := Binding(input(aWork(refused("Conflict", "")))).Status(first, tuesday)
	if !changed || !second.Conditions[0].LastTransitionTime.Equal(&monday) {
		t.Errorf("changed %v; False since %v, want monday", changed, second.Conditions[0].LastTransitionTime)
	}
	third, changed := Binding(input(aWork())).Status(second, tuesday)
	if !changed || !third.Conditions[0].LastTransitionTime.Equal(&tuesday) {
		t.Errorf("changed %v; True since %v, want tuesday", changed, third.Conditions[0].LastTransitionTime)
	}
}

func TestAStatusSettlesWhenAllIsFineOrSomethingNewlyFailed(t *testing.T) {
	status := func(works ...*workv1alpha1.PropagationWork) *workv1alpha1.BindingStatus {
		status, _ := Binding(input(works...)).Status(&workv1alpha1.BindingStatus{}, monday)
		return status
	}
	conflict := refused("Conflict", "")
	leaving := input(aWork())
	leaving.Held = []string{"old"}
	removalHeld, _ := Binding(leaving).Status(&workv1alpha1.BindingStatus{}, monday)
	leaving = input(aWork())
	leaving.NotGone = map[string]string{"old": "ConfigMap shop/settings is being deleted"}
	removalUnderWay, _ := Binding(leaving).Status(&workv1alpha1.BindingStatus{}, monday)
	placedByOther := input(aWork())
	placedByOther.Binding.GetSpec().SchedulerName = "mine"
	unobserved, _ := Binding(placedByOther).Status(&workv1alpha1.BindingStatus{}, monday)
	for _, test := range []struct {
		reason   string
		old, new *workv1alpha1.BindingStatus
		want     bool
	}{
		{"all is fine", status(aWork(unreported)), status(aWork(), aWork()), true},
		{"one is not healthy yet", status(aWork(unreported)), status(aWork(), aWork(isUnhealthy)), false},
		{"one is not applied yet", status(aWork(unreported)), status(aWork(), aWork(unreported)), false},
		{"one failed", status(aWork(unreported)), status(aWork(conflict), aWork(unreported)), true},
		{"it had failed before", status(aWork(conflict)), status(aWork(conflict), aWork(unreported)), false},
		{"nowhere to go", status(aWork()), status(), true},
		{"all is fine, and a removal goes its way", status(aWork()), removalUnderWay, false},
		{"all is fine but for a removal that may be held", status(aWork()), removalHeld, false},
		{"all is fine but for the second of two writes of another scheduler", status(aWork()), unobserved, false},
	} {
		if got := Settled(test.old, test.new); got != test.want {
			t.Errorf("%s: Settled is %v, want %v", test.reason, got, test.want)
		}
	}
}

func TestTheOrderOfClustersDoesNotMatter(t *testing.T) {
	in := input(aWork(), aWork(isUnhealthy), aWork(unreported), aWork(refused("Conflict", "")), aWork(refused("Other", "")), nil)
	want := Binding(in)
	clusters := in.Binding.GetSpec().Clusters
	for range 10 {
		rand.Shuffle(len(clusters), func(i, j int) { clusters[i], clusters[j] = clusters[j], clusters[i] })
		if diff := cmp.Diff(want, Binding(in)); diff != "" {
			t.Fatalf("-want +got:\n%s", diff)
		}
	}
}

func deploymentTemplate() *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "apps/v1", "kind": "Deployment",
		"metadata": map[string]any{"name": "web", "namespace": "shop", "generation": int64(5)},
		"spec":     map[string]any{"replicas": int64(2)},
		"status":   map[string]any{"observedGeneration": int64(4)},
	}}
}

func TestTheTemplateShowsTheSumAndIsObservedWhenAllClustersAre(t *testing.T) {
	up := withStatus(`{"replicas":1,"updatedReplicas":1,"readyReplicas":1,"availableReplicas":1}`)
	for _, test := range []struct {
		reason   string
		in       Input
		ready    int64
		observed int64
	}{
		{"up everywhere", input(aWork(up), aWork(up)), 2, 5},
		{"one has the content of before", input(aWork(up), aWork(up, reportedBefore)), 2, 4},
		{"one work is of the content of before", input(aWork(up), aWork(up, ofOldTemplate)), 2, 4},
		{"one is missing", input(aWork(up), nil), 1, 4},
		{"one controller is behind", input(aWork(up), aWork(up, func(w *workv1alpha1.PropagationWork) {
			w.Status.ManifestStatuses[0].Observed = false
		})), 2, 4},
	} {
		template := deploymentTemplate()
		status, write := Template(template, test.in)
		if !write {
			t.Errorf("%s: is not written", test.reason)
		}
		if ready := status["readyReplicas"]; ready != test.ready {
			t.Errorf("%s: %v are ready, want %d", test.reason, ready, test.ready)
		}
		if observed := status["observedGeneration"]; observed != test.observed {
			t.Errorf("%s: observed is %v, want %d", test.reason, observed, test.observed)
		}
		template.Object["status"] = status
		if _, write := Template(template, test.in); write {
			t.Errorf("%s: is written again", test.reason)
		}
	}
}

func TestTheTemplateIgnoresClustersThatItHasLeft(t *testing.T) {
	up := withStatus(`{"replicas":1,"readyReplicas":1}`)
	in := input(aWork(up))
	in.Works["left"] = aWork(up)
	if status, _ := Template(deploymentTemplate(), in); status["readyReplicas"] != int64(1) {
		t.Errorf("got %v", status)
	}
}

func preserved(in Input) Input {
	yes := true
	in.Binding.GetSpec().PreserveResourcesOnDeletion = &yes
	return in
}

func ofJob(in Input) Input {
	in.Binding.GetSpec().Resource = workv1alpha1.ObjectReference{APIVersion: "batch/v1", Kind: "Job"}
	return in
}

func TestAPartOfAJobThatLeavesADrainedClusterCountsToItsEnd(t *testing.T) {
	const ended = `{"succeeded":2,"startTime":"2026-01-02T03:00:00Z","completionTime":"2026-01-02T05:00:00Z","conditions":[{"type":"Complete","status":"True"}]}`
	for _, test := range []struct {
		reason    string
		old       string
		succeeded int64
		complete  bool
	}{
		{"it runs", `{"active":1,"succeeded":1,"startTime":"2026-01-02T03:00:00Z"}`, 3, false},
		{"it is complete", ended, 4, true},
	} {
		template := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "batch/v1", "kind": "Job", "spec": map[string]any{"completions": int64(4)}}}
		in := ofJob(input(aWork(withStatus(ended))))
		in.Works["old"] = aWork(ofOldTemplate, withStatus(test.old)) // what is being left does not follow the template any more
		in.Binding.GetSpec().GracefulEvictionTasks = []workv1alpha1.GracefulEvictionTask{{FromCluster: "old"}, {FromCluster: "gone"}, {FromCluster: "c000"}}
		status, _ := Template(template, in)
		template.Object["status"] = status
		if status["succeeded"] != test.succeeded || interpret.Ended(template) != test.complete {
			t.Errorf("%s: the Job's status is %v", test.reason, status)
		}
	}
}

func TestTheStatusOfAConfigMapIsNotWritten(t *testing.T) {
	template := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "ConfigMap"}}
	if _, write := Template(template, input(aWork())); write {
		t.Error("a ConfigMap was given a status")
	}
}

// aBinding bears the conditions that are given: a type, a status and a message each.
func aBinding(name string, healthy bool, conditions ...metav1.Condition) workv1alpha1.Binding {
	binding := &workv1alpha1.PropagationBinding{}
	binding.Spec.Resource = workv1alpha1.ObjectReference{Kind: "Deployment", Namespace: "shop", Name: name}
	binding.Status.Conditions = conditions
	binding.Status.Summary.Clusters = 1
	if healthy {
		binding.Status.Summary.Healthy = 1
	}
	return binding
}

func TestAPolicyIsReadyWhenAllItClaimsIsScheduledAndApplied(t *testing.T) {
	scheduled := metav1.Condition{Type: workv1alpha1.BindingScheduled, Status: metav1.ConditionTrue}
	notScheduled := metav1.Condition{Type: workv1alpha1.BindingScheduled, Status: metav1.ConditionFalse, Reason: "NoClusterFit", Message: "no cluster fits"}
	stranded := metav1.Condition{Type: workv1alpha1.BindingScheduled, Status: metav1.ConditionTrue, Reason: workv1alpha1.ScheduledNowhereElse, Message: "that it has to leave waits"}
	remarked := func(reason, message string) metav1.Condition {
		return metav1.Condition{Type: workv1alpha1.BindingScheduled, Status: metav1.ConditionTrue, Reason: reason, Message: message}
	}
	applied := metav1.Condition{Type: workv1alpha1.BindingFullyApplied, Status: metav1.ConditionTrue}
	notApplied := metav1.Condition{Type: workv1alpha1.BindingFullyApplied, Status: metav1.ConditionFalse, Reason: "Conflict", Message: "exists"}
	for _, test := range []struct {
		reason  string
		in      PolicyInput
		want    policyv1alpha1.PropagationStatus // counts
		status  metav1.ConditionStatus
		because string
		message string
	}{
		{"all is well", PolicyInput{Bindings: []workv1alpha1.Binding{aBinding("a", true, scheduled, applied), aBinding("b", false, scheduled, applied)}},
			policyv1alpha1.PropagationStatus{Templates: 2, Scheduled: 2, Applied: 2, Healthy: 1},
			metav1.ConditionTrue, ReasonReady, "All templates are scheduled and applied: 2."},
		{"all is well, and some wait for their next change", PolicyInput{Bindings: []workv1alpha1.Binding{aBinding("a", true, scheduled, applied)}, Lagging: 1},
			policyv1alpha1.PropagationStatus{Templates: 1, Scheduled: 1, Applied: 1, Healthy: 1},
			metav1.ConditionTrue, ReasonReady, "All templates are scheduled and applied: 1. 1 of them will follow this policy as it is now when they are changed next, for it is Lazy."},
		{"all is well, and some selectors are for nothing", PolicyInput{Bindings: []workv1alpha1.Binding{aBinding("a", true, scheduled, applied)},
			Unused: []string{"ConfigMap crat", "every Secret with " + strings.Repeat("a", 300), "Service b", "Service c"}},
			policyv1alpha1.PropagationStatus{Templates: 1, Scheduled: 1, Applied: 1, Healthy: 1},
			metav1.ConditionTrue, ReasonSelectorsUnused, "All templates are scheduled and applied: 1. Nothing is claimed by 4 of the resource selectors: ConfigMap crat, every Secret with " +
				strings.Repeat("a", 256-18-3) + "..., Service b, and 1 more."},
		{"all is well, and a part of the placement has no effect", PolicyInput{Bindings: []workv1alpha1.Binding{
			aBinding("a", true, remarked(workv1alpha1.ScheduledClustersLeftOut, "no cluster is called x"), applied), aBinding("b", true, scheduled, applied), aBinding("c", true, remarked(workv1alpha1.ScheduledSpreadNotMet, "1 by cluster"), applied)}},
			policyv1alpha1.PropagationStatus{Templates: 3, Scheduled: 3, Applied: 3, Healthy: 3},
			metav1.ConditionTrue, ReasonReady, "All templates are scheduled and applied: 3. Not all of the placement has an effect for 2 of them: Deployment shop/a: no cluster is called x; Deployment shop/c: 1 by cluster"},
		{"nothing selected", PolicyInput{WhyIdle: "there is no Deployment in namespace shop"},
			policyv1alpha1.PropagationStatus{},
			metav1.ConditionFalse, ReasonNothingSelected, "No object is claimed: there is no Deployment in namespace shop"},
		{"kinds that are not served", PolicyInput{MissingKinds: []string{"example.com/v1 Widget", "example.com/v1 Gadget"}, Bindings: []workv1alpha1.Binding{aBinding("a", true, scheduled, applied)}},
			policyv1alpha1.PropagationStatus{Templates: 1, Scheduled: 1, Applied: 1, Healthy: 1},
			metav1.ConditionFalse, ReasonKindNotFound, "The hub does not serve example.com/v1 Gadget, example.com/v1 Widget: check apiVersion and kind of the resource selectors, or apply the CRD."},
		{"overrides that it waits for", PolicyInput{MissingOverrides: []string{"OverridePolicy shop/b", "OverridePolicy shop/a"}},
			policyv1alpha1.PropagationStatus{},
			metav1.ConditionFalse, ReasonOverrideMissing, "New and changed objects wait for what dependentOverrides names: OverridePolicy shop/b, OverridePolicy shop/a. Create what is missing, or take its name out."},
		{"a class that is not there", PolicyInput{MissingClass: "urgent", WhyIdle: "it has no binding yet"},
			policyv1alpha1.PropagationStatus{},
			metav1.ConditionFalse, ReasonClassNotFound, "The hub has no PriorityClass urgent, which schedulePriority names: apply it; templates without a binding wait for it."},
		{"not scheduled", PolicyInput{Bindings: []workv1alpha1.Binding{aBinding("b", false, notScheduled), aBinding("a", false), aBinding("c", true, scheduled, notApplied)}},
			policyv1alpha1.PropagationStatus{Templates: 3, Scheduled: 1, Healthy: 1},
			metav1.ConditionFalse, ReasonNotScheduled, "2 of 3 templates are not scheduled: Deployment shop/a; Deployment shop/b: no cluster fits"},
		{"not applied", PolicyInput{Bindings: []workv1alpha1.Binding{aBinding("a", true, scheduled, applied), aBinding("b", false, scheduled, notApplied)}},
			policyv1alpha1.PropagationStatus{Templates: 2, Scheduled: 2, Applied: 1, Healthy: 1},
			metav1.ConditionFalse, ReasonNotApplied, "1 of 2 templates is not applied everywhere: Deployment shop/b: exists"},
		{"nowhere else to go", PolicyInput{Bindings: []workv1alpha1.Binding{aBinding("a", true, scheduled, applied), aBinding("b", true, stranded, applied)}},
			policyv1alpha1.PropagationStatus{Templates: 2, Scheduled: 2, Applied: 2, Healthy: 2},
			metav1.ConditionFalse, ReasonNowhereElse, "1 of 2 templates has to leave a cluster and stays there, for no other fits: Deployment shop/b: that it has to leave waits"},
		{"what is not applied is worse", PolicyInput{Bindings: []workv1alpha1.Binding{aBinding("a", true, scheduled, notApplied), aBinding("b", true, stranded, applied)}},
			policyv1alpha1.PropagationStatus{Templates: 2, Scheduled: 2, Applied: 1, Healthy: 2},
			metav1.ConditionFalse, ReasonNotApplied, "1 of 2 templates is not applied everywhere: Deployment shop/a: exists; and 1 has to leave a cluster and stays there, for no other fits"},
	} {
		t.Run(test.reason, func(t *testing.T) {
			test.in.Generation = 4
			got, changed := Policy(test.in, &policyv1alpha1.PropagationStatus{}, monday)
			if !changed {
				t.Error("not changed")
			}
			want := test.want
			want.ObservedGeneration = 4
			want.Conditions = []metav1.Condition{{
				Type: PolicyReady, Status: test.status, Reason: test.because, Message: test.message,
				ObservedGeneration: 4, LastTransitionTime: monday,
			}}
			if diff := cmp.Diff(&want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			if again, changed := Policy(test.in, got, tuesday); changed || again != got {
				t.Errorf("it changes again, to %v", again)
			}
		})
	}
}

func BenchmarkBinding(b *testing.B) {
	for _, clusters := range []int{3, 100, 1000} {
		works := make([]*workv1alpha1.PropagationWork, clusters)
		for i := range works {
			works[i] = aWork()
		}
		in := input(works...)
		status, _ := Binding(in).Status(&workv1alpha1.BindingStatus{}, monday)
		b.Run(fmt.Sprintf("%d clusters", clusters), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, changed := Binding(in).Status(status, monday); changed {
					b.Fatal("changed")
				}
			}
		})
	}
}

func BenchmarkTemplate(b *testing.B) {
	works := make([]*workv1alpha1.PropagationWork, 1000)
	for i := range works {
		works[i] = aWork(withStatus(`{"replicas":1,"updatedReplicas":1,"readyReplicas":1,"availableReplicas":1}`))
	}
	in := input(works...)
	template := deploymentTemplate()
	b.ReportAllocs()
	for b.Loop() {
		if _, write := Template(template, in); !write {
			b.Fatal("not written")
		}
	}
}

func TestTemplatesAreCountedInWordsThatFitTheirNumber(t *testing.T) {
	for want, numbers := range map[string][2]int{
		"1 of 1 template has to leave a cluster and stays there, for no other fits":  {1, 1},
		"1 of 2 templates has to leave a cluster and stays there, for no other fits": {1, 2},
		"2 of 2 templates have to leave a cluster and stay there, for no other fits": {2, 2},
	} {
		if got := strandedThere(someOf(numbers[0], numbers[1]), numbers[0]); got != want {
			t.Errorf("said %q, want %q", got, want)
		}
	}
}
