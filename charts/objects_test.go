package charts_test

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	podsecurity "k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
	"sigs.k8s.io/yaml"

	"windlass.dev/windlass/agent"
	"windlass.dev/windlass/agent/enroll"
	"windlass.dev/windlass/cli"
	"windlass.dev/windlass/hub/settings"
	"windlass.dev/windlass/pkg/memory"
)

func TestTheChartsHaveNothingThatHelmFindsFaultWith(t *testing.T) {
	for _, chart := range chartNames {
		for _, values := range valueSets(t, chart) {
			out, failure, err := run(t, "lint", chart, "--strict", "--quiet", "--namespace", namespaceOf[chart], "--values", values)
			if err != nil {
				t.Errorf("%s: %v\n%s%s", values, err, out, failure)
			}
		}
	}
}

// TestNamesThatYAMLTakesForSomethingElseStayNames: Kubernetes allows them, and a namespace for each country has one for Norway.
func TestNamesThatYAMLTakesForSomethingElseStayNames(t *testing.T) {
	for chart, set := range map[string]string{
		"agent": "hub.address=hub.example.com:8443,hub.existingSecret=1e3,rbac.preset=namespaced,rbac.namespaces={se,no,42},fullnameOverride=on,nameOverride=0,serviceAccount.name=yes,priorityClassName=7,proxy.existingSecret=12",
		"hub":   "fullnameOverride=on,nameOverride=0,serviceAccount.name=yes,priorityClassName=7,persistence.existingClaim=1,pki.existingSecret=2,api.tls.existingSecret=3,adminKubeconfig.secretName=4",
		"hub ":  "persistence.storageClass=1e3,link.service.type=LoadBalancer,link.service.loadBalancerClass=off",
	} {
		t.Run(chart, func(t *testing.T) {
			out, failure, err := run(t, "template", "123", strings.TrimSpace(chart), "--namespace", "off", "--set-string", set)
			if err != nil {
				t.Fatal(failure)
			}
			all, err := decode(out)
			if err != nil {
				t.Fatal(err)
			}
			for _, o := range all {
				if namespaces := []string{"off", "se", "no", "42"}; o.GetNamespace() != "" && !slices.Contains(namespaces, o.GetNamespace()) {
					t.Errorf("%s %s is in namespace %q", kindOf(o), o.GetName(), o.GetNamespace())
				}
				if o.GetLabels()["app.kubernetes.io/instance"] != "123" {
					t.Errorf("the labels of %s %s are %v", kindOf(o), o.GetName(), o.GetLabels())
				}
			}
		})
	}
}

// TestEverySetOfValuesMakesObjectsThatKubernetesKnows renders what users set most. A field that Kubernetes does not have
// is an error in render.
func TestEverySetOfValuesMakesObjectsThatKubernetesKnows(t *testing.T) {
	sets := 0
	for _, chart := range chartNames {
		for _, values := range valueSets(t, chart) {
			sets++
			t.Run(values, func(t *testing.T) {
				all := render(t, chart, "--values", values)
				checkNames(t, chart, all)
				checkPods(t, all)
				checkReferences(t, all)
				checkConfig(t, chart, all)
			})
		}
	}
	if sets < 15 {
		t.Errorf("there are %d sets of values, and 15 are wanted", sets)
	}
}

// clusterScoped are the kinds here that are in no namespace.
var clusterScoped = []string{"ClusterRole", "ClusterRoleBinding"}

func checkNames(t *testing.T, chart string, all objects) {
	t.Helper()
	seen := map[string]bool{}
	for _, o := range all {
		id := fmt.Sprintf("%s %s/%s", kindOf(o), o.GetNamespace(), o.GetName())
		if seen[id] {
			t.Errorf("there are two of %s", id)
		}
		seen[id] = true
		if (o.GetNamespace() == "") != slices.Contains(clusterScoped, kindOf(o)) {
			t.Errorf("%s is in namespace %q", id, o.GetNamespace())
		}
		for _, label := range []string{"app.kubernetes.io/name", "app.kubernetes.io/instance", "app.kubernetes.io/version", "app.kubernetes.io/managed-by", "helm.sh/chart"} {
			if o.GetLabels()[label] == "" {
				t.Errorf("%s has no label %s", id, label)
			}
		}
		if kindOf(o) == "CustomResourceDefinition" {
			t.Errorf("%s: the charts bring none", id)
		}
	}
}

// podSpecs are the pods that objects make, by the object's kind and name.
func podSpecs(all objects) map[string]corev1.PodTemplateSpec {
	pods := map[string]corev1.PodTemplateSpec{}
	for _, o := range all {
		id := kindOf(o) + " " + o.GetName()
		switch o := o.(type) {
		case *corev1.Pod:
			pods[id] = corev1.PodTemplateSpec{ObjectMeta: o.ObjectMeta, Spec: o.Spec}
		case *appsv1.Deployment:
			pods[id] = o.Spec.Template
		case *appsv1.StatefulSet:
			pods[id] = o.Spec.Template
		}
	}
	return pods
}

