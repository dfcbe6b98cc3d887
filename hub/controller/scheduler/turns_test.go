package scheduler

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	clusterv1alpha1 "windlass.dev/windlass/api/cluster/v1alpha1"
	linkv1 "windlass.dev/windlass/api/link/v1"
	policyv1alpha1 "windlass.dev/windlass/api/policy/v1alpha1"
	workv1alpha1 "windlass.dev/windlass/api/work/v1alpha1"
	"windlass.dev/windlass/hub/capacity"
)

// sums are what clusters tell in their status; no agent can be asked, and nothing that is placed shows there.
type sums struct{ *world }

func (sums) Connected(string) bool { return false }

func (sums) Ask(context.Context, string, string, []byte) (*linkv1.Answer, error) {
	return nil, errors.New("not connected")
}

func (s sums) Summary(name string) (*clusterv1alpha1.ResourceSummary, time.Time) {
	cluster, _ := s.MemberClusters.Get("", name)
	return cluster.Status.ResourceSummary, time.Time{}
}

func (sums) Delivery(string, types.NamespacedName) (capacity.Delivery, bool) {
	return capacity.Delivery{}, true
}

func (sums) Placements(func(capacity.Placement)) {}

// atOnce has nobody decide before all have asked, and lets others run between reading the room and deciding.
type atOnce struct {
	Room
	all *sync.WaitGroup
}

func (a atOnce) Gather(ctx context.Context, needs *workv1alpha1.ReplicaRequirements, clusters []string) func() []capacity.Answer {
	known := a.Room.Gather(ctx, needs, clusters)
	a.all.Done()
	a.all.Wait()
	return func() []capacity.Answer {
		answers := known()
		for range 100 {
			runtime.Gosched()
		}
		return answers
	}
}

// newRoom is a world with one cluster of so many processors, and with what really counts its room.
func newRoom(t *testing.T, cpus string) *world {
	w := newWorld()
	w.attach(roomy("a", cpus))
	gatherer, err := capacity.New(capacity.Config{Agents: sums{w}, Clusters: sums{w}})
	if err != nil {
		t.Fatal(err)
	}
	w.controller.Room = gatherer
	return w
}

// waiting stores a binding of one replica of one processor.
func (w *world) waiting(name string, rank int32) types.NamespacedName {
	b := byRoom(1)
	b.Name, b.Spec.Resource.Name = name, name
	b.Spec.SchedulePriority = &workv1alpha1.BindingSchedulePriority{Priority: rank}
	w.PropagationBindings.Put(b)
	return types.NamespacedName{Namespace: b.Namespace, Name: name}
}

// placed are the names of bindings that have a place.
func (w *world) placed(t *testing.T) []string {
	t.Helper()
	names := []string{}
	for _, b := range w.PropagationBindings.List() {
		if len(b.Spec.Clusters) > 0 {
			names = append(names, b.Name)
		} else if condition := scheduledCondition(b); condition != nil && condition.Status != metav1.ConditionFalse {
			t.Errorf("%s has no place and is said to have one: %+v", b.Name, condition)
		}
	}
	slices.Sort(names)
	return names
}

// together reconciles keys, each in a worker of its own, and has all of them ask before the first decides.
func (w *world) together(t *testing.T, keys ...types.NamespacedName) {
	t.Helper()
	room := w.controller.Room
	defer func() { w.controller.Room = room }()
	var asked, done sync.WaitGroup
	asked.Add(len(keys))
	w.controller.Room = atOnce{room, &asked}
	for _, key := range keys {
		done.Go(func() {
			if _, err := w.controller.Reconcile(t.Context(), key); err != nil {
				t.Error(err)
			}
		})
	}
	done.Wait()
}

func TestRoomForTwoIsGivenToTwoOfManyThatAskAtOnce(t *testing.T) {
	w := newRoom(t, "2")
	var keys []types.NamespacedName
	for i := range 14 {
		keys = append(keys, w.waiting(fmt.Sprint("web-", i), 0))
	}
	w.together(t, keys...)
	if placed := w.placed(t); len(placed) != 2 {
		t.Errorf("placed are %v", placed)
	}
}

