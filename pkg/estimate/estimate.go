// Package estimate is responsible for one answer: how many more replicas of a workload fit into a cluster.
//
// What the agent knows is exact by node (Cluster.Room): of each node that the replicas may be on, the scarcest of what
// they request, and of the places for pods, says how many fit, and the sum over the nodes is the answer. So a cluster
// with much left in pieces that are too small has no room. Where only sums are known, RoomInSum takes them for one node.
//
// What is not counted: quotas, volumes, ports of nodes, affinity between pods and spreading, and preemption.
package estimate

import (
	"iter"
	"math"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// Amounts are quantities by resource name: milli-units of cpu, units of everything else.
type Amounts map[corev1.ResourceName]int64

// largest bounds one quantity, so that sums of many can't overflow: 9 PB, or 9 trillion cores.
const largest = 1 << 53

// AmountsOf reads a list. What is more than any machine has is cut to what still can be added up.
func AmountsOf(list corev1.ResourceList) Amounts {
	a := make(Amounts, len(list))
	for name, quantity := range list {
		a[name] = amountOf(name, quantity)
	}
	return a
}

func amountOf(name corev1.ResourceName, quantity resource.Quantity) int64 {
	unit := int64(1)
	if name == corev1.ResourceCPU {
		unit = 1000
	}
	switch {
	case quantity.CmpInt64(largest/unit) > 0:
		return largest
	case unit == 1:
		return quantity.Value()
	}
	return quantity.MilliValue()
}

// Add adds so many times b.
func (a Amounts) Add(b Amounts, times int64) {
	for name, amount := range b {
		a[name] += times * amount
		if a[name] == 0 {
			delete(a, name)
		}
	}
}

// A Node is what counts of one node.
type Node struct {
	Name   string
	Labels map[string]string
	// Taints of the effects NoSchedule and NoExecute; others keep nobody away.
	Taints []corev1.Taint
	// Ready is false for a node that is not, or of which only the name is known: nothing fits there.
	Ready         bool
	Unschedulable bool
	// Allocatable is what pods may request there in all, and Requested what those that are there do request,
	// pods themselves included.
	Allocatable, Requested Amounts
}

func (n *Node) free(name corev1.ResourceName) int64 { return n.Allocatable[name] - n.Requested[name] }

// usable says whether pods get there at all.
func (n *Node) usable() bool { return n.Ready && !n.Unschedulable }

// A Cluster is everything that an exact answer is made from.
type Cluster struct {
	Nodes iter.Seq[*Node]
	// Waiting is what pods request that have no node yet.
	Waiting iter.Seq[Amounts]
}

// A Room is what is left for replicas with certain needs.
type Room struct {
	// Replicas is how many more fit, never below 0.
	Replicas int64
	// Slots is how many pods of any kind fit on the nodes that these replicas may be on.
	Slots int64
}

// Room returns the room for each of the needs by itself, as if nothing of the others were placed.
//
// Pods that wait for a node will get one before replicas that are placed now: what they request is taken off, by
// Room.Without. A pod for which no node has enough of something takes nothing: it may wait for ever, and must not make a
// cluster look full meanwhile.
func (c Cluster) Room(needs ...*Need) []Room {
	waiting := c.waiting()
	rooms := make([]Room, len(needs))
	var seen corev1.Node // one for all nodes: it is large
	for i, need := range needs {
		room := Room{}
		for node := range c.Nodes {
			if need.admits(node, &seen) {
				replicas, slots := need.fit(node)
				room.Replicas += replicas
				room.Slots += slots
			}
		}
		rooms[i] = room.Without(need, waiting)
	}
	return rooms
}

// waiting sums up the waiting pods that some node could take, each by itself.
func (c Cluster) waiting() Amounts {
	sum, most := Amounts{}, Amounts{}
	for pod := range c.Waiting {
		for name := range pod {
			most[name] = 0
		}
	}
	if len(most) == 0 {
		return sum
	}
	c.findMost(most)
	for pod := range c.Waiting {
		if fits(pod, most) {
			sum.Add(pod, 1)
		}
	}
	return sum
}

// findMost finds the most that any node has left of each of the resources.
func (c Cluster) findMost(most Amounts) {
	for node := range c.Nodes {
		if !node.usable() {
			continue
		}
		for name, before := range most {
			if free := node.free(name); free > before {
				most[name] = free
			}
		}
	}
}

func fits(pod, most Amounts) bool {
	for name, amount := range pod {
		if amount > most[name] {
			return false
		}
	}
	return true
}

// mostOnNode bounds what one node can add, so that no sum can overflow.
const mostOnNode = math.MaxInt32

// fit says how many replicas, and how many pods, fit on a node.
func (n *Need) fit(node *Node) (replicas, slots int64) {
	slots = min(max(node.free(corev1.ResourcePods), 0), mostOnNode)
	replicas = slots
	for _, request := range n.requests {
		if replicas == 0 {
			break
		}
		replicas = min(replicas, max(node.free(request.name), 0)/request.amount)
	}
	return replicas, slots
}

// Without returns the room when other pods, which request so much in all, pods themselves included, have taken theirs.
// On which nodes is not known. So as many replicas are taken off as have, together, what the others request: of every
// resource that the replicas request.
func (r Room) Without(need *Need, taken Amounts) Room {
	lost := int64(0)
	for _, request := range need.requests {
		lost = max(lost, ceil(taken[request.name], request.amount))
	}
	slots := max(r.Slots-max(taken[corev1.ResourcePods], 0), 0)
	return Room{Replicas: max(min(r.Replicas-lost, slots), 0), Slots: slots}
}

// ceil divides upwards, without overflow.
func ceil(amount, by int64) int64 {
	if amount <= 0 {
		return 0
	}
	return (amount-1)/by + 1
}

// RoomInSum is the room in a cluster of which only sums are known: what can be allocated on all nodes, what the pods
// request that have a node, and that wait for one. Neither what is left in small pieces counts, nor what the need asks
// of a node. It is not known without anything allocatable.
func RoomInSum(allocatable, allocated, allocating corev1.ResourceList, need *Need) (room Room, known bool) {
	if len(allocatable) == 0 {
		return Room{}, false
	}
	left := &Node{Ready: true, Allocatable: AmountsOf(allocatable), Requested: AmountsOf(allocated)}
	left.Requested.Add(AmountsOf(allocating), 1)
	room.Replicas, room.Slots = need.fit(left)
	return room, true
}

// admits says whether replicas may be on a node at all. Of seen nothing but what is written into it here is used.
func (n *Need) admits(node *Node, seen *corev1.Node) bool {
	if !node.Ready || node.Unschedulable && !n.tolerates(&unschedulable) {
		return false
	}
	for i := range node.Taints {
		if !n.tolerates(&node.Taints[i]) {
			return false
		}
	}
	if !n.selective {
		return true
	}
	seen.Labels = node.Labels
	if n.byName {
		seen.Name = node.Name
	}
	matches, err := n.affinity.Match(seen)
	return err == nil && matches
}

// unschedulable is the taint that stands for a node's field of this name, as in the scheduler of Kubernetes.
var unschedulable = corev1.Taint{Key: corev1.TaintNodeUnschedulable, Effect: corev1.TaintEffectNoSchedule}

func (n *Need) tolerates(taint *corev1.Taint) bool {
	for i := range n.tolerations {
		if tolerates(&n.tolerations[i], taint) {
			return true
		}
	}
	return false
}

// tolerates decides as Toleration.ToleratesTaint of Kubernetes' API does, which wants a logger. Whether a member knows
// the numeric operators is its own affair; one that doesn't accepts no pod with them.
func tolerates(t *corev1.Toleration, taint *corev1.Taint) bool {
	if t.Effect != "" && t.Effect != taint.Effect || t.Key != "" && t.Key != taint.Key {
		return false
	}
	switch t.Operator {
	case "", corev1.TolerationOpEqual:
		return t.Value == taint.Value
	case corev1.TolerationOpExists:
		return true
	case corev1.TolerationOpLt, corev1.TolerationOpGt:
		limit, err1 := strconv.ParseInt(t.Value, 10, 64)
		value, err2 := strconv.ParseInt(taint.Value, 10, 64)
		return err1 == nil && err2 == nil && (t.Operator == corev1.TolerationOpLt && value < limit || t.Operator == corev1.TolerationOpGt && value > limit)
	}
	return false
}
