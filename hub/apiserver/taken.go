package apiserver

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/watch"
	apistorage "k8s.io/apiserver/pkg/storage"
	"k8s.io/klog/v2"
)

const (
	// untakenFor is how long somebody who watches may be behind: long enough to take in what happens at once, and some megabytes over a slow line.
	untakenFor = 30 * time.Second
	// untakenMost is how many events wait for him before he is.
	untakenMost = 10
)

// takenWatch hands events on while they are taken.
type takenWatch struct {
	key     string
	from    watch.Interface
	taken   chan watch.Event
	stopped chan struct{}
	stop    func()

	// Of run's goroutine alone:
	limited bool      // what was there at the beginning has been told: until then nothing gathers in the store
	behind  time.Time // since when not everything is taken; zero when it is
}

// endWhenNotTaken ends a watch whose events are not taken, or so slowly that ever more wait: a store keeps them all. The client begins another
// one where it was.
func endWhenNotTaken(from watch.Interface, key string, options apistorage.ListOptions) watch.Interface {
	begins := options.ResourceVersion == "" || options.ResourceVersion == "0" || options.SendInitialEvents != nil && *options.SendInitialEvents
	w := &takenWatch{key: key, from: from, taken: make(chan watch.Event, untakenMost), stopped: make(chan struct{}), limited: !begins}
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
	w.limited = w.limited || event.Type != watch.Added
	if len(w.taken) == 0 {
		w.behind = time.Time{}
	}
	select {
	case w.taken <- event:
		return true
	default:
	}
	if w.behind.IsZero() || !w.limited {
		w.behind = time.Now()
	}
	var limit <-chan time.Time
	if w.limited {
		timer := time.NewTimer(time.Until(w.behind.Add(untakenFor)))
		defer timer.Stop()
		limit = timer.C
	}
	select {
	case w.taken <- event:
		return true
	case <-limit:
		klog.Warningf("A watch of %s was ended: for %s more was told than its client took", w.key, untakenFor)
	case <-w.stopped:
	}
	return false
}
