package apply

import (
	"container/heap"
	"sync"
)

// class is why a work is in the queue: what the hub has just said goes before what has to be
// looked at again.
type class int

const (
	newWork class = iota
	drifted
	restored
)

// byRank is the order of the queue: by class, then by the rank of the work's kind, so that of a
// batch namespaces and definitions are applied first, then by arrival.
//
// The queue calls Push, Pop, Touch and Len with its own lock held; the other methods are called
// without it.
type byRank struct {
	mu       sync.Mutex
	heap     waiting
	items    map[string]*item // those in the heap
	places   map[string]place
	sequence uint64
}

type place struct {
	class class
	rank  int
}

type item struct {
	key string
	place
	sequence uint64
	index    int
}

func newByRank() *byRank {
	return &byRank{items: map[string]*item{}, places: map[string]place{}}
}

// prioritise says where in the order a key belongs that is about to be added. A better class that
// was given before counts until the key's turn has come.
func (q *byRank) prioritise(key string, class class, rank int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if before, exists := q.places[key]; exists {
		class = min(class, before.class)
	}
	q.places[key] = place{class, rank}
}

func (q *byRank) forget(key string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.places, key)
}

// Push adds a key.
func (q *byRank) Push(key string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	at, exists := q.places[key]
	if !exists {
		at = place{class: drifted}
		q.places[key] = at
	}
	q.sequence++
	added := &item{key: key, place: at, sequence: q.sequence}
	q.items[key] = added
	heap.Push(&q.heap, added)
}

// Touch moves a key that waits already.
func (q *byRank) Touch(key string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	waiting, at := q.items[key], q.places[key]
	if waiting != nil && waiting.place != at {
		waiting.place = at
		heap.Fix(&q.heap, waiting.index)
	}
}

// Len returns how many keys wait.
func (q *byRank) Len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.heap)
}

// Pop takes the first key.
func (q *byRank) Pop() string {
	q.mu.Lock()
	defer q.mu.Unlock()
	first := heap.Pop(&q.heap).(*item)
	delete(q.places, first.key)
	delete(q.items, first.key)
	return first.key
}

type waiting []*item

func (w waiting) Len() int { return len(w) }

func (w waiting) Less(i, j int) bool {
	a, b := w[i], w[j]
	if a.class != b.class {
		return a.class < b.class
	}
	if a.rank != b.rank {
		return a.rank < b.rank
	}
	return a.sequence < b.sequence
}

func (w waiting) Swap(i, j int) {
	w[i], w[j] = w[j], w[i]
	w[i].index, w[j].index = i, j
}

func (w *waiting) Push(x any) {
	added := x.(*item)
	added.index = len(*w)
	*w = append(*w, added)
}

func (w *waiting) Pop() any {
	last := (*w)[len(*w)-1]
	*w = (*w)[:len(*w)-1]
	return last
}
