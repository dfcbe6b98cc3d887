package cli

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"k8s.io/klog/v2"

	clusterv1alpha1 "windlass.dev/windlass/api/cluster/v1alpha1"
	policyv1alpha1 "windlass.dev/windlass/api/policy/v1alpha1"
	windlassv1alpha1 "windlass.dev/windlass/api/windlass/v1alpha1"
	workv1alpha1 "windlass.dev/windlass/api/work/v1alpha1"
	"windlass.dev/windlass/cli/status"
	"windlass.dev/windlass/pkg/identity"
)

// fakeHub is an API server that answers from its fields over TLS, and keeps the tokens it is sent.
type fakeHub struct {
	server    *httptest.Server
	info      map[string]string // data of kube-public/windlass-hub; nil when there is none
	refuse    int               // a status code to refuse the creation of a token, the explanation of a placement, with
	ahead     time.Duration     // of its clock
	warning   string            // sent along with every answer
	created   []windlassv1alpha1.JoinToken
	deleted   []string
	bodies    []string
	clusters  []string                       // names of the clusters that it knows
	joined    []string                       // those of them that have joined
	lists     map[string]any                 // of our other kinds, by their resource; nil for a server that does not have them
	forbidden string                         // a path that may not be read
	objects   map[string]any                 // what else it has, by the path; it says of what lies beside them that it is not there
	trouble   chan func(http.ResponseWriter) // answers to the first lists of clusters
}

const (
	tokensPath   = "/apis/windlass.dev/v1alpha1/jointokens"
	clustersPath = "/apis/cluster.karmada.io/v1alpha1/memberclusters"
)

func startFakeHub(t *testing.T) *fakeHub {
	t.Helper()
	f := &fakeHub{}
	f.server = httptest.NewUnstartedServer(http.HandlerFunc(f.serve))
	f.server.Config.ErrorLog = log.New(io.Discard, "", 0) // of clients that refuse its certificate, as they shall
	f.server.StartTLS()
	t.Cleanup(f.server.Close)
	f.info = map[string]string{hubInfoLink: "hub.example:8443", hubInfoID: f.pin()}
	return f
}

func (f *fakeHub) pin() string { return identity.Pin(f.server.Certificate()) }

func (f *fakeHub) serve(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Date", time.Now().Add(f.ahead).UTC().Format(http.TimeFormat))
	if f.warning != "" {
		w.Header().Set("Warning", fmt.Sprintf("299 - %q", f.warning))
	}
	switch {
	case r.URL.Path == "/api/v1/namespaces/kube-public/configmaps/windlass-hub" && f.info != nil:
		answer(w, http.StatusOK, &corev1.ConfigMap{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"}, Data: f.info})
	case r.URL.Path == tokensPath && r.Method == http.MethodPost && f.refuse != 0:
		answer(w, f.refuse, &metav1.Status{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}, Status: metav1.StatusFailure,
			Code: int32(f.refuse), Reason: metav1.StatusReasonForbidden, Message: "jointokens.windlass.dev is forbidden: User \"guest\" cannot create it"})
	case r.URL.Path == tokensPath && r.Method == http.MethodPost:
		body, _ := io.ReadAll(r.Body)
		f.bodies = append(f.bodies, string(body))
		var token windlassv1alpha1.JoinToken
		if err := json.Unmarshal(body, &token); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		f.created = append(f.created, token)
		answer(w, http.StatusCreated, &token)
	case r.URL.Path == tokensPath && r.Method == http.MethodGet:
		answer(w, http.StatusOK, &windlassv1alpha1.JoinTokenList{TypeMeta: metav1.TypeMeta{APIVersion: "windlass.dev/v1alpha1", Kind: "JoinTokenList"}, Items: f.created})
	case strings.HasPrefix(r.URL.Path, tokensPath+"/") && r.Method == http.MethodDelete && f.has(filepath.Base(r.URL.Path)):
		f.deleted = append(f.deleted, filepath.Base(r.URL.Path))
		answer(w, http.StatusOK, &metav1.Status{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}, Status: metav1.StatusSuccess})
	case filepath.Dir(r.URL.Path) == clustersPath && slices.Contains(f.clusters, filepath.Base(r.URL.Path)):
		cluster := clusterv1alpha1.MemberCluster{TypeMeta: metav1.TypeMeta{APIVersion: "cluster.karmada.io/v1alpha1", Kind: "MemberCluster"}}
		if slices.Contains(f.joined, filepath.Base(r.URL.Path)) {
			cluster.Status.Conditions = []metav1.Condition{{Type: clusterv1alpha1.ClusterJoined, Status: metav1.ConditionTrue}}
		}
		answer(w, http.StatusOK, &cluster)
	case strings.HasPrefix(r.URL.Path, tokensPath+"/"), filepath.Dir(r.URL.Path) == clustersPath, strings.HasPrefix(r.URL.Path, "/api/v1/namespaces/kube-public/"):
		answer(w, http.StatusNotFound, &metav1.Status{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}, Status: metav1.StatusFailure,
			Code: http.StatusNotFound, Reason: metav1.StatusReasonNotFound, Message: "not found", Details: &metav1.StatusDetails{Name: filepath.Base(r.URL.Path)}})
	case f.refuse != 0 && strings.HasSuffix(r.URL.Path, "/placement"):
		answer(w, f.refuse, &metav1.Status{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}, Status: metav1.StatusFailure,
			Code: int32(f.refuse), Reason: metav1.StatusReasonForbidden, Message: "propagationbindings/placement is forbidden"})
	case f.forbidden != "" && r.URL.Path == f.forbidden:
		answer(w, http.StatusForbidden, &metav1.Status{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}, Status: metav1.StatusFailure,
			Code: http.StatusForbidden, Reason: metav1.StatusReasonForbidden, Message: "that is forbidden"})
	case r.URL.Path == clustersPath && len(f.trouble) > 0:
		(<-f.trouble)(w)
	case f.objects[r.URL.Path] != nil:
		answer(w, http.StatusOK, f.objects[r.URL.Path])
	case f.objects != nil:
		answer(w, http.StatusNotFound, &metav1.Status{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}, Status: metav1.StatusFailure,
			Code: http.StatusNotFound, Reason: metav1.StatusReasonNotFound, Message: "not found", Details: &metav1.StatusDetails{Name: filepath.Base(r.URL.Path)}})
	case f.lists != nil && strings.HasPrefix(r.URL.Path, "/apis/"):
		answer(w, http.StatusOK, f.lists[filepath.Base(r.URL.Path)])
	default:
		http.Error(w, "404 page not found", http.StatusNotFound)
	}
}

