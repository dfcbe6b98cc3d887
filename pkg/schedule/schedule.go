// Package schedule is responsible for one decision: which clusters a template goes to, with how many
// replicas, and why every other cluster is refused.
package schedule

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"

	workv1alpha1 "windlass.dev/windlass/api/work/v1alpha1"
)

// Template is what a decision takes from the template itself.
type Template struct {
	Kind schema.GroupVersionKind
	UID  types.UID // spreads the remainders of divisions over the clusters
}

// Facts are everything that a decision is made from. Nothing in them is changed.
type Facts struct {
	Template  Template
	Replicas  *int32                       // what the template asks for; nil for a kind without replicas
	Placement *Placement                   // nil: all clusters, each with all replicas
	Fleet     *Fleet                       // all clusters; an empty fleet leaves the template without a place
	Current   []workv1alpha1.TargetCluster // where the template goes now
	Leaving   []string                     // clusters that the template has to leave, as soon as another place is found
	Left      []*Cluster                   // of these, as they are by now, those of which more may be known than the fleet shows: a cluster is left a moment before
	Paused    []string                     // clusters that the policy names to pause what is sent there; this decides nothing, and a name that none has is told
	Ended     bool                         // it is a Job that is complete or has failed: it stays where it is, and no other cluster takes its place
	Ran       *Placement                   // with which a Job that has ended ran; nil: not known
	Returning []string                     // clusters of Current that it was leaving and need not leave any more; it runs there still
	KeepEmpty bool                         // send a workload also to clusters where it gets no replica, and which don't have it

	// Held are clusters that a Job that has ended does not go to, and in which it stands still, for its removal waits for a person. When
	// they are selected again, it stays there as it is.
	Held []workv1alpha1.TargetCluster

	// Group is the affinity group that Current was chosen from; empty when that is not known. The search for
	// a group that fits begins there.
	Group string
	// Fresh asks to decide as if the template was placed for the first time: from the first affinity group, with
	// all replicas divided once more. What it has now counts as room that it may have again.
	Fresh bool
	// Available is for how many replicas more each cluster has room, in the order of Fleet.Clusters, or
	// CapacityUnknown. Nil: of no cluster it is known. It is looked at where Placement.NeedsCapacity says so.
	Available []int32
	// Assumed is how much more room they would have, but for what was placed and can't be seen there yet. It decides
	// nothing, and is told. Nil: nothing.
	Assumed []int32
	// Awaited says of which clusters the room will be known better in a moment, in the order of Fleet.Clusters. It decides nothing:
	// Decision.Awaits says whether to wait for them. Nil: of none.
	Awaited []bool

	// InFull asks for a refusal also of each cluster that may have the template and gets none of its replicas, and for what
	// there is to say of groups. It changes nothing about where the template goes, and costs what a decision has no use for.
	InFull bool

	Near Company // the other workloads of the template's affinity group
	Far  Company // the other workloads of its anti-affinity group

	asked []bool // of the awaited clusters, those on whose room the decision depends
}

// CapacityUnknown stands in Facts.Available for a cluster that has not reported yet.
const CapacityUnknown int32 = -1

// Company are the workloads that a template wants to be near to, or far from.
type Company struct {
	Group    string           // its name; empty: there is no such wish
	Clusters sets.Set[string] // where the other workloads of the group are
}

// Reasons of a Decision, which are those of the Scheduled condition.
const (
	ReasonSuccess         = "Success"
	ReasonClustersLeftOut = workv1alpha1.ScheduledClustersLeftOut
	ReasonNowhereElse     = workv1alpha1.ScheduledNowhereElse
	ReasonSpreadNotMet    = workv1alpha1.ScheduledSpreadNotMet
	// ReasonNoClusterFit is for a template that no cluster may have.
	ReasonNoClusterFit = "NoClusterFit"
	// ReasonUnschedulable is for a template that clusters may have, but they have too little room or are
	// too few for its spread constraints, or its cluster lost a label by which these spread: it stays where it is.
	ReasonUnschedulable = "Unschedulable"
	// ReasonSchedulerError is for a placement that can't be compiled: there is no decision then, and
	// the template stays where it is.
	ReasonSchedulerError = "SchedulerError"
)

// Decision says where a template goes.
type Decision struct {
	Clusters  []workv1alpha1.TargetCluster // sorted by name; empty when no cluster fits, which takes the template out of all
	Group     string                       // the affinity group that Clusters were chosen from; Facts.Group when none of several fits
	Scheduled bool
	Reason    string
	Message   string // a sentence for the Scheduled condition; with ReasonSuccess it does not depend on the size of the fleet
	Refused   []Refusal

	// Awaits are the clusters of Facts.Awaited, by name, on whose room the decision depends, or may: without any it is the same whatever room
	// these have. It only counts where they have some room by Facts.Available, be it 0, and not CapacityUnknown.
	Awaits []string

	// What is only said in full:
	Overflow map[string]string // by cluster, the group of overflowAffinities that it was chosen from
	Untried  []string          // the affinity groups before Group that nobody looked at, for the template stays in its own
}

