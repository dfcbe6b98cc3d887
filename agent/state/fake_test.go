package state

import (
	"context"
	"errors"
	"log/slog"
	"strconv"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

var secretResource = schema.GroupResource{Resource: "secrets"}

// fakeSecrets behaves as an API server does: versions, conflicts, and a limit of 1 MiB.
type fakeSecrets struct {
	mu      sync.Mutex
	held    map[string]corev1.Secret
	version int
	writes  map[string]int
	// refuse makes writes of a name fail.
	refuse func(name string) error
	loses  bool // see lose
}

func newFakeSecrets() *fakeSecrets {
	return &fakeSecrets{held: map[string]corev1.Secret{}, writes: map[string]int{}}
}

func (f *fakeSecrets) List(context.Context) ([]corev1.Secret, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var list []corev1.Secret
	for _, s := range f.held {
		list = append(list, *s.DeepCopy())
	}
	return list, nil
}

func (f *fakeSecrets) Get(_ context.Context, name string) (*corev1.Secret, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s, exists := f.held[name]
	if !exists {
		return nil, apierrors.NewNotFound(secretResource, name)
	}
	return s.DeepCopy(), nil
}

// clear deletes everything, as who deletes the namespace does.
func (f *fakeSecrets) clear() {
	f.mu.Lock()
	defer f.mu.Unlock()
	clear(f.held)
}

// lose makes the next write succeed and its answer be lost.
func (f *fakeSecrets) lose() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.loses = true
}

func (f *fakeSecrets) write(secret *corev1.Secret) (*corev1.Secret, error) {
	size := 0
	for _, value := range secret.Data {
		size += len(value)
	}
	if size > corev1.MaxSecretSize {
		return nil, apierrors.NewBadRequest("the Secret is too large")
	}
	if f.refuse != nil {
		if err := f.refuse(secret.Name); err != nil {
			return nil, err
		}
	}
	f.version++
	f.writes[secret.Name]++
	written := secret.DeepCopy()
	written.ResourceVersion = strconv.Itoa(f.version)
	f.held[secret.Name] = *written
	if f.loses {
		f.loses = false
		return nil, errors.New("connection reset")
	}
	return written.DeepCopy(), nil
}

func (f *fakeSecrets) Create(_ context.Context, secret *corev1.Secret) (*corev1.Secret, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, exists := f.held[secret.Name]; exists {
		return nil, apierrors.NewAlreadyExists(secretResource, secret.Name)
	}
	return f.write(secret)
}

func (f *fakeSecrets) Update(_ context.Context, secret *corev1.Secret) (*corev1.Secret, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	before, exists := f.held[secret.Name]
	if !exists {
		return nil, apierrors.NewNotFound(secretResource, secret.Name)
	}
	if before.ResourceVersion != secret.ResourceVersion {
		return nil, apierrors.NewConflict(secretResource, secret.Name, errors.New("it has changed"))
	}
	return f.write(secret)
}

func (f *fakeSecrets) Delete(_ context.Context, name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, exists := f.held[name]; !exists {
		return apierrors.NewNotFound(secretResource, name)
	}
	delete(f.held, name)
	return nil
}

// written is how often a Secret was written.
func (f *fakeSecrets) written(name string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.writes[name]
}

func (f *fakeSecrets) names(prefix string) []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var names []string
	for name := range f.held {
		if len(name) >= len(prefix) && name[:len(prefix)] == prefix {
			names = append(names, name)
		}
	}
	return names
}

// change changes a kept Secret behind the store's back.
func (f *fakeSecrets) change(name string, change func(*corev1.Secret)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.held[name]
	change(&s)
	f.version++
	s.ResourceVersion = strconv.Itoa(f.version)
	f.held[name] = s
}

// clone is what another process would find.
func (f *fakeSecrets) clone() *fakeSecrets {
	f.mu.Lock()
	defer f.mu.Unlock()
	c := newFakeSecrets()
	c.version = f.version
	for name, s := range f.held {
		c.held[name] = *s.DeepCopy()
	}
	return c
}

// open loads a store and runs it; stop ends it as a clean end of the agent does.
func open(t *testing.T, secrets Secrets, settings ...func(*Config)) (store *Store, stop func() error) {
	t.Helper()
	config := Config{Secrets: secrets, Logger: slog.New(slog.DiscardHandler), Now: time.Now, FlushInterval: time.Millisecond}
	for _, set := range settings {
		set(&config)
	}
	store, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- store.Run(ctx) }()
	var once sync.Once
	var result error
	stop = func() error {
		once.Do(func() {
			cancel()
			result = <-ended
		})
		return result
	}
	t.Cleanup(func() { _ = stop() })
	return store, stop
}
