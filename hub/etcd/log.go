package etcd

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap/zapcore"
)

// slogCore hands what etcd logs on to slog. It takes warnings and errors only; of the warnings not
// those about choices that are made on purpose here, and nothing once etcd is being stopped, when
// its listeners complain that they are closed.
// A slow disk makes every request slow, so that a warning is repeated is shown as a number.
type slogCore struct {
	log      *slog.Logger
	stopping *atomic.Bool
	repeats  *repeats
}

func newSlogCore(log *slog.Logger, stopping *atomic.Bool) *slogCore {
	return &slogCore{log: log, stopping: stopping, repeats: &repeats{shown: map[string]time.Time{}, hidden: map[string]int{}}}
}

// repeats remembers which warnings were shown lately. There are as many as etcd has texts.
type repeats struct {
	mu     sync.Mutex
	shown  map[string]time.Time
	hidden map[string]int
}

// showEvery is how often the same warning is shown.
const showEvery = 10 * time.Second

// show says whether to show a message now, and how often it was not shown since the last time.
func (r *repeats) show(message string, now time.Time) (hidden int, show bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if last, ok := r.shown[message]; ok && now.Sub(last) < showEvery {
		r.hidden[message]++
		return 0, false
	}
	hidden = r.hidden[message]
	r.shown[message], r.hidden[message] = now, 0
	return hidden, true
}

// tooLong are fields that repeat a whole request.
var tooLong = map[string]bool{"request": true, "request content": true}

// onPurpose are warnings that hold for every hub and call for nothing.
var onPurpose = map[string]bool{
	"Running http and grpc server on single port. This is not recommended for production.": true,
	"simple token is not cryptographically signed":                                         true,
	// Said when the version is looked for before the first entry of a new store; it is looked for again.
	"Failed to detect schema version": true,
}

// newStore is why the storage version cannot be raised in the first moment of a new store. It is
// raised a little later.
const newStore = "missing term information"

func (c *slogCore) Enabled(level zapcore.Level) bool { return level >= zapcore.WarnLevel }

func (c *slogCore) With(fields []zapcore.Field) zapcore.Core {
	return &slogCore{log: c.log.With(attributes(fields)...), stopping: c.stopping, repeats: c.repeats}
}

func (c *slogCore) Check(entry zapcore.Entry, checked *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.Enabled(entry.Level) && !onPurpose[entry.Message] && !c.stopping.Load() {
		return checked.AddCore(entry, c)
	}
	return checked
}

func (c *slogCore) Write(entry zapcore.Entry, fields []zapcore.Field) error {
	level := slog.LevelError
	all := attributes(fields)
	for _, value := range all {
		if text, ok := value.(string); ok && strings.Contains(text, newStore) {
			return nil
		}
	}
	if entry.Level == zapcore.WarnLevel {
		level = slog.LevelWarn
		hidden, show := c.repeats.show(entry.Message, entry.Time)
		if !show {
			return nil
		}
		if hidden > 0 {
			all = append(all, "repeated", hidden)
		}
	}
	c.log.Log(context.Background(), level, "etcd: "+entry.Message, all...)
	return nil
}

func (c *slogCore) Sync() error { return nil }

func attributes(fields []zapcore.Field) []any {
	encoder := zapcore.NewMapObjectEncoder()
	for _, field := range fields {
		field.AddTo(encoder)
	}
	all := make([]any, 0, 2*len(encoder.Fields))
	for _, field := range fields {
		if value, ok := encoder.Fields[field.Key]; ok && !tooLong[field.Key] {
			all = append(all, field.Key, value)
			delete(encoder.Fields, field.Key)
		}
	}
	return all
}
