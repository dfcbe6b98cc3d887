// Package alike keeps one copy of lists and of bytes that many have. What kinds a cluster serves is the same in nearly all of a
// fleet, and is held for each cluster several times; and so is a manifest that goes to many of them.
package alike

import (
	"hash/maphash"
	"slices"
	"sync"
)

// most bounds how many different lists are remembered. When there are more, all are forgotten, and what comes later is
// shared anew.
const most = 256

// Lists gives equal lists one copy, which must not be changed by anybody from then on. It is safe for concurrent use.
type Lists[E any] struct {
	write func(*maphash.Hash, E)
	equal func(a, b E) bool
	seed  maphash.Seed

	mu    sync.Mutex
	known map[uint64][]E
}

// New makes Lists. Write writes an element into a hash; elements that are equal must be written equally.
func New[E any](write func(*maphash.Hash, E), equal func(a, b E) bool) *Lists[E] {
	return &Lists[E]{write: write, equal: equal, seed: maphash.MakeSeed(), known: map[uint64][]E{}}
}

// Of returns a list that is equal: the one that was first asked about, as far as it is remembered. Appending to it makes a copy.
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
	known, found := l.known[sum]
	switch {
	case found && slices.EqualFunc(known, list, l.equal):
		return known
	case found:
		return list
	case len(l.known) >= most:
		clear(l.known)
	}
	list = slices.Clip(list)
	l.known[sum] = list
	return list
}
