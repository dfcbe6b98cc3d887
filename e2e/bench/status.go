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

// status measures how long the hub takes when everything everywhere changes its status at once.
type status struct{ agents, objects int }

func (s *status) scenario() scenario {
	return scenario{
		name: "status", what: "every simulated agent changes the status of all its Deployments at once", takes: "7 minutes",
		flags: func(flags *flag.FlagSet) {
			countFlag(flags, &s.agents, "status.agents", goalAgents, "how many agents")
			countFlag(flags, &s.objects, "status.objects", 100, "how many Deployments each of them has")
		},
		run:    s.run,
		limits: "that real agents wait half a second before they report what is not healthy; these report at once; of each two runs one is from healthy to not, and one back",
		shares: true,
	}
}

func (s *status) run(ctx context.Context, env *environment) (rows []row, err error) {
	h, err := env.herdOf(ctx, s.agents, s.objects)
	defer func() { env.leave(h, err) }()
	if err != nil {
		return nil, err
	}
	var changes, works, bytesIn, allocated, hubCPU, took []float64
	for run := range 2 * env.longRuns {
		ready, healthy := 1, 0
		if run%2 == 1 {
			ready, healthy = replicasEach, s.agents
		}
		env.progress("%d of %d replicas are ready everywhere, run %d of %d", ready, replicasEach, run+1, 2*env.longRuns)
		spent, lasted, err := s.change(ctx, h, ready, healthy)
		if err != nil {
			return nil, err
		}
		pairs := float64(s.agents * s.objects)
		changes = append(changes, spent.unleased()/pairs)
		works = append(works, spent.writes("propagationworks")/pairs)
		bytesIn = append(bytesIn, spent.linkBytes("in", "reports")/pairs)
		allocated = append(allocated, spent.allocations()/pairs)
		hubCPU = append(hubCPU, float64(h.over(spent))/pairs)
		took = append(took, float64(lasted))
	}
	at := fmt.Sprintf("%s Deployments × %s agents", grouped(int64(s.objects)), grouped(int64(s.agents)))
	return []row{
		{at: at, what: "changes of etcd for a report, without leases", unit: count, values: changes},
		{at: at, what: "  of works, by requests", unit: count, values: works},
		{at: at, what: "bytes from an agent for a report", unit: bytes, values: bytesIn},
		{at: at, what: "allocations of the hub for a report", unit: allocations, values: allocated},
		{at: at, what: "hub CPU for a report, over an idle hub", unit: cpu, values: hubCPU},
		{at: at, what: "every binding's summary and every Deployment's status is right", unit: duration, values: took},
	}, nil
}

// fill makes objects and returns when all agents have them and every binding says so.
func (h *herd) fill(ctx context.Context, objects int, do func(ctx context.Context, i int) error) error {
	following, stop := context.WithCancel(ctx)
	defer stop()
	known, err := h.countBindings(following, objects, fullyApplied)
	if err != nil {
		return err
	}
	if err := many(ctx, objects, do); err != nil {
		return err
	}
	told := time.Now()
	err = h.until(ctx, 20*time.Minute, func(s control.State) bool {
		if time.Since(told) > 10*time.Second {
			told = time.Now()
			h.env.progress("the agents have %d of %d works", s.Works, objects*h.agents)
		}
		return s.Works >= objects*h.agents
	})
	if err != nil {
		return err
	}
	for deadline := time.Now().Add(10 * time.Minute); ; {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-known:
			_, err = h.events(ctx)
			return err
		case <-time.After(10 * time.Second):
			h.env.progress("the agents have all works; not all bindings say so yet")
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("not all bindings came to say that they are applied")
		}
	}
}

// change changes the status of everything and waits until the hub tells it right.
func (s *status) change(ctx context.Context, h *herd, ready, healthy int) (spending, time.Duration, error) {
	following, stop := context.WithCancel(ctx)
	defer stop()
	right, err := s.follow(following, h, ready, healthy)
	if err != nil {
		return spending{}, 0, err
	}
	var lasted time.Duration
	spent, err := h.measured(ctx, func() error {
		began := time.Now()
		for _, client := range h.clients {
			if err := client.SetReady(ctx, ready); err != nil {
				return err
			}
		}
		at, err := await(ctx, right, 15*time.Minute, fmt.Sprintf("the hub did not come to tell that %d replicas are ready everywhere", ready))
		lasted = at.Sub(began)
		return err
	})
	return spent, lasted, err
}

// follow tells when all bindings and all Deployments on the hub tell what is the case in the members.
func (s *status) follow(ctx context.Context, h *herd, ready, healthy int) (<-chan time.Time, error) {
	var mutex sync.Mutex
	wrong, right := map[string]bool{}, make(chan time.Time, 1)
	see := func(key string, is bool) {
		mutex.Lock()
		defer mutex.Unlock()
		before := len(wrong)
		if is {
			delete(wrong, key)
		} else {
			wrong[key] = true
		}
		if before > 0 && len(wrong) == 0 {
			select {
			case right <- time.Now():
			default:
			}
		}
	}
	for i := range s.objects {
		wrong[fmt.Sprint("binding/web-", i, "-deployment")], wrong[fmt.Sprint("web-", i)] = true, true
	}
	err := h.watchAll(ctx, bindings, func(name string, o *unstructured.Unstructured) {
		count := int64(-1)
		if o != nil {
			count, _, _ = unstructured.NestedInt64(o.Object, "status", "summary", "healthy")
		}
		see("binding/"+name, count == int64(healthy))
	})
	if err != nil {
		return nil, err
	}
	return right, h.watchAll(ctx, deployments, func(name string, o *unstructured.Unstructured) {
		see(name, o != nil && readyReplicas(o) == ready*h.agents)
	})
}
