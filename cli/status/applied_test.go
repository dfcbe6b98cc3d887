package status

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	workv1alpha1 "windlass.dev/windlass/api/work/v1alpha1"
	"windlass.dev/windlass/pkg/aggregate"
)

// inClustersNamed is a ConfigMap in so many clusters, each of which has applied its work, and works of the template's content.
func inClustersNamed(clusters int, content string) (Facts, *workv1alpha1.PropagationBinding) {
	facts := Facts{Now: now}
	b := boundTo(template("ConfigMap", "settings"), nil)
	for i := range clusters {
		name := fmt.Sprintf("member%d", i+1)
		facts.Clusters = append(facts.Clusters, cluster(name))
		b.Spec.Clusters = append(b.Spec.Clusters, to(name, 0))
		facts.Works = append(facts.Works, workOf(b, name, "", func(w *workv1alpha1.PropagationWork) { w.Spec.TemplateHash = content }))
	}
	facts.Bindings = []workv1alpha1.PropagationBinding{b}
	return facts, &facts.Bindings[0]
}

// asTheHubSays gives a binding the status that the hub gives it when its template has a content.
func asTheHubSays(facts Facts, b *workv1alpha1.PropagationBinding, content string) {
	in := aggregate.Input{Binding: b, TemplateHash: content, Works: map[string]*workv1alpha1.PropagationWork{}}
	for i := range facts.Works {
		in.Works[strings.TrimPrefix(facts.Works[i].Namespace, workv1alpha1.ExecutionNamespacePrefix)] = &facts.Works[i]
	}
	status, _ := aggregate.Binding(in).Status(&b.Status, metav1.Time{Time: now})
	b.Status = *status
}

// Whoever rolls out waits for .bindings[].applied, and must not be told that of what was there before.
func TestWhatCountsAsAppliedIsWhatTheBindingCounts(t *testing.T) {
	const failed = "1 of 2 clusters stay as they are, because overrides can't be made: member2: why"
	for _, test := range []struct {
		reason   string
		clusters int
		change   func(Facts, *workv1alpha1.PropagationBinding)
		want     []Problem
	}{
		{"all have the present content", 2, func(Facts, *workv1alpha1.PropagationBinding) {}, []Problem{}},
		{"an override can't be made for the new template", 2, func(facts Facts, b *workv1alpha1.PropagationBinding) {
			facts.Works[1].Spec.TemplateHash = "old"
			b.Status.Conditions = append(b.Status.Conditions, metav1.Condition{Type: workv1alpha1.BindingRendered, Status: metav1.ConditionFalse, Reason: "OverrideFailed", Message: failed})
		}, []Problem{{"ConfigMap default/settings", "NotApplied", "applied in 1 of 2 clusters: member2: OverrideFailed: " + failed}}},
		{"the works are about to be written", 2, func(facts Facts, _ *workv1alpha1.PropagationBinding) {
			facts.Works[0].Spec.TemplateHash = "old"
		}, []Problem{{"ConfigMap default/settings", "NotApplied", "applied in 1 of 2 clusters: member1: the work for the cluster is not written anew since the template has changed"}}},
		{"they are more than a binding lists", 300, func(facts Facts, _ *workv1alpha1.PropagationBinding) {
			for i := range 299 {
				facts.Works[i].Spec.TemplateHash = "old"
			}
		}, []Problem{{"ConfigMap default/settings", "NotApplied", "applied in 1 of 300 clusters: " +
			"member1: the work for the cluster is not written anew since the template has changed; " +
			"member2: the work for the cluster is not written anew since the template has changed; " +
			"member3: the work for the cluster is not written anew since the template has changed; and 296 more"}}},
		{"of very many it lists those that are not fine", 300, func(facts Facts, _ *workv1alpha1.PropagationBinding) {
			facts.Works[299].Spec.TemplateHash = "old"
		}, []Problem{{"ConfigMap default/settings", "NotApplied", "applied in 299 of 300 clusters: member300: the work for the cluster is not written anew since the template has changed"}}},
	} {
		t.Run(test.reason, func(t *testing.T) {
			facts, b := inClustersNamed(test.clusters, "new")
			test.change(facts, b)
			asTheHubSays(facts, b, "new")
			report := Make(facts)
			if diff := cmp.Diff(test.want, report.Problems); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
			got, placed := report.Bindings[0], 0
			for _, p := range got.Placements {
				if p.Applied {
					placed++
				}
			}
			if want := int(b.Status.Summary.Applied); got.Applied != want || placed != want {
				t.Errorf("applied in %d clusters, and so say the placements of %d; the binding says in %d", got.Applied, placed, want)
			}
		})
	}
}

// What the binding says is of a moment before, or nothing yet.
func TestWhatCountsAsAppliedIsWhatTheClusterHasSaidSince(t *testing.T) {
	facts, b := inClustersNamed(2, "new")
	if got := Make(facts).Bindings[0]; got.Applied != 2 {
		t.Errorf("the binding says nothing yet, and it is reported as %+v", got)
	}
	asTheHubSays(facts, b, "new")
	refused("Conflict", "it exists")(&facts.Works[0])
	if got := Make(facts).Bindings[0]; got.Applied != 1 || got.Placements[0].Message != "Conflict: it exists" {
		t.Errorf("a cluster has refused it since, and it is reported as %+v", got)
	}
}

func TestThatAReleasedTemplateHasChangedIsSaidInItsRow(t *testing.T) {
	facts, b := inClustersNamed(2, "old")
	b.Annotations = nil
	asTheHubSays(facts, b, "new")
	report := Make(facts)
	if got := report.Bindings[0]; got.Applied != 0 || !report.Fine {
		t.Errorf("fine: %t, reported as %+v", report.Fine, got)
	}
	const want = "default/settings-configmap yes member1,member2 0/2 2/2 released: no policy claims it any more, and what its clusters have stays as it is; " +
		"the template has changed since, and that does not arrive in 2 clusters"
	if lines := text(t, report, false); !slices.Contains(lines, want) {
		t.Errorf("no line is %q:\n%s", want, strings.Join(lines, "\n"))
	}
}
