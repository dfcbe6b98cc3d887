package apiserver

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/apimachinery/pkg/watch"
)

// source is what a store tells.
type source struct {
	events  chan watch.Event
	stopped chan struct{}
	stop    func()
}

func newSource() *source {
	s := &source{events: make(chan watch.Event), stopped: make(chan struct{})}
	s.stop = sync.OnceFunc(func() { close(s.stopped) })
	return s
}

func (s *source) ResultChan() <-chan watch.Event { return s.events }

func (s *source) Stop() { s.stop() }

// tell waits until an event is taken, and returns false when the watch is stopped.
func (s *source) tell() bool {
	select {
	case s.events <- watch.Event{Type: watch.Added}:
		return true
	case <-s.stopped:
		return false
	}
}

func TestAWatchEndsWhenNobodyTakesItsEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		from := newSource()
		watching := endWhenNotTaken(from)
		told := 0
		for told < 3*untakenMost && from.tell() {
			told++
		}
		if told != untakenMost+1 {
			t.Errorf("it was told %d times", told)
		}
		taken := 0
		for range watching.ResultChan() {
			taken++
		}
		if taken != untakenMost {
			t.Errorf("what had been told before is taken %d times", taken)
		}
	})
}

func TestAWatchWhoseEventsAreTakenSlowlyGoesOnUntilItIsStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		from := newSource()
		watching := endWhenNotTaken(from)
		const events = 3 * untakenMost
		go func() {
			for range events {
				from.tell()
			}
		}()
		for range events {
			<-time.After(untakenFor / 2)
			if event, open := <-watching.ResultChan(); !open || event.Type != watch.Added {
				t.Fatal("it has ended")
			}
		}
		watching.Stop()
		synctest.Wait()
		if from.tell() {
			t.Error("it was stopped, and the store goes on")
		}
		if _, open := <-watching.ResultChan(); open {
			t.Error("it was stopped, and tells more")
		}
	})
}
