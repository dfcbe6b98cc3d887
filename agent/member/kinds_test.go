package member

import (
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"
)

// serving is an API server with these documents of discovery; the others do not answer.
func serving(t *testing.T, documents map[string]string) *Kinds {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		document, there := documents[r.URL.Path]
		if !there {
			http.Error(w, "what serves it is down", http.StatusServiceUnavailable)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(document))
	}))
	t.Cleanup(server.Close)
	clients, err := Connect(&rest.Config{Host: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	return NewKinds(clients, slog.New(slog.DiscardHandler))
}

func TestAKindThatIsNotServedIsToldFromOneOfWhichNothingIsHeard(t *testing.T) {
	kinds := serving(t, map[string]string{
		"/api": `{"kind":"APIVersions","versions":["v1"]}`,
		"/apis": `{"kind":"APIGroupList","apiVersion":"v1","groups":[
			{"name":"down.example","versions":[{"groupVersion":"down.example/v1","version":"v1"}],"preferredVersion":{"groupVersion":"down.example/v1","version":"v1"}},
			{"name":"up.example","versions":[{"groupVersion":"up.example/v2","version":"v2"}],"preferredVersion":{"groupVersion":"up.example/v2","version":"v2"}}]}`,
		"/api/v1":             `{"kind":"APIResourceList","apiVersion":"v1","groupVersion":"v1","resources":[{"name":"configmaps","kind":"ConfigMap","namespaced":true,"verbs":["get"]}]}`,
		"/apis/up.example/v2": `{"kind":"APIResourceList","apiVersion":"v1","groupVersion":"up.example/v2","resources":[{"name":"widgets","kind":"Widget","namespaced":true,"verbs":["get"]}]}`,
	})
	for _, c := range []struct {
		reason    string
		kind      schema.GroupVersionKind
		served    bool
		unsure    bool
		elsewhere string
	}{
		{"served", schema.GroupVersionKind{Version: "v1", Kind: "ConfigMap"}, true, false, ""},
		{"no such group", schema.GroupVersionKind{Group: "none.example", Version: "v1", Kind: "Widget"}, false, false, ""},
		{"no such kind in a group that answers", schema.GroupVersionKind{Group: "up.example", Version: "v2", Kind: "Gadget"}, false, false, ""},
		{"a group that does not answer", schema.GroupVersionKind{Group: "down.example", Version: "v1", Kind: "Widget"}, false, true, ""},
		{"another version of such a group", schema.GroupVersionKind{Group: "down.example", Version: "v2", Kind: "Widget"}, false, true, ""},
		{"served in another version", schema.GroupVersionKind{Group: "up.example", Version: "v1", Kind: "Widget"}, false, false, "v2"},
	} {
		t.Run(c.reason, func(t *testing.T) {
			_, err := kinds.Lookup(t.Context(), c.kind)
			if c.served {
				if err != nil {
					t.Error(err)
				}
				return
			}
			var notServed *NotServedError
			if !errors.As(err, &notServed) {
				t.Fatalf("the error is %v", err)
			}
			if (notServed.Unsure != nil) != c.unsure || c.unsure && !strings.Contains(err.Error(), "does not answer") {
				t.Errorf("unsure because of %v; the error is %v", notServed.Unsure, err)
			}
			version := ""
			if notServed.Elsewhere != nil {
				version = notServed.Elsewhere.Version
			}
			if version != c.elsewhere {
				t.Errorf("elsewhere in version %q, want %q", version, c.elsewhere)
			}
		})
	}
}
