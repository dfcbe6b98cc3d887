package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"

	clusterv1alpha1 "windlass.dev/windlass/api/cluster/v1alpha1"
	linkv1 "windlass.dev/windlass/api/link/v1"
	workv1alpha1 "windlass.dev/windlass/api/work/v1alpha1"
	"windlass.dev/windlass/hub/roster"
	"windlass.dev/windlass/hub/store/storetest"
	"windlass.dev/windlass/pkg/session"
)

const (
	grace = 40 * time.Second
	lost  = 5 * time.Second
)

var now = storetest.Began

func member(change func(*clusterv1alpha1.MemberCluster)) *clusterv1alpha1.MemberCluster {
	c := &clusterv1alpha1.MemberCluster{
		ObjectMeta: metav1.ObjectMeta{Name: "a", Generation: 3},
		Spec:       clusterv1alpha1.ClusterSpec{ID: "id-a"},
		Status: clusterv1alpha1.ClusterStatus{Conditions: []metav1.Condition{
			{Type: clusterv1alpha1.ClusterJoined, Status: metav1.ConditionTrue, Reason: "Joined", LastTransitionTime: metav1.NewTime(now.Add(-time.Hour))},
		}},
	}
	if change != nil {
		change(c)
	}
	return c
}

// ofA is a session of member's agent.
func ofA(epoch int64) roster.Session {
	return roster.Session{Cluster: "a", ClusterID: "id-a", Epoch: epoch}
}

func ready(status metav1.ConditionStatus, reason string) func(*clusterv1alpha1.MemberCluster) {
	return func(c *clusterv1alpha1.MemberCluster) {
		meta.SetStatusCondition(&c.Status.Conditions, metav1.Condition{Type: clusterv1alpha1.ClusterReady, Status: status, Reason: reason,
			LastTransitionTime: metav1.NewTime(now.Add(-time.Hour))})
	}
}

func taint(key string, effect corev1.TaintEffect) corev1.Taint {
	return corev1.Taint{Key: key, Effect: effect}
}

func TestWhatIsSaidOfACluster(t *testing.T) {
	answers := &linkv1.ClusterFacts{ApiReady: true, ApisComplete: true, KubernetesVersion: "v1.37.2"}
	silent := &linkv1.ClusterFacts{ApiReady: false, ApiReason: "Timeout", ApiMessage: "no answer in 10 s", KubernetesVersion: "v0"}
	notReady := taint(clusterv1alpha1.TaintNotReady, corev1.TaintEffectNoSchedule)
	unreachable := taint(clusterv1alpha1.TaintUnreachable, corev1.TaintEffectNoSchedule)
	users := taint("gpu", corev1.TaintEffectNoSchedule)
	drained := taint(clusterv1alpha1.TaintUnreachable, corev1.TaintEffectNoExecute)
	with := func(condition func(*clusterv1alpha1.MemberCluster), taints ...corev1.Taint) *clusterv1alpha1.MemberCluster {
		return member(func(c *clusterv1alpha1.MemberCluster) {
			if condition != nil {
				condition(c)
			}
			c.Spec.Taints = taints
		})
	}
	tests := []struct {
		reason  string
		cluster *clusterv1alpha1.MemberCluster
		member  roster.Member
		ready   metav1.ConditionStatus // empty: no condition
		why     string
		taints  []corev1.Taint
		recheck time.Duration
		says    string
	}{
		{
			reason: "nobody has enrolled", cluster: member(func(c *clusterv1alpha1.MemberCluster) { c.Spec.ID, c.Status.Conditions = "", nil }),
			member: roster.Member{Since: now.Add(-time.Hour)}, ready: metav1.ConditionFalse, why: "WaitingForAgent", taints: []corev1.Taint{notReady},
		},
		{
			reason: "it has enrolled and not yet connected", cluster: with(nil),
			member: roster.Member{Since: now.Add(-time.Second)}, recheck: grace - time.Second,
		},
		{
			reason: "it is connected and has said nothing of itself yet", cluster: with(nil),
			member: roster.Member{Connected: true, Since: now},
		},
		{
			reason: "it was unreachable, is connected again and has said nothing of itself yet", cluster: with(ready(metav1.ConditionUnknown, "AgentNotConnected"), unreachable),
			member: roster.Member{Connected: true, Since: now}, ready: metav1.ConditionUnknown, why: "AgentNotConnected", taints: []corev1.Taint{unreachable},
		},
		{
			reason: "its API server answers", cluster: with(nil), member: roster.Member{Connected: true, Since: now, Facts: answers},
			ready: metav1.ConditionTrue, why: "AgentConnected",
		},
		{
			reason: "its API server answers again: our taint goes, the user's stays", cluster: with(ready(metav1.ConditionFalse, "Timeout"), users, notReady),
			member: roster.Member{Connected: true, Since: now, Facts: answers}, ready: metav1.ConditionTrue, why: "AgentConnected", taints: []corev1.Taint{users},
		},
		{
			reason: "its API server is silent", cluster: with(ready(metav1.ConditionTrue, "AgentConnected"), users),
			member: roster.Member{Connected: true, Since: now, Facts: silent}, ready: metav1.ConditionFalse, why: "Timeout", taints: []corev1.Taint{users, notReady},
		},
		{
			reason: "its API server is silent and does not say why", cluster: with(nil),
			member: roster.Member{Connected: true, Since: now, Facts: &linkv1.ClusterFacts{}}, ready: metav1.ConditionFalse, why: "APIServerNotReady", taints: []corev1.Taint{notReady},
		},
		{
			reason: "its agent is away for a moment", cluster: with(ready(metav1.ConditionTrue, "AgentConnected"), users),
			member: roster.Member{Since: now.Add(-grace / 4), Facts: answers}, ready: metav1.ConditionTrue, why: "AgentConnected", taints: []corev1.Taint{users}, recheck: lost + settling - grace/4,
		},
		{
			reason: "its agent, which this process has seen, is away for a moment", cluster: with(ready(metav1.ConditionTrue, "AgentConnected")),
			member: roster.Member{Since: now.Add(-lost / 4), Epoch: 1, Facts: answers}, ready: metav1.ConditionTrue, why: "AgentConnected", recheck: lost * 3 / 4,
		},
		{
			reason: "and longer: it is ready still, and that is said", cluster: with(ready(metav1.ConditionTrue, "AgentConnected"), users),
			member: roster.Member{Since: now.Add(-lost), Epoch: 1, Facts: answers}, ready: metav1.ConditionTrue, why: "ConnectionLost", taints: []corev1.Taint{users}, recheck: grace - lost,
			says: "lost since 2026-01-01T11:59:55Z; not ready from 2026-01-01T12:00:35Z on if it does not come back; see its log in the cluster",
		},
		{
			reason: "its agent has not come back to a hub that began a moment ago", cluster: with(ready(metav1.ConditionTrue, "AgentConnected")),
			member: roster.Member{Since: now.Add(-lost)}, ready: metav1.ConditionTrue, why: "AgentConnected", recheck: settling,
		},
		{
			reason: "nor to one that began a while ago", cluster: with(ready(metav1.ConditionTrue, "AgentConnected")),
			member: roster.Member{Since: now.Add(-lost - settling)}, ready: metav1.ConditionTrue, why: "ConnectionLost", recheck: grace - lost - settling,
			says: "the agent has not connected since the hub began at 2026-01-01T11:59:45Z; not ready from 2026-01-01T12:00:25Z on if it does not come back; see its log in the cluster",
		},
		{
			reason: "its agent is back in time", cluster: with(ready(metav1.ConditionTrue, "ConnectionLost")),
			member: roster.Member{Connected: true, Since: now, Epoch: 2, Facts: answers}, ready: metav1.ConditionTrue, why: "AgentConnected",
		},
		{
			reason: "its agent goes after its API server: that stays what is said", cluster: with(ready(metav1.ConditionFalse, "Timeout"), notReady),
			member: roster.Member{Since: now.Add(-lost), Epoch: 1, Facts: silent}, ready: metav1.ConditionFalse, why: "Timeout", taints: []corev1.Taint{notReady}, recheck: grace - lost,
		},
		{
			reason: "its agent is away for good", cluster: with(ready(metav1.ConditionTrue, "AgentConnected"), users),
			member: roster.Member{Since: now.Add(-grace), Facts: answers}, ready: metav1.ConditionUnknown, why: "AgentNotConnected", taints: []corev1.Taint{users, unreachable},
		},
		{
			reason: "it was not ready before its agent went: one taint takes the place of the other", cluster: with(ready(metav1.ConditionFalse, "Timeout"), notReady),
			member: roster.Member{Since: now.Add(-grace)}, ready: metav1.ConditionUnknown, why: "AgentNotConnected", taints: []corev1.Taint{unreachable},
		},
		{
			reason: "a taint of our key with another effect is the user's", cluster: with(ready(metav1.ConditionTrue, "AgentConnected"), drained),
			member: roster.Member{Connected: true, Since: now, Facts: answers}, ready: metav1.ConditionTrue, why: "AgentConnected", taints: []corev1.Taint{drained},
		},
	}
	for _, test := range tests {
		t.Run(test.reason, func(t *testing.T) {
			before := test.cluster.DeepCopy()
			got := assess(facts{Cluster: test.cluster, Member: test.member, Grace: grace, Lost: lost, Process: "p1", Now: now})
			if diff := cmp.Diff(before, test.cluster); diff != "" {
				t.Fatalf("the cached object was changed:\n%s", diff)
			}
			condition := meta.FindStatusCondition(got.Status.Conditions, clusterv1alpha1.ClusterReady)
			switch {
			case condition == nil && test.ready != "", condition != nil && (condition.Status != test.ready || condition.Reason != test.why):
				t.Errorf("Ready is %+v, want %s for %s", condition, test.ready, test.why)
			case condition != nil && test.why == "WaitingForAgent" && !strings.Contains(condition.Message, "windlass token create --cluster a"):
				t.Errorf("the message does not say what to do: %s", condition.Message)
			case condition != nil && !strings.Contains(condition.Message, test.says):
				t.Errorf("the message is %q, want %q in it", condition.Message, test.says)
			}
			if diff := cmp.Diff(test.taints, got.Taints, cmpopts.EquateEmpty(), cmpopts.IgnoreFields(corev1.Taint{}, "TimeAdded")); diff != "" {
				t.Errorf("taints (-want +got):\n%s", diff)
			}
			if got.RecheckAfter != test.recheck {
				t.Errorf("looked at again after %s, want %s", got.RecheckAfter, test.recheck)
			}

			t.Run("and the same the next time", func(t *testing.T) {
				next := test.cluster.DeepCopy()
				next.Status, next.Spec.Taints = got.Status, got.Taints
				again := assess(facts{Cluster: next, Member: test.member, Grace: grace, Lost: lost, Process: "p1", Now: now})
				if diff := cmp.Diff(got, again); diff != "" {
					t.Errorf("it has changed:\n%s", diff)
				}
			})
		})
	}
}

