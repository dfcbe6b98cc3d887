package e2e

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"windlass.dev/windlass/e2e/fleet"
	"windlass.dev/windlass/hack/cluster"
)

const ordinary = `
apiVersion: v1
kind: ConfigMap
metadata: {name: ordinary, namespace: NAMESPACE}
data: {is: fine}
`

// othersArrive proves that what is wrong holds up nothing else: an ordinary object of the same
// namespace reaches every member, and so does its change.
func othersArrive(t *testing.T, f *fleet.Fleet, namespace string) {
	t.Helper()
	object := configMap(namespace, "ordinary")
	f.Hub().Apply(t, fill(namespace, ordinary)+"---"+policyFor(object))
	for _, member := range f.Members() {
		member.Eventually(t, object, fleet.Field("data.is", "fine"))
	}
	f.Hub().Patch(t, object, "data: {is: still fine}")
	for _, member := range f.Members() {
		member.Eventually(t, object, fleet.Field("data.is", "still fine"))
	}
	f.Hub().Eventually(t, fleet.Binding(object), fleet.ConditionIs("FullyApplied", "True"))
}

func TestAPolicyThatSelectsNothingSaysSoUntilThereIsSomething(t *testing.T) {
	f := fleet.Shared(t)
	namespace := f.Hub().Namespace(t)
	object := configMap(namespace, "settings")
	f.Hub().Apply(t, policyFor(object))
	f.Hub().Eventually(t, policy(namespace, "configmap-settings"),
		fleet.ConditionIs("Ready", "False"), fleet.ConditionSays("Ready", "NothingSelected: No object is claimed: there is no ConfigMap in namespace"))
	othersArrive(t, f, namespace)

	f.Hub().Apply(t, fill(namespace, settings))
	f.Hub().Eventually(t, policy(namespace, "configmap-settings"), fleet.ConditionIs("Ready", "True"))
	for _, member := range f.Members() {
		member.Eventually(t, object)
	}
}

func TestAnInvalidSelectorIsRefusedAtOnce(t *testing.T) {
	f := fleet.Shared(t)
	namespace := f.Hub().Namespace(t)
	err := f.Hub().TryApply(t, fill(namespace, `
apiVersion: policy.karmada.io/v1alpha1
kind: PropagationPolicy
metadata: {name: wrong, namespace: NAMESPACE}
spec:
  resourceSelectors:
  - apiVersion: v1
    kind: ConfigMap
    labelSelector: {matchExpressions: [{key: app, operator: Like, values: [w]}]}
`))
	if want := `spec.resourceSelectors[0].labelSelector.matchExpressions[0].operator: Invalid value: "Like"`; !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), want) {
		t.Errorf("the hub says %v, want %s", err, want)
	}
	othersArrive(t, f, namespace)
}

const gadgetDefinition = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: gadgets.late.example.test}
spec:
  group: late.example.test
  scope: Namespaced
  names: {plural: gadgets, singular: gadget, kind: Gadget, listKind: GadgetList}
  versions:
  - {name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}
`

func TestAKindThatDoesNotExistIsNamedAndWorksOnceItDoes(t *testing.T) {
	f := fleet.Shared(t)
	namespace := f.Hub().Namespace(t)
	gadget := fleet.Object{APIVersion: "late.example.test/v1", Kind: "Gadget", Namespace: namespace, Name: "one"}
	claims := policy(namespace, "gadget-one")
	f.Hub().Apply(t, policyFor(gadget))
	f.Hub().Eventually(t, claims, fleet.ConditionIs("Ready", "False"),
		fleet.ConditionSays("Ready", "KindNotFound: The hub does not serve late.example.test/v1 Gadget"), fleet.ConditionSays("Ready", "apply the CRD"))
	othersArrive(t, f, namespace)

	definition := fleet.Object{APIVersion: "apiextensions.k8s.io/v1", Kind: "CustomResourceDefinition", Name: "gadgets.late.example.test"}
	f.Hub().RemoveAfter(t, definition)
	f.Hub().Apply(t, gadgetDefinition)
	f.Hub().Eventually(t, definition, fleet.ConditionIs("Established", "True"))
	f.Hub().Apply(t, fill(namespace, `
