// Package handout alone is responsible for handing out the admin kubeconfig in the cluster where the hub
// itself runs as a pod: as a Secret beside it. Of that cluster the hub needs nothing else.
package handout

import (
	"bytes"
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// Key is where the kubeconfig stands in the Secret.
const Key = "kubeconfig"

// Config says what is handed out, and where. All fields but Server and CAFile are needed.
type Config struct {
	// Namespace and Name of the Secret.
	Namespace, Name string
	// Path of the kubeconfig.
	Path string
	// Server, if set, stands in it as the URL of the hub's API: that of the file may lead around the cluster.
	Server string
	// CAFile, if it is there, holds authorities that are trusted beside the hub's own, PEM.
	CAFile string
	Client kubernetes.Interface
	Log    *slog.Logger
	// Retry is the wait after a failure, and Interval the time after which the Secret is looked at again:
	// somebody may have deleted it.
	Retry, Interval time.Duration
}

// Local returns a client of the cluster that this process is a pod of, and the pod's namespace. It is an
// error to call it elsewhere.
func Local() (kubernetes.Interface, string, error) {
	config, err := rest.InClusterConfig()
	if err != nil {
		return nil, "", err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, "", err
	}
	namespace, err := os.ReadFile("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
	if err != nil {
		return nil, "", fmt.Errorf("reading the pod's namespace: %w", err)
	}
	return client, strings.TrimSpace(string(namespace)), nil
}

// Keep keeps the Secret as the kubeconfig is, until ctx ends. A cluster that refuses it does not stop the
// hub: it is told in the log, and tried again.
func Keep(ctx context.Context, config Config) {
	refused := ""
	for {
		wait := config.Interval
		changed, err := config.write(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			wait = config.Retry
			if refused != err.Error() {
				refused = err.Error()
				config.Log.Warn("The admin kubeconfig could not be written as a Secret; trying again.",
					"namespace", config.Namespace, "secret", config.Name, "error", err)
			}
		case changed:
			config.Log.Info("The admin kubeconfig is written as a Secret.", "namespace", config.Namespace, "secret", config.Name)
		}
		if err == nil {
			refused = ""
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// By this label a Secret says that a hub has made it, or may write into it.
const (
	markKey   = "app.kubernetes.io/managed-by"
	markValue = "windlass-hub"
)

// write makes the Secret hold the kubeconfig. What else somebody put into the Secret stays, and one that is somebody
// else's is not touched.
func (c Config) write(ctx context.Context) (changed bool, err error) {
	content, err := c.content()
	if err != nil {
		return false, err
	}
	secrets := c.Client.CoreV1().Secrets(c.Namespace)
	existing, err := secrets.Get(ctx, c.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		_, err = secrets.Create(ctx, &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Name: c.Name, Labels: map[string]string{markKey: markValue}},
			Type:       corev1.SecretTypeOpaque,
			Data:       map[string][]byte{Key: content},
		}, metav1.CreateOptions{})
		return err == nil, err
	}
	if err != nil || bytes.Equal(existing.Data[Key], content) {
		return false, err
	}
	if existing.Labels[markKey] != markValue {
		return false, fmt.Errorf("there is a Secret %s that no hub has made, and it is left as it is: choose another name (kubeconfigSecret.name; in the chart adminKubeconfig.secretName), or let the hub have it by kubectl --namespace %s label --overwrite secret %s %s=%s",
			c.Name, c.Namespace, c.Name, markKey, markValue)
	}
	if existing.Data == nil {
		existing.Data = map[string][]byte{}
	}
	existing.Data[Key] = content
	_, err = secrets.Update(ctx, existing, metav1.UpdateOptions{})
	return err == nil, err
}

// content is the kubeconfig as the Secret has it.
func (c Config) content() ([]byte, error) {
	config, err := clientcmd.LoadFromFile(c.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("the kubeconfig %s is gone; a restart of the hub makes it again", c.Path)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the kubeconfig %s: %w", c.Path, err)
	}
	further, err := c.authorities()
	if err != nil {
		return nil, err
	}
	for _, cluster := range config.Clusters {
		cluster.Server = cmp.Or(c.Server, cluster.Server)
		cluster.CertificateAuthorityData = append(cluster.CertificateAuthorityData, further...)
	}
	return clientcmd.Write(*config)
}

// authorities are those beside the hub's own. Whoever makes certificates may leave the file away: of public authorities
// nobody needs it.
func (c Config) authorities() ([]byte, error) {
	if c.CAFile == "" {
		return nil, nil
	}
	content, err := os.ReadFile(c.CAFile)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(bytes.TrimSpace(content)) == 0 {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the authorities of the API's certificate: %w", err)
	}
	if !x509.NewCertPool().AppendCertsFromPEM(content) {
		return nil, fmt.Errorf("%s holds no certificate in PEM", c.CAFile)
	}
	return content, nil
}
