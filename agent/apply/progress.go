package apply

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	linkv1 "windlass.dev/windlass/api/link/v1"

	"windlass.dev/windlass/agent/member"
	"windlass.dev/windlass/agent/observe"
	"windlass.dev/windlass/agent/state"
	"windlass.dev/windlass/pkg/manifest"
)

// progress is how far one work has come. It is made anew for every generation.
type progress struct {
	key string

	mu         sync.Mutex
	uid        string
	generation int64
	hash       string
	objects    map[manifest.ID]*object
	order      []*object // in which they are applied
	manifests  []*object // in which the work names them
	// invalid are manifests that are no object at all.
	invalid []*failure
	// waiting is why nothing can be done at all.
	waiting *failure
	// leaving is what pruning or the removal waits for.
	leaving  *failure
	attempts int // at pruning, removing or finding in a row

	applied   int64 // the newest generation that was applied whole
	appliedAt time.Time
}

// object is how far one object of a work has come.
type object struct {
	manifest.Object
	raw      []byte
	ordinal  int // of its manifest
	resource member.Resource
	guarded  *failure // why it must not be touched
	unmet    bool     // nothing is known of it, and most likely it is not there

	due       bool
	notBefore time.Time
	// applying is set while an apply is under way, and meanwhile is what was seen then and has to be looked at.
	applying  bool
	meanwhile *change
	failures  int
	failure   *failure
	done      bool // applied, in this generation

	liveUID types.UID
	// sent is the object as it was last applied, as JSON, and mark the fingerprint of the answer.
	sent []byte
	mark manifest.Fingerprint
	// checked is the last state that was found to be without drift.
	checked checked

	dropped []string
	doubted bool // the member may know by now what was dropped
	merged  []string
	adopted bool

	corrections []time.Time
	fights      int // how often in a row the window was full
}

// change is an object as a watch showed it; live is nil when it is gone.
type change struct{ live *unstructured.Unstructured }

// checked tells states apart that need not be compared again.
type checked struct {
	uid        types.UID
	generation int64
	metadata   string
}

// progressOf returns a work's progress, made anew when the work has changed. It is called by the
// worker that handles the work and by nobody else.
func (e *Engine) progressOf(entry *state.Entry) *progress {
	e.mu.Lock()
	before := e.works[entry.Key]
	e.mu.Unlock()
	if before != nil && before.uid == entry.UID && before.generation == entry.Generation && before.hash == string(entry.Hash) {
		return before
	}
	p := newProgress(entry, before, e.guards)
	e.mu.Lock()
	defer e.mu.Unlock()
	if before != nil {
		e.release(before)
	}
	if e.unmet[entry.Key] {
		delete(e.unmet, entry.Key)
		p.meetNothing()
	}
	for _, o := range p.order {
		if holder, held := e.holders[o.ID]; held && holder != p.key {
			continue // two works name one object: the first keeps it, the other is told at its apply
		}
		e.holders[o.ID] = p.key
	}
	e.works[entry.Key] = p
	return p
}

func newProgress(entry *state.Entry, before *progress, guards func(*unstructured.Unstructured) *failure) *progress {
	p := &progress{
		key: entry.Key, uid: entry.UID, generation: entry.Generation, hash: string(entry.Hash),
		objects: map[manifest.ID]*object{},
	}
	var parsed []*unstructured.Unstructured
	for i, raw := range entry.Work.GetManifests() {
		live, err := manifest.Parse(raw)
		if err != nil {
			p.invalid = append(p.invalid, failf(reasonInvalidManifest, "manifest %d: %v", i, err))
			continue
		}
		o := &object{Object: manifest.ObjectOf(live), raw: raw, ordinal: i, guarded: guards(live), due: true}
		if p.objects[o.ID] != nil {
			p.invalid = append(p.invalid, failf(reasonInvalidManifest, "manifest %d: %s is in this work twice", i, o.ID))
			continue
		}
		p.objects[o.ID] = o
		p.manifests = append(p.manifests, o)
		parsed = append(parsed, live)
	}
	manifest.Sort(parsed)
	for _, live := range parsed {
		p.order = append(p.order, p.objects[manifest.IDOf(live)])
	}
	if before != nil {
		p.inherit(before)
	}
	return p
}

// meetNothing expects that no object of a new work is in the member. Namespaces may well be: the first object in
// them has made them.
func (p *progress) meetNothing() {
	for _, o := range p.order {
		o.unmet = !(o.Group == "" && o.Kind == "Namespace")
	}
}

// inherit takes over what stays true over a change of the work.
func (p *progress) inherit(before *progress) {
	before.mu.Lock()
	defer before.mu.Unlock()
	for id, o := range p.objects {
		if old := before.objects[id]; old != nil {
			o.liveUID, o.resource, o.adopted = old.liveUID, old.resource, old.adopted
		}
	}
	if before.uid == p.uid {
		p.applied, p.appliedAt = before.applied, before.appliedAt
	}
}

// dueAt returns the objects that are to be applied now, in order.
func (p *progress) dueAt(now time.Time) []*object {
	p.mu.Lock()
	defer p.mu.Unlock()
	var due []*object
	for _, o := range p.order {
		if o.due && !now.Before(o.notBefore) {
			due = append(due, o)
		}
	}
	return due
}

