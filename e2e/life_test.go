package e2e

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"windlass.dev/windlass/e2e/fleet"
)

// A pause keeps changes from the clusters that it names; they go on reporting, removals arrive, and what was missed
// arrives when it ends.
func TestAPauseKeepsChangesFromAClusterUntilItEnds(t *testing.T) {
	f := fleet.Shared(t)
	namespace := f.Hub().Namespace(t)
	web := deployment(namespace, "web")
	owner := policy(namespace, "deployment-web")
	f.Hub().Apply(t, webDeployment(namespace, 2)+"---"+policyFor(web, "member1", "member2"))
	f.Hub().Eventually(t, web, fleet.Field("status.readyReplicas", 4))

	f.Hub().Patch(t, owner, "spec: {suspension: {dispatchingOnClusters: {clusterNames: [member2]}}}")
	f.Hub().Eventually(t, fleet.Binding(web), fleet.ConditionIs("FullyApplied", "False"), fleet.ConditionSays("FullyApplied", "Suspended: "))
	f.Hub().Patch(t, web, "spec: {replicas: 3}")
	f.Member("member1").Eventually(t, web, fleet.Field("status.readyReplicas", 3))
	f.Member("member2").Eventually(t, web, fleet.Field("spec.replicas", 2))

	// What is changed there by hand is left, and reported.
	f.Member("member2").Patch(t, web, "spec: {replicas: 1}")
	f.Hub().Eventually(t, web, fleet.Field("status.readyReplicas", 4))
	f.Member("member2").Eventually(t, web, fleet.Field("spec.replicas", 1))

	f.Hub().Patch(t, owner, "spec: {suspension: null}")
	f.Member("member2").Eventually(t, web, fleet.Field("status.readyReplicas", 3))
	f.Hub().Eventually(t, fleet.Binding(web), fleet.ConditionIs("FullyApplied", "True"))

	f.Hub().Patch(t, owner, "spec: {suspension: {dispatching: true}}")
	f.Hub().Eventually(t, fleet.Binding(web), fleet.ConditionSays("FullyApplied", "suspended to 2 of 2 clusters"))
	f.Hub().Delete(t, web)
	for _, member := range f.Members() {
		member.EventuallyGone(t, web)
	}
}

// claimedBy checks which PropagationPolicy claims a binding or template.
func claimedBy(name string) fleet.Check {
	return func(object *unstructured.Unstructured) error {
		if got := object.GetAnnotations()["propagationpolicy.karmada.io/name"]; got != name {
			return fmt.Errorf("it is claimed by %q, want %q", got, name)
		}
		return nil
	}
}

// A policy that may takes what it names from one of a lower priority, and what runs moves.
func TestAPolicyTakesATemplateFromOneOfALowerPriority(t *testing.T) {
	f := fleet.Shared(t)
	namespace := f.Hub().Namespace(t)
	object := configMap(namespace, "settings")
	f.Hub().Apply(t, fill(namespace, settings)+"---"+policyFor(object, "member1"))
	f.Member("member1").Eventually(t, object)
	f.Hub().Apply(t, fill(namespace, `
apiVersion: policy.karmada.io/v1alpha1
kind: PropagationPolicy
metadata: {name: urgent, namespace: NAMESPACE}
spec:
  preemption: Always
  priority: 3
  resourceSelectors: [{apiVersion: v1, kind: ConfigMap, name: settings}]
  placement: {clusterAffinity: {clusterNames: [member2]}}
`))
	f.Hub().Eventually(t, object, claimedBy("urgent"))
	f.Member("member2").Eventually(t, object)
	f.Member("member1").EventuallyGone(t, object)
	f.Hub().Eventually(t, policy(namespace, "urgent"), fleet.ConditionIs("Ready", "True"))

	// It has no right to what names nothing.
	err := f.Hub().TryApply(t, fill(namespace, `
apiVersion: policy.karmada.io/v1alpha1
kind: PropagationPolicy
metadata: {name: greedy, namespace: NAMESPACE}
spec:
  preemption: Always
  resourceSelectors: [{apiVersion: v1, kind: ConfigMap}]
`))
	if err == nil || !strings.Contains(err.Error(), "every selector must name its template") {
		t.Errorf("the error is %v", err)
	}
}

