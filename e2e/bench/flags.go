package main

import (
	"flag"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A checked is a flag that refuses while flags are read, and so before anything is started, what cannot be measured.
type checked[T any] struct {
	value *T
	parse func(text string) (T, error)
}

// String implements flag.Value; the flag package asks one without a value, too.
func (c checked[T]) String() string {
	if c.value == nil {
		return ""
	}
	return fmt.Sprint(*c.value)
}

// Set implements flag.Value.
func (c checked[T]) Set(text string) error {
	value, err := c.parse(text)
	if err == nil {
		*c.value = value
	}
	return err
}

// countFlag is a flag for a number of 1 or more.
func countFlag(flags *flag.FlagSet, into *int, name string, usual int, usage string) {
	*into = usual
	flags.Var(checked[int]{into, atLeast(1)}, name, usage)
}

// countOrNoneFlag is one whose 0 leaves something out.
func countOrNoneFlag(flags *flag.FlagSet, into *int, name string, usual int, usage string) {
	*into = usual
	flags.Var(checked[int]{into, atLeast(0)}, name, usage)
}

// periodFlag is a flag for a time that passes.
func periodFlag(flags *flag.FlagSet, into *time.Duration, name string, usual time.Duration, usage string) {
	*into = usual
	flags.Var(checked[time.Duration]{into, parsePeriod}, name, usage)
}

// rateFlag is a flag for how many there are in a second.
func rateFlag(flags *flag.FlagSet, into *float64, name string, usual float64, usage string) {
	*into = usual
	flags.Var(checked[float64]{into, parseRate}, name, usage)
}

func atLeast(least int) func(text string) (int, error) {
	return func(text string) (int, error) {
		number, err := strconv.Atoi(text)
		if err != nil || number < least {
			return 0, fmt.Errorf("want a number of %d or more", least)
		}
		return number, nil
	}
}

func parsePeriod(text string) (time.Duration, error) {
	period, err := time.ParseDuration(text)
	if err != nil || period <= 0 {
		return 0, fmt.Errorf("want a time above 0, such as 20s or 5m")
	}
	return period, nil
}

func parseRate(text string) (float64, error) {
	rate, err := strconv.ParseFloat(text, 64)
	if err != nil || !(rate > 0) || math.IsInf(rate, 0) {
		return 0, fmt.Errorf("want a number above 0")
	}
	return rate, nil
}

// sizes are those that a scenario measures, as a flag: 100,1000.
type sizes []int

// String implements flag.Value.
func (s *sizes) String() string {
	var words []string
	for _, size := range *s {
		words = append(words, strconv.Itoa(size))
	}
	return strings.Join(words, ",")
}

// Set implements flag.Value.
func (s *sizes) Set(text string) error {
	var set sizes
	for word := range strings.SplitSeq(text, ",") {
		size, err := atLeast(1)(strings.TrimSpace(word))
		if err != nil {
			return fmt.Errorf("%q: %w", word, err)
		}
		set = append(set, size)
	}
	*s = set
	return nil
}

func (s sizes) least() int { return slices.Min(s) }
func (s sizes) most() int  { return slices.Max(s) }

// agentCounts are sizes by which policies choose agents: by labels, which there are for the powers of ten and for all.
type agentCounts struct{ sizes }

// Set implements flag.Value.
func (a *agentCounts) Set(text string) error {
	var set sizes
	if err := set.Set(text); err != nil {
		return err
	}
	slices.Sort(set)
	for _, size := range set[:len(set)-1] {
		if !isPowerOfTen(size) {
			return fmt.Errorf("%d: all but the largest have to be powers of ten", size)
		}
	}
	a.sizes = set
	return nil
}

// changedFlags are those of a scenario that are not as usual, as one would write them: its figures are of no other sizes.
// Where profiles go says nothing of the figures, that they are taken does.
func changedFlags(flags *flag.FlagSet, scenario string) []string {
	var changed []string
	flags.Visit(func(f *flag.Flag) {
		switch {
		case f.Value.String() == f.DefValue:
		case f.Name == "profiles":
			changed = append(changed, "-profiles")
		case strings.HasPrefix(f.Name, scenario+"."):
			changed = append(changed, fmt.Sprintf("-%s=%s", f.Name, f.Value))
		}
	})
	return changed
}
