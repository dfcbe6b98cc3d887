package schedule

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/sets"

	workv1alpha1 "windlass.dev/windlass/api/work/v1alpha1"
)

// Rule names what refused a cluster.
type Rule string

// The rules.
const (
	RuleClusterDeleting  Rule = "ClusterDeleting"
	RuleClusterEviction  Rule = "ClusterEviction"
	RuleClusterAffinity  Rule = "ClusterAffinity"
	RuleClusterNotJoined Rule = "ClusterNotJoined"
	RuleAPIEnablement    Rule = "APIEnablement"
	RuleTaintToleration  Rule = "TaintToleration"
	RuleSpreadConstraint Rule = "SpreadConstraint"
	RuleCapacity         Rule = "Capacity"
	RuleWorkloadAffinity Rule = "WorkloadAffinity"
	// RuleReplicaDivision is for clusters that may have the template and get none of its replicas.
	RuleReplicaDivision Rule = "ReplicaDivision"
)

// cause is why a cluster is refused. Causes are made once and compared by address or text, so that
// refusing a thousand clusters formats nothing.
type cause struct {
	rule      Rule
	message   string // about one cluster, after its name
	one, many string // in a summary, after a number
}

func newCause(rule Rule, one, many string) *cause {
	return &cause{rule: rule, message: one, one: one, many: many}
}

var (
	beingRemoved = newCause(RuleClusterDeleting, "is being removed", "are being removed")
	beingLeft    = newCause(RuleClusterEviction, "is being left because of a taint NoExecute", "are being left because of a taint NoExecute")
	notJoined    = &cause{rule: RuleClusterNotJoined,
		message: "has not joined: no agent has enrolled for it yet", one: "has not joined", many: "have not joined"}
	capacityUnknown = newCause(RuleCapacity, "has not reported its capacity yet", "have not reported their capacity yet")
)

// filter returns why the cluster at a position in the fleet can't be used, or nil.
type filter func(p *problem, i int) *cause

// filters are asked in this order; the first that refuses gives the cause.
var filters = []filter{
	clusterStays,    // first: a cluster that leaves gets nothing, whatever else is true of it
	notLeaving,      // next: whatever keeps a template in a cluster that has it must not keep it there
	clusterAffinity, // before the cluster's state: nobody wants to read about clusters that were not meant
	clusterJoined,   // before APIs and taints: of a cluster that never joined neither is known
	apiEnablement,   // before taints: no toleration helps where the kind is not served
	spreadProperty,  // here, for it is as lasting as the affinity
	taintsTolerated, // late: users and controllers change taints from minute to minute
	companyFits,
	capacityKnown, // last: the agent will tell, and nobody has to do anything
}

func clusterStays(p *problem, i int) *cause {
	if p.Fleet.clusters[i].deleting {
		return beingRemoved
	}
	return nil
}

func notLeaving(p *problem, i int) *cause {
	if slices.Contains(p.Leaving, p.Fleet.clusters[i].name) {
		return beingLeft
	}
	return nil
}

func clusterAffinity(p *problem, i int) *cause { return p.outside[i] }

// clusterJoined keeps the replicas of a division away from a cluster where nobody could run them. A
// cluster that has the template keeps it.
func clusterJoined(p *problem, i int) *cause {
	if !p.Fleet.clusters[i].joined && !p.isCurrent(i) {
		return notJoined
	}
	return nil
}

// apiEnablement asks that the cluster serves the template's kind. A cluster that has the template
// keeps it: a hole in what the cluster's API server tells about itself deletes nothing. For a new
// one all must be known first: once the template is there, it would stay.
func apiEnablement(p *problem, i int) *cause {
	switch {
	case p.serves[i] || p.isCurrent(i):
		return nil
	case p.Fleet.clusters[i].apisDone:
		return p.doesNotServe
	}
	return p.apisUnknown
}

// taintsTolerated asks that every taint is tolerated. A cluster that has the template keeps it: to
// take it away is for whoever evicts, not for whoever places.
func taintsTolerated(p *problem, i int) *cause {
	if why := p.view.untold[i]; why != nil && !p.isCurrent(i) {
		return why
	}
	return nil
}

// spreadProperty asks that the cluster says in which group it is of everything that is spread by.
func spreadProperty(p *problem, i int) *cause { return p.view.ungrouped[i] }

