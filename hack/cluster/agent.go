package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// AgentConfig says how to start an agent. Dir, Binary, Hub, ClusterName and Member are needed.
type AgentConfig struct {
	Dir         string // made when absent; holds token, log and record
	Binary      string // bin/windlass-agent
	Hub         string // host:port of the hub's link
	ClusterName string
	Token       string   // join token; may be empty for an agent that has joined
	Member      *Member  // the cluster it works in; the agent runs in the member's network
	Config      string   // the text of a configuration file; none when empty
	Flags       []string // more flags
	Env         []string // more environment, NAME=value
	Lifetime    Lifetime
}

// Agent is one agent process and the directory that outlives it.
type Agent struct {
	config  AgentConfig
	health  string
	http    *http.Client
	process *Process
}

// AgentProcess is the name under which an agent is recorded and logs, in its directory.
const AgentProcess = "windlass-agent"

// StartAgent starts an agent and returns when it says that it is ready. On an error nothing is left running; the log stays.
func StartAgent(ctx context.Context, config AgentConfig) (*Agent, error) {
	a, err := NewAgent(config)
	if err != nil {
		return nil, err
	}
	return a, a.Start(ctx)
}

// NewAgent prepares an agent: directory, token file, port for health. It starts nothing.
func NewAgent(config AgentConfig) (*Agent, error) {
	a := &Agent{config: config, http: &http.Client{
		Transport: &http.Transport{DialContext: config.Member.Dial()},
	}}
	if err := a.prepare(); err != nil {
		return nil, fmt.Errorf("preparing the agent of %s in %s: %w", config.ClusterName, config.Dir, err)
	}
	return a, nil
}

func (a *Agent) prepare() (err error) {
	if a.config.Dir, err = filepath.Abs(a.config.Dir); err != nil {
		return err
	}
	if a.config.Binary, err = builtBinary(a.config.Binary); err != nil {
		return err
	}
	if err = os.MkdirAll(a.config.Dir, 0o700); err != nil {
		return err
	}
	port, err := FreePort("127.0.0.1")
	if err != nil {
		return err
	}
	a.health = net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	if err := a.SetConfig(a.config.Config); err != nil {
		return err
	}
	return a.SetToken(a.config.Token)
}

func (a *Agent) configPath() string { return filepath.Join(a.config.Dir, "config.yaml") }

// SetConfig replaces the text of the configuration file from the next start on; none when empty.
func (a *Agent) SetConfig(text string) error {
	a.config.Config = text
	if text == "" {
		return nil
	}
	return os.WriteFile(a.configPath(), []byte(text), 0o600)
}

// SetToken changes what the agent finds in its token file.
func (a *Agent) SetToken(token string) error {
	a.config.Token = token
	return os.WriteFile(a.tokenPath(), []byte(token+"\n"), 0o600)
}

// SetHub changes the address the agent dials from its next start on.
func (a *Agent) SetHub(address string) { a.config.Hub = address }

// SetEnv replaces the additional environment, NAME=value, from the next start on.
func (a *Agent) SetEnv(env ...string) { a.config.Env = env }

// Start starts the agent's process and waits until it is ready.
func (a *Agent) Start(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	if err := a.Launch(); err != nil {
		return err
	}
	if err := a.WaitReady(ctx); err != nil {
		_ = a.process.Kill()
		return fmt.Errorf("starting the agent of %s: %w", a.config.ClusterName, err)
	}
	return nil
}

// Launch starts the agent's process and waits for nothing: for an agent whose hub is away, or that is to be refused.
func (a *Agent) Launch() error {
	flags := []string{
		"--hub=" + a.config.Hub, "--cluster-name=" + a.config.ClusterName, "--token-file=" + a.tokenPath(),
		"--kubeconfig=" + a.config.Member.AgentKubeconfig(), "--health-listen=" + a.health,
	}
	if a.config.Config != "" {
		flags = append(flags, "--config="+a.configPath())
	}
	process, err := start(command{
		name: AgentProcess, path: a.config.Binary, args: append(flags, a.config.Flags...),
		dir: a.config.Dir, log: a.LogPath(), env: append(plainEnvironment(), a.config.Env...),
		lifetime: a.config.Lifetime, network: a.config.Member.Network(),
	})
	if err != nil {
		return err
	}
	a.process = process
	return nil
}

// WaitReady returns when the agent says it is ready, or with an error that names the log when the process ended or ctx did.
func (a *Agent) WaitReady(ctx context.Context) error {
	err := waitFor(ctx, 20*time.Millisecond, func(ctx context.Context) error {
		if err := a.process.ended(); err != nil {
			return err
		}
		_, err := a.Health(ctx, "/readyz")
		return err
	})
	var failure *Failure
	if err == nil || errors.As(err, &failure) {
		return err
	}
	return &Failure{What: "waiting for the agent of " + a.config.ClusterName + " to be ready", LogPath: a.LogPath(), Err: err}
}

// Health reads a path of the agent's health port: /healthz, /readyz or /metrics.
func (a *Agent) Health(ctx context.Context, path string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	body, err := a.Read(ctx, path)
	return string(body), err
}

// Read is Health for what may take long, such as /debug/pprof/profile of an agent that was told to serve it.
func (a *Agent) Read(ctx context.Context, path string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+a.health+path, nil)
	if err != nil {
		return nil, err
	}
	response, err := a.http.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		return nil, &StatusError{Code: response.StatusCode, Message: strings.TrimSpace(string(body))}
	}
	return body, nil
}

// LogPath returns the path of the agent's log; it goes on over restarts.
func (a *Agent) LogPath() string { return filepath.Join(a.config.Dir, AgentProcess+".log") }

// Process returns the present process, or the last one.
func (a *Agent) Process() *Process { return a.process }

// Kill ends the agent by SIGKILL, as a crash would.
func (a *Agent) Kill() error { return a.process.Kill() }

// Stop ends the agent by SIGTERM and kills it when it has not ended in ten seconds.
func (a *Agent) Stop() error { return a.process.Stop(10 * time.Second) }

func (a *Agent) tokenPath() string { return filepath.Join(a.config.Dir, "token") }
