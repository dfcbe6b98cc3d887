package install

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"windlass.dev/windlass/docs/doctest"
	"windlass.dev/windlass/hack/cluster"
)

// asked is set by make e2e-helm.
const asked = "WINDLASS_E2E_HELM"

func goEnv(t *testing.T, name string) string {
	t.Helper()
	value, err := exec.Command("go", "env", name).Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(value))
}

func TestWhatIsInstalledByTheChartsWorksOnRealNodes(t *testing.T) {
	if os.Getenv(asked) == "" {
		t.Skip("LEFT OUT: make e2e-helm runs it")
	}
	if err := cluster.NodeAvailable(); err != nil {
		t.Fatalf("this machine can't have a real node: %v", err)
	}
	s := newSite(t)
	for _, part := range []struct {
		name string
		run  func(*testing.T, *site)
	}{
		{"README's commands install a hub, join a cluster and start containers in it", readme},
		{"an upgrade with a changed value keeps everything", upgrade},
		{"the hub's pod is deleted and comes back with nothing lost", hubPodDeleted},
		{"an agent that can't join says why in one line", badInput},
		{"uninstalling leaves what it says", uninstall},
	} {
		// What follows stands on it.
		if !t.Run(part.name, func(t *testing.T) { part.run(t, s) }) {
			s.tell(t)
			return
		}
	}
}

// tell logs what a person would look at first.
func (s *site) tell(t *testing.T) {
	for _, at := range []*shell{s.atHub, s.atEdge} {
		for _, command := range []string{
			"kubectl get pods --all-namespaces --output wide", "kubectl get events --all-namespaces | tail -n 30",
			"for n in $(kubectl get namespaces -o name | cut -d/ -f2); do for p in $(kubectl -n $n get pods -o name); do echo \"== $n $p\"; kubectl -n $n logs $p --tail=15; done; done",
		} {
			if printed, _, err := at.try(t.Context(), command); err == nil {
				t.Logf("[%s] %s\n%s", at.name, command, printed)
			}
		}
	}
}

func readme(t *testing.T, s *site) {
	steps, err := doctest.Steps(filepath.Join(s.root, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	places := map[string][]*shell{
		"checkout": {s.atCheckout}, "nodes": {s.atHub, s.atEdge}, "hub": {s.atHub}, "desk": {s.desk}, "edge": {s.atEdge},
	}
	pasted := false
	for _, step := range steps {
		if len(places[step.In]) == 0 {
			t.Fatalf("README.md:%d: nobody knows where in=%s is", step.Line, step.In)
		}
		for _, at := range places[step.In] {
			printed := at.run(t, step.Command)
			if missing := step.Missing(printed); missing != "" {
				t.Fatalf("README.md:%d: $ %s\ndid not print %q", step.Line, step.Command, missing)
			}
			if strings.HasPrefix(step.Command, "helm install windlass-hub") {
				s.installHub = step.Command
			}
			if strings.Contains(step.Command, "-o helm") {
				_, command, _ := strings.Cut(printed, "helm ")
				s.atEdge.run(t, "helm "+command)
				pasted = true
			}
		}
	}
	if !pasted {
		t.Fatal("README.md prints no command for a member")
	}
	s.atEdge.awaits(t, `kubectl get pods --selector app=hello --output 'jsonpath={.items[*].status.phase}'`, func(printed string) bool {
		return printed == "Running Running"
	})
}

// identity is what must outlive an upgrade and a restart: that of the cluster, of its certificate's agent, of the
// volume, and of the pods that were started by way of the hub.
func (s *site) identity(t *testing.T) string {
	t.Helper()
	return strings.Join([]string{
		s.desk.run(t, "windlass kubectl get membercluster edge-1 --output 'jsonpath={.metadata.uid} {.spec.id} {.status.agent.certificateSerial}'"),
		s.desk.run(t, "windlass kubectl get deployment hello --output 'jsonpath={.metadata.uid}'"),
		s.atHub.run(t, "kubectl --namespace windlass-system get pvc --output 'jsonpath={.items[*].metadata.uid}'"),
		s.atEdge.run(t, "kubectl get pods --selector app=hello --output 'jsonpath={.items[*].metadata.uid}'"),
	}, "\n")
}

// settled waits until hub and member agree again.
func (s *site) settled(t *testing.T) {
	t.Helper()
	s.desk.awaits(t, "windlass status", func(printed string) bool {
		return !strings.Contains(printed, "NOT FINE")
	})
	s.desk.run(t, "windlass kubectl wait membercluster edge-1 --for=condition=Ready --timeout=3m")
}

// replicas changes a template on the hub, and waits until the member has followed and the hub knows.
func (s *site) replicas(t *testing.T, n string) {
	t.Helper()
	s.desk.run(t, "windlass kubectl scale deployment hello --replicas "+n)
	s.atEdge.awaits(t, "kubectl get deployment hello --output 'jsonpath={.status.readyReplicas}'", func(printed string) bool { return printed == n })
	s.desk.run(t, "windlass kubectl rollout status deployment/hello --timeout=3m")
	// Those that had to go are gone as well.
	s.atEdge.awaits(t, "kubectl get pods --selector app=hello --output name | wc -l", func(printed string) bool { return strings.TrimSpace(printed) == n })
}

func upgrade(t *testing.T, s *site) {
	const program = "kubectl get pods --all-namespaces --selector 'app.kubernetes.io/name in (windlass-hub, windlass-agent),app.kubernetes.io/component!=test' --output 'jsonpath={.items[*].metadata.uid}'"
	running := map[*shell]string{s.atHub: s.atHub.run(t, program), s.atEdge: s.atEdge.run(t, program)}
	before := s.identity(t)
	s.atHub.run(t, "helm upgrade windlass-hub charts/hub --namespace windlass-system --reset-then-reuse-values --set logLevel=debug")
	s.atHub.run(t, "kubectl --namespace windlass-system rollout status statefulset/windlass-hub --timeout=5m")
	s.atEdge.run(t, "helm upgrade windlass-agent charts/agent --namespace windlass-agent --reset-then-reuse-values --set logLevel=debug")
	s.atEdge.run(t, "kubectl --namespace windlass-agent rollout status deployment/windlass-agent --timeout=5m")
	s.settled(t)
	if after := s.identity(t); after != before {
		t.Errorf("before the upgrade:\n%s\nafter it:\n%s", before, after)
	}
	for at, old := range running {
		if now := at.run(t, program); now == "" || now == old {
			t.Errorf("the pod %s has not taken the new value up", old)
		}
	}
	s.replicas(t, "3")
}

func hubPodDeleted(t *testing.T, s *site) {
	before := s.identity(t)
	old := s.atHub.run(t, "kubectl --namespace windlass-system get pod windlass-hub-0 --output 'jsonpath={.metadata.uid}'")
	s.atHub.run(t, "kubectl --namespace windlass-system delete pod windlass-hub-0")
	s.atHub.awaits(t, "kubectl --namespace windlass-system get pod windlass-hub-0 --output 'jsonpath={.metadata.uid}'", func(printed string) bool {
		return printed != "" && printed != old
	})
	s.atHub.run(t, "kubectl --namespace windlass-system wait pod windlass-hub-0 --for=condition=Ready --timeout=5m")
	s.settled(t)
	if after := s.identity(t); after != before {
		t.Errorf("before the pod was deleted:\n%s\nafter it:\n%s", before, after)
	}
	s.replicas(t, "2")
	s.atHub.run(t, "helm test windlass-hub --namespace windlass-system --logs")
	s.atEdge.run(t, "helm test windlass-agent --namespace windlass-agent --logs")
}
