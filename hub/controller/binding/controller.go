// Package binding writes one work for each cluster of a binding, with its overrides. It is the only
// writer of a work's spec.
package binding

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/source"

	clusterv1alpha1 "windlass.dev/windlass/api/cluster/v1alpha1"
	policyv1alpha1 "windlass.dev/windlass/api/policy/v1alpha1"
	workv1alpha1 "windlass.dev/windlass/api/work/v1alpha1"
	"windlass.dev/windlass/hub/store"
	"windlass.dev/windlass/hub/templates"
	"windlass.dev/windlass/pkg/evict"
	"windlass.dev/windlass/pkg/interpret"
	"windlass.dev/windlass/pkg/policy"
	"windlass.dev/windlass/pkg/render"
	"windlass.dev/windlass/pkg/schedule"
)

// Templates is what the controller needs of the watches on users' objects.
type Templates interface {
	Handle(templates.Handler)
	Get(templates.Key) (obj *unstructured.Unstructured, known bool)
	Deleted(types.UID) bool
	Live(context.Context, templates.Key) (*unstructured.Unstructured, error)
}

// Reconciler writes works. Its key is a binding.
type Reconciler struct {
	Bindings  store.Bindings
	Works     store.Works
	Templates Templates
	Policies  store.Scoped[policyv1alpha1.Policy]
	// Overrides are the override policies of both scopes. The namespaced ones need the index by namespace.
	Overrides store.Scoped[policyv1alpha1.Override]
	Clusters  store.Kind[*clusterv1alpha1.MemberCluster]
	// Accepts says whether works may be written for a cluster: it exists, is not being removed, and
	// its execution namespace is there.
	Accepts func(cluster string) bool
	// Terminating asks the API server whether a namespace is being deleted, or gone.
	Terminating func(ctx context.Context, namespace string) (bool, error)
	// Rush is told while works of many clusters are written.
	Rush    *store.Rush
	Workers int
	Log     *slog.Logger
	Now     func() time.Time

	unseen    unseen
	ends      ends
	overrides overrides
}

// writesAtOnce bounds how many works of one binding are written at the same time: enough to share
// the store's fsyncs, few enough to leave room for other bindings.
const writesAtOnce = 32

// Setup adds the controller to the manager. The mailbox that it returns wakes a binding.
func (r *Reconciler) Setup(mgr manager.Manager) (*store.Mailbox[types.NamespacedName], error) {
	c, err := controller.NewTyped("binding", mgr, controller.TypedOptions[types.NamespacedName]{
		Reconciler:              r,
		MaxConcurrentReconciles: r.Workers,
	})
	if err != nil {
		return nil, err
	}
	wake := &store.Mailbox[types.NamespacedName]{}
	r.Templates.Handle(r.templatesHandler(wake))
	sources := append(store.Sources(r.Bindings.Scoped, bindingChanged), store.Sources(r.Overrides, r.overrideChanged)...)
	sources = append(sources, store.Sources(r.Policies, r.policyChanged)...)
	sources = append(sources, source.TypedSource[types.NamespacedName](wake), store.Source(r.Works.Informer, r.workChanged), store.Source(r.Clusters.Informer, r.clusterChanged))
	for _, source := range sources {
		if err := c.Watch(source); err != nil {
			return nil, err
		}
	}
	return wake, nil
}

// templatesHandler wakes the bindings of templates. That a kind is watched is news of the start, as its templates are. Of a status
// nothing goes to the members; only that a Job has ended changes how what is sent is divided.
func (r *Reconciler) templatesHandler(wake *store.Mailbox[types.NamespacedName]) templates.Handler {
	return templates.Handler{
		Changed: func(key templates.Key, initial bool) {
			for _, binding := range r.Bindings.ByIndex(store.ByTemplate, store.TemplateIndex(key)) {
				wake.Add(store.Key(binding), initial)
			}
		},
		ContentOnly: func(kind schema.GroupKind) bool { return !interpret.Ends(kind) },
		Kind: func(kind schema.GroupVersionKind) {
			for _, binding := range r.Bindings.List() {
				if store.TemplateKey(binding).GroupVersionKind == kind {
					wake.Add(store.Key(binding), true)
				}
			}
		},
	}
}

// bindingChanged wakes a binding for all but what only its status says.
func bindingChanged(old, new workv1alpha1.Binding) []types.NamespacedName {
	if new == nil {
		return nil
	}
	if old != nil && old.GetGeneration() == new.GetGeneration() && (old.GetDeletionTimestamp() == nil) == (new.GetDeletionTimestamp() == nil) &&
		old.GetStatus().SchedulerObservedGeneration == new.GetStatus().SchedulerObservedGeneration &&
		claimOf(old) == claimOf(new) && activated(old) == activated(new) &&
		equality.Semantic.DeepEqual(renderedCondition(old), renderedCondition(new)) {
		return nil
	}
	return []types.NamespacedName{store.Key(new)}
}

