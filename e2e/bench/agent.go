package main

import (
	"context"
	"flag"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"

	"windlass.dev/windlass/e2e/fleet"
	"windlass.dev/windlass/hack/cluster"
)

// agents measures what one agent needs, by how many objects it looks after.
type agents struct {
	objects sizes
	settle  time.Duration
	edits   int
}

const (
	agentNamespace = "agent"
	// Of twenty objects one is a Service, and one a Deployment of one replica; all others are ConfigMaps with a kilobyte.
	everyService, everyDeployment = 20, 20
	// editEvery is the time between two edits that the agent has to put right.
	editEvery = 100 * time.Millisecond
)

func (a *agents) scenario() scenario {
	a.objects = sizes{100, 1000, 10000}
	return scenario{
		name: "agent", what: "what an agent needs in a real member: of 20 objects 18 are ConfigMaps of 1 KB, one is a Service and one a Deployment of one replica",
		takes: "15 minutes",
		flags: func(flags *flag.FlagSet) {
			flags.Var(&a.objects, "agent.objects", "how many objects it looks after, growing")
			periodFlag(flags, &a.settle, "agent.settle", agentSettle, "how long it is left alone before it is looked at")
			countFlag(flags, &a.edits, "agent.edits", agentEdits, "how many objects are edited in the member in each run, 10 a second")
		},
		check:  a.check,
		run:    a.run,
		limits: "members with thousands of nodes or pods, of which the agent counts what is requested",
	}
}

// The goals are for an agent that is left alone so long, and has so many edits to put right.
const (
	agentSettle = 20 * time.Second
	agentEdits  = 200
)

func (a *agents) check() error {
	if !slices.IsSorted(a.objects) {
		return fmt.Errorf("-agent.objects is %v, and they have to grow", &a.objects)
	}
	return nil
}

// goals are those for so many objects.
func (a *agents) goals(objects int) []goal {
	return when(a.settle >= agentSettle && a.edits >= agentEdits, agentGoals[objects])
}

func (a *agents) run(ctx context.Context, env *environment) ([]row, error) {
	f, err := startFleet(ctx, env, 1)
	defer f.Stop()
	if err != nil {
		return nil, err
	}
	hub, err := typed(f.Hub().API)
	if err != nil {
		return nil, err
	}
	if err := openNamespace(ctx, f, hub, agentNamespace, memberNames(1)); err != nil {
		return nil, err
	}
	var rows []row
	held := 0
	for _, objects := range a.objects {
		one, err := a.look(ctx, env, f, hub, held, objects)
		rows = append(rows, one...)
		if err != nil {
			return rows, err
		}
		held = objects
	}
	return rows, nil
}

// look has the agent look after more objects than before, and sees what it needs.
func (a *agents) look(ctx context.Context, env *environment, f *fleet.Fleet, hub kubernetes.Interface, before, objects int) ([]row, error) {
	env.progress("%d objects: creating %d of them", objects, objects-before)
	member := f.Members()[0]
	names := numbered("one", objects)
	if err := withEach(ctx, names[before:], func(ctx context.Context, name string) error { return createMixed(ctx, hub, name) }); err != nil {
		return nil, fmt.Errorf("creating objects: %w", err)
	}
	all := int64(objects) + firsts
	if err := untilSummed(ctx, f, agentNamespace, summed{templates: all, healthy: all}); err != nil {
		return nil, err
	}
	seen := &agentFigures{at: grouped(int64(objects)) + " objects", goals: a.goals(objects)}
	if err := seen.grown(ctx, member.Agent, a.settle); err != nil {
		return nil, err
	}
	edited := 0
	for run := range env.runs {
		env.progress("%d objects, run %d of %d: the agent is started again, left alone for %v, and then has %d edits to put right", objects, run+1, env.runs, a.settle, a.edits)
		if err := restartAgent(ctx, member.Agent, all); err != nil {
			return seen.rows(), err
		}
		idle, err := seen.idle(ctx, member.Agent, a.settle)
		if err != nil {
			return seen.rows(), err
		}
		if err := env.heapsOfFleet(ctx, f, fmt.Sprintf("agent-%d-%d", objects, run)); err != nil {
			return seen.rows(), err
		}
		chosen := configMapNames(names, &edited, a.edits)
		if err := seen.drift(ctx, member, chosen, idle); err != nil {
			return seen.rows(), err
		}
	}
	return seen.rows(), nil
}

