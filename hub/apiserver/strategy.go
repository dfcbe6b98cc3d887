package apiserver

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync/atomic"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/apiserver/pkg/storage/names"
	"k8s.io/kubernetes/pkg/api/legacyscheme"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	workv1alpha1 "windlass.dev/windlass/api/work/v1alpha1"
)

// strategy is what happens to an object of a kind on its way into the store, when the object as a
// whole is written. The status keeps what it was.
type strategy[T Object] struct {
	runtime.ObjectTyper
	names.NameGenerator
	kind     *kind[T]
	clusters *clusterNames // which warnings are about
}

func newStrategy[T Object](k *kind[T]) *strategy[T] {
	return &strategy[T]{ObjectTyper: legacyscheme.Scheme, NameGenerator: names.SimpleNameGenerator, kind: k}
}

// NamespaceScoped says whether objects lie in namespaces.
func (s *strategy[T]) NamespaceScoped() bool { return s.kind.namespaced }

// AllowCreateOnUpdate says that a PUT does not create.
func (s *strategy[T]) AllowCreateOnUpdate(context.Context) bool { return false }

// AllowUnconditionalUpdate says whether an update may come without a resource version: never from
// the hub itself, and from others for what people write.
func (s *strategy[T]) AllowUnconditionalUpdate(ctx context.Context) bool {
	return s.kind.overwritable && !bySelf(ctx)
}

// bySelf says whether the hub itself writes.
func bySelf(ctx context.Context) bool {
	caller, _ := request.UserFrom(ctx)
	return caller == self
}

// PrepareForCreate drops the status, and what others say in the hub's name, fills in defaults and begins the count of
// generations. A file that was made of another object may have both.
func (s *strategy[T]) PrepareForCreate(ctx context.Context, obj runtime.Object) {
	object := obj.(T)
	s.kind.clearStatus(object)
	if s.kind.hubsAnnotation != "" && !bySelf(ctx) {
		delete(object.GetAnnotations(), s.kind.hubsAnnotation)
	}
	legacyscheme.Scheme.Default(object)
	if s.kind.prepareNew != nil {
		s.kind.prepareNew(object)
	}
	object.SetGeneration(1)
}

// PrepareForUpdate keeps the status, and what the hub has noted if others leave it out, and counts a change of the spec.
func (s *strategy[T]) PrepareForUpdate(ctx context.Context, obj, old runtime.Object) {
	object, before := obj.(T), old.(T)
	sameType(object, before)
	s.kind.setStatus(object, before)
	if s.kind.hubsAnnotation != "" && !bySelf(ctx) {
		keepAnnotation(object, before, s.kind.hubsAnnotation)
	}
	legacyscheme.Scheme.Default(object)
	if s.kind.prepareUpdate != nil {
		s.kind.prepareUpdate(object, before)
	}
	s.countGeneration(object, before)
}

func (s *strategy[T]) countGeneration(object, before T) {
	object.SetGeneration(before.GetGeneration())
	if !s.kind.specIsSame(object, before) {
		object.SetGeneration(before.GetGeneration() + 1)
	}
}

// Validate refuses what is not valid.
func (s *strategy[T]) Validate(_ context.Context, obj runtime.Object) field.ErrorList {
	return s.kind.validate(obj.(T))
}

// ValidateUpdate refuses what is not valid, or may not be changed.
func (s *strategy[T]) ValidateUpdate(ctx context.Context, obj, old runtime.Object) field.ErrorList {
	object, before := obj.(T), old.(T)
	errs := s.kind.validateUpdate(object, before)
	if key := s.kind.hubsAnnotation; key != "" && !bySelf(ctx) {
		errs = append(errs, annotationIsKept(object, before, key)...)
	}
	return errs
}

// annotationIsKept refuses a write of what only the hub can know.
func annotationIsKept(object, before Object, key string) field.ErrorList {
	was, is := before.GetAnnotations()[key], object.GetAnnotations()[key]
	path := field.NewPath("metadata", "annotations").Key(key)
	switch {
	case is == was:
		return nil
	case was == "":
		return field.ErrorList{field.Forbidden(path, "the hub alone writes it: remove it")}
	}
	return field.ErrorList{field.Forbidden(path, fmt.Sprintf("the hub alone writes it: set it back to %q, or leave it out", was))}
}

