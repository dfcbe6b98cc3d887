package state

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	corev1 "k8s.io/api/core/v1"

	linkv1 "windlass.dev/windlass/api/link/v1"
	"windlass.dev/windlass/pkg/manifest"
	"windlass.dev/windlass/pkg/session"
)

const (
	shardNamePrefix = "windlass-state-"
	chunkNamePrefix = "windlass-work-"
	// deepest is how many bits of a key's hash can choose its shard.
	deepest = 32
)

// shard is a part of the state: the entries whose path begins with its prefix.
type shard struct {
	prefix   string
	entries  map[string]*Entry
	sequence uint64 // of the last record that changed an entry
	dirty    bool
	secret   *version // touched by the flush alone
	// chunks of entries that are kept outside the shard; touched by the flush alone.
	chunks map[string]chunked
}

func newShard(prefix string) *shard {
	return &shard{prefix: prefix, entries: map[string]*Entry{}, chunks: map[string]chunked{}}
}

func (s *shard) set(e *Entry) {
	s.entries[e.Key] = e
	s.dirty = true
}

func (s *shard) remove(key string) {
	delete(s.entries, key)
	s.dirty = true
}

// pathOf returns the bits of a key's hash as 0 and 1.
func pathOf(key string) string {
	sum := sha256.Sum256([]byte(key))
	var bits strings.Builder
	for i := range deepest {
		bits.WriteByte('0' + sum[i/8]>>(7-i%8)&1)
	}
	return bits.String()
}

// shardName returns the name of a shard's Secret. The root's prefix is empty, which no name may end with.
func shardName(prefix string) string { return shardNamePrefix + "r" + prefix }

func prefixOf(name string) (string, bool) {
	prefix, isShard := strings.CutPrefix(name, shardNamePrefix+"r")
	if !isShard || len(prefix) > deepest || strings.Trim(prefix, "01") != "" {
		return "", false
	}
	return prefix, true
}

// chunked is an entry that is kept in Secrets of its own.
type chunked struct {
	entry  *Entry   // what they hold
	names  []string // in order
	digest []byte   // of all of them together
}

// shardContent is what a shard's Secret holds.
type shardContent struct {
	// Sequence is that of the last record that the shard covers.
	Sequence uint64        `json:"sequence"`
	Mark     session.Mark  `json:"mark"`
	Entries  []storedEntry `json:"entries"`
}

// encode writes the content without the works as JSON, and behind it the works as they are: in
// base64 they would not compress well.
func (c shardContent) encode() ([]byte, error) {
	head, err := json.Marshal(c)
	if err != nil {
		return nil, fmt.Errorf("writing the state: %w", err)
	}
	raw := binary.AppendUvarint(nil, uint64(len(head)))
	raw = append(raw, head...)
	for _, e := range c.Entries {
		raw = append(raw, e.work...)
	}
	return raw, nil
}

func decodeContent(raw []byte) (shardContent, error) {
	var c shardContent
	length, n := binary.Uvarint(raw)
	if n <= 0 || length > uint64(len(raw)-n) {
		return c, errors.New("it is cut off")
	}
	head, works := raw[n:n+int(length)], raw[n+int(length):]
	if err := json.Unmarshal(head, &c); err != nil {
		return c, err
	}
	for i := range c.Entries {
		e := &c.Entries[i]
		if e.WorkBytes < 0 || e.WorkBytes > len(works) {
			return shardContent{}, errors.New("it is cut off")
		}
		e.work, works = works[:e.WorkBytes], works[e.WorkBytes:]
	}
	return c, nil
}

// storedEntry is an Entry as it is kept.
type storedEntry struct {
	Key        string            `json:"key"`
	UID        string            `json:"uid"`
	Generation int64             `json:"generation"`
	Objects    []manifest.Object `json:"objects,omitempty"`
	Received   time.Time         `json:"received"`
	Removal    *Removal          `json:"removal,omitempty"`
	Chunks     []string          `json:"chunks,omitempty"`
	Digest     []byte            `json:"digest,omitempty"`
	// WorkBytes is the length of work; 0 when the work is kept in chunks, or lost.
	WorkBytes int    `json:"workBytes,omitempty"`
	work      []byte // a linkv1.Work as protobuf
}

