package session

import (
	"fmt"
	"maps"
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
	// burdens are what removals take along, by key, or kept; only these are weighed.
	burdens map[string]int
	// reportsFirst: the member reports a removal before the agent's session hears that it is durable.
	reportsFirst bool
	// reportsAreWrites: each report that says something new raises the store's revision.
	reportsAreWrites bool
	// agentBrakes are the agent's, when they are others than the hub's.
	agentBrakes *BrakeSettings
	log         func(format string, args ...any)
	faults      []string

	// The hub's store, and a backup of it.
	store      store
	backup     store
	uids, eras int

	// The hub's process: its session with the agent, and the highest revision it has seen.
	hub      *Hub
	hubBrake *Brake
	highest  int64
	recorded int
	// The agent's process, and what survives it.
	agent      *Agent
	agentBrake *Brake
	mark       Mark // in the memory of the agent's process
	member     member
	unreported []string
	reported   Mark

	toHub, toAgent []wire
	// While slow, what was asked of the store or the member waits here.
	slowMember, slowStore bool
	memberWork, storeWork []func()
	failing               bool
	maxUnacknowledged     int
	// deleting are the UIDs whose objects the agent was once to delete.
	deleting map[string]bool
	// waiting are the UIDs whose removal a person was told to wait for him, and he has not confirmed.
	waiting map[string]bool
}

type wire struct{ bytes []byte }

type store struct {
	history History
	// recorded counts how often what concerns the history was written.
	recorded  int
	revision  int64
	restoring bool
	// shownBy is the member that alone has shown that the store was cut back, "this" or "another"; doubted: it is the other one,
	// and in restore mode.
	shownBy string
	doubted bool
	// held is what the cluster's condition says: too many deletions wait.
	held    bool
	works   map[string]stored
	reports map[string]string
	epoch   int64
	// asked are the UIDs whose removal somebody asked for, or confirmed. Nothing else may ever be removed. They are as
	// old as the rest of the store: a restored one was not asked for what was asked since.
	asked map[string]bool
}

type stored struct {
	ref Ref
	// preserves: the policy says that the objects stay when the work is removed.
	preserves bool
	revision  int64
	removing  *Removing
}

type member struct {
	mark    Mark
	holds   map[string]Ref
	marks   map[string]*linkv1.WorkRef // what else is durable of what is held
	removed map[string]string
	// happened counts what happened to a work's objects, which is no change of what the hub wants.
	happened map[string]int
	// counted is what the brake counted when the last work or removal became durable.
	counted []Counted
	// braked: the brake held something when the mark, a work or a removal became durable.
	braked bool
}

func newWorld() *world {
	w := &world{
		now: time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC), log: func(string, ...any) {},
		settings: Settings{Window: 4, ReportWindow: 4}, brakes: BrakeSettings{Least: 3, Percent: 5},
		store: newStore(100), deleting: map[string]bool{}, waiting: map[string]bool{},
		member: member{holds: map[string]Ref{}, marks: map[string]*linkv1.WorkRef{}, removed: map[string]string{}, happened: map[string]int{}},
	}
	w.agentBrake = w.newAgentBrake()
	w.startHub()
	return w
}

func newStore(revision int64) store {
	return store{revision: revision, works: map[string]stored{}, reports: map[string]string{}, asked: map[string]bool{}}
}

func (s store) copy() store {
	s.works, s.reports, s.asked = maps.Clone(s.works), maps.Clone(s.reports), maps.Clone(s.asked)
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
			Unreported: !strings.HasPrefix(w.store.reports[key], describeReport(&linkv1.Report{Key: key, Uid: s.ref.UID, Generation: s.ref.Generation, Phase: linkv1.Phase_PHASE_PRESENT}))})
	}
	return out, w.store.revision
}

