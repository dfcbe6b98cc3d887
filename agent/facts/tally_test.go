package facts

import (
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"windlass.dev/windlass/agent/member"
	linkv1 "windlass.dev/windlass/api/link/v1"
)

func list(cpu, memory string) corev1.ResourceList {
	return corev1.ResourceList{corev1.ResourceCPU: resource.MustParse(cpu), corev1.ResourceMemory: resource.MustParse(memory)}
}

func node(uid, cpu, memory string, ready corev1.ConditionStatus) *corev1.Node {
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{UID: types.UID(uid)},
		Status: corev1.NodeStatus{
			Allocatable: list(cpu, memory),
			Conditions:  []corev1.NodeCondition{{Type: corev1.NodeReady, Status: ready}},
		},
	}
}

func pod(uid, node, cpu, memory string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{UID: types.UID(uid)},
		Spec: corev1.PodSpec{
			NodeName:   node,
			Containers: []corev1.Container{{Resources: corev1.ResourceRequirements{Requests: list(cpu, memory)}}},
		},
	}
}

func TestTheSumsFollowNodesAndPods(t *testing.T) {
	changes := 0
	tally := newTally(func() { changes++ })
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(tally.nodes.Replace([]any{node("n1", "4", "8Gi", corev1.ConditionTrue), node("n2", "4", "8Gi", corev1.ConditionTrue)}, "1"))
	if tally.synced() {
		t.Error("it is synced before the pods were listed")
	}
	must(tally.pods.Replace([]any{pod("p1", "n1", "500m", "1Gi"), pod("p2", "", "2", "1Gi")}, "1"))
	must(tally.nodes.Update(node("n2", "3900m", "8Gi", corev1.ConditionFalse)))
	must(tally.pods.Update(pod("p2", "n2", "2", "1Gi")))
	must(tally.pods.Add(pod("p3", "", "1", "512Mi")))
	want := &linkv1.ClusterFacts{
		NodesTotal: 2, NodesReady: 1,
		Allocatable: map[string]string{"cpu": "7900m", "memory": "16Gi"},
		Allocated:   map[string]string{"cpu": "2500m", "memory": "2Gi", "pods": "2"},
		Allocating:  map[string]string{"cpu": "1", "memory": "512Mi", "pods": "1"},
	}
	got := tally.facts()
	for name, pair := range map[string][2]any{
		"nodes":       {[]int32{want.NodesTotal, want.NodesReady}, []int32{got.NodesTotal, got.NodesReady}},
		"allocatable": {want.Allocatable, got.Allocatable}, "allocated": {want.Allocated, got.Allocated}, "allocating": {want.Allocating, got.Allocating},
	} {
		if diff := cmp.Diff(pair[0], pair[1]); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	if !tally.synced() || changes != 5 {
		t.Errorf("synced is %v after %d changes, want true after 5", tally.synced(), changes)
	}
	must(tally.pods.Delete(pod("p1", "n1", "500m", "1Gi")))
	must(tally.pods.Replace([]any{}, "2")) // a list after a gap in the watch
	must(tally.nodes.Replace([]any{}, "2"))
	empty := tally.facts()
	if empty.NodesTotal != 0 || len(empty.Allocatable)+len(empty.Allocated)+len(empty.Allocating) != 0 {
		t.Errorf("after everything is gone there is %v", empty)
	}
	if err := tally.pods.Add(&corev1.Node{}); err == nil {
		t.Error("a node is taken for a pod")
	}
}

type noKinds struct{}

func (noKinds) Served() ([]*linkv1.ServedAPI, bool) { return nil, true }
func (noKinds) OnChange(func())                     {}

func TestAMemberThatTheAgentCannotWriteToIsNotReady(t *testing.T) {
	var trouble error
	f, err := New(Config{
		Clients: &member.Clients{}, Kinds: noKinds{}, Logger: slog.New(slog.DiscardHandler), Now: time.Now,
		Trouble: func() error { return trouble },
	})
	if err != nil {
		t.Fatal(err)
	}
	f.apiReason = "APIServerReady"
	trouble = errors.New("it is forbidden")
	if got := f.gather(); got.ApiReady || got.ApiReason != "AgentCannotWrite" || !strings.Contains(got.ApiMessage, "it is forbidden") {
		t.Errorf("it says %v", got)
	}
	trouble = nil
	if got := f.gather(); !got.ApiReady || got.ApiMessage != "" {
		t.Errorf("it says %v although the agent can write again", got)
	}
}

func TestWhatIsWorthAPublicationAtOnce(t *testing.T) {
	base := func() *linkv1.ClusterFacts {
		return &linkv1.ClusterFacts{
			NodesTotal: 2, NodesReady: 2, KubernetesVersion: "v1", ApiReady: true,
			Allocatable: map[string]string{"cpu": "100"}, Allocated: map[string]string{"cpu": "10"},
			Apis: []*linkv1.ServedAPI{{Kind: "Pod"}},
		}
	}
	for _, c := range []struct {
		reason string
		change func(*linkv1.ClusterFacts)
		want   bool
	}{
		{"nothing", func(*linkv1.ClusterFacts) {}, false},
		{"a node less is ready", func(f *linkv1.ClusterFacts) { f.NodesReady = 1 }, true},
		{"another version", func(f *linkv1.ClusterFacts) { f.KubernetesVersion = "v2" }, true},
		{"the API server is not ready", func(f *linkv1.ClusterFacts) { f.ApiReady = false }, true},
		{"a new kind", func(f *linkv1.ClusterFacts) { f.Apis = append(f.Apis, &linkv1.ServedAPI{Kind: "Gadget"}) }, true},
		{"4 of 100 CPUs more requested", func(f *linkv1.ClusterFacts) { f.Allocated = map[string]string{"cpu": "14"} }, false},
		{"5 of 100 CPUs more requested", func(f *linkv1.ClusterFacts) { f.Allocated = map[string]string{"cpu": "15"} }, true},
		{"2 CPUs more allocatable", func(f *linkv1.ClusterFacts) { f.Allocatable = map[string]string{"cpu": "102"} }, false},
		{"something that nobody requested before", func(f *linkv1.ClusterFacts) { f.Allocating = map[string]string{"gpu": "1"} }, true},
	} {
		after := base()
		c.change(after)
		if got := significant(base(), after, 0.05); got != c.want {
			t.Errorf("%s: got %v", c.reason, got)
		}
	}
}
