package agenttest

import (
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/tools/clientcmd"

	linkv1 "windlass.dev/windlass/api/link/v1"

	"windlass.dev/windlass/agent/member"
)

// ledger writes down what an agent asks of the member's API.
type ledger struct {
	mu       sync.Mutex
	requests []string
}

func (l *ledger) watch(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(request *http.Request) (*http.Response, error) {
		l.mu.Lock()
		l.requests = append(l.requests, request.Method+" "+request.URL.Path)
		l.mu.Unlock()
		return next.RoundTrip(request)
	})
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
	r.until("the agent to know the autoscalers, for whose sake it may look at an object again", func() error {
		if r.observer.Autoscaled(&unstructured.Unstructured{Object: r.deployment("nobodys", 1)}) {
			return errors.New("it does not know yet")
		}
		return nil
	})
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

	r.put(work("web", 1, r.deployment("web", 0)))
	r.applied("web", 1)
	r.asked(l, r.namespace, "a new object", "PATCH deployments/web")

	r.put(work("web", 2, r.deployment("web", 1)))
	r.applied("web", 2)
	r.asked(l, r.namespace, "an object that was applied before", "GET deployments/web", "PATCH deployments/web")

	r.put(work("several", 1, r.configMap("one", nil), r.configMap("two", nil)))
	r.applied("several", 1)
	r.asked(l, r.namespace, "a new work with several objects", "PATCH configmaps/one", "PATCH configmaps/two")

	r.create(configMaps, r.configMap("theirs", map[string]any{"a": "theirs"}))
	r.put(work("theirs", 1, r.configMap("theirs", map[string]any{"a": "ours"})))
	r.refused("theirs", "Conflict")
	r.asked(l, r.namespace, "an object that is there and somebody else's", "PATCH configmaps/theirs", "GET configmaps/theirs")
	if data := text(r.get(configMaps, "theirs"), "data"); data != "map[a:theirs]" {
		t.Errorf("it was touched: %s", data)
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
	r.asked(l, r.namespace, "an object of ours", "PATCH configmaps/c", "GET configmaps/c", "PATCH configmaps/c")
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
