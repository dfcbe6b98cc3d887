// Package apply makes the member be as the hub wants it, and nothing else writes the hub's objects
// there: it takes works in, applies their objects, puts drift right, prunes and removes.
//
// The unit of the queue is a work: one work is never handled twice at once. Within it every object
// stands for itself: one that cannot be applied is tried again after a delay of its own, and holds
// up neither its neighbours nor other works.
package apply

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/util/workqueue"

	linkv1 "windlass.dev/windlass/api/link/v1"

	"windlass.dev/windlass/agent/member"
	"windlass.dev/windlass/agent/observe"
	"windlass.dev/windlass/agent/state"
	"windlass.dev/windlass/pkg/manifest"
	"windlass.dev/windlass/pkg/session"
)

// FieldManager is the name under which objects are applied in members.
const FieldManager = "windlass"

// Kinds knows which kinds the member serves; *member.Kinds does.
type Kinds interface {
	Lookup(ctx context.Context, kind schema.GroupVersionKind) (member.Resource, error)
	Distrust(kind schema.GroupVersionKind)
	Schema(ctx context.Context, kind schema.GroupVersionKind) (*manifest.Schema, error)
	OnChange(f func())
}

// State keeps what the hub wants; *state.Store does.
type State interface {
	Known() []*linkv1.WorkRef
	Keys() []string
	Get(key string) (*state.Entry, bool)
	Hold(work *linkv1.Work) bool
	OnLate(func(key string))
	Put(ctx context.Context, work *linkv1.Work) error
	Remove(ctx context.Context, key, uid string, removal state.Removal) (bool, error)
	RemoveLeft(ctx context.Context, key, uid string, removal state.Removal, objects []manifest.Object) (bool, error)
	Pruned(key, uid string, generation int64, gone []manifest.Object)
	Forget(key, uid string)
}

// Observer watches and reports; *observe.Observer does.
type Observer interface {
	Track(key string, tracked observe.Tracked)
	SetWork(state observe.WorkState)
	Seen(id manifest.ID, live *unstructured.Unstructured)
	Leaving(key string)
	Removed(key, uid string)
	Replaced(key, uid string)
	Autoscaled(object *unstructured.Unstructured) bool
}

// Config of an Engine. All fields but Registry and the settings are needed.
type Config struct {
	Client dynamic.Interface
	Kinds  Kinds
	State  State
	// HubID goes into the marks of ownership, and WorkNamespace is where the works lie on the hub.
	HubID         string
	WorkNamespace string
	// StateNamespace and PodNamespace are the agent's own: there it keeps its state, and there it runs
	// and has its settings. No work may write there. PodNamespace is empty outside a pod.
	StateNamespace, PodNamespace string
	// Contents lists what a Namespace or a CustomResourceDefinition takes along when it is deleted.
	Contents Contents
	// Guard is what the member's owner forbids besides.
	Guard    manifest.Guard
	Logger   *slog.Logger
	Now      func() time.Time
	Registry prometheus.Registerer
	Settings Settings
}

// Settings are the numbers an operator can change. Zero means the default.
type Settings struct {
	// Workers is how many works are handled at once; 32 by default.
	Workers int
	// MaxBackoff bounds the delay between attempts at one object; 5 minutes by default.
	MaxBackoff time.Duration
	// FightCorrections within FightWindow make an object one that somebody fights over: from then
	// on it is put right at growing intervals. 5 within a minute by default.
	FightCorrections int
	FightWindow      time.Duration
}

func (s *Settings) setDefaults() {
	if s.Workers <= 0 {
		s.Workers = 32
	}
	if s.MaxBackoff <= 0 {
		s.MaxBackoff = 5 * time.Minute
	}
	if s.FightCorrections <= 0 {
		s.FightCorrections = 5
	}
	if s.FightWindow <= 0 {
		s.FightWindow = time.Minute
	}
}

// Engine applies. Its methods may be called concurrently.
type Engine struct {
	config   Config
	observer Observer
	queue    workqueue.TypedDelayingInterface[string]
	order    *byRank
	metrics  metrics

	mu    sync.Mutex
	works map[string]*progress
	// holders are the works that hold an object.
	holders  map[manifest.ID]string
	glimpses map[string]*glimpse // by the key of the work
	// unmet are the keys of works that nothing was held of when they were taken in.
	unmet map[string]bool
	// awaiting are the removals that wait until other works' objects are gone.
	awaiting map[string]struct{}
	// firsts are closed when the work of that key was handled.
	firsts map[string]chan struct{}
}

