package status

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/source"

	clusterv1alpha1 "windlass.dev/windlass/api/cluster/v1alpha1"
	policyv1alpha1 "windlass.dev/windlass/api/policy/v1alpha1"
	workv1alpha1 "windlass.dev/windlass/api/work/v1alpha1"
	"windlass.dev/windlass/hub/store"
	"windlass.dev/windlass/hub/templates"
	"windlass.dev/windlass/pkg/aggregate"
	"windlass.dev/windlass/pkg/override"
	"windlass.dev/windlass/pkg/policy"
)

// OverriddenKinds shows the kinds that override policies select, and says of those that nobody needs to watch whether they
// are served.
type OverriddenKinds interface {
	Handle(templates.Handler)
	Name(kinds []schema.GroupVersionKind)
	Problem(schema.GroupVersionKind) error
	Watches(schema.GroupVersionKind) bool
	Scope(schema.GroupVersionKind) (cluster, known bool)
	Get(templates.Key) (obj *unstructured.Unstructured, known bool)
	List(kind schema.GroupVersionKind, namespace string) []*unstructured.Unstructured
}

// OverrideReconciler writes the status of override policies: whether their selectors select anything that is propagated, and
// their rules any cluster. Its key is a policy.
type OverrideReconciler struct {
	Overrides store.Scoped[policyv1alpha1.Override]
	Clusters  store.Kind[*clusterv1alpha1.MemberCluster]
	Kinds     OverriddenKinds
	// Every is the least time between two looks at all objects that a policy might select.
	Every time.Duration
	Now   func() time.Time

	// naming is held while it is found out, and told, which kinds policies select.
	naming sync.Mutex
	proofs proofs
	idle   idle
}

// Setup adds the controller to the manager.
func (r *OverrideReconciler) Setup(mgr manager.Manager) error {
	c, err := controller.NewTyped("override-status", mgr, controller.TypedOptions[types.NamespacedName]{Reconciler: r})
	if err != nil {
		return err
	}
	wake := &store.Mailbox[types.NamespacedName]{}
	r.Kinds.Handle(templates.Handler{
		Changed: func(key templates.Key, initial bool) {
			for _, policy := range r.affected(key) {
				wake.Add(policy, initial)
			}
		},
		Kind: func(kind schema.GroupVersionKind) { r.kindChanged(wake, kind) },
	})
	sources := append(store.Sources(r.Overrides, r.overrideChanged), store.Source(r.Clusters.Informer, r.clusterChanged), source.TypedSource[types.NamespacedName](wake))
	for _, source := range sources {
		if err := c.Watch(source); err != nil {
			return err
		}
	}
	return nil
}

// overrideChanged wakes a policy for its status, too: what was decided while the cache did not show the last
// write yet is decided again.
func (r *OverrideReconciler) overrideChanged(old, new policyv1alpha1.Override) []types.NamespacedName {
	if old == nil || new == nil || old.GetGeneration() != new.GetGeneration() {
		r.nameKinds()
	}
	if new == nil || old != nil && old.GetGeneration() == new.GetGeneration() && equality.Semantic.DeepEqual(old.GetStatus(), new.GetStatus()) {
		return nil
	}
	return []types.NamespacedName{store.Key(new)}
}

// nameKinds tells which kinds policies select now. Policies of both scopes come in goroutines of their own: what one of them has
// found out must not be told after what another has found out later.
func (r *OverrideReconciler) nameKinds() {
	r.naming.Lock()
	defer r.naming.Unlock()
	r.Kinds.Name(r.selectedKinds())
}

// selectedKinds are those that all policies select, in an order of their own.
func (r *OverrideReconciler) selectedKinds() []schema.GroupVersionKind {
	kinds := sets.New[schema.GroupVersionKind]()
	for _, p := range r.Overrides.List() {
		kinds.Insert(kindsOf(p.GetSpec().ResourceSelectors)...)
	}
	return slices.SortedFunc(maps.Keys(kinds), func(a, b schema.GroupVersionKind) int { return cmp.Compare(a.String(), b.String()) })
}

// kindChanged wakes the policies that select a kind.
func (r *OverrideReconciler) kindChanged(wake *store.Mailbox[types.NamespacedName], kind schema.GroupVersionKind) {
	for _, p := range r.Overrides.List() {
		if slices.Contains(kindsOf(p.GetSpec().ResourceSelectors), kind) {
			wake.Add(store.Key(p), false)
		}
	}
}