func TestWhatAMemberSaysOfItselfIsRecorded(t *testing.T) {
	said := &linkv1.ClusterFacts{
		ApiReady: true, ApisComplete: true, KubernetesVersion: "v1.37.2", NodesTotal: 3, NodesReady: 2,
		Allocatable: map[string]string{"cpu": "8", "memory": "lots"},
		Apis: []*linkv1.ServedAPI{
			{Group: "apps", Version: "v1", Resource: "statefulsets", Kind: "StatefulSet"},
			{Version: "v1", Resource: "pods", Kind: "Pod"},
			{Group: "apps", Version: "v1", Resource: "deployments", Kind: "Deployment"},
		},
	}
	connected := func(facts *linkv1.ClusterFacts) roster.Member {
		return roster.Member{Connected: true, Since: now, Epoch: 7, AgentVersion: "v0.1.0", Facts: facts}
	}
	got := assess(facts{Cluster: member(nil), Member: connected(said), Grace: grace, Process: "p1", Now: now}).Status
	got.Conditions = nil
	want := clusterv1alpha1.ClusterStatus{
		KubernetesVersion: "v1.37.2",
		NodeSummary:       &clusterv1alpha1.NodeSummary{TotalNum: 3, ReadyNum: 2},
		ResourceSummary: &clusterv1alpha1.ResourceSummary{
			Allocatable: corev1.ResourceList{"cpu": resource.MustParse("8")}, Allocated: corev1.ResourceList{}, Allocating: corev1.ResourceList{},
		},
		APIEnablements: []clusterv1alpha1.APIEnablement{
			{GroupVersion: "apps/v1", Resources: []clusterv1alpha1.APIResource{{Name: "deployments", Kind: "Deployment"}, {Name: "statefulsets", Kind: "StatefulSet"}}},
			{GroupVersion: "v1", Resources: []clusterv1alpha1.APIResource{{Name: "pods", Kind: "Pod"}}},
		},
		Agent:   &clusterv1alpha1.AgentStatus{Version: "v0.1.0"},
		Session: &clusterv1alpha1.SessionStatus{Process: "p1", Epoch: 7},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("status (-want +got):\n%s", diff)
	}

	tests := []struct {
		reason string
		facts  *linkv1.ClusterFacts
		apis   int
		whole  bool
	}{
		{"an incomplete list of APIs does not replace a complete one", &linkv1.ClusterFacts{ApiReady: true}, 2, false},
		{"a complete one does", &linkv1.ClusterFacts{ApiReady: true, ApisComplete: true, Apis: said.Apis[:1]}, 1, true},
		{"what a silent API server leaves unsaid is no news", &linkv1.ClusterFacts{}, 2, true},
	}
	for _, test := range tests {
		t.Run(test.reason, func(t *testing.T) {
			known := member(func(c *clusterv1alpha1.MemberCluster) {
				c.Status.APIEnablements = want.APIEnablements
				meta.SetStatusCondition(&c.Status.Conditions, metav1.Condition{Type: clusterv1alpha1.ClusterCompleteAPIEnablements, Status: metav1.ConditionTrue})
			})
			got := assess(facts{Cluster: known, Member: connected(test.facts), Grace: grace, Process: "p1", Now: now}).Status
			if len(got.APIEnablements) != test.apis || meta.IsStatusConditionTrue(got.Conditions, clusterv1alpha1.ClusterCompleteAPIEnablements) != test.whole {
				t.Errorf("%d group versions, conditions %+v", len(got.APIEnablements), got.Conditions)
			}
		})
	}

	t.Run("a new session is not worth a write, of another process either, and is named with what else it says", func(t *testing.T) {
		known := member(func(c *clusterv1alpha1.MemberCluster) {
			c.Status.Agent = &clusterv1alpha1.AgentStatus{Version: "v0.1.0"}
			c.Status.Session = &clusterv1alpha1.SessionStatus{Process: "p1", Epoch: 2}
		})
		for _, process := range []string{"p1", "p2"} {
			if diff := cmp.Diff(known.Status, assess(facts{Cluster: known, Member: connected(nil), Process: process, Now: now}).Status); diff != "" {
				t.Errorf("of process %s: the status changes:\n%s", process, diff)
			}
		}
		if got := assess(facts{Cluster: known, Member: connected(said), Process: "p2", Now: now}).Status.Session; got.Epoch != 7 || got.Process != "p2" {
			t.Errorf("with what is said the session is %+v", got)
		}
	})
}

