// Package scheduler decides where each binding goes. It is the only writer of a binding's clusters
// and of what its status says of scheduling.
package scheduler

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/tools/cache"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/source"

	clusterv1alpha1 "windlass.dev/windlass/api/cluster/v1alpha1"
	policyv1alpha1 "windlass.dev/windlass/api/policy/v1alpha1"
	workv1alpha1 "windlass.dev/windlass/api/work/v1alpha1"
	"windlass.dev/windlass/hub/capacity"
	"windlass.dev/windlass/hub/store"
	"windlass.dev/windlass/hub/templates"
	"windlass.dev/windlass/pkg/aggregate"
	"windlass.dev/windlass/pkg/evict"
	"windlass.dev/windlass/pkg/interpret"
	"windlass.dev/windlass/pkg/schedule"
)

// Templates is what the controller needs of the watches on users' objects.
type Templates interface {
	Handle(templates.Handler)
	Get(templates.Key) (obj *unstructured.Unstructured, known bool)
}

// Reconciler places bindings. Its key is a binding.
type Reconciler struct {
	Bindings store.Bindings
	Clusters store.Kind[*clusterv1alpha1.MemberCluster]
	// Works tell of a Job that has ended from where its removal is held.
	Works store.Works
	// Templates tell of a Job whether it has ended.
	Templates Templates
	Workers   int
	// KeepEmpty keeps clusters that get no replica of a workload.
	KeepEmpty bool
	// Room tells how much room clusters have.
	Room Room
	Now  func() time.Time

	fleet      fleet
	placements placements
	company    company
	turns      turns
	drains     drains
}

// Setup adds the controller to the manager. Before the manager starts, the caller waits until the
// returned function says that all clusters are known: against a part of the fleet nothing can be
// decided.
func (r *Reconciler) Setup(mgr manager.Manager) (synced func() bool, err error) {
	c, err := controller.NewTyped("scheduler", mgr, controller.TypedOptions[types.NamespacedName]{
		Reconciler:              r,
		MaxConcurrentReconciles: r.Workers,
	})
	if err != nil {
		return nil, err
	}
	all := &store.Mailbox[types.NamespacedName]{}
	registration, err := r.Clusters.Informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: func(obj any) { r.clusterChanged(all, nil, obj.(*clusterv1alpha1.MemberCluster)) },
		UpdateFunc: func(old, new any) {
			r.clusterChanged(all, old.(*clusterv1alpha1.MemberCluster), new.(*clusterv1alpha1.MemberCluster))
		},
		DeleteFunc: func(obj any) {
			if unknown, ok := obj.(cache.DeletedFinalStateUnknown); ok {
				obj = unknown.Obj
			}
			r.clusterChanged(all, obj.(*clusterv1alpha1.MemberCluster), nil)
		},
	})
	if err != nil {
		return nil, err
	}
	r.Room.Listen(func() { r.roomGrew(all) })
	r.Templates.Handle(r.handler(all))
	for _, source := range append(store.Sources(r.Bindings.Scoped, r.woken), source.TypedSource[types.NamespacedName](all)) {
		if err := c.Watch(store.Ranked(source, r.rank)); err != nil {
			return nil, err
		}
	}
	return registration.HasSynced, nil
}

// roomGrew wakes the bindings that wait for room, or for those who know of it.
func (r *Reconciler) roomGrew(wake *store.Mailbox[types.NamespacedName]) {
	r.turns.grow(func() {
		waiting := slices.DeleteFunc(r.Bindings.List(), func(binding workv1alpha1.Binding) bool {
			return !r.waitsForRoom(binding) && !r.turns.isPutOff(store.Key(binding))
		})
		for _, binding := range waiting {
			r.turns.wake(store.Key(binding), r.rank(store.Key(binding)))
		}
		for _, binding := range waiting {
			wake.Add(store.Key(binding), false)
		}
	})
}

// woken are the bindings that a change of one of them wakes. Those that are placed by room take turns with the others from
// now on.
func (r *Reconciler) woken(old, new workv1alpha1.Binding) []types.NamespacedName {
	if new == nil {
		r.turns.leave(store.Key(old)) // nothing else wakes one that was put off
		r.drains.forget(store.Key(old))
	} else {
		r.drains.saw(new)
	}
	keys := append(bindingChanged(old, new), r.waitingFor(old, new)...)
	for _, key := range keys {
		if binding, ok := r.Bindings.Get(key); ok && r.byRoom(binding) {
			r.turns.wake(key, r.rank(key))
		}
	}
	return keys
}

