package status

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"k8s.io/apimachinery/pkg/util/duration"
	"k8s.io/utils/ptr"
)

const (
	// shownBindings is how many bindings are listed before those that are fine are only counted.
	shownBindings = 50
	// shownClusters is the same for clusters.
	shownClusters = 50
	// shownRows is how many rows tables have whatever is in them.
	shownRows = 200
)

// Text writes the report for people: first what is not fine, then the tables. Wide lists everything
// and adds columns. Now is what ages are counted from.
func (r Report) Text(out io.Writer, now time.Time, wide bool) error {
	w := &writer{out: out}
	r.headline(w, wide)
	if !r.Fine && len(r.Remarks) > 0 {
		w.line("Worth a look:")
	}
	w.problems(r.Remarks, nil, "remark", wide)
	enumerate(w, "Claimed by no policy, so in no cluster", r.Unclaimed, wide)
	r.waiting(w, wide)
	clusters, fineClusters := r.shownClusters(wide)
	if ill := len(clusters) - shownRows; ill > 0 && !wide {
		w.table(clusterRows(clusters[:shownRows], now, wide))
		w.line("%s that are worth a look not shown; -o wide shows them.", count(ill, "cluster"))
	} else if len(clusters) > 0 {
		w.table(clusterRows(clusters, now, wide))
	}
	if fineClusters > 0 {
		w.line("%s not shown, all of them fine; -o wide shows them.", count(fineClusters, "cluster"))
	}
	bindings, fine, released := r.shown(wide)
	most := len(bindings)
	if !wide {
		most = min(most, shownRows)
	}
	if most > 0 {
		w.table(bindingRows(bindings[:most], wide))
	}
	if left := len(bindings) - most; left > 0 {
		w.line("%s that are worth a look not shown; -o wide shows them.", count(left, "binding"))
		bindings = bindings[:most]
	}
	if rows := replicaRows(bindings, wide); len(rows) > 1 {
		most := len(rows)
		if !wide {
			most = min(most, 1+shownRows)
		}
		w.table(rows[:most])
		if left := len(rows) - most; left > 0 {
			w.line("%s of replicas not shown; -o wide shows them.", count(left, "row"))
		}
	}
	if fine+released > 0 {
		w.line("")
		w.line("Not shown: %s; -o wide shows them.", strings.Join(hidden(fine, released), ", "))
	}
	return w.err
}

func (r Report) headline(w *writer, wide bool) {
	if len(r.Clusters) == 0 && len(r.Bindings) == 0 && r.Fine {
		w.line("No cluster has joined this hub yet; `windlass token create` makes a token for one.")
		return
	}
	if r.Fine {
		released, remarked := 0, len(r.Remarks)
		for _, b := range r.Bindings {
			switch {
			case b.Released:
				released++
			case b.Message != "":
				remarked++
			}
		}
		told := ""
		if released > 0 {
			told = fmt.Sprintf(", %d released", released)
		}
		if remarked > 0 {
			told += fmt.Sprintf(", %s below", count(remarked, "remark"))
		}
		w.line("All fine: %s ready, %s applied%s.", count(len(r.Clusters), "cluster"), count(len(r.Bindings)-released, "binding"), told)
		return
	}
	w.line("NOT FINE%s", r.troubled())
	w.problems(r.Problems, r.causes, "problem", wide)
}

// troubled counts what is not fine, by its sort, when there are so many clusters that the lines below do not show it at a glance.
func (r Report) troubled() string {
	if len(r.Clusters) <= singleClusters {
		return ""
	}
	var counts []string
	for i, problems := range bySort(r.Problems) {
		objects := map[string]bool{}
		for _, p := range problems {
			objects[p.Object] = true
		}
		n := len(objects)
		switch {
		case n == 0:
		case i == ofCluster:
			counts = append(counts, fmt.Sprintf("%d of %s", n, count(len(r.Clusters), "cluster")))
		case i == ofPolicy && n > 1:
			counts = append(counts, fmt.Sprintf("%d policies", n))
		case i == ofPolicy:
			counts = append(counts, "1 policy")
		default:
			counts = append(counts, count(n, "binding"))
		}
	}
	return ": " + strings.Join(counts, ", ")
}

const (
	// shownProblems is how many lines of problems are shown before they are only counted.
	shownProblems = 50
	// shownObjects is how many objects are named that have the same problem.
	shownObjects = 5
)

// The sorts of what has problems, in the order in which they are told.
const (
	ofCluster = iota
	ofPolicy
	ofBinding
	sorts
)

func bySort(problems []Problem) (sorted [sorts][]Problem) {
	for _, p := range problems {
		i := ofBinding
		switch {
		case strings.HasPrefix(p.Object, "cluster "):
			i = ofCluster
		case strings.HasPrefix(p.Object, "policy "), strings.HasPrefix(p.Object, "override policy "):
			i = ofPolicy
		}
		sorted[i] = append(sorted[i], p)
	}
	return sorted
}

