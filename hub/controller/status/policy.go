package status

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/source"

	policyv1alpha1 "windlass.dev/windlass/api/policy/v1alpha1"
	workv1alpha1 "windlass.dev/windlass/api/work/v1alpha1"
	"windlass.dev/windlass/hub/store"
	"windlass.dev/windlass/hub/templates"
	"windlass.dev/windlass/pkg/aggregate"
	"windlass.dev/windlass/pkg/policy"
)

// Kinds shows the kinds that policies select, and says why one is not watched.
type Kinds interface {
	Handle(templates.Handler)
	Scope(schema.GroupVersionKind) (cluster, known bool)
	Get(templates.Key) (obj *unstructured.Unstructured, known bool)
	List(kind schema.GroupVersionKind, namespace string) []*unstructured.Unstructured
	Problem(schema.GroupVersionKind) error
}

// Classes are the hub's PriorityClasses.
type Classes interface {
	Value(name string) (priority int32, exists bool)
	OnChanged(func(name string)) error
}

// PolicyReconciler writes the status of policies, each at most once in an interval. Its key is a
// policy.
type PolicyReconciler struct {
	Policies  store.Scoped[policyv1alpha1.Policy]
	Overrides store.Scoped[policyv1alpha1.Override]
	Bindings  store.Bindings
	Kinds     Kinds
	Classes   Classes
	// Every is the least time between two writes of one policy's status.
	Every time.Duration
	Now   func() time.Time

	written moving
	// differs is since when a status is another than what is written.
	differs moving
	due     due
	idle    idle
}

// Setup adds the controller to the manager.
func (r *PolicyReconciler) Setup(mgr manager.Manager) error {
	c, err := controller.NewTyped("policy-status", mgr, controller.TypedOptions[types.NamespacedName]{Reconciler: r})
	if err != nil {
		return err
	}
	wake := &store.Mailbox[types.NamespacedName]{}
	r.Kinds.Handle(templates.Handler{
		Changed: func(key templates.Key, initial bool) {
			for _, policy := range r.idle.lookingFor(key) {
				wake.Add(policy, initial)
			}
		},
		Kind: func(kind schema.GroupVersionKind) {
			for _, policy := range r.Policies.List() {
				if selects(policy, kind) {
					wake.Add(store.Key(policy), false)
				}
			}
		},
	})
	err = r.Classes.OnChanged(func(class string) {
		for _, policy := range r.Policies.List() {
			if wanted := policy.GetSpec().SchedulePriority; wanted != nil && wanted.PriorityClassName == class {
				wake.Add(store.Key(policy), false)
			}
		}
	})
	if err != nil {
		return err
	}
	sources := append(store.Sources(r.Policies, r.policyChanged), store.Sources(r.Bindings.Scoped, r.policiesOf)...)
	sources = append(sources, store.Sources(r.Overrides, r.waitingFor)...)
	for _, source := range append(sources, source.TypedSource[types.NamespacedName](wake)) {
		if err := c.Watch(source); err != nil {
			return err
		}
	}
	return nil
}

// policyChanged wakes a policy for its status, too: what was counted while the cache did not show the
// last write yet is counted again. A policy that claims nothing is woken by those that may be the reason.
func (r *PolicyReconciler) policyChanged(old, new policyv1alpha1.Policy) []types.NamespacedName {
	return append(itself(old, new), r.idle.beside(old, new)...)
}

func itself(old, new policyv1alpha1.Policy) []types.NamespacedName {
	if new == nil || old != nil && old.GetGeneration() == new.GetGeneration() && equality.Semantic.DeepEqual(old.GetStatus(), new.GetStatus()) {
		return nil
	}
	return []types.NamespacedName{store.Key(new)}
}

// policiesOf are the policies that claim, or claimed, the template of a binding.
func (r *PolicyReconciler) policiesOf(old, new workv1alpha1.Binding) []types.NamespacedName {
	keys := []types.NamespacedName{}
	for _, binding := range []workv1alpha1.Binding{old, new} {
		if binding == nil {
			continue
		}
		annotations := binding.GetAnnotations()
		if name := annotations[workv1alpha1.PropagationPolicyNameAnnotation]; name != "" {
			keys = append(keys, types.NamespacedName{Namespace: annotations[workv1alpha1.PropagationPolicyNamespaceAnnotation], Name: name})
		}
		if name := annotations[workv1alpha1.ClusterPropagationPolicyNameAnnotation]; name != "" {
			keys = append(keys, types.NamespacedName{Name: name})
		}
	}
	return keys
}

