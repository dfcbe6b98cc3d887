package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"windlass.dev/windlass/e2e/fleet"
	"windlass.dev/windlass/hack/cluster"
)

// leaveStanding starts again, after the test, what it has killed and not started: the fleet is shared.
func leaveStanding(t *testing.T, f *fleet.Fleet) {
	t.Helper()
	t.Cleanup(func() {
		if process := f.Hub().Process(); process == nil || !process.Alive() {
			if err := f.Hub().Start(context.Background()); err != nil {
				t.Errorf("starting the hub again: %v", err)
			}
		}
		for _, member := range f.Members() {
			if process := member.Agent.Process(); process == nil || !process.Alive() {
				if err := member.Agent.Launch(); err != nil {
					t.Errorf("starting the agent of %s again: %v", member.Cluster.Name(), err)
				}
			}
		}
	})
}

// arrive applies the settings to every member and returns them with the UID they have in each.
func arrive(t *testing.T, f *fleet.Fleet) (object fleet.Object, uids map[string]any) {
	t.Helper()
	leaveStanding(t, f)
	namespace := f.Hub().Namespace(t)
	object = configMap(namespace, "settings")
	f.Hub().Apply(t, fill(namespace, settings)+"---"+policyFor(object))
	uids = map[string]any{}
	for _, member := range f.Members() {
		uids[member.Cluster.Name()] = member.Eventually(t, object).GetUID()
	}
	return object, uids
}

func TestAHubThatCrashesLosesNothingAndDeletesNothing(t *testing.T) {
	f := fleet.Shared(t)
	object, uids := arrive(t, f)
	f.RestartHub(t)
	f.AwaitReady(t)
	f.Hub().Patch(t, object, "data: {greeting: after the restart}")
	for _, member := range f.Members() {
		member.Eventually(t, object,
			fleet.Field("data.greeting", "after the restart"), fleet.Field("metadata.uid", uids[member.Cluster.Name()]))
	}
	f.Hub().Eventually(t, fleet.Binding(object), fleet.ConditionIs("FullyApplied", "True"))
	for _, member := range f.Members() {
		if cluster := f.Hub().Get(t, fleet.Cluster(member.Cluster.Name())); confirmation(cluster) != nil {
			t.Errorf("the crash of the hub was taken for a restored backup: %v", cluster.Object["status"])
		}
	}
}

