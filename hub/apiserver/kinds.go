package apiserver

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/registry/generic"
	"k8s.io/apiserver/pkg/registry/rest"
	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/kubernetes/pkg/api/legacyscheme"

	appsv1alpha1 "windlass.dev/windlass/api/apps/v1alpha1"
	clusterv1alpha1 "windlass.dev/windlass/api/cluster/v1alpha1"
	policyv1alpha1 "windlass.dev/windlass/api/policy/v1alpha1"
	windlassv1alpha1 "windlass.dev/windlass/api/windlass/v1alpha1"
	workv1alpha1 "windlass.dev/windlass/api/work/v1alpha1"
	"windlass.dev/windlass/pkg/aggregate"
)

// joinTokenLifetime is how long a token lasts that does not say.
const joinTokenLifetime = 15 * time.Minute

// Stores is in-process access to the hub's own kinds.
type Stores struct {
	PropagationPolicies        *Store[*policyv1alpha1.PropagationPolicy]
	ClusterPropagationPolicies *Store[*policyv1alpha1.ClusterPropagationPolicy]
	OverridePolicies           *Store[*policyv1alpha1.OverridePolicy]
	ClusterOverridePolicies    *Store[*policyv1alpha1.ClusterOverridePolicy]
	Bindings                   *BindingStore[*workv1alpha1.PropagationBinding]
	ClusterBindings            *BindingStore[*workv1alpha1.ClusterPropagationBinding]
	Works                      *Store[*workv1alpha1.PropagationWork]
	MemberClusters             *Store[*clusterv1alpha1.MemberCluster]
	JoinTokens                 *Store[*windlassv1alpha1.JoinToken]
	WorkloadRebalancers        *Store[*appsv1alpha1.WorkloadRebalancer]

	placer    *atomic.Pointer[Placer]
	explainer *atomic.Pointer[Explainer]
}

// PlaceBy makes the scheduler's decision part of every write of a binding's spec from now on. Until
// then such a write is an ordinary one. Safe for concurrent use.
func (s *Stores) PlaceBy(placer Placer) { s.placer.Store(&placer) }

// ExplainBy has the subresource placement of bindings answered from now on. Safe for concurrent use.
func (s *Stores) ExplainBy(explainer Explainer) { s.explainer.Store(&explainer) }

// installOwnKinds makes the stores and serves them from the server of the native kinds.
func installOwnKinds(server *genericapiserver.GenericAPIServer, options generic.RESTOptionsGetter) (*Stores, error) {
	i := &installer{options: options, groups: map[string]map[string]rest.Storage{}, clusters: &clusterNames{}, placer: &atomic.Pointer[Placer]{}, explainer: &atomic.Pointer[Explainer]{}}
	stores := &Stores{
		placer:                     i.placer,
		explainer:                  i.explainer,
		PropagationPolicies:        install(i, propagationPolicies),
		ClusterPropagationPolicies: install(i, clusterPropagationPolicies),
		OverridePolicies:           install(i, overridePolicies),
		ClusterOverridePolicies:    install(i, clusterOverridePolicies),
		Bindings:                   installBinding(i, bindings),
		ClusterBindings:            installBinding(i, clusterBindings),
		Works:                      install(i, works),
		MemberClusters:             install(i, memberClusters),
		JoinTokens:                 install(i, joinTokens),
		WorkloadRebalancers:        install(i, workloadRebalancers),
	}
	if i.err != nil {
		return nil, i.err
	}
	i.clusters.store = stores.MemberClusters
	for _, version := range []string{
		policyv1alpha1.GroupName, workv1alpha1.GroupName, clusterv1alpha1.GroupName, windlassv1alpha1.GroupName, appsv1alpha1.GroupName,
	} {
		info := genericapiserver.NewDefaultAPIGroupInfo(version, legacyscheme.Scheme, legacyscheme.ParameterCodec, legacyscheme.Codecs)
		info.VersionedResourcesStorageMap["v1alpha1"] = i.groups[version]
		if err := server.InstallAPIGroup(&info); err != nil {
			return nil, fmt.Errorf("serving the group %s: %w", version, err)
		}
	}
	return stores, nil
}

// installer collects what is served by group, and the first error.
type installer struct {
	options   generic.RESTOptionsGetter
	groups    map[string]map[string]rest.Storage
	clusters  *clusterNames
	placer    *atomic.Pointer[Placer]
	explainer *atomic.Pointer[Explainer]
	err       error
}

