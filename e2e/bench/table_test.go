package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func values(n int) []float64 {
	var all []float64
	for i := range n {
		all = append(all, float64(i+1)*float64(time.Millisecond))
	}
	return all
}

func TestATableShowsWhatItsValuesCanBear(t *testing.T) {
	for _, test := range []struct {
		reason string
		row    row
		want   string
	}{
		{"one value has no spread", row{at: "3", what: "puts", unit: count, values: []float64{1234567}},
			"| 3 | puts | 1,234,567 |  |  |  | 1 run |  |"},
		{"what is the same in every run says so", row{what: "puts", unit: count, values: []float64{4, 4, 4}},
			"|  | puts | 4 | the same |  |  | 3 runs |  |"},
		{"the median of runs counts for a goal", row{what: "last", unit: duration, values: []float64{9e8, 1e8, 2e8}, goals: atMost(3e8)},
			"|  | last | 200.0 ms | 100.0 ms – 900.0 ms |  |  | 3 runs | 300.0 ms: reached |"},
		{"of runs there is no p99, however many", row{what: "last", unit: duration, values: values(300)},
			"|  | last | 150.5 ms | 1.00 ms – 300.0 ms |  |  | 300 runs |  |"},
		{"the better one of two runs does not stand for both", row{what: "last", unit: duration, values: []float64{1e8, 4e8}, goals: atMost(2e8)},
			"|  | last | 250.0 ms | 100.0 ms – 400.0 ms |  |  | 2 runs | 200.0 ms: **not reached** |"},
		{"what is missed by little looks so", row{what: "hub CPU", unit: cpu, values: []float64{6.53e6}, goals: atMost(6.5e6)},
			"|  | hub CPU | 6.53 ms |  |  |  | 1 run | 6.50 ms: **not reached** |"},
		{"what is large is not written in what is small", row{what: "resident", unit: memory, values: []float64{2763.8e6}},
			"|  | resident | 2.76 GB |  |  |  | 1 run |  |"},
		{"199 samples have none either, and no goal of theirs is missed", row{what: "one", unit: duration, samples: true, values: values(199), goals: []goal{{50, 1e8}, {99, 1e8}}},
			"|  | one | 100.0 ms | 1.00 ms – 199.0 ms |  |  | 199 samples | 100.0 ms: reached; p99 100.0 ms: too few samples |"},
		{"200 samples have a p99, and a goal for it, which is missed by itself", row{what: "one", unit: duration, samples: true, values: values(200), goals: []goal{{50, 1e8}, {99, 1e8}}},
			"|  | one | 100.0 ms | 1.00 ms – 200.0 ms | 198.0 ms |  | 200 samples | 100.0 ms: reached; p99 100.0 ms: **not reached** |"},
		{"next to nothing has no sign", row{what: "puts", unit: count, values: []float64{-0.004, -0.02}},
			"|  | puts | -0.01 | -0.02 – 0.00 |  |  | 2 runs |  |"},
		{"a p99.9 needs 2,000", row{what: "one", unit: duration, samples: true, values: values(2000)},
			"|  | one | 1.00 s | 1.00 ms – 2.00 s | 1.98 s | 2.00 s | 2,000 samples |  |"},
	} {
		if got := "| " + strings.Join(test.row.sorted().cells(), " | ") + " |"; got != test.want {
			t.Errorf("%s: got  %s\nwant %s", test.reason, got, test.want)
		}
	}
}

