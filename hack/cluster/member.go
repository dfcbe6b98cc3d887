package cluster

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// MemberConfig says what member cluster to start. Name, Dir and Binary are needed.
type MemberConfig struct {
	Name   string
	Dir    string // made when absent; a second start in it finds the cluster's data again
	Binary string // bin/member
	Nodes  int    // simulated nodes; 2 when 0, none when negative
	// Capacity of every node; 8 CPUs, 32Gi and 110 pods when zero.
	Capacity Capacity
	Lifetime Lifetime
	// Fsync makes etcd wait for the disk as in production. Tests that do not measure or pull the plug leave it off.
	Fsync bool
	// Profiling has the API server serve Go's profiles of itself, /debug/pprof/.
	Profiling bool
	// Network is the namespace the member lives in; nil for this machine's own network.
	Network *Namespace
	// Node, when set, is one real node, and there are no simulated ones.
	Node *NodeConfig
}

// Member is one running member cluster: a real etcd, API server, controller manager and scheduler,
// with nodes and pods simulated by kwok, or with one real node. Methods may be called concurrently, but for Start and Stop.
type Member struct {
	config    MemberConfig
	port      int
	client    *Client
	processes []*Process
}

const (
	etcdProcess       = "etcd"
	apiServerProcess  = "kube-apiserver"
	controllerProcess = "kube-controller-manager"
	schedulerProcess  = "kube-scheduler"
	kwokProcess       = "kwok"
)

// stopOrder lists a member's processes so that none loses what it needs before it ends.
var stopOrder = []string{nodeProcess, kwokProcess, schedulerProcess, controllerProcess, apiServerProcess, etcdProcess}

// StartMember starts a member cluster and returns when it takes work: the API server is ready, so
// are all nodes, and pods can be created in the default namespace. On an error nothing is left
// running; the logs stay.
func StartMember(ctx context.Context, config MemberConfig) (*Member, error) {
	switch {
	case config.Node != nil:
		config.Nodes = 1
	case config.Nodes == 0:
		config.Nodes = 2
	}
	if config.Capacity == (Capacity{}) {
		config.Capacity = Capacity{CPU: "8", Memory: "32Gi", Pods: "110"}
	}
	m := &Member{config: config}
	if err := m.prepare(); err != nil {
		return nil, fmt.Errorf("preparing member %s in %s: %w", config.Name, config.Dir, err)
	}
	if err := m.Start(ctx); err != nil {
		return nil, err
	}
	return m, nil
}

// StopMember ends the member cluster whose processes are recorded in dir, by whichever process they were started.
func StopMember(dir string) error {
	m := &Member{config: MemberConfig{Name: filepath.Base(dir), Dir: dir}}
	for _, name := range stopOrder {
		p, err := OpenProcess(dir, name)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		m.processes = append(m.processes, p)
	}
	return m.Stop()
}

// Start starts the cluster's processes again after Stop or Kill; its data and address are kept.
func (m *Member) Start(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	if err := m.start(ctx); err != nil {
		_ = m.Kill()
		return fmt.Errorf("starting member %s: %w", m.config.Name, err)
	}
	return nil
}

func (m *Member) start(ctx context.Context) error {
	m.processes = nil
	for _, name := range []string{etcdProcess, apiServerProcess} {
		if err := m.run(name); err != nil {
			return err
		}
	}
	if err := m.until(ctx, "the API server to be ready", apiServerProcess, func(ctx context.Context) error {
		return m.client.Get(ctx, "/readyz", nil)
	}); err != nil {
		return err
	}
	for _, name := range []string{controllerProcess, schedulerProcess} {
		if err := m.run(name); err != nil {
			return err
		}
	}
	nodes, err := m.startNodes(ctx)
	if err != nil {
		return err
	}
	if err := m.until(ctx, "its default service account", controllerProcess, func(ctx context.Context) error {
		return m.client.Get(ctx, "/api/v1/namespaces/default/serviceaccounts/default", nil)
	}); err != nil {
		return err
	}
	if m.config.Node == nil { // an agent on a real node is a pod, with an account of its chart's
		if err := m.until(ctx, "the service account of its agent", apiServerProcess, m.admitAgent); err != nil {
			return err
		}
	}
	return m.until(ctx, "its nodes to be ready", nodes, m.nodesReady)
}

// AgentKubeconfig returns the path of the kubeconfig by which an agent reaches a member of simulated nodes: as a service account with all
// rights, such as the agent's chart makes. A token is looked at once in ten seconds, and the administrator's certificate with each
// request.
func (m *Member) AgentKubeconfig() string { return filepath.Join(m.config.Dir, "agent.kubeconfig") }

