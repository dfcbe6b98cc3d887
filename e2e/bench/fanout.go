package main

import (
	"context"
	"flag"
	"fmt"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"windlass.dev/windlass/e2e/simagent/control"
)

// fanOut measures one object on its way to many clusters.
type fanOut struct{ sizes agentCounts }

func (f *fanOut) scenario() scenario {
	f.sizes = agentCounts{sizes{10, 100, goalAgents}}
	return scenario{
		name: "fan-out", what: "1 Deployment of 2 KB to many simulated agents: a create, an update, a delete", takes: "4 minutes",
		flags: func(flags *flag.FlagSet) {
			flags.Var(&f.sizes, "fan-out.agents", "to how many agents; the largest is how many there are, others are powers of ten")
		},
		run:    f.run,
		limits: "what a member takes to apply an object, for these agents keep it in memory; and what a network takes, for all are on one machine, whose processors they share with the hub; with 10 agents an act is less than the error of what an idle hub is taken to need, so its processor time can be below 0",
	}
}

func (f *fanOut) run(ctx context.Context, env *environment) ([]row, error) {
	h, err := startHerd(ctx, env, f.sizes.most())
	defer h.stop()
	if err != nil {
		return nil, err
	}
	var rows []row
	for _, size := range f.sizes.sizes {
		group := fmt.Sprint("to-", size)
		if err := h.policy(ctx, group, "apps/v1", "Deployment", h.toFirst(size)); err != nil {
			return rows, err
		}
		tables := map[string]*fanOutTable{}
		for run := range env.runs + 1 {
			// The first object makes what later ones find, such as a watch on its kind: it is not counted.
			if err := f.once(ctx, h, size, group, fmt.Sprintf("web-%d-%d", size, run), run > 0, tables); err != nil {
				return rows, err
			}
			env.progress("%d agents, run %d of %d", size, run, env.runs)
		}
		for _, act := range []string{"create", "update", "delete"} {
			rows = append(rows, tables[act].rows(fmt.Sprintf("%s agents, %s", grouped(int64(size)), act), size, act)...)
		}
	}
	return rows, nil
}

// fanOutTable has the figures of one act at one size, one value of each for every run.
type fanOutTable struct {
	changes, works, messages, bytesOut, bytesIn, allocations, hubCPU, agentCPU, answered, first, median, last, known []float64
}

// replicasEach is what a Deployment has in each cluster.
const replicasEach = 2

func (f *fanOut) once(ctx context.Context, h *herd, size int, group, name string, counts bool, tables map[string]*fanOutTable) error {
	binding := name + "-deployment"
	for _, act := range []struct {
		name   string
		do     func() error
		gone   bool
		looked schema.GroupVersionResource
		object string
		is     func(*unstructured.Unstructured) bool
	}{
		{"create", func() error { return h.create(ctx, deployments, web(name, group, replicasEach)) }, false, bindings, binding, fullyApplied},
		{"update", func() error { return h.setImage(ctx, name) }, false, deployments, name, nil},
		{"delete", func() error { return h.delete(ctx, deployments, name) }, true, bindings, binding, gone},
	} {
		t := tables[act.name]
		if t == nil {
			t = &fanOutTable{}
			tables[act.name] = t
		}
		if act.is == nil {
			var err error
			if act.is, err = h.newContentSeen(ctx, name); err != nil {
				return err
			}
		}
		one, err := h.spread(ctx, size, act.gone, act.looked, act.object, act.is, act.do)
		if err != nil {
			return fmt.Errorf("%s of %s: %w", act.name, name, err)
		}
		if counts {
			t.add(h, one)
		}
	}
	return nil
}

