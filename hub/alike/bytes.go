package alike

import (
	"bytes"
	"hash/maphash"
	"sync"
)

// leastBytes is how long bytes must be to be remembered: what is shorter costs less than to remember it.
const leastBytes = 128

// Bytes gives equal byte slices one copy, which must not be changed by anybody from then on. What nobody holds any more is not
// kept: it is remembered weakly, for any number of slices. It is safe for concurrent use; its zero value is not.
type Bytes struct {
	seed maphash.Seed

	mu sync.Mutex
	memory[byte]
}

// NewBytes makes Bytes that remember nothing.
func NewBytes() *Bytes {
	return &Bytes{seed: maphash.MakeSeed(), memory: newMemory[byte]()}
}

// Of returns bytes that are equal: those that were first asked about, while anybody holds them. Appending to them makes a copy.
func (b *Bytes) Of(data []byte) []byte {
	if len(data) < leastBytes {
		return data
	}
	sum := maphash.Bytes(b.seed, data)
	b.mu.Lock()
	defer b.mu.Unlock()
	if known := b.held(sum); known != nil {
		if bytes.Equal(known, data) {
			return known
		}
		return data[:len(data):len(data)]
	}
	// A copy of its own: data may be a part of something larger, which must not be kept for it.
	data = bytes.Clone(data)
	data = data[:len(data):len(data)]
	b.remember(sum, data)
	return data
}
