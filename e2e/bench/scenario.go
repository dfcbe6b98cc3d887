package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// A scenario is one thing that is measured.
type scenario struct {
	name string
	// what is measured, in half a line, and how long that takes with the sizes that are the default.
	what, takes string
	// flags registers its sizes, named SCENARIO.SIZE; nil when it has none.
	flags func(*flag.FlagSet)
	// check refuses flags that do not go together, before anything is started; nil when all do.
	check func() error
	// run measures. Rows that were found before an error are shown.
	run measurement
	// limits is what its figures do not show, for whoever reads the table.
	limits string
	// shares is true when it goes on with the simulated agents that the scenario before it has left.
	shares bool
}

// An environment is what scenarios run in.
type environment struct {
	// runs is how often a scenario measures, longRuns how often one whose runs take minutes.
	runs, longRuns int
	// profiles is where processor profiles of the hub go; empty for none.
	profiles string
	// bin is the folder of the built programs, dir one for logs and data, gone when the bench ends.
	bin, dir string
	// commit is what the programs were built of.
	commit string

	began    time.Time
	name     string
	profiled int
	// left are the agents that a scenario has left to the next; nil for none.
	left *herd
}

func (e *environment) prepare(ctx context.Context) (err error) {
	if e.bin == "" {
		e.bin = "bin"
	}
	if e.bin, err = filepath.Abs(e.bin); err != nil {
		return err
	}
	for _, name := range []string{"windlass-hub", "windlass-agent", "windlass", "member", "simagent"} {
		if _, err := os.Stat(e.program(name)); err != nil {
			return fmt.Errorf("%w: run make bench, which builds what is missing, or say by -bin where the programs are", err)
		}
	}
	e.commit = builtCommit(ctx, e.bin)
	// Of what starts programs by itself, e2e/fleet is told by its environment.
	if err := os.Setenv("WINDLASS_E2E_BIN", e.bin); err != nil {
		return err
	}
	e.dir, err = os.MkdirTemp("", "windlass-bench-")
	return err
}

func (e *environment) close() {
	e.drop()
	if os.Getenv("WINDLASS_E2E_KEEP") != "" {
		fmt.Fprintln(os.Stderr, "logs and data are kept in", e.dir)
		return
	}
	if err := os.RemoveAll(e.dir); err != nil {
		fmt.Fprintln(os.Stderr, "removing what the bench has left:", err)
	}
}

func (e *environment) begin(s scenario) {
	if !s.shares {
		e.drop()
	}
	e.began, e.name = time.Now(), s.name
	e.progress("%s; with its usual sizes it takes %s", s.what, s.takes)
}

// progress tells whoever waits how far a scenario has come. Results are not told here.
func (e *environment) progress(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "%s %6.1f s  %s\n", e.name, time.Since(e.began).Seconds(), fmt.Sprintf(format, args...))
}

// folder makes a folder below dir.
func (e *environment) folder(pattern string) (string, error) { return os.MkdirTemp(e.dir, pattern+"-") }
