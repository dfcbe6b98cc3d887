package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"windlass.dev/windlass/e2e/simagent/control"
)

// bulk measures many objects at once to many agents.
type bulk struct{ sizes bulkSizes }

func (b *bulk) scenario() scenario {
	// Three sizes on each axis, so that one sees what grows.
	b.sizes = bulkSizes{{10, 100}, {100, 10}, {100, 100}, {1000, 100}, {100, 1000}}
	return scenario{
		name: "bulk", what: "many ConfigMaps of 1 KB at once to many simulated agents, and their deletion", takes: "17 minutes",
		flags: func(flags *flag.FlagSet) {
			flags.Var(&b.sizes, "bulk.sizes", "objects x agents; the agents are powers of ten")
		},
		run:    b.run,
		limits: "what a member takes to apply an object, for these agents keep it in memory",
	}
}

type bulkSize struct{ objects, agents int }

// bulkSizes are those that are measured, as a flag: 1000x100,100x1000.
type bulkSizes []bulkSize

// String implements flag.Value.
func (b *bulkSizes) String() string {
	var words []string
	for _, s := range *b {
		words = append(words, fmt.Sprintf("%dx%d", s.objects, s.agents))
	}
	return strings.Join(words, ",")
}

// Set implements flag.Value.
func (b *bulkSizes) Set(text string) error {
	var set bulkSizes
	for word := range strings.SplitSeq(text, ",") {
		objects, agents, _ := strings.Cut(strings.TrimSpace(word), "x")
		var s bulkSize
		var errs [2]error
		s.objects, errs[0] = atLeast(1)(objects)
		s.agents, errs[1] = atLeast(1)(agents)
		if errors.Join(errs[:]...) != nil || !isPowerOfTen(s.agents) {
			return fmt.Errorf("%q: want OBJECTSxAGENTS, with agents a power of ten, such as 1000x100,100x1000", word)
		}
		set = append(set, s)
	}
	*b = set
	return nil
}

func (b *bulk) run(ctx context.Context, env *environment) ([]row, error) {
	var rows []row
	for _, size := range b.sizes {
		more, err := b.size(ctx, env, size)
		rows = append(rows, more...)
		if err != nil {
			return rows, fmt.Errorf("%d objects, %d agents: %w", size.objects, size.agents, err)
		}
	}
	return rows, nil
}

// bulkTable has the figures of one act at one size.
type bulkTable struct {
	changes, bytesOut, bytesIn, allocations, hubCPU, agentCPU, resident, rate, last, known []float64
	// written are the requests for these changes by resource, those that lost a race included; those for bindings, of which there is one
	// for an object, are by object.
	written  breakdowns
	bindings []float64
}

// size measures one size with a hub of its own, so that none finds what another has left.
func (b *bulk) size(ctx context.Context, env *environment, size bulkSize) ([]row, error) {
	h, err := startHerd(ctx, env, size.agents)
	defer h.stop()
	if err != nil {
		return nil, err
	}
	if err := h.policy(ctx, "bulk", "v1", "ConfigMap", h.toFirst(size.agents)); err != nil {
		return nil, err
	}
	var created, deleted bulkTable
	for run := range env.longRuns {
		name := func(i int) string { return fmt.Sprintf("settings-%d-%d", run, i) }
		env.progress("%d objects to %d agents, run %d of %d", size.objects, size.agents, run+1, env.longRuns)
		err := created.measure(ctx, h, size, false, func(ctx context.Context, i int) error {
			return h.create(ctx, configMaps, settings(name(i), "bulk"))
		})
		if err != nil {
			return nil, err
		}
		env.progress("deleting them")
		err = deleted.measure(ctx, h, size, true, func(ctx context.Context, i int) error { return h.delete(ctx, configMaps, name(i)) })
		if err != nil {
			return nil, err
		}
	}
	at := fmt.Sprintf("%s objects × %s agents", grouped(int64(size.objects)), grouped(int64(size.agents)))
	return append(created.rows(at+", create", "has the last object", "says that all have applied it"), deleted.rows(at+", delete", "is told to remove the last object", "is gone")...), nil
}

