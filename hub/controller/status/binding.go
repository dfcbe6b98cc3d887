// Package status adds up what the members report: works to bindings, bindings to their templates
// and policies. It is the only writer of the aggregated part of a binding's status, of templates'
// own statuses, and of policies' statuses.
package status

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"k8s.io/client-go/tools/cache"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/source"

	clusterv1alpha1 "windlass.dev/windlass/api/cluster/v1alpha1"
	workv1alpha1 "windlass.dev/windlass/api/work/v1alpha1"
	"windlass.dev/windlass/hub/store"
	"windlass.dev/windlass/hub/templates"
	"windlass.dev/windlass/pkg/aggregate"
	"windlass.dev/windlass/pkg/evict"
	"windlass.dev/windlass/pkg/render"
)

// Templates is what the controllers need of the watches on users' objects.
type Templates interface {
	Handle(templates.Handler)
	Get(templates.Key) (obj *unstructured.Unstructured, known bool)
	UpdateStatus(context.Context, *unstructured.Unstructured) (resourceVersion string, err error)
}

// Events records what a person should hear of; record.EventRecorder does.
type Events interface {
	Event(about runtime.Object, kind, reason, message string)
}

// BindingReconciler writes the status of bindings and of their templates. Its key is a binding.
type BindingReconciler struct {
	Bindings  store.Bindings
	Works     store.Works
	Clusters  store.Kind[*clusterv1alpha1.MemberCluster]
	Templates Templates
	Workers   int
	// Settle is how long a status that is still moving waits for more reports before it is written. A wait for its turn counts.
	Settle time.Duration
	// Gather is how long a binding of few clusters waits before it is summed up. Its clusters' works are made in one moment, and
	// often report in one; and its first pass would else come before the works are sent. 0 for not at all.
	Gather time.Duration
	Now    func() time.Time
	// Events is told on the template what keeps it from its clusters.
	Events Events

	passes  passes
	moving  moving
	said    said
	unshown unshown
	hashes  hashes
}

// Setup adds the controller to the manager.
func (r *BindingReconciler) Setup(mgr manager.Manager) error {
	r.passes.gather = r.Gather
	c, err := controller.NewTyped("status", mgr, controller.TypedOptions[types.NamespacedName]{
		Reconciler:              r,
		MaxConcurrentReconciles: r.Workers,
	})
	if err != nil {
		return err
	}
	wake := &store.Mailbox[types.NamespacedName]{}
	r.Templates.Handle(templates.Handler{
		Changed: func(key templates.Key, initial bool) {
			for _, binding := range r.Bindings.ByIndex(store.ByTemplate, store.TemplateIndex(key)) {
				wake.Add(store.Key(binding), initial)
			}
		},
		Kind: func(kind schema.GroupVersionKind) {
			for _, binding := range r.Bindings.List() {
				if store.TemplateKey(binding).GroupVersionKind == kind {
					wake.Add(store.Key(binding), true)
				}
			}
		},
	})
	sources := append(store.Sources(r.Bindings.Scoped, r.bindingChanged), source.TypedSource[types.NamespacedName](wake),
		store.Source(r.Works.Informer, workChanged), store.Source(r.Clusters.Informer, r.clusterChanged))
	for _, source := range sources {
		if err := c.Watch(source); err != nil {
			return err
		}
	}
	return nil
}

// bindingChanged wakes a binding for its status, too: what was decided while the cache did not show
// the last write yet is decided again. That the scheduler has not found a place, or none to leave for, is told here, where both
// states are known: the condition is not ours.
func (r *BindingReconciler) bindingChanged(old, new workv1alpha1.Binding) []types.NamespacedName {
	if new == nil || old != nil && old.GetGeneration() == new.GetGeneration() && store.Claimed(old) == store.Claimed(new) &&
		equality.Semantic.DeepEqual(old.GetStatus(), new.GetStatus()) {
		return nil
	}
	if old != nil && (stuck(old, new) || stranded(old, new)) {
		if template, _ := r.Templates.Get(store.TemplateKey(new)); template != nil {
			now := scheduled(new)
			r.Events.Event(template, corev1.EventTypeWarning, now.Reason, "It stays as it is: "+now.Message)
		}
	}
	return []types.NamespacedName{store.Key(new)}
}

