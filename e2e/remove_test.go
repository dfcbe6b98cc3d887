package e2e

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"windlass.dev/windlass/e2e/fleet"
)

// many ConfigMaps are more than may go from a cluster within five minutes.
const many = 14

// moveMany attaches a member, places many ConfigMaps there and on member2, and takes the member out of the placement. It
// returns when the rest of the deletions is held and told.
func moveMany(t *testing.T, f *fleet.Fleet) (member *fleet.Member, name, namespace string) {
	t.Helper()
	name, member = unique("moved"), f.Spare(t)
	attach(t, f, member, name)
	namespace = f.Hub().Namespace(t)
	placeMany(t, f, namespace, many, name, "member2")
	f.Hub().Patch(t, policy(namespace, "many"), "spec: {placement: {clusterAffinity: {clusterNames: [member2]}}}")
	f.Hub().Eventually(t, fleet.Cluster(name), fleet.ConditionIs("DeletionsHeld", "True"))
	f.Hub().Eventually(t, policy(namespace, "many"), fleet.ConditionIs("Ready", "False"), fleet.ConditionSays("Ready", "held back until a person confirms it"))
	return member, name, namespace
}

func TestAMassMoveIsHeldIsToldAndEndsWithTheNamespace(t *testing.T) {
	f := fleet.Shared(t)
	member, name, namespace := moveMany(t, f)
	fleet.WaitFor(t, "the command line to say how to confirm", func() error {
		said, err := f.Hub().CLI(t.Context(), "status", "--check")
		if err == nil {
			return errors.New("all is fine")
		}
		said = strings.Join(strings.Fields(said), " ")
		if !strings.Contains(said, "confirm-deletions=") || !strings.Contains(said, "cluster "+name+": ") || !strings.Contains(said, "10 had gone through within 5m, and the limit is 10") {
			return fmt.Errorf("it says\n%s", said)
		}
		return nil
	})
	left := 0
	for i := range many {
		if !member.Lacks(t, configMap(namespace, fmt.Sprintf("many-%02d", i))) {
			left++
		}
	}
	if left == 0 {
		t.Error("nothing was held back")
	}

	// Now somebody asks for the end of everything, and no confirmation is needed, in whatever order the hub's namespace
	// controller deletes what is in it.
	shop := fleet.Object{APIVersion: "v1", Kind: "Namespace", Name: namespace}
	f.Hub().Delete(t, shop)
	f.Hub().EventuallyGone(t, shop)
	for i := range many {
		member.EventuallyGone(t, configMap(namespace, fmt.Sprintf("many-%02d", i)))
	}
	f.Hub().Eventually(t, fleet.Cluster(name), fleet.ConditionIs("DeletionsHeld", "False"))
}

func TestAMassMoveThatIsTakenBackLeavesInPlaceWhatWaited(t *testing.T) {
	f := fleet.Shared(t)
	member, name, namespace := moveMany(t, f)
	waiting := map[string]types.UID{}
	for i := range many {
		one := configMap(namespace, fmt.Sprintf("many-%02d", i))
		if !member.Lacks(t, one) {
			waiting[one.Name] = member.Get(t, one).GetUID()
		}
	}
	if len(waiting) == 0 {
		t.Fatal("nothing was held back")
	}

	f.Hub().Patch(t, policy(namespace, "many"), "spec: {placement: {clusterAffinity: {clusterNames: ["+name+", member2]}}}")
	f.Hub().Eventually(t, fleet.Cluster(name), fleet.ConditionIs("DeletionsHeld", "False"))
	f.Hub().Eventually(t, policy(namespace, "many"), fleet.ConditionIs("Ready", "True"))
	for i := range many {
		one := configMap(namespace, fmt.Sprintf("many-%02d", i))
		member.Eventually(t, one)
		if uid, waited := waiting[one.Name]; waited && member.Get(t, one).GetUID() != uid {
			t.Errorf("ConfigMap %s, which waited, was made anew", one.Name)
		}
	}
}

