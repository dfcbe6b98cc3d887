package linktest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"
	agentlink "windlass.dev/windlass/agent/link"
	linkv1 "windlass.dev/windlass/api/link/v1"
	hublink "windlass.dev/windlass/hub/link"
	"windlass.dev/windlass/pkg/session"
)

var (
	_ hublink.Works     = (*fakeStore)(nil)
	_ hublink.Store     = (*fakeStore)(nil)
	_ hublink.Recorder  = (*fakeStore)(nil)
	_ agentlink.Desired = (*fakeMember)(nil)
	_ agentlink.Reports = (*fakeMember)(nil)
	_ agentlink.Memory  = (*fakeMember)(nil)
	_ agentlink.Facts   = (*fakeFacts)(nil)
	_ agentlink.Renewal = (*fakeRenewal)(nil)
	_ hublink.Renewer   = (*authority)(nil)
)

// fakeStore is a hub's store with the works of every member.
type fakeStore struct {
	mu          sync.Mutex
	revision    int64
	history     session.History
	restoring   map[string]bool
	epochs      map[string]int64
	clusters    map[string]map[string]*fakeWork
	subscribers map[int]subscriber
	nextID      int
	facts       map[string]*linkv1.ClusterFacts
	holds       map[string]session.Hold
	presence    map[string][]string // what was recorded, in order
	uids        int
	// block holds up every write until it is closed; nil means no holding up.
	block chan struct{}
	// waiting is how many writes are held up.
	waiting atomic.Int32
	// claim, if set, answers ClaimEpoch.
	claim func(cluster string, c hublink.Claim) error
}

type fakeWork struct {
	ref    session.Ref
	item   session.Item
	report *linkv1.Report
}

type subscriber struct {
	cluster string
	dirty   func(keys ...string)
}

func newFakeStore() *fakeStore {
	s := &fakeStore{
		revision: 100, history: session.History{}.Begin("one", 0), restoring: map[string]bool{}, epochs: map[string]int64{},
		clusters: map[string]map[string]*fakeWork{}, subscribers: map[int]subscriber{}, facts: map[string]*linkv1.ClusterFacts{},
		holds: map[string]session.Hold{}, presence: map[string][]string{},
	}
	s.history.Told = true
	return s
}

// put makes or changes works of a member.
func (s *fakeStore) put(cluster string, size int, keys ...string) {
	s.mu.Lock()
	for _, key := range keys {
		works := s.clusters[cluster]
		if works == nil {
			works = map[string]*fakeWork{}
			s.clusters[cluster] = works
		}
		s.revision++
		generation, uid := int64(1), ""
		if old := works[key]; old != nil {
			generation, uid = old.item.Work.GetGeneration()+1, old.item.Work.GetUid()
		} else {
			s.uids++
			uid = fmt.Sprint("uid-", s.uids)
		}
		work := &linkv1.Work{Key: key, Uid: uid, Generation: generation, Hash: []byte(fmt.Sprint(generation)), Manifests: [][]byte{make([]byte, size)}}
		works[key] = &fakeWork{ref: session.RefOfWork(work), item: session.Item{Revision: s.revision, Work: work}}
	}
	s.mu.Unlock()
	s.tell(cluster, keys...)
}

func (s *fakeStore) remove(cluster string, cause linkv1.RemovalCause, keys ...string) {
	s.mu.Lock()
	for _, key := range keys {
		s.revision++
		w := s.clusters[cluster][key]
		w.item = session.Item{Revision: s.revision, Removing: &session.Removing{UID: w.item.Work.GetUid(), Cause: cause}}
	}
	s.mu.Unlock()
	s.tell(cluster, keys...)
}

func (s *fakeStore) tell(cluster string, keys ...string) {
	s.mu.Lock()
	subscribers := slices.Collect(maps.Values(s.subscribers))
	s.mu.Unlock()
	for _, sub := range subscribers {
		if sub.cluster == cluster {
			sub.dirty(keys...)
		}
	}
}

func (s *fakeStore) Sync(context.Context, string) error { return nil }

func (s *fakeStore) Keys(cluster string) ([]session.Listed, int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []session.Listed
	for _, w := range s.clusters[cluster] {
		out = append(out, session.Listed{Ref: w.ref, Removing: w.item.Removing != nil, Unreported: w.report == nil})
	}
	return out, s.revision
}

func (s *fakeStore) Get(cluster, key string) (session.Item, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w, there := s.clusters[cluster][key]
	if !there {
		return session.Item{}, false
	}
	return w.item, true
}

func (s *fakeStore) Subscribe(cluster string, dirty func(keys ...string)) func() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.nextID++
	id := s.nextID
	s.subscribers[id] = subscriber{cluster, dirty}
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.subscribers, id)
	}
}

