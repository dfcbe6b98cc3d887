package member

import (
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"windlass.dev/windlass/pkg/decode"
)

var configMaps = schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}

const gone = `{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"too old","reason":"Expired","code":410}`

// jsonOf finds what decodes JSON.
func jsonOf(serializers runtime.NegotiatedSerializer) runtime.SerializerInfo {
	info, _ := runtime.SerializerInfoForMediaType(serializers.SupportedMediaTypes(), runtime.ContentTypeJSON)
	return info
}

func TestWhatIsReadOnceIsReadAsTheDynamicClientReadsIt(t *testing.T) {
	slow := dynamic.ConfigFor(&rest.Config{}).NegotiatedSerializer
	fast := decode.Once(slow)
	nothing := func() runtime.Object { return nil }
	object := func() runtime.Object { return &unstructured.Unstructured{} }
	list := func() runtime.Object { return &unstructured.UnstructuredList{} }
	event := func() runtime.Object { return &metav1.WatchEvent{} }
	for _, c := range []struct {
		reason string
		into   func() runtime.Object
		data   string
		stream bool
	}{
		{reason: "an object, with whole numbers and others", into: nothing, data: `{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"web"},"spec":{"replicas":3,"share":0.5,"list":[1,"a",null]}}`},
		{reason: "an object into one", into: object, data: `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"}}`},
		{reason: "an object that has items, into one", into: object, data: `{"apiVersion":"example.test/v1","kind":"Basket","items":[1]}`},
		{reason: "a list", into: nothing, data: `{"apiVersion":"v1","kind":"ConfigMapList","items":[{"metadata":{"name":"a"}}]}`},
		{reason: "a list into one", into: list, data: `{"apiVersion":"v1","kind":"ConfigMapList","metadata":{"resourceVersion":"7"},"items":[{"metadata":{"name":"a"}}]}`},
		{reason: "what failed", into: nothing, data: gone},
		{reason: "what failed, into an object", into: object, data: gone},
		{reason: "a kind of that name that is another's", into: nothing, data: `{"apiVersion":"example.test/v1","kind":"Status","metadata":{"name":"a"}}`},
		{reason: "no kind", into: nothing, data: `{"apiVersion":"v1","metadata":{"name":"a"}}`},
		{reason: "no kind, into an object", into: object, data: `{"apiVersion":"v1"}`},
		{reason: "no version", into: nothing, data: `{"kind":"ConfigMap"}`},
		{reason: "no version, into an object", into: object, data: `{"kind":"ConfigMap","metadata":{"name":"a"}}`},
		{reason: "no object", into: nothing, data: `[]`},
		{reason: "no JSON", into: object, data: `{"apiVersion":`},
		{reason: "nothing", into: nothing, data: ``},
		{reason: "an event", into: event, stream: true, data: `{"type":"MODIFIED","object":{"apiVersion":"v1","kind":"ConfigMap"}}`},
		{reason: "an event that is none", into: event, stream: true, data: `{"type":`},
	} {
		t.Run(c.reason, func(t *testing.T) {
			decode := func(from runtime.NegotiatedSerializer) (runtime.Object, string, bool) {
				info := jsonOf(from)
				decoder := info.Serializer
				if c.stream {
					decoder = info.StreamSerializer.Serializer
				}
				read, kind, err := decoder.Decode([]byte(c.data), nil, c.into())
				if err != nil {
					return nil, "", false
				}
				if c.stream {
					kind = nil // nobody asks
				}
				return read, fmt.Sprint(kind), true
			}
			want, wantKind, wantRead := decode(slow)
			got, kind, read := decode(fast)
			if read != wantRead {
				t.Fatalf("that it can be read is %v", read)
			}
			if diff := cmp.Diff(want, got); diff != "" || kind != wantKind {
				t.Errorf("it is read as %s and not as %s (-want +got):\n%s", kind, wantKind, diff)
			}
		})
	}
}

