package apiserver

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	clusterv1alpha1 "windlass.dev/windlass/api/cluster/v1alpha1"
	policyv1alpha1 "windlass.dev/windlass/api/policy/v1alpha1"
	workv1alpha1 "windlass.dev/windlass/api/work/v1alpha1"
	"windlass.dev/windlass/pkg/aggregate"
)

func TestTheReadyColumnSaysThatTheConnectionIsLost(t *testing.T) {
	for _, c := range []struct {
		reason     string
		conditions []metav1.Condition
		want       string
	}{
		{"nothing is known yet", nil, ""},
		{"it is connected", []metav1.Condition{{Type: clusterv1alpha1.ClusterReady, Status: metav1.ConditionTrue, Reason: "AgentConnected"}}, "True"},
		{"it may come back in time", []metav1.Condition{{Type: clusterv1alpha1.ClusterReady, Status: metav1.ConditionTrue, Reason: clusterv1alpha1.ReadyConnectionLost}}, "True,Lost"},
		{"it is away", []metav1.Condition{{Type: clusterv1alpha1.ClusterReady, Status: metav1.ConditionUnknown, Reason: "AgentNotConnected"}}, "Unknown"},
	} {
		if got := clusterReady(c.conditions); got != c.want {
			t.Errorf("%s: it says %q, want %q", c.reason, got, c.want)
		}
	}
}

func TestTablesSayWhyAConditionIsWhatItIs(t *testing.T) {
	conditions := func(name, reason string) []metav1.Condition {
		return []metav1.Condition{{Type: name, Status: metav1.ConditionTrue, Reason: reason}}
	}
	policy, override, binding := &policyv1alpha1.ClusterPropagationPolicy{}, &policyv1alpha1.ClusterOverridePolicy{}, &workv1alpha1.ClusterPropagationBinding{}
	policy.Status.Conditions = conditions(aggregate.PolicyReady, aggregate.ReasonSelectorsUnused)
	override.Status.Conditions = conditions(policyv1alpha1.OverrideEffective, "ClustersLeftOut")
	binding.Status.Conditions = conditions(workv1alpha1.BindingScheduled, workv1alpha1.ScheduledNowhereElse)
	for _, c := range []struct{ reason, got, want string }{
		{"a policy that claims nothing by one of its selectors", cell(clusterPropagationPolicies, "Reason", policy), "SelectorsUnused"},
		{"a policy of which nothing is known yet", cell(clusterPropagationPolicies, "Reason", &policyv1alpha1.ClusterPropagationPolicy{}), ""},
		{"an override policy", cell(clusterOverridePolicies, "Reason", override), "ClustersLeftOut"},
		{"what has to leave a cluster and can't", cell(clusterBindings, "Scheduled", binding), "True,NowhereElse"},
		{"what was not scheduled yet", cell(clusterBindings, "Scheduled", &workv1alpha1.ClusterPropagationBinding{}), ""},
	} {
		if c.got != c.want {
			t.Errorf("%s: it says %q, want %q", c.reason, c.got, c.want)
		}
	}
}

// cell is what a table shows of an object in a column.
func cell[T Object](of *kind[T], column string, object T) string {
	for _, c := range of.columns {
		if c.name == column {
			return c.cell(object).(string)
		}
	}
	return "there is no such column"
}
