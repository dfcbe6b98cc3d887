package schedule

import (
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation/field"

	policyv1alpha1 "windlass.dev/windlass/api/policy/v1alpha1"
)

// A Placement is a policy's placement, compiled. It is immutable, safe for concurrent use, and worth
// sharing by all templates of a policy: it remembers what it means for the last fleet it met.
type Placement struct {
	affinity    *affinity // nil: every cluster
	tolerations []corev1.Toleration
	divided     bool // otherwise every cluster gets all replicas
	weights     []weightRule

	last atomic.Pointer[view]
}

// view is what a placement means for a fleet, by position in it: everything about a decision that
// does not depend on the template.
type view struct {
	fleet   *Fleet
	outside []*cause // by the affinity; nil: inside
	untold  []*cause // by a taint; nil: all are tolerated
	weights []int64  // of a static division; nil: replicas are not divided

	// What may be a slip of the pen:
	unweighted      []int    // positions that no weight selects
	strangers       []string // what the affinity calls by name and the fleet does not have
	weightStrangers []string // the same of the weights, without those of the affinity
}

func (pl *Placement) on(fleet *Fleet) *view {
	if known := pl.last.Load(); known != nil && known.fleet == fleet {
		return known
	}
	v := &view{fleet: fleet, outside: make([]*cause, fleet.Len()), untold: make([]*cause, fleet.Len())}
	if pl.divided {
		v.weights = make([]int64, fleet.Len())
	}
	for i, c := range fleet.clusters {
		v.outside[i] = pl.affinity.refuses(c)
		v.untold[i] = untolerated(c.taints, pl.tolerations)
		if pl.divided {
			v.weights[i] = pl.weigh(c)
		}
	}
	if pl.affinity != nil {
		v.strangers = fleet.unknown(pl.affinity.names)
	}
	v.weightStrangers = fleet.unknown(pl.weightNames().Difference(sets.New(v.strangers...)))
	v.unweighted = pl.unweighted(fleet)
	pl.last.Store(v)
	return v
}

// unweighted returns the positions of the clusters that no weight selects. Who names clusters only in
// the weights has left out the others on purpose: a slip of the pen it may be only where an affinity
// selects the cluster, or a weight names one that does not exist.
func (pl *Placement) unweighted(fleet *Fleet) []int {
	if len(pl.weights) == 0 || !pl.affinity.selects() && len(fleet.unknown(pl.weightNames())) == 0 {
		return nil
	}
	var positions []int
	for i, c := range fleet.clusters {
		if !slices.ContainsFunc(pl.weights, func(rule weightRule) bool { return rule.affinity.refuses(c) == nil }) {
			positions = append(positions, i)
		}
	}
	return positions
}

// weightNames are the clusters that the weights call by name.
func (pl *Placement) weightNames() sets.Set[string] {
	names := sets.New[string]()
	for _, rule := range pl.weights {
		names = names.Union(rule.affinity.names)
	}
	return names
}

// weigh returns the weight of a cluster: the largest of the rules that select it, 0 if none does.
func (pl *Placement) weigh(c *Cluster) int64 {
	var weight int64
	for r := range pl.weights {
		if rule := &pl.weights[r]; rule.weight > weight && rule.affinity.refuses(c) == nil {
			weight = rule.weight
		}
	}
	return weight
}

// weightRule gives the clusters of an affinity a weight.
type weightRule struct {
	affinity *affinity
	weight   int64
}

// everywhere is the placement of a policy that says nothing about it.
var everywhere = &Placement{}

