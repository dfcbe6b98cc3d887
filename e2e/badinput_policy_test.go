package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/discovery"
	"sigs.k8s.io/yaml"

	"windlass.dev/windlass/e2e/fleet"
)

// What people write wrong in policies and overrides. Each case is refused when it is applied, with the field and the
// reason, or accepted and then reported by an object; none of them ends the hub, and none holds up another.
//
// Left out is what can't be written here: CEL expressions and their cost, cron schedules and time zones, durations,
// strategic merge patches, regular expressions and scripts are in none of the fields; nothing depends on a policy
// in a circle. Not wrong, as in Karmada: labels beside a name in a selector, Weighted without weights, maxGroups 0,
// a negative tolerationSeconds (Kubernetes takes it for 0), args for a container that is not there, and secrets in
// plain text, which nobody can tell from other values. A namespace that is left out is the one of the user's context.
// What wins among policies and overrides that agree about everything is in the corpus.

// A badPolicy is refused by the hub.
type badPolicy struct {
	reason string
	kind   string // PropagationPolicy when empty
	spec   string // YAML; resourceSelectors are added where it has none and the kind needs some
	says   []string
}

const (
	propagation        = "PropagationPolicy"
	clusterPropagation = "ClusterPropagationPolicy"
	overriding         = "OverridePolicy"
	clusterOverriding  = "ClusterOverridePolicy"
	rebalancing        = "WorkloadRebalancer"
)

var badSelectors = []badPolicy{
	{"an empty list of selectors", "", `{resourceSelectors: []}`, []string{"spec.resourceSelectors: Required value: say which templates this policy is for"}},
	{"no spec at all", "", `{resourceSelectors: null}`, []string{"spec.resourceSelectors: Required value"}},
	{"a selector without kind", "", `{resourceSelectors: [{apiVersion: v1}]}`, []string{"spec.resourceSelectors[0].kind: Required value: name the kind of the templates, such as Deployment"}},
	{"a selector without apiVersion", "", `{resourceSelectors: [{kind: ConfigMap}]}`, []string{"spec.resourceSelectors[0].apiVersion: Required value: name group and version"}},
	{"an empty selector", "", `{resourceSelectors: [{}]}`, []string{"spec.resourceSelectors[0].apiVersion: Required value", "spec.resourceSelectors[0].kind: Required value"}},
	{"a group without a version", "", `{resourceSelectors: [{apiVersion: apps, kind: Deployment}]}`, []string{`spec.resourceSelectors[0].apiVersion: Invalid value: "apps": must be GROUP/VERSION`}},
	{"a wildcard for the kind", "", `{resourceSelectors: [{apiVersion: v1, kind: "*"}]}`, []string{`spec.resourceSelectors[0].kind: Invalid value: "*": must be the name of one kind`}},
	{"the name of the resource for the kind", "", `{resourceSelectors: [{apiVersion: apps/v1, kind: deployments.apps}]}`, []string{`spec.resourceSelectors[0].kind: Invalid value: "deployments.apps": must be the name of one kind`}},
	{"the hub's works", "", `{resourceSelectors: [{apiVersion: work.karmada.io/v1alpha1, kind: PropagationWork}]}`, []string{`spec.resourceSelectors[0].kind: Invalid value: "PropagationWork": can't be propagated: it says what this hub does`}},
	{"the hub's clusters", clusterPropagation, `{resourceSelectors: [{apiVersion: cluster.karmada.io/v1alpha1, kind: MemberCluster}]}`, []string{`spec.resourceSelectors[0].kind: Invalid value: "MemberCluster": can't be propagated`}},
	{"the hub's tokens", clusterPropagation, `{resourceSelectors: [{apiVersion: windlass.dev/v1alpha1, kind: JoinToken}]}`, []string{`spec.resourceSelectors[0].kind: Invalid value: "JoinToken": can't be propagated`}},
	{"policies", "", `{resourceSelectors: [{apiVersion: policy.karmada.io/v1alpha1, kind: PropagationPolicy}]}`, []string{`spec.resourceSelectors[0].kind: Invalid value: "PropagationPolicy": can't be propagated`}},
	{"machines", clusterPropagation, `{resourceSelectors: [{apiVersion: v1, kind: Node}]}`, []string{`spec.resourceSelectors[0].kind: Invalid value: "Node": can't be propagated: it describes a machine`}},
	{"events", "", `{resourceSelectors: [{apiVersion: v1, kind: Event}]}`, []string{`spec.resourceSelectors[0].kind: Invalid value: "Event": can't be propagated: it records what happened on this hub`}},
	{"another namespace", "", `{resourceSelectors: [{apiVersion: v1, kind: ConfigMap, namespace: elsewhere}]}`, []string{`spec.resourceSelectors[0].namespace: Invalid value: "elsewhere": must be the policy's own namespace`, "a ClusterPropagationPolicy selects in other namespaces"}},
	{"a reserved namespace", clusterPropagation, `{resourceSelectors: [{apiVersion: v1, kind: ConfigMap, namespace: kube-system}]}`, []string{`spec.resourceSelectors[0].namespace: Invalid value: "kube-system": is reserved`}},
	{"a namespace with capitals", clusterPropagation, `{resourceSelectors: [{apiVersion: v1, kind: ConfigMap, namespace: Shop}]}`, []string{`spec.resourceSelectors[0].namespace: Invalid value: "Shop": a lowercase RFC 1123 label`}},
	{"a name with a slash", "", `{resourceSelectors: [{apiVersion: v1, kind: ConfigMap, name: a/b}]}`, []string{`spec.resourceSelectors[0].name: Invalid value: "a/b": may not contain '/'`}},
	{"an operator that there is not", "", `{resourceSelectors: [{apiVersion: v1, kind: ConfigMap, labelSelector: {matchExpressions: [{key: a, operator: Foo, values: [b]}]}}]}`, []string{`spec.resourceSelectors[0].labelSelector.matchExpressions[0].operator: Invalid value: "Foo"`}},
	{"In without values", "", `{resourceSelectors: [{apiVersion: v1, kind: ConfigMap, labelSelector: {matchExpressions: [{key: a, operator: In, values: []}]}}]}`, []string{"spec.resourceSelectors[0].labelSelector.matchExpressions[0].values: Required value"}},
	{"Exists with values", "", `{resourceSelectors: [{apiVersion: v1, kind: ConfigMap, labelSelector: {matchExpressions: [{key: a, operator: Exists, values: [b]}]}}]}`, []string{"spec.resourceSelectors[0].labelSelector.matchExpressions[0].values: Forbidden"}},
	{"an expression without key", "", `{resourceSelectors: [{apiVersion: v1, kind: ConfigMap, labelSelector: {matchExpressions: [{operator: Exists}]}}]}`, []string{"spec.resourceSelectors[0].labelSelector.matchExpressions[0].key: "}},
	{"the value of a label is too long", "", `{resourceSelectors: [{apiVersion: v1, kind: ConfigMap, labelSelector: {matchLabels: {a: ` + strings.Repeat("x", 64) + `}}}]}`, []string{"spec.resourceSelectors[0].labelSelector.matchLabels", "63"}},
	{"the key of a label has two slashes", "", `{resourceSelectors: [{apiVersion: v1, kind: ConfigMap, labelSelector: {matchLabels: {a/b/c: d}}}]}`, []string{"spec.resourceSelectors[0].labelSelector.matchLabels", "a/b/c"}},
	{"more expressions than anybody means", "", `{resourceSelectors: [{apiVersion: v1, kind: ConfigMap, labelSelector: {matchExpressions: [` + strings.Repeat("{key: a, operator: Exists}, ", 10001) + `]}}]}`, []string{"spec.resourceSelectors[0].labelSelector.matchExpressions: Too many: 10001: must have at most 100 items"}},
}

