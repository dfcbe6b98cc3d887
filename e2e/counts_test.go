package e2e

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"windlass.dev/windlass/e2e/fleet"
)

// patient is a hub that never writes a status which is still moving, however slow the machine is: so
// its writes can be counted to the last one. A policy's status is written by time and not for an object,
// at least policyStatusInterval after the write before: so only its first word is, about the first object.
const patient = `
controllers:
  clusterGrace: 2s
  statusSettle: 1h
  policyStatusInterval: 1h
link:
  heartbeatInterval: 1s
  heartbeatTimeout: 4s
`

// countedObjects go to countedMembers, come back as reports, and are deleted again.
const (
	countedObjects = 20
	countedMembers = 2
	countedWorks   = countedObjects * countedMembers

	// races is room for attempts that lost one: they are counted among the writes, and change nothing. So are the
	// few ConfigMaps that the API server writes for itself. One more write for each object is twice that.
	races = countedObjects / 2
)

// countedChanges are what the store has to keep of the whole scenario, as its revision counts it: every put and
// deletion that came about, and no attempt that lost a race.
const (
	countedChanges = countedObjects*(2+4) + countedWorks*4
	// policyWrites is room for that first word, which may come when counting has begun; about the objects that
	// are counted there is none within the hour.
	policyWrites = 1
	// idleChanges is room for what a hub writes with nothing to do, such as its lease: some 12 in a minute.
	idleChanges = countedObjects * 3 / 4
)

// A cost is one kind of what the whole scenario may cost the hub.
type cost struct {
	counter string // of /metrics, summed over the series that match
	most    int
	what    string // every one of them, in a word
}

// costs are the budget: 3 puts for each object and member, 3 for each object, besides the user's own.
// A change that raises a number has found another reason to write, and has to be worth it: at 1,000
// members every put for each object and member is 1,000 puts.
var costs = []cost{
	{writes("configmaps", "create", "update"), countedObjects + races, "the user's own apply (a create, which counts as an update), the claim included"},
	{writes("configmaps", "delete"), countedObjects, "the user's own"},
	{reads("configmaps"), 3*countedObjects + races, "the user's own: two for the apply, one for the deletion; the hub asks about nothing that its watch has told"},
	{writes("propagationbindings", "create"), countedObjects + races, "the binding, with its clusters and Scheduled"},
	{writes("propagationbindings", "update"), 2*countedObjects + 2*races, "the aggregated status; the mark of deletion"},
	{writes("propagationbindings", "delete"), countedObjects + races, "the finalizer's end"},
	{writes("propagationworks", "create"), countedWorks + races, "the work"},
	{writes("propagationworks", "update"), 2*countedWorks + 2*races, "its status; the mark of deletion with the cause, which may meet the status"},
	{writes("propagationworks", "delete"), countedWorks + races, "the finalizer's end"},
	{reads("propagationworks"), races, "none is read before it is marked or ends: the cache shows it"},
	{writes("propagationpolicies", "create", "update", "delete"), policyWrites, "what the first object has to say of its policy"},
	{writes("events", "create", "update"), 0, "nothing went wrong"},
	{writes("memberclusters", "create", "update"), 2 * countedMembers, "what a cluster says of itself after the hub's restart; nothing for any object"},
	{writes("namespaces", "create", "update"), 0, "the test's own namespace is there before"},

	{messages("works", "out"), 2 * countedWorks, "the work; its removal"},
	{bytes("works", "out"), 510 * countedWorks, "a manifest of 100 bytes with what the hub adds; the name of what is removed"},
	{bytes("reports", "in"), 350 * countedWorks, "what was done, and when"},
	{messages("works", "in"), 2 * countedWorks, "both acknowledged"},
	{messages("reports", "in"), 2 * countedWorks, "applied and healthy; removed"},
	{messages("reports", "out"), 2 * countedWorks, "both recorded"},
	{messages("questions", ".*"), 0, "nobody asked"},
	{messages("session", ".*"), 0, "nobody came or went"},
	{messages("unknown", ".*"), 0, "one version only"},

	{`windlass_agent_applied_total`, countedWorks, "server-side apply, once"},
	{`windlass_agent_drift_corrections_total`, 0, "nobody touched it"},
	{`windlass_agent_apply_failures_total\{.*`, 0, "nothing failed"},
}

