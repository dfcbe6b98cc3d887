package session

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
	linkv1 "windlass.dev/windlass/api/link/v1"
)

// A world is one hub with its store, one member, and the wires between them. Scripts and the property test play with it.
type world struct {
	now      time.Time
	settings Settings
	brakes   BrakeSettings
	log      func(format string, args ...any)
	faults   []string

	// The hub's store, and a backup of it.
	store  store
	backup store
	// deleted are the UIDs whose removal somebody asked for. Nothing else may ever be removed.
	deleted            map[string]bool
	uids, incarnations int

	// The hub's process.
	hub      *Hub
	hubBrake *Brake
	// The agent's process, and what survives it.
	agent      *Agent
	agentBrake *Brake
	mark       Mark // in the memory of the agent's process
	member     member
	unreported []string

	toHub, toAgent []wire
	// While slow, what was asked of the store or the member waits here.
	slowMember, slowStore bool
	memberWork, storeWork []func()
	failing               bool
	maxUnacknowledged     int
}

type wire struct{ bytes []byte }

type store struct {
	incarnation string
	former      map[string]bool
	revision    int64
	restoring   bool
	works       map[string]stored
	reports     map[string]string
	epoch       int64
}

type stored struct {
	ref      Ref
	revision int64
	removing *Removing
}

type member struct {
	mark    Mark
	holds   map[string]Ref
	marks   map[string]*linkv1.WorkRef
	removed map[string]string
}

func newWorld() *world {
	w := &world{
		now: time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC), log: func(string, ...any) {},
		settings: Settings{Window: 4, ReportWindow: 4}, brakes: BrakeSettings{Least: 3, Percent: 5},
		store:   store{incarnation: "I1", revision: 100, former: map[string]bool{}, works: map[string]stored{}, reports: map[string]string{}},
		member:  member{holds: map[string]Ref{}, marks: map[string]*linkv1.WorkRef{}, removed: map[string]string{}},
		deleted: map[string]bool{}, incarnations: 1,
	}
	w.hubBrake, w.agentBrake = NewBrake(w.brakes), NewBrake(w.brakes)
	return w
}

func (s store) copy() store {
	s.works, s.reports, s.former = maps.Clone(s.works), maps.Clone(s.reports), maps.Clone(s.former)
	return s
}

func (w *world) fault(format string, args ...any) {
	w.faults = append(w.faults, fmt.Sprintf(format, args...))
}

// ---- The hub's store, as Source ----

func (w *world) List() ([]Listed, int64) {
	var out []Listed
	for _, key := range sortedKeys(w.store.works) {
		s := w.store.works[key]
		out = append(out, Listed{Ref: s.ref, Removing: s.removing != nil,
			Unreported: w.store.reports[key] != describeReport(&linkv1.Report{Key: key, Uid: s.ref.UID, Generation: s.ref.Generation, Phase: linkv1.Phase_PHASE_PRESENT})})
	}
	return out, w.store.revision
}

func (w *world) Look(key string) (Item, bool) {
	s, there := w.store.works[key]
	if !there {
		return Item{}, false
	}
	if s.removing != nil {
		return Item{Revision: s.revision, Removing: s.removing}, true
	}
	return Item{Revision: s.revision, Work: &linkv1.Work{
		Key: s.ref.Key, Uid: s.ref.UID, Generation: s.ref.Generation, Hash: []byte(s.ref.Hash),
	}}, true
}

func (w *world) put(key string) {
	s, there := w.store.works[key]
	if there && s.removing != nil {
		return
	}
	if !there {
		w.uids++
		s.ref = Ref{Key: key, UID: fmt.Sprintf("u%d", w.uids)}
	}
	w.store.revision++
	s.revision = w.store.revision
	s.ref.Generation++
	s.ref.Hash = fmt.Sprintf("h%d", s.ref.Generation)
	w.store.works[key] = s
	w.dirty(key)
}

