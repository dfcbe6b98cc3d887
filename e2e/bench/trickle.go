package main

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"

	"windlass.dev/windlass/e2e/fleet"
)

const (
	namespace = "bench"
	replicas  = 2
	warmUp    = 5 // Deployments on each way that do not count
	// everyDirect is after how many Deployments on the hub one is created past it.
	everyDirect = 4
	newImage    = "example.test/web:2"
)

var (
	deployments = schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}
	namespaces  = schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}
	policies    = schema.GroupVersionResource{Group: "policy.karmada.io", Version: "v1alpha1", Resource: "propagationpolicies"}
)

// limits are goals for two percentiles.
type limits struct{ p50, p99 time.Duration }

var (
	arrivedGoal = limits{15 * time.Millisecond, 50 * time.Millisecond}
	readyGoal   = limits{200 * time.Millisecond, 350 * time.Millisecond}
)

// goals are those of one figure; of too few samples the p99 is not judged.
func (l limits) goals() []goal { return []goal{{50, float64(l.p50)}, {99, float64(l.p99)}} }

// trickle measures how long a Deployment takes from the hub into three real members, and until the hub shows it ready: one
// a second, everything on this machine; then as many updates of their image, and then their deletions. Every member is a
// sample of its own; what the last of them takes is shown beside it. Now and then a Deployment is created in the members
// themselves, past the hub: what that takes is what this machine and the members take, in the same minutes, and no hub can
// be faster than its own create and that one after the other.
type trickle struct {
	count    int
	interval time.Duration
	members  int
}

func (t *trickle) scenario() scenario {
	return scenario{
		name: "trickle", what: "1 Deployment of 2 replicas a second into 3 real members, then 1 update and then 1 deletion a second", takes: "12 minutes",
		flags: func(flags *flag.FlagSet) {
			countFlag(flags, &t.count, "trickle.count", leastOfP99, "how many Deployments to measure in a run; a p99 of what the hub shows needs 200 in all runs")
			periodFlag(flags, &t.interval, "trickle.interval", trickleInterval, "time between two of them; the goals are for a second")
			countFlag(flags, &t.members, "trickle.members", goalMembers, "how many members; the goals are for three")
		},
		run: again(t.run),
		limits: "a network between hub and members; what the members need to start pods is in the times until ready; " +
			"in the counts are the user's own requests, and what looks at the hub",
	}
}

// trickleInterval is what the goals are for.
const trickleInterval = time.Second

func (t *trickle) asks() bool { return t.members >= goalMembers && t.interval <= trickleInterval }

func (t *trickle) run(ctx context.Context, env *environment) ([]row, error) {
	f, err := startFleet(ctx, env, t.members)
	defer f.Stop()
	if err != nil {
		return nil, err
	}
	hub, err := typed(f.Hub().API)
	if err != nil {
		return nil, err
	}
	members, err := membersNamed(f, memberNames(t.members))
	if err != nil {
		return nil, err
	}
	if err := openNamespace(ctx, f, hub, namespace, memberNames(t.members)); err != nil {
		return nil, err
	}
	watching, stop := context.WithCancel(ctx)
	defer stop()
	s := newSightings(t.members)
	if err := s.follow(watching, hub, members); err != nil {
		return nil, err
	}
	env.progress("looking at the idle hub for %v", idleFor)
	idle, err := idleCost(ctx, f)
	if err != nil {
		return nil, err
	}
	used, spent, err := t.create(ctx, env, f, hub, members, s)
	if err != nil {
		return nil, err
	}
	rows := append(countRows("creation", spent.over(idle), t.count), used.rows()...)
	rows = append(rows, s.rows(t.asks())...)
	stages, err := stageRows(ctx, f.Hub().Dynamic, s)
	rows = append(rows, stages...)
	if err != nil {
		return rows, err
	}
	return rows, t.changeAndDelete(ctx, env, f, hub, s, idle, &rows)
}

