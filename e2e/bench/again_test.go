package main

import (
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestTheRunsOfAScenarioStandInOneTable(t *testing.T) {
	run := 0
	rows, err := again(func(context.Context, *environment) ([]row, error) {
		run++
		rows := []row{
			{at: "3", what: "puts", values: []float64{float64(run)}},
			{at: "3", what: "arrived", samples: true, values: []float64{1, float64(run)}, goals: atMost(9)},
			{at: "4", what: "puts", values: []float64{7}},
		}
		if run == 3 {
			rows = append(rows, row{at: "4", what: "arrived"})
		}
		return rows, nil
	})(t.Context(), &environment{longRuns: 3})
	want := []row{
		{at: "3", what: "puts", values: []float64{1, 2, 3}},
		{at: "3", what: "arrived", samples: true, values: []float64{1, 1, 1, 2, 1, 3}, goals: atMost(9)},
		{at: "4", what: "puts", values: []float64{7, 7, 7}},
		{at: "4", what: "arrived"},
	}
	if diff := cmp.Diff(want, rows, cmp.AllowUnexported(row{}, goal{})); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

func TestARunThatFailsEndsAScenarioAndTheOnesBeforeItAreShown(t *testing.T) {
	run, failure := 0, errors.New("a hub is gone")
	rows, err := again(func(context.Context, *environment) ([]row, error) {
		if run++; run == 2 {
			return nil, failure
		}
		return []row{{what: "puts", values: []float64{1}}}, nil
	})(t.Context(), &environment{longRuns: 3})
	if !errors.Is(err, failure) || len(rows) != 1 || run != 2 {
		t.Errorf("after %d runs there is %v, with rows %v", run, err, rows)
	}
}
