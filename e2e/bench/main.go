// Command bench measures Windlass on this machine and prints a table of what it found: first what can be counted, then
// memory, then processor time, then times. Run it by `make bench`, or one scenario by `make bench SCENARIO=name`; with
// -into=BENCHMARKS.md the table takes the place of the older one there.
//
// The hub is the built program, as users run it. It exits 1 when a goal is missed, after all scenarios have run.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
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
	defer cancel()
	if err := bench(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func bench(ctx context.Context, args []string) error {
	all := scenarios()
	env := &environment{}
	flags := flag.NewFlagSet("bench", flag.ExitOnError)
	flags.IntVar(&env.runs, "runs", 5, "how often each measurement is made")
	flags.StringVar(&env.bin, "bin", os.Getenv("WINDLASS_E2E_BIN"), "folder of the built programs; bin/ when empty")
	flags.IntVar(&env.longRuns, "long-runs", 1, "how often those measurements are made that take minutes each")
	flags.StringVar(&env.profiles, "profiles", "", "folder for processor profiles of the hub, and with real members of agent and member, of the first seconds of what is measured; measuring costs more then")
	into := flags.String("into", "", "file in which each scenario's table takes the place of its older one, such as BENCHMARKS.md")
	for _, s := range all {
		if s.flags != nil {
			s.flags(flags)
		}
	}
	flags.Usage = func() { help(flags, all) }
	if err := flags.Parse(args); err != nil {
		return err
	}
	chosen, err := choose(all, flags.Args())
	if err != nil {
		return err
	}
	if env.runs < 1 || env.longRuns < 1 {
		return errors.New("-runs and -long-runs must be at least 1")
	}
	if env.profiles != "" {
		if err := os.MkdirAll(env.profiles, 0o750); err != nil {
			return fmt.Errorf("-profiles: %w", err)
		}
	}
	if err := env.prepare(); err != nil {
		return err
	}
	defer env.close()
	return measure(ctx, env, chosen, *into)
}

func help(flags *flag.FlagSet, all []scenario) {
	out := flags.Output()
	fmt.Fprintln(out, "usage: bench [flags] [scenario ...]\n\nscenarios, all of them when none is named:")
	for _, s := range all {
		fmt.Fprintf(out, "  %-10s %s; takes %s\n", s.name, s.what, s.takes)
	}
	fmt.Fprintln(out, "\nflags:")
	flags.PrintDefaults()
}

func choose(all []scenario, names []string) ([]scenario, error) {
	if len(names) == 0 {
		return all, nil
	}
	var chosen []scenario
	for _, name := range names {
		i := slices.IndexFunc(all, func(s scenario) bool { return s.name == name })
		if i < 0 {
			var known []string
			for _, s := range all {
				known = append(known, s.name)
			}
			return nil, fmt.Errorf("there is no scenario %q: want one of %s", name, strings.Join(known, ", "))
		}
		chosen = append(chosen, all[i])
	}
	return chosen, nil
}

// measure runs scenarios one after the other. One that fails does not keep the others from running.
func measure(ctx context.Context, env *environment, chosen []scenario, into string) error {
	var failures []error
	for _, s := range chosen {
		env.begin(s)
		where := machine(ctx)
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
		if err != nil {
			failures = append(failures, fmt.Errorf("%s: %w", s.name, err))
		}
		if missed := missed(rows); len(missed) > 0 {
			failures = append(failures, fmt.Errorf("%s: goals missed: %s", s.name, strings.Join(missed, "; ")))
		}
		if ctx.Err() != nil {
			break
		}
	}
	return errors.Join(failures...)
}

// program is the path of a built program.
func (e *environment) program(name string) string { return filepath.Join(e.bin, name) }
