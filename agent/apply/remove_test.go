package apply

import (
	"net/http"
	"slices"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
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

// TestWhatIsNotServedAnyMoreIsNotGone: an API server answers both with 404.
func TestWhatIsNotServedAnyMoreIsNotGone(t *testing.T) {
	things := schema.GroupResource{Resource: "things"}
	gone := apierrors.NewNotFound(things, "settings")
	notServed := apierrors.NewGenericServerResponse(http.StatusNotFound, "GET", things, "settings", "404 page not found", 0, true)
	live := settings("7")
	manifest.Mark(live, "h", manifest.WorkRef{Namespace: "karmada-es-m1", Name: "settings"})
	for _, c := range []struct {
		reason         string
		get, delete    error
		keep, isGone   bool
		readsDistrusts bool
	}{
		{"there is none", gone, nil, false, true, false},
		{"the version in which it is read is not served any more", notServed, nil, false, false, true},
		{"somebody was faster", nil, gone, false, true, false},
		{"the version is not served any more when it is deleted", nil, notServed, false, false, false},
		{"nor when it is let go", nil, notServed, true, false, false},
	} {
		t.Run(c.reason, func(t *testing.T) {
			client := memberThat{
				get: func(string) (*unstructured.Unstructured, error) {
					if c.get != nil {
						return nil, c.get
					}
					return live, nil
				},
				delete: func(string) error { return c.delete },
				patch:  func(string, types.PatchType, []byte) (*unstructured.Unstructured, error) { return nil, c.delete },
			}
			kinds := &everyKind{}
			e, _ := engineFor(t, kinds, client, &oneState{entry: &state.Entry{Key: "settings"}})
			o := manifest.Object{ID: manifest.IDOf(live), Version: "v1"}
			removed, waiting := e.removeAll(t.Context(), "settings", []manifest.Object{o}, c.keep)
			if (len(removed) == 1) != c.isGone || (len(waiting) == 0) != c.isGone {
				t.Errorf("gone is %v, and not yet gone %q", removed, waiting)
			}
			if (len(kinds.distrusted) > 0) != c.readsDistrusts {
				t.Errorf("asked for anew are the kinds %v", kinds.distrusted)
			}
		})
	}
}
