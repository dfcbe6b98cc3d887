package policy

import (
	"cmp"
	"fmt"
	"slices"
	"sync"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	policyv1alpha1 "windlass.dev/windlass/api/policy/v1alpha1"
)

// Index holds compiled policies by the kinds they select, so that deciding about a template looks
// only at the policies that may select it. It is safe for concurrent use.
type Index struct {
	mu       sync.RWMutex
	matchers map[types.NamespacedName]*Matcher
	kinds    map[schema.GroupVersionKind]map[string]*rules // by the policies' namespace
}

// rules are the selectors of one kind in the policies of one namespace. Those with a name are the
// usual ones: there may be thousands, and one lookup finds the few that count.
type rules struct {
	named map[string][]*rule
	wide  []*rule
}

// NewIndex makes an index of the given policies. Selectors that don't compile select nothing; Put
// tells which.
func NewIndex(policies ...policyv1alpha1.Policy) *Index {
	x := &Index{
		matchers: map[types.NamespacedName]*Matcher{},
		kinds:    map[schema.GroupVersionKind]map[string]*rules{},
	}
	for _, policy := range policies {
		_ = x.Put(policy)
	}
	return x
}

func keyOf(policy policyv1alpha1.Policy) types.NamespacedName {
	return types.NamespacedName{Namespace: policy.GetNamespace(), Name: policy.GetName()}
}

// Put adds a policy or replaces the one of that name. The error names selectors that don't compile;
// the others are in force. The policy must not be changed afterwards.
func (x *Index) Put(policy policyv1alpha1.Policy) error {
	matcher, err := NewMatcher(policy)
	key := keyOf(policy)
	x.mu.Lock()
	defer x.mu.Unlock()
	x.remove(key)
	x.matchers[key] = matcher
	for i := range matcher.rules {
		x.add(key.Namespace, &matcher.rules[i])
	}
	if err != nil {
		return fmt.Errorf("compiling %s: %w", matcher, err)
	}
	return nil
}

// Delete takes a policy out. A key without namespace is that of a ClusterPropagationPolicy.
func (x *Index) Delete(key types.NamespacedName) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.remove(key)
}

// Get returns a policy, or nil. It must not be changed.
func (x *Index) Get(key types.NamespacedName) policyv1alpha1.Policy {
	x.mu.RLock()
	defer x.mu.RUnlock()
	if matcher := x.matchers[key]; matcher != nil {
		return matcher.policy
	}
	return nil
}

// Kinds are the kinds that some policy selects, sorted.
func (x *Index) Kinds() []schema.GroupVersionKind {
	x.mu.RLock()
	defer x.mu.RUnlock()
	kinds := make([]schema.GroupVersionKind, 0, len(x.kinds))
	for kind := range x.kinds {
		kinds = append(kinds, kind)
	}
	slices.SortFunc(kinds, compareKinds)
	return kinds
}

// Versions are the versions of a kind that some policy selects, sorted.
func (x *Index) Versions(of schema.GroupKind) []schema.GroupVersionKind {
	x.mu.RLock()
	defer x.mu.RUnlock()
	var versions []schema.GroupVersionKind
	for kind := range x.kinds {
		if kind.GroupKind() == of {
			versions = append(versions, kind)
		}
	}
	slices.SortFunc(versions, compareKinds)
	return versions
}

func (x *Index) add(namespace string, r *rule) {
	byNamespace := x.kinds[r.kind]
	if byNamespace == nil {
		byNamespace = map[string]*rules{}
		x.kinds[r.kind] = byNamespace
	}
	of := byNamespace[namespace]
	if of == nil {
		of = &rules{named: map[string][]*rule{}}
		byNamespace[namespace] = of
	}
	if r.name == "" {
		of.wide = append(of.wide, r)
	} else {
		of.named[r.name] = append(of.named[r.name], r)
	}
}

func (x *Index) remove(key types.NamespacedName) {
	matcher := x.matchers[key]
	if matcher == nil {
		return
	}
	delete(x.matchers, key)
	for i := range matcher.rules {
		x.drop(key.Namespace, &matcher.rules[i])
	}
}

func (x *Index) drop(namespace string, r *rule) {
	of := x.kinds[r.kind][namespace]
	is := func(other *rule) bool { return other == r }
	if r.name == "" {
		of.wide = slices.DeleteFunc(of.wide, is)
	} else if rest := slices.DeleteFunc(of.named[r.name], is); len(rest) > 0 {
		of.named[r.name] = rest
	} else {
		delete(of.named, r.name)
	}
	if len(of.wide) == 0 && len(of.named) == 0 {
		delete(x.kinds[r.kind], namespace)
	}
	if len(x.kinds[r.kind]) == 0 {
		delete(x.kinds, r.kind)
	}
}

// Select decides which policy claims a template that bears the marks of the given claim. A policy that waits, as nil says
// of none, takes nothing from another: the template would be nobody's until the wait is over.
func (x *Index) Select(t Template, claim Claim, waits func(policyv1alpha1.Policy) bool) Decision {
	if reason, message := t.outOfReach(); reason != "" {
		return Decision{Reason: reason, Message: message}
	}
	x.mu.RLock()
	defer x.mu.RUnlock()
	for _, mark := range []Mark{claim.Policy, claim.ClusterPolicy} { // a PropagationPolicy's claim counts first
		if matcher, how := x.claimant(mark, &t); matcher != nil {
			if taker := x.preemptor(matcher, &t, waits); taker != nil {
				return preempted(taker, matcher)
			}
			return Decision{Policy: matcher.policy, Reason: ReasonKept,
				Message: fmt.Sprintf("%s claims it and still selects it %s", matcher, how)}
		}
	}
	if t.Namespace != "" {
		if ranked := x.rank(t.Namespace, &t); len(ranked) > 0 {
			return selected(ranked)
		}
	}
	if ranked := x.rank("", &t); len(ranked) > 0 {
		return selected(ranked)
	}
	return Decision{Reason: ReasonNoPolicy, Message: "no policy selects it"}
}

