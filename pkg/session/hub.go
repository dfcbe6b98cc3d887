package session

import (
	"cmp"
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	linkv1 "windlass.dev/windlass/api/link/v1"
)

// State is where the hub's side of a session stands.
type State string

const (
	// Admit: the agent has not said hello, or the owner has not answered it yet.
	Admit State = "Admit"
	// Probe: the hub does not know what the agent holds, and asks.
	Probe State = "Probe"
	// Snapshot: the differences are being sent.
	Snapshot State = "Snapshot"
	// Replicate: the agent has been told everything; dirty keys are sent as they come.
	Replicate State = "Replicate"
	// Over: nothing is said any more.
	Over State = "Over"
)

// A Listed work is one that the hub's store has for the member.
type Listed struct {
	// Ref of the work's present state, also while it is being removed. Generation 0 means that it is not known; it then
	// proves nothing about the store's age.
	Ref
	// Removing is true from the moment the work's deletion was asked for.
	Removing bool
	// Unreported is true when the store has no report about this generation. If the agent holds it, it is asked for
	// one: the report may have been lost with a store that was restored.
	Unreported bool
}

// A Removing order says how a work is to be taken away.
type Removing struct {
	UID   string
	Cause linkv1.RemovalCause
	// Keep leaves the objects in the member.
	Keep bool
	// Confirmed removals pass every brake.
	Confirmed bool
	// Objects are what the work is made of, for an agent that does not hold it.
	Objects []*linkv1.ObjectRef
}

// An Item is the present state of one work.
type Item struct {
	// Revision of the store at which the work had this state.
	Revision int64
	// Work is what the member shall have.
	Work *linkv1.Work
	// Removing is set from the moment the work's deletion was asked for: then the member shall not have it any more.
	Removing *Removing
}

// A Source is what the hub wants of one member, read from memory. It is never older than the StoreView of Admit.
type Source interface {
	// List returns every work, and the store's revision that the list is not older than: at least that of every item
	// that was looked up before.
	List() ([]Listed, int64)
	// Look returns one work; false when the store has none.
	Look(key string) (Item, bool)
}

// A StoreView is what the hub knows about its store.
type StoreView struct {
	HubID string
	// History of the store; its present era is the incarnation that the agent is told. It was durable before.
	History History
	// Revision of the store at or after the moment at which the agent said hello: a linearizable read.
	Revision int64
	// Restoring is true while this member is in restore mode.
	Restoring bool
	// Doubted is true while another member is in restore mode that is the only one to show that the store was cut back: see
	// storeIsOlder.
	Doubted bool
}

// mayLack says whether what the member has may be what the store has lost.
func (v StoreView) mayLack() bool { return v.Restoring || v.Doubted }

// DoubtsRemoval says why a cluster that the store does not have need not have been removed from it; empty when it was. An
// agent is let in only while the store has its cluster. So a history that includes what the agent has seen has had the
// cluster, and lost it because somebody removed it. One that lacks some of it may be that of another store, or of one that is
// older than the cluster, and so may one that another cluster doubts; and it may be for an agent that has seen nothing: one
// that was told of its removal gives its identity up, and one that waits in vain has lost nothing.
func (v StoreView) DoubtsRemoval(seen Mark) string {
	switch {
	case seen.Incarnation == "":
		return "the agent has never been let in, so it can't tell whether this store has had its cluster"
	case v.Doubted:
		return "the store may have been restored from a backup, for another cluster has a later state of something"
	}
	return v.History.Lacks(seen, v.Revision)
}

// HubConfig is what the hub's side of a session needs.
type HubConfig struct {
	Settings     Settings
	Version      string
	Capabilities []string
	Source       Source
	// Brake of this member; it outlives sessions.
	Brake *Brake
}

