package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"

	"windlass.dev/windlass/e2e/simagent/control"
	"windlass.dev/windlass/hack/cluster"
)

var (
	bindings       = schema.GroupVersionResource{Group: "work.karmada.io", Version: "v1alpha1", Resource: "propagationbindings"}
	configMaps     = schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}
	memberClusters = schema.GroupVersionResource{Group: "cluster.karmada.io", Version: "v1alpha1", Resource: "memberclusters"}
)

// A herd is a hub, as users run it, and many simulated agents that have joined it.
type herd struct {
	env    *environment
	hub    *cluster.Hub
	api    dynamic.Interface
	heads  metadata.Interface // of objects nothing but their metadata
	meter  *meter
	agents int
	// processes of agents, each with many.
	processes []*cluster.Process
	clients   []*control.Client
	// idle is what the hub spends when nothing happens.
	idle spending
	// holds is how many Deployments every agent has.
	holds int
	// since is when the agents' present sessions had all begun.
	since time.Time
}

// goalAgents and goalMembers are how many there are in most goals.
const goalAgents, goalMembers = 1000, 3

// agentsPerProcess is how many agents share a process.
const agentsPerProcess = 1000

// newHerd starts a hub with the settings that nobody has touched, and no agents yet.
func newHerd(ctx context.Context, env *environment) (h *herd, err error) {
	dir, err := env.folder("hub")
	if err != nil {
		return nil, err
	}
	h = &herd{env: env}
	h.hub, err = cluster.StartHub(ctx, cluster.HubConfig{Dir: dir, Binary: env.program("windlass-hub"), CLI: env.program("windlass")})
	if err != nil {
		return nil, err
	}
	config, err := clientcmd.BuildConfigFromFlags("", h.hub.Kubeconfig())
	if err != nil {
		return h, err
	}
	config.QPS = -1
	if h.api, err = dynamic.NewForConfig(config); err != nil {
		return h, err
	}
	if h.heads, err = metadata.NewForConfig(config); err != nil {
		return h, err
	}
	if h.meter, err = newMeter(config, h.hub.Process); err != nil {
		return h, err
	}
	return h, prepareNamespace(ctx, h.api)
}

// startHerd is newHerd with agents that are in sync, and knows what an idle hub spends.
func startHerd(ctx context.Context, env *environment, agents int, flags ...string) (*herd, error) {
	h, err := newHerd(ctx, env)
	if err != nil {
		return h, err
	}
	if err := h.join(ctx, agents, flags...); err != nil {
		return h, err
	}
	return h, h.rest(ctx, 10*time.Second)
}

// herdOf gives a scenario agents that are in sync and hold so many Deployments each: those that the scenario before has
// left, when they are as many, and else new ones. Whoever has them gives them back by leave.
func (e *environment) herdOf(ctx context.Context, agents, holding int) (*herd, error) {
	h := e.left
	if h == nil || h.agents != agents || h.holds != 0 && h.holds != holding {
		e.drop()
		var err error
		if h, err = newHerd(ctx, e); err != nil {
			return h, err
		}
		if err := h.join(ctx, agents); err != nil {
			return h, err
		}
	} else {
		e.left = nil
		e.progress("with the %d agents that are there", agents)
	}
	if h.holds < holding {
		if err := h.give(ctx, holding); err != nil {
			return h, err
		}
	}
	return h, h.rest(ctx, 10*time.Second)
}

// leave keeps agents for the next scenario. After an error nobody knows what is left in them: they end.
func (e *environment) leave(h *herd, err error) {
	if err != nil {
		h.stop()
		return
	}
	e.left = h
}

// drop ends the agents that a scenario has left.
func (e *environment) drop() {
	e.left.stop()
	e.left = nil
}

// everywhere is the group of the Deployments that all agents have.
const everywhere = "everywhere"

// give gives Deployments to all agents.
func (h *herd) give(ctx context.Context, deployed int) error {
	if err := h.policy(ctx, everywhere, "apps/v1", "Deployment", h.toFirst(h.agents)); err != nil {
		return err
	}
	h.env.progress("giving %d Deployments to %d agents", deployed, h.agents)
	err := h.fill(ctx, deployed, func(ctx context.Context, i int) error {
		return h.create(ctx, deployments, web(fmt.Sprint("web-", i), everywhere, replicasEach))
	})
	h.holds = deployed
	return err
}

