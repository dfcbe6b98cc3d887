package e2e

import (
	"testing"

	"windlass.dev/windlass/e2e/fleet"
)

const widgetDefinition = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: widgets.e2e.example.test
spec:
  group: e2e.example.test
  scope: Namespaced
  names: {plural: widgets, singular: widget, kind: Widget, listKind: WidgetList}
  versions:
  - name: v1
    served: true
    storage: true
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            properties:
              size: {type: integer}
`

func TestEveryKindOfObjectReachesTheMembersChangesAndGoes(t *testing.T) {
	cases := []struct {
		reason   string
		object   fleet.Object
		manifest string
		arrived  []fleet.Check
		change   string // a merge patch on the hub
		changed  []fleet.Check
	}{
		{
			reason: "a StatefulSet's pods become ready in the members",
			object: fleet.Object{APIVersion: "apps/v1", Kind: "StatefulSet", Name: "store"},
			manifest: `
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: store, namespace: NAMESPACE}
spec:
  serviceName: store
  replicas: 2
  selector: {matchLabels: {app: store}}
  template:
    metadata: {labels: {app: store}}
    spec: {containers: [{name: store, image: "example.test/store:1"}]}
`,
			arrived: []fleet.Check{fleet.Field("status.readyReplicas", 2)},
			change:  "spec: {replicas: 3}",
			changed: []fleet.Check{fleet.Field("status.readyReplicas", 3)},
		},
		{
			reason: "a Secret carries the same bytes",
			object: fleet.Object{APIVersion: "v1", Kind: "Secret", Name: "key"},
			manifest: `
apiVersion: v1
kind: Secret
metadata: {name: key, namespace: NAMESPACE}
data: {key: c2VjcmV0}
`,
			arrived: []fleet.Check{fleet.Field("data.key", "c2VjcmV0")},
			change:  "data: {key: b3RoZXI=}",
			changed: []fleet.Check{fleet.Field("data.key", "b3RoZXI=")},
		},
		{
			reason: "a Service gets an address of each member's own and keeps it",
			object: fleet.Object{APIVersion: "v1", Kind: "Service", Name: "web"},
			manifest: `
apiVersion: v1
kind: Service
metadata: {name: web, namespace: NAMESPACE}
spec:
  selector: {app: web}
  ports: [{name: http, port: 80}]
`,
			arrived: []fleet.Check{fleet.Field("spec.ports.0.port", 80)},
			change:  "spec: {ports: [{name: http, port: 8080}]}",
			changed: []fleet.Check{fleet.Field("spec.ports.0.port", 8080)},
		},
		{
			reason: "a Job runs to its end in the members",
			object: fleet.Object{APIVersion: "batch/v1", Kind: "Job", Name: "once"},
			manifest: `
apiVersion: batch/v1
kind: Job
metadata: {name: once, namespace: NAMESPACE}
spec:
  template:
    spec:
      restartPolicy: Never
      containers: [{name: once, image: "example.test/once:1"}]
`,
			arrived: []fleet.Check{fleet.ConditionIs("Complete", "True")},
			change:  "metadata: {labels: {changed: \"yes\"}}",
			changed: []fleet.Check{fleet.Field("metadata.labels.changed", "yes")},
		},
		{
			reason: "a custom resource follows its definition",
			object: fleet.Object{APIVersion: "e2e.example.test/v1", Kind: "Widget", Name: "small"},
			manifest: `