// newContentSeen tells when the hub's Deployment says that content is everywhere which is newer than the present one.
func (h *herd) newContentSeen(ctx context.Context, name string) (func(*unstructured.Unstructured) bool, error) {
	before, err := h.api.Resource(deployments).Namespace(namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	return func(o *unstructured.Unstructured) bool {
		if o == nil {
			return false
		}
		seen, _, _ := unstructured.NestedInt64(o.Object, "status", "observedGeneration")
		return o.GetGeneration() > before.GetGeneration() && seen >= o.GetGeneration()
	}, nil
}

// A spreading is one act that reached many agents.
type spreading struct {
	spent    spending
	agentCPU time.Duration
	// since the act began, in order: when each agent had it.
	arrived []time.Duration
	// answered is when the API server had, known when the hub said that it is done.
	answered, known time.Duration
}

// spread does something that reaches so many agents, and follows it.
func (h *herd) spread(ctx context.Context, agents int, removal bool, looked schema.GroupVersionResource, object string, is func(*unstructured.Unstructured) bool, do func() error) (spreading, error) {
	var s spreading
	seen, err := h.look(ctx, looked, object, is)
	if err != nil {
		return s, err
	}
	before, err := h.state(ctx)
	if err != nil {
		return s, err
	}
	if _, err := h.events(ctx); err != nil {
		return s, err
	}
	cpuBefore, err := h.agentsCPU()
	if err != nil {
		return s, err
	}
	var began time.Time
	s.spent, err = h.measured(ctx, func() error {
		began = time.Now()
		if err := do(); err != nil {
			return err
		}
		s.answered = time.Since(began)
		err := h.until(ctx, time.Minute, func(now control.State) bool {
			if removal {
				return now.Removals-before.Removals >= agents
			}
			return now.Puts-before.Puts >= agents
		})
		if err != nil {
			return err
		}
		known, err := await(ctx, seen, 2*time.Minute, "it was not seen in time")
		if err != nil {
			return err
		}
		s.known = known.at.Sub(began)
		return known.err
	})
	if err != nil {
		return s, err
	}
	cpuAfter, err := h.agentsCPU()
	if err != nil {
		return s, err
	}
	s.agentCPU = cpuAfter - cpuBefore
	events, err := h.events(ctx)
	for _, e := range events {
		if e.Gone == removal {
			s.arrived = append(s.arrived, time.Duration(e.At-began.UnixNano()))
		}
	}
	slices.Sort(s.arrived)
	return s, err
}

func (t *fanOutTable) add(h *herd, s spreading) {
	each := float64(len(s.arrived))
	t.changes = append(t.changes, s.spent.unleased())
	t.works = append(t.works, s.spent.writes("propagationworks"))
	t.messages = append(t.messages, s.spent.messages("in", "works", "reports")+s.spent.messages("out", "works", "reports"))
	t.bytesOut = append(t.bytesOut, s.spent.linkBytes("out", "works", "reports")/each)
	t.bytesIn = append(t.bytesIn, s.spent.linkBytes("in", "works", "reports")/each)
	t.allocations = append(t.allocations, s.spent.allocations()/each)
	t.hubCPU = append(t.hubCPU, float64(h.over(s.spent))/each)
	t.agentCPU = append(t.agentCPU, float64(s.agentCPU)/each)
	t.answered = append(t.answered, float64(s.answered))
	t.first = append(t.first, float64(s.arrived[0]))
	t.median = append(t.median, float64(s.arrived[len(s.arrived)/2]))
	t.last = append(t.last, float64(s.arrived[len(s.arrived)-1]))
	t.known = append(t.known, float64(s.known))
}

func (t *fanOutTable) rows(at string, size int, act string) []row {
	known, has := map[string]string{
		"create": "the binding says that all have applied it", "update": "the Deployment on the hub says that all have seen it",
		"delete": "the binding is gone",
	}[act], map[bool]string{true: "is told to remove it", false: "has it"}[act == "delete"]
	last, says := row{at: at, what: "the last agent " + has, unit: duration, values: t.last}, row{at: at, what: known, unit: duration, values: t.known}
	asks := size >= goalAgents && act == "create"
	last.goals, says.goals = when(asks, atMost(float64(300*time.Millisecond))), when(asks, atMost(float64(time.Second)))
	return []row{
		{at: at, what: "changes of etcd, without leases", unit: count, values: t.changes},
		{at: at, what: "  of works, by requests", unit: count, values: t.works},
		{at: at, what: "messages, both ways", unit: count, values: t.messages},
		{at: at, what: "bytes to an agent", unit: bytes, values: t.bytesOut},
		{at: at, what: "bytes from an agent", unit: bytes, values: t.bytesIn},
		{at: at, what: "allocations of the hub for an agent", unit: allocations, values: t.allocations},
		{at: at, what: "hub CPU for an agent, over an idle hub", unit: cpu, values: t.hubCPU},
		{at: at, what: "the simulated agent's own CPU", unit: cpu, values: t.agentCPU},
		{at: at, what: "the API server has answered", unit: duration, values: t.answered},
		{at: at, what: "the first agent " + has, unit: duration, values: t.first},
		{at: at, what: "the median agent " + has, unit: duration, values: t.median},
		last, says,
	}
}
