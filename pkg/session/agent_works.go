package session

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	linkv1 "windlass.dev/windlass/api/link/v1"
)

func (a *Agent) receiveWorks(w *linkv1.WorksFromHub, now time.Time) {
	if !a.followed() {
		// That may take as long as the member's API is away. The hub says nothing about works before it knows what is held
		// here, and says what is not answered again.
		a.probed = w.GetProbe()
		return
	}
	switch message := w.GetMessage().(type) {
	case *linkv1.WorksFromHub_Probe:
		a.answerProbe(message.Probe)
	case *linkv1.WorksFromHub_Put:
		a.receivePut(message.Put)
	case *linkv1.WorksFromHub_Removal:
		a.receiveRemoval(message.Removal, now)
	case *linkv1.WorksFromHub_Complete:
		a.receiveComplete(message.Complete, now)
	default:
		a.do(UnknownMessage{})
	}
}

// answerProbe tells what is durable here. What is just being made durable is told in the next comparison.
func (a *Agent) answerProbe(p *linkv1.ProbeRequest) {
	if p.GetBucketCount() == 0 || p.GetBucketCount() > maxBuckets {
		a.do(Remarked{Message: fmt.Sprintf("ignored a probe over %d buckets", p.GetBucketCount())})
		return
	}
	refs := make([]Ref, 0, len(a.holds))
	for _, r := range a.holds {
		refs = append(refs, r)
	}
	answer := &linkv1.ProbeAnswer{Round: p.GetRound(), Parts: 1, Total: uint64(len(refs)), OfBuckets: len(p.GetBuckets()) > 0}
	if !answer.OfBuckets && len(refs) > int(p.GetRefsUpTo()) {
		answer.BucketDigests = bucketDigests(refs, p.GetBucketCount())
		a.sendWorks(&linkv1.WorksFromAgent{Message: &linkv1.WorksFromAgent_Probe{Probe: answer}})
		return
	}
	if answer.OfBuckets {
		asked := map[uint32]struct{}{}
		for _, b := range p.GetBuckets() {
			asked[b] = struct{}{}
		}
		refs = slices.DeleteFunc(refs, func(r Ref) bool {
			_, yes := asked[bucketOf(r.Key, p.GetBucketCount())]
			return !yes
		})
	}
	sortRefs(refs)
	a.sendRefs(answer, refs)
}

// sendRefs sends refs in as many parts as they need, at least one.
func (a *Agent) sendRefs(head *linkv1.ProbeAnswer, refs []Ref) {
	parts := max(1, (len(refs)+refsPerPart-1)/refsPerPart)
	for part := range parts {
		answer := &linkv1.ProbeAnswer{
			Round: head.GetRound(), Part: uint32(part), Parts: uint32(parts), Total: head.GetTotal(), OfBuckets: head.GetOfBuckets(),
		}
		for _, r := range refs[part*refsPerPart : min(len(refs), (part+1)*refsPerPart)] {
			ref := r.Message()
			ref.Preserves = a.preserves[r.Key] == r.UID
			answer.Refs = append(answer.Refs, ref)
		}
		a.sendWorks(&linkv1.WorksFromAgent{Message: &linkv1.WorksFromAgent_Probe{Probe: answer}})
	}
}

func (a *Agent) receivePut(p *linkv1.Put) {
	work := p.GetWork()
	if work.GetKey() == "" || work.GetUid() == "" {
		a.ack(p.GetSequence(), work.GetKey(), linkv1.AckOutcome_ACK_OUTCOME_REFUSED, "a work needs a key and a UID")
		return
	}
	if a.saidBefore(work.GetKey(), p.GetSequence()) {
		return
	}
	delete(a.weighing, work.GetKey())
	a.dropHeld(work.GetKey())
	work.Revision, work.Incarnation = p.GetRevision(), a.welcome.GetIncarnation()
	a.begin(work.GetKey(), &operation{sequence: p.GetSequence(), put: work, revision: p.GetRevision()})
}

func (a *Agent) receiveRemoval(r *linkv1.Removal, now time.Time) {
	key := r.GetKey()
	if key == "" || r.GetUid() == "" {
		a.ack(r.GetSequence(), key, linkv1.AckOutcome_ACK_OUTCOME_REFUSED, "a removal needs a key and a UID")
		return
	}
	if a.saidBefore(key, r.GetSequence()) {
		return
	}
	delete(a.weighing, key)
	if r.GetCause() == linkv1.RemovalCause_REMOVAL_CAUSE_ABSENT {
		a.noteAbsent(r)
		return
	}
	a.obey(r, now)
}

