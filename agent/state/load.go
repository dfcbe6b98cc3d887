package state

import (
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"windlass.dev/windlass/pkg/session"
)

// Load reads what is kept. It is called once, before Run. What cannot be read is logged and left
// out; an error means that the member's API could not be asked.
func (s *Store) Load(ctx context.Context) error {
	secrets, err := s.config.Secrets.List(ctx)
	if err != nil {
		return fmt.Errorf("reading the desired state kept in the member: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	l := loader{store: s, chunks: map[string]*corev1.Secret{}, found: map[string]*foundShard{}}
	for i := range secrets {
		l.sort(&secrets[i])
	}
	l.recallMark()
	l.buildShards()
	l.fill()
	l.replay()
	l.collectChunks()
	s.counted, s.holds = l.journal.Counted, l.journal.Holds
	s.sequence = max(s.sequence, l.journal.Sequence, s.visible())
	s.askForFlush()
	return nil
}

type foundShard struct {
	secret  *corev1.Secret
	content shardContent
	corrupt bool
}

type loader struct {
	store   *Store
	journal journalContent
	chunks  map[string]*corev1.Secret
	found   map[string]*foundShard // by prefix
}

func (l *loader) sort(secret *corev1.Secret) {
	switch prefix, isShard := prefixOf(secret.Name); {
	case secret.Name == journalName:
		l.readJournal(secret)
	case isShard:
		l.readShard(prefix, secret)
	case strings.HasPrefix(secret.Name, chunkNamePrefix):
		l.chunks[secret.Name] = secret
	}
}

func (l *loader) readJournal(secret *corev1.Secret) {
	content, err := decodeJournal(secret)
	if err != nil {
		l.lost(err)
	}
	l.journal = content
	secret.Data = nil
	l.store.journalSecret = &version{secret}
}

func (l *loader) readShard(prefix string, secret *corev1.Secret) {
	content, err := decodeShard(secret)
	if err != nil {
		l.lost(err)
	}
	l.found[prefix] = &foundShard{secret: secret, content: content, corrupt: err != nil}
	secret.Data = nil
}

func (l *loader) lost(err error) {
	l.store.metrics.lost.Inc()
	l.store.config.Logger.Error("A part of the desired state is lost; the hub will be asked for it. Nothing is deleted.", "error", err)
}

// recallMark takes the mark from the journal, which is written with every change of it; only when
// that is lost, the newest that a shard has seen.
func (l *loader) recallMark() {
	s := l.store
	if l.journal.Mark != (session.Mark{}) {
		s.mark = l.journal.Mark
		return
	}
	var newest uint64
	for _, found := range l.found {
		mark := found.content.Mark
		if mark == (session.Mark{}) || found.content.Sequence < newest {
			continue
		}
		newest = found.content.Sequence
		if mark.Incarnation == s.mark.Incarnation {
			mark.Revision, mark.Epoch = max(mark.Revision, s.mark.Revision), max(mark.Epoch, s.mark.Epoch)
		}
		s.mark = mark
	}
}

// buildShards makes the shards that were found, and those that a full cover lacks. A shard below
// which there are others was being split: it goes when they are written.
func (l *loader) buildShards() {
	s := l.store
	s.shards = map[string]*shard{}
	prefixes := map[string]bool{"": true}
	for prefix := range l.found {
		for n := range len(prefix) {
			prefixes[prefix[:n]+"0"], prefixes[prefix[:n]+"1"] = true, true
		}
	}
	for prefix := range prefixes {
		inner := prefixes[prefix+"0"]
		found := l.found[prefix]
		if inner {
			if found != nil {
				s.obsolete[shardName(prefix)] = true
			}
			continue
		}
		shard := newShard(prefix)
		if found != nil {
			shard.secret = &version{found.secret}
			shard.sequence = found.content.Sequence
		}
		shard.dirty = found == nil && prefix != "" || found != nil && found.corrupt
		s.shards[prefix] = shard
	}
}

// fill puts every entry into its shard. Of shards that cover the same key the one with the longest
// prefix counts, even when it does not hold the key: then that was removed.
func (l *loader) fill() {
	for prefix, found := range l.found {
		for _, stored := range found.content.Entries {
			if l.authority(stored.Key) != prefix {
				continue
			}
			entry, err := stored.entry(l.chunk)
			if err != nil {
				l.lost(err)
			}
			shard := l.store.shardOf(stored.Key)
			shard.entries[entry.Key] = entry
			shard.sequence = max(shard.sequence, found.content.Sequence)
			if shard.prefix != prefix {
				shard.dirty = true
			}
			if len(stored.Chunks) > 0 && err == nil {
				shard.chunks[stored.Key] = chunked{entry: entry, names: stored.Chunks, digest: stored.Digest}
			}
		}
	}
}

// authority returns the prefix of the shard that was found and covers a key most closely.
func (l *loader) authority(key string) string {
	path := pathOf(key)
	for n := len(path); n > 0; n-- {
		if l.found[path[:n]] != nil {
			return path[:n]
		}
	}
	return ""
}

func (l *loader) chunk(name string) ([]byte, error) {
	secret, exists := l.chunks[name]
	if !exists {
		return nil, fmt.Errorf("Secret %s is missing", name)
	}
	return checked(secret)
}

// replay brings entries up to the journal. A work whose manifests were not yet written is held
// without a hash, so that the hub sends it again.
func (l *loader) replay() {
	s := l.store
	slices.SortFunc(l.journal.Records, func(a, b record) int { return int(a.Sequence) - int(b.Sequence) })
	for _, r := range l.journal.Records {
		if found := l.found[l.authority(r.Key)]; found != nil && !found.corrupt && r.Sequence <= found.content.Sequence {
			continue
		}
		shard := s.shardOf(r.Key)
		if entry := r.after(shard.entries[r.Key]); entry != nil {
			shard.set(entry)
			shard.sequence = max(shard.sequence, r.Sequence)
		}
		s.journal = append(s.journal, r)
	}
}

// collectChunks marks chunks that nothing refers to for deletion.
func (l *loader) collectChunks() {
	used := map[string]bool{}
	for _, shard := range l.store.shards {
		for _, chunks := range shard.chunks {
			for _, name := range chunks.names {
				used[name] = true
			}
		}
	}
	for name := range l.chunks {
		if !used[name] {
			l.store.obsolete[name] = true
		}
	}
}
