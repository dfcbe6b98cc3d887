// Package override alone changes manifests for single clusters: it says which override policies are for
// a template, which of their rules are for a cluster, and makes the manifest that the cluster gets.
//
//	policies ──Compile──► Policy ──Select(template)──► Set ──For(cluster)──► Choice ──Apply──► manifest
//
// ClusterOverridePolicies come first and OverridePolicies after them; in each kind the policy whose
// selector is narrower comes later, and among equals the one whose name sorts later. A later change wins.
// This order, that of the overriders of one rule, and what each of them makes of a value are Karmada's.
package override

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/sets"

	clusterv1alpha1 "windlass.dev/windlass/api/cluster/v1alpha1"
	policyv1alpha1 "windlass.dev/windlass/api/policy/v1alpha1"
	"windlass.dev/windlass/pkg/policy"
	"windlass.dev/windlass/pkg/schedule"
)

// A Policy is a compiled OverridePolicy or ClusterOverridePolicy. It is immutable and serves all
// templates.
type Policy struct {
	name       string
	namespaced bool
	called     string // in messages
	selectors  policy.Selectors
	rules      []rule
}

type rule struct {
	policy     *Policy
	path       string
	targets    schedule.Affinity
	anywhere   bool // it is for all clusters
	overriders *policyv1alpha1.Overriders
	references []referral // what its values refer to, sorted, each once
	invalid    *Error     // why it can't be followed: then no cluster gets anything
}

// Compile prepares a policy, which must not be changed afterwards. Selectors that don't compile select
// nothing and are part of the error. Of a rule that does not, nothing can be said but that the manifests
// can't be made: For says so.
func Compile(from policyv1alpha1.Override) (*Policy, error) {
	p := &Policy{name: from.GetName(), namespaced: from.GetNamespace() != "", called: "ClusterOverridePolicy " + from.GetName()}
	if p.namespaced {
		p.called = "OverridePolicy " + from.GetNamespace() + "/" + from.GetName()
	}
	for path, rule := range from.GetSpec().Rules() {
		p.rules = append(p.rules, compileRule(p, path.String(), rule))
	}
	var err error
	if p.selectors, err = policy.CompileSelectors(from.GetNamespace(), from.GetSpec().ResourceSelectors); err != nil {
		err = fmt.Errorf("compiling %s: %w", p.called, err)
	}
	return p, err
}

func compileRule(p *Policy, path string, from *policyv1alpha1.RuleWithCluster) rule {
	r := rule{policy: p, path: path, anywhere: from.TargetCluster == nil, overriders: &from.Overriders}
	var err error
	if r.targets, err = schedule.CompileAffinity(from.TargetCluster); err != nil {
		r.invalid = &Error{Policy: p.called, Path: r.path + ".targetCluster", Err: err}
	}
	if r.references, err = referencesIn(r.overriders); err != nil {
		r.invalid = &Error{Policy: p.called, Path: r.path + ".overriders", Err: err}
	}
	return r
}

// WithoutCluster are the places in the policy of rules that are for none of the clusters.
func (p *Policy) WithoutCluster(clusters []*clusterv1alpha1.MemberCluster) []string {
	var idle []string
	for i := range p.rules {
		r := &p.rules[i]
		if !r.anywhere && r.invalid == nil && !slices.ContainsFunc(clusters, r.targets.Selects) {
			idle = append(idle, r.path)
		}
	}
	return idle
}

// Strangers are the names, sorted, by which rules call clusters that are not among the given ones.
func (p *Policy) Strangers(clusters []*clusterv1alpha1.MemberCluster) []string {
	strangers := sets.New[string]()
	for i := range p.rules {
		strangers.Insert(p.rules[i].targets.Named()...)
	}
	for _, cluster := range clusters {
		strangers.Delete(cluster.Name)
	}
	return sets.List(strangers)
}

// SameCluster says whether the step from one state of a cluster to another changes nothing of what overrides
// look at.
func SameCluster(a, b *clusterv1alpha1.MemberCluster) bool {
	return a.Spec.Provider == b.Spec.Provider && a.Spec.Region == b.Spec.Region &&
		slices.Equal(a.Spec.Zones, b.Spec.Zones) && maps.Equal(a.Labels, b.Labels)
}

// String names the policy with its kind.
func (p *Policy) String() string { return p.called }

// Selects says whether the policy is for a template.
func (p *Policy) Selects(t policy.Template) bool {
	_, selected := p.selectors.Match(t)
	return selected
}

// Selectors are those of the policy.
func (p *Policy) Selectors() policy.Selectors { return p.selectors }

