package session

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"slices"
	"sync"
	"time"
)

// BrakeSettings say how many removals pass unconfirmed. The zero value of a field means its default.
type BrakeSettings struct {
	// Window is the time over which removals are counted. Default 5 min.
	Window time.Duration
	// Least and Percent: of a member with n works, max(Least, Percent of n) removals pass within the window.
	// Defaults 10 and 5.
	Least, Percent int
}

// WithDefaults fills in what is not set.
func (s BrakeSettings) WithDefaults() BrakeSettings {
	set(&s.Window, 5*time.Minute)
	set(&s.Least, 10)
	set(&s.Percent, 5)
	return s
}

// Validate says what is wrong with settings whose defaults are filled in.
func (s BrakeSettings) Validate() error {
	if s.Window < 0 || s.Least < 0 || s.Percent < 0 || s.Percent > 100 {
		return fmt.Errorf("brake: window %s and least %d must not be negative, percent %d must be 0 to 100", s.Window, s.Least, s.Percent)
	}
	return nil
}

// A Brake counts the removals of one member and holds those that are too many until a person confirms them. It outlives
// sessions, and what it counts, and that it holds something, outlive processes (Counted and Recall, Holds and Resume): a
// member that reconnects, or whose agent starts anew, has no new allowance. Once it holds something, everything more is held too, however
// much time passes, so that a wrong mass deletion does not trickle through. Safe for concurrent use: a session that is
// being superseded may still look at it.
type Brake struct {
	settings BrakeSettings
	mu       sync.Mutex
	// passed are the counted removals of the window by their checksums.
	passed map[uint64]passed
	// works is the highest number of works seen since passed was last empty: the base of the percentage must not
	// shrink with what is being removed.
	works     int
	held      map[RemovalID]struct{}
	exceeded  Excess
	confirmed map[RemovalID]struct{}
	// resumed: the process before held something, and what that was is not known again yet.
	resumed bool
	// agreement: a person has confirmed what was held in restore mode, so that mode may end.
	agreement bool
}

// An Excess is how what is held began: so many removals had passed within the window, and the next one was above the limit.
// The zero value stands for what is not known: the process before has begun it, or a restored store.
type Excess struct {
	Passed, Limit int
	Window        time.Duration
}

// passed is a removal that was let through: when, and for how many it counts.
type passed struct {
	at     time.Time
	weight int
}

// NewBrake makes a brake that has counted nothing.
func NewBrake(s BrakeSettings) *Brake {
	return &Brake{
		settings: s.WithDefaults(), passed: map[uint64]passed{},
		held: map[RemovalID]struct{}{}, confirmed: map[RemovalID]struct{}{},
	}
}

// Limit is how many removals pass within the window for a member with that many works.
func (b *Brake) Limit(works int) int {
	return max(b.settings.Least, works*b.settings.Percent/100)
}

// Window is the time over which removals are counted.
func (b *Brake) Window() time.Duration { return b.settings.Window }

// Pass decides about one removal of a member with that many works: true lets it through and counts it, false holds it.
// Its weight is how many objects it deletes for which nobody else answers: 1, or more of what holds others.
// What was confirmed, or counted before, passes without being counted, but nothing that is held: the hub counts what it
// sends, and the agent's brake may hold it then.
func (b *Brake) Pass(id RemovalID, weight, works int, now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.expire(now)
	if _, yes := b.confirmed[id]; yes {
		return true
	}
	if _, yes := b.held[id]; yes {
		return false
	}
	sum := checksum(id)
	if _, counted := b.passed[sum]; counted {
		return true
	}
	b.works = max(b.works, works)
	waits := b.resumed || len(b.held) > 0
	if waits || b.sumLocked()+weight > b.Limit(b.works) {
		if !waits {
			b.exceeded = Excess{Passed: b.sumLocked(), Limit: b.Limit(b.works), Window: b.settings.Window}
		}
		b.holdLocked(id)
		return false
	}
	b.passed[sum] = passed{now, weight}
	return true
}

func (b *Brake) sumLocked() int {
	sum := 0
	for _, p := range b.passed {
		sum += p.weight
	}
	return sum
}

// Weighs says whether the weight of a removal matters: whether Pass does not know its answer without it.
func (b *Brake) Weighs(id RemovalID, now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.expire(now)
	_, confirmed := b.confirmed[id]
	_, counted := b.passed[checksum(id)]
	return !confirmed && !counted && !b.resumed && len(b.held) == 0
}