func install[T Object](i *installer, k *kind[T]) *Store[T] {
	r, err := newRegistry(k, i.options, i.clusters)
	if err != nil {
		if i.err == nil {
			i.err = err
		}
		return nil
	}
	if i.groups[k.version.Group] == nil {
		i.groups[k.version.Group] = map[string]rest.Storage{}
	}
	for path, served := range storage(k, r) {
		i.groups[k.version.Group][path] = served
	}
	return &Store[T]{kind: k, main: r.main, status: r.status, known: r.known}
}

func installBinding[T workv1alpha1.Binding](i *installer, k *kind[T]) *BindingStore[T] {
	store := install(i, k)
	if store == nil {
		return nil
	}
	schedule := &scheduleStrategy[T]{strategy: newStrategy(k)}
	placing := &bindingStrategy[T]{strategy: newStrategy(k), placer: i.placer}
	store.main.CreateStrategy, store.main.UpdateStrategy = placing, placing
	i.groups[k.version.Group][k.plural+"/"+placement] = &placementREST{store: store.main, explainer: i.explainer}
	return &BindingStore[T]{Store: store, schedule: variant(store.main, schedule, schedule)}
}

var propagationPolicies = &kind[*policyv1alpha1.PropagationPolicy]{
	version: policyv1alpha1.SchemeGroupVersion, plural: "propagationpolicies", singular: "propagationpolicy",
	shortNames: []string{"pp"}, namespaced: true, overwritable: true,
	newObject: func() *policyv1alpha1.PropagationPolicy { return &policyv1alpha1.PropagationPolicy{} },
	newList:   func() runtime.Object { return &policyv1alpha1.PropagationPolicyList{} },
	parts:     func(p *policyv1alpha1.PropagationPolicy) (any, any) { return &p.Spec, &p.Status },
	prepareNew: func(p *policyv1alpha1.PropagationPolicy) {
		preparePolicy(p, workv1alpha1.PropagationPolicyFinalizer)
	},
	prepareUpdate: func(p, before *policyv1alpha1.PropagationPolicy) {
		keepLabel(p, before, workv1alpha1.PropagationPolicyPermanentIDLabel)
		preparePolicy(p, workv1alpha1.PropagationPolicyFinalizer)
	},
	validate: policyv1alpha1.ValidatePropagationPolicy, validateUpdate: policyv1alpha1.ValidatePropagationPolicyUpdate,
	warnings: func(p *policyv1alpha1.PropagationPolicy, exists func(string) bool) []string {
		return policyv1alpha1.Warnings(p, exists)
	},
	columns: policyColumns[*policyv1alpha1.PropagationPolicy](),
}

var clusterPropagationPolicies = &kind[*policyv1alpha1.ClusterPropagationPolicy]{
	version: policyv1alpha1.SchemeGroupVersion, plural: "clusterpropagationpolicies", singular: "clusterpropagationpolicy",
	shortNames: []string{"cpp"}, overwritable: true,
	newObject: func() *policyv1alpha1.ClusterPropagationPolicy { return &policyv1alpha1.ClusterPropagationPolicy{} },
	newList:   func() runtime.Object { return &policyv1alpha1.ClusterPropagationPolicyList{} },
	parts:     func(p *policyv1alpha1.ClusterPropagationPolicy) (any, any) { return &p.Spec, &p.Status },
	prepareNew: func(p *policyv1alpha1.ClusterPropagationPolicy) {
		preparePolicy(p, workv1alpha1.ClusterPropagationPolicyFinalizer)
	},
	prepareUpdate: func(p, before *policyv1alpha1.ClusterPropagationPolicy) {
		keepLabel(p, before, workv1alpha1.ClusterPropagationPolicyPermanentIDLabel)
		preparePolicy(p, workv1alpha1.ClusterPropagationPolicyFinalizer)
	},
	validate: policyv1alpha1.ValidateClusterPropagationPolicy, validateUpdate: policyv1alpha1.ValidateClusterPropagationPolicyUpdate,
	warnings: func(p *policyv1alpha1.ClusterPropagationPolicy, exists func(string) bool) []string {
		return policyv1alpha1.Warnings(p, exists)
	},
	columns: policyColumns[*policyv1alpha1.ClusterPropagationPolicy](),
}

