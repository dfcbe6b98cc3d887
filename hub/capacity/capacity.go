// Package capacity finds out for how many replicas of a workload there is room in clusters: it alone asks the agents,
// remembers their answers for a moment, and takes off what was placed and can't be seen in the clusters yet.
//
// A scheduler gathers before it decides. What an agent does not say in time comes from the sums in its MemberCluster's
// status, and is marked as such; of a cluster that has said nothing at all, nothing is known.
package capacity

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/proto"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	clusterv1alpha1 "windlass.dev/windlass/api/cluster/v1alpha1"
	linkv1 "windlass.dev/windlass/api/link/v1"
	workv1alpha1 "windlass.dev/windlass/api/work/v1alpha1"
	"windlass.dev/windlass/pkg/estimate"
)

// Agents are asked through the link. Safe for concurrent use.
type Agents interface {
	// Connected says whether it makes sense to ask.
	Connected(cluster string) bool
	// Ask waits for the answer until the context is done.
	Ask(ctx context.Context, cluster, kind string, body []byte) (*linkv1.Answer, error)
}

// Clusters is what the hub's store shows. It is read from memory, and safe for concurrent use.
type Clusters interface {
	// Summary returns the sums that a cluster's agent last told, nil for none, and when they were true by the agent's
	// clock; the zero time when that is not known.
	Summary(cluster string) (*clusterv1alpha1.ResourceSummary, time.Time)
	// Delivery says how far the work of a binding has come in a cluster; false when there is no such binding any more.
	Delivery(cluster string, binding types.NamespacedName) (Delivery, bool)
	// Placements calls with every workload that is placed.
	Placements(each func(Placement))
}

// A Placement is where a workload goes, but for the clusters that it is kept from.
type Placement struct {
	Binding  types.NamespacedName
	Needs    *workv1alpha1.ReplicaRequirements
	Clusters []workv1alpha1.TargetCluster
}

// A Delivery is how far a work has come. The times are those of the agent's clock.
type Delivery struct {
	// Generation of the work on the hub, 0 when there is none yet.
	Generation int64
	// Suspended is true while the work is not sent.
	Suspended bool
	// Status is what the member last said of the workload, as JSON; empty when it has said nothing.
	Status []byte
	// Applied and Healthy are the last generations that were so in the member, and since when.
	Applied, Healthy     int64
	AppliedAt, HealthyAt time.Time
}

// Config is what a Gatherer needs. Agents and Clusters are required.
type Config struct {
	Agents   Agents
	Clusters Clusters
	// Timeout is how long agents have to answer. Default 1 s.
	Timeout time.Duration
	// MaxAge is how long an answer is good. Default 3 s.
	MaxAge time.Duration
	// AssumeFor is how long what was placed is taken off when it does not show in the cluster. Default 5 min.
	AssumeFor time.Duration
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// Registerer takes the metrics; nil means none.
	Registerer prometheus.Registerer
}

// A Source says where an answer comes from.
type Source string

// Sources of answers.
const (
	// FromAgent is exact: by node, and with what the workload asks of a node.
	FromAgent Source = "Agent"
	// FromSummary is made of sums over all nodes.
	FromSummary Source = "Summary"
	// Unknown is no answer.
	Unknown Source = "Unknown"
)

// An Answer says for how many replicas more there is room in a cluster.
type Answer struct {
	// Replicas is 0 when the source is Unknown.
	Replicas int32
	Source   Source
	// Assumed is for how many more there would be room, but for what was placed and can't be seen there yet.
	Assumed int32
	// Why the agent has not answered, a phrase; empty when it has.
	Why string
	// Awaited is true while the agent is on its way back to a hub that has just begun. The listeners are told when it is
	// there, and when it is not waited for any longer.
	Awaited bool
}

const (
	// askAgain is after how long an agent that did not answer is asked again: each wait for it holds a decision up.
	askAgain = 10 * time.Second
	// lateness is by how many timeouts an answer may be late and still be of use, for those who ask next.
	lateness = 10
	// podsAppear is how long a member's controllers have to make the pods of what was applied.
	podsAppear = 5 * time.Second
	// mostAnswers bounds the answers that are kept of one cluster.
	mostAnswers = 64
	// mostShapes bounds the requirements that are kept in compiled form.
	mostShapes = 1024
	// mostAssumptions bounds what is assumed of all clusters; what comes on top is not.
	mostAssumptions = 100_000
	// sweeping is how often assumptions are looked at of clusters that nobody asks about any more.
	sweeping = 30 * time.Second
	// comeBack is how long a hub that has just begun waits for agents: after an outage of less than two minutes their attempts are up to
	// 2 s apart, and a thousand handshakes take 2 s more. After a longer one most of them come later.
	comeBack = 5 * time.Second
	// damping is the least time between two words to the listeners, or an agent that says all the time that there is more
	// room would keep the hub busy.
	damping = time.Second
)