// A change of a Lazy policy moves an object when the object itself is changed next.
func TestAChangeOfALazyPolicyArrivesWithTheNextChangeOfTheTemplate(t *testing.T) {
	f := fleet.Shared(t)
	namespace := f.Hub().Namespace(t)
	object, owner := configMap(namespace, "settings"), policy(namespace, "configmap-settings")
	f.Hub().Apply(t, fill(namespace, settings)+"---"+policyFor(object, "member1"))
	f.Hub().Patch(t, owner, "spec: {activationPreference: Lazy}")
	f.Member("member1").Eventually(t, object)
	f.Hub().Eventually(t, owner, fleet.ConditionIs("Ready", "True"))

	f.Hub().Patch(t, owner, "spec: {placement: {clusterAffinity: {clusterNames: [member2]}}}")
	f.Hub().Eventually(t, owner, fleet.ConditionIs("Ready", "True"), fleet.ConditionSays("Ready", "1 of them will follow this policy as it is now"))
	f.Hub().Eventually(t, fleet.Binding(object), fleet.Field("spec.clusters.0.name", "member1"))

	f.Hub().Patch(t, object, "data: {greeting: good evening}")
	f.Member("member2").Eventually(t, object, fleet.Field("data.greeting", "good evening"))
	f.Member("member1").EventuallyGone(t, object)

	// A change of the object that follows at once on the edit that makes the policy Lazy follows that edit.
	f.Hub().Patch(t, owner, "spec: {activationPreference: null, placement: {clusterAffinity: {clusterNames: [member1]}}}")
	f.Member("member1").Eventually(t, object)
	f.Hub().Patch(t, owner, "spec: {activationPreference: Lazy, placement: {clusterAffinity: {clusterNames: [member2]}}}")
	f.Hub().Patch(t, object, "data: {greeting: good night}")
	f.Member("member2").Eventually(t, object, fleet.Field("data.greeting", "good night"))

	// A pause holds for the change with which it takes effect.
	f.Hub().Patch(t, owner, "spec: {suspension: {dispatching: true}}")
	f.Hub().Patch(t, object, "data: {greeting: good morning}")
	f.Hub().Eventually(t, fleet.Binding(object), fleet.ConditionIs("FullyApplied", "False"), fleet.ConditionSays("FullyApplied", "Suspended: "))
	if got := f.Member("member2").Get(t, object); fleet.Field("data.greeting", "good night")(got) != nil {
		t.Errorf("what is paused has gone out: %v", got.Object["data"])
	}
}

// An override policy that a policy waits for arrives when it comes, whatever else the policy says since it became Lazy.
func TestAnOverrideArrivesAlsoWhenItsPolicyBecameLazyMeanwhile(t *testing.T) {
	f := fleet.Shared(t)
	namespace := f.Hub().Namespace(t)
	for _, test := range []struct {
		name, change, greeting, conflicts string
	}{
		{"unchanged", "", "hello", "Abort"},
		{"changed", "data: {greeting: good evening}", "good evening", "Overwrite"},
	} {
		object, owner := configMap(namespace, test.name), policy(namespace, "configmap-"+test.name)
		f.Hub().Apply(t, strings.ReplaceAll(fill(namespace, settings), "name: settings", "name: "+test.name)+"---"+policyFor(object, "member1"))
		f.Member("member1").Eventually(t, object)
		f.Hub().Patch(t, owner, "spec: {activationPreference: Lazy, conflictResolution: Overwrite, dependentOverrides: ["+test.name+"]}")
		if test.change != "" {
			f.Hub().Patch(t, object, test.change)
		}
		f.Hub().Eventually(t, fleet.Binding(object), fleet.ConditionIs("Rendered", "False"), fleet.ConditionSays("FullyApplied", "OverrideMissing"))
		if got := f.Member("member1").Get(t, object); fleet.Field("data.greeting", "hello")(got) != nil {
			t.Errorf("%s: it has gone out before its override: %v", test.name, got.Object["data"])
		}
		f.Hub().Apply(t, fmt.Sprintf(`
apiVersion: policy.karmada.io/v1alpha1
kind: OverridePolicy
metadata: {name: %s, namespace: %s}
spec:
  resourceSelectors: [{apiVersion: v1, kind: ConfigMap, name: %[1]s}]
  overrideRules: [{overriders: {plaintext: [{path: /data/colour, operator: add, value: red}]}}]
`, test.name, namespace))
		f.Member("member1").Eventually(t, object, fleet.Field("data.colour", "red"), fleet.Field("data.greeting", test.greeting))
		f.Hub().Eventually(t, fleet.Binding(object), fleet.ConditionIs("FullyApplied", "True"), fleet.Field("spec.conflictResolution", test.conflicts))
	}
}

