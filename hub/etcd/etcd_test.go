package etcd

import (
	"context"
	"crypto/tls"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"

	"windlass.dev/windlass/hub/pki"
)

func TestWhatIsWrittenIsFoundAfterARestart(t *testing.T) {
	for _, c := range []struct{ reason, dir string }{
		{reason: "a data directory of ordinary length", dir: "data"},
		{reason: "a path too long for a socket puts the socket elsewhere", dir: strings.Repeat("long/", 30)},
	} {
		t.Run(c.reason, func(t *testing.T) {
			dir := filepath.Join(shortTempDir(t), c.dir)
			first := start(t, dir)
			put(t, first, "/a", "1")
			first.Close()
			second := start(t, dir)
			if got := get(t, second, "/a"); got != "1" {
				t.Errorf("read %q after the restart, want 1", got)
			}
		})
	}
}

// etcd keeps thousands of writes for followers, if it is not told otherwise.
func TestOldWritesAreNotKeptInMemory(t *testing.T) {
	dir := shortTempDir(t)
	e := start(t, dir)
	client := e.InProcess()
	const writes, size = 1000, 64 << 10
	inUse := func() uint64 {
		runtime.GC()
		var stats runtime.MemStats
		runtime.ReadMemStats(&stats)
		return stats.HeapAlloc
	}
	before := inUse()
	for i := range writes {
		value := strings.Repeat(string(rune('a'+i%26)), size)
		if _, err := client.Put(t.Context(), "/a", value); err != nil {
			t.Fatal(err)
		}
	}
	// Some hundred of the last writes are kept for a while, how many is a matter of speed, and with large ones that is much:
	// small ones take their place.
	for range 300 {
		if _, err := client.Put(t.Context(), "/b", "small"); err != nil {
			t.Fatal(err)
		}
	}
	// What was written last is in memory until it is moved into the database.
	var after uint64
	if err := wait.PollUntilContextTimeout(t.Context(), 100*time.Millisecond, 2*time.Minute, true, func(context.Context) (bool, error) {
		after = inUse()
		return after < before+writes*size/2, nil
	}); err != nil {
		t.Errorf("%d MB are in use after %d MB were written, %d MB before", after>>20, writes*size>>20, before>>20)
	}
	_ = client.Close()
	e.Close()
	if got, want := get(t, start(t, dir), "/a"), strings.Repeat(string(rune('a'+(writes-1)%26)), size); got != want {
		t.Errorf("after a restart %d bytes were read, want the %d that were written last", len(got), len(want))
	}
}

func TestTheSocketCanBeReachedByItsOwnerOnly(t *testing.T) {
	e := start(t, shortTempDir(t))
	info, err := os.Stat(filepath.Dir(strings.TrimPrefix(e.Endpoints[0], "unix://")))
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Mode().Perm(); got != 0o700 {
		t.Errorf("the socket's directory has mode %o, want 700", got)
	}
}

func TestADataDirectoryInUseIsRefusedWithTheHolder(t *testing.T) {
	dir := shortTempDir(t)
	first := start(t, dir)
	_, err := Start(t.Context(), Config{DataDir: dir})
	want := fmt.Sprintf("data directory %s is in use by process %d", dir, os.Getpid())
	if err == nil || err.Error() != want {
		t.Errorf("error %v, want %q", err, want)
	}
	put(t, first, "/still", "serving")
	first.Close()
	start(t, dir)
}