func TestOfThoseThatAskAtOnceTheOneOfTheHighestRankIsPlaced(t *testing.T) {
	for _, ranks := range [][]int32{{1, 2, 3, 4}, {4, 3, 2, 1}, {2, 4, -1, 3}} {
		w := newRoom(t, "1")
		var keys []types.NamespacedName
		for _, rank := range ranks {
			keys = append(keys, w.waiting(fmt.Sprint("rank-", rank), rank))
		}
		w.together(t, keys...)
		if diff := cmp.Diff([]string{"rank-4"}, w.placed(t)); diff != "" {
			t.Errorf("%v: placed (-want +got):\n%s", ranks, diff)
		}
	}
}

func TestOfThoseThatWaitTheOneOfTheHighestRankGetsTheNewRoomWhoeverIsFirst(t *testing.T) {
	w := newRoom(t, "0")
	keys := []types.NamespacedName{w.waiting("low", 1), w.waiting("middle", 2), w.waiting("high", 3)}
	for _, key := range keys {
		w.reconcile(t, key)
	}
	w.attach(roomy("a", "1"))
	w.controller.roomGrew(w.woken)
	for _, key := range keys[:2] {
		if result := w.reconcile(t, key); result.RequeueAfter != turnAgain {
			t.Errorf("%s is to come again after %s, want %s: one of higher rank is in the queue", key, result.RequeueAfter, turnAgain)
		}
	}
	w.reconcile(t, keys[2])
	if result := w.reconcile(t, keys[0]); result.RequeueAfter != turnAgain {
		t.Error("the lowest does not come after the middle one, which was told to come again")
	}
	w.reconcile(t, keys[1])
	w.reconcile(t, keys[0])
	if diff := cmp.Diff([]string{"high"}, w.placed(t)); diff != "" {
		t.Errorf("placed (-want +got):\n%s", diff)
	}
}

func TestOneOfLowerRankHasItsTurnHoweverOftenThereIsMoreRoom(t *testing.T) {
	w := newRoom(t, "0")
	ranks := map[types.NamespacedName]int{}
	for i := range 4 {
		b := byRoom(2)
		b.Name, b.Spec.Resource.Name = fmt.Sprint("high-", i), fmt.Sprint("high-", i)
		b.Spec.SchedulePriority = &workv1alpha1.BindingSchedulePriority{Priority: 100}
		w.PropagationBindings.Put(b)
		ranks[types.NamespacedName{Namespace: b.Namespace, Name: b.Name}] = 100
	}
	low := w.waiting("low", 0)
	ranks[low] = 0
	for key := range ranks {
		w.reconcile(t, key)
	}
	w.keys(t)
	w.attach(roomy("a", "1"))
	queue := map[types.NamespacedName]bool{}
	for step := 0; len(w.placed(t)) == 0; step++ {
		if step == 4*len(ranks) {
			t.Fatalf("after %d looks nobody has looked at the one that fits", step)
		}
		w.controller.roomGrew(w.woken)
		for _, key := range w.keys(t) {
			namespace, name, _ := strings.Cut(key, "/")
			queue[types.NamespacedName{Namespace: namespace, Name: name}] = true
		}
		first := slices.MaxFunc(slices.Collect(maps.Keys(queue)), func(a, b types.NamespacedName) int { return ranks[a] - ranks[b] })
		delete(queue, first)
		if w.reconcile(t, first).RequeueAfter == turnAgain {
			queue[first] = true
		}
	}
	if diff := cmp.Diff([]string{"low"}, w.placed(t)); diff != "" {
		t.Errorf("placed (-want +got):\n%s", diff)
	}
}

func TestRoomThatGrowsDuringAWaveMakesOneWaveAfterIt(t *testing.T) {
	w := newRoom(t, "0")
	keys := []types.NamespacedName{w.waiting("one", 1), w.waiting("two", 2)}
	for _, key := range keys {
		w.reconcile(t, key)
	}
	w.keys(t)
	expect := func(step string, want int) {
		t.Helper()
		if got := w.keys(t); len(got) != want {
			t.Errorf("%s: %v are woken, want %d", step, got, want)
		}
	}
	w.controller.roomGrew(w.woken)
	expect("the first wave", 2)
	for range 3 {
		w.controller.roomGrew(w.woken)
	}
	expect("during the wave", 0)
	w.reconcile(t, keys[1])
	expect("one of two has had its turn", 0)
	w.PropagationBindings.Drop("shop", "one")
	w.reconcile(t, keys[0])
	expect("the wave is over", 1)
	w.reconcile(t, keys[1])
	expect("what grew during the wave has had its wave", 0)
	w.controller.roomGrew(w.woken)
	expect("it grows again", 1)
}

