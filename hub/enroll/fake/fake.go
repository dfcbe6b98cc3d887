// Package fake alone is responsible for stores of tokens and clusters in memory that behave as the
// hub's do: they enforce resourceVersion, keep status apart from the rest, and answer with the API's
// own errors. Tests of enrolment stand on it.
package fake

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	clusterv1alpha1 "windlass.dev/windlass/api/cluster/v1alpha1"
	windlassv1alpha1 "windlass.dev/windlass/api/windlass/v1alpha1"
)

type object interface {
	metav1.Object
	runtime.Object
}

// Store holds the objects of one kind. It is safe for concurrent use.
type Store[T object] struct {
	resource schema.GroupResource
	// split makes, of a stored and a given object, what an update of the status or of all but the
	// status stores.
	split func(stored, given T, status bool) T

	mu       sync.Mutex
	objects  map[string]T
	revision int

	// Fail is asked before every call with its verb and the object's name; an error that it
	// returns is the answer. It may write to the store itself, as somebody who is faster would.
	// nil: nothing fails. Set it before the store is used.
	Fail func(verb, name string) error
}

// NewJoinTokens makes an empty store of tokens.
func NewJoinTokens() *Store[*windlassv1alpha1.JoinToken] {
	return &Store[*windlassv1alpha1.JoinToken]{
		resource: windlassv1alpha1.Resource("jointokens"),
		objects:  map[string]*windlassv1alpha1.JoinToken{},
		split: func(stored, given *windlassv1alpha1.JoinToken, status bool) *windlassv1alpha1.JoinToken {
			merged := given.DeepCopy()
			if status {
				merged = stored.DeepCopy()
				given.Status.DeepCopyInto(&merged.Status)
			} else {
				stored.Status.DeepCopyInto(&merged.Status)
			}
			return merged
		},
	}
}

// Clusters is a store of clusters with its cache.
type Clusters struct {
	*Store[*clusterv1alpha1.MemberCluster]
	// Behind has the cache know no cluster yet.
	Behind bool
}

// WithID names the clusters with an id.
func (c *Clusters) WithID(id string) []string {
	return c.cached(func(cluster *clusterv1alpha1.MemberCluster) bool { return cluster.Spec.ID == id })
}

// WithKubeSystem names the clusters whose agent told this UID.
func (c *Clusters) WithKubeSystem(uid string) []string {
	return c.cached(func(cluster *clusterv1alpha1.MemberCluster) bool {
		return cluster.Status.Agent != nil && cluster.Status.Agent.KubeSystemUID == uid
	})
}

func (c *Clusters) cached(is func(*clusterv1alpha1.MemberCluster) bool) (names []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for name, cluster := range c.objects {
		if !c.Behind && is(cluster) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// NewClusters makes an empty store of clusters.
func NewClusters() *Clusters {
	return &Clusters{Store: &Store[*clusterv1alpha1.MemberCluster]{
		resource: clusterv1alpha1.Resource("memberclusters"),
		objects:  map[string]*clusterv1alpha1.MemberCluster{},
		split: func(stored, given *clusterv1alpha1.MemberCluster, status bool) *clusterv1alpha1.MemberCluster {
			merged := given.DeepCopy()
			if status {
				merged = stored.DeepCopy()
				given.Status.DeepCopyInto(&merged.Status)
			} else {
				stored.Status.DeepCopyInto(&merged.Status)
			}
			return merged
		},
	}}
}

func (s *Store[T]) fails(ctx context.Context, verb, name string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if s.Fail != nil {
		return s.Fail(verb, name)
	}
	return nil
}

// Get returns a copy.
func (s *Store[T]) Get(ctx context.Context, name string) (T, error) {
	var none T
	if err := s.fails(ctx, "get", name); err != nil {
		return none, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	found, ok := s.objects[name]
	if !ok {
		return none, apierrors.NewNotFound(s.resource, name)
	}
	return found.DeepCopyObject().(T), nil
}

// List returns copies in the order of their names.
func (s *Store[T]) List(ctx context.Context) ([]T, error) {
	if err := s.fails(ctx, "list", ""); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []T
	for _, o := range s.objects {
		all = append(all, o.DeepCopyObject().(T))
	}
	slices.SortFunc(all, func(a, b T) int { return strings.Compare(a.GetName(), b.GetName()) })
	return all, nil
}

// Create stores a new object, status included so that tests can prepare one.
func (s *Store[T]) Create(ctx context.Context, given T) (T, error) {
	var none T
	if err := s.fails(ctx, "create", given.GetName()); err != nil {
		return none, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.objects[given.GetName()]; ok {
		return none, apierrors.NewAlreadyExists(s.resource, given.GetName())
	}
	stored := given.DeepCopyObject().(T)
	stored.SetUID(types.UID(fmt.Sprintf("uid-%d", s.revision+1)))
	return s.store(stored), nil
}

// Update stores all but the status.
func (s *Store[T]) Update(ctx context.Context, given T) (T, error) {
	return s.update(ctx, "update", given, false)
}

// UpdateStatus stores the status only.
func (s *Store[T]) UpdateStatus(ctx context.Context, given T) (T, error) {
	return s.update(ctx, "updatestatus", given, true)
}

func (s *Store[T]) update(ctx context.Context, verb string, given T, status bool) (T, error) {
	var none T
	if err := s.fails(ctx, verb, given.GetName()); err != nil {
		return none, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	stored, ok := s.objects[given.GetName()]
	if !ok {
		return none, apierrors.NewNotFound(s.resource, given.GetName())
	}
	if given.GetResourceVersion() != stored.GetResourceVersion() {
		return none, apierrors.NewConflict(s.resource, given.GetName(), fmt.Errorf("the object has changed"))
	}
	return s.store(s.split(stored, given, status)), nil
}

// Delete forgets an object; it is no error when there is none.
func (s *Store[T]) Delete(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.objects, name)
}

func (s *Store[T]) store(o T) T {
	s.revision++
	o.SetResourceVersion(strconv.Itoa(s.revision))
	s.objects[o.GetName()] = o
	return o.DeepCopyObject().(T)
}

// Event is one recorded event.
type Event struct {
	// About is the kind and name, such as "JoinToken/abc".
	About                 string
	Type, Reason, Message string
}

// Recorder remembers events. It is safe for concurrent use.
type Recorder struct {
	mu     sync.Mutex
	events []Event
}

// Event records one.
func (r *Recorder) Event(about runtime.Object, eventType, reason, message string) {
	kind := strings.TrimPrefix(fmt.Sprintf("%T", about), "*v1alpha1.")
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, Event{About: kind + "/" + about.(metav1.Object).GetName(), Type: eventType, Reason: reason, Message: message})
}

// Events returns what was recorded so far.
func (r *Recorder) Events() []Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.events)
}
