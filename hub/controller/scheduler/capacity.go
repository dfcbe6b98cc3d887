package scheduler

import (
	"sync"

	clusterv1alpha1 "windlass.dev/windlass/api/cluster/v1alpha1"
	workv1alpha1 "windlass.dev/windlass/api/work/v1alpha1"
	"windlass.dev/windlass/pkg/schedule"
)

// Capacities tells how much room clusters have. It is asked about every cluster for a decision, and must not block.
type Capacities interface {
	// Available says for how many replicas more, with what one of them needs, a cluster has room; nil needs nothing
	// in particular. known is false while that is not known of the cluster.
	Available(cluster string, needs *workv1alpha1.ReplicaRequirements) (replicas int32, known bool)
}

// available asks about all clusters of a fleet.
func (r *Reconciler) available(fleet *schedule.Fleet, needs *workv1alpha1.ReplicaRequirements) []int32 {
	var capacities Capacities = &r.spare
	if r.Capacities != nil {
		capacities = r.Capacities
	}
	available := make([]int32, fleet.Len())
	for i, cluster := range fleet.Clusters() {
		available[i] = schedule.CapacityUnknown
		if replicas, known := capacities.Available(cluster.Name(), needs); known {
			available[i] = replicas
		}
	}
	return available
}

// spare tells capacities by what is spare of each cluster's resources as a whole. What a replica asks of nodes is not
// looked at.
type spare struct {
	mu       sync.RWMutex
	clusters map[string]schedule.Spare
}

func (s *spare) put(cluster *clusterv1alpha1.MemberCluster) {
	compiled := schedule.CompileSpare(cluster.Status.ResourceSummary)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.clusters == nil {
		s.clusters = map[string]schedule.Spare{}
	}
	s.clusters[cluster.Name] = compiled
}

func (s *spare) delete(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.clusters, name)
}

// Available implements Capacities.
func (s *spare) Available(cluster string, needs *workv1alpha1.ReplicaRequirements) (int32, bool) {
	s.mu.RLock()
	spare := s.clusters[cluster]
	s.mu.RUnlock()
	if spare == nil {
		return 0, false
	}
	if needs == nil {
		return spare.For(nil), true
	}
	return spare.For(needs.ResourceRequest), true
}
