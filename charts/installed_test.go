package charts_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// resources are the kinds of the charts' objects, as a cluster serves them.
var resources = map[string]map[string]string{
	"v1":                           {"ConfigMap": "configmaps", "Pod": "pods", "Secret": "secrets", "Service": "services", "ServiceAccount": "serviceaccounts"},
	"apps/v1":                      {"Deployment": "deployments", "StatefulSet": "statefulsets"},
	"rbac.authorization.k8s.io/v1": {"ClusterRole": "clusterroles", "ClusterRoleBinding": "clusterrolebindings", "Role": "roles", "RoleBinding": "rolebindings"},
}

// startCluster answers as much of a cluster's API as a template looks up, with these objects in it, and returns a
// kubeconfig for it.
func startCluster(t *testing.T, held objects) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		answer := look(held, r.URL.Path)
		if answer == nil {
			w.WriteHeader(http.StatusNotFound)
			answer = metav1.Status{TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: metav1.StatusFailure, Reason: metav1.StatusReasonNotFound, Code: http.StatusNotFound}
		}
		if err := json.NewEncoder(w).Encode(answer); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(server.Close)
	path := filepath.Join(t.TempDir(), "kubeconfig")
	content := fmt.Sprintf(`{"apiVersion":"v1","kind":"Config","current-context":"c","contexts":[{"name":"c","context":{"cluster":"c"}}],"clusters":[{"name":"c","cluster":{"server":%q}}]}`, server.URL)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// look is what the API has under a path; nil when there is nothing.
func look(held objects, path string) any {
	switch path {
	case "/version":
		return map[string]string{"major": "1", "minor": "37", "gitVersion": "v1.37.2"}
	case "/api":
		return metav1.APIVersions{Versions: []string{"v1"}}
	case "/apis":
		return groups()
	}
	for version, kinds := range resources {
		prefix := "/apis/" + version
		if version == "v1" {
			prefix = "/api/v1"
		}
		below, found := strings.CutPrefix(path, prefix)
		if !found {
			continue
		}
		if below == "" {
			return served(version, kinds)
		}
		for kind, resource := range kinds {
			if answer := lookFor(held, version, kind, resource, below); answer != nil {
				return answer
			}
		}
	}
	return nil
}

// lookFor is an object, or the list of a namespace's.
func lookFor(held objects, version, kind, resource, below string) any {
	list := map[string]any{"apiVersion": version, "kind": kind + "List", "metadata": map[string]any{}}
	items := []any{}
	for _, o := range held {
		if kindOf(o) != kind {
			continue
		}
		collection := "/" + resource
		if o.GetNamespace() != "" {
			collection = "/namespaces/" + o.GetNamespace() + collection
		}
		switch below {
		case collection + "/" + o.GetName():
			return o
		case collection:
			items = append(items, o)
		}
	}
	if !strings.HasSuffix(below, "/"+resource) {
		return nil
	}
	list["items"] = items
	return list
}

func groups() metav1.APIGroupList {
	var list metav1.APIGroupList
	for version := range resources {
		if version == "v1" {
			continue
		}
		gv, _ := schema.ParseGroupVersion(version)
		known := metav1.GroupVersionForDiscovery{GroupVersion: version, Version: gv.Version}
		list.Groups = append(list.Groups, metav1.APIGroup{Name: gv.Group, Versions: []metav1.GroupVersionForDiscovery{known}, PreferredVersion: known})
	}
	return list
}

func served(version string, kinds map[string]string) metav1.APIResourceList {
	list := metav1.APIResourceList{GroupVersion: version}
	for kind, resource := range kinds {
		list.APIResources = append(list.APIResources, metav1.APIResource{Name: resource, Kind: kind, Namespaced: !slices.Contains(clusterScoped, kind), Verbs: metav1.Verbs{"get", "list"}})
	}
	return list
}

// over renders a chart where a cluster holds what other charts have made.
func over(t *testing.T, chart string, held objects, args ...string) (failure string, err error) {
	t.Helper()
	args = append([]string{"--kubeconfig", startCluster(t, held), "--dry-run=server", "--disable-openapi-validation"}, args...)
	_, failure, err = run(t, template(chart, args...)...)
	return failure, err
}

