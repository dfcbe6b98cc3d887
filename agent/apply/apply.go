package apply

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	linkv1 "windlass.dev/windlass/api/link/v1"
	workv1alpha1 "windlass.dev/windlass/api/work/v1alpha1"

	"windlass.dev/windlass/agent/observe"
	"windlass.dev/windlass/agent/state"
	"windlass.dev/windlass/pkg/interpret"
	"windlass.dev/windlass/pkg/manifest"
)

var namespaces = schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}

// apply applies the objects of a work that are due, prunes when all of them stand, and reports.
func (e *Engine) apply(ctx context.Context, entry *state.Entry, p *progress) time.Duration {
	p.calm(e.config.Now(), e.config.Settings.FightWindow)
	e.relearn(ctx, p)
	for _, o := range p.dueAt(e.config.Now()) {
		if ctx.Err() != nil {
			return 0
		}
		e.applyObject(ctx, entry, p, o)
	}
	again := p.again(e.config.Now(), e.config.Settings.FightWindow)
	if p.settled() {
		if wait := e.prune(ctx, entry, p); wait > 0 && (again == 0 || wait < again) {
			again = wait
		}
	}
	e.report(entry, p)
	return again
}

// relearn makes objects due that were applied without fields which the member knows by now. Most of those that are doubted
// would be refused once more if they were applied for it.
func (e *Engine) relearn(ctx context.Context, p *progress) {
	for _, o := range p.takeDoubted() {
		known, err := e.config.Kinds.Schema(ctx, o.GroupVersionKind())
		if err != nil || known == nil {
			continue // it is doubted again at the next change
		}
		desired, err := manifest.Parse(o.raw)
		if err != nil {
			continue // it would not have been applied
		}
		if _, dropped := reduce(desired, known); !slices.Equal(dropped, o.dropped) {
			p.nowDue(o)
		}
	}
}

// reduce makes of an object what a member can take that knows its fields by a schema; nil when they are not asked for.
func reduce(desired *unstructured.Unstructured, known *manifest.Schema) (merged, dropped []string) {
	manifest.Clean(desired)
	merged = manifest.MergeDuplicates(desired, known)
	if known != nil {
		dropped = manifest.DropUnknown(desired, known)
	}
	return merged, dropped
}

func (e *Engine) report(entry *state.Entry, p *progress) {
	e.observer.SetWork(p.describe(entry, e.config.Now()))
}

// applyObject applies one object and records what came of it.
func (e *Engine) applyObject(ctx context.Context, entry *state.Entry, p *progress, o *object) {
	a := &attempt{engine: e, entry: entry, object: o}
	p.mu.Lock()
	again := o.done
	// Cleared before the object is read: a change after that makes it due again.
	o.due, o.applying = false, true
	p.mu.Unlock()

	err := a.run(ctx)

	p.mu.Lock()
	defer p.mu.Unlock()
	now := e.config.Now()
	if err != nil && ctx.Err() != nil {
		// The agent ends: that says nothing of the object.
		o.applying, o.meanwhile, o.due = false, nil, true
		return
	}
	if err != nil {
		o.applying, o.meanwhile = false, nil
		o.failure = classify(err)
		o.failures++
		o.due = true
		o.notBefore = now.Add(backoff(o.failure.reason, o.failures, e.config.Settings.MaxBackoff))
		e.metrics.failures.WithLabelValues(o.failure.reason).Inc()
		e.config.Logger.Warn("An object could not be applied.", "object", o.ID, "work", entry.Key,
			"reason", o.failure.reason, "message", o.failure.message, "again in", o.notBefore.Sub(now).Round(time.Millisecond))
		return
	}
	o.failure, o.failures, o.done = nil, 0, true
	o.notBefore = time.Time{}
	o.liveUID = a.result.GetUID()
	relearned := !slices.Equal(a.dropped, o.dropped) // the change is the member's own, and no drift
	o.sent, o.mark, o.checked = a.sent, manifest.FingerprintOf(a.desired, a.result), checkedOf(a.result)
	o.dropped, o.merged, o.adopted = a.dropped, a.merged, o.adopted || a.adopted
	e.metrics.applied.Inc()
	if again && a.corrected() && !relearned {
		e.corrected(o, a, now)
	}
	o.settle(a.result.GetResourceVersion())
}

