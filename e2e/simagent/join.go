package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/tools/clientcmd"

	"windlass.dev/windlass/agent/enroll"
	"windlass.dev/windlass/pkg/identity"
)

var (
	configMaps = schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}
	joinTokens = schema.GroupVersionResource{Group: "windlass.dev", Version: "v1alpha1", Resource: "jointokens"}
)

// tokenMaker makes join tokens, as `windlass token create --cluster NAME` does.
type tokenMaker struct {
	hub dynamic.Interface
	pin string
}

func newTokenMaker(ctx context.Context, kubeconfig string) (*tokenMaker, error) {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("--kubeconfig: %w", err)
	}
	config.QPS = -1
	hub, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	info, err := hub.Resource(configMaps).Namespace(metav1.NamespacePublic).Get(ctx, "windlass-hub", metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("reading what the hub says of itself: %w", err)
	}
	pin, _, _ := unstructured.NestedString(info.Object, "data", "hubID")
	return &tokenMaker{hub, pin}, nil
}

func (m *tokenMaker) make(ctx context.Context, cluster string) (string, error) {
	token, err := identity.NewToken(m.pin)
	if err != nil {
		return "", err
	}
	object := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": joinTokens.GroupVersion().String(), "kind": "JoinToken", "metadata": map[string]any{"name": token.ID},
		"spec": map[string]any{
			"secretHash": token.SecretHash(), "clusterName": cluster, "expirationTime": time.Now().Add(time.Hour).UTC().Format(time.RFC3339),
		},
	}}
	if _, err := m.hub.Resource(joinTokens).Create(ctx, object, metav1.CreateOptions{}); err != nil {
		return "", fmt.Errorf("making a join token for %s: %w", cluster, err)
	}
	return token.String(), nil
}

// identityStore keeps an agent's identity in memory.
type identityStore struct {
	mu     sync.Mutex
	stored enroll.Stored
}

// Load is of enroll.Store.
func (s *identityStore) Load(context.Context) (enroll.Stored, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stored, nil
}

// Save is of enroll.Store.
func (s *identityStore) Save(_ context.Context, next enroll.Stored) (enroll.Stored, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stored = next
	return next, nil
}

// Name is of enroll.Store.
func (s *identityStore) Name() string { return "the memory of a simulated agent" }

// A road leads to the hub from addresses of loopback that change with every connection: a hub bounds how many enrolments
// come from one address, and clusters have one each.
type road struct {
	listener net.Listener
	hub      string
}

func newRoad(hub string) (*road, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	return &road{listener, hub}, nil
}

func (r *road) address() string { return r.listener.Addr().String() }

func (r *road) run(ctx context.Context) {
	defer context.AfterFunc(ctx, func() { _ = r.listener.Close() })()
	for n := 0; ; n++ {
		near, err := r.listener.Accept()
		if err != nil {
			return
		}
		go r.pass(ctx, near, net.IPv4(127, 1, byte(n/250%250), byte(1+n%250)))
	}
}

func (r *road) pass(ctx context.Context, near net.Conn, from net.IP) {
	defer near.Close()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: from}}
	far, err := d.DialContext(ctx, "tcp", r.hub)
	if err != nil {
		return
	}
	defer far.Close()
	defer context.AfterFunc(ctx, func() { _ = near.Close(); _ = far.Close() })()
	go func() { _, _ = io.Copy(far, near); _ = far.Close() }()
	_, _ = io.Copy(near, far)
}
