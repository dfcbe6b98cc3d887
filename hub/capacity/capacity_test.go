package capacity

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	clusterv1alpha1 "windlass.dev/windlass/api/cluster/v1alpha1"
	linkv1 "windlass.dev/windlass/api/link/v1"
	workv1alpha1 "windlass.dev/windlass/api/work/v1alpha1"
)

// A world is a hub's link and store, and what the agents would say. Its time is that of synctest, in which nobody waits.
type world struct {
	t *testing.T
	*Gatherer
	registry *prometheus.Registry

	mu         sync.Mutex
	agents     map[string]*fakeAgent
	summaries  map[string]*clusterv1alpha1.ResourceSummary
	toldAt     map[string]time.Time
	deliveries map[string]Delivery // by cluster and binding
	gone       map[types.NamespacedName]bool
	placed     []Placement
}

// A fakeAgent is connected.
type fakeAgent struct {
	// free is for how many replicas of one CPU there is room.
	free int64
	// after is how long it takes to answer, and err what comes instead of the answer.
	after time.Duration
	err   error
	// says replaces the answer's body.
	says func() []byte
	// asked is how often.
	asked int
}

func newWorld(t *testing.T, change ...func(*Config)) *world {
	t.Helper()
	w := &world{
		t: t, registry: prometheus.NewRegistry(), agents: map[string]*fakeAgent{}, summaries: map[string]*clusterv1alpha1.ResourceSummary{}, toldAt: map[string]time.Time{},
		deliveries: map[string]Delivery{}, gone: map[types.NamespacedName]bool{},
	}
	config := Config{Agents: w, Clusters: w, Registerer: w.registry}
	for _, change := range change {
		change(&config)
	}
	var err error
	if w.Gatherer, err = New(config); err != nil {
		t.Fatal(err)
	}
	w.run()
	return w
}

func (w *world) Connected(cluster string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.agents[cluster] != nil
}

func (w *world) Ask(ctx context.Context, cluster, kind string, body []byte) (*linkv1.Answer, error) {
	var question linkv1.CapacityQuestion
	if err := proto.Unmarshal(body, &question); err != nil || kind != linkv1.QuestionCapacity {
		w.t.Errorf("asked for %s: %v", kind, err)
	}
	w.mu.Lock()
	agent := w.agents[cluster]
	agent.asked++
	after, at := agent.after, time.Now()
	w.mu.Unlock()
	if after > 0 {
		select {
		case <-time.After(after):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if agent.err != nil {
		return nil, agent.err
	}
	if agent.says != nil {
		return &linkv1.Answer{Body: agent.says()}, nil
	}
	said, err := proto.Marshal(&linkv1.CapacityAnswer{Rooms: []*linkv1.Room{{Replicas: agent.free, Slots: 100}}, ObservedAt: timestamppb.New(at)})
	return &linkv1.Answer{Body: said}, err
}

func (w *world) Summary(cluster string) (*clusterv1alpha1.ResourceSummary, time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.summaries[cluster], w.toldAt[cluster]
}

func (w *world) Delivery(cluster string, binding types.NamespacedName) (Delivery, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.deliveries[cluster+" "+binding.Name], !w.gone[binding]
}

func (w *world) Placements(each func(Placement)) {
	for _, placement := range w.placed {
		each(placement)
	}
}

func (w *world) change(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
}

func (w *world) asked(cluster string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.agents[cluster].asked
}

// told are sums with so many of 100 CPUs left.
func told(cpus int64) *clusterv1alpha1.ResourceSummary {
	return &clusterv1alpha1.ResourceSummary{
		Allocatable: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("100"), corev1.ResourcePods: resource.MustParse("110")},
		Allocated:   corev1.ResourceList{corev1.ResourceCPU: *resource.NewQuantity(100-cpus, resource.DecimalSI)},
	}
}

func cpus(n string) *workv1alpha1.ReplicaRequirements {
	return &workv1alpha1.ReplicaRequirements{ResourceRequest: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse(n)}}
}

func key(name string) types.NamespacedName {
	return types.NamespacedName{Namespace: "default", Name: name}
}

func targets(text string) []workv1alpha1.TargetCluster {
	var all []workv1alpha1.TargetCluster
	for part := range strings.FieldsSeq(text) {
		target := workv1alpha1.TargetCluster{}
		name, n, _ := strings.Cut(part, "=")
		target.Name = name
		if _, err := fmt.Sscan(n, &target.Replicas); err != nil {
			panic(err)
		}
		all = append(all, target)
	}
	return all
}

// room gathers for replicas of one CPU, and writes the answers as "5 Agent, 3 Summary".
func (w *world) room(clusters ...string) string {
	w.t.Helper()
	var all []string
	for _, answer := range w.Gather(w.t.Context(), cpus("1"), clusters)() {
		if (answer.Why == "") != (answer.Source == FromAgent) {
			w.t.Errorf("%v: why is said exactly when the agent has not answered", answer)
		}
		all = append(all, fmt.Sprint(answer.Replicas, " ", answer.Source))
	}
	return strings.Join(all, ", ")
}

