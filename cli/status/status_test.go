package status

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/utils/ptr"

	clusterv1alpha1 "windlass.dev/windlass/api/cluster/v1alpha1"
	policyv1alpha1 "windlass.dev/windlass/api/policy/v1alpha1"
	workv1alpha1 "windlass.dev/windlass/api/work/v1alpha1"
	"windlass.dev/windlass/pkg/aggregate"
)

var update = flag.Bool("update", false, "write the golden files instead of comparing with them")

var now = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func before(d time.Duration) metav1.Time { return metav1.NewTime(now.Add(-d)) }

func cluster(name string, change ...func(*clusterv1alpha1.MemberCluster)) clusterv1alpha1.MemberCluster {
	c := clusterv1alpha1.MemberCluster{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       clusterv1alpha1.ClusterSpec{Region: "eu", Provider: "on-premises"},
		Status: clusterv1alpha1.ClusterStatus{
			KubernetesVersion: "v1.37.2",
			Conditions: []metav1.Condition{
				{Type: clusterv1alpha1.ClusterJoined, Status: metav1.ConditionTrue, Reason: "Enrolled", LastTransitionTime: before(time.Hour)},
				{Type: clusterv1alpha1.ClusterReady, Status: metav1.ConditionTrue, Reason: "AgentConnected", LastTransitionTime: before(12 * time.Minute)},
			},
			NodeSummary: &clusterv1alpha1.NodeSummary{TotalNum: 2, ReadyNum: 2},
			Agent:       &clusterv1alpha1.AgentStatus{Version: "v0.1.0", CertificateExpiresAt: &metav1.Time{Time: now.Add(89 * 24 * time.Hour)}},
		},
	}
	for _, f := range change {
		f(&c)
	}
	return c
}

func lost(c *clusterv1alpha1.MemberCluster) {
	c.Spec.Taints = []corev1.Taint{{Key: clusterv1alpha1.TaintUnreachable, Effect: corev1.TaintEffectNoSchedule}}
	c.Status.Conditions[1] = metav1.Condition{Type: clusterv1alpha1.ClusterReady, Status: metav1.ConditionUnknown, Reason: "AgentNotConnected",
		Message: "the agent is not connected; see its log in the cluster", LastTransitionTime: before(5 * time.Minute)}
}

func template(kind, name string) workv1alpha1.ObjectReference {
	r := workv1alpha1.ObjectReference{APIVersion: "v1", Kind: kind, Namespace: "default", Name: name}
	if kind == "Deployment" {
		r.APIVersion = "apps/v1"
	}
	return r
}

func boundTo(resource workv1alpha1.ObjectReference, replicas *int32, targets ...workv1alpha1.TargetCluster) workv1alpha1.PropagationBinding {
	return workv1alpha1.PropagationBinding{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "default", Name: resource.Name + "-" + strings.ToLower(resource.Kind),
			Annotations: map[string]string{workv1alpha1.PropagationPolicyNamespaceAnnotation: "default", workv1alpha1.PropagationPolicyNameAnnotation: "web"},
		},
		Spec: workv1alpha1.BindingSpec{Resource: resource, Replicas: replicas, Clusters: targets},
		Status: workv1alpha1.BindingStatus{Conditions: []metav1.Condition{
			{Type: workv1alpha1.BindingScheduled, Status: metav1.ConditionTrue, Reason: "Success"},
		}},
	}
}

func to(name string, replicas int32) workv1alpha1.TargetCluster {
	return workv1alpha1.TargetCluster{Name: name, Replicas: replicas}
}

// workOf is a work that its cluster has applied and reports healthy, with the status given as JSON.
func workOf(b workv1alpha1.PropagationBinding, cluster, statusJSON string, change ...func(*workv1alpha1.PropagationWork)) workv1alpha1.PropagationWork {
	r := b.Spec.Resource
	w := workv1alpha1.PropagationWork{
		ObjectMeta: metav1.ObjectMeta{Namespace: workv1alpha1.ExecutionNamespace(cluster), Name: b.Name, Generation: 1},
		Spec:       workv1alpha1.WorkSpec{Binding: &workv1alpha1.BindingReference{Kind: "PropagationBinding", Namespace: b.Namespace, Name: b.Name}},
		Status: workv1alpha1.WorkStatus{
			Conditions: []metav1.Condition{{Type: workv1alpha1.WorkApplied, Status: metav1.ConditionTrue, Reason: "Applied", ObservedGeneration: 1}},
			ManifestStatuses: []workv1alpha1.ManifestStatus{{
				Identifier: workv1alpha1.ResourceIdentifier{Version: "v1", Kind: r.Kind, Namespace: r.Namespace, Name: r.Name},
				Health:     workv1alpha1.ResourceHealthy,
			}},
		},
	}
	if statusJSON != "" {
		w.Status.ManifestStatuses[0].Status = &runtime.RawExtension{Raw: []byte(statusJSON)}
	}
	for _, f := range change {
		f(&w)
	}
	return w
}

func refused(reason, message string) func(*workv1alpha1.PropagationWork) {
	return func(w *workv1alpha1.PropagationWork) {
		w.Status.Conditions[0].Status = metav1.ConditionFalse
		w.Status.Conditions[0].Reason, w.Status.Conditions[0].Message = reason, message
		w.Status.ManifestStatuses = nil
	}
}

func unhealthy(w *workv1alpha1.PropagationWork) {
	w.Status.ManifestStatuses[0].Health = workv1alpha1.ResourceUnhealthy
}

func removed(w *workv1alpha1.PropagationWork) { w.DeletionTimestamp = &metav1.Time{Time: now} }

// sample is what `make quickstart` leaves: six replicas divided 2:1, a Service and a ConfigMap.
func sample() Facts {
	deployment := boundTo(template("Deployment", "web"), new(int32(6)), to("member1", 4), to("member2", 2))
	service := boundTo(template("Service", "web"), nil, to("member1", 0), to("member2", 0))
	return Facts{
		Now:      now,
		Clusters: []clusterv1alpha1.MemberCluster{cluster("member2"), cluster("member1")},
		Bindings: []workv1alpha1.PropagationBinding{service, deployment},
		Works: []workv1alpha1.PropagationWork{
			workOf(deployment, "member1", `{"replicas":4,"readyReplicas":4}`), workOf(deployment, "member2", `{"replicas":2,"readyReplicas":2}`),
			workOf(service, "member1", ""), workOf(service, "member2", ""),
		},
	}
}

func trouble() Facts {
	facts := sample()
	facts.Clusters[0] = cluster("member2", lost)
	facts.Clusters = append(facts.Clusters, clusterv1alpha1.MemberCluster{
		ObjectMeta: metav1.ObjectMeta{Name: "edge-1"},
		Status:     clusterv1alpha1.ClusterStatus{Conditions: []metav1.Condition{{Type: clusterv1alpha1.ClusterJoined, Status: metav1.ConditionFalse, Reason: "Waiting"}}},
	})
	deployment := facts.Bindings[1]
	facts.Works[0] = workOf(deployment, "member1", `{"replicas":4,"readyReplicas":1}`, unhealthy)

	config := boundTo(template("ConfigMap", "settings"), nil, to("member1", 0), to("member2", 0))
	nowhere := boundTo(template("Deployment", "batch"), new(int32(3)))
	nowhere.Status.Conditions[0] = metav1.Condition{Type: workv1alpha1.BindingScheduled, Status: metav1.ConditionFalse, Reason: "NoClusterFit",
		Message: "no cluster fits: member1 is not in region us; member2 is not in region us"}
	facts.Bindings = append(facts.Bindings, config, nowhere)
	facts.Works = append(facts.Works,
		workOf(config, "member1", "", refused("Conflict", "ConfigMap default/settings exists in the member and is not managed from this hub")),
		workOf(config, "member2", "", func(w *workv1alpha1.PropagationWork) { w.Generation = 2 }),
	)
	large := boundTo(template("Secret", "large"), nil, to("member1", 0))
	large.Status.Conditions = append(large.Status.Conditions, metav1.Condition{Type: workv1alpha1.BindingRendered, Status: metav1.ConditionFalse,
		Reason: "TooLarge", Message: "its work would have 1400126 bytes, and at most 1048576 are possible"})
	claim := boundTo(template("PersistentVolumeClaim", "data"), nil, to("member1", 0))
	facts.Bindings = append(facts.Bindings, large, claim)
	facts.Works = append(facts.Works, workOf(claim, "member1", `{"phase":"Pending"}`, unhealthy))
	facts.Policies = []policyv1alpha1.PropagationPolicy{{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "half", Generation: 1},
		Status: policyv1alpha1.PropagationStatus{ObservedGeneration: 1, Templates: 1, Conditions: []metav1.Condition{
			{Type: "Ready", Status: metav1.ConditionFalse, Reason: "KindNotFound", Message: "The hub does not serve v1 Deployment: check apiVersion and kind of the resource selectors, or apply the CRD."},
		}},
	}, {
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "typo", Generation: 1},
		Status: policyv1alpha1.PropagationStatus{ObservedGeneration: 1, Conditions: []metav1.Condition{
			{Type: "Ready", Status: metav1.ConditionFalse, Reason: "NothingSelected", Message: "no object on the hub matches its resourceSelectors"},
		}},
	}}
	return facts
}

