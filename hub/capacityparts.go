package hub

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"

	clusterv1alpha1 "windlass.dev/windlass/api/cluster/v1alpha1"
	linkv1 "windlass.dev/windlass/api/link/v1"
	workv1alpha1 "windlass.dev/windlass/api/work/v1alpha1"
	"windlass.dev/windlass/hub/capacity"
	"windlass.dev/windlass/hub/link"
	"windlass.dev/windlass/hub/roster"
	"windlass.dev/windlass/hub/store"
	"windlass.dev/windlass/pkg/render"
)

// makeCapacity makes what finds out for how many replicas there is room, and has it told of every cluster. Whoever
// decides about room asks h.capacity; the link, by which it asks the agents, is made later.
func (h *hub) makeCapacity() (err error) {
	h.agents = &linkAgents{roster: h.roster}
	h.capacity, err = capacity.New(capacity.Config{
		Agents:   h.agents,
		Clusters: &capacityStore{roster: h.roster, clusters: h.kinds.clusters, bindings: h.kinds.bindings, works: h.kinds.works},
		Timeout:  h.config.Capacity.Timeout.Duration, MaxAge: h.config.Capacity.MaxAge.Duration, AssumeFor: h.config.Capacity.AssumeFor.Duration,
		Registerer: h.metrics,
	})
	if err != nil {
		return err
	}
	_, err = h.kinds.clusters.Informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		UpdateFunc: func(old, new any) {
			h.capacity.ClusterChanged(old.(*clusterv1alpha1.MemberCluster), new.(*clusterv1alpha1.MemberCluster))
		},
		DeleteFunc: func(obj any) {
			if unknown, ok := obj.(cache.DeletedFinalStateUnknown); ok {
				obj = unknown.Obj
			}
			h.capacity.ClusterChanged(obj.(*clusterv1alpha1.MemberCluster), nil)
		},
	})
	return err
}

// linkAgents asks agents through the link.
type linkAgents struct {
	roster *roster.Roster
	link   *link.Server // written before anybody asks
}

// Connected implements capacity.Agents.
func (a *linkAgents) Connected(cluster string) bool { return a.roster.Latest(cluster).Connected }

// Ask implements capacity.Agents.
func (a *linkAgents) Ask(ctx context.Context, cluster, kind string, body []byte) (*linkv1.Answer, error) {
	return a.link.Ask(ctx, cluster, kind, body)
}

// capacityStore shows capacity what the store and the roster know.
type capacityStore struct {
	roster   *roster.Roster
	clusters store.Kind[*clusterv1alpha1.MemberCluster]
	bindings store.Bindings
	works    store.Works
}

// Summary implements capacity.Clusters. The roster may be a moment ahead of the store.
func (s *capacityStore) Summary(name string) (*clusterv1alpha1.ResourceSummary, time.Time) {
	cluster, ok := s.clusters.Get("", name)
	if !ok {
		return nil, time.Time{}
	}
	at := time.Time{}
	if facts := s.roster.Get(name, cluster.Spec.ID).Facts; facts != nil {
		at = facts.GetObservedAt().AsTime()
	}
	return cluster.Status.ResourceSummary, at
}

// Delivery implements capacity.Clusters.
func (s *capacityStore) Delivery(cluster string, key types.NamespacedName) (capacity.Delivery, bool) {
	binding, ok := s.bindings.Get(key)
	if !ok {
		return capacity.Delivery{}, false
	}
	template := store.TemplateKey(binding)
	name := render.WorkName(key.Name, template.Group, template.Kind, template.Namespace, template.Name)
	work, ok := s.works.Get(workv1alpha1.ExecutionNamespace(cluster), name)
	if !ok {
		return capacity.Delivery{}, true
	}
	delivery := capacity.Delivery{Generation: work.Generation, Suspended: work.Spec.SuspendDispatching != nil && *work.Spec.SuspendDispatching}
	if said := work.Status.ManifestStatuses; len(said) > 0 && said[0].Status != nil {
		delivery.Status = said[0].Status.Raw
	}
	if applied := work.Status.Delivery.Applied; applied != nil {
		delivery.Applied, delivery.AppliedAt = applied.Generation, applied.Time.Time
	}
	if healthy := work.Status.Delivery.Healthy; healthy != nil {
		delivery.Healthy, delivery.HealthyAt = healthy.Generation, healthy.Time.Time
	}
	return delivery, true
}

// Placements implements capacity.Clusters.
func (s *capacityStore) Placements(each func(capacity.Placement)) {
	for _, binding := range s.bindings.List() {
		if spec := binding.GetSpec(); spec.Replicas != nil && len(spec.Clusters) > 0 && binding.GetDeletionTimestamp() == nil {
			each(capacity.Placement{Binding: store.Key(binding), Needs: spec.ReplicaRequirements, Clusters: spec.Sent()})
		}
	}
}