// means says whether the policy is for this template in particular: it selects it by name or label, and no other kinds that have
// containers where this one has none. What is for all of a kind, or of several, need not find something in each object.
func (p *Policy) means(t policy.Template) bool {
	return p.selectors.Narrow(t) &&
		(hasPods(t.Kind.Kind) || !slices.ContainsFunc(p.selectors.Kinds(), func(kind schema.GroupVersionKind) bool { return hasPods(kind.Kind) }))
}

// A Set is what some policies say of one template; a nil Set changes nothing. What its Choices are applied to is the template,
// and they share what they read of it and a bound for all: one goroutine at a time applies them.
type Set struct {
	rules  []*rule
	shared *shared
}

// Select finds the policies that are for a template. Those of other namespaces than the template's may
// be among them.
func Select(policies []*Policy, t policy.Template) *Set {
	type candidate struct {
		*Policy
		rank int
	}
	var candidates []candidate
	for _, p := range policies {
		if rank, selected := p.selectors.Match(t); selected {
			candidates = append(candidates, candidate{p, rank})
		}
	}
	if len(candidates) == 0 {
		return nil
	}
	slices.SortFunc(candidates, func(a, b candidate) int {
		return cmp.Or(clusterScopedFirst(a.Policy, b.Policy), cmp.Compare(a.rank, b.rank), cmp.Compare(a.name, b.name))
	})
	set := &Set{shared: newShared()}
	for _, c := range candidates {
		for i := range c.rules {
			set.rules = append(set.rules, &c.rules[i])
		}
	}
	return set
}

func clusterScopedFirst(a, b *Policy) int {
	switch {
	case a.namespaced == b.namespaced:
		return 0
	case a.namespaced:
		return 1
	}
	return -1
}

// DiffersByCluster says whether what a cluster is may matter to what it gets.
func (s *Set) DiffersByCluster() bool {
	return s != nil && slices.ContainsFunc(s.rules, func(r *rule) bool { return !r.anywhere || len(r.references) > 0 })
}

// A Choice is what a Set says of one cluster. Choices of one Set with the same Key are the same.
type Choice struct {
	Key    string // empty: nothing is changed
	rules  []*rule
	values map[string]string // by reference
	shared *shared
}

// For chooses the rules for a cluster. It fails when some of them are invalid, or refer to what the cluster
// does not have: the error tells of the first few.
func (s *Set) For(cluster *clusterv1alpha1.MemberCluster) (Choice, error) {
	if s == nil {
		return Choice{}, nil
	}
	choice := Choice{shared: s.shared}
	var failed []*Error
	for _, r := range s.rules {
		if len(failed) == maxFailed {
			break
		}
		if r.invalid != nil {
			failed = append(failed, r.invalid)
			continue
		}
		if !r.anywhere && !r.targets.Selects(cluster) {
			continue
		}
		choice.rules = append(choice.rules, r)
		for _, reference := range r.references {
			value := valueOf(reference.name, cluster)
			if value == "" {
				if len(failed) < maxFailed {
					failed = append(failed, &Error{Policy: r.policy.called, Path: r.path + ".overriders." + reference.at,
						Err: fmt.Errorf("${%s} is empty: %s", reference.name, whatToSet(reference.name, cluster))})
				}
				continue
			}
			if choice.values == nil {
				choice.values = map[string]string{}
			}
			choice.values[reference.name] = value
		}
	}
	if err := joined(failed); err != nil {
		return Choice{}, err
	}
	choice.Key = s.key(choice)
	return choice, nil
}

func (s *Set) key(choice Choice) string {
	var key strings.Builder
	position := 0
	for _, r := range choice.rules {
		position += slices.Index(s.rules[position:], r)
		key.WriteString(strconv.Itoa(position) + ";")
	}
	for _, reference := range slices.Sorted(maps.Keys(choice.values)) {
		key.WriteString(reference + strconv.Quote(choice.values[reference]))
	}
	return key.String()
}

// An Error says which change of which policy can't be made, and why.
type Error struct {
	Policy string // with its kind
	Path   string // of the overrider in the policy
	Err    error
}

// Error is fit for the eyes of whoever wrote the policy.
func (e *Error) Error() string { return fmt.Sprintf("%s: %s: %v", e.Policy, e.Path, e.Err) }

// Unwrap returns the reason.
func (e *Error) Unwrap() error { return e.Err }

// Errors are several changes that can't be made.
type Errors []*Error

// Error says all of them.
func (e Errors) Error() string {
	texts := make([]string, len(e))
	for i, err := range e {
		texts[i] = err.Error()
	}
	return strings.Join(texts, "; ")
}

// Unwrap returns each of them.
func (e Errors) Unwrap() []error {
	list := make([]error, len(e))
	for i, err := range e {
		list[i] = err
	}
	return list
}

// joined is what there is to say of failures; nil where there are none.
func joined(failed []*Error) error {
	switch len(failed) {
	case 0:
		return nil
	case 1:
		return failed[0]
	}
	return Errors(failed)
}
