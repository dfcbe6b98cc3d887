package member

import (
	"fmt"
	"net/http"

	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"windlass.dev/windlass/pkg/decode"
)

// newDynamic makes client-go's dynamic client with decoders that read an object once. Events are most of what an agent
// reads, and of all of them it keeps a few fields.
func newDynamic(config *rest.Config, client *http.Client) (dynamic.Interface, error) {
	config = dynamic.ConfigFor(config)
	config.GroupVersion = nil
	config.APIPath = "/unused" // every request has its own
	config.NegotiatedSerializer = decode.Once(config.NegotiatedSerializer)
	unversioned, err := rest.UnversionedRESTClientForConfigAndClient(config, client)
	if err != nil {
		return nil, fmt.Errorf("making a client for objects of the member's API server: %w", err)
	}
	return dynamic.New(unversioned), nil
}
