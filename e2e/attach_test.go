package e2e

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"windlass.dev/windlass/e2e/fleet"
	"windlass.dev/windlass/hack/cluster"
)

// unique makes a name that no other test of this program has, nor another run of the same one: what
// is deleted in a member may take a while to be gone.
func unique(name string) string { return fmt.Sprintf("%s-%06x", name, rand.IntN(1<<24)) }

// stateOf keeps the state of a test's agent apart from that of the fleet's agent in the same member,
// and removes it when the test ends.
func stateOf(t *testing.T, member *fleet.Member) (namespace fleet.Object, flag string) {
	t.Helper()
	namespace = fleet.Object{APIVersion: "v1", Kind: "Namespace", Name: unique("windlass-state")}
	member.DeleteAfter(t, namespace)
	return namespace, "--state-namespace=" + namespace.Name
}

// attachable prepares an agent that makes the spare member a cluster of the hub; nothing of it is
// left on the hub or in the member when the test ends.
func attachable(t *testing.T, f *fleet.Fleet, member *fleet.Member, name, token string, flags ...string) *cluster.Agent {
	t.Helper()
	_, state := stateOf(t, member)
	agent := f.NewAgent(t, cluster.AgentConfig{ClusterName: name, Member: member.Cluster, Token: token, Flags: append(flags, state)})
	f.Hub().RemoveAfter(t, fleet.Cluster(name))
	return agent
}

// attach does that and waits until the hub calls the cluster ready.
func attach(t *testing.T, f *fleet.Fleet, member *fleet.Member, name string) *cluster.Agent {
	t.Helper()
	agent := attachable(t, f, member, name, f.Token(t, name))
	if err := agent.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.Hub().Eventually(t, fleet.Cluster(name), fleet.ConditionIs("Ready", "True"))
	return agent
}

func TestAMemberClusterThatIsMadeFirstWaitsForItsAgentAndKeepsWhatItSays(t *testing.T) {
	f := fleet.Shared(t)
	name := unique("made-first")
	member := f.Spare(t)
	f.Hub().RemoveAfter(t, fleet.Cluster(name))
	f.Hub().Apply(t, strings.ReplaceAll(`
apiVersion: cluster.karmada.io/v1alpha1
kind: MemberCluster
metadata: {name: NAME, labels: {site: harbour}}
spec:
  syncMode: Pull
  region: north
  taints: [{key: e2e.example.test/private, value: "yes", effect: NoSchedule}]
`, "NAME", name))
	f.Hub().Eventually(t, fleet.Cluster(name), fleet.ConditionIs("Joined", "False"),
		fleet.ConditionSays("Joined", "windlass token create --cluster "+name), fleet.ConditionIs("Ready", "False"))

	unbound, err := f.Hub().CLI(t.Context(), "token", "create", "-o", "value")
	if err != nil {
		t.Fatal(err)
	}
	f.Hub().DeleteAfter(t, joinToken(unbound))
	agent := attachable(t, f, member, name, strings.TrimSpace(unbound), "--labels=site=desert", "--region=south")
	refused(t, agent, "waits for a token that is bound to its name; run `windlass token create --cluster "+name+"`")
	f.Hub().EventuallyWarned(t, fleet.Cluster(name), "ClusterWaitsForToken", "refused to enrol an agent")
	f.Hub().Eventually(t, fleet.Cluster(name), fleet.ConditionIs("Joined", "False"))

	if err := agent.SetToken(f.Token(t, name)); err != nil {
		t.Fatal(err)
	}
	if err := agent.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.Hub().Eventually(t, fleet.Cluster(name), fleet.ConditionIs("Joined", "True"), fleet.ConditionIs("Ready", "True"),
		fleet.Field("metadata.labels.site", "harbour"), fleet.Field("spec.region", "north"),
		// The taint that it had before it was ready is gone, the user's is not.
		fleet.Field("spec.taints", []map[string]string{{"key": "e2e.example.test/private", "value": "yes", "effect": "NoSchedule"}}))
	if log := agent.Process().Tail(50); !strings.Contains(log, "--labels was not used") || !strings.Contains(log, "--region was not used") {
		t.Error("the agent's log does not say that its own labels and region count for nothing")
	}

	namespace := f.Hub().Namespace(t)
	object := configMap(namespace, "settings")
	f.Hub().Apply(t, fill(namespace, settings+`
---
apiVersion: policy.karmada.io/v1alpha1
kind: PropagationPolicy
metadata: {name: to-the-harbour, namespace: NAMESPACE}
spec:
  resourceSelectors: [{apiVersion: v1, kind: ConfigMap, name: settings}]
  placement:
    clusterAffinity: {labelSelector: {matchLabels: {site: harbour}}}
    clusterTolerations: [{key: e2e.example.test/private, operator: Exists}]
`))
	member.Eventually(t, object)
	f.Hub().Eventually(t, fleet.Binding(object), fleet.Field("spec.clusters", []map[string]string{{"name": name}}))
}

