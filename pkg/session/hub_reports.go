package session

import (
	"slices"

	linkv1 "windlass.dev/windlass/api/link/v1"
)

// askReports has the agent report works again.
func (h *Hub) askReports(keys []string) {
	for part := range slices.Chunk(keys, maxRefsAtOnce) {
		h.send(&linkv1.FromHub{Message: &linkv1.FromHub_Reports{Reports: &linkv1.ReportsFromHub{Wanted: part}}})
	}
}

// receiveReports passes on the reports that say something new about a work of this member.
func (h *Hub) receiveReports(m *linkv1.ReportsFromAgent) {
	for _, r := range m.GetReports() {
		if r.GetKey() == "" {
			continue
		}
		if r.GetSessionEpoch() != h.epoch {
			h.do(Remarked{Message: "dropped a report of another session about work " + r.GetKey()})
			continue
		}
		h.receiveReport(r)
	}
}

func (h *Hub) receiveReport(r *linkv1.Report) {
	key := r.GetKey()
	state, known := h.works[key]
	if !known {
		// A member cannot make the hub remember works that do not exist.
		if _, there := h.source.Look(key); !there {
			if r.GetPhase() == linkv1.Phase_PHASE_REMOVED {
				h.settleRemoval(RemovalID{Key: key, UID: r.GetUid()})
			}
			h.ackReport(key, r.GetSequence())
			return
		}
		state = h.work(key)
	}
	if r.GetSequence() <= state.reportSequence {
		return // said twice, or overtaken by a newer one
	}
	overtaken := h.overtaken(state, r)
	state.reportSequence = r.GetSequence()
	if overtaken {
		h.ackReport(key, r.GetSequence())
		return
	}
	state.reportUID, state.reportGeneration, state.reportObserved = r.GetUid(), r.GetGeneration(), r.GetObservedAt().AsTime()
	if r.GetPhase() == linkv1.Phase_PHASE_REMOVED {
		h.removed(state, r)
		return
	}
	if state.sent != nil {
		if r.Generations == nil {
			r.Generations = &linkv1.Generations{}
		}
		r.Generations.Sent = state.sent
	}
	h.do(RecordReport{Report: r})
}

// overtaken says whether a report tells an earlier state of the work than the one before it: an older generation, seen
// earlier.
func (h *Hub) overtaken(state *workState, r *linkv1.Report) bool {
	return r.GetPhase() == linkv1.Phase_PHASE_PRESENT &&
		r.GetUid() == state.reportUID &&
		r.GetGeneration() < state.reportGeneration &&
		r.GetObservedAt().AsTime().Before(state.reportObserved)
}

func (h *Hub) removed(state *workState, r *linkv1.Report) {
	key, uid := r.GetKey(), r.GetUid()
	if state.held.UID == uid || state.held == (Ref{}) {
		state.held, state.offered = Ref{}, false
	}
	h.settleRemoval(RemovalID{Key: key, UID: uid})
	if item, there := h.source.Look(key); !there {
		delete(h.works, key)
		h.ackReport(key, r.GetSequence())
		return
	} else if item.Removing == nil || item.Removing.UID != uid {
		// The work lives on, or is another one by now: the member must not be left without it.
		h.ackReport(key, r.GetSequence())
		h.dirty.push(key)
		return
	}
	h.do(RecordRemoval{Key: key, UID: uid, Sequence: r.GetSequence()})
}

// settleRemoval ends every hold on a removal that has been carried out.
func (h *Hub) settleRemoval(id RemovalID) {
	if h.held[id.Key].uid == id.UID {
		h.unhold(id.Key)
	}
	h.brake.Forget(id)
	if h.absentUID[id.Key] == id.UID {
		delete(h.absentUID, id.Key)
	}
}

// Recorded says that a report or a removal is in the store, at this revision or before, or that the store has no use for
// it. The agent is told, so that it need not say it again; with the revision, for a store that is cut back may lack it.
func (h *Hub) Recorded(key string, sequence uint64, revision int64) {
	if h.state != Over && sequence != 0 {
		h.ackReport(key, sequence)
		h.reportRevision = max(h.reportRevision, revision)
	}
}

func (h *Hub) ackReport(key string, sequence uint64) {
	h.reportAcks = append(h.reportAcks, &linkv1.ReportAck{Key: key, Sequence: sequence})
}