func (w *world) expect(want, got string) {
	w.t.Helper()
	if got != want {
		w.t.Errorf("there is room for %s, want %s", got, want)
	}
}

func TestAllAgentsAreAskedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.agents["a"], w.agents["b"], w.agents["c"] = &fakeAgent{free: 3, after: 400 * time.Millisecond}, &fakeAgent{free: 0, after: 900 * time.Millisecond}, &fakeAgent{free: 7}
		began := time.Now()
		w.expect("7 Agent, 3 Agent, 0 Agent", w.room("c", "a", "b"))
		if took := time.Since(began); took != 900*time.Millisecond {
			t.Errorf("it took %s, want as long as the slowest", took)
		}
	})
}

func TestAnAnswerIsGoodForThoseWhoWaitedForIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func(c *Config) { c.MaxAge = time.Millisecond })
		w.agents["a"], w.agents["b"] = &fakeAgent{free: 3}, &fakeAgent{free: 5, after: 900 * time.Millisecond}
		w.expect("3 Agent, 5 Agent", w.room("a", "b"))
	})
}

func TestWhoDoesNotAnswerInTimeIsKnownBySums(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.agents["a"], w.agents["b"] = &fakeAgent{free: 3, after: 4 * time.Second}, &fakeAgent{free: 5, after: time.Hour}
		w.summaries["a"] = told(9)
		began := time.Now()
		w.expect("9 Summary, 0 Unknown", w.room("a", "b"))
		if took := time.Since(began); took != time.Second {
			t.Errorf("it took %s, want the timeout", took)
		}
		answers := w.Gather(t.Context(), cpus("2"), []string{"a"})()
		if want := []Answer{{Replicas: 4, Source: FromSummary, Why: "its agent has not answered within 1s"}}; cmp.Diff(want, answers) != "" {
			t.Errorf("the next one is told %+v", answers)
		}
		w.expect("9 Summary", w.room("a"))
		if took := time.Since(began); took != time.Second {
			t.Errorf("those that ask next wait, too: %s", took)
		}
		time.Sleep(3*time.Second + time.Millisecond)
		w.expect("3 Agent", w.room("a"))
		if w.asked("a") != 1 || w.asked("b") != 1 {
			t.Errorf("asked %d and %d times, want once: the late answer is used", w.asked("a"), w.asked("b"))
		}
	})
}

func TestAnAgentThatIsTooOldIsAskedAgainNowAndThen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		old := &fakeAgent{free: 3, err: errors.New("its agent does not know this question; upgrade the agent")}
		w.agents["a"], w.summaries["a"] = old, told(9)
		w.expect("9 Summary", w.room("a"))
		if answer := w.Gather(t.Context(), cpus("1"), []string{"a"})()[0]; !strings.Contains(answer.Why, "upgrade the agent") {
			t.Errorf("it is told %+v", answer)
		}
		if w.asked("a") != 1 {
			t.Errorf("asked %d times", w.asked("a"))
		}
		w.change(func() { old.err = nil })
		time.Sleep(askAgain)
		w.expect("3 Agent", w.room("a"))
	})
}

func TestWhoIsNotConnectedIsNotAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.summaries["a"], w.summaries["b"] = told(9), &clusterv1alpha1.ResourceSummary{}
		began := time.Now()
		w.expect("9 Summary, 0 Unknown, 0 Unknown", w.room("a", "b", "c"))
		if took := time.Since(began); took != 0 {
			t.Errorf("it took %s", took)
		}
		w.change(func() { w.agents["a"] = &fakeAgent{free: 2} })
		w.expect("2 Agent", w.room("a"))
	})
}

func TestEqualQuestionsAreOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		agent := &fakeAgent{free: 3, after: 100 * time.Millisecond}
		w.agents["a"] = agent
		var all sync.WaitGroup
		for range 20 {
			all.Go(func() { w.expect("3 Agent", w.room("a")) })
		}
		all.Wait()
		w.change(func() { agent.free = 1 })
		time.Sleep(2 * time.Second)
		w.expect("3 Agent", w.room("a"))
		if w.asked("a") != 1 {
			t.Errorf("asked %d times, want once", w.asked("a"))
		}
		time.Sleep(2 * time.Second)
		w.expect("1 Agent", w.room("a"))

		w.change(func() { agent.free = 4 })
		w.ClusterChanged(cluster("a", told(9)), cluster("a", told(9)))
		w.expect("1 Agent", w.room("a"))
		w.ClusterChanged(cluster("a", told(9)), cluster("a", told(8)))
		w.expect("4 Agent", w.room("a"))
		if got := w.Gather(t.Context(), cpus("3"), []string{"a"})(); got[0].Source != FromAgent || w.asked("a") != 4 {
			t.Errorf("other requirements are another question: %v after %d", got, w.asked("a"))
		}
	})
}

func cluster(name string, summary *clusterv1alpha1.ResourceSummary) *clusterv1alpha1.MemberCluster {
	return &clusterv1alpha1.MemberCluster{ObjectMeta: metav1.ObjectMeta{Name: name}, Status: clusterv1alpha1.ClusterStatus{ResourceSummary: summary}}
}

