package eviction_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/utils/ptr"

	clusterv1alpha1 "windlass.dev/windlass/api/cluster/v1alpha1"
	policyv1alpha1 "windlass.dev/windlass/api/policy/v1alpha1"
	workv1alpha1 "windlass.dev/windlass/api/work/v1alpha1"
	"windlass.dev/windlass/pkg/evict"
	"windlass.dev/windlass/pkg/schedule"
)

// history is one workload, with the decisions of eviction and scheduling alone, on a hub of three clusters, whose scheduler may be behind in what it knows of their taints.
type history struct {
	t         *testing.T
	random    *rand.Rand
	now       time.Time
	clusters  map[string]*clusterv1alpha1.MemberCluster
	fleet     *schedule.Fleet // as the scheduler knows it
	placement *schedule.Placement
	binding   *workv1alpha1.PropagationBinding
	works     map[string]bool // by cluster, whether what it holds is healthy
	steps     []string
}

var names = []string{"a", "b", "c"}

func newHistory(t *testing.T, random *rand.Rand) *history {
	h := &history{t: t, random: random, now: time.Unix(1000, 0), clusters: map[string]*clusterv1alpha1.MemberCluster{}, works: map[string]bool{}}
	for _, name := range names {
		h.clusters[name] = &clusterv1alpha1.MemberCluster{ObjectMeta: metav1.ObjectMeta{Name: name}, Status: clusterv1alpha1.ClusterStatus{
			Conditions:     []metav1.Condition{{Type: clusterv1alpha1.ClusterJoined, Status: metav1.ConditionTrue}, {Type: clusterv1alpha1.ClusterCompleteAPIEnablements, Status: metav1.ConditionTrue}},
			APIEnablements: []clusterv1alpha1.APIEnablement{{GroupVersion: "apps/v1", Resources: []clusterv1alpha1.APIResource{{Kind: "Deployment"}}}},
		}}
	}
	spec := &policyv1alpha1.Placement{ClusterTolerations: []corev1.Toleration{
		{Key: "brief", Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoExecute, TolerationSeconds: ptr.To[int64](30)}}}
	if random.IntN(2) == 0 {
		spec.ReplicaScheduling = &policyv1alpha1.ReplicaSchedulingStrategy{ReplicaSchedulingType: policyv1alpha1.ReplicaSchedulingDivided}
	}
	var err error
	if h.placement, err = schedule.Compile(spec); err != nil {
		t.Fatal(err)
	}
	h.binding = &workv1alpha1.PropagationBinding{Spec: workv1alpha1.BindingSpec{Replicas: ptr.To[int32](6), Placement: spec}}
	h.binding.Generation = 1
	h.learn()
	h.place()
	h.report()
	return h
}

// learn is when the scheduler hears of the clusters as they are.
func (h *history) learn() {
	var compiled []*schedule.Cluster
	for _, name := range names {
		compiled = append(compiled, schedule.CompileCluster(h.clusters[name].DeepCopy()))
	}
	h.fleet = schedule.NewFleet(compiled)
}

// place is the scheduler's decision, and what the binding controller does about it.
func (h *history) place() {
	spec, status := &h.binding.Spec, &h.binding.Status
	decision := schedule.Decide(schedule.Facts{
		Template: schedule.Template{Kind: schema.GroupVersionKind{Group: "apps", Version: "v1", Kind: "Deployment"}, UID: "u"},
		Replicas: spec.Replicas, Placement: h.placement, Fleet: h.fleet, Current: evict.Has(spec), Leaving: evict.Leaving(spec),
	})
	if !equality.Semantic.DeepEqual(spec.Clusters, decision.Clusters) {
		spec.Clusters = decision.Clusters
		h.binding.Generation++
	}
	status.SchedulerObservedGeneration, status.LastScheduledTime = h.binding.Generation, ptr.To(metav1.NewTime(h.now))
	scheduled := metav1.Condition{Type: workv1alpha1.BindingScheduled, Status: metav1.ConditionFalse, Reason: decision.Reason, Message: decision.Message}
	if decision.Scheduled {
		scheduled.Status = metav1.ConditionTrue
	}
	meta.SetStatusCondition(&status.Conditions, scheduled)
	wanted := map[string]bool{}
	for _, target := range spec.Clusters {
		wanted[target.Name] = true
		if _, has := h.works[target.Name]; !has {
			h.works[target.Name] = false
		}
	}
	for _, task := range spec.GracefulEvictionTasks {
		wanted[task.FromCluster] = true
	}
	for name := range h.works {
		if !wanted[name] {
			delete(h.works, name)
		}
	}
}

