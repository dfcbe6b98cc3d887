package main

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestWhatAPairCostsIsWhatEachMemberAdds(t *testing.T) {
	pair, rest := split([]float64{8, 11}, []float64{14, 20}, 1, 3)
	if diff := cmp.Diff([][]float64{{3, 4.5}, {5, 6.5}}, [][]float64{pair, rest}); diff != "" {
		t.Errorf("8 with one member and 14 with three is 3 for each and 5 besides; 11 and 20 is 4.5 and 6.5 (-want +got):\n%s", diff)
	}
}

func TestPairsCountOutWhatTheUserAndAnIdleHubPut(t *testing.T) {
	idle := cost{puts: 40, written: map[string]float64{"leases": 30, "events": 10}, took: 20 * time.Second}
	written := map[string]float64{"configmaps": 20, "propagationworks": 61, "propagationbindings": 40, "propagationpolicies": 3, "leases": 7, "events": 4}
	spent := cost{puts: 10*(1+5+3*2) + 8 + 3, written: written, took: 4 * time.Second, deletes: 40, messages: 80, bytes: 4000, used: consumption{"hub": 80 * time.Millisecond}}
	figures := tallied{}
	figures.add(10, 2, spent, idle)
	got := figures[cell{10, 2}]
	parts := breakdowns{{"configmaps": 1, "propagationworks": 6.1, "propagationbindings": 4, "what an idle hub writes, too": 0.3}}
	want := &tallies{written: parts, puts: []float64{11}, byTime: []float64{3}, deletes: []float64{4}, messages: []float64{4}, bytes: []float64{200}, cpu: []float64{8e6}}
	nearly := cmp.Comparer(func(a, b float64) bool { return math.Abs(a-b) < 1e-9 })
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(tallies{}), nearly); diff != "" {
		t.Errorf("of 10 objects in 2 members (-want +got):\n%s", diff)
	}
}

func TestTheSecondStepOfPairsHasAVerdictOfItsOwn(t *testing.T) {
	figures := tallied{cell{100, 2}: &tallies{cpu: []float64{6e6}}}
	verdicts := map[string]string{}
	for _, row := range figures.rows(&pairs{objects: sizes{100}, members: sizes{2}}) {
		if len(row.values) > 0 {
			verdicts[row.what] = row.verdicts()
		}
	}
	want := map[string]string{"hub CPU for an object": "8.00 ms: reached", "hub CPU for an object, the second step": "4.00 ms: **not reached**"}
	if diff := cmp.Diff(want, verdicts); diff != "" {
		t.Errorf("of 6 ms with two members (-want +got):\n%s", diff)
	}
}

func TestABurstsPutsHaveTheGoalOfPairs(t *testing.T) {
	results := []*burst{{creating: cost{puts: 7000}, deleting: cost{puts: 902}}}
	for _, row := range burstRows("", results, 300, 3, nil) {
		if row.what != "etcd puts for an object, less the user's own" {
			continue
		}
		if got := row.unit.write(row.values[0]); got != "25.3" || row.verdicts() != "14: **not reached**" {
			t.Errorf("of 7,902 puts for 300 objects in three members: %s; %s", got, row.verdicts())
		}
		return
	}
	t.Error("there is no row of the puts without the user's own")
}

