package install

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"windlass.dev/windlass/hack/cluster"
)

const (
	pauseImage = "windlass.dev/pause:v1"
	// webImage is what the example of README asks for. A program that only waits stands for it here, where there is
	// no registry.
	webImage = "nginx:1.29"
	// The ports that README opens on the nodes of the hub's cluster.
	linkPort, apiPort = 30443, 30644
	startLimit        = 5 * time.Minute
	goodLimit         = 3 * time.Minute
)

// A site is two real clusters that can't reach each other, and between them, as a load balancer would stand there,
// what passes the hub's two ports on. Each cluster has a prompt; desk is that of somebody who uses the hub.
type site struct {
	root             string // of the checkout
	address          string // of the hub, for everybody
	hub, edge        *cluster.Member
	atHub, atEdge    *shell
	desk, atCheckout *shell
	installHub       string // the command of README
	tools            string // the folder of the commands that it uses
	away             string // a folder that looks like the checkout, for what the commands leave
}

// newSite starts it. It ends with the test.
func newSite(t *testing.T) *site {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	s := &site{root: root}
	images := t.TempDir()
	packed(t, s.bin("pause"), pauseImage, filepath.Join(images, "pause.tar"))
	packed(t, s.bin("pause"), webImage, filepath.Join(images, "web.tar"))

	networks := [2]*cluster.Namespace{}
	for i := range networks {
		if networks[i], err = cluster.NewNATNamespace(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := networks[i].Close(); err != nil {
				t.Error(err)
			}
		})
	}
	s.address = networks[0].Outside
	for _, port := range []int{linkPort, apiPort} {
		passOn(t, net.JoinHostPort(s.address, strconv.Itoa(port)), networks[0])
	}
	members := [2]*cluster.Member{}
	failures := make(chan error, len(members))
	for i, name := range []string{"hub", "edge"} {
		go func() {
			member, err := startCluster(t, s, name, networks[i])
			members[i] = member
			if err == nil {
				err = member.LoadImages(t.Context(), filepath.Join(images, "pause.tar"), filepath.Join(images, "web.tar"))
			}
			failures <- err
		}()
	}
	for range members {
		if err := <-failures; err != nil {
			t.Fatal(err)
		}
	}
	s.hub, s.edge = members[0], members[1]
	s.tools, s.away = linkTools(t, s), linkCheckout(t, root)
	s.atCheckout, s.desk = s.prompt(t, checkout, nil), s.prompt(t, "desk", nil)
	s.atHub, s.atEdge = s.prompt(t, "hub", s.hub), s.prompt(t, "edge", s.edge)
	return s
}

func (s *site) bin(name string) string { return filepath.Join(s.root, "bin", name) }

func startCluster(t *testing.T, s *site, name string, network *cluster.Namespace) (*cluster.Member, error) {
	// Not below the test's own folder: the path of a socket must be short.
	dir, err := os.MkdirTemp("", "windlass-"+name)
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	ctx, cancel := context.WithTimeout(t.Context(), startLimit)
	defer cancel()
	member, err := cluster.StartMember(ctx, cluster.MemberConfig{
		Name: name, Dir: dir, Binary: s.bin("member"), Network: network,
		Node: &cluster.NodeConfig{Binary: s.bin("node"), Runtime: s.bin("runtime"), Pause: pauseImage},
	})
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() {
		if err := member.Stop(); err != nil {
			t.Error(err)
		}
	})
	return member, giveDisk(ctx, member, filepath.Join(dir, "disk"))
}

