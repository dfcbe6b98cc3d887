// Package policy makes the binding of every template that a policy claims. It is the only writer of
// a binding's spec, but for its clusters, and of the claim marks on templates.
package policy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"k8s.io/client-go/tools/cache"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/source"

	policyv1alpha1 "windlass.dev/windlass/api/policy/v1alpha1"
	workv1alpha1 "windlass.dev/windlass/api/work/v1alpha1"
	"windlass.dev/windlass/hub/store"
	"windlass.dev/windlass/hub/templates"
	"windlass.dev/windlass/pkg/interpret"
	"windlass.dev/windlass/pkg/policy"
	"windlass.dev/windlass/pkg/render"
)

// Templates is what the controller needs of the watches on users' objects.
type Templates interface {
	Handle(templates.Handler)
	Want(who string, kinds []schema.GroupVersionKind)
	Get(templates.Key) (obj *unstructured.Unstructured, known bool)
	List(kind schema.GroupVersionKind, namespace string) []*unstructured.Unstructured
	Problem(schema.GroupVersionKind) error
	Deleted(types.UID) bool
	Live(context.Context, templates.Key) (*unstructured.Unstructured, error)
	At(ctx context.Context, key templates.Key, resourceVersion string) (*unstructured.Unstructured, error)
	Patch(context.Context, templates.Key, []byte) error
}

// Events records what a person should hear of; record.EventRecorder does.
type Events interface {
	Event(about runtime.Object, kind, reason, message string)
}

// Classes are the hub's PriorityClasses.
type Classes interface {
	Value(name string) (priority int32, exists bool)
	OnChanged(func(name string)) error
}

// Reconciler makes bindings. Its key is a template.
type Reconciler struct {
	Templates Templates
	Classes   Classes
	Policies  store.Scoped[policyv1alpha1.Policy]
	// Stored reads a policy from the store, past the cache.
	Stored    func(ctx context.Context, namespace, name string) (policyv1alpha1.Policy, error)
	Overrides store.Scoped[policyv1alpha1.Override]
	Bindings  store.Bindings
	Workers   int
	Log       *slog.Logger
	// Events is told on the template that a policy takes it from another.
	Events Events

	index *policy.Index
	// wanting is held while it is found out, and told, which kinds policies select.
	wanting sync.Mutex
	bound   boundKinds
	// lazySince has, by its UID, the resource version with which each policy became Lazy that did so under this process.
	lazySince sync.Map
}

// Setup adds the controller to the manager. Before the manager starts, the caller waits until the
// caches of policies and bindings, and the handlers that Setup adds to them, have synced: a template
// whose policy has not been seen yet would be released. The returned function says whether they have.
func (r *Reconciler) Setup(mgr manager.Manager, policies ...cache.SharedIndexInformer) (synced func() bool, err error) {
	r.index = policy.NewIndex()
	c, err := controller.NewTyped("policy", mgr, controller.TypedOptions[templates.Key]{
		Reconciler:              r,
		MaxConcurrentReconciles: r.Workers,
	})
	if err != nil {
		return nil, err
	}
	var registered []cache.ResourceEventHandlerRegistration
	wake := &store.Mailbox[templates.Key]{}
	for _, informer := range policies {
		registration, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
			AddFunc:    func(obj any) { r.policyChanged(wake, nil, obj.(policyv1alpha1.Policy)) },
			UpdateFunc: func(old, new any) { r.policyChanged(wake, old.(policyv1alpha1.Policy), new.(policyv1alpha1.Policy)) },
			DeleteFunc: func(obj any) {
				if unknown, ok := obj.(cache.DeletedFinalStateUnknown); ok {
					obj = unknown.Obj
				}
				r.policyChanged(wake, obj.(policyv1alpha1.Policy), nil)
			},
		})
		if err != nil {
			return nil, err
		}
		registered = append(registered, registration)
	}
	r.Templates.Handle(templates.Handler{
		Changed:     wake.Add,
		ContentOnly: func(schema.GroupKind) bool { return true }, // no policy selects by a status, and no binding says anything of it
		Kind:        func(kind schema.GroupVersionKind) { r.kindChanged(wake, kind) },
	})
	if err := r.Classes.OnChanged(func(class string) { r.classChanged(wake, class) }); err != nil {
		return nil, err
	}
	sources := append(store.Sources(r.Bindings.Scoped, r.bindingChanged), store.Sources(r.Overrides, r.overrideChanged)...)
	for _, source := range append(sources, source.TypedSource[templates.Key](wake)) {
		if err := c.Watch(source); err != nil {
			return nil, err
		}
	}
	if err := (&releaser{policies: r.Policies, bindings: r.Bindings, templates: r.Templates}).setup(mgr); err != nil {
		return nil, err
	}
	return func() bool {
		return !slices.ContainsFunc(registered, func(r cache.ResourceEventHandlerRegistration) bool { return !r.HasSynced() })
	}, nil
}

