package estimate

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	linkv1 "windlass.dev/windlass/api/link/v1"
	workv1alpha1 "windlass.dev/windlass/api/work/v1alpha1"
)

// amounts reads "cpu=2 memory=1Gi".
func amounts(text string) Amounts { return AmountsOf(list(text)) }

func list(text string) corev1.ResourceList {
	list := corev1.ResourceList{}
	for part := range strings.FieldsSeq(text) {
		name, quantity, _ := strings.Cut(part, "=")
		list[corev1.ResourceName(name)] = resource.MustParse(quantity)
	}
	return list
}

// node is a ready one with 110 places for pods.
func node(name, allocatable, requested string, change ...func(*Node)) *Node {
	n := &Node{Name: name, Ready: true, Allocatable: amounts("pods=110 " + allocatable), Requested: amounts(requested)}
	for _, change := range change {
		change(n)
	}
	return n
}

func labelled(labels map[string]string) func(*Node) { return func(n *Node) { n.Labels = labels } }

func tainted(taints ...corev1.Taint) func(*Node) { return func(n *Node) { n.Taints = taints } }

func compiled(t testing.TB, needs *workv1alpha1.ReplicaRequirements) *Need {
	t.Helper()
	need, err := Compile(Words(needs))
	if err != nil {
		t.Fatal(err)
	}
	return need
}

func requesting(text string) *workv1alpha1.ReplicaRequirements {
	return &workv1alpha1.ReplicaRequirements{ResourceRequest: list(text)}
}

func claiming(claim workv1alpha1.NodeClaim) *workv1alpha1.ReplicaRequirements {
	return &workv1alpha1.ReplicaRequirements{ResourceRequest: list("cpu=1"), NodeClaim: &claim}
}

func inZone(operator corev1.NodeSelectorOperator, values ...string) *corev1.NodeSelector {
	return &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{
		MatchExpressions: []corev1.NodeSelectorRequirement{{Key: "zone", Operator: operator, Values: values}},
	}}}
}

