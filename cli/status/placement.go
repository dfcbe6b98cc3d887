package status

import (
	"fmt"
	"io"
	"strings"

	workv1alpha1 "windlass.dev/windlass/api/work/v1alpha1"
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
	Pending  bool      `json:"pending,omitempty"`
	Clusters []Chosen  `json:"clusters"`
	Refusals []Refusal `json:"refusals"`
	// Room is there when it decides.
	Room []Room `json:"room,omitempty"`
}

// Chosen is a cluster that a template goes to. Replicas are absent for kinds without.
type Chosen struct {
	Cluster  string `json:"cluster"`
	Replicas *int32 `json:"replicas,omitempty"`
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
		AffinityGroup: answer.AffinityGroup, Pending: answer.Pending, Clusters: []Chosen{}, Refusals: []Refusal{},
	}
	for _, target := range answer.Clusters {
		chosen := Chosen{Cluster: target.Name}
		if answer.Replicas != nil {
			chosen.Replicas = new(target.Replicas)
		}
		e.Clusters = append(e.Clusters, chosen)
	}
	for _, refusal := range answer.Refusals {
		e.Refusals = append(e.Refusals, Refusal(refusal))
	}
	for _, room := range answer.Room {
		e.Room = append(e.Room, Room(room))
	}
	return e
}

// Text writes the explanation for people. Wide names all clusters.
func (e Explanation) Text(out io.Writer, wide bool) error {
	w := &writer{out: out}
	w.line("%s: %s", e.Template, e.verdict())
	if e.Pending {
		w.line("That is decided now, and not in the binding %s yet.", qualified(e.Namespace, e.Name))
	}
	room := e.roomByCluster()
	if len(e.Clusters) > 0 {
		w.table(e.chosenRows(room))
	}
	if len(e.Refusals) > 0 {
		w.table(e.refusalRows(room, wide))
	}
	return w.err
}

func (e Explanation) verdict() string {
	message := oneLine(e.Message)
	switch {
	case e.Scheduled:
		return message
	case len(e.Clusters) > 0:
		return "stays where it is, not scheduled: " + message
	}
	return "not scheduled: " + message
}

// roomByCluster is empty when room does not decide.
func (e Explanation) roomByCluster() map[string]string {
	room := map[string]string{}
	for _, r := range e.Room {
		switch {
		case r.Replicas == nil:
			room[r.Cluster] = "unknown"
		case r.Source == "Summary":
			room[r.Cluster] = fmt.Sprintf("about %d", *r.Replicas)
		default:
			room[r.Cluster] = fmt.Sprint(*r.Replicas)
		}
	}
	return room
}

func (e Explanation) chosenRows(room map[string]string) [][]string {
	header := []string{"CLUSTER"}
	if e.Replicas != nil {
		header = append(header, "REPLICAS")
	}
	if len(room) > 0 {
		header = append(header, "ROOM FOR MORE")
	}
	rows := [][]string{header}
	for _, chosen := range e.Clusters {
		row := []string{chosen.Cluster}
		if chosen.Replicas != nil {
			row = append(row, fmt.Sprint(*chosen.Replicas))
		}
		if len(room) > 0 {
			row = append(row, dash(room[chosen.Cluster]))
		}
		rows = append(rows, row)
	}
	return rows
}

// refusalRows has a row for each reason. The affinity group is told where several were tried.
func (e Explanation) refusalRows(room map[string]string, wide bool) [][]string {
	grouped := false
	for _, refusal := range e.Refusals {
		grouped = grouped || refusal.AffinityGroup != e.Refusals[0].AffinityGroup
	}
	header := []string{"REFUSED", "RULE", "BECAUSE IT", "CLUSTERS"}
	if grouped {
		header = append([]string{"GROUP"}, header...)
	}
	rows := [][]string{header}
	for _, refusal := range e.Refusals {
		row := []string{fmt.Sprint(len(refusal.Clusters)), refusal.Rule, oneLine(refusal.Message), refusedNames(refusal.Clusters, room, wide)}
		if grouped {
			row = append([]string{dash(refusal.AffinityGroup)}, row...)
		}
		rows = append(rows, row)
	}
	return rows
}

// refusedNames names clusters, with their room where that decides.
func refusedNames(clusters []string, room map[string]string, wide bool) string {
	names := make([]string, 0, len(clusters))
	for i, name := range clusters {
		if i == namedClusters && !wide && len(clusters) > namedClusters+1 {
			names = append(names, fmt.Sprintf("+%d", len(clusters)-i))
			break
		}
		if room[name] != "" {
			name += " (room " + room[name] + ")"
		}
		names = append(names, name)
	}
	return strings.Join(names, ", ")
}
