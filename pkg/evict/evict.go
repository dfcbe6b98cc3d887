// Package evict is responsible for three decisions: which clusters a template has to leave because of their
// NoExecute taints, what stays for a while where the hub has moved it away from, and when such a copy may go.
//
//	tainted ──(tolerationSeconds)──► TaintUntolerated: the scheduler ──(the new copies are healthy)──► no task: the old copy goes
//	                                    │  places it elsewhere                       ▲
//	                                untainted                                        │
//	                                    ▼                                            │
//	no task: it stays ◄──(it may)── TaintRemoved: the scheduler ──(it may not)───────┘
//	                                   decides once more, as of a cluster that has it
//
// Nothing is taken away before something else is there: while no other cluster fits, the scheduler leaves the
// template where it is, task or not. A Job goes when it has ended, and what holds others never. All times follow from what is stored, so a restart changes none of them.
package evict

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	clusterv1alpha1 "windlass.dev/windlass/api/cluster/v1alpha1"
	policyv1alpha1 "windlass.dev/windlass/api/policy/v1alpha1"
	workv1alpha1 "windlass.dev/windlass/api/work/v1alpha1"
)

// Facts are everything that a decision is made from. Nothing that they refer to is changed.
type Facts struct {
	Binding workv1alpha1.Binding
	// Claimed is false when no policy claims the template any more: nothing begins to move then, and what was moving comes to its end.
	Claimed bool
	// Cluster returns a cluster, or nil when there is none of that name.
	Cluster func(name string) *clusterv1alpha1.MemberCluster
	// Ends is true of a template that comes to an end by itself, a Job. Ended is true when it has, in all its clusters
	// together, those that it is leaving included.
	Ends, Ended bool
	// HoldsOthers is true of a template that takes others with it when it is deleted, a Namespace or a
	// CustomResourceDefinition. No taint has it leave: it costs nothing where it is, and what it holds may have to stay.
	HoldsOthers bool
	// Written is asked when no policy claims the template any more.
	Written Written
	// Grace is how long the health of new copies that are applied may stay unknown. After that the old one goes all the
	// same, unless it has replicas; it never goes while a new one is said to be unhealthy.
	Grace time.Duration
	Now   time.Time

	// goes has the clusters that the template goes to, once somebody has asked: of a thousand each is asked about.
	goes map[string]bool
}

// Decision says which clusters a template is leaving.
type Decision struct {
	Tasks []workv1alpha1.GracefulEvictionTask // sorted by cluster; nil when there is none
	// Again is after which time the answer may be another although nothing else has changed; 0 is never.
	Again time.Duration
}

// The words of the tasks that are made here; they are Karmada's.
const (
	ReasonTaintUntolerated = "TaintUntolerated"
	// ReasonTaintRemoved is of a task whose cluster the template need not leave any more. Where it is by now is for the
	// scheduler to say, which may not know yet that the taint is gone.
	ReasonTaintRemoved = "TaintRemoved"
	Producer           = "TaintManager"
)

// ReasonRescheduled is of a cluster that loses replicas, or all of its copy, because the hub itself has moved them: see Move.
const (
	ReasonRescheduled = "Rescheduled"
	producerOfMoves   = "Scheduler"
)

// Decide finds out which clusters the template of a binding has to leave, or goes on leaving. The same facts
// always give the same decision.
func Decide(f Facts) Decision {
	var decision Decision
	for _, name := range f.whereabouts() {
		cluster := f.Cluster(name)
		if cluster == nil || cluster.DeletionTimestamp != nil {
			continue // it leaves the hub, and everything in it goes with it
		}
		task := f.task(name)
		if f.Ended && (task == nil || f.goesTo(name)) && f.Claimed {
			continue // nothing runs there any more, and elsewhere it would run once more
		}
		taint, due := f.leaves(cluster)
		if due.After(f.Now) {
			decision.lookAgain(due.Sub(f.Now))
			taint = nil
		}
		if !f.Claimed {
			decision.keep(f.unclaimed(name, task, taint, &decision))
			continue
		}
		if taint == nil && f.goesTo(name) && !f.keepsMore(task) {
			continue
		}
		decision.keep(f.next(name, task, taint, &decision))
	}
	return decision
}