// held is a fleet in which 20 ConfigMaps were moved away from member1, and the brake waits for a person.
func held() Facts {
	facts := sample()
	facts.Clusters[1].Status.Conditions = append(facts.Clusters[1].Status.Conditions, metav1.Condition{
		Type: clusterv1alpha1.ClusterDeletionsHeld, Status: metav1.ConditionTrue, Reason: clusterv1alpha1.DeletionsHeldTooMany,
		Message: "20 deletions wait for a person (ConfigMap default/s-0, ConfigMap default/s-1, ConfigMap default/s-2 and 17 more): 10 had gone through within 5m, and the limit is 10; look at the works that are being deleted in namespace karmada-es-member1; " +
			"to let it happen: kubectl annotate membercluster member1 --overwrite windlass.dev/confirm-deletions=4f1c",
	})
	moved := boundTo(template("ConfigMap", "settings"), nil, to("member2", 0))
	moved.Status.Conditions = append(moved.Status.Conditions, metav1.Condition{Type: workv1alpha1.BindingFullyApplied, Status: metav1.ConditionFalse,
		Reason: "RemovalHeld", Message: "Its removal from 1 cluster is held back until a person confirms it; `windlass status` says how: member1"})
	facts.Bindings = append(facts.Bindings, moved)
	facts.Works = append(facts.Works, workOf(moved, "member2", ""), workOf(moved, "member1", "", func(w *workv1alpha1.PropagationWork) {
		w.DeletionTimestamp = &metav1.Time{Time: now}
	}))
	return facts
}

// draining is a fleet whose Deployment "web" moves from member1, and has not begun to run where it goes.
func draining() Facts {
	facts := sample()
	web := &facts.Bindings[1]
	web.Spec.Clusters = []workv1alpha1.TargetCluster{to("member2", 6)}
	web.Spec.GracefulEvictionTasks = []workv1alpha1.GracefulEvictionTask{{FromCluster: "gone", Reason: "TaintUntolerated"}, {FromCluster: "member1", Reason: "TaintUntolerated"}}
	facts.Works[1] = workOf(*web, "member2", `{"replicas":6,"unavailableReplicas":6}`, unhealthy)

	service := &facts.Bindings[0]
	service.Spec.Clusters, service.Spec.GracefulEvictionTasks = service.Spec.Clusters[1:], web.Spec.GracefulEvictionTasks
	return facts
}

// forgotten is a fleet whose Deployment "web" was released, and beside it workloads that nobody wrote a policy for.
func forgotten() Facts {
	facts := sample()
	facts.Bindings[1].Annotations = nil
	for _, name := range []string{"f", "e", "d", "c", "b", "a", "web"} {
		facts.Unclaimed = append(facts.Unclaimed, Workload{Template: Template{APIVersion: "apps/v1", Kind: "Deployment", Namespace: "default", Name: name}})
	}
	return facts
}

func crowd() Facts {
	facts := sample()
	for i := range 60 {
		b := boundTo(template("ConfigMap", fmt.Sprintf("c%02d", i)), nil, to("member1", 0))
		facts.Bindings = append(facts.Bindings, b)
		w := workOf(b, "member1", "")
		if i == 7 {
			w = workOf(b, "member1", "", refused("Refused", "data: too long"))
		}
		facts.Works = append(facts.Works, w)
	}
	return facts
}

func TestTextIsAsInTheGoldenFile(t *testing.T) {
	for _, test := range []struct {
		name   string
		reason string
		facts  Facts
		wide   bool
	}{
		{name: "fine", reason: "the end of the quickstart", facts: sample()},
		{name: "fine-wide", reason: "wide adds columns", facts: sample(), wide: true},
		{name: "trouble", reason: "what is not fine comes first, with its cause", facts: trouble()},
		{name: "crowd", reason: "of many bindings only those are listed that are not fine", facts: crowd()},
		{name: "held", reason: "deletions that wait for a person are a problem of the cluster, with what to type", facts: held()},
		{name: "draining", reason: "a cluster that is left has what serves", facts: draining()},
		{name: "unclaimed", reason: "a workload without a policy runs nowhere, and that is said; a released one has its binding", facts: forgotten()},
		{name: "empty", reason: "a new hub says what to do", facts: Facts{Now: now}},
	} {
		t.Run(test.name, func(t *testing.T) {
			var out bytes.Buffer
			if err := Make(test.facts).Text(&out, now, test.wide); err != nil {
				t.Fatal(err)
			}
			compareGolden(t, test.name+".txt", out.Bytes(), test.reason)
		})
	}
}

func TestOfManyBindingsThatAreNotShownTheReleasedOnesAreCountedByThemselves(t *testing.T) {
	facts := crowd()
	for i := range 20 {
		facts.Bindings[len(facts.Bindings)-1-i].Annotations = nil
	}
	var out strings.Builder
	if err := Make(facts).Text(&out, now, false); err != nil {
		t.Fatal(err)
	}
	if want := "Not shown: 41 fine bindings, 20 released bindings; -o wide shows them.\n"; !strings.HasSuffix(out.String(), want) {
		t.Errorf("it ends without %q:\n%s", want, out.String())
	}
}

