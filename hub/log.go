package hub

import (
	"context"
	"log/slog"
)

// from hides what is below a level, unless all of the hub's log is wanted for finding a fault.
func from(level slog.Level, handler slog.Handler) slog.Handler {
	if handler.Enabled(context.Background(), slog.LevelDebug) {
		return handler
	}
	return quiet{handler, level}
}

type quiet struct {
	slog.Handler
	lowest slog.Level
}

func (q quiet) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= q.lowest && q.Handler.Enabled(ctx, level)
}

func (q quiet) WithAttrs(attrs []slog.Attr) slog.Handler {
	return quiet{q.Handler.WithAttrs(attrs), q.lowest}
}

func (q quiet) WithGroup(name string) slog.Handler { return quiet{q.Handler.WithGroup(name), q.lowest} }
