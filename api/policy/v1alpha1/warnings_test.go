package v1alpha1_test

import (
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"sigs.k8s.io/yaml"

	policyv1alpha1 "windlass.dev/windlass/api/policy/v1alpha1"
)

func anyCluster(string) bool { return true }

func TestAFieldWithoutEffectBesideTheOthersIsWarnedOf(t *testing.T) {
	const (
		scheduling = "spec.placement.replicaScheduling."
		duplicated = " has no effect: with replicaSchedulingType Duplicated every cluster gets all replicas"
		weights    = "weightPreference: {staticWeightList: [{targetCluster: {clusterNames: [a]}, weight: 1}]}"
		dynamic    = "weightPreference: {dynamicWeight: AvailableReplicas}"
		spread     = "spreadConstraints: [{spreadByField: cluster, minGroups: 2}]"
	)
	for _, test := range []struct {
		reason, placement string
		want              []string
	}{
		{"nothing is said", "{}", nil},
		{"static weights divide", "{replicaScheduling: {replicaSchedulingType: Divided, replicaDivisionPreference: Weighted, " + weights + "}}", nil},
		{"so does room", "{replicaScheduling: {replicaSchedulingType: Divided, " + dynamic + "}, " + spread + "}", nil},
		{"as few as have the room", "{replicaScheduling: {replicaDivisionPreference: Aggregated}, " + spread + "}", nil},
		{"all replicas everywhere", "{replicaScheduling: {replicaSchedulingType: Duplicated}, " + spread + "}", nil},
		{"static weights beside Aggregated", "{replicaScheduling: {replicaDivisionPreference: Aggregated, " + weights + "}}",
			[]string{scheduling + "weightPreference has no effect: with replicaDivisionPreference Aggregated the room of the clusters decides"}},
		{"room beside Duplicated", "{replicaScheduling: {replicaSchedulingType: Duplicated, " + dynamic + "}}", []string{scheduling + "weightPreference" + duplicated}},
		{"Aggregated beside Duplicated", "{replicaScheduling: {replicaSchedulingType: Duplicated, replicaDivisionPreference: Aggregated}}",
			[]string{scheduling + "replicaDivisionPreference" + duplicated}},
		{"both weights", "{replicaScheduling: {weightPreference: {dynamicWeight: AvailableReplicas, staticWeightList: [{targetCluster: {clusterNames: [a]}, weight: 1}]}}}",
			[]string{scheduling + "weightPreference.staticWeightList has no effect: dynamicWeight wins over it"}},
		{"constraints beside static weights", "{replicaScheduling: {" + weights + "}, " + spread + "}",
			[]string{"spec.placement.spreadConstraints choose no clusters: where replicas are divided by static or equal weights, the weights do"}},
		{"constraints beside no weights", "{replicaScheduling: {replicaSchedulingType: Divided, replicaDivisionPreference: Weighted}, " + spread + "}",
			[]string{"spec.placement.spreadConstraints choose no clusters: where replicas are divided by static or equal weights, the weights do"}},
		{"constraints beside weights that are there and empty", "{replicaScheduling: {replicaSchedulingType: Divided, replicaDivisionPreference: Weighted, weightPreference: {}}, " + spread + "}", nil},
	} {
		policy := &policyv1alpha1.PropagationPolicy{}
		if err := yaml.UnmarshalStrict([]byte(test.placement), &policy.Spec.Placement); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(test.want, policyv1alpha1.Warnings(policy, anyCluster), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.reason, diff)
		}
	}
}