// stuck says whether what is wanted of a template that is in some clusters can't be placed, and could before, or something
// else is wanted now. Of one that is nowhere, FullyApplied says so.
func stuck(old, new workv1alpha1.Binding) bool {
	before, now := scheduled(old), scheduled(new)
	if now == nil || now.Status != metav1.ConditionFalse || now.Reason == workv1alpha1.ScheduledByAnother || len(new.GetSpec().Clusters) == 0 {
		return false
	}
	return before == nil || before.Status != now.Status || before.Reason != now.Reason || before.ObservedGeneration != now.ObservedGeneration
}

// stranded says whether a template has to leave a cluster from now on, and no other fits.
func stranded(old, new workv1alpha1.Binding) bool {
	before, now := scheduled(old), scheduled(new)
	return now != nil && now.Reason == workv1alpha1.ScheduledNowhereElse && (before == nil || before.Reason != now.Reason)
}

func scheduled(binding workv1alpha1.Binding) *metav1.Condition {
	return meta.FindStatusCondition(binding.GetStatus().Conditions, workv1alpha1.BindingScheduled)
}

func workChanged(old, new *workv1alpha1.PropagationWork) []types.NamespacedName {
	work := new
	if new == nil {
		work = old
	}
	if work.Spec.Binding == nil {
		return nil
	}
	return []types.NamespacedName{{Namespace: work.Spec.Binding.Namespace, Name: work.Spec.Binding.Name}}
}

// clusterChanged wakes the bindings whose removal from a cluster begins or ends to wait for a person.
func (r *BindingReconciler) clusterChanged(old, new *clusterv1alpha1.MemberCluster) []types.NamespacedName {
	cluster := cmp.Or(new, old)
	if aggregate.Holding(old) == aggregate.Holding(new) {
		return nil
	}
	objs, err := r.Works.Informer.GetIndexer().ByIndex(cache.NamespaceIndex, workv1alpha1.ExecutionNamespace(cluster.Name))
	if err != nil {
		panic(err) // the index is made with the informer
	}
	keys := []types.NamespacedName{}
	for _, obj := range objs {
		work := obj.(*workv1alpha1.PropagationWork)
		if work.DeletionTimestamp == nil {
			continue
		}
		for _, key := range workChanged(nil, work) {
			r.said.forget(key) // a person is asked, or has answered and looks what becomes of it
			keys = append(keys, key)
		}
	}
	return keys
}

// isHeld says whether the removal of a work waits for a person.
func (r *BindingReconciler) isHeld(cluster string, work *workv1alpha1.PropagationWork) bool {
	member, _ := r.Clusters.Get("", cluster)
	return aggregate.IsHeld(work, aggregate.Holding(member))
}

