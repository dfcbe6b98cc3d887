package binding

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	clusterv1alpha1 "windlass.dev/windlass/api/cluster/v1alpha1"
	workv1alpha1 "windlass.dev/windlass/api/work/v1alpha1"
	"windlass.dev/windlass/hub/store"
	"windlass.dev/windlass/pkg/aggregate"
	"windlass.dev/windlass/pkg/evict"
	"windlass.dev/windlass/pkg/interpret"
	"windlass.dev/windlass/pkg/policy"
	"windlass.dev/windlass/pkg/render"
)

// Explain adds to what the scheduler says of a binding what its works have other than that, and what they wait for.
func (r *Reconciler) Explain(binding workv1alpha1.Binding, answer *workv1alpha1.BindingPlacement) {
	answer.Remarks = append(answer.Remarks, r.remarks(binding)...)
	at := map[string]int{}
	for i, detail := range answer.Details {
		at[detail.Cluster] = i
	}
	spec := binding.GetSpec()
	placed := render.Placed{
		Spec: spec, Targets: answer.Clusters, Works: r.works(store.Key(binding)), Leaving: evict.Explain(r.whatLeaves(binding), answer.Clusters),
		Keeping: func(target workv1alpha1.TargetCluster) workv1alpha1.TargetCluster { return evict.Keeping(spec, target) },
		Removed: binding.GetDeletionTimestamp() != nil,
		Held: func(cluster string, work *workv1alpha1.PropagationWork) bool {
			member, _ := r.Clusters.Get("", cluster)
			return aggregate.IsHeld(work, aggregate.Holding(member))
		},
		WaitsFor: r.waitsFor,
		Silent:   r.silent,
	}
	for _, detail := range render.Explain(placed) {
		if i, known := at[detail.Cluster]; known {
			detail.OverflowGroup = answer.Details[i].OverflowGroup
			answer.Details[i] = detail
		} else {
			answer.Details = append(answer.Details, detail)
		}
	}
	slices.SortFunc(answer.Details, func(a, b workv1alpha1.PlacementDetail) int { return strings.Compare(a.Cluster, b.Cluster) })
}

// whatLeaves are the facts about the clusters that a template has to leave.
func (r *Reconciler) whatLeaves(binding workv1alpha1.Binding) evict.Facts {
	key := store.TemplateKey(binding)
	template, _ := r.Templates.Get(key)
	return evict.Facts{
		Binding: binding, Claimed: store.Claimed(binding), HoldsOthers: interpret.HoldsOthers(key.GroupKind()), Now: r.Now(),
		Ended: template != nil && interpret.Ends(key.GroupKind()) && interpret.Ended(template),
		Cluster: func(name string) *clusterv1alpha1.MemberCluster {
			cluster, _ := r.Clusters.Get("", name)
			return cluster
		},
	}
}

// waitsFor says why a removal is not over. What the agent said before it went away may not be so any more.
func (r *Reconciler) waitsFor(cluster string, work *workv1alpha1.PropagationWork) string {
	if r.silent(cluster) {
		return "the cluster's agent is not connected"
	}
	return aggregate.NotGone(work)
}

// silent is true of a cluster whose agent is not connected, also while that may be over in a moment.
func (r *Reconciler) silent(cluster string) bool {
	member, known := r.Clusters.Get("", cluster)
	if !known {
		return false
	}
	ready := meta.FindStatusCondition(member.Status.Conditions, clusterv1alpha1.ClusterReady)
	return ready != nil && (ready.Status == metav1.ConditionUnknown || ready.Reason == clusterv1alpha1.ReadyConnectionLost)
}

// remarks say why the works of a binding may not be what its template and policy say.
func (r *Reconciler) remarks(binding workv1alpha1.Binding) []string {
	if binding.GetDeletionTimestamp() != nil {
		return nil
	}
	var remarks []string
	if template, _ := r.Templates.Get(store.TemplateKey(binding)); template != nil && template.GetUID() == binding.GetSpec().Resource.UID && template.GetDeletionTimestamp() != nil {
		remarks = append(remarks, "it is being deleted on the hub, and its clusters keep it until its finalizers there are gone: "+strings.Join(template.GetFinalizers(), ", "))
	}
	if p := r.policyOf(binding); p != nil && policy.Lags(p, binding) {
		what := "what it says by now"
		if !equality.Semantic.DeepEqual(&p.GetSpec().Placement, binding.GetSpec().Placement) {
			what = "its placement as it is by now"
		}
		remarks = append(remarks, fmt.Sprintf("the policy %s is Lazy: %s holds for the template when that is changed next; until then it stays with what the policy said before", store.Key(p), what))
	}
	if suspension := binding.GetSpec().Suspension; suspension != nil && suspension.Dispatching != nil && *suspension.Dispatching {
		remarks = append(remarks, "its policy's suspension pauses it: no cluster gets changes")
	}
	if template, _ := r.Templates.Get(store.TemplateKey(binding)); template != nil && binding.GetSpec().Replicas != nil &&
		slices.ContainsFunc(interpret.Retained(template, false), func(field interpret.Field) bool { return !field.Allocated }) {
		remarks = append(remarks, "its label "+workv1alpha1.RetainReplicasLabel+" leaves the number of replicas to whoever sets it in a cluster: there it may be another than here")
	}
	if rendered := renderedCondition(binding); rendered != nil && rendered.Status == metav1.ConditionFalse {
		remarks = append(remarks, notRendered(rendered))
	}
	return remarks
}

// notRendered says why works are not written. Overrides that can't be made concern some clusters, and the message says how many and which.
func notRendered(rendered *metav1.Condition) string {
	if rendered.Reason == overrideFailed && rendered.Message != "" {
		return rendered.Message
	}
	return "works can't be written: " + cmp.Or(rendered.Message, rendered.Reason)
}