// report is when the members say how they are and the hub adds it up.
func (h *history) report() {
	sum := workv1alpha1.ClusterSummary{}
	for name := range h.works {
		h.works[name] = h.works[name] || h.random.IntN(3) > 0 || len(h.steps) == 0
	}
	for _, target := range h.binding.Spec.Clusters {
		sum.Clusters++
		sum.Applied++
		switch {
		case h.works[target.Name]:
			sum.Healthy++
		case h.random.IntN(2) == 0: // otherwise nobody says how it is
			sum.Unhealthy++
		}
	}
	h.binding.Status.Summary = sum
	meta.SetStatusCondition(&h.binding.Status.Conditions, metav1.Condition{
		Type: workv1alpha1.BindingFullyApplied, Status: metav1.ConditionTrue, Reason: "x", ObservedGeneration: h.binding.Generation})
}

// evict is the eviction controller's turn; its write is placed like every other.
func (h *history) evict() {
	decision := evict.Decide(evict.Facts{
		Binding: h.binding, Claimed: true, Cluster: func(name string) *clusterv1alpha1.MemberCluster { return h.clusters[name] },
		Grace: time.Second, Now: h.now,
	})
	if !equality.Semantic.DeepEqual(h.binding.Spec.GracefulEvictionTasks, decision.Tasks) {
		h.binding.Spec.GracefulEvictionTasks = decision.Tasks
		h.binding.Generation++
		h.place()
	}
}

func (h *history) taint() string {
	cluster := h.clusters[names[h.random.IntN(len(names))]]
	cluster.Spec.Taints = nil
	for _, key := range []string{"drain", "brief", "cordon"} {
		if h.random.IntN(4) == 0 {
			effect := corev1.TaintEffectNoExecute
			if key == "cordon" {
				effect = corev1.TaintEffectNoSchedule
			}
			cluster.Spec.Taints = append(cluster.Spec.Taints, corev1.Taint{Key: key, Effect: effect, TimeAdded: ptr.To(metav1.NewTime(h.now))})
		}
	}
	return fmt.Sprintf("taint %s %v", cluster.Name, cluster.Spec.Taints)
}

func (h *history) step() {
	h.now = h.now.Add(time.Duration(h.random.IntN(20)) * time.Second)
	said := ""
	switch h.random.IntN(6) {
	case 0:
		said = h.taint()
	case 1:
		h.learn()
		h.place()
		said = "the scheduler learns"
	case 2:
		h.report()
		said = "report"
	default:
		h.evict()
		said = "evict"
	}
	h.steps = append(h.steps, fmt.Sprintf("%s: clusters %v, leaving %v, works %v", said, h.binding.Spec.Clusters, evict.Leaving(&h.binding.Spec), h.works))
}

func (h *history) healthy() int {
	n := 0
	for _, healthy := range h.works {
		if healthy {
			n++
		}
	}
	return n
}

func TestWhateverHappensToTaintsAHealthyCopyIsLeftAndAnEvictionEnds(t *testing.T) {
	random := rand.New(rand.NewPCG(11, 12))
	for range 2000 {
		h := newHistory(t, random)
		for range 60 {
			h.step()
			if h.healthy() == 0 {
				t.Fatalf("no healthy copy is left:\n%s", lines(h.steps))
			}
		}
		// When nothing changes any more and everybody reports, nothing is left to do.
		for range 20 {
			h.now = h.now.Add(time.Minute)
			h.learn()
			h.place()
			h.report()
			h.evict()
		}
		for _, name := range evict.Leaving(&h.binding.Spec) {
			if !slices.ContainsFunc(h.binding.Spec.Clusters, func(c workv1alpha1.TargetCluster) bool { return c.Name == name }) {
				t.Fatalf("it goes on leaving %s although it has another place: clusters %v, works %v\n%s", name, h.binding.Spec.Clusters, h.works, lines(h.steps))
			}
		}
		for name := range h.works {
			if !slices.ContainsFunc(h.binding.Spec.Clusters, func(c workv1alpha1.TargetCluster) bool { return c.Name == name }) {
				t.Fatalf("a copy is left in %s: clusters %v\n%s", name, h.binding.Spec.Clusters, lines(h.steps))
			}
		}
	}
}

func lines(steps []string) string {
	text := ""
	for _, step := range steps {
		text += step + "\n"
	}
	return text
}
