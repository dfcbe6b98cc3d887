package apiserver

import (
	"reflect"
	"time"

	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/duration"
	"k8s.io/apimachinery/pkg/util/validation/field"

	clusterv1alpha1 "windlass.dev/windlass/api/cluster/v1alpha1"
	workv1alpha1 "windlass.dev/windlass/api/work/v1alpha1"
)

// Object is what all of the hub's kinds are: a pointer to a struct of metadata, spec and status.
type Object interface {
	runtime.Object
	metav1.Object
}

// kind says everything that the API must know of one of the hub's kinds. Strategies, stores and
// tables are derived from it, so that no kind has code of its own there.
type kind[T Object] struct {
	version          schema.GroupVersion
	plural, singular string
	shortNames       []string
	namespaced       bool

	newObject func() T
	newList   func() runtime.Object
	// parts are pointers to the object's own spec and status.
	parts func(T) (spec, status any)

	// overwritable kinds may be updated without a resource version, as people do who write them.
	// The others are fenced: a write carries the version that its decision read.
	overwritable bool
	// hubsAnnotation, if any, is the key of an annotation that the hub alone writes, and believes.
	hubsAnnotation string
	// notCollected kinds have no dependents and no owners that the garbage collector knows of.
	notCollected bool

	// prepareNew and prepareUpdate fill in, after the defaults of the scheme, what every stored
	// object has; both may be nil.
	prepareNew    func(object T)
	prepareUpdate func(object, before T)
	// validateStatusUpdate may be nil.
	validate                             func(T) field.ErrorList
	validateUpdate, validateStatusUpdate func(object, before T) field.ErrorList
	// warnings are told to whoever writes the object, which is stored all the same; exists says whether there is a cluster of a
	// name. It may be nil.
	warnings func(object T, exists func(cluster string) bool) []string
	// sameSpec may be nil; it is for kinds whose specs are too large to compare by reflection.
	sameSpec func(a, b T) bool
	// share gives what many objects have alike one copy. It is called with objects that nobody else has yet, when they are decoded and
	// when the hub's own informers get theirs from a watch cache; it may be nil. Nobody may decode into an object that was decoded before: a RawExtension writes
	// into the bytes that it has, which may be others' as well.
	share func(object T)

	columns []column[T]
}

func (k *kind[T]) resource() schema.GroupResource {
	return schema.GroupResource{Group: k.version.Group, Resource: k.plural}
}

func (k *kind[T]) setSpec(to, from T) {
	target, _ := k.parts(to)
	source, _ := k.parts(from)
	assign(target, source)
}

func (k *kind[T]) setStatus(to, from T) {
	_, target := k.parts(to)
	_, source := k.parts(from)
	assign(target, source)
}

func (k *kind[T]) clearStatus(object T) {
	_, status := k.parts(object)
	reflect.ValueOf(status).Elem().SetZero()
}

func (k *kind[T]) specIsSame(a, b T) bool {
	if k.sameSpec != nil {
		return k.sameSpec(a, b)
	}
	specA, _ := k.parts(a)
	specB, _ := k.parts(b)
	return apiequality.Semantic.DeepEqual(specA, specB)
}

// assign sets the struct that to points at to the one that from points at; they then share what
// they refer to.
func assign(to, from any) { reflect.ValueOf(to).Elem().Set(reflect.ValueOf(from).Elem()) }

// column is one column of the tables that kubectl shows.
type column[T Object] struct {
	name, kind, description string
	// wide columns are shown on request only.
	wide bool
	cell func(T) any
}

func text[T Object](name, description string, cell func(T) string) column[T] {
	return column[T]{name: name, kind: "string", description: description, cell: func(object T) any { return cell(object) }}
}

func number[T Object](name, description string, cell func(T) int64) column[T] {
	return column[T]{name: name, kind: "integer", description: description, cell: func(object T) any { return cell(object) }}
}

func (c column[T]) onRequest() column[T] {
	c.wide = true
	return c
}

// conditionStatus is what a table shows of a condition: its status, or nothing while it is not there.
func conditionStatus(conditions []metav1.Condition, name string) string {
	for i := range conditions {
		if conditions[i].Type == name {
			return string(conditions[i].Status)
		}
	}
	return ""
}

// conditionReason is the reason of a condition, or nothing while it is not there.
func conditionReason(conditions []metav1.Condition, name string) string {
	if condition := meta.FindStatusCondition(conditions, name); condition != nil {
		return condition.Reason
	}
	return ""
}

// scheduled is True,NowhereElse of what has to leave a cluster and can't: it is placed, and not where it should be.
func scheduled(conditions []metav1.Condition) string {
	status := conditionStatus(conditions, workv1alpha1.BindingScheduled)
	if conditionReason(conditions, workv1alpha1.BindingScheduled) == workv1alpha1.ScheduledNowhereElse {
		status += "," + workv1alpha1.ScheduledNowhereElse
	}
	return status
}

// clusterReady is True,Lost in the time in which the connection may come back.
func clusterReady(conditions []metav1.Condition) string {
	ready := meta.FindStatusCondition(conditions, clusterv1alpha1.ClusterReady)
	switch {
	case ready == nil:
		return ""
	case ready.Reason == clusterv1alpha1.ReadyConnectionLost:
		return string(ready.Status) + ",Lost"
	}
	return string(ready.Status)
}

// age is how long ago something was, as kubectl shows it.
func age(at metav1.Time) string {
	if at.IsZero() {
		return "<unknown>"
	}
	return duration.HumanDuration(time.Since(at.Time))
}
