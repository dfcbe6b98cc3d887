package binding

import (
	"log/slog"
	"slices"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"

	clusterv1alpha1 "windlass.dev/windlass/api/cluster/v1alpha1"
	policyv1alpha1 "windlass.dev/windlass/api/policy/v1alpha1"
	workv1alpha1 "windlass.dev/windlass/api/work/v1alpha1"
	"windlass.dev/windlass/hub/store"
	"windlass.dev/windlass/pkg/override"
	"windlass.dev/windlass/pkg/policy"
)

// overrides are all override policies, each compiled once for every generation of it. Which there are is
// read from the cache itself for every rendering, and not collected from its events: those come later, and
// until then a template would go out without its overrides. It is safe for concurrent use.
type overrides struct {
	mu       sync.Mutex
	compiled map[types.UID]compiledOverride
}

type compiledOverride struct {
	generation int64
	policy     *override.Policy
}

func (o *overrides) compile(p policyv1alpha1.Override, log *slog.Logger) *override.Policy {
	o.mu.Lock()
	defer o.mu.Unlock()
	if known, ok := o.compiled[p.GetUID()]; ok && known.generation == p.GetGeneration() {
		return known.policy
	}
	compiled, err := override.Compile(p)
	if err != nil {
		log.Error("an override policy selects less than it says", "policy", store.Key(p), "err", err)
	}
	if o.compiled == nil {
		o.compiled = map[types.UID]compiledOverride{}
	}
	o.compiled[p.GetUID()] = compiledOverride{p.GetGeneration(), compiled}
	return compiled
}

func (o *overrides) forget(p policyv1alpha1.Override) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.compiled, p.GetUID())
}

// overridesOf are the overrides of a template.
func (r *Reconciler) overridesOf(template policy.Template) *override.Set {
	present := r.Overrides.Cluster.List()
	if template.Namespace != "" {
		present = append(present, r.Overrides.Namespaced.ByIndex(cache.NamespaceIndex, template.Namespace)...)
	}
	compiled := make([]*override.Policy, len(present))
	for i, p := range present {
		compiled[i] = r.overrides.compile(p, r.Log)
	}
	return override.Select(compiled, template)
}

// overrideChanged wakes the bindings whose templates an override policy selects or selected.
func (r *Reconciler) overrideChanged(old, new policyv1alpha1.Override) []types.NamespacedName {
	if old != nil && new != nil && old.GetGeneration() == new.GetGeneration() {
		return nil
	}
	var selected []*override.Policy
	var keys []types.NamespacedName
	if old != nil {
		compiled, _ := override.Compile(old)
		selected = append(selected, compiled)
	} else {
		keys = r.waitingFor(new)
	}
	if new != nil {
		selected = append(selected, r.overrides.compile(new, r.Log))
	} else {
		r.overrides.forget(old)
		keys = r.waitingFor(old)
	}
	for _, binding := range r.Bindings.List() {
		template := r.templateOf(binding)
		for _, p := range selected {
			if p.Selects(template) {
				keys = append(keys, store.Key(binding))
				break
			}
		}
	}
	return keys
}

// missingOverridesError is why a binding is not rendered whose policy waits for override policies.
type missingOverridesError struct{ missing []string }

// Error is fit for a condition.
func (e *missingOverridesError) Error() string {
	return "the members stay as they are until the override policies exist that the policy names in dependentOverrides; missing: " + strings.Join(e.missing, ", ")
}

// awaitsOverrides is a missingOverridesError for a policy that waits for override policies. One that ends waits for nothing.
func (r *Reconciler) awaitsOverrides(p policyv1alpha1.Policy) error {
	if p == nil || p.GetDeletionTimestamp() != nil {
		return nil
	}
	missing := policy.MissingOverrides(p, func(namespace, name string) bool {
		_, there := r.Overrides.For(namespace).Get(namespace, name)
		return there
	})
	if len(missing) == 0 {
		return nil
	}
	return &missingOverridesError{missing}
}

// policyOf is the policy that claims a binding, as the cache has it; nil when it does not.
func (r *Reconciler) policyOf(binding workv1alpha1.Binding) policyv1alpha1.Policy {
	claim := claimOf(binding)
	for _, mark := range []policy.Mark{claim.Policy, claim.ClusterPolicy} {
		if p, there := r.Policies.Get(types.NamespacedName{Namespace: mark.Namespace, Name: mark.Name}); there && claim.By(p) {
			return p
		}
	}
	return nil
}

func claimOf(binding workv1alpha1.Binding) policy.Claim {
	return policy.ClaimOf(binding.GetLabels(), binding.GetAnnotations())
}

// policyChanged wakes the bindings of a policy that waits for other override policies than before, and those for which it may have said
// something that they did not know, and does not say it any more: nobody writes them for that.
func (r *Reconciler) policyChanged(old, new policyv1alpha1.Policy) []types.NamespacedName {
	if old == nil {
		return nil
	}
	same := new != nil && old.GetUID() == new.GetUID()
	if same && old.GetGeneration() == new.GetGeneration() {
		return nil // its status has changed
	}
	waits := same && !slices.Equal(old.GetSpec().DependentOverrides, new.GetSpec().DependentOverrides)
	holdsOn := same && (policy.Lazy(old) || !policy.Lazy(new)) // a Lazy policy does not hold what it was looked at for
	var keys []types.NamespacedName
	for _, binding := range r.bindingsOf(old) {
		if waits || policy.Ahead(old, binding) && !(holdsOn && policy.Ahead(new, binding)) {
			keys = append(keys, store.Key(binding))
		}
	}
	return keys
}

func (r *Reconciler) bindingsOf(p policyv1alpha1.Policy) []workv1alpha1.Binding {
	var bindings []workv1alpha1.Binding
	labels, _ := policy.Marks(p)
	for _, id := range labels {
		bindings = append(bindings, r.Bindings.ByIndex(store.ByPolicy, id)...)
	}
	return bindings
}

// waitingFor are the bindings whose policy names an override policy that comes or goes.
func (r *Reconciler) waitingFor(override policyv1alpha1.Override) []types.NamespacedName {
	var keys []types.NamespacedName
	for _, p := range r.Policies.List() {
		if policy.WaitsFor(p, override) {
			for _, binding := range r.bindingsOf(p) {
				keys = append(keys, store.Key(binding))
			}
		}
	}
	return keys
}

// templateOf describes the template of a binding. Of one that is not known there are no labels: when it
// becomes known, that wakes the binding.
func (r *Reconciler) templateOf(binding workv1alpha1.Binding) policy.Template {
	key := store.TemplateKey(binding)
	if template, _ := r.Templates.Get(key); template != nil {
		return policy.TemplateOf(template, key.GroupVersionKind)
	}
	return policy.Template{Kind: key.GroupVersionKind, Namespace: key.Namespace, Name: key.Name}
}

// clusterChanged wakes the bindings that go to a cluster of which overrides see something else now.
func (r *Reconciler) clusterChanged(old, new *clusterv1alpha1.MemberCluster) []types.NamespacedName {
	if old == nil || new == nil || override.SameCluster(old, new) {
		return nil // one that comes or goes wakes the bindings by other ways
	}
	var keys []types.NamespacedName
	for _, binding := range r.Bindings.List() {
		for _, target := range binding.GetSpec().Clusters {
			if target.Name == new.Name && r.overridesOf(r.templateOf(binding)).DiffersByCluster() {
				keys = append(keys, store.Key(binding))
			}
		}
	}
	return keys
}
