// Package aggregate alone makes one status out of many: out of what the works of a binding say, the
// binding's status and the template's own; out of the bindings of a policy, the policy's.
//
//	work, work, work ──Binding──► binding ──Policy──► policy
//	             └─────Template──► template
//
// Every result is in the order of names and depends on nothing but the input: the same works give
// the same bytes, so whoever writes a status can tell whether there is anything to write. Works are
// only read, and results share their memory.
package aggregate

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/utils/ptr"

	workv1alpha1 "windlass.dev/windlass/api/work/v1alpha1"
)

// Input is a binding and its works.
type Input struct {
	Binding workv1alpha1.Binding
	// Released says that no policy claims the template any more.
	Released bool
	// TemplateHash names the content of the template as it is now: render.TemplateHash.
	TemplateHash string
	// Works are the binding's works by the name of their cluster. Those of clusters that the binding
	// no longer names are ignored.
	Works map[string]*workv1alpha1.PropagationWork
	// ForNow says how many replicas one of the binding's clusters has for now, where that may be more than it is to have:
	// evict.Keeping. Nil stands for none that has more.
	ForNow func(*workv1alpha1.BindingSpec, workv1alpha1.TargetCluster) workv1alpha1.TargetCluster
	// Held are clusters that still have the template although its removal was asked for: it is held
	// back there until a person confirms it.
	Held []string
	// WithoutWork says of clusters that the binding names why there is no work for them, where that is known.
	WithoutWork map[string]string
	// NotGone are clusters that it is being removed from and that say why it is still there: NotGone.
	NotGone map[string]string
	// MaxListed bounds the list of clusters in the status; 0 is workv1alpha1.MaxAggregatedStatus.
	MaxListed int
}

// standing says how far a cluster is with the present content.
type standing int

const (
	waiting   standing = iota // the cluster has not said anything about it yet
	suspended                 // nothing is sent to it
	failed                    // it could not apply it
	applied
)

// Why a cluster that has applied its work has not what it is to have: what a binding's status says of such a one.
const (
	TemplateChanged = "the work for the cluster is not written anew since the template has changed"
	ReplicasChanged = "the work for the cluster is not written anew since its replicas have changed"
)

// clusterState is what one cluster's work says.
type clusterState struct {
	cluster  string
	standing standing
	reason   string // of a failure
	message  string // why it is not applied
	health   workv1alpha1.ResourceHealth
	observed bool
	status   []byte
}

// isFine tells whether there is nothing about the cluster that a reader has to know.
func (s *clusterState) isFine() bool {
	return s.standing == applied && s.health == workv1alpha1.ResourceHealthy
}

// states are those of the clusters that the binding names, in the order of their names.
func (in Input) states() []clusterState {
	clusters := in.Binding.GetSpec().Clusters
	states := make([]clusterState, len(clusters))
	for i, cluster := range clusters {
		states[i] = stateOf(cluster.Name, in.Works[cluster.Name], in.TemplateHash, in.wanted(cluster))
		if in.Works[cluster.Name] == nil {
			states[i].message = cmp.Or(in.WithoutWork[cluster.Name], "the work for the cluster is not written yet")
		}
	}
	slices.SortFunc(states, func(a, b clusterState) int { return strings.Compare(a.cluster, b.cluster) })
	return states
}

// wanted is how many replicas a cluster is to have for now; nil for kinds that have none.
func (in Input) wanted(cluster workv1alpha1.TargetCluster) *int32 {
	spec := in.Binding.GetSpec()
	if spec.Replicas == nil {
		return nil
	}
	if in.ForNow != nil {
		cluster = in.ForNow(spec, cluster)
	}
	return &cluster.Replicas
}

// leaving are the states of those clusters that the binding has to leave and that have its copy still. A copy that is left
// alone has the present content as far as it ever gets it.
func (in Input) leaving() []clusterState {
	var states []clusterState
	for _, task := range in.Binding.GetSpec().GracefulEvictionTasks {
		work := in.Works[task.FromCluster]
		if work != nil && !slices.ContainsFunc(in.Binding.GetSpec().Clusters, func(t workv1alpha1.TargetCluster) bool { return t.Name == task.FromCluster }) {
			states = append(states, stateOf(task.FromCluster, work, work.Spec.TemplateHash, work.Spec.Replicas))
		}
	}
	return states
}

// stateOf reads a work. Only what is said of the work's present generation counts, and only when
// that was rendered from the template's present content, and with the replicas that the cluster is to have now: a copy that
// was healthy with fewer says nothing of those that are to come.
func stateOf(cluster string, work *workv1alpha1.PropagationWork, templateHash string, replicas *int32) clusterState {
	state := clusterState{cluster: cluster, health: workv1alpha1.ResourceUnknown}
	if work == nil {
		return state
	}
	state.health, state.observed, state.status = manifestsState(work.Status.ManifestStatuses)

	condition := meta.FindStatusCondition(work.Status.Conditions, workv1alpha1.WorkApplied)
	isPresent := condition != nil && condition.ObservedGeneration == work.Generation
	switch {
	case work.Spec.TemplateHash != templateHash:
		state.message = TemplateChanged
	case work.Spec.SuspendDispatching != nil && *work.Spec.SuspendDispatching: // whatever it had applied before
		state.standing = suspended
		state.message = "dispatching to the cluster is suspended"
	case !ptr.Equal(work.Spec.Replicas, replicas):
		state.message = ReplicasChanged
	case isPresent && condition.Status == metav1.ConditionTrue:
		state.standing = applied
	case isPresent && condition.Status == metav1.ConditionFalse:
		state.standing = failed
		state.reason = condition.Reason
		state.message = joinNonEmpty(": ", condition.Reason, condition.Message)
	default:
		state.message = "the cluster has not reported on the present content yet"
	}
	return state
}