func TestHowManyReplicasFit(t *testing.T) {
	gpu := corev1.Taint{Key: "gpu", Value: "yes", Effect: corev1.TaintEffectNoSchedule}
	for _, c := range []struct {
		reason  string
		nodes   []*Node
		waiting []string
		needs   *workv1alpha1.ReplicaRequirements
		want    int64
	}{
		{"of each node the whole replicas count", []*Node{node("a", "cpu=4", "cpu=500m"), node("b", "cpu=4", "cpu=3")}, nil, requesting("cpu=1"), 3 + 1},
		{"what is left in pieces that are too small is no room", []*Node{node("a", "cpu=4", "cpu=2100m"), node("b", "cpu=4", "cpu=2100m")}, nil, requesting("cpu=2"), 0},
		{"the scarcest resource decides", []*Node{node("a", "cpu=8 memory=4Gi", "memory=1Gi")}, nil, requesting("cpu=1 memory=1Gi"), 3},
		{"places for pods count as well", []*Node{node("a", "cpu=100", "pods=108")}, nil, requesting("cpu=1"), 2},
		{"a workload that requests nothing is limited by places for pods", []*Node{node("a", "cpu=1", "cpu=1 pods=10")}, nil, nil, 100},
		{"a request of 0 is none", []*Node{node("a", "cpu=1", "pods=100")}, nil, requesting("cpu=0"), 10},
		{"an extended resource is one like any other", []*Node{node("a", "cpu=8 example.com/gpu=2", ""), node("b", "cpu=8", "")}, nil, requesting("cpu=1 example.com/gpu=1"), 2},
		{"huge pages, too", []*Node{node("a", "cpu=8 hugepages-2Mi=64Mi", "hugepages-2Mi=32Mi")}, nil, requesting("cpu=1 hugepages-2Mi=16Mi"), 2},
		{"a node on which more is requested than there is takes nothing away from others", []*Node{node("a", "cpu=1", "cpu=3"), node("b", "cpu=2", "")}, nil, requesting("cpu=1"), 2},
		{"a node that is not ready", []*Node{node("a", "cpu=4", "", func(n *Node) { n.Ready = false })}, nil, requesting("cpu=1"), 0},
		{"a node of which only a pod is known", []*Node{{Name: "a", Requested: amounts("cpu=1")}}, nil, nil, 0},
		{"a cordoned node", []*Node{node("a", "cpu=4", "", func(n *Node) { n.Unschedulable = true })}, nil, requesting("cpu=1"), 0},
		{"a cordoned node that is tolerated", []*Node{node("a", "cpu=4", "", func(n *Node) { n.Unschedulable = true })}, nil,
			claiming(workv1alpha1.NodeClaim{Tolerations: []corev1.Toleration{{Operator: corev1.TolerationOpExists}}}), 4},
		{"a tainted node", []*Node{node("a", "cpu=4", "", tainted(gpu)), node("b", "cpu=1", "")}, nil, requesting("cpu=1"), 1},
		{"a tainted node that is tolerated", []*Node{node("a", "cpu=4", "", tainted(gpu))}, nil,
			claiming(workv1alpha1.NodeClaim{Tolerations: []corev1.Toleration{{Key: "gpu", Value: "yes"}}}), 4},
		{"of two taints both have to be tolerated", []*Node{node("a", "cpu=4", "", tainted(gpu, corev1.Taint{Key: "other", Effect: corev1.TaintEffectNoExecute}))}, nil,
			claiming(workv1alpha1.NodeClaim{Tolerations: []corev1.Toleration{{Key: "gpu", Value: "yes"}}}), 0},
		{"a node selector", []*Node{node("a", "cpu=4", "", labelled(map[string]string{"zone": "1"})), node("b", "cpu=1", "")}, nil,
			claiming(workv1alpha1.NodeClaim{NodeSelector: map[string]string{"zone": "1"}}), 4},
		{"node affinity", []*Node{node("a", "cpu=4", "", labelled(map[string]string{"zone": "1"})), node("b", "cpu=1", "", labelled(map[string]string{"zone": "2"}))}, nil,
			claiming(workv1alpha1.NodeClaim{HardNodeAffinity: inZone(corev1.NodeSelectorOpNotIn, "1", "3")}), 1},
		{"node affinity by name", []*Node{node("a", "cpu=4", ""), node("b", "cpu=1", "")}, nil,
			claiming(workv1alpha1.NodeClaim{HardNodeAffinity: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{
				MatchFields: []corev1.NodeSelectorRequirement{{Key: "metadata.name", Operator: corev1.NodeSelectorOpIn, Values: []string{"b"}}},
			}}}}), 1},
		{"node affinity without terms admits no node", []*Node{node("a", "cpu=4", "")}, nil, claiming(workv1alpha1.NodeClaim{HardNodeAffinity: &corev1.NodeSelector{}}), 0},

		{"what waits for a node gets one first", []*Node{node("a", "cpu=4", ""), node("b", "cpu=4", "")}, []string{"pods=1 cpu=2", "pods=1 cpu=1"}, requesting("cpu=1"), 5},
		{"it takes whole replicas", []*Node{node("a", "cpu=4", "")}, []string{"pods=1 cpu=100m"}, requesting("cpu=1"), 3},
		{"small ones that wait take a replica together", []*Node{node("a", "cpu=4", "")}, []string{"pods=1 cpu=100m", "pods=1 cpu=100m"}, requesting("cpu=1"), 3},
		{"what waits takes places for pods", []*Node{node("a", "cpu=4", "pods=100")}, []string{"pods=1", "pods=1"}, nil, 8},
		{"what no node could take waits for ever, and takes nothing", []*Node{node("a", "cpu=4", "cpu=1"), node("b", "cpu=4", "")}, []string{"pods=1 cpu=5", "pods=1 example.com/gpu=1"}, requesting("cpu=1"), 7},
		{"what waits and requests something else takes a place only", []*Node{node("a", "cpu=4 memory=4Gi", "")}, []string{"pods=1 memory=4Gi"}, requesting("cpu=1"), 4},
		{"more can't wait than there is", []*Node{node("a", "cpu=1", "")}, []string{"pods=1 cpu=1", "pods=1 cpu=1"}, requesting("cpu=1"), 0},
	} {
		cluster := Cluster{Nodes: slices.Values(c.nodes), Waiting: waiting(c.waiting)}
		if got := cluster.Room(compiled(t, c.needs))[0].Replicas; got != c.want {
			t.Errorf("%s: room for %d, want %d", c.reason, got, c.want)
		}
	}
}

