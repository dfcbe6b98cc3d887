package e2e

import (
	"context"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/utils/ptr"

	"windlass.dev/windlass/e2e/fleet"
	"windlass.dev/windlass/hack/cluster"
)

// newHub prepares, without starting it, a hub of a test's own. It is killed when the test ends.
func newHub(t *testing.T, f *fleet.Fleet, flags ...string) *cluster.Hub {
	t.Helper()
	hub, err := cluster.NewHub(cluster.HubConfig{Dir: f.Dir(t), Binary: f.Binary("windlass-hub"), CLI: f.Binary("windlass"), Flags: flags})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if hub.Process() != nil {
			_ = hub.Kill()
		}
	})
	return hub
}

func TestAHubThatIsAskedToStopSaysSoAndEndsItsWatches(t *testing.T) {
	t.Parallel()
	f := fleet.Shared(t)
	hub := newHub(t, f)
	if err := hub.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	watching, err := clientOf(t, hub).CoreV1().ConfigMaps("").Watch(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(watching.Stop)
	cutOff(t, hub.APIAddress())
	if err := hub.Stop(); err != nil {
		t.Fatal(err)
	}
	if code := hub.Process().ExitCode(); code != 0 {
		t.Errorf("it ended with code %d", code)
	}
	log := hub.Process().Tail(1000)
	lines := strings.Split(strings.TrimSpace(log), "\n")
	hasNoErrors(t, log)
	if !strings.Contains(log, `msg="the hub is stopping"`) || !strings.Contains(lines[len(lines)-1], `msg="the hub has stopped"`) {
		t.Errorf("the log does not say that the hub is stopping, or not in the end that it has stopped:\n%s", log)
	}
}

// hasNoErrors makes sure that a log has none, and no line that did not go through the log.
func hasNoErrors(t *testing.T, log string) {
	t.Helper()
	for line := range strings.Lines(log) {
		if !strings.HasPrefix(line, "time=") || strings.Contains(line, "level=ERROR") && !ofTheMachine(line) {
			t.Errorf("the log has a line that should not be there: %s", line)
		}
	}
}

// ofTheMachine says whether a line of the log is about a machine with too much on it: it may keep the API server from its own
// API for a while, and has watches of files (fs.inotify.max_user_instances) for so many programs only. The API server says so and
// goes on without.
func ofTheMachine(line string) bool {
	return strings.Contains(line, "TLS handshake timeout") || strings.Contains(line, "watch") && strings.Contains(line, "too many open files")
}

// cutOff begins to speak HTTP/2 with a server and cuts the connection.
func cutOff(t *testing.T, address string) {
	t.Helper()
	raw, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	connection := tls.Client(raw, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
	if err := connection.Handshake(); err != nil {
		t.Fatal(err)
	}
	_ = raw.(*net.TCPConn).SetLinger(0) // a reset
	_ = raw.Close()
}

func TestAHubThatIsAskedToStopWaitsForNoWebhookAndLosesNothingThatItAnswered(t *testing.T) {
	t.Parallel()
	f := fleet.Shared(t)
	hub := newHub(t, f)
	if err := hub.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	client := clientOf(t, hub)
	asked := silentWebhook(t, client)
	var made []string
	refused := make(chan error, 1)
	go func() {
		for { // until the webhook is in effect
			created, err := client.CoreV1().ConfigMaps("default").Create(context.Background(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{GenerateName: "made-"}}, metav1.CreateOptions{})
			if err != nil {
				refused <- err
				return
			}
			made = append(made, created.Name)
		}
	}()
	select {
	case <-asked:
	case err := <-refused:
		t.Fatal(err)
	}
	if err := hub.Process().Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := hub.Process().Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-refused; apierrors.ReasonForError(err) != metav1.StatusReasonUnknown {
		t.Errorf("the hub has waited until the webhook's time was over, and answered: %v", err)
	}
	code, log := hub.Process().ExitCode(), strings.TrimSpace(hub.Process().Tail(1000))
	if code != 0 || !strings.Contains(log, "requests to the API that have not come to their end are cut off") || !strings.HasSuffix(log, `msg="the hub has stopped"`) {
		t.Errorf("it ended with code %d:\n%s", code, log)
	}

	if err := hub.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	found, err := clientOf(t, hub).CoreV1().ConfigMaps("default").List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range made {
		if !slices.ContainsFunc(found.Items, func(c corev1.ConfigMap) bool { return c.Name == name }) {
			t.Errorf("the hub has said that %s was made, and it is gone", name)
		}
	}
}

// clientOf makes a client with all rights.
func clientOf(t *testing.T, hub *cluster.Hub) kubernetes.Interface {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", hub.Kubeconfig())
	if err != nil {
		t.Fatal(err)
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// silentWebhook has a hub ask about new ConfigMaps somebody who never answers, and tells when it was asked first.
func silentWebhook(t *testing.T, client kubernetes.Interface) (asked <-chan struct{}) {
	t.Helper()
	first := make(chan struct{})
	tell := sync.OnceFunc(func() { close(first) })
	server := httptest.NewTLSServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		tell()
		<-r.Context().Done()
	}))
	t.Cleanup(server.Close)
	webhook := &admissionv1.ValidatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: "silent"},
		Webhooks: []admissionv1.ValidatingWebhook{{
			Name: "silent.example.com", AdmissionReviewVersions: []string{"v1"}, SideEffects: ptr.To(admissionv1.SideEffectClassNone),
			TimeoutSeconds: ptr.To[int32](30), // as long as there is
			ClientConfig: admissionv1.WebhookClientConfig{
				URL:      &server.URL,
				CABundle: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}),
			},
			Rules: []admissionv1.RuleWithOperations{{
				Operations: []admissionv1.OperationType{admissionv1.Create},
				Rule:       admissionv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"configmaps"}},
			}},
		}},
	}
	if _, err := client.AdmissionregistrationV1().ValidatingWebhookConfigurations().Create(t.Context(), webhook, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	return first
}

