package apply

import (
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"windlass.dev/windlass/pkg/manifest"
)

// settings is the ConfigMap of a work, as it is at a resource version in the member.
func settings(version string) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"namespace": "shop", "name": "settings", "uid": "u", "resourceVersion": version},
	}}
}

// progressWith is that of a work with the object settings, which stands in the member.
func progressWith(change func(*progress, *object)) (*progress, *object) {
	id := manifest.IDOf(settings("1"))
	o := &object{Object: manifest.Object{ID: id, Version: "v1"}, done: true}
	p := &progress{key: "settings", objects: map[manifest.ID]*object{id: o}, order: []*object{o}, manifests: []*object{o}}
	change(p, o)
	return p, o
}

func TestALookThatIsAskedForDuringAnApplyIsTakenAfterIt(t *testing.T) {
	look := (*unstructured.Unstructured)(nil)
	for _, c := range []struct {
		reason string
		seen   []*unstructured.Unstructured
		due    bool
	}{
		{"nothing but what the apply itself has made of it", []*unstructured.Unstructured{settings("5")}, false},
		{"a look", []*unstructured.Unstructured{look}, true},
		{"a look, and then what the apply has made of it", []*unstructured.Unstructured{look, settings("5")}, true},
		{"a look after something older", []*unstructured.Unstructured{settings("4"), look}, true},
	} {
		p, o := progressWith(func(_ *progress, o *object) { o.applying = true })
		for _, live := range c.seen {
			if p.drifted(o.ID, live) {
				t.Errorf("%s: it is handled while it is applied", c.reason)
			}
		}
		if o.settle("5"); o.due != c.due {
			t.Errorf("%s: it is looked at after the apply: %t", c.reason, o.due)
		}
	}
}

func TestDriftIsSeenThoughAGenerationDoesNotShowIt(t *testing.T) {
	deployment := func(replicas, ready int64) *unstructured.Unstructured {
		return &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "apps/v1", "kind": "Deployment", "metadata": map[string]any{"name": "web", "uid": "u", "generation": replicas},
			"spec": map[string]any{"replicas": replicas}, "status": map[string]any{"readyReplicas": ready},
		}}
	}
	class := func(description string) *unstructured.Unstructured {
		return &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": map[string]any{"name": "high", "uid": "u", "generation": int64(1)},
			"value": int64(1000), "description": description,
		}}
	}
	for _, c := range []struct {
		reason       string
		applied, now *unstructured.Unstructured
		drifted      bool
	}{
		{"a spec whose generation was raised", deployment(1, 1), deployment(2, 1), true},
		{"a status", deployment(1, 0), deployment(1, 1), false},
		{"an object that has no spec, and a generation that is never raised", class("for what matters"), class("by hand"), true},
		{"nothing of such an object", class("for what matters"), class("for what matters"), false},
	} {
		sent := c.applied.DeepCopy()
		delete(sent.Object, "status")
		raw, err := sent.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		o := &object{liveUID: "u", sent: raw, mark: manifest.FingerprintOf(sent, c.applied), checked: checkedOf(c.applied)}
		if drifted := o.differs(c.now); drifted != c.drifted {
			t.Errorf("what has changed is %s: drift is %t", c.reason, drifted)
		}
	}
}

func TestAnObjectThatIsDeletedWhilePruningWaitsIsMadeAgain(t *testing.T) {
	pruned := manifest.ID{Kind: "ConfigMap", Namespace: "shop", Name: "pruned"}
	for _, c := range []struct {
		reason   string
		gone     manifest.ID
		applying bool
		due      bool
	}{
		{"an object of the present generation", manifest.IDOf(settings("1")), false, true},
		{"one that is just being applied", manifest.IDOf(settings("1")), true, true},
		{"what is being pruned", pruned, false, false},
	} {
		p, o := progressWith(func(p *progress, o *object) {
			p.leaving, o.applying = failf(reasonPruning, "held by a finalizer"), c.applying
		})
		if !p.drifted(c.gone, nil) {
			t.Errorf("gone is %s: nobody looks whether pruning is done", c.reason)
		}
		if c.applying {
			o.settle("5")
		}
		if o.due != c.due {
			t.Errorf("gone is %s: settings is applied: %t", c.reason, o.due)
		}
	}
}
