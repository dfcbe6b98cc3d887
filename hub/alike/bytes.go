package alike

import (
	"bytes"
	"hash/maphash"
	"sync"
	"unsafe"
	"weak"
)

// leastBytes is how long bytes must be to be remembered: what is shorter costs less than to remember it.
const leastBytes = 128

// leastForgotten is how many must be remembered before it is looked which of them nobody holds any more.
const leastForgotten = 1024

// Bytes gives equal byte slices one copy, which must not be changed by anybody from then on. What nobody holds any more is not
// kept: it is remembered weakly, for any number of slices. It is safe for concurrent use; its zero value is not.
type Bytes struct {
	seed maphash.Seed

	mu    sync.Mutex
	known map[uint64]remembered
	// forgetAt is how many are remembered when those that nobody holds are forgotten the next time.
	forgetAt int
}

// remembered is a copy that is kept as long as somebody else holds it.
type remembered struct {
	first  weak.Pointer[byte]
	length int
}

// bytes returns the copy, or nil when nobody has held it.
func (r remembered) bytes() []byte {
	first := r.first.Value()
	if first == nil {
		return nil
	}
	// The weak pointer is to the beginning of an array of this length, which nobody makes shorter.
	return unsafe.Slice(first, r.length)
}

// NewBytes makes Bytes that remember nothing.
func NewBytes() *Bytes {
	return &Bytes{seed: maphash.MakeSeed(), known: map[uint64]remembered{}, forgetAt: leastForgotten}
}

// Of returns bytes that are equal: those that were first asked about, while anybody holds them. Appending to them makes a copy.
func (b *Bytes) Of(data []byte) []byte {
	if len(data) < leastBytes {
		return data
	}
	sum := maphash.Bytes(b.seed, data)
	b.mu.Lock()
	defer b.mu.Unlock()
	if entry, found := b.known[sum]; found {
		if known := entry.bytes(); known != nil {
			if bytes.Equal(known, data) {
				return known
			}
			return data[:len(data):len(data)]
		}
	}
	// A copy of its own: data may be a part of something larger, which must not be kept for it.
	data = bytes.Clone(data)
	data = data[:len(data):len(data)]
	b.known[sum] = remembered{weak.Make(&data[0]), len(data)}
	if len(b.known) >= b.forgetAt {
		b.forget()
	}
	return data
}

// forget forgets what nobody holds. It looks at all once for as many that come as there are, so that one that comes costs the
// same however many there are.
func (b *Bytes) forget() {
	for sum, entry := range b.known {
		if entry.first.Value() == nil {
			delete(b.known, sum)
		}
	}
	b.forgetAt = max(leastForgotten, 2*len(b.known))
}