// Refusal says why a cluster is not used. Refusals are sorted by cluster, within the affinity groups in the
// order in which those were tried.
type Refusal struct {
	Group   string // the affinity group; empty when the placement has none
	Cluster string
	Rule    Rule
	Message string // follows the cluster's name: "has the untolerated taint gpu:NoSchedule"
}

// Decide places a template. The same facts always give the same decision, in the same order.
//
// A template that has to leave clusters goes on in them while it can be placed nowhere else: what a cluster shall not
// have any longer is better than nothing, and its owner is told.
//
// A Job that has ended has nothing to leave a cluster for, is not placed anew, and goes to no cluster that does not have it but
// where the placement wants it in every cluster, and the one with which it ran did so as well.
func Decide(facts Facts) Decision {
	if facts.Ended {
		facts.Leaving, facts.Fresh = nil, false
	}
	facts.asked = make([]bool, len(facts.Awaited))
	decision := decideAndLeave(facts)
	for at, asked := range facts.asked {
		if asked {
			decision.Awaits = append(decision.Awaits, facts.Fleet.clusters[at].name)
		}
	}
	return decision
}

// decideAndLeave places a template where it may stay, and where it has to leave if there is no other place.
func decideAndLeave(facts Facts) Decision {
	decision := decide(facts)
	if len(facts.Leaving) == 0 {
		return decision
	}
	if decision.Scheduled {
		decision.Message += "; leaves " + few(facts.Leaving, maxCauses)
		return decision
	}
	has := facts
	has.Leaving = nil
	staying := decide(has)
	if staying.Scheduled {
		staying.Reason, staying.Message = ReasonNowhereElse, nowhereElse(&facts, decision, staying)
		staying.Refused = nil
		for _, refused := range decision.Refused { // why it should not be where it stays is said by itself
			if refused.Rule != RuleClusterEviction || !slices.ContainsFunc(staying.Clusters, func(t workv1alpha1.TargetCluster) bool { return t.Name == refused.Cluster }) {
				staying.Refused = append(staying.Refused, refused)
			}
		}
	}
	return staying
}

// decide places a template where it may stay.
func decide(facts Facts) Decision {
	if facts.Fleet.Len() == 0 {
		return Decision{Group: facts.Group, Reason: ReasonNoClusterFit, Message: "no cluster is attached to this hub"}
	}
	p := newProblem(&facts)
	if p.Ended && (p.inParts() || !p.Placement.everyCluster() || p.Ran != nil && !p.Ran.everyCluster()) {
		return p.decideEnded()
	}
	if len(p.view.groups) == 1 {
		return p.decideIn(&p.view.groups[0])
	}
	var failed []Decision
	var told []Refusal
	for _, g := range p.groupsInOrder() {
		decision := p.decideIn(&p.view.groups[g])
		told = append(told, decision.Refused...)
		if decision.Scheduled {
			decision.Refused = told
			if p.InFull {
				decision.Untried = p.untried(g)
			}
			return decision
		}
		failed = append(failed, decision)
	}
	return p.noGroupFits(failed, told)
}

// enter has the filters ask about one group of clusters.
func (p *problem) enter(group *groupView) {
	p.group, p.outside = group, group.outside
	if p.Replicas != nil {
		p.outside = group.outsideWithOverflow
	}
}

// decideIn places the template in one group of clusters.
func (p *problem) decideIn(group *groupView) Decision {
	p.enter(group)
	fit, refused := p.filter(filters)
	decision := noClusterFits(p, refused)
	switch {
	case len(fit) > 0:
		decision = p.place(fit, refused)
	case p.lostItsLabel(refused):
		decision.Clusters, decision.Reason = p.staying(), ReasonUnschedulable
		decision.Message += "; it stays where it is"
	}
	decision.Group = p.Group
	if decision.Scheduled || group.name == "" {
		decision.Group = group.name
	}
	if decision.Scheduled {
		if group.name != "" && len(decision.Clusters) > 0 {
			decision.Message += ", in the affinity group " + group.name + p.overflows(&decision)
		}
		if doubts := p.leftOut(refused) + p.leftWithout(fit, decision.Clusters) + p.allWeighTheSame(fit) + p.withoutEffect() + p.strangers(); doubts != "" {
			decision.Reason = ReasonClustersLeftOut
			decision.Message += doubts
		}
		if unmet := p.unmet(decision.Clusters); unmet != "" {
			decision.Reason = ReasonSpreadNotMet
			decision.Message += unmet
		}
	}
	return decision
}

