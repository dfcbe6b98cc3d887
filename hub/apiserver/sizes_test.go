package apiserver

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	genericoptions "k8s.io/apiserver/pkg/server/options"
)

func TestAnInformerListsWhatThereIsNow(t *testing.T) {
	for _, c := range []struct {
		reason      string
		asked, want metav1.ListOptions
		cached      bool
	}{
		{"its first list, in pages", metav1.ListOptions{ResourceVersion: "0", Limit: 500}, metav1.ListOptions{Limit: pageOfList}, false},
		{"the next page", metav1.ListOptions{Limit: 500, Continue: "there"}, metav1.ListOptions{Limit: pageOfList, Continue: "there"}, false},
		{"after its watch broke: not what there was then, which may be just what broke it", metav1.ListOptions{ResourceVersion: "7", Limit: 500}, metav1.ListOptions{Limit: pageOfList}, false},
		{"all at once", metav1.ListOptions{ResourceVersion: "7"}, metav1.ListOptions{}, false},
		{"out of a watch cache, at once and as old as it may be", metav1.ListOptions{ResourceVersion: "0", Limit: 500}, metav1.ListOptions{ResourceVersion: "0"}, true},
	} {
		if diff := cmp.Diff(c.want, listOptions(c.asked, c.cached)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.reason, diff)
		}
	}
}

func TestTheFlagOfWatchCacheSizesBringsTheCacheOfAKindBack(t *testing.T) {
	sizes, err := genericoptions.ParseWatchCacheSizes(append(uncachedSizes(), "propagationworks.work.karmada.io#100"))
	if err != nil {
		t.Fatal(err)
	}
	if size := sizes[works.resource()]; size != 100 {
		t.Errorf("works: %d", size)
	}
	if size, set := sizes[bindings.resource()]; !set || size != 0 {
		t.Errorf("bindings, of which the flag says nothing: %d, %t", size, set)
	}
}
