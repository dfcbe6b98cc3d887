package linktest

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	agentlink "windlass.dev/windlass/agent/link"
	linkv1 "windlass.dev/windlass/api/link/v1"
	hublink "windlass.dev/windlass/hub/link"
	"windlass.dev/windlass/pkg/session"
)

func keys(n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf("work-%03d", i)
	}
	return out
}

func TestWorksGoOutAndReportsComeBack(t *testing.T) {
	h := newHub(t, quickly)
	h.store.put("eu", 100, keys(300)...)
	a := h.newAgent(h.issue("eu", time.Hour), nil)
	eventually(t, "the member holds every work", func() bool { return a.member.has(h.store, "eu") })
	eventually(t, "every report is in the store", func() bool { return h.store.reported("eu") == 300 })
	eventually(t, "the agent knows that it was told everything", a.synchronised)

	h.store.put("eu", 100, "work-007")
	eventually(t, "a change arrives", func() bool { return a.member.has(h.store, "eu") })

	h.store.remove("eu", linkv1.RemovalCause_REMOVAL_CAUSE_TEMPLATE_DELETED, keys(300)...)
	eventually(t, "removed works are released in the store", func() bool { return h.store.works("eu") == 0 && a.member.count() == 0 })

	h.store.mu.Lock()
	defer h.store.mu.Unlock()
	if f := h.store.facts["eu"]; f.GetNodesTotal() != 3 {
		t.Errorf("the recorded facts are %v", f)
	}
	if a.member.overlap {
		t.Error("two operations on one key were under way at once")
	}
}

func TestSentGenerationsAreReported(t *testing.T) {
	h := newHub(t, quickly)
	h.newAgent(h.issue("eu", time.Hour), nil)
	h.store.put("eu", 10, "a")
	eventually(t, "the report is in the store", func() bool { return h.store.reported("eu") == 1 })
	h.store.mu.Lock()
	defer h.store.mu.Unlock()
	sent := h.store.clusters["eu"]["a"].report.GetGenerations().GetSent()
	if sent.GetGeneration() != 1 || time.Since(sent.GetAt().AsTime()) > generous {
		t.Errorf("the report says %v was sent", sent)
	}
}

func TestACutConnectionIsMadeGood(t *testing.T) {
	h := newHub(t, quickly)
	a := h.newAgent(h.issue("eu", time.Hour), nil)
	for round := range 5 {
		h.store.put("eu", 2000, keys(100+10*round)...)
		a.cut()
		h.store.remove("eu", linkv1.RemovalCause_REMOVAL_CAUSE_TEMPLATE_DELETED, "work-000")
		eventually(t, "the member holds exactly what is wanted", func() bool {
			return a.member.has(h.store, "eu") && h.store.reported("eu") == h.store.works("eu")
		})
	}
}

func TestAStoreThatBlocksHoldsUpNoMembersPresence(t *testing.T) {
	h := newHub(t, quickly)
	// Each of the reports blocks one write, and there are more than may be under way at once.
	h.store.put("eu", 10, keys(40)...)
	h.store.mu.Lock()
	h.store.block = make(chan struct{})
	h.store.mu.Unlock()
	a := h.newAgent(h.issue("eu", time.Hour), nil)
	eventually(t, "the member holds every work", func() bool { return a.member.has(h.store, "eu") && a.synchronised() })
	eventually(t, "its reports are being written", func() bool { return h.store.waiting.Load() >= 16 })

	other := h.newAgent(h.issue("us", time.Hour), nil)
	eventually(t, "another member is known to be there", func() bool { return slices.Contains(h.store.recorded("us"), "connected 1") })
	eventually(t, "its facts are known", func() bool {
		h.store.mu.Lock()
		defer h.store.mu.Unlock()
		return h.store.facts["us"] != nil
	})
	other.stop()
	eventually(t, "it is known to be gone", func() bool { return slices.Contains(h.store.recorded("us"), "disconnected 1") })
	if n := h.store.reported("eu"); n > 0 {
		t.Errorf("%d reports were written while the store was to block", n)
	}
	close(h.store.block)
	eventually(t, "every report is in the store", func() bool { return h.store.reported("eu") == 40 })
}

func TestAHubThatRestartsIsFoundAgain(t *testing.T) {
	h := newHub(t, quickly)
	h.store.put("eu", 100, keys(50)...)
	a := h.newAgent(h.issue("eu", time.Hour), func(c *agentlink.Config) {
		// A hub that stops sends agents away for some seconds; the test has no time for that.
		c.Backoff = agentlink.BackoffSettings{Least: time.Millisecond, Most: time.Millisecond}
	})
	eventually(t, "the member holds every work", func() bool { return a.member.has(h.store, "eu") })
	h.stop()
	eventually(t, "the agent knows that the hub is gone", func() bool { return a.link.Status().Connected.IsZero() })
	if problem := a.link.Status().Problem; problem != "" && !strings.Contains(problem, "shutting down") {
		t.Errorf("the agent was not told why: %q", problem)
	}
	h.store.put("eu", 100, "late")
	h.start()
	eventually(t, "what was put meanwhile arrives", func() bool { return a.member.has(h.store, "eu") && a.synchronised() })
	if recorded := h.store.recorded("eu"); slices.Contains(recorded, "disconnected 1") {
		t.Errorf("a hub that stops must not mark its members as gone: %v", recorded)
	}
}