// world is a hub with the cluster controller and nothing else.
type world struct {
	*storetest.Store
	kube       *fake.Clientset
	roster     *roster.Roster
	controller *Reconciler
	began      []string
	ended      []string // sessions, by name and id
	now        time.Time
	log        bytes.Buffer
	events     []string
}

// Event implements Events.
func (w *world) Event(about runtime.Object, kind, reason, message string) {
	w.events = append(w.events, fmt.Sprintf("%s %s %s: %s", about.(*clusterv1alpha1.MemberCluster).Name, kind, reason, message))
}

func newWorld() *world {
	w := &world{Store: storetest.New(), kube: fake.NewClientset(), now: now}
	clock := func() time.Time { return w.now }
	w.roster = roster.New(clock)
	w.controller = &Reconciler{
		Clusters: w.MemberClusters.Kind(), Works: w.Works(), Kube: w.kube, Roster: w.roster, Process: "p1", Grace: grace, Lost: lost,
		Namespaces: informers.NewSharedInformerFactory(w.kube, 0).Core().V1().Namespaces().Informer(),
		Accepting:  &Accepting{Begin: func(cluster string) { w.began = append(w.began, cluster) }},
		Removed: func(_ context.Context, cluster, id string) error {
			w.ended = append(w.ended, cluster+" "+id)
			return nil
		},
		Now: clock, Log: slog.New(slog.NewTextHandler(&w.log, nil)), Events: w,
	}
	return w
}

func (w *world) reconcile(t *testing.T) ctrl.Result {
	t.Helper()
	result, err := w.controller.Reconcile(t.Context(), "a")
	if err != nil {
		t.Fatalf("reconciling: %v", err)
	}
	return result
}

// requests are what was asked of the API server since it was last called.
func (w *world) requests() []string {
	out := []string{}
	for _, action := range w.kube.Actions() {
		out = append(out, action.GetVerb()+" "+action.GetResource().Resource)
	}
	w.kube.ClearActions()
	return out
}

func TestAClusterGetsItsNamespaceOnceAndThenAcceptsWorks(t *testing.T) {
	w := newWorld()
	w.MemberClusters.Put(member(nil))
	w.reconcile(t)
	if diff := cmp.Diff([]string{"get namespaces", "create namespaces"}, w.requests()); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
	namespace, err := w.kube.CoreV1().Namespaces().Get(t.Context(), "karmada-es-a", metav1.GetOptions{})
	if err != nil || namespace.Labels["karmada.io/system"] != "true" {
		t.Errorf("the namespace is %+v, %v", namespace, err)
	}
	w.requests()
	if !w.controller.Accepting.Accepts("a") {
		t.Error("no works are accepted")
	}
	got, _ := w.MemberClusters.Get("", "a")
	if !slices.Contains(got.Finalizers, workv1alpha1.ClusterFinalizer) {
		t.Errorf("the finalizers are %v", got.Finalizers)
	}

	w.reconcile(t)
	w.reconcile(t)
	if requests := w.requests(); len(requests) > 0 {
		t.Errorf("later: %v", requests)
	}
	if diff := cmp.Diff([]string{"a"}, w.began); diff != "" {
		t.Errorf("Begin was called for (-want +got):\n%s", diff)
	}
}

func TestWhatStoodBeforeTheProcessIsAcceptedAndWakesNobody(t *testing.T) {
	w := newWorld()
	namespace := func(cluster string, leaving bool) {
		n := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "karmada-es-" + cluster}}
		if leaving {
			n.DeletionTimestamp = &metav1.Time{Time: now}
		}
		if err := w.controller.Namespaces.GetIndexer().Add(n); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"a", "b", "c", "d"} {
		w.MemberClusters.Put(member(func(c *clusterv1alpha1.MemberCluster) {
			c.Name = name
			if name == "d" {
				c.DeletionTimestamp, c.Finalizers = &metav1.Time{Time: now}, []string{workv1alpha1.ClusterFinalizer}
			}
		}))
	}
	namespace("a", false)
	namespace("b", true)
	namespace("d", false)
	w.controller.Stand()
	got := map[string]bool{}
	for _, name := range []string{"a", "b", "c", "d"} {
		got[name] = w.controller.Accepting.Accepts(name)
	}
	if diff := cmp.Diff(map[string]bool{"a": true, "b": false, "c": false, "d": false}, got); diff != "" {
		t.Errorf("accepted (-want +got):\n%s", diff)
	}
	w.reconcile(t)
	if asked := w.requests(); len(asked) > 0 || len(w.began) > 0 {
		t.Errorf("it was asked for %v, and %v began", asked, w.began)
	}
}

func TestNoWorksAreAcceptedWithoutANamespace(t *testing.T) {
	t.Run("it is there from before", func(t *testing.T) {
		w := newWorld()
		w.MemberClusters.Put(member(nil))
		w.kube = fake.NewClientset(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "karmada-es-a"}})
		w.controller.Kube = w.kube
		w.reconcile(t)
		if diff := cmp.Diff([]string{"get namespaces"}, w.requests()); diff != "" {
			t.Errorf("requests (-want +got):\n%s", diff)
		}
	})
	t.Run("it is being deleted", func(t *testing.T) {
		w := newWorld()
		w.MemberClusters.Put(member(nil))
		w.roster.Connected(ofA(1), "v0.1.0", "uid")
		w.roster.Facts(ofA(1), &linkv1.ClusterFacts{ApiReady: true})
		w.roster.Hold(ofA(1), session.Hold{ID: "h1", Held: 2})
		w.controller.Kube = fake.NewClientset(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "karmada-es-a",
			DeletionTimestamp: &metav1.Time{Time: now}, Finalizers: []string{"kubernetes"}}})
		if result, err := w.controller.Reconcile(t.Context(), "a"); err != nil || !result.IsZero() {
			t.Errorf("the answer is %+v, %v, and only its end is of use", result, err)
		}
		if w.controller.Accepting.Accepts("a") || len(w.began) > 0 {
			t.Error("works are accepted")
		}
		c, _ := w.MemberClusters.Get("", "a")
		held := meta.FindStatusCondition(c.Status.Conditions, clusterv1alpha1.ClusterDeletionsHeld)
		if !meta.IsStatusConditionTrue(c.Status.Conditions, clusterv1alpha1.ClusterReady) || !waits(held) || !strings.HasSuffix(held.Message, "=h1") {
			t.Errorf("what holds up the end of its namespace is not said: %+v", c.Status.Conditions)
		}
		if held != nil && !strings.Contains(held.Message, "2 deletions wait for a person: so many at once are unusual; look") {
			t.Errorf("without a limit of the hub that was exceeded it says %q", held.Message)
		}
	})
}

