package hub

import (
	"fmt"

	schedulingv1 "k8s.io/api/scheduling/v1"
	schedulinginformers "k8s.io/client-go/informers/scheduling/v1"
	"k8s.io/client-go/tools/cache"
)

// priorityClasses are the hub's PriorityClasses as its controllers ask for them.
type priorityClasses struct {
	informer schedulinginformers.PriorityClassInformer
}

// Value returns the priority of a class.
func (c priorityClasses) Value(name string) (int32, bool) {
	class, err := c.informer.Lister().Get(name)
	if err != nil {
		return 0, false
	}
	return class.Value, true
}

// OnChanged has changed called with the name of every class that comes, goes, or is replaced.
func (c priorityClasses) OnChanged(changed func(name string)) error {
	named := func(obj any) {
		if unknown, ok := obj.(cache.DeletedFinalStateUnknown); ok {
			obj = unknown.Obj
		}
		changed(obj.(*schedulingv1.PriorityClass).Name)
	}
	_, err := c.informer.Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: named, UpdateFunc: func(_, obj any) { named(obj) }, DeleteFunc: named,
	})
	if err != nil {
		return fmt.Errorf("watching PriorityClasses: %w", err)
	}
	return nil
}