apiVersion: late.example.test/v1
kind: Gadget
metadata: {name: one, namespace: NAMESPACE}
spec: {size: 1}
`))
	// The hub knows the kind now, the members do not.
	f.Hub().Eventually(t, fleet.Binding(gadget), fleet.ConditionIs("Scheduled", "False"),
		fleet.ConditionSays("Scheduled", "serve late.example.test/v1 Gadget"))
	f.Hub().Eventually(t, claims, fleet.ConditionSays("Ready", "NotScheduled: "), fleet.ConditionSays("Ready", "serve late.example.test/v1 Gadget"))

	f.Hub().Apply(t, clusterPolicyFor(definition, "gadgets-"+namespace))
	for _, member := range f.Members() {
		member.Eventually(t, gadget, fleet.Field("spec.size", 1))
	}
	f.Hub().Eventually(t, claims, fleet.ConditionIs("Ready", "True"))
}

func TestTheHubIsToldOfAKindThatComesAndGoes(t *testing.T) {
	f := fleet.Shared(t)
	// It would not look again by itself before the test has given up.
	f.RestartHubWith(t, "controllers: {clusterGrace: 2s, policyStatusInterval: 200ms, kindRetryInterval: 1h, kindRetryMost: 1h}")
	namespace := f.Hub().Namespace(t)
	gadget := fleet.Object{APIVersion: "told.example.test/v1", Kind: "Gadget", Namespace: namespace, Name: "one"}
	f.Hub().Apply(t, policyFor(gadget)+overrideFor(namespace, "sizes", "  resourceSelectors: [{apiVersion: told.example.test/v1, kind: Gadget, name: one}]\n  overrideRules: [{overriders: {labelsOverrider: [{operator: add, value: {size: large}}]}}]"))
	f.Hub().Eventually(t, policy(namespace, "gadget-one"), fleet.ConditionSays("Ready", "KindNotFound"))

	definition := fleet.Object{APIVersion: "apiextensions.k8s.io/v1", Kind: "CustomResourceDefinition", Name: "gadgets.told.example.test"}
	f.Hub().RemoveAfter(t, definition)
	comes := func() {
		t.Helper()
		f.Hub().Apply(t, strings.ReplaceAll(gadgetDefinition, "late.example.test", "told.example.test"))
		f.Hub().Eventually(t, definition, fleet.ConditionIs("Established", "True"))
		f.Hub().Apply(t, fill(namespace, `
apiVersion: told.example.test/v1
kind: Gadget
metadata: {name: one, namespace: NAMESPACE}
`))
		f.Hub().Eventually(t, fleet.Binding(gadget))
		f.Hub().Eventually(t, overridePolicy(namespace, "sizes"), fleet.ConditionIs("Effective", "True"))
	}
	comes()
	f.Hub().Delete(t, definition)
	f.Hub().Eventually(t, policy(namespace, "gadget-one"), fleet.ConditionSays("Ready", "KindNotFound"))
	f.Hub().Eventually(t, overridePolicy(namespace, "sizes"), fleet.ConditionSays("Effective", "KindNotFound"))
	comes()
}

// forbid makes a member refuse ConfigMaps of a namespace that have data.forbidden, and waits until it does.
func forbid(t *testing.T, member *fleet.Member, namespace string) {
	t.Helper()
	member.Apply(t, fill(namespace, `
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: NAMESPACE}
spec:
  failurePolicy: Fail
  matchConstraints:
    resourceRules:
    - {apiGroups: [""], apiVersions: [v1], operations: [CREATE, UPDATE], resources: [configmaps]}
  validations:
  - expression: "!has(object.data) || !('forbidden' in object.data)"
    message: the house rules forbid it
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: NAMESPACE}
spec:
  policyName: NAMESPACE
  validationActions: [Deny]
  matchResources: {namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: NAMESPACE}}}
