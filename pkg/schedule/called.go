package schedule

import (
	"slices"

	"k8s.io/apimachinery/pkg/util/sets"
)

// sayLeftOut are the rules that keep a cluster away whose name the placement says, and that its author should hear of. An eviction
// is told anyway, room is told where it is too little, and workloads that keep apart are meant to.
var sayLeftOut = sets.New(RuleClusterDeleting, RuleClusterNotJoined, RuleAPIEnablement, RuleTaintToleration, RuleSpreadConstraint)

// called says whether the placement calls a cluster by its name, in the affinity group that is tried or with a weight. What the
// weights say is nothing to a kind without replicas.
func (p *problem) called(name string) bool {
	return p.group.called.Has(name) || p.Replicas != nil && p.view.weighted.Has(name)
}

// leftOut names the clusters that the placement calls by name and that don't fit: whoever named them expects the template
// there. Where spread constraints choose, names are no more than a choice, and where no replicas are asked for, nothing is expected.
func (p *problem) leftOut(out []refused) string {
	if len(p.group.called) == 0 && len(p.view.weighted) == 0 || p.asksForNothing() || p.Placement.spread.chooses(p.Placement.strategy) {
		return ""
	}
	var causes []*cause
	var names [][]string
	for _, r := range out {
		name := p.Fleet.clusters[r.at].name
		if !sayLeftOut.Has(r.cause.rule) || !p.called(name) {
			continue
		}
		i := slices.IndexFunc(causes, func(c *cause) bool { return c.many == r.cause.many })
		if i < 0 {
			i = len(causes)
			causes, names = append(causes, r.cause), append(names, nil)
		}
		names[i] = append(names[i], name)
	}
	var text string
	for i, c := range causes[:min(len(causes), maxCauses)] {
		if len(names[i]) == 1 {
			text += "; " + names[i][0] + ", which is named, is left out: it " + c.message
		} else {
			text += "; " + few(names[i], mostLeftOut) + ", which are named, are left out: they " + c.many
		}
	}
	return text
}