func TestADataDirectoryThatCannotBeMadeIsOneClearLine(t *testing.T) {
	file := filepath.Join(shortTempDir(t), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Start(t.Context(), Config{DataDir: filepath.Join(file, "data")})
	if err == nil || strings.Contains(err.Error(), "\n") || !strings.Contains(err.Error(), file) {
		t.Errorf("error %v, want one line that names %s", err, file)
	}
}

func TestAStoreBelongsToOneHub(t *testing.T) {
	e := start(t, shortTempDir(t))
	ctx := t.Context()
	for _, c := range []struct {
		reason, id string
		refused    bool
	}{
		{reason: "a new store is taken", id: "hub-a"},
		{reason: "its owner comes back", id: "hub-a"},
		{reason: "another hub is refused", id: "hub-b", refused: true},
		{reason: "which changes nothing for the owner", id: "hub-a"},
	} {
		if err := e.Claim(ctx, c.id); (err != nil) != c.refused {
			t.Errorf("%s: error %v", c.reason, err)
		}
	}
}

func TestAStoreWithDataOfNoHubIsNotTaken(t *testing.T) {
	for _, c := range []struct {
		reason  string
		before  []string
		refused bool
	}{
		{reason: "an empty one is", before: nil},
		{reason: "what others keep beside the API's data is no hindrance", before: []string{"/calico/node", "compact_rev_key"}},
		{reason: "a cluster's, whose objects would be taken for the hub's", before: []string{"/registry/pods/default/one", "/registry/secrets/default/two"}, refused: true},
		{reason: "a hub's own, however much is in it", before: []string{hubIDKey, "/registry/pods/default/one"}},
	} {
		t.Run(c.reason, func(t *testing.T) {
			embedded := start(t, shortTempDir(t))
			e := startWith(t, Config{Servers: embedded.Endpoints})
			for _, key := range c.before {
				put(t, e, key, "hub-a")
			}
			err := e.Claim(t.Context(), "hub-a")
			if (err != nil) != c.refused {
				t.Fatalf("error %v", err)
			}
			owner := "hub-a"
			if c.refused {
				owner = ""
				says(t, err, e.Endpoints[0], "another API server", "/registry/pods/default/one", "--etcd-servers", "put /registry/windlass-hub-id hub-a")
				says(t, embedded.Claim(t.Context(), "hub-a"), "another API server", "/registry/pods/default/one", "--data-dir")
			}
			if got := get(t, e, hubIDKey); got != owner {
				t.Errorf("the store's owner is %q, want %q", got, owner)
			}
		})
	}
}

func TestAnExternalStoreIsPassedOnAsItIs(t *testing.T) {
	e, err := Start(t.Context(), Config{Servers: []string{"https://etcd.example:2379"}, CAFile: "ca", CertFile: "crt", KeyFile: "key"})
	if err != nil {
		t.Fatal(err)
	}
	if e.Endpoints[0] != "https://etcd.example:2379" || e.CAFile != "ca" || e.CertFile != "crt" || e.KeyFile != "key" {
		t.Errorf("got %+v", e)
	}
	if e.Err() != nil {
		t.Error("an external store has no failure channel")
	}
	e.Close()
}

func TestAnExternalStoreThatCannotBeUsedIsOneLineThatSaysWhatToCheck(t *testing.T) {
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { silent.Close() })
	other := httptest.NewUnstartedServer(http.NotFoundHandler())
	other.EnableHTTP2, other.Config.ErrorLog = true, log.New(io.Discard, "", 0)
	other.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert}
	other.StartTLS()
	t.Cleanup(other.Close)
	dir := shortTempDir(t)
	itsCA, anotherCA := filepath.Join(dir, "its"), filepath.Join(dir, "another")
	if err := os.WriteFile(itsCA, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: other.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	set, err := pki.LoadOrCreate(filepath.Join(dir, "pki"), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(anotherCA, set.Hub.PEM(), 0o600); err != nil {
		t.Fatal(err)
	}

	for _, c := range []struct {
		reason, server, caFile, says string
	}{
		{"nobody listens", "http://" + closed.Addr().String(), "", "connection refused: check --etcd-servers"},
		{"nobody answers", "http://" + silent.Addr().String(), "", "does not answer: check --etcd-servers"},
		{"its certificate is another authority's", other.URL, anotherCA, "unknown authority: check that --etcd-cafile"},
		{"its certificate has no such name", strings.Replace(other.URL, "127.0.0.1", "localhost", 1), itsCA, "not localhost: check that --etcd-cafile"},
		{"it wants a certificate", other.URL, itsCA, "certificate required: check that --etcd-certfile"},
	} {
		t.Run(c.reason, func(t *testing.T) {
			t.Parallel() // each takes until its time is over
			e, err := Start(t.Context(), Config{Servers: []string{c.server}, CAFile: c.caFile})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			err = e.Claim(ctx, "hub-a")
			if err == nil || strings.Contains(err.Error(), "\n") || !strings.Contains(err.Error(), c.server) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("error %v, want one line that names %s and says %q", err, c.server, c.says)
			}
		})
	}
}

func start(t *testing.T, dir string) *Etcd {
	t.Helper()
	return startWith(t, Config{DataDir: dir})
}

func startWith(t *testing.T, c Config) *Etcd {
	t.Helper()
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	e, err := Start(ctx, c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	return e
}

func put(t *testing.T, e *Etcd, key, value string) {
	t.Helper()
	client, err := e.Client()
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if _, err := client.Put(t.Context(), key, value); err != nil {
		t.Fatal(err)
	}
}

func get(t *testing.T, e *Etcd, key string) string {
	t.Helper()
	client, err := e.Client()
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	reply, err := client.Get(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	if len(reply.Kvs) == 0 {
		return ""
	}
	return string(reply.Kvs[0].Value)
}

// shortTempDir avoids the test's long name in the path of the socket.
func shortTempDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "w")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}
