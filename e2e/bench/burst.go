package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"

	"windlass.dev/windlass/e2e/fleet"
	"windlass.dev/windlass/hack/cluster"
)

// roomyNode has room for all pods that a scenario makes.
var roomyNode = cluster.Capacity{CPU: "1000", Memory: "4000Gi", Pods: "2000"}

// A burst is what came of many objects that a user created on the hub at once, and deleted again when the hub had
// said of all of them that they are well.
type burst struct {
	answered time.Duration // from the first create until the last was answered
	arrived  time.Duration // until the last object was in the last member
	ready    time.Duration // until the hub's own objects say the last of them is ready; of Deployments only
	arriving consumption   // processor time from the first create until the last object was in the last member
	summed   time.Duration // until the policy says so of all
	gone     time.Duration // from the first deletion until nothing of them was left in any member
	ended    time.Duration // until nothing of them was left on the hub

	creating, deleting cost

	past floor
}

// A floor is what the same objects take that are created in the members themselves, past the hub: no hub can be faster.
type floor struct {
	arrived, ready    time.Duration
	arriving, members time.Duration // processor time of the members until all had arrived, and until all were ready
}

// A sort of object of which many are created at once.
type sort struct {
	what string
	// watch tells of all objects in a namespace; readiness is nil when there is none.
	watch  func(ctx context.Context, in kubernetes.Interface, namespace string, options metav1.ListOptions) (watch.Interface, error)
	create func(ctx context.Context, in kubernetes.Interface, namespace, name string) error
	delete func(ctx context.Context, in kubernetes.Interface, namespace, name string) error
	ready  func(object metav1.Object, members int) bool
	// made counts what a cluster has made for objects of this sort in a namespace, and takes away some time after them;
	// nil when it makes nothing.
	made func(ctx context.Context, in kubernetes.Interface, namespace string) (int, error)
}

func (s sort) watching(in kubernetes.Interface, namespace string) watching {
	return func(ctx context.Context, since string) (watch.Interface, error) {
		return s.watch(ctx, in, namespace, metav1.ListOptions{ResourceVersion: since})
	}
}

var configMapSort = sort{
	what: "ConfigMaps",
	watch: func(ctx context.Context, in kubernetes.Interface, namespace string, options metav1.ListOptions) (watch.Interface, error) {
		return in.CoreV1().ConfigMaps(namespace).Watch(ctx, options)
	},
	create: func(ctx context.Context, in kubernetes.Interface, namespace, name string) error {
		_, err := in.CoreV1().ConfigMaps(namespace).Create(ctx, configMapOf(name), metav1.CreateOptions{})
		return err
	},
	delete: func(ctx context.Context, in kubernetes.Interface, namespace, name string) error {
		return in.CoreV1().ConfigMaps(namespace).Delete(ctx, name, metav1.DeleteOptions{})
	},
}

// burst creates names at once, waits until the hub says that all are well, deletes them, and waits until nothing of
// them is left. Only in the members named they are awaited.
func (s sort) burst(ctx context.Context, f *fleet.Fleet, env *environment, namespace string, names, into []string) (*burst, error) {
	hub, err := typed(f.Hub().API)
	if err != nil {
		return nil, err
	}
	if err := openNamespace(ctx, f, hub, namespace, into); err != nil {
		return nil, err
	}
	watching, stop := context.WithCancel(ctx)
	defer stop()
	arrived, gone, _, err := s.followMembers(watching, f, namespace, names, into)
	if err != nil {
		return nil, err
	}
	ready, err := s.followHub(watching, hub, namespace, names, len(into))
	if err != nil {
		return nil, err
	}
	result := &burst{}
	if result.past, err = s.pastTheHub(ctx, f, namespace+"-past", names, into); err != nil {
		return nil, err
	}
	if err := s.untilCollected(ctx, f, env, namespace+"-past", into); err != nil {
		return nil, err
	}
	profiled := env.profileFleet(ctx, f, namespace+"-creation")
	if err := s.createAll(ctx, f, hub, namespace, names, arrived, ready, result); err != nil {
		return nil, err
	}
	if err := profiled(); err != nil {
		return nil, err
	}
	profiled = env.profileFleet(ctx, f, namespace+"-deletion")
	if err := s.deleteAll(ctx, f, hub, namespace, names, gone, result); err != nil {
		return nil, err
	}
	if err := profiled(); err != nil {
		return nil, err
	}
	return result, s.untilCollected(ctx, f, env, namespace, into)
}