func (w *world) Look(key string) (Item, bool) {
	s, there := w.store.works[key]
	if !there {
		return Item{}, false
	}
	return Item{Revision: s.revision, Removing: s.removing, Work: &linkv1.Work{
		Key: s.ref.Key, Uid: s.ref.UID, Generation: s.ref.Generation, Hash: []byte(s.ref.Hash), PreserveResourcesOnDeletion: s.preserves,
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
		delete(w.waiting, w.member.holds[key].UID) // what was absent is replaced
	}
	w.write()
	s.revision = w.store.revision
	s.ref.Generation++
	s.ref.Hash = fmt.Sprintf("h%d", s.ref.Generation)
	w.store.works[key] = s
	w.dirty(key)
}

// preserve changes what a policy says of the objects of a work that is removed.
func (w *world) preserve(key string, preserves bool) {
	w.put(key)
	if s := w.store.works[key]; s.removing == nil {
		s.preserves = preserves
		w.store.works[key] = s
	}
}

func (w *world) remove(key string, cause linkv1.RemovalCause) {
	s, there := w.store.works[key]
	if !there || s.removing != nil && (cause != linkv1.RemovalCause_REMOVAL_CAUSE_TEMPLATE_DELETED || cause == s.removing.Cause) {
		return // the cause of a removal only grows into one that somebody asked for
	}
	w.write()
	s.revision = w.store.revision
	s.removing = &Removing{UID: s.ref.UID, Cause: cause, Keep: s.preserves}
	if cause == linkv1.RemovalCause_REMOVAL_CAUSE_TEMPLATE_DELETED {
		delete(w.waiting, s.ref.UID) // somebody asks for it, and needs no confirmation
	}
	w.store.asked[s.ref.UID] = true
	w.store.works[key] = s
	w.dirty(key)
}

// takeBack puts a new work in the place of one whose cluster was deselected and is selected again.
func (w *world) takeBack(key string) {
	s, there := w.store.works[key]
	if !there || s.removing == nil || s.removing.Cause != linkv1.RemovalCause_REMOVAL_CAUSE_NOT_SELECTED {
		return
	}
	delete(w.waiting, s.ref.UID) // nobody wants it removed any more, and what it stands for is the new work's
	delete(w.store.works, key)
	w.put(key)
}

// write raises the store's revision; the hub's process sees it.
func (w *world) write() {
	w.store.revision++
	w.highest = max(w.highest, w.store.revision)
}

// vanish takes a work out of the store without its finalizer having been served.
func (w *world) vanish(key string) {
	if s, there := w.store.works[key]; there {
		w.write()
		w.store.asked[s.ref.UID] = true
		delete(w.waiting, s.ref.UID) // somebody took it out by hand: that is another removal
		delete(w.store.works, key)
		w.dirty(key)
	}
}

// restore puts the backup into the store's place while no hub runs, and starts one.
func (w *world) restore() {
	w.store, w.backup, w.waiting = w.backup, w.backup.copy(), map[string]bool{}
	w.restartHub()
}

// restoreUnderTheHub does the same to a store behind the back of a hub that goes on running.
func (w *world) restoreUnderTheHub() {
	w.cut()
	w.store, w.backup, w.waiting = w.backup, w.backup.copy(), map[string]bool{}
}

func (w *world) replaceStore() {
	w.store, w.waiting = newStore(1), map[string]bool{}
	w.restartHub()
}

// confirm is a person's word that what waits may go.
func (w *world) confirm() (int, error) {
	for key, r := range w.hub.held {
		delete(w.waiting, r.uid)
		delete(w.waiting, w.member.holds[key].UID) // an older work of that name: to a person they are one
		if r.absent && w.member.holds[key].UID == r.uid {
			w.store.asked[r.uid] = true
		}
	}
	return w.hub.Confirm(w.hub.Hold().ID)
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
		Settings: w.settings, Version: "test", Mark: w.mark, Holds: w.member.known(),
		Report: w.report, Unreported: w.unreported, Reported: w.reported, Brake: w.agentBrake,
		TakesAlong: func(r *linkv1.Removal) bool { return w.burdens[r.GetKey()] != 0 },
	}, w.now)
	w.unreported = nil
	w.settle()
}

// cut breaks the stream: what is on the wires is lost.
func (w *world) cut() {
	if w.agent != nil {
		w.unreported, w.mark, w.reported = w.agent.Unreported(), w.agent.Mark(), w.agent.Reported()
	}
	w.hub, w.agent, w.toHub, w.toAgent, w.memberWork, w.storeWork = nil, nil, nil, nil, nil, nil
}

func (w *world) restartHub() {
	w.cut()
	w.startHub()
}

// startHub is the beginning of a hub's process: its first write to the store is a new era.
func (w *world) startHub() {
	w.hubBrake, w.highest = NewBrake(w.brakes), w.store.revision
	if w.store.held {
		w.hubBrake.Resume()
	}
	w.beginEra(w.store.revision)
}

func (w *world) beginEra(after int64) {
	w.eras++
	w.store.history = w.store.history.Begin(fmt.Sprintf("I%d", w.eras), after)
	w.record()
}

