// Package status alone decides what the command line says about the state of a hub: what is not
// fine, in which words, and in which order. It is pure: objects in, text out.
package status

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	clusterv1alpha1 "windlass.dev/windlass/api/cluster/v1alpha1"
	policyv1alpha1 "windlass.dev/windlass/api/policy/v1alpha1"
	workv1alpha1 "windlass.dev/windlass/api/work/v1alpha1"
	"windlass.dev/windlass/pkg/aggregate"
)

// Facts are the objects that a report is made of. Works are read in full, because a binding's own
// status lists at most 100 clusters.
type Facts struct {
	Now              time.Time
	Clusters         []clusterv1alpha1.MemberCluster
	Policies         []policyv1alpha1.PropagationPolicy
	ClusterPolicies  []policyv1alpha1.ClusterPropagationPolicy
	Overrides        []policyv1alpha1.OverridePolicy
	ClusterOverrides []policyv1alpha1.ClusterOverridePolicy
	Bindings         []workv1alpha1.PropagationBinding
	ClusterBindings  []workv1alpha1.ClusterPropagationBinding
	Works            []workv1alpha1.PropagationWork
	// Unclaimed are workloads that bear no policy's mark.
	Unclaimed []Workload
}

// Workload is a template with its labels, by which policies select it.
type Workload struct {
	Template
	Labels map[string]string
}

// Report is what is said about a hub. It is also the JSON output: fields may be added, none
// changes or goes away.
type Report struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	// Fine is true when there are no problems.
	Fine     bool      `json:"fine"`
	Problems []Problem `json:"problems"`
	// Remarks are about policies, are worth a look and are no problem: it may be meant so. Those about bindings are their messages.
	Remarks  []Problem `json:"remarks,omitempty"`
	Clusters []Cluster `json:"clusters"`
	Bindings []Binding `json:"bindings"`
	// Unclaimed are workloads on the hub that no policy claims, so that they run nowhere. That is no
	// problem by itself: a policy may be about to come.
	Unclaimed []Template `json:"unclaimed"`
	// Waiting are those of them that a policy selects and will claim as soon as the override policies are there that it names.
	Waiting []Waiting `json:"waiting,omitempty"`

	causes map[Problem]string // what is said once of many clusters that have such a problem
}

// Waiting is a template that a policy will claim when the override policies are there that it waits for.
type Waiting struct {
	Template
	// Policy is the name of the policy, with its namespace if it has one.
	Policy string `json:"policy"`
	// For are the override policies, with their kinds.
	For []string `json:"for"`
}

// Problem is one thing that is not fine, or worth a look, and where.
type Problem struct {
	// Object is the kind and name of what it is about.
	Object string `json:"object"`
	// Reason is a word for scripts; it may be empty.
	Reason string `json:"reason,omitempty"`
	// Message is a sentence for people.
	Message string `json:"message"`
}

// Cluster is one member cluster. Ready is True, False or Unknown, as of its condition.
type Cluster struct {
	Name              string     `json:"name"`
	Ready             string     `json:"ready"`
	Joined            bool       `json:"joined"`
	Connected         bool       `json:"connected"`
	Lost              bool       `json:"lost,omitempty"` // it is not connected, and Ready still: it may come back in time
	KubernetesVersion string     `json:"kubernetesVersion,omitempty"`
	NodesReady        int32      `json:"nodesReady"`
	Nodes             int32      `json:"nodes"`
	AgentVersion      string     `json:"agentVersion,omitempty"`
	Since             *time.Time `json:"since,omitempty"` // of Ready's present value
	Works             WorkCount  `json:"works"`
	Region            string     `json:"region,omitempty"`
	Provider          string     `json:"provider,omitempty"`
	Taints            []string   `json:"taints,omitempty"`
	CertificateEnds   *time.Time `json:"certificateEnds,omitempty"`

	left    string // what keeps a removal there from its end
	guarded bool   // it has a taint that somebody gave it
	told    bool   // it is among the problems
}

// WorkCount counts the works of a cluster.
type WorkCount struct {
	Total    int `json:"total"`
	Applied  int `json:"applied"`
	Removing int `json:"removing"`
}

