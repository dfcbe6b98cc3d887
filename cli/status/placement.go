package status

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	workv1alpha1 "windlass.dev/windlass/api/work/v1alpha1"
	"windlass.dev/windlass/pkg/aggregate"
)

// Explanation is what is said about where a template goes. It is also the JSON output: fields may be added, none changes or
// goes away.
type Explanation struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	// Namespace and Name are those of the binding.
	Namespace string   `json:"namespace,omitempty"`
	Name      string   `json:"name"`
	Template  Template `json:"template"`
	Replicas  *int32   `json:"replicas,omitempty"`
	Scheduled bool     `json:"scheduled"`
	Reason    string   `json:"reason"`
	Message   string   `json:"message"`
	// AffinityGroup is the one that clusters were chosen from.
	AffinityGroup string `json:"affinityGroup,omitempty"`
	// Pending is true when the binding does not say so yet.
	Pending bool `json:"pending,omitempty"`
	// Remarks are about the whole.
	Remarks  []string `json:"remarks,omitempty"`
	Clusters []Chosen `json:"clusters"`
	// Leaving are clusters that still have it, and are not among Clusters.
	Leaving  []Left    `json:"leaving,omitempty"`
	Refusals []Refusal `json:"refusals"`
	// Room is there when it decides.
	Room []Room `json:"room,omitempty"`
}

// Chosen is a cluster that a template goes to. Replicas are absent for kinds without.
type Chosen struct {
	Cluster  string `json:"cluster"`
	Replicas *int32 `json:"replicas,omitempty"`
	// OverflowGroup is the one of overflowAffinities that the cluster was chosen from.
	OverflowGroup string `json:"overflowGroup,omitempty"`
	// WorkReplicas are those in the work of the cluster, where they are others.
	WorkReplicas *int32 `json:"workReplicas,omitempty"`
	// Message follows the name of the cluster.
	Message string `json:"message,omitempty"`
}

// Left is a cluster that a template does not go to any more and that still has it.
type Left struct {
	Cluster      string `json:"cluster"`
	WorkReplicas *int32 `json:"workReplicas,omitempty"`
	Message      string `json:"message"`
}

// Refusal is a reason why clusters are not chosen.
type Refusal struct {
	AffinityGroup string   `json:"affinityGroup,omitempty"`
	Rule          string   `json:"rule"`
	Message       string   `json:"message"`
	Clusters      []string `json:"clusters"`
}

// Room is for how many replicas more there is room in a cluster; Replicas are absent when it has not reported.
type Room struct {
	Cluster  string `json:"cluster"`
	Replicas *int32 `json:"replicas,omitempty"`
	Source   string `json:"source"`
	Message  string `json:"message,omitempty"`
}

// Explain makes the explanation of the hub's answer.
func Explain(answer *workv1alpha1.BindingPlacement) Explanation {
	e := Explanation{
		APIVersion: APIVersion, Kind: "Placement", Namespace: answer.Namespace, Name: answer.Name, Template: templateOf(answer.Resource),
		Replicas: answer.Replicas, Scheduled: answer.Scheduled, Reason: answer.Reason, Message: answer.Message,
		AffinityGroup: answer.AffinityGroup, Pending: answer.Pending, Remarks: answer.Remarks, Clusters: []Chosen{}, Refusals: []Refusal{},
	}
	details := map[string]workv1alpha1.PlacementDetail{}
	for _, detail := range answer.Details {
		details[detail.Cluster] = detail
	}
	for _, target := range answer.Clusters {
		detail := details[target.Name]
		delete(details, target.Name)
		chosen := Chosen{Cluster: target.Name, OverflowGroup: detail.OverflowGroup, WorkReplicas: detail.WorkReplicas, Message: detail.Message}
		if answer.Replicas != nil {
			chosen.Replicas = new(target.Replicas)
		}
		e.Clusters = append(e.Clusters, chosen)
	}
	for _, cluster := range slices.Sorted(maps.Keys(details)) {
		e.Leaving = append(e.Leaving, Left{cluster, details[cluster].WorkReplicas, details[cluster].Message})
	}
	for _, refusal := range answer.Refusals {
		e.Refusals = append(e.Refusals, Refusal(refusal))
	}
	for _, room := range answer.Room {
		e.Room = append(e.Room, Room(room))
	}
	return e
}

