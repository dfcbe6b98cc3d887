package apply

import (
	"context"
	"fmt"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	linkv1 "windlass.dev/windlass/api/link/v1"
	workv1alpha1 "windlass.dev/windlass/api/work/v1alpha1"

	"windlass.dev/windlass/agent/member"
	"windlass.dev/windlass/agent/state"
	"windlass.dev/windlass/pkg/interpret"
	"windlass.dev/windlass/pkg/manifest"
	"windlass.dev/windlass/pkg/session"
)

// Contents lists what is in the member, whoever made it; *member.Clients does.
type Contents interface {
	EachIn(ctx context.Context, namespace string, see member.See) error
	EachOf(ctx context.Context, resource schema.GroupVersionResource, kind, namespace string, see member.See) error
}

// burdenLimit is how long the objects that a removal takes along may take to be counted.
const burdenLimit = 20 * time.Second

// TakesAlong says whether a removal deletes an object that holds others: see interpret.HoldsOthers.
func (e *Engine) TakesAlong(removal *linkv1.Removal) bool {
	entry, held := e.config.State.Get(removal.GetKey())
	return held && !removal.GetKeep() && !keeps(entry) && slices.ContainsFunc(entry.Objects, holdsOthers)
}

func holdsOthers(o manifest.Object) bool { return interpret.HoldsOthers(o.GroupKind()) }

// keeps says whether a work's objects stay in the member when it is removed.
func keeps(entry *state.Entry) bool {
	return entry.Work.GetPreserveResourcesOnDeletion() || entry.Removal != nil && entry.Removal.Keep
}

// Burden counts what a removal takes along, up to one more than most. Objects of other works are not counted, for what holds
// them waits until they are gone, by removals of their own; nor is what comes and goes with other objects.
func (e *Engine) Burden(ctx context.Context, removal *linkv1.Removal, most int) session.Burden {
	entry, held := e.config.State.Get(removal.GetKey())
	if !held {
		return session.Burden{}
	}
	ctx, cancel := context.WithTimeout(ctx, burdenLimit)
	defer cancel()
	sum := session.Burden{Keep: true}
	for _, o := range entry.Objects {
		if !holdsOthers(o) {
			sum.Keep = false
			continue
		}
		count, kept, err := e.countIn(ctx, removal.GetKey(), o, most)
		if err != nil {
			return session.Burden{Others: most + 1, Text: fmt.Sprintf("what is in %s, which can't be counted (%s),", o.ID, classify(err).message)}
		}
		sum.Keep = sum.Keep && kept
		if sum.Others += count; count > 0 {
			sum.Text = burdenText(o.ID, count, most)
		}
	}
	return sum
}

func burdenText(holder manifest.ID, count, most int) string {
	number := fmt.Sprintf("%d objects", count)
	switch {
	case count == 1:
		number = "1 object"
	case count > most:
		number = fmt.Sprintf("more than %d objects", most)
	}
	if holder.Kind == "Namespace" {
		return fmt.Sprintf("%s in %s that no work has put there", number, holder)
	}
	return fmt.Sprintf("%s of the kind of %s that no work has put there", number, holder)
}

// countIn counts the objects, up to one more than most, that are deleted with the one that holds them, and that no work answers for. Kept is
// true when that one is not to be deleted, for it holds what a policy preserves.
func (e *Engine) countIn(ctx context.Context, key string, holder manifest.Object, most int) (count int, kept bool, err error) {
	client, err := e.locate(ctx, holder)
	if err != nil || client == nil {
		return 0, false, err
	}
	live, err := e.read(ctx, client, holder)
	switch {
	case err != nil:
		return 0, false, err
	case live == nil:
		return 0, false, nil
	case !e.mayRemove(key, holder, live) || e.guards(live) != nil:
		return 0, false, nil // it is not deleted
	}
	if e.holdsKept(live) {
		return 0, true, nil
	}
	if preserved, err := e.holdsPreserved(ctx, live); err != nil || preserved != nil {
		return 0, preserved != nil, err
	}
	answered := e.answeredFor()
	counting := func(id manifest.ID, object *metav1.PartialObjectMetadata) bool {
		if !answered[id] {
			count++
		}
		return count <= most
	}
	err = e.eachHeld(ctx, live, func(id manifest.ID, object *metav1.PartialObjectMetadata) bool {
		return holder.Kind == "Namespace" && follows(id, object) || counting(id, object)
	})
	return count, false, err
}

// answeredFor are the objects that works hold, each of which has a removal of its own.
func (e *Engine) answeredFor() map[manifest.ID]bool {
	all := map[manifest.ID]bool{}
	for _, key := range e.config.State.Keys() {
		if entry, held := e.config.State.Get(key); held {
			for _, o := range entry.Objects {
				all[o.ID] = true
			}
		}
	}
	return all
}