// A Lazy policy sends out at once what goes nowhere yet, and lets wait what it takes over from another.
func TestALazyPolicyIsAboutWhatRuns(t *testing.T) {
	f := fleet.Shared(t)
	namespace := f.Hub().Namespace(t)
	object := configMap(namespace, "settings")
	f.Hub().Apply(t, policyFor(object, "member1")+"  activationPreference: Lazy\n")
	f.Hub().Apply(t, fill(namespace, settings))
	f.Member("member1").Eventually(t, object)

	// Nothing moves here: a fleet holds removals when they are many.
	f.Hub().Apply(t, fill(namespace, `
apiVersion: policy.karmada.io/v1alpha1
kind: PropagationPolicy
metadata: {name: urgent, namespace: NAMESPACE}
spec:
  activationPreference: Lazy
  conflictResolution: Overwrite
  preemption: Always
  priority: 3
  resourceSelectors: [{apiVersion: v1, kind: ConfigMap, name: settings}]
  placement: {clusterAffinity: {clusterNames: [member1]}}
`))
	urgent := policy(namespace, "urgent")
	waits := func(follows string) {
		t.Helper()
		f.Hub().Eventually(t, urgent, fleet.ConditionIs("Ready", "True"), fleet.ConditionSays("Ready", "1 of them will follow this policy as it is now"))
		f.Hub().Eventually(t, fleet.Binding(object), claimedBy("urgent"), fleet.Field("spec.conflictResolution", follows))
	}
	waits("Abort")
	f.Hub().Patch(t, object, "data: {greeting: good evening}")
	f.Member("member1").Eventually(t, object, fleet.Field("data.greeting", "good evening"))
	f.Hub().Eventually(t, fleet.Binding(object), fleet.Field("spec.conflictResolution", "Overwrite"))

	f.Hub().Patch(t, urgent, "spec: {conflictResolution: Abort}")
	waits("Overwrite")
	f.Hub().Patch(t, urgent, "spec: {activationPreference: null}")
	f.Hub().Eventually(t, fleet.Binding(object), fleet.Field("spec.conflictResolution", "Abort"))
}

// A change that follows at once on the end of the policy stays on the hub until a policy claims the template again.
func TestAChangeThatFollowsOnTheEndOfItsPolicyStaysOnTheHub(t *testing.T) {
	f := fleet.Shared(t)
	namespace := f.Hub().Namespace(t)
	object := configMap(namespace, "settings")
	f.Hub().Apply(t, fill(namespace, settings)+"---"+policyFor(object, "member1"))
	f.Member("member1").Eventually(t, object)
	f.Hub().Eventually(t, fleet.Binding(object), fleet.ConditionIs("FullyApplied", "True"))
	f.Hub().Delete(t, policy(namespace, "configmap-settings"))
	f.Hub().Patch(t, object, "data: {greeting: good bye}")
	f.Hub().Eventually(t, object, claimedBy(""))
	f.Hub().Eventually(t, fleet.Binding(object), claimedBy(""))
	if got := f.Member("member1").Get(t, object); fleet.Field("data.greeting", "hello")(got) != nil {
		t.Errorf("what nobody propagates has gone out: %v", got.Object["data"])
	}
	f.Hub().Apply(t, policyFor(object, "member1"))
	f.Member("member1").Eventually(t, object, fleet.Field("data.greeting", "good bye"))
}

// A policy that names a PriorityClass which the hub does not have says so, and its templates go out when it is there.
func TestATemplateWaitsForThePriorityClassOfItsPolicy(t *testing.T) {
	f := fleet.Shared(t)
	namespace := f.Hub().Namespace(t)
	object := configMap(namespace, "settings")
	class := unique("urgent")
	f.Hub().Apply(t, fill(namespace, settings)+"---"+policyFor(object)+"  schedulePriority: {priorityClassSource: KubePriorityClass, priorityClassName: "+class+"}\n")
	f.Hub().Eventually(t, policy(namespace, "configmap-settings"), fleet.ConditionIs("Ready", "False"), fleet.ConditionSays("Ready", "PriorityClassNotFound: "))
	if !f.Hub().Lacks(t, fleet.Binding(object)) {
		t.Error("it is bound without its class")
	}
	f.Hub().Apply(t, "apiVersion: scheduling.k8s.io/v1\nkind: PriorityClass\nmetadata: {name: "+class+"}\nvalue: 1000\n")
	f.Hub().Eventually(t, fleet.Binding(object), fleet.Field("spec.schedulePriority.priority", 1000))
	for _, member := range f.Members() {
		member.Eventually(t, object)
	}
	f.Hub().Eventually(t, policy(namespace, "configmap-settings"), fleet.ConditionIs("Ready", "True"))
}

