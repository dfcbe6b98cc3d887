package facts

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"windlass.dev/windlass/agent/member"
	linkv1 "windlass.dev/windlass/api/link/v1"
)

// A surveyor is Facts with what its watches deliver, and the hub that asks.
type surveyor struct {
	*Facts
	t *testing.T
}

var noon = time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)

func newSurveyor(t *testing.T) surveyor {
	t.Helper()
	f, err := New(Config{Clients: &member.Clients{}, Kinds: noKinds{}, Logger: slog.New(slog.DiscardHandler), Now: func() time.Time { return noon }})
	if err != nil {
		t.Fatal(err)
	}
	return surveyor{f, t}
}

func (s surveyor) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// machine is a ready node with 10 places for pods.
func machine(name, cpu string) *corev1.Node {
	n := node("uid-of-"+name, cpu, "64Gi", corev1.ConditionTrue)
	n.Name = name
	n.Labels = map[string]string{"name": name}
	n.Status.Allocatable[corev1.ResourcePods] = resource.MustParse("10")
	return n
}

func (s surveyor) ask(all ...*linkv1.Requirements) *linkv1.Answer {
	s.t.Helper()
	body, err := proto.Marshal(&linkv1.CapacityQuestion{Requirements: all})
	s.must(err)
	return s.Answer(s.t.Context(), &linkv1.Question{Kind: linkv1.QuestionCapacity, Body: body})
}

func (s surveyor) answer(all ...*linkv1.Requirements) *linkv1.CapacityAnswer {
	s.t.Helper()
	said := s.ask(all...)
	if said.GetError() != "" || said.GetUnknownKind() {
		s.t.Fatalf("the answer is %v", said)
	}
	var answer linkv1.CapacityAnswer
	s.must(proto.Unmarshal(said.GetBody(), &answer))
	return &answer
}

// room is the answer to a question about one.
func (s surveyor) room(needs *linkv1.Requirements) int64 {
	s.t.Helper()
	return s.answer(needs).GetRooms()[0].GetReplicas()
}

func cpus(quantity string) *linkv1.Requirements {
	return &linkv1.Requirements{Requests: map[string]string{"cpu": quantity}}
}

func (s surveyor) grown() bool {
	s.asked.compare(s.tally)
	select {
	case <-s.Grown():
		return true
	default:
		return false
	}
}

func TestAPodThatMayHaveNoNodeYetTakesNoRoom(t *testing.T) {
	s := newSurveyor(t)
	s.must(s.tally.nodes.Replace([]any{machine("a", "4")}, "1"))
	gated := pod("p1", "", "2", "1Gi")
	gated.Spec.SchedulingGates = []corev1.PodSchedulingGate{{Name: "example.com/queue"}}
	s.must(s.tally.pods.Replace([]any{gated}, "1"))
	if got := s.room(cpus("1")); got != 4 {
		t.Errorf("while it is gated there is room for %d, want 4", got)
	}
	s.must(s.tally.pods.Update(pod("p1", "", "2", "1Gi")))
	if got := s.room(cpus("1")); got != 2 {
		t.Errorf("when its gates are gone there is room for %d, want 2", got)
	}
	s.must(s.tally.pods.Replace([]any{}, "2"))
	if got := s.room(cpus("1")); got != 4 {
		t.Errorf("when it is gone there is room for %d, want 4", got)
	}
}

func TestTheRoomFollowsNodesAndPods(t *testing.T) {
	s := newSurveyor(t)
	s.must(s.tally.pods.Replace([]any{pod("p1", "a", "1", "1Gi")}, "1"))
	if said := s.ask(cpus("1")); !strings.Contains(said.GetError(), "not known yet") {
		t.Errorf("before the nodes were listed the answer is %v", said)
	}
	s.must(s.tally.nodes.Replace([]any{machine("a", "4"), machine("b", "4")}, "1"))
	step := func(what string, want int64) {
		t.Helper()
		if got := s.room(cpus("2")); got != want {
			t.Errorf("%s there is room for %d, want %d", what, got, want)
		}
	}
	step("with a pod that was known before its node", 3)
	s.must(s.tally.pods.Add(pod("p2", "", "2", "1Gi")))
	step("while a pod waits", 2)
	s.must(s.tally.pods.Update(pod("p2", "b", "2", "1Gi")))
	step("when it has a node", 2)
	s.must(s.tally.pods.Delete(pod("p1", "a", "1", "1Gi")))
	step("when a pod is gone", 3)
	cordoned := machine("a", "4")
	cordoned.Spec.Unschedulable = true
	s.must(s.tally.nodes.Update(cordoned))
	step("when a node is cordoned", 1)
	s.must(s.tally.nodes.Delete(machine("b", "4")))
	step("when a node is gone before its pods", 0)
	s.must(s.tally.nodes.Replace([]any{machine("a", "4"), machine("b", "4")}, "2"))
	step("after a list, with the pods that were known", 3)
	s.must(s.tally.pods.Delete(pod("p2", "b", "2", "1Gi")))
	s.must(s.tally.nodes.Replace([]any{}, "3"))
	if left := len(s.tally.byName) + len(s.tally.waiting); left != 0 {
		t.Errorf("of what is gone %d entries are kept", left)
	}
}

