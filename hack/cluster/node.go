package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// NodeConfig gives a member one real node, with containers, instead of simulated ones. It needs what NodeAvailable
// asks for, and a member in a network namespace of its own.
type NodeConfig struct {
	Binary  string // bin/node
	Runtime string // the folder of containerd, its shim, ctr and dns
	// Pause is the reference of the image that holds a pod's network; it has to be loaded before the first pod.
	Pause string
}

const (
	nodeProcess       = "node"
	containerdProcess = "containerd"
	kubeletProcess    = "kubelet"
	proxyProcess      = "kube-proxy"
	dnsProcess        = "dns"

	// containerdSocket lies in the member's directory, whose path must be short: a unix socket's has at most 107 bytes.
	containerdSocket = "containerd.sock"

	serviceRange = "10.96.0.0/16"
	dnsAddress   = "10.96.0.10"
	podRange     = "10.244.0.0/16"
)

// pluginDirs are where distributions put the plugins that make a pod's network.
var pluginDirs = []string{"/usr/lib/cni", "/opt/cni/bin"}

// NodeAvailable explains why this machine cannot have a real node; nil when it can.
func NodeAvailable() error {
	if err := NATAvailable(); err != nil {
		return err
	}
	for _, tool := range []string{"runc", "iptables-legacy-restore"} {
		if _, err := lookTool(tool); err != nil {
			return fmt.Errorf("a real node needs the command %s (Debian: apt-get install runc iptables)", tool)
		}
	}
	if _, err := pluginDir(); err != nil {
		return err
	}
	return cgroupsAvailable()
}

func pluginDir() (string, error) {
	for _, dir := range pluginDirs {
		if _, err := os.Stat(filepath.Join(dir, "ptp")); err == nil {
			return dir, nil
		}
	}
	return "", fmt.Errorf("a real node needs the network plugins in %s (Debian: apt-get install containernetworking-plugins)", strings.Join(pluginDirs, " or "))
}

// cgroupsUnified are where control groups of version 2 lie, if there are such.
const cgroupsUnified = "/sys/fs/cgroup"

func cgroupsAreUnified() bool {
	_, err := os.Stat(filepath.Join(cgroupsUnified, "cgroup.controllers"))
	return err == nil
}

// cgroupRoots are the hierarchies of control groups: several of version 1, or the one of version 2.
func cgroupRoots() []string {
	if cgroupsAreUnified() {
		return []string{cgroupsUnified}
	}
	roots, _ := filepath.Glob("/sys/fs/cgroup/*/cgroup.procs")
	for i := range roots {
		roots[i] = filepath.Dir(roots[i])
	}
	return roots
}

func cgroupsAvailable() error {
	roots := cgroupRoots()
	if len(roots) == 0 {
		return errors.New("a real node needs control groups, and none are mounted on /sys/fs/cgroup")
	}
	for _, root := range roots {
		probe := filepath.Join(root, fmt.Sprintf("windlass-probe-%d", os.Getpid()))
		if err := os.Mkdir(probe, 0o755); err != nil {
			return fmt.Errorf("a real node makes control groups, which this machine refuses: %w", err)
		}
		if err := os.Remove(probe); err != nil {
			return err
		}
	}
	return delegateControllers(cgroupsUnified)
}

// delegateControllers lets the groups below one of version 2 have the controllers that kubelet wants; with version 1
// they have them anyway. It stays so afterwards, as it is on every machine with systemd.
func delegateControllers(group string) error {
	if !cgroupsAreUnified() {
		return nil
	}
	for _, controller := range []string{"cpuset", "cpu", "memory", "pids", "hugetlb"} {
		has, err := os.ReadFile(filepath.Join(group, "cgroup.controllers"))
		if err != nil {
			return err
		}
		if !slices.Contains(strings.Fields(string(has)), controller) {
			continue
		}
		if err := os.WriteFile(filepath.Join(group, "cgroup.subtree_control"), []byte("+"+controller), 0o644); err != nil {
			return fmt.Errorf("a real node needs the controller %s of control groups below %s: %w", controller, group, err)
		}
	}
	return nil
}

// cgroup is the control group above the pods of the one member that lives in the namespace, and is named like it.
func (n *Namespace) cgroup() string { return n.Name }

