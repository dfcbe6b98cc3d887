package interpret

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

const (
	ownedByUs        = `{manager: windlass, operation: Apply, fieldsV1: {"f:spec": {"f:replicas": {}, "f:template": {}}}}`
	replicasOfScaler = `{manager: kube-controller-manager, operation: Update, subresource: scale, fieldsV1: {"f:spec": {"f:replicas": {}}}}`
	ownedByUsNoScale = `{manager: windlass, operation: Apply, fieldsV1: {"f:spec": {"f:template": {}}}}`
)

func TestOnlyWhatIsTheMembersOwnIsLeftOut(t *testing.T) {
	const plain = `{apiVersion: apps/v1, kind: Deployment, metadata: {name: web}, spec: {replicas: 3, template: {}}}`
	const labelled = `{apiVersion: apps/v1, kind: Deployment, metadata: {name: web, labels: {resourcetemplate.karmada.io/retain-replicas: "true"}}, spec: {replicas: 3, template: {}}}`
	observed := func(managers string) string {
		return `{apiVersion: apps/v1, kind: Deployment, metadata: {name: web, managedFields: [` + managers + `]}, spec: {replicas: 9, template: {}}}`
	}
	for _, test := range []struct {
		reason     string
		desired    string
		observed   string
		autoscaled bool
		leftOut    [][]string
	}{
		{"an object that is created is sent whole", labelled, "", true, nil},
		{"an autoscaler that has not scaled yet owns nothing", plain, observed(ownedByUs), true, nil},
		{"an autoscaler that has scaled", plain, observed(ownedByUsNoScale + "," + replicasOfScaler), true, [][]string{{"spec", "replicas"}}},
		{"an autoscaler that owns the field beside us", plain, observed(ownedByUs + "," + replicasOfScaler), true, [][]string{{"spec", "replicas"}}},
		{"somebody scaled what no autoscaler targets", plain, observed(ownedByUsNoScale + "," + replicasOfScaler), false, nil},
		{"the label leaves replicas to whoever set them", labelled, observed(ownedByUsNoScale + "," + replicasOfScaler), false, [][]string{{"spec", "replicas"}}},
		{"the label, and nobody set them", labelled, observed(ownedByUs), false, nil},
		{"a label that does not say true",
			`{apiVersion: apps/v1, kind: Deployment, metadata: {name: web, labels: {resourcetemplate.karmada.io/retain-replicas: "yes"}}, spec: {replicas: 3}}`,
			observed(ownedByUsNoScale + "," + replicasOfScaler), false, nil},
		{"scaled to nothing on the hub, whatever the autoscaler says",
			`{apiVersion: apps/v1, kind: Deployment, metadata: {name: web}, spec: {replicas: 0, template: {}}}`,
			observed(ownedByUsNoScale + "," + replicasOfScaler), true, nil},
		{"our name under another operation is not us", plain,
			observed(ownedByUs + `,{manager: windlass, operation: Update, fieldsV1: {"f:spec": {"f:replicas": {}}}}`), true, [][]string{{"spec", "replicas"}}},
		{"an address that the member allocated",
			`{apiVersion: v1, kind: Service, spec: {clusterIP: 10.0.0.9, type: ClusterIP}}`,
			`{apiVersion: v1, kind: Service, spec: {clusterIP: 10.1.0.9}}`, false, [][]string{{"spec", "clusterIP"}}},
		{"an address that we gave",
			`{apiVersion: v1, kind: Service, spec: {clusterIP: 10.0.0.9, type: ClusterIP}}`,
			`{apiVersion: v1, kind: Service, metadata: {managedFields: [{manager: windlass, operation: Apply, fieldsV1: {"f:spec": {"f:clusterIP": {}}}}]}, spec: {clusterIP: 10.0.0.9}}`, false, nil},
		{"headless is what the user wants",
			`{apiVersion: v1, kind: Service, spec: {clusterIP: None}}`,
			`{apiVersion: v1, kind: Service, spec: {clusterIP: 10.1.0.9}}`, false, nil},
		{"a claim that the member has bound",
			`{apiVersion: v1, kind: PersistentVolumeClaim, spec: {volumeName: mine, storageClassName: a}}`,
			`{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {managedFields: [{manager: kube-controller-manager, operation: Update, fieldsV1: {"f:spec": {"f:volumeName": {}}}}]}, spec: {volumeName: other}}`,
			false, [][]string{{"spec", "volumeName"}}},
		{"a volume whose claim we named, and the member has written down which that is",
			`{apiVersion: v1, kind: PersistentVolume, spec: {claimRef: {namespace: shop, name: data}}}`,
			`{apiVersion: v1, kind: PersistentVolume, metadata: {managedFields: [{manager: windlass, operation: Apply, fieldsV1: {"f:spec": {"f:claimRef": {"f:name": {}, "f:namespace": {}}}}}, {manager: kube-controller-manager, operation: Update, fieldsV1: {"f:spec": {"f:claimRef": {"f:uid": {}}}}}]}, spec: {claimRef: {namespace: shop, name: data, uid: u}}}`,
			false, nil},
		{"a volume that the member has bound to a claim of its own",
			`{apiVersion: v1, kind: PersistentVolume, spec: {claimRef: {namespace: shop, name: data}}}`,
			`{apiVersion: v1, kind: PersistentVolume, metadata: {managedFields: [{manager: kube-controller-manager, operation: Update, fieldsV1: {"f:spec": {"f:claimRef": {"f:name": {}, "f:namespace": {}, "f:uid": {}}}}}]}, spec: {claimRef: {namespace: shop, name: other, uid: u}}}`,
			false, [][]string{{"spec", "claimRef"}}},
		{"a claim that is not bound yet",
			`{apiVersion: v1, kind: PersistentVolumeClaim, spec: {volumeName: mine, storageClassName: a}}`,
			`{apiVersion: v1, kind: PersistentVolumeClaim, spec: {storageClassName: a}}`, false, nil},
		{"a custom resource that is scaled",
			`{apiVersion: example.com/v1, kind: Widget, spec: {replicas: 1}}`,
			`{apiVersion: example.com/v1, kind: Widget, metadata: {managedFields: [` + replicasOfScaler + `]}, spec: {replicas: 9}}`, true, [][]string{{"spec", "replicas"}}},
	} {
		t.Run(test.reason, func(t *testing.T) {
			desired := parseObject(t, test.desired)
			before := desired.DeepCopy()
			want := desired.DeepCopy()
			for _, path := range test.leftOut {
				remove(want.Object, path...)
			}
			got := Retain(desired, nil, test.autoscaled, "windlass")
			if test.observed != "" {
				got = Retain(desired, parseObject(t, test.observed), test.autoscaled, "windlass")
			}
			if diff := cmp.Diff(want.Object, got.Object); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			if diff := cmp.Diff(before, desired); diff != "" {
				t.Errorf("desired was changed:\n%s", diff)
			}
			if len(test.leftOut) == 0 && got != desired {
				t.Error("desired was copied for nothing")
			}
		})
	}
}

func TestAnAutoscalerNamesItsTarget(t *testing.T) {
	hpa := parseObject(t, `{apiVersion: autoscaling/v2, kind: HorizontalPodAutoscaler, metadata: {namespace: shop}, spec: {scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}}}`)
	target, ok := AutoscaleTarget(hpa)
	web := parseObject(t, `{apiVersion: apps/v1, kind: Deployment, metadata: {namespace: shop, name: web}}`)
	if !ok || target != TargetOf(web) {
		t.Errorf("got %v, %v; want %v", target, ok, TargetOf(web))
	}
	if _, ok := AutoscaleTarget(web); ok {
		t.Error("a Deployment was taken for an autoscaler")
	}
	if _, ok := AutoscaleTarget(parseObject(t, `{apiVersion: autoscaling/v2, kind: HorizontalPodAutoscaler}`)); ok {
		t.Error("an autoscaler without a target has one")
	}
}
