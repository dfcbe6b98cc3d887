package observe

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	workv1alpha1 "windlass.dev/windlass/api/work/v1alpha1"

	linkv1 "windlass.dev/windlass/api/link/v1"
	"windlass.dev/windlass/pkg/interpret"
)

// dirtyKeys are the keys whose report may have changed, in the order in which they became so.
type dirtyKeys struct {
	order  []string
	queued map[string]bool
	signal chan struct{}
	// taken are digests of the reports as they were last taken, or told after that.
	taken map[string][sha256.Size]byte
	// settling are the keys whose report waits for a newer one, with the end of the wait.
	settling map[string]time.Time
}

func newDirtyKeys() dirtyKeys {
	return dirtyKeys{
		queued: map[string]bool{}, signal: make(chan struct{}, 1), taken: map[string][sha256.Size]byte{}, settling: map[string]time.Time{},
	}
}

func (d *dirtyKeys) add(key string) {
	if !d.queued[key] {
		d.queued[key] = true
		d.order = append(d.order, key)
	}
	d.ring()
}

func (d *dirtyKeys) ring() {
	select {
	case d.signal <- struct{}{}:
	default:
	}
}

// resend has the report taken again even when it is the same.
func (d *dirtyKeys) resend(key string) { delete(d.taken, key) }

// told notes what the hub is told of a key. That may be another report than was taken: it waited for room or for the answer
// to the one before. A change back to what was taken is news then.
func (d *dirtyKeys) told(key string, report *linkv1.Report) {
	delete(d.settling, key)
	if report == nil {
		delete(d.taken, key)
		return
	}
	d.taken[key] = digestOf(report)
}

func (d *dirtyKeys) next() (string, bool) {
	if len(d.order) == 0 {
		d.order = nil
		return "", false
	}
	key := d.order[0]
	d.order = d.order[1:]
	delete(d.queued, key)
	return key, true
}

// Dirty is signalled when TakeDirty may have something.
func (o *Observer) Dirty() <-chan struct{} { return o.dirty.signal }

// TakeDirty returns at most max keys whose report has changed since they were last taken or told, those
// that changed first before others. Dirty is signalled again when there are more.
func (o *Observer) TakeDirty(max int) []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	var keys []string
	for len(keys) < max {
		key, more := o.dirty.next()
		if !more {
			return keys
		}
		report := o.report(key)
		if report == nil {
			delete(o.dirty.taken, key)
			delete(o.dirty.settling, key)
			continue
		}
		digest := digestOf(report)
		if o.dirty.taken[key] == digest || o.mustSettle(key, report) {
			continue
		}
		o.dirty.taken[key] = digest
		keys = append(keys, key)
	}
	if len(o.dirty.order) > 0 {
		o.dirty.ring()
	}
	return keys
}

// mustSettle says whether a report waits for a newer one: every report costs the hub a write, and of a
// rollout only its end and its troubles are news. What is wrong, and what is done, never waits.
func (o *Observer) mustSettle(key string, report *linkv1.Report) bool {
	moving := report.Phase == linkv1.Phase_PHASE_PRESENT && report.Applied &&
		!(report.Observed && report.Health == linkv1.Health_HEALTH_HEALTHY)
	if !moving {
		delete(o.dirty.settling, key)
		return false
	}
	now := o.config.Now()
	until, waits := o.dirty.settling[key]
	switch {
	case !waits:
		o.dirty.settling[key] = now.Add(o.config.ReportSettle)
		time.AfterFunc(o.config.ReportSettle, func() {
			o.mu.Lock()
			defer o.mu.Unlock()
			if _, waits := o.dirty.settling[key]; waits {
				o.dirty.add(key)
			}
		})
		return true
	case now.Before(until):
		return true // the end of the wait adds the key again
	}
	delete(o.dirty.settling, key)
	return false
}

// digestOf stands for what a report says; when it was observed is no part of that.
func digestOf(report *linkv1.Report) [sha256.Size]byte {
	observedAt := report.ObservedAt
	report.ObservedAt = nil
	raw, err := proto.MarshalOptions{Deterministic: true}.Marshal(report)
	report.ObservedAt = observedAt
	if err != nil {
		return [sha256.Size]byte{} // never equal to what was taken: the report is sent, and the link shows the error
	}
	return sha256.Sum256(raw)
}

// Report returns the present report of a key, to be told to the hub; nil when nothing is known of it. A removal that the
// hub has not recorded yet comes before what is held under the same key.
func (o *Observer) Report(key string) *linkv1.Report {
	o.mu.Lock()
	defer o.mu.Unlock()
	report := o.report(key)
	o.dirty.told(key, report)
	return report
}

