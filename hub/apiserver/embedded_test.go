package apiserver_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Every store has a client of its own. Over the socket that were a connection for each of more than sixty kinds, and
// more of what the hub does would be speaking to itself than anything else.
func TestTheStoresCallTheEmbeddedEtcdAndNotItsSocket(t *testing.T) {
	makeNamespace(t, "embedded") // the stores are there and used
	sockets, err := os.ReadFile("/proc/net/unix")
	if err != nil {
		t.Fatal(err)
	}
	const connected = " 03 "
	connections := 0
	for line := range strings.Lines(string(sockets)) {
		if strings.Contains(line, connected) && strings.HasSuffix(strings.TrimSpace(line), filepath.Join(hub.dir, "run", "etcd.sock")) {
			connections++
		}
	}
	// Those that are left look after etcd itself: its health, its size, its compaction.
	const most = 10
	if connections == 0 || connections > most {
		t.Errorf("%d connections to the socket, want some, and at most %d", connections, most)
	}
}
