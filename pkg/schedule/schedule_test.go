package schedule

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/utils/ptr"

	clusterv1alpha1 "windlass.dev/windlass/api/cluster/v1alpha1"
	policyv1alpha1 "windlass.dev/windlass/api/policy/v1alpha1"
	workv1alpha1 "windlass.dev/windlass/api/work/v1alpha1"
)

var (
	deployment = schema.GroupVersionKind{Group: "apps", Version: "v1", Kind: "Deployment"}
	configMap  = schema.GroupVersionKind{Version: "v1", Kind: "ConfigMap"}
)

// member makes a cluster that has joined and serves Deployments and ConfigMaps.
func member(name string, changes ...func(*clusterv1alpha1.MemberCluster)) *clusterv1alpha1.MemberCluster {
	cluster := &clusterv1alpha1.MemberCluster{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       clusterv1alpha1.ClusterSpec{SyncMode: clusterv1alpha1.Pull},
		Status: clusterv1alpha1.ClusterStatus{
			APIEnablements: []clusterv1alpha1.APIEnablement{
				{GroupVersion: "apps/v1", Resources: []clusterv1alpha1.APIResource{{Name: "deployments", Kind: "Deployment"}}},
				{GroupVersion: "v1", Resources: []clusterv1alpha1.APIResource{{Name: "configmaps", Kind: "ConfigMap"}}},
			},
			Conditions: []metav1.Condition{
				{Type: clusterv1alpha1.ClusterJoined, Status: metav1.ConditionTrue},
				{Type: clusterv1alpha1.ClusterCompleteAPIEnablements, Status: metav1.ConditionTrue},
			},
		},
	}
	for _, change := range changes {
		change(cluster)
	}
	return cluster
}

func labelled(key, value string) func(*clusterv1alpha1.MemberCluster) {
	return func(c *clusterv1alpha1.MemberCluster) { metav1.SetMetaDataLabel(&c.ObjectMeta, key, value) }
}

func located(provider, region string, zones ...string) func(*clusterv1alpha1.MemberCluster) {
	return func(c *clusterv1alpha1.MemberCluster) {
		c.Spec.Provider, c.Spec.Region, c.Spec.Zones = provider, region, zones
	}
}

func tainted(key, value string, effect corev1.TaintEffect) func(*clusterv1alpha1.MemberCluster) {
	return func(c *clusterv1alpha1.MemberCluster) {
		c.Spec.Taints = append(c.Spec.Taints, corev1.Taint{Key: key, Value: value, Effect: effect})
	}
}

func deleting(c *clusterv1alpha1.MemberCluster) {
	c.DeletionTimestamp = &metav1.Time{Time: time.Unix(1, 0)}
}

func without(condition string) func(*clusterv1alpha1.MemberCluster) {
	return func(c *clusterv1alpha1.MemberCluster) {
		for i := range c.Status.Conditions {
			if c.Status.Conditions[i].Type == condition {
				c.Status.Conditions[i].Status = metav1.ConditionFalse
			}
		}
	}
}

func servesNothing(c *clusterv1alpha1.MemberCluster) { c.Status.APIEnablements = nil }

func fleet(members ...*clusterv1alpha1.MemberCluster) *Fleet {
	var compiled []*Cluster
	for _, m := range members {
		compiled = append(compiled, CompileCluster(m))
	}
	return NewFleet(compiled)
}

