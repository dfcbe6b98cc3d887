package member

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"

	"windlass.dev/windlass/pkg/manifest"
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

var widget = schema.GroupVersionKind{Group: "up.example", Version: "v1", Kind: "Widget"}

// publisher is an API server that accepts what a Widget may have before it publishes it.
type publisher struct {
	published atomic.Bool
	// asked and answer, if they are set, are told of a question for the fields and hold the answer to it back.
	asked, answer chan struct{}
}

func (p *publisher) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	const aggregated = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
	contentType, body := "application/json", ""
	switch r.URL.Path {
	case "/api":
		contentType, body = aggregated, wholly("")
	case "/apis":
		contentType, body = aggregated, wholly(`{"metadata":{"name":"up.example"},"versions":[{"version":"v1","freshness":"Current","resources":[
			{"resource":"widgets","responseKind":{"group":"up.example","version":"v1","kind":"Widget"},"scope":"Cluster","verbs":["get","list"]}]}]}`)
	case "/openapi/v3":
		body = `{"paths":{"apis/up.example/v1":{"serverRelativeURL":"/openapi/v3/apis/up.example/v1"}}}`
	case "/openapi/v3/apis/up.example/v1":
		body = p.document()
		if p.asked != nil {
			p.asked <- struct{}{}
			<-p.answer
		}
	case "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", "/apis/apiregistration.k8s.io/v1/apiservices":
		if r.URL.Query().Get("watch") != "" {
			p.watch(w, r)
			return
		}
		body = `{"kind":"PartialObjectMetadataList","apiVersion":"meta.k8s.io/v1","metadata":{"resourceVersion":"1"},"items":[]}`
	default:
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", contentType)
	_, _ = w.Write([]byte(body))
}

// watch tells of nothing.
func (p *publisher) watch(w http.ResponseWriter, r *http.Request) {
	if r.URL.Query().Get("sendInitialEvents") != "" {
		http.Error(w, "it knows lists and watches only", http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusOK)
	w.(http.Flusher).Flush()
	<-r.Context().Done()
}

func (p *publisher) document() string {
	fields := `"size":{"type":"integer"}`
	if p.published.Load() {
		fields += `,"colour":{"type":"string"}`
	}
	return `{"components":{"schemas":{"widget":{"type":"object","x-kubernetes-group-version-kind":[{"group":"up.example","version":"v1","kind":"Widget"}],
		"properties":{"spec":{"type":"object","properties":{` + fields + `}}}}}}}`
}

func (p *publisher) kinds(t *testing.T) *Kinds {
	t.Helper()
	server := httptest.NewServer(p)
	t.Cleanup(server.Close)
	clients, err := Connect(&rest.Config{Host: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	return NewKinds(clients, slog.New(slog.DiscardHandler))
}

// knowsColour says whether a Widget's spec has the new field as far as the catalogue knows.
func knowsColour(t *testing.T, kinds *Kinds) bool {
	t.Helper()
	known, err := kinds.Schema(t.Context(), widget)
	if err != nil || known == nil {
		t.Fatalf("the fields of a Widget are %v, error %v", known, err)
	}
	return known.Fields["spec"].Fields["colour"] != nil
}

func TestFieldsThatArePublishedLateAreToldOfThoughTheSameKindsAreServed(t *testing.T) {
	server := &publisher{}
	kinds := server.kinds(t)
	told := make(chan struct{}, 100)
	kinds.OnChange(func() { told <- struct{}{} })
	ctx, end := context.WithCancel(t.Context())
	var running sync.WaitGroup
	defer running.Wait()
	defer end()
	running.Go(func() { _ = kinds.Run(ctx) })

	<-told
	if knowsColour(t, kinds) {
		t.Fatal("a field is known that was not published")
	}
	server.published.Store(true)
	for !knowsColour(t, kinds) {
		<-told
	}
}

func TestFieldsThatWereAskedForBeforeAChangeAreNotKeptAfterIt(t *testing.T) {
	server := &publisher{asked: make(chan struct{}), answer: make(chan struct{})}
	kinds := server.kinds(t)
	before := make(chan *manifest.Schema)
	go func() {
		known, _ := kinds.Schema(t.Context(), widget)
		before <- known
	}()
	<-server.asked
	server.published.Store(true)
	if err := kinds.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	server.answer <- struct{}{}
	<-before
	go func() {
		<-server.asked
		server.answer <- struct{}{}
	}()
	if !knowsColour(t, kinds) {
		t.Error("the answer to the question from before the change is what is known of the kind")
	}
}
