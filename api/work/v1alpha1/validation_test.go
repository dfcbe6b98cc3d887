package v1alpha1

import (
	"fmt"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"

	policyv1alpha1 "windlass.dev/windlass/api/policy/v1alpha1"
)

// expectErrors asks that every error has one expected beginning, and the other way round.
func expectErrors(t *testing.T, errs field.ErrorList, expected ...string) {
	t.Helper()
	var unexpected []string
	missing := append([]string(nil), expected...)
	for _, err := range errs {
		found := false
		for i, text := range missing {
			if strings.HasPrefix(err.Error(), text) {
				missing = append(missing[:i], missing[i+1:]...)
				found = true
				break
			}
		}
		if !found {
			unexpected = append(unexpected, err.Error())
		}
	}
	for _, text := range missing {
		t.Errorf("no error begins with: %s", text)
	}
	for _, text := range unexpected {
		t.Errorf("unexpected error: %s", text)
	}
}

func validBinding() *PropagationBinding {
	return &PropagationBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "web-deployment", Namespace: "shop"},
		Spec: BindingSpec{
			Resource:           ObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Namespace: "shop", Name: "web", UID: "1"},
			Replicas:           ptr.To[int32](3),
			Clusters:           []TargetCluster{{Name: "member1", Replicas: 2}, {Name: "member2", Replicas: 1}},
			SchedulerName:      policyv1alpha1.DefaultSchedulerName,
			ConflictResolution: policyv1alpha1.ConflictAbort,
			Suspension:         &BindingSuspension{},
			Failover:           &policyv1alpha1.FailoverBehavior{},
			Placement:          &policyv1alpha1.Placement{ClusterAffinity: &policyv1alpha1.ClusterAffinity{ClusterNames: []string{"member1"}}},
		},
	}
}