// Binding is one template and the clusters that it goes to.
type Binding struct {
	Namespace string   `json:"namespace,omitempty"`
	Name      string   `json:"name"`
	Template  Template `json:"template"`
	Policy    string   `json:"policy,omitempty"`
	Scheduled bool     `json:"scheduled"`
	Removing  bool     `json:"removing,omitempty"`
	// Released is true when no policy claims the template any more: what the clusters have stays as it
	// is, and what goes wrong with it is nobody's wish that was not fulfilled. Only a copy that is not gone yet is a problem.
	Released   bool        `json:"released,omitempty"`
	Applied    int         `json:"applied"`
	Healthy    int         `json:"healthy"`
	Message    string      `json:"message,omitempty"`
	Placements []Placement `json:"placements"`
	// Leaving are the clusters where it still runs, and which it is leaving because of a taint.
	Leaving []string `json:"leaving,omitempty"`
	// LeavingPlacements are what it has in those of them that have a copy. Nothing is wanted there any more.
	LeavingPlacements []Placement `json:"leavingPlacements,omitempty"`
	// NotGone are what it has in clusters where its removal has begun and is not over. Nothing is wanted there any more.
	NotGone []Placement `json:"notGone,omitempty"`

	left    string // what keeps its removal from its end
	still   string // from where it is not gone
	told    bool   // its message is among the problems
	changed bool   // it is released, and its template has changed since
}

// Template names the object on the hub.
type Template struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Namespace  string `json:"namespace,omitempty"`
	Name       string `json:"name"`
}

func (t Template) String() string {
	if t.Namespace == "" {
		return t.Kind + " " + t.Name
	}
	return t.Kind + " " + t.Namespace + "/" + t.Name
}

// Placement is a template in one cluster. Wanted and Ready are replicas; they are absent for kinds
// that have none, and Ready also while the cluster has not reported.
type Placement struct {
	Cluster string `json:"cluster"`
	Wanted  *int32 `json:"wanted,omitempty"`
	Ready   *int32 `json:"ready,omitempty"`
	Applied bool   `json:"applied"`
	Health  string `json:"health"`
	Message string `json:"message,omitempty"`
	// Stale is true when the cluster is not connected: this is its last word.
	Stale bool `json:"stale,omitempty"`

	leaving bool // what is there is on its way out
	removed bool // and its removal has begun
}

// binding is either kind of binding.
type binding struct {
	workv1alpha1.Binding
	kind   string
	spec   *workv1alpha1.BindingSpec
	status *workv1alpha1.BindingStatus
}

func (f Facts) bindings() []binding {
	all := make([]binding, 0, len(f.Bindings)+len(f.ClusterBindings))
	for i := range f.Bindings {
		b := &f.Bindings[i]
		all = append(all, binding{b, "PropagationBinding", &b.Spec, &b.Status})
	}
	for i := range f.ClusterBindings {
		b := &f.ClusterBindings[i]
		all = append(all, binding{b, "ClusterPropagationBinding", &b.Spec, &b.Status})
	}
	return all
}

// work is what a report needs of a PropagationWork.
type work struct {
	cluster string
	object  *workv1alpha1.PropagationWork
}

// bindingKey names a binding as works do.
type bindingKey struct{ kind, namespace, name string }

// worksByBinding groups works by the binding that they were made for.
func (f Facts) worksByBinding() map[bindingKey]map[string]work {
	grouped := map[bindingKey]map[string]work{}
	for i := range f.Works {
		w := &f.Works[i]
		cluster, ok := strings.CutPrefix(w.Namespace, workv1alpha1.ExecutionNamespacePrefix)
		if !ok || w.Spec.Binding == nil {
			continue
		}
		key := bindingKey{w.Spec.Binding.Kind, w.Spec.Binding.Namespace, w.Spec.Binding.Name}
		if grouped[key] == nil {
			grouped[key] = map[string]work{}
		}
		grouped[key][cluster] = work{cluster, w}
	}
	return grouped
}

// applied is true when the member has the work's present content, whether that is the template's or not. A condition about an
// older generation says nothing about it.
func applied(w *workv1alpha1.PropagationWork) bool {
	condition := meta.FindStatusCondition(w.Status.Conditions, workv1alpha1.WorkApplied)
	return condition != nil && condition.Status == metav1.ConditionTrue && current(condition, w.Generation)
}

// verdicts are what a binding's own status says of its clusters: the hub alone knows whether their works have the template's
// present content.
type verdicts struct {
	items map[string]workv1alpha1.AggregatedStatusItem
	// old are contents that the template had before, by their hashes: of very many clusters the status lists only some.
	old map[string]bool
}

func verdictsOf(status *workv1alpha1.BindingStatus, works map[string]work) verdicts {
	v := verdicts{items: make(map[string]workv1alpha1.AggregatedStatusItem, len(status.AggregatedStatus)), old: map[string]bool{}}
	for _, item := range status.AggregatedStatus {
		v.items[item.ClusterName] = item
		if w := works[item.ClusterName].object; w != nil && item.AppliedMessage == aggregate.TemplateChanged {
			v.old[w.Spec.TemplateHash] = true
		}
	}
	return v
}

