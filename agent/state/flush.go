package state

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"windlass.dev/windlass/pkg/session"
)

// mostUnrest is how many times FlushInterval changes that follow one another put a flush off.
const mostUnrest = 4

// flushLoop writes dirty shards once nothing has changed for FlushInterval. In a burst they would else be compressed and
// written again and again while they fill.
func (s *Store) flushLoop(ctx context.Context) {
	delay := s.config.FlushInterval
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.flushUp:
		}
		if s.untilQuiet(ctx, delay) != nil {
			return
		}
		if err := s.flush(ctx); err != nil {
			if ctx.Err() != nil {
				return
			}
			s.metrics.failures.Inc()
			delay = min(2*delay, 30*time.Second)
			s.config.Logger.Warn("Desired state could not be written; trying again.", "error", err, "in", delay)
			s.askForFlush()
			continue
		}
		delay = s.config.FlushInterval
	}
}

// untilQuiet waits until nothing has changed for a while, or changes have gone on for too long or fill the journal.
func (s *Store) untilQuiet(ctx context.Context, while time.Duration) error {
	limit := time.NewTimer(max(while, mostUnrest*s.config.FlushInterval))
	defer limit.Stop()
	full := s.full
	if while > s.config.FlushInterval {
		full = nil // the last flush failed, and the next one is not hurried
	}
	for {
		quiet := time.NewTimer(while)
		select {
		case <-ctx.Done():
			quiet.Stop()
			return context.Cause(ctx)
		case <-s.flushUp:
			quiet.Stop()
			continue
		case <-quiet.C:
		case <-limit.C:
		case <-full:
		}
		quiet.Stop()
		return nil
	}
}

// snapshot is a shard as it is to be written.
type snapshot struct {
	shard    *shard
	prefix   string
	entries  []*Entry
	sequence uint64
	mark     session.Mark
}

// flush writes every dirty shard and then shortens the journal. Only one flush runs at a time.
func (s *Store) flush(ctx context.Context) error {
	dirty, sequence, obsolete := s.takeDirty()
	var failures []error
	again := false
	for _, snap := range dirty {
		whole, err := s.writeShard(ctx, snap)
		if err != nil {
			failures = append(failures, err)
			s.mu.Lock()
			snap.shard.dirty = true
			s.mu.Unlock()
		}
		again = again || !whole
	}
	if err := errors.Join(failures...); err != nil {
		return err
	}
	if again {
		return s.flush(ctx) // the halves of what was split; each time they are smaller
	}
	// Everything is written that the obsolete Secrets held.
	for _, name := range obsolete {
		if err := s.config.Secrets.Delete(ctx, name); err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("deleting Secret %s: %w", name, err)
		}
		s.mu.Lock()
		delete(s.obsolete, name)
		s.mu.Unlock()
	}
	s.shorten(sequence)
	return nil
}

// unsaved counts the changes that the journal knows and the shards do not.
func (s *Store) unsaved() float64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return float64(len(s.pending) + len(s.journal))
}

// takeDirty returns what is to be written, and the record up to which it is complete then.
func (s *Store) takeDirty() ([]snapshot, uint64, []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var dirty []snapshot
	for _, prefix := range slices.Sorted(maps.Keys(s.shards)) {
		shard := s.shards[prefix]
		if s.gone {
			shard.dirty, shard.chunks = true, map[string]chunked{}
		}
		if !shard.dirty {
			continue
		}
		shard.dirty = false
		dirty = append(dirty, snapshot{
			shard: shard, prefix: prefix, mark: s.mark, sequence: shard.sequence,
			entries: slices.Collect(maps.Values(shard.entries)),
		})
	}
	s.gone = false
	return dirty, s.visible(), slices.Sorted(maps.Keys(s.obsolete))
}

// visible returns the sequence of the last record that entries show. The caller holds the lock.
func (s *Store) visible() uint64 {
	var last uint64
	for _, shard := range s.shards {
		last = max(last, shard.sequence)
	}
	return last
}