var overridePolicies = &kind[*policyv1alpha1.OverridePolicy]{
	version: policyv1alpha1.SchemeGroupVersion, plural: "overridepolicies", singular: "overridepolicy",
	shortNames: []string{"op"}, namespaced: true, overwritable: true,
	newObject:     func() *policyv1alpha1.OverridePolicy { return &policyv1alpha1.OverridePolicy{} },
	newList:       func() runtime.Object { return &policyv1alpha1.OverridePolicyList{} },
	parts:         func(p *policyv1alpha1.OverridePolicy) (any, any) { return &p.Spec, &p.Status },
	prepareNew:    policyv1alpha1.DefaultOverrideSelectorNamespaces,
	prepareUpdate: func(p, _ *policyv1alpha1.OverridePolicy) { policyv1alpha1.DefaultOverrideSelectorNamespaces(p) },
	validate:      policyv1alpha1.ValidateOverridePolicy, validateUpdate: policyv1alpha1.ValidateOverridePolicyUpdate,
	warnings: func(p *policyv1alpha1.OverridePolicy, exists func(string) bool) []string {
		return policyv1alpha1.OverrideWarnings(p, exists)
	},
	columns: overrideColumns[*policyv1alpha1.OverridePolicy](),
}

var clusterOverridePolicies = &kind[*policyv1alpha1.ClusterOverridePolicy]{
	version: policyv1alpha1.SchemeGroupVersion, plural: "clusteroverridepolicies", singular: "clusteroverridepolicy",
	shortNames: []string{"cop"}, overwritable: true,
	newObject: func() *policyv1alpha1.ClusterOverridePolicy { return &policyv1alpha1.ClusterOverridePolicy{} },
	newList:   func() runtime.Object { return &policyv1alpha1.ClusterOverridePolicyList{} },
	parts:     func(p *policyv1alpha1.ClusterOverridePolicy) (any, any) { return &p.Spec, &p.Status },
	validate:  policyv1alpha1.ValidateClusterOverridePolicy, validateUpdate: policyv1alpha1.ValidateClusterOverridePolicyUpdate,
	warnings: func(p *policyv1alpha1.ClusterOverridePolicy, exists func(string) bool) []string {
		return policyv1alpha1.OverrideWarnings(p, exists)
	},
	columns: overrideColumns[*policyv1alpha1.ClusterOverridePolicy](),
}

var bindings = &kind[*workv1alpha1.PropagationBinding]{
	version: workv1alpha1.SchemeGroupVersion, plural: "propagationbindings", singular: "propagationbinding",
	shortNames: []string{"pb", "rb"}, namespaced: true, notCollected: true,
	newObject: func() *workv1alpha1.PropagationBinding { return &workv1alpha1.PropagationBinding{} },
	newList:   func() runtime.Object { return &workv1alpha1.PropagationBindingList{} },
	parts:     func(b *workv1alpha1.PropagationBinding) (any, any) { return &b.Spec, &b.Status },
	validate:  workv1alpha1.ValidatePropagationBinding, validateUpdate: workv1alpha1.ValidatePropagationBindingUpdate, validateStatusUpdate: workv1alpha1.ValidatePropagationBindingStatusUpdate,
	share:   shareTargets[*workv1alpha1.PropagationBinding],
	columns: bindingColumns[*workv1alpha1.PropagationBinding](),
}

var clusterBindings = &kind[*workv1alpha1.ClusterPropagationBinding]{
	version: workv1alpha1.SchemeGroupVersion, plural: "clusterpropagationbindings", singular: "clusterpropagationbinding",
	shortNames: []string{"cpb", "crb"}, notCollected: true,
	newObject: func() *workv1alpha1.ClusterPropagationBinding { return &workv1alpha1.ClusterPropagationBinding{} },
	newList:   func() runtime.Object { return &workv1alpha1.ClusterPropagationBindingList{} },
	parts:     func(b *workv1alpha1.ClusterPropagationBinding) (any, any) { return &b.Spec, &b.Status },
	validate:  workv1alpha1.ValidateClusterPropagationBinding, validateUpdate: workv1alpha1.ValidateClusterPropagationBindingUpdate, validateStatusUpdate: workv1alpha1.ValidateClusterPropagationBindingStatusUpdate,
	share:   shareTargets[*workv1alpha1.ClusterPropagationBinding],
	columns: bindingColumns[*workv1alpha1.ClusterPropagationBinding](),
}

