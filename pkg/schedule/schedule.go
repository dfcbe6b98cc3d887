// Package schedule is responsible for one decision: which clusters a template goes to, with how many
// replicas, and why every other cluster is refused.
package schedule

import (
	"slices"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"

	workv1alpha1 "windlass.dev/windlass/api/work/v1alpha1"
)

// Template is what a decision takes from the template itself.
type Template struct {
	Kind schema.GroupVersionKind
	UID  types.UID // spreads the remainders of divisions over the clusters
}

// Facts are everything that a decision is made from. Nothing in them is changed.
type Facts struct {
	Template  Template
	Replicas  *int32                       // what the template asks for; nil for a kind without replicas
	Placement *Placement                   // nil: all clusters, each with all replicas
	Fleet     *Fleet                       // all clusters; an empty fleet leaves the template without a place
	Current   []workv1alpha1.TargetCluster // where the template goes now
	KeepEmpty bool                         // send a workload also to clusters where it gets no replica, and which don't have it
}

// Reasons of a Decision, which are those of the Scheduled condition.
const (
	ReasonSuccess         = "Success"
	ReasonClustersLeftOut = workv1alpha1.ScheduledClustersLeftOut
	ReasonNoClusterFit    = "NoClusterFit"
	// ReasonSchedulerError is for a placement that can't be compiled: there is no decision then, and
	// the template stays where it is.
	ReasonSchedulerError = "SchedulerError"
)

// Decision says where a template goes.
type Decision struct {
	Clusters  []workv1alpha1.TargetCluster // sorted by name; empty when no cluster fits, which takes the template out of all
	Scheduled bool
	Reason    string
	Message   string // a sentence for the Scheduled condition; with ReasonSuccess it does not depend on the size of the fleet
	Refused   []Refusal
}

// Refusal says why a cluster is not used. Refusals are sorted by cluster.
type Refusal struct {
	Cluster string
	Rule    Rule
	Message string // follows the cluster's name: "has the untolerated taint gpu:NoSchedule"
}

// Decide places a template. The same facts always give the same decision, in the same order.
func Decide(facts Facts) Decision {
	if facts.Fleet.Len() == 0 {
		return Decision{Reason: ReasonNoClusterFit, Message: "no cluster is attached to this hub"}
	}
	p := newProblem(&facts)
	fit, refused := p.filter(filters)
	if len(fit) == 0 {
		return noClusterFits(p, refused)
	}
	chosen := p.choose(fit)
	decision := p.divide(chosen)
	if doubts := p.leftWithout(chosen, decision.Clusters) + p.strangers(); doubts != "" {
		decision.Reason = ReasonClustersLeftOut
		decision.Message += doubts
	}
	decision.Refused = refusals(refused)
	return decision
}

// problem is a decision that is being made.
type problem struct {
	*Facts
	view         *view
	serves       []bool   // by position in the fleet
	current      []string // sorted names of the clusters in Current
	doesNotServe *cause
	apisUnknown  *cause
}

func newProblem(facts *Facts) *problem {
	p := &problem{Facts: facts}
	if p.Placement == nil {
		p.Placement = everywhere
	}
	p.view = p.Placement.on(p.Fleet)
	p.serves = p.Fleet.serving(p.Template.Kind)
	if len(facts.Current) > 0 {
		p.current = make([]string, len(facts.Current))
		for i := range facts.Current {
			p.current[i] = facts.Current[i].Name
		}
		slices.Sort(p.current)
	}
	kind := facts.Template.Kind.GroupVersion().String() + " " + facts.Template.Kind.Kind
	p.doesNotServe = newCause(RuleAPIEnablement, "does not serve "+kind, "do not serve "+kind)
	p.apisUnknown = newCause(RuleAPIEnablement, "is not known to serve "+kind+" yet", "are not known to serve "+kind+" yet")
	return p
}

// choose takes those of the fitting clusters that are used: all of them, as nothing limits their
// number.
func (p *problem) choose(fit []int) []int { return fit }

func (p *problem) isCurrent(cluster string) bool {
	_, found := slices.BinarySearch(p.current, cluster)
	return found
}

// A Fleet is all clusters of the hub. It is immutable and safe for concurrent use.
type Fleet struct {
	clusters []*Cluster // sorted by name
	byKind   sync.Map   // schema.GroupVersionKind → []bool: what serving found out
}

// NewFleet makes a fleet. It keeps no reference to the slice.
func NewFleet(clusters []*Cluster) *Fleet {
	sorted := slices.Clone(clusters)
	slices.SortFunc(sorted, func(a, b *Cluster) int { return strings.Compare(a.name, b.name) })
	return &Fleet{clusters: sorted}
}

// Len is the number of clusters. A nil fleet has none.
func (f *Fleet) Len() int {
	if f == nil {
		return 0
	}
	return len(f.clusters)
}

// unknown returns, sorted, those of the names that no cluster has.
func (f *Fleet) unknown(names sets.Set[string]) []string {
	return slices.DeleteFunc(sets.List(names), func(name string) bool {
		_, known := slices.BinarySearchFunc(f.clusters, name, func(c *Cluster, name string) int { return strings.Compare(c.name, name) })
		return known
	})
}

// serving says, by position, which clusters serve a kind. The fleet remembers the answer: templates
// are many and their kinds few.
func (f *Fleet) serving(kind schema.GroupVersionKind) []bool {
	if known, found := f.byKind.Load(kind); found {
		return known.([]bool)
	}
	serves := make([]bool, len(f.clusters))
	for i, c := range f.clusters {
		_, serves[i] = c.apis[kind]
	}
	f.byKind.Store(kind, serves)
	return serves
}