// join starts agents and returns when all of them are in sync.
func (h *herd) join(ctx context.Context, agents int, flags ...string) error {
	h.agents = agents
	for first := 0; first < agents; first += agentsPerProcess {
		dir, err := h.env.folder("agents")
		if err != nil {
			return err
		}
		socket := filepath.Join(dir, "control")
		process, err := cluster.StartProgram("simagent", h.env.program("simagent"), dir, append([]string{
			"-hub=" + h.hub.LinkAddress(), "-kubeconfig=" + h.hub.Kubeconfig(), "-control=" + socket, fmt.Sprint("-fleet=", agents),
			fmt.Sprint("-first=", first), fmt.Sprint("-agents=", min(agentsPerProcess, agents-first)),
		}, flags...)...)
		if err != nil {
			return err
		}
		h.processes, h.clients = append(h.processes, process), append(h.clients, control.NewClient(socket))
	}
	began, told := time.Now(), time.Now()
	err := h.until(ctx, 10*time.Minute, func(s control.State) bool {
		if time.Since(told) > 5*time.Second {
			told = time.Now()
			h.env.progress("%d of %d agents have joined, %d are in sync", s.Joined, agents, s.Synchronised)
		}
		return s.Synchronised == agents
	})
	if err != nil {
		return fmt.Errorf("joining %d simulated agents: %w", agents, err)
	}
	if err := h.allReady(ctx); err != nil {
		return err
	}
	h.since = time.Now()
	h.env.progress("%d agents joined in %.1f s", agents, h.since.Sub(began).Seconds())
	return nil
}

// allReady returns when the hub calls every cluster ready.
func (h *herd) allReady(ctx context.Context) error {
	return poll(ctx, 2*time.Minute, 500*time.Millisecond, func() error {
		list, err := h.api.Resource(memberClusters).List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		ready := 0
		for i := range list.Items {
			if conditionIs(&list.Items[i], "Ready", "True") {
				ready++
			}
		}
		if ready < h.agents {
			return fmt.Errorf("%d of %d clusters are ready", ready, h.agents)
		}
		return nil
	})
}

// stop ends everything at once: nothing of it is needed any more. It may be called of nil.
func (h *herd) stop() {
	if h == nil {
		return
	}
	for _, p := range h.processes {
		_ = p.Kill()
	}
	_ = h.hub.Kill()
}

// rest lets everything come to an end, and then finds out what an idle hub spends.
func (h *herd) rest(ctx context.Context, long time.Duration) error {
	if err := h.calm(ctx); err != nil {
		return err
	}
	var err error
	h.idle, err = h.idling(ctx, long)
	return err
}

// calm returns when a hub has twice, one after the other, spent at least nine tenths of what it spent in the moment before: while agents
// have just joined it spends more than an idle one, and what is measured over that would be too little.
func (h *herd) calm(ctx context.Context) error {
	var last time.Duration
	steady := 0
	for range 20 {
		now, err := h.idling(ctx, settling)
		if err != nil {
			return err
		}
		if steady++; now.cpu*10 < last*9 {
			steady = 1
		}
		if steady > 2 { // the first has none before it
			return nil
		}
		last = now.cpu
	}
	h.env.progress("the hub still does not come to rest: what it spends when it is idle is taken all the same")
	return nil
}

// idling is what a hub spends while nothing is asked of it.
func (h *herd) idling(ctx context.Context, long time.Duration) (spending, error) {
	before, err := h.meter.begin(ctx)
	if err != nil {
		return spending{}, err
	}
	if err := pause(ctx, long); err != nil {
		return spending{}, err
	}
	after, err := h.meter.end(ctx)
	return after.since(before), err
}

// settling is how long a hub is given to write what it writes by time: policies' statuses, above all.
const settling = 2 * time.Second

// over is what was spent over an idle hub's processor time.
func (h *herd) over(s spending) time.Duration {
	if h.idle.took == 0 {
		return s.cpu
	}
	return s.cpu - time.Duration(float64(h.idle.cpu)*float64(s.took)/float64(h.idle.took))
}

// measured runs something, lets the hub come to its end, and tells what that cost.
func (h *herd) measured(ctx context.Context, do func() error) (spending, error) {
	before, err := h.meter.begin(ctx)
	if err != nil {
		return spending{}, err
	}
	profiled := h.profile(ctx)
	if err := errors.Join(do(), pause(ctx, settling), profiled()); err != nil {
		return spending{}, err
	}
	after, err := h.meter.end(ctx)
	return after.since(before), err
}

// state adds up the states of all processes.
func (h *herd) state(ctx context.Context) (control.State, error) {
	var sum control.State
	for i, client := range h.clients {
		s, err := client.State(ctx)
		if err != nil {
			if !h.processes[i].Alive() {
				err = fmt.Errorf("the simulated agents have ended; their log ends with: %s", h.processes[i].Tail(5))
			}
			return sum, err
		}
		sum.Agents, sum.Joined, sum.Connected, sum.Synchronised = sum.Agents+s.Agents, sum.Joined+s.Joined, sum.Connected+s.Connected, sum.Synchronised+s.Synchronised
		sum.Works, sum.Puts, sum.Removals = sum.Works+s.Works, sum.Puts+s.Puts, sum.Removals+s.Removals
		sum.Received, sum.Sent = sum.Received+s.Received, sum.Sent+s.Sent
		if s.Problem != "" {
			sum.Problem = s.Problem
		}
	}
	return sum, nil
}

// until waits for a state of the agents. They are asked often: when something came they say themselves, in their events.
func (h *herd) until(ctx context.Context, limit time.Duration, is func(control.State) bool) error {
	return poll(ctx, limit, 20*time.Millisecond, func() error {
		s, err := h.state(ctx)
		if err == nil && !is(s) {
			err = fmt.Errorf("the agents came no further than %+v", s)
		}
		return err
	})
}