// taint replaces the taints of a cluster.
func taint(t *testing.T, f *fleet.Fleet, cluster, taints string) {
	t.Helper()
	f.Hub().Patch(t, fleet.Cluster(cluster), "spec: {taints: ["+taints+"]}")
}

const drain = "{key: maintenance, effect: NoExecute}"

// A drained cluster is left when the replicas run elsewhere, and comes into use again without its taint.
func TestADrainedClusterIsLeftForOthersAndComesBackIntoUse(t *testing.T) {
	f := fleet.Shared(t)
	member, name := f.Spare(t), unique("drained")
	attach(t, f, member, name)
	namespace := f.Hub().Namespace(t)
	web := deployment(namespace, "web")
	f.Hub().Apply(t, webDeployment(namespace, 4)+"---"+policyFor(web, name, "member2")+"    replicaScheduling: {replicaSchedulingType: Divided}\n")
	member.Eventually(t, web, fleet.Field("status.readyReplicas", 2))
	f.Member("member2").Eventually(t, web, fleet.Field("status.readyReplicas", 2))

	taint(t, f, name, drain)
	f.Member("member2").Eventually(t, web, fleet.Field("status.readyReplicas", 4))
	member.EventuallyGone(t, web)
	f.Hub().Eventually(t, fleet.Binding(web), fleet.Field("spec.gracefulEvictionTasks", nil), fleet.ConditionIs("FullyApplied", "True"))
	f.Hub().Eventually(t, web, fleet.Field("status.readyReplicas", 4))

	taint(t, f, name, "")
	member.Eventually(t, web, fleet.Field("status.readyReplicas", 2))
	f.Member("member2").Eventually(t, web, fleet.Field("status.readyReplicas", 2))
}

// What fits nowhere else stays in a drained cluster and follows its template, says so, and moves when it can.
func TestTheLastCopyIsNotTakenFromADrainedCluster(t *testing.T) {
	f := fleet.Shared(t)
	member, name := f.Spare(t), unique("drained")
	attach(t, f, member, name)
	namespace := f.Hub().Namespace(t)
	object := configMap(namespace, "settings")
	f.Hub().Apply(t, fill(namespace, settings)+"---"+policyFor(object, name))
	uid := member.Eventually(t, object).GetUID()

	taint(t, f, name, drain)
	f.Hub().Eventually(t, fleet.Binding(object), fleet.ConditionIs("Scheduled", "True"), fleet.ConditionSays("Scheduled", "NowhereElse: "))
	f.Hub().Eventually(t, policy(namespace, "configmap-settings"), fleet.ConditionIs("Ready", "False"), fleet.ConditionSays("Ready", "NowhereElse: 1 of 1 template has"))
	f.Hub().EventuallyWarned(t, object, "NowhereElse", "It stays as it is: must leave "+name+" because of the taint ")
	f.Hub().Patch(t, object, "data: {greeting: still here}")
	member.Eventually(t, object, fleet.Field("data.greeting", "still here"), fleet.Field("metadata.uid", uid))

	f.Hub().Apply(t, policyFor(object, name, "member2"))
	f.Member("member2").Eventually(t, object)
	member.EventuallyGone(t, object)
	f.Hub().Eventually(t, policy(namespace, "configmap-settings"), fleet.ConditionIs("Ready", "True"))
}

