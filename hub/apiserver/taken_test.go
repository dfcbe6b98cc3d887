package apiserver

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/endpoints/request"
	apistorage "k8s.io/apiserver/pkg/storage"

	workv1alpha1 "windlass.dev/windlass/api/work/v1alpha1"
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
func (s *source) tell(kind watch.EventType) bool {
	select {
	case <-s.stopped:
		return false
	default:
	}
	select {
	case s.events <- watch.Event{Type: kind}:
		return true
	case <-s.stopped:
		return false
	}
}

var (
	fromNow       = apistorage.ListOptions{ResourceVersion: "7"}
	fromTheBegin  = apistorage.ListOptions{ResourceVersion: "0"}
	initialEvents = apistorage.ListOptions{ResourceVersion: "7", SendInitialEvents: new(true)}
)

func TestAWatchEndsWhenNobodyTakesItsEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		from := newSource()
		watching := endWhenNotTaken(from, "works", fromNow)
		told := 0
		for told < 3*untakenMost && from.tell(watch.Modified) {
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

func TestAWatchEndsWhenItsEventsAreTakenMoreSlowlyThanTheyCome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		from := newSource()
		watching := endWhenNotTaken(from, "works", fromNow)
		go func() {
			for from.tell(watch.Modified) {
			}
		}()
		began := time.Now()
		for range watching.ResultChan() {
			time.Sleep(time.Second)
		}
		if lasted := time.Since(began); lasted < untakenFor || lasted > untakenFor+2*untakenMost*time.Second {
			t.Errorf("it lasted %s", lasted)
		}
	})
}

func TestAWatchGoesOnWhoseClientIsBehindForAWhile(t *testing.T) {
	for _, c := range []struct {
		reason  string
		options apistorage.ListOptions
		kind    watch.EventType
		events  int
		pause   time.Duration // of the client, before each event
	}{
		{"it takes in what has happened at once", fromNow, watch.Modified, 2 * untakenMost, time.Second},
		{"it is told what is there, and takes its time", fromTheBegin, watch.Added, 5 * untakenMost, untakenFor},
		{"the same, with a word for the end of that", initialEvents, watch.Added, 5 * untakenMost, untakenFor},
	} {
		t.Run(c.reason, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				from := newSource()
				watching := endWhenNotTaken(from, "works", c.options)
				go func() {
					for range c.events {
						from.tell(c.kind)
					}
				}()
				for range c.events {
					time.Sleep(c.pause)
					if _, open := <-watching.ResultChan(); !open {
						t.Fatal("it has ended")
					}
				}
				watching.Stop()
				synctest.Wait()
				if from.tell(watch.Modified) {
					t.Error("it was stopped, and the store goes on")
				}
				if _, open := <-watching.ResultChan(); open {
					t.Error("it was stopped, and tells more")
				}
			})
		})
	}
}

func TestAfterWhatWasThereALateClientIsLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		from := newSource()
		endWhenNotTaken(from, "works", initialEvents)
		from.tell(watch.Bookmark)
		told := 1
		for told < 3*untakenMost && from.tell(watch.Added) {
			told++
		}
		if told != untakenMost+1 {
			t.Errorf("it was told %d times", told)
		}
	})
}

func TestOnlyTheHubsOwnWatchesAreTakenInAnyCase(t *testing.T) {
	from := newSource()
	storage := knowingStorage[*workv1alpha1.PropagationWork]{Interface: telling{from: from}, known: &known[*workv1alpha1.PropagationWork]{}}
	likeSelf := &user.DefaultInfo{Name: self.GetName(), Groups: self.GetGroups()}
	for reason, c := range map[string]struct {
		ctx  context.Context
		ends bool
	}{
		"the hub's own":              {in(t.Context(), "n"), false},
		"somebody's":                 {request.WithUser(t.Context(), &user.DefaultInfo{Name: "somebody"}), true},
		"one who says he is the hub": {request.WithUser(t.Context(), likeSelf), true},
		"nobody's":                   {t.Context(), true},
	} {
		events, err := storage.Watch(c.ctx, "works", fromNow)
		if err != nil {
			t.Fatal(err)
		}
		if _, ends := events.(*takenWatch); ends != c.ends {
			t.Errorf("%s: that it ends when it is not taken is %t", reason, ends)
		}
		events.Stop()
	}
}

// telling is a store that can be watched.
type telling struct {
	apistorage.Interface
	from watch.Interface
}

func (s telling) Watch(context.Context, string, apistorage.ListOptions) (watch.Interface, error) {
	return s.from, nil
}
