package status

import (
	"sync"

	"k8s.io/apimachinery/pkg/types"

	"windlass.dev/windlass/hub/templates"
	"windlass.dev/windlass/pkg/policy"
)

// proofs are templates each of which shows that an override policy selects something. One is enough: as long as it stands,
// nothing that happens to others is a reason to look at the policy. The zero value is ready.
type proofs struct {
	mu       sync.Mutex
	of       map[types.NamespacedName]proof // by policy
	policies map[templates.Key]map[types.NamespacedName]bool
}

type proof struct {
	template  templates.Key
	selectors policy.Selectors // of the policy
}

func (p *proofs) get(key types.NamespacedName) (templates.Key, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	proof, ok := p.of[key]
	return proof.template, ok
}

func (p *proofs) set(key types.NamespacedName, by proof) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.drop(key)
	if p.of == nil {
		p.of, p.policies = map[types.NamespacedName]proof{}, map[templates.Key]map[types.NamespacedName]bool{}
	}
	p.of[key] = by
	if p.policies[by.template] == nil {
		p.policies[by.template] = map[types.NamespacedName]bool{}
	}
	p.policies[by.template][key] = true
}

func (p *proofs) forget(key types.NamespacedName) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.drop(key)
}

func (p *proofs) drop(key types.NamespacedName) {
	proof, ok := p.of[key]
	if !ok {
		return
	}
	delete(p.of, key)
	delete(p.policies[proof.template], key)
	if len(p.policies[proof.template]) == 0 {
		delete(p.policies, proof.template)
	}
}

// lost are the policies for which a template that has changed proves nothing any more.
func (p *proofs) lost(template templates.Key, stands func(proof) bool) []types.NamespacedName {
	p.mu.Lock()
	defer p.mu.Unlock()
	var keys []types.NamespacedName
	for key := range p.policies[template] {
		if !stands(p.of[key]) {
			keys = append(keys, key)
		}
	}
	return keys
}
