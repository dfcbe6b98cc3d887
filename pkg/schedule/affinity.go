package schedule

import (
	"slices"

	clusterv1alpha1 "windlass.dev/windlass/api/cluster/v1alpha1"
	policyv1alpha1 "windlass.dev/windlass/api/policy/v1alpha1"
)

// An Affinity is a compiled ClusterAffinity by itself, for those who choose clusters and place nothing.
// It is immutable.
type Affinity struct{ compiled *affinity }

// CompileAffinity prepares an affinity. Nil selects every cluster.
func CompileAffinity(from *policyv1alpha1.ClusterAffinity) (Affinity, error) {
	compiled, err := compileAffinity(from)
	return Affinity{compiled}, err
}

// Selects says whether the affinity selects a cluster, by the rules by which a placement does.
func (a Affinity) Selects(cluster *clusterv1alpha1.MemberCluster) bool {
	return a.compiled.refuses(&Cluster{
		name: cluster.Name, labels: cluster.Labels,
		provider: cluster.Spec.Provider, region: cluster.Spec.Region, zones: cluster.Spec.Zones,
	}) == nil
}

// Named are the clusters that the affinity calls by name, to select or to exclude them, in no order.
func (a Affinity) Named() []string {
	if a.compiled == nil {
		return nil
	}
	return slices.Concat(a.compiled.names.UnsortedList(), a.compiled.exclude.UnsortedList())
}