func TestOfABurstNotEverythingGoesWhereThereWasMostRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.agents["a"], w.agents["b"] = &fakeAgent{free: 20}, &fakeAgent{free: 14}
		placed := map[string]int32{}
		for i := range 10 {
			answers := w.Gather(t.Context(), cpus("1"), []string{"a", "b"})()
			to := "a"
			if answers[1].Replicas > answers[0].Replicas {
				to = "b"
			}
			placed[to] += 3
			w.Assume(key(fmt.Sprint(i)), cpus("1"), nil, targets(to+"=3"))
		}
		if placed["a"] != 18 || placed["b"] != 12 {
			t.Errorf("placed are %v", placed)
		}
		w.expect("2 Agent, 2 Agent", w.room("a", "b"))
		want := `
# HELP windlass_hub_capacity_assumptions Placements whose replicas are taken off their clusters' room because they do not show there yet.
# TYPE windlass_hub_capacity_assumptions gauge
windlass_hub_capacity_assumptions 10
`
		if err := testutil.GatherAndCompare(w.registry, strings.NewReader(want), "windlass_hub_capacity_assumptions"); err != nil {
			t.Error(err)
		}
	})
}

func TestWhatWasPlacedIsTakenOffUntilItShows(t *testing.T) {
	began := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC) // synctest's
	for _, c := range []struct {
		reason string
		does   func(w *world)
		want   string
	}{
		{"nothing has come of it yet", func(w *world) { time.Sleep(time.Minute) }, "6 Agent"},
		{"it is applied, and its pods are not made yet", func(w *world) {
			w.change(func() { w.deliveries["a web"] = Delivery{Generation: 8, Applied: 8, AppliedAt: began} })
			time.Sleep(podsAppear - time.Millisecond)
		}, "6 Agent"},
		{"it is applied for a while", func(w *world) {
			w.change(func() { w.deliveries["a web"] = Delivery{Generation: 8, Applied: 8, AppliedAt: began} })
			time.Sleep(podsAppear)
		}, "10 Agent"},
		{"it is healthy", func(w *world) {
			w.change(func() {
				w.deliveries["a web"] = Delivery{Generation: 8, Applied: 8, AppliedAt: began, Healthy: 8, HealthyAt: began.Add(3 * time.Second)}
			})
			time.Sleep(3 * time.Second)
		}, "10 Agent"},
		{"what was there before is applied, and healthy", func(w *world) {
			w.change(func() {
				w.deliveries["a web"] = Delivery{Generation: 8, Applied: 7, AppliedAt: began, Healthy: 7, HealthyAt: began}
			})
			time.Sleep(time.Minute)
		}, "6 Agent"},
		{"the binding is gone", func(w *world) { w.change(func() { w.gone[key("web")] = true }); time.Sleep(4 * time.Second) }, "10 Agent"},
		{"it never shows", func(w *world) { time.Sleep(5 * time.Minute) }, "10 Agent"},
		{"it is said again", func(w *world) { w.Assume(key("web"), cpus("1"), targets("a=3"), targets("a=7")) }, "6 Agent"},
		{"it is said again when the work is written, and that is applied", func(w *world) {
			w.change(func() { w.deliveries["a web"] = Delivery{Generation: 8, Applied: 7, AppliedAt: began.Add(-time.Hour)} })
			w.Assume(key("web"), cpus("1"), targets("a=3"), targets("a=7"))
			w.change(func() { w.deliveries["a web"] = Delivery{Generation: 8, Applied: 8, AppliedAt: began} })
			time.Sleep(podsAppear)
		}, "10 Agent"},
		{"it grows further", func(w *world) { w.Assume(key("web"), cpus("1"), targets("a=7"), targets("a=9")) }, "4 Agent"},
		{"it shrinks below what shows", func(w *world) { w.Assume(key("web"), cpus("1"), targets("a=7"), targets("a=2")) }, "10 Agent"},
		{"it goes elsewhere", func(w *world) { w.Assume(key("web"), cpus("1"), targets("a=7"), targets("b=7")) }, "10 Agent"},
		{"it grows further, and that is taken back", func(w *world) { w.Assume(key("web"), cpus("1"), targets("a=7"), targets("a=9"))() }, "6 Agent"},
		{"it shrinks, and that is taken back", func(w *world) { w.Assume(key("web"), cpus("1"), targets("a=7"), targets("a=2"))() }, "6 Agent"},
		{"it goes elsewhere, and that is taken back", func(w *world) { w.Assume(key("web"), cpus("1"), targets("a=7"), targets("b=7"))() }, "6 Agent"},
		{"it is applied, and then something else is taken back", func(w *world) {
			w.change(func() { w.deliveries["a web"] = Delivery{Generation: 8, Applied: 8, AppliedAt: began} })
			w.Assume(key("web"), cpus("1"), targets("a=7"), targets("a=9"))()
			time.Sleep(podsAppear)
		}, "10 Agent"},
		{"another one is placed, and that is taken back", func(w *world) { w.Assume(key("other"), cpus("500m"), nil, targets("a=3"))() }, "6 Agent"},
		{"another one is placed", func(w *world) { w.Assume(key("other"), cpus("500m"), nil, targets("a=3")) }, "4 Agent"},
		{"one without requests is placed", func(w *world) { w.Assume(key("other"), nil, nil, targets("a=3")) }, "6 Agent"},
		{"many without requests take all places for pods", func(w *world) { w.Assume(key("other"), nil, nil, targets("a=95")) }, "1 Agent"},
	} {
		t.Run(c.reason, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.agents["a"] = &fakeAgent{free: 10}
				w.change(func() { w.deliveries["a web"] = Delivery{Generation: 7, Applied: 7, AppliedAt: began.Add(-time.Hour)} })
				w.expect("10 Agent", w.room("a"))
				w.Assume(key("web"), cpus("1"), targets("a=3"), targets("a=7"))
				w.expect("6 Agent", w.room("a"))
				c.does(w)
				w.expect(c.want, w.room("a"))
			})
		})
	}
}