// A policy may tolerate a drain, for a while or for ever.
func TestADrainIsToleratedForAsLongAsThePolicySays(t *testing.T) {
	f := fleet.Shared(t)
	member, name := f.Spare(t), unique("drained")
	attach(t, f, member, name)
	namespace := f.Hub().Namespace(t)
	tolerating := func(object fleet.Object, seconds string) string {
		return policyFor(object, name, "member2") + "    clusterTolerations: [{key: maintenance, operator: Exists, effect: NoExecute" + seconds + "}]\n"
	}
	brief, steady := configMap(namespace, "settings"), configMap(namespace, "ordinary")
	f.Hub().Apply(t, fill(namespace, settings)+"---"+tolerating(brief, ", tolerationSeconds: 2")+"---"+fill(namespace, ordinary)+"---"+tolerating(steady, ""))
	uid := member.Eventually(t, steady).GetUID()
	member.Eventually(t, brief)
	f.Hub().Eventually(t, fleet.Binding(brief), fleet.ConditionIs("FullyApplied", "True"))

	taint(t, f, name, drain)
	if f.Hub().Get(t, fleet.Cluster(name)).Object["spec"].(map[string]any)["taints"].([]any)[0].(map[string]any)["timeAdded"] == nil {
		t.Error("the taint does not say when it was added")
	}
	member.EventuallyGone(t, brief)
	member.Eventually(t, steady, fleet.Field("metadata.uid", uid))

	f.Hub().Apply(t, tolerating(steady, ", tolerationSeconds: 3600"))
	fleet.WaitFor(t, "that placement says until when it stays", func() error {
		said, err := f.Hub().CLI(t.Context(), "placement", "configmap/"+steady.Name, "-n", namespace)
		if err == nil && !strings.Contains(said, "which is tolerated until 20") {
			err = errors.New("it says\n" + said)
		}
		return err
	})
}

// A drain of many is held by the brake like every mass move, and what waits stays where it is when the taint goes.
func TestADrainOfManyIsHeldAndEndsWithTheTaint(t *testing.T) {
	f := fleet.Shared(t)
	member, name := f.Spare(t), unique("drained")
	attach(t, f, member, name)
	namespace := f.Hub().Namespace(t)
	placeMany(t, f, namespace, many, name, "member2")
	taint(t, f, name, drain)
	f.Hub().Eventually(t, fleet.Cluster(name), fleet.ConditionIs("DeletionsHeld", "True"))
	left := 0
	for i := range many {
		if !member.Lacks(t, configMap(namespace, fmt.Sprintf("many-%02d", i))) {
			left++
		}
	}
	if left == 0 {
		t.Error("nothing was held back")
	}
	taint(t, f, name, "")
	f.Hub().Eventually(t, fleet.Cluster(name), fleet.ConditionIs("DeletionsHeld", "False"))
	for i := range many {
		member.Eventually(t, configMap(namespace, fmt.Sprintf("many-%02d", i)))
	}
	f.Hub().Eventually(t, policy(namespace, "many"), fleet.ConditionIs("Ready", "True"))
}

// A rebalancer asks once for each workload, says what became of it, and goes when its time is over.
func TestARebalancerAsksForANewPlaceOnceAndGoes(t *testing.T) {
	f := fleet.Shared(t)
	namespace := f.Hub().Namespace(t)
	web := deployment(namespace, "web")
	f.Hub().Apply(t, webDeployment(namespace, 1)+"---"+policyFor(web, "member1"))
	f.Hub().Eventually(t, fleet.Binding(web), fleet.ConditionIs("FullyApplied", "True"), fleet.Field("spec.rescheduleTriggeredAt", nil))
	rebalancer := fleet.Object{APIVersion: "apps.karmada.io/v1alpha1", Kind: "WorkloadRebalancer", Name: unique("rebalance")}
	f.Hub().Apply(t, fmt.Sprintf(`
apiVersion: apps.karmada.io/v1alpha1
kind: WorkloadRebalancer
metadata: {name: %s}
spec:
  workloads:
  - {apiVersion: apps/v1, kind: Deployment, namespace: %s, name: web}
  - {apiVersion: apps/v1, kind: Deployment, namespace: %s, name: nobody}
`, rebalancer.Name, namespace, namespace))
	f.Hub().Eventually(t, rebalancer, fleet.Field("status.observedWorkloads.0.result", "Successful"),
		fleet.Field("status.observedWorkloads.1.result", "Failed"), fleet.Field("status.observedWorkloads.1.reason", "ReferencedBindingNotFound"))
	asked := f.Hub().Eventually(t, fleet.Binding(web), fleet.ConditionIs("FullyApplied", "True"), fleet.ConditionIs("Scheduled", "True"))
	if asked.Object["spec"].(map[string]any)["rescheduleTriggeredAt"] == nil {
		t.Error("the scheduler was not asked")
	}

	f.Hub().Patch(t, rebalancer, "spec: {ttlSecondsAfterFinished: 1}")
	f.Hub().EventuallyGone(t, rebalancer)
	if err := f.Hub().TryApply(t, "apiVersion: apps.karmada.io/v1alpha1\nkind: WorkloadRebalancer\nmetadata: {name: "+unique("none")+"}\nspec: {workloads: []}\n"); err == nil || !strings.Contains(err.Error(), "spec.workloads: Required value") {
		t.Errorf("the error is %v", err)
	}
}