func TestAFigureIsBrokenDownIntoWhatIsSeenOfIt(t *testing.T) {
	parts := breakdowns{{"works": 3, "leases": 0.04}, {"works": 3.5, "bindings": -0.2}}
	if diff := cmp.Diff([]string{"bindings", "works"}, parts.names()); diff != "" {
		t.Errorf("what is next to nothing in every run is no part (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]float64{0, -0.2}, parts.of("bindings")); diff != "" {
		t.Errorf("a run that does not name it has 0 of it (-want +got):\n%s", diff)
	}
}

func TestEachMembersPartIsBrokenDownAsWell(t *testing.T) {
	few, many := breakdowns{{"works": 3, "bindings": 3}}, breakdowns{{"works": 9, "bindings": 3, "leases": 0.2}}
	if diff := cmp.Diff(breakdowns{{"works": 3, "bindings": 0, "leases": 0.1}}, pairParts(few, many, 1, 3)); diff != "" {
		t.Errorf("of 1 member and 3 (-want +got):\n%s", diff)
	}
}

func TestWhatAnIdleFleetTakesIsLeftOut(t *testing.T) {
	idle := cost{puts: 10, deletes: 2, messages: 20, bytes: 200, allocations: 1000, written: map[string]float64{"leases": 10}, took: 10 * time.Second}
	spent := cost{puts: 25, deletes: 1, messages: 50, bytes: 500, allocations: 3000, written: map[string]float64{"works": 20, "leases": 5}, took: 5 * time.Second}
	want := cost{puts: 20, messages: 40, bytes: 400, allocations: 2500, written: map[string]float64{"works": 20, "leases": 0}, took: 5 * time.Second}
	if diff := cmp.Diff(want, spent.over(idle), cmp.AllowUnexported(cost{})); diff != "" {
		t.Errorf("5 s of what an idle fleet takes in 10 s (-want +got):\n%s", diff)
	}
}

func TestAStormsWritesAreAllCountedOnce(t *testing.T) {
	spent := spending{counters: parseCounters(`etcd_request_duration_seconds_count{group="",operation="create",resource="propagationworks"} 10
etcd_request_duration_seconds_count{group="",operation="update",resource="propagationworks"} 12
etcd_request_duration_seconds_count{group="",operation="get",resource="propagationworks"} 99
etcd_request_duration_seconds_count{group="",operation="update",resource="propagationbindings"} 4
etcd_request_duration_seconds_count{group="",operation="update",resource="memberclusters"} 50
etcd_request_duration_seconds_count{group="",operation="update",resource="leases"} 3
etcd_request_duration_seconds_count{group="",operation="create",resource="configmaps"} 2
etcd_request_duration_seconds_count{group="",operation="delete",resource="events"} 1
`)}
	var got stormTable
	got.count(spent, 10)
	want := stormTable{works: []float64{2}, bindings: []float64{4}, clusters: []float64{50}, leases: []float64{3}, rest: []float64{3}, others: breakdowns{{"configmaps": 2, "events": 1}}}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(stormTable{})); diff != "" {
		t.Errorf("with 10 new works, each created and reported (-want +got):\n%s", diff)
	}
}

func TestTheStoreIsCountedByItsOwnCounters(t *testing.T) {
	for _, c := range []struct {
		reason, text string
		want         storeCounts
		fails        bool
	}{
		{"both are there", "# HELP x y\netcd_mvcc_put_total 1.2e+03\netcd_mvcc_delete_total 7\netcd_other{a=\"b\"} 1\n", storeCounts{1200, 7}, false},
		{"one has another name", "etcd_mvcc_put_total 3\n", storeCounts{}, true},
	} {
		got, err := readStoreCounts(strings.NewReader(c.text))
		if (err != nil) != c.fails || err == nil && got != c.want {
			t.Errorf("%s: %+v, error %v", c.reason, got, err)
		}
	}
}

func TestSizesAreNumbersOfOneOrMore(t *testing.T) {
	for _, c := range []struct {
		reason, text string
		want         sizes
	}{
		{"several", "100,1000", sizes{100, 1000}},
		{"one", "7", sizes{7}},
		{"none", "", nil},
		{"nothing to measure", "0", nil},
		{"no number", "10,many", nil},
	} {
		got := sizes{1}
		if err := got.Set(c.text); (err != nil) != (c.want == nil) || err == nil && cmp.Diff(c.want, got) != "" {
			t.Errorf("%s: %q is %v, error %v", c.reason, c.text, got, err)
		}
	}
	if sizes := (sizes{3, 1, 2}); sizes.least() != 1 || sizes.most() != 3 {
		t.Errorf("of %v the least is %d and the most %d", sizes, sizes.least(), sizes.most())
	}
}

func TestACrowdIsCompleteWhenEachWasSeenOnce(t *testing.T) {
	c := newCrowd("guests", []string{"a", "b"})
	c.saw("a")
	first := c.at["a"]
	c.saw("a")
	c.saw("nobody asked for this one")
	select {
	case <-c.all:
		t.Fatal("it is complete without b")
	default:
	}
	c.saw("b")
	if err := c.wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	if c.at["a"] != first || c.last() != c.at["b"] {
		t.Errorf("seen at %v, the last at %v: a counts when it was seen first", c.at, c.last())
	}
}

func TestAnObjectIsEditedAgainOnlyAfterAllOthers(t *testing.T) {
	names, next := numbered("one", 40), 0
	seen := map[string]int{}
	for range 3 {
		for _, name := range configMapNames(names, &next, 12) {
			seen[name]++
			if sortOf(name) != "ConfigMap" || seen[name] > 1 {
				t.Errorf("%s, a %s, is edited %d times, and of 36 ConfigMaps each was to be once", name, sortOf(name), seen[name])
			}
		}
	}
	if len(seen) != 36 {
		t.Errorf("%d of 36 ConfigMaps were edited", len(seen))
	}
	if all := configMapNames(names, &next, 100); len(all) != 36 {
		t.Errorf("where 100 edits are asked for, %d are made: want one of each of 36 ConfigMaps", len(all))
	}
}