// kindChanged wakes the templates of a kind that is watched from now on, or no longer. Those whose events came before its first
// list was complete could not be decided on; and what it had, other versions left alone, and nobody tells them again.
func (r *Reconciler) kindChanged(wake *store.Mailbox[templates.Key], kind schema.GroupVersionKind) {
	versions := []schema.GroupVersionKind{kind}
	if !r.served(kind) {
		versions = r.versionsOf(kind)
	}
	for _, version := range versions {
		for _, template := range r.Templates.List(version, "") {
			wake.Add(templates.KeyOf(template), true)
		}
	}
	for _, binding := range r.Bindings.List() {
		if key := store.TemplateKey(binding); key.GroupVersionKind == kind {
			wake.Add(key, true)
		}
	}
}

// versionsOf are a kind and all other versions of it that policies select.
func (r *Reconciler) versionsOf(kind schema.GroupVersionKind) []schema.GroupVersionKind {
	versions := slices.DeleteFunc(r.index.Versions(kind.GroupKind()), func(version schema.GroupVersionKind) bool { return version == kind })
	return append([]schema.GroupVersionKind{kind}, versions...)
}

// served says whether the API server serves a kind, for all that is known.
func (r *Reconciler) served(kind schema.GroupVersionKind) bool {
	return r.Templates.Problem(kind) == nil
}

// policyChanged brings the index up to date and wakes the templates that the policy selects or
// selected, or that bear its claim.
func (r *Reconciler) policyChanged(wake *store.Mailbox[templates.Key], old, new policyv1alpha1.Policy) {
	r.noteLazy(old, new)
	affected := []policyv1alpha1.Policy{}
	if new != nil {
		if err := r.index.Put(new); err != nil {
			r.Log.Error("a policy can't be used", "policy", store.Key(new), "err", err)
		}
		affected = append(affected, new)
	} else {
		r.index.Delete(store.Key(old))
	}
	if old != nil {
		// A policy that was changed and changed back while the watch was away is new to a template that waits for it.
		if new != nil && old.GetUID() == new.GetUID() && old.GetGeneration() == new.GetGeneration() &&
			equality.Semantic.DeepEqual(old.GetSpec(), new.GetSpec()) && (old.GetDeletionTimestamp() == nil) == (new.GetDeletionTimestamp() == nil) {
			return // its status has changed
		}
		affected = append(affected, old)
	}
	r.wantKinds()
	for _, policy := range affected {
		for _, key := range r.templatesOf(policy) {
			wake.Add(key, false)
		}
	}
}

// wantKinds tells which kinds policies select now. Policies of both scopes come in goroutines of their own: what one of them has
// found out must not be told after what another has found out later.
func (r *Reconciler) wantKinds() {
	r.wanting.Lock()
	defer r.wanting.Unlock()
	r.Templates.Want("policies", r.index.Kinds())
}