var works = &kind[*workv1alpha1.PropagationWork]{
	version: workv1alpha1.SchemeGroupVersion, plural: "propagationworks", singular: "propagationwork",
	shortNames: []string{"wk"}, namespaced: true, notCollected: true,
	newObject: func() *workv1alpha1.PropagationWork { return &workv1alpha1.PropagationWork{} },
	newList:   func() runtime.Object { return &workv1alpha1.PropagationWorkList{} },
	parts:     func(w *workv1alpha1.PropagationWork) (any, any) { return &w.Spec, &w.Status },
	validate:  workv1alpha1.ValidatePropagationWork, validateUpdate: validateWorkUpdate, validateStatusUpdate: workv1alpha1.ValidatePropagationWorkStatusUpdate,
	sameSpec: sameWorkSpec, share: shareContents,
	columns: []column[*workv1alpha1.PropagationWork]{
		text("Kind", "The kind of the template.", func(w *workv1alpha1.PropagationWork) string {
			if w.Spec.Template == nil {
				return ""
			}
			return w.Spec.Template.Kind
		}),
		text("Applied", "Whether the member has the present content.", func(w *workv1alpha1.PropagationWork) string {
			return conditionStatus(w.Status.Conditions, workv1alpha1.WorkApplied)
		}),
		text("Available", "Whether the objects are healthy in the member.", func(w *workv1alpha1.PropagationWork) string {
			return conditionStatus(w.Status.Conditions, workv1alpha1.WorkAvailable)
		}),
		text("Template", "The template.", func(w *workv1alpha1.PropagationWork) string {
			if w.Spec.Template == nil {
				return ""
			}
			return types.NamespacedName{Namespace: w.Spec.Template.Namespace, Name: w.Spec.Template.Name}.String()
		}).onRequest(),
	},
}

var memberClusters = &kind[*clusterv1alpha1.MemberCluster]{
	version: clusterv1alpha1.SchemeGroupVersion, plural: "memberclusters", singular: "membercluster",
	shortNames: []string{"mc", "cluster", "clusters"}, overwritable: true, hubsAnnotation: clusterv1alpha1.JoinTokenAnnotation,
	newObject:     func() *clusterv1alpha1.MemberCluster { return &clusterv1alpha1.MemberCluster{} },
	newList:       func() runtime.Object { return &clusterv1alpha1.MemberClusterList{} },
	parts:         func(c *clusterv1alpha1.MemberCluster) (any, any) { return &c.Spec, &c.Status },
	prepareNew:    func(c *clusterv1alpha1.MemberCluster) { clusterv1alpha1.StampTaints(c, nil, time.Now()) },
	prepareUpdate: func(c, before *clusterv1alpha1.MemberCluster) { clusterv1alpha1.StampTaints(c, before, time.Now()) },
	validate:      clusterv1alpha1.ValidateMemberCluster, validateUpdate: clusterv1alpha1.ValidateMemberClusterUpdate, validateStatusUpdate: clusterv1alpha1.ValidateMemberClusterStatusUpdate,
	share: func(c *clusterv1alpha1.MemberCluster) {
		c.Status.APIEnablements = enablements.Of(c.Status.APIEnablements)
	},
	columns: []column[*clusterv1alpha1.MemberCluster]{
		text("Version", "The version of the cluster's API server.", func(c *clusterv1alpha1.MemberCluster) string { return c.Status.KubernetesVersion }),
		text("Mode", "How works get to the cluster.", func(c *clusterv1alpha1.MemberCluster) string { return string(c.Spec.SyncMode) }),
		text("Ready", "Whether the agent is connected and the cluster's API server answers it.", func(c *clusterv1alpha1.MemberCluster) string {
			return clusterReady(c.Status.Conditions)
		}),
		text("Joined", "Whether an agent has enrolled for the cluster.", func(c *clusterv1alpha1.MemberCluster) string {
			return conditionStatus(c.Status.Conditions, clusterv1alpha1.ClusterJoined)
		}),
		text("Agent", "The version of the agent.", func(c *clusterv1alpha1.MemberCluster) string {
			if c.Status.Agent == nil {
				return ""
			}
			return c.Status.Agent.Version
		}).onRequest(),
		text("Provider", "The cluster's provider.", func(c *clusterv1alpha1.MemberCluster) string { return c.Spec.Provider }).onRequest(),
		text("Region", "The cluster's region.", func(c *clusterv1alpha1.MemberCluster) string { return c.Spec.Region }).onRequest(),
		text("Taints", "What keeps templates away from the cluster.", func(c *clusterv1alpha1.MemberCluster) string {
			var taints []string
			for i := range c.Spec.Taints {
				taints = append(taints, c.Spec.Taints[i].ToString())
			}
			return strings.Join(taints, ",")
		}).onRequest(),
	},
}