// rank is the place of a binding in the queue. A binding is placed as it is written, and so before any other; the
// queue is for what is placed anew, when clusters change and many are at once.
func (r *Reconciler) rank(key types.NamespacedName) int {
	if binding, ok := r.Bindings.Get(key); ok && binding.GetSpec().SchedulePriority != nil {
		return int(binding.GetSpec().SchedulePriority.Priority)
	}
	return 0
}

// bindingChanged wakes a binding whose spec is not the one that was last decided on, one that a policy
// has claimed or released since, and one whose decision was just written: what was decided while the
// cache did not show that yet is decided again.
func bindingChanged(old, new workv1alpha1.Binding) []types.NamespacedName {
	if new == nil || new.GetDeletionTimestamp() != nil {
		return nil
	}
	if old != nil && old.GetGeneration() == new.GetGeneration() && store.Claimed(old) == store.Claimed(new) &&
		equality.Semantic.DeepEqual(scheduledCondition(old), scheduledCondition(new)) {
		return nil
	}
	return []types.NamespacedName{store.Key(new)}
}

func scheduledCondition(binding workv1alpha1.Binding) *metav1.Condition {
	return meta.FindStatusCondition(binding.GetStatus().Conditions, workv1alpha1.BindingScheduled)
}

// clusterChanged keeps the fleet, and wakes all bindings when the change matters to placement.
func (r *Reconciler) clusterChanged(wake *store.Mailbox[types.NamespacedName], old, new *clusterv1alpha1.MemberCluster) {
	if old != nil && new != nil && aggregate.Holding(old) == "" && aggregate.Holding(new) != "" {
		r.holdingBegins(wake)
	}
	if old != nil && new != nil && !schedule.Changed(old, new) {
		return
	}
	if new != nil {
		r.fleet.put(new)
	} else {
		r.fleet.delete(old.Name)
	}
	for _, binding := range r.Bindings.List() {
		if !r.waitsForRoom(binding) {
			wake.Add(store.Key(binding), false)
		}
	}
	r.roomGrew(wake)
}

// Reconcile places one binding.
func (r *Reconciler) Reconcile(ctx context.Context, key types.NamespacedName) (ctrl.Result, error) {
	binding, ok := r.Bindings.Get(key)
	if !ok || binding.GetDeletionTimestamp() != nil || othersTurn(binding) || r.unknown(binding) {
		r.turns.leave(key)
		return ctrl.Result{}, nil
	}
	if !r.byRoom(binding) {
		r.turns.leave(key)
		return r.write(ctx, binding, r.step(binding, r.fleet.snapshot(), nil))
	}
	rank := r.rank(key)
	if !r.turns.begin(key, rank) {
		return ctrl.Result{RequeueAfter: turnAgain}, nil
	}
	defer r.turns.end(key)
	fleet := r.fleet.snapshot()
	r.turns.putOff(key) // before anybody is asked: whoever comes back afterwards wakes it
	room := r.gather(ctx, fleet, binding.GetSpec().ReplicaRequirements)
	var next step
	var awaited []string
	if !r.turns.inTurn(rank, func() {
		known := room()
		if awaited = r.hinges(binding, fleet, known); len(awaited) == 0 {
			next = r.step(binding, fleet, known)
		}
	}) {
		r.turns.wake(key, rank) // as it would be if it had not begun
		return ctrl.Result{RequeueAfter: turnAgain}, nil
	}
	if len(awaited) > 0 {
		return r.tellOfAwaited(ctx, binding, awaited)
	}
	r.turns.goOn(key)
	return r.write(ctx, binding, next)
}

// A step is a decision as it is to be written.
type step struct {
	decision  schedule.Decision
	scheduled workv1alpha1.Binding
	changed   bool   // else there is nothing to write
	undo      func() // takes back what was assumed of the room in clusters
}

// step decides, and takes the room of what is placed.
func (r *Reconciler) step(binding workv1alpha1.Binding, fleet *schedule.Fleet, room []capacity.Answer) step {
	next := step{decision: r.decide(binding, fleet, room), scheduled: binding.DeepCopyObject().(workv1alpha1.Binding), undo: func() {}}
	r.noteRun(next.scheduled)
	if next.changed = record(next.scheduled, next.decision, r.carefully(binding), r.Now()); next.changed {
		next.undo = r.placed(next.scheduled, binding.GetSpec().Clusters)
	}
	return next
}