// Reconcile adds up the reports of one binding.
func (r *BindingReconciler) Reconcile(ctx context.Context, key types.NamespacedName) (ctrl.Result, error) {
	binding, ok := r.Bindings.Get(key)
	if !ok || binding.GetDeletionTimestamp() != nil || binding.GetStatus().SchedulerObservedGeneration == 0 {
		r.moving.forget(key)
		r.unshown.forget(key)
		r.hashes.forget(key)
		if ok && binding.GetDeletionTimestamp() != nil {
			return r.tellRemoval(ctx, key, binding)
		}
		r.passes.forget(key)
		r.said.forget(key)
		return ctrl.Result{}, nil
	}
	r.said.forget(key) // of one before it under the same name
	if len(binding.GetSpec().Clusters) > quickPass {
		r.moving.since(key, r.Now()) // its wait for its turn is part of the wait for more reports: else it needs a second turn
	}
	if wait := r.passes.next(key, len(binding.GetSpec().Clusters), r.Now()); wait > 0 {
		return ctrl.Result{RequeueAfter: wait}, nil
	}
	defer r.timed(binding)()
	facts, template, err := r.gather(key, binding)
	if err != nil || template == nil {
		r.moving.forget(key)
	}
	if err != nil {
		return r.failed(key, err)
	}
	if template == nil {
		return ctrl.Result{}, nil
	}
	status, changed := aggregate.Binding(facts).Status(binding.GetStatus(), metav1.NewTime(r.Now()))
	settled := aggregate.Settled(binding.GetStatus(), status)
	if changed && !settled { // before the template's own status, for which the status in every cluster is decoded
		if wait := r.settles(key); wait > 0 {
			return ctrl.Result{RequeueAfter: wait}, nil
		}
	}
	templateStatus, templateChanged := aggregate.Template(template, facts)
	templateChanged = templateChanged && !r.unshown.has(key, template) // else what was written wakes it when it shows
	if !changed && !templateChanged {
		r.moving.forget(key)
		return ctrl.Result{}, nil
	}
	if !settled {
		if wait := r.settles(key); wait > 0 {
			return ctrl.Result{RequeueAfter: wait}, nil
		}
	}
	var failure error
	if templateChanged { // first: it is what people wait for
		failure = r.writeTemplate(ctx, key, template, templateStatus)
	}
	if changed {
		updated := binding.DeepCopyObject().(workv1alpha1.Binding)
		*updated.GetStatus() = *status
		if _, err := r.Bindings.For(key.Namespace).UpdateStatus(ctx, updated); err != nil && !apierrors.IsNotFound(err) {
			return r.failed(key, fmt.Errorf("writing the status of binding %s: %w", key, err))
		}
		r.tell(template, binding.GetStatus(), status)
	}
	if failure != nil {
		return r.failed(key, fmt.Errorf("writing the status of %s: %w", store.TemplateKey(binding), failure))
	}
	r.moving.forget(key)
	return ctrl.Result{}, nil
}

// failed has a pass tried again that could not be written down.
func (r *BindingReconciler) failed(key types.NamespacedName, err error) (ctrl.Result, error) {
	r.passes.again(key)
	return store.Outcome(err)
}

// timed begins a pass over a binding. What it returns ends it.
func (r *BindingReconciler) timed(binding workv1alpha1.Binding) (ended func()) {
	began := r.Now()
	return func() { r.passes.took(len(binding.GetSpec().Clusters), r.Now().Sub(began)) }
}

// settles says how long a status that is still moving waits for more reports.
func (r *BindingReconciler) settles(key types.NamespacedName) time.Duration {
	return r.Settle - r.moving.since(key, r.Now())
}

func (r *BindingReconciler) writeTemplate(ctx context.Context, key types.NamespacedName, template *unstructured.Unstructured, status map[string]any) error {
	updated := template.DeepCopy()
	updated.Object["status"] = status
	written, err := r.Templates.UpdateStatus(ctx, updated)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err == nil {
		r.unshown.wrote(key, written)
	}
	return err
}

const (
	// quickRemoval is how long a removal takes in which nothing is in the way: it is not worth a write.
	quickRemoval = 5 * time.Second
	// slowRemoval is how late, but for its turn, it is said of a removal from many clusters from where it is not gone any more.
	slowRemoval = 30 * time.Second
)