// A Gatherer gathers capacity. Its methods are safe for concurrent use.
type Gatherer struct {
	config  Config
	metrics *metrics
	// asking ends when Run does; flights are the questions that are under way.
	asking  context.Context
	stop    context.CancelFunc
	flights sync.WaitGroup

	mu      sync.Mutex
	stopped bool
	shapes  map[string]*shape  // by the protobuf of their words
	members map[string]*member // of which somebody has asked
	assumed int                // in all members
	// growth says that some cluster has more room, which the listeners have not been told yet.
	growth    chan struct{}
	listeners []func()
	// expected are the clusters whose agents were connected to the process before, and since when they are back, the zero time
	// before that; after expectedUntil nobody waits for them.
	expected      map[string]time.Time
	expectedUntil time.Time

	// meeting is held while it is recalled what was placed in clusters of which nobody had asked, and taken before mu.
	meeting sync.Mutex
}

// A shape is compiled requirements, and the question about them. Equal requirements have one shape, as long as it is kept.
type shape struct {
	need     *estimate.Need
	question []byte
}

// member is what is known of one cluster.
type member struct {
	answers map[*shape]answer
	flights map[*shape]*flight
	// quietUntil is until when the agent is not asked, and why.
	quietUntil time.Time
	quiet      string
	// speaks is true when its agent answers such questions: it tells of growth then.
	speaks bool

	assumed map[types.NamespacedName]assumption
	// taken is the sum of what is assumed.
	taken estimate.Amounts
	// settled is of when the newest is that assumptions were compared with.
	settled time.Time
	// shown is what is assumed no longer because it shows: numbers that are older lack it. The latest is the last.
	shown []shown
}

type answer struct {
	room estimate.Room
	// at is when the agent looked, by its clock.
	at       time.Time
	received time.Time
	// outdated is since when there may be another one, the zero time before that. Who had begun to gather by then goes by this one.
	outdated time.Time
}

// A flight is a question that is under way.
type flight struct {
	began time.Time
	done  chan struct{}
}

// New makes a Gatherer that knows nothing. It may be asked before Run, and answers from sums after it.
func New(c Config) (*Gatherer, error) {
	if c.Agents == nil || c.Clusters == nil {
		return nil, errors.New("capacity: Agents and Clusters are needed")
	}
	orDefault := func(field *time.Duration, value time.Duration) {
		if *field <= 0 {
			*field = value
		}
	}
	orDefault(&c.Timeout, time.Second)
	orDefault(&c.MaxAge, 3*time.Second)
	orDefault(&c.AssumeFor, 5*time.Minute)
	if c.Now == nil {
		c.Now = time.Now
	}
	g := &Gatherer{config: c, shapes: map[string]*shape{}, members: map[string]*member{}, growth: make(chan struct{}, 1)}
	g.asking, g.stop = context.WithCancel(context.Background())
	var err error
	if g.metrics, err = newMetrics(c.Registerer, g.assumptions); err != nil {
		return nil, fmt.Errorf("capacity: registering metrics: %w", err)
	}
	return g, nil
}

// Run tells the listeners, forgets what is not needed any more, and ends the questions that are under way when the
// context is done.
func (g *Gatherer) Run(ctx context.Context) error {
	sweep, rest := time.NewTicker(sweeping), time.NewTimer(0)
	defer sweep.Stop()
	defer rest.Stop()
	var growth <-chan struct{} // nil while it rests
	missed := time.NewTimer(g.expects())
	defer missed.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-sweep.C:
			g.sweep()
		case <-missed.C:
			g.miss()
		case <-growth:
			g.tell()
			growth = nil
			rest.Reset(damping)
		case <-rest.C:
			growth = g.growth
		}
	}
	g.mu.Lock()
	g.stopped = true
	g.mu.Unlock()
	g.stop()
	g.flights.Wait()
	return nil
}

// tell tells the listeners that there is more room.
func (g *Gatherer) tell() {
	g.mu.Lock()
	listeners := slices.Clone(g.listeners)
	g.mu.Unlock()
	for _, listener := range listeners {
		listener()
	}
}

