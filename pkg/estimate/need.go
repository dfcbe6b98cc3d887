package estimate

import (
	"cmp"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/component-helpers/scheduling/corev1/nodeaffinity"

	linkv1 "windlass.dev/windlass/api/link/v1"
	workv1alpha1 "windlass.dev/windlass/api/work/v1alpha1"
)

// A Need is what one replica needs of a cluster, compiled. It is immutable and safe for concurrent use.
type Need struct {
	requests    []request // of more than 0, without pods, sorted by name
	tolerations []corev1.Toleration
	affinity    nodeaffinity.RequiredNodeAffinity
	selective   bool // affinity is not empty
	byName      bool // affinity looks at the names of nodes; without, comparing takes half the time
}

type request struct {
	name   corev1.ResourceName
	amount int64
}

// Compile reads requirements, nil for none in particular. What it can't read is an error: the answer would be wrong.
func Compile(words *linkv1.Requirements) (*Need, error) {
	n := &Need{}
	for name, text := range words.GetRequests() {
		quantity, err := resource.ParseQuantity(text)
		if err != nil {
			return nil, fmt.Errorf("requests[%s]: %q is no quantity: %w", name, text, err)
		}
		if quantity.Sign() < 0 {
			return nil, fmt.Errorf("requests[%s]: %s is less than 0", name, text)
		}
		if quantity.IsZero() || name == string(corev1.ResourcePods) {
			continue
		}
		n.requests = append(n.requests, request{corev1.ResourceName(name), amountOf(corev1.ResourceName(name), quantity)})
	}
	slices.SortFunc(n.requests, func(a, b request) int { return cmp.Compare(a.name, b.name) })
	for _, t := range words.GetTolerations() {
		n.tolerations = append(n.tolerations, corev1.Toleration{
			Key: t.GetKey(), Operator: corev1.TolerationOperator(t.GetOperator()), Value: t.GetValue(), Effect: corev1.TaintEffect(t.GetEffect()),
		})
	}
	var affinity *corev1.Affinity
	if words.GetNodeAffinity() != nil {
		selector := selectorOf(words.GetNodeAffinity())
		if _, err := nodeaffinity.NewNodeSelector(selector); err != nil {
			return nil, fmt.Errorf("nodeAffinity: %w", err)
		}
		affinity = &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{RequiredDuringSchedulingIgnoredDuringExecution: selector}}
	}
	n.byName = slices.ContainsFunc(words.GetNodeAffinity().GetTerms(), func(t *linkv1.NodeSelectorTerm) bool { return len(t.GetFields()) > 0 })
	n.selective = affinity != nil || len(words.GetNodeSelector()) > 0
	n.affinity = nodeaffinity.NewRequiredNodeAffinity(words.GetNodeSelector(), affinity)
	return n, nil
}

// Times is what so many replicas request, pods themselves included.
func (n *Need) Times(replicas int64) Amounts {
	sum := Amounts{corev1.ResourcePods: multiply(1, replicas)}
	for _, request := range n.requests {
		sum[request.name] = multiply(request.amount, replicas)
	}
	return sum
}

// multiply does so up to the largest quantity; neither is less than 0, and the first is not 0.
func multiply(a, b int64) int64 {
	if b > largest/a {
		return largest
	}
	return a * b
}

// Words is how hub and agents speak of requirements, nil for none in particular. Equal requirements have equal words.
func Words(needs *workv1alpha1.ReplicaRequirements) *linkv1.Requirements {
	words := &linkv1.Requirements{}
	if needs == nil {
		return words
	}
	for name, quantity := range needs.ResourceRequest {
		if words.Requests == nil {
			words.Requests = map[string]string{}
		}
		words.Requests[string(name)] = quantity.String()
	}
	claim := needs.NodeClaim
	if claim == nil {
		return words
	}
	words.NodeSelector = claim.NodeSelector
	for _, t := range claim.Tolerations {
		words.Tolerations = append(words.Tolerations, &linkv1.Toleration{Key: t.Key, Operator: string(t.Operator), Value: t.Value, Effect: string(t.Effect)})
	}
	if claim.HardNodeAffinity != nil {
		words.NodeAffinity = &linkv1.NodeAffinity{}
		for _, term := range claim.HardNodeAffinity.NodeSelectorTerms {
			words.NodeAffinity.Terms = append(words.NodeAffinity.Terms, &linkv1.NodeSelectorTerm{
				Expressions: wordsOf(term.MatchExpressions), Fields: wordsOf(term.MatchFields),
			})
		}
	}
	return words
}

func wordsOf(requirements []corev1.NodeSelectorRequirement) []*linkv1.NodeSelectorRequirement {
	var words []*linkv1.NodeSelectorRequirement
	for _, r := range requirements {
		words = append(words, &linkv1.NodeSelectorRequirement{Key: r.Key, Operator: string(r.Operator), Values: r.Values})
	}
	return words
}

func selectorOf(affinity *linkv1.NodeAffinity) *corev1.NodeSelector {
	selector := &corev1.NodeSelector{}
	for _, term := range affinity.GetTerms() {
		selector.NodeSelectorTerms = append(selector.NodeSelectorTerms, corev1.NodeSelectorTerm{
			MatchExpressions: requirementsOf(term.GetExpressions()), MatchFields: requirementsOf(term.GetFields()),
		})
	}
	return selector
}

func requirementsOf(words []*linkv1.NodeSelectorRequirement) []corev1.NodeSelectorRequirement {
	var requirements []corev1.NodeSelectorRequirement
	for _, r := range words {
		requirements = append(requirements, corev1.NodeSelectorRequirement{Key: r.GetKey(), Operator: corev1.NodeSelectorOperator(r.GetOperator()), Values: r.GetValues()})
	}
	return requirements
}
