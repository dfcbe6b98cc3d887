package etcd

import (
	"context"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/pkg/v3/traceutil"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3rpc"
	"go.etcd.io/etcd/server/v3/storage/mvcc"
)

// A watcher watches the embedded etcd's store itself. Etcd's own client for programs that embed it hands every event through the two
// ends of a stream, as if there was a network; and for the state before a change the whole list of what was written since it was last moved into the
// database is copied, which with backendInterval may be thousands of writes. What is told, and when a watch ends, is the same.
type watcher struct {
	// Watcher is etcd's own, for what nobody here asks for.
	clientv3.Watcher
	store mvcc.WatchableKV

	closed context.Context
	close  context.CancelFunc

	mu      sync.Mutex
	watches map[*storeWatch]bool
}

func newWatcher(own clientv3.Watcher, store mvcc.WatchableKV) *watcher {
	w := &watcher{Watcher: own, store: store, watches: map[*storeWatch]bool{}}
	w.closed, w.close = context.WithCancel(context.Background())
	return w
}

// Watch tells of the changes of a key, or of a range of keys, until the context or the watcher ends.
func (w *watcher) Watch(ctx context.Context, key string, options ...clientv3.OpOption) clientv3.WatchChan {
	asked := clientv3.OpGet(key, options...)
	if asked.IsCreatedNotify() || asked.IsFragment() || asked.IsFilterPut() || asked.IsFilterDelete() {
		return w.Watcher.Watch(ctx, key, options...)
	}
	watch := &storeWatch{store: w.store, events: w.store.NewWatchStream(), before: asked.IsPrevKV(), responses: make(chan clientv3.WatchResponse, responsesAtOnce)}
	// Not the caller's context: etcd would end the span that is in it.
	id, err := watch.events.Watch(context.Background(), clientv3.AutoWatchID, asked.KeyBytes(), asked.RangeBytes(), asked.Rev())
	if err != nil {
		watch.events.Close()
		watch.responses <- clientv3.WatchResponse{Header: &etcdserverpb.ResponseHeader{}, Canceled: true, CancelReason: err.Error()}
		close(watch.responses)
		return watch.responses
	}
	watch.id = id
	w.mu.Lock()
	w.watches[watch] = true
	w.mu.Unlock()
	go func() {
		defer close(watch.responses)
		watch.run(ctx, w.closed, asked.IsProgressNotify())
		w.mu.Lock()
		delete(w.watches, watch)
		w.mu.Unlock()
		watch.end()
	}()
	return watch.responses
}

// RequestProgress has every watch that has told all there is say up to which revision that is.
func (w *watcher) RequestProgress(context.Context) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for watch := range w.watches {
		watch.events.RequestProgress(watch.id)
	}
	return nil
}

// Close ends all watches.
func (w *watcher) Close() error {
	w.close()
	return w.Watcher.Close()
}

// responsesAtOnce is how many responses a reader may find, so that not each of them wakes it.
const responsesAtOnce = 64

// A storeWatch is one watch. Its goroutine takes in what the store tells as soon as it does: who does not is told late, by a loop that looks
// for such watches.
type storeWatch struct {
	store     mvcc.WatchableKV
	events    mvcc.WatchStream
	id        mvcc.WatchID
	before    bool // the state before a change is told, too
	responses chan clientv3.WatchResponse
}

func (w *storeWatch) run(ctx, closed context.Context, progress bool) {
	var remind <-chan time.Time
	if progress {
		ticker := time.NewTicker(v3rpc.GetProgressReportInterval())
		defer ticker.Stop()
		remind = ticker.C
	}
	var waiting []clientv3.WatchResponse
	for {
		var out chan<- clientv3.WatchResponse
		var next clientv3.WatchResponse
		if len(waiting) > 0 {
			out, next = w.responses, waiting[0]
		}
		select {
		case told := <-w.events.Chan():
			mvcc.ReportEventReceived(len(told.Events))
			waiting = append(waiting, w.response(told))
		case out <- next:
			if next.Canceled {
				return
			}
			waiting[0], waiting = clientv3.WatchResponse{}, waiting[1:]
		case <-remind:
			w.events.RequestProgress(w.id)
		case <-ctx.Done():
			return
		case <-closed.Done():
			return
		}
	}
}

// end gives the watch back. What was told and not taken in is counted, as etcd does.
func (w *storeWatch) end() {
	w.events.Close()
	for told := range w.events.Chan() {
		mvcc.ReportEventReceived(len(told.Events))
	}
}

func (w *storeWatch) response(told mvcc.WatchResponse) clientv3.WatchResponse {
	response := clientv3.WatchResponse{
		Header:          &etcdserverpb.ResponseHeader{Revision: told.Revision},
		CompactRevision: told.CompactRevision, Canceled: told.CompactRevision != 0,
	}
	if len(told.Events) == 0 {
		return response
	}
	response.Events = make([]*clientv3.Event, len(told.Events))
	for i, event := range told.Events {
		// A copy: other watches are told of the same event.
		response.Events[i] = &mvccpb.Event{Type: event.Type, Kv: event.Kv}
		if w.before && !v3rpc.IsCreateEvent(event) {
			response.Events[i].PrevKv = w.stateBefore(event)
		}
	}
	return response
}

// stateBefore is nil when it is known no more, which the reader of the watch takes for its end.
func (w *storeWatch) stateBefore(event *mvccpb.Event) *mvccpb.KeyValue {
	// Of the two ways to read this is the one that copies nothing. It holds up writes for the microseconds that it takes.
	read := w.store.Read(mvcc.SharedBufReadTxMode, traceutil.TODO())
	defer read.End()
	found, err := read.Range(context.Background(), event.Kv.Key, nil, mvcc.RangeOptions{Rev: event.Kv.ModRevision - 1})
	if err != nil || len(found.KVs) == 0 {
		return nil
	}
	return found.KVs[0]
}