func TestATokenWithoutANameMakesTheClusterThatTheAgentNames(t *testing.T) {
	f := fleet.Shared(t)
	name := unique("self-named")
	token, err := f.Hub().CLI(t.Context(), "token", "create", "-o", "value")
	if err != nil {
		t.Fatal(err)
	}
	token = strings.TrimSpace(token)
	f.Hub().DeleteAfter(t, joinToken(token))
	agent := attachable(t, f, f.Spare(t), name, token, "--labels=site=harbour", "--provider=own", "--region=north", "--zones=a,b")
	if err := agent.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.Hub().Eventually(t, fleet.Cluster(name), fleet.ConditionIs("Joined", "True"), fleet.ConditionIs("Ready", "True"),
		fleet.Field("metadata.labels.site", "harbour"), fleet.Field("spec.provider", "own"), fleet.Field("spec.region", "north"),
		fleet.Field("spec.zones", []string{"a", "b"}), fleet.Field("spec.syncMode", "Pull"))
	f.Hub().Eventually(t, fleet.Object{APIVersion: "v1", Kind: "Namespace", Name: "karmada-es-" + name})
	f.Hub().Eventually(t, joinToken(token), fleet.Field("status.clusterName", name))
}

func TestAnAgentThatIsInstalledAnewComesBackAndNothingIsAppliedAnew(t *testing.T) {
	f := fleet.Shared(t)
	name := unique("reinstalled")
	member := f.Spare(t)
	f.Hub().RemoveAfter(t, fleet.Cluster(name))
	state, flag := stateOf(t, member)
	first := f.NewAgent(t, cluster.AgentConfig{ClusterName: name, Member: member.Cluster, Token: f.Token(t, name), Flags: []string{flag}})
	if err := first.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	namespace := f.Hub().Namespace(t)
	object := configMap(namespace, "settings")
	f.Hub().Apply(t, fill(namespace, settings)+"---"+policyFor(object, name))
	uid := member.Eventually(t, object).GetUID()
	f.Hub().Eventually(t, fleet.Binding(object), fleet.ConditionIs("FullyApplied", "True"))
	id := f.Hub().Get(t, fleet.Cluster(name)).Object["spec"].(map[string]any)["id"]

	if err := first.Kill(); err != nil {
		t.Fatal(err)
	}
	member.Delete(t, state)
	f.Hub().Patch(t, object, "data: {greeting: while it was away}")

	again := attachable(t, f, member, name, f.Token(t, name))
	refused(t, again, "has joined this hub before; to give it a new identity run `windlass token create --cluster "+name+" --rejoin`")
	f.Hub().EventuallyWarned(t, fleet.Cluster(name), "ClusterAlreadyJoined", "refused to enrol an agent")

	if err := again.SetToken(f.Token(t, name, "--rejoin")); err != nil {
		t.Fatal(err)
	}
	if err := again.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.Hub().Eventually(t, fleet.Cluster(name), fleet.ConditionIs("Ready", "True"), fleet.Field("spec.id", id))
	member.Eventually(t, object, fleet.Field("data.greeting", "while it was away"), fleet.Field("metadata.uid", uid))
	f.Hub().Eventually(t, fleet.Binding(object), fleet.ConditionIs("FullyApplied", "True"))
	f.Hub().Delete(t, object)
	member.EventuallyGone(t, object)
}