// showCut: a member shows that the store was cut back, which the history does not. With the second one there begins an era.
func (w *world) showCut(member string) {
	switch w.store.shownBy {
	case member:
	case "":
		w.store.shownBy = member
	default:
		w.store.shownBy = ""
		w.beginEra(0)
	}
	w.store.doubted = w.store.shownBy == "another"
}

// endDoubt is a person's word for the other member: the store is right as it is, and may lack what it lacks.
func (w *world) endDoubt() {
	w.store.doubted = false
	for key, held := range w.member.holds {
		if !w.store.restoring && w.store.works[key].ref.UID != held.UID {
			delete(w.waiting, held.UID)
		}
	}
}

func (w *world) record() {
	w.store.recorded++
	w.recorded = w.store.recorded
}

func (w *world) restartAgent() {
	w.cut()
	w.agentBrake, w.unreported, w.reported = w.newAgentBrake(), sortedKeys(w.member.holds), Mark{}
	w.agentBrake.Recall(w.member.counted, w.now)
	if w.member.braked {
		w.agentBrake.Resume()
	}
	// The mark is written later than the works; each work carries its own.
	w.mark = w.member.mark.Raise(w.member.known())
}

// known is what the member holds, as agent/state would give it.
func (m member) known() []*linkv1.WorkRef {
	var known []*linkv1.WorkRef
	for key, r := range m.holds {
		ref, mark := r.Message(), m.marks[key]
		ref.Revision, ref.Incarnation, ref.Preserves = mark.GetRevision(), mark.GetIncarnation(), mark.GetPreserves()
		known = append(known, ref)
	}
	return known
}

func (w *world) newAgentBrake() *Brake {
	if w.agentBrakes != nil {
		return NewBrake(*w.agentBrakes)
	}
	return NewBrake(w.brakes)
}

