package handout

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"windlass.dev/windlass/hub/pki"
)

func handout(t *testing.T, objects ...runtime.Object) (Config, *fake.Clientset) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "admin.kubeconfig")
	err := clientcmd.WriteToFile(clientcmdapi.Config{
		Clusters:       map[string]*clientcmdapi.Cluster{"windlass": {Server: "https://hub.example.test:443", CertificateAuthorityData: []byte("ca")}},
		AuthInfos:      map[string]*clientcmdapi.AuthInfo{"admin": {Token: "t"}},
		Contexts:       map[string]*clientcmdapi.Context{"windlass": {Cluster: "windlass", AuthInfo: "admin"}},
		CurrentContext: "windlass",
	}, path)
	if err != nil {
		t.Fatal(err)
	}
	client := fake.NewClientset(objects...)
	return Config{
		Namespace: "hub", Name: "admin", Path: path, Server: "https://hub.hub.svc:6443", Client: client,
		Log: slog.New(slog.DiscardHandler), Retry: time.Second, Interval: time.Minute,
	}, client
}

func stored(t *testing.T, client *fake.Clientset) *corev1.Secret {
	t.Helper()
	secret, err := client.CoreV1().Secrets("hub").Get(t.Context(), "admin", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return secret
}

func TestTheSecretIsTheKubeconfigWithTheServerThatItsReadersReach(t *testing.T) {
	for said, want := range map[string]string{"": "https://hub.example.test:443", "https://hub.hub.svc:6443": "https://hub.hub.svc:6443"} {
		config, client := handout(t)
		config.Server = said
		if changed, err := config.write(t.Context()); err != nil || !changed {
			t.Fatalf("changed %t, error %v", changed, err)
		}
		got, err := clientcmd.Load(stored(t, client).Data[Key])
		if err != nil {
			t.Fatal(err)
		}
		context := got.Contexts[got.CurrentContext]
		if cluster := got.Clusters[context.Cluster]; cluster.Server != want || string(cluster.CertificateAuthorityData) != "ca" || context.AuthInfo != "admin" {
			t.Errorf("with the server %q: %+v of %+v", said, context, cluster)
		}
		if changed, err := config.write(t.Context()); err != nil || changed {
			t.Errorf("the second time: changed %t, error %v", changed, err)
		}
	}
}

func TestTheAuthoritiesOfAnotherCertificateStandBesideTheHubs(t *testing.T) {
	other, err := pki.LoadOrCreate(t.TempDir(), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	authority := string(other.Hub.PEM())
	for _, c := range []struct {
		reason, content string
		want, says      string
	}{
		{"an authority", authority, "ca" + authority, ""},
		{"none, in an empty file", "\n", "ca", ""},
		{"none", "", "ca", ""},
		{"something else", "secret", "", "holds no certificate in PEM"},
	} {
		t.Run(c.reason, func(t *testing.T) {
			config, _ := handout(t)
			config.CAFile = filepath.Join(t.TempDir(), "ca.crt")
			if c.content != "" {
				if err := os.WriteFile(config.CAFile, []byte(c.content), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			content, err := config.content()
			if c.says != "" {
				if err == nil || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), c.content) {
					t.Errorf("error %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			got, err := clientcmd.Load(content)
			if err != nil {
				t.Fatal(err)
			}
			if data := string(got.Clusters["windlass"].CertificateAuthorityData); data != c.want {
				t.Errorf("it trusts %q, want %q", data, c.want)
			}
		})
	}
}

func TestWhatElseIsInTheSecretStays(t *testing.T) {
	config, client := handout(t, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "hub", Name: "admin", Labels: map[string]string{markKey: markValue}}, Data: map[string][]byte{"note": []byte("mine"), Key: []byte("old")}})
	if changed, err := config.write(t.Context()); err != nil || !changed {
		t.Fatalf("changed %t, error %v", changed, err)
	}
	if data := stored(t, client).Data; string(data["note"]) != "mine" || string(data[Key]) == "old" {
		t.Errorf("the Secret holds %q", data)
	}
}

func TestASecretOfSomebodyElseIsLeftAsItIs(t *testing.T) {
	for _, labels := range []map[string]string{nil, {markKey: "Helm"}} {
		config, client := handout(t, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "hub", Name: "admin", Labels: labels}, Data: map[string][]byte{Key: []byte("theirs")}})
		changed, err := config.write(t.Context())
		if changed || err == nil || !strings.Contains(err.Error(), "adminKubeconfig.secretName") || !strings.Contains(err.Error(), "kubectl --namespace hub label --overwrite secret admin app.kubernetes.io/managed-by=windlass-hub") {
			t.Errorf("with labels %v: changed %t, error %v", labels, changed, err)
		}
		if data := stored(t, client).Data; string(data[Key]) != "theirs" {
			t.Errorf("the Secret holds %q", data)
		}
	}
}

func TestAKubeconfigThatIsGoneSaysHowItComesBack(t *testing.T) {
	config, _ := handout(t)
	if err := os.Remove(config.Path); err != nil {
		t.Fatal(err)
	}
	if _, err := config.write(t.Context()); err == nil || !strings.Contains(err.Error(), "a restart of the hub makes it again") {
		t.Errorf("error %v", err)
	}
}

func TestARefusalIsTriedAgainAndADeletedSecretMadeAgain(t *testing.T) {
	config, client := handout(t)
	synctest.Test(t, func(t *testing.T) {
		refusals := 3
		client.PrependReactor("create", "secrets", func(clienttesting.Action) (bool, runtime.Object, error) {
			refusals--
			return refusals >= 0, nil, errors.New("forbidden")
		})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); Keep(ctx, config) }()
		time.Sleep(3*config.Retry + config.Retry/2)
		synctest.Wait()
		stored(t, client)
		if err := client.CoreV1().Secrets("hub").Delete(ctx, "admin", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(config.Interval)
		synctest.Wait()
		stored(t, client)
		cancel()
		<-done
	})
}
