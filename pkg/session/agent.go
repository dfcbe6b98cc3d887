package session

import (
	"fmt"
	"time"

	linkv1 "windlass.dev/windlass/api/link/v1"
)

// AgentConfig is what the agent's side of a session needs.
type AgentConfig struct {
	// Settings of the agent. What the hub's Welcome says about heartbeats and the report window takes their place.
	Settings      Settings
	Version       string
	Capabilities  []string
	KubeSystemUID string
	// Mark is what was last remembered.
	Mark Mark
	// Holds are the works whose state is durable in the member. The mark must not be below theirs: see Mark.Raise.
	Holds []*linkv1.WorkRef
	// Report returns the present report of a key, nil when there is none. The session copies it.
	Report func(key string) *linkv1.Report
	// Unreported are the keys that the session before has not got rid of.
	Unreported []string
	// Reported is what the session before has returned by that name. A process that starts reports everything anyway.
	Reported Mark
	// Brake of this member; it outlives sessions.
	Brake *Brake
	// TakesAlong says whether carrying a removal out may delete more than the objects of its work, as the end of a Namespace
	// does: such a removal is weighed. Nil: none does.
	TakesAlong func(*linkv1.Removal) bool
	// Jitter draws from [0, 1); it spreads the heartbeats of many agents. Nil means none.
	Jitter func() float64
}

// An Agent is the agent's side of one session with the hub. Not safe for concurrent use.
type Agent struct {
	settings Settings
	config   AgentConfig
	brake    *Brake

	over      bool
	welcome   *linkv1.Welcome
	began     time.Time
	lastHeard time.Time
	effects   []AgentEffect

	mark       Mark
	remembered Mark
	rememberAt time.Time
	// durable is the mark of the era that the member remembers; firsts are how many marks are being made durable before
	// which the hub may not hear of what is held, and probed what it has asked in an era that is not remembered yet.
	durable Mark
	firsts  int
	probed  *linkv1.ProbeRequest
	// seen is the revision that a complete list must not be older than: the mark when this session began, or the list
	// before. What was put since is of this session's store in any case, and may well be newer than the list.
	seen int64
	// restoring: the hub's store is older than what this agent has seen, whether the hub knows it or not.
	restoring bool
	synced    bool

	// holds is what is durable, preserves the UIDs of those of it whose objects stay when they are removed; ops are being
	// made durable.
	holds     map[string]Ref
	preserves map[string]string
	ops       map[string]*operation
	// heard is the highest sequence of each key that was acted upon: what is said twice or late is not done again.
	heard map[string]heardOf
	// newest is the highest sequence heard; what is not in heard and not above forgotten counts as heard.
	newest, forgotten uint64
	acks              []*linkv1.Ack

	// absent are the removals that wait for the Complete of their round.
	absent      map[string]*linkv1.Removal
	absentRound uint64
	// weighing are the removals of which it is being found out what they take along.
	weighing map[string]*linkv1.Removal
	// held are the removals that the brake holds.
	held        map[string]*linkv1.Removal
	heldChanged bool
	// holdKept is what this session has made durable of whether the brake holds something.
	holdKept bool

	beatAt time.Time
	beat   uint64

	dirty   keyQueue
	reports map[string]*sentReport
	// reported is the highest revision at which the hub's store has one of the reports, and the era of that. It is no part of
	// the mark: a store that lacks nothing but statuses deletes nothing by mistake, and needs no person.
	reported       Mark
	reportSequence uint64
	facts          *linkv1.ClusterFacts
}

// An operation makes one work or one removal durable.
type operation struct {
	sequence uint64
	put      *linkv1.Work
	removal  *linkv1.Removal
	revision int64
	// next is what the hub has said since; it is begun when this is done.
	next *operation
	// After a failure: how often it failed and when it is tried again.
	failed  int
	retryAt time.Time
}

type heardOf struct {
	sequence uint64
	// outcome of the message with that sequence, unspecified while it is being carried out.
	outcome linkv1.AckOutcome
}

type sentReport struct {
	sequence uint64
	uid      string
	phase    linkv1.Phase
	at       time.Time
}

