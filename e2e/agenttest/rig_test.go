// Package agenttest proves the agent's daily work against a real API server: applying, drift,
// conflicts, pruning, removal, and restarts without a hub. No hub is needed: the tests say what a
// hub would.
package agenttest

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/tools/clientcmd"

	linkv1 "windlass.dev/windlass/api/link/v1"

	"windlass.dev/windlass/agent/apply"
	"windlass.dev/windlass/agent/member"
	"windlass.dev/windlass/agent/observe"
	"windlass.dev/windlass/agent/state"
	"windlass.dev/windlass/hack/cluster"
	"windlass.dev/windlass/pkg/manifest"
)

const (
	hubID         = "0123456789abcdef0123456789abcdef"
	workNamespace = "karmada-es-m1"
	// patience is generous: the machine may be busy with other tests.
	patience = time.Minute
)

var (
	configMaps  = schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}
	namespaces  = schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}
	gadgets     = schema.GroupVersionResource{Group: "example.com", Version: "v1", Resource: "gadgets"}
	deployments = schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}
	secrets     = schema.GroupVersionResource{Version: "v1", Resource: "secrets"}
	services    = schema.GroupVersionResource{Version: "v1", Resource: "services"}
)

var (
	theMember *cluster.Member
	rigs      atomic.Int32 // tells the namespaces of repeated tests apart
)

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) int {
	binary, err := filepath.Abs(filepath.Join(cmp.Or(os.Getenv("WINDLASS_E2E_BIN"), "../../bin"), "member"))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	dir, err := os.MkdirTemp("", "agenttest")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	theMember, err = cluster.StartMember(context.Background(), cluster.MemberConfig{Name: "m1", Dir: filepath.Join(dir, "m1"), Binary: binary})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = theMember.Kill() }()
	return m.Run()
}

// rig is an agent without a link.
type rig struct {
	*testing.T
	clients   *member.Clients
	namespace string // for the test's objects; made by the agent when it needs it
	ownState  string
	settings  apply.Settings
	guard     manifest.Guard
	// byNamespace, and the clients of somebody with few rights, are the agent's own; the test has all.
	byNamespace bool
	limited     *member.Clients

	engine   *apply.Engine
	observer *observe.Observer
	store    *state.Store
	end      func()
}

func newRig(t *testing.T) *rig {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", theMember.Kubeconfig())
	if err != nil {
		t.Fatal(err)
	}
	clients, err := member.Connect(config)
	if err != nil {
		t.Fatal(err)
	}
	name := fmt.Sprintf("t%d-%s", rigs.Add(1), strings.ToLower(t.Name()[4:min(len(t.Name()), 40)]))
	r := &rig{T: t, clients: clients, namespace: name, ownState: name + "-agent"}
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: r.ownState}}
	if _, err := clients.Core.Namespaces().Create(t.Context(), namespace, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	r.start()
	t.Cleanup(r.clear)
	return r
}

// clear gives the room that the test has taken back to the member.
func (r *rig) clear() {
	r.end()
	for _, name := range []string{r.namespace, r.ownState} {
		err := r.clients.Core.Namespaces().Delete(context.Background(), name, metav1.DeleteOptions{})
		if err != nil && !apierrors.IsNotFound(err) {
			r.Errorf("clearing up after the test: %v", err)
		}
	}
}

// start starts the agent's parts; what it kept in the member is there again.
func (r *rig) start() {
	r.Helper()
	logger := slog.New(slog.NewTextHandler(testLog{r.T}, &slog.HandlerOptions{Level: slog.LevelDebug}))
	clients := cmp.Or(r.limited, r.clients)
	kinds := member.NewKinds(clients, logger)
	var err error
	r.store, err = state.New(state.Config{
		Secrets: state.NewSecrets(clients.Core.Secrets(r.ownState)), Logger: logger, Now: time.Now,
	})
	if err != nil {
		r.Fatal(err)
	}
	if err := r.store.Load(r.Context()); err != nil {
		r.Fatal(err)
	}
	r.engine, err = apply.New(apply.Config{
		Client: clients.Dynamic, Kinds: kinds, State: r.store, HubID: hubID, WorkNamespace: workNamespace,
		StateNamespace: r.ownState, Logger: logger, Now: time.Now, Settings: r.settings, Guard: r.guard, Contents: clients,
	})
	if err != nil {
		r.Fatal(err)
	}
	r.observer, err = observe.New(observe.Config{Client: clients.Dynamic, Logger: logger, Now: time.Now, ByNamespace: r.byNamespace}, r.engine.Changed)
	if err != nil {
		r.Fatal(err)
	}
	r.engine.Observe(r.observer)

	ctx, cancel := context.WithCancel(context.Background())
	var group sync.WaitGroup
	for _, run := range []func(context.Context) error{r.store.Run, kinds.Run, r.observer.Run, r.engine.Run} {
		group.Go(func() {
			if err := run(ctx); err != nil {
				r.Errorf("a part of the agent ended: %v", err)
			}
		})
	}
	ended := false
	r.end = func() {
		if !ended {
			ended = true
			cancel()
			group.Wait()
		}
	}
	r.Cleanup(r.end)
}

type testLog struct{ t *testing.T }

func (l testLog) Write(line []byte) (int, error) {
	l.t.Log(strings.TrimSpace(string(line)))
	return len(line), nil
}

