package schedule

import (
	"fmt"
	"hash/fnv"
	"math/bits"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	workv1alpha1 "windlass.dev/windlass/api/work/v1alpha1"
)

// divide gives every chosen cluster its replicas, or says why that can't be.
func (p *problem) divide(chosen []int) (Decision, *cause) {
	if p.Replicas != nil && !p.asksForNothing() && p.Placement.strategy != duplicated && p.Template.Kind.GroupKind() == jobs {
		if having := p.having(chosen); len(having) > 0 {
			return p.divideJob(chosen, having)
		}
	}
	return p.divideAnew(chosen)
}

func samePart(a, b workv1alpha1.TargetCluster) bool {
	return a.Name == b.Name && a.Replicas == b.Replicas
}

var jobs = schema.GroupKind{Group: "batch", Kind: "Job"}

// divideJob leaves a divided Job to the clusters that have it. Only when their replicas are not the
// number that is asked for any more, because that has changed or a cluster is gone, the replicas are
// divided among them once more; a part without replicas waits.
func (p *problem) divideJob(chosen, having []int) (Decision, *cause) {
	decision := Decision{Scheduled: true, Reason: ReasonSuccess}
	parts, why := p.partsOf(having)
	if why != nil {
		return decision, why
	}
	decision.Clusters = p.targets(having, parts, true)
	decision.Message = p.dividedAmong(len(having))
	if p.Placement.strategy.byRoom() {
		p.tellOfStopped(&decision)
		return decision, nil
	}
	if anew, _ := p.divideAnew(chosen); slices.EqualFunc(decision.Clusters, anew.Clusters, samePart) {
		return anew, nil
	}
	decision.Message += "; a Job that is placed is not divided anew, because the completions of its parts can't be changed"
	p.tellOfStopped(&decision)
	return decision, nil
}

// mostStopped bounds the clusters that a message names because the part of a Job there stands still.
const mostStopped = 5

// tellOfStopped tells of the parts of a Job that get nothing to run with. Such a part keeps its completions, so the Job
// does not end before it has ended.
func (p *problem) tellOfStopped(decision *Decision) {
	var stopped []string
	for _, part := range decision.Clusters {
		if part.Replicas == 0 {
			stopped = append(stopped, part.Name)
		}
	}
	if len(stopped) == 0 {
		return
	}
	names := strings.Join(stopped[:min(len(stopped), mostStopped)], ", ")
	if more := len(stopped) - mostStopped; more > 0 {
		names += fmt.Sprintf(" and %d more", more)
	}
	decision.Reason = ReasonClustersLeftOut
	decision.Message += fmt.Sprintf("; %s of the Job, in %s, can run no pod, and the Job does not end while completions are left there: a larger parallelism lets it",
		plural(len(stopped), "part"), names)
}

func (p *problem) partsOf(having []int) ([]int32, *cause) {
	if p.Placement.strategy.byRoom() {
		return p.divideByRoom(having, false)
	}
	parts := make([]int32, len(having))
	var sum int64
	for i, at := range having {
		parts[i] = p.assigned(at)
		sum += int64(parts[i])
	}
	if sum != int64(*p.Replicas) {
		parts = Apportion(*p.Replicas, p.weightsOf(having), p.Template.UID)
	}
	return parts, nil
}

// having are those of the chosen clusters that have the template now.
func (p *problem) having(chosen []int) []int {
	return slices.DeleteFunc(slices.Clone(chosen), func(at int) bool { return !p.isCurrent(at) })
}

func (p *problem) divideAnew(chosen []int) (Decision, *cause) {
	decision := Decision{Scheduled: true, Reason: ReasonSuccess}
	switch {
	case p.asksForNothing():
		// Scaling to 0 stops the workload where it is. To take it away would be a deletion, which nobody asked for.
		having := p.having(chosen)
		decision.Clusters = p.targets(having, make([]int32, len(having)), true)
		decision.Message = "asks for 0 replicas: stays in " + plural(len(having), "cluster") + ", without any"
	case p.Replicas == nil:
		decision.Clusters = p.targets(chosen, make([]int32, len(chosen)), true)
		decision.Message = "goes to " + plural(len(decision.Clusters), "cluster")
	case p.Placement.strategy == duplicated:
		decision.Clusters = p.targets(chosen, slices.Repeat([]int32{*p.Replicas}, len(chosen)), p.KeepEmpty)
		decision.Message = p.replicas("in each of", len(decision.Clusters))
	default:
		shares, why := p.shares(chosen)
		if why != nil {
			return decision, why
		}
		decision.Clusters = p.targets(chosen, shares, p.KeepEmpty)
		decision.Message = p.dividedAmong(len(decision.Clusters))
	}
	if len(decision.Clusters) == 0 {
		decision.Message = "goes to no cluster, because it asks for 0 replicas"
	}
	return decision, nil
}

