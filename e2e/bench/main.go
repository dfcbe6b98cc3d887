// Command bench measures how long a Deployment takes from the hub into three real members, and until
// the hub shows it ready: one a second, everything on this machine. Run it by `make bench`.
//
// It exits 1 when a goal is missed. Every member is a sample of its own; what the last of the three
// takes is shown beside it. With -direct the same Deployments are created in the members themselves,
// past the hub, which idles beside them: what that takes, nothing on this machine can beat.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
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
	warmUp    = 5 // Deployments that do not count: the first one makes namespaces and starts watches
)

var (
	deployments = schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}
	namespaces  = schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}
	policies    = schema.GroupVersionResource{Group: "policy.karmada.io", Version: "v1alpha1", Resource: "propagationpolicies"}
)

type goal struct{ p50, p99 time.Duration }

var (
	arrivedGoal = goal{15 * time.Millisecond, 50 * time.Millisecond}
	readyGoal   = goal{200 * time.Millisecond, 350 * time.Millisecond}
)

func main() {
	count := flag.Int("count", 60, "how many Deployments to measure")
	interval := flag.Duration("interval", time.Second, "time between two of them")
	direct := flag.Bool("direct", false, "create the Deployments in the members themselves, to see what the machine and the members take")
	flag.Parse()
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt)
	defer cancel()
	if err := run(ctx, *count, *interval, *direct); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, count int, interval time.Duration, direct bool) error {
	fmt.Println("starting a hub and three members")
	f, err := fleet.Start(ctx, fleet.Config{Members: []string{"member1", "member2", "member3"}, Fsync: true})
	defer f.Stop()
	if err != nil {
		return err
	}
	if err := prepare(ctx, f.Hub().Dynamic); err != nil {
		return err
	}
	targets := []dynamic.Interface{f.Hub().Dynamic}
	if direct {
		targets = nil
		for _, member := range f.Members() {
			targets = append(targets, member.Dynamic)
			if err := prepareNamespace(ctx, member.Dynamic); err != nil {
				return err
			}
		}
	}
	watching, stop := context.WithCancel(ctx)
	defer stop()
	seen := newSightings(len(f.Members()))
	for i, member := range f.Members() {
		if err := seen.follow(watching, member.Dynamic, func(event watch.EventType, object *unstructured.Unstructured) {
			if event == watch.Added {
				seen.arrived(object.GetName())
			}
			if direct && readyReplicas(object) == replicas {
				seen.readyIn(object.GetName(), i)
			}
		}); err != nil {
			return err
		}
	}
	if err := seen.follow(watching, f.Hub().Dynamic, func(_ watch.EventType, object *unstructured.Unstructured) {
		if readyReplicas(object) == replicas*len(f.Members()) {
			seen.readyEverywhere(object.GetName())
		}
	}); err != nil {
		return err
	}
	fmt.Printf("creating %d Deployments, one every %v, %d of them to warm up\n", count+warmUp, interval, warmUp)
	began := time.Now()
	before, err := usage(f)
	if err != nil {
		return err
	}
	if err := create(ctx, targets, seen, count+warmUp, interval); err != nil {
		return err
	}
	if err := seen.wait(ctx, count+warmUp); err != nil {
		return err
	}
	after, err := usage(f)
	if err != nil {
		return err
	}
	reportUsage(before, after, time.Since(began), count+warmUp)
	if direct {
		return report(seen, "create in the members to object in a member", "create in the members to object in all members", "create in the members to ready in all of them")
	}
	if err := reportStages(ctx, f.Hub().Dynamic, seen); err != nil {
		return err
	}
	return report(seen, "create on the hub to object in a member", "create on the hub to object in all members", "create on the hub to ready on the hub")
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

func prepare(ctx context.Context, hub dynamic.Interface) error {
	if err := prepareNamespace(ctx, hub); err != nil {
		return err
	}
	policy := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "policy.karmada.io/v1alpha1", "kind": "PropagationPolicy",
		"metadata": map[string]any{"name": "all", "namespace": namespace},
		"spec": map[string]any{
			"resourceSelectors": []any{map[string]any{"apiVersion": "apps/v1", "kind": "Deployment"}},
			"placement":         map[string]any{},
		},
	}}
	if _, err := hub.Resource(policies).Namespace(namespace).Create(ctx, policy, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("making the policy: %w", err)
	}
	return nil
}