// waitingFor are the policies that need an override policy which comes or goes.
func (r *PolicyReconciler) waitingFor(old, new policyv1alpha1.Override) []types.NamespacedName {
	if old != nil && new != nil {
		return nil
	}
	override := new
	if new == nil {
		override = old
	}
	var keys []types.NamespacedName
	for _, p := range r.Policies.List() {
		if policy.WaitsFor(p, override) {
			keys = append(keys, store.Key(p))
		}
	}
	return keys
}

func (r *PolicyReconciler) overrideExists(namespace, name string) bool {
	_, there := r.Overrides.For(namespace).Get(namespace, name)
	return there
}

func selects(policy policyv1alpha1.Policy, kind schema.GroupVersionKind) bool {
	return slices.Contains(selectedKinds(policy), kind)
}

// selectedKinds are those that a policy's selectors name, in their order.
func selectedKinds(policy policyv1alpha1.Policy) []schema.GroupVersionKind {
	return kindsOf(policy.GetSpec().ResourceSelectors)
}

func kindsOf(selectors []policyv1alpha1.ResourceSelector) []schema.GroupVersionKind {
	var kinds []schema.GroupVersionKind
	for _, selector := range selectors {
		if kind := schema.FromAPIVersionAndKind(selector.APIVersion, selector.Kind); !slices.Contains(kinds, kind) {
			kinds = append(kinds, kind)
		}
	}
	return kinds
}

// Reconcile counts the bindings of one policy.
func (r *PolicyReconciler) Reconcile(ctx context.Context, key types.NamespacedName) (ctrl.Result, error) {
	p, ok := r.Policies.Get(key)
	if !ok || p.GetDeletionTimestamp() != nil {
		r.written.forget(key)
		r.differs.forget(key)
		r.due.forget(key)
		r.idle.forget(key)
		return ctrl.Result{}, nil
	}
	if wait := r.due.left(key, p.GetGeneration(), r.Now()); wait > 0 {
		return ctrl.Result{RequeueAfter: wait}, nil
	}
	facts := aggregate.PolicyInput{
		Generation:       p.GetGeneration(),
		Bindings:         r.Bindings.ByIndex(store.ByPolicy, permanentID(p)),
		MissingKinds:     missingKinds(r.Kinds, p.GetSpec().ResourceSelectors),
		MissingOverrides: policy.MissingOverrides(p, r.overrideExists),
		MissingClass:     r.missingClass(p),
	}
	facts.Lagging = lagging(p, facts.Bindings)
	facts.Unused = policy.Unused(p, facts.Bindings, r.labelsOf)
	idle := len(facts.Bindings) == 0 && len(facts.MissingKinds) == 0 && len(facts.MissingOverrides) == 0 && facts.MissingClass == ""
	if !idle {
		r.idle.forget(key)
	} else if wait := r.idle.wait(key, p.GetSpec().ResourceSelectors, r.Every, r.Now()); wait > 0 {
		return ctrl.Result{RequeueAfter: wait}, nil
	} else {
		facts.WhyIdle = r.whyIdle(p)
	}
	status, changed := aggregate.Policy(facts, p.GetStatus(), metav1.NewTime(r.Now()))
	if !changed {
		r.differs.forget(key)
		return ctrl.Result{}, nil
	}
	if wait := r.pause(key, p, status); wait > 0 && !idle {
		r.due.set(key, p.GetGeneration(), r.Now().Add(wait))
		return ctrl.Result{RequeueAfter: wait}, nil
	}
	updated := p.DeepCopyObject().(policyv1alpha1.Policy)
	*updated.GetStatus() = *status
	if _, err := r.Policies.For(key.Namespace).UpdateStatus(ctx, updated); err != nil && !apierrors.IsNotFound(err) {
		return store.Outcome(fmt.Errorf("writing the status of policy %s: %w", key, err))
	}
	r.differs.forget(key)
	r.written.forget(key)
	r.written.since(key, r.Now())
	if !idle {
		r.due.set(key, p.GetGeneration(), r.Now().Add(r.Every))
	}
	return ctrl.Result{}, nil
}

// pause is how long to wait before the policy's status may be written again. The first word is not
// kept back, unless it is that nothing is selected, which a moment later may be untrue. While something is under way
// the next count is about to come, and one write shows both: at the moment when a template is created there is
// more urgent work.
func (r *PolicyReconciler) pause(key types.NamespacedName, policy policyv1alpha1.Policy, status *policyv1alpha1.PropagationStatus) time.Duration {
	if policy.GetStatus().ObservedGeneration == 0 && status.Templates > 0 {
		return 0
	}
	wait := r.Every - r.written.since(key, r.Now())
	if since := r.differs.since(key, r.Now()); underWay(policy.GetStatus(), status) {
		wait = max(wait, r.Every-since)
	}
	return max(0, wait)
}

