package main

import (
	"context"
	"sync"
	"time"
)

// edits are changes by hand, each of which is put right some time after.
type edits struct {
	righted *crowd

	mutex sync.Mutex
	since map[string]time.Time
}

func newEdits(names []string) *edits {
	return &edits{righted: newCrowd("edits that are put right", names), since: map[string]time.Time{}}
}

// wrong is told of an edit before it is made.
func (e *edits) wrong(name string) {
	e.mutex.Lock()
	defer e.mutex.Unlock()
	e.since[name] = time.Now()
}

// right is told whenever an object is as it should be.
func (e *edits) right(name string) {
	e.mutex.Lock()
	defer e.mutex.Unlock()
	if _, edited := e.since[name]; edited {
		e.righted.saw(name)
	}
}

// wait returns how long each of them took, in nanoseconds, when all were put right.
func (e *edits) wait(ctx context.Context) ([]float64, error) {
	if err := e.righted.wait(ctx); err != nil {
		return nil, err
	}
	e.mutex.Lock()
	defer e.mutex.Unlock()
	var took []float64
	for name, since := range e.since {
		took = append(took, float64(e.righted.at[name].Sub(since)))
	}
	return took, nil
}
