package e2e

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"windlass.dev/windlass/e2e/fleet"
	"windlass.dev/windlass/hack/cluster"
)

// newEtcd prepares, without starting it, an etcd that wants certificates of its clients. It is killed when the test ends.
func newEtcd(t *testing.T, f *fleet.Fleet) *cluster.Etcd {
	t.Helper()
	etcd, err := cluster.NewEtcd(cluster.EtcdConfig{Dir: f.Dir(t), Binary: f.Binary("member")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if etcd.Process() == nil {
			return
		}
		_ = etcd.Kill()
		if t.Failed() {
			t.Logf("the end of etcd's log:\n%s", etcd.Process().Tail(20))
		}
	})
	return etcd
}

func startEtcd(t *testing.T, f *fleet.Fleet) *cluster.Etcd {
	t.Helper()
	etcd := newEtcd(t, f)
	if err := etcd.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return etcd
}

// on are the flags of a hub whose store is that etcd.
func on(etcd *cluster.Etcd, more ...string) []string {
	return append([]string{
		"--etcd-servers=" + etcd.URL(), "--etcd-cafile=" + etcd.CA, "--etcd-certfile=" + etcd.ClientCert, "--etcd-keyfile=" + etcd.ClientKey,
	}, more...)
}

// A hub whose store is an etcd of the user's own keeps everything in it: started again it goes on
// where it was, also on another machine, which has nothing but its keys.
func TestAHubOnAnEtcdOfTheUsersGoesOnWhereItWas(t *testing.T) {
	t.Parallel()
	f := fleet.Shared(t)
	etcd, keys, member := startEtcd(t, f), filepath.Join(f.Dir(t), "pki"), f.Member("member1")
	hub := f.StartHub(t, cluster.HubConfig{Flags: on(etcd, "--pki-dir="+keys)})
	namespace := hub.Namespace(t)
	member.DeleteAfter(t, fleet.Object{APIVersion: "v1", Kind: "Namespace", Name: namespace})
	object := configMap(namespace, "settings")
	hub.Apply(t, fill(namespace, settings)+"---"+policyFor(object))

	token, err := hub.CreateToken(t.Context(), "edge")
	if err != nil {
		t.Fatal(err)
	}
	_, state := stateOf(t, member)
	agent := f.NewAgent(t, cluster.AgentConfig{ClusterName: "edge", Member: member.Cluster, Hub: hub.LinkAddress(), Token: token, Flags: []string{state}})
	if err := agent.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	first := member.Eventually(t, object, fleet.Field("data.greeting", "hello"))
	hub.Eventually(t, fleet.Binding(object), fleet.ConditionIs("FullyApplied", "True"))

	if err := hub.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := hub.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	hub.Patch(t, object, "data: {greeting: after the restart}")
	member.Eventually(t, object, fleet.Field("data.greeting", "after the restart"), fleet.Field("metadata.uid", first.GetUID()))

	if err := hub.Stop(); err != nil {
		t.Fatal(err)
	}
	hub.SetFlags(on(etcd, "--pki-dir="+keys, "--data-dir="+filepath.Join(f.Dir(t), "another-machine"))...)
	if err := hub.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	hub.Patch(t, object, "data: {greeting: from another machine}")
	member.Eventually(t, object, fleet.Field("data.greeting", "from another machine"), fleet.Field("metadata.uid", first.GetUID()))
	hub.Eventually(t, fleet.Cluster("edge"), fleet.ConditionIs("Ready", "True"))
	hub.Eventually(t, fleet.Binding(object), fleet.ConditionIs("FullyApplied", "True"))
}

// A hub's process may live on where nobody sees it any more, when another one is started in its place. That one waits; and if etcd
// has not heard of the first for a while, the first ends as soon as it can hear of it.
func TestOneProcessOfAHubAtATimeUsesAnEtcd(t *testing.T) {
	t.Parallel()
	f := fleet.Shared(t)
	etcd, keys := startEtcd(t, f), filepath.Join(f.Dir(t), "pki")
	first, second := newHub(t, f, on(etcd, "--pki-dir="+keys)...), newHub(t, f, on(etcd, "--pki-dir="+keys)...)
	if err := first.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := second.Launch(); err != nil {
		t.Fatal(err)
	}
	fleet.WaitFor(t, "the second process to say what it waits for", func() error {
		if log := second.Process().Tail(20); !strings.Contains(log, "another process of this hub uses this store") {
			return errors.New(log)
		}
		return nil
	})
	if err := first.Process().Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	if err := second.WaitReady(ctx); err != nil {
		t.Fatal(err)
	}
	if err := first.Process().Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	endsWithOneLine(t, first.Process(), "windlass-hub: ", "another one may use the store by now")
}