// WarningsOnCreate tells what is valid and has no effect; the hub itself nobody needs to tell.
func (s *strategy[T]) WarningsOnCreate(ctx context.Context, obj runtime.Object) []string {
	if s.kind.warnings == nil || bySelf(ctx) {
		return nil
	}
	return s.kind.warnings(obj.(T), s.clusters.exists(ctx))
}

// WarningsOnUpdate tells the same as long as it holds.
func (s *strategy[T]) WarningsOnUpdate(ctx context.Context, obj, _ runtime.Object) []string {
	return s.WarningsOnCreate(ctx, obj)
}

// Canonicalize changes nothing.
func (s *strategy[T]) Canonicalize(runtime.Object) {}

// GetResetFields says that nobody comes to own the status by writing the object.
func (s *strategy[T]) GetResetFields() map[fieldpath.APIVersion]*fieldpath.Set {
	return map[fieldpath.APIVersion]*fieldpath.Set{
		fieldpath.APIVersion(s.kind.version.String()): fieldpath.NewSet(fieldpath.MakePathOrDie("status")),
	}
}

// statusStrategy writes the status and nothing else of an object.
type statusStrategy[T Object] struct{ *strategy[T] }

// PrepareForUpdate takes back everything but the status.
func (s *statusStrategy[T]) PrepareForUpdate(_ context.Context, obj, old runtime.Object) {
	object, before := obj.(T), old.(T)
	sameType(object, before)
	keepMetadata(object, before)
	s.kind.setSpec(object, before)
	object.SetGeneration(before.GetGeneration())
}

// ValidateUpdate refuses a status that is not valid, or may not be changed.
func (s *statusStrategy[T]) ValidateUpdate(_ context.Context, obj, old runtime.Object) field.ErrorList {
	if s.kind.validateStatusUpdate == nil {
		return nil
	}
	return s.kind.validateStatusUpdate(obj.(T), old.(T))
}

// WarningsOnUpdate has none: who writes a status has not written the rest.
func (s *statusStrategy[T]) WarningsOnUpdate(context.Context, runtime.Object, runtime.Object) []string {
	return nil
}

// GetResetFields says that nobody comes to own anything but the status by writing the status.
func (s *statusStrategy[T]) GetResetFields() map[fieldpath.APIVersion]*fieldpath.Set {
	return map[fieldpath.APIVersion]*fieldpath.Set{
		fieldpath.APIVersion(s.kind.version.String()): fieldpath.NewSet(
			fieldpath.MakePathOrDie("spec"), fieldpath.MakePathOrDie("metadata", "labels"),
			fieldpath.MakePathOrDie("metadata", "annotations"), fieldpath.MakePathOrDie("metadata", "finalizers"),
			fieldpath.MakePathOrDie("metadata", "ownerReferences")),
	}
}

// sameType has both say their kind, or neither. A server-side apply leaves it out of the new object, which its own internal version
// would do, and the store keeps it; then an apply of the same seconds later would not be known as such, and be a write.
func sameType[T Object](object, before T) {
	object.GetObjectKind().SetGroupVersionKind(before.GetObjectKind().GroupVersionKind())
}

func keepMetadata[T Object](object, before T) {
	object.SetLabels(before.GetLabels())
	object.SetAnnotations(before.GetAnnotations())
	object.SetFinalizers(before.GetFinalizers())
	object.SetOwnerReferences(before.GetOwnerReferences())
}

// scheduleStrategy writes what the scheduler decided of a binding, in one go: the clusters, the
// Scheduled condition, the scheduler's fields of the status and the placement that it decided with.
// The decision is fenced by the resource version, so it is about the generation that results.
type scheduleStrategy[T workv1alpha1.Binding] struct{ *strategy[T] }

// PrepareForUpdate takes back everything that is not the scheduler's.
func (s *scheduleStrategy[T]) PrepareForUpdate(_ context.Context, obj, old runtime.Object) {
	object, before := obj.(T), old.(T)
	decided := decisionIn(object)
	s.kind.setSpec(object, before)
	s.kind.setStatus(object, before)
	keepMetadata(object, before)
	decided.writeSpec(object)
	s.countGeneration(object, before)
	decided.writeStatus(object)
}

// A Placer is the scheduler: it writes into a binding where it goes and why, and says whether it had
// anything to say. It must not block.
type Placer func(workv1alpha1.Binding) bool