func (f *fakeHub) has(id string) bool {
	return slices.ContainsFunc(f.created, func(t windlassv1alpha1.JoinToken) bool { return t.Name == id })
}

func answer(w http.ResponseWriter, code int, object any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(object)
}

// kubeconfig writes a kubeconfig for the hub, with the contexts hub and elsewhere.
func (f *fakeHub) kubeconfig(t *testing.T, change ...func(*clientcmdapi.Cluster)) string {
	t.Helper()
	cluster := &clientcmdapi.Cluster{
		Server:                   f.server.URL,
		CertificateAuthorityData: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: f.server.Certificate().Raw}),
	}
	for _, c := range change {
		c(cluster)
	}
	path := filepath.Join(t.TempDir(), "kubeconfig")
	if err := clientcmd.WriteToFile(clientcmdapi.Config{
		Clusters:       map[string]*clientcmdapi.Cluster{"hub": cluster},
		AuthInfos:      map[string]*clientcmdapi.AuthInfo{"admin": {Token: "t"}},
		Contexts:       map[string]*clientcmdapi.Context{"hub": {Cluster: "hub", AuthInfo: "admin"}, "elsewhere": {Cluster: "gone", AuthInfo: "admin"}},
		CurrentContext: "hub",
	}, path); err != nil {
		t.Fatal(err)
	}
	return path
}

// result is what a command line did.
type result struct {
	Code     int
	Out, Err string
}

func windlass(t *testing.T, args ...string) result {
	t.Helper()
	var out, err bytes.Buffer
	code := run(t.Context(), append([]string{"windlass"}, args...), Streams{In: strings.NewReader(""), Out: &out, Err: &err})
	return result{code, out.String(), err.String()}
}

func (r result) want(t *testing.T, code int, parts ...string) {
	t.Helper()
	if r.Code != code {
		t.Errorf("exit code %d, want %d\n%s%s", r.Code, code, r.Out, r.Err)
	}
	for _, part := range parts {
		if !strings.Contains(r.Err, part) {
			t.Errorf("standard error does not say %q:\n%s", part, r.Err)
		}
	}
}

func TestATokenIsMadeHereAndOnlyItsHashIsSent(t *testing.T) {
	hub := startFakeHub(t)
	hub.ahead = 3 * time.Hour
	r := windlass(t, "token", "create", "--cluster", "edge-1", "--ttl", "30m", "--kubeconfig", hub.kubeconfig(t))
	r.want(t, CodeFine, "for cluster edge-1, good once, for 30m", "clock is 3h ahead of")
	token, err := identity.ParseToken(r.Out)
	if err != nil {
		t.Fatalf("standard output is not a token and nothing else: %v: %q", err, r.Out)
	}
	if token.Pin != hub.pin() {
		t.Errorf("the pin is %s, want the hash of the hub CA's key, %s", token.Pin, hub.pin())
	}
	if strings.Contains(strings.Join(hub.bodies, ""), token.Secret) {
		t.Error("the secret was sent to the hub")
	}
	got := hub.created[0]
	if got.Name != token.ID || got.Spec.SecretHash != token.SecretHash() || got.Spec.ClusterName != "edge-1" || got.Spec.Rejoin {
		t.Errorf("the hub got %+v for token %s", got, token.Redacted())
	}
	if left := time.Until(got.Spec.ExpirationTime.Time) - hub.ahead; left < 29*time.Minute || left > 31*time.Minute {
		t.Errorf("the token ends %s after the hub's present time, want 30m: by the hub's clock, not by this machine's", left)
	}
}

