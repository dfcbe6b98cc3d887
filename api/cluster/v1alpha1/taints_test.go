package v1alpha1

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestATaintThatEvictsRemembersWhenItWasAdded(t *testing.T) {
	at := func(second int64) *metav1.Time { return &metav1.Time{Time: time.Unix(second, 0)} }
	taint := func(key, value string, effect corev1.TaintEffect, added *metav1.Time) corev1.Taint {
		return corev1.Taint{Key: key, Value: value, Effect: effect, TimeAdded: added}
	}
	before := &MemberCluster{Spec: ClusterSpec{Taints: []corev1.Taint{taint("old", "", corev1.TaintEffectNoExecute, at(10)), taint("worse", "mild", corev1.TaintEffectNoExecute, at(10))}}}
	for _, test := range []struct {
		reason string
		before *MemberCluster
		taint  corev1.Taint
		want   *metav1.Time
	}{
		{"one of a new cluster is of now", nil, taint("old", "", corev1.TaintEffectNoExecute, nil), at(99)},
		{"one that comes to a cluster is of now", before, taint("new", "", corev1.TaintEffectNoExecute, nil), at(99)},
		{"one that was there keeps its time, though whoever applies it does not write it", before, taint("old", "", corev1.TaintEffectNoExecute, nil), at(10)},
		{"with another value it is another", before, taint("worse", "bad", corev1.TaintEffectNoExecute, nil), at(99)},
		{"a time that is given is the user's", before, taint("old", "", corev1.TaintEffectNoExecute, at(5)), at(5)},
		{"what does not evict needs none", before, taint("old", "", corev1.TaintEffectNoSchedule, nil), nil},
	} {
		cluster := &MemberCluster{Spec: ClusterSpec{Taints: []corev1.Taint{test.taint}}}
		StampTaints(cluster, test.before, time.Unix(99, 5))
		if diff := cmp.Diff(test.want, cluster.Spec.Taints[0].TimeAdded); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.reason, diff)
		}
	}
}