// noteLazy notes when a policy becomes Lazy.
func (r *Reconciler) noteLazy(old, new policyv1alpha1.Policy) {
	switch {
	case new == nil:
		r.lazySince.Delete(old.GetUID())
	case !policy.Lazy(new):
		r.lazySince.Delete(new.GetUID())
	case old != nil && old.GetUID() == new.GetUID() && !policy.Lazy(old):
		r.lazySince.Store(new.GetUID(), new.GetResourceVersion())
	}
}

// classChanged wakes the templates of the policies that name a PriorityClass.
func (r *Reconciler) classChanged(wake *store.Mailbox[templates.Key], class string) {
	for _, p := range r.Policies.List() {
		if wanted := p.GetSpec().SchedulePriority; wanted != nil && wanted.PriorityClassName == class {
			for _, key := range r.templatesOf(p) {
				wake.Add(key, false)
			}
		}
	}
}

// templatesOf are those that a policy selects, and those that bear its claim.
func (r *Reconciler) templatesOf(p policyv1alpha1.Policy) []templates.Key {
	matcher, err := policy.NewMatcher(p)
	if err != nil {
		return nil
	}
	var keys []templates.Key
	for _, kind := range matcher.Kinds() {
		for _, template := range r.Templates.List(kind, p.GetNamespace()) {
			if matcher.Matches(policy.TemplateOf(template, kind)) || policy.ClaimOf(template.GetLabels(), template.GetAnnotations()).By(p) {
				keys = append(keys, templates.KeyOf(template))
			}
		}
	}
	return keys
}

// overrideChanged wakes the templates of the policies that wait for an override policy that has come.
func (r *Reconciler) overrideChanged(old, new policyv1alpha1.Override) []templates.Key {
	if old != nil || new == nil {
		return nil
	}
	var keys []templates.Key
	for _, p := range r.Policies.List() {
		if policy.WaitsFor(p, new) {
			keys = append(keys, r.templatesOf(p)...)
		}
	}
	return keys
}

// waits says whether a policy waits for override policies.
func (r *Reconciler) waits(p policyv1alpha1.Policy) bool {
	return len(policy.MissingOverrides(p, r.overrideExists)) > 0
}

func (r *Reconciler) overrideExists(namespace, name string) bool {
	_, there := r.Overrides.For(namespace).Get(namespace, name)
	return there
}

// bindingChanged keeps the templates of all bindings watched, whatever becomes of their policies,
// and wakes the template of a binding that somebody else has written, in all versions: each may wait for what another one had.
func (r *Reconciler) bindingChanged(old, new workv1alpha1.Binding) []templates.Key {
	r.bound.changed(old, new, func(kinds []schema.GroupVersionKind) { r.Templates.Want("bindings", kinds) })
	if old != nil && new != nil && old.GetGeneration() == new.GetGeneration() && old.GetDeletionTimestamp() == nil && new.GetDeletionTimestamp() == nil &&
		maps.Equal(old.GetLabels(), new.GetLabels()) && maps.Equal(old.GetAnnotations(), new.GetAnnotations()) {
		return nil
	}
	changed := new
	if new == nil {
		changed = old
	}
	template := store.TemplateKey(changed)
	var keys []templates.Key
	for _, version := range r.versionsOf(template.GroupVersionKind) {
		keys = append(keys, templates.Key{GroupVersionKind: version, NamespacedName: template.NamespacedName})
	}
	return keys
}

