package member

import (
	"context"
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	apidiscovery "k8s.io/api/apidiscovery/v2"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/version"
	"k8s.io/client-go/rest"
)

// Discovery asks the member's API server about itself. It may be used concurrently.
type Discovery struct {
	client rest.Interface
}

// discoveryLimit is how long one round of questions may take.
const discoveryLimit = 30 * time.Second

// acceptAggregated asks for all groups of a path in one answer; an older API server answers with their names only.
const acceptAggregated = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json"

func newDiscovery(config *rest.Config, client *http.Client) (*Discovery, error) {
	config = rest.CopyConfig(config)
	config.NegotiatedSerializer = codecs.WithoutConversion()
	unversioned, err := rest.UnversionedRESTClientForConfigAndClient(config, client)
	if err != nil {
		return nil, fmt.Errorf("making a client for the discovery of the member's API server: %w", err)
	}
	return &Discovery{client: unversioned}, nil
}

// Ready says what the API server lacks to be ready; nil when it is.
func (d *Discovery) Ready(ctx context.Context) error {
	_, err := d.client.Get().AbsPath("/readyz").DoRaw(ctx)
	return err
}

// Version is that of the API server.
func (d *Discovery) Version(ctx context.Context) (string, error) {
	var answer version.Info
	err := d.read(ctx, "/version", &answer)
	return answer.GitVersion, err
}

// Served are the kinds that can be read, and why nothing is known of some versions of groups. An error means that
// nothing was learned at all.
func (d *Discovery) Served(ctx context.Context) (served map[schema.GroupVersionKind]Resource, unknown map[schema.GroupVersion]error, err error) {
	ctx, cancel := context.WithTimeout(ctx, discoveryLimit)
	defer cancel()
	f := &found{served: map[schema.GroupVersionKind]Resource{}, unknown: map[schema.GroupVersion]error{}}
	if err := d.core(ctx, f); err != nil {
		return nil, nil, err
	}
	if err := d.groups(ctx, f); err != nil {
		return nil, nil, err
	}
	return f.served, f.unknown, nil
}

// core asks for the group without a name.
func (d *Discovery) core(ctx context.Context, f *found) error {
	raw, whole, err := d.aggregated(ctx, "/api")
	if apierrors.IsNotFound(err) {
		return nil // an API server may have none
	}
	if err != nil {
		return err
	}
	if whole {
		return f.addAggregated(raw)
	}
	var answer metav1.APIVersions
	if err := json.Unmarshal(raw, &answer); err != nil {
		return fmt.Errorf("reading /api: %w", err)
	}
	var versions []schema.GroupVersion
	for _, name := range answer.Versions {
		versions = append(versions, schema.GroupVersion{Version: name})
	}
	d.each(ctx, f, versions)
	return nil
}

// groups asks for all others.
func (d *Discovery) groups(ctx context.Context, f *found) error {
	raw, whole, err := d.aggregated(ctx, "/apis")
	if err != nil {
		return err
	}
	if whole {
		return f.addAggregated(raw)
	}
	var answer metav1.APIGroupList
	if err := json.Unmarshal(raw, &answer); err != nil {
		return fmt.Errorf("reading /apis: %w", err)
	}
	var versions []schema.GroupVersion
	for _, group := range answer.Groups {
		for _, one := range group.Versions {
			versions = append(versions, schema.GroupVersion{Group: group.Name, Version: one.Version})
		}
	}
	d.each(ctx, f, versions)
	return nil
}

// each asks for versions one by one, all at the same time, for what serves one of them may be slow or down.
func (d *Discovery) each(ctx context.Context, f *found, versions []schema.GroupVersion) {
	var questions sync.WaitGroup
	for _, one := range versions {
		questions.Go(func() {
			var list metav1.APIResourceList
			if err := d.read(ctx, apiPath(one), &list); err != nil {
				f.fail(one, err)
				return
			}
			for _, r := range list.APIResources {
				f.add(one, r.Name, r.Kind, r.Namespaced, r.Verbs)
			}
		})
	}
	questions.Wait()
}