func TestWhatWasPlacedInAnotherLifeOfTheHubIsTakenOffUntilItShows(t *testing.T) {
	began := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC) // synctest's
	long := began.Add(-time.Hour)
	for _, c := range []struct {
		reason string
		is     Delivery
		want   string
		later  Delivery
		then   string
	}{
		{"no work is written yet", Delivery{}, "6 Agent",
			Delivery{Generation: 1, Applied: 1, AppliedAt: began}, "10 Agent"},
		{"it is on its way", Delivery{Generation: 1}, "6 Agent", Delivery{Generation: 1}, "6 Agent"},
		{"it is on its way, and arrives", Delivery{Generation: 1}, "6 Agent",
			Delivery{Generation: 1, Applied: 1, AppliedAt: began}, "10 Agent"},
		{"more of it are on their way", Delivery{Generation: 2, Applied: 1, AppliedAt: long, Status: []byte(`{"replicas":3}`)}, "9 Agent",
			Delivery{Generation: 2, Applied: 2, AppliedAt: began}, "10 Agent"},
		{"more of it were placed, and the work is not written yet", Delivery{Generation: 1, Applied: 1, AppliedAt: long, Healthy: 1, HealthyAt: long, Status: []byte(`{"replicas":1}`)}, "7 Agent",
			Delivery{Generation: 2, Applied: 2, AppliedAt: began, Status: []byte(`{"replicas":4}`)}, "10 Agent"},
		{"it is all there", Delivery{Generation: 1, Applied: 1, AppliedAt: long, Status: []byte(`{"replicas":4}`)}, "10 Agent",
			Delivery{Generation: 1, Applied: 1, AppliedAt: long, Status: []byte(`{"replicas":4}`)}, "10 Agent"},
		{"it is there, and its kind does not count", Delivery{Generation: 1, Applied: 1, AppliedAt: long}, "10 Agent",
			Delivery{Generation: 1, Applied: 1, AppliedAt: long}, "10 Agent"},
		{"it ran as a Job's pods", Delivery{Generation: 2, Applied: 1, AppliedAt: long, Status: []byte(`{"active":4}`)}, "10 Agent",
			Delivery{Generation: 2, Applied: 1, AppliedAt: long}, "10 Agent"},
	} {
		t.Run(c.reason, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.agents["a"] = &fakeAgent{free: 10}
				w.deliveries["a web"] = c.is
				w.placed = []Placement{{Binding: key("web"), Needs: cpus("1"), Clusters: targets("a=4 b=90")}}
				w.expect(c.want, w.room("a"))
				w.change(func() { w.deliveries["a web"] = c.later })
				time.Sleep(podsAppear)
				w.expect(c.then, w.room("a"))
			})
		})
	}
}

func TestWhatWasAppliedJustBeforeTheHubEndedIsNotInSumsOfThatTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.summaries["a"] = told(10)
		w.deliveries["a web"] = Delivery{Generation: 1, Applied: 1, AppliedAt: time.Now().Add(-20 * time.Second), Healthy: 1, HealthyAt: time.Now().Add(-10 * time.Second), Status: []byte(`{"replicas":4}`)}
		w.placed = []Placement{{Binding: key("web"), Needs: cpus("1"), Clusters: targets("a=4")}}
		w.expect("6 Summary", w.room("a"))
		w.change(func() { w.agents["a"] = &fakeAgent{free: 6} })
		w.expect("6 Agent", w.room("a"))
	})
}

func TestWhatWasPlacedBeforeAndHasNotComeIsTakenOffWhenItIsSaidAgain(t *testing.T) {
	for _, c := range []struct {
		reason string
		is     Delivery
		want   string
	}{
		{"it was suspended, and nothing was ever sent", Delivery{Generation: 1, Suspended: true}, "3 Agent"},
		{"it was suspended when less was there", Delivery{Generation: 2, Applied: 1, Suspended: true, Status: []byte(`{"replicas":2}`)}, "5 Agent"},
		{"it is sent again, and has not arrived", Delivery{Generation: 3, Applied: 1, Status: []byte(`{"replicas":2}`)}, "5 Agent"},
		{"it is there", Delivery{Generation: 3, Applied: 3, Status: []byte(`{"replicas":2}`)}, "10 Agent"},
	} {
		t.Run(c.reason, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.agents["a"] = &fakeAgent{free: 10}
				w.deliveries["a web"] = c.is
				w.expect("10 Agent", w.room("a"))
				w.Assume(key("web"), cpus("1"), targets("a=7"), targets("a=7"))
				w.expect(c.want, w.room("a"))
			})
		})
	}
}