// bindingStrategy asks the scheduler about a binding whose spec is being written, so that one write
// says what is wanted and where that goes. Without a scheduler, or when it has nothing to say, its own
// write follows later.
type bindingStrategy[T workv1alpha1.Binding] struct {
	*strategy[T]
	placer *atomic.Pointer[Placer]
}

// PrepareForCreate has a new binding placed.
func (s *bindingStrategy[T]) PrepareForCreate(ctx context.Context, obj runtime.Object) {
	s.strategy.PrepareForCreate(ctx, obj)
	object := obj.(T)
	if decided, ok := s.place(object); ok {
		decided.writeSpec(object)
		decided.writeStatus(object)
	}
}

// PrepareForUpdate has a binding placed anew whose spec is another.
func (s *bindingStrategy[T]) PrepareForUpdate(ctx context.Context, obj, old runtime.Object) {
	s.strategy.PrepareForUpdate(ctx, obj, old)
	object, before := obj.(T), old.(T)
	if object.GetDeletionTimestamp() != nil || s.kind.specIsSame(object, before) {
		return
	}
	if decided, ok := s.place(object); ok {
		decided.writeSpec(object)
		s.countGeneration(object, before)
		decided.writeStatus(object)
	}
}

func (s *bindingStrategy[T]) place(object T) (decision, bool) {
	placer := s.placer.Load()
	if placer == nil {
		return decision{}, false
	}
	placed := object.DeepCopyObject().(T)
	if !(*placer)(placed) {
		return decision{}, false
	}
	return decisionIn(placed), true
}

// decision is what the scheduler writes into a binding.
type decision struct {
	clusters    []workv1alpha1.TargetCluster
	evictions   []workv1alpha1.GracefulEvictionTask // what clusters keep until the move is over
	status      workv1alpha1.BindingStatus
	annotations map[string]string
}

func decisionIn(binding workv1alpha1.Binding) decision {
	return decision{clusters: binding.GetSpec().Clusters, evictions: binding.GetSpec().GracefulEvictionTasks, status: *binding.GetStatus(), annotations: binding.GetAnnotations()}
}

// writeSpec writes what is wanted: where the template goes, and what stays until it is there.
func (d decision) writeSpec(binding workv1alpha1.Binding) {
	spec := binding.GetSpec()
	spec.Clusters, spec.GracefulEvictionTasks = d.clusters, d.evictions
}

// writeStatus writes all of the decision but the clusters, as one about the binding's generation.
func (d decision) writeStatus(binding workv1alpha1.Binding) {
	status := binding.GetStatus()
	status.SchedulerObservedGeneration = binding.GetGeneration()
	status.SchedulerObservingAffinityName = d.status.SchedulerObservingAffinityName
	status.LastScheduledTime = d.status.LastScheduledTime
	status.Conditions = withScheduled(status.Conditions, d.status.Conditions, binding.GetGeneration())
	binding.SetAnnotations(withPlacement(binding.GetAnnotations(), d.annotations))
}

// withScheduled is a copy of present with the Scheduled condition of decided.
func withScheduled(present, decided []metav1.Condition, generation int64) []metav1.Condition {
	condition := meta.FindStatusCondition(decided, workv1alpha1.BindingScheduled)
	if condition == nil {
		return present
	}
	result := slices.Clone(present)
	scheduled := *condition
	scheduled.ObservedGeneration = generation
	for i := range result {
		if result[i].Type == workv1alpha1.BindingScheduled {
			result[i] = scheduled
			return result
		}
	}
	return append(result, scheduled)
}

// withPlacement is a copy of present with the applied placement of decided.
func withPlacement(present, decided map[string]string) map[string]string {
	placement, ok := decided[workv1alpha1.AppliedPlacementAnnotation]
	if !ok || present[workv1alpha1.AppliedPlacementAnnotation] == placement {
		return present
	}
	result := maps.Clone(present)
	if result == nil {
		result = map[string]string{}
	}
	result[workv1alpha1.AppliedPlacementAnnotation] = placement
	return result
}

var (
	_ rest.RESTCreateStrategy  = (*strategy[Object])(nil)
	_ rest.RESTUpdateStrategy  = (*strategy[Object])(nil)
	_ rest.RESTDeleteStrategy  = (*strategy[Object])(nil)
	_ rest.ResetFieldsStrategy = (*strategy[Object])(nil)
)
