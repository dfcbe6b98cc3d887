package main

import (
	"fmt"
	"maps"
	"math"
	"slices"
)

// breakdowns say of what a figure is made up, one for each run. What a run does not name is not in it.
type breakdowns []map[string]float64

// names are those of which there is so much in any run that it is seen in a table.
func (b breakdowns) names() []string {
	seen := map[string]bool{}
	for _, run := range b {
		for name, value := range run {
			if math.Abs(value) >= 0.05 {
				seen[name] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(seen))
}

// of are the values of one name in every run.
func (b breakdowns) of(name string) []float64 {
	var values []float64
	for _, run := range b {
		values = append(values, run[name])
	}
	return values
}

// rows are the parts, to stand below the row of the whole.
func (b breakdowns) rows(at string) []row {
	var rows []row
	for _, name := range b.names() {
		rows = append(rows, row{at: at, what: fmt.Sprintf("  of %s, by requests", name), unit: count, values: b.of(name)})
	}
	return rows
}
