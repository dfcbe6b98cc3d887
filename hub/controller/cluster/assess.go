package cluster

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/duration"

	clusterv1alpha1 "windlass.dev/windlass/api/cluster/v1alpha1"
	linkv1 "windlass.dev/windlass/api/link/v1"
	workv1alpha1 "windlass.dev/windlass/api/work/v1alpha1"
	"windlass.dev/windlass/hub/roster"
	"windlass.dev/windlass/pkg/session"
)

// facts is everything that the assessment of a cluster stands on.
type facts struct {
	Cluster *clusterv1alpha1.MemberCluster
	Member  roster.Member
	// Held names the first few of the objects whose deletion waits for a person.
	Held []string
	// Typed is the confirmation that counted, or that was there before what waits now.
	Typed string
	// Grace is how long a cluster may be without a session before it is called unreachable.
	Grace time.Duration
	// Lost is after how long it is said that the session is lost, within the grace.
	Lost    time.Duration
	Process string
	Now     time.Time
}

// assessment is what a cluster's object should say.
type assessment struct {
	Status clusterv1alpha1.ClusterStatus
	Taints []corev1.Taint
	// RecheckAfter is when the answer may change by the passing of time alone; 0 is never.
	RecheckAfter time.Duration
}

// assess decides what to say of a cluster. The scenarios, in the order of the cases:
//
//	never enrolled            Joined=False            wait for an agent with a token
//	connected, no facts yet   as it was               the facts are on their way
//	connected, API answers    Ready=True              no taint
//	connected, API silent     Ready=False             not-ready:NoSchedule
//	not connected, in grace   as it was               agents come and go; look again when it ends. That a ready
//	                                                  cluster's connection is lost is said when it is longer
//	not connected             Ready=Unknown           unreachable:NoSchedule
func assess(f facts) assessment {
	status := *f.Cluster.Status.DeepCopy()
	out := assessment{}
	joined := f.Cluster.Spec.ID != ""
	switch {
	case !joined:
		waiting := fmt.Sprintf("no agent has enrolled yet; run `windlass token create --cluster %s` and give the token to the agent in that cluster", f.Cluster.Name)
		setCondition(&status, f, clusterv1alpha1.ClusterJoined, metav1.ConditionFalse, "WaitingForAgent", waiting)
		setCondition(&status, f, clusterv1alpha1.ClusterReady, metav1.ConditionFalse, "WaitingForAgent", waiting)
	case f.Member.Connected && f.Member.Facts == nil:
	case f.Member.Connected && f.Member.Facts.ApiReady:
		setCondition(&status, f, clusterv1alpha1.ClusterReady, metav1.ConditionTrue, "AgentConnected", "the agent is connected and the cluster's API server answers it")
	case f.Member.Connected:
		setCondition(&status, f, clusterv1alpha1.ClusterReady, metav1.ConditionFalse, cmp.Or(f.Member.Facts.ApiReason, "APIServerNotReady"),
			cmp.Or(f.Member.Facts.ApiMessage, "the cluster's API server does not answer the agent"))
	case f.Now.Sub(f.Member.Since) < f.Grace:
		out.RecheckAfter = inGrace(&status, f)
	default:
		setCondition(&status, f, clusterv1alpha1.ClusterReady, metav1.ConditionUnknown, "AgentNotConnected",
			"the agent is not connected; see its log in the cluster (objects there stay as they are; an agent that runs goes on correcting drift)")
	}
	if joined {
		recordFacts(&status, f)
		recordHold(&status, f)
		recordSession(&status, f)
	}
	out.Status = status
	out.Taints = conditionTaints(f.Cluster.Spec.Taints, meta.FindStatusCondition(status.Conditions, clusterv1alpha1.ClusterReady), f.Now)
	return out
}

// settling is how much longer a hub that has just begun waits before it calls an agent lost: everybody is on the way back
// then.
const settling = 10 * time.Second

// inGrace says of a ready cluster that its agent is lost, once it is for a while, and returns when to look again.
func inGrace(status *clusterv1alpha1.ClusterStatus, f facts) time.Duration {
	away, lost, what := f.Now.Sub(f.Member.Since), f.Lost, "the connection to the agent is lost since"
	if f.Member.Epoch == 0 {
		lost, what = f.Lost+settling, "the agent has not connected since the hub began at"
	}
	if !meta.IsStatusConditionTrue(status.Conditions, clusterv1alpha1.ClusterReady) || lost >= f.Grace {
		return f.Grace - away
	}
	if away < lost {
		return lost - away
	}
	setCondition(status, f, clusterv1alpha1.ClusterReady, metav1.ConditionTrue, clusterv1alpha1.ReadyConnectionLost, fmt.Sprintf(
		"%s %s; not ready from %s on if it does not come back; see its log in the cluster",
		what, f.Member.Since.UTC().Format(time.RFC3339), f.Member.Since.Add(f.Grace).UTC().Format(time.RFC3339)))
	return f.Grace - away
}