func TestASessionIsWrittenDownOnlyWhenItChangesWhatIsSaid(t *testing.T) {
	w := newWorld()
	w.MemberClusters.Put(member(nil))
	w.reconcile(t)
	w.MemberClusters.Writes()
	w.roster.Connected(ofA(1), "v0.1.0", "uid")
	w.roster.Facts(ofA(1), &linkv1.ClusterFacts{ApiReady: true, ApisComplete: true})
	steps := []struct {
		reason string
		happen func()
		want   []string
		again  time.Duration
	}{
		{"it has connected", func() {}, []string{"status a"}, 0},
		{"nothing has changed", func() { w.now = w.now.Add(time.Hour) }, nil, 0},
		{"the agent is gone for a moment", func() { w.roster.Disconnected(ofA(1)) }, nil, lost},
		{"and back in time", func() { w.roster.Connected(ofA(2), "v0.1.0", "uid") }, nil, 0},
		{"the agent is gone for longer", func() {
			w.roster.Disconnected(ofA(2))
			w.now = w.now.Add(lost)
		}, []string{"status a"}, grace - lost},
		{"that is said once", func() { w.now = w.now.Add(lost) }, nil, grace - 2*lost},
		{"and back in time after all", func() { w.roster.Connected(ofA(3), "v0.1.0", "uid") }, []string{"status a"}, 0},
		{"its API server is silent", func() { w.roster.Facts(ofA(1), &linkv1.ClusterFacts{}) }, []string{"status a", "update a"}, 0},
		{"the agent is gone", func() {
			w.roster.Disconnected(ofA(3))
			w.now = w.now.Add(grace)
		}, []string{"status a", "update a"}, 0},
	}
	for _, step := range steps {
		step.happen()
		result := w.reconcile(t)
		if diff := cmp.Diff(step.want, w.MemberClusters.Writes(), cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("%s: writes (-want +got):\n%s", step.reason, diff)
		}
		if result.RequeueAfter != step.again {
			t.Errorf("%s: looked at again after %s, want %s", step.reason, result.RequeueAfter, step.again)
		}
	}
	said := []string{
		"a Normal Ready: the cluster is ready",
		"a Warning APIServerNotReady: not ready any more: the cluster's API server does not answer the agent",
	}
	if diff := cmp.Diff(said, w.events); diff != "" {
		t.Errorf("events: what is told once, when it happens (-want +got):\n%s", diff)
	}
}

func TestAWriteThatComesTooLateIsTriedAgain(t *testing.T) {
	w := newWorld()
	w.MemberClusters.Put(member(nil))
	w.MemberClusters.Hold()
	w.MemberClusters.Change("", "a", func(c *clusterv1alpha1.MemberCluster) {
		c.Spec.Taints = []corev1.Taint{taint("gpu", corev1.TaintEffectNoSchedule)}
	})
	if result := w.reconcile(t); result.RequeueAfter <= 0 {
		t.Error("nobody looks at it again")
	}
	w.MemberClusters.Release()
	w.reconcile(t)
	if got, _ := w.MemberClusters.Get("", "a"); len(got.Spec.Taints) != 1 || len(got.Finalizers) != 1 {
		t.Errorf("taints %v, finalizers %v", got.Spec.Taints, got.Finalizers)
	}
}

// leaving puts a cluster that is being removed into the store, with two works in it.
func (w *world) leaving(t *testing.T) {
	t.Helper()
	w.MemberClusters.Put(member(nil))
	w.reconcile(t)
	for i := range 2 {
		w.PropagationWorks.Put(&workv1alpha1.PropagationWork{ObjectMeta: metav1.ObjectMeta{
			Namespace: "karmada-es-a", Name: fmt.Sprintf("w%d", i), Finalizers: []string{workv1alpha1.WorkFinalizer}}})
	}
	w.PropagationWorks.Put(&workv1alpha1.PropagationWork{ObjectMeta: metav1.ObjectMeta{
		Namespace: "karmada-es-b", Name: "w0", Finalizers: []string{workv1alpha1.WorkFinalizer}}})
	w.MemberClusters.Change("", "a", func(c *clusterv1alpha1.MemberCluster) { c.DeletionTimestamp = &metav1.Time{Time: now} })
	w.requests()
	w.MemberClusters.Writes()
}

func TestAClusterIsRemovedAfterItsWorksAndItsNamespace(t *testing.T) {
	w := newWorld()
	w.leaving(t)
	w.roster.Connected(ofA(1), "v0.1.0", "uid")
	w.now = w.now.Add(time.Hour)

	if result := w.reconcile(t); result.RequeueAfter <= 0 {
		t.Error("nobody looks after its works")
	}
	if w.controller.Accepting.Accepts("a") {
		t.Error("new works are accepted")
	}
	if diff := cmp.Diff([]string{"remove ClusterRemoved karmada-es-a/w0", "remove ClusterRemoved karmada-es-a/w1"}, w.PropagationWorks.Writes()); diff != "" {
		t.Errorf("writes of works (-want +got):\n%s", diff)
	}
	w.reconcile(t)
	if writes := append(w.PropagationWorks.Writes(), append(w.MemberClusters.Writes(), w.requests()...)...); len(writes) > 0 {
		t.Errorf("while the connected agent is at work: %v", writes)
	}

	last, _ := w.PropagationWorks.Get("karmada-es-a", "w1")
	w.PropagationWorks.Drop("karmada-es-a", "w0")
	w.PropagationWorks.Drop("karmada-es-a", "w1")
	if diff := cmp.Diff([]string{"a"}, w.controller.workLeaves(last, nil)); diff != "" {
		t.Errorf("what the end of a work wakes (-want +got):\n%s", diff)
	}
	w.reconcile(t)
	if diff := cmp.Diff([]string{"delete namespaces"}, w.requests()); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
	if _, ok := w.MemberClusters.Get("", "a"); ok {
		t.Error("the cluster's object stays")
	}
	w.reconcile(t)
	if w.roster.Latest("a").Connected {
		t.Error("the roster still knows it")
	}
	if diff := cmp.Diff([]string{"a id-a"}, w.ended); diff != "" {
		t.Errorf("sessions that were ended (-want +got):\n%s", diff)
	}
	if _, ok := w.PropagationWorks.Get("karmada-es-b", "w0"); !ok {
		t.Error("another cluster's work is gone")
	}
}

func TestAClusterThatIsReplacedAtOnceIsRemovedFirst(t *testing.T) {
	for _, test := range []struct {
		reason string
		former string // its id
		by     string // the id with which an agent is connected
		ends   []string
		stays  bool // what the roster knows
	}{
		{"its agent is connected", "id-a", "id-a", []string{"a id-a"}, false},
		{"the agent of the new one is connected", "id-a", "id-b", []string{"a id-a"}, true},
		{"it never had an agent, so whoever is connected is the new one's", "", "id-b", nil, true},
	} {
		t.Run(test.reason, func(t *testing.T) {
			w := newWorld()
			w.MemberClusters.Put(member(func(c *clusterv1alpha1.MemberCluster) { c.Spec.ID = test.former }))
			w.reconcile(t)
			w.roster.Connected(roster.Session{Cluster: "a", ClusterID: test.by, Epoch: 1}, "v0.1.0", "uid")
			w.MemberClusters.Drop("", "a")
			w.MemberClusters.Put(member(func(c *clusterv1alpha1.MemberCluster) { c.Spec.ID = "" }))
			for range 2 {
				w.reconcile(t)
				if diff := cmp.Diff(test.ends, w.ended); diff != "" {
					t.Errorf("sessions that were ended (-want +got):\n%s", diff)
				}
			}
			if got := w.roster.Latest("a").Connected; got != test.stays {
				t.Errorf("it is connected %t, want %t", got, test.stays)
			}
			if diff := cmp.Diff([]string{"a", "a"}, w.began); diff != "" {
				t.Errorf("works are accepted for the one and then for the other (-want +got):\n%s", diff)
			}
		})
	}
}

