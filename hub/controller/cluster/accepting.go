package cluster

import "sync"

// Accepting remembers for which clusters works may be written: their execution namespace is there
// and they are not being removed. It is safe for concurrent use.
type Accepting struct {
	// Begin is called, without a lock held, when works may be written for a cluster. It must be set
	// before the first change.
	Begin func(cluster string)

	mu       sync.RWMutex
	clusters map[string]bool
}

// Accepts says whether works may be written for a cluster.
func (a *Accepting) Accepts(cluster string) bool {
	a.mu.RLock()
	defer a.mu.RUnlock()
	return a.clusters[cluster]
}

// stand accepts what was accepted before the process began: that is no beginning.
func (a *Accepting) stand(cluster string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.clusters == nil {
		a.clusters = map[string]bool{}
	}
	a.clusters[cluster] = true
}

func (a *Accepting) set(cluster string, accepts bool) {
	a.mu.Lock()
	if a.clusters == nil {
		a.clusters = map[string]bool{}
	}
	began := accepts && !a.clusters[cluster]
	if accepts {
		a.clusters[cluster] = true
	} else {
		delete(a.clusters, cluster)
	}
	a.mu.Unlock()
	if began && a.Begin != nil {
		a.Begin(cluster)
	}
}
