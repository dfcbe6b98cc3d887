package observe

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"

	"windlass.dev/windlass/agent/member"
	"windlass.dev/windlass/pkg/manifest"
)

// answer is what an API server answers with.
type answer struct {
	code int
	body string
}

const (
	noAutoscalers = `{"kind":"HorizontalPodAutoscalerList","apiVersion":"autoscaling/v2","metadata":{"resourceVersion":"1"},"items":[]}`
	oneAutoscaler = `{"kind":"HorizontalPodAutoscalerList","apiVersion":"autoscaling/v2","metadata":{"resourceVersion":"1"},"items":[
		{"apiVersion":"autoscaling/v2","kind":"HorizontalPodAutoscaler","metadata":{"namespace":"shop","name":"web","uid":"a","resourceVersion":"1"},
		 "spec":{"scaleTargetRef":{"apiVersion":"apps/v1","kind":"Deployment","name":"web"}}}]}`
)

// memberWith is a member that answers to lists of autoscalers in this order, the last one ever again, and not before it may.
func memberWith(t *testing.T, may <-chan struct{}, answers ...answer) *member.Clients {
	t.Helper()
	var mu sync.Mutex
	next := func() answer {
		mu.Lock()
		defer mu.Unlock()
		now := answers[0]
		answers = answers[min(1, len(answers)-1):]
		return now
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasSuffix(r.URL.Path, "/horizontalpodautoscalers") {
			http.NotFound(w, r)
			return
		}
		if r.URL.Query().Get("watch") != "" {
			if r.URL.Query().Get("sendInitialEvents") != "" {
				http.Error(w, "it knows lists and watches only", http.StatusBadRequest)
				return
			}
			w.WriteHeader(http.StatusOK)
			w.(http.Flusher).Flush()
			<-r.Context().Done()
			return
		}
		select {
		case <-may:
		case <-r.Context().Done():
			return
		}
		now := next()
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(now.code)
		_, _ = w.Write([]byte(now.body))
	}))
	t.Cleanup(server.Close)
	clients, err := member.Connect(&rest.Config{Host: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	return clients
}

func status(code int, reason string) answer {
	return answer{code, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"` + reason + `"}`}
}

func TestReplicasAreTakenForAnAutoscalersUntilItIsKnownWhetherThereIsOne(t *testing.T) {
	for _, c := range []struct {
		reason     string
		answers    []answer
		autoscaled bool
	}{
		{"one targets it", []answer{{http.StatusOK, oneAutoscaler}}, true},
		{"none does", []answer{{http.StatusOK, noAutoscalers}}, false},
		{"they may not be listed", []answer{status(http.StatusForbidden, "Forbidden")}, false},
		{"the member does not serve them", []answer{status(http.StatusNotFound, "NotFound")}, false},
		{"the first list fails, and one targets it", []answer{status(http.StatusInternalServerError, "InternalError"), {http.StatusOK, oneAutoscaler}}, true},
		{"the first list fails, and none does", []answer{status(http.StatusTooManyRequests, "TooManyRequests"), {http.StatusOK, noAutoscalers}}, false},
	} {
		t.Run(c.reason, func(t *testing.T) {
			may, lookAgain := make(chan struct{}), make(chan manifest.ID, 10)
			clients := memberWith(t, may, c.answers...)
			o, err := New(Config{Client: clients.Dynamic, Logger: slog.New(slog.DiscardHandler), Now: time.Now},
				func(_ string, id manifest.ID, live *unstructured.Unstructured) {
					if live == nil {
						lookAgain <- id
					}
				})
			if err != nil {
				t.Fatal(err)
			}
			ctx, end := context.WithCancel(t.Context())
			var running sync.WaitGroup
			defer running.Wait()
			defer end()
			running.Go(func() { _ = o.Run(ctx) })
			o.Track("web", web)

			if !o.Autoscaled(deployment("5", 2)) {
				t.Fatal("nothing is known of autoscalers, and it is said that none targets it")
			}
			if len(lookAgain) > 0 {
				t.Error("it is to be looked at again before anything is known")
			}
			close(may)
			if id := <-lookAgain; id != web.ID {
				t.Errorf("looked at again is %v", id)
			}
			if autoscaled := o.Autoscaled(deployment("5", 2)); autoscaled != c.autoscaled {
				t.Errorf("then it is said that an autoscaler targets it: %t", autoscaled)
			}
		})
	}
}

func TestWhatNamesNoReplicasIsNotLookedAtAgainForTheSakeOfAutoscalers(t *testing.T) {
	o := newObserver(t)
	settings := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"namespace": "shop", "name": "settings"},
	}}
	if o.Autoscaled(settings) || len(o.scaled.asked) > 0 {
		t.Errorf("a ConfigMap counts as scaled, or is remembered: %v", o.scaled.asked)
	}
}