// write writes what was decided, and gives the room back when it can't be.
func (r *Reconciler) write(ctx context.Context, binding workv1alpha1.Binding, next step) (ctrl.Result, error) {
	if !next.changed {
		return ctrl.Result{RequeueAfter: r.patience(binding, next.decision)}, nil
	}
	written, err := r.Bindings.UpdateSchedule(ctx, next.scheduled)
	if err != nil {
		next.undo()
		if apierrors.IsConflict(err) {
			r.turns.wake(store.Key(binding), r.rank(store.Key(binding))) // it comes back at once, and its turn is still its own
		}
		return store.Outcome(fmt.Errorf("recording where binding %s goes: %w", store.Key(binding), err))
	}
	r.wrote(written)
	return ctrl.Result{RequeueAfter: r.patience(binding, next.decision)}, nil
}

// The bounds of a wait for room. What clusters say of their room is up to 10 seconds old.
const leastPatience, mostPatience = 10 * time.Second, 2 * time.Minute

// patience is after how long a binding without a place, or without one to leave for, is looked at again, because there may be room by then; 0 is never. The
// longer it has had none, the longer that is.
func (r *Reconciler) patience(binding workv1alpha1.Binding, decision schedule.Decision) time.Duration {
	if decision.Scheduled && decision.Reason != schedule.ReasonNowhereElse || !r.byRoom(binding) {
		return 0
	}
	var waited time.Duration
	if condition := scheduledCondition(binding); waits(condition) {
		since := condition.LastTransitionTime
		if condition.Status == metav1.ConditionTrue && binding.GetStatus().LastScheduledTime != nil {
			since = *binding.GetStatus().LastScheduledTime // it was True, too, before it had to leave
		}
		waited = r.Now().Sub(since.Time)
	}
	return wait.Jitter(min(max(waited/4, leastPatience), mostPatience), 0.2)
}

// waitsForRoom says whether a binding has found no place, and may when there is more room.
func (r *Reconciler) waitsForRoom(binding workv1alpha1.Binding) bool {
	return waits(scheduledCondition(binding)) && r.byRoom(binding)
}

// waits says whether a binding with such a condition has found no place, or none but the one that it has to leave.
func waits(scheduled *metav1.Condition) bool {
	return scheduled != nil && (scheduled.Status == metav1.ConditionFalse || scheduled.Reason == schedule.ReasonNowhereElse)
}

// byRoom says whether the room of clusters decides where a binding goes, and this scheduler does.
func (r *Reconciler) byRoom(binding workv1alpha1.Binding) bool {
	placement, err := r.placements.compile(binding.GetSpec().Placement)
	return err == nil && placement.NeedsCapacity() && binding.GetSpec().Replicas != nil && store.Claimed(binding) && ours(binding)
}

// Place decides about a binding whose spec is being written, so that no write of its own is needed: it
// writes the decision into the binding, and says whether there is one. The fleet must be known.
func (r *Reconciler) Place(binding workv1alpha1.Binding) bool {
	if othersTurn(binding) || r.byRoom(binding) || r.unknown(binding) {
		return false // agents are not waited for while a write waits
	}
	before := binding.GetSpec().Clusters
	decision := r.decide(binding, r.fleet.snapshot(), nil)
	r.noteRun(binding) // after the decision: if the Job ends meanwhile, this placement must not count as the one with which it ran
	record(binding, decision, r.carefully(binding), r.Now())
	r.placed(binding, before)
	return true
}

// left are the clusters that a template has to leave, as the cache has them. Who evicts may have heard of a taint before the fleet has it, and
// what is said of the template first, and as an event only then, would not name it.
func (r *Reconciler) left(spec *workv1alpha1.BindingSpec) []*schedule.Cluster {
	var clusters []*schedule.Cluster
	for _, name := range evict.Leaving(spec) {
		if cluster, there := r.Clusters.Get("", name); there {
			clusters = append(clusters, schedule.CompileCluster(cluster))
		}
	}
	return clusters
}

// ours says whether this scheduler places the binding.
func ours(binding workv1alpha1.Binding) bool { return binding.GetSpec().PlacedByHub() }

// othersTurn says whether all that is written about where the binding goes is another scheduler's word. Only
// that it is left to that one, this scheduler says, once, when nothing has been said yet.
func othersTurn(binding workv1alpha1.Binding) bool {
	return !ours(binding) && scheduledCondition(binding) != nil
}

