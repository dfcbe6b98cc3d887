package policy

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"

	policyv1alpha1 "windlass.dev/windlass/api/policy/v1alpha1"
)

// Seen is what the hub has of one kind.
type Seen struct {
	// ClusterScoped is true when objects of the kind are in no namespace.
	ClusterScoped bool
	// Objects are all of the kind that the policy can reach, in any order; only read.
	Objects []metav1.Object
	// Unwatched is true when no policy propagates the kind, so that nobody looks at its objects.
	Unwatched bool
}

// namedCauses is how many selectors are explained before they are only counted.
const namedCauses = 3

// WhyIdle says of a policy that claims nothing what is in the way, selector by selector. Kinds that seen lacks are not
// known yet, and nothing is said of them. Claimant returns the policy that made a mark, or nil when it is not there.
func WhyIdle(p policyv1alpha1.Policy, seen map[schema.GroupVersionKind]Seen, claimant func(Mark) policyv1alpha1.Policy) string {
	m, _ := NewMatcher(p)
	causes := whyEach(m.rules, seen, func(r *rule, objects Seen) string { return r.idle(objects, claimant) })
	if causes == "" {
		return "nothing that the resource selectors match is known yet"
	}
	return causes
}

// whyEach says of the selectors whose kind is known what is in the way, the same only once.
func whyEach(rules []rule, seen map[schema.GroupVersionKind]Seen, why func(*rule, Seen) string) string {
	var causes []string
	for i := range rules {
		objects, known := seen[rules[i].kind]
		if !known {
			continue
		}
		if cause := why(&rules[i], objects); !slices.Contains(causes, cause) {
			causes = append(causes, cause)
		}
	}
	if more := len(causes) - namedCauses; more > 0 {
		causes = append(causes[:namedCauses], fmt.Sprintf("and so on, of %d more", more))
	}
	return strings.Join(causes, "; ")
}

// idle says why one selector leads to no claim.
func (r *rule) idle(seen Seen, claimant func(Mark) policyv1alpha1.Policy) string {
	matched, why := r.selected(seen, "a PropagationPolicy", "ClusterPropagationPolicy")
	if why != "" {
		return why
	}
	return r.unclaimed(matched, claimant)
}

// selected are the objects that the selector is for, or why there are none. The words are those for a policy that has a
// namespace, and for its twin that has none.
func (r *rule) selected(seen Seen, namespaced, twin string) (matched []matching, why string) {
	if seen.ClusterScoped && r.own {
		return nil, fmt.Sprintf("a %s is in no namespace, and %s selects in its own only: use a %s", r.kind.Kind, namespaced, twin)
	}
	if seen.ClusterScoped && r.namespace != "" {
		return nil, fmt.Sprintf("a %s is in no namespace: take the namespace %s out of its selector", r.kind.Kind, r.namespace)
	}
	there := slices.DeleteFunc(slices.Clone(seen.Objects), func(o metav1.Object) bool { return r.namespace != "" && r.namespace != o.GetNamespace() })
	if len(there) == 0 {
		return nil, fmt.Sprintf("there is no %s", r.where(seen))
	}
	if matched = r.matched(there); len(matched) == 0 {
		return nil, r.missed(seen, there)
	}
	return matched, ""
}