// admitAgent makes the agent's service account, unless there is one, and writes its kubeconfig. It may be repeated.
func (m *Member) admitAgent(ctx context.Context) error {
	const name, accounts = "windlass-agent", "/api/v1/namespaces/default/serviceaccounts"
	metadata := map[string]any{"name": name}
	if err := m.client.ensure(ctx, accounts, map[string]any{"metadata": metadata}); err != nil {
		return err
	}
	if err := m.client.ensure(ctx, "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", map[string]any{
		"metadata": metadata,
		"roleRef":  map[string]any{"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
		"subjects": []any{map[string]any{"kind": "ServiceAccount", "name": name, "namespace": "default"}},
	}); err != nil {
		return err
	}
	var review struct {
		Status struct {
			Allowed bool `json:"allowed"`
		} `json:"status"`
	}
	if err := m.client.do(ctx, http.MethodPost, "/apis/authorization.k8s.io/v1/subjectaccessreviews", map[string]any{"spec": map[string]any{
		"user":               "system:serviceaccount:default:" + name,
		"resourceAttributes": map[string]any{"verb": "*", "group": "*", "resource": "*"},
	}}, &review); err != nil {
		return err
	}
	if !review.Status.Allowed {
		return errors.New("the API server does not know its rights yet")
	}
	var created struct {
		Status struct {
			Token string `json:"token"`
		} `json:"status"`
	}
	const year = 365 * 24 * 60 * 60
	if err := m.client.do(ctx, http.MethodPost, accounts+"/"+name+"/token", map[string]any{"spec": map[string]any{"expirationSeconds": year}}, &created); err != nil {
		return err
	}
	return m.writeKubeconfig(m.AgentKubeconfig(), map[string]any{"token": created.Status.Token})
}

// startNodes starts what plays the member's nodes, or is one, and says which process it is.
func (m *Member) startNodes(ctx context.Context) (process string, err error) {
	if m.config.Node != nil {
		if err := m.makeCgroups(); err != nil {
			return "", fmt.Errorf("making the control groups of its node: %w", err)
		}
		if err := m.run(nodeProcess); err != nil {
			return "", err
		}
		return nodeProcess, m.serveDNS(ctx)
	}
	if err := m.run(kwokProcess); err != nil {
		return "", err
	}
	for i := range max(m.config.Nodes, 0) {
		if err := m.AddNode(ctx, nodeName(m.config.Name, i), m.config.Capacity, nil); err != nil {
			return "", err
		}
	}
	return kwokProcess, nil
}

// until asks until there is no error, and gives up early when one of the member's processes has ended.
func (m *Member) until(ctx context.Context, what, process string, ask func(context.Context) error) error {
	err := waitFor(ctx, 20*time.Millisecond, func(ctx context.Context) error {
		for _, p := range m.processes {
			if err := p.ended(); err != nil {
				return err
			}
		}
		return ask(ctx)
	})
	var failure *Failure
	if err == nil || errors.As(err, &failure) {
		return err
	}
	return &Failure{What: "waiting for " + what, LogPath: m.LogPath(process), Err: err}
}

// Name returns the member's name.
func (m *Member) Name() string { return m.config.Name }

// Kubeconfig returns the path of the administrator's kubeconfig. Its address holds inside the member's network; see Dial.
func (m *Member) Kubeconfig() string { return filepath.Join(m.config.Dir, "admin.kubeconfig") }

// Network returns the namespace the member lives in, nil for this machine's own network.
func (m *Member) Network() *Namespace { return m.config.Network }

// Dial opens a connection as if from inside the member: use it as rest.Config.Dial with Kubeconfig.
func (m *Member) Dial() Dial { return m.config.Network.Dial }

// Port returns the port of the member's API server.
func (m *Member) Port() int { return m.port }

// Client returns a client with all rights.
func (m *Member) Client() *Client { return m.client }

// Processes returns the running processes of the member, in the order of their start.
func (m *Member) Processes() []*Process { return append([]*Process(nil), m.processes...) }

// LogPath returns the path of a process's log, such as that of kube-apiserver.
func (m *Member) LogPath(process string) string { return filepath.Join(m.config.Dir, process+".log") }

// Stop ends every process of the member in order; what takes longer than a few seconds is killed. The directory stays.
func (m *Member) Stop() error {
	return m.end(func(p *Process) error { return p.Stop(3 * time.Second) })
}

// Kill ends every process of the member at once.
func (m *Member) Kill() error { return m.end((*Process).Kill) }

func (m *Member) end(one func(*Process) error) error {
	var failures []error
	for _, name := range stopOrder {
		for _, p := range m.processes {
			if p.Name == name {
				failures = append(failures, one(p))
			}
		}
	}
	if m.config.Node != nil {
		failures = append(failures, removeCgroup(m.config.Network.cgroup()))
	}
	return errors.Join(failures...)
}

// prepare makes, once, what the processes read: port, certificates, kubeconfig, stages.
func (m *Member) prepare() error {
	dir, err := filepath.Abs(m.config.Dir)
	if err != nil {
		return err
	}
	m.config.Dir = dir
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if m.config.Binary, err = builtBinary(m.config.Binary); err != nil {
		return err
	}
	if err := m.choosePort(); err != nil {
		return err
	}
	if _, err := os.Stat(m.Kubeconfig()); err != nil {
		if err := m.writeCredentials(); err != nil {
			return err
		}
	}
	if err := m.prepareNodes(); err != nil {
		return err
	}
	m.client, err = NewClient(m.Kubeconfig(), m.Dial())
	return err
}

func (m *Member) prepareNodes() error {
	if m.config.Node != nil {
		return m.prepareNode()
	}
	return writeStages(filepath.Join(m.config.Dir, "stages.yaml"))
}

func (m *Member) choosePort() error {
	path := filepath.Join(m.config.Dir, "member.json")
	state := struct {
		Port int `json:"port"`
	}{}
	if raw, err := os.ReadFile(path); err == nil {
		if err := json.Unmarshal(raw, &state); err != nil {
			return fmt.Errorf("reading %s: %w", path, err)
		}
		m.port = state.Port
		return nil
	}
	port, err := FreePort("127.0.0.1")
	if err != nil {
		return err
	}
	m.port, state.Port = port, port
	raw, err := json.Marshal(state)
	if err != nil {
		return err
	}
	return os.WriteFile(path, raw, 0o600)
}

func (m *Member) writeCredentials() error {
	pki := filepath.Join(m.config.Dir, "pki")
	hosts := []string{
		"127.0.0.1", "10.96.0.1", "localhost",
		"kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local",
	}
	if m.config.Network != nil {
		hosts = append(hosts, m.config.Network.Address)
	}
	if err := writeMemberPKI(pki, hosts); err != nil {
		return err
	}
	var data [2]string
	for i, file := range []string{"admin.crt", "admin.key"} {
		raw, err := os.ReadFile(filepath.Join(pki, file))
		if err != nil {
			return err
		}
		data[i] = base64.StdEncoding.EncodeToString(raw)
	}
	return m.writeKubeconfig(m.Kubeconfig(), map[string]any{"client-certificate-data": data[0], "client-key-data": data[1]})
}

// writeKubeconfig writes how a user reaches the member.
func (m *Member) writeKubeconfig(path string, user map[string]any) error {
	authority, err := os.ReadFile(filepath.Join(m.config.Dir, "pki", "ca.crt"))
	if err != nil {
		return err
	}
	return newKubeconfig(m.config.Name, map[string]any{
		"server":                     "https://127.0.0.1:" + strconv.Itoa(m.port),
		"certificate-authority-data": base64.StdEncoding.EncodeToString(authority),
	}, user).write(path)
}

func (m *Member) run(process string) error {
	path, args := m.config.Binary, append([]string{process}, m.flags(process)...)
	if process == nodeProcess {
		path, args = m.config.Node.Binary, []string{"init", "node.json"}
	}
	p, err := start(command{
		name: process, path: path, args: args, dir: m.config.Dir, log: m.LogPath(process),
		// Nothing of the user's environment, such as a proxy or a kubeconfig, is meant for a member.
		env: []string{
			"PATH=" + m.path(), "HOME=" + m.config.Dir, "KWOK_WORKDIR=" + m.config.Dir,
			// A member is five processes and a machine has several members: where all of them spread over all
			// cores, looking for work takes a fifth of their time.
			"GOMAXPROCS=1",
		},
		lifetime: m.config.Lifetime, network: m.config.Network, isolated: process == nodeProcess,
	})
	if err != nil {
		return err
	}
	m.processes = append(m.processes, p)
	return nil
}

// flags of a process. Paths are relative to the member's directory, where all of them run: a unix
// socket's path must not be longer than 107 bytes, and who knows where the user has put us.
func (m *Member) flags(process string) []string {
	switch process {
	case etcdProcess:
		return []string{
			"--name=member", "--data-dir=etcd",
			"--listen-client-urls=unix://etcd.sock", "--advertise-client-urls=unix://etcd.sock",
			"--listen-peer-urls=unix://etcd-peer.sock", "--initial-advertise-peer-urls=unix://etcd-peer.sock",
			"--initial-cluster=member=unix://etcd-peer.sock",
			"--unsafe-no-fsync=" + strconv.FormatBool(!m.config.Fsync),
			"--log-level=warn", "--auto-compaction-retention=1h",
		}
	case apiServerProcess:
		return []string{
			"--etcd-servers=unix://etcd.sock",
			"--bind-address=" + m.bindAddress(), "--secure-port=" + strconv.Itoa(m.port),
			"--advertise-address=" + m.advertiseAddress(), "--endpoint-reconciler-type=" + m.endpointReconciler(),
			"--service-cluster-ip-range=" + serviceRange, "--kubelet-preferred-address-types=InternalIP",
			"--authorization-mode=Node,RBAC", "--allow-privileged",
			"--client-ca-file=pki/ca.crt", "--tls-cert-file=pki/apiserver.crt", "--tls-private-key-file=pki/apiserver.key",
			"--service-account-issuer=https://kubernetes.default.svc.cluster.local",
			"--service-account-key-file=pki/service-account.key", "--service-account-signing-key-file=pki/service-account.key",
			"--requestheader-client-ca-file=pki/front-proxy-ca.crt", "--requestheader-allowed-names=front-proxy-client",
			"--requestheader-username-headers=X-Remote-User", "--requestheader-group-headers=X-Remote-Group",
			"--requestheader-extra-headers-prefix=X-Remote-Extra-",
			"--proxy-client-cert-file=pki/front-proxy-client.crt", "--proxy-client-key-file=pki/front-proxy-client.key",
			"--profiling=" + strconv.FormatBool(m.config.Profiling),
		}
	case controllerProcess:
		return []string{
			"--kubeconfig=admin.kubeconfig", "--leader-elect=false", "--secure-port=0", "--profiling=false",
			"--service-account-private-key-file=pki/service-account.key", "--root-ca-file=pki/ca.crt",
			"--cluster-signing-cert-file=pki/ca.crt", "--cluster-signing-key-file=pki/ca.key",
			"--flex-volume-plugin-dir=volume-plugins",
			"--kube-api-qps=500", "--kube-api-burst=1000",
		}
	case schedulerProcess:
		return []string{
			"--kubeconfig=admin.kubeconfig", "--leader-elect=false", "--secure-port=0", "--profiling=false",
			"--kube-api-qps=500", "--kube-api-burst=1000",
		}
	default:
		return []string{
			"--kubeconfig=admin.kubeconfig", "--config=stages.yaml", "--manage-all-nodes",
			"--node-lease-duration-seconds=40", "--cidr=" + podRange,
		}
	}
}

// path is where processes look for commands.
func (m *Member) path() string {
	if m.config.Node == nil {
		return os.Getenv("PATH")
	}
	return strings.Join([]string{m.toolDir(), m.config.Node.Runtime, os.Getenv("PATH"), "/usr/sbin:/sbin"}, ":")
}

// endpointReconciler writes the endpoints of the Service "kubernetes", by which pods reach the API. Simulated ones don't.
func (m *Member) endpointReconciler() string {
	if m.config.Node == nil {
		return "none"
	}
	return "lease"
}

// bindAddress is loopback on this machine's network, and every address in a namespace of its own:
// there a firewall and not the listener must keep others out.
func (m *Member) bindAddress() string {
	if m.config.Network == nil {
		return "127.0.0.1"
	}
	return "0.0.0.0"
}

func (m *Member) advertiseAddress() string {
	if m.config.Network == nil {
		return "127.0.0.1"
	}
	return m.config.Network.Address
}

// Version returns the Kubernetes version the member's API server reports.
func (m *Member) Version(ctx context.Context) (string, error) {
	var version struct {
		GitVersion string `json:"gitVersion"`
	}
	if err := m.client.Get(ctx, "/version", &version); err != nil {
		return "", fmt.Errorf("asking member %s for its version: %w", m.config.Name, err)
	}
	return strings.TrimSpace(version.GitVersion), nil
}

// MemberProcesses names the processes of a member, in the order in which they are stopped.
func MemberProcesses() []string { return append([]string(nil), stopOrder...) }
