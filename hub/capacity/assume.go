package capacity

import (
	"encoding/json"
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
	next := assumption{need: need, seen: seen, meant: meant, generation: known.generation, until: known.until}
	if assumed {
		next.seen = known.seen // of what was placed before nothing shows yet
		g.drop(m, binding)
	}
	if meant <= next.seen && (assumed || meant == 0) || g.assumed >= mostAssumptions {
		return undo
	}
	if !assumed || known.meant != meant {
		delivery, _ := g.config.Clusters.Delivery(cluster, binding)
		next.generation, next.until = delivery.Generation, g.config.Now().Add(g.config.AssumeFor)
		if !assumed && !delivery.stands() {
			next.seen = min(seen, delivery.replicas()) // it was meant to be there before, and has not come
		}
	}
	if meant <= next.seen {
		return undo
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

// meet makes clusters known of which nobody has asked yet, and recalls what was placed there: in another life of the hub, or
// where no room was counted. Whoever asks at the same time waits until that is done.
func (g *Gatherer) meet(clusters []string) {
	g.meeting.Lock()
	defer g.meeting.Unlock()
	met := map[string]*member{}
	g.mu.Lock()
	for _, cluster := range clusters {
		if g.members[cluster] == nil {
			met[cluster] = g.member(cluster)
		}
	}
	g.mu.Unlock()
	if len(met) == 0 {
		return
	}
	g.config.Clusters.Placements(func(p Placement) {
		shape, err := g.shape(p.Needs)
		if err != nil {
			return // nothing is answered about such needs, either
		}
		for _, target := range p.Clusters {
			if m := met[target.Name]; m != nil {
				g.recall(target.Name, m, p.Binding, shape.need, target.Replicas)
			}
		}
	})
}

// recent is for how long after a work was applied the sums of its cluster may lack it, when its agent has not come back yet.
const recent = time.Minute

// recall assumes what a cluster does not show for sure.
func (g *Gatherer) recall(cluster string, m *member, binding types.NamespacedName, need *estimate.Need, meant int32) {
	delivery, _ := g.config.Clusters.Delivery(cluster, binding)
	now := g.config.Now()
	next := assumption{need: need, meant: meant, seen: delivery.replicas(), generation: max(delivery.Generation-1, 0), until: now.Add(g.config.AssumeFor)}
	if delivery.stands() {
		since := later(delivery.AppliedAt, delivery.HealthyAt)
		switch says, fewer := delivery.counts(), next.seen < meant; {
		case now.Sub(since) < recent:
			next.seen = 0 // what its agent says next has it all
		case says && fewer:
			next.generation = delivery.Generation // its next generation may not be written yet
		default:
			return
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	_, known := m.assumed[binding]
	if known || meant <= next.seen || g.members[cluster] != m || g.assumed >= mostAssumptions {
		return
	}
	g.keep(m, binding, next)
}

// stands says whether the cluster has the work as it is.
func (d Delivery) stands() bool { return d.Generation > 0 && d.Applied >= d.Generation && !d.Suspended }

// counts says whether the member says how many replicas there are.
func (d Delivery) counts() bool {
	_, says := d.counted()
	return says
}

// replicas is how many there are as the member says, 0 when it does not.
func (d Delivery) replicas() int32 {
	n, _ := d.counted()
	return n
}

// counted reads the fields by which workloads and Jobs count their pods.
func (d Delivery) counted() (replicas int32, says bool) {
	var status struct{ Replicas, Active *int32 }
	if len(d.Status) == 0 || json.Unmarshal(d.Status, &status) != nil {
		return 0, false
	}
	for _, n := range []*int32{status.Replicas, status.Active} {
		if n != nil {
			return *n, true
		}
	}
	return 0, false
}

// settle drops what shows in a cluster as it was at a time, or never will. The caller holds the lock.
func (g *Gatherer) settle(cluster string, m *member, at time.Time) {
	m.settled = later(m.settled, at)
	g.forgetShown(cluster, m)
	for binding, assumed := range m.assumed {
		delivery, exists := g.config.Clusters.Delivery(cluster, binding)
		from, shows := delivery.shows(assumed.generation)
		shows = exists && shows && !at.Before(from)
		if exists && g.config.Now().Before(assumed.until) && !shows {
			continue
		}
		g.drop(m, binding)
		if shows {
			m.show(shown{takes: assumed.takes(), since: from, from: from, told: g.config.Now()})
		} else {
			g.outdate(m) // some of it may be there all the same
		}
	}
}

// shown is what was assumed, until it showed.
type shown struct {
	takes estimate.Amounts
	// since is when the first of it began to show and from when the last did, by the agent's clock, and told when the hub was told, by its own.
	since, from, told time.Time
}

const (
	// mostShown bounds what is kept of one cluster. The oldest is joined to the next then: too much is taken off numbers that are between
	// the two, and never too little.
	mostShown = 64
	// together is within how long what has begun to show is joined as well: of a burst no more than that.
	together = time.Second
)

// show keeps what numbers of before lack.
func (m *member) show(next shown) {
	if last := len(m.shown) - 1; last >= 0 && next.from.Sub(m.shown[last].since) < together {
		m.shown[last].join(next)
		return
	}
	if m.shown = append(m.shown, next); len(m.shown) > mostShown {
		m.shown[0].join(m.shown[1])
		m.shown = slices.Delete(m.shown, 1, 2)
	}
}

func (s *shown) join(other shown) {
	s.takes.Add(other.takes, 1)
	s.from, s.told = later(s.from, other.from), later(s.told, other.told)
}

// forgetShown forgets what the cluster's sums show, and any answer that counts. The caller holds the lock.
func (g *Gatherer) forgetShown(cluster string, m *member) {
	if len(m.shown) == 0 {
		return
	}
	_, at := g.config.Clusters.Summary(cluster)
	m.shown = slices.DeleteFunc(m.shown, func(s shown) bool {
		return !at.Before(s.from) && g.config.Now().Sub(s.told) > recent+g.config.MaxAge
	})
}

// lacking is what the numbers of a time lack. It must not be changed.
func (m *member) lacking(at time.Time) estimate.Amounts {
	late := slices.IndexFunc(m.shown, func(s shown) bool { return s.from.After(at) })
	if late < 0 {
		return m.taken
	}
	sum := maps.Clone(m.taken)
	for _, s := range m.shown[late:] {
		if s.from.After(at) {
			sum.Add(s.takes, 1)
		}
	}
	return sum
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

// shows says since when the pods of a generation after this one are there, if they are.
func (d Delivery) shows(generation int64) (from time.Time, are bool) {
	if d.Applied > generation {
		from, are = d.AppliedAt.Add(podsAppear), true
	}
	if d.Healthy > generation && (!are || d.HealthyAt.Before(from)) {
		from, are = d.HealthyAt, true
	}
	return from, are
}

// assumptions is how many there are.
func (g *Gatherer) assumptions() float64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return float64(g.assumed)
}
