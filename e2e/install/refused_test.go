package install

import (
	"cmp"
	"fmt"
	"strings"
	"testing"

	"windlass.dev/windlass/e2e/fleet"
	"windlass.dev/windlass/hack/cluster"
)

// badInput installs one agent for each mistake, each into a namespace of its own.
func badInput(t *testing.T, s *site) {
	t.Run("without an address nothing is installed", func(t *testing.T) {
		printed := s.atEdge.fails(t, "helm install windlass-agent charts/agent --namespace no-address --create-namespace --set cluster.name=edge-2")
		if !strings.Contains(printed, "hub.address") {
			t.Errorf("the value is not named:\n%s", printed)
		}
	})
	t.Run("with a typo in the values nothing is installed", func(t *testing.T) {
		for chart, set := range map[string]string{"charts/agent": "hub.adress=x:1", "charts/hub": "advertisedAddress=x"} {
			printed := s.atEdge.fails(t, "helm install typo "+chart+" --namespace typo --create-namespace --set "+set)
			name := set[strings.LastIndex(set, ".")+1 : strings.Index(set, "=")]
			if !strings.Contains(printed, name) {
				t.Errorf("the value %s is not named:\n%s", name, printed)
			}
		}
	})

	proxy := fleet.NewProxy(t, s.address, "somebody", "else")
	hub := fmt.Sprintf("%s:%d", s.address, linkPort)
	token := func(flags string) string {
		return strings.Fields(s.desk.run(t, "windlass token create "+flags+" 2>/dev/null"))[0]
	}
	expired := token("--cluster edge-2 --ttl 1s")
	wrongPin := token("--cluster edge-2")
	wrongPin = wrongPin[:strings.LastIndex(wrongPin, ".")+1] + strings.Repeat("0", 64)
	used := strings.TrimSpace(s.atEdge.run(t, "kubectl --namespace windlass-agent get secret windlass-agent-token --output 'jsonpath={.data.token}' | base64 --decode"))

	cases := []struct {
		name    string
		in      *cluster.Member
		address string
		cluster string
		token   string
		set     string
		says    string
	}{
		{name: "wrong-pin", in: s.edge, token: wrongPin, says: "pin"},
		{name: "expired-token", in: s.edge, token: expired, says: "ended at"},
		{name: "used-token", in: s.edge, token: used, cluster: "edge-1", says: "was used already"},
		// The hub's own cluster is another one, and has not joined.
		{name: "taken-name", in: s.hub, token: token("--cluster edge-1"), cluster: "edge-1", says: "is taken: a cluster with another"},
		{name: "unknown-address", in: s.edge, token: token("--cluster edge-2"), address: "hub.example.invalid:8443", says: "does not exist for this machine's DNS"},
		{name: "proxy-refuses", in: s.edge, token: token("--cluster edge-2"), set: "--set proxy.https=http://" + proxy.Address(), says: "407"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			at := s.prompt(t, c.name, c.in)
			at.run(t, fmt.Sprintf("helm install windlass-agent charts/agent --namespace %s --create-namespace --set-string hub.address=%s,cluster.name=%s,hub.token=%s --set test.wait=5s %s",
				c.name, cmp.Or(c.address, hub), cmp.Or(c.cluster, "edge-2"), c.token, c.set))
			logs := at.awaits(t, "kubectl --namespace "+c.name+" logs deployment/windlass-agent", contains(c.says))
			t.Logf("its pod says: %s", lineWith(logs, c.says))
			printed := at.fails(t, "helm test windlass-agent --namespace "+c.name+" --logs")
			if lineWith(printed, c.says) == "" {
				t.Errorf("helm test does not say %q", c.says)
			}
			state := at.run(t, "kubectl --namespace "+c.name+" get pods --selector app.kubernetes.io/component!=test --output 'jsonpath={.items[0].status.containerStatuses[0].ready} {.items[0].status.containerStatuses[0].restartCount}'")
			if state != "false 0" {
				t.Errorf("ready and restarts are %q", state)
			}
			at.run(t, "helm uninstall windlass-agent --namespace "+c.name+" && kubectl delete namespace --wait=false "+c.name)
		})
	}
}

func lineWith(text, part string) string {
	for line := range strings.Lines(text) {
		if strings.Contains(line, part) {
			return line
		}
	}
	return ""
}
