package cluster

import (
	"context"
	"fmt"
	"os"
	"strings"

	"sigs.k8s.io/kwok/kustomize/stage/node/fast"
	heartbeat "sigs.k8s.io/kwok/kustomize/stage/node/heartbeat-with-lease"
	podfast "sigs.k8s.io/kwok/kustomize/stage/pod/fast"
)

// Capacity is what one simulated node offers.
type Capacity struct{ CPU, Memory, Pods string }

// writeStages writes the rules by which kwok plays kubelet: nodes become ready and renew their
// leases, pods become ready, those of Jobs complete, deleted ones go.
func writeStages(path string) error {
	stages := strings.Join([]string{
		fast.DefaultNodeInit, heartbeat.DefaultNodeHeartbeatWithLease,
		podfast.DefaultPodReady, podfast.DefaultPodComplete, podfast.DefaultPodDelete,
	}, "\n---\n")
	return os.WriteFile(path, []byte(stages), 0o600)
}

func nodeName(cluster string, index int) string { return fmt.Sprintf("%s-node-%d", cluster, index+1) }

// AddNode adds a simulated node. It becomes ready by itself; labels are added to those every node has.
func (m *Member) AddNode(ctx context.Context, name string, capacity Capacity, labels map[string]string) error {
	all := map[string]string{
		"kubernetes.io/arch": "amd64", "kubernetes.io/os": "linux", "kubernetes.io/hostname": name, "type": "kwok",
	}
	for key, value := range labels {
		all[key] = value
	}
	resources := map[string]string{"cpu": capacity.CPU, "memory": capacity.Memory, "pods": capacity.Pods}
	node := map[string]any{
		"apiVersion": "v1", "kind": "Node",
		"metadata": map[string]any{
			"name": name, "labels": all,
			"annotations": map[string]string{"kwok.x-k8s.io/node": "fake", "node.alpha.kubernetes.io/ttl": "0"},
		},
		"status": map[string]any{"capacity": resources, "allocatable": resources},
	}
	if err := m.client.ensure(ctx, "/api/v1/nodes", node); err != nil { // it may be there since an earlier start
		return fmt.Errorf("adding the simulated node %s: %w", name, err)
	}
	return nil
}

// nodesReady fails while a node is not ready or not yet open to the scheduler.
func (m *Member) nodesReady(ctx context.Context) error {
	var list struct {
		Items []struct {
			Metadata struct{ Name string } `json:"metadata"`
			Spec     struct {
				Taints []struct{ Key, Effect string }
			} `json:"spec"`
			Status struct {
				Conditions []struct{ Type, Status string }
			} `json:"status"`
		} `json:"items"`
	}
	if err := m.client.Get(ctx, "/api/v1/nodes", &list); err != nil {
		return err
	}
	if len(list.Items) < m.config.Nodes {
		return fmt.Errorf("%d of %d nodes exist", len(list.Items), m.config.Nodes)
	}
	for _, node := range list.Items {
		ready := false
		for _, condition := range node.Status.Conditions {
			ready = ready || condition.Type == "Ready" && condition.Status == "True"
		}
		if !ready {
			return fmt.Errorf("node %s is not ready", node.Metadata.Name)
		}
		if len(node.Spec.Taints) > 0 {
			return fmt.Errorf("node %s still has the taint %s", node.Metadata.Name, node.Spec.Taints[0].Key)
		}
	}
	return nil
}
