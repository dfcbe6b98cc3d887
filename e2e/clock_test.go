package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"windlass.dev/windlass/e2e/fleet"
	"windlass.dev/windlass/hack/cluster"
)

// The clock of a test machine can't be set, and programs that ask the kernel directly, as ours do,
// can't be told another time. So it is the other side's time that is moved: to an agent whose clock is
// three days behind, every certificate that the hub has issued since begins in three days.

// authorityOf reads the authority that a hub's certificates come from.
func authorityOf(t *testing.T, hub *fleet.Hub) (certificate *x509.Certificate, key *ecdsa.PrivateKey) {
	t.Helper()
	block := func(file string) []byte {
		raw, err := os.ReadFile(filepath.Join(hub.DataDir(), "pki", file))
		if err != nil {
			t.Fatal(err)
		}
		block, _ := pem.Decode(raw)
		if block == nil {
			t.Fatalf("%s holds no PEM", file)
		}
		return block.Bytes
	}
	certificate, err := x509.ParseCertificate(block("hub-ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	if key, err = x509.ParseECPrivateKey(block("hub-ca.key")); err != nil {
		t.Fatal(err)
	}
	return certificate, key
}

// hubOfAnotherTime answers as the fleet's hub would whose certificate for agents is valid from and
// until then; once right is true it passes connections on to the hub itself.
func hubOfAnotherTime(t *testing.T, f *fleet.Fleet, from, until time.Time) (address string, right *atomic.Bool) {
	t.Helper()
	ca, caKey := authorityOf(t, f.Hub())
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), NotBefore: from, NotAfter: until,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, ca, key.Public(), caKey)
	if err != nil {
		t.Fatal(err)
	}
	config := &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{der, ca.Raw}, PrivateKey: key}},
		NextProtos:   []string{"h2", "http/1.1"}, ClientAuth: tls.RequestClientCert,
	}
	right = &atomic.Bool{}
	return listen(t, func(near net.Conn) {
		go func() {
			defer near.Close()
			if !right.Load() {
				_ = tls.Server(near, config).Handshake() // the agent hangs up
				return
			}
			far, err := net.Dial("tcp", f.Hub().LinkAddress())
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
	}), right
}

const day = 24 * time.Hour

func TestAnAgentWhoseClockIsFarOffDoesNotJoinAndSaysWhatTimeItThinksItIs(t *testing.T) {
	f := fleet.Shared(t)
	now := time.Now()
	ca, _ := authorityOf(t, f.Hub())
	for _, c := range []struct {
		reason      string
		from, until time.Time
		says        []string
	}{
		{"behind", now.Add(3 * day), now.Add(300 * day), []string{"is valid from " + now.Add(3*day).UTC().Format(time.RFC3339), "too early: set the clock right"}},
		{"ahead", ca.NotBefore, now.Add(-time.Minute), []string{"is valid until " + now.Add(-time.Minute).UTC().Format(time.RFC3339), "too late: set the clock right"}},
	} {
		t.Run(c.reason, func(t *testing.T) {
			member, name := f.Member("member1"), unique("clock")
			hub, _ := hubOfAnotherTime(t, f, c.from, c.until)
			_, state := stateOf(t, member)
			agent := f.NewAgent(t, cluster.AgentConfig{ClusterName: name, Member: member.Cluster, Hub: hub, Token: f.Token(t, name), Flags: []string{state}})
			if err := agent.Launch(); err != nil {
				t.Fatal(err)
			}
			endsWithOneLine(t, agent.Process(), "windlass-agent: ", append(c.says, hub, "this machine's clock says ")...)
			if !f.Hub().Lacks(t, fleet.Cluster(name)) {
				t.Errorf("a MemberCluster %s exists though its agent did not join", name)
			}
		})
	}
}

func TestAnAgentWhoseClockGoesWrongSaysSoAndComesBackWhenItIsRight(t *testing.T) {
	f := fleet.Shared(t)
	member, name := f.Spare(t), unique("clock")
	agent := attach(t, f, member, name)
	hub, right := hubOfAnotherTime(t, f, time.Now().Add(3*day), time.Now().Add(300*day))
	if err := agent.Stop(); err != nil {
		t.Fatal(err)
	}
	agent.SetHub(hub)
	if err := agent.Launch(); err != nil {
		t.Fatal(err)
	}
	fleet.WaitFor(t, "/readyz to say that the clock is wrong", func() error {
		_, err := agent.Health(t.Context(), "/readyz")
		if err == nil || !strings.Contains(err.Error(), "not connected to the hub at "+hub) || !strings.Contains(err.Error(), "too early: set the clock right") {
			return fmt.Errorf("it says %v", err)
		}
		return nil
	})
	f.Hub().Eventually(t, fleet.Cluster(name), fleet.ConditionIs("Ready", "Unknown"), fleet.ConditionSays("Ready", "the agent is not connected"))

	right.Store(true)
	f.Hub().Eventually(t, fleet.Cluster(name), fleet.ConditionIs("Ready", "True"))
	if err := agent.WaitReady(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestAHubWhoseClockIsFarBehindDoesNotStart(t *testing.T) {
	f := fleet.Shared(t)
	keys := filepath.Join(f.Dir(t), "pki")
	if err := os.CopyFS(keys, os.DirFS(filepath.Join(f.Hub().DataDir(), "pki"))); err != nil {
		t.Fatal(err)
	}
	ca, key := authorityOf(t, f.Hub())
	ca.NotBefore = time.Now().Add(3 * day)
	der, err := x509.CreateCertificate(rand.Reader, ca, ca, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(keys, "hub-ca.crt")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	hub, err := cluster.NewHub(cluster.HubConfig{Dir: f.Dir(t), Binary: f.Binary("windlass-hub"), Flags: []string{"--pki-dir=" + keys}})
	if err != nil {
		t.Fatal(err)
	}
	if err := hub.Launch(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = hub.Kill() })
	endsWithOneLine(t, hub.Process(), "windlass-hub: ", file, "is valid only from "+ca.NotBefore.UTC().Format("2006-01-02"), "is this machine's clock right?")
}