// obey carries a removal out, or holds it, as soon as it is known what it takes along. What the work preserves stays whatever
// the removal says, and so does what is being let go of when it is said again. That is decided here, so that what the brake
// does not count deletes nothing.
func (a *Agent) obey(r *linkv1.Removal, now time.Time) {
	id := RemovalID{Key: r.GetKey(), UID: r.GetUid()}
	r.Keep = r.GetKeep() || a.preserves[id.Key] == id.UID || a.underWay(id).GetKeep()
	if a.weighs(r, now) {
		a.weighing[r.GetKey()] = r
		a.do(WeighRemoval{Sequence: r.GetSequence(), Removal: r, Most: a.brake.Limit(len(a.holds))})
		return
	}
	a.decide(r, Burden{}, now)
}

// weighs says whether it matters what a removal takes along.
func (a *Agent) weighs(r *linkv1.Removal, now time.Time) bool {
	id := RemovalID{Key: r.GetKey(), UID: r.GetUid()}
	return a.config.TakesAlong != nil && a.counts(r) && a.brake.Weighs(id, now) && a.config.TakesAlong(r)
}

// Weighed says what a removal takes along, which WeighRemoval has asked for. It is not heard when the hub has said something
// newer of the key.
func (a *Agent) Weighed(key string, sequence uint64, burden Burden, now time.Time) {
	r := a.weighing[key]
	if a.over || r.GetSequence() != sequence {
		return
	}
	delete(a.weighing, key)
	if a.holds[key].UID == r.GetUid() {
		r.Keep = burden.Keep // it was not asked for of what is kept anyway
		a.decide(r, burden, now)
	}
}

// heldByBrake is what the hub is told of a removal that waits for no reason of its own.
const heldByBrake = "the agent's brake holds it until it is confirmed"

func (a *Agent) decide(r *linkv1.Removal, burden Burden, now time.Time) {
	key := r.GetKey()
	if !a.brakes(r, burden, now) {
		a.dropHeld(key)
		a.begin(key, &operation{sequence: r.GetSequence(), removal: r, revision: r.GetRevision()})
		return
	}
	a.hold(r)
	if r.GetCause() != linkv1.RemovalCause_REMOVAL_CAUSE_ABSENT { // which has been answered
		a.conclude(key, r.GetSequence(), linkv1.AckOutcome_ACK_OUTCOME_HELD, cmp.Or(burden.Text, heldByBrake))
	}
}

// saidBefore recognises what was said twice or overtaken by something newer about the same key, and repeats the answer.
func (a *Agent) saidBefore(key string, sequence uint64) bool {
	last, known := a.heard[key]
	if !known {
		last.sequence = a.forgotten
	}
	if sequence > last.sequence {
		a.heard[key] = heardOf{sequence: sequence}
		a.newest = max(a.newest, sequence)
		a.forgetHeard()
		return false
	}
	if sequence == last.sequence && last.outcome != linkv1.AckOutcome_ACK_OUTCOME_UNSPECIFIED {
		a.ack(sequence, key, last.outcome, "")
	}
	return true
}

// forgetHeard bounds what is remembered of keys that are gone. What is forgotten counts as said before.
func (a *Agent) forgetHeard() {
	if len(a.heard) <= len(a.holds)+2*heardKept || a.newest < heardKept {
		return
	}
	a.forgotten = a.newest - heardKept
	for key, last := range a.heard {
		_, holds := a.holds[key]
		if !holds && a.ops[key] == nil && last.sequence <= a.forgotten {
			delete(a.heard, key)
		}
	}
}

// noteAbsent keeps a removal until the list that it follows from has proved to be whole and new enough.
func (a *Agent) noteAbsent(r *linkv1.Removal) {
	if r.GetRound() < a.absentRound {
		return
	}
	if r.GetRound() > a.absentRound || a.absent == nil {
		a.absentRound, a.absent = r.GetRound(), map[string]*linkv1.Removal{}
	}
	a.absent[r.GetKey()] = r
	a.conclude(r.GetKey(), r.GetSequence(), linkv1.AckOutcome_ACK_OUTCOME_NOTED, "")
}