var joinTokens = &kind[*windlassv1alpha1.JoinToken]{
	version: windlassv1alpha1.SchemeGroupVersion, plural: "jointokens", singular: "jointoken",
	shortNames: []string{"jt"}, overwritable: true,
	newObject: func() *windlassv1alpha1.JoinToken { return &windlassv1alpha1.JoinToken{} },
	newList:   func() runtime.Object { return &windlassv1alpha1.JoinTokenList{} },
	parts:     func(t *windlassv1alpha1.JoinToken) (any, any) { return &t.Spec, &t.Status },
	prepareNew: func(t *windlassv1alpha1.JoinToken) {
		if t.Spec.ExpirationTime == nil {
			t.Spec.ExpirationTime = &metav1.Time{Time: time.Now().Add(joinTokenLifetime)}
		}
	},
	validate: func(t *windlassv1alpha1.JoinToken) field.ErrorList {
		return windlassv1alpha1.ValidateJoinToken(t, time.Now())
	},
	validateUpdate: windlassv1alpha1.ValidateJoinTokenUpdate, validateStatusUpdate: windlassv1alpha1.ValidateJoinTokenStatusUpdate,
	columns: []column[*windlassv1alpha1.JoinToken]{
		text("Cluster", "The cluster that the token is for, or that used it.", func(t *windlassv1alpha1.JoinToken) string {
			if t.Status.ClusterName != "" {
				return t.Status.ClusterName
			}
			return t.Spec.ClusterName
		}),
		text("Used", "How long ago the token was used.", func(t *windlassv1alpha1.JoinToken) string {
			if t.Status.UsedTime == nil {
				return ""
			}
			return age(*t.Status.UsedTime)
		}),
		text("Expires", "When the token ends.", func(t *windlassv1alpha1.JoinToken) string {
			if t.Spec.ExpirationTime == nil {
				return ""
			}
			return t.Spec.ExpirationTime.UTC().Format("2006-01-02T15:04:05Z")
		}),
	},
}

func rules(spec *policyv1alpha1.OverrideSpec) (n int64) {
	for range spec.Rules() {
		n++
	}
	return n
}

var workloadRebalancers = &kind[*appsv1alpha1.WorkloadRebalancer]{
	version: appsv1alpha1.SchemeGroupVersion, plural: "workloadrebalancers", singular: "workloadrebalancer", overwritable: true,
	newObject: func() *appsv1alpha1.WorkloadRebalancer { return &appsv1alpha1.WorkloadRebalancer{} },
	newList:   func() runtime.Object { return &appsv1alpha1.WorkloadRebalancerList{} },
	parts:     func(r *appsv1alpha1.WorkloadRebalancer) (any, any) { return &r.Spec, &r.Status },
	validate:  appsv1alpha1.ValidateWorkloadRebalancer, validateUpdate: appsv1alpha1.ValidateWorkloadRebalancerUpdate,
	columns: []column[*appsv1alpha1.WorkloadRebalancer]{
		number("Workloads", "The number of workloads to place anew.", func(r *appsv1alpha1.WorkloadRebalancer) int64 { return int64(len(r.Spec.Workloads)) }),
		number("Failed", "The number of them for which the scheduler could not be asked.", func(r *appsv1alpha1.WorkloadRebalancer) int64 {
			failed := int64(0)
			for _, observed := range r.Status.ObservedWorkloads {
				if observed.Result == appsv1alpha1.RebalanceFailed {
					failed++
				}
			}
			return failed
		}),
		text("Finished", "How long ago every workload had a result.", func(r *appsv1alpha1.WorkloadRebalancer) string {
			if r.Status.FinishTime == nil {
				return ""
			}
			return age(*r.Status.FinishTime)
		}),
	},
}

