// Package alike keeps one copy of lists and of bytes that many have. What kinds a cluster serves is the same in nearly all of a
// fleet, and is held for each cluster several times; and so is a manifest that goes to many of them.
package alike

import (
	"hash/maphash"
	"slices"
	"sync"
)

// Lists gives equal lists one copy, which must not be changed by anybody from then on. What nobody holds any more is not kept: it is
// remembered weakly, for any number of lists. It is safe for concurrent use.
type Lists[E any] struct {
	write func(*maphash.Hash, E)
	equal func(a, b E) bool
	seed  maphash.Seed

	mu sync.Mutex
	memory[E]
}

// New makes Lists. Write writes an element into a hash; elements that are equal must be written equally.
func New[E any](write func(*maphash.Hash, E), equal func(a, b E) bool) *Lists[E] {
	return &Lists[E]{write: write, equal: equal, seed: maphash.MakeSeed(), memory: newMemory[E]()}
}

// Of returns a list that is equal: the one that was first asked about, while anybody holds it. Appending to it makes a copy.
func (l *Lists[E]) Of(list []E) []E {
	if len(list) == 0 {
		return list
	}
	var hash maphash.Hash
	hash.SetSeed(l.seed)
	for _, element := range list {
		l.write(&hash, element)
	}
	sum := hash.Sum64()
	l.mu.Lock()
	defer l.mu.Unlock()
	if known := l.held(sum); known != nil {
		if slices.EqualFunc(known, list, l.equal) {
			return known
		}
		return list
	}
	list = slices.Clip(list)
	l.remember(sum, list)
	return list
}
