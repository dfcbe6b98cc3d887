package v1alpha1_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"

	appsv1alpha1 "windlass.dev/windlass/api/apps/v1alpha1"
	clusterv1alpha1 "windlass.dev/windlass/api/cluster/v1alpha1"
	policyv1alpha1 "windlass.dev/windlass/api/policy/v1alpha1"
	windlassv1alpha1 "windlass.dev/windlass/api/windlass/v1alpha1"
	workv1alpha1 "windlass.dev/windlass/api/work/v1alpha1"
)

// The manifests in testdata are whole, so that a test with a real hub can apply them too. A refused
// one begins with a line "# refused: TEXT" for each error, whose text begins with TEXT.

func TestManifestsAsKarmadaUsersWriteThemAreAccepted(t *testing.T) {
	for name, manifest := range manifests(t, "accepted") {
		t.Run(name, func(t *testing.T) {
			for _, err := range validate(t, decode(t, manifest)) {
				t.Error(err)
			}
		})
	}
}

func TestWrongManifestsAreRefusedWithAllTheirErrors(t *testing.T) {
	for name, manifest := range manifests(t, "refused") {
		t.Run(name, func(t *testing.T) {
			errs := validate(t, decode(t, manifest))
			expectErrors(t, errs, expectedErrors(manifest))
		})
	}
}

func manifests(t *testing.T, folder string) map[string]string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", folder, "*.yaml"))
	if err != nil || len(files) < 25 {
		t.Fatalf("found %d manifests: %v", len(files), err)
	}
	contents := map[string]string{}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		contents[strings.TrimSuffix(filepath.Base(file), ".yaml")] = string(content)
	}
	return contents
}

func expectedErrors(manifest string) []string {
	var expected []string
	for line := range strings.Lines(manifest) {
		if text, found := strings.CutPrefix(line, "# refused: "); found {
			expected = append(expected, strings.TrimSpace(text))
		}
	}
	return expected
}

// decode reads a manifest as the hub does: strictly, and with defaults.
func decode(t *testing.T, manifest string) runtime.Object {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := policyv1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	object, _, err := serializer.NewCodecFactory(scheme, serializer.EnableStrict).UniversalDeserializer().Decode([]byte(manifest), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return object
}

// validate does to a new object what the hub's store does: the request's namespace, what the store
// fills in, then validation.
func validate(t *testing.T, object runtime.Object) field.ErrorList {
	t.Helper()
	switch policy := object.(type) {
	case *policyv1alpha1.PropagationPolicy:
		if policy.Namespace == "" {
			policy.Namespace = "default"
		}
		policyv1alpha1.EnsurePermanentID(policy)
		policyv1alpha1.DefaultSelectorNamespaces(policy)
		return policyv1alpha1.ValidatePropagationPolicy(policy)
	case *policyv1alpha1.ClusterPropagationPolicy:
		policyv1alpha1.EnsurePermanentID(policy)
		policyv1alpha1.DefaultSelectorNamespaces(policy)
		return policyv1alpha1.ValidateClusterPropagationPolicy(policy)
	case *policyv1alpha1.OverridePolicy:
		if policy.Namespace == "" {
			policy.Namespace = "default"
		}
		policyv1alpha1.DefaultOverrideSelectorNamespaces(policy)
		return policyv1alpha1.ValidateOverridePolicy(policy)
	case *policyv1alpha1.ClusterOverridePolicy:
		return policyv1alpha1.ValidateClusterOverridePolicy(policy)
	}
	t.Fatalf("no validation for %T", object)
	return nil
}

// expectErrors asks that every error has one expected beginning, and the other way round.
func expectErrors(t *testing.T, errs field.ErrorList, expected []string) {
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

func validPolicy() *policyv1alpha1.PropagationPolicy {
	policy := &policyv1alpha1.PropagationPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: "default"},
		Spec: policyv1alpha1.PropagationSpec{
			ResourceSelectors: []policyv1alpha1.ResourceSelector{{APIVersion: "apps/v1", Kind: "Deployment", Name: "web"}},
			SchedulerName:     policyv1alpha1.DefaultSchedulerName,
		},
	}
	policyv1alpha1.EnsurePermanentID(policy)
	return policy
}