func waiting(pods []string) func(func(Amounts) bool) {
	var all []Amounts
	for _, pod := range pods {
		all = append(all, amounts(pod))
	}
	return slices.Values(all)
}

func TestRoomInSumsKnowsNoPieces(t *testing.T) {
	for _, c := range []struct {
		reason                             string
		allocatable, allocated, allocating string
		needs                              *workv1alpha1.ReplicaRequirements
		want                               int64
		known                              bool
	}{
		{"what is requested is taken off", "cpu=10 pods=110", "cpu=3 pods=3", "", requesting("cpu=2"), 3, true},
		{"what waits as well", "cpu=10 pods=110", "cpu=3 pods=3", "cpu=2 pods=1", requesting("cpu=2"), 2, true},
		{"without requests the places for pods are left", "cpu=10 pods=110", "pods=100", "pods=1", nil, 9, true},
		{"a resource that the cluster lacks", "cpu=10 pods=110", "", "", requesting("example.com/gpu=1"), 0, true},
		{"more requested than there is", "cpu=10 pods=110", "cpu=12", "", requesting("cpu=1"), 0, true},
		{"nothing said", "", "", "", requesting("cpu=1"), 0, false},
	} {
		got, known := RoomInSum(list(c.allocatable), list(c.allocated), list(c.allocating), compiled(t, c.needs))
		if got.Replicas != c.want || known != c.known {
			t.Errorf("%s: room for %d (known: %v), want %d (%v)", c.reason, got.Replicas, known, c.want, c.known)
		}
	}
}

// slowRoom places replicas one by one, and gives back one after the other until what waits has what it requests.
func slowRoom(nodes []*Node, waits []Amounts, request Amounts, admits func(*Node) bool) int64 {
	var replicas, slots int64
	has := func(n *Node, used, want Amounts) bool {
		for name, amount := range want {
			if n.Requested[name]+used[name]+amount > n.Allocatable[name] {
				return false
			}
		}
		return true
	}
	for _, n := range nodes {
		if !admits(n) {
			continue
		}
		pod := Amounts{corev1.ResourcePods: 1}
		for used := (Amounts{}); has(n, used, pod); used.Add(pod, 1) {
			slots++
		}
		one := Amounts{corev1.ResourcePods: 1}
		one.Add(request, 1)
		for used := (Amounts{}); has(n, used, one); used.Add(one, 1) {
			replicas++
		}
	}
	wanted := Amounts{}
	for _, pod := range waits {
		possible := true
		for name, amount := range pod {
			possible = possible && slices.ContainsFunc(nodes, func(n *Node) bool { return n.usable() && n.free(name) >= amount })
		}
		if possible {
			wanted.Add(pod, 1)
		}
	}
	slots -= wanted[corev1.ResourcePods]
	given := Amounts{}
	for replicas > 0 {
		enough := true
		for name := range request {
			enough = enough && given[name] >= wanted[name]
		}
		if enough {
			break
		}
		given.Add(request, 1)
		replicas--
	}
	return max(min(replicas, slots), 0)
}