// writes are requests of the API server to etcd: a put, or a deletion.
func writes(resource string, operations ...string) string {
	return fmt.Sprintf(`etcd_request_duration_seconds_count\{.*operation="(%s)",resource="%s"\}`, strings.Join(operations, "|"), resource)
}

// reads are requests of the API server to etcd for one object.
func reads(resource string) string { return writes(resource, "get") }

func bytes(family, direction string) string {
	return fmt.Sprintf(`windlass_hub_link_bytes_total\{direction="%s",family="%s"\}`, direction, family)
}

func messages(family, direction string) string {
	return fmt.Sprintf(`windlass_hub_link_messages_total\{direction="%s",family="%s"\}`, direction, family)
}

const settingsPolicy = `
apiVersion: policy.karmada.io/v1alpha1
kind: PropagationPolicy
metadata: {name: settings, namespace: NAMESPACE}
spec:
  resourceSelectors:
  - {apiVersion: v1, kind: ConfigMap}
  placement:
    clusterAffinity: {clusterNames: [member1, member2]}
`

// An object costs the store and the link what was agreed, from its creation to its end, and not one
// write or message more.
func TestAnObjectCostsTheStoreAndTheLinkWhatWasAgreed(t *testing.T) {
	f := fleet.Shared(t)
	f.RestartHubWith(t, patient)
	f.AwaitReady(t)
	namespace := f.Hub().Namespace(t)
	f.Hub().Apply(t, fill(namespace, settingsPolicy))
	// The first object of a namespace, and of a kind, costs what no other does: it is not counted.
	first := configMap(namespace, "first")
	propagate(t, f, first)

	f.Hub().NothingLeaves(t, "Namespace") // of what earlier tests have left, which is written, too

	before, revision := counters(t, f), storeRevision(t, f, first)
	var objects []fleet.Object
	for i := range countedObjects {
		objects = append(objects, configMap(namespace, fmt.Sprintf("settings-%d", i)))
	}
	propagate(t, f, objects...)
	for _, object := range objects {
		f.Hub().Delete(t, object)
	}
	for _, object := range objects {
		f.Hub().EventuallyGone(t, fleet.Binding(object))
		for _, member := range f.Members() {
			member.EventuallyGone(t, object)
		}
	}
	spent, changes := counters(t, f).since(before), storeRevision(t, f, first)-revision
	if changes < countedChanges || changes > countedChanges+policyWrites+idleChanges {
		t.Errorf("the store was changed %d times; agreed are %d for the objects: for each a create and a deletion, "+
			"and its binding's create, status, mark and deletion; for each of its works a create, a status, a mark and a deletion", changes, countedChanges)
	}

	spent.keepsTo(t, costs)
}

// keepsTo says what costs more than was agreed.
func (s spending) keepsTo(t *testing.T, agreed []cost) {
	t.Helper()
	for _, c := range agreed {
		got := s.sum(c.counter)
		if got > c.most {
			t.Errorf("%s: %d of them, and not more than %d were agreed: %s", c.counter, got, c.most, c.what)
		}
		// Of these there is one at least for each object or work; what is allowed less often may not come at all.
		if c.most >= 2*races && got == 0 {
			t.Errorf("%s: none: has the counter another name now?", c.counter)
		}
	}
	if t.Failed() {
		t.Logf("all that was spent:\n%s", s)
	}
}

