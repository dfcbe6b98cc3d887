package schedule

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	clusterv1alpha1 "windlass.dev/windlass/api/cluster/v1alpha1"
)

// resources reads what is written like cpu=500m memory=1Gi.
func resources(words string) corev1.ResourceList {
	list := corev1.ResourceList{}
	for _, word := range strings.Fields(words) {
		name, quantity, _ := strings.Cut(word, "=")
		list[corev1.ResourceName(name)] = resource.MustParse(quantity)
	}
	return list
}

func TestTheRoomOfAClusterIsWhatItsScarcestResourceAllows(t *testing.T) {
	for _, test := range []struct {
		reason                             string
		allocatable, allocated, allocating string
		needs                              string
		want                               int32
	}{
		{reason: "pods alone", allocatable: "pods=110 cpu=4", allocated: "pods=10", want: 100},
		{reason: "processor in thousandths", allocatable: "pods=110 cpu=4", allocated: "cpu=500m", needs: "cpu=300m", want: 11},
		{reason: "memory", allocatable: "pods=110 cpu=4 memory=8Gi", allocated: "memory=1Gi", allocating: "memory=2Gi", needs: "cpu=100m memory=2Gi", want: 2},
		{reason: "what waits for a node counts as taken", allocatable: "pods=10", allocating: "pods=10", want: 0},
		{reason: "more is taken than there is, as when a node is lost", allocatable: "pods=10 cpu=1", allocated: "cpu=3", needs: "cpu=1", want: 0},
		{reason: "a resource that the cluster does not have", allocatable: "pods=110", needs: "example.com/gpu=1", want: 0},
		{reason: "one that is asked for with 0", allocatable: "pods=7", needs: "example.com/gpu=0", want: 7},
		{reason: "without pods there is no room", allocatable: "cpu=4", needs: "cpu=1", want: 0},
		{reason: "as much as there can be", allocatable: "pods=9E", want: 2147483646},
	} {
		t.Run(test.reason, func(t *testing.T) {
			spare := CompileSpare(&clusterv1alpha1.ResourceSummary{Allocatable: resources(test.allocatable), Allocated: resources(test.allocated), Allocating: resources(test.allocating)})
			if got := spare.For(resources(test.needs)); got != test.want {
				t.Errorf("room for %d, want %d", got, test.want)
			}
		})
	}
	if got := CompileSpare(nil).For(nil); got != CapacityUnknown {
		t.Errorf("a cluster that has not reported has room for %d", got)
	}
}