func TestARejoinEndsTheSessionThatIsThereBeforeAnotherTakesItsPlace(t *testing.T) {
	f := fleet.Shared(t)
	name := unique("rejoined")
	member := f.Spare(t)
	first := attach(t, f, member, name)
	second := attachable(t, f, member, name, f.Token(t, name, "--rejoin"))
	if err := second.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	fleet.WaitFor(t, "the first agent to be told that its certificate is worth nothing", func() error {
		log := first.Process().Tail(50)
		switch {
		case strings.Contains(log, "another agent with the same identity"):
			t.Fatalf("it received works until another had connected:\n%s", log)
		case !strings.Contains(log, "was replaced and is not accepted any more"):
			return fmt.Errorf("it says:\n%s", log)
		}
		return nil
	})
	f.Hub().Eventually(t, fleet.Cluster(name), fleet.ConditionIs("Ready", "True"))
}

func TestASecondAgentInAClusterWaitsForTheFirst(t *testing.T) {
	f := fleet.Shared(t)
	name := unique("twofold")
	member := f.Spare(t)
	f.Hub().RemoveAfter(t, fleet.Cluster(name))
	_, flag := stateOf(t, member)
	first := f.NewAgent(t, cluster.AgentConfig{ClusterName: name, Member: member.Cluster, Token: f.Token(t, name), Flags: []string{flag}})
	if err := first.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	beside := func(name string) *cluster.Agent {
		agent := f.NewAgent(t, cluster.AgentConfig{ClusterName: name, Member: member.Cluster, Flags: []string{flag}})
		if err := agent.Launch(); err != nil {
			t.Fatal(err)
		}
		return agent
	}
	stranger := beside(name + "-2")
	endsWithOneLine(t, stranger.Process(), "windlass-agent: ", "--cluster-name says", "the state is in the hands of agent ", ", since 20")

	second := beside(name)
	fleet.WaitFor(t, "the second agent to say that it waits", func() error {
		said, err := second.Health(t.Context(), "/readyz")
		if err == nil && !strings.Contains(said, "another agent acts for this cluster (agent ") {
			err = fmt.Errorf("it says %q", said)
		}
		return err
	})
	namespace := f.Hub().Namespace(t)
	object := configMap(namespace, "settings")
	f.Hub().Apply(t, fill(namespace, settings)+"---"+policyFor(object, name))
	uid := member.Eventually(t, object).GetUID()
	if !first.Process().Alive() {
		t.Fatal("the first agent has ended")
	}
	if err := first.Stop(); err != nil {
		t.Fatal(err)
	}
	f.Hub().Patch(t, object, "data: {greeting: from the second}")
	member.Eventually(t, object, fleet.Field("data.greeting", "from the second"), fleet.Field("metadata.uid", uid))
	f.Hub().Eventually(t, fleet.Cluster(name), fleet.ConditionIs("Ready", "True"))
}

func TestAnAgentWhoseNamespaceIsDeletedGoesOnAndIsStillWhoItWas(t *testing.T) {
	f := fleet.Shared(t)
	name := unique("homeless")
	member := f.Spare(t)
	f.Hub().RemoveAfter(t, fleet.Cluster(name))
	home, flag := stateOf(t, member)
	agent := f.NewAgent(t, cluster.AgentConfig{ClusterName: name, Member: member.Cluster, Token: f.Token(t, name), Flags: []string{flag}})
	if err := agent.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	namespace := f.Hub().Namespace(t)
	object := configMap(namespace, "settings")
	f.Hub().Apply(t, fill(namespace, settings)+"---"+policyFor(object, name))
	uid := member.Eventually(t, object).GetUID()
	before := member.Get(t, home)

	member.Delete(t, home)
	member.Eventually(t, home, anotherThan(before.GetUID()))
	member.Eventually(t, fleet.Object{APIVersion: "v1", Kind: "Secret", Namespace: home.Name, Name: "windlass-agent-identity"})
	f.Hub().Patch(t, object, "data: {greeting: at home again}")
	member.Eventually(t, object, fleet.Field("data.greeting", "at home again"), fleet.Field("metadata.uid", uid))

	if err := agent.Stop(); err != nil {
		t.Fatal(err)
	}
	if log := agent.Process().Tail(20); !strings.Contains(log, "The agent is stopping.") || !strings.Contains(log, "The agent has stopped") {
		t.Errorf("its log does not say that it stops and has stopped:\n%s", log)
	}
	if err := agent.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.Hub().Patch(t, object, "data: {greeting: after a restart}")
	member.Eventually(t, object, fleet.Field("data.greeting", "after a restart"), fleet.Field("metadata.uid", uid))
	f.Hub().Eventually(t, fleet.Cluster(name), fleet.ConditionIs("Ready", "True"))
}

