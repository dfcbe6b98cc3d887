package etcd

import (
	"bytes"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"

	"go.uber.org/zap"
)

func TestEtcdsMessagesAreReadable(t *testing.T) {
	var out bytes.Buffer
	stopping := &atomic.Bool{}
	log := zap.New(newSlogCore(slog.New(slog.NewTextHandler(&out, nil)), stopping)).With(zap.String("member", "m"))
	log.Info("becoming leader")
	log.Warn("simple token is not cryptographically signed")
	for range 50 {
		log.Warn("apply request took too long", zap.String("request", "a whole request"), zap.String("took", "1s"))
	}
	log.Error("disk is full")
	stopping.Store(true)
	log.Error("listener is closed")

	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 2 {
		t.Fatalf("%d lines, want the warning once and the error:\n%s", len(lines), out.String())
	}
	for i, want := range []string{"level=WARN", "level=ERROR"} {
		if !strings.Contains(lines[i], want) {
			t.Errorf("line %d has no %s: %s", i, want, lines[i])
		}
	}
	if !strings.Contains(lines[0], "member=m took=1s") || strings.Contains(lines[0], "a whole request") {
		t.Errorf("the warning has the wrong fields: %s", lines[0])
	}
}
