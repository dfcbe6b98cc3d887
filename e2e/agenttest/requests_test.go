package agenttest

import (
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/clientcmd"

	linkv1 "windlass.dev/windlass/api/link/v1"

	"windlass.dev/windlass/agent/member"
)

// ledger writes down what an agent asks of the member's API.
type ledger struct {
	mu       sync.Mutex
	requests []string
	// meanwhile is what happens while the next patch is on its way.
	meanwhile func()
}

func (l *ledger) watch(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(request *http.Request) (*http.Response, error) {
		if request.Method == http.MethodPatch {
			l.setMeanwhile(nil)()
		}
		l.mu.Lock()
		l.requests = append(l.requests, request.Method+" "+request.URL.Path)
		l.mu.Unlock()
		return next.RoundTrip(request)
	})
}

// setMeanwhile returns what was to happen before.
func (l *ledger) setMeanwhile(do func()) func() {
	l.mu.Lock()
	defer l.mu.Unlock()
	before := l.meanwhile
	l.meanwhile = do
	if before == nil {
		return func() {}
	}
	return before
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(request *http.Request) (*http.Response, error) { return f(request) }

// in returns the requests about what is in a namespace, and forgets them.
func (l *ledger) in(namespace string) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var found, rest []string
	for _, request := range l.requests {
		method, path, _ := strings.Cut(request, " ")
		if _, object, in := strings.Cut(path, "/namespaces/"+namespace+"/"); in {
			found = append(found, method+" "+object)
		} else {
			rest = append(rest, request)
		}
	}
	l.requests = rest
	return found
}

// count starts the agent again with a ledger.
func (r *rig) count() *ledger {
	r.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", theMember.Kubeconfig())
	if err != nil {
		r.Fatal(err)
	}
	l := &ledger{}
	config.Wrap(l.watch)
	if r.limited, err = member.Connect(config); err != nil {
		r.Fatal(err)
	}
	r.end()
	r.start()
	return l
}

func (r *rig) asked(l *ledger, namespace, reason string, want ...string) {
	r.Helper()
	if diff := cmp.Diff(want, l.in(namespace)); diff != "" {
		r.Errorf("%s: what was asked of the member, -want +got:\n%s", reason, diff)
	}
}

func TestANewObjectIsMadeWithoutLookingFirst(t *testing.T) {
	r := newRig(t)
	r.makeNamespace()
	l := r.count()

	r.put(work("c", 1, r.configMap("c", map[string]any{"a": "1"})))
	r.applied("c", 1)
	r.asked(l, r.namespace, "a new object", "POST configmaps")

	r.put(work("c", 2, r.configMap("c", map[string]any{"a": "2"})))
	r.applied("c", 2)
	r.asked(l, r.namespace, "an object that was made, whose fields are taken back from its making", "GET configmaps/c", "PATCH configmaps/c", "PATCH configmaps/c")

	r.put(work("c", 3, r.configMap("c", map[string]any{"a": "3"})))
	r.applied("c", 3)
	r.asked(l, r.namespace, "an object that was applied before", "GET configmaps/c", "PATCH configmaps/c")

	r.put(work("several", 1, r.configMap("one", nil), r.configMap("two", nil)))
	r.applied("several", 1)
	r.asked(l, r.namespace, "a new work with several objects", "POST configmaps", "POST configmaps")

	r.create(configMaps, r.configMap("theirs", map[string]any{"a": "theirs"}))
	r.put(work("theirs", 1, r.configMap("theirs", map[string]any{"a": "ours"})))
	r.refused("theirs", "Conflict")
	r.asked(l, r.namespace, "an object that is there and somebody else's", "POST configmaps", "GET configmaps/theirs")
	if data := text(r.get(configMaps, "theirs"), "data"); data != "map[a:theirs]" {
		t.Errorf("it was touched: %s", data)
	}
}

func TestAnAgentThatStartsAgainWritesNothingToWhatStandsAsItWasMade(t *testing.T) {
	r := newRig(t)
	r.makeNamespace()
	for _, name := range []string{"stands", "changed", "added"} {
		r.put(work(name, 1, r.configMap(name, map[string]any{"a": "1"})))
		r.applied(name, 1)
	}
	before := r.get(configMaps, "stands").GetResourceVersion()

	r.end()
	r.byHand(configMaps, "added", `{"data":{"b":"by hand"}}`)
	if _, err := r.client(configMaps).Patch(t.Context(), "changed", types.MergePatchType, []byte(`{"data":{"a":"2"}}`), metav1.PatchOptions{FieldManager: "another"}); err != nil {
		t.Fatal(err)
	}
	l := r.count()
	for _, name := range []string{"stands", "changed", "added"} {
		r.applied(name, 1)
		if data := text(r.get(configMaps, name), "data"); data != "map[a:1]" {
			t.Errorf("%s: data is %s", name, data)
		}
	}
	asked := l.in(r.namespace)
	slices.Sort(asked)
	want := []string{
		"GET configmaps/added", "GET configmaps/changed", "GET configmaps/stands",
		"PATCH configmaps/added", "PATCH configmaps/added", "PATCH configmaps/changed", "PATCH configmaps/changed",
	}
	if diff := cmp.Diff(want, asked); diff != "" {
		t.Errorf("what was asked of the member, -want +got:\n%s", diff)
	}
	if after := r.get(configMaps, "stands").GetResourceVersion(); after != before {
		t.Errorf("what stands was written: its version was %s and is %s", before, after)
	}
}