// TestAHubRestoredFromABackupDeletesNothingUnconfirmed: what came after the backup stays in the members, also when the
// restored hub has written more than they have ever seen before they come back; and the user is told, and decides.
func TestAHubRestoredFromABackupDeletesNothingUnconfirmed(t *testing.T) {
	f := fleet.Shared(t)
	older, _ := arrive(t, f)
	stop := func() {
		t.Helper()
		if err := f.Hub().Stop(); err != nil {
			t.Fatal(err)
		}
	}
	start := func() {
		t.Helper()
		if err := f.Hub().Start(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	stop()
	restore := f.Backup(t)
	start()
	f.AwaitReady(t)
	newer, uids := arrive(t, f)
	// An agent applies what is new before it has written down that it does, and reports it after that.
	f.Hub().Eventually(t, fleet.Binding(newer), fleet.ConditionIs("FullyApplied", "True"))
	for _, member := range f.Members() {
		if err := member.Agent.Kill(); err != nil {
			t.Fatal(err)
		}
	}
	// More than any agent can have seen.
	f.Hub().Patch(t, newer, "metadata: {annotations: {e2e/last: write}}")
	last := revision(t, f.Hub().Get(t, newer))

	stop()
	restore()
	start()
	if !f.Hub().Lacks(t, newer) {
		t.Fatal("the restored hub has what was made after the backup")
	}
	for n := 0; revision(t, f.Hub().Get(t, older)) <= last; n++ {
		f.Hub().Patch(t, older, fmt.Sprintf("data: {greeting: after the restore %d}", n))
	}
	f.Hub().Patch(t, older, "data: {greeting: after the restore}")
	for _, member := range f.Members() {
		if err := member.Agent.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
	}

	for _, member := range f.Members() {
		name := member.Cluster.Name()
		f.Hub().Eventually(t, fleet.Cluster(name), fleet.ConditionIs("DeletionsHeld", "True"),
			fleet.ConditionSays("DeletionsHeld", "restored from a backup"), fleet.ConditionSays("DeletionsHeld", newer.Name+"-configmap"))
		// What the hub has still arrives, and after that what it lacks is there as it was.
		member.Eventually(t, older, fleet.Field("data.greeting", "after the restore"))
		if got := member.Get(t, newer); got.GetUID() != uids[name] || got.GetDeletionTimestamp() != nil {
			t.Errorf("%s lost what was made after the backup: it has %v", name, got.Object)
		}
	}
	if status, err := f.Hub().CLI(t.Context(), "status"); !strings.Contains(status, "restored from a backup") {
		t.Errorf("windlass status does not tell of the restore: %v\n%s", err, status)
	}

	for _, member := range f.Members() {
		name := fleet.Cluster(member.Cluster.Name())
		fleet.WaitFor(t, "the confirmation to count for "+name.String(), func() error {
			cluster := f.Hub().Get(t, name)
			if command := confirmation(cluster); command != nil {
				if _, err := f.Hub().CLI(t.Context(), command...); err != nil {
					return err
				}
			}
			return fleet.ConditionIs("DeletionsHeld", "False")(cluster)
		})
		member.EventuallyGone(t, newer)
		member.Eventually(t, older, fleet.Field("data.greeting", "after the restore"))
	}
	f.AwaitReady(t)
}

func revision(t *testing.T, object *unstructured.Unstructured) int64 {
	t.Helper()
	number, err := strconv.ParseInt(object.GetResourceVersion(), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return number
}

// A hub that comes up on an empty store, with the keys of before, has none of its clusters. Their agents keep who they are and
// what they run; and when that store is to be the hub's from now on, each is attached to it as its agent says.
func TestAHubOnAnEmptyStoreCostsNoAgentItsIdentity(t *testing.T) {
	t.Parallel()
	f := fleet.Shared(t)
	hub, member := f.StartHub(t, cluster.HubConfig{}), f.Member("member1")
	inPlace := filepath.Join(hub.DataDir(), "etcd")
	own, empty := inPlace+".own", inPlace+".empty"
	startOnAnother := func(moves ...func() error) {
		t.Helper()
		for _, step := range append(append([]func() error{hub.Stop}, moves...), func() error { return hub.Start(t.Context()) }) {
			if err := step(); err != nil {
				t.Fatal(err)
			}
		}
	}
	move := func(from, to string) func() error { return func() error { return os.Rename(from, to) } }
	token := func() string {
		t.Helper()
		made, err := hub.CreateToken(t.Context(), "edge")
		if err != nil {
			t.Fatal(err)
		}
		return made
	}
	namespace := hub.Namespace(t)
	member.DeleteAfter(t, fleet.Object{APIVersion: "v1", Kind: "Namespace", Name: namespace})
	object := configMap(namespace, "settings")
	hub.Apply(t, fill(namespace, settings)+"---"+policyFor(object))
	state, flag := stateOf(t, member)
	agent := f.NewAgent(t, cluster.AgentConfig{ClusterName: "edge", Member: member.Cluster, Hub: hub.LinkAddress(), Token: token(), Flags: []string{flag}})
	if err := agent.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	uid := member.Eventually(t, object, fleet.Field("data.greeting", "hello")).GetUID()
	hub.Eventually(t, fleet.Binding(object), fleet.ConditionIs("FullyApplied", "True"))

	startOnAnother(move(inPlace, own))
	for who, log := range map[string]func(int) string{"agent": agent.Process().Tail, "hub": hub.Process().Tail} {
		fleet.WaitFor(t, "the "+who+" to say what is the matter", func() error {
			if said := log(50); !strings.Contains(said, "this hub's store does not have cluster edge") {
				return errors.New(said)
			}
			return nil
		})
	}

	startOnAnother(move(inPlace, empty), move(own, inPlace))
	hub.Patch(t, object, "data: {greeting: the store is back}")
	member.Eventually(t, object, fleet.Field("data.greeting", "the store is back"), fleet.Field("metadata.uid", uid))

	startOnAnother(move(inPlace, own), move(empty, inPlace))
	member.Delete(t, fleet.Object{APIVersion: "v1", Kind: "Secret", Namespace: state.Name, Name: "windlass-agent-identity"})
	for _, step := range []func() error{agent.Stop, func() error { return agent.SetToken(token()) }, func() error { return agent.Start(t.Context()) }} {
		if err := step(); err != nil {
			t.Fatal(err)
		}
	}
	hub.Eventually(t, fleet.Cluster("edge"), fleet.ConditionIs("Ready", "True"),
		fleet.ConditionIs("DeletionsHeld", "True"), fleet.ConditionSays("DeletionsHeld", object.Name+"-configmap"))
	if got := member.Get(t, object); got.GetUID() != uid || got.GetDeletionTimestamp() != nil {
		t.Errorf("what ran in the cluster is not there as it was: %v", got.Object)
	}
}

func TestWhatIsDeletedWhileTheAgentIsAwayGoesWhenItIsBack(t *testing.T) {
	f := fleet.Shared(t)
	object, _ := arrive(t, f)
	kept, keptUIDs := arrive(t, f)
	for _, member := range f.Members() {
		if err := member.Agent.Kill(); err != nil {
			t.Fatal(err)
		}
	}
	f.Hub().Delete(t, object)
	f.Hub().Patch(t, kept, "data: {greeting: while it was away}")
	for _, member := range f.Members() {
		if err := member.Agent.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for _, member := range f.Members() {
		member.EventuallyGone(t, object)
		member.Eventually(t, kept,
			fleet.Field("data.greeting", "while it was away"), fleet.Field("metadata.uid", keptUIDs[member.Cluster.Name()]))
	}
	f.Hub().EventuallyGone(t, object)
	f.AwaitReady(t)
}

func TestAnAgentThatRestartsWhileTheHubIsDownGoesOnCorrectingDrift(t *testing.T) {
	f := fleet.Shared(t)
	object, _ := arrive(t, f)
	member := f.Member("member1")
	fleet.WaitFor(t, "the agent to have written the manifests into its member", func() error {
		metrics, err := member.Agent.Health(t.Context(), "/metrics")
		if err == nil && !strings.Contains(metrics, "\nwindlass_agent_state_unsaved_changes 0\n") {
			err = errors.New("windlass_agent_state_unsaved_changes is not 0")
		}
		return err
	})
	if err := f.Hub().Kill(); err != nil {
		t.Fatal(err)
	}
	if err := member.Agent.Kill(); err != nil {
		t.Fatal(err)
	}
	member.Delete(t, object)
	if err := member.Agent.Launch(); err != nil {
		t.Fatal(err)
	}
	member.Eventually(t, object, fleet.Field("data.greeting", "hello"))
	member.Patch(t, object, "data: {greeting: changed by hand}")
	member.Eventually(t, object, fleet.Field("data.greeting", "hello"))

	if err := f.Hub().Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.AwaitReady(t)
	f.Hub().Patch(t, object, "data: {greeting: the hub is back}")
	member.Eventually(t, object, fleet.Field("data.greeting", "the hub is back"))
}

func TestAConnectionThatIsCutOrHangsHealsByItself(t *testing.T) {
	f := fleet.Shared(t)
	object, _ := arrive(t, f)
	member := f.Member("member1")
	relay := fleet.NewRelay(t, "127.0.0.1", f.Hub().LinkAddress())
	through(t, member, relay.Address(), f.Hub().LinkAddress())

	relay.Cut()
	f.Hub().Patch(t, object, "data: {greeting: after the cut}")
	member.Eventually(t, object, fleet.Field("data.greeting", "after the cut"))
	if relay.Accepted() < 2 {
		t.Errorf("the agent dialled %d times: the connection did not go through the relay, so nothing was cut", relay.Accepted())
	}

	relay.Refuse(true)
	relay.Cut()
	f.Hub().Eventually(t, fleet.Cluster("member1"), fleet.ConditionIs("Ready", "Unknown"))
	f.Hub().Patch(t, object, "data: {greeting: nobody to tell}")
	relay.Refuse(false)
	member.Eventually(t, object, fleet.Field("data.greeting", "nobody to tell"))
	f.AwaitReady(t)

	relay.Stall()
	f.Hub().Patch(t, object, "data: {greeting: into the void}")
	f.Hub().Eventually(t, fleet.Cluster("member1"), fleet.ConditionIs("Ready", "Unknown"))
	relay.Cut()
	relay.Resume()
	member.Eventually(t, object, fleet.Field("data.greeting", "into the void"))
	f.AwaitReady(t)
}

// through restarts a member's agent with another address to dial, and gives it its own back when the test ends.
func through(t *testing.T, member *fleet.Member, address, back string, env ...string) {
	t.Helper()
	restart := func(address string, env ...string) error {
		if err := member.Agent.Stop(); err != nil {
			return err
		}
		member.Agent.SetHub(address)
		member.Agent.SetEnv(env...)
		return member.Agent.Launch()
	}
	if err := restart(address, env...); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := restart(back); err != nil {
			t.Error(err)
		}
	})
	if err := member.Agent.WaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
}
