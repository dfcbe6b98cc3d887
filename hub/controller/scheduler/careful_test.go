package scheduler

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/utils/ptr"

	policyv1alpha1 "windlass.dev/windlass/api/policy/v1alpha1"
	workv1alpha1 "windlass.dev/windlass/api/work/v1alpha1"
	"windlass.dev/windlass/pkg/evict"
)

// rescheduled are the clusters that keep what they had until it is healthy elsewhere, with how many replicas.
func rescheduled(binding *workv1alpha1.PropagationBinding) map[string]int32 {
	kept := map[string]int32{}
	for _, task := range binding.Spec.GracefulEvictionTasks {
		if task.Reason == evict.ReasonRescheduled {
			kept[task.FromCluster] = ptr.Deref(task.Replicas, 0)
		}
	}
	return kept
}

// A cluster comes, and before the binding is looked at for that, another one is drained: what moves for the first of the two
// is moved by the hub, whoever decides on both at once.
func TestWhatMovesWithADrainIsKeptUntilItIsHealthyElsewhere(t *testing.T) {
	byWeight := binding(func(b *workv1alpha1.PropagationBinding) {
		b.Spec.Replicas = ptr.To[int32](12)
		b.Spec.Placement.ReplicaScheduling = &policyv1alpha1.ReplicaSchedulingStrategy{
			ReplicaSchedulingType: policyv1alpha1.ReplicaSchedulingDivided, ReplicaDivisionPreference: policyv1alpha1.ReplicaDivisionWeighted}
	})
	scale := func(b *workv1alpha1.PropagationBinding) { b.Spec.Replicas = ptr.To[int32](6) }
	for _, test := range []struct {
		reason string
		edit   func(*workv1alpha1.PropagationBinding) // by its user, on which nothing was decided yet
		with   func(*workv1alpha1.PropagationBinding) // by its user, in the write of the drain
		want   map[string]int32
	}{
		{"its users have said nothing", nil, nil, map[string]int32{"b": 4, "c": 4}},
		{"with the drain its user has it scaled down", nil, scale, map[string]int32{}},
		{"before the drain its user has it scaled down", scale, nil, map[string]int32{}},
	} {
		t.Run(test.reason, func(t *testing.T) {
			w := newWorld("a", "b", "c")
			w.PropagationBindings.Put(byWeight.DeepCopy())
			w.reconcile(t, web)
			if test.edit != nil {
				w.PropagationBindings.Change("shop", web.Name, func(b *workv1alpha1.PropagationBinding) { test.edit(b); b.Generation++ })
			}
			for _, name := range []string{"d", "e", "f"} {
				w.attach(cluster(name))
			}
			stored, _ := w.PropagationBindings.Get("shop", web.Name)
			drained := stored.DeepCopy()
			drained.Spec.GracefulEvictionTasks = []workv1alpha1.GracefulEvictionTask{{FromCluster: "a", Reason: "TaintUntolerated", Producer: "test"}}
			drained.Generation++
			if test.with != nil {
				test.with(drained)
			}
			if !w.controller.Place(drained) {
				t.Fatal("nothing was decided")
			}
			if diff := cmp.Diff(test.want, rescheduled(drained)); diff != "" {
				t.Errorf("which keep what was there, of %v (-want +got):\n%s", drained.Spec.Clusters, diff)
			}
		})
	}
}

func TestWhatMovesWithADrainByRoomIsKeptUntilItIsHealthyElsewhere(t *testing.T) {
	user := func(b *workv1alpha1.PropagationBinding) { b.Spec.Replicas = ptr.To[int32](4) }
	drain := func(b *workv1alpha1.PropagationBinding) {
		b.Spec.GracefulEvictionTasks = []workv1alpha1.GracefulEvictionTask{{FromCluster: "a", Reason: "TaintUntolerated", Producer: "test"}}
	}
	note := func(b *workv1alpha1.PropagationBinding) {
		b.Spec.GracefulEvictionTasks[0].Message = "it has the taint x"
	}
	for _, test := range []struct {
		reason string
		writes []func(*workv1alpha1.PropagationBinding)
		want   bool
	}{
		{"only the hub has written it since the last decision", []func(*workv1alpha1.PropagationBinding){drain, note}, true},
		{"then its user has", []func(*workv1alpha1.PropagationBinding){drain, user}, false},
		{"before that its user had", []func(*workv1alpha1.PropagationBinding){user, drain}, false},
	} {
		// A worker that is woken by something else reads what the handler has not heard of yet: the last so many events.
		for behind := range len(test.writes) + 3 {
			t.Run(fmt.Sprintf("%s, and the handler is %d events behind", test.reason, behind), func(t *testing.T) {
				w := newWorld()
				w.attach(roomy("a", "4"))
				w.attach(roomy("b", "4"))
				states := []workv1alpha1.Binding{nil, w.PropagationBindings.Put(byRoom(6))}
				w.reconcile(t, web)
				decided, _ := w.PropagationBindings.Get("shop", web.Name)
				states = append(states, decided)
				for _, write := range test.writes {
					states = append(states, w.PropagationBindings.Change("shop", web.Name, func(b *workv1alpha1.PropagationBinding) { write(b); b.Generation++ }))
				}
				for i := 1; i < len(states)-behind; i++ {
					w.controller.woken(states[i-1], states[i])
				}
				got, _ := w.PropagationBindings.Get("shop", web.Name)
				if careful := w.controller.carefully(got); careful != test.want {
					t.Errorf("it is %t that what moves is kept", careful)
				}
			})
		}
	}
}

func TestABindingThatIsGoneIsForgotten(t *testing.T) {
	gone := func(w *world, binding workv1alpha1.Binding) {
		w.PropagationBindings.Drop("shop", web.Name)
		w.controller.woken(binding, nil)
	}
	for _, test := range []struct {
		reason string
		ends   func(w *world, decided workv1alpha1.Binding)
	}{
		{"after it was decided on", func(w *world, decided workv1alpha1.Binding) {
			w.controller.woken(nil, decided)
			gone(w, decided)
		}},
		{"before whoever has decided on it is back from the store", func(w *world, decided workv1alpha1.Binding) {
			gone(w, decided)
			w.controller.wrote(decided)
		}},
	} {
		t.Run(test.reason, func(t *testing.T) {
			w := newWorld()
			w.attach(roomy("a", "4"))
			w.PropagationBindings.Put(byRoom(3))
			w.reconcile(t, web)
			decided, _ := w.PropagationBindings.Get("shop", web.Name)
			if len(w.controller.drains.seen) != 1 {
				t.Fatal("the test needs a binding that was seen")
			}
			test.ends(w, decided)
			if len(w.controller.drains.seen) > 0 {
				t.Error("it is not forgotten")
			}
		})
	}
}