// TestNoAgentMovesInWithAHub: an agent may read every Secret of its namespace, and a hub's admin kubeconfig is one.
func TestNoAgentMovesInWithAHub(t *testing.T) {
	usual := render(t, "hub")
	renamed := render(t, "hub", "--set", "nameOverride=fleet")
	for _, c := range []struct {
		reason    string
		held      objects
		namespace string
		refused   bool
	}{
		{"the hub's namespace", usual, "windlass-system", true},
		{"that of a hub with another name", renamed, "windlass-system", true},
		{"one of its own", usual, "windlass-agent", false},
	} {
		t.Run(c.reason, func(t *testing.T) {
			failure, err := over(t, "agent", c.held, "--set", address, "--namespace", c.namespace)
			if (err != nil) != c.refused {
				t.Fatalf("refused: %v, want %v\n%s", err != nil, c.refused, failure)
			}
			if c.refused && !strings.Contains(failure, "namespace windlass-system: a Windlass hub runs there") || c.refused && !strings.Contains(failure, "--namespace windlass-agent --create-namespace") {
				t.Errorf("it is not said why, or what to do:\n%s", failure)
			}
		})
	}
}

func TestNoHubMovesInWithAnAgent(t *testing.T) {
	agents := render(t, "agent", "--set", address, "--namespace", "windlass-system")
	failure, err := over(t, "hub", agents)
	if err == nil || !strings.Contains(failure, "namespace windlass-system: a Windlass agent runs there (Deployment windlass-agent)") {
		t.Errorf("error %v\n%s", err, failure)
	}
	if failure, err := over(t, "hub", agents, "--namespace", "elsewhere"); err != nil {
		t.Errorf("it is refused elsewhere, too: %s", failure)
	}
}

// TestAnUpgradeThatWouldCutOffTheFleetIsRefused upgrades releases with what a user says, and forgets to say.
func TestAnUpgradeThatWouldCutOffTheFleetIsRefused(t *testing.T) {
	const named = "advertiseAddress=hub.example.com,link.service.type=LoadBalancer,link.service.port=443"
	const ported = "advertiseAddress=192.0.2.1,link.service.type=NodePort,link.service.nodePort=30443"
	for _, c := range []struct {
		reason      string
		before, set string
		refused     []string // what is said; nil when it is taken
	}{
		{"all is said again", named, named + ",logLevel=debug", nil},
		{"nothing is said again", named, "logLevel=debug", []string{
			"from hub.example.com:443 to windlass-hub-link.windlass-system.svc:8443", "go on dialling hub.example.com:443",
			"helm upgrade windlass-hub CHART --namespace windlass-system --reset-then-reuse-values", "--set-string confirmAdvertiseAddress=windlass-hub-link.windlass-system.svc:8443"}},
		{"another port of the nodes", ported, strings.Replace(ported, "30443", "30444", 1), []string{"from 192.0.2.1:30443 to 192.0.2.1:30444"}},
		{"an IPv6 address", "advertiseAddress=2001:db8::1", "advertiseAddress=2001:db8::2", []string{"from [2001:db8::1]:8443 to [2001:db8::2]:8443"}},
		{"it is meant", ported, "advertiseAddress=hub.example.com,confirmAdvertiseAddress=hub.example.com:8443", nil},
		{"another one was meant", ported, "advertiseAddress=hub.example.org,confirmAdvertiseAddress=hub.example.com:8443", []string{"from 192.0.2.1:30443 to hub.example.org:8443"}},
		{"a name for a hub that had none: that of the Service stays", "logLevel=info", named + ",link.service.port=8443", nil},
		{"a name, and the Service's port goes", "logLevel=info", named, []string{"from windlass-hub-link.windlass-system.svc:8443 to hub.example.com:443"}},
	} {
		t.Run(c.reason, func(t *testing.T) {
			failure, err := over(t, "hub", render(t, "hub", "--set", c.before), "--is-upgrade", "--set", c.set)
			if (err != nil) != (c.refused != nil) {
				t.Fatalf("refused: %v, want %v\n%s", err != nil, c.refused != nil, failure)
			}
			for _, part := range c.refused {
				if !strings.Contains(failure, part) {
					t.Errorf("it is not said: %s\n%s", part, failure)
				}
			}
		})
	}
}