func TestNothingOfAFormerClusterIsSaidOfTheOneThatHasItsName(t *testing.T) {
	w := newWorld()
	w.MemberClusters.Put(member(nil))
	w.reconcile(t)
	says := func(of roster.Session, version string, hold session.Hold) {
		w.roster.Facts(of, &linkv1.ClusterFacts{ApiReady: true, KubernetesVersion: version})
		w.roster.Hold(of, hold)
	}
	w.roster.Connected(ofA(1), "v0.1.0", "uid")
	says(ofA(1), "v1.30.0", session.Hold{ID: "h1", Held: 2})
	w.MemberClusters.Drop("", "a")
	w.MemberClusters.Put(member(func(c *clusterv1alpha1.MemberCluster) {
		c.Spec.ID = "id-b"
		c.Annotations = map[string]string{workv1alpha1.ConfirmDeletionsAnnotation: "h1"}
	}))
	w.controller.Confirm = func(context.Context, string, string) error {
		t.Error("what waited in the former is confirmed in the new one")
		return nil
	}
	said := func(when, version string) {
		t.Helper()
		w.reconcile(t)
		got, _ := w.MemberClusters.Get("", "a")
		if held := meta.FindStatusCondition(got.Status.Conditions, clusterv1alpha1.ClusterDeletionsHeld); got.Status.KubernetesVersion != version || held != nil {
			t.Errorf("%s: version %q, want %q, and deletions that wait: %+v", when, got.Status.KubernetesVersion, version, held)
		}
	}
	said("the former was removed", "")
	says(ofA(1), "v1.30.0", session.Hold{ID: "h1", Held: 2})
	said("the former's session has said something at its end", "")
	next := roster.Session{Cluster: "a", ClusterID: "id-b", Epoch: 2}
	w.roster.Connected(next, "v0.1.0", "other")
	said("the agent of the new one has connected", "")
	says(next, "v1.31.0", session.Hold{})
	said("it has said something", "v1.31.0")
}

func TestARemovalThatCouldNotBeToldIsToldAgain(t *testing.T) {
	w := newWorld()
	w.MemberClusters.Put(member(nil))
	w.reconcile(t)
	told := []string{}
	w.controller.Removed = func(_ context.Context, cluster, id string) error {
		told = append(told, cluster+" "+id)
		if len(told) == 1 {
			return errors.New("the store is away")
		}
		return nil
	}
	w.MemberClusters.Drop("", "a")
	if _, err := w.controller.Reconcile(t.Context(), "a"); err == nil {
		t.Error("the failure is not told")
	}
	w.MemberClusters.Put(member(func(c *clusterv1alpha1.MemberCluster) { c.Spec.ID = "" }))
	w.reconcile(t)
	if diff := cmp.Diff([]string{"a id-a", "a id-a"}, told); diff != "" {
		t.Errorf("told (-want +got):\n%s", diff)
	}
}

func TestARemovalDoesNotWaitForAnAgentThatStaysAway(t *testing.T) {
	w := newWorld()
	w.leaving(t)
	w.now = w.now.Add(grace / 2)
	if result := w.reconcile(t); result.RequeueAfter != grace/2 {
		t.Errorf("within the grace period it is looked at again after %s", result.RequeueAfter)
	}
	if got := len(w.PropagationWorks.List()); got != 3 {
		t.Fatalf("%d works are left within the grace period, want 3", got)
	}
	w.now = w.now.Add(grace / 2)
	w.reconcile(t)
	if got := len(w.PropagationWorks.List()); got != 1 {
		t.Fatalf("%d works are left after the grace period, want 1, of the other cluster", got)
	}
	w.reconcile(t)
	if _, ok := w.MemberClusters.Get("", "a"); ok {
		t.Error("the cluster's object stays")
	}
}

func TestAWorkThatCanNotBeRemovedKeepsTheCluster(t *testing.T) {
	w := newWorld()
	w.MemberClusters.Put(member(nil))
	w.reconcile(t)
	w.MemberClusters.Change("", "a", func(c *clusterv1alpha1.MemberCluster) { c.DeletionTimestamp = &metav1.Time{Time: now} })
	w.PropagationWorks.Put(&workv1alpha1.PropagationWork{ObjectMeta: metav1.ObjectMeta{Namespace: "karmada-es-a", Name: "w0", Finalizers: []string{workv1alpha1.WorkFinalizer}}})
	w.PropagationWorks.Refuse = func(string, *workv1alpha1.PropagationWork) error {
		return apierrors.NewInternalError(errors.New("disk full"))
	}
	if _, err := w.controller.Reconcile(t.Context(), "a"); err == nil {
		t.Error("the failure is not told")
	}
	if _, ok := w.MemberClusters.Get("", "a"); !ok {
		t.Error("the cluster went before its works")
	}
}

func TestWorksWakeAClusterThatIsBeingRemovedOrIsOnTheHubNoMore(t *testing.T) {
	leaving := &metav1.Time{Time: now}
	in := func(namespace string, deleted *metav1.Time) *workv1alpha1.PropagationWork {
		return &workv1alpha1.PropagationWork{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "w0", DeletionTimestamp: deleted, CreationTimestamp: metav1.NewTime(now)}}
	}
	older := func(work *workv1alpha1.PropagationWork) *workv1alpha1.PropagationWork {
		work.CreationTimestamp = metav1.NewTime(now.Add(-time.Second))
		return work
	}
	w := newWorld()
	w.MemberClusters.Put(member(nil))
	w.MemberClusters.Put(member(func(c *clusterv1alpha1.MemberCluster) { c.Name, c.DeletionTimestamp = "b", leaving }))
	w.MemberClusters.Put(member(func(c *clusterv1alpha1.MemberCluster) { c.Name = "d" }))
	w.controller.Accepting.set("d", true)
	for _, test := range []struct {
		reason   string
		old, new *workv1alpha1.PropagationWork
		wakes    []string
	}{
		{"it is gone, and its cluster stays", in("karmada-es-a", leaving), nil, nil},
		{"it is being deleted, and its cluster stays", in("karmada-es-a", nil), in("karmada-es-a", leaving), nil},
		{"it is gone, which its cluster waits for", in("karmada-es-b", leaving), nil, []string{"b"}},
		{"it is being deleted, which takes its agent", in("karmada-es-b", nil), in("karmada-es-b", leaving), nil},
		{"it is being deleted, and there is no cluster", in("karmada-es-c", nil), in("karmada-es-c", leaving), []string{"c"}},
		{"it was being deleted when the process began, and there is no cluster", nil, in("karmada-es-c", leaving), []string{"c"}},
		{"there is no cluster, which deletes nothing", nil, in("karmada-es-c", nil), nil},
		{"it is gone, and its cluster as well", in("karmada-es-c", leaving), nil, nil},
		{"it is nobody's", nil, in("shop", leaving), nil},
		{"it is being deleted, and another cluster has the name", in("karmada-es-a", nil), older(in("karmada-es-a", leaving)), []string{"a"}},
		{"it was being deleted when the process began, and another cluster has the name", nil, older(in("karmada-es-a", leaving)), []string{"a"}},
		{"another cluster has the name, which deletes nothing", nil, older(in("karmada-es-a", nil)), nil},
		{"another cluster has the name, and is being removed with all works that are there", nil, older(in("karmada-es-b", leaving)), nil},
		{"it is being deleted, and a cluster that was made anew has taken it over", nil, older(in("karmada-es-d", leaving)), nil},
	} {
		if diff := cmp.Diff(test.wakes, w.controller.workLeaves(test.old, test.new)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.reason, diff)
		}
	}
}