func TestTheRoomIsThatOfAReferenceThatPlacesOneByOne(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	zones := []string{"1", "2", "3"}
	draw := func(most int64, names ...string) Amounts {
		a := Amounts{}
		for _, name := range names {
			if n := random.Int64N(most + 1); n > 0 {
				a[corev1.ResourceName(name)] = n
			}
		}
		return a
	}
	for range 5000 {
		var nodes []*Node
		for i := range random.IntN(6) {
			nodes = append(nodes, &Node{
				Name: fmt.Sprint(i), Ready: random.IntN(8) > 0, Unschedulable: random.IntN(8) == 0, Labels: map[string]string{"zone": zones[random.IntN(3)]},
				Allocatable: draw(30, "cpu", "memory", "gpu", "pods"), Requested: draw(12, "cpu", "memory", "gpu", "pods"),
			})
		}
		var waits []Amounts
		for range random.IntN(4) {
			pod := draw(8, "cpu", "memory", "gpu")
			pod[corev1.ResourcePods] = 1
			waits = append(waits, pod)
		}
		request := draw(5, "cpu", "memory", "gpu")
		zone := zones[random.IntN(3)]
		needs := &linkv1.Requirements{Requests: map[string]string{}, NodeSelector: map[string]string{"zone": zone}}
		for name, amount := range request {
			needs.Requests[string(name)] = fmt.Sprint(amount)
			if name == corev1.ResourceCPU {
				needs.Requests[string(name)] += "m"
			}
		}
		need, err := Compile(needs)
		if err != nil {
			t.Fatal(err)
		}
		got := Cluster{Nodes: slices.Values(nodes), Waiting: slices.Values(waits)}.Room(need)[0].Replicas
		want := slowRoom(nodes, waits, request, func(n *Node) bool { return n.Ready && !n.Unschedulable && n.Labels["zone"] == zone })
		if got != want {
			t.Fatalf("room for %d, the reference places %d: request %v, zone %s, waiting %v\n%s", got, want, request, zone, waits, cmp.Diff([]*Node(nil), nodes))
		}
	}
}

func TestReplicasOfTheSameNeedTakeTheirOwnNumber(t *testing.T) {
	need := compiled(t, requesting("cpu=300m memory=100Mi"))
	if got := (Room{Replicas: 20, Slots: 50}).Without(need, need.Times(7)); got != (Room{Replicas: 13, Slots: 43}) {
		t.Errorf("left is %v", got)
	}
}

func TestNothingOverflows(t *testing.T) {
	huge := requesting("cpu=9223372036854775807 memory=9223372036854775807 pods=9223372036854775807")
	need := compiled(t, huge)
	sum := need.Times(1 << 40)
	for range 3 {
		sum.Add(need.Times(1<<62), 1)
	}
	room := Room{Replicas: 1 << 40, Slots: 1 << 40}.Without(compiled(t, requesting("cpu=1m")), sum)
	if room.Replicas != 0 {
		t.Errorf("after more than there can be is taken, there is room for %d", room.Replicas)
	}
	nodes := []*Node{node("a", "cpu=9223372036854775807", ""), node("b", "cpu=9223372036854775807", "")}
	for _, n := range nodes {
		n.Allocatable[corev1.ResourcePods] = 1 << 62
	}
	if room := (Cluster{Nodes: slices.Values(nodes), Waiting: waiting(nil)}).Room(compiled(t, nil))[0]; room.Replicas != 2*mostOnNode {
		t.Errorf("nodes without a limit have room for %d", room.Replicas)
	}
}

func TestRequirementsThatCannotBeReadAreErrors(t *testing.T) {
	for _, c := range []struct {
		want  string
		words *linkv1.Requirements
	}{
		{`requests[cpu]: "much" is no quantity`, &linkv1.Requirements{Requests: map[string]string{"cpu": "much"}}},
		{"requests[cpu]: -1 is less than 0", &linkv1.Requirements{Requests: map[string]string{"cpu": "-1"}}},
		{"nodeAffinity: ", &linkv1.Requirements{NodeAffinity: &linkv1.NodeAffinity{Terms: []*linkv1.NodeSelectorTerm{{
			Expressions: []*linkv1.NodeSelectorRequirement{{Key: "zone", Operator: "Resembles", Values: []string{"1"}}},
		}}}}},
	} {
		if _, err := Compile(c.words); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: got %v, want %q", c.words, err, c.want)
		}
	}
}

