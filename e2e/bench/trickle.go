package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"

	"windlass.dev/windlass/e2e/fleet"
)

const (
	namespace = "bench"
	replicas  = 2
	warmUp    = 5 // Deployments on each way that do not count: the first one makes namespaces and starts watches
	// mostCount is what a member has room for: two nodes of 110 pods each.
	mostCount = 2*110/replicas/2 - warmUp
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

// trickle measures how long a Deployment takes from the hub into three real members, and until the hub shows it ready: one
// a second, everything on this machine. Every member is a sample of its own; what the last of the three takes is shown
// beside it. Every other Deployment is created in the members themselves, past the hub: what that takes is what this
// machine and the members take, in the same minutes, and no hub can be faster than its own create and that one after the
// other.
type trickle struct {
	count    int
	interval time.Duration
	members  int
}

func (t *trickle) scenario() scenario {
	return scenario{
		name: "trickle", what: "1 Deployment a second into 3 real members", takes: "5 minutes",
		flags: func(flags *flag.FlagSet) {
			flags.IntVar(&t.count, "trickle.count", mostCount, "how many Deployments to measure on each of the two ways")
			flags.DurationVar(&t.interval, "trickle.interval", time.Second, "time between two of them")
			flags.IntVar(&t.members, "trickle.members", 3, "how many members; the goals are for three")
		},
		run: func(ctx context.Context, _ *environment) ([]row, error) {
			if t.count < 1 || t.count > mostCount || t.members < 1 {
				return nil, fmt.Errorf("-trickle.count must be 1 to %d, for a member has no room for more, and -trickle.members at least 1", mostCount)
			}
			return nil, run(ctx, t.count, t.members, t.interval)
		},
	}
}

func run(ctx context.Context, count, members int, interval time.Duration) error {
	names := make([]string, members)
	for i := range names {
		names[i] = fmt.Sprintf("member%d", i+1)
	}
	fmt.Printf("starting a hub and %d members\n", members)
	f, err := fleet.Start(ctx, fleet.Config{Members: names, Fsync: true})
	defer f.Stop()
	if err != nil {
		return err
	}
	if err := prepare(ctx, f); err != nil {
		return err
	}
	watching, stop := context.WithCancel(ctx)
	defer stop()
	seen := newSightings(len(f.Members()))
	if err := seen.followAll(watching, f); err != nil {
		return err
	}
	fmt.Printf("creating %d Deployments, one every %v, in turn on the hub and in the members; %d on each way to warm up\n",
		2*(count+warmUp), interval, warmUp)
	used, err := create(ctx, f, seen, count+warmUp, interval)
	if err != nil {
		return err
	}
	if err := seen.wait(ctx, count+warmUp); err != nil {
		return err
	}
	used.report()
	if err := reportStages(ctx, f.Hub().Dynamic, seen); err != nil {
		return err
	}
	return report(seen)
}

func readyReplicas(object *unstructured.Unstructured) int {
	ready, _, _ := unstructured.NestedInt64(object.Object, "status", "readyReplicas")
	return int(ready)
}

func prepareNamespace(ctx context.Context, cluster dynamic.Interface) error {
	ns := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": namespace},
	}}
	if _, err := cluster.Resource(namespaces).Create(ctx, ns, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("making the namespace: %w", err)
	}
	return nil
}

func prepare(ctx context.Context, f *fleet.Fleet) error {
	for _, on := range ways {
		for _, target := range on.targets(f) {
			if err := prepareNamespace(ctx, target); err != nil {
				return err
			}
		}
	}
	policy := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "policy.karmada.io/v1alpha1", "kind": "PropagationPolicy",
		"metadata": map[string]any{"name": "all", "namespace": namespace},
		"spec": map[string]any{
			"resourceSelectors": []any{map[string]any{"apiVersion": "apps/v1", "kind": "Deployment"}},
			"placement":         map[string]any{},
		},
	}}
	if _, err := f.Hub().Dynamic.Resource(policies).Namespace(namespace).Create(ctx, policy, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("making the policy: %w", err)
	}
	return nil
}

