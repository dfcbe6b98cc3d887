package main

import (
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
	idle := cost{puts: 40, took: 20 * time.Second}
	spent := cost{puts: 10*(1+5+3*2) + 8 + 3, byTime: 3, took: 4 * time.Second, deletes: 40, messages: 80, bytes: 4000, used: consumption{"hub": 80 * time.Millisecond}}
	figures := tallied{}
	figures.add(10, 2, spent, idle)
	got := figures[cell{10, 2}]
	want := &tallies{puts: []float64{11}, byTime: []float64{3}, deletes: []float64{4}, messages: []float64{4}, bytes: []float64{200}, cpu: []float64{8e6}}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(tallies{})); diff != "" {
		t.Errorf("of 10 objects in 2 members (-want +got):\n%s", diff)
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