// countRows say what one of so many Deployments cost the hub that something was done with.
func countRows(act string, spent cost, deployments int) []row {
	one := func(what string, unit unit, of float64) row {
		return row{at: onHub + ", " + act, what: what, unit: unit, values: []float64{of / float64(deployments)}}
	}
	return []row{
		one("etcd puts for a Deployment, over an idle hub", count, spent.puts),
		one("  of the policy's status, which is written by time", count, spent.byTime()),
		one("messages for a Deployment, both ways, over an idle hub", count, spent.messages),
		one("bytes for a Deployment, both ways, before TLS, over an idle hub", bytes, spent.bytes),
		one("allocations of the hub for a Deployment, over an idle hub", allocations, spent.allocations),
	}
}

// A way is one of the two on which Deployments come into the members.
type way string

const (
	byHub  way = "web"    // created on the hub, under a policy
	direct way = "direct" // created in every member
)

func (w way) name(i int) string { return fmt.Sprintf("%s-%04d", w, i) }

func (w way) names(count int) []string {
	names := make([]string, count)
	for i := range names {
		names[i] = w.name(i)
	}
	return names
}

// order is on which way the Deployments come, one after the other.
func order(count int) []way {
	var ways []way
	for i := range count + warmUp {
		ways = append(ways, byHub)
		if i < warmUp || i%everyDirect == 0 {
			ways = append(ways, direct)
		}
	}
	return ways
}

// create creates the Deployments, and says who used the processors meanwhile and what those cost that count. It returns when
// all are ready everywhere.
func (t *trickle) create(ctx context.Context, env *environment, f *fleet.Fleet, hub kubernetes.Interface, members []kubernetes.Interface, s *sightings) (used *turns, spent cost, err error) {
	ways := order(t.count)
	env.progress("creating %d Deployments, one every %v, some of them in the members themselves; %d on each way to warm up", len(ways), t.interval, warmUp)
	used = &turns{interval: t.interval, count: map[way]int{}, by: map[way]consumption{byHub: {}, direct: {}}}
	made := map[way]int{}
	var counting *ledger
	ticker := time.NewTicker(t.interval)
	defer ticker.Stop()
	for _, on := range ways {
		// Before it is due: nobody looks at the hub while it is at work.
		if counting == nil && made[byHub] == warmUp && on == byHub {
			if counting, err = openLedger(ctx, f); err != nil {
				return nil, cost{}, err
			}
		}
		if err := next(ctx, ticker); err != nil {
			return nil, cost{}, err
		}
		if err := used.turnTo(on, f); err != nil {
			return nil, cost{}, err
		}
		name := on.name(made[on])
		made[on]++
		targets, arrived, ready := []kubernetes.Interface{hub}, s.created, s.ready
		if on == direct {
			targets, arrived, ready = members, s.createdPast, s.readyPast
		}
		for _, lap := range []*lap{arrived, ready, s.answered} {
			lap.begin(name)
		}
		// In all targets at the same time.
		if err := inAll(ctx, targets, []string{name}, func(ctx context.Context, in kubernetes.Interface, name string) error {
			_, err := in.AppsV1().Deployments(namespace).Create(ctx, deploymentOf(name, replicas), metav1.CreateOptions{})
			return err
		}); err != nil {
			return nil, cost{}, fmt.Errorf("creating Deployment %s: %w", name, err)
		}
		s.answered.saw(0, name)
	}
	if err := next(ctx, ticker); err != nil {
		return nil, cost{}, err
	}
	if err := used.turnTo("", f); err != nil {
		return nil, cost{}, err
	}
	spent, err = counting.closeAfter(ctx, s.created, s.ready, s.createdPast, s.readyPast)
	return used, spent, err
}

// closeAfter waits until all of the laps are over, and the hub has written what it writes some time after, and closes the
// ledger.
func (l *ledger) closeAfter(ctx context.Context, laps ...*lap) (cost, error) {
	if err := waitForLaps(ctx, laps...); err != nil {
		return cost{}, err
	}
	if err := pause(ctx, settling); err != nil {
		return cost{}, err
	}
	return l.close(ctx)
}

