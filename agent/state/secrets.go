package state

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Secrets reads and writes the Secrets of the agent's namespace in the member. Errors are those of
// an API server.
type Secrets interface {
	// List returns those with StateLabel.
	List(ctx context.Context) ([]corev1.Secret, error)
	Get(ctx context.Context, name string) (*corev1.Secret, error)
	Create(ctx context.Context, secret *corev1.Secret) (*corev1.Secret, error)
	Update(ctx context.Context, secret *corev1.Secret) (*corev1.Secret, error)
	Delete(ctx context.Context, name string) error
}

const (
	// StateLabel marks every Secret of the state.
	StateLabel = "windlass.dev/agent-state"
	// writerAnnotation names the process that wrote a Secret.
	writerAnnotation = "windlass.dev/writer"

	contentKey = "content"
	sumKey     = "sha256"
)

func newSecret(name, writer string, data map[string][]byte) *corev1.Secret {
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Name:        name,
			Labels:      map[string]string{StateLabel: "true"},
			Annotations: map[string]string{writerAnnotation: writer},
			// One empty entry has the member's API server keep no account of who set which field: nobody but an agent writes
			// these, and to keep it the server compares all of the content with what was there, at every write.
			ManagedFields: []metav1.ManagedFieldsEntry{{}},
		},
		Type: corev1.SecretTypeOpaque,
		Data: data,
	}
}

// seal writes content as JSON, compressed, with a checksum.
func seal(content any) (map[string][]byte, error) {
	raw, err := json.Marshal(content)
	if err != nil {
		return nil, fmt.Errorf("writing the state: %w", err)
	}
	return sealed(compress(raw)), nil
}

func sealed(compressed []byte) map[string][]byte {
	sum := sha256.Sum256(compressed)
	return map[string][]byte{contentKey: compressed, sumKey: sum[:]}
}

// unseal checks the checksum and returns what was sealed.
func unseal(secret *corev1.Secret) ([]byte, error) {
	compressed, err := checked(secret)
	if err != nil {
		return nil, err
	}
	raw, err := decompress(compressed)
	if err != nil {
		return nil, fmt.Errorf("reading Secret %s: %w", secret.Name, err)
	}
	return raw, nil
}

func checked(secret *corev1.Secret) ([]byte, error) {
	content := secret.Data[contentKey]
	if sum := sha256.Sum256(content); !bytes.Equal(sum[:], secret.Data[sumKey]) {
		return nil, fmt.Errorf("reading Secret %s: its checksum is wrong", secret.Name)
	}
	return content, nil
}

// compressor is kept for good: a new one takes a megabyte, and an agent whose changes come one by one would make one
// for each. A sync.Pool does not help there, for the collector empties it in between.
var compressor struct {
	sync.Mutex
	*gzip.Writer
}

func compress(raw []byte) []byte {
	compressor.Lock()
	defer compressor.Unlock()
	if compressor.Writer == nil {
		compressor.Writer, _ = gzip.NewWriterLevel(nil, gzip.BestSpeed) // the level is one of gzip's own
	}
	var out bytes.Buffer
	compressor.Reset(&out)
	_, _ = compressor.Write(raw) // a buffer takes every write
	_ = compressor.Close()
	return out.Bytes()
}

// maxDecompressed bounds what a Secret can hold in memory: no shard comes near it.
const maxDecompressed = 256 << 20

func decompress(compressed []byte) ([]byte, error) {
	r, err := gzip.NewReader(bytes.NewReader(compressed))
	if err != nil {
		return nil, err
	}
	raw, err := io.ReadAll(io.LimitReader(r, maxDecompressed+1))
	if err != nil {
		return nil, err
	}
	if len(raw) > maxDecompressed {
		return nil, errors.New("it holds more than an agent ever writes")
	}
	return raw, nil
}
