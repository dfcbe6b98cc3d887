package hub

import (
	"context"
)

type linkParts struct{}

func (h *hub) openLink() (*linkParts, error)       { return &linkParts{}, nil }
func (l *linkParts) run(ctx context.Context) error { <-ctx.Done(); return nil }
func (l *linkParts) address() string               { return "" }
func (l *linkParts) close()                        {}

func (l *linkParts) advertisedPort() int { return 18443 }
