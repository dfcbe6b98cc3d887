// Command bench measures Windlass on this machine and prints a table of what it found: first what can be counted, then
// memory, then processor time, then times. Run it by `make bench`, or one scenario by `make bench SCENARIO=name`; with
// -into=BENCHMARKS.md the table takes the place of the older one there.
//
// The hub is the built program, as users run it.
//
// It exits 1 when something could not be measured, 2 when its arguments are wrong, 3 when everything was measured and a goal
// is missed, and 130 when it is interrupted. `go run` and make have codes of their own for all of these.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// scenarios are all there are, in the order in which they run.
func scenarios() []scenario {
	return []scenario{
		(&trickle{}).scenario(),
		(&bursts{}).scenario(),
		(&pairs{}).scenario(),
		(&agents{}).scenario(),
		(&fanOut{}).scenario(),
		(&bulk{}).scenario(),
		// These four go on with the same agents, and so in this order.
		(&idle{}).scenario(),
		(&churn{}).scenario(),
		(&status{}).scenario(),
		(&storm{}).scenario(),
		(&scheduling{}).scenario(),
	}
}

func main() {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := bench(ctx, os.Args[1:])
	cancel()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
	}
	os.Exit(exitCode(err))
}

func bench(ctx context.Context, args []string) error {
	all := scenarios()
	env := &environment{}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	into := flagsOf(flags, env, all)
	// The flag package would print all flags below what is wrong with one.
	flags.SetOutput(io.Discard)
	flags.Usage = func() {}
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		flags.SetOutput(os.Stdout)
		help(flags, all)
		return nil
	case err != nil:
		return refusal{err}
	}
	chosen, err := choose(all, flags.Args())
	if err != nil {
		return refusal{err}
	}
	if env.profiles != "" {
		if err := os.MkdirAll(env.profiles, 0o750); err != nil {
			return fmt.Errorf("-profiles: %w", err)
		}
	}
	if err := openResults(*into); err != nil {
		return refusal{err}
	}
	if err := env.prepare(ctx); err != nil {
		return err
	}
	defer env.close()
	return measure(ctx, env, flags, chosen, *into)
}

// flagsOf registers all flags, and returns the value of the one that no scenario looks at.
func flagsOf(flags *flag.FlagSet, env *environment, all []scenario) (into *string) {
	countFlag(flags, &env.runs, "runs", 5, "how often fan-out, burst, pairs, agent, storm and schedule measure")
	flags.StringVar(&env.bin, "bin", os.Getenv("WINDLASS_E2E_BIN"), "folder of the built programs; bin/ when empty")
	countFlag(flags, &env.longRuns, "long-runs", 1, "how often trickle, bulk, idle and churn measure, whose runs take minutes, and how often status goes there and back, which are two runs")
	flags.StringVar(&env.profiles, "profiles", "", "folder for processor profiles: of the hub for all of what is measured, one for each 10 s, and with real members of hub, agent and member for its first 10 s; measuring costs more then")
	into = flags.String("into", "", "file in which each scenario's table takes the place of its older one, such as BENCHMARKS.md")
	for _, s := range all {
		if s.flags != nil {
			s.flags(flags)
		}
	}
	return into
}

func help(flags *flag.FlagSet, all []scenario) {
	out := flags.Output()
	fmt.Fprintln(out, "usage: bench [flags] [scenario ...]\n\nscenarios, all of them when none is named:")
	for _, s := range all {
		fmt.Fprintf(out, "  %-10s %s; takes %s\n", s.name, s.what, s.takes)
	}
	fmt.Fprintf(out, "\nexit codes: %s\n", exitCodes)
	fmt.Fprintln(out, "\nflags:")
	flags.PrintDefaults()
}

// choose finds the scenarios that are named, or all, and has each say whether its flags go together.
func choose(all []scenario, names []string) ([]scenario, error) {
	chosen := all
	if len(names) > 0 {
		chosen = nil
	}
	for _, name := range names {
		i := slices.IndexFunc(all, func(s scenario) bool { return s.name == name })
		if i < 0 {
			return nil, fmt.Errorf("there is no scenario %q: want one of %s", name, strings.Join(scenarioNames(all), ", "))
		}
		chosen = append(chosen, all[i])
	}
	for _, s := range chosen {
		if s.check == nil {
			continue
		}
		if err := s.check(); err != nil {
			return nil, err
		}
	}
	return chosen, nil
}

func scenarioNames(of []scenario) []string {
	var names []string
	for _, s := range of {
		names = append(names, s.name)
	}
	return names
}

// measure runs scenarios one after the other. One that fails does not keep the others from running.
func measure(ctx context.Context, env *environment, flags *flag.FlagSet, chosen []scenario, into string) error {
	var failures []error
	var goals missedGoals
	for _, s := range chosen {
		if ctx.Err() != nil {
			return errors.Join(append(failures, fmt.Errorf("%w before %s", errInterrupted, s.name))...)
		}
		env.begin(s)
		where := machine(env.commit)
		if changed := changedFlags(flags, s.name); len(changed) > 0 {
			where += "; with " + strings.Join(changed, " ")
		}
		rows, err := s.run(ctx, env)
		if len(rows) > 0 {
			section := section(s, where, rows)
			fmt.Print("\n", section, "\n")
			switch {
			case err != nil: // what is recorded stays until all of it is measured again
				fmt.Print("This is incomplete: what comes after it was not measured.\n")
			case into != "":
				err = record(into, s.name, section)
			}
		}
		if missed := missed(rows); len(missed) > 0 {
			goals = append(goals, fmt.Sprintf("%s: goals missed: %s", s.name, strings.Join(missed, "; ")))
		}
		if err != nil && ctx.Err() != nil {
			// Whatever went wrong did so because its context ended.
			return errors.Join(append(failures, fmt.Errorf("%s: %w", s.name, errInterrupted))...)
		}
		if err != nil {
			failures = append(failures, fmt.Errorf("%s: %w", s.name, err))
		}
	}
	return verdict(failures, goals)
}

// program is the path of a built program.
func (e *environment) program(name string) string { return filepath.Join(e.bin, name) }
