package apiserver

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
)

func TestOnlyMessagesThatCallForSomethingAreShown(t *testing.T) {
	ended, end := context.WithCancel(t.Context())
	end()
	cancelled := func(l *slog.Logger) { l.Error("Unhandled Error", "err", context.Canceled) }
	for _, c := range []struct {
		reason string
		log    func(*slog.Logger)
		ctx    context.Context // nil: it runs on
		shown  bool
	}{
		{reason: "what is cancelled while the server runs is shown", log: cancelled, ctx: t.Context(), shown: true},
		{reason: "and before it does", log: cancelled, shown: true},
		{reason: "what is cancelled by a stop is not", log: cancelled, ctx: ended},
		{reason: "an error is shown", log: func(l *slog.Logger) { l.Error("disk is full\n") }, shown: true},
		{reason: "information is below the level", log: func(l *slog.Logger) { l.Info("starting") }},
		{reason: "a part of every start is of no consequence", log: func(l *slog.Logger) { l.Error("The manifest file is empty, ignoring.") }},
		{reason: "a watch whose client has gone while it began", log: func(l *slog.Logger) { l.Error("failed to sync with latest state: context canceled") }},
		{reason: "a watch whose client has gone", log: func(l *slog.Logger) { l.Error("Failed to encode watch event", "err", context.Canceled) }},
		{reason: "an event that can't be encoded is an error", log: func(l *slog.Logger) { l.Error("Failed to encode watch event", "err", errors.New("no such kind")) }, shown: true},
		{
			reason: "the system namespace is made a moment later",
			log: func(l *slog.Logger) {
				l.Error("syncing", "err", errors.New(`namespaces "kube-system" not found`), "interval", "200ms")
			},
		},
		{
			reason: "another namespace that is missing is an error",
			log:    func(l *slog.Logger) { l.Error("syncing", "err", errors.New(`namespaces "a" not found`)) },
			shown:  true,
		},
		{
			reason: "attributes and groups do not get around the filter",
			log:    func(l *slog.Logger) { l.With("a", 1).WithGroup("g").Info("starting") },
		},
	} {
		t.Run(c.reason, func(t *testing.T) {
			var out bytes.Buffer
			life := &lifetime{}
			if c.ctx != nil {
				life.until(c.ctx)
			}
			c.log(slog.New(&klogHandler{Handler: slog.NewTextHandler(&out, nil), lowest: slog.LevelWarn, life: life}))
			if shown := out.Len() > 0; shown != c.shown {
				t.Errorf("shown: %t, want %t: %s", shown, c.shown, out.String())
			}
			if strings.Contains(out.String(), `\n`) {
				t.Errorf("the message ends in a line break: %s", out.String())
			}
		})
	}
}

func TestAServerThatGivesUpEndsTheHubUnlessItIsBeingStopped(t *testing.T) {
	var log bytes.Buffer
	life, exits := &lifetime{}, make(chan int, 1)
	ended := func() bool {
		done := make(chan struct{})
		go func() {
			defer close(done)
			giveUp(slog.New(slog.NewTextHandler(&log, nil)), life, 255, func(code int) { exits <- code })
		}()
		<-done
		select {
		case code := <-exits:
			return code == 255
		default:
			return false
		}
	}
	if !ended() || !strings.Contains(log.String(), "can't go on") || !strings.Contains(log.String(), "TestAServerThatGivesUp") {
		t.Errorf("while it runs: the log says %q", log.String())
	}
	log.Reset()
	over, cancel := context.WithCancel(t.Context())
	life.until(over)
	cancel()
	if ended() || log.Len() > 0 {
		t.Errorf("while it is being stopped: the log says %q", log.String())
	}
}