var badPlacements = []badPolicy{
	{"clusterAffinity beside clusterAffinities", "", `{placement: {clusterAffinity: {clusterNames: [member1]}, clusterAffinities: [{affinityName: a, clusterNames: [member2]}]}}`, []string{"spec.placement.clusterAffinities: Forbidden: can't stand beside clusterAffinity"}},
	{"a group without a name", "", `{placement: {clusterAffinities: [{clusterNames: [member1]}]}}`, []string{"spec.placement.clusterAffinities[0].affinityName: Required value"}},
	{"two groups of one name", "", `{placement: {clusterAffinities: [{affinityName: a}, {affinityName: a}]}}`, []string{`spec.placement.clusterAffinities[1].affinityName: Duplicate value: "a"`}},
	{"the name of a group is too long", "", `{placement: {clusterAffinities: [{affinityName: ` + strings.Repeat("x", 33) + `}]}}`, []string{"spec.placement.clusterAffinities[0].affinityName: Too long: may not be more than 32 bytes"}},
	{"overflow where nothing is counted", "", `{placement: {clusterAffinities: [{affinityName: a, clusterNames: [member1], overflowAffinities: [{affinityName: b}]}]}}`, []string{"spec.placement.clusterAffinities[0].overflowAffinities: Forbidden: only has a meaning where replicas are divided by capacity"}},
	{"overflow of a group without an end", "", `{placement: {replicaScheduling: {replicaSchedulingType: Divided, replicaDivisionPreference: Aggregated}, clusterAffinities: [{affinityName: a, overflowAffinities: [{affinityName: b}]}]}}`, []string{"spec.placement.clusterAffinities[0].overflowAffinities: Forbidden: needs a group that has an end"}},
	{"a pattern for a cluster's name", "", `{placement: {clusterAffinity: {clusterNames: ["member*"]}}}`, []string{`spec.placement.clusterAffinity.clusterNames[0]: Invalid value: "member*": no cluster can bear this name`}},
	{"a cluster's name is too long", "", `{placement: {clusterAffinity: {exclude: [` + strings.Repeat("x", 49) + `]}}}`, []string{"spec.placement.clusterAffinity.exclude[0]: Invalid value", "at most 48 lower case letters"}},
	{"an empty cluster name", "", `{placement: {clusterAffinity: {clusterNames: [""]}}}`, []string{`spec.placement.clusterAffinity.clusterNames[0]: Invalid value: "": no cluster can bear this name`}},
	{"a field that clusters do not have", "", `{placement: {clusterAffinity: {fieldSelector: {matchExpressions: [{key: country, operator: In, values: [x]}]}}}}`, []string{`spec.placement.clusterAffinity.fieldSelector.matchExpressions[0].key: Unsupported value: "country": supported values: "provider", "region", "zone"`}},
	{"an operator for fields that there is not", "", `{placement: {clusterAffinity: {fieldSelector: {matchExpressions: [{key: zone, operator: Exists}]}}}}`, []string{`spec.placement.clusterAffinity.fieldSelector.matchExpressions[0].operator: Unsupported value: "Exists": supported values: "In", "NotIn"`}},
	{"a field without values", "", `{placement: {clusterAffinity: {fieldSelector: {matchExpressions: [{key: zone, operator: In}]}}}}`, []string{"spec.placement.clusterAffinity.fieldSelector.matchExpressions[0].values: Required value"}},
	{"more fields than anybody means", "", `{placement: {clusterAffinity: {fieldSelector: {matchExpressions: [` + strings.Repeat("{key: zone, operator: In, values: [a]}, ", 101) + `]}}}}`, []string{"spec.placement.clusterAffinity.fieldSelector.matchExpressions: Too many: 101: must have at most 100 items"}},
	{"a label selector of clusters that can't be", "", `{placement: {clusterAffinity: {labelSelector: {matchExpressions: [{key: a, operator: Gt, values: ["1"]}]}}}}`, []string{`spec.placement.clusterAffinity.labelSelector.matchExpressions[0].operator: Invalid value: "Gt"`}},
	{"a toleration with an operator of nodes only", "", `{placement: {clusterTolerations: [{key: a, operator: Lt, value: "1"}]}}`, []string{`spec.placement.clusterTolerations[0].operator: Unsupported value: "Lt": supported values: "Equal", "Exists"`}},
	{"a toleration of nothing", "", `{placement: {clusterTolerations: [{}]}}`, []string{"spec.placement.clusterTolerations[0].key: Required value: name the taint"}},
	{"a toleration with an effect that there is not", "", `{placement: {clusterTolerations: [{key: a, operator: Exists, effect: Never}]}}`, []string{`spec.placement.clusterTolerations[0].effect: Unsupported value: "Never"`}},
	{"seconds for an effect that has no end", "", `{placement: {clusterTolerations: [{key: a, operator: Exists, effect: NoSchedule, tolerationSeconds: 5}]}}`, []string{"spec.placement.clusterTolerations[0].effect: Invalid value: \"NoSchedule\": must be NoExecute beside tolerationSeconds"}},
	{"a value beside Exists", "", `{placement: {clusterTolerations: [{key: a, operator: Exists, value: b}]}}`, []string{`spec.placement.clusterTolerations[0].value: Invalid value: "b": must be empty with operator Exists`}},
	{"all weights are 0", "", `{placement: {replicaScheduling: {replicaSchedulingType: Divided, weightPreference: {staticWeightList: [{targetCluster: {clusterNames: [member1]}, weight: 0}, {targetCluster: {clusterNames: [member2]}, weight: 0}]}}}}`, []string{"staticWeightList[0].weight: Invalid value: 0: must be 1 or more", "staticWeightList[1].weight: Invalid value: 0"}},
	{"a negative weight", "", `{placement: {replicaScheduling: {replicaSchedulingType: Divided, weightPreference: {staticWeightList: [{targetCluster: {clusterNames: [member1]}, weight: -3}]}}}}`, []string{"spec.placement.replicaScheduling.weightPreference.staticWeightList[0].weight: Invalid value: -3: must be 1 or more"}},
	{"a weight that is left out", "", `{placement: {replicaScheduling: {replicaSchedulingType: Divided, weightPreference: {staticWeightList: [{targetCluster: {clusterNames: [member1]}}]}}}}`, []string{"staticWeightList[0].weight: Invalid value: 0: must be 1 or more"}},
	{"a weight in quotes", "", `{placement: {replicaScheduling: {weightPreference: {staticWeightList: [{targetCluster: {}, weight: "3"}]}}}}`, []string{"weight", "string", "int64"}},
	{"a weight beyond all numbers", "", `{placement: {replicaScheduling: {weightPreference: {staticWeightList: [{targetCluster: {}, weight: 9223372036854775808}]}}}}`, []string{"weight", "int64"}},
	{"a weight with a fraction", "", `{placement: {replicaScheduling: {weightPreference: {staticWeightList: [{targetCluster: {}, weight: 1.5}]}}}}`, []string{"weight", "1.5"}},
	{"a dynamic weight that there is not", "", `{placement: {replicaScheduling: {replicaSchedulingType: Divided, weightPreference: {dynamicWeight: FreeMoney}}}}`, []string{`spec.placement.replicaScheduling.weightPreference.dynamicWeight: Unsupported value: "FreeMoney": supported values: "AvailableReplicas"`}},
	{"a type of scheduling that there is not", "", `{placement: {replicaScheduling: {replicaSchedulingType: Shared}}}`, []string{`spec.placement.replicaScheduling.replicaSchedulingType: Unsupported value: "Shared": supported values: "Divided", "Duplicated"`}},
	{"a division that there is not", "", `{placement: {replicaScheduling: {replicaDivisionPreference: Scattered}}}`, []string{`spec.placement.replicaScheduling.replicaDivisionPreference: Unsupported value: "Scattered": supported values: "Aggregated", "Weighted"`}},
	{"more groups at least than at most", "", `{placement: {spreadConstraints: [{spreadByField: cluster, minGroups: 3, maxGroups: 2}]}}`, []string{"spec.placement.spreadConstraints[0].maxGroups: Invalid value: 2: must not be below minGroups, which is 3"}},
	{"a negative number of groups", "", `{placement: {spreadConstraints: [{spreadByField: cluster, minGroups: -1, maxGroups: -2}]}}`, []string{"spec.placement.spreadConstraints[0].minGroups: Invalid value: -1: must be 0 or more", "spec.placement.spreadConstraints[0].maxGroups: Invalid value: -2"}},
	{"spread by a field that there is not", "", `{placement: {spreadConstraints: [{spreadByField: country}]}}`, []string{`spec.placement.spreadConstraints[0].spreadByField: Unsupported value: "country": supported values: "cluster", "provider", "region", "zone"`}},
	{"spread by one field twice", "", `{placement: {spreadConstraints: [{spreadByField: cluster}, {spreadByField: cluster}]}}`, []string{`spec.placement.spreadConstraints[1].spreadByField: Duplicate value: "cluster"`}},
	{"spread by region, and nothing said of clusters", "", `{placement: {spreadConstraints: [{spreadByField: region, minGroups: 2}]}}`, []string{"spec.placement.spreadConstraints: Required value: one entry must have spreadByField: cluster"}},
	{"spread by field and label in one", "", `{placement: {spreadConstraints: [{spreadByField: cluster, spreadByLabel: tier}]}}`, []string{`spec.placement.spreadConstraints[0].spreadByLabel: Invalid value: "tier": can't stand beside spreadByField`}},
	{"spread by what is no label", "", `{placement: {spreadConstraints: [{spreadByLabel: a/b/c}]}}`, []string{"spec.placement.spreadConstraints[0].spreadByLabel: Invalid value: \"a/b/c\""}},
	{"near and far by one label", "", `{placement: {workloadAffinity: {affinity: {groupByLabelKey: team}, antiAffinity: {groupByLabelKey: team}}}}`, []string{"spec.placement.workloadAffinity.antiAffinity.groupByLabelKey: Invalid value: \"team\": must differ from affinity.groupByLabelKey"}},
	{"near by no label", "", `{placement: {workloadAffinity: {affinity: {groupByLabelKey: ""}}}}`, []string{"spec.placement.workloadAffinity.affinity.groupByLabelKey: Required value"}},
}