func (p *problem) shares(chosen []int) ([]int32, *cause) {
	if p.Placement.strategy.byRoom() {
		return p.divideByRoom(chosen, p.Fresh)
	}
	return Apportion(*p.Replicas, p.weightsOf(chosen), p.Template.UID), nil
}

func (p *problem) dividedAmong(clusters int) string { return p.replicas("divided among", clusters) }

// replicas says how they lie in clusters, which makes no difference in one.
func (p *problem) replicas(how string, clusters int) string {
	if clusters == 1 {
		how = "in"
	}
	return fmt.Sprintf("%s %s %s", plural(int(*p.Replicas), "replica"), how, plural(clusters, "cluster"))
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// targets names the chosen clusters with their replicas.
func (p *problem) targets(chosen []int, replicas []int32, keepEmpty bool) []workv1alpha1.TargetCluster {
	var list []workv1alpha1.TargetCluster
	for i, at := range chosen {
		if replicas[i] == 0 && !keepEmpty {
			continue
		}
		if list == nil {
			list = make([]workv1alpha1.TargetCluster, 0, len(chosen)-i)
		}
		list = append(list, workv1alpha1.TargetCluster{Name: p.Fleet.clusters[at].name, Replicas: replicas[i]})
	}
	return list
}

// weightsOf returns the weights of the chosen clusters. If none of them has one, all have the same.
func (p *problem) weightsOf(chosen []int) []int64 {
	weights := make([]int64, len(chosen))
	any := false
	for i, at := range chosen {
		weights[i] = p.view.weights[at]
		any = any || weights[i] > 0
	}
	if !any {
		return slices.Repeat([]int64{1}, len(chosen))
	}
	return weights
}

// allWeighTheSame says that none of the clusters that fit has a weight, though there are weights. Karmada then gives all of them the
// same weight, and says nothing; whoever gave weights expects none of it.
func (p *problem) allWeighTheSame(fit []int) string {
	if len(p.Placement.weights) == 0 || p.wanted() == 0 || len(fit) == 0 || slices.ContainsFunc(fit, func(at int) bool { return p.view.weights[at] > 0 }) {
		return ""
	}
	if p.Template.Kind.GroupKind() == jobs && len(p.having(fit)) > 0 {
		return "" // it keeps its parts
	}
	if len(fit) == 1 {
		return "; no static weight names the cluster that fits, so it gets all"
	}
	return fmt.Sprintf("; no static weight names any of the %d clusters that fit, so all weigh the same", len(fit))
}

// mostLeftOut bounds the clusters that a message names because no weight does.
const mostLeftOut = 3

// leftWithout names the chosen clusters that get no replicas because no weight selects them, while
// others are selected.
func (p *problem) leftWithout(chosen []int, targets []workv1alpha1.TargetCluster) string {
	if len(p.group.unweighted) == 0 || p.Replicas == nil || *p.Replicas == 0 || !slices.ContainsFunc(chosen, func(at int) bool { return p.view.weights[at] > 0 }) {
		return ""
	}
	has := map[string]bool{}
	for _, target := range targets {
		has[target.Name] = target.Replicas > 0
	}
	var names []string
	for _, at := range p.group.unweighted {
		_, isChosen := slices.BinarySearch(chosen, at)
		if name := p.Fleet.clusters[at].name; !has[name] && isChosen {
			names = append(names, name)
		}
	}
	switch len(names) {
	case 0:
		return ""
	case 1:
		return "; " + names[0] + " gets nothing, for no weight names it"
	}
	return "; " + few(names, mostLeftOut) + " get nothing, for no weight names them"
}

// descending says whether ties go to the last name rather than to the first. It depends on the
// template alone, so that the remainders of many templates do not all land in the same clusters.
func descending(uid types.UID) bool {
	if uid == "" {
		return false
	}
	hash := fnv.New32a()
	hash.Write([]byte(uid))
	return hash.Sum32()%2 == 1
}

// Apportion divides what a template asks for in proportion to weights, which are those of clusters in the order of their names.
func Apportion(total int32, weights []int64, uid types.UID) []int32 {
	return apportion(total, weights, descending(uid))
}

// apportion divides replicas in proportion to weights by the method of Webster and Sainte-Laguë:
// one replica after the other goes to the largest weight/(2·assigned+1). A tie goes to the cluster
// with fewer replicas, then to the first, or with descending to the last, in the order of weights.
// Clusters with weight 0 get nothing. All arithmetic is exact.
func apportion(replicas int32, weights []int64, descending bool) []int32 {
	shares := make([]int32, len(weights))
	q := &queue{weights: weights, shares: shares, descending: descending}
	for i, weight := range weights {
		if weight > 0 {
			q.order = append(q.order, i)
		}
	}
	if len(q.order) == 0 {
		return shares
	}
	left := replicas - q.headStart(replicas)
	for at := len(q.order)/2 - 1; at >= 0; at-- {
		q.sink(at)
	}
	for ; left > 0; left-- {
		shares[q.order[0]]++
		q.sink(0)
	}
	return shares
}

// queue is a heap of clusters: the one that gets the next replica is at the top.
type queue struct {
	weights    []int64
	shares     []int32
	order      []int // the heap: positions in weights
	descending bool
}

// headStart gives out at once most of what the one-by-one method would, and returns how much.
//
// Write n for the number of clusters, W for the sum of weights, R for the replicas. The method hands
// out replicas by falling quotients, so those with a quotient above any fixed bound come first. With
// the bound W/(2R-n), cluster i has as many of them as there are odd numbers below
// x = weight·(2R-n)/W, which is at most (x+1)/2; these sum up to at most R. So none is given that
// the method would not give, and at most n are left.
//
// Weights whose sum exceeds 64 bits are shifted, each down and W up, so that x is at most what it would be: what is given is
// still no more than the method would give, and the division is exact. Not more than 2n are left then.
func (q *queue) headStart(replicas int32) int32 {
	factor := 2*int64(replicas) - int64(len(q.order))
	if factor <= 0 {
		return 0
	}
	sum, shift := q.sum()
	var given int32
	for _, i := range q.order {
		high, low := bits.Mul64(uint64(q.weights[i])>>shift, uint64(factor))
		x, remainder := bits.Div64(high, low, sum)
		if remainder > 0 {
			x++
		}
		q.shares[i] = int32(x / 2)
		given += q.shares[i]
	}
	return given
}

// sum returns the sum of the weights, shifted to the right as far as is needed for it to fit. Each summand that was shifted
// is rounded up.
func (q *queue) sum() (sum uint64, shift int) {
	for ; ; shift++ {
		var overflow uint64
		sum = 0
		for _, i := range q.order {
			summand, carry := uint64(q.weights[i])>>shift, uint64(0)
			if shift > 0 {
				summand++
			}
			sum, carry = bits.Add64(sum, summand, 0)
			overflow |= carry
		}
		if overflow == 0 {
			return sum, shift
		}
	}
}

// sink puts the cluster at a place of the heap where it belongs, when it ranks lower than before.
func (q *queue) sink(at int) {
	for {
		first := 2*at + 1
		if first >= len(q.order) {
			return
		}
		if second := first + 1; second < len(q.order) && q.before(q.order[second], q.order[first]) {
			first = second
		}
		if !q.before(q.order[first], q.order[at]) {
			return
		}
		q.order[at], q.order[first] = q.order[first], q.order[at]
		at = first
	}
}

// before says whether cluster i gets a replica before cluster j does.
func (q *queue) before(i, j int) bool {
	// weight/(2·share+1), compared without dividing
	highI, lowI := bits.Mul64(uint64(q.weights[i]), 2*uint64(q.shares[j])+1)
	highJ, lowJ := bits.Mul64(uint64(q.weights[j]), 2*uint64(q.shares[i])+1)
	switch {
	case highI != highJ:
		return highI > highJ
	case lowI != lowJ:
		return lowI > lowJ
	case q.shares[i] != q.shares[j]:
		return q.shares[i] < q.shares[j]
	}
	return (i < j) != q.descending
}