func TestARemovalThatIsHeldIsTheCauseThatIsTold(t *testing.T) {
	leaving := func(cause workv1alpha1.RemovalCause) func(*workv1alpha1.PropagationWork) {
		return func(w *workv1alpha1.PropagationWork) {
			w.DeletionTimestamp, w.Generation, w.Spec.RemovalCause = &metav1.Time{Time: now}, 2, cause
		}
	}
	unreported := func(w *workv1alpha1.PropagationWork) { w.Status = workv1alpha1.WorkStatus{} }
	kept := func(w *workv1alpha1.PropagationWork) { w.Spec.PreserveResourcesOnDeletion = ptr.To(true) }
	begun := func(w *workv1alpha1.PropagationWork) {
		w.Status.Conditions = []metav1.Condition{{Type: workv1alpha1.WorkApplied, Status: metav1.ConditionTrue, Reason: "Removing", Message: "not gone yet: 2 objects are in it"}}
	}
	moved, deleted := workv1alpha1.RemovalNotSelected, workv1alpha1.RemovalTemplateDeleted
	both := boundTo(template("ConfigMap", "settings"), nil, to("member1", 0), to("member2", 0))
	second := boundTo(template("ConfigMap", "settings"), nil, to("member2", 0))
	going := *both.DeepCopy()
	going.DeletionTimestamp = &metav1.Time{Time: now}
	for _, test := range []struct {
		reason  string
		holds   string // why member1 does
		binding workv1alpha1.PropagationBinding
		works   []workv1alpha1.PropagationWork
		want    string
	}{
		{"a cluster shall have it again", "TooManyDeletions", both, []workv1alpha1.PropagationWork{workOf(both, "member1", "", leaving(moved)), workOf(both, "member2", "")},
			"applied in 1 of 2 clusters: member1: what it had is removed first, and that is held back until a person confirms it: see cluster member1"},
		{"so it shall, and nothing is held", "", both, []workv1alpha1.PropagationWork{workOf(both, "member1", "", leaving(moved)), workOf(both, "member2", "")},
			"applied in 1 of 2 clusters: member1: what it had is removed first"},
		{"it has moved, and has not arrived", "TooManyDeletions", second, []workv1alpha1.PropagationWork{workOf(second, "member1", "", leaving(moved)), workOf(second, "member2", "", unreported)},
			"applied in 0 of 1 cluster: member2: the cluster has not reported yet; its removal from 1 cluster is held back until a person confirms it: see cluster member1"},
		{"it is deleted, and the store was restored", "StoreRestored", going, []workv1alpha1.PropagationWork{workOf(going, "member1", "", leaving(deleted)), workOf(going, "member2", "", leaving(deleted))},
			"it is being removed, and is not gone from 2 clusters: member1, member2; its removal from 1 cluster is held back until a person confirms it: see cluster member1"},
		{"it is only let go of, which deletes nothing", "TooManyDeletions", both, []workv1alpha1.PropagationWork{workOf(both, "member1", "", leaving(moved), kept), workOf(both, "member2", "")},
			"applied in 1 of 2 clusters: member1: what it had is removed first"},
		{"a cluster shall have it again, and is at removing it", "TooManyDeletions", both, []workv1alpha1.PropagationWork{workOf(both, "member1", "", leaving(moved), begun), workOf(both, "member2", "")},
			"applied in 1 of 2 clusters: member1: what it had is removed first; not gone yet: 2 objects are in it"},
		{"it waits for what others have in it, whose removal is held", "TooManyDeletions", second, []workv1alpha1.PropagationWork{workOf(second, "member1", "", leaving(moved), begun), workOf(second, "member2", "")},
			"where it shall not be any more it is not gone yet: 2 objects are in it (member1); other deletions there wait for a person: see cluster member1"},
		{"it is deleted, and waits for what others have in it", "TooManyDeletions", going, []workv1alpha1.PropagationWork{workOf(going, "member1", "", leaving(deleted), begun)},
			"it is being removed, and is not gone from 1 cluster: member1; not gone yet: 2 objects are in it (member1); other deletions there wait for a person: see cluster member1"},
		{"it waits for itself alone", "StoreRestored", second, []workv1alpha1.PropagationWork{workOf(second, "member1", "", leaving(moved), begun), workOf(second, "member2", "")},
			"where it shall not be any more it is not gone yet: 2 objects are in it (member1)"},
		{"it is deleted, which is never too much", "TooManyDeletions", going, []workv1alpha1.PropagationWork{workOf(going, "member1", "", leaving(deleted))},
			"it is being removed, and is not gone from 1 cluster: member1"},
	} {
		facts := Facts{Now: now, Clusters: []clusterv1alpha1.MemberCluster{cluster("member1"), cluster("member2")}, Bindings: []workv1alpha1.PropagationBinding{test.binding}, Works: test.works}
		if test.holds != "" {
			meta.SetStatusCondition(&facts.Clusters[0].Status.Conditions, metav1.Condition{Type: clusterv1alpha1.ClusterDeletionsHeld, Status: metav1.ConditionTrue, Reason: test.holds})
		}
		if got := Make(facts).Bindings[0].Message; got != test.want {
			t.Errorf("%s: it says\n%s\nwant\n%s", test.reason, got, test.want)
		}
	}
}

func TestAClusterThatIsNotOnTheHubIsNotSaidToWaitForItsWork(t *testing.T) {
	there := boundTo(template("ConfigMap", "settings"), nil, to("gone", 0), to("member1", 0))
	facts := Facts{Now: now, Clusters: []clusterv1alpha1.MemberCluster{cluster("member1")}, Bindings: []workv1alpha1.PropagationBinding{there}, Works: []workv1alpha1.PropagationWork{workOf(there, "member1", "")}}
	if got, want := Make(facts).Bindings[0].Message, "applied in 1 of 2 clusters: gone: no cluster of this name is on the hub"; got != want {
		t.Errorf("it says\n%s\nwant\n%s", got, want)
	}
}

func TestJSONIsAsInTheGoldenFile(t *testing.T) {
	out, err := json.MarshalIndent(Make(trouble()), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	compareGolden(t, "trouble.json", append(out, '\n'), "scripts read this")
}

func compareGolden(t *testing.T, name string, got []byte, reason string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s: %s (-want +got):\n%s", path, reason, diff)
	}
}

func TestReadyReplicasAreReadFromEveryKindOfStatus(t *testing.T) {
	for _, test := range []struct {
		reason string
		status string
		want   *int32
	}{
		{"a Deployment", `{"replicas":3,"readyReplicas":2}`, new(int32(2))},
		{"a DaemonSet", `{"numberReady":5}`, new(int32(5))},
		{"a Job", `{"active":2,"ready":1}`, new(int32(1))},
		{"a Job that is done", `{"succeeded":2,"conditions":[{"type":"Complete","status":"True"}]}`, new(int32(2))},
		{"a Job half done", `{"active":1,"ready":1,"succeeded":1}`, new(int32(2))},
		{"a Pod", `{"phase":"Running","conditions":[{"type":"Ready","status":"True"}]}`, new(int32(1))},
		{"a Pod that is not ready", `{"phase":"Pending","conditions":[{"type":"Ready","status":"False"}]}`, new(int32(0))},
		{"API servers leave out zeros", `{"replicas":3}`, new(int32(0))},
		{"a custom resource whose ready is a word", `{"ready":"yes"}`, new(int32(0))},
		{"a Job whose pods succeed one after the other", `{"succeeded":9}`, new(int32(4))},
		{"a Job of more than run at once", `{"active":3,"ready":3,"succeeded":6}`, new(int32(4))},
		{"nothing reported", ``, nil},
	} {
		m := &workv1alpha1.ManifestStatus{}
		if test.status != "" {
			m.Status = &runtime.RawExtension{Raw: []byte(test.status)}
		}
		if diff := cmp.Diff(test.want, readyReplicas(m, 4)); diff != "" {
			t.Errorf("%s: (-want +got):\n%s", test.reason, diff)
		}
	}
}

func TestWhatAPlacementLeavesOutIsAMessageAndNoProblem(t *testing.T) {
	for _, reason := range []string{workv1alpha1.ScheduledClustersLeftOut, workv1alpha1.ScheduledSpreadNotMet} {
		t.Run(reason, func(t *testing.T) { testMessageAndNoProblem(t, reason) })
	}
}

func testMessageAndNoProblem(t *testing.T, reason string) {
	facts := sample()
	facts.Bindings[1].Status.Conditions[0].Reason = reason
	facts.Bindings[1].Status.Conditions[0].Message = "6 replicas divided among 2 clusters; no cluster is called membr3"
	report := Make(facts)
	var messages []string
	for _, b := range report.Bindings {
		messages = append(messages, b.Message)
	}
	if !report.Fine || !slices.Contains(messages, "6 replicas divided among 2 clusters; no cluster is called membr3") {
		t.Errorf("fine: %t, messages %q", report.Fine, messages)
	}
}

