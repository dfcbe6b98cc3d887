package facts

import (
	"context"
	"fmt"
	"maps"
	"math"
	"strings"
	"sync"
	"unique"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
	podresources "k8s.io/component-helpers/resource"

	"windlass.dev/windlass/agent/member"
	linkv1 "windlass.dev/windlass/api/link/v1"
	"windlass.dev/windlass/pkg/estimate"
)

// quantities writes amounts as Kubernetes does.
func quantities(a estimate.Amounts) map[string]string {
	written := make(map[string]string, len(a))
	for name, amount := range a {
		written[string(name)] = quantity(name, amount).String()
	}
	return written
}

func quantity(name corev1.ResourceName, amount int64) *resource.Quantity {
	switch {
	case name == corev1.ResourceCPU:
		return resource.NewMilliQuantity(amount, resource.DecimalSI)
	case name == corev1.ResourceMemory, name == corev1.ResourceEphemeralStorage,
		strings.HasPrefix(string(name), corev1.ResourceHugePagesPrefix):
		return resource.NewQuantity(amount, resource.BinarySI)
	}
	return resource.NewQuantity(amount, resource.DecimalSI)
}

// share is what one node or pod adds to the sums.
type share struct {
	nodes, ready                       int32
	allocatable, allocated, allocating estimate.Amounts

	// shape is a node without what is requested on it; nil for a pod.
	shape *estimate.Node
	// on is the name of the pod's node.
	on string
	// gated is true of a pod that may have no node before somebody takes its scheduling gates away.
	gated bool
}

// tally is the sum over all nodes and pods, and what is left of each node, kept up to date as they change.
type tally struct {
	nodes, pods *shares

	mu  sync.Mutex
	sum share
	// byName has also nodes of which nothing but pods are known: the watches are not in step.
	byName map[string]*estimate.Node
	// waiting are the requests of the pods that have no node and may have one. Others may wait for ever, as a whole queue of jobs does.
	waiting map[types.UID]estimate.Amounts
	// revision grows with every change.
	revision uint64
}

func newTally(changed func()) *tally {
	t := &tally{
		sum:    share{allocatable: estimate.Amounts{}, allocated: estimate.Amounts{}, allocating: estimate.Amounts{}},
		byName: map[string]*estimate.Node{}, waiting: map[types.UID]estimate.Amounts{},
	}
	t.nodes = newShares(t, changed, nodeShare, watchNodes)
	t.pods = newShares(t, changed, podShare, watchPods)
	return t
}

func (t *tally) synced() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.nodes.listed && t.pods.listed
}

func (t *tally) facts() *linkv1.ClusterFacts {
	t.mu.Lock()
	defer t.mu.Unlock()
	return &linkv1.ClusterFacts{
		NodesTotal: t.sum.nodes, NodesReady: t.sum.ready,
		Allocatable: quantities(t.sum.allocatable),
		Allocated:   quantities(t.sum.allocated),
		Allocating:  quantities(t.sum.allocating),
	}
}

// rooms is the room for each of the needs, and the revision of which that is true. It is not known before nodes and
// pods were listed.
func (t *tally) rooms(needs []*estimate.Need) (rooms []estimate.Room, revision uint64, known bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.nodes.listed || !t.pods.listed {
		return nil, 0, false
	}
	return estimate.Cluster{Nodes: maps.Values(t.byName), Waiting: maps.Values(t.waiting)}.Room(needs...), t.revision, true
}

// unchanged says whether everything is as it was at a revision.
func (t *tally) unchanged(revision uint64) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.revision == revision
}

// count adds a share to the sums, or takes it away. The caller holds the lock.
func (t *tally) count(uid types.UID, s share, sign int32) {
	t.revision++
	t.sum.nodes += sign * s.nodes
	t.sum.ready += sign * s.ready
	t.sum.allocatable.Add(s.allocatable, int64(sign))
	t.sum.allocated.Add(s.allocated, int64(sign))
	t.sum.allocating.Add(s.allocating, int64(sign))
	switch {
	case s.shape != nil:
		t.shape(s.shape, sign)
	case s.on != "":
		t.change(s.on, func(node *estimate.Node) { node.Requested.Add(s.allocated, int64(sign)) })
	case s.gated:
	case s.allocating != nil && sign > 0:
		t.waiting[uid] = s.allocating
	case s.allocating != nil:
		delete(t.waiting, uid)
	}
}