// What is to be preserved stays in the members when its template goes, and is nobody's then; that it is gone from one of
// them already holds nothing up.
func TestWhatIsPreservedStaysInTheMembersAndIsNobodysThen(t *testing.T) {
	f := fleet.Shared(t)
	namespace := f.Hub().Namespace(t)
	object := configMap(namespace, "settings")
	f.Hub().Apply(t, fill(namespace, settings)+"---"+policyFor(object)+"  preserveResourcesOnDeletion: true\n")
	uid := f.Member("member1").Eventually(t, object, fleet.Field("metadata.labels", map[string]string{"karmada.io/managed": "true"})).GetUID()
	f.Member("member2").Eventually(t, object)

	// Out of the placement it stays as well.
	f.Hub().Patch(t, policy(namespace, "configmap-settings"), "spec: {placement: {clusterAffinity: {clusterNames: [member1]}}}")
	f.Member("member2").Eventually(t, object, fleet.Field("metadata.labels", nil), fleet.Field("data.greeting", "hello"))
	f.Member("member2").Delete(t, object)

	f.Hub().Delete(t, object)
	f.Hub().EventuallyGone(t, fleet.Binding(object))
	f.Member("member1").Eventually(t, object, fleet.Field("metadata.labels", nil), fleet.Field("metadata.uid", uid))
	if !f.Member("member2").Lacks(t, object) {
		t.Error("what was preserved and then deleted by hand came back")
	}
}

// What comes back after a drain takes replicas from others when its own are healthy, and not before.
func TestTheWayBackFromADrainIsAsCarefulAsTheWayOut(t *testing.T) {
	f := fleet.Shared(t)
	member, name := f.Spare(t), unique("drained")
	attach(t, f, member, name)
	namespace := f.Hub().Namespace(t)
	web := deployment(namespace, "web")
	f.Hub().Apply(t, webDeployment(namespace, 4)+"---"+policyFor(web, name, "member2")+"    replicaScheduling: {replicaSchedulingType: Divided}\n")
	member.Eventually(t, web, fleet.Field("status.readyReplicas", 2))
	f.Member("member2").Eventually(t, web, fleet.Field("status.readyReplicas", 2))
	taint(t, f, name, drain)
	member.EventuallyGone(t, web)
	f.Member("member2").Eventually(t, web, fleet.Field("status.readyReplicas", 4))

	t.Cleanup(func() { cordonNodes(t, member, false) })
	cordonNodes(t, member, true)
	taint(t, f, name, "")
	member.Eventually(t, web, fleet.Field("spec.replicas", 2), fleet.Field("status.unavailableReplicas", 2))
	f.Hub().Eventually(t, fleet.Binding(web), fleet.Field("spec.gracefulEvictionTasks.0.fromCluster", "member2"), fleet.Field("spec.gracefulEvictionTasks.0.reason", "Rescheduled"),
		fleet.ConditionSays("Scheduled", "member2 keeps what was there until it is healthy elsewhere"))
	f.Member("member2").Eventually(t, web, fleet.Field("spec.replicas", 4), fleet.Field("status.readyReplicas", 4))

	cordonNodes(t, member, false)
	member.Eventually(t, web, fleet.Field("status.readyReplicas", 2))
	f.Member("member2").Eventually(t, web, fleet.Field("spec.replicas", 2), fleet.Field("status.readyReplicas", 2))
	f.Hub().Eventually(t, fleet.Binding(web), fleet.Field("spec.gracefulEvictionTasks", nil), fleet.ConditionIs("FullyApplied", "True"))
}

const twoPods = `
apiVersion: v1
kind: ResourceQuota
metadata: {name: two-pods, namespace: NAMESPACE}
spec: {hard: {pods: "2"}}
`

// limitToTwoPods returns when the member's API server refuses a third pod: it knows of no limit before a controller has counted.
func limitToTwoPods(t *testing.T, in *fleet.Member, namespace string) {
	t.Helper()
	in.Apply(t, fill(namespace, twoPods))
	in.Eventually(t, fleet.Object{APIVersion: "v1", Kind: "ResourceQuota", Namespace: namespace, Name: "two-pods"}, fleet.Field("status.used.pods", "2"))
}