func (w *world) keepBrake() {
	w.member.counted, w.member.braked = w.agentBrake.Counted(w.now), w.agentBrake.Holds()
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
		w.checkOrder(e.Message.GetWorks().GetRemoval())
		w.toAgent = append(w.toAgent, marshal(e.Message))
	case Hail:
		if w.store.revision < w.highest || w.store.recorded < w.recorded {
			w.log("hub:   ends: its store was cut back")
			w.beginEra(0)
			w.restartHub()
			return
		}
		w.store.epoch = max(w.store.epoch, e.Hello.GetSessionEpoch()) + 1
		w.hub.Admit(w.store.epoch, w.view(), w.now)
	case RestoreDetected:
		w.log("hub:   restore detected: %s", e.Message)
		if e.Unnoticed {
			w.showCut("this")
		}
		w.write()
		w.record()
		w.store.restoring = true
		w.hub.Admit(w.store.epoch, w.view(), w.now)
	case RestoreSettled:
		w.log("hub:   restore mode ends")
		w.record()
		w.store.restoring = false
		w.hub.Close(linkv1.GoodbyeReason_GOODBYE_REASON_BEGIN_ANEW, "the deletions were confirmed", 0)
	case RecordReport:
		hub := w.hub
		w.inStore(func() {
			if said := describeReport(e.Report) + e.Report.GetMessage(); w.store.reports[e.Report.GetKey()] != said {
				w.store.reports[e.Report.GetKey()] = said
				if w.reportsAreWrites {
					w.write()
				}
			}
			hub.Recorded(e.Report.GetKey(), e.Report.GetSequence(), w.store.revision)
		})
	case RecordRemoval:
		hub := w.hub
		w.inStore(func() {
			w.log("hub:   removal of %s %s done", e.Key, e.UID)
			if s := w.store.works[e.Key]; s.ref.UID == e.UID && s.removing != nil {
				w.write()
				delete(w.store.works, e.Key)
				delete(w.store.reports, e.Key)
			}
			hub.Recorded(e.Key, e.Sequence, 0)
			hub.Dirty(e.Key)
		})
	case HoldChanged:
		w.store.held = e.Hold.Held > 0 && !e.Hold.Restoring
		w.tellHold(e.Hold)
		if e.Hold.Held+e.Hold.Unknown > 0 {
			w.log("hub:   held=%d by-agent=%d unknown=%d restoring=%v%s%s", e.Hold.Held, e.Hold.HeldByAgent, e.Hold.Unknown, e.Hold.Restoring, after(e.Hold.Excess), along(e.Hold))
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

// after writes down how many had passed before a hold, if that is known.
func after(e Excess) string {
	if e == (Excess{}) {
		return ""
	}
	return fmt.Sprintf(" after %d of %d", e.Passed, e.Limit)
}

// along writes down what would go with what is held.
func along(h Hold) string {
	if h.Along == "" {
		return ""
	}
	return fmt.Sprintf(" along=%q", h.Along)
}

// kept stands among the burdens for what holds something that a policy preserves.
const kept = -1

func (w *world) agentEffect(e AgentEffect) {
	switch e := e.(type) {
	case WeighRemoval:
		agent, key := w.agent, e.Removal.GetKey()
		w.inMember(func() {
			burden := Burden{Others: w.burdens[key], Text: fmt.Sprintf("%d objects in %s", w.burdens[key], key)}
			if w.burdens[key] == kept {
				burden = Burden{Keep: true}
			}
			agent.Weighed(key, e.Sequence, burden, w.now)
		})
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
			w.keepBrake()
			if era := e.Work.GetIncarnation(); era != w.member.mark.Incarnation {
				w.fault("%s of era %s is durable, and the mark is of %q: an agent that starts anew could not tell a restored hub", e.Work.GetKey(), era, w.member.mark.Incarnation)
			}
			w.member.holds[e.Work.GetKey()] = RefOfWork(e.Work)
			w.member.marks[e.Work.GetKey()] = &linkv1.WorkRef{
				Revision: e.Work.GetRevision(), Incarnation: e.Work.GetIncarnation(), Preserves: e.Work.GetPreserveResourcesOnDeletion(),
			}
			delete(w.member.removed, e.Work.GetKey())
			agent.Done(e.Work.GetKey(), e.Sequence, nil, w.now)
			agent.ReportsDirty(e.Work.GetKey())
		})
	case RemoveWork:
		agent := w.agent
		if !e.Removal.GetKeep() {
			w.deleting[e.Removal.GetUid()] = true
		}
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
				w.log("agent: %s %s %s", map[bool]string{false: "removes", true: "lets go of"}[e.Removal.GetKeep()], key, uid)
				w.checkKept(e.Removal)
				if !w.store.asked[uid] {
					w.fault("%s %s was removed and nobody had asked for it (cause %s)", key, uid, e.Removal.GetCause())
				}
				if w.waiting[uid] {
					w.fault("%s %s was removed, which waited for a person, who had not confirmed it", key, uid)
				}
				delete(w.member.holds, key)
			}
			w.member.removed[key] = uid
			w.keepBrake()
			if w.reportsFirst {
				agent.ReportsDirty(key)
				w.inMember(func() { agent.Done(key, e.Sequence, nil, w.now) })
				return
			}
			agent.Done(key, e.Sequence, nil, w.now)
			agent.ReportsDirty(key)
		})
	case Remember:
		agent := w.agent
		w.inMember(func() {
			if w.member.mark.Incarnation != e.Mark.Incarnation {
				w.log("agent: follows %s from revision %d", e.Mark.Incarnation, e.Mark.Revision)
			}
			w.member.mark = e.Mark
			w.keepBrake()
			if e.First {
				agent.Remembered(e.Mark)
			}
		})
	case ReportRecorded:
		if e.Phase == linkv1.Phase_PHASE_REMOVED && w.member.removed[e.Key] == e.UID {
			delete(w.member.removed, e.Key)
		}
	case Remarked:
		w.log("agent: %s", e.Message)
	case Ended:
		w.log("agent: ended %s", trimReason(e.End.Reason))
		w.unreported, w.mark, w.reported = w.agent.Unreported(), w.agent.Mark(), w.agent.Reported()
		w.agent = nil
	}
}

// checkOrder: the hub's brake does not count what only lets go.
func (w *world) checkOrder(r *linkv1.Removal) {
	if r.GetKeep() && w.hubBrake.counts(RemovalID{Key: r.GetKey(), UID: r.GetUid()}) {
		w.fault("the hub counts %s %s, which deletes nothing", r.GetKey(), r.GetUid())
	}
}

// checkKept: what the work in the member preserves is let go of, whatever the hub knows of it, and the agent's brake does not
// count it, unless it was once to be deleted.
func (w *world) checkKept(r *linkv1.Removal) {
	key, uid := r.GetKey(), r.GetUid()
	if w.member.marks[key].GetPreserves() && !r.GetKeep() {
		w.fault("%s %s was deleted, which the member preserves", key, uid)
	}
	if r.GetKeep() && !w.deleting[uid] && w.agentBrake.counts(RemovalID{Key: key, UID: uid}) {
		w.fault("the agent counts %s %s, which it only lets go of", key, uid)
	}
}

// counts says whether a removal uses up a part of what may pass.
func (b *Brake) counts(id RemovalID) bool {
	_, yes := b.passed[checksum(id)]
	return yes
}