func TestOfTwoAgentsWithOneIdentityTheLaterStays(t *testing.T) {
	h := newHub(t, quickly)
	identity := h.issue("eu", time.Hour)
	first := h.newAgent(identity, nil)
	eventually(t, "the first is in", first.synchronised)
	second := h.newAgent(identity, nil)
	eventually(t, "the second is in", second.synchronised)
	eventually(t, "the first is told why it is out", func() bool {
		return strings.Contains(first.link.Status().Problem, "another agent with the same identity")
	})
	if wait := time.Until(first.link.Status().Next); wait < 10*time.Second {
		t.Errorf("the first comes back in %s: the two would throw each other out", wait)
	}
	eventually(t, "the member's session is that of the second", func() bool { return slices.Contains(h.store.recorded("eu"), "connected 2") })
	h.store.put("eu", 10, "a")
	eventually(t, "the second gets works", func() bool { return second.member.has(h.store, "eu") })
	for _, what := range h.store.recorded("eu") {
		if strings.HasPrefix(what, "disconnected") {
			t.Errorf("the end of the first session marked the member as gone: %v", h.store.recorded("eu"))
		}
	}
	second.stop()
	eventually(t, "the end of the second does", func() bool { return slices.Contains(h.store.recorded("eu"), "disconnected 2") })
}

func TestAgentsThatThrowEachOtherOutAreToldOnce(t *testing.T) {
	told := make(chan string, 10)
	h := newHub(t, func(c *hublink.Config) {
		quickly(c)
		c.Rivals = func(cluster, message string) { told <- cluster + ": " + message }
	})
	identity := h.issue("eu", time.Hour)
	for range 4 {
		a := h.newAgent(identity, nil)
		eventually(t, "the agent is in", a.synchronised)
	}
	if said := <-told; !strings.HasPrefix(said, "eu: two agents with this cluster's identity run, at 127.0.0.1:") || len(told) > 0 {
		t.Errorf("it was told %q, and %d times more", said, len(told))
	}
}

func TestWhatWaitedForAPersonWaitsInTheNextHub(t *testing.T) {
	h := newHub(t, func(c *hublink.Config) {
		quickly(c)
		c.HeldBefore = func(cluster, _ string) bool { return cluster == "eu" }
	})
	h.store.put("eu", 10, keys(20)...)
	a := h.newAgent(h.issue("eu", time.Hour), nil)
	eventually(t, "the member holds every work", func() bool { return a.member.has(h.store, "eu") && a.synchronised() })
	a.stop()
	h.stop()
	h.store.remove("eu", linkv1.RemovalCause_REMOVAL_CAUSE_NOT_SELECTED, keys(2)...)
	h.start()
	again := h.newAgentWith(a.member, h.issue("eu", time.Hour), nil)
	eventually(t, "both deletions wait", func() bool {
		h.store.mu.Lock()
		defer h.store.mu.Unlock()
		return h.store.holds["eu"].Held == 2
	})
	eventually(t, "the agent is in", again.synchronised)
	if again.member.count() != 20 {
		t.Errorf("the member has %d works, want 20", again.member.count())
	}
}

func TestAnAgentThatDoesNotReadIsCut(t *testing.T) {
	h := newHub(t, func(c *hublink.Config) {
		quickly(c)
		c.Limits.WriteTimeout = 300 * time.Millisecond
	})
	h.store.put("slow", 500_000, keys(60)...)
	h.store.put("eu", 100, keys(20)...)
	identity := h.issue("slow", time.Hour)
	var d net.Dialer
	stuck := func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := d.DialContext(ctx, network, address)
		if err == nil {
			conn = &stuckConn{Conn: conn, after: 200_000, closed: make(chan struct{})}
		}
		return conn, err
	}
	h.newAgent(identity, func(c *agentlink.Config) { c.Dial = stuck })
	eventually(t, "the slow agent is cut", func() bool {
		return slices.ContainsFunc(h.store.recorded("slow"), func(what string) bool { return strings.HasPrefix(what, "disconnected") })
	})
	other := h.newAgent(h.issue("eu", time.Hour), nil)
	eventually(t, "another member is served meanwhile", func() bool { return other.member.has(h.store, "eu") })
	const name = "windlass_hub_link_sessions_ended_total"
	if n, err := testutil.GatherAndCount(h.registry, name); err != nil || n == 0 {
		t.Errorf("the metric %s has %d series, error %v", name, n, err)
	}
}

// A stuckConn reads so many bytes and then nothing more until it is closed.
type stuckConn struct {
	net.Conn
	after  int
	closed chan struct{}
}

func (c *stuckConn) Read(p []byte) (int, error) {
	if c.after <= 0 {
		<-c.closed
		return 0, net.ErrClosed
	}
	n, err := c.Conn.Read(p[:min(len(p), 4096)])
	c.after -= n
	return n, err
}

func (c *stuckConn) Close() error {
	select {
	case <-c.closed:
	default:
		close(c.closed)
	}
	return c.Conn.Close()
}