// removeCgroup takes away what is left of a control group, and of those below it, when its processes are gone.
func removeCgroup(name string) error {
	var failures []error
	for _, root := range cgroupRoots() {
		var dirs []string
		_ = filepath.WalkDir(filepath.Join(root, name), func(path string, entry os.DirEntry, err error) error {
			if err == nil && entry.IsDir() {
				dirs = append(dirs, path)
			}
			return nil
		})
		for _, dir := range slices.Backward(dirs) {
			failures = append(failures, os.Remove(dir))
		}
	}
	return errors.Join(failures...)
}

// prepareNode writes what the node's processes read. A path in a file must be absolute.
func (m *Member) prepareNode() error {
	if m.config.Network == nil {
		return errors.New("a real node needs a network namespace of its own")
	}
	var err error
	if m.config.Node.Binary, err = builtBinary(m.config.Node.Binary); err != nil {
		return err
	}
	if m.config.Node.Runtime, err = filepath.Abs(m.config.Node.Runtime); err != nil {
		return err
	}
	plugins, err := pluginDir()
	if err != nil {
		return err
	}
	runc, err := lookTool("runc")
	if err != nil {
		return err
	}
	if err := m.linkTools(); err != nil {
		return err
	}
	services, err := json.MarshalIndent(m.nodeServices(), "", "  ")
	if err != nil {
		return err
	}
	fill := strings.NewReplacer("@DIR@", m.config.Dir, "@PAUSE@", m.config.Node.Pause, "@PLUGINS@", plugins, "@RUNC@", runc,
		"@CGROUP@", m.config.Network.cgroup(), "@DNS@", dnsAddress, "@PODS@", podRange)
	for path, content := range map[string]string{
		"node.json":        string(services),
		"containerd.toml":  fill.Replace(containerdConfig),
		"cni/10-pods.conf": fill.Replace(podNetwork),
		"kubelet.yaml":     fill.Replace(kubeletConfig),
		"kube-proxy.yaml":  fill.Replace(proxyConfig),
		"Corefile":         fill.Replace(corefile),
	} {
		path = filepath.Join(m.config.Dir, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// linkTools makes the folder of commands for which kube-proxy and the network plugins look: their iptables has to be
// the one that works in the namespace.
func (m *Member) linkTools() error {
	dir := m.toolDir()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, family := range []string{"iptables", "ip6tables"} {
		for _, suffix := range []string{"", "-save", "-restore"} {
			tool, err := lookTool(family + "-legacy" + suffix)
			if err != nil {
				return err
			}
			if err := os.Symlink(tool, filepath.Join(dir, family+suffix)); err != nil && !errors.Is(err, os.ErrExist) {
				return err
			}
		}
	}
	return nil
}

func (m *Member) toolDir() string { return filepath.Join(m.config.Dir, "tools") }

// nodeService is one process of the node, as hack/node's init reads it.
type nodeService struct {
	Name  string   `json:"name"`
	Path  string   `json:"path"`
	Args  []string `json:"args"`
	After string   `json:"after,omitempty"`
}

func (m *Member) nodeServices() []nodeService {
	node, name := m.config.Node, nodeName(m.config.Name, 0)
	return []nodeService{
		{Name: containerdProcess, Path: filepath.Join(node.Runtime, "containerd"), Args: []string{"--config=containerd.toml"}},
		{Name: kubeletProcess, Path: node.Binary, After: containerdSocket, Args: []string{
			"kubelet", "--config=kubelet.yaml", "--kubeconfig=admin.kubeconfig", "--hostname-override=" + name,
			"--node-ip=" + m.config.Network.Address, "--root-dir=" + filepath.Join(m.config.Dir, "kubelet"), "--cert-dir=kubelet-pki",
		}},
		{Name: proxyProcess, Path: node.Binary, Args: []string{"kube-proxy", "--config=kube-proxy.yaml", "--hostname-override=" + name}},
		{Name: dnsProcess, Path: filepath.Join(node.Runtime, "dns"), Args: []string{"-conf=Corefile"}},
	}
}

// A pod's packets to another pod of the node go through the machine's own routing, as ptp makes it, and not over a
// bridge: only so do answers from behind a Service's address find their way back without the kernel's bridge filter.
const (
	containerdConfig = `version = 3
root = "@DIR@/containerd"
state = "/run/containerd"

[grpc]
  address = "@DIR@/` + containerdSocket + `"

[plugins.'io.containerd.cri.v1.images'.pinned_images]
  sandbox = "@PAUSE@"

[plugins.'io.containerd.cri.v1.runtime']
  restrict_oom_score_adj = true

[plugins.'io.containerd.cri.v1.runtime'.cni]
  bin_dirs = ["@PLUGINS@"]
  conf_dir = "@DIR@/cni"

[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"

[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
  BinaryName = "@RUNC@"
  SystemdCgroup = false
`
	podNetwork = `{
  "cniVersion": "1.0.0",
  "name": "pods",
  "type": "ptp",
  "ipMasq": true,
  "ipam": {"type": "host-local", "subnet": "@PODS@", "routes": [{"dst": "0.0.0.0/0"}], "dataDir": "/run/cni"}
}
`
	kubeletConfig = `apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication: {anonymous: {enabled: true}, webhook: {enabled: false}}
authorization: {mode: AlwaysAllow}
cgroupDriver: cgroupfs
cgroupRoot: /@CGROUP@
failCgroupV1: false
failSwapOn: false
clusterDNS: [@DNS@]
clusterDomain: cluster.local
containerRuntimeEndpoint: unix://@DIR@/` + containerdSocket + `
resolvConf: ""
oomScoreAdj: 0
maxOpenFiles: 10000
volumePluginDir: @DIR@/volume-plugins
# The disk is the developer's: how full it is says nothing about this node.
evictionHard: {memory.available: 100Mi, nodefs.available: 1%, imagefs.available: 1%, nodefs.inodesFree: 1%}
imageGCHighThresholdPercent: 100
imageGCLowThresholdPercent: 99
`
	proxyConfig = `apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: iptables
clientConnection: {kubeconfig: admin.kubeconfig}
clusterCIDR: @PODS@
# The tables of connections are the machine's.
conntrack: {maxPerCore: 0}
`
	corefile = `.:53 {
  errors
  ready
  kubernetes cluster.local {
    kubeconfig admin.kubeconfig
  }
  template ANY ANY {
    rcode NXDOMAIN
  }
}
`
)

// makeCgroups makes the control group of the member's pods, which kubelet wants to find.
func (m *Member) makeCgroups() error {
	for _, root := range cgroupRoots() {
		group := filepath.Join(root, m.config.Network.cgroup())
		if err := os.MkdirAll(group, 0o755); err != nil {
			return err
		}
		// In version 1 a new group has no processor and no memory until it is given some.
		for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
			all, err := os.ReadFile(filepath.Join(root, file))
			if errors.Is(err, os.ErrNotExist) {
				continue
			}
			if err == nil {
				err = os.WriteFile(filepath.Join(group, file), all, 0o644)
			}
			if err != nil {
				return err
			}
		}
		if err := delegateControllers(group); err != nil {
			return err
		}
	}
	return nil
}

// serveDNS makes the Service under whose address pods look names up.
func (m *Member) serveDNS(ctx context.Context) error {
	ports := []map[string]any{
		{"name": "dns", "port": 53, "protocol": "UDP"},
		{"name": "dns-tcp", "port": 53, "protocol": "TCP"},
	}
	for path, object := range map[string]map[string]any{
		"/api/v1/namespaces/kube-system/services": {
			"apiVersion": "v1", "kind": "Service", "metadata": map[string]any{"name": "kube-dns"},
			"spec": map[string]any{"clusterIP": dnsAddress, "ports": ports},
		},
		"/apis/discovery.k8s.io/v1/namespaces/kube-system/endpointslices": {
			"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
			"metadata":  map[string]any{"name": "kube-dns", "labels": map[string]string{"kubernetes.io/service-name": "kube-dns"}},
			"endpoints": []map[string]any{{"addresses": []string{m.config.Network.Address}}},
			"ports":     ports,
		},
	} {
		if err := m.client.ensure(ctx, path, object); err != nil { // it may be there since an earlier start
			return fmt.Errorf("making the Service of DNS: %w", err)
		}
	}
	return nil
}

// ContainerdSocket returns the path of the real node's containerd.
func (m *Member) ContainerdSocket() string { return filepath.Join(m.config.Dir, containerdSocket) }

// LoadImages imports tarballs of images into the member's real node, as `ctr images import` does on any.
func (m *Member) LoadImages(ctx context.Context, tarballs ...string) error {
	for _, tarball := range tarballs {
		command := exec.CommandContext(ctx, filepath.Join(m.config.Node.Runtime, "ctr"),
			"--address", m.ContainerdSocket(), "--namespace", "k8s.io", "images", "import", tarball)
		if output, err := command.CombinedOutput(); err != nil {
			return fmt.Errorf("importing %s into %s: %w: %s", tarball, m.config.Name, err, output)
		}
	}
	return nil
}
