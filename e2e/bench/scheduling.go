package main

import (
	"context"
	"flag"
	"fmt"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"windlass.dev/windlass/e2e/simagent/control"
)

// scheduling measures decisions from the template to the works that are written.
type scheduling struct {
	sizes    agentCounts
	bindings int
}

func (s *scheduling) scenario() scenario {
	s.sizes = agentCounts{sizes{100, 1000, 5000}}
	return scenario{
		name: "schedule", what: "Deployments at once under each strategy, from the first binding until the last work has been written and sent", takes: "6 minutes",
		flags: func(flags *flag.FlagSet) {
			flags.Var(&s.sizes, "schedule.clusters", "over how many clusters; all but the largest are powers of ten")
			countFlag(flags, &s.bindings, "schedule.bindings", 200, "how many Deployments each time")
		},
		run:    s.run,
		limits: "the scheduler alone, for which there is a benchmark in pkg/schedule: here requests, bindings and works are written too, and the agents of the chosen clusters get and report them meanwhile",
	}
}

// replicasToDivide is what a Deployment has where replicas are divided, and in each cluster where they are not.
const replicasToDivide = 6

// A strategy is a way to choose clusters out of many. All of them choose few: what is measured is the choice.
type strategy struct {
	name      string
	placement func(affinity map[string]any) map[string]any
}

var strategies = []strategy{
	{"Duplicated, 3 by spread", func(affinity map[string]any) map[string]any {
		return map[string]any{"clusterAffinity": affinity, "spreadConstraints": []any{spreadBy("cluster", 3)}}
	}},
	{"Duplicated, 3 regions", func(affinity map[string]any) map[string]any {
		return map[string]any{"clusterAffinity": affinity, "spreadConstraints": []any{spreadBy("region", 3), spreadBy("cluster", 3)}}
	}},
	{"Divided by static weights", func(affinity map[string]any) map[string]any {
		// Without spread constraints: beside static weights they choose nothing.
		return map[string]any{"clusterAffinity": affinity, "replicaScheduling": divided("Weighted", nil)}
	}},
	{"Divided by room (dynamic weights)", func(affinity map[string]any) map[string]any {
		return map[string]any{"clusterAffinity": affinity, "spreadConstraints": []any{spreadBy("cluster", 3)},
			"replicaScheduling": divided("Weighted", map[string]any{"dynamicWeight": "AvailableReplicas"})}
	}},
	{"Divided, Aggregated", func(affinity map[string]any) map[string]any {
		return map[string]any{"clusterAffinity": affinity, "replicaScheduling": divided("Aggregated", nil)}
	}},
}

func spreadBy(field string, groups int64) map[string]any {
	return map[string]any{"spreadByField": field, "minGroups": groups, "maxGroups": groups}
}

func divided(preference string, weights map[string]any) map[string]any {
	scheduling := map[string]any{"replicaSchedulingType": "Divided", "replicaDivisionPreference": preference}
	if weights != nil {
		scheduling["weightPreference"] = weights
	}
	return scheduling
}

func (s *scheduling) run(ctx context.Context, env *environment) ([]row, error) {
	h, err := startHerd(ctx, env, s.sizes.most())
	defer h.stop()
	if err != nil {
		return nil, err
	}
	var rows []row
	for _, size := range s.sizes.sizes {
		for i, st := range strategies {
			env.progress("%d clusters, %s", size, st.name)
			more, err := s.strategy(ctx, h, size, fmt.Sprintf("s%d-%d", i, size), st)
			rows = append(rows, more...)
			if err != nil {
				return rows, fmt.Errorf("%d clusters, %s: %w", size, st.name, err)
			}
		}
	}
	return rows, nil
}

func (s *scheduling) strategy(ctx context.Context, h *herd, clusters int, group string, st strategy) ([]row, error) {
	affinity := h.toFirst(clusters)["clusterAffinity"].(map[string]any)
	if err := h.policy(ctx, group, "apps/v1", "Deployment", st.placement(affinity)); err != nil {
		return nil, err
	}
	var rates, changes, allocated, hubCPU []float64
	for run := range h.env.runs + 1 {
		rate, spent, err := s.once(ctx, h, fmt.Sprintf("%s-%d", group, run), group)
		if err != nil {
			return nil, err
		}
		if run == 0 {
			continue // to warm up
		}
		n := float64(s.bindings)
		rates, changes = append(rates, rate), append(changes, spent.unleased()/n)
		allocated, hubCPU = append(allocated, spent.allocations()/n), append(hubCPU, float64(h.over(spent))/n)
	}
	at := grouped(int64(clusters)) + " clusters"
	return []row{
		{at: at, what: st.name + ": changes of etcd for a Deployment", unit: count, values: changes},
		{at: at, what: st.name + ": allocations of the hub for a Deployment", unit: allocations, values: allocated},
		{at: at, what: st.name + ": hub CPU for a Deployment, status included", unit: cpu, values: hubCPU},
		{at: at, what: st.name + ": decisions, all works written and sent", unit: rate, values: rates},
	}, nil
}

// once makes Deployments at once and tells how many a second were placed and rendered; then it takes them away.
func (s *scheduling) once(ctx context.Context, h *herd, prefix, group string) (float64, spending, error) {
	following, stop := context.WithCancel(ctx)
	defer stop()
	placed, err := s.follow(following, h)
	if err != nil {
		return 0, spending{}, err
	}
	before, err := h.state(ctx)
	if err != nil {
		return 0, spending{}, err
	}
	if _, err := h.events(ctx); err != nil {
		return 0, spending{}, err
	}
	name := func(i int) string { return fmt.Sprintf("%s-%d", prefix, i) }
	var began time.Time
	spent, err := h.measured(ctx, func() error {
		err := many(ctx, s.bindings, func(ctx context.Context, i int) error {
			return h.create(ctx, deployments, web(name(i), group, replicasToDivide))
		})
		if err != nil {
			return err
		}
		all, err := await(ctx, placed, 2*time.Minute, fmt.Sprintf("%d Deployments were not all placed", s.bindings))
		if err != nil {
			return err
		}
		began = all.first
		return h.until(ctx, 2*time.Minute, func(now control.State) bool { return now.Puts-before.Puts >= all.works })
	})
	if err != nil {
		return 0, spent, err
	}
	events, err := h.events(ctx)
	if err != nil {
		return 0, spent, err
	}
	var last int64
	for _, e := range events {
		last = max(last, e.At)
	}
	return float64(s.bindings) / time.Unix(0, last).Sub(began).Seconds(), spent, h.remove(ctx, deployments, s.bindings, name)
}

// placements are when the first binding was seen, and how many works all of them together make.
type placements struct {
	first time.Time
	works int
}

// follow tells when so many bindings have clusters.
func (s *scheduling) follow(ctx context.Context, h *herd) (<-chan placements, error) {
	var (
		mutex sync.Mutex
		all   placements
		seen  = map[string]bool{}
		done  = make(chan placements, 1)
	)
	return done, h.watchAll(ctx, bindings, func(name string, o *unstructured.Unstructured) {
		mutex.Lock()
		defer mutex.Unlock()
		if o == nil || seen[name] {
			return
		}
		if all.first.IsZero() {
			all.first = time.Now()
		}
		clusters, _, _ := unstructured.NestedSlice(o.Object, "spec", "clusters")
		if len(clusters) == 0 {
			return
		}
		seen[name], all.works = true, all.works+len(clusters)
		if len(seen) == s.bindings {
			done <- all
		}
	})
}