// Reconcile finds the policy of a template and makes its binding.
func (r *Reconciler) Reconcile(ctx context.Context, key templates.Key) (ctrl.Result, error) {
	template, known := r.Templates.Get(key)
	switch {
	case !known:
		return r.unserved(ctx, key)
	case template == nil:
		return store.Outcome(r.unbind(ctx, key))
	case template.GetDeletionTimestamp() != nil:
		return store.Outcome(r.letGo(ctx, key, template))
	}
	decision := r.index.Select(policy.TemplateOf(template, key.GroupVersionKind), policy.ClaimOf(template.GetLabels(), template.GetAnnotations()), r.waits)
	if r.claimedInAnotherVersion(key, template, decision.Policy) {
		return ctrl.Result{}, nil
	}
	if decision.Policy == nil {
		return store.Outcome(r.release(ctx, key, template))
	}
	if r.waits(decision.Policy) {
		return store.Outcome(r.hold(ctx, key, template, decision.Policy))
	}
	// The binding first: the claim is not on the way to the member.
	if err := r.bind(ctx, key, template, decision.Policy); err != nil {
		return store.Outcome(fmt.Errorf("writing the binding of %s: %w", key, err))
	}
	labels, annotations := policy.Marks(decision.Policy)
	err := r.mark(ctx, key, template, labels, annotations)
	r.tell(template, decision, err)
	return store.Outcome(err)
}

// Claim gives the marks of an object that is being created, which then need no write of their own. It has none for
// an object that bears marks, such as one that was copied: what becomes of those is for Reconcile to decide, and to tell.
func (r *Reconciler) Claim(object metav1.Object, kind schema.GroupVersionKind) (labels, annotations map[string]string) {
	if !policy.ClaimOf(object.GetLabels(), object.GetAnnotations()).Empty() {
		return nil, nil
	}
	decision := r.index.Select(policy.TemplateOf(object, kind), policy.Claim{}, r.waits)
	if decision.Policy == nil || r.waits(decision.Policy) {
		return nil, nil
	}
	return policy.Marks(decision.Policy)
}

// The reasons of events about a policy that takes a template from another. The words are Karmada's.
const (
	eventPreempted    = "PreemptPolicySucceed"
	eventNotPreempted = "PreemptPolicyFailed"
)

// tell says on a template that a policy takes it from another, or could not. That a write came too late is
// nothing to tell.
func (r *Reconciler) tell(template *unstructured.Unstructured, decision policy.Decision, err error) {
	switch {
	case decision.Reason != policy.ReasonPreempted || apierrors.IsConflict(err):
	case err != nil:
		r.Events.Event(template, corev1.EventTypeWarning, eventNotPreempted, decision.Message+"; that failed: "+err.Error())
	default:
		r.Events.Event(template, corev1.EventTypeNormal, eventPreempted, decision.Message)
	}
}

// hold leaves a template as it is whose policy waits for override policies: they wake it when they come,
// and the policy's status says what is missing. Only the claim of another policy goes, which has ended.
func (r *Reconciler) hold(ctx context.Context, key templates.Key, template *unstructured.Unstructured, p policyv1alpha1.Policy) error {
	if policy.ClaimOf(template.GetLabels(), template.GetAnnotations()).By(p) {
		return nil
	}
	return r.release(ctx, key, template)
}

// askAgain is how long to wait before the API server is asked again whether an object of a kind that
// it does not serve exists.
const askAgain = 30 * time.Second

// unserved deletes the bindings of a template whose kind is not served any more, once it is proven
// that the template went with its kind, or after it: no watch tells.
func (r *Reconciler) unserved(ctx context.Context, key templates.Key) (ctrl.Result, error) {
	if r.served(key.GroupVersionKind) {
		return ctrl.Result{}, nil // its first list is on the way; the handler of its kind wakes it
	}
	err := r.unbind(ctx, key)
	if errors.Is(err, templates.ErrUnproven) || err == nil && len(r.staying(key)) > 0 {
		return ctrl.Result{RequeueAfter: askAgain}, nil
	}
	return store.Outcome(err)
}

// claimedInAnotherVersion says whether the object is claimed as one of another version of its kind, and not for this one to decide
// on. It has one binding and one claim only: versions that each decided for themselves would write both in turn, for ever. The
// version of its binding keeps it while a policy selects it there; while it has none, the policy that its marks name does. One
// that is served no longer keeps from this version only what nobody selects in it.
func (r *Reconciler) claimedInAnotherVersion(key templates.Key, template *unstructured.Unstructured, here policyv1alpha1.Policy) bool {
	if theirs, bound := r.boundAs(key, template); bound {
		if theirs == key.GroupVersionKind {
			return false
		}
		if here == nil || r.served(theirs) {
			return true
		}
	}
	kept := r.index.Keeps(policy.TemplateOf(template, key.GroupVersionKind), policy.ClaimOf(template.GetLabels(), template.GetAnnotations()))
	return !slices.Contains(kept, key.GroupVersionKind) && slices.ContainsFunc(kept, r.served)
}