func TestBindings(t *testing.T) {
	tests := []struct {
		reason string
		change func(*PropagationBinding)
		want   []string
	}{
		{reason: "a binding as the controllers write it", change: func(*PropagationBinding) {}},
		{reason: "names of templates may be more than DNS names", change: func(b *PropagationBinding) { b.Spec.Resource.Name = "shop:viewer" }},
		{"a template without a name of any kind", func(b *PropagationBinding) {
			b.Spec.Resource = ObjectReference{Namespace: "shop"}
		}, []string{`spec.resource.apiVersion: Invalid value: ""`, "spec.resource.kind: Required value", "spec.resource.name: Required value"}},
		{"the template is in the binding's namespace", func(b *PropagationBinding) { b.Spec.Resource.Namespace = "bank" },
			[]string{`spec.resource.namespace: Invalid value: "bank": must be the binding's own namespace, which is "shop"`}},
		{"nobody has less than no replica", func(b *PropagationBinding) {
			b.Spec.Replicas = ptr.To[int32](-1)
			b.Spec.Clusters[0].Replicas = -1
		}, []string{"spec.replicas: Invalid value: -1", "spec.clusters[0].replicas: Invalid value: -1"}},
		{"a cluster once", func(b *PropagationBinding) { b.Spec.Clusters[1].Name = "member1" }, []string{`spec.clusters[1].name: Duplicate value: "member1"`}},
		{"a cluster that can be", func(b *PropagationBinding) { b.Spec.Clusters[1].Name = "" }, []string{"spec.clusters[1].name: Required value"}},
		{"the placement is checked as in a policy", func(b *PropagationBinding) {
			b.Spec.Placement.SpreadConstraints = []policyv1alpha1.SpreadConstraint{{SpreadByField: policyv1alpha1.SpreadByFieldRegion}}
		}, []string{"spec.placement.spreadConstraints: Required value: one entry must have spreadByField: cluster"}},
		{"what is done about conflicts", func(b *PropagationBinding) { b.Spec.ConflictResolution = "Merge" }, []string{"spec.conflictResolution: Unsupported value"}},
		{"what has no meaning yet is refused", func(b *PropagationBinding) {
			b.Spec.PropagateDeps = true
			b.Spec.Components = []Component{{Name: "a"}}
			b.Spec.Clusters[0].Components = []TargetComponent{{Name: "a"}}
			b.Spec.GracefulEvictionTasks = []GracefulEvictionTask{{FromCluster: "member3", PurgeMode: policyv1alpha1.PurgeGracefully,
				SuppressDeletion: ptr.To(true), GracePeriodSeconds: ptr.To[int32](1), PreservedLabelState: map[string]string{"a": "b"}, ClustersBeforeFailover: []string{"a"}}}
			b.Spec.RequiredBy = []BindingSnapshot{{Name: "other"}}
			b.Spec.Failover.Cluster = &policyv1alpha1.ClusterFailoverBehavior{}
			b.Spec.Suspension.Scheduling = ptr.To(true)
		}, []string{"spec.propagateDeps: Forbidden: is not supported yet", "spec.components: Forbidden", "spec.clusters[0].components: Forbidden",
			"spec.gracefulEvictionTasks[0].suppressDeletion: Forbidden", "spec.gracefulEvictionTasks[0].gracePeriodSeconds: Forbidden",
			"spec.gracefulEvictionTasks[0].preservedLabelState: Forbidden", "spec.gracefulEvictionTasks[0].clustersBeforeFailover: Forbidden", "spec.requiredBy: Forbidden", "spec.failover: Forbidden",
			"spec.suspension.scheduling: Forbidden"}},
		{reason: "a cluster that it is leaving", change: func(b *PropagationBinding) {
			b.Spec.GracefulEvictionTasks = []GracefulEvictionTask{{FromCluster: "member3", PurgeMode: policyv1alpha1.PurgeGracefully}}
		}},
		{"a cluster is left once, and gracefully", func(b *PropagationBinding) {
			b.Spec.GracefulEvictionTasks = []GracefulEvictionTask{{FromCluster: "member3", PurgeMode: policyv1alpha1.PurgeGracefully}, {FromCluster: "member3"}, {PurgeMode: policyv1alpha1.PurgeGracefully}}
		}, []string{`spec.gracefulEvictionTasks[1].fromCluster: Duplicate value: "member3"`, `spec.gracefulEvictionTasks[1].purgeMode: Unsupported value: ""`,
			"spec.gracefulEvictionTasks[2].fromCluster: Required value"}},
		{reason: "it is to be placed anew", change: func(b *PropagationBinding) { b.Spec.RescheduleTriggeredAt = &metav1.Time{Time: time.Unix(1, 0)} }},
		{reason: "a rank", change: func(b *PropagationBinding) { b.Spec.SchedulePriority = &BindingSchedulePriority{Priority: 1} }},
		{reason: "another scheduler", change: func(b *PropagationBinding) { b.Spec.SchedulerName = "other" }},
		{reason: "a pause of some clusters", change: func(b *PropagationBinding) {
			b.Spec.Suspension.DispatchingOnClusters = &policyv1alpha1.SuspendClusters{ClusterNames: []string{"member1"}}
		}},
		{"a pause of clusters that can be", func(b *PropagationBinding) {
			b.Spec.Suspension.DispatchingOnClusters = &policyv1alpha1.SuspendClusters{ClusterNames: []string{"not a name"}}
		}, []string{`spec.suspension.dispatchingOnClusters.clusterNames[0]: Invalid value: "not a name"`}},
	}
	for _, test := range tests {
		t.Run(test.reason, func(t *testing.T) {
			binding := validBinding()
			test.change(binding)
			expectErrors(t, ValidatePropagationBinding(binding), test.want...)
		})
	}
}

func TestABindingOfClusterScopeHasATemplateOfClusterScope(t *testing.T) {
	binding := &ClusterPropagationBinding{ObjectMeta: metav1.ObjectMeta{Name: "viewer-clusterrole"}, Spec: validBinding().Spec}
	expectErrors(t, ValidateClusterPropagationBinding(binding), `spec.resource.namespace: Invalid value: "shop": must be the binding's own namespace, which is ""`)
	binding.Spec.Resource.Namespace = ""
	expectErrors(t, ValidateClusterPropagationBinding(binding))
}

