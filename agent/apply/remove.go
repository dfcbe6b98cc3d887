package apply

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	linkv1 "windlass.dev/windlass/api/link/v1"

	"windlass.dev/windlass/agent/member"
	"windlass.dev/windlass/agent/state"
	"windlass.dev/windlass/pkg/manifest"
)

// prune deletes what earlier generations of a work applied and this one does not hold. It returns
// after which time to look again; 0 when nothing is left.
func (e *Engine) prune(ctx context.Context, entry *state.Entry, p *progress) time.Duration {
	leftover := manifest.Missing(entry.Objects, manifest.Objects(entry.Work.GetManifests()))
	if len(leftover) == 0 {
		p.left(nil)
		return 0
	}
	gone, waiting := e.removeAll(ctx, entry.Key, leftover, false)
	e.config.State.Pruned(entry.Key, entry.UID, entry.Generation, gone)
	e.othersGone()
	if len(waiting) == 0 {
		p.left(nil)
		return 0
	}
	attempts := p.left(failf(reasonPruning, "what earlier generations left is not gone yet: %s", strings.Join(waiting, "; ")))
	return backoff(reasonPruning, attempts, e.config.Settings.MaxBackoff)
}

// remove carries a removal out and reports it when nothing is left.
func (e *Engine) remove(ctx context.Context, entry *state.Entry, p *progress) time.Duration {
	objects := append([]manifest.Object(nil), entry.Objects...)
	manifest.SortForRemoval(objects)
	e.observer.Leaving(entry.Key)
	keep := keeps(entry) // whatever the removal says: the work may not have been held yet when it was taken in
	_, waiting := e.removeAll(ctx, entry.Key, objects, keep)
	if ctx.Err() != nil {
		return 0
	}
	if len(waiting) > 0 {
		attempts := p.left(failf(reasonRemoving, "not gone yet: %s", strings.Join(waiting, "; ")))
		e.report(entry, p)
		return backoff(reasonRemoving, attempts, e.config.Settings.MaxBackoff)
	}
	// Forgotten before it is reported: a work that the hub makes under the same key after the report
	// must not meet what is left of this one.
	e.config.State.Forget(entry.Key, entry.UID)
	e.drop(entry.Key)
	e.observer.Removed(entry.Key, entry.UID)
	e.othersGone()
	e.config.Logger.Info("A work has been removed.", "work", entry.Key, "cause", causeOf(entry.Removal), "objectsKept", keep)
	return 0
}

// causeOf says in words why a work is removed.
func causeOf(removal *state.Removal) string {
	switch removal.Cause {
	case linkv1.RemovalCause_REMOVAL_CAUSE_TEMPLATE_DELETED:
		return "its template or the template's namespace was deleted on the hub"
	case linkv1.RemovalCause_REMOVAL_CAUSE_NOT_SELECTED:
		return "no policy places it in this cluster any more"
	case linkv1.RemovalCause_REMOVAL_CAUSE_CLUSTER_REMOVED:
		return "this cluster was removed from the hub"
	case linkv1.RemovalCause_REMOVAL_CAUSE_FORCED:
		return "the work itself was deleted on the hub"
	case linkv1.RemovalCause_REMOVAL_CAUSE_ABSENT:
		return "the hub does not have it any more"
	}
	return "the hub did not say why"
}

// removeLeft takes in the removal of a work that is not held. What of it is in the member all the same,
// because the agent ended or its state was lost, bears the work's mark.
func (e *Engine) removeLeft(ctx context.Context, key, uid string, order state.Removal, named []*linkv1.ObjectRef) (bool, error) {
	var left []manifest.Object
	for _, ref := range named {
		o := manifest.Object{
			ID: manifest.ID{Group: ref.GetGroup(), Kind: ref.GetKind(), Namespace: ref.GetNamespace(), Name: ref.GetName()}, Version: ref.GetVersion(),
		}
		client, err := e.locate(ctx, o)
		if err != nil {
			return false, err
		}
		if client == nil {
			continue
		}
		live, err := e.read(ctx, client, o)
		if err != nil {
			return false, err
		}
		if live == nil {
			continue
		}
		owner := manifest.OwnerOf(live, e.config.HubID, e.config.WorkNamespace)
		if owner.Ownership == manifest.Ours && owner.Work == (manifest.WorkRef{Namespace: e.config.WorkNamespace, Name: key}) {
			left = append(left, o)
		}
	}
	return e.config.State.RemoveLeft(ctx, key, uid, order, left)
}

// left records what pruning or the removal waits for, nil when for nothing, and returns how often
// in a row it did.
func (p *progress) left(f *failure) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.leaving = f
	p.attempts++
	if f == nil {
		p.attempts = 0
	}
	return p.attempts
}

// removeAll removes objects and returns those that are gone or not ours, and why others are not.
func (e *Engine) removeAll(ctx context.Context, key string, objects []manifest.Object, keep bool) (gone []manifest.Object, waiting []string) {
	for _, o := range objects {
		switch why, err := e.removeObject(ctx, key, o, keep); {
		case err != nil:
			waiting = append(waiting, fmt.Sprintf("%s: %s", o.ID, classify(err).message))
		case why != "":
			waiting = append(waiting, fmt.Sprintf("%s %s", o.ID, why))
		default:
			gone = append(gone, o)
		}
	}
	return gone, waiting
}