// boundAs is the kind as which this very object has a claimed binding and a policy still selects it.
func (r *Reconciler) boundAs(key templates.Key, template *unstructured.Unstructured) (kind schema.GroupVersionKind, bound bool) {
	binding, ok := r.Bindings.For(key.Namespace).Get(key.Namespace, r.bindingName(key, template))
	if !ok || !store.Claimed(binding) || binding.GetSpec().Resource.UID != template.GetUID() {
		return kind, false
	}
	kind = store.TemplateKey(binding).GroupVersionKind
	claim := policy.ClaimOf(binding.GetLabels(), binding.GetAnnotations())
	return kind, r.index.Select(policy.TemplateOf(template, kind), claim, r.waits).Policy != nil
}

// unbind deletes the bindings of a template that does not exist any more. What the cache lacks is no reason to delete: only the API
// server's own word is, by a watch that tells of the deletion, or when it is asked.
func (r *Reconciler) unbind(ctx context.Context, key templates.Key) error {
	for _, binding := range r.staying(key) {
		gone, err := r.gone(ctx, key, binding.GetSpec().Resource.UID)
		if err != nil {
			return err
		}
		if !gone {
			continue
		}
		if err := r.Bindings.For(binding.GetNamespace()).Delete(ctx, binding); err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("deleting the binding of %s, which is gone: %w", key, err)
		}
	}
	return nil
}

// staying are the bindings of a template that are not being deleted.
func (r *Reconciler) staying(key templates.Key) []workv1alpha1.Binding {
	return slices.DeleteFunc(r.Bindings.ByIndex(store.ByTemplate, store.TemplateIndex(key)),
		func(binding workv1alpha1.Binding) bool { return binding.GetDeletionTimestamp() != nil })
}

// gone says whether the object that was a template is proven not to exist any more; another one may have its name.
func (r *Reconciler) gone(ctx context.Context, key templates.Key, uid types.UID) (bool, error) {
	if r.Templates.Deleted(uid) {
		return true, nil
	}
	live, err := r.Templates.Live(ctx, key)
	return err == nil && (live == nil || live.GetUID() != uid), err
}

// bind creates the binding of a template, or brings it up to date.
func (r *Reconciler) bind(ctx context.Context, key templates.Key, template *unstructured.Unstructured, p policyv1alpha1.Policy) error {
	activated, err := activatedBy(template, p)
	if err != nil {
		return err
	}
	name := r.bindingName(key, template)
	writer := r.Bindings.For(key.Namespace)
	existing, ok := writer.Get(key.Namespace, name)
	if !ok {
		if policy.Lazy(p) {
			if known, err := r.isStored(ctx, p); err != nil || !known {
				return err // the policy's event wakes the template
			}
		}
		created := newBinding(template, name)
		r.fill(created, template, p, activated, false)
		if p.GetSpec().SchedulePriority != nil && created.GetSpec().SchedulePriority == nil {
			return nil // its class is not there, which the policy says; the class wakes the template
		}
		_, err = writer.Create(ctx, created)
		if apierrors.IsAlreadyExists(err) {
			// Made a moment ago, and perhaps for a template of another kind, of whose binding this one never hears.
			return apierrors.NewConflict(workv1alpha1.Resource("propagationbindings"), name, err)
		}
		return err
	}
	if existing.GetDeletionTimestamp() != nil {
		return nil // its end wakes the template again
	}
	if existing.GetSpec().Resource.UID != template.GetUID() {
		// The binding of a template that was deleted and made again: it has to take its works along
		// before the new template gets its own.
		return writer.Delete(ctx, existing)
	}
	desired := existing.DeepCopyObject().(workv1alpha1.Binding)
	if err := r.lookBack(ctx, key, template, p, desired); err != nil {
		return err
	}
	if policy.Lazy(p) && !policy.Waits(p, desired, activated) {
		if known, err := r.isStored(ctx, p); err != nil || !known {
			return err // the policy's event wakes the template
		}
	}
	r.fill(desired, template, p, activated, true)
	if sameButResourceVersion(existing, desired) {
		return nil
	}
	_, err = writer.Update(ctx, desired)
	return err
}