func TestWhatWasGatheredIsReadLessWhatIsAssumedSince(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.agents["a"] = &fakeAgent{free: 10}
		first := w.Gather(t.Context(), cpus("1"), []string{"a"})
		second := w.Gather(t.Context(), cpus("1"), []string{"a"})
		undo := w.Assume(key("web"), cpus("1"), nil, targets("a=4"))
		time.Sleep(time.Minute) // an answer that was good when it was asked for is not too old while somebody waits for his turn
		if got := second()[0]; got != (Answer{Replicas: 6, Assumed: 4, Source: FromAgent}) {
			t.Errorf("after 4 of 10 are taken it is told %+v", got)
		}
		undo()
		if got := first()[0]; got != (Answer{Replicas: 10, Source: FromAgent}) {
			t.Errorf("after they are given back it is told %+v", got)
		}
	})
}

func TestWhatAnAgentHasAnsweredIsGoodForThoseWhoWereWaiting(t *testing.T) {
	for _, c := range []struct {
		reason string
		does   func(w *world)
	}{
		{"there is more room", func(w *world) { w.Grown("a") }},
		{"the sums change", func(w *world) { w.ClusterChanged(cluster("a", told(9)), cluster("a", told(8))) }},
		{"many others ask", func(w *world) {
			for i := range mostAnswers - 1 {
				w.Gather(w.t.Context(), cpus(fmt.Sprint(i+2)), []string{"a"})()
			}
		}},
	} {
		t.Run(c.reason, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				agent := &fakeAgent{free: 3}
				w.agents["a"], w.summaries["a"] = agent, told(9) // in pieces
				w.Gather(t.Context(), cpus("500m"), []string{"a"})()
				time.Sleep(time.Millisecond)
				known := w.Gather(t.Context(), cpus("1"), []string{"a"})
				time.Sleep(time.Millisecond) // while others are waited for
				c.does(w)
				if got := known()[0]; got != (Answer{Replicas: 3, Source: FromAgent}) {
					t.Errorf("it is told %+v", got)
				}
			})
		})
	}
}

func TestWhatIsTakenBackOfAClusterThatIsGoneIsNotCounted(t *testing.T) {
	another := cluster("a", told(1))
	another.UID = "another"
	for reason, next := range map[string]*clusterv1alpha1.MemberCluster{"nobody has its name": nil, "another has its name": another} {
		t.Run(reason, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.agents["a"] = &fakeAgent{free: 10}
				w.room("a")
				w.Assume(key("web"), cpus("1"), nil, targets("a=4"))
				undo := w.Assume(key("web"), cpus("1"), targets("a=4"), targets("a=6"))
				w.ClusterChanged(cluster("a", told(1)), next)
				undo()
				w.expect("10 Agent", w.room("a"))
				if got := w.assumptions(); got != 0 {
					t.Errorf("%v are assumed of a cluster that is gone", got)
				}
			})
		})
	}
}

func TestAnAnswerThatIsOlderThanWhatShowsIsLessThat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func(c *Config) { c.MaxAge = time.Hour })
		agent := &fakeAgent{free: 10}
		w.agents["a"] = agent
		w.expect("10 Agent", w.room("a"))
		w.Assume(key("web"), cpus("1"), nil, targets("a=4"))
		w.expect("6 Agent", w.room("a"))
		time.Sleep(time.Millisecond)
		w.change(func() {
			agent.free = 6 // as it shows now
			w.deliveries["a web"] = Delivery{Generation: 1, Healthy: 1, HealthyAt: time.Now()}
		})
		w.Gather(t.Context(), cpus("2"), []string{"a"})()
		w.expect("6 Agent", w.room("a")) // neither 10, as was answered, nor 2
	})
}

func TestAnAnswerThatIsOvertakenOnTheWayIsLessWhatItLacks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		agent := &fakeAgent{free: 10}
		w.agents["a"] = agent
		w.expect("10 Agent", w.room("a"))
		time.Sleep(4 * time.Second)
		agent.after = 500 * time.Millisecond
		var slow sync.WaitGroup
		slow.Go(func() { w.expect("6 Agent", w.room("a")) }) // 10 is of before
		synctest.Wait()
		time.Sleep(time.Millisecond)
		w.Assume(key("web"), cpus("1"), nil, targets("a=4"))
		w.change(func() {
			agent.after = 0
			w.deliveries["a web"] = Delivery{Generation: 1, Healthy: 1, HealthyAt: time.Now()}
		})
		w.Gather(t.Context(), cpus("2"), []string{"a"})()
		slow.Wait()
	})
}

