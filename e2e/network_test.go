package e2e

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/url"
	"strconv"
	"testing"
	"time"

	"k8s.io/client-go/tools/clientcmd"

	"windlass.dev/windlass/e2e/fleet"
)

func TestNothingConnectsToAMemberBehindNATAndStillItIsManaged(t *testing.T) {
	f := fleet.Shared(t)
	member, why := f.BehindNAT()
	if member == nil {
		t.Logf("no member of this run is behind NAT, all are ordinary ones: %v", why)
		return
	}
	network := member.Cluster.Network()
	config, err := clientcmd.BuildConfigFromFlags("", member.Cluster.Kubeconfig())
	if err != nil {
		t.Fatal(err)
	}
	authority := x509.NewCertPool()
	authority.AppendCertsFromPEM(config.CAData)
	for _, host := range []string{network.Address, network.Router} {
		address := net.JoinHostPort(host, strconv.Itoa(member.Cluster.Port()))
		// A whole handshake with the member's own certificate: a gateway of the test machine may take
		// any connection for itself.
		connection, err := tls.DialWithDialer(&net.Dialer{Timeout: 2 * time.Second}, "tcp", address, &tls.Config{RootCAs: authority, ServerName: "127.0.0.1"})
		if err == nil {
			connection.Close()
			t.Errorf("the member's API server answers at %s on the hub's side", address)
		}
	}
	inside, err := network.Dial(t.Context(), "tcp", net.JoinHostPort(network.Address, strconv.Itoa(member.Cluster.Port())))
	if err != nil {
		t.Fatalf("the member's API server does not listen even inside: the failures above prove nothing: %v", err)
	}
	inside.Close()

	object, _ := arrive(t, f)
	member.Delete(t, object)
	member.Eventually(t, object, fleet.Field("data.greeting", "hello"))
}

func TestAnAgentReachesTheHubThroughAProxyWithCredentials(t *testing.T) {
	f := fleet.Shared(t)
	member, why := f.BehindNAT()
	if member == nil {
		t.Logf("all members of this run dial loopback, for which no proxy is ever asked: %v", why)
		return
	}
	proxy := fleet.NewProxy(t, member.Cluster.Network().Outside, "agent", "pa:ss")
	at := url.URL{Scheme: "http", Host: proxy.Address(), User: url.UserPassword("agent", "pa:ss")}
	through(t, member, f.Hub().LinkAddress(), f.Hub().LinkAddress(), "HTTPS_PROXY="+at.String(), "NO_PROXY=127.0.0.1")

	object, _ := arrive(t, f)
	member.Eventually(t, object)
	if proxy.Tunnels() == 0 {
		t.Error("the agent is connected, but not through the proxy")
	}
}
