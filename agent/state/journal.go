package state

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	linkv1 "windlass.dev/windlass/api/link/v1"
	"windlass.dev/windlass/pkg/manifest"
	"windlass.dev/windlass/pkg/session"
)

const journalName = "windlass-journal"

// record is one change in the journal: a work was received, or its removal.
type record struct {
	Sequence   uint64            `json:"sequence"`
	Key        string            `json:"key"`
	UID        string            `json:"uid"`
	Generation int64             `json:"generation,omitempty"`
	Hash       []byte            `json:"hash,omitempty"`
	Objects    []manifest.Object `json:"objects,omitempty"`
	Time       time.Time         `json:"time"`
	Removal    *Removal          `json:"removal,omitempty"`
}

// pending is a change that waits for the journal.
type pending struct {
	record
	work *linkv1.Work  // with a record of a work
	mark *session.Mark // then there is no record
	anew bool          // nothing has changed: the journal is written again
	done chan struct{} // closed when it is durable
	late bool          // whoever asked for it waits no more
}

// journalContent is what the journal's Secret holds.
type journalContent struct {
	Mark     session.Mark `json:"mark"`
	Sequence uint64       `json:"sequence"`
	Records  []record     `json:"records,omitempty"`
	// Counted are the removals that the brake counts. A removal is counted before it is recorded, so the write that
	// makes it durable has its count, and an agent that starts anew has neither a new allowance nor a removal twice.
	Counted []session.Counted `json:"counted,omitempty"`
	// Holds: the brake holds removals that wait for a person. It is written before the hub hears of them.
	Holds bool `json:"holds,omitempty"`
}

// version is a Secret as it was last read or written.
type version struct{ secret *corev1.Secret }

// newWriter returns the name of this process in what it writes.
func newWriter() (string, error) {
	var raw [8]byte
	if _, err := rand.Read(raw[:]); err != nil {
		return "", fmt.Errorf("naming this process: %w", err)
	}
	return hex.EncodeToString(raw[:]), nil
}

// commit queues a change and waits until it is durable.
func (s *Store) commit(ctx context.Context, change *pending) error {
	change.done = make(chan struct{})
	s.mu.Lock()
	s.pending = append(s.pending, change)
	s.mu.Unlock()
	signal(s.wakeUp)
	select {
	case <-change.done:
		return nil
	case <-ctx.Done():
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-change.done:
		return nil
	default:
	}
	change.late = true
	return fmt.Errorf("recording the change in the member: %w", context.Cause(ctx))
}

// restAfterWrite is how many times as long as a write of the journal took it then rests.
const restAfterWrite = 4

// commitLoop writes the journal. While a write is under way, and while the journal rests after it, changes gather for the
// next: works that come one by one in a burst would else cost a write each. A change that meets a journal at rest for
// longer is written at once.
func (s *Store) commitLoop(ctx context.Context) error {
	var rested time.Time
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.wakeUp:
		}
		if wait(ctx, nil, time.Until(rested)) != nil {
			return nil
		}
		batch := s.takePending()
		if len(batch) == 0 {
			continue
		}
		began := time.Now()
		if err := s.commitBatch(ctx, batch); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		rested = time.Now().Add(min(restAfterWrite*time.Since(began), s.config.MostRest))
	}
}

func (s *Store) takePending() []*pending {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writing, s.pending = s.pending, nil
	return s.writing
}

// commitBatch makes a batch durable and then visible. It ends early only with ctx, or when another
// agent writes: a member whose API does not answer is waited for.
func (s *Store) commitBatch(ctx context.Context, batch []*pending) error {
	s.mu.Lock()
	mark := s.mark
	for _, change := range batch {
		if change.anew {
			continue
		}
		if change.mark != nil {
			mark = advance(mark, *change.mark)
			continue
		}
		mark = advance(mark, seenIn(mark, change.work))
		s.sequence++
		change.Sequence = s.sequence
		s.journal = append(s.journal, change.record)
	}
	s.mu.Unlock()

	if err := s.writeJournal(ctx, mark); err != nil {
		return err
	}

	var late []string
	s.mu.Lock()
	s.mark = mark
	for _, change := range batch {
		if change.mark == nil && !change.anew {
			s.adopt(change)
			if change.late {
				late = append(late, change.Key)
			}
		}
		close(change.done)
	}
	s.writing = nil
	s.mu.Unlock()
	for _, key := range late {
		s.onLate(key)
	}
	s.askForFlush()
	return nil
}

// seenIn returns the mark as far as a work shows it. The mark must never be below what is held: an agent that holds what
// a restored hub does not have, and does not know it, would take it for deleted.
func seenIn(mark session.Mark, work *linkv1.Work) session.Mark {
	if work.GetIncarnation() == mark.Incarnation {
		mark.Revision = work.GetRevision()
	}
	return mark
}

// advance returns the next mark. Marks of one incarnation come in any order, and none takes back what another has seen.
func advance(mark, next session.Mark) session.Mark {
	if next.HubID == mark.HubID && next.Incarnation == mark.Incarnation {
		next.Revision, next.Epoch = max(next.Revision, mark.Revision), max(next.Epoch, mark.Epoch)
	}
	return next
}

