// Package state keeps what the hub wants of this member in the member's own API, as Secrets, so
// that an agent that starts without its hub knows its last word.
//
// How it is kept. A journal, one small Secret, is written before anything is acknowledged: for a
// work its key, generation and the names of its objects, without the manifests; for a removal all
// of it. Changes at the same time, or soon after another, share one write. The manifests follow
// once nothing has changed for FlushInterval, and in a burst within four times that, into shards:
// Secrets that are chosen by the hash of the key, compressed, and split above SplitBytes. A work
// that is larger than that alone is kept in chunks of its own. Everything carries a checksum.
//
// What a reader can rely on: what is missing or corrupt is reported as held without a hash, or not
// at all, so the hub sends it again. Nothing here ever means that an object is to be deleted, but a
// removal that was recorded.
package state

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	linkv1 "windlass.dev/windlass/api/link/v1"
	"windlass.dev/windlass/pkg/manifest"
	"windlass.dev/windlass/pkg/session"
)

// Entry is what is held of one work. Entries are never changed after they were handed out.
type Entry struct {
	Key        string
	UID        string
	Generation int64
	// Hash is empty when the manifests were lost: the hub has to send them again.
	Hash []byte
	// Work is nil when the manifests were lost, and when only a removal is held.
	Work *linkv1.Work
	// Objects are all that may exist in the member because of this work: those of its manifests,
	// and those of earlier generations that are not pruned yet.
	Objects []manifest.Object
	// Received is when the agent took this generation in.
	Received time.Time
	// Removal is set once the removal of the work is durable.
	Removal *Removal
}

// Removal says how a work is removed.
type Removal struct {
	Cause linkv1.RemovalCause `json:"cause,omitempty"`
	// Keep leaves the objects in the member, without the hub's marks.
	Keep bool `json:"keep,omitempty"`
}

// Config of a Store. Secrets, Logger and Now are needed.
type Config struct {
	Secrets  Secrets
	Logger   *slog.Logger
	Now      func() time.Time
	Registry prometheus.Registerer
	// Counted returns what the brake on removals counts now; it is kept with every write of the journal. nil means that
	// nothing is counted.
	Counted func() []session.Counted
	// Holds says whether the brake holds any, and is kept with it; nil means that it does not.
	Holds func() bool
	// FlushInterval is how long manifests wait before they are written; half a second when 0. Changes that follow one
	// another within it make them wait longer, four times as long at most.
	FlushInterval time.Duration
	// MostRest bounds how long the journal rests after a write, during which changes gather for the next one; 100
	// milliseconds when 0. It rests four times as long as the write took, so a fifth of the time is spent on writing it.
	MostRest time.Duration
	// SplitBytes is the compressed size above which a shard is split; 16 KiB when 0. A change costs the compression and
	// the write of one shard.
	SplitBytes int
	// ChunkBytes is the size of a chunk of a large work; 512 KiB when 0.
	ChunkBytes int
	// JournalBytes is the size above which the journal is not let grow before the shards are
	// written; 512 KiB when 0.
	JournalBytes int
}

const (
	defaultFlushInterval = 500 * time.Millisecond
	defaultMostRest      = 100 * time.Millisecond
	defaultSplitBytes    = 16 << 10
	defaultChunkBytes    = 512 << 10
	defaultJournalBytes  = 512 << 10
	// lastFlush bounds what is written when the agent ends.
	lastFlush = 5 * time.Second
)

// ErrOtherAgent says that another process writes the same state.
var ErrOtherAgent = errors.New("another agent keeps its state in the same namespace")

// Store is the state. All methods may be called concurrently.
type Store struct {
	config  Config
	writer  string // names this process in what it writes
	metrics metrics

	mu       sync.Mutex
	shards   map[string]*shard // by prefix; exactly one covers every key
	obsolete map[string]bool   // names of Secrets to delete once all dirty shards are written
	gone     bool              // the Secrets are gone: the next flush writes all of them
	mark     session.Mark
	sequence uint64 // of the last record
	// What the journal had of the brake when it was loaded.
	counted []session.Counted
	holds   bool

	onLate func(key string)

	pending []*pending    // waits to be written to the journal, in order
	writing []*pending    // is being written to it, and not yet visible
	journal []record      // written or being written, and not yet covered by shards
	covered chan struct{} // closed and replaced when a flush has shortened the journal
	wakeUp  chan struct{}
	flushUp chan struct{}
	full    chan struct{} // the journal waits for a flush

	journalSecret *version // touched by the commit loop alone
}

