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
	groups      []affinityGroup // at least one; the first that fits is used
	tolerations []corev1.Toleration
	strategy    strategy
	weights     []weightRule
	spread      spread

	last atomic.Pointer[view]
}

// affinityGroup is a group of clusters to choose from.
type affinityGroup struct {
	names []string // its own and, after it, those of its overflow; the first is empty for that of clusterAffinity
	// tiers are the group itself and, after it, what takes what the ones before have no room for. A nil affinity
	// is every cluster.
	tiers []*affinity
}

// strategy says how replicas are given to the chosen clusters.
type strategy int

const (
	duplicated    strategy = iota // every cluster gets all of them
	staticWeight                  // divided by the weights of the policy, or equally, without any
	equalWeight                   // divided equally, for weightPreference is there, and empty
	dynamicWeight                 // divided by the room that clusters have
	aggregated                    // into as few clusters as have the room
)

// byRoom says whether the division depends on the room that clusters have.
func (s strategy) byRoom() bool { return s == dynamicWeight || s == aggregated }

// NeedsCapacity says whether decisions by this placement look at Facts.Available. A nil placement's don't.
func (pl *Placement) NeedsCapacity() bool {
	return pl != nil && (pl.strategy.byRoom() || pl.spread.chooses(pl.strategy))
}

// everyCluster says whether the template is wanted whole in every cluster that fits, so that no cluster stands in for another.
func (pl *Placement) everyCluster() bool {
	return pl.strategy == duplicated && len(pl.groups) == 1 && !pl.spread.chooses(pl.strategy)
}

// view is what a placement means for a fleet, by position in it: everything about a decision that
// does not depend on the template.
type view struct {
	fleet     *Fleet
	groups    []groupView
	untold    []*cause   // by a taint; nil: all are tolerated
	ungrouped []*cause   // by something to spread by that the cluster does not have; nil: it has all
	grouping  []grouping // for each of the placement's topologies
	weights   []int64    // of a static division; nil: there is none

	weighted sets.Set[string] // what the weights call by name

	// What may be a slip of the pen:
	weightStrangers []string // what the weights call by name and the fleet does not have, without those of the groups
}

// groupView is what an affinity group means for a fleet.
type groupView struct {
	name                string
	names               []string // of the tiers
	outside             []*cause // by the affinity; nil: inside
	outsideWithOverflow []*cause // the same, where clusters of the overflow are inside as well
	tiers               []uint16 // by position: the first tier that the cluster is in; nil: there is only one

	called sets.Set[string] // what the affinity calls by name, without the overflow

	strangers  []string // what the affinity calls by name and the fleet does not have
	absent     []string // what it excludes by name and the fleet does not have
	unweighted []int    // positions that no weight selects, which may be a slip of the pen
}

func (pl *Placement) on(fleet *Fleet) *view {
	if known := pl.last.Load(); known != nil && known.fleet == fleet {
		return known
	}
	v := &view{fleet: fleet, untold: make([]*cause, fleet.Len()), ungrouped: make([]*cause, fleet.Len()), groups: make([]groupView, len(pl.groups))}
	if pl.strategy == staticWeight || pl.strategy == equalWeight {
		v.weights = make([]int64, fleet.Len())
	}
	for i, c := range fleet.clusters {
		v.untold[i] = untolerated(c.taints, pl.tolerations)
		v.ungrouped[i] = pl.spread.lacking(c)
		if v.weights != nil {
			v.weights[i] = pl.weigh(c)
		}
	}
	for _, topology := range pl.spread.topologies {
		v.grouping = append(v.grouping, topology.over(fleet))
	}
	named := sets.New[string]()
	for i, group := range pl.groups {
		v.groups[i] = group.on(fleet)
		v.groups[i].unweighted = pl.unweighted(fleet, group.tiers[0])
		named.Insert(v.groups[i].strangers...)
	}
	v.weighted = pl.weightNames()
	v.weightStrangers = fleet.unknown(v.weighted.Difference(named))
	pl.last.Store(v)
	return v
}