// activated is what a binding says that a Lazy policy was looked at for.
func activated(binding workv1alpha1.Binding) string {
	return binding.GetAnnotations()[workv1alpha1.ActivatedTemplateAnnotation]
}

// overrideMissing is the reason of a binding whose policy waits for override policies.
const overrideMissing = "OverrideMissing"

// overrideFailed is the reason of a binding of which some clusters keep what they have, because overrides for them can't be made.
const overrideFailed = "OverrideFailed"

func renderedCondition(binding workv1alpha1.Binding) *metav1.Condition {
	return meta.FindStatusCondition(binding.GetStatus().Conditions, workv1alpha1.BindingRendered)
}

// workChanged wakes the binding of a work that is gone, or whose spec somebody has written.
func (r *Reconciler) workChanged(old, new *workv1alpha1.PropagationWork) []types.NamespacedName {
	work := new
	if new == nil {
		work = old
	}
	r.unseen.saw(work.ResourceVersion)
	if new != nil && (old == nil || old.Generation == new.Generation) {
		return nil
	}
	if work.Spec.Binding == nil {
		return nil
	}
	binding := types.NamespacedName{Namespace: work.Spec.Binding.Namespace, Name: work.Spec.Binding.Name}
	if new != nil {
		r.ends.forget(binding) // what was decided of its works may not hold
	} else if !r.ends.ended(binding) {
		return nil
	}
	return []types.NamespacedName{binding}
}

// Reconcile makes the works of a binding those that it asks for.
func (r *Reconciler) Reconcile(ctx context.Context, key types.NamespacedName) (ctrl.Result, error) {
	binding, ok := r.Bindings.Get(key)
	if !ok {
		r.ends.forget(key)
		return ctrl.Result{}, nil
	}
	if r.unseen.has(key, r.Now()) {
		return ctrl.Result{RequeueAfter: unseenPause}, nil
	}
	if binding.GetDeletionTimestamp() != nil {
		return r.finish(ctx, key, binding)
	}
	r.ends.forget(key) // of one before it under the same name
	works := r.works(key)
	if binding.GetStatus().SchedulerObservedGeneration != binding.GetGeneration() {
		return ctrl.Result{}, nil // the scheduler's decision wakes it: half a change is not worth a write
	}
	if err := r.withdraw(ctx, binding, works); err != nil {
		return store.Outcome(err)
	}
	if !store.Claimed(binding) { // released: the members stay as they are, but for what was moving
		if condition := renderedCondition(binding); condition != nil && condition.Reason == overrideMissing { // that was the policy's word
			if err := r.recordRendered(ctx, binding, "", nil); err != nil {
				return store.Outcome(err)
			}
		}
		return store.Outcome(r.rescale(ctx, binding, works, evict.Surplus(binding.GetSpec(), writtenWith(works))))
	}
	template, known := r.Templates.Get(store.TemplateKey(binding))
	if !known || template == nil || template.GetUID() != binding.GetSpec().Resource.UID {
		return ctrl.Result{}, nil // the policy controller knows what to do with the binding
	}
	p := r.policyOf(binding)
	err := r.awaitsOverrides(p)
	if err == nil { // else the policy controller does not write the binding, and why nothing is rendered has to be told
		if scaled(binding, template) {
			return ctrl.Result{}, nil
		}
		if held, err := overtaken(p, binding, template); held || err != nil {
			return ctrl.Result{}, err
		}
	}
	left := r.rescale(ctx, binding, works, evict.Left(binding.GetSpec(), writtenWith(works)))
	var doubt string
	if err == nil {
		doubt, err = r.render(ctx, binding, template, works)
	}
	if recorded := r.recordRendered(ctx, binding, doubt, err); recorded != nil {
		return store.Outcome(recorded)
	}
	if !mayPass(err) {
		err = nil
	}
	return store.Outcome(errors.Join(err, left))
}

// mayPass says whether another attempt may help. Where it can't, a change of the template, the overrides or
// the clusters does, and that wakes the binding.
func mayPass(err error) bool {
	switch err.(type) {
	case *render.TooLargeError, *render.FailedOverrides, *missingOverridesError:
		return false
	}
	return true
}