func (s *fakeStore) view(cluster string) session.StoreView {
	return session.StoreView{HubID: "hub", History: s.history, Revision: s.revision, Restoring: s.restoring[cluster]}
}

func (s *fakeStore) View(_ context.Context, cluster, _ string) (session.StoreView, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.view(cluster), nil
}

func (s *fakeStore) EnterRestore(_ context.Context, cluster, _ string, _ session.RestoreDetected) (session.StoreView, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.revision++
	s.restoring[cluster] = true
	return s.view(cluster), nil
}

func (s *fakeStore) LeaveRestore(_ context.Context, cluster, _ string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.restoring[cluster] = false
	return nil
}

func (s *fakeStore) ClaimEpoch(_ context.Context, cluster string, c hublink.Claim) (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.claim != nil {
		if err := s.claim(cluster, c); err != nil {
			return 0, err
		}
	}
	s.epochs[cluster] = max(s.epochs[cluster], c.LastEpoch) + 1
	return s.epochs[cluster], nil
}

func (s *fakeStore) note(cluster, what string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.presence[cluster] = append(s.presence[cluster], what)
	return nil
}

func (s *fakeStore) Connected(_ context.Context, cluster string, i hublink.SessionInfo) error {
	return s.note(cluster, fmt.Sprint("connected ", i.Epoch))
}

func (s *fakeStore) Disconnected(_ context.Context, cluster string, i hublink.SessionInfo) error {
	return s.note(cluster, fmt.Sprint("disconnected ", i.Epoch))
}

func (s *fakeStore) hold(ctx context.Context) error {
	s.mu.Lock()
	block := s.block
	s.mu.Unlock()
	if block == nil {
		return nil
	}
	s.waiting.Add(1)
	defer s.waiting.Add(-1)
	select {
	case <-block:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *fakeStore) RecordReport(ctx context.Context, cluster string, r *linkv1.Report) (int64, error) {
	if err := s.hold(ctx); err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.clusters[cluster][r.GetKey()]
	if w == nil || r.GetSessionEpoch() < s.epochs[cluster] {
		return 0, nil
	}
	s.revision++
	w.report = r
	return s.revision, nil
}

func (s *fakeStore) RemovalDone(ctx context.Context, cluster, key, uid string) error {
	if err := s.hold(ctx); err != nil {
		return err
	}
	s.mu.Lock()
	if w := s.clusters[cluster][key]; w != nil && w.item.Removing != nil && w.item.Removing.UID == uid {
		s.revision++
		delete(s.clusters[cluster], key)
	}
	s.mu.Unlock()
	s.tell(cluster, key)
	return nil
}

func (s *fakeStore) RecordFacts(_ context.Context, i hublink.SessionInfo, f *linkv1.ClusterFacts) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.facts[i.Cluster] = f
	return nil
}

func (s *fakeStore) RecordHold(_ context.Context, i hublink.SessionInfo, h session.Hold) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.holds[i.Cluster] = h
	return nil
}

// said counts the works of a member whose report has this message.
func (s *fakeStore) said(cluster, message string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, w := range s.clusters[cluster] {
		if w.report.GetMessage() == message {
			n++
		}
	}
	return n
}

// reported says how many works of a member have a report about their present generation.
func (s *fakeStore) reported(cluster string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, w := range s.clusters[cluster] {
		if w.report != nil && w.report.GetGeneration() == w.item.Work.GetGeneration() {
			n++
		}
	}
	return n
}

func (s *fakeStore) works(cluster string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.clusters[cluster])
}

func (s *fakeStore) recorded(cluster string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.presence[cluster])
}

// fakeMember holds works, reports on them and remembers the hub.
type fakeMember struct {
	mu      sync.Mutex
	works   map[string]*linkv1.Work
	removed map[string]string
	dirty   map[string]struct{}
	signal  chan struct{}
	mark    session.Mark
	busy    map[string]bool
	overlap bool
	// failing makes so many of the next Puts fail.
	failing int
	// away holds up what the agent remembers until it is closed; nil means no holding up.
	away chan struct{}
	// says is the message of every report.
	says string
}

func newFakeMember() *fakeMember {
	return &fakeMember{
		works: map[string]*linkv1.Work{}, removed: map[string]string{}, dirty: map[string]struct{}{},
		signal: make(chan struct{}, 1), busy: map[string]bool{},
	}
}

func (m *fakeMember) TakesAlong(*linkv1.Removal) bool { return false }
func (m *fakeMember) Burden(context.Context, *linkv1.Removal, int) session.Burden {
	return session.Burden{}
}