func TestASlowStoreHoldsUpNothingButReports(t *testing.T) {
	h := newHub(t, quickly)
	block := make(chan struct{})
	h.store.block = block
	h.store.put("eu", 100, keys(400)...)
	a := h.newAgent(h.issue("eu", time.Hour), nil)
	eventually(t, "works arrive although no report can be recorded", func() bool { return a.member.has(h.store, "eu") && a.synchronised() })
	answer, err := h.server.Ask(t.Context(), "eu", "anything", nil)
	if answer != nil || !errors.Is(err, hublink.ErrUnknownQuestion) || !strings.Contains(err.Error(), "does not know") {
		t.Errorf("the agent's answer is %v, error %v", answer, err)
	}
	if n := h.store.reported("eu"); n != 0 {
		t.Errorf("%d reports were recorded by a store that stands still", n)
	}
	close(block)
	eventually(t, "every report is recorded in the end", func() bool { return h.store.reported("eu") == 400 })
}

func TestAMemberWhoseAPIFailsIsTriedAgain(t *testing.T) {
	h := newHub(t, quickly)
	a := h.newAgent(h.issue("eu", time.Hour), func(c *agentlink.Config) {
		c.Settings = session.Settings{RetryMin: time.Millisecond, RetryMax: 5 * time.Millisecond}
	})
	a.member.mu.Lock()
	a.member.failing = 7
	a.member.mu.Unlock()
	h.store.put("eu", 10, keys(5)...)
	eventually(t, "the works are durable in the end", func() bool { return a.member.has(h.store, "eu") })
}

func TestAnAgentWhoseMemberDoesNotAnswerIsHeard(t *testing.T) {
	cases := map[string]struct {
		reason  string
		prepare func(h *hub, brake *session.Brake)
	}{
		"in a new era of the hub's store": {
			"which it can't remember",
			func(h *hub, _ *session.Brake) { h.store.history = h.store.history.Begin("two", h.store.revision) },
		},
		"while deletions wait for a person": {
			"which it makes durable in every session", func(_ *hub, brake *session.Brake) { brake.Resume() },
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			h := newHub(t, quickly)
			h.store.put("eu", 10, "a")
			brake := session.NewBrake(session.BrakeSettings{})
			a := h.newAgent(h.issue("eu", time.Hour), func(c *agentlink.Config) { c.Brake = brake })
			eventually(t, "the agent is in", func() bool { return a.synchronised() && a.member.has(h.store, "eu") })
			away := make(chan struct{})
			a.member.mu.Lock()
			a.member.away = away
			a.member.mu.Unlock()
			h.store.mu.Lock()
			c.prepare(h, brake)
			h.store.mu.Unlock()
			a.cut()
			h.store.put("eu", 10, "b")
			for range 2 { // in its first words, and later
				h.store.mu.Lock()
				delete(h.store.facts, "eu")
				h.store.mu.Unlock()
				a.facts.dirty <- struct{}{}
				eventually(t, "the hub hears of the member that its API is away: "+c.reason, func() bool {
					h.store.mu.Lock()
					defer h.store.mu.Unlock()
					return h.store.facts["eu"] != nil
				})
			}
			beats := func() int { return h.traffic()["heartbeat in"].messages }
			heard := beats()
			eventually(t, "its heart beats", func() bool { return beats() > heard })
			close(away)
			eventually(t, "it has what the hub wants when its API answers", func() bool { return a.member.has(h.store, "eu") && a.synchronised() })
		})
	}
}

func TestQuestionsAreAnswered(t *testing.T) {
	h := newHub(t, nil) // with rare heartbeats, so that nothing else wakes a loop that has an answer left
	a := h.newAgent(h.issue("eu", time.Hour), func(c *agentlink.Config) {
		c.Answer = func(_ context.Context, q *linkv1.Question) *linkv1.Answer {
			return &linkv1.Answer{Body: append([]byte("you said "), q.GetBody()...)}
		}
	})
	eventually(t, "the agent is in", a.synchronised)
	answer, err := h.server.Ask(t.Context(), "eu", "echo", []byte("hello"))
	if err != nil || string(answer.GetBody()) != "you said hello" {
		t.Errorf("the answer is %v, error %v", answer, err)
	}
	ignorant := h.newAgent(h.issue("us", time.Hour), nil)
	eventually(t, "the other agent is in", ignorant.synchronised)
	asking, cancel := context.WithTimeout(t.Context(), generous/2)
	defer cancel()
	if _, err := h.server.Ask(asking, "us", "echo", nil); !errors.Is(err, hublink.ErrUnknownQuestion) || !strings.Contains(err.Error(), "does not know") {
		t.Errorf("an agent that knows no question answers %v", err)
	}
	if _, err := h.server.Ask(t.Context(), "nowhere", "echo", nil); !errors.Is(err, hublink.ErrNotConnected) {
		t.Errorf("asking a member that is not there gives %v", err)
	}
}

func TestAMemberThatHasMoreRoomSaysSo(t *testing.T) {
	grown := make(chan string, 10)
	h := newHub(t, func(c *hublink.Config) { c.Grown = func(cluster string) { grown <- cluster } })
	room := make(chan struct{}, 1)
	room <- struct{}{} // before the hub has let the agent in, which must not lose it
	a := h.newAgent(h.issue("eu", time.Hour), func(c *agentlink.Config) { c.Grown = room })
	for range 2 {
		select {
		case cluster := <-grown:
			if cluster != "eu" {
				t.Errorf("it is said of %s", cluster)
			}
		case <-time.After(generous):
			t.Fatal("the hub was not told")
		}
		eventually(t, "the agent is in", a.synchronised)
		select {
		case room <- struct{}{}:
		default:
		}
	}
}

