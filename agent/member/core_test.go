package member

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
)

// recorder is an API server that answers everything with the object it was made with, and keeps what it was asked.
type recorder struct {
	asked  []string
	answer runtime.Object
}

func (r *recorder) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	body, _ := io.ReadAll(request.Body)
	sent := ""
	if object, _, err := codecs.UniversalDeserializer().Decode(body, nil, nil); err == nil {
		if named, ok := object.(metav1.Object); ok {
			sent = " " + named.GetName()
		}
		if !strings.HasPrefix(string(body), "k8s\x00") {
			sent += " not as protobuf"
		}
	}
	if !strings.HasPrefix(request.Header.Get("Accept"), runtime.ContentTypeProtobuf) {
		sent += " protobuf is not wanted"
	}
	r.asked = append(r.asked, request.Method+" "+request.URL.RequestURI()+sent)
	w.Header().Set("Content-Type", runtime.ContentTypeJSON)
	_ = json.NewEncoder(w).Encode(r.answer)
}

func TestRequestsGoWhereTheyBelong(t *testing.T) {
	server := &recorder{}
	listening := httptest.NewServer(server)
	defer listening.Close()
	core, err := NewCore(&rest.Config{Host: listening.URL})
	if err != nil {
		t.Fatal(err)
	}
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "one", Namespace: "ns"}}
	for _, c := range []struct {
		reason string
		do     func() error
		want   string
	}{
		{"one object", func() error { _, err := core.Secrets("ns").Get(t.Context(), "one", metav1.GetOptions{}); return err }, "GET /api/v1/namespaces/ns/secrets/one"},
		{"those of a label", func() error {
			_, err := core.Secrets("ns").List(t.Context(), metav1.ListOptions{LabelSelector: "a=b"})
			return err
		}, "GET /api/v1/namespaces/ns/secrets?labelSelector=a%3Db"},
		{"a new one", func() error {
			_, err := core.Secrets("ns").Create(t.Context(), secret, metav1.CreateOptions{})
			return err
		}, "POST /api/v1/namespaces/ns/secrets one"},
		{"a changed one", func() error {
			_, err := core.Secrets("ns").Update(t.Context(), secret, metav1.UpdateOptions{})
			return err
		}, "PUT /api/v1/namespaces/ns/secrets/one one"},
		{"one less", func() error { return core.Secrets("ns").Delete(t.Context(), "one", metav1.DeleteOptions{}) }, "DELETE /api/v1/namespaces/ns/secrets/one"},
		{"in no namespace", func() error { _, err := core.Nodes().Get(t.Context(), "n", metav1.GetOptions{}); return err }, "GET /api/v1/nodes/n"},
		{"in all namespaces", func() error { _, err := core.Pods("").Get(t.Context(), "p", metav1.GetOptions{}); return err }, "GET /api/v1/pods/p"},
		{"of another group", func() error { _, err := core.Leases("ns").Get(t.Context(), "l", metav1.GetOptions{}); return err }, "GET /apis/coordination.k8s.io/v1/namespaces/ns/leases/l"},
	} {
		t.Run(c.reason, func(t *testing.T) {
			server.asked, server.answer = nil, &metav1.Status{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}, Status: metav1.StatusSuccess}
			_ = c.do() // a Status is not the object; what was asked is what counts
			if diff := cmp.Diff([]string{c.want}, server.asked); diff != "" {
				t.Errorf("the API server was asked (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAnswersAreTheirTypesAndErrorsThoseOfAnAPIServer(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", runtime.ContentTypeJSON)
		switch {
		case r.URL.Query().Get("watch") != "":
			fmt.Fprintln(w, `{"type":"ADDED","object":{"kind":"Pod","apiVersion":"v1","metadata":{"name":"p"}}}`)
		case strings.HasSuffix(r.URL.Path, "/there"):
			fmt.Fprintln(w, `{"kind":"Secret","apiVersion":"v1","metadata":{"name":"there"},"data":{"a":"Yg=="}}`)
		default:
			w.WriteHeader(http.StatusNotFound)
			fmt.Fprintln(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","message":"secrets \"gone\" not found","reason":"NotFound","code":404}`)
		}
	}))
	defer server.Close()
	core, err := NewCore(&rest.Config{Host: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	secret, err := core.Secrets("ns").Get(t.Context(), "there", metav1.GetOptions{})
	if err != nil || string(secret.Data["a"]) != "b" {
		t.Errorf("the Secret holds %q, error %v", secret.Data, err)
	}
	if _, err := core.Secrets("ns").Get(t.Context(), "gone", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("what is not there: error %v", err)
	}
	events, err := core.Pods("").Watch(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer events.Stop()
	event := <-events.ResultChan()
	if pod, ok := event.Object.(*corev1.Pod); !ok || pod.Name != "p" {
		t.Errorf("the watch delivered %T %+v", event.Object, event)
	}
}
