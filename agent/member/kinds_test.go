package member

import (
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
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
		contentType := "application/json"
		if strings.Contains(document, "APIGroupDiscoveryList") {
			contentType += ";g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
		}
		w.Header().Set("Content-Type", contentType)
		_, _ = w.Write([]byte(document))
	}))
	t.Cleanup(server.Close)
	clients, err := Connect(&rest.Config{Host: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	return NewKinds(clients, slog.New(slog.DiscardHandler))
}

// wholly is an answer of discovery that tells everything of its groups.
func wholly(groups string) string {
	return `{"kind":"APIGroupDiscoveryList","apiVersion":"apidiscovery.k8s.io/v2","items":[` + groups + `]}`
}

func TestKindsAreReadFromOneAnswerForAllGroups(t *testing.T) {
	const verbs = `"verbs":["get","list"]`
	kinds := serving(t, map[string]string{
		"/api": wholly(`{"metadata":{},"versions":[{"version":"v1","freshness":"Current","resources":[
			{"resource":"configmaps","responseKind":{"group":"","version":"v1","kind":"ConfigMap"},"scope":"Namespaced",` + verbs + `,
			 "subresources":[{"subresource":"parts","responseKind":{"group":"","version":"v1","kind":"Part"},` + verbs + `}]},
			{"resource":"bindings","responseKind":{"group":"","version":"v1","kind":"Binding"},"scope":"Namespaced","verbs":["create"]}]}]}`),
		"/apis": wholly(`{"metadata":{"name":"up.example"},"versions":[{"version":"v1","freshness":"Current","resources":[
			{"resource":"widgets","responseKind":{"group":"up.example","version":"v1","kind":"Widget"},"scope":"Cluster",` + verbs + `}]}]},
			{"metadata":{"name":"down.example"},"versions":[{"version":"v1","freshness":"Stale","resources":[
			{"resource":"gadgets","responseKind":{"group":"down.example","version":"v1","kind":"Gadget"},"scope":"Cluster",` + verbs + `}]}]}`),
	})
	served, unknown, err := kinds.discovery.Served(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	core, up := schema.GroupVersion{Version: "v1"}, schema.GroupVersion{Group: "up.example", Version: "v1"}
	want := map[schema.GroupVersionKind]Resource{
		core.WithKind("ConfigMap"): {GroupVersionResource: core.WithResource("configmaps"), Namespaced: true},
		up.WithKind("Widget"):      {GroupVersionResource: up.WithResource("widgets")},
	}
	if diff := cmp.Diff(want, served); diff != "" {
		t.Errorf("served is what can be read, and no part of it (-want +got):\n%s", diff)
	}
	if len(unknown) != 1 || unknown[schema.GroupVersion{Group: "down.example", Version: "v1"}] == nil {
		t.Errorf("nothing is known of down.example/v1 alone, and it says %v", unknown)
	}
}

func TestAnAPIServerThatTellsNothingIsAnError(t *testing.T) {
	kinds := serving(t, map[string]string{"/api": `{"kind":"APIVersions","versions":[]}`})
	if err := kinds.Refresh(t.Context()); err == nil || !strings.Contains(err.Error(), "/apis") {
		t.Errorf("the error is %v, and names not what was asked", err)
	}
}

func TestFieldsAreReadFromTheDocumentThatTheIndexNames(t *testing.T) {
	index := `{"paths":{"api/v1":{"serverRelativeURL":"/openapi/v3/api/v1?hash=7"},"apis/up.example/v1":{"serverRelativeURL":"/openapi/v3/apis/up.example/v1?hash=8"}}}`
	for _, c := range []struct {
		reason, below, group string
		want                 string
	}{
		{"one of several", "", "up.example", "hash=8"},
		{"an API server that is reached below a path does not know that", "/clusters/one", "up.example", "hash=8"},
		{"a group that is not in the index", "", "none.example", ""},
	} {
		t.Run(c.reason, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				switch r.URL.Path {
				case c.below + "/openapi/v3":
					_, _ = w.Write([]byte(index))
				case c.below + "/openapi/v3/apis/up.example/v1":
					_, _ = w.Write([]byte(r.URL.RawQuery))
				default:
					http.NotFound(w, r)
				}
			}))
			defer server.Close()
			clients, err := Connect(&rest.Config{Host: server.URL + c.below})
			if err != nil {
				t.Fatal(err)
			}
			document, err := clients.Discovery.Document(t.Context(), schema.GroupVersion{Group: c.group, Version: "v1"})
			if err != nil || string(document) != c.want {
				t.Errorf("the document is %q, error %v; want the one of %q", document, err, c.want)
			}
		})
	}
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