// New returns a store that holds nothing; Load reads what is kept, Run writes.
func New(config Config) (*Store, error) {
	if config.Secrets == nil || config.Logger == nil || config.Now == nil {
		return nil, errors.New("state: Secrets, Logger and Now are needed")
	}
	if config.Counted == nil {
		config.Counted = func() []session.Counted { return nil }
	}
	if config.Holds == nil {
		config.Holds = func() bool { return false }
	}
	setDefault(&config.FlushInterval, defaultFlushInterval)
	setDefault(&config.MostRest, defaultMostRest)
	setDefault(&config.SplitBytes, defaultSplitBytes)
	setDefault(&config.ChunkBytes, defaultChunkBytes)
	setDefault(&config.JournalBytes, defaultJournalBytes)
	writer, err := newWriter()
	if err != nil {
		return nil, err
	}
	s := &Store{
		config: config, writer: writer,
		shards:   map[string]*shard{"": newShard("")},
		obsolete: map[string]bool{},
		covered:  make(chan struct{}),
		wakeUp:   make(chan struct{}, 1),
		flushUp:  make(chan struct{}, 1),
		full:     make(chan struct{}, 1),
		onLate:   func(string) {},
	}
	s.metrics = newMetrics(config.Registry, s.count, s.unsaved)
	return s, nil
}

func setDefault[T int | time.Duration](field *T, value T) {
	if *field == 0 {
		*field = value
	}
}

// Known returns a reference of everything held, those that are being removed left out. A reference
// without a hash asks the hub to send the work again.
func (s *Store) Known() []*linkv1.WorkRef {
	s.mu.Lock()
	defer s.mu.Unlock()
	var refs []*linkv1.WorkRef
	for _, shard := range s.shards {
		for _, e := range shard.entries {
			if e.Removal != nil {
				continue
			}
			refs = append(refs, &linkv1.WorkRef{
				Key: e.Key, Uid: e.UID, Generation: e.Generation, Hash: e.Hash,
				Revision: e.Work.GetRevision(), Incarnation: e.Work.GetIncarnation(), Preserves: e.Work.GetPreserveResourcesOnDeletion(),
			})
		}
	}
	return refs
}

// Keys returns the keys of everything held, removals that are not carried out included.
func (s *Store) Keys() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var keys []string
	for _, shard := range s.shards {
		keys = slices.AppendSeq(keys, maps.Keys(shard.entries))
	}
	return keys
}

func (s *Store) count() float64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, shard := range s.shards {
		n += len(shard.entries)
	}
	return float64(n)
}

// Get returns what is held of a key.
func (s *Store) Get(key string) (*Entry, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, held := s.shardOf(key).entries[key]
	return e, held
}

// Hold makes a work held under a key that holds nothing, and says whether it did. It is durable with
// the next flush, or when Put of it has returned if that is sooner.
func (s *Store) Hold(work *linkv1.Work) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	shard := s.shardOf(work.GetKey())
	if _, held := shard.entries[work.GetKey()]; held {
		return false
	}
	shard.set(&Entry{
		Key: work.GetKey(), UID: work.GetUid(), Generation: work.GetGeneration(), Hash: work.GetHash(), Work: work,
		Objects: manifest.Objects(work.GetManifests()), Received: s.config.Now(),
	})
	s.askForFlush()
	return true
}

// OnLate has a function called with the key of every work or removal that is held after all, though the call that
// recorded it has returned an error: nobody else would see to it, for the hub is told that it is held. Call it once,
// before anything is recorded.
func (s *Store) OnLate(f func(key string)) { s.onLate = f }

// Put records a work. It returns when the journal that names it is written; until then nothing of
// it may be applied, unless Hold has taken it. An error means that this is not known: the work may still become held,
// which OnLate tells.
func (s *Store) Put(ctx context.Context, work *linkv1.Work) error {
	return s.commit(ctx, &pending{record: record{
		Key: work.GetKey(), UID: work.GetUid(), Generation: work.GetGeneration(), Hash: work.GetHash(),
		Objects: manifest.Objects(work.GetManifests()), Time: s.config.Now(),
	}, work: work})
}