// A copy that is there already, and healthy with the replicas that it had, does not stand for those that it is to take over. When it
// has them, the drain ends, though its policy is gone by then.
func TestADrainWaitsForTheReplicasThatAnotherCopyTakesOver(t *testing.T) {
	f := fleet.Shared(t)
	member, name := f.Spare(t), unique("drained")
	attach(t, f, member, name)
	namespace := f.Hub().Namespace(t)
	web, other := deployment(namespace, "web"), f.Member("member2")
	f.Hub().Apply(t, webDeployment(namespace, 4)+"---"+policyFor(web, name, "member2")+"    replicaScheduling: {replicaSchedulingType: Divided}\n")
	uid := member.Eventually(t, web, fleet.Field("status.readyReplicas", 2)).GetUID()
	other.Eventually(t, web, fleet.Field("status.readyReplicas", 2))
	limitToTwoPods(t, other, namespace)

	taint(t, f, name, drain)
	other.Eventually(t, web, fleet.Field("spec.replicas", 4), fleet.Field("status.readyReplicas", 2))
	f.Hub().Eventually(t, fleet.Binding(web), fleet.Field("spec.gracefulEvictionTasks.0.fromCluster", name),
		fleet.ConditionIs("FullyApplied", "True"), fleet.ConditionSays("FullyApplied", "it is in 0 of 1"))
	member.Eventually(t, web, fleet.Field("metadata.uid", uid), fleet.Field("status.readyReplicas", 2))

	f.Hub().Delete(t, policy(namespace, "deployment-web"))
	f.Hub().EventuallyGone(t, policy(namespace, "deployment-web"))
	f.Hub().Eventually(t, fleet.Binding(web), fleet.ConditionSays("Scheduled", "no policy claims the template any more"), fleet.Field("spec.gracefulEvictionTasks.0.fromCluster", name))
	other.Delete(t, fleet.Object{APIVersion: "v1", Kind: "ResourceQuota", Namespace: namespace, Name: "two-pods"})
	other.Eventually(t, web, fleet.Field("status.readyReplicas", 4))
	member.EventuallyGone(t, web)
}

// The replicas that another cluster could never run are given back at once: they are not waited for.
func TestADrainThatIsTakenBackEndsThoughWhatItMovedFoundNoRoom(t *testing.T) {
	f := fleet.Shared(t)
	member, name := f.Spare(t), unique("drained")
	attach(t, f, member, name)
	namespace := f.Hub().Namespace(t)
	web, other := deployment(namespace, "web"), f.Member("member2")
	f.Hub().Apply(t, webDeployment(namespace, 4)+"---"+policyFor(web, name, "member2")+"    replicaScheduling: {replicaSchedulingType: Divided}\n")
	uid := member.Eventually(t, web, fleet.Field("status.readyReplicas", 2)).GetUID()
	other.Eventually(t, web, fleet.Field("status.readyReplicas", 2))
	limitToTwoPods(t, other, namespace)
	taint(t, f, name, drain)
	other.Eventually(t, web, fleet.Field("spec.replicas", 4), fleet.Field("status.readyReplicas", 2), fleet.Field("status.unavailableReplicas", 2))

	taint(t, f, name, "")
	other.Eventually(t, web, fleet.Field("spec.replicas", 2), fleet.Field("status.readyReplicas", 2))
	member.Eventually(t, web, fleet.Field("metadata.uid", uid), fleet.Field("spec.replicas", 2), fleet.Field("status.readyReplicas", 2))
	f.Hub().Eventually(t, fleet.Binding(web), fleet.Field("spec.gracefulEvictionTasks", nil), fleet.ConditionIs("FullyApplied", "True"))
}

