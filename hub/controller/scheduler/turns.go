package scheduler

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// turns has the bindings that are placed by room decided on one after the other, those of higher rank first: all of them
// look at the same room, and what the first takes the next one must not find.
type turns struct {
	mu      sync.Mutex
	changed *sync.Cond // with mu
	// taken from the moment that the room is read until it is assumed taken. Nobody waits for an agent or the store then.
	taken bool
	// woken are the ranks of bindings that wait for room and are in the queue or on their way there, and begun of those
	// that a worker has taken from it. The queue's own order is not enough: several workers have one each, and the first
	// of many keys is taken before the others are added. Whoever puts a key into woken must see to it that it comes out of
	// the queue soon, for others come back until it has.
	woken, begun map[types.NamespacedName]int
	// later are those whose decision hinges, or may, on clusters whose agents are awaited. They are in no queue; more room
	// wakes them.
	later map[types.NamespacedName]struct{}

	// wave are those that were in the queue when there was more room last, and have not been decided on since. Grown, if
	// there is more again before all of them have, begins the next wave: else those of high rank that find no room would come
	// back before any of lower rank had its turn. Waking is true while a wave is being woken.
	wave   map[types.NamespacedName]struct{}
	grown  func()
	waking bool
}

// turnAgain is after how long a binding is looked at again when one of higher rank is still in the queue.
const turnAgain = 50 * time.Millisecond

// change changes what the turns depend on.
func (t *turns) change(change func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.changed == nil {
		t.changed = sync.NewCond(&t.mu)
		t.woken, t.begun, t.later = map[types.NamespacedName]int{}, map[types.NamespacedName]int{}, map[types.NamespacedName]struct{}{}
	}
	change()
	t.changed.Broadcast()
}

// wake is called before a binding that waits for room is added to the queue.
func (t *turns) wake(key types.NamespacedName, rank int) { t.change(func() { t.woken[key] = rank }) }

// leave is called when a binding was taken from the queue that is gone or not placed by room.
func (t *turns) leave(key types.NamespacedName) {
	var next func()
	t.change(func() {
		delete(t.woken, key)
		delete(t.later, key)
		next = t.done(key)
	})
	next()
}

// putOff has more room wake a binding, until it goes on or leaves.
func (t *turns) putOff(key types.NamespacedName) { t.change(func() { t.later[key] = struct{}{} }) }

// goOn is called when a binding that was put off is decided on.
func (t *turns) goOn(key types.NamespacedName) { t.change(func() { delete(t.later, key) }) }

func (t *turns) isPutOff(key types.NamespacedName) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	_, later := t.later[key]
	return later
}

// grow wakes those that wait for room: at once, or when all that the last wave found in the queue have had their turn.
func (t *turns) grow(wake func()) {
	var now bool
	t.change(func() {
		if now = !t.waking && len(t.wave) == 0; now {
			t.waking = true
		} else {
			t.grown = wake
		}
	})
	if !now {
		return
	}
	wake()
	var next func()
	t.change(func() {
		t.waking, t.wave = false, map[types.NamespacedName]struct{}{}
		for key := range t.woken {
			t.wave[key] = struct{}{}
		}
		next = t.next()
	})
	next()
}

// done takes a binding out of the wave, but not when it is to come again. It is called with the lock held, and what it
// returns without.
func (t *turns) done(key types.NamespacedName) (next func()) {
	if _, again := t.woken[key]; !again {
		delete(t.wave, key)
	}
	return t.next()
}

// next begins the next wave, if it is time for one and there is one. It is called with the lock held, and what it returns
// without.
func (t *turns) next() func() {
	if t.waking || len(t.wave) > 0 || t.grown == nil {
		return func() {}
	}
	wake := t.grown
	t.grown = nil
	return func() { t.grow(wake) }
}

// begin is called when a binding that is placed by room was taken from the queue, and end when it is done. It returns false
// when one of higher rank is still in the queue: the binding is to come again then.
func (t *turns) begin(key types.NamespacedName, rank int) (begun bool) {
	t.change(func() {
		delete(t.woken, key)
		if begun = !outranked(rank, t.woken); begun {
			t.begun[key] = rank
		} else {
			t.woken[key] = rank // it stays ahead of those of lower rank
		}
	})
	return begun
}

func (t *turns) end(key types.NamespacedName) {
	var next func()
	t.change(func() {
		delete(t.begun, key)
		next = t.done(key)
	})
	next()
}

// inTurn takes a step with the room in clusters for itself, as one of the rank of a binding that has begun. It waits for
// those of higher rank that have begun, too. For those that have not it would wait for ever, when all workers do: it
// returns false then, and is to come again.
func (t *turns) inTurn(rank int, take func()) bool {
	t.mu.Lock()
	for !outranked(rank, t.woken) && (t.taken || outranked(rank, t.begun)) {
		t.changed.Wait()
	}
	if outranked(rank, t.woken) {
		t.mu.Unlock()
		return false
	}
	t.taken = true
	t.mu.Unlock()
	defer t.change(func() { t.taken = false })
	take()
	return true
}

func outranked(rank int, others map[types.NamespacedName]int) bool {
	for _, other := range others {
		if other > rank {
			return true
		}
	}
	return false
}
