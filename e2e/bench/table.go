package main

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// A row is one figure: what was measured, all values of it, and what is asked for.
type row struct {
	// at is the size it was measured at, such as "1,000 agents"; rows of one size stand together.
	at   string
	what string
	unit unit
	// values are those of the runs, or samples; see samples.
	values []float64
	// samples says that the values are single deliveries and not whole runs: of those there are percentiles.
	samples bool
	goals   []goal
}

// A goal is the most that a figure may be, at a percentile of its values.
type goal struct {
	percentile float64
	most       float64
}

// atMost is a goal for the median; of runs the median is what counts.
func atMost(most float64) []goal { return []goal{{50, most}} }

// when gives goals at those sizes only that they were set for: that less is reached more easily says nothing.
func when(asks bool, goals []goal) []goal {
	if !asks {
		return nil
	}
	return goals
}

// A unit says how values are written, and where they stand in a table: what is the same in every run comes first.
type unit int

const (
	count unit = iota
	bytes
	allocations
	memory
	cpu      // processor time, in nanoseconds
	share    // of one processor, as a part of 1
	rate     // a second
	duration // in nanoseconds
)

func (u unit) write(value float64) string {
	switch u {
	case bytes, memory:
		return inBytes(value)
	case cpu, duration:
		return inTime(value)
	case share:
		return fmt.Sprintf("%.2f %%", 100*value)
	case rate:
		return inCount(value) + "/s"
	}
	return inCount(value)
}

// inCount writes three digits of what is small, and all of what is large.
func inCount(value float64) string {
	switch {
	case value == math.Trunc(value) || math.Abs(value) >= 1000:
		return grouped(int64(math.Round(value)))
	case math.Abs(value) >= 10:
		return fmt.Sprintf("%.1f", value)
	}
	return strings.Replace(fmt.Sprintf("%.2f", value), "-0.00", "0.00", 1)
}

// grouped writes 1234567 as 1,234,567.
func grouped(n int64) string {
	digits := fmt.Sprint(n)
	for i := len(digits) - 3; i > 0 && digits[i-1] != '-'; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}

func inBytes(value float64) string {
	switch {
	case math.Abs(value) >= 1e9:
		return fmt.Sprintf("%.2f GB", value/1e9)
	case math.Abs(value) >= 1e6:
		return fmt.Sprintf("%.1f MB", value/1e6)
	case math.Abs(value) >= 1e3:
		return fmt.Sprintf("%.1f KB", value/1e3)
	}
	return inCount(value) + " B"
}

// inTime writes at least three digits from a millisecond on: with fewer a goal would look reached that is missed by little.
func inTime(value float64) string {
	switch d := time.Duration(value); {
	case d.Abs() >= 10*time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d.Abs() >= time.Second:
		return fmt.Sprintf("%.2f s", d.Seconds())
	case d.Abs() >= 10*time.Millisecond:
		return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond))
	case d.Abs() >= time.Millisecond:
		return fmt.Sprintf("%.2f ms", float64(d)/float64(time.Millisecond))
	}
	return fmt.Sprintf("%.0f µs", value/1e3)
}

// leastOfP99 is how many samples a p99 needs to say anything; a p99.9 needs ten times as many.
const leastOfP99 = 200

// percentile returns the smallest value that at least p percent do not exceed, and the mean of the middle two for the median of an even
// number of runs, which the better one would stand for; the row is sorted.
func (r row) percentile(p float64) float64 {
	if n := len(r.values); p == 50 && n%2 == 0 && !r.samples {
		return (r.values[n/2-1] + r.values[n/2]) / 2
	}
	return r.values[max(0, int(math.Ceil(float64(len(r.values))*p/100))-1)]
}

func (r row) sorted() row {
	r.values = slices.Sorted(slices.Values(r.values))
	return r
}

// tells says whether there are enough samples for a goal, reaches whether it is reached, met whether every one is of which that
// can be said.
func (r row) tells(g goal) bool { return g.percentile < 99 || len(r.values) >= leastOfP99 }

