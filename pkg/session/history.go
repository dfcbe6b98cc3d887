package session

import "fmt"

// MaxEras is how many eras of a store are remembered. An agent that was away for longer is taken for one that has seen
// another store.
const MaxEras = 200

// An Era is a stretch of a store's history: from one start of a hub on it to the next. Its name is new with every
// start, so two stores that come from one backup never share an era that began after it.
type Era struct {
	ID string `json:"id"`
	// After is the revision that the store had when the era began. What was told in earlier eras counts up to it. It is
	// 0 when the store turned out to have been cut back and nobody knows how far.
	After int64 `json:"after,omitempty"`
}

// A History is the chain of a store's eras, oldest first. It lies in the store, so a backup that is restored brings
// back the chain as it was: without the eras that have begun since, or with one that ends earlier than what agents have
// seen of it.
type History struct {
	Eras []Era `json:"eras,omitempty"`
	// Told is false while no agent has heard of the last era. Such an era need not be remembered: a hub that cannot
	// start, and tries again and again, does not use the chain up.
	Told bool `json:"told,omitempty"`
}

// Present names the era that agents are told.
func (h History) Present() string {
	if len(h.Eras) == 0 {
		return ""
	}
	return h.Eras[len(h.Eras)-1].ID
}

// Has says whether the history has an era of that name.
func (h History) Has(id string) bool {
	for _, e := range h.Eras {
		if e.ID == id {
			return true
		}
	}
	return false
}

// Begin returns the history with a new era at its end. The receiver is not changed.
func (h History) Begin(id string, after int64) History {
	eras := h.Eras
	if last := len(eras) - 1; last >= 0 && !h.Told {
		after = min(after, eras[last].After) // the bound for the eras before must outlive the one that is dropped
		eras = eras[:last]
	}
	eras = append(append([]Era(nil), eras...), Era{ID: id, After: after})
	return History{Eras: eras[max(0, len(eras)-MaxEras):]}
}

// Lacks says what the history of a store at a revision lacks of what an agent has seen; empty when it lacks nothing.
// Revisions of one store only grow, and what an agent is told was durable before: so what it has seen in an era is not
// above the revision at which the next one began, unless the store was cut back in between.
func (h History) Lacks(seen Mark, revision int64) string {
	if seen.Incarnation == "" {
		return ""
	}
	if !h.Has(seen.Incarnation) {
		return fmt.Sprintf("the agent has seen era %q of a store and this one has never had it: it was restored from a backup that is older, "+
			"or it is another store, or the agent was away for more than %d starts of the hub", seen.Incarnation, MaxEras)
	}
	if seen.Revision > revision {
		return fmt.Sprintf("the agent has seen revision %d of the store, which is at %d: it was restored from a backup", seen.Revision, revision)
	}
	for i := len(h.Eras) - 1; h.Eras[i].ID != seen.Incarnation; i-- {
		if seen.Revision > h.Eras[i].After {
			return fmt.Sprintf("the agent has seen revision %d of the store in era %q, of which nothing is left above revision %d: "+
				"it was restored from a backup and has changed since", seen.Revision, seen.Incarnation, h.Eras[i].After)
		}
	}
	return ""
}
