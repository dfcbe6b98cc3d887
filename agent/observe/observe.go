// Package observe watches the objects that were applied in the member, and says what the hub should
// know of them: it alone makes reports. It never writes to the member.
//
// No object is kept: of each there is only what a report needs of it. A kind is watched, in all namespaces or in one,
// from the first object of it that is applied there until the last is gone.
package observe

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	workv1alpha1 "windlass.dev/windlass/api/work/v1alpha1"

	"windlass.dev/windlass/agent/member"
	linkv1 "windlass.dev/windlass/api/link/v1"
	"windlass.dev/windlass/pkg/interpret"
	"windlass.dev/windlass/pkg/manifest"
)

// Config of an Observer. Client, Logger and Now are needed.
type Config struct {
	Client dynamic.Interface
	Logger *slog.Logger
	Now    func() time.Time
	// Registry may be nil.
	Registry prometheus.Registerer
	// ByNamespace watches every namespace that has an object by itself, for agents that may not watch all at once.
	ByNamespace bool
	// ReportSettle is how long the report of an applied work that is not healthy yet waits for a
	// newer one. Zero means that none waits.
	ReportSettle time.Duration
}

// Tracked is an object of a work that is watched.
type Tracked struct {
	ID       manifest.ID
	Resource member.Resource
	// Ordinal is the place of its manifest in the work.
	Ordinal int
	// Applied is true when the member has what the manifest asks for.
	Applied bool
}

// WorkState is what the apply engine says of a work.
type WorkState struct {
	Key, UID string
	// Received and Applied are the newest generations that were; Applied is 0 when none was.
	Received, Applied     int64
	ReceivedAt, AppliedAt time.Time
	Phase                 linkv1.Phase
	// Done is true when the member has what the received generation asks for.
	Done            bool
	Reason, Message string
	Conditions      []*linkv1.Condition
	// Manifests is how many the work has.
	Manifests int
	// Objects of the work, in the order of its manifests. What is not among them any more is not
	// watched any longer.
	Objects []Tracked
}

// Observer watches and reports. Methods may be called concurrently.
type Observer struct {
	config  Config
	changed func(key string, id manifest.ID, live *unstructured.Unstructured)

	mu      sync.Mutex
	objects map[manifest.ID]*object
	works   map[string]*work
	watches map[scope]*kindWatch
	start   func(*kindWatch) // set while running
	dirty   dirtyKeys
	scaled  *autoscalers
}

// object is what is known of one object in the member.
type object struct {
	key      string
	resource member.Resource
	seen     bool // there was an answer or event about it
	exists   bool
	version  uint64
	uid      types.UID
	health   workv1alpha1.ResourceHealth
	why      string
	status   []byte
	observed bool
	at       time.Time
}

// work is what is known of one work.
type work struct {
	state   WorkState
	healthy *linkv1.Milestone
	removed []string // UIDs of works of this key whose removal is not yet recorded by the hub
	present bool     // false: only removals are known
	leaving bool     // its objects are being removed: what is seen of them is no news
}

// New returns an observer. changed is called, never concurrently for one object, whenever an object
// of a work was changed or, with nil, is gone or lost its mark; it must not block.
func New(config Config, changed func(key string, id manifest.ID, live *unstructured.Unstructured)) (*Observer, error) {
	if config.Client == nil || config.Logger == nil || config.Now == nil || changed == nil {
		return nil, errors.New("observe: Client, Logger, Now and a function for changes are needed")
	}
	o := &Observer{
		config: config, changed: changed,
		objects: map[manifest.ID]*object{}, works: map[string]*work{}, watches: map[scope]*kindWatch{},
		dirty: newDirtyKeys(),
	}
	o.scaled = newAutoscalers(o.retarget)
	registerMetrics(config.Registry, o)
	return o, nil
}

// Run watches until ctx ends.
func (o *Observer) Run(ctx context.Context) error {
	var group sync.WaitGroup
	defer group.Wait()
	group.Go(func() { o.scaled.watch(ctx, o.config.Client) })
	o.mu.Lock()
	o.start = func(w *kindWatch) { group.Go(func() { w.run(ctx) }) }
	for _, w := range o.watches {
		o.start(w)
	}
	o.mu.Unlock()
	<-ctx.Done()
	o.mu.Lock()
	o.start = nil
	o.mu.Unlock()
	return nil
}

// Track begins to watch an object of a work, before it is applied for the first time.
func (o *Observer) Track(key string, tracked Tracked) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.track(key, tracked)
}

func (o *Observer) track(key string, tracked Tracked) *object {
	known := o.objects[tracked.ID]
	if known != nil && known.key == key && known.resource == tracked.Resource {
		return known
	}
	if known != nil {
		o.untrack(tracked.ID, known)
	}
	known = &object{key: key, resource: tracked.Resource}
	o.objects[tracked.ID] = known
	in := o.scopeOf(tracked.ID, tracked.Resource)
	w := o.watches[in]
	if w == nil {
		w = newKindWatch(o, in)
		o.watches[in] = w
		if o.start != nil {
			o.start(w)
		}
	}
	w.objects++
	return known
}

// scopeOf is what is watched for the sake of an object.
func (o *Observer) scopeOf(id manifest.ID, resource member.Resource) scope {
	if !o.config.ByNamespace {
		return scope{resource: resource}
	}
	return scope{resource: resource, namespace: id.Namespace}
}

