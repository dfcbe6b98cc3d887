package e2e

import (
	"testing"

	"windlass.dev/windlass/e2e/fleet"
)

func TestADeploymentRunsInEveryMemberAndTheHubShowsTheSum(t *testing.T) {
	f := fleet.Shared(t)
	namespace := f.Hub().Namespace(t)
	web := deployment(namespace, "web")
	f.Hub().Apply(t, webDeployment(namespace, 2)+"---"+policyFor(web))

	for _, member := range f.Members() {
		member.Eventually(t, web, fleet.Field("spec.replicas", 2), fleet.Field("status.readyReplicas", 2))
	}
	f.Hub().Eventually(t, fleet.Binding(web),
		fleet.ConditionIs("Scheduled", "True"), fleet.ConditionIs("FullyApplied", "True"))
	f.Hub().Eventually(t, web,
		fleet.Field("status.replicas", 4), fleet.Field("status.readyReplicas", 4), fleet.Field("status.availableReplicas", 4))
	if _, err := f.Hub().CLI(t.Context(), "kubectl", "rollout", "status", "deployment/web", "--namespace="+namespace, "--timeout=60s"); err != nil {
		t.Errorf("kubectl rollout status on the hub: %v", err)
	}
}

func TestReplicasAreDividedByStaticWeightAndAgainWhenScaled(t *testing.T) {
	f := fleet.Shared(t)
	namespace := f.Hub().Namespace(t)
	web := deployment(namespace, "web")
	f.Hub().Apply(t, webDeployment(namespace, 6)+fill(namespace, `
---
apiVersion: policy.karmada.io/v1alpha1
kind: PropagationPolicy
metadata:
  name: web
  namespace: NAMESPACE
spec:
  resourceSelectors:
  - apiVersion: apps/v1
    kind: Deployment
  placement:
    replicaScheduling:
      replicaSchedulingType: Divided
      replicaDivisionPreference: Weighted
      weightPreference:
        staticWeightList:
        - targetCluster: {clusterNames: [member1]}
          weight: 2
        - targetCluster: {clusterNames: [member2]}
          weight: 1
`))
	f.Member("member1").Eventually(t, web, fleet.Field("spec.replicas", 4))
	f.Member("member2").Eventually(t, web, fleet.Field("spec.replicas", 2))
	f.Hub().Eventually(t, web, fleet.Field("status.readyReplicas", 6))

	f.Hub().Patch(t, web, "spec: {replicas: 9}")
	f.Member("member1").Eventually(t, web, fleet.Field("status.readyReplicas", 6))
	f.Member("member2").Eventually(t, web, fleet.Field("status.readyReplicas", 3))
	f.Hub().Eventually(t, web, fleet.Field("status.readyReplicas", 9))
}

func TestAChangeOfATemplateReachesEveryMember(t *testing.T) {
	f := fleet.Shared(t)
	namespace := f.Hub().Namespace(t)
	object := configMap(namespace, "settings")
	f.Hub().Apply(t, fill(namespace, settings)+"---"+policyFor(object))
	for _, member := range f.Members() {
		member.Eventually(t, object, fleet.Field("data.greeting", "hello"))
	}

	f.Hub().Patch(t, object, "data: {greeting: good evening, farewell: bye}")
	for _, member := range f.Members() {
		member.Eventually(t, object, fleet.Field("data", map[string]string{"greeting": "good evening", "farewell": "bye"}))
	}

	f.Hub().Patch(t, object, "data: {greeting: null}")
	for _, member := range f.Members() {
		member.Eventually(t, object, fleet.Field("data", map[string]string{"farewell": "bye"}))
	}
}

func TestDeletingATemplateRemovesItFromEveryMember(t *testing.T) {
	f := fleet.Shared(t)
	namespace := f.Hub().Namespace(t)
	object := configMap(namespace, "settings")
	f.Hub().Apply(t, fill(namespace, settings)+"---"+policyFor(object))
	for _, member := range f.Members() {
		member.Eventually(t, object)
	}
	f.Hub().Delete(t, object)
	for _, member := range f.Members() {
		member.EventuallyGone(t, object)
	}
	f.Hub().EventuallyGone(t, object)
	f.Hub().EventuallyGone(t, fleet.Binding(object))
}

func TestAnObjectMovesWhenThePolicyNamesAnotherCluster(t *testing.T) {
	f := fleet.Shared(t)
	namespace := f.Hub().Namespace(t)
	object := configMap(namespace, "settings")
	f.Hub().Apply(t, fill(namespace, settings)+"---"+policyFor(object, "member1"))
	f.Member("member1").Eventually(t, object)
	f.Hub().Eventually(t, fleet.Binding(object), fleet.ConditionIs("FullyApplied", "True"))
	if !f.Member("member2").Lacks(t, object) {
		t.Error("member2 has an object that was meant for member1 alone")
	}
	if !f.Member("member2").Lacks(t, fleet.Object{APIVersion: "v1", Kind: "Namespace", Name: namespace}) {
		t.Error("member2 was given a namespace that nothing in it needs")
	}

	f.Hub().Apply(t, policyFor(object, "member2"))
	f.Member("member2").Eventually(t, object)
	f.Member("member1").EventuallyGone(t, object)
}

func TestDeletingThePolicyAloneLeavesTheMembersAsTheyAre(t *testing.T) {
	f := fleet.Shared(t)
	namespace := f.Hub().Namespace(t)
	object := configMap(namespace, "settings")
	f.Hub().Apply(t, fill(namespace, settings)+"---"+policyFor(object))
	uids := map[string]any{}
	for _, member := range f.Members() {
		uids[member.Cluster.Name()] = member.Eventually(t, object).GetUID()
	}
	f.Hub().Delete(t, policy(namespace, "configmap-settings"))
	f.Hub().EventuallyGone(t, policy(namespace, "configmap-settings"))

	// What is applied later has gone the whole way only after anything the deletion could have set off.
	later := configMap(namespace, "later")
	f.Hub().Apply(t, fill(namespace, `
apiVersion: v1
kind: ConfigMap
metadata: {name: later, namespace: NAMESPACE}
---`)+policyFor(later))
	for _, member := range f.Members() {
		member.Eventually(t, later)
		member.Eventually(t, object, fleet.Field("metadata.uid", uids[member.Cluster.Name()]))
	}
}

func TestWhatIsChangedOrDeletedInAMemberByHandComesBack(t *testing.T) {
	f := fleet.Shared(t)
	namespace := f.Hub().Namespace(t)
	object := configMap(namespace, "settings")
	f.Hub().Apply(t, fill(namespace, settings)+"---"+policyFor(object))
	for _, member := range f.Members() {
		first := member.Eventually(t, object)

		member.Patch(t, object, "data: {greeting: changed by hand}")
		member.Eventually(t, object, fleet.Field("data.greeting", "hello"))

		member.Delete(t, object)
		again := member.Eventually(t, object, fleet.Field("data.greeting", "hello"))
		if first.GetUID() == again.GetUID() {
			t.Errorf("%s still has the first object: it was not deleted", member.Cluster.Name())
		}
	}
}