// updateCosts are the budget of an update of each object: what is well everywhere stays so, and no binding has anything new to say.
var updateCosts = []cost{
	{writes("configmaps", "create", "update"), countedObjects + races, "the user's own patch"},
	{writes("configmaps", "delete"), 0, "nothing is deleted"},
	{writes("propagationbindings", "create", "update", "delete"), races, "its clusters and its status stay as they are"},
	{writes("propagationworks", "create", "delete"), 0, "the works are there"},
	{writes("propagationworks", "update"), 2*countedWorks + races, "the new content; its status"},
	{reads("propagationworks"), races, "the cache shows it"},
	{writes("propagationpolicies", "create", "update", "delete"), policyWrites, "nothing is new of it"},
	{writes("events", "create", "update"), 0, "nothing went wrong"},
	{writes("memberclusters", "create", "update"), 2 * countedMembers, "nothing for any object"},

	{messages("works", "out"), countedWorks, "the new content"},
	{bytes("works", "out"), 400 * countedWorks, "a manifest of 100 bytes with what the hub adds"},
	{messages("works", "in"), countedWorks, "acknowledged"},
	{messages("reports", "in"), countedWorks + races, "applied, and healthy; one of before may come late"},
	{bytes("reports", "in"), 250 * countedWorks, "what was done, and when"},
	{messages("reports", "out"), countedWorks + races, "recorded; one of before may come late"},
	{messages("questions", ".*"), 0, "nobody asked"},
	{messages("session", ".*"), 0, "nobody came or went"},
	{`windlass_agent_applied_total`, countedWorks, "server-side apply, once"},
	{`windlass_agent_drift_corrections_total`, 0, "nobody touched it"},
	{`windlass_agent_apply_failures_total\{.*`, 0, "nothing failed"},
}

