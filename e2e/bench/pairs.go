package main

import (
	"context"
	"flag"
	"fmt"
	"time"

	"windlass.dev/windlass/e2e/fleet"
)

// pairs measures what a ConfigMap costs the hub from its creation to its end: for itself, and for each member that
// has it. The cost for a pair of object and member must not grow with the number of either.
type pairs struct {
	objects sizes
	members sizes
}

func (p *pairs) scenario() scenario {
	p.objects, p.members = sizes{100, 300, 900}, sizes{1, 2, 3}
	return scenario{
		name: "pairs", what: "what a ConfigMap costs the hub, created and deleted, status included, with 1 to 3 real members",
		takes: "8 minutes",
		flags: func(flags *flag.FlagSet) {
			flags.Var(&p.objects, "pairs.objects", "how many ConfigMaps are created at once")
			flags.Var(&p.members, "pairs.members", "into how many members")
		},
		run: p.run,
		limits: "what the user's own requests cost the hub is in the processor time, and not in the puts; puts of a resource are the API " +
			"server's requests for them, in which there are some that came too late and put nothing",
	}
}

// idleFor is how long an idle hub is watched.
const idleFor = 20 * time.Second

func (p *pairs) run(ctx context.Context, env *environment) ([]row, error) {
	f, err := startFleet(ctx, env, p.members.most())
	defer f.Stop()
	if err != nil {
		return nil, err
	}
	env.progress("looking at the idle hub for %v", idleFor)
	idle, err := idleCost(ctx, f)
	if err != nil {
		return nil, err
	}
	t := tallied{}
	for run := range env.runs {
		for _, objects := range p.objects {
			for _, members := range p.members {
				env.progress("run %d of %d: %d ConfigMaps into %d members", run+1, env.runs, objects, members)
				namespace := fmt.Sprintf("pairs-%d-%d-%d", run, objects, members)
				b, err := configMapSort.burst(ctx, f, env, namespace, numbered("settings", objects), memberNames(members))
				if err != nil {
					return t.rows(p), err
				}
				whole := b.creating.plus(b.deleting)
				t.add(objects, members, whole, idle)
			}
		}
	}
	return t.rows(p), nil
}

// startFleet starts a fleet as users have it, but for the room in its members, which is no part of any question.
func startFleet(ctx context.Context, env *environment, members int) (*fleet.Fleet, error) {
	env.progress("starting a hub and %d members", members)
	return fleet.Start(ctx, fleet.Config{
		Members: memberNames(members), AsInstalled: true, Fsync: true, Node: roomyNode, Profiling: env.profiles != "",
	})
}

func memberNames(count int) []string {
	names := make([]string, count)
	for i := range names {
		names[i] = fmt.Sprintf("member%d", i+1)
	}
	return names
}

// idleCost is what a fleet costs with nothing to do.
func idleCost(ctx context.Context, f *fleet.Fleet) (cost, error) {
	spent, err := openLedger(ctx, f)
	if err != nil {
		return cost{}, err
	}
	select {
	case <-ctx.Done():
		return cost{}, ctx.Err()
	case <-time.After(idleFor):
	}
	return spent.close(ctx)
}

type cell struct{ objects, members int }

// tallied is what the objects of each cell cost: for one object, one value for each run.
type tallied map[cell]*tallies

type tallies struct {
	puts, byTime, deletes, messages, bytes, cpu []float64
	// written are the puts by resource.
	written breakdowns
}

func (t tallied) add(objects, members int, spent, idle cost) {
	at := cell{objects, members}
	if t[at] == nil {
		t[at] = &tallies{}
	}
	n := float64(objects)
	over := spent.over(idle)
	t[at].puts = append(t[at].puts, (over.puts-over.byTime())/n-1) // the user's own is one
	t[at].written = append(t[at].written, writtenFor(over.written, idle.written, n))
	t[at].byTime = append(t[at].byTime, spent.byTime())
	t[at].deletes = append(t[at].deletes, spent.deletes/n)
	t[at].messages = append(t[at].messages, spent.messages/n/float64(members))
	t[at].bytes = append(t[at].bytes, spent.bytes/n/float64(members))
	t[at].cpu = append(t[at].cpu, float64(spent.used["hub"])/n)
}

// writtenFor is what was written for one of n ConfigMaps, without the user's own and policies' statuses. Of what an idle hub
// writes, too, there is little and by chance: it stands together.
func writtenFor(written, idle map[string]float64, n float64) map[string]float64 {
	each := map[string]float64{configMaps.Resource: -1}
	for resource, puts := range written {
		if idle[resource] > 0 {
			resource = "what an idle hub writes, too"
		}
		each[resource] += puts / n
	}
	delete(each, policies.Resource)
	return each
}