func (g *affinityGroup) on(fleet *Fleet) groupView {
	v := groupView{name: g.names[0], names: g.names, outside: make([]*cause, fleet.Len())}
	v.outsideWithOverflow = v.outside
	if len(g.tiers) > 1 {
		v.outsideWithOverflow, v.tiers = make([]*cause, fleet.Len()), make([]uint16, fleet.Len())
	}
	for i, c := range fleet.clusters {
		v.outside[i] = g.tiers[0].refuses(c)
		if v.tiers == nil {
			continue
		}
		tier := slices.IndexFunc(g.tiers, func(a *affinity) bool { return a.refuses(c) == nil })
		if v.outsideWithOverflow[i] = nil; tier < 0 {
			v.outsideWithOverflow[i] = v.outside[i]
		} else {
			v.tiers[i] = uint16(tier)
		}
	}
	names, excluded := sets.New[string](), sets.New[string]()
	for _, tier := range g.tiers {
		if tier != nil {
			names, excluded = names.Union(tier.names), excluded.Union(tier.exclude)
		}
	}
	if g.tiers[0] != nil {
		v.called = g.tiers[0].names
	}
	v.strangers, v.absent = fleet.unknown(names), fleet.unknown(excluded)
	return v
}

// unweighted returns the positions of the clusters that no weight selects. Who names clusters only in
// the weights has left out the others on purpose: a slip of the pen it may be only where an affinity
// selects the cluster, or a weight names one that does not exist.
func (pl *Placement) unweighted(fleet *Fleet, affinity *affinity) []int {
	if len(pl.weights) == 0 || !affinity.selects() && len(fleet.unknown(pl.weightNames())) == 0 {
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
var everywhere = &Placement{groups: []affinityGroup{{names: []string{""}, tiers: []*affinity{nil}}}, spread: compileSpread(nil)}

// Compile prepares a placement for decisions. Nil is every cluster with all replicas. The error says
// what is invalid; nothing can be decided then.
func Compile(placement *policyv1alpha1.Placement) (*Placement, error) {
	if placement == nil {
		return everywhere, nil
	}
	if errs := policyv1alpha1.ValidatePlacement(placement, field.NewPath("placement")); len(errs) > 0 {
		return nil, fmt.Errorf("compiling the placement: %w", errs.ToAggregate())
	}
	c := &compiler{}
	compiled := &Placement{tolerations: placement.ClusterTolerations, strategy: strategyOf(placement.ReplicaScheduling), spread: compileSpread(placement.SpreadConstraints)}
	if len(placement.ClusterAffinities) == 0 {
		compiled.groups = []affinityGroup{{names: []string{""}, tiers: []*affinity{c.affinity(placement.ClusterAffinity)}}}
	}
	for i := range placement.ClusterAffinities {
		term := &placement.ClusterAffinities[i]
		group := affinityGroup{names: []string{term.AffinityName}, tiers: []*affinity{c.affinity(&term.ClusterAffinity)}}
		for o := range term.OverflowAffinities {
			group.names = append(group.names, term.OverflowAffinities[o].AffinityName)
			group.tiers = append(group.tiers, c.affinity(&term.OverflowAffinities[o].ClusterAffinity))
		}
		compiled.groups = append(compiled.groups, group)
	}
	if compiled.strategy == staticWeight && placement.ReplicaScheduling.WeightPreference != nil {
		rules := placement.ReplicaScheduling.WeightPreference.StaticWeightList
		for i := range rules {
			compiled.weights = append(compiled.weights, weightRule{c.affinity(&rules[i].TargetCluster), rules[i].Weight})
		}
	}
	return compiled, errors.Join(c.errs...)
}

func strategyOf(scheduling *policyv1alpha1.ReplicaSchedulingStrategy) strategy {
	switch {
	case scheduling == nil || scheduling.ReplicaSchedulingType == policyv1alpha1.ReplicaSchedulingDuplicated:
		return duplicated
	case scheduling.ReplicaDivisionPreference == policyv1alpha1.ReplicaDivisionAggregated:
		return aggregated
	case scheduling.WeightPreference != nil && scheduling.WeightPreference.DynamicWeight != "":
		return dynamicWeight
	case scheduling.WeightPreference != nil && len(scheduling.WeightPreference.StaticWeightList) == 0:
		return equalWeight
	}
	return staticWeight
}

// compiler compiles affinities and keeps what is wrong with them.
type compiler struct{ errs []error }

func (c *compiler) affinity(from *policyv1alpha1.ClusterAffinity) *affinity {
	compiled, err := compileAffinity(from)
	if err != nil {
		c.errs = append(c.errs, fmt.Errorf("compiling the placement: %w", err))
	}
	return compiled
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
