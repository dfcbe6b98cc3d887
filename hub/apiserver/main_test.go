package apiserver_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"windlass.dev/windlass/hub/apiserver"
	"windlass.dev/windlass/hub/etcd"
	"windlass.dev/windlass/hub/pki"
)

// patience is how long a condition may take to come true on a loaded machine.
const patience = 2 * time.Minute

// hub is the server that the tests of this package share: starting one takes seconds.
var hub *process

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "hub")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if hub, err = startWith(dir, guard); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	controllers := make(chan error, 1)
	go func() { controllers <- hub.server.RunControllers(hub.ctx) }()
	code := m.Run()
	if err := hub.stop(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if err := <-controllers; err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

func guard(s *apiserver.Server) error {
	s.Stores.Works.Guard(refuseGuarded)
	s.ClaimBy(claimTheMarked)
	return s.OnKindsChanged(func() { kindsChanged.Add(1) })
}

// kindsChanged is how often the server said that its kinds may have changed.
var kindsChanged atomic.Int64

// process is what a hub's process has of store and API.
type process struct {
	ctx    context.Context
	dir    string
	store  *etcd.Etcd
	server *apiserver.Server
	cancel context.CancelFunc
	done   chan error

	// admin is how a user reaches the hub.
	admin   *rest.Config
	client  kubernetes.Interface
	dynamic dynamic.Interface
}

// startWith brings up a hub on a data directory and returns when it is ready. Prepare, which may be
// nil, is called between New and Run; flags are pairs of names and values.
func startWith(dir string, prepare func(*apiserver.Server) error, flags ...string) (*process, error) {
	set, err := pki.LoadOrCreate(filepath.Join(dir, "pki"), time.Now())
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	p := &process{ctx: ctx, dir: dir, cancel: cancel, done: make(chan error, 1)}
	if p.store, err = etcd.Start(ctx, etcd.Config{DataDir: dir}); err != nil {
		cancel()
		return nil, err
	}
	config := apiserver.Config{
		Store: p.store, PKI: set, Listen: "127.0.0.1:0", LogLevel: slog.LevelError,
		AdvertiseAddress: "127.0.0.1", ServingNames: []string{"hub.example"}, Flags: map[string]string{},
	}
	for i := 0; i < len(flags); i += 2 {
		config.Flags[flags[i]] = flags[i+1]
	}
	p.server, err = apiserver.New(ctx, config)
	if err == nil && prepare != nil {
		err = prepare(p.server)
	}
	if err != nil {
		cancel()
		p.store.Close()
		return nil, err
	}
	go func() { p.done <- p.server.Run(ctx) }()
	waiting, stopWaiting := context.WithTimeout(ctx, patience)
	defer stopWaiting()
	if err := p.server.WaitReady(waiting); err != nil {
		return nil, err
	}
	return p, p.connect(set)
}

// connect makes clients out of the administrator's kubeconfig.
func (p *process) connect(set *pki.Set) error {
	path := filepath.Join(p.dir, "admin.kubeconfig")
	if err := set.AdminKubeconfig(path, "https://"+p.server.Address().String(), time.Now()); err != nil {
		return err
	}
	config, err := clientcmd.BuildConfigFromFlags("", path)
	if err != nil {
		return err
	}
	config.QPS, config.Burst = -1, 0
	config.WarningHandler = rest.NoWarnings{}
	p.admin = config
	if p.client, err = kubernetes.NewForConfig(config); err != nil {
		return err
	}
	p.dynamic, err = dynamic.NewForConfig(config)
	return err
}

// stop ends the server and then its store.
func (p *process) stop() error {
	p.cancel()
	err := <-p.done
	p.store.Close()
	return err
}

// eventually waits for a condition and fails the test when it does not come true.
func eventually(t *testing.T, what string, condition func(context.Context) (bool, error)) {
	t.Helper()
	if err := wait.PollUntilContextTimeout(t.Context(), 20*time.Millisecond, patience, true, condition); err != nil {
		t.Fatalf("waiting until %s: %v", what, err)
	}
}

// makeNamespace creates a namespace and waits until the hub's own informers know it.
func makeNamespace(t *testing.T, name string) {
	t.Helper()
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if _, err := hub.client.CoreV1().Namespaces().Create(t.Context(), namespace, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		t.Fatal(err)
	}
	eventually(t, "the namespace "+name+" is known", func(context.Context) (bool, error) {
		_, err := hub.server.Informers.Core().V1().Namespaces().Lister().Get(name)
		return err == nil, nil
	})
}
