package apiserver

import (
	"context"
	"io"
	"slices"
	"sync"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apiserver/pkg/admission"
	genericoptions "k8s.io/apiserver/pkg/server/options"
	"k8s.io/apiserver/pkg/warning"

	clusterv1alpha1 "windlass.dev/windlass/api/cluster/v1alpha1"
	policyv1alpha1 "windlass.dev/windlass/api/policy/v1alpha1"
)

// hintPlugin is what the admission plugin is called that warns of marks of templates which mean nothing.
const hintPlugin = "WindlassHints"

// hints warns whoever writes an object that says something to the hub which means nothing. It refuses nothing.
type hints struct{ *admission.Handler }

func newHints() *hints { return &hints{admission.NewHandler(admission.Create, admission.Update)} }

func (h *hints) addTo(options *genericoptions.AdmissionOptions) {
	options.Plugins.Register(hintPlugin, func(io.Reader) (admission.Interface, error) { return h, nil })
	options.RecommendedPluginOrder = append(slices.Clone(options.RecommendedPluginOrder), hintPlugin)
}

// Validate adds the warnings.
func (h *hints) Validate(ctx context.Context, request admission.Attributes, _ admission.ObjectInterfaces) error {
	object, err := meta.Accessor(request.GetObject())
	if err != nil || request.GetSubresource() != "" {
		return nil
	}
	for _, said := range policyv1alpha1.TemplateWarnings(object.GetLabels(), object.GetAnnotations()) {
		warning.AddWarning(ctx, "", said)
	}
	return nil
}

// clusterNames knows which clusters there are, for warnings. Its store is set before anything is served.
type clusterNames struct {
	store *Store[*clusterv1alpha1.MemberCluster]
}

// exists says of names whether a cluster has them. It looks when it is asked first, and knows of all when it can't.
func (c *clusterNames) exists(ctx context.Context) func(name string) bool {
	look := sync.OnceValue(func() sets.Set[string] {
		clusters, _, err := c.store.List(ctx, ListOptions{Cached: true})
		if err != nil {
			return nil
		}
		known := sets.New[string]()
		for _, cluster := range clusters {
			known.Insert(cluster.Name)
		}
		return known
	})
	return func(name string) bool {
		known := look()
		return known == nil || known.Has(name)
	}
}