func TestAWorkThatWasBeingWrittenWhileItsClusterWasRemovedIsLetGo(t *testing.T) {
	for _, test := range []struct {
		reason   string
		replaced bool
	}{
		{"nobody has the name", false},
		{"another cluster has the name, and no agent that could say that the work is removed", true},
	} {
		t.Run(test.reason, func(t *testing.T) {
			w := newWorld()
			w.MemberClusters.Put(member(nil))
			w.reconcile(t)
			w.MemberClusters.Change("", "a", func(c *clusterv1alpha1.MemberCluster) { c.DeletionTimestamp = &metav1.Time{Time: now} })
			w.reconcile(t)
			if _, ok := w.MemberClusters.Get("", "a"); ok {
				t.Fatal("the cluster stays")
			}
			late := func(name string, deleted *metav1.Time) {
				w.PropagationWorks.Put(&workv1alpha1.PropagationWork{ObjectMeta: metav1.ObjectMeta{
					Namespace: "karmada-es-a", Name: name, DeletionTimestamp: deleted, Finalizers: []string{workv1alpha1.WorkFinalizer}}})
			}
			late("kept", nil)
			late("deleted", &metav1.Time{Time: now}) // by the end of its namespace
			if test.replaced {
				w.MemberClusters.Put(member(func(c *clusterv1alpha1.MemberCluster) { c.Spec.ID = "" }))
			}
			w.PropagationWorks.Writes()
			w.reconcile(t)
			if diff := cmp.Diff([]string{"update karmada-es-a/deleted"}, w.PropagationWorks.Writes()); diff != "" {
				t.Errorf("writes (-want +got):\n%s", diff)
			}
			if _, ok := w.PropagationWorks.Get("karmada-es-a", "deleted"); ok {
				t.Error("it keeps its namespace for ever")
			}
			if kept, ok := w.PropagationWorks.Get("karmada-es-a", "kept"); !ok || len(kept.Finalizers) == 0 {
				t.Error("a work that nobody deletes is touched, for the only reason that its cluster is not there")
			}
		})
	}
}

func TestAWorkOfTheClusterThatHadTheNameBeforeIsLetGoWhenItIsMarkedLate(t *testing.T) {
	for _, test := range []struct {
		reason  string
		created time.Duration // after the cluster that has the name now
		marked  bool
		stays   bool // the namespace of the works
		want    []string
	}{
		{"it is older", -time.Second, true, false, []string{"update karmada-es-a/late"}},
		{"it is older, and nobody deletes it", -time.Second, false, false, nil},
		{"it was made in the same second, of which the store knows no parts", -time.Millisecond, true, false, nil},
		{"it was written for the cluster that has the name now", time.Second, true, false, nil},
		{"the cluster was made anew and has taken over what stood there", -time.Second, true, true, nil},
	} {
		t.Run(test.reason, func(t *testing.T) {
			began := now.Add(time.Millisecond)
			namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "karmada-es-a"}}
			if !test.stays {
				namespace.DeletionTimestamp, namespace.Finalizers = &metav1.Time{Time: began}, []string{"kubernetes"}
			}
			w := newWorld()
			w.controller.Kube = fake.NewClientset(namespace)
			w.MemberClusters.Put(member(func(c *clusterv1alpha1.MemberCluster) { c.CreationTimestamp = metav1.NewTime(began) }))
			w.reconcile(t)
			work := &workv1alpha1.PropagationWork{ObjectMeta: metav1.ObjectMeta{Namespace: "karmada-es-a", Name: "late",
				CreationTimestamp: metav1.NewTime(began.Add(test.created)), Finalizers: []string{workv1alpha1.WorkFinalizer}}}
			if test.marked {
				work.DeletionTimestamp = &metav1.Time{Time: began}
			}
			w.PropagationWorks.Put(work)
			w.reconcile(t)
			if diff := cmp.Diff(test.want, w.PropagationWorks.Writes(), cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("writes (-want +got):\n%s", diff)
			}
			if _, there := w.PropagationWorks.Get("karmada-es-a", "late"); there == (len(test.want) > 0) {
				t.Errorf("the work is there: %t", there)
			}
		})
	}
}

func TestDeletionsThatWaitForAPersonAreSaidAndConfirmed(t *testing.T) {
	w := newWorld()
	confirmed := []string{}
	w.controller.Confirm = func(_ context.Context, cluster, id string) error {
		confirmed = append(confirmed, cluster+" "+id)
		return nil
	}
	held := func() *metav1.Condition {
		c, _ := w.MemberClusters.Get("", "a")
		return meta.FindStatusCondition(c.Status.Conditions, clusterv1alpha1.ClusterDeletionsHeld)
	}
	annotate := func(id string) {
		w.MemberClusters.Change("", "a", func(c *clusterv1alpha1.MemberCluster) {
			c.Annotations = map[string]string{workv1alpha1.ConfirmDeletionsAnnotation: id}
		})
	}
	w.MemberClusters.Put(member(nil))
	w.roster.Connected(ofA(1), "v0.1.0", "uid")
	w.reconcile(t)
	if held() != nil {
		t.Errorf("nothing was ever held, but it is said: %+v", held())
	}

	w.roster.Hold(ofA(1), session.Hold{ID: "h1", Held: 40, Excess: session.Excess{Passed: 10, Limit: 10, Window: 5 * time.Minute}})
	annotate("h0")
	w.reconcile(t)
	if got := held(); got == nil || got.Status != metav1.ConditionTrue || !strings.Contains(got.Message, "40 deletions") || !strings.Contains(got.Message, "h1") {
		t.Errorf("the condition does not say how many, and what to type: %+v", got)
	}
	if len(confirmed) > 0 {
		t.Errorf("an id of something else confirms %v", confirmed)
	}
	annotate("h1")
	w.reconcile(t)
	if diff := cmp.Diff([]string{"a h1"}, confirmed); diff != "" {
		t.Errorf("confirmed (-want +got):\n%s", diff)
	}
	w.roster.Hold(ofA(1), session.Hold{})
	w.reconcile(t)
	if got := held(); got.Status != metav1.ConditionFalse || len(confirmed) != 1 {
		t.Errorf("afterwards: %+v, confirmed %v", got, confirmed)
	}
}