// overflows says to which groups replicas of a decision overflow, and in full of each cluster whether it is one of those.
func (p *problem) overflows(decision *Decision) string {
	if p.group.tiers == nil || p.Replicas == nil {
		return ""
	}
	used := make([]bool, len(p.group.names))
	for i := range decision.Clusters {
		target := &decision.Clusters[i]
		at, _ := p.Fleet.position(target.Name)
		tier := p.group.tiers[at]
		if tier == 0 {
			continue
		}
		used[tier] = used[tier] || target.Replicas > 0
		if p.InFull {
			if decision.Overflow == nil {
				decision.Overflow = map[string]string{}
			}
			decision.Overflow[target.Name] = p.group.names[tier]
		}
	}
	var names []string
	for tier, isUsed := range used {
		if isUsed {
			names = append(names, p.group.names[tier])
		}
	}
	if len(names) == 0 {
		return ""
	}
	return " with overflow to " + few(names, maxCauses)
}

// place chooses from the clusters that fit, and gives them their replicas.
func (p *problem) place(fit []int, out []refused) Decision {
	if p.asksForNothing() {
		decision, _ := p.divide(fit)
		decision.Refused = p.refusals(p.withEmpty(out, fit, decision.Clusters))
		return decision
	}
	chosen, why := p.choose(fit)
	if why == nil {
		var decision Decision
		if decision, why = p.divide(chosen); why == nil {
			decision.Refused = p.refusals(p.withEmpty(p.withUnchosen(out, fit, chosen), chosen, decision.Clusters))
			return decision
		}
	}
	message := why.many + others(out) + p.strangers()
	for _, at := range fit {
		out = append(out, refused{at, why})
	}
	return Decision{Clusters: p.staying(), Reason: ReasonUnschedulable, Message: message, Refused: p.refusals(out)}
}

// staying is where the template is now, but for clusters that leave the hub.
func (p *problem) staying() []workv1alpha1.TargetCluster {
	var list []workv1alpha1.TargetCluster
	for i, c := range p.Fleet.clusters {
		if p.isCurrent(i) && !c.deleting {
			list = append(list, workv1alpha1.TargetCluster{Name: c.name, Replicas: p.assigned(i)})
		}
	}
	return list
}

// groupsInOrder begins with the group that was chosen last: a template does not go back to an earlier one by
// itself. Only where no later one fits, the earlier ones are tried as well. A template that need not leave a cluster any more
// was in a group of that cluster.
func (p *problem) groupsInOrder() []int {
	count := len(p.view.groups)
	first := 0
	if !p.Fresh {
		first = max(0, slices.IndexFunc(p.view.groups, func(g groupView) bool { return g.name == p.Group && p.Group != "" }))
		if !p.returnsTo(first) {
			first = p.returnsFirstTo(first)
		}
	}
	order := make([]int, count)
	for i := range order {
		order[i] = (first + i) % count
	}
	return order
}

// untried are the groups before one that were not tried.
func (p *problem) untried(group int) []string {
	order := p.groupsInOrder()
	tried := order[:slices.Index(order, group)]
	var names []string
	for g := range group {
		if !slices.Contains(tried, g) {
			names = append(names, p.view.groups[g].name)
		}
	}
	return names
}

// returnsTo says whether one of the clusters that the template need not leave any more is in a group.
func (p *problem) returnsTo(group int) bool {
	outside := p.view.groups[group].outside
	if p.Replicas != nil {
		outside = p.view.groups[group].outsideWithOverflow
	}
	return slices.ContainsFunc(p.Returning, func(name string) bool {
		at, found := p.Fleet.position(name)
		return found && outside[at] == nil
	})
}

// returnsFirstTo is the first group that the template returns to, or otherwise.
func (p *problem) returnsFirstTo(otherwise int) int {
	for g := range p.view.groups {
		if p.returnsTo(g) {
			return g
		}
	}
	return otherwise
}

// noGroupFits says why each of the groups does not. A group with clusters that fit, but too few or too little
// room, leaves the template where it is.
func (p *problem) noGroupFits(failed []Decision, told []Refusal) Decision {
	result := failed[0]
	var parts []string
	for i, g := range p.groupsInOrder() {
		if result.Reason != ReasonUnschedulable && failed[i].Reason == ReasonUnschedulable {
			result = failed[i]
		}
		if i < maxCauses {
			parts = append(parts, p.view.groups[g].name+": "+failed[i].Message)
		}
	}
	result.Message = "no affinity group fits: " + strings.Join(parts, "; ")
	if rest := len(failed) - len(parts); rest > 0 {
		result.Message += fmt.Sprintf("; and %d more do not", rest)
	}
	result.Refused = told
	return result
}