// A Hub is the hub's side of one session with one agent. Not safe for concurrent use.
type Hub struct {
	settings Settings
	config   HubConfig
	source   Source
	brake    *Brake

	state     State
	hello     *linkv1.Hello
	store     StoreView
	epoch     int64
	began     time.Time
	lastHeard time.Time
	pace      pace
	effects   []HubEffect

	// What the agent holds, as far as it is known, and what is on its way there.
	works    map[string]*workState
	dirty    keyQueue
	flights  map[string]*flight
	sequence uint64
	// How many works the store had for the brake's percentage, and when; how many of them were wanted.
	counted   int
	countedAt time.Time
	wanted    int

	// The comparison. Round rises with every probe; what answers an older one is ignored.
	round   uint64
	probe   *probe
	reprobe bool
	// A list that the agent did not accept is not repeated before this time.
	reprobeAt time.Time
	// revision that the list of this round is not older than.
	revision int64
	// catching are the keys of the snapshot that are not yet acknowledged.
	catching map[string]struct{}
	// absent waits to be sent; absentSent were.
	absent     keyQueue
	absentUID  map[string]string
	absentSent map[string]struct{}
	complete   *flight

	// held are the removals that wait for a person, by key.
	held map[string]heldRemoval
	// clean: the comparison found nothing that only the member has.
	clean       bool
	holdChanged bool

	reportAcks []*linkv1.ReportAck
	// reportRevision is one in which all that reportAcks say is recorded.
	reportRevision int64
}

// workState is what one session knows about one work.
type workState struct {
	// held is what the agent has acknowledged; the zero Ref when it holds nothing or it is not known.
	held Ref
	// offered: a put was sent since the comparison, so the agent may hold the work even if no answer has come.
	offered bool
	// ordered is the UID whose removal was sent in this session and is past recall, whether or not an answer has come;
	// removing that which the agent has made durable.
	ordered, removing string
	// handedOver is the UID of a work that was sent so that its removal finds it: see former.
	handedOver string
	sent       *linkv1.Milestone
	// The newest report.
	reportSequence   uint64
	reportUID        string
	reportGeneration int64
	reportObserved   time.Time
}

// A flight is a message that is not acknowledged.
type flight struct {
	sequence uint64
	kind     flightKind
	ref      Ref
	at       time.Time
	// again: the key has become dirty since.
	again bool
}

type flightKind int

const (
	flightPut flightKind = iota
	flightRemoval
	flightAbsent
)

type heldRemoval struct {
	uid     string
	absent  bool
	byAgent bool
	along   string // see Hold.Along
}

// NewHub makes the hub's side of a session; the settings' defaults are filled in. It waits for the agent's hello.
func NewHub(c HubConfig, now time.Time) *Hub {
	return &Hub{
		settings: c.Settings.WithDefaults(), config: c, source: c.Source, brake: c.Brake,
		state: Admit, began: now, lastHeard: now,
		works: map[string]*workState{}, flights: map[string]*flight{}, held: map[string]heldRemoval{},
	}
}

// State is where the session stands.
func (h *Hub) State() State { return h.state }

// Unacknowledged is how many Put and Removal messages have no answer yet; never more than the window.
func (h *Hub) Unacknowledged() int { return len(h.flights) }

// Waiting is how many keys wait to be sent.
func (h *Hub) Waiting() int { return h.dirty.len() + h.absent.len() }

// Receive takes a message from the agent.
func (h *Hub) Receive(m *linkv1.FromAgent, now time.Time) {
	if h.state == Over {
		return
	}
	h.lastHeard = now
	if hello := m.GetHello(); hello != nil {
		h.receiveHello(hello)
		return
	}
	if goodbye := m.GetGoodbye(); goodbye != nil {
		h.end(endByPeer(goodbye))
		return
	}
	if h.epoch == 0 {
		// Before the welcome an agent has nothing to say but hello and goodbye.
		h.do(Remarked{Message: fmt.Sprintf("ignored %T before the session was admitted", m.GetMessage())})
		return
	}
	switch message := m.GetMessage().(type) {
	case *linkv1.FromAgent_Heartbeat:
		h.send(&linkv1.FromHub{Message: &linkv1.FromHub_Heartbeat{Heartbeat: &linkv1.Heartbeat{
			Number: message.Heartbeat.GetNumber(), Next: durationpb.New(h.pace.next(now, h.settings.HeartbeatInterval)),
		}}})
	case *linkv1.FromAgent_Works:
		h.receiveWorks(message.Works, now)
	case *linkv1.FromAgent_Reports:
		h.receiveReports(message.Reports)
	case *linkv1.FromAgent_Facts:
		h.do(RecordFacts{Facts: message.Facts})
	case *linkv1.FromAgent_Answer:
		h.do(Answered{Answer: message.Answer})
	case *linkv1.FromAgent_Renewal:
		h.do(RenewalWanted{Request: message.Renewal})
	case *linkv1.FromAgent_Brake:
		h.receiveBrake(message.Brake)
	case *linkv1.FromAgent_Capacity:
		h.do(CapacityGrown{})
	default:
		h.do(UnknownMessage{})
	}
}

