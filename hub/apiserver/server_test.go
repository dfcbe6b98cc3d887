package apiserver_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	clientv3 "go.etcd.io/etcd/client/v3"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"

	"windlass.dev/windlass/hub/apiserver"
	"windlass.dev/windlass/hub/etcd"
	"windlass.dev/windlass/hub/pki"
)

func TestTheHubServesNativeKinds(t *testing.T) {
	makeNamespace(t, "native")
	configMap := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "a"}, Data: map[string]string{"k": "v"}}
	if _, err := hub.client.CoreV1().ConfigMaps("native").Create(t.Context(), configMap, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	stored, err := hub.client.CoreV1().ConfigMaps("native").Get(t.Context(), "a", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if stored.Data["k"] != "v" {
		t.Errorf("read back %v", stored.Data)
	}
	version, err := hub.client.Discovery().ServerVersion()
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(version.GitVersion, "v1.") || strings.Contains(version.GitVersion, "$") {
		t.Errorf("the server says that its version is %q, which clients cannot read", version.GitVersion)
	}
}

func TestWithoutCredentialsThereIsHealthAndNothingElse(t *testing.T) {
	anonymous := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: hubRoots(t)}}}
	for _, c := range []struct {
		path string
		want int
	}{
		{"/livez", http.StatusOK},
		{"/readyz", http.StatusOK},
		{"/api/v1/namespaces", http.StatusUnauthorized},
		{"/metrics", http.StatusUnauthorized},
		{"/version", http.StatusUnauthorized},
	} {
		t.Run(c.path, func(t *testing.T) {
			reply, err := anonymous.Get("https://" + hub.server.Address().String() + c.path)
			if err != nil {
				t.Fatal(err)
			}
			defer reply.Body.Close()
			if reply.StatusCode != c.want {
				t.Errorf("status %d, want %d", reply.StatusCode, c.want)
			}
		})
	}
}

func TestTheServingCertificateCarriesTheGivenNames(t *testing.T) {
	connection, err := tls.Dial("tcp", hub.server.Address().String(), &tls.Config{RootCAs: hubRoots(t), ServerName: "hub.example"})
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
}

func hubRoots(t *testing.T) *x509.CertPool {
	t.Helper()
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(hub.admin.CAData) {
		t.Fatal("the kubeconfig has no authority")
	}
	return roots
}

func TestServiceAccountTokensAreGoodForWhatRBACGrants(t *testing.T) {
	ctx := t.Context()
	makeNamespace(t, "accounts")
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "reader"}}
	if _, err := hub.client.CoreV1().ServiceAccounts("accounts").Create(ctx, account, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	binding := &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "reader"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "view"},
		Subjects:   []rbacv1.Subject{{Kind: "ServiceAccount", Name: "reader", Namespace: "accounts"}},
	}
	if _, err := hub.client.RbacV1().RoleBindings("accounts").Create(ctx, binding, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "token", Annotations: map[string]string{corev1.ServiceAccountNameKey: "reader"}},
		Type:       corev1.SecretTypeServiceAccountToken,
	}
	if _, err := hub.client.CoreV1().Secrets("accounts").Create(ctx, secret, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	var token []byte
	eventually(t, "the token's Secret is filled in", func(ctx context.Context) (bool, error) {
		filled, err := hub.client.CoreV1().Secrets("accounts").Get(ctx, "token", metav1.GetOptions{})
		if err != nil {
			return false, err
		}
		token = filled.Data[corev1.ServiceAccountTokenKey]
		return len(token) > 0, nil
	})
	config := &rest.Config{Host: hub.admin.Host, BearerToken: string(token), TLSClientConfig: rest.TLSClientConfig{CAData: hub.admin.CAData}}
	eventually(t, "the role binding is in force", func(ctx context.Context) (bool, error) {
		return status(ctx, t, config, "/api/v1/namespaces/accounts/configmaps") == http.StatusOK, nil
	})
	if got := status(ctx, t, config, "/api/v1/namespaces/default/configmaps"); got != http.StatusForbidden {
		t.Errorf("another namespace answers %d, want 403", got)
	}
}