---
apiVersion: v1
kind: Namespace
metadata: {name: NAMESPACE}
`))
	probe := fleet.Decode(t, fill(namespace, `
apiVersion: v1
kind: ConfigMap
metadata: {name: probe, namespace: NAMESPACE}
data: {forbidden: "yes"}
`))[0]
	fleet.WaitFor(t, "the member's admission policy to act", func() error {
		_, err := member.Resource(t, configMap(namespace, "probe")).Create(t.Context(), probe, metav1.CreateOptions{DryRun: dryRun})
		if err != nil && strings.Contains(err.Error(), "the house rules forbid it") {
			return nil
		}
		return fmt.Errorf("the member answers %v", err)
	})
}

func TestAManifestThatAMemberRefusesIsReportedInItsWords(t *testing.T) {
	f := fleet.Shared(t)
	namespace := f.Hub().Namespace(t)
	forbid(t, f.Member("member1"), namespace)
	object := configMap(namespace, "settings")
	f.Hub().Apply(t, fill(namespace, `
apiVersion: v1
kind: ConfigMap
metadata: {name: settings, namespace: NAMESPACE}
data: {greeting: hello, forbidden: "yes"}
---`)+policyFor(object))

	f.Hub().Eventually(t, fleet.Binding(object), fleet.ConditionIs("FullyApplied", "False"),
		fleet.ConditionSays("FullyApplied", "1 of 2 clusters could not apply it: member1: Rejected"), fleet.ConditionSays("FullyApplied", "the house rules forbid it"))
	f.Hub().Eventually(t, policy(namespace, "configmap-settings"),
		fleet.ConditionIs("Ready", "False"), fleet.ConditionSays("Ready", "NotApplied"), fleet.ConditionSays("Ready", "the house rules forbid it"))
	f.Hub().EventuallyWarned(t, object, "Rejected", "the house rules forbid it")
	f.Member("member2").Eventually(t, object, fleet.Field("data.greeting", "hello"))
	othersArrive(t, f, namespace)

	f.Hub().Patch(t, object, "data: {forbidden: null}")
	f.Member("member1").Eventually(t, object, fleet.Field("data", map[string]string{"greeting": "hello"}))
	f.Hub().Eventually(t, fleet.Binding(object), fleet.ConditionIs("FullyApplied", "True"))
}

func TestAFieldThatTheMemberNeverChangesIsNamed(t *testing.T) {
	f := fleet.Shared(t)
	namespace := f.Hub().Namespace(t)
	web, member := deployment(namespace, "web"), f.Member("member1")
	// Taking over a Deployment with another selector is what no apply can do.
	member.Apply(t, "apiVersion: v1\nkind: Namespace\nmetadata: {name: "+namespace+"}\n---"+
		strings.ReplaceAll(webDeployment(namespace, 1), "{app: web}", "{app: other}"))
	f.Hub().Apply(t, webDeployment(namespace, 1)+"---"+policyFor(web)+"  conflictResolution: Overwrite\n")
	f.Hub().Eventually(t, fleet.Binding(web), fleet.ConditionIs("FullyApplied", "False"),
		fleet.ConditionSays("FullyApplied", "member1: Rejected"), fleet.ConditionSays("FullyApplied", "spec.selector"), fleet.ConditionSays("FullyApplied", "immutable"))
	f.Hub().EventuallyWarned(t, web, "Rejected", "immutable")
	f.Member("member2").Eventually(t, web, fleet.Field("status.readyReplicas", 1))
	othersArrive(t, f, namespace)

	member.Delete(t, web)
	member.Eventually(t, web, fleet.Field("spec.selector.matchLabels.app", "web"))
	f.Hub().Eventually(t, fleet.Binding(web), fleet.ConditionIs("FullyApplied", "True"))
}

func TestANamespaceThatIsTerminatingInAMemberIsWaitedFor(t *testing.T) {
	f := fleet.Shared(t)
	namespace, elsewhere := f.Hub().Namespace(t), f.Hub().Namespace(t)
	member := f.Member("member1")
	holder := configMap(namespace, "holder")
	member.Apply(t, fill(namespace, `
