package apiserver_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	applyv1 "k8s.io/client-go/applyconfigurations/core/v1"
)

// claimedLabel makes the claimer of these tests claim an object.
const claimedLabel = "test.windlass.dev/claimed"

// claimTheMarked claims ConfigMaps with the label, and says in the annotation what it was asked about.
func claimTheMarked(object metav1.Object, kind schema.GroupVersionKind) (labels, annotations map[string]string) {
	if object.GetLabels()[claimedLabel] == "" {
		return nil, nil
	}
	return map[string]string{"test.windlass.dev/id": "1"}, map[string]string{"test.windlass.dev/by": kind.Kind + " " + object.GetNamespace() + "/" + object.GetName()}
}

func TestAnObjectIsClaimedInTheWriteThatCreatesIt(t *testing.T) {
	makeNamespace(t, "claims")
	client := hub.client.CoreV1().ConfigMaps("claims")
	wanted := map[string]string{claimedLabel: "true"}
	applied := func(name string) *applyv1.ConfigMapApplyConfiguration {
		return applyv1.ConfigMap(name, "claims").WithLabels(wanted).WithData(map[string]string{"greeting": "hello"})
	}
	tests := []struct {
		reason string
		create func() (*corev1.ConfigMap, error)
		labels map[string]string
		by     map[string]string
	}{
		{"created", func() (*corev1.ConfigMap, error) {
			return client.Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "created", Labels: wanted}}, metav1.CreateOptions{})
		}, map[string]string{claimedLabel: "true", "test.windlass.dev/id": "1"}, map[string]string{"test.windlass.dev/by": "ConfigMap claims/created"}},
		{"applied", func() (*corev1.ConfigMap, error) {
			return client.Apply(t.Context(), applied("applied"), metav1.ApplyOptions{FieldManager: "kubectl"})
		}, map[string]string{claimedLabel: "true", "test.windlass.dev/id": "1"}, map[string]string{"test.windlass.dev/by": "ConfigMap claims/applied"}},
		{"applied again, which does not take the marks off", func() (*corev1.ConfigMap, error) {
			return client.Apply(t.Context(), applied("applied").WithData(map[string]string{"greeting": "good day"}), metav1.ApplyOptions{FieldManager: "kubectl"})
		}, map[string]string{claimedLabel: "true", "test.windlass.dev/id": "1"}, map[string]string{"test.windlass.dev/by": "ConfigMap claims/applied"}},
		{"nobody claims it", func() (*corev1.ConfigMap, error) {
			return client.Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "unclaimed"}}, metav1.CreateOptions{})
		}, nil, nil},
		{"changed later, which is for the controller", func() (*corev1.ConfigMap, error) {
			return client.Update(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "unclaimed", Labels: wanted}}, metav1.UpdateOptions{})
		}, wanted, nil},
	}
	for _, test := range tests {
		t.Run(test.reason, func(t *testing.T) {
			stored, err := test.create()
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.labels, stored.Labels); diff != "" {
				t.Errorf("labels (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(test.by, stored.Annotations); diff != "" {
				t.Errorf("annotations (-want +got):\n%s", diff)
			}
		})
	}
}