func (m *fakeMember) Known() []*linkv1.WorkRef {
	m.mu.Lock()
	defer m.mu.Unlock()
	var refs []*linkv1.WorkRef
	for _, w := range m.works {
		refs = append(refs, &linkv1.WorkRef{Key: w.Key, Uid: w.Uid, Generation: w.Generation, Hash: w.Hash, Revision: w.Revision, Incarnation: w.Incarnation})
	}
	return refs
}

// begin notices two operations on one key at once, which must never be.
func (m *fakeMember) begin(key string) func() {
	m.mu.Lock()
	m.overlap = m.overlap || m.busy[key]
	m.busy[key] = true
	m.mu.Unlock()
	return func() { m.mu.Lock(); m.busy[key] = false; m.mu.Unlock() }
}

func (m *fakeMember) Put(_ context.Context, w *linkv1.Work) error {
	defer m.begin(w.GetKey())()
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.failing > 0 {
		m.failing--
		return errors.New("the member's API is down")
	}
	m.works[w.GetKey()] = w
	m.markDirty(w.GetKey())
	return nil
}

func (m *fakeMember) Remove(_ context.Context, r *linkv1.Removal) error {
	defer m.begin(r.GetKey())()
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.works[r.GetKey()].GetUid() != r.GetUid() {
		return session.ErrNotHeld
	}
	delete(m.works, r.GetKey())
	m.removed[r.GetKey()] = r.GetUid()
	m.markDirty(r.GetKey())
	return nil
}

// markDirty needs the lock.
func (m *fakeMember) markDirty(key string) {
	m.dirty[key] = struct{}{}
	select {
	case m.signal <- struct{}{}:
	default:
	}
}

// say has all works reported with this message.
func (m *fakeMember) say(message string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.says = message
	for key := range m.works {
		m.markDirty(key)
	}
}

func (m *fakeMember) Dirty() <-chan struct{} { return m.signal }

func (m *fakeMember) TakeDirty(most int) []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var keys []string
	for key := range m.dirty {
		if len(keys) == most {
			select {
			case m.signal <- struct{}{}:
			default:
			}
			break
		}
		keys = append(keys, key)
		delete(m.dirty, key)
	}
	return keys
}

func (m *fakeMember) Report(key string) *linkv1.Report {
	m.mu.Lock()
	defer m.mu.Unlock()
	if w := m.works[key]; w != nil {
		return &linkv1.Report{Key: key, Uid: w.Uid, Generation: w.Generation, Phase: linkv1.Phase_PHASE_PRESENT, Applied: true, ObservedAt: timestamppb.Now(), Message: m.says}
	}
	if uid, there := m.removed[key]; there {
		return &linkv1.Report{Key: key, Uid: uid, Phase: linkv1.Phase_PHASE_REMOVED, ObservedAt: timestamppb.Now()}
	}
	return nil
}

func (m *fakeMember) Mark() session.Mark {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.mark
}

func (m *fakeMember) SetMark(ctx context.Context, mark session.Mark) error {
	m.mu.Lock()
	away := m.away
	m.mu.Unlock()
	if away != nil {
		select {
		case <-away:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mark = mark
	return nil
}

func (m *fakeMember) count() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.works)
}

// has says whether the member holds exactly what the store wants of a cluster.
func (m *fakeMember) has(s *fakeStore, cluster string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.works) != len(s.clusters[cluster]) {
		return false
	}
	for key, w := range s.clusters[cluster] {
		if w.item.Work == nil || m.works[key].GetUid() != w.item.Work.GetUid() || m.works[key].GetGeneration() != w.item.Work.GetGeneration() {
			return false
		}
	}
	return true
}

type fakeFacts struct{ dirty chan struct{} }

func (f *fakeFacts) Dirty() <-chan struct{} { return f.dirty }

func (f *fakeFacts) Facts() *linkv1.ClusterFacts {
	return &linkv1.ClusterFacts{KubernetesVersion: "v1.37.2", NodesTotal: 3}
}

// fakeRenewal keeps a certificate and asks for the next one when told.
type fakeRenewal struct {
	mu      sync.Mutex
	agent   *identity
	next    *identity
	renewAt time.Time
	renewed int
}

func (f *fakeRenewal) RenewAt() time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.renewAt
}

func (f *fakeRenewal) Request() ([]byte, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.next = newIdentity()
	return f.next.request()
}

func (f *fakeRenewal) Renewed(_ context.Context, chain [][]byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.next.chain = chain
	f.agent, f.next = f.next, nil
	f.renewed++
	f.renewAt = time.Now().Add(time.Hour)
	return nil
}