apiVersion: v1
kind: Namespace
metadata: {name: NAMESPACE}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: holder, namespace: NAMESPACE, finalizers: [e2e.example.test/hold]}
`))
	letGo := func(ctx context.Context) error {
		patch := []byte(`{"metadata":{"finalizers":null}}`)
		_, err := member.Resource(t, holder).Patch(ctx, holder.Name, "application/merge-patch+json", patch, metav1.PatchOptions{})
		return err
	}
	t.Cleanup(func() {
		if err := letGo(context.Background()); err != nil && !apierrors.IsNotFound(err) {
			t.Error(err)
		}
	})
	member.Delete(t, fleet.Object{APIVersion: "v1", Kind: "Namespace", Name: namespace})

	object := configMap(namespace, "settings")
	f.Hub().Apply(t, fill(namespace, settings)+"---"+policyFor(object))
	f.Hub().Eventually(t, fleet.Binding(object), fleet.ConditionIs("FullyApplied", "False"),
		fleet.ConditionSays("FullyApplied", "NamespaceTerminating: 1 of 2 clusters could not apply it: member1"),
		fleet.ConditionSays("FullyApplied", "it is being terminated; the object is applied as soon as the namespace is gone"))
	f.Hub().EventuallyWarned(t, object, "NamespaceTerminating", namespace)
	f.Member("member2").Eventually(t, object)
	othersArrive(t, f, elsewhere)

	if err := letGo(t.Context()); err != nil {
		t.Fatal(err)
	}
	member.Eventually(t, object, fleet.Field("data.greeting", "hello"))
	f.Hub().Eventually(t, fleet.Binding(object), fleet.ConditionIs("FullyApplied", "True"))
}

func TestAnObjectThatIsNotOursIsLeftAloneUntilThePolicySaysOverwrite(t *testing.T) {
	f := fleet.Shared(t)
	namespace := f.Hub().Namespace(t)
	object, member := configMap(namespace, "settings"), f.Member("member1")
	member.Apply(t, fill(namespace, `
apiVersion: v1
kind: Namespace
metadata: {name: NAMESPACE}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings, namespace: NAMESPACE}
data: {greeting: mine, note: keep}
`))
	theirs := member.Get(t, object)
	f.Hub().Apply(t, fill(namespace, settings)+"---"+policyFor(object))
	f.Hub().Eventually(t, fleet.Binding(object), fleet.ConditionIs("FullyApplied", "False"),
		fleet.ConditionSays("FullyApplied", "Conflict: 1 of 2 clusters could not apply it: member1"),
		fleet.ConditionSays("FullyApplied", namespace+"/settings"),
		fleet.ConditionSays("FullyApplied", "delete it there, or take it over: annotate the template work.karmada.io/conflict-resolution=overwrite, or, for all, spec.conflictResolution: Overwrite in the policy"))
	f.Hub().EventuallyWarned(t, object, "Conflict", "Overwrite")
	if said, err := f.Hub().CLI(t.Context(), "placement", "configmap/settings", "-n", namespace); err != nil || !strings.Contains(said, "has not applied it: Conflict: ") {
		t.Errorf("of where it is, it is said (%v):\n%s", err, said)
	}
	othersArrive(t, f, namespace)
	member.Eventually(t, object, fleet.Field("data.greeting", "mine"), fleet.Field("metadata.resourceVersion", theirs.GetResourceVersion()))

	f.Hub().Patch(t, policy(namespace, "configmap-settings"), "spec: {conflictResolution: Overwrite}")
	// Fields that the template does not name are left to whoever wrote them.
	member.Eventually(t, object, fleet.Field("data", map[string]string{"greeting": "hello", "note": "keep"}), fleet.Field("metadata.uid", theirs.GetUID()))
	f.Hub().Eventually(t, fleet.Binding(object), fleet.ConditionIs("FullyApplied", "True"))
}

func TestWhatAClustersOwnerGuardsIsNamedOnTheHubAndArrivesElsewhere(t *testing.T) {
	f := fleet.Shared(t)
	f.RestartAgentWith(t, f.Member("member1"), "guard: {kinds: [Secret], namespaces: [\"guarded-*\"]}\n")
	namespace := f.Hub().Namespace(t)
	secret := fleet.Object{APIVersion: "v1", Kind: "Secret", Namespace: namespace, Name: "key"}
	f.Hub().Apply(t, fill(namespace, `