// Only is what the explanation says of one cluster; found is false when that is nothing.
func (e Explanation) Only(cluster string) (only Explanation, found bool) {
	e.Clusters = slices.DeleteFunc(slices.Clone(e.Clusters), func(c Chosen) bool { return c.Cluster != cluster })
	e.Leaving = slices.DeleteFunc(slices.Clone(e.Leaving), func(l Left) bool { return l.Cluster != cluster })
	e.Room = slices.DeleteFunc(slices.Clone(e.Room), func(r Room) bool { return r.Cluster != cluster })
	refusals := []Refusal{}
	for _, refusal := range e.Refusals {
		if slices.Contains(refusal.Clusters, cluster) {
			refusal.Clusters = []string{cluster}
			refusals = append(refusals, refusal)
		}
	}
	e.Refusals = refusals
	return e, len(e.Clusters)+len(e.Leaving)+len(e.Refusals) > 0
}

// Text writes the explanation for people. Wide has a row for every cluster.
func (e Explanation) Text(out io.Writer, wide bool) error {
	w := &writer{out: out}
	w.line("%s: %s", e.Template, e.verdict())
	if e.Pending {
		w.line("That is decided now, and not in the binding %s yet.", qualified(e.Namespace, e.Name))
	}
	for _, remark := range e.Remarks {
		w.line("Note: %s", oneLine(remark))
	}
	room := e.roomByCluster()
	if len(e.Clusters)+len(e.Leaving) > 0 {
		w.rows(e.chosenRows(room, wide), wide)
	}
	if len(e.Refusals) > 0 {
		w.rows(e.refusalRows(room, wide), wide)
	}
	return w.err
}

// rows writes a table of which the first rows are shown, or all.
func (w *writer) rows(rows [][]string, all bool) {
	most := len(rows)
	if !all {
		most = min(most, 1+shownRows)
	}
	w.table(rows[:most])
	if left := len(rows) - most; left > 0 {
		w.line("%s not shown; -o wide shows them.", count(left, "row"))
	}
}

func (e Explanation) verdict() string {
	message := oneLine(e.Message)
	switch {
	case e.Scheduled, e.Reason == aggregate.ReasonRemoving:
		return message
	case len(e.Clusters) > 0:
		return "stays where it is, not scheduled: " + message
	}
	return "not scheduled: " + message
}

// about is said of room that only the sums over all nodes are known of.
const about = "about "

// roomByCluster is empty when room does not decide.
func (e Explanation) roomByCluster() map[string]string {
	room := map[string]string{}
	for _, r := range e.Room {
		switch {
		case r.Replicas == nil:
			room[r.Cluster] = "unknown"
		case r.Source == "Summary":
			room[r.Cluster] = fmt.Sprintf("%s%d", about, *r.Replicas)
		default:
			room[r.Cluster] = fmt.Sprint(*r.Replicas)
		}
	}
	return room
}

// chosenRow is of one cluster, or of several of which the same is true.
type chosenRow struct {
	clusters                         []string
	replicas, inWork, overflow, note string
	room                             []string
}

// chosenRows has a row for each cluster that has the template or gets it, or one for those that are alike where there are many. Columns
// in which there would be nothing are left out.
func (e Explanation) chosenRows(room map[string]string, wide bool) [][]string {
	rows := e.chosen(room, wide)
	columns := []struct {
		header string
		cell   func(chosenRow) string
		shown  bool
	}{
		{"CLUSTER", func(r chosenRow) string { return shortList(r.clusters, wide) }, true},
		{"REPLICAS", func(r chosenRow) string { return r.replicas + each(r.clusters) }, e.Replicas != nil},
		{"IN WORK", func(r chosenRow) string { return r.inWork + each(r.clusters) }, slices.ContainsFunc(rows, func(r chosenRow) bool { return r.inWork != r.replicas })},
		{"OVERFLOW", func(r chosenRow) string { return dash(r.overflow) }, slices.ContainsFunc(rows, func(r chosenRow) bool { return r.overflow != "" })},
		{"ROOM FOR MORE", func(r chosenRow) string { return roomRange(r.room) }, len(room) > 0},
		{"NOTE", func(r chosenRow) string { return dash(r.note) }, slices.ContainsFunc(rows, func(r chosenRow) bool { return r.note != "" })},
	}
	table := make([][]string, 1+len(rows))
	for _, column := range columns {
		if !column.shown {
			continue
		}
		table[0] = append(table[0], column.header)
		for i, row := range rows {
			table[1+i] = append(table[1+i], column.cell(row))
		}
	}
	return table
}