// A Counted is a removal that a brake has let through and counts, as it is kept beyond the end of a process.
type Counted struct {
	// Removal is the checksum of its key and UID: enough to tell it from others, and small.
	Removal uint64    `json:"removal"`
	At      time.Time `json:"at"`
	// Others is for how many more than itself it counts.
	Others int `json:"others,omitempty"`
}

// Counted returns what counts now, oldest first. It is never more than the limit.
func (b *Brake) Counted(now time.Time) []Counted {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.expire(now)
	counted := make([]Counted, 0, len(b.passed))
	for removal, p := range b.passed {
		counted = append(counted, Counted{Removal: removal, At: p.at.UTC().Truncate(time.Second), Others: p.weight - 1})
	}
	slices.SortFunc(counted, func(a, b Counted) int { return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.Removal, b.Removal)) })
	return counted
}

// Recall goes on counting where the process before has ended. A clock that has gone back since prolongs nothing.
func (b *Brake) Recall(counted []Counted, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, c := range counted {
		at := c.At
		if at.After(now) {
			at = now
		}
		b.passed[c.Removal] = passed{at, 1 + max(0, c.Others)}
	}
}

// Resume is for a member of which something was held when the process before has ended. Until it is known again what
// that was, everything is held: otherwise each restart would let some of it through.
func (b *Brake) Resume() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.resumed = true
}

// compared ends Resume: what is still to be removed has been looked at, and is held.
func (b *Brake) compared() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.resumed = false
}

func (b *Brake) expire(now time.Time) {
	for id, p := range b.passed {
		if now.Sub(p.at) >= b.settings.Window {
			delete(b.passed, id)
		}
	}
	if len(b.passed) == 0 {
		b.works = 0
	}
}

// Hold holds a removal whatever the count.
func (b *Brake) Hold(id RemovalID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.holdLocked(id)
}

func (b *Brake) holdLocked(id RemovalID) {
	b.held[id] = struct{}{}
}

// Confirm lets a removal pass from now on.
func (b *Brake) Confirm(id RemovalID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.releaseLocked(id)
	b.confirmed[id] = struct{}{}
}

// Confirmed says whether the removal was confirmed.
func (b *Brake) Confirmed(id RemovalID) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	_, yes := b.confirmed[id]
	return yes
}

// Forget drops a removal that has been carried out or is not wanted any more.
func (b *Brake) Forget(id RemovalID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.releaseLocked(id)
	delete(b.confirmed, id)
}

// release drops a hold and keeps a confirmation.
func (b *Brake) release(id RemovalID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.releaseLocked(id)
}

func (b *Brake) releaseLocked(id RemovalID) {
	delete(b.held, id)
	if len(b.held) == 0 {
		b.exceeded = Excess{}
	}
}

// Exceeded says how what is held began.
func (b *Brake) Exceeded() Excess {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.exceeded
}

// told takes over from the other side how what is held began, and says whether that was not known here.
func (b *Brake) told(e Excess) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.held) == 0 || b.exceeded != (Excess{}) || e.Passed == 0 {
		return false
	}
	b.exceeded = e
	return true
}

// Retain forgets every removal that is not wanted any more. Wanted must not use the brake.
func (b *Brake) Retain(wanted func(RemovalID) bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for id := range b.held {
		if !wanted(id) {
			b.releaseLocked(id)
		}
	}
	for id := range b.confirmed {
		if !wanted(id) {
			delete(b.confirmed, id)
		}
	}
}

// Held is how many removals wait.
func (b *Brake) Held() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.held)
}

// Holds says whether anything waits, or may wait since the process before: whoever starts anew with this Resumes.
func (b *Brake) Holds() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.resumed || len(b.held) > 0
}

func (b *Brake) agree(yes bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.agreement = yes
}

func (b *Brake) agreed() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.agreement
}

func checksum(id RemovalID) uint64 {
	h := fnv.New64a()
	var length [8]byte
	binary.BigEndian.PutUint64(length[:], uint64(len(id.Key)))
	h.Write(length[:])
	h.Write([]byte(id.Key))
	h.Write([]byte(id.UID))
	return h.Sum64()
}