apiVersion: v1
kind: Secret
metadata: {name: key, namespace: NAMESPACE}
data: {key: c2VjcmV0}
---`)+policyFor(secret))
	f.Hub().Eventually(t, fleet.Binding(secret), fleet.ConditionIs("FullyApplied", "False"),
		fleet.ConditionSays("FullyApplied", "Guarded: 1 of 2 clusters could not apply it: member1"),
		fleet.ConditionSays("FullyApplied", `by guard.kinds "Secret" in the configuration of the cluster's agent`))
	f.Hub().EventuallyWarned(t, secret, "Guarded", "guard.kinds")
	f.Member("member2").Eventually(t, secret)
	if !f.Member("member1").Lacks(t, secret) {
		t.Error("member1 has what its owner guards")
	}
	othersArrive(t, f, namespace)

	// The guard does not hold up the end of what it guards.
	f.Hub().Delete(t, secret)
	f.Member("member2").EventuallyGone(t, secret)
	f.Hub().EventuallyGone(t, fleet.Binding(secret))
}

func TestAnObjectThatIsTooLargeForAWorkSaysSoAndRecovers(t *testing.T) {
	f := fleet.Shared(t)
	namespace := f.Hub().Namespace(t)
	object := configMap(namespace, "settings")
	f.Hub().Apply(t, fill(namespace, settings)+"---"+policyFor(object))
	for _, member := range f.Members() {
		member.Eventually(t, object)
	}
	f.Hub().Eventually(t, fleet.Binding(object), fleet.ConditionIs("FullyApplied", "True"))

	// As much as a ConfigMap may hold: what is around the data is too much.
	f.Hub().Patch(t, object, "data: {greeting: hello, filling: "+strings.Repeat("x", 1<<20-5)+"}")
	f.Hub().Eventually(t, fleet.Binding(object), fleet.ConditionIs("Rendered", "False"),
		fleet.ConditionSays("Rendered", "TooLarge: "), fleet.ConditionSays("Rendered", "settings"), fleet.ConditionSays("Rendered", "1048576"),
		fleet.ConditionIs("FullyApplied", "False"), fleet.ConditionSays("FullyApplied", "TooLarge"))
	f.Hub().Eventually(t, policy(namespace, "configmap-settings"), fleet.ConditionIs("Ready", "False"), fleet.ConditionSays("Ready", "TooLarge"))
	f.Hub().EventuallyWarned(t, object, "NotRendered", "TooLarge")
	othersArrive(t, f, namespace)
	for _, member := range f.Members() {
		member.Eventually(t, object, fleet.Field("data", map[string]string{"greeting": "hello"}))
	}

	f.Hub().Patch(t, object, "data: {greeting: smaller, filling: null}")
	for _, member := range f.Members() {
		member.Eventually(t, object, fleet.Field("data", map[string]string{"greeting": "smaller"}))
	}
	f.Hub().Eventually(t, fleet.Binding(object), fleet.ConditionIs("Rendered", "True"), fleet.ConditionIs("FullyApplied", "True"))
}