func (w *world) remove(key string, cause linkv1.RemovalCause) {
	s, there := w.store.works[key]
	if !there || s.removing != nil && (cause != linkv1.RemovalCause_REMOVAL_CAUSE_TEMPLATE_DELETED || cause == s.removing.Cause) {
		return // the cause of a removal only grows into one that somebody asked for
	}
	w.store.revision++
	s.revision = w.store.revision
	s.removing = &Removing{UID: s.ref.UID, Cause: cause}
	w.deleted[s.ref.UID] = true
	w.store.works[key] = s
	w.dirty(key)
}

// vanish takes a work out of the store without its finalizer having been served.
func (w *world) vanish(key string) {
	if s, there := w.store.works[key]; there {
		w.store.revision++
		w.deleted[s.ref.UID] = true
		delete(w.store.works, key)
		w.dirty(key)
	}
}

func (w *world) restore() {
	w.cut()
	w.store, w.backup = w.backup, w.backup.copy()
	w.hubBrake = NewBrake(w.brakes)
}

func (w *world) replaceStore() {
	w.cut()
	w.incarnations++
	w.store = store{incarnation: fmt.Sprintf("I%d", w.incarnations), revision: 1, former: map[string]bool{}, works: map[string]stored{}, reports: map[string]string{}}
	w.hubBrake = NewBrake(w.brakes)
}

// endRestore is a person's word that the store is right as it is: what it lacks may go.
func (w *world) endRestore() {
	w.store.restoring = false
	for key, r := range w.member.holds {
		if w.store.works[key].ref.UID != r.UID {
			w.deleted[r.UID] = true
		}
	}
}

func (w *world) dirty(key string) {
	if w.hub != nil {
		w.hub.Dirty(key)
	}
}

// ---- The stream ----

func (w *world) connect() {
	w.cut()
	w.hub = NewHub(HubConfig{Settings: w.settings, Version: "test", Source: w, Brake: w.hubBrake}, w.now)
	w.agent = NewAgent(AgentConfig{
		Settings: w.settings, Version: "test", Mark: w.mark, Holds: slices.Collect(maps.Values(w.member.holds)),
		Report: w.report, Unreported: w.unreported, Brake: w.agentBrake,
	}, w.now)
	w.unreported = nil
	w.settle()
}

// cut breaks the stream: what is on the wires is lost.
func (w *world) cut() {
	if w.agent != nil {
		w.unreported, w.mark = w.agent.Unreported(), w.agent.Mark()
	}
	w.hub, w.agent, w.toHub, w.toAgent, w.memberWork, w.storeWork = nil, nil, nil, nil, nil, nil
}

func (w *world) restartHub() {
	w.cut()
	w.hubBrake = NewBrake(w.brakes)
}

func (w *world) restartAgent() {
	w.cut()
	w.agentBrake, w.unreported = NewBrake(w.brakes), sortedKeys(w.member.holds)
	// The mark is written later than the works; each work carries its own.
	var held []*linkv1.WorkRef
	for key := range w.member.holds {
		held = append(held, w.member.marks[key])
	}
	w.mark = w.member.mark.Raise(held)
}

func (w *world) connected() bool { return w.hub != nil && w.agent != nil }

// settle carries out every effect of both sides until there is none.
func (w *world) settle() {
	for busy := true; busy; {
		busy = false
		if w.hub != nil {
			for _, e := range w.hub.Ready(w.now) {
				busy = true
				w.hubEffect(e)
				if w.hub == nil {
					break
				}
			}
			w.checkWindow()
		}
		if w.agent != nil {
			for _, e := range w.agent.Ready(w.now) {
				busy = true
				w.agentEffect(e)
				if w.agent == nil {
					break
				}
			}
		}
	}
}

func (w *world) checkWindow() {
	if w.hub == nil {
		return
	}
	w.maxUnacknowledged = max(w.maxUnacknowledged, w.hub.Unacknowledged())
	if w.hub.Unacknowledged() > w.settings.Window {
		w.fault("%d messages are unacknowledged, the window is %d", w.hub.Unacknowledged(), w.settings.Window)
	}
}