// affected are the policies that a template which has changed may matter to: those with a selector that selects nothing, and those with
// one by which only this template was known to be selected.
func (r *OverrideReconciler) affected(template templates.Key) []types.NamespacedName {
	return append(r.idle.lookingFor(template), r.proofs.lost(template, r.stands)...)
}

// stands says whether a policy's selector still selects the template, and a policy still propagates it.
func (r *OverrideReconciler) stands(proof proof) bool {
	object, known := r.Kinds.Get(proof.template)
	if !known || object == nil {
		return false
	}
	found, _ := proof.selector.Propagated(map[schema.GroupVersionKind]policy.Seen{proof.template.GroupVersionKind: {Objects: []metav1.Object{object}}})
	return found != nil
}

// clusterChanged wakes all policies when rules may choose the cluster otherwise than before.
func (r *OverrideReconciler) clusterChanged(old, new *clusterv1alpha1.MemberCluster) []types.NamespacedName {
	if old != nil && new != nil && override.SameCluster(old, new) {
		return nil
	}
	var keys []types.NamespacedName
	for _, p := range r.Overrides.List() {
		keys = append(keys, store.Key(p))
	}
	return keys
}

// Reconcile says of a policy what of it has no effect.
func (r *OverrideReconciler) Reconcile(ctx context.Context, key types.NamespacedName) (ctrl.Result, error) {
	p, ok := r.Overrides.Get(key)
	if !ok || p.GetDeletionTimestamp() != nil {
		r.proofs.forget(key)
		r.idle.forget(key)
		return ctrl.Result{}, nil
	}
	condition, wait := r.effective(p)
	if condition == nil {
		return ctrl.Result{RequeueAfter: wait}, nil
	}
	updated := p.DeepCopyObject().(policyv1alpha1.Override)
	status := updated.GetStatus()
	if changed := meta.SetStatusCondition(&status.Conditions, *condition); !changed && status.ObservedGeneration == p.GetGeneration() {
		return ctrl.Result{}, nil
	}
	status.ObservedGeneration = p.GetGeneration()
	if _, err := r.Overrides.For(key.Namespace).UpdateStatus(ctx, updated); err != nil && !apierrors.IsNotFound(err) {
		return store.Outcome(fmt.Errorf("writing the status of override policy %s: %w", key, err))
	}
	return ctrl.Result{}, nil
}

// effective is the condition of a policy. It is nil while nothing can be said; what is not known yet wakes the policy when it
// is, unless there is a time to wait.
func (r *OverrideReconciler) effective(p policyv1alpha1.Override) (*metav1.Condition, time.Duration) {
	condition := &metav1.Condition{
		Type: policyv1alpha1.OverrideEffective, Status: metav1.ConditionFalse,
		ObservedGeneration: p.GetGeneration(), LastTransitionTime: metav1.NewTime(r.Now()),
	}
	compiled, err := override.Compile(p)
	if err != nil {
		condition.Reason, condition.Message = "Invalid", err.Error()
		return condition, 0
	}
	if !p.GetSpec().HasRules() {
		condition.Reason, condition.Message = "NoRules", "it changes nothing, for it has no rule with overriders: write them into spec.overrideRules"
		return condition, 0
	}
	if missing := missingKinds(r.Kinds, p.GetSpec().ResourceSelectors); len(missing) > 0 {
		condition.Reason = aggregate.ReasonKindNotFound
		condition.Message = fmt.Sprintf("the hub does not serve %s: check apiVersion and kind of the resource selectors, or apply the CRD", few(missing))
		return condition, 0
	}
	selected := r.selects(p, compiled.Selectors())
	if !selected.known {
		return nil, selected.wait
	}
	if !selected.some {
		condition.Reason = aggregate.ReasonNothingSelected
		condition.Message = "the resource selectors select nothing that is propagated: " + selected.why
		return condition, 0
	}
	clusters := r.Clusters.List()
	if idle := compiled.WithoutCluster(clusters); len(idle) > 0 {
		condition.Reason = "NoClusterSelected"
		condition.Message = fmt.Sprintf("no cluster is selected by the targetCluster of %s", few(idle))
		return condition, 0
	}
	condition.Status, condition.Reason, condition.Message = metav1.ConditionTrue, "ClustersSelected", "every rule is for some cluster"
	if strangers := compiled.Strangers(clusters); len(strangers) > 0 {
		condition.Reason = workv1alpha1.ScheduledClustersLeftOut
		condition.Message += fmt.Sprintf("; no cluster is called %s", few(strangers))
	}
	if selected.why != "" {
		condition.Reason = aggregate.ReasonSelectorsUnused
		condition.Message += "; not every resource selector selects something that is propagated: " + selected.why
	}
	return condition, 0
}