func TestEveryRefusedTokenLeavesAnEventOnTheHub(t *testing.T) {
	f := fleet.Shared(t)
	ownerName := unique("token-owner")
	used := f.Token(t, ownerName)
	owner := attachable(t, f, f.Spare(t), ownerName, used)
	if err := owner.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.Hub().Eventually(t, fleet.Cluster(ownerName), fleet.ConditionIs("Joined", "True"))
	expired := f.Token(t, "token-expired", "--ttl=1s")
	f.Hub().Eventually(t, joinToken(expired), fleet.Field("spec.clusterName", "token-expired"))
	end := time.Now().Add(2100 * time.Millisecond) // the hub's clock is this machine's, and its times are whole seconds
	fleet.WaitFor(t, "the token to expire", func() error {
		if left := time.Until(end); left > 0 {
			return fmt.Errorf("it lasts %v more", left)
		}
		return nil
	})
	elsewhere := f.Token(t, "token-other")
	itself := f.Token(t, "token-hub")
	guessed := strings.Split(f.Token(t, "token-guessed"), ".")
	guessed[2] = strings.Split(used, ".")[2]

	cases := []struct {
		reason, name, token string
		says                string
		about               fleet.Object
		event               string
		flags               []string
	}{
		{"a token that was used", ownerName, used, "was used already", joinToken(used), "TokenUsed", nil},
		{"a token whose time is over", "token-expired", expired, "ended at", joinToken(expired), "TokenExpired", nil},
		{"a token of another name", "token-mine", elsewhere, `is for cluster "token-other"`, joinToken(elsewhere), "TokenForAnotherCluster", nil},
		{"a token with another secret", "token-guessed", strings.Join(guessed, "."), "with that secret", joinToken(strings.Join(guessed, ".")), "TokenSecretWrong", nil},
		{"a cluster that has a name already", "token-guessed", f.Token(t, "token-guessed"), `has joined the hub already, as "member2"`, fleet.Cluster("member2"), "ClusterHasAnotherName", nil},
		{"a name that another cluster has", ownerName, f.Token(t, ownerName, "--rejoin"), "is taken", fleet.Cluster(ownerName), "ClusterNameTaken", nil},
		{"the hub itself", "token-hub", itself, "is that of the hub itself", joinToken(itself), "ClusterIsTheHub", []string{"--kubeconfig=" + f.Hub().Kubeconfig()}},
	}
	for _, c := range cases {
		t.Run(c.reason, func(t *testing.T) {
			namespace, state := stateOf(t, f.Member("member2"))
			f.Hub().DeleteAfter(t, namespace)
			agent := f.NewAgent(t, cluster.AgentConfig{ClusterName: c.name, Member: f.Member("member2").Cluster, Token: c.token, Flags: append(c.flags, state)})
			refused(t, agent, c.says)
			endsWithOneLine(t, agent.Process(), "windlass-agent: ", c.says)
			f.Hub().EventuallyWarned(t, c.about, c.event, "refused to enrol an agent")
		})
	}
	f.Hub().Eventually(t, fleet.Cluster(ownerName), fleet.ConditionIs("Ready", "True"))
}