// differed says what has been put right.
func (a *attempt) differed() string {
	switch {
	case a.before == "":
		return "it was gone"
	case len(a.drift) == 0:
		return a.owners()
	}
	return strings.Join(a.drift, "; ")
}

// owners says what has been put right when no value of the manifest differed: fields that a hand had added
// are gone with the apply, and fields that another manager had are the agent's again.
func (a *attempt) owners() string {
	const unknown = "no value that its manifest names: something was added by hand, or its fields had another manager"
	if a.live == nil || a.result == nil {
		return unknown
	}
	before, after := a.live.GetManagedFields(), a.result.GetManagedFields()
	added, err := manifest.OwnedOnce(before, after, FieldManager)
	if err != nil {
		return unknown
	}
	taken, err := manifest.OwnedOnce(after, before, FieldManager)
	switch {
	case err != nil, len(added)+len(taken) == 0:
		return unknown
	case len(taken) == 0:
		return "added by hand: " + few(added)
	case len(added) == 0:
		return "had another manager: " + few(taken)
	}
	return "added by hand: " + few(added) + "; had another manager: " + few(taken)
}

// few lists the first of some fields, and how many more there are.
func few(fields []string) string {
	const most = 5
	if len(fields) <= most {
		return strings.Join(fields, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(fields[:most], ", "), len(fields)-most)
}

// mostFights bounds how often the interval of a fight is doubled.
const mostFights = 8

// corrected counts a correction of drift; too many within a short time are a fight.
func (e *Engine) corrected(o *object, a *attempt, now time.Time) {
	e.metrics.corrections.Inc()
	settings := e.config.Settings
	o.corrections = append(slices.DeleteFunc(o.corrections, func(at time.Time) bool {
		return now.Sub(at) >= settings.FightWindow
	}), now)
	if o.fights > 0 || len(o.corrections) > settings.FightCorrections {
		o.fights = min(o.fights+1, mostFights)
		o.notBefore = now.Add(min(settings.FightWindow/6<<o.fights, settings.MaxBackoff))
	}
	message := "An object was changed in the member and has been put right."
	if o.fights > 0 {
		message = "An object was changed in the member and has been put right; somebody fights over it, so the next time is put off."
	}
	e.config.Logger.Info(message, "object", o.ID, "work", a.entry.Key, "differed", a.differed())
}

// attempt is one attempt at one object.
type attempt struct {
	engine *Engine
	entry  *state.Entry
	object *object

	client  dynamic.ResourceInterface
	live    *unstructured.Unstructured // before; nil when there was none
	before  string                     // its resource version when it was read
	desired *unstructured.Unstructured // what is applied
	// retained are the fields that may be the member's own. It is found out once: what is taken back of an object must be what
	// is then applied of it.
	retained []interpret.Field
	// leased is true when desired names a field that is the member's as soon as somebody there sets it.
	leased  bool
	making  bool // nothing was read: it is written only if nothing is there
	sent    []byte
	result  *unstructured.Unstructured // after
	dropped []string
	merged  []string
	drift   []string
	adopted bool
	schema  *manifest.Schema
}

func (a *attempt) run(ctx context.Context) error {
	if err := a.locate(ctx); err != nil {
		return err
	}
	if a.making = a.object.unmet; a.making {
		a.object.unmet = false
		if err := a.write(ctx); !apierrors.IsConflict(err) {
			return err
		}
		a.making = false // it is there, and has to be read to know whose it is
	}
	if err := a.read(ctx); err != nil {
		return err
	}
	return a.write(ctx)
}

// write applies the object if it may be written, in the way that what was read of it asks for.
func (a *attempt) write(ctx context.Context) error {
	if err := a.claim(); err != nil {
		return err
	}
	if err := a.prepare(); err != nil {
		return err
	}
	switch err := a.takeBack(ctx); {
	case apierrors.IsForbidden(err), apierrors.IsInvalid(err):
		// It is a write of what is there, which may break a rule of the member that the manifest keeps: that goes first then.
		if a.send(ctx) != nil {
			return err
		}
		a.live = a.result
		if err := a.takeBack(ctx); err != nil {
			return err
		}
	case err != nil:
		return err
	}
	err := a.send(ctx)
	if err != nil && isNamespaceMissing(err, a.object.Namespace) {
		if err := a.engine.createNamespace(ctx, a.object.Namespace); err != nil {
			return err
		}
		err = a.send(ctx)
	}
	if err != nil && isSchemaError(err.Error()) {
		err = a.sendWhatIsKnown(ctx, err)
	}
	if err != nil {
		return err
	}
	a.engine.observer.Seen(a.object.ID, a.result)
	return nil
}

// locate finds where the object is written, and begins to watch it. One that another work holds is that work's to watch.
func (a *attempt) locate(ctx context.Context) error {
	e, o := a.engine, a.object
	if o.guarded != nil {
		return o.guarded
	}
	if holder := e.hold(o.ID, a.entry.Key); holder != a.entry.Key {
		return failf(reasonConflict, "%s belongs to work %s of this hub too: take it out of one of the two policies", o.ID, holder)
	}
	resource, err := e.config.Kinds.Lookup(ctx, o.GroupVersionKind())
	if err != nil {
		return err
	}
	switch {
	case resource.Namespaced && o.Namespace == "":
		return failf(reasonInvalidManifest, "metadata.namespace: is missing, and %s lives in a namespace", o.Kind)
	case !resource.Namespaced && o.Namespace != "":
		return failf(reasonInvalidManifest, "metadata.namespace: must not be set, %s lives in no namespace in this member", o.Kind)
	}
	o.resource = resource
	a.client = e.clientFor(o)
	e.observer.Track(a.entry.Key, observe.Tracked{ID: o.ID, Resource: resource, Ordinal: o.ordinal})
	return nil
}

func (e *Engine) clientFor(o *object) dynamic.ResourceInterface {
	client := e.config.Client.Resource(o.resource.GroupVersionResource)
	if o.Namespace == "" {
		return client
	}
	return client.Namespace(o.Namespace)
}

// read gets the object as it is in the member.
func (a *attempt) read(ctx context.Context) error {
	if live, seen := a.engine.seenAhead(ctx, a.entry.Key, a.object.ID); seen {
		a.live = live
		return nil
	}
	live, err := a.engine.read(ctx, a.client, a.object.Object)
	if err != nil {
		return err
	}
	a.live = live
	return nil
}

// read gets an object as it is in the member; nil when there is none. An answer that the version it is asked for in is not
// served any more does not say that: the object may well be there in another one.
func (e *Engine) read(ctx context.Context, client dynamic.ResourceInterface, o manifest.Object) (*unstructured.Unstructured, error) {
	live, err := client.Get(ctx, o.Name, metav1.GetOptions{})
	switch {
	case err == nil:
		return live, nil
	case isKindMissing(err):
		e.config.Kinds.Distrust(o.GroupVersionKind())
		return nil, failf(reasonKindNotServed, "the member does not serve %s any more", o.GroupVersionKind())
	case apierrors.IsNotFound(err):
		return nil, nil
	}
	return nil, err
}

// claim decides whether the object that is there may be written.
func (a *attempt) claim() error {
	e, o := a.engine, a.object
	if a.live == nil {
		return nil
	}
	if guarded := e.guards(a.live); guarded != nil {
		return guarded
	}
	owner := manifest.OwnerOf(a.live, e.config.HubID, e.config.WorkNamespace)
	switch owner.Ownership {
	case manifest.Ours:
		return nil
	case manifest.OtherHub:
		return failf(reasonOtherHub, "%s is managed by another hub, %s: remove it there, or remove its annotation windlass.dev/hub-id in the member",
			o.ID, short(owner.HubID))
	}
	if a.live.GetUID() == o.liveUID {
		return nil // somebody took the marks away
	}
	if a.entry.Work.GetConflictResolution() == linkv1.ConflictResolution_CONFLICT_RESOLUTION_OVERWRITE {
		a.adopted = true
		return nil
	}
	if owner.Ownership == manifest.OtherCluster {
		return failf(reasonConflict, "%s belongs to what this hub has placed in cluster %s: if this is the same cluster, attached under two names, delete one of the two MemberClusters; "+
			"if that was its former name, "+takeOver,
			o.ID, strings.TrimPrefix(owner.Work.Namespace, workv1alpha1.ExecutionNamespacePrefix))
	}
	return failf(reasonConflict, "%s exists in the member and is not this hub's: delete it there, or "+takeOver, o.ID)
}

// takeOver begins with what always decides: the annotation wins over the policy, and a work does not say which of them it has
// its word from. It comes last and is short, so that a binding's message, which cuts what is before it, has all of it.
const takeOver = "take it over: annotate the template " + workv1alpha1.ConflictResolutionAnnotation + "=overwrite, or, for all, spec.conflictResolution: Overwrite in the policy"

func short(hubID string) string {
	const enough = 12
	if len(hubID) > enough {
		return hubID[:enough]
	}
	return hubID
}

// hold makes a work hold an object that no other work holds, and returns the key of the one that does.
func (e *Engine) hold(id manifest.ID, key string) string {
	e.mu.Lock()
	defer e.mu.Unlock()
	if holder, held := e.holders[id]; held {
		return holder
	}
	e.holders[id] = key
	return key
}

func (e *Engine) holderOf(id manifest.ID) string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.holders[id]
}

