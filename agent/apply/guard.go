package apply

import (
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"windlass.dev/windlass/pkg/manifest"
)

// guardsID says why no work may touch the object with this identity; nil when it may.
func (e *Engine) guardsID(id manifest.ID) *failure {
	if own := id.Namespace; e.isOwn(own) {
		return guardedAsOwn(own)
	}
	if id.Group == "" && id.Kind == "Namespace" && e.isOwn(id.Name) {
		return guardedAsOwn(id.Name)
	}
	return guardedBy(e.config.Guard.RuleOf(id))
}

// guards is guardsID for an object that is known whole.
func (e *Engine) guards(object *unstructured.Unstructured) *failure {
	if guarded := e.guardsID(manifest.IDOf(object)); guarded != nil {
		return guarded
	}
	return guardedBy(e.config.Guard.Rule(object))
}

func (e *Engine) isOwn(namespace string) bool {
	return namespace != "" && (namespace == e.config.StateNamespace || namespace == e.config.PodNamespace)
}

func guardedAsOwn(namespace string) *failure {
	return failf(reasonGuarded, "namespace %s is the agent's own: no work may write there", namespace)
}

func guardedBy(rule string) *failure {
	if rule == "" {
		return nil
	}
	return failf(reasonGuarded, "the cluster's owner forbids it by %s in the configuration of the cluster's agent; only there can that be changed", rule)
}

// leave tells that a guarded object is not removed. The removal goes on without it: who guards an
// object keeps it, and holds up nobody who has no use for it any more.
func (e *Engine) leave(key string, o manifest.Object, guarded *failure) {
	e.config.Logger.Info("A guarded object that its work does not hold any more is left as it is.",
		"object", o.ID, "work", key, "why", guarded.message)
}