// The fields in this table are not supported yet, which is the only error in every row, Forbidden. The
// other errors are those of the rules that hold when they are.
func TestFieldsThatAreNotSupportedYetAreRefusedWhateverTheirValuesAndHaveTheirRules(t *testing.T) {
	type spec = policyv1alpha1.PropagationSpec
	tests := []struct {
		reason string
		change func(*spec)
		want   []string
	}{
		{"a failing application moves together with what it needs", func(s *spec) {
			s.Failover = &policyv1alpha1.FailoverBehavior{Application: &policyv1alpha1.ApplicationFailoverBehavior{PurgeMode: policyv1alpha1.PurgeGracefully}}
		}, []string{"spec.failover.application: Forbidden", "spec.failover.application: Forbidden: needs propagateDeps: true"}},
		{"times of a failover", func(s *spec) {
			s.PropagateDeps = true
			s.Failover = &policyv1alpha1.FailoverBehavior{Application: &policyv1alpha1.ApplicationFailoverBehavior{
				PurgeMode: policyv1alpha1.PurgeGracefully, GracePeriodSeconds: ptr.To[int32](0),
				DecisionConditions: policyv1alpha1.DecisionConditions{TolerationSeconds: ptr.To[int32](-1)}}}
		}, []string{"spec.failover.application: Forbidden", "spec.propagateDeps: Forbidden",
			"spec.failover.application.gracePeriodSeconds: Invalid value: 0: must be more than 0",
			"spec.failover.application.decisionConditions.tolerationSeconds: Invalid value: -1"}},
		{"only a graceful purge has a grace period", func(s *spec) {
			s.PropagateDeps = true
			s.Failover = &policyv1alpha1.FailoverBehavior{Application: &policyv1alpha1.ApplicationFailoverBehavior{
				PurgeMode: policyv1alpha1.PurgeNever, GracePeriodSeconds: ptr.To[int32](600)}}
		}, []string{"spec.failover.application: Forbidden", "spec.propagateDeps: Forbidden",
			"spec.failover.application.gracePeriodSeconds: Invalid value: 600: only has a meaning with purgeMode Gracefully"}},
		{"a failed cluster's copy is always purged", func(s *spec) {
			s.Failover = &policyv1alpha1.FailoverBehavior{Cluster: &policyv1alpha1.ClusterFailoverBehavior{PurgeMode: policyv1alpha1.PurgeNever}}
		}, []string{"spec.failover.cluster: Forbidden", `spec.failover.cluster.purgeMode: Unsupported value: "Never": supported values: "Directly", "Gracefully"`}},
		{"what is kept of the state", func(s *spec) {
			s.Failover = &policyv1alpha1.FailoverBehavior{Cluster: &policyv1alpha1.ClusterFailoverBehavior{
				StatePreservation: &policyv1alpha1.StatePreservation{Rules: []policyv1alpha1.StatePreservationRule{{AliasLabelName: "not a label"}}}}}
		}, []string{"spec.failover.cluster: Forbidden", `spec.failover.cluster.statePreservation.rules[0].aliasLabelName: Invalid value: "not a label"`,
			"spec.failover.cluster.statePreservation.rules[0].jsonPath: Required value"}},
		{"no rules to keep the state by", func(s *spec) {
			s.Failover = &policyv1alpha1.FailoverBehavior{Cluster: &policyv1alpha1.ClusterFailoverBehavior{StatePreservation: &policyv1alpha1.StatePreservation{}}}
		}, []string{"spec.failover.cluster: Forbidden", "spec.failover.cluster.statePreservation.rules: Required value"}},
	}
	for _, test := range tests {
		t.Run(test.reason, func(t *testing.T) {
			policy := validPolicy()
			test.change(&policy.Spec)
			isRule := func(want string) bool {
				return !strings.HasSuffix(want, ": Forbidden") && !strings.HasSuffix(want, ": is not supported yet")
			}
			expectErrors(t, policyv1alpha1.ValidatePropagationPolicy(policy), slices.DeleteFunc(slices.Clone(test.want), isRule))
			expectErrors(t, policyv1alpha1.PolicyValues(policy), slices.DeleteFunc(slices.Clone(test.want), func(want string) bool { return !isRule(want) }))
		})
	}
}

