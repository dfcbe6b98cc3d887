package charts_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"windlass.dev/windlass/agent"
	"windlass.dev/windlass/hub/settings"
)

func TestWhatCannotWorkIsRefusedAndNamed(t *testing.T) {
	for _, c := range []struct {
		reason, chart string
		set           []string
		says          []string
		never         string // what must not be repeated
	}{
		{reason: "no address", chart: "agent", says: []string{`hub.address: say HOST:PORT of the hub's link; "windlass token create -o helm" prints the whole command`}},
		{reason: "an address without a port", chart: "agent", set: []string{"hub.address=hub.example.com"}, says: []string{"/hub/address", "hub.example.com"}},
		{reason: "a URL in the address's place", chart: "agent", set: []string{"hub.address=https://hub.example.com:8443"}, says: []string{"/hub/address"}},
		{reason: "a slip in a name", chart: "agent", set: []string{address, "hub.adress=x"}, says: []string{"/hub", "adress", "not allowed"}},
		{reason: "a slip in an outermost name", chart: "agent", set: []string{address, "resource.limits.cpu=1"}, says: []string{"'resource'", "not allowed"}},
		{reason: "the name that an older command printed", chart: "agent", set: []string{address, "join.token=" + token}, says: []string{"'join'", "not allowed"}},
		{reason: "a number in a text's place", chart: "agent", set: []string{address, "cluster.region=3"}, says: []string{"/cluster/region", "got number, want string"}},
		{reason: "a text in a list's place", chart: "agent", set: []string{address, "cluster.zones=eu-west-1"}, says: []string{"/cluster/zones", "want array"}},
		{reason: "a label with a number", chart: "agent", set: []string{address, "cluster.labels.tier=1"}, says: []string{"/cluster/labels/tier", "want string"}},
		{reason: "a label that is the hub's to set", chart: "agent", set: []string{address, `cluster.labels.windlass\.dev/x=y`}, says: []string{`cluster.labels: "windlass.dev/x" is reserved`}},
		{reason: "a name that no cluster can have", chart: "agent", set: []string{address, "cluster.name=Edge_1"}, says: []string{"/cluster/name", "Edge_1"}},
		{reason: "a name too long", chart: "agent", set: []string{address, "cluster.name=" + strings.Repeat("a", 49)}, says: []string{"/cluster/name", "maxLength", "want 48"}},
		{reason: "both ways to give the token", chart: "agent", set: []string{address, "hub.token=" + token, "hub.existingSecret=join"}, says: []string{"hub.token and hub.existingSecret", "one of the two"}, never: token},
		{reason: "half a token", chart: "agent", set: []string{address, "hub.token=" + token[:60]}, says: []string{"hub.token: that is no join token", "was all of it copied?"}, never: token[20:60]},
		{reason: "credentials that everybody could read", chart: "agent", set: []string{address, "proxy.https=http://user:secret1@proxy:3128"}, says: []string{"proxy.https has credentials", "proxy.existingSecret"}, never: "secret1"},
		{reason: "two proxies", chart: "agent", set: []string{address, "proxy.https=http://proxy:3128", "proxy.existingSecret=proxy"}, says: []string{"proxy.https and proxy.existingSecret"}},
		{reason: "two sets of authorities", chart: "agent", set: []string{address, "proxy.caBundle=-----BEGIN CERTIFICATE-----", "proxy.caConfigMap=ca"}, says: []string{"proxy.caBundle and proxy.caConfigMap"}},
		{reason: "a preset that does not exist", chart: "agent", set: []string{address, "rbac.preset=some"}, says: []string{"/rbac/preset", "'full', 'namespaced', 'custom'"}},
		{reason: "rights in no namespace", chart: "agent", set: []string{address, "rbac.preset=namespaced"}, says: []string{"rbac.namespaces", "at least one"}},
		{reason: "rights in the agent's own namespace", chart: "agent", set: []string{address, "rbac.preset=namespaced", "rbac.namespaces={windlass-agent}"}, says: []string{"rbac.namespaces: windlass-agent is the agent's own"}},
		{reason: "namespaces without a meaning", chart: "agent", set: []string{address, "rbac.namespaces={shop}"}, says: []string{"rbac.namespaces has a meaning with rbac.preset namespaced only", "--set rbac.namespaces=null"}},
		{reason: "rules without a meaning", chart: "agent", set: []string{address, "rbac.rules[0].verbs={get}"}, says: []string{"rbac.rules have a meaning with rbac.preset custom only"}},
		{reason: "a setting that has a value of its own", chart: "agent", set: []string{address, "config.hub=hub:8443"}, says: []string{"/config", "'hub'", "not allowed"}},
		{reason: "a duration that is none", chart: "agent", set: []string{address, "config.brake.window=soon"}, says: []string{"/config/brake/window", "soon"}},

		{reason: "a label by which the pod is found", chart: "agent", set: []string{address, `podLabels.app\.kubernetes\.io/name=web`}, says: []string{`podLabels: "app.kubernetes.io/name" is a label that the chart sets itself`}},
		{reason: "one that only the pod has", chart: "agent", set: []string{address, `commonLabels.app\.kubernetes\.io/component=web`}, says: []string{`commonLabels: "app.kubernetes.io/component" is a label that the chart sets itself`}},
		{reason: "one label twice", chart: "agent", set: []string{address, "commonLabels.team=a", "podLabels.team=b"}, says: []string{`podLabels: "team" is among commonLabels`}},
		{reason: "a label by which the hub's pod is found", chart: "hub", set: []string{`podLabels.app\.kubernetes\.io/instance=web`}, says: []string{`podLabels: "app.kubernetes.io/instance" is a label that the chart sets itself`}},
		{reason: "a label of the chart", chart: "hub", set: []string{`commonLabels.helm\.sh/chart=web`}, says: []string{`commonLabels: "helm.sh/chart" is a label that the chart sets itself`}},
		{reason: "one label of the hub's twice", chart: "hub", set: []string{"commonLabels.team=a", "podLabels.team=b"}, says: []string{`podLabels: "team" is among commonLabels`}},
		{reason: "a DNS policy that needs more than there is", chart: "hub", set: []string{"dnsPolicy=None"}, says: []string{"/dnsPolicy"}},
		{reason: "an annotation of the chart's own", chart: "hub", set: []string{"podAnnotations.checksum/config=x"}, says: []string{`podAnnotations: "checksum/config" is an annotation that the chart sets itself`}},
		{reason: "an annotation of the agent chart's own", chart: "agent", set: []string{address, "hub.token=" + token, "podAnnotations.checksum/token=x"}, says: []string{`podAnnotations: "checksum/token" is an annotation that the chart sets itself`}},
		{reason: "annotations for Prometheus twice", chart: "agent", set: []string{address, "metrics.scrapeAnnotations=true", `podAnnotations.prometheus\.io/port=metrics`}, says: []string{`podAnnotations: "prometheus.io/port" is an annotation that the chart sets itself`}},
		{reason: "two ways to give the API's certificate", chart: "hub", set: []string{"api.tls.existingSecret=api", "config.apiServerFlags.tls-sni-cert-key=/a"}, says: []string{"api.tls.existingSecret and config.apiServerFlags.tls-sni-cert-key"}},
		{reason: "a port that no host has", chart: "agent", set: []string{"hub.address=hub.example.com:70000"}, says: []string{"hub.address: hub.example.com:70000 has no port from 1 to 65535"}},
		{reason: "a label's value with a space", chart: "agent", set: []string{address, "cluster.labels.tier=the edge"}, says: []string{`cluster.labels.tier: "the edge" is no label's value`}},
		{reason: "a label's key that is none", chart: "agent", set: []string{address, "cluster.labels.a b=c"}, says: []string{`cluster.labels: "a b" is no label's key`}},
		{reason: "a label's key with a domain that is none", chart: "agent", set: []string{address, `cluster.labels.Example\.com/tier=c`}, says: []string{`cluster.labels: "Example.com/tier" is no label's key`}},
		{reason: "a label's value too long", chart: "hub", set: []string{"podLabels.a=" + strings.Repeat("a", 64)}, says: []string{"podLabels.a: ", "at most 63"}},
		{reason: "a node's label that is none", chart: "hub", set: []string{"nodeSelector.disk type=ssd"}, says: []string{`nodeSelector: "disk type" is no label's key`}},
		{reason: "a node's label of the agent's that is none", chart: "agent", set: []string{address, "nodeSelector.disk=s s d"}, says: []string{`nodeSelector.disk: "s s d" is no label's value`}},
		{reason: "an agent that would be started again and again", chart: "agent", set: []string{address, "config.retryRefused=0s"}, says: []string{"config.retryRefused is 0s: want more than 0s"}},
		{reason: "a port that nodes don't give", chart: "hub", set: []string{"advertiseAddress=192.0.2.1", "link.service.type=NodePort", "link.service.nodePort=8443"}, says: []string{"link.service.nodePort is 8443", "30000 to 32767"}},
		{reason: "one of the API", chart: "hub", set: []string{"api.service.type=NodePort", "api.service.nodePort=32768"}, says: []string{"api.service.nodePort is 32768"}},
		{reason: "one port of the nodes for both", chart: "hub", set: []string{"advertiseAddress=192.0.2.1", "link.service.type=NodePort", "link.service.nodePort=30443", "api.service.type=NodePort", "api.service.nodePort=30443"}, says: []string{"api.service.nodePort and link.service.nodePort are both 30443"}},
		{reason: "ten bytes", chart: "hub", set: []string{"persistence.size=10"}, says: []string{"persistence.size is 10: say a unit, such as 10Gi"}},
		{reason: "bytes as a number", chart: "hub", set: []string{"persistence.size=10000000000"}, says: []string{"persistence.size is 1"}},
		{reason: "several hubs", chart: "hub", set: []string{"replicas=2"}, says: []string{"/replicas", "must be 1"}},
		{reason: "a slip in a name of the hub's", chart: "hub", set: []string{"advertisedAddress=hub.example.com"}, says: []string{"'advertisedAddress'", "not allowed"}},
		{reason: "a port in the address", chart: "hub", set: []string{"advertiseAddress=hub.example.com:8443"}, says: []string{"/advertiseAddress"}},
		{reason: "a type of Service that does not exist", chart: "hub", set: []string{"link.service.type=Ingress"}, says: []string{"/link/service/type", "'ClusterIP', 'NodePort', 'LoadBalancer'"}},
		{reason: "an address that exists nowhere", chart: "hub", set: []string{"link.service.type=NodePort", "link.service.nodePort=30843"}, says: []string{"advertiseAddress: with link.service.type NodePort"}},
		{reason: "rights for everybody in the namespace", chart: "agent", set: []string{address, "serviceAccount.create=false"}, says: []string{"serviceAccount.name: with serviceAccount.create false"}},
		{reason: "the admin kubeconfig for everybody in the namespace", chart: "hub", set: []string{"serviceAccount.create=false"}, says: []string{"serviceAccount.name: with serviceAccount.create false", "admin kubeconfig"}},
		{reason: "a port that nobody could be told", chart: "hub", set: []string{"advertiseAddress=192.0.2.1", "link.service.type=NodePort"}, says: []string{"link.service.nodePort: say the port"}},
		{reason: "one port for both", chart: "hub", set: []string{"api.port=8443"}, says: []string{"api.port and link.port are both 8443"}},
		{reason: "an etcd without the way to trust it", chart: "hub", set: []string{"etcd.external.endpoints={https://etcd:2379}"}, says: []string{"etcd.external.existingSecret", "ca.crt, tls.crt and tls.key"}},
		{reason: "an etcd that is no URL", chart: "hub", set: []string{"etcd.external.endpoints={etcd:2379}"}, says: []string{"/etcd/external/endpoints/0"}},
		{reason: "the etcd's Secret without the etcd", chart: "hub", set: []string{"etcd.external.existingSecret=etcd"}, says: []string{"without etcd.external.endpoints"}},
		{reason: "keys that would be lost with the pod", chart: "hub", set: []string{"etcd.external.endpoints={http://etcd:2379}", "persistence.enabled=false"}, says: []string{"pki.existingSecret", "lost with the pod"}},
		{reason: "a claim that is not used", chart: "hub", set: []string{"persistence.enabled=false", "persistence.existingClaim=x"}, says: []string{"persistence.existingClaim is given"}},
		{reason: "a size that is none", chart: "hub", set: []string{"persistence.size=big"}, says: []string{"/persistence/size", "big"}},
		{reason: "an unknown setting of the hub", chart: "hub", set: []string{"config.link.windows=3"}, says: []string{"/config/link", "'windows'", "not allowed"}},
	} {
		t.Run(c.chart+" "+c.reason, func(t *testing.T) {
			var set []string
			for _, value := range c.set {
				set = append(set, "--set", value)
			}
			out, failure, err := run(t, template(c.chart, set...)...)
			if err == nil {
				t.Fatalf("it is taken:\n%s", out)
			}
			for _, part := range c.says {
				if !strings.Contains(failure, part) {
					t.Errorf("it is not said: %s\n%s", part, failure)
				}
			}
			if c.never != "" && strings.Contains(out+failure, c.never) {
				t.Errorf("what is secret is repeated:\n%s", failure)
			}
		})
	}
}