func TestANameThatNoClusterHasIsWarnedOf(t *testing.T) {
	exists := func(cluster string) bool { return cluster == "a" || cluster == "b" }
	const yet = "nothing yet: no cluster is called c"
	for _, test := range []struct {
		reason, spec string
		want         []string
	}{
		{"all are there", "{placement: {clusterAffinity: {clusterNames: [a, b]}}, suspension: {dispatchingOnClusters: {clusterNames: [a]}}}", nil},
		{"one of those that are paused", "{suspension: {dispatchingOnClusters: {clusterNames: [a, c]}}}", []string{"spec.suspension.dispatchingOnClusters.clusterNames[1] pauses " + yet}},
		{"none is paused", "{suspension: {dispatchingOnClusters: {}}}", []string{"spec.suspension.dispatchingOnClusters pauses nothing: it names no cluster"}},
		{"one that is excluded", "{placement: {clusterAffinity: {exclude: [c]}}}", []string{"spec.placement.clusterAffinity.exclude[0] excludes " + yet}},
		{"one in each group", "{placement: {clusterAffinities: [{affinityName: g, clusterNames: [c], overflowAffinities: [{affinityName: o, clusterNames: [c]}]}]}}", []string{
			"spec.placement.clusterAffinities[0].clusterNames[0] selects " + yet, "spec.placement.clusterAffinities[0].overflowAffinities[0].clusterNames[0] selects " + yet}},
		{"one of the weights", "{placement: {replicaScheduling: {weightPreference: {staticWeightList: [{targetCluster: {clusterNames: [c]}, weight: 1}]}}}}",
			[]string{"spec.placement.replicaScheduling.weightPreference.staticWeightList[0].targetCluster.clusterNames[0] selects " + yet}},
		{"one that is excluded as well", "{placement: {clusterAffinity: {clusterNames: [a, b], exclude: [b]}}}",
			[]string{"spec.placement.clusterAffinity.clusterNames[1] has no effect: exclude names b, too"}},
		{"some of them", "{placement: {clusterAffinity: {clusterNames: [u, a, v, w]}}}",
			[]string{"spec.placement.clusterAffinity.clusterNames selects nothing yet by 3 of its 4 names: no cluster is called u, v, w"}},
		{"many", "{placement: {clusterAffinity: {clusterNames: [a, c, d, e, f, g, h, i]}}}",
			[]string{"spec.placement.clusterAffinity.clusterNames selects nothing yet by 7 of its 8 names: no cluster is called c, d, e, f, g and 2 more"}},
		{"two that are excluded as well", "{placement: {clusterAffinity: {clusterNames: [a, b], exclude: [b, a]}}}",
			[]string{"spec.placement.clusterAffinity.clusterNames has no effect by 2 of its 2 names: exclude names a, b, too"}},
		{"labels beside a name", "{resourceSelectors: [{apiVersion: v1, kind: ConfigMap, name: a, labelSelector: {matchLabels: {a: b}}}]}",
			[]string{"spec.resourceSelectors[0].labelSelector has no effect: the name alone selects"}},
	} {
		policy := &policyv1alpha1.PropagationPolicy{}
		if err := yaml.UnmarshalStrict([]byte(test.spec), &policy.Spec); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(test.want, policyv1alpha1.Warnings(policy, exists), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.reason, diff)
		}
	}
}

func TestWarningsFitIntoOneAnswer(t *testing.T) {
	const sends = 4096 // letters, by the API server, which cuts all of them when there are more
	long := make([]string, 60)
	for i := range long {
		long[i] = strings.Repeat("c", 250) + strconv.Itoa(i)
	}
	group := policyv1alpha1.ClusterAffinityTerm{ClusterAffinity: policyv1alpha1.ClusterAffinity{ClusterNames: long}}
	groups := &policyv1alpha1.PropagationPolicy{}
	for range 10 {
		groups.Spec.Placement.ClusterAffinities = append(groups.Spec.Placement.ClusterAffinities, group)
	}
	rules := &policyv1alpha1.OverridePolicy{}
	rules.Spec.OverrideRules = make([]policyv1alpha1.RuleWithCluster, 100)
	noCluster := func(string) bool { return false }
	for _, test := range []struct {
		reason string
		said   []string
		last   string
	}{
		{"ten groups of long names", policyv1alpha1.Warnings(groups, noCluster), "and 8 more warnings like these: they don't fit into one answer"},
		{"a hundred empty rules", policyv1alpha1.OverrideWarnings(rules, noCluster), ""},
	} {
		if letters := utf8.RuneCountInString(strings.Join(test.said, "")); letters > sends {
			t.Errorf("%s: %d letters are told of, want %d at most", test.reason, letters, sends)
		}
		if last := test.said[len(test.said)-1]; !strings.HasSuffix(last, test.last) {
			t.Errorf("%s: the last warning is %q, want %q", test.reason, last, test.last)
		}
	}
}

