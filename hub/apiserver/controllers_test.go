package apiserver

import (
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/metadata/fake"
	clienttesting "k8s.io/client-go/testing"
)

func TestAnErrorOfTheCollectorsWatchesNamesTheResource(t *testing.T) {
	client := fake.NewSimpleMetadataClient(runtime.NewScheme())
	gone := apierrors.NewGenericServerResponse(404, "list", schema.GroupResource{}, "", "", 0, true)
	client.PrependReactor("*", "*", func(clienttesting.Action) (bool, runtime.Object, error) { return true, nil, gone })
	client.PrependWatchReactor("*", clienttesting.DefaultWatchReactor(nil, gone))
	widgets := namingMetadata{client}.Resource(schema.GroupVersionResource{Group: "example.com", Version: "v1", Resource: "widgets"})
	_, everywhere := widgets.List(t.Context(), metav1.ListOptions{})
	_, inOne := widgets.Namespace("shop").List(t.Context(), metav1.ListOptions{})
	_, watching := widgets.Namespace("shop").Watch(t.Context(), metav1.ListOptions{})
	for what, err := range map[string]error{"listing": everywhere, "listing a namespace": inOne, "watching": watching} {
		if !apierrors.IsNotFound(err) || !strings.HasPrefix(err.Error(), "widgets of example.com/v1: ") {
			t.Errorf("%s: %v", what, err)
		}
	}
}
