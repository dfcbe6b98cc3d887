package facts

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	linkv1 "windlass.dev/windlass/api/link/v1"
	"windlass.dev/windlass/pkg/estimate"
)

// mostAsked is how many different requirements one question may have, and how many are remembered.
const mostAsked = 64

// Answer answers questions about capacity, and no others. What was asked is remembered, so that the hub can be
// told when there is more room.
func (f *Facts) Answer(_ context.Context, question *linkv1.Question) *linkv1.Answer {
	if question.GetKind() != linkv1.QuestionCapacity {
		return &linkv1.Answer{UnknownKind: true}
	}
	answer, err := f.capacity(question.GetBody())
	if err != nil {
		return &linkv1.Answer{Error: err.Error()}
	}
	return &linkv1.Answer{Body: answer}
}

func (f *Facts) capacity(body []byte) ([]byte, error) {
	var question linkv1.CapacityQuestion
	if err := proto.Unmarshal(body, &question); err != nil {
		return nil, fmt.Errorf("reading the question: %w", err)
	}
	all := question.GetRequirements()
	if len(all) > mostAsked {
		return nil, fmt.Errorf("%d requirements in one question: at most %d are answered", len(all), mostAsked)
	}
	needs := make([]*estimate.Need, len(all))
	for i, words := range all {
		need, err := estimate.Compile(words)
		if err != nil {
			return nil, fmt.Errorf("requirements[%d]: %w", i, err)
		}
		needs[i] = need
	}
	at := f.config.Now() // before the look: what is seen is not older
	rooms, known := f.asked.answer(f.tally, all, needs)
	if !known {
		return nil, errors.New("the member's nodes and pods are not known yet; may the agent list and watch them?")
	}
	answer := &linkv1.CapacityAnswer{ObservedAt: timestamppb.New(at)}
	for _, room := range rooms {
		answer.Rooms = append(answer.Rooms, &linkv1.Room{Replicas: room.Replicas, Slots: room.Slots})
	}
	return proto.Marshal(answer)
}

// Grown is signalled when some question about capacity would be answered with more than it was: once, for all that was
// asked since the signal before. Nothing is compared while nothing was asked, or nothing has changed.
func (f *Facts) Grown() <-chan struct{} { return f.asked.grown }

// asked is what the hub asked about capacity, since it was last told of growth. It may be used concurrently.
type asked struct {
	grown chan struct{}

	mu sync.Mutex
	// answers by the requirements' protobuf, and their keys, the longest unasked first.
	answers map[string]answered
	order   []string
	// compared is the tally's revision at the last comparison.
	compared uint64
}

type answered struct {
	need *estimate.Need
	room estimate.Room
}

// answer looks and remembers in one step, or growth in between would be missed.
func (a *asked) answer(t *tally, words []*linkv1.Requirements, needs []*estimate.Need) (rooms []estimate.Room, known bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if rooms, _, known = t.rooms(needs); !known {
		return nil, false
	}
	for i, room := range rooms {
		a.remember(words[i], answered{needs[i], room})
	}
	return rooms, true
}

// remember is called with the lock held.
func (a *asked) remember(words *linkv1.Requirements, as answered) {
	key, err := proto.MarshalOptions{Deterministic: true}.Marshal(words)
	if err != nil {
		return // not of what was just unmarshalled
	}
	if a.answers == nil {
		a.answers = map[string]answered{}
	}
	if _, known := a.answers[string(key)]; known {
		a.order = slices.DeleteFunc(a.order, func(other string) bool { return other == string(key) })
	} else if len(a.order) == mostAsked {
		delete(a.answers, a.order[0])
		a.order = a.order[1:]
	}
	a.answers[string(key)] = as
	a.order = append(a.order, string(key))
}

// compare signals growth. What was asked is forgotten then: the hub asks again what it still wants to know.
func (a *asked) compare(t *tally) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.answers) == 0 || t.unchanged(a.compared) {
		return
	}
	keys := slices.Collect(maps.Keys(a.answers))
	needs := make([]*estimate.Need, len(keys))
	for i, key := range keys {
		needs[i] = a.answers[key].need
	}
	rooms, revision, known := t.rooms(needs)
	if !known {
		return
	}
	a.compared = revision
	for i, key := range keys {
		if rooms[i].Replicas > a.answers[key].room.Replicas {
			a.answers, a.order = nil, nil
			signal(a.grown)
			return
		}
	}
}
