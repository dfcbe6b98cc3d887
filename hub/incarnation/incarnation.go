// Package incarnation remembers which history the hub's store tells: its name, the names of the
// histories that a restored backup has cut off, and which members have yet to agree with it.
package incarnation

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"

	"github.com/google/uuid"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/util/retry"
)

const (
	namespace = metav1.NamespaceSystem
	name      = "windlass-store"
	key       = "history"
)

// history is what is stored.
type history struct {
	// Incarnation names the present history.
	Incarnation string `json:"incarnation"`
	// Former are incarnations that this store, or one that a member has seen, had before.
	Former []string `json:"former,omitempty"`
	// Restoring are the members that have seen more than the store has, and for which somebody has
	// to confirm every deletion.
	Restoring []string `json:"restoring,omitempty"`
}

// A Keeper keeps the history of one store. It is safe for concurrent use.
type Keeper struct {
	kube kubernetes.Interface

	mu      sync.RWMutex
	present history
}

// Open reads the history of the store, and begins one in a store that has none.
func Open(ctx context.Context, kube kubernetes.Interface) (*Keeper, error) {
	k := &Keeper{kube: kube}
	return k, k.change(ctx, func(h *history) {
		if h.Incarnation == "" {
			h.Incarnation = uuid.NewString()
		}
	})
}

// Incarnation names the present history.
func (k *Keeper) Incarnation() string {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.present.Incarnation
}

// Restoring says whether every deletion in a member has to be confirmed.
func (k *Keeper) Restoring(cluster string) bool {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return slices.Contains(k.present.Restoring, cluster)
}

// EnterRestore puts a member into restore mode that has seen more, in the incarnation seen, than
// the store has. Unless that was noticed before, by another member, the store gets a new
// incarnation, so that the same backup restored twice is noticed twice.
func (k *Keeper) EnterRestore(ctx context.Context, cluster, seen string) error {
	return k.change(ctx, func(h *history) {
		if !slices.Contains(h.Former, seen) {
			for _, former := range []string{h.Incarnation, seen} {
				if former != "" && !slices.Contains(h.Former, former) {
					h.Former = append(h.Former, former)
				}
			}
			h.Incarnation = uuid.NewString()
		}
		if !slices.Contains(h.Restoring, cluster) {
			h.Restoring = append(h.Restoring, cluster)
		}
	})
}

// LeaveRestore takes a member out of restore mode: somebody has confirmed what is to be deleted.
func (k *Keeper) LeaveRestore(ctx context.Context, cluster string) error {
	return k.change(ctx, func(h *history) {
		h.Restoring = slices.DeleteFunc(h.Restoring, func(c string) bool { return c == cluster })
	})
}

// change writes the history before anybody is told of it.
func (k *Keeper) change(ctx context.Context, change func(*history)) error {
	client := k.kube.CoreV1().ConfigMaps(namespace)
	err := retry.OnError(retry.DefaultBackoff, lost, func() error {
		stored, err := client.Get(ctx, name, metav1.GetOptions{})
		missing := apierrors.IsNotFound(err)
		if err != nil && !missing {
			return err
		}
		var h history
		if !missing {
			if err := json.Unmarshal([]byte(stored.Data[key]), &h); err != nil {
				return fmt.Errorf("it is not readable: %w", err)
			}
		}
		before, _ := json.Marshal(h)
		change(&h)
		after, err := json.Marshal(h)
		if err != nil {
			return err
		}
		if missing {
			_, err = client.Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}, Data: map[string]string{key: string(after)}}, metav1.CreateOptions{})
		} else if string(before) != string(after) {
			stored.Data = map[string]string{key: string(after)}
			_, err = client.Update(ctx, stored, metav1.UpdateOptions{})
		}
		if err != nil {
			return err
		}
		k.mu.Lock()
		k.present = h
		k.mu.Unlock()
		return nil
	})
	if err != nil {
		return fmt.Errorf("keeping the history of the store in ConfigMap %s/%s: %w", namespace, name, err)
	}
	return nil
}

// lost says whether another writer, or the making of the namespace at the very first start, was in
// the way.
func lost(err error) bool {
	return apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) || apierrors.IsNotFound(err)
}