// next is the task of a cluster from now on, or nil: the template goes there or was going there, and because of the taint, if
// there is one, it has to leave.
func (f *Facts) next(cluster string, task *workv1alpha1.GracefulEvictionTask, taint *corev1.Taint, decision *Decision) *workv1alpha1.GracefulEvictionTask {
	switch {
	case task == nil, taint != nil && (task.Reason == ReasonTaintRemoved || task.Reason == ReasonRescheduled):
		return f.newTask(cluster, task, taint)
	case taint == nil && task.Reason != ReasonTaintRemoved && task.Reason != ReasonRescheduled:
		returning := *task
		returning.Reason, returning.Message = ReasonTaintRemoved, "the taint is gone, or tolerated: the scheduler says whether the template stays"
		return &returning
	}
	replaced, wait := f.replaced(task)
	decision.lookAgain(wait)
	if replaced {
		return nil
	}
	return task
}

// unclaimed is the task of a cluster from now on where no policy claims the template: as last says. That it has to leave a cluster it is
// told, too, though nobody finds another place for it, and it stays; whoever drains the cluster has to know.
func (f *Facts) unclaimed(cluster string, task *workv1alpha1.GracefulEvictionTask, taint *corev1.Taint, decision *Decision) *workv1alpha1.GracefulEvictionTask {
	switch {
	case taint == nil || f.Ended || !f.goesTo(cluster):
		return f.last(task, decision)
	case task == nil || task.Reason == ReasonTaintRemoved:
		return f.newTask(cluster, task, taint)
	case task.Reason == ReasonTaintUntolerated:
		return task
	}
	return f.last(task, decision)
}

// last is a task from now on that no policy stands behind any more. It goes on only while somebody decided, when one did, that its
// cluster is left, and for good when the clusters that the template goes to do not make up the whole: nobody finds others.
func (f *Facts) last(task *workv1alpha1.GracefulEvictionTask, decision *Decision) *workv1alpha1.GracefulEvictionTask {
	if task == nil {
		return nil
	}
	if f.goesTo(task.FromCluster) && !f.keepsMore(task) {
		return f.endedMove(task)
	}
	if !complete(f.Binding.GetSpec()) {
		return task
	}
	replaced, wait := f.replaced(task)
	decision.lookAgain(wait)
	if replaced {
		return f.endedMove(task)
	}
	return task
}

// endedMove is the task of a move that has come to its end, while the cluster has more than it is to have from now on; nil when it has not. It is
// what tells such a surplus from any other: see Surplus.
func (f *Facts) endedMove(task *workv1alpha1.GracefulEvictionTask) *workv1alpha1.GracefulEvictionTask {
	target := targetOf(f.Binding.GetSpec().Clusters, task.FromCluster)
	if target == nil || task.Reason != ReasonRescheduled {
		return nil
	}
	if has := f.Written(task.FromCluster); has == nil || *has <= target.Replicas {
		return nil
	}
	ended := *task
	ended.Replicas = ptr.To(target.Replicas)
	return &ended
}

// complete says whether the clusters that a template goes to make up the whole that it asks for.
func complete(spec *workv1alpha1.BindingSpec) bool {
	return len(spec.Clusters) > 0 && (spec.Replicas == nil || !divided(spec.Placement) || replicasOf(spec.Clusters) == int64(*spec.Replicas))
}

func (f *Facts) goesTo(cluster string) bool {
	if f.goes == nil {
		clusters := f.Binding.GetSpec().Clusters
		f.goes = make(map[string]bool, len(clusters))
		for _, target := range clusters {
			f.goes[target.Name] = true
		}
	}
	return f.goes[cluster]
}