func policyColumns[T policyv1alpha1.Policy]() []column[T] {
	return []column[T]{
		text("Conflict-Resolution", "What happens to objects that exist already.", func(p T) string { return string(p.GetSpec().ConflictResolution) }),
		number("Priority", "The rank among policies that select the same template.", func(p T) int64 {
			if p.GetSpec().Priority == nil {
				return 0
			}
			return int64(*p.GetSpec().Priority)
		}),
		text("Ready", "Whether everything that the policy claims is scheduled and applied.", func(p T) string {
			return conditionStatus(p.GetStatus().Conditions, aggregate.PolicyReady)
		}),
		text("Reason", "Why it is, or is not.", func(p T) string { return conditionReason(p.GetStatus().Conditions, aggregate.PolicyReady) }),
		number("Templates", "The number of templates that the policy claims.", func(p T) int64 { return int64(p.GetStatus().Templates) }),
		number("Applied", "The number of them that all their clusters have applied.", func(p T) int64 { return int64(p.GetStatus().Applied) }),
		number("Healthy", "The number of them that are healthy in all their clusters.", func(p T) int64 { return int64(p.GetStatus().Healthy) }),
	}
}

func overrideColumns[T policyv1alpha1.Override]() []column[T] {
	return []column[T]{
		number("Rules", "The number of rules.", func(p T) int64 { return rules(p.GetSpec()) }),
		text("Effective", "Whether it selects something that is propagated, every selector is for a kind that is served, and every rule for some cluster.", func(p T) string {
			return conditionStatus(p.GetStatus().Conditions, policyv1alpha1.OverrideEffective)
		}),
		text("Reason", "Why it is, or is not.", func(p T) string { return conditionReason(p.GetStatus().Conditions, policyv1alpha1.OverrideEffective) }),
	}
}

func bindingColumns[T workv1alpha1.Binding]() []column[T] {
	condition := func(name string) func(T) string {
		return func(b T) string { return conditionStatus(b.GetStatus().Conditions, name) }
	}
	return []column[T]{
		text("Scheduled", "Whether clusters were found.", func(b T) string { return scheduled(b.GetStatus().Conditions) }),
		text("FullyApplied", "Whether all clusters have applied the present content.", condition(workv1alpha1.BindingFullyApplied)),
		number("Clusters", "The number of clusters that it goes to.", func(b T) int64 { return int64(len(b.GetSpec().Clusters)) }),
		number("Applied", "The number of clusters that have applied it.", func(b T) int64 { return int64(b.GetStatus().Summary.Applied) }),
		number("Healthy", "The number of clusters where it is healthy.", func(b T) int64 { return int64(b.GetStatus().Summary.Healthy) }),
		number("Leaving", "The number of clusters that it has to leave, and where it is still.", func(b T) int64 { return int64(len(b.GetSpec().GracefulEvictionTasks)) }).onRequest(),
	}
}

// preparePolicy gives a policy what identifies it for as long as it lives and the finalizer that its
// controller needs. An update that leaves the finalizer out, as one by a person from a file does,
// gets it again.
func preparePolicy(policy policyv1alpha1.Policy, finalizer string) {
	policyv1alpha1.EnsurePermanentID(policy)
	if policy.GetNamespace() != "" {
		policyv1alpha1.DefaultSelectorNamespaces(policy)
	}
	if policy.GetDeletionTimestamp() == nil {
		addFinalizer(policy, finalizer)
	}
}

// keepLabel gives an object that comes without the label the one that it had.
func keepLabel(object, before Object, key string) {
	object.SetLabels(keep(object.GetLabels(), before.GetLabels(), key))
}

// keepAnnotation gives an object that comes without the annotation the one that it had.
func keepAnnotation(object, before Object, key string) {
	object.SetAnnotations(keep(object.GetAnnotations(), before.GetAnnotations(), key))
}

func keep(present, before map[string]string, key string) map[string]string {
	value := before[key]
	if value == "" || present[key] != "" {
		return present
	}
	return with(present, map[string]string{key: value})
}

func addFinalizer(object Object, finalizer string) {
	if !slices.Contains(object.GetFinalizers(), finalizer) {
		object.SetFinalizers(append(slices.Clone(object.GetFinalizers()), finalizer))
	}
}

// validateWorkUpdate spares a work whose spec is the same what comparing it by reflection costs.
func validateWorkUpdate(work, before *workv1alpha1.PropagationWork) field.ErrorList {
	if sameWorkSpec(work, before) {
		return nil
	}
	return workv1alpha1.ValidatePropagationWorkUpdate(work, before)
}

// sameWorkSpec compares what would be stored: manifests are too large for reflection.
func sameWorkSpec(a, b *workv1alpha1.PropagationWork) bool {
	encodedA, errA := a.Spec.Marshal()
	encodedB, errB := b.Spec.Marshal()
	return errA == nil && errB == nil && bytes.Equal(encodedA, encodedB)
}
