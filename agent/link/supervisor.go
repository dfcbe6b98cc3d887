package link

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// BackoffSettings say how long to wait between attempts. The zero value of a field means its default.
type BackoffSettings struct {
	// Least and Most: the wait is drawn between 0 and a ceiling that doubles from Least to Most. Defaults 1 s and 60 s.
	// While nobody is there at all, it stays at twice Least for a while.
	Least, Most time.Duration
	// Stable is how long a session must have lasted for the ceiling to fall back to Least. Default 2 min.
	Stable time.Duration
}

func (s BackoffSettings) withDefaults() BackoffSettings {
	for field, value := range map[*time.Duration]time.Duration{&s.Least: time.Second, &s.Most: time.Minute, &s.Stable: 2 * time.Minute} {
		if *field == 0 {
			*field = value
		}
	}
	return s
}

func (s BackoffSettings) validate() error {
	if s.Least < 0 || s.Most < s.Least || s.Stable < 0 {
		return fmt.Errorf("backoff: least %s must not be negative nor above most %s, and stable %s not negative", s.Least, s.Most, s.Stable)
	}
	return nil
}

// A Verdict says what follows from the end of an attempt.
type Verdict int

const (
	// Retry: try again after a while.
	Retry Verdict = iota
	// Reenrol: the hub does not accept this identity any more; only a new join token helps.
	Reenrol
	// Removed: the cluster is no member of the hub any more; only a new join token makes it one again.
	Removed
)

// A Stopped error is returned when trying again is of no use.
type Stopped struct {
	Verdict Verdict
	Err     error
}

func (s *Stopped) Error() string { return s.Err.Error() }
func (s *Stopped) Unwrap() error { return s.Err }

// An outcome is how an attempt has ended.
type outcome struct {
	verdict Verdict
	err     error
	// retryAfter is the hub's wish.
	retryAfter time.Duration
	// lasted is how long the agent was let in.
	lasted time.Duration
	// nobody: no connection came about, so the attempt was no load for anybody.
	nobody bool
	// atOnce: the hub asks for a new session, and that is no failure.
	atOnce bool
}

// A supervisor decides when the next attempt is due. It keeps nothing else.
type supervisor struct {
	settings BackoffSettings
	attempt  func(context.Context) outcome
	// draw draws from [0, 1).
	draw func() float64
	// waiting is told before every wait.
	waiting func(problem error, next time.Time)
}

// absence is for how long attempts stay close together while nobody is there. A hub that restarts is back by then, and
// its agents with it, instead of half a minute later.
const absence = 2 * time.Minute

func (s *supervisor) run(ctx context.Context) error {
	ceiling := s.settings.Least
	var lost time.Time // when the hub was, or the first attempt
	before := false    // the attempt before ended with a request for another at once
	for {
		end := s.attempt(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case end.verdict != Retry:
			return &Stopped{Verdict: end.verdict, Err: end.err}
		case end.lasted >= s.settings.Stable:
			ceiling, lost = s.settings.Least, time.Now()
		case lost.IsZero():
			lost = time.Now()
		}
		// A hub that asks for it again and again is not in order.
		end.atOnce, before = end.atOnce && !before, end.atOnce
		wait := s.wait(end, ceiling)
		awaited := end.nobody && ceiling >= 2*s.settings.Least && time.Since(lost) < absence
		if !end.atOnce && !awaited {
			ceiling = min(s.settings.Most, 2*ceiling)
		}
		if end.err == nil {
			end.err = errors.New("the session has ended")
		}
		s.waiting(end.err, time.Now().Add(wait))
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil
		}
	}
}

// wait draws between 0 and the ceiling, at the top too, so that a thousand agents that lost their hub at one moment do
// not come back at one moment. The hub's own wish is a lower bound, and agents spread beyond it as well.
func (s *supervisor) wait(end outcome, ceiling time.Duration) time.Duration {
	drawn := time.Duration(s.draw() * float64(ceiling))
	switch {
	case end.retryAfter > 0:
		return max(drawn, end.retryAfter+time.Duration(s.draw()*float64(end.retryAfter)/4))
	case end.atOnce:
		return time.Duration(s.draw() * float64(s.settings.Least))
	}
	return drawn
}