// companyFits keeps the workloads of a group together, or apart. The first of a group may go anywhere, and a
// cluster that has the template keeps it.
func companyFits(p *problem, i int) *cause {
	if p.near == nil && p.far == nil || p.isCurrent(i) {
		return nil
	}
	name := p.Fleet.clusters[i].name
	switch {
	case p.near != nil && !p.Near.Clusters.Has(name):
		return p.near
	case p.far != nil && p.Far.Clusters.Has(name):
		return p.far
	}
	return nil
}

// capacityKnown asks for the capacity of clusters where replicas are divided by it. A cluster that has the
// template keeps it, and gets no more.
func capacityKnown(p *problem, i int) *cause {
	if p.dividesByRoom() && p.available(i) == CapacityUnknown && !p.isCurrent(i) {
		return capacityUnknown
	}
	return nil
}

// untolerated returns the refusal by the first taint that is not tolerated, or nil.
func untolerated(taints []taint, tolerations []corev1.Toleration) *cause {
	for i := range taints {
		if !tolerated(&taints[i], tolerations) {
			return taints[i].untold
		}
	}
	return nil
}

// tolerated says whether a template that is not there yet may come in spite of a taint. The first toleration that
// matches counts, as it does for whoever evicts. One that ends lets a template stay for a while and none come: it would
// be evicted, placed again, and evicted again.
func tolerated(t *taint, tolerations []corev1.Toleration) bool {
	first := slices.IndexFunc(tolerations, func(toleration corev1.Toleration) bool {
		if toleration.Effect != "" && toleration.Effect != t.effect {
			return false
		}
		if toleration.Key != "" && toleration.Key != t.key {
			return false
		}
		if toleration.Operator == corev1.TolerationOpExists {
			return true
		}
		return toleration.Key != "" && toleration.Value == t.value // Equal, which is the default
	})
	return first >= 0 && tolerations[first].TolerationSeconds == nil
}

// refused is a cluster and why it can't be used.
type refused struct {
	at    int // the cluster's position in the fleet
	cause *cause
}

// filter asks every filter about every cluster. It returns the positions of those that fit.
func (p *problem) filter(filters []filter) (fit []int, out []refused) {
	fit = make([]int, 0, p.Fleet.Len())
	for i := range p.Fleet.clusters {
		if why := firstRefusal(filters, p, i); why != nil {
			out = append(out, refused{i, why})
		} else {
			fit = append(fit, i)
		}
	}
	return fit, out
}

func firstRefusal(filters []filter, p *problem, i int) *cause {
	for _, asks := range filters {
		if why := asks(p, i); why != nil {
			return why
		}
	}
	return nil
}

// refusals tells in the order of names why clusters are refused.
func (p *problem) refusals(out []refused) []Refusal {
	if len(out) == 0 {
		return nil
	}
	slices.SortFunc(out, func(a, b refused) int { return cmp.Compare(a.at, b.at) })
	list := make([]Refusal, len(out))
	for i, r := range out {
		list[i] = Refusal{Group: p.group.name, Cluster: p.Fleet.clusters[r.at].name, Rule: r.cause.rule, Message: r.cause.message}
	}
	return list
}

// The refusals of clusters that fit, and which spread constraints did not need.
var (
	notChosen = newCause(RuleSpreadConstraint, "fits, but spreadConstraints chose others", "fit, but spreadConstraints chose others")
	notNeeded = newCause(RuleSpreadConstraint, "fits, but those that have it meet spreadConstraints, and it stays in them",
		"fit, but those that have it meet spreadConstraints, and it stays in them")
)

// withUnchosen adds to the refused those that fit and were not chosen; both fit and chosen are sorted.
func (p *problem) withUnchosen(out []refused, fit, chosen []int) []refused {
	if len(fit) == len(chosen) {
		return out
	}
	why := notChosen
	if !p.Fresh && !slices.ContainsFunc(chosen, func(at int) bool { return !p.isCurrent(at) }) {
		why = notNeeded
	}
	for _, at := range fit {
		if _, isChosen := slices.BinarySearch(chosen, at); !isChosen {
			out = append(out, refused{at, why})
		}
	}
	return out
}

