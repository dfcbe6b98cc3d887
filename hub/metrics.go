package hub

import (
	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/api/meta"

	clusterv1alpha1 "windlass.dev/windlass/api/cluster/v1alpha1"
	"windlass.dev/windlass/hub/roster"
)

// newMetrics counts what the hub holds, from its caches.
func newMetrics(k *kinds, members *roster.Roster) []prometheus.Collector {
	gauge := func(name, help string, value func() int) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "windlass", Subsystem: "hub", Name: name, Help: help},
			func() float64 { return float64(value()) })
	}
	return []prometheus.Collector{
		gauge("clusters", "Member clusters that the hub knows.", func() int { return len(k.clusters.Informer.GetStore().ListKeys()) }),
		gauge("clusters_ready", "Member clusters whose condition Ready is True.", func() int { return readyClusters(k) }),
		gauge("clusters_connected", "Member clusters whose agent has a session with this process.", members.ConnectedCount),
		gauge("deletions_held", "Deletions in member clusters that wait for a person to confirm them, as far as this process knows.", members.HeldCount),
		gauge("policies", "Propagation policies of both scopes.", func() int { return len(k.policies.List()) }),
		gauge("bindings", "Bindings of both scopes.", func() int { return len(k.bindings.List()) }),
		gauge("works", "Works of all clusters.", func() int { return len(k.works.Informer.GetStore().ListKeys()) }),
	}
}

func readyClusters(k *kinds) int {
	ready := 0
	for _, cluster := range k.clusters.List() {
		if meta.IsStatusConditionTrue(cluster.Status.Conditions, clusterv1alpha1.ClusterReady) {
			ready++
		}
	}
	return ready
}
