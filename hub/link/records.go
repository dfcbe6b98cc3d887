package link

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"
)

// A recordQueue writes to the store with a bounded number of hands, so that no session ever waits for the store. For
// each subject only the newest write counts, and of one subject only one is under way. Safe for concurrent use.
//
// It is bounded by what sessions may have unrecorded: each has at most its window of reports and a few other subjects.
type recordQueue struct {
	timeout time.Duration
	log     *slog.Logger

	mu      sync.Mutex
	records map[subject]*record
	ready   []subject
	// wake has room for one: a token means that ready may not be empty.
	wake chan struct{}
}

// A subject is what a write is about.
type subject struct {
	cluster string
	kind    recordKind
	key     string
}

type recordKind int

const (
	// recordWork is a report or the end of a removal.
	recordWork recordKind = iota
	recordFacts
	recordHold
	recordPresence
)

// recordsOf is the queue for writes of a kind. What members say of works waits for the store, which may
// be slow; that holds up nothing else.
func (s *Server) recordsOf(kind recordKind) *recordQueue {
	if kind == recordWork {
		return s.works
	}
	return s.standings
}

type record struct {
	// write is to be done next; nil when nothing is, but for the write that is under way.
	write  func(context.Context) error
	epoch  int64 // of the session that put it
	failed int
}

const (
	recordRetryMin = 100 * time.Millisecond
	recordRetryMax = 10 * time.Second
)

func newRecordQueue(timeout time.Duration, log *slog.Logger) *recordQueue {
	return &recordQueue{timeout: timeout, log: log, records: map[subject]*record{}, wake: make(chan struct{}, 1)}
}

// put has write called soon, and again after an error, unless another write about the subject takes its place. What a session says that another
// of a higher epoch has replaced takes nothing's place: it would not be written, and what the member said in its new session were lost.
func (q *recordQueue) put(about subject, epoch int64, write func(context.Context) error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	r := q.records[about]
	switch {
	case r == nil:
		r = &record{}
		q.records[about] = r
		q.enqueue(about)
	case epoch < r.epoch:
		return
	}
	r.write, r.epoch = write, epoch
}

// enqueue needs the lock.
func (q *recordQueue) enqueue(about subject) {
	q.ready = append(q.ready, about)
	q.signal()
}

func (q *recordQueue) signal() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// run writes with so many hands until the context is done.
func (q *recordQueue) run(ctx context.Context, hands int) {
	var all sync.WaitGroup
	for range hands {
		all.Go(func() {
			for {
				select {
				case <-q.wake:
					q.drain(ctx)
				case <-ctx.Done():
					return
				}
			}
		})
	}
	all.Wait()
}

func (q *recordQueue) drain(ctx context.Context) {
	for ctx.Err() == nil {
		about, write, more := q.take()
		if write == nil {
			return
		}
		if more {
			q.signal() // another hand may help
		}
		bounded, cancel := context.WithTimeout(ctx, q.timeout)
		err := write(bounded)
		cancel()
		q.finish(about, write, err)
	}
}

func (q *recordQueue) take() (about subject, write func(context.Context) error, more bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.ready) == 0 {
		return about, nil, false
	}
	about = q.ready[0]
	q.ready = q.ready[1:]
	r := q.records[about]
	write, r.write = r.write, nil
	return about, write, len(q.ready) > 0
}

func (q *recordQueue) finish(about subject, write func(context.Context) error, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	r := q.records[about]
	switch {
	case err != nil:
		if r.write == nil { // nothing newer has come
			r.write = write
		}
		r.failed++
		wait := min(recordRetryMax, recordRetryMin<<min(r.failed-1, 10))
		wait += rand.N(wait/4 + 1)
		if r.failed == 3 || r.failed%20 == 0 {
			q.log.Warn("What a member said could not be recorded; trying again.", "cluster", about.cluster, "key", about.key, "error", err, "failed", r.failed)
		}
		time.AfterFunc(wait, func() {
			q.mu.Lock()
			defer q.mu.Unlock()
			q.enqueue(about)
		})
	case r.write != nil:
		r.failed = 0
		q.enqueue(about)
	default:
		delete(q.records, about)
	}
}

// length is how many subjects wait or are under way.
func (q *recordQueue) length() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.records)
}
