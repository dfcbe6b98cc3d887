package apiserver

import (
	"context"
	"io"
	"maps"
	"slices"
	"sync/atomic"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/admission"
	genericoptions "k8s.io/apiserver/pkg/server/options"
)

// claimPlugin is what the admission plugin is called that marks new templates.
const claimPlugin = "WindlassClaim"

// A Claimer is the policy controller: it says by which labels and annotations an object that is being
// created becomes a policy's template. It must not block.
type Claimer func(object metav1.Object, kind schema.GroupVersionKind) (labels, annotations map[string]string)

// claims asks the policy controller about every object that is being created, so that the user's own write
// says who claims it. Without a claimer, or when it has nothing to say, its own write follows later.
type claims struct {
	*admission.Handler
	claimer atomic.Pointer[Claimer]
}

func newClaims() *claims { return &claims{Handler: admission.NewHandler(admission.Create)} }

// addTo makes it the last that changes an object: what others write is in what the policies select by.
func (c *claims) addTo(options *genericoptions.AdmissionOptions) {
	options.Plugins.Register(claimPlugin, func(io.Reader) (admission.Interface, error) { return c, nil })
	options.RecommendedPluginOrder = append(slices.Clone(options.RecommendedPluginOrder), claimPlugin)
}

// Admit marks a new object. One whose name the API server has yet to make is not known well enough.
func (c *claims) Admit(_ context.Context, request admission.Attributes, _ admission.ObjectInterfaces) error {
	claimer := c.claimer.Load()
	if claimer == nil || request.GetSubresource() != "" {
		return nil
	}
	object, err := meta.Accessor(request.GetObject())
	if err != nil || object.GetName() == "" {
		return nil
	}
	labels, annotations := (*claimer)(object, request.GetKind())
	if len(labels) > 0 {
		object.SetLabels(with(object.GetLabels(), labels))
	}
	if len(annotations) > 0 {
		object.SetAnnotations(with(object.GetAnnotations(), annotations))
	}
	return nil
}

// with is a copy of present with more in it.
func with(present, more map[string]string) map[string]string {
	result := make(map[string]string, len(present)+len(more))
	maps.Copy(result, present)
	maps.Copy(result, more)
	return result
}