// events takes what has come to all agents since the last call.
func (h *herd) events(ctx context.Context) ([]control.Event, error) {
	var all []control.Event
	for _, client := range h.clients {
		some, err := client.Events(ctx)
		if err != nil {
			return nil, err
		}
		all = append(all, some...)
	}
	return all, nil
}

// agentsCPU is the processor time that all agents have had.
func (h *herd) agentsCPU() (sum time.Duration, err error) {
	for _, p := range h.processes {
		one, err := processorTime(p.PID)
		if err != nil {
			return 0, err
		}
		sum += one
	}
	return sum, nil
}

// A sight is the moment at which something was first seen on the hub.
type sight struct {
	at  time.Time
	err error
}

// watchAll follows all objects of a kind in the namespace of the bench until the context ends; see gets nil for a deleted one. It is an
// informer, because the API server ends the watch of a client that is too slow, as one may be with bindings of many clusters.
func (h *herd) watchAll(ctx context.Context, resource schema.GroupVersionResource, see func(name string, object *unstructured.Unstructured)) error {
	informer := dynamicinformer.NewFilteredDynamicInformer(h.api, resource, namespace, 0, cache.Indexers{}, nil).Informer()
	shown := func(object any) {
		now := object.(*unstructured.Unstructured)
		see(now.GetName(), now)
	}
	_, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    shown,
		UpdateFunc: func(_, now any) { shown(now) },
		DeleteFunc: func(object any) {
			if key, err := cache.DeletionHandlingObjectToName(object); err == nil {
				see(key.Name, nil)
			}
		},
	})
	if err != nil {
		return fmt.Errorf("watching %s: %w", resource.Resource, err)
	}
	go informer.RunWithContext(ctx)
	if !cache.WaitForCacheSync(ctx.Done(), informer.HasSynced) {
		return fmt.Errorf("watching %s: %w", resource.Resource, context.Cause(ctx))
	}
	return nil
}

// look begins to watch one object in the namespace of the bench, and tells when it first was as asked for; is gets nil when
// it is deleted.
func (h *herd) look(ctx context.Context, resource schema.GroupVersionResource, name string, is func(*unstructured.Unstructured) bool) (<-chan sight, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	watcher, err := h.api.Resource(resource).Namespace(namespace).Watch(ctx, metav1.ListOptions{
		FieldSelector: fields.OneTermEqualSelector("metadata.name", name).String(),
	})
	if err != nil {
		cancel()
		return nil, fmt.Errorf("watching %s %s: %w", resource.Resource, name, err)
	}
	seen := make(chan sight, 1)
	go func() {
		defer cancel()
		defer watcher.Stop()
		for event := range watcher.ResultChan() {
			object, ok := event.Object.(*unstructured.Unstructured)
			if event.Type == watch.Deleted {
				object = nil
			}
			if ok && is(object) {
				seen <- sight{at: time.Now()}
				return
			}
		}
		seen <- sight{err: fmt.Errorf("it did not come about what was waited for of %s %s", resource.Resource, name)}
	}()
	return seen, nil
}

func conditionIs(object *unstructured.Unstructured, kind, status string) bool {
	conditions, _, _ := unstructured.NestedSlice(object.Object, "status", "conditions")
	for _, one := range conditions {
		if c, ok := one.(map[string]any); ok && c["type"] == kind {
			return c["status"] == status
		}
	}
	return false
}

func fullyApplied(binding *unstructured.Unstructured) bool {
	return binding != nil && conditionIs(binding, "FullyApplied", "True")
}

func gone(object *unstructured.Unstructured) bool { return object == nil }

// observed says whether the hub's Deployment tells that all clusters have seen its present content, and have so many ready.
func observed(ready int) func(*unstructured.Unstructured) bool {
	return func(o *unstructured.Unstructured) bool {
		if o == nil {
			return false
		}
		seen, _, _ := unstructured.NestedInt64(o.Object, "status", "observedGeneration")
		return seen >= o.GetGeneration() && readyReplicas(o) == ready
	}
}

// await takes what comes within a limit, beyond which it says what did not.
func await[T any](ctx context.Context, from <-chan T, limit time.Duration, missing string) (T, error) {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	var none T
	select {
	case one := <-from:
		return one, nil
	case <-timer.C:
		return none, errors.New(missing)
	case <-ctx.Done():
		return none, ctx.Err()
	}
}

// pause waits for an amount of time that is measured, or that lets others come to an end.
func pause(ctx context.Context, long time.Duration) error {
	timer := time.NewTimer(long)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// poll asks until there is no error; at the limit it returns the last one.
func poll(ctx context.Context, limit, interval time.Duration, ask func() error) error {
	deadline := time.Now().Add(limit)
	for {
		err := ask()
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return err
		}
		if stopped := pause(ctx, interval); stopped != nil {
			return errors.Join(stopped, err)
		}
	}
}
