package capacity

import (
	"maps"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"

	workv1alpha1 "windlass.dev/windlass/api/work/v1alpha1"
	"windlass.dev/windlass/pkg/estimate"
)

// An assumption is that replicas of a binding which a cluster does not show yet take their room there. Without it all of
// a burst would go where there was most room before it.
type assumption struct {
	need *estimate.Need
	// seen is how many replicas the cluster had when it began, and meant how many it shall have.
	seen, meant int32
	// generation of the work when it was made: it shows when a later one is applied.
	generation int64
	until      time.Time
}

func (a assumption) takes() estimate.Amounts { return a.need.Times(int64(a.meant - a.seen)) }

// Assume says that a binding's replicas with such needs were placed: as after says, where it was as before says. What
// clusters have more is taken off their room until it shows there. Saying it again changes nothing, and a binding that is
// gone needs no word. Clusters of which nobody has asked are left out: where nothing is divided by room, nothing is kept.
//
// What it returns takes the word back, for a placement that could not be written: what was assumed of the binding before is
// assumed again.
func (g *Gatherer) Assume(binding types.NamespacedName, needs *workv1alpha1.ReplicaRequirements, before, after []workv1alpha1.TargetCluster) (undo func()) {
	shape, err := g.shape(needs)
	if err != nil {
		return func() {} // nothing is answered about such needs, either
	}
	had := map[string]int32{}
	for _, target := range before {
		had[target.Name] = target.Replicas
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	var steps []func()
	for _, target := range after {
		steps = append(steps, g.assume(target.Name, binding, shape.need, had[target.Name], target.Replicas))
		delete(had, target.Name)
	}
	for cluster := range had {
		steps = append(steps, g.assume(cluster, binding, shape.need, 0, 0))
	}
	return func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		for _, step := range steps {
			step()
		}
	}
}

// assume is called with the lock held, and so is what it returns, which takes it back.
func (g *Gatherer) assume(cluster string, binding types.NamespacedName, need *estimate.Need, seen, meant int32) (undo func()) {
	m := g.members[cluster]
	if m == nil {
		return func() {}
	}
	known, assumed := m.assumed[binding]
	undo = func() {
		if g.members[cluster] != m {
			return // it is gone meanwhile, with all that was assumed
		}
		g.drop(m, binding)
		if assumed {
			g.keep(m, binding, known)
		}
	}
	if assumed {
		seen = known.seen // of what was placed before nothing shows yet
		g.drop(m, binding)
	}
	if meant <= seen || g.assumed >= mostAssumptions {
		return undo
	}
	next := assumption{need: need, seen: seen, meant: meant, generation: known.generation, until: known.until}
	if !assumed || known.meant != meant {
		delivery, _ := g.config.Clusters.Delivery(cluster, binding)
		next.generation, next.until = delivery.Generation, g.config.Now().Add(g.config.AssumeFor)
	}
	g.keep(m, binding, next)
	return undo
}

// keep is called with the lock held.
func (g *Gatherer) keep(m *member, binding types.NamespacedName, next assumption) {
	m.assumed[binding] = next
	m.taken.Add(next.takes(), 1)
	g.assumed++
}

// drop drops what is assumed of a binding, if anything. The caller holds the lock.
func (g *Gatherer) drop(m *member, binding types.NamespacedName) {
	known, assumed := m.assumed[binding]
	if !assumed {
		return
	}
	m.taken.Add(known.takes(), -1)
	delete(m.assumed, binding)
	g.assumed--
}

// settle drops what shows in a cluster as it was at a time, or never will. The caller holds the lock.
func (g *Gatherer) settle(cluster string, m *member, at time.Time) {
	m.settled = later(m.settled, at)
	before := len(m.assumed)
	for binding, assumed := range m.assumed {
		delivery, exists := g.config.Clusters.Delivery(cluster, binding)
		if exists && g.config.Now().Before(assumed.until) && !delivery.shows(assumed.generation, at) {
			continue
		}
		g.drop(m, binding)
	}
	if len(m.assumed) < before {
		clear(m.answers)
		m.dropped = later(m.dropped, at)
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// sweep settles all clusters, one after the other so that nobody waits for long.
func (g *Gatherer) sweep() {
	g.mu.Lock()
	clusters := slices.Collect(maps.Keys(g.members))
	g.mu.Unlock()
	for _, cluster := range clusters {
		_, at := g.config.Clusters.Summary(cluster)
		g.mu.Lock()
		if m := g.members[cluster]; m != nil {
			g.settle(cluster, m, at)
		}
		g.mu.Unlock()
	}
}

// shows says whether the pods of a generation after this one were there at a time.
func (d Delivery) shows(generation int64, at time.Time) bool {
	return d.Healthy > generation && !at.Before(d.HealthyAt) ||
		d.Applied > generation && !at.Before(d.AppliedAt.Add(podsAppear))
}

// assumptions is how many there are.
func (g *Gatherer) assumptions() float64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return float64(g.assumed)
}
