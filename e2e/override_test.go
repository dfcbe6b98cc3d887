package e2e

import (
	"context"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"windlass.dev/windlass/e2e/fleet"
)

func overridePolicy(namespace, name string) fleet.Object {
	return fleet.Object{APIVersion: "policy.karmada.io/v1alpha1", Kind: "OverridePolicy", Namespace: namespace, Name: name}
}

// overrideFor is an OverridePolicy for everything in a namespace. The rest of its spec is indented by two.
func overrideFor(namespace, name, spec string) string {
	return "\n---\napiVersion: policy.karmada.io/v1alpha1\nkind: OverridePolicy\nmetadata: {name: " + name + ", namespace: " + namespace + "}\nspec:\n" + strings.Trim(spec, "\n") + "\n"
}

// place says for the length of a test in which region a shared member is.
func place(t *testing.T, f *fleet.Fleet, cluster, region string) {
	t.Helper()
	clusters := f.Hub().Resource(t, fleet.Cluster(cluster))
	f.Hub().Patch(t, fleet.Cluster(cluster), "spec: {region: "+region+"}")
	t.Cleanup(func() {
		_, err := clusters.Patch(context.Background(), cluster, types.MergePatchType, []byte(`{"spec":{"region":null}}`), metav1.PatchOptions{})
		if err != nil {
			t.Errorf("taking the region off %s after the test: %v", cluster, err)
		}
	})
}

const firstImage = "spec.template.spec.containers.0.image"

func TestImagesComeFromTheRegistryOfTheRegion(t *testing.T) {
	f := fleet.Shared(t)
	namespace := f.Hub().Namespace(t)
	web := deployment(namespace, "web")
	place(t, f, "member1", "eu")
	place(t, f, "member2", "us")
	f.Hub().Apply(t, overrideFor(namespace, "registry", `
  overrideRules:
  - targetCluster:
      fieldSelector:
        matchExpressions: [{key: region, operator: In, values: [eu]}]
    overriders:
      imageOverrider: [{component: Registry, operator: replace, value: registry.eu.example.com}]
  - targetCluster:
      fieldSelector:
        matchExpressions: [{key: region, operator: NotIn, values: [eu]}]
    overriders:
      imageOverrider: [{component: Registry, operator: replace, value: "${cluster.region}.example.org:5000"}]
`)+"---"+webDeployment(namespace, 1)+"---"+policyFor(web))
	f.Member("member1").Eventually(t, web, fleet.Field(firstImage, "registry.eu.example.com/web:1"))
	f.Member("member2").Eventually(t, web, fleet.Field(firstImage, "us.example.org:5000/web:1"))
	f.Hub().Eventually(t, web, fleet.Field(firstImage, "example.test/web:1"), fleet.Field("status.readyReplicas", 2))

	f.Hub().Patch(t, fleet.Cluster("member2"), "spec: {region: ap}")
	f.Member("member2").Eventually(t, web, fleet.Field(firstImage, "ap.example.org:5000/web:1"))
	f.Hub().Patch(t, fleet.Cluster("member2"), "spec: {region: eu}")
	f.Member("member2").Eventually(t, web, fleet.Field(firstImage, "registry.eu.example.com/web:1"))
}