func TestATokenIsPrintedAsAskedFor(t *testing.T) {
	hub := startFakeHub(t)
	config := hub.kubeconfig(t)
	for _, test := range []struct {
		reason string
		args   []string
		want   string
	}{
		{"a helm command with everything the chart needs", []string{"--cluster", "edge-1", "-o", "helm"}, `helm upgrade --install windlass-agent charts/agent \
  --namespace windlass-agent --create-namespace --reset-then-reuse-values \
  --set-string hub.address=hub.example:8443 \
  --set-string cluster.name=edge-1 \
  --set-string hub.token=TOKEN
`},
		{"another chart and another address are taken", []string{"--cluster", "edge-1", "-o", "helm", "--chart", "my charts/agent", "--hub-address", "10.0.0.1:443"}, `helm upgrade --install windlass-agent 'my charts/agent' \
  --namespace windlass-agent --create-namespace --reset-then-reuse-values \
  --set-string hub.address=10.0.0.1:443 \
  --set-string cluster.name=edge-1 \
  --set-string hub.token=TOKEN
`},
		{"values for a registry of one's own", []string{"--cluster", "edge-1", "-o", "helm", "--chart", "oci://registry.example/charts/windlass-agent",
			"--helm-set", "image.repository=registry.example/windlass-agent", "--helm-set", "imagePullSecrets[0].name=registry"}, `helm upgrade --install windlass-agent oci://registry.example/charts/windlass-agent \
  --namespace windlass-agent --create-namespace --reset-then-reuse-values \
  --set-string hub.address=hub.example:8443 \
  --set-string cluster.name=edge-1 \
  --set-string hub.token=TOKEN \
  --set image.repository=registry.example/windlass-agent \
  --set 'imagePullSecrets[0].name=registry'
`},
		{"the token is no argument of the agent", []string{"-o", "command"}, `WINDLASS_TOKEN=TOKEN \
  windlass-agent --hub hub.example:8443 --cluster-name CLUSTER_NAME --kubeconfig "$HOME/.kube/config"
`},
	} {
		r := windlass(t, append([]string{"token", "create", "--kubeconfig", config}, test.args...)...)
		r.want(t, CodeFine)
		if diff := cmp.Diff(test.want, withoutToken(t, r.Out)); diff != "" {
			t.Errorf("%s: (-want +got):\n%s", test.reason, diff)
		}
	}
}

// withoutToken replaces the token in the text, which must hold one, by the word TOKEN.
func withoutToken(t *testing.T, text string) string {
	t.Helper()
	for _, field := range strings.FieldsFunc(text, func(r rune) bool { return strings.ContainsRune(" \n=\\\"'", r) }) {
		if _, err := identity.ParseToken(field); err == nil {
			return strings.ReplaceAll(text, field, "TOKEN")
		}
	}
	t.Errorf("no token in %q", text)
	return text
}

func TestTheCommandOfASecondTokenKeepsTheReleaseThatIsThere(t *testing.T) {
	hub := startFakeHub(t)
	hub.clusters = []string{"edge-1"}
	for _, rejoin := range []string{"--rejoin=false", "--rejoin"} {
		r := windlass(t, "token", "create", "--cluster", "edge-1", rejoin, "-o", "helm", "--kubeconfig", hub.kubeconfig(t))
		r.want(t, CodeFine)
		if !strings.HasPrefix(r.Out, "helm upgrade --install windlass-agent charts/agent ") || !strings.Contains(r.Out, " --reset-then-reuse-values ") {
			t.Errorf("with %s the command is\n%s", rejoin, r.Out)
		}
	}
}

func TestATokenAsJSON(t *testing.T) {
	hub := startFakeHub(t)
	hub.clusters = []string{"edge-1"}
	r := windlass(t, "token", "create", "--cluster", "edge-1", "--rejoin", "-o", "json", "--kubeconfig", hub.kubeconfig(t))
	r.want(t, CodeFine)
	var got createdToken
	if err := json.Unmarshal([]byte(r.Out), &got); err != nil {
		t.Fatal(err)
	}
	if got.APIVersion != outputVersion || got.Kind != "Token" || got.ID != hub.created[0].Name || got.Pin != hub.pin() ||
		got.HubAddress != "hub.example:8443" || got.ClusterName != "edge-1" || !got.Rejoin || got.ExpirationTime.IsZero() {
		t.Errorf("got %+v", got)
	}
	if _, err := identity.ParseToken(got.Token); err != nil {
		t.Error(err)
	}
}

