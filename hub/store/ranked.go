package store

import (
	"context"

	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
	"sigs.k8s.io/controller-runtime/pkg/source"
)

// Ranked has a controller take the keys of a source in the order of their rank, the higher first. What was there at
// the start still waits behind what changes now and has the same rank. Rank is asked when a key is added, by any
// goroutine.
func Ranked[K comparable](keys source.TypedSource[K], rank func(K) int) source.TypedSource[K] {
	return source.TypedFunc[K](func(ctx context.Context, queue workqueue.TypedRateLimitingInterface[K]) error {
		if ordered, ok := queue.(priorityqueue.PriorityQueue[K]); ok {
			queue = &rankedQueue[K]{PriorityQueue: ordered, rank: rank}
		}
		return keys.Start(ctx, queue)
	})
}

// rankedQueue adds the rank of every key to its priority.
type rankedQueue[K comparable] struct {
	priorityqueue.PriorityQueue[K]
	rank func(K) int
}

// Add adds a key by its rank.
func (q *rankedQueue[K]) Add(key K) { q.AddWithOpts(priorityqueue.AddOpts{}, key) }

// AddWithOpts adds keys by their ranks.
func (q *rankedQueue[K]) AddWithOpts(opts priorityqueue.AddOpts, keys ...K) {
	for _, key := range keys {
		ranked := opts
		ranked.Priority = ptr.To(ptr.Deref(opts.Priority, 0) + q.rank(key))
		q.PriorityQueue.AddWithOpts(ranked, key)
	}
}
