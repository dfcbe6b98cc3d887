package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"windlass.dev/windlass/hack/cluster"
)

const (
	usualDir = ".quickstart"
	// dirVariable of the environment names another directory, for a quickstart beside the usual one.
	dirVariable = "WINDLASS_QUICKSTART_DIR"

	sample = "hack/quickstart/sample.yaml"
)

var (
	stateDir   = cmp.Or(os.Getenv(dirVariable), usualDir)
	hubDir     = filepath.Join(stateDir, "hub")
	kubeconfig = filepath.Join(stateDir, "kubeconfig")
	// complete is written last: without it the state is what an attempt left behind that failed.
	complete = filepath.Join(stateDir, "complete")
)

// members and the replicas each gets of the sample's 6: it divides them 2:1.
var members = []struct {
	name     string
	replicas int
}{{"member1", 4}, {"member2", 2}}

func memberDir(name string) string { return filepath.Join(stateDir, name) }
func agentDir(name string) string  { return filepath.Join(stateDir, name+"-agent") }

func up(ctx context.Context) error {
	if running, err := alreadyUp(); err != nil || running {
		return err
	}
	if err := preflight(ctx); err != nil {
		return err
	}
	if err := os.MkdirAll(stateDir, 0o700); err != nil {
		return err
	}
	if err := build(ctx); err != nil {
		return err
	}
	began := time.Now()
	if err := bringUp(ctx); err != nil {
		fmt.Println("\nStopping what was started; the logs stay in " + stateDir + "/ until the next make quickstart.")
		return errors.Join(err, stopAll())
	}
	if err := os.WriteFile(complete, nil, 0o600); err != nil {
		return err
	}
	fmt.Printf("\nWindlass is up after %s.\n\n", since(began))
	if err := show(ctx, "status"); err != nil {
		return err
	}
	printWhatNext()
	return nil
}

// alreadyUp tells whether a quickstart runs. One that runs in part is left as it is, for somebody may have stopped the rest and
// goes on with what is there; only what is left of one of which nothing runs any more is removed.
func alreadyUp() (bool, error) {
	if _, err := os.Stat(stateDir); errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	processes, err := recorded()
	if err != nil {
		return false, err
	}
	var running, ended []*cluster.Process
	for _, p := range processes {
		if p.Alive() {
			running = append(running, p)
		} else {
			ended = append(ended, p)
		}
	}
	_, unfinished := os.Stat(complete)
	switch {
	case unfinished == nil && len(ended) == 0:
		fmt.Println("The quickstart is up already; its state is in " + stateDir + "/, and `" + endIt() + "` ends it.")
		fmt.Println()
		if err := show(context.Background(), "status"); err != nil {
			return true, err
		}
		printWhatNext()
		return true, nil
	case len(running) > 0:
		return false, runsInPart(running, ended)
	}
	if err := remove(); err != nil {
		return false, err
	}
	fmt.Println("Nothing of an earlier quickstart runs any more: its state, " + stateDir + "/, is removed, and this one starts afresh.")
	return false, nil
}

// runsInPart says what there is of a quickstart that is not whole, and how to end it.
func runsInPart(running, ended []*cluster.Process) error {
	var said strings.Builder
	said.WriteString("an earlier quickstart runs in part, and is left as it is.\n  still running:")
	for _, p := range running {
		said.WriteString(" " + filepath.Join(filepath.Base(filepath.Dir(p.LogPath)), p.Name))
	}
	for _, p := range ended {
		said.WriteString("\n  ended: " + p.Name + ", its log is " + p.LogPath)
	}
	if len(ended) == 0 {
		said.WriteString("\n  it was ended itself before everything was up")
	}
	said.WriteString("\nTo end it and remove its state: " + endIt())
	return errors.New(said.String())
}

// bringUp starts hub and members side by side, joins them, applies the sample and waits until it runs everywhere.
func bringUp(ctx context.Context) error {
	fmt.Println("Starting a hub and two member clusters")
	fleet, err := startClusters(ctx)
	if err != nil {
		return err
	}
	sources := map[string]string{"hub": fleet.hub.Kubeconfig()}
	names := []string{"hub"}
	for _, m := range fleet.members {
		sources[m.Name()] = m.Kubeconfig()
		names = append(names, m.Name())
	}
	if err := cluster.MergeKubeconfigs(kubeconfig, names, sources); err != nil {
		return err
	}
	fmt.Println("Joining the members: each agent dials the hub with a token of its own")
	if err := fleet.join(ctx); err != nil {
		return err
	}
	fmt.Println("Applying the sample, " + sample + ": a Deployment of 6 replicas, a Service, a ConfigMap, and a policy")
	if _, err := fleet.hub.CLI(ctx, "kubectl", "apply", "-f", sample); err != nil {
		return &cluster.Failure{What: "applying the sample to the hub", LogPath: fleet.hub.LogPath(), Err: err}
	}
	return fleet.waitForSample(ctx)
}

