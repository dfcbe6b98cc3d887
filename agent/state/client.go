package state

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// SecretClient reads and writes the Secrets of a namespace, as the agent's client does and those of client-go.
type SecretClient interface {
	Get(ctx context.Context, name string, options metav1.GetOptions) (*corev1.Secret, error)
	List(ctx context.Context, options metav1.ListOptions) (*corev1.SecretList, error)
	Create(ctx context.Context, secret *corev1.Secret, options metav1.CreateOptions) (*corev1.Secret, error)
	Update(ctx context.Context, secret *corev1.Secret, options metav1.UpdateOptions) (*corev1.Secret, error)
	Delete(ctx context.Context, name string, options metav1.DeleteOptions) error
}

// apiSecrets are the Secrets of a namespace in a member's API server.
type apiSecrets struct {
	client SecretClient
}

// NewSecrets returns the Secrets that a client reads and writes.
func NewSecrets(client SecretClient) Secrets { return apiSecrets{client} }

func (s apiSecrets) List(ctx context.Context) ([]corev1.Secret, error) {
	list, err := s.client.List(ctx, metav1.ListOptions{LabelSelector: StateLabel + "=true"})
	if err != nil {
		return nil, err
	}
	return list.Items, nil
}

func (s apiSecrets) Get(ctx context.Context, name string) (*corev1.Secret, error) {
	return s.client.Get(ctx, name, metav1.GetOptions{})
}

func (s apiSecrets) Create(ctx context.Context, secret *corev1.Secret) (*corev1.Secret, error) {
	return s.client.Create(ctx, secret, metav1.CreateOptions{})
}

func (s apiSecrets) Update(ctx context.Context, secret *corev1.Secret) (*corev1.Secret, error) {
	return s.client.Update(ctx, secret, metav1.UpdateOptions{})
}

func (s apiSecrets) Delete(ctx context.Context, name string) error {
	return s.client.Delete(ctx, name, metav1.DeleteOptions{})
}