// underWay says whether templates are on their way, and that is all that has changed.
func underWay(before, now *policyv1alpha1.PropagationStatus) bool {
	return now.Healthy < now.Templates && undisturbed(before) && undisturbed(now)
}

func undisturbed(status *policyv1alpha1.PropagationStatus) bool {
	ready := meta.FindStatusCondition(status.Conditions, aggregate.PolicyReady)
	return ready != nil && (ready.Status == metav1.ConditionTrue || ready.Reason == aggregate.ReasonNotApplied)
}

func lagging(p policyv1alpha1.Policy, bindings []workv1alpha1.Binding) int {
	count := 0
	for _, binding := range bindings {
		if policy.Lags(p, binding) {
			count++
		}
	}
	return count
}

// labelsOf are those of a binding's template. Of one that the cache does not have it is not known which it has.
func (r *PolicyReconciler) labelsOf(binding workv1alpha1.Binding) (labels map[string]string, known bool) {
	template, _ := r.Kinds.Get(store.TemplateKey(binding))
	if template == nil {
		return nil, false
	}
	return template.GetLabels(), true
}

// missingKinds are those that selectors name and the hub does not serve, with what is probably meant.
func missingKinds(kinds interface {
	Problem(schema.GroupVersionKind) error
}, selectors []policyv1alpha1.ResourceSelector) []string {
	missing := []string{}
	for _, kind := range kindsOf(selectors) {
		problem := kinds.Problem(kind)
		var misnamed *templates.Misnamed
		switch {
		case errors.As(problem, &misnamed):
			missing = append(missing, fmt.Sprintf("%s %s (%s %s is probably meant)", kind.GroupVersion(), kind.Kind, misnamed.Meant.GroupVersion(), misnamed.Meant.Kind))
		case problem != nil:
			missing = append(missing, kind.GroupVersion().String()+" "+kind.Kind)
		}
	}
	return missing
}

func (r *PolicyReconciler) missingClass(policy policyv1alpha1.Policy) string {
	wanted := policy.GetSpec().SchedulePriority
	if wanted == nil {
		return ""
	}
	if _, exists := r.Classes.Value(wanted.PriorityClassName); exists {
		return ""
	}
	return wanted.PriorityClassName
}

// whyIdle reads every object that the policy might claim.
func (r *PolicyReconciler) whyIdle(p policyv1alpha1.Policy) string {
	return policy.WhyIdle(p, seenOf(r.Kinds, selectedKinds(p), p.GetNamespace()), func(mark policy.Mark) policyv1alpha1.Policy {
		if claimant, ok := r.Policies.Get(types.NamespacedName{Namespace: mark.Namespace, Name: mark.Name}); ok {
			return claimant
		}
		return nil
	})
}

// seenOf is what the hub has of the kinds that it watches, in one namespace or in all.
func seenOf(watched interface {
	Scope(schema.GroupVersionKind) (cluster, known bool)
	List(kind schema.GroupVersionKind, namespace string) []*unstructured.Unstructured
}, kinds []schema.GroupVersionKind, namespace string) map[schema.GroupVersionKind]policy.Seen {
	seen := map[schema.GroupVersionKind]policy.Seen{}
	for _, kind := range kinds {
		cluster, known := watched.Scope(kind)
		if !known {
			continue
		}
		list := watched.List(kind, namespace)
		objects := make([]metav1.Object, len(list))
		for i := range list {
			objects[i] = list[i]
		}
		seen[kind] = policy.Seen{ClusterScoped: cluster, Objects: objects}
	}
	return seen
}

func permanentID(policy policyv1alpha1.Policy) string {
	if policy.GetNamespace() == "" {
		return policy.GetLabels()[workv1alpha1.ClusterPropagationPolicyPermanentIDLabel]
	}
	return policy.GetLabels()[workv1alpha1.PropagationPolicyPermanentIDLabel]
}

// due is when the bindings of policies are counted next: each of thousands of bindings wakes its policy, and nothing can
// be written before. The zero value is ready.
type due struct {
	mu sync.Mutex
	at map[types.NamespacedName]dueAt
}

type dueAt struct {
	generation int64
	time       time.Time
}

// left is how long a policy has to wait. One with another spec does not.
func (d *due) left(key types.NamespacedName, generation int64, now time.Time) time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	at, ok := d.at[key]
	if !ok || at.generation != generation {
		return 0
	}
	return at.time.Sub(now)
}

func (d *due) set(key types.NamespacedName, generation int64, at time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.at == nil {
		d.at = map[types.NamespacedName]dueAt{}
	}
	d.at[key] = dueAt{generation, at}
}

func (d *due) forget(key types.NamespacedName) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.at, key)
}