var badBehaviour = []badPolicy{
	{"a field that does not exist", "", `{placment: {}}`, []string{`unknown field "spec.placment"`}},
	{"a field in the wrong place", "", `{clusterAffinity: {clusterNames: [member1]}}`, []string{`unknown field "spec.clusterAffinity"`}},
	{"a priority that is too large", "", `{priority: 2147483648}`, []string{"priority", "2147483648"}},
	{"a priority in words", "", `{priority: high}`, []string{"priority", "string"}},
	{"a list for a single object", "", `{placement: []}`, []string{"placement", "array"}},
	{"a duration for seconds", "", `{placement: {clusterTolerations: [{key: a, operator: Exists, effect: NoExecute, tolerationSeconds: 5 minutes}]}}`, []string{"tolerationSeconds", "string"}},
	{"seconds beyond all numbers", "", `{placement: {clusterTolerations: [{key: a, operator: Exists, effect: NoExecute, tolerationSeconds: 1e30}]}}`, []string{"tolerationSeconds"}},
	{"a word of YAML 1.1 that is no string", "", `{placement: {clusterAffinity: {labelSelector: {matchLabels: {gpu: yes}}}}}`, []string{"matchLabels", "bool", "string"}},
	{"a conflict resolution that there is not", "", `{conflictResolution: Merge}`, []string{`spec.conflictResolution: Unsupported value: "Merge": supported values: "Abort", "Overwrite"`}},
	{"preemption that there is not", "", `{preemption: Sometimes}`, []string{`spec.preemption: Unsupported value: "Sometimes": supported values: "Always", "Never"`}},
	{"preemption of whatever there is", "", `{preemption: Always, resourceSelectors: [{apiVersion: v1, kind: ConfigMap}]}`, []string{`spec.preemption: Invalid value: "Always"`, "resourceSelectors[0] has no name"}},
	{"an activation that there is not", "", `{activationPreference: Eager}`, []string{`spec.activationPreference: Unsupported value: "Eager": supported values: "Lazy"`}},
	{"suspension everywhere and somewhere", "", `{suspension: {dispatching: true, dispatchingOnClusters: {clusterNames: [member1]}}}`, []string{"spec.suspension.dispatchingOnClusters: Invalid value", "can't stand beside dispatching: true"}},
	{"suspension in a cluster that can't be", "", `{suspension: {dispatchingOnClusters: {clusterNames: [Member_1]}}}`, []string{`spec.suspension.dispatchingOnClusters.clusterNames[0]: Invalid value: "Member_1"`}},
	{"a priority class of another source", "", `{schedulePriority: {priorityClassSource: PodPriorityClass, priorityClassName: a}}`, []string{`spec.schedulePriority.priorityClassSource: Unsupported value: "PodPriorityClass": supported values: "KubePriorityClass"`}},
	{"a priority class without a name", "", `{schedulePriority: {priorityClassSource: KubePriorityClass}}`, []string{"spec.schedulePriority.priorityClassName: Required value"}},
	{"an override policy without a name", "", `{dependentOverrides: [""]}`, []string{"spec.dependentOverrides[0]: Required value: name an override policy"}},
	{"what is not supported yet", "", `{propagateDeps: true}`, []string{"spec.propagateDeps: Forbidden: is not supported yet"}},
	{"failover that is not supported yet", "", `{failover: {cluster: {purgeMode: Directly}}}`, []string{"spec.failover.cluster: Forbidden: is not supported yet"}},
	{"many things at once", "", `{conflictResolution: Merge, placement: {clusterAffinity: {clusterNames: ["*"]}, replicaScheduling: {replicaSchedulingType: Shared}}}`, []string{"spec.conflictResolution: Unsupported", "spec.placement.clusterAffinity.clusterNames[0]: Invalid", "spec.placement.replicaScheduling.replicaSchedulingType: Unsupported"}},
}