// firstLimit is how long a new work's intent waits for its objects to be applied: the intent would
// compete with them for the member's API.
const firstLimit = 100 * time.Millisecond

// intentRest is how long the intent of a new work waits after its objects were applied. They are there, and what else comes in
// that time shares its write.
const intentRest = 10 * time.Millisecond

// New returns an engine that does nothing before Run. Observe must be called before Run, too.
func New(config Config) (*Engine, error) {
	switch {
	case config.Client == nil, config.Kinds == nil, config.State == nil, config.Contents == nil, config.Logger == nil, config.Now == nil:
		return nil, errors.New("apply: Client, Kinds, State, Contents, Logger and Now are needed")
	case config.HubID == "":
		return nil, errors.New("apply: HubID is needed, no object may be marked without it")
	}
	config.Settings.setDefaults()
	e := &Engine{
		config: config, works: map[string]*progress{}, holders: map[manifest.ID]string{}, glimpses: map[string]*glimpse{},
		unmet: map[string]bool{}, awaiting: map[string]struct{}{}, firsts: map[string]chan struct{}{},
	}
	e.order = newByRank()
	e.queue = workqueue.NewTypedDelayingQueueWithConfig(workqueue.TypedDelayingQueueConfig[string]{
		Queue: workqueue.NewTypedWithConfig(workqueue.TypedQueueConfig[string]{Queue: e.order}),
	})
	e.metrics = newMetrics(config.Registry, e.queue.Len)
	config.Kinds.OnChange(e.kindsChanged)
	config.State.OnLate(func(key string) { e.enqueue(key, newWork) })
	return e, nil
}

// Observe tells the engine who watches and reports. Call it once, before Run.
func (e *Engine) Observe(observer Observer) { e.observer = observer }

// Known returns a reference of every work held.
func (e *Engine) Known() []*linkv1.WorkRef { return e.config.State.Known() }

// Put takes a work in. It returns when that is durable in the member; the objects are applied
// after that, but for those of a new work whose turn comes soon, which are not kept waiting.
//
// Should the agent end between the two, such a work's objects are in the member and nothing here knows
// of them. The hub does, until it is told that the work is durable here: it sends the work again, or a
// removal that names the objects, which bear the work's mark.
func (e *Engine) Put(ctx context.Context, work *linkv1.Work) error {
	before, held := e.config.State.Get(work.GetKey())
	if !held {
		e.meet(work.GetKey())
	}
	if !held && e.isTurnSoon() && e.config.State.Hold(work) {
		e.applyFirst(ctx, work.GetKey())
		if err := e.config.State.Put(ctx, work); err != nil {
			return fmt.Errorf("taking in work %s: %w", work.GetKey(), err)
		}
		return nil
	}
	if held {
		e.lookAhead(ctx, work)
	}
	if err := e.config.State.Put(ctx, work); err != nil {
		return fmt.Errorf("taking in work %s: %w", work.GetKey(), err)
	}
	if held && before.Removal != nil && before.UID != work.GetUid() {
		e.observer.Replaced(before.Key, before.UID)
	}
	e.enqueue(work.GetKey(), newWork)
	return nil
}

// isTurnSoon says whether fewer works wait than are handled at once. While the journal gathers what comes in a burst, the
// workers would else run out of works.
func (e *Engine) isTurnSoon() bool { return e.queue.Len() < e.config.Settings.Workers }

// meet notes that a work is new here.
func (e *Engine) meet(key string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.unmet[key] = true
}

// applyFirst has a work handled, and returns when it was once, intentRest ago, or that takes long.
func (e *Engine) applyFirst(ctx context.Context, key string) {
	handled := make(chan struct{})
	e.mu.Lock()
	e.firsts[key] = handled
	e.mu.Unlock()
	e.enqueue(key, newWork)
	limit := time.NewTimer(firstLimit)
	defer limit.Stop()
	select {
	case <-handled:
	case <-limit.C:
		return
	case <-ctx.Done():
		return
	}
	limit.Reset(intentRest)
	select {
	case <-limit.C:
	case <-ctx.Done():
	}
}

// handledOnce lets go who waits for a key to be handled.
func (e *Engine) handledOnce(key string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if handled := e.firsts[key]; handled != nil {
		close(handled)
		delete(e.firsts, key)
	}
}