func TestSumsSettleWhatIsAssumedAsWell(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.summaries["a"], w.toldAt["a"] = told(10), time.Now()
		w.expect("10 Summary", w.room("a"))
		w.Assume(key("web"), cpus("1"), nil, targets("a=4"))
		w.expect("6 Summary", w.room("a"))
		w.change(func() {
			w.deliveries["a web"] = Delivery{Generation: 1, Healthy: 1, HealthyAt: time.Now().Add(time.Second)}
		})
		w.expect("6 Summary", w.room("a"))
		w.change(func() { w.summaries["a"], w.toldAt["a"] = told(6), time.Now().Add(2*time.Second) })
		w.expect("6 Summary", w.room("a"))
	})
}

func TestWhatIsThereOfABindingThatIsGoneIsAskedAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		agent := &fakeAgent{free: 10}
		w.agents["a"] = agent
		w.expect("10 Agent", w.room("a"))
		w.Assume(key("web"), cpus("1"), nil, targets("a=4"))
		w.change(func() {
			agent.free = 7 // 3 of its pods are still there
			w.gone[key("web")] = true
		})
		w.Gather(t.Context(), cpus("2"), []string{"a"})()
		w.expect("7 Agent", w.room("a"))
	})
}

func TestSumsAreLessWhatTheAgentHasShownSince(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.agents["a"] = &fakeAgent{free: 50}
		w.summaries["a"], w.toldAt["a"] = told(100), time.Now()
		w.room("a")
		const placed = mostShown + 10
		for i := range placed {
			name := fmt.Sprint("web-", i)
			w.Assume(key(name), cpus("1"), nil, targets("a=1"))
			time.Sleep(4 * time.Second)
			w.change(func() { w.deliveries["a "+name] = Delivery{Generation: 1, Healthy: 1, HealthyAt: time.Now()} })
			w.expect("50 Agent", w.room("a"))
		}
		if got := w.assumptions(); got != 0 {
			t.Errorf("%v are assumed after the agent has shown them", got)
		}
		w.change(func() { delete(w.agents, "a") })
		time.Sleep(4 * time.Second)
		w.expect(fmt.Sprint(100-placed, " Summary"), w.room("a"))
		if kept := len(w.members["a"].shown); kept > mostShown {
			t.Errorf("%d moments are kept", kept)
		}
		w.change(func() { w.summaries["a"], w.toldAt["a"] = told(100-placed), time.Now() })
		w.expect(fmt.Sprint(100-placed, " Summary"), w.room("a"))
		time.Sleep(2 * recent)
		w.expect(fmt.Sprint(100-placed, " Summary"), w.room("a"))
		if kept := len(w.members["a"].shown); kept != 0 {
			t.Errorf("%d moments are kept that the sums show", kept)
		}
	})
}

func TestOfABurstNoMoreIsTakenOffThanAnAnswerLacks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.agents["a"] = &fakeAgent{free: 50}
		w.room("a")
		// Each begins to show less than a second after the one before.
		const placed = 20
		for i := range placed {
			name := fmt.Sprint("web-", i)
			w.Assume(key(name), cpus("1"), nil, targets("a=1"))
			w.Gather(t.Context(), cpus("1"), []string{"a"})()
			time.Sleep(800 * time.Millisecond)
			w.change(func() { w.deliveries["a "+name] = Delivery{Generation: 1, Healthy: 1, HealthyAt: time.Now()} })
			w.Gather(t.Context(), cpus(fmt.Sprint(i+2)), []string{"a"})() // which shows it
			// An answer is good for three seconds, in which four began to show; and one more may have together with the first of them.
			if known := w.Gather(t.Context(), cpus("1"), []string{"a"})()[0]; known.Source != FromAgent || known.Replicas < 50-5 {
				t.Fatalf("when %d were placed there is room for %d, want at least 45: an answer is said to lack what it has", i+1, known.Replicas)
			}
		}
	})
}

func TestWhatIsAssumedIsForgottenWithoutAQuestion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.Assume(key("nobody"), cpus("1"), nil, targets("a=4"))
		if w.assumptions() != 0 {
			t.Error("it is assumed of a cluster of which nobody has asked")
		}
		w.room("a", "b")
		w.Assume(key("web"), cpus("1"), nil, targets("a=4 b=2"))
		w.ClusterChanged(cluster("b", nil), nil)
		if got := w.assumptions(); got != 1 {
			t.Errorf("%v are assumed after a cluster is gone, want 1", got)
		}
		time.Sleep(5*time.Minute + sweeping)
		if got := w.assumptions(); got != 0 {
			t.Errorf("%v are assumed for ever", got)
		}
		if left := w.members["a"].taken; len(left) != 0 {
			t.Errorf("%v is taken for ever", left)
		}
	})
}

// listen returns what tells how often it was said, until the next moment, that there is more room.
func (w *world) listen() func() int {
	var told atomic.Int32
	w.Listen(func() { told.Add(1) })
	return func() int {
		time.Sleep(2 * damping)
		return int(told.Swap(0))
	}
}

