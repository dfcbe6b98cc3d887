package apply

import (
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"windlass.dev/windlass/agent/state"
	"windlass.dev/windlass/pkg/manifest"

	linkv1 "windlass.dev/windlass/api/link/v1"
)

const gadgetManifest = `{"apiVersion":"example.com/v1","kind":"Gadget","metadata":{"namespace":"shop","name":"g"},"spec":{"size":3,"colour":"red"}}`

// gadget is an object of a work, which stands in the member.
func gadget(t *testing.T) *object {
	t.Helper()
	parsed, err := manifest.Parse([]byte(gadgetManifest))
	if err != nil {
		t.Fatal(err)
	}
	return &object{Object: manifest.ObjectOf(parsed), raw: []byte(gadgetManifest), done: true, dropped: []string{"spec.colour"}}
}

// gadgetWith is what a member knows of Gadgets whose spec has these fields.
func gadgetWith(fields ...string) *manifest.Schema {
	spec := &manifest.Schema{Fields: map[string]*manifest.Schema{}}
	for _, field := range fields {
		spec.Fields[field] = &manifest.Schema{}
	}
	return &manifest.Schema{Fields: map[string]*manifest.Schema{"spec": spec}}
}

func TestWhatWasAppliedWithoutAFieldIsAppliedAgainOnceTheMemberKnowsIt(t *testing.T) {
	for _, c := range []struct {
		reason  string
		was     func(*object)
		knows   *manifest.Schema
		applied bool
	}{
		{"it knows the field by now", func(*object) {}, gadgetWith("size", "colour"), true},
		{"it still does not, and would refuse it again", func(*object) {}, gadgetWith("size"), false},
		{"it does not say what it knows", func(*object) {}, nil, false},
		{"nothing was left out", func(o *object) { o.dropped = nil }, gadgetWith("size", "colour"), false},
		{"the field was left out by an apply that was under way when it became known", func(o *object) {
			o.dropped, o.applying = nil, true
		}, gadgetWith("size", "colour"), true},
	} {
		t.Run(c.reason, func(t *testing.T) {
			kinds := &everyKind{schema: c.knows}
			e, _ := engineFor(t, kinds, memberThat{}, &emptyState{})
			o := gadget(t)
			c.was(o)
			p := &progress{key: "g", order: []*object{o}}
			e.works["g"] = p
			kinds.changed()
			if looked := e.queue.Len() > 0; looked != (len(o.dropped) > 0 || o.applying) {
				t.Errorf("it is looked at: %t", looked)
			}
			if o.applying {
				o.applying, o.dropped = false, []string{"spec.colour"}
			}
			e.relearn(t.Context(), p)
			if o.due != c.applied {
				t.Errorf("it is applied: %t", o.due)
			}
			o.due = false
			if e.relearn(t.Context(), p); o.due {
				t.Error("it is applied again though nothing has changed since")
			}
		})
	}
}

func TestThatTheMemberHasLearntAFieldIsNoDrift(t *testing.T) {
	for _, c := range []struct {
		reason  string
		dropped []string
		drift   bool
	}{
		{"the field is applied for the first time", []string{"spec.colour"}, false},
		{"the same fields were applied before", nil, true},
	} {
		live, err := manifest.Parse([]byte(gadgetManifest))
		if err != nil {
			t.Fatal(err)
		}
		manifest.Mark(live, "h", manifest.WorkRef{Namespace: "karmada-es-m1", Name: "g"})
		live.SetResourceVersion("7")
		client := memberThat{
			get: func(string) (*unstructured.Unstructured, error) { return live, nil },
			patch: func(string, types.PatchType, []byte) (*unstructured.Unstructured, error) {
				changed := live.DeepCopy()
				changed.SetResourceVersion("8")
				return changed, nil
			},
		}
		e, _ := engineFor(t, &everyKind{}, client, &emptyState{})
		o := gadget(t)
		o.dropped = c.dropped
		e.applyObject(t.Context(), &state.Entry{Key: "g", Work: &linkv1.Work{}}, &progress{key: "g"}, o)
		if o.failure != nil {
			t.Fatal(o.failure)
		}
		if drift := len(o.corrections) > 0; drift != c.drift {
			t.Errorf("%s: it counts as drift: %t", c.reason, drift)
		}
	}
}