func compiled(t testing.TB, placement *policyv1alpha1.Placement) *Placement {
	t.Helper()
	p, err := Compile(placement)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func goesTo(names ...string) []workv1alpha1.TargetCluster {
	var targets []workv1alpha1.TargetCluster
	for _, name := range names {
		targets = append(targets, workv1alpha1.TargetCluster{Name: name})
	}
	return targets
}

func named(names ...string) *policyv1alpha1.ClusterAffinity {
	return &policyv1alpha1.ClusterAffinity{ClusterNames: names}
}

func TestClustersAreRefusedForOneReasonEach(t *testing.T) {
	dry := []corev1.Toleration{{Key: "dry", Operator: corev1.TolerationOpExists}}
	tests := []struct {
		reason      string
		cluster     *clusterv1alpha1.MemberCluster
		affinity    *policyv1alpha1.ClusterAffinity
		tolerations []corev1.Toleration
		current     bool
		want        *Refusal // nil: it fits
	}{
		{reason: "a cluster without anything special fits a policy without placement", cluster: member("a")},
		{
			reason:  "a cluster that is being removed gets nothing, and loses what it has",
			cluster: member("a", deleting), current: true,
			want: &Refusal{Cluster: "a", Rule: RuleClusterDeleting, Message: "is being removed"},
		},
		{
			reason:  "a cluster that never joined can't run its share of a division",
			cluster: member("a", without(clusterv1alpha1.ClusterJoined), servesNothing),
			want:    &Refusal{Cluster: "a", Rule: RuleClusterNotJoined, Message: "has not joined: no agent has enrolled for it yet"},
		},
		{
			reason:  "a target whose agent must enrol again stays a target",
			cluster: member("a", without(clusterv1alpha1.ClusterJoined)), current: true,
		},
		{
			reason:  "exclude wins over clusterNames",
			cluster: member("a"), affinity: &policyv1alpha1.ClusterAffinity{ClusterNames: []string{"a"}, ExcludeClusters: []string{"a"}},
			want: &Refusal{Cluster: "a", Rule: RuleClusterAffinity, Message: "is excluded by exclude"},
		},
		{
			reason:  "clusterNames is a list of all that are allowed",
			cluster: member("a"), affinity: named("b", "c"),
			want: &Refusal{Cluster: "a", Rule: RuleClusterAffinity, Message: "is not named by clusterNames"},
		},
		{
			reason:  "a target that the affinity no longer allows is let go",
			cluster: member("a"), affinity: named("b"), current: true,
			want: &Refusal{Cluster: "a", Rule: RuleClusterAffinity, Message: "is not named by clusterNames"},
		},
		{
			reason:   "labels must match",
			cluster:  member("a", labelled("env", "test")),
			affinity: &policyv1alpha1.ClusterAffinity{LabelSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"env": "prod"}}},
			want:     &Refusal{Cluster: "a", Rule: RuleClusterAffinity, Message: "does not have the labels env=prod"},
		},
		{
			reason:  "label expressions are understood",
			cluster: member("a", labelled("env", "test")),
			affinity: &policyv1alpha1.ClusterAffinity{LabelSelector: &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{
				{Key: "env", Operator: metav1.LabelSelectorOpIn, Values: []string{"test", "stage"}},
				{Key: "broken", Operator: metav1.LabelSelectorOpDoesNotExist},
			}}},
		},
		{
			reason:  "an empty label selector allows every cluster",
			cluster: member("a"), affinity: &policyv1alpha1.ClusterAffinity{LabelSelector: &metav1.LabelSelector{}},
		},
		{
			reason:   "all parts of the affinity must hold: here the name does and the label does not",
			cluster:  member("a"),
			affinity: &policyv1alpha1.ClusterAffinity{ClusterNames: []string{"a"}, LabelSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"env": "prod"}}},
			want:     &Refusal{Cluster: "a", Rule: RuleClusterAffinity, Message: "does not have the labels env=prod"},
		},
		{
			reason:  "provider and region are compared",
			cluster: member("a", located("aws", "eu-1")), affinity: fields("provider", "In", "aws", "gcp"),
		},
		{
			reason:  "another region",
			cluster: member("a", located("aws", "eu-1")), affinity: fields("region", "NotIn", "eu-1"),
			want: &Refusal{Cluster: "a", Rule: RuleClusterAffinity, Message: "does not match the fieldSelector region NotIn [eu-1]"},
		},
		{
			reason:  "a cluster that names no provider is in no list",
			cluster: member("a"), affinity: fields("provider", "In", "aws"),
			want: &Refusal{Cluster: "a", Rule: RuleClusterAffinity, Message: "does not match the fieldSelector provider In [aws]"},
		},
		{reason: "nor in one of those to avoid", cluster: member("a"), affinity: fields("provider", "NotIn", "aws")},
		{
			reason:  "one of a cluster's zones is enough for In",
			cluster: member("a", located("", "", "z1", "z2")), affinity: fields("zone", "In", "z2", "z3"),
		},
		{
			reason:  "one of them is too many for NotIn",
			cluster: member("a", located("", "", "z1", "z2")), affinity: fields("zone", "NotIn", "z2"),
			want: &Refusal{Cluster: "a", Rule: RuleClusterAffinity, Message: "does not match the fieldSelector zone NotIn [z2]"},
		},
		{
			reason:  "the cluster must serve the kind",
			cluster: member("a", servesNothing),
			want:    &Refusal{Cluster: "a", Rule: RuleAPIEnablement, Message: "does not serve apps/v1 Deployment"},
		},
		{
			reason:  "before all its APIs are known it may yet",
			cluster: member("a", servesNothing, without(clusterv1alpha1.ClusterCompleteAPIEnablements)),
			want:    &Refusal{Cluster: "a", Rule: RuleAPIEnablement, Message: "is not known to serve apps/v1 Deployment yet"},
		},
		{
			reason:  "a kind that is known to be served is enough, whatever else is not known",
			cluster: member("a", without(clusterv1alpha1.ClusterCompleteAPIEnablements)),
		},
		{reason: "a hole in discovery takes nothing away", cluster: member("a", servesNothing), current: true},
		{
			reason:  "a taint must be tolerated",
			cluster: member("a", tainted("wet", "", corev1.TaintEffectNoSchedule)), tolerations: dry,
			want: &Refusal{Cluster: "a", Rule: RuleTaintToleration, Message: "has the untolerated taint wet:NoSchedule"},
		},
		{
			reason:  "one with the effect NoExecute too, named with its value",
			cluster: member("a", tainted("wet", "very", corev1.TaintEffectNoExecute)),
			want:    &Refusal{Cluster: "a", Rule: RuleTaintToleration, Message: "has the untolerated taint wet=very:NoExecute"},
		},
		{
			reason:  "every taint must be tolerated",
			cluster: member("a", tainted("dry", "", corev1.TaintEffectNoSchedule), tainted("wet", "", corev1.TaintEffectNoSchedule)), tolerations: dry,
			want: &Refusal{Cluster: "a", Rule: RuleTaintToleration, Message: "has the untolerated taint wet:NoSchedule"},
		},
		{
			reason:  "a target keeps the template when it is tainted: evicting is another's work",
			cluster: member("a", tainted("wet", "", corev1.TaintEffectNoSchedule), tainted("wet", "", corev1.TaintEffectNoExecute)), current: true,
		},
		{
			reason:  "PreferNoSchedule keeps nothing away",
			cluster: member("a", tainted("wet", "", corev1.TaintEffectPreferNoSchedule)),
		},
		{
			reason:  "a toleration without effect is for all effects",
			cluster: member("a", tainted("dry", "x", corev1.TaintEffectNoSchedule), tainted("dry", "x", corev1.TaintEffectNoExecute)), tolerations: dry,
		},
		{
			reason:  "a toleration of another effect does not help",
			cluster: member("a", tainted("dry", "", corev1.TaintEffectNoSchedule)),
			tolerations: []corev1.Toleration{
				{Key: "dry", Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoExecute}},
			want: &Refusal{Cluster: "a", Rule: RuleTaintToleration, Message: "has the untolerated taint dry:NoSchedule"},
		},
		{
			reason:  "the operator is Equal unless it is said",
			cluster: member("a", tainted("team", "red", corev1.TaintEffectNoSchedule)),
			tolerations: []corev1.Toleration{
				{Key: "team", Value: "blue"}, {Key: "team", Value: "red"}},
		},
		{
			reason:      "Equal compares values",
			cluster:     member("a", tainted("team", "red", corev1.TaintEffectNoSchedule)),
			tolerations: []corev1.Toleration{{Key: "team", Operator: corev1.TolerationOpEqual, Value: "blue"}},
			want:        &Refusal{Cluster: "a", Rule: RuleTaintToleration, Message: "has the untolerated taint team=red:NoSchedule"},
		},
		{
			reason:      "Exists without a key tolerates everything",
			cluster:     member("a", tainted("team", "red", corev1.TaintEffectNoSchedule), tainted("wet", "", corev1.TaintEffectNoExecute)),
			tolerations: []corev1.Toleration{{Operator: corev1.TolerationOpExists}},
		},
		{
			reason:   "a cluster that was not meant is refused for that, not for its taints or APIs",
			cluster:  member("a", tainted("wet", "", corev1.TaintEffectNoSchedule), servesNothing, without(clusterv1alpha1.ClusterJoined)),
			affinity: named("b"),
			want:     &Refusal{Cluster: "a", Rule: RuleClusterAffinity, Message: "is not named by clusterNames"},
		},
	}
	for _, test := range tests {
		t.Run(test.reason, func(t *testing.T) {
			facts := Facts{
				Template:  Template{Kind: deployment},
				Replicas:  ptr.To[int32](2),
				Placement: compiled(t, &policyv1alpha1.Placement{ClusterAffinity: test.affinity, ClusterTolerations: test.tolerations}),
				Fleet:     fleet(test.cluster),
			}
			if test.current {
				facts.Current = goesTo(test.cluster.Name)
			}
			decision := Decide(facts)
			var want []Refusal
			if test.want != nil {
				want = append(want, *test.want)
			}
			if diff := cmp.Diff(want, decision.Refused); diff != "" {
				t.Errorf("refusals (-want +got):\n%s", diff)
			}
			if fits := test.want == nil; decision.Scheduled != fits || (len(decision.Clusters) == 1) != fits {
				t.Errorf("scheduled %t to %v, want it to fit: %t", decision.Scheduled, decision.Clusters, fits)
			}
		})
	}
}

func fields(key, operator string, values ...string) *policyv1alpha1.ClusterAffinity {
	return &policyv1alpha1.ClusterAffinity{FieldSelector: &policyv1alpha1.FieldSelector{
		MatchExpressions: []corev1.NodeSelectorRequirement{{Key: key, Operator: corev1.NodeSelectorOperator(operator), Values: values}},
	}}
}

func divided(rules ...policyv1alpha1.StaticClusterWeight) *policyv1alpha1.ReplicaSchedulingStrategy {
	strategy := &policyv1alpha1.ReplicaSchedulingStrategy{
		ReplicaSchedulingType:     policyv1alpha1.ReplicaSchedulingDivided,
		ReplicaDivisionPreference: policyv1alpha1.ReplicaDivisionWeighted,
	}
	if len(rules) > 0 {
		strategy.WeightPreference = &policyv1alpha1.ClusterPreferences{StaticWeightList: rules}
	}
	return strategy
}

func weighs(weight int64, names ...string) policyv1alpha1.StaticClusterWeight {
	return policyv1alpha1.StaticClusterWeight{TargetCluster: *named(names...), Weight: weight}
}