func TestThePartsOfAPlacementHaveTheirRules(t *testing.T) {
	type spec = policyv1alpha1.PropagationSpec
	divide := func(s *spec, preference policyv1alpha1.ReplicaDivisionPreference) {
		s.Placement.ReplicaScheduling = &policyv1alpha1.ReplicaSchedulingStrategy{
			ReplicaSchedulingType: policyv1alpha1.ReplicaSchedulingDivided, ReplicaDivisionPreference: preference}
	}
	member1 := policyv1alpha1.ClusterAffinity{ClusterNames: []string{"member1"}}
	tests := []struct {
		reason string
		change func(*spec)
		want   []string
	}{
		{"one affinity or several", func(s *spec) {
			s.Placement.ClusterAffinity = &member1
			s.Placement.ClusterAffinities = []policyv1alpha1.ClusterAffinityTerm{{AffinityName: "a"}}
		}, []string{"spec.placement.clusterAffinities: Forbidden: can't stand beside clusterAffinity"}},
		{"names of affinities", func(s *spec) {
			s.Placement.ClusterAffinities = []policyv1alpha1.ClusterAffinityTerm{{AffinityName: "a"}, {AffinityName: "a"}, {},
				{AffinityName: strings.Repeat("x", 33)}, {AffinityName: "not a name"}}
		}, []string{`spec.placement.clusterAffinities[1].affinityName: Duplicate value: "a"`,
			"spec.placement.clusterAffinities[2].affinityName: Required value", "spec.placement.clusterAffinities[3].affinityName: Too long",
			`spec.placement.clusterAffinities[4].affinityName: Invalid value: "not a name"`}},
		{"overflow needs a group that can be full, and a division that looks at capacity", func(s *spec) {
			s.Placement.ClusterAffinities = []policyv1alpha1.ClusterAffinityTerm{{AffinityName: "a",
				OverflowAffinities: []policyv1alpha1.OverflowAffinityTerm{{AffinityName: "a", ClusterAffinity: member1}}}}
		}, []string{"spec.placement.clusterAffinities[0].overflowAffinities: Forbidden: needs a group that has an end",
			"spec.placement.clusterAffinities[0].overflowAffinities: Forbidden: only has a meaning where replicas are divided by capacity",
			`spec.placement.clusterAffinities[0].overflowAffinities[0].affinityName: Duplicate value: "a"`}},
		{"overflow as it should be", func(s *spec) {
			divide(s, policyv1alpha1.ReplicaDivisionAggregated)
			s.Placement.ClusterAffinities = []policyv1alpha1.ClusterAffinityTerm{{AffinityName: "a", ClusterAffinity: member1,
				OverflowAffinities: []policyv1alpha1.OverflowAffinityTerm{{AffinityName: "b"}}}}
		}, nil},
		{"what a dynamic weight is taken from", func(s *spec) {
			divide(s, policyv1alpha1.ReplicaDivisionWeighted)
			s.Placement.ReplicaScheduling.WeightPreference = &policyv1alpha1.ClusterPreferences{DynamicWeight: "Cost"}
		}, []string{`spec.placement.replicaScheduling.weightPreference.dynamicWeight: Unsupported value: "Cost": supported values: "AvailableReplicas"`}},
		{"spreading by field and label at once, and by the same twice", func(s *spec) {
			s.Placement.SpreadConstraints = []policyv1alpha1.SpreadConstraint{
				{SpreadByField: policyv1alpha1.SpreadByFieldCluster, SpreadByLabel: "rack"},
				{SpreadByField: policyv1alpha1.SpreadByFieldCluster}, {SpreadByLabel: "rack"}, {SpreadByField: "planet"}}
		}, []string{`spec.placement.spreadConstraints[0].spreadByLabel: Invalid value: "rack": can't stand beside spreadByField`,
			`spec.placement.spreadConstraints[1].spreadByField: Duplicate value: "cluster"`, `spec.placement.spreadConstraints[2].spreadByLabel: Duplicate value: "rack"`,
			`spec.placement.spreadConstraints[3].spreadByField: Unsupported value: "planet"`}},
		{"a pause everywhere, and in a cluster", func(s *spec) {
			s.Suspension = &policyv1alpha1.Suspension{Dispatching: ptr.To(true), DispatchingOnClusters: &policyv1alpha1.SuspendClusters{ClusterNames: []string{"a"}}}
		}, []string{`spec.suspension.dispatchingOnClusters: Invalid value: ["a"]: can't stand beside dispatching: true`}},
		{"a pause everywhere beside a list of no clusters", func(s *spec) {
			s.Suspension = &policyv1alpha1.Suspension{Dispatching: ptr.To(true), DispatchingOnClusters: &policyv1alpha1.SuspendClusters{ClusterNames: []string{}}}
		}, nil},
		{"bounds of groups", func(s *spec) {
			s.Placement.SpreadConstraints = []policyv1alpha1.SpreadConstraint{
				{SpreadByField: policyv1alpha1.SpreadByFieldCluster, MinGroups: -1, MaxGroups: -2}, {SpreadByLabel: "rack", MinGroups: 5, MaxGroups: 4}}
		}, []string{"spec.placement.spreadConstraints[0].minGroups: Invalid value: -1",
			"spec.placement.spreadConstraints[0].maxGroups: Invalid value: -2", "spec.placement.spreadConstraints[1].maxGroups: Invalid value: 4: must not be below minGroups, which is 5"}},
		{"as many groups as there may be", func(s *spec) {
			for i := range 100 {
				s.Placement.ClusterAffinities = append(s.Placement.ClusterAffinities, policyv1alpha1.ClusterAffinityTerm{AffinityName: fmt.Sprint("a", i)})
			}
		}, nil},
		{"more groups, with those of overflow", func(s *spec) {
			divide(s, policyv1alpha1.ReplicaDivisionAggregated)
			for i := range 51 {
				s.Placement.ClusterAffinities = append(s.Placement.ClusterAffinities, policyv1alpha1.ClusterAffinityTerm{AffinityName: fmt.Sprint("a", i), ClusterAffinity: member1,
					OverflowAffinities: []policyv1alpha1.OverflowAffinityTerm{{AffinityName: fmt.Sprint("b", i)}}})
			}
		}, []string{"spec.placement.clusterAffinities: Invalid value: 102: are too many groups, those of overflowAffinities included: at most 100"}},
		{"more weights than there may be", func(s *spec) {
			divide(s, policyv1alpha1.ReplicaDivisionWeighted)
			s.Placement.ReplicaScheduling.WeightPreference = &policyv1alpha1.ClusterPreferences{
				StaticWeightList: slices.Repeat([]policyv1alpha1.StaticClusterWeight{{TargetCluster: member1, Weight: 1}}, 2001)}
		}, []string{"spec.placement.replicaScheduling.weightPreference.staticWeightList: Invalid value: 2001: are too many weights: at most 2000"}},
		{"an override policy of another namespace to wait for", func(s *spec) {
			s.DependentOverrides = []string{"o1", "bad/o1"}
		}, []string{`spec.dependentOverrides[1]: Invalid value: "bad/o1": no override policy can bear this name`}},
		{"near to and far from the same workloads", func(s *spec) {
			term := &policyv1alpha1.WorkloadAffinityTerm{GroupByLabelKey: "app"}
			s.Placement.WorkloadAffinity = &policyv1alpha1.WorkloadAffinity{Affinity: term, AntiAffinity: term}
		}, []string{`spec.placement.workloadAffinity.antiAffinity.groupByLabelKey: Invalid value: "app": must differ`}},
		{"groups need a label", func(s *spec) {
			s.Placement.WorkloadAffinity = &policyv1alpha1.WorkloadAffinity{Affinity: &policyv1alpha1.WorkloadAffinityTerm{}}
		}, []string{"spec.placement.workloadAffinity.affinity.groupByLabelKey: Required value"}},
	}
	for _, test := range tests {
		t.Run(test.reason, func(t *testing.T) {
			policy := validPolicy()
			test.change(&policy.Spec)
			expectErrors(t, policyv1alpha1.ValidatePropagationPolicy(policy), test.want)
		})
	}
}

