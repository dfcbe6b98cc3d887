// Package member is the member's API server as the agent's other packages see it: the clients, and
// the kinds that it serves.
package member

import (
	"fmt"

	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
)

// Clients talk to the member's API server over shared connections. They may be used concurrently.
type Clients struct {
	// Dynamic reads and writes any kind, as JSON.
	Dynamic dynamic.Interface
	// Core reads and writes core/v1, as protobuf.
	Core corev1client.CoreV1Interface
	// Metadata reads the metadata of any kind, as protobuf.
	Metadata  metadata.Interface
	Discovery *discovery.DiscoveryClient
}

// Connect makes clients. It does not talk to the API server. The clients do not limit their own
// rate: the engine's workers do, and the API server's own fairness.
func Connect(config *rest.Config) (*Clients, error) {
	config = rest.CopyConfig(config)
	config.QPS, config.Burst = -1, 0
	httpClient, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, fmt.Errorf("making a client for the member's API server: %w", err)
	}
	clients := &Clients{}
	if clients.Dynamic, err = dynamic.NewForConfigAndClient(config, httpClient); err != nil {
		return nil, fmt.Errorf("making a client for the member's API server: %w", err)
	}
	if clients.Metadata, err = metadata.NewForConfigAndClient(config, httpClient); err != nil {
		return nil, fmt.Errorf("making a client for the member's API server: %w", err)
	}
	if clients.Discovery, err = discovery.NewDiscoveryClientForConfigAndClient(config, httpClient); err != nil {
		return nil, fmt.Errorf("making a client for the member's API server: %w", err)
	}
	protobuf := rest.CopyConfig(config)
	protobuf.ContentType = "application/vnd.kubernetes.protobuf"
	protobuf.AcceptContentTypes = "application/vnd.kubernetes.protobuf,application/json"
	if clients.Core, err = corev1client.NewForConfigAndClient(protobuf, httpClient); err != nil {
		return nil, fmt.Errorf("making a client for the member's API server: %w", err)
	}
	return clients, nil
}
