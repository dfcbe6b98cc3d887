package status

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/duration"
	"k8s.io/utils/ptr"

	clusterv1alpha1 "windlass.dev/windlass/api/cluster/v1alpha1"
	policyv1alpha1 "windlass.dev/windlass/api/policy/v1alpha1"
	workv1alpha1 "windlass.dev/windlass/api/work/v1alpha1"
	"windlass.dev/windlass/pkg/aggregate"
	"windlass.dev/windlass/pkg/evict"
	"windlass.dev/windlass/pkg/interpret"
	"windlass.dev/windlass/pkg/policy"
)

// APIVersion of the JSON output.
const APIVersion = "cli.windlass.dev/v1"

// certificateWarning is how long before its end an agent's certificate is a problem: renewal begins
// 30 days before, so one that has 14 left was not renewed for two weeks.
const certificateWarning = 14 * 24 * time.Hour

// Make makes the report. It does not change the facts.
func Make(facts Facts) Report {
	report := Report{APIVersion: APIVersion, Kind: "Status", Problems: []Problem{}, Clusters: []Cluster{}, Bindings: []Binding{}, Unclaimed: []Template{}, causes: map[Problem]string{}}
	connected, holds := map[string]bool{}, map[string]string{}
	inClusters := worksOfClusters(facts.Works)
	for i := range facts.Clusters {
		cluster, problems := describeCluster(&facts.Clusters[i], inClusters[workv1alpha1.ExecutionNamespace(facts.Clusters[i].Name)], facts.Now)
		connected[cluster.Name], holds[cluster.Name] = cluster.Connected, aggregate.Holding(&facts.Clusters[i])
		report.Clusters = append(report.Clusters, cluster)
		for _, p := range problems {
			report.Problems = append(report.Problems, p.Problem)
			report.causes[p.Problem] = p.cause
		}
	}
	for _, told := range []func(Facts) (problems, remarks []Problem){onPolicies, onOverrides} {
		problems, remarks := told(facts)
		report.Problems, report.Remarks = append(report.Problems, problems...), append(report.Remarks, remarks...)
	}
	works := facts.worksByBinding()
	for _, b := range facts.bindings() {
		described, problem := describeBinding(b, works[bindingKey{b.kind, b.GetNamespace(), b.GetName()}], connected, holds)
		report.Bindings = append(report.Bindings, described)
		if problem != nil {
			report.Problems = append(report.Problems, *problem)
		}
	}
	unclaimed := withoutBinding(facts.Unclaimed, report.Bindings)
	waiting := waitingPolicies(facts)
	for _, w := range unclaimed {
		if i := slices.IndexFunc(waiting, func(p waitingPolicy) bool { return p.Matches(w.asPolicySees()) }); i >= 0 {
			p := waiting[i].Policy()
			report.Waiting = append(report.Waiting, Waiting{w.Template, qualified(p.GetNamespace(), p.GetName()), waiting[i].missing})
		} else {
			report.Unclaimed = append(report.Unclaimed, w.Template)
		}
	}
	slices.SortFunc(report.Clusters, func(a, b Cluster) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortFunc(report.Bindings, func(a, b Binding) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	report.Fine = len(report.Problems) == 0
	return report
}

func describeCluster(c *clusterv1alpha1.MemberCluster, works worksOfCluster, now time.Time) (Cluster, []clusterProblem) {
	described := Cluster{
		Name: c.Name, Ready: string(metav1.ConditionUnknown),
		Joined:            meta.IsStatusConditionTrue(c.Status.Conditions, clusterv1alpha1.ClusterJoined),
		KubernetesVersion: c.Status.KubernetesVersion,
		Region:            c.Spec.Region, Provider: c.Spec.Provider,
		Works: works.WorkCount, left: works.left,
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
		described.guarded = described.guarded || taint.Key != clusterv1alpha1.TaintNotReady && taint.Key != clusterv1alpha1.TaintUnreachable
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
	problems := clusterProblems(c, described, ready, now)
	described.told = len(problems) > 0
	return described, problems
}

func tainted(c *clusterv1alpha1.MemberCluster, key string) bool {
	for _, taint := range c.Spec.Taints {
		if taint.Key == key {
			return true
		}
	}
	return false
}

// worksOfCluster is what is said of a cluster's works together.
type worksOfCluster struct {
	WorkCount
	left string // what keeps a removal there from its end
}

// worksOfClusters sums up the works of every cluster, by their namespace, in one walk: in a large fleet there are 100,000.
func worksOfClusters(works []workv1alpha1.PropagationWork) map[string]worksOfCluster {
	clusters := map[string]worksOfCluster{}
	for i := range works {
		w := &works[i]
		of := clusters[w.Namespace]
		if of.left == "" {
			of.left = notGone(w)
		}
		if w.DeletionTimestamp != nil {
			of.Removing++
		} else {
			of.Total++
			if applied(w) {
				of.Applied++
			}
		}
		clusters[w.Namespace] = of
	}
	return clusters
}

// clusterProblem is one of a cluster, and its cause: what is said once when many have it. Without one it is told of each by itself.
type clusterProblem struct {
	Problem
	cause string
}

// clusterProblems are those of the cluster itself, and the deletions that wait there for a person:
// nothing else says so loudly that what was taken away is still there.
func clusterProblems(c *clusterv1alpha1.MemberCluster, described Cluster, ready *metav1.Condition, now time.Time) []clusterProblem {
	problems := lifeProblems(c, described, ready, now)
	if held := meta.FindStatusCondition(c.Status.Conditions, clusterv1alpha1.ClusterDeletionsHeld); held != nil && held.Status == metav1.ConditionTrue {
		problem := Problem{"cluster " + c.Name, clusterv1alpha1.ClusterDeletionsHeld, cmp.Or(held.Message, "deletions wait for a person to confirm them")}
		problems = append(problems, clusterProblem{problem, ""}) // each has a command of its own, after a look at what it deletes
	}
	return problems
}

func lifeProblems(c *clusterv1alpha1.MemberCluster, described Cluster, ready *metav1.Condition, now time.Time) []clusterProblem {
	object := "cluster " + c.Name
	one := func(reason, message, cause string) []clusterProblem {
		return []clusterProblem{{Problem{object, reason, message}, cause}}
	}
	switch {
	case c.DeletionTimestamp != nil:
		return one("Removing", fmt.Sprintf("it is being removed since %s; works left: %d%s", ago(now, c.DeletionTimestamp.Time), described.Works.Total+described.Works.Removing, described.left),
			"it is being removed")
	case !described.Joined:
		joined := meta.FindStatusCondition(c.Status.Conditions, clusterv1alpha1.ClusterJoined)
		message := fmt.Sprintf("no agent has enrolled yet; `windlass token create --cluster %s` makes a token for it", c.Name)
		if joined != nil && joined.Message != "" {
			message = joined.Message
		}
		return one("NotJoined", message, ofAny(message, c.Name))
	case ready == nil:
		const message = "its agent has not reported yet"
		return one("NotReady", message, message)
	case ready.Status != metav1.ConditionTrue:
		message := cmp.Or(ready.Message, ready.Reason)
		return append(one(ready.Reason, fmt.Sprintf("not ready for %s: %s", ago(now, ready.LastTransitionTime.Time), message), whyNotReady(ready, message)),
			certificateProblems(object, described, now)...)
	}
	var problems []clusterProblem
	if described.Lost {
		what, _, _ := strings.Cut(ready.Message, " since ") // each is for itself since when
		problems = one(ready.Reason, ready.Message, what)
	}
	if described.NodesReady < described.Nodes {
		problems = append(problems, one("NodesNotReady", fmt.Sprintf("%d of %d nodes are ready", described.NodesReady, described.Nodes), "not all nodes are ready")...)
	}
	return append(problems, certificateProblems(object, described, now)...)
}

// ofAny has a command that is for one cluster stand for the same of others.
func ofAny(message, cluster string) string {
	return strings.ReplaceAll(message, "--cluster "+cluster, "--cluster NAME")
}

// whyNotReady is what clusters have in common that are not ready. What the hub says of them is the same of all; agents speak of
// addresses, and each of its own.
func whyNotReady(ready *metav1.Condition, message string) string {
	if ready.Status == metav1.ConditionUnknown {
		return "not ready: " + message
	}
	return "not ready, with the reason " + ready.Reason
}

// certificateProblems are told of a cluster that is away as well: when its certificate has ended, the agent does not come back by itself.
func certificateProblems(object string, described Cluster, now time.Time) []clusterProblem {
	ends := described.CertificateEnds
	if ends == nil || ends.Sub(now) >= certificateWarning {
		return nil
	}
	message := fmt.Sprintf("its agent's certificate ends in %s and was not renewed", duration.HumanDuration(ends.Sub(now)))
	cause := "their agents' certificates end within two weeks and were not renewed"
	if !ends.After(now) {
		const back = "`windlass token create --cluster %s --rejoin` makes a token by which it comes back"
		message = fmt.Sprintf("its agent's certificate has ended, %s ago: "+back, ago(now, *ends), described.Name)
		cause = fmt.Sprintf("their agents' certificates have ended: "+back, "NAME")
	}
	return []clusterProblem{{Problem{object, "CertificateEnds", message}, cause}}
}

func ago(now, then time.Time) string { return duration.HumanDuration(now.Sub(then)) }

// toldOnBindings are the reasons for which a policy is not Ready that its bindings tell, each for itself.
var toldOnBindings = []string{aggregate.ReasonNotScheduled, aggregate.ReasonNotApplied, aggregate.ReasonNowhereElse}

// onPolicies are the problems that no binding tells: a policy claims nothing, for which the usual reason is a slip in a selector,
// or can't take effect for what is new. A remark is of one that claims something, and nothing by some of its selectors.
func onPolicies(facts Facts) (problems, remarks []Problem) {
	add := func(object string, generation int64, status policyv1alpha1.PropagationStatus) {
		ready := meta.FindStatusCondition(status.Conditions, aggregate.PolicyReady)
		switch {
		case ready == nil || status.ObservedGeneration != generation || slices.Contains(toldOnBindings, ready.Reason):
		case ready.Status != metav1.ConditionTrue:
			problems = append(problems, Problem{object, ready.Reason, cmp.Or(ready.Message, "it claims no template")})
		case ready.Reason == aggregate.ReasonSelectorsUnused:
			remarks = append(remarks, Problem{object, ready.Reason, ready.Message})
		}
	}
	for i := range facts.Policies {
		p := &facts.Policies[i]
		add("policy "+p.Namespace+"/"+p.Name, p.Generation, p.Status)
	}
	for i := range facts.ClusterPolicies {
		p := &facts.ClusterPolicies[i]
		add("policy "+p.Name, p.Generation, p.Status)
	}
	return problems, remarks
}

// onOverrides tells of override policies of which a part is for nothing that is there; of one of several selectors it is a remark, for that
// may be about to come. What goes wrong when they are applied is told where it goes wrong, on the binding.
func onOverrides(facts Facts) (problems, remarks []Problem) {
	add := func(object string, generation int64, status policyv1alpha1.OverrideStatus) {
		effective := meta.FindStatusCondition(status.Conditions, policyv1alpha1.OverrideEffective)
		switch {
		case effective == nil || status.ObservedGeneration != generation:
		case effective.Status == metav1.ConditionFalse:
			problems = append(problems, Problem{object, effective.Reason, cmp.Or(effective.Message, "a part of it has no effect")})
		case effective.Reason == aggregate.ReasonSelectorsUnused:
			remarks = append(remarks, Problem{object, effective.Reason, effective.Message})
		}
	}
	for i := range facts.Overrides {
		p := &facts.Overrides[i]
		add("override policy "+p.Namespace+"/"+p.Name, p.Generation, p.Status)
	}
	for i := range facts.ClusterOverrides {
		p := &facts.ClusterOverrides[i]
		add("override policy "+p.Name, p.Generation, p.Status)
	}
	return problems, remarks
}

// withoutBinding leaves out released templates: their clusters have them, and their binding is listed.
func withoutBinding(unclaimed []Workload, bindings []Binding) []Workload {
	bound := map[Template]bool{}
	for _, b := range bindings {
		bound[b.Template] = true
	}
	rest := slices.DeleteFunc(slices.Clone(unclaimed), func(w Workload) bool { return bound[w.Template] })
	slices.SortFunc(rest, func(a, b Workload) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name))
	})
	return rest
}