func TestTheDecisionSaysWhereAndHowMany(t *testing.T) {
	three := fleet(member("c"), member("a"), member("b"))
	tests := []struct {
		reason string
		facts  Facts
		place  *policyv1alpha1.Placement
		want   Decision
	}{
		{
			reason: "a kind without replicas goes to all clusters, in the order of their names",
			facts:  Facts{Template: Template{Kind: configMap}, Fleet: three},
			want:   Decision{Clusters: goesTo("a", "b", "c"), Scheduled: true, Reason: ReasonSuccess, Message: "goes to 3 clusters"},
		},
		{
			reason: "a kind without replicas is not divided, whatever the policy says",
			facts:  Facts{Template: Template{Kind: configMap}, Fleet: three},
			place:  &policyv1alpha1.Placement{ReplicaScheduling: divided(weighs(1, "a"))},
			want:   Decision{Clusters: goesTo("a", "b", "c"), Scheduled: true, Reason: ReasonSuccess, Message: "goes to 3 clusters"},
		},
		{
			reason: "without replicaScheduling every cluster gets all replicas",
			facts:  Facts{Fleet: three, Replicas: ptr.To[int32](2)},
			place:  &policyv1alpha1.Placement{ClusterAffinity: named("a", "b")},
			want: Decision{
				Clusters:  []workv1alpha1.TargetCluster{{Name: "a", Replicas: 2}, {Name: "b", Replicas: 2}},
				Scheduled: true, Reason: ReasonSuccess, Message: "2 replicas in each of 2 clusters",
				Refused: []Refusal{{Cluster: "c", Rule: RuleClusterAffinity, Message: "is not named by clusterNames"}},
			},
		},
		{
			reason: "Duplicated says the same",
			facts:  Facts{Fleet: fleet(member("a")), Replicas: ptr.To[int32](1)},
			place: &policyv1alpha1.Placement{ReplicaScheduling: &policyv1alpha1.ReplicaSchedulingStrategy{
				ReplicaSchedulingType: policyv1alpha1.ReplicaSchedulingDuplicated}},
			want: Decision{Clusters: []workv1alpha1.TargetCluster{{Name: "a", Replicas: 1}},
				Scheduled: true, Reason: ReasonSuccess, Message: "1 replica in 1 cluster"},
		},
		{
			reason: "Divided divides by static weight, and a cluster that no rule selects gets nothing",
			facts:  Facts{Fleet: three, Replicas: ptr.To[int32](6)},
			place:  &policyv1alpha1.Placement{ReplicaScheduling: divided(weighs(2, "a"), weighs(1, "b"))},
			want: Decision{
				Clusters:  []workv1alpha1.TargetCluster{{Name: "a", Replicas: 4}, {Name: "b", Replicas: 2}},
				Scheduled: true, Reason: ReasonSuccess, Message: "6 replicas divided among 2 clusters",
			},
		},
		{
			reason: "of several rules for a cluster the largest weight counts",
			facts:  Facts{Fleet: three, Replicas: ptr.To[int32](6)},
			place:  &policyv1alpha1.Placement{ReplicaScheduling: divided(weighs(1, "a", "b", "c"), weighs(4, "c"), weighs(2, "c"))},
			want: Decision{
				Clusters:  []workv1alpha1.TargetCluster{{Name: "a", Replicas: 1}, {Name: "b", Replicas: 1}, {Name: "c", Replicas: 4}},
				Scheduled: true, Reason: ReasonSuccess, Message: "6 replicas divided among 3 clusters",
			},
		},
		{
			reason: "when no rule selects any cluster, all have the same weight",
			facts:  Facts{Fleet: three, Replicas: ptr.To[int32](4)},
			place:  &policyv1alpha1.Placement{ReplicaScheduling: divided(weighs(9, "gone"))},
			want: Decision{
				Clusters:  []workv1alpha1.TargetCluster{{Name: "a", Replicas: 2}, {Name: "b", Replicas: 1}, {Name: "c", Replicas: 1}},
				Scheduled: true, Reason: ReasonClustersLeftOut, Message: "4 replicas divided among 3 clusters; no static weight names any of the 3 clusters that fit, so all weigh the same; no cluster is called gone, which a static weight names",
			},
		},
		{
			reason: "without a preference too, and a template whose UID hashes to an odd number starts at the end",
			facts:  Facts{Template: Template{Kind: deployment, UID: "b"}, Fleet: three, Replicas: ptr.To[int32](4)},
			place:  &policyv1alpha1.Placement{ReplicaScheduling: divided()},
			want: Decision{
				Clusters:  []workv1alpha1.TargetCluster{{Name: "a", Replicas: 1}, {Name: "b", Replicas: 1}, {Name: "c", Replicas: 2}},
				Scheduled: true, Reason: ReasonSuccess, Message: "4 replicas divided among 3 clusters",
			},
		},
		{
			reason: "clusters that get no replica are left out",
			facts:  Facts{Fleet: three, Replicas: ptr.To[int32](1)},
			place:  &policyv1alpha1.Placement{ReplicaScheduling: divided()},
			want: Decision{Clusters: []workv1alpha1.TargetCluster{{Name: "a", Replicas: 1}},
				Scheduled: true, Reason: ReasonSuccess, Message: "1 replica in 1 cluster"},
		},
		{
			reason: "unless the hub is told to keep them",
			facts:  Facts{Fleet: three, Replicas: ptr.To[int32](1), KeepEmpty: true},
			place:  &policyv1alpha1.Placement{ReplicaScheduling: divided()},
			want: Decision{Clusters: []workv1alpha1.TargetCluster{{Name: "a", Replicas: 1}, {Name: "b"}, {Name: "c"}},
				Scheduled: true, Reason: ReasonSuccess, Message: "1 replica divided among 3 clusters"},
		},
		{
			reason: "a workload that asks for nothing goes nowhere",
			facts:  Facts{Fleet: three, Replicas: ptr.To[int32](0)},
			want:   Decision{Scheduled: true, Reason: ReasonSuccess, Message: "goes to no cluster, because it asks for 0 replicas"},
		},
		{
			reason: "one that is scaled to nothing stays where it is, so that its replicas end there",
			facts:  Facts{Fleet: three, Replicas: ptr.To[int32](0), Current: []workv1alpha1.TargetCluster{{Name: "a", Replicas: 2}, {Name: "c", Replicas: 2}}},
			want:   Decision{Clusters: goesTo("a", "c"), Scheduled: true, Reason: ReasonSuccess, Message: "asks for 0 replicas: stays in 2 clusters, without any"},
		},
		{
			reason: "also when it was divided by weight, and stays as long as it asks for nothing",
			facts:  Facts{Fleet: three, Replicas: ptr.To[int32](0), Current: goesTo("b")},
			place:  &policyv1alpha1.Placement{ReplicaScheduling: divided(weighs(2, "a"), weighs(1, "b"))},
			want:   Decision{Clusters: goesTo("b"), Scheduled: true, Reason: ReasonSuccess, Message: "asks for 0 replicas: stays in 1 cluster, without any"},
		},
		{
			reason: "but not where it may be no longer",
			facts:  Facts{Fleet: fleet(member("a", deleting), member("b"), member("c")), Replicas: ptr.To[int32](0), Current: goesTo("a", "b", "c")},
			place:  &policyv1alpha1.Placement{ClusterAffinity: named("a", "b")},
			want: Decision{Clusters: goesTo("b"), Scheduled: true, Reason: ReasonSuccess, Message: "asks for 0 replicas: stays in 1 cluster, without any",
				Refused: []Refusal{{Cluster: "a", Rule: RuleClusterDeleting, Message: "is being removed"}, {Cluster: "c", Rule: RuleClusterAffinity, Message: "is not named by clusterNames"}}},
		},
		{
			reason: "scaled up again it is divided as if nothing had been",
			facts:  Facts{Fleet: three, Replicas: ptr.To[int32](6), Current: goesTo("b")},
			place:  &policyv1alpha1.Placement{ReplicaScheduling: divided(weighs(2, "a"), weighs(1, "b"))},
			want: Decision{Clusters: []workv1alpha1.TargetCluster{{Name: "a", Replicas: 4}, {Name: "b", Replicas: 2}},
				Scheduled: true, Reason: ReasonSuccess, Message: "6 replicas divided among 2 clusters"},
		},
		{
			reason: "a hub that keeps empty workloads sends them everywhere",
			facts:  Facts{Fleet: three, Replicas: ptr.To[int32](0), Current: goesTo("b"), KeepEmpty: true},
			want:   Decision{Clusters: goesTo("a", "b", "c"), Scheduled: true, Reason: ReasonSuccess, Message: "0 replicas in each of 3 clusters"},
		},
		{
			reason: "a share that shrinks to nothing while others get some is taken away",
			facts: Facts{Fleet: three, Replicas: ptr.To[int32](1),
				Current: []workv1alpha1.TargetCluster{{Name: "a", Replicas: 1}, {Name: "b", Replicas: 1}}},
			place: &policyv1alpha1.Placement{ReplicaScheduling: divided()},
			want: Decision{Clusters: []workv1alpha1.TargetCluster{{Name: "a", Replicas: 1}},
				Scheduled: true, Reason: ReasonSuccess, Message: "1 replica in 1 cluster"},
		},
		{
			reason: "the result is decided anew each time: what a cluster had before gives it nothing",
			facts: Facts{Fleet: three, Replicas: ptr.To[int32](3),
				Current: []workv1alpha1.TargetCluster{{Name: "c", Replicas: 3}}},
			place: &policyv1alpha1.Placement{ReplicaScheduling: divided()},
			want: Decision{
				Clusters:  []workv1alpha1.TargetCluster{{Name: "a", Replicas: 1}, {Name: "b", Replicas: 1}, {Name: "c", Replicas: 1}},
				Scheduled: true, Reason: ReasonSuccess, Message: "3 replicas divided among 3 clusters",
			},
		},
		{
			reason: "a hub without clusters says so",
			facts:  Facts{Replicas: ptr.To[int32](3), Current: goesTo("a")},
			want:   Decision{Reason: ReasonNoClusterFit, Message: "no cluster is attached to this hub"},
		},
	}
	for _, test := range tests {
		t.Run(test.reason, func(t *testing.T) {
			if test.facts.Template.Kind.Empty() {
				test.facts.Template.Kind = deployment
			}
			test.facts.Placement = compiled(t, test.place)
			if diff := cmp.Diff(test.want, Decide(test.facts)); diff != "" {
				t.Errorf("decision (-want +got):\n%s", diff)
			}
		})
	}
}