type fleet struct {
	hub     *cluster.Hub
	members []*cluster.Member
}

func startClusters(ctx context.Context) (*fleet, error) {
	f := &fleet{members: make([]*cluster.Member, len(members))}
	tasks := []func() error{func() (err error) {
		began := time.Now()
		f.hub, err = cluster.StartHub(ctx, cluster.HubConfig{
			Dir: hubDir, Binary: "bin/windlass-hub", CLI: "bin/windlass", Lifetime: cluster.Detached,
		})
		if err == nil {
			fmt.Printf("  hub is ready, %s: API at https://%s, agents at %s\n", since(began), f.hub.APIAddress(), f.hub.LinkAddress())
		}
		return err
	}}
	for i, member := range members {
		tasks = append(tasks, func() (err error) {
			began := time.Now()
			f.members[i], err = cluster.StartMember(ctx, cluster.MemberConfig{
				Name: member.name, Dir: memberDir(member.name), Binary: "bin/member", Lifetime: cluster.Detached,
			})
			if err == nil {
				fmt.Printf("  %s is ready, %s: API at https://127.0.0.1:%d\n", member.name, since(began), f.members[i].Port())
			}
			return err
		})
	}
	return f, together(tasks)
}

func (f *fleet) join(ctx context.Context) error {
	var tasks []func() error
	for _, member := range f.members {
		tasks = append(tasks, func() error { return f.joinOne(ctx, member) })
	}
	return together(tasks)
}

func (f *fleet) joinOne(ctx context.Context, member *cluster.Member) error {
	began := time.Now()
	token, err := f.hub.CreateToken(ctx, member.Name())
	if err != nil {
		return &cluster.Failure{What: "making a join token for " + member.Name(), LogPath: f.hub.LogPath(), Err: err}
	}
	agent, err := cluster.StartAgent(ctx, cluster.AgentConfig{
		Dir: agentDir(member.Name()), Binary: "bin/windlass-agent",
		Hub: f.hub.LinkAddress(), ClusterName: member.Name(), Token: token, Member: member, Lifetime: cluster.Detached,
	})
	if err != nil {
		return err
	}
	err = await(ctx, time.Minute, func() (string, error) { return "", f.clusterReady(ctx, member.Name()) })
	if err != nil {
		return &cluster.Failure{What: "waiting for the hub to call " + member.Name() + " ready", LogPath: agent.LogPath(), Err: err}
	}
	fmt.Printf("  %s has joined, %s\n", member.Name(), since(began))
	return nil
}

func (f *fleet) clusterReady(ctx context.Context, name string) error {
	var object struct {
		Status struct {
			Conditions []struct{ Type, Status, Message string }
		}
	}
	if err := f.hub.Client().Get(ctx, "/apis/cluster.karmada.io/v1alpha1/memberclusters/"+name, &object); err != nil {
		return err
	}
	for _, condition := range object.Status.Conditions {
		if condition.Type == "Ready" {
			if condition.Status == "True" {
				return nil
			}
			return fmt.Errorf("the condition Ready is %s: %s", condition.Status, condition.Message)
		}
	}
	return errors.New("it has no condition Ready yet")
}

// waitForSample returns when every member runs its share and the hub's own Deployment says so.
func (f *fleet) waitForSample(ctx context.Context) error {
	began := time.Now()
	err := await(ctx, time.Minute, func() (string, error) { return f.sampleProgress(ctx) })
	if err != nil {
		return &cluster.Failure{What: "waiting for the sample to be ready everywhere", LogPath: f.hub.LogPath(), Err: err}
	}
	fmt.Printf("  every replica is ready, %s\n", since(began))
	return nil
}

const (
	webPolicy     = "/apis/policy.karmada.io/v1alpha1/namespaces/default/propagationpolicies/web"
	webDeployment = "/apis/apps/v1/namespaces/default/deployments/web"
)