func createMixed(ctx context.Context, hub kubernetes.Interface, name string) (err error) {
	switch sortOf(name) {
	case "Service":
		_, err = hub.CoreV1().Services(agentNamespace).Create(ctx, serviceOf(name), metav1.CreateOptions{})
	case "Deployment":
		_, err = hub.AppsV1().Deployments(agentNamespace).Create(ctx, deploymentOf(name, 1), metav1.CreateOptions{})
	default:
		_, err = hub.CoreV1().ConfigMaps(agentNamespace).Create(ctx, configMapOf(name), metav1.CreateOptions{})
	}
	return err
}

func sortOf(name string) string {
	var number int
	_, _ = fmt.Sscanf(name, "one-%d", &number)
	switch {
	case number%everyService == 1:
		return "Service"
	case number%everyDeployment == 2:
		return "Deployment"
	}
	return "ConfigMap"
}

// configMapNames takes the next ConfigMaps, from the start again after the last, and none twice: one that is edited again
// and again would be taken for one that is fought over, and left alone for a while.
func configMapNames(names []string, next *int, count int) []string {
	var chosen []string
	for tried := 0; len(chosen) < count && tried < len(names); tried++ {
		name := names[*next%len(names)]
		*next++
		if sortOf(name) == "ConfigMap" {
			chosen = append(chosen, name)
		}
	}
	return chosen
}

// restartAgent starts the agent again, as an upgrade does, and returns when it watches all objects.
func restartAgent(ctx context.Context, agent *cluster.Agent, objects int64) error {
	if err := agent.Stop(); err != nil {
		return err
	}
	if err := agent.Start(ctx); err != nil {
		return err
	}
	return poll(ctx, patience, 100*time.Millisecond, func() error {
		text, err := agent.Health(ctx, "/metrics")
		if err != nil {
			return err
		}
		if watched, waiting := gauge(text, "windlass_agent_watched_objects"), gauge(text, "windlass_agent_queue_length"); int64(watched) < objects || waiting > 0 {
			return fmt.Errorf("the agent watches %v of %d objects, and %v works wait", watched, objects, waiting)
		}
		return nil
	})
}

func gauge(metrics, name string) float64 {
	match := regexp.MustCompile(`(?m)^` + name + ` ([0-9.e+-]+)$`).FindStringSubmatch(metrics)
	if match == nil {
		return 0
	}
	value, err := strconv.ParseFloat(match[1], 64)
	if err != nil {
		return 0
	}
	return value
}

// agentFigures are what was seen of an agent that looks after a number of objects.
type agentFigures struct {
	at    string
	goals []goal // for all that it holds
	// Memory in bytes: resident when it had taken the objects in and at most until then; after a restart, idle, and of that
	// the pages of the program itself and the heap; and while it puts edits right.
	taken, peak, resident, program, heap, drifting []float64

	idleShare []float64
	fix       []float64 // processor time for an edit
	fixed     []float64 // time until it is put right
}

// grown looks at an agent that has just taken objects in.
func (s *agentFigures) grown(ctx context.Context, agent *cluster.Agent, settle time.Duration) error {
	if err := pause(ctx, settle); err != nil {
		return err
	}
	total, _, err := agent.Process().ResidentBytes()
	if err != nil {
		return err
	}
	peak, err := peakBytes(agent.Process().PID)
	s.taken, s.peak = []float64{float64(total)}, []float64{peak}
	return err
}

func peakBytes(pid int) (float64, error) {
	path := fmt.Sprintf("/proc/%d/status", pid)
	var kilobytes float64
	if _, err := fmt.Sscanf(field(path, "VmHWM"), "%f", &kilobytes); err != nil {
		return 0, fmt.Errorf("reading the peak of the agent's memory: %w", err)
	}
	return kilobytes * 1024, nil
}