// NewAgent makes the agent's side of a session; the settings' defaults are filled in. Its first effect is the hello.
func NewAgent(c AgentConfig, now time.Time) *Agent {
	a := &Agent{
		settings: c.Settings.WithDefaults(), config: c, brake: c.Brake,
		began: now, lastHeard: now, mark: c.Mark, remembered: c.Mark, durable: c.Mark, seen: c.Mark.Revision,
		holds: make(map[string]Ref, len(c.Holds)), preserves: map[string]string{}, ops: map[string]*operation{}, heard: map[string]heardOf{},
		weighing: map[string]*linkv1.Removal{}, held: map[string]*linkv1.Removal{}, reports: map[string]*sentReport{},
		reported: c.Reported,
	}
	for _, r := range c.Holds {
		a.nowHolds(RefOf(r), r.GetPreserves())
	}
	for _, key := range c.Unreported {
		a.dirty.push(key)
	}
	hello := &linkv1.Hello{
		ProtocolVersion: ProtocolVersion, OldestProtocolVersion: OldestProtocolVersion,
		Capabilities: c.Capabilities, AgentVersion: c.Version, KubeSystemUid: c.KubeSystemUID,
		HubId: c.Mark.HubID, Incarnation: c.Mark.Incarnation, HighWaterRevision: c.Mark.Revision, SessionEpoch: c.Mark.Epoch,
		ReportedRevision: c.Reported.Revision,
	}
	if c.Reported.Incarnation != c.Mark.Incarnation {
		hello.ReportedIncarnation = c.Reported.Incarnation
	}
	a.send(&linkv1.FromAgent{Message: &linkv1.FromAgent_Hello{Hello: hello}})
	return a
}

// Mark is what the agent has seen of the hub so far, in the last era that the member remembers.
func (a *Agent) Mark() Mark {
	mark := a.mark
	if !a.followed() {
		mark.Incarnation, mark.Revision = a.durable.Incarnation, a.durable.Revision
	}
	return mark
}

// Synchronised says whether the hub has told everything it wants in this session.
func (a *Agent) Synchronised() bool { return a.synced }

// Holds is how many works are durable here.
func (a *Agent) Holds() int { return len(a.holds) }

// Unreported are the keys whose present report the hub has not recorded. Pass them to the next session.
func (a *Agent) Unreported() []string {
	return append(a.dirty.keys(), sortedKeys(a.reports)...)
}

// Reported is the highest revision at which the hub has recorded a report, and the era of that, which the member need not
// remember. Pass it to the next session of the process.
func (a *Agent) Reported() Mark { return a.reported }

// Receive takes a message from the hub.
func (a *Agent) Receive(m *linkv1.FromHub, now time.Time) {
	if a.over {
		return
	}
	a.lastHeard = now
	if goodbye := m.GetGoodbye(); goodbye != nil {
		a.end(endByPeer(goodbye))
		return
	}
	if welcome := m.GetWelcome(); welcome != nil {
		a.receiveWelcome(welcome, now)
		return
	}
	if a.welcome == nil {
		a.do(Remarked{Message: fmt.Sprintf("ignored %T before the welcome", m.GetMessage())})
		return
	}
	switch message := m.GetMessage().(type) {
	case *linkv1.FromHub_Heartbeat:
		if next := message.Heartbeat.GetNext().AsDuration(); next > 0 {
			a.beatAt = now.Add(min(next, a.settings.HeartbeatTimeout/2))
		}
	case *linkv1.FromHub_Works:
		a.receiveWorks(message.Works, now)
	case *linkv1.FromHub_Reports:
		a.receiveReports(message.Reports)
	case *linkv1.FromHub_Question:
		a.do(Asked{Question: message.Question})
	case *linkv1.FromHub_Renewal:
		a.do(Renewed{Answer: message.Renewal})
	case *linkv1.FromHub_Brake:
		a.confirm(message.Brake)
	default:
		a.do(UnknownMessage{})
	}
}