// matched are the objects that the selector is for, in the order of names. There may be many that it is not for: of
// those only the name is read if that tells.
func (r *rule) matched(there []metav1.Object) []matching {
	var matched []matching
	for _, object := range there {
		if r.name != "" && r.name != object.GetName() {
			continue
		}
		template := TemplateOf(object, r.kind)
		if r.matches(&template) != selectsNot {
			matched = append(matched, matching{template, ClaimOf(template.Labels, template.Annotations), object.GetDeletionTimestamp() != nil})
		}
	}
	slices.SortFunc(matched, func(a, b matching) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	return matched
}

// matching is an object that a selector is for, and who claims it; one that is leaving nobody claims any more.
type matching struct {
	Template
	claim   Claim
	leaving bool
}

// where names the kind and where the selector looks for it.
func (r *rule) where(seen Seen) string {
	switch {
	case r.namespace != "":
		return fmt.Sprintf("%s in namespace %s", r.kind.Kind, r.namespace)
	case seen.ClusterScoped:
		return r.kind.Kind
	}
	return r.kind.Kind + " in any namespace"
}

// missed says what the objects that are there lack.
func (r *rule) missed(seen Seen, there []metav1.Object) string {
	if r.name != "" {
		return fmt.Sprintf("no %s has the name %s (%d %s there)", r.where(seen), r.name, len(there), isOrAre(len(there)))
	}
	return fmt.Sprintf("no %s meets %s of the labelSelector (%d %s there)", r.where(seen), r.unmet(there), len(there), isOrAre(len(there)))
}

func isOrAre(n int) string {
	if n == 1 {
		return "is"
	}
	return "are"
}

// unmet is the one requirement that no object meets; all of them when it is not one alone that is in the way.
func (r *rule) unmet(there []metav1.Object) string {
	requirements, _ := r.labels.Requirements()
	var unmet []string
	for _, requirement := range requirements {
		if !slices.ContainsFunc(there, func(o metav1.Object) bool { return requirement.Matches(labels.Set(o.GetLabels())) }) {
			unmet = append(unmet, requirement.String())
		}
	}
	if len(unmet) == 1 {
		return unmet[0]
	}
	return r.labels.String()
}

// unclaimed says why the policy claims none of what the selector matches.
func (r *rule) unclaimed(matched []matching, claimant func(Mark) policyv1alpha1.Policy) string {
	taken := slices.IndexFunc(matched, func(t matching) bool {
		reason, _ := t.outOfReach()
		return reason == "" && !t.claim.Empty() && !t.claim.By(r.owner.policy)
	})
	if taken >= 0 {
		return among(len(matched), r.taken(&matched[taken], claimant))
	}
	free := slices.IndexFunc(matched, func(t matching) bool { reason, _ := t.outOfReach(); return reason == "" })
	if free < 0 {
		_, message := matched[0].outOfReach()
		return among(len(matched), message)
	}
	if matched[free].leaving {
		return among(len(matched), matched[free].String()+" is being deleted")
	}
	return among(len(matched), matched[free].String()+" matches and has no binding yet")
}

// among says what is the matter with one of all that match.
func among(matched int, message string) string {
	if matched == 1 {
		return message
	}
	return fmt.Sprintf("%d objects match, one of them: %s", matched, message)
}

// taken says who claims a template, and why that policy comes before this one.
func (r *rule) taken(t *matching, claimant func(Mark) policyv1alpha1.Policy) string {
	mark := cmp.Or(t.claim.Policy, t.claim.ClusterPolicy)
	said := fmt.Sprintf("%s is claimed by %s", t.Template.String(), mark)
	policy := claimant(mark)
	if policy == nil {
		return said
	}
	other, _ := NewMatcher(policy)
	winner, loser := candidate{other, other.match(&t.Template)}, candidate{r.owner, r.owner.match(&t.Template)}
	switch {
	case winner.mark != mark || winner.how == selectsNot:
		return said
	case namespaced(policy) && !namespaced(r.owner.policy):
		return said + ", and a PropagationPolicy comes before every ClusterPropagationPolicy"
	case namespaced(policy) == namespaced(r.owner.policy) && winner.compare(loser) < 0:
		return fmt.Sprintf("%s, which comes before this policy: %s", said, winner.lead(loser, "this one"))
	}
	return said + ", which had it first and keeps it while it selects it" + toPreempt(winner, loser)
}

// toPreempt says what a policy lacks to take a template that another had first.
func toPreempt(holder, taker candidate) string {
	var lacks []string
	if !taker.preempts {
		lacks = append(lacks, "preemption: Always")
	}
	if taker.how != selectsByName {
		lacks = append(lacks, "a selector with its name")
	}
	if namespaced(taker.policy) == namespaced(holder.policy) && taker.priority <= holder.priority {
		lacks = append(lacks, fmt.Sprintf("a priority above %d", holder.priority))
	}
	if len(lacks) == 0 {
		return ""
	}
	return "; to take it, this policy needs " + strings.Join(lacks, ", and ")
}

// String writes a template as people do: Deployment shop/web.
func (t *Template) String() string {
	if t.Namespace == "" {
		return t.Kind.Kind + " " + t.Name
	}
	return t.Kind.Kind + " " + t.Namespace + "/" + t.Name
}

// String names the policy that made the mark.
func (m Mark) String() string {
	if m.Namespace == "" {
		return "ClusterPropagationPolicy " + m.Name
	}
	return "PropagationPolicy " + m.Namespace + "/" + m.Name
}
