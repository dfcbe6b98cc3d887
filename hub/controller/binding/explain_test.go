package binding

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	clusterv1alpha1 "windlass.dev/windlass/api/cluster/v1alpha1"
	policyv1alpha1 "windlass.dev/windlass/api/policy/v1alpha1"
	workv1alpha1 "windlass.dev/windlass/api/work/v1alpha1"
	"windlass.dev/windlass/hub/store/storetest"
)

func TestAnExplanationSaysWhatWorksHaveOtherThanThePlacement(t *testing.T) {
	w := newWorld(t)
	w.place("a", "b")
	w.reconcile(t)
	binding, _ := w.PropagationBindings.Get(key.Namespace, key.Name)
	answer := &workv1alpha1.BindingPlacement{Clusters: targets("a", "c"), Details: []workv1alpha1.PlacementDetail{{Cluster: "a", OverflowGroup: "rented"}, {Cluster: "c", OverflowGroup: "rented"}}}
	w.controller.Explain(binding, answer)
	want := []workv1alpha1.PlacementDetail{
		{Cluster: "a", OverflowGroup: "rented"}, {Cluster: "b", Message: "is left in a moment"}, {Cluster: "c", OverflowGroup: "rented", Message: "has no work yet"}}
	if diff := cmp.Diff(want, answer.Details); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestAnExplanationSaysThatARemovalWaitsForAPerson(t *testing.T) {
	w := newWorld(t)
	w.place("a", "b")
	w.reconcile(t)
	w.PropagationBindings.Change(key.Namespace, key.Name, func(b *workv1alpha1.PropagationBinding) { b.Spec.Clusters = targets("a") })
	w.reconcile(t)
	w.MemberClusters.Change("", "b", func(cluster *clusterv1alpha1.MemberCluster) {
		cluster.Status.Conditions = []metav1.Condition{{Type: clusterv1alpha1.ClusterDeletionsHeld, Status: metav1.ConditionTrue, Reason: "TooMany"}}
	})
	binding, _ := w.PropagationBindings.Get(key.Namespace, key.Name)
	answer := &workv1alpha1.BindingPlacement{Clusters: binding.Spec.Clusters}
	w.controller.Explain(binding, answer)
	if len(answer.Details) != 1 || answer.Details[0].Cluster != "b" || !strings.Contains(answer.Details[0].Message, "wait for a person") {
		t.Errorf("said is %v", answer.Details)
	}
}

func TestAnExplanationSaysWhereADeletedTemplateIsNotGoneYetAndWhatThatWaitsFor(t *testing.T) {
	w := newWorld(t)
	w.place("a", "b")
	w.reconcile(t)
	w.templates.Delete(settings)
	w.delete()
	w.reconcile(t)
	w.MemberClusters.Change("", "a", func(cluster *clusterv1alpha1.MemberCluster) {
		cluster.Status.Conditions = []metav1.Condition{{Type: clusterv1alpha1.ClusterReady, Status: metav1.ConditionUnknown}}
	})
	w.MemberClusters.Change("", "b", func(cluster *clusterv1alpha1.MemberCluster) { // which does not hold up what somebody asked for
		cluster.Status.Conditions = []metav1.Condition{{Type: clusterv1alpha1.ClusterDeletionsHeld, Status: metav1.ConditionTrue, Reason: "TooMany"}}
	})
	b := w.controller.works(key)["b"].DeepCopy()
	b.Status.Conditions = []metav1.Condition{{Type: workv1alpha1.WorkApplied, Status: metav1.ConditionFalse, Reason: "Removing", Message: "not gone yet: it has the finalizer x"}}
	w.PropagationWorks.Put(b)
	binding, _ := w.PropagationBindings.Get(key.Namespace, key.Name)
	answer := &workv1alpha1.BindingPlacement{}
	w.controller.Explain(binding, answer)
	want := []workv1alpha1.PlacementDetail{
		{Cluster: "a", Message: "has it still, for the removal there is not over yet: the cluster's agent is not connected"},
		{Cluster: "b", Message: "has it still, for the removal there is not over yet: it has the finalizer x"},
	}
	if diff := cmp.Diff(want, answer.Details); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestAnExplanationSaysUntilWhenATaintIsToleratedAndWhereTheAgentIsNotConnected(t *testing.T) {
	w := newWorld(t)
	w.place("a", "b", "c")
	w.reconcile(t)
	w.PropagationBindings.Change(key.Namespace, key.Name, func(b *workv1alpha1.PropagationBinding) {
		b.Spec.Placement = &policyv1alpha1.Placement{ClusterTolerations: []corev1.Toleration{{Operator: corev1.TolerationOpExists, TolerationSeconds: ptr.To[int64](300)}}}
	})
	w.MemberClusters.Change("", "a", func(cluster *clusterv1alpha1.MemberCluster) {
		cluster.Spec.Taints = []corev1.Taint{{Key: "drain", Effect: corev1.TaintEffectNoExecute, TimeAdded: &metav1.Time{Time: storetest.Began}}}
	})
	w.MemberClusters.Change("", "b", func(cluster *clusterv1alpha1.MemberCluster) { // it counts as ready for a while
		cluster.Status.Conditions = []metav1.Condition{{Type: clusterv1alpha1.ClusterReady, Status: metav1.ConditionTrue, Reason: clusterv1alpha1.ReadyConnectionLost}}
	})
	binding, _ := w.PropagationBindings.Get(key.Namespace, key.Name)
	answer := &workv1alpha1.BindingPlacement{Clusters: binding.Spec.Clusters}
	w.controller.Explain(binding, answer)
	want := []workv1alpha1.PlacementDetail{
		{Cluster: "a", Message: "has the taint drain:NoExecute, which is tolerated until " + storetest.Began.Add(5*time.Minute).UTC().Format(time.RFC3339) + ", and has to be left then"},
		{Cluster: "b", Message: "is not connected, and gets no changes until it is"},
	}
	if diff := cmp.Diff(want, answer.Details); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestAnExplanationRemarksWhatTheWorksWaitFor(t *testing.T) {
	const stays = "until then it stays with what the policy said before"
	lazy := func(change func(*policyv1alpha1.PropagationSpec)) func(*world) {
		return func(w *world) {
			p := &policyv1alpha1.PropagationPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "settings",
				Labels: map[string]string{workv1alpha1.PropagationPolicyPermanentIDLabel: "policy"}}}
			p.Spec.ActivationPreference = policyv1alpha1.LazyActivation
			change(&p.Spec)
			w.PropagationPolicies.Put(p)
		}
	}
	said := func(condition metav1.Condition) func(*world) {
		return func(w *world) {
			w.PropagationBindings.Change(key.Namespace, key.Name, func(b *workv1alpha1.PropagationBinding) {
				meta.SetStatusCondition(&b.Status.Conditions, condition)
			})
		}
	}
	for _, test := range []struct {
		reason string
		given  func(*world)
		want   []string
	}{
		{"there is nothing to remark", func(*world) {}, nil},
		{"a Lazy policy places otherwise by now", lazy(func(spec *policyv1alpha1.PropagationSpec) {
			spec.Placement.ClusterAffinity = &policyv1alpha1.ClusterAffinity{ClusterNames: []string{"c"}}
		}), []string{"the policy shop/settings is Lazy: its placement as it is by now holds for the template when that is changed next; " + stays}},
		{"a Lazy policy says something else by now", lazy(func(spec *policyv1alpha1.PropagationSpec) {
			spec.ConflictResolution = policyv1alpha1.ConflictOverwrite
		}), []string{"the policy shop/settings is Lazy: what it says by now holds for the template when that is changed next; " + stays}},
		{"a Lazy policy says what it said", lazy(func(*policyv1alpha1.PropagationSpec) {}), nil},
		{"all is paused", func(w *world) {
			w.PropagationBindings.Change(key.Namespace, key.Name, func(b *workv1alpha1.PropagationBinding) {
				b.Spec.Suspension = &workv1alpha1.BindingSuspension{Suspension: policyv1alpha1.Suspension{Dispatching: ptr.To(true)}}
			})
		}, []string{"its policy's suspension pauses it: no cluster gets changes"}},
		{"the members' own number of replicas counts", func(w *world) {
			template := configMap("u1", "blue")
			template.SetLabels(map[string]string{workv1alpha1.RetainReplicasLabel: "true"})
			template.Object["spec"] = map[string]any{"replicas": int64(3)}
			w.templates.Put(template)
			w.PropagationBindings.Change(key.Namespace, key.Name, func(b *workv1alpha1.PropagationBinding) { b.Spec.Replicas = ptr.To[int32](3) })
		}, []string{"its label resourcetemplate.karmada.io/retain-replicas leaves the number of replicas to whoever sets it in a cluster: there it may be another than here"}},
		{"the template is being deleted, and has a finalizer", func(w *world) {
			template := configMap("u1", "blue")
			template.SetDeletionTimestamp(&metav1.Time{Time: storetest.Began})
			template.SetFinalizers([]string{"example.com/x"})
			w.templates.Put(template)
		}, []string{"it is being deleted on the hub, and its clusters keep it until its finalizers there are gone: example.com/x"}},
		{"works can't be written", said(metav1.Condition{Type: workv1alpha1.BindingRendered, Status: metav1.ConditionFalse, Reason: "TooLarge", Message: "it is too large"}),
			[]string{"works can't be written: it is too large"}},
		{"one work of two can't be written", said(metav1.Condition{Type: workv1alpha1.BindingRendered, Status: metav1.ConditionFalse, Reason: "OverrideFailed",
			Message: "1 of 2 clusters stay as they are, because overrides can't be made: a: why"}),
			[]string{"1 of 2 clusters stay as they are, because overrides can't be made: a: why"}},
		{"they can, with a doubt that others tell", said(metav1.Condition{Type: workv1alpha1.BindingRendered, Status: metav1.ConditionTrue, Reason: workv1alpha1.RenderedWithoutEffect}), nil},
	} {
		t.Run(test.reason, func(t *testing.T) {
			w := newWorld(t)
			w.place("a")
			w.PropagationBindings.Change(key.Namespace, key.Name, func(b *workv1alpha1.PropagationBinding) {
				b.Annotations = map[string]string{workv1alpha1.PropagationPolicyNamespaceAnnotation: "shop", workv1alpha1.PropagationPolicyNameAnnotation: "settings"}
				b.Spec.Placement = &policyv1alpha1.Placement{}
			})
			test.given(w)
			binding, _ := w.PropagationBindings.Get(key.Namespace, key.Name)
			answer := &workv1alpha1.BindingPlacement{}
			w.controller.Explain(binding, answer)
			if diff := cmp.Diff(test.want, answer.Remarks); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