// Whoever drains a cluster switches it off when `windlass status --check` says that all is fine.
func TestADrainThatIsNotOverIsAProblem(t *testing.T) {
	leaving := func(clusters ...string) func(*Facts) {
		return func(facts *Facts) {
			for _, cluster := range clusters {
				task := workv1alpha1.GracefulEvictionTask{FromCluster: cluster, Reason: "TaintUntolerated"}
				facts.Bindings[1].Spec.GracefulEvictionTasks = append(facts.Bindings[1].Spec.GracefulEvictionTasks, task)
			}
		}
	}
	const nowhere = "must leave a because of the taint maintenance:NoExecute, but no other cluster fits: 1 is not named by clusterNames; its 3 replicas stay in a until one does"
	for _, test := range []struct {
		reason string
		change func(*Facts)
		want   Problem
	}{
		{"it runs in clusters that it is leaving", leaving("d", "c", "f", "e"),
			Problem{"Deployment default/web", "Leaving", "leaves c, d, e and 1 more, and runs there until its other copies are healthy"}},
		{"it has nowhere else to go", func(facts *Facts) {
			facts.Bindings[1].Status.Conditions[0].Reason, facts.Bindings[1].Status.Conditions[0].Message = workv1alpha1.ScheduledNowhereElse, nowhere
		}, Problem{"Deployment default/web", "NowhereElse", nowhere}},
		{"it is not gone from where it was", func(facts *Facts) {
			old := workOf(facts.Bindings[1], "old", "", func(w *workv1alpha1.PropagationWork) {
				w.DeletionTimestamp = &metav1.Time{Time: now}
				w.Status.Conditions = []metav1.Condition{{Type: workv1alpha1.WorkApplied, Status: metav1.ConditionTrue, Reason: "Removing", Message: "not gone yet: it has a finalizer"}}
			})
			facts.Works = append(facts.Works, old)
		}, Problem{"Deployment default/web", "NotGone", "where it shall not be any more it is not gone yet: it has a finalizer (old)"}},
		{"its removal from where it was has just begun", func(facts *Facts) {
			facts.Works = append(facts.Works, workOf(facts.Bindings[1], "old", "", removed), workOf(facts.Bindings[1], "older", "", removed))
		}, Problem{"Deployment default/web", "NotGone", "where it shall not be any more it is not gone yet (old, older)"}},
		{"the cluster can't be asked to remove it", func(facts *Facts) {
			facts.Bindings[1].Spec.Clusters = []workv1alpha1.TargetCluster{to("member1", 4)}
			facts.Bindings[0].Spec.Clusters = facts.Bindings[1].Spec.Clusters
			facts.Works = append(facts.Works[:1], workOf(facts.Bindings[1], "member2", "", removed), facts.Works[2])
			meta.SetStatusCondition(&facts.Clusters[0].Status.Conditions, metav1.Condition{Type: clusterv1alpha1.ClusterReady, Status: metav1.ConditionTrue, Reason: clusterv1alpha1.ReadyConnectionLost, Message: "lost"})
		}, Problem{"Deployment default/web", "NotGone", "where it shall not be any more it is not gone yet: the cluster's agent is not connected (member2)"}},
	} {
		t.Run(test.reason, func(t *testing.T) {
			facts := sample()
			test.change(&facts)
			report := Make(facts)
			ofTemplates := slices.DeleteFunc(slices.Clone(report.Problems), func(p Problem) bool { return strings.HasPrefix(p.Object, "cluster ") })
			if diff := cmp.Diff([]Problem{test.want}, ofTemplates); diff != "" || report.Fine {
				t.Errorf("fine: %v, problems (-want +got):\n%s", report.Fine, diff)
			}
			var out strings.Builder
			if err := report.Text(&out, now, false); err != nil {
				t.Fatal(err)
			}
			if flat := strings.Join(strings.Fields(out.String()), " "); !strings.Contains(flat, test.want.Message) {
				t.Errorf("it is not said in full:\n%s", out.String())
			}
		})
	}
}

func TestATemplateThatCantBePlacedAnewIsSaidToStayWhereItIs(t *testing.T) {
	facts := sample()
	const unmet = "spreadConstraints ask for at least 2 clusters, and there is 1 that fits"
	facts.Bindings[1].Spec.Clusters = nil
	for _, name := range []string{"a", "b", "c", "d"} {
		facts.Bindings[1].Spec.Clusters = append(facts.Bindings[1].Spec.Clusters, workv1alpha1.TargetCluster{Name: name, Replicas: 1})
	}
	facts.Bindings[1].Status.Conditions[0] = metav1.Condition{Type: workv1alpha1.BindingScheduled, Status: metav1.ConditionFalse, Reason: "Unschedulable", Message: unmet}
	want := []Problem{{"Deployment default/web", "Unschedulable", "stays in a, b, c and 1 more, not scheduled anew: " + unmet}}
	if diff := cmp.Diff(want, Make(facts).Problems); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
}

func TestARemarkThatIsNoProblemIsNotCut(t *testing.T) {
	facts := sample()
	const remark = "6 replicas divided among 2 clusters; no cluster is called membr3, and clusterNames names it"
	facts.Bindings[1].Status.Conditions[0].Reason, facts.Bindings[1].Status.Conditions[0].Message = workv1alpha1.ScheduledClustersLeftOut, remark
	var out strings.Builder
	if err := Make(facts).Text(&out, now, false); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), remark+"\n") {
		t.Errorf("nothing else says it in full:\n%s", out.String())
	}
}

func TestReplicasThatStayForAWhileAreARemark(t *testing.T) {
	facts := sample()
	facts.Bindings[1].Spec.GracefulEvictionTasks = []workv1alpha1.GracefulEvictionTask{{FromCluster: facts.Bindings[1].Spec.Clusters[0].Name, Reason: "Rescheduled"}}
	report := Make(facts)
	want := facts.Bindings[1].Spec.Clusters[0].Name + " keeps what was there until it is healthy elsewhere"
	if !report.Fine || !slices.ContainsFunc(report.Bindings, func(b Binding) bool { return b.Message == want }) {
		t.Errorf("fine: %v, bindings %+v, want one that says %q", report.Fine, report.Bindings, want)
	}
}

func TestARemovalNamesTheClustersFromWhichItIsNotGone(t *testing.T) {
	facts := sample()
	facts.Bindings[1].DeletionTimestamp = &metav1.Time{Time: now}
	facts.Works = slices.DeleteFunc(facts.Works, func(w workv1alpha1.PropagationWork) bool { return strings.HasSuffix(w.Namespace, "member1") })
	for i := range facts.Clusters {
		if facts.Clusters[i].Name == "member2" {
			facts.Clusters[i].Status.Conditions = nil
		}
	}
	const want = "it is being removed, and is not gone from 1 cluster: member2 (not connected)"
	if report := Make(facts); !slices.ContainsFunc(report.Problems, func(p Problem) bool { return p.Message == want }) {
		t.Errorf("problems %+v, want %q", report.Problems, want)
	}
}

func TestAJobThatIsLeavingAClusterStaysToItsEnd(t *testing.T) {
	facts := sample()
	facts.Bindings[0].Spec.Resource.APIVersion, facts.Bindings[0].Spec.Resource.Kind = "batch/v1", "Job"
	facts.Bindings[0].Spec.GracefulEvictionTasks = []workv1alpha1.GracefulEvictionTask{{FromCluster: "old"}}
	const want = "leaves old, and runs there until it has ended everywhere"
	if report := Make(facts); !slices.ContainsFunc(report.Bindings, func(b Binding) bool { return b.Message == want }) {
		t.Errorf("bindings %+v, want one that says %q", report.Bindings, want)
	}
}

func TestADrainIsToldBeforeTheProblemsOfTheCopiesThatItWaitsFor(t *testing.T) {
	facts := sample()
	facts.Bindings[1].Spec.GracefulEvictionTasks = []workv1alpha1.GracefulEvictionTask{{FromCluster: "old"}, {FromCluster: facts.Bindings[1].Spec.Clusters[0].Name}}
	facts.Works[0] = workOf(facts.Bindings[1], "member1", `{"replicas":4,"readyReplicas":1}`, unhealthy)
	report := Make(facts)
	const want = "leaves old, and runs there until its other copies are healthy; healthy in 1 of 2 clusters: member1: "
	if !slices.ContainsFunc(report.Problems, func(p Problem) bool { return p.Reason == "Leaving" && strings.HasPrefix(p.Message, want) }) {
		t.Errorf("problems %+v, want one that begins with %q", report.Problems, want)
	}
	var out bytes.Buffer
	if err := report.Text(&out, now, false); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), " member1,member2 (leaving old) ") {
		t.Errorf("the table does not say beside the clusters which one is left:\n%s", out.String())
	}
}

func TestWhatAClusterThatIsLeftStillHasIsToldApart(t *testing.T) {
	facts := draining()
	facts.Clusters[1] = cluster("member1", lost)
	web := Make(facts).Bindings[0]
	want := []Placement{{Cluster: "member1", Ready: new(int32(4)), Applied: true, Health: "Healthy", Stale: true, leaving: true}}
	if diff := cmp.Diff(want, web.LeavingPlacements, cmp.AllowUnexported(Placement{})); diff != "" || len(web.Placements) != 1 {
		t.Errorf("placements %+v, of those that are left (-want +got):\n%s", web.Placements, diff)
	}
}

