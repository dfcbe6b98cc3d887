// Package incarnation remembers the history of the hub's store: which start of a hub began which era
// of it, and which members have seen more than it has and have yet to agree with it.
package incarnation

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/google/uuid"
	clientv3 "go.etcd.io/etcd/client/v3"

	"windlass.dev/windlass/pkg/session"
)

// key lies under the API server's prefix, so that whatever copies the API's data copies it too. It is
// no object of the API: an era has to begin before the API server writes anything, and nobody's rights
// on ConfigMaps shall be enough to end a restore mode.
const key = "/registry/windlass-history"

// record is what is stored.
type record struct {
	session.History
	// Restoring are the names of the members that have seen more than the store has, and for which
	// somebody has to confirm every deletion.
	Restoring []string `json:"restoring,omitempty"`
	// RestoringIDs are their clusters' ids by name: whoever joins under the name of one that was removed is
	// another, and has seen nothing. Hubs wrote names alone before, and may do so again: one without an id
	// counts for whoever has the name.
	RestoringIDs map[string]string `json:"restoringIDs,omitempty"`
	// ShownBy is the id of the cluster that alone has shown that the store was cut back, which the history does not.
	ShownBy string `json:"shownBy,omitempty"`
}

func (r *record) restores(cluster, id string) bool {
	known := r.RestoringIDs[cluster]
	return slices.Contains(r.Restoring, cluster) && (known == "" || known == id)
}

func (r *record) enter(cluster, id string) {
	if !slices.Contains(r.Restoring, cluster) {
		r.Restoring = append(r.Restoring, cluster)
	}
	if r.RestoringIDs == nil {
		r.RestoringIDs = map[string]string{}
	}
	r.RestoringIDs[cluster] = id
}

func (r *record) leave(cluster, id string) {
	if !r.restores(cluster, id) {
		return
	}
	r.Restoring = slices.DeleteFunc(r.Restoring, func(c string) bool { return c == cluster })
	delete(r.RestoringIDs, cluster)
}

// show notes which cluster shows what the history does not. One may lie; with the second the history gets an era that takes
// over nothing of those before. What a person says of the first one does not undo what it has shown.
func (r *record) show(id string) {
	switch r.ShownBy {
	case id:
	case "":
		r.ShownBy = id
	default:
		r.History, r.ShownBy = r.Begin(uuid.NewString(), 0), ""
	}
}

// doubted says whether another cluster than this one is in restore mode by its own word alone.
func (r *record) doubted(id string) bool {
	if r.ShownBy == "" || r.ShownBy == id {
		return false
	}
	return slices.Contains(slices.Collect(maps.Values(r.RestoringIDs)), r.ShownBy)
}

// A Keeper keeps the history of one store for one process. It is safe for concurrent use.
type Keeper struct {
	store  clientv3.KV
	broken func(error)

	mu sync.Mutex
	// seen is the highest revision that this process knows the store has had, and written the highest
	// at which the record was written.
	seen, written int64
}

// Begin begins an era. That has to be the first write of a process to the store, but for so many revisions that holding it
// took, and no other process may tell agents of the store any more, which is what holding it is for (hub/etcd): then no agent
// has seen more than the store had before these, unless the store was cut back. Broken is called when it is cut back later, under this
// process: what the process has in its caches is of another history then, and it has to end.
func Begin(ctx context.Context, store clientv3.KV, held int64, broken func(error)) (*Keeper, error) {
	k := &Keeper{store: store, broken: broken}
	_, _, err := k.change(ctx, func(r *record, revision int64) { r.History = r.Begin(uuid.NewString(), revision-held) })
	return k, err
}

// View is what the store says of itself to a member whose agent is about to be let in. The id is that of its cluster. Seen is a
// revision of the store of which this process has heard elsewhere. An era of which an agent may have
// heard is marked as told before.
func (k *Keeper) View(ctx context.Context, cluster, id string, seen int64) (session.StoreView, error) {
	k.saw(seen, 0)
	r, _, revision, err := k.read(ctx)
	if err == nil && !r.Told {
		r, revision, err = k.change(ctx, func(r *record, _ int64) { r.Told = true })
	}
	if err != nil {
		return session.StoreView{}, err
	}
	return session.StoreView{
		History: r.History, Revision: revision, Restoring: r.restores(cluster, id), Doubted: r.doubted(id),
	}, nil
}

// EnterRestore puts a member into restore mode. When the history does not show why, and another member has shown the same, it
// gets an era that takes over nothing of those before.
func (k *Keeper) EnterRestore(ctx context.Context, cluster, id string, unnoticed bool) error {
	_, _, err := k.change(ctx, func(r *record, _ int64) {
		if unnoticed {
			r.show(id)
		}
		r.enter(cluster, id)
	})
	return err
}