// checkPods holds every pod to the pod security level restricted, and to what we ask beyond it.
func checkPods(t *testing.T, all objects) {
	t.Helper()
	restricted, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	if err != nil {
		t.Fatal(err)
	}
	pods := podSpecs(all)
	if len(pods) == 0 {
		t.Error("there is no pod")
	}
	for id, pod := range pods {
		checked := *pod.Spec.DeepCopy()
		checked.HostNetwork = false // what a user asks for; nothing else is excused by it
		level := podsecurity.LevelVersion{Level: podsecurity.LevelRestricted, Version: podsecurity.LatestVersion()}
		if result := policy.AggregateCheckResults(restricted.EvaluatePod(level, &pod.ObjectMeta, &checked)); !result.Allowed {
			t.Errorf("%s is not of level restricted: %s", id, result.ForbiddenDetail())
		}
		for _, c := range pod.Spec.Containers {
			if c.SecurityContext.ReadOnlyRootFilesystem == nil || !*c.SecurityContext.ReadOnlyRootFilesystem {
				t.Errorf("%s: container %s can write to its image", id, c.Name)
			}
			if !slices.ContainsFunc(c.VolumeMounts, func(m corev1.VolumeMount) bool { return m.MountPath == "/tmp" }) {
				t.Errorf("%s: container %s has no /tmp", id, c.Name)
			}
			if len(c.Command) > 0 {
				t.Errorf("%s: container %s has a command %v, and the image's entrypoint is the program", id, c.Name, c.Command)
			}
			if c.Resources.Requests.Memory().IsZero() || c.Resources.Requests.Cpu().IsZero() {
				t.Errorf("%s: container %s requests no memory or CPU", id, c.Name)
			}
		}
	}
}

func TestTheUserIsOursUnlessTheClusterAssignsOne(t *testing.T) {
	for _, chart := range chartNames {
		openShift, err := filepath.Glob(filepath.Join(chart, "ci", "*-openshift-values.yaml"))
		if err != nil || len(openShift) != 1 {
			t.Fatalf("%s: there are %d sets of values for OpenShift, error %v", chart, len(openShift), err)
		}
		for _, c := range []struct {
			reason string
			args   []string
			want   string
		}{
			{"by default", []string{"--values", valueSets(t, chart)[0]}, "user 65532, group 65532, volumes 65532"},
			{"one that is said", []string{"--values", valueSets(t, chart)[0], "--set", "podSecurityContext.runAsUser=1000"}, "user 1000, group 65532, volumes 65532"},
			{"on OpenShift", []string{"--values", openShift[0]}, "user any, group any, volumes any"},
			{"by --set", []string{"--values", valueSets(t, chart)[0], "--set", "podSecurityContext.runAsUser=null"}, "user any, group 65532, volumes 65532"},
		} {
			for id, pod := range podSpecs(render(t, chart, c.args...)) {
				security := pod.Spec.SecurityContext
				got := fmt.Sprintf("user %s, group %s, volumes %s", orAny(security.RunAsUser), orAny(security.RunAsGroup), orAny(security.FSGroup))
				if got != c.want {
					t.Errorf("%s, %s: %s, want %s", id, c.reason, got, c.want)
				}
				if security.RunAsNonRoot == nil || !*security.RunAsNonRoot {
					t.Errorf("%s, %s: the rest of the defaults is gone with them", id, c.reason)
				}
			}
		}
	}
	relaxed := hubPod(t, render(t, "hub", "--set", "securityContext.readOnlyRootFilesystem=false", "--set", "securityContext.capabilities=null"))
	if security := relaxed.Spec.Containers[0].SecurityContext; *security.ReadOnlyRootFilesystem || security.Capabilities != nil || *security.AllowPrivilegeEscalation {
		t.Errorf("a container's own is %+v", security)
	}
}

func orAny(id *int64) string {
	if id == nil {
		return "any"
	}
	return fmt.Sprint(*id)
}

// TestNullIsAsGoodAsNothing takes away what values.yaml has, as Helm's users do.
func TestNullIsAsGoodAsNothing(t *testing.T) {
	for _, chart := range chartNames {
		for _, value := range []string{"affinity", "commonLabels", "config", "extraEnv", "imagePullSecrets", "nodeSelector", "podAnnotations",
			"podLabels", "podSecurityContext", "resources", "securityContext", "tolerations"} {
			if _, failure, err := run(t, template(chart, "--values", valueSets(t, chart)[0], "--set", value+"=null")...); err != nil {
				t.Errorf("%s without %s: %s", chart, value, failure)
			}
		}
	}
}

// checkReferences finds names that lead nowhere: mounts, selectors, ports, and objects of the release.
func checkReferences(t *testing.T, all objects) {
	t.Helper()
	for id, pod := range podSpecs(all) {
		volumes := map[string]bool{}
		for _, v := range pod.Spec.Volumes {
			volumes[v.Name] = true
		}
		for _, set := range every(all, any1[*appsv1.StatefulSet]) {
			for _, claim := range set.Spec.VolumeClaimTemplates {
				volumes[claim.Name] = true
			}
		}
		for _, c := range pod.Spec.Containers {
			for _, mount := range c.VolumeMounts {
				if !volumes[mount.Name] {
					t.Errorf("%s mounts volume %s, which it does not have", id, mount.Name)
				}
			}
		}
	}
	selects := func(what string, selector map[string]string, ports ...string) {
		for _, pod := range podSpecs(all) {
			if !contains(pod.Labels, selector) {
				continue
			}
			for _, port := range ports {
				if !slices.ContainsFunc(pod.Spec.Containers[0].Ports, func(p corev1.ContainerPort) bool { return p.Name == port }) {
					t.Errorf("%s leads to port %s, which the pod does not have", what, port)
				}
			}
			return
		}
		t.Errorf("%s selects %v, and no pod has these labels", what, selector)
	}
	for _, service := range every(all, any1[*corev1.Service]) {
		for _, port := range service.Spec.Ports {
			selects("Service "+service.Name, service.Spec.Selector, port.TargetPort.StrVal)
		}
	}
	for _, budget := range every(all, any1[*policyv1.PodDisruptionBudget]) {
		selects("PodDisruptionBudget "+budget.Name, budget.Spec.Selector.MatchLabels)
	}
	for _, np := range every(all, any1[*networkingv1.NetworkPolicy]) {
		for _, rule := range np.Spec.Ingress {
			for _, port := range rule.Ports {
				selects("NetworkPolicy "+np.Name, np.Spec.PodSelector.MatchLabels, port.Port.StrVal)
			}
			for _, peer := range rule.From {
				if peer.PodSelector != nil && peer.NamespaceSelector == nil {
					selects("NetworkPolicy "+np.Name, peer.PodSelector.MatchLabels)
				}
			}
		}
	}
	for _, deployment := range every(all, any1[*appsv1.Deployment]) {
		selects("Deployment "+deployment.Name, deployment.Spec.Selector.MatchLabels)
	}
	for _, set := range every(all, any1[*appsv1.StatefulSet]) {
		selects("StatefulSet "+set.Name, set.Spec.Selector.MatchLabels)
		if len(every(all, named[*corev1.Service](set.Spec.ServiceName))) != 1 {
			t.Errorf("StatefulSet %s is served by %s, which is not there", set.Name, set.Spec.ServiceName)
		}
	}
}