func status(ctx context.Context, t *testing.T, config *rest.Config, path string) int {
	t.Helper()
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		t.Fatal(err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, config.Host+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	reply, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer reply.Body.Close()
	return reply.StatusCode
}

func TestWhatIsSecretIsNeverInTheStoreInTheClear(t *testing.T) {
	ctx := t.Context()
	makeNamespace(t, "encrypted")
	makeNamespace(t, "karmada-es-encrypted")
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "s"}, StringData: map[string]string{"k": "open sesame"}}
	if _, err := hub.client.CoreV1().Secrets("encrypted").Create(ctx, secret, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	configMap := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "c"}, Data: map[string]string{"k": "open sesame"}}
	if _, err := hub.client.CoreV1().ConfigMaps("encrypted").Create(ctx, configMap, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := hub.server.Stores.Works.Create(ctx, newWork("encrypted", "w", `{"apiVersion":"v1","kind":"Secret","metadata":{"name":"open sesame"}}`)); err != nil {
		t.Fatal(err)
	}
	token := newJoinToken("encrypted")
	if _, err := hub.server.Stores.JoinTokens.Create(ctx, token); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		key, plain string
		encrypted  bool
	}{
		{key: "/registry/secrets/encrypted/s", plain: "open sesame", encrypted: true},
		{key: "/registry/propagationworks/karmada-es-encrypted/w", plain: "open sesame", encrypted: true},
		{key: "/registry/jointokens/encrypted", plain: token.Spec.SecretHash, encrypted: true},
		{key: "/registry/configmaps/encrypted/c", plain: "open sesame"},
	} {
		t.Run(c.key, func(t *testing.T) {
			value := raw(t, hub.store, c.key)
			if got := bytes.HasPrefix(value, []byte("k8s:enc:secretbox:v1:hub:")); got != c.encrypted {
				t.Errorf("encrypted: %t, want %t; the value begins %q", got, c.encrypted, value[:min(len(value), 30)])
			}
			if got := bytes.Contains(value, []byte(c.plain)); got == c.encrypted {
				t.Errorf("the content can be read: %t", got)
			}
		})
	}
}

func TestTheKeyOfTheStoreIsNotWrittenBesideIt(t *testing.T) {
	dir, store, set := newStore(t)
	set.Derived = filepath.Join(dir, "derived")
	if err := os.Mkdir(set.Derived, 0o700); err != nil {
		t.Fatal(err)
	}
	key := []byte(base64.StdEncoding.EncodeToString(set.EncryptionKey))
	former := filepath.Join(set.Derived, "encryption-config.yaml")
	if err := os.WriteFile(former, key, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := apiserver.New(t.Context(), apiserver.Config{Store: store, PKI: set, Listen: "127.0.0.1:0", LogLevel: slog.LevelError}); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(former); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what a former hub has written is still there: %v", err)
	}
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case path == set.Dir:
			return fs.SkipDir
		case !entry.Type().IsRegular():
			return nil
		}
		content, err := os.ReadFile(path)
		if bytes.Contains(content, key) || bytes.Contains(content, set.EncryptionKey) {
			t.Errorf("the key is in %s", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func raw(t *testing.T, store *etcd.Etcd, key string) []byte {
	t.Helper()
	client, err := store.Client()
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	reply, err := client.Get(t.Context(), key, clientv3.WithPrefix())
	if err != nil {
		t.Fatal(err)
	}
	if len(reply.Kvs) != 1 {
		t.Fatalf("%d values at %s, want one", len(reply.Kvs), key)
	}
	return reply.Kvs[0].Value
}

func TestANamespaceGoesWithEverythingInIt(t *testing.T) {
	ctx := t.Context()
	makeNamespace(t, "karmada-es-going")
	if _, err := hub.server.Stores.Works.Create(ctx, newWork("going", "w", `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"}}`)); err != nil {
		t.Fatal(err)
	}
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p"}, Spec: corev1.PodSpec{
		NodeName: "elsewhere", TerminationGracePeriodSeconds: ptr.To[int64](3600),
		Containers: []corev1.Container{{Name: "c", Image: "example/app:v1"}},
	}}
	if _, err := hub.client.CoreV1().Pods("karmada-es-going").Create(ctx, pod, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := hub.client.CoreV1().Namespaces().Delete(ctx, "karmada-es-going", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a work is refused in the namespace that is going", func(context.Context) (bool, error) {
		_, err := hub.server.Stores.Works.Create(ctx, newWork("going", "late", `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"b"}}`))
		return apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause) || apierrors.IsNotFound(err), nil
	})
	eventually(t, "the namespace is gone", func(ctx context.Context) (bool, error) {
		_, err := hub.client.CoreV1().Namespaces().Get(ctx, "karmada-es-going", metav1.GetOptions{})
		return apierrors.IsNotFound(err), nil
	})
	if _, err := hub.server.Stores.Works.Get(ctx, "karmada-es-going", "w"); !apierrors.IsNotFound(err) {
		t.Errorf("the work is still there: %v", err)
	}
}

