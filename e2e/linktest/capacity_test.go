package linktest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/types"
	agentlink "windlass.dev/windlass/agent/link"
	clusterv1alpha1 "windlass.dev/windlass/api/cluster/v1alpha1"
	linkv1 "windlass.dev/windlass/api/link/v1"
	workv1alpha1 "windlass.dev/windlass/api/work/v1alpha1"
	"windlass.dev/windlass/hub/capacity"
	hublink "windlass.dev/windlass/hub/link"
	"windlass.dev/windlass/pkg/estimate"
)

// connectedAgents asks whoever has a session, and knows nothing else of clusters.
type connectedAgents struct{ *hublink.Server }

func (connectedAgents) Connected(string) bool { return true }

func (connectedAgents) Summary(string) (*clusterv1alpha1.ResourceSummary, time.Time) {
	return nil, time.Time{}
}

func (connectedAgents) Delivery(string, types.NamespacedName) (capacity.Delivery, bool) {
	return capacity.Delivery{}, true
}

func (connectedAgents) Placements(func(capacity.Placement)) {}

func TestTheRoomInMembersIsAskedOfTheirAgents(t *testing.T) {
	var gatherer *capacity.Gatherer
	h := newHub(t, func(c *hublink.Config) { c.Grown = func(cluster string) { gatherer.Grown(cluster) } })
	agents := connectedAgents{h.server}
	gatherer, err := capacity.New(capacity.Config{Agents: agents, Clusters: agents, Timeout: generous, MaxAge: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(run(t, gatherer.Run))

	var taken atomic.Int64 // CPUs of the node that are requested
	taken.Store(5)
	grown := make(chan struct{}, 1)
	a := h.newAgent(h.issue("eu", time.Hour), func(c *agentlink.Config) {
		c.Grown = grown
		c.Answer = func(_ context.Context, q *linkv1.Question) *linkv1.Answer { return survey(t, q, taken.Load()) }
	})
	old := h.newAgent(h.issue("us", time.Hour), nil)
	eventually(t, "the agents are in", func() bool { return a.synchronised() && old.synchronised() })

	needs := &workv1alpha1.ReplicaRequirements{
		ResourceRequest: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("1500m")},
		NodeClaim: &workv1alpha1.NodeClaim{
			NodeSelector: map[string]string{"pool": "gpu"}, Tolerations: []corev1.Toleration{{Key: "gpu", Operator: corev1.TolerationOpExists}},
			HardNodeAffinity: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{
				MatchFields: []corev1.NodeSelectorRequirement{{Key: "metadata.name", Operator: corev1.NodeSelectorOpNotIn, Values: []string{"other"}}},
			}}},
		},
	}
	answers := gatherer.Gather(t.Context(), needs, []string{"eu", "us", "nowhere"})()
	if answers[0] != (capacity.Answer{Replicas: 2, Source: capacity.FromAgent}) {
		t.Errorf("of eu it is told %+v", answers[0])
	}
	if answers[1].Source != capacity.Unknown || !strings.Contains(answers[1].Why, "upgrade the agent") {
		t.Errorf("of an agent that is too old it is told %+v", answers[1])
	}
	if answers[2].Source != capacity.Unknown || !strings.Contains(answers[2].Why, hublink.ErrNotConnected.Error()) {
		t.Errorf("of a cluster without an agent it is told %+v", answers[2])
	}
	taken.Store(1)
	grown <- struct{}{}
	eventually(t, "the answer is another one", func() bool { return gatherer.Gather(t.Context(), needs, []string{"eu"})()[0].Replicas == 4 })
}

// survey answers as an agent does, of one node with 8 CPUs in the pool gpu and another one that does not fit.
func survey(t *testing.T, q *linkv1.Question, taken int64) *linkv1.Answer {
	var question linkv1.CapacityQuestion
	if err := proto.Unmarshal(q.GetBody(), &question); err != nil || q.GetKind() != linkv1.QuestionCapacity || len(question.GetRequirements()) != 1 {
		return &linkv1.Answer{Error: fmt.Sprint("no question: ", err)}
	}
	need, err := estimate.Compile(question.GetRequirements()[0])
	if err != nil {
		return &linkv1.Answer{Error: err.Error()}
	}
	all := estimate.Amounts{corev1.ResourceCPU: 8000, corev1.ResourcePods: 110}
	room := estimate.Cluster{
		Nodes: slices.Values([]*estimate.Node{
			{Name: "gpu-1", Ready: true, Allocatable: all, Labels: map[string]string{"pool": "gpu"}, Requested: estimate.Amounts{corev1.ResourceCPU: 1000 * taken},
				Taints: []corev1.Taint{{Key: "gpu", Effect: corev1.TaintEffectNoSchedule}}},
			{Name: "other", Ready: true, Allocatable: all, Labels: map[string]string{"pool": "gpu"}},
		}),
		Waiting: slices.Values([]estimate.Amounts(nil)),
	}.Room(need)[0]
	body, err := proto.Marshal(&linkv1.CapacityAnswer{Rooms: []*linkv1.Room{{Replicas: room.Replicas, Slots: room.Slots}}})
	if err != nil {
		t.Error(err)
	}
	return &linkv1.Answer{Body: body}
}
