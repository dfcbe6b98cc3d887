package session

import (
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"
	linkv1 "windlass.dev/windlass/api/link/v1"
)

// Dirty says that works may have changed. It may be called in any state and as often as one likes.
func (h *Hub) Dirty(keys ...string) {
	if h.state == Over {
		return
	}
	for _, key := range keys {
		h.dirty.push(key)
	}
}

// pump sends what there is room for.
func (h *Hub) pump(now time.Time) {
	for len(h.flights) < h.settings.Window {
		key, more := h.absent.pop()
		if !more {
			break
		}
		h.sendAbsent(key, now)
	}
	for len(h.flights) < h.settings.Window {
		key, more := h.dirty.pop()
		if !more {
			break
		}
		h.sendKey(key, now)
	}
	idle := len(h.flights) == 0 && h.Waiting() == 0
	switch {
	case h.state == Snapshot && len(h.catching) == 0 && h.absent.len() == 0 && !h.absentInFlight() && h.complete == nil:
		h.sendComplete(now)
	case h.state == Replicate && h.reprobe && !now.Before(h.reprobeAt) && idle && h.complete == nil:
		h.becomeProbe(now)
	}
}

func (h *Hub) absentInFlight() bool {
	for _, f := range h.flights {
		if f.kind == flightAbsent {
			return true
		}
	}
	return false
}

// sendKey looks a key up and sends its present state, if the agent does not have it.
func (h *Hub) sendKey(key string, now time.Time) {
	if f := h.flights[key]; f != nil {
		f.again = true
		return
	}
	item, there := h.source.Look(key)
	h.releaseHold(key, item)
	switch {
	case !there:
		h.vanished(key)
		h.caught(key)
	case h.former(key, item):
		h.handOver(key, item, now)
	case item.Removing != nil:
		h.sendRemoval(key, item, now)
	default:
		h.sendPut(key, item, now)
	}
}

// vanished notes that the store has no such work any more. That alone removes nothing: when the agent still holds it,
// the next comparison finds out, and asks with all the checks that belong to it.
func (h *Hub) vanished(key string) {
	state, known := h.works[key]
	if !known {
		return
	}
	if state.held != (Ref{}) || state.offered {
		h.reprobe = true
		return
	}
	delete(h.works, key)
}

func (h *Hub) sendPut(key string, item Item, now time.Time) {
	ref := RefOfWork(item.Work)
	state := h.work(key)
	if state.held == ref {
		h.caught(key)
		return
	}
	state.removing, state.offered = "", true
	state.sent = &linkv1.Milestone{Generation: ref.Generation, At: timestamppb.New(now)}
	h.fly(key, flightPut, ref, now)
	h.sendWorks(&linkv1.WorksFromHub{Message: &linkv1.WorksFromHub_Put{Put: &linkv1.Put{
		Sequence: h.sequence, Revision: item.Revision, Work: item.Work,
	}}})
}

// former says whether the agent holds an earlier work than the one of that name which it is to remove: the later one came
// and went before it was told. It knows the removal by the later one's UID only once it has that one. What it is removing
// already needs no other word. The earlier one is not overwritten when it may be what the store has lost.
func (h *Hub) former(key string, item Item) bool {
	if item.Removing == nil || h.store.mayLack() {
		return false
	}
	state := h.work(key)
	held := state.held.UID
	if r := h.held[key]; r.absent {
		held = r.uid // the store lacked it, and no state is kept of such a work
	}
	return held != "" && held != item.Removing.UID && held != state.removing && state.handedOver != item.Removing.UID
}

// handOver makes a work of the agent's that work which is being removed; the removal follows.
func (h *Hub) handOver(key string, item Item, now time.Time) {
	h.work(key).handedOver = item.Removing.UID
	h.sendPut(key, item, now)
	h.flights[key].again = true
}

func (h *Hub) sendRemoval(key string, item Item, now time.Time) {
	order, state := item.Removing, h.work(key)
	id := RemovalID{Key: key, UID: order.UID}
	confirmed := order.Confirmed || h.brake.Confirmed(id)
	if state.removing == order.UID {
		h.caught(key)
		return
	}
	if !confirmed && h.brakes(id, order, now) {
		h.hold(key, heldRemoval{uid: order.UID, byAgent: h.held[key].byAgent})
		h.caught(key)
		return
	}
	h.unhold(key)
	state.ordered = order.UID
	h.fly(key, flightRemoval, Ref{Key: key, UID: order.UID}, now)
	h.sendWorks(&linkv1.WorksFromHub{Message: &linkv1.WorksFromHub_Removal{Removal: &linkv1.Removal{
		Sequence: h.sequence, Revision: item.Revision, Key: key, Uid: order.UID,
		Cause: order.Cause, Keep: order.Keep, Confirmed: confirmed, Objects: order.Objects,
	}}})
}