// measure does something with all objects and follows it to its end: every agent has it, and every binding says so.
func (t *bulkTable) measure(ctx context.Context, h *herd, size bulkSize, removal bool, do func(ctx context.Context, i int) error) error {
	following, stop := context.WithCancel(ctx)
	defer stop()
	known, err := h.countBindings(following, size.objects, func(o *unstructured.Unstructured) bool {
		if removal {
			return o == nil
		}
		return fullyApplied(o)
	})
	if err != nil {
		return err
	}
	before, err := h.state(ctx)
	if err != nil {
		return err
	}
	agentsBefore, err := h.agentsCPU()
	if err != nil {
		return err
	}
	pairs := float64(size.objects * size.agents)
	var last, all time.Duration
	spent, err := h.measured(ctx, func() error {
		began := time.Now()
		if err := many(ctx, size.objects, do); err != nil {
			return err
		}
		err := h.until(ctx, 15*time.Minute, func(s control.State) bool {
			if removal {
				return s.Removals-before.Removals >= int(pairs)
			}
			return s.Puts-before.Puts >= int(pairs)
		})
		if err != nil {
			return err
		}
		last = time.Since(began)
		at, err := await(ctx, known, 5*time.Minute, "the bindings did not come to say so")
		all = at.Sub(began)
		return err
	})
	if err != nil {
		return err
	}
	agentsAfter, err := h.agentsCPU()
	if err != nil {
		return err
	}
	after, err := h.meter.end(ctx)
	if err != nil {
		return err
	}
	t.changes = append(t.changes, spent.unleased()/pairs)
	written := spent.byResource("create", "update", "delete")
	t.bindings = append(t.bindings, written[bindings.Resource]/float64(size.objects))
	delete(written, bindings.Resource)
	delete(written, "leases")
	t.written = append(t.written, added(map[string]float64{}, written, 1/pairs))
	t.bytesOut = append(t.bytesOut, spent.linkBytes("out", "works", "reports")/pairs)
	t.bytesIn = append(t.bytesIn, spent.linkBytes("in", "works", "reports")/pairs)
	t.allocations = append(t.allocations, spent.allocations()/pairs)
	t.hubCPU = append(t.hubCPU, float64(h.over(spent))/pairs)
	t.agentCPU = append(t.agentCPU, float64(agentsAfter-agentsBefore)/pairs)
	t.resident = append(t.resident, float64(after.resident))
	t.rate = append(t.rate, pairs/last.Seconds())
	t.last = append(t.last, float64(last))
	t.known = append(t.known, float64(all))
	if _, err := h.events(ctx); err != nil {
		return err
	}
	return nil
}

// countBindings tells when so many bindings in the namespace have been as asked for, each at least once.
func (h *herd) countBindings(ctx context.Context, n int, is func(*unstructured.Unstructured) bool) (<-chan time.Time, error) {
	var mutex sync.Mutex
	fine, all := map[string]bool{}, make(chan time.Time, 1)
	err := h.watchAll(ctx, bindings, func(name string, object *unstructured.Unstructured) {
		mutex.Lock()
		defer mutex.Unlock()
		if is(object) && !fine[name] {
			if fine[name] = true; len(fine) == n {
				all <- time.Now()
			}
		}
	})
	return all, err
}

func (t *bulkTable) rows(at, last, known string) []row {
	rows := []row{{at: at, what: "changes of etcd for a pair, without leases", unit: count, values: t.changes}}
	return append(append(rows, t.written.rows(at)...), []row{
		{at: at, what: "  of its binding, by requests, for an object", unit: count, values: t.bindings},
		{at: at, what: "bytes to an agent for a pair", unit: bytes, values: t.bytesOut},
		{at: at, what: "bytes from an agent for a pair", unit: bytes, values: t.bytesIn},
		{at: at, what: "allocations of the hub for a pair", unit: allocations, values: t.allocations},
		{at: at, what: "hub resident afterwards", unit: memory, values: t.resident},
		{at: at, what: "hub CPU for a pair, over an idle hub", unit: cpu, values: t.hubCPU},
		{at: at, what: "the simulated agents' own CPU for a pair", unit: cpu, values: t.agentCPU},
		{at: at, what: "pairs a second until the last", unit: rate, values: t.rate},
		{at: at, what: "the last agent " + last, unit: duration, values: t.last},
		{at: at, what: "the last binding " + known, unit: duration, values: t.known},
	}...)
}