func TestADynamicClientUnderstandsAnAPIServer(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		w.Header().Set("Content-Type", runtime.ContentTypeJSON)
		switch {
		case request.URL.Query().Get("watch") != "":
			for _, event := range []string{
				`{"type":"ADDED","object":{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"}}}`,
				`{"type":"BOOKMARK","object":{"apiVersion":"v1","kind":"ConfigMap","metadata":{"resourceVersion":"9"}}}`,
				`{"type":"ERROR","object":` + gone + `}`,
			} {
				_, _ = io.WriteString(w, event+"\n")
			}
		case request.URL.Path == "/api/v1/namespaces/n/configmaps/missing":
			w.WriteHeader(http.StatusNotFound)
			_, _ = io.WriteString(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","message":"it is not there","reason":"NotFound","code":404}`)
		case request.URL.Path == "/api/v1/namespaces/n/configmaps":
			_, _ = io.WriteString(w, `{"apiVersion":"v1","kind":"ConfigMapList","metadata":{"resourceVersion":"7"},"items":[{"metadata":{"name":"a"}}]}`)
		default:
			_, _ = io.WriteString(w, `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"}}`)
		}
	}))
	defer server.Close()
	clients, err := Connect(&rest.Config{Host: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	in := clients.Dynamic.Resource(configMaps).Namespace("n")
	if found, err := in.Get(t.Context(), "a", metav1.GetOptions{}); err != nil || found.GetName() != "a" {
		t.Errorf("an object is read as %v, %v", found, err)
	}
	if _, err := in.Get(t.Context(), "missing", metav1.GetOptions{}); !apierrors.IsNotFound(err) || err.Error() != "it is not there" {
		t.Errorf("an object that is not there is answered with %v", err)
	}
	if list, err := in.List(t.Context(), metav1.ListOptions{}); err != nil || len(list.Items) != 1 || list.Items[0].GetKind() != "ConfigMap" {
		t.Errorf("a list is read as %v, %v", list, err)
	}
	events, err := in.Watch(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var seen []string
	for event := range events.ResultChan() {
		what := ""
		switch object := event.Object.(type) {
		case *unstructured.Unstructured:
			what = object.GetName() + object.GetResourceVersion()
		case *metav1.Status:
			what = string(object.Reason)
		}
		seen = append(seen, string(event.Type)+" "+what)
	}
	if diff := cmp.Diff([]string{string(watch.Added) + " a", string(watch.Bookmark) + " 9", string(watch.Error) + " Expired"}, seen); diff != "" {
		t.Errorf("a watch sees (-want +got):\n%s", diff)
	}
}

func TestAnAPIServerIsAskedForNothingCompressed(t *testing.T) {
	wanted := make(chan string, 1)
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		wanted <- request.Header.Get("Accept-Encoding")
		w.Header().Set("Content-Type", runtime.ContentTypeJSON)
		_, _ = io.WriteString(w, `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"}}`)
	}))
	defer server.Close()
	config := &rest.Config{Host: server.URL, TLSClientConfig: rest.TLSClientConfig{
		CAData: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}),
	}}
	clients, err := Connect(config)
	if err != nil {
		t.Fatal(err)
	}
	core, err := NewCore(config)
	if err != nil {
		t.Fatal(err)
	}
	for what, ask := range map[string]func() error{
		"an object of any kind": func() error {
			_, err := clients.Dynamic.Resource(configMaps).Namespace("n").Get(t.Context(), "a", metav1.GetOptions{})
			return err
		},
		"its version": func() error { _, err := clients.Discovery.Version(t.Context()); return err },
		"a Lease":     func() error { _, _ = core.Leases("n").Get(t.Context(), "a", metav1.GetOptions{}); return nil },
	} {
		if err := ask(); err != nil {
			t.Errorf("asking for %s: %v", what, err)
		}
		if encoding := <-wanted; encoding != "" {
			t.Errorf("%s is wanted as %q", what, encoding)
		}
	}
}