// Expect has those who ask know whose agents were connected to the process before, as the objects of their clusters say, and
// are on their way back. Call it once, before Run.
func (g *Gatherer) Expect(clusters []*clusterv1alpha1.MemberCluster) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.expected, g.expectedUntil = map[string]time.Time{}, g.config.Now().Add(comeBack)
	for _, cluster := range clusters {
		ready := meta.FindStatusCondition(cluster.Status.Conditions, clusterv1alpha1.ClusterReady)
		if ready != nil && ready.Status == metav1.ConditionTrue && ready.Reason != clusterv1alpha1.ReadyConnectionLost {
			g.expected[cluster.Name] = time.Time{}
		}
	}
}

// expects is how much longer agents are waited for.
func (g *Gatherer) expects() time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.expectedUntil.Sub(g.config.Now())
}

// miss has the listeners told that those who have not come back are not waited for any longer.
func (g *Gatherer) miss() {
	g.mu.Lock()
	missed := false
	for _, back := range g.expected {
		missed = missed || back.IsZero()
	}
	g.expected = nil
	g.mu.Unlock()
	if missed {
		g.grown()
	}
}

// Listen adds a function that is called when clusters may have more room than was answered: once for all of them, and at
// most once a second. It must not block.
func (g *Gatherer) Listen(listener func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.listeners = append(g.listeners, listener)
}

// Gather asks the agents of clusters for how many replicas with such needs, nil for none in particular, they have room. All
// are asked at once, and waited for until the timeout or the context ends, so nobody should call this who holds anything up.
//
// What it returns says what is known by then, less what is assumed at the moment that it is called: in the order of the
// clusters, from memory, without waiting. So whoever decides and assumes under one lock calls it under that lock, and no
// room is given away twice.
func (g *Gatherer) Gather(ctx context.Context, needs *workv1alpha1.ReplicaRequirements, clusters []string) (known func() []Answer) {
	began := g.config.Now()
	shape, err := g.shape(needs)
	if err != nil {
		return func() []Answer {
			return slices.Repeat([]Answer{{Source: Unknown, Why: "the requirements can't be read: " + err.Error()}}, len(clusters))
		}
	}
	g.meet(clusters)
	g.await(ctx, g.ask(shape, clusters))
	g.metrics.gather.Observe(g.config.Now().Sub(began).Seconds())
	return func() []Answer { return g.known(shape, clusters, began) }
}

// known reads the answers to a question that began at a time.
func (g *Gatherer) known(shape *shape, clusters []string, began time.Time) []Answer {
	g.mu.Lock()
	defer g.mu.Unlock()
	answers := make([]Answer, len(clusters))
	counts := map[Source]int{}
	for i, cluster := range clusters {
		answers[i] = g.answer(cluster, shape, began)
		counts[answers[i].Source]++
	}
	for source, n := range counts {
		g.metrics.answers[source].Add(float64(n))
	}
	return answers
}