// servesJobs is a change of a cluster that serves Jobs, too.
func servesJobs(c *clusterv1alpha1.MemberCluster) {
	c.Status.APIEnablements = append(c.Status.APIEnablements, clusterv1alpha1.APIEnablement{
		GroupVersion: "batch/v1", Resources: []clusterv1alpha1.APIResource{{Name: "jobs", Kind: "Job"}}})
}

func TestAJobThatHasEndedDoesNotRunAnewInAnotherClustersPlace(t *testing.T) {
	in := func(of ...any) []workv1alpha1.TargetCluster {
		var list []workv1alpha1.TargetCluster
		for i := 0; i < len(of); i += 2 {
			list = append(list, workv1alpha1.TargetCluster{Name: of[i].(string), Replicas: int32(of[i+1].(int))})
		}
		return list
	}
	groups := func(groups ...*policyv1alpha1.ClusterAffinity) *policyv1alpha1.Placement {
		placement := &policyv1alpha1.Placement{}
		for i, group := range groups {
			placement.ClusterAffinities = append(placement.ClusterAffinities, policyv1alpha1.ClusterAffinityTerm{AffinityName: fmt.Sprint("group", i), ClusterAffinity: *group})
		}
		return placement
	}
	chosen := func(most int32, affinity *policyv1alpha1.ClusterAffinity) *policyv1alpha1.Placement {
		return &policyv1alpha1.Placement{ClusterAffinity: affinity,
			SpreadConstraints: []policyv1alpha1.SpreadConstraint{{SpreadByField: policyv1alpha1.SpreadByFieldCluster, MinGroups: 1, MaxGroups: most}}}
	}
	byRoom := &policyv1alpha1.ReplicaSchedulingStrategy{ReplicaSchedulingType: policyv1alpha1.ReplicaSchedulingDivided, ReplicaDivisionPreference: policyv1alpha1.ReplicaDivisionAggregated}
	const stays = "has ended: stays in 1 cluster, and does not run anew elsewhere"
	const nowhere = "has ended, and is in no cluster where it may stay: it does not run anew, unless it is deleted and made again"
	tests := []struct {
		reason  string
		current []workv1alpha1.TargetCluster
		place   *policyv1alpha1.Placement
		change  func(*Facts)
		want    []workv1alpha1.TargetCluster
		group   string
		message string
	}{
		{reason: "another cluster is free", current: in("a", 4), place: chosen(2, nil), want: in("a", 4), message: stays},
		{reason: "its cluster is out of the placement", current: in("a", 4), place: chosen(1, named("b")), message: nowhere},
		{reason: "it was taken out before", place: chosen(1, nil), message: nowhere},
		{reason: "one of two clusters is out of the placement", current: in("a", 4, "b", 4), place: chosen(2, named("b", "c")), want: in("b", 4), message: stays},
		{reason: "a part of it is out of the placement, and the others stay as they are", current: in("a", 3, "b", 1),
			place: &policyv1alpha1.Placement{ClusterAffinity: named("b", "c"), ReplicaScheduling: divided()}, want: in("b", 1), message: stays},
		{reason: "its placement does not divide it any more", current: in("a", 3, "b", 1), place: nil,
			want: in("a", 3, "b", 1), message: "has ended: stays in 2 clusters, and does not run anew elsewhere"},
		{reason: "a part of it is gone when its placement does not divide it any more", current: in("a", 3, "b", 1), place: &policyv1alpha1.Placement{ClusterAffinity: named("b", "c")},
			want: in("b", 1), message: stays},
		{reason: "its placement does not divide it any more, and it found room as a whole", current: in("a", 4), place: nil,
			change: func(f *Facts) { f.Ran = compiled(t, &policyv1alpha1.Placement{ReplicaScheduling: divided()}) }, want: in("a", 4), message: stays},
		{reason: "its placement does not choose clusters any more", current: in("a", 4), place: nil,
			change: func(f *Facts) { f.Ran = compiled(t, chosen(1, nil)) }, want: in("a", 4), message: stays},
		{reason: "a cluster is selected again while its removal there is held", current: in("a", 3), place: &policyv1alpha1.Placement{ReplicaScheduling: divided()},
			change: func(f *Facts) { f.Held = in("b", 1) }, want: in("a", 3, "b", 1), message: "has ended: stays in 2 clusters, and does not run anew elsewhere"},
		{reason: "all of it is held, and its clusters are selected again", place: nil,
			change: func(f *Facts) { f.Held = in("a", 3, "b", 1) }, want: in("a", 3, "b", 1), message: "has ended: stays in 2 clusters, and does not run anew elsewhere"},
		{reason: "its removal is held from a cluster that is not selected", current: in("a", 3), place: &policyv1alpha1.Placement{ClusterAffinity: named("a", "c"), ReplicaScheduling: divided()},
			change: func(f *Facts) { f.Held = in("b", 1) }, want: in("a", 3), message: stays},
		{reason: "another parallelism is nothing to what is done", current: in("a", 3, "b", 2), place: &policyv1alpha1.Placement{ReplicaScheduling: divided()},
			want: in("a", 3, "b", 2), message: "has ended: stays in 2 clusters, and does not run anew elsewhere"},
		{reason: "its parts are as they were", current: in("a", 3, "b", 1), place: &policyv1alpha1.Placement{ReplicaScheduling: divided()},
			want: in("a", 3, "b", 1), message: "has ended: stays in 2 clusters, and does not run anew elsewhere"},
		{reason: "nobody asks for room for it", current: in("a", 4), place: &policyv1alpha1.Placement{ReplicaScheduling: byRoom}, want: in("a", 4), message: stays},
		{reason: "it is in fewer clusters than it would be spread over", current: in("a", 4),
			place: &policyv1alpha1.Placement{SpreadConstraints: []policyv1alpha1.SpreadConstraint{{SpreadByField: policyv1alpha1.SpreadByFieldCluster, MinGroups: 2}}}, want: in("a", 4), message: stays},
		{reason: "somebody asks to place it anew", current: in("b", 4), place: groups(named("a"), named("b")), change: func(f *Facts) { f.Fresh, f.Group = true, "group1" },
			want: in("b", 4), group: "group1", message: stays},
		{reason: "its affinity group has no cluster left", current: in("a", 4), place: groups(named("x"), named("b")), change: func(f *Facts) { f.Group = "group0" }, group: "group0", message: nowhere},
		{reason: "its cluster is in another affinity group now", current: in("a", 4), place: groups(named("b"), named("a")), change: func(f *Facts) { f.Group = "group0" },
			want: in("a", 4), group: "group1", message: stays},
		{reason: "it has to leave its cluster because of a taint", current: in("a", 4), place: chosen(1, nil), change: func(f *Facts) { f.Leaving = []string{"a"} }, want: in("a", 4), message: stays},
	}
	for _, test := range tests {
		t.Run(test.reason, func(t *testing.T) {
			facts := Facts{
				Template: Template{Kind: schema.GroupVersionKind{Group: "batch", Version: "v1", Kind: "Job"}}, Replicas: ptr.To[int32](4), Ended: true,
				Fleet: fleet(member("a", servesJobs), member("b", servesJobs), member("c", servesJobs)), Placement: compiled(t, test.place), Current: test.current,
			}
			if test.change != nil {
				test.change(&facts)
			}
			got := Decide(facts)
			if diff := cmp.Diff(test.want, got.Clusters); diff != "" {
				t.Errorf("clusters (-want +got):\n%s", diff)
			}
			if !got.Scheduled || got.Reason != ReasonSuccess || got.Message != test.message || got.Group != test.group {
				t.Errorf("it is %v %s %q in group %q, want the message %q and the group %q", got.Scheduled, got.Reason, got.Message, got.Group, test.message, test.group)
			}
			if len(got.Clusters)+len(got.Refused) < facts.Fleet.Len() {
				t.Errorf("not every other cluster is refused: %v", got.Refused)
			}
		})
	}
}