// manifestsState sums up the objects of a work: its health is the worst, it is observed when all
// are, and its status is that of the first object, the template's copy.
func manifestsState(manifests []workv1alpha1.ManifestStatus) (health workv1alpha1.ResourceHealth, observed bool, status []byte) {
	if len(manifests) == 0 {
		return workv1alpha1.ResourceUnknown, false, nil
	}
	health, observed = workv1alpha1.ResourceHealthy, true
	for _, manifest := range manifests {
		observed = observed && manifest.Observed
		switch {
		case manifest.Health == workv1alpha1.ResourceUnhealthy:
			health = workv1alpha1.ResourceUnhealthy
		case manifest.Health != workv1alpha1.ResourceHealthy && health == workv1alpha1.ResourceHealthy:
			health = workv1alpha1.ResourceUnknown
		}
	}
	if first := manifests[0].Status; first != nil {
		status = first.Raw
	}
	return health, observed, status
}

const (
	// maxMessage bounds what one cluster may say in a list, maxNamed in a sentence, in bytes.
	maxMessage = 1024
	maxNamed   = 256
	// maxStatuses bounds the statuses of all clusters in one binding, in bytes: it has to fit into
	// the store.
	maxStatuses = 256 << 10
	// namedFirst is how many clusters or templates a sentence names.
	namedFirst = 3
)

// list picks the clusters for a binding's status: all of them if they are no more than limit; else
// those that are not fine, the worst first if even those are too many. The works have the rest.
func list(states []clusterState, limit int) []workv1alpha1.AggregatedStatusItem {
	listed := make([]*clusterState, 0, min(len(states), limit))
	for i := range states {
		if len(states) <= limit || !states[i].isFine() {
			listed = append(listed, &states[i])
		}
	}
	if len(listed) > limit {
		slices.SortStableFunc(listed, func(a, b *clusterState) int { return cmp.Compare(urgency(a), urgency(b)) })
		listed = listed[:limit]
		slices.SortFunc(listed, func(a, b *clusterState) int { return strings.Compare(a.cluster, b.cluster) })
	}
	if len(listed) == 0 {
		return nil
	}
	largest := largestStatus(listed)
	items := make([]workv1alpha1.AggregatedStatusItem, len(listed))
	for i, state := range listed {
		items[i] = workv1alpha1.AggregatedStatusItem{
			ClusterName:    state.cluster,
			Applied:        state.standing == applied,
			AppliedMessage: truncate(state.message, maxMessage),
			Health:         state.health,
		}
		if n := len(state.status); n > 0 && n <= largest {
			items[i].Status = &runtime.RawExtension{Raw: state.status}
		}
	}
	return items
}

func urgency(s *clusterState) int {
	switch {
	case s.standing == failed:
		return 0
	case s.health == workv1alpha1.ResourceUnhealthy:
		return 1
	}
	return 2
}

// largestStatus is how large a status may be to be listed: any size while all of them fit, an equal
// share otherwise.
func largestStatus(listed []*clusterState) int {
	total := 0
	for _, state := range listed {
		total += len(state.status)
	}
	if total <= maxStatuses {
		return maxStatuses
	}
	return maxStatuses / len(listed)
}

// truncate cuts a text to at most so many bytes, between two characters.
func truncate(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	return text[:before(text, limit-len(mark))] + mark
}

// mark stands for what is cut.
const mark = "..."

// before is the place between two characters at or before one in a text.
func before(text string, at int) int {
	for at > 0 && !utf8.RuneStart(text[at]) {
		at--
	}
	return at
}

// shorten cuts what a cluster says to at most so many bytes, within: it begins with what it is about, whose names can be long, and ends with
// what to do, or with the cause of it all.
func shorten(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	head := before(text, limit/3)
	tail := len(text) - (limit - len(mark) - head)
	for tail < len(text) && !utf8.RuneStart(text[tail]) {
		tail++
	}
	return text[:head] + mark + text[tail:]
}

func joinNonEmpty(separator string, parts ...string) string {
	return strings.Join(slices.DeleteFunc(parts, func(part string) bool { return part == "" }), separator)
}

// enumerate names the first few and counts the rest.
func enumerate(separator string, parts []string, total int) string {
	text := strings.Join(parts, separator)
	if more := total - len(parts); more > 0 {
		text += fmt.Sprintf("%sand %d more", separator, more)
	}
	return text
}