// scaled says whether the template asks for another number of replicas than the binding knows.
func scaled(binding workv1alpha1.Binding, template *unstructured.Unstructured) bool {
	replicas, _ := interpret.Replicas(template)
	return !ptr.Equal(replicas, binding.GetSpec().Replicas)
}

// overtaken says whether the policy of a binding says something about this very content of the template that the binding does not know yet:
// a pause, its own end, or what a Lazy policy lets wait for the next change of the template. Whoever edits a policy and then a template means that
// the one holds for the other, and the template's change may come past the policy's: templates have watches of their own.
//
// Until that is over nothing else wakes the binding, so each way out has to:
//   - the policy controller writes what the policy says into the binding, or, where a Lazy policy does not take effect, with which content of
//     the template that was found, or gives it to another policy, or to none: bindingChanged sees all of these;
//   - the policy takes back what it said, or goes: policyChanged;
//   - the template is again what it was, or, under a Lazy policy, is being deleted: every change of a template wakes its binding.
func overtaken(p policyv1alpha1.Policy, binding workv1alpha1.Binding, template *unstructured.Unstructured) (bool, error) {
	if p == nil || !policy.Ahead(p, binding) {
		return false, nil
	}
	if !policy.Lazy(p) || p.GetDeletionTimestamp() != nil {
		return true, nil
	}
	if template.GetDeletionTimestamp() != nil {
		return false, nil // nobody looks any more whether the policy takes effect
	}
	content, err := render.TemplateHash(template)
	return err == nil && content != activated(binding), err
}

// works are the works of a binding by cluster.
func (r *Reconciler) works(key types.NamespacedName) map[string]*workv1alpha1.PropagationWork {
	works := map[string]*workv1alpha1.PropagationWork{}
	for _, work := range r.Works.ByIndex(store.ByBinding, store.BindingIndex(key)) {
		works[strings.TrimPrefix(work.Namespace, workv1alpha1.ExecutionNamespacePrefix)] = work
	}
	return works
}

// render writes the works that are missing or differ. A cluster whose overrides can't be made keeps the
// work that it has, and does not hold up the others. The doubt is what has no effect and is probably a slip of the pen.
func (r *Reconciler) render(ctx context.Context, binding workv1alpha1.Binding, template *unstructured.Unstructured, works map[string]*workv1alpha1.PropagationWork) (doubt string, err error) {
	renderer, err := render.New(template, binding, r.overridesOf(policy.TemplateOf(template, store.TemplateKey(binding).GroupVersionKind)), schedule.Apportion)
	if err != nil {
		return "", err
	}
	failed := &render.FailedOverrides{Clusters: len(binding.GetSpec().Clusters), Failures: map[string]error{}}
	// A cluster for which nothing can be written at present does not hold up the others.
	writes := r.newWrites(len(binding.GetSpec().Clusters))
	for _, target := range binding.GetSpec().Clusters {
		cluster, known := r.Clusters.Get("", target.Name)
		if !known || !r.Accepts(target.Name) {
			continue // the cluster's controller wakes the binding when it does
		}
		existing := works[target.Name]
		if existing != nil {
			renderer.Keep(target.Name, existing)
		}
		desired, err := renderer.Work(evict.Keeping(binding.GetSpec(), target), cluster)
		if overriding := (*render.OverrideError)(nil); errors.As(err, &overriding) {
			failed.Failures[target.Name] = overriding
			continue
		}
		if err != nil {
			_ = writes.end() // they are found out about again
			return "", err
		}
		switch {
		case existing == nil:
			writes.begin(func() error { return r.create(ctx, store.Key(binding), desired) })
		case existing.DeletionTimestamp != nil && existing.Spec.RemovalCause == workv1alpha1.RemovalNotSelected:
			writes.begin(func() error { return r.takeBack(ctx, store.Key(binding), existing, desired) })
		case existing.DeletionTimestamp != nil:
			// Somebody asked for its end, and what it stands for goes first. That wakes the binding.
		case render.Diff(existing, desired):
			writes.begin(func() error { return r.update(ctx, store.Key(binding), render.Put(existing, desired)) })
		}
	}
	if err := writes.end(); err != nil || len(failed.Failures) == 0 {
		return renderer.Doubt(), err
	}
	return "", failed
}

// writes are those of one binding, of which some are under way at a time. With the first begins what others have to wait for; a look that
// finds nothing to write holds up nobody.
type writes struct {
	group    errgroup.Group
	rush     *store.Rush
	clusters int
	written  func() // ends the rush; nil before the first
}

func (r *Reconciler) newWrites(clusters int) *writes {
	w := &writes{rush: r.Rush, clusters: clusters}
	w.group.SetLimit(writesAtOnce)
	return w
}