// problem is a decision that is being made.
type problem struct {
	*Facts
	view         *view
	serves       []bool  // by position in the fleet
	holds        []int32 // by position: 1 more than the replicas that the cluster has now, 0: it does not have the template; nil: none has
	doesNotServe *cause
	apisUnknown  *cause
	near, far    *cause // the refusals by Near and Far; nil: there is none

	// of the affinity group that is being tried
	group   *groupView
	outside []*cause
}

func newProblem(facts *Facts) *problem {
	p := &problem{Facts: facts}
	if p.Placement == nil {
		p.Placement = everywhere
	}
	p.view = p.Placement.on(p.Fleet)
	p.serves = p.Fleet.serving(p.Template.Kind)
	if len(facts.Current)+len(facts.Held) > 0 {
		p.holds = make([]int32, p.Fleet.Len())
		p.hold(facts.Held)
		p.hold(facts.Current)
	}
	kind := facts.Template.Kind.GroupVersion().String() + " " + facts.Template.Kind.Kind
	p.doesNotServe = newCause(RuleAPIEnablement, "does not serve "+kind, "do not serve "+kind)
	p.apisUnknown = newCause(RuleAPIEnablement, "is not known to serve "+kind+" yet", "are not known to serve "+kind+" yet")
	if facts.Near.Group != "" && facts.Near.Clusters.Len() > 0 {
		text := " workload of the affinity group " + facts.Near.Group
		p.near = newCause(RuleWorkloadAffinity, "has no"+text, "have no"+text)
	}
	if facts.Far.Group != "" {
		text := " a workload of the anti-affinity group " + facts.Far.Group
		p.far = newCause(RuleWorkloadAffinity, "has"+text, "have"+text)
	}
	return p
}

// hold notes what clusters have.
func (p *problem) hold(targets []workv1alpha1.TargetCluster) {
	for i := range targets {
		if at, found := p.Fleet.position(targets[i].Name); found {
			p.holds[at] = 1 + min(max(targets[i].Replicas, 0), math.MaxInt32-1)
		}
	}
}

// asksForNothing says whether this is a workload with 0 replicas that goes nowhere else for that.
func (p *problem) asksForNothing() bool { return p.Replicas != nil && *p.Replicas == 0 && !p.KeepEmpty }

// isCurrent says whether the cluster at a position has the template now.
func (p *problem) isCurrent(at int) bool { return p.holds != nil && p.holds[at] > 0 }

// assigned is how many replicas the cluster at a position has now.
func (p *problem) assigned(at int) int32 {
	if !p.isCurrent(at) {
		return 0
	}
	return p.holds[at] - 1
}

// A Fleet is all clusters of the hub. It is immutable and safe for concurrent use.
type Fleet struct {
	clusters []*Cluster // sorted by name
	byKind   sync.Map   // schema.GroupVersionKind → []bool: what serving found out
}

// NewFleet makes a fleet. It keeps no reference to the slice.
func NewFleet(clusters []*Cluster) *Fleet {
	sorted := slices.Clone(clusters)
	slices.SortFunc(sorted, func(a, b *Cluster) int { return strings.Compare(a.name, b.name) })
	return &Fleet{clusters: sorted}
}

// Len is the number of clusters. A nil fleet has none.
func (f *Fleet) Len() int {
	if f == nil {
		return 0
	}
	return len(f.clusters)
}

// Clusters are all clusters, sorted by name. The slice must not be changed.
func (f *Fleet) Clusters() []*Cluster {
	if f == nil {
		return nil
	}
	return f.clusters
}

// position finds a cluster by its name.
func (f *Fleet) position(name string) (int, bool) {
	return slices.BinarySearchFunc(f.clusters, name, func(c *Cluster, name string) int { return strings.Compare(c.name, name) })
}

// unknown returns, sorted, those of the names that no cluster has.
func (f *Fleet) unknown(names sets.Set[string]) []string {
	return slices.DeleteFunc(sets.List(names), func(name string) bool {
		_, known := f.position(name)
		return known
	})
}

// serving says, by position, which clusters serve a kind. The fleet remembers the answer: templates
// are many and their kinds few.
func (f *Fleet) serving(kind schema.GroupVersionKind) []bool {
	if known, found := f.byKind.Load(kind); found {
		return known.([]bool)
	}
	serves := make([]bool, len(f.clusters))
	for i, c := range f.clusters {
		_, serves[i] = c.apis[kind]
	}
	f.byKind.Store(kind, serves)
	return serves
}