func TestAJobThatHasEndedRunsInAClusterThatIsNewWhereEveryClusterIsToRunIt(t *testing.T) {
	for _, test := range []struct {
		reason string
		place  *policyv1alpha1.Placement
		want   []string
	}{
		{"no placement", nil, []string{"a", "b", "c"}},
		{"a cluster is named in addition", &policyv1alpha1.Placement{ClusterAffinity: named("a", "b")}, []string{"a", "b"}},
		{"another cluster is named", &policyv1alpha1.Placement{ClusterAffinity: named("b")}, []string{"b"}},
	} {
		t.Run(test.reason, func(t *testing.T) {
			got := Decide(Facts{
				Template: Template{Kind: schema.GroupVersionKind{Group: "batch", Version: "v1", Kind: "Job"}}, Replicas: ptr.To[int32](4), Ended: true, Leaving: []string{"a"},
				Fleet: fleet(member("a", servesJobs), member("b", servesJobs), member("c", servesJobs)), Placement: compiled(t, test.place),
				Current: []workv1alpha1.TargetCluster{{Name: "a", Replicas: 4}}, Ran: compiled(t, &policyv1alpha1.Placement{ClusterAffinity: named("a")}),
			})
			var names []string
			for _, target := range got.Clusters {
				names = append(names, target.Name)
			}
			if diff := cmp.Diff(test.want, names); diff != "" {
				t.Errorf("clusters (-want +got):\n%s", diff)
			}
		})
	}
}

func TestADividedJobKeepsItsParts(t *testing.T) {
	part := func(name string, replicas int32) workv1alpha1.TargetCluster {
		return workv1alpha1.TargetCluster{Name: name, Replicas: replicas}
	}
	parts := func(parts ...workv1alpha1.TargetCluster) []workv1alpha1.TargetCluster { return parts }
	const stays = "; a Job that is placed is not divided anew, because the completions of its parts can't be changed"
	placed := parts(part("a", 2), part("b", 2))
	tests := []struct {
		reason   string
		replicas int32
		current  []workv1alpha1.TargetCluster
		place    *policyv1alpha1.ReplicaSchedulingStrategy
		only     []string // by the affinity; nil: all
		fleet    []*clusterv1alpha1.MemberCluster
		want     []workv1alpha1.TargetCluster
		message  string
		told     string // the reason; empty: Success
	}{
		{reason: "it is new", replicas: 4, fleet: []*clusterv1alpha1.MemberCluster{member("a", servesJobs), member("b", servesJobs)},
			want: placed, message: "4 replicas divided among 2 clusters"},
		{reason: "it is looked at again", replicas: 4, current: placed, fleet: []*clusterv1alpha1.MemberCluster{member("a", servesJobs), member("b", servesJobs)},
			want: placed, message: "4 replicas divided among 2 clusters"},
		{reason: "a cluster has joined", replicas: 4, current: placed,
			want: placed, message: "4 replicas divided among 2 clusters" + stays},
		{reason: "the weights have changed", replicas: 4, current: placed, place: divided(weighs(1, "a"), weighs(9, "c")),
			want: placed, message: "4 replicas divided among 2 clusters" + stays},
		{reason: "it asks for more", replicas: 8, current: placed,
			want: parts(part("a", 4), part("b", 4)), message: "8 replicas divided among 2 clusters" + stays},
		{reason: "it asks for less than it has parts", replicas: 1, current: placed,
			want: parts(part("a", 1), part("b", 0)), message: "1 replica divided among 2 clusters" + stays +
				"; 1 part of the Job, in b, can run no pod, and the Job does not end while completions are left there: a larger parallelism lets it",
			told: ReasonClustersLeftOut},
		{reason: "it is paused", replicas: 0, current: placed,
			want: parts(part("a", 0), part("b", 0)), message: "asks for 0 replicas: stays in 2 clusters, without any"},
		{reason: "it goes on after a pause", replicas: 4, current: parts(part("a", 0), part("b", 0)),
			want: placed, message: "4 replicas divided among 2 clusters" + stays},
		{reason: "a cluster is out of the placement", replicas: 4, current: placed, only: []string{"b", "c"},
			want: parts(part("b", 4)), message: "4 replicas in 1 cluster" + stays},
		{reason: "all of its clusters are", replicas: 4, current: placed, only: []string{"c"},
			want: parts(part("c", 4)), message: "4 replicas in 1 cluster"},
		{reason: "it is not divided", replicas: 2, current: placed, place: &policyv1alpha1.ReplicaSchedulingStrategy{ReplicaSchedulingType: policyv1alpha1.ReplicaSchedulingDuplicated},
			want: parts(part("a", 2), part("b", 2), part("c", 2)), message: "2 replicas in each of 3 clusters"},
	}
	for _, test := range tests {
		t.Run(test.reason, func(t *testing.T) {
			members := test.fleet
			if members == nil {
				members = []*clusterv1alpha1.MemberCluster{member("a", servesJobs), member("b", servesJobs), member("c", servesJobs)}
			}
			placement := &policyv1alpha1.Placement{ReplicaScheduling: test.place}
			if test.place == nil {
				placement.ReplicaScheduling = divided()
			}
			if test.only != nil {
				placement.ClusterAffinity = named(test.only...)
			}
			got := Decide(Facts{
				Template: Template{Kind: schema.GroupVersionKind{Group: "batch", Version: "v1", Kind: "Job"}}, Replicas: &test.replicas,
				Fleet: fleet(members...), Placement: compiled(t, placement), Current: test.current,
			})
			if diff := cmp.Diff(test.want, got.Clusters); diff != "" {
				t.Errorf("clusters (-want +got):\n%s", diff)
			}
			if got.Reason != ReasonSuccess && got.Reason != test.told || test.told != "" && got.Reason != test.told {
				t.Errorf("the reason is %s", got.Reason)
			}
			if got.Message != test.message {
				t.Errorf("the message is %q, want %q", got.Message, test.message)
			}
		})
	}
}

func TestWhatMayBeASlipOfThePenIsToldWithAReasonOfItsOwn(t *testing.T) {
	gold := &policyv1alpha1.ClusterAffinity{LabelSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"tier": "gold"}}}
	tests := []struct {
		reason   string
		affinity *policyv1alpha1.ClusterAffinity
		weights  []policyv1alpha1.StaticClusterWeight
		kind     schema.GroupVersionKind
		replicas *int32
		keep     bool
		paused   []string
		doubts   string // after the message of success; empty: the reason is Success
	}{
		{reason: "every name is that of a cluster", affinity: named("a", "b"), weights: []policyv1alpha1.StaticClusterWeight{weighs(3, "a"), weighs(1, "b")}},
		{reason: "the affinity names a stranger", affinity: named("a", "bb"), doubts: "; no cluster is called bb"},
		{reason: "so may what is excluded be misspelt", affinity: &policyv1alpha1.ClusterAffinity{ExcludeClusters: []string{"bb"}}, doubts: "; no cluster is called bb, which exclude names"},
		{reason: "so may a cluster that is paused", paused: []string{"aa", "b", "cc"}, doubts: "; no cluster is called aa, cc, which suspension names"},
		{reason: "all that are paused are there", paused: []string{"a", "b"}},
		{reason: "so it does for a kind without replicas", affinity: named("a", "bb"), kind: configMap, doubts: "; no cluster is called bb"},
		{
			reason: "a weight names a stranger, and the cluster that was meant gets nothing", affinity: named("a", "b"),
			weights: []policyv1alpha1.StaticClusterWeight{weighs(3, "aa"), weighs(1, "b")},
			doubts:  "; a gets nothing, for no weight names it; no cluster is called aa, which a static weight names",
		},
		{
			reason: "without an affinity too", weights: []policyv1alpha1.StaticClusterWeight{weighs(3, "bb"), weighs(1, "a", "c", "d", "e")},
			doubts: "; b gets nothing, for no weight names it; no cluster is called bb, which a static weight names",
		},
		{
			reason: "a kind without replicas has no use for weights", kind: configMap,
			weights: []policyv1alpha1.StaticClusterWeight{weighs(3, "aa"), weighs(1, "b")},
		},
		{reason: "clusters are chosen by weights alone, which is a way to say it", weights: []policyv1alpha1.StaticClusterWeight{weighs(3, "a"), weighs(1, "b")}},
		{
			reason: "many that the affinity selects have no weight", affinity: gold, weights: []policyv1alpha1.StaticClusterWeight{weighs(1, "a")},
			doubts: "; b, c, d and 1 more get nothing, for no weight names them",
		},
		{
			reason: "they are sent without replicas", affinity: named("a", "b"), weights: []policyv1alpha1.StaticClusterWeight{weighs(1, "a")}, keep: true,
			doubts: "; b gets nothing, for no weight names it",
		},
		{reason: "a cluster without a weight is not selected", affinity: named("a"), weights: []policyv1alpha1.StaticClusterWeight{weighs(1, "a")}},
		{reason: "it asks for nothing", affinity: named("a", "b"), weights: []policyv1alpha1.StaticClusterWeight{weighs(1, "a")}, replicas: ptr.To[int32](0)},
		{
			reason: "affinity and weights have the same slip", affinity: named("a", "bb"), weights: []policyv1alpha1.StaticClusterWeight{weighs(1, "a"), weighs(1, "bb")},
			doubts: "; no cluster is called bb",
		},
		{
			reason: "no weight selects a cluster, so all weigh the same", affinity: named("a", "b"), weights: []policyv1alpha1.StaticClusterWeight{weighs(1, "aa")}, replicas: ptr.To[int32](1),
			doubts: "; no static weight names any of the 2 clusters that fit, so all weigh the same; no cluster is called aa, which a static weight names",
		},
		{
			reason: "the only cluster that fits has no weight, and gets all", affinity: named("b"), weights: []policyv1alpha1.StaticClusterWeight{weighs(3, "a")},
			doubts: "; no static weight names the cluster that fits, so it gets all",
		},
		{reason: "without weights all weigh the same anyway", affinity: named("a", "b"), weights: []policyv1alpha1.StaticClusterWeight{}},
		{reason: "nothing is asked for, whatever the weights", affinity: named("b"), weights: []policyv1alpha1.StaticClusterWeight{weighs(3, "a")}, replicas: ptr.To[int32](0)},
	}
	for _, test := range tests {
		t.Run(test.reason, func(t *testing.T) {
			placement := &policyv1alpha1.Placement{ClusterAffinity: test.affinity}
			if test.weights != nil {
				placement.ReplicaScheduling = divided(test.weights...)
			}
			tier := labelled("tier", "gold")
			facts := Facts{
				Template: Template{Kind: deployment}, Replicas: ptr.To[int32](8), KeepEmpty: test.keep, Paused: test.paused, Placement: compiled(t, placement),
				Fleet: fleet(member("a", tier), member("b", tier), member("c", tier), member("d", tier), member("e", tier)),
			}
			if test.replicas != nil {
				facts.Replicas = test.replicas
			}
			if test.kind == configMap {
				facts.Template.Kind, facts.Replicas = configMap, nil
			}
			decision := Decide(facts)
			_, doubts, _ := strings.Cut(decision.Message, ";")
			if doubts != "" {
				doubts = ";" + doubts
			}
			want := ReasonSuccess
			if test.doubts != "" {
				want = ReasonClustersLeftOut
			}
			if doubts != test.doubts || decision.Reason != want || !decision.Scheduled {
				t.Errorf("scheduled %t, reason %s, message %q; want %s and %q", decision.Scheduled, decision.Reason, decision.Message, want, test.doubts)
			}
		})
	}
}

