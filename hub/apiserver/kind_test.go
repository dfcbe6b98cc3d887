package apiserver

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	clusterv1alpha1 "windlass.dev/windlass/api/cluster/v1alpha1"
)

func TestTheReadyColumnSaysThatTheConnectionIsLost(t *testing.T) {
	for _, c := range []struct {
		reason     string
		conditions []metav1.Condition
		want       string
	}{
		{"nothing is known yet", nil, ""},
		{"it is connected", []metav1.Condition{{Type: clusterv1alpha1.ClusterReady, Status: metav1.ConditionTrue, Reason: "AgentConnected"}}, "True"},
		{"it may come back in time", []metav1.Condition{{Type: clusterv1alpha1.ClusterReady, Status: metav1.ConditionTrue, Reason: clusterv1alpha1.ReadyConnectionLost}}, "True,Lost"},
		{"it is away", []metav1.Condition{{Type: clusterv1alpha1.ClusterReady, Status: metav1.ConditionUnknown, Reason: "AgentNotConnected"}}, "Unknown"},
	} {
		if got := clusterReady(c.conditions); got != c.want {
			t.Errorf("%s: it says %q, want %q", c.reason, got, c.want)
		}
	}
}