// patched is an override with one plaintext operation.
func patched(operation string) string {
	return `{overrideRules: [{overriders: {plaintext: [` + operation + `]}}]}`
}

const patchedAt = "spec.overrideRules[0].overriders.plaintext[0]"

var badOverrides = []badPolicy{
	{"an operation that there is not", overriding, patched(`{path: /data/a, operator: mergee, value: b}`), []string{patchedAt + `.operator: Unsupported value: "mergee": supported values: "add", "remove", "replace"`}},
	{"test, which is no override", overriding, patched(`{path: /data/a, operator: test, value: b}`), []string{patchedAt + `.operator: Unsupported value: "test"`}},
	{"copy, by which documents can be blown up", overriding, patched(`{path: /data/a, operator: copy, value: b}`), []string{patchedAt + `.operator: Unsupported value: "copy"`}},
	{"no operation", overriding, patched(`{path: /data/a, value: b}`), []string{patchedAt + `.operator: `}},
	{"a path without its slash", overriding, patched(`{path: data/a, operator: add, value: b}`), []string{patchedAt + `.path: Invalid value: "data/a": must begin with /`}},
	{"a path in dots", overriding, patched(`{path: .spec.replicas, operator: replace, value: 1}`), []string{patchedAt + `.path: Invalid value: ".spec.replicas": must begin with /, such as /spec/replicas`}},
	{"a path with a wrong escape", overriding, patched(`{path: /spec/~2bad, operator: add, value: b}`), []string{patchedAt + `.path: Invalid value: "/spec/~2bad"`, "write ~0 for ~ and ~1 for /"}},
	{"a patch that makes another object of it", overriding, patched(`{path: /kind, operator: replace, value: Secret}`), []string{patchedAt + ".path: Forbidden: /kind can't be overridden: the object would be another one"}},
	{"another version of it", overriding, patched(`{path: /apiVersion, operator: replace, value: v2}`), []string{patchedAt + ".path: Forbidden: /apiVersion can't be overridden"}},
	{"another name", overriding, patched(`{path: /metadata/name, operator: replace, value: b}`), []string{patchedAt + ".path: Forbidden: /metadata/name can't be overridden"}},
	{"another namespace", overriding, patched(`{path: /metadata/namespace, operator: add, value: kube-system}`), []string{patchedAt + ".path: Forbidden: /metadata/namespace can't be overridden"}},
	{"owners", overriding, patched(`{path: /metadata/ownerReferences, operator: add, value: []}`), []string{patchedAt + ".path: Forbidden: /metadata/ownerReferences can't be overridden: of metadata only labels and annotations travel"}},
	{"finalizers", overriding, patched(`{path: /metadata/finalizers/-, operator: add, value: example.test/hold}`), []string{patchedAt + ".path: Forbidden: /metadata/finalizers/- can't be overridden"}},
	{"a uid", overriding, patched(`{path: /metadata/uid, operator: add, value: x}`), []string{patchedAt + ".path: Forbidden: /metadata/uid can't be overridden"}},
	{"a resourceVersion", overriding, patched(`{path: /metadata/resourceVersion, operator: remove}`), []string{patchedAt + ".path: Forbidden: /metadata/resourceVersion can't be overridden"}},
	{"the status", overriding, patched(`{path: /status/replicas, operator: add, value: 3}`), []string{patchedAt + ".path: Forbidden: /status/replicas can't be overridden: the member writes it"}},
	{"the hub's own mark", overriding, patched(`{path: /metadata/labels/karmada.io~1managed, operator: remove}`), []string{patchedAt + ".path: Forbidden: karmada.io/managed is a mark of the hub's own"}},
	{"the removal of everything", overriding, patched(`{path: "", operator: remove}`), []string{patchedAt + `.path: Invalid value: "": names the whole object, which can't be removed`}},
	{"nothing in the place of everything", overriding, patched(`{path: "", operator: replace}`), []string{patchedAt + `.value: Invalid value: "": must be an object, for it takes the place of the whole one`}},
	{"a variable that there is not", overriding, patched(`{path: /data/a, operator: add, value: "${cluster.continent}"}`), []string{patchedAt + ".value: Invalid value", "cluster.continent", "cluster.name", "cluster.region"}},
	{"a variable without an end", overriding, patched(`{path: /data/a, operator: add, value: "${cluster.name"}`), []string{patchedAt + ".value: Invalid value", "${cluster.name"}},
	{"a variable in a path", overriding, patched(`{path: "/data/${cluster.name}", operator: add, value: b}`), []string{patchedAt + ".path: Invalid value", "refers to the cluster, which only values can"}},
	{"more operations than anybody means", overriding, patched(strings.Repeat(`{path: /data/a, operator: add, value: b}, `, 10001)), []string{"spec.overrideRules: Invalid value: 10002", "too many"}},
	{"an image component that there is not", overriding, `{overrideRules: [{overriders: {imageOverrider: [{component: Digest, operator: replace, value: x}]}}]}`, []string{`spec.overrideRules[0].overriders.imageOverrider[0].component: Unsupported value: "Digest"`, `"Registry", "Repository", "Tag"`}},
	{"a whole image for a tag", overriding, `{overrideRules: [{overriders: {imageOverrider: [{component: Tag, operator: replace, value: "repo::tag"}]}}]}`, []string{`spec.overrideRules[0].overriders.imageOverrider[0].value: Invalid value: "repo::tag": must be a tag`}},
	{"a repository with its tag", overriding, `{overrideRules: [{overriders: {imageOverrider: [{component: Repository, operator: replace, value: "shop/web:1"}]}}]}`, []string{`spec.overrideRules[0].overriders.imageOverrider[0].value: Invalid value: "shop/web:1": must be a path`, "without tag"}},
	{"a registry with a scheme", overriding, `{overrideRules: [{overriders: {imageOverrider: [{component: Registry, operator: replace, value: "https://registry.example.test"}]}}]}`, []string{`spec.overrideRules[0].overriders.imageOverrider[0].value: Invalid value: "https://registry.example.test": must be a host`}},
	{"an image to replace by nothing", overriding, `{overrideRules: [{overriders: {imageOverrider: [{component: Tag, operator: replace}]}}]}`, []string{"spec.overrideRules[0].overriders.imageOverrider[0].value: Required value"}},
	{"a predicate that is no pointer", overriding, `{overrideRules: [{overriders: {imageOverrider: [{predicate: {path: spec.image}, component: Tag, operator: remove}]}}]}`, []string{`spec.overrideRules[0].overriders.imageOverrider[0].predicate.path: Invalid value: "spec.image": must begin with /`}},
	{"words of no container", overriding, `{overrideRules: [{overriders: {argsOverrider: [{operator: add, value: [a]}]}}]}`, []string{"spec.overrideRules[0].overriders.argsOverrider[0].containerName: Required value: name the container"}},
	{"words to replace", overriding, `{overrideRules: [{overriders: {commandOverrider: [{containerName: a, operator: replace, value: [a]}]}}]}`, []string{`spec.overrideRules[0].overriders.commandOverrider[0].operator: Unsupported value: "replace": supported values: "add", "remove"`}},
	{"a label that can't be", overriding, `{overrideRules: [{overriders: {labelsOverrider: [{operator: add, value: {a/b/c: d}}]}}]}`, []string{`spec.overrideRules[0].overriders.labelsOverrider[0].value: Invalid value: "a/b/c"`}},
	{"a label's value that can't be", overriding, `{overrideRules: [{overriders: {labelsOverrider: [{operator: add, value: {a: "b c"}}]}}]}`, []string{`spec.overrideRules[0].overriders.labelsOverrider[0].value: Invalid value: "b c"`}},
	{"a label of the hub's own", overriding, `{overrideRules: [{overriders: {labelsOverrider: [{operator: replace, value: {karmada.io/managed: "false"}}]}}]}`, []string{"spec.overrideRules[0].overriders.labelsOverrider[0].value[karmada.io/managed]: Forbidden: is a mark of the hub's own"}},
	{"an annotation of the hub's own", clusterOverriding, `{overrideRules: [{overriders: {annotationsOverrider: [{operator: remove, value: {work.karmada.io/name: ""}}]}}]}`, []string{"spec.overrideRules[0].overriders.annotationsOverrider[0].value[work.karmada.io/name]: Forbidden: is a mark of the hub's own"}},
	{"a document in no field", overriding, `{overrideRules: [{overriders: {fieldOverrider: [{fieldPath: "", yaml: [{subPath: /a, operator: remove}]}]}}]}`, []string{"spec.overrideRules[0].overriders.fieldOverrider[0].fieldPath: Required value: name the string that holds the document"}},
	{"a document of two formats", overriding, `{overrideRules: [{overriders: {fieldOverrider: [{fieldPath: /data/a, json: [{subPath: /a, operator: remove}], yaml: [{subPath: /a, operator: remove}]}]}}]}`, []string{"spec.overrideRules[0].overriders.fieldOverrider[0].yaml: Forbidden: can't stand beside json"}},
	{"a document to which nothing is done", overriding, `{overrideRules: [{overriders: {fieldOverrider: [{fieldPath: /data/a}]}}]}`, []string{"spec.overrideRules[0].overriders.fieldOverrider[0]: Required value: say what to change in the document"}},
	{"nothing to write into a document", overriding, `{overrideRules: [{overriders: {fieldOverrider: [{fieldPath: /data/a, yaml: [{subPath: /a, operator: add}]}]}}]}`, []string{"spec.overrideRules[0].overriders.fieldOverrider[0].yaml[0].value: Required value"}},
	{"an empty name in a document", overriding, `{overrideRules: [{overriders: {fieldOverrider: [{fieldPath: /data/a, json: [{subPath: //a, operator: remove}]}]}}]}`, []string{`spec.overrideRules[0].overriders.fieldOverrider[0].json[0].subPath: Invalid value: "//a": has a / without a name after it`}},
	{"something to remove from a document", overriding, `{overrideRules: [{overriders: {fieldOverrider: [{fieldPath: /data/a, json: [{subPath: /a, operator: remove, value: 1}]}]}}]}`, []string{"spec.overrideRules[0].overriders.fieldOverrider[0].json[0].value: Forbidden: must be absent with remove"}},
	{"the former form beside rules", overriding, `{targetCluster: {clusterNames: [member1]}, overrideRules: [{overriders: {plaintext: [{path: /data/a, operator: remove}]}}]}`, []string{"spec.targetCluster: Forbidden: can't stand beside overrideRules"}},
	{"a target that can't be", overriding, `{overrideRules: [{targetCluster: {clusterNames: ["*"]}, overriders: {plaintext: [{path: /data/a, operator: remove}]}}]}`, []string{`spec.overrideRules[0].targetCluster.clusterNames[0]: Invalid value: "*"`}},
	{"templates of another namespace", overriding, `{resourceSelectors: [{apiVersion: v1, kind: ConfigMap, namespace: elsewhere}], overrideRules: [{overriders: {plaintext: [{path: /data/a, operator: remove}]}}]}`, []string{`spec.resourceSelectors[0].namespace: Invalid value: "elsewhere": must be the policy's own namespace`, "ClusterOverridePolicy"}},
	{"an overrider that there is not", overriding, `{overrideRules: [{overriders: {strategicMerge: []}}]}`, []string{`unknown field "spec.overrideRules[0].overriders.strategicMerge"`}},
}