// An update costs one write of each work and one of what its cluster says of it, and nothing for what stays as it is.
func TestAnUpdateCostsTheStoreAndTheLinkWhatWasAgreed(t *testing.T) {
	f, _, objects := standing(t)

	before, revision := counters(t, f), storeRevision(t, f, objects[0])
	for _, object := range objects {
		f.Hub().Patch(t, object, `{"data": {"greeting": "good morning"}}`)
	}
	const agreed = countedObjects + 2*countedWorks
	if err := eventually(t.Context(), func() error {
		if changes := storeRevision(t, f, objects[0]) - revision; changes < agreed {
			return fmt.Errorf("the store was changed %d times; agreed are %d: of each object, and of each of its works the content and the status", changes, agreed)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	for _, object := range objects {
		for _, member := range f.Members() {
			member.Eventually(t, object, fleet.Field("data.greeting", "good morning"))
		}
	}
	if changes := storeRevision(t, f, objects[0]) - revision; changes > agreed+policyWrites+idleChanges {
		t.Errorf("the store was changed %d times, and %d were agreed", changes, agreed)
	}
	counters(t, f).since(before).keepsTo(t, updateCosts)
}

const deploymentsPolicy = `
apiVersion: policy.karmada.io/v1alpha1
kind: PropagationPolicy
metadata: {name: deployments, namespace: NAMESPACE}
spec:
  resourceSelectors:
  - {apiVersion: apps/v1, kind: Deployment}
  placement:
    clusterAffinity: {clusterNames: [member1, member2]}
`

// movingObjects are Deployments that start in every member.
const movingObjects = 10

// movingCosts are the budget of Deployments from their creation to their end, on a hub that waits until they are well.
var movingCosts = []cost{
	{writes("deployments", "create", "update"), 2*movingObjects + movingRaces, "the user's own apply, the claim included; its status when all is well"},
	{writes("propagationbindings", "create"), movingObjects, "the binding, with its clusters and Scheduled"},
	{writes("propagationbindings", "update"), 2*movingObjects + movingRaces, "the status when all is well; the mark of deletion"},
	{writes("propagationworks", "create"), movingObjects * countedMembers, "the work"},
	{messages("works", "out"), 2 * movingObjects * countedMembers, "the work; its removal: that it starts changes nothing of what is wanted"},
	{`windlass_agent_applied_total`, movingObjects * countedMembers, "server-side apply, once"},
	{`windlass_agent_drift_corrections_total`, 0, "what the member's controllers write is no drift"},
}

const (
	// movingRaces is room for attempts that lost a race; one more write for each object is twice that.
	movingRaces = movingObjects / 2
	// idleMoving is room for what a hub writes with nothing to do while they start. One more change for each object is more.
	idleMoving = movingObjects * 3 / 4
)

// A Deployment that starts says something new again and again. What its works keep of that costs a write for each report, and its binding
// and its template none, until all is well.
func TestADeploymentThatStartsCostsWhatWasAgreed(t *testing.T) {
	f := fleet.Shared(t)
	f.RestartHubWith(t, patient)
	f.AwaitReady(t)
	namespace := f.Hub().Namespace(t)
	f.Hub().Apply(t, fill(namespace, deploymentsPolicy))
	named := func(i int) fleet.Object { return deployment(namespace, fmt.Sprintf("moving-%d", i)) }
	start := func(i int) {
		f.Hub().Apply(t, fill(namespace, fmt.Sprintf(`
apiVersion: apps/v1
kind: Deployment
metadata: {name: moving-%d, namespace: NAMESPACE}
spec:
  replicas: 3
  selector: {matchLabels: {app: moving-%[1]d}}
  template:
    metadata: {labels: {app: moving-%[1]d}}
    spec: {containers: [{name: a, image: registry.example/a:1}]}
`, i)))
	}
	ready := func(i int) {
		f.Hub().Eventually(t, named(i), fleet.Field("status.readyReplicas", int64(3*countedMembers)))
	}
	// The first of a namespace, and of a kind, costs what no other does.
	start(0)
	ready(0)
	f.Hub().NothingLeaves(t, "Namespace")

	before, revision := counters(t, f), storeRevision(t, f, named(0))
	for i := range movingObjects {
		start(i + 1)
	}
	for i := range movingObjects {
		ready(i + 1)
	}
	for i := range movingObjects {
		f.Hub().Delete(t, named(i+1))
	}
	for i := range movingObjects {
		f.Hub().EventuallyGone(t, fleet.Binding(named(i+1)))
	}
	spent, changes := counters(t, f).since(before), int(storeRevision(t, f, named(0))-revision)
	const works = movingObjects * countedMembers
	reports := spent.sum(`windlass_hub_link_report_seconds_count`)
	if reports < works {
		t.Errorf("%d reports of %d works were recorded", reports, works)
	}
	// It is there, has Pods, and is ready; the rest is room for a machine so slow that each Pod is told of by itself.
	if most := 4 * works; reports > most {
		t.Errorf("%d reports of %d works were recorded, want at most %d", reports, works, most)
	}
	if most := movingObjects*(3+4) + works*3 + reports; changes > most+policyWrites+idleMoving {
		t.Errorf("the store was changed %d times; agreed are %d: for each object a create, the status when all is well and a deletion, "+
			"and its binding's create, status, mark and deletion; for each of its works a create, a mark and a deletion; and one for each of %d reports", changes, most, reports)
	}
	spent.keepsTo(t, append([]cost{
		// A mark may lose a race with what the member still reports.
		{writes("propagationworks", "update"), reports + 2*works, "the status, once for each report; the mark of deletion"},
	}, movingCosts...))
}

// A hub that comes back finds everything as it left it, and writes none of it again: with 1,000 clusters of 100 objects that would be
// 100,000 writes.
func TestAHubThatIsRestartedWritesNothingOfWhatStands(t *testing.T) {
	f, namespace, _ := standing(t)

	f.RestartHubWith(t, patient)
	f.AwaitReady(t)
	if err := eventually(t.Context(), func() error {
		spent := counters(t, f)
		for _, controller := range []string{"binding", "status", "policy", "scheduler"} {
			if passes := spent.sum(`windlass_hub_controller_runtime_reconcile_total\{controller="` + controller + `",.*`); passes < countedObjects {
				return fmt.Errorf("controller %s has looked %d times, and there are %d objects", controller, passes, countedObjects)
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	// Whatever was found in what stands is under way before what comes now, and the hub is at work.
	later := configMap(namespace, "later")
	propagate(t, f, later)

	spent := counters(t, f)
	for resource, most := range map[string]int{
		"propagationworks":    2*countedMembers + races, // of the later one, its status too
		"propagationbindings": 2 + races,
	} {
		if got := spent.sum(writes(resource, "create", "update", "delete")); got > most {
			t.Errorf("%d writes of %s after the restart, want at most %d:\n%s", got, resource, most, spent)
		}
	}
}

// standing is a fleet with a patient hub, on which ConfigMaps are in all members, and nothing leaves that an earlier test has made.
func standing(t *testing.T) (f *fleet.Fleet, namespace string, objects []fleet.Object) {
	t.Helper()
	f = fleet.Shared(t)
	f.RestartHubWith(t, patient)
	f.AwaitReady(t)
	namespace = f.Hub().Namespace(t)
	f.Hub().Apply(t, fill(namespace, settingsPolicy))
	for i := range countedObjects {
		objects = append(objects, configMap(namespace, fmt.Sprintf("settings-%d", i)))
	}
	propagate(t, f, objects...)
	f.Hub().NothingLeaves(t, "Namespace")
	return f, namespace, objects
}

// storeRevision is the number of the last change of the hub's store, whatever it was about: a list tells it.
func storeRevision(t *testing.T, f *fleet.Fleet, of fleet.Object) int64 {
	t.Helper()
	list, err := f.Hub().Resource(t, of).List(t.Context(), metav1.ListOptions{Limit: 1})
	if err != nil {
		t.Fatal(err)
	}
	revision, err := strconv.ParseInt(list.GetResourceVersion(), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return revision
}

// propagate applies ConfigMaps and returns when the hub knows that all members have them.
func propagate(t *testing.T, f *fleet.Fleet, objects ...fleet.Object) {
	t.Helper()
	for _, object := range objects {
		f.Hub().Apply(t, fmt.Sprintf("{apiVersion: v1, kind: ConfigMap, metadata: {name: %s, namespace: %s}, data: {greeting: hello}}", object.Name, object.Namespace))
	}
	for _, object := range objects {
		f.Hub().Eventually(t, fleet.Binding(object), fleet.ConditionIs("FullyApplied", "True"))
	}
}

// spending is counters by their name and labels, of the hub and of all agents together.
type spending map[string]int

var counterLine = regexp.MustCompile(`(?m)^((?:etcd_request_duration_seconds_count|windlass_[a-z_]+_(?:total|count))(?:\{.*\})?) ([0-9.e+]+)$`)

func counters(t *testing.T, f *fleet.Fleet) spending {
	t.Helper()
	text, err := f.Hub().CLI(t.Context(), "kubectl", "get", "--raw", "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	for _, member := range f.Members() {
		agent, err := member.Agent.Health(t.Context(), "/metrics")
		if err != nil {
			t.Fatalf("reading the metrics of the agent of %s: %v", member.Cluster.Name(), err)
		}
		text += agent
	}
	all := spending{}
	for _, match := range counterLine.FindAllStringSubmatch(text, -1) {
		value, err := strconv.ParseFloat(match[2], 64)
		if err != nil {
			t.Fatalf("reading %s: %v", match[0], err)
		}
		all[match[1]] += int(value)
	}
	return all
}

func (s spending) since(before spending) spending {
	spent := spending{}
	for name, value := range s {
		if value > before[name] {
			spent[name] = value - before[name]
		}
	}
	return spent
}

// sum adds up the counters whose whole name, with its labels, is of the pattern.
func (s spending) sum(pattern string) int {
	whole, total := regexp.MustCompile("^"+pattern+"$"), 0
	for name, value := range s {
		if whole.MatchString(name) {
			total += value
		}
	}
	return total
}

func (s spending) String() string {
	var text strings.Builder
	for _, name := range slices.SortedFunc(maps.Keys(s), cmp.Compare[string]) {
		fmt.Fprintf(&text, "%6d  %s\n", s[name], name)
	}
	return text.String()
}
