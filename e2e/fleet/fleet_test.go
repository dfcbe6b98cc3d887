package fleet

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"testing"

	"windlass.dev/windlass/hack/cluster"
)

// TestTheVerbsMeanWhatTheySay needs a member alone, so that a mistake of the harness does not look like one of the hub.
func TestTheVerbsMeanWhatTheySay(t *testing.T) {
	bin, err := binaries()
	if err != nil {
		t.Fatal(err)
	}
	var network *cluster.Namespace
	if cluster.NATAvailable() == nil {
		if network, err = cluster.NewNATNamespace(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := network.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	member, err := cluster.StartMember(t.Context(), cluster.MemberConfig{
		Name: "m1", Dir: filepath.Join(t.TempDir(), "m1"), Binary: filepath.Join(bin, "member"), Network: network,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = member.Kill() })
	api, err := newAPI("m1", member.Kubeconfig(), member.Dial())
	if err != nil {
		t.Fatal(err)
	}

	namespace := api.Namespace(t)
	object := Object{"v1", "ConfigMap", namespace, "one"}
	api.Apply(t, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: one, namespace: "+namespace+"}\ndata: {a: b}")
	api.Eventually(t, object, Field("data.a", "b"), Field("metadata.name", "one"))
	if err := Field("data.a", "c")(api.Get(t, object)); err == nil || err.Error() != `data.a is "b", want "c"` {
		t.Errorf("a field that is otherwise: %v", err)
	}
	api.Patch(t, object, "data: {a: null, k: \"1\"}")
	api.Eventually(t, object, Field("data", map[string]string{"k": "1"}))
	api.Delete(t, object)
	api.EventuallyGone(t, object)
	if !api.Lacks(t, object) {
		t.Error("Lacks says that a deleted object is there")
	}
	if err := api.TryApply(t, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: NO, namespace: "+namespace+"}"); err == nil {
		t.Error("a bad manifest was accepted")
	}
}

// echo answers every line with itself and gives its address.
func echo(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer connection.Close()
				_, _ = io.Copy(connection, connection)
			}()
		}
	}()
	return listener.Addr().String()
}

func dial(t *testing.T, address string) (net.Conn, *bufio.Reader) {
	t.Helper()
	connection, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { connection.Close() })
	return connection, bufio.NewReader(connection)
}

func say(t *testing.T, connection net.Conn, reader *bufio.Reader, line string) error {
	t.Helper()
	if _, err := io.WriteString(connection, line+"\n"); err != nil {
		return err
	}
	got, err := reader.ReadString('\n')
	if err == nil && got != line+"\n" {
		return fmt.Errorf("said %q, heard %q", line, got)
	}
	return err
}

func TestARelayCutsStallsAndRefusesAsTold(t *testing.T) {
	relay := NewRelay(t, "127.0.0.1", echo(t))
	connection, reader := dial(t, relay.Address())
	if err := say(t, connection, reader, "hello"); err != nil {
		t.Fatal(err)
	}

	relay.Stall()
	answered := make(chan error, 1)
	go func() { answered <- say(t, connection, reader, "through the stall") }()
	other, otherReader := dial(t, relay.Address())
	if _, err := io.WriteString(other, "waiting too\n"); err != nil {
		t.Fatal(err)
	}
	select {
	case <-answered:
		t.Error("something came through while the relay was stalled")
	default:
	}
	relay.Resume()
	if err := <-answered; err != nil {
		t.Errorf("after the stall: %v", err)
	}
	if line, err := otherReader.ReadString('\n'); line != "waiting too\n" {
		t.Errorf("a connection made during the stall heard %q, %v", line, err)
	}

	relay.Refuse(true)
	relay.Cut()
	if _, err := reader.ReadString('\n'); err == nil {
		t.Error("the connection lives after Cut")
	}
	refused, refusedReader := dial(t, relay.Address())
	if err := say(t, refused, refusedReader, "hello"); err == nil {
		t.Error("a connection was passed on after Refuse")
	}
	relay.Refuse(false)
	again, againReader := dial(t, relay.Address())
	if err := say(t, again, againReader, "hello"); err != nil {
		t.Errorf("after Refuse was taken back: %v", err)
	}
}

func TestAProxyWantsItsCredentials(t *testing.T) {
	proxy := NewProxy(t, "127.0.0.1", "user", "pass")
	target := echo(t)
	cases := []struct {
		reason, header, answer string
	}{
		{"no credentials", "", "HTTP/1.1 407 Proxy Authentication Required"},
		{"wrong ones", "Proxy-Authorization: Basic eDp5\r\n", "HTTP/1.1 407 Proxy Authentication Required"},
		{"the right ones", "Proxy-Authorization: Basic dXNlcjpwYXNz\r\n", "HTTP/1.1 200 Connection established"},
	}
	for _, c := range cases {
		connection, reader := dial(t, proxy.Address())
		fmt.Fprintf(connection, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n%s\r\n", target, target, c.header)
		line, err := reader.ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
		if line != c.answer+"\r\n" {
			t.Errorf("%s: answered %q, want %q", c.reason, line, c.answer)
		}
	}
	if proxy.Tunnels() != 1 || proxy.Refused() != 2 {
		t.Errorf("%d tunnels and %d refused, want 1 and 2", proxy.Tunnels(), proxy.Refused())
	}
}