func (h *Hub) receiveHello(hello *linkv1.Hello) {
	if h.hello != nil {
		h.do(Remarked{Message: "ignored a second hello"})
		return
	}
	if _, err := chooseVersion(hello.GetProtocolVersion(), hello.GetOldestProtocolVersion()); err != nil {
		h.Close(linkv1.GoodbyeReason_GOODBYE_REASON_INCOMPATIBLE, err.Error(), 0)
		return
	}
	h.hello = hello
	h.do(Hail{Hello: hello})
}

// Admit lets the agent in under an epoch, or answers RestoreDetected with the view that has been stored.
// An epoch that is not above 0 and above the agent's last one ends the session.
func (h *Hub) Admit(epoch int64, view StoreView, now time.Time) {
	if h.state != Admit || h.hello == nil {
		return
	}
	if h.epoch != 0 {
		h.Close(linkv1.GoodbyeReason_GOODBYE_REASON_BEGIN_ANEW, "the hub's store was restored: compare anew in restore mode", 0)
		return
	}
	seen := MarkOf(h.hello)
	switch {
	case seen.HubID != "" && seen.HubID != view.HubID:
		h.Close(linkv1.GoodbyeReason_GOODBYE_REASON_WRONG_HUB,
			fmt.Sprintf("the agent obeys hub %s and this is hub %s: give the agent a join token of this hub", seen.HubID, view.HubID), 0)
		return
	case epoch <= seen.Epoch || epoch <= 0:
		h.Close(linkv1.GoodbyeReason_GOODBYE_REASON_INTERNAL,
			fmt.Sprintf("the session got epoch %d and the agent's last one was %d", epoch, seen.Epoch), time.Minute)
		return
	}
	lacks := view.History.Lacks(seen, view.Revision)
	if lacks != "" && !view.Restoring {
		h.do(RestoreDetected{Message: lacks})
		return
	}
	reported := Mark{Incarnation: cmp.Or(h.hello.GetReportedIncarnation(), seen.Incarnation), Revision: h.hello.GetReportedRevision()}
	h.epoch, h.store = epoch, view
	version, _ := chooseVersion(h.hello.GetProtocolVersion(), h.hello.GetOldestProtocolVersion())
	h.send(&linkv1.FromHub{Message: &linkv1.FromHub_Welcome{Welcome: &linkv1.Welcome{
		ProtocolVersion: version, Capabilities: h.config.Capabilities, HubVersion: h.config.Version,
		HubId: view.HubID, Incarnation: view.History.Present(), Revision: view.Revision,
		SessionEpoch: epoch, Restore: view.Restoring, Continues: seen.Incarnation != "" && lacks == "",
		ReportsLost:       view.History.Lacks(reported, view.Revision) != "",
		HeartbeatInterval: durationpb.New(h.settings.HeartbeatInterval),
		HeartbeatTimeout:  durationpb.New(h.settings.HeartbeatTimeout),
		ReportWindow:      uint32(h.settings.ReportWindow),
	}}})
	h.becomeProbe(now)
}

// Tell sends a question or the answer to a renewal.
func (h *Hub) Tell(m *linkv1.FromHub) {
	if h.state != Over && h.epoch != 0 {
		h.send(m)
	}
}

// Close says goodbye and ends the session.
func (h *Hub) Close(reason linkv1.GoodbyeReason, message string, retryAfter time.Duration) {
	if h.state == Over {
		return
	}
	h.send(&linkv1.FromHub{Message: &linkv1.FromHub_Goodbye{Goodbye: &linkv1.Goodbye{
		Reason: reason, Message: message, RetryAfter: durationpb.New(retryAfter),
	}}})
	h.end(End{Reason: reason, Message: message, RetryAfter: retryAfter})
}