func TestUpdatesOfAPolicy(t *testing.T) {
	const id = workv1alpha1.PropagationPolicyPermanentIDLabel
	tests := []struct {
		reason string
		old    func(*policyv1alpha1.PropagationPolicy)
		change func(*policyv1alpha1.PropagationPolicy)
		want   []string
	}{
		{reason: "a change of what is selected", change: func(p *policyv1alpha1.PropagationPolicy) { p.Spec.ResourceSelectors[0].Name = "api" }},
		{
			reason: "a change for the worse",
			change: func(p *policyv1alpha1.PropagationPolicy) { p.Spec.ResourceSelectors = nil },
			want:   []string{"spec.resourceSelectors: Required value"},
		},
		{
			reason: "the scheduler stays",
			old:    func(p *policyv1alpha1.PropagationPolicy) { p.Spec.SchedulerName = "former" },
			change: func(p *policyv1alpha1.PropagationPolicy) { p.Spec.SchedulerName = policyv1alpha1.DefaultSchedulerName },
			want:   []string{`spec.schedulerName: Invalid value: "default-scheduler": can't be changed from "former": delete the policy and create it again`},
		},
		{
			reason: "it can't be given to another scheduler",
			change: func(p *policyv1alpha1.PropagationPolicy) { p.Spec.SchedulerName = "other" },
			want:   []string{`spec.schedulerName: Invalid value: "other": can't be changed from "default-scheduler": delete the policy and create it again`},
		},
		{
			reason: "the permanent id stays",
			old:    func(p *policyv1alpha1.PropagationPolicy) { p.Labels[id] = "first" },
			change: func(p *policyv1alpha1.PropagationPolicy) { p.Labels[id] = "second" },
			want:   []string{`metadata.labels[propagationpolicy.karmada.io/permanent-id]: Invalid value: "second": can't be changed or removed: templates are claimed under it; set it back to "first"`},
		},
		{
			reason: "and can't be removed",
			old:    func(p *policyv1alpha1.PropagationPolicy) { p.Labels[id] = "first" },
			change: func(p *policyv1alpha1.PropagationPolicy) { p.Labels = nil },
			want:   []string{`metadata.labels[propagationpolicy.karmada.io/permanent-id]: Invalid value: "": can't be changed or removed`},
		},
		{
			reason: "a policy stored under older rules can lose its finalizer",
			old: func(p *policyv1alpha1.PropagationPolicy) {
				p.Spec.ResourceSelectors = nil
				p.Finalizers = []string{workv1alpha1.PropagationPolicyFinalizer}
			},
			change: func(p *policyv1alpha1.PropagationPolicy) { p.Finalizers = nil },
		},
	}
	for _, test := range tests {
		t.Run(test.reason, func(t *testing.T) {
			old := validPolicy()
			if test.old != nil {
				test.old(old)
			}
			changed := old.DeepCopy()
			test.change(changed)
			expectErrors(t, policyv1alpha1.ValidatePropagationPolicyUpdate(changed, old), test.want)
		})
	}
}