// The refusals of clusters that were chosen and get no replica.
var (
	nothingWanted = newCause(RuleReplicaDivision, "fits, but 0 replicas are wanted", "fit, but 0 replicas are wanted")
	jobElsewhere  = newCause(RuleReplicaDivision, "fits, but the Job stays divided among the clusters that have it", "fit, but the Job stays divided among the clusters that have it")
	noWeight      = newCause(RuleReplicaDivision, "fits, but no weight names it", "fit, but no weight names them")
	noRoom        = newCause(RuleCapacity, "fits, but has no room for a replica", "fit, but have no room for a replica")
	allPlaced     = newCause(RuleReplicaDivision, "fits, but all replicas are placed, and stay where they are until a WorkloadRebalancer places them anew",
		"fit, but all replicas are placed, and stay where they are until a WorkloadRebalancer places them anew")
	fewerWanted = newCause(RuleReplicaDivision, "fits, but fewer replicas are wanted than are placed, so none comes to a cluster that has none",
		"fit, but fewer replicas are wanted than are placed, so none comes to a cluster that has none")
	shareTooSmall = newCause(RuleReplicaDivision, "fits, but its share is less than a replica", "fit, but their share is less than a replica")
)

// notOverflowing is the refusal of clusters of a group that takes only what the groups before it have no room for.
func notOverflowing(group string) *cause {
	text := ", but nothing overflows to the group " + group + ": those before it have the room"
	return newCause(RuleReplicaDivision, "fits"+text, "fit"+text)
}

// othersSuffice is the refusal of clusters that replicas need not be spread to, for they are aggregated in others.
func othersSuffice(others []string) *cause {
	text := ", but all replicas fit into " + few(others, maxCauses)
	return newCause(RuleReplicaDivision, "fits"+text, "fit"+text)
}

// withEmpty adds to the refused, if that is asked for, those of the chosen that are no targets.
func (p *problem) withEmpty(out []refused, chosen []int, targets []workv1alpha1.TargetCluster) []refused {
	if !p.InFull || len(targets) == len(chosen) {
		return out
	}
	why := p.emptiness(chosen)
	for i, at := range chosen {
		_, isTarget := slices.BinarySearchFunc(targets, p.Fleet.clusters[at].name, func(t workv1alpha1.TargetCluster, name string) int {
			return cmp.Compare(t.Name, name)
		})
		if !isTarget {
			out = append(out, refused{at, why(i)})
		}
	}
	return out
}

// emptiness says of each of the chosen clusters why it gets no replica.
func (p *problem) emptiness(chosen []int) func(i int) *cause {
	if *p.Replicas == 0 {
		return func(int) *cause { return nothingWanted }
	}
	if p.Template.Kind.GroupKind() == jobs && len(p.having(chosen)) > 0 {
		return func(int) *cause { return jobElsewhere }
	}
	if p.Placement.strategy.byRoom() {
		return p.emptinessByRoom(chosen)
	}
	weighted := p.view.weights != nil && slices.ContainsFunc(chosen, func(at int) bool { return p.view.weights[at] > 0 })
	return func(i int) *cause {
		if weighted && p.view.weights[chosen[i]] == 0 {
			return noWeight
		}
		return shareTooSmall
	}
}

func (p *problem) emptinessByRoom(chosen []int) func(i int) *cause {
	shares, toGive, stays := p.toGive(chosen, p.Fresh)
	if stays {
		return p.emptinessOfStaying(chosen)
	}
	p.fill(shares, toGive)
	fewer := !p.Fresh && !slices.ContainsFunc(shares, func(s share) bool { return s.keeps })
	why := p.emptinessOf(chosen, shares, toGive)
	return func(i int) *cause {
		if fewer && shares[i].room == 0 {
			return fewerWanted
		}
		return why(i)
	}
}

// emptinessOfStaying says of clusters without a replica of a template that stays what would keep replicas from them if it was
// placed anew. Only where nothing would, or where that can't be told, it is because the template stays.
func (p *problem) emptinessOfStaying(chosen []int) func(i int) *cause {
	afresh := *p.Facts
	afresh.Fresh = true
	anew := *p
	anew.Facts = &afresh
	fit, _ := anew.filter(filters)
	chosenAnew, why := anew.choose(fit)
	if why != nil {
		return func(int) *cause { return allPlaced }
	}
	shares, toGive, _ := anew.toGive(chosenAnew, true)
	anew.fill(shares, toGive)
	whyAnew := anew.emptinessOf(chosenAnew, shares, toGive)
	return func(i int) *cause {
		at, found := slices.BinarySearch(chosenAnew, chosen[i])
		switch {
		case !found:
			return notChosen
		case shares[at].got > 0 || anew.available(chosen[i]) == CapacityUnknown:
			return allPlaced
		}
		return whyAnew(at)
	}
}