func TestWhatACreateRefusesIsApplied(t *testing.T) {
	r := newRig(t)
	r.makeNamespace()
	l := r.count()
	unknown := r.deployment("web", 0)
	unknown["spec"].(map[string]any)["colour"] = "red"
	r.put(work("web", 1, unknown))
	report := r.applied("web", 1)
	if len(report.Conditions) != 1 || report.Conditions[0].Type != "FieldsDropped" || !strings.Contains(report.Conditions[0].Message, "spec.colour") {
		t.Errorf("the conditions are %v, want that spec.colour was dropped", report.Conditions)
	}
	r.asked(l, r.namespace, "a field that the member does not know", "POST deployments", "PATCH deployments/web", "PATCH deployments/web")
}

func TestWhatIsTakenBackWhileAnotherWritesIsTakenBackAtOnce(t *testing.T) {
	r := newRig(t)
	r.makeNamespace()
	r.put(work("c", 1, r.configMap("c", map[string]any{"a": "1", "b": "1"})))
	r.applied("c", 1)
	l := r.count()
	r.applied("c", 1)
	r.asked(l, r.namespace, "an agent that starts again", "GET configmaps/c")

	l.setMeanwhile(func() {
		if _, err := r.client(configMaps).Patch(t.Context(), "c", types.MergePatchType, []byte(`{"metadata":{"annotations":{"seen":"yes"}}}`), metav1.PatchOptions{FieldManager: "controller"}); err != nil {
			t.Error(err)
		}
	})
	r.put(work("c", 2, r.configMap("c", map[string]any{"a": "2"})))
	r.applied("c", 2)
	r.asked(l, r.namespace, "an object that changes meanwhile", "GET configmaps/c", "PATCH configmaps/c", "GET configmaps/c", "PATCH configmaps/c", "PATCH configmaps/c")
	live := r.get(configMaps, "c")
	if data := text(live, "data"); data != "map[a:2]" || live.GetAnnotations()["seen"] != "yes" {
		t.Errorf("data is %s and the annotations are %v", data, live.GetAnnotations())
	}
	if warnings := r.warnings.Load(); warnings > 0 {
		t.Errorf("the log has %d warnings of what is as it should be", warnings)
	}
}

func TestANewWorkMeetsWhatIsThereAsIfItHadBeenRead(t *testing.T) {
	r := newRig(t)
	r.put(work("c", 1, r.configMap("c", map[string]any{"a": "1", "b": "1"})))
	r.applied("c", 1)

	// As after the loss of its state: the object bears the marks, and nothing is known of it.
	r.end()
	secrets := r.clients.Core.Secrets(r.ownState)
	list, err := secrets.List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range list.Items {
		if err := secrets.Delete(t.Context(), secret.Name, metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	l := r.count()
	r.put(work("c", 1, r.configMap("c", map[string]any{"a": "2"})))
	r.applied("c", 1)
	r.asked(l, r.namespace, "an object of ours", "POST configmaps", "GET configmaps/c", "PATCH configmaps/c", "PATCH configmaps/c")
	if data := text(r.get(configMaps, "c"), "data"); data != "map[a:2]" {
		t.Errorf("data is %s: it was not applied as what the agent had applied before", data)
	}

	r.create(configMaps, r.configMap("taken", map[string]any{"a": "theirs", "b": "theirs"}))
	w := work("taken", 1, r.configMap("taken", map[string]any{"a": "ours"}))
	w.ConflictResolution = linkv1.ConflictResolution_CONFLICT_RESOLUTION_OVERWRITE
	r.put(w)
	report := r.applied("taken", 1)
	if len(report.Conditions) != 1 || report.Conditions[0].Type != "Adopted" {
		t.Errorf("the conditions are %v, want Adopted", report.Conditions)
	}
	if data := text(r.get(configMaps, "taken"), "data"); data != "map[a:ours]" {
		t.Errorf("after it was taken over data is %s", data)
	}
}
