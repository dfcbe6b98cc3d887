package templates

import (
	"context"
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
)

// ErrUnproven says that the API server did not answer whether an object exists.
var ErrUnproven = errors.New("the kind is not served at present")

// Deleted says whether the API server has told that the object with a UID was deleted. False says nothing: then Live finds out.
func (w *Watcher) Deleted(uid types.UID) bool { return w.deletions.has(uid) }

// Live reads a template from the API server, past the cache. It returns nil without an error only
// when it is proven that the object does not exist: the server says so itself, or nothing defines the
// object's kind any more. Nothing else may be taken as a deletion; then the error is ErrUnproven or
// that of the request.
func (w *Watcher) Live(ctx context.Context, key Key) (*unstructured.Unstructured, error) {
	// What exists in one version exists in all of them.
	for _, versions := range [][]string{{key.Version}, nil} {
		client, err := w.clientOf(key, versions...)
		if err != nil {
			continue
		}
		obj, err := client.Get(ctx, key.Name, metav1.GetOptions{})
		switch {
		case err == nil:
			return obj, nil
		case apierrors.IsNotFound(err) && apierrors.HasStatusCause(err, metav1.CauseTypeUnexpectedServerResponse):
			continue // the path is not served; what is known of the server is out of date
		case apierrors.IsNotFound(err):
			return nil, nil
		}
		return nil, fmt.Errorf("looking for %s: %w", key, err)
	}
	defined, err := w.mayBeDefined(ctx, key.GroupKind())
	if err != nil {
		return nil, fmt.Errorf("finding out whether anything defines kind %s: %w", key.Kind, err)
	}
	if defined {
		return nil, fmt.Errorf("looking for %s: %w", key, ErrUnproven)
	}
	return nil, nil
}

// At reads a template from the API server as it was at a resource version of the past; nil when it was not there then. Of
// what is more than some minutes ago the server knows nothing: IsResourceExpired is true of the error.
func (w *Watcher) At(ctx context.Context, key Key, resourceVersion string) (*unstructured.Unstructured, error) {
	client, err := w.client(key)
	if err != nil {
		return nil, err
	}
	list, err := client.List(ctx, metav1.ListOptions{
		FieldSelector:   fields.OneTermEqualSelector(metav1.ObjectNameField, key.Name).String(),
		ResourceVersion: resourceVersion, ResourceVersionMatch: metav1.ResourceVersionMatchExact,
	})
	if err != nil || len(list.Items) == 0 {
		return nil, err
	}
	return &list.Items[0], nil
}

var (
	customResourceDefinitions = schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}
	apiServices               = schema.GroupVersionResource{Group: "apiregistration.k8s.io", Version: "v1", Resource: "apiservices"}
)

// mayBeDefined says whether the objects of a kind may still be somewhere although it is not served. A
// kind comes from a CustomResourceDefinition, with whose end its objects end, or from a server of which
// an APIService tells: one of somebody else's, or this one itself, which has its own kinds even when
// its discovery does not list them yet.
func (w *Watcher) mayBeDefined(ctx context.Context, kind schema.GroupKind) (bool, error) {
	custom, err := w.customVersions(ctx, kind)
	if err != nil || custom == nil {
		return true, err
	}
	services, err := w.config.Dynamic.Resource(apiServices).List(ctx, metav1.ListOptions{})
	if err != nil {
		return true, err
	}
	for _, service := range services.Items {
		group, _, _ := unstructured.NestedString(service.Object, "spec", "group")
		if group != kind.Group {
			continue
		}
		version, _, _ := unstructured.NestedString(service.Object, "spec", "version")
		backend, _, _ := unstructured.NestedMap(service.Object, "spec", "service")
		if backend != nil || !custom[version] {
			return true, nil
		}
	}
	return false, nil
}

// customVersions are the versions in which other custom kinds of the group exist; nil when the kind
// itself is one.
func (w *Watcher) customVersions(ctx context.Context, kind schema.GroupKind) (map[string]bool, error) {
	definitions, err := w.config.Dynamic.Resource(customResourceDefinitions).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	found := map[string]bool{}
	for _, definition := range definitions.Items {
		if group, _, _ := unstructured.NestedString(definition.Object, "spec", "group"); group != kind.Group {
			continue
		}
		if name, _, _ := unstructured.NestedString(definition.Object, "spec", "names", "kind"); name == kind.Kind {
			return nil, nil
		}
		versions, _, _ := unstructured.NestedSlice(definition.Object, "spec", "versions")
		for _, version := range versions {
			if entry, ok := version.(map[string]any); ok {
				name, _ := entry["name"].(string)
				found[name] = true
			}
		}
	}
	return found, nil
}