// again returns after which time an object is due that is not yet, or a fight may be over; 0 when
// there is nothing to wait for.
func (p *progress) again(now time.Time, window time.Duration) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	var next time.Duration
	for _, o := range p.order {
		at := o.notBefore
		switch {
		case o.due:
		case o.fights > 0:
			at = o.calmAt(window)
		default:
			continue
		}
		delay := max(at.Sub(now), time.Millisecond)
		if next == 0 || delay < next {
			next = delay
		}
	}
	return next
}

// wholeLocked says whether every object has been applied in this generation.
func (p *progress) wholeLocked() bool {
	return p.all(func(o *object) bool { return o.done && o.failure == nil })
}

// settled says whether nothing more will come of this generation: what is guarded never stands, and
// what earlier generations left need not wait for it.
func (p *progress) settled() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.all(func(o *object) bool {
		return o.done && o.failure == nil || o.failure != nil && o.failure.reason == reasonGuarded
	})
}

func (p *progress) all(fits func(*object) bool) bool {
	if len(p.invalid) > 0 || p.waiting != nil {
		return false
	}
	return !slices.ContainsFunc(p.order, func(o *object) bool { return !fits(o) })
}

// missed returns how often in a row objects were not found.
func (p *progress) missed() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.attempts++
	return p.attempts
}

func (p *progress) setWaiting(reason, message string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.waiting = &failure{reason: reason, message: message}
}

// kindsChanged makes objects whose kind was not served due at once, and doubts those of which the member did not know all
// fields, or may not have known them just now. It says whether there are any.
func (p *progress) kindsChanged() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	found := false
	for _, o := range p.order {
		switch {
		case o.failure != nil && o.failure.reason == reasonKindNotServed:
			o.due, o.notBefore, o.failures, found = true, time.Time{}, 0, true
		case len(o.dropped) > 0 || o.applying:
			o.doubted, found = true, true
		}
	}
	return found
}

// takeDoubted returns the objects that were applied without fields which the member may know by now, once.
func (p *progress) takeDoubted() []*object {
	p.mu.Lock()
	defer p.mu.Unlock()
	var doubted []*object
	for _, o := range p.order {
		if o.doubted && len(o.dropped) > 0 {
			doubted = append(doubted, o)
		}
		o.doubted = false
	}
	return doubted
}

func (p *progress) nowDue(o *object) {
	p.mu.Lock()
	defer p.mu.Unlock()
	o.due = true
}

// drifted takes in a change in the member and says whether the work has to be handled for it.
func (p *progress) drifted(id manifest.ID, live *unstructured.Unstructured) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	awaited := p.leaving != nil && live == nil // what is being removed may be gone now
	return p.takesIn(id, live) || awaited
}

// takesIn takes in a change of an object of the present generation. The caller holds the lock.
func (p *progress) takesIn(id manifest.ID, live *unstructured.Unstructured) bool {
	o := p.objects[id]
	if o == nil {
		return false
	}
	if o.applying {
		o.changesMeanwhile(live)
		return false // looked at when the apply is done
	}
	if !o.done && o.failure == nil {
		return false // it is about to be applied anyway
	}
	return o.take(live)
}

// changesMeanwhile keeps the last change that is seen during an apply. Nothing that comes after it answers a look that was
// asked for, nor does it tell whether what was gone is there again by the apply.
func (o *object) changesMeanwhile(live *unstructured.Unstructured) {
	if o.meanwhile == nil || o.meanwhile.live != nil {
		o.meanwhile = &change{live}
	}
}

// take makes the object due when it has drifted.
func (o *object) take(live *unstructured.Unstructured) bool {
	if live != nil && !o.differs(live) {
		return false
	}
	if live != nil && live.GetDeletionTimestamp() != nil {
		return false // an apply cannot keep it: it is made anew when it is gone
	}
	o.due = true
	return true
}

// settle takes in what was seen while the object was applied, unless the answer is not older.
func (o *object) settle(answered string) {
	seen := o.meanwhile
	o.applying, o.meanwhile = false, nil
	if seen == nil {
		return
	}
	if seen.live != nil && !newer(seen.live.GetResourceVersion(), answered) {
		return
	}
	o.take(seen.live)
}

// newer compares two resource versions of one object. Versions that are no numbers count as newer.
func newer(version, than string) bool {
	a, errA := strconv.ParseUint(version, 10, 64)
	b, errB := strconv.ParseUint(than, 10, 64)
	return errA != nil || errB != nil || a > b
}

// calm ends fights that nobody fights any more.
func (p *progress) calm(now time.Time, window time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, o := range p.order {
		if o.fights > 0 && !now.Before(o.calmAt(window)) {
			o.fights, o.corrections = 0, nil
		}
	}
}

// calmAt is when a fight is over, if nothing has to be corrected until then.
func (o *object) calmAt(window time.Duration) time.Time {
	last := o.notBefore
	if n := len(o.corrections); n > 0 && o.corrections[n-1].After(last) {
		last = o.corrections[n-1]
	}
	return last.Add(window << o.fights)
}