func (h *Hub) sendAbsent(key string, now time.Time) {
	if h.flights[key] != nil {
		h.absent.push(key)
		return
	}
	uid, still := h.absentUID[key]
	if !still {
		return
	}
	h.absentSent[key] = struct{}{}
	h.fly(key, flightAbsent, Ref{Key: key, UID: uid}, now)
	h.sendWorks(&linkv1.WorksFromHub{Message: &linkv1.WorksFromHub_Removal{Removal: &linkv1.Removal{
		Sequence: h.sequence, Revision: h.revision, Key: key, Uid: uid,
		Cause: linkv1.RemovalCause_REMOVAL_CAUSE_ABSENT, Round: h.round,
		Confirmed: h.brake.Confirmed(RemovalID{Key: key, UID: uid}),
	}}})
}

func (h *Hub) fly(key string, kind flightKind, ref Ref, now time.Time) {
	h.sequence++
	h.flights[key] = &flight{sequence: h.sequence, kind: kind, ref: ref, at: now}
}

// receiveWorks takes the agent's words about works.
func (h *Hub) receiveWorks(w *linkv1.WorksFromAgent, now time.Time) {
	switch message := w.GetMessage().(type) {
	case *linkv1.WorksFromAgent_Probe:
		h.receiveProbe(message.Probe, now)
	case *linkv1.WorksFromAgent_Acks:
		for _, a := range message.Acks.GetAcks() {
			h.receiveAck(a, now)
		}
	default:
		h.do(UnknownMessage{})
	}
}

// receiveAck frees room in the window. An answer to something that was said again since is ignored.
func (h *Hub) receiveAck(a *linkv1.Ack, now time.Time) {
	if h.complete != nil && a.GetSequence() == h.complete.sequence {
		h.completed(a, now)
		return
	}
	key := a.GetKey()
	f := h.flights[key]
	if f == nil || f.sequence != a.GetSequence() {
		return
	}
	delete(h.flights, key)
	if a.GetOutcome() == linkv1.AckOutcome_ACK_OUTCOME_REFUSED {
		h.do(Remarked{Message: fmt.Sprintf("the agent refused work %q: %s", key, a.GetMessage())})
	}
	switch {
	case f.kind == flightPut && a.GetOutcome() == linkv1.AckOutcome_ACK_OUTCOME_DURABLE:
		h.work(key).held = f.ref
		h.replaced(key, f.ref.UID)
	case f.kind == flightRemoval && a.GetOutcome() == linkv1.AckOutcome_ACK_OUTCOME_DURABLE:
		h.work(key).removing = f.ref.UID
	case f.kind == flightRemoval && a.GetOutcome() == linkv1.AckOutcome_ACK_OUTCOME_GONE:
		// It may hold another work of this name: a put whose answer never came, which counts as offered still, or one that
		// the store lacked, whose hold has ended with this removal.
		h.work(key).removing = f.ref.UID
		h.settleRemoval(RemovalID{Key: key, UID: f.ref.UID})
		h.reprobe = h.reprobe || h.absentUID[key] != ""
		h.do(RecordRemoval{Key: key, UID: f.ref.UID})
	case f.kind == flightRemoval && a.GetOutcome() == linkv1.AckOutcome_ACK_OUTCOME_HELD:
		h.hold(key, heldRemoval{uid: f.ref.UID, byAgent: true, along: takenAlong(a.GetMessage())})
	}
	h.caught(key)
	if f.again {
		h.dirty.push(key)
	}
}

// completed takes the answer to a Complete.
func (h *Hub) completed(a *linkv1.Ack, now time.Time) {
	h.complete = nil
	if a.GetOutcome() != linkv1.AckOutcome_ACK_OUTCOME_DURABLE {
		h.do(Remarked{Message: "the agent did not accept the list as complete: " + a.GetMessage()})
		if len(h.absentSent) > 0 {
			// Works that should be gone are still there. Say it once more, from the start, but not in a circle.
			h.reprobe, h.reprobeAt = true, now.Add(h.settings.AnswerTimeout)
		}
	} else {
		h.brake.compared()
		h.settleRestore()
	}
	h.become(Replicate)
}

// settleRestore ends restore mode when a person has agreed to it and nothing is left that he has not seen. What he has
// confirmed goes first, and then it is compared once more.
func (h *Hub) settleRestore() {
	switch {
	case !h.store.Restoring:
		h.brake.agree(false)
	case !h.brake.agreed() || len(h.held) > 0:
	case h.clean:
		h.do(RestoreSettled{})
	default:
		h.reprobe = true
	}
}

// caught notes that a key of the snapshot is settled.
func (h *Hub) caught(key string) { delete(h.catching, key) }

func (h *Hub) work(key string) *workState {
	state := h.works[key]
	if state == nil {
		state = &workState{}
		h.works[key] = state
	}
	return state
}