func TestAnOverriderWithoutEffectIsWarnedOf(t *testing.T) {
	const rule = "spec.overrideRules[0].overriders."
	for _, test := range []struct {
		reason, spec string
		want         []string
	}{
		{"no rule at all", "{}", []string{"spec.overrideRules is empty: the policy changes nothing"}},
		{"a rule that is not for a cluster yet, and empty", "{overrideRules: [{targetCluster: {clusterNames: [c]}, overriders: {}}]}", []string{
			"spec.overrideRules[0].targetCluster.clusterNames[0] selects nothing yet: no cluster is called c", "spec.overrideRules[0].overriders is empty: it changes nothing"}},
		{"rules as they were once written", "{overriders: {labelsOverrider: [{operator: add, value: {a: b}}]}}", nil},
		{"a selector", "{resourceSelectors: [{apiVersion: v1, kind: ConfigMap, name: a, labelSelector: {}}], overriders: {labelsOverrider: [{operator: add, value: {a: b}}]}}",
			[]string{"spec.resourceSelectors[0].labelSelector has no effect: the name alone selects"}},
		{"all as it should be", overriders(`{imageOverrider: [{component: Tag, operator: remove}], argsOverrider: [{containerName: a, operator: remove, value: [b]}],
			labelsOverrider: [{operator: remove, value: {a: ""}}], plaintext: [{path: /a, operator: remove}, {path: /b, operator: add, value: 0}]}`), nil},
		{"an image", overriders("{imageOverrider: [{component: Tag, operator: remove, value: v1}]}"),
			[]string{rule + "imageOverrider[0].value has no effect: remove takes away the whole Tag"}},
		{"words", overriders("{commandOverrider: [{containerName: a, operator: add}], argsOverrider: [{containerName: a, operator: remove, value: []}]}"), []string{
			rule + "commandOverrider[0] changes nothing: its value names nothing to add", rule + "argsOverrider[0] changes nothing: its value names nothing to remove"}},
		{"marks", overriders("{labelsOverrider: [{operator: remove}], annotationsOverrider: [{operator: replace, value: {}}]}"), []string{
			rule + "labelsOverrider[0] changes nothing: its value names nothing to remove", rule + "annotationsOverrider[0] changes nothing: its value names nothing to replace"}},
		{"a value beside remove, and none", overriders("{plaintext: [{path: /a, operator: remove, value: 1}, {path: /b, operator: replace}]}"), []string{
			rule + "plaintext[0].value has no effect: remove takes away all that is at path", rule + "plaintext[1] has no value and writes null: say remove to take away what is at path"}},
		{"a conflict that is resolved", overriders("{annotationsOverrider: [{operator: add, value: {work.karmada.io/conflict-resolution: Overwrite}}]}"), nil},
		{"one that is not", overriders("{annotationsOverrider: [{operator: add, value: {work.karmada.io/conflict-resolution: replace}}]}"), []string{
			rule + `annotationsOverrider[0].value[work.karmada.io/conflict-resolution] has no effect, for it says "replace": it may say overwrite or abort`}},
	} {
		policy := &policyv1alpha1.OverridePolicy{}
		if err := yaml.UnmarshalStrict([]byte(test.spec), &policy.Spec); err != nil {
			t.Fatalf("%s: %v", test.reason, err)
		}
		if diff := cmp.Diff(test.want, policyv1alpha1.OverrideWarnings(policy, func(cluster string) bool { return cluster != "c" }), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.reason, diff)
		}
	}
}

func overriders(list string) string { return "{overrideRules: [{overriders: " + list + "}]}" }

func TestAMarkOfATemplateThatMeansNothingIsWarnedOf(t *testing.T) {
	const resolution, retain = "work.karmada.io/conflict-resolution", "resourcetemplate.karmada.io/retain-replicas"
	for _, test := range []struct {
		reason              string
		labels, annotations map[string]string
		want                []string
	}{
		{"there is none", map[string]string{"a": "b"}, nil, nil},
		{"all mean something", map[string]string{retain: "true"}, map[string]string{resolution: "OVERWRITE"}, nil},
		{"none does", map[string]string{retain: "yes"}, map[string]string{resolution: "overwirte"}, []string{
			`metadata.annotations[work.karmada.io/conflict-resolution] has no effect, for it says "overwirte": it may say overwrite or abort`,
			`metadata.labels[resourcetemplate.karmada.io/retain-replicas] has no effect, for it says "yes": true leaves the replicas to the members`}},
	} {
		if diff := cmp.Diff(test.want, policyv1alpha1.TemplateWarnings(test.labels, test.annotations), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.reason, diff)
		}
	}
}
