package session

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"slices"

	linkv1 "windlass.dev/windlass/api/link/v1"
)

// A Ref names one state of one work. Hub and agent agree on a work when their refs are equal.
type Ref struct {
	Key, UID   string
	Generation int64
	// Hash is computed once by the hub. To everybody else it is opaque bytes.
	Hash string
}

// RefOf reads a ref from its message.
func RefOf(r *linkv1.WorkRef) Ref {
	return Ref{Key: r.GetKey(), UID: r.GetUid(), Generation: r.GetGeneration(), Hash: string(r.GetHash())}
}

// RefOfWork is the ref of the state that a work message carries.
func RefOfWork(w *linkv1.Work) Ref {
	return Ref{Key: w.GetKey(), UID: w.GetUid(), Generation: w.GetGeneration(), Hash: string(w.GetHash())}
}

// Message writes the ref as a message.
func (r Ref) Message() *linkv1.WorkRef {
	return &linkv1.WorkRef{Key: r.Key, Uid: r.UID, Generation: r.Generation, Hash: []byte(r.Hash)}
}

// A RemovalID names the removal of one work.
type RemovalID struct{ Key, UID string }

// bucketOf says which of count buckets a key belongs to. Both sides compute it, so it can never change within a
// protocol version.
func bucketOf(key string, count uint32) uint32 {
	hash := uint32(2166136261) // FNV-1a
	for i := range len(key) {
		hash = (hash ^ uint32(key[i])) * 16777619
	}
	return hash % count
}

// bucketDigests digests refs bucket by bucket. A bucket without refs has an empty digest. The order of refs changes.
func bucketDigests(refs []Ref, count uint32) [][]byte {
	sortRefs(refs)
	buckets := make([][]byte, count)
	for _, r := range refs {
		b := bucketOf(r.Key, count)
		buckets[b] = appendRef(buckets[b], r)
	}
	for i, content := range buckets {
		if len(content) > 0 {
			sum := sha256.Sum256(content)
			buckets[i] = sum[:16]
		}
	}
	return buckets
}

// appendRef writes every field with its length, so that no two different refs have the same bytes.
func appendRef(b []byte, r Ref) []byte {
	for _, field := range []string{r.Key, r.UID, r.Hash} {
		b = binary.AppendUvarint(b, uint64(len(field)))
		b = append(b, field...)
	}
	return binary.AppendVarint(b, r.Generation)
}

func sortRefs(refs []Ref) {
	slices.SortFunc(refs, func(a, b Ref) int { return cmp.Compare(a.Key, b.Key) })
}