func contains(labels, selector map[string]string) bool {
	for key, value := range selector {
		if labels[key] != value {
			return false
		}
	}
	return true
}

// checkConfig has the program itself read and judge its configuration file.
func checkConfig(t *testing.T, chart string, all objects) {
	t.Helper()
	text := configFile(all)
	path := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var err error
	switch chart {
	case "agent":
		config := agent.DefaultConfig()
		if err = config.ReadFile(path); err == nil {
			err = config.Validate()
		}
	case "hub":
		if err = os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		config := settings.DefaultConfig()
		if err = config.ReadFile(path); err == nil {
			err = config.Complete()
		}
	}
	if err != nil {
		t.Errorf("the program refuses its configuration file: %v\n%s", err, text)
	}
}

// configFile is the program's configuration file.
func configFile(all objects) string {
	for _, config := range every(all, any1[*corev1.ConfigMap]) {
		if text := config.Data["config.yaml"]; text != "" {
			return text
		}
	}
	return ""
}

func configOf(t *testing.T, all objects) map[string]any {
	t.Helper()
	config := map[string]any{}
	if err := yaml.Unmarshal([]byte(configFile(all)), &config); err != nil {
		t.Fatal(err)
	}
	return config
}

// token is of the right form, and good nowhere.
var token = "wl1.abcdefghijklm." + strings.Repeat("abcdefghijklmnopqrstuvwxyz", 2) + "." + strings.Repeat("0123456789abcdef", 4)

func TestTheAgentIsToldWhatTheHubsCommandSays(t *testing.T) {
	all := render(t, "agent", "--set-string", "hub.address=hub.example.com:8443", "--set-string", "cluster.name=edge-1", "--set-string", "hub.token="+token)
	want := map[string]any{"hub": "hub.example.com:8443", "clusterName": "edge-1", "healthListen": ":8081", "logLevel": "info", "retryRefused": "1m", "tokenFile": "/etc/windlass-token/token"}
	if diff := cmp.Diff(want, configOf(t, all)); diff != "" {
		t.Errorf("the configuration file (-want +got):\n%s", diff)
	}
	secret := find(t, all, any1[*corev1.Secret])
	if string(secret.Data["token"]) != token {
		t.Errorf("Secret %s does not hold the token", secret.Name)
	}
	mounted := false
	for _, volume := range agentPod(t, all).Spec.Volumes {
		mounted = mounted || volume.Secret != nil && volume.Secret.SecretName == "windlass-agent-token" && *volume.Secret.Optional
	}
	if !mounted {
		t.Error("the token's Secret is not mounted, or the pod could not start without it")
	}
	for _, o := range all {
		if config, ok := o.(*corev1.ConfigMap); ok && strings.Contains(fmt.Sprint(config.Data), token) {
			t.Errorf("ConfigMap %s has the token", config.Name)
		}
	}
}

func TestTheAgentKnowsTheSecretThatItsTokenIsToComeFrom(t *testing.T) {
	pod := agentPod(t, render(t, "agent", "--set", address, "--set", "hub.existingSecret=join"))
	if secret := variables(pod.Spec.Containers[0])[enroll.TokenSecretVariable]; secret != "join" {
		t.Errorf("it is told %q", secret)
	}
}

func agentPod(t *testing.T, all objects) corev1.PodTemplateSpec {
	t.Helper()
	return find(t, all, any1[*appsv1.Deployment]).Spec.Template
}

func hubPod(t *testing.T, all objects) corev1.PodTemplateSpec {
	t.Helper()
	return find(t, all, any1[*appsv1.StatefulSet]).Spec.Template
}

const address = "hub.address=hub.example.com:8443"

func TestAPodIsReplacedWhenWhatItReadsHasChanged(t *testing.T) {
	for _, c := range []struct {
		reason string
		chart  string
		value  string
		same   bool
	}{
		{"another address", "agent", "hub.address=other.example.com:8443", false},
		{"a setting in config", "agent", "config.brake.least=20", false},
		{"a token for a cluster that comes back", "agent", "hub.token=" + token, false},
		{"another name of the hub", "hub", "advertiseAddress=hub.example.com", false},
		{"a setting in config of the hub", "hub", "config.link.window=64", false},
		{"what the pod does not read", "agent", "networkPolicy.enabled=true", true},
		{"nor the hub's", "hub", "podDisruptionBudget.enabled=true", true},
	} {
		t.Run(c.reason, func(t *testing.T) {
			pod := map[string]func(*testing.T, objects) corev1.PodTemplateSpec{"agent": agentPod, "hub": hubPod}[c.chart]
			var set []string
			if c.chart == "agent" {
				set = []string{"--set", address}
			}
			before := pod(t, render(t, c.chart, set...))
			after := pod(t, render(t, c.chart, append(set, "--set", c.value)...))
			if same := cmp.Equal(before, after); same != c.same {
				t.Errorf("the pod is the same: %v, want %v", same, c.same)
			}
		})
	}
}