func TestDeletionsThatWaitAreNamedAndToldWhenTheyBeginAndWhenTheyEnd(t *testing.T) {
	w := newWorld()
	w.controller.Confirm = func(context.Context, string, string) error { return nil }
	annotate := func(id string) func() {
		return func() {
			w.MemberClusters.Change("", "a", func(c *clusterv1alpha1.MemberCluster) {
				c.Annotations = map[string]string{workv1alpha1.ConfirmDeletionsAnnotation: id}
			})
		}
	}
	holds := func(id string, held int, examples ...session.RemovalID) func() {
		return func() {
			w.roster.Hold(ofA(1), session.Hold{ID: id, Held: held, Excess: session.Excess{Passed: 1, Limit: 1, Window: 5 * time.Minute}, Examples: examples})
		}
	}
	var examples []session.RemovalID
	for i, template := range []*workv1alpha1.ObjectReference{
		{Kind: "Deployment", Namespace: "shop", Name: "web"}, {Kind: "ClusterRole", Name: "read"}, nil, {Kind: "ConfigMap", Namespace: "shop", Name: "fourth"},
	} {
		work := w.PropagationWorks.Put(&workv1alpha1.PropagationWork{
			ObjectMeta: metav1.ObjectMeta{Namespace: "karmada-es-a", Name: fmt.Sprintf("w%d", i), UID: types.UID(fmt.Sprintf("u%d", i))},
			Spec:       workv1alpha1.WorkSpec{Template: template},
		})
		examples = append(examples, session.RemovalID{Key: work.Name, UID: string(work.UID)})
	}
	w.MemberClusters.Put(member(nil))
	w.roster.Connected(ofA(1), "v0.1.0", "uid")
	look := "1 had gone through within 5m, and the limit is 1; look at the works that are being deleted in namespace karmada-es-a; " +
		"if it is a slip, mend the placement or the policy, and what waits is not deleted; "
	command := "to let it happen: kubectl annotate membercluster a --overwrite windlass.dev/confirm-deletions="
	ignored := func(id string) string {
		return "the annotation windlass.dev/confirm-deletions=\"" + id + "\" confirms nothing, for what waits has another id"
	}
	five := "5 deletions wait for a person (Deployment shop/web, ClusterRole read, the work w2 and 2 more): " + look
	six := strings.Replace(five, "5 deletions wait for a person (Deployment shop/web, ClusterRole read, the work w2 and 2", "6 deletions wait for a person (Deployment shop/web, ClusterRole read, the work w2 and 3", 1)
	begins := []string{"a Warning DeletionsHeld: deletions in this cluster wait for a person: `windlass status` or " +
		"`kubectl describe membercluster a` says which, and how to confirm them"}
	for _, step := range []struct {
		reason string
		happen func()
		says   string
		events []string
		logged int
	}{
		{"a confirmation of nothing", annotate("old"), "", nil, 0},
		{"a hold begins, and nobody has typed anything since", holds("h1", 5, examples...), five + command + "h1", begins, 1},
		{"somebody types another id", annotate("h0"), five + ignored("h0") + "; " + command + "h1",
			[]string{"a Warning ConfirmationIgnored: " + ignored("h0") + "; " + command + "h1"}, 1},
		{"more comes", holds("h2", 6, examples...), six + ignored("h0") + "; " + command + "h2", nil, 0},
		{"the hub starts anew", func() { w.controller.typed = sync.Map{} }, six + ignored("h0") + "; " + command + "h2", nil, 0},
		{"somebody types the id", annotate("h2"), six + command + "h2", nil, 0},
		{"it ends", holds("", 0), "no deletion waits for a person", nil, 1},
		{"one of which nothing is known, after the confirmation that counted", holds("h3", 1, session.RemovalID{Key: "w0", UID: "another"}), "1 deletion waits for a person: " + look + command + "h3", begins, 1},
	} {
		w.events = nil
		w.log.Reset()
		step.happen()
		w.reconcile(t)
		w.reconcile(t) // says nothing twice
		c, _ := w.MemberClusters.Get("", "a")
		says := ""
		if held := meta.FindStatusCondition(c.Status.Conditions, clusterv1alpha1.ClusterDeletionsHeld); held != nil {
			says = held.Message
		}
		if says != step.says {
			t.Errorf("%s: the condition says\n%s\nwant\n%s", step.reason, says, step.says)
		}
		if diff := cmp.Diff(step.events, w.events); diff != "" {
			t.Errorf("%s: events (-want +got):\n%s", step.reason, diff)
		}
		if lines := strings.Count(w.log.String(), "\n"); lines != step.logged {
			t.Errorf("%s: %d lines are logged, want %d:\n%s", step.reason, lines, step.logged, w.log.String())
		}
	}
}

func TestWhatHoldsOthersIsHeldWithAWordAboutThem(t *testing.T) {
	template := func(apiVersion, kind, name string) *workv1alpha1.PropagationWork {
		return &workv1alpha1.PropagationWork{Spec: workv1alpha1.WorkSpec{Template: &workv1alpha1.ObjectReference{APIVersion: apiVersion, Kind: kind, Name: name}}}
	}
	kept := template("v1", "Namespace", "shop")
	kept.Spec.PreserveResourcesOnDeletion = ptr.To(true)
	for want, work := range map[string]*workv1alpha1.PropagationWork{
		"Namespace shop with everything in it": template("v1", "Namespace", "shop"),
		"Namespace shop":                       kept,
		"CustomResourceDefinition gadgets.example.com with everything in it": template("apiextensions.k8s.io/v1", "CustomResourceDefinition", "gadgets.example.com"),
		"ClusterRole reader": template("rbac.authorization.k8s.io/v1", "ClusterRole", "reader"),
	} {
		if got := objectOf(work); got != want {
			t.Errorf("it is called %q, want %q", got, want)
		}
	}
	if got := unusual(session.Hold{Held: 3}); got != "so many at once are unusual" {
		t.Errorf("of a hold of which nobody knows how it began it is said %q", got)
	}
	status := clusterv1alpha1.ClusterStatus{}
	hold := session.Hold{ID: "h1", Held: 1, Excess: session.Excess{Passed: 10, Limit: 10, Window: time.Minute}, Along: "30 objects in Namespace shop that no work has put there"}
	recordHold(&status, facts{Cluster: member(nil), Member: roster.Member{Hold: hold, HoldKnown: true}, Held: []string{objectOf(template("v1", "Namespace", "shop"))}, Now: now})
	const want = "1 deletion waits for a person (Namespace shop with everything in it): 30 objects in Namespace shop that no work has put there would be deleted with it; look"
	if got := status.Conditions[0].Message; !strings.HasPrefix(got, want) {
		t.Errorf("it says\n%s\nwant\n%s", got, want)
	}
}

func TestWhatWaitsAfterARestoreIsSaidAsFarAsTheStoreKnowsIt(t *testing.T) {
	const begin, end = "the hub's store was restored from a backup that is older than what this cluster has: ",
		"; to let it happen: kubectl annotate membercluster a --overwrite windlass.dev/confirm-deletions=h1"
	for _, test := range []struct {
		reason string
		hold   session.Hold
		held   []string
		want   string
	}{
		{"nothing waits yet", session.Hold{}, nil,
			"every deletion there will wait for a person, until somebody says that the hub is right as it is"},
		{"what the store has", session.Hold{Held: 2}, []string{"Deployment shop/web"},
			"2 deletions wait for a person (Deployment shop/web and 1 more); look at the works that are being deleted in namespace karmada-es-a"},
		{"what only the cluster has", session.Hold{Held: 2, Unknown: 2, Examples: []session.RemovalID{{Key: "web-deployment-1"}}}, nil,
			"2 deletions wait for a person, 2 of them of works that only the cluster has (web-deployment-1, ...); first apply to the hub again what shall stay"},
	} {
		test.hold.ID, test.hold.Restoring = "h1", true
		status := clusterv1alpha1.ClusterStatus{}
		recordHold(&status, facts{Cluster: member(nil), Member: roster.Member{Hold: test.hold, HoldKnown: true}, Held: test.held, Now: now})
		if got := status.Conditions[0].Message; got != begin+test.want+end {
			t.Errorf("%s: it says\n%s", test.reason, got)
		}
	}
}

func TestWhatWaitsForAClusterToBeRemovedIsNotTakenBackByAPlacement(t *testing.T) {
	removed := member(nil)
	removed.DeletionTimestamp = &metav1.Time{Time: now}
	status := clusterv1alpha1.ClusterStatus{}
	recordHold(&status, facts{Cluster: removed, Member: roster.Member{Hold: session.Hold{ID: "h1", Held: 2}, HoldKnown: true}, Now: now})
	const want = "2 deletions wait for a person: so many at once are unusual; look at the works that are being deleted in namespace karmada-es-a; to let it happen: kubectl annotate membercluster a --overwrite windlass.dev/confirm-deletions=h1"
	if got := status.Conditions[0].Message; got != want {
		t.Errorf("it says\n%s\nwant\n%s", got, want)
	}
}

func TestWhatAStoreInDoubtLacksWaitsForAReasonOfItsOwn(t *testing.T) {
	for _, test := range []struct {
		reason string
		hold   session.Hold
		want   string
	}{
		{"what only the cluster has", session.Hold{Held: 2, Unknown: 1, Examples: []session.RemovalID{{Key: "web-deployment-1"}}},
			"the hub's store may have been restored from a backup, for another cluster has a later state of something: 2 deletions wait for a person, 1 of them of works that only the cluster has (web-deployment-1); first apply to the hub again what shall stay; to let it happen: kubectl annotate membercluster a --overwrite windlass.dev/confirm-deletions=h1"},
		{"what the brake holds", session.Hold{Held: 2},
			"2 deletions wait for a person: so many at once are unusual; look at the works that are being deleted in namespace karmada-es-a; if it is a slip, mend the placement or the policy, and what waits is not deleted; to let it happen: kubectl annotate membercluster a --overwrite windlass.dev/confirm-deletions=h1"},
	} {
		test.hold.ID, test.hold.Doubted = "h1", true
		status := clusterv1alpha1.ClusterStatus{}
		recordHold(&status, facts{Cluster: member(nil), Member: roster.Member{Hold: test.hold, HoldKnown: true}, Now: now})
		if got := status.Conditions[0]; got.Message != test.want || got.Reason != clusterv1alpha1.DeletionsHeldTooMany {
			t.Errorf("%s: it says %s\n%s\nwant\n%s", test.reason, got.Reason, got.Message, test.want)
		}
	}
}