func (r row) reaches(g goal) bool { return r.percentile(g.percentile) <= g.most }

func (r row) met() bool {
	return !slices.ContainsFunc(r.goals, func(g goal) bool { return r.tells(g) && !r.reaches(g) })
}

// verdicts are the goals, each with what became of it.
func (r row) verdicts() string {
	var words []string
	for _, g := range r.goals {
		word := r.unit.write(g.most)
		if g.percentile != 50 {
			word = fmt.Sprintf("p%v %s", g.percentile, word)
		}
		switch {
		case !r.tells(g):
			word += ": too few samples"
		case r.reaches(g):
			word += ": reached"
		default:
			word += ": **not reached**"
		}
		words = append(words, word)
	}
	return strings.Join(words, "; ")
}

func (r row) cells() []string {
	p99, p999 := "", ""
	if r.samples && len(r.values) >= leastOfP99 {
		p99 = r.unit.write(r.percentile(99))
	}
	if r.samples && len(r.values) >= 10*leastOfP99 {
		p999 = r.unit.write(r.percentile(99.9))
	}
	of := "runs"
	if r.samples {
		of = "samples"
	}
	if len(r.values) == 1 {
		of = strings.TrimSuffix(of, "s")
	}
	least, most := r.unit.write(r.values[0]), r.unit.write(r.values[len(r.values)-1])
	spread := least + " – " + most
	if least == most {
		spread = "the same"
	}
	if len(r.values) == 1 {
		spread = ""
	}
	return []string{r.at, r.what, r.unit.write(r.percentile(50)), spread, p99, p999, grouped(int64(len(r.values))) + " " + of, r.verdicts()}
}

// columns are those of a table. Where each row has one value only, none of them is a median.
func columns(rows []row) []string {
	middle := "value"
	if slices.ContainsFunc(rows, func(r row) bool { return len(r.values) > 1 }) {
		middle = "median"
	}
	return []string{"size", "what", middle, "least – most", "p99", "p99.9", "of", "goal"}
}

// table writes rows: of each size what is the same in every run first.
func table(rows []row) string {
	rows = slices.Clone(rows)
	sizes := map[string]int{}
	for i := range rows {
		if _, known := sizes[rows[i].at]; !known {
			sizes[rows[i].at] = len(sizes)
		}
		rows[i] = rows[i].sorted()
	}
	slices.SortStableFunc(rows, func(a, b row) int {
		return cmp.Or(cmp.Compare(sizes[a.at], sizes[b.at]), cmp.Compare(a.unit, b.unit))
	})
	lines := [][]string{columns(rows)}
	for _, r := range rows {
		if len(r.values) > 0 {
			lines = append(lines, r.cells())
		}
	}
	return markdown(lines)
}

// markdown writes a table, the first line of which names the columns, so that it can be read as it is. Columns that would be
// empty are left out.
func markdown(lines [][]string) string {
	widths := make([]int, len(lines[0]))
	for column, name := range lines[0] {
		for _, line := range lines[1:] {
			widths[column] = max(widths[column], utf8.RuneCountInString(line[column]))
		}
		if widths[column] > 0 {
			widths[column] = max(widths[column], utf8.RuneCountInString(name))
		}
	}
	var text strings.Builder
	write := func(cell func(column int) string) {
		for column, width := range widths {
			if width > 0 {
				fmt.Fprintf(&text, "| %s%s ", cell(column), strings.Repeat(" ", width-utf8.RuneCountInString(cell(column))))
			}
		}
		text.WriteString("|\n")
	}
	for i, line := range lines {
		write(func(column int) string { return line[column] })
		if i == 0 {
			write(func(column int) string { return strings.Repeat("-", widths[column]) })
		}
	}
	return text.String()
}

// missed names the rows whose goal is not reached.
func missed(rows []row) []string {
	var names []string
	for _, r := range rows {
		if len(r.values) > 0 && !r.sorted().met() {
			names = append(names, strings.TrimPrefix(r.at+", ", ", ")+r.what)
		}
	}
	return names
}
