package main

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"windlass.dev/windlass/hack/cluster"
)

// A meter reads what a hub has spent.
type meter struct {
	process func() *cluster.Process
	raw     rest.Interface
	dynamic dynamic.Interface
}

// newMeter reads a hub whose process may be another one later.
func newMeter(config *rest.Config, process func() *cluster.Process) (*meter, error) {
	discoverer, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return nil, err
	}
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	return &meter{process: process, raw: discoverer.RESTClient(), dynamic: client}, nil
}

// A reading is what a hub has spent since it started. What taking a reading costs is in none of two that follow each other:
// of the one that begins the processor time is read last, of the one that ends it is read first.
type reading struct {
	at       time.Time
	cpu      time.Duration
	resident uint64 // bytes, without the pages of the program itself
	revision int64  // of the store: how many changes it has had
	counters counters
}

// counters are the counters of /metrics, by their names with labels.
type counters map[string]float64

// begin reads before something is measured, end after it.
func (m *meter) begin(ctx context.Context) (r reading, err error) {
	if err = m.readCounts(ctx, &r); err != nil {
		return r, err
	}
	return r, m.readProcess(&r)
}

func (m *meter) end(ctx context.Context) (r reading, err error) {
	if err = m.readProcess(&r); err != nil {
		return r, err
	}
	return r, m.readCounts(ctx, &r)
}

// collected reads right after the hub has collected its garbage. What pools hold goes with the second time.
func (m *meter) collected(ctx context.Context) (r reading, err error) {
	for range 2 {
		if _, err := m.raw.Get().AbsPath("/debug/pprof/heap").Param("gc", "1").DoRaw(ctx); err != nil {
			return r, fmt.Errorf("having the hub collect its garbage: %w", err)
		}
	}
	return r, m.readCounts(ctx, &r)
}

func (m *meter) readProcess(r *reading) error {
	process := m.process()
	total, shared, err := process.ResidentBytes()
	if err != nil {
		return err
	}
	r.resident = total - shared
	r.cpu, err = processorTime(process.PID)
	r.at = time.Now()
	return err
}

func (m *meter) readCounts(ctx context.Context, r *reading) error {
	list, err := m.dynamic.Resource(namespaces).List(ctx, metav1.ListOptions{Limit: 1})
	if err != nil {
		return fmt.Errorf("reading the revision of the hub's store: %w", err)
	}
	if r.revision, err = strconv.ParseInt(list.GetResourceVersion(), 10, 64); err != nil {
		return fmt.Errorf("reading the revision of the hub's store: %w", err)
	}
	text, err := m.raw.Get().AbsPath("/metrics").DoRaw(ctx)
	if err != nil {
		return fmt.Errorf("reading the hub's metrics: %w", err)
	}
	r.counters = parseCounters(string(text))
	return nil
}

// counted are the metrics that anything is said about.
var counted = regexp.MustCompile(`(?m)^((?:etcd_request_duration_seconds_count|windlass_[a-z_]+|go_memstats_(?:mallocs_total|alloc_bytes_total|heap_inuse_bytes|stack_inuse_bytes)|go_goroutines)(?:\{.*\})?) ([0-9.e+]+)$`)

func parseCounters(text string) counters {
	all := counters{}
	for _, match := range counted.FindAllStringSubmatch(text, -1) {
		if value, err := strconv.ParseFloat(match[2], 64); err == nil {
			all[match[1]] += value
		}
	}
	return all
}

// sum adds up the counters whose whole name, with its labels, is of the pattern.
func (c counters) sum(pattern string) float64 {
	whole, total := regexp.MustCompile("^(?:"+pattern+")$"), 0.0
	for name, value := range c {
		if whole.MatchString(name) {
			total += value
		}
	}
	return total
}

// A spending is the difference of two readings.
type spending struct {
	took time.Duration
	cpu  time.Duration
	// changes are those of the store, deletions too; as every one is a transaction of its own, each is waited for.
	changes  float64
	counters counters
}

func (r reading) since(before reading) spending {
	spent := spending{took: r.at.Sub(before.at), cpu: r.cpu - before.cpu, changes: float64(r.revision - before.revision), counters: counters{}}
	for name, value := range r.counters {
		spent.counters[name] = value - before.counters[name]
	}
	return spent
}

// unleased are the changes without those of leases, which are renewed by time.
func (s spending) unleased() float64 { return s.changes - s.writes("leases") }

// writes are the attempts to change the store about a resource, such as "propagationworks"; all when it is empty.
func (s spending) writes(resource string) float64 {
	if resource == "" {
		resource = ".*"
	}
	return s.counters.sum(`etcd_request_duration_seconds_count\{.*operation="(create|update|delete)",resource="` + resource + `"\}`)
}

var writtenAbout = regexp.MustCompile(`^etcd_request_duration_seconds_count\{.*operation="(.*)",resource="(.*)"\}$`)

// byResource are the attempts of these operations by what they were about, such as "propagationworks".
func (s spending) byResource(operations ...string) map[string]float64 {
	all := map[string]float64{}
	for name, value := range s.counters {
		if match := writtenAbout.FindStringSubmatch(name); match != nil && slices.Contains(operations, match[1]) {
			all[match[2]] += value
		}
	}
	return all
}

// messages and linkBytes are of the link, "in" from agents or "out" to them, of the families that are named or of all.
func (s spending) messages(direction string, families ...string) float64 {
	return s.counters.sum(linkSeries("messages", direction, families))
}

func (s spending) linkBytes(direction string, families ...string) float64 {
	return s.counters.sum(linkSeries("bytes", direction, families))
}

func linkSeries(what, direction string, families []string) string {
	family := ".*"
	if len(families) > 0 {
		family = "(" + strings.Join(families, "|") + ")"
	}
	return fmt.Sprintf(`windlass_hub_link_%s_total\{direction="%s",family="%s"\}`, what, direction, family)
}

// allocations are those of the hub's whole process.
func (s spending) allocations() float64 { return s.counters.sum("go_memstats_mallocs_total") }