// adopt makes a durable change visible. The caller holds the lock.
func (s *Store) adopt(change *pending) {
	shard := s.shardOf(change.Key)
	entry := change.after(shard.entries[change.Key])
	if entry == nil {
		return
	}
	if change.work != nil {
		entry.Work, entry.Hash = change.work, change.Hash
	}
	shard.set(entry)
	shard.sequence = change.Sequence
}

// after returns what is held after a record, without the manifests that the record does not carry;
// nil when it changes nothing.
func (r record) after(before *Entry) *Entry {
	if r.Removal != nil {
		if before == nil && len(r.Objects) > 0 {
			return &Entry{Key: r.Key, UID: r.UID, Objects: r.Objects, Received: r.Time, Removal: r.Removal}
		}
		if before == nil || before.UID != r.UID {
			return nil
		}
		removed := *before
		removed.Removal = r.Removal
		return &removed
	}
	entry := &Entry{Key: r.Key, UID: r.UID, Generation: r.Generation, Objects: r.Objects, Received: r.Time}
	if before == nil {
		return entry
	}
	if before.UID == r.UID && before.Generation == r.Generation {
		entry.Received = before.Received
	}
	// What a removal shall keep must not be pruned by the work that follows it.
	if before.Removal == nil || !before.Removal.Keep {
		entry.Objects = manifest.Union(r.Objects, before.Objects)
	}
	return entry
}

// writeJournal writes the journal as it is now. It waits for the shards when it would be too large.
func (s *Store) writeJournal(ctx context.Context, mark session.Mark) error {
	delay := 50 * time.Millisecond
	for {
		s.mu.Lock()
		content := journalContent{Mark: mark, Sequence: s.sequence, Records: append([]record(nil), s.journal...), Counted: s.config.Counted(), Holds: s.config.Holds()}
		covered := s.covered
		s.mu.Unlock()
		data, err := seal(content)
		if err != nil {
			return err
		}
		if size := len(data[contentKey]); size > s.config.JournalBytes && len(content.Records) > 1 && s.canShorten() {
			s.askForFlush()
			signal(s.full)
			if err := wait(ctx, covered, s.config.FlushInterval); err != nil {
				return err
			}
			continue
		}
		err = s.putJournal(ctx, data)
		if err == nil {
			s.metrics.commits.Inc()
			return nil
		}
		if errors.Is(err, ErrOtherAgent) || ctx.Err() != nil {
			return err
		}
		s.metrics.failures.Inc()
		s.config.Logger.Warn("The journal of desired state could not be written; trying again.", "error", err, "in", delay)
		if err := wait(ctx, nil, delay); err != nil {
			return err
		}
		delay = min(2*delay, 10*time.Second)
	}
}

// canShorten says whether a flush would make the journal shorter: some records are already visible.
func (s *Store) canShorten() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, shard := range s.shards {
		if shard.dirty {
			return true
		}
	}
	return false
}

func wait(ctx context.Context, until <-chan struct{}, limit time.Duration) error {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-until:
	case <-timer.C:
	}
	return nil
}

func (s *Store) putJournal(ctx context.Context, data map[string][]byte) error {
	written, err := s.put(ctx, journalName, data, s.journalSecret)
	if err != nil {
		return err
	}
	s.journalSecret = written
	return nil
}

// put creates or replaces a Secret that was last seen as before. A conflict with a write of our own
// whose answer was lost is resolved; one with another agent is ErrOtherAgent.
func (s *Store) put(ctx context.Context, name string, data map[string][]byte, before *version) (*version, error) {
	secret := newSecret(name, s.writer, data)
	for {
		var written *corev1.Secret
		var err error
		if before == nil {
			written, err = s.config.Secrets.Create(ctx, secret)
		} else {
			secret.ResourceVersion = before.secret.ResourceVersion
			written, err = s.config.Secrets.Update(ctx, secret)
		}
		switch {
		case err == nil:
			written.Data = nil // only its version is needed
			return &version{written}, nil
		case before != nil && apierrors.IsNotFound(err):
			before, secret.ResourceVersion = nil, "" // somebody deleted it
		case apierrors.IsConflict(err), before == nil && apierrors.IsAlreadyExists(err):
			if before, err = s.ownVersion(ctx, name); err != nil {
				return nil, err
			}
		default:
			return nil, fmt.Errorf("writing Secret %s: %w", name, err)
		}
	}
}

// ownVersion reads a Secret that has changed under us.
func (s *Store) ownVersion(ctx context.Context, name string) (*version, error) {
	found, err := s.config.Secrets.Get(ctx, name)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading Secret %s: %w", name, err)
	}
	if other := found.Annotations[writerAnnotation]; other != s.writer && name == journalName && s.journalSecret != nil {
		return nil, fmt.Errorf("%w (Secret %s was written by process %s): end one of the two", ErrOtherAgent, name, other)
	}
	return &version{found}, nil
}

func decodeJournal(secret *corev1.Secret) (journalContent, error) {
	var content journalContent
	raw, err := unseal(secret)
	if err != nil {
		return content, err
	}
	if err := json.Unmarshal(raw, &content); err != nil {
		return content, fmt.Errorf("reading Secret %s: %w", secret.Name, err)
	}
	return content, nil
}