// What is there serves as long as it is there, and a table without it would look as if all were over.
func TestAClusterFromWhichATemplateIsNotGoneIsInTheTables(t *testing.T) {
	for _, test := range []struct {
		reason, stale string
		change        func(*clusterv1alpha1.MemberCluster)
		want          string
	}{
		{"it is about to go", "", func(*clusterv1alpha1.MemberCluster) {}, ""},
		{"a person is waited for", "", func(c *clusterv1alpha1.MemberCluster) {
			meta.SetStatusCondition(&c.Status.Conditions, metav1.Condition{Type: clusterv1alpha1.ClusterDeletionsHeld, Status: metav1.ConditionTrue, Reason: clusterv1alpha1.DeletionsHeldTooMany})
		}, "its removal is held back until a person confirms it: see cluster member1"},
		{"the agent is not connected", " (not connected)", lost, "not gone yet: the cluster's agent is not connected"},
	} {
		t.Run(test.reason, func(t *testing.T) {
			facts := sample()
			test.change(&facts.Clusters[1])
			web := &facts.Bindings[1]
			web.Spec.Clusters = []workv1alpha1.TargetCluster{to("member2", 6)}
			facts.Works[0] = workOf(*web, "member1", `{"replicas":4,"readyReplicas":4}`, removed)
			report := Make(facts)
			if got := report.Bindings[0].NotGone; len(got) != 1 || got[0].Cluster != "member1" || got[0].Message != test.want || *got[0].Ready != 4 {
				t.Errorf("not gone is %+v, want of member1 that %q", got, test.want)
			}
			lines := text(t, report, false)
			for _, want := range []string{"default/web-deployment yes member2 (not gone from member1) 1/1 1/1 ", "Deployment default/web member1 (not gone)" + test.stale + " - 4 Healthy"} {
				if !slices.ContainsFunc(lines, func(line string) bool { return strings.HasPrefix(line, want) }) {
					t.Errorf("no line begins with %q:\n%s", want, strings.Join(lines, "\n"))
				}
			}
		})
	}
}

func TestAClusterScopedBindingFindsItsWorks(t *testing.T) {
	role := workv1alpha1.ObjectReference{APIVersion: "rbac.authorization.k8s.io/v1", Kind: "ClusterRole", Name: "reader"}
	b := workv1alpha1.ClusterPropagationBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "reader-clusterrole"},
		Spec:       workv1alpha1.BindingSpec{Resource: role, Clusters: []workv1alpha1.TargetCluster{to("member1", 0)}},
		Status: workv1alpha1.BindingStatus{Conditions: []metav1.Condition{
			{Type: workv1alpha1.BindingScheduled, Status: metav1.ConditionTrue, Reason: "Success"},
		}},
	}
	w := workOf(boundTo(role, nil), "member1", "")
	w.Spec.Binding = &workv1alpha1.BindingReference{Kind: "ClusterPropagationBinding", Name: b.Name}
	report := Make(Facts{
		Now: now, Clusters: []clusterv1alpha1.MemberCluster{cluster("member1")},
		ClusterBindings: []workv1alpha1.ClusterPropagationBinding{b}, Works: []workv1alpha1.PropagationWork{w},
	})
	if !report.Fine || report.Bindings[0].Applied != 1 || report.Bindings[0].Healthy != 1 {
		t.Errorf("a ClusterRole that is applied and healthy is reported as %+v", report)
	}
}

// Whoever drains a cluster switches it off when all is fine, whether the policy is there still or not.
func TestThatAReleasedBindingIsNotGoneYetIsAProblem(t *testing.T) {
	const released = "released: no policy claims it any more; "
	const leaves = "leaves member2, and runs there until its other copies are healthy"
	config := boundTo(template("ConfigMap", "settings"), nil, to("member1", 0))
	config.Annotations = nil
	moving := *config.DeepCopy()
	moving.Spec.GracefulEvictionTasks = []workv1alpha1.GracefulEvictionTask{{FromCluster: "member2", Reason: "Rescheduled"}}
	stranded := *config.DeepCopy()
	stranded.Spec.GracefulEvictionTasks = []workv1alpha1.GracefulEvictionTask{{FromCluster: "member1", Reason: "TaintUntolerated"}}
	shrinking := boundTo(template("Deployment", "web"), ptr.To[int32](2), to("member1", 1), to("member2", 1))
	shrinking.Annotations = nil
	shrinking.Spec.GracefulEvictionTasks = []workv1alpha1.GracefulEvictionTask{{FromCluster: "member1", Reason: "Rescheduled", Replicas: ptr.To[int32](2)}}
	stuck := func(w *workv1alpha1.PropagationWork) {
		w.DeletionTimestamp = &metav1.Time{Time: now}
		w.Status.Conditions = []metav1.Condition{{Type: workv1alpha1.WorkApplied, Status: metav1.ConditionTrue, Reason: "Removing", Message: "not gone yet: it has a finalizer"}}
	}
	for _, test := range []struct {
		reason  string
		binding workv1alpha1.PropagationBinding
		works   []workv1alpha1.PropagationWork
		want    Problem
	}{
		{"it is leaving a cluster", moving, []workv1alpha1.PropagationWork{workOf(config, "member1", ""), workOf(config, "member2", "")},
			Problem{"ConfigMap default/settings", "Leaving", released + leaves}},
		{"what that waits for is told", moving, []workv1alpha1.PropagationWork{workOf(config, "member1", "", refused("Conflict", "it exists in the member")), workOf(config, "member2", "")},
			Problem{"ConfigMap default/settings", "Leaving", released + leaves + "; applied in 0 of 1 cluster: member1: Conflict: it exists in the member"}},
		{"it has nowhere else to go", stranded, []workv1alpha1.PropagationWork{workOf(config, "member1", "")},
			Problem{"ConfigMap default/settings", "NowhereElse", "released: no policy claims it any more, and what its clusters have stays as it is; has to leave member1 because of a taint NoExecute, and goes on there: without a policy it is placed nowhere else"}},
		{"a cluster has not given back what it is to give back", shrinking, []workv1alpha1.PropagationWork{workOf(shrinking, "member1", ""), workOf(shrinking, "member2", "")},
			Problem{"Deployment default/web", "Leaving", released + "member1 keeps what was there until it is healthy elsewhere"}},
		{"its removal has just begun", config, []workv1alpha1.PropagationWork{workOf(config, "member1", ""), workOf(config, "member2", "", removed)},
			Problem{"ConfigMap default/settings", "NotGone", released + "where it shall not be any more it is not gone yet (member2)"}},
		{"its removal does not come to its end", config, []workv1alpha1.PropagationWork{workOf(config, "member1", ""), workOf(config, "member2", "", stuck)},
			Problem{"ConfigMap default/settings", "NotGone", released + "where it shall not be any more it is not gone yet: it has a finalizer (member2)"}},
	} {
		t.Run(test.reason, func(t *testing.T) {
			facts := sample()
			facts.Bindings, facts.Works = []workv1alpha1.PropagationBinding{test.binding}, test.works
			report := Make(facts)
			if diff := cmp.Diff([]Problem{test.want}, report.Problems); diff != "" || report.Fine || !report.Bindings[0].Released {
				t.Errorf("fine: %v, bindings %+v, problems (-want +got):\n%s", report.Fine, report.Bindings, diff)
			}

			facts = crowd()
			facts.Bindings, facts.Works = append(facts.Bindings, test.binding), append(facts.Works, test.works...)
			var out strings.Builder
			if err := Make(facts).Text(&out, now, false); err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(out.String(), test.binding.Namespace+"/"+test.binding.Name+" ") {
				t.Errorf("it is not listed among many:\n%s", out.String())
			}
		})
	}
}

