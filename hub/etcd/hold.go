package etcd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

const (
	// processKey says which process uses an external store. It lies under the API server's prefix, because a hub may have
	// rights for nothing else.
	processKey = apiPrefix + "windlass-hub-process"
	// processLife is for how long a process that was killed, or can't reach etcd, counts as one that uses the store.
	processLife = 15 * time.Second
	// askAgain is how often it is asked for what etcd has not said, or somebody else has not done yet.
	askAgain = 500 * time.Millisecond
	// giveBackTimeout bounds how long the end of a process waits for an etcd that does not answer.
	giveBackTimeout = 2 * time.Second
)

// process is one that uses an external store.
type process struct {
	Host  string    `json:"host"`
	ID    int       `json:"id"`
	Since time.Time `json:"since"`
}

func (p process) encode() string {
	text, err := json.Marshal(p)
	if err != nil {
		panic(err) // it holds a string, a number and a time
	}
	return string(text)
}

// hold is what keeps other processes away from an external store: a key that lives as long as its lease is renewed.
type hold struct {
	client *clientv3.Client
	log    *slog.Logger
	lease  clientv3.LeaseID
}

// Hold makes this process the only one of its hub that uses an external store until Close: what two of them write and tell agents,
// each in an era of its own, looks like a restored backup. It waits until another one has ended, or the context has. Lost is
// called when another may have taken the store over. That etcd can't be reached is no reason by itself: then
// nothing can be written either, and nothing new told. The embedded store is held by its data directory. Revisions is by how many
// the store's revision has grown for that since anything else was written.
func (e *Etcd) Hold(ctx context.Context, lost func(error)) (revisions int64, err error) {
	if e.Embedded() {
		return 0, nil
	}
	client, err := e.Client()
	if err != nil {
		return 0, err
	}
	h := &hold{client: client, log: e.log}
	if revisions, err = h.begin(ctx); err != nil {
		_ = client.Close()
		return 0, fmt.Errorf("etcd at %s: %w", strings.Join(e.Endpoints, ","), err)
	}
	keeping, end := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		h.keep(keeping, lost)
	}()
	e.release = append(e.release, func() {
		end()
		<-ended
		h.revoke()
		_ = client.Close()
	})
	return revisions, nil
}

// begin takes the store, which is one revision, and the end of the process before is another if it was waited for.
func (h *hold) begin(ctx context.Context) (revisions int64, err error) {
	var other *process
	for {
		found, err := h.take(ctx)
		switch {
		case other != nil && errors.Is(ctx.Err(), context.DeadlineExceeded):
			return 0, fmt.Errorf("another process of this hub uses this store (process %d on host %s, since %s) and has not ended: end it, and start this one again",
				other.ID, other.Host, other.Since.Format(time.RFC3339))
		case err != nil:
			return 0, fmt.Errorf("finding out which process uses the store: %w", err)
		case found == nil && other != nil:
			return 2, nil
		case found == nil:
			return 1, nil
		case other == nil:
			h.log.Warn("another process of this hub uses this store, or was killed less than "+processLife.String()+" ago: waits until it has ended",
				"host", found.Host, "process", found.ID, "since", found.Since)
		}
		other = found
		pause(ctx)
	}
}

// take takes the store, or finds out who has it. A key without a lease has come with a copy of the store's content.
func (h *hold) take(ctx context.Context) (other *process, err error) {
	found, err := h.client.Get(ctx, processKey)
	if err != nil {
		return nil, err
	}
	if len(found.Kvs) > 0 && found.Kvs[0].Lease != 0 {
		return decodeProcess(found.Kvs[0].Value)
	}
	lease, err := h.client.Grant(ctx, int64(processLife/time.Second))
	if err != nil {
		return nil, err
	}
	h.lease = lease.ID
	host, _ := os.Hostname() // it is for people, who may do without
	reply, err := h.client.Txn(ctx).
		If(clientv3.Compare(clientv3.LeaseValue(processKey), "=", clientv3.NoLease)).
		Then(clientv3.OpPut(processKey, process{Host: host, ID: os.Getpid(), Since: time.Now()}.encode(), clientv3.WithLease(lease.ID))).
		Else(clientv3.OpGet(processKey)).
		Commit()
	if err != nil || reply.Succeeded {
		return nil, err
	}
	h.revoke() // somebody was faster
	return decodeProcess(reply.Responses[0].GetResponseRange().Kvs[0].Value)
}

func decodeProcess(text []byte) (*process, error) {
	p := &process{}
	if err := json.Unmarshal(text, p); err != nil {
		return nil, fmt.Errorf("etcd key %s: %w", processKey, err)
	}
	return p, nil
}

// keep renews the lease until the context ends, or the lease has.
func (h *hold) keep(ctx context.Context, lost func(error)) {
	for ctx.Err() == nil {
		if renewals, err := h.client.KeepAlive(ctx, h.lease); err == nil {
			drain(renewals) // ends with the lease, or when etcd has said nothing for as long as that lives
		}
		if left, err := h.client.TimeToLive(ctx, h.lease); err == nil && left.TTL <= 0 {
			lost(fmt.Errorf("etcd has not heard of this process for %s, and another one may use the store by now: the hub ends; start it again", processLife))
			return
		}
		pause(ctx)
	}
}

func drain(renewals <-chan *clientv3.LeaseKeepAliveResponse) {
	for range renewals {
	}
}

// revoke ends the lease. When that fails it ends by itself.
func (h *hold) revoke() {
	ctx, cancel := context.WithTimeout(context.Background(), giveBackTimeout)
	defer cancel()
	_, _ = h.client.Revoke(ctx, h.lease)
}

func pause(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-time.After(askAgain):
	}
}