// Recorded tells that the hub has recorded a report: a removal need not be reported again then.
func (o *Observer) Recorded(key, uid string, phase linkv1.Phase) {
	if phase != linkv1.Phase_PHASE_REMOVED {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	w := o.works[key]
	if w == nil {
		return
	}
	w.removed = slices.DeleteFunc(w.removed, func(removed string) bool { return removed == uid })
	switch {
	case len(w.removed) > 0 || w.present:
		o.dirty.add(key)
	default:
		delete(o.works, key)
		delete(o.dirty.taken, key)
		delete(o.dirty.settling, key)
	}
}

func (o *Observer) report(key string) *linkv1.Report {
	w := o.works[key]
	if w == nil {
		return nil
	}
	if len(w.removed) > 0 {
		return &linkv1.Report{
			Key: key, Uid: w.removed[0], Phase: linkv1.Phase_PHASE_REMOVED, ObservedAt: timestamppb.New(o.config.Now()),
		}
	}
	if !w.present {
		return nil
	}
	state := &w.state
	report := &linkv1.Report{
		Key: key, Uid: state.UID, Generation: state.Applied, Phase: state.Phase,
		Applied: state.Done, Reason: state.Reason, Message: state.Message, Conditions: state.Conditions,
		Generations: &linkv1.Generations{
			Received: milestone(state.Received, state.ReceivedAt), Applied: milestone(state.Applied, state.AppliedAt),
		},
	}
	o.describe(report, w)
	report.Generations.Healthy = w.healthy
	return report
}

func milestone(generation int64, at time.Time) *linkv1.Milestone {
	if generation == 0 {
		return nil
	}
	return &linkv1.Milestone{Generation: generation, At: timestamppb.New(at)}
}

// describe fills in what is known of the work's objects: each by itself when the work has several, the
// status of the first, the health of the worst, and whether the member's controllers have seen all.
func (o *Observer) describe(report *linkv1.Report, w *work) {
	var at time.Time
	healthy, unhealthy, observed := 0, 0, 0
	for _, tracked := range w.state.Objects {
		known := o.objects[tracked.ID]
		if known == nil || known.key != w.state.Key {
			continue
		}
		if known.at.After(at) {
			at = known.at
		}
		if !known.exists {
			continue
		}
		if tracked.Ordinal == 0 {
			report.Status = known.status
		}
		health, why := o.healthOf(tracked, known)
		if w.state.Manifests > 1 {
			report.Objects = append(report.Objects, objectReport(tracked, known, health))
		}
		if known.observed {
			observed++
		}
		switch health {
		case workv1alpha1.ResourceHealthy:
			healthy++
		case workv1alpha1.ResourceUnhealthy:
			unhealthy++
		}
		if report.HealthMessage == "" && why != "" {
			report.HealthMessage = w.lacks(tracked, why)
		}
	}
	fitStatuses(report.Objects)
	objects := w.state.Manifests
	report.Observed = w.state.Done && objects > 0 && observed == objects
	switch {
	case unhealthy > 0:
		report.Health = linkv1.Health_HEALTH_UNHEALTHY
	case objects > 0 && healthy == objects:
		report.Health = linkv1.Health_HEALTH_HEALTHY
	}
	if at.IsZero() {
		at = o.config.Now()
	}
	report.ObservedAt = timestamppb.New(at)
	reached := w.state.Done && report.Observed && report.Health == linkv1.Health_HEALTH_HEALTHY
	if reached && w.healthy.GetGeneration() < w.state.Applied {
		w.healthy = milestone(w.state.Applied, at)
	}
}

// healthOf says how an object is, and why it is not healthy. Of what is not watched that is not known.
func (o *Observer) healthOf(tracked Tracked, known *object) (workv1alpha1.ResourceHealth, string) {
	if watch := o.watches[o.scopeOf(tracked.ID, known.resource)]; watch != nil && watch.unseen != "" {
		return workv1alpha1.ResourceUnknown, watch.unseen
	}
	return known.health, known.why
}

// longestHealthMessage bounds what is said of a work's health, in bytes.
const longestHealthMessage = 512

// lacks says what an object that is not healthy lacks, and of a work with several which one it is.
func (w *work) lacks(tracked Tracked, text string) string {
	if w.state.Manifests > 1 {
		text = fmt.Sprintf("%s %s: %s", tracked.ID.Kind, tracked.ID.Name, text)
	}
	if len(text) > longestHealthMessage {
		text = strings.ToValidUTF8(text[:longestHealthMessage], "")
	}
	return text
}

func objectReport(tracked Tracked, known *object, health workv1alpha1.ResourceHealth) *linkv1.ObjectReport {
	id, resource := tracked.ID, tracked.Resource
	report := &linkv1.ObjectReport{
		Group: id.Group, Version: resource.Version, Kind: id.Kind, Resource: resource.Resource, Namespace: id.Namespace, Name: id.Name,
		Status: known.status, Observed: known.observed && tracked.Applied,
	}
	switch health {
	case workv1alpha1.ResourceHealthy:
		report.Health = linkv1.Health_HEALTH_HEALTHY
	case workv1alpha1.ResourceUnhealthy:
		report.Health = linkv1.Health_HEALTH_UNHEALTHY
	}
	return report
}

// fitStatuses leaves out the statuses of objects that would be too much for one work.
func fitStatuses(objects []*linkv1.ObjectReport) {
	sizes := make([]int, len(objects))
	for i, object := range objects {
		sizes[i] = len(object.Status)
	}
	most := interpret.LargestStatus(sizes)
	for _, object := range objects {
		if len(object.Status) > most {
			object.Status = nil
		}
	}
}
