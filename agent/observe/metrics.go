package observe

import "github.com/prometheus/client_golang/prometheus"

// registerMetrics registers the metrics; registry may be nil.
func registerMetrics(registry prometheus.Registerer, o *Observer) {
	if registry != nil {
		gauge := func(name, help string, value func() int) prometheus.Collector {
			return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "windlass_agent_" + name, Help: help}, func() float64 {
				o.mu.Lock()
				defer o.mu.Unlock()
				return float64(value())
			})
		}
		registry.MustRegister(
			gauge("watched_objects", "Objects in the member that the agent watches.", func() int { return len(o.objects) }),
			gauge("watched_kinds", "Kinds of which the agent watches objects.", func() int { return len(o.watches) }),
			gauge("dirty_reports", "Works whose report may have changed and was not taken yet.", func() int { return len(o.dirty.order) }),
		)
	}
}