// changeAndDelete gives every Deployment a new image, and then deletes all.
func (t *trickle) changeAndDelete(ctx context.Context, env *environment, f *fleet.Fleet, hub kubernetes.Interface, s *sightings, idle cost, rows *[]row) error {
	patch := fmt.Appendf(nil, `{"spec":{"template":{"spec":{"containers":[{"name":"web","image":%q}]}}}}`, newImage)
	for _, act := range []struct {
		what, each, last string
		lap              *lap
		do               func(ctx context.Context, name string) error
	}{
		{"update", "update on the hub to a member that has it", "update on the hub to all members that have it", s.updated, func(ctx context.Context, name string) error {
			_, err := hub.AppsV1().Deployments(namespace).Patch(ctx, name, types.StrategicMergePatchType, patch, metav1.PatchOptions{})
			return err
		}},
		{"deletion", "deletion on the hub to none in a member", "deletion on the hub to none in all members", s.deleted, func(ctx context.Context, name string) error {
			return hub.AppsV1().Deployments(namespace).Delete(ctx, name, metav1.DeleteOptions{})
		}},
	} {
		env.progress("%s: one Deployment every %v", act.what, t.interval)
		counting, err := openLedger(ctx, f)
		if err != nil {
			return err
		}
		ticker := time.NewTicker(t.interval)
		defer ticker.Stop()
		names := byHub.names(t.count + warmUp)
		for _, name := range names {
			if err := next(ctx, ticker); err != nil {
				return err
			}
			act.lap.begin(name)
			if err := act.do(ctx, name); err != nil {
				return fmt.Errorf("%s of Deployment %s: %w", act.what, name, err)
			}
		}
		spent, err := counting.closeAfter(ctx, act.lap)
		if err != nil {
			return err
		}
		*rows = append(*rows, countRows(act.what, spent.over(idle), len(names))...)
		*rows = append(*rows, act.lap.rows(onHub, act.each, act.last, limits{})...)
	}
	return nil
}

func next(ctx context.Context, ticker *time.Ticker) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-ticker.C:
		return nil
	}
}

// A lap is how long each of many things takes until it is seen in each of some places, by this machine's one clock.
type lap struct {
	what  string
	mutex sync.Mutex
	began map[string]time.Time
	at    []map[string]time.Time // for each place
}

func newLap(what string, places int) *lap {
	l := &lap{what: what, began: map[string]time.Time{}, at: make([]map[string]time.Time, places)}
	for i := range l.at {
		l.at[i] = map[string]time.Time{}
	}
	return l
}

func (l *lap) begin(name string) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	l.began[name] = time.Now()
}

// saw counts the first time only, and what has begun.
func (l *lap) saw(place int, name string) {
	now := time.Now()
	l.mutex.Lock()
	defer l.mutex.Unlock()
	if _, begun := l.began[name]; !begun {
		return
	}
	if _, seen := l.at[place][name]; !seen {
		l.at[place][name] = now
	}
}

func (l *lap) missing() error {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	for _, at := range l.at {
		for name := range l.began {
			if _, seen := at[name]; !seen {
				return fmt.Errorf("Deployment %s: %s was not seen everywhere", name, l.what)
			}
		}
	}
	return nil
}

func waitForLaps(ctx context.Context, laps ...*lap) error {
	return poll(ctx, time.Minute, 50*time.Millisecond, func() error {
		for _, l := range laps {
			if err := l.missing(); err != nil {
				return err
			}
		}
		return nil
	})
}

// times are those of each place, and of the last of all places; without those that warmed up.
func (l *lap) times() (each, last []float64) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	for _, name := range slices.Sorted(maps.Keys(l.began)) {
		if warmsUp(name) {
			continue
		}
		var most float64
		for _, at := range l.at {
			took := float64(at[name].Sub(l.began[name]))
			each, most = append(each, took), max(most, took)
		}
		last = append(last, most)
	}
	return each, last
}