func TestACertificateIsRenewedOverTheStream(t *testing.T) {
	h := newHub(t, quickly)
	a := h.newAgent(h.issue("eu", 6*time.Second), nil)
	eventually(t, "the agent is in", a.synchronised)
	before := a.renewal.agent.key
	a.renewal.mu.Lock()
	a.renewal.renewAt = time.Now()
	a.renewal.mu.Unlock()
	a.cut() // the next session looks at the time of renewal
	eventually(t, "there is a new key with a certificate", func() bool {
		a.renewal.mu.Lock()
		defer a.renewal.mu.Unlock()
		return a.renewal.renewed == 1 && !a.renewal.agent.key.Equal(before)
	})
	eventually(t, "the stream of the old certificate ends with it, and the agent comes back with the new one", func() bool {
		return slices.Contains(h.store.recorded("eu"), "connected 3")
	})
	h.store.put("eu", 10, "a")
	eventually(t, "works arrive", func() bool { return a.member.has(h.store, "eu") })
}

func TestAgentsThatMayNotComeInAreToldWhatToDo(t *testing.T) {
	cases := map[string]struct {
		reason   string
		identity func(h *hub) *identity
		prepare  func(h *hub)
		want     agentlink.Verdict
		says     string
	}{
		"an expired certificate": {
			reason:   "TLS refuses it",
			identity: func(h *hub) *identity { return h.issue("eu", -time.Minute) },
			want:     agentlink.Reenrol, says: "--rejoin",
		},
		"a certificate of somebody else's authority": {
			reason: "TLS refuses it",
			identity: func(h *hub) *identity {
				other := &hub{t: h.t, agents: newAuthority(h.t, "others")}
				return other.issue("eu", time.Hour)
			},
			want: agentlink.Reenrol, says: "--rejoin",
		},
		"a revoked identity": {
			reason:   "Authenticate refuses it",
			identity: func(h *hub) *identity { return h.issue("eu", time.Hour) },
			prepare:  func(h *hub) { h.revoked.Store("eu", true) },
			want:     agentlink.Reenrol, says: "revoked",
		},
		"another cluster with this identity": {
			reason:   "the recorder refuses the claim",
			identity: func(h *hub) *identity { return h.issue("eu", time.Hour) },
			prepare: func(h *hub) {
				h.store.claim = func(string, hublink.Claim) error {
					return &hublink.Refusal{Reason: linkv1.GoodbyeReason_GOODBYE_REASON_WRONG_CLUSTER, Message: "this name belongs to another cluster"}
				}
			},
			want: agentlink.Reenrol, says: "belongs to another cluster",
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			h := newHub(t, quickly)
			if c.prepare != nil {
				c.prepare(h)
			}
			a := h.newAgent(c.identity(h), nil)
			select {
			case err := <-a.ended:
				stopped := &agentlink.Stopped{}
				if !errors.As(err, &stopped) || stopped.Verdict != c.want || !strings.Contains(err.Error(), c.says) {
					t.Errorf("%s: the agent ended with %v", c.reason, err)
				}
			case <-time.After(generous):
				t.Errorf("%s: the agent goes on trying; its problem is %q", c.reason, a.link.Status().Problem)
			}
		})
	}
}

// lacks has a hub find no cluster of a certificate for as long as it is told to.
func lacks(cluster *atomic.Bool) func(*hublink.Config) {
	return func(c *hublink.Config) {
		quickly(c)
		recognise := c.Authenticate
		c.Authenticate = func(certificate *x509.Certificate) (string, string, error) {
			if cluster.Load() {
				return "", "", &hublink.Refusal{Reason: linkv1.GoodbyeReason_GOODBYE_REASON_CLUSTER_REMOVED, Message: "eu is on this hub no more"}
			}
			return recognise(certificate)
		}
	}
}

func TestAnAgentThatWasAwayWhileItsClusterWasRemovedIsToldSo(t *testing.T) {
	missing := new(atomic.Bool)
	h := newHub(t, lacks(missing))
	h.store.put("eu", 10, keys(3)...)
	member, identity := newFakeMember(), h.issue("eu", time.Hour)
	a := h.newAgentWith(member, identity, nil)
	eventually(t, "the agent is in", a.synchronised)
	a.stop()
	missing.Store(true)
	stopped := &agentlink.Stopped{}
	again := h.newAgentWith(member, identity, nil)
	select {
	case err := <-again.ended:
		if !errors.As(err, &stopped) || stopped.Verdict != agentlink.Removed || !strings.Contains(err.Error(), "on this hub no more") {
			t.Errorf("the agent ended with %v", err)
		}
	case <-time.After(generous):
		t.Errorf("the agent goes on trying; its problem is %q", again.link.Status().Problem)
	}
}