// chosen gathers what is said of the clusters. Where there are many, those that few others are like come first, since they are what one looks for.
func (e Explanation) chosen(room map[string]string, apart bool) []chosenRow {
	apart = apart || len(e.Clusters)+len(e.Leaving) <= singleClusters
	var rows []chosenRow
	at := map[[4]string]int{}
	add := func(cluster string, row chosenRow) {
		key := [4]string{row.replicas, row.inWork, row.overflow, row.note}
		i, known := at[key]
		if !known || apart {
			i = len(rows)
			at[key] = i
			rows = append(rows, row)
		}
		rows[i].clusters = append(rows[i].clusters, cluster)
		if known := room[cluster]; known != "" {
			rows[i].room = append(rows[i].room, known)
		}
	}
	for _, c := range e.Clusters {
		row := chosenRow{overflow: c.OverflowGroup, note: oneLine(c.Message)}
		if c.Replicas != nil {
			row.replicas = fmt.Sprint(*c.Replicas)
		}
		row.inWork = row.replicas
		if c.WorkReplicas != nil {
			row.inWork = fmt.Sprint(*c.WorkReplicas)
		}
		add(c.Cluster, row)
	}
	for _, l := range e.Leaving {
		row := chosenRow{note: oneLine(l.Message)}
		if e.Replicas != nil {
			row.replicas, row.inWork = "0", "0"
		}
		if l.WorkReplicas != nil {
			row.inWork = fmt.Sprint(*l.WorkReplicas)
		}
		add(l.Cluster, row)
	}
	if !apart {
		slices.SortStableFunc(rows, func(a, b chosenRow) int { return cmp.Compare(len(a.clusters), len(b.clusters)) })
	}
	return rows
}

// each is said of a number that is the same in several clusters.
func each(clusters []string) string {
	if len(clusters) > 1 {
		return " each"
	}
	return ""
}

// shortList names a few clusters and counts the others.
func shortList(clusters []string, all bool) string {
	if all || len(clusters) <= namedClusters+1 {
		return strings.Join(clusters, ", ")
	}
	return fmt.Sprintf("%s, +%d", strings.Join(clusters[:namedClusters], ", "), len(clusters)-namedClusters)
}

// roomRange is the room in clusters: what it is in one, and from the least to the most in several.
func roomRange(rooms []string) string {
	if len(rooms) == 0 {
		return "-"
	}
	least, most, unknown := -1, -1, 0
	for _, room := range rooms {
		n, err := strconv.Atoi(strings.TrimPrefix(room, about))
		if err != nil {
			unknown++
			continue
		}
		if least < 0 || n < least {
			least = n
		}
		most = max(most, n)
	}
	switch {
	case len(rooms) == 1 || unknown == len(rooms):
		return rooms[0]
	case least == most:
		return fmt.Sprintf("%d each", least)
	case unknown > 0:
		return fmt.Sprintf("%d to %d, unknown in %d", least, most, unknown)
	}
	return fmt.Sprintf("%d to %d", least, most)
}

// refusalRows has a row for each reason, or, wide, for each cluster. The affinity group is told where several were tried.
func (e Explanation) refusalRows(room map[string]string, wide bool) [][]string {
	grouped := slices.ContainsFunc(e.Refusals, func(r Refusal) bool { return r.AffinityGroup != e.Refusals[0].AffinityGroup })
	var rows [][]string
	add := func(group string, row ...string) {
		if grouped {
			row = append([]string{dash(group)}, row...)
		}
		rows = append(rows, row)
	}
	switch {
	case !wide:
		add("GROUP", "REFUSED", "RULE", "BECAUSE IT", "CLUSTERS")
	case len(room) > 0:
		add("GROUP", "REFUSED", "ROOM", "RULE", "BECAUSE IT")
	default:
		add("GROUP", "REFUSED", "RULE", "BECAUSE IT")
	}
	for _, refusal := range e.Refusals {
		message := oneLine(refusal.Message)
		if !wide {
			add(refusal.AffinityGroup, fmt.Sprint(len(refusal.Clusters)), refusal.Rule, message, shortList(withRoom(refusal.Clusters, room), false))
			continue
		}
		for _, cluster := range refusal.Clusters {
			if len(room) > 0 {
				add(refusal.AffinityGroup, cluster, dash(room[cluster]), refusal.Rule, message)
			} else {
				add(refusal.AffinityGroup, cluster, refusal.Rule, message)
			}
		}
	}
	return rows
}

// withRoom names clusters with their room where that decides.
func withRoom(clusters []string, room map[string]string) []string {
	names := slices.Clone(clusters)
	for i, name := range names {
		if room[name] != "" {
			names[i] += " (room " + room[name] + ")"
		}
	}
	return names
}
