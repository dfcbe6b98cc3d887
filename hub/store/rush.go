package store

import (
	"context"
	"sync"
	"time"
)

const (
	// rushFrom is from how many clusters on what is written for all of them is a rush. For less it is over before anything is reported.
	rushFrom = 100
	// rushEach and rushMost bound a rush: several times what a work takes to be written, for each cluster, and what a report may be late.
	rushEach = 500 * time.Microsecond
	rushMost = 2 * time.Second
)

// A Rush is a time in which works are written for many clusters at once, and what the clusters report of them waits. Reports begin to come with the first
// work that has arrived, and cost as much as the works themselves: the last cluster had its work as late as if there were twice as many. After a
// rush there is none for as long as it took, so however much is to be written, half of the time is for reports. The zero value is ready for use,
// by several goroutines at once.
type Rush struct {
	mu      sync.Mutex
	writers int
	over    chan struct{} // closed at the end of the present one; nil when there is none
	began   time.Time
	pause   time.Time // until when there is none
}

// Begin tells that works are about to be written for so many clusters. What it returns has to be called when they are.
func (r *Rush) Begin(clusters int) (written func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if clusters < rushFrom || time.Now().Before(r.pause) {
		return func() {}
	}
	if r.over == nil {
		over := make(chan struct{})
		r.over, r.began = over, time.Now()
		time.AfterFunc(min(time.Duration(clusters)*rushEach, rushMost), func() {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.end(over)
		})
	}
	over := r.over
	r.writers++
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.writers--; r.writers == 0 {
			r.end(over)
		}
	}
}

// end ends this one, unless it is over. Needs the lock.
func (r *Rush) end(over chan struct{}) {
	if r.over == over {
		close(over)
		r.over, r.pause = nil, time.Now().Add(time.Since(r.began))
	}
}

// Wait returns when there is no rush, or the context ends.
func (r *Rush) Wait(ctx context.Context) {
	r.mu.Lock()
	over := r.over
	r.mu.Unlock()
	if over == nil {
		return
	}
	select {
	case <-over:
	case <-ctx.Done():
	}
}