// decide asks where a binding goes in a fleet. Room is that of its clusters, in their order, where that matters.
func (r *Reconciler) decide(binding workv1alpha1.Binding, fleet *schedule.Fleet, room []capacity.Answer) schedule.Decision {
	facts, settled := r.question(binding, fleet, room)
	switch {
	case settled != nil:
		return *settled
	case binding.GetSpec().WorkloadAffinityGroups == nil:
		return schedule.Decide(facts)
	}
	return r.inCompany(binding, facts)
}

// question gathers what a decision is made from, but for the company of a binding that has groups; or says what is settled
// without one.
func (r *Reconciler) question(binding workv1alpha1.Binding, fleet *schedule.Fleet, room []capacity.Answer) (facts schedule.Facts, settled *schedule.Decision) {
	spec := binding.GetSpec()
	if !ours(binding) {
		return facts, &schedule.Decision{Clusters: spec.Clusters, Reason: workv1alpha1.ScheduledByAnother, Message: fmt.Sprintf(
			"the scheduler %q is to place it, as spec.schedulerName says; the hub's own leaves it alone", spec.SchedulerName)}
	}
	if !store.Claimed(binding) {
		return facts, r.keep(binding)
	}
	placement, err := r.placements.compile(spec.Placement)
	if err != nil {
		return facts, &schedule.Decision{Clusters: spec.Clusters, Group: group(binding), Reason: schedule.ReasonSchedulerError, Message: err.Error()}
	}
	facts = schedule.Facts{
		Template:  schedule.Template{Kind: store.TemplateKey(binding).GroupVersionKind, UID: spec.Resource.UID},
		Replicas:  spec.Replicas,
		Placement: placement,
		Fleet:     fleet,
		Current:   evict.Has(spec),
		Leaving:   evict.Leaving(spec),
		Left:      r.left(spec),
		Paused:    paused(spec.Suspension),
		Ended:     r.ended(binding),
		Ran:       r.ran(binding),
		Returning: evict.Returning(spec),
		Held:      r.held(binding),
		KeepEmpty: r.KeepEmpty,
		Group:     group(binding),
		Fresh:     afresh(binding),
	}
	facts.Available, facts.Assumed = available(room)
	return facts, nil
}

// job is the template of a binding, where that is a Job; known is false before the hub has seen it. Of other kinds there is nothing to
// know.
func (r *Reconciler) job(binding workv1alpha1.Binding) (job *unstructured.Unstructured, known bool) {
	key := store.TemplateKey(binding)
	if !interpret.Ends(key.GroupKind()) {
		return nil, true
	}
	if job, known = r.Templates.Get(key); !known || job == nil || job.GetUID() != binding.GetSpec().Resource.UID {
		return nil, false
	}
	return job, true
}

// unknown says whether a binding is a Job's of which it is not known whether it has ended. Nothing is decided then: in another cluster one
// that has ended would run once more.
func (r *Reconciler) unknown(binding workv1alpha1.Binding) bool {
	_, known := r.job(binding)
	return !known
}

// ended says whether a binding is that of a Job that has ended.
func (r *Reconciler) ended(binding workv1alpha1.Binding) bool {
	job, _ := r.job(binding)
	return job != nil && interpret.Ended(job)
}

// noteRun notes in the binding of a Job that has not ended with which placement it runs. When it has, another placement can't tell
// whether clusters were chosen for it.
func (r *Reconciler) noteRun(binding workv1alpha1.Binding) {
	job, _ := r.job(binding)
	if job == nil || interpret.Ended(job) || !store.Claimed(binding) || !ours(binding) {
		return
	}
	placement, err := json.Marshal(binding.GetSpec().Placement)
	if err != nil {
		return
	}
	annotations := binding.GetAnnotations()
	if annotations == nil {
		annotations = map[string]string{}
	}
	annotations[workv1alpha1.AppliedPlacementAnnotation] = string(placement)
	binding.SetAnnotations(annotations)
}

// ran is the placement with which a Job that has ended ran, where that was noted.
func (r *Reconciler) ran(binding workv1alpha1.Binding) *schedule.Placement {
	noted := binding.GetAnnotations()[workv1alpha1.AppliedPlacementAnnotation]
	if noted == "" || !r.ended(binding) {
		return nil
	}
	var placement policyv1alpha1.Placement
	if json.Unmarshal([]byte(noted), &placement) != nil {
		return nil // somebody has changed it
	}
	compiled, err := r.placements.compile(&placement)
	if err != nil {
		return nil
	}
	return compiled
}