// problems tells of all sorts; where there is too much, each has its share of the lines, so that none hides the others. What names one of them.
func (w *writer) problems(problems []Problem, causes map[Problem]string, what string, wide bool) {
	var lines [sorts][]string
	var told [sorts]int
	for i, some := range bySort(problems) {
		lines[i] = tell(some, causes, wide)
		told[i] = len(lines[i])
	}
	if !wide {
		told = shares(told, shownProblems)
	}
	left := 0
	for i := range lines {
		for _, line := range lines[i][:told[i]] {
			w.line("  %s", line)
		}
		left += len(lines[i]) - told[i]
	}
	if left > 0 {
		w.line("  and %s more; -o wide shows them, and so does -o json", count(left, what))
	}
}

// shares divides so many lines among those who want some: who wants fewer than an equal share leaves the rest to the others.
func shares(wanted [sorts]int, most int) (given [sorts]int) {
	order := [sorts]int{ofCluster, ofPolicy, ofBinding}
	slices.SortStableFunc(order[:], func(a, b int) int { return wanted[a] - wanted[b] })
	for n, i := range order {
		given[i] = min(wanted[i], most/(sorts-n))
		most -= given[i]
	}
	return given
}

// tell says once what is the same for several objects, and of many clusters what they have in common.
func tell(problems []Problem, causes map[Problem]string, wide bool) []string {
	common := func(p Problem) Problem { return Problem{Reason: p.Reason, Message: oneLine(causes[p])} }
	alike := map[Problem]int{}
	for _, p := range problems {
		alike[common(p)]++
	}
	var keys []Problem // of no object, and with a reason where many have it in common
	objects := map[Problem][]string{}
	for _, p := range problems {
		key := Problem{Message: oneLine(p.Message)}
		if causes[p] != "" && alike[common(p)] > singleClusters && !wide {
			key = common(p)
		}
		if objects[key] == nil {
			keys = append(keys, key)
		}
		objects[key] = append(objects[key], p.Object)
	}
	lines := make([]string, 0, len(keys))
	for _, key := range keys {
		who := firstNamed(objects[key], shownObjects, wide)
		if key.Reason != "" {
			who = manyClusters(objects[key])
		}
		lines = append(lines, who+": "+key.Message)
	}
	return lines
}

func manyClusters(objects []string) string {
	names := make([]string, 0, namedClusters)
	for _, object := range objects[:namedClusters] {
		names = append(names, strings.TrimPrefix(object, "cluster "))
	}
	return fmt.Sprintf("%d clusters (%s and %d more)", len(objects), strings.Join(names, ", "), len(objects)-len(names))
}

// firstNamed names the first few, and says how many more there are.
func firstNamed(names []string, most int, wide bool) string {
	if wide || len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
}

// shownTemplates is how many templates a line names before they are only counted.
const shownTemplates = 5

// enumerate says of templates, if there are any, what is true of them all.
func enumerate(w *writer, what string, templates []Template, wide bool) {
	if len(templates) == 0 {
		return
	}
	var names []string
	for i, t := range templates {
		if i == shownTemplates && !wide {
			names = append(names, fmt.Sprintf("and %d more (-o wide names them)", len(templates)-i))
			break
		}
		names = append(names, t.String())
	}
	w.line("%s: %s", what, strings.Join(names, ", "))
}