// cordonNodes keeps new pods off all nodes of a member, or lets them come again.
func cordonNodes(t *testing.T, member *fleet.Member, yes bool) {
	t.Helper()
	ctx := context.WithoutCancel(t.Context()) // it is undone when the test is over
	nodes := member.Resource(t, fleet.Object{APIVersion: "v1", Kind: "Node"})
	list, err := nodes.List(ctx, metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, node := range list.Items {
		patch := fmt.Appendf(nil, `{"spec": {"unschedulable": %v}}`, yes)
		if _, err := nodes.Patch(ctx, node.GetName(), types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
			t.Error(err)
		}
	}
}

// A copy that runs on in a drained cluster is scaled down with its template. It is the wanted one again when the taint goes, also where it
// has another affinity group by then; the copy that should have replaced it goes.
func TestATaintThatIsTakenBackEndsTheEvictionAlsoAcrossAffinityGroups(t *testing.T) {
	f := fleet.Shared(t)
	member, name := f.Spare(t), unique("drained")
	attach(t, f, member, name)
	namespace := f.Hub().Namespace(t)
	web := deployment(namespace, "web")
	f.Hub().Apply(t, fill(namespace, `
apiVersion: policy.karmada.io/v1alpha1
kind: OverridePolicy
metadata: {name: no-room, namespace: NAMESPACE}
spec:
  resourceSelectors: [{apiVersion: apps/v1, kind: Deployment, name: web}]
  overrideRules:
  - targetCluster: {clusterNames: [member2]}
    overriders: {plaintext: [{path: /spec/template/spec/nodeSelector, operator: add, value: {nowhere: "yes"}}]}
---`)+webDeployment(namespace, 2)+"---"+strings.ReplaceAll(policyFor(web), "placement: {}",
		"placement: {clusterAffinities: [{affinityName: first, clusterNames: ["+name+"]}, {affinityName: second, clusterNames: [member2]}]}"))
	uid := member.Eventually(t, web, fleet.Field("status.readyReplicas", 2)).GetUID()

	taint(t, f, name, drain)
	f.Member("member2").Eventually(t, web, fleet.Field("status.unavailableReplicas", 2))
	f.Hub().Patch(t, web, "spec: {replicas: 1}")
	member.Eventually(t, web, fleet.Field("metadata.uid", uid), fleet.Field("spec.replicas", 1), fleet.Field("status.replicas", 1))
	taint(t, f, name, "")
	f.Hub().Eventually(t, fleet.Binding(web), fleet.Field("spec.gracefulEvictionTasks", nil), fleet.Field("spec.clusters.0.name", name),
		fleet.Field("status.schedulerObservingAffinityName", "first"), fleet.ConditionIs("FullyApplied", "True"))
	f.Member("member2").EventuallyGone(t, web)
	member.Eventually(t, web, fleet.Field("metadata.uid", uid), fleet.Field("status.readyReplicas", 1))
}

// A divided Job that has ended is taken out of a cluster that loses its label, or that its placement does not name any more, and
// runs in no other for that.
func TestAJobThatHasEndedRunsInNoOtherClustersPlace(t *testing.T) {
	f := fleet.Shared(t)
	namespace := f.Hub().Namespace(t)
	once := fleet.Object{APIVersion: "batch/v1", Kind: "Job", Namespace: namespace, Name: "once"}
	labelCluster(t, f, "member1", "once", namespace)
	f.Hub().Apply(t, fill(namespace, `
apiVersion: batch/v1
kind: Job
metadata: {name: once, namespace: NAMESPACE}
spec:
  template:
    spec:
      restartPolicy: Never
      containers: [{name: once, image: "example.test/once:1"}]
---`)+strings.ReplaceAll(policyFor(once), "placement: {}", "placement: {clusterAffinity: {labelSelector: {matchLabels: {once: "+namespace+"}}}, replicaScheduling: {replicaSchedulingType: Divided, replicaDivisionPreference: Weighted}}"))
	f.Member("member1").Eventually(t, once, fleet.ConditionIs("Complete", "True"))
	f.Hub().Eventually(t, once, fleet.ConditionIs("Complete", "True"))

	labelCluster(t, f, "member2", "once", namespace)
	f.Hub().Patch(t, fleet.Cluster("member1"), "metadata: {labels: {once: null}}")
	f.Member("member1").EventuallyGone(t, once)
	f.Hub().Eventually(t, fleet.Binding(once), fleet.Field("spec.clusters", nil), fleet.ConditionSays("Scheduled", "has ended, and is in no cluster where it may stay"))

	f.Hub().Patch(t, policy(namespace, "job-once"), "spec: {placement: {clusterAffinity: {labelSelector: null, clusterNames: [member2]}}}")
	f.Hub().Eventually(t, fleet.Binding(once), fleet.Field("spec.placement.clusterAffinity.clusterNames.0", "member2"), fleet.Field("spec.clusters", nil))
	if !f.Member("member2").Lacks(t, once) {
		t.Error("it runs once more")
	}
	f.Hub().Eventually(t, once, fleet.ConditionIs("Complete", "True"))
}