func TestAnAnswerHasARoomForEachOfTheRequirements(t *testing.T) {
	s := newSurveyor(t)
	s.must(s.tally.pods.Replace([]any{}, "1"))
	tainted := machine("b", "8")
	tainted.Spec.Taints = []corev1.Taint{{Key: "gpu", Effect: corev1.TaintEffectNoSchedule}, {Key: "full", Effect: corev1.TaintEffectPreferNoSchedule}}
	s.must(s.tally.nodes.Replace([]any{machine("a", "4"), tainted}, "1"))
	answer := s.answer(cpus("1"), &linkv1.Requirements{}, &linkv1.Requirements{
		Requests: map[string]string{"cpu": "1"}, NodeSelector: map[string]string{"name": "b"}, Tolerations: []*linkv1.Toleration{{Key: "gpu", Operator: "Exists"}},
	})
	var got []string
	for _, room := range answer.GetRooms() {
		got = append(got, fmt.Sprint(room.GetReplicas(), " of ", room.GetSlots()))
	}
	if text := strings.Join(got, ", "); text != "4 of 10, 10 of 10, 8 of 10" {
		t.Errorf("the rooms are %s", text)
	}
	if !answer.GetObservedAt().AsTime().Equal(noon) {
		t.Errorf("it is of %v", answer.GetObservedAt().AsTime())
	}
}

func TestGrowthIsToldOnceForWhatWasAsked(t *testing.T) {
	s := newSurveyor(t)
	s.must(s.tally.nodes.Replace([]any{machine("a", "4")}, "1"))
	s.must(s.tally.pods.Replace([]any{pod("p1", "a", "3", "1Gi"), pod("p2", "a", "100m", "1Gi")}, "1"))
	if s.must(s.tally.pods.Delete(pod("p2", "a", "100m", "1Gi"))); s.grown() {
		t.Error("growth is told though nothing was asked")
	}
	if got := s.room(cpus("2")); got != 0 {
		t.Fatalf("there is room for %d", got)
	}
	if s.grown() {
		t.Error("growth is told though nothing has changed")
	}
	if s.must(s.tally.pods.Add(pod("p3", "a", "100m", "1Gi"))); s.grown() {
		t.Error("growth is told though there is less room")
	}
	if s.must(s.tally.pods.Delete(pod("p3", "a", "100m", "1Gi"))); s.grown() {
		t.Error("growth is told though not one replica more fits")
	}
	if s.must(s.tally.pods.Delete(pod("p1", "a", "3", "1Gi"))); !s.grown() {
		t.Error("growth is not told though a replica fits now")
	}
	if s.must(s.tally.nodes.Add(machine("b", "4"))); s.grown() {
		t.Error("growth is told again though nothing was asked since")
	}
	s.room(cpus("2"))
	if s.must(s.tally.nodes.Add(machine("c", "4"))); !s.grown() {
		t.Error("growth is not told again though it was asked again")
	}
}

func TestNothingIsComparedWhileNothingChanges(t *testing.T) {
	s := newSurveyor(t)
	s.must(s.tally.nodes.Replace([]any{machine("a", "4")}, "1"))
	s.must(s.tally.pods.Replace([]any{}, "1"))
	s.room(cpus("2"))
	if s.grown() {
		t.Fatal("growth is told though nothing has changed")
	}
	for key, said := range s.asked.answers {
		said.room.Replicas = -1 // so that any comparison would find growth
		s.asked.answers[key] = said
	}
	if s.grown() {
		t.Error("it was compared though nothing has changed")
	}
}