// held are the clusters that the binding of a Job that has ended does not go to, and from which it is not removed before a person
// confirms that. What is only on its way out is none of them: sent there again, it might run once more.
func (r *Reconciler) held(binding workv1alpha1.Binding) []workv1alpha1.TargetCluster {
	if !r.ended(binding) {
		return nil
	}
	spec := binding.GetSpec()
	var held []workv1alpha1.TargetCluster
	for _, work := range r.Works.ByIndex(store.ByBinding, store.BindingIndex(store.Key(binding))) {
		name := strings.TrimPrefix(work.Namespace, workv1alpha1.ExecutionNamespacePrefix)
		cluster, known := r.Clusters.Get("", name)
		if !known || work.Spec.RemovalCause != workv1alpha1.RemovalNotSelected || work.Spec.Template == nil || work.Spec.Template.UID != spec.Resource.UID ||
			!aggregate.IsHeld(work, aggregate.Holding(cluster)) {
			continue
		}
		held = append(held, workv1alpha1.TargetCluster{Name: name, Replicas: ptr.Deref(work.Spec.Replicas, 0)})
	}
	return held
}

// holdingBegins wakes the bindings of Jobs that have ended: one whose cluster was selected again before its removal from there was
// known to be held stays there.
func (r *Reconciler) holdingBegins(wake *store.Mailbox[types.NamespacedName]) {
	for _, binding := range r.Bindings.List() {
		if r.ended(binding) {
			wake.Add(store.Key(binding), false)
		}
	}
}

// handler wakes the bindings of Jobs on which nothing could be decided before the hub had seen the Job. The end of one
// changes nothing about where it is.
func (r *Reconciler) handler(wake *store.Mailbox[types.NamespacedName]) templates.Handler {
	return r.Bindings.HandleJobs(wake, func(binding workv1alpha1.Binding) bool {
		return binding.GetStatus().SchedulerObservedGeneration != binding.GetGeneration()
	})
}

// paused are the clusters that a policy names to pause what is sent there.
func paused(suspension *workv1alpha1.BindingSuspension) []string {
	if suspension == nil || suspension.DispatchingOnClusters == nil {
		return nil
	}
	return suspension.DispatchingOnClusters.ClusterNames
}

// group is the affinity group that a binding's clusters were chosen from.
func group(binding workv1alpha1.Binding) string {
	return binding.GetStatus().SchedulerObservingAffinityName
}

// afresh says whether somebody has asked to place the binding as if it was new, and that could not be done yet.
func afresh(binding workv1alpha1.Binding) bool {
	asked, last := binding.GetSpec().RescheduleTriggeredAt, binding.GetStatus().LastScheduledTime
	return asked != nil && (last == nil || asked.After(last.Time))
}

// keep is the decision for a binding that no policy claims: it stays where it is, but in clusters
// that are leaving.
func (r *Reconciler) keep(binding workv1alpha1.Binding) *schedule.Decision {
	clusters := slices.DeleteFunc(slices.Clone(binding.GetSpec().Clusters), func(target workv1alpha1.TargetCluster) bool {
		cluster, ok := r.Clusters.Get("", target.Name)
		return !ok || cluster.DeletionTimestamp != nil
	})
	message := "no policy claims the template any more; it stays where it is"
	if left := evict.BeingLeft(binding.GetSpec()); left != "" {
		message = "no policy claims the template any more; it goes on to leave " + left + ", and stays in the other clusters"
	}
	return &schedule.Decision{Clusters: clusters, Group: group(binding), Scheduled: true, Reason: schedule.ReasonSuccess, Message: message}
}

