package apiserver

import (
	"context"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/registry/generic"
	"k8s.io/apiserver/pkg/registry/generic/registry"
	"k8s.io/apiserver/pkg/registry/rest"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
)

const category = "karmada-io"

// resourceREST serves a kind: everything but its subresources.
type resourceREST[T Object] struct {
	*registry.Store
	kind *kind[T]
}

// ShortNames are what people type.
func (r *resourceREST[T]) ShortNames() []string { return r.kind.shortNames }

// Categories are the groups of kinds that `kubectl get` takes.
func (r *resourceREST[T]) Categories() []string { return []string{category} }

// statusREST serves the subresource status.
type statusREST[T Object] struct {
	store *registry.Store
	kind  *kind[T]
}

// New gives an empty object.
func (r *statusREST[T]) New() runtime.Object { return r.store.New() }

// Destroy does nothing: the store is the resource's.
func (r *statusREST[T]) Destroy() {}

// Get reads the whole object.
func (r *statusREST[T]) Get(ctx context.Context, name string, options *metav1.GetOptions) (runtime.Object, error) {
	return r.store.Get(ctx, name, options)
}

// Update writes the status.
func (r *statusREST[T]) Update(ctx context.Context, name string, info rest.UpdatedObjectInfo, createValidation rest.ValidateObjectFunc,
	updateValidation rest.ValidateObjectUpdateFunc, _ bool, options *metav1.UpdateOptions) (runtime.Object, bool, error) {
	// A status is no way to create an object.
	return r.store.Update(ctx, name, info, createValidation, updateValidation, false, options)
}

// GetResetFields says what writing a status does not come to own.
func (r *statusREST[T]) GetResetFields() map[fieldpath.APIVersion]*fieldpath.Set {
	return r.store.GetResetFields()
}

// ConvertToTable shows the object as its resource does.
func (r *statusREST[T]) ConvertToTable(ctx context.Context, object, options runtime.Object) (*metav1.Table, error) {
	return r.store.ConvertToTable(ctx, object, options)
}

// registries are the ways into the store of one kind.
type registries[T Object] struct {
	main, status *registry.Store
	known        *known[T]
}

// newRegistry makes the store of a kind out of the native kinds' own options, which is what puts
// encryption at rest, a watch cache and the counting of objects into it. As theirs, its keys bear
// no group: those of custom resources do, so a CRD that somebody applies for one of these kinds
// never shares keys with it, and deleting that CRD deletes nothing here.
func newRegistry[T Object](k *kind[T], options generic.RESTOptionsGetter, clusters *clusterNames) (*registries[T], error) {
	whole := newStrategy(k)
	whole.clusters = clusters
	main := &registry.Store{
		NewFunc:                   func() runtime.Object { return k.newObject() },
		NewListFunc:               k.newList,
		DefaultQualifiedResource:  k.resource(),
		SingularQualifiedResource: k.version.WithResource(k.singular).GroupResource(),
		CreateStrategy:            whole,
		UpdateStrategy:            whole,
		DeleteStrategy:            whole,
		ResetFieldsStrategy:       whole,
		TableConvertor:            &table[T]{kind: k},
	}
	if k.share != nil {
		options = sharing[T]{RESTOptionsGetter: options, share: k.share}
	}
	known := &known[T]{}
	options = knowing[T]{RESTOptionsGetter: options, known: known, namespaced: k.namespaced}
	if err := main.CompleteWithOptions(&generic.StoreOptions{RESTOptions: options}); err != nil {
		return nil, fmt.Errorf("making the store of %s: %w", k.resource(), err)
	}
	if k.notCollected {
		main.EnableGarbageCollection = false
	}
	ofStatus := &statusStrategy[T]{strategy: whole}
	return &registries[T]{main: main, status: variant(main, ofStatus, ofStatus), known: known}, nil
}

// variant is the same store under another strategy for updates.
func variant(main *registry.Store, update rest.RESTUpdateStrategy, reset rest.ResetFieldsStrategy) *registry.Store {
	v := *main
	v.UpdateStrategy = update
	v.ResetFieldsStrategy = reset
	return &v
}

// storage is what the API serves of a kind.
func storage[T Object](k *kind[T], r *registries[T]) map[string]rest.Storage {
	return map[string]rest.Storage{
		k.plural:             &resourceREST[T]{Store: r.main, kind: k},
		k.plural + "/status": &statusREST[T]{store: r.status, kind: k},
	}
}

// table makes tables of a kind's objects.
type table[T Object] struct{ kind *kind[T] }

// ConvertToTable gives a row for the object, or one for each object of the list.
func (t *table[T]) ConvertToTable(_ context.Context, object, options runtime.Object) (*metav1.Table, error) {
	result := &metav1.Table{}
	if wanted, ok := options.(*metav1.TableOptions); !ok || wanted == nil || !wanted.NoHeaders {
		result.ColumnDefinitions = t.definitions()
	}
	if list, err := meta.ListAccessor(object); err == nil {
		result.ResourceVersion = list.GetResourceVersion()
		result.Continue = list.GetContinue()
		result.RemainingItemCount = list.GetRemainingItemCount()
		err := meta.EachListItem(object, func(item runtime.Object) error { return t.addRow(result, item) })
		return result, err
	}
	if one, err := meta.CommonAccessor(object); err == nil {
		result.ResourceVersion = one.GetResourceVersion()
	}
	return result, t.addRow(result, object)
}

func (t *table[T]) definitions() []metav1.TableColumnDefinition {
	all := []metav1.TableColumnDefinition{{Name: "Name", Type: "string", Format: "name", Description: "The object's name."}}
	for _, c := range t.kind.columns {
		definition := metav1.TableColumnDefinition{Name: c.name, Type: c.kind, Description: c.description}
		if c.wide {
			definition.Priority = 1
		}
		all = append(all, definition)
	}
	return append(all, metav1.TableColumnDefinition{Name: "Age", Type: "string", Description: "The time since the object was created."})
}

func (t *table[T]) addRow(result *metav1.Table, item runtime.Object) error {
	object, ok := item.(T)
	if !ok {
		return fmt.Errorf("a table of %s cannot show a %T", t.kind.resource(), item)
	}
	cells := []any{object.GetName()}
	for _, c := range t.kind.columns {
		cells = append(cells, c.cell(object))
	}
	cells = append(cells, age(object.GetCreationTimestamp()))
	result.Rows = append(result.Rows, metav1.TableRow{Cells: cells, Object: runtime.RawExtension{Object: item}})
	return nil
}