func TestAWorkloadThatIsScaledToNothingStopsInItsMembersAndStartsAgain(t *testing.T) {
	f := fleet.Shared(t)
	namespace := f.Hub().Namespace(t)
	web := deployment(namespace, "web")
	f.Hub().Apply(t, fill(namespace, `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: NAMESPACE}
spec:
  replicas: 3
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: "example.test/web:1"}]}
---
apiVersion: policy.karmada.io/v1alpha1
kind: PropagationPolicy
metadata: {name: web, namespace: NAMESPACE}
spec:
  resourceSelectors: [{apiVersion: apps/v1, kind: Deployment, name: web}]
  placement:
    clusterAffinity: {clusterNames: [member1, member2]}
    replicaScheduling:
      replicaSchedulingType: Divided
      replicaDivisionPreference: Weighted
      weightPreference:
        staticWeightList:
        - {targetCluster: {clusterNames: [member1]}, weight: 2}
        - {targetCluster: {clusterNames: [member2]}, weight: 1}
`))
	runs := func(replicas, one, two int) {
		t.Helper()
		for member, n := range map[string]int{"member1": one, "member2": two} {
			checks := []fleet.Check{fleet.Field("spec.replicas", n)}
			if n > 0 {
				checks = append(checks, fleet.Field("status.readyReplicas", n))
			}
			f.Member(member).Eventually(t, web, checks...)
		}
		f.Hub().Eventually(t, fleet.Binding(web), fleet.Field("spec.replicas", replicas), fleet.ConditionIs("FullyApplied", "True"))
	}
	runs(3, 2, 1)
	kept := f.Member("member1").Get(t, web).GetUID()
	f.Hub().Patch(t, web, "spec: {replicas: 0}")
	runs(0, 0, 0)
	f.Hub().Patch(t, web, "spec: {replicas: 6}")
	runs(6, 4, 2)
	if uid := f.Member("member1").Get(t, web).GetUID(); uid != kept {
		t.Error("the Deployment is another object than before")
	}
}

// What a policy preserves is let go of, and not deleted: many of it may go at once.
func TestManyThatAreOnlyLetGoOfWaitForNobody(t *testing.T) {
	f := fleet.Shared(t)
	name, member := unique("preserved"), f.Spare(t)
	attach(t, f, member, name)
	namespace := f.Hub().Namespace(t)
	placeMany(t, f, namespace, many, name, "member2")
	f.Hub().Patch(t, policy(namespace, "many"), "spec: {preserveResourcesOnDeletion: true}")
	f.Hub().Eventually(t, policy(namespace, "many"), fleet.ConditionIs("Ready", "True"))
	for i := range many {
		f.Hub().Eventually(t, fleet.Binding(configMap(namespace, fmt.Sprintf("many-%02d", i))), fleet.Field("spec.preserveResourcesOnDeletion", true))
	}

	f.Hub().Patch(t, policy(namespace, "many"), "spec: {placement: {clusterAffinity: {clusterNames: [member2]}}}")
	for i := range many {
		member.Eventually(t, configMap(namespace, fmt.Sprintf("many-%02d", i)), fleet.Field("metadata.annotations", map[string]any{"windlass.dev/preserved": "true"}))
	}
	f.Hub().Eventually(t, policy(namespace, "many"), fleet.ConditionIs("Ready", "True"))
	if cluster := f.Hub().Get(t, fleet.Cluster(name)); fleet.ConditionIs("DeletionsHeld", "True")(cluster) == nil {
		t.Errorf("something waits for a person: %v", cluster.Object["status"])
	}
}

// placeMany places so many ConfigMaps, called many-00 and so on, by the policy many, and waits until they
// are in all the clusters.
func placeMany(t *testing.T, f *fleet.Fleet, namespace string, many int, clusters ...string) {
	t.Helper()
	var all strings.Builder
	for i := range many {
		fmt.Fprintf(&all, "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: many-%02d, namespace: %s, labels: {many: \"yes\"}}\n", i, namespace)
	}
	f.Hub().Apply(t, strings.ReplaceAll(all.String()+fill(namespace, `
---
apiVersion: policy.karmada.io/v1alpha1
kind: PropagationPolicy
metadata: {name: many, namespace: NAMESPACE}
spec:
  resourceSelectors: [{apiVersion: v1, kind: ConfigMap, labelSelector: {matchLabels: {many: "yes"}}}]
  placement: {clusterAffinity: {clusterNames: [CLUSTERS]}}
`), "CLUSTERS", strings.Join(clusters, ", ")))
	f.Hub().Eventually(t, policy(namespace, "many"), fleet.Field("status.applied", many), fleet.ConditionIs("Ready", "True"))
}