func TestDependentsOfADeletedTemplateAreCollected(t *testing.T) {
	ctx := t.Context()
	makeNamespace(t, "collected")
	owner, err := hub.client.CoreV1().ConfigMaps("collected").Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "owner"}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	dependent := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "dependent", OwnerReferences: []metav1.OwnerReference{
		{APIVersion: "v1", Kind: "ConfigMap", Name: owner.Name, UID: owner.UID},
	}}}
	if _, err := hub.client.CoreV1().ConfigMaps("collected").Create(ctx, dependent, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := hub.client.CoreV1().ConfigMaps("collected").Delete(ctx, "owner", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the dependent is collected", func(ctx context.Context) (bool, error) {
		_, err := hub.client.CoreV1().ConfigMaps("collected").Get(ctx, "dependent", metav1.GetOptions{})
		return apierrors.IsNotFound(err), nil
	})
}

func TestARestartFindsEverythingAgain(t *testing.T) {
	dir := shortTempDir(t)
	first := startForTest(t, dir, nil)
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "kept"}, StringData: map[string]string{"k": "v"}}
	if _, err := first.client.CoreV1().Secrets("default").Create(t.Context(), secret, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := first.server.Stores.MemberClusters.Create(t.Context(), newCluster("kept")); err != nil {
		t.Fatal(err)
	}

	_, err := etcd.Start(t.Context(), etcd.Config{DataDir: dir})
	if err == nil || !strings.Contains(err.Error(), "is in use by process") {
		t.Errorf("a second process on the same data directory: error %v", err)
	}
	stopping := time.Now()
	if err := first.stop(); err != nil {
		t.Fatalf("stopping: %v", err)
	}
	if took := time.Since(stopping); took > 20*time.Second {
		t.Errorf("stopping took %s", took)
	}

	alone, err := etcd.Start(t.Context(), etcd.Config{DataDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	before := revisionOf(t, alone)
	alone.Close()
	second := startForTest(t, dir, func(*apiserver.Server) error {
		// The first write of a process has to be the beginning of an era of the store.
		if after := revisionOf(t, &etcd.Etcd{Endpoints: []string{"unix://" + filepath.Join(dir, "run", "etcd.sock")}}); after != before {
			t.Errorf("before it runs, a server has brought the store from revision %d to %d", before, after)
		}
		return nil
	})
	kept, err := second.client.CoreV1().Secrets("default").Get(t.Context(), "kept", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if string(kept.Data["k"]) != "v" {
		t.Errorf("read back %v", kept.Data)
	}
	if _, err := second.server.Stores.MemberClusters.Get(t.Context(), "", "kept"); err != nil {
		t.Error(err)
	}
	if err := second.stop(); err != nil {
		t.Fatal(err)
	}
}

func revisionOf(t *testing.T, store *etcd.Etcd) int64 {
	t.Helper()
	client, err := store.Client()
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	reply, err := client.Get(t.Context(), "/registry/", clientv3.WithPrefix(), clientv3.WithCountOnly())
	if err != nil {
		t.Fatal(err)
	}
	return reply.Header.Revision
}

func TestAStoreOfAnotherHubIsRefusedBeforeAnythingIsWritten(t *testing.T) {
	dir := shortTempDir(t)
	store, err := etcd.Start(t.Context(), etcd.Config{DataDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	if err := store.Claim(t.Context(), "another"); err != nil {
		t.Fatal(err)
	}
	set, err := pki.LoadOrCreate(filepath.Join(dir, "pki"), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	_, err = apiserver.New(t.Context(), apiserver.Config{Store: store, PKI: set, Listen: "127.0.0.1:0", LogLevel: slog.LevelError})
	if err == nil || !strings.Contains(err.Error(), "belongs to the hub another") {
		t.Errorf("error %v", err)
	}
	client, err := store.Client()
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	reply, err := client.Get(t.Context(), "/registry/", clientv3.WithPrefix(), clientv3.WithCountOnly())
	if err != nil {
		t.Fatal(err)
	}
	if reply.Count != 1 {
		t.Errorf("%d keys in the store, want that of the other hub alone", reply.Count)
	}
}

// newStore starts an etcd of the test's own, with keys beside its data.
func newStore(t *testing.T) (dir string, store *etcd.Etcd, set *pki.Set) {
	t.Helper()
	dir = shortTempDir(t)
	store, err := etcd.Start(t.Context(), etcd.Config{DataDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	if set, err = pki.LoadOrCreate(filepath.Join(dir, "pki"), time.Now()); err != nil {
		t.Fatal(err)
	}
	return dir, store, set
}

func TestAMistakeInTheSettingsIsOneClearLine(t *testing.T) {
	_, store, set := newStore(t)
	for _, c := range []struct {
		reason string
		change func(*apiserver.Config)
		want   string
	}{
		{
			reason: "the port is taken",
			change: func(c *apiserver.Config) { c.Listen = hub.server.Address().String() },
			want:   "the API cannot listen on " + hub.server.Address().String() + ": another process uses the port",
		},
		{
			reason: "the address is none",
			change: func(c *apiserver.Config) { c.Listen = "127.0.0.1" },
			want:   "the API cannot listen on 127.0.0.1:",
		},
		{
			reason: "a flag that does not exist",
			change: func(c *apiserver.Config) { c.Flags = map[string]string{"oidc-issuer": "x"} },
			want:   `the API server has no flag "oidc-issuer"`,
		},
		{
			reason: "a flag that would undo the hub",
			change: func(c *apiserver.Config) { c.Flags = map[string]string{"etcd-servers": "http://127.0.0.1:2379"} },
			want:   `the API server's flag "etcd-servers" is set by the hub`,
		},
		{
			reason: "a flag that would have works in another store than the hub asks about them",
			change: func(c *apiserver.Config) {
				c.Flags = map[string]string{"etcd-servers-overrides": "work.karmada.io/propagationworks#http://127.0.0.1:2379"}
			},
			want: `the API server's flag "etcd-servers-overrides" is set by the hub`,
		},
		{
			reason: "a flag with a value that it does not take",
			change: func(c *apiserver.Config) { c.Flags = map[string]string{"event-ttl": "soon"} },
			want:   `setting the API server's flag "event-ttl"`,
		},
		{
			reason: "a file that is missing",
			change: func(c *apiserver.Config) { c.Flags = map[string]string{"audit-policy-file": "/nonexistent"} },
			want:   "/nonexistent",
		},
	} {
		t.Run(c.reason, func(t *testing.T) {
			config := apiserver.Config{Store: store, PKI: set, Listen: "127.0.0.1:0", LogLevel: slog.LevelError}
			c.change(&config)
			_, err := apiserver.New(t.Context(), config)
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("error %v, want one line that says %q", err, c.want)
			}
		})
	}
}

func TestUsersOfAnIdentityProviderAreTakenByFlags(t *testing.T) {
	dir, store, set := newStore(t)
	// Where the keys can only be read, what follows from them lies elsewhere.
	set.Derived = filepath.Join(dir, "derived")
	if err := os.Mkdir(set.Derived, 0o700); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadDir(set.Dir)
	if err != nil {
		t.Fatal(err)
	}
	_, err = apiserver.New(t.Context(), apiserver.Config{
		Store: store, PKI: set, Listen: "127.0.0.1:0", LogLevel: slog.LevelError,
		Flags: map[string]string{"oidc-issuer-url": "https://id.example.test", "oidc-client-id": "windlass"},
	})
	if err != nil {
		t.Error(err)
	}
	if after, err := os.ReadDir(set.Dir); err != nil || len(after) != len(before) {
		t.Errorf("something was written beside the keys: %v, error %v", after, err)
	}
}

func TestWhatTheHubAddsIsServed(t *testing.T) {
	ready := &atomic.Bool{}
	ready.Store(true)
	policy := filepath.Join(t.TempDir(), "audit.yaml")
	log := filepath.Join(t.TempDir(), "audit.log")
	if err := os.WriteFile(policy, []byte("apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: Metadata}]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p := startForTest(t, shortTempDir(t), func(s *apiserver.Server) error {
		gauge := prometheus.NewGauge(prometheus.GaugeOpts{Name: "windlass_hub_of_a_test", Help: "A test's."})
		s.AddCollectors(gauge)
		s.Handle("/debug/of-a-test", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "here") }))
		return s.AddReadyCheck("of-a-test", func() error {
			if !ready.Load() {
				return errors.New("not now")
			}
			return nil
		})
	}, "audit-policy-file", policy, "audit-log-path", log, "audit-log-mode", "blocking")
	for _, c := range []struct{ path, want string }{
		{"/metrics", "windlass_hub_of_a_test 0"},
		{"/debug/of-a-test", "here"},
		{"/readyz?verbose", "[+]of-a-test ok"},
	} {
		body, err := p.client.CoreV1().RESTClient().Get().RequestURI(c.path).DoRaw(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(body), c.want) {
			t.Errorf("%s does not say %q", c.path, c.want)
		}
	}
	ready.Store(false)
	waiting, stop := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer stop()
	if err := p.server.WaitReady(waiting); err == nil || !strings.Contains(err.Error(), "of-a-test") {
		t.Errorf("error %v, want one that names the check", err)
	}
	if err := p.stop(); err != nil {
		t.Fatal(err)
	}
	if content, err := os.ReadFile(log); err != nil || !bytes.Contains(content, []byte(`"kind":"Event"`)) {
		t.Errorf("nothing was audited: %v", err)
	}
}

// startForTest starts a hub of the test's own; flags are pairs of names and values.
func startForTest(t *testing.T, dir string, prepare func(*apiserver.Server) error, flags ...string) *process {
	t.Helper()
	p, err := startWith(dir, prepare, flags...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.cancel()
		p.store.Close()
	})
	return p
}

// shortTempDir leaves room in the path for a socket's name.
func shortTempDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "w")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}
