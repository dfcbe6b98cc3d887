package status

import (
	"slices"
	"sync"

	"k8s.io/apimachinery/pkg/types"

	"windlass.dev/windlass/hub/templates"
	"windlass.dev/windlass/pkg/policy"
)

// proofs are templates each of which shows that a selector of an override policy selects something. One is enough: as long as it stands,
// nothing that happens to others is a reason to look at the selector. The zero value is ready.
type proofs struct {
	mu       sync.Mutex
	of       map[types.NamespacedName][]proof // by policy, one for each of its selectors
	policies map[templates.Key]map[types.NamespacedName]bool
}

// proof is about one selector; the template is empty when there is none.
type proof struct {
	template templates.Key
	selector policy.Selectors
}

func (p *proofs) get(key types.NamespacedName) []proof {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.of[key]
}

// set replaces what is known of a policy. It keeps a copy.
func (p *proofs) set(key types.NamespacedName, by []proof) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.drop(key)
	if p.of == nil {
		p.of, p.policies = map[types.NamespacedName][]proof{}, map[templates.Key]map[types.NamespacedName]bool{}
	}
	p.of[key] = slices.Clone(by)
	for _, one := range by {
		if p.policies[one.template] == nil {
			p.policies[one.template] = map[types.NamespacedName]bool{}
		}
		p.policies[one.template][key] = true
	}
}

func (p *proofs) forget(key types.NamespacedName) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.drop(key)
}

func (p *proofs) drop(key types.NamespacedName) {
	for _, one := range p.of[key] {
		delete(p.policies[one.template], key)
		if len(p.policies[one.template]) == 0 {
			delete(p.policies, one.template)
		}
	}
	delete(p.of, key)
}

// lost are the policies for which a template that has changed proves something no more.
func (p *proofs) lost(template templates.Key, stands func(proof) bool) []types.NamespacedName {
	p.mu.Lock()
	defer p.mu.Unlock()
	var keys []types.NamespacedName
	for key := range p.policies[template] {
		if slices.ContainsFunc(p.of[key], func(by proof) bool { return by.template == template && !stands(by) }) {
			keys = append(keys, key)
		}
	}
	return keys
}
