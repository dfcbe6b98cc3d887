package alike

import (
	"unsafe"
	"weak"
)

// leastForgotten is how many must be remembered before it is looked which of them nobody holds any more.
const leastForgotten = 1024

// memory remembers lists by their hashes, as long as somebody else holds them, and any number of them: a bound would have to forget lists
// that are held, and whatever came later were not shared with them; or to hold those that nobody has any more.
type memory[E any] struct {
	known map[uint64]remembered[E]
	// forgetAt is how many are remembered when those that nobody holds are forgotten the next time.
	forgetAt int
}

// remembered is a list that is kept as long as somebody else holds it.
type remembered[E any] struct {
	first  weak.Pointer[E]
	length int
}

// list is nil when nobody has held it.
func (r remembered[E]) list() []E {
	first := r.first.Value()
	if first == nil {
		return nil
	}
	// The weak pointer is to the beginning of an array of at least this length, which nobody makes shorter.
	return unsafe.Slice(first, r.length)
}

func newMemory[E any]() memory[E] {
	return memory[E]{known: map[uint64]remembered[E]{}, forgetAt: leastForgotten}
}

// held is the list of this hash, or nil when there is none that somebody holds.
func (m *memory[E]) held(sum uint64) []E { return m.known[sum].list() }

// remember remembers a list that is not empty.
func (m *memory[E]) remember(sum uint64, list []E) {
	m.known[sum] = remembered[E]{weak.Make(&list[0]), len(list)}
	if len(m.known) >= m.forgetAt {
		m.forget()
	}
}

// forget forgets what nobody holds. It looks at all once for as many that come as there are, so that one that comes costs the
// same however many there are.
func (m *memory[E]) forget() {
	for sum, entry := range m.known {
		if entry.first.Value() == nil {
			delete(m.known, sum)
		}
	}
	m.forgetAt = max(leastForgotten, 2*len(m.known))
}