// A way is one of the two on which Deployments come into the members.
type way string

const (
	byHub  way = "web"    // created on the hub, under a policy
	direct way = "direct" // created in every member
)

var ways = []way{byHub, direct}

func (w way) name(i int) string { return fmt.Sprintf("%s-%03d", w, i) }

// measures says whether a Deployment came on this way, and not to warm up.
func (w way) measures(name string) bool {
	return strings.HasPrefix(name, string(w)+"-") && name >= w.name(warmUp)
}

func (w way) targets(f *fleet.Fleet) []dynamic.Interface {
	if w == byHub {
		return []dynamic.Interface{f.Hub().Dynamic}
	}
	var members []dynamic.Interface
	for _, member := range f.Members() {
		members = append(members, member.Dynamic)
	}
	return members
}

// create creates count Deployments on each way, in turn, and says who used the processors meanwhile.
func create(ctx context.Context, f *fleet.Fleet, seen *sightings, count int, interval time.Duration) (*turns, error) {
	used := &turns{interval: interval, count: count, by: map[way]consumption{byHub: {}, direct: {}}}
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for i := range len(ways) * count {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-ticker.C:
		}
		on := ways[i%len(ways)]
		if err := used.turnTo(on, f); err != nil {
			return nil, err
		}
		name := on.name(i / len(ways))
		seen.created(name)
		// In all targets at the same time.
		var creates errgroup.Group
		for _, target := range on.targets(f) {
			creates.Go(func() error {
				_, err := target.Resource(deployments).Namespace(namespace).Create(ctx, deployment(name), metav1.CreateOptions{})
				return err
			})
		}
		if err := creates.Wait(); err != nil {
			return nil, fmt.Errorf("creating Deployment %s: %w", name, err)
		}
		seen.answered(name)
	}
	select {
	case <-ctx.Done():
	case <-ticker.C:
	}
	return used, used.turnTo("", f)
}

func deployment(name string) *unstructured.Unstructured {
	labels := map[string]any{"app": name}
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "apps/v1", "kind": "Deployment", "metadata": map[string]any{"name": name},
		"spec": map[string]any{
			"replicas": int64(replicas), "selector": map[string]any{"matchLabels": labels},
			"template": map[string]any{
				"metadata": map[string]any{"labels": labels},
				"spec":     map[string]any{"containers": []any{map[string]any{"name": "web", "image": "example.test/web:1"}}},
			},
		},
	}}
}

// sightings are the moments of every Deployment's way, by this machine's one clock.
type sightings struct {
	members int
	mutex   sync.Mutex
	by      map[string]*sighting
}

type sighting struct {
	created time.Time
	// answered is when the API servers had answered the create.
	answered time.Time
	arrived  []time.Time  // one for each member
	readyIn  map[int]bool // by member; kept of what was created in the members
	ready    time.Time    // everywhere
}

func newSightings(members int) *sightings {
	return &sightings{members: members, by: map[string]*sighting{}}
}

func (s *sightings) created(name string) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.by[name] = &sighting{created: time.Now(), readyIn: map[int]bool{}}
}

func (s *sightings) answered(name string) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.by[name].answered = time.Now()
}

func (s *sightings) arrived(name string) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if one := s.by[name]; one != nil {
		one.arrived = append(one.arrived, time.Now())
	}
}

func (s *sightings) readyIn(name string, member int) {
	s.mutex.Lock()
	everywhere := false
	if one := s.by[name]; one != nil {
		one.readyIn[member] = true
		everywhere = len(one.readyIn) == s.members
	}
	s.mutex.Unlock()
	if everywhere {
		s.readyEverywhere(name)
	}
}

func (s *sightings) readyEverywhere(name string) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if one := s.by[name]; one != nil && one.ready.IsZero() {
		one.ready = time.Now()
	}
}

