package apiserver

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/watch"
)

const (
	// untakenFor is how long an event may wait for somebody who watches: whoever takes nothing for so long does not read at all, or has a
	// connection that is too slow for what he asked for.
	untakenFor = 10 * time.Second
	// untakenMost is how many events may wait behind it without being in anybody's way.
	untakenMost = 100
)

// takenWatch hands events on until one of them is not taken in time.
type takenWatch struct {
	from    watch.Interface
	taken   chan watch.Event
	stopped chan struct{}
	stop    func()
}

// endWhenNotTaken ends a watch when nobody takes its events. The client begins another one where it was.
func endWhenNotTaken(from watch.Interface) watch.Interface {
	w := &takenWatch{from: from, taken: make(chan watch.Event, untakenMost), stopped: make(chan struct{})}
	w.stop = sync.OnceFunc(func() {
		close(w.stopped)
		from.Stop()
	})
	go w.run()
	return w
}

// ResultChan implements watch.Interface.
func (w *takenWatch) ResultChan() <-chan watch.Event { return w.taken }

// Stop implements watch.Interface.
func (w *takenWatch) Stop() { w.stop() }

func (w *takenWatch) run() {
	defer close(w.taken)
	defer w.stop()
	for {
		select {
		case event, open := <-w.from.ResultChan():
			if !open || !w.hand(event) {
				return
			}
		case <-w.stopped:
			return
		}
	}
}

// hand returns whether the event was taken in time.
func (w *takenWatch) hand(event watch.Event) bool {
	select {
	case w.taken <- event:
		return true
	default:
	}
	limit := time.NewTimer(untakenFor)
	defer limit.Stop()
	select {
	case w.taken <- event:
		return true
	case <-limit.C:
	case <-w.stopped:
	}
	return false
}