// shorten drops the records that shards cover; the next commit writes the journal without them.
func (s *Store) shorten(sequence uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.journal = slices.DeleteFunc(s.journal, func(r record) bool { return r.Sequence <= sequence })
	close(s.covered)
	s.covered = make(chan struct{})
}

// writeShard writes one shard. It returns false when the shard had become too large and was split
// instead: its halves are dirty then.
func (s *Store) writeShard(ctx context.Context, snap snapshot) (bool, error) {
	slices.SortFunc(snap.entries, func(a, b *Entry) int { return strings.Compare(a.Key, b.Key) })
	content := shardContent{Sequence: snap.sequence, Mark: snap.mark}
	before := maps.Clone(snap.shard.chunks)
	for _, e := range snap.entries {
		chunks, err := s.writeChunks(ctx, snap.shard, e)
		if err != nil {
			return true, err
		}
		stored, err := store(e, chunks)
		if err != nil {
			return true, err
		}
		content.Entries = append(content.Entries, stored)
	}
	raw, err := content.encode()
	if err != nil {
		return true, err
	}
	compressed := compress(raw)
	if len(compressed) > s.config.SplitBytes && len(snap.entries) > 1 && len(snap.prefix) < deepest {
		s.splitShard(snap.prefix)
		return false, nil
	}
	written, err := s.put(ctx, shardName(snap.prefix), sealed(compressed), snap.shard.secret)
	if err != nil {
		return true, err
	}
	snap.shard.secret = written
	s.metrics.flushes.Inc()
	return true, s.deleteChunks(ctx, snap, before)
}

// splitShard replaces a shard by two. The old Secret goes when both are written: should the agent
// end in between, the longer prefix counts.
func (s *Store) splitShard(prefix string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.shards[prefix]
	delete(s.shards, prefix)
	for _, bit := range []string{"0", "1"} {
		half := newShard(prefix + bit)
		half.dirty, half.sequence = true, old.sequence
		s.shards[half.prefix] = half
	}
	for key, e := range old.entries {
		s.shardOf(key).entries[key] = e
	}
	for key, chunks := range old.chunks {
		s.shardOf(key).chunks[key] = chunks
	}
	if old.secret != nil {
		s.obsolete[shardName(prefix)] = true
	}
}

// writeChunks writes a large work's own Secrets, unless they hold it already.
func (s *Store) writeChunks(ctx context.Context, shard *shard, e *Entry) (chunked, error) {
	if e.Work == nil {
		delete(shard.chunks, e.Key)
		return chunked{}, nil
	}
	if kept, exists := shard.chunks[e.Key]; exists && kept.entry.Work == e.Work {
		return kept, nil
	}
	size := 0
	for _, manifest := range e.Work.GetManifests() {
		size += len(manifest)
	}
	if size <= s.config.SplitBytes { // compressed it is smaller still
		delete(shard.chunks, e.Key)
		return chunked{}, nil
	}
	chunks, parts, err := split(e, s.config.ChunkBytes)
	if err != nil {
		return chunked{}, err
	}
	if len(chunks.names) == 1 && len(parts[chunks.names[0]]) <= s.config.SplitBytes/2 {
		delete(shard.chunks, e.Key)
		return chunked{}, nil
	}
	for _, name := range chunks.names {
		if _, err := s.put(ctx, name, sealed(parts[name]), nil); err != nil {
			return chunked{}, err
		}
	}
	shard.chunks[e.Key] = chunks
	return chunks, nil
}

// deleteChunks deletes the Secrets of large works that the shard no longer refers to.
func (s *Store) deleteChunks(ctx context.Context, snap snapshot, before map[string]chunked) error {
	held := map[string]bool{}
	for _, e := range snap.entries {
		held[e.Key] = true
	}
	var unused []string
	for key, old := range before {
		now, exists := snap.shard.chunks[key]
		if !held[key] {
			delete(snap.shard.chunks, key)
			exists = false
		}
		for _, name := range old.names {
			if !exists || !slices.Contains(now.names, name) {
				unused = append(unused, name)
			}
		}
	}
	for _, name := range unused {
		if err := s.config.Secrets.Delete(ctx, name); err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("deleting Secret %s: %w", name, err)
		}
	}
	return nil
}