// untilCollected returns when the members have taken away what they had made for objects that are gone: whatever is measured
// next would share the processors with that.
func (s sort) untilCollected(ctx context.Context, f *fleet.Fleet, env *environment, namespace string, from []string) error {
	if s.made == nil {
		return nil
	}
	clients, err := membersNamed(f, from)
	if err != nil {
		return err
	}
	told := time.Now()
	return poll(ctx, patience, collectedEvery, func() error {
		left := 0
		for i, client := range clients {
			some, err := s.made(ctx, client, namespace)
			if err != nil {
				return fmt.Errorf("looking at what is left of %s in %s: %w", s.what, from[i], err)
			}
			left += some
		}
		if left == 0 {
			return nil
		}
		if time.Since(told) > 5*time.Second {
			told = time.Now()
			env.progress("the members still take away what they had made for the %s: %d are left", s.what, left)
		}
		return fmt.Errorf("of what the members had made for the %s of %s %d are left", s.what, namespace, left)
	})
}

// collectedEvery is the time between two looks at what is left: they cost the members something, too.
const collectedEvery = 500 * time.Millisecond

func (s sort) createAll(ctx context.Context, f *fleet.Fleet, hub kubernetes.Interface, namespace string, names []string, arrived []*crowd, ready *crowd, result *burst) error {
	spent, err := openLedger(ctx, f)
	if err != nil {
		return err
	}
	began := time.Now()
	if err := withEach(ctx, names, func(ctx context.Context, name string) error { return s.create(ctx, hub, namespace, name) }); err != nil {
		return fmt.Errorf("creating %s: %w", s.what, err)
	}
	result.answered = time.Since(began)
	if err := waitForAll(ctx, arrived...); err != nil {
		return err
	}
	if result.arriving, err = spent.usedSoFar(); err != nil {
		return err
	}
	result.arrived = lastOf(arrived).Sub(began)
	if err := waitForAll(ctx, ready); err != nil {
		return err
	}
	if s.ready != nil {
		result.ready = ready.last().Sub(began)
	}
	all := int64(len(names)) + firsts
	if err := untilSummed(ctx, f, namespace, summed{templates: all, healthy: all}); err != nil {
		return err
	}
	result.summed = time.Since(began)
	result.creating, err = spent.close(ctx)
	return err
}

// pastTheHub creates the objects in the members themselves, and deletes them again.
func (s sort) pastTheHub(ctx context.Context, f *fleet.Fleet, namespace string, names, into []string) (floor, error) {
	clients, err := membersNamed(f, into)
	if err != nil {
		return floor{}, err
	}
	for _, client := range clients {
		made := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}
		if _, err := client.CoreV1().Namespaces().Create(ctx, made, metav1.CreateOptions{}); err != nil {
			return floor{}, fmt.Errorf("making the namespace %s: %w", namespace, err)
		}
	}
	watching, stop := context.WithCancel(ctx)
	defer stop()
	arrived, gone, ready, err := s.followMembers(watching, f, namespace, names, into)
	if err != nil {
		return floor{}, err
	}
	before, err := usage(f)
	if err != nil {
		return floor{}, err
	}
	began := time.Now()
	if err := inAll(ctx, clients, names, func(ctx context.Context, in kubernetes.Interface, name string) error {
		return s.create(ctx, in, namespace, name)
	}); err != nil {
		return floor{}, fmt.Errorf("creating %s in the members: %w", s.what, err)
	}
	if err := waitForAll(ctx, arrived...); err != nil {
		return floor{}, err
	}
	between, err := usage(f)
	if err != nil {
		return floor{}, err
	}
	if err := waitForAll(ctx, ready...); err != nil {
		return floor{}, err
	}
	after, err := usage(f)
	if err != nil {
		return floor{}, err
	}
	result := floor{
		arrived: lastOf(arrived).Sub(began), arriving: between["members"] - before["members"], members: after["members"] - before["members"],
	}
	if s.ready != nil {
		result.ready = lastOf(ready).Sub(began)
	}
	if err := inAll(ctx, clients, names, func(ctx context.Context, in kubernetes.Interface, name string) error {
		return s.delete(ctx, in, namespace, name)
	}); err != nil {
		return floor{}, fmt.Errorf("deleting %s in the members: %w", s.what, err)
	}
	return result, waitForAll(ctx, gone...)
}

