package apply

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"

	"windlass.dev/windlass/agent/state"
	linkv1 "windlass.dev/windlass/api/link/v1"
	"windlass.dev/windlass/pkg/manifest"
)

func TestTheLogSaysInWordsWhyAWorkIsRemoved(t *testing.T) {
	said := map[string]int32{}
	for number, name := range linkv1.RemovalCause_name {
		words := causeOf(&state.Removal{Cause: linkv1.RemovalCause(number)})
		if words == "" || strings.Contains(words, "CAUSE") {
			t.Errorf("%s is %q", name, words)
		}
		if other, twice := said[words]; twice {
			t.Errorf("%s and %s are both %q", name, linkv1.RemovalCause(other), words)
		}
		said[words] = number
	}
}

// owning is a ConfigMap of whose data the agent owns some keys.
func owning(keys ...string) *unstructured.Unstructured {
	fields := make([]string, len(keys))
	for i, key := range keys {
		fields[i] = fmt.Sprintf(`"f:%s":{}`, key)
	}
	object := &unstructured.Unstructured{Object: map[string]any{}}
	object.SetManagedFields([]metav1.ManagedFieldsEntry{
		{Manager: "another", Operation: metav1.ManagedFieldsOperationUpdate, FieldsV1: metav1.NewFieldsV1(`{"f:data":{"f:z":{}}}`)},
		{Manager: FieldManager, Operation: metav1.ManagedFieldsOperationApply, FieldsType: "FieldsV1", FieldsV1: metav1.NewFieldsV1(`{"f:data":{` + strings.Join(fields, ",") + `}}`)},
	})
	return object
}

func TestTheLogAlwaysSaysWhatWasPutRight(t *testing.T) {
	for _, c := range []struct {
		reason  string
		attempt attempt
		want    string
	}{
		{"the object was deleted", attempt{}, "it was gone"},
		{"fields differed", attempt{before: "7", drift: []string{"data.a is 1, want 2", "data.b is 3, want 4"}}, "data.a is 1, want 2; data.b is 3, want 4"},
		{"no field of the manifest differed", attempt{before: "7"}, "or its fields had another manager"},
		{"a hand had added fields", attempt{before: "7", live: owning("a", "b", "c"), result: owning("a")}, "added by hand: data.b, data.c"},
		{"a hand had added many", attempt{before: "7", live: owning("a", "b", "c", "d", "e", "f", "g"), result: owning()}, "data.d, data.e and 2 more"},
		{"another manager had a field", attempt{before: "7", live: owning("a"), result: owning("a", "b")}, "had another manager: data.b"},
		{"both", attempt{before: "7", live: owning("a", "c"), result: owning("a", "b")}, "added by hand: data.c; had another manager: data.b"},
		{"the owners are the same", attempt{before: "7", live: owning("a"), result: owning("a")}, "or its fields had another manager"},
	} {
		if got := c.attempt.differed(); !strings.Contains(got, c.want) {
			t.Errorf("%s: it says %q, want %q", c.reason, got, c.want)
		}
	}
}

func TestAConflictSaysFirstToAnnotateTheTemplateWhichWinsOverThePolicy(t *testing.T) {
	const over = "take it over: annotate the template work.karmada.io/conflict-resolution=overwrite, or, for all, spec.conflictResolution: Overwrite in the policy"
	e, err := New(Config{Client: struct{ dynamic.Interface }{}, State: &emptyState{}, Contents: struct{ Contents }{}, HubID: "h", WorkNamespace: "karmada-es-new",
		Now: time.Now, Logger: slog.New(slog.DiscardHandler), Kinds: kindsThat{}})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		reason string
		mark   func(*unstructured.Unstructured)
		want   string
	}{
		{"somebody made it by hand", func(*unstructured.Unstructured) {},
			"ConfigMap shop/settings exists in the member and is not this hub's: delete it there, or " + over},
		{"the cluster had another name", func(live *unstructured.Unstructured) {
			manifest.Mark(live, "h", manifest.WorkRef{Namespace: "karmada-es-old", Name: "settings"})
		}, "ConfigMap shop/settings belongs to what this hub has placed in cluster old: if this is the same cluster, attached under two names, delete one of the two MemberClusters; if that was its former name, " + over},
	} {
		live := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"namespace": "shop", "name": "settings", "uid": "theirs"}}}
		id := manifest.IDOf(live)
		c.mark(live)
		refused := (&attempt{engine: e, entry: &state.Entry{Key: "settings", Work: &linkv1.Work{}}, object: &object{Object: manifest.Object{ID: id}}, live: live}).claim()
		var said *failure
		if !errors.As(refused, &said) || said.reason != reasonConflict || said.message != c.want {
			t.Errorf("%s: it says %v, want %q", c.reason, refused, c.want)
		}
	}
}