func (g *Gatherer) shape(needs *workv1alpha1.ReplicaRequirements) (*shape, error) {
	words := estimate.Words(needs)
	question, err := proto.MarshalOptions{Deterministic: true}.Marshal(&linkv1.CapacityQuestion{Requirements: []*linkv1.Requirements{words}})
	if err != nil {
		return nil, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if known := g.shapes[string(question)]; known != nil {
		return known, nil
	}
	need, err := estimate.Compile(words)
	if err != nil {
		return nil, err
	}
	if len(g.shapes) >= mostShapes {
		clear(g.shapes)
	}
	s := &shape{need: need, question: question}
	g.shapes[string(question)] = s
	return s, nil
}

// ask begins the questions that have no answer yet, and returns those that are under way. Equal questions are one.
func (g *Gatherer) ask(s *shape, clusters []string) map[string]*flight {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.config.Now()
	waits := map[string]*flight{}
	for _, cluster := range clusters {
		m := g.member(cluster)
		if _, fresh := g.fresh(m, s, now); fresh || g.stopped || !g.config.Agents.Connected(cluster) {
			continue
		}
		if under := m.flights[s]; under != nil {
			waits[cluster] = under
			continue
		}
		if now.Before(m.quietUntil) {
			continue
		}
		f := &flight{began: now, done: make(chan struct{})}
		m.flights[s] = f
		waits[cluster] = f
		g.flights.Add(1)
		go g.fly(cluster, m, s, f)
	}
	return waits
}

func (g *Gatherer) member(cluster string) *member {
	m := g.members[cluster]
	if m == nil {
		m = &member{
			answers: map[*shape]answer{}, flights: map[*shape]*flight{},
			assumed: map[types.NamespacedName]assumption{}, taken: estimate.Amounts{},
		}
		g.members[cluster] = m
	}
	return m
}

// fresh is what was answered, if that is good for who began to gather at a time. The caller holds the lock.
func (g *Gatherer) fresh(m *member, s *shape, began time.Time) (answer, bool) {
	known, ok := m.answers[s]
	return known, ok && known.received.After(began.Add(-g.config.MaxAge)) && (known.outdated.IsZero() || known.outdated.After(began))
}

// outdate has those who begin to gather from now on ask again. Who has waited for the answers keeps them: by sums, which know nothing of
// pieces and taints, he might go where no agent has room. The caller holds the lock.
func (g *Gatherer) outdate(m *member) {
	for s, known := range m.answers {
		if known.outdated.IsZero() {
			known.outdated = g.config.Now()
			m.answers[s] = known
		}
	}
}

// remember keeps an answer in the place of the oldest, if there are too many.
func (m *member) remember(s *shape, next answer) {
	if _, known := m.answers[s]; !known && len(m.answers) >= mostAnswers {
		oldest := s
		for other, known := range m.answers {
			if oldest == s || known.received.Before(m.answers[oldest].received) {
				oldest = other
			}
		}
		delete(m.answers, oldest)
	}
	m.answers[s] = next
}

// fly asks one agent, and keeps what it says also when nobody waits for it any more.
func (g *Gatherer) fly(cluster string, m *member, s *shape, f *flight) {
	defer g.flights.Done()
	defer close(f.done)
	ctx, cancel := context.WithTimeout(g.asking, lateness*g.config.Timeout)
	defer cancel()
	room, at, err := g.question(ctx, cluster, s)

	g.mu.Lock()
	defer g.mu.Unlock()
	delete(m.flights, s)
	now := g.config.Now()
	if err != nil {
		g.metrics.questions.WithLabelValues("failed").Inc()
		m.speaks, m.quietUntil, m.quiet = false, now.Add(askAgain), err.Error()
		return
	}
	outcome := "answered"
	if now.Sub(f.began) > g.config.Timeout {
		outcome = "late"
	}
	g.metrics.questions.WithLabelValues(outcome).Inc()
	m.speaks, m.quietUntil = true, time.Time{}
	g.settle(cluster, m, at)
	m.remember(s, answer{room: room, at: at, received: now})
}

func (g *Gatherer) question(ctx context.Context, cluster string, s *shape) (room estimate.Room, at time.Time, err error) {
	said, err := g.config.Agents.Ask(ctx, cluster, linkv1.QuestionCapacity, s.question)
	if err != nil {
		return room, at, err
	}
	var read linkv1.CapacityAnswer
	if err := proto.Unmarshal(said.GetBody(), &read); err != nil {
		return room, at, fmt.Errorf("its answer can't be read: %w", err)
	}
	if len(read.GetRooms()) != 1 || read.GetRooms()[0].GetReplicas() < 0 {
		return room, at, errors.New("its answer is not to what was asked")
	}
	first := read.GetRooms()[0]
	return estimate.Room{Replicas: first.GetReplicas(), Slots: max(first.GetSlots(), first.GetReplicas())}, read.GetObservedAt().AsTime(), nil
}

// await waits for each question until its time is over, counted from its beginning: whoever joins a question that is
// overdue does not wait at all.
func (g *Gatherer) await(ctx context.Context, waits map[string]*flight) {
	if len(waits) == 0 {
		return
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for cluster, f := range waits {
		timer.Reset(f.began.Add(g.config.Timeout).Sub(g.config.Now()))
		select {
		case <-f.done:
		case <-ctx.Done():
			return
		case <-timer.C:
			g.overdue(cluster, f)
		}
	}
}

// overdue has the next ones not wait for an agent that is silent.
func (g *Gatherer) overdue(cluster string, f *flight) {
	g.mu.Lock()
	defer g.mu.Unlock()
	select {
	case <-f.done:
		return
	default:
	}
	if m := g.members[cluster]; m != nil {
		m.quietUntil = g.config.Now().Add(askAgain)
		m.quiet = fmt.Sprintf("its agent has not answered within %s", g.config.Timeout)
	}
}

// answer is what is known now, or was when the asking began. The caller holds the lock.
func (g *Gatherer) answer(cluster string, s *shape, began time.Time) Answer {
	m, now := g.member(cluster), g.config.Now()
	if said, fresh := g.fresh(m, s, began); fresh {
		return m.less(said.room, said.at, s, Answer{Source: FromAgent})
	}
	why := "its answer is under way"
	awaited := g.awaited(cluster, began)
	switch {
	case awaited:
		why = "its agent is only coming back since the hub began"
	case !g.config.Agents.Connected(cluster):
		why = "its agent is not connected"
	case now.Before(m.quietUntil):
		why = m.quiet
	}
	summary, at := g.config.Clusters.Summary(cluster)
	if summary == nil {
		return Answer{Source: Unknown, Why: why, Awaited: awaited}
	}
	room, known := estimate.RoomInSum(summary.Allocatable, summary.Allocated, summary.Allocating, s.need)
	if !known {
		return Answer{Source: Unknown, Why: why, Awaited: awaited}
	}
	if at.After(m.settled) {
		g.settle(cluster, m, at)
	}
	return m.less(room, at, s, Answer{Source: FromSummary, Why: why, Awaited: awaited})
}

// awaited says whether a cluster's agent was on its way back when an asking began. One that came back since then may not have
// been asked. The caller holds the lock.
func (g *Gatherer) awaited(cluster string, began time.Time) bool {
	back, expected := g.expected[cluster]
	return expected && g.config.Now().Before(g.expectedUntil) && (back.IsZero() || !back.Before(began))
}

// less is an answer by what a cluster said of a time, less what is assumed and what did not show by then. The caller holds the lock.
func (m *member) less(room estimate.Room, at time.Time, s *shape, answer Answer) Answer {
	answer.Replicas = bounded(room.Without(s.need, m.lacking(at)).Replicas)
	answer.Assumed = bounded(room.Replicas) - answer.Replicas
	return answer
}

func bounded(n int64) int32 { return int32(min(max(n, 0), math.MaxInt32)) }

// Grown makes what was answered of a cluster old, and has the listeners told: because its agent says that there is more room now,
// or has connected and was not told before what the hub would like to know.
func (g *Gatherer) Grown(cluster string) {
	g.mu.Lock()
	if m := g.members[cluster]; m != nil {
		g.outdate(m)
		m.quietUntil = time.Time{}
	}
	if back, expected := g.expected[cluster]; expected && back.IsZero() {
		g.expected[cluster] = g.config.Now()
	}
	g.mu.Unlock()
	g.grown()
}

func (g *Gatherer) grown() {
	select {
	case g.growth <- struct{}{}:
	default:
	}
}

// ClusterChanged is to be told of every change of a cluster's object; old or new is nil when it is new or gone. New sums
// make answers old, and where the agent does not say itself that there is more room, they do.
func (g *Gatherer) ClusterChanged(old, new *clusterv1alpha1.MemberCluster) {
	if old != nil && (new == nil || new.UID != old.UID) { // a watch that begins anew shows another of the name as a change
		g.forget(old.Name)
		return
	}
	if old == nil || equality.Semantic.DeepEqual(old.Status.ResourceSummary, new.Status.ResourceSummary) {
		return
	}
	speaks := false
	g.mu.Lock()
	if m := g.members[new.Name]; m != nil {
		g.outdate(m)
		speaks = m.speaks
	}
	g.mu.Unlock()
	if !speaks && grew(old.Status.ResourceSummary, new.Status.ResourceSummary) {
		g.Grown(new.Name)
	}
}

func (g *Gatherer) forget(cluster string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.expected, cluster)
	if m := g.members[cluster]; m != nil {
		g.assumed -= len(m.assumed)
		m.assumed = nil // a question may be under way and has nothing to settle
		delete(g.members, cluster)
	}
}

// grew says whether there is more left of something.
func grew(old, new *clusterv1alpha1.ResourceSummary) bool {
	before, after := left(old), left(new)
	for name, amount := range after {
		if amount > before[name] {
			return true
		}
	}
	return false
}

func left(s *clusterv1alpha1.ResourceSummary) estimate.Amounts {
	if s == nil {
		return nil
	}
	sum := estimate.AmountsOf(s.Allocatable)
	for _, taken := range []corev1.ResourceList{s.Allocated, s.Allocating} {
		sum.Add(estimate.AmountsOf(taken), -1)
	}
	return sum
}