// membersNamed are clients of some members.
func membersNamed(f *fleet.Fleet, names []string) ([]kubernetes.Interface, error) {
	var clients []kubernetes.Interface
	for _, name := range names {
		client, err := typed(f.Member(name).API)
		if err != nil {
			return nil, err
		}
		clients = append(clients, client)
	}
	return clients, nil
}

// inAll does one thing with every name in all clusters.
func inAll(ctx context.Context, clients []kubernetes.Interface, names []string, one func(ctx context.Context, in kubernetes.Interface, name string) error) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, client := range clients {
		group.Go(func() error {
			return withEach(ctx, names, func(ctx context.Context, name string) error { return one(ctx, client, name) })
		})
	}
	return group.Wait()
}

func (s sort) deleteAll(ctx context.Context, f *fleet.Fleet, hub kubernetes.Interface, namespace string, names []string, gone []*crowd, result *burst) error {
	spent, err := openLedger(ctx, f)
	if err != nil {
		return err
	}
	began := time.Now()
	if err := withEach(ctx, names, func(ctx context.Context, name string) error { return s.delete(ctx, hub, namespace, name) }); err != nil {
		return fmt.Errorf("deleting %s: %w", s.what, err)
	}
	if err := waitForAll(ctx, gone...); err != nil {
		return err
	}
	result.gone = lastOf(gone).Sub(began)
	if err := untilSummed(ctx, f, namespace, summed{templates: firsts, healthy: firsts}); err != nil {
		return err
	}
	result.ended = time.Since(began)
	result.deleting, err = spent.close(ctx)
	return err
}

// followMembers notes in every member when each object has come, when it says that it is ready, and when it is gone.
func (s sort) followMembers(ctx context.Context, f *fleet.Fleet, namespace string, names, into []string) (arrived, gone, ready []*crowd, err error) {
	clients, err := membersNamed(f, into)
	if err != nil {
		return nil, nil, nil, err
	}
	for i, client := range clients {
		came, left := newCrowd(s.what+" that come into "+into[i], names), newCrowd(s.what+" that leave "+into[i], names)
		well := newCrowd(s.what+" that become ready in "+into[i], s.awaited(names))
		if err := follow(ctx, s.watching(client, namespace), "", func(event watch.EventType, object metav1.Object) {
			switch event {
			case watch.Added:
				came.saw(object.GetName())
			case watch.Deleted:
				left.saw(object.GetName())
			}
			if s.ready != nil && s.ready(object, 1) {
				well.saw(object.GetName())
			}
		}); err != nil {
			return nil, nil, nil, fmt.Errorf("watching %s in %s: %w", s.what, into[i], err)
		}
		arrived, gone, ready = append(arrived, came), append(gone, left), append(ready, well)
	}
	return arrived, gone, ready, nil
}

// awaited are those of the names that become ready: none of a sort that does not.
func (s sort) awaited(names []string) []string {
	if s.ready == nil {
		return nil
	}
	return names
}

// followHub notes when the hub's own objects say that they are ready everywhere.
func (s sort) followHub(ctx context.Context, hub kubernetes.Interface, namespace string, names []string, members int) (*crowd, error) {
	ready := newCrowd(s.what+" that become ready on the hub", s.awaited(names))
	if s.ready == nil {
		return ready, nil
	}
	if err := follow(ctx, s.watching(hub, namespace), "", func(_ watch.EventType, object metav1.Object) {
		if s.ready(object, members) {
			ready.saw(object.GetName())
		}
	}); err != nil {
		return nil, fmt.Errorf("watching %s on the hub: %w", s.what, err)
	}
	return ready, nil
}

