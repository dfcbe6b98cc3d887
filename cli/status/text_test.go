package status

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"k8s.io/utils/ptr"
)

// text is the report as people read it, with single spaces.
func text(t *testing.T, r Report, wide bool) []string {
	t.Helper()
	var out bytes.Buffer
	if err := r.Text(&out, time.Time{}, wide); err != nil {
		t.Fatal(err)
	}
	var lines []string
	for line := range strings.Lines(out.String()) {
		lines = append(lines, strings.Join(strings.Fields(line), " "))
	}
	return lines
}

// inMany is a Deployment in so many clusters, two replicas in each.
func inMany(name string, clusters int) Binding {
	b := Binding{Namespace: "shop", Name: name + "-deployment", Scheduled: true, Template: Template{Kind: "Deployment", Namespace: "shop", Name: name}}
	for i := range clusters {
		b.Placements = append(b.Placements, Placement{Cluster: fmt.Sprintf("c%03d", i), Wanted: ptr.To[int32](2), Ready: ptr.To[int32](2), Health: "Healthy"})
	}
	return b
}

func TestClustersInWhichAWorkloadIsTheSameHaveOneRowWhenThereAreMany(t *testing.T) {
	b := inMany("web", 800)
	b.Placements[17].Ready, b.Placements[17].Health = ptr.To[int32](1), "Unhealthy"
	b.Placements[18].Stale = true
	lines := text(t, Report{Bindings: []Binding{b}}, false)
	at := slices.IndexFunc(lines, func(line string) bool { return strings.HasPrefix(line, "REPLICAS") })
	want := []string{
		"REPLICAS CLUSTER WANTED READY HEALTH",
		"Deployment shop/web c017 2 1 Unhealthy",
		"Deployment shop/web c018 (not connected) 2 2 Healthy",
		"Deployment shop/web c000,c001,c002,+795 2 each 2 each Healthy",
		"Deployment shop/web all 1600 1599",
	}
	if got := lines[at:]; !slices.Equal(got, want) {
		t.Errorf("the table is\n%s", strings.Join(got, "\n"))
	}
	if lines := text(t, Report{Bindings: []Binding{b}}, true); len(lines) < 800 {
		t.Errorf("-o wide has %d lines", len(lines))
	}
}

func TestWhatAnAgentSaysStaysInItsPlace(t *testing.T) {
	const clear, row = "\x1b[2J", "v1.37\nall-is-well\tTrue\v\u202e\x9b"
	facts := sample()
	facts.Clusters[1].Status.KubernetesVersion, facts.Clusters[1].Status.Agent.Version = row, clear
	facts.Works[1] = workOf(facts.Bindings[1], "member2", "", refused("No"+clear, "no\x07 right"))
	var out bytes.Buffer
	if err := Make(facts).Text(&out, now, true); err != nil {
		t.Fatal(err)
	}
	if i := strings.IndexFunc(out.String(), func(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }); i >= 0 {
		t.Errorf("the terminal is sent %q", out.String()[i:min(i+20, out.Len())])
	}
	for _, line := range strings.Split(out.String(), "\n") {
		if strings.HasPrefix(line, "all-is-well") {
			t.Errorf("a cluster has written a row of its own: %q", line)
		}
	}
	if !strings.Contains(out.String(), "No?[2J: no? right") {
		t.Errorf("what can be shown is not:\n%s", out.String())
	}
	explained := Explanation{Message: "it fits" + clear, Refusals: []Refusal{{Rule: "Room", Message: "has " + clear, Clusters: []string{"a"}}}}
	out.Reset()
	if err := explained.Text(&out, true); err != nil || strings.Contains(out.String(), "\x1b") {
		t.Errorf("error %v; the placement is %q", err, out.String())
	}
}

func TestWhatIsShownIsBoundedAndSaysHowToSeeTheRest(t *testing.T) {
	var r Report
	for i := range 3000 {
		b := inMany(fmt.Sprintf("web-%d", i), 9)
		b.Message = "worth a look"
		r.Bindings = append(r.Bindings, b)
		r.Problems = append(r.Problems, Problem{Object: "Deployment shop/" + b.Name, Message: "held back: see cluster member1"},
			Problem{Object: "Deployment shop/" + b.Name, Message: fmt.Sprint("trouble ", i)})
		r.Clusters = append(r.Clusters, Cluster{Name: fmt.Sprint("c", i), Joined: true, Ready: "True"})
	}
	r.Clusters[7].Works = WorkCount{Total: 1}
	lines := text(t, r, false)
	for _, want := range []string{
		"NOT FINE",
		"Deployment shop/web-0-deployment, Deployment shop/web-1-deployment, Deployment shop/web-2-deployment, Deployment shop/web-3-deployment, Deployment shop/web-4-deployment and 2995 more: held back: see cluster member1",
		"and 2951 problems more; -o wide shows them, and so does -o json",
		"2999 clusters not shown, all of them fine; -o wide shows them.",
		"c7 True - 0/0 - - 0/1 applied",
		"2800 bindings that are worth a look not shown; -o wide shows them.",
		"1800 rows of replicas not shown; -o wide shows them.",
	} {
		if !slices.Contains(lines, want) {
			t.Errorf("no line is %q", want)
		}
	}
	if len(lines) > 1000 {
		t.Errorf("there are %d lines:\n%s", len(lines), strings.Join(lines[:100], "\n"))
	}
	if wide := text(t, r, true); len(wide) < 10*3000 || slices.ContainsFunc(wide, func(line string) bool { return strings.Contains(line, "not shown") }) {
		t.Errorf("-o wide leaves something out: it has %d lines", len(wide))
	}
}
