package session

import (
	"bytes"
	"fmt"
	"slices"
	"time"

	linkv1 "windlass.dev/windlass/api/link/v1"
)

// A probe is one round of comparison: what the agent has told of itself so far.
type probe struct {
	asked time.Time
	// buckets that were asked for; nil while everything is.
	buckets map[uint32]struct{}
	parts   map[uint32]struct{}
	// refs that the agent holds: those of the buckets whose digests were equal, and those it has listed.
	refs []Ref
	// preserved are those it has listed, by key, whose objects stay when they are removed.
	preserved map[string]struct{}
}

// becomeProbe asks the agent what it holds.
func (h *Hub) becomeProbe(now time.Time) {
	h.become(Probe)
	h.round++
	h.reprobe, h.complete = false, nil
	h.catching = nil
	h.absent, h.absentUID, h.absentSent = keyQueue{}, nil, nil
	h.probe = &probe{asked: now, parts: map[uint32]struct{}{}, preserved: map[string]struct{}{}}
	h.askProbe(nil)
}

func (h *Hub) askProbe(buckets []uint32) {
	h.sendWorks(&linkv1.WorksFromHub{Message: &linkv1.WorksFromHub_Probe{Probe: &linkv1.ProbeRequest{
		Round: h.round, BucketCount: uint32(h.settings.Buckets), Buckets: buckets, RefsUpTo: uint32(h.settings.RefsUpTo),
	}}})
}

// What an agent may say of one work, so that the bound on their number is one on memory. A key is the name of an object of
// the API, a UID is 36 bytes long and a hash 16.
const (
	mostNameBytes = 253
	mostHashBytes = 64
)

// receiveProbe collects the parts of an answer. Parts may come twice and in any order.
func (h *Hub) receiveProbe(a *linkv1.ProbeAnswer, now time.Time) {
	p := h.probe
	if h.state != Probe || p == nil || a.GetRound() != h.round || a.GetOfBuckets() != (p.buckets != nil) {
		return
	}
	if digests := a.GetBucketDigests(); len(digests) > 0 && p.buckets == nil {
		h.compareBuckets(digests, now)
		return
	}
	if _, twice := p.parts[a.GetPart()]; twice || a.GetPart() >= a.GetParts() {
		return
	}
	p.parts[a.GetPart()] = struct{}{}
	if len(p.refs)+len(a.GetRefs()) > h.settings.MaxWorks || int(a.GetParts()) > h.settings.MaxWorks {
		h.Close(linkv1.GoodbyeReason_GOODBYE_REASON_PROTOCOL_ERROR, fmt.Sprintf("the agent holds more than %d works", h.settings.MaxWorks), time.Minute)
		return
	}
	for _, r := range a.GetRefs() {
		if len(r.GetKey()) > mostNameBytes || len(r.GetUid()) > mostNameBytes || len(r.GetHash()) > mostHashBytes {
			h.Close(linkv1.GoodbyeReason_GOODBYE_REASON_PROTOCOL_ERROR, fmt.Sprintf("the agent says that it holds a work with a key or UID of more than %d bytes or a hash of more than %d, which no hub has sent", mostNameBytes, mostHashBytes), time.Minute)
			return
		}
		if p.buckets != nil {
			if _, asked := p.buckets[bucketOf(r.GetKey(), uint32(h.settings.Buckets))]; !asked {
				continue
			}
		}
		p.refs = append(p.refs, RefOf(r))
		if r.GetPreserves() {
			p.preserved[r.GetKey()] = struct{}{}
		}
	}
	if len(p.parts) == int(a.GetParts()) {
		h.compare(p.refs, p.preserved, now)
	}
}

// compareBuckets finds the buckets that differ and asks for their refs. In the others the agent holds what is wanted at
// this moment; by the time the refs arrive the hub may want something else.
func (h *Hub) compareBuckets(theirs [][]byte, now time.Time) {
	count := uint32(h.settings.Buckets)
	if uint32(len(theirs)) != count {
		h.Close(linkv1.GoodbyeReason_GOODBYE_REASON_PROTOCOL_ERROR, fmt.Sprintf("%d bucket digests were asked for and %d came", count, len(theirs)), time.Minute)
		return
	}
	listed, _ := h.source.List()
	wanted := wantedRefs(listed)
	ours := bucketDigests(wanted, count)
	differ := map[uint32]struct{}{}
	var ask []uint32
	for i := range count {
		if !bytes.Equal(ours[i], theirs[i]) {
			differ[i] = struct{}{}
			ask = append(ask, i)
		}
	}
	equal := slices.DeleteFunc(wanted, func(r Ref) bool {
		_, differs := differ[bucketOf(r.Key, count)]
		return differs
	})
	if len(ask) == 0 {
		h.compare(equal, nil, now)
		return
	}
	h.probe = &probe{asked: now, buckets: differ, parts: map[uint32]struct{}{}, refs: equal, preserved: map[string]struct{}{}}
	h.askProbe(ask)
}

func wantedRefs(listed []Listed) []Ref {
	refs := make([]Ref, 0, len(listed))
	for _, l := range listed {
		if !l.Removing {
			refs = append(refs, l.Ref)
		}
	}
	return refs
}