// TestTheChartsRefuseTheSettingsThatTheProgramsRefuse gives settings to the chart and to the program itself.
func TestTheChartsRefuseTheSettingsThatTheProgramsRefuse(t *testing.T) {
	for _, c := range []struct {
		chart, config string
		fine          bool
	}{
		{"hub", `{}`, true},
		{"hub", `{"link":{"heartbeatInterval":"0s"}}`, false},
		{"hub", `{"link":{"heartbeatInterval":"1ms"}}`, true},
		{"hub", `{"link":{"heartbeatInterval":"999us"}}`, false},
		{"hub", `{"link":{"heartbeatInterval":"22.5s"}}`, true},
		{"hub", `{"link":{"heartbeatInterval":"22501ms"}}`, false},
		{"hub", `{"link":{"heartbeatInterval":"1m"}}`, false},
		{"hub", `{"link":{"heartbeatInterval":"1m30s","heartbeatTimeout":"3m"}}`, true},
		{"hub", `{"link":{"heartbeatInterval":"1m30s","heartbeatTimeout":"0.04h35s999ms"}}`, false},
		{"hub", `{"link":{"heartbeatTimeout":"40s"}}`, true},
		{"hub", `{"link":{"heartbeatTimeout":"39s"}}`, false},
		{"hub", `{"link":{"deletionWindow":"1s"}}`, true},
		{"hub", `{"link":{"deletionWindow":"999ms"}}`, false},
		{"hub", `{"capacity":{"timeout":"1ms","maxAge":"1ms","assumeFor":"1s"}}`, true},
		{"hub", `{"capacity":{"timeout":"0s"}}`, false},
		{"hub", `{"capacity":{"maxAge":"0s"}}`, false},
		{"hub", `{"capacity":{"assumeFor":"999ms"}}`, false},
		{"hub", `{"link":{"window":100000}}`, true},
		{"hub", `{"link":{"window":100001}}`, false},
		{"hub", `{"link":{"window":0}}`, false},
		{"hub", `{"controllers":{"kindRetryInterval":"0s"}}`, false},
		{"hub", `{"controllers":{"kindRetryInterval":"1m"}}`, true},
		{"hub", `{"controllers":{"kindRetryInterval":"61s"}}`, false},
		{"hub", `{"controllers":{"kindRetryMost":"999ms"}}`, false},
		{"hub", `{"controllers":{"clusterGrace":"0s","clusterLost":"0s","statusSettle":"0s","policyStatusInterval":"0s"}}`, true},
		{"agent", `{}`, true},
		{"agent", `{"brake":{"window":"0s"}}`, false},
		{"agent", `{"brake":{"window":"1ns"}}`, true},
		{"agent", `{"link":{"maxBackoff":"1s"}}`, true},
		{"agent", `{"link":{"maxBackoff":"999ms"}}`, false},
		{"agent", `{"link":{"minBackoff":"1m"}}`, true},
		{"agent", `{"link":{"minBackoff":"1m1s"}}`, false},
		{"agent", `{"link":{"minBackoff":"0s","maxBackoff":"0s","stableAfter":"0s"}}`, true},
		{"agent", `{"apply":{"maxBackoff":"0s"},"facts":{"interval":"0s"},"reports":{"settle":"0s"}}`, true},
	} {
		t.Run(c.chart+" "+c.config, func(t *testing.T) {
			program := judge(t, c.chart, c.config)
			_, failure, chart := run(t, template(c.chart, "--values", valueSets(t, c.chart)[0], "--set-json", "config="+c.config)...)
			if (program == nil) != c.fine {
				t.Errorf("the program takes it: %v, want %v (%v)", program == nil, c.fine, program)
			}
			if (chart == nil) != c.fine {
				t.Errorf("the chart takes it: %v, want %v\n%s", chart == nil, c.fine, failure)
			}
		})
	}
}