// selection says by how many of a policy's selectors something is selected that another policy propagates.
type selection struct {
	known bool // otherwise nothing can be said, and there is a time to wait, or something wakes the policy
	some  bool
	why   string // those that select nothing do; empty when all select something
	wait  time.Duration
}

// selects finds out which of a policy's selectors select something that another policy propagates. It says nothing while
// it is not known, or too soon to tell: a template or its claim may be about to come. A policy without selectors selects all.
func (r *OverrideReconciler) selects(p policyv1alpha1.Override, selectors policy.Selectors) selection {
	key := store.Key(p)
	proofs := make([]proof, selectors.Len())
	before := r.proofs.get(key)
	for i := range proofs {
		proofs[i].selector = selectors.Only(i)
		if i < len(before) {
			proofs[i].template = before[i].template
		}
	}
	r.prove(key, proofs)
	missing := unproven(proofs)
	if len(missing) == 0 {
		r.idle.forget(key)
		return selection{known: true, some: true}
	}
	if wait := r.idle.left(key, r.Every, r.Now()); wait > 0 {
		return selection{wait: wait}
	}
	var wanted []policyv1alpha1.ResourceSelector
	for _, i := range missing {
		wanted = append(wanted, p.GetSpec().ResourceSelectors[i])
	}
	seen, unselecting := r.seen(wanted, p.GetNamespace()), []int{}
	for _, i := range missing {
		if found, why := proofs[i].selector.Propagated(seen); found != nil {
			proofs[i].template = templates.Key{GroupVersionKind: found.Kind, NamespacedName: types.NamespacedName{Namespace: found.Namespace, Name: found.Name}}
		} else if why != "" {
			unselecting = append(unselecting, i)
		}
	}
	unknown := len(unproven(proofs)) - len(unselecting)
	r.prove(key, proofs)
	left := unproven(proofs)
	some := len(left) < len(proofs)
	switch {
	case len(left) > len(unselecting)+unknown:
		return selection{wait: r.Every} // what was found went a moment ago
	case unknown > 0 && !some:
		return selection{}
	case len(unselecting) == 0:
		r.idle.forget(key)
		return selection{known: true, some: true}
	}
	if wait := r.idle.wait(key, wanted, r.Every, r.Now()); wait > 0 {
		return selection{wait: wait}
	}
	_, why := selectors.Only(unselecting...).Propagated(seen)
	return selection{known: true, some: some, why: why}
}

// seen is what the hub has of the kinds that selectors name.
func (r *OverrideReconciler) seen(selectors []policyv1alpha1.ResourceSelector, namespace string) map[schema.GroupVersionKind]policy.Seen {
	kinds := kindsOf(selectors)
	seen := seenOf(r.Kinds, kinds, namespace)
	for _, kind := range kinds {
		if !r.Kinds.Watches(kind) {
			seen[kind] = policy.Seen{Unwatched: true}
		}
	}
	return seen
}

// prove takes away the proofs that do not stand. It remembers them before it looks, so that no change is missed.
func (r *OverrideReconciler) prove(key types.NamespacedName, proofs []proof) {
	r.proofs.set(key, proofs)
	for i := range proofs {
		if !r.stands(proofs[i]) {
			proofs[i].template = templates.Key{}
		}
	}
	r.proofs.set(key, proofs)
}

// unproven are the places of the selectors of which nothing shows that they select something.
func unproven(proofs []proof) []int {
	var places []int
	for i := range proofs {
		if proofs[i].template == (templates.Key{}) {
			places = append(places, i)
		}
	}
	return places
}

// few names the first of what a message lists.
func few(all []string) string {
	text := strings.Join(all[:min(len(all), mostRules)], ", ")
	if more := len(all) - mostRules; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

// mostRules bounds the rules, kinds or clusters that a message names.
const mostRules = 5
