package status

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/duration"

	clusterv1alpha1 "windlass.dev/windlass/api/cluster/v1alpha1"
	policyv1alpha1 "windlass.dev/windlass/api/policy/v1alpha1"
	workv1alpha1 "windlass.dev/windlass/api/work/v1alpha1"
	"windlass.dev/windlass/pkg/aggregate"
)

// APIVersion of the JSON output.
const APIVersion = "cli.windlass.dev/v1"

// certificateWarning is how long before its end an agent's certificate is a problem: renewal begins
// 30 days before, so one that has 14 left was not renewed for two weeks.
const certificateWarning = 14 * 24 * time.Hour

// Make makes the report. It does not change the facts.
func Make(facts Facts) Report {
	report := Report{APIVersion: APIVersion, Kind: "Status", Problems: []Problem{}, Clusters: []Cluster{}, Bindings: []Binding{}}
	connected := map[string]bool{}
	for i := range facts.Clusters {
		cluster, problems := describeCluster(&facts.Clusters[i], facts)
		connected[cluster.Name] = cluster.Connected
		report.Clusters = append(report.Clusters, cluster)
		report.Problems = append(report.Problems, problems...)
	}
	report.Problems = append(report.Problems, idlePolicies(facts)...)
	works := facts.worksByBinding()
	for _, b := range facts.bindings() {
		described, problem := describeBinding(b, works[bindingKey{b.kind, b.GetNamespace(), b.GetName()}], connected)
		report.Bindings = append(report.Bindings, described)
		if problem != nil {
			report.Problems = append(report.Problems, *problem)
		}
	}
	slices.SortFunc(report.Clusters, func(a, b Cluster) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortFunc(report.Bindings, func(a, b Binding) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	report.Fine = len(report.Problems) == 0
	return report
}

func describeCluster(c *clusterv1alpha1.MemberCluster, facts Facts) (Cluster, []Problem) {
	described := Cluster{
		Name: c.Name, Ready: string(metav1.ConditionUnknown),
		Joined:            meta.IsStatusConditionTrue(c.Status.Conditions, clusterv1alpha1.ClusterJoined),
		KubernetesVersion: c.Status.KubernetesVersion,
		Region:            c.Spec.Region, Provider: c.Spec.Provider,
		Works: countWorks(facts.Works, c.Name),
	}
	if nodes := c.Status.NodeSummary; nodes != nil {
		described.Nodes, described.NodesReady = nodes.TotalNum, nodes.ReadyNum
	}
	if agent := c.Status.Agent; agent != nil {
		described.AgentVersion = agent.Version
		if agent.CertificateExpiresAt != nil {
			ends := agent.CertificateExpiresAt.UTC()
			described.CertificateEnds = &ends
		}
	}
	for _, taint := range c.Spec.Taints {
		described.Taints = append(described.Taints, taint.ToString())
	}
	ready := meta.FindStatusCondition(c.Status.Conditions, clusterv1alpha1.ClusterReady)
	if ready != nil {
		described.Ready = string(ready.Status)
		since := ready.LastTransitionTime.UTC()
		described.Since = &since
	}
	described.Lost = ready != nil && ready.Reason == clusterv1alpha1.ReadyConnectionLost
	described.Connected = described.Joined && ready != nil && ready.Status != metav1.ConditionUnknown && !described.Lost &&
		!tainted(c, clusterv1alpha1.TaintUnreachable)
	return described, clusterProblems(c, described, ready, facts.Now)
}

func tainted(c *clusterv1alpha1.MemberCluster, key string) bool {
	for _, taint := range c.Spec.Taints {
		if taint.Key == key {
			return true
		}
	}
	return false
}

func countWorks(works []workv1alpha1.PropagationWork, cluster string) WorkCount {
	var count WorkCount
	namespace := workv1alpha1.ExecutionNamespace(cluster)
	for i := range works {
		switch w := &works[i]; {
		case w.Namespace != namespace:
		case w.DeletionTimestamp != nil:
			count.Removing++
		default:
			count.Total++
			if applied(w) {
				count.Applied++
			}
		}
	}
	return count
}

// clusterProblems are those of the cluster itself, and the deletions that wait there for a person:
// nothing else says so loudly that what was taken away is still there.
func clusterProblems(c *clusterv1alpha1.MemberCluster, described Cluster, ready *metav1.Condition, now time.Time) []Problem {
	problems := lifeProblems(c, described, ready, now)
	if held := meta.FindStatusCondition(c.Status.Conditions, clusterv1alpha1.ClusterDeletionsHeld); held != nil && held.Status == metav1.ConditionTrue {
		problems = append(problems, Problem{"cluster " + c.Name, clusterv1alpha1.ClusterDeletionsHeld, cmp.Or(held.Message, "deletions wait for a person to confirm them")})
	}
	return problems
}

func lifeProblems(c *clusterv1alpha1.MemberCluster, described Cluster, ready *metav1.Condition, now time.Time) []Problem {
	object := "cluster " + c.Name
	switch {
	case c.DeletionTimestamp != nil:
		return []Problem{{object, "Removing", fmt.Sprintf("it is being removed since %s; works left: %d", ago(now, c.DeletionTimestamp.Time), described.Works.Total+described.Works.Removing)}}
	case !described.Joined:
		joined := meta.FindStatusCondition(c.Status.Conditions, clusterv1alpha1.ClusterJoined)
		message := fmt.Sprintf("no agent has enrolled yet; `windlass token create --cluster %s` makes a token for it", c.Name)
		if joined != nil && joined.Message != "" {
			message = joined.Message
		}
		return []Problem{{object, "NotJoined", message}}
	case ready == nil:
		return []Problem{{object, "NotReady", "its agent has not reported yet"}}
	case ready.Status != metav1.ConditionTrue:
		return []Problem{{object, ready.Reason, fmt.Sprintf("not ready for %s: %s", ago(now, ready.LastTransitionTime.Time), cmp.Or(ready.Message, ready.Reason))}}
	}
	var problems []Problem
	if described.Lost {
		problems = append(problems, Problem{object, ready.Reason, ready.Message})
	}
	if described.NodesReady < described.Nodes {
		problems = append(problems, Problem{object, "NodesNotReady", fmt.Sprintf("%d of %d nodes are ready", described.NodesReady, described.Nodes)})
	}
	if ends := described.CertificateEnds; ends != nil && ends.Sub(now) < certificateWarning {
		problems = append(problems, Problem{object, "CertificateEnds", fmt.Sprintf("its agent's certificate ends in %s and was not renewed", duration.HumanDuration(ends.Sub(now)))})
	}
	return problems
}

func ago(now, then time.Time) string { return duration.HumanDuration(now.Sub(then)) }

// idlePolicies are those that claim nothing: the usual reason is a slip in a selector. What goes
// wrong further on is told where it goes wrong, on the binding.
func idlePolicies(facts Facts) []Problem {
	var problems []Problem
	add := func(object string, generation int64, status policyv1alpha1.PropagationStatus) {
		ready := meta.FindStatusCondition(status.Conditions, "Ready")
		if status.Templates > 0 || ready == nil || ready.Status == metav1.ConditionTrue || status.ObservedGeneration != generation {
			return
		}
		problems = append(problems, Problem{object, ready.Reason, cmp.Or(ready.Message, "it claims no template")})
	}
	for i := range facts.Policies {
		p := &facts.Policies[i]
		add("policy "+p.Namespace+"/"+p.Name, p.Generation, p.Status)
	}
	for i := range facts.ClusterPolicies {
		p := &facts.ClusterPolicies[i]
		add("policy "+p.Name, p.Generation, p.Status)
	}
	return problems
}

func describeBinding(b binding, works map[string]work, connected map[string]bool) (Binding, *Problem) {
	described := Binding{
		Namespace: b.GetNamespace(), Name: b.GetName(),
		Template: templateOf(b.spec.Resource), Policy: policyOf(b),
		Removing: b.GetDeletionTimestamp() != nil, Placements: []Placement{},
	}
	for _, target := range b.spec.Clusters {
		placement := describePlacement(target, b.spec, works[target.Name].object)
		placement.Stale = !connected[target.Name]
		described.Placements = append(described.Placements, placement)
		if placement.Applied {
			described.Applied++
		}
		if placement.Health == string(workv1alpha1.ResourceHealthy) {
			described.Healthy++
		}
	}
	scheduled := meta.FindStatusCondition(b.status.Conditions, workv1alpha1.BindingScheduled)
	described.Scheduled = scheduled != nil && scheduled.Status == metav1.ConditionTrue
	described.Released = described.Policy == "" && !described.Removing
	if described.Released {
		described.Message = "released: no policy claims it any more, and what its clusters have stays as it is"
		return described, nil
	}
	problem := bindingProblem(b, described, scheduled)
	if problem != nil {
		described.Message = problem.Message
	} else if whole := meta.FindStatusCondition(b.status.Conditions, workv1alpha1.BindingFullyApplied); whole != nil && whole.Reason == aggregate.ReasonRemovalHeld {
		described.Message = whole.Message // the problem is the cluster's, once for all of its bindings
	}
	return described, problem
}

func describePlacement(target workv1alpha1.TargetCluster, spec *workv1alpha1.BindingSpec, w *workv1alpha1.PropagationWork) Placement {
	placement := Placement{Cluster: target.Name, Health: string(workv1alpha1.ResourceUnknown)}
	if spec.Replicas != nil {
		placement.Wanted = &target.Replicas
	}
	if w == nil {
		placement.Message = "no work is written for it yet"
		return placement
	}
	placement.Applied = applied(w)
	if !placement.Applied {
		placement.Message = whyNotApplied(w)
	}
	manifest := manifestOf(w, spec.Resource)
	if manifest != nil && manifest.Health != "" {
		placement.Health = string(manifest.Health)
	}
	if placement.Wanted != nil {
		placement.Ready = readyReplicas(manifest)
	}
	return placement
}

func whyNotApplied(w *workv1alpha1.PropagationWork) string {
	if w.Spec.SuspendDispatching != nil && *w.Spec.SuspendDispatching {
		return "sending is suspended by the policy"
	}
	condition := meta.FindStatusCondition(w.Status.Conditions, workv1alpha1.WorkApplied)
	switch {
	case condition == nil:
		return "the cluster has not reported yet"
	case !current(condition, w.Generation):
		return "the cluster has not reported the present content yet"
	}
	return because(condition.Reason, condition.Message)
}

// bindingProblem is the first thing that is in the way, in the order in which a template goes its way.
func bindingProblem(b binding, described Binding, scheduled *metav1.Condition) *Problem {
	object := described.Template.String()
	clusters := len(described.Placements)
	switch {
	case described.Removing:
		return &Problem{object, "Removing", fmt.Sprintf("it is being removed from %s", count(clusters, "cluster"))}
	case !described.Scheduled:
		message := "not scheduled yet"
		reason := "NotScheduled"
		if scheduled != nil && scheduled.Status != metav1.ConditionTrue {
			reason, message = scheduled.Reason, "not scheduled: "+cmp.Or(scheduled.Message, scheduled.Reason)
		}
		return &Problem{object, reason, message}
	case described.Applied < clusters:
		return &Problem{object, "NotApplied", fmt.Sprintf("applied in %d of %s: %s", described.Applied, count(clusters, "cluster"), perCluster(described.Placements, func(p Placement) (string, bool) {
			return p.Message, !p.Applied
		}))}
	}
	unhealthy := perCluster(described.Placements, func(p Placement) (string, bool) {
		return readyOf(p), p.Health == string(workv1alpha1.ResourceUnhealthy)
	})
	if unhealthy != "" {
		return &Problem{object, "Unhealthy", fmt.Sprintf("healthy in %d of %s: %s", described.Healthy, count(clusters, "cluster"), unhealthy)}
	}
	return nil
}

func readyOf(p Placement) string {
	if p.Wanted == nil || p.Ready == nil {
		return "not healthy"
	}
	return fmt.Sprintf("%d of %d replicas ready", *p.Ready, *p.Wanted)
}

// namedClusters is how many clusters a message names before it only counts.
const namedClusters = 3

// perCluster says what tell says of each placement that it tells of.
func perCluster(placements []Placement, tell func(Placement) (string, bool)) string {
	var parts []string
	more := 0
	for _, p := range placements {
		message, told := tell(p)
		switch {
		case !told:
		case len(parts) == namedClusters:
			more++
		default:
			parts = append(parts, because(p.Cluster, message)+staleNote(p))
		}
	}
	if more > 0 {
		parts = append(parts, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(parts, "; ")
}

func staleNote(p Placement) string {
	if p.Stale {
		return " (not connected)"
	}
	return ""
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