func TestThatThereIsMoreRoomIsSaidOnceASecondHoweverOftenAndInHoweverManyClusters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		var told atomic.Int32
		w.Listen(func() { told.Add(1) })
		for range 1000 {
			for i := range 5 {
				w.Grown(fmt.Sprint("member-", i))
			}
			time.Sleep(10 * time.Millisecond)
		}
		if got := told.Load(); got < 10 || got > 11 {
			t.Errorf("within ten seconds the listener is told %d times", got)
		}
	})
}

func TestMoreRoomIsPassedOn(t *testing.T) {
	for _, c := range []struct {
		reason   string
		speaks   bool // the agent answers
		old, new *clusterv1alpha1.ResourceSummary
		want     bool
	}{
		{"sums with more of something left, of an agent that can't say so", false, told(1), told(2), true},
		{"sums with less left", false, told(2), told(1), false},
		{"the first sums", false, nil, told(1), true},
		{"an agent that can say so", true, told(1), told(2), false},
	} {
		t.Run(c.reason, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				grown := w.listen()
				if c.speaks {
					w.agents["a"] = &fakeAgent{}
				}
				w.room("a")
				w.ClusterChanged(cluster("a", c.old), cluster("a", c.new))
				if told := grown(); (told > 0) != c.want {
					t.Errorf("told %d times", told)
				}
			})
		})
	}
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		grown := w.listen()
		agent := &fakeAgent{free: 1}
		w.agents["a"] = agent
		w.expect("1 Agent", w.room("a"))
		w.change(func() { agent.free = 5 })
		w.Grown("a")
		w.expect("5 Agent", w.room("a"))
		if told := grown(); told != 1 {
			t.Errorf("told %d times", told)
		}
		w.change(func() { agent.err = errors.New("the member's nodes and pods are not known yet") })
		time.Sleep(4 * time.Second)
		w.expect("0 Unknown", w.room("a"))
		w.ClusterChanged(cluster("a", told(1)), cluster("a", told(2)))
		if told := grown(); told != 1 {
			t.Errorf("told %d times: an agent that does not say anything any more is known by sums", told)
		}
		w.agents["b"] = &fakeAgent{err: errors.New("its agent does not know this question")}
		w.expect("0 Unknown", w.room("b"))
		w.agents["b"] = &fakeAgent{free: 2} // has connected anew
		w.Grown("b")
		w.expect("2 Agent", w.room("b"))
	})
}

func TestAnswersThatMakeNoSenseAreNone(t *testing.T) {
	marshal := func(rooms ...*linkv1.Room) func() []byte {
		return func() []byte {
			said, err := proto.Marshal(&linkv1.CapacityAnswer{Rooms: rooms})
			if err != nil {
				t.Fatal(err)
			}
			return said
		}
	}
	for reason, says := range map[string]func() []byte{
		"no room":                marshal(),
		"two rooms":              marshal(&linkv1.Room{}, &linkv1.Room{}),
		"less than nothing":      marshal(&linkv1.Room{Replicas: -1}),
		"bytes that are no such": func() []byte { return []byte{0xff} },
	} {
		t.Run(reason, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.agents["a"] = &fakeAgent{says: says}
				w.expect("0 Unknown", w.room("a"))
			})
		})
	}
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.agents["a"] = &fakeAgent{says: marshal(&linkv1.Room{Replicas: 1 << 40})}
		w.expect("2147483647 Agent", w.room("a"))
	})
}

func TestRequirementsThatCannotBeReadHaveNoAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.agents["a"] = &fakeAgent{free: 3}
		needs := &workv1alpha1.ReplicaRequirements{NodeClaim: &workv1alpha1.NodeClaim{HardNodeAffinity: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{
			{MatchExpressions: []corev1.NodeSelectorRequirement{{Key: "zone", Operator: "Resembles"}}},
		}}}}
		got := w.Gather(t.Context(), needs, []string{"a"})()
		if got[0].Source != Unknown || !strings.Contains(got[0].Why, "nodeAffinity") {
			t.Errorf("it is told %+v", got)
		}
	})
}

func TestWhoeverIsStoppedWaitsForNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.agents["a"], w.summaries["a"] = &fakeAgent{free: 3, after: 500 * time.Millisecond}, told(9)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		began := time.Now()
		if got := w.Gather(ctx, cpus("1"), []string{"a"})(); got[0].Source != FromSummary || got[0].Why != "its answer is under way" || time.Since(began) != 0 {
			t.Errorf("after %s it is told %+v", time.Since(began), got)
		}
		w.expect("3 Agent", w.room("a")) // the question went on
	})
}

func TestWhatIsKeptIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func(c *Config) { c.MaxAge = time.Hour })
		w.agents["a"] = &fakeAgent{free: 3}
		for i := range mostShapes + 10 {
			w.Gather(t.Context(), cpus(fmt.Sprint(i+1)), []string{"a"})()
		}
		if shapes, answers := len(w.shapes), len(w.members["a"].answers); shapes > mostShapes || answers > mostAnswers {
			t.Errorf("%d shapes and %d answers are kept", shapes, answers)
		}
		if flights := len(w.members["a"].flights); flights != 0 {
			t.Errorf("%d questions are under way for ever", flights)
		}
	})
}

