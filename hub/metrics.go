package hub

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"k8s.io/apimachinery/pkg/api/meta"
	controllerruntime "sigs.k8s.io/controller-runtime/pkg/metrics"

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

// controllerMetrics are what controller-runtime counts of the controllers: reconciles, their errors, and
// queues. They bear the hub's prefix, because the API server in this process has metrics of the same
// names. What is said there of the process as a whole, the API server says already.
func controllerMetrics() prometheus.Collector {
	registry := controllerruntime.Registry.(*prometheus.Registry)
	registry.Unregister(collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	registry.Unregister(collectors.NewGoCollector(collectors.WithGoCollectorRuntimeMetrics(collectors.MetricsAll)))
	return prometheus.WrapCollectorWithPrefix("windlass_hub_", registry)
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