func (a *Agent) receiveWelcome(w *linkv1.Welcome, now time.Time) {
	if a.welcome != nil {
		a.do(Remarked{Message: "ignored a second welcome"})
		return
	}
	if v := w.GetProtocolVersion(); v < OldestProtocolVersion || v > ProtocolVersion {
		a.Close(linkv1.GoodbyeReason_GOODBYE_REASON_INCOMPATIBLE, fmt.Sprintf("the hub wants to speak protocol version %d", v))
		return
	}
	if a.mark.HubID != "" && w.GetHubId() != a.mark.HubID {
		a.Close(linkv1.GoodbyeReason_GOODBYE_REASON_WRONG_HUB,
			fmt.Sprintf("this agent obeys hub %s and was welcomed by hub %s", a.mark.HubID, w.GetHubId()))
		return
	}
	a.welcome = w
	if d := w.GetHeartbeatInterval().AsDuration(); d > 0 {
		a.settings.HeartbeatInterval = d
	}
	if d := w.GetHeartbeatTimeout().AsDuration(); d > 0 {
		a.settings.HeartbeatTimeout = d
	}
	if n := w.GetReportWindow(); n > 0 {
		a.settings.ReportWindow = min(int(n), maxWindow)
	}
	first, other := a.mark.Incarnation == "", a.mark.Incarnation != w.GetIncarnation()
	// Within one history, which a hub that starts goes on with under another name, revisions only grow.
	older := !first && (!other || w.GetContinues()) && w.GetRevision() < a.mark.Revision
	a.restoring = w.GetRestore() || older || (!first && other && !w.GetContinues())
	a.mark.HubID = w.GetHubId()
	a.mark.Epoch = max(a.mark.Epoch, w.GetSessionEpoch())
	if a.restoring || w.GetReportsLost() {
		// What the store knew of this member's reports may be lost as well, or is lost alone.
		a.ReportsDirty(sortedKeys(a.holds)...)
		a.reported = Mark{}
	}
	a.followStore(w, first)
	if other {
		a.remember(now)
	}
	// Anywhere in the interval: from then on the hub says when, and keeps to the moments that it finds.
	a.beatAt = now.Add(time.Duration(float64(a.settings.HeartbeatInterval) * a.draw()))
	a.do(Welcomed{Welcome: w})
}

// followStore takes the mark into the hub's present era. That is done before anything of that era is obeyed, and the
// owner makes it durable first: a work that is held must never be of a later era than the mark.
func (a *Agent) followStore(w *linkv1.Welcome, first bool) {
	switch {
	case w.GetContinues():
		a.mark.Incarnation = w.GetIncarnation()
	case first, w.GetRestore():
		// From here on the agent obeys this store and is wary of any other. The hub, if it is in restore mode, has
		// stored that at a revision that is not above this one: it will know of it the next time as well, or its store
		// will have been cut back once more, and below this mark.
		a.mark.Incarnation, a.mark.Revision, a.seen = w.GetIncarnation(), w.GetRevision(), w.GetRevision()
	}
}

// SetFacts has the facts sent as soon as the hub has let this agent in.
func (a *Agent) SetFacts(f *linkv1.ClusterFacts) { a.facts = f }

// Tell sends an answer or a request for renewal; nothing before the welcome.
func (a *Agent) Tell(m *linkv1.FromAgent) bool {
	if a.over || a.welcome == nil {
		return false
	}
	a.send(m)
	return true
}

// Close says goodbye and ends the session.
func (a *Agent) Close(reason linkv1.GoodbyeReason, message string) {
	if a.over {
		return
	}
	a.send(&linkv1.FromAgent{Message: &linkv1.FromAgent_Goodbye{Goodbye: &linkv1.Goodbye{Reason: reason, Message: message}}})
	a.end(End{Reason: reason, Message: message})
}

