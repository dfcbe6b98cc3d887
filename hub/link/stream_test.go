package link

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	linkv1 "windlass.dev/windlass/api/link/v1"
	"windlass.dev/windlass/pkg/session"
)

// open makes a session whose loop is the test: it takes the events out of the inbox.
func (s *Server) open(t *testing.T, epoch int64) *stream {
	t.Helper()
	st := &stream{
		server: s, rpc: silence{ctx: t.Context()}, cluster: "eu", epoch: epoch,
		done: make(chan struct{}), inbox: make(chan event), questions: map[uint64]chan<- *linkv1.Answer{},
	}
	if _, _, entered := s.members.enter(st, 0, time.Now()); !entered {
		t.Fatal("the session was not let in")
	}
	return st
}

func serverOf(config Config) *Server {
	return &Server{config: config, log: slog.New(slog.DiscardHandler), members: newMembers(session.BrakeSettings{}, func(string) bool { return false })}
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