func TestWhatGoesWrongWithAReleasedBindingIsNoProblem(t *testing.T) {
	facts := sample()
	config := boundTo(template("ConfigMap", "settings"), nil, to("member1", 0))
	failing := workOf(config, "member1", "", refused("Conflict", "it exists in the member"))
	config.Annotations = nil
	facts.Bindings, facts.Works = append(facts.Bindings, config), append(facts.Works, failing)
	report := Make(facts)
	if !report.Fine || !report.Bindings[0].Released || report.Bindings[0].Applied != 0 {
		t.Errorf("reported as %+v", report)
	}
	var out bytes.Buffer
	if err := report.Text(&out, now, false); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"All fine: 2 clusters ready, 2 bindings applied, 1 released.", "released: no policy claims it any more"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not said:\n%s", want, out.String())
		}
	}

	deleted := config
	deleted.DeletionTimestamp = &metav1.Time{Time: now}
	facts.Bindings[len(facts.Bindings)-1] = deleted
	if report := Make(facts); report.Fine || report.Problems[0].Reason != "Removing" {
		t.Errorf("one whose removal does not end is reported as %+v", report.Problems)
	}
}

func TestAWorkThatIsBeingRemovedIsNoPartOfTheTotal(t *testing.T) {
	facts := sample()
	facts.Works[2].DeletionTimestamp = &metav1.Time{Time: now}
	got := worksOfClusters(facts.Works)[workv1alpha1.ExecutionNamespace("member1")].WorkCount
	if want := (WorkCount{Total: 1, Applied: 1, Removing: 1}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// TestAReportTakesAsMuchMoreAsTheFleetIsLarger counts allocations, of which looking at every work for every cluster makes one each.
func TestAReportTakesAsMuchMoreAsTheFleetIsLarger(t *testing.T) {
	allocations := func(clusters int) float64 {
		facts := Facts{Now: now}
		b := boundTo(template("ConfigMap", "settings"), nil)
		for i := range clusters {
			name := fmt.Sprintf("a-cluster-with-a-name-that-fits-into-no-buffer-%d", i)
			facts.Clusters = append(facts.Clusters, cluster(name))
			b.Spec.Clusters = append(b.Spec.Clusters, to(name, 0))
			facts.Works = append(facts.Works, workOf(b, name, ""))
		}
		facts.Bindings = append(facts.Bindings, b)
		return testing.AllocsPerRun(1, func() { Make(facts) })
	}
	if few, many := allocations(100), allocations(400); many > 6*few {
		t.Errorf("%.0f allocations for 100 clusters, and %.0f for 400", few, many)
	}
}

func TestALostConnectionIsToldWhileTheClusterIsReadyStill(t *testing.T) {
	facts := Facts{Now: now, Clusters: []clusterv1alpha1.MemberCluster{cluster("member1", func(c *clusterv1alpha1.MemberCluster) {
		c.Status.Conditions[1].Reason, c.Status.Conditions[1].Message = clusterv1alpha1.ReadyConnectionLost, "the connection is lost since 11:59"
	})}}
	report := Make(facts)
	if c := report.Clusters[0]; c.Ready != "True" || c.Connected || report.Fine {
		t.Errorf("the cluster is described as %+v, fine: %t", c, report.Fine)
	}
	var out strings.Builder
	if err := report.Text(&out, now, false); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"cluster member1: the connection is lost since 11:59", "True,Lost"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the text lacks %q:\n%s", want, out.String())
		}
	}
}

func TestATaintThatSomebodyGaveAClusterIsShown(t *testing.T) {
	show := func(taint corev1.Taint) string {
		facts := sample()
		facts.Clusters[0].Spec.Taints = []corev1.Taint{taint}
		var out strings.Builder
		if err := Make(facts).Text(&out, now, false); err != nil {
			t.Fatal(err)
		}
		return out.String()
	}
	if got := show(corev1.Taint{Key: clusterv1alpha1.TaintUnschedulable, Effect: corev1.TaintEffectNoSchedule}); !strings.Contains(got, "cluster.karmada.io/unschedulable:NoSchedule") {
		t.Errorf("that the cluster is cordoned is not said:\n%s", got)
	}
	if got := show(corev1.Taint{Key: clusterv1alpha1.TaintUnreachable, Effect: corev1.TaintEffectNoSchedule}); strings.Contains(got, "TAINTS") {
		t.Errorf("what the hub says in words is said twice:\n%s", got)
	}
}

func TestACertificateThatWasNotRenewedIsAProblem(t *testing.T) {
	const soon, over = "its agent's certificate ends in 3d and was not renewed", "its agent's certificate has ended, 2d ago: `windlass token create --cluster old --rejoin`"
	for _, c := range []struct {
		reason  string
		left    time.Duration
		away    bool
		message string
	}{
		{"it ends soon", 3 * 24 * time.Hour, false, soon},
		{"it ends soon, and its agent can't renew it", 3 * 24 * time.Hour, true, soon},
		{"it has ended, and the cluster counts as ready for a moment", -2 * 24 * time.Hour, false, over},
		{"it has ended, and the agent does not come back without a token", -2 * 24 * time.Hour, true, over},
	} {
		t.Run(c.reason, func(t *testing.T) {
			problems := Make(Facts{Now: now, Clusters: []clusterv1alpha1.MemberCluster{cluster("old", func(cluster *clusterv1alpha1.MemberCluster) {
				if c.away {
					lost(cluster)
				}
				cluster.Status.Agent.CertificateExpiresAt = &metav1.Time{Time: now.Add(c.left)}
			})}}).Problems
			if i := len(problems) - 1; i < 0 || problems[i].Reason != "CertificateEnds" || !strings.HasPrefix(problems[i].Message, c.message) {
				t.Errorf("it is reported as %+v", problems)
			}
		})
	}
}

func TestOverridesThatFailAreAProblemThoughAllHaveWhatTheyHadBefore(t *testing.T) {
	facts := sample()
	service := &facts.Bindings[0]
	service.Status.Conditions = append(service.Status.Conditions, metav1.Condition{Type: workv1alpha1.BindingRendered, Status: metav1.ConditionFalse,
		Reason: "OverrideFailed", Message: "1 of 2 clusters stay as they are, because overrides can't be made: member1: why"})
	want := []Problem{{"Service default/web", "OverrideFailed", "1 of 2 clusters stay as they are, because overrides can't be made: member1: why"}}
	if diff := cmp.Diff(want, Make(facts).Problems); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
}

func TestWhyWorksCantBeWrittenIsSaidOnceForAllClusters(t *testing.T) {
	facts := sample()
	const failed = "2 of 3 clusters stay as they are, because overrides can't be made: member1, member2: why"
	b := boundTo(template("ConfigMap", "new"), nil, to("member1", 0), to("member2", 0), to("member3", 0))
	b.Status.Conditions = append(b.Status.Conditions, metav1.Condition{Type: workv1alpha1.BindingRendered, Status: metav1.ConditionFalse, Reason: "OverrideFailed", Message: failed})
	facts.Bindings = []workv1alpha1.PropagationBinding{b}
	facts.Clusters = []clusterv1alpha1.MemberCluster{cluster("member1"), cluster("member2"), cluster("member3")}
	for _, c := range []struct {
		reason string
		work   workv1alpha1.PropagationWork
		want   string
	}{
		{"the third has it", workOf(b, "member3", ""), "applied in 1 of 3 clusters: member1, member2: OverrideFailed: " + failed},
		{"the third has refused it", workOf(b, "member3", "", refused("Forbidden", "no right")), "applied in 0 of 3 clusters: member1, member2: OverrideFailed: " + failed + "; member3: Forbidden: no right"},
	} {
		facts.Works = []workv1alpha1.PropagationWork{c.work}
		if diff := cmp.Diff([]Problem{{"ConfigMap default/new", "NotApplied", c.want}}, Make(facts).Problems); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.reason, diff)
		}
	}
}

