// Package fleet gives end-to-end tests a running fleet, one hub with two real member clusters and
// their agents, and the verbs to say what shall happen to it.
//
// The fleet is started once for a test program, when the first test asks for it, on free ports and in
// a directory of its own, and ends with the program in whatever way that ends. Environment:
//
//	WINDLASS_E2E_BIN   where windlass-hub, windlass-agent, windlass and member lie; made anew by `make build` when empty
//	WINDLASS_E2E_KEEP  when not empty, the directory with all logs and data is kept, and its path printed
package fleet

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"windlass.dev/windlass/hack/cluster"
)

// Fleet is one hub and its members. Its methods may be called by one test at a time; only Dir, Token, NewAgent
// and StartHub also by tests that run beside each other, which are those that have a hub or agents of their own.
type Fleet struct {
	config Config

	dir     string
	bin     string
	hub     *Hub
	members []*Member
	spare   *Member // nil until a test asks for it
	network *cluster.Namespace
	whyNot  error // why no member is behind NAT
}

// Hub is the hub's API and its process.
type Hub struct {
	*API
	*cluster.Hub
}

// Member is a member cluster's API, its processes, and the agent in it.
type Member struct {
	*API
	Cluster *cluster.Member
	Agent   *cluster.Agent
}

// Config says what fleet to start.
type Config struct {
	Members []string
	// NAT puts the last member into a network of its own, where the machine can do that.
	NAT bool
	// Fsync makes the members' etcd wait for the disk; the hub's always does.
	Fsync bool
	// Node is what each of a member's two nodes offers; what cluster.MemberConfig says when zero.
	Node cluster.Capacity
	// AsInstalled gives hub and agents no settings, as for a user who makes none: what is measured is to be theirs.
	AsInstalled bool
	// Profiling has agents and members' API servers serve Go's profiles of themselves; the hub always does.
	Profiling bool
}

// hubSettings and agentSettings are the texts of their configuration files; there is none when that is empty.
func (c Config) hubSettings() string {
	if c.AsInstalled {
		return ""
	}
	return hubConfig
}

func (c Config) agentSettings() string {
	text := agentConfig
	if c.AsInstalled {
		text = ""
	}
	if c.Profiling {
		text += "profiling: true\n"
	}
	return text
}

var shared struct {
	once  sync.Once
	fleet *Fleet
	err   error
}

// Main runs a package's tests and ends the shared fleet afterwards. It is all a TestMain does.
func Main(m *testing.M) {
	code := m.Run()
	if shared.fleet != nil {
		shared.fleet.Stop()
	}
	os.Exit(code)
}

// Shared returns the program's fleet, every agent joined and ready. When the test fails, the ends of
// the hub's and the agents' logs are part of its output.
func Shared(t *testing.T) *Fleet {
	t.Helper()
	shared.once.Do(func() {
		began := time.Now()
		shared.fleet, shared.err = Start(context.Background(), Config{Members: []string{"member1", "member2"}, NAT: true})
		t.Logf("the shared fleet took %v to start", time.Since(began).Round(time.Millisecond))
	})
	if shared.err != nil {
		t.Fatalf("the shared fleet did not start: %v", shared.err)
	}
	f := shared.fleet
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(f.logs(60))
			t.Log(f.objects())
		}
	})
	return f
}

// objects are the hub's own, for whoever looks for what went wrong.
func (f *Fleet) objects() string {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	text, err := f.hub.CLI(ctx, "kubectl", "get", "memberclusters,propagationbindings,clusterpropagationbindings,propagationworks", "--all-namespaces", "-o", "yaml")
	if err != nil {
		return fmt.Sprintf("the hub's objects can't be read: %v", err)
	}
	return "---- the hub's objects\n" + text
}

// Hub returns the hub.
func (f *Fleet) Hub() *Hub { return f.hub }

// Members returns all members.
func (f *Fleet) Members() []*Member { return f.members }

