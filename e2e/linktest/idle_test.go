package linktest

import (
	"fmt"
	"runtime"
	"testing"
	"time"
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
