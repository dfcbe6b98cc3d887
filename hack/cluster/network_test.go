package cluster

import (
	"context"
	"io"
	"net"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestAMemberBehindNATReachesOutAndCannotBeReached(t *testing.T) {
	if err := NATAvailable(); err != nil {
		t.Logf("not tried on this machine: %v", err)
		return
	}
	network, err := NewNATNamespace()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := network.Close(); err != nil {
			t.Error(err)
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()

	listener, err := net.Listen("tcp", network.Outside+":0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			host, _, _ := net.SplitHostPort(connection.RemoteAddr().String())
			_, _ = io.WriteString(connection, host)
			connection.Close()
		}
	}()
	connection, err := network.Dial(ctx, "tcp", listener.Addr().String())
	if err != nil {
		t.Fatalf("dialling out of the namespace: %v", err)
	}
	seen, err := io.ReadAll(connection)
	if err != nil || string(seen) != network.Router {
		t.Errorf("outside, the namespace appears as %q (%v), want the router's address %s", seen, err, network.Router)
	}

	binary, err := filepath.Abs("../../bin/member")
	if err != nil {
		t.Fatal(err)
	}
	member, err := StartMember(ctx, MemberConfig{Name: "m1", Dir: filepath.Join(t.TempDir(), "m1"), Binary: binary, Network: network})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = member.Kill() })
	if err := member.Client().Create(ctx, "/apis/apps/v1/namespaces/default/deployments", deployment(1)); err != nil {
		t.Fatal(err)
	}
	if err := waitReplicas(ctx, member, 1); err != nil {
		t.Fatal(err)
	}

	port := strconv.Itoa(member.Port())
	inside, err := network.Dial(ctx, "tcp", net.JoinHostPort(network.Address, port))
	if err != nil {
		t.Fatalf("the API server listens on the namespace's address, or the following proves nothing: %v", err)
	}
	inside.Close()
	// Even a machine that knew the way would be turned away by the router.
	ip, err := lookTool("ip")
	if err != nil {
		t.Fatal(err)
	}
	if output, err := exec.Command(ip, "route", "add", network.Address+"/32", "via", network.Router).CombinedOutput(); err != nil {
		t.Fatalf("adding a route: %v: %s", err, strings.TrimSpace(string(output)))
	}
	for _, address := range []string{network.Address, network.Router} {
		dialer := net.Dialer{Timeout: time.Second}
		if connection, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort(address, port)); err == nil {
			connection.Close()
			t.Errorf("%s:%s can be connected to from outside", address, port)
		}
	}
}