func TestGrowthBetweenALookAndAnotherQuestionIsNotMissed(t *testing.T) {
	s := newSurveyor(t)
	s.must(s.tally.nodes.Replace([]any{machine("a", "4")}, "1"))
	s.must(s.tally.pods.Replace([]any{pod("p1", "a", "3", "1Gi")}, "1"))
	s.room(cpus("2"))
	s.must(s.tally.pods.Add(pod("p2", "a", "1", "1Gi")))
	if s.grown() {
		t.Fatal("growth is told though there is less room")
	}
	if got := s.room(cpus("1")); got != 0 {
		t.Fatalf("there is room for %d", got)
	}
	s.must(s.tally.pods.Delete(pod("p2", "a", "1", "1Gi")))
	if !s.grown() {
		t.Error("growth is not told of what was asked after the last comparison")
	}
}

func TestWhatIsRememberedOfQuestionsIsBounded(t *testing.T) {
	s := newSurveyor(t)
	s.must(s.tally.nodes.Replace([]any{machine("a", "1")}, "1"))
	s.must(s.tally.pods.Replace([]any{}, "1"))
	for i := range 3 * mostAsked {
		s.room(cpus(fmt.Sprint(i + 1)))
		s.room(cpus("1")) // asked again and again, so it is not the one that is forgotten
	}
	if len(s.asked.answers) != mostAsked || len(s.asked.order) != mostAsked {
		t.Errorf("%d are remembered in an order of %d", len(s.asked.answers), len(s.asked.order))
	}
	if _, known := s.asked.answers[string(must(proto.Marshal(cpus("1"))))]; !known {
		t.Error("what was asked last is forgotten")
	}
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

func TestQuestionsThatHaveNoAnswerAreToldWhy(t *testing.T) {
	s := newSurveyor(t)
	s.must(s.tally.nodes.Replace([]any{}, "1"))
	s.must(s.tally.pods.Replace([]any{}, "1"))
	if said := s.Answer(t.Context(), &linkv1.Question{Kind: "weather"}); !said.GetUnknownKind() {
		t.Errorf("a question of another kind is answered with %v", said)
	}
	if said := s.Answer(t.Context(), &linkv1.Question{Kind: linkv1.QuestionCapacity, Body: []byte{0xff}}); !strings.Contains(said.GetError(), "reading the question") {
		t.Errorf("a body that is none is answered with %v", said)
	}
	if said := s.ask(cpus("much")); !strings.Contains(said.GetError(), "requirements[0]: requests[cpu]") {
		t.Errorf("a quantity that is none is answered with %v", said)
	}
	if said := s.ask(make([]*linkv1.Requirements, mostAsked+1)...); !strings.Contains(said.GetError(), "at most 64") {
		t.Errorf("too long a question is answered with %v", said)
	}
}

func FuzzNoQuestionBreaksTheAgent(f *testing.F) {
	for _, seed := range []*linkv1.CapacityQuestion{
		{}, {Requirements: []*linkv1.Requirements{cpus("1"), cpus("-1"), {NodeAffinity: &linkv1.NodeAffinity{}}}},
		{Requirements: []*linkv1.Requirements{{
			NodeAffinity: &linkv1.NodeAffinity{Terms: []*linkv1.NodeSelectorTerm{{
				Expressions: []*linkv1.NodeSelectorRequirement{{Key: "name", Operator: "Gt", Values: []string{"1"}}},
				Fields:      []*linkv1.NodeSelectorRequirement{{Key: "metadata.name", Operator: "In", Values: []string{"a"}}},
			}}},
			Tolerations: []*linkv1.Toleration{{Key: "gpu", Operator: "Lt", Value: "3"}},
		}}},
	} {
		f.Add(must(proto.Marshal(seed)))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		s := newSurveyor(t)
		s.must(s.tally.nodes.Replace([]any{machine("a", "4"), machine("b", "1")}, "1"))
		s.must(s.tally.pods.Replace([]any{pod("p1", "a", "1", "1Gi"), pod("p2", "", "1", "1Gi")}, "1"))
		said := s.Answer(t.Context(), &linkv1.Question{Kind: linkv1.QuestionCapacity, Body: body})
		var answer linkv1.CapacityAnswer
		if said.GetUnknownKind() || said.GetError() == "" && proto.Unmarshal(said.GetBody(), &answer) != nil {
			t.Fatalf("the answer is %v", said)
		}
		for _, room := range answer.GetRooms() {
			if room.GetReplicas() < 0 || room.GetReplicas() > room.GetSlots() {
				t.Errorf("the room is %v", room)
			}
		}
	})
}