func TestAHubThatCanNotStartSaysWhyInOneLineAndEndsWithOne(t *testing.T) {
	t.Parallel()
	f := fleet.Shared(t)
	dir := f.Dir(t)
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	settingsFile := filepath.Join(dir, "hub.yaml")
	if err := os.WriteFile(settingsFile, []byte("dataDirectory: /tmp\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cases := []struct {
		reason string
		flags  []string
		says   []string
	}{
		{"the port of the API is in use", []string{"--api-listen=" + f.Hub().APIAddress()}, []string{f.Hub().APIAddress(), "uses the port"}},
		{"the port of the link is in use", []string{"--link-listen=" + f.Hub().LinkAddress()}, []string{f.Hub().LinkAddress(), "uses the port"}},
		{"the data directory cannot be written", []string{"--data-dir=" + filepath.Join(file, "data")}, []string{filepath.Join(file, "data"), "not a directory"}},
		{"the data directory is another hub's", []string{"--data-dir=" + f.Hub().DataDir()}, []string{f.Hub().DataDir(), "in use by process", fmt.Sprint(f.Hub().Process().PID)}},
		{"a flag has a wrong value", []string{"--log-level=loud"}, []string{"--log-level", `"loud"`}},
		{"an address is none", []string{"--link-listen=nonsense"}, []string{"--link-listen", `"nonsense"`}},
		{"a flag does not exist", []string{"--data-directory=/tmp"}, []string{"--data-directory"}},
		{"the configuration has an unknown name", []string{"--config=" + settingsFile}, []string{settingsFile, "dataDirectory"}},
	}
	for _, c := range cases {
		t.Run(c.reason, func(t *testing.T) {
			hub, err := cluster.NewHub(cluster.HubConfig{Dir: f.Dir(t), Binary: f.Binary("windlass-hub"), Flags: c.flags})
			if err != nil {
				t.Fatal(err)
			}
			if err := hub.Launch(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = hub.Kill() })
			endsWithOneLine(t, hub.Process(), "windlass-hub: ", c.says...)
		})
	}
}

// endsWithOneLine waits until a process has ended with code 1 and checks that its last word, and no
// other, is an error that says what it shall.
func endsWithOneLine(t *testing.T, process *cluster.Process, prefix string, says ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := process.Wait(ctx); err != nil {
		t.Fatalf("it runs on:\n%s", process.Tail(20))
	}
	if code := process.ExitCode(); code != 1 {
		t.Errorf("it ended with code %d", code)
	}
	var errorLines []string
	lines := strings.Split(strings.TrimSpace(process.Tail(1000)), "\n")
	for _, line := range lines {
		if !strings.HasPrefix(line, "time=") { // a line of the log
			errorLines = append(errorLines, line)
		}
	}
	if len(errorLines) != 1 || errorLines[0] != lines[len(lines)-1] || !strings.HasPrefix(errorLines[0], prefix) {
		t.Fatalf("it does not end with one line that begins with %q, but says:\n%s", prefix, strings.Join(lines, "\n"))
	}
	for _, text := range says {
		if !strings.Contains(errorLines[0], text) {
			t.Errorf("the line lacks %q: %s", text, errorLines[0])
		}
	}
}

