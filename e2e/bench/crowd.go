package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
)

// A crowd is many things of which each is awaited once, by its name: that it has come, is ready, or is gone.
type crowd struct {
	what string

	mutex   sync.Mutex
	missing map[string]bool
	at      map[string]time.Time
	all     chan struct{}
}

func newCrowd(what string, names []string) *crowd {
	c := &crowd{what: what, missing: make(map[string]bool, len(names)), at: make(map[string]time.Time, len(names)), all: make(chan struct{})}
	for _, name := range names {
		c.missing[name] = true
	}
	if len(names) == 0 {
		close(c.all)
	}
	return c
}

// saw notes one of them; what is not awaited, or was seen before, is no news.
func (c *crowd) saw(name string) {
	now := time.Now()
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if !c.missing[name] {
		return
	}
	delete(c.missing, name)
	c.at[name] = now
	if len(c.missing) == 0 {
		close(c.all)
	}
}

// patience is how long anything may take: far longer than any goal.
const patience = 15 * time.Minute

// wait returns when all were seen, and names some that are missing when that takes too long.
func (c *crowd) wait(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	select {
	case <-c.all:
		return nil
	case <-ctx.Done():
	}
	c.mutex.Lock()
	defer c.mutex.Unlock()
	var some []string
	for name := range c.missing {
		if some = append(some, name); len(some) == 3 {
			break
		}
	}
	slices.Sort(some)
	return fmt.Errorf("%s: %d are missing, such as %q: %w", c.what, len(c.missing), some, ctx.Err())
}

// last is when the last one was seen; call it after wait.
func (c *crowd) last() time.Time {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	var last time.Time
	for _, at := range c.at {
		if at.After(last) {
			last = at
		}
	}
	return last
}

// lastOf is when the last one of several crowds was seen.
func lastOf(crowds []*crowd) time.Time {
	var last time.Time
	for _, c := range crowds {
		if at := c.last(); at.After(last) {
			last = at
		}
	}
	return last
}

func waitForAll(ctx context.Context, crowds ...*crowd) error {
	for _, c := range crowds {
		if err := c.wait(ctx); err != nil {
			return err
		}
	}
	return nil
}

// watching begins a watch with what comes after a resource version, or with all there is when that is empty.
type watching func(ctx context.Context, since string) (watch.Interface, error)

// follow tells of every event of a watch until ctx ends. An API server may end a watch, as that of a reader who is slow because
// the processors are busy: it goes on where it was then.
func follow(ctx context.Context, begin watching, since string, told func(watch.EventType, metav1.Object)) error {
	watcher, err := begin(ctx, since)
	if err != nil {
		return err
	}
	go func() {
		for ctx.Err() == nil {
			since = tell(ctx, watcher, since, told)
			if ctx.Err() == nil {
				fmt.Fprintln(os.Stderr, "an API server has ended a watch of the bench, which begins it again: what came meanwhile is seen late")
			}
			for again := true; again && pause(ctx, 10*time.Millisecond) == nil; {
				watcher, err = begin(ctx, since)
				again = err != nil
			}
		}
	}()
	return nil
}

// tell tells of what a watch brings until it ends, and returns since when the next one has to begin.
func tell(ctx context.Context, watcher watch.Interface, since string, told func(watch.EventType, metav1.Object)) string {
	defer watcher.Stop()
	for {
		select {
		case <-ctx.Done():
			return since
		case event, open := <-watcher.ResultChan():
			switch object, ok := event.Object.(metav1.Object); {
			case !open:
				return since
			case event.Type == watch.Error:
				return "" // what was before is not known any more
			case ok:
				since = object.GetResourceVersion()
				told(event.Type, object)
			}
		}
	}
}