func TestOfWeightsNothingIsSaidToAJobThatKeepsItsParts(t *testing.T) {
	placement := &policyv1alpha1.Placement{ClusterAffinity: named("b"), ReplicaScheduling: divided(weighs(3, "a"))}
	decision := Decide(Facts{
		Template: Template{Kind: schema.GroupVersionKind{Group: "batch", Version: "v1", Kind: "Job"}}, Replicas: ptr.To[int32](2),
		Placement: compiled(t, placement), Fleet: fleet(member("a"), member("b")), Current: []workv1alpha1.TargetCluster{{Name: "b", Replicas: 2}},
	})
	if decision.Reason != ReasonSuccess || decision.Message != "2 replicas in 1 cluster" {
		t.Errorf("it says %s: %s", decision.Reason, decision.Message)
	}
}

func TestAClusterThatIsNamedAndDoesNotFitIsTold(t *testing.T) {
	cordoned := tainted("node.kubernetes.io/unschedulable", "", corev1.TaintEffectNoSchedule)
	gold := &policyv1alpha1.ClusterAffinity{LabelSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"tier": "gold"}}}
	tests := []struct {
		reason    string
		placement policyv1alpha1.Placement
		kind      schema.GroupVersionKind
		current   []string
		leaving   []string
		want      string // after the message of success
	}{
		{
			reason: "who names it expects the template there", placement: policyv1alpha1.Placement{ClusterAffinity: named("a", "cordoned", "bare", "late", "going")},
			want: "; bare, which is named, is left out: it does not serve apps/v1 Deployment" +
				"; cordoned, which is named, is left out: it has the untolerated taint node.kubernetes.io/unschedulable:NoSchedule" +
				"; going, which is named, is left out: it is being removed" +
				"; late, which is named, is left out: it has not joined: no agent has enrolled for it yet",
		},
		{
			reason: "several of one cause are told together", placement: policyv1alpha1.Placement{ClusterAffinity: named("a", "cordoned", "cordoned-2")},
			want: "; cordoned, cordoned-2, which are named, are left out: they have the untolerated taint node.kubernetes.io/unschedulable:NoSchedule",
		},
		{
			reason: "a weight names it", placement: policyv1alpha1.Placement{ReplicaScheduling: divided(weighs(1, "a"), weighs(1, "bare"))},
			want: "; bare, which is named, is left out: it does not serve apps/v1 Deployment",
		},
		{
			reason: "a kind without replicas has no use for weights", kind: configMap,
			placement: policyv1alpha1.Placement{ReplicaScheduling: divided(weighs(1, "a"), weighs(1, "cordoned"))},
		},
		{reason: "it has the template already, and keeps it", placement: policyv1alpha1.Placement{ClusterAffinity: named("a", "cordoned")}, current: []string{"a", "cordoned"}},
		{reason: "whoever has the label is meant", placement: policyv1alpha1.Placement{ClusterAffinity: gold}},
		{
			reason:    "constraints choose among the names",
			placement: policyv1alpha1.Placement{ClusterAffinity: named("a", "cordoned"), SpreadConstraints: []policyv1alpha1.SpreadConstraint{{SpreadByField: policyv1alpha1.SpreadByFieldCluster, MinGroups: 1}}},
		},
		{reason: "that it is left is told", placement: policyv1alpha1.Placement{ClusterAffinity: named("a", "b")}, current: []string{"a", "b"}, leaving: []string{"b"}, want: "; leaves b"},
	}
	for _, test := range tests {
		t.Run(test.reason, func(t *testing.T) {
			tier := labelled("tier", "gold")
			facts := Facts{
				Template: Template{Kind: deployment}, Replicas: ptr.To[int32](2), Placement: compiled(t, &test.placement), Current: goesTo(test.current...), Leaving: test.leaving,
				Fleet: fleet(member("a", tier), member("b"), member("cordoned", cordoned, tier), member("cordoned-2", cordoned), member("bare", servesNothing),
					member("late", without(clusterv1alpha1.ClusterJoined)), member("going", deleting)),
			}
			if test.kind == configMap {
				facts.Template.Kind, facts.Replicas = configMap, nil
			}
			decision := Decide(facts)
			want := ReasonSuccess
			if strings.Contains(test.want, "named") {
				want = ReasonClustersLeftOut
			}
			_, told, _ := strings.Cut(decision.Message, ";")
			if told != "" {
				told = ";" + told
			}
			if told != test.want || decision.Reason != want || !decision.Scheduled {
				t.Errorf("scheduled %t, reason %s, message %q; want %s and %q", decision.Scheduled, decision.Reason, decision.Message, want, test.want)
			}
		})
	}
}

func TestAFleetThatDoesNotFitIsToldWhatWasAsked(t *testing.T) {
	for _, test := range []struct {
		affinity policyv1alpha1.ClusterAffinity
		members  int
		want     string
	}{
		{*named("x", "a"), 1, "0 of 1 cluster fits: 1 is not named by clusterNames; no cluster is called a, x"},
		{policyv1alpha1.ClusterAffinity{ExcludeClusters: []string{"member-0", "member-1"}}, 2, "0 of 2 clusters fit: 2 are excluded by exclude"},
		{policyv1alpha1.ClusterAffinity{LabelSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"tier": "gold"}}}, 2,
			"0 of 2 clusters fit: 2 do not have the labels tier=gold"},
		{*fields("region", "In", "atlantis"), 2, "0 of 2 clusters fit: 2 do not match the fieldSelector region In [atlantis]"},
		{*fields("zone", "In", "1", "2", "3", "4", "5", "6"), 1, "0 of 1 cluster fits: 1 does not match the fieldSelector zone In [1, 2, 3, 4, 5 and 1 more]"},
		{policyv1alpha1.ClusterAffinity{ClusterNames: []string{"member-0", "member-2"}, ExcludeClusters: []string{"member-0"}, FieldSelector: fields("region", "In", "atlantis").FieldSelector}, 4,
			"0 of 4 clusters fit: 2 are not named by clusterNames, 1 is excluded by exclude, 1 does not match the fieldSelector region In [atlantis]"},
	} {
		t.Run(test.want, func(t *testing.T) {
			var members []*clusterv1alpha1.MemberCluster
			for i := range test.members {
				members = append(members, member(fmt.Sprintf("member-%d", i)))
			}
			decision := Decide(Facts{Template: Template{Kind: deployment}, Fleet: fleet(members...), Placement: compiled(t, &policyv1alpha1.Placement{ClusterAffinity: &test.affinity})})
			if decision.Message != test.want || decision.Reason != ReasonNoClusterFit {
				t.Errorf("reason %s, message %q", decision.Reason, decision.Message)
			}
		})
	}
}