func TestUpdatesOfABinding(t *testing.T) {
	tests := []struct {
		reason string
		change func(*PropagationBinding)
		want   []string
	}{
		{reason: "the scheduler moves it", change: func(b *PropagationBinding) { b.Spec.Clusters = b.Spec.Clusters[1:] }},
		{reason: "the template was made anew", change: func(b *PropagationBinding) { b.Spec.Resource.UID = "2" }},
		{reason: "the policy selects another version of the same kind", change: func(b *PropagationBinding) { b.Spec.Resource.APIVersion = "apps/v2" }},
		{"it never changes to another template", func(b *PropagationBinding) { b.Spec.Resource.Name = "api" },
			[]string{`spec.resource: Invalid value: "Deployment shop/api": can't be changed from Deployment shop/web`}},
		{"a change for the worse", func(b *PropagationBinding) { b.Spec.Clusters[0].Name = "A" }, []string{`spec.clusters[0].name: Invalid value: "A"`}},
	}
	for _, test := range tests {
		t.Run(test.reason, func(t *testing.T) {
			binding := validBinding()
			test.change(binding)
			expectErrors(t, ValidatePropagationBindingUpdate(binding, validBinding()), test.want...)
		})
	}
	broken := validBinding()
	broken.Spec.Resource = ObjectReference{}
	expectErrors(t, ValidatePropagationBindingUpdate(broken.DeepCopy(), broken)) // it can lose its finalizer
}

func TestStatusOfABinding(t *testing.T) {
	binding := validBinding()
	binding.Status.Conditions = []metav1.Condition{{Type: BindingScheduled}, {Type: BindingFullyApplied}}
	binding.Status.AggregatedStatus = []AggregatedStatusItem{{ClusterName: "member1", Health: ResourceHealthy}, {ClusterName: "member2"}}
	expectErrors(t, ValidatePropagationBindingStatusUpdate(binding, validBinding()))
	binding.Status.Conditions[1].Type = BindingScheduled
	binding.Status.AggregatedStatus[1] = AggregatedStatusItem{ClusterName: "member1", Health: "Fine"}
	expectErrors(t, ValidatePropagationBindingStatusUpdate(binding, validBinding()),
		`status.conditions[1].type: Duplicate value: "Scheduled"`, `status.aggregatedStatus[1].clusterName: Duplicate value: "member1"`,
		`status.aggregatedStatus[1].health: Unsupported value: "Fine"`)
}

const configMap = `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"namespace":"shop","name":"web"}}`

func validWork(manifests ...string) *PropagationWork {
	work := &PropagationWork{
		ObjectMeta: metav1.ObjectMeta{Name: "web-configmap-5c9d", Namespace: ExecutionNamespace("member1")},
		Spec: WorkSpec{
			Binding:  &BindingReference{Kind: "PropagationBinding", Namespace: "shop", Name: "web-configmap"},
			Template: &ObjectReference{APIVersion: "v1", Kind: "ConfigMap", Namespace: "shop", Name: "web"},
		},
	}
	for _, manifest := range manifests {
		work.Spec.Workload.Manifests = append(work.Spec.Workload.Manifests, runtime.RawExtension{Raw: []byte(manifest)})
	}
	return work
}

// configMapOf makes a manifest of exactly so many bytes.
func configMapOf(size int) string {
	const begin, end = `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"large"},"data":{"a":"`, `"}}`
	return begin + strings.Repeat("x", size-len(begin)-len(end)) + end
}