func (w *world) hubEffect(e HubEffect) {
	switch e := e.(type) {
	case SendToAgent:
		w.log("hub>   %s", describeFromHub(e.Message))
		w.toAgent = append(w.toAgent, marshal(e.Message))
	case Hail:
		w.store.epoch = max(w.store.epoch, e.Hello.GetSessionEpoch()) + 1
		w.hub.Admit(w.store.epoch, w.view(), w.now)
	case RestoreDetected:
		w.log("hub:   restore detected: %s", e.Message)
		if !w.store.former[e.Seen.Incarnation] {
			w.store.former[e.Seen.Incarnation], w.store.former[w.store.incarnation] = true, true
			w.incarnations++
			w.store.incarnation = fmt.Sprintf("I%d", w.incarnations)
		}
		w.store.restoring = true
		w.hub.Admit(w.store.epoch, w.view(), w.now)
	case RecordReport:
		hub := w.hub
		w.inStore(func() {
			w.store.reports[e.Report.GetKey()] = describeReport(e.Report)
			hub.Recorded(e.Report.GetKey(), e.Report.GetSequence())
		})
	case RecordRemoval:
		hub := w.hub
		w.inStore(func() {
			w.log("hub:   removal of %s %s done", e.Key, e.UID)
			if s := w.store.works[e.Key]; s.ref.UID == e.UID && s.removing != nil {
				w.store.revision++
				delete(w.store.works, e.Key)
				delete(w.store.reports, e.Key)
			}
			hub.Recorded(e.Key, e.Sequence)
			hub.Dirty(e.Key)
		})
	case HoldChanged:
		if e.Hold.Held+e.Hold.Unknown > 0 {
			w.log("hub:   held=%d by-agent=%d unknown=%d restoring=%v", e.Hold.Held, e.Hold.HeldByAgent, e.Hold.Unknown, e.Hold.Restoring)
		}
	case Entered:
		w.log("hub:   %s", e.State)
	case Remarked:
		w.log("hub:   %s", e.Message)
	case Ended:
		w.log("hub:   ended %s", trimReason(e.End.Reason))
		w.hub = nil
	}
}

func (w *world) agentEffect(e AgentEffect) {
	switch e := e.(type) {
	case SendToHub:
		w.log("agent> %s", describeFromAgent(e.Message))
		w.toHub = append(w.toHub, marshal(e.Message))
	case PutWork:
		agent := w.agent
		w.inMember(func() {
			if w.failing {
				agent.Done(e.Work.GetKey(), e.Sequence, fmt.Errorf("member API is down"), w.now)
				return
			}
			w.member.holds[e.Work.GetKey()] = RefOfWork(e.Work)
			w.member.marks[e.Work.GetKey()] = &linkv1.WorkRef{Revision: e.Work.GetRevision(), Incarnation: e.Work.GetIncarnation()}
			delete(w.member.removed, e.Work.GetKey())
			agent.Done(e.Work.GetKey(), e.Sequence, nil, w.now)
			agent.ReportsDirty(e.Work.GetKey())
		})
	case RemoveWork:
		agent := w.agent
		w.inMember(func() {
			key, uid := e.Removal.GetKey(), e.Removal.GetUid()
			if w.failing {
				agent.Done(key, e.Sequence, fmt.Errorf("member API is down"), w.now)
				return
			}
			if w.member.holds[key].UID != uid && w.member.removed[key] != uid {
				agent.Done(key, e.Sequence, ErrNotHeld, w.now)
				return
			}
			if w.member.holds[key].UID == uid {
				w.log("agent: removes %s %s", key, uid)
				if !w.deleted[uid] {
					w.fault("%s %s was removed and nobody had asked for it (cause %s)", key, uid, e.Removal.GetCause())
				}
				delete(w.member.holds, key)
			}
			w.member.removed[key] = uid
			agent.Done(key, e.Sequence, nil, w.now)
			agent.ReportsDirty(key)
		})
	case Remember:
		w.member.mark = e.Mark
	case ReportRecorded:
		if e.Phase == linkv1.Phase_PHASE_REMOVED && w.member.removed[e.Key] == e.UID {
			delete(w.member.removed, e.Key)
		}
	case Remarked:
		w.log("agent: %s", e.Message)
	case Ended:
		w.log("agent: ended %s", trimReason(e.End.Reason))
		w.unreported, w.mark = w.agent.Unreported(), w.agent.Mark()
		w.agent = nil
	}
}