func TestAClusterThatIsTakenOffTheHubIsLeftEmptyAndItsAgentIsToldSo(t *testing.T) {
	f := fleet.Shared(t)
	name := unique("taken-off")
	member := f.Spare(t)
	agent := attach(t, f, member, name)
	namespace := f.Hub().Namespace(t)
	object := configMap(namespace, "settings")
	f.Hub().Apply(t, fill(namespace, settings)+"---"+policyFor(object, name, "member2"))
	member.Eventually(t, object)
	kept := f.Member("member2").Eventually(t, object)
	f.Hub().Eventually(t, fleet.Binding(object), fleet.ConditionIs("FullyApplied", "True"))

	f.Hub().Delete(t, fleet.Cluster(name))
	member.EventuallyGone(t, object)
	f.Hub().EventuallyGone(t, fleet.Cluster(name))
	f.Hub().EventuallyGone(t, fleet.Object{APIVersion: "v1", Kind: "Namespace", Name: "karmada-es-" + name})
	endsWithOneLine(t, agent.Process(), "windlass-agent: ", "cluster "+name+" was removed from the hub", "windlass token create --cluster "+name)
	f.Member("member2").Eventually(t, object, fleet.Field("metadata.uid", kept.GetUID()))
	f.Hub().Eventually(t, fleet.Binding(object), fleet.Field("spec.clusters", []map[string]string{{"name": "member2"}}), fleet.ConditionIs("FullyApplied", "True"))

	// Started again, as a Pod is, it says the same.
	endsAgainAsRemoved(t, agent, name)

	// And with a new token, as it has said, the cluster comes back.
	if err := agent.SetToken(f.Token(t, name)); err != nil {
		t.Fatal(err)
	}
	if err := agent.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.Hub().Eventually(t, fleet.Cluster(name), fleet.ConditionIs("Ready", "True"))
	member.Eventually(t, object, fleet.Field("data.greeting", "hello"))
}

// endsAgainAsRemoved starts the agent of a removed cluster and waits until it has ended as such.
func endsAgainAsRemoved(t *testing.T, agent *cluster.Agent, name string) {
	t.Helper()
	if err := agent.Launch(); err != nil {
		t.Fatal(err)
	}
	fleet.WaitFor(t, "the agent to end again", func() error {
		lines := strings.Split(strings.TrimSpace(agent.Process().Tail(1)), "\n")
		if last := lines[len(lines)-1]; agent.Process().Alive() || !strings.HasPrefix(last, "windlass-agent: cluster "+name+" was removed from the hub") {
			return fmt.Errorf("the agent's last words are %s", last)
		}
		return nil
	})
}

func TestAClusterThatIsTakenOffTheHubWhileItsAgentIsAwayIsNotLookedAfterAnyMore(t *testing.T) {
	f := fleet.Shared(t)
	name := unique("forgotten")
	member := f.Spare(t)
	agent := attach(t, f, member, name)
	namespace := f.Hub().Namespace(t)
	object := configMap(namespace, "settings")
	f.Hub().Apply(t, fill(namespace, settings)+"---"+policyFor(object, name))
	uid := member.Eventually(t, object).GetUID()
	f.Hub().Eventually(t, fleet.Binding(object), fleet.ConditionIs("FullyApplied", "True"))
	if err := agent.Kill(); err != nil {
		t.Fatal(err)
	}
	f.Hub().Delete(t, fleet.Cluster(name))
	f.Hub().EventuallyGone(t, fleet.Cluster(name))

	endsAgainAsRemoved(t, agent, name) // it hears so once, and believes it from then on
	member.Patch(t, object, "data: {greeting: changed in the cluster}")
	endsAgainAsRemoved(t, agent, name)
	member.Eventually(t, object, fleet.Field("data.greeting", "changed in the cluster"), fleet.Field("metadata.uid", uid))

	if err := agent.SetToken(f.Token(t, name)); err != nil {
		t.Fatal(err)
	}
	if err := agent.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	member.Eventually(t, object, fleet.Field("data.greeting", "hello"), fleet.Field("metadata.uid", uid))
	f.Hub().Eventually(t, fleet.Binding(object), fleet.ConditionIs("FullyApplied", "True"))
}