// followAll notes what becomes of the Deployments, in the members and on the hub.
func (s *sightings) followAll(ctx context.Context, f *fleet.Fleet) error {
	for i, member := range f.Members() {
		err := s.follow(ctx, member.Dynamic, func(event watch.EventType, object *unstructured.Unstructured) {
			if event == watch.Added {
				s.arrived(object.GetName())
			}
			if strings.HasPrefix(object.GetName(), string(direct)) && readyReplicas(object) == replicas {
				s.readyIn(object.GetName(), i)
			}
		})
		if err != nil {
			return err
		}
	}
	return s.follow(ctx, f.Hub().Dynamic, func(_ watch.EventType, object *unstructured.Unstructured) {
		if readyReplicas(object) == replicas*len(f.Members()) {
			s.readyEverywhere(object.GetName())
		}
	})
}

// follow calls see for every event about a Deployment. It returns once the watch stands.
func (s *sightings) follow(ctx context.Context, client dynamic.Interface, see func(watch.EventType, *unstructured.Unstructured)) error {
	watcher, err := client.Resource(deployments).Namespace(namespace).Watch(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("watching Deployments: %w", err)
	}
	go func() {
		for event := range watcher.ResultChan() {
			if object, ok := event.Object.(*unstructured.Unstructured); ok {
				see(event.Type, object)
			}
		}
	}()
	return nil
}

// wait returns when everything that was created is everywhere and ready.
func (s *sightings) wait(ctx context.Context, count int) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for {
		missing := s.missing(count)
		if missing == "" {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.New(missing)
		case <-ticker.C:
		}
	}
}

func (s *sightings) missing(count int) string {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	for i := range len(ways) * count {
		name := ways[i%len(ways)].name(i / len(ways))
		one := s.by[name]
		if one == nil || len(one.arrived) < s.members || one.ready.IsZero() {
			return fmt.Sprintf("Deployment %s did not become ready everywhere, or the hub did not say so", name)
		}
	}
	return ""
}

// samples are how long one way takes, from the create on.
type samples struct{ inOne, inAll, ready []time.Duration }

func (s *sightings) samples(on way) samples {
	var result samples
	for name, one := range s.by {
		if !on.measures(name) {
			continue
		}
		for _, at := range one.arrived[:s.members] {
			result.inOne = append(result.inOne, at.Sub(one.created))
		}
		result.inAll = append(result.inAll, one.arrived[s.members-1].Sub(one.created))
		result.ready = append(result.ready, one.ready.Sub(one.created))
	}
	return result
}

func report(s *sightings) error {
	hub, members := s.samples(byHub), s.samples(direct)
	missed := false
	fmt.Printf("\n%d Deployments on each way, into %d members\n%-44s %9s %9s %9s   %s\n", len(hub.inAll), s.members, "", "p50", "p99", "longest", "goal p50 / p99")
	for _, row := range []struct {
		what    string
		samples []time.Duration
		goal    limits
	}{
		{"create on the hub to object in a member", hub.inOne, arrivedGoal},
		{"  in all members", hub.inAll, limits{}},
		{"  to ready on the hub", hub.ready, readyGoal},
		{"create in the members to object in a member", members.inOne, limits{}},
		{"  in all members", members.inAll, limits{}},
		{"  to ready in all members", members.ready, limits{}},
	} {
		slices.Sort(row.samples)
		p50, p99 := percentile(row.samples, 50), percentile(row.samples, 99)
		verdict := ""
		if row.goal != (limits{}) {
			verdict = fmt.Sprintf("%v / %v  met", row.goal.p50, row.goal.p99)
			if p50 > row.goal.p50 || p99 > row.goal.p99 {
				verdict, missed = fmt.Sprintf("%v / %v  MISSED", row.goal.p50, row.goal.p99), true
			}
		}
		fmt.Println(strings.TrimRight(fmt.Sprintf("%-44s %9s %9s %9s   %s", row.what, inMilliseconds(p50), inMilliseconds(p99),
			inMilliseconds(row.samples[len(row.samples)-1]), verdict), " "))
	}
	if missed {
		return errors.New("a goal was missed")
	}
	return nil
}

func inMilliseconds(d time.Duration) string {
	return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond))
}

// percentile returns the smallest sample that at least p percent do not exceed; samples are sorted.
func percentile(samples []time.Duration, p int) time.Duration {
	return samples[(len(samples)*p+99)/100-1]
}
