package enroll

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// Results beside the codes of refusals and the events' reasons.
const (
	resultEnrolled = "Enrolled"
	resultRejoined = "Rejoined"
	resultRenewed  = "Renewed"
	resultError    = "Error"
)

type metrics struct {
	enrolments     *prometheus.CounterVec
	renewals       *prometheus.CounterVec
	authentication *prometheus.CounterVec
}

func newMetrics(registerer prometheus.Registerer) (metrics, error) {
	m := metrics{
		enrolments: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "windlass_hub_enrolments_total",
			Help: "Requests of agents to enrol, by result: Enrolled, Rejoined, Error, or why they were refused.",
		}, []string{"result"}),
		renewals: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "windlass_hub_certificate_renewals_total",
			Help: "Requests of agents to renew their certificate, by result: Renewed, Error, or why they were refused.",
		}, []string{"result"}),
		authentication: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "windlass_hub_agent_refusals_total",
			Help: "Connections of agents whose certificate was refused, by reason.",
		}, []string{"reason"}),
	}
	if registerer == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.enrolments, m.renewals, m.authentication} {
		if err := registerer.Register(c); err != nil {
			return m, fmt.Errorf("registering the metrics of enrolment: %w", err)
		}
	}
	return m, nil
}