func TestATableBeginsWithWhatIsTheSameInEveryRun(t *testing.T) {
	got := table([]row{
		{at: "10 agents", what: "time", unit: duration, values: []float64{1e6}},
		{at: "100 agents", what: "puts", unit: count, values: []float64{3}},
		{at: "10 agents", what: "nothing was measured", unit: count},
		{at: "10 agents", what: "puts", unit: count, values: []float64{2}},
	})
	want := `| size       | what | value   | of    |
| ---------- | ---- | ------- | ----- |
| 10 agents  | puts | 2       | 1 run |
| 10 agents  | time | 1.00 ms | 1 run |
| 100 agents | puts | 3       | 1 run |
`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestAMedianIsCalledSoWhereAnyRowHasOne(t *testing.T) {
	once := row{what: "puts", unit: count, values: []float64{3}}
	got := table([]row{once, {what: "time", unit: duration, values: []float64{1e6, 2e6}}})
	if !strings.HasPrefix(got, "| what | median  |") {
		t.Errorf("one row has two runs, and the table is\n%s", got)
	}
	if got := table([]row{once}); !strings.HasPrefix(got, "| what | value |") {
		t.Errorf("no row has more than one run, and the table is\n%s", got)
	}
}

func TestMissedNamesTheRowsWhoseGoalIsNotReached(t *testing.T) {
	got := missed([]row{
		{at: "1,000 agents", what: "last", unit: duration, values: []float64{5, 1, 4}, goals: atMost(3)},
		{at: "10 agents", what: "last", unit: duration, values: []float64{5, 1, 2}, goals: atMost(3)},
		{what: "puts", unit: count, values: []float64{9}},
	})
	if len(got) != 1 || got[0] != "1,000 agents, last" {
		t.Errorf("got %q", got)
	}
}

func TestARecordTakesThePlaceOfTheOlderOneAndOfNothingElse(t *testing.T) {
	path := filepath.Join(t.TempDir(), "BENCHMARKS.md")
	if err := os.WriteFile(path, []byte("# Benchmarks\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, one := range [][2]string{{"a", "old a\n"}, {"b", "old b\n"}, {"a", "new a\n"}} {
		if err := record(path, one[0], one[1]); err != nil {
			t.Fatal(err)
		}
	}
	words, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := words.WriteString("\nwords of all of them\n"); err != nil {
		t.Fatal(err)
	}
	if err := words.Close(); err != nil {
		t.Fatal(err)
	}
	if err := record(path, "c", "first c\n"); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want := "# Benchmarks\n\n<!-- bench a -->\nnew a\n<!-- end of bench a -->\n\n<!-- bench b -->\nold b\n<!-- end of bench b -->\n\n" +
		"<!-- bench c -->\nfirst c\n<!-- end of bench c -->\n\n<!-- goals -->\n|\n|\n<!-- end of goals -->\n\nwords of all of them\n"
	if string(got) != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if err := os.WriteFile(path, []byte("<!-- bench a -->\nhalf of it"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := record(path, "a", "new\n"); err == nil || !strings.Contains(err.Error(), "has no end") {
		t.Errorf("a record without an end was replaced: %v", err)
	}
}

func TestARecordGathersTheGoalsOfAllScenarios(t *testing.T) {
	path := filepath.Join(t.TempDir(), "BENCHMARKS.md")
	if err := os.WriteFile(path, []byte("# Benchmarks\n\n<!-- goals -->\n<!-- end of goals -->\n\nwords\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, rows := range map[string][]row{
		"idle":  {{at: "1", what: "CPU", unit: share, values: []float64{0.005}, goals: atMost(0.01)}, {at: "1", what: "no goal", unit: count, values: []float64{1}}},
		"churn": {{at: "2", what: "arrived", unit: duration, samples: true, values: values(200), goals: []goal{{50, 1e8}, {99, 1e8}}}},
	} {
		if err := record(path, name, section(scenario{name: name, what: "words"}, "today", rows)); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	block, _, _ := strings.Cut(string(got), "words")
	for _, want := range []string{
		"# Benchmarks\n\n<!-- goals -->\n| scenario | size | what    | median   | p99      | goal                                             |\n",
		"| idle     | 1    | CPU     | 0.50 %   |          | 1.00 %: reached                                  |\n",
		"| churn    | 2    | arrived | 100.0 ms | 198.0 ms | 100.0 ms: reached; p99 100.0 ms: **not reached** |\n",
	} {
		if !strings.Contains(block, want) {
			t.Errorf("the goals lack\n%s\nthey are\n%s", want, block)
		}
	}
	if strings.Contains(block, "no goal") {
		t.Errorf("a row without a goal is among the goals:\n%s", block)
	}
}

func TestTheCommitIsTheOneThatWasBuilt(t *testing.T) {
	bin := t.TempDir()
	if builtCommit(t.Context(), bin) == "" {
		t.Error("where none is written beside the programs nothing is said: want the one that is checked out, or that it is not known")
	}
	if err := os.WriteFile(filepath.Join(bin, "commit"), []byte("0123456789 with changes\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := builtCommit(t.Context(), bin); got != "0123456789 with changes" {
		t.Errorf("beside the programs stands 0123456789 with changes, and said is %q", got)
	}
}

func TestAFileForResultsIsOpenedAndLeftAsItIs(t *testing.T) {
	path := filepath.Join(t.TempDir(), "BENCHMARKS.md")
	if err := os.WriteFile(path, []byte("words\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := openResults(path); err != nil {
		t.Error(err)
	}
	if got := readOr(path, ""); got != "words\n" {
		t.Errorf("it had words, and has %q", got)
	}
}

func TestCountersAreReadFromWhatTheHubServes(t *testing.T) {
	before := reading{counters: parseCounters(`windlass_hub_link_messages_total{direction="out",family="works"} 5
windlass_hub_link_bytes_total{direction="out",family="works"} 500
`), revision: 7}
	after := reading{counters: parseCounters(`# HELP etcd_request_duration_seconds words
etcd_request_duration_seconds_count{group="",operation="create",resource="configmaps"} 3
etcd_request_duration_seconds_count{group="",operation="get",resource="configmaps"} 9
windlass_hub_link_messages_total{direction="out",family="works"} 1.5e+01
windlass_hub_link_messages_total{direction="out",family="reports"} 2
windlass_hub_link_messages_total{direction="in",family="works"} 4
windlass_hub_link_bytes_total{direction="out",family="works"} 800
go_memstats_mallocs_total 70
`), revision: 10}
	spent := after.since(before)
	for what, pair := range map[string][2]float64{
		"changes": {spent.changes, 3}, "writes of ConfigMaps": {spent.writes("configmaps"), 3}, "all writes": {spent.writes(""), 3},
		"works out": {spent.messages("out", "works"), 10}, "all out": {spent.messages("out"), 12}, "works and reports out": {spent.messages("out", "works", "reports"), 12},
		"bytes": {spent.linkBytes("out"), 300}, "allocations": {spent.allocations(), 70},
	} {
		if pair[0] != pair[1] {
			t.Errorf("%s: %v, want %v", what, pair[0], pair[1])
		}
	}
}
