package link

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	linkv1 "windlass.dev/windlass/api/link/v1"
	"windlass.dev/windlass/pkg/session"
)

// carryOut does what the machine asks for. Nothing here waits.
func (st *stream) carryOut(effects []session.HubEffect) {
	for _, e := range effects {
		switch e := e.(type) {
		case session.SendToAgent:
			st.enqueue(e.Message)
		case session.Hail:
			go st.admit(e.Hello)
		case session.RestoreDetected:
			st.server.log.Warn("The hub's store is older than what a member has seen: entering restore mode, in which nothing is deleted unconfirmed.",
				"cluster", st.cluster, "why", e.Message)
			go st.enterRestore(e)
		case session.RestoreSettled:
			go st.leaveRestore()
		case session.RecordReport:
			st.recordReport(e.Report)
		case session.RecordRemoval:
			st.recordRemoval(e)
		case session.RecordFacts:
			st.record(subject{st.cluster, recordFacts, ""}, func(ctx context.Context) error {
				return st.server.config.Recorder.RecordFacts(ctx, st.describe(), e.Facts)
			})
		case session.HoldChanged:
			st.record(subject{st.cluster, recordHold, ""}, func(ctx context.Context) error {
				return st.server.config.Recorder.RecordHold(ctx, st.describe(), e.Hold)
			})
		case session.Answered:
			if answer := st.questions[e.Answer.GetId()]; answer != nil {
				delete(st.questions, e.Answer.GetId())
				answer <- e.Answer
			}
		case session.CapacityGrown:
			st.server.config.Grown(st.cluster)
		case session.RenewalWanted:
			st.beginRenewal(e.Request)
		case session.Entered:
			st.entered(e.State)
		case session.Remarked:
			st.server.log.Info(e.Message, "cluster", st.cluster, "epoch", st.epoch)
		case session.UnknownMessage:
			st.server.metrics.unknown.Inc()
		case session.Ended:
			st.server.metrics.ended.WithLabelValues(reasonLabel(e.End.Reason)).Inc()
			st.ended = &e.End
		}
	}
}

// enqueue has a message sent. The outbox is larger than anything that an agent which reads can leave in it.
func (st *stream) enqueue(m *linkv1.FromHub) {
	if !st.out.put(m) {
		st.server.log.Warn("A member was cut off: its agent does not read.", "cluster", st.cluster)
		_ = st.conn.Close()
	}
}

func (st *stream) entered(state session.State) {
	st.mu.Lock()
	before := st.info.State
	st.info.State = state
	st.mu.Unlock()
	st.server.metrics.sessions.WithLabelValues(string(before)).Dec()
	st.server.metrics.sessions.WithLabelValues(string(state)).Inc()
}

// admitTimeout bounds what has to be read and written before an agent is let in.
const admitTimeout = 30 * time.Second

// admit finds out whether the agent may come in, and under which epoch, and makes this session the member's.
func (st *stream) admit(hello *linkv1.Hello) {
	ctx, cancel := context.WithTimeout(st.rpc.Context(), admitTimeout)
	defer cancel()
	epoch, view, err := st.prepare(ctx, hello)
	if err != nil {
		st.refuse(st.server.judgeRemoval(ctx, st.presented, hello, err))
		return
	}
	st.post(func(m *session.Hub, now time.Time) {
		if st.epoch == 0 && !st.enter(epoch, hello) {
			m.Close(linkv1.GoodbyeReason_GOODBYE_REASON_SUPERSEDED, "a newer session of this member has begun meanwhile, or its identity has changed", comeBack())
			return
		}
		m.Admit(epoch, view, now)
	})
}

