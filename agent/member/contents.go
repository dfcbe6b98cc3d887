package member

import (
	"context"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"windlass.dev/windlass/pkg/manifest"
)

// contentsPage is how many objects are read at once.
const contentsPage = 500

// See is told of an object, and says whether it wants to see more.
type See func(id manifest.ID, object *metav1.PartialObjectMetadata) (more bool)

// passing are kinds whose objects are made and deleted for others by themselves.
var passing = map[schema.GroupKind]bool{{Kind: "Event"}: true, {Group: "events.k8s.io", Kind: "Event"}: true, {Kind: "Endpoints"}: true}

// EachIn shows all objects in a namespace that go with it, but for those of passing kinds, one after the other, whoever made them. The error says what could not be
// listed: then there may be more than was shown.
func (c *Clients) EachIn(ctx context.Context, namespace string, see See) error {
	kinds, err := c.holdable(ctx)
	if err != nil {
		return err
	}
	seen, more := map[types.UID]bool{}, true // one object may be served by several groups
	once := func(id manifest.ID, object *metav1.PartialObjectMetadata) bool {
		if !seen[object.UID] {
			seen[object.UID] = true
			more = see(id, object)
		}
		return more
	}
	for _, kind := range kinds {
		if err := c.EachOf(ctx, kind.resource, kind.name, namespace, once); err != nil || !more {
			return err
		}
	}
	return nil
}

// A holdable is a kind whose objects are in namespaces and go with them, in one of the versions that it is served in.
type holdable struct {
	resource schema.GroupVersionResource
	name     string
}

// holdable lists the kinds of which a namespace may hold objects. It fails when the member does not tell all that it serves.
func (c *Clients) holdable(ctx context.Context) ([]holdable, error) {
	served, unknown, err := c.Discovery.Served(ctx)
	if err != nil {
		return nil, fmt.Errorf("asking the member which kinds it serves: %w", err)
	}
	for version, err := range unknown {
		return nil, fmt.Errorf("asking the member which kinds of %s it serves: %w", version, err)
	}
	known, kinds := map[schema.GroupResource]bool{}, []holdable(nil)
	for kind, r := range served {
		if !r.Namespaced || !r.Own || passing[kind.GroupKind()] || known[r.GroupResource()] {
			continue
		}
		known[r.GroupResource()] = true
		kinds = append(kinds, holdable{r.GroupVersionResource, kind.Kind})
	}
	return kinds, nil
}

// EachOf shows all objects of a kind, in one namespace or, if that is empty, in all.
func (c *Clients) EachOf(ctx context.Context, resource schema.GroupVersionResource, kind, namespace string, see See) error {
	options := metav1.ListOptions{Limit: contentsPage}
	for {
		page, err := c.Metadata.Resource(resource).Namespace(namespace).List(ctx, options)
		if err != nil {
			return fmt.Errorf("listing %s: %w", resource.GroupResource(), err)
		}
		for i := range page.Items {
			object := &page.Items[i]
			id := manifest.ID{Group: resource.Group, Kind: kind, Namespace: object.Namespace, Name: object.Name}
			if !see(id, object) {
				return nil
			}
		}
		if options.Continue = page.Continue; options.Continue == "" {
			return nil
		}
	}
}