func TestAConfirmationThatCanNotBePassedOnHoldsUpNothing(t *testing.T) {
	confirmed := 0
	begin := func() *world {
		w := newWorld()
		confirmed = 0
		w.controller.Confirm = func(context.Context, string, string) error { confirmed++; return nil }
		w.leaving(t)
		w.MemberClusters.Change("", "a", func(c *clusterv1alpha1.MemberCluster) {
			c.DeletionTimestamp = nil
			c.Annotations = map[string]string{workv1alpha1.ConfirmDeletionsAnnotation: "h1"}
		})
		w.roster.Connected(ofA(1), "v0.1.0", "uid")
		w.roster.Hold(ofA(1), session.Hold{ID: "h1", Held: 2, Excess: session.Excess{Passed: 1, Limit: 1, Window: 5 * time.Minute}})
		w.roster.Disconnected(ofA(1))
		w.now = w.now.Add(grace)
		return w
	}
	t.Run("a cluster whose agent is gone is said to be unreachable", func(t *testing.T) {
		w := begin()
		w.reconcile(t)
		got, _ := w.MemberClusters.Get("", "a")
		if ready := meta.FindStatusCondition(got.Status.Conditions, clusterv1alpha1.ClusterReady); ready == nil || ready.Status != metav1.ConditionUnknown {
			t.Errorf("Ready is %+v", ready)
		}
		if len(got.Spec.Taints) != 1 || confirmed != 0 {
			t.Errorf("taints %v, confirmed %d times", got.Spec.Taints, confirmed)
		}
		t.Run("and hears of the confirmation when it is back", func(t *testing.T) {
			w.roster.Connected(ofA(2), "v0.1.0", "uid")
			w.reconcile(t)
			if confirmed != 1 {
				t.Errorf("confirmed %d times", confirmed)
			}
		})
	})
	t.Run("and can be removed", func(t *testing.T) {
		w := begin()
		w.MemberClusters.Change("", "a", func(c *clusterv1alpha1.MemberCluster) { c.DeletionTimestamp = &metav1.Time{Time: now} })
		for range 3 { // its works are marked, let go, and then itself
			w.reconcile(t)
		}
		if _, ok := w.MemberClusters.Get("", "a"); ok {
			t.Error("the cluster's object stays")
		}
	})
	t.Run("any other failure is told, after the rest is done", func(t *testing.T) {
		w := begin()
		w.roster.Connected(ofA(2), "v0.1.0", "uid")
		w.roster.Facts(ofA(1), &linkv1.ClusterFacts{ApiReady: true})
		changed := errors.New("what waits has changed")
		w.controller.Confirm = func(context.Context, string, string) error { return changed }
		if _, err := w.controller.Reconcile(t.Context(), "a"); !errors.Is(err, changed) {
			t.Errorf("the error is %v", err)
		}
		got, _ := w.MemberClusters.Get("", "a")
		if !meta.IsStatusConditionTrue(got.Status.Conditions, clusterv1alpha1.ClusterReady) {
			t.Errorf("the conditions are %+v", got.Status.Conditions)
		}
	})
}

func TestWhatWaitsIsNotDeniedAfterARestartOfTheHubBeforeTheMemberHasSaidSo(t *testing.T) {
	w := newWorld()
	w.MemberClusters.Put(member(func(c *clusterv1alpha1.MemberCluster) {
		meta.SetStatusCondition(&c.Status.Conditions, metav1.Condition{Type: clusterv1alpha1.ClusterDeletionsHeld, Status: metav1.ConditionTrue, Reason: "TooManyDeletions"})
	}))
	held := func() bool {
		c, _ := w.MemberClusters.Get("", "a")
		return meta.IsStatusConditionTrue(c.Status.Conditions, clusterv1alpha1.ClusterDeletionsHeld)
	}
	steps := []struct {
		reason string
		happen func()
		want   bool
	}{
		{"the member is not connected", func() {}, true},
		{"it is, and was not compared yet", func() { w.roster.Connected(ofA(1), "v0.1.0", "uid") }, true},
		{"they wait still", func() { w.roster.Hold(ofA(1), session.Hold{ID: "h1", Held: 3}) }, true},
		{"they wait no longer", func() { w.roster.Hold(ofA(1), session.Hold{}) }, false},
	}
	for _, step := range steps {
		step.happen()
		w.reconcile(t)
		if held() != step.want {
			t.Errorf("%s: held %t", step.reason, held())
		}
	}
}

func TestAnExecutionNamespaceThatIsDeletedIsMadeAgain(t *testing.T) {
	w := newWorld()
	w.MemberClusters.Put(member(nil))
	w.reconcile(t)
	namespace, err := w.kube.CoreV1().Namespaces().Get(t.Context(), "karmada-es-a", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if keys := w.controller.namespaceGone(nil, namespace); len(keys) > 0 {
		t.Errorf("a namespace that is there wakes %v", keys)
	}
	if err := w.kube.CoreV1().Namespaces().Delete(t.Context(), "karmada-es-a", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if keys := w.controller.namespaceGone(namespace, nil); !slices.Equal(keys, []string{"a"}) || w.controller.Accepting.Accepts("a") {
		t.Errorf("the end of the namespace wakes %v; works are accepted: %t", keys, w.controller.Accepting.Accepts("a"))
	}
	w.reconcile(t)
	if _, err := w.kube.CoreV1().Namespaces().Get(t.Context(), "karmada-es-a", metav1.GetOptions{}); err != nil || !w.controller.Accepting.Accepts("a") {
		t.Errorf("afterwards: %v; works are accepted: %t", err, w.controller.Accepting.Accepts("a"))
	}
}

func TestTheRemovalOfAClusterSaysWhichDeletionsWaitAndTakesTheConfirmation(t *testing.T) {
	w := newWorld()
	confirmed := []string{}
	w.controller.Confirm = func(_ context.Context, cluster, id string) error {
		confirmed = append(confirmed, cluster+" "+id)
		return nil
	}
	w.leaving(t)
	w.roster.Connected(ofA(1), "v0.1.0", "uid")
	w.roster.Hold(ofA(1), session.Hold{ID: "h1", Held: 2, Excess: session.Excess{Passed: 1, Limit: 1, Window: 5 * time.Minute}})
	w.reconcile(t)
	cluster, _ := w.MemberClusters.Get("", "a")
	got := meta.FindStatusCondition(cluster.Status.Conditions, clusterv1alpha1.ClusterDeletionsHeld)
	if got == nil || got.Status != metav1.ConditionTrue || !strings.Contains(got.Message, "h1") {
		t.Fatalf("the condition does not say what to type: %+v", got)
	}
	w.MemberClusters.Change("", "a", func(c *clusterv1alpha1.MemberCluster) {
		c.Annotations = map[string]string{workv1alpha1.ConfirmDeletionsAnnotation: "h1"}
	})
	w.reconcile(t)
	if diff := cmp.Diff([]string{"a h1"}, confirmed); diff != "" {
		t.Errorf("confirmed (-want +got):\n%s", diff)
	}
}