// notThere stands for the content of a template that did not exist.
const notThere = "none"

// lookBack writes into a binding, which is not stored thus, what its template was when the policy became Lazy. The template may
// have been changed since, or made, before this controller heard of the policy or got round to it; then the policy is due.
func (r *Reconciler) lookBack(ctx context.Context, key templates.Key, template *unstructured.Unstructured, p policyv1alpha1.Policy, binding workv1alpha1.Binding) error {
	_, known := binding.GetAnnotations()[workv1alpha1.ActivatedTemplateAnnotation]
	since, noted := r.lazySince.Load(p.GetUID())
	if known || !noted || !policy.ClaimOf(binding.GetLabels(), binding.GetAnnotations()).By(p) {
		return nil
	}
	if order, err := resourceversion.CompareResourceVersion(template.GetResourceVersion(), since.(string)); err != nil || order <= 0 {
		return nil // nobody has touched it since
	}
	before, err := r.Templates.At(ctx, key, since.(string))
	if apierrors.IsResourceExpired(err) || apierrors.IsGone(err) {
		return nil // nobody knows any more, and to wait does less harm
	}
	if err != nil {
		return fmt.Errorf("looking what %s was when policy %s became Lazy: %w", key, store.Key(p), err)
	}
	hash := notThere
	if before != nil && before.GetUID() == template.GetUID() {
		if hash, err = render.TemplateHash(before); err != nil {
			return err
		}
	}
	setActivated(binding, hash)
	return nil
}

// isStored says whether a policy is what the store has. Policies and templates come by separate watches, so the cache may not show
// yet what was changed before the template. Of most policies that does not matter; a Lazy one takes effect with this change of the
// template, or with its being new, and what of it is missed now would wait for the next.
func (r *Reconciler) isStored(ctx context.Context, p policyv1alpha1.Policy) (bool, error) {
	stored, err := r.Stored(ctx, p.GetNamespace(), p.GetName())
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("reading policy %s: %w", store.Key(p), err)
	}
	return stored.GetUID() == p.GetUID() && stored.GetGeneration() == p.GetGeneration(), nil
}

// bindingName is the plain name unless a binding of another object has it. A binding that once got
// the other name keeps it: under two names an object would have two works in each cluster.
func (r *Reconciler) bindingName(key templates.Key, template *unstructured.Unstructured) string {
	plain, hashed := render.BindingName(template), render.BindingNameHashed(template)
	if r.holds(hashed, key) == theSame || r.holds(plain, key) == another {
		return hashed
	}
	return plain
}

// holder says whose binding has a name.
type holder int

const (
	nobody holder = iota
	theSame
	another
)

func (r *Reconciler) holds(name string, key templates.Key) holder {
	binding, ok := r.Bindings.For(key.Namespace).Get(key.Namespace, name)
	if !ok {
		return nobody
	}
	theirs := store.TemplateKey(binding)
	if theirs.GroupKind() == key.GroupKind() && theirs.NamespacedName == key.NamespacedName {
		return theSame
	}
	return another
}

