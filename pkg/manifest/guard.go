package manifest

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/validation"
)

// Guard is what the owner of a member forbids every hub: objects that are neither written, taken
// over, changed nor deleted, whatever a work says. The zero Guard forbids nothing.
type Guard struct {
	namespaces []string
	kinds      []kindRule
}

// kindRule forbids kinds. In its patterns * stands for any letters, none included.
type kindRule struct {
	group, kind string
	text        string // as it was written
}

// coreGroup is how a rule names the group that has no name.
const coreGroup = "core"

// shortGroups are the API groups without a dot; a group that somebody adds to a cluster has one.
var shortGroups = []string{coreGroup, "apps", "autoscaling", "batch", "extensions", "policy"}

var (
	versionPattern = regexp.MustCompile(`^v[0-9]+((alpha|beta)[0-9]+)?$`)
	kindPattern    = regexp.MustCompile(`^(\*|[A-Z*][A-Za-z0-9*]*)$`)
)

// NewGuard makes a guard of patterns of namespaces and of KIND, GROUP/KIND or GROUP/*. The error names
// every rule that guards nothing as it is written: a guard that is silently open is worse than none.
func NewGuard(namespaces, kinds []string) (Guard, error) {
	guard := Guard{namespaces: slices.Clone(namespaces)}
	var problems []error
	for i, pattern := range namespaces {
		if errs := validation.IsDNS1123Label(strings.ReplaceAll(pattern, "*", "x")); len(errs) > 0 {
			problems = append(problems, fmt.Errorf("namespaces[%d]: %q is no namespace, such as kube-system, and no pattern of namespaces, such as team-*", i, pattern))
		}
	}
	for i, text := range kinds {
		rule, err := parseKindRule(text)
		if err != nil {
			problems = append(problems, fmt.Errorf("kinds[%d]: %w", i, err))
		}
		guard.kinds = append(guard.kinds, rule)
	}
	return guard, errors.Join(problems...)
}

func parseKindRule(text string) (kindRule, error) {
	parts := strings.Split(text, "/")
	kind := parts[len(parts)-1]
	groups := parts[:len(parts)-1]
	if n := len(groups); n > 0 && versionPattern.MatchString(groups[n-1]) {
		return kindRule{}, fmt.Errorf("%q names a version, and an object is the same in every version: write %s", text, strings.Join(append(groups[:n-1:n-1], kind), "/"))
	}
	rule := kindRule{group: "*", kind: kind, text: text}
	switch {
	case len(groups) > 1 || !kindPattern.MatchString(kind):
		return rule, fmt.Errorf("%q is not KIND, GROUP/KIND or GROUP/*, with the kind as manifests write it: Secret, apps/Deployment, rbac.authorization.k8s.io/*", text)
	case len(groups) == 0:
		return rule, nil
	}
	rule.group = groups[0]
	switch {
	case len(validation.IsDNS1123Subdomain(strings.ReplaceAll(rule.group, "*", "x"))) > 0,
		!strings.ContainsAny(rule.group, ".*") && !slices.Contains(shortGroups, rule.group):
		return rule, fmt.Errorf("%q: there is no API group %q; the group is what stands before the / in apiVersion, and core where there is none", text, rule.group)
	case rule.group == coreGroup:
		rule.group = ""
	}
	return rule, nil
}

// Rule returns the rule that forbids an object, as the settings write it; "" when none does. A
// Namespace is guarded with its objects, and the definition of a custom kind with the kind.
func (g Guard) Rule(object *unstructured.Unstructured) string {
	if rule := g.RuleOf(IDOf(object)); rule != "" || !isDefinition(IDOf(object)) {
		return rule
	}
	group, _, _ := unstructured.NestedString(object.Object, "spec", "group")
	kind, _, _ := unstructured.NestedString(object.Object, "spec", "names", "kind")
	return g.ruleOfKind(group, kind)
}

// RuleOf is Rule for an object of which only the identity is known.
func (g Guard) RuleOf(id ID) string {
	namespace := id.Namespace
	if id.Group == "" && id.Kind == "Namespace" {
		namespace = id.Name
	}
	if namespace != "" {
		for _, pattern := range g.namespaces {
			if matches(pattern, namespace) {
				return fmt.Sprintf("guard.namespaces %q", pattern)
			}
		}
	}
	return g.ruleOfKind(id.Group, id.Kind)
}

func (g Guard) ruleOfKind(group, kind string) string {
	for _, rule := range g.kinds {
		if matches(rule.group, group) && matches(rule.kind, kind) {
			return fmt.Sprintf("guard.kinds %q", rule.text)
		}
	}
	return ""
}

func isDefinition(id ID) bool {
	return id.Group == "apiextensions.k8s.io" && id.Kind == "CustomResourceDefinition"
}

// matches says whether text is what a pattern says, in which * stands for any letters.
func matches(pattern, text string) bool {
	pieces := strings.Split(pattern, "*")
	first, last := pieces[0], pieces[len(pieces)-1]
	if len(pieces) == 1 {
		return text == pattern
	}
	if len(text) < len(first)+len(last) || !strings.HasPrefix(text, first) || !strings.HasSuffix(text, last) {
		return false
	}
	text = text[len(first) : len(text)-len(last)]
	for _, piece := range pieces[1 : len(pieces)-1] {
		_, after, found := strings.Cut(text, piece)
		if !found {
			return false
		}
		text = after
	}
	return true
}
