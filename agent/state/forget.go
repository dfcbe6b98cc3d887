package state

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// Forget deletes everything that is kept in the member, and no object that was applied. No Store may
// be at work on it. When it has failed half-way it is to be called again before anything is loaded.
func Forget(ctx context.Context, secrets Secrets) error {
	kept, err := secrets.List(ctx)
	if err != nil {
		return fmt.Errorf("reading the desired state that is to be forgotten: %w", err)
	}
	for _, secret := range kept {
		if err := secrets.Delete(ctx, secret.Name); err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("forgetting Secret %s of the desired state: %w", secret.Name, err)
		}
	}
	return nil
}
