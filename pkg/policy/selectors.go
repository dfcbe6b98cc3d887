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

// Len is how many selectors there are.
func (s Selectors) Len() int { return len(s.rules) }

// Only are some of the selectors, by their place.
func (s Selectors) Only(places ...int) Selectors {
	only := Selectors{namespace: s.namespace}
	for _, i := range places {
		only.rules = append(only.rules, s.rules[i])
	}
	return only
}

// Propagated finds a template that an override policy's selectors select and that a policy claims, or says of each selector
// why there is none. It says nothing while that is not known: seen lacks kinds that are not known yet.
func (s Selectors) Propagated(seen map[schema.GroupVersionKind]Seen) (found *Template, why string) {
	known := true
	for i := range s.rules {
		objects, there := seen[s.rules[i].kind]
		if known = known && there; there {
			found = s.rules[i].propagated(objects)
		}
		if found != nil {
			return found, ""
		}
	}
	if !known {
		return nil, ""
	}
	return nil, whyEach(s.rules, seen, (*rule).unpropagated)
}

// propagated is the first object that the selector is for and a policy claims, or nil.
func (r *rule) propagated(seen Seen) *Template {
	for _, object := range seen.Objects {
		if r.name != "" && r.name != object.GetName() {
			continue
		}
		if template := TemplateOf(object, r.kind); r.matches(&template) != selectsNot && !ClaimOf(template.Labels, template.Annotations).Empty() {
			return &template
		}
	}
	return nil
}

// unpropagated says why the selector is for nothing that a policy claims.
func (r *rule) unpropagated(seen Seen) string {
	if seen.Unwatched {
		return fmt.Sprintf("no policy propagates kind %s of %s", r.kind.Kind, r.kind.GroupVersion())
	}
	matched, why := r.selected(seen, "an OverridePolicy", "ClusterOverridePolicy")
	if why != "" {
		return why
	}
	return among(len(matched), "no policy propagates "+matched[0].String())
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