func TestAnAgentThatCanNotStartSaysWhyInOneLineAndEndsWithOne(t *testing.T) {
	f := fleet.Shared(t)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	cases := []struct {
		reason string
		flags  []string
		says   []string
	}{
		{"the hub's address has no port", []string{"--hub=hub.example.test"}, []string{"--hub", "HOST:PORT"}},
		{"a flag has a wrong value", []string{"--log-level=loud"}, []string{"--log-level", `"loud"`}},
		{"the kubeconfig does not exist", []string{"--kubeconfig=/nowhere/kubeconfig"}, []string{"--kubeconfig", "/nowhere/kubeconfig"}},
		{"the port for health is in use", []string{"--health-listen=" + taken.Addr().String()}, []string{"--health-listen", "in use"}},
		{"no cluster can bear the name", []string{"--cluster-name=Edge_1"}, []string{"--cluster-name", "Edge_1"}},
		{"there is no token", []string{"--token-file=/nowhere/token"}, []string{"/nowhere/token", "windlass token create"}},
	}
	for _, c := range cases {
		t.Run(c.reason, func(t *testing.T) {
			_, state := stateOf(t, f.Member("member1"))
			agent := f.NewAgent(t, cluster.AgentConfig{ClusterName: "unstarted", Member: f.Member("member1").Cluster, Flags: append(c.flags, state)})
			if err := agent.Launch(); err != nil {
				t.Fatal(err)
			}
			endsWithOneLine(t, agent.Process(), "windlass-agent: ", c.says...)
		})
	}
}

func TestAnAgentWhoseHubDoesNotAnswerSaysWhatToCheckAndKeepsTrying(t *testing.T) {
	t.Parallel()
	f := fleet.Shared(t)
	member := f.Member("member1")
	silent, rude := listen(t, func(net.Conn) {}), listen(t, func(c net.Conn) { fmt.Fprint(c, "220 mail.example.test\r\n") })
	closed, err := cluster.FreePort("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	cases := []struct {
		reason, hub string
		says        string
	}{
		{"nobody listens", fmt.Sprintf("127.0.0.1:%d", closed), "refused the connection; check that the hub is running and that --hub names its link port"},
		{"the name does not resolve", "no-such-hub.invalid:8443", "DNS"},
		{"somebody listens and says nothing", silent, "did not answer in time"},
		{"somebody else listens", rude, "does not speak TLS; check that --hub names the hub's link port"},
	}
	// The slowest takes as long as the longest handshake may; they wait together.
	agents := make([]*cluster.Agent, len(cases))
	for i, c := range cases {
		name := unique("unheard")
		_, state := stateOf(t, member)
		agents[i] = f.NewAgent(t, cluster.AgentConfig{ClusterName: name, Member: member.Cluster, Hub: c.hub, Token: f.Token(t, name), Flags: []string{state}})
		if err := agents[i].Launch(); err != nil {
			t.Fatal(err)
		}
	}
	for i, c := range cases {
		t.Run(c.reason, func(t *testing.T) {
			agent := agents[i]
			fleet.WaitFor(t, "the agent's log to say why", func() error {
				for line := range strings.Lines(agent.Process().Tail(50)) {
					if strings.Contains(line, c.says) && strings.Contains(line, c.hub) && strings.Contains(line, "level=WARN") {
						return nil
					}
				}
				return fmt.Errorf("no line names %s and says %q", c.hub, c.says)
			})
			fleet.WaitFor(t, "/readyz to say why", func() error {
				_, err := agent.Health(t.Context(), "/readyz")
				if err == nil || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), c.hub) {
					return fmt.Errorf("it says %v", err)
				}
				return nil
			})
			if !agent.Process().Alive() {
				t.Error("the agent has given up")
			}
		})
	}
}

func TestAnAgentThatHasJoinedSaysThatItsHubIsAway(t *testing.T) {
	f := fleet.Shared(t)
	member := f.Member("member2")
	host := "127.0.0.1"
	if network := member.Cluster.Network(); network != nil {
		host = network.Outside
	}
	relay := fleet.NewRelay(t, host, f.Hub().LinkAddress())
	through(t, member, relay.Address(), f.Hub().LinkAddress())
	relay.Refuse(true)
	relay.Cut()
	fleet.WaitFor(t, "/readyz to say that the hub is away", func() error {
		_, err := member.Agent.Health(t.Context(), "/readyz")
		if err == nil || !strings.Contains(err.Error(), "not connected to the hub at "+relay.Address()) || !strings.Contains(err.Error(), "closed the connection") {
			return fmt.Errorf("it says %v", err)
		}
		return nil
	})
	f.Hub().Eventually(t, fleet.Cluster("member2"), fleet.ConditionIs("Ready", "Unknown"), fleet.ConditionSays("Ready", "the agent is not connected"))
	relay.Refuse(false)
	f.AwaitReady(t)
}