func TestABindingThatComesDuringAWaveIsInTheNextOne(t *testing.T) {
	w := newRoom(t, "0")
	high := w.waiting("high", 100)
	w.reconcile(t, high)
	w.controller.roomGrew(w.woken)
	low := w.waiting("low", 0)
	stored, _ := w.PropagationBindings.Get(low.Namespace, low.Name)
	w.controller.woken(nil, stored)
	w.controller.roomGrew(w.woken)
	w.keys(t)
	w.reconcile(t, high)
	if got := w.keys(t); len(got) != 1 {
		t.Fatalf("woken are %v, want the second wave", got)
	}
	w.controller.roomGrew(w.woken)
	w.reconcile(t, high)
	if got := w.keys(t); len(got) > 0 {
		t.Errorf("woken are %v before the new one has had its turn", got)
	}
	w.reconcile(t, low)
	if got := w.keys(t); len(got) == 0 {
		t.Error("nobody is woken when it has")
	}
}

func TestOneOfHigherRankThatIsWokenWhileOthersAskComesBeforeThem(t *testing.T) {
	w := newRoom(t, "1")
	low, high := w.waiting("low", 1), w.waiting("high", 3)
	if !w.controller.turns.begin(low, 1) {
		t.Fatal("nobody is before it")
	}
	w.controller.turns.wake(high, 3)
	if w.controller.turns.inTurn(1, func() { t.Error("it takes the room") }) {
		t.Error("it is said to have had its turn")
	}
	w.controller.turns.end(low)
	w.reconcile(t, high)
	w.reconcile(t, low)
	if diff := cmp.Diff([]string{"high"}, w.placed(t)); diff != "" {
		t.Errorf("placed (-want +got):\n%s", diff)
	}
}

func TestNobodyWaitsForABindingThatIsGoneOrNotPlacedByRoomAnyMore(t *testing.T) {
	for reason, change := range map[string]func(w *world){
		"it is gone": func(w *world) { w.PropagationBindings.Drop("shop", "high") },
		"its placement has changed": func(w *world) {
			w.PropagationBindings.Change("shop", "high", func(b *workv1alpha1.PropagationBinding) { b.Spec.Placement = &policyv1alpha1.Placement{} })
		},
	} {
		t.Run(reason, func(t *testing.T) {
			w := newRoom(t, "0")
			low, high := w.waiting("low", 1), w.waiting("high", 3)
			w.reconcile(t, low)
			w.reconcile(t, high)
			w.controller.roomGrew(w.woken)
			change(w)
			w.reconcile(t, high)
			if result := w.reconcile(t, low); result.RequeueAfter < leastPatience {
				t.Errorf("it comes again after %s", result.RequeueAfter)
			}
		})
	}
}

func TestABindingThatIsGoneIsNotRememberedAsPutOff(t *testing.T) {
	w := newWorld()
	w.attach(roomy("a", "2"))
	w.attach(roomy("b", "9"))
	w.awaited = []string{"b"}
	stored := w.PropagationBindings.Put(byRoom(6))
	w.reconcile(t, web)
	if !w.controller.turns.isPutOff(web) {
		t.Fatal("it does not wait for the agent")
	}
	w.PropagationBindings.Drop(web.Namespace, web.Name)
	w.controller.woken(stored, nil)
	if w.controller.turns.isPutOff(web) {
		t.Error("it is remembered for ever")
	}
}

func TestRoomThatWasTakenForADecisionWhichCouldNotBeWrittenIsGivenBack(t *testing.T) {
	w := newRoom(t, "1")
	high, low := w.waiting("high", 2), w.waiting("low", 1)
	w.PropagationBindings.Hold()
	w.PropagationBindings.Change("shop", "high", func(b *workv1alpha1.PropagationBinding) { b.Labels["touched"] = "" })
	w.reconcile(t, high)
	if result := w.reconcile(t, low); result.RequeueAfter != turnAgain {
		t.Error("the place of the one that comes back at once is given to one of lower rank")
	}
	w.PropagationBindings.Release()
	w.PropagationBindings.Drop("shop", "high")
	w.reconcile(t, high)
	w.reconcile(t, low)
	if diff := cmp.Diff([]string{"low"}, w.placed(t)); diff != "" {
		t.Errorf("placed (-want +got):\n%s", diff)
	}
}