// bursts measures how long many objects take that a user creates at once.
type bursts struct {
	configMaps, deployments int
	members                 int
}

func (b *bursts) scenario() scenario {
	return scenario{
		name: "burst", what: "500 ConfigMaps, and then 300 Deployments of one replica, created at once and deleted again, with 3 real members",
		takes: "10 minutes",
		flags: func(flags *flag.FlagSet) {
			countOrNoneFlag(flags, &b.configMaps, "burst.configmaps", burstConfigMaps, "how many ConfigMaps; the goal is for 500, and 0 leaves them out")
			countOrNoneFlag(flags, &b.deployments, "burst.deployments", burstDeployments, "how many Deployments; the goal is for 300, and 0 leaves them out")
			countFlag(flags, &b.members, "burst.members", goalMembers, "how many members; the goals are for three")
		},
		check: b.check,
		run:   b.run,
		limits: "the members' own work is on the same processors, and of Deployments that is most of it; the first object of a " +
			"namespace and of a kind, which costs more, is there before; in the counts is the little that an idle hub and its agents have to do",
	}
}

// The goals are for so many objects, into goalMembers.
const burstConfigMaps, burstDeployments = 500, 300

func (b *bursts) check() error {
	if b.configMaps == 0 && b.deployments == 0 {
		return errors.New("-burst.configmaps and -burst.deployments are both 0: that leaves nothing to measure")
	}
	return nil
}

// goal is that for a number of objects, where it is one that it was set for.
func (b *bursts) goal(objects, least int, most time.Duration) []goal {
	return when(objects >= least && b.members >= goalMembers, atMost(float64(most)))
}

func (b *bursts) run(ctx context.Context, env *environment) ([]row, error) {
	f, err := startFleet(ctx, env, b.members)
	defer f.Stop()
	if err != nil {
		return nil, err
	}
	var all []row
	for _, one := range []struct {
		sort    sort
		count   int
		arrived []goal
	}{
		{configMapSort, b.configMaps, b.goal(b.configMaps, burstConfigMaps, 3*time.Second)},
		{deploymentSort, b.deployments, b.goal(b.deployments, burstDeployments, 6*time.Second)},
	} {
		if one.count == 0 {
			continue
		}
		var results []*burst
		for run := range env.runs {
			env.progress("run %d of %d: %d %s", run+1, env.runs, one.count, one.sort.what)
			namespace := fmt.Sprintf("burst-%s-%d", strings.ToLower(one.sort.what), run)
			result, err := one.sort.burst(ctx, f, env, namespace, numbered("one", one.count), memberNames(b.members))
			if err != nil {
				return all, err
			}
			results = append(results, result)
		}
		at := fmt.Sprintf("%s %s → %d members", grouped(int64(one.count)), one.sort.what, b.members)
		all = append(all, burstRows(at, results, one.count, b.members, one.arrived)...)
	}
	return all, nil
}