func TestAnObjectCanDifferInEveryClusterByTheClustersName(t *testing.T) {
	f := fleet.Shared(t)
	namespace := f.Hub().Namespace(t)
	web := deployment(namespace, "web")
	f.Hub().Apply(t, overrideFor(namespace, "site", `
  resourceSelectors: [{apiVersion: apps/v1, kind: Deployment, name: web}]
  overrideRules:
  - overriders:
      labelsOverrider: [{operator: add, value: {site: "at-${cluster.name}"}}]
      argsOverrider: [{containerName: web, operator: add, value: ["--home=${HOME:-/root}", "--literal=$${cluster.name}", "--cluster=${cluster.name}"]}]
  - targetCluster: {clusterNames: [member2]}
    overriders:
      plaintext:
      - {path: /spec/replicas, operator: replace, value: 1}
      - {path: /spec/template/spec/containers/0/env, operator: add, value: [{name: SITE, value: "${cluster.name}"}]}
`)+"---"+webDeployment(namespace, 2)+"---"+policyFor(web))
	f.Member("member1").Eventually(t, web, fleet.Field("metadata.labels.site", "at-member1"), fleet.Field("spec.replicas", 2),
		fleet.Field("spec.template.spec.containers.0.args", []string{"--home=${HOME:-/root}", "--literal=${cluster.name}", "--cluster=member1"}), fleet.Field("status.readyReplicas", 2))
	f.Member("member2").Eventually(t, web, fleet.Field("metadata.labels.site", "at-member2"), fleet.Field("spec.replicas", 1),
		fleet.Field("spec.template.spec.containers.0.env", []map[string]string{{"name": "SITE", "value": "member2"}}), fleet.Field("status.readyReplicas", 1))
	f.Hub().Eventually(t, web, fleet.Field("spec.replicas", 2), fleet.Field("status.readyReplicas", 3))
	out, err := f.Hub().CLI(t.Context(), "placement", "deployment/web", "-n", namespace, "--cluster", "member2")
	if err != nil || !strings.Contains(out, "gets the replicas that OverridePolicy site says") || strings.Contains(out, "member1") {
		t.Errorf("of member2 `windlass placement` says: %v\n%s", err, out)
	}
}

func TestADocumentInsideAConfigMapIsChangedForOneCluster(t *testing.T) {
	f := fleet.Shared(t)
	namespace := f.Hub().Namespace(t)
	object := configMap(namespace, "settings")
	f.Hub().Apply(t, fill(namespace, `
apiVersion: v1
kind: ConfigMap
metadata: {name: settings, namespace: NAMESPACE}
data:
  config: |
    server: {port: 8080}
    level: info
`)+overrideFor(namespace, "config", `
  overrideRules:
  - targetCluster: {clusterNames: [member2]}
    overriders:
      fieldOverrider:
      - fieldPath: /data/config
        yaml:
        - {subPath: /server/port, operator: replace, value: 9090}
        - {subPath: /level, operator: remove}
`)+"---"+policyFor(object))
	f.Member("member1").Eventually(t, object, fleet.Field("data.config", "server: {port: 8080}\nlevel: info\n"))
	f.Member("member2").Eventually(t, object, fleet.Field("data.config", "server:\n  port: 9090\n"))
}

// The narrower policy comes later, and what is of the namespace later than what is of all.
func TestOfSeveralOverridePoliciesTheLaterOneWins(t *testing.T) {
	f := fleet.Shared(t)
	namespace := f.Hub().Namespace(t)
	object := configMap(namespace, "settings")
	greet := func(word string) string {
		return "  overrideRules: [{overriders: {plaintext: [{path: /data/greeting, operator: replace, value: " + word + "}, {path: /data/" + word + ", operator: add, value: was here}]}}]"
	}
	f.Hub().Apply(t, overrideFor(namespace, "a-by-name", "  resourceSelectors: [{apiVersion: v1, kind: ConfigMap, name: settings}]\n"+greet("name"))+
		overrideFor(namespace, "b-of-kind", "  resourceSelectors: [{apiVersion: v1, kind: ConfigMap}]\n"+greet("kind"))+
		fill(namespace, "---\napiVersion: policy.karmada.io/v1alpha1\nkind: ClusterOverridePolicy\nmetadata: {name: NAMESPACE}\nspec:\n"+
			"  resourceSelectors: [{apiVersion: v1, kind: ConfigMap, name: settings, namespace: NAMESPACE}]\n"+greet("fleet"))+
		"\n---"+fill(namespace, settings)+"---"+policyFor(object))
	want := map[string]string{"greeting": "name", "fleet": "was here", "kind": "was here", "name": "was here"}
	for _, member := range f.Members() {
		member.Eventually(t, object, fleet.Field("data", want))
	}

	f.Hub().Delete(t, overridePolicy(namespace, "a-by-name"))
	delete(want, "name")
	want["greeting"] = "kind"
	for _, member := range f.Members() {
		member.Eventually(t, object, fleet.Field("data", want))
	}
}