// A Namespace that is deselected waits for what other works have in it, and for a person where it takes much along that
// somebody made in the cluster.
func TestADeselectedNamespaceTakesNothingAlongThatNobodyMeant(t *testing.T) {
	f := fleet.Shared(t)
	name, member := unique("emptied"), f.Spare(t)
	attach(t, f, member, name)
	namespace := f.Hub().Namespace(t)
	shop := fleet.Object{APIVersion: "v1", Kind: "Namespace", Name: namespace}
	f.Hub().Apply(t, strings.ReplaceAll(clusterPolicyFor(shop, "space-"+namespace), "placement: {}", "placement: {clusterAffinity: {clusterNames: ["+name+", member2]}}"))
	uid := member.Eventually(t, shop).GetUID()
	placeMany(t, f, namespace, many, name, "member2")
	for i := range many {
		member.Apply(t, fill(namespace, fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: local-%02d, namespace: NAMESPACE}\n", i)))
	}

	space := fleet.Object{APIVersion: "policy.karmada.io/v1alpha1", Kind: "ClusterPropagationPolicy", Name: "space-" + namespace}
	f.Hub().Patch(t, space, "spec: {placement: {clusterAffinity: {clusterNames: [member2]}}}")
	held := f.Hub().Eventually(t, fleet.Cluster(name), fleet.ConditionIs("DeletionsHeld", "True"),
		fleet.ConditionSays("DeletionsHeld", "(Namespace "+namespace+" with everything in it): more than 10 objects in Namespace "+namespace+" that no work has put there would be deleted with it"))
	member.Eventually(t, shop, fleet.Field("metadata.uid", uid), fleet.Field("metadata.deletionTimestamp", nil))

	f.Hub().Patch(t, fleet.Cluster(name), "metadata: {annotations: {windlass.dev/confirm-deletions: \""+confirmationIn(t, held)+"\"}}")
	f.Hub().Eventually(t, fleet.Cluster(name), fleet.ConditionIs("DeletionsHeld", "False"))
	member.Eventually(t, shop, fleet.Field("metadata.uid", uid), fleet.Field("metadata.deletionTimestamp", nil))
	member.Eventually(t, configMap(namespace, "many-00"), fleet.Field("metadata.deletionTimestamp", nil))
	fleet.WaitFor(t, "the command line to say what the Namespace waits for", func() error {
		said, err := f.Hub().CLI(t.Context(), "status", "--check")
		if err == nil || !strings.Contains(strings.Join(strings.Fields(said), " "), fmt.Sprintf("Namespace %s is deleted when %d objects of other works", namespace, many)) {
			return fmt.Errorf("it ends with %v and says\n%s", err, said)
		}
		return nil
	})

	// Of those objects some are held back until a person confirms it, and the Namespace waits for them, not for him.
	f.Hub().Patch(t, policy(namespace, "many"), "spec: {placement: {clusterAffinity: {clusterNames: [member2]}}}")
	f.Hub().Eventually(t, fleet.Cluster(name), fleet.ConditionIs("DeletionsHeld", "True"))
	f.Hub().Eventually(t, fleet.Object{APIVersion: "work.karmada.io/v1alpha1", Kind: "ClusterPropagationBinding", Name: namespace + "-namespace"}, fleet.ConditionIs("FullyApplied", "True"),
		fleet.ConditionSays("FullyApplied", "It is not gone yet from "+name+": Namespace "+namespace+" is deleted when"))
	fleet.WaitFor(t, "the Namespace to be gone when what is in it is confirmed", func() error {
		if cluster := f.Hub().Get(t, fleet.Cluster(name)); fleet.ConditionIs("DeletionsHeld", "True")(cluster) == nil {
			f.Hub().Patch(t, fleet.Cluster(name), "metadata: {annotations: {windlass.dev/confirm-deletions: \""+confirmationIn(t, cluster)+"\"}}")
		}
		if !member.Lacks(t, shop) {
			return errors.New("it is there")
		}
		return nil
	})
}

// confirmationIn reads from a cluster's condition what a person types to confirm what waits.
func confirmationIn(t *testing.T, cluster *unstructured.Unstructured) string {
	t.Helper()
	conditions, _, _ := unstructured.NestedSlice(cluster.Object, "status", "conditions")
	for _, condition := range conditions {
		if message, _ := condition.(map[string]any)["message"].(string); strings.Contains(message, "windlass.dev/confirm-deletions=") {
			return message[strings.LastIndex(message, "=")+1:]
		}
	}
	t.Fatalf("the cluster does not say how to confirm: %v", conditions)
	return ""
}
