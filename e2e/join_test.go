package e2e

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"windlass.dev/windlass/e2e/fleet"
	"windlass.dev/windlass/hack/cluster"
)

func TestATokenThatIsNoGoodIsRefusedWithItsOwnMessage(t *testing.T) {
	f := fleet.Shared(t)
	cases := []struct {
		reason string
		token  func(t *testing.T, name string) string
		says   string
	}{
		{
			reason: "a token bound to another name opens nothing here",
			token:  func(t *testing.T, name string) string { return f.Token(t, name+"-other") },
			says:   "is for cluster",
		},
		{
			reason: "a token whose time is over",
			token: func(t *testing.T, name string) string {
				token := f.Token(t, name, "--ttl=1s")
				end := time.Now().Add(2 * time.Second) // the hub's clock is this machine's
				fleet.WaitFor(t, "the token to expire", func() error {
					if time.Now().Before(end) {
						return errors.New("it is still good")
					}
					return nil
				})
				return token
			},
			says: "ended at",
		},
		{
			reason: "a token whose pin is another hub's is not even sent",
			token: func(t *testing.T, name string) string {
				parts := strings.Split(f.Token(t, name), ".")
				parts[3] = strings.Repeat("0", len(parts[3]))
				return strings.Join(parts, ".")
			},
			says: "pin",
		},
		{
			reason: "what is no token at all",
			token:  func(*testing.T, string) string { return "hello" },
			says:   "token",
		},
	}
	for i, c := range cases {
		t.Run(c.reason, func(t *testing.T) {
			name := "refused-" + string(rune('a'+i))
			agent := f.NewAgent(t, cluster.AgentConfig{
				ClusterName: name, Member: f.Member("member1").Cluster, Token: c.token(t, name), Flags: ownNamespace(name),
			})
			refused(t, agent, c.says)
			if !f.Hub().Lacks(t, fleet.Cluster(name)) {
				t.Errorf("a MemberCluster %s exists though its agent was refused", name)
			}
		})
	}
}

func TestATokenIsGoodForOneAgent(t *testing.T) {
	f := fleet.Shared(t)
	token := f.Token(t, "twice")
	first := f.NewAgent(t, cluster.AgentConfig{
		ClusterName: "twice", Member: f.Spare(t).Cluster, Token: token, Flags: ownNamespace("twice"),
	})
	if err := first.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.Hub().RemoveAfter(t, fleet.Cluster("twice"))
	f.Hub().Eventually(t, fleet.Cluster("twice"), fleet.ConditionIs("Ready", "True"))
	second := f.NewAgent(t, cluster.AgentConfig{
		ClusterName: "twice", Member: f.Member("member2").Cluster, Token: token, Flags: ownNamespace("twice"),
	})
	refused(t, second, "was used already")
}

// ownNamespace keeps the state of a test's agent apart from that of the fleet's agent in the same member.
func ownNamespace(name string) []string { return []string{"--state-namespace=windlass-" + name} }

// refused starts an agent and waits until its log says why it is not let in.
func refused(t *testing.T, agent *cluster.Agent, says string) {
	t.Helper()
	if err := agent.Launch(); err != nil {
		t.Fatal(err)
	}
	fleet.WaitFor(t, "the agent to say why it is refused", func() error {
		if log := agent.Process().Tail(50); !strings.Contains(log, says) {
			return fmt.Errorf("its log lacks %q", says)
		}
		return nil
	})
}