// idle leaves the agent alone, looks at it, and returns how much of a processor it took.
func (s *agentFigures) idle(ctx context.Context, agent *cluster.Agent, settle time.Duration) (float64, error) {
	// The first part of the time belongs to the restart.
	if err := pause(ctx, settle/2); err != nil {
		return 0, err
	}
	before, err := processorTime(agent.Process().PID)
	if err != nil {
		return 0, err
	}
	if err := pause(ctx, settle/2); err != nil {
		return 0, err
	}
	after, err := processorTime(agent.Process().PID)
	if err != nil {
		return 0, err
	}
	total, shared, err := agent.Process().ResidentBytes()
	if err != nil {
		return 0, err
	}
	text, err := agent.Health(ctx, "/metrics")
	if err != nil {
		return 0, err
	}
	part := float64(after-before) / float64(settle/2)
	s.resident, s.program = append(s.resident, float64(total)), append(s.program, float64(shared))
	s.heap = append(s.heap, gauge(text, "go_memstats_heap_inuse_bytes"))
	s.idleShare = append(s.idleShare, part)
	return part, nil
}

// drift edits ConfigMaps in the member, one after the other, and waits until each is as it was.
func (s *agentFigures) drift(ctx context.Context, member *fleet.Member, names []string, idle float64) error {
	client, err := typed(member.API)
	if err != nil {
		return err
	}
	watching, stop := context.WithCancel(ctx)
	defer stop()
	edits := newEdits(names)
	// No older states: they look like those that were put right.
	list, err := client.CoreV1().ConfigMaps(agentNamespace).List(ctx, metav1.ListOptions{Limit: 1})
	if err != nil {
		return fmt.Errorf("reading the ConfigMaps of the member: %w", err)
	}
	if err := follow(watching, configMapSort.watching(client, agentNamespace), list.ResourceVersion, func(_ watch.EventType, object metav1.Object) {
		if configMap, ok := object.(*corev1.ConfigMap); ok && configMap.Data["settings"] == configMapOf("").Data["settings"] {
			edits.right(object.GetName())
		}
	}); err != nil {
		return fmt.Errorf("watching the ConfigMaps of the member: %w", err)
	}
	pid := member.Agent.Process().PID
	began := time.Now()
	before, err := processorTime(pid)
	if err != nil {
		return err
	}
	if err := editAll(ctx, client, names, edits); err != nil {
		return err
	}
	fixed, err := edits.wait(ctx)
	if err != nil {
		return err
	}
	after, err := processorTime(pid)
	if err != nil {
		return err
	}
	total, _, err := member.Agent.Process().ResidentBytes()
	if err != nil {
		return err
	}
	spent := float64(after-before) - idle*float64(time.Since(began))
	s.fix = append(s.fix, spent/float64(len(names)))
	s.fixed = append(s.fixed, fixed...)
	s.drifting = append(s.drifting, float64(total))
	return nil
}

func editAll(ctx context.Context, client kubernetes.Interface, names []string, edits *edits) error {
	ticker := time.NewTicker(editEvery)
	defer ticker.Stop()
	for _, name := range names {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
		edits.wrong(name)
		patch := []byte(`{"data":{"settings":"edited by hand"}}`)
		if _, err := client.CoreV1().ConfigMaps(agentNamespace).Patch(ctx, name, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: "kubectl-edit"}); err != nil {
			return fmt.Errorf("editing ConfigMap %s in the member: %w", name, err)
		}
	}
	return nil
}

// What an agent may hold, all of it, by how many objects it looks after.
var agentGoals = map[int][]goal{100: atMost(40e6), 1000: atMost(60e6)}

func (s *agentFigures) rows() []row {
	return []row{
		{at: s.at, what: "resident, when it has taken them in", unit: memory, values: s.taken, goals: s.goals},
		{at: s.at, what: "at most until then", unit: memory, values: s.peak},
		{at: s.at, what: "resident, started again and idle", unit: memory, values: s.resident, goals: s.goals},
		{at: s.at, what: "of that the program itself", unit: memory, values: s.program},
		{at: s.at, what: "of that the heap", unit: memory, values: s.heap},
		{at: s.at, what: "resident, when it has put edits right", unit: memory, values: s.drifting, goals: s.goals},
		{at: s.at, what: "CPU, idle", unit: share, values: s.idleShare},
		{at: s.at, what: "CPU for an edit that is put right", unit: cpu, values: s.fix},
		{at: s.at, what: "an edit in the member is put right", unit: duration, values: s.fixed, samples: true},
	}
}
