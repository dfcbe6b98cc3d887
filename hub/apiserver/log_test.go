package apiserver

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
)

func TestOnlyMessagesThatCallForSomethingAreShown(t *testing.T) {
	for _, c := range []struct {
		reason string
		log    func(*slog.Logger)
		shown  bool
	}{
		{reason: "an error is shown", log: func(l *slog.Logger) { l.Error("disk is full\n") }, shown: true},
		{reason: "information is below the level", log: func(l *slog.Logger) { l.Info("starting") }},
		{reason: "a part of every start is of no consequence", log: func(l *slog.Logger) { l.Error("The manifest file is empty, ignoring.") }},
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
			c.log(slog.New(&klogHandler{Handler: slog.NewTextHandler(&out, nil), lowest: slog.LevelWarn}))
			if shown := out.Len() > 0; shown != c.shown {
				t.Errorf("shown: %t, want %t: %s", shown, c.shown, out.String())
			}
			if strings.Contains(out.String(), `\n`) {
				t.Errorf("the message ends in a line break: %s", out.String())
			}
		})
	}
}
