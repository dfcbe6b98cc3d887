package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// HubConfig says how to start a hub. Dir and Binary are needed.
type HubConfig struct {
	Dir    string // made when absent; holds data, log and record
	Binary string // bin/windlass-hub
	// CLI is bin/windlass; needed for CreateToken and CLI only.
	CLI string
	// Address is what the hub listens on and advertises, for users and agents; 127.0.0.1 when empty.
	Address string
	Config  string   // the text of a configuration file; none when empty
	Flags   []string // more flags
	Env     []string // more environment, NAME=value
	// Lifetime of the process, and of every later one that Start starts.
	Lifetime Lifetime
}

// Hub is one hub process and the directory that outlives it.
type Hub struct {
	config            HubConfig
	apiPort, linkPort int
	process           *Process
	client            *Client
}

// HubProcess is the name under which a hub is recorded and logs, in its directory.
const HubProcess = "windlass-hub"

// StartHub starts a hub on free ports and returns when its API is ready. On an error nothing is left running; the log stays.
func StartHub(ctx context.Context, config HubConfig) (*Hub, error) {
	h, err := NewHub(config)
	if err != nil {
		return nil, err
	}
	return h, h.Start(ctx)
}

// NewHub prepares a hub: its directory and its ports. It starts nothing.
func NewHub(config HubConfig) (*Hub, error) {
	if config.Address == "" {
		config.Address = "127.0.0.1"
	}
	h := &Hub{config: config}
	if err := h.prepare(); err != nil {
		return nil, fmt.Errorf("preparing a hub in %s: %w", config.Dir, err)
	}
	return h, nil
}

func (h *Hub) prepare() (err error) {
	if h.config.Dir, err = filepath.Abs(h.config.Dir); err != nil {
		return err
	}
	if h.config.Binary, err = builtBinary(h.config.Binary); err != nil {
		return err
	}
	if h.config.CLI != "" {
		if h.config.CLI, err = builtBinary(h.config.CLI); err != nil {
			return err
		}
	}
	if err = os.MkdirAll(h.config.Dir, 0o700); err != nil {
		return err
	}
	if h.apiPort, err = FreePort(h.config.Address); err != nil {
		return err
	}
	if h.linkPort, err = FreePort(h.config.Address); err != nil {
		return err
	}
	return h.SetConfig(h.config.Config)
}

// SetConfig changes the text of the hub's configuration file; it counts from the next Start on.
func (h *Hub) SetConfig(text string) error {
	h.config.Config = text
	if text == "" {
		return nil
	}
	return os.WriteFile(h.configPath(), []byte(text), 0o600)
}

// SetFlags replaces the additional flags; they count from the next Start on.
func (h *Hub) SetFlags(flags ...string) { h.config.Flags = flags }

// Start starts the hub's process, on the same ports and data as before, and waits until its API is ready.
func (h *Hub) Start(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	if err := h.Launch(); err != nil {
		return err
	}
	if err := h.WaitReady(ctx); err != nil {
		_ = h.process.Kill()
		return fmt.Errorf("starting the hub: %w", err)
	}
	return nil
}

// Launch starts the hub's process and waits for nothing: for tests of a hub that is to refuse to start.
func (h *Hub) Launch() error {
	flags := []string{
		"--data-dir=" + h.DataDir(),
		"--api-listen=" + h.APIAddress(), "--link-listen=" + h.LinkAddress(),
		"--advertise-address=" + h.config.Address,
	}
	if h.config.Config != "" {
		flags = append(flags, "--config="+h.configPath())
	}
	process, err := start(command{
		name: HubProcess, path: h.config.Binary, args: append(flags, h.config.Flags...),
		dir: h.config.Dir, log: h.LogPath(), env: append(plainEnvironment(), h.config.Env...),
		lifetime: h.config.Lifetime,
	})
	if err != nil {
		return err
	}
	h.process, h.client = process, nil
	return nil
}

// WaitReady returns when the hub's API is ready, or with an error that names the log when the process ended or ctx did.
func (h *Hub) WaitReady(ctx context.Context) error {
	err := waitFor(ctx, 20*time.Millisecond, func(ctx context.Context) error {
		if err := h.process.ended(); err != nil {
			return err
		}
		client, err := NewClient(h.Kubeconfig(), nil)
		if err != nil {
			return err // not written yet
		}
		if err := client.Get(ctx, "/readyz", nil); err != nil {
			return err
		}
		h.client = client
		return nil
	})
	var failure *Failure
	if err == nil || errors.As(err, &failure) {
		return err
	}
	return &Failure{What: "waiting for the hub's API to be ready", LogPath: h.LogPath(), Err: err}
}

// DataDir returns the hub's data directory.
func (h *Hub) DataDir() string { return filepath.Join(h.config.Dir, "data") }

// Kubeconfig returns the path of the administrator's kubeconfig, which the hub writes at its first start.
func (h *Hub) Kubeconfig() string { return filepath.Join(h.DataDir(), "admin.kubeconfig") }

// APIAddress returns host:port of the hub's API for users.
func (h *Hub) APIAddress() string { return net.JoinHostPort(h.config.Address, strconv.Itoa(h.apiPort)) }

// LinkAddress returns host:port that agents dial.
func (h *Hub) LinkAddress() string {
	return net.JoinHostPort(h.config.Address, strconv.Itoa(h.linkPort))
}

// LogPath returns the path of the hub's log; it goes on over restarts.
func (h *Hub) LogPath() string { return filepath.Join(h.config.Dir, HubProcess+".log") }

// Client returns a client with all rights; nil before the hub was ready.
func (h *Hub) Client() *Client { return h.client }

// Process returns the present process, or the last one.
func (h *Hub) Process() *Process { return h.process }

// Kill ends the hub by SIGKILL, as a crash would.
func (h *Hub) Kill() error { return h.process.Kill() }

// Stop ends the hub by SIGTERM and kills it when it has not ended in half a minute.
func (h *Hub) Stop() error { return h.process.Stop(30 * time.Second) }

func (h *Hub) configPath() string { return filepath.Join(h.config.Dir, "hub.yaml") }

// CreateToken makes a join token bound to a cluster's name, as a user does.
func (h *Hub) CreateToken(ctx context.Context, clusterName string, flags ...string) (string, error) {
	args := append([]string{"token", "create", "--cluster", clusterName, "-o", "value"}, flags...)
	output, err := h.CLI(ctx, args...)
	if err != nil {
		return "", err
	}
	return strings.TrimSpace(output), nil
}

// CLI runs the windlass command as the hub's administrator and returns what it printed; an error carries what it said.
func (h *Hub) CLI(ctx context.Context, args ...string) (string, error) {
	return runCLI(ctx, h.config.CLI, h.Kubeconfig(), args...)
}

func runCLI(ctx context.Context, binary, kubeconfig string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Env = append(plainEnvironment(), "KUBECONFIG="+kubeconfig)
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.String(), fmt.Errorf("windlass %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(stderr.String()))
	}
	return stdout.String(), nil
}

// plainEnvironment is this process's environment without what would change where a hub, an agent or a
// command connects to, or who it is: proxies, kubeconfigs, settings of Windlass itself.
func plainEnvironment() []string {
	var kept []string
	for _, entry := range os.Environ() {
		name, _, _ := strings.Cut(entry, "=")
		upper := strings.ToUpper(name)
		if strings.HasSuffix(upper, "_PROXY") || upper == "KUBECONFIG" || strings.HasPrefix(upper, "WINDLASS_") || strings.HasPrefix(upper, "KUBERNETES_") {
			continue
		}
		kept = append(kept, entry)
	}
	return kept
}