// Remove takes a removal in. It returns when that is durable in the member; the objects are removed
// after that, and then the observer reports it. It returns session.ErrNotHeld, and touches nothing,
// when no work with this key and UID is held or being removed, and none of the objects that the removal
// names bears the work's mark.
func (e *Engine) Remove(ctx context.Context, removal *linkv1.Removal) error {
	key, uid := removal.GetKey(), removal.GetUid()
	keep := removal.GetKeep()
	if entry, held := e.config.State.Get(key); held && entry.Work.GetPreserveResourcesOnDeletion() {
		keep = true
	}
	order := state.Removal{Cause: removal.GetCause(), Keep: keep}
	held, err := e.config.State.Remove(ctx, key, uid, order)
	if err == nil && !held {
		held, err = e.removeLeft(ctx, key, uid, order, removal.GetObjects())
	}
	if err != nil {
		return fmt.Errorf("taking in the removal of work %s: %w", key, err)
	}
	if !held {
		return session.ErrNotHeld
	}
	e.enqueue(key, newWork)
	return nil
}

// Run applies until ctx ends. It begins with everything that the state holds.
func (e *Engine) Run(ctx context.Context) error {
	for _, key := range e.config.State.Keys() {
		e.enqueue(key, restored)
	}
	var workers sync.WaitGroup
	for range e.config.Settings.Workers {
		workers.Go(func() {
			for e.handleNext(ctx) {
			}
		})
	}
	<-ctx.Done()
	e.queue.ShutDown()
	workers.Wait()
	return nil
}

func (e *Engine) handleNext(ctx context.Context) bool {
	key, shutdown := e.queue.Get()
	if shutdown {
		return false
	}
	defer e.queue.Done(key)
	if ctx.Err() != nil {
		return true
	}
	began := e.config.Now()
	if again := e.handle(ctx, key); again > 0 {
		e.queue.AddAfter(key, again)
	}
	e.handledOnce(key)
	e.metrics.handled.Observe(e.config.Now().Sub(began).Seconds())
	return true
}

// handle brings the member closer to what is wanted of one work and returns after which time to
// come back; 0 when nothing is left to do until something changes.
func (e *Engine) handle(ctx context.Context, key string) time.Duration {
	entry, held := e.config.State.Get(key)
	if !held {
		e.drop(key)
		return 0
	}
	p := e.progressOf(entry)
	switch {
	case entry.Removal != nil:
		return e.remove(ctx, entry, p)
	case entry.Work == nil:
		p.setWaiting(reasonAwaitingHub, "the manifests of this work were lost in the member; the hub is asked for them")
		e.report(entry, p)
		return 0
	case entry.Work.GetSuspendDispatching():
		return e.suspend(ctx, entry, p)
	}
	return e.apply(ctx, entry, p)
}

// enqueue has a work handled as soon as its turn comes.
func (e *Engine) enqueue(key string, class class) {
	rank := 0
	if entry, held := e.config.State.Get(key); held && len(entry.Objects) > 0 {
		rank = manifest.Rank(entry.Objects[0].GroupKind())
	}
	e.order.prioritise(key, class, rank)
	e.queue.Add(key)
}

// drop forgets a work that is not held any more.
func (e *Engine) drop(key string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if p := e.works[key]; p != nil {
		e.release(p)
		delete(e.works, key)
	}
	delete(e.glimpses, key)
	delete(e.unmet, key)
	e.order.forget(key)
}

func (e *Engine) release(p *progress) {
	for id := range p.objects {
		if e.holders[id] == p.key {
			delete(e.holders, id)
		}
	}
}

// kindsChanged has works that wait for a kind, or for fields of one, looked at again.
func (e *Engine) kindsChanged() {
	e.mu.Lock()
	var waiting []string
	for key, p := range e.works {
		if p.kindsChanged() {
			waiting = append(waiting, key)
		}
	}
	e.mu.Unlock()
	for _, key := range waiting {
		e.enqueue(key, drifted)
	}
}

// Changed is told by the observer of every change to an object of a work; live is nil when the
// object is gone, lost its mark, or has to be looked at for another reason.
func (e *Engine) Changed(key string, id manifest.ID, live *unstructured.Unstructured) {
	e.mu.Lock()
	p := e.works[key]
	e.mu.Unlock()
	if p == nil {
		return
	}
	if p.drifted(id, live) {
		e.enqueue(key, drifted)
	}
}
