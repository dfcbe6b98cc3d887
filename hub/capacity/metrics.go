package capacity

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics of all clusters together; nothing is counted by cluster, of which there may be thousands.
type metrics struct {
	gather    prometheus.Histogram
	answers   map[Source]prometheus.Counter
	questions *prometheus.CounterVec
}

func newMetrics(r prometheus.Registerer, assumptions func() float64) (*metrics, error) {
	answers := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "windlass_hub_capacity_answers_total", Help: "Clusters whose room a decision was told, by where the number comes from: Agent, Summary (sums of the cluster, because its agent did not answer) or Unknown.",
	}, []string{"source"})
	m := &metrics{
		gather: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "windlass_hub_capacity_gather_seconds", Help: "Time that a decision waited for the room in its clusters.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 2.5, 12),
		}),
		questions: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "windlass_hub_capacity_questions_total", Help: "Questions to agents about their room, by outcome: answered, late (after the timeout) or failed.",
		}, []string{"outcome"}),
		answers: map[Source]prometheus.Counter{},
	}
	for _, source := range []Source{FromAgent, FromSummary, Unknown} {
		m.answers[source] = answers.WithLabelValues(string(source))
	}
	if r == nil {
		return m, nil
	}
	return m, errors.Join(r.Register(m.gather), r.Register(answers), r.Register(m.questions), r.Register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "windlass_hub_capacity_assumptions", Help: "Placements whose replicas are taken off their clusters' room because they do not show there yet.",
	}, assumptions)))
}