func TestTheMessageCountsWhyNoClusterFits(t *testing.T) {
	times := func(n int, changes ...func(*clusterv1alpha1.MemberCluster)) []*clusterv1alpha1.MemberCluster {
		var members []*clusterv1alpha1.MemberCluster
		for range n {
			members = append(members, member("", changes...))
		}
		return members
	}
	prod := labelled("env", "prod")
	tests := []struct {
		reason   string
		clusters [][]*clusterv1alpha1.MemberCluster
		want     string
	}{
		{
			"the most frequent cause is first",
			[][]*clusterv1alpha1.MemberCluster{times(2, prod, servesNothing), times(7), times(3, prod, tainted("x", "", corev1.TaintEffectNoSchedule))},
			"0 of 12 clusters fit: 7 do not have the labels env=prod, 3 have the untolerated taint x:NoSchedule, 2 do not serve apps/v1 Deployment",
		},
		{
			"one cluster is not many",
			[][]*clusterv1alpha1.MemberCluster{times(1, prod, servesNothing), times(1), times(1, prod, without(clusterv1alpha1.ClusterJoined)), times(1, deleting)},
			"0 of 4 clusters fit: 1 is being removed, 1 does not have the labels env=prod, 1 does not serve apps/v1 Deployment, 1 has not joined",
		},
		{
			"a taint for every cluster does not make a message for every cluster",
			[][]*clusterv1alpha1.MemberCluster{
				times(2, prod, tainted("a", "", corev1.TaintEffectNoSchedule)), times(2, prod, tainted("b", "", corev1.TaintEffectNoSchedule)),
				times(2, prod, tainted("c", "", corev1.TaintEffectNoSchedule)), times(2, prod, tainted("d", "", corev1.TaintEffectNoSchedule)),
				times(2, prod, tainted("e", "", corev1.TaintEffectNoSchedule)), times(1, prod, tainted("f", "", corev1.TaintEffectNoSchedule)),
				times(1, prod, tainted("g", "", corev1.TaintEffectNoSchedule)),
			},
			"0 of 12 clusters fit: 2 have the untolerated taint a:NoSchedule, 2 have the untolerated taint b:NoSchedule, " +
				"2 have the untolerated taint c:NoSchedule, 2 have the untolerated taint d:NoSchedule, 2 have the untolerated taint e:NoSchedule, 2 for other reasons",
		},
	}
	for _, test := range tests {
		t.Run(test.reason, func(t *testing.T) {
			var all []*clusterv1alpha1.MemberCluster
			for _, some := range test.clusters {
				all = append(all, some...)
			}
			for i := range all {
				all[i].Name = fmt.Sprintf("member-%02d", i)
			}
			decision := Decide(Facts{
				Template: Template{Kind: deployment}, Replicas: ptr.To[int32](3), Fleet: fleet(all...),
				Placement: compiled(t, &policyv1alpha1.Placement{ClusterAffinity: &policyv1alpha1.ClusterAffinity{
					LabelSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"env": "prod"}}}}),
			})
			want := Decision{Reason: ReasonNoClusterFit, Message: test.want}
			if diff := cmp.Diff(want, decision, cmpopts.IgnoreFields(Decision{}, "Refused")); diff != "" {
				t.Errorf("decision (-want +got):\n%s", diff)
			}
			if len(decision.Refused) != len(all) {
				t.Errorf("%d refusals for %d clusters", len(decision.Refused), len(all))
			}
		})
	}
}

func TestAPlacementThatCantBeUnderstoodIsNotCompiled(t *testing.T) {
	tests := []struct {
		reason    string
		placement policyv1alpha1.Placement
		want      string
	}{
		{
			"an operator that does not exist",
			policyv1alpha1.Placement{ClusterAffinity: &policyv1alpha1.ClusterAffinity{LabelSelector: &metav1.LabelSelector{
				MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "env", Operator: "Like"}}}}},
			"placement.clusterAffinity.labelSelector.matchExpressions[0].operator",
		},
		{
			"regions without a word on clusters",
			policyv1alpha1.Placement{SpreadConstraints: []policyv1alpha1.SpreadConstraint{{SpreadByField: policyv1alpha1.SpreadByFieldRegion}}},
			"placement.spreadConstraints: Required value: one entry must have spreadByField: cluster",
		},
	}
	for _, test := range tests {
		t.Run(test.reason, func(t *testing.T) {
			_, err := Compile(&test.placement)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v does not contain %q", err, test.want)
			}
		})
	}
}

func TestOnlyWhatSchedulingLooksAtCountsAsAChange(t *testing.T) {
	tests := []struct {
		reason string
		change func(*clusterv1alpha1.MemberCluster)
		want   bool
	}{
		{"nothing", func(*clusterv1alpha1.MemberCluster) {}, false},
		{"a heartbeat", func(c *clusterv1alpha1.MemberCluster) {
			c.ResourceVersion = "2"
			c.Status.Conditions = append(c.Status.Conditions, metav1.Condition{Type: clusterv1alpha1.ClusterReady})
		}, false},
		{"capacity", func(c *clusterv1alpha1.MemberCluster) {
			c.Status.NodeSummary = &clusterv1alpha1.NodeSummary{TotalNum: 3}
		}, false},
		{"spare resources", func(c *clusterv1alpha1.MemberCluster) {
			c.Status.ResourceSummary = &clusterv1alpha1.ResourceSummary{Allocated: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("3")}}
		}, false},
		{"that its resources are known", func(c *clusterv1alpha1.MemberCluster) { c.Status.ResourceSummary = nil }, true},
		{"when a taint was added", func(c *clusterv1alpha1.MemberCluster) { c.Spec.Taints[0].TimeAdded = &metav1.Time{} }, false},
		{"a label", labelled("env", "prod"), true},
		{"the location", located("aws", "", "z1"), true},
		{"a zone", located("", "", "z2"), true},
		{"a taint", tainted("wet", "", corev1.TaintEffectNoSchedule), true},
		{"a taint's value", func(c *clusterv1alpha1.MemberCluster) { c.Spec.Taints[0].Value = "very" }, true},
		{"an API", servesNothing, true},
		{"that all APIs are known", without(clusterv1alpha1.ClusterCompleteAPIEnablements), true},
		{"that it joined", without(clusterv1alpha1.ClusterJoined), true},
		{"its removal", deleting, true},
	}
	for _, test := range tests {
		t.Run(test.reason, func(t *testing.T) {
			old := member("a", located("", "", "z1"), tainted("dry", "", corev1.TaintEffectNoSchedule))
			old.Status.ResourceSummary = &clusterv1alpha1.ResourceSummary{}
			changed := old.DeepCopy()
			test.change(changed)
			if got := Changed(old, changed); got != test.want {
				t.Errorf("changed: %t, want %t", got, test.want)
			}
		})
	}
}