// waitingPolicy claims nothing new before override policies are there that it names.
type waitingPolicy struct {
	*policy.Matcher
	missing []string
}

func waitingPolicies(facts Facts) []waitingPolicy {
	var waiting []waitingPolicy
	add := func(p policyv1alpha1.Policy) {
		if missing := policy.MissingOverrides(p, facts.overrideExists); len(missing) > 0 {
			m, _ := policy.NewMatcher(p) // a selector that can't be compiled selects nothing
			waiting = append(waiting, waitingPolicy{m, missing})
		}
	}
	for i := range facts.Policies {
		add(&facts.Policies[i])
	}
	for i := range facts.ClusterPolicies {
		add(&facts.ClusterPolicies[i])
	}
	return waiting
}

func (f Facts) overrideExists(namespace, name string) bool {
	if namespace == "" {
		return slices.ContainsFunc(f.ClusterOverrides, func(p policyv1alpha1.ClusterOverridePolicy) bool { return p.Name == name })
	}
	return slices.ContainsFunc(f.Overrides, func(p policyv1alpha1.OverridePolicy) bool { return p.Namespace == namespace && p.Name == name })
}

func (w Workload) asPolicySees() policy.Template {
	return policy.Template{Kind: schema.FromAPIVersionAndKind(w.APIVersion, w.Kind), Namespace: w.Namespace, Name: w.Name, Labels: w.Labels}
}