// prepare makes what is applied of the manifest: cleaned, marked, without duplicates, without what
// is left to the member.
func (a *attempt) prepare() error {
	desired, err := manifest.Parse(a.object.raw)
	if err != nil {
		return failf(reasonInvalidManifest, "%v", err)
	}
	e := a.engine
	a.merged, a.dropped = reduce(desired, a.schema)
	manifest.Mark(desired, e.config.HubID, manifest.WorkRef{Namespace: e.config.WorkNamespace, Name: a.entry.Key})
	a.retained = interpret.Retained(desired, a.live != nil && e.observer.Autoscaled(desired))
	a.desired = interpret.Strip(desired, a.live, a.retained, FieldManager)
	a.leased = slices.ContainsFunc(a.retained, func(field interpret.Field) bool {
		_, named, _ := unstructured.NestedFieldNoCopy(a.desired.Object, field.Path...)
		return named && !field.Allocated
	})
	if a.live != nil {
		a.before = a.live.GetResourceVersion()
	}
	if a.sent, err = workv1alpha1.EncodeManifest(a.desired.Object); err != nil {
		return failf(reasonInvalidManifest, "%v", err)
	}
	return nil
}

// takeBack makes what people's kubectl added to an object that is ours go with the next apply.
func (a *attempt) takeBack(ctx context.Context) error {
	if a.live == nil {
		return nil
	}
	a.drift = texts(manifest.Differences(a.desired, a.live))
	var except [][]string
	for _, field := range a.retained {
		except = append(except, field.Path)
	}
	entries, needed, err := manifest.TakeBack(a.live.GetManagedFields(), FieldManager, except)
	if err != nil || !needed {
		return err
	}
	patch, err := json.Marshal([]map[string]any{
		{"op": "replace", "path": "/metadata/managedFields", "value": entries},
		{"op": "replace", "path": "/metadata/resourceVersion", "value": a.live.GetResourceVersion()},
	})
	if err != nil {
		return fmt.Errorf("taking back what was added by hand: %w", err)
	}
	live, err := a.client.Patch(ctx, a.object.Name, types.JSONPatchType, patch, metav1.PatchOptions{FieldManager: FieldManager})
	if err != nil {
		return fmt.Errorf("taking back what was added by hand: %w", err)
	}
	a.live = live
	return nil
}