func TestOfWhatAnotherSchedulerPlacesItIsSaidWhatIsMissing(t *testing.T) {
	const left = "the scheduler \"mine\" is to place it, as spec.schedulerName says; the hub's own leaves it alone"
	for _, c := range []struct {
		reason   string
		clusters []workv1alpha1.TargetCluster
		observed int64
		isThere  bool
		says     metav1.ConditionStatus
		want     []Problem
	}{
		{"it has said nothing", nil, 1, false, "", []Problem{{"ConfigMap default/guest", "OtherScheduler", "not scheduled: " + left}}},
		{"it has named clusters only", []workv1alpha1.TargetCluster{to("member1", 0)}, 1, false, "", []Problem{{"ConfigMap default/guest", "OtherScheduler",
			"status.schedulerObservedGeneration of the binding is 1: what spec.clusters says is carried out when the scheduler \"mine\" has set it to 2, the binding's generation"}}},
		{"and has said so in Scheduled", []workv1alpha1.TargetCluster{to("member1", 0)}, 1, false, metav1.ConditionTrue, []Problem{{"ConfigMap default/guest", "OtherScheduler",
			"status.schedulerObservedGeneration of the binding is 1: what spec.clusters says is carried out when the scheduler \"mine\" has set it to 2, the binding's generation"}}},
		{"it is on its way", []workv1alpha1.TargetCluster{to("member1", 0)}, 2, false, "", []Problem{{"ConfigMap default/guest", "NotApplied",
			"applied in 0 of 1 cluster: member1: no work is written for it yet"}}},
		{"it is there, and Scheduled does not say so", []workv1alpha1.TargetCluster{to("member1", 0)}, 2, true, "", []Problem{{"ConfigMap default/guest", "OtherScheduler",
			"applied in 1 of 1 cluster: the scheduler \"mine\" has placed it, and has still to set the condition Scheduled in the binding's status"}}},
		{"all is said", []workv1alpha1.TargetCluster{to("member1", 0)}, 2, true, metav1.ConditionTrue, []Problem{}},
	} {
		facts := sample()
		b := boundTo(template("ConfigMap", "guest"), nil, c.clusters...)
		b.Generation, b.Spec.SchedulerName, b.Status.SchedulerObservedGeneration = 2, "mine", c.observed
		b.Status.Conditions = []metav1.Condition{{Type: workv1alpha1.BindingScheduled, Status: metav1.ConditionFalse, Reason: workv1alpha1.ScheduledByAnother, Message: left}}
		if c.says != "" {
			b.Status.Conditions[0] = metav1.Condition{Type: workv1alpha1.BindingScheduled, Status: c.says, Reason: "Placed"}
		}
		facts.Bindings, facts.Works = []workv1alpha1.PropagationBinding{b}, nil
		facts.Clusters = []clusterv1alpha1.MemberCluster{cluster("member1")}
		if c.isThere {
			facts.Works = []workv1alpha1.PropagationWork{workOf(b, "member1", "")}
		}
		if diff := cmp.Diff(c.want, Make(facts).Problems); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.reason, diff)
		}
	}
}

func TestWhatTheAgentSaysOfAnUnhealthyWorkloadIsTold(t *testing.T) {
	facts := sample()
	work := &facts.Works[0]
	work.Status.ManifestStatuses[0].Health = workv1alpha1.ResourceUnhealthy
	work.Status.Conditions = []metav1.Condition{
		{Type: workv1alpha1.WorkApplied, Status: metav1.ConditionTrue, ObservedGeneration: work.Generation},
		{Type: workv1alpha1.WorkAvailable, Status: metav1.ConditionFalse, Reason: "Unhealthy", Message: "1 of 4 replicas are updated"},
	}
	var messages []string
	for _, problem := range Make(facts).Problems {
		messages = append(messages, problem.Message)
	}
	if !strings.Contains(strings.Join(messages, "\n"), "member1: 1 of 4 replicas are updated") {
		t.Errorf("the problems are %q", messages)
	}
}

func TestWhatKeepsARemovalFromItsEndIsTold(t *testing.T) {
	facts := sample()
	facts.Bindings[1].DeletionTimestamp = &metav1.Time{Time: facts.Now}
	work := &facts.Works[0]
	work.DeletionTimestamp = &metav1.Time{Time: facts.Now}
	work.Status.Conditions = []metav1.Condition{{Type: workv1alpha1.WorkApplied, Status: metav1.ConditionTrue, Reason: "Removing", Message: "not gone yet: the member forbids it"}}
	for i := range facts.Clusters {
		if facts.Clusters[i].Name == "member1" {
			facts.Clusters[i].DeletionTimestamp = &metav1.Time{Time: facts.Now}
		}
	}
	told := map[string]bool{}
	for _, problem := range Make(facts).Problems {
		if problem.Reason == "Removing" && strings.Contains(problem.Message, "not gone yet: the member forbids it") {
			told[strings.Fields(problem.Object)[0]] = true
		}
	}
	if !told["cluster"] || !told["Deployment"] {
		t.Errorf("it is told of %v, want the cluster and the template", told)
	}
}

func TestAnOverrideThatPutsAWordForReplicasIsNoWishForOne(t *testing.T) {
	facts := sample()
	facts.Works[0].Spec.Workload.Manifests = []runtime.RawExtension{{Raw: []byte(`{"apiVersion":"apps/v1","kind":"Deployment","spec":{"replicas":"5"}}`)}}
	facts.Works[0].Annotations = map[string]string{workv1alpha1.AppliedOverridesAnnotation: "[]"}
	for _, b := range Make(facts).Bindings {
		if b.Template.Kind == "Deployment" && *b.Placements[0].Wanted != 4 {
			t.Errorf("%d replicas are wanted, want the 4 of the binding", *b.Placements[0].Wanted)
		}
	}
}

func TestTheReplicasThatAreWantedAreThoseOfTheOverrides(t *testing.T) {
	facts := sample()
	for i := range facts.Works[:2] {
		facts.Works[i].Spec.Workload.Manifests = []runtime.RawExtension{{Raw: []byte(`{"apiVersion":"apps/v1","kind":"Deployment","spec":{"replicas":1}}`)}}
	}
	facts.Works[1].Annotations = map[string]string{workv1alpha1.AppliedOverridesAnnotation: "[]"}
	var wanted []int32
	for _, b := range Make(facts).Bindings {
		for _, p := range b.Placements {
			if p.Wanted != nil {
				wanted = append(wanted, *p.Wanted)
			}
		}
	}
	if diff := cmp.Diff([]int32{4, 1}, wanted); diff != "" {
		t.Errorf("wanted (-want +got):\n%s", diff)
	}
}

func TestTheSumOfReplicasIsNoneBelowNothing(t *testing.T) {
	most := Placement{Wanted: ptr.To[int32](math.MaxInt32), Ready: ptr.To[int32](math.MaxInt32)}
	rows := replicaRows([]Binding{{Placements: []Placement{most, most}}}, false)
	if sum := rows[len(rows)-1]; sum[2] != "4294967294" || sum[3] != sum[2] {
		t.Errorf("the sum is %v", sum)
	}
}

func TestAWorkloadWhosePolicyWaitsForOverridesIsNotOneThatNobodyClaims(t *testing.T) {
	facts := sample()
	for _, name := range []string{"alone", "waits", "also"} {
		facts.Unclaimed = append(facts.Unclaimed, Workload{
			Template: Template{APIVersion: "apps/v1", Kind: "Deployment", Namespace: "default", Name: name}, Labels: map[string]string{"app": name}})
	}
	spec := policyv1alpha1.PropagationSpec{DependentOverrides: []string{"sizes", "there", "labels"}}
	spec.ResourceSelectors = []policyv1alpha1.ResourceSelector{{APIVersion: "apps/v1", Kind: "Deployment", LabelSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "waits"}}}}
	facts.Policies = append(facts.Policies, policyv1alpha1.PropagationPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "p"}, Spec: spec})
	facts.Overrides = []policyv1alpha1.OverridePolicy{{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "there"}}, {ObjectMeta: metav1.ObjectMeta{Namespace: "else", Name: "labels"}}}
	spec.ResourceSelectors = []policyv1alpha1.ResourceSelector{{APIVersion: "apps/v1", Kind: "Deployment", Name: "also"}}
	facts.ClusterPolicies = []policyv1alpha1.ClusterPropagationPolicy{{ObjectMeta: metav1.ObjectMeta{Name: "cp"}, Spec: spec}}
	facts.ClusterOverrides = []policyv1alpha1.ClusterOverridePolicy{{ObjectMeta: metav1.ObjectMeta{Name: "sizes"}}, {ObjectMeta: metav1.ObjectMeta{Name: "there"}}}
	var out strings.Builder
	if err := Make(facts).Text(&out, now, false); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"\nClaimed by no policy, so in no cluster: Deployment default/alone\n",
		"\nIn no cluster, for policy default/p waits for OverridePolicy default/sizes, OverridePolicy default/labels: Deployment default/waits\n",
		"\nIn no cluster, for policy cp waits for ClusterOverridePolicy labels: Deployment default/also\n"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("it does not say %q:\n%s", want, out.String())
		}
	}
}

