package install

import (
	"strings"
	"testing"
)

func uninstall(t *testing.T, s *site) {
	pods := "kubectl get pods --selector app=hello --output 'jsonpath={.items[*].metadata.uid}'"
	before := s.atEdge.run(t, pods)

	t.Run("an agent that goes leaves what it applied, and comes back without a token", func(t *testing.T) {
		printed := s.atEdge.run(t, "helm get notes windlass-agent --namespace windlass-agent")
		if !strings.Contains(printed, "UNINSTALLING keeps what the agent has applied") {
			t.Errorf("the notes do not say what becomes of the objects")
		}
		values := s.atEdge.run(t, "helm get values windlass-agent --namespace windlass-agent --output yaml | grep -v token: >$HOME/values.yaml; cat $HOME/values.yaml")
		if strings.Contains(values, "wl1.") {
			t.Fatal("the token is still among the values")
		}
		s.atEdge.run(t, "helm uninstall windlass-agent --namespace windlass-agent --wait")
		s.desk.awaits(t, "windlass kubectl get membercluster edge-1 --output 'jsonpath={.status.conditions[?(@.type==\"Ready\")].status}'", func(printed string) bool {
			return printed != "True"
		})
		if after := s.atEdge.run(t, pods); after != before {
			t.Errorf("the pods were %s and are %s", before, after)
		}
		s.atEdge.run(t, "helm install windlass-agent charts/agent --namespace windlass-agent --values $HOME/values.yaml")
		s.settled(t)
		s.replicas(t, "1")
		s.replicas(t, "2")
		before = s.atEdge.run(t, pods)
	})
	t.Run("a hub that goes leaves members as they are, and its volume brings it back", func(t *testing.T) {
		identity := s.identity(t)
		s.atHub.run(t, "helm uninstall windlass-hub --namespace windlass-system --wait")
		s.atHub.run(t, "kubectl --namespace windlass-system get pvc data-windlass-hub-0")
		if after := s.atEdge.run(t, pods); after != before {
			t.Errorf("the pods were %s and are %s", before, after)
		}
		s.atHub.run(t, s.installHub)
		s.atHub.run(t, "kubectl --namespace windlass-system rollout status statefulset/windlass-hub --timeout 5m")
		s.settled(t)
		if again := s.identity(t); again != identity {
			t.Errorf("before:\n%s\ninstalled again:\n%s", identity, again)
		}
		s.replicas(t, "3")
	})
	t.Run("a cluster that is deleted on the hub loses what it had of it", func(t *testing.T) {
		s.desk.run(t, "windlass kubectl delete membercluster edge-1 --timeout=3m")
		s.atEdge.awaits(t, "kubectl get deployments --output name", func(printed string) bool { return printed == "" })
		s.atEdge.run(t, "helm uninstall windlass-agent --namespace windlass-agent --wait")
	})
}