func configMaps(count int) []string {
	manifests := make([]string, count)
	for i := range manifests {
		manifests[i] = fmt.Sprintf(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"c%d"}}`, i)
	}
	return manifests
}

func TestManifestsOfAWork(t *testing.T) {
	largest, large := configMapOf(MaxWorkBytes), configMapOf(MaxWorkBytes+1)
	tests := []struct {
		reason    string
		manifests []string
		want      []string
	}{
		{reason: "a whole object", manifests: []string{configMap}},
		{reason: "as large as can be", manifests: []string{largest}},
		{"none", nil, []string{"spec.workload.manifests: Required value: a work carries at least one object"}},
		{"an empty one, which the store would lose", []string{configMap, ""}, []string{`spec.workload.manifests[1]: Invalid value: "": is empty`}},
		{"YAML", []string{"kind: ConfigMap"}, []string{`spec.workload.manifests[0]: Invalid value: "kind: ConfigMap": is not a JSON object`}},
		{"JSON that is no object", []string{`["a"]`, `null`}, []string{
			`spec.workload.manifests[0]: Invalid value: "[\"a\"]": is not a JSON object`,
			"spec.workload.manifests[1].apiVersion: Required value", "spec.workload.manifests[1].kind: Required value", "spec.workload.manifests[1].metadata.name: Required value"}},
		{"half of one", []string{configMap[:40]}, []string{`spec.workload.manifests[0]: Invalid value: `}},
		{"one that says not what it is", []string{`{"metadata":{"generateName":"web-"}}`}, []string{
			"spec.workload.manifests[0].apiVersion: Required value", "spec.workload.manifests[0].kind: Required value",
			"spec.workload.manifests[0].metadata.name: Required value: every manifest names its object; generateName is not enough"}},
		{"an apiVersion with too many parts", []string{`{"apiVersion":"a/b/c","kind":"X","metadata":{"name":"x"}}`}, []string{
			`spec.workload.manifests[0].apiVersion: Invalid value: "a/b/c"`}},
		{"the same object twice", []string{configMap, configMap}, []string{`spec.workload.manifests[1]: Duplicate value: "ConfigMap shop/web"`}},
		{reason: "as many as can be", manifests: configMaps(MaxWorkManifests)},
		{"too many", configMaps(MaxWorkManifests + 1), []string{"spec.workload.manifests: Too many: 501: must have at most 500 items"}},
		{"too large", []string{large}, []string{"spec.workload.manifests: Forbidden: the manifests have 1048577 bytes and a work takes at most 1048576: make the object smaller, or divide it"}},
		{"too large together", []string{largest, configMap}, []string{fmt.Sprintf("spec.workload.manifests: Forbidden: the manifests have %d bytes", MaxWorkBytes+len(configMap))}},
	}
	for _, test := range tests {
		t.Run(test.reason, func(t *testing.T) {
			expectErrors(t, ValidatePropagationWork(validWork(test.manifests...)), test.want...)
		})
	}
}

func TestWorks(t *testing.T) {
	tests := []struct {
		reason string
		change func(*PropagationWork)
		want   []string
	}{
		{"it lies in its cluster's namespace", func(w *PropagationWork) { w.Namespace = "shop" },
			[]string{`metadata.namespace: Invalid value: "shop": works lie in the namespaces of their clusters, which are named karmada-es-<cluster>`}},
		{"which names a cluster", func(w *PropagationWork) { w.Namespace = "karmada-es-" }, []string{"metadata.namespace: Invalid value"}},
		{"its name is one of a DNS subdomain", func(w *PropagationWork) { w.Name = "web:1" }, []string{`metadata.name: Invalid value: "web:1"`}},
		{"what is done about conflicts", func(w *PropagationWork) { w.Spec.ConflictResolution = "Merge" }, []string{"spec.conflictResolution: Unsupported value"}},
		{"its binding", func(w *PropagationWork) { w.Spec.Binding = &BindingReference{Kind: "ResourceBinding"} },
			[]string{`spec.binding.kind: Unsupported value: "ResourceBinding"`, "spec.binding.name: Required value"}},
		{"a binding of cluster scope has no namespace", func(w *PropagationWork) { w.Spec.Binding.Kind = "ClusterPropagationBinding" },
			[]string{`spec.binding.namespace: Invalid value: "shop": a ClusterPropagationBinding has no namespace`}},
		{"one of a namespace has", func(w *PropagationWork) { w.Spec.Binding.Namespace = "" }, []string{"spec.binding.namespace: Required value"}},
		{"its template", func(w *PropagationWork) { w.Spec.Template.Kind = "" }, []string{"spec.template.kind: Required value"}},
		{"why it is removed", func(w *PropagationWork) { w.Spec.RemovalCause = "Boredom" }, []string{`spec.removalCause: Unsupported value: "Boredom"`}},
	}
	for _, test := range tests {
		t.Run(test.reason, func(t *testing.T) {
			work := validWork(configMap)
			test.change(work)
			expectErrors(t, ValidatePropagationWork(work), test.want...)
		})
	}
}

func TestTheCauseOfARemovalGrowsAndNeverDisappears(t *testing.T) {
	const refused = "spec.removalCause: Invalid value"
	tests := []struct {
		reason   string
		deleting bool
		old, new RemovalCause
		refused  bool
	}{
		{"it is set before the deletion", false, "", RemovalNotSelected, false},
		{"it is taken back before the deletion: the cluster was selected again", false, RemovalNotSelected, "", false},
		{"somebody deleted the work by hand, then its template", true, "", RemovalTemplateDeleted, false},
		{"somebody deleted the work by hand, and the cluster is left: selecting it again must not take that back", true, "", RemovalNotSelected, true},
		{"the template is deleted while the cluster is left", true, RemovalNotSelected, RemovalTemplateDeleted, false},
		{"the cluster leaves the hub while the work is being removed", true, RemovalForced, RemovalClusterRemoved, false},
		{"a removal that was told is not untold", true, RemovalNotSelected, "", true},
		{"nobody can ask to keep what was asked to be deleted", true, RemovalTemplateDeleted, RemovalClusterRemoved, true},
		{"nor make the brake look away", true, RemovalNotSelected, RemovalForced, true},
	}
	for _, test := range tests {
		t.Run(test.reason, func(t *testing.T) {
			old := validWork(configMap)
			old.Spec.RemovalCause = test.old
			if test.deleting {
				old.DeletionTimestamp = &metav1.Time{Time: time.Unix(1, 0)}
			}
			work := old.DeepCopy()
			work.Spec.RemovalCause = test.new
			var want []string
			if test.refused {
				want = append(want, refused)
			}
			expectErrors(t, ValidatePropagationWorkUpdate(work, old), want...)
		})
	}
}

func TestUpdatesOfAWork(t *testing.T) {
	broken := validWork()
	broken.Finalizers = []string{WorkFinalizer}
	released := broken.DeepCopy()
	released.Finalizers = nil
	expectErrors(t, ValidatePropagationWorkUpdate(released, broken)) // its spec did not change
	expectErrors(t, ValidatePropagationWorkUpdate(validWork(""), validWork(configMap)), "spec.workload.manifests[0]: Invalid value")
}

func TestAnUpdateOfAWorkCostsNoMoreForALargeManifest(t *testing.T) {
	manifest := func(size int, last string) string {
		return `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"},"data":{"a":"` + strings.Repeat("x", size) + last + `"}}`
	}
	cost := func(size int) float64 {
		old, work := validWork(manifest(size, "a")), validWork(manifest(size, "b"))
		return testing.AllocsPerRun(20, func() { ValidatePropagationWorkUpdate(work, old) })
	}
	small, large := cost(10), cost(4000)
	if large > small+100 {
		t.Errorf("a manifest of 4,000 bytes costs %v allocations, one of 10 bytes %v", large, small)
	}
}

func TestStatusOfAWork(t *testing.T) {
	work := validWork(configMap)
	work.Status.Conditions = []metav1.Condition{{Type: WorkApplied}}
	work.Status.ManifestStatuses = []ManifestStatus{{Health: ResourceHealthy, Status: &runtime.RawExtension{Raw: []byte(`{"replicas":1}`)}}, {}}
	expectErrors(t, ValidatePropagationWorkStatusUpdate(work, validWork(configMap)))
	work.Status.Conditions = append(work.Status.Conditions, metav1.Condition{Type: WorkApplied}, metav1.Condition{})
	work.Status.ManifestStatuses[1] = ManifestStatus{Health: "Fine", Status: &runtime.RawExtension{}}
	expectErrors(t, ValidatePropagationWorkStatusUpdate(work, validWork(configMap)),
		`status.conditions[1].type: Duplicate value: "Applied"`, "status.conditions[2].type: Required value",
		`status.manifestStatuses[1].health: Unsupported value: "Fine"`, `status.manifestStatuses[1].status: Invalid value: "": is not JSON`)
}