apiVersion: e2e.example.test/v1
kind: Widget
metadata: {name: small, namespace: NAMESPACE}
spec: {size: 9007199254740993}
`,
			arrived: []fleet.Check{fleet.Field("spec.size", int64(9007199254740993))},
			change:  "spec: {size: 2}",
			changed: []fleet.Check{fleet.Field("spec.size", 2)},
		},
	}
	f := fleet.Shared(t)
	for _, c := range cases {
		t.Run(c.object.Kind, func(t *testing.T) {
			namespace := f.Hub().Namespace(t)
			c.object.Namespace = namespace
			if c.object.Kind == "Widget" {
				applyWidgetDefinition(t, f)
			}
			f.Hub().Apply(t, fill(namespace, c.manifest)+"---"+policyFor(c.object))
			for _, member := range f.Members() {
				member.Eventually(t, c.object, c.arrived...)
			}
			f.Hub().Patch(t, c.object, c.change)
			for _, member := range f.Members() {
				member.Eventually(t, c.object, c.changed...)
			}
			f.Hub().Delete(t, c.object)
			for _, member := range f.Members() {
				member.EventuallyGone(t, c.object)
			}
		})
	}
}

// applyWidgetDefinition makes the kind Widget known on the hub and, by a policy, in every member.
func applyWidgetDefinition(t *testing.T, f *fleet.Fleet) {
	t.Helper()
	definition := fleet.Object{APIVersion: "apiextensions.k8s.io/v1", Kind: "CustomResourceDefinition", Name: "widgets.e2e.example.test"}
	f.Hub().Apply(t, widgetDefinition+"---"+clusterPolicyFor(definition, "widgets"))
	f.Hub().Eventually(t, definition, fleet.ConditionIs("Established", "True"))
	for _, member := range f.Members() {
		member.Eventually(t, definition, fleet.ConditionIs("Established", "True"))
	}
}

func TestAClusterRoleReachesTheMembersByAClusterPolicy(t *testing.T) {
	f := fleet.Shared(t)
	role := fleet.Object{APIVersion: "rbac.authorization.k8s.io/v1", Kind: "ClusterRole", Name: f.Hub().Namespace(t)}
	f.Hub().Apply(t, `
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: `+role.Name+`}
rules:
- apiGroups: [""]
  resources: [configmaps]
  verbs: [get]
---`+clusterPolicyFor(role, role.Name))
	for _, member := range f.Members() {
		member.Eventually(t, role, fleet.Field("rules.0.verbs", []string{"get"}))
	}
	f.Hub().Patch(t, role, `rules: [{apiGroups: [""], resources: [configmaps], verbs: [get, list]}]`)
	for _, member := range f.Members() {
		member.Eventually(t, role, fleet.Field("rules.0.verbs", []string{"get", "list"}))
	}
	f.Hub().Delete(t, role)
	for _, member := range f.Members() {
		member.EventuallyGone(t, role)
	}
}

func TestAWorkWrittenByHandTellsOfEachOfItsObjects(t *testing.T) {
	f := fleet.Shared(t)
	namespace, member := f.Hub().Namespace(t), f.Member("member1")
	work := fleet.Object{APIVersion: "work.karmada.io/v1alpha1", Kind: "PropagationWork", Namespace: "karmada-es-member1", Name: namespace}
	f.Hub().Apply(t, fill(namespace, `
apiVersion: work.karmada.io/v1alpha1
kind: PropagationWork
metadata: {name: NAMESPACE, namespace: karmada-es-member1, finalizers: [karmada.io/execution-controller]}
spec:
  removalCause: TemplateDeleted # which no brake counts, however often this test runs
  workload:
    manifests:
    - {apiVersion: v1, kind: ConfigMap, metadata: {name: settings, namespace: NAMESPACE}, data: {a: b}}
    - {apiVersion: nobody.example.test/v1, kind: Unknown, metadata: {name: unknown, namespace: NAMESPACE}}
    - apiVersion: apps/v1
      kind: Deployment
      metadata: {name: web, namespace: NAMESPACE}
      spec:
        selector: {matchLabels: {app: web}}
        template:
          metadata: {labels: {app: web}}
          spec: {containers: [{name: web, image: "example.test/web:1"}]}
`))
	f.Hub().Eventually(t, work, fleet.ConditionIs("Applied", "False"),
		fleet.ConditionSays("Applied", "KindNotServed"), fleet.ConditionSays("Applied", "Unknown.nobody.example.test"),
		fleet.Field("status.manifestStatuses.0.identifier", map[string]any{
			"ordinal": 0, "version": "v1", "kind": "ConfigMap", "resource": "configmaps", "namespace": namespace, "name": "settings",
		}),
		fleet.Field("status.manifestStatuses.0.health", "Healthy"),
		fleet.Field("status.manifestStatuses.1.identifier.kind", "Unknown"),
		fleet.Field("status.manifestStatuses.1.health", "Unknown"),
		fleet.Field("status.manifestStatuses.2.identifier.ordinal", 2),
		fleet.Field("status.manifestStatuses.2.health", "Healthy"),
		fleet.Field("status.manifestStatuses.2.status.readyReplicas", 1))
	f.Hub().Delete(t, work)
	member.EventuallyGone(t, fleet.Object{APIVersion: "apps/v1", Kind: "Deployment", Namespace: namespace, Name: "web"})
	member.EventuallyGone(t, configMap(namespace, "settings"))
}
