package status

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"k8s.io/apimachinery/pkg/util/duration"
)

// shownBindings is how many bindings are listed before those that are fine are only counted.
const shownBindings = 50

// Text writes the report for people: first what is not fine, then the tables. Wide lists everything
// and adds columns. Now is what ages are counted from.
func (r Report) Text(out io.Writer, now time.Time, wide bool) error {
	w := &writer{out: out}
	r.headline(w)
	enumerate(w, "Claimed by no policy, so in no cluster", r.Unclaimed, wide)
	enumerate(w, "In no cluster before the override policies are there that their policy names", r.Waiting, wide)
	if len(r.Clusters) > 0 {
		w.table(r.clusterRows(now, wide))
	}
	bindings, fine, released := r.shown(wide)
	if len(bindings) > 0 {
		w.table(bindingRows(bindings, wide))
	}
	if rows := replicaRows(bindings); len(rows) > 1 {
		w.table(rows)
	}
	if fine+released > 0 {
		w.line("")
		w.line("Not shown: %s; -o wide shows them.", strings.Join(hidden(fine, released), ", "))
	}
	return w.err
}

func (r Report) headline(w *writer) {
	if len(r.Clusters) == 0 && len(r.Bindings) == 0 && r.Fine {
		w.line("No cluster has joined this hub yet; `windlass token create` makes a token for one.")
		return
	}
	if r.Fine {
		released, remarked := 0, 0
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
	w.line("NOT FINE")
	for _, problem := range r.Problems {
		w.line("  %s: %s", problem.Object, oneLine(problem.Message))
	}
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

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

func (r Report) clusterRows(now time.Time, wide bool) [][]string {
	header := []string{"CLUSTER", "READY", "VERSION", "NODES", "AGENT", "SINCE", "WORKS"}
	taints := wide || slices.ContainsFunc(r.Clusters, func(c Cluster) bool { return c.guarded })
	if wide {
		header = append(header, "REGION", "PROVIDER")
	}
	if taints {
		header = append(header, "TAINTS")
	}
	rows := [][]string{header}
	for _, c := range r.Clusters {
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
		case b.Released:
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
		if !wide {
			message = shortened(message)
		}
		rows = append(rows, append(row, message))
	}
	return rows
}

// shownMessage is how much of a message a table shows: what is not fine is said in full above it.
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

// leavingNote names the clusters that a template is leaving, beside those that it goes to.
func leavingNote(b Binding, wide bool) string {
	if len(b.Leaving) == 0 {
		return ""
	}
	if len(b.Leaving) > 1 && !wide {
		return fmt.Sprintf(" (leaving %d)", len(b.Leaving))
	}
	return " (leaving " + strings.Join(b.Leaving, ",") + ")"
}

// replicaRows lists the workloads that have replicas, a row for each cluster, and the sum.
func replicaRows(bindings []Binding) [][]string {
	rows := [][]string{{"REPLICAS", "CLUSTER", "WANTED", "READY", "HEALTH"}}
	for _, b := range bindings {
		var wanted, ready int64 // the sum over many clusters may be more than one can have
		n := 0
		for _, p := range b.Placements {
			if p.Wanted == nil {
				continue
			}
			n++
			wanted += int64(*p.Wanted)
			readyCell := "-"
			if p.Ready != nil {
				ready += int64(*p.Ready)
				readyCell = fmt.Sprint(*p.Ready)
			}
			rows = append(rows, []string{b.Template.String(), p.Cluster + staleNote(p), fmt.Sprint(*p.Wanted), readyCell, p.Health})
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
		_, w.err = fmt.Fprintf(w.out, format+"\n", args...)
	}
}

// table writes rows in columns after an empty line. No line ends in spaces.
func (w *writer) table(rows [][]string) {
	w.line("")
	var text strings.Builder
	columns := tabwriter.NewWriter(&text, 0, 8, 3, ' ', 0)
	for _, row := range rows {
		fmt.Fprintln(columns, strings.Join(row, "\t"))
	}
	if err := columns.Flush(); err != nil && w.err == nil {
		w.err = err
	}
	for _, line := range strings.Split(strings.TrimSuffix(text.String(), "\n"), "\n") {
		w.line("%s", strings.TrimRight(line, " "))
	}
}