func texts(differences []manifest.Difference) []string {
	list := make([]string, len(differences))
	for i, d := range differences {
		list[i] = d.String()
	}
	return list
}

// nobodys is a resource version that no object ever has, for no store counts so far: an apply that names it makes the
// object, and is answered with a conflict when there is one.
const nobodys = "9223372036854775807"

// onlyAt returns the resource version at which alone the object may be written; empty when at any.
func (a *attempt) onlyAt() string {
	switch {
	case a.making:
		return nobodys
	case a.leased && a.live != nil:
		return a.live.GetResourceVersion() // an autoscaler may have acted since it was read
	}
	return ""
}

// send applies the object.
func (a *attempt) send(ctx context.Context) error {
	force := true
	payload := a.sent
	if version := a.onlyAt(); version != "" {
		exact := a.desired.DeepCopy()
		exact.SetResourceVersion(version)
		var err error
		if payload, err = workv1alpha1.EncodeManifest(exact.Object); err != nil {
			return failf(reasonInvalidManifest, "%v", err)
		}
	}
	result, err := a.client.Patch(ctx, a.object.Name, types.ApplyPatchType, payload, metav1.PatchOptions{
		FieldManager: FieldManager, Force: &force,
		// The API server refuses unknown fields in any case. It would read the whole patch a second time only to warn of
		// keys that are there twice, and it was written from a map.
		FieldValidation: metav1.FieldValidationIgnore,
	})
	if err != nil {
		if isKindMissing(err) {
			a.engine.config.Kinds.Distrust(a.object.GroupVersionKind())
		}
		return err
	}
	a.result = result
	return nil
}

