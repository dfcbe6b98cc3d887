package session

import (
	"time"

	linkv1 "windlass.dev/windlass/api/link/v1"
)

// reportsAgain is how many times AnswerTimeout a report waits until it is said again. The hub answers when it has written the report, and a thousand agents
// that have much to report keep it busy for minutes: whoever said all again then would keep it from what is left.
const reportsAgain = 10

// ReportsDirty says that the reports of keys have changed. A key whose report is under way is sent again when the hub
// has recorded that, with the state it has then.
func (a *Agent) ReportsDirty(keys ...string) {
	for _, key := range keys {
		a.dirty.push(key)
	}
}

// ReportRoom is how many more dirty keys are of use now; 0 while the hub is behind.
func (a *Agent) ReportRoom() int {
	if a.over || a.welcome == nil {
		return 0
	}
	return max(0, a.settings.ReportWindow-len(a.reports)-a.dirty.len())
}

// pumpReports sends the reports there is room for, many in one message.
func (a *Agent) pumpReports(now time.Time) {
	var batch []*linkv1.Report
	var size int
	flush := func() {
		if len(batch) > 0 {
			a.send(&linkv1.FromAgent{Message: &linkv1.FromAgent_Reports{Reports: &linkv1.ReportsFromAgent{Reports: batch}}})
		}
		batch, size = nil, 0
	}
	var later []string
	for len(a.reports) < a.settings.ReportWindow {
		key, more := a.dirty.pop()
		if !more {
			break
		}
		if a.reports[key] != nil {
			later = append(later, key)
			continue
		}
		r := a.config.Report(key)
		if r == nil {
			continue
		}
		if r.GetPhase() == linkv1.Phase_PHASE_REMOVED && a.holds[key].UID == r.GetUid() {
			// The hub forgets with this report what was confirmed. It must not read afterwards that the work is held
			// here, which it would until the removal's own end is known: that may come later than the report.
			delete(a.holds, key)
		}
		batch = append(batch, a.stamp(key, r, now))
		size += len(r.GetStatus()) + len(r.GetMessage())
		for _, object := range r.GetObjects() {
			size += len(object.GetStatus()) + len(object.GetName())
		}
		if size >= reportBatchBytes || len(batch) >= reportBatchCount {
			flush()
		}
	}
	flush()
	for _, key := range later {
		a.dirty.push(key)
	}
}

// stamp makes a copy of a report that belongs to this session. What it points to is shared and only read.
func (a *Agent) stamp(key string, r *linkv1.Report, now time.Time) *linkv1.Report {
	a.reportSequence++
	a.reports[key] = &sentReport{sequence: a.reportSequence, uid: r.GetUid(), phase: r.GetPhase(), at: now}
	return &linkv1.Report{
		Key: key, Uid: r.GetUid(), Generation: r.GetGeneration(), Phase: r.GetPhase(), ObservedAt: r.GetObservedAt(),
		Applied: r.GetApplied(), Reason: r.GetReason(), Message: r.GetMessage(), Health: r.GetHealth(), Status: r.GetStatus(),
		Observed: r.GetObserved(), Generations: r.GetGenerations(), Conditions: r.GetConditions(), Objects: r.GetObjects(), HealthMessage: r.GetHealthMessage(),
		SessionEpoch: a.welcome.GetSessionEpoch(), Sequence: a.reportSequence,
	}
}

func (a *Agent) receiveReports(m *linkv1.ReportsFromHub) {
	if m.GetRevision() > 0 {
		a.reported = Mark{Incarnation: a.welcome.GetIncarnation(), Revision: max(a.reported.Revision, m.GetRevision())}
	}
	for _, ack := range m.GetAcks() {
		sent := a.reports[ack.GetKey()]
		if sent == nil || sent.sequence != ack.GetSequence() {
			continue
		}
		delete(a.reports, ack.GetKey())
		a.do(ReportRecorded{Key: ack.GetKey(), UID: sent.uid, Phase: sent.phase})
	}
	for _, key := range m.GetWanted() {
		if _, held := a.holds[key]; held {
			a.dirty.push(key)
		}
	}
}