func TestTolerationsMeanWhatTheyMeanInKubernetes(t *testing.T) {
	for _, c := range []struct {
		toleration corev1.Toleration
		taint      corev1.Taint
		want       bool
	}{
		{corev1.Toleration{Key: "a", Value: "1"}, corev1.Taint{Key: "a", Value: "1", Effect: "NoSchedule"}, true},
		{corev1.Toleration{Key: "a", Value: "2"}, corev1.Taint{Key: "a", Value: "1", Effect: "NoSchedule"}, false},
		{corev1.Toleration{Key: "b", Operator: "Exists"}, corev1.Taint{Key: "a", Effect: "NoSchedule"}, false},
		{corev1.Toleration{Operator: "Exists", Effect: "NoExecute"}, corev1.Taint{Key: "a", Effect: "NoSchedule"}, false},
		{corev1.Toleration{Operator: "Exists"}, corev1.Taint{Key: "a", Effect: "NoExecute"}, true},
		{corev1.Toleration{Key: "age", Operator: "Lt", Value: "10"}, corev1.Taint{Key: "age", Value: "9", Effect: "NoSchedule"}, true},
		{corev1.Toleration{Key: "age", Operator: "Lt", Value: "10"}, corev1.Taint{Key: "age", Value: "10", Effect: "NoSchedule"}, false},
		{corev1.Toleration{Key: "age", Operator: "Gt", Value: "10"}, corev1.Taint{Key: "age", Value: "11", Effect: "NoSchedule"}, true},
		{corev1.Toleration{Key: "age", Operator: "Gt", Value: "10"}, corev1.Taint{Key: "age", Value: "old", Effect: "NoSchedule"}, false},
		{corev1.Toleration{Key: "a", Operator: "Resembles"}, corev1.Taint{Key: "a", Effect: "NoSchedule"}, false},
	} {
		if got := tolerates(&c.toleration, &c.taint); got != c.want {
			t.Errorf("%v and %v: got %v", c.toleration, c.taint, got)
		}
	}
}

// fleet is a thousand nodes, half full.
func fleet() []*Node {
	var nodes []*Node
	for i := range 1000 {
		nodes = append(nodes, node(fmt.Sprint("node-", i), "cpu=16 memory=64Gi ephemeral-storage=100Gi", "cpu=7300m memory=31Gi pods=40",
			labelled(map[string]string{"zone": fmt.Sprint(i % 3), "kubernetes.io/os": "linux", "kubernetes.io/hostname": fmt.Sprint("node-", i)})))
	}
	return nodes
}

func BenchmarkRoomOnAThousandNodes(b *testing.B) {
	nodes := fleet()
	full := claiming(workv1alpha1.NodeClaim{HardNodeAffinity: inZone(corev1.NodeSelectorOpIn, "1", "2"), NodeSelector: map[string]string{"kubernetes.io/os": "linux"}})
	full.ResourceRequest = list("cpu=500m memory=1Gi")
	var waits []Amounts
	for range 100 {
		waits = append(waits, amounts("cpu=1 memory=1Gi pods=1"))
	}
	for _, c := range []struct {
		name    string
		needs   *workv1alpha1.ReplicaRequirements
		waiting []Amounts
	}{
		{"requests", requesting("cpu=500m memory=1Gi"), nil},
		{"requests and affinity", full, nil},
		{"requests and 100 that wait", requesting("cpu=500m memory=1Gi"), waits},
	} {
		b.Run(c.name, func(b *testing.B) {
			need := compiled(b, c.needs)
			cluster := Cluster{Nodes: slices.Values(nodes), Waiting: slices.Values(c.waiting)}
			b.ReportAllocs()
			for b.Loop() {
				cluster.Room(need)
			}
		})
	}
}