func store(e *Entry, chunks chunked) (storedEntry, error) {
	stored := storedEntry{
		Key: e.Key, UID: e.UID, Generation: e.Generation, Objects: e.Objects, Received: e.Received, Removal: e.Removal,
	}
	if e.Work == nil {
		return stored, nil
	}
	if len(chunks.names) > 0 {
		stored.Chunks, stored.Digest = chunks.names, chunks.digest
		return stored, nil
	}
	raw, err := proto.Marshal(e.Work)
	if err != nil {
		return stored, fmt.Errorf("writing work %s: %w", e.Key, err)
	}
	stored.work, stored.WorkBytes = raw, len(raw)
	return stored, nil
}

// entry returns the Entry. Manifests that cannot be read are lost, and their hash with them.
func (st storedEntry) entry(chunk func(name string) ([]byte, error)) (*Entry, error) {
	e := &Entry{
		Key: st.Key, UID: st.UID, Generation: st.Generation, Objects: st.Objects, Received: st.Received, Removal: st.Removal,
	}
	raw := st.work
	if len(st.Chunks) > 0 {
		var err error
		if raw, err = join(st, chunk); err != nil {
			return e, err
		}
	}
	if len(raw) == 0 {
		return e, nil
	}
	work := &linkv1.Work{}
	if err := proto.Unmarshal(raw, work); err != nil {
		return e, fmt.Errorf("reading work %s: %w", st.Key, err)
	}
	e.Work, e.Hash = work, work.GetHash()
	return e, nil
}

func join(st storedEntry, chunk func(name string) ([]byte, error)) ([]byte, error) {
	var compressed []byte
	for _, name := range st.Chunks {
		part, err := chunk(name)
		if err != nil {
			return nil, fmt.Errorf("reading work %s: %w", st.Key, err)
		}
		compressed = append(compressed, part...)
	}
	if sum := sha256.Sum256(compressed); !slices.Equal(sum[:], st.Digest) {
		return nil, fmt.Errorf("reading work %s: its parts do not belong together", st.Key)
	}
	raw, err := decompress(compressed)
	if err != nil {
		return nil, fmt.Errorf("reading work %s: %w", st.Key, err)
	}
	return raw, nil
}

// split cuts what a large work is kept in. Names hold a hash of the content, so that a new
// generation never overwrites the one that a shard still refers to.
func split(e *Entry, limit int) (chunked, map[string][]byte, error) {
	raw, err := proto.Marshal(e.Work)
	if err != nil {
		return chunked{}, nil, fmt.Errorf("writing work %s: %w", e.Key, err)
	}
	compressed := compress(raw)
	sum := sha256.Sum256(compressed)
	chunks := chunked{entry: e, digest: sum[:]}
	parts := map[string][]byte{}
	for part := range slices.Chunk(compressed, limit) {
		name := fmt.Sprintf("%s%s-%s-%d", chunkNamePrefix, hex.EncodeToString(hash(e.Key)[:8]), hex.EncodeToString(sum[:8]), len(parts))
		parts[name] = part
		chunks.names = append(chunks.names, name)
	}
	return chunks, parts, nil
}

func hash(key string) []byte {
	sum := sha256.Sum256([]byte(key))
	return sum[:]
}

func decodeShard(secret *corev1.Secret) (shardContent, error) {
	var content shardContent
	raw, err := unseal(secret)
	if err != nil {
		return content, err
	}
	if content, err = decodeContent(raw); err != nil {
		return content, fmt.Errorf("reading Secret %s: %w", secret.Name, err)
	}
	return content, nil
}