func setCondition(status *clusterv1alpha1.ClusterStatus, f facts, kind string, value metav1.ConditionStatus, reason, message string) {
	meta.SetStatusCondition(&status.Conditions, metav1.Condition{
		Type: kind, Status: value, Reason: reason, Message: message,
		ObservedGeneration: f.Cluster.Generation,
		LastTransitionTime: metav1.NewTime(f.Now),
	})
}

// recordSession keeps the version of the cluster's agent, and with what else is said which session said it. A new session alone is not worth
// a write: a hub that restarts has one with every cluster. It comes after all else.
func recordSession(status *clusterv1alpha1.ClusterStatus, f facts) {
	if !f.Member.Connected {
		return
	}
	if status.Agent == nil {
		status.Agent = &clusterv1alpha1.AgentStatus{}
	}
	if f.Member.AgentVersion != "" {
		status.Agent.Version = f.Member.AgentVersion
	}
	if status.Session == nil || !equality.Semantic.DeepEqual(*status, f.Cluster.Status) {
		status.Session = &clusterv1alpha1.SessionStatus{Process: f.Process, Epoch: f.Member.Epoch}
	}
}

func recordFacts(status *clusterv1alpha1.ClusterStatus, f facts) {
	said := f.Member.Facts
	if said == nil || !said.ApiReady {
		return // what an unreachable API server left unsaid is not news
	}
	status.KubernetesVersion = said.KubernetesVersion
	status.NodeSummary = &clusterv1alpha1.NodeSummary{TotalNum: said.NodesTotal, ReadyNum: said.NodesReady}
	status.ResourceSummary = &clusterv1alpha1.ResourceSummary{
		Allocatable: quantities(said.Allocatable),
		Allocated:   quantities(said.Allocated),
		Allocating:  quantities(said.Allocating),
	}
	if said.ApisComplete || len(status.APIEnablements) == 0 {
		status.APIEnablements = enablements(said.Apis)
	}
	if said.ApisComplete {
		setCondition(status, f, clusterv1alpha1.ClusterCompleteAPIEnablements, metav1.ConditionTrue, "Complete", "all APIs of the cluster are known")
	} else {
		setCondition(status, f, clusterv1alpha1.ClusterCompleteAPIEnablements, metav1.ConditionFalse, "DiscoveryFailed",
			"a part of the cluster's API discovery fails; the list of its APIs is the last complete one")
	}
}

// recordHold says which deletions wait for a person, and what he types to let them happen. After a
// restart of the hub nobody knows until the member has connected: until then what was said stands.
func recordHold(status *clusterv1alpha1.ClusterStatus, f facts) {
	hold := f.Member.Hold
	if !f.Member.HoldKnown {
		return
	}
	confirm := confirmation(f)
	look := fmt.Sprintf("look at the works that are being deleted in namespace %s", workv1alpha1.ExecutionNamespace(f.Cluster.Name))
	switch {
	case hold.Restoring:
		setCondition(status, f, clusterv1alpha1.ClusterDeletionsHeld, metav1.ConditionTrue, clusterv1alpha1.DeletionsHeldStoreRestored,
			"the hub's store was restored from a backup that is older than what this cluster has: "+restored(f, look)+"; "+confirm)
	case hold.Doubted && hold.Unknown > 0:
		setCondition(status, f, clusterv1alpha1.ClusterDeletionsHeld, metav1.ConditionTrue, clusterv1alpha1.DeletionsHeldTooMany,
			"the hub's store may have been restored from a backup, for another cluster has a later state of something: "+restored(f, look)+"; "+confirm)
	case hold.Held > 0:
		setCondition(status, f, clusterv1alpha1.ClusterDeletionsHeld, metav1.ConditionTrue, clusterv1alpha1.DeletionsHeldTooMany, fmt.Sprintf(
			"%s: %s; %s; %s%s", waiting(f), unusual(hold), look, wayBack(f), confirm))
	case meta.FindStatusCondition(status.Conditions, clusterv1alpha1.ClusterDeletionsHeld) != nil:
		setCondition(status, f, clusterv1alpha1.ClusterDeletionsHeld, metav1.ConditionFalse, "NothingHeld", "no deletion waits for a person")
	}
}

// wayBack is for whoever did not mean it. A placement or a policy takes back what it removes itself, and not what goes with the
// whole cluster.
func wayBack(f facts) string {
	if f.Cluster.DeletionTimestamp != nil {
		return ""
	}
	return "if it is a slip, mend the placement or the policy, and what waits is not deleted; "
}

// unusual says why deletions are held: how many went before them and the limit, if that is known.
func unusual(hold session.Hold) string {
	switch {
	case hold.Along != "":
		return hold.Along + " would be deleted with it"
	case hold.Excess.Passed == 0:
		return "so many at once are unusual"
	}
	return fmt.Sprintf("%d had gone through within %s, and the limit is %d", hold.Excess.Passed, duration.HumanDuration(hold.Excess.Window), hold.Excess.Limit)
}