// TestAnUpgradeToAnotherStoreIsRefused: a hub that does not find its clusters lets none of their agents in.
func TestAnUpgradeToAnotherStoreIsRefused(t *testing.T) {
	const named = "advertiseAddress=hub.example.com"
	const own = named + ",etcd.external.endpoints={https://a:2379,https://b:2379},etcd.external.existingSecret=etcd"
	const keeps = "helm upgrade windlass-hub CHART --namespace windlass-system --reset-then-reuse-values"
	for _, c := range []struct {
		reason      string
		before, set string
		refused     []string // what is said; nil when it is taken
	}{
		{"the embedded one stays", named, named + ",config.etcd.quotaGiB=16", nil},
		{"an etcd of one's own stays", own, own + ",logLevel=debug", nil},
		{"it gets another member", own, strings.Replace(own, "https://a:2379", "https://c:2379", 1), nil},
		{"it is not said again", own, named, []string{"(https://a:2379, https://b:2379) to another (embedded)", "would need a new token", keeps, "--set-string etcd.confirm=embedded"}},
		{"an empty one comes instead of the embedded one", named, own, []string{"(embedded) to another (https://a:2379, https://b:2379)", keeps, "--set-string etcd.confirm=https://a:2379"}},
		{"no member is the same", own, strings.NewReplacer("//a", "//c", "//b", "//d").Replace(own), []string{"to another (https://c:2379, https://d:2379)", "--set-string etcd.confirm=https://c:2379"}},
		{"it is taken away", own, own + ",etcd.external.endpoints=null,etcd.external.existingSecret=null", []string{"to another (embedded)"}},
		{"it is meant", named, own + ",etcd.confirm=https://a:2379", nil},
		{"it is meant to go back", own, named + ",etcd.confirm=embedded", nil},
		{"another one was meant", own, named + ",etcd.confirm=https://a:2379", []string{"to another (embedded)"}},
	} {
		t.Run(c.reason, func(t *testing.T) {
			failure, err := over(t, "hub", render(t, "hub", "--set", c.before), "--is-upgrade", "--set", c.set)
			if (err != nil) != (c.refused != nil) {
				t.Fatalf("refused: %v, want %v\n%s", err != nil, c.refused != nil, failure)
			}
			for _, part := range c.refused {
				if !strings.Contains(failure, part) {
					t.Errorf("it is not said: %s\n%s", part, failure)
				}
			}
		})
	}
}

// TestAnUpgradeToAnotherNameIsRefused: it would be an empty hub, and Helm would take the one that the fleet knows away.
func TestAnUpgradeToAnotherNameIsRefused(t *testing.T) {
	const address = "advertiseAddress=hub.example.com"
	for _, c := range []struct {
		reason, before, set string
		refused             []string // what is said; nil when it is taken
	}{
		{"the name is said again", address + ",fullnameOverride=fleet", address + ",fullnameOverride=fleet", nil},
		{"it is forgotten", address + ",fullnameOverride=fleet", address, []string{"another hub, windlass-hub, in the place of fleet", "helm upgrade windlass-hub CHART --namespace windlass-system --reset-then-reuse-values"}},
		{"a part of it is", address + ",nameOverride=fleet", address, []string{"another hub, windlass-hub, in the place of windlass-hub-fleet"}},
		{"it is given another", address, address + ",fullnameOverride=fleet", []string{"another hub, fleet, in the place of windlass-hub"}},
	} {
		t.Run(c.reason, func(t *testing.T) {
			failure, err := over(t, "hub", render(t, "hub", "--set", c.before), "--is-upgrade", "--set", c.set)
			if (err != nil) != (c.refused != nil) {
				t.Fatalf("refused: %v, want %v\n%s", err != nil, c.refused != nil, failure)
			}
			for _, part := range c.refused {
				if !strings.Contains(failure, part) {
					t.Errorf("it is not said: %s\n%s", part, failure)
				}
			}
		})
	}
}

func TestAnUpgradeOfAnAgentWithoutItsValuesNamesTheFlagThatKeepsThem(t *testing.T) {
	failure, err := over(t, "agent", nil, "--is-upgrade", "--set", "logLevel=debug")
	if err == nil || !strings.Contains(failure, "hub.address: this upgrade would take it away") ||
		!strings.Contains(failure, "helm upgrade windlass-agent CHART --namespace windlass-agent --reset-then-reuse-values") || strings.Contains(failure, "token") {
		t.Errorf("error %v\n%s", err, failure)
	}
}