// burstRows are the figures of several runs; arrived is the goal of the time until all have arrived.
func burstRows(at string, results []*burst, objects, members int, arrived []goal) []row {
	each := func(value func(*burst) float64) []float64 {
		var values []float64
		for _, result := range results {
			values = append(values, value(result))
		}
		return values
	}
	times := func(value func(*burst) time.Duration) []float64 {
		return each(func(b *burst) float64 { return float64(value(b)) })
	}
	whole := func(value func(cost) float64, of int) []float64 {
		return each(func(b *burst) float64 { return value(b.creating.plus(b.deleting)) / float64(of) })
	}
	pairs := objects * members
	rows := []row{
		{at: at, what: "etcd puts, the user's own included", unit: count, values: whole(func(c cost) float64 { return c.puts }, 1)},
		{at: at, what: "etcd puts for an object", unit: count, values: whole(func(c cost) float64 { return c.puts }, objects)},
		{at: at, what: "etcd puts for an object, less the user's own", unit: count, values: whole(func(c cost) float64 { return c.puts - float64(objects) }, objects), goals: putsGoal(objects, members)},
		{at: at, what: "messages for each (object, member), both ways", unit: count, values: whole(func(c cost) float64 { return c.messages }, pairs)},
		{at: at, what: "bytes for each (object, member), both ways, before TLS", unit: bytes, values: whole(func(c cost) float64 { return c.bytes }, pairs)},
		{at: at, what: "allocations of the hub for an object", unit: allocations, values: whole(func(c cost) float64 { return c.allocations }, objects)},
		{at: at, what: "the last create is answered", unit: duration, values: times(func(b *burst) time.Duration { return b.answered })},
		{at: at, what: "all have arrived", unit: duration, values: times(func(b *burst) time.Duration { return b.arrived }), goals: arrived},
		{at: at, what: "the policy says that all are healthy", unit: duration, values: times(func(b *burst) time.Duration { return b.summed })},
		{at: at, what: "deletion: nothing is left in any member", unit: duration, values: times(func(b *burst) time.Duration { return b.gone })},
		{at: at, what: "deletion: the policy says that nothing is left", unit: duration, values: times(func(b *burst) time.Duration { return b.ended })},
	}
	if results[0].ready > 0 {
		rows = append(rows,
			row{at: at, what: "all are ready on the hub", unit: duration, values: times(func(b *burst) time.Duration { return b.ready })},
			row{at: at, what: "created in the members, past the hub: all are ready there", unit: duration, values: times(func(b *burst) time.Duration { return b.past.ready })},
		)
	}
	rows = append(rows,
		row{at: at, what: "CPU of the members, created past the hub", unit: cpu, values: times(func(b *burst) time.Duration { return b.past.members })},
		row{at: at, what: "CPU of the members, created past the hub, until all have arrived", unit: cpu, values: times(func(b *burst) time.Duration { return b.past.arriving })},
		row{at: at, what: "created in the members, past the hub: all have arrived", unit: duration, values: times(func(b *burst) time.Duration { return b.past.arrived })},
	)
	for _, who := range []string{"hub", "agents", "members"} {
		rows = append(rows,
			row{at: at, what: "CPU of the " + who + ", creation", unit: cpu, values: times(func(b *burst) time.Duration { return b.creating.used[who] })},
			row{at: at, what: "CPU of the " + who + ", creation, until all have arrived", unit: cpu, values: times(func(b *burst) time.Duration { return b.arriving[who] })},
			row{at: at, what: "CPU of the " + who + ", deletion", unit: cpu, values: times(func(b *burst) time.Duration { return b.deleting.used[who] })},
		)
	}
	return rows
}

var deploymentSort = sort{
	what: "Deployments",
	watch: func(ctx context.Context, in kubernetes.Interface, namespace string, options metav1.ListOptions) (watch.Interface, error) {
		return in.AppsV1().Deployments(namespace).Watch(ctx, options)
	},
	create: func(ctx context.Context, in kubernetes.Interface, namespace, name string) error {
		_, err := in.AppsV1().Deployments(namespace).Create(ctx, deploymentOf(name, 1), metav1.CreateOptions{})
		return err
	},
	delete: func(ctx context.Context, in kubernetes.Interface, namespace, name string) error {
		return in.AppsV1().Deployments(namespace).Delete(ctx, name, metav1.DeleteOptions{})
	},
	ready: func(object metav1.Object, members int) bool {
		deployment, ok := object.(*appsv1.Deployment)
		return ok && int(deployment.Status.ReadyReplicas) == members
	},
	made: func(ctx context.Context, in kubernetes.Interface, namespace string) (int, error) {
		// The first Deployment of a namespace stays, and what was made for it.
		others := metav1.ListOptions{LabelSelector: "app!=" + firstName}
		sets, err := in.AppsV1().ReplicaSets(namespace).List(ctx, others)
		if err != nil {
			return 0, err
		}
		pods, err := in.CoreV1().Pods(namespace).List(ctx, others)
		if err != nil {
			return 0, err
		}
		return len(sets.Items) + len(pods.Items), nil
	},
}