// sendWhatIsKnown applies the object again without the fields that the member does not know. The
// member's schema is read only now: in most members it is never needed.
func (a *attempt) sendWhatIsKnown(ctx context.Context, refused error) error {
	known, err := a.engine.config.Kinds.Schema(ctx, a.object.GroupVersionKind())
	if err != nil {
		return err
	}
	if known == nil {
		return refused
	}
	a.schema = known
	if err := a.prepare(); err != nil {
		return err
	}
	if len(a.dropped) == 0 && len(a.merged) == 0 {
		return refused // it is something else that the member does not take
	}
	return a.send(ctx)
}

// corrected says whether the apply has changed the object.
func (a *attempt) corrected() bool {
	return a.before != a.result.GetResourceVersion()
}

// createNamespace makes a namespace that an object needs, with our mark and nothing else.
func (e *Engine) createNamespace(ctx context.Context, name string) error {
	if guarded := e.guardsID(manifest.ID{Kind: "Namespace", Name: name}); guarded != nil {
		return failf(guarded.reason, "namespace %s does not exist in the member, and making it: %s", name, guarded.message)
	}
	namespace := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "Namespace"}}
	namespace.SetName(name)
	manifest.Mark(namespace, e.config.HubID, manifest.WorkRef{})
	_, err := e.config.Client.Resource(namespaces).Create(ctx, namespace, metav1.CreateOptions{FieldManager: FieldManager})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("creating namespace %s: %w", name, err)
	}
	return nil
}

// suspend leaves everything as it is, but goes on watching. It returns after which time to look again for what could not be
// found; 0 when all was.
func (e *Engine) suspend(ctx context.Context, entry *state.Entry, p *progress) time.Duration {
	lacking := false
	for _, o := range p.manifests {
		lacking = !e.find(ctx, p, o) || lacking
	}
	p.setWaiting(reasonSuspended, "the work is suspended: what is in the member stays as it is")
	e.report(entry, p)
	if !lacking {
		return 0
	}
	return backoff(reasonKindNotServed, p.missed(), e.config.Settings.MaxBackoff)
}

// find notes where an object is watched, and says whether that is known. What is guarded is not watched, nor for this work
// what another one holds.
func (e *Engine) find(ctx context.Context, p *progress, o *object) bool {
	if o.guarded != nil {
		return true
	}
	if e.hold(o.ID, p.key) != p.key {
		return false
	}
	resource, err := e.config.Kinds.Lookup(ctx, o.GroupVersionKind())
	if err != nil {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	o.resource = resource
	return true
}
