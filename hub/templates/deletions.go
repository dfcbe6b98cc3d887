package templates

import (
	"sync"

	"k8s.io/apimachinery/pkg/types"
)

// mostDeletions is how many deletions are remembered: more than are under way at a time. Of one that is forgotten the API server is asked.
const mostDeletions = 4096

// deletions remembers objects of which a watch has told that they were deleted. That is the API server's own word and no absence: what a new
// list lacks is not in here. No object gets the UID of another, so what was deleted once stays so, until it is seen again
// in a store that was cut back. The zero value is ready; it is safe for concurrent use.
type deletions struct {
	mu    sync.Mutex
	told  map[types.UID]bool
	order []types.UID // the oldest is at next, when there are as many as may be
	next  int
}

func (d *deletions) tell(uid types.UID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if uid == "" || d.told[uid] {
		return
	}
	if d.told == nil {
		d.told = map[types.UID]bool{}
	}
	d.told[uid] = true
	if len(d.order) < mostDeletions {
		d.order = append(d.order, uid)
		return
	}
	delete(d.told, d.order[d.next])
	d.order[d.next] = uid
	d.next = (d.next + 1) % mostDeletions
}

func (d *deletions) forget(uid types.UID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.told, uid)
}

func (d *deletions) has(uid types.UID) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.told[uid]
}