// LeaveRestore takes a member out of restore mode, if it is in it: somebody has confirmed what is to
// be deleted, or its cluster was removed.
func (k *Keeper) LeaveRestore(ctx context.Context, cluster, id string) error {
	_, _, err := k.change(ctx, func(r *record, _ int64) { r.leave(cluster, id) })
	return err
}

// RetainRestoring takes every member out of restore mode whose cluster's id is none of these. They are those of all clusters
// that the store has, and no agent may be let in since they were read: one that has joined meanwhile would lose its mode.
func (k *Keeper) RetainRestoring(ctx context.Context, ids []string) error {
	_, _, err := k.change(ctx, func(r *record, _ int64) {
		for cluster, id := range r.RestoringIDs {
			if !slices.Contains(ids, id) {
				r.leave(cluster, id)
			}
		}
	})
	return err
}

// change writes the record, if there is anything to be changed, before anybody is told of it. Change
// gets a revision that the store has had before the write, and may be called more than once.
func (k *Keeper) change(ctx context.Context, change func(*record, int64)) (record, int64, error) {
	for {
		r, version, revision, err := k.read(ctx)
		if err != nil {
			return r, 0, err
		}
		before := r.encode()
		change(&r, revision)
		if r.encode() == before {
			return r, revision, nil
		}
		written, err := k.write(ctx, r, version)
		if err != nil || written > 0 {
			return r, written, err
		}
	}
}

// write replaces the record of a version, and returns the revision of that; 0 when it is another
// version by now.
func (k *Keeper) write(ctx context.Context, r record, version int64) (int64, error) {
	reply, err := k.store.Txn(ctx).
		If(clientv3.Compare(clientv3.ModRevision(key), "=", version)).
		Then(clientv3.OpPut(key, r.encode())).
		Commit()
	switch {
	case err != nil:
		return 0, fmt.Errorf("writing the history of the store: %w", err)
	case !reply.Succeeded:
		return 0, nil
	}
	k.saw(reply.Header.Revision, reply.Header.Revision)
	return reply.Header.Revision, nil
}

// read reads the record, its version, and the revision of the store at that moment.
func (k *Keeper) read(ctx context.Context) (r record, version, revision int64, err error) {
	seen, written := k.saw(0, 0)
	reply, err := k.store.Get(ctx, key)
	if err != nil {
		return r, 0, 0, fmt.Errorf("reading the history of the store: %w", err)
	}
	revision = reply.Header.Revision
	if len(reply.Kvs) > 0 {
		version = reply.Kvs[0].ModRevision
		if err := json.Unmarshal(reply.Kvs[0].Value, &r); err != nil {
			return r, 0, 0, fmt.Errorf("reading the history of the store: etcd key %s: %w", key, err)
		}
	}
	if revision < seen || version < written {
		return r, 0, 0, k.breakOff(ctx, r, version, fmt.Errorf(
			"the store was restored from a backup while this hub was running: it is at revision %d and was at %d before. "+
				"The hub ends, because what it remembers is of another history; start it again", revision, seen))
	}
	k.saw(revision, version)
	return r, version, revision, nil
}

// Look notices if the store was cut back under this process, as View does when an agent connects.
func (k *Keeper) Look(ctx context.Context) error {
	_, _, _, err := k.read(ctx)
	return err
}

// breakOff begins an era that takes over nothing of those before, since nobody knows how far the
// store was cut back, and ends the process.
func (k *Keeper) breakOff(ctx context.Context, r record, version int64, why error) error {
	r.History = r.Begin(uuid.NewString(), 0)
	reply, err := k.store.Txn(ctx).
		If(clientv3.Compare(clientv3.ModRevision(key), "=", version)).
		Then(clientv3.OpPut(key, r.encode())).
		Commit()
	if err == nil && !reply.Succeeded {
		err = errors.New("another process has written it at the same time")
	}
	if err != nil {
		why = fmt.Errorf("%w (writing the history of the store: %w)", why, err)
	}
	k.broken(why)
	return why
}

// saw raises what is known of the store, and returns it.
func (k *Keeper) saw(seen, written int64) (int64, int64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.seen, k.written = max(k.seen, seen), max(k.written, written)
	return k.seen, k.written
}

func (r record) encode() string {
	text, err := json.Marshal(r)
	if err != nil {
		panic(err) // it holds strings and numbers
	}
	return string(text)
}