// differs says whether a live object is not as it was after the last apply.
func (o *object) differs(live *unstructured.Unstructured) bool {
	if o.sent == nil {
		return false
	}
	if live.GetUID() != o.liveUID || manifest.EditedByHand(live) {
		return true
	}
	now := checkedOf(live)
	if countsChanges(live) && now == o.checked {
		return false // only its status has changed
	}
	sent := &unstructured.Unstructured{}
	if err := sent.UnmarshalJSON(o.sent); err != nil {
		return true
	}
	if manifest.FingerprintOf(sent, live) != o.mark {
		return true
	}
	o.checked = now
	return false
}

// countsChanges says whether an object's generation tells a change of its status from others. One without a status has no
// need of that, and some that have none do not count at all: a PriorityClass is of generation 1 for ever.
func countsChanges(live *unstructured.Unstructured) bool {
	_, status := live.Object["status"]
	return status && live.GetGeneration() != 0
}

func checkedOf(live *unstructured.Unstructured) checked {
	return checked{
		uid: live.GetUID(), generation: live.GetGeneration(),
		metadata: fmt.Sprint(live.GetLabels(), live.GetAnnotations(), live.GetFinalizers(), live.GetOwnerReferences()),
	}
}

// describe fills in what is reported of the work.
func (p *progress) describe(entry *state.Entry, now time.Time) observe.WorkState {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := observe.WorkState{
		Key: p.key, UID: p.uid, Received: p.generation, ReceivedAt: entry.Received, Phase: linkv1.Phase_PHASE_PRESENT,
		Done: p.wholeLocked(), Manifests: len(entry.Work.GetManifests()),
	}
	if s.Done && p.applied != p.generation {
		p.applied, p.appliedAt = p.generation, now
	}
	s.Applied, s.AppliedAt = p.applied, p.appliedAt
	if entry.Removal != nil {
		s.Phase = linkv1.Phase_PHASE_REMOVING
	}
	s.Reason, s.Message = p.summary()
	s.Conditions = p.conditions()
	for _, o := range p.manifests {
		if o.resource.Resource != "" {
			s.Objects = append(s.Objects, observe.Tracked{
				ID: o.ID, Resource: o.resource, Ordinal: o.ordinal, Applied: o.done && o.failure == nil,
			})
		}
	}
	return s
}

// summary returns the reason that is worst and what all objects have to say.
func (p *progress) summary() (reason, message string) {
	failures := slices.Clone(p.invalid)
	for _, f := range []*failure{p.waiting, p.leaving} {
		if f != nil {
			failures = append(failures, f)
		}
	}
	pending := 0
	for _, o := range p.order {
		switch {
		case o.failure != nil && len(p.manifests) == 1:
			failures = append(failures, o.failure)
		case o.failure != nil:
			failures = append(failures, failf(o.failure.reason, "%s: %s", o.ID, o.failure.message))
		case !o.done:
			pending++
		}
	}
	switch {
	case len(failures) > 0:
		messages := make([]string, len(failures))
		for i, f := range failures {
			messages[i] = f.message
		}
		return failures[0].reason, bounded(strings.Join(messages, "\n"))
	case pending > 0:
		return reasonApplying, fmt.Sprintf("%d objects are still to be applied", pending)
	}
	return reasonApplied, "the member has what the work asks for"
}

// maxMessage bounds what a member's API server can make us send: a condition takes 32 KiB.
const maxMessage = 8 << 10

func bounded(message string) string {
	if len(message) <= maxMessage {
		return message
	}
	return strings.ToValidUTF8(message[:maxMessage], "") + "…"
}

func (p *progress) conditions() []*linkv1.Condition {
	var conditions []*linkv1.Condition
	add := func(conditionType, reason string, describe func(o *object) string) {
		var messages []string
		for _, o := range p.manifests {
			if text := describe(o); text != "" {
				messages = append(messages, fmt.Sprintf("%s: %s", o.ID, text))
			}
		}
		if len(messages) > 0 {
			conditions = append(conditions, &linkv1.Condition{
				Type: conditionType, Status: "True", Reason: reason, Message: bounded(strings.Join(messages, "\n")),
			})
		}
	}
	add(conditionFieldsDropped, "NotInMemberSchema", func(o *object) string {
		if len(o.dropped) == 0 {
			return ""
		}
		return "the member does not know " + strings.Join(o.dropped, ", ") + "; the object was applied without"
	})
	add(conditionDuplicatesMerged, "LastOneWins", func(o *object) string {
		if len(o.merged) == 0 {
			return ""
		}
		return "is more than once in its list: " + strings.Join(o.merged, ", ") + "; the last one was applied"
	})
	add(conditionAdopted, "ConflictResolutionOverwrite", func(o *object) string {
		if !o.adopted {
			return ""
		}
		return "existed in the member before and was taken over"
	})
	add(conditionDriftFight, "CorrectedTooOften", func(o *object) string {
		if o.fights == 0 {
			return ""
		}
		return "somebody in the member changes it again and again; it is put right at growing intervals only"
	})
	return conditions
}
