package binding

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// endsLimit is how long ends are counted before the works are looked through again, whatever the count is.
const endsLimit = 30 * time.Second

// ends counts how many works are left of bindings that are being deleted and have nothing to do any more but to wait. The end of each
// would have its binding look through all that are left: with a thousand clusters, half a million looks at a work. A binding that was
// deleted by hand still waits for more, that its template goes as well, and is woken by each. It is safe for concurrent use.
type ends struct {
	mu      sync.Mutex
	awaited map[types.NamespacedName]*countdown
}

type countdown struct {
	left  int       // may be less than are left: of an end before the works were looked through it may be told after
	until time.Time // zero while they are looked through
}

// begin has to come before the works of a binding are looked through: of what ends from then on it is told.
func (e *ends) begin(binding types.NamespacedName) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.awaited == nil {
		e.awaited = map[types.NamespacedName]*countdown{}
	}
	e.awaited[binding] = &countdown{}
}

// await says how many works there were, and that only their ends are waited for.
func (e *ends) await(binding types.NamespacedName, works int, now time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if c := e.awaited[binding]; c != nil {
		c.left += works
		c.until = now.Add(endsLimit)
	}
}

// wait is for how long the works need not be looked through, if they do not all end before.
func (e *ends) wait(binding types.NamespacedName, now time.Time) time.Duration {
	e.mu.Lock()
	defer e.mu.Unlock()
	if c := e.awaited[binding]; c != nil && c.left > 0 {
		return c.until.Sub(now)
	}
	return 0
}

// ended is told of the end of a work, and says whether its binding has to hear of it.
func (e *ends) ended(binding types.NamespacedName) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	c := e.awaited[binding]
	if c == nil {
		return true
	}
	c.left--
	return c.left <= 0 || c.until.IsZero()
}

// forget is for a binding that waits for something else, or for nothing.
func (e *ends) forget(binding types.NamespacedName) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.awaited, binding)
}