func TestAChangeOfAnOverridePolicyReachesTheMembersAndSoDoesItsEnd(t *testing.T) {
	f := fleet.Shared(t)
	namespace := f.Hub().Namespace(t)
	object := configMap(namespace, "settings")
	greet := func(word string) string {
		return overrideFor(namespace, "greeting", "  overrideRules: [{targetCluster: {clusterNames: [member1]}, overriders: {plaintext: [{path: /data/greeting, operator: replace, value: "+word+"}]}}]")
	}
	f.Hub().Apply(t, fill(namespace, settings)+"---"+policyFor(object))
	f.Member("member1").Eventually(t, object, fleet.Field("data.greeting", "hello"))
	f.Hub().Apply(t, greet("bonjour"))
	f.Member("member1").Eventually(t, object, fleet.Field("data.greeting", "bonjour"))
	f.Hub().Apply(t, greet("salut"))
	f.Member("member1").Eventually(t, object, fleet.Field("data.greeting", "salut"))
	f.Member("member2").Eventually(t, object, fleet.Field("data.greeting", "hello"))
	f.Hub().Delete(t, overridePolicy(namespace, "greeting"))
	f.Member("member1").Eventually(t, object, fleet.Field("data.greeting", "hello"))
}

func TestAnOverrideThatCannotBeMadeHoldsUpItsClusterAlone(t *testing.T) {
	f := fleet.Shared(t)
	namespace := f.Hub().Namespace(t)
	object := configMap(namespace, "settings")
	f.Hub().Apply(t, fill(namespace, settings)+"---"+policyFor(object))
	for _, member := range f.Members() {
		member.Eventually(t, object, fleet.Field("data.greeting", "hello"))
	}
	f.Hub().Apply(t, overrideFor(namespace, "farewell", `
  overrideRules:
  - targetCluster: {clusterNames: [member1]}
    overriders: {plaintext: [{path: /data/farewell, operator: replace, value: adieu}]}
`))
	f.Hub().Eventually(t, fleet.Binding(object), fleet.ConditionIs("Rendered", "False"), fleet.ConditionIs("FullyApplied", "False"),
		fleet.ConditionSays("Rendered", "OverrideFailed: 1 of 2 clusters stay as they are, because overrides can't be made: member1: OverridePolicy "+namespace+
			"/farewell: spec.overrideRules[0].overriders.plaintext[0]: can't replace /data/farewell: there is nothing at this path"))
	f.Hub().Patch(t, object, "data: {greeting: good evening}")
	f.Member("member2").Eventually(t, object, fleet.Field("data.greeting", "good evening"))
	f.Member("member1").Eventually(t, object, fleet.Field("data.greeting", "hello"))

	f.Hub().Patch(t, object, "data: {farewell: bye}")
	f.Member("member1").Eventually(t, object, fleet.Field("data", map[string]string{"greeting": "good evening", "farewell": "adieu"}))
	f.Member("member2").Eventually(t, object, fleet.Field("data", map[string]string{"greeting": "good evening", "farewell": "bye"}))
	f.Hub().Eventually(t, fleet.Binding(object), fleet.ConditionIs("Rendered", "True"), fleet.ConditionIs("FullyApplied", "True"))
}

func TestAPolicyWaitsForTheOverridesThatItDependsOn(t *testing.T) {
	f := fleet.Shared(t)
	namespace := f.Hub().Namespace(t)
	object := configMap(namespace, "settings")
	f.Hub().Apply(t, fill(namespace, settings)+"---"+policyFor(object)+"\n  dependentOverrides: [greeting]\n")
	f.Hub().Eventually(t, policy(namespace, "configmap-settings"), fleet.ConditionIs("Ready", "False"),
		fleet.ConditionSays("Ready", "OverrideMissing: New and changed objects wait for what dependentOverrides names: OverridePolicy "+namespace+"/greeting."))
	if !f.Hub().Lacks(t, fleet.Binding(object)) {
		t.Error("the policy has an effect already")
	}
	f.Hub().Apply(t, overrideFor(namespace, "greeting", "  overrideRules: [{overriders: {plaintext: [{path: /data/greeting, operator: replace, value: bonjour}]}}]"))
	for _, member := range f.Members() {
		if first := member.Eventually(t, object); first.Object["data"].(map[string]any)["greeting"] != "bonjour" {
			t.Errorf("%s has %v first", member.Cluster.Name(), first.Object["data"])
		}
	}
	f.Hub().Eventually(t, policy(namespace, "configmap-settings"), fleet.ConditionIs("Ready", "True"))
}