func TestAStoreThatMayNeverHaveHadAClusterEndsNoAgent(t *testing.T) {
	for name, c := range map[string]struct {
		reason string
		seen   session.Mark
		says   string
	}{
		"another store":   {"the hub's keys are the same", session.Mark{HubID: "hub", Incarnation: "another", Revision: 7}, "never had it"},
		"an older backup": {"the cluster joined after it was made", session.Mark{HubID: "hub", Incarnation: "one", Revision: 101}, "which is at 100"},
		"nothing is seen": {"whoever has joined and was never let in has seen no store", session.Mark{}, "never been let in"},
	} {
		t.Run(name, func(t *testing.T) {
			missing := new(atomic.Bool)
			missing.Store(true)
			h := newHub(t, lacks(missing))
			member := newFakeMember()
			member.mark = c.seen
			a := h.newAgentWith(member, h.issue("eu", time.Hour), nil)
			eventually(t, "the agent says what is the matter, and what to do", func() bool {
				select {
				case err := <-a.ended:
					t.Fatalf("%s, and the agent ended with %v", c.reason, err)
				default:
				}
				problem := a.link.Status().Problem
				return strings.Contains(problem, c.says) && strings.Contains(problem, "Nothing is given up") && strings.Contains(problem, "windlass token create --cluster eu")
			})
			missing.Store(false)
			eventually(t, "the agent is in when the hub has its store", a.synchronised)
		})
	}
}

func TestACertificateThatHasEndedByTheHubsClockAloneIsNotGivenUp(t *testing.T) {
	ahead := func(wrong *atomic.Bool) func(*hublink.Config) {
		return func(c *hublink.Config) {
			recognise := c.Authenticate
			c.Authenticate = func(certificate *x509.Certificate) (string, string, error) {
				if wrong.Load() {
					return "", "", &hublink.Refusal{Reason: linkv1.GoodbyeReason_GOODBYE_REASON_CERTIFICATE_EXPIRED, Message: "it is another year on the hub"}
				}
				return recognise(certificate)
			}
		}
	}
	cases := map[string]struct {
		reason   string
		identity func(h *hub) *identity
		hub      func(wrong *atomic.Bool) func(*hublink.Config)
		// behind is how far this machine's clock is behind while it is wrong.
		behind time.Duration
		says   []string
		// then is what follows when the clock is right.
		then func(t *testing.T, a *agent)
	}{
		"the hub's clock is behind": {
			reason:   "the certificate begins later, and TLS has one alert for that and for one that has ended",
			identity: func(h *hub) *identity { return h.issueFrom("eu", time.Hour, 2*time.Hour) },
			says:     []string{"does not accept this agent's certificate (expired certificate)"},
		},
		"this machine's clock is behind": {
			reason:   "which of the two is wrong the agent can't know",
			identity: func(h *hub) *identity { return h.issue("eu", -time.Minute) }, behind: 2 * time.Minute,
			says: []string{"does not accept this agent's certificate (expired certificate)"},
			then: func(t *testing.T, a *agent) {
				select {
				case err := <-a.ended:
					stopped := &agentlink.Stopped{}
					if !errors.As(err, &stopped) || stopped.Verdict != agentlink.Reenrol || !strings.Contains(err.Error(), "--rejoin") {
						t.Errorf("when both clocks say that the certificate has ended, the agent ends with %v", err)
					}
				case <-time.After(generous):
					t.Errorf("when both clocks say that the certificate has ended, the agent goes on trying; its problem is %q", a.link.Status().Problem)
				}
			},
		},
		"the hub's clock is ahead": {
			reason:   "it looks at the certificate once more after TLS",
			identity: func(h *hub) *identity { return h.issue("eu", time.Hour) }, hub: ahead,
			says: []string{"it is another year on the hub"},
			then: func(t *testing.T, a *agent) { eventually(t, "the agent is in", a.synchronised) },
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			var wrong atomic.Bool
			wrong.Store(true)
			h := newHub(t, func(config *hublink.Config) {
				quickly(config)
				if c.hub != nil {
					c.hub(&wrong)(config)
				}
			})
			a := h.newAgent(c.identity(h), func(config *agentlink.Config) {
				config.TLS.Time = func() time.Time {
					if wrong.Load() {
						return time.Now().Add(-c.behind)
					}
					return time.Now()
				}
			})
			eventually(t, "the agent says that a clock is wrong", func() bool {
				select {
				case err := <-a.ended:
					t.Fatalf("%s: the agent gives its identity up: %v", c.reason, err)
				default:
				}
				problem := a.link.Status().Problem
				return !slices.ContainsFunc(append(c.says, "this machine's clock says ", "date -u", "tries again by itself"), func(says string) bool {
					return !strings.Contains(problem, says)
				})
			})
			wrong.Store(false)
			if c.then != nil {
				c.then(t, a)
			}
		})
	}
}

func TestWhoeverIsNotTheHubCanNotTellAnAgentThatItIsRefused(t *testing.T) {
	for name, alert := range map[string]byte{"bad certificate": 42, "revoked": 44, "expired": 45, "unknown certificate": 46, "unknown authority": 48, "certificate required": 116} {
		t.Run(name, func(t *testing.T) {
			h := newHub(t, quickly)
			between, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer between.Close()
			answered := make(chan struct{}, 64)
			go func() {
				for {
					conn, err := between.Accept()
					if err != nil {
						return
					}
					_, _ = conn.Read(make([]byte, 4096))
					_, _ = conn.Write([]byte{21, 3, 3, 0, 2, 2, alert})
					_ = conn.Close()
					answered <- struct{}{}
				}
			}()
			var open atomic.Bool
			a := h.newAgent(h.issue("eu", time.Hour), func(c *agentlink.Config) {
				direct := c.Dial
				c.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
					if !open.Load() {
						address = between.Addr().String()
					}
					return direct(ctx, network, address)
				}
			})
			for range 3 {
				select {
				case <-answered:
				case err := <-a.ended:
					t.Fatalf("the agent has ended: %v", err)
				case <-time.After(generous):
					t.Fatal("the agent does not try again")
				}
			}
			open.Store(true)
			eventually(t, "the agent is in when its way leads to the hub again", a.synchronised)
		})
	}
}

