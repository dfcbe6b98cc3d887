package schedule

import "slices"

// jobEnded refuses a cluster that may have a Job and does not, when the Job has ended.
var jobEnded = newCause(RuleReplicaDivision, "fits, but the Job has ended and would run once more", "fit, but the Job has ended and would run once more")

// decideEnded decides about a Job that has ended where clusters are chosen or replicas divided, so that one cluster could take
// another's place, or were while it ran, and about one that ran in parts. It leaves the Job in those that have it, as far as the placement still allows them, and sends it to no
// other: there it would do once more what is done. How many clusters are wanted, and what room they have, is nothing to what
// does not run.
func (p *problem) decideEnded() Decision {
	decision := Decision{Group: p.Group, Scheduled: true, Reason: ReasonSuccess}
	for _, g := range p.groupsInOrder() {
		p.enter(&p.view.groups[g])
		fit, out := p.filter(filters)
		having := p.having(fit)
		for _, at := range fit {
			if !p.isCurrent(at) {
				out = append(out, refused{at, jobEnded})
			}
		}
		decision.Refused = append(decision.Refused, p.refusals(out)...)
		if len(having) > 0 || p.group.name == "" {
			decision.Clusters, decision.Group = p.targets(having, p.partsOfEnded(having), true), p.group.name
			break
		}
	}
	if count := len(decision.Clusters); count > 0 {
		decision.Message = "has ended: stays in " + plural(count, "cluster") + ", and does not run anew elsewhere"
	} else {
		decision.Message = "has ended, and is in no cluster where it may stay: it does not run anew, unless it is deleted and made again"
	}
	return decision
}

// partsOfEnded are the parts of a Job as they are: what is done is not changed any more. When one of them is gone, the others do
// not add up to what is asked for.
func (p *problem) partsOfEnded(having []int) []int32 {
	parts := make([]int32, len(having))
	for i, at := range having {
		parts[i] = p.assigned(at)
	}
	return parts
}

// inParts says whether a cluster has another number of replicas than the template asks for: the placement divided them, and each
// cluster that got the whole now would do once more what others have done. It can't be told from a number that was changed after
// the end; not to run again is the lesser mistake.
func (p *problem) inParts() bool {
	if p.Replicas == nil {
		return false
	}
	return slices.ContainsFunc(p.holds, func(holds int32) bool { return holds > 0 && holds-1 != *p.Replicas })
}