// claimant returns the policy of a mark if it still selects the template, and how.
func (x *Index) claimant(mark Mark, t *Template) (*Matcher, specificity) {
	matcher := x.marked(mark)
	if matcher == nil {
		return nil, selectsNot
	}
	how := matcher.match(t)
	if how == selectsNot {
		return nil, selectsNot
	}
	return matcher, how
}

// Keeps are the versions of a template's kind in which the policy of its claim still selects it. An object is seen in every version,
// and whoever looks at it in another one finds nobody, or somebody else.
func (x *Index) Keeps(t Template, claim Claim) []schema.GroupVersionKind {
	if reason, _ := t.outOfReach(); reason != "" {
		return nil
	}
	x.mu.RLock()
	defer x.mu.RUnlock()
	for _, mark := range []Mark{claim.Policy, claim.ClusterPolicy} { // in the order of Select
		if matcher := x.marked(mark); matcher != nil {
			if versions := matcher.versions(t); len(versions) > 0 {
				return versions
			}
		}
	}
	return nil
}

// marked returns the policy of a mark, or nil.
func (x *Index) marked(mark Mark) *Matcher {
	if mark.ID == "" {
		return nil
	}
	if matcher := x.matchers[types.NamespacedName{Namespace: mark.Namespace, Name: mark.Name}]; matcher != nil && matcher.mark == mark {
		return matcher
	}
	return nil
}

// preemptor returns the best of the policies that take the template from the one that claims it, or nil.
func (x *Index) preemptor(holder *Matcher, t *Template, waits func(policyv1alpha1.Policy) bool) *Matcher {
	if t.Namespace != "" {
		if taker := x.bestPreempting(t.Namespace, t, waits); taker != nil && (!namespaced(holder.policy) || taker.priority > holder.priority) {
			return taker
		}
	}
	if namespaced(holder.policy) {
		return nil
	}
	if taker := x.bestPreempting("", t, waits); taker != nil && taker.priority > holder.priority {
		return taker
	}
	return nil
}

// bestPreempting returns the best policy of a namespace that names the template and takes it from others, or nil.
func (x *Index) bestPreempting(namespace string, t *Template, waits func(policyv1alpha1.Policy) bool) *Matcher {
	of := x.kinds[t.Kind][namespace]
	if of == nil {
		return nil
	}
	var best *Matcher
	for _, r := range of.named[t.Name] {
		if r.owner.preempts && r.matches(t) != selectsNot && (waits == nil || !waits(r.owner.policy)) &&
			(best == nil || candidate{r.owner, selectsByName}.compare(candidate{best, selectsByName}) < 0) {
			best = r.owner
		}
	}
	return best
}

func preempted(taker, holder *Matcher) Decision {
	why := fmt.Sprintf("its priority is %d, the other's %d", taker.priority, holder.priority)
	if namespaced(taker.policy) != namespaced(holder.policy) {
		why = "a PropagationPolicy comes before every ClusterPropagationPolicy"
	}
	return Decision{Policy: taker.policy, Reason: ReasonPreempted,
		Message: fmt.Sprintf("%s takes it from %s: %s", taker, holder, why)}
}

// candidate is a policy that selects a template.
type candidate struct {
	*Matcher
	how specificity
}

// compare sorts the better candidate first.
func (c candidate) compare(other candidate) int {
	return cmp.Or(
		-cmp.Compare(c.priority, other.priority),
		-cmp.Compare(c.how, other.how),
		cmp.Compare(c.mark.Name, other.mark.Name),
	)
}

// rank returns the policies of a namespace ("" for ClusterPropagationPolicies) that select the
// template, the best first. One with several such selectors appears several times.
func (x *Index) rank(namespace string, t *Template) []candidate {
	of := x.kinds[t.Kind][namespace]
	if of == nil {
		return nil
	}
	var found []candidate
	for _, some := range [][]*rule{of.named[t.Name], of.wide} {
		for _, r := range some {
			if how := r.matches(t); how != selectsNot {
				found = append(found, candidate{r.owner, how})
			}
		}
	}
	slices.SortFunc(found, candidate.compare)
	return found
}

func selected(ranked []candidate) Decision {
	best := ranked[0]
	message := fmt.Sprintf("%s selects it %s", best.Matcher, best.how)
	for _, next := range ranked[1:] {
		if next.Matcher != best.Matcher {
			message += fmt.Sprintf(" and comes before %s: %s", next.Matcher, best.lead(next, "the other"))
			break
		}
	}
	return Decision{Policy: best.policy, Reason: ReasonSelected, Message: message}
}

// lead says why a candidate comes before another, which is called by the given words.
func (c candidate) lead(other candidate, called string) string {
	switch {
	case c.priority != other.priority:
		return fmt.Sprintf("its priority is %d, %s's %d", c.priority, called, other.priority)
	case c.how != other.how:
		return fmt.Sprintf("%s selects it %s", called, other.how)
	}
	return "all else is equal and its name sorts first"
}