// Member returns a member by name; an unknown name is a mistake in the test.
func (f *Fleet) Member(name string) *Member {
	for _, m := range f.members {
		if m.Cluster.Name() == name {
			return m
		}
	}
	panic(fmt.Sprintf("the fleet has no member %q", name))
}

// Spare returns a member cluster that has not joined the hub, for tests of joining: a cluster joins
// under one name only. It is started when the first test asks for it; each test takes from the hub
// again what it has attached.
func (f *Fleet) Spare(t *testing.T) *Member {
	t.Helper()
	if f.spare == nil {
		spare, err := f.startMember(t.Context(), "spare", nil)
		if err != nil {
			t.Fatal(err)
		}
		f.spare = spare
	}
	return f.spare
}

// BehindNAT returns the member in a network namespace of its own; nil, and why, where the machine can make none.
func (f *Fleet) BehindNAT() (*Member, error) {
	for _, m := range f.members {
		if m.Cluster.Network() != nil {
			return m, nil
		}
	}
	return nil, f.whyNot
}

// Binary returns the path of one of the built programs.
func (f *Fleet) Binary(name string) string { return filepath.Join(f.bin, name) }

// Dir makes and returns a directory, below the fleet's own, for what a test starts itself; kept when the fleet's is.
func (f *Fleet) Dir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp(f.dir, "test-")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// NewAgent prepares, without starting it, one more agent for a member; what config leaves empty is
// filled in: directory, binary, the hub's address. It is killed when the test ends.
func (f *Fleet) NewAgent(t *testing.T, config cluster.AgentConfig) *cluster.Agent {
	t.Helper()
	if config.Dir == "" {
		config.Dir = f.Dir(t)
	}
	if config.Hub == "" {
		config.Hub = f.hub.LinkAddress()
	}
	if config.Config == "" {
		config.Config = agentConfig
	}
	config.Binary = f.Binary("windlass-agent")
	agent, err := cluster.NewAgent(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if agent.Process() != nil {
			_ = agent.Kill()
		}
		if t.Failed() && agent.Process() != nil {
			t.Logf("the end of the log of the agent for %s:\n%s", config.ClusterName, agent.Process().Tail(60))
		}
	})
	return agent
}