// keepsMore says whether a cluster that the template goes to keeps more replicas for a while than it shall have, or may once the
// scheduler has decided about what is wanted now: until then the replicas are not those of the clusters.
func (f *Facts) keepsMore(task *workv1alpha1.GracefulEvictionTask) bool {
	if task == nil || task.Reason != ReasonRescheduled {
		return false
	}
	if f.Binding.GetStatus().SchedulerObservedGeneration != f.Binding.GetGeneration() {
		return true
	}
	target := targetOf(f.Binding.GetSpec().Clusters, task.FromCluster)
	return target != nil && Keeping(f.Binding.GetSpec(), *target).Replicas > target.Replicas
}

func targetOf(targets []workv1alpha1.TargetCluster, cluster string) *workv1alpha1.TargetCluster {
	if i := slices.IndexFunc(targets, func(t workv1alpha1.TargetCluster) bool { return t.Name == cluster }); i >= 0 {
		return &targets[i]
	}
	return nil
}

func (d *Decision) keep(task *workv1alpha1.GracefulEvictionTask) {
	if task != nil {
		d.Tasks = append(d.Tasks, *task)
	}
}

func (d *Decision) lookAgain(after time.Duration) {
	if after > 0 && (d.Again == 0 || after < d.Again) {
		d.Again = after
	}
}