func (w *world) view() StoreView {
	return StoreView{HubID: "H", Incarnation: w.store.incarnation, Revision: w.store.revision, Restoring: w.store.restoring}
}

func (w *world) inStore(f func()) {
	if w.slowStore {
		w.storeWork = append(w.storeWork, f)
		return
	}
	f()
}

func (w *world) inMember(f func()) {
	if w.slowMember {
		w.memberWork = append(w.memberWork, f)
		return
	}
	f()
}

// work lets the slow store and the slow member do what they were asked for.
func (w *world) work() {
	for _, f := range w.storeWork {
		f()
	}
	w.storeWork = nil
	for _, f := range w.memberWork {
		f()
	}
	w.memberWork = nil
	w.settle()
}

// report is the present report of a key, as agent/state would give it.
func (w *world) report(key string) *linkv1.Report {
	if r, there := w.member.holds[key]; there {
		return &linkv1.Report{Key: key, Uid: r.UID, Generation: r.Generation, Phase: linkv1.Phase_PHASE_PRESENT, Applied: true, ObservedAt: timestamppb.New(w.now)}
	}
	if uid, there := w.member.removed[key]; there {
		return &linkv1.Report{Key: key, Uid: uid, Phase: linkv1.Phase_PHASE_REMOVED, ObservedAt: timestamppb.New(w.now)}
	}
	return nil
}

// deliver hands over the oldest message of a wire; false when there is none.
func (w *world) deliver(toHub bool) bool {
	queue := &w.toAgent
	if toHub {
		queue = &w.toHub
	}
	if len(*queue) == 0 {
		return false
	}
	next := (*queue)[0]
	*queue = (*queue)[1:]
	switch {
	case toHub && w.hub != nil:
		w.hub.Receive(unmarshal(next, &linkv1.FromAgent{}), w.now)
	case !toHub && w.agent != nil:
		w.agent.Receive(unmarshal(next, &linkv1.FromHub{}), w.now)
	}
	w.settle()
	return true
}

// deliverAll hands over messages until the wires are silent.
func (w *world) deliverAll() {
	for w.deliver(true) || w.deliver(false) {
	}
}

func (w *world) tick(d time.Duration) {
	w.now = w.now.Add(d)
	if w.hub != nil {
		w.hub.Tick(w.now)
	}
	if w.agent != nil {
		w.agent.Tick(w.now)
	}
	w.settle()
}

func marshal(m proto.Message) wire {
	bytes, err := proto.Marshal(m)
	if err != nil {
		panic(err)
	}
	return wire{bytes: bytes}
}

func unmarshal[M proto.Message](b wire, m M) M {
	if err := proto.Unmarshal(b.bytes, m); err != nil {
		panic(err)
	}
	return m
}

// ---- Messages in words ----

func describeFromHub(m *linkv1.FromHub) string {
	switch m := m.GetMessage().(type) {
	case *linkv1.FromHub_Welcome:
		return fmt.Sprintf("welcome epoch=%d incarnation=%s revision=%d restore=%v", m.Welcome.GetSessionEpoch(), m.Welcome.GetIncarnation(), m.Welcome.GetRevision(), m.Welcome.GetRestore())
	case *linkv1.FromHub_Heartbeat:
		return fmt.Sprintf("heartbeat %d", m.Heartbeat.GetNumber())
	case *linkv1.FromHub_Goodbye:
		return fmt.Sprintf("goodbye %s: %s", trimReason(m.Goodbye.GetReason()), m.Goodbye.GetMessage())
	case *linkv1.FromHub_Reports:
		var acks []string
		for _, a := range m.Reports.GetAcks() {
			acks = append(acks, fmt.Sprintf("%s#%d", a.GetKey(), a.GetSequence()))
		}
		if wanted := m.Reports.GetWanted(); len(wanted) > 0 {
			return "wants reports of " + strings.Join(wanted, " ")
		}
		return "recorded " + strings.Join(acks, " ")
	case *linkv1.FromHub_Brake:
		return fmt.Sprintf("confirms %d removals", len(m.Brake.GetRemovals()))
	case *linkv1.FromHub_Works:
		switch w := m.Works.GetMessage().(type) {
		case *linkv1.WorksFromHub_Probe:
			return strings.TrimSpace(fmt.Sprintf("probe round=%d %s", w.Probe.GetRound(), strings.Trim(fmt.Sprint(w.Probe.GetBuckets()), "[]")))
		case *linkv1.WorksFromHub_Put:
			return fmt.Sprintf("put %s %s gen=%d #%d", w.Put.GetWork().GetKey(), w.Put.GetWork().GetUid(), w.Put.GetWork().GetGeneration(), w.Put.GetSequence())
		case *linkv1.WorksFromHub_Removal:
			r := w.Removal
			return strings.TrimSpace(fmt.Sprintf("remove %s %s %s #%d %s", r.GetKey(), r.GetUid(), trimCause(r.GetCause()), r.GetSequence(), map[bool]string{true: "confirmed"}[r.GetConfirmed()]))
		case *linkv1.WorksFromHub_Complete:
			return fmt.Sprintf("complete round=%d incarnation=%s revision=%d works=%d absent=%d #%d", w.Complete.GetRound(), w.Complete.GetIncarnation(), w.Complete.GetRevision(), w.Complete.GetWorks(), w.Complete.GetAbsent(), w.Complete.GetSequence())
		}
	}
	return fmt.Sprintf("%T", m.GetMessage())
}