// listen accepts connections on a free port, lets each be greeted, and keeps them open until the test ends.
func listen(t *testing.T, greet func(net.Conn)) (address string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended, end := context.WithCancel(context.Background())
	t.Cleanup(func() {
		end()
		listener.Close()
	})
	go func() {
		for {
			connection, err := listener.Accept()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err != nil {
				continue
			}
			context.AfterFunc(ended, func() { connection.Close() })
			greet(connection)
		}
	}()
	return listener.Addr().String()
}

// What a policy can't do beside what it does is told by its own condition, by the status of the hub, and to whoever asks where an
// object is.
func TestWhatAPolicyCannotDoBesideWhatItDoesIsTold(t *testing.T) {
	f := fleet.Shared(t)
	namespace := f.Hub().Namespace(t)
	selecting := func(selectors string, more string) string {
		return fmt.Sprintf("\napiVersion: policy.karmada.io/v1alpha1\nkind: PropagationPolicy\nmetadata: {name: some, namespace: %s}\nspec:\n  placement: {}\n%s  resourceSelectors:\n"+
			"  - {apiVersion: v1, kind: ConfigMap, name: settings}\n%s", namespace, more, selectors)
	}
	told := func(args []string, wants ...string) {
		t.Helper()
		out, err := f.Hub().CLI(t.Context(), args...)
		said := fmt.Sprint(out, err)
		for _, want := range wants {
			if !strings.Contains(said, want) {
				t.Errorf("%q does not say %q:\n%s", args, want, said)
			}
		}
	}
	f.Hub().Apply(t, fill(namespace, settings)+"---"+strings.ReplaceAll(fill(namespace, settings), "name: settings", "name: cart")+"---"+
		selecting("  - {apiVersion: v1, kind: ConfigMap, name: crat}\n  - {apiVersion: v1, kind: Secret, labelSelector: {matchLabels: {app: nobody}}}\n", ""))
	const unused = "All templates are scheduled and applied: 1. Nothing is claimed by 2 of the resource selectors: ConfigMap crat, every Secret with app=nobody."
	f.Hub().Eventually(t, policy(namespace, "some"), fleet.ConditionIs("Ready", "True"), fleet.ConditionSays("Ready", "SelectorsUnused: "+unused))
	told([]string{"status"}, "policy "+namespace+"/some: "+unused)
	told([]string{"placement", "configmap/cart", "-n", namespace}, "ConfigMap "+namespace+"/cart is in no cluster: none of the PropagationPolicies in namespace "+namespace+" (1)")
	told([]string{"placement", "propagationpolicy/some", "-n", namespace}, "objects of kind PropagationPolicy are never propagated")
	told([]string{"placement", "namespace/" + namespace}, "it is made in a cluster when something in it arrives there")

	f.Hub().Apply(t, selecting("  - {apiVersion: v1, kind: ConfigMap, name: cart}\n", "  schedulePriority: {priorityClassSource: KubePriorityClass, priorityClassName: no-such-class}\n"))
	f.Hub().Eventually(t, policy(namespace, "some"), fleet.ConditionIs("Ready", "False"), fleet.ConditionSays("Ready", "PriorityClassNotFound: The hub has no PriorityClass no-such-class"))
	told([]string{"status"}, "policy "+namespace+"/some: The hub has no PriorityClass no-such-class")
	told([]string{"placement", "configmap/cart", "-n", namespace}, "PropagationPolicy "+namespace+"/some selects it, and is not Ready: PriorityClassNotFound")
}
