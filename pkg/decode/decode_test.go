package decode

import (
	"testing"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
)

func TestTheSerializersThatAreReadOnceAreNotChangedForOthers(t *testing.T) {
	own := serializer.NewCodecFactory(runtime.NewScheme()).WithoutConversion()
	for range 3 {
		Once(own).SupportedMediaTypes()
	}
	for _, info := range own.SupportedMediaTypes() {
		if _, changed := info.Serializer.(objectDecoder); changed {
			t.Errorf("what others have for %s decodes by ours", info.MediaType)
		}
	}
}
