package session

import (
	"time"

	linkv1 "windlass.dev/windlass/api/link/v1"
)

// A HubEffect is something that the hub's side asks its owner to do.
type HubEffect interface{ hubEffect() }

// An AgentEffect is something that the agent's side asks its owner to do.
type AgentEffect interface{ agentEffect() }

// Effects of the hub's side.
type (
	// SendToAgent: put the message on the stream, in order.
	SendToAgent struct{ Message *linkv1.FromHub }
	// Hail: an agent has said hello. Find out whether it may come in, give it an epoch, read the store, and call Admit
	// or Close.
	Hail struct{ Hello *linkv1.Hello }
	// RestoreDetected: this member has seen more than the store has, or another store. Durably enter restore mode for
	// the member and call Admit with the new view.
	RestoreDetected struct {
		// Unnoticed is true when the store's history does not show that it was cut back, and so it is this agent's word alone.
		// When another member has shown the same, the store is first to get a new era that takes over nothing of those
		// before, so that every member is found out at its next hello; when none has, the store is Doubted for the others
		// while this one is in restore mode.
		Unnoticed bool
		Message   string
	}
	// RestoreSettled: a person has confirmed what waited in restore mode, and a comparison after that found nothing else
	// that only the member has. Durably leave restore mode for the member and close with BEGIN_ANEW.
	RestoreSettled struct{}
	// RecordReport: write the report to the store, then call Recorded with its key and sequence, and with the revision at
	// which the store has it. A newer report of the same key makes an older one that is not yet written superfluous.
	RecordReport struct{ Report *linkv1.Report }
	// RecordRemoval: the member has carried the removal out. Release the work with this UID, then call Recorded with the
	// same sequence, and revision 0: a store that lacks it orders the removal again.
	RecordRemoval struct {
		Key, UID string
		Sequence uint64
	}
	// RecordFacts: the member as a whole has changed.
	RecordFacts struct{ Facts *linkv1.ClusterFacts }
	// Answered: the agent has answered a question.
	Answered struct{ Answer *linkv1.Answer }
	// CapacityGrown: the member has more room than the agent's answers since the last time said.
	CapacityGrown struct{}
	// RenewalWanted: sign a certificate and send the answer through Tell.
	RenewalWanted struct{ Request *linkv1.RenewalRequest }
	// HoldChanged: what waits for a person's confirmation is different from before.
	HoldChanged struct{ Hold Hold }
	// Entered: the machine is in another state.
	Entered struct{ State State }
	// Remarked: something happened that a person who looks for a fault wants to read.
	Remarked struct{ Message string }
	// UnknownMessage: the peer said something that this version has no word for. It was ignored.
	UnknownMessage struct{}
	// Ended: close the stream when everything before this was sent. Nothing follows.
	Ended struct{ End End }
)

// Effects of the agent's side. SendToHub, and some of the above.
type (
	// SendToHub: put the message on the stream, in order.
	SendToHub struct{ Message *linkv1.FromAgent }
	// PutWork: make the work durable, then call Done with its key and sequence.
	PutWork struct {
		Sequence uint64
		Work     *linkv1.Work
	}
	// RemoveWork: make the removal durable, then call Done with its key and sequence. What is neither held nor being
	// removed under this UID is answered with ErrNotHeld.
	RemoveWork struct {
		Sequence uint64
		Removal  *linkv1.Removal
	}
	// WeighRemoval: find out how many objects the removal deletes that are no work's, then call Weighed with its key and
	// sequence. There is no need to count beyond Most.
	WeighRemoval struct {
		Sequence uint64
		Removal  *linkv1.Removal
		Most     int
	}
	// Remember: keep the mark durably, and with it what the brake counts and whether it holds something. When First is
	// set, because the mark's incarnation is new or the brake begins to hold something, call Remembered with the mark
	// then: what must not come before it waits. Losing another revision only weakens the notice that a hub was restored.
	Remember struct {
		Mark  Mark
		First bool
	}
	// Welcomed: the hub has let this agent in.
	Welcomed struct{ Welcome *linkv1.Welcome }
	// Synchronised: the hub has said that it has told everything it wants.
	Synchronised struct{ Works uint64 }
	// ReportRecorded: the hub has this report in its store.
	ReportRecorded struct {
		Key, UID string
		Phase    linkv1.Phase
	}
	// Asked: answer the question through Tell.
	Asked struct{ Question *linkv1.Question }
	// Renewed: the answer to a request for renewal.
	Renewed struct{ Answer *linkv1.RenewalAnswer }
)