var badRebalancers = []badPolicy{
	{"nothing to place anew", rebalancing, `{workloads: []}`, []string{"spec.workloads: Required value: name at least one template"}},
	{"a workload without its name", rebalancing, `{workloads: [{apiVersion: apps/v1, kind: Deployment, namespace: a}]}`, []string{"spec.workloads[0].name: Required value"}},
	{"a workload without its group", rebalancing, `{workloads: [{kind: Deployment, name: a, namespace: a}]}`, []string{"spec.workloads[0].apiVersion: Invalid value"}},
	{"a workload twice", rebalancing, `{workloads: [{apiVersion: apps/v1, kind: Deployment, name: a, namespace: b}, {apiVersion: apps/v1, kind: Deployment, name: a, namespace: b}]}`, []string{`spec.workloads[1]: Duplicate value: "Deployment b/a"`}},
	{"an end before the beginning", rebalancing, `{ttlSecondsAfterFinished: -1, workloads: [{apiVersion: apps/v1, kind: Deployment, name: a, namespace: b}]}`, []string{"spec.ttlSecondsAfterFinished: Invalid value: -1: must be 0 or more"}},
}

func TestPoliciesThatAreWrongAreRefusedWithTheFieldAndTheReasonInEveryWay(t *testing.T) {
	f := fleet.Shared(t)
	namespace := f.Hub().Namespace(t)
	pid := f.Hub().Process().PID
	for _, cases := range [][]badPolicy{badSelectors, badPlacements, badBehaviour, badOverrides, badRebalancers} {
		for _, c := range cases {
			t.Run(c.reason, func(t *testing.T) {
				object := badObject(t, c, namespace)
				o := located(object, namespace)
				_, err := f.Hub().Resource(t, o).Create(t.Context(), object, metav1.CreateOptions{FieldValidation: metav1.FieldValidationStrict})
				if err == nil {
					f.Hub().DeleteAfter(t, o)
				}
				isClear(t, err, c.says)
			})
		}
	}
	if f.Hub().Process().PID != pid || !f.Hub().Process().Alive() {
		t.Error("the hub is another process than before")
	}
	othersArrive(t, f, namespace)
}

func badObject(t *testing.T, c badPolicy, namespace string) *unstructured.Unstructured {
	t.Helper()
	spec := map[string]any{}
	if err := yaml.Unmarshal([]byte(c.spec), &spec); err != nil {
		t.Fatal(err)
	}
	if c.kind == "" {
		c.kind = propagation
	}
	if _, given := spec["resourceSelectors"]; !given && strings.HasSuffix(c.kind, propagation) {
		spec["resourceSelectors"] = []any{map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "name": "there-is-none"}}
	}
	metadata, group := map[string]any{"name": unique("wrong")}, "policy.karmada.io/v1alpha1"
	switch {
	case c.kind == rebalancing:
		group = "apps.karmada.io/v1alpha1"
	case !strings.HasPrefix(c.kind, "Cluster"):
		metadata["namespace"] = namespace
	}
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": group, "kind": c.kind, "metadata": metadata, "spec": spec,
	}}
}

// neverSaid are words that no user can do anything with.
var neverSaid = []string{"panic", "runtime error", "nil pointer", "context deadline exceeded", "goroutine", "Internal error", "%!"}