// receiveComplete checks the list and, only if every check passes, removes what it lacks.
func (a *Agent) receiveComplete(c *linkv1.Complete, now time.Time) {
	if a.saidBefore("", c.GetSequence()) {
		return
	}
	absent := a.absent
	if c.GetRound() != a.absentRound {
		absent = nil
	}
	if why := a.distrust(c, absent); why != "" {
		a.absent = nil
		a.conclude("", c.GetSequence(), linkv1.AckOutcome_ACK_OUTCOME_REFUSED, why)
		return
	}
	a.absent = nil
	if a.mark.Incarnation != c.GetIncarnation() {
		a.mark.Incarnation, a.mark.Revision = c.GetIncarnation(), c.GetRevision()
	}
	a.sawRevision(c.GetRevision())
	a.seen = c.GetRevision()
	for _, key := range sortedKeys(absent) {
		r := absent[key]
		if a.holds[key].UID != r.GetUid() {
			continue // replaced by a newer work meanwhile
		}
		a.obey(r, now)
	}
	a.brake.Retain(func(id RemovalID) bool { return a.held[id.Key].GetUid() == id.UID })
	a.brake.compared()
	a.synced = true
	a.do(Synchronised{Works: c.GetWorks()})
	a.conclude("", c.GetSequence(), linkv1.AckOutcome_ACK_OUTCOME_DURABLE, "")
	a.remember(now)
}

// distrust says why a list is not taken as complete; empty when it is.
func (a *Agent) distrust(c *linkv1.Complete, absent map[string]*linkv1.Removal) string {
	noted := len(absent)
	switch {
	case c.GetIncarnation() != a.welcome.GetIncarnation():
		return fmt.Sprintf("the list is of incarnation %q and the welcome was of %q", c.GetIncarnation(), a.welcome.GetIncarnation())
	case c.GetAbsent() != uint64(noted):
		return fmt.Sprintf("the list lacks %d works that are held here and %d were named", c.GetAbsent(), noted)
	case a.restoring && slices.ContainsFunc(slices.Collect(maps.Values(absent)), func(r *linkv1.Removal) bool { return !r.GetConfirmed() }):
		return "the hub's store is older than what was seen here: nothing is removed because a list lacks it"
	case noted > 0 && a.mark.Incarnation == c.GetIncarnation() && c.GetRevision() < a.seen:
		return fmt.Sprintf("the list is of revision %d and revision %d was seen here", c.GetRevision(), a.seen)
	}
	return ""
}

// brakes decides whether a removal has to wait. What is not held here costs nothing, but in restore mode, when
// something of it may be in the member all the same.
func (a *Agent) brakes(r *linkv1.Removal, burden Burden, now time.Time) bool {
	id := RemovalID{Key: r.GetKey(), UID: r.GetUid()}
	switch {
	case r.GetConfirmed() || a.brake.Confirmed(id):
		return false
	case a.restoring && (a.isHeld(id) || len(r.GetObjects()) > 0):
		a.brake.Hold(id)
		return true
	case !a.counts(r):
		return false
	}
	return !a.brake.Pass(id, 1+max(0, burden.Others), len(a.holds), now)
}

// counts says whether the brake counts a removal. One that only lets go deletes nothing; one that is under way was let
// through already, and nobody must be told that it waits.
func (a *Agent) counts(r *linkv1.Removal) bool {
	id := RemovalID{Key: r.GetKey(), UID: r.GetUid()}
	return !a.restoring && !r.GetConfirmed() && !r.GetKeep() && r.GetCause() != linkv1.RemovalCause_REMOVAL_CAUSE_TEMPLATE_DELETED &&
		a.isHeld(id) && a.underWay(id) == nil
}

// underWay is the removal that was let through and is not durable yet, nil when there is none.
func (a *Agent) underWay(id RemovalID) *linkv1.Removal {
	for op := a.ops[id.Key]; op != nil; op = op.next {
		if op.removal.GetUid() == id.UID {
			return op.removal
		}
	}
	return nil
}

// nowHolds notes what has become durable, and whether its objects stay when it is removed.
func (a *Agent) nowHolds(r Ref, preserves bool) {
	a.holds[r.Key] = r
	delete(a.preserves, r.Key)
	if preserves {
		a.preserves[r.Key] = r.UID
	}
}

func (a *Agent) isHeld(id RemovalID) bool { return a.holds[id.Key].UID == id.UID }

func (a *Agent) hold(r *linkv1.Removal) {
	a.held[r.GetKey()] = r
	a.heldChanged = true
}

// dropHeld forgets a held removal after which the hub has said something newer about the key.
func (a *Agent) dropHeld(key string) {
	if r, there := a.held[key]; there {
		delete(a.held, key)
		a.brake.release(RemovalID{Key: key, UID: r.GetUid()})
		a.heldChanged = true
	}
}

// confirm carries out what a person has confirmed.
func (a *Agent) confirm(c *linkv1.BrakeConfirmation) {
	for _, ref := range c.GetRemovals() {
		r, there := a.held[ref.GetKey()]
		if !there || r.GetUid() != ref.GetUid() {
			continue
		}
		a.dropHeld(ref.GetKey())
		a.brake.Confirm(RemovalID{Key: ref.GetKey(), UID: ref.GetUid()})
		a.begin(ref.GetKey(), &operation{sequence: r.GetSequence(), removal: r, revision: r.GetRevision()})
	}
}