// shape takes in what a node is, or forgets it; what is requested there stays.
func (t *tally) shape(shape *estimate.Node, sign int32) {
	t.change(shape.Name, func(node *estimate.Node) {
		requested := node.Requested
		*node = estimate.Node{Name: shape.Name}
		if sign > 0 {
			*node = *shape
		}
		node.Requested = requested
	})
}

// change keeps a node while something is known of it.
func (t *tally) change(name string, change func(*estimate.Node)) {
	node := t.byName[name]
	if node == nil {
		node = &estimate.Node{Name: name, Requested: estimate.Amounts{}}
		t.byName[name] = node
	}
	change(node)
	if node.Allocatable == nil && len(node.Requested) == 0 {
		delete(t.byName, name)
	}
}

func nodeShare(object any) (types.UID, share, error) {
	node, ok := object.(*corev1.Node)
	if !ok {
		return "", share{}, fmt.Errorf("a watch of nodes delivered a %T", object)
	}
	s := share{nodes: 1, allocatable: estimate.AmountsOf(node.Status.Allocatable)}
	for _, condition := range node.Status.Conditions {
		if condition.Type == corev1.NodeReady && condition.Status == corev1.ConditionTrue {
			s.ready = 1
		}
	}
	s.shape = &estimate.Node{
		Name: interned(node.Name), Labels: make(map[string]string, len(node.Labels)),
		Ready: s.ready == 1, Unschedulable: node.Spec.Unschedulable, Allocatable: s.allocatable,
	}
	for key, value := range node.Labels {
		s.shape.Labels[interned(key)] = interned(value)
	}
	for _, taint := range node.Spec.Taints {
		if taint.Effect == corev1.TaintEffectNoSchedule || taint.Effect == corev1.TaintEffectNoExecute {
			s.shape.Taints = append(s.shape.Taints, corev1.Taint{Key: interned(taint.Key), Value: interned(taint.Value), Effect: taint.Effect})
		}
	}
	return node.UID, s, nil
}

// interned shares the memory of equal strings: nodes have most of their labels in common, and pods their nodes.
func interned(s string) string { return unique.Make(s).Value() }

func podShare(object any) (types.UID, share, error) {
	pod, ok := object.(*corev1.Pod)
	if !ok {
		return "", share{}, fmt.Errorf("a watch of pods delivered a %T", object)
	}
	requested := estimate.AmountsOf(podresources.PodRequests(pod, podresources.PodResourcesOptions{}))
	requested[corev1.ResourcePods] = 1
	if pod.Spec.NodeName == "" {
		return pod.UID, share{allocating: requested, gated: len(pod.Spec.SchedulingGates) > 0}, nil
	}
	return pod.UID, share{allocated: requested, on: interned(pod.Spec.NodeName)}, nil
}

// shares are the shares of one kind; the reflector's store.
type shares struct {
	tally   *tally
	changed func()
	read    func(object any) (types.UID, share, error)
	source  func(*member.Core) (*cache.ListWatch, runtime.Object)

	byUID  map[types.UID]share
	listed bool
}

func newShares(t *tally, changed func(), read func(any) (types.UID, share, error),
	source func(*member.Core) (*cache.ListWatch, runtime.Object)) *shares {
	return &shares{tally: t, changed: changed, read: read, source: source, byUID: map[types.UID]share{}}
}

func watchNodes(client *member.Core) (*cache.ListWatch, runtime.Object) {
	return &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
			return client.Nodes().List(ctx, options)
		},
		WatchFuncWithContext: func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
			return client.Nodes().Watch(ctx, options)
		},
	}, &corev1.Node{}
}

// unfinished leaves out pods that hold nothing any more.
const unfinished = "status.phase!=Succeeded,status.phase!=Failed"

