package etcd

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3client"
	"golang.org/x/sync/errgroup"
)

// patience is how long a condition may take to come true on a loaded machine.
const patience = time.Minute

// change is what matters of an event.
type change struct {
	Kind                       string
	Key, Value, Before         string
	Created, Modified, Version int64
}

func changeOf(event *clientv3.Event) change {
	c := change{
		Kind: event.Type.String(), Key: string(event.Kv.Key), Value: string(event.Kv.Value),
		Created: event.Kv.CreateRevision, Modified: event.Kv.ModRevision, Version: event.Kv.Version,
	}
	if event.PrevKv != nil {
		c.Before = fmt.Sprintf("%s of %d", event.PrevKv.Value, event.PrevKv.ModRevision)
	}
	return c
}

// read gathers changes until one of the key "/end" or the like has come, or the watch ends.
func read(t *testing.T, watch clientv3.WatchChan, until func(change) bool) (all []change) {
	t.Helper()
	deadline := time.After(patience)
	for {
		select {
		case response, ok := <-watch:
			if !ok {
				t.Fatal("the watch has ended")
			}
			if err := response.Err(); err != nil {
				t.Fatal(err)
			}
			for _, event := range response.Events {
				all = append(all, changeOf(event))
				if response.Header.GetRevision() < event.Kv.ModRevision {
					t.Errorf("a response of revision %d has an event of %d", response.Header.GetRevision(), event.Kv.ModRevision)
				}
				if until(all[len(all)-1]) {
					return all
				}
			}
		case <-deadline:
			t.Fatalf("only %d changes within %s", len(all), patience)
		}
	}
}