// tellRemoval says of a binding that is being deleted from where it is not gone yet: a cluster may not be connected, or a person
// may have to confirm it.
func (r *BindingReconciler) tellRemoval(ctx context.Context, key types.NamespacedName, binding workv1alpha1.Binding) (ctrl.Result, error) {
	// Before the works are looked at: the end of each of them wakes it.
	if wait := r.said.next(key, binding.GetDeletionTimestamp().Time).Sub(r.Now()); wait > 0 {
		return ctrl.Result{RequeueAfter: wait}, nil
	}
	if wait := r.passes.next(key, len(binding.GetSpec().Clusters), r.Now()); wait > 0 {
		return ctrl.Result{RequeueAfter: wait}, nil
	}
	defer r.timed(binding)()
	var held []string
	works := map[string]*workv1alpha1.PropagationWork{}
	for _, work := range r.Works.ByIndex(store.ByBinding, store.BindingIndex(key)) {
		cluster := strings.TrimPrefix(work.Namespace, workv1alpha1.ExecutionNamespacePrefix)
		works[cluster] = work
		if r.isHeld(cluster, work) {
			held = append(held, cluster)
		}
	}
	if len(works) == 0 {
		r.passes.forget(key) // nothing wakes it any more
		r.said.forget(key)
		return ctrl.Result{}, nil
	}
	status, changed := aggregate.Removal(binding.GetGeneration(), works, held).Status(binding.GetStatus(), metav1.NewTime(r.Now()))
	if !changed {
		return ctrl.Result{}, nil
	}
	updated := binding.DeepCopyObject().(workv1alpha1.Binding)
	*updated.GetStatus() = *status
	if _, err := r.Bindings.For(key.Namespace).UpdateStatus(ctx, updated); err != nil && !apierrors.IsNotFound(err) {
		return r.failed(key, fmt.Errorf("writing from where binding %s is not gone: %w", key, err))
	}
	if len(binding.GetSpec().Clusters) > quickPass {
		r.said.set(key, r.Now())
	}
	return ctrl.Result{}, nil
}

// said remembers when it was written from where a binding that is being deleted, and has many clusters, is not gone yet. Of a thousand
// bindings that leave a hundred clusters each was written for every few of its works, and these writes were what the removal waited for.
type said struct {
	mu sync.Mutex
	at map[types.NamespacedName]time.Time
}

// next is when a removal may be told of: after it has taken long enough to be worth it, and again when it has taken twice as long
// as it had then, or slowRemoval longer.
func (s *said) next(key types.NamespacedName, began time.Time) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	at, again := s.at[key]
	if !again {
		return began.Add(quickRemoval)
	}
	return at.Add(min(at.Sub(began), slowRemoval))
}

func (s *said) set(key types.NamespacedName, at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.at == nil {
		s.at = map[types.NamespacedName]time.Time{}
	}
	s.at[key] = at
}

func (s *said) forget(key types.NamespacedName) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.at, key)
}

// tell puts a new trouble where the user looks first: on the template. The same in one more cluster is none.
func (r *BindingReconciler) tell(template *unstructured.Unstructured, old, new *workv1alpha1.BindingStatus) {
	before, now := fullyApplied(old), fullyApplied(new)
	if now == nil || now.Status == metav1.ConditionTrue || now.Reason == aggregate.ReasonWaiting || now.Reason == aggregate.ReasonSuspended {
		return
	}
	if before == nil || before.Reason != now.Reason || before.Message != now.Message && isNews(old, new, now.Reason) {
		r.Events.Event(template, corev1.EventTypeWarning, now.Reason, now.Message)
	}
}

// isNews says whether a status names a failure for a reason that is not the failure of some cluster in the old one. What is
// no failure of clusters is news.
func isNews(old, new *workv1alpha1.BindingStatus, reason string) bool {
	known := map[string]bool{}
	for i := range old.AggregatedStatus {
		known[old.AggregatedStatus[i].AppliedMessage] = true
	}
	ofClusters := false
	for i := range new.AggregatedStatus {
		item := &new.AggregatedStatus[i]
		if item.Applied || !strings.HasPrefix(item.AppliedMessage, reason) {
			continue
		}
		if ofClusters = true; !known[item.AppliedMessage] {
			return true
		}
	}
	return !ofClusters
}

func fullyApplied(status *workv1alpha1.BindingStatus) *metav1.Condition {
	return meta.FindStatusCondition(status.Conditions, workv1alpha1.BindingFullyApplied)
}