// release takes the claim off a template that no policy selects any more, and off its binding. The
// binding and what it put into the members stay.
func (r *Reconciler) release(ctx context.Context, key templates.Key, template *unstructured.Unstructured) error {
	for _, binding := range r.Bindings.ByIndex(store.ByTemplate, store.TemplateIndex(key)) {
		if !store.Claimed(binding) || binding.GetDeletionTimestamp() != nil {
			continue
		}
		released := binding.DeepCopyObject().(workv1alpha1.Binding)
		setMarks(released, nil, nil)
		if _, err := r.Bindings.For(binding.GetNamespace()).Update(ctx, released); err != nil {
			return fmt.Errorf("releasing the binding of %s: %w", key, err)
		}
	}
	return r.mark(ctx, key, template, nil, nil)
}

// letGo releases a template that is being deleted when its policy ends. It is there until its finalizers are gone, which may
// be never, and a policy waits for all that it claims. No other policy takes it up.
func (r *Reconciler) letGo(ctx context.Context, key templates.Key, template *unstructured.Unstructured) error {
	for _, binding := range r.staying(key) {
		claim := policy.ClaimOf(binding.GetLabels(), binding.GetAnnotations())
		if !claim.Empty() && len(r.index.Keeps(policy.TemplateOf(template, key.GroupVersionKind), claim)) == 0 {
			return r.release(ctx, key, template)
		}
	}
	return nil
}

// mark makes the claim marks of a template those that are given.
func (r *Reconciler) mark(ctx context.Context, key templates.Key, template *unstructured.Unstructured, labels, annotations map[string]string) error {
	labelKeys, annotationKeys := policy.MarkKeys()
	metadata := map[string]any{}
	if changes := markChanges(template.GetLabels(), labels, labelKeys); len(changes) > 0 {
		metadata["labels"] = changes
	}
	if changes := markChanges(template.GetAnnotations(), annotations, annotationKeys); len(changes) > 0 {
		metadata["annotations"] = changes
	}
	if len(metadata) == 0 {
		return nil
	}
	metadata["uid"] = template.GetUID() // not on another object of the same name
	patch, err := json.Marshal(map[string]any{"metadata": metadata})
	if err != nil {
		return err
	}
	if err := r.Templates.Patch(ctx, key, patch); err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("marking %s as claimed: %w", key, err)
	}
	return nil
}

// markChanges is a merge patch from what a map has to what it shall have, of the given keys.
func markChanges(has, want map[string]string, keys []string) map[string]any {
	changes := map[string]any{}
	for _, key := range keys {
		old, had := has[key]
		value, wanted := want[key]
		switch {
		case wanted && (!had || old != value):
			changes[key] = value
		case had && !wanted:
			changes[key] = nil
		}
	}
	return changes
}

// newBinding is the first form of a template's binding.
func newBinding(template *unstructured.Unstructured, name string) workv1alpha1.Binding {
	var binding workv1alpha1.Binding
	if template.GetNamespace() == "" {
		binding = &workv1alpha1.ClusterPropagationBinding{}
		binding.SetLabels(map[string]string{workv1alpha1.ClusterBindingPermanentIDLabel: uuid.NewString()})
		binding.SetFinalizers([]string{workv1alpha1.ClusterBindingFinalizer})
	} else {
		binding = &workv1alpha1.PropagationBinding{}
		binding.SetLabels(map[string]string{workv1alpha1.BindingPermanentIDLabel: uuid.NewString()})
		binding.SetFinalizers([]string{workv1alpha1.BindingFinalizer})
	}
	binding.SetNamespace(template.GetNamespace())
	binding.SetName(name)
	return binding
}