// emptinessOf says why those of the chosen clusters that got nothing in a division did not.
func (p *problem) emptinessOf(chosen []int, shares []share, given int64) func(i int) *cause {
	roomBefore := func(tier uint16) (room int64) {
		for _, s := range shares {
			if s.tier < tier {
				room += s.room
			}
		}
		return room
	}
	var used []string
	for i, at := range chosen {
		if s := &shares[i]; s.got > 0 || s.keeps && p.assigned(at) > 0 {
			used = append(used, p.Fleet.clusters[at].name)
		}
	}
	suffice := othersSuffice(used)
	return func(i int) *cause {
		switch {
		case shares[i].room == 0:
			return noRoom
		case shares[i].tier > 0 && roomBefore(shares[i].tier) >= given:
			return notOverflowing(p.group.names[shares[i].tier])
		case p.Placement.strategy == aggregated:
			return suffice
		}
		return shareTooSmall
	}
}

func noClusterFits(p *problem, out []refused) Decision {
	message := summary(p.Fleet.Len(), out)
	if others := withoutLeft(out); len(others) < len(out) {
		message = noOtherFits(others)
	}
	return Decision{Reason: ReasonNoClusterFit, Message: message + p.strangers(), Refused: p.refusals(out)}
}

// strangers names the clusters that the placement calls by name and the fleet does not have. What the
// weights say is nothing to a kind without replicas.
func (p *problem) strangers() string {
	var text string
	if len(p.group.strangers) > 0 {
		text = "; no cluster is called " + few(p.group.strangers, maxCauses)
	}
	if len(p.group.absent) > 0 {
		text += "; no cluster is called " + few(p.group.absent, maxCauses) + ", which exclude names"
	}
	if len(p.view.weightStrangers) > 0 && p.Replicas != nil {
		text += "; no cluster is called " + few(p.view.weightStrangers, maxCauses) + ", which a static weight names"
	}
	if len(p.Paused) == 0 {
		return text
	}
	if strangers := p.Fleet.unknown(sets.New(p.Paused...)); len(strangers) > 0 {
		text += "; no cluster is called " + few(strangers, maxCauses) + ", which suspension names"
	}
	return text
}

// few lists names, but no more than most of them, and says how many more there are.
func few(names []string, most int) string {
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
}

// maxCauses bounds the causes in a summary, for clusters may have a taint each, and what is listed from a placement.
const maxCauses = 5

// summary says in one sentence why no cluster fits, the most frequent cause first.
func summary(clusters int, out []refused) string {
	return fmt.Sprintf("0 of %s %s: %s", plural(clusters, "cluster"), fits(clusters), counted(out))
}

// noOtherFits says the same of a template that has to leave clusters, of which there is no need to say so again.
func noOtherFits(others []refused) string {
	if len(others) == 0 {
		return "no other cluster fits, for there is none"
	}
	return "no other cluster fits: " + counted(others)
}

func fits(clusters int) string {
	if clusters == 1 {
		return "fits"
	}
	return "fit"
}

// others says where some clusters fit, and are too few or have too little room, what is with the rest. Those that the affinity does
// not select were not meant, and those that the template has to leave are named elsewhere.
func others(out []refused) string {
	meant := slices.DeleteFunc(slices.Clone(out), func(r refused) bool { return r.cause.rule == RuleClusterAffinity || r.cause == beingLeft })
	if len(meant) == 0 {
		return ""
	}
	return "; of the others " + counted(meant)
}

// counted lists the causes, the most frequent first, each with the number of clusters.
func counted(out []refused) string {
	type group struct {
		*cause
		count int
	}
	var groups []group
	for _, r := range out {
		i := slices.IndexFunc(groups, func(g group) bool { return g.many == r.cause.many })
		if i < 0 {
			i = len(groups)
			groups = append(groups, group{r.cause, 0})
		}
		groups[i].count++
	}
	slices.SortFunc(groups, func(a, b group) int {
		return cmp.Or(cmp.Compare(b.count, a.count), cmp.Compare(a.many, b.many))
	})
	var parts []string
	rest := 0
	for i, g := range groups {
		switch {
		case i >= maxCauses:
			rest += g.count
		case g.count == 1:
			parts = append(parts, "1 "+g.one)
		default:
			parts = append(parts, fmt.Sprintf("%d %s", g.count, g.many))
		}
	}
	if rest > 0 {
		parts = append(parts, fmt.Sprintf("%d for other reasons", rest))
	}
	return strings.Join(parts, ", ")
}
