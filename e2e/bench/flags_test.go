package main

import (
	"flag"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestWhatCannotBeMeasuredIsRefusedBeforeAnythingIsStarted(t *testing.T) {
	for _, c := range []struct {
		reason string
		args   []string
		wants  []string
	}{
		{"no run at all", []string{"-runs=0"}, []string{"-runs", "1 or more"}},
		{"fewer than none", []string{"-burst.members=-1", "burst"}, []string{"-burst.members", "1 or more"}},
		{"zero leaves them out, less does not", []string{"-burst.configmaps=-1", "burst"}, []string{"-burst.configmaps", "0 or more"}},
		{"no number", []string{"-trickle.count=many"}, []string{"-trickle.count", "1 or more"}},
		{"no time", []string{"-idle.for=0"}, []string{"-idle.for", "above 0"}},
		{"a time before now", []string{"-trickle.interval=-1s"}, []string{"-trickle.interval", "above 0"}},
		{"no update in any time", []string{"-churn.rate=0"}, []string{"-churn.rate", "above 0"}},
		{"a rate that is no number", []string{"-churn.rate=NaN"}, []string{"-churn.rate", "above 0"}},
		{"a rate without an end", []string{"-churn.rate=Inf"}, []string{"-churn.rate", "above 0"}},
		{"one size of two", []string{"-pairs.objects=10,0"}, []string{"-pairs.objects", `"0"`}},
		{"policies cannot choose 20 of 100 agents", []string{"-fan-out.agents=20,100"}, []string{"-fan-out.agents", "powers of ten"}},
		{"nor 20 of more", []string{"-bulk.sizes=10x20"}, []string{"-bulk.sizes", "a power of ten"}},
		{"no agents are named", []string{"-bulk.sizes=10"}, []string{"-bulk.sizes", "OBJECTSxAGENTS"}},
		{"both are left out", []string{"-burst.configmaps=0", "-burst.deployments=0", "burst"}, []string{"-burst.configmaps", "-burst.deployments"}},
		{"more agents than there are", []string{"-churn.agents=5", "-churn.each=6", "churn"}, []string{"-churn.each"}},
		{"not one update", []string{"-churn.rate=0.1", "-churn.for=1s", "churn"}, []string{"-churn.for"}},
		{"policies cannot choose 7 of the agents", []string{"-storm.meanwhile=7", "storm"}, []string{"-storm.meanwhile", "a power of ten"}},
		{"an agent is given objects, and none is taken from it", []string{"-agent.objects=100,10", "agent"}, []string{"-agent.objects"}},
		{"results can go nowhere", []string{"-into=no/such/folder/BENCHMARKS.md", "idle"}, []string{"-into", "no/such/folder"}},
		{"no such scenario", []string{"nonsense"}, []string{`"nonsense"`, "fan-out"}},
		{"no such flag", []string{"-nonsense"}, []string{"-nonsense"}},
	} {
		// With a folder in which there is no program, so that whatever is not refused ends, too.
		err := bench(t.Context(), append([]string{"-bin=" + t.TempDir()}, c.args...))
		if exitCode(err) != 2 {
			t.Errorf("%s: %q: exit code %d, want 2: %v", c.reason, c.args, exitCode(err), err)
			continue
		}
		for _, want := range c.wants {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: the error lacks %q: %v", c.reason, want, err)
			}
		}
	}
}

func TestASizeIsNotAskedOfAScenarioThatDoesNotRun(t *testing.T) {
	err := bench(t.Context(), []string{"-bin=" + t.TempDir(), "-storm.meanwhile=7", "idle"})
	if exitCode(err) != 1 || !strings.Contains(err.Error(), "make bench") {
		t.Errorf("%v: want that the programs are missing", err)
	}
}

func TestFlagsThatAreNotAsUsualAreRecorded(t *testing.T) {
	for _, c := range []struct {
		reason, scenario string
		args             []string
		want             []string
	}{
		{"all as usual", "burst", nil, nil},
		{"one is another", "burst", []string{"-burst.members=2"}, []string{"-burst.members=2"}},
		{"one that is said and as usual", "burst", []string{"-burst.members=3"}, nil},
		{"another scenario's", "burst", []string{"-pairs.members=2"}, nil},
		{"several, in order", "idle", []string{"-idle.for=3s", "-idle.agents=800"}, []string{"-idle.agents=800", "-idle.for=3s"}},
		{"sizes", "fan-out", []string{"-fan-out.agents=100,10"}, []string{"-fan-out.agents=10,100"}},
		{"sizes as usual", "bulk", []string{"-bulk.sizes=10x100,100x10,100x100,1000x100,100x1000"}, nil},
		{"a rate", "churn", []string{"-churn.rate=0.5"}, []string{"-churn.rate=0.5"}},
		{"runs are in the table, and folders of nobody's interest", "burst", []string{"-runs=1", "-bin=/somewhere"}, nil},
		{"profiles cost something", "burst", []string{"-profiles=/somewhere"}, []string{"-profiles"}},
	} {
		got := changedFlags(parsed(t, c.args...), c.scenario)
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: (-want +got):\n%s", c.reason, diff)
		}
	}
}

func parsed(t *testing.T, args ...string) *flag.FlagSet {
	t.Helper()
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	_ = flagsOf(flags, &environment{}, scenarios())
	if err := flags.Parse(args); err != nil {
		t.Fatal(err)
	}
	return flags
}
