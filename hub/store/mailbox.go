package store

import (
	"context"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/source"
)

// A Mailbox wakes a controller for keys that come from anywhere but an informer. Keys that come
// before the controller has started are kept for it. The zero value is ready; it is safe for
// concurrent use.
type Mailbox[K comparable] struct {
	mu      sync.Mutex
	queue   workqueue.TypedRateLimitingInterface[K]
	waiting map[K]struct{}
}

var _ source.TypedSource[string] = (*Mailbox[string])(nil)

// Add wakes the controller for a key; initial is true for what was there at the start and may wait
// behind what changes now.
func (m *Mailbox[K]) Add(key K, initial bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.queue == nil {
		if m.waiting == nil {
			m.waiting = map[K]struct{}{}
		}
		m.waiting[key] = struct{}{}
		return
	}
	Enqueue(m.queue, initial, key)
}

// Start implements source.TypedSource.
func (m *Mailbox[K]) Start(_ context.Context, queue workqueue.TypedRateLimitingInterface[K]) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.queue = queue
	for key := range m.waiting {
		Enqueue(queue, true, key)
	}
	m.waiting = nil
	return nil
}

// conflictPause is long enough for a cache to see the write that was in the way.
const conflictPause = 10 * time.Millisecond

// Outcome turns the error of a reconcile into what the queue needs: a write that came too late is
// tried again with what is true by then, and is nothing to tell anybody.
func Outcome(err error) (ctrl.Result, error) {
	if apierrors.IsConflict(err) {
		return ctrl.Result{RequeueAfter: conflictPause}, nil
	}
	return ctrl.Result{}, err
}
