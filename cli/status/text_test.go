package status

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	clusterv1alpha1 "windlass.dev/windlass/api/cluster/v1alpha1"
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

// fleet is so many clusters that are fine, and two more, of which a Deployment can't be placed and a policy claims nothing.
func fleet(clusters int, ill func(*clusterv1alpha1.MemberCluster)) Facts {
	facts := sample()
	for i := range clusters {
		facts.Clusters = append(facts.Clusters, cluster(fmt.Sprintf("edge-%03d", i), ill))
	}
	unplaced := trouble()
	facts.Policies = unplaced.Policies[1:]
	facts.Bindings = append(facts.Bindings, unplaced.Bindings[3])
	return facts
}

func waits(c *clusterv1alpha1.MemberCluster) {
	c.Status.Conditions = []metav1.Condition{{Type: clusterv1alpha1.ClusterJoined, Status: metav1.ConditionFalse, Reason: "WaitingForAgent",
		Message: "no agent has enrolled yet; run `windlass token create --cluster " + c.Name + "` and give the token to the agent in that cluster"}}
}

// nth is a number of its own for each cluster of a fleet.
func nth(c *clusterv1alpha1.MemberCluster) time.Duration {
	var n time.Duration
	fmt.Sscanf(c.Name, "edge-%d", &n)
	return n
}

func TestManyClustersWithOneCauseHaveOneLine(t *testing.T) {
	ready := func(c *clusterv1alpha1.MemberCluster) *metav1.Condition { return &c.Status.Conditions[1] }
	for _, test := range []struct {
		cause string
		ill   func(*clusterv1alpha1.MemberCluster)
		want  string
	}{
		{"no agent has enrolled", waits, "no agent has enrolled yet; run `windlass token create --cluster NAME` and give the token to the agent in that cluster"},
		{"the agent is away", func(c *clusterv1alpha1.MemberCluster) {
			lost(c)
			ready(c).LastTransitionTime = before(nth(c) * time.Minute)
		}, "not ready: the agent is not connected; see its log in the cluster"},
		{"the API server does not answer, each at its address", func(c *clusterv1alpha1.MemberCluster) {
			ready(c).Status, ready(c).Reason, ready(c).Message = metav1.ConditionFalse, "APIServerNotReady", "no answer from "+c.Name
		}, "not ready, with the reason APIServerNotReady"},
		{"the connection is lost for a moment", func(c *clusterv1alpha1.MemberCluster) {
			ready(c).Reason = clusterv1alpha1.ReadyConnectionLost
			ready(c).Message = fmt.Sprintf("the connection to the agent is lost since 11:%02d; not ready from 12:00 on if it does not come back", nth(c)/10)
		}, "the connection to the agent is lost"},
		{"the certificate ends", func(c *clusterv1alpha1.MemberCluster) {
			c.Status.Agent.CertificateExpiresAt = &metav1.Time{Time: now.Add((1 + nth(c)) * time.Hour)}
		}, "their agents' certificates end within two weeks and were not renewed"},
		{"the certificate has ended", func(c *clusterv1alpha1.MemberCluster) {
			c.Status.Agent.CertificateExpiresAt = &metav1.Time{Time: now.Add(-nth(c) * time.Hour)}
		}, "their agents' certificates have ended: `windlass token create --cluster NAME --rejoin` makes a token by which it comes back"},
		{"a node is not ready", func(c *clusterv1alpha1.MemberCluster) {
			c.Status.NodeSummary.TotalNum = 3 + int32(nth(c))
		}, "not all nodes are ready"},
		{"it is on its way out", func(c *clusterv1alpha1.MemberCluster) {
			c.DeletionTimestamp = &metav1.Time{Time: now.Add(-nth(c) * time.Minute)}
		}, "it is being removed"},
	} {
		t.Run(test.cause, func(t *testing.T) {
			report := Make(fleet(300, test.ill))
			want := []string{
				"NOT FINE: 300 of 302 clusters, 1 policy, 1 binding",
				"300 clusters (edge-000, edge-001, edge-002 and 297 more): " + test.want,
				"policy shop/typo: no object on the hub matches its resourceSelectors",
				"Deployment default/batch: not scheduled: no cluster fits: member1 is not in region us; member2 is not in region us",
				"",
			}
			if lines := text(t, report, false); !slices.Equal(lines[:len(want)], want) {
				t.Errorf("it begins with\n%s\nwant\n%s", strings.Join(lines[:len(want)], "\n"), strings.Join(want, "\n"))
			}
			if lines := text(t, report, true); len(report.Problems) != 302 || !slices.ContainsFunc(lines, func(line string) bool { return strings.Contains(line, "cluster edge-299: ") }) {
				t.Errorf("the JSON has %d problems; -o wide begins with\n%s", len(report.Problems), strings.Join(lines[:len(want)], "\n"))
			}
		})
	}
}