// isClear checks that an error is a refusal of what was asked, says what it shall, and is short and printable.
func isClear(t *testing.T, err error, says []string) {
	t.Helper()
	if err == nil {
		t.Fatal("the hub accepts it")
	}
	if !apierrors.IsInvalid(err) && !apierrors.IsBadRequest(err) {
		t.Errorf("the hub does not call it invalid: %v", err)
	}
	saysInPlainWords(t, err.Error(), says)
}

func saysInPlainWords(t *testing.T, text string, says []string) {
	t.Helper()
	for _, part := range says {
		if !strings.Contains(text, part) {
			t.Errorf("it does not say %q: %.2000s", part, text)
		}
	}
	if word := slices.IndexFunc(neverSaid, func(word string) bool { return strings.Contains(text, word) }); word >= 0 {
		t.Errorf("it says %q: %.2000s", neverSaid[word], text)
	}
	if len(text) > 5000 {
		t.Errorf("it says it in %d bytes: %.300s…", len(text), text)
	}
}

const ordinaryPolicy = `
apiVersion: policy.karmada.io/v1alpha1
kind: PropagationPolicy
metadata: {name: wrong}
spec:
  resourceSelectors: [{apiVersion: v1, kind: ConfigMap, name: there-is-none}]
`

// badFiles are refused before or while they become objects, by kubectl or by the hub.
var badFiles = []struct {
	reason, file string
	says         []string
}{
	{"an empty file", "", []string{"no objects passed to apply"}},
	{"nothing but comments", "# to do\n", []string{"no objects passed to apply"}},
	{"a tab for indentation", "apiVersion: v1\nkind: ConfigMap\nmetadata:\n\tname: wrong\n", []string{"yaml: line 4", "cannot start any token"}},
	{"a brace without its end", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: wrong\n", []string{"yaml: line"}},
	{"a second document that is broken", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: first}\n---\napiVersion: v1\nkind: [\n", []string{"yaml: line"}},
	{"no kind", "apiVersion: v1\nmetadata: {name: wrong}\n", []string{"kind"}},
	{"a group's version that there is not", strings.Replace(ordinaryPolicy, "v1alpha1", "v1alpha9", 1), []string{`no matches for kind "PropagationPolicy" in version "policy.karmada.io/v1alpha9"`}},
	{"a kind in lower case", strings.Replace(ordinaryPolicy, "PropagationPolicy", "propagationpolicy", 1), []string{`propagationpolicy in version "v1alpha1" cannot be handled as a PropagationPolicy`}},
	{"Karmada's name of a kind that is called otherwise here", "apiVersion: work.karmada.io/v1alpha2\nkind: ResourceBinding\nmetadata: {name: wrong}\n", []string{`no matches for kind "ResourceBinding"`}},
	{"a field that does not exist", ordinaryPolicy + "  placment: {}\n", []string{`unknown field "spec.placment"`}},
	{"a name that is too long", strings.Replace(ordinaryPolicy, "name: wrong", "name: "+strings.Repeat("x", 254), 1), []string{"metadata.name: Invalid value", "253"}},
	{"a name with capitals", strings.Replace(ordinaryPolicy, "name: wrong", "name: Wrong", 1), []string{`metadata.name: Invalid value: "Wrong"`, "RFC 1123"}},
	{"a name with a dot at its end", strings.Replace(ordinaryPolicy, "name: wrong", "name: wrong.", 1), []string{`metadata.name: Invalid value: "wrong."`, "RFC 1123"}},
	{"no name", strings.Replace(ordinaryPolicy, "{name: wrong}", "{}", 1), []string{"resource name may not be empty"}},
	{"a namespace that does not exist", strings.Replace(ordinaryPolicy, "name: wrong", "name: wrong, namespace: nowhere-at-all", 1), []string{`the namespace from the provided object "nowhere-at-all" does not match the namespace`}},
	{"a word of YAML 1.1 that is no string", ordinaryPolicy + "  placement: {clusterAffinity: {labelSelector: {matchLabels: {gpu: yes}}}}\n", []string{"matchLabels"}},
	{"a quantity with two dots", "apiVersion: v1\nkind: LimitRange\nmetadata: {name: wrong}\nspec: {limits: [{type: Pod, max: {cpu: 1.5.0}}]}\n", []string{"quantities must match the regular expression"}},
	{"an annotation of a megabyte", strings.Replace(ordinaryPolicy, "name: wrong", "name: wrong, annotations: {a: "+strings.Repeat("x", 1<<20)+"}", 1), []string{"metadata.annotations: Too long"}},
	{"a number beyond all numbers", ordinaryPolicy + "  priority: 1e400\n", []string{"priority"}},
	{"what is not a number", ordinaryPolicy + "  priority: .nan\n", []string{"NaN"}},
	{"infinity", ordinaryPolicy + "  priority: .inf\n", []string{"Inf"}},
	{"an alias that grows without end", "a: &a [x, x, x, x, x, x, x, x, x]\nb: &b [*a, *a, *a, *a, *a, *a, *a, *a, *a]\nc: &c [*b, *b, *b, *b, *b, *b, *b, *b, *b]\nd: &d [*c, *c, *c, *c, *c, *c, *c, *c, *c]\ne: &e [*d, *d, *d, *d, *d, *d, *d, *d, *d]\nf: &f [*e, *e, *e, *e, *e, *e, *e, *e, *e]\ng: &g [*f, *f, *f, *f, *f, *f, *f, *f, *f]\nh: [*g, *g, *g, *g, *g, *g, *g, *g, *g]\n", []string{"excessive aliasing"}},
	{"ten thousand levels", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: wrong}\ndata: " + strings.Repeat("[", 10001) + strings.Repeat("]", 10001) + "\n", []string{"exceeded max depth"}},
	{"UTF-16", "\xff\xfea\x00p\x00i\x00", []string{"error"}},
	{"what is no UTF-8", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: \"\xc3\x28\"}\n", []string{"metadata.name: Invalid value"}},
	{"a NUL", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: \"a\x00b\"}\n", []string{"yaml", "control characters"}},
}

func TestFilesThatAreWrongAreRefusedInKubectlsWords(t *testing.T) {
	f := fleet.Shared(t)
	namespace := f.Hub().Namespace(t)
	dir := t.TempDir()
	for i, c := range badFiles {
		t.Run(c.reason, func(t *testing.T) {
			file := filepath.Join(dir, fmt.Sprintf("%02d.yaml", i))
			if err := os.WriteFile(file, []byte(c.file), 0o600); err != nil {
				t.Fatal(err)
			}
			out, err := f.Hub().CLI(t.Context(), "kubectl", "apply", "--namespace="+namespace, "-f", file)
			if err == nil {
				t.Fatalf("it is applied: %s", out)
			}
			saysInPlainWords(t, err.Error(), c.says)
		})
	}
	othersArrive(t, f, namespace)
}

// kubectl makes JSON of YAML before anybody looks at it, and of two values of a key the last one is left. Whoever sends YAML
// to the hub itself is told.
func TestAKeyThatComesTwiceIsNamed(t *testing.T) {
	f := fleet.Shared(t)
	namespace := f.Hub().Namespace(t)
	client := discovery.NewDiscoveryClientForConfigOrDie(f.Hub().Config).RESTClient()
	for key, file := range map[string]string{
		"spec":     ordinaryPolicy + "spec: {resourceSelectors: []}\n",
		"priority": ordinaryPolicy + "  priority: 1\n  priority: 2\n",
	} {
		err := client.Post().AbsPath("/apis/policy.karmada.io/v1alpha1/namespaces/"+namespace+"/propagationpolicies").
			Param("fieldValidation", metav1.FieldValidationStrict).SetHeader("Content-Type", "application/yaml").Body([]byte(file)).Do(t.Context()).Error()
		isClear(t, err, []string{key, "already set in map"})
	}
}

func TestAChangeThatCanNotBeNamesTheFieldAndStaysWhatItWas(t *testing.T) {
	f := fleet.Shared(t)
	namespace := f.Hub().Namespace(t)
	good := policyFor(configMap(namespace, "settings"))
	f.Hub().Apply(t, good)
	o := policy(namespace, "configmap-settings")
	before := f.Hub().Get(t, o)
	cases := []struct{ reason, patch, says string }{
		{"another scheduler", "spec: {schedulerName: other}", "spec.schedulerName: Invalid value: \"other\": can't be changed"},
		{"another permanent id", "metadata: {labels: {propagationpolicy.karmada.io/permanent-id: mine}}", "can't be changed or removed"},
		{"no selectors", "spec: {resourceSelectors: []}", "spec.resourceSelectors: Required value"},
		{"a wrong value", "spec: {conflictResolution: Merge}", "spec.conflictResolution: Unsupported value"},
		{"another uid", "metadata: {uid: 00000000-0000-0000-0000-000000000000}", "metadata.uid"},
	}
	for _, c := range cases {
		t.Run(c.reason, func(t *testing.T) {
			err := f.Hub().TryPatch(t, o, c.patch)
			if err == nil {
				t.Fatal("the hub accepts it")
			}
			saysInPlainWords(t, err.Error(), []string{c.says})
		})
	}
	if after := f.Hub().Get(t, o); after.GetGeneration() != before.GetGeneration() || after.GetUID() != before.GetUID() {
		t.Errorf("it has changed: generation %d, before %d", after.GetGeneration(), before.GetGeneration())
	}
}

// A badOutcome is accepted, since it may come right later or is wrong in one cluster only, and an object says what is the
// matter. NAME is the case's own.
type badOutcome struct {
	reason, manifests string
	object            func(namespace, name string) fleet.Object
	checks            []fleet.Check
}

func bindingOf(namespace, name string) fleet.Object { return fleet.Binding(configMap(namespace, name)) }

func serviceBinding(namespace, name string) fleet.Object {
	return fleet.Binding(fleet.Object{APIVersion: "v1", Kind: "Service", Namespace: namespace, Name: name})
}

// sent is a ConfigMap and its policy with more in its spec.
func sent(more string) string {
	return `
apiVersion: v1
kind: ConfigMap
metadata: {name: NAME, namespace: NAMESPACE}
data: {a: b, document: "x: {y: 1}"}
---
apiVersion: policy.karmada.io/v1alpha1
kind: PropagationPolicy
metadata: {name: NAME, namespace: NAMESPACE}
spec:
  resourceSelectors: [{apiVersion: v1, kind: ConfigMap, name: NAME}]
` + more
}

// overridden is such a ConfigMap with an override in member1.
func overridden(overriders string) string {
	return `
apiVersion: policy.karmada.io/v1alpha1
kind: OverridePolicy
metadata: {name: NAME, namespace: NAMESPACE}
spec:
  resourceSelectors: [{apiVersion: v1, kind: ConfigMap, name: NAME}]
  overrideRules:
  - targetCluster: {clusterNames: [member1]}
    overriders: ` + overriders + "\n---" + sent("")
}

func failedOverride(says ...string) []fleet.Check {
	checks := []fleet.Check{fleet.ConditionIs("Rendered", "False"), fleet.ConditionSays("Rendered", "OverrideFailed"), fleet.ConditionSays("Rendered", "member1"), fleet.ConditionSays("Rendered", "OverridePolicy")}
	for _, text := range says {
		checks = append(checks, fleet.ConditionSays("Rendered", text))
	}
	return checks
}

var badOutcomes = []badOutcome{
	{"a cluster that does not exist", sent("  placement: {clusterAffinity: {clusterNames: [no-such-cluster]}}"), bindingOf,
		[]fleet.Check{fleet.ConditionIs("Scheduled", "False"), fleet.ConditionSays("Scheduled", "NoClusterFit"), fleet.ConditionSays("Scheduled", "no cluster is called no-such-cluster")}},
	{"one cluster that exists and one that does not", sent("  placement: {clusterAffinity: {clusterNames: [member1, no-such-cluster]}}"), bindingOf,
		[]fleet.Check{fleet.ConditionIs("Scheduled", "True"), fleet.ConditionSays("Scheduled", "no cluster is called no-such-cluster")}},
	{"a cluster that is named and excluded", sent("  placement: {clusterAffinity: {clusterNames: [member1], exclude: [member1]}}"), bindingOf,
		[]fleet.Check{fleet.ConditionIs("Scheduled", "False"), fleet.ConditionSays("Scheduled", "excluded by exclude")}},
	{"a cluster that is named twice has it once", sent("  placement: {clusterAffinity: {clusterNames: [member1, member1]}}"), bindingOf,
		[]fleet.Check{fleet.ConditionIs("Scheduled", "True"), fleet.Field("spec.clusters", []map[string]string{{"name": "member1"}})}},
	{"more groups than there are clusters", sent("  placement: {spreadConstraints: [{spreadByField: cluster, minGroups: 50}]}"), bindingOf,
		[]fleet.Check{fleet.ConditionIs("Scheduled", "False"), fleet.ConditionSays("Scheduled", "at least 50 clusters"), fleet.ConditionSays("Scheduled", "there are 2 that fit")}},
	{"spread by a label that no cluster has", sent("  placement: {spreadConstraints: [{spreadByLabel: no-such-label, minGroups: 1}]}"), bindingOf,
		[]fleet.Check{fleet.ConditionIs("Scheduled", "False"), fleet.ConditionSays("Scheduled", "no-such-label")}},
	{"override policies that do not exist", sent("  dependentOverrides: [no-such-override]"), policy,
		[]fleet.Check{fleet.ConditionIs("Ready", "False"), fleet.ConditionSays("Ready", "no-such-override")}},
	{"a priority class that does not exist", sent("  schedulePriority: {priorityClassSource: KubePriorityClass, priorityClassName: no-such-class}"), policy,
		[]fleet.Check{fleet.ConditionIs("Ready", "False"), fleet.ConditionSays("Ready", "no-such-class")}},
	{"a kind in lower case", `
apiVersion: policy.karmada.io/v1alpha1
kind: PropagationPolicy
metadata: {name: NAME, namespace: NAMESPACE}
spec:
  resourceSelectors: [{apiVersion: apps/v1, kind: deployment}]
`, policy, []fleet.Check{fleet.ConditionIs("Ready", "False"), fleet.ConditionSays("Ready", "KindNotFound: The hub does not serve apps/v1 deployment (apps/v1 Deployment is probably meant)")}},
	{"the largest weights there are", `
apiVersion: apps/v1
kind: Deployment
metadata: {name: NAME, namespace: NAMESPACE}
spec:
  replicas: 4
  selector: {matchLabels: {app: NAME}}
  template:
    metadata: {labels: {app: NAME}}
    spec: {containers: [{name: a, image: example.test/a:1}]}
---
apiVersion: policy.karmada.io/v1alpha1
kind: PropagationPolicy
metadata: {name: NAME, namespace: NAMESPACE}
spec:
  resourceSelectors: [{apiVersion: apps/v1, kind: Deployment, name: NAME}]
  placement:
    replicaScheduling:
      replicaSchedulingType: Divided
      replicaDivisionPreference: Weighted
      weightPreference:
        staticWeightList:
        - {targetCluster: {clusterNames: [member1]}, weight: 9223372036854775807}
        - {targetCluster: {clusterNames: [member2]}, weight: 9223372036854775807}
`, func(namespace, name string) fleet.Object { return fleet.Binding(deployment(namespace, name)) },
		[]fleet.Check{fleet.ConditionIs("Scheduled", "True"), fleet.Field("spec.clusters.0.replicas", 2), fleet.Field("spec.clusters.1.replicas", 2)}},
	{"the loser of two policies says who has it", `
apiVersion: policy.karmada.io/v1alpha1
kind: PropagationPolicy
metadata: {name: aa-NAME, namespace: NAMESPACE}
spec:
  resourceSelectors: [{apiVersion: v1, kind: ConfigMap, name: NAME}]
---` + sent(""), policy,
		[]fleet.Check{fleet.ConditionIs("Ready", "False"), fleet.ConditionSays("Ready", "NothingSelected"), fleet.ConditionSays("Ready", "aa-")}},
	{"a rule for a cluster that does not exist", strings.Replace(overridden(`{plaintext: [{path: /data/a, operator: replace, value: c}]}`), "[member1]", "[no-such-cluster]", 1),
		func(namespace, name string) fleet.Object {
			return fleet.Object{APIVersion: "policy.karmada.io/v1alpha1", Kind: "OverridePolicy", Namespace: namespace, Name: name}
		},
		[]fleet.Check{fleet.ConditionIs("Effective", "False"), fleet.ConditionSays("Effective", "no cluster is selected by the targetCluster of spec.overrideRules[0]")}},
	{"the removal of what is not there", overridden(`{plaintext: [{path: /data/missing, operator: remove}]}`), bindingOf, failedOverride("/data/missing")},
	{"an index far behind the end", `
apiVersion: policy.karmada.io/v1alpha1
kind: OverridePolicy
metadata: {name: NAME, namespace: NAMESPACE}
spec:
  resourceSelectors: [{apiVersion: v1, kind: Service, name: NAME}]
  overrideRules:
  - targetCluster: {clusterNames: [member1]}
    overriders: {plaintext: [{path: /spec/ports/1000000000, operator: add, value: {port: 81}}]}
---
apiVersion: v1
kind: Service
metadata: {name: NAME, namespace: NAMESPACE}
spec: {ports: [{port: 80}]}
---
apiVersion: policy.karmada.io/v1alpha1
kind: PropagationPolicy
metadata: {name: NAME, namespace: NAMESPACE}
spec:
  resourceSelectors: [{apiVersion: v1, kind: Service, name: NAME}]
`, serviceBinding, failedOverride("/spec/ports/1000000000")},
	{"an image where there is none", overridden(`{imageOverrider: [{predicate: {path: /spec/containers/7/image}, component: Tag, operator: replace, value: "2"}]}`), bindingOf, failedOverride("imageOverrider[0]: there is nothing at /spec")},
	{"a document that is none", overridden(`{fieldOverrider: [{fieldPath: /data/missing, yaml: [{subPath: /x, operator: add, value: 1}]}]}`), bindingOf, failedOverride("/data/missing")},
	{"a place in a document that is not there", overridden(`{fieldOverrider: [{fieldPath: /data/document, yaml: [{subPath: /x/z/y, operator: replace, value: 1}]}]}`), bindingOf, failedOverride("/x/z/y")},
	{"a label of the cluster that it does not have", overridden(`{labelsOverrider: [{operator: add, value: {a: "${cluster.labels.no-such-label}"}}]}`), bindingOf, failedOverride("has no label no-such-label")},
	{"a result that is too large", overridden(`{plaintext: [` + grown(20) + `]}`), bindingOf, failedOverride("the result has", "bytes, and at most 1048576 are possible")},
	{"a result that the member refuses", overridden(`{plaintext: [{path: /data/a, operator: replace, value: 7}]}`), bindingOf,
		[]fleet.Check{fleet.ConditionIs("FullyApplied", "False"), fleet.ConditionSays("FullyApplied", "member1"), fleet.ConditionSays("FullyApplied", "data.a")}},
	{"a list where there must be a string", overridden(`{plaintext: [{path: /data, operator: replace, value: {a: [1]}}]}`), bindingOf,
		[]fleet.Check{fleet.ConditionIs("FullyApplied", "False"), fleet.ConditionSays("FullyApplied", "member1"), fleet.ConditionSays("FullyApplied", "data.a")}},
	{"null for what is required", `
apiVersion: policy.karmada.io/v1alpha1
kind: OverridePolicy
metadata: {name: NAME, namespace: NAMESPACE}
spec:
  resourceSelectors: [{apiVersion: v1, kind: Service, name: NAME}]
  overrideRules:
  - targetCluster: {clusterNames: [member1]}
    overriders: {plaintext: [{path: /spec/ports, operator: replace, value: null}]}
---
apiVersion: v1
kind: Service
metadata: {name: NAME, namespace: NAMESPACE}
spec: {ports: [{port: 80}]}
---
apiVersion: policy.karmada.io/v1alpha1
kind: PropagationPolicy
metadata: {name: NAME, namespace: NAMESPACE}
spec:
  resourceSelectors: [{apiVersion: v1, kind: Service, name: NAME}]
`, serviceBinding,
		[]fleet.Check{fleet.ConditionIs("FullyApplied", "False"), fleet.ConditionSays("FullyApplied", "member1"), fleet.ConditionSays("FullyApplied", "spec.ports")}},
}

// grown are operations that make a ConfigMap of so many times 60 KiB.
func grown(times int) string {
	var operations []string
	for i := range times {
		operations = append(operations, fmt.Sprintf("{path: /data/k%d, operator: add, value: %s}", i, strings.Repeat("x", 60<<10)))
	}
	return strings.Join(operations, ", ")
}

func TestWhatCanOnlyTurnOutWrongLaterIsReportedOnTheObject(t *testing.T) {
	f := fleet.Shared(t)
	namespace := f.Hub().Namespace(t)
	refused := make([]error, len(badOutcomes))
	for i, c := range badOutcomes {
		refused[i] = f.Hub().TryApply(t, strings.ReplaceAll(fill(namespace, c.manifests), "NAME", fmt.Sprintf("case-%d", i)))
	}
	for i, c := range badOutcomes {
		t.Run(c.reason, func(t *testing.T) {
			if refused[i] != nil {
				t.Fatalf("the hub refuses it: %v", refused[i])
			}
			f.Hub().Eventually(t, c.object(namespace, fmt.Sprintf("case-%d", i)), c.checks...)
		})
	}
	othersArrive(t, f, namespace)
}
