package v1alpha1

import (
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation/field"
)

// A field that is accepted has its meaning. The tables below are the only place that says which
// fields have none yet: whoever gives a field its meaning deletes its row, and nothing else here.
// The rules for those fields' values are there all the same, so deleting a row is enough; until then
// what they say is left out, for a value can't be mended where none is taken. The documentation of each
// of these fields ends with what is refused, and a test holds the two together.

// notYet is a field that Karmada has and that does nothing here yet.
//
// +k8s:openapi-gen=false
type notYet[T any] struct {
	field   string        // path below T, with dots
	set     func(*T) bool // whether the object asks for it
	instead string        // what the user can do
}

var notYetInPolicy = []notYet[PropagationSpec]{
	{"association", func(s *PropagationSpec) bool { return s.Association }, "set it to false; it is the former name of propagateDeps"},
	{"propagateDeps", func(s *PropagationSpec) bool { return s.PropagateDeps }, "set it to false, and select the ConfigMaps, Secrets and other objects that the workload needs in resourceSelectors"},
	{"failover.application", func(s *PropagationSpec) bool { return s.Failover != nil && s.Failover.Application != nil }, "remove it"},
	{"failover.cluster", func(s *PropagationSpec) bool { return s.Failover != nil && s.Failover.Cluster != nil }, "remove it"},
}

// refuseNotYet adds to the errors one for every row whose field is set, in the place of all that are about its value.
func refuseNotYet[T any](rows []notYet[T], object *T, path *field.Path, errs field.ErrorList) field.ErrorList {
	for _, row := range rows {
		if row.set(object) {
			names := strings.Split(row.field, ".")
			at := path.Child(names[0], names[1:]...)
			errs = append(slices.DeleteFunc(errs, func(err *field.Error) bool { return isWithin(err.Field, at.String()) }),
				field.Forbidden(at, "is not supported yet: "+row.instead))
		}
	}
	return errs
}

// isWithin says whether a path is another one or below it.
func isWithin(path, top string) bool {
	rest, found := strings.CutPrefix(path, top)
	return found && (rest == "" || rest[0] == '.' || rest[0] == '[')
}