// record writes a decision into a binding and says whether that changed anything. What moves carefully stays where it is until it is
// healthy elsewhere.
func record(binding workv1alpha1.Binding, decision schedule.Decision, carefully bool, now time.Time) bool {
	spec, status := binding.GetSpec(), binding.GetStatus()
	generation := binding.GetGeneration()
	before := spec.Clusters
	moved := !equality.Semantic.DeepEqual(before, decision.Clusters)
	if moved {
		tasks := spec.GracefulEvictionTasks
		if carefully {
			kind := store.TemplateKey(binding).GroupKind()
			tasks = evict.Move(spec, decision.Clusters, leavesHub(decision), interpret.Ends(kind), now)
		}
		spec.GracefulEvictionTasks = evict.Follow(spec, tasks, decision.Clusters)
		spec.Clusters = decision.Clusters
		generation++ // the store counts a change of the clusters as one of the spec
	}
	condition := metav1.Condition{
		Type: workv1alpha1.BindingScheduled, Status: metav1.ConditionFalse,
		Reason: decision.Reason, Message: decision.Message,
		ObservedGeneration: generation, LastTransitionTime: metav1.NewTime(now),
	}
	if decision.Reason == schedule.ReasonNoClusterFit {
		condition.Message += removal(before, scheduledCondition(binding))
	}
	if kept := evict.Kept(spec.GracefulEvictionTasks); kept != "" {
		condition.Message += "; " + kept
	}
	if decision.Scheduled {
		condition.Status = metav1.ConditionTrue
	}
	changed := meta.SetStatusCondition(&status.Conditions, condition)
	asked := afresh(binding)
	if !moved && !changed && status.SchedulerObservedGeneration == generation && status.SchedulerObservingAffinityName == decision.Group && !(asked && decision.Scheduled) {
		return false
	}
	status.SchedulerObservedGeneration = generation
	status.SchedulerObservingAffinityName = decision.Group
	switch {
	case asked && !decision.Scheduled:
		return true // what was asked for is still to be done: the time stays before the request, so that the next decision is made afresh as well
	case asked:
		now = later(now, spec.RescheduleTriggeredAt.Time) // else one that is ahead of our clock would be done again and again
	}
	status.LastScheduledTime = &metav1.Time{Time: now}
	return true
}

const removedFrom, namedRemoved = "; it is removed from ", 3

// removal says from where a template that no cluster may have is taken, as long as that is so.
func removal(clusters []workv1alpha1.TargetCluster, said *metav1.Condition) string {
	if len(clusters) == 0 {
		if said != nil && said.Reason == schedule.ReasonNoClusterFit {
			if at := strings.LastIndex(said.Message, removedFrom); at >= 0 {
				return said.Message[at:]
			}
		}
		return ""
	}
	var names []string
	for _, cluster := range clusters[:min(len(clusters), namedRemoved)] {
		names = append(names, cluster.Name)
	}
	text := removedFrom + strings.Join(names, ", ")
	if more := len(clusters) - len(names); more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

// leavesHub says which clusters leave the hub, as far as a decision knows.
func leavesHub(decision schedule.Decision) func(cluster string) bool {
	return func(cluster string) bool {
		return slices.ContainsFunc(decision.Refused, func(refused schedule.Refusal) bool {
			return refused.Cluster == cluster && refused.Rule == schedule.RuleClusterDeleting
		})
	}
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// A fleet is the compiled form of all clusters.
type fleet struct {
	mu       sync.Mutex
	compiler schedule.Compiler
	clusters map[string]*schedule.Cluster
	current  *schedule.Fleet // nil when clusters has changed since
}

func (f *fleet) put(cluster *clusterv1alpha1.MemberCluster) {
	f.mu.Lock()
	defer f.mu.Unlock()
	compiled := f.compiler.Cluster(cluster)
	if f.clusters == nil {
		f.clusters = map[string]*schedule.Cluster{}
	}
	f.clusters[cluster.Name], f.current = compiled, nil
}

func (f *fleet) delete(name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.clusters, name)
	f.current = nil
}

func (f *fleet) snapshot() *schedule.Fleet {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.current == nil {
		clusters := make([]*schedule.Cluster, 0, len(f.clusters))
		for _, cluster := range f.clusters {
			clusters = append(clusters, cluster)
		}
		f.current = schedule.NewFleet(clusters)
	}
	return f.current
}

// placements shares the compiled form of equal placements: the bindings of one policy have one.
type placements struct {
	mu       sync.Mutex
	compiled map[string]*schedule.Placement // by the placement's protobuf
}

// mostPlacements bounds the cache; more than this many different placements are compiled anew.
const mostPlacements = 4096

func (p *placements) compile(placement *policyv1alpha1.Placement) (*schedule.Placement, error) {
	if placement == nil {
		return schedule.Compile(nil)
	}
	content, err := placement.Marshal()
	if err != nil {
		return nil, fmt.Errorf("reading the placement: %w", err)
	}
	key := string(content)
	p.mu.Lock()
	defer p.mu.Unlock()
	if known, ok := p.compiled[key]; ok {
		return known, nil
	}
	compiled, err := schedule.Compile(placement)
	if err != nil {
		return nil, err
	}
	if p.compiled == nil || len(p.compiled) >= mostPlacements {
		p.compiled = map[string]*schedule.Placement{}
	}
	p.compiled[key] = compiled
	return compiled, nil
}
