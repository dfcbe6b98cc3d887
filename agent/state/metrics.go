package state

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	commits  prometheus.Counter
	flushes  prometheus.Counter
	failures prometheus.Counter
	lost     prometheus.Counter
}

// newMetrics registers the metrics; registry may be nil.
func newMetrics(registry prometheus.Registerer, held, unsaved func() float64) metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "windlass_agent_state_" + name, Help: help})
	}
	m := metrics{
		commits:  counter("commits_total", "Writes of the journal of desired state. Changes at the same time share one."),
		flushes:  counter("shard_writes_total", "Writes of shards of desired state."),
		failures: counter("write_failures_total", "Writes of desired state that failed and were tried again."),
		lost:     counter("lost_parts_total", "Parts of the desired state that were missing or corrupt at the start."),
	}
	if registry != nil {
		registry.MustRegister(m.commits, m.flushes, m.failures, m.lost, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "windlass_agent_works", Help: "Works that the agent holds.",
		}, held), prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "windlass_agent_state_unsaved_changes", Help: "Changes whose manifests are not written yet: after a crash the hub is asked for them.",
		}, unsaved))
	}
	return m
}
