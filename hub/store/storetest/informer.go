package storetest

import (
	"maps"
	"slices"
	"sync"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/client-go/tools/cache"
)

// informer is never started: its index is written by the store, and its handlers are told before the
// write returns.
type informer struct {
	cache.SharedIndexInformer

	mu       sync.Mutex
	handlers []cache.ResourceEventHandler
}

// AddEventHandler tells the handler of everything that is there, and of every change from now on.
func (i *informer) AddEventHandler(handler cache.ResourceEventHandler) (cache.ResourceEventHandlerRegistration, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.handlers = append(i.handlers, handler)
	for _, obj := range i.GetIndexer().List() {
		handler.OnAdd(obj, true)
	}
	return registration{}, nil
}

// HasSynced is always true: there is nothing to wait for.
func (i *informer) HasSynced() bool { return true }

// become makes the index hold exactly these objects, by their keys.
func (i *informer) become(objects map[string]any) {
	i.mu.Lock()
	defer i.mu.Unlock()
	index := i.GetIndexer()
	for _, key := range index.ListKeys() {
		if old, _, _ := index.GetByKey(key); objects[key] == nil {
			_ = index.Delete(old)
			i.tell(func(h cache.ResourceEventHandler) { h.OnDelete(old) })
		}
	}
	for _, key := range slices.Sorted(maps.Keys(objects)) {
		old, had, _ := index.GetByKey(key)
		if had && version(old) == version(objects[key]) {
			continue
		}
		_ = index.Update(objects[key])
		i.tell(func(h cache.ResourceEventHandler) {
			if had {
				h.OnUpdate(old, objects[key])
			} else {
				h.OnAdd(objects[key], false)
			}
		})
	}
}

func (i *informer) tell(event func(cache.ResourceEventHandler)) {
	for _, handler := range i.handlers {
		event(handler)
	}
}

func version(obj any) string {
	accessor, err := meta.Accessor(obj)
	if err != nil {
		panic(err)
	}
	return accessor.GetResourceVersion()
}

type registration struct{}

func (registration) HasSynced() bool { return true }

func (registration) HasSyncedChecker() cache.DoneChecker { return done{} }

type done struct{}

func (done) Name() string { return "storetest" }

func (done) Done() <-chan struct{} {
	closed := make(chan struct{})
	close(closed)
	return closed
}