func (a *Agent) noticeBrake() {
	if !a.heldChanged {
		return
	}
	a.heldChanged = false
	exceeded := a.brake.Exceeded()
	notice := &linkv1.BrakeNotice{
		Held: uint64(len(a.held)), Passed: uint64(exceeded.Passed),
		Limit: uint64(cmp.Or(exceeded.Limit, a.brake.Limit(len(a.holds)))), Window: durationpb.New(a.brake.Window()),
	}
	for _, key := range sortedKeys(a.held) {
		if len(notice.Removals) == maxRefsAtOnce {
			break
		}
		notice.Removals = append(notice.Removals, &linkv1.RemovalRef{Key: key, Uid: a.held[key].GetUid()})
	}
	a.send(&linkv1.FromAgent{Message: &linkv1.FromAgent_Brake{Brake: notice}})
}

// begin makes something durable. Of one key only one operation is carried out at a time; of those that come meanwhile
// only the last one counts, and the hub hears nothing about the others, which it has replaced itself.
func (a *Agent) begin(key string, op *operation) {
	if running := a.ops[key]; running != nil {
		if running.retryAt.IsZero() {
			running.next = op
			return
		}
		op.failed = running.failed
	}
	a.ops[key] = op
	a.carryOut(op)
}

func (a *Agent) carryOut(op *operation) {
	if op.put != nil {
		a.do(PutWork{Sequence: op.sequence, Work: op.put})
	} else {
		a.do(RemoveWork{Sequence: op.sequence, Removal: op.removal})
	}
}

// ErrNotHeld is what Done is given for a removal of something that is neither held nor being removed.
var ErrNotHeld = errors.New("no work with this UID is held or being removed")

// Done says how PutWork or RemoveWork went. After an error it is tried again, more and more slowly, or the key's next
// message takes its place.
func (a *Agent) Done(key string, sequence uint64, err error, now time.Time) {
	op := a.ops[key]
	if op == nil || op.sequence != sequence || a.over {
		return
	}
	switch {
	case err == nil:
		a.isDurable(key, op)
		a.conclude(key, sequence, linkv1.AckOutcome_ACK_OUTCOME_DURABLE, "")
	case op.removal != nil && errors.Is(err, ErrNotHeld):
		a.isDurable(key, op)
		a.conclude(key, sequence, linkv1.AckOutcome_ACK_OUTCOME_GONE, "")
	case op.next == nil:
		op.failed++
		op.retryAt = now.Add(min(a.settings.RetryMax, a.settings.RetryMin<<min(op.failed-1, 10)))
		return
	}
	delete(a.ops, key)
	if op.next != nil {
		a.begin(key, op.next)
	}
}

func (a *Agent) isDurable(key string, op *operation) {
	if op.put != nil {
		a.nowHolds(RefOfWork(op.put), op.put.GetPreserveResourcesOnDeletion())
	} else {
		id := RemovalID{Key: key, UID: op.removal.GetUid()}
		if a.holds[key].UID == id.UID {
			delete(a.holds, key)
			delete(a.preserves, key)
		}
		a.brake.Forget(id)
	}
	if a.mark.Incarnation == a.welcome.GetIncarnation() {
		a.sawRevision(op.revision)
	}
}

// sawRevision raises the mark. Before the first Complete of another incarnation revisions say nothing.
func (a *Agent) sawRevision(revision int64) { a.mark.Revision = max(a.mark.Revision, revision) }

// conclude answers a message and remembers the answer for the case that the message comes again.
func (a *Agent) conclude(key string, sequence uint64, outcome linkv1.AckOutcome, message string) {
	if a.heard[key].sequence == sequence {
		a.heard[key] = heardOf{sequence: sequence, outcome: outcome}
	}
	a.ack(sequence, key, outcome, message)
}

func (a *Agent) ack(sequence uint64, key string, outcome linkv1.AckOutcome, message string) {
	a.acks = append(a.acks, &linkv1.Ack{Sequence: sequence, Key: key, Outcome: outcome, Message: message})
}

func (a *Agent) flushAcks() {
	for part := range slices.Chunk(a.acks, maxRefsAtOnce) {
		a.sendWorks(&linkv1.WorksFromAgent{Message: &linkv1.WorksFromAgent_Acks{Acks: &linkv1.Acks{Acks: part}}})
	}
	a.acks = nil
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}
