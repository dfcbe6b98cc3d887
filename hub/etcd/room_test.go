package etcd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
)

// tiny is a quota that is used up in a second, which is how often etcd looks at the size of its file.
const tiny = 4 << 20

func TestAStoreThatOldVersionsHaveFilledHasRoomAgainAfterARestart(t *testing.T) {
	dir := shortTempDir(t)
	first := startWith(t, Config{DataDir: dir, QuotaBytes: tiny})
	claim(t, first)
	last := fill(t, first, func(int) string { return "/registry/the-same" })
	first.Close()

	var log lines
	second := startWith(t, Config{DataDir: dir, QuotaBytes: tiny, Log: log.logger()})
	claim(t, second)
	put(t, second, "/registry/another", "written")
	if got := get(t, second, "/registry/the-same"); got != last {
		t.Errorf("%d bytes were read that differ from the %d that were written last", len(got), len(last))
	}
	if file := second.sizes().file; file > tiny/2 {
		t.Errorf("the file has %s still", mebibytes(file))
	}
	log.tells(t, "the store is full and has taken no more writes", "written anew", "takes writes again")
	second.Close()

	var later lines
	third := startWith(t, Config{DataDir: dir, QuotaBytes: tiny, Log: later.logger()})
	put(t, third, "/registry/another", "again")
	later.tellsNothing(t)
}

func TestAStoreThatIsFullOfWhatIsInUseSaysWhatToDoAndStartsWithALargerQuota(t *testing.T) {
	dir := shortTempDir(t)
	first := startWith(t, Config{DataDir: dir, QuotaBytes: tiny})
	last := fill(t, first, func(i int) string { return fmt.Sprintf("/registry/object-%d", i) })
	first.Close()

	_, err := Start(t.Context(), Config{DataDir: dir, QuotaBytes: tiny, Log: slog.New(slog.DiscardHandler)})
	says(t, err, dir, "the store is full", "4.0 MiB", "raise etcd.quotaGiB", "delete")

	second := startWith(t, Config{DataDir: dir})
	put(t, second, "/registry/another", "written")
	if got := get(t, second, "/registry/object-0"); len(got) != len(last) {
		t.Errorf("%d bytes were read of the first object, want %d", len(got), len(last))
	}
}

func TestAFileThatIsNearItsQuotaIsMadeSmallerAtTheStart(t *testing.T) {
	for _, c := range []struct {
		reason string
		quota  func(file int64) int64
		made   bool
	}{
		{reason: "there is room", quota: func(file int64) int64 { return 4 * file }},
		{reason: "there is little room left", quota: func(file int64) int64 { return file * 10 / 9 }, made: true},
		{reason: "the quota was made smaller than the file", quota: func(file int64) int64 { return file * 2 / 3 }, made: true},
	} {
		t.Run(c.reason, func(t *testing.T) {
			dir := shortTempDir(t)
			first := startWith(t, Config{DataDir: dir})
			for range 100 {
				put(t, first, "/registry/the-same", strings.Repeat("x", 64<<10))
			}
			first.server.Server.Backend().ForceCommit()
			before := first.sizes().file
			first.Close()

			second := startWith(t, Config{DataDir: dir, QuotaBytes: c.quota(before)})
			if after := second.sizes().file; (after < before/2) != c.made {
				t.Errorf("the file had %s and has %s", mebibytes(before), mebibytes(after))
			}
			put(t, second, "/registry/another", "written")
		})
	}
}

func TestWhatAPersonHasToDoAboutAStoresSize(t *testing.T) {
	for _, c := range []struct {
		reason  string
		sizes   sizes
		stopped bool
		want    fullness
	}{
		{reason: "a small store needs nothing", sizes: sizes{file: 10, inUse: 9, quota: 100}, want: roomy},
		{reason: "a large file with free places in it fills them first", sizes: sizes{file: 95, inUse: 60, quota: 100}, want: roomy},
		{reason: "a large file with next to nothing in it wants a restart", sizes: sizes{file: 80, inUse: 20, quota: 100}, want: slack},
		{reason: "too much is in it", sizes: sizes{file: 85, inUse: 80, quota: 100}, want: tight},
		{reason: "it has stopped, whatever is in it", sizes: sizes{file: 100, inUse: 5, quota: 100}, stopped: true, want: full},
	} {
		if got := c.sizes.fullness(c.stopped); got != c.want {
			t.Errorf("%s: %d, want %d", c.reason, got, c.want)
		}
	}
}

func TestAStoreThatHasBecomeFullIsToldOfOnce(t *testing.T) {
	var log lines
	e := startWith(t, Config{DataDir: shortTempDir(t), QuotaBytes: tiny, Log: log.logger()})
	watchForAnHour := func() {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
			defer cancel()
			if err := e.WatchRoom(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	watchForAnHour()
	log.tellsNothing(t)
	fill(t, e, func(int) string { return "/registry/the-same" })
	watchForAnHour()
	log.tells(t, "the store is full and takes no more writes: start the hub again")
}

func says(t *testing.T, err error, what ...string) {
	t.Helper()
	if err == nil || strings.Contains(err.Error(), "\n") {
		t.Fatalf("error %v, want one line", err)
	}
	for _, part := range what {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q is missing in: %v", part, err)
		}
	}
}

// fill writes until the store takes no more, and returns what was written last.
func fill(t *testing.T, e *Etcd, key func(int) string) (last string) {
	t.Helper()
	client, err := e.Client()
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for i := 0; ; i++ {
		value := strings.Repeat(string(rune('a'+i%26)), 64<<10)
		_, err := client.Put(t.Context(), key(i), value)
		if errors.Is(err, rpctypes.ErrNoSpace) {
			return last
		}
		if err != nil {
			t.Fatal(err)
		}
		last = value
	}
}

func claim(t *testing.T, e *Etcd) {
	t.Helper()
	if err := e.Claim(t.Context(), "hub-a"); err != nil {
		t.Fatal(err)
	}
}

// lines are what was logged of the store by this package, less what etcd says itself.
type lines struct {
	mu  sync.Mutex
	out bytes.Buffer
}

func (l *lines) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !bytes.Contains(line, []byte("etcd: ")) {
		l.out.Write(line)
	}
	return len(line), nil
}

func (l *lines) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.out.String()
}

// tells wants these lines and no others.
func (l *lines) tells(t *testing.T, want ...string) {
	t.Helper()
	got := strings.Split(strings.TrimSpace(l.String()), "\n")
	if len(got) != len(want) {
		t.Fatalf("%d lines were logged, want %d:\n%s", len(got), len(want), l)
	}
	for i := range want {
		if !strings.Contains(got[i], want[i]) {
			t.Errorf("line %d is %s, want %q", i, got[i], want[i])
		}
	}
}

func (l *lines) tellsNothing(t *testing.T) {
	t.Helper()
	if l.String() != "" {
		t.Errorf("want nothing told of the store:\n%s", l)
	}
}
