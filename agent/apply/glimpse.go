package apply

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	linkv1 "windlass.dev/windlass/api/link/v1"

	"windlass.dev/windlass/pkg/manifest"
)

const (
	// glimpseAge is how long an object that was read ahead may be acted upon.
	glimpseAge = 200 * time.Millisecond
	// glimpseLimit bounds how long reading ahead may take.
	glimpseLimit = 5 * time.Second
)

// glimpse is an object that is read while its work is still being made durable: reading changes
// nothing, and one wait is shorter than two.
type glimpse struct {
	id   manifest.ID
	done chan struct{}
	// The fields below may be read when done is closed.
	live *unstructured.Unstructured // nil when there is none
	err  error
	at   time.Time
}

// lookAhead begins to read the object of a work that is being taken in. It does so only while the
// queue is empty: in a burst the object is read when its turn comes.
func (e *Engine) lookAhead(ctx context.Context, work *linkv1.Work) {
	if len(work.GetManifests()) != 1 || work.GetSuspendDispatching() || e.queue.Len() > 0 {
		return
	}
	object, err := manifest.Parse(work.GetManifests()[0])
	if err != nil {
		return
	}
	g := &glimpse{id: manifest.IDOf(object), done: make(chan struct{})}
	e.mu.Lock()
	e.glimpses[work.GetKey()] = g
	e.mu.Unlock()
	go func() {
		defer close(g.done)
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), glimpseLimit)
		defer cancel()
		g.read(ctx, e, manifest.ObjectOf(object))
	}()
}

func (g *glimpse) read(ctx context.Context, e *Engine, o manifest.Object) {
	client, err := e.locate(ctx, o)
	if err != nil || client == nil {
		g.err = context.Canceled // not known: whoever applies it finds out
		return
	}
	g.live, g.err = e.read(ctx, client, o)
	g.at = e.config.Now()
}

// seenAhead returns the object that was read ahead, and whether it may be acted upon. It is used
// once only.
func (e *Engine) seenAhead(ctx context.Context, key string, id manifest.ID) (*unstructured.Unstructured, bool) {
	e.mu.Lock()
	g := e.glimpses[key]
	delete(e.glimpses, key)
	e.mu.Unlock()
	if g == nil || g.id != id {
		return nil, false
	}
	select {
	case <-ctx.Done():
		return nil, false
	case <-g.done:
	}
	return g.live, g.err == nil && e.config.Now().Sub(g.at) < glimpseAge
}
