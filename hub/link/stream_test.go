package link

import (
	"context"
	"crypto/x509"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	linkv1 "windlass.dev/windlass/api/link/v1"
	"windlass.dev/windlass/pkg/session"
)

// open makes a session whose loop is the test: it takes the events out of the inbox.
func (s *Server) open(t *testing.T, epoch int64) *stream {
	t.Helper()
	st := &stream{
		server: s, rpc: silence{ctx: t.Context()}, cluster: "eu", clusterID: "id-1", epoch: epoch, entry: s.members.entry("eu", "id-1"),
		done: make(chan struct{}), inbox: make(chan event), questions: map[uint64]chan<- *linkv1.Answer{},
	}
	if _, _, entered := s.members.enter(st, 0, time.Now()); !entered {
		t.Fatal("the session was not let in")
	}
	return st
}

func serverOf(config Config) *Server {
	return &Server{config: config, log: slog.New(slog.DiscardHandler), members: newMembers(session.BrakeSettings{}, func(string, string) bool { return false })}
}

// silence is a stream on which nobody says anything.
type silence struct {
	linkv1.Link_SessionServer
	ctx context.Context
}

func (s silence) Context() context.Context { return s.ctx }

func TestAQuestionIsPutInTheSessionThatWasFoundAndInNoOther(t *testing.T) {
	s := serverOf(Config{})
	found := s.open(t, 1)
	next := s.open(t, 2) // takes its place before the question is put
	asked := make(chan error, 1)
	go func() {
		_, err := found.ask(t.Context(), "echo", nil)
		asked <- err
	}()
	select {
	case e := <-found.inbox:
		e(&session.Hub{}, time.Now())
	case <-next.inbox:
		t.Fatal("the loop of one session was to touch what another's owns")
	}
	if len(found.questions) != 1 || len(next.questions) != 0 {
		t.Errorf("%d questions wait in the session, and %d in the next", len(found.questions), len(next.questions))
	}
	close(found.done)
	if err := <-asked; !errors.Is(err, ErrNotConnected) {
		t.Errorf("the session ends, and the answer is %v", err)
	}
}

// slowRenewer has renewals wait until it is told to go on.
type slowRenewer struct {
	begun int
	goOn  chan struct{}
}

func (r *slowRenewer) Renew(context.Context, *x509.Certificate, []byte) ([][]byte, error) {
	r.begun++
	<-r.goOn
	return [][]byte{{1}}, nil
}

func TestOfOneAgentOneRenewalIsUnderWayAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		renewer := &slowRenewer{goOn: make(chan struct{})}
		st := serverOf(Config{Renewer: renewer}).open(t, 1)
		var answers []*linkv1.RenewalAnswer
		st.out = newOutbox(10, func(m *linkv1.FromHub) bool { answers = append(answers, m.GetRenewal()); return true })
		asks := []session.HubEffect{session.RenewalWanted{Request: &linkv1.RenewalRequest{}}}
		for range 3 {
			st.carryOut(asks)
		}
		synctest.Wait()
		if renewer.begun != 1 || len(answers) != 2 {
			t.Fatalf("of three requests %d are under way and %d answered, want 1 and 2", renewer.begun, len(answers))
		}
		for _, answer := range answers {
			if answer.GetError() == "" || answer.GetRetryAfter().AsDuration() <= 0 {
				t.Errorf("one that has to wait is answered %v", answer)
			}
		}
		renewer.goOn <- struct{}{}
		(<-st.inbox)(&session.Hub{}, time.Now())
		st.carryOut(asks)
		synctest.Wait()
		if renewer.begun != 2 {
			t.Error("after the first renewal no other can begin")
		}
		close(st.done)
		renewer.goOn <- struct{}{}
	})
}
