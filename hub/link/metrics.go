package link

import (
	"errors"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/proto"
	linkv1 "windlass.dev/windlass/api/link/v1"
)

const (
	directionIn  = "in"
	directionOut = "out"
)

// metrics of all sessions together; nothing is counted by member, of which there may be thousands.
type metrics struct {
	messages, bytes *prometheus.CounterVec
	sessions        *prometheus.GaugeVec
	ended           *prometheus.CounterVec
	unknown         prometheus.Counter
	reportSeconds   prometheus.Histogram
}

func newMetrics(r prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		messages: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "windlass_hub_link_messages_total", Help: "Messages of the link by family and direction (in: from agents).",
		}, []string{"family", "direction"}),
		bytes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "windlass_hub_link_bytes_total", Help: "Bytes of the link's messages by family and direction (in: from agents), before TLS.",
		}, []string{"family", "direction"}),
		sessions: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "windlass_hub_link_sessions", Help: "Sessions by the state they stand in.",
		}, []string{"state"}),
		ended: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "windlass_hub_link_sessions_ended_total", Help: "Sessions that ended with a goodbye, by its reason.",
		}, []string{"reason"}),
		unknown: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "windlass_hub_link_unknown_messages_total", Help: "Messages that this version has no word for; they were ignored.",
		}),
		reportSeconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "windlass_hub_link_report_seconds", Help: "Time from a report's arrival until it is in the store.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 16),
		}),
	}
	if r == nil {
		return m, nil
	}
	return m, errors.Join(r.Register(m.messages), r.Register(m.bytes), r.Register(m.sessions), r.Register(m.ended),
		r.Register(m.unknown), r.Register(m.reportSeconds))
}

func (m *metrics) count(family, direction string, message proto.Message) {
	m.bytes.WithLabelValues(family, direction).Add(float64(proto.Size(message))) // first: whoever sees the message counted sees its bytes, too
	m.messages.WithLabelValues(family, direction).Inc()
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

func reasonLabel(r linkv1.GoodbyeReason) string {
	return strings.ToLower(strings.TrimPrefix(r.String(), "GOODBYE_REASON_"))
}
