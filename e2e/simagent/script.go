package main

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	linkv1 "windlass.dev/windlass/api/link/v1"
	workv1alpha1 "windlass.dev/windlass/api/work/v1alpha1"
	"windlass.dev/windlass/pkg/interpret"
	"windlass.dev/windlass/pkg/manifest"
)

// A script says what becomes of objects in every member. Its methods may be called concurrently.
type script struct {
	// delay until a work is applied; steps in which a workload becomes ready, and the time between them.
	delay, stepDelay time.Duration
	steps            int
	// ready is how many replicas of every workload are ready at the end, plus 1; all of them when 0.
	ready atomic.Int64

	mu sync.Mutex
	// objects by the hash of their work: many members get the same manifest, and it is read once.
	objects map[string]*object
}

// mostObjects bounds what is kept of manifests. What is forgotten is read again.
const mostObjects = 8192

// An object is the first manifest of a work, as far as a status can be made up for it.
type object struct {
	manifest *unstructured.Unstructured
	// workload is true of what has replicas.
	workload bool
	replicas int64

	mu    sync.Mutex
	shown map[int64]appearance // by how many replicas are ready
}

// An appearance is what the interpreter makes of an object.
type appearance struct {
	status  []byte
	health  linkv1.Health
	message string
}

func (s *script) objectOf(w *linkv1.Work) (*object, error) {
	hash := string(w.GetHash())
	s.mu.Lock()
	defer s.mu.Unlock()
	if known := s.objects[hash]; known != nil {
		return known, nil
	}
	if len(w.GetManifests()) == 0 {
		return nil, fmt.Errorf("work %s has no manifest", w.GetKey())
	}
	parsed, err := manifest.Parse(w.GetManifests()[0])
	if err != nil {
		return nil, fmt.Errorf("the manifest of work %s: %w", w.GetKey(), err)
	}
	made := &object{manifest: parsed, shown: map[int64]appearance{}}
	if replicas, _ := interpret.Replicas(parsed); replicas != nil && parsed.GetKind() == "Deployment" {
		made.workload, made.replicas = true, int64(*replicas)
	}
	if s.objects == nil || len(s.objects) >= mostObjects {
		s.objects = map[string]*object{}
	}
	s.objects[hash] = made
	return made, nil
}

func (s *script) stepsOf(o *object) int {
	if !o.workload {
		return 1
	}
	return max(1, s.steps)
}

// describe fills in how a work's object looks.
func (s *script) describe(r *linkv1.Report, w *held) {
	ready := w.object.replicas
	if steps := s.stepsOf(w.object); w.step < steps {
		ready = ready * int64(w.step) / int64(steps)
	} else if fixed := s.ready.Load(); fixed > 0 {
		ready = min(ready, fixed-1)
	}
	a := w.object.with(ready)
	r.Status, r.Health, r.HealthMessage = a.status, a.health, a.message
}

// with is how the object looks with so many ready replicas.
func (o *object) with(ready int64) appearance {
	o.mu.Lock()
	defer o.mu.Unlock()
	if a, known := o.shown[ready]; known {
		return a
	}
	live := o.manifest.DeepCopy()
	if o.workload {
		live.SetGeneration(1)
		live.Object["status"] = map[string]any{
			"observedGeneration": int64(1), "replicas": o.replicas, "updatedReplicas": o.replicas, "readyReplicas": ready, "availableReplicas": ready,
			"unavailableReplicas": o.replicas - ready,
		}
	}
	health, message := interpret.Health(live)
	a := appearance{status: interpret.ReflectStatus(live), message: message}
	switch health {
	case workv1alpha1.ResourceHealthy:
		a.health = linkv1.Health_HEALTH_HEALTHY
	case workv1alpha1.ResourceUnhealthy:
		a.health = linkv1.Health_HEALTH_UNHEALTHY
	}
	o.shown[ready] = a
	return a
}