// What one object may cost, and each member that has it besides.
const (
	putsForObject, putsForPair = 5, 3
	cpuForObject, cpuForPair   = 5 * time.Millisecond, 1500 * time.Microsecond
)

// putsGoal is that for an object in so many members, where it is one of many: without the user's own put.
func putsGoal(objects, members int) []goal {
	return when(asksOfPairs(objects), atMost(float64(putsForObject+putsForPair*members)))
}

// cpuGoal is that for the processor time of the hub, of which the second step is half.
func cpuGoal(objects, members, step int) []goal {
	return when(asksOfPairs(objects), atMost(float64(cpuForObject+time.Duration(members)*cpuForPair)/float64(step)))
}

// leastOfPairs is how many objects the goals ask for: with few it is chance that decides.
const leastOfPairs = 100

func asksOfPairs(objects int) bool { return objects >= leastOfPairs }

func (t tallied) rows(p *pairs) []row {
	var rows []row
	for _, objects := range p.objects {
		for _, members := range p.members {
			got := t[cell{objects, members}]
			if got == nil {
				continue
			}
			at := fmt.Sprintf("%s ConfigMaps → %s", grouped(int64(objects)), inMembers(members))
			rows = append(rows, row{at: at, what: "etcd puts for an object, less the user's own, an idle hub's and policies' statuses", unit: count, values: got.puts, goals: putsGoal(objects, members)})
			rows = append(rows, got.written.rows(at)...)
			rows = append(rows,
				row{at: at, what: "etcd puts of the policy's status, which is written by time", unit: count, values: got.byTime},
				row{at: at, what: "etcd deletions for an object", unit: count, values: got.deletes},
				row{at: at, what: "messages for each (object, member), both ways", unit: count, values: got.messages},
				row{at: at, what: "bytes for each (object, member), both ways, before TLS", unit: bytes, values: got.bytes},
				row{at: at, what: "hub CPU for an object", unit: cpu, values: got.cpu, goals: cpuGoal(objects, members, 1)},
				row{at: at, what: "hub CPU for an object, the second step", unit: cpu, values: got.cpu, goals: cpuGoal(objects, members, 2)},
			)
		}
	}
	return append(rows, t.pairRows(p)...)
}

// pairRows compare the most members with the fewest: what they cost more is what the pairs cost. The goals are for the sums.
func (t tallied) pairRows(p *pairs) []row {
	fewest, most := p.members.least(), p.members.most()
	if fewest == most {
		return nil
	}
	var rows []row
	for _, objects := range p.objects {
		few, many := t[cell{objects, fewest}], t[cell{objects, most}]
		if few == nil || many == nil || len(few.cpu) != len(many.cpu) {
			continue
		}
		at := fmt.Sprintf("%s ConfigMaps, %d members less %d", grouped(int64(objects)), most, fewest)
		pairPuts, restPuts := split(few.puts, many.puts, fewest, most)
		pairCPU, restCPU := split(few.cpu, many.cpu, fewest, most)
		rows = append(rows, row{at: at, what: "etcd puts for each (object, member)", unit: count, values: pairPuts})
		rows = append(rows, pairParts(few.written, many.written, fewest, most).rows(at)...)
		rows = append(rows,
			row{at: at, what: "etcd puts for each object besides", unit: count, values: restPuts},
			row{at: at, what: "hub CPU for each (object, member)", unit: cpu, values: pairCPU},
			row{at: at, what: "hub CPU for each object besides", unit: cpu, values: restCPU},
		)
	}
	return rows
}

func inMembers(n int) string {
	if n == 1 {
		return "1 member"
	}
	return fmt.Sprintf("%d members", n)
}

// pairParts are the parts of what each member costs.
func pairParts(few, many breakdowns, fewest, most int) breakdowns {
	parts := make(breakdowns, len(many))
	for run := range parts {
		parts[run] = map[string]float64{}
	}
	for _, name := range append(few.names(), many.names()...) {
		pair, _ := split(few.of(name), many.of(name), fewest, most)
		for run, value := range pair {
			parts[run][name] = value
		}
	}
	return parts
}

// split says of what an object costs with few and with many members which part each member costs, and what is left.
func split(few, many []float64, fewest, most int) (pair, rest []float64) {
	for i := range few {
		one := (many[i] - few[i]) / float64(most-fewest)
		pair = append(pair, one)
		rest = append(rest, few[i]-one*float64(fewest))
	}
	return pair, rest
}
