package hub

import (
	"context"
	"fmt"
	"maps"
	"net"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
)

const (
	publicNamespace = "kube-public"
	publicName      = "windlass-hub"
)

// publish writes down how agents reach this hub, for whoever makes join tokens. On the very first
// start it waits for the namespace, which the API server makes a moment after it is ready.
func (h *hub) publish(ctx context.Context) error {
	err := wait.PollUntilContextTimeout(ctx, 50*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
		err := h.writePublic(ctx)
		if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
			return false, nil
		}
		return err == nil, err
	})
	if err != nil {
		return fmt.Errorf("writing ConfigMap %s/%s: %w", publicNamespace, publicName, err)
	}
	return nil
}

func (h *hub) writePublic(ctx context.Context) error {
	data := map[string]string{
		"hubID":       h.pki.HubID(),
		"linkAddress": net.JoinHostPort(h.config.AdvertiseAddress, strconv.Itoa(h.advertisedLinkPort())),
	}
	client := h.kube.CoreV1().ConfigMaps(publicNamespace)
	existing, err := client.Get(ctx, publicName, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		_, err = client.Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: publicName}, Data: data}, metav1.CreateOptions{})
		return err
	}
	if err != nil || maps.Equal(existing.Data, data) {
		return err
	}
	existing.Data = data
	_, err = client.Update(ctx, existing, metav1.UpdateOptions{})
	return err
}