func describeBinding(b binding, works map[string]work, connected map[string]bool, holds map[string]string) (Binding, *Problem) {
	described := Binding{
		Namespace: b.GetNamespace(), Name: b.GetName(),
		Template: templateOf(b.spec.Resource), Policy: policyOf(b),
		Removing: b.GetDeletionTimestamp() != nil, Placements: []Placement{},
	}
	verdicts := verdictsOf(b.status, works)
	outdated := 0
	for _, target := range b.spec.Clusters {
		placement := describePlacement(target, b, works[target.Name].object)
		if placement.Applied {
			why := verdicts.against(target.Name, works[target.Name].object)
			if why == aggregate.TemplateChanged {
				outdated++
			}
			placement.notPresent(why, b.status)
		}
		if work := works[target.Name].object; work != nil && work.DeletionTimestamp != nil && !described.Removing {
			placement.Applied, placement.Message = false, whyRemovedFirst(work, target.Name, holds[target.Name])
		}
		isConnected, there := connected[target.Name]
		placement.Stale = there && !isConnected
		if !there && works[target.Name].object == nil {
			placement.Message = "no cluster of this name is on the hub"
		}
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
	described.Leaving = leaving(b.spec)
	for _, cluster := range described.Leaving {
		if w := works[cluster].object; w != nil && w.DeletionTimestamp == nil {
			isConnected, there := connected[cluster]
			described.LeavingPlacements = append(described.LeavingPlacements, describeLeaving(cluster, b, w, there && !isConnected))
		}
	}
	for _, cluster := range slices.Sorted(maps.Keys(works)) {
		isConnected, there := connected[cluster]
		described.addNotGone(b, cluster, works[cluster].object, holds[cluster], there && !isConnected)
	}
	if described.left == "" && !described.Removing {
		described.left = underWay(described.NotGone)
	}
	if described.Released {
		return describeReleased(b, described, scheduled, outdated)
	}
	described.still = stillIn(works, connected)
	problem := bindingProblem(b, described, scheduled)
	notes := notesOn(b, described, scheduled, heldNote(described, works, holds))
	if problem != nil && problem.Message != "" {
		notes = append([]string{problem.Message}, notes...)
	}
	if left := drain(b.spec, described.Leaving); left != "" {
		notes = append([]string{left}, notes...) // first: that others are not healthy is a step on its way
	}
	described.Message = strings.Join(notes, "; ")
	if described.told = problem != nil; described.told {
		problem.Message = described.Message
	}
	return described, problem
}

// addNotGone adds what a cluster has whose removal has begun and is not over, and what that waits for.
func (described *Binding) addNotGone(b binding, cluster string, w *workv1alpha1.PropagationWork, hold string, silent bool) {
	if w.DeletionTimestamp == nil {
		return
	}
	left, held := notGone(w), aggregate.IsHeld(w, hold)
	if silent && !held && !described.Removing { // else it is told with where it is not gone from
		left = "; not gone yet: the cluster's agent is not connected"
	}
	if described.left == "" && left != "" {
		described.left = left + " (" + cluster + ")"
		if hold == clusterv1alpha1.DeletionsHeldTooMany {
			described.left += "; other deletions there wait for a person: see cluster " + cluster
		}
	}
	if slices.ContainsFunc(b.spec.Clusters, func(t workv1alpha1.TargetCluster) bool { return t.Name == cluster }) {
		return // its placement says so
	}
	placement := describeLeaving(cluster, b, w, silent)
	placement.removed, placement.Message = true, strings.TrimPrefix(left, "; ")
	if held {
		placement.Message = "its removal is held back until a person confirms it: see cluster " + cluster
	}
	described.NotGone = append(described.NotGone, placement)
}

// underWay says from where a removal is under way in which nothing is in the way: it serves there to its last moment.
func underWay(notGone []Placement) string {
	var names []string
	for _, p := range notGone {
		if p.Message == "" {
			names = append(names, p.Cluster)
		}
	}
	if len(names) == 0 {
		return ""
	}
	return "; not gone yet (" + few(names) + ")"
}

// describeReleased says of a template that no policy claims any more what is left of a move. What goes wrong with it is nobody's wish that
// was not fulfilled, but a copy that is not gone yet, and what that waits for, is a problem as it is of every template.
// Outdated is how many of its clusters have what the template was before it was changed.
func describeReleased(b binding, described Binding, scheduled *metav1.Condition, outdated int) (Binding, *Problem) {
	var problem *Problem
	switch {
	case len(described.Leaving) > 0:
		problem = bindingProblem(b, described, scheduled)
	case stranded(b.spec) != "":
		problem = &Problem{described.Template.String(), workv1alpha1.ScheduledNowhereElse, "has to leave " + stranded(b.spec) +
			" because of a taint NoExecute, and goes on there: without a policy it is placed nowhere else"}
	case keeping(b.spec) != "":
		problem = &Problem{described.Template.String(), "Leaving", ""}
	case described.left != "":
		problem = notGoneProblem(described)
	}
	released := "released: no policy claims it any more"
	if problem == nil || problem.Reason == workv1alpha1.ScheduledNowhereElse {
		released += ", and what its clusters have stays as it is"
	}
	notes := []string{released}
	if described.changed = outdated > 0; described.changed {
		notes = append(notes, fmt.Sprintf("the template has changed since, and that does not arrive in %s", count(outdated, "cluster")))
	}
	notes = append(notes, drain(b.spec, described.Leaving))
	if problem != nil {
		notes = append(notes, problem.Message)
	}
	notes = append(notes, keeping(b.spec))
	described.Message = strings.Join(slices.DeleteFunc(notes, func(note string) bool { return note == "" }), "; ")
	if described.told = problem != nil; described.told {
		problem.Message = described.Message
	}
	return described, problem
}

// stranded is the cluster that a template has to leave by a taint and goes to all the same; empty for none.
func stranded(spec *workv1alpha1.BindingSpec) string {
	for _, task := range spec.GracefulEvictionTasks {
		if task.Reason == evict.ReasonTaintUntolerated && slices.ContainsFunc(spec.Clusters, func(t workv1alpha1.TargetCluster) bool { return t.Name == task.FromCluster }) {
			return task.FromCluster
		}
	}
	return ""
}

// toldOfScheduled are the reasons of a template that is placed, and not quite as its policy says.
var toldOfScheduled = []string{workv1alpha1.ScheduledClustersLeftOut, workv1alpha1.ScheduledSpreadNotMet, workv1alpha1.ScheduledNowhereElse}

// notesOn are what is worth a look at a binding, beside its problem or without one: it may be meant so, or be the problem of a
// cluster, which is told there.
func notesOn(b binding, described Binding, scheduled *metav1.Condition, held string) []string {
	var notes []string
	note := func(text string) {
		if text != "" {
			notes = append(notes, text)
		}
	}
	if whole := meta.FindStatusCondition(b.status.Conditions, workv1alpha1.BindingFullyApplied); held == "" && whole != nil && whole.Reason == aggregate.ReasonRemovalHeld {
		held = whole.Message
	}
	note(held)
	if described.Scheduled && slices.Contains(toldOfScheduled, scheduled.Reason) {
		note(scheduled.Message)
	}
	if rendered := meta.FindStatusCondition(b.status.Conditions, workv1alpha1.BindingRendered); rendered != nil && rendered.Reason == workv1alpha1.RenderedWithoutEffect {
		note(rendered.Message)
	}
	note(keeping(b.spec))
	return notes
}

// leaving are the clusters, sorted, that a template is leaving because of a taint. One that it has to leave and goes to for
// want of another is not among them.
func leaving(spec *workv1alpha1.BindingSpec) []string {
	var names []string
	for _, task := range spec.GracefulEvictionTasks {
		if !slices.ContainsFunc(spec.Clusters, func(t workv1alpha1.TargetCluster) bool { return t.Name == task.FromCluster }) {
			names = append(names, task.FromCluster)
		}
	}
	slices.Sort(names)
	return names
}

// keeping says which of the clusters that a template goes to keep more replicas for a while than they shall have.
func keeping(spec *workv1alpha1.BindingSpec) string {
	return evict.Kept(slices.DeleteFunc(slices.Clone(spec.GracefulEvictionTasks), func(task workv1alpha1.GracefulEvictionTask) bool {
		return !slices.ContainsFunc(spec.Clusters, func(t workv1alpha1.TargetCluster) bool { return t.Name == task.FromCluster })
	}))
}

// drain names the first few of the clusters that a template is leaving, and says what ends that; empty for none.
func drain(spec *workv1alpha1.BindingSpec, names []string) string {
	if len(names) == 0 {
		return ""
	}
	until := "its other copies are healthy"
	if interpret.Ends(schema.FromAPIVersionAndKind(spec.Resource.APIVersion, spec.Resource.Kind).GroupKind()) {
		until = "it has ended everywhere"
	}
	return "leaves " + few(names) + ", and runs there until " + until
}

func describePlacement(target workv1alpha1.TargetCluster, b binding, w *workv1alpha1.PropagationWork) Placement {
	placement := Placement{Cluster: target.Name, Health: string(workv1alpha1.ResourceUnknown)}
	if b.spec.Replicas != nil {
		placement.Wanted = cmp.Or(overriddenReplicas(w), &target.Replicas)
	}
	if w == nil {
		placement.Message = whyNoWork(b.status)
		return placement
	}
	placement.Applied = applied(w)
	if !placement.Applied {
		placement.Message = whyNotApplied(w)
	}
	manifest := manifestOf(w, b.spec.Resource)
	if manifest != nil && manifest.Health != "" {
		placement.Health = string(manifest.Health)
	}
	if placement.Wanted != nil {
		placement.Ready = readyReplicas(manifest, *placement.Wanted)
	}
	if placement.Applied && placement.Health == string(workv1alpha1.ResourceUnhealthy) {
		placement.Message = whyNotHealthy(w, manifest, placement.Wanted == nil)
	}
	return placement
}

// notPresent has a cluster that has applied its work count as one that has not what it is to have, if something speaks against it.
func (p *Placement) notPresent(why string, status *workv1alpha1.BindingStatus) {
	if why == "" {
		return
	}
	p.Applied, p.Message = false, why
	if notRendered(status) != nil && (why == aggregate.TemplateChanged || why == aggregate.ReplicasChanged) {
		p.Message = whyNoWork(status)
	}
}

// describeLeaving is what a template has in a cluster that it is leaving: it may be all that serves.
func describeLeaving(cluster string, b binding, w *workv1alpha1.PropagationWork, stale bool) Placement {
	placement := describePlacement(workv1alpha1.TargetCluster{Name: cluster, Replicas: ptr.Deref(w.Spec.Replicas, 0)}, b, w)
	placement.Wanted, placement.Stale, placement.leaving = nil, stale, true
	return placement
}

// whyNotHealthy is what the agent says; one of an earlier version says nothing.
func whyNotHealthy(w *workv1alpha1.PropagationWork, manifest *workv1alpha1.ManifestStatus, guess bool) string {
	available := meta.FindStatusCondition(w.Status.Conditions, workv1alpha1.WorkAvailable)
	if available != nil && available.Message != "" {
		return available.Message
	}
	if guess {
		return stateOf(manifest)
	}
	return ""
}

// Overridden says whether an override has changed the manifest of a work. Only then the report needs it.
func Overridden(w *workv1alpha1.PropagationWork) bool {
	return w.Annotations[workv1alpha1.AppliedOverridesAnnotation] != "" || w.Annotations[workv1alpha1.AppliedClusterOverridesAnnotation] != ""
}

// overriddenReplicas are those that an override has left in the manifest of a work, or nil. One that has put something else
// than a number there has no wish that could be told; the cluster refuses it.
func overriddenReplicas(w *workv1alpha1.PropagationWork) *int32 {
	if w == nil || !Overridden(w) || len(w.Spec.Workload.Manifests) == 0 {
		return nil
	}
	manifest := &unstructured.Unstructured{}
	if err := manifest.UnmarshalJSON(w.Spec.Workload.Manifests[0].Raw); err != nil {
		return nil
	}
	if !interpret.ReplicasAreNumber(manifest) {
		return nil
	}
	replicas, _ := interpret.Replicas(manifest)
	return replicas
}

// whyNoWork says why a chosen cluster has no work, or none that is written anew: there may be one reason why none can be written at all.
func whyNoWork(status *workv1alpha1.BindingStatus) string {
	if rendered := notRendered(status); rendered != nil {
		return because(rendered.Reason, rendered.Message)
	}
	return "no work is written for it yet"
}

// whyNotEverywhere says of each cluster that has not applied a template why, and once why works can't be written, of all that have none for that.
func whyNotEverywhere(status *workv1alpha1.BindingStatus, placements []Placement) string {
	var unwritten []string
	why := perCluster(placements, func(p Placement) (string, bool) {
		if notRendered(status) != nil && p.Message == whyNoWork(status) {
			unwritten = append(unwritten, p.Cluster+staleNote(p))
			return "", false
		}
		return p.Message, !p.Applied
	})
	if len(unwritten) == 0 {
		return why
	}
	return strings.TrimSuffix(because(few(unwritten), whyNoWork(status))+"; "+why, "; ")
}

// few names the first few of clusters, and counts the others.
func few(names []string) string {
	said := strings.Join(names[:min(len(names), namedClusters)], ", ")
	if more := len(names) - namedClusters; more > 0 {
		said += fmt.Sprintf(" and %d more", more)
	}
	return said
}

// notRendered says why works can't be written as they should be, or is nil.
func notRendered(status *workv1alpha1.BindingStatus) *metav1.Condition {
	rendered := meta.FindStatusCondition(status.Conditions, workv1alpha1.BindingRendered)
	if rendered == nil || rendered.Status != metav1.ConditionFalse {
		return nil
	}
	return rendered
}

// whyRemovedFirst says of a cluster that shall have a template again while what it had is being removed why that takes
// its time.
func whyRemovedFirst(w *workv1alpha1.PropagationWork, cluster, hold string) string {
	if aggregate.IsHeld(w, hold) {
		return fmt.Sprintf("what it had is removed first, and that is held back until a person confirms it: see cluster %s", cluster)
	}
	return "what it had is removed first" + notGone(w)
}

// heldNote says from where a template should be gone and is not, because a person has to confirm it. Of clusters that
// shall have it again, their placement says so.
func heldNote(described Binding, works map[string]work, holds map[string]string) string {
	var clusters []string
	for cluster, w := range works {
		if aggregate.IsHeld(w.object, holds[cluster]) && (described.Removing || !slices.ContainsFunc(described.Placements, func(p Placement) bool { return p.Cluster == cluster })) {
			clusters = append(clusters, cluster)
		}
	}
	if len(clusters) == 0 {
		return ""
	}
	slices.Sort(clusters)
	first := clusters[:min(len(clusters), namedClusters)]
	said := fmt.Sprintf("its removal from %s is held back until a person confirms it: see cluster %s", count(len(clusters), "cluster"), strings.Join(first, ", cluster "))
	if more := len(clusters) - len(first); more > 0 {
		said += fmt.Sprintf(" and %d more", more)
	}
	return said
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

// notGone is what the agent says of a work whose removal does not come to its end, such as an object with a finalizer or
// one that it has no right to delete; empty when it says nothing.
func notGone(w *workv1alpha1.PropagationWork) string {
	if w == nil || aggregate.NotGone(w) == "" {
		return ""
	}
	return "; not gone yet: " + aggregate.NotGone(w)
}

// bindingProblem is the first thing that is in the way. While a template is leaving a cluster the reason is that, whatever is in the way
// of it: who waits for the end of a drain looks for it.
func bindingProblem(b binding, described Binding, scheduled *metav1.Condition) *Problem {
	problem := firstProblem(b, described, scheduled)
	if len(described.Leaving) > 0 && problem.Reason != "Removing" && problem.Reason != workv1alpha1.ScheduledNowhereElse {
		problem.Reason = "Leaving"
	}
	return problem
}

// firstProblem is what is in the way first, in the order in which a template goes its way.
func firstProblem(b binding, described Binding, scheduled *metav1.Condition) *Problem {
	object := described.Template.String()
	clusters := len(described.Placements)
	switch {
	case described.Removing:
		return &Problem{object, "Removing", "it is being removed" + described.still + described.left}
	case aggregate.Unobserved(b, described.Released) != "":
		return &Problem{object, workv1alpha1.ScheduledByAnother, aggregate.Unobserved(b, described.Released)}
	case !described.Scheduled && !b.isPlacedByAnother(scheduled):
		message := "not scheduled yet"
		reason := "NotScheduled"
		if scheduled != nil && scheduled.Status != metav1.ConditionTrue {
			reason, message = scheduled.Reason, described.notScheduled()+cmp.Or(scheduled.Message, scheduled.Reason)
		}
		return &Problem{object, reason, message}
	case described.Applied < clusters:
		return &Problem{object, "NotApplied", fmt.Sprintf("applied in %d of %s: %s", described.Applied, count(clusters, "cluster"), whyNotEverywhere(b.status, described.Placements))}
	}
	if rendered := notRendered(b.status); rendered != nil { // they have applied what they had before
		return &Problem{object, rendered.Reason, rendered.Message}
	}
	unhealthy := perCluster(described.Placements, func(p Placement) (string, bool) {
		return readyOf(p), p.Health == string(workv1alpha1.ResourceUnhealthy)
	})
	if unhealthy != "" {
		return &Problem{object, "Unhealthy", fmt.Sprintf("healthy in %d of %s: %s", described.Healthy, count(clusters, "cluster"), unhealthy)}
	}
	if problem := unfinished(object, described, scheduled); problem != nil || !b.isPlacedByAnother(scheduled) {
		return problem
	}
	return &Problem{object, scheduled.Reason, fmt.Sprintf("applied in %d of %s: the scheduler %q has placed it, and has still to set the condition Scheduled in the binding's status",
		described.Applied, count(clusters, "cluster"), b.spec.SchedulerName)}
}

// isPlacedByAnother says whether a scheduler that is not the hub's has placed a template, and not said so yet: what the hub's has said stands.
func (b binding) isPlacedByAnother(scheduled *metav1.Condition) bool {
	return scheduled != nil && scheduled.Reason == workv1alpha1.ScheduledByAnother && len(b.spec.Clusters) > 0
}

// notScheduled says what becomes of a template that is not scheduled: where it is already, it stays, and runs.
func (b Binding) notScheduled() string {
	if len(b.Placements) == 0 {
		return "not scheduled: "
	}
	var names []string
	for _, p := range b.Placements {
		names = append(names, p.Cluster)
	}
	return "stays in " + few(names) + ", not scheduled anew: "
}

// unfinished is what a template has still to do away from where it is to be: whoever switches off a cluster that he has drained
// waits for the end of that. What there is to say of it the notes on the binding say, if the problem does not.
func unfinished(object string, described Binding, scheduled *metav1.Condition) *Problem {
	switch {
	case scheduled.Reason == workv1alpha1.ScheduledNowhereElse:
		return &Problem{object, scheduled.Reason, ""}
	case len(described.Leaving) > 0:
		return &Problem{object, "Leaving", ""}
	case described.left != "":
		return notGoneProblem(described)
	}
	return nil
}

func notGoneProblem(described Binding) *Problem {
	return &Problem{described.Template.String(), "NotGone", "where it shall not be any more it is " + strings.TrimPrefix(described.left, "; ")}
}

// stillIn says from which clusters a template that is being removed is not gone, and whether they can be asked at present.
func stillIn(works map[string]work, connected map[string]bool) string {
	clusters := slices.Sorted(maps.Keys(works))
	if len(clusters) == 0 {
		return ""
	}
	var names []string
	for _, cluster := range clusters[:min(len(clusters), namedClusters)] {
		names = append(names, cluster+staleNote(Placement{Stale: !connected[cluster]}))
	}
	if more := len(clusters) - len(names); more > 0 {
		names = append(names, fmt.Sprintf("and %d more", more))
	}
	return fmt.Sprintf(", and is not gone from %s: %s", count(len(clusters), "cluster"), strings.Join(names, ", "))
}

func readyOf(p Placement) string {
	if p.Message != "" || p.Wanted == nil || p.Ready == nil {
		return cmp.Or(p.Message, "not healthy")
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