func TestAWatchTellsWhatEtcdsOwnTells(t *testing.T) {
	const early = 50 // revisions are there before the watch begins
	tests := []struct {
		reason  string
		key     string
		from    int64 // after the early revisions
		options []clientv3.OpOption
	}{
		{"all keys with what they were before", "/k/", 1, []clientv3.OpOption{clientv3.WithPrefix(), clientv3.WithPrevKV()}},
		{"the same with progress", "/k/", 1, []clientv3.OpOption{clientv3.WithPrefix(), clientv3.WithPrevKV(), clientv3.WithProgressNotify()}},
		{"all keys from long ago", "/k/", -30, []clientv3.OpOption{clientv3.WithPrefix(), clientv3.WithPrevKV()}},
		{"all keys alone", "/k/", 1, []clientv3.OpOption{clientv3.WithPrefix()}},
		{"one key", "/k/end", 1, []clientv3.OpOption{clientv3.WithPrevKV()}},
		{"from a revision that is still to come", "/k/", 100, []clientv3.OpOption{clientv3.WithPrefix(), clientv3.WithPrevKV()}},
		{"without deletions", "/k/", 1, []clientv3.OpOption{clientv3.WithPrefix(), clientv3.WithFilterDelete()}},
	}
	for _, test := range tests {
		t.Run(test.reason, func(t *testing.T) {
			e := start(t, shortTempDir(t))
			client := e.InProcess()
			own := v3client.New(e.server.Server)
			defer func() { _, _ = client.Close(), own.Close() }()
			write := func(i int) (revision int64) {
				put, err := client.Put(t.Context(), fmt.Sprintf("/k/%d", i%7), fmt.Sprint("early ", i))
				if err != nil {
					t.Fatal(err)
				}
				return put.Header.Revision
			}
			var last int64
			for i := range early {
				last = write(i)
			}
			options := append(test.options, clientv3.WithRev(last+test.from))
			got, want := client.Watch(t.Context(), test.key, options...), own.Watch(t.Context(), test.key, options...)
			random := rand.New(rand.NewPCG(1, 2))
			for i := range 300 {
				var err error
				switch random.IntN(4) {
				case 0:
					_, err = client.Delete(t.Context(), fmt.Sprintf("/k/%d", random.IntN(7)))
				case 1: // one revision of several keys
					_, err = client.Txn(t.Context()).Then(clientv3.OpPut("/k/a", fmt.Sprint(i)), clientv3.OpPut("/k/b", fmt.Sprint(i)), clientv3.OpDelete("/k/0")).Commit()
				default:
					write(random.IntN(7))
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			put(t, e, "/k/end", "")
			end := func(c change) bool { return c.Key == "/k/end" }
			if diff := cmp.Diff(read(t, want, end), read(t, got, end)); diff != "" {
				t.Errorf("(-etcd's own +this one):\n%s", diff)
			}
		})
	}
}

func TestAReaderThatIsAwayMissesNothing(t *testing.T) {
	e := start(t, shortTempDir(t))
	client := e.InProcess()
	defer func() { _ = client.Close() }()
	watch := client.Watch(t.Context(), "/k/", clientv3.WithPrefix(), clientv3.WithPrevKV())
	writers := errgroup.Group{}
	const hands, each = 16, 200
	for hand := range hands {
		writers.Go(func() error {
			for i := range each {
				if _, err := client.Put(t.Context(), fmt.Sprintf("/k/%d", hand), fmt.Sprint(i)); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := writers.Wait(); err != nil {
		t.Fatal(err)
	}
	put(t, e, "/k/end", "")
	all := read(t, watch, func(c change) bool { return c.Key == "/k/end" })
	if len(all) != hands*each+1 {
		t.Errorf("%d changes were told of %d", len(all), hands*each+1)
	}
	for i := 1; i < len(all); i++ {
		if all[i].Modified != all[i-1].Modified+1 {
			t.Fatalf("after revision %d comes %d", all[i-1].Modified, all[i].Modified)
		}
	}
}

func TestAWatchEnds(t *testing.T) {
	e := start(t, shortTempDir(t))
	for i := range 10 {
		put(t, e, "/a", fmt.Sprint(i))
	}
	ended := func(t *testing.T, watch clientv3.WatchChan) (last error) {
		t.Helper()
		deadline := time.After(patience)
		for {
			select {
			case response, ok := <-watch:
				if !ok {
					return last
				}
				last = response.Err()
			case <-deadline:
				t.Fatalf("it has not within %s", patience)
			}
		}
	}
	t.Run("when what it asks for was compacted", func(t *testing.T) {
		client := e.InProcess()
		defer func() { _ = client.Close() }()
		now, err := client.Get(t.Context(), "/a")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := client.Compact(t.Context(), now.Header.Revision); err != nil {
			t.Fatal(err)
		}
		if err := ended(t, client.Watch(t.Context(), "/a", clientv3.WithRev(2))); !errors.Is(err, rpctypes.ErrCompacted) {
			t.Errorf("its last word is %v", err)
		}
	})
	t.Run("with its context", func(t *testing.T) {
		client := e.InProcess()
		defer func() { _ = client.Close() }()
		ctx, end := context.WithCancel(t.Context())
		watch := client.Watch(ctx, "/a")
		end()
		if err := ended(t, watch); err != nil {
			t.Errorf("its last word is %v", err)
		}
	})
	t.Run("with its client", func(t *testing.T) {
		client := e.InProcess()
		watch := client.Watch(t.Context(), "/a")
		_ = client.Close()
		if err := ended(t, watch); err != nil {
			t.Errorf("its last word is %v", err)
		}
	})
	t.Run("at once when it is of no key", func(t *testing.T) {
		client := e.InProcess()
		defer func() { _ = client.Close() }()
		if err := ended(t, client.Watch(t.Context(), "/b", clientv3.WithRange("/a"))); err == nil {
			t.Error("it does not say why")
		}
	})
}

func TestAWatchSaysHowFarItIsWhenItIsAsked(t *testing.T) {
	e := start(t, shortTempDir(t))
	client := e.InProcess()
	defer func() { _ = client.Close() }()
	quiet, busy := client.Watch(t.Context(), "/quiet"), client.Watch(t.Context(), "/busy")
	written, err := client.Put(t.Context(), "/busy", "")
	if err != nil {
		t.Fatal(err)
	}
	read(t, busy, func(change) bool { return true })
	if err := client.RequestProgress(t.Context()); err != nil {
		t.Fatal(err)
	}
	for name, watch := range map[string]clientv3.WatchChan{"quiet": quiet, "busy": busy} {
		select {
		case response := <-watch:
			if !response.IsProgressNotify() || response.Header.GetRevision() < written.Header.Revision {
				t.Errorf("the %s one says %v", name, response)
			}
		case <-time.After(patience):
			t.Errorf("the %s one says nothing", name)
		}
	}
}

// What was written in the last second waits to be moved into the database, and to find out about the state before a change must
// not copy the list of it.
func TestWhatAChangeCostsDoesNotGrowWithWhatWasWrittenBefore(t *testing.T) {
	e := start(t, shortTempDir(t))
	client := e.InProcess()
	defer func() { _ = client.Close() }()
	watch := client.Watch(t.Context(), "/a", clientv3.WithPrevKV())
	const changes = 100
	cost := func() uint64 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for i := range changes {
			put, err := client.Put(t.Context(), "/a", fmt.Sprint(i))
			if err != nil {
				t.Fatal(err)
			}
			read(t, watch, func(c change) bool { return c.Modified == put.Header.Revision })
		}
		runtime.ReadMemStats(&after)
		return (after.TotalAlloc - before.TotalAlloc) / changes
	}
	writers := errgroup.Group{}
	writers.SetLimit(256)
	for i := range 3000 {
		writers.Go(func() error {
			_, err := client.Put(t.Context(), fmt.Sprintf("/other/%d", i), "")
			return err
		})
	}
	if err := writers.Wait(); err != nil {
		t.Fatal(err)
	}
	if each := cost(); each > 40<<10 {
		t.Errorf("each change has %d KB allocated", each>>10)
	}
}