// Compile prepares a placement for decisions. Nil is every cluster with all replicas. The error says
// what is invalid or not supported; nothing can be decided then.
func Compile(placement *policyv1alpha1.Placement) (*Placement, error) {
	if placement == nil {
		return everywhere, nil
	}
	if errs := policyv1alpha1.ValidatePlacement(placement, field.NewPath("placement")); len(errs) > 0 {
		return nil, fmt.Errorf("compiling the placement: %w", errs.ToAggregate())
	}
	compiled := &Placement{tolerations: placement.ClusterTolerations}
	var errs []error
	compileInto := func(to **affinity, from *policyv1alpha1.ClusterAffinity) {
		var err error
		if *to, err = compileAffinity(from); err != nil {
			errs = append(errs, fmt.Errorf("compiling the placement: %w", err))
		}
	}
	compileInto(&compiled.affinity, placement.ClusterAffinity)
	if strategy := placement.ReplicaScheduling; strategy != nil && strategy.ReplicaSchedulingType != policyv1alpha1.ReplicaSchedulingDuplicated {
		compiled.divided = true
		if strategy.WeightPreference != nil {
			compiled.weights = make([]weightRule, len(strategy.WeightPreference.StaticWeightList))
			for i := range compiled.weights {
				rule := &strategy.WeightPreference.StaticWeightList[i]
				compiled.weights[i].weight = rule.Weight
				compileInto(&compiled.weights[i].affinity, &rule.TargetCluster)
			}
		}
	}
	return compiled, errors.Join(errs...)
}

// affinity limits clusters; all of its parts must hold. A nil affinity holds for every cluster.
type affinity struct {
	names   sets.Set[string] // nil: any
	exclude sets.Set[string]
	labels  labels.Selector // nil: any
	fields  []corev1.NodeSelectorRequirement

	// The refusals by labels and by each of the fields say what was asked for.
	labelsDiffer *cause
	fieldDiffers []*cause
}

// selects says whether an affinity says which clusters it wants, and not only which it does not want.
func (a *affinity) selects() bool {
	return a != nil && (a.names != nil || a.labels != nil || len(a.fields) > 0)
}

func compileAffinity(from *policyv1alpha1.ClusterAffinity) (*affinity, error) {
	if from == nil {
		return nil, nil
	}
	a := &affinity{}
	if len(from.ClusterNames) > 0 {
		a.names = sets.New(from.ClusterNames...)
	}
	if len(from.ExcludeClusters) > 0 {
		a.exclude = sets.New(from.ExcludeClusters...)
	}
	if from.FieldSelector != nil {
		a.fields = from.FieldSelector.MatchExpressions
		for _, r := range a.fields {
			text := fmt.Sprintf("match the fieldSelector %s %s [%s]", r.Key, r.Operator, few(r.Values, maxCauses))
			a.fieldDiffers = append(a.fieldDiffers, newCause(RuleClusterAffinity, "does not "+text, "do not "+text))
		}
	}
	if from.LabelSelector != nil {
		selector, err := metav1.LabelSelectorAsSelector(from.LabelSelector)
		if err != nil {
			return nil, fmt.Errorf("labelSelector: %w", err)
		}
		if !selector.Empty() {
			a.labels = selector
			a.labelsDiffer = newCause(RuleClusterAffinity, "does not have the labels "+selector.String(), "do not have the labels "+selector.String())
		}
	}
	return a, nil
}

var (
	excluded = newCause(RuleClusterAffinity, "is excluded by exclude", "are excluded by exclude")
	notNamed = newCause(RuleClusterAffinity, "is not named by clusterNames", "are not named by clusterNames")
)

// refuses returns why a cluster is outside, or nil.
func (a *affinity) refuses(c *Cluster) *cause {
	switch {
	case a == nil:
		return nil
	case a.exclude != nil && a.exclude.Has(c.name):
		return excluded
	case a.names != nil && !a.names.Has(c.name):
		return notNamed
	case a.labels != nil && !a.labels.Matches(c.labels):
		return a.labelsDiffer
	}
	for i := range a.fields {
		if !fieldHolds(&a.fields[i], c) {
			return a.fieldDiffers[i]
		}
	}
	return nil
}

// fieldHolds compares a field of the cluster. A cluster may lie in several zones: In asks for one of
// them, NotIn for none of them. A field that is not set is in no list.
func fieldHolds(requirement *corev1.NodeSelectorRequirement, c *Cluster) bool {
	among := func(value string) bool { return value != "" && slices.Contains(requirement.Values, value) }
	var in bool
	switch requirement.Key {
	case policyv1alpha1.ProviderField:
		in = among(c.provider)
	case policyv1alpha1.RegionField:
		in = among(c.region)
	case policyv1alpha1.ZoneField:
		in = slices.ContainsFunc(c.zones, among)
	}
	return in == (requirement.Operator == corev1.NodeSelectorOpIn)
}