func TestAServerWithTheHubsCertificateThatIsNotItsLinkCanNotRefuseAnAgent(t *testing.T) {
	for _, code := range []int{http.StatusUnauthorized, http.StatusForbidden, http.StatusOK} {
		t.Run(http.StatusText(code), func(t *testing.T) {
			h := newHub(t, quickly)
			asked := make(chan struct{}, 64)
			api := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				w.WriteHeader(code)
				_, _ = io.WriteString(w, `{"kind":"Status","status":"Failure"}`)
				asked <- struct{}{}
			}))
			api.EnableHTTP2 = true
			api.TLS = &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{*h.serving()}, ClientAuth: tls.RequestClientCert}
			api.StartTLS()
			defer api.Close()
			var right atomic.Bool
			a := h.newAgent(h.issue("eu", time.Hour), func(c *agentlink.Config) {
				direct := c.Dial
				c.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
					if !right.Load() {
						address = api.Listener.Addr().String()
					}
					return direct(ctx, network, address)
				}
			})
			for range 3 {
				select {
				case <-asked:
				case err := <-a.ended:
					t.Fatalf("the agent has ended: %v", err)
				case <-time.After(generous):
					t.Fatal("the agent does not try again")
				}
			}
			eventually(t, "the agent says that it is no link", func() bool {
				said := a.link.Status().Problem
				return strings.Contains(said, fmt.Sprintf("HTTP %d, which no hub does: check that --hub", code)) && !strings.Contains(said, "{")
			})
			right.Store(true)
			eventually(t, "the agent is in when its way leads to the hub's link", a.synchronised)
		})
	}
}

func TestASessionThatBreaksDownInTheHubIsOver(t *testing.T) {
	var broken atomic.Bool
	h := newHub(t, func(c *hublink.Config) {
		quickly(c)
		c.Works = breakable{c.Works, &broken}
	})
	a := h.newAgent(h.issue("eu", time.Hour), func(c *agentlink.Config) {
		c.Backoff = agentlink.BackoffSettings{Least: 24 * time.Hour, Most: 24 * time.Hour}
	})
	eventually(t, "the agent is in", a.synchronised)
	broken.Store(true)
	h.store.put("eu", 10, "a")
	eventually(t, "the member is known to be gone", func() bool { return slices.Contains(h.store.recorded("eu"), "disconnected 1") })
	eventually(t, "the agent notices", func() bool { return a.link.Status().Problem != "" })
	if _, err := h.server.Ask(t.Context(), "eu", "anything", nil); !errors.Is(err, hublink.ErrNotConnected) {
		t.Errorf("asking in a session that has broken down: %v", err)
	}

	broken.Store(false)
	again := h.newAgent(h.issue("eu", time.Hour), nil)
	eventually(t, "the next session is in order", func() bool { return again.member.has(h.store, "eu") && again.synchronised() })
}

// breakable are works whose reader panics on demand.
type breakable struct {
	hublink.Works
	broken *atomic.Bool
}

func (b breakable) Get(cluster, key string) (session.Item, bool) {
	if b.broken.Load() {
		panic("a mistake in the hub")
	}
	return b.Works.Get(cluster, key)
}

func TestAMemberThatWasRemovedLeavesNoBrakeBehind(t *testing.T) {
	h := newHub(t, quickly)
	for range 2 {
		h.store.put("eu", 10, keys(10)...)
		a := h.newAgent(h.issue("eu", time.Hour), nil)
		eventually(t, "the member holds every work", func() bool { return a.member.has(h.store, "eu") && a.synchronised() })
		// As many as the brake lets go at a time.
		h.store.remove("eu", linkv1.RemovalCause_REMOVAL_CAUSE_NOT_SELECTED, keys(10)...)
		eventually(t, "all of it is removed", func() bool { return h.store.works("eu") == 0 && a.member.count() == 0 })
		if err := h.server.Remove(t.Context(), "eu", "id-of-eu", "eu was removed"); err != nil {
			t.Fatal(err)
		}
		stopped := &agentlink.Stopped{}
		if err := <-a.ended; !errors.As(err, &stopped) || stopped.Verdict != agentlink.Removed || !strings.Contains(err.Error(), "eu was removed") {
			t.Errorf("the agent ended with %v", err)
		}
	}
}