func TestThePinComesOnlyFromWhereNobodyCouldChangeIt(t *testing.T) {
	elsewhere := strings.Repeat("ab", 32)
	for _, test := range []struct {
		reason string
		info   map[string]string
		change func(*clientcmdapi.Cluster)
		args   func(ca string) []string
		pin    string // empty: that of the hub's certificate
		code   int
		says   string
	}{
		{reason: "an older hub publishes nothing: the kubeconfig's authority is the hub's"},
		{reason: "the API stands behind a proxy: the hub's word over a verified connection", info: map[string]string{hubInfoID: elsewhere}, pin: elsewhere},
		{reason: "a connection that is not verified proves nothing", info: map[string]string{hubInfoID: elsewhere},
			change: func(c *clientcmdapi.Cluster) { c.CertificateAuthorityData, c.InsecureSkipTLSVerify = nil, true }, code: CodeUsage, says: "--hub-ca"},
		{reason: "a file given by hand is believed", info: map[string]string{hubInfoID: elsewhere},
			change: func(c *clientcmdapi.Cluster) { c.CertificateAuthorityData, c.InsecureSkipTLSVerify = nil, true },
			args:   func(ca string) []string { return []string{"--hub-ca", ca} }},
	} {
		t.Run(test.reason, func(t *testing.T) {
			hub := startFakeHub(t)
			hub.info = test.info
			if test.change == nil {
				test.change = func(*clientcmdapi.Cluster) {}
			}
			ca := filepath.Join(t.TempDir(), "hub-ca.crt")
			if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: hub.server.Certificate().Raw}), 0o600); err != nil {
				t.Fatal(err)
			}
			args := []string{"token", "create", "--kubeconfig", hub.kubeconfig(t, test.change)}
			if test.args != nil {
				args = append(args, test.args(ca)...)
			}
			r := windlass(t, args...)
			r.want(t, test.code, test.says)
			if test.code != CodeFine {
				if len(hub.created) > 0 {
					t.Error("a token was created all the same")
				}
				return
			}
			token, err := identity.ParseToken(r.Out)
			if err != nil {
				t.Fatal(err)
			}
			want := test.pin
			if want == "" {
				want = hub.pin()
			}
			if token.Pin != want {
				t.Errorf("pin %s, want %s", token.Pin, want)
			}
		})
	}
}

