package hub

import (
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	clusterv1alpha1 "windlass.dev/windlass/api/cluster/v1alpha1"
	"windlass.dev/windlass/hub/store/storetest"
)

func TestDeletionsWaitForTheClusterThatTheyWaitedIn(t *testing.T) {
	for _, c := range []struct {
		reason, cluster, id, why string
		held                     bool
	}{
		{"too many waited when the process before ended", "eu", "id-1", clusterv1alpha1.DeletionsHeldTooMany, true},
		{"that the store was restored is remembered in the store", "eu", "id-1", clusterv1alpha1.DeletionsHeldStoreRestored, false},
		{"the cluster has joined under the name of one that the cache still shows", "eu", "id-2", clusterv1alpha1.DeletionsHeldTooMany, false},
		{"nothing is known of the cluster", "us", "id-1", clusterv1alpha1.DeletionsHeldTooMany, false},
	} {
		known := &clusterv1alpha1.MemberCluster{ObjectMeta: metav1.ObjectMeta{Name: "eu"}, Spec: clusterv1alpha1.ClusterSpec{ID: "id-1"}}
		meta.SetStatusCondition(&known.Status.Conditions, metav1.Condition{Type: clusterv1alpha1.ClusterDeletionsHeld, Status: metav1.ConditionTrue, Reason: c.why})
		clusters := storetest.New().MemberClusters
		clusters.Put(known)
		if held := heldBefore(clusters.Kind())(c.cluster, c.id); held != c.held {
			t.Errorf("they wait: %t, want %t: %s", held, c.held, c.reason)
		}
	}
}