func (o *Observer) untrack(id manifest.ID, known *object) {
	delete(o.objects, id)
	in := o.scopeOf(id, known.resource)
	w := o.watches[in]
	w.objects--
	if w.objects == 0 {
		delete(o.watches, in)
		w.stop()
	}
}

// SetWork records what the engine says of a work.
func (o *Observer) SetWork(state WorkState) {
	o.mu.Lock()
	defer o.mu.Unlock()
	w := o.workOf(state.Key)
	if w.state.UID != state.UID {
		w.healthy = nil
	}
	kept := make(map[manifest.ID]bool, len(state.Objects))
	for _, tracked := range state.Objects {
		kept[tracked.ID] = true
		o.track(state.Key, tracked)
	}
	o.untrackOthers(state.Key, w, kept)
	w.state, w.present, w.leaving = state, true, false
	o.dirty.add(state.Key)
}

// Leaving tells that the objects of a work are about to be removed. Until SetWork or Removed says
// what came of it, nothing that is seen of them is reported: every report costs the hub a write, of a
// work that is about to be gone.
func (o *Observer) Leaving(key string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if w := o.works[key]; w != nil {
		w.leaving = true
	}
}

// news has a work reported because of what was seen of an object.
func (o *Observer) news(key string) {
	if w := o.works[key]; w == nil || !w.leaving {
		o.dirty.add(key)
	}
}

func (o *Observer) untrackOthers(key string, w *work, kept map[manifest.ID]bool) {
	for _, tracked := range w.state.Objects {
		if known := o.objects[tracked.ID]; known != nil && known.key == key && !kept[tracked.ID] {
			o.untrack(tracked.ID, known)
		}
	}
}

// Seen records an object as the API server answered with it.
func (o *Observer) Seen(id manifest.ID, live *unstructured.Unstructured) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if known := o.objects[id]; known != nil && o.note(known, live) {
		o.news(known.key)
	}
}

// Removed records that the removal of the work with this key and UID has been carried out, or that
// no such work is held. It is reported until the hub has recorded it.
func (o *Observer) Removed(key, uid string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	w := o.workOf(key)
	// What a replaced work left is watched for the one in its place, and ends with that one.
	if first := o.removed(key, w, uid); w.state.UID == uid || first && !w.present {
		o.untrackOthers(key, w, nil)
		w.present, w.leaving, w.state, w.healthy = false, false, WorkState{}, nil
	}
}

// Replaced records that another work has taken the place of one that was being removed. Its objects are
// the other one's, or will be pruned by it: they stay watched, and what is known of them stays known.
func (o *Observer) Replaced(key, uid string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	w := o.workOf(key)
	o.removed(key, w, uid)
	if w.state.UID == uid {
		w.present, w.leaving, w.healthy = false, false, nil
	}
}

// removed has the end of a work reported, and says whether it was not known yet. The caller holds the lock.
func (o *Observer) removed(key string, w *work, uid string) (first bool) {
	first = !slices.Contains(w.removed, uid)
	if first {
		w.removed = append(w.removed, uid)
	}
	o.dirty.add(key)
	o.dirty.resend(key)
	return first
}

// workOf returns what is known of a work. The caller holds the lock.
func (o *Observer) workOf(key string) *work {
	w := o.works[key]
	if w == nil {
		w = &work{}
		o.works[key] = w
	}
	return w
}

// note records the state of an object and says whether it is news. Answers and events arrive in any
// order: an older state than what is known is ignored.
func (o *Observer) note(known *object, live *unstructured.Unstructured) bool {
	version := parseVersion(live.GetResourceVersion())
	if known.seen && version != 0 && version < known.version {
		return false
	}
	known.seen, known.exists = true, true
	known.version, known.uid = version, live.GetUID()
	known.health, known.why = interpret.Health(live)
	known.status = interpret.ReflectStatus(live)
	known.observed = interpret.Observed(live)
	known.at = o.config.Now()
	return true
}

func (o *Observer) noteGone(known *object, version uint64) bool {
	if known.seen && version != 0 && version < known.version {
		return false
	}
	*known = object{key: known.key, resource: known.resource, seen: true, version: max(version, known.version), at: o.config.Now()}
	o.news(known.key)
	return true
}

// parseVersion reads a resource version; 0 when it is no number, which is newer than all.
func parseVersion(version string) uint64 {
	n, err := strconv.ParseUint(version, 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// Autoscaled says whether a HorizontalPodAutoscaler in the member targets an object that names its replicas. Before they were
// listed one may, and so it does; what that was said of is told as changed if it turns out to be wrong.
func (o *Observer) Autoscaled(object *unstructured.Unstructured) bool {
	_, named, _ := unstructured.NestedFieldNoCopy(object.Object, "spec", "replicas")
	return named && o.scaled.targets(interpret.TargetOf(object))
}

// retarget has the object that an autoscaler has begun or ceased to target looked at again.
func (o *Observer) retarget(target interpret.Target) {
	id := manifest.ID{Group: target.Group, Kind: target.Kind, Namespace: target.Namespace, Name: target.Name}
	o.mu.Lock()
	known := o.objects[id]
	o.mu.Unlock()
	if known != nil {
		o.changed(known.key, id, nil)
	}
}
