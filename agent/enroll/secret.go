package enroll

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// SecretName is the Secret in the agent's state namespace that holds its identity.
const SecretName = "windlass-agent-identity"

// Keys of the Secret.
const (
	keyKey           = "tls.key"
	keyCertificate   = "tls.crt"
	keyHubCA         = "hub-ca.crt"
	keyHubID         = "hub-id"
	keyHub           = "hub"
	keyClusterName   = "cluster-name"
	keyClusterID     = "cluster-id"
	keyKubeSystemUID = "kube-system-uid"
	keyTokenID       = "token-id"
	keyRefused       = "refused"
	keyRemoved       = "removed"
	keyPendingKey    = "pending.key"
	keyPendingToken  = "pending-token-id"
)

// Secrets reads and writes the Secrets of the agent's namespace, as the agent's client does and those of client-go.
type Secrets interface {
	Get(ctx context.Context, name string, options metav1.GetOptions) (*corev1.Secret, error)
	Create(ctx context.Context, secret *corev1.Secret, options metav1.CreateOptions) (*corev1.Secret, error)
	Update(ctx context.Context, secret *corev1.Secret, options metav1.UpdateOptions) (*corev1.Secret, error)
}

// Namespaces reads and makes namespaces.
type Namespaces interface {
	Get(ctx context.Context, name string, options metav1.GetOptions) (*corev1.Namespace, error)
	Create(ctx context.Context, namespace *corev1.Namespace, options metav1.CreateOptions) (*corev1.Namespace, error)
}

// SecretStore keeps the identity in a Secret of the member. It is safe for concurrent use, also by
// several agents.
type SecretStore struct {
	secrets    Secrets
	namespaces Namespaces
	namespace  string
}

var _ Store = (*SecretStore)(nil)

// NewSecretStore makes a store of the Secrets of a namespace, which is created by the first Save when it is missing.
func NewSecretStore(secrets Secrets, namespaces Namespaces, namespace string) *SecretStore {
	return &SecretStore{secrets: secrets, namespaces: namespaces, namespace: namespace}
}

// Name names the Secret.
func (s *SecretStore) Name() string { return "Secret " + s.namespace + "/" + SecretName }

// Load reads the Secret.
func (s *SecretStore) Load(ctx context.Context) (Stored, error) {
	secret, err := s.secrets.Get(ctx, SecretName, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return Stored{}, nil
	}
	if err != nil {
		return Stored{}, fmt.Errorf("reading the agent's identity from %s: %w", s.Name(), err)
	}
	return fromSecret(secret), nil
}

func fromSecret(secret *corev1.Secret) Stored {
	text := func(key string) string { return string(secret.Data[key]) }
	return Stored{
		Key: secret.Data[keyKey], Certificate: secret.Data[keyCertificate], HubCA: secret.Data[keyHubCA],
		HubID: text(keyHubID), ClusterName: text(keyClusterName), ClusterID: text(keyClusterID), Hub: text(keyHub),
		KubeSystemUID: text(keyKubeSystemUID), TokenID: text(keyTokenID), Refused: text(keyRefused), Removed: text(keyRemoved) != "",
		PendingKey: secret.Data[keyPendingKey], PendingToken: text(keyPendingToken),
		Version: secret.ResourceVersion,
	}
}

func toData(s Stored) map[string][]byte {
	data := map[string][]byte{
		keyKey: s.Key, keyCertificate: s.Certificate, keyHubCA: s.HubCA,
		keyHubID: []byte(s.HubID), keyClusterName: []byte(s.ClusterName), keyClusterID: []byte(s.ClusterID), keyHub: []byte(s.Hub),
		keyKubeSystemUID: []byte(s.KubeSystemUID), keyTokenID: []byte(s.TokenID), keyRefused: []byte(s.Refused),
		keyPendingKey: s.PendingKey, keyPendingToken: []byte(s.PendingToken),
	}
	if s.Removed {
		data[keyRemoved] = []byte("true")
	}
	for key, value := range data {
		if len(value) == 0 {
			delete(data, key)
		}
	}
	return data
}

// Save writes the Secret whole, under the resourceVersion that was read.
func (s *SecretStore) Save(ctx context.Context, state Stored) (Stored, error) {
	write := s.update
	if state.Version == "" {
		write = s.create
	}
	secret, err := write(ctx, state)
	switch {
	case apierrors.IsConflict(err), apierrors.IsAlreadyExists(err), apierrors.IsNotFound(err), errors.Is(err, ErrChanged):
		return Stored{}, ErrChanged
	case err != nil:
		return Stored{}, fmt.Errorf("writing the agent's identity to %s: %w", s.Name(), err)
	}
	return fromSecret(secret), nil
}

func (s *SecretStore) create(ctx context.Context, state Stored) (*corev1.Secret, error) {
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: SecretName, Namespace: s.namespace, Labels: map[string]string{"app.kubernetes.io/managed-by": "windlass-agent"}},
		Type:       corev1.SecretTypeOpaque,
		Data:       toData(state),
	}
	created, err := s.secrets.Create(ctx, secret, metav1.CreateOptions{})
	if !apierrors.IsNotFound(err) {
		return created, err
	}
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: s.namespace}}
	if _, err := s.namespaces.Create(ctx, namespace, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		return nil, fmt.Errorf("making the missing namespace %s: %w", s.namespace, err)
	}
	return s.secrets.Create(ctx, secret, metav1.CreateOptions{})
}

// update keeps what others have written on the Secret's metadata.
func (s *SecretStore) update(ctx context.Context, state Stored) (*corev1.Secret, error) {
	secret, err := s.secrets.Get(ctx, SecretName, metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	if secret.ResourceVersion != state.Version {
		return nil, ErrChanged
	}
	secret.Data = toData(state)
	return s.secrets.Update(ctx, secret, metav1.UpdateOptions{})
}

// KubeSystemUID reads what tells the member from every other cluster.
func KubeSystemUID(ctx context.Context, namespaces Namespaces) (string, error) {
	namespace, err := namespaces.Get(ctx, metav1.NamespaceSystem, metav1.GetOptions{})
	if err != nil {
		return "", fmt.Errorf("reading the namespace %s, whose UID tells this cluster from others: %w", metav1.NamespaceSystem, err)
	}
	return string(namespace.UID), nil
}