// prepare reads the store after the hello, so that what the agent has seen is compared with a view that is not older.
func (st *stream) prepare(ctx context.Context, hello *linkv1.Hello) (epoch int64, view session.StoreView, err error) {
	if err = st.recognise(); err != nil {
		return 0, view, err
	}
	c := st.server.config
	epoch, err = c.Recorder.ClaimEpoch(ctx, st.cluster, Claim{
		ClusterID: st.clusterID, AgentVersion: hello.GetAgentVersion(), KubeSystemUID: hello.GetKubeSystemUid(), LastEpoch: hello.GetSessionEpoch(),
	})
	if err != nil {
		return 0, view, fmt.Errorf("claiming an epoch: %w", err)
	}
	if view, err = c.Store.View(ctx, st.cluster, st.clusterID); err != nil {
		return 0, view, fmt.Errorf("reading the store's revision: %w", err)
	}
	if err = c.Works.Sync(ctx, st.cluster); err != nil {
		return 0, view, fmt.Errorf("waiting for the works: %w", err)
	}
	return epoch, view, nil
}

// refuse ends a session that could not be admitted.
func (st *stream) refuse(err error) {
	refusal := &Refusal{Reason: linkv1.GoodbyeReason_GOODBYE_REASON_INTERNAL, Message: "the hub cannot admit this member now: " + err.Error(), RetryAfter: comeBack()}
	if !errors.As(err, &refusal) {
		st.server.log.Warn("A member could not be admitted.", "cluster", st.cluster, "error", err)
	}
	st.post(func(m *session.Hub, _ time.Time) { m.Close(refusal.Reason, refusal.Message, refusal.RetryAfter) })
}

// enter makes this session the member's and tells the one before it why it ends. Runs in the loop.
func (st *stream) enter(epoch int64, hello *linkv1.Hello) bool {
	st.epoch = epoch
	st.mu.Lock()
	st.info.Epoch, st.info.AgentVersion, st.info.KubeSystemUID = epoch, hello.GetAgentVersion(), hello.GetKubeSystemUid()
	st.mu.Unlock()
	replaced, rivals, entered := st.server.members.enter(st, hello.GetSessionEpoch(), time.Now())
	if !entered {
		return false
	}
	st.unsubscribe = st.server.config.Works.Subscribe(st.cluster, st.dirty.add)
	st.server.recordPresence(st.cluster)
	st.server.log.Info("A member has connected.", "cluster", st.cluster, "epoch", epoch, "address", st.address, "agent", hello.GetAgentVersion())
	if rivals {
		st.server.config.Rivals(st.cluster, fmt.Sprintf("two agents with this cluster's identity run, at %s and %s, and throw each other out again and again: "+
			"end one of the two; if they run in two clusters, one of which is a copy of the other, delete the agent's namespace in the copy and give its agent a token of its own", replaced.address, st.address))
	}
	if replaced != nil {
		// Twenty seconds: longer than a replaced agent pod takes to go away.
		go replaced.post(func(m *session.Hub, _ time.Time) {
			m.Close(linkv1.GoodbyeReason_GOODBYE_REASON_SUPERSEDED,
				fmt.Sprintf("another agent with the same identity has connected from %s: only one may run", st.address), 20*time.Second)
		})
	}
	return true
}

func (st *stream) enterRestore(e session.RestoreDetected) {
	ctx, cancel := context.WithTimeout(st.rpc.Context(), admitTimeout)
	defer cancel()
	view, err := st.server.config.Store.EnterRestore(ctx, st.cluster, st.clusterID, e)
	if err == nil && !view.Restoring {
		err = errors.New("the store did not enter restore mode")
	}
	if err != nil {
		st.refuse(fmt.Errorf("entering restore mode: %w", err))
		return
	}
	st.post(func(m *session.Hub, now time.Time) { m.Admit(st.epoch, view, now) })
}

func (st *stream) leaveRestore() {
	ctx, cancel := context.WithTimeout(st.rpc.Context(), admitTimeout)
	defer cancel()
	if err := st.server.config.Store.LeaveRestore(ctx, st.cluster, st.clusterID); err != nil {
		st.refuse(fmt.Errorf("leaving restore mode: %w", err))
		return
	}
	st.server.log.Info("A member has left restore mode: what waited was confirmed.", "cluster", st.cluster)
	st.post(func(m *session.Hub, _ time.Time) {
		m.Close(linkv1.GoodbyeReason_GOODBYE_REASON_BEGIN_ANEW, "restore mode has ended", 0)
	})
}