// tellHold notes what a person is told to wait for him. One id stands for one set.
func (w *world) tellHold(hold Hold) {
	var sum uint64
	restoring := hold.Restoring || w.agent == nil || w.agent.restoring // an agent that has gone may have been
	for key, r := range w.hub.held {
		if s := w.store.works[key]; !restoring && s.ref.UID == r.uid && s.removing != nil && s.removing.Keep {
			w.fault("a person is told that %s %s waits, which deletes nothing", key, r.uid)
		}
		w.waiting[r.uid] = !w.overtaken(key, r.uid)
		sum += checksum(RemovalID{Key: key, UID: r.uid})
	}
	if hold.Held != len(w.hub.held) || hold.Held > 0 && hold.ID != fmt.Sprintf("%016x", sum) {
		w.fault("a hold of %d is told as %d under the id %s", len(w.hub.held), hold.Held, hold.ID)
	}
}

// overtaken says whether a hold has no reason any more, which the hub will find out when it gets to the key: somebody has
// asked for the removal since, or a new work has taken over what the old one stands for.
func (w *world) overtaken(key, uid string) bool {
	s, there := w.store.works[key]
	if w.store.restoring || !there {
		return false
	}
	if s.removing == nil {
		return s.ref.UID != uid
	}
	return s.removing.Cause == linkv1.RemovalCause_REMOVAL_CAUSE_TEMPLATE_DELETED
}

// toldHold says whether something waits, and the hub knows all that the agent holds.
func (w *world) toldHold() bool {
	return w.connected() && w.hub.State() == Replicate && w.hub.Hold().Held > 0 && len(w.toHub) == 0
}

func (w *world) view() StoreView {
	if !w.store.history.Told {
		w.store.history.Told = true
		w.record()
	}
	return StoreView{HubID: "H", History: w.store.history, Revision: w.store.revision, Restoring: w.store.restoring, Doubted: w.store.doubted}
}

// inStore writes in the order in which it was asked to, also when the store has just become fast again.
func (w *world) inStore(f func()) {
	if w.slowStore || len(w.storeWork) > 0 {
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
	pending := append(w.storeWork, w.memberWork...)
	w.storeWork, w.memberWork = nil, nil
	for _, f := range pending {
		f()
	}
	w.settle()
}

// report is the present report of a key, as agent/state would give it.
func (w *world) report(key string) *linkv1.Report {
	if r, there := w.member.holds[key]; there {
		return &linkv1.Report{Key: key, Uid: r.UID, Generation: r.Generation, Phase: linkv1.Phase_PHASE_PRESENT, Applied: true, ObservedAt: timestamppb.New(w.now),
			Message: strings.Repeat("!", w.member.happened[key])}
	}
	if uid, there := w.member.removed[key]; there {
		return &linkv1.Report{Key: key, Uid: uid, Phase: linkv1.Phase_PHASE_REMOVED, ObservedAt: timestamppb.New(w.now)}
	}
	return nil
}

// happen changes what there is to report of a work.
func (w *world) happen(key string) {
	if _, held := w.member.holds[key]; !held {
		return
	}
	w.member.happened[key]++
	if w.agent != nil {
		w.agent.ReportsDirty(key)
	} else {
		w.unreported = append(w.unreported, key)
	}
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
		return fmt.Sprintf("welcome epoch=%d incarnation=%s revision=%d restore=%v continues=%v", m.Welcome.GetSessionEpoch(), m.Welcome.GetIncarnation(), m.Welcome.GetRevision(), m.Welcome.GetRestore(), m.Welcome.GetContinues()) +
			map[bool]string{true: " reports lost"}[m.Welcome.GetReportsLost() && !m.Welcome.GetRestore()]
	case *linkv1.FromHub_Heartbeat:
		return fmt.Sprintf("heartbeat %d, next in %s", m.Heartbeat.GetNumber(), m.Heartbeat.GetNext().AsDuration())
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
			return strings.TrimSpace(fmt.Sprintf("remove %s %s %s #%d %s%s", r.GetKey(), r.GetUid(), trimCause(r.GetCause()), r.GetSequence(),
				map[bool]string{true: "confirmed"}[r.GetConfirmed()], map[bool]string{true: "keep"}[r.GetKeep()]))
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
				refs = append(refs, fmt.Sprintf("%s:%s:%d%s", r.GetKey(), r.GetUid(), r.GetGeneration(), map[bool]string{true: "(preserved)"}[r.GetPreserves()]))
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