// follows says whether an object in a namespace comes and goes with another one, or with the namespace itself.
func follows(id manifest.ID, object *metav1.PartialObjectMetadata) bool {
	switch {
	case metav1.GetControllerOf(object) != nil,
		id.Group == "" && id.Kind == "ServiceAccount" && id.Name == "default",
		id.Group == "" && id.Kind == "ConfigMap" && id.Name == "kube-root-ca.crt":
		return true
	}
	return false
}

// definedBy is the kind that a CustomResourceDefinition defines, in a version that is served.
func definedBy(definition *unstructured.Unstructured) (resource schema.GroupVersionResource, kind string, served bool) {
	spec, _, _ := unstructured.NestedMap(definition.Object, "spec")
	group, _, _ := unstructured.NestedString(spec, "group")
	plural, _, _ := unstructured.NestedString(spec, "names", "plural")
	kind, _, _ = unstructured.NestedString(spec, "names", "kind")
	versions, _, _ := unstructured.NestedSlice(spec, "versions")
	for _, v := range versions {
		version, _ := v.(map[string]any)
		if name, _ := version["name"].(string); version["served"] == true {
			return schema.GroupVersionResource{Group: group, Version: name, Resource: plural}, kind, true
		}
	}
	return schema.GroupVersionResource{}, "", false
}

// occupied says that an object which holds others is not deleted yet, because other works have objects in it; "" when none has.
// They are taken in by their own works' removals, which the brake counts, or they are to stay.
func (e *Engine) occupied(key string, holder *unstructured.Unstructured) string {
	if !interpret.HoldsOthers(holder.GroupVersionKind().GroupKind()) {
		return ""
	}
	var first manifest.ID
	count := 0
	for _, other := range e.config.State.Keys() {
		entry, held := e.config.State.Get(other)
		if !held || other == key {
			continue
		}
		for _, o := range entry.Objects {
			if isIn(o.ID, holder) {
				first, count = o.ID, count+1
			}
		}
	}
	switch count {
	case 0:
		return ""
	case 1:
		return fmt.Sprintf("is deleted when another work's %s, which would go with it, is gone from this cluster", first)
	}
	return fmt.Sprintf("is deleted when %d objects of other works, which would go with it, are gone from this cluster, such as %s", count, first)
}

func isIn(id manifest.ID, holder *unstructured.Unstructured) bool {
	if holder.GetKind() == "Namespace" {
		return id.Namespace == holder.GetName()
	}
	resource, kind, served := definedBy(holder)
	return served && id.Group == resource.Group && id.Kind == kind
}

// holdsKept says whether a work has something in an object that holds others, and would leave it there when it is removed.
func (e *Engine) holdsKept(holder *unstructured.Unstructured) bool {
	return slices.ContainsFunc(e.config.State.Keys(), func(key string) bool {
		entry, held := e.config.State.Get(key)
		return held && keeps(entry) && slices.ContainsFunc(entry.Objects, func(o manifest.Object) bool { return isIn(o.ID, holder) })
	})
}

// holdsPreserved returns an object that would be deleted with the one that holds it, though the policy by which it came here
// preserves it; nil when there is none.
func (e *Engine) holdsPreserved(ctx context.Context, holder *unstructured.Unstructured) (preserved *manifest.ID, err error) {
	ctx, cancel := context.WithTimeout(ctx, burdenLimit)
	defer cancel()
	err = e.eachHeld(ctx, holder, func(id manifest.ID, object *metav1.PartialObjectMetadata) bool {
		if object.Annotations[workv1alpha1.PreservedAnnotation] == "true" {
			preserved = &id
		}
		return preserved == nil
	})
	return preserved, err
}

// eachHeld shows what is deleted with an object that holds others.
func (e *Engine) eachHeld(ctx context.Context, holder *unstructured.Unstructured, see member.See) error {
	if holder.GetKind() == "Namespace" {
		return e.config.Contents.EachIn(ctx, holder.GetName(), see)
	}
	resource, kind, served := definedBy(holder)
	if !served {
		return nil
	}
	return e.config.Contents.EachOf(ctx, resource, kind, "", see)
}

// awaits has a removal looked at again as soon as another one has ended.
func (e *Engine) awaits(key string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.awaiting[key] = struct{}{}
}

// othersGone wakes the removals that wait for others.
func (e *Engine) othersGone() {
	e.mu.Lock()
	waiting := e.awaiting
	e.awaiting = map[string]struct{}{}
	e.mu.Unlock()
	for key := range waiting {
		e.enqueue(key, drifted)
	}
}
