package apply

import (
	"slices"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"windlass.dev/windlass/agent/state"
	"windlass.dev/windlass/pkg/manifest"

	linkv1 "windlass.dev/windlass/api/link/v1"
)

// oneState holds one work.
type oneState struct {
	emptyState
	entry *state.Entry
}

func (s *oneState) Keys() []string                      { return []string{s.entry.Key} }
func (s *oneState) Get(key string) (*state.Entry, bool) { return s.entry, s.entry.Key == key }
func (s *oneState) Forget(key, uid string)              {}

func TestARemovalKeepsWhatItsWorkPreservesWhateverItSaysItself(t *testing.T) {
	for _, c := range []struct {
		reason          string
		preserved, kept bool
		want            []string
	}{
		{"the removal says so", false, true, []string{"let go"}},
		{"the work says so, and was taken in after the removal", true, false, []string{"let go"}},
		{"nobody says so", false, false, []string{"deleted"}},
	} {
		live := settings("7")
		manifest.Mark(live, "h", manifest.WorkRef{Namespace: "karmada-es-m1", Name: "settings"})
		var done []string
		client := memberThat{
			get:    func(string) (*unstructured.Unstructured, error) { return live, nil },
			delete: func(string) error { done = append(done, "deleted"); return nil },
			patch: func(string, types.PatchType, []byte) (*unstructured.Unstructured, error) {
				done = append(done, "let go")
				return live, nil
			},
		}
		entry := &state.Entry{
			Key: "settings", Work: &linkv1.Work{PreserveResourcesOnDeletion: c.preserved}, Removal: &state.Removal{Keep: c.kept},
			Objects: []manifest.Object{{ID: manifest.IDOf(live), Version: "v1"}},
		}
		e, _ := engineFor(t, &everyKind{}, client, &oneState{entry: entry})
		p, _ := progressWith(func(*progress, *object) {})
		e.remove(t.Context(), entry, p)
		if !slices.Equal(done, c.want) {
			t.Errorf("%s: it was %v, want %v", c.reason, done, c.want)
		}
	}
}