func TestAClusterPolicyHasAnIDOfItsOwnKind(t *testing.T) {
	old := &policyv1alpha1.ClusterPropagationPolicy{ObjectMeta: metav1.ObjectMeta{Name: "web"}}
	policyv1alpha1.EnsurePermanentID(old)
	id := old.Labels[workv1alpha1.ClusterPropagationPolicyPermanentIDLabel]
	if id == "" {
		t.Fatalf("labels %v", old.Labels)
	}
	policyv1alpha1.EnsurePermanentID(old)
	if old.Labels[workv1alpha1.ClusterPropagationPolicyPermanentIDLabel] != id {
		t.Error("the id was made anew")
	}
	changed := old.DeepCopy()
	changed.Labels = nil
	expectErrors(t, policyv1alpha1.ValidateClusterPropagationPolicyUpdate(changed, old),
		[]string{fmt.Sprintf("metadata.labels[%s]: Invalid value", workv1alpha1.ClusterPropagationPolicyPermanentIDLabel)})
}

func TestNoGroupOfTheHubIsEverPropagated(t *testing.T) {
	for _, group := range []string{policyv1alpha1.GroupName, workv1alpha1.GroupName, clusterv1alpha1.GroupName, windlassv1alpha1.GroupName, appsv1alpha1.GroupName} {
		if _, never := policyv1alpha1.NeverPropagated(schema.GroupKind{Group: group, Kind: "Anything"}); !never {
			t.Errorf("%s can be propagated", group)
		}
	}
	for _, kind := range []string{"Pod", "PersistentVolumeClaim", "Namespace", "ServiceAccount", "Secret"} {
		if why, never := policyv1alpha1.NeverPropagated(schema.GroupKind{Kind: kind}); never {
			t.Errorf("%s can't be propagated: %s", kind, why)
		}
	}
}

