package policy

import (
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"

	policyv1alpha1 "windlass.dev/windlass/api/policy/v1alpha1"
	workv1alpha1 "windlass.dev/windlass/api/work/v1alpha1"
)

// Unused names the resource selectors of a policy by which it claims none of the templates of its bindings, in their order:
// one has a slip, or is for what is not there yet. Labels returns those of a template, and false when they are not
// known; it is asked only for selectors by label, and of none that is known to be used.
func Unused(p policyv1alpha1.Policy, bindings []workv1alpha1.Binding, labelsOf func(workv1alpha1.Binding) (map[string]string, bool)) []string {
	type place struct {
		kind schema.GroupKind
		name string // empty for selectors without
	}
	m, _ := NewMatcher(p)
	left := map[place][]*rule{}
	for i := range m.rules {
		at := place{m.rules[i].kind.GroupKind(), m.rules[i].name}
		left[at] = append(left[at], &m.rules[i])
	}
	for _, binding := range bindings {
		if len(left) == 0 {
			return nil
		}
		of := &binding.GetSpec().Resource
		kind := schema.FromAPIVersionAndKind(of.APIVersion, of.Kind).GroupKind()
		for _, at := range []place{{kind, of.Name}, {kind, ""}} {
			rest := slices.DeleteFunc(left[at], func(r *rule) bool {
				if r.namespace != "" && r.namespace != of.Namespace {
					return false
				}
				if r.labels == nil {
					return true
				}
				has, known := labelsOf(binding)
				return !known || r.labels.Matches(labels.Set(has))
			})
			if len(rest) > 0 {
				left[at] = rest
			} else {
				delete(left, at)
			}
		}
	}
	var unused []string
	for i := range m.rules {
		if r := &m.rules[i]; slices.Contains(left[place{r.kind.GroupKind(), r.name}], r) {
			unused = append(unused, r.String())
		}
	}
	return unused
}

// String writes a selector as people do: ConfigMap settings, or every ConfigMap with app=web.
func (r *rule) String() string {
	if r.name != "" {
		if r.namespace == "" || r.own {
			return r.kind.Kind + " " + r.name
		}
		return fmt.Sprintf("%s %s/%s", r.kind.Kind, r.namespace, r.name)
	}
	said := "every " + r.kind.Kind
	if r.labels != nil {
		said += " with " + r.labels.String()
	}
	if r.namespace != "" && !r.own {
		said += " in namespace " + r.namespace
	}
	return said
}