func TestAClusterThatReplacesOneOfItsNameHasABrakeOfItsOwn(t *testing.T) {
	var id atomic.Value // of the cluster that has the name
	id.Store("id-1")
	h := newHub(t, func(c *hublink.Config) {
		quickly(c)
		authenticate := c.Authenticate
		c.Authenticate = func(certificate *x509.Certificate) (string, string, error) {
			name, _, err := authenticate(certificate)
			return name, id.Load().(string), err
		}
	})
	joins := func() *agent {
		h.store.put("eu", 10, keys(10)...)
		a := h.newAgent(h.issue("eu", time.Hour), nil)
		eventually(t, "the member holds every work", func() bool { return a.member.has(h.store, "eu") && a.synchronised() })
		return a
	}
	// As many as the brake lets go at a time.
	empties := func(a *agent) {
		h.store.remove("eu", linkv1.RemovalCause_REMOVAL_CAUSE_NOT_SELECTED, keys(10)...)
		eventually(t, "all of it is removed", func() bool { return h.store.works("eu") == 0 && a.member.count() == 0 })
	}
	empties(joins())
	id.Store("id-2")
	next := joins()
	if err := h.server.Remove(t.Context(), "eu", "id-1", "eu was removed"); err != nil {
		t.Fatal(err)
	}
	empties(next)
	if !next.synchronised() {
		t.Error("its session was ended with the other cluster's")
	}
}

func TestASessionEndsWhoseCertificateIsNotAcceptedAnyMore(t *testing.T) {
	h := newHub(t, quickly)
	stolen := h.issue("eu", time.Hour)
	thief := h.newAgent(stolen, nil)
	eventually(t, "whoever has the key is in", thief.synchronised)
	h.revoked.Store(serial(t, stolen), true)
	if err := h.server.Recognise(t.Context(), "eu"); err != nil {
		t.Fatal(err)
	}
	stopped := &agentlink.Stopped{}
	if err := <-thief.ended; !errors.As(err, &stopped) || stopped.Verdict != agentlink.Reenrol || !strings.Contains(err.Error(), "revoked") {
		t.Errorf("the agent ended with %v", err)
	}

	a := h.newAgent(h.issue("eu", time.Hour), nil)
	eventually(t, "the agent with another key is in", a.synchronised)
	if err := h.server.Recognise(t.Context(), "eu"); err != nil {
		t.Fatal(err)
	}
	if _, err := h.server.Ask(t.Context(), "eu", "anything", nil); !errors.Is(err, hublink.ErrUnknownQuestion) {
		t.Errorf("a session whose certificate is accepted does not go on: %v", err)
	}
}

func TestAStreamIsAuthenticatedAgainWhenItSaysHello(t *testing.T) {
	for name, c := range map[string]struct {
		reason string
		since  func() (cluster, id string, err error)
		seen   string // the era
		want   linkv1.GoodbyeReason
	}{
		"its identity was revoked": {
			"the agent that has rejoined must not be thrown out by it",
			func() (string, string, error) { return "", "", errors.New("revoked") }, "one", linkv1.GoodbyeReason_GOODBYE_REASON_REVOKED,
		},
		"its cluster was removed": {
			"another may have joined under its name",
			func() (string, string, error) {
				return "", "", &hublink.Refusal{Reason: linkv1.GoodbyeReason_GOODBYE_REASON_CLUSTER_REMOVED}
			}, "one", linkv1.GoodbyeReason_GOODBYE_REASON_CLUSTER_REMOVED,
		},
		"its cluster is not there, and may never have been": {
			"it comes back as it is",
			func() (string, string, error) {
				return "", "", &hublink.Refusal{Reason: linkv1.GoodbyeReason_GOODBYE_REASON_CLUSTER_REMOVED}
			}, "another", linkv1.GoodbyeReason_GOODBYE_REASON_INTERNAL,
		},
		"its cluster has another name": {
			"what it is asked for is that of another",
			func() (string, string, error) { return "us", "id-of-eu", nil }, "one", linkv1.GoodbyeReason_GOODBYE_REASON_BEGIN_ANEW,
		},
		"its cluster has another id": {
			"it is another cluster", func() (string, string, error) { return "eu", "another", nil }, "one", linkv1.GoodbyeReason_GOODBYE_REASON_BEGIN_ANEW,
		},
	} {
		t.Run(name, func(t *testing.T) {
			early, opened := "", new(atomic.Bool)
			h := newHub(t, func(config *hublink.Config) {
				config.Settings = session.Settings{HelloTimeout: time.Hour}
				authenticate := config.Authenticate
				config.Authenticate = func(certificate *x509.Certificate) (string, string, error) {
					if certificate.SerialNumber.String() == early && !opened.CompareAndSwap(false, true) {
						return c.since()
					}
					return authenticate(certificate)
				}
			})
			identity := h.issue("eu", time.Hour)
			early = serial(t, identity)
			stream := h.open(identity)
			eventually(t, "the stream is open", opened.Load)
			a := h.newAgent(h.issue("eu", time.Hour), nil)
			eventually(t, "another agent is in", a.synchronised)
			if err := stream.Send(&linkv1.FromAgent{Message: &linkv1.FromAgent_Hello{Hello: &linkv1.Hello{
				ProtocolVersion: session.ProtocolVersion, OldestProtocolVersion: session.OldestProtocolVersion, SessionEpoch: 1000, Incarnation: c.seen,
			}}}); err != nil {
				t.Fatal(err)
			}
			said, err := stream.Recv()
			if got := said.GetGoodbye().GetReason(); err != nil || got != c.want {
				t.Errorf("the hub says %v (error %v), want %s: %s", said, err, c.want, c.reason)
			}
			if _, err := h.server.Ask(t.Context(), "eu", "anything", nil); !errors.Is(err, hublink.ErrUnknownQuestion) {
				t.Errorf("the session that was there does not go on: %v", err)
			}
		})
	}
}