// judge has the program judge settings of its configuration file.
func judge(t *testing.T, chart, config string) error {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	if chart == "hub" {
		hub := settings.DefaultConfig()
		if err := hub.ReadFile(path); err != nil {
			return err
		}
		return hub.Complete()
	}
	member := agent.DefaultConfig()
	if err := member.ReadFile(path); err != nil {
		return err
	}
	member.Hub = "hub.example.com:8443"
	return member.Validate()
}

// settingRow is a row of the reference of settings that names a setting.
var settingRow = regexp.MustCompile("(?m)^\\| `([a-zA-Z.]+)` \\|")

// The settings that a chart has values of its own for, or gives itself.
var ownSettings = map[string][]string{
	"agent": {"hub", "tokenFile", "clusterName", "kubeconfig", "labels", "provider", "region", "zones", "stateNamespace", "proxyCAFile", "healthListen", "logLevel"},
	"hub": {"dataDir", "pkiDir", "apiListen", "linkListen", "advertiseAddress", "advertiseLinkPort", "tlsSANs", "logLevel", "kubeconfigSecret.name", "kubeconfigSecret.server", "kubeconfigSecret.caFile",
		"etcd.servers", "etcd.caFile", "etcd.certFile", "etcd.keyFile"},
}

func TestEverySettingCanBeGivenByConfigOrAValue(t *testing.T) {
	for _, chart := range chartNames {
		page, err := os.ReadFile("../docs/reference/" + chart + "-configuration.md")
		if err != nil {
			t.Fatal(err)
		}
		var documented []string
		for _, match := range settingRow.FindAllStringSubmatch(string(page), -1) {
			documented = append(documented, match[1])
		}
		schema := schemaOf(t, chart)
		known := leaves(schema, schema["properties"].(map[string]any)["config"].(map[string]any), "")
		for _, setting := range documented {
			if !slices.Contains(known, setting) && !slices.Contains(ownSettings[chart], setting) {
				t.Errorf("%s: the setting %s is in neither the schema's config nor the chart's own", chart, setting)
			}
		}
		for _, setting := range known {
			if !slices.Contains(documented, setting) {
				t.Errorf("%s: the schema's config has %s, which is no setting", chart, setting)
			}
		}
	}
}

