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
	present *rush
	pause   time.Time // until when there is none
}

type rush struct {
	began   time.Time
	writers int
	over    chan struct{} // closed at the end
}

// Begin tells that works are about to be written for so many clusters. What it returns has to be called when they are.
func (r *Rush) Begin(clusters int) (written func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if clusters < rushFrom || time.Now().Before(r.pause) {
		return func() {}
	}
	if r.present == nil {
		begun := &rush{began: time.Now(), over: make(chan struct{})}
		r.present = begun
		time.AfterFunc(min(time.Duration(clusters)*rushEach, rushMost), func() {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.end(begun)
		})
	}
	mine := r.present
	mine.writers++
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if mine.writers--; mine.writers == 0 {
			r.end(mine)
		}
	}
}

// end ends this one, unless it is over. Needs the lock.
func (r *Rush) end(this *rush) {
	if r.present == this {
		close(this.over)
		r.present, r.pause = nil, time.Now().Add(time.Since(this.began))
	}
}

// Wait returns when there is no rush, or the context ends.
func (r *Rush) Wait(ctx context.Context) {
	r.mu.Lock()
	present := r.present
	r.mu.Unlock()
	if present == nil {
		return
	}
	select {
	case <-present.over:
	case <-ctx.Done():
	}
}
