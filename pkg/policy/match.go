package policy

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"

	policyv1alpha1 "windlass.dev/windlass/api/policy/v1alpha1"
)

// specificity ranks selectors: the narrower beats the wider among policies of one priority.
type specificity int

const (
	selectsNot     specificity = iota
	selectsAll                 // all templates of a kind
	selectsByLabel             // those that a label selector matches
	selectsByName              // the one of that name
)

func (s specificity) String() string {
	return [...]string{"not at all", "as one of its kind", "by label", "by name"}[s]
}

// rule is one compiled resource selector.
type rule struct {
	owner     *Matcher
	kind      schema.GroupVersionKind
	namespace string          // empty: any
	own       bool            // the namespace is that of the policy, which selects in no other
	name      string          // empty: any
	labels    labels.Selector // nil: any
}

// matches leaves aside kind and reach, which the caller has checked.
func (r *rule) matches(t *Template) specificity {
	if r.namespace != "" && r.namespace != t.Namespace {
		return selectsNot
	}
	switch {
	case r.name == t.Name:
		return selectsByName
	case r.name != "":
		return selectsNot
	case r.labels == nil:
		return selectsAll
	case r.labels.Matches(labels.Set(t.Labels)):
		return selectsByLabel
	}
	return selectsNot
}

// Matcher is a policy with its selectors compiled. It is immutable.
type Matcher struct {
	policy   policyv1alpha1.Policy
	priority int32
	preempts bool // takes templates that it names from other policies
	mark     Mark
	rules    []rule
}

// NewMatcher compiles the selectors of a policy. One that does not compile selects nothing and is
// part of the error; the matcher is there all the same. A policy that is being deleted selects
// nothing. The policy must not be changed afterwards.
func NewMatcher(policy policyv1alpha1.Policy) (*Matcher, error) {
	spec := policy.GetSpec()
	m := &Matcher{policy: policy, mark: markOf(policy), preempts: spec.Preemption == policyv1alpha1.PreemptAlways}
	if spec.Priority != nil {
		m.priority = *spec.Priority
	}
	if policy.GetDeletionTimestamp() != nil {
		return m, nil
	}
	var errs []error
	for i := range spec.ResourceSelectors {
		compiled, err := compile(policy.GetNamespace(), &spec.ResourceSelectors[i])
		if err != nil {
			errs = append(errs, fmt.Errorf("spec.resourceSelectors[%d]: %w", i, err))
			continue
		}
		compiled.owner = m
		m.rules = append(m.rules, compiled)
	}
	return m, errors.Join(errs...)
}

// compile compiles a selector of a policy in a namespace, or of a cluster-scoped one.
func compile(namespace string, selector *policyv1alpha1.ResourceSelector) (rule, error) {
	r := rule{namespace: selector.Namespace, name: selector.Name}
	if namespace != "" {
		if r.namespace != "" && r.namespace != namespace {
			return r, fmt.Errorf("namespace %q is not the policy's own", r.namespace)
		}
		r.namespace, r.own = namespace, true
	}
	groupVersion, err := schema.ParseGroupVersion(selector.APIVersion)
	if err != nil {
		return r, fmt.Errorf("apiVersion: %w", err)
	}
	r.kind = groupVersion.WithKind(selector.Kind)
	if r.name == "" && selector.LabelSelector != nil {
		if r.labels, err = metav1.LabelSelectorAsSelector(selector.LabelSelector); err != nil {
			return r, fmt.Errorf("labelSelector: %w", err)
		}
	}
	return r, nil
}

// Policy is the policy that was compiled.
func (m *Matcher) Policy() policyv1alpha1.Policy { return m.policy }

// Kinds are the kinds that the policy selects, sorted.
func (m *Matcher) Kinds() []schema.GroupVersionKind {
	var kinds []schema.GroupVersionKind
	for i := range m.rules {
		kinds = append(kinds, m.rules[i].kind)
	}
	slices.SortFunc(kinds, compareKinds)
	return slices.Compact(kinds)
}

// Matches says whether the policy selects the template, whoever claims it.
func (m *Matcher) Matches(t Template) bool {
	if reason, _ := t.outOfReach(); reason != "" {
		return false
	}
	return m.match(&t) != selectsNot
}

// match returns how the narrowest selector of the policy selects the template.
func (m *Matcher) match(t *Template) specificity {
	best := selectsNot
	for i := range m.rules {
		if m.rules[i].kind == t.Kind {
			best = max(best, m.rules[i].matches(t))
		}
	}
	return best
}

// versions are the versions of a template's kind in which a selector of the policy selects it, sorted.
func (m *Matcher) versions(t Template) []schema.GroupVersionKind {
	var versions []schema.GroupVersionKind
	for i := range m.rules {
		if r := &m.rules[i]; r.kind.GroupKind() == t.Kind.GroupKind() && r.matches(&t) != selectsNot {
			versions = append(versions, r.kind)
		}
	}
	slices.SortFunc(versions, compareKinds)
	return slices.Compact(versions)
}

func (m *Matcher) String() string { return m.mark.String() }

func compareKinds(a, b schema.GroupVersionKind) int {
	return cmp.Or(cmp.Compare(a.Group, b.Group), cmp.Compare(a.Version, b.Version), cmp.Compare(a.Kind, b.Kind))
}
