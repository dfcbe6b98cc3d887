package session

import (
	"fmt"
	"slices"
	"strings"
	"time"

	linkv1 "windlass.dev/windlass/api/link/v1"
)

// brakes decides whether a removal that nobody confirmed has to wait. Deleting a template is somebody's request and is
// not counted, nor is what only lets the objects go; in restore mode the request may be older than what the member has, so
// there everything waits.
func (h *Hub) brakes(id RemovalID, order *Removing, now time.Time) bool {
	if h.store.Restoring {
		// What the member does not have is not deleted there; waiting would only hide what it has in its place.
		state := h.work(id.Key)
		return state.held.UID == id.UID || state.offered
	}
	if order.Keep || order.Cause == linkv1.RemovalCause_REMOVAL_CAUSE_TEMPLATE_DELETED {
		return false
	}
	if h.heldAlready(id) {
		return true
	}
	if state := h.works[id.Key]; state != nil && state.ordered == id.UID {
		return false // said once more, because no answer came: nobody must be told that it waits
	}
	if now.Sub(h.countedAt) >= time.Minute {
		listed, _ := h.source.List()
		h.counted, h.countedAt = len(listed), now
	}
	return !h.brake.Pass(id, 1, h.counted, now)
}

func (h *Hub) heldAlready(id RemovalID) bool {
	r, there := h.held[id.Key]
	return there && r.uid == id.UID
}

func (h *Hub) hold(key string, r heldRemoval) {
	if state := h.works[key]; state != nil {
		state.ordered = ""
	}
	h.brake.Hold(RemovalID{Key: key, UID: r.uid})
	if h.held[key] != r {
		h.held[key] = r
		h.holdChanged = true
	}
}

// releaseHold drops a hold whose removal is not asked for any more.
func (h *Hub) releaseHold(key string, item Item) {
	r, there := h.held[key]
	if !there || r.absent || (item.Removing != nil && item.Removing.UID == r.uid && !item.Removing.Confirmed) {
		return
	}
	h.unhold(key)
}

// replaced drops the hold on an absent work in whose place the member has another one by now.
func (h *Hub) replaced(key, uid string) {
	if h.absentUID[key] != "" && h.absentUID[key] != uid {
		delete(h.absentUID, key)
		if r := h.held[key]; r.absent {
			h.unhold(key)
		}
	}
}

func (h *Hub) unhold(key string) {
	if r, there := h.held[key]; there {
		delete(h.held, key)
		h.brake.release(RemovalID{Key: key, UID: r.uid})
		h.holdChanged = true
	}
}

// receiveBrake takes over what the agent's brake holds. Removals that followed from a complete list have no answer of
// their own, so this is how the hub hears of them.
func (h *Hub) receiveBrake(n *linkv1.BrakeNotice) {
	h.do(Remarked{Message: fmt.Sprintf("the agent says what its brake holds: %d", n.GetHeld())})
	for _, r := range n.GetRemovals() {
		key, uid := r.GetKey(), r.GetUid()
		id := RemovalID{Key: key, UID: uid}
		if h.wantsRemoved(id) && !h.brake.Confirmed(id) && h.flights[key] == nil {
			said := heldRemoval{uid: uid, absent: h.absentUID[key] == uid, byAgent: true}
			if known := h.held[key]; known.uid == uid {
				said.along = known.along
			}
			h.hold(key, said)
		}
	}
	if h.brake.told(Excess{Passed: int(n.GetPassed()), Limit: int(n.GetLimit()), Window: n.GetWindow().AsDuration()}) {
		h.holdChanged = true
	}
}

// mostAlong bounds what an agent may say of why it holds a removal.
const mostAlong = 300

// takenAlong is what an agent says of a removal that its brake holds, if that is more than that it does.
func takenAlong(message string) string {
	if message == heldByBrake {
		return ""
	}
	return strings.ToValidUTF8(message[:min(len(message), mostAlong)], "")
}

// examples is how many of the held removals are named.
const examples = 10

// Hold tells what waits for a person. In restore mode there is something to confirm even when nothing is held: that
// the store is right as it is.
func (h *Hub) Hold() Hold {
	hold := Hold{Held: len(h.held), Restoring: h.store.Restoring, Doubted: h.store.Doubted, Excess: h.brake.Exceeded()}
	switch {
	case len(h.held) > 0:
		hold.ID = fmt.Sprintf("%016x", h.sumOfHeld())
	case h.store.Restoring:
		// The name of the era is in it, so that yesterday's confirmation of nothing does not confirm tomorrow's.
		hold.ID = fmt.Sprintf("%016x", checksum(RemovalID{Key: h.store.History.Present()}))
	}
	var rest []RemovalID
	for _, key := range sortedKeys(h.held) {
		r := h.held[key]
		id := RemovalID{Key: key, UID: r.uid}
		if r.byAgent {
			hold.HeldByAgent++
		}
		if hold.Along == "" {
			hold.Along = r.along
		}
		switch {
		case r.absent:
			hold.Unknown++
			hold.Examples = append(hold.Examples, id)
		case len(rest) < examples:
			rest = append(rest, id)
		}
	}
	hold.Examples = append(hold.Examples, rest...)
	hold.Examples = hold.Examples[:min(examples, len(hold.Examples))]
	return hold
}

// sumOfHeld names what is held: it changes with the set, whatever the order.
func (h *Hub) sumOfHeld() uint64 {
	var sum uint64
	for key, r := range h.held {
		sum += checksum(RemovalID{Key: key, UID: r.uid})
	}
	return sum
}

// Confirm releases what is held, if it is what the person who confirms has seen, and returns how many removals it were.
// Restore mode ends when a comparison after that finds nothing more.
func (h *Hub) Confirm(id string) (int, error) {
	hold := h.Hold()
	if hold.ID == "" {
		return 0, fmt.Errorf("no removal waits for a confirmation")
	}
	if hold.ID != id {
		return 0, fmt.Errorf("what waits has changed: %d removals are held now, under the id %s; look at them and confirm that id", hold.Held, hold.ID)
	}
	if hold.Restoring {
		h.brake.agree(true)
		h.reprobe = true
	}
	var agents []*linkv1.RemovalRef
	for _, key := range sortedKeys(h.held) {
		r := h.held[key]
		h.brake.Confirm(RemovalID{Key: key, UID: r.uid})
		if r.byAgent {
			agents = append(agents, &linkv1.RemovalRef{Key: key, Uid: r.uid})
		}
		if r.absent {
			h.reprobe = true
		} else {
			h.dirty.push(key)
		}
	}
	h.held = map[string]heldRemoval{}
	h.holdChanged = true
	// The agent's brake is told as well; the keys are sent again in any case, so a lost message is made good.
	for part := range slices.Chunk(agents, maxRefsAtOnce) {
		h.Tell(&linkv1.FromHub{Message: &linkv1.FromHub_Brake{Brake: &linkv1.BrakeConfirmation{Removals: part}}})
	}
	return hold.Held, nil
}