// Tick tells the time. It is due at Deadline; earlier or later does no harm.
func (a *Agent) Tick(now time.Time) {
	switch {
	case a.over:
		return
	case a.welcome == nil:
		if now.Sub(a.began) >= a.settings.HelloTimeout {
			a.Close(linkv1.GoodbyeReason_GOODBYE_REASON_SILENCE, fmt.Sprintf("the hub did not answer the hello within %s", a.settings.HelloTimeout))
		}
		return
	case now.Sub(a.lastHeard) >= a.settings.HeartbeatTimeout:
		a.Close(linkv1.GoodbyeReason_GOODBYE_REASON_SILENCE, fmt.Sprintf("nothing was heard from the hub for %s", a.settings.HeartbeatTimeout))
		return
	}
	if !now.Before(a.beatAt) {
		a.beat++
		a.send(&linkv1.FromAgent{Message: &linkv1.FromAgent_Heartbeat{Heartbeat: &linkv1.Heartbeat{Number: a.beat}}})
		a.beatAt = now.Add(time.Duration(float64(a.settings.HeartbeatInterval) * (0.8 + 0.4*a.draw())))
	}
	for _, key := range sortedKeys(a.ops) {
		if op := a.ops[key]; !op.retryAt.IsZero() && !now.Before(op.retryAt) {
			op.retryAt = time.Time{}
			a.carryOut(op)
		}
	}
	for _, key := range sortedKeys(a.reports) {
		if now.Sub(a.reports[key].at) >= reportsAgain*a.settings.AnswerTimeout {
			delete(a.reports, key)
			a.dirty.push(key)
		}
	}
	if a.synced && now.Sub(a.rememberAt) >= time.Minute {
		a.remember(now)
	}
}

func (a *Agent) draw() float64 {
	if a.config.Jitter == nil {
		return 0.5
	}
	return a.config.Jitter()
}

// Deadline is when Tick is due next.
func (a *Agent) Deadline(now time.Time) time.Time {
	if a.welcome == nil {
		return a.began.Add(a.settings.HelloTimeout)
	}
	due := a.lastHeard.Add(a.settings.HeartbeatTimeout)
	if a.beatAt.Before(due) {
		due = a.beatAt
	}
	for _, op := range a.ops {
		if !op.retryAt.IsZero() && op.retryAt.Before(due) {
			due = op.retryAt
		}
	}
	if len(a.reports) > 0 && now.Add(busyTick).Before(due) {
		due = now.Add(busyTick)
	}
	return due
}

// Ready returns what has to be done, in order, and forgets it.
func (a *Agent) Ready(now time.Time) []AgentEffect {
	if !a.over && a.welcome != nil {
		a.keepHold(now)
		if a.firsts == 0 {
			a.flushAcks()
		}
		a.pumpReports(now)
		if a.facts != nil {
			a.send(&linkv1.FromAgent{Message: &linkv1.FromAgent_Facts{Facts: a.facts}})
			a.facts = nil
		}
		if a.firsts == 0 {
			a.noticeBrake()
		}
	}
	effects := a.effects
	a.effects = nil
	return effects
}

// remember keeps the mark if it has changed.
func (a *Agent) remember(now time.Time) {
	if a.mark != a.remembered {
		a.keep(!a.followed(), now)
	}
	a.rememberAt = now
}

func (a *Agent) keep(first bool, now time.Time) {
	a.remembered, a.rememberAt = a.mark, now
	if first {
		a.firsts++
	}
	a.do(Remember{Mark: a.mark, First: first})
}

// followed says whether the member remembers the era that the mark is in. An agent that held a work of a later era than
// its mark, and started anew, could not tell a restored hub.
func (a *Agent) followed() bool { return a.durable.Incarnation == a.mark.Incarnation }

// Remembered says that the mark of a Remember that was to be first is durable.
func (a *Agent) Remembered(m Mark) {
	a.firsts--
	a.durable = m
	if probe := a.probed; probe != nil && a.followed() && !a.over {
		a.probed = nil
		a.answerProbe(probe)
	}
}

// keepHold makes durable that the brake begins to hold something, before the hub hears of it, and that it ends to: an
// agent that starts anew must let nothing through that waits for a person.
func (a *Agent) keepHold(now time.Time) {
	if holds := a.brake.Holds(); holds != a.holdKept {
		a.holdKept = holds
		a.keep(holds || !a.followed(), now)
	}
}

func (a *Agent) end(e End) {
	a.over = true
	a.do(Ended{End: e})
}

func (a *Agent) do(e AgentEffect) { a.effects = append(a.effects, e) }

func (a *Agent) send(m *linkv1.FromAgent) { a.do(SendToHub{Message: m}) }

func (a *Agent) sendWorks(w *linkv1.WorksFromAgent) {
	a.send(&linkv1.FromAgent{Message: &linkv1.FromAgent_Works{Works: w}})
}
