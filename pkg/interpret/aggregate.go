package interpret

import (
	"encoding/json"
	"math"
	"net/netip"
	"slices"

	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation"
	netutils "k8s.io/utils/net"
)

// Report is what one cluster says of a template.
type Report struct {
	// Cluster is the cluster's name.
	Cluster string
	// Applied is true when the cluster has applied the present content.
	Applied bool
	// Observed is true when the cluster's controllers have seen the content that is applied.
	Observed bool
	// Healthy is true when the object in the cluster is healthy: see Health.
	Healthy bool
	// Status is what ReflectStatus made of the object in the cluster; nil when nothing is known.
	Status []byte
}

// aggregator makes a template's new status.
type aggregator func(template *unstructured.Unstructured, reports []Report) (status map[string]any, changed, ok bool)

var aggregators = map[schema.GroupKind]aggregator{
	cronJob:                 folding(foldCronJob),
	daemonSet:               folding(foldDaemonSet),
	deployment:              folding(foldDeployment),
	horizontalPodAutoscaler: foldAnyAutoscaler,
	ingress:                 folding(foldIngress),
	job:                     folding(foldJob),
	persistentVolume:        folding(foldPersistentVolume),
	persistentVolumeClaim:   folding(foldPersistentVolumeClaim),
	pod:                     folding(foldPod),
	podDisruptionBudget:     folding(foldPodDisruptionBudget),
	replicaSet:              folding(foldReplicaSet),
	service:                 folding(foldService),
	statefulSet:             folding(foldStatefulSet),
}

// AggregateStatus makes the template's own status out of what its clusters report, one report for
// each cluster that the template goes to, in any order. ok is false for kinds whose status is not
// made out of that of others: it must be left alone. changed is false when the template has this
// status already; the comparison is by meaning, as the API server stores it.
//
// A cluster's word is not trusted: numbers that the hub's API server would refuse are put within
// bounds, and a status that can't be read counts as none, so that one cluster can't keep the
// others' from being seen.
func AggregateStatus(template *unstructured.Unstructured, reports []Report) (status map[string]any, changed, ok bool) {
	aggregate := aggregators[kindOf(template)]
	if aggregate == nil {
		return nil, false, false
	}
	return aggregate(template, reports)
}

// part is a cluster's report with its status decoded; the zero status when there is none.
type part[S any] struct {
	Report
	status S
}

// folding makes an aggregator out of a function that knows one type of status. The function gets
// the template's present status, to be changed and returned, and the parts in the order of the
// clusters' names.
func folding[S any](fold func(template *unstructured.Unstructured, present S, parts []part[S]) S) aggregator {
	return func(template *unstructured.Unstructured, reports []Report) (map[string]any, bool, bool) {
		var present S
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(mapAt(template.Object, "status"), &present); err != nil {
			return nil, false, false
		}
		updated := fold(template, present, decoded[S](reports))
		if equality.Semantic.DeepEqual(present, updated) {
			return mapAt(template.Object, "status"), false, true
		}
		status, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&updated)
		if err != nil {
			return nil, false, false
		}
		return status, true, true
	}
}

// decoded decodes what clusters that say the same say once: of many clusters nearly all do. The parts share its memory.
func decoded[S any](reports []Report) []part[S] {
	parts := make([]part[S], len(reports))
	known := map[string]*S{} // nil for what can't be read
	for i, report := range reports {
		parts[i].Report = report
		if len(report.Status) == 0 {
			continue
		}
		status, there := known[string(report.Status)]
		if !there {
			if status = new(S); json.Unmarshal(report.Status, status) != nil {
				status = nil
			}
			known[string(report.Status)] = status
		}
		if status == nil {
			parts[i].Report.Status = nil
			parts[i].Observed = false
			continue
		}
		parts[i].status = *status
	}
	slices.SortFunc(parts, func(a, b part[S]) int { return compareNames(a.Cluster, b.Cluster) })
	return parts
}

func compareNames(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// upToDate tells whether every cluster has applied the present content and its controllers have
// seen it. A template that goes nowhere is, when it asks for no replicas.
func upToDate[S any](template *unstructured.Unstructured, parts []part[S]) bool {
	for _, part := range parts {
		if !part.Applied || !part.Observed {
			return false
		}
	}
	return len(parts) > 0 || numberOr(1, template.Object, "spec", "replicas") == 0
}

// everywhereHealthy tells whether no cluster has anything left to do.
func everywhereHealthy[S any](parts []part[S]) bool {
	for _, part := range parts {
		if !part.Healthy {
			return false
		}
	}
	return true
}

// observedGeneration moves to the template's generation when all clusters are up to date with it.
// Until then it stays what it was: whoever waits for a rollout goes on waiting.
func observedGeneration[S any](template *unstructured.Unstructured, present int64, parts []part[S]) int64 {
	if upToDate(template, parts) {
		return template.GetGeneration()
	}
	return present
}

// add adds counts. What a cluster says can neither be less than nothing nor make the sum overflow.
func add(sum *int32, n int32) {
	*sum = int32(min(int64(*sum)+int64(max(n, 0)), math.MaxInt32))
}

// atMost bounds counts that can't be more than another.
func atMost(bound int32, counts ...*int32) {
	for _, count := range counts {
		*count = min(*count, bound)
	}
}

// earliest and latest of two times; nil is no time.
func earliest(a, b *metav1.Time) *metav1.Time {
	if a == nil || (b != nil && b.Before(a)) {
		return b
	}
	return a
}

func latest(a, b *metav1.Time) *metav1.Time {
	if a == nil || (b != nil && a.Before(b)) {
		return b
	}
	return a
}

// isAddress tells whether an API server would take a load balancer's address.
func isAddress(ip, hostname string) bool {
	if ip == "" && hostname == "" {
		return false
	}
	if ip != "" {
		if address, err := netip.ParseAddr(ip); err != nil || address.Zone() != "" {
			return false
		}
	}
	return hostname == "" || len(validation.IsDNS1123Subdomain(hostname)) == 0 && netutils.ParseIPSloppy(hostname) == nil
}
