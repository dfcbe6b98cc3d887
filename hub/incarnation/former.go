package incarnation

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"windlass.dev/windlass/pkg/session"
)

// Where hubs kept the history before there were eras.
const (
	formerNamespace = metav1.NamespaceSystem
	formerName      = "windlass-store"
	formerKey       = "history"
)

// TakeOverFormer takes over what an earlier version of the hub has left in a ConfigMap: the incarnation
// that agents know becomes the first era. It is called before the first View.
func (k *Keeper) TakeOverFormer(ctx context.Context, kube kubernetes.Interface) error {
	client := kube.CoreV1().ConfigMaps(formerNamespace)
	stored, err := client.Get(ctx, formerName, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading the history of the store in ConfigMap %s/%s: %w", formerNamespace, formerName, err)
	}
	var former struct {
		Incarnation string   `json:"incarnation"`
		Restoring   []string `json:"restoring"`
	}
	if err := json.Unmarshal([]byte(stored.Data[formerKey]), &former); err != nil {
		return fmt.Errorf("reading the history of the store in ConfigMap %s/%s: %w", formerNamespace, formerName, err)
	}
	_, _, err = k.change(ctx, func(r *record, _ int64) {
		if former.Incarnation != "" && !r.Has(former.Incarnation) {
			r.Eras = slices.Insert(r.Eras, 0, session.Era{ID: former.Incarnation})
		}
		for _, cluster := range former.Restoring {
			if !slices.Contains(r.Restoring, cluster) {
				r.Restoring = append(r.Restoring, cluster)
			}
		}
	})
	if err != nil {
		return err
	}
	// Once, and not again: an era that the chain has dropped must not come back as its first.
	if err := client.Delete(ctx, formerName, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("deleting ConfigMap %s/%s, whose content is kept elsewhere now: %w", formerNamespace, formerName, err)
	}
	return nil
}