func TestARestoredHubDeletesNothing(t *testing.T) {
	h := newHub(t, quickly)
	h.store.put("eu", 10, keys(20)...)
	a := h.newAgent(h.issue("eu", time.Hour), nil)
	eventually(t, "the member holds every work", func() bool { return a.member.has(h.store, "eu") && a.synchronised() })
	h.stop()
	h.store.mu.Lock()
	h.store.revision = 50
	for _, key := range keys(20)[5:] {
		delete(h.store.clusters["eu"], key)
	}
	h.store.mu.Unlock()
	h.start()
	eventually(t, "the hub knows what only the member has", func() bool {
		h.store.mu.Lock()
		defer h.store.mu.Unlock()
		return h.store.holds["eu"].Unknown == 15 && h.store.holds["eu"].Restoring
	})
	if n := a.member.count(); n != 20 {
		t.Errorf("the member has %d works left of 20", n)
	}
	eventually(t, "the agent is in", a.synchronised)
	h.store.remove("eu", linkv1.RemovalCause_REMOVAL_CAUSE_TEMPLATE_DELETED, "work-000")
	eventually(t, "the removal waits for a person", func() bool {
		h.store.mu.Lock()
		defer h.store.mu.Unlock()
		return h.store.holds["eu"].Held == 16
	})
	h.store.mu.Lock()
	id := h.store.holds["eu"].ID
	h.store.mu.Unlock()
	if n, err := h.server.Confirm(t.Context(), "eu", id); n != 16 || err != nil {
		t.Errorf("confirmed %d removals, error %v", n, err)
	}
	eventually(t, "what was confirmed is removed, and restore mode ends", func() bool {
		h.store.mu.Lock()
		defer h.store.mu.Unlock()
		return a.member.count() == 4 && !h.store.restoring["eu"] && !h.store.holds["eu"].Restoring
	})
}

func TestWhatARestoredStoreLacksOfReportsIsSaidAgain(t *testing.T) {
	h := newHub(t, quickly)
	h.store.put("eu", 10, keys(3)...)
	var answered atomic.Int64
	a := h.newAgent(h.issue("eu", time.Hour), func(c *agentlink.Config) {
		c.ReportRecorded = func(string, string, linkv1.Phase) { answered.Add(1) }
	})
	eventually(t, "every work is reported, and the agent knows", func() bool { return a.synchronised() && answered.Load() == 3 })
	h.store.mu.Lock()
	revision, reports := h.store.revision, map[string]*linkv1.Report{}
	for key, w := range h.store.clusters["eu"] {
		reports[key] = w.report
	}
	h.store.mu.Unlock()
	a.member.say("broken")
	// What the agent was not told is recorded it would say again in any case.
	eventually(t, "every work is reported again, and the agent knows", func() bool { return h.store.said("eu", "broken") == 3 && answered.Load() == 6 })

	h.store.mu.Lock()
	h.store.revision, h.store.history = revision, h.store.history.Begin("two", revision)
	for key, w := range h.store.clusters["eu"] {
		w.report = reports[key]
	}
	h.store.mu.Unlock()
	a.cut()
	eventually(t, "the restored store has what is the case", func() bool { return h.store.said("eu", "broken") == 3 })
	h.store.mu.Lock()
	defer h.store.mu.Unlock()
	if h.store.restoring["eu"] {
		t.Error("the member is in restore mode, though the store lacks nothing that was ever wanted of it")
	}
}

func TestEnrolmentNeedsNoCertificateAndTheStreamDoes(t *testing.T) {
	h := newHub(t, quickly)
	trust := func(protocols ...string) *tls.Config {
		return &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: h.own.pool(), ServerName: "hub.test", NextProtos: protocols}
	}
	for name, protocols := range map[string][]string{"http/1.1": {"http/1.1"}, "both": {"h2", "http/1.1"}, "no ALPN": nil} {
		client := &http.Client{Transport: &http.Transport{TLSClientConfig: trust(protocols...)}}
		response, err := client.Get("https://" + h.address + "/")
		if err != nil {
			t.Errorf("a client that offers %s gets %v", name, err)
			continue
		}
		body, _ := io.ReadAll(response.Body)
		_ = response.Body.Close()
		client.CloseIdleConnections()
		if string(body) != "enrolment" {
			t.Errorf("a client that offers %s reads %q", name, body)
		}
	}
	conn, err := tls.Dial("tcp", h.address, trust("h2"))
	if err == nil {
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(generous))
		_, err = conn.Read(make([]byte, 1))
	}
	if err == nil || !strings.Contains(err.Error(), "certificate required") {
		t.Errorf("a stream without a certificate gets %v", err)
	}
	old := trust("http/1.1")
	old.MinVersion, old.MaxVersion = tls.VersionTLS12, tls.VersionTLS12
	if conn, err := tls.Dial("tcp", h.address, old); err == nil {
		_ = conn.Close()
		t.Error("TLS 1.2 is accepted")
	}
}