// confirmation says what to type, after what was typed in vain.
func confirmation(f facts) string {
	command := fmt.Sprintf("to let it happen: kubectl annotate membercluster %s --overwrite %s=%s", f.Cluster.Name, workv1alpha1.ConfirmDeletionsAnnotation, f.Member.Hold.ID)
	if other := unheeded(f); other != "" {
		return other + "; " + command
	}
	return command
}

// unheeded says of a confirmation that was typed since something waits, and names something else, that it lets nothing
// happen.
func unheeded(f facts) string {
	id := f.Cluster.Annotations[workv1alpha1.ConfirmDeletionsAnnotation]
	if id == "" || id == f.Typed || f.Member.Hold.ID == "" || id == f.Member.Hold.ID {
		return ""
	}
	return ignored(id)
}

func ignored(id string) string {
	return fmt.Sprintf("the annotation %s=%.64q confirms nothing, for what waits has another id", workv1alpha1.ConfirmDeletionsAnnotation, id)
}

// waiting says how many deletions wait, and names the first few.
func waiting(f facts) string {
	count := f.Member.Hold.Held
	text := fmt.Sprintf("%d deletions wait for a person", count)
	if count == 1 {
		text = "1 deletion waits for a person"
	}
	if len(f.Held) == 0 {
		return text
	}
	text += " (" + strings.Join(f.Held, ", ")
	if more := count - len(f.Held); more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text + ")"
}

// restored says what waits in a cluster that has seen more than the hub's store has.
func restored(f facts, look string) string {
	hold := f.Member.Hold
	switch {
	case hold.Held == 0:
		return "every deletion there will wait for a person, until somebody says that the hub is right as it is"
	case hold.Unknown == 0:
		return waiting(f) + "; " + look
	}
	names := make([]string, min(hold.Unknown, len(hold.Examples)))
	for i := range names {
		names[i] = hold.Examples[i].Key
	}
	more := ""
	if hold.Unknown > len(names) {
		more = ", ..."
	}
	return fmt.Sprintf("%s, %d of them of works that only the cluster has (%s%s); first apply to the hub again what shall stay",
		waiting(f), hold.Unknown, strings.Join(names, ", "), more)
}

// quantities leaves out what does not parse: it comes from another cluster.
func quantities(said map[string]string) corev1.ResourceList {
	list := corev1.ResourceList{}
	for name, text := range said {
		if quantity, err := resource.ParseQuantity(text); err == nil {
			list[corev1.ResourceName(name)] = quantity
		}
	}
	return list
}

func enablements(apis []*linkv1.ServedAPI) []clusterv1alpha1.APIEnablement {
	byVersion := map[string][]clusterv1alpha1.APIResource{}
	for _, api := range apis {
		version := schema.GroupVersion{Group: api.Group, Version: api.Version}.String()
		byVersion[version] = append(byVersion[version], clusterv1alpha1.APIResource{Name: api.Resource, Kind: api.Kind})
	}
	out := make([]clusterv1alpha1.APIEnablement, 0, len(byVersion))
	for version, resources := range byVersion {
		slices.SortFunc(resources, func(a, b clusterv1alpha1.APIResource) int { return cmp.Compare(a.Name, b.Name) })
		out = append(out, clusterv1alpha1.APIEnablement{GroupVersion: version, Resources: resources})
	}
	slices.SortFunc(out, func(a, b clusterv1alpha1.APIEnablement) int { return cmp.Compare(a.GroupVersion, b.GroupVersion) })
	return out
}

// conditionTaints are the taints that the cluster should have: the user's, and of ours the one that
// follows from the Ready condition. The slice that came in is returned when nothing changes.
func conditionTaints(taints []corev1.Taint, ready *metav1.Condition, now time.Time) []corev1.Taint {
	want := ""
	switch {
	case ready == nil || ready.Status == metav1.ConditionTrue:
	case ready.Status == metav1.ConditionFalse:
		want = clusterv1alpha1.TaintNotReady
	default:
		want = clusterv1alpha1.TaintUnreachable
	}
	ours := func(taint corev1.Taint) bool {
		return taint.Effect == corev1.TaintEffectNoSchedule &&
			(taint.Key == clusterv1alpha1.TaintNotReady || taint.Key == clusterv1alpha1.TaintUnreachable)
	}
	has := slices.ContainsFunc(taints, func(t corev1.Taint) bool { return ours(t) && t.Key == want })
	extra := slices.ContainsFunc(taints, func(t corev1.Taint) bool { return ours(t) && t.Key != want })
	if !extra && (want == "" || has) {
		return taints
	}
	out := slices.DeleteFunc(slices.Clone(taints), func(t corev1.Taint) bool { return ours(t) && t.Key != want })
	if want != "" && !has {
		out = append(out, corev1.Taint{Key: want, Effect: corev1.TaintEffectNoSchedule, TimeAdded: &metav1.Time{Time: now}})
	}
	return out
}