func work(key string, generation int64, manifests ...map[string]any) *linkv1.Work {
	w := &linkv1.Work{Key: key, Uid: "uid-of-" + key, Generation: generation, Hash: fmt.Appendf(nil, "%s-%d", key, generation)}
	for _, m := range manifests {
		raw, err := json.Marshal(m)
		if err != nil {
			panic(err)
		}
		w.Manifests = append(w.Manifests, raw)
	}
	return w
}

func (r *rig) put(w *linkv1.Work) {
	r.Helper()
	if err := r.engine.Put(r.Context(), w); err != nil {
		r.Fatal(err)
	}
}

func (r *rig) remove(key string, keep bool) {
	r.Helper()
	removal := &linkv1.Removal{Key: key, Uid: "uid-of-" + key, Cause: linkv1.RemovalCause_REMOVAL_CAUSE_NOT_SELECTED, Keep: keep}
	if err := r.engine.Remove(r.Context(), removal); err != nil {
		r.Fatal(err)
	}
}

// until waits for a condition; it returns what stands in its way.
func (r *rig) until(what string, condition func() error) {
	r.Helper()
	deadline := time.Now().Add(patience)
	for {
		err := condition()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			r.Fatalf("waiting for %s: %v", what, err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// reported waits for a report of the work.
func (r *rig) reported(key, what string, fits func(*linkv1.Report) bool) *linkv1.Report {
	r.Helper()
	var report *linkv1.Report
	r.until(what, func() error {
		report = r.observer.Report(key)
		if report == nil || !fits(report) {
			return fmt.Errorf("the report of %s is %v", key, report)
		}
		return nil
	})
	return report
}

func (r *rig) applied(key string, generation int64) *linkv1.Report {
	r.Helper()
	return r.reported(key, "the work to be applied", func(report *linkv1.Report) bool {
		return report.Applied && report.Generation == generation
	})
}

func (r *rig) refused(key, reason string) *linkv1.Report {
	r.Helper()
	return r.reported(key, "reason "+reason, func(report *linkv1.Report) bool { return !report.Applied && report.Reason == reason })
}

func (r *rig) removed(key string) {
	r.Helper()
	report := r.reported(key, "the removal", func(report *linkv1.Report) bool { return report.Phase == linkv1.Phase_PHASE_REMOVED })
	if report.Uid != "uid-of-"+key {
		r.Errorf("the removal of %s was reported for UID %q", key, report.Uid)
	}
	r.observer.Recorded(key, report.Uid, report.Phase)
}

func (r *rig) client(resource schema.GroupVersionResource) dynamic.ResourceInterface {
	return r.clients.Dynamic.Resource(resource).Namespace(r.namespace)
}

func (r *rig) get(resource schema.GroupVersionResource, name string) *unstructured.Unstructured {
	r.Helper()
	live, err := r.client(resource).Get(r.Context(), name, metav1.GetOptions{})
	if err != nil {
		r.Fatal(err)
	}
	return live
}

func (r *rig) absent(resource schema.GroupVersionResource, name string) {
	r.Helper()
	if _, err := r.client(resource).Get(r.Context(), name, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		r.Errorf("%s %s: want not found, got %v", resource.Resource, name, err)
	}
}

// byHand changes an object as kubectl would.
func (r *rig) byHand(resource schema.GroupVersionResource, name, patch string) {
	r.Helper()
	_, err := r.client(resource).Patch(r.Context(), name, types.MergePatchType, []byte(patch), metav1.PatchOptions{FieldManager: "kubectl-edit"})
	if err != nil {
		r.Fatal(err)
	}
}

func (r *rig) makeNamespace() {
	r.Helper()
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: r.namespace}}
	if _, err := r.clients.Core.Namespaces().Create(r.Context(), namespace, metav1.CreateOptions{}); err != nil {
		r.Fatal(err)
	}
}

func (r *rig) create(resource schema.GroupVersionResource, object map[string]any) {
	r.Helper()
	_, err := r.client(resource).Create(r.Context(), &unstructured.Unstructured{Object: object}, metav1.CreateOptions{FieldManager: "kubectl-create"})
	if err != nil {
		r.Fatal(err)
	}
}

func (r *rig) configMap(name string, data map[string]any) map[string]any {
	return map[string]any{
		"apiVersion": "v1", "kind": "ConfigMap",
		"metadata": map[string]any{"name": name, "namespace": r.namespace},
		"data":     data,
	}
}

func (r *rig) deployment(name string, replicas int) map[string]any {
	labels := map[string]any{"app": name}
	return map[string]any{
		"apiVersion": "apps/v1", "kind": "Deployment",
		"metadata": map[string]any{"name": name, "namespace": r.namespace},
		"spec": map[string]any{
			"replicas": replicas,
			"selector": map[string]any{"matchLabels": labels},
			"template": map[string]any{
				"metadata": map[string]any{"labels": labels},
				"spec": map[string]any{"containers": []any{map[string]any{
					"name": "web", "image": "web:1",
					"resources": map[string]any{"requests": map[string]any{"cpu": "0.1", "memory": "64Mi"}},
				}}},
			},
		},
	}
}

func text(object *unstructured.Unstructured, path ...string) string {
	value, _, _ := unstructured.NestedFieldNoCopy(object.Object, path...)
	return fmt.Sprint(value)
}
