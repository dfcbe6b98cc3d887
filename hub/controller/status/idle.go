package status

import (
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	policyv1alpha1 "windlass.dev/windlass/api/policy/v1alpha1"
	"windlass.dev/windlass/hub/templates"
)

// idle are the policies that claim nothing, or override nothing. Why they do depends on objects and policies with which no binding connects
// them, so whatever happens to their kinds wakes them; and as the answer takes a look at every such object, no policy is
// looked at more often than once in an interval. The zero value is ready.
type idle struct {
	mu       sync.Mutex
	looked   map[types.NamespacedName]look
	policies map[place]map[types.NamespacedName]bool
}

// look is when a policy was looked at last, and for what.
type look struct {
	at     time.Time
	places []place
}

// place is where a policy selects: a kind in its own namespace, or in all for an empty one.
type place struct {
	kind      schema.GroupVersionKind
	namespace string
}

// wait is how long to wait before the policy may be looked at. It is not at first: most policies claim something in a
// moment.
func (i *idle) wait(key types.NamespacedName, selectors []policyv1alpha1.ResourceSelector, every time.Duration, now time.Time) time.Duration {
	i.mu.Lock()
	defer i.mu.Unlock()
	before, there := i.looked[key]
	if wait := before.at.Add(every).Sub(now); there && wait > 0 {
		return wait
	}
	i.drop(key)
	i.add(key, look{now, places(key.Namespace, selectors)})
	if !there {
		return every
	}
	return 0
}

// left is what is left of that wait, of a policy that was looked at.
func (i *idle) left(key types.NamespacedName, every time.Duration, now time.Time) time.Duration {
	i.mu.Lock()
	defer i.mu.Unlock()
	before, there := i.looked[key]
	if !there {
		return 0
	}
	return before.at.Add(every).Sub(now)
}

func places(namespace string, selectors []policyv1alpha1.ResourceSelector) []place {
	var all []place
	for _, kind := range kindsOf(selectors) {
		all = append(all, place{kind, namespace})
	}
	return all
}

func (i *idle) add(key types.NamespacedName, l look) {
	if i.looked == nil {
		i.looked, i.policies = map[types.NamespacedName]look{}, map[place]map[types.NamespacedName]bool{}
	}
	i.looked[key] = l
	for _, at := range l.places {
		if i.policies[at] == nil {
			i.policies[at] = map[types.NamespacedName]bool{}
		}
		i.policies[at][key] = true
	}
}

func (i *idle) drop(key types.NamespacedName) {
	for _, at := range i.looked[key].places {
		delete(i.policies[at], key)
		if len(i.policies[at]) == 0 {
			delete(i.policies, at)
		}
	}
	delete(i.looked, key)
}

func (i *idle) forget(key types.NamespacedName) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.drop(key)
}

// lookingFor are the policies that might claim a template, or override it.
func (i *idle) lookingFor(key templates.Key) []types.NamespacedName {
	i.mu.Lock()
	defer i.mu.Unlock()
	keys := []types.NamespacedName{}
	for _, namespace := range slices.Compact([]string{"", key.Namespace}) {
		for policy := range i.policies[place{key.GroupVersionKind, namespace}] {
			keys = append(keys, policy)
		}
	}
	return keys
}

// beside are the policies that look for the kinds of one whose spec has changed: what comes before them, and why, may be
// another policy now.
func (i *idle) beside(old, new policyv1alpha1.Policy) []types.NamespacedName {
	if old == nil || new == nil || old.GetGeneration() == new.GetGeneration() {
		return nil // of a policy that comes or goes, the marks of the templates tell
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	keys := []types.NamespacedName{}
	for at, policies := range i.policies {
		if !selects(new, at.kind) && !selects(old, at.kind) {
			continue
		}
		for policy := range policies {
			keys = append(keys, policy)
		}
	}
	return keys
}
