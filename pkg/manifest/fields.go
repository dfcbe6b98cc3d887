package manifest

import (
	"bytes"
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

// TakeBack hands every field that a person's kubectl owns over to the manager of server-side
// applies, so that its next apply removes those it does not name; fields that another manager owns
// too stay. Fields at or below one of the paths in except are left to the member: they get a manager of their own, for what
// nobody owns would be the hub's again. It returns false when there is nothing to hand over.
func TakeBack(entries []metav1.ManagedFieldsEntry, manager string, except [][]string) ([]metav1.ManagedFieldsEntry, bool, error) {
	if !slices.ContainsFunc(entries, isHand) {
		return entries, false, nil
	}
	union, left := fieldpath.NewSet(), metav1.ManagedFieldsEntry{}
	leftFields := fieldpath.NewSet()
	target := -1
	var rest []metav1.ManagedFieldsEntry
	for _, entry := range entries {
		if !isHand(entry) && !isApply(entry, manager) && !isLeft(entry, manager) {
			rest = append(rest, entry)
			continue
		}
		fields, err := fieldsOf(entry)
		if err != nil {
			return nil, false, err
		}
		switch {
		case isApply(entry, manager):
			target = len(rest)
			rest = append(rest, entry)
			union = union.Union(fields)
		case isLeft(entry, manager):
			left, leftFields = entry, leftFields.Union(fields)
		default:
			ours := without(fields, except)
			union = union.Union(ours)
			if theirs := fields.Difference(ours); !theirs.Empty() {
				left, leftFields = entry, leftFields.Union(theirs)
			}
		}
	}
	if target < 0 {
		// The manager has applied nothing yet: the first entry of a hand becomes its own.
		first := entries[0]
		for _, entry := range entries {
			if isHand(entry) {
				first = entry
				break
			}
		}
		first.Manager, first.Operation = manager, metav1.ManagedFieldsOperationApply
		target = len(rest)
		rest = append(rest, first)
	}
	if !leftFields.Empty() {
		left.Manager, left.Operation = leftTo(manager), metav1.ManagedFieldsOperationUpdate
		if err := setFields(&left, leftFields); err != nil {
			return nil, false, err
		}
		rest = append(rest, left)
	}
	return rest, true, setFields(&rest[target], union)
}

// leftTo is the manager of what a person set that the manager of applies leaves to the member.
func leftTo(manager string) string { return manager + "-member" }

func isLeft(entry metav1.ManagedFieldsEntry, manager string) bool {
	return entry.Manager == leftTo(manager) && entry.Operation == metav1.ManagedFieldsOperationUpdate && entry.Subresource == ""
}

func setFields(entry *metav1.ManagedFieldsEntry, fields *fieldpath.Set) error {
	raw, err := fields.ToJSON()
	if err != nil {
		return fmt.Errorf("writing the managed fields of %s: %w", entry.Manager, err)
	}
	entry.FieldsV1 = metav1.NewFieldsV1(string(raw))
	return nil
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
	var paths []string
	had.Difference(has).Leaves().Iterate(func(path fieldpath.Path) {
		paths = append(paths, strings.TrimPrefix(path.String(), "."))
	})
	return paths, nil
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