func TestFewClustersOfManyWithOneCauseHaveALineEach(t *testing.T) {
	facts := fleet(2, waits)
	for i := range 300 {
		facts.Clusters = append(facts.Clusters, cluster(fmt.Sprintf("fine-%03d", i)))
	}
	lines := text(t, Make(facts), false)
	want := []string{"NOT FINE: 2 of 304 clusters, 1 policy, 1 binding",
		"cluster edge-000: no agent has enrolled yet; run `windlass token create --cluster edge-000` and give the token to the agent in that cluster",
		"cluster edge-001: no agent has enrolled yet; run `windlass token create --cluster edge-001` and give the token to the agent in that cluster"}
	if !slices.Equal(lines[:3], want) {
		t.Errorf("it begins with\n%s", strings.Join(lines[:3], "\n"))
	}
}

// A removal that waits for a person has a command in each cluster, so it is not told of many at once.
func TestNoSortOfProblemsHidesTheOthers(t *testing.T) {
	held := func(c *clusterv1alpha1.MemberCluster) {
		c.Status.Conditions = append(c.Status.Conditions, metav1.Condition{Type: clusterv1alpha1.ClusterDeletionsHeld, Status: metav1.ConditionTrue,
			Message: "deletions wait; confirm them in " + c.Name})
	}
	facts := fleet(300, held)
	one := facts.Policies[0]
	for i := range 20 {
		one.Name, one.Status.Conditions = fmt.Sprint("p", i), slices.Clone(one.Status.Conditions)
		one.Status.Conditions[0].Message = fmt.Sprint("no object has the name ", i)
		facts.Policies = append(facts.Policies, one)
	}
	beginnings := func(lines []string) map[string]int {
		counted := map[string]int{}
		for _, line := range lines[1:slices.Index(lines, "")] {
			counted[strings.Fields(line)[0]]++
		}
		return counted
	}
	lines := text(t, Make(facts), false)
	// One binding leaves the others what it does not need.
	if got, want := beginnings(lines), map[string]int{"cluster": 28, "policy": 21, "Deployment": 1, "and": 1}; !maps.Equal(got, want) {
		t.Errorf("of each sort it has %v lines, want %v", got, want)
	}
	if want := "NOT FINE: 300 of 302 clusters, 21 policies, 1 binding"; lines[0] != want {
		t.Errorf("it begins with %q, want %q", lines[0], want)
	}
	facts = fleet(300, held)
	for i := range 100 {
		facts.Bindings = append(facts.Bindings, boundTo(template("ConfigMap", fmt.Sprint("c", i)), nil, to("member1", 0)))
		facts.Bindings[len(facts.Bindings)-1].Status.Conditions[0].Status = metav1.ConditionFalse
		facts.Bindings[len(facts.Bindings)-1].Status.Conditions[0].Message = fmt.Sprint("why ", i)
	}
	lines = text(t, Make(facts), false)
	if got, want := beginnings(lines), map[string]int{"cluster": 25, "policy": 1, "Deployment": 1, "ConfigMap": 23, "and": 1}; !maps.Equal(got, want) {
		t.Errorf("of each sort it has %v lines, want %v", got, want)
	}
	if want := "and 352 problems more; -o wide shows them, and so does -o json"; !slices.Contains(lines, want) {
		t.Errorf("no line is %q", want)
	}
}

func TestTheTableOfClustersIsBoundedThoughNoneIsFine(t *testing.T) {
	lines := text(t, Make(fleet(300, func(c *clusterv1alpha1.MemberCluster) { c.Status.NodeSummary.ReadyNum = 1 })), false)
	if want := "100 clusters that are worth a look not shown; -o wide shows them."; !slices.Contains(lines, want) {
		t.Errorf("no line is %q", want)
	}
}

func TestClustersThatNeverJoinedDoNotPushAnotherOutOfTheTable(t *testing.T) {
	facts := fleet(300, waits)
	facts.Clusters = append(facts.Clusters, cluster("zone-1", func(c *clusterv1alpha1.MemberCluster) { c.Status.NodeSummary.ReadyNum = 1 }))
	if lines := text(t, Make(facts), false); !slices.ContainsFunc(lines, func(line string) bool { return strings.HasPrefix(line, "zone-1 ") }) {
		t.Errorf("no row is of the one cluster that has joined and is ill:\n%s", strings.Join(lines, "\n"))
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
		"NOT FINE: 3000 bindings",
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