func TestAHubThatIsAskedToStopWhileItWaitsForItsStoreStops(t *testing.T) {
	t.Parallel()
	f := fleet.Shared(t)
	silent := listen(t, func(net.Conn) {})
	hub := newHub(t, f, "--etcd-servers=http://"+silent)
	if err := hub.Launch(); err != nil {
		t.Fatal(err)
	}
	fleet.WaitFor(t, "the hub to say what it waits for", func() error {
		if log := hub.Process().Tail(20); !strings.Contains(log, "waiting for the store") {
			return errors.New(log)
		}
		return nil
	})
	if err := hub.Process().Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := hub.Process().Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	if code, log := hub.Process().ExitCode(), hub.Process().Tail(20); code != 0 || !strings.Contains(log, "the hub has stopped") {
		t.Errorf("it ended with code %d:\n%s", code, log)
	}
}

func TestAHubThatIsAskedToStopWhileItStartsStopsAndSaysNothingElse(t *testing.T) {
	t.Parallel()
	f := fleet.Shared(t)
	hub := newHub(t, f)
	if err := hub.Launch(); err != nil {
		t.Fatal(err)
	}
	fleet.WaitFor(t, "the hub to have made its kubeconfig, before its API is ready", func() error {
		_, err := os.Stat(hub.Kubeconfig())
		return err
	})
	if err := hub.Process().Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := hub.Process().Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	code, log := hub.Process().ExitCode(), hub.Process().Tail(1000)
	if code != 0 || !strings.Contains(log, "the hub has stopped") {
		t.Errorf("it ended with code %d:\n%s", code, log)
	}
	hasNoErrors(t, log)
}

func TestProgramsSayTheirVersionAndTheirOwnFlagsOnly(t *testing.T) {
	f := fleet.Shared(t)
	flag := regexp.MustCompile(`--[a-z][a-z-]*`)
	for program, page := range map[string]string{"windlass-hub": "hub-flags.md", "windlass-agent": "agent-flags.md"} {
		version, err := exec.CommandContext(t.Context(), f.Binary(program), "--version").Output()
		if err != nil || !strings.HasPrefix(string(version), program+" version v") || strings.Count(string(version), "\n") != 1 {
			t.Errorf("%s --version: %v: %s", program, err, version)
		}
		help, err := exec.CommandContext(t.Context(), f.Binary(program), "--help").Output()
		if err != nil {
			t.Fatal(err)
		}
		reference, err := os.ReadFile(filepath.Join("..", "docs", "reference", page))
		if err != nil {
			t.Fatal(err)
		}
		documented := append(flag.FindAllString(string(reference), -1), "--help", "--version")
		for line := range strings.Lines(string(help)) {
			if name := flag.FindString(line); name != "" && !slices.Contains(documented, name) {
				t.Errorf("%s has the flag %s, which is not in %s", program, name, page)
			}
		}
		// Flags that libraries declare for every program are not taken, shown or not.
		for _, foreign := range []string{"--log-flush-frequency=1s", "--version=raw"} {
			output, err := exec.CommandContext(t.Context(), f.Binary(program), foreign, "--help=false", "--config=/nowhere").CombinedOutput()
			if err == nil || strings.Contains(string(output), "/nowhere") {
				t.Errorf("%s takes %s: %v: %s", program, foreign, err, output)
			}
		}
	}
}

func TestTheHubsMetricsTellOfItsControllers(t *testing.T) {
	f := fleet.Shared(t)
	text, err := f.Hub().CLI(t.Context(), "kubectl", "get", "--raw", "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`windlass_hub_controller_runtime_reconcile_total{controller="policy",result="success"}`,
		`windlass_hub_controller_runtime_reconcile_errors_total{controller="scheduler"}`,
		`windlass_hub_workqueue_depth{controller="binding"`,
	} {
		if !strings.Contains(text, "\n"+want) {
			t.Errorf("there is no %s", want)
		}
	}
}
