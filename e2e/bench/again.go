package main

import (
	"context"
	"slices"
)

// A measurement is what a scenario runs; see scenario.run.
type measurement func(ctx context.Context, env *environment) ([]row, error)

// again makes of what measures once what measures as often as -long-runs says: the values of all runs of a figure stand in
// one row.
func again(once measurement) measurement {
	return func(ctx context.Context, env *environment) ([]row, error) {
		var rows []row
		for run := range env.longRuns {
			if env.longRuns > 1 {
				env.progress("run %d of %d", run+1, env.longRuns)
			}
			more, err := once(ctx, env)
			rows = together(rows, more)
			if err != nil {
				return rows, err
			}
		}
		return rows, nil
	}
}

// together adds the values of more rows to those of the same figures, and what is a figure of its own behind them.
func together(rows, more []row) []row {
	for _, one := range more {
		i := slices.IndexFunc(rows, func(r row) bool { return r.at == one.at && r.what == one.what })
		if i < 0 {
			rows = append(rows, one)
			continue
		}
		rows[i].values = append(rows[i].values, one.values...)
	}
	return rows
}
