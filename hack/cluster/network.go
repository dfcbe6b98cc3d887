package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Namespace is a network namespace behind NAT: it reaches the outside, and nothing outside reaches
// it. Between it and this machine's network stands a router, a namespace too, which masquerades what
// goes out and drops whatever comes in unasked:
//
//	this machine 10.77.N.1 ── 10.77.N.2 router 192.168.77.1 ── 192.168.77.2 namespace
//
// A nil Namespace is this machine's own network.
type Namespace struct {
	Name    string
	Address string // the address of the namespace itself; this machine has no route to it
	Outside string // this machine's address as seen from the namespace: what servers for it listen on
	Router  string // the router's address as seen from this machine

	router string
	link   string
}

// NATAvailable explains why this machine cannot make a namespace behind NAT; nil when it can.
func NATAvailable() error {
	if os.Geteuid() != 0 {
		return errors.New("a network namespace behind NAT needs root")
	}
	for _, tool := range []string{"ip", "iptables-legacy"} {
		if _, err := lookTool(tool); err != nil {
			return fmt.Errorf("a network namespace behind NAT needs the command %s (Debian: apt-get install iproute2 iptables)", tool)
		}
	}
	probe := fmt.Sprintf("windlass-probe-%d", os.Getpid())
	if err := ipCommand("netns", "add", probe); err != nil {
		return fmt.Errorf("this machine makes no network namespaces: %w", err)
	}
	defer func() { _ = ipCommand("netns", "delete", probe) }()
	if err := inNamespace(probe, "iptables-legacy", "-t", "nat", "-A", "POSTROUTING", "-o", "lo", "-j", "MASQUERADE"); err != nil {
		return fmt.Errorf("this machine does no NAT: %w", err)
	}
	return nil
}

var namespacesMade atomic.Int64

// NewNATNamespace makes a namespace behind NAT. Close removes it and everything that was made for it;
// what a process left that was killed before it could, the next one to call this removes.
func NewNATNamespace() (*Namespace, error) {
	removeOrphans()
	number := namespacesMade.Add(1)
	name := fmt.Sprintf("%s%d-%d", namespacePrefix, os.Getpid(), number)
	n := &Namespace{
		Name: name, Address: "192.168.77.2",
		router: name + routerSuffix,
		link:   fmt.Sprintf("wl%d-%d", os.Getpid(), number), // an interface's name has at most 15 bytes
	}
	subnet, err := freeSubnet()
	if err != nil {
		return nil, err
	}
	n.Outside, n.Router = subnet+".1", subnet+".2"
	if err := n.build(); err != nil {
		n.Close()
		return nil, fmt.Errorf("making the network namespace %s: %w", n.Name, err)
	}
	return n, nil
}

const (
	namespacePrefix = "windlass-nat-"
	routerSuffix    = "-router"
)

// removeOrphans removes the namespaces of processes that have ended, and the control groups of what ran in them; a failure
// shows when one is in the way.
func removeOrphans() {
	entries, _ := os.ReadDir(namespaceDir)
	for _, entry := range entries {
		rest, ok := strings.CutPrefix(entry.Name(), namespacePrefix)
		pid, _, _ := strings.Cut(rest, "-")
		if _, err := strconv.Atoi(pid); !ok || err != nil {
			continue
		}
		if _, err := os.Stat("/proc/" + pid); errors.Is(err, os.ErrNotExist) {
			_ = ipCommand("netns", "delete", entry.Name())
			_ = removeCgroup(entry.Name())
		}
	}
}

// build makes nothing in this machine's own network but one end of a cable and its address.
func (n *Namespace) build() error {
	for _, step := range [][]string{
		{"netns", "add", n.Name},
		{"netns", "add", n.router},
		{"link", "add", n.link, "type", "veth", "peer", "name", "outside", "netns", n.router},
		{"-n", n.router, "link", "add", "inside", "type", "veth", "peer", "name", "eth0", "netns", n.Name},
		{"address", "add", n.Outside + "/30", "dev", n.link},
		{"link", "set", n.link, "up"},
		{"-n", n.router, "address", "add", n.Router + "/30", "dev", "outside"},
		{"-n", n.router, "link", "set", "outside", "up"},
		{"-n", n.router, "route", "add", "default", "via", n.Outside},
		{"-n", n.router, "address", "add", "192.168.77.1/24", "dev", "inside"},
		{"-n", n.router, "link", "set", "inside", "up"},
		{"-n", n.Name, "address", "add", n.Address + "/24", "dev", "eth0"},
		{"-n", n.Name, "link", "set", "eth0", "up"},
		{"-n", n.Name, "link", "set", "lo", "up"},
		{"-n", n.Name, "route", "add", "default", "via", "192.168.77.1"},
	} {
		if err := ipCommand(step...); err != nil {
			return err
		}
	}
	for _, rule := range [][]string{
		{"-t", "nat", "-A", "POSTROUTING", "-o", "outside", "-j", "MASQUERADE"},
		{"-A", "FORWARD", "-i", "inside", "-o", "outside", "-j", "ACCEPT"},
		{"-A", "FORWARD", "-m", "conntrack", "--ctstate", "ESTABLISHED,RELATED", "-j", "ACCEPT"},
		{"-P", "FORWARD", "DROP"},
		{"-A", "INPUT", "-i", "outside", "-p", "tcp", "-j", "REJECT", "--reject-with", "tcp-reset"},
	} {
		if err := inNamespace(n.router, "iptables-legacy", rule...); err != nil {
			return err
		}
	}
	return n.withRouter(func() error {
		return os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0o644)
	})
}

