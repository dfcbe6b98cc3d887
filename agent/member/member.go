// Package member is the member's API server as the agent's other packages see it: the clients, and
// the kinds that it serves.
package member

import (
	"fmt"

	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
)

// Clients talk to the member's API server over shared connections. They may be used concurrently.
type Clients struct {
	// Dynamic reads and writes any kind, as JSON.
	Dynamic dynamic.Interface
	// Core reads and writes what the agent needs for itself, as protobuf.
	Core *Core
	// Metadata reads the metadata of any kind, as protobuf.
	Metadata  metadata.Interface
	Discovery *Discovery
}

// Connect makes clients. It does not talk to the API server. The clients do not limit their own
// rate: the engine's workers do, and the API server's own fairness.
func Connect(config *rest.Config) (*Clients, error) {
	config = near(config)
	httpClient, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, fmt.Errorf("making a client for the member's API server: %w", err)
	}
	clients := &Clients{}
	if clients.Dynamic, err = newDynamic(config, httpClient); err != nil {
		return nil, err
	}
	if clients.Metadata, err = metadata.NewForConfigAndClient(config, httpClient); err != nil {
		return nil, fmt.Errorf("making a client for the member's API server: %w", err)
	}
	if clients.Discovery, err = newDiscovery(config, httpClient); err != nil {
		return nil, err
	}
	if clients.Core, err = newCore(config, httpClient); err != nil {
		return nil, err
	}
	return clients, nil
}

// near is a configuration for clients of an API server that is close: they do not limit their own rate, and ask for
// nothing compressed. An API server would compress each event of a watch by itself, and the agent reads many.
func near(config *rest.Config) *rest.Config {
	config = rest.CopyConfig(config)
	config.QPS, config.Burst = -1, 0
	config.DisableCompression = true
	return config
}