// fill writes into a binding what its template and policy say. Everything that only others write
// stays as it is, and in a binding that exists also what a Lazy policy lets wait. Activated names the template's content: activatedBy.
func (r *Reconciler) fill(binding workv1alpha1.Binding, template *unstructured.Unstructured, p policyv1alpha1.Policy, activated string, exists bool) {
	if !exists || !policy.Waits(p, binding, activated) {
		policy.Activate(p, binding.GetSpec())
		r.rank(binding.GetSpec(), p)
	}
	labels, annotations := policy.Marks(p)
	setMarks(binding, labels, annotations)
	setActivated(binding, activated)
	spec := binding.GetSpec()
	spec.Resource = workv1alpha1.ObjectReference{
		APIVersion:      template.GetAPIVersion(),
		Kind:            template.GetKind(),
		Namespace:       template.GetNamespace(),
		Name:            template.GetName(),
		UID:             template.GetUID(),
		ResourceVersion: template.GetResourceVersion(),
	}
	spec.Replicas, spec.ReplicaRequirements = interpret.Replicas(template)
	spec.WorkloadAffinityGroups = groupsOf(template, spec.Placement.WorkloadAffinity)
}

// rank writes the priority that a policy asks for by a class. While that does not exist, a binding keeps what it has.
func (r *Reconciler) rank(spec *workv1alpha1.BindingSpec, p policyv1alpha1.Policy) {
	wanted := p.GetSpec().SchedulePriority
	if wanted == nil {
		spec.SchedulePriority = nil
		return
	}
	if priority, exists := r.Classes.Value(wanted.PriorityClassName); exists {
		spec.SchedulePriority = &workv1alpha1.BindingSchedulePriority{Priority: priority}
	}
}

// activatedBy names the content of the template for a Lazy policy; no other looks at it, and it costs a hash.
func activatedBy(template *unstructured.Unstructured, p policyv1alpha1.Policy) (string, error) {
	if !policy.Lazy(p) {
		return "", nil
	}
	return render.TemplateHash(template)
}

func setActivated(binding metav1.Object, hash string) {
	var want map[string]string
	if hash != "" {
		want = map[string]string{workv1alpha1.ActivatedTemplateAnnotation: hash}
	}
	binding.SetAnnotations(replaced(binding.GetAnnotations(), want, []string{workv1alpha1.ActivatedTemplateAnnotation}))
}

// groupsOf says in which groups of workloads a template is, by its labels. A template without the label is in none.
func groupsOf(template *unstructured.Unstructured, affinity *policyv1alpha1.WorkloadAffinity) *workv1alpha1.WorkloadAffinityGroups {
	if affinity == nil {
		return nil
	}
	labels := template.GetLabels()
	group := func(term *policyv1alpha1.WorkloadAffinityTerm) string {
		if term == nil || labels[term.GroupByLabelKey] == "" {
			return ""
		}
		return term.GroupByLabelKey + "=" + labels[term.GroupByLabelKey]
	}
	groups := &workv1alpha1.WorkloadAffinityGroups{AffinityGroup: group(affinity.Affinity), AntiAffinityGroup: group(affinity.AntiAffinity)}
	if *groups == (workv1alpha1.WorkloadAffinityGroups{}) {
		return nil
	}
	return groups
}

func setMarks(binding metav1.Object, labels, annotations map[string]string) {
	labelKeys, annotationKeys := policy.MarkKeys()
	binding.SetLabels(replaced(binding.GetLabels(), labels, labelKeys))
	binding.SetAnnotations(replaced(binding.GetAnnotations(), annotations, annotationKeys))
}

func replaced(has, want map[string]string, keys []string) map[string]string {
	out := map[string]string{}
	for key, value := range has {
		if !slices.Contains(keys, key) {
			out[key] = value
		}
	}
	for key, value := range want {
		out[key] = value
	}
	if len(out) == 0 {
		return nil
	}
	return out
}

// sameButResourceVersion leaves out the template's resourceVersion: a change of the template that
// changes nothing of the binding is no reason to write it.
func sameButResourceVersion(a, b workv1alpha1.Binding) bool {
	specA, specB := *a.GetSpec(), *b.GetSpec()
	specA.Resource.ResourceVersion, specB.Resource.ResourceVersion = "", ""
	return equality.Semantic.DeepEqual(specA, specB) &&
		equality.Semantic.DeepEqual(a.GetLabels(), b.GetLabels()) &&
		equality.Semantic.DeepEqual(a.GetAnnotations(), b.GetAnnotations())
}