func TestTokensAreListedWithWhatBecameOfThem(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	at := func(d time.Duration) *metav1.Time { return &metav1.Time{Time: now.Add(d)} }
	token := func(name, cluster string, age, ends time.Duration) windlassv1alpha1.JoinToken {
		return windlassv1alpha1.JoinToken{
			ObjectMeta: metav1.ObjectMeta{Name: name, CreationTimestamp: *at(-age)},
			Spec:       windlassv1alpha1.JoinTokenSpec{ClusterName: cluster, ExpirationTime: at(ends)},
		}
	}
	used := token("b", "", 20*time.Minute, -5*time.Minute)
	used.Status = windlassv1alpha1.JoinTokenStatus{UsedTime: at(-10 * time.Minute), ClusterName: "edge-2"}
	listed := listTokens([]windlassv1alpha1.JoinToken{token("c", "edge-3", time.Hour, -45*time.Minute), used, token("a", "edge-1", time.Minute, 14*time.Minute)}, now)
	var out bytes.Buffer
	if err := listed.print(Streams{Out: &out}); err != nil {
		t.Fatal(err)
	}
	want := `ID   CLUSTER   STATE     EXPIRES   USED BY   AGE
a    edge-1    Unused    in 14m    -         60s
b    -         Used      5m ago    edge-2    20m
c    edge-3    Expired   45m ago   -         60m
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestATokenIsDeletedByItsIDOrByItself(t *testing.T) {
	hub := startFakeHub(t)
	config := hub.kubeconfig(t)
	whole := windlass(t, "token", "create", "--kubeconfig", config).Out
	id := hub.created[0].Name
	windlass(t, "token", "delete", id, "--kubeconfig", config).want(t, CodeFine, id)
	windlass(t, "token", "delete", strings.TrimSpace(whole), "--kubeconfig", config).want(t, CodeFine, id)
	if diff := cmp.Diff([]string{id, id}, hub.deleted); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	windlass(t, "token", "delete", "nobody", "--kubeconfig", config).want(t, CodeNotFound, "deleting token nobody")
	r := windlass(t, "token", "delete", "wl1.id.secret", "--kubeconfig", config)
	r.want(t, CodeUsage, "token list")
	if strings.Contains(r.Err, "secret") {
		t.Errorf("half a token is repeated: %s", r.Err)
	}
}

func TestTheHubIsReachedAtAnotherAddressThanTheKubeconfigs(t *testing.T) {
	hub := startFakeHub(t)
	elsewhere := hub.kubeconfig(t, func(c *clientcmdapi.Cluster) { c.Server = "https://hub.invalid:6443" })
	windlass(t, "token", "create", "--kubeconfig", elsewhere, "--server", hub.server.URL).want(t, CodeFine)
	if len(hub.created) != 1 {
		t.Error("the token was created somewhere else")
	}
}

func TestMistakesAreNamedAndHaveTheirExitCode(t *testing.T) {
	hub := startFakeHub(t)
	config := hub.kubeconfig(t)
	stopped := httptest.NewTLSServer(http.NotFoundHandler())
	stopped.Close()
	silent := hub.kubeconfig(t, func(c *clientcmdapi.Cluster) { c.Server = stopped.URL })
	stranger := hub.kubeconfig(t, func(c *clientcmdapi.Cluster) { c.CertificateAuthorityData = otherAuthority(t) })
	broken := filepath.Join(t.TempDir(), "broken")
	if err := os.WriteFile(broken, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		reason string
		args   []string
		code   int
		says   []string
	}{
		{"a command that does not exist", []string{"statsu"}, CodeUsage, []string{`"statsu" is no command`, "did you mean status"}},
		{"a command of kubectl's", []string{"get", "deployments"}, CodeUsage, []string{`"get" is no command of "windlass"; try "windlass kubectl get"`}},
		{"a command of kubectl's with its flags", []string{"logs", "web-0", "-n", "shop", "--follow"}, CodeUsage, []string{`try "windlass kubectl logs"`}},
		{"a command of kubectl's for nodes", []string{"cordon", "member1"}, CodeUsage, []string{"a taint NoSchedule", "spec.taints", "cluster.karmada.io/unschedulable", `try "windlass kubectl edit membercluster member1"`}},
		{"such a command with nothing but flags", []string{"drain", "--force"}, CodeUsage, []string{"NoExecute", `try "windlass kubectl edit membercluster NAME"`}},
		{"a subcommand that does not exist", []string{"token", "make"}, CodeUsage, []string{`"make" is no command of "windlass token"`}},
		{"a flag that does not exist", []string{"status", "--all"}, CodeUsage, []string{"--all"}},
		{"an argument too many", []string{"status", "now"}, CodeUsage, []string{"expected no arguments"}},
		{"an output that does not exist", []string{"token", "create", "-o", "yaml"}, CodeUsage, []string{`"yaml"`, "value, helm, command, json"}},
		{"a name that no cluster can have", []string{"token", "create", "--cluster", "Edge_1"}, CodeUsage, []string{"--cluster", "Edge_1"}},
		{"a life too short", []string{"token", "create", "--ttl", "5ms"}, CodeUsage, []string{"--ttl 5ms"}},
		{"a rejoin of nobody", []string{"token", "create", "--rejoin"}, CodeUsage, []string{"--rejoin needs --cluster"}},
		{"an address without a port", []string{"token", "create", "--hub-address", "hub"}, CodeUsage, []string{"HOST:PORT"}},
		{"a value without a name", []string{"token", "create", "-o", "helm", "--helm-set", "registry.example"}, CodeUsage, []string{`--helm-set "registry.example"`, "KEY=VALUE"}},
		{"a value of a chart that is not asked for", []string{"token", "create", "--helm-set", "a=b"}, CodeUsage, []string{"--helm-set goes with -o helm"}},
		{"two ways to end that exclude one another", []string{"status", "--watch", "--check"}, CodeUsage, []string{"--watch"}},
		{"a kubeconfig that does not exist", []string{"status", "--kubeconfig", "/nowhere/config"}, CodeUsage, []string{"kubeconfig /nowhere/config does not exist", "Secret windlass-hub-admin-kubeconfig", "adminKubeconfig.create"}},
		{"a kubeconfig that is not one", []string{"status", "--kubeconfig", broken}, CodeUsage, []string{"reading the kubeconfig"}},
		{"a context that does not exist", []string{"status", "--kubeconfig", config, "--context", "prod"}, CodeUsage, []string{`no context "prod"`, "elsewhere, hub"}},
		{"a context without a cluster", []string{"status", "--kubeconfig", config, "--context", "elsewhere"}, CodeUsage, []string{`cluster "gone"`}},
		{"nobody listens", []string{"status", "--kubeconfig", silent}, CodeUnreachable, []string{"can't be reached", `context "hub"`, "is the hub running?"}},
		{"somebody else answers", []string{"status", "--kubeconfig", stranger}, CodeUnreachable, []string{"another server, or something that intercepts TLS"}},
		{"a cluster that is no hub", []string{"status", "--kubeconfig", config}, CodeUnreachable, []string{"is not a Windlass hub", "--context"}},
	} {
		t.Run(test.reason, func(t *testing.T) {
			r := windlass(t, test.args...)
			r.want(t, test.code, test.says...)
			if r.Out != "" {
				t.Errorf("standard output is not empty: %q", r.Out)
			}
		})
	}
}

// What libraries log goes past the streams that a command is given, to the standard error of the process.
func TestOfAHubThatIsAwayThereIsOneLineAndNoLogOfALibrary(t *testing.T) {
	stopped := httptest.NewServer(http.NotFoundHandler())
	stopped.Close()
	config := startFakeHub(t).kubeconfig(t, func(c *clientcmdapi.Cluster) { c.Server = stopped.URL })
	logged, err := os.Create(filepath.Join(t.TempDir(), "stderr"))
	if err != nil {
		t.Fatal(err)
	}
	defer logged.Close()
	standard := os.Stderr
	os.Stderr = logged
	defer func() { os.Stderr = standard }()
	for _, args := range [][]string{
		{"status"}, {"status", "--check"}, {"placement", "deployment/web"}, {"placement", "pb/web-deployment", "-o", "json"}, {"check"},
		{"token", "create"}, {"token", "list"}, {"token", "delete", "abc"},
	} {
		r := windlass(t, append(args, "--kubeconfig", config)...)
		r.want(t, CodeUnreachable, "can't be reached")
		if strings.Count(r.Err, "\n") != 1 || r.Out != "" {
			t.Errorf("%q says\n%s%s", args, r.Out, r.Err)
		}
		if said, err := os.ReadFile(logged.Name()); err != nil || len(said) > 0 {
			t.Fatalf("%q logs, %v\n%s", args, err, said)
		}
	}
}

func TestAWarningOfTheHubIsTold(t *testing.T) {
	hub := startFakeHub(t)
	hub.warning = "spec.colour is not known"
	r := windlass(t, "token", "list", "--kubeconfig", hub.kubeconfig(t))
	r.want(t, CodeFine)
	if !strings.HasPrefix(r.Err, "Warning: spec.colour is not known\n") {
		t.Errorf("standard error is %q", r.Err)
	}
}

func TestKubectlKeepsItsLog(t *testing.T) {
	var logged bytes.Buffer
	klog.StopFlushDaemon() // of another test's kubectl
	klog.SetSlogLogger(slog.New(slog.NewTextHandler(&logged, nil)))
	defer klog.ClearLogger()
	windlass(t, "kubectl", "version", "--client").want(t, CodeFine)
	klog.StopFlushDaemon()
	if klog.ErrorS(nil, "said by client-go"); !strings.Contains(logged.String(), "said by client-go") {
		t.Errorf("what is logged is %q", logged.String())
	}
}

// otherAuthority is the certificate of an authority that signed nothing here.
func otherAuthority(t *testing.T) []byte {
	t.Helper()
	key, err := identity.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func TestRefusalByTheHubHasItsOwnExitCode(t *testing.T) {
	hub := startFakeHub(t)
	hub.refuse = http.StatusForbidden
	windlass(t, "token", "create", "--kubeconfig", hub.kubeconfig(t)).want(t, CodeNotAllowed, "creating the token on the hub", "cannot create it")
}

func TestARejoinOfAClusterThatTheHubDoesNotHaveIsAMistake(t *testing.T) {
	hub := startFakeHub(t)
	hub.clusters = []string{"edge-1"}
	windlass(t, "token", "create", "--cluster", "edge-7", "--rejoin", "--kubeconfig", hub.kubeconfig(t)).
		want(t, CodeNotFound, `no cluster "edge-7"`, "leave --rejoin away")
	if len(hub.created) > 0 {
		t.Error("a token was created that nobody can use")
	}
}

func TestACommandThatNeedsTheHubsAddressSaysSoBeforeATokenIsMade(t *testing.T) {
	hub := startFakeHub(t)
	hub.info = nil
	windlass(t, "token", "create", "-o", "helm", "--kubeconfig", hub.kubeconfig(t)).want(t, CodeUsage, "--hub-address", "kube-public/windlass-hub")
	if len(hub.created) > 0 {
		t.Error("a token was created that nobody has seen")
	}
}

func TestNoKubeconfigAtAllSaysWhereOneComesFrom(t *testing.T) {
	t.Setenv("KUBECONFIG", filepath.Join(t.TempDir(), "none"))
	t.Setenv("HOME", t.TempDir())
	windlass(t, "status").want(t, CodeUsage, "no kubeconfig in", "admin.kubeconfig", "Secret windlass-hub-admin-kubeconfig")
}

func TestKubectlIsAllThere(t *testing.T) {
	r := windlass(t, "kubectl", "version", "--client", "-o", "json")
	r.want(t, CodeFine)
	if !strings.Contains(r.Out, "clientVersion") {
		t.Errorf("kubectl version prints %q", r.Out)
	}
	r = windlass(t, "--kubeconfig", startFakeHub(t).kubeconfig(t), "kubectl", "config", "current-context")
	r.want(t, CodeFine)
	if strings.TrimSpace(r.Out) != "hub" {
		t.Errorf("a kubeconfig named before kubectl is not kubectl's: %q", r.Out)
	}
}

func TestKubectlCompletesThroughUs(t *testing.T) {
	r := windlass(t, "__complete", "kubectl", "rollout", "st")
	r.want(t, CodeFine)
	if !strings.Contains(r.Out, "status") {
		t.Errorf("completion of `kubectl rollout st` is %q", r.Out)
	}
}

func TestAsAPluginItGoesByTheNameOfThePlugin(t *testing.T) {
	var out, err bytes.Buffer
	code := run(t.Context(), []string{"/usr/local/bin/kubectl-windlass", "token", "--help"}, Streams{In: strings.NewReader(""), Out: &out, Err: &err})
	if code != CodeFine || !strings.Contains(out.String(), "kubectl windlass token") {
		t.Errorf("exit code %d, help:\n%s%s", code, out.String(), err.String())
	}
}

// onceSaid ends a context when all has been written that is waited for, in this order.
type onceSaid struct {
	wanted []string
	end    context.CancelFunc
}

func (o *onceSaid) Write(said []byte) (int, error) {
	if len(o.wanted) > 0 && bytes.Contains(said, []byte(o.wanted[0])) {
		o.wanted = o.wanted[1:]
	}
	if len(o.wanted) == 0 {
		o.end()
	}
	return len(said), nil
}

func TestStatusWatchGoesOnWhenTheHubCanAnswerAgain(t *testing.T) {
	hub := startFakeHub(t)
	hub.lists = emptyLists()
	hub.trouble = make(chan func(http.ResponseWriter), 2)
	hub.trouble <- func(w http.ResponseWriter) {
		answer(w, http.StatusInternalServerError, &metav1.Status{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}, Status: metav1.StatusFailure,
			Code: http.StatusInternalServerError, Reason: metav1.StatusReasonInternalError, Message: "etcdserver: no leader"})
	}
	hub.trouble <- func(w http.ResponseWriter) {
		w.Header().Set("Content-Length", "1000") // and less comes
		answer(w, http.StatusOK, hub.lists["memberclusters"])
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	out, failures := &onceSaid{wanted: []string{"etcdserver: no leader", "unexpected EOF", "No cluster has joined this hub yet"}, end: cancel}, bytes.Buffer{}
	code := run(ctx, []string{"windlass", "status", "--watch", "--kubeconfig", hub.kubeconfig(t)}, Streams{In: strings.NewReader(""), Out: out, Err: &failures})
	if code != CodeFine || len(out.wanted) > 0 {
		t.Errorf("exit code %d, and it never said %q; standard error:\n%s", code, out.wanted, failures.String())
	}
}

func TestStatusWatchEndsWhenTheHubDoesNotLetItLook(t *testing.T) {
	hub := startFakeHub(t)
	hub.lists, hub.forbidden = emptyLists(), clustersPath
	windlass(t, "status", "--watch", "--kubeconfig", hub.kubeconfig(t)).want(t, CodeNotAllowed, "forbidden")
}

var noMetadata = metav1.PartialObjectMetadataList{TypeMeta: metav1.TypeMeta{APIVersion: "meta.k8s.io/v1", Kind: "PartialObjectMetadataList"}}

// emptyLists are those of a hub with nothing on it.
func emptyLists() map[string]any {
	kind := func(group, kind string) metav1.TypeMeta {
		return metav1.TypeMeta{APIVersion: group + "/v1alpha1", Kind: kind}
	}
	return map[string]any{
		"memberclusters":             clusterv1alpha1.MemberClusterList{TypeMeta: kind("cluster.karmada.io", "MemberClusterList")},
		"propagationpolicies":        policyv1alpha1.PropagationPolicyList{TypeMeta: kind("policy.karmada.io", "PropagationPolicyList")},
		"clusterpropagationpolicies": policyv1alpha1.ClusterPropagationPolicyList{TypeMeta: kind("policy.karmada.io", "ClusterPropagationPolicyList")},
		"overridepolicies":           policyv1alpha1.OverridePolicyList{TypeMeta: kind("policy.karmada.io", "OverridePolicyList")},
		"clusteroverridepolicies":    policyv1alpha1.ClusterOverridePolicyList{TypeMeta: kind("policy.karmada.io", "ClusterOverridePolicyList")},
		"propagationbindings":        workv1alpha1.PropagationBindingList{TypeMeta: kind("work.karmada.io", "PropagationBindingList")},
		"clusterpropagationbindings": workv1alpha1.ClusterPropagationBindingList{TypeMeta: kind("work.karmada.io", "ClusterPropagationBindingList")},
		"propagationworks":           workv1alpha1.PropagationWorkList{TypeMeta: kind("work.karmada.io", "PropagationWorkList")},
		"deployments":                noMetadata,
		"statefulsets":               noMetadata,
		"daemonsets":                 noMetadata,
		"jobs":                       noMetadata,
		"cronjobs":                   noMetadata,
	}
}

func TestStatusCheckEndsWithAnExitCodeOfItsOwn(t *testing.T) {
	hub := startFakeHub(t)
	forgotten := noMetadata
	forgotten.Items = []metav1.PartialObjectMetadata{{
		TypeMeta: metav1.TypeMeta{APIVersion: "meta.k8s.io/v1", Kind: "PartialObjectMetadata"}, ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web"},
	}, {
		TypeMeta: metav1.TypeMeta{APIVersion: "meta.k8s.io/v1", Kind: "PartialObjectMetadata"}, ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: "of-the-hub"},
	}}
	hub.lists = emptyLists()
	clusters := hub.lists["memberclusters"].(clusterv1alpha1.MemberClusterList)
	clusters.Items = []clusterv1alpha1.MemberCluster{{ObjectMeta: metav1.ObjectMeta{Name: "edge-1"}}}
	hub.lists["memberclusters"], hub.lists["deployments"] = clusters, forgotten
	config := hub.kubeconfig(t)
	r := windlass(t, "status", "--kubeconfig", config)
	r.want(t, CodeFine)
	if !strings.HasPrefix(r.Out, "NOT FINE\n  cluster edge-1: no agent has enrolled yet") ||
		!strings.Contains(r.Out, "\nClaimed by no policy, so in no cluster: Deployment shop/web\n") {
		t.Errorf("the status is:\n%s", r.Out)
	}
	r = windlass(t, "status", "--check", "-o", "json", "--kubeconfig", config)
	r.want(t, CodeNotFine)
	var report status.Report
	if err := json.Unmarshal([]byte(r.Out), &report); err != nil {
		t.Fatal(err)
	}
	if r.Err != "" || report.Fine || len(report.Problems) != 1 || report.Problems[0].Reason != "NotJoined" {
		t.Errorf("the report is %+v, standard error %q", report, r.Err)
	}
}

func TestATokenForAClusterThatHasJoinedSaysThatItWillBeRefused(t *testing.T) {
	hub := startFakeHub(t)
	hub.clusters, hub.joined = []string{"edge-1", "edge-2"}, []string{"edge-1"}
	config := hub.kubeconfig(t)
	r := windlass(t, "token", "create", "--cluster", "edge-1", "--kubeconfig", config)
	r.want(t, CodeFine, "Warning: cluster edge-1 has joined already", "--rejoin")
	for _, args := range [][]string{{"--cluster", "edge-1", "--rejoin"}, {"--cluster", "edge-2"}, {"--cluster", "edge-3"}, {}} {
		r := windlass(t, append([]string{"token", "create", "--kubeconfig", config}, args...)...)
		if r.want(t, CodeFine); strings.Contains(r.Err, "Warning") {
			t.Errorf("token create %v warns: %s", args, r.Err)
		}
	}
}

func TestVersionAsJSON(t *testing.T) {
	r := windlass(t, "version", "-o", "json")
	r.want(t, CodeFine)
	var got build
	if err := json.Unmarshal([]byte(r.Out), &got); err != nil {
		t.Fatal(err)
	}
	if got.Version == "" || got.GoVersion == "" || got.APIVersion != outputVersion {
		t.Errorf("got %+v", got)
	}
}

func TestPagesAreReadToTheEndAndAgainWhenTheyExpire(t *testing.T) {
	asked := []string{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		next := r.URL.Query().Get("continue")
		asked = append(asked, next)
		page := windlassv1alpha1.JoinTokenList{TypeMeta: metav1.TypeMeta{APIVersion: "windlass.dev/v1alpha1", Kind: "JoinTokenList"}}
		switch {
		case next == "":
			page.Continue = fmt.Sprintf("p%d", len(asked))
			page.Items = []windlassv1alpha1.JoinToken{{ObjectMeta: metav1.ObjectMeta{Name: "a"}}}
		case next == "p1":
			answer(w, http.StatusGone, &metav1.Status{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}, Status: metav1.StatusFailure, Code: http.StatusGone, Reason: metav1.StatusReasonExpired})
			return
		default:
			page.Items = []windlassv1alpha1.JoinToken{{ObjectMeta: metav1.ObjectMeta{Name: "b"}}}
		}
		answer(w, http.StatusOK, &page)
	}))
	defer server.Close()
	config := filepath.Join(t.TempDir(), "config")
	if err := clientcmd.WriteToFile(clientcmdapi.Config{
		Clusters: map[string]*clientcmdapi.Cluster{"c": {Server: server.URL}}, Contexts: map[string]*clientcmdapi.Context{"c": {Cluster: "c"}}, CurrentContext: "c",
	}, config); err != nil {
		t.Fatal(err)
	}
	h, err := (&connection{kubeconfig: config}).dial()
	if err != nil {
		t.Fatal(err)
	}
	got, err := list(t.Context(), h, "", tokens, func(l *windlassv1alpha1.JoinTokenList) []string {
		names := []string{}
		for _, item := range l.Items {
			names = append(names, item.Name)
		}
		return names
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"a", "b"}, got); diff != "" {
		t.Errorf("objects (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"", "p1", "", "p3"}, asked); diff != "" {
		t.Errorf("pages asked for (-want +got):\n%s", diff)
	}
}
