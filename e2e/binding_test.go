package e2e

import (
	"fmt"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"windlass.dev/windlass/e2e/fleet"
)

// anotherThan checks that an object is not the one with that UID.
func anotherThan(uid types.UID) fleet.Check {
	return func(object *unstructured.Unstructured) error {
		if object.GetUID() == uid {
			return fmt.Errorf("it is still the one with the UID %s", uid)
		}
		return nil
	}
}

// A binding that somebody deletes takes its objects out of the members, all of them, and the policy
// makes it and them anew; other bindings do not notice.
func TestABindingThatIsDeletedByHandComesBackAndSoDoItsObjects(t *testing.T) {
	f := fleet.Shared(t)
	namespace := f.Hub().Namespace(t)
	object, neighbour := configMap(namespace, "settings"), configMap(namespace, "ordinary")
	f.Hub().Apply(t, fill(namespace, settings)+"---"+policyFor(object)+"---"+fill(namespace, ordinary)+"---"+policyFor(neighbour))
	uids, neighbours := map[*fleet.Member]types.UID{}, map[*fleet.Member]types.UID{}
	for _, member := range f.Members() {
		uids[member] = member.Eventually(t, object).GetUID()
		neighbours[member] = member.Eventually(t, neighbour).GetUID()
	}
	binding := f.Hub().Eventually(t, fleet.Binding(object), fleet.ConditionIs("FullyApplied", "True"))

	f.Hub().Delete(t, fleet.Binding(object))

	again := f.Hub().Eventually(t, fleet.Binding(object), anotherThan(binding.GetUID()), fleet.ConditionIs("Scheduled", "True"), fleet.ConditionIs("FullyApplied", "True"))
	for _, member := range f.Members() {
		member.Eventually(t, object, anotherThan(uids[member]), fleet.Field("data.greeting", "hello"))
		member.Eventually(t, neighbour, fleet.Field("metadata.uid", neighbours[member]))
	}
	f.Hub().Eventually(t, policy(namespace, "configmap-settings"), fleet.ConditionIs("Ready", "True"))

	// What comes later goes the whole way by the new one.
	f.Hub().Patch(t, object, "data: {greeting: again}")
	for _, member := range f.Members() {
		member.Eventually(t, object, fleet.Field("data.greeting", "again"))
	}
	f.Hub().Eventually(t, fleet.Binding(object), fleet.Field("metadata.uid", again.GetUID()), fleet.ConditionIs("FullyApplied", "True"))
}