func TestTakingAClusterWithManyObjectsOffTheHubWaitsForAPerson(t *testing.T) {
	f := fleet.Shared(t)
	name := unique("much-in-it")
	const many = 12 // more than may go within five minutes
	member := f.Spare(t)
	attach(t, f, member, name)
	namespace := f.Hub().Namespace(t)
	placeMany(t, f, namespace, many, name)

	f.Hub().Delete(t, fleet.Cluster(name))
	f.Hub().Eventually(t, fleet.Cluster(name), fleet.ConditionIs("DeletionsHeld", "True"),
		fleet.ConditionSays("DeletionsHeld", "kubectl annotate membercluster "+name))
	clusters := f.Hub().Resource(t, fleet.Cluster(name))
	// The last deletions may come to be held after the condition was read: what it says is typed until it is done.
	fleet.WaitFor(t, "the confirmed cluster to be gone from the hub", func() error {
		leaving, err := clusters.Get(t.Context(), name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		if err != nil {
			return err
		}
		if command := confirmation(leaving); command != nil {
			_, err = f.Hub().CLI(t.Context(), command...)
		}
		return errors.Join(errors.New("it is there"), err)
	})
	for i := range many {
		member.EventuallyGone(t, configMap(namespace, fmt.Sprintf("many-%02d", i)))
	}
}

// confirmation is the command that a cluster's condition DeletionsHeld tells people to type; nil when
// it tells nothing.
func confirmation(held *unstructured.Unstructured) []string {
	conditions, _, _ := unstructured.NestedSlice(held.Object, "status", "conditions")
	for _, condition := range conditions {
		fields := condition.(map[string]any)
		if _, command, found := strings.Cut(fmt.Sprint(fields["message"]), "to let it happen: "); found && fields["type"] == "DeletionsHeld" && fields["status"] == "True" {
			return strings.Fields(command)
		}
	}
	return nil
}

func TestATaintKeepsNewObjectsOutAndLeavesThoseThatAreThere(t *testing.T) {
	f := fleet.Shared(t)
	name := unique("tainted")
	member := f.Spare(t)
	attach(t, f, member, name)
	namespace := f.Hub().Namespace(t)
	before := configMap(namespace, "settings")
	f.Hub().Apply(t, fill(namespace, settings)+"---"+policyFor(before, name))
	uid := member.Eventually(t, before).GetUID()
	f.Hub().Eventually(t, fleet.Binding(before), fleet.ConditionIs("FullyApplied", "True"))

	f.Hub().Patch(t, fleet.Cluster(name), `spec: {taints: [{key: e2e.example.test/maintenance, effect: NoSchedule}]}`)
	after := configMap(namespace, "later")
	f.Hub().Apply(t, fill(namespace, `
apiVersion: v1
kind: ConfigMap
metadata: {name: later, namespace: NAMESPACE}
---`)+policyFor(after, name))
	f.Hub().Eventually(t, fleet.Binding(after), fleet.ConditionIs("Scheduled", "False"),
		fleet.ConditionSays("Scheduled", "has the untolerated taint e2e.example.test/maintenance:NoSchedule"))
	f.Hub().EventuallyWarned(t, after, "NotScheduled", "untolerated taint")
	f.Hub().Patch(t, before, "data: {greeting: still managed}")
	member.Eventually(t, before, fleet.Field("data.greeting", "still managed"), fleet.Field("metadata.uid", uid))
	if !member.Lacks(t, after) {
		t.Error("a new object came to a tainted cluster")
	}

	f.Hub().Patch(t, policy(namespace, "configmap-later"), `spec: {placement: {clusterTolerations: [{key: e2e.example.test/maintenance, operator: Exists}]}}`)
	member.Eventually(t, after)
	f.Hub().Eventually(t, fleet.Binding(after), fleet.ConditionIs("Scheduled", "True"), fleet.ConditionIs("FullyApplied", "True"))
}
