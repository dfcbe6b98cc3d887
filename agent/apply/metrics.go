package apply

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	applied     prometheus.Counter
	corrections prometheus.Counter
	failures    *prometheus.CounterVec
	handled     prometheus.Histogram
}

// newMetrics registers the metrics; registry may be nil.
func newMetrics(registry prometheus.Registerer, waiting func() int) metrics {
	m := metrics{
		applied: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "windlass_agent_applied_total", Help: "Objects applied in the member, changed by it or not.",
		}),
		corrections: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "windlass_agent_drift_corrections_total", Help: "Objects that were changed in the member and put right.",
		}),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "windlass_agent_apply_failures_total", Help: "Attempts to apply an object that failed, by reason.",
		}, []string{"reason"}),
		handled: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "windlass_agent_handle_seconds", Help: "How long it takes to handle one work, in seconds.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 14),
		}),
	}
	if registry != nil {
		registry.MustRegister(m.applied, m.corrections, m.failures, m.handled, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "windlass_agent_queue_length", Help: "Works that wait to be handled.",
		}, func() float64 { return float64(waiting()) }))
	}
	return m
}