func watchPods(client *member.Core) (*cache.ListWatch, runtime.Object) {
	return &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
			options.FieldSelector = unfinished
			return client.Pods("").List(ctx, options)
		},
		WatchFuncWithContext: func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
			options.FieldSelector = unfinished
			return client.Pods("").Watch(ctx, options)
		},
	}, &corev1.Pod{}
}

func (s *shares) watch(ctx context.Context, client *member.Core) {
	source, kind := s.source(client)
	cache.NewReflectorWithOptions(source, kind, s, cache.ReflectorOptions{Name: "facts"}).RunWithContext(ctx)
}

func (s *shares) Add(object any) error    { return s.set(object) }
func (s *shares) Update(object any) error { return s.set(object) }
func (s *shares) Resync() error           { return nil }

func (s *shares) set(object any) error {
	uid, next, err := s.read(object)
	if err != nil {
		return err
	}
	s.tally.mu.Lock()
	s.replace(uid, next)
	s.tally.mu.Unlock()
	s.changed()
	return nil
}

// replace is called with the lock held.
func (s *shares) replace(uid types.UID, next share) {
	s.tally.count(uid, s.byUID[uid], -1)
	s.byUID[uid] = next
	s.tally.count(uid, next, 1)
}

func (s *shares) remove(uid types.UID) {
	s.tally.count(uid, s.byUID[uid], -1)
	delete(s.byUID, uid)
}

// Delete is told of what is gone.
func (s *shares) Delete(object any) error {
	uid, _, err := s.read(object)
	if err != nil {
		return err
	}
	s.tally.mu.Lock()
	s.remove(uid)
	s.tally.mu.Unlock()
	s.changed()
	return nil
}

// Replace takes in a whole list.
func (s *shares) Replace(list []any, _ string) error {
	listed := make(map[types.UID]share, len(list))
	for _, object := range list {
		uid, next, err := s.read(object)
		if err != nil {
			return err
		}
		listed[uid] = next
	}
	s.tally.mu.Lock()
	for uid := range s.byUID {
		if _, exists := listed[uid]; !exists {
			s.remove(uid)
		}
	}
	for uid, next := range listed {
		s.replace(uid, next)
	}
	s.listed = true
	s.tally.mu.Unlock()
	s.changed()
	return nil
}

// significant says whether a change of the facts is worth being published at once: anything but
// numbers that change by less than the threshold, and a node more or less always is.
func significant(before, after *linkv1.ClusterFacts, threshold float64) bool {
	if before.NodesTotal != after.NodesTotal || before.NodesReady != after.NodesReady ||
		before.KubernetesVersion != after.KubernetesVersion || before.ApiReady != after.ApiReady ||
		before.ApiReason != after.ApiReason || before.ApisComplete != after.ApisComplete || !sameAPIs(before.Apis, after.Apis) {
		return true
	}
	// What is requested counts in relation to what there is: 5 % of a nearly empty member is little.
	return moved(before.Allocatable, after.Allocatable, after.Allocatable, threshold) ||
		moved(before.Allocated, after.Allocated, after.Allocatable, threshold) ||
		moved(before.Allocating, after.Allocating, after.Allocatable, threshold)
}

func sameAPIs(before, after []*linkv1.ServedAPI) bool {
	if len(before) != len(after) {
		return false
	}
	for i, b := range before {
		a := after[i]
		if a.Group != b.Group || a.Version != b.Version || a.Kind != b.Kind || a.Resource != b.Resource || a.Namespaced != b.Namespaced {
			return false
		}
	}
	return true
}

func moved(before, after, whole map[string]string, threshold float64) bool {
	for _, names := range []map[string]string{before, after} {
		for name := range names {
			b, a := size(before[name]), size(after[name])
			scale := size(whole[name])
			if scale == 0 {
				scale = max(a, b)
			}
			if math.Abs(a-b) > 0 && math.Abs(a-b) >= threshold*scale {
				return true
			}
		}
	}
	return false
}

func size(quantity string) float64 {
	parsed, err := resource.ParseQuantity(quantity)
	if err != nil {
		return 0
	}
	return parsed.AsApproximateFloat64()
}