func BenchmarkGatherWhatIsKnownOfAThousandClusters(b *testing.B) {
	agents := map[string]*fakeAgent{}
	var clusters []string
	for i := range 1000 {
		clusters = append(clusters, fmt.Sprint("cluster-", i))
		agents[clusters[i]] = &fakeAgent{free: int64(i)}
	}
	w := &world{agents: agents}
	g, err := New(Config{Agents: w, Clusters: w, MaxAge: time.Hour})
	if err != nil {
		b.Fatal(err)
	}
	needs := cpus("500m")
	g.Gather(b.Context(), needs, clusters)()
	b.ReportAllocs()
	for b.Loop() {
		g.Gather(b.Context(), needs, clusters)()
	}
}

// restart has a new process begin, which finds clusters in its store.
func (w *world) restart(clusters ...*clusterv1alpha1.MemberCluster) {
	w.t.Helper()
	var err error
	if w.Gatherer, err = New(Config{Agents: w, Clusters: w}); err != nil {
		w.t.Fatal(err)
	}
	w.Expect(clusters)
	w.run()
}

// run runs the gatherer of this moment until the test is over.
func (w *world) run() {
	ctx, cancel := context.WithCancel(context.Background())
	ended, present := make(chan error), w.Gatherer
	go func() { ended <- present.Run(ctx) }()
	w.t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			w.t.Error(err)
		}
	})
}

func TestAfterAStartAgentsThatWereConnectedBeforeAreAwaited(t *testing.T) {
	ready := func(status metav1.ConditionStatus, reason string) []metav1.Condition {
		return []metav1.Condition{{Type: clusterv1alpha1.ClusterReady, Status: status, Reason: reason}}
	}
	for _, c := range []struct {
		reason string
		was    []metav1.Condition
		does   func(w *world)
		want   bool
	}{
		{"it was connected", ready(metav1.ConditionTrue, "AgentConnected"), nil, true},
		{"it was connected, and is not back for long", ready(metav1.ConditionTrue, "AgentConnected"), func(*world) { time.Sleep(comeBack - time.Nanosecond) }, true},
		{"it was connected, and does not come back", ready(metav1.ConditionTrue, "AgentConnected"), func(*world) { time.Sleep(comeBack) }, false},
		{"it comes back", ready(metav1.ConditionTrue, "AgentConnected"), func(w *world) {
			w.change(func() { w.agents["a"] = &fakeAgent{free: 2} })
			w.Grown("a")
		}, false},
		{"it comes back, and goes again", ready(metav1.ConditionTrue, "AgentConnected"), func(w *world) { w.Grown("a"); time.Sleep(time.Millisecond) }, false},
		{"it is removed", ready(metav1.ConditionTrue, "AgentConnected"), func(w *world) { w.ClusterChanged(cluster("a", nil), nil) }, false},
		{"it was lost before", ready(metav1.ConditionTrue, clusterv1alpha1.ReadyConnectionLost), nil, false},
		{"it was away before", ready(metav1.ConditionUnknown, "AgentNotConnected"), nil, false},
		{"it has never joined", nil, nil, false},
	} {
		t.Run(c.reason, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.summaries["a"] = told(9)
				a := cluster("a", told(9))
				a.Status.Conditions = c.was
				w.restart(a)
				if c.does != nil {
					c.does(w)
				}
				if got := w.Gather(t.Context(), cpus("1"), []string{"a"})()[0]; got.Awaited != c.want {
					t.Errorf("the answer is %+v", got)
				}
			})
		})
	}
}

func TestAnAgentThatComesBackWhileOthersAreAskedIsAwaitedByThoseWhoCouldNotAskIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.agents["slow"] = &fakeAgent{free: 3, after: 500 * time.Millisecond}
		w.summaries["a"] = told(9)
		a := cluster("a", told(9))
		a.Status.Conditions = []metav1.Condition{{Type: clusterv1alpha1.ClusterReady, Status: metav1.ConditionTrue}}
		w.restart(a)
		time.AfterFunc(100*time.Millisecond, func() {
			w.change(func() { w.agents["a"] = &fakeAgent{free: 2} })
			w.Grown("a")
		})
		if got := w.Gather(t.Context(), cpus("1"), []string{"a", "slow"})(); !got[0].Awaited || got[1].Awaited {
			t.Errorf("the answers are %+v", got)
		}
		w.expect("2 Agent", w.room("a"))
	})
}

func TestItIsToldWhenAnAgentIsNotAwaitedAnyLonger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a := cluster("a", nil)
		a.Status.Conditions = []metav1.Condition{{Type: clusterv1alpha1.ClusterReady, Status: metav1.ConditionTrue}}
		w.restart(a)
		var told atomic.Int32
		w.Listen(func() { told.Add(1) })
		time.Sleep(comeBack - time.Nanosecond)
		if told.Load() != 0 {
			t.Error("it is told while the agent may come back")
		}
		time.Sleep(damping)
		if got := told.Load(); got != 1 {
			t.Errorf("it is told %d times", got)
		}
	})
}