// giveDisk makes what a cluster has of its provider: a default class of storage, here with one disk.
func giveDisk(ctx context.Context, member *cluster.Member, dir string) error {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	const class = "local"
	if err := member.Client().Create(ctx, "/apis/storage.k8s.io/v1/storageclasses", map[string]any{
		"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass",
		"metadata": map[string]any{"name": class, "annotations": map[string]string{
			"storageclass.kubernetes.io/is-default-class": "true",
		}},
		"provisioner": "kubernetes.io/no-provisioner", "volumeBindingMode": "WaitForFirstConsumer",
	}); err != nil {
		return fmt.Errorf("making the class of storage: %w", err)
	}
	node := map[string]any{"key": "kubernetes.io/os", "operator": "In", "values": []string{"linux"}}
	if err := member.Client().Create(ctx, "/api/v1/persistentvolumes", map[string]any{
		"apiVersion": "v1", "kind": "PersistentVolume", "metadata": map[string]any{"name": "disk"},
		"spec": map[string]any{
			"storageClassName": class, "persistentVolumeReclaimPolicy": "Retain",
			"capacity": map[string]any{"storage": "10Gi"}, "accessModes": []string{"ReadWriteOnce"},
			"local": map[string]any{"path": dir},
			"nodeAffinity": map[string]any{"required": map[string]any{"nodeSelectorTerms": []any{
				map[string]any{"matchExpressions": []any{node}},
			}}},
		},
	}); err != nil {
		return fmt.Errorf("making the disk: %w", err)
	}
	return nil
}

// checkout is the place where commands are run in the checkout itself.
const checkout = "checkout"

// linkCheckout makes a folder with what README's commands read of the checkout. What they write, such as a kubeconfig, does
// not touch the developer's own.
func linkCheckout(t *testing.T, root string) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"bin", "charts", "docs"} {
		if err := os.Symlink(filepath.Join(root, name), filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// linkTools makes a folder with the commands that README uses and a user has.
func linkTools(t *testing.T, s *site) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "kubectl"), []byte("#!/bin/sh\nexec "+s.bin("windlass")+" kubectl \"$@\"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, path := range map[string]string{"helm": s.bin("tools/helm"), "ctr": s.bin("runtime/ctr"), "windlass": s.bin("windlass")} {
		if err := os.Symlink(path, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// prompt opens a shell in a cluster's network, with its administrator's kubeconfig; nil is this machine, with none.
func (s *site) prompt(t *testing.T, name string, of *cluster.Member) *shell {
	t.Helper()
	env := []string{
		"PATH=" + s.tools + ":" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "HUB_ADDRESS=" + s.address,
		"GOCACHE=" + goEnv(t, "GOCACHE"), "GOMODCACHE=" + goEnv(t, "GOMODCACHE"), "GOFLAGS=" + os.Getenv("GOFLAGS"),
	}
	dir, namespace := s.away, ""
	if name == checkout {
		dir = s.root
	}
	if of != nil {
		namespace = of.Network().Name
		env = append(env, "KUBECONFIG="+of.Kubeconfig(), "CONTAINERD_ADDRESS="+of.ContainerdSocket())
	}
	opened, err := openShell(name, namespace, dir, env)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(opened.close)
	return opened
}

// passOn takes connections at an address of this machine and opens each anew inside a network, at the same port of its
// one machine.
func passOn(t *testing.T, address string, to *cluster.Namespace) {
	t.Helper()
	listener, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			near, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer near.Close()
				far, err := to.Dial(context.Background(), "tcp", net.JoinHostPort(to.Address, port))
				if err != nil {
					return
				}
				defer far.Close()
				go func() {
					_, _ = io.Copy(far, near)
					far.Close()
				}()
				_, _ = io.Copy(near, far)
			}()
		}
	}()
}

// awaits runs a command until it prints what is wanted.
func (s *shell) awaits(t *testing.T, command string, good func(printed string) bool) string {
	t.Helper()
	t.Logf("[%s] until it is right: $ %s", s.name, command)
	for deadline := time.Now().Add(goodLimit); ; time.Sleep(200 * time.Millisecond) {
		printed, code, err := s.try(t.Context(), command)
		if err != nil {
			t.Fatal(err)
		}
		if code == 0 && good(printed) {
			return printed
		}
		if time.Now().After(deadline) {
			t.Fatalf("[%s] %s\nis not what was to come of it (exit code %d):\n%s", s.name, command, code, printed)
		}
	}
}

func contains(part string) func(string) bool {
	return func(printed string) bool { return strings.Contains(printed, part) }
}
