package binding

import (
	"strconv"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

const (
	// unseenPause is long enough for a cache to see a write.
	unseenPause = 10 * time.Millisecond
	// unseenLimit bounds the wait for a work that was written and was gone again before the cache
	// could show it.
	unseenLimit = 10 * time.Second
)

// unseen remembers which bindings have works that were written and that the cache does not show yet.
// Deciding without a new one would leave it in its cluster for ever: a binding that is deleted at
// that moment would be let go, as one without works. Deciding on what a changed one was before would write
// it again, which the store refuses after all the work for it. It is safe for concurrent use.
type unseen struct {
	mu      sync.Mutex
	shown   int64 // revision of the newest event of a work
	written map[types.NamespacedName]write
}

type write struct {
	revision int64
	at       time.Time
}

// wrote records that a work of the binding was written.
func (u *unseen) wrote(binding types.NamespacedName, resourceVersion string, now time.Time) {
	revision := revisionOf(resourceVersion)
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.written == nil {
		u.written = map[types.NamespacedName]write{}
	}
	if revision > u.shown && revision > u.written[binding].revision {
		u.written[binding] = write{revision, now}
	}
}

// saw records that the cache shows everything up to a revision.
func (u *unseen) saw(resourceVersion string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.shown = max(u.shown, revisionOf(resourceVersion))
}

// has says whether the cache lacks works of the binding as they were written.
func (u *unseen) has(binding types.NamespacedName, now time.Time) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	last, ok := u.written[binding]
	if ok && (last.revision <= u.shown || now.Sub(last.at) > unseenLimit) {
		delete(u.written, binding)
		return false
	}
	return ok
}

func revisionOf(resourceVersion string) int64 {
	revision, _ := strconv.ParseInt(resourceVersion, 10, 64) // the store writes nothing else
	return revision
}
