package main

import (
	"os"
	"slices"
	"strings"
	"testing"
)

// A name that does not exist is refused before anything is built, which takes minutes: the names stand there, too.
func TestTheMakefileNamesAllScenarios(t *testing.T) {
	raw, err := os.ReadFile("../../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(raw)) {
		names, found := strings.CutPrefix(line, "SCENARIOS :=")
		if !found {
			continue
		}
		if want := scenarioNames(scenarios()); !slices.Equal(strings.Fields(names), want) {
			t.Errorf("SCENARIOS in the Makefile are %s\nwant %s", strings.TrimSpace(names), strings.Join(want, " "))
		}
		return
	}
	t.Error("there is no SCENARIOS in the Makefile")
}