func TestAnOverridePolicyNamesTheRulesThatAreForNoCluster(t *testing.T) {
	f := fleet.Shared(t)
	namespace := f.Hub().Namespace(t)
	slip := func(cluster string) string {
		return overrideFor(namespace, "slip", "  overrideRules:\n  - {overriders: {labelsOverrider: [{operator: add, value: {size: large}}]}}\n  - {targetCluster: {clusterNames: ["+cluster+"]}, overriders: {}}")
	}
	f.Hub().Apply(t, slip("member11"))
	f.Hub().Eventually(t, overridePolicy(namespace, "slip"), fleet.ConditionIs("Effective", "False"),
		fleet.ConditionSays("Effective", "NoClusterSelected: no cluster is selected by the targetCluster of spec.overrideRules[1]"))
	f.Hub().Apply(t, slip("member1"))
	f.Hub().Eventually(t, overridePolicy(namespace, "slip"), fleet.ConditionIs("Effective", "True"))
}

// An override policy for a kind that the hub does not serve says so, in the status of the hub as well, until the kind is mended;
// and then that there is nothing of that kind, until something is propagated.
func TestAnOverridePolicyThatSelectsNothingSaysSo(t *testing.T) {
	f := fleet.Shared(t)
	namespace := f.Hub().Namespace(t)
	selects := func(kind string) string {
		return overrideFor(namespace, "slip", "  resourceSelectors:\n  - {apiVersion: v1, kind: "+kind+"}\n  overrideRules:\n  - {overriders: {labelsOverrider: [{operator: add, value: {size: large}}]}}")
	}
	f.Hub().Apply(t, selects("Configmap"))
	f.Hub().Eventually(t, overridePolicy(namespace, "slip"), fleet.ConditionIs("Effective", "False"),
		fleet.ConditionSays("Effective", "KindNotFound: the hub does not serve v1 Configmap (v1 ConfigMap is probably meant)"))
	told := func(why string) {
		t.Helper()
		status, err := f.Hub().CLI(t.Context(), "status")
		if err != nil {
			t.Fatal(err)
		}
		if want := "override policy " + namespace + "/slip: " + why; !strings.Contains(status, want) {
			t.Errorf("the status does not say %q:\n%s", want, status)
		}
	}
	told("the hub does not serve v1 Configmap")

	const none = "the resource selectors select nothing that is propagated: "
	f.Hub().Apply(t, selects("ConfigMap, name: setings"))
	f.Hub().Apply(t, fill(namespace, settings)+"---"+policyFor(configMap(namespace, "settings")))
	f.Hub().Eventually(t, overridePolicy(namespace, "slip"), fleet.ConditionIs("Effective", "False"),
		fleet.ConditionSays("Effective", "NothingSelected: "+none+"no ConfigMap in namespace "+namespace+" has the name setings (1 is there)"))
	told(none + "no ConfigMap in namespace " + namespace + " has the name setings")
	f.Hub().Apply(t, selects("ConfigMap, name: settings"))
	f.Hub().Eventually(t, overridePolicy(namespace, "slip"), fleet.ConditionIs("Effective", "True"))
	f.Hub().Delete(t, configMap(namespace, "settings"))
	f.Hub().Eventually(t, overridePolicy(namespace, "slip"), fleet.ConditionIs("Effective", "False"),
		fleet.ConditionSays("Effective", "NothingSelected: "+none))
}
