package policy

import (
	"errors"
	"fmt"

	"k8s.io/apimachinery/pkg/runtime/schema"

	policyv1alpha1 "windlass.dev/windlass/api/policy/v1alpha1"
)

// Selectors are resource selectors by themselves, compiled, for policies that claim nothing. They are
// immutable.
type Selectors struct {
	namespace string
	everyone  bool // there are none, which selects all
	rules     []rule
}

// CompileSelectors compiles the selectors of a policy of a namespace, or of a cluster-scoped one ("").
// Without any, everything is selected that is within reach of the policy. One that does not compile
// selects nothing and is part of the error.
func CompileSelectors(namespace string, selectors []policyv1alpha1.ResourceSelector) (Selectors, error) {
	s := Selectors{namespace: namespace, everyone: len(selectors) == 0}
	var errs []error
	for i := range selectors {
		compiled, err := compile(namespace, &selectors[i])
		if err != nil {
			errs = append(errs, fmt.Errorf("spec.resourceSelectors[%d]: %w", i, err))
			continue
		}
		s.rules = append(s.rules, compiled)
	}
	return s, errors.Join(errs...)
}

// Match says whether a selector selects the template, and how narrow the narrowest of those is: a
// higher rank is narrower.
func (s Selectors) Match(t Template) (rank int, selected bool) {
	if s.everyone {
		return int(selectsAll), s.namespace == "" || s.namespace == t.Namespace
	}
	best := selectsNot
	for i := range s.rules {
		if s.rules[i].kind == t.Kind {
			best = max(best, s.rules[i].matches(&t))
		}
	}
	return int(best), best != selectsNot
}

// Narrow says whether a selector selects the template by its name or its labels, and not only as one of its kind.
func (s Selectors) Narrow(t Template) bool {
	rank, _ := s.Match(t)
	return rank > int(selectsAll)
}

// Kinds are the kinds that are selected; none where everything is.
func (s Selectors) Kinds() []schema.GroupVersionKind {
	var kinds []schema.GroupVersionKind
	for i := range s.rules {
		kinds = append(kinds, s.rules[i].kind)
	}
	return kinds
}