// Tick tells the time. It is due at Deadline; earlier or later does no harm.
func (h *Hub) Tick(now time.Time) {
	switch {
	case h.state == Over:
	case h.hello == nil && now.Sub(h.began) >= h.settings.HelloTimeout:
		h.Close(linkv1.GoodbyeReason_GOODBYE_REASON_PROTOCOL_ERROR, fmt.Sprintf("no hello within %s", h.settings.HelloTimeout), 0)
	case h.epoch != 0 && now.Sub(h.lastHeard) >= h.settings.HeartbeatTimeout:
		h.Close(linkv1.GoodbyeReason_GOODBYE_REASON_SILENCE, fmt.Sprintf("nothing was heard from the agent for %s", h.settings.HeartbeatTimeout), 0)
	case h.epoch != 0:
		h.repeatUnanswered(now)
	}
}

// repeatUnanswered says again what should have been answered long ago.
func (h *Hub) repeatUnanswered(now time.Time) {
	late := func(at time.Time) bool { return now.Sub(at) >= h.settings.AnswerTimeout }
	if h.state == Probe && h.probe != nil && late(h.probe.asked) {
		h.becomeProbe(now)
		return
	}
	for _, key := range sortedKeys(h.flights) {
		f := h.flights[key]
		if !late(f.at) {
			continue
		}
		delete(h.flights, key)
		if f.kind == flightAbsent {
			h.absent.push(key)
		} else {
			h.dirty.push(key)
		}
	}
	if h.complete != nil && late(h.complete.at) {
		h.complete = nil
		h.sendComplete(now)
	}
}

// Deadline is when Tick is due next.
func (h *Hub) Deadline(now time.Time) time.Time {
	if h.hello == nil {
		return h.began.Add(h.settings.HelloTimeout)
	}
	if h.epoch == 0 {
		return now.Add(h.settings.HelloTimeout)
	}
	silence := h.lastHeard.Add(h.settings.HeartbeatTimeout)
	if h.probe != nil || h.complete != nil || h.reprobe || len(h.flights) > 0 {
		if soon := now.Add(busyTick); soon.Before(silence) {
			return soon
		}
	}
	return silence
}

// Ready returns what has to be done, in order, and forgets it.
func (h *Hub) Ready(now time.Time) []HubEffect {
	if h.state == Snapshot || h.state == Replicate {
		h.pump(now)
	}
	if len(h.reportAcks) > 0 && h.state != Over {
		h.send(&linkv1.FromHub{Message: &linkv1.FromHub_Reports{Reports: &linkv1.ReportsFromHub{Acks: h.reportAcks, Revision: h.reportRevision}}})
		h.reportAcks, h.reportRevision = nil, 0
	}
	if h.holdChanged && h.knowsHold() {
		h.holdChanged = false
		h.do(HoldChanged{Hold: h.Hold()})
	}
	effects := h.effects
	h.effects = nil
	return effects
}

// knowsHold says whether what waits is known again since the comparison: everything that is to be sent was looked at once,
// and no removal waits behind the work that is handed over for it.
func (h *Hub) knowsHold() bool {
	if h.state != Snapshot {
		return h.state == Replicate
	}
	for _, f := range h.flights {
		if f.again {
			return false
		}
	}
	return h.Waiting() == 0
}

func (h *Hub) become(s State) {
	if h.state != s {
		h.state = s
		h.do(Entered{State: s})
	}
}

func (h *Hub) end(e End) {
	h.become(Over)
	h.do(Ended{End: e})
}

func (h *Hub) do(e HubEffect) { h.effects = append(h.effects, e) }

func (h *Hub) send(m *linkv1.FromHub) { h.do(SendToAgent{Message: m}) }

func (h *Hub) sendWorks(w *linkv1.WorksFromHub) {
	h.send(&linkv1.FromHub{Message: &linkv1.FromHub_Works{Works: w}})
}

func endByPeer(g *linkv1.Goodbye) End {
	return End{Reason: g.GetReason(), Message: g.GetMessage(), RetryAfter: max(0, g.GetRetryAfter().AsDuration()), ByPeer: true}
}