// gather returns no template when nothing can be said of it at present.
func (r *BindingReconciler) gather(key types.NamespacedName, binding workv1alpha1.Binding) (aggregate.Input, *unstructured.Unstructured, error) {
	template, known := r.Templates.Get(store.TemplateKey(binding))
	if !known || template == nil || template.GetUID() != binding.GetSpec().Resource.UID {
		return aggregate.Input{}, nil, nil
	}
	hash, err := r.hashes.of(key, template)
	if err != nil {
		return aggregate.Input{}, nil, err
	}
	facts := aggregate.Input{Binding: binding, Released: !store.Claimed(binding), TemplateHash: hash, ForNow: evict.Keeping, Works: map[string]*workv1alpha1.PropagationWork{}, NotGone: map[string]string{}}
	for _, work := range r.Works.ByIndex(store.ByBinding, store.BindingIndex(key)) {
		switch cluster := strings.TrimPrefix(work.Namespace, workv1alpha1.ExecutionNamespacePrefix); {
		case work.DeletionTimestamp == nil:
			facts.Works[cluster] = work
		case r.isHeld(cluster, work):
			facts.Held = append(facts.Held, cluster)
		case aggregate.NotGone(work) != "":
			facts.NotGone[cluster] = aggregate.NotGone(work)
		}
	}
	facts.WithoutWork = r.withoutWork(binding, facts.Works)
	return facts, template, nil
}

// withoutWork says of clusters that a binding names why they get no work, if it is because of the cluster. Our scheduler names
// none that leaves the hub; another may, and what can't be decided stays as it is.
func (r *BindingReconciler) withoutWork(binding workv1alpha1.Binding, works map[string]*workv1alpha1.PropagationWork) map[string]string {
	whys := map[string]string{}
	for _, target := range binding.GetSpec().Clusters {
		if works[target.Name] != nil {
			continue
		}
		if cluster, there := r.Clusters.Get("", target.Name); !there || cluster.DeletionTimestamp != nil {
			whys[target.Name] = "the cluster is not on the hub, or is being removed from it"
		}
	}
	return whys
}

// moving remembers since when a status may differ from what is written.
type moving struct {
	mu    sync.Mutex
	began map[types.NamespacedName]time.Time
}

func (m *moving) since(key types.NamespacedName, now time.Time) time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.began == nil {
		m.began = map[types.NamespacedName]time.Time{}
	}
	if began, ok := m.began[key]; ok {
		return now.Sub(began)
	}
	m.began[key] = now
	return 0
}

func (m *moving) forget(key types.NamespacedName) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.began, key)
}

// unshown remembers the statuses of templates that were written and that the cache does not show yet: they would
// be written a second time, which the API server refuses after all the work for it.
type unshown struct {
	mu      sync.Mutex
	written map[types.NamespacedName]string // resourceVersions by binding
}

func (u *unshown) wrote(key types.NamespacedName, resourceVersion string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.written == nil {
		u.written = map[types.NamespacedName]string{}
	}
	u.written[key] = resourceVersion
}

// has says whether a template is older than what was written. Versions that can't be compared, as those of another
// server's kinds may be, say nothing.
func (u *unshown) has(key types.NamespacedName, template *unstructured.Unstructured) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	written, ok := u.written[key]
	if !ok {
		return false
	}
	if order, err := resourceversion.CompareResourceVersion(template.GetResourceVersion(), written); err == nil && order < 0 {
		return true
	}
	delete(u.written, key)
	return false
}

func (u *unshown) forget(key types.NamespacedName) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.written, key)
}

// hashes remembers what names the content of the template of each binding: to find out costs as much as to render it, and
// every report of a cluster asks.
type hashes struct {
	mu    sync.Mutex
	known map[types.NamespacedName]hashed
}

// hashed is the hash of one state of a template. The cache has the same object for as long as that state lasts.
type hashed struct {
	template *unstructured.Unstructured
	hash     string
}

func (h *hashes) of(key types.NamespacedName, template *unstructured.Unstructured) (string, error) {
	h.mu.Lock()
	known, ok := h.known[key]
	h.mu.Unlock()
	if ok && known.template == template {
		return known.hash, nil
	}
	hash, err := render.TemplateHash(template)
	if err != nil {
		return "", err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.known == nil {
		h.known = map[types.NamespacedName]hashed{}
	}
	h.known[key] = hashed{template, hash}
	return hash, nil
}

func (h *hashes) forget(key types.NamespacedName) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.known, key)
}