func warmsUp(name string) bool {
	for _, on := range []way{byHub, direct} {
		if strings.HasPrefix(name, string(on)+"-") {
			return name < on.name(warmUp)
		}
	}
	return false
}

// rows are the times of each place and of the last; goals are for each place.
func (l *lap) rows(at, each, last string, goals limits) []row {
	one, all := l.times()
	first := row{at: at, what: each, unit: duration, values: one, samples: true}
	if goals != (limits{}) {
		first.goals = goals.goals()
	}
	if len(l.at) == 1 {
		return []row{first}
	}
	return []row{first, {at: at, what: last, unit: duration, values: all, samples: true}}
}

// sightings are the moments of every Deployment's way.
type sightings struct {
	members                int
	created, ready         *lap // created on the hub: in the members, and ready on the hub
	createdPast, readyPast *lap // created in the members
	updated, deleted       *lap
	answered               *lap // what the API servers had answered
}

func newSightings(members int) *sightings {
	return &sightings{
		members: members, created: newLap("its arrival", members), ready: newLap("on the hub that it is ready", 1),
		createdPast: newLap("its arrival", members), readyPast: newLap("that it is ready", members),
		updated: newLap("its new image", members), deleted: newLap("its end", members), answered: newLap("an answer", 1),
	}
}

// follow notes what becomes of the Deployments, in the members and on the hub.
func (s *sightings) follow(ctx context.Context, hub kubernetes.Interface, members []kubernetes.Interface) error {
	for i, member := range members {
		if err := follow(ctx, deploymentSort.watching(member, namespace), "", func(event watch.EventType, object metav1.Object) { s.seen(i, event, object) }); err != nil {
			return fmt.Errorf("watching Deployments in a member: %w", err)
		}
	}
	if err := follow(ctx, deploymentSort.watching(hub, namespace), "", func(_ watch.EventType, object metav1.Object) {
		if replicasReady(object) == replicas*s.members {
			s.ready.saw(0, object.GetName())
		}
	}); err != nil {
		return fmt.Errorf("watching Deployments on the hub: %w", err)
	}
	return nil
}

// seen takes in what is seen in a member. A lap counts only what has begun on it.
func (s *sightings) seen(member int, event watch.EventType, object metav1.Object) {
	name := object.GetName()
	switch event {
	case watch.Added:
		s.created.saw(member, name)
		s.createdPast.saw(member, name)
	case watch.Deleted:
		s.deleted.saw(member, name)
		return
	}
	if replicasReady(object) == replicas {
		s.readyPast.saw(member, name)
	}
	if deployment, ok := object.(*appsv1.Deployment); ok && deployment.Spec.Template.Spec.Containers[0].Image == newImage {
		s.updated.saw(member, name)
	}
}

func replicasReady(object metav1.Object) int {
	deployment, ok := object.(*appsv1.Deployment)
	if !ok {
		return 0
	}
	return int(deployment.Status.ReadyReplicas)
}

const (
	onHub    = "on the hub"
	pastHub  = "past the hub"
	ofStages = "on the hub, since the create began"
)

// rows are the times; there are goals where the sizes ask for them.
func (s *sightings) rows(asks bool) []row {
	arrived, ready := arrivedGoal, readyGoal
	if !asks {
		arrived, ready = limits{}, limits{}
	}
	rows := s.created.rows(onHub, "create on the hub to object in a member", "create on the hub to object in all members", arrived)
	rows = append(rows, s.ready.rows(onHub, "create on the hub to ready on the hub", "", ready)...)
	rows = append(rows, s.createdPast.rows(pastHub, "create in the members to object in a member", "create in the members to object in all members", limits{})...)
	_, readyPast := s.readyPast.times()
	return append(rows, row{at: pastHub, what: "create in the members to ready in all members", unit: duration, values: readyPast, samples: true})
}