// aggregated reads a path; whole says whether the answer tells everything or names groups only.
func (d *Discovery) aggregated(ctx context.Context, path string) (raw []byte, whole bool, err error) {
	var contentType string
	raw, err = d.client.Get().AbsPath(path).SetHeader("Accept", acceptAggregated).Do(ctx).ContentType(&contentType).Raw()
	if err != nil {
		return nil, false, fmt.Errorf("reading %s: %w", path, err)
	}
	_, parameters, err := mime.ParseMediaType(contentType)
	return raw, err == nil && parameters["g"] == apidiscovery.GroupName && parameters["as"] == "APIGroupDiscoveryList", nil
}

func (d *Discovery) read(ctx context.Context, path string, into any) error {
	raw, err := d.client.Get().AbsPath(path).SetHeader("Accept", runtime.ContentTypeJSON).DoRaw(ctx)
	if err == nil {
		err = json.Unmarshal(raw, into)
	}
	if err != nil {
		return fmt.Errorf("reading %s: %w", path, err)
	}
	return nil
}

// apiPath is where a version of a group is served.
func apiPath(of schema.GroupVersion) string {
	if of.Group == "" {
		return "/api/" + of.Version
	}
	return "/apis/" + of.String()
}

// Document is what the API server says of the fields of a version's kinds, as OpenAPI v3; nil when it says nothing.
func (d *Discovery) Document(ctx context.Context, of schema.GroupVersion) ([]byte, error) {
	var index struct {
		Paths map[string]struct {
			ServerRelativeURL string `json:"serverRelativeURL"`
		} `json:"paths"`
	}
	if err := d.read(ctx, "/openapi/v3", &index); err != nil {
		return nil, err
	}
	entry, there := index.Paths[apiPath(of)[1:]]
	if !there {
		return nil, nil
	}
	raw, err := d.client.Get().RequestURI(entry.ServerRelativeURL).SetHeader("Accept", runtime.ContentTypeJSON).DoRaw(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", entry.ServerRelativeURL, err)
	}
	return raw, nil
}

// found is what discovery has told so far. Its methods may be called concurrently.
type found struct {
	mu      sync.Mutex
	served  map[schema.GroupVersionKind]Resource
	unknown map[schema.GroupVersion]error
}

func (f *found) fail(of schema.GroupVersion, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.unknown[of] = err
}

// add takes in a resource of a version. What can't be read, and parts of objects, are nothing that can be applied.
func (f *found) add(of schema.GroupVersion, name, kind string, namespaced bool, verbs []string) {
	if strings.Contains(name, "/") || !slices.Contains(verbs, "get") {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.served[of.WithKind(kind)] = Resource{
		GroupVersionResource: of.WithResource(name), Namespaced: namespaced,
		Own: slices.Contains(verbs, "list") && slices.Contains(verbs, "delete"),
	}
}

// addAggregated takes in an answer that tells everything. Of a version whose server does not answer it says only that.
func (f *found) addAggregated(raw []byte) error {
	var answer apidiscovery.APIGroupDiscoveryList
	if err := json.Unmarshal(raw, &answer); err != nil {
		return fmt.Errorf("reading the member's discovery: %w", err)
	}
	for _, group := range answer.Items {
		for _, one := range group.Versions {
			of := schema.GroupVersion{Group: group.Name, Version: one.Version}
			if one.Freshness == apidiscovery.DiscoveryFreshnessStale {
				f.fail(of, fmt.Errorf("what is known of %s is out of date", of))
				continue
			}
			for _, r := range one.Resources {
				if r.ResponseKind != nil && r.ResponseKind.Kind != "" {
					f.add(of, r.Resource, r.ResponseKind.Kind, r.Scope == apidiscovery.ScopeNamespace, r.Verbs)
				}
			}
		}
	}
	return nil
}
