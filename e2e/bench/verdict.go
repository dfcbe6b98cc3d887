package main

import (
	"errors"
	"strings"
)

// exitCodes is what the help says of them.
const exitCodes = "1 when something could not be measured, 2 when the arguments are wrong, 3 when everything was measured and a goal is missed, 130 when interrupted"

// A refusal is of arguments that are wrong: nothing was started.
type refusal struct{ error }

// missedGoals are those of all scenarios, when everything was measured.
type missedGoals []string

func (m missedGoals) Error() string { return strings.Join(m, "\n") }

var errInterrupted = errors.New("interrupted")

// verdict is what has to be said of all scenarios: nothing when they were measured and every goal is reached.
func verdict(failures []error, missed missedGoals) error {
	switch {
	case len(failures) == 0 && len(missed) == 0:
		return nil
	case len(failures) == 0:
		return missed
	case len(missed) == 0:
		return errors.Join(failures...)
	}
	return errors.Join(append(failures, missed)...)
}

// exitCode tells goals that are missed from failures: among failures they count for nothing.
func exitCode(err error) int {
	switch err.(type) {
	case nil:
		return 0
	case refusal:
		return 2
	case missedGoals:
		return 3
	}
	if errors.Is(err, errInterrupted) {
		return 130
	}
	return 1
}