func TestWhatHasNoEffectIsToldBesideAProblem(t *testing.T) {
	facts := sample()
	conditions := &facts.Bindings[1].Status.Conditions
	(*conditions)[0].Reason = workv1alpha1.ScheduledClustersLeftOut
	(*conditions)[0].Message = "6 replicas divided among 2 clusters; no cluster is called membr2, which suspension names"
	*conditions = append(*conditions, metav1.Condition{Type: workv1alpha1.BindingRendered, Status: metav1.ConditionTrue,
		Reason: workv1alpha1.RenderedWithoutEffect, Message: `works are written for all clusters; the annotation of the template says "overwirte"`})
	const want = `6 replicas divided among 2 clusters; no cluster is called membr2, which suspension names; ` +
		`works are written for all clusters; the annotation of the template says "overwirte"`
	if report := Make(facts); !report.Fine || !slices.ContainsFunc(report.Bindings, func(b Binding) bool { return b.Message == want }) {
		t.Errorf("fine: %t, bindings %+v; want one that says %q", report.Fine, report.Bindings, want)
	}
	var out strings.Builder
	if err := Make(facts).Text(&out, now, false); err != nil {
		t.Fatal(err)
	}
	if want := "All fine: 2 clusters ready, 2 bindings applied, 1 remark below.\n"; !strings.HasPrefix(out.String(), want) {
		t.Errorf("it does not begin with %q:\n%s", want, out.String())
	}
	facts.Works[0] = workOf(facts.Bindings[1], "member1", `{"replicas":4,"readyReplicas":1}`, unhealthy)
	if report := Make(facts); !slices.ContainsFunc(report.Problems, func(p Problem) bool { return p.Reason == "Unhealthy" && strings.HasSuffix(p.Message, "; "+want) }) {
		t.Errorf("problems %+v, want one that ends with %q", report.Problems, want)
	}
}

func TestAPolicyThatIsNotReadyIsAProblemUnlessItsBindingsTellWhy(t *testing.T) {
	for _, test := range []struct {
		reason    string
		templates int32
		because   string
		told      bool
	}{
		{"it claims nothing", 0, aggregate.ReasonNothingSelected, true},
		{"one of its kinds is not there", 1, aggregate.ReasonKindNotFound, true},
		{"what is new waits for a PriorityClass", 1, aggregate.ReasonClassNotFound, true},
		{"what is new waits for override policies", 1, aggregate.ReasonOverrideMissing, true},
		{"a binding is not scheduled", 1, aggregate.ReasonNotScheduled, false},
		{"a binding is not applied", 1, aggregate.ReasonNotApplied, false},
		{"a binding can't leave a cluster", 1, aggregate.ReasonNowhereElse, false},
	} {
		status := policyv1alpha1.PropagationStatus{ObservedGeneration: 1, Templates: test.templates,
			Conditions: []metav1.Condition{{Type: "Ready", Status: metav1.ConditionFalse, Reason: test.because, Message: "why"}}}
		facts := sample()
		facts.Policies = []policyv1alpha1.PropagationPolicy{{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "p", Generation: 1}, Status: status}}
		facts.ClusterPolicies = []policyv1alpha1.ClusterPropagationPolicy{{ObjectMeta: metav1.ObjectMeta{Name: "cp", Generation: 1}, Status: status}}
		want := []Problem{}
		if test.told {
			want = []Problem{{"policy default/p", test.because, "why"}, {"policy cp", test.because, "why"}}
		}
		if diff := cmp.Diff(want, Make(facts).Problems); diff != "" {
			t.Errorf("%s: problems (-want +got):\n%s", test.reason, diff)
		}
	}
}

func TestSelectorsByWhichAPolicyClaimsNothingAreARemark(t *testing.T) {
	const said = "All templates are scheduled and applied: 1. Nothing is claimed by 1 of the resource selectors: ConfigMap crat."
	ready := func(generation int64) policyv1alpha1.PropagationStatus {
		return policyv1alpha1.PropagationStatus{ObservedGeneration: generation, Templates: 1,
			Conditions: []metav1.Condition{{Type: "Ready", Status: metav1.ConditionTrue, Reason: aggregate.ReasonSelectorsUnused, Message: said}}}
	}
	facts := sample()
	facts.Policies = []policyv1alpha1.PropagationPolicy{
		{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "p", Generation: 2}, Status: ready(2)},
		{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "mended", Generation: 2}, Status: ready(1)},
	}
	facts.ClusterPolicies = []policyv1alpha1.ClusterPropagationPolicy{{ObjectMeta: metav1.ObjectMeta{Name: "cp", Generation: 1}, Status: ready(1)}}
	var out strings.Builder
	report := Make(facts)
	if err := report.Text(&out, now, false); err != nil {
		t.Fatal(err)
	}
	want := "All fine: 2 clusters ready, 2 bindings applied, 2 remarks below.\n  policy default/p, policy cp: " + said + "\n"
	if !report.Fine || !strings.HasPrefix(out.String(), want) {
		t.Errorf("fine: %t; want it to begin with %q:\n%s", report.Fine, want, out.String())
	}
	facts.Bindings[1].Spec.Clusters = nil
	facts.Bindings[1].Status.Conditions[0].Status = metav1.ConditionFalse
	out.Reset()
	if err := Make(facts).Text(&out, now, false); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(out.String(), "NOT FINE\n") || !strings.Contains(out.String(), "\nWorth a look:\n  policy default/p, policy cp: "+said+"\n") {
		t.Errorf("beside a problem it says:\n%s", out.String())
	}
}

func TestAnOverridePolicyWithoutEffectIsAProblem(t *testing.T) {
	effective := func(status metav1.ConditionStatus) policyv1alpha1.OverrideStatus {
		return policyv1alpha1.OverrideStatus{ObservedGeneration: 2, Conditions: []metav1.Condition{
			{Type: policyv1alpha1.OverrideEffective, Status: status, Reason: "NoClusterSelected", Message: "no cluster is selected by the targetCluster of spec.overrideRules[1]"}}}
	}
	meta := func(namespace, name string, generation int64) metav1.ObjectMeta {
		return metav1.ObjectMeta{Namespace: namespace, Name: name, Generation: generation}
	}
	facts := sample()
	facts.Overrides = []policyv1alpha1.OverridePolicy{
		{ObjectMeta: meta("shop", "idle", 2), Status: effective(metav1.ConditionFalse)},
		{ObjectMeta: meta("shop", "changed", 3), Status: effective(metav1.ConditionFalse)},
		{ObjectMeta: meta("shop", "fine", 2), Status: effective(metav1.ConditionTrue)},
		{ObjectMeta: meta("shop", "new", 1)},
		{ObjectMeta: meta("shop", "part", 2), Status: effective(metav1.ConditionTrue)},
	}
	part := &facts.Overrides[4].Status.Conditions[0]
	part.Reason, part.Message = aggregate.ReasonSelectorsUnused, "not every resource selector selects something"
	facts.ClusterOverrides = []policyv1alpha1.ClusterOverridePolicy{{ObjectMeta: meta("", "idle", 2), Status: effective(metav1.ConditionFalse)}}
	want := []Problem{
		{"override policy shop/idle", "NoClusterSelected", "no cluster is selected by the targetCluster of spec.overrideRules[1]"},
		{"override policy idle", "NoClusterSelected", "no cluster is selected by the targetCluster of spec.overrideRules[1]"},
	}
	report := Make(facts)
	if diff := cmp.Diff(want, report.Problems); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
	remark := []Problem{{"override policy shop/part", "SelectorsUnused", "not every resource selector selects something"}}
	if diff := cmp.Diff(remark, report.Remarks); diff != "" {
		t.Errorf("remarks (-want +got):\n%s", diff)
	}
}
