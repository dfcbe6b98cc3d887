package main

import (
	"context"
	"errors"
	"flag"
	"testing"
	"time"
)

func TestAGoalIsForItsSizesAndForWhatIsHarder(t *testing.T) {
	for _, c := range []struct {
		reason string
		asks   bool
		want   bool
	}{
		{"idle: as many agents, as long", (&idle{agents: 1000, long: 5 * time.Minute}).asks(), true},
		{"idle: more agents, longer", (&idle{agents: 5000, long: time.Hour}).asks(), true},
		{"idle: fewer agents", (&idle{agents: 800, long: 5 * time.Minute}).asks(), false},
		{"idle: shorter", (&idle{agents: 1000, long: 3 * time.Second}).asks(), false},
		{"churn: as it is", (&churn{agents: 1000, each: 1, rate: 100, long: 5 * time.Minute}).asks(), true},
		{"churn: each to more agents", (&churn{agents: 1000, each: 10, rate: 100, long: 5 * time.Minute}).asks(), true},
		{"churn: fewer updates", (&churn{agents: 1000, each: 1, rate: 99, long: 5 * time.Minute}).asks(), false},
		{"churn: fewer agents", (&churn{agents: 50, each: 1, rate: 100, long: 5 * time.Minute}).asks(), false},
		{"churn: shorter", (&churn{agents: 1000, each: 1, rate: 100, long: 5 * time.Second}).asks(), false},
		{"storm: as it is", (&storm{agents: 1000, works: 100, meanwhile: 10}).asks(), true},
		{"storm: fewer agents", (&storm{agents: 50, works: 100, meanwhile: 10}).asks(), false},
		{"storm: fewer works", (&storm{agents: 1000, works: 10, meanwhile: 10}).asks(), false},
		{"storm: less meanwhile", (&storm{agents: 1000, works: 100, meanwhile: 1}).asks(), false},
		{"trickle: as it is", (&trickle{members: 3, interval: time.Second}).asks(), true},
		{"trickle: few of them say less, and nothing else", (&trickle{count: 5, members: 3, interval: time.Second}).asks(), true},
		{"trickle: more often, into more", (&trickle{members: 4, interval: time.Second / 2}).asks(), true},
		{"trickle: fewer members", (&trickle{members: 2, interval: time.Second}).asks(), false},
		{"trickle: more rarely", (&trickle{members: 3, interval: 2 * time.Second}).asks(), false},
		{"burst: as it is", (&bursts{members: 3}).goal(500, 500, time.Second) != nil, true},
		{"burst: fewer objects", (&bursts{members: 3}).goal(499, 500, time.Second) != nil, false},
		{"burst: fewer members", (&bursts{members: 2}).goal(500, 500, time.Second) != nil, false},
		{"burst: puts of a hundred, into any number of members", putsGoal(100, 1) != nil, true},
		{"burst: puts of ten", putsGoal(10, 3) != nil, false},
		{"pairs: a hundred", asksOfPairs(100), true},
		{"pairs: ten", asksOfPairs(10), false},
		{"agent: as it is", (&agents{settle: agentSettle, edits: agentEdits}).goals(1000) != nil, true},
		{"agent: another number of objects", (&agents{settle: agentSettle, edits: agentEdits}).goals(500) != nil, false},
		{"agent: fewer edits", (&agents{settle: agentSettle, edits: 10}).goals(1000) != nil, false},
		{"fan-out: as it is", fanOutGoals(1000, "create"), true},
		{"fan-out: more agents", fanOutGoals(2000, "create"), true},
		{"fan-out: fewer", fanOutGoals(100, "create"), false},
		{"fan-out: an update has none", fanOutGoals(1000, "update"), false},
	} {
		if c.asks != c.want {
			t.Errorf("%s: there is a goal: %t, want %t", c.reason, c.asks, c.want)
		}
	}
}

// fanOutGoals says whether a row has any.
func fanOutGoals(size int, act string) bool {
	for _, row := range (&fanOutTable{}).rows("", size, act) {
		if len(row.goals) > 0 {
			return true
		}
	}
	return false
}

func TestScenariosWithTheirUsualFlagsHaveGoals(t *testing.T) {
	var (
		i idle
		c churn
		s storm
		w trickle
		b bursts
		a agents
	)
	for _, one := range []scenario{i.scenario(), c.scenario(), s.scenario(), w.scenario(), b.scenario(), a.scenario()} {
		one.flags(flag.NewFlagSet(one.name, flag.ContinueOnError))
	}
	for name, asks := range map[string]bool{
		"idle": i.asks(), "churn": c.asks(), "storm": s.asks(), "trickle": w.asks(), "agent": a.goals(100) != nil,
		"burst": b.goal(b.configMaps, burstConfigMaps, 1) != nil && b.goal(b.deployments, burstDeployments, 1) != nil,
	} {
		if !asks {
			t.Errorf("%s has no goal with its usual flags", name)
		}
	}
}

func TestTheExitCodeTellsWhatCameOfIt(t *testing.T) {
	fine := []row{{what: "puts", unit: count, values: []float64{1}, goals: atMost(1)}}
	over := []row{{what: "puts", unit: count, values: []float64{2}, goals: atMost(1)}}
	broken := errors.New("it broke")
	for _, c := range []struct {
		reason      string
		interrupted bool
		runs        []outcome
		code        int
		message     string
	}{
		{"all is well", false, []outcome{{rows: fine}, {rows: fine}}, 0, ""},
		{"a goal is missed", false, []outcome{{rows: over}, {rows: fine}}, 3, "first: goals missed: puts"},
		{"one fails", false, []outcome{{err: broken}, {rows: fine}}, 1, "first: it broke"},
		{"one misses a goal, and one fails", false, []outcome{{rows: over}, {err: broken}}, 1, "second: it broke\nfirst: goals missed: puts"},
		{"interrupted in the first", true, []outcome{{err: context.Canceled}, {rows: fine}}, 130, "first: interrupted"},
		{"interrupted, and the error is another", true, []outcome{{err: broken}, {rows: fine}}, 130, "first: interrupted"},
		{"interrupted when the first was over", true, []outcome{{rows: fine}, {rows: fine}}, 130, "interrupted before second"},
		{"interrupted when all was over", true, []outcome{{rows: fine}}, 0, ""},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		var chosen []scenario
		for i, of := range c.runs {
			chosen = append(chosen, scenario{name: []string{"first", "second"}[i], what: "nothing", run: func(context.Context, *environment) ([]row, error) {
				if c.interrupted {
					cancel()
				}
				return of.rows, of.err
			}})
		}
		err := measure(ctx, &environment{}, flag.NewFlagSet("", flag.ContinueOnError), chosen, "")
		cancel()
		message := ""
		if err != nil {
			message = err.Error()
		}
		if exitCode(err) != c.code || message != c.message {
			t.Errorf("%s: exit code %d and %q, want %d and %q", c.reason, exitCode(err), message, c.code, c.message)
		}
	}
	if code := exitCode(refusal{broken}); code != 2 {
		t.Errorf("arguments that are wrong have the exit code %d, want 2", code)
	}
}

// outcome is what a scenario that measures nothing says of itself.
type outcome struct {
	rows []row
	err  error
}