func TestADecisionLeavesItsFactsAlone(t *testing.T) {
	facts := Facts{
		Template: Template{Kind: deployment, UID: "u"}, Replicas: ptr.To[int32](5),
		Fleet:     fleet(member("b"), member("a")),
		Placement: compiled(t, &policyv1alpha1.Placement{ReplicaScheduling: divided()}),
		Current:   []workv1alpha1.TargetCluster{{Name: "b", Replicas: 1}, {Name: "a", Replicas: 4}},
	}
	first := Decide(facts)
	if diff := cmp.Diff([]workv1alpha1.TargetCluster{{Name: "b", Replicas: 1}, {Name: "a", Replicas: 4}}, facts.Current); diff != "" {
		t.Errorf("Current was changed (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(first, Decide(facts)); diff != "" {
		t.Errorf("the same facts gave another decision (-first +second):\n%s", diff)
	}
}

func TestWhatAPlacementRemembersOfAFleetIsNotUsedForAnother(t *testing.T) {
	placement := compiled(t, &policyv1alpha1.Placement{
		ClusterAffinity:   &policyv1alpha1.ClusterAffinity{LabelSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"env": "prod"}}},
		ReplicaScheduling: divided(weighs(3, "a"), weighs(1, "b")),
	})
	before := fleet(member("a", labelled("env", "prod")), member("b", labelled("env", "prod")))
	after := fleet(member("a", labelled("env", "test")), member("b", labelled("env", "prod")))
	for range 2 {
		for _, test := range []struct {
			fleet *Fleet
			want  []workv1alpha1.TargetCluster
		}{
			{before, []workv1alpha1.TargetCluster{{Name: "a", Replicas: 3}, {Name: "b", Replicas: 1}}},
			{after, []workv1alpha1.TargetCluster{{Name: "b", Replicas: 4}}},
		} {
			decision := Decide(Facts{Template: Template{Kind: deployment}, Replicas: ptr.To[int32](4), Fleet: test.fleet, Placement: placement})
			if diff := cmp.Diff(test.want, decision.Clusters); diff != "" {
				t.Errorf("clusters (-want +got):\n%s", diff)
			}
		}
	}
}

// BenchmarkStaticDivisionOver1000Clusters is one decision: 900 clusters in the affinity, three weight
// rules, 5000 replicas. The goal is 5,000 decisions a second on one core.
func BenchmarkStaticDivisionOver1000Clusters(b *testing.B) {
	var apis []clusterv1alpha1.APIEnablement
	for group := range 20 {
		enabled := clusterv1alpha1.APIEnablement{GroupVersion: fmt.Sprintf("group%d.example.com/v1", group)}
		for kind := range 6 {
			enabled.Resources = append(enabled.Resources, clusterv1alpha1.APIResource{Kind: fmt.Sprintf("Kind%d", kind)})
		}
		apis = append(apis, enabled)
	}
	var members []*clusterv1alpha1.MemberCluster
	for i := range 1000 {
		m := member(fmt.Sprintf("member-%04d", i), labelled("env", []string{"prod", "test"}[min(i%10, 1)]), labelled("tier", fmt.Sprint(i%3)),
			tainted("edge", "", corev1.TaintEffectNoSchedule))
		m.Status.APIEnablements = append(m.Status.APIEnablements, apis...)
		members = append(members, m)
	}
	tier := func(weight int64, value string) policyv1alpha1.StaticClusterWeight {
		return policyv1alpha1.StaticClusterWeight{Weight: weight, TargetCluster: policyv1alpha1.ClusterAffinity{
			LabelSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"tier": value}}}}
	}
	facts := Facts{
		Template: Template{Kind: deployment, UID: "8d3c5a3e-0a2b-4f0d-9a51-1f0e4f3f2f11"},
		Replicas: ptr.To[int32](5000),
		Fleet:    fleet(members...),
		Placement: compiled(b, &policyv1alpha1.Placement{
			ClusterAffinity:    &policyv1alpha1.ClusterAffinity{LabelSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"env": "test"}}},
			ClusterTolerations: []corev1.Toleration{{Key: "edge", Operator: corev1.TolerationOpExists}},
			ReplicaScheduling:  divided(tier(3, "0"), tier(5, "1"), tier(7, "2")),
		}),
	}
	b.ReportAllocs()
	for b.Loop() {
		if decision := Decide(facts); len(decision.Clusters) != 900 {
			b.Fatalf("%d clusters: %s", len(decision.Clusters), decision.Message)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "decisions/s")
}

// thousandRegional are 1,000 clusters in 40 regions, each with its room, and the facts for 5,000 replicas over at least 5 regions.
func thousandRegional(b *testing.B, strategy part, parts ...part) Facts {
	var members []*clusterv1alpha1.MemberCluster
	facts := Facts{Template: Template{Kind: deployment, UID: "8d3c5a3e-0a2b-4f0d-9a51-1f0e4f3f2f11"}, Replicas: ptr.To[int32](5000)}
	for i := range 1000 {
		members = append(members, member(fmt.Sprintf("member-%04d", i), located(fmt.Sprintf("p%d", i%3), fmt.Sprintf("r%d", i%40), fmt.Sprintf("r%d-%d", i%40, i/40%4))))
		facts.Available = append(facts.Available, int32(i*37%101))
	}
	facts.Fleet = fleet(members...)
	facts.Placement = compiled(b, placement(append([]part{strategy}, parts...)...))
	return facts
}

// BenchmarkDynamicDivisionWithRegionsOver1000Clusters is one decision each. The goal is 500 a second on one core.
func BenchmarkDynamicDivisionWithRegionsOver1000Clusters(b *testing.B) {
	all := over("cluster", 1, 0)
	for _, test := range []struct {
		name  string
		facts Facts
	}{
		{"one topology", thousandRegional(b, dynamically, over("region", 5, 8), all)},
		{"more clusters than the regions have", thousandRegional(b, dynamically, over("region", 5, 20), over("cluster", 200, 300))},
		{"aggregated", thousandRegional(b, aggregating, over("region", 5, 8), all)},
		{"regions, providers and zones", thousandRegional(b, dynamically, over("region", 5, 8), over("provider", 2, 0), over("zone", 10, 0), all)},
		{"regions that have too few zones", thousandRegional(b, dynamically, over("region", 1, 2), over("zone", 9, 0), all)},
		{"without room", thousandRegional(b, dynamically, over("region", 1, 2), all)},
	} {
		scaled := test.facts
		scaled.Current = Decide(test.facts).Clusters
		scaled.Replicas = ptr.To[int32](5100)
		for name, facts := range map[string]Facts{test.name: test.facts, test.name + ", scaled": scaled} {
			b.Run(name, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					Decide(facts)
				}
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "decisions/s")
			})
		}
	}
}

func TestClustersThatDoNotExistAreNamed(t *testing.T) {
	for _, test := range []struct {
		reason string
		names  []string
		want   string
	}{
		{"all of them exist", []string{"a", "b"}, "3 replicas in each of 2 clusters"},
		{"one does not, and the others get theirs", []string{"a", "bb"}, "3 replicas in 1 cluster; no cluster is called bb"},
		{"none does", []string{"y", "x"}, "0 of 2 clusters fit: 2 are not named by clusterNames; no cluster is called x, y"},
		{"many do not", []string{"1", "2", "3", "4", "5", "6", "7"}, "0 of 2 clusters fit: 2 are not named by clusterNames; no cluster is called 1, 2, 3, 4, 5 and 2 more"},
	} {
		t.Run(test.reason, func(t *testing.T) {
			decision := Decide(Facts{
				Template: Template{Kind: deployment}, Replicas: ptr.To[int32](3), Fleet: fleet(member("a"), member("b")),
				Placement: compiled(t, &policyv1alpha1.Placement{ClusterAffinity: &policyv1alpha1.ClusterAffinity{ClusterNames: test.names}}),
			})
			if decision.Message != test.want {
				t.Errorf("message %q, want %q", decision.Message, test.want)
			}
		})
	}
}

func TestClustersThatShareAListOfWhatTheyServeShareItsCompiledForm(t *testing.T) {
	list := func() []clusterv1alpha1.APIEnablement {
		return []clusterv1alpha1.APIEnablement{{GroupVersion: "apps/v1", Resources: []clusterv1alpha1.APIResource{{Name: "deployments", Kind: "Deployment"}}}}
	}
	var compiler Compiler
	compile := func(served []clusterv1alpha1.APIEnablement) map[schema.GroupVersionKind]struct{} {
		return compiler.Cluster(&clusterv1alpha1.MemberCluster{Status: clusterv1alpha1.ClusterStatus{APIEnablements: served}}).apis
	}
	same := func(a, b map[schema.GroupVersionKind]struct{}) bool {
		return reflect.ValueOf(a).UnsafePointer() == reflect.ValueOf(b).UnsafePointer()
	}
	one := list()
	a, b := compile(one), compile(one)
	if !same(a, b) {
		t.Error("one list was compiled twice")
	}
	if _, serves := a[schema.GroupVersionKind{Group: "apps", Version: "v1", Kind: "Deployment"}]; !serves || len(a) != 1 {
		t.Errorf("it became %v", a)
	}
	if len(compile(one[:0])) != 0 {
		t.Error("a part of a list is taken for all of it")
	}
	for range 2 * mostServed {
		compile(list())
	}
	if len(compiler.served) > mostServed {
		t.Errorf("%d lists are remembered", len(compiler.served))
	}
}