// against is what speaks against it that a cluster which has applied its work has what it is to have; empty for nothing.
func (v verdicts) against(cluster string, w *workv1alpha1.PropagationWork) string {
	item, listed := v.items[cluster]
	switch {
	case listed && !item.Applied:
		return cmp.Or(item.AppliedMessage, "the binding does not say so yet")
	case !listed && v.old[w.Spec.TemplateHash]:
		return aggregate.TemplateChanged
	}
	return ""
}

func current(condition *metav1.Condition, generation int64) bool {
	return condition.ObservedGeneration == 0 || condition.ObservedGeneration == generation
}

// manifestOf is the status of the template's own object; a work may carry others, such as a namespace.
func manifestOf(w *workv1alpha1.PropagationWork, template workv1alpha1.ObjectReference) *workv1alpha1.ManifestStatus {
	index := slices.IndexFunc(w.Status.ManifestStatuses, func(m workv1alpha1.ManifestStatus) bool {
		return m.Identifier.Kind == template.Kind && m.Identifier.Name == template.Name && m.Identifier.Namespace == template.Namespace
	})
	if index < 0 {
		return nil
	}
	return &w.Status.ManifestStatuses[index]
}

// readyReplicas reads the number of ready replicas from a reported status: the field of Deployments,
// StatefulSets and ReplicaSets, of DaemonSets, of Jobs, and of Pods. Of a Job the pods that have succeeded stand for those that
// are wanted and run no more; there may be more of them, for wanted is how many run at once.
func readyReplicas(m *workv1alpha1.ManifestStatus, wanted int32) *int32 {
	if m == nil || m.Status == nil || len(m.Status.Raw) == 0 {
		return nil
	}
	var status struct {
		ReadyReplicas *int32 `json:"readyReplicas"`
		NumberReady   *int32 `json:"numberReady"`
		Ready         *int32 `json:"ready"`
		Succeeded     int32  `json:"succeeded"`
		Phase         string `json:"phase"`
		Conditions    []metav1.Condition
	}
	if err := json.Unmarshal(m.Status.Raw, &status); err != nil {
		return new(int32) // a status without numbers, such as one whose ready is a word
	}
	for _, n := range []*int32{status.ReadyReplicas, status.NumberReady} {
		if n != nil {
			return n
		}
	}
	if status.Phase != "" && meta.IsStatusConditionTrue(status.Conditions, "Ready") {
		return new(int32(1))
	}
	ready := ptr.Deref(status.Ready, 0)
	ready += min(status.Succeeded, max(wanted-ready, 0))
	return &ready
}

// stateOf says in a few words what a status without replicas tells of an object that is not healthy; empty when it
// tells nothing that is known.
func stateOf(m *workv1alpha1.ManifestStatus) string {
	if m == nil || m.Status == nil || len(m.Status.Raw) == 0 {
		return ""
	}
	var status struct {
		Phase        string `json:"phase"`
		Wanted       *int32 `json:"desiredNumberScheduled"`
		Ready        int32  `json:"numberReady"`
		LoadBalancer *struct {
			Ingress []json.RawMessage `json:"ingress"`
		} `json:"loadBalancer"`
	}
	switch err := json.Unmarshal(m.Status.Raw, &status); {
	case err != nil:
		return ""
	case status.Phase != "":
		return "it is " + status.Phase
	case status.Wanted != nil:
		return fmt.Sprintf("ready on %d of %d nodes", status.Ready, *status.Wanted)
	case status.LoadBalancer != nil && len(status.LoadBalancer.Ingress) == 0:
		return "it has no address yet"
	}
	return ""
}

func policyOf(b binding) string {
	annotations := b.GetAnnotations()
	if name := annotations[workv1alpha1.PropagationPolicyNameAnnotation]; name != "" {
		return annotations[workv1alpha1.PropagationPolicyNamespaceAnnotation] + "/" + name
	}
	return annotations[workv1alpha1.ClusterPropagationPolicyNameAnnotation]
}

func templateOf(r workv1alpha1.ObjectReference) Template {
	return Template{APIVersion: r.APIVersion, Kind: r.Kind, Namespace: r.Namespace, Name: r.Name}
}

func because(reason, message string) string {
	switch {
	case message == "":
		return reason
	case reason == "":
		return message
	}
	return fmt.Sprintf("%s: %s", reason, message)
}