func TestReservedNamespaces(t *testing.T) {
	for name, want := range map[string]bool{
		"kube-system": true, "kube-node-lease": true, "karmada-es-member1": true, "karmada-system": true, "windlass-system": true,
		"": false, "default": false, "shop": false, "my-kube-system": false, "karmada": false,
	} {
		if got := policyv1alpha1.ReservedNamespace(name); got != want {
			t.Errorf("%q reserved: %t, want %t", name, got, want)
		}
	}
}

func TestClusterNamesArePolicedAsTheClustersThemselves(t *testing.T) {
	for _, length := range []int{clusterv1alpha1.MaxClusterNameLength, clusterv1alpha1.MaxClusterNameLength + 1} {
		name := strings.Repeat("a", length)
		policy := validPolicy()
		policy.Spec.Placement.ClusterAffinity = &policyv1alpha1.ClusterAffinity{ClusterNames: []string{name}}
		inPolicy := len(policyv1alpha1.ValidatePropagationPolicy(policy)) > 0
		inCluster := len(clusterv1alpha1.ValidateClusterName(name, field.NewPath("name"))) > 0
		if inPolicy != inCluster {
			t.Errorf("a name of %d characters: refused in a policy %t, of a cluster %t", length, inPolicy, inCluster)
		}
	}
}

func TestASelectorHasAHundredExpressionsAtMost(t *testing.T) {
	labels := func(n int) *metav1.LabelSelector {
		return &metav1.LabelSelector{MatchExpressions: slices.Repeat([]metav1.LabelSelectorRequirement{{Key: "app", Operator: metav1.LabelSelectorOpExists}}, n)}
	}
	fields := func(n int) *policyv1alpha1.FieldSelector {
		zone := corev1.NodeSelectorRequirement{Key: policyv1alpha1.ZoneField, Operator: corev1.NodeSelectorOpIn, Values: []string{"a"}}
		return &policyv1alpha1.FieldSelector{MatchExpressions: slices.Repeat([]corev1.NodeSelectorRequirement{zone}, n)}
	}
	many := &metav1.LabelSelector{MatchLabels: map[string]string{}}
	for i := range 101 {
		many.MatchLabels[fmt.Sprint("app", i)] = ""
	}
	policy := validPolicy()
	policy.Spec.ResourceSelectors[0].LabelSelector = labels(100)
	policy.Spec.Placement.ClusterAffinity = &policyv1alpha1.ClusterAffinity{LabelSelector: labels(100), FieldSelector: fields(100)}
	expectErrors(t, policyv1alpha1.ValidatePropagationPolicy(policy), nil)

	policy.Spec.ResourceSelectors[0].LabelSelector = many
	policy.Spec.Placement.ClusterAffinity = &policyv1alpha1.ClusterAffinity{LabelSelector: labels(101), FieldSelector: fields(101)}
	expectErrors(t, policyv1alpha1.ValidatePropagationPolicy(policy), []string{
		"spec.resourceSelectors[0].labelSelector.matchLabels: Too many: 101: must have at most 100 items",
		"spec.placement.clusterAffinity.labelSelector.matchExpressions: Too many: 101: must have at most 100 items",
		"spec.placement.clusterAffinity.fieldSelector.matchExpressions: Too many: 101: must have at most 100 items",
	})
}

func TestEveryTolerationThatMatchesSomethingIsAccepted(t *testing.T) {
	for _, toleration := range []corev1.Toleration{
		{Operator: corev1.TolerationOpExists},
		{Key: "gpu"},
		{Key: "gpu", Value: "big"},
		{Key: "example.com/gpu", Operator: corev1.TolerationOpEqual, Value: "big", Effect: corev1.TaintEffectNoSchedule},
		{Key: "gpu", Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectPreferNoSchedule},
		{Key: "gpu", Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoExecute, TolerationSeconds: ptr.To[int64](-1)},
	} {
		policy := validPolicy()
		policy.Spec.Placement.ClusterTolerations = []corev1.Toleration{toleration}
		if errs := policyv1alpha1.ValidatePropagationPolicy(policy); len(errs) > 0 {
			t.Errorf("%+v: %v", toleration, errs)
		}
	}
}

func TestSelectorsWithoutANamespaceGetThePolicys(t *testing.T) {
	policy := validPolicy()
	policyv1alpha1.DefaultSelectorNamespaces(policy)
	if diff := cmp.Diff("default", policy.Spec.ResourceSelectors[0].Namespace); diff != "" {
		t.Error(diff)
	}
}
