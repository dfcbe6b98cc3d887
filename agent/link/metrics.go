package link

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
	linkv1 "windlass.dev/windlass/api/link/v1"
	"windlass.dev/windlass/pkg/session"
)

type metrics struct {
	connected      prometheus.Gauge
	attempts       *prometheus.CounterVec
	sent, received *prometheus.CounterVec
	unknown        prometheus.Counter
}

func newMetrics(r prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		connected: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "windlass_agent_link_connected", Help: "1 while the hub has let this agent in, 0 otherwise.",
		}),
		attempts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "windlass_agent_link_attempts_total", Help: "Attempts to converse with the hub, by how they ended.",
		}, []string{"result"}),
		sent: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "windlass_agent_link_sent_messages_total", Help: "Messages sent to the hub, by family.",
		}, []string{"family"}),
		received: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "windlass_agent_link_received_messages_total", Help: "Messages received from the hub, by family.",
		}, []string{"family"}),
		unknown: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "windlass_agent_link_unknown_messages_total", Help: "Messages that this version has no word for; they were ignored.",
		}),
	}
	if r == nil {
		return m, nil
	}
	return m, errors.Join(r.Register(m.connected), r.Register(m.attempts), r.Register(m.sent), r.Register(m.received), r.Register(m.unknown))
}

func isNotHeld(err error) bool { return errors.Is(err, session.ErrNotHeld) }

func familyFromHub(m *linkv1.FromHub) string {
	switch m.GetMessage().(type) {
	case *linkv1.FromHub_Welcome, *linkv1.FromHub_Goodbye:
		return "session"
	case *linkv1.FromHub_Heartbeat:
		return "heartbeat"
	case *linkv1.FromHub_Works:
		return "works"
	case *linkv1.FromHub_Reports:
		return "reports"
	case *linkv1.FromHub_Question:
		return "questions"
	case *linkv1.FromHub_Renewal:
		return "renewal"
	case *linkv1.FromHub_Brake:
		return "brake"
	}
	return "unknown"
}

func familyFromAgent(m *linkv1.FromAgent) string {
	switch m.GetMessage().(type) {
	case *linkv1.FromAgent_Hello, *linkv1.FromAgent_Goodbye:
		return "session"
	case *linkv1.FromAgent_Heartbeat:
		return "heartbeat"
	case *linkv1.FromAgent_Works:
		return "works"
	case *linkv1.FromAgent_Reports:
		return "reports"
	case *linkv1.FromAgent_Facts:
		return "facts"
	case *linkv1.FromAgent_Answer, *linkv1.FromAgent_Capacity:
		return "questions"
	case *linkv1.FromAgent_Renewal:
		return "renewal"
	case *linkv1.FromAgent_Brake:
		return "brake"
	}
	return "unknown"
}
