package observe

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/tools/cache"

	workv1alpha1 "windlass.dev/windlass/api/work/v1alpha1"

	"windlass.dev/windlass/agent/member"
	"windlass.dev/windlass/pkg/manifest"
)

// managed selects what a hub manages.
const managed = workv1alpha1.ManagedLabel + "=true"

// scope is one resource in one namespace; in all of them, and what is in none, when that is empty.
type scope struct {
	resource  member.Resource
	namespace string
}

// holds says whether an object is among what is watched.
func (s scope) holds(id manifest.ID, known *object) bool {
	return known.resource == s.resource && (s.namespace == "" || s.namespace == id.Namespace)
}

// kindWatch watches the managed objects of one scope. It is the reflector's store, and keeps nothing.
type kindWatch struct {
	observer *Observer
	scope
	objects int    // how many are tracked; guarded by the observer's lock
	unseen  string // why nothing is heard of them; guarded by the observer's lock
	ended   chan struct{}
}

func newKindWatch(o *Observer, in scope) *kindWatch {
	return &kindWatch{observer: o, scope: in, ended: make(chan struct{})}
}

func (w *kindWatch) stop() { close(w.ended) }

func (w *kindWatch) run(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-w.ended:
			cancel()
		case <-ctx.Done():
		}
	}()
	resource := w.observer.config.Client.Resource(w.resource.GroupVersionResource)
	var client dynamic.ResourceInterface = resource
	if w.namespace != "" {
		client = resource.Namespace(w.namespace)
	}
	reflect(ctx, client, managed, w.resource.String(), w, w.tried, w.tried)
}

// reflect lists and watches objects into a store until ctx ends; whatever fails is tried again. How each list and each watch
// has begun is told.
func reflect(ctx context.Context, client dynamic.ResourceInterface, selector, description string, store cache.ReflectorStore, listed, watched func(error)) {
	source := &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
			options.LabelSelector = selector
			list, err := client.List(ctx, options)
			listed(err)
			return list, err
		},
		WatchFuncWithContext: func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
			options.LabelSelector = selector
			events, err := client.Watch(ctx, options)
			watched(err)
			return events, err
		},
	}
	cache.NewReflectorWithOptions(source, &unstructured.Unstructured{}, store, cache.ReflectorOptions{
		Name: "observe", TypeDescription: description,
	}).RunWithContext(ctx)
}

// tried is told how a list or a watch has begun. Without the right to it nothing is heard of the objects, and what was
// known of them when they were applied says nothing about how they are now.
func (w *kindWatch) tried(err error) {
	why := ""
	switch {
	case apierrors.IsForbidden(err):
		why = "it is not known how it is, for the agent may not watch it: " + err.Error()
	case err != nil:
		return // the next attempt tells
	}
	o := w.observer
	o.mu.Lock()
	changed := w.unseen != why
	w.unseen = why
	if changed {
		for id, known := range o.objects {
			if w.holds(id, known) {
				o.news(known.key)
			}
		}
	}
	o.mu.Unlock()
	if changed && why != "" {
		o.config.Logger.Warn("Objects are applied, and not watched: the agent has no right to. What is changed or breaks there goes unnoticed.",
			"resource", w.resource.GroupVersionResource, "namespace", w.namespace, "error", err)
	}
}

// Add, Update and Delete take in an event.
func (w *kindWatch) Add(added any) error      { return w.seen(added) }
func (w *kindWatch) Update(updated any) error { return w.seen(updated) }
func (w *kindWatch) Resync() error            { return nil }

func (w *kindWatch) seen(event any) error {
	live, ok := event.(*unstructured.Unstructured)
	if !ok {
		return fmt.Errorf("a watch of %s delivered a %T", w.resource, event)
	}
	id := manifest.IDOf(live)
	o := w.observer
	o.mu.Lock()
	known := o.objects[id]
	if known == nil || !w.holds(id, known) || !o.note(known, live) {
		o.mu.Unlock()
		return nil
	}
	key := known.key
	o.news(key)
	o.mu.Unlock()
	o.changed(key, id, live)
	return nil
}

// Delete is told of objects that are gone, and of those that lost the label.
func (w *kindWatch) Delete(deleted any) error {
	live, ok := deleted.(*unstructured.Unstructured)
	if !ok {
		return fmt.Errorf("a watch of %s delivered a %T", w.resource, deleted)
	}
	id := manifest.IDOf(live)
	w.gone(id, parseVersion(live.GetResourceVersion()))
	return nil
}

func (w *kindWatch) gone(id manifest.ID, version uint64) {
	o := w.observer
	o.mu.Lock()
	known := o.objects[id]
	if known == nil || !w.holds(id, known) || !o.noteGone(known, version) {
		o.mu.Unlock()
		return
	}
	key := known.key
	o.mu.Unlock()
	o.changed(key, id, nil)
}

// Replace takes in a whole list: what is tracked, was seen, and is not in it is gone.
func (w *kindWatch) Replace(list []any, version string) error {
	listed := make(map[manifest.ID]bool, len(list))
	for _, element := range list {
		if err := w.seen(element); err != nil {
			return err
		}
		if live, ok := element.(*unstructured.Unstructured); ok {
			listed[manifest.IDOf(live)] = true
		}
	}
	for _, id := range w.seenBefore() {
		if !listed[id] {
			w.gone(id, parseVersion(version))
		}
	}
	return nil
}

func (w *kindWatch) seenBefore() []manifest.ID {
	o := w.observer
	o.mu.Lock()
	defer o.mu.Unlock()
	var ids []manifest.ID
	for id, known := range o.objects {
		if w.holds(id, known) && known.exists {
			ids = append(ids, id)
		}
	}
	return ids
}
