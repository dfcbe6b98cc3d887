package interpret

import (
	"encoding/json"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	workv1alpha1 "windlass.dev/windlass/api/work/v1alpha1"
)

// Field is a field that may be the member's own.
type Field struct {
	// Path is a path of map keys from the object's root.
	Path []string
	// Allocated fields are set by the member's API server, which no manager is recorded for: it is
	// the member's as soon as it holds a value that the hub's manager does not own.
	Allocated bool
}

var allocatedFields = map[schema.GroupKind][][]string{
	job:                   {{"spec", "selector"}},
	persistentVolume:      {{"spec", "claimRef"}},
	persistentVolumeClaim: {{"spec", "volumeName"}},
	pod:                   {{"spec", "nodeName"}},
	service:               {{"spec", "clusterIP"}, {"spec", "clusterIPs"}, {"spec", "ipFamilies"}, {"spec", "healthCheckNodePort"}},
}

// Retained names the fields of desired that may be the member's own: its replicas where an
// autoscaler in the member targets it (autoscaled) or it bears the label that leaves them to the
// member, and what members allocate. No other field is ever left alone. Nor are replicas that shall be
// 0: that is no size but a stop, which autoscalers obey, too.
func Retained(desired *unstructured.Unstructured, autoscaled bool) []Field {
	var fields []Field
	left := autoscaled || textAt(desired.Object, "metadata", "labels", workv1alpha1.RetainReplicasLabel) == "true"
	if replicas, said := numberAt(desired.Object, "spec", "replicas"); left && !(said && replicas == 0) {
		fields = appendPresent(fields, desired, Field{Path: []string{"spec", "replicas"}})
	}
	if kindOf(desired) == service && textAt(desired.Object, "spec", "clusterIP") == "None" {
		return fields // headless is what the user wants, not what a member allocates
	}
	for _, path := range allocatedFields[kindOf(desired)] {
		fields = appendPresent(fields, desired, Field{Path: path, Allocated: true})
	}
	return fields
}

func appendPresent(fields []Field, desired *unstructured.Unstructured, field Field) []Field {
	if at(desired.Object, field.Path...) == nil {
		return fields
	}
	return append(fields, field)
}

// Strip returns desired without those of the fields that are the member's own in observed: fields
// that another manager than the hub's owns there, and of allocated fields those that hold a value of which
// the hub's manager owns nothing. What nobody else owns is sent, so that an object is created whole and
// is put right again when the other manager is gone.
//
// When nothing is left out desired itself is returned. observed is the object in the member, with
// its managedFields; nil when there is none. What is returned is both what to apply and what to
// compare with for drift.
func Strip(desired, observed *unstructured.Unstructured, fields []Field, manager string) *unstructured.Unstructured {
	if observed == nil || len(fields) == 0 {
		return desired
	}
	managers := observed.GetManagedFields()
	stripped := desired
	for _, field := range fields {
		ours, leave := owners(managers, manager, field.Path)
		if field.Allocated { // others may have something in it beside what is ours
			leave = !ours && at(observed.Object, field.Path...) != nil
		}
		if !leave {
			continue
		}
		if stripped == desired {
			stripped = desired.DeepCopy()
		}
		remove(stripped.Object, field.Path...)
	}
	return stripped
}

// Retain is Retained and Strip in one.
func Retain(desired, observed *unstructured.Unstructured, autoscaled bool, manager string) *unstructured.Unstructured {
	return Strip(desired, observed, Retained(desired, autoscaled), manager)
}

// owners tells whether a manager's applied configuration owns the field or something in it, and
// whether anybody else does.
func owners(entries []metav1.ManagedFieldsEntry, manager string, path []string) (ours, others bool) {
	for _, entry := range entries {
		if !owns(entry, path) {
			continue
		}
		if entry.Manager == manager && entry.Operation == metav1.ManagedFieldsOperationApply && entry.Subresource == "" {
			ours = true
		} else {
			others = true
		}
	}
	return ours, others
}

func owns(entry metav1.ManagedFieldsEntry, path []string) bool {
	fields := make([]string, len(path))
	for i, name := range path {
		fields[i] = "f:" + name
	}
	return ownsField(entry, fields...)
}

// ownsField takes a path of the form that managedFields have.
func ownsField(entry metav1.ManagedFieldsEntry, path ...string) bool {
	if entry.FieldsV1 == nil {
		return false
	}
	level := entry.FieldsV1.GetRawBytes()
	for _, key := range path {
		var fields map[string]json.RawMessage
		if json.Unmarshal(level, &fields) != nil {
			return false
		}
		next, found := fields[key]
		if !found {
			return false
		}
		level = next
	}
	return true
}

// Target names what an autoscaler scales. It is comparable.
type Target struct {
	Group, Kind, Namespace, Name string
}

// AutoscaleTarget returns what a HorizontalPodAutoscaler scales; false for any other object.
func AutoscaleTarget(hpa *unstructured.Unstructured) (Target, bool) {
	if kindOf(hpa) != horizontalPodAutoscaler {
		return Target{}, false
	}
	reference := mapAt(hpa.Object, "spec", "scaleTargetRef")
	version, err := schema.ParseGroupVersion(textAt(reference, "apiVersion"))
	if err != nil || textAt(reference, "name") == "" {
		return Target{}, false
	}
	return Target{
		Group:     version.Group,
		Kind:      textAt(reference, "kind"),
		Namespace: hpa.GetNamespace(),
		Name:      textAt(reference, "name"),
	}, true
}

// TargetOf returns the name under which an autoscaler would scale obj.
func TargetOf(obj *unstructured.Unstructured) Target {
	kind := kindOf(obj)
	return Target{Group: kind.Group, Kind: kind.Kind, Namespace: obj.GetNamespace(), Name: obj.GetName()}
}
