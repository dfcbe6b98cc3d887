package schedule

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"

	clusterv1alpha1 "windlass.dev/windlass/api/cluster/v1alpha1"
)

// A Cluster is what scheduling looks at in a MemberCluster, compiled. It is immutable.
type Cluster struct {
	name     string
	labels   labels.Set
	provider string
	region   string
	zones    []string
	taints   []taint
	apis     map[schema.GroupVersionKind]struct{} // shared
	apisDone bool                                 // apis are all that the cluster serves
	joined   bool
	deleting bool
}

// taint keeps templates away that do not tolerate it.
type taint struct {
	key, value string
	effect     corev1.TaintEffect
	untold     *cause // the refusal of templates that do not tolerate it
}

// CompileCluster takes from a MemberCluster what scheduling looks at. The object must not be changed
// afterwards.
func CompileCluster(cluster *clusterv1alpha1.MemberCluster) *Cluster {
	var alone Compiler
	return alone.Cluster(cluster)
}

// mostServed bounds the lists whose compiled form is remembered.
const mostServed = 256

// A Compiler compiles clusters, and those that share one list of what they serve share its compiled form, too. The zero value is
// ready. Not safe for concurrent use.
type Compiler struct {
	// served is by the list's first element, which stays where it is for as long as it is a key here.
	served map[*clusterv1alpha1.APIEnablement]served
}

// served is the compiled form of a list of what a cluster serves.
type served struct {
	length int
	apis   map[schema.GroupVersionKind]struct{}
}

// Cluster is CompileCluster.
func (c *Compiler) Cluster(cluster *clusterv1alpha1.MemberCluster) *Cluster {
	compiled := compileCluster(cluster)
	compiled.apis = c.apis(cluster.Status.APIEnablements)
	return compiled
}

func (c *Compiler) apis(list []clusterv1alpha1.APIEnablement) map[schema.GroupVersionKind]struct{} {
	if len(list) == 0 {
		return nil
	}
	if known, found := c.served[&list[0]]; found && known.length == len(list) {
		return known.apis
	}
	if c.served == nil || len(c.served) >= mostServed {
		c.served = map[*clusterv1alpha1.APIEnablement]served{}
	}
	apis := compileAPIs(list)
	c.served[&list[0]] = served{len(list), apis}
	return apis
}

func compileAPIs(list []clusterv1alpha1.APIEnablement) map[schema.GroupVersionKind]struct{} {
	apis := map[schema.GroupVersionKind]struct{}{}
	for _, enabled := range list {
		groupVersion, err := schema.ParseGroupVersion(enabled.GroupVersion)
		if err != nil {
			continue // what has no name can't be asked for
		}
		for _, resource := range enabled.Resources {
			apis[groupVersion.WithKind(resource.Kind)] = struct{}{}
		}
	}
	return apis
}

func compileCluster(cluster *clusterv1alpha1.MemberCluster) *Cluster {
	c := &Cluster{
		name:     cluster.Name,
		labels:   cluster.Labels,
		provider: cluster.Spec.Provider,
		region:   cluster.Spec.Region,
		zones:    cluster.Spec.Zones,
		apisDone: meta.IsStatusConditionTrue(cluster.Status.Conditions, clusterv1alpha1.ClusterCompleteAPIEnablements),
		joined:   meta.IsStatusConditionTrue(cluster.Status.Conditions, clusterv1alpha1.ClusterJoined),
		deleting: cluster.DeletionTimestamp != nil,
	}
	for _, t := range cluster.Spec.Taints {
		if t.Effect == corev1.TaintEffectNoSchedule || t.Effect == corev1.TaintEffectNoExecute {
			c.taints = append(c.taints, compileTaint(t))
		}
	}
	return c
}

func compileTaint(t corev1.Taint) taint {
	compiled := taint{key: t.Key, value: t.Value, effect: t.Effect}
	compiled.untold = newCause(RuleTaintToleration, "has the untolerated taint "+compiled.String(), "have the untolerated taint "+compiled.String())
	return compiled
}

// String is how a taint is written.
func (t *taint) String() string {
	text := t.key
	if t.value != "" {
		text += "=" + t.value
	}
	return text + ":" + string(t.effect)
}

// Name of the cluster.
func (c *Cluster) Name() string { return c.name }

// Changed says whether the step from one state of a cluster to another can change a decision.
// Heartbeats and node counts can't. Of the capacity only that it is known counts: its numbers change all the time, and a
// template that has its place keeps it.
func Changed(old, new *clusterv1alpha1.MemberCluster) bool {
	isTrue := func(c *clusterv1alpha1.MemberCluster, condition string) bool {
		return meta.IsStatusConditionTrue(c.Status.Conditions, condition)
	}
	same := equality.Semantic.DeepEqual
	return (old.DeletionTimestamp != nil) != (new.DeletionTimestamp != nil) ||
		isTrue(old, clusterv1alpha1.ClusterJoined) != isTrue(new, clusterv1alpha1.ClusterJoined) ||
		isTrue(old, clusterv1alpha1.ClusterCompleteAPIEnablements) != isTrue(new, clusterv1alpha1.ClusterCompleteAPIEnablements) ||
		old.Spec.Provider != new.Spec.Provider || old.Spec.Region != new.Spec.Region ||
		!same(old.Spec.Zones, new.Spec.Zones) || !same(old.Labels, new.Labels) ||
		(old.Status.ResourceSummary == nil) != (new.Status.ResourceSummary == nil) ||
		!slices.EqualFunc(old.Spec.Taints, new.Spec.Taints, sameTaint) ||
		!same(old.Status.APIEnablements, new.Status.APIEnablements)
}

// sameTaint leaves aside when the taint was added.
func sameTaint(a, b corev1.Taint) bool {
	return a.Key == b.Key && a.Value == b.Value && a.Effect == b.Effect
}