// TestTheSchemaKnowsExactlyTheValuesThatAreExplained compares it with values.yaml, and with the README's table by way of
// `make generate`.
func TestTheSchemaKnowsExactlyTheValuesThatAreExplained(t *testing.T) {
	for _, chart := range chartNames {
		schema := schemaOf(t, chart)
		content, err := os.ReadFile(filepath.Join(chart, "values.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		values := map[string]any{}
		if err := yaml.UnmarshalStrict(content, &values); err != nil {
			t.Fatal(err)
		}
		compare(t, chart, schema, schema, values, "")
	}
}

// free are blocks whose parts are settings or Kubernetes' own: they are empty by default, or an example.
var free = []string{"config", "resources", "global"}

func compare(t *testing.T, chart string, schema, node, values map[string]any, path string) {
	t.Helper()
	properties, _ := resolve(schema, node)["properties"].(map[string]any)
	for name := range values {
		if properties[name] == nil {
			t.Errorf("%s: values.yaml has %s, and the schema refuses it", chart, path+name)
		}
	}
	for name, property := range properties {
		inner, isMap := values[name].(map[string]any)
		_, given := values[name]
		known, _ := resolve(schema, property.(map[string]any))["properties"].(map[string]any)
		switch {
		case slices.Contains(free, path+name):
		case !given:
			t.Errorf("%s: the schema has %s, and values.yaml does not", chart, path+name)
		case isMap && known != nil:
			compare(t, chart, schema, property.(map[string]any), inner, path+name+".")
		}
	}
	if properties != nil && resolve(schema, node)["additionalProperties"] != false {
		t.Errorf("%s: the schema takes anything in %q", chart, path)
	}
}

func schemaOf(t *testing.T, chart string) map[string]any {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(chart, "values.schema.json"))
	if err != nil {
		t.Fatal(err)
	}
	schema := map[string]any{}
	if err := json.Unmarshal(content, &schema); err != nil {
		t.Fatal(err)
	}
	return schema
}

// resolve follows a reference into the schema's definitions.
func resolve(schema, node map[string]any) map[string]any {
	if name, ok := node["$ref"].(string); ok {
		return schema["$defs"].(map[string]any)[strings.TrimPrefix(name, "#/$defs/")].(map[string]any)
	}
	return node
}

// leaves are the names of what can be set below a node.
func leaves(schema, node map[string]any, path string) []string {
	var names []string
	for name, property := range node["properties"].(map[string]any) {
		inner := resolve(schema, property.(map[string]any))
		if inner["properties"] != nil {
			names = append(names, leaves(schema, inner, path+name+".")...)
		} else {
			names = append(names, path+name)
		}
	}
	return names
}