// A store that is restored under a hub has not heard of its process, which looks as if another one had taken the store. The
// hub looks before it ends, for the next process can't see any more what happened.
func TestAHubWhoseEtcdIsRestoredWhileItRunsEndsAndSaysWhy(t *testing.T) {
	t.Parallel()
	f := fleet.Shared(t)
	etcd := startEtcd(t, f)
	data := filepath.Join(filepath.Dir(etcd.LogPath()), "data")
	hub := f.StartHub(t, cluster.HubConfig{Flags: on(etcd)})
	// The copy is of a store that no process uses.
	for _, stop := range []func() error{hub.Stop, etcd.Kill} {
		if err := stop(); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.CopyFS(data+".copy", os.DirFS(data)); err != nil {
		t.Fatal(err)
	}
	for _, start := range []func(context.Context) error{etcd.Start, hub.Start} {
		if err := start(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if err := etcd.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.RemoveAll(data), os.Rename(data+".copy", data)); err != nil {
		t.Fatal(err)
	}
	if err := etcd.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	endsWithOneLine(t, hub.Process(), "windlass-hub: ", "the store was restored from a backup while this hub was running")
	if err := hub.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestAHubThatCanNotUseAnEtcdSaysWhyInOneLineAndEndsWithOne(t *testing.T) {
	t.Parallel()
	f := fleet.Shared(t)
	etcd, absent := startEtcd(t, f), newEtcd(t, f)
	owner := f.StartHub(t, cluster.HubConfig{Flags: on(etcd)})
	namespace := owner.Namespace(t)
	silent := listen(t, func(net.Conn) {})
	cases := []struct {
		reason string
		flags  []string
		says   []string
	}{
		{"it is another hub's", on(etcd), []string{"this store belongs to the hub ", "the PKI directory is that of the hub ", "start with the PKI directory that this store was made with"}},
		{"nobody listens", on(absent), []string{absent.URL(), "connection refused", "--etcd-servers"}},
		{"somebody listens and says nothing", []string{"--etcd-servers=https://" + silent, "--etcd-cafile=" + etcd.CA}, []string{silent, "does not answer", "--etcd-servers"}},
		{"its certificate is from another authority", on(etcd, "--etcd-cafile="+absent.CA), []string{etcd.URL(), "unknown authority", "--etcd-cafile"}},
		{"it does not know the hub's certificate", on(etcd, "--etcd-certfile="+absent.ClientCert, "--etcd-keyfile="+absent.ClientKey), []string{etcd.URL(), "--etcd-certfile"}},
		{"the hub shows none", []string{"--etcd-servers=" + etcd.URL(), "--etcd-cafile=" + etcd.CA}, []string{etcd.URL(), "certificate required", "--etcd-certfile"}},
		{"the file of a certificate is not there", on(etcd, "--etcd-certfile=/nowhere/client.crt"), []string{"/nowhere/client.crt"}},
	}
	// The slowest takes as long as an etcd may take to answer; they wait together.
	hubs := make([]*cluster.Hub, len(cases))
	for i, c := range cases {
		hub, err := cluster.NewHub(cluster.HubConfig{Dir: f.Dir(t), Binary: f.Binary("windlass-hub"), Flags: c.flags})
		if err != nil {
			t.Fatal(err)
		}
		if err := hub.Launch(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = hub.Kill() })
		hubs[i] = hub
	}
	for i, c := range cases {
		t.Run(c.reason, func(t *testing.T) { endsWithOneLine(t, hubs[i].Process(), "windlass-hub: ", c.says...) })
	}
	// The store's own hub has not noticed any of it.
	owner.Apply(t, fill(namespace, settings))
	owner.Eventually(t, configMap(namespace, "settings"))
}
