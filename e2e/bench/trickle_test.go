package main

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestALapCountsTheFirstSightInEachPlaceOfWhatHasBegun(t *testing.T) {
	l := newLap("its arrival", 2)
	name := byHub.name(warmUp)
	l.saw(0, name) // seen before it began, such as an older one of that name
	l.begin(name)
	if l.missing() == nil {
		t.Error("nothing is missing, and it was seen nowhere")
	}
	l.saw(0, name)
	first := l.at[0][name]
	l.saw(0, name)
	l.saw(1, name)
	if err := l.missing(); err != nil || l.at[0][name] != first {
		t.Errorf("seen at %v: want the first time, in both places; %v", l.at, err)
	}
}

func TestTimesAreThoseOfEachPlaceAndOfTheLastWithoutTheWarmUp(t *testing.T) {
	began := time.Now()
	l := newLap("its arrival", 2)
	for i, name := range []string{byHub.name(warmUp - 1), byHub.name(warmUp), direct.name(warmUp)} {
		l.began[name] = began
		l.at[0][name], l.at[1][name] = began.Add(time.Duration(i)), began.Add(2*time.Duration(i))
	}
	each, last := l.times()
	if diff := cmp.Diff([][]float64{{2, 4, 1, 2}, {4, 2}}, [][]float64{each, last}); diff != "" {
		t.Errorf("of one that warms up and two that count (-want +got):\n%s", diff)
	}
}

func TestEveryFourthDeploymentIsFollowedByOnePastTheHub(t *testing.T) {
	made := map[way]int{}
	for _, on := range order(40) {
		made[on]++
	}
	if made[byHub] != 40+warmUp || made[direct] != warmUp+40/everyDirect {
		t.Errorf("%v were made", made)
	}
}