// removeObject deletes an object of a work, or takes its marks away when it is kept. It returns why
// the object is still there, "" when it is gone or nothing is to be done: an object that is guarded,
// is not ours, or is another work's by now is left alone.
func (e *Engine) removeObject(ctx context.Context, key string, o manifest.Object, keep bool) (string, error) {
	if guarded := e.guardsID(o.ID); guarded != nil {
		e.leave(key, o, guarded)
		return "", nil
	}
	client, err := e.locate(ctx, o)
	if err != nil || client == nil {
		return "", err
	}
	live, err := e.read(ctx, client, o)
	if err != nil || live == nil {
		return "", err
	}
	if !e.mayRemove(key, o, live) {
		return "", nil
	}
	if guarded := e.guards(live); guarded != nil {
		e.leave(key, o, guarded)
		return "", nil
	}
	if keep {
		return "", letGo(ctx, client, live)
	}
	if live.GetDeletionTimestamp() != nil {
		return heldBy(live), nil
	}
	if why := e.occupied(key, live); why != "" {
		e.awaits(key)
		return why, nil
	}
	if holdsOthers(o) {
		switch preserved, err := e.holdsPreserved(ctx, live); {
		case err != nil:
			return "", err
		case preserved != nil:
			e.config.Logger.Info("What holds an object that a policy preserves is not deleted, but let go.", "object", o.ID, "work", key, "preserved", *preserved)
			return "", letGo(ctx, client, live)
		}
	}
	uid, background := live.GetUID(), metav1.DeletePropagationBackground
	err = client.Delete(ctx, o.Name, metav1.DeleteOptions{
		Preconditions: &metav1.Preconditions{UID: &uid}, PropagationPolicy: &background,
	})
	if err := ignoreGone(err); err != nil {
		return "", err
	}
	if !lingers(live) {
		return "", nil
	}
	live, err = e.read(ctx, client, o)
	if err != nil || live == nil || live.GetUID() != uid {
		return "", err
	}
	return heldBy(live), nil
}

// letGo takes the marks away from an object, which stays.
func letGo(ctx context.Context, client dynamic.ResourceInterface, live *unstructured.Unstructured) error {
	_, err := client.Patch(ctx, live.GetName(), types.MergePatchType, manifest.UnmarkPatch(string(live.GetUID())),
		metav1.PatchOptions{FieldManager: FieldManager})
	return ignoreGone(err)
}

// locate returns the client for an object; nil when it is guarded, and when its kind is not served any
// more and the object gone with it. That it is not served has to be known for sure: when what serves
// the group is down, the object is still there.
func (e *Engine) locate(ctx context.Context, o manifest.Object) (dynamic.ResourceInterface, error) {
	if e.guardsID(o.ID) != nil {
		return nil, nil
	}
	resource, err := e.config.Kinds.Lookup(ctx, o.GroupVersionKind())
	var notServed *member.NotServedError
	switch {
	case errors.As(err, &notServed) && notServed.Elsewhere != nil:
		resource = *notServed.Elsewhere
	case errors.As(err, &notServed) && notServed.Unsure == nil:
		return nil, nil
	case err != nil:
		return nil, err
	}
	client := e.config.Client.Resource(resource.GroupVersionResource)
	if !resource.Namespaced {
		return client, nil
	}
	return client.Namespace(o.Namespace), nil
}

// mayRemove says whether an object is ours, and this work's.
func (e *Engine) mayRemove(key string, o manifest.Object, live *unstructured.Unstructured) bool {
	owner := manifest.OwnerOf(live, e.config.HubID, e.config.WorkNamespace)
	if owner.Ownership != manifest.Ours {
		return false
	}
	if holder := e.holderOf(o.ID); holder != "" && holder != key {
		return false
	}
	if owner.Work.Name == "" || owner.Work.Name == key {
		return true
	}
	entry, held := e.config.State.Get(owner.Work.Name)
	return !held || !names(entry, o.ID)
}

func names(entry *state.Entry, id manifest.ID) bool {
	for _, o := range entry.Objects {
		if o.ID == id {
			return true
		}
	}
	return false
}

func ignoreGone(err error) error {
	if apierrors.IsNotFound(err) && !isKindMissing(err) {
		return nil
	}
	return err
}

// lingers says whether an object can still be there after its deletion was accepted.
func lingers(live *unstructured.Unstructured) bool {
	kind := live.GroupVersionKind().GroupKind()
	return len(live.GetFinalizers()) > 0 || kind.Group == "" && (kind.Kind == "Namespace" || kind.Kind == "Pod")
}

func heldBy(live *unstructured.Unstructured) string {
	if finalizers := live.GetFinalizers(); len(finalizers) > 0 {
		return fmt.Sprintf("is being deleted and held by the finalizers %s", strings.Join(finalizers, ", "))
	}
	return "is being deleted"
}