func (w *writes) begin(write func() error) {
	if w.written == nil {
		w.written = w.rush.Begin(w.clusters)
	}
	w.group.Go(write)
}

// end waits for all that was begun.
func (w *writes) end() error {
	err := w.group.Wait()
	if w.written != nil {
		w.written()
	}
	return err
}

func (r *Reconciler) create(ctx context.Context, binding types.NamespacedName, work *workv1alpha1.PropagationWork) error {
	created, err := r.Works.Create(ctx, work)
	if apierrors.IsAlreadyExists(err) {
		return nil // made a moment ago; its event is on the way
	}
	if err != nil {
		return fmt.Errorf("writing work %s: %w", store.Key(work), err)
	}
	r.unseen.wrote(binding, created.ResourceVersion, r.Now())
	return nil
}

// takeBack ends the removal of a work whose cluster is selected again. The removal may wait in the member
// for a person, or be under way there; either way the new work's objects are the old one's and stay, or are
// applied again. The old work must never be absent on the way: the member would take that for its end.
func (r *Reconciler) takeBack(ctx context.Context, binding types.NamespacedName, leaving, work *workv1alpha1.PropagationWork) error {
	replaced, err := r.Works.Replace(ctx, leaving, work)
	if err != nil {
		return fmt.Errorf("taking back the removal of work %s: %w", store.Key(work), err)
	}
	r.unseen.wrote(binding, replaced.ResourceVersion, r.Now())
	return nil
}

func (r *Reconciler) update(ctx context.Context, binding types.NamespacedName, work *workv1alpha1.PropagationWork) error {
	updated, err := r.Works.Update(ctx, work)
	if err != nil {
		return fmt.Errorf("writing work %s: %w", store.Key(work), err)
	}
	r.unseen.wrote(binding, updated.ResourceVersion, r.Now())
	return nil
}

// withdraw removes the works of clusters that the binding no longer goes to. Those of clusters that it is leaving stay as
// they are until the eviction is over.
func (r *Reconciler) withdraw(ctx context.Context, binding workv1alpha1.Binding, works map[string]*workv1alpha1.PropagationWork) error {
	targets := map[string]bool{}
	for _, target := range binding.GetSpec().Clusters {
		targets[target.Name] = true
	}
	for _, leaving := range binding.GetSpec().GracefulEvictionTasks {
		targets[leaving.FromCluster] = true
	}
	return r.remove(ctx, works, workv1alpha1.RemovalNotSelected, func(cluster string) bool { return !targets[cluster] })
}

// rescale writes works anew with another number of replicas, and otherwise as they are. What else changes is not for clusters that are being
// left, nor for any when no policy claims the template; but who scales down means all that runs, and a move that was begun ends.
func (r *Reconciler) rescale(ctx context.Context, binding workv1alpha1.Binding, works map[string]*workv1alpha1.PropagationWork, clusters []workv1alpha1.TargetCluster) error {
	var failures []error
	for _, cluster := range clusters {
		if binding.GetSpec().Suspension.Suspends(cluster.Name) {
			continue
		}
		if rescaled := render.Rescale(works[cluster.Name], cluster.Replicas); rescaled != nil {
			failures = append(failures, r.update(ctx, store.Key(binding), rescaled))
		}
	}
	return errors.Join(failures...)
}

// writtenWith says with how many replicas works were written that are not being removed.
func writtenWith(works map[string]*workv1alpha1.PropagationWork) evict.Written {
	return func(cluster string) *int32 {
		if work := works[cluster]; work != nil && work.DeletionTimestamp == nil {
			return work.Spec.Replicas
		}
		return nil
	}
}

// finish removes all works of a binding that is being deleted, and lets it go when they are gone.
func (r *Reconciler) finish(ctx context.Context, key types.NamespacedName, binding workv1alpha1.Binding) (ctrl.Result, error) {
	if wait := r.ends.wait(key, r.Now()); wait > 0 {
		return ctrl.Result{RequeueAfter: wait}, nil
	}
	r.ends.begin(key)
	works := r.works(key)
	if len(works) > 0 && !undecided(works) {
		r.ends.await(key, len(works), r.Now())
		return ctrl.Result{RequeueAfter: endsLimit}, nil
	}
	r.ends.forget(key) // each change of a work counts, or none is left
	if len(works) == 0 {
		return store.Outcome(r.release(ctx, binding))
	}
	cause, err := r.removalCause(ctx, binding)
	if err != nil {
		return store.Outcome(err)
	}
	return store.Outcome(r.remove(ctx, works, cause, func(string) bool { return true }))
}

