package manifest

import (
	"encoding/json"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	workv1alpha1 "windlass.dev/windlass/api/work/v1alpha1"
)

// WorkRef names the work on the hub that an object in a member belongs to.
type WorkRef struct{ Namespace, Name string }

// Ownership says whose an object in a member is.
type Ownership int

// Who an object can belong to.
const (
	// Unmanaged: it carries no hub's mark.
	Unmanaged Ownership = iota
	// Ours: it carries the mark of the hub that was asked for, and not that of another cluster's works.
	Ours
	// OtherCluster: it carries the mark of that hub, for the works of another of its clusters.
	OtherCluster
	// OtherHub: it carries the mark of another hub.
	OtherHub
)

// Owner is what an object's marks say.
type Owner struct {
	Ownership Ownership
	HubID     string
	// Work is empty for what was made for several works, such as a namespace.
	Work WorkRef
}

// Mark writes the marks of ownership. An empty work leaves out which work the object belongs to.
func Mark(object *unstructured.Unstructured, hubID string, work WorkRef) {
	labels := object.GetLabels()
	if labels == nil {
		labels = map[string]string{}
	}
	labels[workv1alpha1.ManagedLabel] = "true"
	object.SetLabels(labels)

	annotations := object.GetAnnotations()
	if annotations == nil {
		annotations = map[string]string{}
	}
	annotations[workv1alpha1.HubIDAnnotation] = hubID
	if work != (WorkRef{}) {
		annotations[workv1alpha1.WorkNameAnnotation] = work.Name
		annotations[workv1alpha1.WorkNamespaceAnnotation] = work.Namespace
	}
	object.SetAnnotations(annotations)
}

// OwnerOf reads the marks of a live object as the hub with the given id sees them in the cluster whose
// works lie in the given namespace.
func OwnerOf(live *unstructured.Unstructured, hubID, workNamespace string) Owner {
	annotations := live.GetAnnotations()
	owner := Owner{
		HubID: annotations[workv1alpha1.HubIDAnnotation],
		Work: WorkRef{
			Namespace: annotations[workv1alpha1.WorkNamespaceAnnotation],
			Name:      annotations[workv1alpha1.WorkNameAnnotation],
		},
	}
	switch owner.HubID {
	case "":
		owner.Ownership = Unmanaged
	case hubID:
		owner.Ownership = Ours
		if owner.Work.Namespace != "" && owner.Work.Namespace != workNamespace {
			owner.Ownership = OtherCluster
		}
	default:
		owner.Ownership = OtherHub
	}
	return owner
}

// UnmarkPatch returns the JSON merge patch that takes the marks from the object with the given UID
// and no other. It leaves one: that the object is preserved.
func UnmarkPatch(uid string) []byte {
	raw, err := json.Marshal(map[string]any{"metadata": map[string]any{
		"uid":    uid,
		"labels": map[string]any{workv1alpha1.ManagedLabel: nil},
		"annotations": map[string]any{
			workv1alpha1.HubIDAnnotation:         nil,
			workv1alpha1.WorkNameAnnotation:      nil,
			workv1alpha1.WorkNamespaceAnnotation: nil,
			workv1alpha1.TemplateUIDAnnotation:   nil,
			workv1alpha1.PreservedAnnotation:     "true",
		},
	}})
	if err != nil {
		panic(err) // maps of strings can always be written
	}
	return raw
}