// An End says why a session is over.
type End struct {
	Reason  linkv1.GoodbyeReason
	Message string
	// RetryAfter is how long the agent stays away at least.
	RetryAfter time.Duration
	// ByPeer is true when the other side said goodbye.
	ByPeer bool
}

// A Burden is what the removal of a work takes along.
type Burden struct {
	// Others is how many objects it deletes that are no work's; what can't be counted is more than the brake lets pass.
	Others int
	// Text says so to a person: "30 objects in Namespace shop that no work has put there".
	Text string
	// Keep is true when it deletes nothing: all that it would delete holds something that a policy preserves.
	Keep bool
}

// A Mark is what an agent remembers of the hub it obeys.
type Mark struct {
	HubID string
	// Incarnation is the era of the store in which the agent was last let in.
	Incarnation string
	// Revision is the highest store revision that the agent has seen by then: it is part of that era's history.
	Revision int64
	// Epoch is the last session's.
	Epoch int64
}

// MarkOf is the mark that an agent says hello with.
func MarkOf(h *linkv1.Hello) Mark {
	return Mark{HubID: h.GetHubId(), Incarnation: h.GetIncarnation(), Revision: h.GetHighWaterRevision(), Epoch: h.GetSessionEpoch()}
}

// Raise returns the mark with the highest revision of what is held, as far as it is of the mark's incarnation; a mark
// without an incarnation takes that of the newest. The mark is written later than the works, so after a crash it may be
// behind them.
func (m Mark) Raise(held []*linkv1.WorkRef) Mark {
	adopt := m.Incarnation == ""
	for _, r := range held {
		if adopt && r.GetIncarnation() != "" && r.GetRevision() > m.Revision {
			m.Incarnation, m.Revision = r.GetIncarnation(), r.GetRevision()
		}
		if m.Incarnation != "" && r.GetIncarnation() == m.Incarnation {
			m.Revision = max(m.Revision, r.GetRevision())
		}
	}
	return m
}

// A Hold tells what waits for a person.
type Hold struct {
	// ID changes with the set of what is held. A confirmation repeats it, so nobody confirms what he has not seen.
	ID string
	// Held removals; how many of them the agent's own brake holds; and how many are of works that the member has and
	// the store does not.
	Held, HeldByAgent, Unknown int
	// Restoring is true when the member is in restore mode, where everything is held.
	Restoring bool
	// Doubted is true when the store may have been cut back, for all that another member shows: what it lacks is held.
	Doubted bool
	// Excess is how what is held began, on whichever side; zero when that is not known any more.
	Excess Excess
	// Along is what a removal of what holds others would take along, as the agent says; empty when that is not why it is held.
	Along string
	// Examples are the first few of the held; those that the store does not have come first.
	Examples []RemovalID
}

func (SendToAgent) hubEffect()     {}
func (Hail) hubEffect()            {}
func (RestoreDetected) hubEffect() {}
func (RestoreSettled) hubEffect()  {}
func (RecordReport) hubEffect()    {}
func (RecordRemoval) hubEffect()   {}
func (RecordFacts) hubEffect()     {}
func (Answered) hubEffect()        {}
func (CapacityGrown) hubEffect()   {}
func (RenewalWanted) hubEffect()   {}
func (HoldChanged) hubEffect()     {}
func (Entered) hubEffect()         {}
func (Remarked) hubEffect()        {}
func (UnknownMessage) hubEffect()  {}
func (Ended) hubEffect()           {}

func (SendToHub) agentEffect()      {}
func (PutWork) agentEffect()        {}
func (RemoveWork) agentEffect()     {}
func (WeighRemoval) agentEffect()   {}
func (Remember) agentEffect()       {}
func (Welcomed) agentEffect()       {}
func (Synchronised) agentEffect()   {}
func (ReportRecorded) agentEffect() {}
func (Asked) agentEffect()          {}
func (Renewed) agentEffect()        {}
func (Remarked) agentEffect()       {}
func (UnknownMessage) agentEffect() {}
func (Ended) agentEffect()          {}