// beginRenewal has one renewal under way at a time: each holds its request and waits for the store, and an agent can ask
// faster than the store answers. Runs in the loop.
func (st *stream) beginRenewal(request *linkv1.RenewalRequest) {
	if st.renewing {
		st.enqueue(renewalAnswered(&linkv1.RenewalAnswer{
			Error: "another renewal of this agent's certificate is under way", RetryAfter: durationpb.New(renewalRetry),
		}))
		return
	}
	st.renewing = true
	go st.renew(request)
}

// renewalRetry is how long an agent waits whose certificate was not renewed.
const renewalRetry = 10 * time.Minute

func renewalAnswered(answer *linkv1.RenewalAnswer) *linkv1.FromHub {
	return &linkv1.FromHub{Message: &linkv1.FromHub_Renewal{Renewal: answer}}
}

func (st *stream) renew(request *linkv1.RenewalRequest) {
	ctx, cancel := context.WithTimeout(st.rpc.Context(), admitTimeout)
	defer cancel()
	answer := &linkv1.RenewalAnswer{}
	chain, err := st.server.config.Renewer.Renew(ctx, st.presented, request.GetCertificateRequest())
	if err != nil {
		st.server.log.Warn("A member's certificate could not be renewed.", "cluster", st.cluster, "error", err)
		answer.Error, answer.RetryAfter = err.Error(), durationpb.New(renewalRetry)
	} else {
		st.server.log.Info("A member's certificate was renewed.", "cluster", st.cluster)
		answer.Certificates = chain
	}
	st.post(func(m *session.Hub, _ time.Time) {
		st.renewing = false
		m.Tell(renewalAnswered(answer))
	})
}

func (st *stream) recordReport(r *linkv1.Report) {
	began := time.Now()
	st.record(subject{st.cluster, recordWork, r.GetKey()}, func(ctx context.Context) error {
		revision, err := st.server.config.Recorder.RecordReport(ctx, st.cluster, r)
		if err != nil {
			return err
		}
		st.server.metrics.reportSeconds.Observe(time.Since(began).Seconds())
		st.post(func(m *session.Hub, _ time.Time) { m.Recorded(r.GetKey(), r.GetSequence(), revision) })
		return nil
	})
}

func (st *stream) recordRemoval(e session.RecordRemoval) {
	st.record(subject{st.cluster, recordWork, e.Key}, func(ctx context.Context) error {
		if err := st.server.config.Recorder.RemovalDone(ctx, st.cluster, e.Key, e.UID); err != nil {
			return err
		}
		st.post(func(m *session.Hub, _ time.Time) { m.Recorded(e.Key, e.Sequence, 0) })
		return nil
	})
}

// record has something written, unless the session is over by then: what the agent was not told is recorded it says
// again in its next session.
func (st *stream) record(about subject, write func(context.Context) error) {
	st.server.recordsOf(about.kind).put(about, st.epoch, func(ctx context.Context) error {
		select {
		case <-st.done:
			return nil
		default:
			return write(ctx)
		}
	})
}

// recordPresence records whether the member is connected when the write is made, whatever has happened since.
func (s *Server) recordPresence(cluster string) {
	s.recordsOf(recordPresence).put(subject{cluster, recordPresence, ""}, 0, func(ctx context.Context) error {
		info, connected := s.members.presence(cluster)
		if connected {
			return s.config.Recorder.Connected(ctx, cluster, info)
		}
		return s.config.Recorder.Disconnected(ctx, cluster, info)
	})
}

func describeEnd(e session.End) string {
	who := "the hub"
	if e.ByPeer {
		who = "the agent"
	}
	return fmt.Sprintf("%s said goodbye (%s): %s", who, reasonLabel(e.Reason), e.Message)
}