// sampleProgress says how far the sample is, and fails while it is not there.
func (f *fleet) sampleProgress(ctx context.Context) (string, error) {
	var words []string
	missing := false
	for i, member := range f.members {
		ready, err := readyReplicas(ctx, member.Client())
		if err != nil {
			return "", fmt.Errorf("%s: %w", member.Name(), err)
		}
		for _, path := range []string{"/api/v1/namespaces/default/services/web", "/api/v1/namespaces/default/configmaps/web"} {
			if err := member.Client().Get(ctx, path, nil); err != nil {
				return "", fmt.Errorf("%s: %w", member.Name(), err)
			}
		}
		missing = missing || ready != members[i].replicas
		words = append(words, fmt.Sprintf("%s %d of %d ready", member.Name(), ready, members[i].replicas))
	}
	ready, err := readyReplicas(ctx, f.hub.Client())
	if err != nil {
		return "", fmt.Errorf("hub: %w", err)
	}
	words = append(words, fmt.Sprintf("the hub's Deployment says %d of 6", ready))
	progress := strings.Join(words, ", ")
	if missing || ready != 6 {
		return progress, errors.New(progress)
	}
	return progress, f.policyReady(ctx)
}

// policyReady fails until the policy's status has caught up with what the members say.
func (f *fleet) policyReady(ctx context.Context) error {
	var policy struct {
		Status struct {
			Conditions []struct{ Type, Status, Message string } `json:"conditions"`
		} `json:"status"`
	}
	if err := f.hub.Client().Get(ctx, webPolicy, &policy); err != nil {
		return fmt.Errorf("hub: %w", err)
	}
	for _, condition := range policy.Status.Conditions {
		if condition.Type == "Ready" && condition.Status == "True" {
			return nil
		}
	}
	return errors.New("the policy does not say that it is ready")
}

func readyReplicas(ctx context.Context, client *cluster.Client) (int, error) {
	var deployment struct {
		Status struct {
			ReadyReplicas int `json:"readyReplicas"`
		} `json:"status"`
	}
	err := client.Get(ctx, webDeployment, &deployment)
	return deployment.Status.ReadyReplicas, err
}

// await asks until there is no error, prints what progress says whenever that changes, and returns the last error after limit.
func await(ctx context.Context, limit time.Duration, ask func() (progress string, err error)) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	last := ""
	for {
		progress, err := ask()
		if progress != "" && progress != last {
			fmt.Println("  " + progress)
			last = progress
		}
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-ticker.C:
		}
	}
}

// together runs tasks at the same time and returns when all have ended.
func together(tasks []func() error) error {
	failures := make([]error, len(tasks))
	var group sync.WaitGroup
	for i, task := range tasks {
		group.Go(func() { failures[i] = task() })
	}
	group.Wait()
	return errors.Join(failures...)
}

// show runs the windlass command on the quickstart's fleet, its output going to the user.
func show(ctx context.Context, args ...string) error {
	cmd := exec.CommandContext(ctx, "bin/windlass", args...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+kubeconfig)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	fmt.Println("$ KUBECONFIG=" + fromHere(kubeconfig) + " bin/windlass " + strings.Join(args, " "))
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("running bin/windlass %s: %w", strings.Join(args, " "), err)
	}
	return nil
}

// fromHere is a path as a shell in the repository needs it.
func fromHere(path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return "$PWD/" + path
}

// endIt is the command that ends this quickstart, and not another one.
func endIt() string {
	if stateDir == usualDir {
		return "make quickstart-down"
	}
	return dirVariable + "='" + stateDir + "' make quickstart-down"
}

func printWhatNext() {
	fmt.Print(`
The API servers, controllers and schedulers are real. Nodes and pods are simulated: no container runs.

Look further, from this directory:

  export KUBECONFIG=` + fromHere(kubeconfig) + `          # contexts hub, member1, member2
  bin/windlass kubectl get memberclusters,propagationpolicies,propagationbindings
  bin/windlass kubectl get propagationworks --all-namespaces
  bin/windlass kubectl --context member1 get deployments,pods

Change the sample on the hub and watch it follow:

  bin/windlass kubectl scale deployment web --replicas 9
  bin/windlass kubectl rollout status deployment web
  bin/windlass status

Change it in a member and watch it come back:

  bin/windlass kubectl --context member2 delete configmap web
  bin/windlass kubectl --context member2 get configmap web --watch

Logs: ` + stateDir + `/hub/windlass-hub.log, ` + stateDir + `/member1-agent/windlass-agent.log, ...
End everything: ` + endIt() + `
`)
}