// waiting names templates by the policy that waits, and says for what.
func (r Report) waiting(w *writer, wide bool) {
	var causes []string
	templates := map[string][]Template{}
	for _, t := range r.Waiting {
		cause := fmt.Sprintf("In no cluster, for policy %s waits for %s", t.Policy, firstNamed(t.For, shownObjects, wide))
		if templates[cause] == nil {
			causes = append(causes, cause)
		}
		templates[cause] = append(templates[cause], t.Template)
	}
	for i, cause := range causes {
		if i == shownProblems && !wide {
			w.line("Other policies wait, too: %d; -o wide names them.", len(causes)-i)
			return
		}
		enumerate(w, cause, templates[cause], wide)
	}
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// shownClusters leaves out clusters that are fine when there are many.
func (r Report) shownClusters(wide bool) (clusters []Cluster, fine int) {
	if wide || len(r.Clusters) <= shownClusters {
		return r.Clusters, 0
	}
	for _, c := range r.Clusters {
		if c.Ready == "True" && !c.told && c.Works.Applied == c.Works.Total && c.Works.Removing == 0 && !c.guarded {
			fine++
			continue
		}
		clusters = append(clusters, c)
	}
	if len(clusters) > shownRows { // the first of them are shown: of one that never joined the row has nothing to tell
		slices.SortStableFunc(clusters, func(a, b Cluster) int { return cmp.Compare(unjoined(a), unjoined(b)) })
	}
	return clusters, fine
}

func unjoined(c Cluster) int {
	if c.Joined {
		return 0
	}
	return 1
}

func clusterRows(clusters []Cluster, now time.Time, wide bool) [][]string {
	header := []string{"CLUSTER", "READY", "VERSION", "NODES", "AGENT", "SINCE", "WORKS"}
	taints := wide || slices.ContainsFunc(clusters, func(c Cluster) bool { return c.guarded })
	if wide {
		header = append(header, "REGION", "PROVIDER")
	}
	if taints {
		header = append(header, "TAINTS")
	}
	rows := [][]string{header}
	for _, c := range clusters {
		row := []string{
			c.Name, readyCell(c), dash(c.KubernetesVersion), fmt.Sprintf("%d/%d", c.NodesReady, c.Nodes),
			dash(c.AgentVersion), since(c, now), worksCell(c.Works),
		}
		if wide {
			row = append(row, dash(c.Region), dash(c.Provider))
		}
		if taints {
			row = append(row, dash(strings.Join(c.Taints, ",")))
		}
		rows = append(rows, row)
	}
	return rows
}

// readyCell says also that a cluster's connection is lost while it counts as ready.
func readyCell(c Cluster) string {
	if c.Lost {
		return c.Ready + ",Lost"
	}
	return c.Ready
}

// since says for how long READY has been what it is. When the agent was last heard is known to the hub
// alone: what is stored changes with READY.
func since(c Cluster, now time.Time) string {
	switch {
	case !c.Joined:
		return "never joined"
	case c.Since == nil:
		return "-"
	}
	return duration.HumanDuration(now.Sub(*c.Since))
}

func worksCell(c WorkCount) string {
	cell := fmt.Sprintf("%d/%d applied", c.Applied, c.Total)
	if c.Removing > 0 {
		cell += fmt.Sprintf(", %d being removed", c.Removing)
	}
	return cell
}

// shown leaves out, when there are many, bindings of which nothing but their number is worth saying, and counts them: those
// that are fine and those that are released.
func (r Report) shown(wide bool) (bindings []Binding, fine, released int) {
	if wide || len(r.Bindings) <= shownBindings {
		return r.Bindings, 0, 0
	}
	for _, b := range r.Bindings {
		switch {
		case b.Released && !b.told:
			released++
		case b.Message == "":
			fine++
		default:
			bindings = append(bindings, b)
		}
	}
	return bindings, fine, released
}

func hidden(fine, released int) []string {
	var kinds []string
	if fine > 0 {
		kinds = append(kinds, count(fine, "fine binding"))
	}
	if released > 0 {
		kinds = append(kinds, count(released, "released binding"))
	}
	return kinds
}

func bindingRows(bindings []Binding, wide bool) [][]string {
	header := []string{"BINDING", "SCHEDULED", "CLUSTERS", "APPLIED", "HEALTHY"}
	if wide {
		header = append(header, "POLICY")
	}
	rows := [][]string{append(header, "MESSAGE")}
	for _, b := range bindings {
		n := len(b.Placements)
		row := []string{
			qualified(b.Namespace, b.Name), yesNo(b.Scheduled), clusterNames(b.Placements, wide) + leavingNote(b, wide),
			fmt.Sprintf("%d/%d", b.Applied, n), fmt.Sprintf("%d/%d", b.Healthy, n),
		}
		if wide {
			row = append(row, dash(b.Policy))
		}
		message := dash(oneLine(b.Message))
		if !wide && (b.told || b.Released && !b.changed) {
			message = shortened(message)
		}
		rows = append(rows, append(row, message))
	}
	return rows
}

// shownMessage is how much a table shows of a message that is said in full above it, or is always the same.
const shownMessage = 60

func shortened(message string) string {
	letters := []rune(message)
	if len(letters) <= shownMessage {
		return message
	}
	return strings.TrimRight(string(letters[:shownMessage-1]), " ") + "…"
}

func clusterNames(placements []Placement, wide bool) string {
	names := make([]string, 0, len(placements))
	for i, p := range placements {
		if i == namedClusters && !wide && len(placements) > namedClusters+1 {
			names = append(names, fmt.Sprintf("+%d", len(placements)-i))
			break
		}
		names = append(names, p.Cluster)
	}
	return dash(strings.Join(names, ","))
}

// leavingNote names the clusters that a template is leaving, and those from which it is not gone, beside those that it goes to.
func leavingNote(b Binding, wide bool) string {
	var notGone []string
	for _, p := range b.NotGone {
		notGone = append(notGone, p.Cluster)
	}
	return besides("leaving", b.Leaving, wide) + besides("not gone from", notGone, wide)
}

func besides(what string, clusters []string, wide bool) string {
	switch {
	case len(clusters) == 0:
		return ""
	case len(clusters) > 1 && !wide:
		return fmt.Sprintf(" (%s %d)", what, len(clusters))
	}
	return " (" + what + " " + strings.Join(clusters, ",") + ")"
}

// singleClusters is in how many clusters a workload may be for each of them to have a row. In more, those in which it is
// the same have one together.
const singleClusters = 10

// inClusters are the replicas of a workload in clusters where they are the same.
type inClusters struct {
	placements            []Placement
	wanted, ready, health string
	note                  string
}

// alike gathers clusters in which a workload is the same: those that few others are like come first, since they are what one
// looks for.
func alike(placements []Placement, apart bool) []inClusters {
	var groups []inClusters
	at := map[[4]string]int{}
	for _, p := range placements {
		group := inClusters{wanted: "-", ready: "-", health: p.Health, note: staleNote(p)}
		switch {
		case p.removed:
			group.note = " (not gone)" + group.note
		case p.leaving:
			group.note = " (leaving)" + group.note
		}
		if p.Wanted != nil {
			group.wanted = fmt.Sprint(*p.Wanted)
		}
		if p.Ready != nil {
			group.ready = fmt.Sprint(*p.Ready)
		}
		key := [4]string{group.wanted, group.ready, group.health, group.note}
		i, known := at[key]
		if !known || apart {
			i = len(groups)
			at[key] = i
			groups = append(groups, group)
		}
		groups[i].placements = append(groups[i].placements, p)
	}
	if !apart {
		slices.SortStableFunc(groups, func(a, b inClusters) int { return len(a.placements) - len(b.placements) })
	}
	return groups
}

// row is of one cluster, or of several.
func (g inClusters) row(template string) []string {
	each := ""
	if len(g.placements) > 1 {
		each = " each"
	}
	ready := g.ready
	if ready != "-" {
		ready += each
	}
	wanted := g.wanted
	if wanted != "-" {
		wanted += each
	}
	return []string{template, clusterNames(g.placements, false) + g.note, wanted, ready, g.health}
}

// withReplicas are the clusters of a workload that has replicas, and those that it is leaving or not gone from: there it has what serves
// until the others do.
func withReplicas(b Binding) []Placement {
	return slices.DeleteFunc(slices.Concat(b.Placements, b.LeavingPlacements, b.NotGone), func(p Placement) bool {
		return p.Wanted == nil && (!p.leaving || p.Ready == nil)
	})
}

// replicaRows lists the workloads that have replicas, a row for each cluster, or for those that are alike where there are
// many, and the sum.
func replicaRows(bindings []Binding, wide bool) [][]string {
	rows := [][]string{{"REPLICAS", "CLUSTER", "WANTED", "READY", "HEALTH"}}
	for _, b := range bindings {
		placements := withReplicas(b)
		var wanted, ready int64 // the sum over many clusters may be more than one can have
		for _, p := range placements {
			wanted += int64(ptr.Deref(p.Wanted, 0))
			ready += int64(ptr.Deref(p.Ready, 0))
		}
		n := len(placements)
		for _, group := range alike(placements, wide || n <= singleClusters) {
			rows = append(rows, group.row(b.Template.String()))
		}
		if n > 1 {
			rows = append(rows, []string{b.Template.String(), "all", fmt.Sprint(wanted), fmt.Sprint(ready), ""})
		}
	}
	return rows
}

func qualified(namespace, name string) string {
	if namespace == "" {
		return name
	}
	return namespace + "/" + name
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// writer keeps the first error, so that layout is not interleaved with checks.
type writer struct {
	out io.Writer
	err error
}

func (w *writer) line(format string, args ...any) {
	if w.err == nil {
		_, w.err = io.WriteString(w.out, printable(fmt.Sprintf(format, args...))+"\n")
	}
}

// printable makes what an agent has said fit for a terminal: it speaks for its own cluster only, and must not write
// over, or into, what is said of others.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, s)
}

// table writes rows in columns after an empty line. No line ends in spaces.
func (w *writer) table(rows [][]string) {
	w.line("")
	var text strings.Builder
	columns := tabwriter.NewWriter(&text, 0, 8, 3, ' ', 0)
	for _, row := range rows {
		cells := make([]string, 0, len(row))
		for _, cell := range row {
			cells = append(cells, printable(cell))
		}
		fmt.Fprintln(columns, strings.Join(cells, "\t"))
	}
	if err := columns.Flush(); err != nil && w.err == nil {
		w.err = err
	}
	for _, line := range strings.Split(strings.TrimSuffix(text.String(), "\n"), "\n") {
		w.line("%s", strings.TrimRight(line, " "))
	}
}