// release lets a binding go that has no works any more.
func (r *Reconciler) release(ctx context.Context, binding workv1alpha1.Binding) error {
	finalizer := workv1alpha1.BindingFinalizer
	if binding.GetNamespace() == "" {
		finalizer = workv1alpha1.ClusterBindingFinalizer
	}
	released := binding.DeepCopyObject().(workv1alpha1.Binding)
	if !controllerutil.RemoveFinalizer(released, finalizer) {
		return nil
	}
	if _, err := r.Bindings.For(binding.GetNamespace()).Update(ctx, released); err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("releasing binding %s: %w", store.Key(binding), err)
	}
	return nil
}

// undecided says whether some of the works are not being removed, or may get another cause for it. To find out the
// cause is a request.
func undecided(works map[string]*workv1alpha1.PropagationWork) bool {
	for _, work := range works {
		if work.DeletionTimestamp == nil || work.Spec.RemovalCause.GrowsInto(workv1alpha1.RemovalTemplateDeleted) {
			return true
		}
	}
	return false
}

// removalCause is TemplateDeleted when the template is gone, or another object has taken its name, or
// its namespace is being deleted: that deletes bindings and templates in any order. Otherwise somebody
// deleted the binding itself.
func (r *Reconciler) removalCause(ctx context.Context, binding workv1alpha1.Binding) (workv1alpha1.RemovalCause, error) {
	if r.Templates.Deleted(binding.GetSpec().Resource.UID) {
		return workv1alpha1.RemovalTemplateDeleted, nil
	}
	live, err := r.Templates.Live(ctx, store.TemplateKey(binding))
	if err != nil {
		return "", err
	}
	if live == nil || live.GetUID() != binding.GetSpec().Resource.UID || live.GetDeletionTimestamp() != nil {
		return workv1alpha1.RemovalTemplateDeleted, nil
	}
	if namespace := live.GetNamespace(); namespace != "" {
		if terminating, err := r.Terminating(ctx, namespace); err != nil || terminating {
			return workv1alpha1.RemovalTemplateDeleted, err
		}
	}
	return workv1alpha1.RemovalForced, nil
}

// remove removes works. One that is being removed already gets the cause if that weighs more than its
// own: it may be held back in its member until somebody has asked for its end.
func (r *Reconciler) remove(ctx context.Context, works map[string]*workv1alpha1.PropagationWork, cause workv1alpha1.RemovalCause, which func(cluster string) bool) error {
	removals := r.newWrites(len(works))
	for cluster, work := range works {
		if !which(cluster) || work.DeletionTimestamp != nil && !work.Spec.RemovalCause.GrowsInto(cause) {
			continue
		}
		removals.begin(func() error {
			if err := r.Works.Remove(ctx, work, cause); err != nil && !apierrors.IsNotFound(err) {
				return fmt.Errorf("removing work %s: %w", store.Key(work), err)
			}
			return nil
		})
	}
	return removals.end()
}

// recordRendered writes the Rendered condition, but only of failures, of doubts, and of their end: a binding
// that never had any is not written for it.
func (r *Reconciler) recordRendered(ctx context.Context, binding workv1alpha1.Binding, doubt string, failure error) error {
	if apierrors.IsConflict(failure) {
		return nil
	}
	condition := metav1.Condition{
		Type: workv1alpha1.BindingRendered, Status: metav1.ConditionTrue,
		Reason: "Success", Message: "works are written for all clusters",
		ObservedGeneration: binding.GetGeneration(), LastTransitionTime: metav1.NewTime(r.Now()),
	}
	if failure != nil {
		condition.Status, condition.Reason, condition.Message = metav1.ConditionFalse, "RenderFailed", failure.Error()
		switch failure.(type) {
		case *render.TooLargeError:
			condition.Reason = "TooLarge"
		case *render.FailedOverrides:
			condition.Reason = overrideFailed
		case *missingOverridesError:
			condition.Reason = overrideMissing
		}
	} else if doubt != "" {
		condition.Reason = workv1alpha1.RenderedWithoutEffect
		condition.Message += "; " + doubt
	} else if meta.FindStatusCondition(binding.GetStatus().Conditions, workv1alpha1.BindingRendered) == nil {
		return nil
	}
	updated := binding.DeepCopyObject().(workv1alpha1.Binding)
	if !meta.SetStatusCondition(&updated.GetStatus().Conditions, condition) {
		return nil
	}
	if _, err := r.Bindings.For(binding.GetNamespace()).UpdateStatus(ctx, updated); err != nil {
		return fmt.Errorf("recording that binding %s can't be rendered: %w", store.Key(binding), err)
	}
	return nil
}