func describeFromAgent(m *linkv1.FromAgent) string {
	switch m := m.GetMessage().(type) {
	case *linkv1.FromAgent_Hello:
		return fmt.Sprintf("hello incarnation=%q revision=%d epoch=%d", m.Hello.GetIncarnation(), m.Hello.GetHighWaterRevision(), m.Hello.GetSessionEpoch())
	case *linkv1.FromAgent_Heartbeat:
		return fmt.Sprintf("heartbeat %d", m.Heartbeat.GetNumber())
	case *linkv1.FromAgent_Goodbye:
		return fmt.Sprintf("goodbye %s: %s", trimReason(m.Goodbye.GetReason()), m.Goodbye.GetMessage())
	case *linkv1.FromAgent_Brake:
		return fmt.Sprintf("brake holds %d", m.Brake.GetHeld())
	case *linkv1.FromAgent_Reports:
		var reports []string
		for _, r := range m.Reports.GetReports() {
			reports = append(reports, fmt.Sprintf("%s#%d", describeReport(r), r.GetSequence()))
		}
		return "reports " + strings.Join(reports, ", ")
	case *linkv1.FromAgent_Works:
		switch w := m.Works.GetMessage().(type) {
		case *linkv1.WorksFromAgent_Probe:
			if n := len(w.Probe.GetBucketDigests()); n > 0 {
				return fmt.Sprintf("holds %d, digests of %d buckets", w.Probe.GetTotal(), n)
			}
			var refs []string
			for _, r := range w.Probe.GetRefs() {
				refs = append(refs, fmt.Sprintf("%s:%s:%d", r.GetKey(), r.GetUid(), r.GetGeneration()))
			}
			return fmt.Sprintf("holds round=%d [%s]", w.Probe.GetRound(), strings.Join(refs, " "))
		case *linkv1.WorksFromAgent_Acks:
			var acks []string
			for _, a := range w.Acks.GetAcks() {
				acks = append(acks, fmt.Sprintf("#%d %s", a.GetSequence(), strings.ToLower(strings.TrimPrefix(a.GetOutcome().String(), "ACK_OUTCOME_"))))
			}
			return "acks " + strings.Join(acks, ", ")
		}
	}
	return fmt.Sprintf("%T", m.GetMessage())
}

func describeReport(r *linkv1.Report) string {
	return fmt.Sprintf("%s %s gen=%d %s", r.GetKey(), r.GetUid(), r.GetGeneration(), strings.ToLower(strings.TrimPrefix(r.GetPhase().String(), "PHASE_")))
}

func trimReason(r linkv1.GoodbyeReason) string {
	return strings.ToLower(strings.TrimPrefix(r.String(), "GOODBYE_REASON_"))
}

func trimCause(c linkv1.RemovalCause) string {
	return strings.ToLower(strings.TrimPrefix(c.String(), "REMOVAL_CAUSE_"))
}