func nameOf(i int) string { return fmt.Sprintf("web-%03d", i) }

// create creates every Deployment in all targets at the same time.
func create(ctx context.Context, targets []dynamic.Interface, seen *sightings, count int, interval time.Duration) error {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for i := range count {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
		labels := map[string]any{"app": nameOf(i)}
		object := &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "apps/v1", "kind": "Deployment", "metadata": map[string]any{"name": nameOf(i)},
			"spec": map[string]any{
				"replicas": int64(replicas), "selector": map[string]any{"matchLabels": labels},
				"template": map[string]any{
					"metadata": map[string]any{"labels": labels},
					"spec":     map[string]any{"containers": []any{map[string]any{"name": "web", "image": "example.test/web:1"}}},
				},
			},
		}}
		seen.created(nameOf(i))
		var creates errgroup.Group
		for _, target := range targets {
			creates.Go(func() error {
				_, err := target.Resource(deployments).Namespace(namespace).Create(ctx, object, metav1.CreateOptions{})
				return err
			})
		}
		if err := creates.Wait(); err != nil {
			return fmt.Errorf("creating Deployment %s: %w", nameOf(i), err)
		}
		seen.answered(nameOf(i))
	}
	return nil
}

// sightings are the moments of every Deployment's way, by this machine's one clock.
type sightings struct {
	members int
	mutex   sync.Mutex
	by      map[string]*sighting
}

type sighting struct {
	created time.Time
	// answered is when the API server had answered the create.
	answered time.Time
	arrived  []time.Time  // one for each member
	readyIn  map[int]bool // by member; kept of what was created in members directly
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
	for i := range count {
		one := s.by[nameOf(i)]
		if one == nil || len(one.arrived) < s.members || one.ready.IsZero() {
			return fmt.Sprintf("Deployment %s did not become ready everywhere, or the hub did not say so", nameOf(i))
		}
	}
	return ""
}

// report names the three rows in this order: an object in a member, objects in all members, ready everywhere.
func report(s *sightings, inOne, inAll, readyRow string) error {
	var each, arrived, ready []time.Duration
	for name, one := range s.by {
		if name < nameOf(warmUp) {
			continue
		}
		for _, at := range one.arrived[:s.members] {
			each = append(each, at.Sub(one.created))
		}
		arrived = append(arrived, one.arrived[s.members-1].Sub(one.created))
		ready = append(ready, one.ready.Sub(one.created))
	}
	missed := false
	fmt.Printf("\n%d Deployments into %d members\n%-44s %9s %9s %9s   %s\n", len(arrived), s.members, "", "p50", "p99", "longest", "goal p50 / p99")
	for _, row := range []struct {
		what    string
		samples []time.Duration
		goal    goal
	}{
		{inOne, each, arrivedGoal},
		{inAll, arrived, goal{}},
		{readyRow, ready, readyGoal},
	} {
		slices.Sort(row.samples)
		p50, p99 := percentile(row.samples, 50), percentile(row.samples, 99)
		verdict := ""
		if row.goal != (goal{}) {
			verdict = fmt.Sprintf("%v / %v  met", row.goal.p50, row.goal.p99)
			if p50 > row.goal.p50 || p99 > row.goal.p99 {
				verdict, missed = fmt.Sprintf("%v / %v  MISSED", row.goal.p50, row.goal.p99), true
			}
		}
		fmt.Printf("%-44s %9s %9s %9s   %s\n", row.what, inMilliseconds(p50), inMilliseconds(p99),
			inMilliseconds(row.samples[len(row.samples)-1]), verdict)
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
