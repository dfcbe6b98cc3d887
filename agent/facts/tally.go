package facts

import (
	"context"
	"fmt"
	"math"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/cache"
	podresources "k8s.io/component-helpers/resource"

	linkv1 "windlass.dev/windlass/api/link/v1"
)

// amounts are quantities by resource name: milli-units of cpu, units of everything else.
type amounts map[corev1.ResourceName]int64

func amountsOf(list corev1.ResourceList) amounts {
	a := make(amounts, len(list))
	for name, quantity := range list {
		if name == corev1.ResourceCPU {
			a[name] = quantity.MilliValue()
		} else {
			a[name] = quantity.Value()
		}
	}
	return a
}

func (a amounts) add(b amounts, sign int64) {
	for name, amount := range b {
		a[name] += sign * amount
		if a[name] == 0 {
			delete(a, name)
		}
	}
}

// quantities writes amounts as Kubernetes does.
func (a amounts) quantities() map[string]string {
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
	allocatable, allocated, allocating amounts
}

// tally is the sum over all nodes and pods, kept up to date as they change.
type tally struct {
	nodes, pods *shares

	mu  sync.Mutex
	sum share
}

func newTally(changed func()) *tally {
	t := &tally{sum: share{allocatable: amounts{}, allocated: amounts{}, allocating: amounts{}}}
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
		Allocatable: t.sum.allocatable.quantities(),
		Allocated:   t.sum.allocated.quantities(),
		Allocating:  t.sum.allocating.quantities(),
	}
}

// count adds a share to the sum, or takes it away. The caller holds the lock.
func (t *tally) count(s share, sign int32) {
	t.sum.nodes += sign * s.nodes
	t.sum.ready += sign * s.ready
	t.sum.allocatable.add(s.allocatable, int64(sign))
	t.sum.allocated.add(s.allocated, int64(sign))
	t.sum.allocating.add(s.allocating, int64(sign))
}

func nodeShare(object any) (types.UID, share, error) {
	node, ok := object.(*corev1.Node)
	if !ok {
		return "", share{}, fmt.Errorf("a watch of nodes delivered a %T", object)
	}
	s := share{nodes: 1, allocatable: amountsOf(node.Status.Allocatable)}
	for _, condition := range node.Status.Conditions {
		if condition.Type == corev1.NodeReady && condition.Status == corev1.ConditionTrue {
			s.ready = 1
		}
	}
	return node.UID, s, nil
}

func podShare(object any) (types.UID, share, error) {
	pod, ok := object.(*corev1.Pod)
	if !ok {
		return "", share{}, fmt.Errorf("a watch of pods delivered a %T", object)
	}
	requested := amountsOf(podresources.PodRequests(pod, podresources.PodResourcesOptions{}))
	requested[corev1.ResourcePods] = 1
	if pod.Spec.NodeName == "" {
		return pod.UID, share{allocating: requested}, nil
	}
	return pod.UID, share{allocated: requested}, nil
}

// shares are the shares of one kind; the reflector's store.
type shares struct {
	tally   *tally
	changed func()
	read    func(object any) (types.UID, share, error)
	source  func(corev1client.CoreV1Interface) (*cache.ListWatch, runtime.Object)

	byUID  map[types.UID]share
	listed bool
}

func newShares(t *tally, changed func(), read func(any) (types.UID, share, error),
	source func(corev1client.CoreV1Interface) (*cache.ListWatch, runtime.Object)) *shares {
	return &shares{tally: t, changed: changed, read: read, source: source, byUID: map[types.UID]share{}}
}

func watchNodes(client corev1client.CoreV1Interface) (*cache.ListWatch, runtime.Object) {
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

func watchPods(client corev1client.CoreV1Interface) (*cache.ListWatch, runtime.Object) {
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

func (s *shares) watch(ctx context.Context, client corev1client.CoreV1Interface) {
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
	s.tally.count(s.byUID[uid], -1)
	s.byUID[uid] = next
	s.tally.count(next, 1)
}

func (s *shares) remove(uid types.UID) {
	s.tally.count(s.byUID[uid], -1)
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
