package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"windlass.dev/windlass/e2e/fleet"
)

// storeCounts are what the hub's store was told since it started: keys that were put, and keys that were deleted.
type storeCounts struct{ puts, deletes int64 }

// countStore asks the hub's etcd itself, over the socket in the hub's data directory. The API server counts its
// requests, too, but those that lost a race are among them and change nothing.
func countStore(ctx context.Context, f *fleet.Fleet) (storeCounts, error) {
	socket := filepath.Join(f.Hub().DataDir(), "run", "etcd.sock")
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", socket)
		},
	}}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://etcd/metrics", nil)
	if err != nil {
		return storeCounts{}, err
	}
	response, err := client.Do(request)
	if err != nil {
		return storeCounts{}, fmt.Errorf("reading the counters of the hub's store: %w", err)
	}
	defer response.Body.Close()
	return readStoreCounts(response.Body)
}

func readStoreCounts(metrics io.Reader) (storeCounts, error) {
	var counts storeCounts
	found := 0
	lines := bufio.NewScanner(metrics)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), " ")
		var into *int64
		switch name {
		case "etcd_mvcc_put_total":
			into = &counts.puts
		case "etcd_mvcc_delete_total":
			into = &counts.deletes
		default:
			continue
		}
		number, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return counts, fmt.Errorf("reading the counters of the hub's store: %q: %w", lines.Text(), err)
		}
		*into = int64(number)
		found++
	}
	if err := lines.Err(); err != nil {
		return counts, fmt.Errorf("reading the counters of the hub's store: %w", err)
	}
	if found != 2 {
		return counts, fmt.Errorf("the hub's store has %d of the two counters etcd_mvcc_put_total and etcd_mvcc_delete_total: have they other names now?", found)
	}
	return counts, nil
}
