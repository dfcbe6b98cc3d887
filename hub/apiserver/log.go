package apiserver

import (
	"context"
	"log/slog"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"

	"k8s.io/klog/v2"
)

// routeLogs sends what the API server and its libraries log, all of it through klog and for the
// whole process, to log. Their notion of a warning does not survive the way: klog hands warnings
// over as information, so at slog.LevelWarn and above only errors are seen.
func routeLogs(log *slog.Logger, lowest slog.Level) *lifetime {
	life := &lifetime{}
	klog.SetSlogLogger(slog.New(&klogHandler{Handler: log.Handler(), lowest: lowest, life: life}))
	klog.OsExit = func(code int) { giveUp(log, life, code, os.Exit) }
	return life
}

// giveUp is what happens when a part of the API server finds that it can't go on, such as a hook after the
// start that failed: it wants the process to end. That of a server that is being stopped was cut off in the
// middle, and the stop goes on without it. What else it is was logged as no error, so where it happened is told.
func giveUp(log *slog.Logger, life *lifetime, code int, exit func(int)) {
	if life.over() {
		runtime.Goexit()
	}
	log.Error("a part of the API server can't go on, and ends the hub", "code", code, "where", callers())
	exit(code)
}

// callers names the functions that led here, the innermost first, without klog's own.
func callers() string {
	const most = 16
	var counters [most]uintptr
	frames := runtime.CallersFrames(counters[:runtime.Callers(3, counters[:])])
	var names []string
	for {
		frame, more := frames.Next()
		if !strings.Contains(frame.Function, "klog") {
			names = append(names, frame.Function)
		}
		if !more {
			return strings.Join(names, " < ")
		}
	}
}

// lifetime knows whether what runs on the API server is being stopped.
type lifetime struct {
	atomic.Pointer[context.Context]
}

// until sets the context that ends it.
func (l *lifetime) until(ctx context.Context) { l.Store(&ctx) }

func (l *lifetime) over() bool {
	ctx := l.Load()
	return ctx != nil && (*ctx).Err() != nil
}

// ofNoConsequence begins errors that belong to a start or a stop of a hub and call for nothing.
var ofNoConsequence = []string{
	"The manifest file is empty, ignoring.",
	"Found stale data, removed previous endpoints on kubernetes service",
	"Unable to remove endpoints from kubernetes service",
	"Unable to remove peer endpoint leases",
	"Unable start event watcher",
	"Unable to sync caches",
}

// ofWhoeverLeft begins errors of watches whose client has gone meanwhile, when their cause is that.
var ofWhoeverLeft = []string{"failed to sync with latest state", "Failed to encode watch event"}

// passing are causes of errors that are over a moment later, when whoever met them tries again.
var passing = []string{
	// Until it is made, a moment after the first start, everything misses the system namespace.
	`namespaces "kube-system" not found`,
	// The kind of a CRD that was just made, changed or deleted.
	"storage is (re)initializing",
}

// klogHandler drops what is below a level or of no consequence.
type klogHandler struct {
	slog.Handler
	lowest slog.Level
	life   *lifetime
}

func (h *klogHandler) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= h.lowest && h.Handler.Enabled(ctx, level)
}

func (h *klogHandler) Handle(ctx context.Context, record slog.Record) error {
	record.Message = strings.TrimSpace(record.Message)
	if callsForNothing(record) {
		return nil
	}
	if h.life.over() {
		// Whoever is stopped in the middle of something says so, and so do those who were waiting for it.
		if record.Level = slog.LevelDebug; !h.Handler.Enabled(ctx, record.Level) {
			return nil
		}
	}
	return h.Handler.Handle(ctx, record)
}

func callsForNothing(record slog.Record) bool {
	for _, start := range ofNoConsequence {
		if strings.HasPrefix(record.Message, start) {
			return true
		}
	}
	text := record.Message
	record.Attrs(func(attribute slog.Attr) bool {
		if attribute.Key == "err" {
			text += ": " + attribute.Value.String()
		}
		return true
	})
	return isPassing(text) || strings.HasSuffix(text, context.Canceled.Error()) &&
		slices.ContainsFunc(ofWhoeverLeft, func(start string) bool { return strings.HasPrefix(text, start) })
}

func isPassing(text string) bool {
	return slices.ContainsFunc(passing, func(cause string) bool { return strings.Contains(text, cause) })
}

func (h *klogHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &klogHandler{Handler: h.Handler.WithAttrs(attrs), lowest: h.lowest, life: h.life}
}

func (h *klogHandler) WithGroup(name string) slog.Handler {
	return &klogHandler{Handler: h.Handler.WithGroup(name), lowest: h.lowest, life: h.life}
}