// Remove records that the work with this key and UID is to be removed, and returns when that is
// durable. It returns false when no such work is held, nor will be: what was recorded before in vain may still become held.
func (s *Store) Remove(ctx context.Context, key, uid string, removal Removal) (bool, error) {
	if !s.holdsOrWill(key, func(held string) bool { return held == uid }) {
		return false, nil
	}
	return true, s.commit(ctx, &pending{record: record{Key: key, UID: uid, Removal: &removal, Time: s.config.Now()}})
}

// RemoveLeft records the removal of a work that is not held, and of which these objects are left in the
// member all the same. It returns when that is durable, and false when the key holds something, or will.
func (s *Store) RemoveLeft(ctx context.Context, key, uid string, removal Removal, objects []manifest.Object) (bool, error) {
	if len(objects) == 0 || s.holdsOrWill(key, func(string) bool { return true }) {
		return false, nil
	}
	return true, s.commit(ctx, &pending{record: record{Key: key, UID: uid, Objects: objects, Removal: &removal, Time: s.config.Now()}})
}

// holdsOrWill says whether a key holds a work with a UID that fits, or will when the journal is written. What is recorded
// after that comes after it in the journal, too.
func (s *Store) holdsOrWill(key string, fits func(uid string) bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e, held := s.shardOf(key).entries[key]; held && fits(e.UID) {
		return true
	}
	recorded := func(change *pending) bool { return change.Key == key && fits(change.UID) }
	return slices.ContainsFunc(s.writing, recorded) || slices.ContainsFunc(s.pending, recorded)
}

// Pruned forgets objects of earlier generations that exist no more. It is made durable with the
// next flush: an object that is pruned twice does no harm.
func (s *Store) Pruned(key, uid string, generation int64, gone []manifest.Object) {
	s.mu.Lock()
	defer s.mu.Unlock()
	shard := s.shardOf(key)
	e, held := shard.entries[key]
	if !held || e.UID != uid || e.Generation != generation {
		return
	}
	changed := *e
	changed.Objects = manifest.Missing(e.Objects, gone)
	shard.set(&changed)
	s.askForFlush()
}

// Forget forgets a work whose removal has been carried out. It is made durable with the next flush:
// a removal that is carried out twice does no harm.
func (s *Store) Forget(key, uid string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	shard := s.shardOf(key)
	if e, held := shard.entries[key]; held && e.UID == uid && e.Removal != nil {
		shard.remove(key)
		s.askForFlush()
	}
}

// Mark returns what is remembered of the hub.
func (s *Store) Mark() session.Mark {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mark
}

// Counted returns the removals that were counted when the process before wrote last.
func (s *Store) Counted() []session.Counted {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.counted
}

// Held says whether removals waited for a person when the process before wrote last.
func (s *Store) Held() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.holds
}

// SetMark remembers the hub's mark and returns when that is durable. Calls at the same time, of
// Put and Remove too, share one write.
func (s *Store) SetMark(ctx context.Context, mark session.Mark) error {
	return s.commit(ctx, &pending{mark: &mark})
}

// WriteAnew writes again all that is held, for the Secrets were deleted under the agent. It returns when the journal is
// durable; the rest follows with the next flush.
func (s *Store) WriteAnew(ctx context.Context) error {
	s.mu.Lock()
	s.gone = true
	s.mu.Unlock()
	s.askForFlush()
	return s.commit(ctx, &pending{anew: true})
}

// Run writes until ctx ends, and then once more what is not yet written. It returns an error when
// another agent writes the same state.
func (s *Store) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var group sync.WaitGroup
	group.Go(func() {
		if err := s.commitLoop(ctx); err != nil {
			cancel(err)
		}
	})
	group.Go(func() { s.flushLoop(ctx) })
	group.Wait()
	if cause := context.Cause(ctx); errors.Is(cause, ErrOtherAgent) {
		return cause
	}
	end, stop := context.WithTimeout(context.WithoutCancel(ctx), lastFlush)
	defer stop()
	if err := s.flush(end); err != nil {
		s.config.Logger.Warn("The last changes were not written; the hub will send them again.", "error", err)
	}
	return nil
}

// shardOf returns the shard that covers a key. The caller holds the lock.
func (s *Store) shardOf(key string) *shard {
	path := pathOf(key)
	for n := range len(path) + 1 {
		if shard, exists := s.shards[path[:n]]; exists {
			return shard
		}
	}
	panic(fmt.Sprintf("no shard covers the key %q", key)) // Load and split keep the shards a full cover
}

func (s *Store) askForFlush() { signal(s.flushUp) }

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
