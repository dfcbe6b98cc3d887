package linktest

import (
	"context"
	"fmt"
	"net"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	agentlink "windlass.dev/windlass/agent/link"
)

// BenchmarkIdleMembers tells what an idle member costs in memory, hub and agent together, and what a word and
// its answer take.
func BenchmarkIdleMembers(b *testing.B) {
	const members = 300
	h := newHub(b, nil)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	var agents []*agent
	for i := range members {
		cluster := fmt.Sprint("c", i)
		h.store.put(cluster, 1000, keys(20)...)
		agents = append(agents, h.newAgent(h.issue(cluster, time.Hour), nil))
	}
	for _, a := range agents {
		for !a.synchronised() {
			time.Sleep(time.Millisecond)
		}
	}
	for range b.N {
		if _, err := h.server.Ask(b.Context(), "c0", "nothing", nil); err == nil {
			b.Fatal("an agent answered a question that it cannot know")
		}
	}
	b.StopTimer()
	for range 3 {
		runtime.GC()
		time.Sleep(50 * time.Millisecond)
	}
	runtime.ReadMemStats(&after)
	b.ReportMetric(float64(after.HeapInuse+after.StackInuse-before.HeapInuse-before.StackInuse)/members/1024, "KiB/member")
	b.ReportMetric(float64(runtime.NumGoroutine())/members, "goroutines/member")
}

// A countedConn counts the writes to a connection.
type countedConn struct {
	net.Conn
	writes *atomic.Int64
}

func (c countedConn) Write(p []byte) (int, error) {
	c.writes.Add(1)
	return c.Conn.Write(p)
}

// Idle agents are many. gRPC would send a ping and its answer with every beat, if it were to size its windows itself.
func TestABeatIsOneWriteToTheConnection(t *testing.T) {
	h := newHub(t, quickly)
	var writes atomic.Int64
	a := h.newAgentWith(newFakeMember(), h.issue("eu", time.Hour), func(c *agentlink.Config) {
		dial := c.Dial
		c.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := dial(ctx, network, address)
			return countedConn{conn, &writes}, err
		}
	})
	eventually(t, "the agent is in", a.synchronised)
	beats := func() int64 { return int64(h.traffic()["heartbeat in"].messages) }
	const some = 40
	began, before := beats(), writes.Load()
	eventually(t, "the agent has beaten often", func() bool { return beats() >= began+some })
	beaten, written := beats()-began, writes.Load()-before
	// Now and then the connection has something of its own to say.
	if written > beaten*5/4 {
		t.Errorf("%d beats were %d writes", beaten, written)
	}
}