// compare ends the probe: refs are all that the agent holds, and preserved the keys of those that it only lets go of.
func (h *Hub) compare(refs []Ref, preserved map[string]struct{}, now time.Time) {
	theirs := make(map[string]Ref, len(refs))
	for _, r := range refs {
		theirs[r.Key] = r
	}
	listed, revision := h.source.List()
	h.revision = max(revision, h.store.Revision)
	h.counted, h.countedAt, h.wanted = len(listed), now, 0
	if older, found := h.storeIsOlder(listed, theirs); found {
		h.probe = nil
		h.become(Admit)
		h.do(RestoreDetected{Unnoticed: true, Message: older})
		return
	}
	h.probe = nil
	h.catching = map[string]struct{}{}
	h.held = map[string]heldRemoval{}
	var unreported []string
	h.clean = true
	for _, l := range listed {
		their := theirs[l.Key]
		delete(theirs, l.Key)
		if their.UID != "" && their.UID != l.UID {
			h.clean = false // should this one be removed now, the other will turn out to be the member's alone
		}
		state := h.work(l.Key)
		state.held, state.offered, state.removing = their, false, ""
		if !l.Removing {
			h.wanted++
		}
		if l.Removing || their != l.Ref {
			h.catching[l.Key] = struct{}{}
			h.dirty.push(l.Key)
		} else if l.Unreported {
			unreported = append(unreported, l.Key)
		}
	}
	h.askReports(unreported)
	h.forgetWorksNotIn(listed)
	h.absentAre(theirs, preserved, now)
	h.brake.Retain(func(id RemovalID) bool { return h.wantsRemoved(id) })
	h.holdChanged = true
	if len(h.catching) == 0 && h.absent.len() == 0 {
		h.become(Replicate)
		h.sendComplete(now)
		return
	}
	h.become(Snapshot)
}

// storeIsOlder finds a work of which the agent has a later generation than the store: the store was cut back in a way that
// its history does not show, for instance restored with a revision that was raised by hand; or the agent lies. So this takes
// only its own member into restore mode, at once. When a second member shows the same it is the store, and an era begins that
// takes over nothing. Until then, and until a person has confirmed for the first one, the store is Doubted for the others, which
// may have nothing to show: what it lacks waits for a person there too, and what it says is to be removed goes as ever. The price:
// one liar has people asked about works that vanished from the store; two take the fleet along; and only the brake protects a
// member that shows nothing, if it was compared before the first one showed it, or after that was confirmed and before a second.
func (h *Hub) storeIsOlder(listed []Listed, theirs map[string]Ref) (string, bool) {
	if h.store.Restoring {
		return "", false
	}
	for _, l := range listed {
		if r, there := theirs[l.Key]; there && r.UID == l.UID && l.Generation > 0 && r.Generation > l.Generation {
			return fmt.Sprintf("the agent holds generation %d of work %q and the store has %d: it was restored from a backup",
				r.Generation, l.Key, l.Generation), true
		}
	}
	return "", false
}

func (h *Hub) forgetWorksNotIn(listed []Listed) {
	if len(h.works) == len(listed) {
		return
	}
	keep := make(map[string]struct{}, len(listed))
	for _, l := range listed {
		keep[l.Key] = struct{}{}
	}
	for key := range h.works {
		if _, there := keep[key]; !there {
			delete(h.works, key)
		}
	}
}

// absentAre takes the works that the agent holds and the store lacks. Only the agent knows which of them delete nothing. When
// they may be what the store has lost all of them wait for a person.
func (h *Hub) absentAre(theirs map[string]Ref, preserved map[string]struct{}, now time.Time) {
	h.clean = h.clean && len(theirs) == 0
	h.absentUID, h.absentSent = map[string]string{}, map[string]struct{}{}
	refs := make([]Ref, 0, len(theirs))
	for _, r := range theirs {
		refs = append(refs, r)
	}
	sortRefs(refs)
	for _, r := range refs {
		id := RemovalID{Key: r.Key, UID: r.UID}
		h.absentUID[r.Key] = r.UID
		_, letGo := preserved[r.Key]
		if h.brake.Confirmed(id) || !h.store.mayLack() && (letGo || h.brake.Pass(id, 1, h.counted+len(refs), now)) {
			h.absent.push(r.Key)
		} else {
			h.hold(r.Key, heldRemoval{uid: r.UID, absent: true})
		}
	}
}

func (h *Hub) wantsRemoved(id RemovalID) bool {
	if uid, absent := h.absentUID[id.Key]; absent && uid == id.UID {
		return true
	}
	item, there := h.source.Look(id.Key)
	return there && item.Removing != nil && item.Removing.UID == id.UID
}

// sendComplete says that everything was sent.
func (h *Hub) sendComplete(now time.Time) {
	h.sequence++
	h.complete = &flight{sequence: h.sequence, at: now}
	h.sendWorks(&linkv1.WorksFromHub{Message: &linkv1.WorksFromHub_Complete{Complete: &linkv1.Complete{
		Sequence: h.sequence, Round: h.round, Incarnation: h.store.History.Present(), Revision: h.revision,
		Works: uint64(h.wanted), Absent: uint64(len(h.absentSent)),
	}}})
}