func TestTheProxyIsUsedForTheHubAndNeverForTheClustersOwnAPI(t *testing.T) {
	const own = "kubernetes.default.svc,$(KUBERNETES_SERVICE_HOST)"
	for _, c := range []struct {
		reason string
		set    []string
		want   map[string]string
	}{
		{"no proxy", nil, map[string]string{}},
		{"a proxy", []string{"--set", "proxy.https=http://proxy:3128"}, map[string]string{"HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": own}},
		{"hosts as a list", []string{"--set", "proxy.https=proxy:3128", "--set", "proxy.noProxy={.example.com,10.0.0.0/8}"},
			map[string]string{"HTTPS_PROXY": "proxy:3128", "NO_PROXY": own + ",.example.com,10.0.0.0/8"}},
		{"hosts as a text", []string{"--set", "proxy.https=proxy:3128", "--set", `proxy.noProxy=.example.com\,10.0.0.0/8`},
			map[string]string{"HTTPS_PROXY": "proxy:3128", "NO_PROXY": own + ",.example.com,10.0.0.0/8"}},
		{"credentials, in a Secret", []string{"--set", "proxy.existingSecret=way-out"},
			map[string]string{"WINDLASS_PROXY_SECRET": "way-out", "HTTPS_PROXY": "Secret way-out/HTTPS_PROXY if there is one", "WINDLASS_SECRET_NO_PROXY": "Secret way-out/NO_PROXY if there is one", "NO_PROXY": own + ",$(WINDLASS_SECRET_NO_PROXY)"}},
	} {
		t.Run(c.reason, func(t *testing.T) {
			all := render(t, "agent", append([]string{"--set", address}, c.set...)...)
			if diff := cmp.Diff(c.want, variables(agentPod(t, all).Spec.Containers[0])); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestOneAgentTakesOverFromTheOther(t *testing.T) {
	usual := find(t, render(t, "agent", "--set", address), any1[*appsv1.Deployment])
	if s := usual.Spec.Strategy; *usual.Spec.Replicas != 1 || s.RollingUpdate == nil || s.RollingUpdate.MaxSurge.IntValue() != 1 || s.RollingUpdate.MaxUnavailable.IntValue() != 0 {
		t.Errorf("%d replicas, strategy %+v: the new one shall wait, ready, while the old one acts", *usual.Spec.Replicas, s)
	}
	host := find(t, render(t, "agent", "--set", address, "--set", "hostNetwork=true"), any1[*appsv1.Deployment])
	if host.Spec.Strategy.Type != appsv1.RecreateDeploymentStrategyType {
		t.Errorf("strategy %s on the node's network, where the new one finds its port taken", host.Spec.Strategy.Type)
	}
}

func TestTheGoRuntimeKnowsTheLimitOfMemory(t *testing.T) {
	for _, chart := range chartNames {
		for limit, want := range map[string]string{"": "", "256Mi": "limits.memory"} {
			args := []string{"--values", valueSets(t, chart)[0]}
			if limit != "" {
				args = append(args, "--set", "resources.limits.memory="+limit)
			}
			for id, pod := range podSpecs(render(t, chart, args...)) {
				if strings.HasPrefix(id, "Pod ") {
					continue
				}
				if _, given := variables(pod.Spec.Containers[0])["GOMEMLIMIT"]; given {
					t.Errorf("%s has GOMEMLIMIT: at the whole limit it is killed before its collector gives way", id)
				}
				if got := variables(pod.Spec.Containers[0])[memory.LimitVariable]; got != want {
					t.Errorf("%s with limit %q: %s is %q, want %q", id, limit, memory.LimitVariable, got, want)
				}
			}
		}
	}
}

// ruleLine is a rule of RBAC in one line.
func ruleLine(r rbacv1.PolicyRule) string {
	what := strings.Join(r.NonResourceURLs, ",")
	if what == "" {
		what = strings.Join(r.APIGroups, ",") + ":" + strings.Join(r.Resources, ",")
	}
	if len(r.ResourceNames) > 0 {
		what += "[" + strings.Join(r.ResourceNames, ",") + "]"
	}
	return what + " " + strings.Join(r.Verbs, ",")
}

// rights are what a ServiceAccount may do: by namespace, "*" for the whole cluster.
func rights(t *testing.T, all objects, account, namespace string) map[string][]string {
	t.Helper()
	given := map[string][]string{}
	subject := []rbacv1.Subject{{Kind: "ServiceAccount", Name: account, Namespace: namespace}}
	add := func(where string, subjects []rbacv1.Subject, rules []rbacv1.PolicyRule) {
		if diff := cmp.Diff(subject, subjects); diff != "" {
			t.Errorf("rights in %s are somebody else's (-want +got):\n%s", where, diff)
		}
		for _, r := range rules {
			given[where] = append(given[where], ruleLine(r))
		}
	}
	for _, binding := range every(all, any1[*rbacv1.ClusterRoleBinding]) {
		add("*", binding.Subjects, find(t, all, named[*rbacv1.ClusterRole](binding.RoleRef.Name)).Rules)
	}
	for _, binding := range every(all, any1[*rbacv1.RoleBinding]) {
		role := find(t, all, func(r *rbacv1.Role) bool {
			return r.Name == binding.RoleRef.Name && r.Namespace == binding.Namespace
		})
		add(binding.Namespace, binding.Subjects, role.Rules)
	}
	return given
}

func TestEachPresetGivesTheAgentItsRights(t *testing.T) {
	own := []string{":secrets get,list,create,update,delete", "coordination.k8s.io:leases get,create,update"}
	reads := []string{
		":nodes,pods list,watch", ":namespaces[kube-system,windlass-agent] get", "autoscaling:horizontalpodautoscalers list,watch",
		"apiextensions.k8s.io:customresourcedefinitions list,watch", "apiregistration.k8s.io:apiservices list,watch",
		"/api,/api/*,/apis,/apis/*,/openapi/*,/readyz,/version get",
	}
	for _, c := range []struct {
		preset string
		set    []string
		want   map[string][]string
	}{
		{"full", nil, map[string][]string{"windlass-agent": own, "*": {"*:* *", "* *"}}},
		{"namespaced", []string{"--set", "rbac.namespaces={shop,blog}"}, map[string][]string{
			"windlass-agent": own, "shop": {"*:* *"}, "blog": {"*:* *"},
			"*": reads,
		}},
		{"custom", []string{"--set", "rbac.rules[0].apiGroups={apps}", "--set", "rbac.rules[0].resources={deployments}", "--set", "rbac.rules[0].verbs={get,patch}"},
			map[string][]string{"windlass-agent": own, "*": slices.Concat(reads, []string{"apps:deployments get,patch"})}},
		{"custom", nil, map[string][]string{"windlass-agent": own, "*": reads}},
	} {
		all := render(t, "agent", append([]string{"--set", address, "--set", "rbac.preset=" + c.preset}, c.set...)...)
		if diff := cmp.Diff(c.want, rights(t, all, "windlass-agent", "windlass-agent")); diff != "" {
			t.Errorf("preset %s with %v (-want +got):\n%s", c.preset, c.set, diff)
		}
		// What may not be watched in all namespaces at once is watched in each.
		if by := configOf(t, all)["watchByNamespace"]; (by == true) != (c.preset == "namespaced") {
			t.Errorf("preset %s: watchByNamespace is %v", c.preset, by)
		}
	}
}

func TestTheHubMayWriteOneSecretAndNothingElse(t *testing.T) {
	want := map[string][]string{"windlass-system": {":secrets create", ":secrets[windlass-hub-admin-kubeconfig] get,update"}}
	all := render(t, "hub")
	if diff := cmp.Diff(want, rights(t, all, "windlass-hub", "windlass-system")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	secret := map[string]any{"name": "windlass-hub-admin-kubeconfig", "server": "https://windlass-hub-api.windlass-system.svc:6443"}
	if diff := cmp.Diff(secret, configOf(t, all)["kubeconfigSecret"]); diff != "" {
		t.Errorf("what the hub is told of the Secret (-want +got):\n%s", diff)
	}
	none := render(t, "hub", "--set", "adminKubeconfig.create=false")
	if given := rights(t, none, "", ""); len(given) > 0 {
		t.Errorf("without the Secret it still may: %v", given)
	}
	if pod := hubPod(t, none); *pod.Spec.AutomountServiceAccountToken {
		t.Error("without rights it still has a token")
	}
}

func TestTheHubTellsAgentsTheAddressThatLeadsToItsLink(t *testing.T) {
	for _, c := range []struct {
		reason  string
		set     []string
		address string
		port    float64
	}{
		{"a try: the Service in this cluster", nil, "windlass-hub-link.windlass-system.svc", 8443},
		{"the Service's port, not the pod's", []string{"--set", "link.service.port=443"}, "windlass-hub-link.windlass-system.svc", 443},
		{"a load balancer", []string{"--set", "advertiseAddress=hub.example.com,link.service.type=LoadBalancer,link.service.port=443"}, "hub.example.com", 443},
		{"a port of the nodes", []string{"--set", "advertiseAddress=192.0.2.1,link.service.type=NodePort,link.service.nodePort=30843"}, "192.0.2.1", 30843},
		{"a forwarded port in front of them", []string{"--set", "advertiseAddress=192.0.2.1,link.service.type=NodePort,advertiseLinkPort=443"}, "192.0.2.1", 443},
	} {
		t.Run(c.reason, func(t *testing.T) {
			config := configOf(t, render(t, "hub", c.set...))
			if config["advertiseAddress"] != c.address || config["advertiseLinkPort"] != c.port {
				t.Errorf("agents are told %v:%v, want %v:%v", config["advertiseAddress"], config["advertiseLinkPort"], c.address, c.port)
			}
		})
	}
}

func TestTheHubsCertificatesBearTheNamesOfItsServices(t *testing.T) {
	config := configOf(t, render(t, "hub", "--set", "tlsSANs={api.example.com,192.0.2.7}", "--set", "link.service.loadBalancerIP=192.0.2.7"))
	want := []any{
		"windlass-hub-api", "windlass-hub-api.windlass-system", "windlass-hub-api.windlass-system.svc", "windlass-hub-api.windlass-system.svc.cluster.local",
		"windlass-hub-link", "windlass-hub-link.windlass-system", "windlass-hub-link.windlass-system.svc", "windlass-hub-link.windlass-system.svc.cluster.local",
		"192.0.2.7", "api.example.com",
	}
	if diff := cmp.Diff(want, config["tlsSANs"]); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for server, name := range map[string]string{"https://api.example.org": "api.example.org", "https://192.0.2.8:30644": "192.0.2.8", "https://[2001:db8::8]:6443": "2001:db8::8"} {
		names := configOf(t, render(t, "hub", "--set", "adminKubeconfig.server="+server))["tlsSANs"].([]any)
		if !slices.Contains(names, any(name)) {
			t.Errorf("the admin kubeconfig leads to %s, and the certificates are for %v", server, names)
		}
	}
}

func TestWhereTheHubKeepsItsData(t *testing.T) {
	for _, c := range []struct {
		reason string
		set    string
		claims []string
		data   string // what the pod's volume is, when it is no claim of the set
	}{
		{"a claim of its own", "logLevel=info", []string{"data"}, ""},
		{"a claim that is there", "persistence.existingClaim=hub-data", nil, "claim hub-data"},
		{"nowhere", "persistence.enabled=false", nil, "emptyDir"},
	} {
		t.Run(c.reason, func(t *testing.T) {
			all := render(t, "hub", "--set", c.set)
			var claims []string
			for _, claim := range find(t, all, any1[*appsv1.StatefulSet]).Spec.VolumeClaimTemplates {
				claims = append(claims, claim.Name)
				if version := claim.Labels["app.kubernetes.io/version"]; version != "" {
					t.Error("a claim's labels have a version, and can't be changed with it")
				}
			}
			data := ""
			for _, volume := range hubPod(t, all).Spec.Volumes {
				switch {
				case volume.Name != "data":
				case volume.PersistentVolumeClaim != nil:
					data = "claim " + volume.PersistentVolumeClaim.ClaimName
				case volume.EmptyDir != nil:
					data = "emptyDir"
				}
			}
			if !slices.Equal(claims, c.claims) || data != c.data {
				t.Errorf("claims %v and volume %q, want %v and %q", claims, data, c.claims, c.data)
			}
		})
	}
}

func TestTheReadmeNamesTheValuesThatAStatefulSetDoesNotLetChange(t *testing.T) {
	readme, err := os.ReadFile("hub/README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(readme), "\n## What can't be changed after the install\n")
	section, _, _ := strings.Cut(after, "\n## ")
	before := fixed(t)
	for _, c := range []struct {
		value string
		free  bool
	}{
		{"persistence.enabled=false", false},
		{"persistence.existingClaim=data", false},
		{"persistence.size=50Gi", false},
		{"persistence.storageClass=fast", false},
		{"persistence.accessModes={ReadWriteOncePod}", false},
		{"nameOverride=fleet", false},
		{"fullnameOverride=fleet", false},
		{"commonLabels.team=platform", true},
		{"api.service.type=NodePort", true},
		{"pki.existingSecret=keys", true},
		{"image.tag=v2", true},
		{"hostNetwork=true", true},
	} {
		name, _, _ := strings.Cut(c.value, "=")
		if free := cmp.Equal(before, fixed(t, "--set", c.value)); free != c.free {
			t.Errorf("%s can be changed: %v, want %v", c.value, free, c.free)
		}
		if named := strings.Contains(section, "`"+name+"`"); named == c.free {
			t.Errorf("%s is named among those that can't be changed: %v\n%s", name, named, section)
		}
	}
}

// fixed is what Kubernetes lets nobody change of the hub's StatefulSet.
func fixed(t *testing.T, args ...string) any {
	t.Helper()
	set := find(t, render(t, "hub", args...), any1[*appsv1.StatefulSet])
	spec := set.Spec
	spec.Replicas, spec.Template, spec.UpdateStrategy, spec.RevisionHistoryLimit = nil, corev1.PodTemplateSpec{}, appsv1.StatefulSetUpdateStrategy{}, nil
	spec.MinReadySeconds, spec.PersistentVolumeClaimRetentionPolicy, spec.Ordinals = 0, nil, nil
	return map[string]any{"name": set.Name, "spec": spec}
}

func TestAnEtcdAndKeysOfOnesOwnAreMountedWhereTheHubLooks(t *testing.T) {
	all := render(t, "hub", "--values", "hub/ci/04-external-etcd-values.yaml")
	config := configOf(t, all)
	want := map[string]any{
		"servers": []any{"https://etcd-1.example:2379", "https://etcd-2.example:2379"},
		"caFile":  "/etc/windlass-etcd/ca.crt", "certFile": "/etc/windlass-etcd/tls.crt", "keyFile": "/etc/windlass-etcd/tls.key",
	}
	if diff := cmp.Diff(want, config["etcd"]); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]string{"/etc/windlass-etcd": "etcd-client", config["pkiDir"].(string): "hub-keys"}, mountedSecrets(t, all)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestACertificateOfOnesOwnIsShownBesideTheHubs(t *testing.T) {
	all := render(t, "hub", "--set", "api.tls.existingSecret=api", "--set-string", `config.apiServerFlags.audit-log-path=-`)
	want := map[string]any{"audit-log-path": "-", "tls-sni-cert-key": "/etc/windlass-api-tls/tls.crt,/etc/windlass-api-tls/tls.key"}
	if diff := cmp.Diff(want, configOf(t, all)["apiServerFlags"]); diff != "" {
		t.Errorf("the API server's flags (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]string{"/etc/windlass-api-tls": "api"}, mountedSecrets(t, all)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if file := configOf(t, all)["kubeconfigSecret"].(map[string]any)["caFile"]; file != "/etc/windlass-api-tls/ca.crt" {
		t.Errorf("the admin kubeconfig trusts the authorities in %v", file)
	}
	if flags := configOf(t, render(t, "hub"))["apiServerFlags"]; flags != nil {
		t.Errorf("without one the flags are %v", flags)
	}
}

// mountedSecrets are the Secrets of the hub's pod, by where they are mounted.
func mountedSecrets(t *testing.T, all objects) map[string]string {
	t.Helper()
	secrets := map[string]string{}
	pod := hubPod(t, all)
	for _, volume := range pod.Spec.Volumes {
		if volume.Secret == nil {
			continue
		}
		for _, mount := range pod.Spec.Containers[0].VolumeMounts {
			if mount.Name == volume.Name {
				secrets[mount.MountPath] = volume.Secret.SecretName
			}
		}
	}
	return secrets
}

func TestHelmTestRunsOurProgramsAgainstTheServices(t *testing.T) {
	for chart, want := range map[string][]string{
		"agent": {"check", "--url", "http://windlass-agent.windlass-agent.svc:8081/readyz", "--wait", "60s"},
		"hub": {"check", "--kubeconfig=/etc/windlass/kubeconfig", "--server=https://windlass-hub-api.windlass-system.svc:6443",
			"--link=windlass-hub-link.windlass-system.svc:8443", "--wait=2m"},
	} {
		all := render(t, chart, "--values", valueSets(t, chart)[0])
		pod := find(t, all, any1[*corev1.Pod])
		if diff := cmp.Diff(want, pod.Spec.Containers[0].Args); diff != "" {
			t.Errorf("%s (-want +got):\n%s", chart, diff)
		}
		if pod.Annotations["helm.sh/hook"] != "test" {
			t.Errorf("%s: the pod is no test", chart)
		}
	}
	if services := every(render(t, "agent", "--set", address), any1[*corev1.Service]); !services[0].Spec.PublishNotReadyAddresses {
		t.Error("an agent that is not ready can't be asked why")
	}
}

// TestHelmTestFailsWhereItHasNothingToTestWith: a test that is not there would succeed.
func TestHelmTestFailsWhereItHasNothingToTestWith(t *testing.T) {
	for create, optional := range map[string]bool{"true": false, "false": true} {
		pod := find(t, render(t, "hub", "--set", "adminKubeconfig.create="+create), any1[*corev1.Pod])
		secret := pod.Spec.Volumes[0].Secret
		if got := secret.Optional != nil && *secret.Optional; got != optional {
			t.Errorf("with adminKubeconfig.create=%s the pod starts without Secret %s: %v, want %v", create, secret.SecretName, got, optional)
		}
	}
}

// TestTheCommandLineTakesWhatTheHubsTestGivesIt has it read its arguments up to the first that can't be there outside of the pod.
func TestTheCommandLineTakesWhatTheHubsTestGivesIt(t *testing.T) {
	pod := find(t, render(t, "hub", "--set", "test.wait=90s"), any1[*corev1.Pod])
	var said bytes.Buffer
	code := cli.Main(append([]string{"windlass"}, pod.Spec.Containers[0].Args...), cli.Streams{In: strings.NewReader(""), Out: &said, Err: &said})
	if code != cli.CodeUsage || !strings.Contains(said.String(), "kubeconfig /etc/windlass/kubeconfig does not exist; a hub that was installed by its chart has one in Secret windlass-hub-admin-kubeconfig of its namespace, if adminKubeconfig.create is true") {
		t.Errorf("exit code %d: %s", code, said.String())
	}
}

func TestHelmTestMayReachWhatANetworkPolicyClosesForOthers(t *testing.T) {
	all := render(t, "hub", "--values", "hub/ci/10-everything-values.yaml")
	test := find(t, all, any1[*corev1.Pod])
	for _, rule := range find(t, all, any1[*networkingv1.NetworkPolicy]).Spec.Ingress {
		if !slices.ContainsFunc(rule.From, func(peer networkingv1.NetworkPolicyPeer) bool {
			return peer.PodSelector != nil && contains(test.Labels, peer.PodSelector.MatchLabels)
		}) {
			t.Errorf("port %s is closed for pod %s", rule.Ports[0].Port.StrVal, test.Name)
		}
	}
}

func TestTheNotesSayWhatToDoNext(t *testing.T) {
	for _, c := range []struct {
		reason, chart string
		set           []string
		says          []string
		never         []string
	}{
		{"a first join without a token", "agent", []string{"--set", address}, []string{"THERE IS NO JOIN TOKEN", "rbac.preset full"}, nil},
		{"a join with one", "agent", []string{"--set", address, "--set", "hub.token=" + token}, nil, []string{"THERE IS NO JOIN TOKEN", token}},
		{"what uninstalling keeps, and how to have it removed", "agent", []string{"--set", address, "--set", "cluster.name=edge-1"},
			[]string{"UNINSTALLING keeps what the agent has applied", "windlass kubectl delete membercluster edge-1\n  helm uninstall windlass-agent"}, nil},
		{"what is told once", "agent", []string{"--set", address, "--set", "cluster.name=edge-1,cluster.labels.tier=edge"}, []string{"windlass kubectl label membercluster edge-1 KEY=VALUE"}, nil},
		{"few rights", "agent", []string{"--set", address, "--set", "rbac.preset=custom"}, nil, []string{"may do everything"}},
		{"a hub for one cluster", "hub", nil, []string{"THAT IS A NAME INSIDE THIS CLUSTER", "port-forward service/windlass-hub-api 6443:6443", "--cluster edge-1 -o helm\n", "data-windlass-hub-0 stays"}, nil},
		{"a hub with a name", "hub", []string{"--set", "advertiseAddress=hub.example.com"}, []string{"reach this hub at hub.example.com:8443"}, []string{"INSIDE THIS CLUSTER"}},
		{"a hub with an IPv6 address", "hub", []string{"--set", "advertiseAddress=2001:db8::1"}, []string{"reach this hub at [2001:db8::1]:8443"}, nil},
		{"a load balancer whose address nobody knows yet", "hub", []string{"--set", "link.service.type=LoadBalancer"}, []string{"INSIDE THIS CLUSTER", "get service windlass-hub-link", "--set-string advertiseAddress=ADDRESS"}, nil},
		{"a hub that is forgotten", "hub", []string{"--set", "persistence.enabled=false"}, []string{"ALL IS LOST WITH THE POD"}, []string{"data-windlass-hub-0"}},
		{"a hub that is forgotten, but for a Secret", "hub", []string{"--set", "persistence.enabled=false"}, []string{"Secret windlass-hub-admin-kubeconfig stays"}, []string{"So does"}},
		{"a claim of one's own", "hub", []string{"--set", "persistence.existingClaim=hub-data"}, []string{"claim hub-data stays"}, []string{"data-windlass-hub-0"}},
		{"a command that goes through the port-forward", "hub", []string{"--set", "api.service.port=443"}, []string{"port-forward service/windlass-hub-api 6443:443", "windlass token create --server https://localhost:6443 --cluster edge-1 -o helm"}, nil},
		{"an API that is reached from everywhere", "hub", []string{"--set", "adminKubeconfig.server=https://hub.example.com"}, []string{"windlass token create --cluster edge-1 -o helm"}, []string{"port-forward", "--server"}},
		{"a registry of one's own", "hub", []string{"--set", "image.repository=registry.example/mirror/windlass-hub,image.tag=v1,imagePullSecrets[0].name=registry"},
			[]string{"-o helm \\\n     --helm-set image.repository=registry.example/mirror/windlass-agent \\\n     --helm-set image.tag=v1 \\\n     --helm-set 'imagePullSecrets[0].name=registry'\n"}, nil},
		{"no kubeconfig", "hub", []string{"--set", "adminKubeconfig.create=false"}, []string{"/var/lib/windlass/admin.kubeconfig", "adminKubeconfig.create=true"}, []string{"get secret", "helm test windlass-hub"}},
		{"the whole command for a first join", "agent", []string{"--set", address, "--set", "cluster.name=edge-1"}, []string{`"windlass token create --cluster edge-1 -o helm"`}, nil},
	} {
		t.Run(c.chart+" "+c.reason, func(t *testing.T) {
			arguments := template(c.chart, c.set...)
			arguments[0] = "install"
			out, failure, err := run(t, append(arguments, "--dry-run=client")...)
			if err != nil {
				t.Fatalf("%v\n%s", err, failure)
			}
			_, notes, found := strings.Cut(out, "\nNOTES:\n")
			if !found {
				t.Fatalf("there are no notes in\n%s", out)
			}
			for _, part := range c.says {
				if !strings.Contains(notes, part) {
					t.Errorf("they do not say %q:\n%s", part, notes)
				}
			}
			for _, part := range c.never {
				if strings.Contains(notes, part) {
					t.Errorf("they say %q:\n%s", part, notes)
				}
			}
		})
	}
}

func TestImagesAreThoseOfTheChartsVersionUnlessSaid(t *testing.T) {
	digest := "sha256:" + strings.Repeat("0123456789abcdef", 4)
	for _, c := range []struct {
		reason, chart string
		set           []string
		want          []string
	}{
		{"nothing said", "agent", []string{"--set", address}, []string{"windlass.dev/windlass-agent:v0.1.0-dev"}},
		{"nothing said", "hub", nil, []string{"windlass.dev/windlass-hub:v0.1.0-dev", "windlass.dev/windlass:v0.1.0-dev"}},
		{"another registry and tag", "agent", []string{"--set", address, "--set", "image.repository=registry:5000/agent", "--set", "image.tag=v2"}, []string{"registry:5000/agent:v2"}},
		{"all from another registry", "hub", []string{"--set", "image.repository=registry:5000/platform/windlass-hub,image.tag=v2"}, []string{"registry:5000/platform/windlass-hub:v2", "registry:5000/platform/windlass:v2"}},
		{"a name that has none beside it", "hub", []string{"--set", "image.repository=registry:5000/hub"}, []string{"registry:5000/hub:v0.1.0-dev", "windlass.dev/windlass:v0.1.0-dev"}},
		{"the command line from elsewhere", "hub", []string{"--set", "image.repository=r/windlass-hub,image.tag=v2,test.image.repository=other/cli,test.image.tag=v3"}, []string{"other/cli:v3", "r/windlass-hub:v2"}},
		{"a digest wins", "hub", []string{"--set", "image.tag=v2,image.digest=" + digest, "--set", "test.image.tag=v2"}, []string{"windlass.dev/windlass-hub@" + digest, "windlass.dev/windlass:v2"}},
	} {
		images := map[string]bool{}
		for _, pod := range podSpecs(render(t, c.chart, c.set...)) {
			images[pod.Spec.Containers[0].Image] = true
		}
		if got := slices.Sorted(maps.Keys(images)); !slices.Equal(got, c.want) {
			t.Errorf("%s, %s: %v, want %v", c.chart, c.reason, got, c.want)
		}
	}
}

func TestReleasesInTwoNamespacesDoNotMeet(t *testing.T) {
	names := map[string]bool{}
	for _, namespace := range []string{"one", "two"} {
		for _, o := range render(t, "agent", "--set", address, "--namespace", namespace) {
			if o.GetNamespace() != "" && o.GetNamespace() != namespace {
				t.Errorf("%s %s is in namespace %s", kindOf(o), o.GetName(), o.GetNamespace())
			}
			if o.GetNamespace() == "" {
				if id := kindOf(o) + " " + o.GetName(); names[id] {
					t.Errorf("both have %s", id)
				} else {
					names[id] = true
				}
			}
		}
	}
	if len(names) == 0 {
		t.Error("there is nothing outside the namespaces: is this test still needed?")
	}
}
