package schedule

import (
	"slices"

	corev1 "k8s.io/api/core/v1"

	workv1alpha1 "windlass.dev/windlass/api/work/v1alpha1"
)

// nowhereElse says why a template stays in clusters that it has to leave: what was decided without them, and where it stays. What
// is in the way comes first, since tables cut what is long.
func nowhereElse(facts *Facts, without, staying Decision) string {
	text := "must leave " + few(facts.Leaving, maxCauses) + " because of " + facts.taintsNotTolerated()
	until := "that changes"
	if without.Reason == ReasonNoClusterFit {
		text, until = text+", but "+without.Message, "one does"
	} else {
		text += ", but can't be placed elsewhere: " + without.Message
	}
	return text + "; " + facts.stays(staying.Clusters) + " until " + until
}

// stays says what stays in clusters.
func (f *Facts) stays(in []workv1alpha1.TargetCluster) string {
	names := make([]string, len(in))
	for i := range in {
		names[i] = in[i].Name
	}
	where := few(names, maxCauses)
	if f.Replicas == nil || *f.Replicas == 0 {
		return "it stays in " + where
	}
	if len(in) > 1 && f.Placement != nil && f.Placement.strategy != duplicated {
		return "its " + plural(int(*f.Replicas), "replica") + stay(*f.Replicas) + " divided among " + where
	}
	if len(in) > 1 {
		where = "each of " + where
	}
	return "its " + plural(int(*f.Replicas), "replica") + stay(*f.Replicas) + " in " + where
}

func stay(replicas int32) string {
	if replicas == 1 {
		return " stays"
	}
	return " stay"
}

// taintsNotTolerated names the taints for which a template has to leave its clusters.
func (f *Facts) taintsNotTolerated() string {
	var tolerations []corev1.Toleration
	if f.Placement != nil {
		tolerations = f.Placement.tolerations
	}
	var names []string
	for _, name := range f.Leaving {
		cluster := f.leftCluster(name)
		if cluster == nil {
			continue
		}
		for i := range cluster.taints {
			t := &cluster.taints[i]
			if name := t.String(); t.effect == corev1.TaintEffectNoExecute && !tolerated(t, tolerations) && !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	switch len(names) {
	case 0:
		return "a taint NoExecute" // which was taken off just now
	case 1:
		return "the taint " + names[0]
	}
	return "the taints " + few(names, maxCauses)
}

// leftCluster is a cluster that the template has to leave, as it is by now; nil when there is none of that name.
func (f *Facts) leftCluster(name string) *Cluster {
	if i := slices.IndexFunc(f.Left, func(c *Cluster) bool { return c.name == name }); i >= 0 {
		return f.Left[i]
	}
	if at, found := f.Fleet.position(name); found {
		return f.Fleet.clusters[at]
	}
	return nil
}

// withoutLeft leaves out the clusters that the template has to leave: it is said of it before all else.
func withoutLeft(out []refused) []refused {
	return slices.DeleteFunc(slices.Clone(out), func(r refused) bool { return r.cause == beingLeft })
}