// StartHub starts one more hub, which the fleet's agents know nothing of; what config leaves empty is
// filled in: directory, binaries, settings. It is killed when the test ends.
func (f *Fleet) StartHub(t *testing.T, config cluster.HubConfig) *Hub {
	t.Helper()
	if config.Dir == "" {
		config.Dir = f.Dir(t)
	}
	if config.Config == "" {
		config.Config = hubConfig
	}
	config.Binary, config.CLI = f.Binary("windlass-hub"), f.Binary("windlass")
	hub, err := cluster.NewHub(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if hub.Process() == nil {
			return
		}
		_ = hub.Kill()
		if t.Failed() {
			t.Logf("the end of the log of the hub in %s:\n%s", config.Dir, hub.Process().Tail(60))
		}
	})
	if err := hub.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	api, err := newAPI("the hub in "+config.Dir, hub.Kubeconfig(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return &Hub{api, hub}
}

// Token makes a join token for a cluster's name.
func (f *Fleet) Token(t *testing.T, clusterName string, flags ...string) string {
	t.Helper()
	token, err := f.hub.CreateToken(t.Context(), clusterName, flags...)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// RestartHub kills the hub as a crash would and starts it again; it returns when its API is ready.
func (f *Fleet) RestartHub(t *testing.T) {
	t.Helper()
	if err := f.hub.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := f.hub.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// RestartHubWith is RestartHub with another configuration file, until the test ends.
func (f *Fleet) RestartHubWith(t *testing.T, config string) {
	t.Helper()
	restart := func(config string) {
		// Not the test's own context: that has ended when what a test leaves is put right.
		err := errors.Join(f.hub.Kill(), f.hub.SetConfig(config), f.hub.Start(context.Background()))
		if err != nil {
			t.Errorf("restarting the hub with another configuration: %v", err)
		}
	}
	t.Cleanup(func() { restart(hubConfig) })
	restart(config)
}

// RestartAgentWith kills a member's agent as a crash would and starts it again with more in its
// configuration file, until the test ends; it returns when the agent is ready.
func (f *Fleet) RestartAgentWith(t *testing.T, m *Member, more string) {
	t.Helper()
	restart := func(config string) {
		// Not the test's own context: that has ended when what a test leaves is put right.
		err := errors.Join(m.Agent.Kill(), m.Agent.SetConfig(config), m.Agent.Start(context.Background()))
		if err != nil {
			t.Errorf("restarting the agent of %s with another configuration: %v", m.Cluster.Name(), err)
		}
	}
	t.Cleanup(func() { restart(agentConfig) })
	restart(agentConfig + more)
}

// Backup copies the store of the hub, which must not run, and returns what puts the copy in its place,
// while the hub does not run either.
func (f *Fleet) Backup(t *testing.T) (restore func()) {
	t.Helper()
	store, backup := filepath.Join(f.hub.DataDir(), "etcd"), filepath.Join(f.Dir(t), "etcd")
	replace := func(target, source string) {
		t.Helper()
		if err := os.RemoveAll(target); err != nil {
			t.Fatal(err)
		}
		if output, err := exec.Command("cp", "-a", source, target).CombinedOutput(); err != nil {
			t.Fatalf("copying the hub's store: %v: %s", err, output)
		}
	}
	replace(backup, store)
	return func() { t.Helper(); replace(store, backup) }
}

// AwaitReady returns when the hub calls every member ready.
func (f *Fleet) AwaitReady(t *testing.T) {
	t.Helper()
	for _, m := range f.members {
		f.hub.Eventually(t, Cluster(m.Cluster.Name()), ConditionIs("Ready", "True"))
	}
}

// Start starts a fleet, every agent joined and ready. Tests use Shared. On an error, too, the fleet is to be stopped.
func Start(ctx context.Context, config Config) (*Fleet, error) {
	f := &Fleet{config: config, whyNot: errors.New("it was not asked for")}
	return f, f.start(ctx)
}

func (f *Fleet) start(ctx context.Context) error {
	var err error
	if f.bin, err = binaries(); err != nil {
		return err
	}
	if f.dir, err = os.MkdirTemp("", "windlass-e2e-"); err != nil {
		return err
	}
	hubAddress := "127.0.0.1"
	if f.config.NAT {
		f.whyNot = cluster.NATAvailable()
	}
	if f.whyNot == nil {
		if f.network, err = cluster.NewNATNamespace(); err != nil {
			return err
		}
		hubAddress = f.network.Outside
	}
	if err := f.startClusters(ctx, hubAddress); err != nil {
		return err
	}
	return each(len(f.members), func(i int) error { return f.join(ctx, f.members[i]) })
}

func (f *Fleet) startClusters(ctx context.Context, hubAddress string) error {
	f.members = make([]*Member, len(f.config.Members))
	return each(len(f.config.Members)+1, func(i int) error {
		if i == len(f.config.Members) {
			return f.startHub(ctx, hubAddress)
		}
		var network *cluster.Namespace
		if i == len(f.config.Members)-1 {
			network = f.network
		}
		var err error
		f.members[i], err = f.startMember(ctx, f.config.Members[i], network)
		return err
	})
}

func (f *Fleet) startHub(ctx context.Context, address string) error {
	hub, err := cluster.StartHub(ctx, cluster.HubConfig{
		Dir: filepath.Join(f.dir, "hub"), Binary: f.Binary("windlass-hub"), CLI: f.Binary("windlass"), Address: address,
		Config: f.config.hubSettings(),
	})
	if err != nil {
		return err
	}
	api, err := newAPI("the hub", hub.Kubeconfig(), nil)
	if err != nil {
		return err
	}
	f.hub = &Hub{api, hub}
	return nil
}

func (f *Fleet) startMember(ctx context.Context, name string, network *cluster.Namespace) (*Member, error) {
	member, err := cluster.StartMember(ctx, cluster.MemberConfig{
		Name: name, Dir: filepath.Join(f.dir, name), Binary: f.Binary("member"), Fsync: f.config.Fsync, Network: network,
		Capacity: f.config.Node, Profiling: f.config.Profiling,
	})
	if err != nil {
		return nil, err
	}
	api, err := newAPI(name, member.Kubeconfig(), member.Dial())
	if err != nil {
		return nil, errors.Join(err, member.Kill())
	}
	return &Member{API: api, Cluster: member}, nil
}

func (f *Fleet) join(ctx context.Context, m *Member) error {
	name := m.Cluster.Name()
	token, err := f.hub.CreateToken(ctx, name)
	if err != nil {
		return err
	}
	m.Agent, err = cluster.StartAgent(ctx, cluster.AgentConfig{
		Dir: filepath.Join(f.dir, name+"-agent"), Binary: f.Binary("windlass-agent"),
		Hub: f.hub.LinkAddress(), ClusterName: name, Token: token, Member: m.Cluster,
		Config: f.config.agentSettings(),
	})
	if err != nil {
		return err
	}
	return await(ctx, func() error {
		object, err := f.hub.read(ctx, Cluster(name))
		if err != nil {
			return err
		}
		return ConditionIs("Ready", "True")(object)
	})
}

// Stop ends everything at once: nothing of it is needed any more.
func (f *Fleet) Stop() {
	var failures []error
	for _, m := range append(f.members, f.spare) {
		if m == nil {
			continue
		}
		if m.Agent != nil {
			failures = append(failures, m.Agent.Kill())
		}
		failures = append(failures, m.Cluster.Kill())
	}
	if f.hub != nil {
		failures = append(failures, f.hub.Kill())
	}
	if f.network != nil {
		failures = append(failures, f.network.Close())
	}
	switch {
	case f.dir == "":
	case os.Getenv("WINDLASS_E2E_KEEP") != "":
		fmt.Fprintln(os.Stderr, "the fleet's logs and data are kept in", f.dir)
	default:
		failures = append(failures, os.RemoveAll(f.dir))
	}
	if err := errors.Join(failures...); err != nil {
		fmt.Fprintln(os.Stderr, "ending the fleet:", err)
	}
}

// logs returns the last lines of what the hub and the agents wrote.
func (f *Fleet) logs(lines int) string {
	var text strings.Builder
	processes := []*cluster.Process{f.hub.Process()}
	names := []string{"the hub"}
	for _, m := range f.members {
		processes = append(processes, m.Agent.Process())
		names = append(names, "the agent of "+m.Cluster.Name())
	}
	for i, p := range processes {
		fmt.Fprintf(&text, "---- the end of the log of %s, %s\n%s\n", names[i], p.LogPath, p.Tail(lines))
	}
	return text.String()
}

// binaries returns the folder of the built programs. Without the environment's word they are built
// first, for a test of yesterday's program is worse than a slow one.
func binaries() (string, error) {
	if given := os.Getenv("WINDLASS_E2E_BIN"); given != "" {
		return filepath.Abs(given)
	}
	root, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return "", fmt.Errorf("finding the repository: %w", err)
	}
	dir := strings.TrimSpace(string(root))
	output, err := exec.Command("make", "-C", dir, "--no-print-directory", "build").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("building the programs: %w: %s", err, output)
	}
	return filepath.Join(dir, "bin"), nil
}

// each runs task for 0 … n-1 at the same time and returns when all have ended.
func each(n int, task func(i int) error) error {
	failures := make([]error, n)
	var group sync.WaitGroup
	for i := range n {
		group.Go(func() { failures[i] = task(i) })
	}
	group.Wait()
	return errors.Join(failures...)
}