// Filter adds a rule to the router's table for traffic that passes through, before all others, such as
// "-p tcp --dport 8443 -j DROP"; the returned function takes it away again.
func (n *Namespace) Filter(rule ...string) (remove func() error, err error) {
	if err := inNamespace(n.router, "iptables-legacy", append([]string{"-I", "FORWARD", "1"}, rule...)...); err != nil {
		return nil, err
	}
	return func() error {
		return inNamespace(n.router, "iptables-legacy", append([]string{"-D", "FORWARD"}, rule...)...)
	}, nil
}

// Close removes the namespaces. Processes in them must have ended before.
func (n *Namespace) Close() error {
	var failures []error
	for _, name := range []string{n.Name, n.router} {
		if _, err := os.Stat(namespacePath(name)); err == nil {
			failures = append(failures, ipCommand("netns", "delete", name))
		}
	}
	// The cable goes with the router's namespace, a moment later; a new one of that name must not meet it.
	_ = ipCommand("link", "delete", n.link)
	return errors.Join(failures...)
}

// Dial opens a connection from inside the namespace. The address must be an IP, for a name would be looked up outside.
func (n *Namespace) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	var dialer net.Dialer
	if n == nil {
		return dialer.DialContext(ctx, network, address)
	}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	if net.ParseIP(host) == nil {
		return nil, fmt.Errorf("dialling %s inside the network namespace %s: not an IP address", address, n.Name)
	}
	var connection net.Conn
	err = onThread(func() error {
		return n.do(func() (err error) {
			// A socket belongs for ever to the namespace its thread was in when it was made; with an
			// IP address the dialer makes it in this goroutine, hence on this thread.
			connection, err = dialer.DialContext(ctx, network, address)
			return err
		})
	})
	return connection, err
}

// Listen listens inside the namespace, as Dial dials.
func (n *Namespace) Listen(network, address string) (net.Listener, error) {
	if n == nil {
		return net.Listen(network, address)
	}
	var listener net.Listener
	err := onThread(func() error {
		return n.do(func() (err error) {
			listener, err = net.Listen(network, address)
			return err
		})
	})
	return listener, err
}

// onThread runs f on a thread of its own, which ends afterwards: whatever f did to it dies with it.
func onThread(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked
		done <- f()
	}()
	return <-done
}

// do runs f with the calling thread in the namespace and brings the thread back. The caller must have locked the goroutine to it.
func (n *Namespace) do(f func() error) error {
	if n == nil {
		return f()
	}
	return withNamespace(n.Name, f)
}

func (n *Namespace) withRouter(f func() error) error {
	return onThread(func() error { return withNamespace(n.router, f) })
}

func withNamespace(name string, f func() error) error {
	own, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return err
	}
	defer own.Close()
	other, err := os.Open(namespacePath(name))
	if err != nil {
		return fmt.Errorf("opening the network namespace %s: %w", name, err)
	}
	defer other.Close()
	if err := unix.Setns(int(other.Fd()), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("entering the network namespace %s: %w", name, err)
	}
	failure := f()
	if err := unix.Setns(int(own.Fd()), unix.CLONE_NEWNET); err != nil {
		// The thread is in the wrong network for good; going on would start processes there.
		panic(fmt.Sprintf("leaving the network namespace %s: %v", name, err))
	}
	return failure
}

// namespaceDir is where the ip command keeps named namespaces.
const namespaceDir = "/run/netns"

func namespacePath(name string) string { return filepath.Join(namespaceDir, name) }

// freeSubnet returns the first three bytes of a subnet under 10.77 that no interface of this machine has.
func freeSubnet() (string, error) {
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		return "", fmt.Errorf("listing this machine's addresses: %w", err)
	}
	taken := map[string]bool{}
	for _, address := range addresses {
		ip := address.String()
		if dot := strings.LastIndexByte(ip, '.'); dot > 0 {
			taken[ip[:dot]] = true
		}
	}
	// Beginning at the pid keeps test programs apart that look at the same moment.
	for i := range 256 {
		if subnet := fmt.Sprintf("10.77.%d", (os.Getpid()+i)%256); !taken[subnet] {
			return subnet, nil
		}
	}
	return "", errors.New("every subnet of 10.77.0.0/16 is taken")
}

func ipCommand(args ...string) error { return runTool("ip", args...) }

func inNamespace(namespace, tool string, args ...string) error {
	path, err := lookTool(tool)
	if err != nil {
		return err
	}
	return runTool("ip", append([]string{"netns", "exec", namespace, path}, args...)...)
}

func runTool(tool string, args ...string) error {
	path, err := lookTool(tool)
	if err != nil {
		return err
	}
	output, err := exec.Command(path, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s %s: %w: %s", tool, strings.Join(args, " "), err, strings.TrimSpace(string(output)))
	}
	return nil
}

// lookTool finds a command also where administrators' commands lie when PATH does not name the place.
func lookTool(tool string) (string, error) {
	if path, err := exec.LookPath(tool); err == nil {
		return path, nil
	}
	for _, dir := range []string{"/usr/sbin", "/sbin"} {
		if path, err := exec.LookPath(filepath.Join(dir, tool)); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("the command %s is not installed", tool)
}
