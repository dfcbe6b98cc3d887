package manifest

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
)

// isHand says whether a manager of fields is a person's kubectl. What it changed through a
// subresource, such as the scale of a workload or a status, is not the object's own content.
func isHand(entry metav1.ManagedFieldsEntry) bool {
	return isHandNamed(entry.Manager, entry.Subresource)
}

func isHandNamed(manager, subresource string) bool {
	return subresource == "" && (manager == "kubectl" || strings.HasPrefix(manager, "kubectl-"))
}

// EditedByHand says whether somebody's kubectl owns fields of a live object. It is asked at every event of a watch, and so
// reads the names alone: to decode all entries takes as long as to decode the object.
func EditedByHand(live *unstructured.Unstructured) bool {
	managers, _, _ := unstructured.NestedFieldNoCopy(live.Object, "metadata", "managedFields")
	entries, _ := managers.([]any)
	return slices.ContainsFunc(entries, func(entry any) bool {
		named, _ := entry.(map[string]any)
		manager, _ := named["manager"].(string)
		subresource, _ := named["subresource"].(string)
		return isHandNamed(manager, subresource)
	})
}

func isApply(entry metav1.ManagedFieldsEntry, manager string) bool {
	return entry.Manager == manager && entry.Operation == metav1.ManagedFieldsOperationApply && entry.Subresource == ""
}

// Maker is the name under which a manager of server-side applies creates an object without one, by a create. It tells by a
// hash what was created.
func Maker(manager string, created []byte) string {
	hash := sha256.Sum256(created)
	return madeBy(manager) + hex.EncodeToString(hash[:8])
}

func madeBy(manager string) string { return manager + "-made-" }

// isMade says whether an entry is the manager's by a create.
func isMade(entry metav1.ManagedFieldsEntry, manager string) bool {
	return entry.Operation == metav1.ManagedFieldsOperationUpdate && entry.Subresource == "" && strings.HasPrefix(entry.Manager, madeBy(manager))
}

// IsMade says whether the maker has created the object, and its manager applied nothing to it since.
func IsMade(live *unstructured.Unstructured, maker string) bool {
	return slices.ContainsFunc(live.GetManagedFields(), func(entry metav1.ManagedFieldsEntry) bool {
		return entry.Manager == maker && entry.Operation == metav1.ManagedFieldsOperationUpdate && entry.Subresource == ""
	})
}

// IsOwn says whether an entry is the manager's own account of an object, by an apply or by a create.
func IsOwn(entry metav1.ManagedFieldsEntry, manager string) bool {
	return isApply(entry, manager) || isMade(entry, manager)
}

// TakeBack hands every field that a person's kubectl owns, or that the manager itself owns by a create, over to the manager of
// server-side applies, so that its next apply removes those it does not name; fields that another manager owns too stay. Fields of a
// person's at or below one of the paths in except are handed to nobody: they are left to the member. It returns false when there is
// nothing to hand over.
func TakeBack(entries []metav1.ManagedFieldsEntry, manager string, except [][]string) ([]metav1.ManagedFieldsEntry, bool, error) {
	isTaken := func(entry metav1.ManagedFieldsEntry) bool { return isHand(entry) || isMade(entry, manager) }
	if !slices.ContainsFunc(entries, isTaken) {
		return entries, false, nil
	}
	union := fieldpath.NewSet()
	target := -1
	var rest []metav1.ManagedFieldsEntry
	for _, entry := range entries {
		if !isTaken(entry) && !isApply(entry, manager) {
			rest = append(rest, entry)
			continue
		}
		fields, err := fieldsOf(entry)
		if err != nil {
			return nil, false, err
		}
		if isApply(entry, manager) {
			target = len(rest)
			rest = append(rest, entry)
		}
		if isHand(entry) {
			fields = without(fields, except)
		}
		union = union.Union(fields)
	}
	if target < 0 {
		// The manager has applied nothing yet: the first entry that is taken becomes its own.
		first := entries[slices.IndexFunc(entries, isTaken)]
		first.Manager, first.Operation = manager, metav1.ManagedFieldsOperationApply
		target = len(rest)
		rest = append(rest, first)
	}
	raw, err := union.ToJSON()
	if err != nil {
		return nil, false, fmt.Errorf("writing the managed fields of %s: %w", manager, err)
	}
	rest[target].FieldsV1 = metav1.NewFieldsV1(string(raw))
	return rest, true, nil
}

// MadeFields returns the fields that a manager owns by its create.
func MadeFields(entries []metav1.ManagedFieldsEntry, manager string) ([]string, error) {
	for _, entry := range entries {
		if isMade(entry, manager) {
			fields, err := fieldsOf(entry)
			return pathsOf(fields), err
		}
	}
	return nil, nil
}

// OwnedOnce returns the fields that a manager owns by its server-side applies in the first of two states of
// an object and not in the second: lost from before to after, or gained the other way round.
func OwnedOnce(first, second []metav1.ManagedFieldsEntry, manager string) ([]string, error) {
	had, err := appliedFields(first, manager)
	if err != nil {
		return nil, err
	}
	has, err := appliedFields(second, manager)
	if err != nil {
		return nil, err
	}
	return pathsOf(had.Difference(has)), nil
}

func pathsOf(fields *fieldpath.Set) []string {
	var paths []string
	fields.Leaves().Iterate(func(path fieldpath.Path) {
		paths = append(paths, strings.TrimPrefix(path.String(), "."))
	})
	return paths
}

func appliedFields(entries []metav1.ManagedFieldsEntry, manager string) (*fieldpath.Set, error) {
	for _, entry := range entries {
		if isApply(entry, manager) {
			return fieldsOf(entry)
		}
	}
	return fieldpath.NewSet(), nil
}

func fieldsOf(entry metav1.ManagedFieldsEntry) (*fieldpath.Set, error) {
	set := fieldpath.NewSet()
	if entry.FieldsV1 == nil {
		return set, nil
	}
	if err := set.FromJSON(bytes.NewReader(entry.FieldsV1.GetRawBytes())); err != nil {
		return nil, fmt.Errorf("reading the managed fields of %s: %w", entry.Manager, err)
	}
	return set, nil
}

func without(set *fieldpath.Set, paths [][]string) *fieldpath.Set {
	if len(paths) == 0 {
		return set
	}
	kept := fieldpath.NewSet()
	set.Iterate(func(path fieldpath.Path) {
		for _, excepted := range paths {
			if startsWith(path, excepted) {
				return
			}
		}
		kept.Insert(path.Copy())
	})
	return kept
}

func startsWith(path fieldpath.Path, names []string) bool {
	if len(path) < len(names) {
		return false
	}
	for i, name := range names {
		if path[i].FieldName == nil || *path[i].FieldName != name {
			return false
		}
	}
	return true
}
