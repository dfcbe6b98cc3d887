package main

import (
	"context"
	"sync"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	linkv1 "windlass.dev/windlass/api/link/v1"
	"windlass.dev/windlass/pkg/session"
)

// A member is the memory that stands for a cluster: it holds works, tells how they are, and remembers the hub. It takes
// the place of agent/state, agent/apply and agent/observe.
type member struct {
	script *script
	// came is told of every work and removal that comes.
	came func(key string, gone bool, manifests [][]byte)

	mu    sync.Mutex
	works map[string]*held
	// removed has the UIDs of what was removed, until the hub has recorded it.
	removed map[string]string
	order   []string
	queued  map[string]bool
	signal  chan struct{}
	mark    session.Mark
}

// held is a work that a member holds.
type held struct {
	ref      *linkv1.WorkRef
	received time.Time
	// object is what the work is made of; nil until it is applied.
	object  *object
	applied time.Time
	// step of the script that is shown; the last one is healthy.
	step    int
	healthy *linkv1.Milestone
	at      time.Time
}

func newMember(s *script, came func(key string, gone bool, manifests [][]byte)) *member {
	return &member{
		script: s, came: came, works: map[string]*held{}, removed: map[string]string{}, queued: map[string]bool{}, signal: make(chan struct{}, 1),
	}
}

// Known is of link.Desired.
func (m *member) Known() []*linkv1.WorkRef {
	m.mu.Lock()
	defer m.mu.Unlock()
	refs := make([]*linkv1.WorkRef, 0, len(m.works))
	for _, w := range m.works {
		refs = append(refs, w.ref)
	}
	return refs
}

// Put is of link.Desired.
func (m *member) Put(_ context.Context, w *linkv1.Work) error {
	made, err := m.script.objectOf(w)
	if err != nil {
		return err
	}
	key := w.GetKey()
	m.came(key, false, w.GetManifests())
	h := &held{
		ref:      &linkv1.WorkRef{Key: key, Uid: w.GetUid(), Generation: w.GetGeneration(), Hash: w.GetHash(), Revision: w.GetRevision(), Incarnation: w.GetIncarnation()},
		received: time.Now(),
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if before := m.works[key]; before != nil && before.ref.GetUid() == w.GetUid() {
		h.object, h.applied, h.step, h.healthy = before.object, before.applied, before.step, before.healthy
	}
	m.works[key] = h
	m.after(m.script.delay, h, func() {
		h.object, h.applied, h.step = made, time.Now(), 1
		m.advance(h)
	})
	return nil
}

// after calls do, with the lock held, unless the work is another one by then.
func (m *member) after(delay time.Duration, h *held, do func()) {
	if delay <= 0 {
		do()
		return
	}
	time.AfterFunc(delay, func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.works[h.ref.GetKey()] == h {
			do()
		}
	})
}

// advance shows a step, and after a while the next one. Needs the lock.
func (m *member) advance(h *held) {
	h.at = time.Now()
	steps := m.script.stepsOf(h.object)
	if h.step >= steps {
		h.healthy = &linkv1.Milestone{Generation: h.ref.GetGeneration(), At: timestamppb.New(h.at)}
	}
	m.dirty(h.ref.GetKey())
	if h.step < steps {
		m.after(max(m.script.stepDelay, time.Microsecond), h, func() { h.step++; m.advance(h) })
	}
}

// Remove is of link.Desired.
func (m *member) Remove(_ context.Context, r *linkv1.Removal) error {
	key := r.GetKey()
	m.mu.Lock()
	defer m.mu.Unlock()
	w := m.works[key]
	if w == nil || w.ref.GetUid() != r.GetUid() {
		if m.removed[key] == r.GetUid() {
			return nil
		}
		return session.ErrNotHeld
	}
	m.came(key, true, nil)
	delete(m.works, key)
	m.removed[key] = r.GetUid()
	m.dirty(key)
	return nil
}

// TakesAlong is of link.Desired. What holds other objects is not simulated.
func (m *member) TakesAlong(*linkv1.Removal) bool { return false }

// Burden is of link.Desired.
func (m *member) Burden(context.Context, *linkv1.Removal, int) session.Burden {
	return session.Burden{}
}

// dirty needs the lock.
func (m *member) dirty(key string) {
	if !m.queued[key] {
		m.queued[key] = true
		m.order = append(m.order, key)
	}
	m.ring()
}

func (m *member) ring() {
	select {
	case m.signal <- struct{}{}:
	default:
	}
}

// touch has every work reported anew, for the script has changed.
func (m *member) touch() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, w := range m.works {
		if w.object != nil && w.object.workload {
			w.at = time.Now()
			m.dirty(w.ref.GetKey())
		}
	}
}

// Dirty is of link.Reports.
func (m *member) Dirty() <-chan struct{} { return m.signal }

// TakeDirty is of link.Reports.
func (m *member) TakeDirty(most int) []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	taken := m.order[:min(most, len(m.order))]
	m.order = m.order[len(taken):]
	for _, key := range taken {
		delete(m.queued, key)
	}
	if len(m.order) > 0 {
		m.ring()
	} else {
		m.order = nil
	}
	return taken
}

// Report is of link.Reports.
func (m *member) Report(key string) *linkv1.Report {
	m.mu.Lock()
	defer m.mu.Unlock()
	if uid, there := m.removed[key]; there {
		return &linkv1.Report{Key: key, Uid: uid, Phase: linkv1.Phase_PHASE_REMOVED, ObservedAt: timestamppb.Now()}
	}
	w := m.works[key]
	if w == nil {
		return nil
	}
	r := &linkv1.Report{
		Key: key, Uid: w.ref.GetUid(), Phase: linkv1.Phase_PHASE_PRESENT,
		Generations: &linkv1.Generations{Received: &linkv1.Milestone{Generation: w.ref.GetGeneration(), At: timestamppb.New(w.received)}},
	}
	if w.object == nil {
		r.ObservedAt = timestamppb.New(w.received)
		return r
	}
	r.ObservedAt = timestamppb.New(w.at)
	r.Generation, r.Applied, r.Observed, r.Reason = w.ref.GetGeneration(), true, true, "AppliedSuccessful"
	r.Generations.Applied = &linkv1.Milestone{Generation: r.Generation, At: timestamppb.New(w.applied)}
	r.Generations.Healthy = w.healthy
	m.script.describe(r, w)
	return r
}

// recorded is told what the hub has in its store.
func (m *member) recorded(key, uid string, phase linkv1.Phase) {
	if phase != linkv1.Phase_PHASE_REMOVED {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.removed[key] != uid {
		return
	}
	delete(m.removed, key)
	if m.works[key] != nil {
		m.dirty(key)
	}
}

// Mark is of link.Memory.
func (m *member) Mark() session.Mark {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.mark
}

// SetMark is of link.Memory.
func (m *member) SetMark(_ context.Context, mark session.Mark) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mark = mark
	return nil
}

func (m *member) count() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.works)
}