// whereabouts are, sorted, the clusters that the template goes to or is leaving.
func (f *Facts) whereabouts() []string {
	spec := f.Binding.GetSpec()
	names := make([]string, 0, len(spec.Clusters)+len(spec.GracefulEvictionTasks))
	for _, target := range spec.Clusters {
		names = append(names, target.Name)
	}
	for _, task := range spec.GracefulEvictionTasks {
		names = append(names, task.FromCluster)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func (f *Facts) task(cluster string) *workv1alpha1.GracefulEvictionTask {
	tasks := f.Binding.GetSpec().GracefulEvictionTasks
	if i := slices.IndexFunc(tasks, func(t workv1alpha1.GracefulEvictionTask) bool { return t.FromCluster == cluster }); i >= 0 {
		return &tasks[i]
	}
	return nil
}

// newTask is that of a cluster that has to be left because of a taint. What it has there stays what it is if it was leaving it
// before, for another reason.
func (f *Facts) newTask(cluster string, before *workv1alpha1.GracefulEvictionTask, taint *corev1.Taint) *workv1alpha1.GracefulEvictionTask {
	task := &workv1alpha1.GracefulEvictionTask{
		FromCluster: cluster, PurgeMode: policyv1alpha1.PurgeGracefully,
		Reason: ReasonTaintUntolerated, Message: "the cluster has the taint " + describe(taint) + ", which the placement does not tolerate, or not any longer",
		Producer: Producer, CreationTimestamp: ptr.To(metav1.NewTime(f.Now).Rfc3339Copy()),
	}
	switch spec := f.Binding.GetSpec(); {
	case spec.Replicas == nil:
	case f.goesTo(cluster):
		task.Replicas = ptr.To(Keeping(spec, *targetOf(spec.Clusters, cluster)).Replicas)
	case before != nil:
		task.Replicas = before.Replicas
	}
	return task
}

func describe(taint *corev1.Taint) string {
	if taint.Value == "" {
		return taint.Key + ":" + string(taint.Effect)
	}
	return taint.Key + "=" + taint.Value + ":" + string(taint.Effect)
}

// leaves returns the taint because of which the template has to leave a cluster first, and when; nil when it may stay.
func (f *Facts) leaves(cluster *clusterv1alpha1.MemberCluster) (taint *corev1.Taint, due time.Time) {
	if f.HoldsOthers {
		return nil, time.Time{}
	}
	var tolerations []corev1.Toleration
	if placement := f.Binding.GetSpec().Placement; placement != nil {
		tolerations = placement.ClusterTolerations
	}
	for i := range cluster.Spec.Taints {
		t := &cluster.Spec.Taints[i]
		if t.Effect != corev1.TaintEffectNoExecute {
			continue
		}
		added := f.Now // a taint without a time was never stamped by the store, and is taken for one of this moment
		if t.TimeAdded != nil {
			added = t.TimeAdded.Time
		}
		end, bounded := toleratedUntil(t, added, tolerations)
		if bounded && (taint == nil || end.Before(due)) {
			taint, due = t, end
		}
	}
	return taint, due
}

// longest is how many seconds a time.Duration can hold, some 292 years.
const longest = int64(math.MaxInt64 / time.Second)

// toleratedUntil says until when a taint is tolerated; bounded is false when that is for ever. As in Kubernetes the first
// toleration that matches a taint counts.
func toleratedUntil(taint *corev1.Taint, added time.Time, tolerations []corev1.Toleration) (end time.Time, bounded bool) {
	for i := range tolerations {
		if !matches(&tolerations[i], taint) {
			continue
		}
		if tolerations[i].TolerationSeconds == nil {
			return time.Time{}, false
		}
		seconds := min(max(0, *tolerations[i].TolerationSeconds), longest) // more would wrap round, into the past
		return added.Add(time.Duration(seconds) * time.Second), true
	}
	return added, true
}

func matches(toleration *corev1.Toleration, taint *corev1.Taint) bool {
	switch {
	case toleration.Effect != "" && toleration.Effect != taint.Effect,
		toleration.Key != "" && toleration.Key != taint.Key:
		return false
	case toleration.Operator == corev1.TolerationOpExists:
		return true
	}
	return toleration.Key != "" && toleration.Value == taint.Value
}

// replaced says whether the copy that a task is about may go, and otherwise after which time to ask again; 0 when
// something has to change first. It may when the scheduler has found other clusters, and all of them have the present
// content and are healthy, but for the replicas that they keep themselves only for a while. An unhealthy copy replaces
// nothing, however long it takes: perhaps there is no room for its pods, and the old one is all that serves. Only where nobody says how a new copy is, the grace bounds the wait; but not
// for what has replicas, of which a member that works does say it, and one that has gone silent must not cost the copy
// that runs.
//
// A Job is left where it is until it has ended as a whole. Nothing else has the completions of its part, so a part that
// goes before takes them along; and one that is complete is still counted, until all are.
func (f *Facts) replaced(task *workv1alpha1.GracefulEvictionTask) (yes bool, wait time.Duration) {
	spec, status := f.Binding.GetSpec(), f.Binding.GetStatus()
	if f.goesTo(task.FromCluster) && task.Reason != ReasonRescheduled || status.SchedulerObservedGeneration != f.Binding.GetGeneration() || !meta.IsStatusConditionTrue(status.Conditions, workv1alpha1.BindingScheduled) {
		return false, 0
	}
	if f.Ends {
		return f.Ended, 0
	}
	if len(spec.Clusters) == 0 || spec.Replicas != nil && *spec.Replicas == 0 {
		return true, 0 // nothing is wanted anywhere: who scales to 0 does not wait for a cluster that has gone silent
	}
	whole := meta.FindStatusCondition(status.Conditions, workv1alpha1.BindingFullyApplied)
	sum, wanted := status.Summary, int32(len(spec.Clusters))
	if whole == nil || whole.ObservedGeneration != f.Binding.GetGeneration() || sum.Clusters != wanted || sum.Applied != wanted {
		return false, 0
	}
	if sum.Healthy+f.unhealthyInSurplus(task.FromCluster) == wanted {
		return true, 0
	}
	if sum.Unhealthy > 0 || spec.Replicas != nil {
		return false, 0
	}
	since := timeOf(task.CreationTimestamp)
	if scheduled := timeOf(status.LastScheduledTime); scheduled.After(since) {
		since = scheduled
	}
	left := since.Add(f.Grace).Sub(f.Now)
	return left <= 0, max(0, left)
}

// unhealthyInSurplus counts the clusters that need not be healthy for a copy to go: they keep more replicas for a while than they shall
// have, and as many as they shall have are available. What is missing is what they give back; if it finds no room there, to wait for it is
// to wait for ever. Of the cluster itself that gives replicas back nothing is asked: it does not stand in for them.
func (f *Facts) unhealthyInSurplus(from string) int32 {
	spec, count := f.Binding.GetSpec(), int32(0)
	for i := range f.Binding.GetStatus().AggregatedStatus {
		item := &f.Binding.GetStatus().AggregatedStatus[i]
		target := targetOf(spec.Clusters, item.ClusterName)
		if item.Health == workv1alpha1.ResourceHealthy || target == nil || Keeping(spec, *target).Replicas <= target.Replicas {
			continue
		}
		if item.ClusterName == from || item.Health == workv1alpha1.ResourceUnhealthy && available(item) >= target.Replicas {
			count++
		}
	}
	return count
}

// available are the replicas that a cluster says are available, of every kind whose replicas can be divided and never come to an end.
func available(item *workv1alpha1.AggregatedStatusItem) int32 {
	var status struct {
		AvailableReplicas int32 `json:"availableReplicas"`
	}
	if item.Status == nil || json.Unmarshal(item.Status.Raw, &status) != nil {
		return 0
	}
	return status.AvailableReplicas
}

func timeOf(t *metav1.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.Time
}

// Leaving names, sorted, the clusters that a binding's template has to leave.
func Leaving(spec *workv1alpha1.BindingSpec) []string {
	var names []string
	for _, task := range spec.GracefulEvictionTasks {
		if task.Reason != ReasonTaintRemoved && task.Reason != ReasonRescheduled {
			names = append(names, task.FromCluster)
		}
	}
	slices.Sort(names)
	return names
}

// Explain says of clusters that the template is leaving, or has to leave, why it is there still, and of those that it will have to
// leave, when. Targets are where it goes as it is decided now. The words follow the name of the cluster.
func Explain(f Facts, targets []workv1alpha1.TargetCluster) map[string]string {
	said := map[string]string{}
	for _, target := range targets {
		if until := f.toleratedYet(target.Name); until != "" {
			said[target.Name] = until
		}
	}
	for _, task := range f.Binding.GetSpec().GracefulEvictionTasks {
		const keeps = ", and keeps its copy until the others are healthy"
		goes := targetOf(targets, task.FromCluster) != nil
		taint, _ := f.drains(task.FromCluster)
		switch {
		case goes && (task.Reason == ReasonTaintRemoved || task.Reason == ReasonRescheduled):
			// It stays. That it may keep more replicas for a while is in its work.
		case goes:
			said[task.FromCluster] = "has to be left because of a taint NoExecute, and goes on, for it has no other place"
			if task.Message != "" {
				said[task.FromCluster] += ": " + task.Message
			}
		case task.Reason == ReasonTaintRemoved:
			said[task.FromCluster] = "need not be left any more, but the placement does not choose it; it keeps its copy until the others are healthy"
		case task.Reason == ReasonRescheduled:
			said[task.FromCluster] = "is being left" + keeps
		case !f.Claimed && taint == nil:
			said[task.FromCluster] = "is being left because of a taint NoExecute that it has no longer, for without a policy nothing takes that back" + keeps
		default:
			said[task.FromCluster] = "is being left because of a taint NoExecute" + keeps
		}
	}
	return said
}

// toleratedYet says until when the template may stay in a cluster that it will have to leave; empty when it may for good, or has to
// leave it by now.
func (f *Facts) toleratedYet(name string) string {
	if !f.Claimed || f.Ended {
		return ""
	}
	taint, due := f.drains(name)
	if taint == nil || !due.After(f.Now) {
		return ""
	}
	return "has the taint " + describe(taint) + ", which is tolerated until " + due.UTC().Format(time.RFC3339) + ", and has to be left then"
}

// drains is leaves for a cluster that stays on the hub.
func (f *Facts) drains(name string) (*corev1.Taint, time.Time) {
	cluster := f.Cluster(name)
	if cluster == nil || cluster.DeletionTimestamp != nil {
		return nil, time.Time{}
	}
	return f.leaves(cluster)
}

// Has are the clusters that have a binding's template as far as its place is concerned: those that it goes to, and those
// that it was leaving and need not leave any more. Where replicas are divided, these have theirs again, and what others had
// taken over for them is taken off those.
func Has(spec *workv1alpha1.BindingSpec) []workv1alpha1.TargetCluster {
	back := returning(spec)
	if len(back) == 0 {
		return spec.Clusters
	}
	has := slices.Clone(spec.Clusters)
	if spec.Replicas != nil && divided(spec.Placement) {
		for i := range back {
			back[i].Replicas = takeOff(has, min(back[i].Replicas, *spec.Replicas))
		}
	}
	return append(has, back...)
}

// Returning names the clusters that a template was leaving, need not leave any more, and does not go to.
func Returning(spec *workv1alpha1.BindingSpec) []string {
	var names []string
	for _, target := range returning(spec) {
		names = append(names, target.Name)
	}
	return names
}

func returning(spec *workv1alpha1.BindingSpec) []workv1alpha1.TargetCluster {
	var back []workv1alpha1.TargetCluster
	for _, task := range spec.GracefulEvictionTasks {
		if task.Reason == ReasonTaintRemoved && targetOf(spec.Clusters, task.FromCluster) == nil {
			back = append(back, workv1alpha1.TargetCluster{Name: task.FromCluster, Replicas: ptr.Deref(task.Replicas, 0)})
		}
	}
	return back
}

func divided(placement *policyv1alpha1.Placement) bool {
	return placement != nil && placement.ReplicaScheduling != nil && placement.ReplicaScheduling.ReplicaSchedulingType != policyv1alpha1.ReplicaSchedulingDuplicated
}

// takeOff takes so many replicas off targets, always from where there are most, of equals from the first, and returns how many it
// found. One after the other would do; these are all of one height at once, for a user may write two billions.
func takeOff(targets []workv1alpha1.TargetCluster, replicas int32) int32 {
	left := int64(replicas)
	for left > 0 {
		highest, next, those := heights(targets)
		if highest == 0 {
			break
		}
		each := min(int64(highest-next), left/those)
		for i := range targets {
			switch {
			case targets[i].Replicas != highest || left == 0:
			case each > 0:
				targets[i].Replicas -= int32(each)
				left -= each
			default: // fewer are left than there are of that height
				targets[i].Replicas--
				left--
			}
		}
	}
	return replicas - int32(left)
}

// heights are the most replicas of a target, the most that is less than that, or 0, and how many have the most.
func heights(targets []workv1alpha1.TargetCluster) (highest, next int32, those int64) {
	for _, target := range targets {
		switch {
		case target.Replicas > highest:
			highest, next, those = target.Replicas, highest, 1
		case target.Replicas == highest:
			those++
		case target.Replicas > next:
			next = target.Replicas
		}
	}
	return highest, next, those
}

// Matters says whether the step from one state of a cluster to another can change a decision; nil is a cluster that is
// not there.
func Matters(old, new *clusterv1alpha1.MemberCluster) bool {
	return leavingHub(old) != leavingHub(new) || noExecute(old) != noExecute(new)
}

func leavingHub(cluster *clusterv1alpha1.MemberCluster) bool {
	return cluster == nil || cluster.DeletionTimestamp != nil
}

// noExecute writes down everything about a cluster's taints that a decision looks at.
func noExecute(cluster *clusterv1alpha1.MemberCluster) string {
	if cluster == nil {
		return ""
	}
	var all []string
	for _, t := range cluster.Spec.Taints {
		if t.Effect == corev1.TaintEffectNoExecute {
			all = append(all, fmt.Sprintf("%s=%s@%d", t.Key, t.Value, cmp.Or(t.TimeAdded, &metav1.Time{}).Unix()))
		}
	}
	slices.Sort(all)
	return strings.Join(all, ",")
}
